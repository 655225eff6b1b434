// The batch-reduce GEMM microkernel (Georganas et al. 2019): the one place where multiplications of matrices happen.
#pragma once

#include <cstdint>

#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {

/// The register tile: row_tile rows of A by column_vectors vectors of B.
#if defined(__AVX512F__)
inline constexpr int row_tile = 14;
#else
inline constexpr int row_tile = 6;
#endif
inline constexpr int column_vectors = 2;
template <typename T>
inline constexpr int column_tile = column_vectors* lanes<T>;

template <typename T>
struct Product {
  const T* a;
  const T* b;
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
  bool accumulate;  ///< add to c instead of overwriting it
};

void brgemm(const BatchReduce<float>& g);
void brgemm(const BatchReduce<double>& g);

/// Width of a packed panel of B with n columns in all: a whole tile, or one vector if that holds them.
template <typename T>
constexpr int64_t panel_width(int64_t n) {
  return n <= lanes<T> ? lanes<T> : column_tile<T>;
}

/// Writes rows of `width` elements: panel[k·width + j] = b[k·b_row + j·b_column] for j < n, then zeros.
template <typename T>
void pack_panel(const T* b, int64_t b_row, int64_t b_column, int64_t k, int64_t n, int64_t width, T* panel) {
  for (int64_t row = 0; row < k; ++row) {
    const T* source = b + row * b_row;
    T* destination = panel + row * width;
    if (b_column == 1)
      for (int64_t j = 0; j < n; ++j) destination[j] = source[j];
    else
      for (int64_t j = 0; j < n; ++j) destination[j] = source[j * b_column];
    for (int64_t j = n; j < width; ++j) destination[j] = 0;
  }
}

// Integer helpers; std::min and its kin would be weak symbols shared between levels.
PYCNN_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
PYCNN_INLINE int64_t max_of(int64_t a, int64_t b) { return a < b ? b : a; }
/// ⌈a / b⌉ for b > 0 and any a.
PYCNN_INLINE int64_t ceil_divide(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

}  // namespace pycnn::cpu::PYCNN_ISA
