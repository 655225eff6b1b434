// Pixels of few channels as planes, so that vectors run over pixels.
#pragma once

#include "cpu/isa/integers.h"
#include "cpu/isa/transpose.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Has GCC load v once rather than with each instruction that takes it.
template <typename V>
PYCNN_INLINE void keep_in_register(V& v) {
#if defined(__AVX2__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#else
  static_cast<void>(v);
#endif
}

/// 16 bytes each from p, p + step, …
template <typename T>
PYCNN_INLINE Vector<T> load_quarters(const T* p, int64_t step) {
#if defined(__AVX2__)
  const auto part = [&](int i) __attribute__((always_inline)) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(p + i * step));
  };
#if defined(__AVX512F__)
  __m512 v = _mm512_castps128_ps512(part(0));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, part(1));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, part(2));
  return reinterpret_cast<Vector<T>>(_mm512_mask_broadcast_f32x4(v, 0xf000, part(3)));
#else
  return reinterpret_cast<Vector<T>>(_mm256_insertf128_ps(_mm256_castps128_ps256(part(0)), part(1), 1));
#endif
#else
  static_cast<void>(step);
  return load(p);
#endif
}

/// Transposes squares of 16 bytes by 16 bytes: of rows[i], element j of each becomes element i of rows[j].
template <typename T, int Distance, int Rows>
PYCNN_INLINE void transpose_quarters(Vector<T> (&rows)[Rows]) {
  if constexpr (Distance < Rows) {
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r)
      if ((r & Distance) == 0)
        exchange_quarters<Distance>(rows[r], rows[r + Distance], typename MakeLaneList<lanes<T>>::Type{});
    transpose_quarters<T, Distance * 2>(rows);
  }
}

/// Rows of pixels, one after the other; `row` elements from one to the next in each plane.
template <typename T>
struct PixelRows {
  const T* from;
  int64_t channels, pixels, rows;
  T* to;
  int64_t plane, row;
};

/// The first Count channels, as below.
template <typename T, int Count>
void split_some_into_planes(const PixelRows<T> p) {
  constexpr int side = 16 / static_cast<int>(sizeof(T));
  const auto split = [&](const T* corner, int64_t step, T* to) __attribute__((always_inline)) {
    Vector<T> rows[side];
#pragma GCC unroll 4
    for (int r = 0; r < side; ++r) rows[r] = load_quarters(corner + r * step, side * step);
    transpose_quarters<T, 1>(rows);
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k) store(to + k * p.plane, rows[k]);
  };
  // Of a pixel with less than 16 bytes those of the next one are read.
  const int64_t readable = p.channels < side ? p.pixels - 1 : p.pixels;
  for (int64_t r = 0; r < p.rows; ++r) {
    const T* from = p.from + r * p.pixels * p.channels;
    T* const to = p.to + r * p.row;
    int64_t i = 0;
    for (; i + lanes<T> <= readable; i += lanes<T>) split(from + i * p.channels, p.channels, to + i);
    if (i == p.pixels) continue;
    if (readable == p.pixels && i > 0) {
      // The last vector begins early rather than being filled in part.
      for (int k = 0; k < Count; ++k) store(to + k * p.plane + i, Vector<T>{});
      i = p.pixels - lanes<T>;
      split(from + i * p.channels, p.channels, to + i);
    } else {
      T part[lanes<T> * side] = {};
      for (int64_t x = i; x < p.pixels; ++x)
        for (int k = 0; k < Count; ++k) part[(x - i) * side + k] = from[x * p.channels + k];
      split(part, side, to + i);
    }
  }
}

/// to[c·plane + r·row + i] = channel c of pixel i in row r; whole vectors of a row are written, zeros behind the
/// pixels.
template <typename T>
PYCNN_INLINE void split_into_planes(const PixelRows<T>& p) {
  constexpr int side = 16 / static_cast<int>(sizeof(T));
  if (p.channels == 1) {
    for (int64_t r = 0; r < p.rows; ++r)
      for (int64_t i = 0; i < p.pixels; i += lanes<T>)
        store(p.to + r * p.row + i,
              load(p.from + r * p.pixels + i, Mask<T>(static_cast<int>(min_of(p.pixels - i, lanes<T>)))));
  } else if (p.channels < side) {
    p.channels == 2 ? split_some_into_planes<T, 2>(p) : split_some_into_planes<T, side - 1>(p);
  } else {
    // The last channels are taken together with some before them rather than alone.
    for (int64_t c = 0; c < p.channels; c += side) {
      const int64_t first = min_of(c, p.channels - side);
      PixelRows<T> some = p;
      some.from += first, some.to += first * p.plane;
      split_some_into_planes<T, side>(some);
    }
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
