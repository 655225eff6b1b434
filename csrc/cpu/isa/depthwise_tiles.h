// Tiles of depthwise convolutions: a few adjacent results of one row (or of several), in registers over all taps.
#pragma once

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/finish.h"
#include "cpu/isa/integers.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Most results of a tile: of one row, of several, and in the weight gradient.
inline constexpr int result_tile = vector_bytes == 64 ? 7 : 4, line_tile = 4, gradient_tile = 8;
/// Rows of results that a 3x3 kernel with stride 1 computes at once, so that their source rows come into L1 once.
inline constexpr int most_lines = vector_bytes == 64 ? 4 : 2;

/// A row of taps in reach of a row of results: offsets of its first tap, in elements, for channel 0.
struct TapRow {
  int64_t source, weight;
};

/// Matrices that the epilogue reads, their rows being pixels of results.
struct Matrices {
  const RowOperand* matrix[2];
  int count;
  int64_t pixels_ahead;  ///< from a tile's results to those of the next row or lines
};

/// Adjacent results of a row, and the columns of the source that their taps meet.
template <typename S>
struct Tile {
  using T = Compute<S>;
  const S* source;     ///< the first of these columns, in row 0
  int64_t begin, end;  ///< those inside the source
  int64_t channels;
  const TapRow* rows;
  int64_t row_count;
  const S* weight;
  int64_t weight_step;  ///< from tap to tap
  S* result;            ///< in the weight gradient, gradient of the results
  int64_t result_step;
  int64_t row_begin, row_end;              ///< several lines only: source rows, from `source`, that there are
  int64_t lines, result_line, weight_row;  ///< several lines only: how many there are; elements from row to row
  Finish finish;                           ///< its place that of the tile's first result
  Matrices matrices;
  bool streams;                             ///< results go past the caches
  int64_t pixel_step, line_pixels;          ///< from result to result, and from line to line
  T* sums;                                  ///< weight gradient only
  int64_t result_row;                       ///< weight gradient only: elements from row to row
  int64_t ahead, rows_ahead, row_elements;  ///< where the next row of results will find new rows, from `source`
};

/// The pattern of a tile (a vector here, one there) hides from hardware prefetchers that rows are read one by one.
template <int Columns, typename S>
PYCNN_INLINE void prefetch_rows(const Tile<S>& tile, int64_t c) {
  const S* row = tile.source + tile.ahead + c;
  for (int64_t r = 0; r < tile.rows_ahead; ++r, row += tile.row_elements)
#pragma GCC unroll 16
    for (int i = 0; i < Columns; ++i) __builtin_prefetch(row + i * tile.channels, 0, 2);
}

/// Brings what the epilogue will read for the results after these.
template <int Pixels, typename S>
PYCNN_INLINE void prefetch_matrices(const Tile<S>& tile, int64_t c) {
  for (int m = 0; m < tile.matrices.count; ++m) {
    const RowOperand& matrix = *tile.matrices.matrix[m];
    const int64_t bytes = matrix.narrow ? sizeof(BFloat16) : sizeof(float), row = matrix.row * bytes;
    const char* line =
        static_cast<const char*>(matrix.data) + (tile.finish.row + tile.matrices.pixels_ahead) * row + c * bytes;
    for (int64_t l = max_of(1, tile.lines); l > 0; --l, line += tile.line_pixels * row)
#pragma GCC unroll 8
      for (int p = 0; p < Pixels; ++p) __builtin_prefetch(line + p * tile.pixel_step * row, 0, 2);
  }
}

/// Columns that `Pixels` results meet with `Width` taps in a row at a stride.
template <int Width, int Stride, int Pixels>
inline constexpr int columns_of = (Pixels - 1) * Stride + Width;

/// Vectors that a register of elements in memory becomes, where there are registers enough for their sums.
template <typename S>
inline constexpr int widened_vectors = vector_bytes == 64 ? static_cast<int>(sizeof(Compute<S>) / sizeof(S)) : 1;

/// Channels in the order that is cheapest: with two vectors, the even ones and the odd ones.
template <int Vectors, typename S>
PYCNN_INLINE void load_channels(Vector<Compute<S>> (&to)[Vectors], const S* from) {
  if constexpr (Vectors == 1) {
    to[0] = load(from);
  } else {
    const Vector<float> pairs = load(reinterpret_cast<const float*>(from));
    to[0] = even_of(pairs);
    to[1] = odd_of(pairs);
  }
}

/// Whether a tile fills lines of the cache, so that results may go past it.
template <typename S>
inline constexpr bool stores_lines = vector_bytes == 64 && (sizeof(S) == sizeof(float) ||
                                                            (sizeof(S) < sizeof(float) && widened_vectors<S> == 2));

/// What load_channels() took apart.
template <int Vectors, typename S>
PYCNN_INLINE void store_channels(S* to, const Vector<Compute<S>> (&from)[Vectors], [[maybe_unused]] bool streams) {
  if constexpr (stores_lines<S>) {
    Vector<float> line;
    if constexpr (Vectors == 1)
      line = from[0];
    else
      line = pairs_of(rounded(from[0]), rounded(from[1]));
    float* const at = reinterpret_cast<float*>(to);
    streams ? stream(at, line) : store(at, line);
  } else {
    store(to, from[0]);
  }
}

/// Results of channels [c, end). Weights are shared between pixels, columns between taps. With Edge, columns may lie
/// outside; with Partial there is one vector with `end - c` lanes.
template <typename S, int Width, int Stride, int Pixels, bool Edge, bool Partial>
void results(const Tile<S>& tile, int64_t c, int64_t end) {
  using T = Compute<S>;
  constexpr int vectors = Partial ? 1 : widened_vectors<S>;
  const Mask<T> mask(Partial ? static_cast<int>(end - c) : lanes<T>);
  const auto read = [&](Vector<T>(&to)[vectors], const S* p) __attribute__((always_inline)) {
    if constexpr (Partial)
      to[0] = load(p, mask);
    else
      load_channels(to, p);
  };
  const int64_t channels = tile.channels, weight_step = tile.weight_step;
  const int64_t first = tile.begin, last = tile.end;
  for (; c < end; c += vectors * lanes<T>) {
    Vector<T> sums[Pixels][vectors] = {};
    if (!Partial) prefetch_rows<Pixels * Stride>(tile, c);
    if (!Partial) prefetch_matrices<Pixels>(tile, c);
    for (const TapRow* row = tile.rows; row != tile.rows + tile.row_count; ++row) {
      const S* x = tile.source + row->source + c;
      const S* w = tile.weight + row->weight + c;
      Vector<T> factors[Width][vectors];
#pragma GCC unroll 8
      for (int j = 0; j < Width; ++j) read(factors[j], w + j * weight_step);
#pragma GCC unroll 24
      for (int i = 0; i < columns_of<Width, Stride, Pixels>; ++i) {
        if (Edge && (i < first || i >= last)) continue;
        Vector<T> column[vectors];
        read(column, x + i * channels);
#pragma GCC unroll 8
        for (int p = 0; p < Pixels; ++p)
          if (i >= p * Stride && i < p * Stride + Width)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; ++v)
              sums[p][v] = multiply_add(column[v], factors[i - p * Stride][v], sums[p][v]);
      }
    }
    if constexpr (sizeof(S) == sizeof(float)) finish<Partial, Pixels>(sums, tile.finish, {0, tile.pixel_step}, c, mask);
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) {
      S* to = tile.result + p * tile.result_step + c;
      if constexpr (Partial)
        store(to, sums[p][0], mask);
      else
        store_channels(to, sums[p], tile.streams);
    }
  }
}

/// The same for several rows of results, of which tile.lines are stored.
template <typename S, int Pixels, bool Edge, bool Partial>
void results_of_lines(const Tile<S>& tile, int64_t c, int64_t end) {
  using T = Compute<S>;
  constexpr int width = 3, count = most_lines;
  const Mask<T> mask(Partial ? static_cast<int>(end - c) : lanes<T>);
  const auto take = [&](const auto* p) __attribute__((always_inline)) { return Partial ? load(p, mask) : load(p); };
  const int64_t channels = tile.channels, row_elements = tile.row_elements;
  const int64_t first = tile.begin, last = tile.end, first_row = tile.row_begin, last_row = tile.row_end;
  for (; c < end; c += lanes<T>) {
    Vector<T> sums[count * Pixels][1] = {}, factors[width * width];
#pragma GCC unroll 16
    for (int j = 0; j < width * width; ++j)
      factors[j] = take(tile.weight + j / width * tile.weight_row + j % width * tile.weight_step + c);
    if (!Partial) prefetch_rows<Pixels>(tile, c);
    if (!Partial) prefetch_matrices<Pixels>(tile, c);
#pragma GCC unroll 16
    for (int r = 0; r < count + width - 1; ++r) {
      if (r < first_row || r >= last_row) continue;
      const S* x = tile.source + r * row_elements + c;
#pragma GCC unroll 16
      for (int i = 0; i < Pixels + width - 1; ++i) {
        if (Edge && (i < first || i >= last)) continue;
        const Vector<T> column = take(x + i * channels);
#pragma GCC unroll 16
        for (int l = 0; l < count; ++l)
#pragma GCC unroll 8
          for (int p = 0; p < Pixels; ++p) {
            const int j = r - l, k = i - p;
            if (j >= 0 && j < width && k >= 0 && k < width)
              sums[l * Pixels + p][0] = multiply_add(column, factors[j * width + k], sums[l * Pixels + p][0]);
          }
      }
    }
    finish<Partial, Pixels>(sums, tile.finish, {0, 1, tile.lines, tile.line_pixels}, c, mask);
#pragma GCC unroll 16
    for (int l = 0; l < count; ++l) {
      if (l >= tile.lines) break;
#pragma GCC unroll 8
      for (int p = 0; p < Pixels; ++p) {
        S* to = tile.result + l * tile.result_line + p * tile.result_step + c;
        if (Partial)
          store(to, sums[l * Pixels + p][0], mask);
        else
          store_channels(to, sums[l * Pixels + p], tile.streams);
      }
    }
  }
}

/// The same tile's part in the gradient of the weight: sums over its pixels are added to tile.sums.
template <typename S, int Width, int Stride, int Pixels, bool Edge, bool Partial>
void gradients(const Tile<S>& tile, int64_t c, int64_t end) {
  using T = Compute<S>;
  const Mask<T> mask(Partial ? static_cast<int>(end - c) : lanes<T>);
  const auto take = [&](const auto* p) __attribute__((always_inline)) { return Partial ? load(p, mask) : load(p); };
  const int64_t channels = tile.channels;
  const int64_t first = tile.begin, last = tile.end;
  for (; c < end; c += lanes<T>) {
    Vector<T> gradient[Pixels];
#pragma GCC unroll 8
    for (int p = 0; p < Pixels; ++p) gradient[p] = take(tile.result + p * channels + c);
    if (!Partial) {
      prefetch_rows<Pixels * Stride>(tile, c);
#pragma GCC unroll 8
      for (int p = 0; p < Pixels; ++p) __builtin_prefetch(tile.result + tile.result_row + p * channels + c, 0, 2);
    }
    for (const TapRow* row = tile.rows; row != tile.rows + tile.row_count; ++row) {
      const S* x = tile.source + row->source + c;
      Vector<T> sums[Width] = {};
#pragma GCC unroll 24
      for (int i = 0; i < columns_of<Width, Stride, Pixels>; ++i) {
        if (Edge && (i < first || i >= last)) continue;
        const Vector<T> column = take(x + i * channels);
#pragma GCC unroll 8
        for (int p = 0; p < Pixels; ++p)
          if (i >= p * Stride && i < p * Stride + Width)
            sums[i - p * Stride] = multiply_add(column, gradient[p], sums[i - p * Stride]);
      }
      T* to = tile.sums + row->weight + c;
#pragma GCC unroll 8
      for (int j = 0; j < Width; ++j) {
        if (Partial)
          store(to + j * channels, load(to + j * channels, mask) + sums[j], mask);
        else
          store(to + j * channels, load(to + j * channels) + sums[j]);
      }
    }
  }
}

template <typename S>
using TileFunction = void (*)(const Tile<S>&, int64_t, int64_t);

/// A tile's code: whole vectors away from the borders, at them, and the vector with the last channels.
template <typename S>
struct TileFunctions {
  TileFunction<S> inner, edge, partial;
};

template <typename S, int Width, int Stride, bool Gradient, int Pixels>
TileFunctions<S> functions_of_pixels(int pixels) {
  if constexpr (Pixels > 1)
    if (pixels < Pixels) return functions_of_pixels<S, Width, Stride, Gradient, Pixels - 1>(pixels);
  if constexpr (Gradient)
    return {gradients<S, Width, Stride, Pixels, false, false>, gradients<S, Width, Stride, Pixels, true, false>,
            gradients<S, Width, Stride, Pixels, true, true>};
  else
    return {results<S, Width, Stride, Pixels, false, false>, results<S, Width, Stride, Pixels, true, false>,
            results<S, Width, Stride, Pixels, true, true>};
}

/// For tiles of several lines.
template <typename S, int Pixels = line_tile>
TileFunctions<S> functions_of_lines(int pixels) {
  if constexpr (Pixels > 1)
    if (pixels < Pixels) return functions_of_lines<S, Pixels - 1>(pixels);
  return {results_of_lines<S, Pixels, false, false>, results_of_lines<S, Pixels, true, false>,
          results_of_lines<S, Pixels, true, true>};
}

/// For tiles of `pixels` results; null if there is no code for this width of kernel and stride.
template <typename S, bool Gradient>
TileFunctions<S> tile_functions(int64_t width, int64_t stride, int pixels) {
  constexpr int most = Gradient ? gradient_tile : result_tile;
  if (stride == 1 && width == 3) return functions_of_pixels<S, 3, 1, Gradient, most>(pixels);
  if (stride == 1 && width == 5) return functions_of_pixels<S, 5, 1, Gradient, most>(pixels);
  if (stride == 2 && width == 3) return functions_of_pixels<S, 3, 2, Gradient, most>(pixels);
  if (stride == 2 && width == 5) return functions_of_pixels<S, 5, 2, Gradient, most>(pixels);
  // Phases of a strided input gradient.
  if (!Gradient && stride == 1 && width == 1) return functions_of_pixels<S, 1, 1, Gradient, most>(pixels);
  if (!Gradient && stride == 1 && width == 2) return functions_of_pixels<S, 2, 1, Gradient, most>(pixels);
  return {};
}

}  // namespace pycnn::cpu::PYCNN_ISA
