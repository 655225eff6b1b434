// Weighted sums of a few elements of a table for each of many points, and what is transposed to that: sampling images.
// Channels lie innermost; threads run over them.
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"
#include "cuda/ordered_scatter.h"

namespace pycnn::cuda {
namespace {

using kernels::SampleArguments;

/// weights, index: (batch, taps, points); table: (batch, elements, channels); values: (batch, points, channels)
template <typename T, int V>
__global__ void __launch_bounds__(block_threads)
    sample_points(const __grid_constant__ SampleArguments a, const __grid_constant__ RowGroups<V> values) {
  const int64_t number = thread_number();
  if (number >= values.count) return;
  const auto [batch, point, channel, at] = values.place(number);
  const T* const table = static_cast<const T*>(a.table) + batch * a.elements * a.channels + channel;
  Several<T, V> sum{};
  for (int64_t tap = 0; tap < a.taps; ++tap) {
    const int64_t place = (batch * a.taps + tap) * a.points + point, element = a.index[place];
    const T weight = static_cast<const T*>(a.weights)[place];
    Several<T, V> from{};
    if (element >= 0) from = load_several<V>(table + element * a.channels);
#pragma unroll
    for (int v = 0; v < V; ++v) sum.element[v] += from.element[v] * weight;
  }
  store_several<V>(static_cast<T*>(a.values) + at * a.channels + channel, sum);
}

/// A group of lanes has a point. Shapes as above.
template <typename T, int V>
__global__ void __launch_bounds__(block_threads)
    sample_weights_of_points(const __grid_constant__ SampleArguments a, int group) {
  const int64_t at = thread_number() / group;
  const int lane = static_cast<int>(threadIdx.x) % group;
  const bool exists = at < a.batch * a.points;
  const int64_t batch = exists ? at / a.points : 0, point = at - batch * a.points;
  const T* const values = static_cast<const T*>(a.values) + at * a.channels;
  for (int64_t tap = 0; tap < a.taps; ++tap) {
    const int64_t place = (batch * a.taps + tap) * a.points + point, element = exists ? a.index[place] : -1;
    T sum = 0;
    if (element >= 0) {
      const T* const table = static_cast<const T*>(a.table) + (batch * a.elements + element) * a.channels;
      for (int64_t c = lane * V; c < a.channels; c += group * V) {
        const Several<T, V> x = load_several<V>(values + c), y = load_several<V>(table + c);
#pragma unroll
        for (int v = 0; v < V; ++v) sum += x.element[v] * y.element[v];
      }
    }
    sum = combine_lanes(sum, group, Plus{});
    if (exists && lane == 0) static_cast<T*>(a.weights)[place] = sum;
  }
}

/// See ordered_scatter.h: points in order, their taps in order.
template <typename T>
struct SpreadSource {
  using Element = T;
  static constexpr bool starts_empty = true;

  SampleArguments a;
  LongDivide by_taps;
  int64_t lines, count, width, table_size;

  explicit SpreadSource(const SampleArguments& arguments)
      : a(arguments),
        by_taps(a.taps),
        lines(a.batch),
        count(a.points * a.taps),
        width(a.channels),
        table_size(a.elements) {}

  struct Line {
    const SpreadSource& source;
    int64_t batch;

    __device__ int64_t place(int64_t i, int64_t& point) const {
      point = source.by_taps.quotient(i);
      return (batch * source.a.taps + i - point * source.a.taps) * source.a.points + point;
    }
    __device__ int64_t index(int64_t i) const {
      int64_t point;
      return source.a.index[place(i, point)];
    }
    __device__ T value(int64_t i, int64_t column) const {
      int64_t point;
      const T weight = static_cast<const T*>(source.a.weights)[place(i, point)];
      return static_cast<const T*>(source.a.values)[(batch * source.a.points + point) * source.width + column] * weight;
    }
    __device__ T* entry(int64_t element, int64_t column) const {
      return static_cast<T*>(source.a.table) + (batch * source.table_size + element) * source.width + column;
    }
  };

  __device__ Line line(int64_t number) const { return {*this, number}; }
  __device__ void combine(T& entry, T value) const { entry += value; }
};

template <typename T, int V>
void launch_sample(const SampleArguments& a) {
  const RowGroups<V> values(a.batch, a.points, a.channels);
  launch("sample", sample_points<T, V>, {blocks_for(values.count), dim3(block_threads)}, a, values);
}

template <typename T, int V>
void launch_weights(const SampleArguments& a) {
  const int group = power_of_two_above(a.channels / V, warp_size);
  launch("sample_weights", sample_weights_of_points<T, V>,
         {blocks_for(a.batch * a.points, block_threads / group), dim3(block_threads)}, a, group);
}

/// Calls function(T{}, V as a constant).
template <typename Function>
void with_elements(const SampleArguments& a, const Function& function) {
  const auto with = [&](auto element) {
    with_most_at_once<decltype(element)>([&](auto lanes) { function(element, lanes); }, a.channels, a.table, a.values);
  };
  a.dtype == DType::Float64 ? with(double{}) : with(float{});
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void sample(const SampleArguments& a) {
  with_elements(a, [&](auto element, auto lanes) { launch_sample<decltype(element), lanes()>(a); });
}

void sample_weights(const SampleArguments& a) {
  with_elements(a, [&](auto element, auto lanes) { launch_weights<decltype(element), lanes()>(a); });
}

void sample_spread(const SampleArguments& a) {
  if (a.dtype == DType::Float64)
    ordered_scatter("sample_spread", SpreadSource<double>(a), false);
  else
    ordered_scatter("sample_spread", SpreadSource<float>(a), false);
}

}  // namespace pycnn::cuda
