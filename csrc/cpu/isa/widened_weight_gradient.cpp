// The weight gradient of bfloat16 operands by the algorithms for float32.
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/isa/widened.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

/// The operands in float32, and what computes with them.
struct Widened {
  explicit Widened(const ConvolutionArguments& a) : convolution(a) {
    const int64_t taps = volume(a.shape.kernel);
    convolution.dtype = DType::Float32;
    convolution.forced = false;
    convolution.weight_strides[2] = 1;
    convolution.weight_strides[1] = taps;
    convolution.weight_strides[0] = row = taps * (a.shape.in_channels / a.shape.groups);
    algorithm = convolution_weight_gradient;
    while (algorithm->declines(convolution)) ++algorithm;
    input_bytes = aligned_bytes(input_elements(a.shape), sizeof(float));
    output_bytes = aligned_bytes(output_elements(a.shape), sizeof(float));
    weight_bytes = aligned_bytes(weight_elements(a.shape), sizeof(float));
  }
  size_t workspace() const { return input_bytes + output_bytes + weight_bytes + algorithm->workspace(convolution); }

  ConvolutionArguments convolution;
  const kernels::ConvolutionAlgorithm* algorithm;
  int64_t row;
  size_t input_bytes, output_bytes, weight_bytes;
};

}  // namespace

const char* widened_weight_gradient_declines(const ConvolutionArguments& a) {
  return a.dtype != DType::BFloat16 ? "the operands are not bfloat16" : nullptr;
}

size_t widened_weight_gradient_workspace(const ConvolutionArguments& a) { return Widened(a).workspace(); }

void widened_weight_gradient(const ConvolutionArguments& a) {
  Widened w(a);
  char* workspace = static_cast<char*>(a.workspace);
  w.convolution.input = workspace;
  w.convolution.output = workspace + w.input_bytes;
  w.convolution.weight = workspace + w.input_bytes + w.output_bytes;
  w.convolution.workspace = workspace + w.input_bytes + w.output_bytes + w.weight_bytes;
  widen(a.input, input_elements(a.shape), static_cast<float*>(w.convolution.input));
  widen(a.output, output_elements(a.shape), static_cast<float*>(w.convolution.output));
  w.algorithm->run(w.convolution);
  const int64_t taps = volume(a.shape.kernel);
  parallel_for(a.shape.out_channels, [&](int64_t o) {
    const float* from = static_cast<const float*>(w.convolution.weight) + o * w.row;
    constexpr int64_t most = 512;
    BFloat16 rounded[most];
    BFloat16* to = static_cast<BFloat16*>(a.weight) + o * a.weight_strides[0];
    for (int64_t begin = 0; begin < w.row; begin += most) {
      const int64_t count = min_of(w.row - begin, most);
      round_to_bfloat(from + begin, most, 1, count, rounded, most);
      for (int64_t i = 0; i < count; ++i)
        to[(begin + i) / taps * a.weight_strides[1] + (begin + i) % taps * a.weight_strides[2]] = rounded[i];
    }
  });
}

}  // namespace pycnn::cpu::PYCNN_ISA
