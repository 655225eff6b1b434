// Convolutions with few channels of results: vectors over them would be mostly empty, so they run over pixels. A band
// of the source is laid out as planes with its borders of zeros; a flat index into a plane then serves as pixel, and a
// tap is one distance for all of them. What lies between rows is computed along and dropped. Planes of bfloat16 hold
// pairs of channels, or of pixels that adjacent taps meet if there is one channel only.
#include <cstring>

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/epilogue.h"
#include "cpu/isa/interleave.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/taps.h"
#include "cpu/isa/transpose.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int most_results = 8;
constexpr int64_t band_bytes = int64_t{1} << 16;  ///< of planes: they are read once per tap and stay in L2
constexpr int64_t chunk_flops = int64_t{1} << 20;
constexpr int64_t enough_chunks = 32;
constexpr int64_t few_sources = 4;  ///< channels that are not worth a transposition in registers

/// Vectors of pixels whose sums stay in registers.
template <int Results>
inline constexpr int pixel_vectors = vector_bytes == 64 ? (Results <= 6 ? 4 : 3)
                                     : Results <= 3     ? 4
                                     : Results <= 6     ? 2
                                                        : 1;
/// Pixels are computed in blocks of at most this many; planes and results have room for a whole one at the end.
template <typename T>
inline constexpr int64_t slack = 4 * lanes<T>;

/// Planes of what the source holds.
template <typename T>
struct Plain {
  using Source = T;
  using Sum = T;
  using Plane = T;  ///< an element of a plane, and of the weight that it is multiplied with
  static constexpr bool pairs = false;
  static constexpr int parts = 1;
  template <int Part>
  PYCNN_INLINE Vector<T> left(T weight) {
    return splat(weight);
  }
  template <int Part>
  PYCNN_INLINE Vector<T> right(Vector<T> plane) {
    return plane;
  }
  PYCNN_INLINE void add(Vector<T>& sum, Vector<T> left, Vector<T> right) { sum = multiply_add(left, right, sum); }
};

struct Pairs {
  using Source = BFloat16;
  using Sum = float;
  using Plane = uint32_t;
  static constexpr bool pairs = true;
};

/// Each product of a pair on its own.
struct WidenedPairs : Pairs {
  static constexpr int parts = 2;
  template <int Part>
  PYCNN_INLINE Vector<float> left(uint32_t weight) {
    return splat(__builtin_bit_cast(float, Part == 0 ? weight << 16 : weight & 0xffff0000u));
  }
  template <int Part>
  PYCNN_INLINE Vector<float> right(Vector<float> plane) {
    return Part == 0 ? even_of(plane) : odd_of(plane);
  }
  PYCNN_INLINE void add(Vector<float>& sum, Vector<float> left, Vector<float> right) {
    sum = multiply_add(left, right, sum);
  }
};

#if defined(__AVX512F__)
struct DotPairs : Pairs {
  static constexpr int parts = 1;
  template <int Part>
  PYCNN_INLINE Vector<float> left(uint32_t weight) {
    return splat(__builtin_bit_cast(float, weight));
  }
  template <int Part>
  PYCNN_INLINE Vector<float> right(Vector<float> plane) {
    return plane;
  }
  PYCNN_INLINE void add(Vector<float>& sum, Vector<float> left, Vector<float> right) { add_pairs(sum, left, right); }
};
#endif

/// The sizes of a band: `rows` rows of results of one (batch item, depth).
template <typename Form>
struct Band {
  using T = typename Form::Sum;

  int64_t rows, bands;  ///< of results in a full band; bands per (batch item, depth)
  int64_t width;        ///< of a plane's row
  int64_t plane;        ///< elements
  int64_t channels;     ///< planes of a tap along the depth
  int64_t planes;       ///< of all of them
  int64_t results;      ///< elements of a full band's results, with pixels between rows

  explicit Band(const Taps& taps) {
    const Axis &height = taps.axis[1], &across = taps.axis[2];
    channels = Form::pairs ? ceil_divide(taps.source_channels, 2) : taps.source_channels;
    planes = taps.axis[0].taps * channels;
    width = across.count + (across.taps - 1) * across.offset_step;
    const int64_t border = (height.taps - 1) * height.offset_step;
    const int64_t fitting = band_bytes / static_cast<int64_t>(sizeof(T)) / (width * max_of(planes, 1)) - border;
    rows = min_of(height.count, max_of(fitting, 4));
    bands = ceil_divide(height.count, rows);
    rows = ceil_divide(height.count, bands);
    plane = (rows + border) * width + slack<T>;
    results = (rows * width + slack<T>)*taps.result_channels + lanes<T>;
  }
  size_t bytes() const { return static_cast<size_t>(planes * plane + results) * sizeof(T); }
  /// Share of lanes whose pixel is a result.
  double use(const Taps& taps) const {
    const double computed = static_cast<double>(ceil_divide(rows * width, 2 * lanes<T>) * 2 * lanes<T>);
    return static_cast<double>(rows * taps.axis[2].count) / computed;
  }
};

/// The links applied to planes of results: what finish() does to rows.
template <int Results, int Vectors>
PYCNN_INLINE void finish_planes(Vector<float> (&value)[Results][Vectors], const Finish& chain) {
  for (const Link* link = chain.links; link != chain.links + chain.count; ++link) {
    if (link->opcode == kernels::Opcode::RoundTo) {
#pragma GCC unroll 8
      for (int r = 0; r < Results; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) value[r][v] = rounded(value[r][v]);
      continue;
    }
    const RowOperand& operand = chain.operands[link->places[0]];
    const auto take = [&](int r) __attribute__((always_inline)) {
      const int64_t i = r * operand.column;
      return splat(operand.narrow ? element(static_cast<const BFloat16*>(operand.data)[i])
                                  : static_cast<const float*>(operand.data)[i]);
    };
    switch (link->opcode) {
#define PYCNN_LINK(opcode, result)                                \
  case kernels::Opcode::opcode:                                   \
    _Pragma("GCC unroll 8") for (int r = 0; r < Results; ++r) {   \
      const Vector<float> b = take(r);                            \
      _Pragma("GCC unroll 4") for (int v = 0; v < Vectors; ++v) { \
        const Vector<float> a = value[r][v];                      \
        value[r][v] = result;                                     \
      }                                                           \
    }                                                             \
    break;
      PYCNN_LINK(Add, a + b)
      PYCNN_LINK(Subtract, a - b)
      PYCNN_LINK(Multiply, a * b)
      PYCNN_LINK(Maximum, maximum(a, b))
#undef PYCNN_LINK
      default:
        __builtin_unreachable();
    }
  }
}

template <typename Form>
class FewChannels {
  using T = typename Form::Sum;
  using Source = typename Form::Source;
  using Plane = typename Form::Plane;

 public:
  FewChannels(const Taps& taps, const void* source, const void* weight, void* result, void* packed)
      : taps_(taps),
        band_(taps),
        source_(static_cast<const Source*>(source)),
        weight_(static_cast<const Source*>(weight)),
        result_(static_cast<Source*>(result)),
        packed_(static_cast<Plane*>(packed)),
        pixel_pairs_(Form::pairs && taps.source_channels == 1) {}

  size_t packed_bytes() const {
    return aligned_bytes(band_.planes * taps_.axis[1].taps * row_taps() * results(), sizeof(Plane));
  }

  void run(const kernels::PointwiseArguments* arguments) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &across = taps_.axis[2];
    pack();
    const int64_t all = taps_.batch * depth.count * band_.bands;
    const int64_t flops = 2 * band_.planes * height.taps * across.taps * band_.rows * across.count * results();
    const int64_t per_chunk = max_of(1, min_of(ceil_divide(chunk_flops, max_of(flops, 1)), all / enough_chunks));
    const RowEpilogue chain(arguments, result_);
    // Where tiles are, bfloat16 results round as their instructions do, which planes do not.
    const bool rounds = !Form::pairs || bfloat_products() != BFloat16Products::Tiles;
    const Finish finish = chain.finish(sizeof(T) == sizeof(float) && rounds && chain.finishes_planes(), 0, 0);
    const Epilogue epilogue(finish.count > 0 ? nullptr : arguments, results(), results());
    parallel_for(ceil_divide(all, per_chunk), [&](int64_t chunk) {
      EpilogueColumns columns(epilogue, 0, results());
      for (int64_t i = chunk * per_chunk; i < min_of(all, (chunk + 1) * per_chunk); ++i) {
        const int64_t n = i / band_.bands / depth.count, q0 = i / band_.bands % depth.count;
        const int64_t begin = height.count * (i % band_.bands) / band_.bands;
        const int64_t end = height.count * (i % band_.bands + 1) / band_.bands;
        run_band(n, q0, begin, end, finish);
        const int64_t pixel = (n * depth.count + q0) * height.count * across.count;
        columns.run(pixel + begin * across.count, pixel + end * across.count);
      }
    });
  }

 private:
  int64_t results() const { return taps_.result_channels; }

  /// Products with a row of taps.
  int64_t row_taps() const { return pixel_pairs_ ? ceil_divide(taps_.axis[2].taps, 2) : taps_.axis[2].taps; }

  /// (tap along the depth, plane, row, column, result)
  void pack() const {
    Plane* to = packed_;
    for (int64_t j0 = 0; j0 < taps_.axis[0].taps; ++j0)
      for (int64_t c = 0; c < band_.channels; ++c)
        for (int64_t j1 = 0; j1 < taps_.axis[1].taps; ++j1)
          for (int64_t j2 = 0; j2 < row_taps(); ++j2)
            for (int64_t r = 0; r < results(); ++r) *to++ = packed_weight(j0, c, j1, j2, r);
  }

  Plane packed_weight(int64_t j0, int64_t c, int64_t j1, int64_t j2, int64_t r) const {
    const auto weight = [&](int64_t channel, int64_t tap) {
      return weight_[taps_.kernel_index(j0, j1, tap) * taps_.weight_tap + channel * taps_.weight_source +
                     r * taps_.weight_result];
    };
    if constexpr (!Form::pairs) {
      return weight(c, j2);
    } else if (pixel_pairs_) {
      const bool second = 2 * j2 + 1 < taps_.axis[2].taps;
      return pair_of(weight(0, 2 * j2), second ? weight(0, 2 * j2 + 1) : BFloat16{});
    } else {
      const bool second = 2 * c + 1 < taps_.source_channels;
      return pair_of(weight(2 * c, j2), second ? weight(2 * c + 1, j2) : BFloat16{});
    }
  }

  PYCNN_INLINE uint32_t pair_of(BFloat16 even, BFloat16 odd) { return even.bits | uint32_t{odd.bits} << 16; }

  void run_band(int64_t n, int64_t q0, int64_t begin, int64_t end, const Finish& finish) const {
    Plane* planes = static_cast<Plane*>(thread_scratch());
    T* sums = reinterpret_cast<T*>(planes + band_.planes * band_.plane);
    fill_planes(n, q0, begin, end, planes);
    const int64_t pixels = (end - begin - 1) * band_.width + taps_.axis[2].count;
    run_results<most_results>(planes, begin, pixels, finish, sums);
    const Axis &height = taps_.axis[1], &across = taps_.axis[2];
    const int64_t row = across.count * results();
    Source* to = result_ + ((n * taps_.axis[0].count + q0) * height.count + begin) * row;
    if constexpr (Form::pairs) {
      if (finish.count == 0) return round_to_bfloat(sums, band_.width * results(), end - begin, row, to, row);
      // As chains round, which keep denormal numbers.
      for (int64_t q1 = begin; q1 < end; ++q1, to += row, sums += band_.width * results()) narrow_row(sums, row, to);
    } else {
      for (int64_t q1 = begin; q1 < end; ++q1, to += row, sums += band_.width * results())
        std::memcpy(to, sums, static_cast<size_t>(row) * sizeof(T));
    }
  }

  void fill_planes(int64_t n, int64_t q0, int64_t begin, int64_t end, Plane* to) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &across = taps_.axis[2];
    const int64_t channels = band_.channels;
    const int64_t rows = end - begin + (height.taps - 1) * height.offset_step;
    // The part of a row that the source has.
    const int64_t first = min_of(max_of(-across.first_offset, 0), band_.width);
    const int64_t last = max_of(first, min_of(across.source_size - across.first_offset, band_.width));
    for (int64_t j0 = 0; j0 < depth.taps; ++j0, to += channels * band_.plane) {
      const int64_t d = q0 * depth.source_step + depth.offset(j0);
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t h = begin + height.first_offset + r;
        Plane* row = to + r * band_.width;
        const bool inside = d >= 0 && d < depth.source_size && h >= 0 && h < height.source_size && first < last;
        for (int64_t c = 0; c < channels; ++c) {
          Plane* line = row + c * band_.plane;
          for (int64_t i = 0; i < (inside ? first : band_.width); ++i) line[i] = 0;
          for (int64_t i = last; inside && i < band_.width; ++i) line[i] = 0;
        }
        if (!inside) continue;
        const int64_t pixel =
            ((n * depth.source_size + d) * height.source_size + h) * across.source_size + first + across.first_offset;
        to_planes(source_ + pixel * taps_.source_channels, last - first, row + first);
        if (pixel_pairs_) pair_pixels(row);
      }
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t i = 0; i < slack<T>; ++i) to[c * band_.plane + rows * band_.width + i] = 0;
    }
  }

  void to_planes(const Source* from, int64_t pixels, Plane* to) const {
    const int64_t channels = band_.channels, whole = Form::pairs ? taps_.source_channels / 2 : channels;
    if (!Form::pairs && channels == 1) {
      std::memcpy(to, from, static_cast<size_t>(pixels) * sizeof(T));
      return;
    }
    if (channels <= few_sources || whole < channels) {
      for (int64_t c = 0; c < whole; ++c)
        for (int64_t i = 0; i < pixels; ++i)
          std::memcpy(to + c * band_.plane + i, from + i * taps_.source_channels + c * (Form::pairs ? 2 : 1),
                      sizeof(Plane));
      if constexpr (Form::pairs)
        for (int64_t i = 0; whole < channels && i < pixels; ++i)
          to[whole * band_.plane + i] = from[i * taps_.source_channels + 2 * whole].bits;
      return;
    }
    for (int64_t c = 0; c < channels; c += lanes<T>) {
      const int64_t count = min_of(channels - c, lanes<T>);
      const Mask<T> channel_mask(static_cast<int>(count));
      for (int64_t i = 0; i < pixels; i += lanes<T>) {
        const int64_t here = min_of(pixels - i, lanes<T>);
        const Mask<T> pixel_mask(static_cast<int>(here));
        Vector<T> rows[lanes<T>] = {};
#pragma GCC unroll 16
        for (int p = 0; p < lanes<T>; ++p)
          if (p < here) rows[p] = load(reinterpret_cast<const T*>(from) + (i + p) * channels + c, channel_mask);
        transpose<T>(rows);
#pragma GCC unroll 16
        for (int k = 0; k < lanes<T>; ++k)
          if (k < count) store(reinterpret_cast<T*>(to + (c + k) * band_.plane + i), rows[k], pixel_mask);
      }
    }
  }

  /// Beside each pixel of a row the one that the next tap meets.
  void pair_pixels(Plane* row) const {
    if constexpr (Form::pairs) {
      const int64_t step = taps_.axis[2].offset_step;
      for (int64_t i = 0; i + step < band_.width; ++i) row[i] |= row[i + step] << 16;
    }
  }

  /// Rows of the band begin at result row `first`.
  template <int Results>
  void run_results(const Plane* planes, int64_t first, int64_t pixels, const Finish& finish, T* sums) const {
    if constexpr (Results > 1)
      if (results() < Results) return run_results<Results - 1>(planes, first, pixels, finish, sums);
    constexpr int vectors = pixel_vectors<Results>, fewer = vectors > 1 ? 2 : 1;
    int64_t p = 0;
    const auto run = [&]<int Vectors>() {
      const Range rows = valid_rows(first + p / band_.width, first + (p + Vectors * lanes<T> - 1) / band_.width);
      pixels_of<Results, Vectors>(planes + p, rows, finish, sums + p * Results);
      p += Vectors * lanes<T>;
    };
    while (p + vectors * lanes<T> <= pixels) run.template operator()<vectors>();
    // What is left in one go, if that fills more than one vector: single ones wait for their sums.
    while (pixels - p > lanes<T>) run.template operator()<fewer>();
    if (p < pixels) run.template operator()<1>();
  }

  /// The rows of taps that lie inside the source at any of the result rows first … last.
  Range valid_rows(int64_t first, int64_t last) const {
    const Axis& height = taps_.axis[1];
    const int64_t end = height.count - 1;
    return {height.valid_taps(min_of(last, end)).begin, height.valid_taps(min_of(first, end)).end};
  }

  /// sums (pixel, result) = Σ over planes and taps, but for rows of taps that meet nothing but zeros.
  template <int Results, int Vectors>
  void pixels_of(const Plane* x, Range rows, const Finish& finish, T* to) const {
    const Axis &height = taps_.axis[1], &across = taps_.axis[2];
    const int64_t all = row_taps(), step = across.offset_step * (pixel_pairs_ ? 2 : 1);
    // What is beside the pixel of a lone last tap is not met, and might not be a number.
    const bool alone = pixel_pairs_ && across.taps % 2 != 0;
    Vector<T> sums[Results][Vectors] = {};
    for (int64_t k = 0; k < band_.planes; ++k)
      for (int64_t j1 = rows.begin; j1 < rows.end; ++j1) {
        const Plane* w = packed_ + (k * height.taps + j1) * all * Results;
        const T* row = reinterpret_cast<const T*>(x + k * band_.plane + j1 * height.offset_step * band_.width);
        for (int64_t j2 = 0; j2 < all - (alone ? 1 : 0); ++j2, row += step, w += Results)
          add_tap<Results, Vectors, false>(row, w, sums);
        if (alone) add_tap<Results, Vectors, true>(row, w, sums);
      }
    if constexpr (sizeof(T) == sizeof(float)) {
      if (finish.count > 0) {
        if constexpr (Form::pairs) {
#pragma GCC unroll 8
          for (int r = 0; r < Results; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) sums[r][v] = rounded(sums[r][v]);
        }
        finish_planes(sums, finish);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      if constexpr (Results == 1) {
        store(to + v * lanes<T>, sums[0][v]);
      } else if constexpr (vector_bytes == 64) {
        Vector<T> rows[Results];
#pragma GCC unroll 8
        for (int r = 0; r < Results; ++r) rows[r] = sums[r][v];
        store_interleaved<T, Results, 0>(to + v * lanes<T> * Results, rows);
      } else {
        // Whole vectors overwrite what the next pixel writes again.
        constexpr int parts = (Results + lanes<T> - 1) / lanes<T>;
#pragma GCC unroll 4
        for (int part = 0; part < parts; ++part) {
          Vector<T> rows[lanes<T>] = {};
#pragma GCC unroll 16
          for (int r = 0; r < lanes<T>; ++r)
            if (part * lanes<T> + r < Results) rows[r] = sums[part * lanes<T> + r][v];
          transpose<T>(rows);
          const Mask<T> mask(min_of(Results - part * lanes<T>, lanes<T>));
#pragma GCC unroll 16
          for (int p = 0; p < lanes<T>; ++p) {
            T* at = to + (v * lanes<T> + p) * Results + part * lanes<T>;
            if (parts == 1)
              store(at, rows[p]);
            else
              store(at, rows[p], mask);
          }
        }
      }
    }
  }

  template <int Results, int Vectors, bool Alone>
  PYCNN_INLINE void add_tap(const T* row, const Plane* w, Vector<T> (&sums)[Results][Vectors]) {
    add_part<Results, Vectors, Alone, 0>(row, w, sums);
    if constexpr (Form::parts > 1 && !Alone) add_part<Results, Vectors, Alone, 1>(row, w, sums);
  }
  template <int Results, int Vectors, bool Alone, int Part>
  PYCNN_INLINE void add_part(const T* row, const Plane* w, Vector<T> (&sums)[Results][Vectors]) {
    Vector<T> right[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      Vector<T> plane = load(row + v * lanes<T>);
      if constexpr (Alone) plane = reinterpret_cast<Vector<T>>(reinterpret_cast<BFloatPairs>(plane) & 0xffffu);
      right[v] = Form::template right<Part>(plane);
    }
#pragma GCC unroll 8
    for (int r = 0; r < Results; ++r) {
      const Vector<T> left = Form::template left<Part>(w[r]);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) Form::add(sums[r][v], left, right[v]);
    }
  }

  const Taps taps_;
  const Band<Form> band_;
  const Source* source_;
  const Source* weight_;
  Source* result_;
  Plane* packed_;
  const bool pixel_pairs_;
};

template <typename Form>
const char* declines(const Taps& taps) {
  using T = typename Form::Sum;
  if (taps.result_channels > most_results || 2 * taps.result_channels > lanes<T> + 4)
    return "with so many channels of results, vectors run over them";
  if (taps.rows() == 0 || taps.axis[2].count == 0 || taps.result_channels == 0) return "there are no results";
  const Band<Form> band(taps);
  if (band.bytes() > scratch_bytes) return "a few rows of the source are more than a thread's scratch memory holds";
  const double channels = static_cast<double>(ceil_divide(taps.result_channels, lanes<T>) * lanes<T>);
  if (band.use(taps) < static_cast<double>(taps.result_channels) / channels)
    return "narrow maps leave more lanes empty than few channels do";
  return nullptr;
}

/// Calls function(Form{}) with the form of this dtype.
template <typename Function>
auto with_form(DType dtype, const Function& function) {
  if (dtype == DType::Float64) return function(Plain<double>{});
  if (dtype == DType::Float32) return function(Plain<float>{});
#if defined(__AVX512F__)
  if (bfloat_products() == BFloat16Products::Dot) return function(DotPairs{});
#endif
  return function(WidenedPairs{});
}

Taps taps_of(const ConvolutionArguments& a, bool forward) {
  return forward ? forward_taps(a) : input_gradient_taps(a, {0, 0, 0});
}

const char* declines(const ConvolutionArguments& a, bool forward) {
  if (a.shape.groups != 1) return "there are groups";
  if (a.shape.stride[1] * a.shape.stride[2] * (forward ? 1 : a.shape.stride[0]) != 1)
    return "with stride, pixels of a row are not adjacent";
  return with_form(a.dtype, [&]<typename Form>(Form) { return declines<Form>(taps_of(a, forward)); });
}

void run(const ConvolutionArguments& a, bool forward) {
  with_form(a.dtype, [&]<typename Form>(Form) {
    FewChannels<Form>(taps_of(a, forward), forward ? a.input : a.output, a.weight, forward ? a.output : a.input,
                      a.workspace)
        .run(a.epilogue);
  });
}

size_t workspace(const ConvolutionArguments& a, bool forward) {
  return with_form(a.dtype, [&]<typename Form>(Form) {
    return FewChannels<Form>(taps_of(a, forward), nullptr, nullptr, nullptr, nullptr).packed_bytes();
  });
}

}  // namespace

const char* few_channels_forward_declines(const ConvolutionArguments& a) { return declines(a, true); }
const char* few_channels_input_gradient_declines(const ConvolutionArguments& a) { return declines(a, false); }

size_t few_channels_forward_workspace(const ConvolutionArguments& a) { return workspace(a, true); }
size_t few_channels_input_gradient_workspace(const ConvolutionArguments& a) { return workspace(a, false); }

void few_channels_forward(const ConvolutionArguments& a) { run(a, true); }
void few_channels_input_gradient(const ConvolutionArguments& a) { run(a, false); }

}  // namespace pycnn::cpu::PYCNN_ISA
