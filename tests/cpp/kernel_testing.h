// Shared by the kernel tests: random data, comparison with the float64 reference, levels and thread counts.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu/features.h"
#include "cpu/parallel.h"
#include "kernels/kernels.h"

namespace pycnn::testing_kernels {

template <typename T>
std::vector<T> random_values(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);  // float, so that float32 and float64 data are the same
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(uniform(generator));
  return values;
}

/// Memory nobody has written yet: NaN, so that a missed or an accumulated element shows.
template <typename T>
std::vector<T> fresh(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count), std::numeric_limits<T>::quiet_NaN());
}

/// Largest difference, relative to the largest magnitude (at least 1); infinite if anything is not finite.
template <typename T>
double difference(const std::vector<T>& got, const std::vector<double>& expected) {
  double worst = 0, scale = 1;
  for (double value : expected) scale = std::max(scale, std::abs(value));
  if (got.size() != expected.size()) return std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - expected[i]);
    if (!(error <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst / scale;
}

template <typename T>
constexpr double tolerance() {
  return sizeof(T) == 4 ? 2e-6 : 1e-14;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Whether an algorithm is for bfloat16 alone; those are tested in bfloat16.cpp.
inline bool is_for_bfloat16(const std::string& algorithm) {
  return algorithm.starts_with("bfloat16") || algorithm == "widened";
}

/// Restores the number of threads.
class ThreadCount {
 public:
  ~ThreadCount() { cpu::set_num_threads(before_); }

 private:
  int before_ = cpu::num_threads();
};

/// out = max(out + bias[column], 0) over rows × columns: an epilogue whose operands outlive it.
template <typename T>
class BiasRelu {
 public:
  BiasRelu(T* out, T* bias, int64_t rows, int64_t columns) {
    using kernels::Opcode;
    const auto type = sizeof(T) == 8 ? kernels::RegisterType::F64 : kernels::RegisterType::F32;
    const DType dtype = dtype_of<T>();
    operands_[0] = {out, dtype, {columns, 1}};
    operands_[1] = {bias, dtype, {0, 1}};
    const auto instruction = [&](Opcode opcode, int destination, int a, int b, int index) {
      kernels::Instruction i{};
      i.opcode = opcode;
      i.type = i.source = type;
      i.destination = static_cast<uint8_t>(destination);
      i.operands[0] = static_cast<uint8_t>(a);
      i.operands[1] = static_cast<uint8_t>(b);
      i.index = static_cast<uint8_t>(index);
      return i;
    };
    code_ = {instruction(Opcode::Load, 0, 0, 0, 0),    instruction(Opcode::Load, 1, 0, 0, 1),
             instruction(Opcode::Add, 2, 0, 1, 0),     instruction(Opcode::Constant, 3, 0, 0, 0),
             instruction(Opcode::Maximum, 4, 2, 3, 0), instruction(Opcode::Store, 0, 4, 0, 0)};
    code_[3].floating = 0;
    arguments_ = {.code = code_.data(),
                  .code_size = static_cast<int>(code_.size()),
                  .registers = 5,
                  .operands = operands_,
                  .operand_count = 2,
                  .loops = 2,
                  .sizes = {rows, columns}};
  }
  BiasRelu(const BiasRelu&) = delete;
  const kernels::PointwiseArguments* arguments() const { return &arguments_; }

 private:
  kernels::Operand operands_[2];
  std::vector<kernels::Instruction> code_;
  kernels::PointwiseArguments arguments_;
};

}  // namespace pycnn::testing_kernels
