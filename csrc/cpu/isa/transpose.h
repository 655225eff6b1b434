// Lanes that meet other lanes: sums of a vector, transposition of square tiles in registers.
#pragma once

#include "cpu/isa/bfloat16_vectors.h"

namespace pycnn::cpu::PYCNN_ISA {

template <int... Is>
struct LaneList {};
template <int N, int... Is>
struct MakeLaneList : MakeLaneList<N - 1, N - 1, Is...> {};
template <int... Is>
struct MakeLaneList<0, Is...> {
  using Type = LaneList<Is...>;
};

template <typename T, int Distance, int... Is>
PYCNN_INLINE T sum_of_lanes(Vector<T> v, LaneList<Is...> list) {
  if constexpr (Distance == 0) {
    return v[0];
  } else {
    v += __builtin_shufflevector(v, v, ((Is + Distance) % static_cast<int>(sizeof...(Is)))...);
    return sum_of_lanes<T, Distance / 2>(v, list);
  }
}
/// Halves are added to halves.
template <typename T>
PYCNN_INLINE T sum_of_lanes(Vector<T> v) {
  return sum_of_lanes<T, lanes<T> / 2>(v, typename MakeLaneList<lanes<T>>::Type{});
}

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

/// to[i·width + r] = from[r·from_row + i] for r < rows and i < count; zeros for the other r < width, a multiple of
/// lanes<T>. What lies `ahead` elements further is brought into the cache. From is T, or BFloat16 to be widened.
template <typename T, typename From>
void pack_transposed(const From* from, int64_t from_row, int64_t rows, int64_t count, int64_t width, T* to,
                     int64_t ahead) {
  for (int64_t column = 0; column < width; column += lanes<T>) {
    const From* corner = from + column * from_row;
    const int64_t filled = rows - column;
    for (int64_t i = 0; i < count; i += lanes<T>) {
      const int64_t left = count - i;
      Vector<T> tile[lanes<T>];
      if (filled >= lanes<T> && left >= lanes<T>) {
#pragma GCC unroll 16
        for (int r = 0; r < lanes<T>; ++r) {
          const From* source = corner + r * from_row + i;
          __builtin_prefetch(source + ahead, 0, 2);
          tile[r] = load(source);
        }
      } else {
        const Mask<T> mask(static_cast<int>(left < lanes<T> ? left : lanes<T>));
#pragma GCC unroll 16
        for (int r = 0; r < lanes<T>; ++r) tile[r] = r < filled ? load(corner + r * from_row + i, mask) : Vector<T>{};
      }
      transpose<T>(tile);
#pragma GCC unroll 16
      for (int r = 0; r < lanes<T>; ++r)
        if (r < left) store(to + (i + r) * width + column, tile[r]);
    }
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
