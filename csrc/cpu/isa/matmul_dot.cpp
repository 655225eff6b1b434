// Few rows times a transposed matrix (a linear layer as its weight lies): dot products of contiguous rows, the weight
// is read once and nothing is packed.
#include "cpu/isa/epilogue.h"
#include "cpu/isa/matmul.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::MatmulArguments;

constexpr int most_rows = 4;
constexpr int64_t enough_chunks = 32;
constexpr int64_t chunk_elements = int64_t{1} << 16;  // of B: enough work to be worth a claim
constexpr int64_t depth_block = 2048;                 // rows of A stay in L1 and sums short
constexpr int64_t elements_ahead = 256;

template <typename T>
struct Block {
  const T* a;
  const T* b;
  T* c;
  int64_t a_row, b_column, c_row;
  int64_t n, k;
  bool accumulate = false;
};

template <typename T, int Rows, int Columns>
void tile(const Block<T>& g, int64_t column) {
  Vector<T> sums[Rows][Columns];
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) sums[r][j] = Vector<T>{};
  const T* b = g.b + column * g.b_column;
  const int64_t whole = g.k / lanes<T> * lanes<T>;
  for (int64_t k = 0; k < whole; k += lanes<T>) {
    Vector<T> left[Rows];
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) left[r] = load(g.a + r * g.a_row + k);
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      __builtin_prefetch(b + j * g.b_column + k + elements_ahead, 0, 2);
      const Vector<T> right = load(b + j * g.b_column + k);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r) sums[r][j] = multiply_add(left[r], right, sums[r][j]);
    }
  }
  if (whole < g.k) {
    const Mask<T> mask(static_cast<int>(g.k - whole));
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      const Vector<T> right = load(b + j * g.b_column + whole, mask);
#pragma GCC unroll 4
      for (int r = 0; r < Rows; ++r)
        sums[r][j] = multiply_add(load(g.a + r * g.a_row + whole, mask), right, sums[r][j]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) {
      T* c = g.c + r * g.c_row + column + j;
      const T sum = sum_of_lanes<T>(sums[r][j]);
      *c = g.accumulate ? *c + sum : sum;
    }
}

/// All of K for some rows of B, which are each read from end to end, as hardware foresees it.
template <typename T, int Rows, int Columns>
void column_of_tiles(const Block<T>& g, int64_t column) {
  Block<T> part = g;
  for (int64_t k = 0; k == 0 || k < g.k; k += depth_block) {
    part.a = g.a + k;
    part.b = g.b + k;
    part.k = min_of(g.k - k, depth_block);
    part.accumulate = k > 0;
    tile<T, Rows, Columns>(part, column);
  }
}

template <typename T, int Rows>
void multiply(const Block<T>& g) {
  // As many rows of B side by side as there are registers for their sums.
  constexpr int columns = Rows == 1 ? 8 : vector_bytes == 64 ? (Rows == 2 ? 8 : 4) : (Rows == 2 ? 4 : 2);
  int64_t column = 0;
  for (; column + columns <= g.n; column += columns) column_of_tiles<T, Rows, columns>(g, column);
  for (; column < g.n; ++column) column_of_tiles<T, Rows, 1>(g, column);
}

template <typename T>
void run(const MatmulArguments& g) {
  const int64_t products = g.batch[0] * g.batch[1];
  if (products * g.m * g.n == 0) return;
  int64_t columns = ceil_divide(g.n, enough_chunks);
  columns = min_of(g.n, max_of(columns, ceil_divide(chunk_elements, max_of(1, g.k))));
  const int64_t chunks = ceil_divide(g.n, columns);
  const Epilogue epilogue(g.epilogue, columns, g.n - (chunks - 1) * columns);
  parallel_for(products * chunks, [&](int64_t chunk) {
    const int64_t product = chunk / chunks, column = chunk % chunks * columns;
    const int64_t first = product / g.batch[1], second = product % g.batch[1];
    const T* a = static_cast<const T*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1];
    const T* b = static_cast<const T*>(g.b) + first * g.b_batch[0] + second * g.b_batch[1] + column * g.b_column;
    T* c = static_cast<T*>(g.c) + first * g.c_batch[0] + second * g.c_batch[1] + column;
    const Block<T> block{.a = a,
                         .b = b,
                         .c = c,
                         .a_row = g.a_row,
                         .b_column = g.b_column,
                         .c_row = g.c_row,
                         .n = min_of(g.n - column, columns),
                         .k = g.k};
    if (g.m == 1) multiply<T, 1>(block);
    if (g.m == 2) multiply<T, 2>(block);
    if (g.m == 3) multiply<T, 3>(block);
    if (g.m == 4) multiply<T, 4>(block);
    EpilogueColumns(epilogue, column, min_of(g.n - column, columns)).run(product * g.m, (product + 1) * g.m);
  });
}

}  // namespace

const char* dot_declines(const MatmulArguments& g) {
  if (g.dtype != DType::Float32 && g.dtype != DType::Float64) return "vectors hold floats only";
  if (g.m > most_rows) return "with so many rows packing b pays";
  if (g.b_row != 1 || (g.a_column != 1 && g.k > 1)) return "rows of a or columns of b are not contiguous";
  return nullptr;
}

void dot_matmul(const MatmulArguments& g) { g.dtype == DType::Float32 ? run<float>(g) : run<double>(g); }

}  // namespace pycnn::cpu::PYCNN_ISA
