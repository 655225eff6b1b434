// The GPU's smaller kernels in emulation, against plain loops.
#include <new>
#include <stdexcept>

#include "cuda/guarded.h"
#include "cuda_testing.h"
#include "kernels/backend.h"

extern "C" const pycnn::kernels::Backend* pycnn_backend_v1();

namespace pycnn::testing_cuda {
namespace {

// -- arg_reduce
// ---------------------------------------------------------------------------------------------------------

/// The input's elements lie as (outer, axis, inner), or with the axis innermost.
template <typename T>
void check_arg_reduce(int64_t outer, int64_t axis, int64_t inner, bool axis_innermost, bool maximum) {
  std::vector<T> input = random_steps<T>(outer * axis * inner, static_cast<uint32_t>(axis));
  if constexpr (std::is_floating_point_v<T>)
    for (size_t i = 11; i < input.size(); i += 23) input[i] = static_cast<T>(NAN);
  Guarded<T> values(outer * inner);
  Guarded<int64_t> indices(outer * inner);
  const int64_t axis_stride = axis_innermost ? 1 : inner, inner_stride = axis_innermost ? axis : 1;
  kernels::ArgReduceArguments a{};
  a.maximum = maximum;
  a.sizes[0] = outer, a.sizes[1] = axis, a.sizes[2] = inner;
  a.input = {input.data(), dtype_of<T>(), {axis * inner, axis_stride, inner_stride}};
  a.values = {values.data(), dtype_of<T>(), {inner, 0, 1}};
  a.indices = {indices.data(), DType::Int64, {inner, 0, 1}};
  cuda::arg_reduce(a);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const auto at = [&](int64_t j) {
        return value_of(input[static_cast<size_t>(o * axis * inner + j * axis_stride + i * inner_stride)]);
      };
      int64_t best = 0;
      for (int64_t j = 1; j < axis; ++j)
        if (!std::isnan(at(best)) && (std::isnan(at(j)) || (maximum ? at(j) > at(best) : at(j) < at(best)))) best = j;
      ASSERT_EQ(indices[o * inner + i], best);
      ASSERT_TRUE(close(value_of(values[o * inner + i]), at(best), 0));
    }
  ASSERT_TRUE(values.whole() && indices.whole());
}

TEST(CudaKernels, ArgReduce) {
  for (const bool maximum : {false, true})
    for (const bool innermost : {false, true}) {
      check_arg_reduce<float>(1, 1000, 1, innermost, maximum);
      check_arg_reduce<float>(70, 10, 1, innermost, maximum);
      check_arg_reduce<double>(2, 37, 45, innermost, maximum);
      check_arg_reduce<int64_t>(3, 5, 7, innermost, maximum);
      check_arg_reduce<BFloat16>(2, 300, 3, innermost, maximum);
      check_arg_reduce<uint8_t>(1, 1, 1, innermost, maximum);
    }
  check_arg_reduce<float>(0, 5, 3, false, true);
}

// -- combine_rows
// -------------------------------------------------------------------------------------------------------

template <typename T>
void check_combine_rows(int64_t outer, int64_t input_size, int64_t output_size, int64_t inner, int64_t misaligned) {
  const Guarded<T> input(random_reals<T>(outer * input_size * inner, 1), misaligned);
  Guarded<T> output(outer * output_size * inner, misaligned);
  std::vector<int64_t> begin{0};
  for (int64_t o = 0; o < output_size; ++o) begin.push_back(begin.back() + o * 7 % 4);
  const auto indices = random_integers(begin.back(), input_size, 2);
  const auto weights = random_reals<double>(begin.back(), 3);
  cuda::combine_rows({dtype_of<T>(), outer, input_size, output_size, inner, input.data(), output.data(), begin.data(),
                      indices.data(), weights.data()});
  for (int64_t i = 0; i < output.size(); ++i) {
    const int64_t b = i % inner, o = i / inner % output_size, a = i / inner / output_size;
    double sum = 0;
    for (auto t = static_cast<size_t>(begin[static_cast<size_t>(o)]);
         t < static_cast<size_t>(begin[static_cast<size_t>(o) + 1]); ++t)
      sum += weights[t] * value_of(input[(a * input_size + indices[t]) * inner + b]);
    ASSERT_TRUE(close(value_of(output[i]), sum, tolerance<T>())) << i;
  }
  ASSERT_TRUE(output.whole());
}

TEST(CudaKernels, CombineRows) {
  check_combine_rows<float>(2, 5, 9, 8, 0);
  check_combine_rows<float>(2, 5, 9, 8, 1);
  check_combine_rows<float>(3, 6, 50, 1, 0);
  check_combine_rows<double>(2, 4, 6, 5, 0);
  check_combine_rows<double>(1, 4, 300, 2, 0);
  check_combine_rows<float>(0, 4, 6, 5, 0);
}

// -- rows
// ---------------------------------------------------------------------------------------------------------------

template <typename T>
void check_softmax(int64_t rows, int64_t columns, bool logarithm, int64_t misaligned) {
  std::vector<T> given = random_steps<T>(rows * columns, 4);
  for (T& x : given) x *= 3;
  if (rows > 2) given[static_cast<size_t>(columns)] = static_cast<T>(NAN);
  const Guarded<T> input(given, misaligned), gradient(random_reals<T>(rows * columns, 5), misaligned);
  Guarded<T> output(rows * columns, misaligned), input_gradient(rows * columns, misaligned);
  cuda::softmax({dtype_of<T>(), logarithm, rows, columns, input.data(), nullptr, output.data()});
  cuda::softmax({dtype_of<T>(), logarithm, rows, columns, output.data(), gradient.data(), input_gradient.data()});
  for (int64_t row = 0; row < rows; ++row) {
    double largest = -INFINITY, total = 0, sum = 0;
    for (int64_t c = 0; c < columns; ++c) largest = std::max(largest, value_of(input[row * columns + c]));
    for (int64_t c = 0; c < columns; ++c) total += std::exp(value_of(input[row * columns + c]) - largest);
    for (int64_t c = 0; c < columns; ++c) {
      const double dy = value_of(gradient[row * columns + c]);
      sum += logarithm ? dy : dy * value_of(output[row * columns + c]);
    }
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t i = row * columns + c;
      const double x = value_of(input[i]) - largest, y = value_of(output[i]), dy = value_of(gradient[i]);
      ASSERT_TRUE(close(y, logarithm ? x - std::log(total) : std::exp(x) / total, tolerance<T>())) << i;
      ASSERT_TRUE(
          close(value_of(input_gradient[i]), logarithm ? dy - std::exp(y) * sum : y * (dy - sum), 4 * tolerance<T>()))
          << i;
    }
  }
  ASSERT_TRUE(output.whole() && input_gradient.whole());
}

TEST(CudaKernels, Softmax) {
  for (const bool logarithm : {false, true}) {
    check_softmax<float>(5, 10, logarithm, 0);
    check_softmax<float>(3, 1, logarithm, 0);
    check_softmax<float>(40, 4, logarithm, 0);
    check_softmax<float>(7, 64, logarithm, 1);
    check_softmax<float>(3, 1000, logarithm, 0);
    check_softmax<double>(3, 333, logarithm, 0);
    check_softmax<double>(2, 2100, logarithm, 0);
    check_softmax<float>(2, 2500, logarithm, 0);
  }
  check_softmax<float>(0, 10, false, 0);
}

template <typename T>
void check_normalize(int64_t rows, int64_t columns, bool centered, bool affine, int64_t misaligned) {
  const Guarded<T> input(random_reals<T>(rows * columns, 6), misaligned),
      weight(random_reals<T>(columns, 7), misaligned);
  const Guarded<T> bias(random_reals<T>(columns, 8), misaligned), dy(random_reals<T>(rows * columns, 9), misaligned);
  Guarded<T> output(rows * columns, misaligned), mean(rows), inverse(rows), dx(rows * columns, misaligned);
  Guarded<T> weight_gradient(columns), bias_gradient(columns);
  const double eps = 1e-5, n = static_cast<double>(columns);
  cuda::normalize_rows({dtype_of<T>(), centered, rows, columns, eps, input.data(), affine ? weight.data() : nullptr,
                        affine ? bias.data() : nullptr, output.data(), mean.data(), inverse.data()});
  kernels::NormalizeRowsBackwardArguments backward{dtype_of<T>(),
                                                   centered,
                                                   rows,
                                                   columns,
                                                   dy.data(),
                                                   input.data(),
                                                   mean.data(),
                                                   inverse.data(),
                                                   affine ? weight.data() : nullptr,
                                                   dx.data(),
                                                   weight_gradient.data(),
                                                   bias_gradient.data(),
                                                   nullptr};
  Guarded<char> workspace(static_cast<int64_t>(cuda::normalize_rows_backward_workspace(backward)) + 16);
  backward.workspace = workspace.data() + 16 - reinterpret_cast<uintptr_t>(workspace.data()) % 16;
  cuda::normalize_rows_backward(backward);
  std::vector<double> products(static_cast<size_t>(columns), 0), sums(static_cast<size_t>(columns), 0);
  for (int64_t row = 0; row < rows; ++row) {
    const auto at = [&](const Guarded<T>& of, int64_t c) { return value_of(of[row * columns + c]); };
    const auto weight_at = [&](int64_t c) { return affine ? value_of(weight[c]) : 1.0; };
    double expected_mean = 0, squares = 0, total = 0, product = 0;
    for (int64_t c = 0; c < columns && centered; ++c) expected_mean += at(input, c) / n;
    for (int64_t c = 0; c < columns; ++c) squares += std::pow(at(input, c) - expected_mean, 2) / n;
    const double scale = 1 / std::sqrt(squares + eps);
    ASSERT_TRUE(close(value_of(mean[row]), expected_mean, tolerance<T>()));
    ASSERT_TRUE(close(value_of(inverse[row]), scale, tolerance<T>()));
    const auto normalized = [&](int64_t c) { return (at(input, c) - expected_mean) * scale; };
    for (int64_t c = 0; c < columns; ++c) {
      ASSERT_TRUE(
          close(at(output, c), normalized(c) * weight_at(c) + (affine ? value_of(bias[c]) : 0), 4 * tolerance<T>()));
      total += at(dy, c) * weight_at(c) / n;
      product += at(dy, c) * weight_at(c) * normalized(c) / n;
      products[static_cast<size_t>(c)] += at(dy, c) * normalized(c);
      sums[static_cast<size_t>(c)] += at(dy, c);
    }
    for (int64_t c = 0; c < columns; ++c)
      ASSERT_TRUE(close(at(dx, c),
                        (at(dy, c) * weight_at(c) - (centered ? total : 0) - normalized(c) * product) * scale,
                        20 * tolerance<T>()));
  }
  for (int64_t c = 0; c < columns; ++c) {
    ASSERT_TRUE(close(value_of(weight_gradient[c]), products[static_cast<size_t>(c)], 20 * tolerance<T>()));
    ASSERT_TRUE(close(value_of(bias_gradient[c]), sums[static_cast<size_t>(c)], 20 * tolerance<T>()));
  }
  ASSERT_TRUE(output.whole() && dx.whole() && mean.whole() && inverse.whole());
  ASSERT_TRUE(weight_gradient.whole() && bias_gradient.whole() && workspace.whole());
}

TEST(CudaKernels, NormalizeRows) {
  for (const bool centered : {false, true}) {
    check_normalize<float>(5, 24, centered, true, 0);
    check_normalize<float>(5, 24, centered, true, 3);
    check_normalize<float>(600, 33, centered, true, 0);
    check_normalize<double>(9, 70, centered, false, 0);
    check_normalize<double>(2, 1100, centered, true, 0);
  }
  check_normalize<float>(0, 8, true, true, 0);
}

// -- linear algebra
// -----------------------------------------------------------------------------------------------------

template <typename T>
void check_linear_algebra(int64_t batch, int64_t n, int64_t columns) {
  const std::vector<T> given = random_reals<T>(batch * n * n, 10), sides = random_reals<T>(batch * n * columns, 11);
  Guarded<T> factors(given), signs(batch);
  Guarded<int64_t> pivots(batch * n);
  cuda::factor({dtype_of<T>(), batch, n, factors.data(), pivots.data(), signs.data()});
  for (int64_t b = 0; b < batch; ++b) {
    // P A by the exchanges that are said to have been made.
    std::vector<T> permuted(given.begin() + b * n * n, given.begin() + (b + 1) * n * n);
    T sign = 1;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t other = pivots[b * n + i];
      ASSERT_TRUE(other >= i && other < n);
      if (other != i) sign = -sign;
      if (other != i)
        std::swap_ranges(permuted.begin() + i * n, permuted.begin() + (i + 1) * n, permuted.begin() + other * n);
    }
    ASSERT_EQ(signs[b], sign);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k <= std::min(i, j); ++k)
          sum += (k == i ? 1 : value_of(factors[(b * n + i) * n + k])) * value_of(factors[(b * n + k) * n + j]);
        ASSERT_TRUE(close(sum, value_of(permuted[static_cast<size_t>(i * n + j)]), 20 * tolerance<T>()));
        if (j < i) {
          ASSERT_LE(std::abs(value_of(factors[(b * n + i) * n + j])), 1);
        }
      }
  }
  for (const bool transposed : {false, true}) {
    Guarded<T> x(sides);
    cuda::solve({dtype_of<T>(), transposed, batch, n, columns, factors.data(), pivots.data(), x.data()});
    for (int64_t i = 0; i < batch * n * columns; ++i) {
      const int64_t b = i / (n * columns), row = i / columns % n, column = i % columns;
      double sum = 0, scale = 1;
      for (int64_t k = 0; k < n; ++k) {
        const double term = value_of(given[static_cast<size_t>(b * n * n + (transposed ? k * n + row : row * n + k))]) *
                            value_of(x[(b * n + k) * columns + column]);
        sum += term;
        scale += std::abs(term);
      }
      ASSERT_LE(std::abs(sum - value_of(sides[static_cast<size_t>(i)])), 50 * tolerance<T>() * scale);
    }
    ASSERT_TRUE(x.whole());
  }
  ASSERT_TRUE(factors.whole() && pivots.whole() && signs.whole());
}

TEST(CudaKernels, LinearAlgebra) {
  check_linear_algebra<float>(1, 1, 1);
  check_linear_algebra<float>(5, 3, 2);
  check_linear_algebra<double>(2, 17, 40);
  check_linear_algebra<double>(1, 50, 1);
  check_linear_algebra<float>(0, 3, 2);
}

TEST(CudaKernels, FactorOfSingularMatrices) {
  const auto nan = std::numeric_limits<double>::quiet_NaN();
  Guarded<double> matrices(std::vector<double>{0, 1, 0, 2, nan, 1, 3, 1}), signs(2);
  Guarded<int64_t> pivots(4);
  cuda::factor({DType::Float64, 2, 2, matrices.data(), pivots.data(), signs.data()});
  EXPECT_EQ(pivots.values(), (std::vector<int64_t>{0, 1, 0, 1}));
  EXPECT_EQ(matrices[0], 0);  // no pivot: the column stays
  EXPECT_EQ(matrices[3], 2);
  EXPECT_TRUE(std::isnan(matrices[4]) && std::isnan(matrices[6]));
}

// -- random
// -------------------------------------------------------------------------------------------------------------

__extension__ using Wide = unsigned __int128;

/// Philox4x32-10 as published, for one counter.
std::vector<uint32_t> philox(uint64_t key, uint64_t counter) {
  uint64_t x[4] = {counter & 0xFFFFFFFF, counter >> 32, 0, 0}, k[2] = {key & 0xFFFFFFFF, key >> 32};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = x[0] * 0xD2511F53, b = x[2] * 0xCD9E8D57;
    const uint64_t next[4] = {(b >> 32) ^ x[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ x[3] ^ k[1], a & 0xFFFFFFFF};
    std::copy(next, next + 4, x);
    k[0] = (k[0] + 0x9E3779B9) & 0xFFFFFFFF;
    k[1] = (k[1] + 0xBB67AE85) & 0xFFFFFFFF;
  }
  return {static_cast<uint32_t>(x[0]), static_cast<uint32_t>(x[1]), static_cast<uint32_t>(x[2]),
          static_cast<uint32_t>(x[3])};
}

template <typename T>
void check_random(kernels::RandomKind kind, int64_t count, double first, double second) {
  using kernels::RandomKind;
  const auto key = static_cast<int64_t>(0x9876543210FEDCBAULL);
  constexpr int64_t low = -5, high = 1000;
  Guarded<T> output(count, count % 3);
  cuda::random({kind, &key, first, second, low, high, dtype_of<T>(), output.data(), count});
  const bool pairs = kind == RandomKind::Integer || (sizeof(T) == 8 && kind != RandomKind::Bernoulli);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t per_block = pairs ? 2 : 4;
    const auto words = philox(static_cast<uint64_t>(key), static_cast<uint64_t>(i / per_block));
    const auto at = [&](int64_t j) {
      const auto k = static_cast<size_t>(j % per_block);
      return pairs ? words[2 * k] | static_cast<uint64_t>(words[2 * k + 1]) << 32 : uint64_t{words[k]};
    };
    const double range = pairs ? 0x1p53 : 0x1p32;
    const auto unit = [&](int64_t j) { return static_cast<double>(pairs ? at(j) >> 11 : at(j)) / range; };
    double expected = 0;
    if (kind == RandomKind::Uniform) expected = first + (second - first) * unit(i);
    if (kind == RandomKind::Bernoulli) expected = unit(i) < first ? 1 : 0;
    if (kind == RandomKind::Integer)
      expected = static_cast<double>(low + static_cast<int64_t>((static_cast<Wide>(at(i)) * (high - low)) >> 64));
    if (kind == RandomKind::Normal) {
      const double radius = std::sqrt(-2 * std::log(unit(i / 2 * 2) + 1 / range)),
                   angle = 2 * M_PI * unit(i / 2 * 2 + 1);
      expected = first + second * radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    }
    const bool exact = kind == RandomKind::Bernoulli || kind == RandomKind::Integer;
    const double got = value_of(output[i]);
    ASSERT_TRUE(close(got, expected, exact ? 0 : tolerance<T>())) << i << " " << got << " " << expected;
    if (kind == RandomKind::Uniform) {
      ASSERT_TRUE(got >= first && got < second);
    }
  }
  ASSERT_TRUE(output.whole());
}

TEST(CudaKernels, Random) {
  using kernels::RandomKind;
  EXPECT_EQ(philox(0, 0)[0], 0x6627e8d5U);  // Salmon et al.'s known answer
  for (const int64_t count : {0, 1, 7, 64, 1030}) {
    check_random<float>(RandomKind::Uniform, count, -2, 3);
    check_random<double>(RandomKind::Uniform, count, 0, 1);
    check_random<BFloat16>(RandomKind::Uniform, count, 0, 1);
    check_random<Float16>(RandomKind::Uniform, count, 0, 1);
    check_random<float>(RandomKind::Normal, count, 1, 0.5);
    check_random<double>(RandomKind::Normal, count, 0, 1);
    check_random<float>(RandomKind::Bernoulli, count, 0.3, 0);
    check_random<double>(RandomKind::Bernoulli, count, 0.3, 0);
    check_random<int64_t>(RandomKind::Integer, count, 0, 0);
    check_random<float>(RandomKind::Integer, count, 0, 0);
  }
}

// -- what launchers throw
// ----------------------------------------------------------------------------------------------

size_t finds_no_memory(const kernels::ReduceArguments&) { throw std::bad_alloc(); }
void fails(int number, bool fail) {
  if (fail) throw std::runtime_error("failure number " + std::to_string(number));
}

TEST(CudaKernels, WhatLaunchersThrowIsNoted) {
  const kernels::Backend& backend = *pycnn_backend_v1();
  ASSERT_EQ(backend.take_error(), nullptr);
  cuda::guarded<fails>(1, false);
  EXPECT_EQ(backend.take_error(), nullptr);
  EXPECT_EQ(cuda::guarded<finds_no_memory>({}), 0U);
  cuda::guarded<fails>(2, true);  // the first failure is told of
  EXPECT_TRUE(cuda::failed());
  EXPECT_STREQ(backend.take_error(), "the computer is out of memory");
  EXPECT_EQ(backend.take_error(), nullptr);
  cuda::guarded<fails>(3, true);
  EXPECT_STREQ(backend.take_error(), "failure number 3");
}

}  // namespace
}  // namespace pycnn::testing_cuda
