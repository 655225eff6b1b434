// Weighted sums of a few positions along one axis: resizing, and the windows of unfold and fold.
#include "cpu/isa/isa.h"
#include "cpu/isa/simd.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::CombineRowsArguments;

/// Elements beside the axis that a task takes.
constexpr int64_t inner_block = 1024;

/// One output position: n elements, each the sum of `taps` input elements at the same place of other positions.
template <typename T>
void combine(const T* input, T* output, const int64_t* indices, const double* weights, int64_t taps, int64_t stride,
             int64_t n) {
  int64_t k = 0;
  for (; k < n; k += lanes<T>) {
    const int64_t left = n - k;
    const Mask<T> mask(left < lanes<T> ? static_cast<int>(left) : lanes<T>);
    Vector<T> sum{};
    for (int64_t t = 0; t < taps; ++t) {
      const Vector<T> values = load(input + indices[t] * stride + k, mask);
      const Vector<T> weight = splat(static_cast<T>(weights[t]));
      sum = t == 0 ? values * weight : multiply_add(values, weight, sum);
    }
    store(output + k, sum, mask);
  }
}

/// Single elements: the axis is the innermost dimension. `taps` is their number if all positions have as many, else 0.
template <typename T>
void combine_elements(const CombineRowsArguments& a, int64_t taps, const T* input, T* output) {
  if (taps == 1) {
    for (int64_t o = 0; o < a.output_size; ++o) output[o] = input[a.indices[o]] * static_cast<T>(a.weights[o]);
    return;
  }
  if (taps == 2) {
    for (int64_t o = 0; o < a.output_size; ++o)
      output[o] = input[a.indices[2 * o]] * static_cast<T>(a.weights[2 * o]) +
                  input[a.indices[2 * o + 1]] * static_cast<T>(a.weights[2 * o + 1]);
    return;
  }
  for (int64_t o = 0; o < a.output_size; ++o) {
    T sum = 0;
    for (int64_t t = a.begin[o]; t < a.begin[o + 1]; ++t) {
      const T product = input[a.indices[t]] * static_cast<T>(a.weights[t]);
      sum = t == a.begin[o] ? product : sum + product;
    }
    output[o] = sum;
  }
}

/// How many inputs every output position has; 0 if it differs.
int64_t common_taps(const CombineRowsArguments& a) {
  const int64_t taps = a.output_size > 0 ? a.begin[1] - a.begin[0] : 0;
  for (int64_t o = 0; o < a.output_size; ++o)
    if (a.begin[o + 1] - a.begin[o] != taps) return 0;
  return taps;
}

template <typename T>
void run(const CombineRowsArguments& a) {
  const T* input = static_cast<const T*>(a.input);
  T* output = static_cast<T*>(a.output);
  if (a.inner == 1) {
    const int64_t rows = 16384 / (a.output_size + 1) + 1, taps = common_taps(a);
    parallel_for((a.outer + rows - 1) / rows, [&](int64_t chunk) {
      const int64_t end = (chunk + 1) * rows < a.outer ? (chunk + 1) * rows : a.outer;
      for (int64_t i = chunk * rows; i < end; ++i)
        combine_elements(a, taps, input + i * a.input_size, output + i * a.output_size);
    });
    return;
  }
  const int64_t blocks = (a.inner + inner_block - 1) / inner_block;
  const int64_t width = a.inner < inner_block ? a.inner : inner_block;
  const int64_t positions = 16384 / width + 1;
  const int64_t groups = (a.output_size + positions - 1) / positions;
  parallel_for(a.outer * blocks * groups, [&](int64_t task) {
    const int64_t group = task % groups, block = task / groups % blocks, i = task / groups / blocks;
    const int64_t first = block * inner_block;
    const int64_t n = a.inner - first < inner_block ? a.inner - first : inner_block;
    const int64_t end = (group + 1) * positions < a.output_size ? (group + 1) * positions : a.output_size;
    for (int64_t o = group * positions; o < end; ++o)
      combine(input + i * a.input_size * a.inner + first, output + (i * a.output_size + o) * a.inner + first,
              a.indices + a.begin[o], a.weights + a.begin[o], a.begin[o + 1] - a.begin[o], a.inner, n);
  });
}

}  // namespace

void combine_rows(const CombineRowsArguments& arguments) {
  if (arguments.dtype == DType::Float64)
    run<double>(arguments);
  else
    run<float>(arguments);
}

}  // namespace pycnn::cpu::PYCNN_ISA
