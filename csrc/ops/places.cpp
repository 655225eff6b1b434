// Views that are told by places instead of windows: as_strided, sliding windows; and which views share elements.
#include "ops/places.h"

#include <algorithm>
#include <vector>

#include "graph/node.h"
#include "graph/operator.h"
#include "ops/arguments.h"
#include "ops/views.h"
#include "pycnn/autograd.h"

namespace pycnn {
namespace ops {

namespace {

using graph::Cell;

const Cell& root_of(const Cell& cell) {
  const Cell* at = &cell;
  while (at->base) at = at->base.get();
  return *at;
}

const Cell& cell_of(const Tensor& tensor) {
  graph::refresh(*tensor.handle()->cell);
  return *tensor.handle()->cell;
}

Tensor places_of(const Cell& cell) {
  if (!cell.base) {
    const Shape& shape = graph::output_of(cell.value).shape;
    return reshape(arange(0, element_count(shape), 1, DType::Int64), shape);
  }
  const Tensor base = places_of(*cell.base);
  return cell.view->derive ? cell.view->derive(base) : base;
}

/// Smallest and largest place of a window with these strides.
std::pair<int64_t, int64_t> range_of(const Tensor& tensor) {
  int64_t low = first_place_of(tensor), high = low;
  const Strides strides = nominal_strides(tensor);
  for (int d = 0; d < tensor.dim(); ++d) {
    const int64_t reach = strides[d] * (tensor.shape()[d] - 1);
    (reach < 0 ? low : high) += reach;
  }
  return {low, high};
}

}  // namespace

Tensor places_of(const Tensor& tensor) {
  const NoGradGuard no_grad;
  return places_of(cell_of(tensor));
}

int64_t first_place_of(const Tensor& tensor) {
  if (!cell_of(tensor).base || tensor.numel() == 0) return 0;
  Tensor places = places_of(tensor);
  for (int d = tensor.dim() - 1; d >= 0; --d) places = select(places, d, 0);
  return places.item<int64_t>();
}

Overlap overlap_of(const Tensor& a, const Tensor& b) {
  const Cell &left = cell_of(a), &right = cell_of(b);
  if (&root_of(left) != &root_of(right) || a.numel() == 0 || b.numel() == 0) return Overlap::None;
  if (&left == &right) return Overlap::Same;
  if (a.shape() == b.shape() && nominal_strides(a) == nominal_strides(b) && first_place_of(a) == first_place_of(b))
    return Overlap::Same;
  const auto [a_low, a_high] = range_of(a);
  const auto [b_low, b_high] = range_of(b);
  if (a_high < b_low || b_high < a_low) return Overlap::None;
  std::vector<int64_t> first = places_of(a).to_vector<int64_t>(), second = places_of(b).to_vector<int64_t>();
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  for (size_t i = 0, j = 0; i < first.size() && j < second.size();) {
    if (first[i] == second[j]) return Overlap::Partial;
    first[i] < second[j] ? ++i : ++j;
  }
  return Overlap::None;
}

void check_no_partial_overlap(const Tensor& written, const Tensor& read) {
  if (!written.handle()->cell->base && !read.handle()->cell->base) return;
  check(overlap_of(written, read) != Overlap::Partial,
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
        "location. Please clone() the tensor before performing the operation.");
}

}  // namespace ops

using namespace ops;

Tensor as_strided(const Tensor& input, const Shape& shape, const Strides& strides, std::optional<int64_t> offset) {
  check(shape.size() == strides.size(), "as_strided: mismatch in length of strides and shape");
  check_sizes("as_strided", shape);
  for (int64_t stride : strides)
    check(stride >= 0,
          "as_strided: Negative strides are not supported at the moment, got strides: ", brackets(strides));
  const int64_t start = offset.value_or(first_place_of(input));
  check(start >= 0, "as_strided: Tensor: invalid storage offset ", start);
  // The root of input's views is what PyTorch calls its storage.
  std::shared_ptr<graph::Cell> root = input.handle()->cell;
  bool detached = false;
  for (; root->base; root = root->base) detached = detached || root->view->bypasses_autograd;
  const Tensor base(make_pooled<graph::TensorHandle>(root));
  Tensor places = scalar_tensor(start, DType::Int64);
  int64_t reach = start;
  for (int d = 0; d < shape.size(); ++d) {
    Shape line = Shape::filled(shape.size() - d, 1);
    line[0] = shape[d];
    places = places + reshape(arange(0, shape[d], 1, DType::Int64) * strides[d], line);
    reach += (shape[d] - 1) * strides[d];
  }
  check(element_count(shape) == 0 || reach < base.numel(), "as_strided: setStorage: sizes ", brackets(shape),
        ", strides ", brackets(strides), ", storage offset ", start, " are out of bounds for storage of ", base.numel(),
        " elements");
  places = reshape(places, Shape{element_count(shape)}).detach();
  places.evaluate();
  const auto flat = [](const Tensor& tensor) { return reshaped(tensor, Shape{tensor.numel()}); };
  const auto derive = [=](const Tensor& of) { return reshaped(index_select(flat(of), 0, places), shape); };
  const auto write = [=](const Tensor& to, const Tensor& value) {
    return reshaped(scatter(flat(to), 0, places, cast(flat(value), to.dtype())), to.shape());
  };
  if (!detached) return make_view(derive(base), base, strides, derive, write);
  const Tensor outside = base.detach();
  return make_view(derive(outside), outside, strides, derive, write);
}

Tensor sliding_windows(const Tensor& input, int64_t dimension, int64_t size, int64_t step) {
  const int d = normalize_dimension(dimension, input.dim(), "unfold");
  const int64_t available = input.dim() == 0 ? 1 : input.shape()[d];
  check(size >= 0, "unfold: size is ", size, " but must be >= 0");
  check(size <= available, "unfold: maximum size for tensor at dimension ", d, " is ", available, " but size is ",
        size);
  check(step > 0, "unfold: step is ", step, " but must be > 0");
  if (input.dim() == 0) return slice(reshape(input, Shape{1}), 0, 0, size);
  const int64_t count = (available - size) / step + 1;
  const Tensor places =
      reshape(reshape(arange(0, count, 1, DType::Int64) * step, Shape{count, 1}) + arange(0, size, 1, DType::Int64),
              Shape{count * size})
          .detach();
  places.evaluate();
  Shape lines = input.shape(), windows = input.shape();
  lines[d] = count * size;
  windows[d] = count;
  Shape split = windows;
  split.insert(d + 1, size);
  // The windows' own dimension comes last.
  Dimensions to_last, from_last;
  for (int i = 0; i <= input.dim(); ++i)
    if (i != d + 1) to_last.push_back(i);
  to_last.push_back(d + 1);
  for (int i = 0; i < input.dim(); ++i) {
    from_last.push_back(i);
    if (i == d) from_last.push_back(input.dim());
  }
  Shape line = Shape::filled(input.dim(), 1);
  line[d] = count * size;
  Strides strides = nominal_strides(input);
  strides.push_back(strides[d]);
  strides[d] *= step;
  const auto derive = [=](const Tensor& base) {
    return permuted(reshaped(index_select(base, d, places), split), to_last);
  };
  const auto write = [=](const Tensor& base, const Tensor& value) {
    return scatter(base, d, expanded(reshaped(places, line), lines),
                   cast(reshaped(permuted(value, from_last), lines), base.dtype()));
  };
  return make_view(derive(input), input, strides, derive, write);
}

}  // namespace pycnn
