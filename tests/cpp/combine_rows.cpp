// Weighted sums along an axis against the definition.
#include <gtest/gtest.h>

#include "kernel_programs.h"
#include "kernel_testing.h"

namespace kernel_tests {
namespace {

using pycnn::testing_kernels::difference;
using pycnn::testing_kernels::fresh;
using pycnn::testing_kernels::random_values;
using pycnn::testing_kernels::same_bits;

/// `taps` positions for each output position; or up to three, and none for every fourth.
struct Table {
  std::vector<int64_t> begin{0}, indices;
  std::vector<double> weights;

  Table(int64_t input, int64_t output, int64_t taps) {
    for (int64_t o = 0; o < output; ++o) {
      for (int64_t t = 0; t < (taps ? taps : o % 4); ++t) {
        indices.push_back((o * 5 + t * 3) % input);
        weights.push_back(0.25 * static_cast<double>(t + 1) - 0.6);
      }
      begin.push_back(static_cast<int64_t>(indices.size()));
    }
  }
};

template <typename T>
void check_sums(const Kernels& kernels, int64_t outer, int64_t input_size, int64_t output_size, int64_t inner,
                int64_t taps) {
  const std::vector<T> input = random_values<T>(outer * input_size * inner, 3);
  const Table table(input_size, output_size, taps);
  std::vector<double> expected(static_cast<size_t>(outer * output_size * inner), 0.0);
  for (int64_t a = 0; a < outer; ++a)
    for (int64_t o = 0; o < output_size; ++o)
      for (int64_t b = 0; b < inner; ++b)
        for (auto t = static_cast<size_t>(table.begin[static_cast<size_t>(o)]);
             t < static_cast<size_t>(table.begin[static_cast<size_t>(o) + 1]); ++t)
          expected[static_cast<size_t>((a * output_size + o) * inner + b)] +=
              table.weights[t] *
              static_cast<double>(input[static_cast<size_t>((a * input_size + table.indices[t]) * inner + b)]);
  std::vector<T> first;
  for (int threads : {1, 2, 3, 7}) {
    pycnn::cpu::set_num_threads(threads);
    std::vector<T> output = fresh<T>(outer * output_size * inner);
    kernels.combine_rows({sizeof(T) == 4 ? DType::Float32 : DType::Float64, outer, input_size, output_size, inner,
                          input.data(), output.data(), table.begin.data(), table.indices.data(), table.weights.data()});
    EXPECT_LT(difference(output, expected), pycnn::testing_kernels::tolerance<T>());
    if (first.empty()) first = output;
    EXPECT_TRUE(same_bits(output, first));
  }
}

TEST(CombineRows, MatchesTheDefinition) {
  const pycnn::testing_kernels::ThreadCount restored;
  for (const Kernels* kernels : all_levels())
    for (const int64_t inner : {1, 3, 16, 1030})
      for (const int64_t outer : {1, 40})
        for (const int64_t taps : {0, 1, 2}) {
          check_sums<float>(*kernels, outer, 7, 23, inner, taps);
          check_sums<double>(*kernels, outer, 13, 6, inner, taps);
        }
}

}  // namespace
}  // namespace kernel_tests
