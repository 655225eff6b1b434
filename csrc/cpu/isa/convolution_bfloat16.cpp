// bfloat16 forward pass and input gradient: as in convolution.cpp, with a panel of pairs per tap, or per row of taps
// where none of them ever leaves the source. Source rows are copied with their borders, a few at a time, so that one
// product takes all taps; where they are too long for that, taps at the borders are products of their own, whose
// float32 sums wait in scratch memory and are rounded once.
#include <cstring>

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/tap_panels.h"
#include "cpu/isa/widened.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int64_t max_products = 64;
constexpr int64_t segment_pixels = 256;         // of a row: their sums stay in L1
constexpr int64_t gathered_channels = 2 * 512;  // floats per tap of a 3x3 kernel that are gathered at once
constexpr int64_t merged_channels = 12;
constexpr int64_t few_group_channels = 16;
constexpr int64_t copied_row_bytes = 20 * 1024;    // of a source row with its borders
constexpr int64_t copied_rows_bytes = 128 * 1024;  // they stay in L2

bool leaves_source(const Taps& taps) {
  for (const Axis& axis : taps.axis) {
    const Range extent = source_extent(axis);
    if (extent.begin < 0 || extent.end > axis.source_size) return true;
  }
  return false;
}

/// Whether no element, of whole vectors of pairs, is infinite or no number.
bool all_finite(const BFloat16* elements, int64_t count) {
  BFloatPairs found{};
  for (int64_t i = 0; i < count; i += 2 * lanes<float>) {
    const BFloatPairs pairs = reinterpret_cast<BFloatPairs>(load(reinterpret_cast<const float*>(elements + i)));
    found |= reinterpret_cast<BFloatPairs>((pairs & 0x7f80u) == 0x7f80u);
    found |= reinterpret_cast<BFloatPairs>((pairs & 0x7f800000u) == 0x7f800000u);
  }
  uint32_t any = 0;
  for (int i = 0; i < lanes<float>; ++i) any |= found[i];
  return any == 0;
}

class BFloatTapGemm {
  static constexpr int64_t most_copied_rows = 16;

 public:
  BFloatTapGemm(const Taps& taps, const BFloat16* source, const BFloat16* weight, BFloat16* result,
                const BFloat16* packed)
      : taps_(taps), source_(source), weight_(weight), result_(result), packed_(packed) {
    const Axis& row = taps.axis[2];
    const bool adjacent = taps.groups == 1 && row.offset_step == 1;
    rows_may_be_whole_ = adjacent && row.taps > 1 && taps.source_channels <= merged_channels;
    whole_rows_ = rows_may_be_whole_ && !leaves_source(taps);
    depth_ = bfloat_panel_depth(whole_rows_ ? row.taps * taps.source_group() : taps.source_group());
    const int64_t lines = (taps.axis[1].taps - 1) * taps.axis[1].offset_step + 1;
    const int64_t row_bytes = (extent_.end - extent_.begin) * taps.source_channels * 2;
    if (adjacent && row.taps > 1 && taps.axis[0].taps == 1 && (extent_.begin < 0 || extent_.end > row.source_size) &&
        lines <= most_copied_rows && row_bytes <= copied_row_bytes && lines * row_bytes <= copied_rows_bytes)
      copied_rows_ = lines;
    // Taps that are adjacent in panels too may share a product.
    merge_ = whole_rows_ || (adjacent && depth_ == taps.source_group());
    const int64_t products = whole_rows_ ? taps.axis[0].taps * taps.axis[1].taps : taps.tap_count();
    panel_elements_ = products * depth_ * width_;
    panels_.panel_bytes = panel_elements_ * static_cast<int64_t>(sizeof(BFloat16));
  }
  BFloatTapGemm(const BFloatTapGemm&) = delete;

  int64_t packed_elements() const { return panels_.all() * panel_elements_; }
  /// Whether the form of the packed weight follows from the weight: not from what lies within the source.
  bool packs_for_all_sources() const { return whole_rows_ == rows_may_be_whole_; }
  /// Writes the panels that run() reads.
  void pack(BFloat16* to) const { whole_rows_ ? pack_rows_of_taps(to) : pack_taps(to); }

  /// `arguments` is the epilogue or null; it asks for dense results.
  void run(const kernels::PointwiseArguments* arguments) const {
    const int64_t pixels = taps_.axis[2].count;
    if (taps_.rows() * pixels * taps_.result_channels == 0) return;
    const bool copies = copied_rows_ > 0 && borders_are_harmless();
    const RowEpilogue epilogue(arguments, result_);
    panels_.run(epilogue.rest(arguments), [&](int64_t first, int64_t stop, int64_t panel_begin, int64_t panel_end) {
      BFloatGemm gemm;
      CopiedRows copied(copies);
      for (int64_t panel = panel_begin; panel < panel_end; ++panel)
        for (int64_t row = first; row < stop; ++row) {
          const int64_t channel = panels_.channel_begin(panel), channel_end = panels_.channel_end(panel);
          epilogue.prefetch(row * pixels, (row + 1) * pixels, channel, channel_end);
          for (int64_t begin = 0; begin < pixels; begin += segment_pixels)
            run_segment(gemm, copied, row, {begin, min_of(begin + segment_pixels, pixels)}, panel);
          epilogue.run(row * pixels, (row + 1) * pixels, channel, channel_end);
        }
      gemm.release();
    });
  }

 private:
  int64_t columns_of(int64_t panel) const { return panels_.channel_end(panel) - panels_.channel_begin(panel); }
  const BFloat16* weight_of(int64_t panel) const {
    return weight_ + panel / panels_.count * taps_.weight_group + panel % panels_.count * width_ * taps_.weight_result;
  }

  /// Few channels: k runs over the taps of a row and their channels.
  void pack_rows_of_taps(BFloat16* packed) const {
    const Axis& row = taps_.axis[2];
    const int64_t in = taps_.source_group();
    parallel_for(panels_.all(), [&](int64_t panel) {
      const BFloat16* weight = weight_of(panel);
      const int64_t columns = columns_of(panel);
      BFloat16* to = packed + panel * panel_elements_;
      for (int64_t i = 0; i < panel_elements_; ++i) to[i] = BFloat16{};
      panels_.for_each_tap([&](int64_t tap, int64_t kernel) {
        BFloat16* product = to + tap / row.taps * depth_ * width_;
        for (int64_t c = 0; c < in; ++c) {
          const int64_t at = tap % row.taps * in + c;
          const BFloat16* from = weight + kernel * taps_.weight_tap + c * taps_.weight_source;
          BFloat16* pairs = product + at / 2 * 2 * width_ + at % 2;
          for (int64_t j = 0; j < columns; ++j) pairs[2 * j] = from[j * taps_.weight_result];
        }
      });
    });
  }

  void pack_taps(BFloat16* packed) const {
    const int64_t in = taps_.source_group();
    const int64_t count = taps_.kernel[0] * taps_.kernel[1] * taps_.kernel[2];
    // Channels whose taps fit into L1 are gathered at once and dealt out to the taps; a lone tap needs no dealing.
    constexpr int64_t elements = 9 * gathered_channels;
    const int64_t at_once = count == 1 ? 0 : min_of(in + in % 2, elements / (count * width_) / 2 * 2);
    if (at_once == 0) {
      parallel_for(panels_.all(), [&](int64_t panel) {
        const BFloat16* weight = weight_of(panel);
        panels_.for_each_tap([&](int64_t tap, int64_t kernel) {
          pack_bfloat_panel(weight + kernel * taps_.weight_tap, taps_.weight_source, taps_.weight_result, in,
                            columns_of(panel), width_, packed + panel * panel_elements_ + tap * depth_ * width_);
        });
      });
      return;
    }
    const int64_t parts = ceil_divide(in, at_once);
    parallel_for(panels_.all() * parts, [&](int64_t chunk) {
      const int64_t panel = chunk / parts, c = chunk % parts * at_once, n = min_of(at_once, in - c);
      alignas(64) float gathered[elements];
      gather_weight(taps_, weight_ + panel / panels_.count * taps_.weight_group, c, n, panel % panels_.count * width_,
                    columns_of(panel), width_, gathered);
      alignas(64) float zeros[column_tile<float> > 32 ? column_tile<float> : 32] = {};
      const int64_t end = chunk % parts == parts - 1 ? depth_ - c : n;
      panels_.for_each_tap([&](int64_t tap, int64_t kernel) {
        BFloat16* to = packed + panel * panel_elements_ + (tap * depth_ + c) * width_;
        for (int64_t i = 0; i < end; i += 2, to += 2 * width_) {
          const float* even = i < n ? gathered + (i * count + kernel) * width_ : zeros;
          const float* odd = i + 1 < n ? gathered + ((i + 1) * count + kernel) * width_ : zeros;
          interleave_bfloat_rows(even, odd, width_, to);
        }
      });
    });
  }

  /// Which source rows lie with their borders in scratch memory, behind the sums: row s in place s mod copied_rows_.
  struct CopiedRows {
    bool used;  ///< else rows are read where they are
    int64_t held[most_copied_rows];
    explicit CopiedRows(bool use) : used(use) {
      for (int64_t& row : held) row = -1;
    }
  };

  /// Whether the weight times the zeros of borders is zero everywhere.
  bool borders_are_harmless() const {
    bool harmful = false;
    parallel_for(panels_.all(), [&](int64_t panel) {
      if (!all_finite(packed_ + panel * panel_elements_, panel_elements_))
        __atomic_store_n(&harmful, true, __ATOMIC_RELAXED);
    });
    return !harmful;
  }

  /// The copy of source row s1 of image n, which is made if it is not there.
  const BFloat16* copied_row(CopiedRows& copied, int64_t n, int64_t s0, int64_t s1) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t channels = taps_.source_channels, place = s1 % copied_rows_;
    const int64_t row = (n * depth.source_size + s0) * height.source_size + s1;
    BFloat16* const to = reinterpret_cast<BFloat16*>(static_cast<float*>(thread_scratch()) + segment_pixels * width_) +
                         place * (extent_.end - extent_.begin) * channels;
    if (copied.held[place] == row) return to;
    copied.held[place] = row;
    const int64_t begin = max_of(extent_.begin, 0), end = max_of(begin, min_of(extent_.end, width.source_size));
    const int64_t before = (begin - extent_.begin) * channels, count = (end - begin) * channels;
    std::memset(to, 0, static_cast<size_t>(before) * sizeof(BFloat16));
    std::memcpy(to + before, source_ + (row * width.source_size + begin) * channels,
                static_cast<size_t>(count) * sizeof(BFloat16));
    std::memset(to + before + count, 0, static_cast<size_t>((extent_.end - end) * channels) * sizeof(BFloat16));
    return to;
  }

  /// Pixels [segment.begin, segment.end) of a row of results.
  void run_segment(BFloatGemm& gemm, CopiedRows& copied, int64_t row, Range segment, int64_t all_panel) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t q1 = row % height.count, q0 = row / height.count % depth.count, n = row / height.count / depth.count;
    Call call{.n = n,
              .q0 = q0,
              .q1 = q1,
              .group = all_panel / panels_.count,
              .columns = columns_of(all_panel),
              .taps0 = depth.valid_taps(q0),
              .taps1 = height.valid_taps(q1),
              .taps2 = {0, 0},
              .panel = packed_ + all_panel * panel_elements_,
              .segment = segment,
              .sums = static_cast<float*>(thread_scratch())};
    const int64_t result_row = width.result_step * taps_.result_channels;
    BFloat16* result = result_ + taps_.result_pixel(n, q0, q1) * taps_.result_channels + segment.begin * result_row +
                       panels_.channel_begin(all_panel);

    // The first call may overwrite if it covers the whole segment; else the sums start as zeros. A call that is the
    // only one rounds.
    Range full{0, 0};
    bool alone = true;
    if (copied.used && call.taps0.begin < call.taps0.end && call.taps1.begin < call.taps1.end) {
      call.taps2 = {0, width.taps};
      return run_taps(gemm, copied, call, segment, false, result, result_row);
    }
    if (call.taps0.begin < call.taps0.end && call.taps1.begin < call.taps1.end)
      for (int64_t j = 0; j < width.taps; j = run_end(j, segment)) {
        const Range valid = valid_results(j, segment);
        if (valid.begin == valid.end) continue;
        if (full.begin == full.end && valid.begin == segment.begin && valid.end == segment.end)
          full = {j, run_end(j, segment)};
        else
          alone = false;
      }
    if (full.begin < full.end) {
      call.taps2 = full;
      run_taps(gemm, copied, call, valid_results(full.begin, segment), false, alone ? result : nullptr, result_row);
      if (alone) return;
    } else {
      const int64_t elements = (segment.end - segment.begin) * width_;
      for (int64_t i = 0; i < elements; ++i) call.sums[i] = 0;
    }
    for (int64_t j = 0; j < width.taps; j = call.taps2.end) {
      call.taps2 = {j, run_end(j, segment)};
      if (j != full.begin || full.end == full.begin)
        run_taps(gemm, copied, call, valid_results(j, segment), true, nullptr, 0);
    }
    round_to_bfloat(call.sums, width_, segment.end - segment.begin, call.columns, result, result_row);
  }

  /// The results of a segment for which tap j lies inside the source; an empty range begins at its beginning.
  Range valid_results(int64_t j, Range segment) const {
    const Range valid = taps_.axis[2].valid_results(j);
    const int64_t begin = max_of(valid.begin, segment.begin), end = min_of(valid.end, segment.end);
    return begin < end ? Range{begin, end} : Range{segment.begin, segment.begin};
  }

  /// End of the run of taps that are valid at the same columns as tap j.
  int64_t run_end(int64_t j, Range segment) const {
    const Range valid = valid_results(j, segment);
    int64_t end = j + 1;
    for (; end < taps_.axis[2].taps; ++end) {
      const Range next = valid_results(end, segment);
      if (next.begin != valid.begin || next.end != valid.end) break;
    }
    return end;
  }

  struct Call {
    int64_t n, q0, q1, group, columns;
    Range taps0, taps1, taps2;
    const BFloat16* panel;
    Range segment;
    float* sums;  ///< of the segment
  };

  /// `valid` are the results that these taps meet.
  void run_taps(BFloatGemm& gemm, CopiedRows& copied, const Call& call, Range valid, bool accumulate, BFloat16* rounded,
                int64_t rounded_row) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    if (valid.begin == valid.end) return;
    const int64_t in = taps_.source_group(), channels = taps_.source_channels;
    const int64_t adjacent = call.taps2.end - call.taps2.begin;
    // What a long product reads must be those panels, without the zeros that its depth might ask for.
    const bool exact = whole_rows_ || bfloat_panel_depth(adjacent * in) == adjacent * in;
    const int64_t merged = merge_ && exact ? adjacent : 1;
    BFloatProduct products[max_products];
    BFloatBatchReduce g{.products = products,
                        .count = 0,
                        .m = valid.end - valid.begin,
                        .n = call.columns,
                        .k = merged * in,
                        .a_row = width.source_step * channels,
                        .width = width_,
                        .c = call.sums + (valid.begin - call.segment.begin) * width_,
                        .c_row = width_,
                        .accumulate = accumulate,
                        .rounded = nullptr,
                        .rounded_row = rounded_row};
    for (int64_t j0 = call.taps0.begin; j0 < call.taps0.end; ++j0)
      for (int64_t j1 = call.taps1.begin; j1 < call.taps1.end; ++j1) {
        const int64_t s0 = call.q0 * depth.source_step + depth.offset(j0);
        const int64_t s1 = call.q1 * height.source_step + height.offset(j1);
        const BFloat16* const line = copied.used
                                         ? copied_row(copied, call.n, s0, s1) - extent_.begin * channels
                                         : source_ + ((call.n * depth.source_size + s0) * height.source_size + s1) *
                                                         width.source_size * channels;
        for (int64_t j2 = call.taps2.begin; j2 < call.taps2.end; j2 += merged) {
          if (g.count == max_products) {
            gemm.run(g);
            g.count = 0;
            g.accumulate = true;
          }
          const int64_t s2 = valid.begin * width.source_step + width.offset(j2);
          const int64_t row = j0 * height.taps + j1, product = whole_rows_ ? row : row * width.taps + j2;
          products[g.count++] = {line + s2 * channels + call.group * in, call.panel + product * depth_ * width_};
        }
      }
    g.rounded = rounded;
    gemm.run(g);
  }

  const Taps& taps_;
  const BFloat16* source_;
  const BFloat16* weight_;
  BFloat16* result_;
  const BFloat16* packed_;
  bool rows_may_be_whole_, whole_rows_, merge_;
  Range extent_ = source_extent(taps_.axis[2]);
  int64_t copied_rows_ = 0;  ///< places for copies of source rows
  int64_t depth_, panel_elements_;
  int64_t width_ = bfloat_panel_width(taps_.result_group());
  TapPanels panels_{taps_, width_, ceil_divide(taps_.result_group(), width_), 0};
};

/// Calls function(taps) for the one pass of the forward convolution, or for every phase of the input gradient.
template <bool Forward, typename Function>
void for_each_pass(const ConvolutionArguments& a, const Function& function) {
  if constexpr (Forward)
    function(forward_taps(a));
  else
    for_each_phase(a, function);
}

/// Of the copy with borders.
Taps inside(const Taps& taps) {
  Taps padded = taps;
  for (Axis& axis : padded.axis) {
    const Range extent = source_extent(axis);
    axis.source_size = extent.end - extent.begin;
    axis.first_offset = 0;
  }
  return padded;
}

/// Of the pass whose packed weight is largest.
template <bool Forward, bool Padded>
size_t packed_pass_bytes(const ConvolutionArguments& a) {
  size_t bytes = 0;
  for_each_pass<Forward>(a, [&](const Taps& pass) {
    const Taps taps = Padded ? inside(pass) : pass;
    const size_t needed =
        aligned_bytes(BFloatTapGemm(taps, nullptr, nullptr, nullptr, nullptr).packed_elements(), sizeof(BFloat16));
    if (needed > bytes) bytes = needed;
  });
  return bytes;
}

}  // namespace

template <bool Forward, bool Padded>
const char* bfloat16_declines(const ConvolutionArguments& a) {
  if (a.dtype != DType::BFloat16) return "the operands are not bfloat16";
  if (!a.forced && !bfloat_is_fast()) return "this processor multiplies float32 faster";
  if (!a.forced && a.shape.groups > 1 && a.shape.in_channels / a.shape.groups < few_group_channels)
    return "groups of few channels leave most of a tile empty";
  if constexpr (Padded) {
    if (!Forward && volume(a.shape.stride) != 1) return "with stride, each phase has borders of its own";
    return padding_declines(Forward ? forward_taps(a) : input_gradient_taps(a, {0, 0, 0}));
  }
  return nullptr;
}

template <bool Forward, bool Padded>
size_t bfloat16_workspace(const ConvolutionArguments& a) {
  size_t bytes = packed_pass_bytes<Forward, Padded>(a);
  if constexpr (Padded)
    bytes +=
        aligned_bytes(padded_elements(Forward ? forward_taps(a) : input_gradient_taps(a, {0, 0, 0})), sizeof(BFloat16));
  return bytes;
}

/// One pass behind the other; 0 if another input would ask for another form.
template <bool Forward, bool Padded>
size_t bfloat16_packed_bytes(const ConvolutionArguments& a) {
  int64_t elements = 0;
  bool for_all_sources = true;
  for_each_pass<Forward>(a, [&](const Taps& pass) {
    const Taps taps = Padded ? inside(pass) : pass;
    const BFloatTapGemm gemm(taps, nullptr, nullptr, nullptr, nullptr);
    for_all_sources &= gemm.packs_for_all_sources();
    elements += gemm.packed_elements();
  });
  return for_all_sources ? aligned_bytes(elements, sizeof(BFloat16)) : 0;
}

template <bool Forward, bool Padded>
void bfloat16_pack(const ConvolutionArguments& a, void* to) {
  BFloat16* packed = static_cast<BFloat16*>(to);
  for_each_pass<Forward>(a, [&](const Taps& pass) {
    const Taps taps = Padded ? inside(pass) : pass;
    const BFloatTapGemm gemm(taps, nullptr, static_cast<const BFloat16*>(a.weight), nullptr, nullptr);
    gemm.pack(packed);
    packed += gemm.packed_elements();
  });
}

template <bool Forward, bool Padded>
void bfloat16_convolution(const ConvolutionArguments& a) {
  BFloat16* const workspace = static_cast<BFloat16*>(a.workspace);
  const BFloat16* packed = static_cast<const BFloat16*>(a.packed);
  bool dense = true;
  for_each_pass<Forward>(a, [&](const Taps& pass) {
    const BFloat16* source = static_cast<const BFloat16*>(Forward ? a.input : a.output);
    Taps taps = pass;
    if constexpr (Padded) {
      BFloat16* copy = workspace + packed_pass_bytes<Forward, Padded>(a) / sizeof(BFloat16);
      taps = pad_source(pass, source, copy);
      source = copy;
    }
    dense = taps.dense_results();
    const BFloatTapGemm gemm(taps, source, static_cast<const BFloat16*>(a.weight),
                             static_cast<BFloat16*>(Forward ? a.output : a.input), packed ? packed : workspace);
    if (packed)
      packed += gemm.packed_elements();
    else
      gemm.pack(workspace);
    gemm.run(dense ? a.epilogue : nullptr);
  });
  // With stride, the pixels of a row come from several passes.
  if (a.epilogue && !dense) pointwise(*a.epilogue);
}

#define PYCNN_BFLOAT16(forward, padded)                                                   \
  template const char* bfloat16_declines<forward, padded>(const ConvolutionArguments& a); \
  template size_t bfloat16_workspace<forward, padded>(const ConvolutionArguments& a);     \
  template size_t bfloat16_packed_bytes<forward, padded>(const ConvolutionArguments& a);  \
  template void bfloat16_pack<forward, padded>(const ConvolutionArguments& a, void* to);  \
  template void bfloat16_convolution<forward, padded>(const ConvolutionArguments& a);
PYCNN_BFLOAT16(true, true)
PYCNN_BFLOAT16(true, false)
PYCNN_BFLOAT16(false, true)
PYCNN_BFLOAT16(false, false)
#undef PYCNN_BFLOAT16

// -- widened ---------------------------------------------------------------------------------------------------------

namespace {

template <bool Forward>
struct Widened {
  explicit Widened(const ConvolutionArguments& a)
      : sources(Forward ? input_elements(a.shape) : output_elements(a.shape)),
        taps(volume(a.shape.kernel)),
        channels(Forward ? a.shape.out_channels : a.shape.in_channels),
        pixels(a.shape.batch * volume(Forward ? a.shape.output : a.shape.input)),
        source_bytes(aligned_bytes(sources, sizeof(float))),
        weight_bytes(aligned_bytes(weight_elements(a.shape), sizeof(float))),
        result_bytes(aligned_bytes(pixels * channels, sizeof(float))),
        convolution(a) {
    convolution.dtype = DType::Float32;
    convolution.epilogue = nullptr;
    convolution.forced = false;
    convolution.weight_strides[2] = 1;
    convolution.weight_strides[1] = taps;
    convolution.weight_strides[0] = taps * (a.shape.in_channels / a.shape.groups);
    algorithm = Forward ? convolution_forward : convolution_input_gradient;
    while (algorithm->declines(convolution)) ++algorithm;
  }
  int64_t sources, taps, channels, pixels;
  size_t source_bytes, weight_bytes, result_bytes;
  ConvolutionArguments convolution;
  const kernels::ConvolutionAlgorithm* algorithm;
};

/// To (out, in, tap), dense.
void widen_weight(const ConvolutionArguments& a, int64_t taps, float* to) {
  const int64_t in = a.shape.in_channels / a.shape.groups, *strides = a.weight_strides;
  const bool dense = strides[2] == 1 && strides[1] == taps;
  const int64_t line = dense ? in * taps : taps;
  parallel_for(a.shape.out_channels, [&](int64_t out) {
    const BFloat16* from = static_cast<const BFloat16*>(a.weight) + out * strides[0];
    for (int64_t i = 0; i < in * taps; i += line, from += strides[1])
      widen_elements(from, strides[2], line, to + out * in * taps + i);
  });
}

}  // namespace

const char* widened_convolution_declines(const ConvolutionArguments& a) {
  return a.dtype == DType::BFloat16 ? nullptr : "the operands are not bfloat16";
}

template <bool Forward>
size_t widened_convolution_workspace(const ConvolutionArguments& a) {
  const Widened<Forward> w(a);
  return w.source_bytes + w.weight_bytes + w.result_bytes + w.algorithm->workspace(w.convolution);
}

template <bool Forward>
void widened_convolution(const ConvolutionArguments& a) {
  Widened<Forward> w(a);
  if (w.pixels * w.channels == 0) return;
  char* const workspace = static_cast<char*>(a.workspace);
  float* const source = reinterpret_cast<float*>(workspace);
  float* const weight = reinterpret_cast<float*>(workspace + w.source_bytes);
  float* const result = reinterpret_cast<float*>(workspace + w.source_bytes + w.weight_bytes);
  widen(Forward ? a.input : a.output, w.sources, source);
  widen_weight(a, w.taps, weight);
  const int64_t sizes[] = {w.pixels, w.channels}, strides[] = {w.channels, 1};
  const RoundingProgram rounding(result, static_cast<BFloat16*>(Forward ? a.output : a.input), 2, sizes, strides);
  w.convolution.input = Forward ? source : result;
  w.convolution.output = Forward ? result : source;
  w.convolution.weight = weight;
  w.convolution.epilogue = &rounding.arguments;
  w.convolution.workspace = workspace + w.source_bytes + w.weight_bytes + w.result_bytes;
  w.algorithm->run(w.convolution);
  if (a.epilogue) pointwise(*a.epilogue);
}

template size_t widened_convolution_workspace<true>(const ConvolutionArguments& a);
template size_t widened_convolution_workspace<false>(const ConvolutionArguments& a);
template void widened_convolution<true>(const ConvolutionArguments& a);
template void widened_convolution<false>(const ConvolutionArguments& a);

}  // namespace pycnn::cpu::PYCNN_ISA
