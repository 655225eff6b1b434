// Convolution and matmul as the formula has them, a result per thread, for every dtype and geometry. They write raw
// results and run no epilogue. Floats are added up in double.
#pragma once

#include "kernels/kernels.h"

namespace pycnn::cuda::reference {

void convolution(const kernels::ConvolutionArguments& arguments, kernels::ConvolutionPass pass);
void matmul(const kernels::MatmulArguments& arguments);

}  // namespace pycnn::cuda::reference
