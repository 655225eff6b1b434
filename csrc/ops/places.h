// Where a view's elements lie in the tensor that it is a view of.
#pragma once

#include "pycnn/ops.h"

namespace pycnn {

/// A view of the tensor that `input` is a view of (or of itself), as if that lay row-major: the element at `offset` (by
/// default input's first) plus strides.
Tensor as_strided(const Tensor& input, const Shape& shape, const Strides& strides, std::optional<int64_t> offset = {});
/// A view of windows of `size` elements, one every `step` along a dimension, as a last dimension.
Tensor sliding_windows(const Tensor& input, int64_t dimension, int64_t size, int64_t step);

namespace ops {

/// The row-major places of the elements in the root of the tensor's views: int64, of its shape.
Tensor places_of(const Tensor& tensor);
/// The place of the first element; 0 if there is none.
int64_t first_place_of(const Tensor& tensor);

enum class Overlap : uint8_t { None, Same, Partial };
/// Whether two tensors share elements: all of them in the same order, or some.
Overlap overlap_of(const Tensor& a, const Tensor& b);

/// Throws if what is written in place is partly what is read.
void check_no_partial_overlap(const Tensor& written, const Tensor& read);

}  // namespace ops
}  // namespace pycnn
