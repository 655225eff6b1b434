// Weight gradient of bfloat16 operands: dW[o, i, tap] = Σ over pixels of dY[pixel, o] · X[pixel's input under tap, i],
// summed in float32 and rounded once. A block of pixels is packed per chunk and used by all its taps: dY transposed, X
// in panels of pairs of pixels. In both a row of pixels is followed by as many zeros as the borders ask for, so that
// many rows are one long K and a tap is a distance; as pairs must stay pairs it is A that is shifted. With stride, the
// input pixels of equal remainder lie together, in planes. With few channels the taps of a row are columns of X.
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/isa/widened.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t block_pixels = 448;     // K of one product: long enough to load and store sums rarely
constexpr int64_t most_products = 64;     // images of a block
constexpr int64_t most_outs = 128;        // out channels of a chunk
constexpr int64_t most_sums = 80 * 1024;  // of a chunk: they stay in L2
constexpr int64_t most_chunk_panels = 8;
constexpr int64_t split_pixels = 512;  // fewer would spend the time on adding up
constexpr int64_t few_channels = 16;
constexpr int64_t enough_chunks = 32;
constexpr int64_t most_partial_elements = int64_t{1} << 22;
constexpr int64_t position_unit = 2 * lanes<float>;  // pixels that are transposed at once

/// Input position q·stride + offset(tap) lies in the plane of its remainder modulo the stride, at q + shift(tap).
struct Planes {
  explicit Planes(const Axis& axis)
      : stride(axis.source_step),
        period(min_of(axis.taps, axis.source_step / common_divisor(axis.source_step, axis.offset_step))),
        first_offset(axis.first_offset),
        step(axis.offset_step),
        source_size(axis.source_size) {}

  int64_t offset(int64_t tap) const { return first_offset + tap * step; }
  int64_t shift(int64_t tap) const { return -ceil_divide(-offset(tap), stride); }
  int64_t remainder(int64_t tap) const { return offset(tap) - shift(tap) * stride; }
  /// How many input positions the plane of this tap has.
  int64_t size(int64_t tap) const { return max_of(0, ceil_divide(source_size - remainder(tap), stride)); }

  int64_t stride, period;  ///< taps that are `period` apart share a plane
  int64_t first_offset, step, source_size;
};

/// Whether the taps of a row and their channels are the columns of one product.
bool merges_taps(const ConvolutionShape& s) {
  return s.groups == 1 && s.in_channels < few_channels && s.kernel[2] > 1 && s.dilation[2] == 1;
}

/// The convolution that is computed: merged taps are one tap, small maps without neighbourhood one row.
Taps taps_of(const ConvolutionArguments& a) {
  Taps taps = forward_taps(a);
  Axis &height = taps.axis[1], &width = taps.axis[2];
  if (merges_taps(a.shape)) {
    width.taps = width.source_step = 1;
    width.first_offset = 0;
    width.source_size = width.count;
  } else if (is_pointwise_convolution(a.shape) && width.count % 2 != 0 && height.count * width.count <= block_pixels) {
    width.count = width.source_size = width.result_size = height.count * width.count;
    height.count = height.source_size = height.result_size = 1;
  }
  return taps;
}

/// How the work is cut and how packed operands lie; by shape alone.
struct Layout {
  Layout(const ConvolutionArguments& a, const Taps& taps);

  int64_t columns;  ///< of X: in channels, times merged taps
  int64_t width;    ///< of a panel
  int64_t out_block, out_blocks;
  int64_t panels, panel_blocks;      ///< in a chunk, chunks
  int64_t tap_rows, tap_row_blocks;  ///< kernel rows of a chunk
  int64_t pitch;                     ///< pixels from row to row, even
  int64_t before, after;             ///< zeros before and behind the rows of A
  int64_t rows, bands;               ///< output rows of a block, blocks per image
  int64_t images, blocks;            ///< images of a block, blocks in all
  int64_t plane_rows;                ///< input rows per image in a plane
  int64_t plane_pixels, planes;
  int64_t plane_size;  ///< with pixels of zeros behind that tiles read
  int64_t a_row;       ///< pixels of a row of A
  int64_t padded_row;  ///< elements of an input row with its borders, for merged taps
  int64_t zeros;       ///< channels of a pixel of zeros
  int64_t splits;
  int64_t sum_elements, a_elements, b_elements, padded_elements;
  int64_t bytes() const {
    return sum_elements * 4 + (a_elements + b_elements + padded_elements + zeros) * 2 +
           max_of(a_row, plane_size) * static_cast<int64_t>(sizeof(void*));
  }
};

Layout::Layout(const ConvolutionArguments& a, const Taps& taps) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &row = taps.axis[2];
  const bool merged = merges_taps(a.shape);
  const int64_t out = taps.result_group();
  columns = taps.source_group() * (merged ? a.shape.kernel[2] : 1);
  width = bfloat_panel_width(columns);
  out_blocks = ceil_divide(out, most_outs);
  out_block = ceil_divide(out, out_blocks);
  const int64_t panel_sums = out_block * width * row.taps;
  panels =
      min_of(min_of(ceil_divide(columns, width), most_chunk_panels), max_of(2, most_sums / (panel_sums * height.taps)));
  panel_blocks = ceil_divide(ceil_divide(columns, width), panels);
  tap_rows = max_of(1, min_of(height.taps, most_sums / (panel_sums * panels)));
  tap_row_blocks = ceil_divide(height.taps, tap_rows);
  tap_rows = ceil_divide(height.taps, tap_row_blocks);

  const Planes along(row), lines(height);
  const int64_t first = along.shift(0), last = along.shift(row.taps - 1);
  int64_t data = 0;
  for (int64_t j = 0; j < along.period; ++j) data = max_of(data, min_of(along.size(j), row.count + last));
  pitch = max_of(max_of(row.count, row.count + last), data + max_of(0, -first));
  pitch = ceil_divide(pitch, 2) * 2;
  before = max_of(0, last);
  after = max_of(0, -first);

  const int64_t all_images = taps.batch * depth.count, image = height.count * pitch;
  images = max_of(1, min_of(min_of(block_pixels / max_of(1, image), most_products), all_images));
  bands = max_of(1, ceil_divide(image, block_pixels + block_pixels / 4));
  rows = ceil_divide(height.count, bands);
  bands = ceil_divide(height.count, max_of(1, rows));
  blocks = ceil_divide(all_images, images) * bands;

  // Of all taps that share a plane; rounding may add one row.
  plane_rows = rows + ceil_divide((tap_rows - 1) * lines.step, lines.stride) + 1;
  plane_pixels = images * plane_rows * pitch;
  plane_size = plane_pixels;
  const bool fits = plane_pixels < static_cast<int64_t>(scratch_bytes);  // else nobody asks for more
  for (int64_t k = pitch; fits && k <= rows * pitch; k += pitch)
    plane_size = max_of(plane_size, plane_pixels - k + bfloat_panel_depth(k));
  planes = min_of(tap_rows, lines.period) * along.period;
  a_row = ceil_divide(before + images * rows * pitch + after, position_unit) * position_unit;
  if (a_row % (8 * position_unit) == 0) a_row += position_unit;
  padded_row = merged ? ((row.count - 1) * a.shape.stride[2] + a.shape.kernel[2]) * taps.source_channels : 0;
  zeros = max_of(out_block, panels * width) + lanes<float>;

  const int64_t chunks = max_of(1, taps.groups * out_blocks * panel_blocks * tap_row_blocks * depth.taps);
  splits = min_of(ceil_divide(enough_chunks, chunks), most_partial_elements / max_of(1, weight_elements(a.shape)));
  splits = max_of(
      1, min_of(min_of(splits, blocks), output_elements(a.shape) / max_of(1, taps.result_channels) / split_pixels));

  sum_elements = tap_rows * row.taps * out_block * panels * width;
  a_elements = out_block * a_row;
  b_elements = planes * plane_size * panels * width;
  padded_elements = images * plane_rows * padded_row + lanes<float>;
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

/// rows[i][x] = pixels[x][i] for i < channels and x < count, a multiple of position_unit.
void pack_transposed_pixels(const BFloat16* const* pixels, int64_t count, int64_t channels, int64_t ahead, BFloat16* to,
                            int64_t to_row) {
  const auto store_rows = [&](Vector<float>(&tile)[lanes<float>], int64_t i, int64_t x, int64_t rows)
      __attribute__((always_inline)) {
    transpose<float>(tile);
#pragma GCC unroll 16
    for (int r = 0; r < lanes<float>; ++r)
      if (r < rows) store(reinterpret_cast<float*>(to + (i + r) * to_row + x), tile[r]);
  };
  for (int64_t x = 0; x < count; x += position_unit) {
    int64_t i = 0;
    // Two vectors of channels are a line of the cache, which is read once.
    for (; i + 2 * lanes<float> <= channels; i += 2 * lanes<float>) {
      Vector<float> first[lanes<float>], second[lanes<float>];
#pragma GCC unroll 16
      for (int p = 0; p < lanes<float>; ++p) {
        const BFloat16 *even = pixels[x + 2 * p] + i, *odd = pixels[x + 2 * p + 1] + i;
        __builtin_prefetch(even + ahead, 0, 2);
        __builtin_prefetch(odd + ahead, 0, 2);
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
        __builtin_prefetch(even + ahead, 0, 2);
        __builtin_prefetch(odd + ahead, 0, 2);
        tile[p] = left == lanes<float> ? pairs_of(load(even), load(odd)) : pairs_of(load(even, mask), load(odd, mask));
      }
      store_rows(tile, i, x, left);
    }
  }
}

/// A panel of pairs of pixels: to[x/2·2·width + 2·j + x%2] = pixels[x][j] for j < n, zeros for n ≤ j < width.
void pack_pixel_pairs(const BFloat16* const* pixels, int64_t count, int64_t n, int64_t width, int64_t ahead,
                      BFloat16* to) {
  int64_t j = 0;
  for (; j + 2 * lanes<float> <= min_of(n, width); j += 2 * lanes<float>)
    for (int64_t x = 0; x < count; x += 2) {
      const BFloat16 *even = pixels[x] + j, *odd = pixels[x + 1] + j;
      __builtin_prefetch(even + ahead, 0, 2);
      __builtin_prefetch(odd + ahead, 0, 2);
      Vector<float> first, second;
      load_pairs(even, odd, first, second);
      float* const pairs = reinterpret_cast<float*>(to + x * width) + j;
      store(pairs, first);
      store(pairs + lanes<float>, second);
    }
  for (; j < width; j += lanes<float>) {
    const int64_t left = max_of(0, min_of(n - j, lanes<float>));
    const Mask<float> mask(static_cast<int>(left));
    for (int64_t x = 0; x < count; x += 2) {
      const BFloat16 *even = pixels[x] + j, *odd = pixels[x + 1] + j;
      __builtin_prefetch(even + ahead, 0, 2);
      __builtin_prefetch(odd + ahead, 0, 2);
      const Vector<float> pairs =
          left == lanes<float> ? pairs_of(load(even), load(odd)) : pairs_of(load(even, mask), load(odd, mask));
      store(reinterpret_cast<float*>(to + x * width) + j, pairs);
    }
  }
}

class BFloatWeightGradient {
 public:
  explicit BFloatWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    const Layout& l = layout_;
    const int64_t depth_taps = taps_.axis[0].taps;
    // Chunks that read the same pixels are neighbours.
    parallel_for(l.splits * taps_.groups * l.out_blocks * l.panel_blocks * l.tap_row_blocks * depth_taps,
                 [&](int64_t i) {
                   Chunk c{};
                   c.block = i % l.out_blocks, i /= l.out_blocks;
                   c.column = i % l.panel_blocks * l.panels * l.width, i /= l.panel_blocks;
                   c.tap_row = i % l.tap_row_blocks * l.tap_rows, i /= l.tap_row_blocks;
                   c.depth_tap = i % depth_taps, i /= depth_taps;
                   c.group = i % taps_.groups, i /= taps_.groups;
                   c.split = i;
                   c.tap_row_end = min_of(taps_.axis[1].taps, c.tap_row + l.tap_rows);
                   c.out = c.group * taps_.result_group() + c.block * l.out_block;
                   c.outs = min_of(taps_.result_group() - c.block * l.out_block, l.out_block);
                   c.columns = min_of(l.columns - c.column, l.panels * l.width);
                   c.panels = ceil_divide(c.columns, l.width);
                   run_chunk(c);
                 });
    if (l.splits > 1) combine_bfloat16_splits(a_, l.splits);
  }

 private:
  struct Chunk {
    int64_t split, group, block, depth_tap, tap_row, tap_row_end;
    int64_t out, outs;        ///< out channels, of all groups
    int64_t column, columns;  ///< of the group
    int64_t panels;
  };
  /// Output rows [row, row + rows) of images [image, image + images).
  struct Block {
    int64_t image, images, row, rows;
  };
  struct Scratch {
    float* sums;
    const BFloat16** pixels;
    BFloat16 *zeros, *a, *b, *padded;
  };

  void run_chunk(const Chunk& c) const {
    const Layout& l = layout_;
    Scratch s{};
    s.sums = static_cast<float*>(thread_scratch());
    s.pixels = reinterpret_cast<const BFloat16**>(s.sums + l.sum_elements);
    s.b = reinterpret_cast<BFloat16*>(s.pixels + max_of(l.a_row, l.plane_size));
    s.a = s.b + l.b_elements;
    s.padded = s.a + l.a_elements;
    s.zeros = s.padded + l.padded_elements;
    for (int64_t i = 0; i < l.zeros; ++i) s.zeros[i] = BFloat16{};
    const int64_t all_images = taps_.batch * taps_.axis[0].count;
    const int64_t first = l.blocks * c.split / l.splits, last = l.blocks * (c.split + 1) / l.splits;
    BFloatGemm gemm;
    for (int64_t i = first; i < last; ++i) {
      Block b{};
      b.image = i / l.bands * l.images;
      b.images = min_of(l.images, all_images - b.image);
      b.row = i % l.bands * l.rows;
      b.rows = min_of(l.rows, taps_.axis[1].count - b.row);
      pack_outputs(c, b, s);
      pack_inputs(c, b, s);
      multiply(gemm, c, b, s, i > first);
    }
    gemm.release();
    keep(c, s.sums);
  }

  void pack_outputs(const Chunk& c, const Block& b, const Scratch& s) const {
    const Layout& l = layout_;
    const int64_t count = taps_.axis[2].count, channels = taps_.result_channels;
    for (int64_t x = 0; x < l.a_row; ++x) s.pixels[x] = s.zeros;
    for (int64_t image = 0; image < b.images; ++image)
      for (int64_t row = 0; row < b.rows; ++row) {
        const BFloat16* from = static_cast<const BFloat16*>(a_.output) + c.out +
                               ((b.image + image) * taps_.axis[1].count + b.row + row) * count * channels;
        const BFloat16** to = s.pixels + l.before + (image * l.rows + row) * l.pitch;
        for (int64_t q = 0; q < count; ++q) to[q] = from + q * channels;
      }
    pack_transposed_pixels(s.pixels, l.a_row, c.outs, b.images * b.rows * count * channels, s.a, l.a_row);
  }

  void pack_inputs(const Chunk& c, const Block& b, const Scratch& s) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t channels = taps_.source_channels, pixels = l.plane_size;
    const int64_t row_planes = min_of(c.tap_row_end - c.tap_row, lines_.period);
    const int64_t source_row_elements = a_.shape.input[2] * a_.shape.input[1] / height.source_size * channels;
    const int64_t ahead = l.padded_row > 0 ? 0 : b.images * b.rows * lines_.stride * source_row_elements;
    for (int64_t plane = 0; plane < row_planes * along_.period; ++plane) {
      const int64_t j1 = c.tap_row + plane / along_.period, j2 = plane % along_.period;
      const int64_t used = min_of(along_.size(j2), width.count + along_.shift(width.taps - 1));
      for (int64_t x = 0; x < pixels; ++x) s.pixels[x] = s.zeros;
      for (int64_t image = 0; image < b.images; ++image) {
        const int64_t n = (b.image + image) / depth.count, q0 = (b.image + image) % depth.count;
        const int64_t s0 = q0 * depth.source_step + depth.offset(c.depth_tap);
        if (s0 < 0 || s0 >= depth.source_size) continue;
        for (int64_t row = 0; row < l.plane_rows; ++row) {
          const int64_t line = b.row + lines_.shift(j1) + row;
          if (line < 0 || line >= lines_.size(j1)) continue;
          const int64_t place = image * l.plane_rows + row;
          const BFloat16* from =
              static_cast<const BFloat16*>(a_.input) + c.group * taps_.source_group() +
              ((n * depth.source_size + s0) * height.source_size + line * lines_.stride + lines_.remainder(j1)) *
                  source_row_elements;
          int64_t step = along_.stride * channels;
          if (l.padded_row > 0) {
            from = pad_row(from, s.padded + place * l.padded_row) + c.column;
            step = a_.shape.stride[2] * channels;
          } else {
            from += along_.remainder(j2) * channels + c.column;
          }
          for (int64_t q = 0; q < used; ++q) s.pixels[place * l.pitch + q] = from + q * step;
        }
      }
      for (int64_t panel = 0; panel < c.panels; ++panel) {
        // The columns of a panel lie `panel·width` behind those of the first; so do the zeros.
        for (int64_t x = 0; panel > 0 && x < pixels; ++x) s.pixels[x] += l.width;
        pack_pixel_pairs(s.pixels, pixels, c.columns - panel * l.width, l.width, ahead,
                         s.b + (panel * l.planes + plane) * pixels * l.width);
      }
    }
  }

  /// The input row from its left border to its right one.
  const BFloat16* pad_row(const BFloat16* from, BFloat16* to) const {
    const ConvolutionShape& s = a_.shape;
    const int64_t channels = s.in_channels, begin = min_of(s.padding[2] * channels, layout_.padded_row);
    const int64_t end = min_of(layout_.padded_row, begin + s.input[2] * channels);
    for (int64_t i = 0; i < begin; ++i) to[i] = BFloat16{};
    for (int64_t i = begin; i < end; ++i) to[i] = from[i - begin];
    for (int64_t i = end; i < layout_.padded_row; ++i) to[i] = BFloat16{};
    return to;
  }

  void multiply(BFloatGemm& gemm, const Chunk& c, const Block& b, const Scratch& s, bool accumulate) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    for (int64_t j1 = c.tap_row; j1 < c.tap_row_end; ++j1) {
      const Range valid = height.valid_results(j1);
      const int64_t begin = max_of(valid.begin, b.row), end = min_of(valid.end, b.row + b.rows);
      const int64_t same = c.tap_row + (j1 - c.tap_row) % lines_.period;  // the tap that named the plane
      const int64_t line = begin - b.row + lines_.shift(j1) - lines_.shift(same);
      for (int64_t j2 = 0; j2 < width.taps; ++j2) {
        const int64_t plane = (same - c.tap_row) * along_.period + j2 % along_.period;
        float* to = s.sums + ((j1 - c.tap_row) * width.taps + j2) * c.outs * c.panels * l.width;
        for (int64_t panel = 0; panel < c.panels; ++panel, to += c.outs * l.width) {
          const BFloat16* from = s.b + (panel * l.planes + plane) * l.plane_size * l.width;
          BFloatProduct products[most_products];
          int64_t count = 0;
          for (int64_t image = 0; begin < end && image < b.images; ++image) {
            const int64_t s0 = (b.image + image) % depth.count * depth.source_step + depth.offset(c.depth_tap);
            if (s0 < 0 || s0 >= depth.source_size) continue;
            products[count++] = {s.a + l.before + (image * l.rows + begin - b.row) * l.pitch - along_.shift(j2),
                                 from + (image * l.plane_rows + line) * l.pitch * l.width};
          }
          if (count > 0)
            gemm.run(BFloatBatchReduce{.products = products,
                                       .count = count,
                                       .m = c.outs,
                                       .n = min_of(l.width, c.columns - panel * l.width),
                                       .k = (end - begin) * l.pitch,
                                       .a_row = l.a_row,
                                       .width = l.width,
                                       .c = to,
                                       .c_row = l.width,
                                       .accumulate = accumulate,
                                       .rounded = nullptr,
                                       .rounded_row = 0});
          else if (!accumulate)
            for (int64_t i = 0; i < c.outs * l.width; ++i) to[i] = 0;
        }
      }
    }
  }

  /// The sums of a chunk become a part of its split's, (out, tap, in), or of the weight gradient if there is one split.
  void keep(const Chunk& c, const float* sums) const {
    const Layout& l = layout_;
    const int64_t width_taps = taps_.axis[2].taps, row = weight_elements(a_.shape) / a_.shape.out_channels;
    for (int64_t tap = 0; tap < (c.tap_row_end - c.tap_row) * width_taps; ++tap)
      for (int64_t panel = 0; panel < c.panels; ++panel, sums += c.outs * l.width) {
        const int64_t at = (c.depth_tap * taps_.axis[1].taps + c.tap_row) * width_taps + tap;
        const int64_t first = at * l.columns + c.column + panel * l.width;
        const int64_t n = min_of(l.width, c.columns - panel * l.width);
        if (l.splits == 1) {
          for (int64_t o = 0; o < c.outs; ++o) keep_rounded(sums + o * l.width, c.out + o, first, n);
          continue;
        }
        float* to = static_cast<float*>(a_.workspace) + c.split * weight_elements(a_.shape) + c.out * row + first;
        for (int64_t o = 0; o < c.outs; ++o)
          for (int64_t i = 0; i < n; ++i) to[o * row + i] = sums[o * l.width + i];
      }
  }

  /// n adjacent elements of (tap, in), at most a panel's width.
  void keep_rounded(const float* sums, int64_t out, int64_t first, int64_t n) const {
    constexpr int64_t most = 64;
    BFloat16 rounded[most];
    round_to_bfloat(sums, n, 1, n, rounded, n);
    const int64_t in = a_.shape.in_channels / a_.shape.groups, *strides = a_.weight_strides;
    BFloat16* const to = static_cast<BFloat16*>(a_.weight) + out * strides[0];
    for (int64_t i = 0; i < n;) {
      const int64_t channel = (first + i) % in, count = min_of(n - i, in - channel);
      BFloat16* const place = to + (first + i) / in * strides[2] + channel * strides[1];
      for (int64_t j = 0; j < count; ++j) place[j * strides[1]] = rounded[i + j];
      i += count;
    }
  }

  const ConvolutionArguments& a_;
  Taps taps_ = taps_of(a_);
  Planes lines_{taps_.axis[1]}, along_{taps_.axis[2]};
  Layout layout_{a_, taps_};
};

/// The operands in float32, and what computes with them.
struct Widened {
  explicit Widened(const ConvolutionArguments& a) : convolution(a) {
    const int64_t taps = volume(a.shape.kernel);
    convolution.dtype = DType::Float32;
    convolution.forced = false;
    convolution.weight_strides[2] = 1;
    convolution.weight_strides[1] = taps;
    convolution.weight_strides[0] = row = taps * (a.shape.in_channels / a.shape.groups);
    algorithm = convolution_weight_gradient;
    while (algorithm->declines(convolution)) ++algorithm;
    input_bytes = aligned_bytes(input_elements(a.shape), sizeof(float));
    output_bytes = aligned_bytes(output_elements(a.shape), sizeof(float));
    weight_bytes = aligned_bytes(weight_elements(a.shape), sizeof(float));
  }
  size_t workspace() const { return input_bytes + output_bytes + weight_bytes + algorithm->workspace(convolution); }

  ConvolutionArguments convolution;
  const kernels::ConvolutionAlgorithm* algorithm;
  int64_t row;
  size_t input_bytes, output_bytes, weight_bytes;
};

void widen(const void* from, int64_t count, void* to) {
  constexpr int64_t at_once = int64_t{1} << 15;
  parallel_for(ceil_divide(count, at_once), [&](int64_t chunk) {
    const int64_t begin = chunk * at_once;
    widen_elements(static_cast<const BFloat16*>(from) + begin, 1, min_of(count - begin, at_once),
                   static_cast<float*>(to) + begin);
  });
}

}  // namespace

void combine_bfloat16_splits(const ConvolutionArguments& a, int64_t splits) {
  const int64_t in = a.shape.in_channels / a.shape.groups, weight = weight_elements(a.shape);
  const int64_t row = weight / a.shape.out_channels;
  parallel_for(a.shape.out_channels, [&](int64_t o) {
    constexpr int64_t most = 512;
    float sums[most];
    BFloat16 rounded[most];
    BFloat16* to = static_cast<BFloat16*>(a.weight) + o * a.weight_strides[0];
    for (int64_t begin = 0; begin < row; begin += most) {
      const int64_t count = min_of(row - begin, most);
      const float* from = static_cast<const float*>(a.workspace) + o * row + begin;
      for (int64_t i = 0; i < count; ++i) sums[i] = from[i];
      for (int64_t split = 1; split < splits; ++split) {
        from += weight;
        for (int64_t i = 0; i < count; ++i) sums[i] += from[i];
      }
      round_to_bfloat(sums, most, 1, count, rounded, most);
      for (int64_t i = 0; i < count;) {
        const int64_t tap = (begin + i) / in, first = (begin + i) % in, ins = min_of(in - first, count - i);
        BFloat16* place = to + tap * a.weight_strides[2] + first * a.weight_strides[1];
        for (int64_t j = 0; j < ins; ++j) place[j * a.weight_strides[1]] = rounded[i + j];
        i += ins;
      }
    }
  });
}

const char* bfloat16_weight_gradient_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (a.dtype != DType::BFloat16) return "the operands are not bfloat16";
  if (output_elements(s) == 0 || weight_elements(s) == 0) return "there is nothing to add up";
  if (!a.forced && !bfloat_is_fast()) return "this processor multiplies float32 as fast";
  if (!a.forced && s.groups > 1 && s.in_channels / s.groups < few_channels)
    return "the channels of a group do not fill a product";
  if (Layout(a, taps_of(a)).bytes() > static_cast<int64_t>(scratch_bytes)) return "a row of pixels is too long";
  return nullptr;
}

size_t bfloat16_weight_gradient_workspace(const ConvolutionArguments& a) {
  const int64_t splits = Layout(a, taps_of(a)).splits;
  return splits == 1 ? 0 : aligned_bytes(splits * weight_elements(a.shape), sizeof(float));
}

void bfloat16_weight_gradient(const ConvolutionArguments& a) { BFloatWeightGradient(a).run(); }

const char* widened_weight_gradient_declines(const ConvolutionArguments& a) {
  return a.dtype != DType::BFloat16 ? "the operands are not bfloat16" : nullptr;
}

size_t widened_weight_gradient_workspace(const ConvolutionArguments& a) { return Widened(a).workspace(); }

void widened_weight_gradient(const ConvolutionArguments& a) {
  Widened w(a);
  char* workspace = static_cast<char*>(a.workspace);
  w.convolution.input = workspace;
  w.convolution.output = workspace + w.input_bytes;
  w.convolution.weight = workspace + w.input_bytes + w.output_bytes;
  w.convolution.workspace = workspace + w.input_bytes + w.output_bytes + w.weight_bytes;
  widen(a.input, input_elements(a.shape), w.convolution.input);
  widen(a.output, output_elements(a.shape), w.convolution.output);
  w.algorithm->run(w.convolution);
  const int64_t taps = volume(a.shape.kernel);
  parallel_for(a.shape.out_channels, [&](int64_t o) {
    const float* from = static_cast<const float*>(w.convolution.weight) + o * w.row;
    constexpr int64_t most = 512;
    BFloat16 rounded[most];
    BFloat16* to = static_cast<BFloat16*>(a.weight) + o * a.weight_strides[0];
    for (int64_t begin = 0; begin < w.row; begin += most) {
      const int64_t count = min_of(w.row - begin, most);
      round_to_bfloat(from + begin, most, 1, count, rounded, most);
      for (int64_t i = 0; i < count; ++i)
        to[(begin + i) / taps * a.weight_strides[1] + (begin + i) % taps * a.weight_strides[2]] = rounded[i];
    }
  });
}

}  // namespace pycnn::cpu::PYCNN_ISA
