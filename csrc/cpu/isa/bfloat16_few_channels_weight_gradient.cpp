// Weight gradient of bfloat16 convolutions with few channels on both sides: dW[o, i, tap] = Σ over pixels of
// dY[pixel, o] · X[pixel's input under tap, i] with lanes over pixels, as tiles over channels would be mostly empty. A
// block of rows is laid out as planes of one channel each, X with its borders, dY with as many zeros behind each row;
// a flat index into a plane then serves as pixel, and a tap is a distance. Sums stay vectors until a split is through.
#include <cstring>

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/isa/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int64_t most_channels = 16;
constexpr int64_t most_weights = 8192;                 // their vectors of sums stay in L2
constexpr int64_t block_bytes = int64_t{1} << 16;      // of planes: they are read once per tap and stay in L2
constexpr int64_t permuted_channels = 8;               // more are transposed in less time
constexpr int64_t most_splits = 16;                    // each adds up its lanes in the end
constexpr int pixel_lanes = 2 * lanes<float>;          // of a vector of bfloat16
constexpr int tile_outs = vector_bytes == 64 ? 6 : 3;  // sums that stay in registers

/// Each product of a pair on its own.
struct Widened {
  static constexpr int tile_columns = 2;
  static constexpr int parts = 2;
  template <int Part>
  PYCNN_INLINE Vector<float> part(Vector<float> pixels) {
    return Part == 0 ? even_of(pixels) : odd_of(pixels);
  }
  PYCNN_INLINE void add(Vector<float>& sum, Vector<float> left, Vector<float> right) {
    sum = multiply_add(left, right, sum);
  }
};

#if defined(__AVX512F__)
struct Dot {
  static constexpr int tile_columns = 4;
  static constexpr int parts = 1;
  template <int Part>
  PYCNN_INLINE Vector<float> part(Vector<float> pixels) {
    return pixels;
  }
  PYCNN_INLINE void add(Vector<float>& sum, Vector<float> left, Vector<float> right) { add_pairs(sum, left, right); }
};
#endif

/// What lies where in a block; by shape alone.
struct Layout {
  explicit Layout(const Taps& taps)
      : outs(taps.result_channels),
        ins(taps.axis[0].taps * taps.source_channels),
        columns(taps.tap_count() * taps.source_channels) {
    const Axis &height = taps.axis[1], &across = taps.axis[2];
    const int64_t border = (height.taps - 1) * height.offset_step, all = taps.batch * taps.axis[0].count;
    pitch = across.count + (across.taps - 1) * across.offset_step;
    const int64_t fitting = block_bytes / static_cast<int64_t>(sizeof(BFloat16)) / max_of(1, pitch);  // rows of planes
    rows = max_of(1, min_of(height.count, max_of(4, (fitting - ins * border) / max_of(1, outs + ins))));
    bands = ceil_divide(height.count, rows);
    rows = ceil_divide(height.count, max_of(1, bands));
    source_rows = rows + border;
    images = bands > 1 ? 1 : max_of(1, min_of(all, fitting / max_of(1, outs * rows + ins * source_rows)));
    blocks = ceil_divide(all, images) * bands;
    splits = max_of(1, min_of(blocks, most_splits));
    out_image = ceil_divide(rows * pitch + 1, pixel_lanes) * pixel_lanes;  // a row may be dealt with a zero behind it
    const int64_t read = source_rows * pitch + (pitch - across.count) + pixel_lanes;  // by the last tap
    in_image = ceil_divide(read, pixel_lanes) * pixel_lanes;
    out_plane = images * out_image;
    in_plane = images * in_image;
  }
  int64_t sum_elements() const { return outs * columns * lanes<float>; }
  int64_t bytes() const {
    return sum_elements() * static_cast<int64_t>(sizeof(float)) +
           (outs * out_plane + ins * in_plane) * static_cast<int64_t>(sizeof(BFloat16)) +
           columns * static_cast<int64_t>(sizeof(BFloat16*));
  }

  int64_t outs;     ///< planes of dY
  int64_t ins;      ///< planes of X: taps along the depth × channels
  int64_t columns;  ///< of dW: taps × channels
  int64_t pitch;    ///< pixels from row to row
  int64_t rows, bands, source_rows;
  int64_t images, blocks, splits;  ///< images of a block, blocks in all
  int64_t out_image, in_image;     ///< pixels from image to image of a plane
  int64_t out_plane, in_plane;     ///< pixels from plane to plane
};

/// How `channels` interleaved channels are dealt out to planes.
class Dealer {
 public:
  explicit Dealer(int64_t channels) : channels_(channels) {
#if defined(__AVX512F__)
    if (channels > permuted_channels) return;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t pair = 0; 2 * pair < channels; ++pair) {
        masks_[c][pair] = 0;
        for (int64_t pixel = 0; pixel < pixel_lanes; ++pixel) {
          const int64_t at = pixel * channels + c - pair * 2 * pixel_lanes;
          const bool here = at >= 0 && at < 2 * pixel_lanes;
          places_[c][pair][pixel] = here ? static_cast<uint16_t>(at) : uint16_t{0};
          masks_[c][pair] |= here ? 1u << pixel : 0u;
        }
      }
#endif
  }
  Dealer(const Dealer&) = delete;

  /// to[c·plane + x] = from[x·channels + c] for x < count; a zero may follow.
  void deal(const BFloat16* from, int64_t count, BFloat16* to, int64_t plane) const {
    if (channels_ == 1) {
      std::memcpy(to, from, static_cast<size_t>(count) * sizeof *to);
      return;
    }
#if defined(__AVX512F__)
    if (channels_ <= permuted_channels) return permute(from, count, to, plane);
#endif
    for (int64_t x = 0; x < count; x += pixel_lanes)
      for (int64_t i = 0; i < channels_; i += lanes<float>)
        transpose_pairs(from + x * channels_ + i, min_of(channels_ - i, lanes<float>), min_of(count - x, pixel_lanes),
                        to + i * plane + x, plane);
  }

 private:
  /// Pixels become pairs of pixels, which are transposed.
  void transpose_pairs(const BFloat16* from, int64_t channels, int64_t count, BFloat16* to, int64_t plane) const {
    const Mask<float> filled(static_cast<int>(channels)), stored(static_cast<int>(ceil_divide(count, 2)));
    const auto pixel = [&](int64_t x) { return x < count ? load(from + x * channels_, filled) : Vector<float>{}; };
    Vector<float> tile[lanes<float>];
#pragma GCC unroll 16
    for (int p = 0; p < lanes<float>; ++p) tile[p] = pairs_of(pixel(2 * p), pixel(2 * p + 1));
    transpose<float>(tile);
#pragma GCC unroll 16
    for (int r = 0; r < lanes<float>; ++r)
      if (r < channels) store(reinterpret_cast<float*>(to + r * plane), tile[r], stored);
  }

#if defined(__AVX512F__)
  void permute(const BFloat16* from, int64_t count, BFloat16* to, int64_t plane) const {
    const auto first = [](int64_t n) { return static_cast<__mmask32>(n >= 32 ? ~0u : (1u << max_of(0, n)) - 1); };
    for (int64_t x = 0; x < count; x += pixel_lanes) {
      const int64_t elements = (count - x) * channels_;
      __m512i rows[permuted_channels];
      for (int64_t i = 0; i < channels_; ++i)
        rows[i] = _mm512_maskz_loadu_epi16(first(elements - i * pixel_lanes), from + x * channels_ + i * pixel_lanes);
      if (channels_ % 2 != 0) rows[channels_] = _mm512_setzero_si512();
      const int64_t filled = ceil_divide(min_of(elements, channels_ * pixel_lanes), 2 * pixel_lanes);
      for (int64_t c = 0; c < channels_; ++c) {
        __m512i line = _mm512_setzero_si512();
        for (int64_t pair = 0; pair < filled; ++pair) {
          const __m512i places = _mm512_load_si512(places_[c][pair]);
          line = _mm512_or_si512(
              line, _mm512_maskz_permutex2var_epi16(masks_[c][pair], rows[2 * pair], places, rows[2 * pair + 1]));
        }
        _mm512_mask_storeu_epi16(to + c * plane + x, first(count - x), line);
      }
    }
  }
#endif

  int64_t channels_;
#if defined(__AVX512F__)
  alignas(64) uint16_t places_[permuted_channels][permuted_channels / 2][pixel_lanes];
  __mmask32 masks_[permuted_channels][permuted_channels / 2];
#endif
};

/// Sums of outs × columns over the pixels of a block.
struct Tile {
  const BFloat16* outs;  ///< pixel 0 of the first plane
  int64_t out_plane, out_image;
  const BFloat16* const* ins;  ///< of each column
  int64_t in_image;
  int64_t images, pixels;
  Vector<float>* sums;  ///< sums[o·columns + column]
  int64_t columns;
  bool accumulate;
};

template <typename Products, int Outs, int Columns>
void add_tile(const Tile& t) {
  Vector<float> sums[Outs][Columns];
#pragma GCC unroll 8
  for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) sums[o][c] = t.accumulate ? t.sums[o * t.columns + c] : Vector<float>{};
  for (int64_t image = 0; image < t.images; ++image) {
    const BFloat16 *outs = t.outs + image * t.out_image, *ins[Columns];
    for (int c = 0; c < Columns; ++c) ins[c] = t.ins[c] + image * t.in_image;
    for (int64_t x = 0; x < t.pixels; x += pixel_lanes) {
      const auto add = [&]<int Part>() __attribute__((always_inline)) {
        Vector<float> right[Columns];
#pragma GCC unroll 4
        for (int c = 0; c < Columns; ++c)
          right[c] = Products::template part<Part>(load(reinterpret_cast<const float*>(ins[c] + x)));
#pragma GCC unroll 8
        for (int o = 0; o < Outs; ++o) {
          const Vector<float> left =
              Products::template part<Part>(load(reinterpret_cast<const float*>(outs + o * t.out_plane + x)));
#pragma GCC unroll 4
          for (int c = 0; c < Columns; ++c) Products::add(sums[o][c], left, right[c]);
        }
      };
      add.template operator()<0>();
      if constexpr (Products::parts > 1) add.template operator()<1>();
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < Outs; ++o)
#pragma GCC unroll 4
    for (int c = 0; c < Columns; ++c) t.sums[o * t.columns + c] = sums[o][c];
}

template <typename Products, int Outs, int Columns>
void add_columns(const Tile& t, int64_t columns) {
  if constexpr (Columns > 1)
    if (columns < Columns) return add_columns<Products, Outs, Columns - 1>(t, columns);
  add_tile<Products, Outs, Columns>(t);
}

template <typename Products, int Outs>
void add_outs(const Tile& t, int64_t outs, int64_t columns) {
  if constexpr (Outs > 1)
    if (outs < Outs) return add_outs<Products, Outs - 1>(t, outs, columns);
  add_columns<Products, Outs, Products::tile_columns>(t, columns);
}

/// Vectors' sums over their lanes, in a fixed order.
void add_lanes(const Vector<float>* vectors, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += lanes<float>) {
    const int64_t here = min_of(count - i, lanes<float>);
    Vector<float> tile[lanes<float>];
#pragma GCC unroll 16
    for (int r = 0; r < lanes<float>; ++r) tile[r] = r < here ? vectors[i + r] : Vector<float>{};
    transpose<float>(tile);
#pragma GCC unroll 4
    for (int half = lanes<float> / 2; half > 0; half /= 2)
#pragma GCC unroll 8
      for (int r = 0; r < half; ++r) tile[r] += tile[r + half];
    store(to + i, tile[0], Mask<float>(static_cast<int>(here)));
  }
}

/// The weight gradient is the sum of a.workspace's `splits` parts of float32, each (out, tap, in), rounded once.
void combine_splits(const ConvolutionArguments& a, int64_t splits) {
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

template <typename Products>
class FewChannelsWeightGradient {
 public:
  explicit FewChannelsWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    const Layout& l = layout_;
    parallel_for(l.splits, [&](int64_t split) {
      Scratch s{};
      s.sums = static_cast<Vector<float>*>(thread_scratch());
      s.ins = reinterpret_cast<BFloat16*>(s.sums + l.outs * l.columns);
      s.outs = s.ins + l.ins * l.in_plane;
      s.columns = reinterpret_cast<const BFloat16**>(s.outs + l.outs * l.out_plane);
      find_columns(s);
      const int64_t first = l.blocks * split / l.splits, last = l.blocks * (split + 1) / l.splits;
      for (int64_t block = first; block < last; ++block) {
        const int64_t image = block / l.bands * l.images, images = min_of(l.images, all_images() - image);
        const int64_t row = block % l.bands * l.rows, rows = min_of(l.rows, taps_.axis[1].count - row);
        fill_outs(s, image, images, row, rows);
        fill_ins(s, image, images, row, rows);
        multiply(s, images, rows, block > first);
      }
      add_lanes(s.sums, l.outs * l.columns, static_cast<float*>(a_.workspace) + split * l.outs * l.columns);
    });
    combine_splits(a_, l.splits);
  }

 private:
  struct Scratch {
    Vector<float>* sums;
    BFloat16 *ins, *outs;
    const BFloat16** columns;  ///< the first pixel of each
  };

  int64_t all_images() const { return taps_.batch * taps_.axis[0].count; }

  void find_columns(const Scratch& s) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &across = taps_.axis[2];
    const BFloat16** to = s.columns;
    for (int64_t j0 = 0; j0 < depth.taps; ++j0)
      for (int64_t j1 = 0; j1 < height.taps; ++j1)
        for (int64_t j2 = 0; j2 < across.taps; ++j2)
          for (int64_t c = 0; c < taps_.source_channels; ++c)
            *to++ = s.ins + (j0 * taps_.source_channels + c) * layout_.in_plane +
                    j1 * height.offset_step * layout_.pitch + j2 * across.offset_step;
  }

  void fill_outs(const Scratch& s, int64_t image, int64_t images, int64_t row, int64_t rows) const {
    const Layout& l = layout_;
    const int64_t height = taps_.axis[1].count, width = taps_.axis[2].count;
    std::memset(s.outs, 0, static_cast<size_t>(l.outs * l.out_plane) * sizeof *s.outs);
    for (int64_t i = 0; i < images; ++i)
      for (int64_t q = 0; q < rows; ++q)
        deal_outs_.deal(static_cast<const BFloat16*>(a_.output) + ((image + i) * height + row + q) * width * l.outs,
                        width, s.outs + i * l.out_image + q * l.pitch, l.out_plane);
  }

  void fill_ins(const Scratch& s, int64_t image, int64_t images, int64_t row, int64_t rows) const {
    const Layout& l = layout_;
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &across = taps_.axis[2];
    const int64_t channels = taps_.source_channels;
    const int64_t source_rows = rows + (height.taps - 1) * height.offset_step;
    // The part of a row that the source has.
    const int64_t first = min_of(max_of(-across.first_offset, 0), l.pitch);
    const int64_t last = max_of(first, min_of(across.source_size - across.first_offset, l.pitch));
    std::memset(s.ins, 0, static_cast<size_t>(l.ins * l.in_plane) * sizeof *s.ins);
    for (int64_t j0 = 0; j0 < depth.taps; ++j0)
      for (int64_t i = 0; i < images; ++i) {
        const int64_t n = (image + i) / depth.count, q0 = (image + i) % depth.count;
        const int64_t d = q0 * depth.source_step + depth.offset(j0);
        if (d < 0 || d >= depth.source_size) continue;
        for (int64_t r = 0; r < source_rows; ++r) {
          const int64_t h = row + height.first_offset + r;
          if (h < 0 || h >= height.source_size || first == last) continue;
          const int64_t pixel =
              ((n * depth.source_size + d) * height.source_size + h) * across.source_size + first + across.first_offset;
          deal_ins_.deal(static_cast<const BFloat16*>(a_.input) + pixel * channels, last - first,
                         s.ins + j0 * channels * l.in_plane + i * l.in_image + r * l.pitch + first, l.in_plane);
        }
      }
  }

  void multiply(const Scratch& s, int64_t images, int64_t rows, bool accumulate) const {
    const Layout& l = layout_;
    const int64_t out_tiles = ceil_divide(l.outs, tile_outs), tiles = ceil_divide(l.columns, Products::tile_columns);
    for (int64_t i = 0; i < out_tiles; ++i)
      for (int64_t j = 0; j < tiles; ++j) {
        const int64_t out = l.outs * i / out_tiles, column = l.columns * j / tiles;
        const Tile tile{.outs = s.outs + out * l.out_plane,
                        .out_plane = l.out_plane,
                        .out_image = l.out_image,
                        .ins = s.columns + column,
                        .in_image = l.in_image,
                        .images = images,
                        .pixels = rows * l.pitch,
                        .sums = s.sums + out * l.columns + column,
                        .columns = l.columns,
                        .accumulate = accumulate};
        add_outs<Products, tile_outs>(tile, l.outs * (i + 1) / out_tiles - out, l.columns * (j + 1) / tiles - column);
      }
  }

  const ConvolutionArguments& a_;
  Taps taps_ = forward_taps(a_);
  Layout layout_{taps_};
  Dealer deal_outs_{taps_.result_channels}, deal_ins_{taps_.source_channels};
};

}  // namespace

const char* bfloat16_few_channels_weight_gradient_declines(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  if (a.dtype != DType::BFloat16) return "the operands are not bfloat16";
  if (s.groups != 1) return "there are groups";
  if (s.stride[1] * s.stride[2] != 1) return "with stride, pixels of a row are not adjacent";
  if (output_elements(s) == 0 || weight_elements(s) == 0) return "there is nothing to add up";
  if (s.in_channels > most_channels || s.out_channels > most_channels || weight_elements(s) > most_weights)
    return "with so many channels, they fill tiles";
  if (!a.forced && bfloat_products() != BFloat16Products::Dot) return "this processor multiplies float32 as fast";
  if (!a.forced && s.in_channels == most_channels) return "the channels of the input fill a vector";
  if (!a.forced && 2 * s.output[2] < pixel_lanes) return "rows leave most of a vector empty";
  if (Layout(forward_taps(a)).bytes() > static_cast<int64_t>(scratch_bytes)) return "a few rows are too long";
  return nullptr;
}

size_t bfloat16_few_channels_weight_gradient_workspace(const ConvolutionArguments& a) {
  return aligned_bytes(Layout(forward_taps(a)).splits * weight_elements(a.shape), sizeof(float));
}

void bfloat16_few_channels_weight_gradient(const ConvolutionArguments& a) {
#if defined(__AVX512F__)
  if (bfloat_products() == BFloat16Products::Dot) return FewChannelsWeightGradient<Dot>(a).run();
#endif
  FewChannelsWeightGradient<Widened>(a).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
