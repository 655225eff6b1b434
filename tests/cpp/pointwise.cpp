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

/// y = x · scale[c] + shift[c] + pixel[n], with every operand's strides as given, against a plain loop.
void check_broadcast(const Kernels& kernels, int64_t n, int64_t p, int64_t c) {
  Generator generator;
  const auto size = static_cast<size_t>(n * p * c);
  const auto x = generator.vector<float>(size, -1, 1);
  const auto scale = generator.vector<float>(static_cast<size_t>(c), -1, 1);
  const auto per_image = generator.vector<float>(static_cast<size_t>(n * c), -1, 1);
  const auto pixel = generator.vector<float>(static_cast<size_t>(n * p), -1, 1);
  std::vector<float> y(size), transposed(size);
  Builder program({n, p, c});
  const uint8_t a = program.load(f32, x.data(), DType::Float32, {p * c, c, 1});
  const uint8_t b = program.load(f32, scale.data(), DType::Float32, {0, 0, 1});
  const uint8_t d = program.load(f32, per_image.data(), DType::Float32, {c, 0, 1});
  const uint8_t e = program.load(f32, pixel.data(), DType::Float32, {p, 1, 0});
  const uint8_t root = program.apply(Opcode::Sqrt, f32, program.apply(Opcode::Absolute, f32, b));
  uint8_t r = program.apply(Opcode::Multiply, f32, a, root);
  r = program.apply(Opcode::Add, f32, r, d);
  r = program.apply(Opcode::Subtract, f32, r, e);
  program.store(f32, r, y.data(), DType::Float32, {p * c, c, 1});
  program.store(f32, r, transposed.data(), DType::Float32, {p * c, 1, p});
  kernels.pointwise(program.arguments());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < p; ++j)
      for (int64_t k = 0; k < c; ++k) {
        const size_t at = static_cast<size_t>((i * p + j) * c + k);
        const float product = x[at] * std::sqrt(std::abs(scale[static_cast<size_t>(k)]));
        const float expected =
            product + per_image[static_cast<size_t>(i * c + k)] - pixel[static_cast<size_t>(i * p + j)];
        ASSERT_EQ(y[at], expected) << kernels.level << " " << n << " " << p << " " << c;
        ASSERT_EQ(transposed[static_cast<size_t>((i * c + k) * p + j)], expected);
      }
  // A region touches its part alone.
  std::vector<float> part(size, 9.0f);
  program.operands[4].data = part.data();
  program.operands[5].data = transposed.data();
  const int64_t rows = n * p;
  kernels.pointwise_region(program.arguments(), rows / 3, rows - rows / 4, c / 3, c - c / 5);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t k = 0; k < c; ++k) {
      const bool inside = row >= rows / 3 && row < rows - rows / 4 && k >= c / 3 && k < c - c / 5;
      const size_t at = static_cast<size_t>(row * c + k);
      ASSERT_EQ(part[at], inside ? y[at] : 9.0f) << row << " " << k;
    }
}

TEST(Pointwise, BroadcastsStridesAndRegions) {
  for (const Kernels* kernels : all_levels())
    for (int64_t c : {1, 3, 6, 16, 17, 64, 300, 512, 513, 1100})
      for (int64_t p : {1, 5, 49, 190}) check_broadcast(*kernels, 3, p, c);
}

/// A copy of n matrices of p × c, the contiguous dimension becoming the other one, inside memory that is not written.
template <typename T>
void check_transposed_copy(const Kernels& kernels, RegisterType type, DType dtype, int64_t n, int64_t p, int64_t c) {
  constexpr int64_t gap = 3;
  std::vector<T> x(static_cast<size_t>(n * p * c)), y(static_cast<size_t>(n * c * (p + gap)), T{77});
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(1000 + i);
  Builder program({n, p, c});
  const uint8_t a = program.load(type, x.data(), dtype, {p * c, c, 1});
  program.store(type, a, y.data(), dtype, {c * (p + gap), 1, p + gap});
  kernels.pointwise(program.arguments());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t j = 0; j < p + gap; ++j)
        ASSERT_EQ(y[static_cast<size_t>((i * c + k) * (p + gap) + j)],
                  j < p ? x[static_cast<size_t>((i * p + j) * c + k)] : T{77})
            << kernels.level << " " << n << " " << p << " " << c;
}

TEST(Pointwise, TransposedCopies) {
  for (const Kernels* kernels : all_levels())
    for (int64_t c : {1, 3, 8, 16, 31, 70, 300})
      for (int64_t p : {2, 5, 64, 131, 600}) {
        check_transposed_copy<float>(*kernels, f32, DType::Float32, 2, p, c);
        check_transposed_copy<double>(*kernels, f64, DType::Float64, 2, p, c);
        check_transposed_copy<int64_t>(*kernels, i64, DType::Int64, 1, p, c);
        check_transposed_copy<int32_t>(*kernels, i64, DType::Int32, 3, p, c);
        check_transposed_copy<uint8_t>(*kernels, i64, DType::UInt8, 1, p, c);
      }
}

TEST(Pointwise, InPlaceUpdateReadsBeforeItWrites) {
  // Momentum: v = 0.9 v + g; w = w - 0.1 v_old - 0.1 v: the old velocity is read after the new one is stored.
  const size_t n = 100003;
  Generator generator;
  const auto g = generator.vector<float>(n, -1, 1);
  const auto w0 = generator.vector<float>(n, -1, 1);
  const auto v0 = generator.vector<float>(n, -1, 1);
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> w = w0, v = v0;
    Builder program({static_cast<int64_t>(n)});
    const uint8_t old = program.load(f32, v.data(), DType::Float32, {1});
    const uint8_t gradient = program.load(f32, g.data(), DType::Float32, {1});
    const uint8_t momentum = program.constant(f32, 0.9);
    const uint8_t rate = program.constant(f32, 0.1);
    const uint8_t velocity =
        program.apply(Opcode::Add, f32, program.apply(Opcode::Multiply, f32, old, momentum), gradient);
    program.store(f32, velocity, v.data(), DType::Float32, {1});
    uint8_t weight = program.load(f32, w.data(), DType::Float32, {1});
    weight = program.apply(Opcode::Subtract, f32, weight, program.apply(Opcode::Multiply, f32, old, rate));
    weight = program.apply(Opcode::Subtract, f32, weight, program.apply(Opcode::Multiply, f32, velocity, rate));
    program.store(f32, weight, w.data(), DType::Float32, {1});
    kernels->pointwise(program.arguments());
    for (size_t i = 0; i < n; ++i) {
      const float next = v0[i] * 0.9f + g[i];
      ASSERT_EQ(v[i], next);
      const float left = v0[i] * 0.1f, right = next * 0.1f;
      ASSERT_EQ(w[i], w0[i] - left - right) << i;
    }
  }
}

TEST(Pointwise, SwapThroughMemoryInOneProgram) {
  // Both arrays are loaded, then each is stored over the other.
  for (const Kernels* kernels : all_levels()) {
    std::vector<float> a(3000), b(3000);
    for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i), b[i] = -a[i];
    Builder program({3000});
    const uint8_t x = program.load(f32, a.data(), DType::Float32, {1});
    const uint8_t y = program.load(f32, b.data(), DType::Float32, {1});
    program.store(f32, y, a.data(), DType::Float32, {1});
    program.store(f32, x, b.data(), DType::Float32, {1});
    kernels->pointwise(program.arguments());
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_EQ(a[i], -static_cast<float>(i));
      ASSERT_EQ(b[i], static_cast<float>(i));
    }
  }
}

/// One element of a program of float32 instructions, as its definition has it.
void run_scalar(const std::vector<Instruction>& code, std::vector<std::vector<float>>& memory, size_t i) {
  float r[4] = {};
  for (const Instruction& at : code) {
    const float a = r[at.operands[0]], b = r[at.operands[1]], c = r[at.operands[2]];
    float& to = r[at.destination];
    std::vector<float>& operand = memory[at.index];
    float& place = operand[i % operand.size()];
    switch (at.opcode) {
      // clang-format off
      case Opcode::Load: to = place; break;
      case Opcode::Store: place = a; break;
      case Opcode::Constant: to = static_cast<float>(at.floating); break;
      case Opcode::Add: to = a + b; break;
      case Opcode::Subtract: to = a - b; break;
      case Opcode::Multiply: to = a * b; break;
      case Opcode::Divide: to = a / b; break;
      case Opcode::Maximum: to = a > b || a != a ? a : b; break;
      case Opcode::Minimum: to = a < b || a != a ? a : b; break;
      case Opcode::Less: to = a < b ? 1.0f : 0.0f; break;
      case Opcode::LessEqual: to = a <= b ? 1.0f : 0.0f; break;
      case Opcode::Select: to = a != 0 ? b : c; break;
      default: FAIL();
        // clang-format on
    }
  }
}

TEST(Pointwise, RandomProgramsThatReuseRegisters) {
  // Results feed the next instruction or a later one, in any operand; loads and stores stand anywhere between them.
  constexpr Opcode arithmetic[] = {Opcode::Add,  Opcode::Subtract,  Opcode::Multiply, Opcode::Maximum, Opcode::Minimum,
                                   Opcode::Less, Opcode::LessEqual, Opcode::Select,   Opcode::Select,  Opcode::Divide};
  Generator generator;
  const auto draw = [&](int count) { return static_cast<uint8_t>(generator.next(0, count - 1e-9)); };
  constexpr int64_t rows = 23, columns = 37;
  for (int trial = 0; trial < 300; ++trial) {
    // Operands 0 and 1 are read only, 1 repeats along rows; 2 and 3 are also written.
    std::vector<std::vector<float>> memory;
    for (const size_t size : {rows * columns, columns, rows * columns, rows * columns})
      memory.push_back(generator.vector<float>(size, -2, 2));
    memory[0][5] = static_cast<float>(nan);
    Builder program({rows, columns});
    for (uint8_t r = 0; r < 4; ++r) program.code.push_back({Opcode::Load, f32, f32, r, {}, r, {}});
    uint8_t last = 0;
    for (int step = 0; step < 12; ++step) {
      Instruction next{arithmetic[draw(10)], f32, f32, draw(4), {draw(4), draw(4), draw(4)}, 0, {}};
      const uint8_t kind = draw(8);
      if (kind == 0) next = {Opcode::Load, f32, f32, draw(4), {}, draw(4), {}};
      if (kind == 1) next = {Opcode::Store, f32, f32, 0, {draw(4), 0, 0}, static_cast<uint8_t>(2 + draw(2)), {}};
      if (kind == 2) next = {Opcode::Constant, f32, f32, draw(4), {}, 0, {0.5}};
      if (kind > 4) next.operands[draw(3)] = last;
      if (next.opcode != Opcode::Store) last = next.destination;
      program.code.push_back(next);
    }
    program.code.push_back({Opcode::Store, f32, f32, 0, {last, 0, 0}, 2, {}});
    std::vector<std::vector<float>> expected = memory;
    for (size_t i = 0; i < rows * columns; ++i) run_scalar(program.code, expected, i);
    for (const Kernels* kernels : all_levels()) {
      std::vector<std::vector<float>> actual = memory;
      program.operands.clear();
      for (auto& values : actual)
        program.operands.push_back(
            program.make_operand(values.data(), DType::Float32, {values.size() == columns ? 0 : columns, 1}));
      program.registers = 4;
      kernels->pointwise(program.arguments());
      for (size_t k = 0; k < memory.size(); ++k)
        for (size_t i = 0; i < memory[k].size(); ++i) {
          const float a = actual[k][i], b = expected[k][i];
          ASSERT_TRUE(std::isnan(b) ? std::isnan(a) : std::memcmp(&a, &b, sizeof a) == 0)
              << kernels->level << " trial " << trial << " operand " << k << " element " << i << ": " << a << " " << b;
        }
    }
  }
}

TEST(Pointwise, LargeResultsGoPastTheCaches) {
  // Aligned and not; one result is also read by a later instruction, one is written over what was loaded.
  const size_t n = (size_t{1} << 22) + 77;
  Generator generator;
  const auto x0 = generator.vector<float>(n + 16, -1, 1);
  for (const Kernels* kernels : all_levels())
    for (size_t shift : {size_t{0}, size_t{3}}) {
      pycnn::cpu::set_num_threads(3);
      std::vector<float> x = x0, y(n + 16), z(n + 16);
      const size_t aligned = (64 - reinterpret_cast<uintptr_t>(y.data()) % 64) % 64 / sizeof(float) + shift;
      if (aligned > 16) continue;
      Builder program({static_cast<int64_t>(n)});
      const uint8_t value = program.load(f32, x.data(), DType::Float32, {1});
      const uint8_t half = program.constant(f32, 0.5);
      const uint8_t scaled = program.apply(Opcode::Multiply, f32, value, half);
      program.store(f32, scaled, x.data(), DType::Float32, {1});
      const uint8_t sum = program.apply(Opcode::Add, f32, scaled, half);
      program.store(f32, sum, z.data(), DType::Float32, {1});
      program.store(f32, program.apply(Opcode::Maximum, f32, program.apply(Opcode::Subtract, f32, sum, scaled), sum),
                    y.data() + aligned, DType::Float32, {1});
      kernels->pointwise(program.arguments());
      for (size_t i = 0; i < n; ++i) {
        const float s = x0[i] * 0.5f, t = s + 0.5f;
        ASSERT_EQ(x[i], s);
        ASSERT_EQ(z[i], t);
        ASSERT_EQ(y[i + aligned], std::max(t - s, t));
      }
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
