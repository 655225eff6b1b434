// Weighted sums of a few elements of a table for each of many points, and what is transposed to that: sampling images.
// Channels lie innermost; threads run over them.
#include <type_traits>

#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"
#include "cuda/ordered_scatter.h"

namespace pycnn::cuda {
namespace {

using kernels::SampleArguments;

/// weights, index: (batch, taps, points); table: (batch, elements, channels); values: (batch, points, channels),
/// `count` groups of V
template <typename T, int V>
__global__ void __launch_bounds__(block_threads)
    sample_points(const __grid_constant__ SampleArguments a, const __grid_constant__ FastDivide by_groups,
                  const __grid_constant__ FastDivide by_points, int64_t count) {
  const int64_t number = thread_number();
  if (number >= count) return;
  const int64_t at = by_groups.divide(number), channel = (number - at * by_groups.divisor) * V;
  const int64_t batch = by_points.divide(at), point = at - batch * a.points;
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
  FastDivide by_taps;
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
      point = source.by_taps.divide(i);
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
  const int64_t groups = a.channels / V, count = a.batch * a.points * groups;
  if (count > 0)
    launch("sample", sample_points<T, V>, {blocks_for(count), dim3(block_threads)}, a, FastDivide(groups),
           FastDivide(a.points), count);
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
    using T = decltype(element);
    if (moves_whole<T>(a.channels, a.table, a.values))
      function(element, std::integral_constant<int, most_at_once<T>>{});
    else
      function(element, std::integral_constant<int, 1>{});
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
