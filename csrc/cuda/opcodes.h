// What an opcode does to one element on a GPU: csrc/kernels/program.h's table as functions. Divisions and roots round
// as IEEE says, and nothing is contracted (--fmad=false): what needs no table of values has the CPU's bits.
#pragma once

#include <math.h>

#include "cuda/launch.h"
#include "kernels/special_math.h"

namespace pycnn::cuda {

/// 2 for Add, 3 for Select …; 0 for those that are not a function of registers of one type alone.
__host__ __device__ constexpr int operands_of(kernels::Opcode opcode) {
  switch (opcode) {
    case kernels::Opcode::Load:
    case kernels::Opcode::Store:
    case kernels::Opcode::Constant:
    case kernels::Opcode::Convert:
    case kernels::Opcode::RoundTo:
      return 0;
#define PYCNN_OPCODE(name, operands) \
  case kernels::Opcode::name:        \
    return operands;
    default:
      break;
  }
  switch (opcode) {
    PYCNN_OPCODES(PYCNN_OPCODE)
#undef PYCNN_OPCODE
  }
  return 0;
}

// -- integers: wrapping arithmetic by way of unsigned -----------------------------------------------------------------

__device__ inline int64_t wrapped(uint64_t bits) { return static_cast<int64_t>(bits); }
__device__ inline uint64_t bits_of(int64_t value) { return static_cast<uint64_t>(value); }

__device__ inline int64_t c_divide(int64_t a, int64_t b) {
  return b == 0 ? 0 : b == -1 ? wrapped(0 - bits_of(a)) : a / b;
}
__device__ inline int64_t c_remainder(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
__device__ inline float c_remainder(float a, float b) { return ::fmodf(a, b); }
__device__ inline double c_remainder(double a, double b) { return ::fmod(a, b); }

__device__ inline int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 != 0 ? -1 : 1) : 0;
  uint64_t result = 1, square = bits_of(base);
  for (uint64_t e = bits_of(exponent); e != 0; e >>= 1, square *= square)
    if ((e & 1) != 0) result *= square;
  return wrapped(result);
}

/// The remainder with the divisor's sign, as Python's.
template <typename T>
__device__ T floor_remainder(T a, T b) {
  const T r = c_remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

template <typename T>
__device__ T floor_divide(T a, T b) {
  if constexpr (sizeof(T) == 8 && T(1) / T(2) == T(0)) {
    const T r = c_remainder(a, b), q = c_divide(a, b);
    return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
  } else {
    if (b == 0) return a / b;
    const T r = c_remainder(a, b);
    T quotient = (a - r) / b;
    if (r != 0 && (r < 0) != (b < 0)) quotient -= 1;
    if (quotient == 0) return kernels::copy_sign(T(0), a / b);
    const T whole = T(::floor(static_cast<double>(quotient)));
    return quotient - whole > T(0.5) ? whole + 1 : whole;
  }
}

// -- the functions: one per opcode, over T = float, double or int64_t -------------------------------------------------

template <kernels::Opcode opcode, typename T>
struct Apply;

#define PYCNN_UNARY(name, ...)                                           \
  template <typename T>                                                  \
  struct Apply<kernels::Opcode::name, T> {                               \
    __device__ static T of([[maybe_unused]] T a) { return __VA_ARGS__; } \
  };
#define PYCNN_BINARY(name, ...)                                                                \
  template <typename T>                                                                        \
  struct Apply<kernels::Opcode::name, T> {                                                     \
    __device__ static T of([[maybe_unused]] T a, [[maybe_unused]] T b) { return __VA_ARGS__; } \
  };
/// The same with a form of its own for integers.
#define PYCNN_UNARY_OR(name, integer, ...)                                       \
  PYCNN_UNARY(name, __VA_ARGS__)                                                 \
  template <>                                                                    \
  struct Apply<kernels::Opcode::name, int64_t> {                                 \
    __device__ static int64_t of([[maybe_unused]] int64_t a) { return integer; } \
  };
#define PYCNN_BINARY_OR(name, integer, ...)                                                                  \
  PYCNN_BINARY(name, __VA_ARGS__)                                                                            \
  template <>                                                                                                \
  struct Apply<kernels::Opcode::name, int64_t> {                                                             \
    __device__ static int64_t of([[maybe_unused]] int64_t a, [[maybe_unused]] int64_t b) { return integer; } \
  };
/// A function of the C library that integers do not have, in the precision of T.
#define PYCNN_LIBRARY(name, function)                                \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, float> {                       \
    __device__ static float of(float a) { return ::function##f(a); } \
  };                                                                 \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, double> {                      \
    __device__ static double of(double a) { return ::function(a); }  \
  };                                                                 \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, int64_t> {                     \
    __device__ static int64_t of(int64_t) { return 0; }              \
  };
/// The same of an integer: itself.
#define PYCNN_ROUNDING(name, function)                               \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, float> {                       \
    __device__ static float of(float a) { return ::function##f(a); } \
  };                                                                 \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, double> {                      \
    __device__ static double of(double a) { return ::function(a); }  \
  };                                                                 \
  template <>                                                        \
  struct Apply<kernels::Opcode::name, int64_t> {                     \
    __device__ static int64_t of(int64_t a) { return a; }            \
  };

PYCNN_BINARY_OR(Add, wrapped(bits_of(a) + bits_of(b)), a + b)
PYCNN_BINARY_OR(Subtract, wrapped(bits_of(a) - bits_of(b)), a - b)
PYCNN_BINARY_OR(Multiply, wrapped(bits_of(a) * bits_of(b)), a* b)
PYCNN_BINARY_OR(Divide, c_divide(a, b), a / b)
PYCNN_BINARY(FloorDivide, floor_divide(a, b))
PYCNN_BINARY_OR(TruncateDivide, c_divide(a, b), T(::trunc(static_cast<double>(a / b))))
PYCNN_BINARY(Remainder, floor_remainder(a, b))
PYCNN_BINARY(Fmod, c_remainder(a, b))
PYCNN_BINARY(Maximum, a > b || a != a ? a : b)
PYCNN_BINARY(Minimum, a < b || a != a ? a : b)
PYCNN_BINARY(Equal, a == b ? T(1) : T(0))
PYCNN_BINARY(NotEqual, a != b ? T(1) : T(0))
PYCNN_BINARY(Less, a < b ? T(1) : T(0))
PYCNN_BINARY(LessEqual, a <= b ? T(1) : T(0))
PYCNN_BINARY(LogicalAnd, a != 0 && b != 0 ? T(1) : T(0))
PYCNN_BINARY(LogicalOr, a != 0 || b != 0 ? T(1) : T(0))
PYCNN_BINARY(LogicalXor, (a != 0) != (b != 0) ? T(1) : T(0))
PYCNN_UNARY(LogicalNot, a == 0 ? T(1) : T(0))
PYCNN_BINARY_OR(BitAnd, a& b, T(0))
PYCNN_BINARY_OR(BitOr, a | b, T(0))
PYCNN_BINARY_OR(BitXor, a ^ b, T(0))
PYCNN_UNARY_OR(BitNot, ~a, T(0))
PYCNN_BINARY_OR(ShiftLeft, b<0 || b> 63 ? 0 : wrapped(bits_of(a) << b), T(0))
PYCNN_BINARY_OR(ShiftRight, a >> (b < 0 || b > 63 ? 63 : b), T(0))
PYCNN_UNARY_OR(Negate, wrapped(0 - bits_of(a)), -a)
PYCNN_UNARY(Sign, a > 0 ? T(1) : a < 0 ? T(-1) : T(0))
PYCNN_UNARY_OR(Square, wrapped(bits_of(a) * bits_of(a)), a* a)
PYCNN_UNARY_OR(Reciprocal, c_divide(1, a), T(1) / a)
PYCNN_UNARY(IsNan, a != a ? T(1) : T(0))
PYCNN_UNARY_OR(IsInf, 0, a == T(INFINITY) || a == T(-INFINITY) ? T(1) : T(0))
PYCNN_UNARY_OR(Absolute, a < 0 ? wrapped(0 - bits_of(a)) : a, kernels::copy_sign(a, T(1)))
PYCNN_UNARY_OR(Sigmoid, 0, T(1) / (T(1) + Apply<kernels::Opcode::Exp, T>::of(-a)))
PYCNN_UNARY_OR(ErfInverse, 0, T(kernels::erf_inverse(static_cast<double>(a))))
PYCNN_UNARY_OR(LogGamma, 0, T(kernels::log_gamma(static_cast<double>(a))))
PYCNN_UNARY_OR(Digamma, 0, T(kernels::digamma(static_cast<double>(a))))
PYCNN_BINARY_OR(Zeta, 0, T(kernels::zeta(static_cast<double>(a), static_cast<double>(b))))
PYCNN_BINARY_OR(CopySign, 0, kernels::copy_sign(a, b))
PYCNN_BINARY_OR(NextAfter, 0, kernels::next_after(a, b))
PYCNN_BINARY_OR(Hypotenuse, 0, kernels::hypotenuse(a, b))
PYCNN_BINARY_OR(Power, integer_power(a, b), T(::pow(static_cast<double>(a), static_cast<double>(b))))
PYCNN_BINARY_OR(Atan2, 0, T(::atan2(static_cast<double>(a), static_cast<double>(b))))
PYCNN_LIBRARY(Sqrt, sqrt)
PYCNN_LIBRARY(Exp, exp)
PYCNN_LIBRARY(Expm1, expm1)
PYCNN_LIBRARY(Log, log)
PYCNN_LIBRARY(Log1p, log1p)
PYCNN_LIBRARY(Log2, log2)
PYCNN_LIBRARY(Log10, log10)
PYCNN_LIBRARY(Sin, sin)
PYCNN_LIBRARY(Cos, cos)
PYCNN_LIBRARY(Tan, tan)
PYCNN_LIBRARY(Asin, asin)
PYCNN_LIBRARY(Acos, acos)
PYCNN_LIBRARY(Atan, atan)
PYCNN_LIBRARY(Sinh, sinh)
PYCNN_LIBRARY(Cosh, cosh)
PYCNN_LIBRARY(Tanh, tanh)
PYCNN_LIBRARY(Erf, erf)
PYCNN_LIBRARY(Erfc, erfc)
PYCNN_LIBRARY(Asinh, asinh)
PYCNN_LIBRARY(Acosh, acosh)
PYCNN_LIBRARY(Atanh, atanh)
PYCNN_ROUNDING(Floor, floor)
PYCNN_ROUNDING(Ceil, ceil)
PYCNN_ROUNDING(Round, rint)
PYCNN_ROUNDING(Truncate, trunc)

template <typename T>
struct Apply<kernels::Opcode::MultiplyAdd, T> {
  __device__ static T of(T a, T b, T c) {
    if constexpr (T(1) / T(2) == T(0))
      return wrapped(bits_of(a) * bits_of(b) + bits_of(c));
    else if constexpr (sizeof(T) == 4)
      return ::fmaf(a, b, c);
    else
      return ::fma(a, b, c);
  }
};
template <typename T>
struct Apply<kernels::Opcode::Select, T> {
  __device__ static T of(T a, T b, T c) { return a != 0 ? b : c; }
};
template <typename T>
struct Apply<kernels::Opcode::GreatestCommonDivisor, T> {
  __device__ static T of(T a, T b) {
    while (b != 0) {
      const T r = c_remainder(a, b);
      a = b;
      b = r;
    }
    return Apply<kernels::Opcode::Absolute, T>::of(a);
  }
};

#undef PYCNN_UNARY
#undef PYCNN_BINARY
#undef PYCNN_UNARY_OR
#undef PYCNN_BINARY_OR
#undef PYCNN_LIBRARY
#undef PYCNN_ROUNDING

}  // namespace pycnn::cuda
