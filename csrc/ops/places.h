// Where a view's elements lie in the tensor that it is a view of.
#pragma once

#include <functional>

#include "pycnn/ops.h"

namespace pycnn {

/// A view of the tensor that `input` is a view of (or of itself), as if that lay row-major: the element at `offset` (by
/// default input's first) plus strides.
Tensor as_strided(const Tensor& input, const Shape& shape, const Strides& strides, std::optional<int64_t> offset = {});
/// A view of windows of `size` elements, one every `step` along a dimension, as a last dimension.
Tensor sliding_windows(const Tensor& input, int64_t dimension, int64_t size, int64_t step);

namespace ops {

/// Where the first element would lie if the root of the tensor's views lay row-major: PyTorch's storage_offset.
int64_t storage_offset(const Tensor& tensor);

/// `result` as a view of the root of input's views, at these places of it. They must be in bounds.
Tensor strided_view(const Tensor& result, const Tensor& input, const Shape& shape, const Strides& strides,
                    int64_t offset);
/// What graph::View::write does for part of a base whose own elements share places: all that share the part's change.
std::function<Tensor(const Tensor&, const Tensor&)> write_to_shared(const Tensor& base, const Shape& shape,
                                                                    const Strides& strides, int64_t offset);

/// PyTorch's rules, from shapes and strides alone. TooHard: they share a root and one of them has gaps.
enum class Overlap : uint8_t { None, Full, Partial, TooHard };
Overlap overlap_of(const Tensor& a, const Tensor& b);

/// Throws if what is written in place is partly what is read.
void check_no_partial_overlap(const Tensor& written, const Tensor& read);

}  // namespace ops
}  // namespace pycnn
