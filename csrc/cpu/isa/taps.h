// The geometry that a convolution and its input gradient share. Per spatial dimension, result position q of a pass
// meets tap j (counted in order of rising source position) at source position q·source_step + first_offset +
// j·offset_step.
//   forward:                 result = output, source = input, source_step = stride, offsets from -padding
//   input gradient, phase r: result = inputs r, r + stride, …; source = output, source_step = 1; the taps that hit r
#pragma once

#include "cpu/isa/brgemm.h"
#include "kernels/kernels.h"

namespace pycnn::cpu::PYCNN_ISA {

struct Range {
  int64_t begin, end;
};

struct Axis {
  int64_t result_size, result_begin, result_step, count;  ///< count: result positions of this pass
  int64_t source_size, source_step;
  int64_t taps, first_tap, tap_step;  ///< tap j is kernel index first_tap + j·tap_step
  int64_t first_offset, offset_step;

  int64_t offset(int64_t j) const { return first_offset + j * offset_step; }
  /// The q at which tap j lies inside the source.
  Range valid_results(int64_t j) const {
    const int64_t begin = min_of(max_of(ceil_divide(-offset(j), source_step), 0), count);
    return {begin, max_of(begin, min_of(ceil_divide(source_size - offset(j), source_step), count))};
  }
  /// The taps that lie inside the source at q.
  Range valid_taps(int64_t q) const {
    const int64_t first = q * source_step + first_offset;
    // Divisions take as long as a product of few pixels.
    if (offset_step == 1) {
      const int64_t begin = min_of(max_of(-first, 0), taps);
      return {begin, max_of(begin, min_of(source_size - first, taps))};
    }
    const int64_t begin = min_of(max_of(ceil_divide(-first, offset_step), 0), taps);
    return {begin, max_of(begin, min_of(ceil_divide(source_size - first, offset_step), taps))};
  }
};

struct Taps {
  Axis axis[3];
  int64_t batch, groups;
  int64_t source_channels, result_channels;                        ///< of all groups
  int64_t weight_source, weight_result, weight_tap, weight_group;  ///< strides of the weight
  const int64_t* kernel;

  int64_t source_group() const { return source_channels / groups; }
  int64_t result_group() const { return result_channels / groups; }
  int64_t tap_count() const { return axis[0].taps * axis[1].taps * axis[2].taps; }
  /// Rows of results in this pass: a row runs along the last spatial dimension.
  int64_t rows() const { return batch * axis[0].count * axis[1].count; }
  /// The row-major kernel index of tap (j0, j1, j2).
  int64_t kernel_index(int64_t j0, int64_t j1, int64_t j2) const {
    return ((axis[0].first_tap + j0 * axis[0].tap_step) * kernel[1] + axis[1].first_tap + j1 * axis[1].tap_step) *
               kernel[2] +
           axis[2].first_tap + j2 * axis[2].tap_step;
  }
  /// Index of the first pixel of row (n, q0, q1) in the result.
  int64_t result_pixel(int64_t n, int64_t q0, int64_t q1) const {
    const Axis &d = axis[0], &h = axis[1], &w = axis[2];
    return ((n * d.result_size + d.result_begin + q0 * d.result_step) * h.result_size + h.result_begin +
            q1 * h.result_step) *
               w.result_size +
           w.result_begin;
  }
  bool dense_results() const { return axis[0].result_step * axis[1].result_step * axis[2].result_step == 1; }
};

Taps forward_taps(const kernels::ConvolutionArguments& a);
/// The pass for the inputs at `phase` modulo the stride.
Taps input_gradient_taps(const kernels::ConvolutionArguments& a, const int64_t (&phase)[3]);
/// Calls function(taps) for every phase of the input gradient that has inputs: a stride may be far larger than they.
template <typename Function>
void for_each_phase(const kernels::ConvolutionArguments& a, const Function& function) {
  int64_t phases[3], phase[3];
  for (int d = 0; d < 3; ++d) phases[d] = min_of(a.shape.stride[d], a.shape.input[d]);
  for (phase[0] = 0; phase[0] < phases[0]; ++phase[0])
    for (phase[1] = 0; phase[1] < phases[1]; ++phase[1])
      for (phase[2] = 0; phase[2] < phases[2]; ++phase[2]) function(input_gradient_taps(a, phase));
}

/// Kernel taps of several source channels as rows of results: to[(c·taps + k)·width + j] is the weight of kernel index
/// k between source channel `source` + c and result channel `result` + j, for c < sources and j < results; zeros for
/// the other j < width. `taps` is the kernel's volume; channels count within the group whose weight is given. From is
/// T, or BFloat16 to be widened.
template <typename T, typename From>
void gather_weight(const Taps& taps, const From* weight, int64_t source, int64_t sources, int64_t result,
                   int64_t results, int64_t width, T* to);
/// Elements for gather_weight() that stay in L1.
inline constexpr int64_t gathered_elements = 9 * 512;

// What the algorithms of all passes need of an argument struct.
PYCNN_INLINE int64_t input_elements(const kernels::ConvolutionShape& s) {
  return s.batch * volume(s.input) * s.in_channels;
}
PYCNN_INLINE int64_t output_elements(const kernels::ConvolutionShape& s) {
  return s.batch * volume(s.output) * s.out_channels;
}
PYCNN_INLINE int64_t weight_elements(const kernels::ConvolutionShape& s) {
  return s.out_channels * (s.in_channels / s.groups) * volume(s.kernel);
}
PYCNN_INLINE size_t element_size(const kernels::ConvolutionArguments& a) { return size_of(a.dtype); }
PYCNN_INLINE bool is_pointwise_convolution(const kernels::ConvolutionShape& s) {
  for (int d = 0; d < 3; ++d)
    if (s.kernel[d] != 1 || s.stride[d] != 1 || s.padding[d] != 0 || s.output[d] != s.input[d]) return false;
  return true;
}

/// Extent of the source positions that any tap meets, and where they begin.
Range source_extent(const Axis& axis);
int64_t padded_elements(const Taps& taps);
/// Whether a padded copy would be hardly more than borders, as with strides and padding larger than the source.
bool mostly_borders(const Taps& taps);
/// Copies the source with its borders of zeros to `to`; the taps returned read that copy and never leave it.
template <typename T>
Taps pad_source(const Taps& taps, const T* source, T* to);

/// Winograd's algorithm with tiles of Tile×Tile results, Tile 2 or 4, for the forward pass or the input gradient.
template <int Tile, bool Forward>
const char* winograd_declines(const kernels::ConvolutionArguments& a);
template <int Tile, bool Forward>
size_t winograd_workspace(const kernels::ConvolutionArguments& a);
template <int Tile, bool Forward>
void winograd(const kernels::ConvolutionArguments& a);
template <int Tile, bool Forward>
size_t packed_winograd_bytes(const kernels::ConvolutionArguments& a);
template <int Tile, bool Forward>
void pack_winograd(const kernels::ConvolutionArguments& a, void* to);

const char* depthwise_declines(const kernels::ConvolutionArguments& a);
/// The packed weight's bytes.
size_t depthwise_workspace(const kernels::ConvolutionArguments& a);
void pack_depthwise(const kernels::ConvolutionArguments& a, void* to);
void depthwise_forward(const kernels::ConvolutionArguments& a);
void depthwise_input_gradient(const kernels::ConvolutionArguments& a);
const char* few_channels_forward_declines(const kernels::ConvolutionArguments& a);
const char* few_channels_input_gradient_declines(const kernels::ConvolutionArguments& a);
size_t few_channels_forward_workspace(const kernels::ConvolutionArguments& a);
size_t few_channels_input_gradient_workspace(const kernels::ConvolutionArguments& a);
void few_channels_forward(const kernels::ConvolutionArguments& a);
void few_channels_input_gradient(const kernels::ConvolutionArguments& a);
/// Input gradient where windows tile the input.
const char* non_overlapping_declines(const kernels::ConvolutionArguments& a);
size_t packed_non_overlapping_bytes(const kernels::ConvolutionArguments& a);
void pack_non_overlapping(const kernels::ConvolutionArguments& a, void* to);
void non_overlapping(const kernels::ConvolutionArguments& a);

/// What each pixel of the source adds to the few channels of results around it, by one product per row.
template <bool Forward>
const char* overlap_add_declines(const kernels::ConvolutionArguments& a);
template <bool Forward>
size_t overlap_add_workspace(const kernels::ConvolutionArguments& a);
template <bool Forward>
void overlap_add(const kernels::ConvolutionArguments& a);

const char* few_channels_weight_gradient_declines(const kernels::ConvolutionArguments& a);
size_t few_channels_weight_gradient_workspace(const kernels::ConvolutionArguments& a);
void few_channels_weight_gradient(const kernels::ConvolutionArguments& a);
size_t depthwise_weight_gradient_workspace(const kernels::ConvolutionArguments& a);
void depthwise_weight_gradient(const kernels::ConvolutionArguments& a);

/// bfloat16 in and out; Padded: from a copy of the source with its borders.
template <bool Forward, bool Padded>
const char* bfloat16_declines(const kernels::ConvolutionArguments& a);
template <bool Forward, bool Padded>
size_t bfloat16_workspace(const kernels::ConvolutionArguments& a);
template <bool Forward, bool Padded>
void bfloat16_convolution(const kernels::ConvolutionArguments& a);
template <bool Forward, bool Padded>
size_t bfloat16_packed_bytes(const kernels::ConvolutionArguments& a);
template <bool Forward, bool Padded>
void bfloat16_pack(const kernels::ConvolutionArguments& a, void* to);

/// The float32 algorithms on widened operands.
const char* widened_convolution_declines(const kernels::ConvolutionArguments& a);
template <bool Forward>
size_t widened_convolution_workspace(const kernels::ConvolutionArguments& a);
template <bool Forward>
void widened_convolution(const kernels::ConvolutionArguments& a);

const char* bfloat16_weight_gradient_declines(const kernels::ConvolutionArguments& a);
size_t bfloat16_weight_gradient_workspace(const kernels::ConvolutionArguments& a);
void bfloat16_weight_gradient(const kernels::ConvolutionArguments& a);
const char* bfloat16_few_channels_weight_gradient_declines(const kernels::ConvolutionArguments& a);
size_t bfloat16_few_channels_weight_gradient_workspace(const kernels::ConvolutionArguments& a);
void bfloat16_few_channels_weight_gradient(const kernels::ConvolutionArguments& a);
/// The float32 algorithms on widened operands.
const char* widened_weight_gradient_declines(const kernels::ConvolutionArguments& a);
size_t widened_weight_gradient_workspace(const kernels::ConvolutionArguments& a);
void widened_weight_gradient(const kernels::ConvolutionArguments& a);

}  // namespace pycnn::cpu::PYCNN_ISA
