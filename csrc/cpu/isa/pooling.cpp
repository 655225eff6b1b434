// Pooling over channels-last tensors, vectorised over channels. Windows come as tables.
#include <cstring>

#include "cpu/isa/isa.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::PoolingArguments;

/// Channels that are handled together: their sums lie in a buffer, and backward passes are cut there.
constexpr int64_t forward_channels = 512, backward_channels = 32;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

template <typename T>
T lowest() {
  return static_cast<T>(-__builtin_inf());
}
template <>
int64_t lowest<int64_t>() {
  return INT64_MIN;
}

/// Calls function(tap, first) for the window of an output position, in row-major order; tap is an index within D×H×W
/// and first says that a row of the window begins.
template <typename Function>
void for_each_tap(const PoolingArguments& a, int64_t od, int64_t oh, int64_t ow, Function function) {
  for (int64_t d = a.begin[0][od]; d < a.end[0][od]; d += a.step[0])
    for (int64_t h = a.begin[1][oh]; h < a.end[1][oh]; h += a.step[1]) {
      const int64_t row = (d * a.input_size[1] + h) * a.input_size[2];
      for (int64_t w = a.begin[2][ow]; w < a.end[2][ow]; w += a.step[2]) function(row + w);
    }
}

/// Calls function(batch, position, od, oh, ow) for every output position, rows of outputs in parallel.
template <typename Function>
void for_each_output(const PoolingArguments& a, Function function) {
  const int64_t rows = a.output_size[0] * a.output_size[1];
  const int64_t width = a.output_size[2];
  const int64_t row_elements = width * a.channels + 1;
  const int64_t per_task = row_elements < 8192 ? 8192 / row_elements : 1;
  const int64_t tasks = (a.batch * rows + per_task - 1) / per_task;
  const auto run = [&](int64_t task) {
    const int64_t end = smaller(a.batch * rows, (task + 1) * per_task);
    for (int64_t i = task * per_task; i < end; ++i)
      for (int64_t ow = 0; ow < width; ++ow)
        function(i / rows, i * width + ow, i % rows / a.output_size[1], i % a.output_size[1], ow);
  };
  if (tasks == 1)
    run(0);
  else
    parallel_for(tasks, run);
}

template <typename T>
void max_pool_of(const PoolingArguments& a) {
  const int64_t channels = a.channels;
  for_each_output(a, [&](int64_t batch, int64_t position, int64_t od, int64_t oh, int64_t ow) {
    const T* input = static_cast<const T*>(a.input) + batch * volume(a.input_size) * channels;
    T* best = static_cast<T*>(a.output) + position * channels;
    int64_t* index = a.indices ? a.indices + position * channels : nullptr;
    for (int64_t c = 0; c < channels; ++c) best[c] = lowest<T>();
    bool first = true;
    for_each_tap(a, od, oh, ow, [&](int64_t tap) {
      const T* x = input + tap * channels;
      if (first) {
        for (int64_t c = 0; c < channels; ++c) best[c] = x[c];
        if (index)
          for (int64_t c = 0; c < channels; ++c) index[c] = tap;
        first = false;
      } else if (index) {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) {
          const bool take = (x[c] > best[c]) | (x[c] != x[c]);
          best[c] = take ? x[c] : best[c];
          index[c] = take ? tap : index[c];
        }
      } else {
#pragma GCC ivdep
        for (int64_t c = 0; c < channels; ++c) best[c] = (x[c] > best[c]) | (x[c] != x[c]) ? x[c] : best[c];
      }
    });
    if (first && index)
      for (int64_t c = 0; c < channels; ++c) index[c] = -1;
  });
}

template <typename T>
void average_pool_of(const PoolingArguments& a) {
  const int64_t channels = a.channels;
  for_each_output(a, [&](int64_t batch, int64_t position, int64_t od, int64_t oh, int64_t ow) {
    const T* input = static_cast<const T*>(a.input) + batch * volume(a.input_size) * channels;
    T* output = static_cast<T*>(a.output) + position * channels;
    const double divisor = static_cast<double>(a.divisor[0][od] * a.divisor[1][oh] * a.divisor[2][ow]);
    // Large windows (global pooling) must not lose digits: their sum is held in double.
    double sum[forward_channels];
    for (int64_t begin = 0; begin < channels; begin += forward_channels) {
      const int64_t n = smaller(forward_channels, channels - begin);
      for (int64_t c = 0; c < n; ++c) sum[c] = 0;
      for_each_tap(a, od, oh, ow, [&](int64_t tap) {
        const T* x = input + tap * channels + begin;
#pragma GCC ivdep
        for (int64_t c = 0; c < n; ++c) sum[c] += static_cast<double>(x[c]);
      });
      for (int64_t c = 0; c < n; ++c) output[begin + c] = static_cast<T>(sum[c] / divisor);
    }
  });
}

/// Calls function(output gradient, position within the batch item, od, oh, ow, input gradient, channels) for every
/// output position in order, having cleared the input gradient. Parallel over batch items and blocks of channels alone,
/// so that windows which overlap add up in a fixed order.
template <typename T, typename Function>
void backward(const PoolingArguments& a, Function function) {
  const int64_t channels = a.channels;
  const int64_t blocks = (channels + backward_channels - 1) / backward_channels;
  const int64_t in_volume = volume(a.input_size), out_volume = volume(a.output_size);
  const auto run = [&](int64_t task) {
    const int64_t batch = task / blocks, begin = task % blocks * backward_channels;
    const int64_t n = smaller(backward_channels, channels - begin);
    T* input = static_cast<T*>(a.input) + batch * in_volume * channels + begin;
    for (int64_t i = 0; i < in_volume; ++i) std::memset(input + i * channels, 0, static_cast<size_t>(n) * sizeof(T));
    int64_t position = batch * out_volume;
    for (int64_t od = 0; od < a.output_size[0]; ++od)
      for (int64_t oh = 0; oh < a.output_size[1]; ++oh)
        for (int64_t ow = 0; ow < a.output_size[2]; ++ow, ++position)
          function(static_cast<const T*>(a.output) + position * channels + begin, position * channels + begin, od, oh,
                   ow, input, n);
  };
  const int64_t tasks = a.batch * blocks;
  if (a.batch * (in_volume + out_volume) * channels < 16384)
    for (int64_t task = 0; task < tasks; ++task) run(task);
  else
    parallel_for(tasks, run);
}

template <typename T>
void max_pool_backward_of(const PoolingArguments& a) {
  backward<T>(a, [&](const T* gradient, int64_t at, int64_t, int64_t, int64_t, T* input, int64_t n) {
    const int64_t* index = a.indices + at;
    for (int64_t c = 0; c < n; ++c)
      if (index[c] >= 0) input[index[c] * a.channels + c] += gradient[c];
  });
}

template <typename T>
void average_pool_backward_of(const PoolingArguments& a) {
  backward<T>(a, [&](const T* gradient, int64_t, int64_t od, int64_t oh, int64_t ow, T* input, int64_t n) {
    const T divisor = static_cast<T>(a.divisor[0][od] * a.divisor[1][oh] * a.divisor[2][ow]);
    T share[backward_channels];
    for (int64_t c = 0; c < n; ++c) share[c] = gradient[c] / divisor;
    for_each_tap(a, od, oh, ow, [&](int64_t tap) {
      T* x = input + tap * a.channels;
#pragma GCC ivdep
      for (int64_t c = 0; c < n; ++c) x[c] += share[c];
    });
  });
}

}  // namespace

void max_pool(const PoolingArguments& arguments) {
  if (arguments.dtype == DType::Float32)
    max_pool_of<float>(arguments);
  else if (arguments.dtype == DType::Float64)
    max_pool_of<double>(arguments);
  else
    max_pool_of<int64_t>(arguments);
}

void max_pool_backward(const PoolingArguments& arguments) {
  if (arguments.dtype == DType::Float32)
    max_pool_backward_of<float>(arguments);
  else
    max_pool_backward_of<double>(arguments);
}

void average_pool(const PoolingArguments& arguments) {
  if (arguments.dtype == DType::Float32)
    average_pool_of<float>(arguments);
  else
    average_pool_of<double>(arguments);
}

void average_pool_backward(const PoolingArguments& arguments) {
  if (arguments.dtype == DType::Float32)
    average_pool_backward_of<float>(arguments);
  else
    average_pool_backward_of<double>(arguments);
}

}  // namespace pycnn::cpu::PYCNN_ISA
