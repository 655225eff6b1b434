// Rows with one operand.
#include <cmath>
#include <numbers>
#include <string>

#include "ops/pointwise.h"

namespace pycnn {
namespace ops {
namespace {

using enum ResultType;
using kernels::RegisterType;
using Expressions = std::span<const Expression>;
using P = ProgramBuilder;

constexpr double sqrt_2 = std::numbers::sqrt2, pi = std::numbers::pi;
const double two_over_sqrt_pi = 2 / std::sqrt(pi), one_over_sqrt_2_pi = 1 / std::sqrt(2 * pi);
// Hendrycks & Gimpel (2016), the tanh approximation of gelu.
const double gelu_scale = std::sqrt(2 / pi);
constexpr double gelu_cubic = 0.044715;

/// A formula that is one opcode.
template <Opcode opcode>
Expression is(P& p, Expressions x, const Parameters&) {
  return p.apply(opcode, x[0]);
}
/// Likewise, and integers stay as they are.
template <Opcode opcode>
Expression rounds(P& p, Expressions x, const Parameters&) {
  return x[0].type == RegisterType::I64 ? x[0] : p.apply(opcode, x[0]);
}
Expression zero(P& p, Expression x) { return p.constant(0, x.type); }
Expression one(P& p, Expression x) { return p.constant(1, x.type); }

constexpr uint8_t only_floats = booleans | integers;

/// Names a row's constant result, whose gradient is zero.
constexpr Derivative vanishes = {[](const Derivation& d) { return zeros_like(d.g()); }};

const PointwiseRow neg_row = {"neg", Promoted, none, is<Opcode::Negate>, {{{[](auto& d) { return neg(d.g()); }}}}};
const PointwiseRow abs_row = {
    "abs", Promoted, booleans, is<Opcode::Absolute>, {{{[](auto& d) { return mul(d.g(), sign(d.a())); }, reads_a}}}};
const PointwiseRow sign_row = {"sign", Promoted, none, is<Opcode::Sign>, {{vanishes}}};
const PointwiseRow square_row = {
    "square", Promoted, none, is<Opcode::Square>, {{{[](auto& d) { return mul(d.g(), affine(d.a(), 2)); }, reads_a}}}};
const PointwiseRow sqrt_row = {
    "sqrt", Floating, none, is<Opcode::Sqrt>, {{{[](auto& d) { return div(d.g(), affine(d.y(), 2)); }, reads_y}}}};
const PointwiseRow rsqrt_row = {
    "rsqrt",
    Floating,
    none,
    [](P& p, Expressions x, auto&) { return p.divide(one(p, x[0]), p.apply(Opcode::Sqrt, x[0])); },
    {{{[](auto& d) { return mul(affine(d.g(), -0.5), mul(square(d.y()), d.y())); }, reads_y}}}};
const PointwiseRow reciprocal_row = {"reciprocal",
                                     Floating,
                                     none,
                                     is<Opcode::Reciprocal>,
                                     {{{[](auto& d) { return mul(neg(d.g()), square(d.y())); }, reads_y}}}};
const PointwiseRow exp_row = {
    "exp", Floating, none, is<Opcode::Exp>, {{{[](auto& d) { return mul(d.g(), d.y()); }, reads_y}}}};
const PointwiseRow expm1_row = {
    "expm1", Floating, none, is<Opcode::Expm1>, {{{[](auto& d) { return mul(d.g(), affine(d.y(), 1, 1)); }, reads_y}}}};
const PointwiseRow log_row = {
    "log", Floating, none, is<Opcode::Log>, {{{[](auto& d) { return div(d.g(), d.a()); }, reads_a}}}};
const PointwiseRow log1p_row = {
    "log1p", Floating, none, is<Opcode::Log1p>, {{{[](auto& d) { return div(d.g(), affine(d.a(), 1, 1)); }, reads_a}}}};
const PointwiseRow log2_row = {"log2",
                               Floating,
                               none,
                               is<Opcode::Log2>,
                               {{{[](auto& d) { return div(d.g(), affine(d.a(), std::numbers::ln2)); }, reads_a}}}};
const PointwiseRow log10_row = {"log10",
                                Floating,
                                none,
                                is<Opcode::Log10>,
                                {{{[](auto& d) { return div(d.g(), affine(d.a(), std::numbers::ln10)); }, reads_a}}}};

const PointwiseRow sin_row = {
    "sin", Floating, none, is<Opcode::Sin>, {{{[](auto& d) { return mul(d.g(), cos(d.a())); }, reads_a}}}};
const PointwiseRow cos_row = {
    "cos", Floating, none, is<Opcode::Cos>, {{{[](auto& d) { return mul(neg(d.g()), sin(d.a())); }, reads_a}}}};
const PointwiseRow tan_row = {"tan",
                              Floating,
                              none,
                              is<Opcode::Tan>,
                              {{{[](auto& d) { return mul(d.g(), affine(square(d.y()), 1, 1)); }, reads_y}}}};
const PointwiseRow asin_row = {"asin",
                               Floating,
                               none,
                               is<Opcode::Asin>,
                               {{{[](auto& d) { return mul(d.g(), rsqrt(affine(square(d.a()), -1, 1))); }, reads_a}}}};
const PointwiseRow acos_row = {
    "acos",
    Floating,
    none,
    is<Opcode::Acos>,
    {{{[](auto& d) { return mul(neg(d.g()), rsqrt(affine(square(d.a()), -1, 1))); }, reads_a}}}};
const PointwiseRow atan_row = {"atan",
                               Floating,
                               none,
                               is<Opcode::Atan>,
                               {{{[](auto& d) { return div(d.g(), affine(square(d.a()), 1, 1)); }, reads_a}}}};
const PointwiseRow sinh_row = {
    "sinh", Floating, none, is<Opcode::Sinh>, {{{[](auto& d) { return mul(d.g(), cosh(d.a())); }, reads_a}}}};
const PointwiseRow cosh_row = {
    "cosh", Floating, none, is<Opcode::Cosh>, {{{[](auto& d) { return mul(d.g(), sinh(d.a())); }, reads_a}}}};
const PointwiseRow tanh_row = {"tanh",
                               Floating,
                               none,
                               is<Opcode::Tanh>,
                               {{{[](auto& d) { return mul(d.g(), affine(square(d.y()), -1, 1)); }, reads_y}}}};
const PointwiseRow erf_row = {
    "erf",
    Floating,
    none,
    is<Opcode::Erf>,
    {{{[](auto& d) { return mul(d.g(), affine(exp(neg(square(d.a()))), two_over_sqrt_pi)); }, reads_a}}}};
const PointwiseRow sigmoid_row = {"sigmoid",
                                  Floating,
                                  none,
                                  is<Opcode::Sigmoid>,
                                  {{{[](auto& d) { return mul(d.g(), mul(affine(d.y(), -1, 1), d.y())); }, reads_y}}}};

const PointwiseRow floor_row = {"floor", Promoted, booleans, rounds<Opcode::Floor>, {{vanishes}}};
const PointwiseRow ceil_row = {"ceil", Promoted, booleans, rounds<Opcode::Ceil>, {{vanishes}}};
const PointwiseRow round_row = {"round", Promoted, booleans, rounds<Opcode::Round>, {{vanishes}}};
const PointwiseRow trunc_row = {"trunc", Promoted, booleans, rounds<Opcode::Truncate>, {{vanishes}}};

const PointwiseRow isnan_row = {"isnan", Boolean, none,
                                [](P& p, Expressions x, auto&) { return p.apply(Opcode::NotEqual, x[0], x[0]); }};
const PointwiseRow isinf_row = {"isinf", Boolean, none, [](P& p, Expressions x, auto&) {
                                  return x[0].type == RegisterType::I64 ? zero(p, x[0]) : p.apply(Opcode::IsInf, x[0]);
                                }};
// Only what is neither infinite nor NaN differs from itself by zero.
const PointwiseRow isfinite_row = {"isfinite", Boolean, none, [](P& p, Expressions x, auto&) {
                                     return p.apply(Opcode::Equal, p.subtract(x[0], x[0]), zero(p, x[0]));
                                   }};

const PointwiseRow logical_not_row = {"logical_not", Boolean, none, is<Opcode::LogicalNot>};
const PointwiseRow bitwise_not_row = {"bitwise_not", Promoted, floats,
                                      [](P& p, Expressions x, auto&) { return p.apply(Opcode::BitNot, x[0]); }};

// -- activations -----------------------------------------------------------------------------------------------------

/// gradient · (x > 0 ? 1 : slope). For slope 0 (relu) what is not ≤ 0 passes, NaN as well.
Tensor leaky_relu_backward(const Tensor& gradient, const Tensor& input, double slope);
const PointwiseRow leaky_relu_backward_row = {
    "leaky_relu_backward",
    Promoted,
    none,
    [](P& p, Expressions x, const Parameters& slope) {
      if (slope[0] == 0) return p.select(p.apply(Opcode::LessEqual, x[1], zero(p, x[1])), zero(p, x[0]), x[0]);
      return p.select(p.greater(x[1], zero(p, x[1])), x[0], p.multiply(x[0], slope[0]));
    },
    {{{[](auto& d) { return leaky_relu_backward(d.g(), d.b(), d.parameter(0)); }, reads_b}, vanishes}}};
Tensor leaky_relu_backward(const Tensor& gradient, const Tensor& input, double slope) {
  return record_pointwise(leaky_relu_backward_row, {gradient, input}, gradient.dtype(), gradient.dtype(), {slope});
}
const PointwiseRow relu_row = {"relu",
                               Promoted,
                               booleans,
                               [](P& p, Expressions x, auto&) { return p.maximum(x[0], zero(p, x[0])); },
                               {{{[](auto& d) { return leaky_relu_backward(d.g(), d.y(), 0); }, reads_y}}}};
const PointwiseRow leaky_relu_row = {
    "leaky_relu",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& slope) {
      return p.select(p.greater(x[0], zero(p, x[0])), x[0], p.multiply(x[0], slope[0]));
    },
    {{{[](auto& d) { return leaky_relu_backward(d.g(), d.a(), d.parameter(0)); }, reads_a}}}};

/// elu' = x > 0 ? 1 : α eˣ, which left of 0 is its own derivative.
const PointwiseRow elu_slope_row = {
    "elu_slope",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& alpha) {
      return p.select(p.greater(x[0], zero(p, x[0])), one(p, x[0]), p.multiply(p.apply(Opcode::Exp, x[0]), alpha[0]));
    },
    {{{[](auto& d) { return zero_where(mul(d.g(), d.y()), ge(d.a(), wrap_scalar(0, d.a()))); }, reads_a | reads_y}}}};
const PointwiseRow elu_row = {
    "elu",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& alpha) {
      Expression below = p.multiply(p.apply(Opcode::Expm1, x[0]), alpha[0]);
      return p.select(p.greater(x[0], zero(p, x[0])), x[0], below);
    },
    {{{[](auto& d) { return mul(d.g(), pointwise(elu_slope_row, {d.a()}, {d.parameter(0)})); }, reads_a}}}};

/// softplus' = βx > threshold ? 1 : σ(βx)
const PointwiseRow softplus_slope_row = {
    "softplus_slope",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& parameters) {
      const auto [beta, threshold] = parameters;
      Expression scaled = p.multiply(x[0], beta);
      return p.select(p.greater(scaled, p.constant(threshold, x[0].type)), one(p, x[0]),
                      p.apply(Opcode::Sigmoid, scaled));
    },
    {{{[](auto& d) { return mul(d.g(), affine(mul(d.y(), affine(d.y(), -1, 1)), d.parameter(0))); }, reads_y}}}};
const PointwiseRow softplus_row = {
    "softplus",
    Promoted,
    only_floats,
    [](P& p, Expressions x, const Parameters& parameters) {
      const auto [beta, threshold] = parameters;
      Expression scaled = p.multiply(x[0], beta);
      Expression curved = p.apply(Opcode::Log1p, p.apply(Opcode::Exp, scaled));
      return p.select(p.greater(scaled, p.constant(threshold, x[0].type)), x[0],
                      p.divide(curved, p.constant(beta, x[0].type)));
    },
    {{{[](auto& d) {
         return mul(d.g(), pointwise(softplus_slope_row, {d.a()}, {d.parameter(0), d.parameter(1)}));
       },
       reads_a}}}};

const PointwiseRow silu_row = {
    "silu",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) { return p.multiply(x[0], p.apply(Opcode::Sigmoid, x[0])); },
    {{{[](auto& d) {
         const Tensor x = d.a(), s = sigmoid(x);
         return mul(d.g(), mul(s, affine(mul(x, affine(s, -1, 1)), 1, 1)));
       },
       reads_a}}}};
// min(x, 0) - log(1 + e^-|x|) never overflows.
const PointwiseRow log_sigmoid_row = {
    "log_sigmoid",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) {
      Expression decay = p.apply(Opcode::Exp, p.apply(Opcode::Negate, p.apply(Opcode::Absolute, x[0])));
      return p.subtract(p.minimum(x[0], zero(p, x[0])), p.apply(Opcode::Log1p, decay));
    },
    {{{[](auto& d) { return mul(d.g(), sigmoid(neg(d.a()))); }, reads_a}}}};

/// gelu = x Φ(x), gelu' = Φ(x) + x φ(x)
const PointwiseRow gelu_row = {"gelu",
                               Promoted,
                               only_floats,
                               [](P& p, Expressions x, auto&) {
                                 Expression distribution = p.add(p.apply(Opcode::Erf, p.multiply(x[0], 1 / sqrt_2)), 1);
                                 return p.multiply(p.multiply(x[0], 0.5), distribution);
                               },
                               {{{[](auto& d) {
                                    const Tensor x = d.a();
                                    const Tensor distribution = affine(erf(affine(x, 1 / sqrt_2)), 0.5, 0.5);
                                    const Tensor density = affine(exp(affine(square(x), -0.5)), one_over_sqrt_2_pi);
                                    return mul(d.g(), add(distribution, mul(x, density)));
                                  },
                                  reads_a}}}};
/// x/2 (1 + tanh u), u = √(2/π) (x + 0.044715 x³)
const PointwiseRow gelu_tanh_row = {
    "gelu_tanh",
    Promoted,
    only_floats,
    [](P& p, Expressions x, auto&) {
      Expression cube = p.multiply(p.multiply(x[0], x[0]), x[0]);
      Expression inner = p.multiply(p.add(x[0], p.multiply(cube, gelu_cubic)), gelu_scale);
      return p.multiply(p.multiply(x[0], 0.5), p.add(p.apply(Opcode::Tanh, inner), 1));
    },
    {{{[](auto& d) {
         const Tensor x = d.a(), squared = square(x);
         const Tensor t = tanh(affine(mul(x, affine(squared, gelu_cubic, 1)), gelu_scale));
         const Tensor slope = affine(affine(squared, 3 * gelu_cubic, 1), gelu_scale);
         const Tensor right = mul(affine(x, 0.5), mul(affine(square(t), -1, 1), slope));
         return mul(d.g(), add(affine(t, 0.5, 0.5), right));
       },
       reads_a}}}};

}  // namespace
}  // namespace ops

using namespace ops;

// clang-format off
#define PYCNN_DEFINE_UNARY(name) \
  Tensor name(const Tensor& input) { return pointwise(name##_row, {input}); }
PYCNN_DEFINE_UNARY(abs) PYCNN_DEFINE_UNARY(sign) PYCNN_DEFINE_UNARY(sqrt) PYCNN_DEFINE_UNARY(rsqrt)
PYCNN_DEFINE_UNARY(reciprocal) PYCNN_DEFINE_UNARY(exp) PYCNN_DEFINE_UNARY(expm1) PYCNN_DEFINE_UNARY(log)
PYCNN_DEFINE_UNARY(log1p) PYCNN_DEFINE_UNARY(log2) PYCNN_DEFINE_UNARY(log10) PYCNN_DEFINE_UNARY(sin)
PYCNN_DEFINE_UNARY(cos) PYCNN_DEFINE_UNARY(tan) PYCNN_DEFINE_UNARY(asin) PYCNN_DEFINE_UNARY(acos)
PYCNN_DEFINE_UNARY(atan) PYCNN_DEFINE_UNARY(sinh) PYCNN_DEFINE_UNARY(cosh) PYCNN_DEFINE_UNARY(tanh)
PYCNN_DEFINE_UNARY(erf) PYCNN_DEFINE_UNARY(sigmoid) PYCNN_DEFINE_UNARY(floor) PYCNN_DEFINE_UNARY(ceil)
PYCNN_DEFINE_UNARY(round) PYCNN_DEFINE_UNARY(trunc) PYCNN_DEFINE_UNARY(isnan) PYCNN_DEFINE_UNARY(isinf)
PYCNN_DEFINE_UNARY(isfinite) PYCNN_DEFINE_UNARY(relu) PYCNN_DEFINE_UNARY(silu) PYCNN_DEFINE_UNARY(log_sigmoid)
PYCNN_DEFINE_UNARY(logical_not)
#undef PYCNN_DEFINE_UNARY
    // clang-format on

    Tensor neg(const Tensor& input) {
  check(input.dtype() != DType::Bool,
        "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the "
        "`~` or `logical_not()` operator instead.");
  return pointwise(neg_row, {input});
}

Tensor square(const Tensor& input) {
  return pointwise(square_row, {input.dtype() == DType::Bool ? cast(input, DType::Int64) : input});
}

Tensor bitwise_not(const Tensor& input) {
  if (input.dtype() == DType::Bool) return logical_not(input);
  return pointwise(bitwise_not_row, {input});
}

Tensor leaky_relu(const Tensor& input, double negative_slope) {
  return pointwise(leaky_relu_row, {input}, {negative_slope});
}

Tensor elu(const Tensor& input, double alpha) { return pointwise(elu_row, {input}, {alpha}); }

Tensor softplus(const Tensor& input, double beta, double threshold) {
  return pointwise(softplus_row, {input}, {beta, threshold});
}

Tensor gelu(const Tensor& input, std::string_view approximate) {
  check(approximate == "none" || approximate == "tanh", "gelu: approximate argument must be either none or tanh.");
  return pointwise(approximate == "tanh" ? gelu_tanh_row : gelu_row, {input});
}

Tensor maxout(const Tensor& input, int64_t pieces) {
  check<ValueError>(pieces > 0, "maxout: pieces must be positive, got ", pieces);
  check(input.dim() >= 2, "maxout: expected an input of shape (N, C, …), got ", input.shape());
  const int64_t channels = input.size(1);
  check<ValueError>(channels % pieces == 0, "maxout: the ", channels, " channels of input ", input.shape(),
                    " are not divisible by pieces ", pieces);
  return max(unflatten(input, 1, {channels / pieces, pieces}), 2).first;
}

}  // namespace pycnn
