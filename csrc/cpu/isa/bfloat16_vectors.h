// bfloat16 in vector registers: widened to float32, or pairs as they lie in a panel.
#pragma once

#include <cstddef>

#include "cpu/isa/simd.h"
#include "pycnn/dtype.h"

namespace pycnn::cpu::PYCNN_ISA {

/// What elements of memory are computed in.
template <typename S>
struct ComputeOf {
  using Type = S;
};
template <>
struct ComputeOf<BFloat16> {
  using Type = float;
};
template <typename S>
using Compute = typename ComputeOf<S>::Type;

typedef uint32_t BFloatPairs __attribute__((vector_size(vector_bytes)));

/// `Count` elements in registers.
template <typename T, int Count>
struct Several {
  typedef T Type __attribute__((vector_size(sizeof(T) * Count)));
};
/// A vector of `Count` elements of M, wherever it lies.
template <typename M, int Count>
struct Packed {
  typedef M Type __attribute__((vector_size(sizeof(M) * Count), aligned(sizeof(M)), may_alias));
};

// GCC 12 halves vectors, or takes them apart, where the size of elements changes, hence the intrinsics (masked ones, or
// it warns of uninitialised values).

/// 16 bits of memory each, in the lower halves of lanes.
template <int Count>
PYCNN_INLINE typename Several<uint32_t, Count>::Type zero_extended(const BFloat16* from) {
#if defined(__AVX512F__)
  if constexpr (Count == 16)
    return reinterpret_cast<typename Several<uint32_t, Count>::Type>(
        _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
#endif
#if defined(__AVX2__)
  if constexpr (Count == 8)
    return reinterpret_cast<typename Several<uint32_t, Count>::Type>(
        _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#endif
  return __builtin_convertvector(*reinterpret_cast<const typename Packed<uint16_t, Count>::Type*>(from),
                                 typename Several<uint32_t, Count>::Type);
}
/// The lower halves of lanes, the upper ones being 0.
template <int Count>
PYCNN_INLINE void store_halves(BFloat16* to, typename Several<uint32_t, Count>::Type words) {
#if defined(__AVX512F__)
  if constexpr (Count == 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(words)));
    return;
  }
#endif
#if defined(__AVX2__)
  if constexpr (Count == 8) {
    const __m256i wide = reinterpret_cast<__m256i>(words);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
    return;
  }
#endif
  using Memory = typename Packed<uint16_t, Count>::Type;
  *reinterpret_cast<Memory*>(to) = __builtin_convertvector(words, Memory);
}

/// The bits of float32 values rounded to bfloat16, to nearest, ties to even, in the upper halves of lanes; what the
/// lower ones hold does not matter.
template <typename Words>
PYCNN_INLINE Words rounded_bits(Words bits) {
  const Words rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
#if defined(__AVX512F__)
  if constexpr (sizeof bits == sizeof(__m512i)) {
    const __m512i nans_become_quiet = _mm512_set1_epi32(0x22);
    return reinterpret_cast<Words>(
        _mm512_fixupimm_ps(reinterpret_cast<__m512>(rounded), reinterpret_cast<__m512>(bits), nans_become_quiet, 0));
  }
#endif
  const Words quiet_nan = bits | 0x400000u;
  return (bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded;
}

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

/// One vector of float32 from as many adjacent elements.
PYCNN_INLINE Vector<float> load(const BFloat16* p) {
  return reinterpret_cast<Vector<float>>(zero_extended<lanes<float>>(p) << 16);
}
PYCNN_INLINE Vector<float> load(const BFloat16* p, const Mask<float>& mask) {
#if defined(__AVX512F__)
  const __m256i bits = _mm256_maskz_loadu_epi16(mask.bits, p);
  return reinterpret_cast<Vector<float>>(reinterpret_cast<BFloatPairs>(_mm512_maskz_cvtepu16_epi32(0xffff, bits))
                                         << 16);
#else
  BFloat16 elements[lanes<float>] = {};
  for (int i = 0; i < mask.count; ++i) elements[i] = p[i];
  return load(static_cast<const BFloat16*>(elements));
#endif
}

/// One element in the type it is computed in.
PYCNN_INLINE float element(BFloat16 value) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(value.bits) << 16);
}
PYCNN_INLINE float element(float value) { return value; }
PYCNN_INLINE double element(double value) { return value; }
/// The opposite: bfloat16 rounds to nearest, ties to even.
PYCNN_INLINE void round_to(float value, BFloat16& to) {
  to.bits = static_cast<uint16_t>(rounded_bits(__builtin_bit_cast(uint32_t, value)) >> 16);
}
PYCNN_INLINE void round_to(float value, float& to) { to = value; }
PYCNN_INLINE void round_to(double value, double& to) { to = value; }

/// Rounded to nearest, ties to even.
PYCNN_INLINE void store(BFloat16* p, Vector<float> values) {
  store_halves<lanes<float>>(p, rounded_bits(reinterpret_cast<BFloatPairs>(values)) >> 16);
}
PYCNN_INLINE void store(BFloat16* p, Vector<float> values, const Mask<float>& mask) {
#if defined(__AVX512F__)
  const BFloatPairs words = rounded_bits(reinterpret_cast<BFloatPairs>(values)) >> 16;
  _mm512_mask_cvtepi32_storeu_epi16(p, mask.bits, reinterpret_cast<__m512i>(words));
#else
  BFloat16 elements[lanes<float>];
  store(static_cast<BFloat16*>(elements), values);
  for (int i = 0; i < mask.count; ++i) p[i] = elements[i];
#endif
}
/// Two adjacent vectors past the caches, as stream() for float32.
PYCNN_INLINE void stream(BFloat16* p, Vector<float> first, Vector<float> second) {
#if defined(__AVX512F__)
  const auto stream_half = [](BFloat16 * to, Vector<float> values) __attribute__((always_inline)) {
    const BFloatPairs words = rounded_bits(reinterpret_cast<BFloatPairs>(values)) >> 16;
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to),
                        _mm512_maskz_cvtepi32_epi16(0xffff, reinterpret_cast<__m512i>(words)));
  };
  stream_half(p, first);
  stream_half(p + lanes<float>, second);
#elif defined(__AVX2__)
  const auto words = [](Vector<float> values) __attribute__((always_inline)) {
    return reinterpret_cast<__m256i>(rounded_bits(reinterpret_cast<BFloatPairs>(values)) >> 16);
  };
  const __m256i packed = _mm256_packus_epi32(words(first), words(second));
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
#else
  store(p, first);
  store(p + lanes<float>, second);
#endif
}
/// The first `count` lanes.
PYCNN_INLINE void store_rounded(Vector<float> values, BFloat16* to, int count) {
  if (count == lanes<float>)
    store(to, values);
  else
    store(to, values, Mask<float>(count));
}
#if defined(__AVX512F__)
/// Two vectors rounded to bfloat16, one behind the other, by an instruction (AVX512_BF16) that not every processor of
/// this level has, and that takes denormal numbers for zeros.
PYCNN_INLINE __m512i rounded_halves(Vector<float> low, Vector<float> high) {
  __m512i halves;
  __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(halves) : "v"(low), "v"(high));
  return halves;
}
#endif
/// As it would be after a store and a load.
PYCNN_INLINE Vector<float> rounded(Vector<float> values) {
  return reinterpret_cast<Vector<float>>(rounded_bits(reinterpret_cast<BFloatPairs>(values)) & 0xffff0000u);
}

/// to[i] = from[i] for i < n
static inline void widen_row(const BFloat16* from, int64_t n, float* to) {
  constexpr int64_t step = lanes<float>, ahead = 1024;
  int64_t i = 0;
  for (; i + 2 * step <= n; i += 2 * step) {
    // Work in short rows hides from hardware prefetchers that they lie one behind the other.
    __builtin_prefetch(from + i + ahead, 0, 3);
    store(to + i, load(from + i));
    store(to + i + step, load(from + i + step));
  }
  for (; i < n; i += step) {
    const Mask<float> mask(static_cast<int>(n - i < step ? n - i : step));
    store(to + i, load(from + i, mask), mask);
  }
}
static inline void narrow_row(const float* from, int64_t n, BFloat16* to) {
  constexpr int64_t step = lanes<float>;
  int64_t i = 0;
  for (; i + step <= n; i += step) store(to + i, load(from + i));
  if (i < n) {
    const Mask<float> mask(static_cast<int>(n - i));
    store(to + i, load(from + i, mask), mask);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
