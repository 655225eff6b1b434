// Type promotion, PyTorch's rules: dimensioned tensors decide over 0-d tensors, those over numbers, within a category.
#pragma once

#include <span>

#include "graph/operator.h"
#include "ops/arguments.h"
#include "pycnn/tensor.h"

namespace pycnn::ops {

/// The dtype of an operation on these tensors.
DType result_type(std::span<const Tensor> operands);
inline DType result_type(std::initializer_list<Tensor> operands) {
  return result_type(std::span(operands.begin(), operands.size()));
}

/// `dtype` if it is floating, else the default dtype.
inline DType floating_type(DType dtype) { return is_floating_point(dtype) ? dtype : default_dtype(); }

/// Made by wrap_scalar().
bool is_wrapped_number(const Tensor& tensor);
/// Whether it is a wrapped number (so known now) that equals `value`.
bool is_wrapped_number(const Tensor& tensor, double value);

/// NotImplementedError unless the dtype is floating.
void check_floating_point(const char* operation, const Tensor& input);

}  // namespace pycnn::ops
