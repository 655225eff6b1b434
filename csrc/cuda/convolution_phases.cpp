#include "cuda/convolution_phases.h"

#include <algorithm>
#include <numeric>

namespace pycnn::cuda {
namespace {

using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

PhaseAxis forward_axis(const ConvolutionShape& s, int d) {
  return {.positions = static_cast<int>(s.output[d]),
          .result_step = 1,
          .result_offset = 0,
          .taps = static_cast<int>(s.kernel[d]),
          .kernel_first = 0,
          .kernel_step = 1,
          .step = static_cast<int>(s.stride[d]),
          .offset = static_cast<int>(-s.padding[d]),
          .tap_step = static_cast<int>(s.dilation[d])};
}

/// Of the input's positions `remainder` + q · stride.
PhaseAxis gradient_axis(const ConvolutionShape& s, int d, int64_t remainder) {
  const int64_t stride = s.stride[d], common = std::gcd(stride, s.dilation[d]);
  const int64_t kernel_step = stride / common;
  PhaseAxis axis{.positions = static_cast<int>((s.input[d] - remainder + stride - 1) / stride),
                 .result_step = static_cast<int>(stride),
                 .result_offset = static_cast<int>(remainder),
                 .taps = 0,
                 .kernel_first = 0,
                 .kernel_step = static_cast<int>(kernel_step),
                 .step = 1,
                 .offset = 0,
                 .tap_step = static_cast<int>(-s.dilation[d] / common)};
  for (int64_t tap = 0; tap < std::min(kernel_step, s.kernel[d]); ++tap) {
    const int64_t scaled = remainder + s.padding[d] - tap * s.dilation[d];
    if (scaled % stride != 0) continue;
    axis.taps = static_cast<int>((s.kernel[d] - 1 - tap) / kernel_step + 1);
    axis.kernel_first = static_cast<int>(tap);
    axis.offset = static_cast<int>(scaled / stride);
    break;
  }
  return axis;
}

}  // namespace

std::vector<Phase> phases_of(const ConvolutionShape& s, ConvolutionPass pass) {
  if (pass != ConvolutionPass::InputGradient) return {{{forward_axis(s, 0), forward_axis(s, 1), forward_axis(s, 2)}}};
  int64_t remainders[3];
  for (int d = 0; d < 3; ++d) remainders[d] = std::min(s.stride[d], s.input[d]);
  std::vector<Phase> phases;
  for (int64_t r0 = 0; r0 < remainders[0]; ++r0)
    for (int64_t r1 = 0; r1 < remainders[1]; ++r1)
      for (int64_t r2 = 0; r2 < remainders[2]; ++r2)
        phases.push_back({{gradient_axis(s, 0, r0), gradient_axis(s, 1, r1), gradient_axis(s, 2, r2)}});
  // What takes longest begins first.
  std::stable_sort(phases.begin(), phases.end(), [](const Phase& a, const Phase& b) { return a.taps() > b.taps(); });
  return phases;
}

}  // namespace pycnn::cuda
