// Pointwise programs of several instructions: strides, regions, results in place, registers used again.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "cpu/parallel.h"
#include "kernel_programs.h"

namespace kernel_tests {
namespace {

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

TEST(Programs, BroadcastsStridesAndRegions) {
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

TEST(Programs, TransposedCopies) {
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

/// The same from float32 to bfloat16, with an operator's boundary before the store or without.
void check_rounding_transposed_copy(const Kernels& kernels, bool rounds_before, int64_t p, int64_t c) {
  std::vector<float> x = Generator().vector<float>(static_cast<size_t>(p * c), -100, 100);
  const float special[] = {1.00390625f, 1.01171875f, -0.0f, 1e-40f, INFINITY, NAN, 3.4028235e38f};
  for (size_t i = 0; i < x.size(); i += 3) x[i] = special[i / 3 % std::size(special)];
  std::vector<pycnn::BFloat16> y(x.size());
  Builder program({p, c});
  uint8_t a = program.load(f32, x.data(), DType::Float32, {c, 1});
  if (rounds_before) a = program.round_to(f32, DType::BFloat16, a);
  program.store(f32, a, y.data(), DType::BFloat16, {1, p});
  kernels.pointwise(program.arguments());
  for (int64_t i = 0; i < p; ++i)
    for (int64_t k = 0; k < c; ++k)
      ASSERT_EQ(y[static_cast<size_t>(k * p + i)].bits, pycnn::to_bfloat16(x[static_cast<size_t>(i * c + k)]).bits)
          << kernels.level << " " << p << " " << c << " " << x[static_cast<size_t>(i * c + k)];
}

TEST(Programs, TransposedCopiesThatRound) {
  for (const Kernels* kernels : all_levels())
    for (int64_t c : {1, 2, 3, 4, 16, 31, 70})
      for (int64_t p : {5, 64, 131, 600}) {
        check_rounding_transposed_copy(*kernels, false, p, c);
        check_rounding_transposed_copy(*kernels, false, c, p);
        check_rounding_transposed_copy(*kernels, true, p, c);
      }
}

TEST(Programs, InPlaceUpdateReadsBeforeItWrites) {
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

TEST(Programs, SwapThroughMemoryInOneProgram) {
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

TEST(Programs, RandomProgramsThatReuseRegisters) {
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
    memory[0][5] = std::numeric_limits<float>::quiet_NaN();
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

TEST(Programs, LargeResultsGoPastTheCaches) {
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

}  // namespace
}  // namespace kernel_tests
