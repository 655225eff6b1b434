// Elements reduced into the places that an index names, by products and extremes.
#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/indexing.h"
#include "ops/pointwise.h"
#include "pycnn/autograd.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;
using Kind = Lowering::ScatterKind;

namespace {

Tensor record_reduction(Kind kind, int dimension, const Tensor& input, const Tensor& index, const Tensor& source);

class ScatterReduce final : public graph::Operator {
 public:
  ScatterReduce(Kind kind, int dimension) : kind_(kind), dimension_(dimension) {}
  const char* name() const override { return "scatter_reduce"; }
  void fingerprint(Fingerprint& f) const override { f.add(static_cast<int64_t>(kind_)).add(int64_t{dimension_}); }
  BackwardReads backward_reads() const override { return {.inputs = 0b111, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    return kind_ == Kind::Product ? product_gradients(context) : extreme_gradients(context);
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {lower_scatter(l, inputs, dimension_, kind_)};
  }

 private:
  /// Equal extremes share the gradient.
  Tensors extreme_gradients(const BackwardContext& context) const {
    const Tensor index = context.input(1), result = context.output(0);
    const Tensor& gradient = context.gradient();
    const Tensor hit_input = cast(eq(context.input(0), result), gradient.dtype());
    const Tensor hit_source = cast(eq(context.input(2), gather(result, dimension_, index)), gradient.dtype());
    const Tensor share = gradient / scatter_add(hit_input, dimension_, index, hit_source);
    return {hit_input * share, Tensor(), hit_source * gather(share, dimension_, index)};
  }
  /// The product of all other factors: the quotient by the one, or if that is zero the product of what is not zero,
  /// times the other zero if there is one. With three zeros or more a third derivative lacks their product.
  Tensors product_gradients(const BackwardContext& context) const {
    const Tensor input = context.input(0), index = context.input(1), source = context.input(2);
    const Tensor result = context.output(0);
    const Tensor& gradient = context.gradient();
    const Tensor zero = wrap_scalar(0, gradient), one = wrap_scalar(1, gradient), two = wrap_scalar(2, gradient);
    const auto is_zero = [&](const Tensor& x) { return eq(x, zero); };
    const auto without_zeros = [&](const Tensor& x) { return where(is_zero(x), one, x); };
    const Tensor product = record_reduction(kind_, dimension_, without_zeros(input), index, without_zeros(source));
    const Tensor count =
        scatter_add(cast(is_zero(input), gradient.dtype()), dimension_, index, cast(is_zero(source), gradient.dtype()));
    const auto zeros_of = [&](const Tensor& x) { return where(is_zero(x), x, zero); };
    const bool derived = is_grad_enabled();
    const Tensor sum_of_zeros = derived ? scatter_add(zeros_of(input), dimension_, index, zeros_of(source)) : Tensor();
    const auto others = [&](const Tensor& x, const auto& of_place) {
      const Tensor rest = of_place(product), zeros = of_place(count);
      const Tensor by_another = derived ? where(eq(zeros, two), (of_place(sum_of_zeros) - x) * rest, zero) : zero;
      return where(is_zero(x), where(eq(zeros, one), rest, by_another), of_place(result) / without_zeros(x));
    };
    return {gradient * others(input, [](const Tensor& x) { return x; }), Tensor(),
            gather(gradient, dimension_, index) *
                others(source, [&](const Tensor& x) { return gather(x, dimension_, index); })};
  }

  Kind kind_;
  int dimension_;
};

Tensor record_reduction(Kind kind, int dimension, const Tensor& input, const Tensor& index, const Tensor& source) {
  return graph::record(std::make_shared<ScatterReduce>(kind, dimension), {input, index, source},
                       {input.shape(), input.dtype(), is_floating_point(input.dtype())});
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor scatter_reduce(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source,
                      std::string_view reduce) {
  check(reduce == "prod" || reduce == "amax" || reduce == "amin",
        "scatter_reduce: reduce argument must be either prod, amax or amin, got ", reduce);
  const int along = normalize_dimension(dimension, input.dim(), "scatter_reduce");
  const Tensor values = checked_source("scatter_reduce()", input, along, index, source);
  if (index.numel() == 0) return clone(input);
  return record_reduction(reduce == "prod"   ? Kind::Product
                          : reduce == "amax" ? Kind::Maximum
                                             : Kind::Minimum,
                          along, input, index, values);
}

}  // namespace pycnn
