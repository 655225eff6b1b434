// Convolutions in which every channel is a group of its own: bound by memory, vectors run over channels.
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int64_t chunk_elements = int64_t{1} << 15;
constexpr int64_t enough_chunks = 32;
constexpr int pixel_tile = 4;

/// Calls function(first channel, lanes in use) for every vector of channels.
template <typename T, typename Function>
void for_each_vector(int64_t channels, const Function& function) {
  for (int64_t c = 0; c < channels; c += lanes<T>) function(c, static_cast<int>(min_of(channels - c, lanes<T>)));
}

/// `Pixels` results of one vector of channels; the taps taps2 are valid for all of them.
template <typename T, int Pixels, bool Partial>
void results(const Taps& taps, const T* source, const T* weight, T* result, int64_t n, int64_t q0, int64_t q1,
             int64_t q2, Range taps0, Range taps1, Range taps2, int64_t c, const Mask<T>& mask) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const int64_t channels = taps.source_channels;
  Vector<T> sums[Pixels] = {};
  for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
    for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1) {
      const int64_t s0 = q0 * depth.source_step + depth.offset(j0), s1 = q1 * height.source_step + height.offset(j1);
      const int64_t row = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size;
      for (int64_t j2 = taps2.begin; j2 < taps2.end; ++j2) {
        const T* w = weight + ((j0 * height.taps + j1) * width.taps + j2) * channels + c;
        const T* x = source + (row + q2 * width.source_step + width.offset(j2)) * channels + c;
        const Vector<T> factor = Partial ? load(w, mask) : load(w);
#pragma GCC unroll 4
        for (int p = 0; p < Pixels; ++p) {
          const T* from = x + p * width.source_step * channels;
          sums[p] = multiply_add(Partial ? load(from, mask) : load(from), factor, sums[p]);
        }
      }
    }
#pragma GCC unroll 4
  for (int p = 0; p < Pixels; ++p) {
    T* to = result + (taps.result_pixel(n, q0, q1) + (q2 + p) * width.result_step) * channels + c;
    if (Partial)
      store(to, sums[p], mask);
    else
      store(to, sums[p]);
  }
}

template <typename T, int Pixels>
void results_of_channels(const Taps& taps, const T* source, const T* weight, T* result, int64_t n, int64_t q0,
                         int64_t q1, int64_t q2, Range taps0, Range taps1, Range taps2) {
  for_each_vector<T>(taps.source_channels, [&](int64_t c, int count) {
    const Mask<T> mask(count);
    if (count == lanes<T>)
      results<T, Pixels, false>(taps, source, weight, result, n, q0, q1, q2, taps0, taps1, taps2, c, mask);
    else
      results<T, Pixels, true>(taps, source, weight, result, n, q0, q1, q2, taps0, taps1, taps2, c, mask);
  });
}

template <typename T>
void run_pass(const Taps& taps, const T* source, const T* weight, T* result, T* packed,
              const kernels::PointwiseArguments* epilogue) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const int64_t channels = taps.source_channels, rows = taps.rows();
  if (rows * width.count * channels == 0) return;
  for (int64_t j0 = 0, tap = 0; j0 < depth.taps; ++j0)
    for (int64_t j1 = 0; j1 < height.taps; ++j1)
      for (int64_t j2 = 0; j2 < width.taps; ++j2, ++tap)
        for (int64_t c = 0; c < channels; ++c)
          packed[tap * channels + c] = weight[c * taps.weight_group + taps.kernel_index(j0, j1, j2) * taps.weight_tap];
  int64_t per_chunk = max_of(1, chunk_elements / (width.count * channels));
  per_chunk = max_of(1, min_of(per_chunk, rows / enough_chunks));
  parallel_for(ceil_divide(rows, per_chunk), [&](int64_t chunk) {
    const int64_t end = min_of(rows, (chunk + 1) * per_chunk);
    for (int64_t row = chunk * per_chunk; row < end; ++row) {
      const int64_t q1 = row % height.count, q0 = row / height.count % depth.count;
      const int64_t n = row / height.count / depth.count;
      const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);
      for (int64_t q2 = 0; q2 < width.count;) {
        const Range taps2 = width.valid_taps(q2);
        const Range last = width.valid_taps(min_of(q2 + pixel_tile, width.count) - 1);
        // Taps valid at both ends of a tile are valid in between.
        if (q2 + pixel_tile <= width.count && last.begin == taps2.begin && last.end == taps2.end) {
          results_of_channels<T, pixel_tile>(taps, source, packed, result, n, q0, q1, q2, taps0, taps1, taps2);
          q2 += pixel_tile;
        } else {
          results_of_channels<T, 1>(taps, source, packed, result, n, q0, q1, q2, taps0, taps1, taps2);
          ++q2;
        }
      }
      if (epilogue) {
        const int64_t pixel = taps.result_pixel(n, q0, q1);
        pointwise_region(*epilogue, pixel, pixel + width.count, 0, channels);
      }
    }
  });
}

template <typename T>
void forward(const ConvolutionArguments& a) {
  run_pass(forward_taps(a), static_cast<const T*>(a.input), static_cast<const T*>(a.weight), static_cast<T*>(a.output),
           static_cast<T*>(a.workspace), a.epilogue);
}

template <typename T>
void input_gradient(const ConvolutionArguments& a) {
  const bool dense = volume(a.shape.stride) == 1;
  for_each_phase(a, [&](const Taps& taps) {
    run_pass(taps, static_cast<const T*>(a.output), static_cast<const T*>(a.weight), static_cast<T*>(a.input),
             static_cast<T*>(a.workspace), dense ? a.epilogue : nullptr);
  });
  if (a.epilogue && !dense) pointwise(*a.epilogue);
}

// -- weight gradient
// ----------------------------------------------------------------------------------------------------

int64_t splits_of(const kernels::ConvolutionShape& s) {
  return max_of(1, min_of(enough_chunks, s.batch * s.output[0] * s.output[1]));
}

/// Σ over `count` pixels of gradient · source, in four interleaved sums.
template <typename T, bool Partial>
Vector<T> dot(const T* gradient, const T* source, int64_t count, int64_t gradient_step, int64_t source_step,
              const Mask<T>& mask) {
  Vector<T> sums[pixel_tile] = {};
  const auto take = [&](const T* p) { return Partial ? load(p, mask) : load(p); };
  int64_t q = 0;
  for (; q + pixel_tile <= count; q += pixel_tile)
#pragma GCC unroll 4
    for (int p = 0; p < pixel_tile; ++p)
      sums[p] = multiply_add(take(gradient + (q + p) * gradient_step), take(source + (q + p) * source_step), sums[p]);
  for (; q < count; ++q)
    sums[0] = multiply_add(take(gradient + q * gradient_step), take(source + q * source_step), sums[0]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <typename T>
void weight_gradient(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  const Taps taps = forward_taps(a);
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const int64_t channels = s.in_channels, elements = taps.tap_count() * channels, rows = taps.rows();
  const int64_t splits = splits_of(s);
  T* partial = static_cast<T*>(a.workspace);
  const T* input = static_cast<const T*>(a.input);
  const T* output = static_cast<const T*>(a.output);
  parallel_for(splits, [&](int64_t split) {
    T* sums = partial + split * elements;
    for (int64_t i = 0; i < elements; ++i) sums[i] = 0;
    for (int64_t row = rows * split / splits; row < rows * (split + 1) / splits; ++row) {
      const int64_t q1 = row % height.count, q0 = row / height.count % depth.count;
      const int64_t n = row / height.count / depth.count;
      const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);
      for_each_vector<T>(channels, [&](int64_t c, int count) {
        const Mask<T> mask(count);
        for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
          for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1)
            for (int64_t j2 = 0; j2 < width.taps; ++j2) {
              const Range valid = width.valid_results(j2);
              const int64_t s0 = q0 * depth.source_step + depth.offset(j0);
              const int64_t s1 = q1 * height.source_step + height.offset(j1);
              const int64_t s2 = valid.begin * width.source_step + width.offset(j2);
              const int64_t from = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size + s2;
              const T* gradient = output + (row * width.count + valid.begin) * channels + c;
              const T* source = input + from * channels + c;
              const int64_t source_step = width.source_step * channels, length = valid.end - valid.begin;
              T* sum = sums + ((j0 * height.taps + j1) * width.taps + j2) * channels + c;
              if (count == lanes<T>)
                store(sum, load(sum) + dot<T, false>(gradient, source, length, channels, source_step, mask));
              else
                store(sum, load(sum, mask) + dot<T, true>(gradient, source, length, channels, source_step, mask), mask);
            }
      });
    }
  });
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap = 0; tap < taps.tap_count(); ++tap) {
      T sum = partial[tap * channels + c];
      for (int64_t split = 1; split < splits; ++split) sum += partial[split * elements + tap * channels + c];
      static_cast<T*>(a.weight)[c * a.weight_strides[0] + tap * a.weight_strides[2]] = sum;
    }
}

}  // namespace

const char* depthwise_declines(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  if (s.groups != s.in_channels || s.groups != s.out_channels) return "a group is not one channel in and one out";
  if (s.groups == 1) return "with a single channel there is nothing to vectorise over";
  return nullptr;
}

size_t depthwise_workspace(const ConvolutionArguments& a) {
  return aligned_bytes(weight_elements(a.shape), element_size(a));
}

void depthwise_forward(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? forward<float>(a) : forward<double>(a);
}

void depthwise_input_gradient(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? input_gradient<float>(a) : input_gradient<double>(a);
}

size_t depthwise_weight_gradient_workspace(const ConvolutionArguments& a) {
  return aligned_bytes(splits_of(a.shape) * weight_elements(a.shape), element_size(a));
}

void depthwise_weight_gradient(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? weight_gradient<float>(a) : weight_gradient<double>(a);
}

}  // namespace pycnn::cpu::PYCNN_ISA
