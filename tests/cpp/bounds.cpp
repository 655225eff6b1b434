// Kernels touch their operands and nothing beside them: small shapes drawn at random, every operand bordering on a page
// that must not be touched, at its end or at its beginning.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "cpu/reference/reference.h"
#include "kernel_testing.h"

namespace pycnn {
namespace {

using namespace testing_kernels;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::MatmulArguments;

enum class Fence : uint8_t { Before, Behind };

/// Bytes that border on a page without access.
class Fenced {
 public:
  Fenced(size_t bytes, Fence fence) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inner = (bytes + page - 1) / page * page;
    size_ = inner + 2 * page;
    void* const memory = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<char*>(memory);
    if (inner > 0 && mprotect(memory_ + page, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    std::memset(memory_ + page, 0x7f, inner);  // huge numbers
    data_ = memory_ + page + (fence == Fence::Behind ? inner - bytes : 0);
  }
  Fenced(const Fenced&) = delete;
  ~Fenced() { munmap(memory_, size_); }
  char* data() const { return data_; }

 private:
  char *memory_, *data_;
  size_t size_;
};

/// Values in memory of a dtype, drawn unless the seed is 0.
struct Operand {
  Operand(DType type, int64_t count, uint32_t seed, Fence fence)
      : dtype(type), wide(static_cast<size_t>(count)), memory(static_cast<size_t>(count) * size_of(type), fence) {
    if (seed == 0) return;
    const std::vector<float> drawn = random_values<float>(count, seed);
    for (size_t i = 0; i < wide.size(); ++i) {
      const BFloat16 narrow = to_bfloat16(drawn[i]);
      wide[i] = dtype == DType::BFloat16 ? to_float(narrow) : drawn[i];
      if (dtype == DType::BFloat16) std::memcpy(memory.data() + 2 * i, &narrow, 2);
      if (dtype == DType::Float32) std::memcpy(memory.data() + 4 * i, &drawn[i], 4);
      if (dtype == DType::Float64) std::memcpy(memory.data() + 8 * i, &wide[i], 8);
    }
  }
  std::vector<double> values() const {
    std::vector<double> all(wide.size());
    for (size_t i = 0; i < all.size(); ++i) {
      BFloat16 narrow;
      float single;
      if (dtype == DType::BFloat16) std::memcpy(&narrow, memory.data() + 2 * i, 2), all[i] = to_float(narrow);
      if (dtype == DType::Float32) std::memcpy(&single, memory.data() + 4 * i, 4), all[i] = single;
      if (dtype == DType::Float64) std::memcpy(&all[i], memory.data() + 8 * i, 8);
    }
    return all;
  }

  DType dtype;
  std::vector<double> wide;
  Fenced memory;
};

double tolerance_of(DType dtype, const std::string& algorithm) {
  const double own = dtype == DType::Float64 ? 1e-13 : dtype == DType::Float32 ? 4e-6 : 0x1p-8;
  return algorithm == "winograd_4x4" ? 8 * own : own;
}

class Draw {
 public:
  explicit Draw(uint32_t seed) : generator_(seed) {}
  int64_t operator()(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(generator_);
  }
  /// Mostly small, with sizes of vectors and tiles and their neighbours among the others.
  int64_t channels(int64_t most) {
    constexpr int64_t edges[] = {1, 1, 2, 4, 8, 16, 32, 64, 7, 14, 15, 33, 18, 9, 12};
    const int64_t drawn = (*this)(0, 2) == 0 ? (*this)(1, most) : edges[(*this)(0, 14)] + (*this)(0, 1);
    return std::min(drawn, most);
  }

 private:
  std::mt19937 generator_;
};

kernels::ConvolutionShape draw_convolution(uint32_t seed) {
  Draw draw(seed);
  kernels::ConvolutionShape s{};
  s.batch = draw(1, 3);
  const int64_t kind = draw(0, 5);  // 0: depthwise, 1: groups
  s.groups = kind == 0 ? draw.channels(40) : kind == 1 ? draw(2, 3) : 1;
  s.in_channels = s.groups * (kind == 0 ? 1 : draw.channels(kind == 1 ? 20 : 80));
  s.out_channels = s.groups * (kind == 0 ? 1 : draw.channels(kind == 1 ? 20 : 80));
  const bool plain = draw(0, 2) == 0, volume = draw(0, 5) == 0;
  const int64_t side = draw(0, 3) == 0 ? 40 : 14;
  for (int d = 0; d < 3; ++d) {
    const bool used = d > 0 || volume;
    s.kernel[d] = used ? draw(0, 2) == 0 ? draw(1, 5) : 3 : 1;
    if (used && draw(0, 4) == 0) s.kernel[d] = 1;
    s.stride[d] = used && !plain ? draw(1, 3) : 1;
    s.dilation[d] = used && !plain && draw(0, 3) == 0 ? draw(1, 3) : 1;
    s.padding[d] = used && draw(0, 2) > 0 ? draw(0, s.kernel[d]) : 0;
    if (draw(0, 9) == 0) s.stride[d] = s.kernel[d], s.padding[d] = 0;
    const int64_t least = std::max<int64_t>(1, s.dilation[d] * (s.kernel[d] - 1) + 1 - 2 * s.padding[d]);
    s.input[d] = used ? std::max(least, draw(1, d == 0 ? 4 : side)) : least;
    s.output[d] = (s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1) / s.stride[d] + 1;
  }
  return s;
}

std::string describe(const kernels::ConvolutionShape& s) {
  std::string text = "n" + std::to_string(s.batch) + " g" + std::to_string(s.groups) + " c" +
                     std::to_string(s.in_channels) + "->" + std::to_string(s.out_channels);
  for (int d = 0; d < 3; ++d)
    text += " [" + std::to_string(s.input[d]) + "->" + std::to_string(s.output[d]) + " k" +
            std::to_string(s.kernel[d]) + " s" + std::to_string(s.stride[d]) + " p" + std::to_string(s.padding[d]) +
            " d" + std::to_string(s.dilation[d]) + "]";
  return text;
}

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

void check_convolution(uint32_t seed, ConvolutionPass pass, DType dtype) {
  ConvolutionArguments a{};
  a.shape = draw_convolution(seed);
  a.dtype = dtype;
  a.forced = true;
  const kernels::ConvolutionShape& s = a.shape;
  const int64_t in = s.in_channels / s.groups, taps = volume(s.kernel);
  const bool exchanged = seed % 3 == 0;
  a.weight_strides[0] = exchanged ? taps : in * taps;
  a.weight_strides[1] = exchanged ? taps * s.out_channels : taps;
  a.weight_strides[2] = 1;
  if (seed % 5 == 0) a.weight_strides[0] = in * taps, a.weight_strides[1] = 1, a.weight_strides[2] = in;
  const int64_t counts[3] = {s.batch * volume(s.input) * s.in_channels, s.out_channels * in * taps,
                             s.batch * volume(s.output) * s.out_channels};
  const int written = pass == ConvolutionPass::Forward ? 2 : pass == ConvolutionPass::InputGradient ? 0 : 1;
  std::vector<double> reference;
  for (std::string_view level : cpu::available_levels())
    for (const auto* algorithm = cpu::kernels_of(level).convolution[static_cast<int>(pass)]; algorithm->name;
         ++algorithm)
      for (const Fence fence : {Fence::Before, Fence::Behind}) {
        SCOPED_TRACE(std::string(level) + " " + algorithm->name + " " + describe(s) + " seed " + std::to_string(seed));
        if (algorithm->declines(a)) continue;
        Operand x(dtype, counts[0], written == 0 ? 0 : 1, fence), w(dtype, counts[1], written == 1 ? 0 : 2, fence),
            y(dtype, counts[2], written == 2 ? 0 : 3, fence);
        Operand* const operands[3] = {&x, &w, &y};
        if (reference.empty()) {
          ConvolutionArguments exact = a;
          exact.dtype = DType::Float64;
          std::vector<double> wide[3] = {x.wide, w.wide, y.wide};
          exact.input = wide[0].data(), exact.weight = wide[1].data(), exact.output = wide[2].data();
          if (pass == ConvolutionPass::Forward) cpu::reference::convolution_forward(exact);
          if (pass == ConvolutionPass::InputGradient) cpu::reference::convolution_input_gradient(exact);
          if (pass == ConvolutionPass::WeightGradient) cpu::reference::convolution_weight_gradient(exact);
          reference = wide[written];
        }
        const Fenced workspace(algorithm->workspace(a), fence);
        ConvolutionArguments run = a;
        run.input = x.memory.data(), run.weight = w.memory.data(), run.output = y.memory.data();
        run.workspace = workspace.data();
        algorithm->run(run);
        const std::vector<double> plain = operands[written]->values();
        ASSERT_LE(difference(plain, reference), tolerance_of(dtype, algorithm->name));
        if (algorithm->packed_bytes == nullptr || algorithm->packed_bytes(a) == 0) continue;
        const Fenced packed(algorithm->packed_bytes(a), fence);
        algorithm->pack(run, packed.data());
        run.packed = packed.data();
        algorithm->run(run);
        ASSERT_EQ(operands[written]->values(), plain) << "weight packed before";
      }
}

void check_matmul(uint32_t seed, DType dtype) {
  Draw draw(seed);
  MatmulArguments g{};
  g.dtype = dtype;
  g.forced = true;
  g.batch[0] = draw(0, 3) == 0 ? draw(1, 3) : 1, g.batch[1] = draw(0, 3) == 0 ? draw(1, 3) : 1;
  g.m = draw.channels(150), g.n = draw.channels(150), g.k = draw(0, 3) == 0 ? draw(1, 1300) : draw.channels(300);
  // Rows of a longer matrix, or columns, whose last elements they are.
  const int64_t gap = draw(0, 2) == 0 ? draw(1, 300) : 0, products = g.batch[0] * g.batch[1];
  const bool transpose_a = draw(0, 1) == 0, transpose_b = draw(0, 1) == 0;
  const int64_t a_line = (transpose_a ? g.m : g.k) + gap, a_lines = transpose_a ? g.k : g.m;
  const int64_t b_line = (transpose_b ? g.k : g.n) + gap, b_lines = transpose_b ? g.n : g.k;
  g.a_row = transpose_a ? 1 : a_line, g.a_column = transpose_a ? a_line : 1;
  g.b_row = transpose_b ? 1 : b_line, g.b_column = transpose_b ? b_line : 1;
  g.a_batch[1] = a_line * a_lines, g.a_batch[0] = g.a_batch[1] * g.batch[1];
  g.b_batch[1] = b_line * b_lines, g.b_batch[0] = g.b_batch[1] * g.batch[1];
  g.c_row = g.n + (draw(0, 2) == 0 ? gap : 0);
  g.c_batch[1] = g.m * g.c_row, g.c_batch[0] = g.c_batch[1] * g.batch[1];
  std::vector<double> reference;
  for (std::string_view level : cpu::available_levels())
    for (const auto* algorithm = cpu::kernels_of(level).matmul; algorithm->name; ++algorithm)
      for (const Fence fence : {Fence::Before, Fence::Behind}) {
        SCOPED_TRACE(std::string(level) + " " + algorithm->name + " m" + std::to_string(g.m) + " n" +
                     std::to_string(g.n) + " k" + std::to_string(g.k) + " gap " + std::to_string(gap) + " seed " +
                     std::to_string(seed));
        if (algorithm->declines(g)) continue;
        Operand a(dtype, products * g.a_batch[1] - gap, 1, fence), b(dtype, products * g.b_batch[1] - gap, 2, fence),
            c(dtype, products * g.c_batch[1] - (g.c_row - g.n), 0, fence);
        MatmulArguments run = g;
        if (reference.empty()) {
          MatmulArguments exact = g;
          exact.dtype = DType::Float64;
          exact.a = a.wide.data(), exact.b = b.wide.data();
          reference.assign(c.wide.size(), 0);
          exact.c = reference.data();
          cpu::reference::matmul(exact);
        }
        const Fenced workspace(algorithm->workspace(g), fence);
        run.a = a.memory.data(), run.b = b.memory.data(), run.c = c.memory.data(), run.workspace = workspace.data();
        algorithm->run(run);
        const auto result = [&] {
          std::vector<double> values = c.values();
          for (size_t i = 0; i < values.size(); ++i)
            if (static_cast<int64_t>(i) % g.c_row >= g.n) values[i] = 0;  // between rows
          return values;
        };
        const std::vector<double> plain = result();
        ASSERT_LE(difference(plain, reference), tolerance_of(dtype, algorithm->name) * 4);
        if (algorithm->packed_bytes == nullptr || algorithm->packed_bytes(g) == 0) continue;
        const Fenced packed(algorithm->packed_bytes(g), fence);
        algorithm->pack(run, packed.data());
        run.packed = packed.data();
        algorithm->run(run);
        ASSERT_EQ(result(), plain) << "b packed before";
      }
}

constexpr uint32_t draws = 24;

TEST(Bounds, Convolution) {
  for (std::string_view products : cpu::available_bfloat16_products()) {
    cpu::set_bfloat16_products(products);
    for (uint32_t seed = 0; seed < draws; ++seed)
      for (const auto pass :
           {ConvolutionPass::Forward, ConvolutionPass::InputGradient, ConvolutionPass::WeightGradient})
        for (const DType dtype : {DType::Float32, DType::Float64, DType::BFloat16}) {
          if (dtype != DType::BFloat16 && products != "widening") continue;
          SCOPED_TRACE(std::string(products) + " pass " + std::to_string(static_cast<int>(pass)));
          check_convolution(seed, pass, dtype);
        }
  }
}

TEST(Bounds, Matmul) {
  for (std::string_view products : cpu::available_bfloat16_products()) {
    cpu::set_bfloat16_products(products);
    for (uint32_t seed = 0; seed < draws; ++seed)
      for (const DType dtype : {DType::Float32, DType::Float64, DType::BFloat16}) {
        if (dtype != DType::BFloat16 && products != "widening") continue;
        SCOPED_TRACE(products);
        check_matmul(seed, dtype);
      }
  }
}

}  // namespace
}  // namespace pycnn
