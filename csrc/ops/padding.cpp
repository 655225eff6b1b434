// Padding with a constant, which is an operator, and with what lies inside the border, which is a composition of
// slices, flips and concatenations with their gradients.
#include <algorithm>
#include <string>

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

/// Constant padding; negative amounts crop.
class Pad final : public graph::Operator {
 public:
  Pad(const Dimensions& before, const Dimensions& after, double value)
      : before_(before), after_(after), value_(value) {}
  const char* name() const override { return "pad"; }
  void fingerprint(Fingerprint& f) const override { f.add(before_).add(after_).add(value_); }
  Tensors backward(const BackwardContext& context) const override {
    std::vector<int64_t> padding;
    for (int d = before_.size() - 1; d >= 0; --d) padding.insert(padding.end(), {-before_[d], -after_[d]});
    return {pad(context.gradient(), padding)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    Shape shape = input.shape;
    for (int d = 0; d < shape.size(); ++d) shape[d] += before_[d] + after_[d];
    const bool channels_last = input.is_channels_last() && shape.size() >= 3 && shape.size() <= 5;
    Slot result =
        l.allocate(input.dtype, shape, channels_last ? channels_last_strides(shape) : contiguous_strides(shape));
    Slot from = input, to = result;
    for (int d = 0; d < shape.size(); ++d) {
      const int64_t skipped = std::max<int64_t>(-before_[d], 0), dropped = std::max<int64_t>(-after_[d], 0);
      const int64_t count = std::max<int64_t>(input.shape[d] - skipped - dropped, 0);
      from = from.sliced(d, count == 0 ? 0 : skipped, count);
      to = to.sliced(d, count == 0 ? 0 : std::max<int64_t>(before_[d], 0), count);
    }
    if (from.count() != result.count()) l.fill(result, value_);
    if (from.count() > 0) l.copy_into(to, from);
    return {result};
  }

 private:
  Dimensions before_, after_;
  double value_;
};

Tensor pad_constant(const Tensor& input, const Dimensions& before, const Dimensions& after, double value) {
  Shape shape = input.shape();
  for (int d = 0; d < shape.size(); ++d) {
    shape[d] += before[d] + after[d];
    const int64_t kept = input.shape()[d] + std::min<int64_t>(before[d], 0) + std::min<int64_t>(after[d], 0);
    check(kept >= 0, "pad: The input size ", input.shape()[d], ", plus negative padding ", before[d], " and ", after[d],
          " crops more than there is. Check dimension ", d, " of your input.");
  }
  return graph::record(std::make_shared<Pad>(before, after, value), {input},
                       {shape, input.dtype(), is_floating_point(input.dtype())});
}

enum class Border : uint8_t { Reflect, Replicate, Circular };

/// Positions first … last-1 of the result along one dimension, counted from the input's first element, all of them
/// before it, inside it or behind it.
Tensor piece(const Tensor& input, Border border, int dimension, int64_t first, int64_t last) {
  const int64_t size = input.shape()[dimension], count = last - first;
  if (first >= 0 && last <= size) return sliced(input, dimension, first, count);
  if (border == Border::Replicate) {
    Shape shape = input.shape();
    shape[dimension] = count;
    return expanded(sliced(input, dimension, first < 0 ? 0 : size - 1, 1), shape);
  }
  if (border == Border::Circular) return sliced(input, dimension, first < 0 ? first + size : first - size, count);
  const int64_t mirrored_last = first < 0 ? -last + 1 : 2 * (size - 1) - last + 1;
  return flip(sliced(input, dimension, mirrored_last, count), {dimension});
}

Tensor pad_border(Tensor input, Border border, int dimension, int64_t before, int64_t after) {
  if (border == Border::Circular && std::min(before, after) < 0) {
    // What is cropped does not come round again.
    const int64_t skipped = std::max<int64_t>(-before, 0), dropped = std::max<int64_t>(-after, 0);
    input = sliced(input, dimension, skipped, input.shape()[dimension] - skipped - dropped);
    before = std::max<int64_t>(before, 0);
    after = std::max<int64_t>(after, 0);
  }
  if (before == 0 && after == 0) return input;
  const int64_t size = input.shape()[dimension], first = -before, last = size + after;
  const int64_t ends[] = {first, std::clamp<int64_t>(0, first, last), std::clamp(size, first, last), last};
  Tensors pieces;
  for (int i = 0; i < 3; ++i)
    if (ends[i] < ends[i + 1]) pieces.push_back(piece(input, border, dimension, ends[i], ends[i + 1]));
  return pieces.size() == 1 ? pieces[0] : cat(pieces, dimension);
}

void check_border(Border border, const Tensor& input, const Dimensions& before, const Dimensions& after, int spatial) {
  const int rank = input.dim();
  const Shape& shape = input.shape();
  if (border != Border::Circular) {
    // Only the batch may be empty.
    const bool filled =
        std::all_of(shape.begin() + (rank == spatial + 2 ? 1 : 0), shape.end(), [](int64_t size) { return size > 0; });
    check(filled, "pad: Expected ", spatial + 1, "D or ", spatial + 2,
          "D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: ",
          brackets(shape));
    check<NotImplementedError>(input.dtype() != DType::Bool, "pad: \"",
                               border == Border::Reflect ? "reflection" : "replication", "_pad", spatial,
                               "d\" not implemented for 'Bool'");
  }
  for (int d = rank - spatial; d < rank; ++d) {
    const int64_t size = shape[d], result = size + before[d] + after[d];
    if (border == Border::Reflect)
      check(before[d] < size && after[d] < size,
            "pad: Padding size should be less than the corresponding input dimension, but got: padding (", before[d],
            ", ", after[d], ") at dimension ", d, " of input ", brackets(shape));
    if (border == Border::Circular) {
      const int64_t kept = size + std::min<int64_t>(before[d], 0) + std::min<int64_t>(after[d], 0);
      check(result >= 0, "pad: Negative padding value is resulting in an empty dimension: padding (", before[d], ", ",
            after[d], ") at dimension ", d, " of input ", brackets(shape));
      check(before[d] <= kept && after[d] <= kept,
            "pad: Padding value causes wrapping around more than once: padding (", before[d], ", ", after[d],
            ") at dimension ", d, " of input ", brackets(shape));
    } else {
      check(result >= 1, "pad: input ", brackets(shape), " is too small at dimension ", d, " for padding (", before[d],
            ", ", after[d], "). Calculated output size: ", result);
    }
  }
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor pad(const Tensor& input, const std::vector<int64_t>& padding, std::string_view mode, double value) {
  check(padding.size() % 2 == 0, "pad: Padding length must be divisible by 2, got ", join(padding, ", "));
  check(padding.size() <= 2 * static_cast<size_t>(input.dim()),
        "pad: Padding length should be less than or equal to two times the input dimension but got padding length ",
        padding.size(), " and input of dimension ", input.dim());
  const int rank = input.dim(), padded = static_cast<int>(padding.size() / 2);
  Dimensions before = Dimensions::filled(rank, 0), after = before;
  for (int i = 0; i < padded; ++i) {
    before[rank - 1 - i] = padding[2 * static_cast<size_t>(i)];
    after[rank - 1 - i] = padding[2 * static_cast<size_t>(i) + 1];
  }
  if (mode == "constant") return pad_constant(input, before, after, value);

  const bool known = mode == "reflect" || mode == "replicate" || mode == "circular";
  check<NotImplementedError>(known, "pad: Unrecognised padding mode '", mode,
                             "', expected 'constant', 'reflect', 'replicate' or 'circular'");
  check(value == 0, "pad: Padding mode \"", mode, "\" doesn't take in value argument");
  check<NotImplementedError>(padded >= 1 && padded <= 3 && (rank == padded + 1 || rank == padded + 2),
                             "pad: Padding size ", padding.size(), " is not supported for ", rank,
                             "D input tensor in mode '", mode, "': expected (before, after) for each dimension behind ",
                             "the channels of a (C, …) or (N, C, …) tensor, got input ", brackets(input.shape()));
  const Border border = mode == "reflect"     ? Border::Reflect
                        : mode == "replicate" ? Border::Replicate
                                              : Border::Circular;
  check_border(border, input, before, after, padded);
  constexpr const char* reflection[] = {"reflection_pad1d", "reflection_pad2d", "reflection_pad3d"};
  constexpr const char* replication[] = {"replication_pad1d", "replication_pad2d", "replication_pad3d"};
  if (border != Border::Circular)
    if (const auto operands = autocast((border == Border::Reflect ? reflection : replication)[padded - 1], input))
      return pad((*operands)[0], padding, mode);
  const graph::AutocastSuspension suspension(true);  // the parts are no operators of their own
  Tensor result = input;
  for (int d = rank - padded; d < rank; ++d) result = pad_border(result, border, d, before[d], after[d]);
  return result.handle() == input.handle() ? clone(input) : result;
}

}  // namespace pycnn
