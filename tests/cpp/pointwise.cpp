// Pointwise programs against the C++ library in wider precision, on every level.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "cpu/parallel.h"
#include "kernel_programs.h"

namespace kernel_tests {
namespace {

const double inf = std::numeric_limits<double>::infinity();
const double nan = std::numeric_limits<double>::quiet_NaN();

/// Distance in units of the last place of float, of a result from the exact value.
double ulp_error(float actual, double exact) {
  if (std::isnan(exact)) return std::isnan(actual) ? 0 : inf;
  const float rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || std::isinf(actual)) return actual == rounded ? 0 : inf;
  int exponent;
  std::frexp(exact, &exponent);
  const double ulp = std::ldexp(1.0, std::max(exponent - 24, -149));
  return std::abs(static_cast<double>(actual) - exact) / ulp;
}

std::vector<float> interesting_floats() {
  std::vector<float> values = {0.0f,
                               -0.0f,
                               1.0f,
                               -1.0f,
                               0.5f,
                               -0.5f,
                               2.0f,
                               3.0f,
                               -3.0f,
                               1e-45f,
                               -1e-45f,
                               1e-38f,
                               1.17549435e-38f,
                               3.4028235e38f,
                               -3.4028235e38f,
                               1e-20f,
                               -1e-20f,
                               1e6f,
                               1.1e6f,
                               -2e6f,
                               1e20f,
                               0.99999994f,
                               1.0000001f,
                               88.7f,
                               89.0f,
                               -87.5f,
                               -103.0f,
                               -104.0f,
                               16777216.0f,
                               0.25f,
                               1.5f,
                               2.5f,
                               -2.5f,
                               static_cast<float>(inf),
                               static_cast<float>(-inf),
                               static_cast<float>(nan)};
  Generator generator;
  for (double scale : {1e-30, 1e-6, 0.1, 1.0, 10.0, 100.0, 1e5, 1e30})
    for (int i = 0; i < 400; ++i) values.push_back(static_cast<float>(generator.next(-scale, scale)));
  return values;
}

template <typename T>
std::vector<T> run_unary(const Kernels& kernels, Opcode opcode, RegisterType type, DType dtype,
                         const std::vector<T>& x) {
  std::vector<T> y(x.size());
  Builder program({static_cast<int64_t>(x.size())});
  const uint8_t a = program.load(type, x.data(), dtype, {1});
  program.store(type, program.apply(opcode, type, a), y.data(), dtype, {1});
  kernels.pointwise(program.arguments());
  return y;
}

template <typename T>
std::vector<T> run_binary(const Kernels& kernels, Opcode opcode, RegisterType type, DType dtype,
                          const std::vector<T>& x, const std::vector<T>& y) {
  std::vector<T> z(x.size());
  Builder program({static_cast<int64_t>(x.size())});
  const uint8_t a = program.load(type, x.data(), dtype, {1});
  const uint8_t b = program.load(type, y.data(), dtype, {1});
  program.store(type, program.apply(opcode, type, a, b), z.data(), dtype, {1});
  kernels.pointwise(program.arguments());
  return z;
}

struct UnaryCase {
  const char* name;
  Opcode opcode;
  double (*exact)(double);
  double bound;  ///< in ulp; 0.5 is correct rounding
};

class Unary : public testing::TestWithParam<UnaryCase> {};

TEST_P(Unary, FloatIsWithinItsBound) {
  const UnaryCase& row = GetParam();
  const std::vector<float> x = interesting_floats();
  std::vector<float> first;
  for (const Kernels* kernels : all_levels()) {
    const std::vector<float> y = run_unary(*kernels, row.opcode, f32, DType::Float32, x);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_LE(ulp_error(y[i], row.exact(static_cast<double>(x[i]))), row.bound)
          << kernels->level << " " << row.name << "(" << x[i] << ") = " << y[i];
    if (first.empty()) first = y;
    for (size_t i = 0; i < x.size(); ++i)
      if (!std::isnan(y[i])) {
        EXPECT_EQ(std::memcmp(&y[i], &first[i], 4), 0) << kernels->level << " differs at " << x[i];
      }
  }
}

TEST_P(Unary, DoubleIsTheLibrarys) {
  const UnaryCase& row = GetParam();
  std::vector<double> x;
  for (float value : interesting_floats()) x.push_back(value);
  for (const Kernels* kernels : all_levels()) {
    const std::vector<double> y = run_unary(*kernels, row.opcode, f64, DType::Float64, x);
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = row.exact(x[i]);
      if (std::isnan(exact)) {
        EXPECT_TRUE(std::isnan(y[i])) << row.name << x[i];
      } else if (std::isinf(exact)) {
        EXPECT_EQ(y[i], exact) << row.name << x[i];
      } else {
        EXPECT_NEAR(y[i], exact, 4e-16 * std::abs(exact)) << row.name << x[i];
      }
    }
  }
}

double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

INSTANTIATE_TEST_SUITE_P(
    Opcodes, Unary,
    testing::Values(UnaryCase{"negate", Opcode::Negate, [](double x) { return -x; }, 0.5},
                    UnaryCase{"absolute", Opcode::Absolute, [](double x) { return std::abs(x); }, 0.5},
                    UnaryCase{"sign", Opcode::Sign, sign_of, 0.5},
                    UnaryCase{"square", Opcode::Square, [](double x) { return x * x; }, 0.5},
                    UnaryCase{"sqrt", Opcode::Sqrt, [](double x) { return std::sqrt(x); }, 0.5},
                    UnaryCase{"reciprocal", Opcode::Reciprocal, [](double x) { return 1 / x; }, 0.5},
                    UnaryCase{"exp", Opcode::Exp, [](double x) { return std::exp(x); }, 0.52},
                    UnaryCase{"expm1", Opcode::Expm1, [](double x) { return std::expm1(x); }, 0.52},
                    UnaryCase{"log", Opcode::Log, [](double x) { return std::log(x); }, 0.52},
                    UnaryCase{"log1p", Opcode::Log1p, [](double x) { return std::log1p(x); }, 0.52},
                    UnaryCase{"log2", Opcode::Log2, [](double x) { return std::log2(x); }, 0.52},
                    UnaryCase{"log10", Opcode::Log10, [](double x) { return std::log10(x); }, 0.52},
                    UnaryCase{"sin", Opcode::Sin, [](double x) { return std::sin(x); }, 0.52},
                    UnaryCase{"cos", Opcode::Cos, [](double x) { return std::cos(x); }, 0.52},
                    UnaryCase{"tan", Opcode::Tan, [](double x) { return std::tan(x); }, 0.52},
                    UnaryCase{"asin", Opcode::Asin, [](double x) { return std::asin(x); }, 1.5},
                    UnaryCase{"acos", Opcode::Acos, [](double x) { return std::acos(x); }, 1.5},
                    UnaryCase{"atan", Opcode::Atan, [](double x) { return std::atan(x); }, 1.5},
                    UnaryCase{"sinh", Opcode::Sinh, [](double x) { return std::sinh(x); }, 0.52},
                    UnaryCase{"cosh", Opcode::Cosh, [](double x) { return std::cosh(x); }, 0.52},
                    UnaryCase{"tanh", Opcode::Tanh, [](double x) { return std::tanh(x); }, 0.52},
                    UnaryCase{"erf", Opcode::Erf, [](double x) { return std::erf(x); }, 0.52},
                    UnaryCase{"sigmoid", Opcode::Sigmoid, sigmoid_of, 0.52},
                    UnaryCase{"floor", Opcode::Floor, [](double x) { return std::floor(x); }, 0.5},
                    UnaryCase{"ceil", Opcode::Ceil, [](double x) { return std::ceil(x); }, 0.5},
                    UnaryCase{"round", Opcode::Round, [](double x) { return std::nearbyint(x); }, 0.5},
                    UnaryCase{"truncate", Opcode::Truncate, [](double x) { return std::trunc(x); }, 0.5},
                    UnaryCase{"is_nan", Opcode::IsNan, [](double x) { return std::isnan(x) ? 1.0 : 0.0; }, 0.5},
                    UnaryCase{"is_inf", Opcode::IsInf, [](double x) { return std::isinf(x) ? 1.0 : 0.0; }, 0.5},
                    UnaryCase{"logical_not", Opcode::LogicalNot, [](double x) { return x == 0 ? 1.0 : 0.0; }, 0.5}),
    [](const auto& info) { return std::string(info.param.name); });

struct BinaryCase {
  const char* name;
  Opcode opcode;
  double (*exact)(double, double);
  double bound;
};

class Binary : public testing::TestWithParam<BinaryCase> {};

double python_remainder(double a, double b) {
  const double r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
double either_nan(double a, double b, double otherwise) { return std::isnan(a) || std::isnan(b) ? nan : otherwise; }

TEST_P(Binary, FloatIsWithinItsBound) {
  const BinaryCase& row = GetParam();
  const std::vector<float> some = interesting_floats();
  std::vector<float> x, y;
  for (size_t i = 0; i < some.size(); i += i < 40 ? 1 : 37)
    for (size_t j = 0; j < some.size(); j += j < 40 ? 1 : 41) x.push_back(some[i]), y.push_back(some[j]);
  std::vector<float> first;
  for (const Kernels* kernels : all_levels()) {
    const std::vector<float> z = run_binary(*kernels, row.opcode, f32, DType::Float32, x, y);
    for (size_t i = 0; i < x.size(); ++i)
      EXPECT_LE(ulp_error(z[i], row.exact(static_cast<double>(x[i]), static_cast<double>(y[i]))), row.bound)
          << kernels->level << " " << row.name << "(" << x[i] << ", " << y[i] << ") = " << z[i];
    if (first.empty()) first = z;
    for (size_t i = 0; i < x.size(); ++i)
      if (!std::isnan(z[i])) {
        EXPECT_EQ(std::memcmp(&z[i], &first[i], 4), 0) << kernels->level << x[i] << " " << y[i];
      }
    // Alone as among others.
    for (size_t i = 0; i < x.size(); i += 3) {
      const float alone = run_binary(*kernels, row.opcode, f32, DType::Float32, std::vector<float>{x[i]}, {y[i]})[0];
      EXPECT_TRUE(std::memcmp(&alone, &z[i], 4) == 0 || (std::isnan(alone) && std::isnan(z[i])))
          << kernels->level << " " << row.name << "(" << x[i] << ", " << y[i] << ") = " << alone << ", not " << z[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Opcodes, Binary,
    testing::Values(
        BinaryCase{"add", Opcode::Add, [](double a, double b) { return a + b; }, 0.5000001},
        BinaryCase{"subtract", Opcode::Subtract, [](double a, double b) { return a - b; }, 0.5000001},
        BinaryCase{"multiply", Opcode::Multiply, [](double a, double b) { return a * b; }, 0.5},
        BinaryCase{"divide", Opcode::Divide, [](double a, double b) { return a / b; }, 0.5000001},
        BinaryCase{"fmod", Opcode::Fmod, [](double a, double b) { return std::fmod(a, b); }, 0.5},
        BinaryCase{"remainder", Opcode::Remainder, python_remainder, 0.5000001},
        BinaryCase{"power", Opcode::Power, [](double a, double b) { return std::pow(a, b); }, 0.52},
        BinaryCase{"atan2", Opcode::Atan2, [](double a, double b) { return std::atan2(a, b); }, 1.5},
        BinaryCase{"maximum", Opcode::Maximum, [](double a, double b) { return either_nan(a, b, std::max(a, b)); },
                   0.5},
        BinaryCase{"minimum", Opcode::Minimum, [](double a, double b) { return either_nan(a, b, std::min(a, b)); },
                   0.5},
        BinaryCase{"equal", Opcode::Equal, [](double a, double b) { return a == b ? 1.0 : 0.0; }, 0.5},
        BinaryCase{"not_equal", Opcode::NotEqual, [](double a, double b) { return a != b ? 1.0 : 0.0; }, 0.5},
        BinaryCase{"less", Opcode::Less, [](double a, double b) { return a < b ? 1.0 : 0.0; }, 0.5},
        BinaryCase{"less_equal", Opcode::LessEqual, [](double a, double b) { return a <= b ? 1.0 : 0.0; }, 0.5},
        BinaryCase{"logical_and", Opcode::LogicalAnd, [](double a, double b) { return a != 0 && b != 0 ? 1.0 : 0.0; },
                   0.5},
        BinaryCase{"logical_or", Opcode::LogicalOr, [](double a, double b) { return a != 0 || b != 0 ? 1.0 : 0.0; },
                   0.5},
        BinaryCase{"logical_xor", Opcode::LogicalXor,
                   [](double a, double b) { return (a != 0) != (b != 0) ? 1.0 : 0.0; }, 0.5}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Pointwise, FloorDivisionFollowsPython) {
  const std::vector<float> a = {7, -7, 7, -7, 1, -1, 0, 5, -5, 1e10f, 6, 0.3f};
  const std::vector<float> b = {2, 2, -2, -2, 3, 3, 3, 0, 0, 3, 3, 0.1f};
  const std::vector<float> expected = {
      3, -4, -4, 3, 0, -1, 0, static_cast<float>(inf), static_cast<float>(-inf), 3333333333.0f, 2, 3};
  for (const Kernels* kernels : all_levels()) {
    EXPECT_EQ(run_binary(*kernels, Opcode::FloorDivide, f32, DType::Float32, a, b), expected);
    EXPECT_EQ(run_binary<float>(*kernels, Opcode::TruncateDivide, f32, DType::Float32, {7, -7}, {2, 2}),
              (std::vector<float>{3, -3}));
  }
}

TEST(Pointwise, IntegersWrapAndNeverTrap) {
  constexpr int64_t low = INT64_MIN, high = INT64_MAX;
  const auto run = [](const Kernels& kernels, Opcode opcode, std::vector<int64_t> a, std::vector<int64_t> b) {
    return run_binary(kernels, opcode, i64, DType::Int64, a, b);
  };
  using V = std::vector<int64_t>;
  for (const Kernels* kernels : all_levels()) {
    EXPECT_EQ(run(*kernels, Opcode::Add, {high, 1}, {1, 2}), (V{low, 3}));
    EXPECT_EQ(run(*kernels, Opcode::Subtract, {low}, {1}), (V{high}));
    EXPECT_EQ(run(*kernels, Opcode::Multiply, {low, 3}, {-1, -4}), (V{low, -12}));
    EXPECT_EQ(run(*kernels, Opcode::FloorDivide, {7, -7, 7, -7, 5, low}, {2, 2, -2, -2, 0, -1}),
              (V{3, -4, -4, 3, 0, low}));
    EXPECT_EQ(run(*kernels, Opcode::TruncateDivide, {7, -7, 7, -7, 5, low}, {2, 2, -2, -2, 0, -1}),
              (V{3, -3, -3, 3, 0, low}));
    EXPECT_EQ(run(*kernels, Opcode::Remainder, {7, -7, 7, -7, 5, low}, {3, 3, -3, -3, 0, -1}), (V{1, 2, -2, -1, 0, 0}));
    EXPECT_EQ(run(*kernels, Opcode::Fmod, {7, -7, 7, -7, 5, low}, {3, 3, -3, -3, 0, -1}), (V{1, -1, 1, -1, 0, 0}));
    EXPECT_EQ(run(*kernels, Opcode::Power, {2, -2, 3, 2, 1, -1, -1, 0}, {10, 3, 0, -1, -5, -3, -4, -1}),
              (V{1024, -8, 1, 0, 1, -1, 1, 0}));
    EXPECT_EQ(run(*kernels, Opcode::ShiftLeft, {1, 1, 1, -1}, {3, 63, 64, 1}), (V{8, low, 0, -2}));
    EXPECT_EQ(run(*kernels, Opcode::ShiftRight, {8, -8, -1, 5}, {1, 1, 70, -1}), (V{4, -4, -1, 0}));
    EXPECT_EQ(run(*kernels, Opcode::BitAnd, {12}, {10}), (V{8}));
    EXPECT_EQ(run(*kernels, Opcode::BitOr, {12}, {10}), (V{14}));
    EXPECT_EQ(run(*kernels, Opcode::BitXor, {12}, {10}), (V{6}));
    EXPECT_EQ(run_unary(*kernels, Opcode::Absolute, i64, DType::Int64, V{-3, low}), (V{3, low}));
    EXPECT_EQ(run_unary(*kernels, Opcode::Negate, i64, DType::Int64, V{-3, low}), (V{3, low}));
    EXPECT_EQ(run_unary(*kernels, Opcode::BitNot, i64, DType::Int64, V{0, -1}), (V{-1, 0}));
    EXPECT_EQ(run_unary(*kernels, Opcode::Sign, i64, DType::Int64, V{-9, 0, 9}), (V{-1, 0, 1}));
  }
}

TEST(Pointwise, MultiplyAddRoundsOnce) {
  const std::vector<float> a = {1.0f + 0x1p-12f, 3.0f}, b = {1.0f - 0x1p-12f, 5.0f}, c = {-1.0f, 2.0f};
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> y(2);
    Builder program({2});
    const uint8_t x = program.load(f32, a.data(), DType::Float32, {1});
    const uint8_t z = program.load(f32, b.data(), DType::Float32, {1});
    const uint8_t w = program.load(f32, c.data(), DType::Float32, {1});
    program.store(f32, program.apply(Opcode::MultiplyAdd, f32, x, z, w), y.data(), DType::Float32, {1});
    kernels->pointwise(program.arguments());
    EXPECT_EQ(y[0], -0x1p-24f);
    EXPECT_EQ(y[1], 17.0f);
  }
}

TEST(Pointwise, SixteenBitFloatsRoundToNearestEven) {
  // Every half and bfloat16 survives a load and a store; what lies between goes to the nearest, ties to even.
  std::vector<uint16_t> all(65536), back(65536);
  std::vector<float> wide(65536);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  for (const Kernels* kernels : all_levels()) {
    for (DType dtype : {DType::Float16, DType::BFloat16}) {
      Builder program({65536});
      const uint8_t x = program.load(f32, all.data(), dtype, {1});
      program.store(f32, x, back.data(), dtype, {1});
      program.store(f32, x, wide.data(), DType::Float32, {1});
      kernels->pointwise(program.arguments());
      for (size_t i = 0; i < all.size(); ++i) {
        const bool half = dtype == DType::Float16;
        const int exponent = half ? (all[i] >> 10) & 31 : (all[i] >> 7) & 255;
        const int significand = half ? all[i] & 1023 : all[i] & 127;
        if (exponent == (half ? 31 : 255) && significand != 0) {
          EXPECT_TRUE(std::isnan(wide[i]));
          continue;
        }
        EXPECT_EQ(back[i], all[i]);
        if (exponent == (half ? 31 : 255)) {
          EXPECT_TRUE(std::isinf(wide[i]));
          continue;
        }
        const double value = std::ldexp(exponent == 0 ? significand : significand + (half ? 1024 : 128),
                                        std::max(exponent, 1) - (half ? 25 : 134));
        EXPECT_EQ(std::abs(static_cast<double>(wide[i])), value);
        EXPECT_EQ(std::signbit(wide[i]), (i & 0x8000) != 0);
      }
      // The points halfway between neighbours, and those just beside them.
      std::vector<float> between, expected;
      for (uint16_t i = 0; i < (dtype == DType::Float16 ? 0x7bff : 0x7f7f); ++i) {
        const float middle = static_cast<float>((static_cast<double>(wide[i]) + static_cast<double>(wide[i + 1])) / 2);
        between.insert(between.end(), {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 3.4e38f)});
        expected.insert(expected.end(), {i % 2 == 0 ? wide[i] : wide[i + 1], wide[i], wide[i + 1]});
      }
      const int64_t n = static_cast<int64_t>(between.size());
      std::vector<float> rounded(between.size());
      Builder rounding({n});
      const uint8_t y = rounding.load(f32, between.data(), DType::Float32, {1});
      rounding.store(f32, rounding.round_to(f32, dtype, y), rounded.data(), DType::Float32, {1});
      kernels->pointwise(rounding.arguments());
      for (size_t i = 0; i < between.size(); ++i) {
        if (dtype == DType::BFloat16 && i % 3 == 1 && i < 6)
          continue;  // the neighbour of a subnormal middle is that middle
        ASSERT_EQ(rounded[i], expected[i]) << kernels->level << " " << between[i];
      }
      const std::vector<float> large = {65519.0f, 65520.0f, -65520.0f, 3.4e38f};
      std::vector<float> limits(4);
      Builder overflow({4});
      const uint8_t z = overflow.load(f32, large.data(), DType::Float32, {1});
      overflow.store(f32, overflow.round_to(f32, dtype, z), limits.data(), DType::Float32, {1});
      kernels->pointwise(overflow.arguments());
      if (dtype == DType::Float16)
        EXPECT_EQ(limits, (std::vector<float>{65504, static_cast<float>(inf), static_cast<float>(-inf),
                                              static_cast<float>(inf)}));
      else
        EXPECT_TRUE(std::isinf(limits[3]));
    }
  }
}

TEST(Pointwise, ConversionsAreDefinedForEveryValue) {
  const std::vector<double> x = {1.9, -1.9, 1e300, -1e300, inf, nan, 255.5, -1.0, 0.4};
  const int64_t n = static_cast<int64_t>(x.size());
  for (const Kernels* kernels : all_levels()) {
    std::vector<int64_t> whole(x.size());
    std::vector<uint8_t> bytes(x.size()), truth(x.size());
    Builder program({n});
    const uint8_t a = program.load(f64, x.data(), DType::Float64, {1});
    program.store(i64, program.convert(i64, f64, a), whole.data(), DType::Int64, {1});
    program.store(f64, a, bytes.data(), DType::UInt8, {1});
    program.store(f64, a, truth.data(), DType::Bool, {1});
    kernels->pointwise(program.arguments());
    EXPECT_EQ(whole, (std::vector<int64_t>{1, -1, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, 255, -1, 0}));
    EXPECT_EQ(bytes, (std::vector<uint8_t>{1, 255, 0, 0, 0, 0, 255, 255, 0}));
    EXPECT_EQ(truth, (std::vector<uint8_t>{1, 1, 1, 1, 1, 1, 1, 1, 1}));
  }
}

TEST(Pointwise, WideningInPlaceKeepsEveryElement) {
  // A register that is converted into itself: the result is twice as wide as the source.
  std::vector<float> x(1000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i) + 0.5f;
  for (const Kernels* kernels : all_levels()) {
    std::vector<double> y(x.size());
    Builder program({1000});
    uint8_t a = program.load(f32, x.data(), DType::Float32, {1});
    a = program.apply(Opcode::Negate, f32, a);
    program.convert(f64, f32, a);
    program.code.back().destination = a;
    program.store(f64, a, y.data(), DType::Float64, {1});
    kernels->pointwise(program.arguments());
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], -static_cast<double>(x[i]));
  }
}

TEST(Pointwise, BitsDoNotDependOnPositionOrThreads) {
  const size_t n = 200001;
  Generator generator;
  const auto x = generator.vector<float>(n, -5, 5);
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> expected;
    for (int threads : {1, 2, 3, 7}) {
      pycnn::cpu::set_num_threads(threads);
      const std::vector<float> y = run_unary(*kernels, Opcode::Tanh, f32, DType::Float32, x);
      if (expected.empty()) expected = y;
      EXPECT_EQ(std::memcmp(y.data(), expected.data(), n * 4), 0);
    }
    for (size_t begin : {1, 5, 511, 700})
      for (size_t length : {1, 2, 15, 17, 600}) {
        const std::vector<float> part(x.begin() + static_cast<std::ptrdiff_t>(begin),
                                      x.begin() + static_cast<std::ptrdiff_t>(begin + length));
        const std::vector<float> y = run_unary(*kernels, Opcode::Tanh, f32, DType::Float32, part);
        EXPECT_EQ(std::memcmp(y.data(), expected.data() + begin, length * 4), 0);
      }
  }
}

TEST(Pointwise, EveryDtypeLoadsAndStores) {
  for (const Kernels* kernels : all_levels()) {
    std::vector<int8_t> x = {-128, -1, 0, 1, 127};
    std::vector<int16_t> y(5);
    std::vector<int32_t> z(5);
    std::vector<float> w(5);
    std::vector<uint8_t> u(5);
    Builder program({5});
    const uint8_t a = program.load(i64, x.data(), DType::Int8, {1});
    const uint8_t b = program.apply(Opcode::Multiply, i64, a, program.constant(i64, 300));
    program.store(i64, b, y.data(), DType::Int16, {1});
    program.store(i64, b, z.data(), DType::Int32, {1});
    program.store(i64, b, w.data(), DType::Float32, {1});
    program.store(i64, program.round_to(i64, DType::Int8, b), u.data(), DType::UInt8, {1});
    kernels->pointwise(program.arguments());
    EXPECT_EQ(y, (std::vector<int16_t>{27136, -300, 0, 300, -27436}));
    EXPECT_EQ(z, (std::vector<int32_t>{-38400, -300, 0, 300, 38100}));
    EXPECT_EQ(w, (std::vector<float>{-38400, -300, 0, 300, 38100}));
    EXPECT_EQ(u, (std::vector<uint8_t>{0, 212, 0, 44, 212}));
  }
}

TEST(Pointwise, EmptySpacesAreLeftAlone) {
  for (const Kernels* kernels : all_levels()) {
    Builder program({0, 3});
    const uint8_t a = program.load(f32, nullptr, DType::Float32, {3, 1});
    program.store(f32, a, nullptr, DType::Float32, {3, 1});
    kernels->pointwise(program.arguments());
  }
}

}  // namespace
}  // namespace kernel_tests
