// Forward pass and input gradient: a row of results is a batch-reduce GEMM over its taps, A read from channels-last
// rows as they lie, B packed panels of the weight. Taps whose valid columns agree share one call.
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/tap_panels.h"
#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t max_products = 64;
constexpr int64_t most_runs = 16;  ///< of taps of a row that are found once
constexpr int64_t few_channels = 12;
constexpr int64_t rows_fetched = 32;  ///< ahead, of a packed panel that is read for the first time

template <typename T>
class TapGemm {
 public:
  TapGemm(const Taps& taps, const T* source, const T* weight, T* result, const T* packed)
      : taps_(taps), source_(source), weight_(weight), result_(result), packed_(packed) {
    // Adjacent taps of one row are adjacent in memory: one long product instead of several.
    merge_ = taps.groups == 1 && taps.axis[2].offset_step == 1;
    const Axis& width = taps.axis[2];
    for (int64_t j = 0; j < width.taps;) {
      const Run run = run_of(j);
      if (run.valid.begin == 0 && run.valid.end == width.count) full_ = run.taps;
      if (run_count_ < most_runs) runs_[run_count_] = run;
      ++run_count_;
      j = run.taps.end;
    }
  }

  static int64_t packed_elements(int64_t groups, int64_t source_group, int64_t result_group, int64_t tap_count) {
    const int64_t width = panel_width<T>(result_group);
    return groups * ceil_divide(result_group, width) * width * tap_count * source_group;
  }

  /// `arguments` is the epilogue or null; it asks for dense results.
  void run(const kernels::PointwiseArguments* arguments) const {
    const int64_t rows = taps_.rows(), pixels = taps_.axis[2].count;
    if (rows * pixels * taps_.result_channels == 0) return;
    const RowEpilogue epilogue(arguments, result_);
    const bool finishes = epilogue.finishes();
    panels_.run(epilogue.rest(arguments), [&](int64_t first, int64_t stop, int64_t panel_begin, int64_t panel_end) {
      for (int64_t panel = panel_begin; panel < panel_end; ++panel)
        for (int64_t row = first; row < stop; ++row) {
          const int64_t channel = panels_.channel_begin(panel), channel_end = panels_.channel_end(panel);
          epilogue.prefetch(row * pixels, (row + 1) * pixels, channel, channel_end);
          if (!run_row(row, panel, epilogue.finish(finishes, row * pixels, channel), row == first))
            epilogue.run(row * pixels, (row + 1) * pixels, channel, channel_end);
        }
    });
  }

  int64_t packed_elements() const { return panels_.all() * panel_elements_; }

  /// Writes the panels that run() reads.
  void pack(T* to) const {
    const int64_t in = taps_.source_group();
    const int64_t count = taps_.kernel[0] * taps_.kernel[1] * taps_.kernel[2];
    // Channels whose taps fit into L1 are gathered at once and dealt out to the taps; a lone tap needs no dealing.
    const int64_t at_once = count == 1 ? 0 : min_of(in, gathered_elements / (count * width_));
    if (at_once == 0) {
      parallel_for(panels_.all(), [&](int64_t panel) {
        const int64_t column = panel % panels_.count * width_;
        const T* weight = weight_ + panel / panels_.count * taps_.weight_group + column * taps_.weight_result;
        panels_.for_each_tap([&](int64_t tap, int64_t kernel) {
          pack_panel(weight + kernel * taps_.weight_tap, taps_.weight_source, taps_.weight_result, in,
                     min_of(taps_.result_group() - column, width_), width_,
                     to + panel * panel_elements_ + tap * in * width_);
        });
      });
      return;
    }
    const int64_t parts = ceil_divide(in, at_once);
    parallel_for(panels_.all() * parts, [&](int64_t chunk) {
      const int64_t group = chunk / (panels_.count * parts), panel = chunk / parts % panels_.count;
      const int64_t c = chunk % parts * at_once, n = min_of(at_once, in - c);
      alignas(64) T gathered[gathered_elements];
      gather_weight(taps_, weight_ + group * taps_.weight_group, c, n, panel * width_,
                    min_of(taps_.result_group() - panel * width_, width_), width_, gathered);
      panels_.for_each_tap([&](int64_t tap, int64_t kernel) {
        T* row = to + (group * panels_.count + panel) * panel_elements_ + (tap * in + c) * width_;
        for (int64_t i = 0; i < n; ++i, row += width_)
          for (int64_t j = 0; j < width_; j += lanes<T>)
            store(row + j, load(gathered + (i * count + kernel) * width_ + j));
      });
    });
  }

 private:
  /// With `fetches`, the panel is brought into L2 while it is read. Returns whether the results are finished: if there
  /// is something to finish and one product makes them all.
  bool run_row(int64_t row, int64_t all_panel, const Finish& finish, bool fetches) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t q1 = row % height.count, q0 = row / height.count % depth.count, n = row / height.count / depth.count;
    const int64_t group = all_panel / panels_.count;
    const int64_t channel = panels_.channel_begin(all_panel), columns = panels_.channel_end(all_panel) - channel;
    T* result = result_ + taps_.result_pixel(n, q0, q1) * taps_.result_channels + channel;
    const int64_t result_row = width.result_step * taps_.result_channels;
    const T* panel = packed_ + all_panel * panel_elements_;
    const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);

    // The first call may overwrite if it covers the whole row; else the row starts as zeros.
    const bool covers = full_.begin < full_.end && taps0.begin < taps0.end && taps1.begin < taps1.end;
    const bool finishes = finish.count > 0 && covers && full_.end - full_.begin == width.taps;
    if (covers) {
      run_taps(n, q0, q1, group, panel, taps0, taps1, {full_, {0, width.count}}, columns, result, result_row, false,
               finishes ? finish : Finish{}, fetches);
    } else {
      for (int64_t q = 0; q < width.count; ++q)
        for (int64_t i = 0; i < columns; ++i) result[q * result_row + i] = 0;
    }
    for (int64_t i = 0, j = 0; i < run_count_; ++i) {
      const Run run = i < most_runs ? runs_[i] : run_of(j);
      j = run.taps.end;
      if (!covers || run.taps.begin != full_.begin)
        run_taps(n, q0, q1, group, panel, taps0, taps1, run, columns, result, result_row, true, {}, fetches);
    }
    return finishes;
  }

  /// Taps of a row that are valid at the same columns.
  struct Run {
    Range taps, valid;
  };
  Run run_of(int64_t j) const {
    const Axis& width = taps_.axis[2];
    const Range valid = width.valid_results(j);
    int64_t end = j + 1;
    for (; end < width.taps; ++end) {
      const Range next = width.valid_results(end);
      if (next.begin != valid.begin || next.end != valid.end) break;
    }
    return {{j, end}, valid};
  }

  void run_taps(int64_t n, int64_t q0, int64_t q1, int64_t group, const T* panel, Range taps0, Range taps1,
                const Run& run, int64_t columns, T* result, int64_t result_row, bool accumulate, const Finish& finish,
                bool fetches) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const Range valid = run.valid, taps2 = run.taps;
    if (valid.begin == valid.end) return;
    const int64_t in = taps_.source_group(), channels = taps_.source_channels;
    const int64_t merged = merge_ ? taps2.end - taps2.begin : 1;
    Product<T> products[max_products];
    BatchReduce<T> g{.products = products,
                     .count = 0,
                     .m = valid.end - valid.begin,
                     .n = columns,
                     .k = merged * in,
                     .a_row = width.source_step * channels,
                     .a_column = 1,
                     .b_row = width_,
                     .c = result + valid.begin * result_row,
                     .c_row = result_row,
                     .accumulate = accumulate,
                     .b_ahead = fetches ? rows_fetched * width_ : 0};
    for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
      for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1) {
        const int64_t s0 = q0 * depth.source_step + depth.offset(j0), s1 = q1 * height.source_step + height.offset(j1);
        const T* line =
            source_ + ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size * channels;
        for (int64_t j2 = taps2.begin; j2 < taps2.end; j2 += merged) {
          if (g.count == max_products) {
            brgemm(g);
            g.count = 0;
            g.accumulate = true;
          }
          const int64_t s2 = valid.begin * width.source_step + width.offset(j2);
          products[g.count++] = {line + s2 * channels + group * in,
                                 panel + ((j0 * height.taps + j1) * width.taps + j2) * in * width_};
        }
      }
    g.finish = finish;
    if (g.count > 0) brgemm(g);
  }

  const Taps& taps_;
  const T* source_;
  const T* weight_;
  T* result_;
  const T* packed_;
  bool merge_;
  Run runs_[most_runs];
  int64_t run_count_ = 0;
  Range full_{0, 0};  ///< the run that is valid everywhere
  int64_t width_ = panel_width<T>(taps_.result_group());
  int64_t panel_elements_ = taps_.tap_count() * taps_.source_group() * width_;
  TapPanels panels_{taps_, width_, ceil_divide(taps_.result_group(), width_),
                    panel_elements_* static_cast<int64_t>(sizeof(T))};
};

template <typename T>
size_t packed_bytes(const ConvolutionArguments& a, bool forward) {
  const ConvolutionShape& s = a.shape;
  const int64_t in = s.in_channels / s.groups, out = s.out_channels / s.groups;
  const int64_t elements =
      TapGemm<T>::packed_elements(s.groups, forward ? in : out, forward ? out : in, volume(s.kernel));
  return aligned_bytes(elements, sizeof(T));
}

size_t packed_bytes(const ConvolutionArguments& a, bool forward) {
  return a.dtype == DType::Float32 ? packed_bytes<float>(a, forward) : packed_bytes<double>(a, forward);
}

// -- forward ---------------------------------------------------------------------------------------------------------

template <typename T>
void forward(const ConvolutionArguments& a, bool padded) {
  T* workspace = static_cast<T*>(a.workspace);
  const T* source = static_cast<const T*>(a.input);
  Taps taps = forward_taps(a);
  if (padded) {
    T* copy = workspace + packed_bytes(a, true) / sizeof(T);
    taps = pad_source(taps, source, copy);
    source = copy;
  }
  const TapGemm<T> gemm(taps, source, static_cast<const T*>(a.weight), static_cast<T*>(a.output),
                        a.packed ? static_cast<const T*>(a.packed) : workspace);
  if (!a.packed) gemm.pack(workspace);
  gemm.run(a.epilogue);
}

template <typename T>
void pack_forward(const ConvolutionArguments& a, void* to) {
  const Taps taps = forward_taps(a);
  TapGemm<T>(taps, nullptr, static_cast<const T*>(a.weight), nullptr, nullptr).pack(static_cast<T*>(to));
}

size_t packed_forward_bytes(const ConvolutionArguments& a) { return packed_bytes(a, true); }

void pack_forward(const ConvolutionArguments& a, void* to) {
  a.dtype == DType::Float32 ? pack_forward<float>(a, to) : pack_forward<double>(a, to);
}

template <bool Padded>
void run_forward(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? forward<float>(a, Padded) : forward<double>(a, Padded);
}

size_t padded_forward_workspace(const ConvolutionArguments& a) {
  return packed_bytes(a, true) + aligned_bytes(padded_elements(forward_taps(a)), element_size(a));
}

const char* padded_forward_declines(const ConvolutionArguments& a) { return padding_declines(forward_taps(a)); }

/// A 1×1 convolution with stride 1 is a product of the matrix of pixels and the matrix of weights.
template <bool Forward>
kernels::MatmulArguments as_matmul(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  kernels::MatmulArguments g{};
  g.dtype = a.dtype;
  g.batch[0] = g.batch[1] = 1;
  g.m = s.batch * volume(s.output);
  g.n = Forward ? s.out_channels : s.in_channels;
  g.k = Forward ? s.in_channels : s.out_channels;
  g.a = Forward ? a.input : a.output;
  g.b = a.weight;
  g.c = Forward ? a.output : a.input;
  g.a_row = g.k;
  g.a_column = 1;
  g.b_row = a.weight_strides[Forward ? 1 : 0];
  g.b_column = a.weight_strides[Forward ? 0 : 1];
  g.c_row = g.n;
  g.epilogue = a.epilogue;
  g.packed = a.packed;
  g.workspace = a.workspace;
  return g;
}

const char* gemm_declines(const ConvolutionArguments& a) {
  if (!is_pointwise_convolution(a.shape)) return "the kernel is not 1x1 with stride 1 and no padding";
  if (a.shape.groups != 1) return "there are groups";
  return nullptr;
}

/// The first entry of the list of matrix products that takes it.
const kernels::MatmulAlgorithm& chosen(const kernels::MatmulArguments& g) {
  const kernels::MatmulAlgorithm* algorithm = matmul;
  while (algorithm->declines(g)) ++algorithm;
  return *algorithm;
}

template <bool Forward>
size_t gemm_workspace(const ConvolutionArguments& a) {
  const kernels::MatmulArguments g = as_matmul<Forward>(a);
  return chosen(g).workspace(g);
}

template <bool Forward>
void run_gemm(const ConvolutionArguments& a) {
  const kernels::MatmulArguments g = as_matmul<Forward>(a);
  chosen(g).run(g);
}

template <bool Forward>
size_t packed_gemm_bytes(const ConvolutionArguments& a) {
  const kernels::MatmulArguments g = as_matmul<Forward>(a);
  const kernels::MatmulAlgorithm& algorithm = chosen(g);
  return algorithm.packed_bytes ? algorithm.packed_bytes(g) : 0;
}

template <bool Forward>
void pack_gemm(const ConvolutionArguments& a, void* to) {
  const kernels::MatmulArguments g = as_matmul<Forward>(a);
  chosen(g).pack(g, to);
}

// -- input gradient --------------------------------------------------------------------------------------------------

template <typename T>
void input_gradient(const ConvolutionArguments& a, bool padded) {
  T* workspace = static_cast<T*>(a.workspace);
  const T* packed = static_cast<const T*>(a.packed);
  bool dense = true;
  for_each_phase(a, [&](const Taps& phase) {
    const T* source = static_cast<const T*>(a.output);
    Taps taps = phase;
    if (padded) {
      T* copy = workspace + packed_bytes(a, false) / sizeof(T);
      taps = pad_source(phase, source, copy);
      source = copy;
    }
    dense = taps.dense_results();
    const TapGemm<T> gemm(taps, source, static_cast<const T*>(a.weight), static_cast<T*>(a.input),
                          packed ? packed : workspace);
    if (packed)
      packed += gemm.packed_elements();
    else
      gemm.pack(workspace);
    gemm.run(dense ? a.epilogue : nullptr);
  });
  // With stride, the pixels of a row come from several passes.
  if (a.epilogue && !dense) pointwise(*a.epilogue);
}

/// One phase behind the other.
template <typename T>
void pack_input_gradient(const ConvolutionArguments& a, T* to) {
  for_each_phase(a, [&](const Taps& phase) {
    const TapGemm<T> gemm(phase, nullptr, static_cast<const T*>(a.weight), nullptr, nullptr);
    gemm.pack(to);
    to += gemm.packed_elements();
  });
}

size_t packed_input_gradient_bytes(const ConvolutionArguments& a) { return packed_bytes(a, false); }

void pack_input_gradient(const ConvolutionArguments& a, void* to) {
  a.dtype == DType::Float32 ? pack_input_gradient(a, static_cast<float*>(to))
                            : pack_input_gradient(a, static_cast<double*>(to));
}

template <bool Padded>
void run_input_gradient(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? input_gradient<float>(a, Padded) : input_gradient<double>(a, Padded);
}

size_t padded_input_gradient_workspace(const ConvolutionArguments& a) {
  return packed_bytes(a, false) + aligned_bytes(padded_elements(input_gradient_taps(a, {0, 0, 0})), element_size(a));
}

const char* padded_input_gradient_declines(const ConvolutionArguments& a) {
  if (volume(a.shape.stride) != 1) return "with stride, each phase has borders of its own";
  return padding_declines(input_gradient_taps(a, {0, 0, 0}));
}

// -- shared ----------------------------------------------------------------------------------------------------------

const char* never_declines(const ConvolutionArguments&) { return nullptr; }
size_t no_workspace(const ConvolutionArguments&) { return 0; }

template <void (*Run)(const ConvolutionArguments&)>
void run_reference(const ConvolutionArguments& a) {
  Run(a);
  if (a.epilogue) pointwise(*a.epilogue);
}

/// Of an algorithm that knows no bfloat16.
template <const char* (*Declines)(const ConvolutionArguments&)>
const char* in_full_precision(const ConvolutionArguments& a) {
  return a.dtype == DType::BFloat16 ? "the operands are bfloat16" : Declines(a);
}

}  // namespace

const char* padding_declines(const Taps& taps) {
  if (taps.groups != 1) return "the channels of a group are not adjacent";
  if (taps.axis[2].offset_step != 1) return "with dilation, taps of a row are not adjacent";
  if (taps.source_channels > few_channels) return "with so many channels each tap fills a product";
  if (taps.rows() == 0 || taps.axis[2].count == 0) return "there are no results";
  if (mostly_borders(taps)) return "the copy would be hardly more than borders";
  for (const Axis& axis : taps.axis) {
    const Range extent = source_extent(axis);
    if (extent.begin < 0 || extent.end > axis.source_size) return nullptr;
  }
  return "no tap leaves the source";
}

const kernels::ConvolutionAlgorithm convolution_forward[] = {
    {"gemm_1x1", gemm_declines, gemm_workspace<true>, run_gemm<true>, packed_gemm_bytes<true>, pack_gemm<true>},
    {"depthwise", depthwise_declines, depthwise_workspace, depthwise_forward, depthwise_workspace, pack_depthwise},
    {"overlap_add", overlap_add_declines<true>, overlap_add_workspace<true>, overlap_add<true>},
    {"few_channels", few_channels_forward_declines, few_channels_forward_workspace, few_channels_forward},
    {"winograd_4x4", in_full_precision<winograd_declines<4, true>>, winograd_workspace<4, true>, winograd<4, true>,
     packed_winograd_bytes<4, true>, pack_winograd<4, true>},
    {"winograd_2x2", in_full_precision<winograd_declines<2, true>>, winograd_workspace<2, true>, winograd<2, true>,
     packed_winograd_bytes<2, true>, pack_winograd<2, true>},
    {"padded_brgemm", in_full_precision<padded_forward_declines>, padded_forward_workspace, run_forward<true>,
     packed_forward_bytes, pack_forward},
    {"direct_brgemm", in_full_precision<never_declines>, packed_forward_bytes, run_forward<false>, packed_forward_bytes,
     pack_forward},
    {"bfloat16_padded", bfloat16_declines<true, true>, bfloat16_workspace<true, true>, bfloat16_convolution<true, true>,
     bfloat16_packed_bytes<true, true>, bfloat16_pack<true, true>},
    {"bfloat16_brgemm", bfloat16_declines<true, false>, bfloat16_workspace<true, false>,
     bfloat16_convolution<true, false>, bfloat16_packed_bytes<true, false>, bfloat16_pack<true, false>},
    {"widened", widened_convolution_declines, widened_convolution_workspace<true>, widened_convolution<true>},
    {"reference", never_declines, no_workspace, run_reference<reference::convolution_forward>},
    {nullptr, nullptr, nullptr, nullptr},
};

const kernels::ConvolutionAlgorithm convolution_input_gradient[] = {
    {"gemm_1x1", gemm_declines, gemm_workspace<false>, run_gemm<false>, packed_gemm_bytes<false>, pack_gemm<false>},
    {"depthwise", depthwise_declines, depthwise_workspace, depthwise_input_gradient, depthwise_workspace,
     pack_depthwise},
    {"overlap_add", overlap_add_declines<false>, overlap_add_workspace<false>, overlap_add<false>},
    {"few_channels", few_channels_input_gradient_declines, few_channels_input_gradient_workspace,
     few_channels_input_gradient},
    {"winograd_4x4", in_full_precision<winograd_declines<4, false>>, winograd_workspace<4, false>, winograd<4, false>,
     packed_winograd_bytes<4, false>, pack_winograd<4, false>},
    {"winograd_2x2", in_full_precision<winograd_declines<2, false>>, winograd_workspace<2, false>, winograd<2, false>,
     packed_winograd_bytes<2, false>, pack_winograd<2, false>},
    {"non_overlapping", in_full_precision<non_overlapping_declines>, packed_non_overlapping_bytes, non_overlapping,
     packed_non_overlapping_bytes, pack_non_overlapping},
    {"padded_brgemm", in_full_precision<padded_input_gradient_declines>, padded_input_gradient_workspace,
     run_input_gradient<true>, packed_input_gradient_bytes, pack_input_gradient},
    {"direct_brgemm", in_full_precision<never_declines>, packed_input_gradient_bytes, run_input_gradient<false>,
     packed_input_gradient_bytes, pack_input_gradient},
    {"bfloat16_padded", bfloat16_declines<false, true>, bfloat16_workspace<false, true>,
     bfloat16_convolution<false, true>, bfloat16_packed_bytes<false, true>, bfloat16_pack<false, true>},
    {"bfloat16_brgemm", bfloat16_declines<false, false>, bfloat16_workspace<false, false>,
     bfloat16_convolution<false, false>, bfloat16_packed_bytes<false, false>, bfloat16_pack<false, false>},
    {"widened", widened_convolution_declines, widened_convolution_workspace<false>, widened_convolution<false>},
    {"reference", never_declines, no_workspace, run_reference<reference::convolution_input_gradient>},
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cpu::PYCNN_ISA
