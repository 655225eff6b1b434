#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> pointwise_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      // -- one operand ------------------------------------------------------------------------------------------------
      {"neg", "-input, elementwise.", UnaryNumeric, "uint8 wraps around: -1 is 255."},
      {"negative", "neg", Alias},
      {"abs", "|input|, elementwise.", UnaryNumeric, "Gradient: sign(input), so 0 at 0."},
      {"absolute", "abs", Alias},
      {"sign", R"(The sign of input, elementwise: -1, 0 or 1, and 0 for NaN. The gradient is 0 everywhere.

Args:
    input: any shape and dtype.

Returns:
    input's shape and dtype.)"},
      {"square", R"(input * input, elementwise.

Args:
    input: any shape and dtype.

Returns:
    input's shape and dtype; int64 for bool.)"},
      {"sqrt", "The square root, elementwise; NaN below 0.", UnaryReal,
       "Gradient: 1 / (2 sqrt(input)), infinite at 0."},
      {"rsqrt", "1 / sqrt(input), elementwise; infinite at 0, NaN below.", UnaryReal},
      {"reciprocal", "1 / input, elementwise.", UnaryReal, "Gradient: -1 / input^2."},
      {"exp", "e to the power of input, elementwise.", UnaryReal},
      {"expm1", "exp(input) - 1, elementwise, exact to rounding also near 0.", UnaryReal},
      {"log", "The natural logarithm, elementwise; minus infinity at 0, NaN below.", UnaryReal, "Gradient: 1 / input."},
      {"log1p", "log(1 + input), elementwise, exact to rounding also near 0; NaN below -1.", UnaryReal},
      {"log2", "The logarithm to base 2, elementwise; minus infinity at 0, NaN below.", UnaryReal},
      {"log10", "The logarithm to base 10, elementwise; minus infinity at 0, NaN below.", UnaryReal},
      {"sin", "The sine of input (in radians), elementwise.", UnaryReal},
      {"cos", "The cosine of input (in radians), elementwise.", UnaryReal},
      {"tan", "The tangent of input (in radians), elementwise.", UnaryReal, "Gradient: 1 + tan(input)^2."},
      {"asin", "The arc sine in radians, -pi/2 to pi/2, elementwise; NaN outside -1 to 1.", UnaryReal,
       "Gradient: 1 / sqrt(1 - input^2), infinite at both ends."},
      {"acos", "The arc cosine in radians, 0 to pi, elementwise; NaN outside -1 to 1.", UnaryReal,
       "Gradient: -1 / sqrt(1 - input^2), infinite at both ends."},
      {"atan", "The arc tangent in radians, -pi/2 to pi/2, elementwise.", UnaryReal, "Gradient: 1 / (1 + input^2)."},
      {"sinh", "The hyperbolic sine (exp(input) - exp(-input)) / 2, elementwise.", UnaryReal},
      {"cosh", "The hyperbolic cosine (exp(input) + exp(-input)) / 2, elementwise.", UnaryReal},
      {"tanh", "The hyperbolic tangent (exp(2 input) - 1) / (exp(2 input) + 1), elementwise.", UnaryReal,
       "Gradient: 1 - tanh(input)^2, computed from the result."},
      {"asinh", "The inverse of sinh, elementwise.", UnaryReal, "Gradient: 1 / sqrt(input^2 + 1)."},
      {"acosh", "The inverse of cosh, at least 0, elementwise; NaN below 1.", UnaryReal,
       "Gradient: 1 / sqrt(input^2 - 1)."},
      {"atanh", "The inverse of tanh, elementwise; infinite at -1 and 1, NaN beyond.", UnaryReal,
       "Gradient: 1 / (1 - input^2)."},
      {"exp2", "2 to the power of input, elementwise.", UnaryReal},
      {"erfc", "1 - erf(input), elementwise, exact to rounding where erf is nearly 1.", UnaryReal},
      {"erfinv", "The inverse of erf, elementwise; infinite at -1 and 1, NaN beyond.", UnaryReal,
       "Gradient: sqrt(pi) / 2 exp(y^2), computed from the result y."},
      {"lgamma", "The logarithm of the absolute value of the gamma function, elementwise.", UnaryReal,
       "Gradient: digamma(input)."},
      {"digamma", "The derivative of lgamma, elementwise; NaN at negative integers, infinite at 0.", UnaryReal,
       "Gradient: polygamma(1, input)."},
      {"polygamma", R"(The n-th derivative of digamma, elementwise.

Args:
    n: the order, at least 0.
    input: any shape and dtype; integers and bool are converted to the default dtype.

Returns:
    input's shape, floating.

Errors: RuntimeError for a negative n.)"},
      {"sinc", "sin(pi input) / (pi input), and 1 at 0, elementwise.", UnaryReal},
      {"deg2rad", "Degrees to radians: input * pi / 180, elementwise.", UnaryReal},
      {"rad2deg", "Radians to degrees: input * 180 / pi, elementwise.", UnaryReal},
      {"frac", "input - trunc(input), elementwise, with input's sign.", UnaryFloating},
      {"isposinf", "Where input is infinity, elementwise; nowhere for integers.", UnaryPredicate},
      {"isneginf", "Where input is minus infinity, elementwise; nowhere for integers.", UnaryPredicate},
      {"signbit", "Where input is negative, -0.0 included, elementwise.", UnaryPredicate},
      {"erf", "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to input, elementwise.",
       UnaryReal},
      {"sigmoid", "The logistic function 1 / (1 + exp(-input)), elementwise, without overflow.", UnaryReal,
       "Gradient: y (1 - y), computed from the result y."},
      {"floor", "The largest integer not above input, elementwise. The gradient is 0.", UnaryNumeric},
      {"ceil", "The smallest integer not below input, elementwise. The gradient is 0.", UnaryNumeric},
      {"round", "The nearest integer, elementwise; halves go to the even one (0.5 to 0, 1.5 to 2). The gradient is 0.",
       UnaryNumeric},
      {"trunc", "input without its fraction (towards 0), elementwise. The gradient is 0.", UnaryNumeric},
      {"isnan", "Where input is NaN, elementwise; nowhere for integers.", UnaryPredicate},
      {"isinf", "Where input is plus or minus infinity, elementwise; nowhere for integers.", UnaryPredicate},
      {"isfinite", "Where input is neither infinite nor NaN, elementwise; everywhere for integers.", UnaryPredicate},
      {"Tensor.relu", "max(input, 0), elementwise (Nair and Hinton 2010). NaN stays.", UnaryNumeric,
       "Gradient: 1 above 0, 0 at 0 and below."},
      {"Tensor.silu", "input * sigmoid(input), elementwise (Hendrycks and Gimpel 2016; Elfwing et al. 2017).",
       UnaryFloating},
      {"logsigmoid", "log(1 / (1 + exp(-input))), elementwise, as min(input, 0) - log(1 + exp(-|input|)): no overflow.",
       UnaryFloating},
      {"logical_not", "Where input is 0, elementwise.", UnaryPredicate},
      {"bitwise_not", R"(Every bit inverted, elementwise; logical_not() for bool.

Args:
    input: any shape, integers or bool.

Returns:
    input's shape and dtype, without gradient.

Errors: NotImplementedError for floating dtypes.)"},

      // -- arithmetic -------------------------------------------------------------------------------------------------
      {"add", "input + alpha * other, elementwise; `or` for two bools.", Binary,
       "alpha: a number (default 1), inside one operator: rounded once.",
       "RuntimeError for a floating alpha with integer operands"},
      {"sub", "input - alpha * other, elementwise.", Binary,
       "alpha: a number (default 1), inside one operator: rounded once.",
       "RuntimeError if an operand is bool, or for a floating alpha with integer operands"},
      {"subtract", "sub", Alias},
      {"rsub", "other - input, elementwise: sub() with its operands exchanged. `other` may be a number.", None,
       R"(Args:
    input: any shape, any dtype but bool.
    other: a tensor whose shape broadcasts with input's, or a number.
    alpha: what input is multiplied by first.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if the shapes do not broadcast or an operand is bool.)"},
      {"mul", "input * other, elementwise; `and` for two bools.", Binary},
      {"multiply", "mul", Alias},
      {"div", "input / other, elementwise; integers are divided exactly.", BinaryReal,
       "rounding_mode: None; \"floor\" (towards minus infinity) or \"trunc\" (towards 0) for a quotient without "
       "fraction,\n"
       "which keeps integer dtypes and has a gradient of 0. A zero divisor gives infinity or NaN, but with a\n"
       "rounding mode and integers 0.",
       "RuntimeError for another rounding_mode, or (with one) for integers divided by a number 0; NotImplementedError "
       "for two bools with a rounding_mode"},
      {"divide", "div", Alias},
      {"true_divide", "input / other, elementwise; integers are divided exactly.", BinaryReal},
      {"floor_divide", "The quotient rounded towards minus infinity, elementwise. The gradient is 0.", BinaryNumeric,
       "Integers divided by an element 0 give 0.", "RuntimeError for integers divided by a number 0"},
      {"remainder", "input - floor(input / other) * other, elementwise: the sign is that of `other`, as Python's %.",
       BinaryNumeric,
       "Integers divided by an element 0 give 0, floats NaN.\n\n"
       "Gradient: 1 for input, -floor(input / other) for other.",
       "RuntimeError for integers divided by a number 0"},
      {"fmod", "input - trunc(input / other) * other, elementwise: the sign is that of input, as C's fmod.",
       BinaryNumeric,
       "Integers divided by an element 0 give 0, floats NaN.\n\n"
       "Gradient: 1 for input, -trunc(input / other) for other.",
       "RuntimeError for integers divided by a number 0"},
      {"pow", R"(input to the power of exponent, elementwise.

The numbers -1, -0.5, 0.5, 1, 2 and 3 as exponents take exact forms (such as input * input) in place of a power.
Gradient of input: exponent * input^(exponent - 1), 0 where the exponent is 0; of the exponent: log(input) times the
result, 0 where input is 0 and the exponent not negative.

Args:
    input, exponent: tensors whose shapes broadcast, or one of them a number.

Returns:
    The broadcast shape, in the promoted dtype. Integers to a negative element's power give 0 (but for a base 1 or -1).

Errors: RuntimeError for integers to a negative integer number, or shapes that do not broadcast; TypeError if both are
numbers; NotImplementedError for two bools.)"},
      {"atan2", "The angle of the point (other, input) in radians, -pi to pi, elementwise.", BinaryReal,
       "Gradient: other / r and -input / r with r = input^2 + other^2; 0 at the origin."},
      {"arctan2", "atan2", Alias},
      {"fmax", "The larger operand, elementwise; NaN only if both are.", Binary,
       "Gradient: to the one that is the result, the first of equals."},
      {"fmin", "The smaller operand, elementwise; NaN only if both are.", Binary,
       "Gradient: to the one that is the result, the first of equals."},
      {"copysign", "The magnitude of input with the sign of other, elementwise.", BinaryReal,
       "Gradient: the ratio of result and input to input (0 where it is 0), and 0 to other."},
      {"hypot", "sqrt(input^2 + other^2), elementwise, without overflow between.", Binary, nullptr,
       "NotImplementedError for integers and bool"},
      {"nextafter", "The floating-point number next to input in the direction of other, elementwise.", Binary, nullptr,
       "NotImplementedError for integers and bool"},
      {"heaviside", R"(The step function: 0 below 0, 1 above, and `values` at 0, elementwise. No gradient.

Args:
    input, values: tensors of one dtype whose shapes broadcast.

Returns:
    The broadcast shape, of input's dtype.

Errors: RuntimeError if the dtypes differ or the shapes do not broadcast; TypeError if both are numbers.)"},
      {"logaddexp", "log(exp(input) + exp(other)), elementwise, without overflow.", Binary, nullptr,
       "NotImplementedError for integers and bool"},
      {"logaddexp2", "log2(2^input + 2^other), elementwise, without overflow.", Binary, nullptr,
       "NotImplementedError for integers and bool"},
      {"xlogy", "input * log(other), elementwise, and 0 where input is 0 and other is not NaN.", BinaryReal},
      {"zeta", "Hurwitz' zeta function: the sum of (k + other)^-input over k >= 0, elementwise.", BinaryReal,
       "No gradient for input."},
      {"gcd", "The greatest common divisor of integers, elementwise; of 0 and 0 it is 0.", BinaryBits},
      {"lcm", "The least common multiple of integers, elementwise, at least 0.", BinaryBits},
      {"maximum", "The larger operand, elementwise; NaN if either is.", Binary,
       "Gradient: to the larger one; equal ones get half each."},
      {"minimum", "The smaller operand, elementwise; NaN if either is.", Binary,
       "Gradient: to the smaller one; equal ones get half each."},

      // -- comparisons and logic --------------------------------------------------------------------------------------
      {"eq", "Where input == other, elementwise. NaN equals nothing.", BinaryLogic},
      {"ne", "Where input != other, elementwise. NaN differs from everything, itself included.", BinaryLogic},
      {"not_equal", "ne", Alias},
      {"lt", "Where input < other, elementwise; false for NaN.", BinaryLogic},
      {"less", "lt", Alias},
      {"le", "Where input <= other, elementwise; false for NaN.", BinaryLogic},
      {"less_equal", "le", Alias},
      {"gt", "Where input > other, elementwise; false for NaN.", BinaryLogic},
      {"greater", "gt", Alias},
      {"ge", "Where input >= other, elementwise; false for NaN.", BinaryLogic},
      {"greater_equal", "ge", Alias},
      {"logical_and", "Where both are true (not 0), elementwise.", BinaryLogic},
      {"logical_or", "Where at least one is true (not 0), elementwise.", BinaryLogic},
      {"logical_xor", "Where exactly one is true (not 0), elementwise.", BinaryLogic},
      {"bitwise_and", "The bits set in both, elementwise; `and` for bool.", BinaryBits},
      {"bitwise_or", "The bits set in at least one, elementwise; `or` for bool.", BinaryBits},
      {"bitwise_xor", "The bits set in exactly one, elementwise; `xor` for bool.", BinaryBits},
      {"bitwise_left_shift", "input's bits moved up by `other`, elementwise; 0 for shifts below 0 or beyond 63.",
       BinaryShift},
      {"bitwise_right_shift", "input's bits moved down by `other`, elementwise; the sign stays.", BinaryShift},

      // -- more operands ----------------------------------------------------------------------------------------------
      {"clamp", R"(min(max(input, min), max), elementwise: `max` wins where min > max, and NaN stays.

Gradient: input's passes where min <= input <= max, both ends included; elsewhere it goes to the bound, if that is a
tensor.

Args:
    input: any shape.
    min, max: a number, a tensor whose shape broadcasts with input's, or None for no bound.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if both bounds are None or shapes do not broadcast; NotImplementedError if all are bool.)"},
      {"clip", "clamp", Alias},
      {"clamp_min", R"(max(input, min), elementwise; clamp() without an upper bound. NaN stays.

Args:
    input: any shape.
    min: a number, or a tensor whose shape broadcasts with input's.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if the shapes do not broadcast; NotImplementedError for bool.)"},
      {"clamp_max", R"(min(input, max), elementwise; clamp() without a lower bound. NaN stays.

Args:
    input: any shape.
    max: a number, or a tensor whose shape broadcasts with input's.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if the shapes do not broadcast; NotImplementedError for bool.)"},
      {"where", R"(`input` where condition is true, else `other`, elementwise.

Gradient: to the operand that was taken, 0 to the other one.

Args:
    condition: bool or uint8.
    input, other: tensors or numbers; two numbers become tensors of their kinds' dtypes.

Returns:
    The shape of all three broadcast together, in the promoted dtype of input and other.

Errors: RuntimeError for another dtype of condition or shapes that do not broadcast.)"},
      {"where 2", R"(The positions where condition is not 0: nonzero(condition, as_tuple=True). Evaluates condition.

Args:
    condition: any shape and dtype.

Returns:
    A tuple with one int64 vector per dimension, in row-major order.)"},
      {"Tensor.where", R"(self where condition is true, else `other`, elementwise; pycnn.where(condition, self, other).

Args:
    condition: bool or uint8.
    other: a tensor or a number.

Returns:
    The shape of all three broadcast together, in the promoted dtype of self and other.

Errors: RuntimeError for another dtype of condition or shapes that do not broadcast.)"},
      {"masked_fill", R"(`value` where mask is true, else input, elementwise. The gradient is 0 where it was filled.

Args:
    input: any shape and dtype.
    mask: bool, of a shape that broadcasts with input's.
    value: a number or a tensor of shape (), converted to input's dtype.

Returns:
    The broadcast shape, in input's dtype.

Errors: RuntimeError if mask is not bool, value has dimensions, or shapes do not broadcast.)"},
      {"lerp", R"(input + weight * (end - input), elementwise. Weight 1 gives end exactly.

Args:
    input, end: of one floating dtype, shapes that broadcast.
    weight: a number, or a tensor of that dtype (or of shape ()).

Returns:
    The broadcast shape, in that dtype.

Errors: NotImplementedError for other dtypes; RuntimeError if they differ or shapes do not broadcast.)"},
      {"addcmul", R"(input + value * tensor1 * tensor2, elementwise, as one operator.

Args:
    input, tensor1, tensor2: shapes that broadcast.
    value: a number.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if shapes do not broadcast; NotImplementedError if all are bool.)"},
      {"addcdiv", R"(input + value * tensor1 / tensor2, elementwise, as one operator.

Args:
    input, tensor1, tensor2: shapes that broadcast; tensor1 or tensor2 floating.
    value: a number.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError if tensor1 and tensor2 are integers, or shapes do not broadcast.)"},
      {"isclose", R"(Where |input - other| <= atol + rtol * |other|, elementwise; equal infinities are close.

Args:
    input, other: shapes that broadcast, any dtypes but bool.
    rtol: relative tolerance.
    atol: absolute tolerance, in the elements' unit.
    equal_nan: whether two NaNs are close.

Returns:
    bool, of the broadcast shape.

Errors: RuntimeError if the shapes do not broadcast or one is bool, NotImplementedError if `other` is.)"},
      {"allclose", R"(Whether isclose() holds for every element, as Python's bool. Evaluates both.

Args:
    input, other: shapes that broadcast, any dtypes but bool.
    rtol: relative tolerance.
    atol: absolute tolerance, in the elements' unit.
    equal_nan: whether two NaNs are close.

Errors: RuntimeError if the shapes do not broadcast or one is bool, NotImplementedError if `other` is.)"},
      {"equal", R"(Whether both have the same shape and equal elements, as Python's bool. Evaluates both.

Args:
    input, other: any shapes and dtypes; dtypes may differ, NaN equals nothing.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
