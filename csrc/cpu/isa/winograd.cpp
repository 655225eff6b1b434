// Winograd's minimal filtering for 3×3 kernels (Lavin, Gray 2016): a tile of m×m results comes from (m+2)² products of
// the transformed source and the transformed weight. For many tiles at once these are (m+2)² products of matrices,
// tiles × source channels times source channels × result channels, on the microkernel.
#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t most_block_tiles = 84;  // a multiple of the microkernel's rows on every level
constexpr int64_t least_block_tiles = 28;
constexpr int64_t cached_source_bytes = int64_t{1} << 19;  // transformed sources of a block that stay in L2
constexpr int64_t cached_weight_bytes = int64_t{1} << 20;  // transformed weight that does, more or less
constexpr int64_t shared_source_bytes = int64_t{1} << 23;  // transformed sources that stay in L3
constexpr int64_t enough_items = 32;
constexpr int64_t most_slots = 32, item_shares = 8;
constexpr int64_t weight_rows_per_chunk = 16;

/// The one-dimensional transforms, applied to columns and then to rows.
template <int Tile>
struct Transform;

template <>
struct Transform<2> {
  template <typename T>
  PYCNN_INLINE void source(const Vector<T> (&d)[4], Vector<T> (&to)[4]) {
    to[0] = d[0] - d[2];
    to[1] = d[1] + d[2];
    to[2] = d[2] - d[1];
    to[3] = d[1] - d[3];
  }
  template <typename T>
  PYCNN_INLINE void weight(const Vector<T> (&g)[3], Vector<T> (&to)[4]) {
    const Vector<T> even = T(0.5) * (g[0] + g[2]), odd = T(0.5) * g[1];
    to[0] = g[0];
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = g[2];
  }
  template <typename T>
  PYCNN_INLINE void result(const Vector<T> (&m)[4], Vector<T> (&to)[2]) {
    to[0] = m[0] + m[1] + m[2];
    to[1] = m[1] - m[2] - m[3];
  }
};

template <>
struct Transform<4> {
  template <typename T>
  PYCNN_INLINE void source(const Vector<T> (&d)[6], Vector<T> (&to)[6]) {
    const Vector<T> a = d[4] - T(4) * d[2], b = d[3] - T(4) * d[1];
    const Vector<T> c = d[4] - d[2], e = T(2) * (d[3] - d[1]);
    to[0] = T(4) * d[0] - T(5) * d[2] + d[4];
    to[1] = a + b;
    to[2] = a - b;
    to[3] = c + e;
    to[4] = c - e;
    to[5] = T(4) * d[1] - T(5) * d[3] + d[5];
  }
  template <typename T>
  PYCNN_INLINE void weight(const Vector<T> (&g)[3], Vector<T> (&to)[6]) {
    const Vector<T> a = T(-1.0 / 6) * (g[0] + g[2]), b = T(-1.0 / 6) * g[1];
    const Vector<T> c = T(1.0 / 24) * g[0] + T(1.0 / 6) * g[2], e = T(1.0 / 12) * g[1];
    to[0] = T(0.25) * g[0];
    to[1] = a + b;
    to[2] = a - b;
    to[3] = c + e;
    to[4] = c - e;
    to[5] = g[2];
  }
  template <typename T>
  PYCNN_INLINE void result(const Vector<T> (&m)[6], Vector<T> (&to)[4]) {
    const Vector<T> a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], e = m[3] - m[4];
    to[0] = m[0] + a + c;
    to[1] = b + T(2) * e;
    to[2] = a + T(4) * c;
    to[3] = b + T(8) * e + m[5];
  }
};

/// How the tiles are cut into blocks, and what of the workspace belongs to what. By shape alone.
template <typename T, int Tile>
struct Layout {
  static constexpr int side = Tile + 2, planes = side * side;
  static constexpr int64_t size = static_cast<int64_t>(sizeof(T)), line = 64 / size;

  int64_t source_channels, result_channels, width, panels;
  int64_t rows, tiles_high, tiles_wide;  ///< of tiles: rows of all images, rows and columns of one
  int64_t block_rows, block_columns;     ///< tiles of a block
  int64_t row_blocks, column_blocks, blocks;
  bool shared;                          ///< sources are transformed for all blocks first, not by each chunk for itself
  int64_t group_panels, groups, slots;  ///< an item of work is a block × a group of panels
  int64_t source_plane, result_plane;   ///< the odd line keeps planes off the same lines of the cache
  int64_t weight_elements, source_elements, result_elements;

  explicit Layout(const Taps& taps) : source_channels(taps.source_channels), result_channels(taps.result_channels) {
    width = panel_width<T>(result_channels);
    panels = ceil_divide(result_channels, width);
    tiles_high = ceil_divide(taps.axis[1].count, Tile);
    tiles_wide = ceil_divide(taps.axis[2].count, Tile);
    rows = taps.batch * taps.axis[0].count * tiles_high;
    weight_elements = weight_elements_of(taps);
    const int64_t tile_bytes = planes * source_channels * size;
    // A weight that stays in L2 meets blocks whose sources stay there too; a larger one streams past the largest such
    // blocks. With few blocks, chunks that share one block's sources each take a part of the result's channels.
    const bool weight_cached = weight_elements * size <= cached_weight_bytes;
    const int64_t fitting = (weight_cached ? 1 : 2) * cached_source_bytes / tile_bytes / 14 * 14;
    cut(min_of(most_block_tiles, max_of(weight_cached ? least_block_tiles : 42, fitting)));
    shared = blocks < enough_items && rows * tiles_wide * tile_bytes <= shared_source_bytes;
    if (shared && !weight_cached) cut(most_block_tiles);
    groups = !shared ? 1 : weight_cached ? min_of(panels, ceil_divide(enough_items, blocks)) : panels;
    group_panels = ceil_divide(panels, groups);
    groups = ceil_divide(panels, group_panels);
    slots = min_of(blocks * groups, most_slots);
    source_plane = (ceil_divide(block_rows * block_columns * source_channels, line) + 1) * line;
    result_plane = (ceil_divide(block_rows * block_columns * width, line) + 1) * line;
    source_elements = planes * source_plane;
    result_elements = planes * result_plane;
  }

  /// Of the transformed weight.
  static int64_t weight_elements_of(const Taps& taps) {
    const int64_t width = panel_width<T>(taps.result_channels);
    return ceil_divide(taps.result_channels, width) * width * planes * taps.source_channels;
  }

  /// Blocks of whole rows of tiles, or of a part of one.
  void cut(int64_t tiles) {
    column_blocks = ceil_divide(tiles_wide, tiles);
    block_columns = ceil_divide(tiles_wide, column_blocks);
    column_blocks = ceil_divide(tiles_wide, block_columns);
    row_blocks = ceil_divide(rows, max_of(1, tiles / block_columns));
    block_rows = ceil_divide(rows, row_blocks);
    row_blocks = ceil_divide(rows, block_rows);
    blocks = row_blocks * column_blocks;
  }

  size_t workspace() const {
    const int64_t elements = weight_elements + (shared ? blocks : slots) * source_elements + slots * result_elements;
    return aligned_bytes(elements, sizeof(T));
  }
};

template <typename T, int Tile>
class Winograd {
 public:
  Winograd(const Taps& taps, const T* source, const T* weights, T* result, T* workspace)
      : taps_(taps), layout_(taps), source_(source), result_(result), weights_(weights) {
    sources_ = workspace + layout_.weight_elements;
    results_ = sources_ + (layout_.shared ? layout_.blocks : layout_.slots) * layout_.source_elements;
  }

  void run(const kernels::PointwiseArguments* arguments) const {
    const Layout<T, Tile>& l = layout_;
    const int64_t channels = l.group_panels * l.width;
    const RowEpilogue row_epilogue(arguments, result_, true);
    const Epilogue epilogue(row_epilogue.rest(arguments), min_of(channels, l.result_channels),
                            l.result_channels - (l.groups - 1) * channels);
    if (l.shared)
      parallel_for(l.blocks * l.block_rows, [&](int64_t chunk) {
        const int64_t block = chunk / l.block_rows, row = chunk % l.block_rows;
        transform_source(block, row, row + 1, sources_ + block * l.source_elements);
      });
    int64_t next[item_shares];
    const int64_t items = l.blocks * l.groups;
    for (int64_t share = 0; share < item_shares; ++share) next[share] = items * share / item_shares;
    parallel_for(l.slots, [&](int64_t slot) {
      // Whoever holds a slot takes items until there are none: memory for a few threads serves any number of items.
      // As with chunks, a thread begins with the same part every time.
      for (int64_t i = 0; i < item_shares; ++i) {
        const int64_t share = (slot * item_shares / l.slots + i) % item_shares;
        const int64_t end = items * (share + 1) / item_shares;
        for (int64_t item; (item = __atomic_fetch_add(&next[share], 1, __ATOMIC_RELAXED)) < end;) {
          const int64_t block = item % l.blocks;
          run_item(block, item / l.blocks, sources_ + (l.shared ? block : slot) * l.source_elements,
                   results_ + slot * l.result_elements, row_epilogue, epilogue);
        }
      }
    });
  }

  /// `to`: per panel and plane, source channels × width.
  static void transform_weight(const Taps& taps, const T* weight, T* to) {
    const int64_t in = taps.source_channels, out = taps.result_channels, width = panel_width<T>(out);
    const int64_t parts = ceil_divide(in, weight_rows_per_chunk);
    parallel_for(ceil_divide(out, width) * parts, [&](int64_t chunk) {
      const int64_t panel = chunk / parts, begin = chunk % parts * weight_rows_per_chunk;
      const int64_t columns = min_of(out - panel * width, width), end = min_of(in, begin + weight_rows_per_chunk);
      T* rows = to + (panel * planes * in + begin) * width;
      alignas(64) T gathered[weight_rows_per_chunk * 9 * column_tile<T>];
      gather_weight(taps, weight, begin, end - begin, panel * width, columns, width, gathered);
      for (int64_t c = 0; c < end - begin; ++c, rows += width)
        for (int64_t i = 0; i < width; i += lanes<T>)
          transform_taps(taps, gathered + c * 9 * width + i, width, rows + i, in * width);
    });
  }

 private:
  static constexpr int side = Tile + 2, planes = side * side;

  struct BlockRange {
    int64_t row_begin, row_end, column_begin, column_end;  ///< rows of tiles are counted over all images
    int64_t columns() const { return column_end - column_begin; }
  };
  BlockRange range(int64_t block) const {
    const int64_t row = block / layout_.column_blocks * layout_.block_rows;
    const int64_t column = block % layout_.column_blocks * layout_.block_columns;
    return {row, min_of(row + layout_.block_rows, layout_.rows), column,
            min_of(column + layout_.block_columns, layout_.tiles_wide)};
  }

  /// Nine rows of taps in the kernel's order.
  static void transform_taps(const Taps& order, const T* taps, int64_t row, T* to, int64_t plane) {
    Vector<T> half[side][3];
    for (int j = 0; j < 3; ++j) {
      Vector<T> g[3], u[side];
      for (int i = 0; i < 3; ++i) g[i] = load(taps + order.kernel_index(0, i, j) * row);
      Transform<Tile>::template weight<T>(g, u);
      for (int i = 0; i < side; ++i) half[i][j] = u[i];
    }
    for (int i = 0; i < side; ++i) {
      Vector<T> u[side];
      Transform<Tile>::template weight<T>(half[i], u);
      for (int j = 0; j < side; ++j) store(to + (i * side + j) * plane, u[j]);
    }
  }

  /// Rows [begin, end) of the block's tiles; `to`: per plane, tiles × channels.
  void transform_source(int64_t block, int64_t begin, int64_t end, T* to) const {
    const BlockRange tiles = range(block);
    const Axis &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t channels = layout_.source_channels;
    for (int64_t r = begin; r < min_of(end, tiles.row_end - tiles.row_begin); ++r) {
      const int64_t row = tiles.row_begin + r, image = row / layout_.tiles_high;
      const int64_t y = row % layout_.tiles_high * Tile + height.first_offset;
      const bool whole = y >= 0 && y + side <= height.source_size;
      const T* lines[side];  // null: beyond the border
      for (int i = 0; i < side; ++i) {
        const bool inside = y + i >= 0 && y + i < height.source_size;
        lines[i] = inside ? source_ + (image * height.source_size + y + i) * width.source_size * channels : nullptr;
      }
      T* tile = to + r * tiles.columns() * channels;
      int64_t c = 0;
      for (; c + lanes<T> <= channels; c += lanes<T>)
        whole ? transform_row<true, false>(lines, tiles, c, tile + c, Mask<T>(1))
              : transform_row<false, false>(lines, tiles, c, tile + c, Mask<T>(1));
      if (c < channels) transform_row<false, true>(lines, tiles, c, tile + c, Mask<T>(static_cast<int>(channels - c)));
    }
  }

  /// A vector of channels of all tiles of a row. Tiles share two columns of pixels, which are transformed once.
  template <bool Whole, bool Partial>
  void transform_row(const T* const (&lines)[side], const BlockRange& tiles, int64_t c, T* to,
                     const Mask<T>& mask) const {
    const Axis& width = taps_.axis[2];
    const int64_t channels = layout_.source_channels, plane = layout_.source_plane;
    const Mask<T> last = mask;
    Vector<T> half[side][side];
    const auto column = [&](int64_t x, int j) __attribute__((always_inline)) {
      Vector<T> d[side], v[side];
      const bool inside = x >= 0 && x < width.source_size;
      const int64_t at = x * channels + c;
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) {
        if (!inside || (!Whole && lines[i] == nullptr))
          d[i] = Vector<T>{};
        else
          d[i] = Partial ? load(lines[i] + at, last) : load(lines[i] + at);
      }
      Transform<Tile>::template source<T>(d, v);
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) half[i][j] = v[i];
    };
    int64_t x = tiles.column_begin * Tile + width.first_offset;
    column(x, 0);
    column(x + 1, 1);
    for (int64_t n = tiles.columns(); n > 0; --n, x += Tile, to += channels) {
#pragma GCC unroll 4
      for (int j = side - Tile; j < side; ++j) column(x + j, j);
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) {
        Vector<T> v[side];
        Transform<Tile>::template source<T>(half[i], v);
#pragma GCC unroll 6
        for (int j = 0; j < side; ++j) {
          T* place = to + (i * side + j) * plane;
          if (Partial)
            store(place, v[j], last);
          else
            store(place, v[j]);
        }
        half[i][0] = half[i][Tile];
        half[i][1] = half[i][Tile + 1];
      }
    }
  }

  void run_item(int64_t block, int64_t group, T* source, T* products, const RowEpilogue& row_epilogue,
                const Epilogue& epilogue) const {
    const Layout<T, Tile>& l = layout_;
    const BlockRange tiles = range(block);
    if (!l.shared) transform_source(block, 0, l.block_rows, source);
    const int64_t panel_begin = group * l.group_panels, panel_end = min_of(l.panels, panel_begin + l.group_panels);
    const int64_t channel = panel_begin * l.width;
    EpilogueColumns finish(epilogue, channel, min_of(panel_end * l.width, l.result_channels) - channel);
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t columns = min_of(l.result_channels - panel * l.width, l.width);
      // On the way come the matrices that the epilogue reads and, once, the next block's source.
      Fetch fetch[2];
      int next = panel == panel_begin ? -1 : 0;
      for (int64_t plane = 0; plane < planes; ++plane) {
        for (Fetch& f : fetch)
          if (f.left == 0) f = wanted(tiles, next++, row_epilogue, panel * l.width, columns);
        const Product<T> factors{source + plane * l.source_plane,
                                 weights_ + (panel * planes + plane) * l.source_channels * l.width};
        brgemm(BatchReduce<T>{.products = &factors,
                              .count = 1,
                              .m = (tiles.row_end - tiles.row_begin) * tiles.columns(),
                              .n = columns,
                              .k = l.source_channels,
                              .a_row = l.source_channels,
                              .a_column = 1,
                              .b_row = l.width,
                              .c = products + plane * l.result_plane,
                              .c_row = l.width,
                              .accumulate = false,
                              .b_ahead = l.source_channels * l.width,
                              .fetch = fetch});
      }
      const int64_t first = panel * l.width;
      write_results(tiles, products, first, columns);
      for_each_run(tiles, [&](int64_t begin, int64_t end) { row_epilogue.run(begin, end, first, first + columns); });
    }
    for_each_run(tiles, [&](int64_t begin, int64_t end) { finish.run(begin, end); });
  }

  /// Matrix number `matrix` of the epilogue where it meets the block; -1: rows of the source behind the block's.
  Fetch wanted(const BlockRange& tiles, int matrix, const RowEpilogue& epilogue, int64_t channel,
               int64_t columns) const {
    if (layout_.column_blocks > 1) return {};
    const int64_t begin = image_row(tiles.row_begin), end = image_row(tiles.row_end), width = taps_.axis[2].count;
    if (matrix >= 0) return epilogue.fetch(matrix, begin * width, end * width, channel, channel + columns);
    const Axis& height = taps_.axis[1];
    const int64_t row = taps_.axis[2].source_size * layout_.source_channels;
    if (layout_.shared || height.source_size != height.count) return {};
    const int64_t all = taps_.batch * taps_.axis[0].count * height.count;
    return {source_ + end * row, min_of(end - begin, all - end), row, row};
  }

  /// The first row of pixels, counted over all images, of a row of tiles.
  int64_t image_row(int64_t row) const {
    const int64_t height = taps_.axis[1].count;
    return row / layout_.tiles_high * height + min_of(row % layout_.tiles_high * Tile, height);
  }

  void write_results(const BlockRange& tiles, const T* products, int64_t channel, int64_t columns) const {
    const int64_t height = taps_.axis[1].count, width = taps_.axis[2].count, channels = layout_.result_channels;
    for (int64_t row = tiles.row_begin; row < tiles.row_end; ++row) {
      const int64_t image = row / layout_.tiles_high, y = row % layout_.tiles_high * Tile;
      T* line = result_ + (image * height + y) * width * channels + channel;
      for (int64_t column = tiles.column_begin; column < tiles.column_end; ++column, products += layout_.width) {
        const int64_t x = column * Tile;
        const int64_t rows = min_of(Tile, height - y), pixels = min_of(Tile, width - x);
        const bool whole = rows == Tile && pixels == Tile;
        T* to = line + x * channels;
        int64_t c = 0;
        for (; c + lanes<T> <= columns; c += lanes<T>)
          whole ? write_tile<true, false>(products + c, to + c, rows, pixels, width * channels, Mask<T>(1))
                : write_tile<false, false>(products + c, to + c, rows, pixels, width * channels, Mask<T>(1));
        if (c < columns)
          write_tile<false, true>(products + c, to + c, rows, pixels, width * channels,
                                  Mask<T>(static_cast<int>(columns - c)));
      }
    }
  }

  template <bool Whole, bool Partial>
  void write_tile(const T* products, T* to, int64_t rows, int64_t pixels, int64_t row_stride,
                  const Mask<T>& mask) const {
    const int64_t plane = layout_.result_plane, pixel_stride = layout_.result_channels;
    Vector<T> half[Tile][side];
#pragma GCC unroll 6
    for (int j = 0; j < side; ++j) {
      Vector<T> m[side], y[Tile];
#pragma GCC unroll 6
      for (int i = 0; i < side; ++i) m[i] = load(products + (i * side + j) * plane);
      Transform<Tile>::template result<T>(m, y);
#pragma GCC unroll 4
      for (int i = 0; i < Tile; ++i) half[i][j] = y[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < Tile; ++i) {
      Vector<T> y[Tile];
      Transform<Tile>::template result<T>(half[i], y);
      if (!Whole && i >= rows) continue;
#pragma GCC unroll 4
      for (int j = 0; j < Tile; ++j) {
        if (!Whole && j >= pixels) continue;
        T* place = to + i * row_stride + j * pixel_stride;
        if (Partial)
          store(place, y[j], mask);
        else
          store(place, y[j]);
      }
    }
  }

  /// Calls function(begin, end) for runs of the pixels of a block.
  template <typename Function>
  void for_each_run(const BlockRange& tiles, const Function& function) const {
    const int64_t width = taps_.axis[2].count;
    if (layout_.column_blocks == 1)
      return function(image_row(tiles.row_begin) * width, image_row(tiles.row_end) * width);
    const int64_t begin = tiles.column_begin * Tile, end = min_of(tiles.column_end * Tile, width);
    for (int64_t y = image_row(tiles.row_begin); y < image_row(tiles.row_end); ++y)
      function(y * width + begin, y * width + end);
  }

  const Taps& taps_;
  const Layout<T, Tile> layout_;
  const T* source_;
  T* result_;
  const T* weights_;  ///< transformed
  T* sources_;
  T* results_;
};

Taps taps_of(const ConvolutionArguments& a, bool forward) {
  return forward ? forward_taps(a) : input_gradient_taps(a, {0, 0, 0});
}

template <typename T, int Tile>
void run(const ConvolutionArguments& a, bool forward) {
  const Taps taps = taps_of(a, forward);
  if (taps.rows() * taps.axis[2].count * taps.result_channels == 0) return;
  const T* source = static_cast<const T*>(forward ? a.input : a.output);
  T* result = static_cast<T*>(forward ? a.output : a.input);
  T* workspace = static_cast<T*>(a.workspace);
  if (!a.packed) Winograd<T, Tile>::transform_weight(taps, static_cast<const T*>(a.weight), workspace);
  const T* weights = a.packed ? static_cast<const T*>(a.packed) : workspace;
  Winograd<T, Tile>(taps, source, weights, result, workspace).run(a.epilogue);
}

/// Whether the direct algorithm is faster, as measured; by shape alone.
template <int Tile>
const char* unprofitable(const Taps& taps) {
  const int64_t tiles =
      taps.batch * taps.axis[0].count * ceil_divide(taps.axis[1].count, Tile) * ceil_divide(taps.axis[2].count, Tile);
  if (min_of(taps.source_channels, taps.result_channels) < 16) return "so few channels do not pay for the transforms";
  if (tiles < 48) return "so few tiles do not pay for the transform of the weight";
  return nullptr;
}

}  // namespace

template <int Tile, bool Forward>
const char* winograd_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  for (int d = 0; d < 3; ++d)
    if (s.kernel[d] != (d == 0 ? 1 : 3) || s.stride[d] != 1 || s.dilation[d] != 1)
      return "the kernel is not 3x3 with stride 1 and no dilation";
  if (s.padding[0] != 0 || s.output[0] != s.input[0]) return "there is padding in depth";
  if (s.groups != 1) return "there are groups";
  if (a.forced) return nullptr;
  if (a.winograd < Tile) return a.winograd == 0 ? "it was switched off" : "tiles of 4x4 were not asked for";
  return unprofitable<Tile>(taps_of(a, Forward));
}

template <int Tile, bool Forward>
size_t winograd_workspace(const ConvolutionArguments& a) {
  const Taps taps = taps_of(a, Forward);
  if (taps.rows() * taps.axis[2].count * taps.result_channels == 0) return 0;
  return a.dtype == DType::Float32 ? Layout<float, Tile>(taps).workspace() : Layout<double, Tile>(taps).workspace();
}

template <int Tile, bool Forward>
void winograd(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? run<float, Tile>(a, Forward) : run<double, Tile>(a, Forward);
}

template <int Tile, bool Forward>
size_t packed_winograd_bytes(const ConvolutionArguments& a) {
  const Taps taps = taps_of(a, Forward);
  return a.dtype == DType::Float32 ? aligned_bytes(Layout<float, Tile>::weight_elements_of(taps), sizeof(float))
                                   : aligned_bytes(Layout<double, Tile>::weight_elements_of(taps), sizeof(double));
}

template <int Tile, bool Forward>
void pack_winograd(const ConvolutionArguments& a, void* to) {
  const Taps taps = taps_of(a, Forward);
  if (a.dtype == DType::Float32)
    Winograd<float, Tile>::transform_weight(taps, static_cast<const float*>(a.weight), static_cast<float*>(to));
  else
    Winograd<double, Tile>::transform_weight(taps, static_cast<const double*>(a.weight), static_cast<double*>(to));
}

#define PYCNN_WINOGRAD(tile, forward)                                                   \
  template const char* winograd_declines<tile, forward>(const ConvolutionArguments& a); \
  template size_t winograd_workspace<tile, forward>(const ConvolutionArguments& a);     \
  template size_t packed_winograd_bytes<tile, forward>(const ConvolutionArguments& a);  \
  template void pack_winograd<tile, forward>(const ConvolutionArguments& a, void* to);  \
  template void winograd<tile, forward>(const ConvolutionArguments& a);
PYCNN_WINOGRAD(2, true)
PYCNN_WINOGRAD(2, false)
PYCNN_WINOGRAD(4, true)
PYCNN_WINOGRAD(4, false)
#undef PYCNN_WINOGRAD

}  // namespace pycnn::cpu::PYCNN_ISA
