// Interleaving a few vectors, as of planes into pixels.
#pragma once

#include "cpu/isa/transpose.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Lanes of the interleaved vector `Part` that come from row K or K + 1, on top of those from the rows before.
template <typename T, int Results, int Part, int K, int... Is>
PYCNN_INLINE Vector<T> interleave(const Vector<T>* rows, Vector<T> before, LaneList<Is...> list) {
  if constexpr (K >= Results) {
    return before;
  } else {
    constexpr int second = K + 1 < Results ? K + 1 : K, step = static_cast<int>(lanes<T>), first = Part * step;
    const Vector<T> pair = __builtin_shufflevector(
        rows[K], rows[second], ((first + Is) / Results + ((first + Is) % Results == K + 1 ? step : 0))...);
    const Vector<T> joined =
        K == 0 ? pair
               : __builtin_shufflevector(before, pair, ((first + Is) % Results / 2 == K / 2 ? step + Is : Is)...);
    return interleave<T, Results, Part, K + 2>(rows, joined, list);
  }
}

template <int First, int... Is>
PYCNN_INLINE Vector<float> every_second(Vector<float> low, Vector<float> high, LaneList<Is...>) {
  return __builtin_shufflevector(low, high, (2 * Is + First)...);
}
/// Elements First, First + 2, … of two vectors.
template <int First>
PYCNN_INLINE Vector<float> every_second(Vector<float> low, Vector<float> high) {
  return every_second<First>(low, high, typename MakeLaneList<lanes<float>>::Type{});
}

/// to[lane·Results + r] = rows[r][lane]. Where two vectors are permuted by one instruction, that takes less than a
/// transposition.
template <typename T, int Results, int Part, typename M>
PYCNN_INLINE void store_interleaved(M* to, const Vector<T>* rows) {
  if constexpr (Part < Results) {
    store(to + Part * lanes<T>,
          interleave<T, Results, Part, 0>(rows, Vector<T>{}, typename MakeLaneList<lanes<T>>::Type{}));
    store_interleaved<T, Results, Part + 1>(to, rows);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
