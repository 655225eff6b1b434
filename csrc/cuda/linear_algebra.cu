// Gaussian elimination with partial pivoting, and solving with what it left: a block has a matrix, or some of the right
// sides' columns.
#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::FactorArguments;
using kernels::SolveArguments;

constexpr int most_threads = 1024;

/// A block's threads as rows and columns of a matrix: `across` neighbouring ones have neighbouring columns.
struct Threads {
  int across, row, column, rows;
  __device__ explicit Threads(int threads_across)
      : across(threads_across),
        row(static_cast<int>(threadIdx.x) / across),
        column(static_cast<int>(threadIdx.x) % across),
        rows(static_cast<int>(blockDim.x) / across) {}
};

int threads_for(int64_t rows, int64_t columns) {
  return power_of_two_above(divide_up(rows * columns, 4), most_threads);
}

/// The row of the first largest magnitude at or below the diagonal, as a warp finds it. A NaN on the diagonal stays
/// there; others are passed over.
template <typename T>
__device__ int64_t find_pivot(const T* matrix, int64_t size, int64_t k) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  T largest = -1;
  int64_t best = k;
  for (int64_t i = k + lane; i < size; i += warp_size) {
    const T x = matrix[i * size + k];
    const T magnitude = x == x ? (x < 0 ? -x : x) : i == k ? static_cast<T>(INFINITY) : T(-1);
    if (magnitude > largest) {
      largest = magnitude;
      best = i;
    }
  }
  for (int distance = warp_size / 2; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(~0U, largest, distance);
    const int64_t other_best = __shfl_xor_sync(~0U, best, distance);
    if (other > largest || (other == largest && other_best < best)) {
      largest = other;
      best = other_best;
    }
  }
  return best;
}

/// matrices: (batch, size, size); pivots: (batch, size); signs: (batch)
template <typename T>
__global__ void __launch_bounds__(most_threads, 1)
    factor_matrices(const __grid_constant__ FactorArguments a, int threads_across) {
  const Threads t(threads_across);
  const int64_t n = a.size;
  T* const matrix = static_cast<T*>(a.matrices) + blockIdx.x * n * n;
  auto* const shared = shared_memory<int64_t>();  // (1): the pivot's row
  T sign = 1;
  for (int64_t k = 0; k < n; ++k) {
    if (threadIdx.x < warp_size) {
      const int64_t best = find_pivot(matrix, n, k);
      if (threadIdx.x == 0) *shared = a.pivots[blockIdx.x * n + k] = best;
    }
    __syncthreads();
    const int64_t best = *shared;
    if (best != k) {
      sign = -sign;
      for (int64_t j = threadIdx.x; j < n; j += blockDim.x) {
        const T upper = matrix[k * n + j];
        matrix[k * n + j] = matrix[best * n + j];
        matrix[best * n + j] = upper;
      }
      __syncthreads();
    }
    const T pivot = matrix[k * n + k];
    if (pivot == 0) {
      __syncthreads();
      continue;
    }
    for (int64_t i = k + 1 + threadIdx.x; i < n; i += blockDim.x) matrix[i * n + k] /= pivot;
    __syncthreads();
    for (int64_t i = k + 1 + t.row; i < n; i += t.rows) {
      const T factor = matrix[i * n + k];
      for (int64_t j = k + 1 + t.column; j < n; j += t.across) matrix[i * n + j] -= factor * matrix[k * n + j];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) static_cast<T*>(a.signs)[blockIdx.x] = sign;
}

/// Forward through L, backward through U; for the transpose forward through Uᵀ, backward through Lᵀ.
/// factors: (batch, size, size); pivots: (batch, size); sides: (batch, size, columns)
template <typename T>
__global__ void __launch_bounds__(most_threads, 1)
    solve_columns(const __grid_constant__ SolveArguments a, int threads_across, int64_t column_blocks) {
  const Threads t(threads_across);
  const int64_t n = a.size, batch = blockIdx.x / column_blocks;
  const int64_t column = blockIdx.x % column_blocks * t.across + t.column;
  const bool exists = column < a.columns;
  const T* const factors = static_cast<const T*>(a.factors) + batch * n * n;
  const int64_t* const pivots = a.pivots + batch * n;
  T* const x = static_cast<T*>(a.sides) + batch * n * a.columns + column;
  const auto exchange = [&](int64_t i) {
    const int64_t other = pivots[i];
    if (other == i) return;
    const T own = x[i * a.columns];
    x[i * a.columns] = x[other * a.columns];
    x[other * a.columns] = own;
  };
  const auto divide = [&](int64_t k) {
    if (exists && t.row == 0) x[k * a.columns] /= factors[k * n + k];
    __syncthreads();
  };
  // x_i -= factor · x_k for the rows [begin, end).
  const auto subtract = [&](int64_t k, int64_t begin, int64_t end) {
    if (exists)
      for (int64_t i = begin + t.row; i < end; i += t.rows)
        x[i * a.columns] -= factors[a.transposed ? k * n + i : i * n + k] * x[k * a.columns];
    __syncthreads();
  };
  if (!a.transposed && exists && t.row == 0)
    for (int64_t i = 0; i < n; ++i) exchange(i);
  __syncthreads();
  for (int64_t k = 0; k < n; ++k) {
    if (a.transposed) divide(k);
    subtract(k, k + 1, n);
  }
  for (int64_t k = n - 1; k >= 0; --k) {
    if (!a.transposed) divide(k);
    subtract(k, 0, k);
  }
  if (a.transposed && exists && t.row == 0)
    for (int64_t i = n - 1; i >= 0; --i) exchange(i);
}

template <typename T>
void run_factor(const FactorArguments& a) {
  const int threads = threads_for(a.size, a.size), block = threads < warp_size ? warp_size : threads;
  launch("factor", factor_matrices<T>, {blocks_for(a.batch, 1), dim3(static_cast<unsigned>(block)), sizeof(int64_t)}, a,
         power_of_two_above(a.size, warp_size));
}

template <typename T>
void run_solve(const SolveArguments& a) {
  const int across = power_of_two_above(a.columns, warp_size), threads = threads_for(a.size, across);
  const int block = threads < warp_size ? warp_size : threads;
  const int64_t column_blocks = divide_up(a.columns, across);
  launch("solve", solve_columns<T>, {blocks_for(a.batch * column_blocks, 1), dim3(static_cast<unsigned>(block))}, a,
         across, column_blocks);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void factor(const FactorArguments& a) { a.dtype == DType::Float32 ? run_factor<float>(a) : run_factor<double>(a); }
void solve(const SolveArguments& a) { a.dtype == DType::Float32 ? run_solve<float>(a) : run_solve<double>(a); }

}  // namespace pycnn::cuda
