#include "cuda/implicit_gemm_convolution.h"

namespace pycnn::cuda {

void multiply_pixels_bfloat16(const ConvolutionJob& job) {
  multiply_pixels<TensorCores<Factor::BFloat16, BFloat16>>(job);
}
void multiply_taps_bfloat16(const ConvolutionJob& job) { multiply_taps<TensorCores<Factor::BFloat16, BFloat16>>(job); }

}  // namespace pycnn::cuda
