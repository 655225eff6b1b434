// Plain loops that handle everything: the oracle of the tests and the last entry of each algorithm list. Sums are made
// in float64 (int64 for integers) and rounded once. Epilogues are left to the caller.
#pragma once

#include "kernels/kernels.h"

namespace pycnn::cpu::reference {

void convolution_forward(const kernels::ConvolutionArguments& arguments);
void convolution_input_gradient(const kernels::ConvolutionArguments& arguments);
void convolution_weight_gradient(const kernels::ConvolutionArguments& arguments);
void matmul(const kernels::MatmulArguments& arguments);

}  // namespace pycnn::cpu::reference
