// The microkernel for bfloat16 on vector registers: a register tile as in brgemm.cpp, whose step takes two values of k.
#include "cpu/isa/brgemm_bfloat16.h"

#include "cpu/isa/bfloat16_vectors.h"
#include "kernels/convert.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

/// Two adjacent elements as the processor reads them: the first in the lower half.
PYCNN_INLINE uint32_t pair_at(const BFloat16* p) {
  uint32_t pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return pair;
}

/// Each product of a pair is exact in float32 and added on its own.
struct Widening {
  using Pairs = Vector<float>;
  struct Panel {
    Vector<float> even, odd;
  };
  PYCNN_INLINE Panel panel(Pairs pairs) { return {even_of(pairs), odd_of(pairs)}; }
  PYCNN_INLINE void add(uint32_t pair, const Panel* panel, Vector<float>* sums, int vectors) {
    const Vector<float> even = splat(__builtin_bit_cast(float, pair << 16));
    const Vector<float> odd = splat(__builtin_bit_cast(float, pair & 0xffff0000u));
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      sums[v] = multiply_add(odd, panel[v].odd, multiply_add(even, panel[v].even, sums[v]));
  }
  PYCNN_INLINE void round(Vector<float> sums, BFloat16* to, int count) { store_rounded(sums, to, count); }
  PYCNN_INLINE void round(Vector<float> low, Vector<float> high, BFloat16* to) {
    store(to, low);
    store(to + lanes<float>, high);
  }
};

#if defined(__AVX512F__)
struct Dot {
  using Pairs = Vector<float>;
  using Panel = Pairs;
  PYCNN_INLINE Panel panel(Pairs pairs) { return pairs; }
  PYCNN_INLINE void add(uint32_t pair, const Panel* panel, Vector<float>* sums, int vectors) {
    const Vector<float> left = splat(__builtin_bit_cast(float, pair));
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) add_pairs(sums[v], left, panel[v]);
  }
  PYCNN_INLINE void round(Vector<float> sums, BFloat16* to, int count) {
    __m256i rounded;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(rounded) : "v"(sums));
    if (count == lanes<float>)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
    else
      _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << count) - 1), rounded);
  }
  /// Two adjacent vectors, stored at once: what follows may load them at once.
  PYCNN_INLINE void round(Vector<float> low, Vector<float> high, BFloat16* to) {
    _mm512_storeu_si512(to, rounded_halves(low, high));
  }
};
#endif

/// Rows of a register tile: few columns leave registers for more.
constexpr int rows_of_tile(int vectors) { return vectors == 1 && vector_bytes == 64 ? 20 : row_tile; }

/// Kernels of three adjacent taps whose results lie side by side: rows of A overlap, each is the end of the one before
/// and so many more values.
constexpr int sliding_taps = 3;
PYCNN_INLINE bool slides(const BFloatBatchReduce& g) {
  return vector_bytes == 64 && g.k == sliding_taps * g.a_row && g.a_row % 2 == 0;
}

/// The products of a tile of one vector where rows of A slide: what was read of A serves as many rows as there are
/// taps, for a processor reads less fast than it multiplies.
template <typename Products, int Rows>
PYCNN_INLINE void add_sliding(const BFloatBatchReduce& g, int64_t row, int64_t column, Vector<float> (&sums)[Rows][1]) {
  const int64_t a_row = g.a_row, b_row = 2 * g.width, b_tap = a_row / 2 * b_row;
  for (int64_t i = 0; i < g.count; ++i) {
    const BFloat16* b = g.products[i].b + 2 * column;
    constexpr int places = Rows + sliding_taps - 1, groups = (places + 2) / 3;
    const BFloat16* a[groups];
    for (int p = 0; p < groups; ++p) a[p] = g.products[i].a + (row + 3 * p) * a_row;
    for (int64_t k = 0; k < a_row; k += 2) {
      typename Products::Panel right[sliding_taps];
#pragma GCC unroll 3
      for (int t = 0; t < sliding_taps; ++t)
        right[t] = Products::panel(load(reinterpret_cast<const float*>(b + t * b_tap)));
#pragma GCC unroll 24
      for (int place = 0; place < places; ++place) {
        const uint32_t left = pair_at(a[place / 3] + place % 3 * a_row);
#pragma GCC unroll 3
        for (int t = 0; t < sliding_taps; ++t)
          if (place - t >= 0 && place - t < Rows) Products::add(left, &right[t], sums[place - t], 1);
      }
      for (int p = 0; p < groups; ++p) a[p] += 2;
      b += b_row;
    }
  }
}

/// One register tile; `last` columns of its last vector count.
template <typename Products, int Rows, int Vectors>
void tile(const BFloatBatchReduce& g, int64_t row, int64_t column, int last) {
  Vector<float> sums[Rows][Vectors];
  float* c = g.c + row * g.c_row + column;
#pragma GCC unroll 20
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Vector<float>{};
  const int64_t a_row = g.a_row, b_row = 2 * g.width, pairs = g.k / 2;
  // At most a cache line per step: the rest would wait for places to arrive in.
  const char* ahead = g.ahead ? g.ahead + g.ahead_bytes * row / g.m : nullptr;
  const int64_t ahead_step = min_of(64, g.ahead_bytes * Rows / (g.m * max_of(1, pairs * g.count)) + 1);
  const bool slid = Vectors == 1 && slides(g);
  if constexpr (Vectors == 1 && vector_bytes == 64)
    if (slid) add_sliding<Products, Rows>(g, row, column, sums);
  for (int64_t i = 0; i < g.count && !slid; ++i) {
    const BFloat16* b = g.products[i].b + 2 * column;
    constexpr int groups = (Rows + 2) / 3;
    const BFloat16* a[groups];
    for (int p = 0; p < groups; ++p) a[p] = g.products[i].a + (row + 3 * p) * a_row;
    const auto step = [&](auto left) __attribute__((always_inline)) {
      typename Products::Panel right[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v)
        right[v] = Products::panel(load(reinterpret_cast<const float*>(b) + v * lanes<float>));
#pragma GCC unroll 20
      for (int r = 0; r < Rows; ++r) Products::add(left(a[r / 3] + (r % 3) * a_row), right, sums[r], Vectors);
    };
    for (int64_t k = 0; k < pairs; ++k) {
      step([](const BFloat16* p) __attribute__((always_inline)) { return pair_at(p); });
      if (ahead) {
        __builtin_prefetch(ahead, 0, 2);
        ahead += ahead_step;
      }
      for (int p = 0; p < groups; ++p) a[p] += 2;
      b += b_row;
    }
    // What follows an odd k in a row of A is not ours, and might not be a number.
    if (g.k % 2 != 0) step([](const BFloat16* p) __attribute__((always_inline)) { return uint32_t{p->bits}; });
  }
  const Mask<float> mask(last);
  if constexpr (Vectors == 2)
    if (g.rounded && last == lanes<float>) {
#pragma GCC unroll 20
      for (int r = 0; r < Rows; ++r) {
        if (g.accumulate)
#pragma GCC unroll 2
          for (int v = 0; v < Vectors; ++v) sums[r][v] += load(c + r * g.c_row + v * lanes<float>);
        Products::round(sums[r][0], sums[r][1], g.rounded + (row + r) * g.rounded_row + column);
      }
      return;
    }
#pragma GCC unroll 20
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      float* to = c + r * g.c_row + v * lanes<float>;
      const bool whole = v < Vectors - 1 || last == lanes<float>;
      if (g.accumulate) sums[r][v] += whole ? load(to) : load(to, mask);
      if (g.rounded)
        Products::round(sums[r][v], g.rounded + (row + r) * g.rounded_row + column + v * lanes<float>,
                        whole ? lanes<float> : last);
      else if (whole)
        store(to, sums[r][v]);
      else
        store(to, sums[r][v], mask);
    }
}

template <typename Products, int Rows, int Vectors>
void tile_of_rows(int rows, const BFloatBatchReduce& g, int64_t row, int64_t column, int last) {
  if (rows == Rows) return tile<Products, Rows, Vectors>(g, row, column, last);
  if constexpr (Rows > 1) tile_of_rows<Products, Rows - 1, Vectors>(rows, g, row, column, last);
}

template <typename Products, int Vectors>
void column_of_tiles(const BFloatBatchReduce& g, int64_t column, int64_t columns) {
  if constexpr (Vectors > 1)
    if (columns <= (Vectors - 1) * lanes<float>) return column_of_tiles<Products, Vectors - 1>(g, column, columns);
  const int last = static_cast<int>(columns - (Vectors - 1) * lanes<float>);
  constexpr int most_rows = rows_of_tile(Vectors);
  const int64_t tiles = ceil_divide(g.m, most_rows);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t row = g.m * t / tiles;
    const int rows = static_cast<int>(g.m * (t + 1) / tiles - row);
    tile_of_rows<Products, most_rows, Vectors>(rows, g, row, column, last);
  }
}

template <typename Products>
void run_on_registers(const BFloatBatchReduce& g) {
  for (int64_t column = 0; column < g.n; column += column_tile<float>)
    column_of_tiles<Products, column_vectors>(g, column, min_of(g.n - column, column_tile<float>));
}

template <typename Products>
void round_rows(const float* c, int64_t c_row, int64_t m, int64_t n, BFloat16* rounded, int64_t rounded_row) {
  const int last = static_cast<int>(n % lanes<float>);
  for (int64_t i = 0; i < m; ++i) {
    const float* from = c + i * c_row;
    BFloat16* to = rounded + i * rounded_row;
    int64_t j = 0;
    for (; j + lanes<float> <= n; j += lanes<float>) Products::round(load(from + j), to + j, lanes<float>);
    if (last > 0) Products::round(load(from + j, Mask<float>(last)), to + j, last);
  }
}

}  // namespace

BFloat16Products bfloat_products() {
  const BFloat16Products products = bfloat16_products();
#if defined(__AVX512F__)
  return products;
#else
  return products == BFloat16Products::EmulatedTiles ? products : BFloat16Products::Widening;
#endif
}

int64_t bfloat_panel_width(int64_t n) {
  const BFloat16Products products = bfloat_products();
  if (products == BFloat16Products::Tiles || products == BFloat16Products::EmulatedTiles) return tiles::panel_width(n);
  return panel_width<float>(n);
}

int64_t bfloat_panel_depth(int64_t k) {
  const BFloat16Products products = bfloat_products();
  if (products == BFloat16Products::Tiles || products == BFloat16Products::EmulatedTiles) return tiles::panel_depth(k);
  return (k + 1) / 2 * 2;
}

void round_to_bfloat(const float* c, int64_t c_row, int64_t m, int64_t n, BFloat16* rounded, int64_t rounded_row) {
#if defined(__AVX512F__)
  // The processors that have tiles have this instruction too.
  const BFloat16Products products = bfloat_products();
  if (products == BFloat16Products::Dot || products == BFloat16Products::Tiles)
    return round_rows<Dot>(c, c_row, m, n, rounded, rounded_row);
#endif
  round_rows<Widening>(c, c_row, m, n, rounded, rounded_row);
}

void BFloatGemm::run(const BFloatBatchReduce& g) {
  switch (products_) {
#if defined(__AVX512F__)
    case BFloat16Products::Dot:
      return run_on_registers<Dot>(g);
#endif
    case BFloat16Products::Tiles:
    case BFloat16Products::EmulatedTiles:
      for (int64_t i = 0; i < g.ahead_bytes; i += 64) __builtin_prefetch(g.ahead + i, 0, 2);
      return tiles_.run(products_, g);
    default:
      return run_on_registers<Widening>(g);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
