// Reductions against plain loops in long double, for every mask of loops, on every level.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/parallel.h"
#include "kernel_programs.h"

namespace kernel_tests {
namespace {

using pycnn::kernels::Accumulation;
using pycnn::kernels::ReduceArguments;
using pycnn::kernels::ReduceKind;

/// Strides of the outputs of a reduction: dense over the kept loops, 0 along the reduced.
std::vector<int64_t> kept_strides(const std::vector<int64_t>& sizes, const std::vector<bool>& reduced, int64_t& kept) {
  std::vector<int64_t> strides(sizes.size(), 0);
  kept = 1;
  for (size_t d = sizes.size(); d-- > 0;)
    if (!reduced[d]) strides[d] = kept, kept *= sizes[d];
  return strides;
}

void run_reduce(const Kernels& kernels, Builder& program, const std::vector<bool>& reduced,
                std::vector<Accumulation> accumulations) {
  ReduceArguments arguments{
      program.arguments(), {}, accumulations.data(), static_cast<int>(accumulations.size()), nullptr};
  for (size_t d = 0; d < reduced.size(); ++d) arguments.reduced[d] = reduced[d];
  std::vector<int64_t> workspace((kernels.reduce_workspace(arguments) + 7) / 8 + 1, -1);
  arguments.workspace = workspace.data();
  kernels.reduce(arguments);
}

struct Expected {
  std::vector<long double> sum, magnitude, maximum, minimum, mean, deviation;
};

/// Everything at once by definition.
template <typename T>
Expected expect(const std::vector<T>& x, const std::vector<int64_t>& sizes, const std::vector<bool>& reduced) {
  int64_t kept;
  const std::vector<int64_t> strides = kept_strides(sizes, reduced, kept);
  const long double inf = std::numeric_limits<long double>::infinity();
  const auto n = static_cast<size_t>(kept);
  Expected e{std::vector<long double>(n),      std::vector<long double>(n), std::vector<long double>(n, -inf),
             std::vector<long double>(n, inf), std::vector<long double>(n), std::vector<long double>(n)};
  std::vector<size_t> output_of(x.size());
  std::vector<int64_t> index(sizes.size(), 0);
  std::vector<long double> count(n);
  for (size_t i = 0; i < x.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), at = 0;
    for (size_t d = sizes.size(); d-- > 0; rest /= sizes[d]) at += rest % sizes[d] * strides[d];
    const size_t o = output_of[i] = static_cast<size_t>(at);
    const auto value = static_cast<long double>(x[i]);
    e.sum[o] += value;
    e.magnitude[o] += std::abs(value);
    e.maximum[o] = std::max(e.maximum[o], value);
    e.minimum[o] = std::min(e.minimum[o], value);
    count[o] += 1;
  }
  for (size_t o = 0; o < n; ++o) e.mean[o] = e.sum[o] / count[o];
  for (size_t i = 0; i < x.size(); ++i) {
    const long double d = static_cast<long double>(x[i]) - e.mean[output_of[i]];
    e.deviation[output_of[i]] += d * d;
  }
  return e;
}

template <typename T>
void check_mask(const Kernels& kernels, RegisterType type, const std::vector<int64_t>& sizes,
                const std::vector<bool>& reduced, double mean) {
  int64_t total = 1, kept;
  for (int64_t size : sizes) total *= size;
  const std::vector<int64_t> strides = kept_strides(sizes, reduced, kept);
  const DType dtype = type == f32 ? DType::Float32 : DType::Float64;
  Generator generator;
  const auto x = generator.vector<T>(static_cast<size_t>(total), mean - 1, mean + 1);
  const Expected e = expect(x, sizes, reduced);
  const auto n = static_cast<size_t>(kept);
  std::vector<T> sum(n, 7), maximum(n, 7), minimum(n, 7), average(n, 7), deviation(n, 7);
  Builder program(sizes);
  const uint8_t a = program.load(type, x.data(), dtype, program.dense());
  const auto output = [&](std::vector<T>& y) { return program.make_operand(y.data(), dtype, strides); };
  run_reduce(kernels, program, reduced,
             {{ReduceKind::Sum, a, output(sum), {}},
              {ReduceKind::Maximum, a, output(maximum), {}},
              {ReduceKind::Minimum, a, output(minimum), {}},
              {ReduceKind::Moments, a, output(average), output(deviation)}});
  const long double epsilon = std::numeric_limits<T>::epsilon();
  for (size_t o = 0; o < n; ++o) {
    ASSERT_NEAR(sum[o], static_cast<double>(e.sum[o]), static_cast<double>(8 * epsilon * e.magnitude[o]))
        << kernels.level;
    ASSERT_EQ(maximum[o], static_cast<T>(e.maximum[o]));
    ASSERT_EQ(minimum[o], static_cast<T>(e.minimum[o]));
    ASSERT_NEAR(average[o], static_cast<double>(e.mean[o]),
                static_cast<double>(2 * epsilon * (std::abs(e.mean[o]) + 1)));
    ASSERT_NEAR(deviation[o], static_cast<double>(e.deviation[o]),
                static_cast<double>(64 * epsilon * e.deviation[o] + 1e-30L));
  }
}

TEST(Reduce, EveryMaskOfLoops) {
  const std::vector<std::vector<int64_t>> shapes = {
      {5, 7, 3, 11}, {2, 70, 3, 16}, {3, 1, 1030, 4}, {2, 3, 5, 700}, {1, 300, 2, 600}};
  for (const Kernels* kernels : all_levels())
    for (const auto& sizes : shapes)
      for (int mask = 0; mask < 16; ++mask) {
        const std::vector<bool> reduced = {(mask & 1) != 0, (mask & 2) != 0, (mask & 4) != 0, (mask & 8) != 0};
        SCOPED_TRACE(testing::Message() << sizes[0] << " " << sizes[1] << " " << sizes[2] << " " << sizes[3] << " mask "
                                        << mask);
        check_mask<float>(*kernels, f32, sizes, reduced, 0.1);
        check_mask<double>(*kernels, f64, sizes, reduced, 0.1);
      }
}

TEST(Reduce, LargeOnesAreCutIntoParts) {
  for (const Kernels* kernels : all_levels()) {
    check_mask<float>(*kernels, f32, {1000003}, {true}, 0.5);
    check_mask<float>(*kernels, f32, {60000, 6}, {true, false}, 0.5);
    check_mask<float>(*kernels, f32, {3000, 300}, {true, false}, 0.5);
    check_mask<float>(*kernels, f32, {9, 70001}, {false, true}, 0.5);
    check_mask<float>(*kernels, f32, {700, 40, 9}, {true, false, true}, 0.5);
  }
}

TEST(Reduce, RowsOfAnyWidth) {
  for (const Kernels* kernels : all_levels())
    for (int64_t width : {1, 3, 6, 20, 33, 48, 100, 511, 512, 700, 1024})
      for (int64_t rows : {2, 37, 500}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << width);
        check_mask<float>(*kernels, f32, {rows, width}, {true, false}, 0.5);
        check_mask<double>(*kernels, f64, {rows, width}, {true, false}, 0.5);
      }
}

TEST(Reduce, MomentsOfComputedValuesAreThoseOfStoredOnes) {
  for (const Kernels* kernels : all_levels())
    for (int64_t width : {6, 64, 700}) {
      const int64_t rows = 3001;
      Generator generator;
      const auto x = generator.vector<float>(static_cast<size_t>(rows * width), -1, 1);
      const std::vector<float> zeros(static_cast<size_t>(width));
      std::vector<float> results[4];
      for (std::vector<float>& result : results) result.resize(static_cast<size_t>(width));
      Builder program({rows, width});
      const uint8_t stored = program.load(f32, x.data(), DType::Float32, {width, 1});
      const uint8_t zero = program.load(f32, zeros.data(), DType::Float32, {0, 1});
      const uint8_t computed = program.apply(Opcode::Subtract, f32, stored, zero);
      const auto output = [&](std::vector<float>& y) { return program.make_operand(y.data(), DType::Float32, {0, 1}); };
      run_reduce(*kernels, program, {true, false},
                 {{ReduceKind::Moments, stored, output(results[0]), output(results[1])},
                  {ReduceKind::Moments, computed, output(results[2]), output(results[3])}});
      EXPECT_EQ(results[0], results[2]);
      EXPECT_EQ(results[1], results[3]);
    }
}

TEST(Reduce, MomentsSurviveAMeanFarFromZero) {
  // Mean 10⁴ deviations away: the naive formula would leave nothing of the variance.
  for (const Kernels* kernels : all_levels()) {
    Generator generator;
    std::vector<float> x(200000);
    for (float& value : x) value = static_cast<float>(generator.next(9999, 10001));
    const Expected e = expect(x, {50000, 4}, {true, false});
    std::vector<float> mean(4), deviation(4);
    Builder program({50000, 4});
    const uint8_t a = program.load(f32, x.data(), DType::Float32, {4, 1});
    run_reduce(*kernels, program, {true, false},
               {{ReduceKind::Moments, a, program.make_operand(mean.data(), DType::Float32, {0, 1}),
                 program.make_operand(deviation.data(), DType::Float32, {0, 1})}});
    for (size_t o = 0; o < 4; ++o) {
      EXPECT_EQ(mean[o], static_cast<float>(e.mean[o]));
      EXPECT_NEAR(deviation[o], static_cast<double>(e.deviation[o]), 1e-6 * static_cast<double>(e.deviation[o]));
    }
  }
}

TEST(Reduce, PrologueAndStoreShareThePass) {
  // Σ (x - shift[c])² per channel, while x - shift is stored as bfloat16; strides of a transposed input.
  const int64_t rows = 777, channels = 5;
  Generator generator;
  const auto x = generator.vector<float>(static_cast<size_t>(rows * channels), -1, 1);
  const auto shift = generator.vector<float>(static_cast<size_t>(channels), -1, 1);
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> sum(static_cast<size_t>(channels)), centred(x.size());
    Builder program({rows, channels});
    const uint8_t a = program.load(f32, x.data(), DType::Float32, {1, rows});
    const uint8_t b = program.load(f32, shift.data(), DType::Float32, {0, 1});
    const uint8_t d = program.apply(Opcode::Subtract, f32, a, b);
    program.store(f32, d, centred.data(), DType::Float32, {channels, 1});
    const uint8_t square = program.apply(Opcode::Square, f32, d);
    run_reduce(*kernels, program, {true, false},
               {{ReduceKind::Sum, square, program.make_operand(sum.data(), DType::Float32, {0, 1}), {}}});
    for (int64_t c = 0; c < channels; ++c) {
      double expected = 0;
      for (int64_t r = 0; r < rows; ++r) {
        const float difference = x[static_cast<size_t>(c * rows + r)] - shift[static_cast<size_t>(c)];
        ASSERT_EQ(centred[static_cast<size_t>(r * channels + c)], difference);
        expected += static_cast<double>(difference) * static_cast<double>(difference);
      }
      EXPECT_NEAR(sum[static_cast<size_t>(c)], expected, 1e-6 * expected);
    }
  }
}

TEST(Reduce, EmptyRangesGiveTheIdentity) {
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> sum(3, 7), product(3, 7), maximum(3, 7), mean(3, 7), deviation(3, 7);
    std::vector<int64_t> lowest(3, 7);
    Builder program({3, 0});
    const uint8_t a = program.load(f32, nullptr, DType::Float32, {0, 1});
    const uint8_t b = program.load(i64, nullptr, DType::Int64, {0, 1});
    const auto output = [&](std::vector<float>& y) { return program.make_operand(y.data(), DType::Float32, {1, 0}); };
    run_reduce(*kernels, program, {false, true},
               {{ReduceKind::Sum, a, output(sum), {}},
                {ReduceKind::Product, a, output(product), {}},
                {ReduceKind::Maximum, a, output(maximum), {}},
                {ReduceKind::Moments, a, output(mean), output(deviation)},
                {ReduceKind::Maximum, b, program.make_operand(lowest.data(), DType::Int64, {1, 0}), {}}});
    EXPECT_EQ(sum, std::vector<float>(3, 0));
    EXPECT_EQ(product, std::vector<float>(3, 1));
    EXPECT_EQ(maximum, std::vector<float>(3, -std::numeric_limits<float>::infinity()));
    EXPECT_EQ(mean, std::vector<float>(3, 0));
    EXPECT_EQ(deviation, std::vector<float>(3, 0));
    EXPECT_EQ(lowest, std::vector<int64_t>(3, INT64_MIN));
  }
}

TEST(Reduce, NanSpreadsAndIntegersWrap) {
  for (const Kernels* kernels : all_levels())
    for (size_t place : {size_t{0}, size_t{17}, size_t{999}}) {
      std::vector<float> x(1000, 1.0f);
      x[place] = std::numeric_limits<float>::quiet_NaN();
      std::vector<int64_t> y(1000, INT64_MAX / 2);
      float maximum = 0, minimum = 0;
      int64_t sum = 0;
      Builder program({1000});
      const uint8_t a = program.load(f32, x.data(), DType::Float32, {1});
      const uint8_t b = program.load(i64, y.data(), DType::Int64, {1});
      run_reduce(*kernels, program, {true},
                 {{ReduceKind::Maximum, a, program.make_operand(&maximum, DType::Float32, {0}), {}},
                  {ReduceKind::Minimum, a, program.make_operand(&minimum, DType::Float32, {0}), {}},
                  {ReduceKind::Sum, b, program.make_operand(&sum, DType::Int64, {0}), {}}});
      EXPECT_TRUE(std::isnan(maximum));
      EXPECT_TRUE(std::isnan(minimum));
      EXPECT_EQ(sum, static_cast<int64_t>(uint64_t{INT64_MAX / 2} * 1000));
    }
}

TEST(Reduce, SameBitsForAnyNumberOfThreadsAndAnyLayout) {
  Generator generator;
  const int64_t rows = 20000, channels = 12;
  const auto x = generator.vector<float>(static_cast<size_t>(rows * channels), -1, 1);
  std::vector<float> turned(x.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < channels; ++c)
      turned[static_cast<size_t>(c * rows + r)] = x[static_cast<size_t>(r * channels + c)];
  std::vector<float> expected;
  for (const Kernels* kernels : all_levels())
    for (int threads : {1, 2, 3, 7}) {
      pycnn::cpu::set_num_threads(threads);
      for (bool transposed : {false, true}) {
        std::vector<float> sum(static_cast<size_t>(channels));
        Builder program({rows, channels});
        const uint8_t a = transposed ? program.load(f32, turned.data(), DType::Float32, {1, rows})
                                     : program.load(f32, x.data(), DType::Float32, {channels, 1});
        run_reduce(*kernels, program, {true, false},
                   {{ReduceKind::Sum, a, program.make_operand(sum.data(), DType::Float32, {0, 1}), {}}});
        if (expected.empty()) expected = sum;
        EXPECT_EQ(std::memcmp(sum.data(), expected.data(), sum.size() * 4), 0) << kernels->level << " " << threads;
      }
    }
}

}  // namespace
}  // namespace kernel_tests
