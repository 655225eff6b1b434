#include "ops/promotion.h"

#include <optional>

#include "pycnn/ops.h"

namespace pycnn {
namespace ops {
namespace {

using Maybe = std::optional<DType>;

Maybe promote(Maybe a, DType b) { return a ? promote_types(*a, b) : b; }

/// The lower category counts only where it is of a higher kind (bool < integer < float).
Maybe combine(Maybe higher, Maybe lower) {
  if (!higher || !lower) return higher ? higher : lower;
  if (is_floating_point(*higher)) return higher;
  if (*higher == DType::Bool || is_floating_point(*lower)) return promote_types(*higher, *lower);
  return higher;
}

}  // namespace

DType result_type(std::span<const Tensor> operands) {
  Maybe dimensioned, zero_dimensional, numbers;
  for (const Tensor& operand : operands) {
    if (!operand.defined()) continue;
    DType dtype = operand.dtype();
    if (operand.dim() > 0)
      dimensioned = promote(dimensioned, dtype);
    else if (is_wrapped_number(operand))
      numbers = promote(numbers, dtype);
    else
      zero_dimensional = promote(zero_dimensional, dtype);
  }
  // Among themselves numbers keep the precision they were given for the tensor they met.
  if ((dimensioned || zero_dimensional) && numbers && is_floating_point(*numbers)) numbers = default_dtype();
  return combine(dimensioned, combine(zero_dimensional, numbers)).value_or(default_dtype());
}

bool is_wrapped_number(const Tensor& tensor) { return graph::output_of(tensor.value()).wrapped_number; }

bool is_wrapped_number(const Tensor& tensor, double value) {
  return is_wrapped_number(tensor) && tensor.item<double>() == value;
}

void check_floating_point(const char* operation, const Tensor& input) {
  check<NotImplementedError>(is_floating_point(input.dtype()), operation, ": not implemented for '",
                             scalar_type_name(input.dtype()), "', expected a floating point tensor");
}

}  // namespace ops

Tensor wrap_scalar(Scalar value, const Tensor& other) {
  const bool meets_float = other.defined() && is_floating_point(other.dtype());
  DType dtype = DType::Bool;
  if (value.kind() == Scalar::Kind::Float)
    dtype = ops::compute_dtype(meets_float ? other.dtype() : default_dtype());
  else if (value.kind() == Scalar::Kind::Int)
    dtype = meets_float ? ops::compute_dtype(other.dtype()) : DType::Int64;
  Tensor number = scalar_tensor(value, dtype);
  graph::output_of(number.value()).wrapped_number = true;
  return number;
}

}  // namespace pycnn
