// Reductions over some or all dimensions.
#include <cmath>
#include <limits>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "ops/pointwise.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;
using kernels::ReduceKind;

namespace {

/// Which dimensions are reduced (bit d), and whether they stay with size 1.
struct Reduced {
  uint32_t dimensions = 0;
  bool keepdim = false;

  Shape kept(Shape shape) const {
    for (int d = 0; d < shape.size(); ++d)
      if (dimensions >> d & 1u) shape[d] = 1;
    return shape;
  }
  Shape result(const Shape& shape) const {
    if (keepdim) return kept(shape);
    Shape rest;
    for (int d = 0; d < shape.size(); ++d)
      if (!(dimensions >> d & 1u)) rest.push_back(shape[d]);
    return rest;
  }
  int64_t count(const Shape& shape) const {
    int64_t n = 1;
    for (int d = 0; d < shape.size(); ++d)
      if (dimensions >> d & 1u) n *= shape[d];
    return n;
  }
  void fingerprint(Fingerprint& f) const { f.add(int64_t{dimensions}).add(int64_t{keepdim}); }
  /// A result of Lowering's reductions, which keep dimensions, in the shape asked for.
  Slot finished(Slot slot) const {
    if (!keepdim)
      for (int d = slot.shape.size() - 1; d >= 0; --d)
        if (dimensions >> d & 1u) slot = slot.squeezed(d);
    return slot;
  }
  /// A tensor of the result's shape, ready to be broadcast against the input.
  Tensor spread(const Tensor& tensor, const Shape& input) const { return reshaped(tensor, kept(input)); }
};

Reduced reduced(const char* operation, const OptionalDimensions& dimensions, const Tensor& input, bool keepdim) {
  const int rank = input.dim();
  Reduced result{(1u << rank) - 1, keepdim};
  if (!dimensions || dimensions->empty()) return result;
  result.dimensions = 0;
  for (int64_t dimension : *dimensions) {
    const int d = normalize_dimension(dimension, rank, operation);
    check(!(result.dimensions >> d & 1u), operation, ": dim ", d, " appears multiple times in the list of dims");
    result.dimensions |= 1u << d;
  }
  if (rank == 0) result.dimensions = 0;
  return result;
}

Reduced reduced(const char* operation, std::optional<int64_t> dimension, const Tensor& input, bool keepdim) {
  return reduced(operation, dimension ? OptionalDimensions({*dimension}) : OptionalDimensions(), input, keepdim);
}

/// Where a reduction's result is kept before a formula rounds it to `out`.
DType wide(DType dtype) { return compute_dtype(dtype); }

Slot formula_of(Lowering& l, std::initializer_list<Slot> inputs, const Shape& shape, DType out,
                const graph::Formula& formula) {
  return l.pointwise(std::span(inputs.begin(), inputs.size()), shape, compute_dtype(out), out, formula);
}

/// Base of the operators below: one input, one result.
class ReductionOperator : public graph::Operator {
 public:
  ReductionOperator(const Reduced& reduced, DType out) : reduced_(reduced), out_(out) {}
  void fingerprint(Fingerprint& f) const override {
    reduced_.fingerprint(f);
    f.add(static_cast<int64_t>(out_));
  }
  static Tensor record(std::shared_ptr<const ReductionOperator> op, const Tensor& input) {
    const graph::Spec spec{op->reduced_.result(input.shape()), op->out_, is_floating_point(op->out_)};
    return graph::record(std::move(op), {input}, spec);
  }

 protected:
  /// The gradient with the input's shape, broadcast.
  Tensor spread_gradient(const BackwardContext& context) const {
    const Shape& shape = context.input_shape(0);
    return expanded(reduced_.spread(context.gradient(), shape), shape);
  }
  Tensor spread(const Tensor& tensor, const BackwardContext& context) const {
    return reduced_.spread(tensor, context.input_shape(0));
  }

  Reduced reduced_;
  DType out_;
};

class Sum final : public ReductionOperator {
 public:
  using ReductionOperator::ReductionOperator;
  const char* name() const override { return "sum"; }
  Tensors backward(const BackwardContext& context) const override { return {spread_gradient(context)}; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {reduced_.finished(l.reduce(ReduceKind::Sum, inputs[0], reduced_.dimensions, wide(out_), out_))};
  }
};

class Mean final : public ReductionOperator {
 public:
  using ReductionOperator::ReductionOperator;
  const char* name() const override { return "mean"; }
  Tensors backward(const BackwardContext& context) const override {
    const auto count = static_cast<double>(reduced_.count(context.input_shape(0)));
    return {affine(spread_gradient(context), 1 / count)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const auto count = static_cast<double>(reduced_.count(inputs[0].shape));
    const Slot total = l.reduce(ReduceKind::Sum, inputs[0], reduced_.dimensions, wide(out_), wide(out_));
    return {reduced_.finished(formula_of(l, {total}, total.shape, out_, [count](ProgramBuilder& p, auto x) {
      return p.divide(x[0], p.constant(count, x[0].type));
    }))};
  }
};

/// Products of all other elements along the last dimension: prefix times suffix, each by doubling, right with any
/// zeros.
Tensor products_of_others(const Tensor& input) {
  const int last = input.dim() - 1;
  const int64_t size = input.shape()[last];
  auto inclusive = [&](Tensor x) {
    for (int64_t shift = 1; shift < size; shift *= 2) x = mul(x, pad(x, {shift, -shift}, "constant", 1));
    return x;
  };
  const Tensor before = pad(inclusive(input), {1, -1}, "constant", 1);
  const Tensor after = flip(pad(inclusive(flip(input, {last})), {1, -1}, "constant", 1), {last});
  return mul(before, after);
}

class Product final : public ReductionOperator {
 public:
  using ReductionOperator::ReductionOperator;
  const char* name() const override { return "prod"; }
  BackwardReads backward_reads() const override { return {.inputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor input = context.input(0);
    const Shape& shape = input.shape();
    if (input.numel() == 0) return {zeros_like(input)};
    Tensor others;
    const bool one_dimension = reduced_.dimensions != 0 && (reduced_.dimensions & (reduced_.dimensions - 1)) == 0;
    if (one_dimension) {
      const int d = std::countr_zero(reduced_.dimensions);
      others = transpose(products_of_others(transpose(input, d, -1)), d, -1);
    } else {
      others = reshaped(products_of_others(reshaped(input, {input.numel()})), shape);
    }
    return {mul(spread_gradient(context), others)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {reduced_.finished(l.reduce(ReduceKind::Product, inputs[0], reduced_.dimensions, wide(out_), out_))};
  }
};

/// any: Σ(x ≠ 0) ≠ 0; all: Π(x ≠ 0) ≠ 0. Both are right for empty dimensions.
class AnyAll final : public ReductionOperator {
 public:
  AnyAll(const Reduced& reduced, DType out, bool all) : ReductionOperator(reduced, out), all_(all) {}
  const char* name() const override { return all_ ? "all" : "any"; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const Slot nonzero = l.pointwise(inputs, input.shape, compute_dtype(input.dtype), DType::Bool,
                                     [](ProgramBuilder& p, std::span<const Expression> x) {
                                       return p.apply(Opcode::NotEqual, x[0], p.constant(0, x[0].type));
                                     });
    const ReduceKind kind = all_ ? ReduceKind::Product : ReduceKind::Sum;
    const Slot result = l.reduce(kind, nonzero, reduced_.dimensions, DType::Int64, DType::Bool);
    return {reduced_.finished(out_ == DType::Bool ? result : l.cast(result, out_))};
  }

 private:
  bool all_;
};

/// Largest or smallest element; equal extremes share the gradient. Where the extreme is NaN, max() and min() share it
/// among the NaNs, while the gradient of amax and amin is NaN: PyTorch's rules.
class Extremum final : public ReductionOperator {
 public:
  Extremum(const Reduced& reduced, DType out, bool maximum, bool nans_share)
      : ReductionOperator(reduced, out), maximum_(maximum), nans_share_(nans_share) {}
  const char* name() const override { return maximum_ ? "amax" : "amin"; }
  BackwardReads backward_reads() const override { return {.inputs = 1, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    Tensor hit = eq(context.input(0), spread(context.output(0), context));
    if (nans_share_) hit = logical_or(hit, isnan(context.input(0)));
    const Dimensions all_dimensions = chosen();
    const Tensor count = all_dimensions.empty() ? hit : sum(hit, all_dimensions, true);
    const Tensor share = div(spread(context.gradient(), context), cast(count, out_));
    if (nans_share_) return {keep_where(expanded(share, context.input_shape(0)), hit)};
    return {mul(share, cast(hit, out_))};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const ReduceKind kind = maximum_ ? ReduceKind::Maximum : ReduceKind::Minimum;
    return {reduced_.finished(l.reduce(kind, inputs[0], reduced_.dimensions, wide(out_), out_))};
  }

 private:
  Dimensions chosen() const {
    Dimensions result;
    for (int d = 0; d < max_dimensions; ++d)
      if (reduced_.dimensions >> d & 1u) result.push_back(d);
    return result;
  }
  bool maximum_, nans_share_;
};

/// {values, indices} along one dimension; the gradient goes to the element found.
class ArgExtremum final : public graph::Operator {
 public:
  ArgExtremum(int dimension, bool keepdim, bool maximum)
      : dimension_(dimension), keepdim_(keepdim), maximum_(maximum) {}
  const char* name() const override { return maximum_ ? "max" : "min"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}).add(int64_t{keepdim_}); }
  BackwardReads backward_reads() const override { return {.outputs = 2}; }
  Tensors backward(const BackwardContext& context) const override {
    if (!context.gradient().defined()) return {Tensor()};
    const Shape& shape = context.input_shape(0);
    if (shape.empty()) return {context.gradient()};
    Shape kept = shape;
    kept[dimension_] = 1;
    const Tensor gradient = reshaped(context.gradient(), kept), indices = reshaped(context.output(1), kept);
    return {scatter(zeros(shape, gradient.dtype()), dimension_, indices, gradient)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot input = inputs[0].shape.empty() ? inputs[0].unsqueezed(0) : inputs[0];
    auto [values, indices] = l.arg_extremum(maximum_, input, dimension_);
    if (!keepdim_ || inputs[0].shape.empty()) return {values.squeezed(dimension_), indices.squeezed(dimension_)};
    return {values, indices};
  }

 private:
  int dimension_;
  bool keepdim_, maximum_;
};

/// Bessel's correction: the divisor of Σ(x-mean)².
double degrees_of_freedom(int64_t count, double correction) {
  return std::max(static_cast<double>(count) - correction, 0.0);
}

/// d var / d x = 2 (x - mean) / (n - correction)
Tensor variance_gradient(const Tensor& spread_gradient, const Tensor& input, const Tensor& mean, double degrees) {
  return mul(affine(spread_gradient, 2 / degrees), sub(input, mean));
}

/// {variance, mean}, in double: float32 squares of 1e20 would be infinite, and those of 1e-30 zero, where the deviation
/// is neither.
class VarMean final : public graph::Operator {
 public:
  VarMean(const Reduced& reduced, double correction) : reduced_(reduced), correction_(correction) {}
  const char* name() const override { return "var_mean"; }
  void fingerprint(Fingerprint& f) const override {
    reduced_.fingerprint(f);
    f.add(correction_);
  }
  BackwardReads backward_reads() const override { return {.inputs = 1, .outputs = 2}; }
  Tensors backward(const BackwardContext& context) const override {
    const Shape& shape = context.input_shape(0);
    const int64_t count = reduced_.count(shape);
    Tensor result;
    if (const Tensor& g = context.gradient(0); g.defined())
      result = variance_gradient(reduced_.spread(g, shape), context.input(0), reduced_.spread(context.output(1), shape),
                                 degrees_of_freedom(count, correction_));
    if (const Tensor& g = context.gradient(1); g.defined()) {
      const Tensor part = expanded(affine(reduced_.spread(g, shape), 1 / static_cast<double>(count)), shape);
      result = result.defined() ? add(result, part) : part;
    }
    return {result};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    const double degrees = degrees_of_freedom(reduced_.count(inputs[0].shape), correction_);
    auto [mean, centered] = l.moments(inputs[0], reduced_.dimensions, DType::Float64, DType::Float64);
    const Slot variance =
        l.pointwise(std::array{centered}, centered.shape, DType::Float64, dtype,
                    [degrees](ProgramBuilder& p, auto x) { return p.divide(x[0], p.constant(degrees, x[0].type)); });
    // Of no elements the kernel's mean is 0 and PyTorch's NaN.
    if (reduced_.count(inputs[0].shape) == 0)
      mean = formula_of(l, {mean}, mean.shape, mean.dtype, [](ProgramBuilder& p, auto x) {
        return p.multiply(x[0], p.constant(std::numeric_limits<double>::quiet_NaN(), x[0].type));
      });
    return {reduced_.finished(variance), reduced_.finished(l.cast(mean, dtype))};
  }

 private:
  Reduced reduced_;
  double correction_;
};

/// The square root of the variance, whose gradient is taken as 0 where it is 0.
class StandardDeviation final : public ReductionOperator {
 public:
  StandardDeviation(const Reduced& reduced, DType out, double correction)
      : ReductionOperator(reduced, out), correction_(correction) {}
  const char* name() const override { return "std"; }
  void fingerprint(Fingerprint& f) const override {
    ReductionOperator::fingerprint(f);
    f.add(correction_);
  }
  BackwardReads backward_reads() const override { return {.inputs = 1, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor input = context.input(0), deviation = context.output(0);
    Tensor of_variance = div(context.gradient(), affine(deviation, 2));
    of_variance = zero_where(of_variance, eq(deviation, wrap_scalar(0, deviation)));
    Dimensions dimensions;
    for (int d = 0; d < input.dim(); ++d)
      if (reduced_.dimensions >> d & 1u) dimensions.push_back(d);
    return {variance_gradient(spread(of_variance, context), input, mean(input, dimensions, true),
                              degrees_of_freedom(reduced_.count(input.shape()), correction_))};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const double degrees = degrees_of_freedom(reduced_.count(inputs[0].shape), correction_);
    const Slot centered = l.moments(inputs[0], reduced_.dimensions, DType::Float64, DType::Float64).centered_sum;
    return {reduced_.finished(
        l.pointwise(std::array{centered}, centered.shape, DType::Float64, out_, [degrees](ProgramBuilder& p, auto x) {
          return p.apply(Opcode::Sqrt, p.divide(x[0], p.constant(degrees, x[0].type)));
        }))};
  }

 private:
  double correction_;
};

/// (Σ|x|ᵖ)^(1/p) for 0 < p < ∞; the gradient is 0 where the norm is 0.
class Norm final : public ReductionOperator {
 public:
  Norm(const Reduced& reduced, DType out, double p) : ReductionOperator(reduced, out), power_(p) {}
  const char* name() const override { return "norm"; }
  void fingerprint(Fingerprint& f) const override {
    ReductionOperator::fingerprint(f);
    f.add(power_);
  }
  BackwardReads backward_reads() const override { return {.inputs = 1, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor input = context.input(0), norm = spread(context.output(0), context);
    const Tensor gradient = spread(context.gradient(), context);
    auto is_zero = [](const Tensor& x) { return eq(x, wrap_scalar(0, x)); };
    if (power_ == 2) return {mul(input, zero_where(div(gradient, norm), is_zero(norm)))};
    // sign(x) |x|^(p-1) · g / norm^(p-1)
    const Tensor direction =
        power_ == 1 ? sign(input)
                    : zero_where(mul(sign(input), pow(abs(input), wrap_scalar(power_ - 1, input))), is_zero(input));
    const Tensor scale = zero_where(div(gradient, pow(norm, wrap_scalar(power_ - 1, norm))), is_zero(norm));
    return {mul(direction, scale)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const double power = power_;
    const DType type = wide(out_);
    const Slot powers = l.pointwise(inputs.first(1), inputs[0].shape, type, type, [power](ProgramBuilder& p, auto x) {
      if (power == 2) return p.multiply(x[0], x[0]);
      const Expression magnitude = p.apply(Opcode::Absolute, x[0]);
      return power == 1 ? magnitude : p.apply(Opcode::Power, magnitude, p.constant(power, x[0].type));
    });
    const Slot total = l.reduce(ReduceKind::Sum, powers, reduced_.dimensions, type, type);
    return {reduced_.finished(formula_of(l, {total}, total.shape, out_, [power](ProgramBuilder& p, auto x) {
      if (power == 2) return p.apply(Opcode::Sqrt, x[0]);
      return power == 1 ? x[0] : p.apply(Opcode::Power, x[0], p.constant(1 / power, x[0].type));
    }))};
  }

 private:
  double power_;
};

/// log Σ exp x = m + log Σ exp(x - m), m the maximum, or 0 where that is infinite.
class LogSumExp final : public ReductionOperator {
 public:
  using ReductionOperator::ReductionOperator;
  const char* name() const override { return "logsumexp"; }
  BackwardReads backward_reads() const override { return {.inputs = 1, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor weight = exp(sub(context.input(0), spread(context.output(0), context)));
    return {mul(spread(context.gradient(), context), weight)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType type = wide(out_);
    const Slot& input = inputs[0];
    Slot shift = l.reduce(ReduceKind::Maximum, input, reduced_.dimensions, type, type);
    shift = formula_of(l, {shift}, shift.shape, type, [](ProgramBuilder& p, auto x) {
      return p.select(p.apply(Opcode::IsInf, x[0]), p.constant(0, x[0].type), x[0]);
    });
    const Slot shifted = formula_of(l, {input, shift}, input.shape, type, [](ProgramBuilder& p, auto x) {
      return p.apply(Opcode::Exp, p.subtract(x[0], x[1]));
    });
    const Slot total = l.reduce(ReduceKind::Sum, shifted, reduced_.dimensions, type, type);
    return {reduced_.finished(formula_of(l, {total, shift}, total.shape, out_, [](ProgramBuilder& p, auto x) {
      return p.add(p.apply(Opcode::Log, x[0]), x[1]);
    }))};
  }
};

void check_not_empty(const char* operation, const Tensor& input, const OptionalDimensions& dimensions) {
  if (input.numel() > 0) return;
  check(dimensions && !dimensions->empty(), operation,
        "(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' "
        "argument.");
  for (int64_t dimension : *dimensions) {
    const int d = normalize_dimension(dimension, input.dim(), operation);
    check<IndexError>(input.dim() == 0 || input.shape()[d] != 0, operation, "(): Expected reduction dim ", d,
                      " to have non-zero size.");
  }
}

Tensor record_extremum(const char* operation, const Tensor& input, const OptionalDimensions& dimensions, bool keepdim,
                       bool maximum, bool nans_share = false) {
  check_not_empty(operation, input, dimensions);
  return ReductionOperator::record(
      std::make_shared<Extremum>(reduced(operation, dimensions, input, keepdim), input.dtype(), maximum, nans_share),
      input);
}

Tensors record_arg_extremum(const char* operation, const Tensor& input, int64_t dimension, bool keepdim, bool maximum) {
  const int along = normalize_dimension(dimension, input.dim(), operation);
  check_not_empty(operation, input, Dimensions{along});
  const Shape shape = Reduced{input.dim() == 0 ? 0 : 1u << along, keepdim}.result(input.shape());
  const graph::Spec specs[] = {{shape, input.dtype(), is_floating_point(input.dtype())}, {shape, DType::Int64, false}};
  return graph::record(std::make_shared<ArgExtremum>(along, keepdim, maximum), std::span(&input, 1), specs);
}

Tensor arg_extremum(const char* operation, const Tensor& input, std::optional<int64_t> dimension, bool keepdim,
                    bool maximum) {
  check(input.dtype() != DType::Bool, operation, "(): does not support bool input");
  const Tensor detached = input.requires_grad() ? input.detach() : input;
  if (dimension) return record_arg_extremum(operation, detached, *dimension, keepdim, maximum)[1];
  check<IndexError>(input.numel() > 0, operation, "(): Expected reduction dim to be specified for input.numel() == 0.");
  // The index counts in row-major order, however the elements lie.
  const Tensor index = record_arg_extremum(operation, reshaped(detached, {input.numel()}), 0, false, maximum)[1];
  return keepdim ? reshaped(index, Shape::filled(input.dim(), 1)) : index;
}

Tensor any_all(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim, bool all) {
  const DType out = input.dtype() == DType::UInt8 ? DType::UInt8 : DType::Bool;
  return ReductionOperator::record(
      std::make_shared<AnyAll>(reduced(all ? "all" : "any", dimensions, input, keepdim), out, all), input);
}

/// The operand and dtype of a sum or product, which widen integers.
Tensor widened(const Tensor& input, std::optional<DType> dtype) {
  if (dtype) return cast(input, *dtype);
  return is_floating_point(input.dtype()) ? input : cast(input, DType::Int64);
}

void check_moments(const char* operation, const Tensor& input) {
  check(is_floating_point(input.dtype()), operation,
        ": std and var only support floating point and complex dtypes, got ", name_of(input.dtype()));
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor sum(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim, std::optional<DType> dtype) {
  const Tensor terms = widened(input, dtype);
  return ReductionOperator::record(std::make_shared<Sum>(reduced("sum", dimensions, input, keepdim), terms.dtype()),
                                   terms);
}

Tensor mean(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim, std::optional<DType> dtype) {
  const Tensor terms = dtype ? cast(input, *dtype) : input;
  check(is_floating_point(terms.dtype()),
        "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: ",
        scalar_type_name(terms.dtype()));
  return ReductionOperator::record(std::make_shared<Mean>(reduced("mean", dimensions, input, keepdim), terms.dtype()),
                                   terms);
}

std::pair<Tensor, Tensor> var_mean(const Tensor& input, const OptionalDimensions& dimensions, double correction,
                                   bool keepdim) {
  check_moments("var_mean", input);
  const Reduced over = reduced("var_mean", dimensions, input, keepdim);
  const graph::Spec spec{over.result(input.shape()), input.dtype()};
  const graph::Spec specs[] = {spec, spec};
  Tensors results = graph::record(std::make_shared<VarMean>(over, correction), std::span(&input, 1), specs);
  return {results[0], results[1]};
}

Tensor var(const Tensor& input, const OptionalDimensions& dimensions, double correction, bool keepdim) {
  return named("var", [&] { return var_mean(input, dimensions, correction, keepdim).first; });
}

Tensor std(const Tensor& input, const OptionalDimensions& dimensions, double correction, bool keepdim) {
  check_moments("std", input);
  const Reduced over = reduced("std", dimensions, input, keepdim);
  return ReductionOperator::record(std::make_shared<StandardDeviation>(over, input.dtype(), correction), input);
}

Tensor prod(const Tensor& input, std::optional<int64_t> dimension, bool keepdim, std::optional<DType> dtype) {
  if (const auto operands = ops::autocast("prod", input)) return prod((*operands)[0], dimension, keepdim, dtype);
  const Tensor factors = widened(input, dtype);
  return ReductionOperator::record(
      std::make_shared<Product>(reduced("prod", dimension, input, keepdim), factors.dtype()), factors);
}

Tensor any(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim) {
  return any_all(input, dimensions, keepdim, false);
}
Tensor all(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim) {
  return any_all(input, dimensions, keepdim, true);
}

Tensor amax(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim) {
  return record_extremum("amax", input, dimensions, keepdim, true);
}
Tensor amin(const Tensor& input, const OptionalDimensions& dimensions, bool keepdim) {
  return record_extremum("amin", input, dimensions, keepdim, false);
}
Tensor max(const Tensor& input) { return record_extremum("max", input, {}, false, true, true); }
Tensor min(const Tensor& input) { return record_extremum("min", input, {}, false, false, true); }

std::pair<Tensor, Tensor> max(const Tensor& input, int64_t dimension, bool keepdim) {
  Tensors results = record_arg_extremum("max", input, dimension, keepdim, true);
  return {results[0], results[1]};
}
std::pair<Tensor, Tensor> min(const Tensor& input, int64_t dimension, bool keepdim) {
  Tensors results = record_arg_extremum("min", input, dimension, keepdim, false);
  return {results[0], results[1]};
}
Tensor argmax(const Tensor& input, std::optional<int64_t> dimension, bool keepdim) {
  return arg_extremum("argmax", input, dimension, keepdim, true);
}
Tensor argmin(const Tensor& input, std::optional<int64_t> dimension, bool keepdim) {
  return arg_extremum("argmin", input, dimension, keepdim, false);
}

Tensor norm(const Tensor& input, double p, const OptionalDimensions& dimensions, bool keepdim) {
  check(is_floating_point(input.dtype()),
        "norm: linalg.vector_norm: Expected a floating point or complex tensor as input. Got ",
        scalar_type_name(input.dtype()));
  const Reduced over = reduced("norm", dimensions, input, keepdim);
  for (int d = 0; (std::isinf(p) || p < 0) && d < input.dim(); ++d)
    check((over.dimensions >> d & 1) == 0 || input.shape()[d] > 0, "norm: linalg.vector_norm cannot compute the ", p,
          " norm on the dimension ", d, " because this dimension is empty and the operation does not have an identity");
  if (std::isinf(p) && input.numel() > 0)
    return p > 0 ? amax(abs(input), dimensions, keepdim) : amin(abs(input), dimensions, keepdim);
  if (p == 0) return sum(ne(input, wrap_scalar(0, input)), dimensions, keepdim, input.dtype());
  return ReductionOperator::record(std::make_shared<Norm>(over, input.dtype(), p), input);
}

Tensor logsumexp(const Tensor& input, const Dimensions& dimensions, bool keepdim) {
  const Tensor terms = cast(input, floating_type(input.dtype()));
  return ReductionOperator::record(
      std::make_shared<LogSumExp>(reduced("logsumexp", dimensions, input, keepdim), terms.dtype()), terms);
}

Tensor sum_to_shape(const Tensor& input, const Shape& shape) {
  if (input.shape() == shape) return input;
  const int added = input.dim() - shape.size();
  Reduced over{.dimensions = 0, .keepdim = true};
  for (int d = 0; d < input.dim(); ++d)
    if (d < added || (shape[d - added] == 1 && input.shape()[d] != 1)) over.dimensions |= 1u << d;
  if (over.dimensions == 0) return reshaped(input, shape);
  return reshaped(ReductionOperator::record(std::make_shared<Sum>(over, input.dtype()), input), shape);
}

}  // namespace pycnn
