#include "cuda/implicit_gemm_convolution.h"

namespace pycnn::cuda {

void multiply_pixels_float32(const ConvolutionJob& job) { multiply_pixels<Float32Units>(job); }
void multiply_taps_float32(const ConvolutionJob& job) { multiply_taps<Float32Units>(job); }

}  // namespace pycnn::cuda
