#include "cpu/isa/taps.h"

#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {

using kernels::ConvolutionArguments;

Taps forward_taps(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  Taps t{.axis = {},
         .batch = s.batch,
         .groups = s.groups,
         .source_channels = s.in_channels,
         .result_channels = s.out_channels,
         .weight_source = a.weight_strides[1],
         .weight_result = a.weight_strides[0],
         .weight_tap = a.weight_strides[2],
         .weight_group = s.out_channels / s.groups * a.weight_strides[0],
         .kernel = s.kernel};
  for (int d = 0; d < 3; ++d)
    t.axis[d] = {.result_size = s.output[d],
                 .result_begin = 0,
                 .result_step = 1,
                 .count = s.output[d],
                 .source_size = s.input[d],
                 .source_step = s.stride[d],
                 .taps = s.kernel[d],
                 .first_tap = 0,
                 .tap_step = 1,
                 .first_offset = -s.padding[d],
                 .offset_step = s.dilation[d]};
  return t;
}

Taps input_gradient_taps(const ConvolutionArguments& a, const int64_t (&phase)[3]) {
  const kernels::ConvolutionShape& s = a.shape;
  Taps t{.axis = {},
         .batch = s.batch,
         .groups = s.groups,
         .source_channels = s.out_channels,
         .result_channels = s.in_channels,
         .weight_source = a.weight_strides[0],
         .weight_result = a.weight_strides[1],
         .weight_tap = a.weight_strides[2],
         .weight_group = s.out_channels / s.groups * a.weight_strides[0],
         .kernel = s.kernel};
  for (int d = 0; d < 3; ++d) {
    // Input x = phase + q·stride meets tap k at output (x + padding - k·dilation) / stride where that divides.
    const int64_t stride = s.stride[d], dilation = s.dilation[d];
    int64_t last = -1, previous = -1, taps = 0;
    for (int64_t k = 0; k < s.kernel[d]; ++k) {
      if ((phase[d] + s.padding[d] - k * dilation) % stride != 0) continue;
      previous = last;
      last = k;
      ++taps;
    }
    const int64_t distance = taps > 1 ? last - previous : 1;
    t.axis[d] = {.result_size = s.input[d],
                 .result_begin = phase[d],
                 .result_step = stride,
                 .count = max_of(ceil_divide(s.input[d] - phase[d], stride), 0),
                 .source_size = s.output[d],
                 .source_step = 1,
                 .taps = taps,
                 .first_tap = last,
                 .tap_step = -distance,
                 .first_offset = (phase[d] + s.padding[d] - last * dilation) / stride,
                 .offset_step = distance * dilation / stride};
    // Any positive step does for a single tap; the formula above may give 0.
    if (taps <= 1) t.axis[d].offset_step = 1;
  }
  return t;
}

template <typename T, typename From>
void gather_weight(const Taps& taps, const From* weight, int64_t source, int64_t sources, int64_t result,
                   int64_t results, int64_t width, T* to) {
  const int64_t count = taps.kernel[0] * taps.kernel[1] * taps.kernel[2];
  weight += result * taps.weight_result + source * taps.weight_source;
  if (taps.weight_tap == 1 && taps.weight_source == count) {
    pack_transposed(weight, taps.weight_result, results, sources * count, width, to, sources * count);
  } else if (taps.weight_tap == 1) {
    // The rows that the next call will want, which are too short for the hardware to foresee.
    const int64_t line = 64 / static_cast<int64_t>(sizeof(From)), row = (results - 1) * taps.weight_result + count;
    for (int64_t c = 0; c < sources; ++c) {
      const From* from = weight + c * taps.weight_source;
      for (int64_t i = 0; i < row; i += line) __builtin_prefetch(from + sources * taps.weight_source + i);
      pack_transposed(from, taps.weight_result, results, count, width, to + c * count * width, taps.weight_source);
    }
  } else {
    for (int64_t c = 0; c < sources; ++c)
      pack_panel(weight + c * taps.weight_source, taps.weight_tap, taps.weight_result, count, results, width,
                 to + c * count * width);
  }
}

template void gather_weight(const Taps&, const float*, int64_t, int64_t, int64_t, int64_t, int64_t, float*);
template void gather_weight(const Taps&, const BFloat16*, int64_t, int64_t, int64_t, int64_t, int64_t, float*);
template void gather_weight(const Taps&, const double*, int64_t, int64_t, int64_t, int64_t, int64_t, double*);

Range source_extent(const Axis& axis) {
  return {axis.first_offset,
          axis.offset(max_of(axis.taps, 1) - 1) + (max_of(axis.count, 1) - 1) * axis.source_step + 1};
}

int64_t padded_elements(const Taps& taps) {
  int64_t elements = taps.batch * taps.source_channels;
  for (const Axis& axis : taps.axis) {
    const Range extent = source_extent(axis);
    elements *= extent.end - extent.begin;
  }
  return elements;
}

bool mostly_borders(const Taps& taps) {
  constexpr int64_t few_elements = int64_t{1} << 16, most = 16;
  int64_t elements = taps.batch * taps.source_channels;
  for (const Axis& axis : taps.axis) elements *= axis.source_size;
  return padded_elements(taps) > max_of(few_elements, most * elements);
}

template <typename T>
Taps pad_source(const Taps& taps, const T* source, T* to) {
  Range extent[3];
  int64_t size[3];
  for (int d = 0; d < 3; ++d) {
    extent[d] = source_extent(taps.axis[d]);
    size[d] = extent[d].end - extent[d].begin;
  }
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const int64_t channels = taps.source_channels;
  parallel_for(taps.batch * size[0], [&](int64_t chunk) {
    const int64_t n = chunk / size[0], d = chunk % size[0] + extent[0].begin;
    for (int64_t y = 0; y < size[1]; ++y) {
      const int64_t h = y + extent[1].begin;
      T* row = to + (chunk * size[1] + y) * size[2] * channels;
      // The part [begin, end) of the row that the source has.
      int64_t begin = min_of(max_of(-extent[2].begin, 0), size[2]);
      int64_t end = max_of(begin, min_of(width.source_size - extent[2].begin, size[2]));
      if (d < 0 || d >= depth.source_size || h < 0 || h >= height.source_size) begin = end = 0;
      for (int64_t i = 0; i < begin * channels; ++i) row[i] = T{};
      if (begin < end) {
        const T* from =
            source +
            (((n * depth.source_size + d) * height.source_size + h) * width.source_size + extent[2].begin) * channels;
        for (int64_t i = begin * channels; i < end * channels; ++i) row[i] = from[i];
      }
      for (int64_t i = end * channels; i < size[2] * channels; ++i) row[i] = T{};
    }
  });
  Taps padded = taps;
  for (int d = 0; d < 3; ++d) {
    padded.axis[d].source_size = size[d];
    padded.axis[d].first_offset = 0;
  }
  return padded;
}

template Taps pad_source(const Taps& taps, const float* source, float* to);
template Taps pad_source(const Taps& taps, const double* source, double* to);
template Taps pad_source(const Taps& taps, const BFloat16* source, BFloat16* to);

}  // namespace pycnn::cpu::PYCNN_ISA
