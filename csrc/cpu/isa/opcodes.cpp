#include "cpu/isa/opcodes.h"

#include <math.h>

#include "cpu/isa/vector_math.h"
#include "kernels/convert.h"
#include "kernels/special_math.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

// Registers overlap exactly or not at all, so iterations are independent.
template <typename To, typename From, typename Function>
void unary_loop(void* destination, const void* a, const void*, const void*, int64_t n) {
  To* to = static_cast<To*>(destination);
  const From* x = static_cast<const From*>(a);
  const Function function;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = function(x[i]);
}

template <typename T, typename Function>
void binary_loop(void* destination, const void* a, const void* b, const void*, int64_t n) {
  T* to = static_cast<T*>(destination);
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  const Function function;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = function(x[i], y[i]);
}

template <typename T, typename Function>
void ternary_loop(void* destination, const void* a, const void* b, const void* c, int64_t n) {
  T* to = static_cast<T*>(destination);
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  const T* z = static_cast<const T*>(c);
  const Function function;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] = function(x[i], y[i], z[i]);
}

template <typename T, typename Function>
ComputeFunction unary(Function) {
  return unary_loop<T, T, Function>;
}
template <typename T, typename Function>
ComputeFunction binary(Function) {
  return binary_loop<T, Function>;
}
template <typename T, typename Function>
ComputeFunction ternary(Function) {
  return ternary_loop<T, Function>;
}

/// A vectorised loop, then the C library for the few arguments it does not cover.
template <typename Fast, typename Exact>
void trigonometric_loop(void* destination, const void* a, const void*, const void*, int64_t n) {
  float* to = static_cast<float*>(destination);
  const float* x = static_cast<const float*>(a);
  const Fast fast;
  const Exact exact;
  constexpr int64_t block = 64;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t count = n - begin < block ? n - begin : block;
    float source[block];
    int outside = 0;
    for (int64_t i = 0; i < count; ++i) {
      source[i] = x[begin + i];
      outside |= !(__builtin_fabsf(source[i]) <= trigonometric_limit);
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) to[begin + i] = fast(source[i]);
    if (outside)
      for (int64_t i = 0; i < count; ++i)
        if (!(__builtin_fabsf(source[i]) <= trigonometric_limit))
          to[begin + i] = static_cast<float>(exact(static_cast<double>(source[i])));
  }
}

template <typename Fast, typename Exact>
ComputeFunction trigonometric(Fast, Exact) {
  return trigonometric_loop<Fast, Exact>;
}

// -- integers: wrapping arithmetic by way of unsigned -----------------------------------------------------------------
int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
int64_t wrapping_subtract(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
int64_t wrapping_multiply(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}
int64_t wrapping_negate(int64_t a) { return wrapping_subtract(0, a); }

int64_t truncate_divide(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? wrapping_negate(a) : a / b; }
int64_t c_remainder(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
int64_t floor_remainder(int64_t a, int64_t b) {
  const int64_t r = c_remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
int64_t floor_divide(int64_t a, int64_t b) {
  const int64_t r = c_remainder(a, b);
  const int64_t q = truncate_divide(a, b);
  return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 != 0 ? -1 : 1) : 0;
  uint64_t result = 1, square = static_cast<uint64_t>(base);
  for (uint64_t e = static_cast<uint64_t>(exponent); e != 0; e >>= 1, square *= square)
    if (e & 1) result *= square;
  return static_cast<int64_t>(result);
}

int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t r = c_remainder(a, b);
    a = b;
    b = r;
  }
  return a < 0 ? wrapping_negate(a) : a;
}

int64_t shift_left(int64_t a, int64_t b) {
  return b < 0 || b > 63 ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << b);
}
int64_t shift_right(int64_t a, int64_t b) { return a >> (b < 0 || b > 63 ? 63 : b); }

// -- floating point with Python's rules of division ------------------------------------------------------------------
float c_fmod(float a, float b) { return ::fmodf(a, b); }
double c_fmod(double a, double b) { return ::fmod(a, b); }

/// The rest of a division that truncates → of one that rounds down: it has the divisor's sign.
template <typename T>
T rest_of_floor(T r, T b) {
  return (r != 0) & ((r < 0) != (b < 0)) ? r + b : r;
}

template <typename T>
T float_remainder(T a, T b) {
  return rest_of_floor(c_fmod(a, b), b);
}

/// Quotients below this times any float32 are exact in double.
constexpr double quotient_limit = 0x1p28;

/// fmod where |a / b| is below the limit: the truncated quotient is at most one too large, as the division rounds. It
/// is 0 for an infinite b, too.
float near_fmod(float a, float b) {
  const double x = a, y = b;
  const double quotient = __builtin_trunc(x / y);
  const double r = quotient == 0 ? x : x - quotient * y;
  const double size = __builtin_fabs(y);
  const double mended = (r != 0) & ((r < 0) != (x < 0)) ? (r < 0 ? r + size : r - size) : r;
  return __builtin_copysignf(static_cast<float>(mended), a);
}

/// A vectorised loop, then the C library where the quotient is large or none.
template <bool Floor>
void remainder_loop(void* destination, const void* a, const void* b, const void*, int64_t n) {
  float* to = static_cast<float*>(destination);
  const float *x = static_cast<const float*>(a), *y = static_cast<const float*>(b);
  constexpr int64_t block = 64;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t count = n - begin < block ? n - begin : block;
    float dividend[block], divisor[block];
    int outside = 0;
    for (int64_t i = 0; i < count; ++i) {
      dividend[i] = x[begin + i];
      divisor[i] = y[begin + i];
      outside |= !(__builtin_fabs(static_cast<double>(dividend[i]) / static_cast<double>(divisor[i])) < quotient_limit);
    }
    if (outside) {
      for (int64_t i = 0; i < count; ++i)
        to[begin + i] = Floor ? float_remainder(dividend[i], divisor[i]) : c_fmod(dividend[i], divisor[i]);
      continue;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      const float r = near_fmod(dividend[i], divisor[i]);
      to[begin + i] = Floor ? rest_of_floor(r, divisor[i]) : r;
    }
  }
}

template <typename T>
T float_floor_divide(T a, T b) {
  if (b == 0) return a / b;
  const T r = c_fmod(a, b);
  T quotient = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return static_cast<T>(__builtin_copysign(0.0, static_cast<double>(a / b)));
  const T whole = static_cast<T>(__builtin_floor(static_cast<double>(quotient)));
  return quotient - whole > static_cast<T>(0.5) ? whole + 1 : whole;
}

template <typename T>
T maximum(T a, T b) {
  return a > b || a != a ? a : b;
}
template <typename T>
T minimum(T a, T b) {
  return a < b || a != a ? a : b;
}

/// What the three types share: comparison, logic, selection.
template <typename T>
ComputeFunction common_function(Opcode opcode) {
  switch (opcode) {
    case Opcode::Maximum:
      return binary<T>([](T a, T b) { return maximum(a, b); });
    case Opcode::Minimum:
      return binary<T>([](T a, T b) { return minimum(a, b); });
    case Opcode::Equal:
      return binary<T>([](T a, T b) { return a == b ? T(1) : T(0); });
    case Opcode::NotEqual:
      return binary<T>([](T a, T b) { return a != b ? T(1) : T(0); });
    case Opcode::Less:
      return binary<T>([](T a, T b) { return a < b ? T(1) : T(0); });
    case Opcode::LessEqual:
      return binary<T>([](T a, T b) { return a <= b ? T(1) : T(0); });
    case Opcode::LogicalAnd:
      return binary<T>([](T a, T b) { return (a != 0) & (b != 0) ? T(1) : T(0); });
    case Opcode::LogicalOr:
      return binary<T>([](T a, T b) { return (a != 0) | (b != 0) ? T(1) : T(0); });
    case Opcode::LogicalXor:
      return binary<T>([](T a, T b) { return (a != 0) != (b != 0) ? T(1) : T(0); });
    case Opcode::LogicalNot:
      return unary<T>([](T a) { return a == 0 ? T(1) : T(0); });
    case Opcode::Select:
      return ternary<T>([](T a, T b, T c) { return a != 0 ? b : c; });
    case Opcode::Sign:
      return unary<T>([](T a) { return a > 0 ? T(1) : a < 0 ? T(-1) : T(0); });
    default:
      return nullptr;
  }
}

ComputeFunction integer_function(Opcode opcode) {
  using T = int64_t;
  switch (opcode) {
    case Opcode::Add:
      return binary<T>([](T a, T b) { return wrapping_add(a, b); });
    case Opcode::Subtract:
      return binary<T>([](T a, T b) { return wrapping_subtract(a, b); });
    case Opcode::Multiply:
      return binary<T>([](T a, T b) { return wrapping_multiply(a, b); });
    case Opcode::MultiplyAdd:
      return ternary<T>([](T a, T b, T c) { return wrapping_add(wrapping_multiply(a, b), c); });
    case Opcode::Divide:
    case Opcode::TruncateDivide:
      return binary<T>([](T a, T b) { return truncate_divide(a, b); });
    case Opcode::FloorDivide:
      return binary<T>([](T a, T b) { return floor_divide(a, b); });
    case Opcode::Remainder:
      return binary<T>([](T a, T b) { return floor_remainder(a, b); });
    case Opcode::Fmod:
      return binary<T>([](T a, T b) { return c_remainder(a, b); });
    case Opcode::Power:
      return binary<T>([](T a, T b) { return integer_power(a, b); });
    case Opcode::BitAnd:
      return binary<T>([](T a, T b) { return a & b; });
    case Opcode::BitOr:
      return binary<T>([](T a, T b) { return a | b; });
    case Opcode::BitXor:
      return binary<T>([](T a, T b) { return a ^ b; });
    case Opcode::BitNot:
      return unary<T>([](T a) { return ~a; });
    case Opcode::ShiftLeft:
      return binary<T>([](T a, T b) { return shift_left(a, b); });
    case Opcode::ShiftRight:
      return binary<T>([](T a, T b) { return shift_right(a, b); });
    case Opcode::GreatestCommonDivisor:
      return binary<T>([](T a, T b) { return greatest_common_divisor(a, b); });
    case Opcode::Negate:
      return unary<T>([](T a) { return wrapping_negate(a); });
    case Opcode::Absolute:
      return unary<T>([](T a) { return a < 0 ? wrapping_negate(a) : a; });
    case Opcode::Square:
      return unary<T>([](T a) { return wrapping_multiply(a, a); });
    case Opcode::Reciprocal:
      return unary<T>([](T a) { return truncate_divide(1, a); });
    case Opcode::IsNan:
    case Opcode::IsInf:
      return unary<T>([](T) { return T(0); });
    case Opcode::Floor:
    case Opcode::Ceil:
    case Opcode::Round:
    case Opcode::Truncate:
      return unary<T>([](T a) { return a; });
    default:
      return common_function<T>(opcode);
  }
}

/// What float and double share.
template <typename T>
ComputeFunction real_function(Opcode opcode) {
  switch (opcode) {
    case Opcode::Add:
      return binary<T>([](T a, T b) { return a + b; });
    case Opcode::Subtract:
      return binary<T>([](T a, T b) { return a - b; });
    case Opcode::Multiply:
      return binary<T>([](T a, T b) { return a * b; });
    case Opcode::Divide:
      return binary<T>([](T a, T b) { return a / b; });
    case Opcode::FloorDivide:
      return binary<T>([](T a, T b) { return float_floor_divide(a, b); });
    case Opcode::Remainder:
      return binary<T>([](T a, T b) { return float_remainder(a, b); });
    case Opcode::Fmod:
      return binary<T>([](T a, T b) { return c_fmod(a, b); });
    case Opcode::Negate:
      return unary<T>([](T a) { return -a; });
    case Opcode::Square:
      return unary<T>([](T a) { return a * a; });
    case Opcode::Reciprocal:
      return unary<T>([](T a) { return T(1) / a; });
    case Opcode::IsNan:
      return unary<T>([](T a) { return a != a ? T(1) : T(0); });
    case Opcode::Asinh:
      return unary<T>([](T a) { return static_cast<T>(::asinh(static_cast<double>(a))); });
    case Opcode::Acosh:
      return unary<T>([](T a) { return static_cast<T>(::acosh(static_cast<double>(a))); });
    case Opcode::Atanh:
      return unary<T>([](T a) { return static_cast<T>(::atanh(static_cast<double>(a))); });
    case Opcode::Erfc:
      return unary<T>([](T a) { return static_cast<T>(::erfc(static_cast<double>(a))); });
    case Opcode::ErfInverse:
      return unary<T>([](T a) { return static_cast<T>(erf_inverse(static_cast<double>(a))); });
    case Opcode::LogGamma:
      return unary<T>([](T a) { return static_cast<T>(log_gamma(static_cast<double>(a))); });
    case Opcode::Digamma:
      return unary<T>([](T a) { return static_cast<T>(digamma(static_cast<double>(a))); });
    case Opcode::Zeta:
      return binary<T>([](T s, T q) { return static_cast<T>(zeta(static_cast<double>(s), static_cast<double>(q))); });
    case Opcode::CopySign:
      return binary<T>([](T a, T b) { return copy_sign(a, b); });
    case Opcode::NextAfter:
      return binary<T>([](T a, T b) { return next_after(a, b); });
    case Opcode::Hypotenuse:
      return binary<T>([](T a, T b) { return hypotenuse(a, b); });
    default:
      return common_function<T>(opcode);
  }
}

ComputeFunction double_function(Opcode opcode) {
  using T = double;
  switch (opcode) {
    case Opcode::MultiplyAdd:
      return ternary<T>([](T a, T b, T c) { return __builtin_fma(a, b, c); });
    case Opcode::TruncateDivide:
      return binary<T>([](T a, T b) { return __builtin_trunc(a / b); });
    case Opcode::Power:
      return binary<T>([](T a, T b) { return ::pow(a, b); });
    case Opcode::Atan2:
      return binary<T>([](T a, T b) { return ::atan2(a, b); });
    case Opcode::Absolute:
      return unary<T>([](T a) { return __builtin_fabs(a); });
    case Opcode::Sqrt:
      return unary<T>([](T a) { return __builtin_sqrt(a); });
    case Opcode::Exp:
      return unary<T>([](T a) { return ::exp(a); });
    case Opcode::Expm1:
      return unary<T>([](T a) { return ::expm1(a); });
    case Opcode::Log:
      return unary<T>([](T a) { return ::log(a); });
    case Opcode::Log1p:
      return unary<T>([](T a) { return ::log1p(a); });
    case Opcode::Log2:
      return unary<T>([](T a) { return ::log2(a); });
    case Opcode::Log10:
      return unary<T>([](T a) { return ::log10(a); });
    case Opcode::Sin:
      return unary<T>([](T a) { return ::sin(a); });
    case Opcode::Cos:
      return unary<T>([](T a) { return ::cos(a); });
    case Opcode::Tan:
      return unary<T>([](T a) { return ::tan(a); });
    case Opcode::Asin:
      return unary<T>([](T a) { return ::asin(a); });
    case Opcode::Acos:
      return unary<T>([](T a) { return ::acos(a); });
    case Opcode::Atan:
      return unary<T>([](T a) { return ::atan(a); });
    case Opcode::Sinh:
      return unary<T>([](T a) { return ::sinh(a); });
    case Opcode::Cosh:
      return unary<T>([](T a) { return ::cosh(a); });
    case Opcode::Tanh:
      return unary<T>([](T a) { return ::tanh(a); });
    case Opcode::Erf:
      return unary<T>([](T a) { return ::erf(a); });
    case Opcode::Sigmoid:
      return unary<T>([](T a) { return 1.0 / (1.0 + ::exp(-a)); });
    case Opcode::Floor:
      return unary<T>([](T a) { return __builtin_floor(a); });
    case Opcode::Ceil:
      return unary<T>([](T a) { return __builtin_ceil(a); });
    case Opcode::Round:
      return unary<T>([](T a) { return __builtin_nearbyint(a); });
    case Opcode::Truncate:
      return unary<T>([](T a) { return __builtin_trunc(a); });
    case Opcode::IsInf:
      return unary<T>([](T a) { return __builtin_fabs(a) == __builtin_inf() ? 1.0 : 0.0; });
    default:
      return real_function<T>(opcode);
  }
}

ComputeFunction float_function(Opcode opcode) {
  using T = float;
  switch (opcode) {
    case Opcode::MultiplyAdd:
      return ternary<T>([](T a, T b, T c) { return __builtin_fmaf(a, b, c); });
    case Opcode::TruncateDivide:
      return binary<T>([](T a, T b) { return __builtin_truncf(a / b); });
    case Opcode::Remainder:
      return remainder_loop<true>;
    case Opcode::Fmod:
      return remainder_loop<false>;
    case Opcode::Power:
      return binary<T>([](T a, T b) { return pow32(a, b); });
    case Opcode::Atan2:
      return binary<T>([](T a, T b) { return ::atan2f(a, b); });
    case Opcode::Absolute:
      return unary<T>([](T a) { return __builtin_fabsf(a); });
    case Opcode::Sqrt:
      return unary<T>([](T a) { return __builtin_sqrtf(a); });
    case Opcode::Exp:
      return unary<T>([](T a) { return exp32(a); });
    case Opcode::Expm1:
      return unary<T>([](T a) { return expm132(a); });
    case Opcode::Log:
      return unary<T>([](T a) { return log32(a); });
    case Opcode::Log1p:
      return unary<T>([](T a) { return log1p32(a); });
    case Opcode::Log2:
      return unary<T>([](T a) { return log232(a); });
    case Opcode::Log10:
      return unary<T>([](T a) { return log1032(a); });
    case Opcode::Sin:
      return trigonometric([](T a) { return sin32(a); }, [](double a) { return ::sin(a); });
    case Opcode::Cos:
      return trigonometric([](T a) { return cos32(a); }, [](double a) { return ::cos(a); });
    case Opcode::Tan:
      return trigonometric([](T a) { return tan32(a); }, [](double a) { return ::tan(a); });
    case Opcode::Asin:
      return unary<T>([](T a) { return ::asinf(a); });
    case Opcode::Acos:
      return unary<T>([](T a) { return ::acosf(a); });
    case Opcode::Atan:
      return unary<T>([](T a) { return ::atanf(a); });
    case Opcode::Sinh:
      return unary<T>([](T a) { return sinh32(a); });
    case Opcode::Cosh:
      return unary<T>([](T a) { return cosh32(a); });
    case Opcode::Tanh:
      return unary<T>([](T a) { return tanh32(a); });
    case Opcode::Erf:
      return unary<T>([](T a) { return erf32(a); });
    case Opcode::Sigmoid:
      return unary<T>([](T a) { return sigmoid32(a); });
    case Opcode::Floor:
      return unary<T>([](T a) { return __builtin_floorf(a); });
    case Opcode::Ceil:
      return unary<T>([](T a) { return __builtin_ceilf(a); });
    case Opcode::Round:
      return unary<T>([](T a) { return __builtin_nearbyintf(a); });
    case Opcode::Truncate:
      return unary<T>([](T a) { return __builtin_truncf(a); });
    case Opcode::IsInf:
      return unary<T>([](T a) { return __builtin_fabsf(a) == __builtin_inff() ? 1.0f : 0.0f; });
    default:
      return real_function<T>(opcode);
  }
}

template <typename From, typename To>
struct Conversion {
  To operator()(From from) const {
    To to;
    convert(from, to);
    return to;
  }
};

/// A store to Memory and a load.
template <typename Register, typename Memory>
struct Rounding {
  Register operator()(Register value) const {
    Memory memory;
    narrow(value, memory);
    widen(memory, value);
    return value;
  }
};

}  // namespace

ComputeFunction compute_function(const Instruction& instruction) {
  switch (instruction.opcode) {
    case Opcode::Convert:
      return with_register_type(instruction.source, [&](auto from) {
        return with_register_type(instruction.type, [](auto to) -> ComputeFunction {
          using From = decltype(from);
          using To = decltype(to);
          return unary_loop<To, From, Conversion<From, To>>;
        });
      });
    case Opcode::RoundTo:
      return with_register_type(instruction.type, [&](auto value) {
        return with_memory_type(static_cast<DType>(instruction.index), [](auto memory) -> ComputeFunction {
          using Register = decltype(value);
          return unary_loop<Register, Register, Rounding<Register, decltype(memory)>>;
        });
      });
    default:
      break;
  }
  switch (instruction.type) {
    case RegisterType::F32:
      return float_function(instruction.opcode);
    case RegisterType::F64:
      return double_function(instruction.opcode);
    default:
      return integer_function(instruction.opcode);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
