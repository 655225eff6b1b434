// Elementary functions of float, computed in double and rounded once: within 0.52 ulp, special values included.
// Straight-line code: loops of them vectorise. Exponentials and erf use fused multiplications and additions where the
// level has them; the others, of which random numbers are made, give the same bits at every level.
#pragma once

#include <cstdint>

#include "kernels/elementary_math.h"

#ifndef PYCNN_ISA
#error "this header belongs to code that is built per instruction set"
#endif

namespace pycnn::cpu::PYCNN_ISA {

using kernels::cosine_polynomial;
using kernels::ln2;
using kernels::log_parts;
using kernels::round_to_integer;
using kernels::sine_polynomial;

inline constexpr double ln2_high = 0x1.62e42feep-1;  // 32 bits: exact when multiplied by an exponent
inline constexpr double ln2_low = 0x1.a39ef35793c76p-33;
inline constexpr double log2_e = 0x1.71547652b82fep+0;
inline constexpr double log10_2 = 0x1.34413509f79ffp-2;
inline constexpr double log10_e = 0x1.bcb7b1526e50ep-2;

/// a·b + c, with one rounding where the level has the instruction.
static inline double fused(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

/// exp(x) = scale + scale · fraction, with scale a power of two and |fraction| < 0.42; keeps NaN.
static inline double exp_parts(double x, double& scale) {
  x = x > 700.0 ? 700.0 : x;
  x = x < -700.0 ? -700.0 : x;
  const double shifted = fused(x, log2_e, round_to_integer);
  const double n = shifted - round_to_integer;
  const double r = fused(-n, ln2_low, fused(-n, ln2_high, x));
  scale = __builtin_bit_cast(double, (__builtin_bit_cast(uint64_t, shifted) + 1023u) << 52);
  double p = 1.0 / 40320;
  p = fused(p, r, 1.0 / 5040);
  p = fused(p, r, 1.0 / 720);
  p = fused(p, r, 1.0 / 120);
  p = fused(p, r, 1.0 / 24);
  p = fused(p, r, 1.0 / 6);
  p = fused(p, r, 0.5);
  return fused(p * r, r, r);
}

static inline double exp_of(double x) {
  double scale;
  const double fraction = exp_parts(x, scale);
  return fused(scale, fraction, scale);
}

static inline double expm1_of(double x) {
  double scale;
  const double fraction = exp_parts(x, scale);
  return fused(scale, fraction, scale - 1.0);
}

static inline float exp32(float x) { return static_cast<float>(exp_of(x)); }

static inline float expm132(float x) {
  const float y = static_cast<float>(expm1_of(x));
  return x == 0.0f ? x : y;
}

/// The value of a logarithm where its argument is no positive number.
static inline float log_special(float argument, float y) {
  y = argument < __builtin_inff() ? y : argument;  // inf and NaN stay
  y = argument == 0.0f ? -__builtin_inff() : y;
  return argument < 0.0f ? __builtin_nanf("") : y;
}

static inline float log32(float x) {
  double exponent;
  const double log_m = log_parts(x, exponent);
  return log_special(x, static_cast<float>(exponent * ln2 + log_m));
}

static inline float log232(float x) {
  double exponent;
  const double log_m = log_parts(x, exponent);
  return log_special(x, static_cast<float>(exponent + log_m * log2_e));
}

static inline float log1032(float x) {
  double exponent;
  const double log_m = log_parts(x, exponent);
  return log_special(x, static_cast<float>(exponent * log10_2 + log_m * log10_e));
}

static inline float log1p32(float x) {
  const double wide = x;
  const double u = 1.0 + wide;
  const double lost = (wide - (u - 1.0)) / u;
  double exponent;
  const double log_m = log_parts(u, exponent);
  const float y = log_special(static_cast<float>(u), static_cast<float>(exponent * ln2 + log_m + lost));
  return x == 0.0f ? x : y;
}

static inline float tanh32(float x) {
  const double t = expm1_of(2.0 * static_cast<double>(__builtin_fabsf(x)));
  return __builtin_copysignf(static_cast<float>(t / (t + 2.0)), x);
}

static inline float sinh32(float x) {
  const double t = expm1_of(static_cast<double>(__builtin_fabsf(x)));
  return __builtin_copysignf(static_cast<float>(0.5 * (t + t / (t + 1.0))), x);
}

static inline float cosh32(float x) {
  const double e = exp_of(static_cast<double>(__builtin_fabsf(x)));
  return static_cast<float>(0.5 * (e + 1.0 / e));
}

static inline float sigmoid32(float x) { return static_cast<float>(1.0 / (1.0 + exp_of(-static_cast<double>(x)))); }

/// 1 - exp(a q(a)) with q(a) = log(erfc(a)) / a, a polynomial fitted to 2^-31 of erf on [0, 4]; beyond that erf is 1.
static inline float erf32(float x) {
  double a = static_cast<double>(__builtin_fabsf(x));
  a = a > 4.0 ? 4.0 : a;
  double q = -9.23420799363699e-08;
  q = fused(q, a, -1.643976189180519e-07);
  q = fused(q, a, 1.660317103551369e-05);
  q = fused(q, a, -0.00015565107482449402);
  q = fused(q, a, 0.0007233804183099659);
  q = fused(q, a, -0.001784147999593305);
  q = fused(q, a, 0.00024518398152431793);
  q = fused(q, a, 0.019119958914371314);
  q = fused(q, a, -0.10277159541510837);
  q = fused(q, a, -0.6366198179248352);
  q = fused(q, a, -1.1283791667651986);
  return __builtin_copysignf(static_cast<float>(-expm1_of(q * a)), x);
}

/// Beyond this the three-part π/2 no longer suffices; such arguments (and NaN) go to the C library one by one.
inline constexpr float trigonometric_limit = 1e6f;

/// x = n·π/2 + r with |r| ≤ π/4; quadrant is n modulo 4 in its low two bits.
static inline double reduce_quadrant(float x, uint64_t& quadrant) {
  const double wide = x;
  const double shifted = wide * 0x1.45f306dc9c883p-1 + round_to_integer;
  const double n = shifted - round_to_integer;
  quadrant = __builtin_bit_cast(uint64_t, shifted);
  return ((wide - n * 0x1.921fb544p+0) - n * 0x1.0b4611a6p-34) - n * 0x1.3198a2e037073p-69;
}

/// sin(x + shift·π/2) for |x| ≤ trigonometric_limit.
static inline float shifted_sine(float x, uint64_t shift) {
  uint64_t quadrant;
  const double r = reduce_quadrant(x, quadrant);
  quadrant += shift;
  const double sine = sine_polynomial(r);
  const double cosine = cosine_polynomial(r);
  const double value = (quadrant & 1u) != 0 ? cosine : sine;
  return static_cast<float>((quadrant & 2u) != 0 ? -value : value);
}

static inline float sin32(float x) { return shifted_sine(x, 0); }
static inline float cos32(float x) { return shifted_sine(x, 1); }

static inline float tan32(float x) {
  uint64_t quadrant;
  const double r = reduce_quadrant(x, quadrant);
  const double sine = sine_polynomial(r);
  const double cosine = cosine_polynomial(r);
  const double numerator = (quadrant & 1u) != 0 ? -cosine : sine;
  const double denominator = (quadrant & 1u) != 0 ? sine : cosine;
  return static_cast<float>(numerator / denominator);
}

/// x^y with the special values of C's pow.
static inline float pow32(float x, float y) {
  const float magnitude = __builtin_fabsf(x);
  double exponent;
  const double log_m = log_parts(magnitude, exponent);
  double log_x = exponent * ln2 + log_m;
  log_x = magnitude == 0.0f ? -__builtin_inf() : log_x;
  log_x = magnitude < __builtin_inff() ? log_x : static_cast<double>(magnitude);
  const double product = static_cast<double>(y) * log_x;
  float result = static_cast<float>(exp_of(product));
  // Conditions are numbers: branches would keep loops from being vectorised.
  result = (magnitude == 1.0f) & (y == y) ? 1.0f : result;
  const float y_magnitude = __builtin_fabsf(y);
  // From 2^24 on every float is an even integer.
  const float small_y = y_magnitude < 0x1p24f ? y : 0.0f;
  const int32_t whole = static_cast<int32_t>(small_y);
  const int is_integer = static_cast<int>(y_magnitude >= 0x1p24f) | static_cast<int>(static_cast<float>(whole) == y);
  const uint32_t negative_odd = (__builtin_bit_cast(uint32_t, x) >> 31) & static_cast<uint32_t>(whole & is_integer);
  result = __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, result) ^ (negative_odd << 31));
  result = (static_cast<int>(x < 0.0f) & static_cast<int>(magnitude < __builtin_inff()) & (1 - is_integer)) != 0
               ? __builtin_nanf("")
               : result;
  return (y == 0.0f) | (x == 1.0f) ? 1.0f : result;
}

}  // namespace pycnn::cpu::PYCNN_ISA
