#include "cuda/implicit_gemm_convolution.h"

namespace pycnn::cuda {

void multiply_pixels_float16(const ConvolutionJob& job) { multiply_pixels<TensorCores<Factor::Float16, Float16>>(job); }
void multiply_taps_float16(const ConvolutionJob& job) { multiply_taps<TensorCores<Factor::Float16, Float16>>(job); }

}  // namespace pycnn::cuda
