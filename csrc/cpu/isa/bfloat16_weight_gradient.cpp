// Weight gradient of bfloat16 operands: dW[o, i, tap] = Σ over pixels of dY[pixel, o] · X[pixel's input under tap, i],
// summed in float32 and rounded once. A block of pixels is packed, per chunk or once for all chunks, and used by all
// taps: dY transposed, X in panels of pairs of pixels. In both a row of pixels is followed by as many zeros as the
// borders ask for, so that many rows are one long K and a tap is a distance; as pairs must stay pairs it is A that is
// shifted. With stride, the input pixels of equal remainder lie together, in planes. With few channels the taps of a
// row are columns of X.
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t block_pixels = 448;  // K of one product: long enough to load and store sums rarely
constexpr int64_t most_products = 64;  // images of a block
constexpr int64_t most_outs = 256;     // out channels of a chunk
constexpr int64_t some_outs = 128;     // with more columns than few_columns
constexpr int64_t few_columns = 320;
constexpr int64_t most_sums = 80 * 1024;  // of a chunk: they stay in L2
constexpr int64_t most_chunk_panels = 8;
constexpr int64_t split_pixels = 512;  // fewer would spend the time on adding up
constexpr int64_t few_channels = 16;
constexpr int64_t enough_chunks = 16;
constexpr int64_t most_shared_elements = int64_t{1} << 23;  // of packed operands, in all
constexpr int64_t most_partial_elements = int64_t{1} << 22;
constexpr int64_t most_totals = 1024;  // of panels or taps of an out channel

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
  int64_t chunks, splits;
  int64_t a_units, b_units;  ///< what chunks read of a block: blocks of out channels; panels, of some taps
  bool shared;               ///< packed once, ahead of all chunks, as many would pack the same
  int64_t sum_elements, a_elements, b_elements, padded_elements;
  /// Of the workspace: the sums of the splits if there are several, then packed operands.
  int64_t partial_bytes() const {
    return splits == 1 ? 0 : static_cast<int64_t>(aligned_bytes(splits * chunks * sum_elements, sizeof(float)));
  }
  int64_t shared_elements() const { return shared ? blocks * (a_units * a_elements + b_units * b_elements) : 0; }
  /// Of a thread's scratch memory.
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
  out_blocks = ceil_divide(out, columns * row.taps * height.taps <= few_columns ? most_outs : some_outs);
  out_block = ceil_divide(out, out_blocks);
  const int64_t panel_sums = out_block * width * row.taps;
  panels =
      min_of(min_of(ceil_divide(columns, width), most_chunk_panels), max_of(2, most_sums / (panel_sums * height.taps)));
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
  a_row = ceil_divide(before + images * rows * pitch + after, transposed_pixels) * transposed_pixels;
  if (a_row % (8 * transposed_pixels) == 0) a_row += transposed_pixels;
  padded_row = merged ? ((row.count - 1) * a.shape.stride[2] + a.shape.kernel[2]) * taps.source_channels : 0;
  zeros = max_of(out_block, panels * width) + lanes<float>;

  const auto count_units = [&] {
    panel_blocks = ceil_divide(ceil_divide(columns, width), panels);
    a_units = taps.groups * out_blocks;
    b_units = taps.groups * panel_blocks * tap_row_blocks * depth.taps;
    chunks = max_of(1, b_units * out_blocks);
    sum_elements = tap_rows * row.taps * out_block * panels * width;
    a_elements = out_block * a_row;
    b_elements = planes * plane_size * panels * width;
  };
  count_units();
  const int64_t once = a_units * a_elements + b_units * b_elements;
  shared = chunks * (a_elements + b_elements) >= 2 * once && fits && once <= most_shared_elements / max_of(1, blocks);
  for (; shared && chunks < enough_chunks && panels > 2; count_units()) panels = ceil_divide(panels, 2);
  splits = min_of(ceil_divide(enough_chunks, chunks), most_partial_elements / max_of(1, weight_elements(a.shape)));
  splits = max_of(
      1, min_of(min_of(splits, blocks), output_elements(a.shape) / max_of(1, taps.result_channels) / split_pixels));
  padded_elements = images * plane_rows * padded_row + lanes<float>;
}

class BFloatWeightGradient {
 public:
  explicit BFloatWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    const Layout& l = layout_;
    const int64_t units = l.a_units + l.b_units;
    if (l.shared)
      parallel_for(l.blocks * units, [&](int64_t i) {
        const int64_t unit = i % units;
        const Block b = block(i / units);
        if (unit < l.a_units) {
          Scratch s = scratch();
          s.a = shared_outputs(i / units, unit);
          pack_outputs(chunk(unit / l.out_blocks * (l.chunks / taps_.groups) + unit % l.out_blocks), b, s);
        } else {
          Scratch s = scratch();
          s.b = shared_inputs(i / units, unit - l.a_units);
          pack_inputs(chunk((unit - l.a_units) * l.out_blocks), b, s);
        }
      });
    parallel_for(l.splits * l.chunks, [&](int64_t i) {
      float* const sums =
          l.splits > 1 ? static_cast<float*>(a_.workspace) + i * l.sum_elements : static_cast<float*>(thread_scratch());
      add_up(i, sums);
      const Chunk c = chunk(i % l.chunks);
      if (l.splits == 1) keep(c, sums, 0, c.outs);
    });
    if (l.splits == 1) return;
    const int64_t pieces = ceil_divide(l.out_block, lanes<float>);
    parallel_for(l.chunks * pieces, [&](int64_t i) {
      const Chunk c = chunk(i / pieces);
      keep(c, static_cast<const float*>(a_.workspace) + i / pieces * l.sum_elements, i % pieces * lanes<float>,
           min_of(c.outs, (i % pieces + 1) * lanes<float>));
    });
  }

 private:
  struct Chunk {
    int64_t a_unit, b_unit;
    int64_t group, depth_tap, tap_row, tap_row_end;
    int64_t out, outs;        ///< out channels, of all groups
    int64_t column, columns;  ///< of the group
    int64_t panels;
  };
  /// Output rows [row, row + rows) of images [image, image + images).
  struct Block {
    int64_t image, images, row, rows;
  };
  /// What the next block reads: of dY and of X.
  struct Ahead {
    const char* begin[2];
    int64_t bytes[2];
  };
  struct Scratch {
    float* sums;
    const BFloat16** pixels;
    BFloat16 *zeros, *a, *b, *padded;
  };

  /// Chunks that read the same pixels are neighbours.
  Chunk chunk(int64_t i) const {
    const Layout& l = layout_;
    Chunk c{};
    const int64_t block = i % l.out_blocks * l.out_block;
    c.b_unit = i / l.out_blocks;
    c.a_unit = i / max_of(1, l.chunks / taps_.groups) * l.out_blocks + i % l.out_blocks;
    i /= l.out_blocks;
    c.column = i % l.panel_blocks * l.panels * l.width, i /= l.panel_blocks;
    c.tap_row = i % l.tap_row_blocks * l.tap_rows, i /= l.tap_row_blocks;
    c.depth_tap = i % taps_.axis[0].taps, i /= taps_.axis[0].taps;
    c.group = i;
    c.tap_row_end = min_of(taps_.axis[1].taps, c.tap_row + l.tap_rows);
    c.out = c.group * taps_.result_group() + block;
    c.outs = min_of(taps_.result_group() - block, l.out_block);
    c.columns = min_of(l.columns - c.column, l.panels * l.width);
    c.panels = ceil_divide(c.columns, l.width);
    return c;
  }

  Block block(int64_t i) const {
    const Layout& l = layout_;
    Block b{};
    b.image = i / l.bands * l.images;
    b.images = min_of(l.images, taps_.batch * taps_.axis[0].count - b.image);
    b.row = i % l.bands * l.rows;
    b.rows = min_of(l.rows, taps_.axis[1].count - b.row);
    return b;
  }

  BFloat16* shared_outputs(int64_t block, int64_t unit) const {
    const Layout& l = layout_;
    BFloat16* const packed = reinterpret_cast<BFloat16*>(static_cast<char*>(a_.workspace) + l.partial_bytes());
    return packed + (block * l.a_units + unit) * l.a_elements;
  }
  BFloat16* shared_inputs(int64_t block, int64_t unit) const {
    const Layout& l = layout_;
    return shared_outputs(l.blocks, 0) + (block * l.b_units + unit) * l.b_elements;
  }

  Scratch scratch() const {
    const Layout& l = layout_;
    Scratch s{};
    s.sums = static_cast<float*>(thread_scratch());
    s.pixels = reinterpret_cast<const BFloat16**>(s.sums + l.sum_elements);
    s.b = reinterpret_cast<BFloat16*>(s.pixels + max_of(l.a_row, l.plane_size));
    s.a = s.b + l.b_elements;
    s.padded = s.a + l.a_elements;
    s.zeros = s.padded + l.padded_elements;
    for (int64_t i = 0; i < l.zeros; ++i) s.zeros[i] = BFloat16{};
    return s;
  }

  int64_t first_block(int64_t split) const { return layout_.blocks * split / layout_.splits; }

  /// The sums of a chunk over the blocks of pixels of a split: (tap, panel, out, column).
  void add_up(int64_t task, float* sums) const {
    const Layout& l = layout_;
    const Chunk c = chunk(task % l.chunks), next = chunk((task + 1) % l.chunks);
    const int64_t split = task / l.chunks, next_split = (task + 1) / l.chunks;
    const int64_t first = first_block(split), last = first_block(split + 1);
    Scratch s = scratch();
    s.sums = sums;
    BFloatGemm gemm;
    for (int64_t i = first; i < last; ++i) {
      const Block b = block(i);
      if (l.shared) {
        s.a = shared_outputs(i, c.a_unit);
        s.b = shared_inputs(i, c.b_unit);
      } else {
        pack_outputs(c, b, s);
        pack_inputs(c, b, s);
      }
      Ahead ahead{};
      if (i + 1 < last)
        ahead = l.shared ? packed_ahead(i + 1, c) : source_ahead(block(i + 1), c);
      else if (next_split < l.splits)
        ahead =
            l.shared ? packed_ahead(first_block(next_split), next) : source_ahead(block(first_block(next_split)), next);
      multiply(gemm, c, b, s, ahead, i > first);
    }
    gemm.release();
  }

  Ahead packed_ahead(int64_t i, const Chunk& c) const {
    return {{reinterpret_cast<const char*>(shared_outputs(i, c.a_unit)),
             reinterpret_cast<const char*>(shared_inputs(i, c.b_unit))},
            {layout_.a_elements * 2, layout_.b_elements * 2}};
  }

  /// The pixels of a block, if the chunk takes most of their channels; borders are not worth a thought.
  Ahead source_ahead(const Block& b, const Chunk& c) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t pixel = taps_.result_channels, row = source_row_elements();
    const int64_t depth_row = min_of(b.image % depth.count * depth.source_step, depth.source_size - 1);
    const int64_t line = (b.image / depth.count * depth.source_size + depth_row) * height.source_size +
                         min_of(b.row * lines_.stride, height.source_size - 1);
    const int64_t rows = b.images * b.rows;
    Ahead ahead{};
    ahead.begin[0] = reinterpret_cast<const char*>(static_cast<const BFloat16*>(a_.output) +
                                                   (b.image * height.count + b.row) * width.count * pixel);
    ahead.begin[1] = reinterpret_cast<const char*>(static_cast<const BFloat16*>(a_.input) + line * row);
    if (2 * c.outs >= taps_.result_channels) ahead.bytes[0] = rows * width.count * pixel * 2;
    if (2 * c.columns >= taps_.source_channels) ahead.bytes[1] = rows * lines_.stride * row * 2;
    return ahead;
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
    pack_transposed_pixels(s.pixels, l.a_row, c.outs, s.a, l.a_row);
  }

  int64_t source_row_elements() const {
    return a_.shape.input[2] * a_.shape.input[1] / taps_.axis[1].source_size * taps_.source_channels;
  }

  void pack_inputs(const Chunk& c, const Block& b, const Scratch& s) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t channels = taps_.source_channels, pixels = l.plane_size;
    const int64_t row_planes = min_of(c.tap_row_end - c.tap_row, lines_.period);
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
                  source_row_elements();
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
      pack_pixel_pairs(s.pixels, pixels, c.columns, l.width, l.planes * pixels * l.width,
                       s.b + plane * pixels * l.width);
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

  void multiply(BFloatGemm& gemm, const Chunk& c, const Block& b, const Scratch& s, const Ahead& ahead,
                bool accumulate) const {
    const Layout& l = layout_;
    const int64_t runs = (c.tap_row_end - c.tap_row) * taps_.axis[2].taps * c.panels;
    int64_t run = 0;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    for (int64_t j1 = c.tap_row; j1 < c.tap_row_end; ++j1) {
      const Range valid = height.valid_results(j1);
      const int64_t begin = max_of(valid.begin, b.row), end = min_of(valid.end, b.row + b.rows);
      const int64_t same = c.tap_row + (j1 - c.tap_row) % lines_.period;  // the tap that named the plane
      const int64_t line = begin - b.row + lines_.shift(j1) - lines_.shift(same);
      for (int64_t j2 = 0; j2 < width.taps; ++j2) {
        const int64_t plane = (same - c.tap_row) * along_.period + j2 % along_.period;
        float* to = s.sums + ((j1 - c.tap_row) * width.taps + j2) * c.outs * c.panels * l.width;
        for (int64_t panel = 0; panel < c.panels; ++panel, ++run, to += c.outs * l.width) {
          const int64_t wanted = ahead.bytes[0] + ahead.bytes[1], asked = wanted * run / runs;
          const bool inputs = asked >= ahead.bytes[0];
          const int64_t until = inputs ? wanted : ahead.bytes[0];
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
            gemm.run(
                BFloatBatchReduce{.products = products,
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
                                  .rounded_row = 0,
                                  .ahead = inputs ? ahead.begin[1] + asked - ahead.bytes[0] : ahead.begin[0] + asked,
                                  .ahead_bytes = min_of(wanted * (run + 1) / runs, until) - asked});
          else if (!accumulate)
            for (int64_t i = 0; i < c.outs * l.width; ++i) to[i] = 0;
        }
      }
    }
  }

  /// Rows [begin, end) of the sums of a chunk, those of all splits together, become weight gradients.
  void keep(const Chunk& c, const float* sums, int64_t begin, int64_t end) const {
    const Layout& l = layout_;
    const int64_t width_taps = taps_.axis[2].taps, taps = (c.tap_row_end - c.tap_row) * width_taps;
    const int64_t first_tap = (c.depth_tap * taps_.axis[1].taps + c.tap_row) * width_taps;
    const int64_t panel_elements = c.outs * l.width, tap_elements = c.panels * panel_elements;
    const int64_t whole_panels = c.columns / l.width;
    const bool rows_are_whole = a_.weight_strides[1] == 1 && !merges_taps(a_.shape);
    float totals[most_totals];
    for (int64_t o = begin; o < end; ++o) {
      for (int64_t tap = 0; rows_are_whole && tap < taps; ++tap) {
        const float* from = total(sums + tap * tap_elements + o * l.width, c.panels, panel_elements, totals);
        const int64_t row = l.splits > 1 ? l.width : panel_elements, rest = c.columns - whole_panels * l.width;
        BFloat16* const to = static_cast<BFloat16*>(a_.weight) + (c.out + o) * a_.weight_strides[0] +
                             (first_tap + tap) * a_.weight_strides[2] + c.column;
        round_to_bfloat(from, row, whole_panels, l.width, to, l.width);
        if (rest > 0) round_to_bfloat(from + whole_panels * row, row, 1, rest, to + whole_panels * l.width, l.width);
      }
      for (int64_t panel = 0; !rows_are_whole && panel < c.panels; ++panel)
        for (int64_t tap = 0; tap < taps; tap += lanes<float>) {
          const int64_t count = min_of(taps - tap, lanes<float>), column = panel * l.width;
          const float* from =
              total(sums + tap * tap_elements + (panel * c.outs + o) * l.width, count, tap_elements, totals);
          keep_taps(from, l.splits > 1 ? l.width : tap_elements, count, min_of(l.width, c.columns - column), c.out + o,
                    first_tap + tap, c.column + column);
        }
    }
  }

  /// `rows` rows of a panel's width, row_step apart: where they are, or added up over all splits, one behind the other.
  const float* total(const float* from, int64_t rows, int64_t row_step, float* totals) const {
    const Layout& l = layout_;
    if (l.splits == 1) return from;
    for (int64_t row = 0; row < rows; ++row, from += row_step)
      for (int64_t i = 0; i < l.width; i += lanes<float>) {
        Vector<float> sum = load(from + i);
        for (int64_t split = 1; split < l.splits; ++split) sum += load(from + split * l.chunks * l.sum_elements + i);
        store(totals + row * l.width + i, sum);
      }
    return totals;
  }

  /// dW[out, column + i, tap + t] = sums[t·row + i] for t < taps ≤ lanes<float> and i < n; sums hold whole vectors.
  void keep_taps(const float* sums, int64_t row, int64_t taps, int64_t n, int64_t out, int64_t tap,
                 int64_t column) const {
    constexpr int64_t square = lanes<float>;
    const int64_t* const strides = a_.weight_strides;
    BFloat16* to = static_cast<BFloat16*>(a_.weight) + out * strides[0];
    if (merges_taps(a_.shape) || strides[2] != 1) {
      const int64_t in = taps_.source_group();
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < n; ++i) {
          const int64_t at = (tap + t) * layout_.columns + column + i;
          round_to_bfloat(sums + t * row + i, 1, 1, 1, to + at / in * strides[2] + at % in * strides[1], 1);
        }
      return;
    }
    to += column * strides[1] + tap * strides[2];
    for (int64_t i = 0; i < n; i += square) {
      Vector<float> tile[square];
      float transposed[square * square];
#pragma GCC unroll 16
      for (int64_t t = 0; t < square; ++t) tile[t] = t < taps ? load(sums + t * row + i) : Vector<float>{};
      transpose<float>(tile);
#pragma GCC unroll 16
      for (int64_t t = 0; t < square; ++t) store(transposed + t * square, tile[t]);
      round_to_bfloat(transposed, square, min_of(n - i, square), taps, to + i * strides[1], strides[1]);
    }
  }

  const ConvolutionArguments& a_;
  Taps taps_ = taps_of(a_);
  Planes lines_{taps_.axis[1]}, along_{taps_.axis[2]};
  Layout layout_{a_, taps_};
};

}  // namespace

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
  const Layout l(a, taps_of(a));
  return static_cast<size_t>(l.partial_bytes()) + aligned_bytes(l.shared_elements(), sizeof(BFloat16));
}

void bfloat16_weight_gradient(const ConvolutionArguments& a) { BFloatWeightGradient(a).run(); }

}  // namespace pycnn::cpu::PYCNN_ISA
