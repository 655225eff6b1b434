// bfloat16 in vector registers: widened to float32, or pairs as they lie in a panel.
#pragma once

#include <cstddef>

#include "cpu/isa/simd.h"
#include "pycnn/dtype.h"

namespace pycnn::cpu::PYCNN_ISA {

typedef uint32_t BFloatPairs __attribute__((vector_size(vector_bytes)));
typedef uint16_t BFloatLanes __attribute__((vector_size(vector_bytes / 2)));
typedef uint16_t UnalignedBFloatLanes __attribute__((vector_size(vector_bytes / 2), aligned(2), may_alias));

/// The first, or the second, of each pair.
PYCNN_INLINE Vector<float> even_of(Vector<float> pairs) {
  return reinterpret_cast<Vector<float>>(reinterpret_cast<BFloatPairs>(pairs) << 16);
}
PYCNN_INLINE Vector<float> odd_of(Vector<float> pairs) {
  return reinterpret_cast<Vector<float>>(reinterpret_cast<BFloatPairs>(pairs) & 0xffff0000u);
}
/// Pairs of values that bfloat16 represents.
PYCNN_INLINE Vector<float> pairs_of(Vector<float> even, Vector<float> odd) {
  return reinterpret_cast<Vector<float>>((reinterpret_cast<BFloatPairs>(even) >> 16) |
                                         reinterpret_cast<BFloatPairs>(odd));
}

PYCNN_INLINE Vector<float> widened(BFloatLanes lanes_of_bits) {
  return reinterpret_cast<Vector<float>>(__builtin_convertvector(lanes_of_bits, BFloatPairs) << 16);
}
/// One vector of float32 from as many adjacent elements.
PYCNN_INLINE Vector<float> load(const BFloat16* p) {
  return widened(*reinterpret_cast<const UnalignedBFloatLanes*>(p));
}
PYCNN_INLINE Vector<float> load(const BFloat16* p, const Mask<float>& mask) {
#if defined(__AVX512F__)
  return widened(reinterpret_cast<BFloatLanes>(_mm256_maskz_loadu_epi16(mask.bits, p)));
#elif defined(__AVX2__)
  BFloatLanes bits{};
  for (int i = 0; i < lanes<float>; ++i)
    if (mask.lane[i] != 0) bits[i] = p[i].bits;
  return widened(bits);
#else
  BFloatLanes bits{};
  for (int i = 0; i < mask.count; ++i) bits[i] = p[i].bits;
  return widened(bits);
#endif
}

/// One element in the type it is computed in.
PYCNN_INLINE float element(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}
PYCNN_INLINE float element(float value) { return value; }
PYCNN_INLINE double element(double value) { return value; }

/// The first `count` lanes, rounded to nearest, ties to even.
PYCNN_INLINE void store_rounded(Vector<float> values, BFloat16* to, int count) {
  const BFloatPairs bits = reinterpret_cast<BFloatPairs>(values);
  const BFloatPairs rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, quiet_nan = (bits >> 16) | 0x40u;
  const BFloatPairs result = (bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded;
  const BFloatLanes narrow = __builtin_convertvector(result, BFloatLanes);
  if (count == lanes<float>)
    *reinterpret_cast<UnalignedBFloatLanes*>(to) = narrow;
  else
    __builtin_memcpy(to, &narrow, static_cast<size_t>(count) * sizeof *to);
}

}  // namespace pycnn::cpu::PYCNN_ISA
