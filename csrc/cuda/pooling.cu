// Pooling over channels-last tensors: a thread has some neighbouring channels of a pixel. Backward passes gather: each
// element of the input adds up the windows that see it, in the order of the outputs, and is rounded once.
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::PoolingArguments;

/// The arguments, and how a thread's number becomes a place of the tensor that is written: `lanes` channels of a pixel.
struct Pooling {
  PoolingArguments arguments;
  LongDivide by_groups, by_depth, by_height, by_width;
  int64_t count;  ///< of threads

  Pooling(const PoolingArguments& a, const int64_t (&size)[3], int lanes)
      : arguments(a),
        by_groups(a.channels / lanes),
        by_depth(size[0]),
        by_height(size[1]),
        by_width(size[2]),
        count(a.batch * size[0] * size[1] * size[2] * (a.channels / lanes)) {}
};

struct Pixel {
  int64_t batch, at[3], channel;
  int64_t number;  ///< within the whole tensor
};

__device__ inline Pixel pixel_of(const Pooling& pooling, int64_t thread, int lanes) {
  Pixel pixel;
  pixel.number = pooling.by_groups.quotient(thread);
  pixel.channel = (thread - pixel.number * pooling.by_groups.divisor()) * lanes;
  const int64_t row = pooling.by_width.quotient(pixel.number);
  pixel.at[2] = pixel.number - row * pooling.by_width.divisor();
  const int64_t plane = pooling.by_height.quotient(row);
  pixel.at[1] = row - plane * pooling.by_height.divisor();
  pixel.batch = pooling.by_depth.quotient(plane);
  pixel.at[0] = plane - pixel.batch * pooling.by_depth.divisor();
  return pixel;
}

/// Where the output's item begins, at its channel.
template <typename S>
__device__ inline const S* input_item(const PoolingArguments& a, const Pixel& output) {
  const int64_t volume = a.input_size[0] * a.input_size[1] * a.input_size[2];
  return static_cast<const S*>(a.input) + output.batch * volume * a.channels + output.channel;
}

/// What a maximum notes of its place: nothing, a tap's number in its window, or an index within D×H×W.
struct NoPlace {};
template <typename M>
inline constexpr bool has_place = true;
template <>
inline constexpr bool has_place<NoPlace> = false;
template <typename M>
inline constexpr bool is_index = sizeof(M) == sizeof(int64_t);

template <typename M>
__device__ M* places_of(const PoolingArguments& a) {
  if constexpr (is_index<M>)
    return a.indices;
  else
    return a.offsets;
}

/// Calls function(pixel of the input within D×H×W, tap's number) for an output's taps in row-major order.
template <typename Function>
__device__ inline void for_each_tap(const PoolingArguments& a, const Pixel& output, const Function& function) {
  // Positions along one dimension fit in an int.
  const int begin = static_cast<int>(a.begin[2][output.at[2]]), end = static_cast<int>(a.end[2][output.at[2]]);
  const int first_row = static_cast<int>(a.begin[1][output.at[1]]), row_end = static_cast<int>(a.end[1][output.at[1]]);
  const int plane_end = static_cast<int>(a.end[0][output.at[0]]);
  const int steps[3] = {static_cast<int>(a.step[0]), static_cast<int>(a.step[1]), static_cast<int>(a.step[2])};
  int plane = 0;
#pragma unroll 1
  for (int d = static_cast<int>(a.begin[0][output.at[0]]); d < plane_end; d += steps[0], ++plane) {
    int row = plane * static_cast<int>(a.taps[1]);
#pragma unroll 1
    for (int h = first_row; h < row_end; h += steps[1], ++row) {
      const int64_t line = (d * a.input_size[1] + h) * a.input_size[2];
      int tap = row * static_cast<int>(a.taps[2]);
#pragma unroll 2
      for (int w = begin; w < end; w += steps[2], ++tap) function(line + w, tap);
    }
  }
}

template <typename T>
__device__ T lowest() {
  return static_cast<T>(-INFINITY);
}
template <>
__device__ inline int64_t lowest<int64_t>() {
  return INT64_MIN;
}

/// input: (batch, D, H, W, C); output, places: likewise
template <typename S, int V, typename M>
__global__ void __launch_bounds__(block_threads, 4) max_pool_pixels(const __grid_constant__ Pooling pooling) {
  using T = Compute<S>;
  const PoolingArguments& a = pooling.arguments;
  const int64_t thread = thread_number();
  if (thread >= pooling.count) return;
  const Pixel output = pixel_of(pooling, thread, V);
  const S* const from = input_item<S>(a, output);
  T best[V];
  int place[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    best[v] = lowest<T>();
    place[v] = -1;
  }
  for_each_tap(a, output, [&](int64_t pixel, int tap) {
    const Several<S, V> x = load_several<V>(from + pixel * a.channels);
    const int here = is_index<M> ? static_cast<int>(pixel) : tap;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T value = widened(x.element[v]);
      const bool more = value > best[v] || value != value;
      best[v] = more ? value : best[v];
      if (more || place[v] < 0) place[v] = here;
    }
  });
  const int64_t to = output.number * a.channels + output.channel;
  Several<S, V> result;
#pragma unroll
  for (int v = 0; v < V; ++v) result.element[v] = narrowed<S>(best[v]);
  store_several<V>(static_cast<S*>(a.output) + to, result);
  if constexpr (has_place<M>) {
    Several<M, V> places;
#pragma unroll
    for (int v = 0; v < V; ++v) places.element[v] = static_cast<M>(place[v]);  // -1 is no_tap
    store_several<V>(places_of<M>(a) + to, places);
  }
}
static_assert(static_cast<uint8_t>(-1) == kernels::no_tap);

/// input: (batch, D, H, W, C); output, places: likewise
template <typename S, int V, typename M>
__global__ void __launch_bounds__(block_threads, 4) gather_maxima(const __grid_constant__ Pooling pooling) {
  const PoolingArguments& a = pooling.arguments;
  const int64_t thread = thread_number();
  if (thread >= pooling.count) return;
  const Pixel output = pixel_of(pooling, thread, V);
  const S* const from = input_item<S>(a, output);
  const int64_t to = output.number * a.channels + output.channel;
  const Several<M, V> places = load_several<V>(places_of<M>(a) + to);
  Several<S, V> result{};
  for_each_tap(a, output, [&](int64_t pixel, int tap) {
    const int64_t here = is_index<M> ? pixel : tap;
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (static_cast<int64_t>(places.element[v]) == here) result.element[v] = from[pixel * a.channels + v];
  });
  store_several<V>(static_cast<S*>(a.output) + to, result);
}

// -- averages ---------------------------------------------------------------------------------------------------------

template <typename S, int V>
__device__ void store_averages(const PoolingArguments& a, const Pixel& output, const double (&sums)[V]) {
  const auto divisor =
      static_cast<double>(a.divisor[0][output.at[0]] * a.divisor[1][output.at[1]] * a.divisor[2][output.at[2]]);
  // float64 has no digits to spare for the rounding of a factor.
  const double factor = 1 / divisor;
  Several<S, V> result;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const double average = sizeof(S) == 8 ? sums[v] / divisor : sums[v] * factor;
    result.element[v] = narrowed<S>(static_cast<Compute<S>>(average));
  }
  store_several<V>(static_cast<S*>(a.output) + output.number * a.channels + output.channel, result);
}

template <typename S, int V>
__device__ inline void add_pixel(double (&sums)[V], const S* from) {
  const Several<S, V> x = load_several<V>(from);
#pragma unroll
  for (int v = 0; v < V; ++v) sums[v] += static_cast<double>(widened(x.element[v]));
}

/// Sums are held in double: large windows must not lose digits.
/// input: (batch, D, H, W, C); output: likewise
template <typename S, int V>
__global__ void __launch_bounds__(block_threads, 4) average_pixels(const __grid_constant__ Pooling pooling) {
  const PoolingArguments& a = pooling.arguments;
  const int64_t thread = thread_number();
  if (thread >= pooling.count) return;
  const Pixel output = pixel_of(pooling, thread, V);
  const S* const from = input_item<S>(a, output);
  double sums[V] = {};
  for_each_tap(a, output, [&](int64_t pixel, int) { add_pixel(sums, from + pixel * a.channels); });
  store_averages<S>(a, output, sums);
}

/// Few outputs with large windows (global pooling): the warps of a block share the taps of 32 groups.
constexpr int sharing_warps = block_threads / warp_size;
constexpr int64_t least_shared_taps = 32, most_shared_groups = int64_t{1} << 16;

template <typename S, int V>
__global__ void __launch_bounds__(block_threads, 4) average_large_windows(const __grid_constant__ Pooling pooling) {
  const PoolingArguments& a = pooling.arguments;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, part = static_cast<int>(threadIdx.x) / warp_size;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  double* const shared = shared_memory<double>();  // (warps, V, 32)
  Pixel output{};
  double sums[V] = {};
  if (thread < pooling.count) {
    output = pixel_of(pooling, thread, V);
    const S* const from = input_item<S>(a, output);
    int64_t first[3], taps[3];
    for (int d = 0; d < 3; ++d) {
      first[d] = a.begin[d][output.at[d]];
      const int64_t extent = a.end[d][output.at[d]] - first[d];
      taps[d] = extent > 0 ? (extent + a.step[d] - 1) / a.step[d] : 0;
    }
    for (int64_t tap = part; tap < taps[0] * taps[1] * taps[2]; tap += sharing_warps) {
      const int64_t row = tap / taps[2], plane = row / taps[1];
      const int64_t d = first[0] + plane * a.step[0], h = first[1] + (row - plane * taps[1]) * a.step[1];
      const int64_t w = first[2] + (tap - row * taps[2]) * a.step[2];
      add_pixel(sums, from + ((d * a.input_size[1] + h) * a.input_size[2] + w) * a.channels);
    }
  }
  for (int v = 0; v < V; ++v) shared[(part * V + v) * warp_size + lane] = sums[v];
  __syncthreads();
  if (part != 0 || thread >= pooling.count) return;
  for (int v = 0; v < V; ++v)
    for (int other = 1; other < sharing_warps; ++other) sums[v] += shared[(other * V + v) * warp_size + lane];
  store_averages<S>(a, output, sums);
}

// -- backward ---------------------------------------------------------------------------------------------------------

/// The number of the tap that the input at `at` is in output o's window, or -1.
__device__ inline int tap_of(const PoolingArguments& a, int d, int at, int o) {
  const int distance = at - static_cast<int>(a.begin[d][o]), step = static_cast<int>(a.step[d]);
  if (distance < 0 || at >= static_cast<int>(a.end[d][o])) return -1;
  if (step == 1) return distance;
  const int tap = distance / step;
  return distance == tap * step ? tap : -1;
}

/// Calls function(pixel of the output within the tensor, its place, tap's number) for the windows that see an input.
template <typename Function>
__device__ inline void for_each_window(const PoolingArguments& a, const Pixel& input, const Function& function) {
  const int begin = static_cast<int>(a.seen_begin[2][input.at[2]]), end = static_cast<int>(a.seen_end[2][input.at[2]]);
  const int first_row = static_cast<int>(a.seen_begin[1][input.at[1]]);
  const int row_end = static_cast<int>(a.seen_end[1][input.at[1]]);
  const int plane_end = static_cast<int>(a.seen_end[0][input.at[0]]);
  int at[3];
#pragma unroll 1
  for (at[0] = static_cast<int>(a.seen_begin[0][input.at[0]]); at[0] < plane_end; ++at[0]) {
    const int plane = tap_of(a, 0, static_cast<int>(input.at[0]), at[0]);
    if (plane < 0) continue;
#pragma unroll 1
    for (at[1] = first_row; at[1] < row_end; ++at[1]) {
      const int row = tap_of(a, 1, static_cast<int>(input.at[1]), at[1]);
      if (row < 0) continue;
      const int tap = (plane * static_cast<int>(a.taps[1]) + row) * static_cast<int>(a.taps[2]);
      const int64_t line = ((input.batch * a.output_size[0] + at[0]) * a.output_size[1] + at[1]) * a.output_size[2];
#pragma unroll 1
      for (at[2] = begin; at[2] < end; ++at[2]) {
        const int column = tap_of(a, 2, static_cast<int>(input.at[2]), at[2]);
        if (column >= 0) function(line + at[2], at, tap + column);
      }
    }
  }
}

template <typename S, int V>
__device__ inline void store_sums(const PoolingArguments& a, const Pixel& input, const Compute<S> (&sums)[V]) {
  Several<S, V> result;
#pragma unroll
  for (int v = 0; v < V; ++v) result.element[v] = narrowed<S>(sums[v]);
  store_several<V>(static_cast<S*>(a.input) + input.number * a.channels + input.channel, result);
}

/// output (its gradient), places: (batch, D, H, W, C); input (its gradient): likewise
template <typename S, int V, typename M>
__global__ void __launch_bounds__(block_threads, 4) max_pool_gradients(const __grid_constant__ Pooling pooling) {
  const PoolingArguments& a = pooling.arguments;
  const int64_t thread = thread_number();
  if (thread >= pooling.count) return;
  const Pixel input = pixel_of(pooling, thread, V);
  const int64_t index = (input.at[0] * a.input_size[1] + input.at[1]) * a.input_size[2] + input.at[2];
  Compute<S> sums[V] = {};
  for_each_window(a, input, [&](int64_t pixel, const int(&)[3], int tap) {
    const int64_t from = pixel * a.channels + input.channel;
    const Several<M, V> places = load_several<V>(places_of<M>(a) + from);
    const Several<S, V> gradient = load_several<V>(static_cast<const S*>(a.output) + from);
    const int64_t here = is_index<M> ? index : tap;
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (static_cast<int64_t>(places.element[v]) == here) sums[v] += widened(gradient.element[v]);
  });
  store_sums<S>(a, input, sums);
}

/// output (its gradient): (batch, D, H, W, C); input (its gradient): likewise
template <typename S, int V>
__global__ void __launch_bounds__(block_threads, 4) average_gradients(const __grid_constant__ Pooling pooling) {
  using T = Compute<S>;
  const PoolingArguments& a = pooling.arguments;
  const int64_t thread = thread_number();
  if (thread >= pooling.count) return;
  const Pixel input = pixel_of(pooling, thread, V);
  T sums[V] = {};
  for_each_window(a, input, [&](int64_t pixel, const int(&at)[3], int) {
    const Several<S, V> gradient =
        load_several<V>(static_cast<const S*>(a.output) + pixel * a.channels + input.channel);
    const T share = T(1) / static_cast<T>(a.divisor[0][at[0]] * a.divisor[1][at[1]] * a.divisor[2][at[2]]);
#pragma unroll
    for (int v = 0; v < V; ++v) sums[v] += widened(gradient.element[v]) * share;
  });
  store_sums<S>(a, input, sums);
}

// -- launching --------------------------------------------------------------------------------------------------------

/// One thread for `lanes` channels of each pixel of a tensor of this size.
void launch_pooling(const char* name, void (*kernel)(Pooling), const PoolingArguments& a, const int64_t (&size)[3],
                    int lanes) {
  const Pooling pooling(a, size, lanes);
  launch(name, kernel, {blocks_for(pooling.count), dim3(block_threads)}, pooling);
}

/// Calls function(S{}, V as a constant) with the elements of memory and how many of them go at once.
template <typename Function>
void with_elements(const PoolingArguments& a, const Function& function) {
  const auto with = [&](auto element) {
    // Places go at once as well: most_at_once of the elements are whole words if they are aligned.
    with_most_at_once<decltype(element)>([&](auto lanes) { function(element, lanes); }, a.channels, a.input, a.output,
                                         a.indices, a.offsets);
  };
  if (a.dtype == DType::BFloat16)
    with(BFloat16{});
  else if (a.dtype == DType::Float32)
    with(float{});
  else
    with(double{});
}

template <typename S, int V>
void launch_max_pool(const PoolingArguments& a) {
  const auto kernel = a.indices   ? max_pool_pixels<S, V, int64_t>
                      : a.offsets ? max_pool_pixels<S, V, uint8_t>
                                  : max_pool_pixels<S, V, NoPlace>;
  launch_pooling("max_pool", kernel, a, a.output_size, V);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void max_pool(const PoolingArguments& a) {
  if (a.dtype == DType::Int64) {
    launch_max_pool<int64_t, 1>(a);
    return;
  }
  with_elements(a, [&](auto element, auto lanes) { launch_max_pool<decltype(element), lanes()>(a); });
}

void max_pool_gather(const PoolingArguments& a) {
  with_elements(a, [&](auto element, auto lanes) {
    using S = decltype(element);
    launch_pooling("max_pool_gather",
                   a.indices ? gather_maxima<S, lanes(), int64_t> : gather_maxima<S, lanes(), uint8_t>, a,
                   a.output_size, lanes());
  });
}

void max_pool_backward(const PoolingArguments& a) {
  with_elements(a, [&](auto element, auto lanes) {
    using S = decltype(element);
    launch_pooling("max_pool_backward",
                   a.indices ? max_pool_gradients<S, lanes(), int64_t> : max_pool_gradients<S, lanes(), uint8_t>, a,
                   a.input_size, lanes());
  });
}

void average_pool(const PoolingArguments& a) {
  with_elements(a, [&](auto element, auto lanes) {
    using S = decltype(element);
    constexpr int V = lanes();
    const Pooling pooling(a, a.output_size, V);
    if (a.taps[0] * a.taps[1] * a.taps[2] < least_shared_taps || pooling.count > most_shared_groups)
      launch_pooling("average_pool", average_pixels<S, V>, a, a.output_size, V);
    else
      launch("average_pool", average_large_windows<S, V>,
             {blocks_for(pooling.count, warp_size), dim3(block_threads), block_threads * V * sizeof(double)}, pooling);
  });
}

void average_pool_backward(const PoolingArguments& a) {
  with_elements(a, [&](auto element, auto lanes) {
    launch_pooling("average_pool_backward", average_gradients<decltype(element), lanes()>, a, a.input_size, lanes());
  });
}

}  // namespace pycnn::cuda
