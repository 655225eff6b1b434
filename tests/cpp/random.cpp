// Random kernels: known answers, independence of the cut, and the distributions' moments.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cpu/parallel.h"
#include "kernel_programs.h"

#define PYCNN_ISA test_only
#include "cpu/isa/philox.h"

namespace kernel_tests {
namespace {

using pycnn::kernels::RandomArguments;
using pycnn::kernels::RandomKind;

template <typename T>
std::vector<T> draw(const Kernels& kernels, RandomKind kind, DType dtype, size_t count, double first, double second,
                    int64_t low = 0, int64_t high = 0, int64_t key = 42) {
  std::vector<T> result(count);
  RandomArguments arguments{kind, &key, first, second, low, high, dtype, result.data(), static_cast<int64_t>(count)};
  kernels.random(arguments);
  return result;
}

TEST(Philox, KnownAnswersOfItsAuthors) {
  struct Answer {
    uint32_t counter[4], key[2], expected[4];
  };
  const Answer answers[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                            {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                             {0xffffffff, 0xffffffff},
                             {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                            {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                             {0xa4093822, 0x299f31d0},
                             {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Answer& answer : answers) {
    pycnn::cpu::test_only::PhiloxCounters counters{};
    for (int w = 0; w < 4; ++w) counters[w][5] = answer.counter[w];
    pycnn::cpu::test_only::philox(counters, answer.key[0], answer.key[1]);
    for (int w = 0; w < 4; ++w) EXPECT_EQ(counters[w][5], answer.expected[w]);
  }
}

TEST(Random, WordsAreThoseOfTheBlock) {
  // All 2⁶⁴ integers: an element is two raw words.
  for (const Kernels* kernels : all_levels()) {
    const auto x = draw<int64_t>(*kernels, RandomKind::Integer, DType::Int64, 2, 0, 0, 0, 0, 0);
    EXPECT_EQ(static_cast<uint64_t>(x[0]), 0xe169c58d6627e8d5u);
    EXPECT_EQ(static_cast<uint64_t>(x[1]), 0x9b00dbd8bc57ac4cu);
  }
}

TEST(Random, ElementsDependOnKeyAndIndexAlone) {
  const size_t n = 100001;
  std::vector<float> uniform, normal;
  std::vector<double> wide;
  for (const Kernels* kernels : all_levels())
    for (int threads : {1, 2, 3, 7}) {
      pycnn::cpu::set_num_threads(threads);
      const auto u = draw<float>(*kernels, RandomKind::Uniform, DType::Float32, n, 0, 1);
      const auto z = draw<float>(*kernels, RandomKind::Normal, DType::Float32, n, 0, 1);
      const auto w = draw<double>(*kernels, RandomKind::Normal, DType::Float64, n, 0, 1);
      if (uniform.empty()) uniform = u, normal = z, wide = w;
      EXPECT_EQ(u, uniform) << kernels->level;
      EXPECT_EQ(z, normal) << kernels->level;
      EXPECT_EQ(w, wide) << kernels->level;
      const auto shorter = draw<float>(*kernels, RandomKind::Normal, DType::Float32, 777, 0, 1);
      EXPECT_EQ(std::memcmp(shorter.data(), normal.data(), 777 * 4), 0);
    }
  EXPECT_NE(draw<float>(*all_levels()[0], RandomKind::Uniform, DType::Float32, 8, 0, 1, 0, 0, 43),
            std::vector<float>(uniform.begin(), uniform.begin() + 8));
}

template <typename T>
void check_moments(const std::vector<T>& x, double mean, double variance, double kurtosis) {
  double sum = 0, second = 0, fourth = 0;
  for (T value : x) sum += static_cast<double>(value);
  const auto n = static_cast<double>(x.size());
  for (T value : x) {
    const double d = static_cast<double>(value) - sum / n;
    second += d * d;
    fourth += d * d * d * d;
  }
  EXPECT_NEAR(sum / n, mean, 5 * std::sqrt(variance / n));
  EXPECT_NEAR(second / n, variance, 0.01 * variance);
  EXPECT_NEAR(fourth / n / (second * second / n / n), kurtosis, 0.05 * kurtosis);
}

TEST(Random, DistributionsHaveTheirMoments) {
  const size_t n = 1000000;
  for (const Kernels* kernels : all_levels()) {
    check_moments(draw<float>(*kernels, RandomKind::Uniform, DType::Float32, n, -2, 4), 1, 3, 1.8);
    check_moments(draw<double>(*kernels, RandomKind::Uniform, DType::Float64, n, 0, 1), 0.5, 1.0 / 12, 1.8);
    check_moments(draw<float>(*kernels, RandomKind::Normal, DType::Float32, n, 3, 2), 3, 4, 3);
    check_moments(draw<double>(*kernels, RandomKind::Normal, DType::Float64, n, -1, 0.5), -1, 0.25, 3);
    check_moments(draw<uint8_t>(*kernels, RandomKind::Bernoulli, DType::Bool, n, 0.3, 0), 0.3, 0.21,
                  0.21 * (0.027 + 0.343) / 0.0441);
    const auto dice = draw<int64_t>(*kernels, RandomKind::Integer, DType::Int64, n, 0, 0, -2, 5);
    check_moments(dice, 1, 4, 1.75);
    for (int64_t value : dice) ASSERT_TRUE(value >= -2 && value < 5);
  }
}

TEST(Random, RangesAreHalfOpen) {
  for (const Kernels* kernels : all_levels()) {
    for (float value : draw<float>(*kernels, RandomKind::Uniform, DType::Float32, 200000, 1, 1.0000005))
      ASSERT_LT(value, 1.0000005f);
    for (uint16_t bits : draw<uint16_t>(*kernels, RandomKind::Uniform, DType::BFloat16, 200000, 0, 1))
      ASSERT_LT(bits, 0x3f80);
    for (uint16_t bits : draw<uint16_t>(*kernels, RandomKind::Uniform, DType::Float16, 200000, 0, 1))
      ASSERT_LT(bits, 0x3c00);
    for (float value : draw<float>(*kernels, RandomKind::Bernoulli, DType::Float32, 1000, 1, 0)) ASSERT_EQ(value, 1);
    for (float value : draw<float>(*kernels, RandomKind::Bernoulli, DType::Float32, 1000, 0, 0)) ASSERT_EQ(value, 0);
    EXPECT_TRUE(draw<float>(*kernels, RandomKind::Normal, DType::Float32, 0, 0, 1).empty());
  }
}

}  // namespace
}  // namespace kernel_tests
