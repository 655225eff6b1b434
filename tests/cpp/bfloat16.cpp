// Convolutions and matrix products of bfloat16: every algorithm, with every way to multiply that this machine has and
// the emulated one, against the float64 reference on the same operands.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "cpu/reference/reference.h"
#include "kernel_testing.h"
#include "pycnn/error.h"
#include "pycnn/graph.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace testing_kernels;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;
using kernels::MatmulArguments;

constexpr BFloat16 not_a_number{0x7fc0};

/// The bits, with one form for all that are no numbers.
uint16_t number(BFloat16 value) { return std::isnan(to_float(value)) ? not_a_number.bits : value.bits; }

/// Elements between others that are not numbers: who reads beyond the ends gets none either.
class Guarded {
 public:
  Guarded(int64_t count, uint32_t seed) : values_(static_cast<size_t>(count) + 2 * margin, not_a_number) {
    if (seed == 0) return;
    const std::vector<float> drawn = random_values<float>(count, seed);
    for (size_t i = 0; i < drawn.size(); ++i) values_[margin + i] = to_bfloat16(drawn[i]);
  }
  BFloat16* data() { return values_.data() + margin; }
  size_t size() const { return values_.size() - 2 * margin; }
  std::vector<double> widened() const {
    std::vector<double> wide;
    for (size_t i = 0; i < size(); ++i) wide.push_back(double{to_float(values_[margin + i])});
    return wide;
  }
  std::vector<uint16_t> bits() const {
    std::vector<uint16_t> all;
    for (size_t i = 0; i < size(); ++i) all.push_back(number(values_[margin + i]));
    return all;
  }
  bool ends_are_whole() const {
    for (size_t i = 0; i < margin; ++i)
      if (values_[i].bits != not_a_number.bits || values_[values_.size() - 1 - i].bits != not_a_number.bits)
        return false;
    return true;
  }

 private:
  static constexpr size_t margin = 96;
  std::vector<BFloat16> values_;
};

class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), memory_((bytes + 128) / 2, 0x7fc0) {}
  void* data() { return memory_.data(); }
  bool end_is_whole() const {
    for (size_t i = bytes_ / 2; i < memory_.size(); ++i)
      if (memory_[i] != 0x7fc0) return false;
    return true;
  }

 private:
  size_t bytes_;
  std::vector<uint16_t> memory_;
};

/// Sums are off by a little of the largest, and rounded by at most 2⁻⁸; the same ones are no numbers.
void expect_near(const std::vector<double>& got, const std::vector<double>& expected) {
  ASSERT_EQ(got.size(), expected.size());
  double scale = 1;
  for (double value : expected)
    if (std::isfinite(value)) scale = std::max(scale, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::isnan(got[i]), std::isnan(expected[i])) << i;
    if (!std::isnan(expected[i])) {
      ASSERT_LE(std::abs(got[i] - expected[i]), std::abs(expected[i]) * 0x1p-8 + scale * 4e-6) << i;
    }
  }
}

/// What an epilogue of bias and ReLU makes of bits that were rounded before.
std::vector<uint16_t> biased(std::vector<uint16_t> bits, const std::vector<uint16_t>& bias) {
  for (size_t i = 0; i < bits.size(); ++i) {
    const float sum = to_float(BFloat16{bits[i]}) + to_float(BFloat16{bias[i % bias.size()]});
    bits[i] = number(to_bfloat16(std::isnan(sum) ? sum : std::max(sum, 0.0f)));
  }
  return bits;
}

/// Until the end of a scope.
class Products {
 public:
  explicit Products(std::string_view name) { cpu::set_bfloat16_products(name); }
  ~Products() { cpu::set_bfloat16_products("widening"); }
};

// -- convolution

struct Case {
  int64_t batch, groups, in, out;
  int64_t size[3], kernel[3], stride[3], padding[3], dilation[3];
};

const std::vector<Case> cases = {
    {2, 1, 3, 20, {1, 17, 19}, {1, 7, 7}, {1, 2, 2}, {0, 3, 3}, {1, 1, 1}},
    {2, 1, 1, 6, {1, 12, 40}, {1, 5, 5}, {1, 1, 1}, {0, 2, 2}, {1, 1, 1}},
    {1, 1, 11, 5, {1, 9, 35}, {1, 3, 4}, {1, 1, 1}, {0, 1, 2}, {1, 1, 1}},
    {1, 1, 6, 33, {1, 8, 9}, {1, 3, 3}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {2, 1, 16, 16, {1, 10, 33}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 33, 40, {1, 7, 7}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 64, 48, {1, 6, 29}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 17, 65, {1, 10, 13}, {1, 3, 2}, {1, 2, 3}, {0, 1, 0}, {1, 2, 1}},
    {1, 1, 5, 4, {1, 12, 12}, {1, 3, 3}, {1, 1, 2}, {0, 2, 4}, {1, 2, 3}},
    {2, 1, 40, 70, {1, 6, 5}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {2, 1, 17, 40, {1, 9, 9}, {1, 1, 1}, {1, 2, 2}, {0, 0, 0}, {1, 1, 1}},
    {2, 3, 9, 6, {1, 8, 8}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 2, 34, 68, {1, 9, 9}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, {1, 1, 1}},
    {1, 17, 17, 17, {1, 9, 10}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 2, 3, {1, 3, 3}, {1, 3, 3}, {1, 5, 5}, {0, 4, 4}, {1, 1, 1}},
    {1, 1, 18, 7, {5, 6, 5}, {2, 3, 2}, {2, 2, 1}, {1, 1, 1}, {1, 1, 1}},
    {1, 1, 3, 5, {4, 6, 5}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {1, 1, 2, 3, {1, 2, 600}, {1, 3, 9}, {1, 1, 1}, {0, 1, 4}, {1, 1, 1}},
    {1, 1, 2, 20, {1, 14, 20}, {1, 12, 9}, {1, 1, 1}, {0, 5, 4}, {1, 1, 1}},
    {1, 1, 130, 36, {1, 5, 6}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 18, 16, {1, 6, 9}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {2, 1, 16, 16, {1, 5, 47}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 8, 12, {1, 32, 33}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {2, 1, 3, 14, {1, 64, 31}, {1, 3, 1}, {1, 1, 1}, {0, 1, 0}, {1, 1, 1}},
    {0, 1, 3, 4, {1, 5, 5}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 3, 4, {1, 2, 2}, {1, 3, 3}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {2, 1, 70, 300, {1, 9, 9}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {2, 1, 70, 300, {1, 9, 9}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}, {1, 1, 1}},
    {1, 2, 140, 540, {1, 7, 7}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
    {1, 1, 20, 300, {1, 8, 9}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}},
    {1, 300, 300, 300, {1, 9, 10}, {1, 3, 3}, {1, 1, 1}, {0, 1, 1}, {1, 1, 1}},
};

ConvolutionShape shape_of(const Case& c) {
  ConvolutionShape s{};
  s.batch = c.batch, s.groups = c.groups, s.in_channels = c.in, s.out_channels = c.out;
  for (int d = 0; d < 3; ++d) {
    s.input[d] = c.size[d], s.kernel[d] = c.kernel[d], s.stride[d] = c.stride[d];
    s.padding[d] = c.padding[d], s.dilation[d] = c.dilation[d];
    const int64_t span = s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1;
    s.output[d] = span < 0 ? 0 : span / s.stride[d] + 1;
  }
  return s;
}

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

struct Convolution {
  /// Weights as (out, in, taps), or with the first two exchanged as transposed convolutions keep them.
  Convolution(const Case& c, ConvolutionPass which, bool exchanged)
      : pass(which),
        s(shape_of(c)),
        input(s.batch * volume(s.input) * s.in_channels, which == ConvolutionPass::InputGradient ? 0 : 1),
        weight(s.out_channels * (s.in_channels / s.groups) * volume(s.kernel),
               which == ConvolutionPass::WeightGradient ? 0 : 2),
        output(s.batch * volume(s.output) * s.out_channels, which == ConvolutionPass::Forward ? 0 : 3),
        bias(which == ConvolutionPass::Forward ? s.out_channels : s.in_channels, 4) {
    const int64_t in = s.in_channels / s.groups, taps = volume(s.kernel);
    arguments = {};
    arguments.shape = s;
    arguments.dtype = DType::BFloat16;
    arguments.weight_strides[0] = exchanged ? taps : in * taps;
    arguments.weight_strides[1] = exchanged ? taps * s.out_channels : taps;
    arguments.weight_strides[2] = 1;
    arguments.input = input.data(), arguments.weight = weight.data(), arguments.output = output.data();
    arguments.forced = true;
  }
  /// One source pixel and one weight that are no numbers, as far as the algorithm keeps them apart from others.
  void poison(const std::string& algorithm, bool also_weight) {
    Guarded& source = pass == ConvolutionPass::Forward ? input : output;
    if (pass == ConvolutionPass::WeightGradient) return;       // its products meet the zeros of borders
    if (source.size() == 0 || algorithm == "widened") return;  // Winograd's transforms mix them
    source.data()[source.size() / 2] = not_a_number;
    // Times the zeros of borders.
    if (also_weight && algorithm != "bfloat16_padded" && algorithm != "few_channels")
      weight.data()[weight.size() / 3] = not_a_number;
  }
  Guarded& result() {
    return pass == ConvolutionPass::Forward ? output : pass == ConvolutionPass::InputGradient ? input : weight;
  }

  std::vector<double> expected() {
    ConvolutionArguments a = arguments;
    std::vector<double> x = input.widened(), w = weight.widened(), y = output.widened();
    a.dtype = DType::Float64;
    a.input = x.data(), a.weight = w.data(), a.output = y.data();
    if (pass == ConvolutionPass::Forward) cpu::reference::convolution_forward(a);
    if (pass == ConvolutionPass::InputGradient) cpu::reference::convolution_input_gradient(a);
    if (pass == ConvolutionPass::WeightGradient) cpu::reference::convolution_weight_gradient(a);
    return pass == ConvolutionPass::Forward ? y : pass == ConvolutionPass::InputGradient ? x : w;
  }

  ConvolutionPass pass;
  ConvolutionShape s;
  Guarded input, weight, output, bias;
  ConvolutionArguments arguments;
};

std::vector<uint16_t> run(Convolution& c, const kernels::ConvolutionAlgorithm& algorithm, bool with_epilogue) {
  const int64_t channels = static_cast<int64_t>(c.bias.size());
  const BiasRelu<BFloat16> epilogue(c.result().data(), c.bias.data(),
                                    static_cast<int64_t>(c.result().size()) / channels, channels);
  c.arguments.epilogue = with_epilogue ? epilogue.arguments() : nullptr;
  Workspace workspace(algorithm.workspace(c.arguments));
  c.arguments.workspace = workspace.data();
  algorithm.run(c.arguments);
  EXPECT_TRUE(workspace.end_is_whole());
  EXPECT_TRUE(c.result().ends_are_whole());
  return c.result().bits();
}

/// With the weight packed before, by an algorithm that can; it is not read again.
std::vector<uint16_t> run_packed(Convolution& c, const kernels::ConvolutionAlgorithm& algorithm) {
  Workspace packed(algorithm.packed_bytes(c.arguments));
  algorithm.pack(c.arguments, packed.data());
  EXPECT_TRUE(packed.end_is_whole());
  c.arguments.packed = packed.data();
  c.arguments.weight = nullptr;
  return run(c, algorithm, false);
}

void check_convolutions(ConvolutionPass pass) {
  ThreadCount restore;
  for (std::string_view level : cpu::available_levels())
    for (std::string_view products : cpu::available_bfloat16_products()) {
      const Products use(products);
      const kernels::ConvolutionAlgorithm* list = cpu::kernels_of(level).convolution[static_cast<int>(pass)];
      for (; list->name; ++list) {
        int ran = 0;
        for (size_t i = 0; i < cases.size(); ++i)
          for (bool exchanged : {false, true}) {
            SCOPED_TRACE(std::string(level) + " " + std::string(products) + " " + list->name + " case " +
                         std::to_string(i));
            Convolution plain(cases[i], pass, exchanged);
            if (list->declines(plain.arguments)) continue;
            ++ran;
            plain.poison(list->name, exchanged);
            cpu::set_num_threads(1);
            const std::vector<uint16_t> bits = run(plain, *list, false);
            expect_near(plain.result().widened(), plain.expected());
            for (int threads : {1, 2, 3, 7}) {
              if (exchanged && threads > 1) break;
              cpu::set_num_threads(threads);
              Convolution again(cases[i], pass, exchanged);
              again.poison(list->name, exchanged);
              if (pass == ConvolutionPass::WeightGradient)  // has no epilogue
                EXPECT_EQ(run(again, *list, false), bits) << threads << " threads";
              else
                EXPECT_EQ(run(again, *list, true), biased(bits, again.bias.bits())) << threads << " threads";
            }
            if (list->packed_bytes == nullptr || list->packed_bytes(plain.arguments) == 0) continue;
            Convolution again(cases[i], pass, exchanged);
            again.poison(list->name, exchanged);
            EXPECT_EQ(run_packed(again, *list), bits) << "weight packed before";
          }
        EXPECT_TRUE(ran > 0 || !is_for_bfloat16(list->name)) << list->name << " took no case";
      }
    }
}

TEST(BFloat16, ConvolutionForward) { check_convolutions(ConvolutionPass::Forward); }
TEST(BFloat16, ConvolutionInputGradient) { check_convolutions(ConvolutionPass::InputGradient); }
TEST(BFloat16, ConvolutionWeightGradient) { check_convolutions(ConvolutionPass::WeightGradient); }

// -- matmul

struct Product {
  int64_t batch0, batch1, m, n, k;
  bool transpose_a = false, transpose_b = false;
  bool share_b = false;  ///< every product of the batch uses the same b
  int64_t c_gap = 0;     ///< elements between rows of c
};

const std::vector<Product> products_of_matrices = {
    {1, 1, 1, 1, 1},
    {1, 1, 1, 1, 0},
    {1, 1, 0, 5, 3},
    {1, 1, 3, 0, 3},
    {1, 1, 1, 10, 84},
    {1, 1, 13, 17, 31},
    {1, 1, 16, 16, 32},
    {1, 1, 17, 33, 66},
    {1, 1, 33, 31, 100, false, true},
    {1, 1, 29, 33, 400, true, false},
    {1, 1, 64, 84, 121, true, true},
    {1, 1, 150, 300, 900},
    {1, 2, 17, 40, 2048},
    {2, 3, 5, 7, 11},
    {2, 3, 40, 20, 50, true, true},
    {3, 2, 33, 65, 20, false, true, true, 3},
    {1, 4, 7, 49, 6, false, false, true, 1},
    {1, 1, 1, 300, 64, false, true},
    {1, 1, 300, 1, 64},
    {2, 1, 30, 33, 1100, false, true, false, 1},
    {1, 1, 300, 270, 40, true, false},
};

struct Multiplication {
  explicit Multiplication(const Product& p)
      : a(p.batch0 * p.batch1 * p.m * p.k, 1),
        b((p.share_b ? 1 : p.batch0 * p.batch1) * p.k * p.n, 2),
        c(p.batch0 * p.batch1 * p.m * (p.n + p.c_gap), 0),
        bias(p.n, 3) {
    const int64_t row = p.n + p.c_gap;
    arguments = {};
    arguments.dtype = DType::BFloat16;
    arguments.batch[0] = p.batch0, arguments.batch[1] = p.batch1;
    arguments.m = p.m, arguments.n = p.n, arguments.k = p.k;
    arguments.a = a.data(), arguments.b = b.data(), arguments.c = c.data();
    arguments.a_batch[0] = p.batch1 * p.m * p.k, arguments.a_batch[1] = p.m * p.k;
    arguments.a_row = p.transpose_a ? 1 : p.k, arguments.a_column = p.transpose_a ? p.m : 1;
    if (!p.share_b) arguments.b_batch[0] = p.batch1 * p.k * p.n, arguments.b_batch[1] = p.k * p.n;
    arguments.b_row = p.transpose_b ? 1 : p.n, arguments.b_column = p.transpose_b ? p.k : 1;
    arguments.c_batch[0] = p.batch1 * p.m * row, arguments.c_batch[1] = p.m * row, arguments.c_row = row;
    arguments.forced = true;
    if (a.size() > 0 && b.size() > 0) a.data()[a.size() / 2] = b.data()[b.size() / 3] = not_a_number;
  }
  std::vector<double> expected() const {
    MatmulArguments g = arguments;
    const std::vector<double> left = a.widened(), right = b.widened();
    std::vector<double> result(c.size(), std::numeric_limits<double>::quiet_NaN());
    g.dtype = DType::Float64;
    g.a = left.data(), g.b = right.data(), g.c = result.data();
    cpu::reference::matmul(g);
    return result;
  }
  std::vector<uint16_t> run(const kernels::MatmulAlgorithm& algorithm, bool with_epilogue) {
    const BiasRelu<BFloat16> epilogue(c.data(), bias.data(), arguments.batch[0] * arguments.batch[1] * arguments.m,
                                      arguments.n);
    arguments.epilogue = with_epilogue ? epilogue.arguments() : nullptr;
    Workspace workspace(algorithm.workspace(arguments));
    arguments.workspace = workspace.data();
    algorithm.run(arguments);
    EXPECT_TRUE(workspace.end_is_whole());
    EXPECT_TRUE(c.ends_are_whole());
    return c.bits();
  }

  Guarded a, b, c, bias;
  MatmulArguments arguments;
};

TEST(BFloat16, Matmul) {
  ThreadCount restore;
  for (std::string_view level : cpu::available_levels())
    for (std::string_view products : cpu::available_bfloat16_products()) {
      const Products use(products);
      for (const kernels::MatmulAlgorithm* algorithm = cpu::kernels_of(level).matmul; algorithm->name; ++algorithm) {
        int ran = 0;
        for (size_t i = 0; i < products_of_matrices.size(); ++i) {
          const Product& p = products_of_matrices[i];
          SCOPED_TRACE(std::string(level) + " " + std::string(products) + " " + algorithm->name + " case " +
                       std::to_string(i));
          Multiplication plain(p);
          if (algorithm->declines(plain.arguments)) continue;
          ++ran;
          cpu::set_num_threads(1);
          const std::vector<uint16_t> bits = plain.run(*algorithm, false);
          expect_near(plain.c.widened(), plain.expected());
          for (int threads : {1, 2, 3, 7}) {
            cpu::set_num_threads(threads);
            Multiplication again(p);
            if (p.c_gap > 0)
              EXPECT_EQ(again.run(*algorithm, false), bits) << threads << " threads";
            else
              EXPECT_EQ(again.run(*algorithm, true), biased(bits, again.bias.bits())) << threads << " threads";
          }
          if (algorithm->packed_bytes == nullptr || algorithm->packed_bytes(plain.arguments) == 0) continue;
          Multiplication again(p);
          Workspace packed(algorithm->packed_bytes(again.arguments));
          algorithm->pack(again.arguments, packed.data());
          EXPECT_TRUE(packed.end_is_whole());
          again.arguments.packed = packed.data();
          again.arguments.b = nullptr;
          EXPECT_EQ(again.run(*algorithm, false), bits) << "b packed before";
        }
        EXPECT_TRUE(ran > 0 || !is_for_bfloat16(algorithm->name)) << algorithm->name << " took no case";
      }
    }
}

TEST(BFloat16, NeitherPlansNorPackedWeightsOutliveTheirProducts) {
  const int64_t size = 40;
  std::vector<BFloat16> elements;
  for (int64_t i = 0; i < size * size; ++i) elements.push_back(to_bfloat16(static_cast<float>(i % 7)));
  const Tensor weight = from_data(std::span<const BFloat16>(elements), {size, size});
  const auto product = [&] { return cast(matmul(ones({size, size}, DType::BFloat16), weight), DType::Float32); };
  std::vector<float> expected;
  for (std::string_view products : cpu::available_bfloat16_products()) {
    const Products use(products);
    const uint64_t compiled = statistics().at("plans_compiled");
    for (int run = 0; run < 3; ++run) {  // the second keeps the packed weight, the third reads it
      const std::vector<float> result = product().to_vector<float>();
      if (expected.empty()) expected = result;
      EXPECT_EQ(result, expected) << products << " run " << run;
    }
    EXPECT_GT(statistics().at("plans_compiled"), compiled) << products;
  }
}

TEST(BFloat16, UnknownProductsAreRefused) { EXPECT_THROW(cpu::set_bfloat16_products("cubes"), ValueError); }

}  // namespace
}  // namespace pycnn
