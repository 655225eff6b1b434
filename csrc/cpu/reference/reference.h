// Plain loops that handle everything: the oracle of the tests and the last entry of each algorithm list. Sums are made
// in float64 (int64 for integers) and rounded once. Epilogues are left to the caller.
#pragma once

#include "kernels/kernels.h"

namespace pycnn::cpu::reference {

/// An element in the type of the sum, and a sum in the type of an element.
template <typename Sum, typename T>
Sum to_sum(T element) {
  return static_cast<Sum>(element);
}
template <typename Sum>
Sum to_sum(BFloat16 element) {
  return static_cast<Sum>(to_float(element));
}
template <typename Sum, typename T>
void assign(T& element, Sum sum) {
  element = static_cast<T>(sum);
}
template <typename Sum>
void assign(BFloat16& element, Sum sum) {
  element = to_bfloat16(static_cast<float>(sum));
}

void convolution_forward(const kernels::ConvolutionArguments& arguments);
void convolution_input_gradient(const kernels::ConvolutionArguments& arguments);
void convolution_weight_gradient(const kernels::ConvolutionArguments& arguments);
void matmul(const kernels::MatmulArguments& arguments);

// These have no other version.
void select(const kernels::SelectArguments& arguments);
void search(const kernels::SearchArguments& arguments);
void factor(const kernels::FactorArguments& arguments);
void solve(const kernels::SolveArguments& arguments);

}  // namespace pycnn::cpu::reference
