// The batch-reduce GEMM microkernel (Georganas et al. 2019): the one place where multiplications of matrices happen.
#pragma once

#include <cstdint>

#include "cpu/isa/finish.h"
#include "cpu/isa/integers.h"
#include "cpu/isa/simd.h"
#include "cpu/isa/transpose.h"

namespace pycnn::cpu::PYCNN_ISA {

/// The register tile: row_tile rows of A by column_vectors vectors of B. Sums, vectors of B and an element of A fit
/// into 32 registers (AVX-512, aarch64) or 16.
#if defined(__AVX512F__)
inline constexpr int row_tile = 14, column_vectors = 2;
#elif defined(__aarch64__)
inline constexpr int row_tile = 6, column_vectors = 4;
#else
inline constexpr int row_tile = 6, column_vectors = 2;
#endif
template <typename T>
inline constexpr int column_tile = column_vectors* lanes<T>;

template <typename T>
struct Product {
  const T* a;
  const T* b;
};

/// Rows of memory that will be wanted next. They come into L2 line by line, one with each step of a product along K:
/// all at once they would keep waiting what is read now, and the memory would idle later.
struct Fetch {
  static constexpr int64_t line_bytes = 64;
  Fetch() = default;
  /// `rows` rows of n elements.
  template <typename T>
  Fetch(const T* first, int64_t rows, int64_t n, int64_t row)
      : at(reinterpret_cast<const char*>(first)),
        row_lines(ceil_divide(n, line_bytes / static_cast<int64_t>(sizeof(T)))) {
    if (n == row) row_lines = ceil_divide(rows * n, line_bytes / static_cast<int64_t>(sizeof(T))), rows = 1;
    jump = row * static_cast<int64_t>(sizeof(T)) - row_lines * line_bytes;
    in_row = row_lines;
    left = max_of(0, rows * row_lines);
  }
  __attribute__((always_inline)) void next() {
    if (left <= 0) return;
    __builtin_prefetch(at, 0, 2);
    at += line_bytes;
    --left;
    if (--in_row == 0) at += jump, in_row = row_lines;
  }
  const char* at = nullptr;
  int64_t row_lines = 0, in_row = 0, jump = 0;  ///< lines; bytes from the end of a row's last one to the next row
  int64_t left = 0;                             ///< lines
};

/// c[i,j] (+)= Σ over products Σ_k a[i·a_row + k·a_column] · b[k·b_row + j]: rows i < m, columns j < n, k in order.
template <typename T>
struct BatchReduce {
  const Product<T>* products;
  int64_t count;
  int64_t m, n, k;
  int64_t a_row, a_column, b_row;
  T* c;
  int64_t c_row;
  bool accumulate;                   ///< add the finished sums to c instead of overwriting it
  int64_t a_ahead = 0, b_ahead = 0;  ///< elements from a product's operands to those that are wanted in L2 next
  Finish finish = {};                ///< float32: applied to c as it is left
  Fetch* fetch = nullptr;            ///< two of them, or null
};

void brgemm(const BatchReduce<float>& g);
void brgemm(const BatchReduce<double>& g);

/// Width of a packed panel of B with n columns in all: a whole tile, or as many vectors as hold them.
template <typename T>
constexpr int64_t panel_width(int64_t n) {
  if (n <= lanes<T>) return lanes<T>;
  return n < column_tile<T> ? (n + lanes<T> - 1) / lanes<T> * lanes<T> : column_tile<T>;
}

/// A workspace is a sequence of pieces, each aligned to cache lines.
PYCNN_INLINE size_t aligned_bytes(int64_t elements, size_t element) {
  return (static_cast<size_t>(elements) * element + 63) / 64 * 64;
}

/// Copies `count` rows of n elements to rows of `width` elements, zeros behind; width is a multiple of lanes<T>. What
/// lies `ahead` elements further is brought into the cache. From is T, or BFloat16 to be widened.
template <typename T, typename From>
void pack_rows(const From* from, int64_t from_row, int64_t count, int64_t n, int64_t width, T* to, int64_t ahead) {
  for (int64_t column = 0; column < width; column += lanes<T>) {
    const Mask<T> mask(static_cast<int>(max_of(0, min_of(n - column, lanes<T>))));
    if (n - column >= lanes<T>) {
      for (int64_t row = 0; row < count; ++row) {
        const From* source = from + row * from_row + column;
        __builtin_prefetch(source + ahead, 0, 2);
        store(to + row * width + column, load(source));
      }
    } else {
      for (int64_t row = 0; row < count; ++row)
        store(to + row * width + column, load(from + row * from_row + column, mask));
    }
  }
}

constexpr int64_t rows_ahead = 8;  // rows far apart are not foreseen by hardware

/// Writes rows of `width` elements: panel[k·width + j] = b[k·b_row + j·b_column] for j < n, then zeros.
template <typename T, typename From>
void pack_panel(const From* b, int64_t b_row, int64_t b_column, int64_t k, int64_t n, int64_t width, T* panel) {
  if (b_column == 1) return pack_rows(b, b_row, k, n, width, panel, rows_ahead * b_row);
  if (b_row == 1) return pack_transposed(b, b_column, n, k, width, panel, k);
  for (int64_t row = 0; row < k; ++row) {
    const From* source = b + row * b_row;
    T* destination = panel + row * width;
    for (int64_t j = 0; j < n; ++j) destination[j] = element(source[j * b_column]);
    for (int64_t j = n; j < width; ++j) destination[j] = 0;
  }
}

template <typename T>
inline constexpr int64_t tile_pitch = (row_tile + lanes<T> - 1) / lanes<T>* lanes<T>;  // of packed rows of A

/// Packs rows of m adjacent elements into register tiles: to[tile·tile_elements + row·tile_pitch + i]. The last
/// elements of a tile that is not as high as its pitch are never read.
template <typename T, int64_t MostRows>
class TilePacker {
 public:
  TilePacker(int64_t m, int64_t tile_elements) {
    const int64_t tiles = ceil_divide(m, row_tile);
    for (int64_t tile = 0; tile < tiles; ++tile)
      for (int64_t i = 0; i < tile_pitch<T>; i += lanes<T>) {
        const int64_t row = m * tile / tiles + i, left = m - row;
        if (left <= 0) break;
        pieces_[count_++] = {row, tile * tile_elements + i, Mask<T>(static_cast<int>(min_of(left, lanes<T>)))};
        if (left >= lanes<T> && full_ == count_ - 1) full_ = count_;
      }
  }
  /// Row by row, as they lie in memory; what lies `ahead` elements further is brought into the cache.
  void run(const T* from, int64_t from_row, int64_t rows, T* to, int64_t ahead) const {
    for (int64_t row = 0; row < rows; ++row)
      for (int i = 0; i < count_; ++i) {
        const T* source = from + row * from_row + pieces_[i].from;
        __builtin_prefetch(source + ahead, 0, 2);
        store(to + row * tile_pitch<T> + pieces_[i].to, i < full_ ? load(source) : load(source, pieces_[i].mask));
      }
  }

 private:
  struct Piece {
    int64_t from, to;
    Mask<T> mask{0};
  };
  Piece pieces_[(MostRows + row_tile - 1) / row_tile * (tile_pitch<T> / lanes<T>)];
  int count_ = 0, full_ = 0;
};

}  // namespace pycnn::cpu::PYCNN_ISA
