// Rows of adjacent elements: softmax, layer and RMS norm. A row is shared by a group of threads, part of a warp or a
// whole block, which reads it once from memory and after that from the caches.
#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::NormalizeRowsArguments;
using kernels::NormalizeRowsBackwardArguments;
using kernels::SoftmaxArguments;

constexpr int most_threads = 1024;

/// How many threads share a row.
int group_for(int64_t columns, int lanes) {
  const int64_t pieces = divide_up(columns, lanes);
  if (pieces <= 8 * warp_size) return power_of_two_above(pieces, warp_size);
  return pieces <= 8 * block_threads ? block_threads : most_threads;
}

Grid grid_for(int64_t rows, int group) {
  const int block = group > block_threads ? group : block_threads;
  return {blocks_for(rows, block / group), dim3(static_cast<unsigned>(block)),
          static_cast<size_t>(block / warp_size) * sizeof(double)};
}

/// The row that a thread works on with its group, V elements at a time.
template <typename T, int V>
struct Row {
  int64_t number;
  bool exists;
  int64_t columns;  ///< 0 if there is no such row
  int group, lane;
  double* shared;

  __device__ Row(int64_t rows, int64_t row_columns, int group_size) : group(group_size) {
    const int at_once = static_cast<int>(blockDim.x) / group;
    number = static_cast<int64_t>(blockIdx.x) * at_once + static_cast<int>(threadIdx.x) / group;
    exists = number < rows;
    columns = exists ? row_columns : 0;
    lane = static_cast<int>(threadIdx.x) % group;
    shared = shared_memory<double>();
  }
  template <typename Function>
  __device__ void for_each(const Function& function) const {
    for (int64_t c = static_cast<int64_t>(lane) * V; c < columns; c += static_cast<int64_t>(group) * V) function(c);
  }
  /// Σ term(c, v): a few are added in T, such sums in double.
  template <typename Term>
  __device__ double sum(const Term& term) const {
    constexpr int added_in_type = 8;
    double total = 0;
    T part = 0;
    int held = 0;
    for_each([&](int64_t c) {
      term(c, part);
      if (++held == added_in_type) {
        total += static_cast<double>(part);
        part = 0;
        held = 0;
      }
    });
    return combine_group(total + static_cast<double>(part), group, shared, Plus{});
  }
};

__device__ inline float exponential(float x) { return ::expf(x); }
__device__ inline double exponential(double x) { return ::exp(x); }

// -- softmax ----------------------------------------------------------------------------------------------------------

/// input, output: (rows, columns)
template <typename T, int V>
__global__ void __launch_bounds__(most_threads, 1) softmax_rows(const __grid_constant__ SoftmaxArguments a, int group) {
  const Row<T, V> row(a.rows, a.columns, group);
  const T* const from = static_cast<const T*>(a.input) + row.number * a.columns;
  T* const to = static_cast<T*>(a.output) + row.number * a.columns;
  // NaN need not be found: it makes the sum of exponentials NaN.
  T largest = static_cast<T>(-INFINITY);
  row.for_each([&](int64_t c) {
    const Several<T, V> x = load_several<V>(from + c);
#pragma unroll
    for (int v = 0; v < V; ++v) largest = Larger{}(x.element[v], largest);
  });
  largest = combine_group(largest, group, reinterpret_cast<T*>(row.shared), Larger{});
  const double total = row.sum([&](int64_t c, T& sum) {
    const Several<T, V> x = load_several<V>(from + c);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += exponential(x.element[v] - largest);
  });
  const T rest = static_cast<T>(a.logarithm ? ::log(total) : total);
  row.for_each([&](int64_t c) {
    const Several<T, V> x = load_several<V>(from + c);
    Several<T, V> y;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T distance = x.element[v] - largest;
      y.element[v] = a.logarithm ? distance - rest : exponential(distance) / rest;
    }
    store_several<V>(to + c, y);
  });
}

/// Softmax y: dx = y (dy - Σ y dy). Its logarithm y: dx = dy - e^y Σ dy.
/// input (y), output_gradient (dy), output (dx): (rows, columns)
template <typename T, int V>
__global__ void __launch_bounds__(most_threads, 1)
    softmax_gradients(const __grid_constant__ SoftmaxArguments a, int group) {
  const Row<T, V> row(a.rows, a.columns, group);
  const T* const y = static_cast<const T*>(a.input) + row.number * a.columns;
  const T* const dy = static_cast<const T*>(a.output_gradient) + row.number * a.columns;
  T* const dx = static_cast<T*>(a.output) + row.number * a.columns;
  const T total = static_cast<T>(row.sum([&](int64_t c, T& sum) {
    const Several<T, V> gradient = load_several<V>(dy + c), value = load_several<V>(y + c);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += a.logarithm ? gradient.element[v] : value.element[v] * gradient.element[v];
  }));
  row.for_each([&](int64_t c) {
    const Several<T, V> gradient = load_several<V>(dy + c), value = load_several<V>(y + c);
    Several<T, V> result;
#pragma unroll
    for (int v = 0; v < V; ++v)
      result.element[v] = a.logarithm ? gradient.element[v] - exponential(value.element[v]) * total
                                      : value.element[v] * (gradient.element[v] - total);
    store_several<V>(dx + c, result);
  });
}

// -- normalisation ----------------------------------------------------------------------------------------------------

/// V elements of a row of parameters, or the same one where there are none.
template <int V, typename T>
__device__ inline Several<T, V> parameters_at(const void* row, int64_t c, T missing) {
  if (row != nullptr) return load_several<V>(static_cast<const T*>(row) + c);
  Several<T, V> result;
#pragma unroll
  for (int v = 0; v < V; ++v) result.element[v] = missing;
  return result;
}

/// input, output: (rows, columns); weight, bias: (columns); mean, inverse: (rows)
template <typename T, int V>
__global__ void __launch_bounds__(most_threads, 1)
    normalize_each_row(const __grid_constant__ NormalizeRowsArguments a, int group) {
  const Row<T, V> row(a.rows, a.columns, group);
  const T* const from = static_cast<const T*>(a.input) + row.number * a.columns;
  T* const to = static_cast<T*>(a.output) + row.number * a.columns;
  const double share = 1.0 / static_cast<double>(a.columns);
  T mean = 0;
  if (a.centered)
    mean = static_cast<T>(share * row.sum([&](int64_t c, T& sum) {
      const Several<T, V> x = load_several<V>(from + c);
#pragma unroll
      for (int v = 0; v < V; ++v) sum += x.element[v];
    }));
  const double squares = row.sum([&](int64_t c, T& sum) {
    const Several<T, V> x = load_several<V>(from + c);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += (x.element[v] - mean) * (x.element[v] - mean);
  });
  const T inverse = static_cast<T>(1.0 / ::sqrt(squares * share + a.eps));
  if (row.exists && row.lane == 0) {
    static_cast<T*>(a.mean)[row.number] = mean;
    static_cast<T*>(a.inverse)[row.number] = inverse;
  }
  row.for_each([&](int64_t c) {
    const Several<T, V> x = load_several<V>(from + c);
    const Several<T, V> weight = parameters_at<V>(a.weight, c, T(1)), bias = parameters_at<V>(a.bias, c, T(0));
    Several<T, V> y;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      y.element[v] = (x.element[v] - mean) * inverse * weight.element[v];
      if (a.bias != nullptr) y.element[v] += bias.element[v];
    }
    store_several<V>(to + c, y);
  });
}

/// With x̂ the normalised input and g = dy · weight: dx = (g - mean(g) - x̂ mean(g x̂)) / deviation.
/// input (x), output_gradient (dy), input_gradient (dx): (rows, columns); weight: (columns); mean, inverse: (rows)
template <typename T, int V>
__global__ void __launch_bounds__(most_threads, 1)
    normalize_input_gradient(const __grid_constant__ NormalizeRowsBackwardArguments a, int group) {
  const Row<T, V> row(a.rows, a.columns, group);
  const T* const x = static_cast<const T*>(a.input) + row.number * a.columns;
  const T* const dy = static_cast<const T*>(a.output_gradient) + row.number * a.columns;
  T* const dx = static_cast<T*>(a.input_gradient) + row.number * a.columns;
  const T mean = row.exists ? static_cast<const T*>(a.mean)[row.number] : T(0);
  const T inverse = row.exists ? static_cast<const T*>(a.inverse)[row.number] : T(0);
  const auto for_elements = [&](int64_t c, const auto& function) {
    const Several<T, V> gradient = load_several<V>(dy + c), value = load_several<V>(x + c);
    const Several<T, V> weight = parameters_at<V>(a.weight, c, T(1));
#pragma unroll
    for (int v = 0; v < V; ++v)
      function(v, gradient.element[v] * weight.element[v], (value.element[v] - mean) * inverse);
  };
  const double product =
      row.sum([&](int64_t c, T& sum) { for_elements(c, [&](int, T g, T normalized) { sum += g * normalized; }); });
  const double total =
      a.centered ? row.sum([&](int64_t c, T& sum) { for_elements(c, [&](int, T g, T) { sum += g; }); }) : 0;
  const double share = 1.0 / static_cast<double>(a.columns);
  const T projection = static_cast<T>(product * share), offset = static_cast<T>(total * share);
  row.for_each([&](int64_t c) {
    Several<T, V> result;
    for_elements(
        c, [&](int v, T g, T normalized) { result.element[v] = (g - offset - normalized * projection) * inverse; });
    store_several<V>(dx + c, result);
  });
}

/// Blocks of 32 columns and `column_warps` rows add up the parameters' gradients over chunks of rows.
constexpr int column_warps = 8, column_threads = column_warps * warp_size;
constexpr int64_t rows_per_sum = 32;  ///< that a thread adds up in the type itself
constexpr int64_t enough_blocks = 1024;

int64_t rows_per_chunk(int64_t rows, int64_t columns) {
  const int64_t chunks = divide_up(enough_blocks, divide_up(columns, warp_size));
  return divide_up(divide_up(rows, chunks), column_warps) * column_warps;
}

/// Adds up what the warps of a block have for their columns: `totals` of each thread, in the order of the warps.
template <int Count>
__device__ void add_warps(double (&totals)[Count]) {
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  double* const shared = shared_memory<double>();  // (column_warps, Count, 32)
  for (int i = 0; i < Count; ++i) shared[(warp * Count + i) * warp_size + lane] = totals[i];
  __syncthreads();
  if (warp != 0) return;
  for (int i = 0; i < Count; ++i)
    for (int other = 1; other < column_warps; ++other) totals[i] += shared[(other * Count + i) * warp_size + lane];
}

/// dweight = Σ dy x̂, dbias = Σ dy, each over a chunk of rows.
/// input, output_gradient: (rows, columns); mean, inverse: (rows); sums: (chunks, 2, columns)
template <typename T>
__global__ void __launch_bounds__(column_threads, 4)
    sum_parameter_gradients(const __grid_constant__ NormalizeRowsBackwardArguments a, int64_t chunk_rows,
                            double* sums) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * warp_size + threadIdx.x, chunk = blockIdx.y;
  const int64_t end = (chunk + 1) * chunk_rows < a.rows ? (chunk + 1) * chunk_rows : a.rows;
  double totals[2] = {0, 0};
  if (column < a.columns) {
    T product = 0, sum = 0;
    int held = 0;
    for (int64_t row = chunk * chunk_rows + threadIdx.y; row < end; row += column_warps) {
      const T mean = static_cast<const T*>(a.mean)[row], inverse = static_cast<const T*>(a.inverse)[row];
      const T g = static_cast<const T*>(a.output_gradient)[row * a.columns + column];
      product += g * ((static_cast<const T*>(a.input)[row * a.columns + column] - mean) * inverse);
      sum += g;
      if (++held == rows_per_sum) {
        totals[0] += static_cast<double>(product);
        totals[1] += static_cast<double>(sum);
        product = sum = 0;
        held = 0;
      }
    }
    totals[0] += static_cast<double>(product);
    totals[1] += static_cast<double>(sum);
  }
  add_warps(totals);
  if (threadIdx.y != 0 || column >= a.columns) return;
  for (int i = 0; i < 2; ++i) sums[(2 * chunk + i) * a.columns + column] = totals[i];
}

/// sums: (chunks, 2, columns); weight_gradient, bias_gradient: (columns)
template <typename T>
__global__ void __launch_bounds__(column_threads, 4)
    add_parameter_chunks(const double* sums, int64_t chunks, int64_t columns, T* weight_gradient, T* bias_gradient) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * warp_size + threadIdx.x;
  double totals[2] = {0, 0};
  if (column < columns)
    for (int64_t chunk = threadIdx.y; chunk < chunks; chunk += column_warps)
      for (int i = 0; i < 2; ++i) totals[i] += sums[(2 * chunk + i) * columns + column];
  add_warps(totals);
  if (threadIdx.y != 0 || column >= columns) return;
  if (weight_gradient != nullptr) weight_gradient[column] = static_cast<T>(totals[0]);
  if (bias_gradient != nullptr) bias_gradient[column] = static_cast<T>(totals[1]);
}

// -- launching --------------------------------------------------------------------------------------------------------

template <typename Arguments>
void launch_rows(const char* name, void (*whole)(Arguments, int), void (*single)(Arguments, int), const Arguments& a,
                 bool moves_whole, int most) {
  if (a.rows == 0) return;
  const int group = group_for(a.columns, moves_whole ? most : 1);
  launch(name, moves_whole ? whole : single, grid_for(a.rows, group), a, group);
}

template <typename T>
void run_softmax(const SoftmaxArguments& a) {
  constexpr int V = most_at_once<T>;
  const bool whole = moves_whole<T>(a.columns, a.input, a.output_gradient, a.output);
  if (a.output_gradient != nullptr)
    launch_rows("softmax_backward", softmax_gradients<T, V>, softmax_gradients<T, 1>, a, whole, V);
  else
    launch_rows("softmax", softmax_rows<T, V>, softmax_rows<T, 1>, a, whole, V);
}

template <typename T>
void run_normalize(const NormalizeRowsArguments& a) {
  constexpr int V = most_at_once<T>;
  const bool whole = moves_whole<T>(a.columns, a.input, a.weight, a.bias, a.output);
  launch_rows("normalize_rows", normalize_each_row<T, V>, normalize_each_row<T, 1>, a, whole, V);
}

template <typename T>
void run_normalize_backward(const NormalizeRowsBackwardArguments& a) {
  constexpr int V = most_at_once<T>;
  const bool whole = moves_whole<T>(a.columns, a.input, a.output_gradient, a.weight, a.input_gradient);
  if (a.input_gradient != nullptr)
    launch_rows("normalize_rows_backward", normalize_input_gradient<T, V>, normalize_input_gradient<T, 1>, a, whole, V);
  if (a.weight_gradient == nullptr && a.bias_gradient == nullptr) return;
  const int64_t chunk_rows = rows_per_chunk(a.rows, a.columns), chunks = a.rows > 0 ? divide_up(a.rows, chunk_rows) : 0;
  Grid grid{blocks_for(a.columns, warp_size), dim3(warp_size, column_warps),
            size_t{2 * column_threads} * sizeof(double)};
  auto* const sums = static_cast<double*>(a.workspace);
  grid.blocks.y = static_cast<unsigned>(chunks);
  launch("normalize_rows_backward", sum_parameter_gradients<T>, grid, a, chunk_rows, sums);
  grid.blocks.y = 1;
  launch("normalize_rows_backward", add_parameter_chunks<T>, grid, static_cast<const double*>(sums), chunks, a.columns,
         static_cast<T*>(a.weight_gradient), static_cast<T*>(a.bias_gradient));
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void softmax(const SoftmaxArguments& a) { a.dtype == DType::Float64 ? run_softmax<double>(a) : run_softmax<float>(a); }

void normalize_rows(const NormalizeRowsArguments& a) {
  a.dtype == DType::Float64 ? run_normalize<double>(a) : run_normalize<float>(a);
}

size_t normalize_rows_backward_workspace(const NormalizeRowsBackwardArguments& a) {
  if ((a.weight_gradient == nullptr && a.bias_gradient == nullptr) || a.rows == 0) return 0;
  const int64_t chunks = divide_up(a.rows, rows_per_chunk(a.rows, a.columns));
  return static_cast<size_t>(2 * chunks * a.columns) * sizeof(double);
}

void normalize_rows_backward(const NormalizeRowsBackwardArguments& a) {
  a.dtype == DType::Float64 ? run_normalize_backward<double>(a) : run_normalize_backward<float>(a);
}

}  // namespace pycnn::cuda
