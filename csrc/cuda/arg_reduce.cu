// Index of the extreme element along an axis. A block takes some lines and shares the elements of each among threads,
// neighbouring threads taking what is adjacent in memory.
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::ArgReduceArguments;

struct ArgReduce {
  ArgReduceArguments arguments;
  LongDivide by_inner;
  int along;           ///< threads that share a line
  bool axis_adjacent;  ///< neighbouring threads share a line; else they have neighbouring lines
};

/// Whether x at i replaces y at j as the extreme: it lies beyond it or is the first of equals. NaN lies beyond all.
template <typename T>
__device__ bool replaces(bool maximum, T x, int64_t i, T y, int64_t j) {
  if (j < 0 || i < 0) return j < 0;
  const bool x_nan = x != x, y_nan = y != y;
  if (x_nan || y_nan) return x_nan && (!y_nan || i < j);
  return (maximum ? x > y : x < y) || (x == y && i < j);
}

template <typename T>
struct Extreme {
  T value;
  int64_t index;  ///< -1: none yet
};

/// input: (outer, axis, inner), with strides; values, indices: (outer, inner)
template <typename S>
__global__ void __launch_bounds__(block_threads) arg_reduce_lines(const __grid_constant__ ArgReduce reduce) {
  using T = Compute<S>;
  const ArgReduceArguments& a = reduce.arguments;
  const int thread = static_cast<int>(threadIdx.x), along = reduce.along, lines_at_once = block_threads / along;
  const int part = reduce.axis_adjacent ? thread % along : thread / lines_at_once;
  const int own_line = reduce.axis_adjacent ? thread / along : thread % lines_at_once;
  const int64_t line = static_cast<int64_t>(blockIdx.x) * lines_at_once + own_line;
  const int64_t outer = reduce.by_inner.quotient(line), inner = line - outer * a.sizes[2];
  const bool exists = line < a.sizes[0] * a.sizes[2];
  Extreme<T> best{T(0), -1};
  if (exists) {
    const S* const from = static_cast<const S*>(a.input.data) + outer * a.input.strides[0] + inner * a.input.strides[2];
    for (int64_t i = part; i < a.sizes[1]; i += along) {
      const T x = widened(from[i * a.input.strides[1]]);
      if (replaces(a.maximum, x, i, best.value, best.index)) best = {x, i};
    }
  }
  Extreme<T>* const shared = shared_memory<Extreme<T>>();  // (along, lines_at_once)
  Extreme<T>* const own = shared + part * lines_at_once + own_line;
  *own = best;
  for (int distance = along / 2; distance > 0; distance /= 2) {
    __syncthreads();
    if (part < distance) {
      const Extreme<T> other = own[distance * lines_at_once];
      if (replaces(a.maximum, other.value, other.index, own->value, own->index)) *own = other;
    }
  }
  if (part != 0 || !exists) return;
  if (a.values.data != nullptr)
    static_cast<S*>(a.values.data)[outer * a.values.strides[0] + inner * a.values.strides[2]] = narrowed<S>(own->value);
  static_cast<int64_t*>(a.indices.data)[outer * a.indices.strides[0] + inner * a.indices.strides[2]] = own->index;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void arg_reduce(const ArgReduceArguments& a) {
  const int64_t lines = a.sizes[0] * a.sizes[2], axis = a.sizes[1];
  if (lines == 0 || axis == 0) return;
  const bool axis_adjacent = a.sizes[2] == 1 || a.input.strides[1] < a.input.strides[2];
  constexpr int64_t enough_threads = 1 << 17;
  int along = block_threads;
  if (axis_adjacent) {
    along = power_of_two_above(axis, block_threads);
  } else {
    along = block_threads / power_of_two_above(lines, warp_size);
    while (along > 1 && (along / 2 >= axis || lines * along / 2 >= enough_threads)) along /= 2;
  }
  const ArgReduce reduce{a, LongDivide(a.sizes[2]), along, axis_adjacent};
  kernels::with_memory_type(a.input.dtype, [&](auto memory) {
    using S = decltype(memory);
    launch("arg_reduce", arg_reduce_lines<S>,
           {blocks_for(lines, block_threads / along), dim3(block_threads), block_threads * sizeof(Extreme<Compute<S>>)},
           reduce);
  });
}

}  // namespace pycnn::cuda
