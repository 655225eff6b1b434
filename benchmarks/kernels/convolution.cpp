// The three passes of typical layers, with each algorithm that takes them.
#include <string_view>
#include <vector>

#include "kernel_benchmarks.h"

namespace pycnn::kernel_benchmarks {
namespace {

using kernels::ConvolutionAlgorithm;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

/// Square images and kernels.
struct Layer {
  const char* name;
  int64_t batch, in_channels, out_channels, size, kernel, stride, padding, groups;
};

constexpr Layer layers[] = {
    {"lenet5_conv1", 64, 1, 6, 28, 5, 1, 2, 1},
    {"lenet5_conv2", 64, 6, 16, 14, 5, 1, 0, 1},
    {"resnet20_3x3_32", 32, 16, 16, 32, 3, 1, 1, 1},
    {"resnet50_stem_7x7_2", 4, 3, 64, 224, 7, 2, 3, 1},
    {"resnet50_3x3_56", 4, 64, 64, 56, 3, 1, 1, 1},
    {"resnet50_3x3_28", 4, 128, 128, 28, 3, 1, 1, 1},
    {"resnet50_3x3_14", 4, 256, 256, 14, 3, 1, 1, 1},
    {"resnet50_3x3_7", 4, 512, 512, 7, 3, 1, 1, 1},
    {"resnet50_3x3_2_56", 4, 128, 128, 56, 3, 2, 1, 1},
    {"resnet50_1x1_56", 4, 64, 256, 56, 1, 1, 0, 1},
    {"resnet50_1x1_7", 4, 512, 2048, 7, 1, 1, 0, 1},
    {"resnet50_1x1_2_56", 4, 256, 512, 56, 1, 2, 0, 1},
    {"vgg16_3x3_224", 1, 64, 64, 224, 3, 1, 1, 1},
    {"alexnet_11x11_4", 8, 3, 64, 224, 11, 4, 2, 1},
    {"mobilenet_depthwise_112", 4, 32, 32, 112, 3, 1, 1, 32},
    {"mobilenet_depthwise_2_56", 4, 128, 128, 56, 3, 2, 1, 128},
    {"resnext_grouped_28", 4, 256, 256, 28, 3, 1, 1, 32},
};

constexpr std::pair<const char*, ConvolutionPass> passes[] = {
    {"forward", ConvolutionPass::Forward},
    {"input_gradient", ConvolutionPass::InputGradient},
    {"weight_gradient", ConvolutionPass::WeightGradient},
};

ConvolutionShape shape_of(const Layer& layer) {
  ConvolutionShape shape{};
  shape.batch = layer.batch, shape.groups = layer.groups;
  shape.in_channels = layer.in_channels, shape.out_channels = layer.out_channels;
  for (int d = 0; d < 3; ++d) {
    const bool missing = d == 0;
    shape.input[d] = missing ? 1 : layer.size;
    shape.kernel[d] = missing ? 1 : layer.kernel;
    shape.stride[d] = missing ? 1 : layer.stride;
    shape.padding[d] = missing ? 0 : layer.padding;
    shape.dilation[d] = 1;
    shape.output[d] = (shape.input[d] + 2 * shape.padding[d] - shape.kernel[d]) / shape.stride[d] + 1;
  }
  return shape;
}

ConvolutionArguments arguments_of(const ConvolutionShape& shape) {
  ConvolutionArguments arguments{};
  arguments.shape = shape;
  arguments.dtype = DType::Float32;
  const int64_t taps = shape.kernel[1] * shape.kernel[2];
  arguments.weight_strides[0] = shape.in_channels / shape.groups * taps;
  arguments.weight_strides[1] = taps;
  arguments.weight_strides[2] = 1;
  return arguments;
}

void run(benchmark::State& state, const ConvolutionAlgorithm& algorithm, const ConvolutionShape& shape) {
  const int64_t output_pixels = shape.batch * shape.output[1] * shape.output[2];
  const int64_t weights = shape.out_channels * shape.in_channels / shape.groups * shape.kernel[1] * shape.kernel[2];
  const int64_t inputs = shape.batch * shape.input[1] * shape.input[2] * shape.in_channels;
  const int64_t outputs = output_pixels * shape.out_channels;
  const Buffer input = Buffer::of_floats(inputs), weight = Buffer::of_floats(weights);
  const Buffer output = Buffer::of_floats(outputs);
  ConvolutionArguments arguments = arguments_of(shape);
  arguments.input = input.data(), arguments.weight = weight.data(), arguments.output = output.data();
  const Buffer workspace(algorithm.workspace(arguments));
  arguments.workspace = workspace.data();
  measure(state, 2.0 * static_cast<double>(output_pixels * weights),
          4.0 * static_cast<double>(inputs + weights + outputs), [&] { algorithm.run(arguments); });
}

}  // namespace

void add_convolutions() {
  for (const Layer& layer : layers) {
    const ConvolutionShape shape = shape_of(layer);
    for (const auto& [pass_name, pass] : passes) {
      for (const auto* algorithm = cpu::active_kernels().convolution[static_cast<int>(pass)];
           algorithm->name != nullptr && std::string_view(algorithm->name) != "reference"; ++algorithm) {
        if (algorithm->declines(arguments_of(shape)) != nullptr) continue;
        add(std::string("convolution/") + layer.name + "/" + pass_name + "/" + algorithm->name,
            [=](benchmark::State& state) { run(state, *algorithm, shape); });
      }
    }
  }
}

}  // namespace pycnn::kernel_benchmarks
