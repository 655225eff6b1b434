// Weighted sums of a few positions along one axis: resizing, and the windows of unfold and fold. A thread has some
// neighbouring elements of the output.
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::CombineRowsArguments;

/// input: (outer, input_size, inner); output: (outer, output_size, inner)
template <typename T, int V>
__global__ void __launch_bounds__(block_threads)
    combine_positions(const __grid_constant__ CombineRowsArguments a, const __grid_constant__ RowGroups<V> output) {
  const int64_t number = thread_number();
  if (number >= output.count) return;
  const auto [outer, position, inner, row] = output.place(number);
  const T* const from = static_cast<const T*>(a.input) + outer * a.input_size * a.inner + inner;
  const int64_t begin = a.begin[position], end = a.begin[position + 1];
  // As on the CPU: rows are added with one rounding, single elements with two.
  const bool fused = a.inner > 1;
  Several<T, V> sum{};
  for (int64_t t = begin; t < end; ++t) {
    const Several<T, V> x = load_several<V>(from + a.indices[t] * a.inner);
    const T weight = static_cast<T>(a.weights[t]);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const T product = x.element[v] * weight;
      sum.element[v] = t == begin ? product
                       : fused    ? Apply<kernels::Opcode::MultiplyAdd, T>::of(x.element[v], weight, sum.element[v])
                                  : sum.element[v] + product;
    }
  }
  store_several<V>(static_cast<T*>(a.output) + row * a.inner + inner, sum);
}

template <typename T>
void run(const CombineRowsArguments& a) {
  with_most_at_once<T>(
      [&](auto lanes) {
        const RowGroups<lanes()> output(a.outer, a.output_size, a.inner);
        launch("combine_rows", combine_positions<T, lanes()>, {blocks_for(output.count), dim3(block_threads)}, a,
               output);
      },
      a.inner, a.input, a.output);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void combine_rows(const CombineRowsArguments& a) { a.dtype == DType::Float64 ? run<double>(a) : run<float>(a); }

}  // namespace pycnn::cuda
