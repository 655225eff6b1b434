#include "cuda/implicit_gemm_matmul.h"

namespace pycnn::cuda {

void multiply_matrices_tfloat32(const MatmulJob& job) { multiply_matrices<TensorCores<Factor::TFloat32, float>>(job); }

}  // namespace pycnn::cuda
