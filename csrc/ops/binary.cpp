// Rows with two operands.
#include <algorithm>
#include <vector>

#include "graph/capture.h"
#include "ops/pointwise.h"

namespace pycnn {
namespace ops {
namespace {

using enum ResultType;
using Expressions = std::span<const Expression>;
using P = ProgramBuilder;

template <Opcode opcode>
Expression is(P& p, Expressions x, const Parameters&) {
  return p.apply(opcode, x[0], x[1]);
}
/// With the operands exchanged.
template <Opcode opcode>
Expression swapped(P& p, Expressions x, const Parameters&) {
  return p.apply(opcode, x[1], x[0]);
}

constexpr Derivative passes = {[](const Derivation& d) { return d.g(); }};
constexpr Derivative negates = {[](const Derivation& d) { return neg(d.g()); }};
constexpr Derivative vanishes = {[](const Derivation& d) { return zeros_like(d.g()); }};

const PointwiseRow add_row = {"add", Promoted, none, is<Opcode::Add>, {{passes, passes}}};
const PointwiseRow sub_row = {"sub", Promoted, none, is<Opcode::Subtract>, {{passes, negates}}};
/// a + alpha b, with alpha an input: optimisers pass their learning rate here.
const PointwiseRow add_scaled_row = {"add_scaled",
                                     Promoted,
                                     none,
                                     [](P& p, Expressions x, auto&) { return p.add(x[0], p.multiply(x[2], x[1])); },
                                     {{passes, {[](auto& d) { return mul(d.g(), d.c()); }, reads_c}}}};
const PointwiseRow sub_scaled_row = {
    "sub_scaled",
    Promoted,
    none,
    [](P& p, Expressions x, auto&) { return p.subtract(x[0], p.multiply(x[2], x[1])); },
    {{passes, {[](auto& d) { return neg(mul(d.g(), d.c())); }, reads_c}}}};

const PointwiseRow mul_row = {
    "mul",
    Promoted,
    none,
    is<Opcode::Multiply>,
    {{{[](auto& d) { return mul(d.g(), d.b()); }, reads_b}, {[](auto& d) { return mul(d.g(), d.a()); }, reads_a}}}};
const PointwiseRow div_row = {
    "div",
    Floating,
    none,
    is<Opcode::Divide>,
    {{{[](auto& d) { return div(d.g(), d.b()); }, reads_b},
      {[](auto& d) { return mul(neg(d.g()), div(div(d.a(), d.b()), d.b())); }, reads_a | reads_b}}}};
const PointwiseRow floor_divide_row = {
    "floor_divide", Promoted, booleans, is<Opcode::FloorDivide>, {{vanishes, vanishes}}};
const PointwiseRow truncate_divide_row = {
    "truncate_divide", Promoted, booleans, is<Opcode::TruncateDivide>, {{vanishes, vanishes}}};
const PointwiseRow remainder_row = {
    "remainder",
    Promoted,
    booleans,
    is<Opcode::Remainder>,
    {{passes, {[](auto& d) { return mul(neg(d.g()), div(d.a(), d.b(), "floor")); }, reads_a | reads_b}}}};
const PointwiseRow fmod_row = {
    "fmod",
    Promoted,
    booleans,
    is<Opcode::Fmod>,
    {{passes, {[](auto& d) { return mul(neg(d.g()), div(d.a(), d.b(), "trunc")); }, reads_a | reads_b}}}};

// x⁰ is constant, even at 0 and at infinity; 0ᵉ is constant for e > 0.
const PointwiseRow pow_row = {"pow",
                              Promoted,
                              booleans,
                              is<Opcode::Power>,
                              {{{[](auto& d) {
                                   const Tensor slope = mul(d.b(), pow(d.a(), affine(d.b(), 1, -1)));
                                   return zero_where(mul(d.g(), slope), eq(d.b(), wrap_scalar(0, d.b())));
                                 },
                                 reads_a | reads_b},
                                {[](auto& d) {
                                   const Tensor zero = wrap_scalar(0, d.a());
                                   const Tensor constant = logical_and(eq(d.a(), zero), ge(d.b(), zero));
                                   // An integer base of its own would have a float32 logarithm.
                                   const Tensor logarithm = log(cast(d.a(), d.y().dtype()));
                                   return zero_where(mul(d.g(), mul(d.y(), logarithm)), constant);
                                 },
                                 reads_a | reads_b | reads_y}}}};
/// 1 / (a² + b²), or 0 at the origin.
Tensor inverse_square_radius(const Derivation& d) {
  const Tensor squared = add(square(d.a()), square(d.b()));
  return zero_where(reciprocal(squared), eq(squared, wrap_scalar(0, squared)));
}
const PointwiseRow atan2_row = {
    "atan2",
    Floating,
    none,
    is<Opcode::Atan2>,
    {{{[](auto& d) { return mul(d.g(), mul(d.b(), inverse_square_radius(d))); }, reads_a | reads_b},
      {[](auto& d) { return mul(neg(d.g()), mul(d.a(), inverse_square_radius(d))); }, reads_a | reads_b}}}};

/// Equal operands share the gradient.
Tensor share(const Derivation& d, const Tensor& lost) {
  return zero_where(where(eq(d.a(), d.b()), affine(d.g(), 0.5), d.g()), lost);
}
const PointwiseRow maximum_row = {"maximum",
                                  Promoted,
                                  none,
                                  is<Opcode::Maximum>,
                                  {{{[](auto& d) { return share(d, lt(d.a(), d.b())); }, reads_a | reads_b},
                                    {[](auto& d) { return share(d, lt(d.b(), d.a())); }, reads_a | reads_b}}}};
const PointwiseRow minimum_row = {"minimum",
                                  Promoted,
                                  none,
                                  is<Opcode::Minimum>,
                                  {{{[](auto& d) { return share(d, gt(d.a(), d.b())); }, reads_a | reads_b},
                                    {[](auto& d) { return share(d, gt(d.b(), d.a())); }, reads_a | reads_b}}}};

const PointwiseRow eq_row = {"eq", Boolean, none, is<Opcode::Equal>};
const PointwiseRow ne_row = {"ne", Boolean, none, is<Opcode::NotEqual>};
const PointwiseRow lt_row = {"lt", Boolean, none, is<Opcode::Less>};
const PointwiseRow le_row = {"le", Boolean, none, is<Opcode::LessEqual>};
const PointwiseRow gt_row = {"gt", Boolean, none, swapped<Opcode::Less>};
const PointwiseRow ge_row = {"ge", Boolean, none, swapped<Opcode::LessEqual>};
const PointwiseRow logical_and_row = {"logical_and", Boolean, none, is<Opcode::LogicalAnd>};
const PointwiseRow logical_or_row = {"logical_or", Boolean, none, is<Opcode::LogicalOr>};
const PointwiseRow logical_xor_row = {"logical_xor", Boolean, none, is<Opcode::LogicalXor>};
const PointwiseRow bitwise_and_row = {"bitwise_and", Promoted, floats, is<Opcode::BitAnd>};
const PointwiseRow bitwise_or_row = {"bitwise_or", Promoted, floats, is<Opcode::BitOr>};
const PointwiseRow bitwise_xor_row = {"bitwise_xor", Promoted, floats, is<Opcode::BitXor>};
const PointwiseRow bitwise_left_shift_row = {"bitwise_left_shift", Promoted, floats | booleans, is<Opcode::ShiftLeft>};
const PointwiseRow bitwise_right_shift_row = {"bitwise_right_shift", Promoted, floats | booleans,
                                              is<Opcode::ShiftRight>};

void check_alpha(const char* operation, const Tensor& a, const Tensor& b, Scalar alpha) {
  const DType common = result_type({a, b});
  check(alpha.kind() != Scalar::Kind::Bool || common == DType::Bool, operation,
        ": Boolean alpha only supported for Boolean results.");
  check(alpha.kind() != Scalar::Kind::Float || is_floating_point(common), operation,
        ": For integral input tensors, argument alpha must not be a floating point number.");
}

/// Integers that are known already and divide by zero raise here.
void check_divisor(const char* operation, const Tensor& a, const Tensor& b) {
  if (is_floating_point(b.dtype()) || is_floating_point(a.dtype()) || !b.is_evaluated() || a.numel() == 0) return;
  if (b.dim() == 0) return check(b.item<int64_t>() != 0, operation, ": ZeroDivisionError");
  if (graph::capture_log() != nullptr) return;
  const Tensor wide = b.dtype() == DType::Int64 ? b : cast(b.detach(), DType::Int64);
  const std::vector<int64_t> divisors = wide.to_vector<int64_t>();
  check(std::find(divisors.begin(), divisors.end(), 0) == divisors.end(), operation, ": ZeroDivisionError");
}

bool is_one(Scalar alpha) { return alpha.to_double() == 1; }

}  // namespace
}  // namespace ops

using namespace ops;

Tensor add(const Tensor& a, const Tensor& b, Scalar alpha) {
  if (is_one(alpha)) return pointwise(add_row, {a, b});
  check_alpha("add", a, b, alpha);
  return ops::add_scaled(a, b, wrap_scalar(alpha, b));
}

Tensor sub(const Tensor& a, const Tensor& b, Scalar alpha) {
  check(a.dtype() != DType::Bool || b.dtype() != DType::Bool,
        "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
        "operator instead.");
  check(a.dtype() != DType::Bool && b.dtype() != DType::Bool,
        "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use "
        "the `~` or `logical_not()` operator instead.");
  if (is_one(alpha)) return pointwise(sub_row, {a, b});
  check_alpha("sub", a, b, alpha);
  return ops::sub_scaled(a, b, wrap_scalar(alpha, b));
}

Tensor ops::add_scaled(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return pointwise(add_scaled_row, {a, b, alpha});
}

Tensor ops::sub_scaled(const Tensor& a, const Tensor& b, const Tensor& alpha) {
  return pointwise(sub_scaled_row, {a, b, alpha});
}

Tensor mul(const Tensor& a, const Tensor& b) { return pointwise(mul_row, {a, b}); }

Tensor div(const Tensor& a, const Tensor& b, std::string_view rounding_mode) {
  if (rounding_mode.empty()) return pointwise(div_row, {a, b});
  check(rounding_mode == "floor" || rounding_mode == "trunc",
        "div: expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", rounding_mode, "'");
  check_divisor("div", a, b);
  // PyTorch truncates the quotient that 16 bits hold.
  const DType result = result_type({a, b});
  if (rounding_mode == "trunc" && is_floating_point(result) && size_of(result) == 2)
    return trunc(pointwise(div_row, {a, b}));
  return pointwise(rounding_mode == "floor" ? floor_divide_row : truncate_divide_row, {a, b});
}

Tensor floor_divide(const Tensor& a, const Tensor& b) { return div(a, b, "floor"); }

Tensor remainder(const Tensor& a, const Tensor& b) {
  check_divisor("remainder", a, b);
  return pointwise(remainder_row, {a, b});
}

Tensor fmod(const Tensor& a, const Tensor& b) {
  check_divisor("fmod", a, b);
  return pointwise(fmod_row, {a, b});
}

Tensor pow(const Tensor& a, const Tensor& b) {
  if (is_wrapped_number(b)) {
    const double exponent = b.item<double>();
    const DType common = result_type({a, b});
    check(exponent >= 0 || is_floating_point(common), "pow: Integers to negative integer powers are not allowed.");
    if (common != a.dtype()) return pointwise(pow_row, {a, b});
    // Exact powers need no logarithm; the exponent then is part of the graph's structure.
    if (exponent == 1 && is_floating_point(a.dtype())) return clone(a);
    if (exponent == 2) return square(a);
    if (exponent == 3) return mul(square(a), a);
    if (exponent == 0.5) return sqrt(a);
    if (exponent == -0.5) return rsqrt(a);
    if (exponent == -1) return reciprocal(a);
  }
  return pointwise(pow_row, {a, b});
}

// clang-format off
#define PYCNN_DEFINE_BINARY(name) \
  Tensor name(const Tensor& a, const Tensor& b) { return pointwise(name##_row, {a, b}); }
PYCNN_DEFINE_BINARY(atan2) PYCNN_DEFINE_BINARY(maximum) PYCNN_DEFINE_BINARY(minimum) PYCNN_DEFINE_BINARY(eq)
PYCNN_DEFINE_BINARY(ne) PYCNN_DEFINE_BINARY(lt) PYCNN_DEFINE_BINARY(le) PYCNN_DEFINE_BINARY(gt)
PYCNN_DEFINE_BINARY(ge) PYCNN_DEFINE_BINARY(logical_and) PYCNN_DEFINE_BINARY(logical_or)
PYCNN_DEFINE_BINARY(logical_xor) PYCNN_DEFINE_BINARY(bitwise_and) PYCNN_DEFINE_BINARY(bitwise_or)
PYCNN_DEFINE_BINARY(bitwise_xor) PYCNN_DEFINE_BINARY(bitwise_left_shift)
PYCNN_DEFINE_BINARY(bitwise_right_shift)
#undef PYCNN_DEFINE_BINARY
// clang-format on

}  // namespace pycnn
