// Weight gradient with packed operands: dW[o, i, tap] = Σ over pixels of dY[pixel, o] · X[pixel's input under tap, i].
// A block of pixels is packed once per chunk and used by all taps: dY in tiles of rows, X in panels of columns. In both
// a row of pixels is followed by as many zeros as the borders ask for, so that a tap is a constant distance and many
// rows are one long K. With stride, the input pixels of equal remainder lie together, in planes.
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/isa/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t block_pixels = 288;     // K of one product: long enough to load and store sums rarely
constexpr int64_t most_products = 64;     // images of a block
constexpr int64_t most_outs = 144;        // out channels of a chunk
constexpr int64_t most_sums = 80 * 1024;  // of a chunk: they stay in L2
constexpr int64_t most_chunk_panels = 8;
constexpr int64_t split_blocks = 4;  // fewer would spend the time on adding up
constexpr int64_t few_channels = 16;
constexpr int64_t many_channels = 256;  // rows of pixels so far apart that they are better read once
constexpr int64_t short_row = 8;        // of pixels: the zeros behind it cost more than packing saves
constexpr int64_t enough_chunks = 32;
constexpr int64_t most_partial_elements = int64_t{1} << 22;

int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/// Input position q·stride + offset(tap) lies in the plane of its remainder modulo the stride, at q + shift(tap).
struct Planes {
  explicit Planes(const Axis& axis)
      : stride(axis.source_step),
        period(axis.source_step / greatest_common_divisor(axis.source_step, axis.offset_step)),
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

/// How the work is cut and how packed operands lie; by shape alone.
struct Layout {
  Layout(const Taps& taps, int64_t width, int64_t tile);

  int64_t out_block, out_blocks;
  int64_t panels, panel_blocks;      ///< of in channels: in a chunk, chunks
  int64_t tap_rows, tap_row_blocks;  ///< kernel rows of a chunk
  int64_t pitch, lead;               ///< pixels from row to row; zeros before the first row
  int64_t rows, bands;               ///< output rows of a block, blocks per image
  int64_t images, blocks;            ///< images of a block, blocks in all
  int64_t plane_rows;                ///< input rows per image in a plane
  int64_t plane_pixels, planes;
  int64_t splits;
  int64_t sums, outputs, inputs;  ///< elements in scratch memory
};

Layout::Layout(const Taps& taps, int64_t width, int64_t tile) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &row = taps.axis[2];
  const int64_t out = taps.result_group();
  out_blocks = ceil_divide(out, most_outs);
  out_block = ceil_divide(out, out_blocks);
  const int64_t fitting = most_sums / (out_block * width * row.taps * height.taps);
  panels = min_of(min_of(ceil_divide(taps.source_group(), width), most_chunk_panels), max_of(2, fitting));
  panel_blocks = ceil_divide(taps.source_group(), panels * width);
  tap_rows = max_of(1, min_of(height.taps, most_sums / (out_block * panels * width * row.taps)));
  tap_row_blocks = ceil_divide(height.taps, tap_rows);
  tap_rows = ceil_divide(height.taps, tap_row_blocks);

  const Planes columns(row), lines(height);
  const int64_t first = columns.shift(0), last = columns.shift(row.taps - 1);
  int64_t data = 0;
  for (int64_t j = 0; j < min_of(row.taps, columns.period); ++j)
    data = max_of(data, min_of(columns.size(j), row.count + last));
  lead = max_of(0, -first);
  pitch = max_of(max_of(row.count, row.count + last), data + lead);

  const int64_t all_images = taps.batch * depth.count, image = height.count * pitch;
  images = max_of(1, min_of(min_of(block_pixels / max_of(1, image), most_products), all_images));
  bands = ceil_divide(image, block_pixels + block_pixels / 4);
  rows = ceil_divide(height.count, max_of(1, bands));
  bands = ceil_divide(height.count, max_of(1, rows));
  blocks = ceil_divide(all_images, images) * bands;

  // Of all taps that share a plane; rounding may add one row.
  plane_rows = rows + ceil_divide((tap_rows - 1) * lines.step, lines.stride) + 1;
  plane_pixels = lead + images * plane_rows * pitch;
  planes = min_of(tap_rows, lines.period) * min_of(row.taps, columns.period);

  const int64_t chunks = max_of(1, taps.groups * out_blocks * panel_blocks * tap_row_blocks * depth.taps);
  const int64_t weight = taps.result_channels * taps.source_group() * taps.tap_count();
  splits = min_of(ceil_divide(enough_chunks, chunks), max_of(1, most_partial_elements / max_of(1, weight)));
  splits = max_of(1, min_of(splits, blocks / split_blocks));

  sums = tap_rows * row.taps * out_block * panels * width;
  outputs = ceil_divide(out_block, row_tile) * tile * images * rows * pitch;
  inputs = planes * plane_pixels * panels * width;
}

template <typename T>
class PackedWeightGradient {
 public:
  explicit PackedWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    if (weight_elements(a_.shape) == 0) return;
    const Layout& l = layout_;
    const int64_t depth_taps = taps_.axis[0].taps;
    // Chunks that read the same pixels are neighbours.
    parallel_for(l.splits * taps_.groups * l.out_blocks * l.panel_blocks * l.tap_row_blocks * depth_taps,
                 [&](int64_t i) {
                   Chunk c{};
                   c.block = i % l.out_blocks, i /= l.out_blocks;
                   c.in = i % l.panel_blocks * l.panels * width_, i /= l.panel_blocks;
                   c.tap_row = i % l.tap_row_blocks * l.tap_rows, i /= l.tap_row_blocks;
                   c.depth_tap = i % depth_taps, i /= depth_taps;
                   c.group = i % taps_.groups, i /= taps_.groups;
                   c.split = i;
                   c.tap_row_end = min_of(taps_.axis[1].taps, c.tap_row + l.tap_rows);
                   c.out = c.group * taps_.result_group() + c.block * l.out_block;
                   c.outs = min_of(taps_.result_group() - c.block * l.out_block, l.out_block);
                   c.ins = min_of(taps_.source_group() - c.in, l.panels * width_);
                   c.panels = ceil_divide(c.ins, width_);
                   run_chunk(c);
                 });
    if (l.splits > 1) combine();
  }

 private:
  struct Chunk {
    int64_t split, group, block, depth_tap, tap_row, tap_row_end;
    int64_t out, outs;  ///< out channels, of all groups
    int64_t in, ins;    ///< in channels of the group
    int64_t panels;     ///< of in channels
  };
  /// Output rows [row, row + rows) of images [image, image + images).
  struct Block {
    int64_t image, images, row, rows;
  };

  void run_chunk(const Chunk& c) const {
    const Layout& l = layout_;
    T* const sums = static_cast<T*>(thread_scratch());
    T* const outputs = sums + l.sums;
    T* const inputs = outputs + l.outputs;
    const int64_t all_images = taps_.batch * taps_.axis[0].count;
    const int64_t first = l.blocks * c.split / l.splits, last = l.blocks * (c.split + 1) / l.splits;
    for (int64_t i = first; i < last; ++i) {
      Block b{};
      b.image = i / l.bands * l.images;
      b.images = min_of(l.images, all_images - b.image);
      b.row = i % l.bands * l.rows;
      b.rows = min_of(l.rows, taps_.axis[1].count - b.row);
      pack_outputs(c, b, outputs);
      pack_inputs(c, b, inputs);
      multiply(c, b, outputs, inputs, sums, i > first);
    }
    write(c, sums);
  }

  /// Tiles of out channels, pixel after pixel.
  void pack_outputs(const Chunk& c, const Block& b, T* to) const {
    const Layout& l = layout_;
    const int64_t count = taps_.axis[2].count, channels = taps_.result_channels, tiles = tiles_of(c);
    const int64_t tile_elements = l.images * l.rows * l.pitch * tile_pitch<T>;
    const TilePacker<T, most_outs> packer(c.outs, tile_elements);
    const int64_t ahead = max_of(b.rows * b.images, 1) * count * channels;  // the next block
    for (int64_t image = 0; image < b.images; ++image)
      for (int64_t row = 0; row < b.rows; ++row) {
        const int64_t pixel = (image * l.rows + row) * l.pitch;
        const T* from = static_cast<const T*>(a_.output) +
                        ((b.image + image) * taps_.axis[1].count + b.row + row) * count * channels + c.out;
        T* tile = to + pixel * tile_pitch<T>;
        packer.run(from, channels, count, tile, ahead);
        for (int64_t t = 0; t < tiles; ++t)
          clear(tile + t * tile_elements + count * tile_pitch<T>, (l.pitch - count) * tile_pitch<T>);
      }
  }

  void pack_inputs(const Chunk& c, const Block& b, T* to) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t channels = taps_.source_channels, row_planes = min_of(c.tap_row_end - c.tap_row, lines_.period);
    const int64_t column_planes = min_of(width.taps, columns_.period);
    const int64_t panel_elements = l.planes * l.plane_pixels * width_;
    const int64_t ahead = b.rows * b.images * lines_.stride * width.source_size * channels;  // the next block
    for (int64_t plane = 0; plane < row_planes * column_planes; ++plane) {
      const int64_t j1 = c.tap_row + plane / column_planes, j2 = plane % column_planes;
      const int64_t used = min_of(columns_.size(j2), width.count + columns_.shift(width.taps - 1));
      const int64_t lines = lines_.size(j1);
      T* pixels = to + plane * l.plane_pixels * width_;
      for (int64_t panel = 0; panel < c.panels; ++panel) clear(pixels + panel * panel_elements, l.lead * width_);
      pixels += l.lead * width_;
      for (int64_t image = 0; image < b.images; ++image) {
        const int64_t n = (b.image + image) / depth.count, q0 = (b.image + image) % depth.count;
        const int64_t s0 = q0 * depth.source_step + depth.offset(c.depth_tap);
        if (s0 < 0 || s0 >= depth.source_size) continue;
        for (int64_t row = 0; row < l.plane_rows; ++row, pixels += l.pitch * width_) {
          const int64_t line = b.row + lines_.shift(j1) + row;
          const bool inside = line >= 0 && line < lines;
          const int64_t source_row = line * lines_.stride + lines_.remainder(j1);
          const T* from = static_cast<const T*>(a_.input) + c.group * taps_.source_group() + c.in +
                          (((n * depth.source_size + s0) * height.source_size + source_row) * width.source_size +
                           columns_.remainder(j2)) *
                              channels;
          for (int64_t panel = 0; panel < c.panels; ++panel) {
            T* to_panel = pixels + panel * panel_elements;
            if (inside)
              pack_rows(from + panel * width_, columns_.stride * channels, used, c.ins - panel * width_, width_,
                        to_panel, ahead);
            const int64_t filled = inside ? used * width_ : 0;
            clear(to_panel + filled, l.pitch * width_ - filled);
          }
        }
      }
    }
  }

  void multiply(const Chunk& c, const Block& b, const T* outputs, const T* inputs, T* sums, bool accumulate) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t column_planes = min_of(width.taps, columns_.period), tiles = tiles_of(c);
    int64_t image_of[most_products], images = 0;
    for (int64_t image = 0, packed = 0; image < b.images; ++image) {
      const int64_t s0 = (b.image + image) % depth.count * depth.source_step + depth.offset(c.depth_tap);
      image_of[image] = s0 < 0 || s0 >= depth.source_size ? -1 : packed++;
      images = packed;
    }
    for (int64_t j1 = c.tap_row; j1 < c.tap_row_end; ++j1) {
      const Range valid = height.valid_results(j1);
      const int64_t begin = max_of(valid.begin, b.row), end = min_of(valid.end, b.row + b.rows);
      const int64_t same = c.tap_row + (j1 - c.tap_row) % lines_.period;  // the tap that named the plane
      const int64_t line = begin - b.row + lines_.shift(j1) - lines_.shift(same);
      for (int64_t j2 = 0; j2 < width.taps; ++j2) {
        const int64_t plane = (same - c.tap_row) * column_planes + j2 % columns_.period;
        const T* from = inputs + (plane * l.plane_pixels + l.lead + line * l.pitch + columns_.shift(j2)) * width_;
        T* to = sums + ((j1 - c.tap_row) * width.taps + j2) * c.outs * c.panels * width_;
        if (begin >= end || images == 0) {
          if (!accumulate) clear(to, c.outs * c.panels * width_);
          continue;
        }
        for (int64_t i = 0; i < c.panels * tiles; ++i) {
          const int64_t panel = i / tiles, t = i % tiles;
          const int64_t first = c.outs * t / tiles, rows = c.outs * (t + 1) / tiles - first;
          const T* tile = outputs + t * l.images * l.rows * l.pitch * tile_pitch<T>;
          Product<T> products[most_products];
          int64_t count = 0;
          for (int64_t image = 0; image < b.images; ++image)
            if (image_of[image] >= 0)
              products[count++] = {
                  tile + (image * l.rows + begin - b.row) * l.pitch * tile_pitch<T>,
                  from + (panel * l.planes * l.plane_pixels + image_of[image] * l.plane_rows * l.pitch) * width_};
          brgemm(BatchReduce<T>{.products = products,
                                .count = count,
                                .m = rows,
                                .n = min_of(width_, (c.ins - panel * width_ + lanes<T> - 1) / lanes<T> * lanes<T>),
                                .k = (end - begin - 1) * l.pitch + width.count,
                                .a_row = 1,
                                .a_column = tile_pitch<T>,
                                .b_row = width_,
                                .c = to + (panel * c.outs + first) * width_,
                                .c_row = width_,
                                .accumulate = accumulate});
        }
      }
    }
  }

  /// The finished sums of a chunk go to the weight, or to the partial sums of its split.
  void write(const Chunk& c, const T* sums) const {
    const int64_t taps = taps_.tap_count(), in = taps_.source_group(), width = taps_.axis[2].taps;
    const bool whole = layout_.splits == 1;
    const int64_t out_stride = whole ? a_.weight_strides[0] : in * taps;
    const int64_t in_stride = whole ? a_.weight_strides[1] : taps, tap_stride = whole ? a_.weight_strides[2] : 1;
    T* to = whole ? static_cast<T*>(a_.weight) : static_cast<T*>(a_.workspace) + c.split * weight_elements(a_.shape);
    const int64_t count = (c.tap_row_end - c.tap_row) * width, tap_sums = c.outs * c.panels * width_;
    to += c.out * out_stride + c.in * in_stride + (c.depth_tap * taps_.axis[1].taps + c.tap_row) * width * tap_stride;
    for (int64_t o = 0; o < c.outs; ++o)
      for (int64_t i = 0; i < c.ins; i += lanes<T>) {
        const T* from = sums + (i / width_ * c.outs + o) * width_ + i % width_;
        T* corner = to + o * out_stride + i * in_stride;
        const int64_t ins = min_of(c.ins - i, lanes<T>);
        for (int64_t tap = 0; tap < count;) {
          const int64_t some = min_of(count - tap, lanes<T>);
          if (some == 1 || tap_stride != 1)
            write_tap(from + tap * tap_sums, ins, in_stride, corner + tap * tap_stride), ++tap;
          else
            write_taps(from + tap * tap_sums, tap_sums, some, ins, in_stride, corner + tap), tap += some;
        }
      }
  }

  static void write_tap(const T* from, int64_t ins, int64_t in_stride, T* to) {
    if (in_stride == 1) return store(to, load(from), Mask<T>(static_cast<int>(ins)));
    for (int64_t i = 0; i < ins; ++i) to[i * in_stride] = from[i];
  }

  static void write_taps(const T* from, int64_t tap_sums, int64_t taps, int64_t ins, int64_t in_stride, T* to) {
    Vector<T> rows[lanes<T>];
#pragma GCC unroll 16
    for (int tap = 0; tap < lanes<T>; ++tap) rows[tap] = tap < taps ? load(from + tap * tap_sums) : Vector<T>{};
    transpose<T>(rows);
    const Mask<T> mask(static_cast<int>(taps));
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i)
      if (i < ins) store(to + i * in_stride, rows[i], mask);
  }

  void combine() const {
    const int64_t taps = taps_.tap_count(), in = taps_.source_group(), row = in * taps;
    const T* partial = static_cast<const T*>(a_.workspace);
    parallel_for(a_.shape.out_channels, [&](int64_t o) {
      constexpr int64_t most = 256;
      T sums[most];
      T* weight = static_cast<T*>(a_.weight) + o * a_.weight_strides[0];
      for (int64_t begin = 0; begin < row; begin += most) {
        const int64_t count = min_of(row - begin, most);
        const T* from = partial + o * row + begin;
        for (int64_t i = 0; i < count; ++i) sums[i] = from[i];
        for (int64_t split = 1; split < layout_.splits; ++split) {
          from += weight_elements(a_.shape);
          for (int64_t i = 0; i < count; ++i) sums[i] += from[i];
        }
        for (int64_t i = 0; i < count; ++i)
          weight[(begin + i) / taps * a_.weight_strides[1] + (begin + i) % taps * a_.weight_strides[2]] = sums[i];
      }
    });
  }

  static int64_t tiles_of(const Chunk& c) { return ceil_divide(c.outs, row_tile); }
  static void clear(T* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = 0;
  }

  const ConvolutionArguments& a_;
  Taps taps_ = forward_taps(a_);
  Planes lines_{taps_.axis[1]}, columns_{taps_.axis[2]};
  int64_t width_ = panel_width<T>(taps_.source_group());
  Layout layout_{taps_, width_, tile_pitch<T>};
};

Layout layout_of(const ConvolutionArguments& a) {
  const Taps taps = forward_taps(a);
  const int64_t in = taps.source_group();
  return a.dtype == DType::Float32 ? Layout(taps, panel_width<float>(in), tile_pitch<float>)
                                   : Layout(taps, panel_width<double>(in), tile_pitch<double>);
}

}  // namespace

const char* packed_weight_gradient_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (output_elements(s) == 0 || weight_elements(s) == 0) return "there is nothing to add up";
  const int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  if (in < few_channels) return "so few channels do not fill a product";
  if (max_of(in, out) < many_channels) return "with so few channels both operands are read fast as they lie";
  if (s.output[2] <= short_row && s.kernel[2] > 1 && s.stride[2] == 1) return "rows of pixels are short";
  const Layout l = layout_of(a);
  if (l.pitch > s.output[2] + max_of(2, s.output[2] / 4)) return "borders are too wide";
  if (static_cast<size_t>(l.sums + l.outputs + l.inputs) * element_size(a) > scratch_bytes)
    return "a row of pixels is too long";
  return nullptr;
}

size_t packed_weight_gradient_workspace(const ConvolutionArguments& a) {
  const int64_t splits = layout_of(a).splits;
  return splits == 1 ? 0 : aligned_bytes(splits * weight_elements(a.shape), element_size(a));
}

void packed_weight_gradient(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? PackedWeightGradient<float>(a).run() : PackedWeightGradient<double>(a).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
