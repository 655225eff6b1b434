// What neighbouring threads do together, and neighbouring elements that one thread moves at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/index_divide.h"
#include "cuda/launch.h"
#include "kernels/convert.h"

namespace pycnn::cuda {

inline constexpr int block_threads = 256;

/// Enough blocks for so many pieces of work.
inline dim3 blocks_for(int64_t work, int64_t at_once = block_threads) {
  return dim3(static_cast<unsigned>(divide_up(work, at_once)));
}

/// The smallest power of two that is not below n, but `most` at most.
inline int power_of_two_above(int64_t n, int most) {
  int power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}

__device__ inline int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// -- elements side by side --------------------------------------------------------------------------------------------

constexpr size_t most_bytes_at_once = 16;

/// V elements, moved at once.
template <typename T, int V>
struct alignas(V * sizeof(T) < most_bytes_at_once ? V * sizeof(T) : most_bytes_at_once) Several {
  T element[V];
};

template <int V, typename T>
__device__ inline Several<T, V> load_several(const T* from) {
  return *reinterpret_cast<const Several<T, V>*>(from);
}
template <int V, typename T>
__device__ inline void store_several(T* to, const Several<T, V>& from) {
  *reinterpret_cast<Several<T, V>*>(to) = from;
}

template <typename T>
inline constexpr int most_at_once = static_cast<int>(most_bytes_at_once / sizeof(T));

/// Whether rows of so many elements of T can be moved most_at_once<T> at a time: so do all that are given.
template <typename T, typename... Pointers>
bool moves_whole(int64_t elements_of_row, Pointers... pointers) {
  return elements_of_row % most_at_once<T> == 0 &&
         ((reinterpret_cast<uintptr_t>(pointers) % most_bytes_at_once == 0) && ...);
}

/// Calls function(how many elements of T go at once, as a constant): most_at_once<T> if rows move so, else 1.
template <typename T, typename Function, typename... Pointers>
void with_most_at_once(const Function& function, int64_t elements_of_row, Pointers... pointers) {
  if (moves_whole<T>(elements_of_row, pointers...))
    function(std::integral_constant<int, most_at_once<T>>{});
  else
    function(std::integral_constant<int, 1>{});
}

/// The elements of (outer, rows, columns), V neighbouring columns to a thread.
template <int V>
struct RowGroups {
  LongDivide by_groups, by_rows;
  int64_t count;

  RowGroups(int64_t outer, int64_t rows, int64_t columns)
      : by_groups(columns / V), by_rows(rows), count(outer * rows * (columns / V)) {}

  struct Place {
    int64_t outer, row, column;  ///< the first of V columns
    int64_t row_of_all;          ///< outer · rows + row
  };
  __device__ Place place(int64_t number) const {
    const int64_t row_of_all = by_groups.quotient(number), outer = by_rows.quotient(row_of_all);
    return {outer, row_of_all - outer * by_rows.divisor(), (number - row_of_all * by_groups.divisor()) * V, row_of_all};
  }
};

/// The type that an element is computed in: integers and bool in int64_t, halves in float.
template <typename T>
struct ComputeOf {
  using Type = int64_t;
};
template <>
struct ComputeOf<double> {
  using Type = double;
};
template <>
struct ComputeOf<float> {
  using Type = float;
};
template <>
struct ComputeOf<BFloat16> {
  using Type = float;
};
template <>
struct ComputeOf<Float16> {
  using Type = float;
};
template <typename T>
using Compute = typename ComputeOf<T>::Type;

template <typename T>
__device__ inline Compute<T> widened(T value) {
  Compute<T> result;
  kernels::widen(value, result);
  return result;
}
template <typename T>
__device__ inline T narrowed(Compute<T> value) {
  T result;
  kernels::narrow(value, result);
  return result;
}

// -- values of several threads ----------------------------------------------------------------------------------------

/// Combines the values of `lanes` neighbouring lanes (a power of two, at most a warp); all of them get the result.
template <typename T, typename Function>
__device__ inline T combine_lanes(T value, int lanes, const Function& function) {
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = function(value, __shfl_xor_sync(~0U, value, distance));
  return value;
}

/// The same for groups of `size` threads: parts of a warp, or the whole block. `shared`: a T for each of its warps.
template <typename T, typename Function>
__device__ inline T combine_group(T value, int size, T* shared, const Function& function) {
  if (size <= warp_size) return combine_lanes(value, size, function);
  value = combine_lanes(value, warp_size, function);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warps = size / warp_size;
  __syncthreads();  // what was shared before has been read
  if (lane == 0) shared[threadIdx.x / warp_size] = value;
  __syncthreads();
  return combine_lanes(shared[lane % warps], warps, function);
}

struct Plus {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// NaN is passed over.
struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

}  // namespace pycnn::cuda
