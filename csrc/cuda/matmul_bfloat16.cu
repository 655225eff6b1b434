#include "cuda/implicit_gemm_matmul.h"

namespace pycnn::cuda {

void multiply_matrices_bfloat16(const MatmulJob& job) {
  multiply_matrices<TensorCores<Factor::BFloat16, BFloat16>>(job);
}

}  // namespace pycnn::cuda
