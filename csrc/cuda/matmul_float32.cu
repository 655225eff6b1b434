#include "cuda/implicit_gemm_matmul.h"

namespace pycnn::cuda {

void multiply_matrices_float32(const MatmulJob& job) { multiply_matrices<Float32Units>(job); }

}  // namespace pycnn::cuda
