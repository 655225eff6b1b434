#include "cuda/implicit_gemm_matmul.h"

namespace pycnn::cuda {

void multiply_matrices_float16(const MatmulJob& job) { multiply_matrices<TensorCores<Factor::Float16, Float16>>(job); }

}  // namespace pycnn::cuda
