// Activations that came after those of unary.cpp: piecewise linear ones, the relatives of elu, and what is composed.
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "ops/pointwise.h"

namespace pycnn {
namespace ops {
namespace {

using enum ResultType;
using Expressions = std::span<const Expression>;
using P = ProgramBuilder;

Expression zero(P& p, Expression x) { return p.constant(0, x.type); }
Expression one(P& p, Expression x) { return p.constant(1, x.type); }
Expression number(P& p, double value, Expression like) { return p.constant(value, like.type); }

constexpr uint8_t only_floats = booleans | integers;
constexpr Derivative vanishes = {[](const Derivation& d) { return zeros_like(d.g()); }};

// Klambauer et al. (2017)
constexpr double selu_alpha = 1.6732632423543772848170429916717, selu_scale = 1.0507009873554804934193349852946;

// -- piecewise linear ------------------------------------------------------------------------------------------------

/// low < x < high
const PointwiseRow inside_row = {"inside", Boolean, none, [](P& p, Expressions x, const Parameters& bounds) {
                                   return p.apply(Opcode::LogicalAnd, p.less(number(p, bounds[0], x[0]), x[0]),
                                                  p.less(x[0], number(p, bounds[1], x[0])));
                                 }};
/// x < low or x > high
const PointwiseRow outside_row = {"outside", Boolean, none, [](P& p, Expressions x, const Parameters& bounds) {
                                    return p.apply(Opcode::LogicalOr, p.less(x[0], number(p, bounds[0], x[0])),
                                                   p.less(number(p, bounds[1], x[0]), x[0]));
                                  }};
Tensor inside(const Tensor& input, double low, double high) { return pointwise(inside_row, {input}, {low, high}); }
Tensor outside(const Tensor& input, double low, double high) { return pointwise(outside_row, {input}, {low, high}); }

Expression between(P& p, Expression x, double low, double high) {
  return p.minimum(p.maximum(x, number(p, low, x)), number(p, high, x));
}

const PointwiseRow hardtanh_row = {
    "hardtanh",
    Promoted,
    none,
    [](P& p, Expressions x, const Parameters& bounds) { return between(p, x[0], bounds[0], bounds[1]); },
    {{{[](auto& d) { return keep_where(d.g(), inside(d.a(), d.parameter(0), d.parameter(1))); }, reads_a}}}};

const PointwiseRow hardsigmoid_row = {
    "hardsigmoid",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) { return p.divide(between(p, p.add(x[0], 3), 0, 6), number(p, 6, x[0])); },
    {{{[](auto& d) { return keep_where(affine(d.g(), 1.0 / 6), inside(d.a(), -3, 3)); }, reads_a}}}};

/// hardswish' = 0 up to -3, 1 from 3 on, x/3 + 1/2 between.
const PointwiseRow hardswish_slope_row = {
    "hardswish_slope",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) {
      const Expression line = p.add(p.divide(x[0], number(p, 3, x[0])), 0.5);
      const Expression right = p.select(p.less(x[0], number(p, 3, x[0])), line, one(p, x[0]));
      return p.select(p.apply(Opcode::LessEqual, x[0], number(p, -3, x[0])), zero(p, x[0]), right);
    },
    {{{[](auto& d) { return keep_where(affine(d.g(), 1.0 / 3), inside(d.a(), -3, 3)); }, reads_a}}}};
const PointwiseRow hardswish_row = {
    "hardswish",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) {
      return p.divide(p.multiply(x[0], between(p, p.add(x[0], 3), 0, 6)), number(p, 6, x[0]));
    },
    {{{[](auto& d) { return mul(d.g(), pointwise(hardswish_slope_row, {d.a()})); }, reads_a}}}};

/// NaN is neither above nor below: it stays, with slope 0.
const PointwiseRow hardshrink_row = {
    "hardshrink",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& lambda) {
      const Expression near = p.apply(Opcode::LessEqual, p.apply(Opcode::Absolute, x[0]), number(p, lambda[0], x[0]));
      return p.select(near, zero(p, x[0]), x[0]);
    },
    {{{[](auto& d) { return keep_where(d.g(), outside(d.a(), -d.parameter(0), d.parameter(0))); }, reads_a}}}};

const PointwiseRow softshrink_row = {
    "softshrink",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& lambda) {
      const Expression bound = number(p, lambda[0], x[0]);
      const Expression above = p.subtract(x[0], bound), below = p.add(x[0], bound);
      const Expression near = p.apply(Opcode::LessEqual, p.apply(Opcode::Absolute, x[0]), bound);
      return p.select(near, zero(p, x[0]), p.select(p.less(x[0], zero(p, x[0])), below, above));
    },
    {{{[](auto& d) { return keep_where(d.g(), outside(d.a(), -d.parameter(0), d.parameter(0))); }, reads_a}}}};

/// x ≤ threshold ? value : x
const PointwiseRow threshold_row = {
    "threshold",
    Promoted,
    booleans,
    [](P& p, Expressions x, const Parameters& parameters) {
      const auto [threshold, value] = parameters;
      return p.select(p.apply(Opcode::LessEqual, x[0], number(p, threshold, x[0])), number(p, value, x[0]), x[0]);
    },
    {{{[](auto& d) { return zero_where(d.g(), le(d.a(), wrap_scalar(d.parameter(0), d.a()))); }, reads_a}}}};

/// gradient · (x > 0 ? 1 : weight)
Tensor prelu_backward(const Tensor& gradient, const Tensor& input, const Tensor& weight);
const PointwiseRow prelu_backward_row = {
    "prelu_backward",
    Promoted,
    none,
    [](P& p, Expressions x, auto&) { return p.select(p.greater(x[1], zero(p, x[1])), x[0], p.multiply(x[0], x[2])); },
    {{{[](auto& d) { return prelu_backward(d.g(), d.b(), d.c()); }, reads_b | reads_c},
      vanishes,
      {[](auto& d) { return zero_where(mul(d.g(), d.a()), gt(d.b(), wrap_scalar(0, d.b()))); }, reads_a | reads_b}}}};
Tensor prelu_backward(const Tensor& gradient, const Tensor& input, const Tensor& weight) {
  return record_pointwise(prelu_backward_row, {gradient, input, weight}, gradient.dtype(), gradient.dtype());
}
const PointwiseRow prelu_row = {
    "prelu",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) { return p.select(p.greater(x[0], zero(p, x[0])), x[0], p.multiply(x[1], x[0])); },
    {{{[](auto& d) { return prelu_backward(d.g(), d.a(), d.b()); }, reads_a | reads_b},
      {[](auto& d) { return zero_where(mul(d.g(), d.a()), gt(d.a(), wrap_scalar(0, d.a()))); }, reads_a}}}};

// -- exponential -----------------------------------------------------------------------------------------------------

/// x > 0 ? s x : s α (e^x - 1) with selu's constants; its slope left of 0 is its own derivative.
const PointwiseRow selu_slope_row = {
    "selu_slope",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) {
      return p.select(p.apply(Opcode::LessEqual, x[0], zero(p, x[0])),
                      p.multiply(p.apply(Opcode::Exp, x[0]), selu_alpha * selu_scale), number(p, selu_scale, x[0]));
    },
    {{{[](auto& d) { return zero_where(mul(d.g(), d.y()), gt(d.a(), wrap_scalar(0, d.a()))); }, reads_a | reads_y}}}};
const PointwiseRow selu_row = {"selu",
                               Promoted,
                               only_floats,
                               [](P& p, Expressions x, auto&) {
                                 return p.select(p.greater(x[0], zero(p, x[0])), p.multiply(x[0], selu_scale),
                                                 p.multiply(p.apply(Opcode::Expm1, x[0]), selu_alpha * selu_scale));
                               },
                               {{{[](auto& d) { return mul(d.g(), pointwise(selu_slope_row, {d.a()})); }, reads_a}}}};

/// x > 0 ? x : α (e^(x/α) - 1) (Barron 2017)
const PointwiseRow celu_slope_row = {
    "celu_slope",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& alpha) {
      return p.select(p.apply(Opcode::LessEqual, x[0], zero(p, x[0])),
                      p.apply(Opcode::Exp, p.multiply(x[0], 1 / alpha[0])), one(p, x[0]));
    },
    {{{[](auto& d) {
         return zero_where(mul(d.g(), affine(d.y(), 1 / d.parameter(0))), gt(d.a(), wrap_scalar(0, d.a())));
       },
       reads_a | reads_y}}}};
const PointwiseRow celu_row = {
    "celu",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& alpha) {
      return p.select(p.greater(x[0], zero(p, x[0])), x[0],
                      p.multiply(p.apply(Opcode::Expm1, p.multiply(x[0], 1 / alpha[0])), alpha[0]));
    },
    {{{[](auto& d) { return mul(d.g(), pointwise(celu_slope_row, {d.a()}, {d.parameter(0)})); }, reads_a}}}};

/// x tanh(log(1 + e^x)) (Misra 2019)
const PointwiseRow mish_row = {"mish",
                               Promoted,
                               only_floats,
                               [](P& p, Expressions x, auto&) {
                                 const Expression softplus = p.apply(Opcode::Log1p, p.apply(Opcode::Exp, x[0]));
                                 return p.multiply(x[0], p.apply(Opcode::Tanh, softplus));
                               },
                               {{{[](auto& d) {
                                    const Tensor x = d.a(), t = tanh(softplus(x));
                                    return mul(d.g(), add(t, mul(mul(x, sigmoid(x)), affine(square(t), -1, 1))));
                                  },
                                  reads_a}}}};

const PointwiseRow softsign_row = {
    "softsign",
    Floating,
    booleans,
    [](P& p, Expressions x, auto&) { return p.divide(x[0], p.add(p.apply(Opcode::Absolute, x[0]), 1)); },
    {{{[](auto& d) { return div(d.g(), square(affine(abs(d.a()), 1, 1))); }, reads_a}}}};

}  // namespace
}  // namespace ops

using namespace ops;

Tensor hardtanh(const Tensor& input, double min_val, double max_val) {
  check(input.dtype() != DType::Bool, "hardtanh: Bool inputs not supported for hardtanh");
  check<ValueError>(min_val <= max_val, "hardtanh: min_val cannot be greater than max_val, got ", min_val, " and ",
                    max_val);
  check(input.dtype() != DType::UInt8 || (min_val >= 0 && max_val >= 0),
        "hardtanh: cannot do hardtanh on an unsigned type with negative limits");
  return pointwise(hardtanh_row, {input}, {min_val, max_val});
}

Tensor relu6(const Tensor& input) { return hardtanh(input, 0, 6); }
Tensor hardsigmoid(const Tensor& input) { return pointwise(hardsigmoid_row, {input}); }
Tensor hardswish(const Tensor& input) { return pointwise(hardswish_row, {input}); }
Tensor hardshrink(const Tensor& input, double lambda) { return pointwise(hardshrink_row, {input}, {lambda}); }

Tensor softshrink(const Tensor& input, double lambda) {
  check<NotImplementedError>(is_floating_point(input.dtype()), "softshrink: not implemented for '",
                             scalar_type_name(input.dtype()), "'");
  check(lambda >= 0, "softshrink: lambda must be greater or equal to 0, but found ", lambda);
  return pointwise(softshrink_row, {input}, {lambda});
}

Tensor tanhshrink(const Tensor& input) {
  check(input.dtype() != DType::Bool, "tanhshrink: Subtraction, the `-` operator, with a bool tensor is not supported");
  return named("tanhshrink", [&] { return input - tanh(input); });
}

Tensor threshold(const Tensor& input, double threshold, double value) {
  return pointwise(threshold_row, {input}, {threshold, value});
}

Tensor selu(const Tensor& input) { return pointwise(selu_row, {input}); }

Tensor celu(const Tensor& input, double alpha) {
  check(alpha != 0, "celu: ZeroDivisionError: alpha cannot be 0 for CELU");
  return pointwise(celu_row, {input}, {alpha});
}

Tensor mish(const Tensor& input) { return pointwise(mish_row, {input}); }
Tensor softsign(const Tensor& input) { return pointwise(softsign_row, {input}); }

Tensor softmin(const Tensor& input, int64_t dimension, std::optional<DType> dtype) {
  return named("softmin", [&] { return softmax(neg(input), dimension, dtype); });
}

Tensor rrelu(const Tensor& input, double lower, double upper, bool training) {
  check(lower <= upper, "rrelu: Lower bound should be less than or equal to the upper bound, got ", lower, " and ",
        upper);
  check<NotImplementedError>(is_floating_point(input.dtype()), "rrelu: not implemented for '",
                             scalar_type_name(input.dtype()), "'");
  if (!training) return named("rrelu", [&] { return leaky_relu(input, (lower + upper) / 2); });
  const DType dtype = input.dtype();
  // Drawn in one dtype, so that every dtype has the same slopes.
  const DeviceScope scope(input.device());
  const Tensor slopes = cast(uniform(input.shape(), lower, upper, DType::Float32), dtype);
  const Tensor positive = gt(input, wrap_scalar(0, input)).detach();
  return named("rrelu", [&] { return input * where(positive, ones_like(input), slopes).detach(); });
}

Tensor prelu(const Tensor& input, const Tensor& weight) {
  if (const auto operands = autocast("prelu", input, weight)) return prelu((*operands)[0], (*operands)[1]);
  check(input.dtype() == weight.dtype(), "prelu: Type promoting not supported. Got ", scalar_type_name(input.dtype()),
        " and ", scalar_type_name(weight.dtype()));
  check(weight.dim() <= 1, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = ", weight.dim());
  Tensor slopes = weight;
  if (weight.numel() != 1) {
    check(input.dim() > 0, "prelu: Not allow zero-dim input tensor.");
    const int64_t channels = input.dim() > 1 ? input.size(1) : 1;
    check(channels == weight.numel(), "prelu: Mismatch of parameter numbers and input channel size. Found parameter ",
          "numbers = ", weight.numel(), " and channel size = ", channels, ".");
    Shape shape = Dimensions::filled(input.dim(), 1);
    shape[1] = channels;
    slopes = reshape(weight, shape);
  } else if (weight.dim() == 1) {
    slopes = reshape(weight, {});
  }
  return pointwise(prelu_row, {input, slopes});
}

Tensor glu(const Tensor& input, int64_t dimension) {
  check(input.dim() > 0, "glu: does not support scalars because halving size must be even");
  const int d = normalize_dimension(dimension, input.dim(), "glu");
  const int64_t size = input.shape()[d];
  check(size % 2 == 0, "glu: Halving dimension must be even, but dimension ", d, " is size ", size);
  check<NotImplementedError>(is_floating_point(input.dtype()), "glu: not implemented for '",
                             scalar_type_name(input.dtype()), "'");
  return named("glu", [&] { return narrow(input, d, 0, size / 2) * sigmoid(narrow(input, d, size / 2, size / 2)); });
}

}  // namespace pycnn
