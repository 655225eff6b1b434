// Helpers of the kernel tests: programs by the line, operands over vectors.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cpu/features.h"
#include "kernels/kernels.h"

namespace kernel_tests {

using pycnn::DType;
using pycnn::kernels::Instruction;
using pycnn::kernels::Kernels;
using pycnn::kernels::max_loops;
using pycnn::kernels::Opcode;
using pycnn::kernels::Operand;
using pycnn::kernels::PointwiseArguments;
using pycnn::kernels::RegisterType;

inline constexpr RegisterType f32 = RegisterType::F32;
inline constexpr RegisterType f64 = RegisterType::F64;
inline constexpr RegisterType i64 = RegisterType::I64;

/// The kernels of every level this machine runs.
inline std::vector<const Kernels*> all_levels() {
  std::vector<const Kernels*> result;
  for (std::string_view level : pycnn::cpu::available_levels()) result.push_back(&pycnn::cpu::kernels_of(level));
  return result;
}

/// A program under construction. Operands are numbered in the order they are added.
struct Builder {
  std::vector<Instruction> code;
  std::vector<Operand> operands;
  std::vector<int64_t> sizes;
  int registers = 0;

  explicit Builder(std::vector<int64_t> loop_sizes) : sizes(std::move(loop_sizes)) {}

  Operand make_operand(const void* data, DType dtype, std::vector<int64_t> strides) const {
    Operand operand{const_cast<void*>(data), dtype, {}};
    for (size_t d = 0; d < strides.size(); ++d) operand.strides[d] = strides[d];
    return operand;
  }
  /// Row-major strides of the iteration space.
  std::vector<int64_t> dense() const {
    std::vector<int64_t> strides(sizes.size(), 1);
    for (size_t d = sizes.size(); d-- > 1;) strides[d - 1] = strides[d] * sizes[d];
    return strides;
  }
  uint8_t load(RegisterType type, const void* data, DType dtype, std::vector<int64_t> strides) {
    operands.push_back(make_operand(data, dtype, std::move(strides)));
    Instruction instruction = blank(Opcode::Load, type);
    instruction.index = static_cast<uint8_t>(operands.size() - 1);
    return add(instruction);
  }
  void store(RegisterType type, uint8_t source, void* data, DType dtype, std::vector<int64_t> strides) {
    operands.push_back(make_operand(data, dtype, std::move(strides)));
    Instruction instruction = blank(Opcode::Store, type);
    instruction.index = static_cast<uint8_t>(operands.size() - 1);
    instruction.operands[0] = source;
    code.push_back(instruction);
  }
  uint8_t constant(RegisterType type, double value) {
    Instruction instruction = blank(Opcode::Constant, type);
    if (type == i64)
      instruction.integer = static_cast<int64_t>(value);
    else
      instruction.floating = value;
    return add(instruction);
  }
  uint8_t apply(Opcode opcode, RegisterType type, uint8_t a, uint8_t b = 0, uint8_t c = 0) {
    Instruction instruction = blank(opcode, type);
    instruction.operands[0] = a;
    instruction.operands[1] = b;
    instruction.operands[2] = c;
    return add(instruction);
  }
  uint8_t convert(RegisterType to, RegisterType from, uint8_t a) {
    Instruction instruction = blank(Opcode::Convert, to);
    instruction.source = from;
    instruction.operands[0] = a;
    return add(instruction);
  }
  uint8_t round_to(RegisterType type, DType dtype, uint8_t a) {
    Instruction instruction = blank(Opcode::RoundTo, type);
    instruction.index = static_cast<uint8_t>(dtype);
    instruction.operands[0] = a;
    return add(instruction);
  }
  PointwiseArguments arguments() {
    PointwiseArguments result{code.data(),
                              static_cast<int>(code.size()),
                              registers,
                              operands.data(),
                              static_cast<int>(operands.size()),
                              static_cast<int>(sizes.size()),
                              {}};
    for (size_t d = 0; d < sizes.size(); ++d) result.sizes[d] = sizes[d];
    return result;
  }

 private:
  static Instruction blank(Opcode opcode, RegisterType type) {
    Instruction instruction{};
    instruction.opcode = opcode;
    instruction.type = type;
    return instruction;
  }
  uint8_t add(Instruction instruction) {
    instruction.destination = static_cast<uint8_t>(registers++);
    code.push_back(instruction);
    return instruction.destination;
  }
};

/// Numbers that do not repeat soon; a plain linear congruential generator.
struct Generator {
  uint64_t state = 1;
  double next(double low, double high) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * static_cast<double>(state >> 11) * 0x1p-53;
  }
  template <typename T>
  std::vector<T> vector(size_t n, double low, double high) {
    std::vector<T> result(n);
    for (T& value : result) value = static_cast<T>(next(low, high));
    return result;
  }
};

}  // namespace kernel_tests
