// Vectors to compute in, read from and written to memory of the same or another type, also in part: what pooling along
// channels is made of. bfloat16 is widened as it is read and rounded as it is written.
#pragma once

#include "cpu/isa/bfloat16_vectors.h"

namespace pycnn::cpu::PYCNN_ISA {

/// `Count` elements of memory as a vector V.
template <typename V, int Count, typename M>
PYCNN_INLINE V converted(const M* from) {
#if defined(__AVX512F__)
  if constexpr (Count == 16 && __is_same(M, uint8_t))
    return reinterpret_cast<V>(
        _mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
  else
#elif defined(__AVX2__)
  if constexpr (Count == 8 && __is_same(M, uint8_t))
    return reinterpret_cast<V>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
  else
#elif defined(__aarch64__)
  if constexpr (Count == 4 && __is_same(M, uint8_t)) {
    uint32_t bytes;
    __builtin_memcpy(&bytes, from, sizeof bytes);
    return reinterpret_cast<V>(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes))))));
  } else
#endif
    return __builtin_convertvector(*reinterpret_cast<const typename Packed<M, Count>::Type*>(from), V);
}
template <typename V, int Count>
PYCNN_INLINE V converted(const BFloat16* from) {
  const auto bits = zero_extended<Count>(from) << 16;
  return __builtin_convertvector(reinterpret_cast<typename Several<float, Count>::Type>(bits), V);
}

/// The opposite; rounds to nearest, ties to even.
template <int Count, typename M, typename V>
PYCNN_INLINE void convert(M* to, V values) {
#if defined(__AVX512F__)
  if constexpr (Count == 16 && __is_same(M, uint8_t))
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_maskz_cvtepi32_epi8(0xffff, reinterpret_cast<__m512i>(values)));
  else
#elif defined(__AVX2__)
  if constexpr (Count == 8 && __is_same(M, uint8_t)) {
    const __m256i wide = reinterpret_cast<__m256i>(values);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  } else
#elif defined(__aarch64__)
  if constexpr (Count == 4 && __is_same(M, uint8_t)) {
    const uint16x4_t words = vmovn_u32(reinterpret_cast<uint32x4_t>(values));
    const uint32_t bytes = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(words, words))), 0);
    __builtin_memcpy(to, &bytes, sizeof bytes);
  } else
#endif
  {
    using Memory = typename Packed<M, Count>::Type;
    *reinterpret_cast<Memory*>(to) = __builtin_convertvector(values, Memory);
  }
}
template <int Count, typename V>
PYCNN_INLINE void convert(BFloat16* to, V values) {
  using Words = typename Several<uint32_t, Count>::Type;
  const auto narrow = __builtin_convertvector(values, typename Several<float, Count>::Type);
  store_halves<Count>(to, rounded_bits(reinterpret_cast<Words>(narrow)) >> 16);
}

/// Elements [0, count) of memory as lanes; with Whole a whole vector may be read (and written, below).
template <typename V, int Count, bool Whole, typename M>
PYCNN_INLINE V take(const M* from, int count) {
  if constexpr (Whole) return converted<V, Count>(from);
  M buffer[Count] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return converted<V, Count>(static_cast<const M*>(buffer));
}
template <int Count, bool Whole, typename M, typename V>
PYCNN_INLINE void put(M* to, V values, int count) {
  if constexpr (Whole) return convert<Count>(to, values);
  M buffer[Count];
  convert<Count>(static_cast<M*>(buffer), values);
  for (int i = 0; i < count; ++i) to[i] = buffer[i];
}

}  // namespace pycnn::cpu::PYCNN_ISA
