// Gather, scatter and arg-reduce against plain loops.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/parallel.h"
#include "kernel_programs.h"

namespace kernel_tests {
namespace {

using pycnn::kernels::ArgReduceArguments;
using pycnn::kernels::IndexArguments;

struct Case {
  std::vector<int64_t> sizes;
  int axis;
  int64_t axis_size;
};

const Case cases[] = {{{5}, 0, 3},           {{4, 6}, 1, 9},      {{40, 6}, 0, 9},  {{3, 50, 4}, 1, 7},
                      {{2, 3, 4, 70}, 2, 5}, {{2, 30, 9}, 2, 11}, {{3, 0, 2}, 1, 4}};

template <typename T>
void check_case(const Kernels& kernels, DType dtype, const Case& row) {
  const Builder space(row.sizes);
  const std::vector<int64_t> strides = space.dense();
  std::vector<int64_t> table_sizes = row.sizes;
  table_sizes[static_cast<size_t>(row.axis)] = row.axis_size;
  std::vector<int64_t> table_strides = Builder(table_sizes).dense();
  const int64_t axis_stride = table_strides[static_cast<size_t>(row.axis)];
  table_strides[static_cast<size_t>(row.axis)] = 0;
  size_t n = 1, table_n = 1;
  for (int64_t size : row.sizes) n *= static_cast<size_t>(size);
  for (int64_t size : table_sizes) table_n *= static_cast<size_t>(size);
  Generator generator;
  const auto table = generator.vector<T>(table_n, -100, 100);
  const auto values = generator.vector<T>(n, -100, 100);
  auto index = generator.vector<int64_t>(n, 0, static_cast<double>(row.axis_size));
  std::vector<T> gathered(n), scattered = table, added = table;
  IndexArguments a{};
  a.dtype = dtype;
  for (size_t d = 0; d < row.sizes.size(); ++d) a.sizes[d] = row.sizes[d];
  a.loops = static_cast<int>(row.sizes.size());
  a.axis = row.axis;
  a.index = space.make_operand(index.data(), DType::Int64, strides);
  a.axis_stride = axis_stride;
  a.axis_size = row.axis_size;
  const auto with = [&](const std::vector<T>& v, const std::vector<T>& t) {
    a.values = space.make_operand(v.data(), dtype, strides);
    a.table = space.make_operand(t.data(), dtype, table_strides);
    return a;
  };
  EXPECT_TRUE(kernels.gather(with(gathered, table)));
  EXPECT_TRUE(kernels.scatter(with(values, scattered)));
  EXPECT_TRUE(kernels.scatter_add(with(values, added)));
  std::vector<T> expected_scatter = table, expected_add = table;
  for (size_t i = 0; i < n; ++i) {
    int64_t rest = static_cast<int64_t>(i), at = 0;
    for (size_t d = row.sizes.size(); d-- > 0; rest /= row.sizes[d]) at += rest % row.sizes[d] * table_strides[d];
    const size_t entry = static_cast<size_t>(at + index[i] * axis_stride);
    EXPECT_EQ(gathered[i], table[entry]);
    expected_scatter[entry] = values[i];
    expected_add[entry] = static_cast<T>(expected_add[entry] + values[i]);
  }
  EXPECT_EQ(scattered, expected_scatter);
  EXPECT_EQ(added, expected_add);
  for (int64_t bad : {int64_t{-1}, row.axis_size, INT64_MIN, INT64_MAX}) {
    if (n == 0) continue;
    index[n / 2] = bad;
    EXPECT_FALSE(kernels.gather(with(gathered, table)));
    EXPECT_FALSE(kernels.scatter(with(values, scattered)));
    EXPECT_FALSE(kernels.scatter_add(with(values, added)));
  }
}

TEST(Indexing, MatchesPlainLoops) {
  for (const Kernels* kernels : all_levels())
    for (const Case& row : cases) {
      check_case<float>(*kernels, DType::Float32, row);
      check_case<double>(*kernels, DType::Float64, row);
      check_case<int64_t>(*kernels, DType::Int64, row);
      check_case<int8_t>(*kernels, DType::Int8, row);
    }
}

TEST(Indexing, BFloat16SumsAreRoundedAtEveryAddition) {
  for (const Kernels* kernels : all_levels()) {
    std::vector<uint16_t> table = {0x4380}, values = {0x3f80, 0x3f80, 0x4000};  // 256 + 1 + 1 + 2
    const std::vector<int64_t> index = {0, 0, 0};
    const Builder space({3});
    IndexArguments a{};
    a.dtype = DType::BFloat16;
    a.sizes[0] = 3;
    a.loops = 1;
    a.index = space.make_operand(index.data(), DType::Int64, {1});
    a.values = space.make_operand(values.data(), a.dtype, {1});
    a.table = space.make_operand(table.data(), a.dtype, {0});
    a.axis_stride = a.axis_size = 1;
    EXPECT_TRUE(kernels->scatter_add(a));
    EXPECT_EQ(table[0], 0x4381);  // the ones are lost to ties-to-even, the two is not
  }
}

template <typename T>
void check_arg_reduce(const Kernels& kernels, DType dtype, int64_t outer, int64_t axis, int64_t inner, bool maximum,
                      bool nan) {
  Generator generator;
  auto x = generator.vector<T>(static_cast<size_t>(outer * axis * inner), -9, 9);  // many ties for integers
  if (nan)
    for (size_t i = 3; i < x.size(); i += 11) x[i] = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> values(static_cast<size_t>(outer * inner));
  std::vector<int64_t> indices(values.size());
  const Builder space({outer, axis, inner});
  ArgReduceArguments a{maximum,
                       {outer, axis, inner},
                       space.make_operand(x.data(), dtype, {axis * inner, inner, 1}),
                       space.make_operand(values.data(), dtype, {inner, 0, 1}),
                       space.make_operand(indices.data(), DType::Int64, {inner, 0, 1})};
  kernels.arg_reduce(a);
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < inner; ++i) {
      const auto at = [&](int64_t j) { return x[static_cast<size_t>((o * axis + j) * inner + i)]; };
      int64_t best = 0;
      for (int64_t j = 1; j < axis; ++j) {
        if (at(best) != at(best)) break;
        if (at(j) != at(j) || (maximum ? at(j) > at(best) : at(j) < at(best))) best = j;
      }
      ASSERT_EQ(indices[static_cast<size_t>(o * inner + i)], best)
          << kernels.level << " " << outer << " " << axis << " " << inner;
      const T value = values[static_cast<size_t>(o * inner + i)];
      ASSERT_TRUE(value == at(best) || (value != value && at(best) != at(best)));
    }
}

TEST(ArgReduce, FirstExtremeWins) {
  for (const Kernels* kernels : all_levels())
    for (bool maximum : {false, true})
      for (int64_t outer : {1, 7})
        for (int64_t axis : {1, 2, 10, 513, 1500})
          for (int64_t inner : {1, 3, 600}) {
            check_arg_reduce<float>(*kernels, DType::Float32, outer, axis, inner, maximum, false);
            check_arg_reduce<float>(*kernels, DType::Float32, outer, axis, inner, maximum, true);
            check_arg_reduce<double>(*kernels, DType::Float64, outer, axis, inner, maximum, true);
            check_arg_reduce<int32_t>(*kernels, DType::Int32, outer, axis, inner, maximum, false);
            check_arg_reduce<int64_t>(*kernels, DType::Int64, outer, axis, inner, maximum, false);
          }
}

}  // namespace
}  // namespace kernel_tests
