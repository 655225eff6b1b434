// Panels of bfloat16 pairs.
#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"

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

}  // namespace

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
