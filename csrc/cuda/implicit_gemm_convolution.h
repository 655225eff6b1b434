// The convolution's passes as implicit matrix products, for one kind of arithmetic. Included by a file per dtype, so
// that none takes long to compile.
#pragma once

#include <algorithm>

#include "cuda/implicit_gemm_tiles.h"

namespace pycnn::cuda {

using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

/// How many neighbouring channels are read at once: whole vectors, pairs of 16-bit elements, or single elements.
template <typename T>
int channels_at_once(const void* data, int64_t channels, int64_t group_channels) {
  for (const int count : {static_cast<int>(16 / sizeof(T)), 2})
    if (count * sizeof(T) % 4 == 0 && (count == 16 / sizeof(T) || sizeof(T) == 2) && channels % count == 0 &&
        group_channels % count == 0 && is_aligned(data, count * sizeof(T)))
      return count;
  return 1;
}

inline PixelsAndTaps pixels_and_taps(const int64_t (&size)[3], int64_t batch, int64_t channels, int64_t group_channels,
                                     std::span<const Phase> phases) {
  PixelsAndTaps g{};
  for (int d = 0; d < 3; ++d) g.size[d] = static_cast<int>(size[d]);
  g.channels = channels;
  g.group_channels = IndexDivide(std::max<int64_t>(group_channels, 1));
  for (size_t i = 0; i < phases.size(); ++i) {
    PixelsAndTaps::Part& part = g.part[i];
    for (int d = 0; d < 3; ++d) {
      const PhaseAxis& axis = phases[i].axis[d];
      part.axis[d] = {axis.step, axis.offset, axis.tap_step, IndexDivide(std::max(axis.positions, 1)),
                      IndexDivide(std::max(axis.taps, 1))};
    }
    part.pixels = static_cast<int>(batch * phases[i].positions());
    part.tap_depth = static_cast<int>(phases[i].taps() * group_channels);
  }
  return g;
}

template <typename Math, typename T, int V>
void multiply_pixels_in(const ConvolutionJob& job) {
  using E = typename Math::Element;
  const ConvolutionArguments& a = job.arguments;
  const ConvolutionShape& s = a.shape;
  const bool forward = job.pass == ConvolutionPass::Forward;
  const int64_t from_channels = forward ? s.in_channels : s.out_channels;
  const int64_t to_channels = forward ? s.out_channels : s.in_channels, to_group = to_channels / s.groups;
  void* to = forward ? a.output : a.input;
  for (size_t first = 0; first < job.phases.size(); first += max_parts) {
    const std::span<const Phase> phases =
        job.phases.subspan(first, std::min<size_t>(max_parts, job.phases.size() - first));
    Product<PixelRows<E, V>, PackedWeight<E>, PixelResult<E>> p{};
    p.a.data = static_cast<const E*>(forward ? a.input : a.output);
    p.a.geometry =
        pixels_and_taps(forward ? s.input : s.output, s.batch, from_channels, from_channels / s.groups, phases);
    p.b.data = static_cast<const E*>(job.packed);
    p.b.across_count = static_cast<int>(to_group);
    p.result.finish = finish_of<E>(to, to_channels % result_vector == 0 && to_group % result_vector == 0, a.epilogue);
    p.result.channels = static_cast<int>(to_channels);
    p.result.group_channels = static_cast<int>(to_group);
    for (int d = 0; d < 3; ++d) p.result.size[d] = static_cast<int>(forward ? s.output[d] : s.input[d]);
    p.parts = static_cast<int>(phases.size());
    for (int i = 0; i < p.parts; ++i) {
      const PixelsAndTaps::Part& part = p.a.geometry.part[i];
      p.part[i] = {part.pixels, part.tap_depth, 0, 0};
      p.b.rows[i] = static_cast<int>(divide_up(part.tap_depth, p.b.vector) * p.b.vector);
      p.b.offsets[i] = job.packed_offsets[first + static_cast<size_t>(i)];
      for (int d = 0; d < 3; ++d)
        p.result.axis[i][d] = {part.axis[d].positions, phases[static_cast<size_t>(i)].axis[d].result_step,
                               phases[static_cast<size_t>(i)].axis[d].result_offset};
    }
    p.columns = static_cast<int>(to_group);
    p.batch = static_cast<int>(s.groups);
    p.splits = job.splits;
    p.partial = job.partial;
    multiply<Math, T>(job.name, p);
  }
}

template <typename Math, int V>
void multiply_pixels_wide(const ConvolutionJob& job) {
  switch (job.tile) {
    case Tile128x128:
      return multiply_pixels_in<Math, Large, V>(job);
    case Tile128x64:
      return multiply_pixels_in<Math, Tall, V>(job);
    case Tile64x64:
      return multiply_pixels_in<Math, Small, V>(job);
    default:
      return multiply_pixels_in<Math, Slim, V>(job);
  }
}

inline const void* source_of(const ConvolutionJob& job) {
  return job.pass == ConvolutionPass::InputGradient ? job.arguments.output : job.arguments.input;
}

/// Of the pixels that are read.
template <typename T>
int source_channels_at_once(const ConvolutionJob& job) {
  const ConvolutionShape& s = job.arguments.shape;
  const int64_t channels = job.pass == ConvolutionPass::InputGradient ? s.out_channels : s.in_channels;
  return channels_at_once<T>(source_of(job), channels, channels / s.groups);
}

template <typename Math>
void multiply_pixels(const ConvolutionJob& job) {
  constexpr int wide = 16 / sizeof(typename Math::Element);
  const int at_once = source_channels_at_once<typename Math::Element>(job);
  if (at_once == wide) return multiply_pixels_wide<Math, wide>(job);
  if constexpr (wide == 8)
    if (at_once == 2) return multiply_pixels_in<Math, Narrow, 2>(job);
  multiply_pixels_in<Math, Narrow, 1>(job);
}

template <typename Math, typename T, int FromV, int ToV>
void multiply_taps_in(const ConvolutionJob& job) {
  using E = typename Math::Element;
  const ConvolutionArguments& a = job.arguments;
  const ConvolutionShape& s = a.shape;
  const int64_t in_group = s.in_channels / s.groups, out_group = s.out_channels / s.groups;
  Product<TapRows<E, FromV>, Matrix<E, ToV, Contiguous::Across>, WeightResult<E>> p{};
  p.a.data = static_cast<const E*>(a.input);
  p.a.geometry = pixels_and_taps(s.input, s.batch, s.in_channels, in_group, job.phases);
  const PixelsAndTaps::Part& part = p.a.geometry.part[0];
  p.b = {.data = static_cast<const E*>(a.output),
         .stride = s.out_channels,
         .across_count = static_cast<int>(out_group),
         .depth_count = part.pixels,
         .batch_strides = {0, out_group},
         .batches = IndexDivide(s.groups)};
  p.result = {.data = static_cast<E*>(a.weight),
              .strides = {a.weight_strides[0], a.weight_strides[1], a.weight_strides[2]},
              .out_channels = static_cast<int>(out_group),
              .in_channels = IndexDivide(in_group)};
  p.parts = 1;
  p.part[0] = {part.tap_depth, part.pixels, 0, 0};
  p.columns = static_cast<int>(out_group);
  p.batch = static_cast<int>(s.groups);
  p.splits = job.splits;
  p.partial = job.partial;
  multiply<Math, T>(job.name, p);
}

template <typename Math>
void multiply_taps(const ConvolutionJob& job) {
  using E = typename Math::Element;
  constexpr int wide = 16 / sizeof(E);
  const ConvolutionShape& s = job.arguments.shape;
  const int from = source_channels_at_once<E>(job);
  const int to = channels_at_once<E>(job.arguments.output, s.out_channels, s.out_channels / s.groups);
  if (from == wide && to == wide) switch (job.tile) {
      case Tile128x128:
        return multiply_taps_in<Math, Large, wide, wide>(job);
      case Tile128x64:
        return multiply_taps_in<Math, Tall, wide, wide>(job);
      case Tile64x64:
        return multiply_taps_in<Math, Small, wide, wide>(job);
      default:
        return multiply_taps_in<Math, Slim, wide, wide>(job);
    }
  if (to == wide) return multiply_taps_in<Math, Narrow, 1, wide>(job);
  if constexpr (wide == 8)
    if (from % 2 == 0 && to % 2 == 0) return multiply_taps_in<Math, Narrow, 2, 2>(job);
  multiply_taps_in<Math, Narrow, 1, 1>(job);
}

}  // namespace pycnn::cuda
