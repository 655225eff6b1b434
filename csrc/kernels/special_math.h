// Special functions that the C library lacks, in double, one element at a time.
#pragma once

#include <math.h>

#include "kernels/convert.h"

namespace pycnn::kernels {

PYCNN_HOST_DEVICE static inline double log_gamma(double x) {
#ifdef __CUDA_ARCH__
  return ::lgamma(x);
#else
  int sign = 0;
  return ::lgamma_r(x, &sign);  // lgamma() would write to a global
#endif
}

/// Abramowitz & Stegun 6.3: recurrence to x ≥ 10, the asymptotic series there, reflection for x < 0.
PYCNN_HOST_DEVICE static inline double digamma(double x) {
  constexpr double pi = 3.14159265358979323846;
  if (x == 0) return ::copysign(INFINITY, -x);
  if (x == -INFINITY) return NAN;
  double result = 0;
  if (x < 0) {
    const double fraction = x - ::trunc(x);
    if (fraction == 0) return NAN;
    result = -pi / ::tan(pi * fraction);
    x = 1 - x;
  }
  for (; x < 10; x += 1) result -= 1 / x;
  if (x > 1e17) return result + ::log(x);
  const double z = 1 / (x * x);
  double series = 1.0 / 12;
  series = 691.0 / 32760 - z * series;
  series = 1.0 / 132 - z * series;
  series = 1.0 / 240 - z * series;
  series = 1.0 / 252 - z * series;
  series = 1.0 / 120 - z * series;
  series = 1.0 / 12 - z * series;
  return result + ::log(x) - 0.5 / x - z * series;
}

/// Hurwitz's Σ (q + k)^-s by Euler and Maclaurin: terms up to q + k ≥ 10, then Bernoulli's numbers.
PYCNN_HOST_DEVICE static inline double zeta(double s, double q) {
  if (s == 1) return INFINITY;
  if (s < 1 || s != s || q != q) return NAN;
  if (q <= 0) {
    if (q == ::floor(q)) return INFINITY;
    if (s != ::floor(s)) return NAN;
  }
  double sum = 0;
  for (; q < 10; q += 1) sum += ::pow(q, -s);
  // B_2j / (2j)!
  constexpr double coefficients[] = {1.0 / 12,
                                     -1.0 / 720,
                                     1.0 / 30240,
                                     -1.0 / 1209600,
                                     1.0 / 47900160,
                                     -691.0 / 1307674368000.0,
                                     1.0 / 74724249600.0,
                                     -3617.0 / 10670622842880000.0};
  const double power = ::pow(q, -s);
  sum += power * q / (s - 1) + 0.5 * power;
  double term = power * s / q;
  double factor = s;
  for (double coefficient : coefficients) {
    sum += coefficient * term;
    term *= (factor + 1) * (factor + 2) / (q * q);
    factor += 2;
  }
  return sum;
}

/// Giles (2010) to seven digits, then twice Halley's step on the nearer of erf and erfc.
PYCNN_HOST_DEVICE static inline double erf_inverse(double y) {
  const double size = ::fabs(y);
  if (!(size <= 1)) return NAN;
  if (size == 1) return ::copysign(INFINITY, y);
  double w = -::log((1 - size) * (1 + size));
  double p;
  if (w < 5) {
    w -= 2.5;
    p = 2.81022636e-08;
    p = 3.43273939e-07 + p * w;
    p = -3.5233877e-06 + p * w;
    p = -4.39150654e-06 + p * w;
    p = 0.00021858087 + p * w;
    p = -0.00125372503 + p * w;
    p = -0.00417768164 + p * w;
    p = 0.246640727 + p * w;
    p = 1.50140941 + p * w;
  } else {
    w = ::sqrt(w) - 3;
    p = -0.000200214257;
    p = 0.000100950558 + p * w;
    p = 0.00134934322 + p * w;
    p = -0.00367342844 + p * w;
    p = 0.00573950773 + p * w;
    p = -0.0076224613 + p * w;
    p = 0.00943887047 + p * w;
    p = 1.00167406 + p * w;
    p = 2.83297682 + p * w;
  }
  double x = p * size;
  constexpr double two_over_sqrt_pi = 1.12837916709551257390;
  for (int round = 0; round < 2; ++round) {
    const double error = size < 0.5 ? ::erf(x) - size : (1 - size) - ::erfc(x);
    const double step = error / (two_over_sqrt_pi * ::exp(-x * x));
    x -= step / (1 + x * step);
  }
  return ::copysign(x, y);
}

PYCNN_HOST_DEVICE static inline float copy_sign(float a, float b) { return ::copysignf(a, b); }
PYCNN_HOST_DEVICE static inline double copy_sign(double a, double b) { return ::copysign(a, b); }
PYCNN_HOST_DEVICE static inline float next_after(float a, float b) { return ::nextafterf(a, b); }
PYCNN_HOST_DEVICE static inline double next_after(double a, double b) { return ::nextafter(a, b); }
PYCNN_HOST_DEVICE static inline float hypotenuse(float a, float b) { return ::hypotf(a, b); }
PYCNN_HOST_DEVICE static inline double hypotenuse(double a, double b) { return ::hypot(a, b); }

}  // namespace pycnn::kernels
