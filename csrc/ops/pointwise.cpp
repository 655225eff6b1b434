// The class behind every row, and the rows with more than two operands.
#include "ops/pointwise.h"

#include <algorithm>
#include <bit>

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;

namespace {

class Pointwise final : public graph::Operator {
 public:
  /// `wanted`: bit i if the i-th input's gradient may be asked for.
  Pointwise(const PointwiseRow& row, DType common, DType out, const Parameters& parameters, uint32_t wanted)
      : row_(row), parameters_(parameters), common_(common), out_(out), wanted_(wanted) {}

  const char* name() const override { return row_.name; }
  void fingerprint(Fingerprint& f) const override {
    f.add(static_cast<int64_t>(common_)).add(static_cast<int64_t>(out_));
    for (double parameter : parameters_) f.add(parameter);
  }
  BackwardReads backward_reads() const override {
    return {.inputs = reads() & 127u, .outputs = reads() & reads_y ? 1u : 0u};
  }

  Tensors backward(const BackwardContext& context) const override {
    const Derivation derivation(context, parameters_, reads() != nothing);
    Tensors gradients(static_cast<size_t>(context.input_count()));
    for (int i = 0; i < context.input_count(); ++i) {
      const Derivative& derivative = row_.derivatives[static_cast<size_t>(i)];
      if (derivative.gradient == nullptr || !context.needs(i)) continue;
      Tensor gradient = sum_to_shape(derivative.gradient(derivation), context.input_shape(i));
      gradients[static_cast<size_t>(i)] = cast(gradient, context.input_dtype(i));
    }
    return gradients;
  }

  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Shape shape;
    for (const Slot& input : inputs) shape = broadcast_shapes(shape, input.shape, row_.name);
    return {l.pointwise(inputs, shape, compute_dtype(common_), out_,
                        [this, inputs](ProgramBuilder& p, std::span<const Expression> x) {
                          std::array<Expression, 4> operands;
                          for (size_t i = 0; i < x.size(); ++i)
                            operands[i] = wraps(inputs[i].dtype) ? p.round_to(x[i], common_) : x[i];
                          return row_.formula(p, std::span<const Expression>(operands).first(x.size()), parameters_);
                        })};
  }

 private:
  /// Whether an integer of that dtype may not fit the dtype of the operation: a number or 0-d tensor that meets a
  /// narrower one.
  bool wraps(DType dtype) const {
    return is_integral(common_) && is_integral(dtype) && dtype != DType::Bool && dtype != common_;
  }
  uint32_t reads() const {
    uint32_t result = nothing;
    for (uint32_t i = 0; i < row_.derivatives.size(); ++i)
      if (wanted_ >> i & 1u) result |= row_.derivatives[i].reads;
    return result;
  }

  const PointwiseRow& row_;
  Parameters parameters_;
  DType common_, out_;
  uint32_t wanted_;
};

Tensor record_pointwise(const PointwiseRow& row, std::span<const Tensor> inputs, DType compute, DType out,
                        const Parameters& parameters) {
  Shape shape;
  uint32_t wanted = 0;
  bool differentiable = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    shape = i == 0 ? inputs[i].shape() : broadcast_shapes(shape, inputs[i].shape(), row.name);
    const bool derived = row.derivatives[i].gradient != nullptr;
    differentiable |= derived;
    if (derived && inputs[i].requires_grad()) wanted |= 1u << i;
  }
  const graph::Spec spec{shape, out, differentiable && is_floating_point(out)};
  auto op = std::make_shared<Pointwise>(row, compute, out, parameters, wanted);
  return graph::record(std::move(op), inputs, std::span(&spec, 1))[0];
}

void check_operands(const PointwiseRow& row, DType common) {
  const bool refused = common == DType::Bool       ? row.refuses & booleans
                       : is_floating_point(common) ? row.refuses & floats
                                                   : row.refuses & integers;
  check<NotImplementedError>(!refused, row.name, ": not implemented for '", scalar_type_name(common), "'");
}

class Cast final : public graph::Operator {
 public:
  explicit Cast(DType dtype) : dtype_(dtype) {}
  const char* name() const override { return "cast"; }
  void fingerprint(Fingerprint& f) const override { f.add(static_cast<int64_t>(dtype_)); }
  Tensors backward(const BackwardContext& context) const override {
    return {cast(context.gradient(), context.input_dtype(0))};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {l.cast(inputs[0], dtype_)};
  }

 private:
  DType dtype_;
};

}  // namespace

Tensor Derivation::widened(const Tensor& tensor) const {
  const bool narrow = tensor.dtype() == DType::BFloat16 || tensor.dtype() == DType::Float16;
  return widen_ && narrow ? cast(tensor, DType::Float32) : tensor;
}

Tensor record_pointwise(const PointwiseRow& row, std::initializer_list<Tensor> inputs, DType compute, DType out,
                        const Parameters& parameters) {
  return record_pointwise(row, std::span(inputs.begin(), inputs.size()), compute, out, parameters);
}

Tensor pointwise(const PointwiseRow& row, std::initializer_list<Tensor> inputs, const Parameters& parameters) {
  DType common = result_type(inputs);
  check_operands(row, common);
  if (row.result == ResultType::Floating) common = floating_type(common);
  const DType out = row.result == ResultType::Boolean ? DType::Bool : common;
  // A cast that gradients must pass is a node of its own; others are part of the formula.
  std::array<Tensor, 4> operands;
  std::copy(inputs.begin(), inputs.end(), operands.begin());
  if (row.result != ResultType::Boolean)
    for (Tensor& operand : operands)
      if (operand.defined() && operand.dtype() != common && is_floating_point(operand.dtype()) &&
          !is_wrapped_number(operand))
        operand = cast(operand, common);
  return record_pointwise(row, std::span<const Tensor>(operands).first(inputs.size()), common, out, parameters);
}

namespace {

const PointwiseRow affine_row = {
    "affine",
    ResultType::Promoted,
    none,
    [](auto& p, auto x, auto& parameters) {
      const auto [scale, offset] = parameters;
      Expression scaled = scale == 1 ? x[0] : scale == -1 ? p.apply(Opcode::Negate, x[0]) : p.multiply(x[0], scale);
      return offset == 0 ? scaled : p.add(scaled, offset);
    },
    {{{[](auto& d) { return affine(d.g(), d.parameter(0)); }}}}};

const PointwiseRow keep_where_row = {
    "keep_where",
    ResultType::Promoted,
    none,
    [](auto& p, auto x, auto&) { return p.select(x[1], x[0], p.constant(0, x[0].type)); },
    {{{[](auto& d) { return keep_where(d.g(), d.b()); }, reads_b}}}};

const PointwiseRow zero_where_row = {
    "zero_where",
    ResultType::Promoted,
    none,
    [](auto& p, auto x, auto&) { return p.select(x[1], p.constant(0, x[0].type), x[0]); },
    {{{[](auto& d) { return zero_where(d.g(), d.b()); }, reads_b}}}};

const PointwiseRow where_row = {"where",
                                ResultType::Promoted,
                                none,
                                [](auto& p, auto x, auto&) { return p.select(x[0], x[1], x[2]); },
                                {{{},
                                  {[](auto& d) { return keep_where(d.g(), d.a()); }, reads_a},
                                  {[](auto& d) { return zero_where(d.g(), d.a()); }, reads_a}}}};

// The gradient passes where min ≤ input ≤ max; beyond, it goes to the bound, to max where both bounds hold.
Tensor within(const Tensor& input, const Tensor& min, const Tensor& max) {
  return logical_and(ge(input, min), le(input, max));
}
const PointwiseRow clamp_row = {
    "clamp",
    ResultType::Promoted,
    booleans,
    [](auto& p, auto x, auto&) { return p.minimum(p.maximum(x[0], x[1]), x[2]); },
    {{{[](auto& d) { return keep_where(d.g(), within(d.a(), d.b(), d.c())); }, reads_a | reads_b | reads_c},
      {[](auto& d) { return keep_where(d.g(), logical_and(lt(d.a(), d.b()), lt(d.b(), d.c()))); },
       reads_a | reads_b | reads_c},
      {[](auto& d) { return keep_where(d.g(), logical_or(gt(d.a(), d.c()), gt(d.b(), d.c()))); },
       reads_a | reads_b | reads_c}}}};
const PointwiseRow clamp_min_row = {
    "clamp_min",
    ResultType::Promoted,
    booleans,
    [](auto& p, auto x, auto&) { return p.maximum(x[0], x[1]); },
    {{{[](auto& d) { return keep_where(d.g(), ge(d.a(), d.b())); }, reads_a | reads_b},
      {[](auto& d) { return keep_where(d.g(), lt(d.a(), d.b())); }, reads_a | reads_b}}}};
const PointwiseRow clamp_max_row = {
    "clamp_max",
    ResultType::Promoted,
    booleans,
    [](auto& p, auto x, auto&) { return p.minimum(x[0], x[1]); },
    {{{[](auto& d) { return keep_where(d.g(), le(d.a(), d.b())); }, reads_a | reads_b},
      {[](auto& d) { return keep_where(d.g(), gt(d.a(), d.b())); }, reads_a | reads_b}}}};

// From the nearer end, so that weight 1 gives b exactly.
const PointwiseRow lerp_row = {
    "lerp",
    ResultType::Promoted,
    booleans | integers,
    [](auto& p, auto x, auto&) {
      Expression difference = p.subtract(x[1], x[0]);
      Expression from_a = p.add(x[0], p.multiply(x[2], difference));
      Expression from_b = p.subtract(x[1], p.multiply(difference, p.subtract(p.constant(1, x[2].type), x[2])));
      return p.select(p.less(p.apply(Opcode::Absolute, x[2]), p.constant(0.5, x[2].type)), from_a, from_b);
    },
    {{{[](auto& d) { return mul(d.g(), affine(d.c(), -1, 1)); }, reads_c},
      {[](auto& d) { return mul(d.g(), d.c()); }, reads_c},
      {[](auto& d) { return mul(d.g(), sub(d.b(), d.a())); }, reads_a | reads_b}}}};

const PointwiseRow addcmul_row = {
    "addcmul",
    ResultType::Promoted,
    booleans,
    [](auto& p, auto x, auto&) { return p.add(x[0], p.multiply(p.multiply(x[3], x[1]), x[2])); },
    {{{[](auto& d) { return d.g(); }},
      {[](auto& d) { return mul(mul(d.g(), d.c()), d.input(3)); }, reads_c | 8},
      {[](auto& d) { return mul(mul(d.g(), d.b()), d.input(3)); }, reads_b | 8}}}};

const PointwiseRow addcdiv_row = {
    "addcdiv",
    ResultType::Promoted,
    booleans,
    [](auto& p, auto x, auto&) { return p.add(x[0], p.divide(p.multiply(x[3], x[1]), x[2])); },
    {{{[](auto& d) { return d.g(); }},
      {[](auto& d) { return div(mul(d.g(), d.input(3)), d.c()); }, reads_c | 8},
      {[](auto& d) { return neg(div(div(mul(mul(d.g(), d.input(3)), d.b()), d.c()), d.c())); },
       reads_b | reads_c | 8}}}};

}  // namespace

Tensor affine(const Tensor& input, double scale, double offset) {
  return record_pointwise(affine_row, {input}, input.dtype(), input.dtype(), {scale, offset});
}
Tensor keep_where(const Tensor& input, const Tensor& mask) {
  return record_pointwise(keep_where_row, {input, mask}, input.dtype(), input.dtype());
}
Tensor zero_where(const Tensor& input, const Tensor& mask) {
  return record_pointwise(zero_where_row, {input, mask}, input.dtype(), input.dtype());
}

}  // namespace ops

using namespace ops;

Tensor cast(const Tensor& input, DType dtype) {
  if (input.dtype() == dtype) return input;
  return graph::record(std::make_shared<Cast>(dtype), {input}, {input.shape(), dtype, is_floating_point(dtype)});
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  check(condition.dtype() == DType::Bool || condition.dtype() == DType::UInt8,
        "where: expected condition to be a boolean tensor, but got a tensor with dtype ",
        scalar_type_name(condition.dtype()));
  const DType common = result_type({a, b});
  auto operand = [&](const Tensor& x) { return is_wrapped_number(x) ? x : cast(x, common); };
  return record_pointwise(where_row, {condition, operand(a), operand(b)}, common, common);
}

Tensor masked_fill(const Tensor& input, const Tensor& mask, const Tensor& value) {
  check(mask.dtype() == DType::Bool, "masked_fill: only supports boolean masks, but got mask with dtype ",
        name_of(mask.dtype()));
  check(value.dim() == 0, "masked_fill: only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
        " dimension(s).");
  const Tensor filling = is_wrapped_number(value) ? value : cast(value, input.dtype());
  return named("masked_fill", [&] {
    return record_pointwise(where_row, {mask, filling, input}, input.dtype(), input.dtype());
  });
}

Tensor clamp(const Tensor& input, const Tensor& min, const Tensor& max) {
  check(min.defined() || max.defined(), "clamp: At least one of 'min' or 'max' must not be None");
  if (!min.defined() || !max.defined()) {
    // With one tensor as bound it is maximum or minimum, which bool has, too.
    const Tensor& bound = min.defined() ? min : max;
    if (input.dtype() == DType::Bool && bound.dtype() == DType::Bool && !is_wrapped_number(bound))
      return min.defined() ? logical_or(input, bound) : logical_and(input, bound);
  }
  if (!max.defined()) return pointwise(clamp_min_row, {input, min});
  if (!min.defined()) return pointwise(clamp_max_row, {input, max});
  return pointwise(clamp_row, {input, min, max});
}

Tensor clamp(const Tensor& input, std::optional<Scalar> min, std::optional<Scalar> max) {
  return clamp(input, min ? wrap_scalar(*min, input) : Tensor(), max ? wrap_scalar(*max, input) : Tensor());
}

Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight) {
  check_floating_point("lerp", a);
  check(a.dtype() == b.dtype(), "lerp: expected dtype ", name_of(a.dtype()), " for `end` but got dtype ",
        name_of(b.dtype()));
  check(is_wrapped_number(weight) || weight.dim() == 0 || weight.dtype() == a.dtype(), "lerp: expected dtype ",
        name_of(a.dtype()), " for `weight` but got dtype ", name_of(weight.dtype()));
  return pointwise(lerp_row, {a, b, weight});
}

Tensor addcmul(const Tensor& input, const Tensor& a, const Tensor& b, Scalar value) {
  return pointwise(addcmul_row, {input, a, b, wrap_scalar(value, input)});
}

Tensor addcdiv(const Tensor& input, const Tensor& a, const Tensor& b, Scalar value) {
  check(is_floating_point(result_type({a, b})),
        "addcdiv: integer division is not supported; use (input + value * (tensor1 / tensor2)) for a true division");
  return pointwise(addcdiv_row, {input, a, b, wrap_scalar(value, input)});
}

}  // namespace pycnn
