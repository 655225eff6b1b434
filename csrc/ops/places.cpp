// Views that are told by places instead of windows: as_strided, sliding windows; and which views share elements.
#include "ops/places.h"

#include <algorithm>
#include <vector>

#include "graph/node.h"
#include "graph/operator.h"
#include "ops/arguments.h"
#include "ops/indexing.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {

namespace {

using graph::Cell;

/// Whether the elements lie one after the other, in any order of the dimensions.
bool is_dense(const Shape& shape, const Strides& strides) {
  std::vector<std::pair<int64_t, int64_t>> extents;
  for (int d = 0; d < shape.size(); ++d)
    if (shape[d] > 1) extents.emplace_back(strides[d], shape[d]);
  std::sort(extents.begin(), extents.end());
  int64_t expected = 1;
  for (auto [stride, size] : extents) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

/// offset + sum of index * stride, row-major in the shape, as a vector. Recorded, not computed: it is an expression
/// like any other, so that making a view needs no evaluation.
Tensor places_at(const Device& device, const Shape& shape, const Strides& strides, int64_t offset) {
  const DeviceScope scope(device);
  Tensor places = full(Shape{}, offset, DType::Int64);
  for (int d = 0; d < shape.size(); ++d) {
    Shape line = Shape::filled(shape.size() - d, 1);
    line[0] = shape[d];
    places = places + reshaped(arange(0, shape[d], 1, DType::Int64) * strides[d], line);
  }
  return reshaped(places, Shape{element_count(shape)});
}

Tensor flat(const Tensor& tensor) { return reshaped(tensor, Shape{tensor.numel()}); }

/// What input's elements are places of: its storage, for autograd a tensor of its own if input is.
Tensor whole_storage(const Tensor& input) {
  Cell& cell = *input.handle()->cell;
  Cell& root = graph::storage_root(cell);
  check(!root.value.node->is_evaluated() || graph::output_of(root.value).buffer.storage != nullptr,
        "as_strided: the tensor that this one is a view of is gone; keep it, or clone() the view");
  const Tensor storage(graph::make_pooled<graph::TensorHandle>(root.shared_from_this()));
  return &graph::history_root(cell) == &root ? storage : storage.detach();
}

Tensor strided_elements(const Tensor& storage, const Shape& shape, const Strides& strides, int64_t offset) {
  return reshaped(gathered(flat(storage), 0, places_at(storage.device(), shape, strides, offset)), shape);
}

/// The view `result`, or the storage's elements there if undefined.
Tensor view_of_storage(const Tensor& result, const Tensor& storage, const Shape& shape, const Strides& strides,
                       int64_t offset) {
  const auto derive = [=](const Tensor& base) { return strided_elements(base, shape, strides, offset); };
  const auto write = [=](const Tensor& base, const Tensor& value) {
    if (value.numel() == 0) return Tensor(base.value());
    return reshaped(
        scattered(flat(base), 0, places_at(base.device(), shape, strides, offset), cast(flat(value), base.dtype())),
        base.shape());
  };
  return make_view(result.defined() ? result : derive(storage), storage, strides, derive, write, offset);
}

}  // namespace

int64_t storage_offset(const Tensor& tensor) { return graph::nominal_offset(*tensor.handle()->cell); }

Tensor strided_view(const Tensor& result, const Tensor& input, const Shape& shape, const Strides& strides,
                    int64_t offset) {
  return view_of_storage(result, whole_storage(input), shape, strides, offset);
}

std::function<Tensor(const Tensor&, const Tensor&)> write_to_shared(const Tensor& base, const Shape& shape,
                                                                    const Strides& strides, int64_t offset) {
  const Strides steps = nominal_strides(base);
  int64_t extent = 1;
  for (int d = 0; d < base.dim(); ++d) extent += steps[d] * (base.shape()[d] - 1);
  return [=](const Tensor& whole, const Tensor& value) {
    if (value.numel() == 0) return Tensor(whole.value());
    const DeviceScope scope(whole.device());
    const Tensor memory = scattered(zeros(Shape{extent}, whole.dtype()), 0,
                                    places_at(whole.device(), whole.shape(), steps, 0), flat(whole));
    const Tensor changed =
        scattered(memory, 0, places_at(whole.device(), shape, strides, offset), cast(flat(value), whole.dtype()));
    return strided_elements(changed, whole.shape(), steps, 0);
  };
}

Overlap overlap_of(const Tensor& a, const Tensor& b) {
  Cell &left = *a.handle()->cell, &right = *b.handle()->cell;
  if (&left == &right) return Overlap::Full;
  if (&graph::storage_root(left) != &graph::storage_root(right)) return Overlap::None;
  const int64_t size = a.numel(), other_size = b.numel();
  if (size == 0 || other_size == 0) return Overlap::None;
  const Strides strides = nominal_strides(a), other_strides = nominal_strides(b);
  if (!is_dense(a.shape(), strides) || !is_dense(b.shape(), other_strides)) return Overlap::TooHard;
  const int64_t begin = storage_offset(a), other_begin = storage_offset(b);
  if (begin == other_begin && size == other_size) return strides == other_strides ? Overlap::Full : Overlap::Partial;
  return begin < other_begin + other_size && other_begin < begin + size ? Overlap::Partial : Overlap::None;
}

void check_no_partial_overlap(const Tensor& written, const Tensor& read) {
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
  const int64_t start = offset.value_or(storage_offset(input));
  check(start >= 0, "as_strided: Tensor: invalid storage offset ", start);
  const Tensor storage = whole_storage(input);
  if (std::find(shape.begin(), shape.end(), 0) == shape.end()) {
    // How many places there are after the ones reached so far.
    int64_t left = storage.numel() - 1 - start;
    for (int d = 0; d < shape.size() && left >= 0; ++d)
      if (shape[d] > 1) left = strides[d] > left / (shape[d] - 1) ? -1 : left - strides[d] * (shape[d] - 1);
    check(left >= 0, "as_strided: setStorage: sizes ", brackets(shape), ", strides ", brackets(strides),
          ", storage offset ", start, " are out of bounds for storage of ", storage.numel(), " elements");
  }
  return view_of_storage(Tensor(), storage, shape, strides, start);
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
  const auto places = [=, device = input.device()] {
    return expanded(reshaped(places_at(device, Shape{count, size}, Strides{step, 1}, 0), line), lines);
  };
  const auto derive = [=](const Tensor& base) {
    return permuted(reshaped(gathered(base, d, places()), split), to_last);
  };
  const auto write = [=](const Tensor& base, const Tensor& value) {
    if (value.numel() == 0) return Tensor(base.value());
    return scattered(base, d, places(), cast(reshaped(permuted(value, from_last), lines), base.dtype()));
  };
  return make_view(derive(input), input, strides, derive, write);
}

}  // namespace pycnn
