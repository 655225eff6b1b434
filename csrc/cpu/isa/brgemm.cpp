#include "cpu/isa/brgemm.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

constexpr int64_t line_bytes = 64;

/// What a tile brings into L2 along the way: nothing, what lies a_ahead and b_ahead elements further, or lines of
/// fetch.
enum class Brings { Nothing, Ahead, Lines };

/// One register tile. The sums stay in registers over all products. With Ahead, A is brought by the first column of
/// tiles and B by the first row.
template <typename T, int Rows, int Vectors, bool Partial, Brings What = Brings::Nothing>
void tile(const BatchReduce<T>& g, int64_t row, int64_t column, const Mask<T>& mask) {
  // Every loop over the sums is unrolled: GCC keeps an array in registers only if no index of it is a variable.
  Vector<T> sums[Rows][Vectors];
  const Mask<T> last = mask;
  T* c = g.c + row * g.c_row + column;
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Vector<T>{};
  const int64_t a_row = g.a_row, a_column = g.a_column, b_row = g.b_row, depth = g.k;
  const int64_t a_ahead = column == 0 ? g.a_ahead : 0, b_ahead = row == 0 ? g.b_ahead : 0;
  Fetch first, second;
  if constexpr (What == Brings::Lines) first = g.fetch[0], second = g.fetch[1];
  for (int64_t i = 0; i < g.count; ++i) {
    const T* b = g.products[i].b + column;
    // One pointer for three rows: x86 addresses reach base, base + row and base + 2·row without further registers.
    constexpr int groups = (Rows + 2) / 3;
    const T* a[groups];
    for (int p = 0; p < groups; ++p) a[p] = g.products[i].a + (row + 3 * p) * a_row;
    for (int64_t k = 0; k < depth; ++k) {
      if constexpr (What == Brings::Lines) {
        first.next();
        second.next();
      } else if constexpr (What == Brings::Ahead) {
        __builtin_prefetch(a[0] + a_ahead, 0, 2);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v += line_bytes / vector_bytes)
          __builtin_prefetch(b + v * lanes<T> + b_ahead, 0, 2);
      }
      Vector<T> right[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v)
        right[v] = Partial && v == Vectors - 1 ? load(b + v * lanes<T>, last) : load(b + v * lanes<T>);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const Vector<T> left = splat(a[r / 3][(r % 3) * a_row]);
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sums[r][v] = multiply_add(left, right[v], sums[r][v]);
#if defined(__aarch64__)
        // GCC would load all rows' elements first, and of 34 live vectors keep two sums in memory.
        if (r == Rows / 2 - 1) asm volatile("" : "+w"(sums[r][Vectors - 1]) : : "memory");
#endif
      }
      for (int p = 0; p < groups; ++p) a[p] += a_column;
      b += b_row;
    }
  }
  // What c held is added last: the sums of a long K that comes in blocks are those of a tree, not of one long chain.
  if (g.accumulate) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        const T* from = c + r * g.c_row + v * lanes<T>;
        sums[r][v] += Partial && v == Vectors - 1 ? load(from, last) : load(from);
      }
  }
  if constexpr (sizeof(T) == sizeof(float)) finish<Partial, Rows>(sums, g.finish, {row}, column, last);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      T* to = c + r * g.c_row + v * lanes<T>;
      if (Partial && v == Vectors - 1)
        store(to, sums[r][v], last);
      else
        store(to, sums[r][v]);
    }
  if constexpr (What == Brings::Lines) g.fetch[0] = first, g.fetch[1] = second;
}

template <typename T, int Rows, int Vectors, bool Partial, Brings What = Brings::Nothing>
void tile_of_rows(int rows, const BatchReduce<T>& g, int64_t row, int64_t column, const Mask<T>& mask) {
  if (rows == Rows) return tile<T, Rows, Vectors, Partial, What>(g, row, column, mask);
  if constexpr (Rows > 1) tile_of_rows<T, Rows - 1, Vectors, Partial, What>(rows, g, row, column, mask);
}

template <typename T, int Vectors>
void column_of_tiles(const BatchReduce<T>& g, int64_t column, int64_t columns) {
  const int last = static_cast<int>(columns - (Vectors - 1) * lanes<T>);
  const Mask<T> mask(last);
  // Rows are shared out evenly, so that no tile is left with one or two.
  const int64_t tiles = ceil_divide(g.m, row_tile);
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t row = g.m * t / tiles;
    const int rows = static_cast<int>(g.m * (t + 1) / tiles - row);
    const bool ahead = (column == 0 && g.a_ahead != 0) || (row == 0 && g.b_ahead != 0);
    const bool lines = g.fetch && (g.fetch[0].left > 0 || g.fetch[1].left > 0);
    if (last == lanes<T> && ahead)
      tile_of_rows<T, row_tile, Vectors, false, Brings::Ahead>(rows, g, row, column, mask);
    else if (last == lanes<T> && lines)
      tile_of_rows<T, row_tile, Vectors, false, Brings::Lines>(rows, g, row, column, mask);
    else if (last == lanes<T>)
      tile_of_rows<T, row_tile, Vectors, false>(rows, g, row, column, mask);
    else
      tile_of_rows<T, row_tile, Vectors, true>(rows, g, row, column, mask);
  }
}

template <typename T, int Vectors>
void column_of_vectors(const BatchReduce<T>& g, int64_t column, int64_t columns) {
  if (columns > (Vectors - 1) * lanes<T>) return column_of_tiles<T, Vectors>(g, column, columns);
  if constexpr (Vectors > 1) column_of_vectors<T, Vectors - 1>(g, column, columns);
}

template <typename T>
void run(const BatchReduce<T>& g) {
  for (int64_t column = 0; column < g.n; column += column_tile<T>)
    column_of_vectors<T, column_vectors>(g, column, min_of(g.n - column, column_tile<T>));
}

}  // namespace

void brgemm(const BatchReduce<float>& g) { run(g); }
void brgemm(const BatchReduce<double>& g) { run(g); }

}  // namespace pycnn::cpu::PYCNN_ISA
