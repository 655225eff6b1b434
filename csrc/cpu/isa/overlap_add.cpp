// Convolutions with few channels of results: the taps of a row and the channels of results together fill vectors. Per
// row of results, one product gives what each pixel of the source adds to the results around it, (taps · channels)
// adjacent numbers; these stretches overlap from pixel to pixel and are added up in registers. The forward pass has to
// have stride 1 along a row; the input gradient's stretches begin `stride` results after one another.
#include <cstring>

#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int64_t most_products = 64;
constexpr int64_t chunk_flops = int64_t{1} << 20;
constexpr int64_t enough_chunks = 32;
constexpr int64_t least_source_channels = 8;  // fewer are products too short to be worth their sums
constexpr int64_t most_stretch_bytes = int64_t{1} << 17;

/// The taps of all phases at once: positions of the source are counted as if zeros stood between its elements, `stride`
/// apart; elsewhere there is nothing to read.
struct Spread {
  Taps taps;
  int64_t stride[3];  ///< 1 in the forward pass

  /// Where tap j of result position q meets the source in dimension d, or -1.
  int64_t source(int d, int64_t q, int64_t j) const {
    const Axis& axis = taps.axis[d];
    const int64_t at = q * axis.source_step + axis.offset(j);
    return at >= 0 && at % stride[d] == 0 && at / stride[d] < axis.source_size ? at / stride[d] : -1;
  }
};

Spread spread_of(const ConvolutionArguments& a, bool forward) {
  if (forward) return {forward_taps(a), {1, 1, 1}};
  const kernels::ConvolutionShape& s = a.shape;
  Spread spread{input_gradient_taps(a, {0, 0, 0}), {s.stride[0], s.stride[1], s.stride[2]}};
  for (int d = 0; d < 3; ++d)
    spread.taps.axis[d] = {.result_size = s.input[d],
                           .result_begin = 0,
                           .result_step = 1,
                           .count = s.input[d],
                           .source_size = s.output[d],
                           .source_step = 1,
                           .taps = s.kernel[d],
                           .first_tap = s.kernel[d] - 1,
                           .tap_step = -1,
                           .first_offset = s.padding[d] - (s.kernel[d] - 1) * s.dilation[d],
                           .offset_step = s.dilation[d]};
  return spread;
}

/// S is what memory holds. bfloat16 is multiplied by its own microkernel; its sums are float32.
template <typename S>
struct Layout {
  using T = Compute<S>;
  static constexpr bool narrow = __is_same(S, BFloat16);

  int64_t stretch;      ///< what a pixel of the source adds to: taps of a row × channels of results
  int64_t width;        ///< of the packed weight's rows
  int64_t pitch;        ///< from stretch to stretch in memory, with zeros between
  int64_t shift;        ///< from a pixel's stretch to the next one's in a row of results
  int64_t start;        ///< where the stretch of pixel `first` begins in a row of results
  int64_t first, last;  ///< pixels [first, last) of a source row that meet results
  int64_t row;          ///< elements of a row of results
  int64_t depth;        ///< source channels
  int64_t packed_depth;

  explicit Layout(const Spread& spread) {
    const Taps& taps = spread.taps;
    const Axis& across = taps.axis[2];
    const int64_t stride = spread.stride[2];
    stretch = across.taps * taps.result_channels;
    width = narrow ? bfloat_panel_width(stretch) : ceil_divide(stretch, lanes<T>) * lanes<T>;
    pitch = width + lanes<T>;
    shift = stride * taps.result_channels;
    first = min_of(max_of(ceil_divide(across.first_offset, stride), 0), across.source_size);
    const int64_t end = across.first_offset + across.taps - 1 + across.count;
    last = max_of(first, min_of(across.source_size, ceil_divide(end, stride)));
    start = (first * stride - across.first_offset - across.taps + 1) * taps.result_channels;
    row = across.count * taps.result_channels;
    depth = taps.source_channels;
    packed_depth = narrow ? bfloat_panel_depth(depth) : depth;
  }
  int64_t packed_elements(const Taps& taps) const {
    return ceil_divide(taps.tap_count(), max_of(taps.axis[2].taps, 1)) * packed_depth * width;
  }
  int64_t vectors() const { return ceil_divide(row, lanes<T>); }
  /// With a row of sums that are to be rounded.
  size_t scratch() const {
    return static_cast<size_t>((last - first + 1) * pitch + (narrow ? row + lanes<T> : 0)) * sizeof(T);
  }
};

/// The stretches that meet a vector of a row of results.
struct Meeting {
  int64_t offset;  ///< from the first one's start to where it meets the vector's first lane
  int64_t pixel, count;
};

template <typename S>
class OverlapAdd {
  using T = Compute<S>;
  static constexpr bool narrow = Layout<S>::narrow;

 public:
  OverlapAdd(const Spread& spread, const S* source, const S* weight, S* result, void* workspace)
      : spread_(spread), source_(source), weight_(weight), result_(result), packed_(static_cast<S*>(workspace)) {
    meetings_ = reinterpret_cast<Meeting*>(static_cast<char*>(workspace) + packed_bytes(spread));
  }

  static size_t packed_bytes(const Spread& spread) {
    return aligned_bytes(Layout<S>(spread).packed_elements(spread.taps), sizeof(S));
  }
  static size_t workspace(const Spread& spread) {
    return packed_bytes(spread) + aligned_bytes(Layout<S>(spread).vectors(), sizeof(Meeting));
  }

  void run(const kernels::PointwiseArguments* arguments) const {
    pack();
    meet();
    const int64_t rows = taps_.rows(), pixels = taps_.axis[2].count;
    const int64_t flops = 2 * taps_.tap_count() * layout_.depth * layout_.row;
    const int64_t per_chunk = max_of(1, min_of(ceil_divide(chunk_flops, max_of(flops, 1)), rows / enough_chunks));
    const Epilogue epilogue(arguments, taps_.result_channels, taps_.result_channels);
    parallel_for(ceil_divide(rows, per_chunk), [&](int64_t chunk) {
      const int64_t begin = chunk * per_chunk, end = min_of(rows, begin + per_chunk);
      T* stretches = static_cast<T*>(thread_scratch()) + layout_.pitch;
      for (int64_t pixel = 0; pixel <= layout_.last - layout_.first; ++pixel)
        for (int64_t i = layout_.stretch - layout_.pitch; i < 0; ++i) stretches[pixel * layout_.pitch + i] = 0;
      BFloatGemm gemm;
      T* const sums = stretches + (layout_.last - layout_.first) * layout_.pitch;
      for (int64_t row = begin; row < end; ++row) {
        multiply(gemm, row, stretches);
        S* const to = result_ + row * layout_.row;
        if constexpr (narrow) {
          add_up(stretches, sums);
          round_to_bfloat(sums, 0, 1, layout_.row, to, 0);
        } else {
          add_up(stretches, to);
        }
      }
      gemm.release();
      EpilogueColumns(epilogue, 0, taps_.result_channels).run(begin * pixels, end * pixels);
    });
  }

 private:
  /// (tap of depth and height, source channel, tap of a row from the last to the first, result channel); bfloat16 has
  /// pairs of source channels innermost.
  void pack() const {
    const int64_t across = taps_.axis[2].taps, results = taps_.result_channels;
    const int64_t product = layout_.packed_depth * layout_.width;
    S* to = packed_;
    for (int64_t j0 = 0; j0 < taps_.axis[0].taps; ++j0)
      for (int64_t j1 = 0; j1 < taps_.axis[1].taps; ++j1, to += product) {
        std::memset(to, 0, static_cast<size_t>(product) * sizeof(S));
        for (int64_t c = 0; c < layout_.depth; ++c) {
          S* const row = to + (narrow ? c / 2 * 2 * layout_.width + c % 2 : c * layout_.width);
          for (int64_t j2 = 0; j2 < across; ++j2)
            for (int64_t r = 0; r < results; ++r)
              row[((across - 1 - j2) * results + r) * (narrow ? 2 : 1)] =
                  weight_[taps_.kernel_index(j0, j1, j2) * taps_.weight_tap + c * taps_.weight_source +
                          r * taps_.weight_result];
        }
      }
  }

  void meet() const {
    for (int64_t v = 0; v < layout_.vectors(); ++v) {
      const int64_t at = v * lanes<T> - layout_.start;
      const int64_t begin = max_of(0, ceil_divide(at - layout_.stretch + 1, layout_.shift));
      const int64_t end = min_of(layout_.last - layout_.first, ceil_divide(at + lanes<T>, layout_.shift));
      meetings_[v] = {at - begin * layout_.shift, begin, max_of(0, end - begin)};
    }
  }

  void multiply(BFloatGemm& gemm, int64_t row, T* stretches) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &across = taps_.axis[2];
    const int64_t q1 = row % height.count, q0 = row / height.count % depth.count, n = row / height.count / depth.count;
    const auto add = [&](auto& g, auto* products, const auto& run) __attribute__((always_inline)) {
      g.products = products;
      g.m = layout_.last - layout_.first, g.n = layout_.stretch, g.k = layout_.depth, g.a_row = layout_.depth;
      g.c = stretches, g.c_row = layout_.pitch;
      for (int64_t j0 = 0; j0 < depth.taps; ++j0) {
        const int64_t s0 = spread_.source(0, q0, j0);
        for (int64_t j1 = 0; s0 >= 0 && j1 < height.taps; ++j1) {
          const int64_t s1 = spread_.source(1, q1, j1);
          if (s1 < 0) continue;
          if (g.count == most_products) {
            run();
            g.count = 0;
            g.accumulate = true;
          }
          const int64_t pixel = ((n * depth.source_size + s0) * height.source_size + s1) * across.source_size;
          products[g.count++] = {source_ + (pixel + layout_.first) * layout_.depth,
                                 packed_ + (j0 * height.taps + j1) * layout_.packed_depth * layout_.width};
        }
      }
      run();
    };
    if constexpr (narrow) {
      BFloatProduct products[most_products];
      BFloatBatchReduce g{};
      g.width = layout_.width;
      add(g, products, [&] { gemm.run(g); });
    } else {
      Product<T> products[most_products];
      BatchReduce<T> g{};
      g.a_column = 1, g.b_row = layout_.width;
      add(g, products, [&] { brgemm(g); });
    }
  }

  void add_up(const T* stretches, T* to) const {
    const int64_t step = layout_.pitch - layout_.shift, vectors = layout_.vectors();
    for (int64_t v = 0; v < vectors; ++v, to += lanes<T>) {
      const Meeting& meeting = meetings_[v];
      const T* from = stretches + meeting.pixel * layout_.pitch + meeting.offset;
      Vector<T> sum{};
      for (int64_t i = 0; i < meeting.count; ++i, from += step) sum += load(from);
      const int64_t left = layout_.row - v * lanes<T>;
      if (left >= lanes<T>)
        store(to, sum);
      else
        store(to, sum, Mask<T>(static_cast<int>(left)));
    }
  }

  const Spread spread_;
  const Taps& taps_ = spread_.taps;
  const Layout<S> layout_{spread_};
  const S* source_;
  const S* weight_;
  S* result_;
  S* packed_;
  Meeting* meetings_;
};

template <typename S>
const char* declines(const Spread& spread, bool forced) {
  using T = Compute<S>;
  const Taps& taps = spread.taps;
  const Layout<S> layout(spread);
  if (taps.rows() * layout.row == 0 || layout.stretch == 0) return "there are no results";
  if (layout.scratch() > scratch_bytes) return "a row of sums is more than a thread's scratch memory holds";
  if (layout.stretch > layout.width) return "the taps of a row are more than a panel of bfloat16 holds";
  if (forced) return nullptr;
  if (Layout<S>::narrow && !bfloat_is_fast()) return "bfloat16 is widened";
  if (2 * taps.result_channels > lanes<T>) return "with so many channels of results, vectors run over them";
  // Without these stretches, the channels of results alone would fill vectors. In bfloat16 with stride 1 there are
  // algorithms that do better (few_channels).
  const bool full = 4 * layout.stretch >= 3 * layout.width;
  const bool fuller = (!Layout<S>::narrow || spread.stride[2] > 1) && 2 * layout.stretch >= layout.width &&
                      layout.stretch * lanes<T> >= 2 * layout.width * taps.result_channels;
  if (!full && !fuller) return "the taps of a row leave vectors too empty";
  if (layout.stretch <= layout.shift) return "the stretches do not overlap";
  if (taps.source_channels < least_source_channels) return "so few channels of the source make short products";
  if (layout.scratch() > static_cast<size_t>(most_stretch_bytes)) return "a row of sums does not stay near";
  return nullptr;
}

template <typename S>
void run(const ConvolutionArguments& a, bool forward) {
  OverlapAdd<S>(spread_of(a, forward), static_cast<const S*>(forward ? a.input : a.output),
                static_cast<const S*>(a.weight), static_cast<S*>(forward ? a.output : a.input), a.workspace)
      .run(a.epilogue);
}

/// Calls function(S{}) with the elements of memory.
template <typename Function>
auto with_elements(DType dtype, const Function& function) {
  if (dtype == DType::BFloat16) return function(BFloat16{});
  return dtype == DType::Float32 ? function(float{}) : function(double{});
}

}  // namespace

template <bool Forward>
const char* overlap_add_declines(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  if (s.groups != 1) return "there are groups";
  if (Forward && s.stride[2] != 1) return "with stride, pixels of a row are not adjacent";
  if (s.dilation[2] != 1) return "with dilation, taps of a row are not adjacent";
  const Spread spread = spread_of(a, Forward);
  return with_elements(a.dtype, [&]<typename S>(S) { return declines<S>(spread, a.forced); });
}

template <bool Forward>
size_t overlap_add_workspace(const ConvolutionArguments& a) {
  const Spread spread = spread_of(a, Forward);
  return with_elements(a.dtype, [&]<typename S>(S) { return OverlapAdd<S>::workspace(spread); });
}

template <bool Forward>
void overlap_add(const ConvolutionArguments& a) {
  with_elements(a.dtype, [&]<typename S>(S) { run<S>(a, Forward); });
}

#define PYCNN_OVERLAP_ADD(forward)                                                 \
  template const char* overlap_add_declines<forward>(const ConvolutionArguments&); \
  template size_t overlap_add_workspace<forward>(const ConvolutionArguments&);     \
  template void overlap_add<forward>(const ConvolutionArguments&);
PYCNN_OVERLAP_ADD(true)
PYCNN_OVERLAP_ADD(false)
#undef PYCNN_OVERLAP_ADD

}  // namespace pycnn::cpu::PYCNN_ISA
