// A convolution's passes as sums over taps that all results of a phase share. Forward is one phase. The gradient of the
// input has one for each remainder of positions by the stride: the taps that meet its positions are always the same,
// and others, which would meet zeros between the gradients of the output, are never looked at.
#pragma once

#include <vector>

#include "cuda/launch.h"
#include "kernels/kernels.h"

namespace pycnn::cuda {

/// The results' position q · result_step + result_offset, for q in 0 … positions - 1, sees under tap t, for t in
/// 0 … taps - 1, the source's position q · step + offset + t · tap_step through the kernel's element
/// kernel_first + t · kernel_step.
struct PhaseAxis {
  int positions, result_step, result_offset;
  int taps, kernel_first, kernel_step;
  int step, offset, tap_step;
};

struct Phase {
  PhaseAxis axis[3];
  int64_t taps() const { return static_cast<int64_t>(axis[0].taps) * axis[1].taps * axis[2].taps; }
  int64_t positions() const { return static_cast<int64_t>(axis[0].positions) * axis[1].positions * axis[2].positions; }
};

/// Of Forward and InputGradient; the gradient of the weight pairs pixels and taps as Forward does.
std::vector<Phase> phases_of(const kernels::ConvolutionShape& shape, kernels::ConvolutionPass pass);

}  // namespace pycnn::cuda
