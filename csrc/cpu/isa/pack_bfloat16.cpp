// Panels of bfloat16 pairs.
#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/transpose.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

/// Two rows of b, of which the second may be missing, as one row of pairs.
void pack_pair_of_rows(const BFloat16* even, const BFloat16* odd, int64_t n, int64_t width, BFloat16* to) {
  for (int64_t j = 0; j < width; j += lanes<float>) {
    const Mask<float> mask(static_cast<int>(max_of(0, min_of(n - j, lanes<float>))));
    const bool whole = n - j >= lanes<float>;
    const Vector<float> first = whole ? load(even + j) : load(even + j, mask);
    const Vector<float> second = !odd ? Vector<float>{} : whole ? load(odd + j) : load(odd + j, mask);
    store(reinterpret_cast<float*>(to) + j, pairs_of(first, second));
  }
}

#if defined(__AVX512F__)
/// Where pairs of elements from two vectors of 2·lanes<float> come from, the first half of the pairs or the second.
struct PairOrder {
  alignas(64) uint16_t words[2][2 * lanes<float>];
};
constexpr PairOrder pair_order = [] {
  PairOrder order{};
  for (int half = 0; half < 2; ++half)
    for (int i = 0; i < 2 * lanes<float>; ++i)
      order.words[half][i] = static_cast<uint16_t>(half * lanes<float> + i / 2 + i % 2 * 2 * lanes<float>);
  return order;
}();
#endif

/// Pairs of the elements at `even` and `odd`: the first lanes<float> of them, then as many behind.
PYCNN_INLINE void load_pairs(const BFloat16* even, const BFloat16* odd, Vector<float>& first, Vector<float>& second) {
#if defined(__AVX512F__)
  const __m512i a = _mm512_loadu_si512(even), b = _mm512_loadu_si512(odd);
  const __m512i low = _mm512_load_si512(pair_order.words[0]), high = _mm512_load_si512(pair_order.words[1]);
  first = reinterpret_cast<Vector<float>>(_mm512_permutex2var_epi16(a, low, b));
  second = reinterpret_cast<Vector<float>>(_mm512_permutex2var_epi16(a, high, b));
#else
  first = pairs_of(load(even), load(odd));
  second = pairs_of(load(even + lanes<float>), load(odd + lanes<float>));
#endif
}

}  // namespace

void pack_transposed_pixels(const BFloat16* const* pixels, int64_t count, int64_t channels, BFloat16* to,
                            int64_t to_row) {
  const auto store_rows = [&](Vector<float>(&tile)[lanes<float>], int64_t i, int64_t x, int64_t rows)
      __attribute__((always_inline)) {
    transpose<float>(tile);
#pragma GCC unroll 16
    for (int r = 0; r < lanes<float>; ++r)
      if (r < rows) store(reinterpret_cast<float*>(to + (i + r) * to_row + x), tile[r]);
  };
  for (int64_t x = 0; x < count; x += transposed_pixels) {
    int64_t i = 0;
    // Two vectors of channels are a line of the cache, which is read once.
    for (; i + 2 * lanes<float> <= channels; i += 2 * lanes<float>) {
      Vector<float> first[lanes<float>], second[lanes<float>];
#pragma GCC unroll 16
      for (int p = 0; p < lanes<float>; ++p) {
        const BFloat16 *even = pixels[x + 2 * p] + i, *odd = pixels[x + 2 * p + 1] + i;
        load_pairs(even, odd, first[p], second[p]);
      }
      store_rows(first, i, x, lanes<float>);
      store_rows(second, i + lanes<float>, x, lanes<float>);
    }
    for (; i < channels; i += lanes<float>) {
      const int64_t left = min_of(channels - i, lanes<float>);
      const Mask<float> mask(static_cast<int>(left));
      Vector<float> tile[lanes<float>];
#pragma GCC unroll 16
      for (int p = 0; p < lanes<float>; ++p) {
        const BFloat16 *even = pixels[x + 2 * p] + i, *odd = pixels[x + 2 * p + 1] + i;
        tile[p] = left == lanes<float> ? pairs_of(load(even), load(odd)) : pairs_of(load(even, mask), load(odd, mask));
      }
      store_rows(tile, i, x, left);
    }
  }
}

void pack_pixel_pairs(const BFloat16* const* pixels, int64_t count, int64_t n, int64_t width, int64_t panel_elements,
                      BFloat16* to) {
  for (int64_t x = 0; x < count; x += 2) {
    const BFloat16 *even = pixels[x], *odd = pixels[x + 1];
    BFloat16* panel = to + x * width;
    for (int64_t left = n; left > 0; left -= width, even += width, odd += width, panel += panel_elements) {
      float* const pairs = reinterpret_cast<float*>(panel);
      int64_t j = 0;
      for (; j + 2 * lanes<float> <= min_of(left, width); j += 2 * lanes<float>) {
        Vector<float> first, second;
        load_pairs(even + j, odd + j, first, second);
        store(pairs + j, first);
        store(pairs + j + lanes<float>, second);
      }
      for (; j < width; j += lanes<float>) {
        const int64_t some = max_of(0, min_of(left - j, lanes<float>));
        const Mask<float> mask(static_cast<int>(some));
        store(pairs + j, some == lanes<float> ? pairs_of(load(even + j), load(odd + j))
                                              : pairs_of(load(even + j, mask), load(odd + j, mask)));
      }
    }
  }
}

void interleave_bfloat_rows(const float* even, const float* odd, int64_t width, BFloat16* to) {
  for (int64_t j = 0; j < width; j += lanes<float>)
    store(reinterpret_cast<float*>(to) + j, pairs_of(load(even + j), load(odd + j)));
}

void copy_bfloat_rows(const BFloat16* a, int64_t a_row, int64_t a_column, int64_t m, int64_t k, BFloat16* to,
                      int64_t to_row) {
  constexpr int64_t square = lanes<float>;
  const auto copy = [&](int64_t row_begin, int64_t row_end, int64_t begin, int64_t end) {
    for (int64_t i = row_begin; i < row_end; ++i)
      for (int64_t x = begin; x < end; ++x) to[i * to_row + x] = a[i * a_row + x * a_column];
  };
  if (a_row != 1 || a_column == 1) return copy(0, m, 0, k);
  // Pairs of columns become vectors of pairs, which are transposed.
  const int64_t rows = m / square * square, depth = k / (2 * square) * 2 * square;
  for (int64_t i = 0; i < rows; i += square)
    for (int64_t x = 0; x < depth; x += 2 * square) {
      Vector<float> tile[square];
#pragma GCC unroll 16
      for (int p = 0; p < square; ++p) {
        const BFloat16* source = a + i + (x + 2 * p) * a_column;
        tile[p] = pairs_of(load(source), load(source + a_column));
      }
      transpose<float>(tile);
#pragma GCC unroll 16
      for (int r = 0; r < square; ++r) store(reinterpret_cast<float*>(to + (i + r) * to_row + x), tile[r]);
    }
  copy(0, rows, depth, k);
  copy(rows, m, 0, k);
}

void pack_bfloat_panel(const BFloat16* b, int64_t b_row, int64_t b_column, int64_t k, int64_t n, int64_t width,
                       BFloat16* panel) {
  int64_t packed = k / 2 * 2;
  if (b_row == 1 && b_column % 2 == 0) {
    // Pairs are adjacent already: a transposition of pairs.
    pack_transposed(reinterpret_cast<const float*>(b), b_column / 2, n, k / 2, width, reinterpret_cast<float*>(panel),
                    k / 2);
  } else if (b_column == 1) {
    for (int64_t i = 0; i < packed; i += 2) {
      const BFloat16* source = b + i * b_row;
      __builtin_prefetch(source + rows_ahead * b_row, 0, 2);
      pack_pair_of_rows(source, source + b_row, n, width, panel + i * width);
    }
    if (packed < k) pack_pair_of_rows(b + packed * b_row, nullptr, n, width, panel + packed * width), packed += 2;
  } else {
    packed = 0;
  }
  const int64_t depth = bfloat_panel_depth(k);
  for (; packed < depth; packed += 2) {
    BFloat16* to = panel + packed * width;
    for (int64_t j = 0; j < width; ++j)
      for (int64_t i = packed; i < packed + 2; ++i, ++to)
        *to = i < k && j < n ? b[i * b_row + j * b_column] : BFloat16{0};
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
