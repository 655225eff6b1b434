// Softmax and normalisation of rows, and their gradients, against the definitions in double.
#include <gtest/gtest.h>

#include <cmath>

#include "kernel_programs.h"
#include "kernel_testing.h"

namespace kernel_tests {
namespace {

using pycnn::testing_kernels::difference;
using pycnn::testing_kernels::fresh;
using pycnn::testing_kernels::random_values;
using pycnn::testing_kernels::same_bits;

template <typename T>
constexpr DType dtype = sizeof(T) == 4 ? DType::Float32 : DType::Float64;

template <typename T>
std::vector<double> wide(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

/// Runs `kernel` on a fresh result with several numbers of threads, and compares.
template <typename T, typename Kernel>
void check(const std::vector<double>& expected, const Kernel& kernel) {
  std::vector<T> first;
  for (int threads : {1, 2, 3, 7}) {
    pycnn::cpu::set_num_threads(threads);
    std::vector<T> result = fresh<T>(static_cast<int64_t>(expected.size()));
    kernel(result.data());
    EXPECT_LT(difference(result, expected), pycnn::testing_kernels::tolerance<T>());
    if (first.empty()) first = result;
    EXPECT_TRUE(same_bits(result, first));
  }
}

template <typename T>
void check_softmax(const Kernels& kernels, int64_t rows, int64_t columns, bool logarithm) {
  const std::vector<T> input = random_values<T>(rows * columns, 1), gradient = random_values<T>(rows * columns, 2);
  std::vector<double> expected, gradients;
  std::vector<T> output;
  for (int64_t r = 0; r < rows; ++r) {
    const auto at = [&](const std::vector<T>& v, int64_t c) {
      return static_cast<double>(v[static_cast<size_t>(r * columns + c)]);
    };
    double total = 0;
    for (int64_t c = 0; c < columns; ++c) total += std::exp(at(input, c));
    for (int64_t c = 0; c < columns; ++c) {
      const double logits = at(input, c) - std::log(total);
      expected.push_back(logarithm ? logits : std::exp(logits));
      output.push_back(static_cast<T>(expected.back()));
    }
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += logarithm ? at(gradient, c) : at(gradient, c) * at(output, c);
    for (int64_t c = 0; c < columns; ++c)
      gradients.push_back(logarithm ? at(gradient, c) - std::exp(at(output, c)) * sum
                                    : at(output, c) * (at(gradient, c) - sum));
  }
  check<T>(expected, [&](T* to) { kernels.softmax({dtype<T>, logarithm, rows, columns, input.data(), nullptr, to}); });
  check<T>(gradients, [&](T* to) {
    kernels.softmax({dtype<T>, logarithm, rows, columns, output.data(), gradient.data(), to});
  });
}

template <typename T>
void check_normalization(const Kernels& kernels, int64_t rows, int64_t columns, bool centered, bool weighted) {
  const std::vector<T> input = random_values<T>(rows * columns, 3), gradient = random_values<T>(rows * columns, 4);
  const std::vector<T> weight = random_values<T>(columns, 5), bias = random_values<T>(columns, 6);
  constexpr double eps = 0.25;
  const double n = static_cast<double>(columns);
  std::vector<double> expected, input_gradient, means, inverses;
  std::vector<double> weight_gradient(static_cast<size_t>(columns)), bias_gradient(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r) {
    const auto at = [&](const std::vector<T>& v, int64_t c) {
      return static_cast<double>(v[static_cast<size_t>(r * columns + c)]);
    };
    const auto factor = [&](int64_t c) { return weighted ? static_cast<double>(weight[static_cast<size_t>(c)]) : 1.0; };
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < columns && centered; ++c) mean += at(input, c) / n;
    for (int64_t c = 0; c < columns; ++c) variance += (at(input, c) - mean) * (at(input, c) - mean) / n;
    const double inverse = 1 / std::sqrt(variance + eps);
    double sum = 0, products = 0;
    for (int64_t c = 0; c < columns; ++c) {
      const double normalized = (at(input, c) - mean) * inverse, g = at(gradient, c) * factor(c);
      expected.push_back(normalized * factor(c) + (weighted ? static_cast<double>(bias[static_cast<size_t>(c)]) : 0.0));
      sum += g;
      products += g * normalized;
      weight_gradient[static_cast<size_t>(c)] += at(gradient, c) * normalized;
      bias_gradient[static_cast<size_t>(c)] += at(gradient, c);
    }
    for (int64_t c = 0; c < columns; ++c) {
      const double normalized = (at(input, c) - mean) * inverse, g = at(gradient, c) * factor(c);
      input_gradient.push_back((g - (centered ? sum / n : 0.0) - normalized * products / n) * inverse);
    }
    means.push_back(mean);
    inverses.push_back(inverse);
  }
  std::vector<T> mean = fresh<T>(rows), inverse = fresh<T>(rows), output = fresh<T>(rows * columns);
  const T* const factors = weighted ? weight.data() : nullptr;
  check<T>(expected, [&](T* to) {
    kernels.normalize_rows({dtype<T>, centered, rows, columns, eps, input.data(), factors,
                            weighted ? bias.data() : nullptr, to, mean.data(), inverse.data()});
  });
  EXPECT_LT(difference(mean, means), pycnn::testing_kernels::tolerance<T>());
  EXPECT_LT(difference(inverse, inverses), pycnn::testing_kernels::tolerance<T>());
  const auto backward = [&](T* to, T* to_weight, T* to_bias) {
    pycnn::kernels::NormalizeRowsBackwardArguments arguments{
        dtype<T>,       centered, rows, columns,   gradient.data(), input.data(), mean.data(),
        inverse.data(), factors,  to,   to_weight, to_bias,         nullptr};
    std::vector<T> workspace =
        fresh<T>(static_cast<int64_t>(kernels.normalize_rows_backward_workspace(arguments) / sizeof(T)));
    arguments.workspace = workspace.data();
    kernels.normalize_rows_backward(arguments);
  };
  std::vector<T> unused = fresh<T>(rows * columns), others = fresh<T>(columns);
  check<T>(input_gradient, [&](T* to) { backward(to, nullptr, nullptr); });
  check<T>(input_gradient, [&](T* to) { backward(to, others.data(), nullptr); });
  check<T>(weight_gradient, [&](T* to) { backward(unused.data(), to, others.data()); });
  check<T>(bias_gradient, [&](T* to) { backward(nullptr, others.data(), to); });
}

TEST(Rows, MatchTheDefinitions) {
  const pycnn::testing_kernels::ThreadCount restored;
  for (const Kernels* kernels : all_levels())
    for (const int64_t columns : {1, 3, 16, 37, 196, 1500})
      for (const int64_t rows : {1, 40, 130})
        for (const bool flag : {false, true}) {
          check_softmax<float>(*kernels, rows, columns, flag);
          check_softmax<double>(*kernels, rows, columns, flag);
          for (const bool weighted : {false, true}) {
            check_normalization<float>(*kernels, rows, columns, flag, weighted);
            check_normalization<double>(*kernels, rows, columns, flag, weighted);
          }
        }
}

TEST(Rows, SoftmaxOfExtremes) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const Kernels* kernels : all_levels()) {
    const auto softmax = [&](std::vector<float> row) {
      std::vector<float> result(row.size());
      kernels->softmax(
          {DType::Float32, false, 1, static_cast<int64_t>(row.size()), row.data(), nullptr, result.data()});
      return result;
    };
    EXPECT_EQ(softmax({-infinity, 0, -infinity}), (std::vector<float>{0, 1, 0}));
    EXPECT_EQ(softmax({3e38F, 3e38F}), (std::vector<float>{0.5F, 0.5F}));
    for (const size_t place : {size_t{0}, size_t{7}, size_t{39}}) {
      std::vector<float> row(40, 1.0F);
      row[place] = nan;
      for (const float value : softmax(row)) EXPECT_TRUE(std::isnan(value));
      row[place] = infinity;
      EXPECT_TRUE(std::isnan(softmax(row)[place]));
    }
    for (const float value : softmax(std::vector<float>(20, -infinity))) EXPECT_TRUE(std::isnan(value));
  }
}

}  // namespace
}  // namespace kernel_tests
