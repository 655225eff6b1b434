// Convolution and matmul of the CUDA plug-in, run on the host in emulation: every algorithm, by name, against plain
// loops in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cuda/index_divide.h"
#include "cuda/kernels.h"
#include "cuda/operands.h"
#include "cuda/phases.h"
#include "cuda/products.h"
#include "pycnn/dtype.h"

namespace pycnn {
namespace {

using kernels::ConvolutionAlgorithm;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;
using kernels::MatmulArguments;

/// Results are looked at as soon as a kernel was called.
const bool runs_at_once = (cuda::emulation::run_streams_at_once(), true);

// -- elements ---------------------------------------------------------------------------------------------------------
double value_of(float x) { return x; }
double value_of(double x) { return x; }
double value_of(int64_t x) { return static_cast<double>(x); }
double value_of(BFloat16 x) { return to_float(x); }
double value_of(Float16 x) { return to_float(x); }

template <typename T>
T element_of(double x) {
  if constexpr (std::is_same_v<T, BFloat16>)
    return to_bfloat16(static_cast<float>(x));
  else if constexpr (std::is_same_v<T, Float16>)
    return to_float16(static_cast<float>(x));
  else
    return static_cast<T>(x);
}

/// How far a result may be from the exact one: relative to itself, and to the largest.
template <typename T>
struct Tolerance {
  static constexpr double own = std::is_same_v<T, BFloat16>  ? 0x1.02p-8
                                : std::is_same_v<T, Float16> ? 0x1.02p-11
                                                             : 0,
                          all = std::is_same_v<T, double> || std::is_same_v<T, int64_t> ? 1e-14 : 2e-6;
};

/// Elements between guards. What is written begins as NaN.
template <typename T>
class Guarded {
 public:
  static constexpr size_t guard = 64;  ///< elements; keeps the first one aligned
  explicit Guarded(int64_t count, int64_t shift = 0)
      : count_(static_cast<size_t>(std::max<int64_t>(count, 0))), shift_(shift) {
    bytes_.resize((count_ + 2 * guard + static_cast<size_t>(shift)) * sizeof(T) + 256, 0x5A);
    auto at = reinterpret_cast<uintptr_t>(bytes_.data());
    begin_ = reinterpret_cast<T*>((at + 255) / 256 * 256) + guard + shift;
    std::memset(static_cast<void*>(begin_), 0xFF, count_ * sizeof(T));
  }
  T* data() { return begin_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return begin_[i]; }
  void randomize(uint32_t seed) {
    std::mt19937 generator(seed);
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (size_t i = 0; i < count_; ++i)
      begin_[i] = std::is_same_v<T, int64_t> ? element_of<T>(std::floor(100 * uniform(generator)))
                                             : element_of<T>(uniform(generator));
  }
  bool intact() const {
    const auto* all = bytes_.data();
    const auto* first = reinterpret_cast<const unsigned char*>(begin_);
    const auto* last = first + count_ * sizeof(T);
    for (const auto* p = all; p != all + bytes_.size(); ++p)
      if ((p < first || p >= last) && *p != 0x5A) return false;
    return true;
  }

 private:
  std::vector<unsigned char> bytes_;
  size_t count_;
  int64_t shift_;
  T* begin_;
};

template <typename T>
void expect_close(Guarded<T>& got, const std::vector<double>& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  ASSERT_TRUE(got.intact()) << what << ": written beyond the end";
  double scale = 1;
  for (double value : expected) scale = std::max(scale, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(value_of(got[i]) - expected[i]);
    ASSERT_TRUE(error <= Tolerance<T>::own * std::abs(expected[i]) + Tolerance<T>::all * scale)
        << what << ": element " << i << " is " << value_of(got[i]) << " instead of " << expected[i];
  }
}

// -- convolutions -----------------------------------------------------------------------------------------------------
/// Depth is the first of three dimensions.
struct Case {
  int64_t batch, groups, in, out;
  std::array<int64_t, 3> size, kernel, stride, padding, dilation;
  int64_t extra_end = 0;  ///< rows and columns of results more than equal padding at the end would give
};

constexpr std::array<int64_t, 3> one = {1, 1, 1}, zero = {0, 0, 0};

const std::vector<Case> cases = {
    {2, 1, 1, 6, {1, 9, 10}, {1, 5, 5}, one, {0, 2, 2}, one},
    {1, 1, 3, 17, {1, 9, 11}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, one},
    {1, 1, 3, 8, {1, 12, 11}, {1, 7, 7}, {1, 2, 2}, {0, 3, 3}, one},
    {2, 1, 8, 16, {1, 7, 6}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 1, 16, 24, {1, 9, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, one},
    {1, 1, 24, 8, {1, 8, 9}, {1, 3, 2}, {1, 2, 3}, {0, 1, 0}, {1, 2, 1}},
    {1, 1, 5, 4, {1, 10, 9}, {1, 3, 3}, {1, 1, 2}, {0, 2, 4}, {1, 2, 3}},
    {2, 1, 40, 72, {1, 5, 5}, one, one, zero, one},
    {1, 1, 16, 40, {1, 9, 9}, one, {1, 2, 2}, zero, one},
    {2, 3, 9, 6, {1, 6, 6}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 2, 32, 16, {1, 7, 7}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, one},
    {2, 2, 16, 16, {1, 5, 5}, one, one, zero, one},
    {1, 4, 24, 40, {1, 5, 6}, {1, 3, 3}, one, {0, 1, 1}, one},
    {2, 17, 17, 17, {1, 9, 10}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 40, 40, 40, {1, 9, 8}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, one},
    {1, 16, 16, 16, {1, 9, 9}, {1, 5, 3}, one, {0, 2, 2}, {1, 1, 2}},
    {2, 3, 3, 12, {1, 7, 7}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 8, 8, 8, {5, 6, 5}, {3, 3, 3}, {2, 1, 2}, {1, 1, 1}, one},
    {1, 1, 3, 4, {1, 1, 50}, {1, 1, 5}, {1, 1, 2}, {0, 0, 2}, one},
    {1, 1, 8, 8, {1, 1, 31}, {1, 1, 3}, {1, 1, 3}, {0, 0, 1}, {1, 1, 2}},
    {1, 1, 2, 3, {1, 3, 3}, {1, 3, 3}, {1, 5, 5}, {0, 4, 4}, one},
    {1, 1, 2, 3, {1, 4, 4}, {1, 2, 2}, {1, 3, 3}, zero, one},
    {1, 1, 8, 8, {1, 9, 9}, {1, 3, 3}, {1, 4, 4}, {0, 1, 1}, {1, 2, 2}},
    {1, 1, 8, 8, {9, 9, 9}, {3, 3, 3}, {3, 3, 3}, {1, 1, 1}, one},
    {1, 1, 1, 1, {1, 5, 5}, {1, 3, 3}, one, zero, one},
    {0, 1, 3, 4, {1, 5, 5}, {1, 3, 3}, one, {0, 1, 1}, one},
    {0, 4, 4, 4, {1, 5, 5}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 1, 3, 4, {1, 2, 2}, {1, 3, 3}, one, zero, one},
    {2, 1, 3, 5, {4, 6, 5}, {3, 3, 3}, one, {1, 1, 1}, one},
    {1, 1, 16, 7, {5, 6, 5}, {2, 3, 2}, {2, 2, 1}, {1, 1, 1}, one},
    {1, 1, 4, 5, {1, 6, 6}, {1, 4, 4}, one, {0, 1, 1}, one, 1},
    {1, 1, 24, 5, {1, 8, 8}, {1, 3, 3}, {1, 2, 2}, zero, one, 1},
    {1, 1, 8, 136, {1, 6, 5}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 1, 136, 8, {1, 5, 4}, {1, 3, 3}, {1, 2, 1}, {0, 1, 1}, one},
    {1, 1, 264, 16, {1, 3, 3}, {1, 3, 3}, one, {0, 1, 1}, one},
    {4, 1, 8, 8, {1, 18, 19}, {1, 3, 3}, one, {0, 1, 1}, one},
    {1, 1, 8, 8, {1, 13, 12}, {1, 12, 11}, one, {0, 3, 3}, one},
    {2, 1, 6, 10, {1, 9, 9}, {1, 3, 3}, {1, 2, 1}, {0, 1, 1}, one},
};

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

ConvolutionShape shape_of(const Case& c) {
  ConvolutionShape s{};
  s.batch = c.batch, s.groups = c.groups, s.in_channels = c.in, s.out_channels = c.out;
  for (size_t d = 0; d < 3; ++d) {
    s.input[d] = c.size[d], s.kernel[d] = c.kernel[d], s.stride[d] = c.stride[d];
    s.padding[d] = c.padding[d], s.dilation[d] = c.dilation[d];
    const int64_t span = s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1;
    s.output[d] = span < 0 ? 0 : span / s.stride[d] + 1 + (d > 0 ? c.extra_end : 0);
  }
  return s;
}

std::string described(const Case& c) {
  std::string text = "batch " + std::to_string(c.batch) + " groups " + std::to_string(c.groups) + " channels " +
                     std::to_string(c.in) + " " + std::to_string(c.out);
  const auto add = [&](const char* name, const std::array<int64_t, 3>& values) {
    text += std::string(" ") + name;
    for (int64_t value : values) text += " " + std::to_string(value);
  };
  add("size", c.size), add("kernel", c.kernel), add("stride", c.stride), add("padding", c.padding);
  add("dilation", c.dilation);
  return text;
}

/// Calls visit(input element, weight element (out, in, tap), output element) for each product of the convolution.
template <typename Visit>
void for_each_product(const ConvolutionShape& s, const Visit& visit) {
  const int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups, taps = volume(s.kernel);
  for (int64_t n = 0; n < s.batch; ++n)
    for (int64_t pixel = 0; pixel < volume(s.output); ++pixel)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t y[3] = {pixel / s.output[2] / s.output[1], pixel / s.output[2] % s.output[1],
                              pixel % s.output[2]};
        const int64_t t[3] = {tap / s.kernel[2] / s.kernel[1], tap / s.kernel[2] % s.kernel[1], tap % s.kernel[2]};
        int64_t x[3];
        bool inside = true;
        for (int d = 0; d < 3; ++d) {
          x[d] = y[d] * s.stride[d] + t[d] * s.dilation[d] - s.padding[d];
          inside = inside && x[d] >= 0 && x[d] < s.input[d];
        }
        if (!inside) continue;
        const int64_t from = ((n * s.input[0] + x[0]) * s.input[1] + x[1]) * s.input[2] + x[2];
        for (int64_t o = 0; o < s.out_channels; ++o)
          for (int64_t i = 0; i < in; ++i)
            visit(from * s.in_channels + o / out * in + i, (o * in + i) * taps + tap,
                  (n * volume(s.output) + pixel) * s.out_channels + o);
      }
}

enum class WeightLayout { InOrder, ChannelsLast, Exchanged };

template <typename T>
struct Data {
  Data(const Case& c, ConvolutionPass pass, WeightLayout layout, int64_t shift)
      : s(shape_of(c)),
        input(s.batch * volume(s.input) * s.in_channels, shift),
        weight(s.out_channels * (s.in_channels / s.groups) * volume(s.kernel), shift),
        output(s.batch * volume(s.output) * s.out_channels, shift) {
    const int64_t in = s.in_channels / s.groups, taps = volume(s.kernel);
    if (layout == WeightLayout::InOrder)
      strides = {in * taps, taps, 1};
    else if (layout == WeightLayout::ChannelsLast)
      strides = {in * taps, 1, in};
    else
      strides = {1, s.out_channels * taps, s.out_channels};
    if (pass != ConvolutionPass::Forward || s.batch == 0) output.randomize(3);
    if (pass != ConvolutionPass::InputGradient) input.randomize(1);
    if (pass != ConvolutionPass::WeightGradient) weight.randomize(2);
    if (pass == ConvolutionPass::Forward)
      std::memset(static_cast<void*>(output.data()), 0xFF, output.size() * sizeof(T));
    arguments.shape = s;
    arguments.dtype = dtype_of<T>();
    arguments.input = input.data(), arguments.weight = weight.data(), arguments.output = output.data();
    for (size_t i = 0; i < 3; ++i) arguments.weight_strides[i] = strides[i];
    arguments.epilogue = nullptr;
    arguments.forced = true;
  }
  /// Where element (out, in, tap) in row-major order lies.
  size_t place(int64_t element) const {
    const int64_t in = s.in_channels / s.groups, taps = volume(s.kernel);
    return static_cast<size_t>(element / taps / in * strides[0] + element / taps % in * strides[1] +
                               element % taps * strides[2]);
  }
  std::vector<double> expected(ConvolutionPass pass) {
    std::vector<double> sums(result(pass).size(), 0);
    for_each_product(s, [&](int64_t x, int64_t w, int64_t y) {
      const auto at_x = static_cast<size_t>(x), at_y = static_cast<size_t>(y);
      if (pass == ConvolutionPass::Forward)
        sums[at_y] += value_of(input[at_x]) * value_of(weight[place(w)]);
      else if (pass == ConvolutionPass::InputGradient)
        sums[at_x] += value_of(output[at_y]) * value_of(weight[place(w)]);
      else
        sums[place(w)] += value_of(output[at_y]) * value_of(input[at_x]);
    });
    return sums;
  }
  Guarded<T>& result(ConvolutionPass pass) {
    return pass == ConvolutionPass::Forward ? output : pass == ConvolutionPass::InputGradient ? input : weight;
  }

  ConvolutionShape s;
  Guarded<T> input, weight, output;
  std::array<int64_t, 3> strides;
  ConvolutionArguments arguments{};
};

const ConvolutionAlgorithm* algorithms_of(ConvolutionPass pass) {
  return pass == ConvolutionPass::Forward         ? cuda::convolution_forward
         : pass == ConvolutionPass::InputGradient ? cuda::convolution_input_gradient
                                                  : cuda::convolution_weight_gradient;
}

constexpr ConvolutionPass passes[] = {ConvolutionPass::Forward, ConvolutionPass::InputGradient,
                                      ConvolutionPass::WeightGradient};

/// Runs an algorithm in a workspace of exactly its size.
void run_in_workspace(const ConvolutionAlgorithm& algorithm, ConvolutionArguments arguments) {
  Guarded<unsigned char> workspace(static_cast<int64_t>(algorithm.workspace(arguments)));
  arguments.workspace = workspace.data();
  algorithm.run(arguments);
  ASSERT_TRUE(workspace.intact()) << algorithm.name << ": the workspace is too small";
}

enum class Which { All, Chosen };

template <typename T>
void check_convolutions(int64_t shift, Which which) {
  const int64_t conflicts = cuda::emulation::bank_conflicts();
  for (size_t number = 0; number < cases.size(); ++number) {
    const Case& c = cases[number];
    for (const ConvolutionPass pass : passes) {
      const auto layout = static_cast<WeightLayout>((number + static_cast<size_t>(pass)) % 3);
      Data<T> data(c, pass, layout, shift);
      data.arguments.forced = which == Which::All;
      const std::vector<double> expected = data.expected(pass);
      Guarded<T>& result = data.result(pass);
      for (const ConvolutionAlgorithm* a = algorithms_of(pass); a->name != nullptr; ++a) {
        if (a->declines(data.arguments) != nullptr) continue;
        const std::string what = std::string(a->name) + ", pass " + std::to_string(static_cast<int>(pass)) + ": " +
                                 described(c) + ", " + std::string(name_of(dtype_of<T>()));
        std::memset(static_cast<void*>(result.data()), 0xFF, result.size() * sizeof(T));
        run_in_workspace(*a, data.arguments);
        expect_close(result, expected, what);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
  EXPECT_EQ(cuda::emulation::bank_conflicts(), conflicts) << "lanes read matrices from the same banks";
}

TEST(CudaConvolution, Float32) { check_convolutions<float>(0, Which::All); }
TEST(CudaConvolution, BFloat16) { check_convolutions<BFloat16>(0, Which::All); }
TEST(CudaConvolution, Float16) { check_convolutions<Float16>(0, Which::Chosen); }
TEST(CudaConvolution, Float64) { check_convolutions<double>(0, Which::All); }
TEST(CudaConvolution, Float32NotAligned) { check_convolutions<float>(1, Which::Chosen); }
TEST(CudaConvolution, BFloat16NotAligned) { check_convolutions<BFloat16>(1, Which::Chosen); }
TEST(CudaConvolution, Float16AlignedToPairs) { check_convolutions<Float16>(2, Which::Chosen); }

/// TFloat32 keeps 10 bits of the mantissa.
TEST(CudaConvolution, TFloat32WhenAllowed) {
  bool differs = false;
  for (const size_t number : {3U, 4U, 5U, 10U, 17U, 23U, 32U, 35U}) {
    for (const ConvolutionPass pass : passes) {
      Data<float> data(cases[number], pass, WeightLayout::InOrder, 0);
      data.arguments.tf32 = true;
      const std::vector<double> expected = data.expected(pass);
      Guarded<float>& result = data.result(pass);
      double scale = 1;
      for (double value : expected) scale = std::max(scale, std::abs(value));
      for (const ConvolutionAlgorithm* a = algorithms_of(pass); a->name != nullptr; ++a) {
        if (!std::string(a->name).starts_with("implicit") || a->declines(data.arguments) != nullptr) continue;
        std::memset(static_cast<void*>(result.data()), 0xFF, result.size() * sizeof(float));
        run_in_workspace(*a, data.arguments);
        double worst = 0;
        for (size_t i = 0; i < result.size(); ++i) {
          ASSERT_TRUE(std::isfinite(result[i])) << a->name << ": " << described(cases[number]);
          worst = std::max(worst, std::abs(result[i] - expected[i]) / scale);
        }
        ASSERT_LT(worst, 4e-3) << a->name << ": " << described(cases[number]);
        differs |= worst > 1e-5;
      }
    }
  }
  EXPECT_TRUE(differs) << "nothing was computed in TFloat32";
}

/// A result's neighbours: bias, ReLU and a residual, stored over the raw result or elsewhere.
template <typename T>
struct Epilogue {
  Epilogue(T* raw, T* bias, T* residual, T* to, int64_t rows, int64_t columns) {
    using kernels::Opcode;
    const DType dtype = dtype_of<T>();
    operands = {{{raw, dtype, {columns, 1}},
                 {bias, dtype, {0, 1}},
                 {residual, dtype, {columns, 1}},
                 {to, dtype, {columns, 1}}}};
    const auto add = [&](Opcode opcode, int destination, int a, int b, int index) {
      kernels::Instruction i{};
      i.opcode = opcode;
      i.type = i.source = std::is_same_v<T, double> ? kernels::RegisterType::F64 : kernels::RegisterType::F32;
      i.destination = static_cast<uint8_t>(destination);
      i.operands[0] = static_cast<uint8_t>(a);
      i.operands[1] = static_cast<uint8_t>(b);
      i.index = static_cast<uint8_t>(index);
      i.floating = 0;
      code.push_back(i);
    };
    add(Opcode::Load, 0, 0, 0, 0), add(Opcode::Load, 1, 0, 0, 1), add(Opcode::Add, 2, 0, 1, 0);
    add(Opcode::Load, 3, 0, 0, 2), add(Opcode::Add, 4, 2, 3, 0), add(Opcode::Constant, 5, 0, 0, 0);
    add(Opcode::Maximum, 6, 4, 5, 0), add(Opcode::Store, 0, 6, 0, 3);
    arguments.code = code.data();
    arguments.code_size = static_cast<int>(code.size());
    arguments.registers = 7;
    arguments.operands = operands.data();
    arguments.operand_count = 4;
    arguments.loops = 2;
    arguments.sizes[0] = rows;
    arguments.sizes[1] = columns;
  }
  Epilogue(const Epilogue&) = delete;
  std::array<kernels::Operand, 4> operands;
  std::vector<kernels::Instruction> code;
  kernels::PointwiseArguments arguments{};
};

template <typename T>
void check_epilogues() {
  for (const size_t number : {1U, 3U, 4U, 10U, 13U, 14U, 22U, 33U, 34U}) {
    const Case& c = cases[number];
    for (const ConvolutionPass pass : {ConvolutionPass::Forward, ConvolutionPass::InputGradient}) {
      Data<T> data(c, pass, WeightLayout::InOrder, 0);
      const std::vector<double> exact = data.expected(pass);
      Guarded<T>& raw = data.result(pass);
      const int64_t columns = pass == ConvolutionPass::Forward ? c.out : c.in;
      const auto count = static_cast<int64_t>(raw.size());
      Guarded<T> bias(columns), residual(count), elsewhere(count);
      bias.randomize(5);
      residual.randomize(6);
      for (const bool in_place : {true, false}) {
        Guarded<T>& to = in_place ? raw : elsewhere;
        const Epilogue<T> epilogue(raw.data(), bias.data(), residual.data(), to.data(), count / columns, columns);
        data.arguments.epilogue = &epilogue.arguments;
        std::vector<double> expected(exact.size());
        for (size_t i = 0; i < exact.size(); ++i) {
          const double rounded = value_of(element_of<T>(exact[i]));
          expected[i] =
              std::max(0.0, rounded + value_of(bias[i % static_cast<size_t>(columns)]) + value_of(residual[i]));
        }
        for (const ConvolutionAlgorithm* a = algorithms_of(pass); a->name != nullptr; ++a) {
          if (a->declines(data.arguments) != nullptr) continue;
          std::memset(static_cast<void*>(raw.data()), 0xFF, raw.size() * sizeof(T));
          std::memset(static_cast<void*>(to.data()), 0xFF, to.size() * sizeof(T));
          run_in_workspace(*a, data.arguments);
          const std::string what = std::string(a->name) + " with an epilogue: " + described(c);
          ASSERT_TRUE(to.intact() && raw.intact()) << what;
          double scale = 1;
          for (double value : exact) scale = std::max(scale, std::abs(value));
          // Two roundings, the first of which may have gone the other way.
          for (size_t i = 0; i < to.size(); ++i)
            ASSERT_NEAR(value_of(to[i]), expected[i], 4 * Tolerance<T>::own * scale + Tolerance<T>::all * scale)
                << what;
          if (!in_place) expect_close(raw, exact, what);
          if (testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(CudaConvolution, Float32Epilogue) { check_epilogues<float>(); }
TEST(CudaConvolution, BFloat16Epilogue) { check_epilogues<BFloat16>(); }

/// What pack() made ahead is as good as what run() packs for itself.
TEST(CudaConvolution, PackedAhead) {
  int packed_some = 0;
  for (const size_t number : {1U, 3U, 4U, 5U, 10U, 22U, 23U, 36U})
    for (const ConvolutionPass pass : {ConvolutionPass::Forward, ConvolutionPass::InputGradient}) {
      Data<BFloat16> data(cases[number], pass, WeightLayout::InOrder, 0);
      Guarded<BFloat16>& result = data.result(pass);
      for (const ConvolutionAlgorithm* a = algorithms_of(pass); a->name != nullptr; ++a) {
        if (a->packed_bytes == nullptr || a->declines(data.arguments) != nullptr) continue;
        run_in_workspace(*a, data.arguments);
        const std::vector<uint16_t> before(reinterpret_cast<uint16_t*>(result.data()),
                                           reinterpret_cast<uint16_t*>(result.data()) + result.size());
        const size_t bytes = a->packed_bytes(data.arguments);
        if (bytes == 0) continue;
        Guarded<unsigned char> packed(static_cast<int64_t>(bytes));
        a->pack(data.arguments, packed.data());
        ASSERT_TRUE(packed.intact());
        ConvolutionArguments arguments = data.arguments;
        arguments.packed = packed.data();
        arguments.weight = nullptr;
        std::memset(static_cast<void*>(result.data()), 0xFF, result.size() * sizeof(BFloat16));
        run_in_workspace(*a, arguments);
        EXPECT_EQ(std::memcmp(before.data(), result.data(), result.size() * 2), 0) << a->name;
        ++packed_some;
      }
    }
  EXPECT_GT(packed_some, 20);
}

/// Exactly one implicit product offers itself unless depthwise does, and the reference never declines.
TEST(CudaConvolution, ChoosesAmongAlgorithms) {
  for (const Case& c : cases)
    for (const ConvolutionPass pass : passes) {
      Data<BFloat16> data(c, pass, WeightLayout::InOrder, 0);
      data.arguments.forced = false;
      int products = 0;
      for (const ConvolutionAlgorithm* a = algorithms_of(pass); a->name != nullptr; ++a) {
        const bool offered = a->declines(data.arguments) == nullptr;
        products += offered && std::string(a->name).starts_with("implicit");
        EXPECT_TRUE(offered || std::string(a->name) != "reference");
      }
      EXPECT_EQ(products, 1) << described(c);
    }
}

// -- matmul -----------------------------------------------------------------------------------------------------------
struct Product {
  int64_t batch[2], m, n, k;
};
const std::vector<Product> products = {{{1, 1}, 1, 1, 1},      {{1, 1}, 5, 7, 3},     {{2, 3}, 9, 8, 16},
                                       {{1, 1}, 130, 136, 40}, {{1, 1}, 64, 72, 200}, {{1, 2}, 16, 24, 8},
                                       {{3, 1}, 33, 17, 31},   {{1, 1}, 8, 10, 1000}, {{1, 1}, 70, 0, 8},
                                       {{1, 1}, 8, 16, 0},     {{0, 1}, 4, 4, 4},     {{1, 1}, 24, 129, 20}};

/// a and b as they lie or transposed, b the same for all products of the outer batch.
template <typename T>
void check_products(int64_t shift) {
  for (const Product& p : products)
    for (int layout = 0; layout < 4; ++layout) {
      const bool turned_a = layout % 2 != 0, turned_b = layout / 2 != 0;
      const int64_t batch = p.batch[0] * p.batch[1], c_row = p.n + 8;
      Guarded<T> a(batch * p.m * p.k, shift), b(p.batch[1] * p.k * p.n, shift), c(batch * p.m * c_row, shift);
      a.randomize(1);
      b.randomize(2);
      MatmulArguments g{};
      g.dtype = dtype_of<T>();
      g.batch[0] = p.batch[0], g.batch[1] = p.batch[1], g.m = p.m, g.n = p.n, g.k = p.k;
      g.a = a.data(), g.b = b.data(), g.c = c.data();
      g.a_batch[0] = p.batch[1] * p.m * p.k, g.a_batch[1] = p.m * p.k;
      g.a_row = turned_a ? 1 : p.k, g.a_column = turned_a ? p.m : 1;
      g.b_batch[0] = 0, g.b_batch[1] = p.k * p.n;
      g.b_row = turned_b ? 1 : p.n, g.b_column = turned_b ? p.k : 1;
      g.c_batch[0] = p.batch[1] * p.m * c_row, g.c_batch[1] = p.m * c_row, g.c_row = c_row;
      g.forced = true;
      for (const kernels::MatmulAlgorithm* algorithm = cuda::matmul; algorithm->name != nullptr; ++algorithm) {
        if (algorithm->declines(g) != nullptr) continue;
        const std::string what = std::string(algorithm->name) + " " + std::to_string(p.m) + "x" + std::to_string(p.n) +
                                 "x" + std::to_string(p.k) + " layout " + std::to_string(layout);
        std::memset(static_cast<void*>(c.data()), 0xFF, c.size() * sizeof(T));
        Guarded<unsigned char> workspace(static_cast<int64_t>(algorithm->workspace(g)));
        g.workspace = workspace.data();
        algorithm->run(g);
        ASSERT_TRUE(workspace.intact() && c.intact()) << what;
        Guarded<T> dense(batch * p.m * p.n);
        std::vector<double> expected(dense.size());
        for (int64_t row = 0; row < batch * p.m; ++row)
          for (int64_t column = 0; column < c_row; ++column) {
            const auto at = static_cast<size_t>(row * c_row + column);
            if (column >= p.n) {  // what lies between rows stays
              T untouched;
              std::memset(static_cast<void*>(&untouched), 0xFF, sizeof untouched);
              ASSERT_EQ(std::memcmp(&c[at], &untouched, sizeof(T)), 0) << what;
              continue;
            }
            const int64_t product = row / p.m, i = row % p.m;
            double sum = 0;
            for (int64_t k = 0; k < p.k; ++k)
              sum += value_of(a[static_cast<size_t>(product * p.m * p.k + i * g.a_row + k * g.a_column)]) *
                     value_of(
                         b[static_cast<size_t>(product % p.batch[1] * p.k * p.n + k * g.b_row + column * g.b_column)]);
            expected[static_cast<size_t>(row * p.n + column)] = sum;
            dense[static_cast<size_t>(row * p.n + column)] = c[at];
          }
        expect_close(dense, expected, what);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
}

TEST(CudaMatmul, Float32) { check_products<float>(0); }
TEST(CudaMatmul, BFloat16) { check_products<BFloat16>(0); }
TEST(CudaMatmul, Float16) { check_products<Float16>(0); }
TEST(CudaMatmul, Float64) { check_products<double>(0); }
TEST(CudaMatmul, Int64) { check_products<int64_t>(0); }
TEST(CudaMatmul, BFloat16NotAligned) { check_products<BFloat16>(1); }

/// Deep products of few results are split, and come out the same each time.
TEST(CudaMatmul, SplitsAreRepeatable) {
  for (const int64_t depth : {600, 4000, 9000}) {
    Guarded<float> a(24 * depth), b(depth * 20), c(24 * 20);
    a.randomize(1);
    b.randomize(2);
    MatmulArguments g{};
    g.dtype = DType::Float32;
    g.batch[0] = g.batch[1] = 1;
    g.m = 24, g.n = 20, g.k = depth;
    g.a = a.data(), g.b = b.data(), g.c = c.data();
    g.a_row = depth, g.a_column = 1, g.b_row = 20, g.b_column = 1, g.c_row = 20;
    std::vector<double> expected(c.size(), 0);
    for (int64_t k = 0; k < depth; ++k)
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] += value_of(a[i / 20 * static_cast<size_t>(depth) + static_cast<size_t>(k)]) *
                       value_of(b[static_cast<size_t>(k) * 20 + i % 20]);
    for (const kernels::MatmulAlgorithm* algorithm = cuda::matmul; algorithm->name != nullptr; ++algorithm) {
      if (algorithm->declines(g) != nullptr || std::string(algorithm->name) == "reference") continue;
      Guarded<unsigned char> workspace(static_cast<int64_t>(algorithm->workspace(g)));
      EXPECT_GT(workspace.size(), 0U);
      g.workspace = workspace.data();
      algorithm->run(g);
      expect_close(c, expected, algorithm->name);
      const std::vector<float> first(c.data(), c.data() + c.size());
      algorithm->run(g);
      EXPECT_EQ(std::memcmp(first.data(), c.data(), c.size() * sizeof(float)), 0);
    }
  }
}

// -- addresses --------------------------------------------------------------------------------------------------------
TEST(CudaAddresses, IndexDivide) {
  const int64_t most = (int64_t{1} << 31) - 1;
  std::mt19937 generator(1);
  for (int64_t divisor :
       {1L, 2L, 3L, 5L, 7L, 9L, 10L, 49L, 112L, 641L, 65536L, 65537L, 12345678L, 1L << 30, most - 1, most}) {
    const cuda::IndexDivide by(divisor);
    const auto expect = [&](int64_t n) {
      ASSERT_EQ(by.quotient(static_cast<int>(n)), n / divisor) << n << " / " << divisor;
    };
    for (int64_t n : {0L, 1L, divisor - 1, divisor, std::min(divisor + 1, most), most - 1, most,
                      most / divisor * divisor, most / divisor * divisor - 1})
      expect(n);
    for (int i = 0; i < 200; ++i) expect(generator() & 0x7FFFFFFF);
  }
}

/// Phases of the input's gradient make each product of the convolution exactly once, and none besides.
TEST(CudaAddresses, PhasesCoverAllProducts) {
  for (int64_t size : {1, 2, 5, 8})
    for (int64_t kernel : {1, 2, 3, 5})
      for (int64_t stride : {1, 2, 3, 4, 6})
        for (int64_t dilation : {1, 2, 3, 4})
          for (int64_t padding : {0, 1, 4}) {
            ConvolutionShape s{
                1, 1, 1, 1, {1, 1, size}, {1, 1, 0}, {1, 1, kernel}, {1, 1, stride}, {0, 0, padding}, {1, 1, dilation}};
            s.output[2] = std::max<int64_t>(0, (size + 2 * padding - dilation * (kernel - 1) - 1 + stride) / stride);
            std::vector<std::array<int64_t, 3>> expected, found;
            for_each_product(s, [&](int64_t x, int64_t w, int64_t y) { expected.push_back({x, w, y}); });
            std::vector<bool> seen(static_cast<size_t>(size), false);
            for (const cuda::Phase& phase : cuda::phases_of(s, ConvolutionPass::InputGradient)) {
              const cuda::PhaseAxis& axis = phase.axis[2];
              for (int q = 0; q < axis.positions; ++q) {
                const int64_t x = q * axis.result_step + axis.result_offset;
                ASSERT_FALSE(seen.at(static_cast<size_t>(x)));
                seen[static_cast<size_t>(x)] = true;
                for (int t = 0; t < axis.taps; ++t) {
                  const int64_t w = axis.kernel_first + t * axis.kernel_step;
                  const int64_t y = q * axis.step + axis.offset + t * axis.tap_step;
                  ASSERT_LT(w, kernel);
                  if (y >= 0 && y < s.output[2]) found.push_back({x, w, y});
                }
              }
            }
            ASSERT_EQ(std::count(seen.begin(), seen.end(), true), size);
            std::sort(expected.begin(), expected.end());
            std::sort(found.begin(), found.end());
            ASSERT_EQ(found, expected) << size << " " << kernel << " " << stride << " " << dilation << " " << padding;
          }
}

/// Tensors of more than 2^31 elements: only addresses are computed.
TEST(CudaAddresses, BeyondTwoGigaElements) {
  cuda::PixelRows<uint16_t, 8> rows{};
  const int64_t batch = 600, size[3] = {1, 224, 224}, channels = 128;
  for (int d = 0; d < 3; ++d) {
    rows.geometry.size[d] = static_cast<int>(size[d]);
    rows.geometry.part[0].axis[d] = {1, d > 0 ? -1 : 0, 1, cuda::IndexDivide(size[d]),
                                     cuda::IndexDivide(d > 0 ? 3 : 1)};
  }
  rows.geometry.channels = channels;
  rows.geometry.group_channels = cuda::IndexDivide(channels);
  rows.geometry.part[0].pixels = static_cast<int>(batch * size[1] * size[2]);
  rows.geometry.part[0].tap_depth = static_cast<int>(9 * channels);
  const auto last = static_cast<int>(batch * size[1] * size[2] - 1);
  int64_t offset = 0;
  // The last pixel's middle tap is the pixel itself; the tap to its right lies outside.
  EXPECT_EQ(rows.address(rows.across(0, last), rows.along(0, 4 * 128 + 120), offset), 8);
  EXPECT_EQ(offset, static_cast<int64_t>(last) * channels + 120);
  EXPECT_GT(offset, int64_t{1} << 31);
  EXPECT_EQ(rows.address(rows.across(0, last), rows.along(0, 5 * 128), offset), 0);
  EXPECT_EQ(rows.address(rows.across(0, last + 1), rows.along(0, 4 * 128), offset), 0);
  EXPECT_EQ(rows.address(rows.across(0, 0), rows.along(0, 9 * 128), offset), 0);
}

}  // namespace
}  // namespace pycnn
