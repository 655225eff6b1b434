// Pooling against the definition, window by window.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/parallel.h"
#include "kernel_programs.h"

namespace kernel_tests {
namespace {

using pycnn::kernels::PoolingArguments;

/// Tables of one dimension: ordinary windows, cut at the borders.
struct Dimension {
  int64_t input, output, step;
  std::vector<int64_t> begin, end, divisor, seen_begin, seen_end;
  int64_t taps = 0;

  Dimension(int64_t input_size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation)
      : input(input_size),
        output((input_size + 2 * padding - dilation * (kernel - 1) - 1) / stride + 1),
        step(dilation) {
    for (int64_t o = 0; o < output; ++o) {
      int64_t first = o * stride - padding;
      const int64_t last = std::min(first + dilation * (kernel - 1) + 1, input);
      while (first < 0) first += dilation;
      begin.push_back(first);
      end.push_back(last);
      divisor.push_back(kernel);
      taps = std::max(taps, (last - first + dilation - 1) / dilation);
    }
    for (int64_t i = 0; i < input; ++i) {
      int64_t first = output, last = 0;
      for (int64_t o = 0; o < output; ++o)
        if (i >= begin[static_cast<size_t>(o)] && i < end[static_cast<size_t>(o)]) {
          first = std::min(first, o);
          last = o + 1;
        }
      seen_begin.push_back(std::min(first, last));
      seen_end.push_back(last);
    }
  }
};

template <typename T>
struct Problem {
  int64_t batch, channels;
  Dimension d[3];
  std::vector<T> input, output, gradient_input;
  std::vector<int64_t> indices;

  int64_t in_volume() const { return d[0].input * d[1].input * d[2].input; }
  int64_t out_volume() const { return d[0].output * d[1].output * d[2].output; }

  Problem(int64_t n, int64_t c, Dimension depth, Dimension height, Dimension width)
      : batch(n), channels(c), d{depth, height, width} {
    Generator generator;
    input = generator.vector<T>(static_cast<size_t>(n * in_volume() * c), -4, 4);
    output.resize(static_cast<size_t>(n * out_volume() * c));
    indices.resize(output.size());
    gradient_input.assign(input.size(), T(77));
  }
  PoolingArguments arguments(DType dtype, std::vector<T>& in, std::vector<T>& out) {
    PoolingArguments a{};
    a.dtype = dtype;
    a.batch = batch;
    a.channels = channels;
    for (int i = 0; i < 3; ++i) {
      a.input_size[i] = d[i].input;
      a.output_size[i] = d[i].output;
      a.begin[i] = d[i].begin.data();
      a.end[i] = d[i].end.data();
      a.step[i] = d[i].step;
      a.divisor[i] = d[i].divisor.data();
      a.taps[i] = d[i].taps;
      a.seen_begin[i] = d[i].seen_begin.data();
      a.seen_end[i] = d[i].seen_end.data();
    }
    a.input = in.data();
    a.output = out.data();
    a.indices = indices.data();
    return a;
  }
  /// The index within the volume of tap `offset` of an output element's window.
  int64_t index_of(size_t element, int64_t offset) const {
    const int64_t o = static_cast<int64_t>(element) / channels % out_volume();
    const int64_t at[3] = {o / d[2].output / d[1].output, o / d[2].output % d[1].output, o % d[2].output};
    const int64_t tap[3] = {offset / d[2].taps / d[1].taps, offset / d[2].taps % d[1].taps, offset % d[2].taps};
    int64_t index = 0;
    for (int k = 0; k < 3; ++k)
      index = index * d[k].input + d[k].begin[static_cast<size_t>(at[k])] + tap[k] * d[k].step;
    return index;
  }
  /// Calls function(output element, input element, index within the volume) for every pair that touches.
  template <typename Function>
  void for_each_pair(Function function) const {
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t o = 0; o < out_volume(); ++o) {
        const int64_t at[3] = {o / d[2].output / d[1].output, o / d[2].output % d[1].output, o % d[2].output};
        for (int64_t i = 0; i < in_volume(); ++i) {
          const int64_t from[3] = {i / d[2].input / d[1].input, i / d[2].input % d[1].input, i % d[2].input};
          bool touches = true;
          for (int k = 0; k < 3; ++k) {
            const auto slot = static_cast<size_t>(at[k]);
            touches = touches && from[k] >= d[k].begin[slot] && from[k] < d[k].end[slot] &&
                      (from[k] - d[k].begin[slot]) % d[k].step == 0;
          }
          if (!touches) continue;
          for (int64_t c = 0; c < channels; ++c)
            function(static_cast<size_t>((n * out_volume() + o) * channels + c),
                     static_cast<size_t>((n * in_volume() + i) * channels + c), i);
        }
      }
  }
};

template <typename T>
void check_pooling(const Kernels& kernels, DType dtype, Problem<T> p, double tolerance) {
  std::vector<double> best(p.output.size(), -std::numeric_limits<double>::infinity()), sum(p.output.size(), 0);
  std::vector<int64_t> place(p.output.size(), -1);
  p.for_each_pair([&](size_t out, size_t in, int64_t index) {
    const double value = static_cast<double>(p.input[in]);
    if (value > best[out]) best[out] = value, place[out] = index;
    sum[out] += value;
  });
  const int64_t divisor = p.d[0].divisor[0] * p.d[1].divisor[0] * p.d[2].divisor[0];

  kernels.max_pool(p.arguments(dtype, p.input, p.output));
  EXPECT_EQ(p.indices, place);
  for (size_t i = 0; i < best.size(); ++i) ASSERT_EQ(static_cast<double>(p.output[i]), best[i]);
  PoolingArguments without = p.arguments(dtype, p.input, p.output);
  without.indices = nullptr;
  kernels.max_pool(without);
  for (size_t i = 0; i < best.size(); ++i) ASSERT_EQ(static_cast<double>(p.output[i]), best[i]);
  std::vector<uint8_t> offsets(p.output.size());
  const auto with_offsets = [&](std::vector<T>& in, std::vector<T>& out) {
    PoolingArguments a = p.arguments(dtype, in, out);
    a.indices = nullptr;
    a.offsets = offsets.data();
    return a;
  };
  kernels.max_pool(with_offsets(p.input, p.output));
  for (size_t i = 0; i < best.size(); ++i) {
    ASSERT_EQ(static_cast<double>(p.output[i]), best[i]);
    ASSERT_EQ(p.index_of(i, offsets[i]), place[i]);
  }
  if (dtype == DType::Int64) return;
  std::vector<T> gathered(p.output.size());
  kernels.max_pool_gather(with_offsets(p.input, gathered));
  EXPECT_EQ(gathered, p.output);
  std::fill(gathered.begin(), gathered.end(), T(77));
  kernels.max_pool_gather(p.arguments(dtype, p.input, gathered));
  EXPECT_EQ(gathered, p.output);

  Generator generator{9};
  std::vector<T> gradient = generator.vector<T>(p.output.size(), -1, 1);
  std::vector<double> expected(p.input.size(), 0), average(p.input.size(), 0);
  p.for_each_pair([&](size_t out, size_t in, int64_t index) {
    if (place[out] == index) expected[in] += static_cast<double>(gradient[out]);
    average[in] += static_cast<double>(gradient[out]) / static_cast<double>(divisor);
  });
  kernels.max_pool_backward(p.arguments(dtype, p.gradient_input, gradient));
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(static_cast<double>(p.gradient_input[i]), expected[i], tolerance);
  std::vector<T> from_offsets(p.input.size(), T(77));
  kernels.max_pool_backward(with_offsets(from_offsets, gradient));
  EXPECT_EQ(from_offsets, p.gradient_input);

  kernels.average_pool(p.arguments(dtype, p.input, p.output));
  for (size_t i = 0; i < sum.size(); ++i)
    ASSERT_NEAR(static_cast<double>(p.output[i]), sum[i] / static_cast<double>(divisor), tolerance);
  kernels.average_pool_backward(p.arguments(dtype, p.gradient_input, gradient));
  for (size_t i = 0; i < average.size(); ++i)
    ASSERT_NEAR(static_cast<double>(p.gradient_input[i]), average[i], tolerance);
}

const Dimension flat(1, 1, 1, 0, 1);

TEST(Pooling, MatchesTheDefinition) {
  for (const Kernels* kernels : all_levels())
    for (int64_t channels : {1, 6, 17, 70}) {
      const std::vector<std::vector<Dimension>> shapes = {{flat, {8, 2, 2, 0, 1}, {8, 2, 2, 0, 1}},
                                                          {flat, {9, 3, 2, 1, 1}, {7, 3, 1, 1, 1}},
                                                          {flat, flat, {20, 3, 2, 1, 3}},
                                                          {{4, 2, 1, 0, 1}, {5, 3, 2, 1, 1}, {6, 2, 3, 1, 2}},
                                                          {flat, {5, 5, 1, 0, 1}, {5, 5, 1, 0, 1}}};
      for (const auto& shape : shapes) {
        check_pooling<float>(*kernels, DType::Float32, {3, channels, shape[0], shape[1], shape[2]}, 2e-6);
        check_pooling<double>(*kernels, DType::Float64, {3, channels, shape[0], shape[1], shape[2]}, 1e-14);
        check_pooling<int64_t>(*kernels, DType::Int64, {3, channels, shape[0], shape[1], shape[2]}, 0);
      }
    }
}

TEST(Pooling, NanWins) {
  for (const Kernels* kernels : all_levels()) {
    Problem<float> p(1, 1, flat, flat, Dimension(4, 2, 2, 0, 1));
    p.input = {1, std::nanf(""), std::nanf(""), 5};
    kernels->max_pool(p.arguments(DType::Float32, p.input, p.output));
    EXPECT_TRUE(std::isnan(p.output[0]) && std::isnan(p.output[1]));
    EXPECT_EQ(p.indices, (std::vector<int64_t>{1, 2}));
  }
}

TEST(Pooling, OverlappingWindowsAddInAFixedOrder) {
  std::vector<float> expected;
  for (int threads : {1, 2, 3, 7}) {
    pycnn::cpu::set_num_threads(threads);
    Problem<float> p(4, 50, flat, Dimension(30, 3, 1, 1, 1), Dimension(31, 3, 1, 1, 1));
    const Kernels& kernels = *all_levels()[0];
    kernels.max_pool(p.arguments(DType::Float32, p.input, p.output));
    std::vector<float> gradient = Generator{3}.vector<float>(p.output.size(), -1, 1);
    kernels.max_pool_backward(p.arguments(DType::Float32, p.gradient_input, gradient));
    if (expected.empty()) expected = p.gradient_input;
    EXPECT_EQ(p.gradient_input, expected);
  }
}

}  // namespace
}  // namespace kernel_tests
