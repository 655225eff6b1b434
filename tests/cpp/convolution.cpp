#include <gtest/gtest.h>

#include <set>
#include <string>

#include "cpu/reference/reference.h"
#include "kernel_testing.h"

namespace pycnn {
namespace {

using namespace testing_kernels;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

/// Two spatial dimensions (the first of three is 1) unless `depth` says more.
struct Case {
  int64_t batch, groups, in, out;
  int64_t size[2], kernel[2], stride[2], padding[2], dilation[2];
  int64_t depth = 1, depth_kernel = 1, depth_stride = 1, depth_padding = 0;
  int64_t extra_end = 0;  ///< outputs more (or fewer) than equal padding at the end would give
};

const std::vector<Case> cases = {
    {2, 1, 1, 6, {28, 28}, {5, 5}, {1, 1}, {2, 2}, {1, 1}},
    {2, 1, 6, 16, {14, 14}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
    {1, 1, 3, 17, {9, 11}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 1, 3, 8, {20, 19}, {7, 7}, {2, 2}, {3, 3}, {1, 1}},
    {2, 1, 17, 33, {8, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 17, 3, {10, 13}, {3, 2}, {2, 3}, {1, 0}, {2, 1}},
    {1, 1, 5, 4, {12, 12}, {3, 3}, {1, 2}, {2, 4}, {2, 3}},
    {3, 1, 64, 48, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 40, 70, {6, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 1, 17, 40, {30, 30}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
    {2, 3, 9, 6, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 2, 34, 68, {9, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {2, 2, 8, 6, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {2, 17, 17, 17, {9, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 37, 37, 37, {11, 8}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 16, 16, 16, {9, 9}, {5, 3}, {1, 1}, {2, 2}, {1, 2}},
    {2, 3, 3, 12, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 3, 4, {1, 50}, {1, 5}, {1, 2}, {0, 2}, {1, 1}},
    {1, 1, 2, 3, {3, 3}, {3, 3}, {5, 5}, {4, 4}, {1, 1}},
    {1, 1, 2, 3, {4, 4}, {2, 2}, {3, 3}, {0, 0}, {1, 1}},
    {1, 1, 1, 1, {5, 5}, {3, 3}, {1, 1}, {0, 0}, {1, 1}},
    {0, 1, 3, 4, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {0, 4, 4, 4, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 3, 4, {2, 2}, {3, 3}, {1, 1}, {0, 0}, {1, 1}},
    {2, 1, 3, 5, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 4, 3, 1, 1},
    {1, 1, 18, 7, {6, 5}, {3, 2}, {2, 1}, {1, 1}, {1, 1}, 5, 2, 2, 1},
    {1, 6, 6, 6, {6, 5}, {3, 3}, {1, 2}, {1, 1}, {1, 1}, 4, 3, 2, 1},
    {1, 1, 4, 5, {6, 6}, {4, 4}, {1, 1}, {1, 1}, {1, 1}, 1, 1, 1, 0, 1},
    {1, 1, 20, 5, {8, 8}, {3, 3}, {2, 2}, {0, 0}, {1, 1}, 1, 1, 1, 0, 1},
    {1, 1, 2, 20, {14, 20}, {12, 9}, {1, 1}, {5, 4}, {1, 1}},
    {2, 1, 17, 300, {6, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {3, 1, 257, 20, {5, 9}, {5, 5}, {1, 1}, {2, 2}, {1, 1}},
    {1, 1, 256, 20, {6, 9}, {3, 2}, {2, 1}, {1, 1}, {1, 1}, 5, 3, 2, 1},
    {1, 2, 512, 34, {9, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 1, 17, 256, {12, 31}, {3, 3}, {1, 2}, {2, 3}, {2, 3}},
    {1, 1, 256, 16, {60, 49}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},
    {1, 1, 257, 17, {20, 30}, {2, 1}, {2, 1}, {0, 0}, {1, 1}},
    {1, 1, 17, 65, {9, 12}, {3, 3}, {1, 1}, {1, 0}, {1, 1}},
    {2, 1, 65, 17, {5, 6}, {3, 3}, {1, 1}, {2, 3}, {1, 1}, 3},
    {1, 37, 37, 37, {6, 30}, {5, 5}, {1, 1}, {2, 2}, {1, 1}},
    {2, 20, 20, 20, {9, 31}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {1, 20, 20, 20, {9, 33}, {5, 5}, {2, 2}, {2, 2}, {1, 1}},
    {2, 1, 7, 6, {40, 33}, {3, 3}, {1, 1}, {1, 1}, {2, 3}},
    {1, 1, 4, 2, {50, 200}, {3, 3}, {1, 1}, {1, 0}, {1, 1}},
    {2, 1, 17, 33, {12, 9}, {2, 3}, {2, 3}, {0, 0}, {1, 1}},
    {2, 1, 3, 5, {8, 6}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, 6, 3, 3, 0},
    {2, 1, 2, 5, {40, 70}, {9, 7}, {1, 1}, {4, 3}, {1, 1}},
    {1, 1, 3, 7, {20, 21}, {11, 5}, {2, 1}, {3, 7}, {1, 1}, 8, 7, 1, 3},
    {1, 20, 20, 20, {9, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, 1, 3, 1},
    {1, 300, 300, 300, {9, 10}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
};

/// For Winograd's algorithm: rows of tiles cut into parts, many small blocks, weights larger than L2 in few and in many
/// blocks.
const std::vector<Case> winograd_cases = {
    {1, 1, 3, 20, {7, 400}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {3, 1, 5, 34, {60, 61}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 150, 170, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 1, 340, 60, {41, 42}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
};

ConvolutionShape shape_of(const Case& c) {
  ConvolutionShape s{};
  s.batch = c.batch, s.groups = c.groups, s.in_channels = c.in, s.out_channels = c.out;
  for (int d = 0; d < 3; ++d) {
    s.input[d] = d == 0 ? c.depth : c.size[d - 1];
    s.kernel[d] = d == 0 ? c.depth_kernel : c.kernel[d - 1];
    s.stride[d] = d == 0 ? c.depth_stride : c.stride[d - 1];
    s.padding[d] = d == 0 ? c.depth_padding : c.padding[d - 1];
    s.dilation[d] = d == 0 ? 1 : c.dilation[d - 1];
    const int64_t span = s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1;
    s.output[d] = span < 0 ? 0 : span / s.stride[d] + 1 + (d > 0 ? c.extra_end : 0);
  }
  return s;
}

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

template <typename T>
struct Data {
  /// Weights as (out, in, taps), or with the first two exchanged as transposed convolutions keep them.
  Data(const Case& c, ConvolutionPass pass, bool exchanged) {
    const ConvolutionShape s = shape_of(c);
    const int64_t in = s.in_channels / s.groups, taps = volume(s.kernel);
    input = random_values<T>(s.batch * volume(s.input) * s.in_channels, 1);
    weight = random_values<T>(s.out_channels * in * taps, 2);
    output = random_values<T>(s.batch * volume(s.output) * s.out_channels, 3);
    std::vector<T>& written = result(pass);
    written = fresh<T>(static_cast<int64_t>(written.size()));
    arguments = {};
    arguments.shape = s;
    arguments.dtype = dtype_of<T>();
    arguments.input = input.data(), arguments.weight = weight.data(), arguments.output = output.data();
    arguments.weight_strides[0] = exchanged ? taps : in * taps;
    arguments.weight_strides[1] = exchanged ? taps * s.out_channels : taps;
    arguments.weight_strides[2] = 1;
    arguments.forced = true;
  }
  std::vector<T>& result(ConvolutionPass pass) {
    return pass == ConvolutionPass::Forward ? output : pass == ConvolutionPass::InputGradient ? input : weight;
  }
  std::vector<T> input, weight, output;
  ConvolutionArguments arguments;
};

void run_reference(ConvolutionPass pass, const ConvolutionArguments& a) {
  if (pass == ConvolutionPass::Forward) cpu::reference::convolution_forward(a);
  if (pass == ConvolutionPass::InputGradient) cpu::reference::convolution_input_gradient(a);
  if (pass == ConvolutionPass::WeightGradient) cpu::reference::convolution_weight_gradient(a);
}

/// Tiles of 4x4 results are less exact by nature.
template <typename T>
double tolerance_of(const kernels::ConvolutionAlgorithm& algorithm) {
  return tolerance<T>() * (algorithm.name == std::string("winograd_4x4") ? 8 : 1);
}

template <typename T>
void check_case(const Case& c, ConvolutionPass pass, const kernels::ConvolutionAlgorithm& algorithm,
                bool with_epilogue) {
  ThreadCount restore;
  for (bool exchanged : {false, true}) {
    Data<double> expected(c, pass, exchanged);
    run_reference(pass, expected.arguments);
    std::vector<double>& reference = expected.result(pass);
    const int64_t channels = pass == ConvolutionPass::Forward ? c.out : c.in;
    std::vector<T> bias = random_values<T>(channels, 4);
    if (with_epilogue)
      for (size_t i = 0; i < reference.size(); ++i)
        reference[i] = std::max(reference[i] + double{bias[i % static_cast<size_t>(channels)]}, 0.0);
    std::vector<T> first;
    for (int threads : {1, 2, 3, 7}) {
      cpu::set_num_threads(threads);
      Data<T> data(c, pass, exchanged);
      std::vector<T>& got = data.result(pass);
      const BiasRelu<T> epilogue(got.data(), bias.data(), static_cast<int64_t>(got.size()) / channels, channels);
      if (with_epilogue) data.arguments.epilogue = epilogue.arguments();
      std::vector<T> workspace = fresh<T>(static_cast<int64_t>(algorithm.workspace(data.arguments) / sizeof(T)));
      data.arguments.workspace = workspace.data();
      algorithm.run(data.arguments);
      if (threads == 1) {
        first = got;
        EXPECT_LE(difference(got, reference), tolerance_of<T>(algorithm));
      }
      EXPECT_TRUE(same_bits(first, got)) << threads << " threads";
      if (algorithm.packed_bytes == nullptr) continue;
      std::vector<T> packed = fresh<T>(static_cast<int64_t>(algorithm.packed_bytes(data.arguments) / sizeof(T)));
      if (packed.empty()) continue;
      algorithm.pack(data.arguments, packed.data());
      data.arguments.packed = packed.data();
      got.assign(got.size(), T{});
      data.arguments.weight = nullptr;
      algorithm.run(data.arguments);
      EXPECT_TRUE(same_bits(first, got)) << threads << " threads, weight packed before";
    }
  }
}

template <typename T>
void check_all(ConvolutionPass pass, bool with_epilogue) {
  for (std::string_view level : cpu::available_levels()) {
    const kernels::ConvolutionAlgorithm* list = cpu::kernels_of(level).convolution[static_cast<int>(pass)];
    for (; list->name; ++list) {
      if (is_for_bfloat16(list->name)) continue;
      int ran = 0;
      for (size_t i = 0; i < cases.size(); ++i) {
        SCOPED_TRACE(std::string(level) + " " + list->name + " case " + std::to_string(i));
        if (list->declines(Data<T>(cases[i], pass, false).arguments)) continue;
        ++ran;
        check_case<T>(cases[i], pass, *list, with_epilogue);
      }
      EXPECT_GT(ran, 0) << list->name << " took no case";
    }
  }
}

/// ‖got - expected‖ / ‖expected‖
double relative_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += (double{got[i]} - expected[i]) * (double{got[i]} - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(error / norm);
}

void check_winograd(ConvolutionPass pass) {
  ThreadCount restore;
  for (size_t i = 0; i < winograd_cases.size(); ++i) {
    Data<double> expected(winograd_cases[i], pass, false);
    run_reference(pass, expected.arguments);
    for (std::string_view level : cpu::available_levels())
      for (std::string name : {"winograd_2x2", "winograd_4x4"}) {
        SCOPED_TRACE(std::string(level) + " " + name + " case " + std::to_string(i));
        const kernels::ConvolutionAlgorithm* algorithm = cpu::kernels_of(level).convolution[static_cast<int>(pass)];
        while (algorithm->name != name) ++algorithm;
        std::vector<float> first;
        for (int threads : {1, 3}) {
          cpu::set_num_threads(threads);
          Data<float> data(winograd_cases[i], pass, false);
          std::vector<float> workspace = fresh<float>(static_cast<int64_t>(algorithm->workspace(data.arguments) / 4));
          data.arguments.workspace = workspace.data();
          algorithm->run(data.arguments);
          if (threads == 1) first = data.result(pass);
          EXPECT_TRUE(same_bits(first, data.result(pass)));
        }
        EXPECT_LE(relative_error(first, expected.result(pass)), name == "winograd_2x2" ? 2e-6 : 1e-5);
      }
  }
}

TEST(Convolution, WinogradForward) { check_winograd(ConvolutionPass::Forward); }
TEST(Convolution, WinogradInputGradient) { check_winograd(ConvolutionPass::InputGradient); }

TEST(Convolution, WinogradIsChosenWhereItPaysAndMayBeSwitchedOff) {
  const auto reason = [](int64_t channels, int64_t size, int64_t batch, int tile, const char* name) {
    ConvolutionArguments a{};
    a.shape = shape_of({batch, 1, channels, channels, {size, size}, {3, 3}, {1, 1}, {1, 1}, {1, 1}});
    a.dtype = DType::Float32;
    a.winograd = tile;
    const kernels::ConvolutionAlgorithm* algorithm = cpu::active_kernels().convolution[0];
    while (algorithm->name != std::string(name)) ++algorithm;
    return algorithm->declines(a);
  };
  EXPECT_EQ(reason(64, 56, 4, 2, "winograd_2x2"), nullptr);
  EXPECT_EQ(reason(64, 56, 4, 4, "winograd_4x4"), nullptr);
  EXPECT_NE(reason(64, 56, 4, 2, "winograd_4x4"), nullptr);
  EXPECT_NE(reason(64, 56, 4, 0, "winograd_2x2"), nullptr);
  EXPECT_NE(reason(4, 56, 4, 2, "winograd_2x2"), nullptr);
  EXPECT_NE(reason(512, 7, 1, 2, "winograd_2x2"), nullptr);
}

TEST(Convolution, ForwardFloat32) { check_all<float>(ConvolutionPass::Forward, false); }
TEST(Convolution, ForwardFloat64) { check_all<double>(ConvolutionPass::Forward, false); }
TEST(Convolution, ForwardWithEpilogue) { check_all<float>(ConvolutionPass::Forward, true); }
TEST(Convolution, InputGradientFloat32) { check_all<float>(ConvolutionPass::InputGradient, false); }
TEST(Convolution, InputGradientFloat64) { check_all<double>(ConvolutionPass::InputGradient, false); }
TEST(Convolution, InputGradientWithEpilogue) { check_all<float>(ConvolutionPass::InputGradient, true); }
TEST(Convolution, WeightGradientFloat32) { check_all<float>(ConvolutionPass::WeightGradient, false); }
TEST(Convolution, WeightGradientFloat64) { check_all<double>(ConvolutionPass::WeightGradient, false); }

}  // namespace
}  // namespace pycnn
