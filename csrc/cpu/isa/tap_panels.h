// How a convolution over taps is cut: result channels into panels of the packed weight, panels and rows into chunks.
#pragma once

#include "cpu/isa/epilogue.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {

struct TapPanels {
  static constexpr int64_t chunk_flops = int64_t{1} << 23;
  static constexpr int64_t chunk_pixels = 196;  // fewer would read the weight panel too often
  static constexpr int64_t enough_chunks = 32;
  static constexpr int64_t cached_weight_bytes = int64_t{1} << 19;
  static constexpr int64_t epilogue_elements = int64_t{1} << 13;  // results that wait for their epilogue in L1 or L2

  const Taps& taps;
  int64_t width;  ///< result channels of a panel
  int64_t count;  ///< panels of a group
  int64_t panel_bytes;

  /// Of all groups.
  int64_t all() const { return taps.groups * count; }

  int64_t channel_begin(int64_t panel) const { return panel / count * taps.result_group() + panel % count * width; }
  int64_t channel_end(int64_t panel) const {
    return min_of(channel_begin(panel) + width, (panel / count + 1) * taps.result_group());
  }

  /// A chunk is a band of rows × a block of panels. Panels of groups that need several are cut within the group.
  struct Cut {
    int64_t rows;    ///< of a band
    int64_t panels;  ///< of a block, the last one of a span may have fewer
    int64_t span;    ///< panels that are cut into blocks together
    int64_t blocks_per_span;
    int64_t blocks;
  };

  /// Whether the weight of so many panels stays in L2.
  bool cached(int64_t panels) const { return panels * panel_bytes <= cached_weight_bytes; }

  /// All panels, so that the epilogue meets whole pixels; rows for enough work to be worth a claim; enough chunks for
  /// many cores. By shape alone.
  Cut cut_into_chunks() const {
    const int64_t panels = all(), rows = taps.rows(), pixels = taps.axis[2].count;
    const int64_t flops = 2 * pixels * taps.result_channels * max_of(1, taps.tap_count() * taps.source_group());
    Cut cut{
        .rows = ceil_divide(chunk_flops, flops), .panels = panels, .span = panels, .blocks_per_span = 1, .blocks = 1};
    const auto too_few = [&] { return ceil_divide(rows, cut.rows) * cut.blocks < enough_chunks; };
    const bool weight_cached = cached(panels);
    if (!weight_cached) cut.rows = max_of(cut.rows, ceil_divide(chunk_pixels, pixels));
    while (weight_cached && cut.rows > 1 && too_few()) cut.rows /= 2;
    while (cut.panels > 1 && too_few()) {
      cut.panels = ceil_divide(cut.panels, 2);
      cut.span = count > 1 ? count : taps.groups;
      cut.blocks_per_span = ceil_divide(cut.span, cut.panels);
      cut.panels = ceil_divide(cut.span, cut.blocks_per_span);
      cut.blocks = panels / cut.span * cut.blocks_per_span;
    }
    while (cut.rows > 1 && too_few()) cut.rows /= 2;
    return cut;
  }

  /// Calls block(first row, end, first panel, end) for parts of the results, in parallel, each followed by its part of
  /// the epilogue, which may be null and asks for dense results.
  template <typename Function>
  void run(const kernels::PointwiseArguments* arguments, const Function& block) const {
    const int64_t rows = taps.rows(), pixels = taps.axis[2].count;
    const Cut cut = cut_into_chunks();
    const int64_t bands = ceil_divide(rows, cut.rows), last = (cut.blocks_per_span - 1) * cut.panels;
    const Epilogue epilogue(arguments, channel_end(cut.panels - 1), channel_end(cut.span - 1) - channel_begin(last));
    parallel_for(bands * cut.blocks, [&](int64_t chunk) {
      const int64_t band = chunk % bands, part = chunk / bands;
      const int64_t span = part / cut.blocks_per_span * cut.span;
      const int64_t panel_begin = span + part % cut.blocks_per_span * cut.panels;
      const int64_t panel_end = min_of(panel_begin + cut.panels, span + cut.span);
      const int64_t channel = channel_begin(panel_begin), channels = channel_end(panel_end - 1) - channel;
      EpilogueColumns finish(epilogue, channel, channels);
      const int64_t end = min_of(rows, (band + 1) * cut.rows);
      // Results meet the epilogue in L1 if that does not mean to read the weight from afar for a few rows.
      const int64_t step = cached(panel_end - panel_begin) ? max_of(1, epilogue_elements / (pixels * channels)) : end;
      for (int64_t first = band * cut.rows, stop; first < end; first = stop) {
        stop = min_of(end, first + step);
        block(first, stop, panel_begin, panel_end);
        finish.run(first * pixels, stop * pixels);
      }
    });
  }

  /// function(tap, kernel index) in the order of packing.
  template <typename Function>
  void for_each_tap(const Function& function) const {
    const Axis* axis = taps.axis;
    int64_t tap = 0;
    for (int64_t j0 = 0; j0 < axis[0].taps; ++j0)
      for (int64_t j1 = 0; j1 < axis[1].taps; ++j1)
        for (int64_t j2 = 0; j2 < axis[2].taps; ++j2) function(tap++, taps.kernel_index(j0, j1, j2));
  }
};

/// Why copying the source with its borders would not pay, or null.
const char* padding_declines(const Taps& taps);

}  // namespace pycnn::cpu::PYCNN_ISA
