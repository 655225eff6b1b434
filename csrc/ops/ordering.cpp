// Sorting, and what accumulates along a dimension.
#include <limits>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/arguments.h"
#include "ops/pointwise.h"
#include "ops/promotion.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;
using kernels::ScanKind;

namespace {

/// Runs work(slot) on the slot with `dimension` last, in its compute dtype; the result comes back in place.
template <typename Work>
Slot along(Lowering& l, const Slot& input, int dimension, const Work& work) {
  Slot source = l.cast(input, compute_dtype(input.dtype));
  if (source.shape.empty()) return l.reshape(work(source.unsqueezed(0)), Shape{});
  Dimensions order;
  for (int d = 0; d < source.shape.size(); ++d)
    if (d != dimension) order.push_back(d);
  order.push_back(dimension);
  Dimensions inverse = order;
  for (int d = 0; d < order.size(); ++d) inverse[static_cast<int>(order[d])] = d;
  return work(source.permuted(order)).permuted(inverse);
}

/// Reverses, accumulates, and reverses again.
template <typename Function>
Tensor from_the_end(const Tensor& input, int dimension, const Function& accumulate) {
  if (input.dim() == 0) return accumulate(input);
  return flip(accumulate(flip(input, {dimension})), {dimension});
}

class Scan final : public graph::Operator {
 public:
  Scan(ScanKind kind, int dimension) : kind_(kind), dimension_(dimension) {}
  const char* name() const override {
    constexpr const char* names[] = {"cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"};
    return names[static_cast<size_t>(kind_)];
  }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}); }
  BackwardReads backward_reads() const override {
    return {.inputs = kind_ == ScanKind::Sum ? 0u : 1u, .outputs = kind_ == ScanKind::LogSumExp ? 1u : 0u};
  }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    const int d = dimension_;
    auto sums_from_the_end = [d](const Tensor& x) {
      return from_the_end(x, d, [d](const Tensor& y) { return cumsum(y, d); });
    };
    if (kind_ == ScanKind::Sum) return {sums_from_the_end(gradient)};
    if (kind_ == ScanKind::Product) return {product_gradient(gradient, context.input(0))};
    // g = g⁺ - g⁻, each through its logarithm; what is not there has none, nor do its derivatives.
    const Tensor input = context.input(0), output = context.output(0);
    const Tensor zero = wrap_scalar(0, gradient), one = wrap_scalar(1, gradient);
    const Tensor nothing = wrap_scalar(-std::numeric_limits<double>::infinity(), gradient);
    auto part = [&](const Tensor& signed_gradient) {
      const Tensor there = gt(signed_gradient, zero);
      const Tensor logarithms = where(there, sub(log(where(there, signed_gradient, one)), output), nothing);
      const Tensor summed = from_the_end(logarithms, d, [d](const Tensor& y) { return logcumsumexp(y, d); });
      return exp(add(summed, input));
    };
    return {sub(part(gradient), part(neg(gradient)))};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const bool places = kind_ == ScanKind::Maximum || kind_ == ScanKind::Minimum;
    const Slot result = along(l, inputs[0], dimension_, [&](const Slot& slot) { return l.scan(kind_, slot); });
    return {places ? result : l.cast(result, inputs[0].dtype)};
  }

 private:
  /// Right with any zeros: with r_k = g_k + x_{k+1} r_{k+1} the gradient is (Π_{i<k} x_i) r_k. The recurrence is solved
  /// by doubling: after a step of 2ᵗ, r_k covers the next 2ᵗ⁺¹ places and m_k is the product of as many factors.
  Tensor product_gradient(const Tensor& gradient, const Tensor& input) const {
    if (input.dim() == 0) return gradient;
    const Tensor x = transpose(input, dimension_, -1), g = transpose(gradient, dimension_, -1);
    const int64_t size = x.size(-1);
    if (x.numel() == 0) return gradient;
    Tensor r = g, m = pad(x, {-1, 1});
    for (int64_t step = 1; step < size; step *= 2) {
      r = add(r, mul(m, pad(r, {-step, step})));
      m = mul(m, pad(m, {-step, step}));
    }
    const Tensor before = pad(cumprod(x, -1), {1, -1}, "constant", 1);
    return transpose(mul(before, r), dimension_, -1);
  }

  ScanKind kind_;
  int dimension_;
};

class ArgSort final : public graph::Operator {
 public:
  ArgSort(int dimension, bool descending) : dimension_(dimension), descending_(descending) {}
  const char* name() const override { return "argsort"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}).add(int64_t{descending_}); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {along(l, inputs[0], dimension_, [&](const Slot& slot) { return l.sort(slot, descending_); })};
  }

 private:
  int dimension_;
  bool descending_;
};

class Select final : public graph::Operator {
 public:
  Select(kernels::SelectKind kind, int dimension, int64_t selected, bool largest)
      : kind_(kind), dimension_(dimension), selected_(selected), largest_(largest) {}
  const char* name() const override { return kind_ == kernels::SelectKind::Ranked ? "topk" : "kthvalue"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}).add(selected_).add(int64_t{largest_}); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {
        along(l, inputs[0], dimension_, [&](const Slot& slot) { return l.select(kind_, slot, selected_, largest_); })};
  }

 private:
  kernels::SelectKind kind_;
  int dimension_;
  int64_t selected_;
  bool largest_;
};

class SearchSorted final : public graph::Operator {
 public:
  explicit SearchSorted(bool right) : right_(right) {}
  const char* name() const override { return "searchsorted"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{right_}); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = compute_dtype(inputs[0].dtype);
    return {l.search(l.cast(inputs[0], dtype), l.cast(inputs[1], dtype), right_)};
  }

 private:
  bool right_;
};

/// {the elements at the places, the places}, with `selected` entries along the dimension.
std::pair<Tensor, Tensor> selected_places(kernels::SelectKind kind, const Tensor& input, int dimension,
                                          int64_t selected, bool largest) {
  Shape shape = input.shape();
  if (!shape.empty()) shape[dimension] = kind == kernels::SelectKind::Ranked ? selected : 1;
  const Tensor indices = graph::record(std::make_shared<Select>(kind, dimension, selected, largest), {input.detach()},
                                       {shape, DType::Int64, false});
  return {gather(input, dimension, indices), indices};
}

Tensor record_scan(ScanKind kind, const Tensor& input, int dimension) {
  return graph::record(std::make_shared<Scan>(kind, dimension), {input},
                       {input.shape(), input.dtype(), is_floating_point(input.dtype())});
}

/// Integers and bool add up as int64, unless a dtype is asked for.
Tensor summand(const Tensor& input, std::optional<DType> dtype) {
  return cast(input, dtype.value_or(is_floating_point(input.dtype()) ? input.dtype() : DType::Int64));
}

std::pair<Tensor, Tensor> extremes(const char* operation, ScanKind kind, const Tensor& input, int64_t dimension) {
  const int d = normalize_dimension(dimension, input.dim(), operation);
  const Tensor indices =
      graph::record(std::make_shared<Scan>(kind, d), {input.detach()}, {input.shape(), DType::Int64, false});
  return {gather(input, d, indices), indices};
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor argsort(const Tensor& input, int64_t dimension, bool descending) {
  const int d = normalize_dimension(dimension, input.dim(), "sort");
  return graph::record(std::make_shared<ArgSort>(d, descending), {input.detach()},
                       {input.shape(), DType::Int64, false});
}

std::pair<Tensor, Tensor> sort(const Tensor& input, int64_t dimension, bool descending) {
  const Tensor indices = argsort(input, dimension, descending);
  return {gather(input, dimension, indices), indices};
}

std::pair<Tensor, Tensor> topk(const Tensor& input, int64_t k, int64_t dimension, bool largest) {
  const int d = normalize_dimension(dimension, input.dim(), "topk");
  const int64_t size = input.dim() == 0 ? 1 : input.shape()[d];
  check(k >= 0 && k <= size, "topk: selected index k out of range");
  if (k == 0 || input.numel() == 0) {
    Shape shape = input.shape();
    if (!shape.empty()) shape[d] = k;
    const DeviceScope scope(input.device());
    const Tensor indices = zeros(shape, DType::Int64);
    return {gather(input, d, indices), indices};
  }
  return selected_places(kernels::SelectKind::Ranked, input, d, k, largest);
}

std::pair<Tensor, Tensor> kthvalue(const Tensor& input, int64_t k, int64_t dimension, bool keepdim) {
  const int d = normalize_dimension(dimension, input.dim(), "kthvalue");
  const int64_t size = input.dim() == 0 ? 1 : input.shape()[d];
  check(k >= 1 && k <= size, "kthvalue(): selected number k out of range for dimension ", d);
  auto result = selected_places(kernels::SelectKind::Last, input, d, k, false);
  if (keepdim || input.dim() == 0) return result;
  return {squeeze(result.first, Dimensions{d}), squeeze(result.second, Dimensions{d})};
}

Tensor searchsorted(const Tensor& boundaries, const Tensor& values, bool right) {
  check(boundaries.dim() > 0, "searchsorted: boundaries tensor should have positive dimension, but got 0 dimension");
  check(values.dim() > 0 || boundaries.dim() == 1,
        "searchsorted: input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries "
        "tensor dim(",
        boundaries.dim(), ") and input value's dim(0) numel(1)");
  bool fits = boundaries.dim() == 1 || values.dim() == boundaries.dim();
  for (int d = 0; fits && d + 1 < boundaries.dim(); ++d) fits = boundaries.shape()[d] == values.shape()[d];
  check(fits,
        "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and "
        "input value tensor must match, but we got boundaries tensor ",
        brackets(boundaries.shape()), " and input value tensor ", brackets(values.shape()));
  const DType common = result_type({boundaries, values});
  check<NotImplementedError>(common != DType::Bool, "searchsorted: not implemented for 'Bool'");
  return graph::record(std::make_shared<SearchSorted>(right),
                       {cast(boundaries.detach(), common), cast(values.detach(), common)},
                       {values.shape(), DType::Int64, false});
}

Tensor cumsum(const Tensor& input, int64_t dimension, std::optional<DType> dtype) {
  const int d = normalize_dimension(dimension, input.dim(), "cumsum");
  return record_scan(ScanKind::Sum, summand(input, dtype), d);
}

Tensor cumprod(const Tensor& input, int64_t dimension, std::optional<DType> dtype) {
  const int d = normalize_dimension(dimension, input.dim(), "cumprod");
  return record_scan(ScanKind::Product, summand(input, dtype), d);
}

Tensor logcumsumexp(const Tensor& input, int64_t dimension) {
  check_floating_point("logcumsumexp", input);
  return record_scan(ScanKind::LogSumExp, input, normalize_dimension(dimension, input.dim(), "logcumsumexp"));
}

std::pair<Tensor, Tensor> cummax(const Tensor& input, int64_t dimension) {
  return extremes("cummax", ScanKind::Maximum, input, dimension);
}
std::pair<Tensor, Tensor> cummin(const Tensor& input, int64_t dimension) {
  return extremes("cummin", ScanKind::Minimum, input, dimension);
}

}  // namespace pycnn
