// Views (as in PyTorch they see and make in-place changes of their base), copies and concatenation.
#include <algorithm>
#include <optional>
#include <utility>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/autocast.h"
#include "ops/promotion.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;

namespace {

/// The sizes with -1 inferred.
Shape inferred_shape(const Shape& shape, int64_t count) {
  int unknown = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      check(unknown < 0, "reshape: only one dimension can be inferred, got shape ", brackets(shape));
      unknown = i;
    } else {
      check(shape[i] >= 0, "reshape: invalid shape dimension ", shape[i], " at index ", i, " of shape ",
            brackets(shape));
      known *= shape[i];
    }
  }
  Shape result = shape;
  if (unknown >= 0) {
    check(known > 0 || count > 0, "reshape: cannot reshape tensor of 0 elements into shape ", brackets(shape),
          " because the unspecified dimension size -1 can be any value and is ambiguous");
    check(known > 0 && count % known == 0, "reshape: shape '", brackets(shape), "' is invalid for input of size ",
          count);
    result[unknown] = count / known;
  }
  check(element_count(result) == count, "reshape: shape '", brackets(shape), "' is invalid for input of size ", count);
  return result;
}

/// Strides of a window of that shape onto the same elements; empty if PyTorch would have to copy.
std::optional<Strides> reshaped_strides(const Tensor& input, const Shape& shape) {
  if (input.numel() == 0) return contiguous_strides(shape);
  Slot nominal{.buffer = 0, .dtype = input.dtype(), .shape = input.shape(), .strides = nominal_strides(input)};
  nominal = nominal.reshaped(shape);
  if (nominal.buffer < 0) return {};
  return nominal.strides;
}

Tensor reshape_view(const Tensor& input, const Shape& shape, const Strides& strides) {
  return make_view(
      reshaped(input, shape), input, strides, [shape](const Tensor& base) { return reshaped(base, shape); },
      [](const Tensor& base, const Tensor& value) { return reshaped(value, base.shape()); });
}

/// The same value in memory of its own, in the order asked for.
class Clone final : public graph::Operator {
 public:
  enum class Layout : uint8_t { Any, RowMajor, ChannelsLast };
  explicit Clone(Layout layout) : layout_(layout) {}
  const char* name() const override { return "clone"; }
  void fingerprint(Fingerprint& f) const override { f.add(static_cast<int64_t>(layout_)); }
  Tensors backward(const BackwardContext& context) const override { return {context.gradient()}; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    if (layout_ == Layout::RowMajor) return {l.contiguous(inputs[0])};
    if (layout_ == Layout::ChannelsLast) return {l.channels_last(inputs[0])};
    return {l.dense(inputs[0])};
  }
  static Tensor of(const Tensor& input, Layout layout) {
    return graph::record(std::make_shared<Clone>(layout), {input},
                         {input.shape(), input.dtype(), is_floating_point(input.dtype())});
  }

 private:
  Layout layout_;
};

class Cat final : public graph::Operator {
 public:
  Cat(int dimension, const Shape& shape) : dimension_(dimension), shape_(shape) {}
  const char* name() const override { return "cat"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}); }
  Tensors backward(const BackwardContext& context) const override {
    Tensors gradients;
    int64_t start = 0;
    for (int i = 0; i < context.input_count(); ++i) {
      const int64_t count = context.input_shape(i)[dimension_];
      gradients.push_back(context.needs(i) ? sliced(context.gradient(), dimension_, start, count) : Tensor());
      start += count;
    }
    return gradients;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    // Laid out as the inputs are, if they agree: channels-last images stay so.
    const bool channels_last =
        std::all_of(inputs.begin(), inputs.end(), [](const Slot& s) { return s.is_channels_last(); });
    const Strides strides = channels_last && shape_.size() >= 3 && shape_.size() <= 5 ? channels_last_strides(shape_)
                                                                                      : contiguous_strides(shape_);
    Slot result = l.allocate(inputs[0].dtype, shape_, strides);
    int64_t start = 0;
    for (const Slot& input : inputs) {
      const int64_t count = input.shape[dimension_];
      l.copy_into(result.sliced(dimension_, start, count), input);
      start += count;
    }
    return {result};
  }

 private:
  int dimension_;
  Shape shape_;
};

}  // namespace
}  // namespace ops

using namespace ops;

Tensor reshape(const Tensor& input, const Shape& shape) {
  const Shape target = inferred_shape(shape, input.numel());
  if (const auto strides = reshaped_strides(input, target)) return reshape_view(input, target, *strides);
  return reshaped(input, target);
}

Tensor flatten(const Tensor& input, int64_t start_dim, int64_t end_dim) {
  const int start = normalize_dimension(start_dim, input.dim(), "flatten"),
            end = normalize_dimension(end_dim, input.dim(), "flatten");
  check(start <= end, "flatten: has invalid args: start_dim cannot come after end_dim, got ", start_dim, " and ",
        end_dim);
  if (input.dim() == 0) return reshape(input, {1});
  if (start == end) return input;
  Shape shape;
  int64_t flattened = 1;
  for (int d = 0; d < input.dim(); ++d) {
    if (d < start || d > end) shape.push_back(input.shape()[d]);
    if (d >= start && d <= end) flattened *= input.shape()[d];
    if (d == end) shape.push_back(flattened);
  }
  return reshape(input, shape);
}

Tensor unflatten(const Tensor& input, int64_t dimension, const Shape& sizes) {
  const int at = normalize_dimension(dimension, input.dim(), "unflatten");
  check(!sizes.empty(), "unflatten: sizes must be non-empty");
  int64_t known = 1;
  bool infers = false;
  for (int64_t size : sizes) size == -1 ? void(infers = true) : void(known *= size);
  const int64_t whole = input.size(at);
  check(infers ? known != 0 && whole % known == 0 : known == whole, "unflatten: Provided sizes ", brackets(sizes),
        " don't multiply up to the size of dim ", at, " (", whole, ") in the input tensor");
  Shape shape;
  for (int d = 0; d < input.dim(); ++d) {
    if (d != at) shape.push_back(input.shape()[d]);
    if (d == at)
      for (int64_t size : sizes) shape.push_back(size == -1 ? whole / known : size);
  }
  return reshape(input, shape);
}

Tensor permute(const Tensor& input, const Dimensions& order) {
  check(order.size() == input.dim(),
        "permute: number of dimensions in the tensor input does not match the length of the ",
        "desired ordering of dimensions i.e. input.dim() = ", input.dim(),
        " is not equal to len(dims) = ", order.size());
  const Strides strides = nominal_strides(input);
  Dimensions normalized, back = order;
  Strides permuted_strides;
  uint32_t seen = 0;
  for (int i = 0; i < order.size(); ++i) {
    const int d = normalize_dimension(order[i], input.dim(), "permute");
    check(!(seen >> d & 1u), "permute: duplicate dims are not allowed, got ", brackets(order));
    seen |= 1u << d;
    normalized.push_back(d);
    back[d] = i;
    permuted_strides.push_back(strides[d]);
  }
  return make_view(
      permuted(input, normalized), input, permuted_strides,
      [normalized](const Tensor& base) { return permuted(base, normalized); },
      [back](const Tensor&, const Tensor& value) { return permuted(value, back); });
}

Tensor transpose(const Tensor& input, int64_t a, int64_t b) {
  const int first = normalize_dimension(a, input.dim(), "transpose"),
            second = normalize_dimension(b, input.dim(), "transpose");
  Dimensions order;
  for (int d = 0; d < input.dim(); ++d) order.push_back(d == first ? second : d == second ? first : d);
  return permute(input, order);
}

Tensor squeeze(const Tensor& input, const OptionalDimensions& dimensions) {
  uint32_t chosen = dimensions ? 0 : ~0u;
  for (int64_t dimension : dimensions.value_or(Dimensions())) {
    const int d = normalize_dimension(dimension, input.dim(), "squeeze");
    check(!(chosen >> d & 1u), "squeeze: dim ", d, " appears multiple times in the list of dims");
    chosen |= 1u << d;
  }
  const Strides from = nominal_strides(input);
  Shape shape;
  Strides strides;
  for (int d = 0; d < input.dim(); ++d) {
    if (input.shape()[d] == 1 && chosen >> d & 1u) continue;
    shape.push_back(input.shape()[d]);
    strides.push_back(from[d]);
  }
  return reshape_view(input, shape, strides);
}

Tensor unsqueeze(const Tensor& input, int64_t dimension) {
  const int at = normalize_dimension(dimension, input.dim() + 1, "unsqueeze");
  Shape shape = input.shape();
  Strides strides = nominal_strides(input);
  strides.insert(at, at < shape.size() ? shape[at] * strides[at] : 1);
  shape.insert(at, 1);
  return reshape_view(input, shape, strides);
}

Tensor expand(const Tensor& input, const Shape& shape) {
  const int added = shape.size() - input.dim();
  check(added >= 0, "expand: the number of sizes provided (", shape.size(),
        ") must be greater or equal to the number of dimensions in the tensor (", input.dim(), ")");
  const Strides from = nominal_strides(input);
  Shape target = shape;
  Strides strides;
  for (int d = 0; d < shape.size(); ++d) {
    check(d >= added || shape[d] >= 0, "expand: The expanded size of the tensor (", shape[d],
          ") isn't allowed in a leading, non-existing dimension ", d);
    const int64_t size = d < added ? 1 : input.shape()[d - added];
    if (shape[d] == -1) target[d] = size;
    check(target[d] == size || (size == 1 && target[d] >= 0), "expand: The expanded size of the tensor (", shape[d],
          ") must match the existing size (", size, ") at non-singleton dimension ", d,
          ".  Target sizes: ", brackets(shape), ".  Tensor sizes: ", brackets(input.shape()));
    strides.push_back(d < added || (size == 1 && target[d] != 1) ? 0 : from[d - added]);
  }
  return make_view(
      expanded(input, target), input, strides, [target](const Tensor& base) { return expanded(base, target); },
      [added](const Tensor& base, const Tensor& value) {
        if (value.numel() == 0) return Tensor(base.value());
        Tensor first = value;
        for (int d = 0; d < value.dim(); ++d)
          if (const int64_t size = d < added ? 1 : base.shape()[d - added]; size != value.shape()[d])
            first = sliced(first, d, 0, size);
        return reshaped(first, base.shape());
      });
}

Tensor broadcast_to(const Tensor& input, const Shape& shape) { return expand(input, shape); }

Tensor contiguous(const Tensor& input, bool channels_last) {
  if (channels_last) {
    check(input.dim() >= 3 && input.dim() <= 5, "contiguous: channels-last needs a tensor of shape (N, C, …), got ",
          input.shape());
    return Clone::of(input, Clone::Layout::ChannelsLast);
  }
  if (nominal_strides(input) == contiguous_strides(input.shape())) return input;
  return Clone::of(input, Clone::Layout::RowMajor);
}

Tensor clone(const Tensor& input) { return Clone::of(input, Clone::Layout::Any); }

Tensor cat(std::span<const Tensor> tensors, int64_t dimension) {
  check<ValueError>(!tensors.empty(), "cat: expected a non-empty list of Tensors");
  if (const auto operands = ops::autocast("cat", tensors)) return cat(*operands, dimension);
  // PyTorch lets empty vectors pass anywhere.
  auto ignored = [](const Tensor& t) { return t.dim() == 1 && t.numel() == 0; };
  Tensors parts;
  for (const Tensor& tensor : tensors)
    if (!ignored(tensor)) parts.push_back(tensor);
  if (parts.empty()) return cast(clone(tensors[0]), result_type(tensors));
  for (const Tensor& part : parts) check(part.dim() > 0, "cat: zero-dimensional tensor cannot be concatenated");
  const DType dtype = result_type(tensors);
  Shape shape = parts[0].shape();
  const int along = normalize_dimension(dimension, shape.size(), "cat");
  shape[along] = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Shape& part = parts[i].shape();
    check(part.size() == shape.size(), "cat: Tensors must have same number of dimensions: got ", shape.size(), " and ",
          part.size());
    for (int d = 0; d < shape.size(); ++d)
      check(d == along || part[d] == shape[d], "cat: Sizes of tensors must match except in dimension ", along,
            ". Expected size ", shape[d], " but got size ", part[d], " for tensor number ", i, " in the list.");
    shape[along] += part[along];
    parts[i] = cast(parts[i], dtype);
  }
  const graph::Spec spec{shape, dtype, is_floating_point(dtype)};
  return graph::record(std::make_shared<Cat>(along, shape), parts, std::span(&spec, 1))[0];
}

Tensor stack(std::span<const Tensor> tensors, int64_t dimension) {
  check(!tensors.empty(), "stack: expects a non-empty TensorList");
  if (const auto operands = ops::autocast("stack", tensors)) return stack(*operands, dimension);
  const int at = normalize_dimension(dimension, tensors[0].dim() + 1, "stack");
  Tensors parts;
  for (size_t i = 0; i < tensors.size(); ++i) {
    check(tensors[i].shape() == tensors[0].shape(), "stack: expects each tensor to be equal size, but got ",
          brackets(tensors[0].shape()), " at entry 0 and ", brackets(tensors[i].shape()), " at entry ", i);
    Shape shape = tensors[i].shape();
    shape.insert(at, 1);
    parts.push_back(reshaped(tensors[i], shape));
  }
  return cat(parts, at);
}

Tensors split(const Tensor& input, std::span<const int64_t> sizes, int64_t dimension) {
  check(input.dim() > 0, "split: expects at least a 1-dimensional tensor");
  const int along = normalize_dimension(dimension, input.dim(), "split");
  int64_t total = 0;
  for (int64_t size : sizes) {
    check(size >= 0, "split_with_sizes: expects split_sizes have only non-negative entries, but got ", size);
    total += size;
  }
  check(total == input.size(along), "split_with_sizes: expects split_sizes to sum exactly to ", input.size(along),
        " (input tensor's size at dimension ", along, "), but got split_sizes that sum to ", total);
  Tensors parts = parts_of(input, along, sizes);
  int64_t start = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i] = part_view(input, parts[i], along, start);
    start += sizes[i];
  }
  return parts;
}

Tensors split(const Tensor& input, int64_t split_size, int64_t dimension) {
  check(input.dim() > 0, "split: expects at least a 1-dimensional tensor");
  check(split_size >= 0, "split: expects split_size be non-negative, but got split_size=", split_size);
  const int along = normalize_dimension(dimension, input.dim(), "split");
  const int64_t size = input.size(along);
  check(split_size > 0 || size == 0,
        "split: split_size can only be 0 if dimension size is 0, but got dimension size of ", size);
  std::vector<int64_t> sizes;
  int64_t start = 0;
  do {
    sizes.push_back(std::min(split_size, size - start));
    start += sizes.back();
  } while (start < size);
  return split(input, sizes, along);
}

Tensors chunk(const Tensor& input, int64_t chunks, int64_t dimension) {
  check(chunks > 0, "chunk: expects `chunks` to be greater than 0, got: ", chunks);
  check(input.dim() > 0, "chunk: expects at least a 1-dimensional tensor");
  const int along = normalize_dimension(dimension, input.dim(), "chunk");
  const int64_t size = input.size(along);
  if (size > 0) return split(input, (size + chunks - 1) / chunks, along);
  Tensors parts;
  for (int64_t i = 0; i < chunks; ++i) parts.push_back(narrow(input, along, 0, 0));
  return parts;
}

Tensors unbind(const Tensor& input, int64_t dimension) {
  check<IndexError>(input.dim() > 0, "unbind: Dimension specified as ", dimension, " but tensor has no dimensions");
  const int along = normalize_dimension(dimension, input.dim(), "unbind");
  Tensors parts = parts_of(input, along, std::vector<int64_t>(static_cast<size_t>(input.size(along)), 1));
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i] = part_view(input, parts[i], along, static_cast<int64_t>(i), true);
  }
  return parts;
}

}  // namespace pycnn
