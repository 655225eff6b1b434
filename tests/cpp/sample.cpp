// Weighted sums of a table's elements per point, and what is transposed to that, against the definitions.
#include <gtest/gtest.h>

#include "kernel_programs.h"
#include "kernel_testing.h"

namespace kernel_tests {
namespace {

using pycnn::testing_kernels::difference;
using pycnn::testing_kernels::fresh;
using pycnn::testing_kernels::random_values;
using pycnn::testing_kernels::same_bits;

template <typename T>
void check_samples(const Kernels& kernels, int64_t batch, int64_t points, int64_t taps, int64_t elements,
                   int64_t channels) {
  std::vector<T> weights = random_values<T>(batch * taps * points, 1);
  std::vector<T> table = random_values<T>(batch * elements * channels, 2);
  std::vector<T> values = random_values<T>(batch * points * channels, 3);
  std::vector<int64_t> index;
  for (int64_t i = 0; i < batch * taps * points; ++i) index.push_back(i % 5 == 3 ? -1 : i * 7 % elements);
  std::vector<double> expected_values(values.size()), expected_table(table.size()), expected_weights(weights.size());
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t p = 0; p < points; ++p)
        for (int64_t c = 0; c < channels; ++c) {
          const auto place = static_cast<size_t>((b * taps + t) * points + p);
          if (index[place] < 0) continue;
          const auto value = static_cast<size_t>((b * points + p) * channels + c);
          const auto entry = static_cast<size_t>((b * elements + index[place]) * channels + c);
          const auto w = static_cast<double>(weights[place]), v = static_cast<double>(values[value]);
          const auto e = static_cast<double>(table[entry]);
          expected_values[value] += w * e;
          expected_table[entry] += w * v;
          expected_weights[place] += v * e;
        }
  const auto check = [&](void (*kernel)(const pycnn::kernels::SampleArguments&), const std::vector<T>& given,
                         const std::vector<double>& expected, int which) {
    std::vector<T> first;
    for (int threads : {1, 2, 3, 7}) {
      pycnn::cpu::set_num_threads(threads);
      std::vector<T> result = fresh<T>(static_cast<int64_t>(given.size()));
      kernel({sizeof(T) == 4 ? DType::Float32 : DType::Float64, batch, points, taps, elements, channels, index.data(),
              which == 0 ? result.data() : weights.data(), which == 1 ? result.data() : table.data(),
              which == 2 ? result.data() : values.data()});
      EXPECT_LT(difference(result, expected), pycnn::testing_kernels::tolerance<T>());
      if (first.empty()) first = result;
      EXPECT_TRUE(same_bits(result, first));
    }
  };
  check(kernels.sample, values, expected_values, 2);
  check(kernels.sample_spread, table, expected_table, 1);
  check(kernels.sample_weights, weights, expected_weights, 0);
}

TEST(Sample, MatchesTheDefinition) {
  const pycnn::testing_kernels::ThreadCount restored;
  for (const Kernels* kernels : all_levels())
    for (const int64_t channels : {1, 3, 16, 37, 130})
      for (const int64_t taps : {1, 4}) {
        check_samples<float>(*kernels, 2, 150, taps, 23, channels);
        check_samples<double>(*kernels, 3, 11, taps, 5, channels);
      }
}

}  // namespace
}  // namespace kernel_tests
