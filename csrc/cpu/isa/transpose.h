// Transposition of square tiles in registers.
#pragma once

#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {

template <int... Is>
struct LaneList {};
template <int N, int... Is>
struct MakeLaneList : MakeLaneList<N - 1, N - 1, Is...> {};
template <int... Is>
struct MakeLaneList<0, Is...> {
  using Type = LaneList<Is...>;
};

/// Exchanges the upper right and the lower left quarter of every square of 2·Distance rows and lanes.
template <int Distance, typename V, int... Is>
PYCNN_INLINE void exchange_quarters(V& upper, V& lower, LaneList<Is...>) {
  constexpr int n = sizeof...(Is);
  const V a = upper, b = lower;
  upper = __builtin_shufflevector(a, b, (Is & Distance ? n + Is - Distance : Is)...);
  lower = __builtin_shufflevector(a, b, (Is & Distance ? n + Is : Is + Distance)...);
}

template <typename T, int Distance = 1>
PYCNN_INLINE void transpose(Vector<T> (&rows)[lanes<T>]) {
  if constexpr (Distance < lanes<T>) {
#pragma GCC unroll 16
    for (int r = 0; r < lanes<T>; ++r)
      if ((r & Distance) == 0)
        exchange_quarters<Distance>(rows[r], rows[r + Distance], typename MakeLaneList<lanes<T>>::Type{});
    transpose<T, Distance * 2>(rows);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
