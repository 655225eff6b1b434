#include "ops/views.h"

#include <algorithm>

#include "graph/capture.h"
#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/places.h"
#include "ops/promotion.h"
#include "pycnn/autograd.h"

namespace pycnn::ops {

using graph::BackwardContext;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;

namespace {

/// Elements that are known and need no gradient are seen through a new leaf at once: an epoch's slices are no new
/// plans.
bool is_known(const Tensor& input) {
  const graph::Value& value = input.value();
  const graph::Output& output = graph::output_of(value);
  return value.node->is_evaluated() && !output.requires_grad && !output.autograd && output.buffer.storage &&
         graph::capture_log() == nullptr;
}

/// The evaluated elements as a slot, whose window functions then serve leaves as well.
Slot slot_of(const Tensor& input) {
  const graph::Output& output = graph::output_of(input.value());
  return {.buffer = 0,
          .dtype = output.dtype,
          .shape = output.shape,
          .strides = output.buffer.strides,
          .offset = output.buffer.offset};
}

Tensor leaf(const Tensor& input, const Slot& slot) {
  const graph::Output& output = graph::output_of(input.value());
  return Tensor(graph::make_leaf(slot.shape, output.dtype, {output.buffer.storage, slot.offset, slot.strides}));
}

graph::Spec spec_of(const Tensor& input, const Shape& shape) {
  return {shape, input.dtype(), is_floating_point(input.dtype())};
}

Dimensions inverse(const Dimensions& order) {
  Dimensions result = order;
  for (int i = 0; i < order.size(); ++i) result[static_cast<int>(order[i])] = i;
  return result;
}

class Permute final : public graph::Operator {
 public:
  explicit Permute(const Dimensions& order) : order_(order) {}
  const char* name() const override { return "permute"; }
  void fingerprint(Fingerprint& f) const override { f.add(order_); }
  Tensors backward(const BackwardContext& context) const override {
    return {permuted(context.gradient(), inverse(order_))};
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override {
    return {inputs[0].permuted(order_)};
  }

 private:
  Dimensions order_;
};

class Reshape final : public graph::Operator {
 public:
  explicit Reshape(const Shape& shape) : shape_(shape) {}
  const char* name() const override { return "reshape"; }
  void fingerprint(Fingerprint& f) const override { f.add(shape_); }
  Tensors backward(const BackwardContext& context) const override {
    return {reshaped(context.gradient(), context.input_shape(0))};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {l.reshape(inputs[0], shape_)};
  }

 private:
  Shape shape_;
};

class Expand final : public graph::Operator {
 public:
  explicit Expand(const Shape& shape) : shape_(shape) {}
  const char* name() const override { return "expand"; }
  void fingerprint(Fingerprint& f) const override { f.add(shape_); }
  Tensors backward(const BackwardContext& context) const override {
    return {sum_to_shape(context.gradient(), context.input_shape(0))};
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override {
    return {inputs[0].expanded(shape_)};
  }

 private:
  Shape shape_;
};

/// Part of one dimension.
struct Window {
  int dimension;
  int64_t start, count, step;
  void fingerprint(Fingerprint& f) const { f.add(int64_t{dimension}).add(start).add(count).add(step); }
  Slot of(const Slot& slot) const { return slot.sliced(dimension, start, count, step); }
};

class Slice final : public graph::Operator {
 public:
  explicit Slice(const Window& window) : window_(window) {}
  const char* name() const override { return "slice"; }
  void fingerprint(Fingerprint& f) const override { window_.fingerprint(f); }
  Tensors backward(const BackwardContext& context) const override;
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {window_.of(inputs[0])}; }

 private:
  Window window_;
};

/// Zeros, but for the window.
class SliceBackward final : public graph::Operator {
 public:
  SliceBackward(const Window& window, const Shape& shape) : window_(window), shape_(shape) {}
  const char* name() const override { return "slice_backward"; }
  void fingerprint(Fingerprint& f) const override {
    window_.fingerprint(f);
    f.add(shape_);
  }
  Tensors backward(const BackwardContext& context) const override {
    return {sliced(context.gradient(), window_.dimension, window_.start, window_.count, window_.step)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Slot result = l.allocate(inputs[0].dtype, shape_);
    l.fill(result, 0);
    l.copy_into(window_.of(result), inputs[0]);
    return {result};
  }

 private:
  Window window_;
  Shape shape_;
};

Tensors Slice::backward(const BackwardContext& context) const {
  const Shape& shape = context.input_shape(0);
  return {graph::record(std::make_shared<SliceBackward>(window_, shape), {context.gradient()},
                        spec_of(context.gradient(), shape))};
}

/// Parts that follow each other, as one node: its gradient is one concatenation, where as many slices would each fill
/// a tensor of the input's size.
class Split final : public graph::Operator {
 public:
  Split(int dimension, std::span<const int64_t> sizes) : dimension_(dimension), sizes_(sizes.begin(), sizes.end()) {}
  const char* name() const override { return "split"; }
  void fingerprint(Fingerprint& f) const override {
    f.add(int64_t{dimension_}).add(static_cast<int64_t>(sizes_.size()));
    for (int64_t size : sizes_) f.add(size);
  }
  Tensors backward(const BackwardContext& context) const override {
    Tensors parts;
    Shape shape = context.input_shape(0);
    for (size_t i = 0; i < sizes_.size(); ++i) {
      shape[dimension_] = sizes_[i];
      const Tensor& gradient = context.gradient(static_cast<int>(i));
      parts.push_back(gradient.defined() ? gradient : zeros(shape, context.input_dtype(0)));
    }
    return {cat(parts, dimension_)};
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override {
    std::vector<Slot> parts;
    int64_t start = 0;
    for (int64_t size : sizes_) {
      parts.push_back(inputs[0].sliced(dimension_, start, size));
      start += size;
    }
    return parts;
  }

 private:
  int dimension_;
  std::vector<int64_t> sizes_;
};

class SliceUpdate final : public graph::Operator {
 public:
  explicit SliceUpdate(const Window& window) : window_(window) {}
  const char* name() const override { return "slice_update"; }
  void fingerprint(Fingerprint& f) const override { window_.fingerprint(f); }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    const auto [dimension, start, count, step] = window_;
    Tensors gradients(2);
    if (context.needs(0)) {
      const Tensor zero = zeros(context.input_shape(1), gradient.dtype());
      gradients[0] = updated(gradient, zero, dimension, start, count, step);
    }
    if (context.needs(1)) gradients[1] = sliced(gradient, dimension, start, count, step);
    return gradients;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Slot result = l.allocate_like(inputs[0].dtype, inputs[0].shape, inputs.first(1));
    l.copy_into(result, inputs[0]);
    l.copy_into(window_.of(result), inputs[1]);
    return {result};
  }

 private:
  Window window_;
};

}  // namespace

Tensor permuted(const Tensor& input, const Dimensions& order) {
  if (is_known(input)) return leaf(input, slot_of(input).permuted(order));
  Shape shape;
  for (int64_t d : order) shape.push_back(input.shape()[static_cast<int>(d)]);
  return graph::record(std::make_shared<Permute>(order), {input}, spec_of(input, shape));
}

Tensor reshaped(const Tensor& input, const Shape& shape) {
  if (input.shape() == shape) return input;
  if (is_known(input)) {
    const Slot window = slot_of(input).reshaped(shape);
    if (window.buffer >= 0) return leaf(input, window);
  }
  return graph::record(std::make_shared<Reshape>(shape), {input}, spec_of(input, shape));
}

Tensor expanded(const Tensor& input, const Shape& shape) {
  if (input.shape() == shape) return input;
  if (is_known(input)) return leaf(input, slot_of(input).expanded(shape));
  return graph::record(std::make_shared<Expand>(shape), {input}, spec_of(input, shape));
}

Tensor sliced(const Tensor& input, int dimension, int64_t start, int64_t count, int64_t step) {
  if (is_known(input)) return leaf(input, slot_of(input).sliced(dimension, start, count, step));
  Shape shape = input.shape();
  shape[dimension] = count;
  return graph::record(std::make_shared<Slice>(Window{dimension, start, count, step}), {input}, spec_of(input, shape));
}

Tensors parts_of(const Tensor& input, int dimension, std::span<const int64_t> sizes) {
  Tensors parts;
  if (sizes.size() > 1 && is_grad_enabled() && graph::output_of(input.value()).requires_grad) {
    std::vector<graph::Spec> specs;
    Shape shape = input.shape();
    for (int64_t size : sizes) {
      shape[dimension] = size;
      specs.push_back(spec_of(input, shape));
    }
    return graph::record(std::make_shared<Split>(dimension, sizes), std::span(&input, 1), specs);
  }
  int64_t start = 0;
  for (int64_t size : sizes) {
    parts.push_back(sliced(input, dimension, start, size));
    start += size;
  }
  return parts;
}

Tensor updated(const Tensor& base, const Tensor& value, int dimension, int64_t start, int64_t count, int64_t step) {
  return graph::record(std::make_shared<SliceUpdate>(Window{dimension, start, count, step}),
                       {base, cast(value, base.dtype())}, spec_of(base, base.shape()));
}

Strides nominal_strides(const Tensor& input) { return graph::nominal_strides(*input.handle()->cell); }

Tensor make_view(const Tensor& result, const Tensor& base, const Strides& strides,
                 std::function<Tensor(const Tensor&)> derive, std::function<Tensor(const Tensor&, const Tensor&)> write,
                 int64_t offset) {
  // What is not changed must not be written as well: it would undo the change of what shares its place.
  if (graph::Cell& cell = *base.handle()->cell; graph::windows_may_overlap(cell)) {
    if (&graph::history_root(cell) == &graph::storage_root(cell))
      return strided_view(result.handle() == base.handle() ? Tensor(base.value()) : result, base, result.shape(),
                          strides, graph::nominal_offset(cell) + offset);
    write = write_to_shared(base, result.shape(), strides, offset);
  }
  auto view = std::make_shared<graph::View>();
  view->derive = std::move(derive);
  view->write = std::move(write);
  view->strides = strides;
  view->offset = offset;
  // What is the input itself needs a handle of its own.
  const Tensor own = result.handle() == base.handle() ? Tensor(base.value()) : result;
  return graph::make_view(own, base, std::move(view));
}

void check_sizes(const char* operation, const Shape& shape) {
  for (int64_t size : shape)
    check(size >= 0, operation, ": Trying to create tensor with negative dimension ", size, ": ", brackets(shape));
}

}  // namespace pycnn::ops
