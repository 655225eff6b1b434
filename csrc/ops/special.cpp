// Rows that are rarer than those of unary.cpp and binary.cpp.
#include <cmath>
#include <numbers>

#include "ops/pointwise.h"

namespace pycnn {
namespace ops {
namespace {

using enum ResultType;
using kernels::RegisterType;
using Expressions = std::span<const Expression>;
using P = ProgramBuilder;

constexpr double pi = std::numbers::pi, ln2 = std::numbers::ln2;

template <Opcode opcode>
Expression is(P& p, Expressions x, const Parameters&) {
  return p.apply(opcode, x[0]);
}
template <Opcode opcode>
Expression are(P& p, Expressions x, const Parameters&) {
  return p.apply(opcode, x[0], x[1]);
}
Expression number(P& p, Expression like, double value) { return p.constant(value, like.type); }
Expression is_nan(P& p, Expression x) { return p.apply(Opcode::NotEqual, x, x); }
constexpr Derivative vanishes = {[](const Derivation& d) { return zeros_like(d.g()); }};
Tensor zero_like_number(const Tensor& x) { return wrap_scalar(0, x); }

const PointwiseRow asinh_row = {"asinh",
                                Floating,
                                none,
                                is<Opcode::Asinh>,
                                {{{[](auto& d) { return mul(d.g(), rsqrt(affine(square(d.a()), 1, 1))); }, reads_a}}}};
const PointwiseRow acosh_row = {"acosh",
                                Floating,
                                none,
                                is<Opcode::Acosh>,
                                {{{[](auto& d) { return mul(d.g(), rsqrt(affine(square(d.a()), 1, -1))); }, reads_a}}}};
const PointwiseRow atanh_row = {"atanh",
                                Floating,
                                none,
                                is<Opcode::Atanh>,
                                {{{[](auto& d) { return div(d.g(), affine(square(d.a()), -1, 1)); }, reads_a}}}};
const PointwiseRow exp2_row = {
    "exp2",
    Floating,
    none,
    [](P& p, Expressions x, auto&) { return p.apply(Opcode::Power, number(p, x[0], 2), x[0]); },
    {{{[](auto& d) { return mul(d.g(), affine(d.y(), ln2)); }, reads_y}}}};
const PointwiseRow erfc_row = {
    "erfc",
    Floating,
    none,
    is<Opcode::Erfc>,
    {{{[](auto& d) { return mul(d.g(), affine(exp(neg(square(d.a()))), -2 / std::sqrt(pi))); }, reads_a}}}};
const PointwiseRow erfinv_row = {
    "erfinv",
    Floating,
    none,
    is<Opcode::ErfInverse>,
    {{{[](auto& d) { return mul(d.g(), affine(exp(square(d.y())), std::sqrt(pi) / 2)); }, reads_y}}}};
const PointwiseRow lgamma_row = {
    "lgamma", Floating, none, is<Opcode::LogGamma>, {{{[](auto& d) { return mul(d.g(), digamma(d.a())); }, reads_a}}}};
const PointwiseRow digamma_row = {"digamma",
                                  Floating,
                                  none,
                                  is<Opcode::Digamma>,
                                  {{{[](auto& d) { return mul(d.g(), polygamma(1, d.a())); }, reads_a}}}};
/// (-1)^(n+1) n! ζ(n+1, x)
const PointwiseRow polygamma_row = {
    "polygamma",
    Floating,
    none,
    [](P& p, Expressions x, const Parameters& order) {
      const double n = order[0];
      const double scale = std::tgamma(n + 1) * (std::fmod(n, 2) == 0 ? -1 : 1);
      return p.multiply(p.apply(Opcode::Zeta, number(p, x[0], n + 1), x[0]), scale);
    },
    {{{[](auto& d) { return mul(d.g(), polygamma(static_cast<int64_t>(d.parameter(0)) + 1, d.a())); }, reads_a}}}};
/// Hurwitz' ζ(x, q); PyTorch has no derivative with respect to x either.
const PointwiseRow zeta_row = {
    "zeta",
    Floating,
    none,
    are<Opcode::Zeta>,
    {{{[](const Derivation&) -> Tensor { fail<NotImplementedError>("the derivative for 'self' is not implemented"); }},
      {[](auto& d) { return mul(d.g(), mul(neg(d.a()), zeta(affine(d.a(), 1, 1), d.b()))); }, reads_a | reads_b}}}};
/// sin πx / πx, 1 at 0
const PointwiseRow sinc_row = {
    "sinc",
    Floating,
    none,
    [](P& p, Expressions x, auto&) {
      Expression scaled = p.multiply(x[0], pi);
      return p.select(x[0], p.divide(p.apply(Opcode::Sin, scaled), scaled), number(p, x[0], 1));
    },
    {{{[](auto& d) {
         const Tensor x = d.a(), scaled = affine(x, pi);
         const Tensor slope = div(sub(mul(cos(scaled), scaled), sin(scaled)), affine(square(x), pi));
         return zero_where(mul(d.g(), slope), eq(x, zero_like_number(x)));
       },
       reads_a}}}};
const PointwiseRow deg2rad_row = {"deg2rad",
                                  Floating,
                                  none,
                                  [](P& p, Expressions x, auto&) { return p.multiply(x[0], pi / 180); },
                                  {{{[](auto& d) { return affine(d.g(), pi / 180); }}}}};
const PointwiseRow rad2deg_row = {"rad2deg",
                                  Floating,
                                  none,
                                  [](P& p, Expressions x, auto&) { return p.multiply(x[0], 180 / pi); },
                                  {{{[](auto& d) { return affine(d.g(), 180 / pi); }}}}};
const PointwiseRow frac_row = {
    "frac",
    Promoted,
    booleans | integers,
    [](P& p, Expressions x, auto&) { return p.subtract(x[0], p.apply(Opcode::Truncate, x[0])); },
    {{{[](auto& d) { return d.g(); }}}}};
const PointwiseRow isposinf_row = {"isposinf", Boolean, none, [](P& p, Expressions x, auto&) {
                                     if (x[0].type == RegisterType::I64) return number(p, x[0], 0);
                                     return p.apply(Opcode::Equal, x[0], number(p, x[0], INFINITY));
                                   }};
const PointwiseRow isneginf_row = {"isneginf", Boolean, none, [](P& p, Expressions x, auto&) {
                                     if (x[0].type == RegisterType::I64) return number(p, x[0], 0);
                                     return p.apply(Opcode::Equal, x[0], number(p, x[0], -INFINITY));
                                   }};
const PointwiseRow signbit_row = {"signbit", Boolean, none, [](P& p, Expressions x, auto&) {
                                    const Expression zero = number(p, x[0], 0);
                                    if (x[0].type == RegisterType::I64) return p.less(x[0], zero);
                                    return p.less(p.apply(Opcode::CopySign, number(p, x[0], 1), x[0]), zero);
                                  }};

// -- two operands ----------------------------------------------------------------------------------------------------

/// NaN loses; equal operands count as the first.
template <Opcode opcode>
Expression extreme(P& p, Expressions x, const Parameters&) {
  Expression chosen = p.apply(opcode, x[0], x[1]);
  if (x[0].type == RegisterType::I64) return chosen;
  return p.select(is_nan(p, x[0]), x[1], p.select(is_nan(p, x[1]), x[0], chosen));
}
const PointwiseRow fmax_row = {
    "fmax",
    Promoted,
    none,
    extreme<Opcode::Maximum>,
    {{{[](auto& d) { return keep_where(d.g(), logical_or(ge(d.a(), d.b()), isnan(d.b()))); }, reads_a | reads_b},
      {[](auto& d) { return zero_where(d.g(), logical_or(ge(d.a(), d.b()), isnan(d.b()))); }, reads_a | reads_b}}}};
const PointwiseRow fmin_row = {
    "fmin",
    Promoted,
    none,
    extreme<Opcode::Minimum>,
    {{{[](auto& d) { return keep_where(d.g(), logical_or(le(d.a(), d.b()), isnan(d.b()))); }, reads_a | reads_b},
      {[](auto& d) { return zero_where(d.g(), logical_or(le(d.a(), d.b()), isnan(d.b()))); }, reads_a | reads_b}}}};
const PointwiseRow copysign_row = {"copysign",
                                   Floating,
                                   none,
                                   are<Opcode::CopySign>,
                                   {{{[](auto& d) {
                                        const Tensor ratio = div(d.y(), d.a());
                                        return mul(d.g(), zero_where(ratio, eq(d.a(), zero_like_number(d.a()))));
                                      },
                                      reads_a | reads_y},
                                     vanishes}}};
const PointwiseRow hypot_row = {"hypot",
                                Promoted,
                                booleans | integers,
                                are<Opcode::Hypotenuse>,
                                {{{[](auto& d) { return mul(d.g(), div(d.a(), d.y())); }, reads_a | reads_y},
                                  {[](auto& d) { return mul(d.g(), div(d.b(), d.y())); }, reads_b | reads_y}}}};
const PointwiseRow nextafter_row = {"nextafter", Promoted, booleans | integers, are<Opcode::NextAfter>};
const PointwiseRow heaviside_row = {"heaviside", Promoted, none, [](P& p, Expressions x, auto&) {
                                      Expression zero = number(p, x[0], 0);
                                      return p.select(x[0], p.greater(x[0], zero), x[1]);
                                    }};
/// The larger plus log(1 + e^-|a-b|); equal infinities stay.
const PointwiseRow logaddexp_row = {
    "logaddexp",
    Promoted,
    booleans | integers,
    [](P& p, Expressions x, auto&) {
      Expression high = p.maximum(x[0], x[1]);
      Expression distance = p.apply(Opcode::Absolute, p.subtract(x[0], x[1]));
      Expression tail = p.apply(Opcode::Log1p, p.apply(Opcode::Exp, p.apply(Opcode::Negate, distance)));
      Expression stays = p.apply(Opcode::LogicalAnd, p.apply(Opcode::IsInf, x[0]), p.apply(Opcode::Equal, x[0], x[1]));
      return p.select(stays, x[0], p.add(high, tail));
    },
    {{{[](auto& d) { return mul(d.g(), sigmoid(sub(d.a(), d.b()))); }, reads_a | reads_b},
      {[](auto& d) { return mul(d.g(), sigmoid(sub(d.b(), d.a()))); }, reads_a | reads_b}}}};
const PointwiseRow logaddexp2_row = {
    "logaddexp2",
    Promoted,
    booleans | integers,
    [](P& p, Expressions x, auto&) {
      Expression high = p.maximum(x[0], x[1]);
      Expression distance = p.multiply(p.apply(Opcode::Absolute, p.subtract(x[0], x[1])), -ln2);
      Expression tail = p.multiply(p.apply(Opcode::Log1p, p.apply(Opcode::Exp, distance)), 1 / ln2);
      Expression stays = p.apply(Opcode::LogicalAnd, p.apply(Opcode::IsInf, x[0]), p.apply(Opcode::Equal, x[0], x[1]));
      return p.select(stays, x[0], p.add(high, tail));
    },
    {{{[](auto& d) { return mul(d.g(), sigmoid(affine(sub(d.a(), d.b()), ln2))); }, reads_a | reads_b},
      {[](auto& d) { return mul(d.g(), sigmoid(affine(sub(d.b(), d.a()), ln2))); }, reads_a | reads_b}}}};
const PointwiseRow xlogy_row = {
    "xlogy",
    Floating,
    none,
    [](P& p, Expressions x, auto&) {
      Expression product = p.multiply(x[0], p.apply(Opcode::Log, x[1]));
      return p.select(p.apply(Opcode::LogicalOr, x[0], is_nan(p, x[1])), product, number(p, x[0], 0));
    },
    {{{[](auto& d) {
         const Tensor zero = zero_like_number(d.a());
         return zero_where(mul(d.g(), log(d.b())), logical_and(eq(d.a(), zero), le(d.b(), zero)));
       },
       reads_a | reads_b},
      {[](auto& d) { return mul(d.g(), div(d.a(), d.b())); }, reads_a | reads_b}}}};
const PointwiseRow gcd_row = {"gcd", Promoted, booleans | floats, are<Opcode::GreatestCommonDivisor>};
const PointwiseRow lcm_row = {"lcm", Promoted, booleans | floats, [](P& p, Expressions x, auto&) {
                                Expression divisor = p.apply(Opcode::GreatestCommonDivisor, x[0], x[1]);
                                Expression part = p.apply(Opcode::TruncateDivide, x[0], divisor);
                                return p.apply(Opcode::Absolute, p.multiply(part, x[1]));
                              }};

}  // namespace
}  // namespace ops

using namespace ops;

// clang-format off
#define PYCNN_DEFINE_UNARY(name) \
  Tensor name(const Tensor& input) { return pointwise(name##_row, {input}); }
PYCNN_DEFINE_UNARY(asinh) PYCNN_DEFINE_UNARY(acosh) PYCNN_DEFINE_UNARY(atanh) PYCNN_DEFINE_UNARY(exp2)
PYCNN_DEFINE_UNARY(erfc) PYCNN_DEFINE_UNARY(erfinv) PYCNN_DEFINE_UNARY(lgamma) PYCNN_DEFINE_UNARY(digamma)
PYCNN_DEFINE_UNARY(sinc) PYCNN_DEFINE_UNARY(deg2rad) PYCNN_DEFINE_UNARY(rad2deg) PYCNN_DEFINE_UNARY(frac)
PYCNN_DEFINE_UNARY(isposinf) PYCNN_DEFINE_UNARY(isneginf) PYCNN_DEFINE_UNARY(signbit)
#undef PYCNN_DEFINE_UNARY
#define PYCNN_DEFINE_BINARY(name) \
  Tensor name(const Tensor& a, const Tensor& b) { return pointwise(name##_row, {a, b}); }
PYCNN_DEFINE_BINARY(fmax) PYCNN_DEFINE_BINARY(fmin) PYCNN_DEFINE_BINARY(copysign) PYCNN_DEFINE_BINARY(hypot)
PYCNN_DEFINE_BINARY(nextafter) PYCNN_DEFINE_BINARY(logaddexp) PYCNN_DEFINE_BINARY(logaddexp2)
PYCNN_DEFINE_BINARY(xlogy) PYCNN_DEFINE_BINARY(gcd) PYCNN_DEFINE_BINARY(lcm) PYCNN_DEFINE_BINARY(zeta)
#undef PYCNN_DEFINE_BINARY
    // clang-format on

    Tensor polygamma(int64_t n, const Tensor& input) {
  check(n >= 0, "polygamma(n, x) does not support negative n.");
  return n == 0 ? digamma(input) : pointwise(polygamma_row, {input}, {static_cast<double>(n)});
}

Tensor heaviside(const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype(), "heaviside is not yet implemented for tensors with different dtypes.");
  return pointwise(heaviside_row, {a, b});
}

}  // namespace pycnn
