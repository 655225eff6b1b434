// Windows onto a tensor's elements, without the bookkeeping that makes the public functions' results follow in-place
// changes.
#pragma once

#include <functional>
#include <span>

#include "pycnn/ops.h"

namespace pycnn::ops {

Tensor permuted(const Tensor& input, const Dimensions& order);
/// `shape` has the same number of elements.
Tensor reshaped(const Tensor& input, const Shape& shape);
Tensor expanded(const Tensor& input, const Shape& shape);
Tensor sliced(const Tensor& input, int dimension, int64_t start, int64_t count, int64_t step = 1);
/// The parts of those sizes along a dimension.
Tensors parts_of(const Tensor& input, int dimension, std::span<const int64_t> sizes);
/// `part`, which is sliced(input, ...), as a view of the input; without the dimension if `drop`.
Tensor part_view(const Tensor& input, const Tensor& part, int dimension, int64_t start, bool drop = false);
/// `base` with the window replaced by `value` (which has the window's shape).
Tensor updated(const Tensor& base, const Tensor& value, int dimension, int64_t start, int64_t count, int64_t step);

/// The strides the tensor would have if its base lay row-major: PyTorch's for a tensor that was never given another
/// layout.
Strides nominal_strides(const Tensor& input);

/// `result` (= derive(base)) as a view of base; see graph::View.
Tensor make_view(const Tensor& result, const Tensor& base, const Strides& strides,
                 std::function<Tensor(const Tensor&)> derive, std::function<Tensor(const Tensor&, const Tensor&)> write,
                 int64_t offset = 0);

/// Fails for negative sizes.
void check_sizes(const char* operation, const Shape& shape);

}  // namespace pycnn::ops
