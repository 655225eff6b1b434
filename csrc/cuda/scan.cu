// Cumulative combinations along dense lines. A line is shared by a group of threads that takes as many elements at a
// time. Few long lines are cut into tiles: their totals come first, lying where the tiles' results will be, then what
// precedes each tile, then the results.
#include <type_traits>

#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::ScanArguments;
using kernels::ScanKind;

constexpr int64_t tile_elements = int64_t{1} << 14;  ///< the last tile of a line has up to twice as many
constexpr int64_t enough_lines = 128;

__device__ inline double plus(double a, double b) { return a + b; }
__device__ inline double times(double a, double b) { return a * b; }
__device__ inline uint64_t plus(uint64_t a, uint64_t b) { return a + b; }
__device__ inline uint64_t times(uint64_t a, uint64_t b) { return a * b; }

__device__ inline double log_add_exp(double a, double b) {
  if (a != a || b != b) return a + b;
  const double high = a > b ? a : b, low = a > b ? b : a;
  return high == low && high - low != 0 ? high : high + ::log1p(::exp(low - high));
}

/// What sums and products are held in: double, or integers that wrap around.
template <typename T>
struct WideOf {
  using Type = double;
};
template <>
struct WideOf<int64_t> {
  using Type = uint64_t;
};

template <typename T, ScanKind Kind>
struct Scan {
  using State = std::conditional_t<Kind == ScanKind::LogSumExp, double, typename WideOf<T>::Type>;
  using Output = T;
  static __device__ Output* output(const ScanArguments& a) { return static_cast<T*>(a.values); }
  static __device__ State load(const T* line, int64_t i) { return static_cast<State>(line[i]); }
  static __device__ State combine(const ScanArguments&, State a, State b) {
    if constexpr (Kind == ScanKind::Sum)
      return plus(a, b);
    else if constexpr (Kind == ScanKind::Product)
      return times(a, b);
    else
      return log_add_exp(a, b);
  }
  static __device__ State from_lane(State state, int lane) { return __shfl_sync(~0U, state, lane); }
  static __device__ Output result(State state) { return static_cast<T>(state); }
  static __device__ uint64_t packed(State state) { return __builtin_bit_cast(uint64_t, state); }
  static __device__ State unpacked(const T*, uint64_t bits) { return __builtin_bit_cast(State, bits); }
};

/// Maximum and Minimum alike: the place of the extreme so far, the last of equals; NaN wins.
template <typename T>
struct Scan<T, ScanKind::Maximum> {
  struct State {
    T value;
    int64_t index;
  };
  using Output = int64_t;
  static __device__ Output* output(const ScanArguments& a) { return a.indices; }
  static __device__ State load(const T* line, int64_t i) { return {line[i], i}; }
  static __device__ State combine(const ScanArguments& a, State first, State second) {
    const bool maximum = a.kind == ScanKind::Maximum;
    const bool first_is_nan = first.value != first.value, second_is_nan = second.value != second.value;
    const bool beyond = maximum ? second.value >= first.value : second.value <= first.value;
    return second_is_nan || (!first_is_nan && beyond) ? second : first;
  }
  static __device__ State from_lane(State state, int lane) {
    return {__shfl_sync(~0U, state.value, lane), __shfl_sync(~0U, state.index, lane)};
  }
  static __device__ Output result(State state) { return state.index; }
  static __device__ uint64_t packed(State state) { return static_cast<uint64_t>(state.index); }
  static __device__ State unpacked(const T* line, uint64_t bits) {
    const auto index = static_cast<int64_t>(bits);
    return {line[index], index};
  }
};

/// 64 bits where a tile's first results will be: floats have room for half of them.
template <typename Output>
__device__ inline void store_bits(Output* to, uint64_t bits) {
  auto* const words = reinterpret_cast<uint32_t*>(to);
  words[0] = static_cast<uint32_t>(bits);
  words[1] = static_cast<uint32_t>(bits >> 32);
}
template <typename Output>
__device__ inline uint64_t load_bits(const Output* from) {
  const auto* const words = reinterpret_cast<const uint32_t*>(from);
  return words[0] | static_cast<uint64_t>(words[1]) << 32;
}

/// What comes before an element, if anything does.
template <typename Policy>
struct Before {
  typename Policy::State state{};
  bool exists = false;

  __device__ void append(const ScanArguments& a, typename Policy::State next) {
    state = exists ? Policy::combine(a, state, next) : next;
    exists = true;
  }
};

/// Takes elements [begin, end) of a line in rounds of `group` and calls store(i, what precedes it, the total with it)
/// for each; `carry` is what precedes them, and in the end the total. All threads of a block come here together; those
/// whose line does not exist have no elements.
template <typename Policy, typename Load, typename Store>
__device__ void scan_range(const ScanArguments& a, int group, bool line_exists, int64_t begin, int64_t end,
                           Before<Policy>& carry, const Load& load, const Store& store) {
  using State = typename Policy::State;
  State* const shared = shared_memory<State>();  // (warps)
  const int own = static_cast<int>(threadIdx.x) % group, warp_lane = static_cast<int>(threadIdx.x) % warp_size;
  const int lanes = group < warp_size ? group : warp_size, warps = group / warp_size;
  const int lane = own % lanes, warp = own / warp_size;
  for (int64_t first = begin; first < end; first += group) {
    const int64_t i = first + own;
    const bool has = line_exists && i < end;  // those without an element come last
    State total{};
    if (has) total = load(i);
    for (int distance = 1; distance < lanes; distance *= 2) {
      const State other = Policy::from_lane(total, warp_lane - distance);
      if (lane >= distance) total = Policy::combine(a, other, total);
    }
    Before<Policy> before = carry;
    if (warps > 1) {
      if (lane == warp_size - 1) shared[warp] = total;
      __syncthreads();
      for (int other = 0; other < warps; ++other) {
        if (other < warp) before.append(a, shared[other]);
        carry.append(a, shared[other]);
      }
      __syncthreads();
    } else {
      carry.append(a, Policy::from_lane(total, warp_lane - lane + lanes - 1));
    }
    const State previous = Policy::from_lane(total, warp_lane - 1);
    Before<Policy> with = before;
    with.append(a, total);
    if (lane > 0) before.append(a, previous);
    if (has) store(i, before, with.state);
  }
}

/// input, outputs: (lines, count)
template <typename T, ScanKind Kind>
__global__ void __launch_bounds__(block_threads) scan_lines(const __grid_constant__ ScanArguments a, int group) {
  using Policy = Scan<T, Kind>;
  const int64_t line = thread_number() / group;
  const T* const from = static_cast<const T*>(a.input) + line * a.count;
  auto* const to = Policy::output(a) + line * a.count;
  Before<Policy> carry;
  scan_range<Policy>(
      a, group, line < a.lines, 0, a.count, carry, [&](int64_t i) { return Policy::load(from, i); },
      [&](int64_t i, const Before<Policy>&, typename Policy::State total) { to[i] = Policy::result(total); });
}

enum class TilePhase : uint8_t { Totals, Prefixes, Results };

/// One phase for lines in tiles: blocks are (tile of line), or lines for Prefixes.
/// input, outputs: (lines, count)
template <typename T, ScanKind Kind>
__global__ void __launch_bounds__(block_threads)
    scan_tiles(const __grid_constant__ ScanArguments a, TilePhase phase, int64_t tiles) {
  using Policy = Scan<T, Kind>;
  using State = typename Policy::State;
  const int64_t line = phase == TilePhase::Prefixes ? blockIdx.x : blockIdx.x / tiles, tile = blockIdx.x % tiles;
  const T* const from = static_cast<const T*>(a.input) + line * a.count;
  auto* const to = Policy::output(a) + line * a.count;
  const auto load = [&](int64_t i) { return Policy::load(from, i); };
  const auto total_of = [&](int64_t of) { return Policy::unpacked(from, load_bits(to + of * tile_elements)); };
  const int64_t begin = tile * tile_elements, end = tile == tiles - 1 ? a.count : begin + tile_elements;
  Before<Policy> carry;
  if (phase == TilePhase::Totals) {
    if (tile == tiles - 1) return;  // nobody needs it
    scan_range<Policy>(a, block_threads, true, begin, end, carry, load, [](int64_t, const Before<Policy>&, State) {});
    if (threadIdx.x == 0) store_bits(to + begin, Policy::packed(carry.state));
  } else if (phase == TilePhase::Prefixes) {
    // The last tile has no total: that of its slot is not used.
    scan_range<Policy>(
        a, block_threads, true, 0, tiles, carry,
        [&](int64_t i) { return i < tiles - 1 ? total_of(i) : Policy::load(from, 0); },
        [&](int64_t i, const Before<Policy>& before, State) {
          if (before.exists) store_bits(to + i * tile_elements, Policy::packed(before.state));
        });
  } else {
    if (tile > 0) {
      carry = {total_of(tile), true};
      __syncthreads();  // all have read what will be overwritten
    }
    scan_range<Policy>(a, block_threads, true, begin, end, carry, load,
                       [&](int64_t i, const Before<Policy>&, State total) { to[i] = Policy::result(total); });
  }
}

template <typename T, ScanKind Kind>
void launch_scan(const ScanArguments& a) {
  const size_t shared_bytes = block_threads / warp_size * sizeof(typename Scan<T, Kind>::State);
  if (a.lines < enough_lines && a.count >= 2 * tile_elements) {
    const int64_t tiles = a.count / tile_elements;
    for (const TilePhase phase : {TilePhase::Totals, TilePhase::Prefixes, TilePhase::Results}) {
      const int64_t blocks = phase == TilePhase::Prefixes ? a.lines : a.lines * tiles;
      launch("scan", scan_tiles<T, Kind>, {blocks_for(blocks, 1), dim3(block_threads), shared_bytes}, a, phase, tiles);
    }
  } else {
    const int group = a.count > 4 * warp_size ? block_threads : power_of_two_above(a.count, warp_size);
    launch("scan", scan_lines<T, Kind>, {blocks_for(a.lines, block_threads / group), dim3(block_threads), shared_bytes},
           a, group);
  }
}

template <typename T>
void scan_elements(const ScanArguments& a) {
  switch (a.kind) {
    case ScanKind::Sum:
      return launch_scan<T, ScanKind::Sum>(a);
    case ScanKind::Product:
      return launch_scan<T, ScanKind::Product>(a);
    case ScanKind::LogSumExp:
      return launch_scan<T, ScanKind::LogSumExp>(a);
    default:
      return launch_scan<T, ScanKind::Maximum>(a);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void scan(const ScanArguments& a) {
  if (a.lines * a.count == 0) return;
  if (a.dtype == DType::Float32)
    scan_elements<float>(a);
  else if (a.dtype == DType::Float64)
    scan_elements<double>(a);
  else
    scan_elements<int64_t>(a);
}

}  // namespace pycnn::cuda
