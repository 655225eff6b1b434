#include "cuda/implicit_gemm_convolution.h"

namespace pycnn::cuda {

void multiply_pixels_tfloat32(const ConvolutionJob& job) { multiply_pixels<TensorCores<Factor::TFloat32, float>>(job); }
void multiply_taps_tfloat32(const ConvolutionJob& job) { multiply_taps<TensorCores<Factor::TFloat32, float>>(job); }

}  // namespace pycnn::cuda
