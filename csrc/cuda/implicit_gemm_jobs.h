// How convolution.cu and matmul.cu ask for implicit matrix products: by functions that a file per dtype
// (convolution_<dtype>.cu, matmul_<dtype>.cu) makes of the templates in implicit_gemm_convolution.h and _matmul.h.
#pragma once

#include <span>

#include "cuda/convolution_phases.h"
#include "kernels/kernels.h"

namespace pycnn::cuda {

/// One pass of a convolution. `tile` is a TileIndex (tile_choice.h).
struct ConvolutionJob {
  const char* name;
  const kernels::ConvolutionArguments& arguments;
  kernels::ConvolutionPass pass;
  int tile, splits;
  std::span<const Phase> phases;
  const void* packed;             ///< the weight, unless its gradient is computed
  const int64_t* packed_offsets;  ///< of the phases
  float* partial;
};

/// Forward and InputGradient; WeightGradient.
void multiply_pixels_bfloat16(const ConvolutionJob& job);
void multiply_pixels_float16(const ConvolutionJob& job);
void multiply_pixels_float32(const ConvolutionJob& job);
void multiply_pixels_tfloat32(const ConvolutionJob& job);
void multiply_taps_bfloat16(const ConvolutionJob& job);
void multiply_taps_float16(const ConvolutionJob& job);
void multiply_taps_float32(const ConvolutionJob& job);
void multiply_taps_tfloat32(const ConvolutionJob& job);

struct MatmulJob {
  const char* name;
  const kernels::MatmulArguments& arguments;
  int tile, splits;
  float* partial;
};
void multiply_matrices_bfloat16(const MatmulJob& job);
void multiply_matrices_float16(const MatmulJob& job);
void multiply_matrices_float32(const MatmulJob& job);
void multiply_matrices_tfloat32(const MatmulJob& job);

}  // namespace pycnn::cuda
