// Parts of tensors: windows (views), and elements picked by index tensors.
#include <algorithm>
#include <vector>

#include "graph/capture.h"
#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/indexing.h"
#include "ops/promotion.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;

namespace {

class Flip final : public graph::Operator {
 public:
  explicit Flip(const Dimensions& dimensions) : dimensions_(dimensions) {}
  const char* name() const override { return "flip"; }
  void fingerprint(Fingerprint& f) const override { f.add(dimensions_); }
  Tensors backward(const BackwardContext& context) const override { return {flip(context.gradient(), dimensions_)}; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Slot source = inputs[0];
    if (source.count() > 0)
      for (int64_t d : dimensions_) {
        const int64_t size = source.shape[static_cast<int>(d)];
        source = source.sliced(static_cast<int>(d), size - 1, size, -1);
      }
    Slot result = l.allocate_like(source.dtype, source.shape, inputs);
    l.copy_into(result, source);
    return {result};
  }

 private:
  Dimensions dimensions_;
};

/// A window that begins at index 0 and has the shape given (but for `free`, where the slot's own size stays).
Slot cropped(Slot slot, const Shape& shape, int free = -1) {
  for (int d = 0; d < shape.size(); ++d)
    if (d != free && slot.shape[d] != shape[d]) slot = slot.sliced(d, 0, shape[d]);
  return slot;
}

// 0-d tensors are indexed as one element.
Slot at_least_1d(const Slot& slot) { return slot.shape.empty() ? slot.unsqueezed(0) : slot; }

class Gather final : public graph::Operator {
 public:
  explicit Gather(int dimension) : dimension_(dimension) {}
  const char* name() const override { return "gather"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}); }
  BackwardReads backward_reads() const override { return {.inputs = 2}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    return {scattered(zeros(context.input_shape(0), gradient.dtype()), dimension_, context.input(1), gradient,
                      /*add=*/true),
            Tensor()};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot index = l.cast(at_least_1d(inputs[1]), DType::Int64);
    const Slot table = cropped(at_least_1d(inputs[0]), index.shape, dimension_);
    return {l.reshape(l.gather(table, index, dimension_), inputs[1].shape)};
  }

 private:
  int dimension_;
};

class Scatter final : public graph::Operator {
 public:
  Scatter(int dimension, bool add) : dimension_(dimension), add_(add) {}
  const char* name() const override { return add_ ? "scatter_add" : "scatter"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}); }
  BackwardReads backward_reads() const override { return {.inputs = 2}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    const Tensor index = context.input(1);
    Tensors gradients(3);
    if (context.needs(0)) {
      const Tensor zero = zeros(context.input_shape(2), gradient.dtype());
      gradients[0] = add_ ? gradient : scattered(gradient, dimension_, index, zero);
    }
    if (context.needs(2)) gradients[2] = gathered(gradient, dimension_, index);
    return gradients;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {lower_scatter(l, inputs, dimension_, add_ ? Lowering::ScatterKind::Sum : Lowering::ScatterKind::Store)};
  }

 private:
  int dimension_;
  bool add_;
};

}  // namespace

Tensor gathered(const Tensor& input, int dimension, const Tensor& index) {
  return graph::record(std::make_shared<Gather>(dimension), {input, index},
                       {index.shape(), input.dtype(), is_floating_point(input.dtype())});
}

Tensor scattered(const Tensor& input, int dimension, const Tensor& index, const Tensor& values, bool add) {
  return graph::record(std::make_shared<Scatter>(dimension, add), {input, index, values},
                       {input.shape(), input.dtype(), is_floating_point(input.dtype())});
}

namespace {

/// Whether nothing that is known stands behind it but numbers: a full() or arange(), perhaps cast.
bool is_constant(const graph::Value& value) {
  const graph::Node& node = *value.node;
  return node.inputs.empty() ||
         (node.inputs.size() == 1 && !node.inputs[0].node->is_evaluated() && is_constant(node.inputs[0]));
}

/// Indices that are known already raise here rather than when run.
template <typename E>
void check_known_indices(const char* operation, const Tensor& index, int dimension, int64_t size) {
  if (!index.is_evaluated() && (graph::capture_log() != nullptr || !is_constant(index.value()))) return;
  const Tensor wide = index.dtype() == DType::Int64 ? index : cast(index, DType::Int64);
  for (int64_t i : wide.to_vector<int64_t>())
    check<E>(i >= 0 && i < size, operation, ": index ", i, " is out of bounds for dimension ", dimension, " with size ",
             size);
}

void check_index_dtype(const char* operation, const Tensor& index) {
  check(index.dtype() == DType::Int64 || index.dtype() == DType::Int32, operation,
        ": Expected dtype int32/int64 for index, got ", name_of(index.dtype()));
}

int rank_of(const Tensor& tensor) { return std::max(tensor.dim(), 1); }
int64_t size_along(const Tensor& tensor, int dimension) { return tensor.dim() == 0 ? 1 : tensor.shape()[dimension]; }

Tensor record_scatter(const char* operation, const Tensor& input, int64_t dimension, const Tensor& index,
                      const Tensor& source, bool add) {
  const int along = normalize_dimension(dimension, input.dim(), operation);
  const Tensor values = checked_source(operation, input, along, index, source);
  if (index.numel() == 0) return clone(input);
  return scattered(input, along, index, values, add);
}

/// `base` after its window was assigned `value`. Along an expanded dimension all elements are one.
Tensor with_window(const Tensor& base, const Tensor& value, int dimension, int64_t start, int64_t count, int64_t step,
                   bool is_expanded) {
  if (!is_expanded) return updated(base, value, dimension, start, count, step);
  return count == 0 ? Tensor(base.value()) : expanded(sliced(value, dimension, 0, 1), base.shape());
}

/// A view of part of one dimension.
Tensor window(const Tensor& input, int dimension, int64_t start, int64_t count, int64_t step) {
  Strides strides = nominal_strides(input);
  const int64_t first = strides[dimension];
  const bool is_expanded = first == 0;
  strides[dimension] *= step;
  return make_view(
      sliced(input, dimension, start, count, step), input, strides,
      [=](const Tensor& base) { return sliced(base, dimension, start, count, step); },
      [=](const Tensor& base, const Tensor& value) {
        return with_window(base, value, dimension, start, count, step, is_expanded);
      },
      start * first);
}

/// Python's slice bounds: negative ones count from the end, all are clamped to the size.
int64_t clamped_bound(int64_t bound, int64_t size) {
  return std::clamp<int64_t>(bound < 0 ? bound + size : bound, 0, size);
}

}  // namespace

Slot lower_scatter(Lowering& l, std::span<const Slot> inputs, int dimension, Lowering::ScatterKind kind) {
  const Slot index = l.cast(at_least_1d(inputs[1]), DType::Int64), values = at_least_1d(inputs[2]);
  const Slot table = at_least_1d(inputs[0]), touched = cropped(table, index.shape, dimension);
  Slot result = l.scatter(touched, index, values, dimension, kind);
  if (touched.shape != table.shape) {
    const Slot whole = l.allocate(table.dtype, table.shape);
    l.copy_into(whole, table);
    l.copy_into(cropped(whole, index.shape, dimension), result);
    result = whole;
  }
  return l.reshape(result, inputs[0].shape);
}

Tensor checked_source(const char* operation, const Tensor& input, int along, const Tensor& index,
                      const Tensor& source) {
  check_index_dtype(operation, index);
  check(input.dtype() == source.dtype(), operation, ": Expected self.dtype to be equal to src.dtype, got ",
        name_of(input.dtype()), " and ", name_of(source.dtype()));
  if (index.numel() == 0) return source;
  check(rank_of(index) == rank_of(input) && rank_of(source) == rank_of(input), operation,
        ": Index tensor and source must have the same number of dimensions as input tensor, got index ", index.shape(),
        ", source ", source.shape(), ", input ", input.shape());
  Tensor values = source;
  for (int d = 0; d < index.dim(); ++d) {
    const int64_t size = index.shape()[d];
    check(size <= size_along(source, d) && (d == along || size <= size_along(input, d)), operation, ": Expected index ",
          brackets(index.shape()), " to be no larger than self ", brackets(input.shape()), " apart from dimension ",
          along, " and to be no larger size than src ", brackets(source.shape()));
    if (size < size_along(source, d)) values = sliced(values, d, 0, size);
  }
  check_known_indices<Error>(operation, index, along, size_along(input, along));
  return values;
}

Tensor part_view(const Tensor& input, const Tensor& part, int dimension, int64_t start, bool drop) {
  const int64_t count = part.size(dimension);
  Strides strides = nominal_strides(input);
  const int64_t first = strides[dimension];
  const bool is_expanded = first == 0;
  if (drop) strides.erase(dimension);
  auto shaped = [=](const Tensor& value) {
    if (!drop) return value;
    Shape shape = value.shape();
    shape.erase(dimension);
    return reshaped(value, shape);
  };
  return make_view(
      shaped(part), input, strides, [=](const Tensor& base) { return shaped(sliced(base, dimension, start, count)); },
      [=](const Tensor& base, const Tensor& value) {
        Shape shape = base.shape();
        shape[dimension] = count;
        return with_window(base, reshaped(value, shape), dimension, start, count, 1, is_expanded);
      },
      start * first);
}

}  // namespace ops

using namespace ops;

Tensor select(const Tensor& input, int64_t dimension, int64_t index) {
  check<IndexError>(input.dim() > 0, "select() cannot be applied to a 0-dim tensor.");
  const int along = normalize_dimension(dimension, input.dim(), "select");
  const int64_t size = input.size(along);
  check<IndexError>(index >= -size && index < size, "select(): index ", index, " out of range for tensor of size ",
                    brackets(input.shape()), " at dimension ", along);
  const int64_t at = index < 0 ? index + size : index;
  return part_view(input, sliced(input, along, at, 1), along, at, true);
}

Tensor narrow(const Tensor& input, int64_t dimension, int64_t start, int64_t length) {
  check(input.dim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  const int along = normalize_dimension(dimension, input.dim(), "narrow");
  const int64_t size = input.size(along);
  check(length >= 0, "narrow(): length must be non-negative.");
  check<IndexError>(start >= -size && start <= size, "narrow(): start out of range (expected to be in range of [",
                    -size, ", ", size, "], but got ", start, ")");
  const int64_t begin = start < 0 ? start + size : start;
  check(length <= size - begin, "narrow(): start (", begin, ") + length (", length, ") exceeds dimension size (", size,
        ").");
  return window(input, along, begin, length, 1);
}

Tensor slice(const Tensor& input, int64_t dimension, std::optional<int64_t> start, std::optional<int64_t> stop,
             int64_t step) {
  check<IndexError>(input.dim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  check<ValueError>(step > 0, "slice step must be positive, got ", step);
  const int along = normalize_dimension(dimension, input.dim(), "slice");
  const int64_t size = input.size(along);
  const int64_t begin = clamped_bound(start.value_or(0), size);
  const int64_t end = std::max(clamped_bound(stop.value_or(size), size), begin);
  step = std::min(step, std::max<int64_t>(size, 1));  // larger ones overflow and reach no further
  return window(input, along, begin, (end - begin + step - 1) / step, step);
}

Tensor flip(const Tensor& input, const Dimensions& dimensions) {
  Dimensions normalized;
  uint32_t seen = 0;
  for (int64_t dimension : dimensions) {
    const int d = normalize_dimension(dimension, input.dim(), "flip");
    check(!(seen >> d & 1u), "flip: dim ", d, " appears multiple times in the list of dims");
    seen |= 1u << d;
    if (input.dim() > 0) normalized.push_back(d);
  }
  return graph::record(std::make_shared<Flip>(normalized), {input},
                       {input.shape(), input.dtype(), is_floating_point(input.dtype())});
}

Tensor slice_update(const Tensor& base, const Tensor& value, int64_t dimension, int64_t start, int64_t stop,
                    int64_t step) {
  check<ValueError>(step > 0, "slice_update: step must be positive, got ", step);
  const int along = normalize_dimension(dimension, base.dim(), "slice_update");
  const int64_t size = base.size(along);
  const int64_t begin = clamped_bound(start, size), end = std::max(clamped_bound(stop, size), begin);
  step = std::min(step, std::max<int64_t>(size, 1));
  Shape shape = base.shape();
  shape[along] = (end - begin + step - 1) / step;
  return updated(base, value.shape() == shape ? value : expand(value, shape), along, begin, shape[along], step);
}

Tensor index_select(const Tensor& input, int64_t dimension, const Tensor& index) {
  const int along = normalize_dimension(dimension, input.dim(), "index_select");
  check<IndexError>(index.dim() <= 1, "index_select(): Index is supposed to be a vector");
  check(index.dtype() == DType::Int64 || index.dtype() == DType::Int32,
        "index_select(): Expected dtype int32 or int64 for index");
  // As PyTorch, whose kernels differ.
  const auto check_indices = along == 0 ? check_known_indices<IndexError> : check_known_indices<Error>;
  check_indices("index_select()", index, along, size_along(input, along));
  // Every element's index, broadcast; gather reads it with stride 0.
  Shape shape = input.shape(), line = Shape::filled(input.dim(), 1);
  if (input.dim() > 0) shape[along] = line[along] = index.numel();
  const Tensor indices = expanded(reshaped(index, line), shape);
  return gathered(input, along, indices);
}

Tensor gather(const Tensor& input, int64_t dimension, const Tensor& index) {
  const int along = normalize_dimension(dimension, input.dim(), "gather");
  // Of an index without elements PyTorch does not look at the dtype.
  if (index.numel() > 0) check_index_dtype("gather()", index);
  check(index.numel() == 0 || rank_of(index) == rank_of(input),
        "gather(): Index tensor must have the same number of dimensions as input tensor, got ", index.shape(), " and ",
        input.shape());
  if (index.numel() == 0) return reshape(slice(reshape(input, Shape{input.numel()}), 0, 0, 0), index.shape());
  for (int d = 0; d < index.dim(); ++d)
    check(d == along || index.shape()[d] <= size_along(input, d), "gather(): Size does not match at dimension ", d,
          " expected index ", brackets(index.shape()), " to be no larger than self ", brackets(input.shape()),
          " apart from dimension ", along);
  check_known_indices<Error>("gather()", index, along, size_along(input, along));
  return gathered(input, along, index);
}

Tensor scatter(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source) {
  return record_scatter("scatter()", input, dimension, index, source, false);
}

Tensor scatter_add(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source) {
  return record_scatter("scatter_add()", input, dimension, index, source, true);
}

}  // namespace pycnn
