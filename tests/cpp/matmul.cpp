#include <gtest/gtest.h>

#include <set>
#include <string>

#include "cpu/reference/reference.h"
#include "kernel_testing.h"

namespace pycnn {
namespace {

using namespace testing_kernels;
using kernels::MatmulArguments;

struct Case {
  int64_t batch0, batch1, m, n, k;
  bool transpose_a = false, transpose_b = false;
  bool share_b = false;  ///< every product of the batch uses the same b
  int64_t c_gap = 0;     ///< elements between rows of c
};

const std::vector<Case> cases = {
    {1, 1, 1, 1, 1},
    {1, 1, 1, 1, 0},
    {1, 1, 0, 5, 3},
    {0, 2, 3, 5, 3},
    {1, 1, 3, 0, 3},
    {1, 1, 1, 10, 84},
    {1, 1, 13, 17, 31},
    {1, 1, 14, 32, 7},
    {1, 1, 29, 33, 400, true, false},
    {1, 1, 64, 120, 400, false, true},
    {1, 1, 64, 84, 120, true, true},
    {1, 1, 150, 300, 900},
    {1, 2, 17, 40, 1024},
    {2, 3, 5, 7, 11},
    {2, 3, 40, 20, 50, true, true},
    {3, 2, 33, 65, 20, false, true, true, 3},
    {1, 4, 7, 49, 6, false, false, true, 1},
    {1, 1, 1, 1000, 64, false, true},
    {1, 1, 1000, 1, 64},
    {1, 1, 3, 70, 2500, false, true},
    {2, 1, 4, 9, 33, false, true, true, 2},
    {1, 1, 2, 300, 20, false, true},
    {1, 1, 20, 40, 5000, true, false},
    {2, 1, 30, 33, 2100, false, true, false, 1},
    {1, 1, 150, 300, 600, true, false},
    {1, 2, 33, 300, 300},
    {1, 1, 300, 270, 40, true, false},
    {1, 1, 70, 530, 64, true, true},
};

std::string describe(const Case& c) {
  return std::to_string(c.batch0) + "x" + std::to_string(c.batch1) + " m" + std::to_string(c.m) + " n" +
         std::to_string(c.n) + " k" + std::to_string(c.k) + (c.transpose_a ? " aT" : "") + (c.transpose_b ? " bT" : "");
}

template <typename T>
struct Data {
  explicit Data(const Case& c)
      : a(random_values<T>(c.batch0 * c.batch1 * c.m * c.k, 1)),
        b(random_values<T>((c.share_b ? 1 : c.batch0 * c.batch1) * c.k * c.n, 2)),
        c(fresh<T>(c.batch0 * c.batch1 * c.m * (c.n + c.c_gap))),
        bias(random_values<T>(c.n, 3)) {
    const int64_t row = c.n + c.c_gap;
    arguments = {};
    arguments.dtype = dtype_of<T>();
    arguments.batch[0] = c.batch0, arguments.batch[1] = c.batch1;
    arguments.m = c.m, arguments.n = c.n, arguments.k = c.k;
    arguments.a = a.data(), arguments.b = b.data(), arguments.c = this->c.data();
    arguments.a_batch[0] = c.batch1 * c.m * c.k, arguments.a_batch[1] = c.m * c.k;
    arguments.a_row = c.transpose_a ? 1 : c.k, arguments.a_column = c.transpose_a ? c.m : 1;
    if (!c.share_b) arguments.b_batch[0] = c.batch1 * c.k * c.n, arguments.b_batch[1] = c.k * c.n;
    arguments.b_row = c.transpose_b ? 1 : c.n, arguments.b_column = c.transpose_b ? c.k : 1;
    arguments.c_batch[0] = c.batch1 * c.m * row, arguments.c_batch[1] = c.m * row, arguments.c_row = row;
  }
  std::vector<T> a, b, c, bias;
  MatmulArguments arguments;
};

/// The products as one sequence, without the gaps between rows.
template <typename T>
std::vector<T> dense(const Case& c, const std::vector<T>& values) {
  std::vector<T> result;
  for (int64_t row = 0; row < c.batch0 * c.batch1 * c.m; ++row)
    for (int64_t j = 0; j < c.n; ++j) result.push_back(values[static_cast<size_t>(row * (c.n + c.c_gap) + j)]);
  return result;
}

template <typename T>
void check_case(const Case& c, const kernels::MatmulAlgorithm& algorithm, bool with_epilogue) {
  ThreadCount restore;
  Data<double> expected(c);
  cpu::reference::matmul(expected.arguments);
  std::vector<double> reference = dense(c, expected.c);
  if (with_epilogue)
    for (size_t i = 0; i < reference.size(); ++i)
      reference[i] = std::max(reference[i] + expected.bias[i % static_cast<size_t>(c.n)], 0.0);
  std::vector<T> first;
  for (int threads : {1, 2, 3, 7}) {
    cpu::set_num_threads(threads);
    Data<T> data(c);
    const BiasRelu<T> epilogue(data.c.data(), data.bias.data(), c.batch0 * c.batch1 * c.m, c.n);
    if (with_epilogue) data.arguments.epilogue = epilogue.arguments();
    std::vector<T> workspace = fresh<T>(static_cast<int64_t>(algorithm.workspace(data.arguments) / sizeof(T)));
    data.arguments.workspace = workspace.data();
    algorithm.run(data.arguments);
    const std::vector<T> got = dense(c, data.c);
    if (threads == 1) {
      first = got;
      EXPECT_LE(difference(got, reference), tolerance<T>());
      for (int64_t row = 0; c.c_gap > 0 && row < c.m; ++row)
        EXPECT_TRUE(std::isnan(data.c[static_cast<size_t>(row * (c.n + c.c_gap) + c.n)])) << "wrote between rows";
    }
    EXPECT_TRUE(same_bits(first, got)) << threads << " threads";
    if (algorithm.packed_bytes == nullptr || algorithm.packed_bytes(data.arguments) == 0) continue;
    std::vector<T> packed = fresh<T>(static_cast<int64_t>(algorithm.packed_bytes(data.arguments) / sizeof(T)));
    algorithm.pack(data.arguments, packed.data());
    data.arguments.packed = packed.data();
    data.c.assign(data.c.size(), T{});
    data.arguments.b = nullptr;
    algorithm.run(data.arguments);
    EXPECT_TRUE(same_bits(first, dense(c, data.c))) << threads << " threads, b packed before";
  }
}

template <typename T>
void check_all(bool with_epilogue) {
  for (std::string_view level : cpu::available_levels()) {
    const kernels::Kernels& table = cpu::kernels_of(level);
    std::set<std::string> ran;
    for (const kernels::MatmulAlgorithm* algorithm = table.matmul; algorithm->name; ++algorithm)
      for (const Case& c : cases) {
        if (with_epilogue && c.c_gap > 0) continue;
        SCOPED_TRACE(std::string(level) + " " + algorithm->name + " " + describe(c));
        if (algorithm->declines(Data<T>(c).arguments)) continue;
        ran.insert(algorithm->name);
        check_case<T>(c, *algorithm, with_epilogue);
      }
    for (const kernels::MatmulAlgorithm* algorithm = table.matmul; algorithm->name; ++algorithm)
      EXPECT_TRUE(ran.contains(algorithm->name) || is_for_bfloat16(algorithm->name))
          << algorithm->name << " took no case";
  }
}

TEST(Matmul, Float32MatchesReference) { check_all<float>(false); }
TEST(Matmul, Float64MatchesReference) { check_all<double>(false); }
TEST(Matmul, EpilogueIsAppliedOnceToEveryElement) { check_all<float>(true); }

TEST(Matmul, IntegersWrapAroundAsIntegersDo) {
  const std::vector<int64_t> a{INT64_MAX, 2, -3, 4}, b{1, 2, 3, 4};
  std::vector<int64_t> c(4);
  MatmulArguments g{};
  g.dtype = DType::Int64;
  g.batch[0] = g.batch[1] = 1;
  g.m = g.n = g.k = 2;
  g.a = a.data(), g.b = b.data(), g.c = c.data();
  g.a_row = g.b_row = g.c_row = 2;
  g.a_column = g.b_column = 1;
  for (std::string_view level : cpu::available_levels()) {
    const kernels::MatmulAlgorithm* algorithm = cpu::kernels_of(level).matmul;
    while (algorithm->declines(g)) ++algorithm;
    EXPECT_STREQ(algorithm->name, "reference");
    algorithm->run(g);
    EXPECT_EQ(c, (std::vector<int64_t>{INT64_MIN + 5, 6, 9, 10}));
  }
}

}  // namespace
}  // namespace pycnn
