// Parts of logarithms, sines and cosines in double, straight-line and without fused operations: the same bits on every
// device and at every level, which random numbers need. Of internal linkage, as convert.h.
#pragma once

#include <cstdint>

#include "kernels/convert.h"

namespace pycnn::kernels {

inline constexpr double ln2 = 0x1.62e42fefa39efp-1;
/// Added to a small double it rounds it to an integer, which then stands in the low bits.
inline constexpr double round_to_integer = 0x1.8p52;

/// u = 2^exponent · m with m in [√½, √2); returns log(m). For positive normal u.
PYCNN_HOST_DEVICE static inline double log_parts(double u, double& exponent) {
  const uint64_t bits = __builtin_bit_cast(uint64_t, u);
  const uint64_t biased = (bits + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu)) >> 52;
  exponent = __builtin_bit_cast(double, biased | 0x4330000000000000u) - (0x1p52 + 1023.0);
  const double f = __builtin_bit_cast(double, bits - (biased << 52) + 0x3ff0000000000000u) - 1.0;
  const double s = f / (2.0 + f);  // log(m) = 2 artanh(s)
  const double z = s * s;
  double p = 2.0 / 13;
  p = p * z + 2.0 / 11;
  p = p * z + 2.0 / 9;
  p = p * z + 2.0 / 7;
  p = p * z + 2.0 / 5;
  p = p * z + 2.0 / 3;
  return p * z * s + 2.0 * s;
}

PYCNN_HOST_DEVICE static inline double sine_polynomial(double r) {
  const double z = r * r;
  double p = -1.0 / 39916800;
  p = p * z + 1.0 / 362880;
  p = p * z - 1.0 / 5040;
  p = p * z + 1.0 / 120;
  p = p * z - 1.0 / 6;
  return p * z * r + r;
}

PYCNN_HOST_DEVICE static inline double cosine_polynomial(double r) {
  const double z = r * r;
  double p = 1.0 / 479001600;
  p = p * z - 1.0 / 3628800;
  p = p * z + 1.0 / 40320;
  p = p * z - 1.0 / 720;
  p = p * z + 1.0 / 24;
  p = p * z - 0.5;
  return p * z + 1.0;
}

}  // namespace pycnn::kernels
