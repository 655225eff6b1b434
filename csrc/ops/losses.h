// What the files of losses share.
#pragma once

#include "graph/operator.h"
#include "ops/arguments.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn::ops {

/// Values that PyTorch refuses.
struct Domain {
  double low, high;
  bool nan;                          ///< whether NaN may pass
  void (*refuse)(const char* name);  ///< throws
};
/// The tensor. If an element is outside, raises: at once if the elements are known, else when they are evaluated.
Tensor within(const char* name, const Tensor& tensor, const Domain& domain);

inline Tensor reduce_loss(const Tensor& loss, Reduction reduction) {
  return reduction == Reduction::None ? loss : reduction == Reduction::Mean ? mean(loss) : sum(loss);
}

/// Booleans count as 0 and 1 of the other operand's dtype.
inline Tensor numbers(const Tensor& target, const Tensor& input) {
  const bool booleans = target.dtype() == DType::Bool && input.dtype() != DType::Bool;
  return booleans ? cast(target, input.dtype()) : target;
}

inline void check_loss_dtype(const char* name, const Tensor& input) {
  check<NotImplementedError>(is_floating_point(input.dtype()), name, ": not implemented for '",
                             scalar_type_name(input.dtype()), "'");
}

/// Index losses have no gradient with respect to their class weights, in PyTorch neither.
inline void check_constant(const char* name, const char* argument, const Tensor& tensor) {
  check(!tensor.defined() || !tensor.requires_grad() || !is_grad_enabled(), name,
        ": The function is not differentiable with respect to argument '", argument,
        "'. This input cannot have requires_grad True.");
}

/// max(input, 0), whose gradient passes at 0 as well.
inline Tensor clamp_below(const Tensor& input, double bound = 0) {
  return clamp(input, Scalar(bound), std::optional<Scalar>());
}

/// Calls visit(value) for every element of an evaluated tensor held by T; does nothing if it is not evaluated yet.
template <typename T, typename Visit>
void visit_known(const Tensor& tensor, const Visit& visit) {
  if (tensor.numel() == 0 || !tensor.is_evaluated()) return;
  const graph::Buffer& buffer = graph::output_of(tensor.value()).buffer;
  if (!buffer.storage || !buffer.storage->device().is_cpu()) return;
  const T* data = static_cast<const T*>(buffer.storage->data()) + buffer.offset;
  const Shape& shape = tensor.shape();
  Dimensions index = Dimensions::filled(shape.size(), 0);
  for (int64_t i = 0, count = tensor.numel(); i < count; ++i) {
    int64_t at = 0;
    for (int d = 0; d < shape.size(); ++d) at += index[d] * buffer.strides[d];
    visit(data[at]);
    for (int d = shape.size() - 1; d >= 0 && ++index[d] == shape[d]; --d) index[d] = 0;
  }
}

}  // namespace pycnn::ops
