// The GPU's gather, scatter and sampling kernels in emulation, against plain loops in the order that they promise.
#include "cuda_testing.h"
#include "kernels/backend.h"

extern "C" const pycnn::kernels::Backend* pycnn_backend_v1();

namespace pycnn::testing_cuda {
namespace {

using kernels::IndexArguments;

/// What two stored elements combine to, through double or wrapping integers.
template <typename T>
T combined(char how, T entry, T value) {
  const double a = value_of(entry), b = value_of(value);
  double result = b;
  if (how == '+') result = a + b;
  if (how == '*') result = a * b;
  if (how == '>') result = std::isnan(a) || a > b ? a : b;
  if (how == '<') result = std::isnan(a) || a < b ? a : b;
  if (sizeof(T) == 4) result = static_cast<float>(result);
  return rounded<T>(result);
}

struct Space {
  int64_t outer, axis, inner, table_size;
  bool separate = false;            ///< an index for every element, not for every row
  bool axis_innermost_too = false;  ///< inner is 1 and left out: the axis is the last loop
};

/// values, index and table lie dense over (outer, axis or table_size, inner).
template <typename T>
struct Problem {
  Space s;
  Guarded<T> values, table;
  std::vector<int64_t> index;

  explicit Problem(const Space& space)
      : s(space),
        values(random_steps<T>(s.outer * s.axis * s.inner, 1)),
        table(random_steps<T>(s.outer * s.table_size * s.inner, 2)),
        index(random_integers(s.outer * s.axis * (s.separate ? s.inner : 1), s.table_size, 3)) {}

  IndexArguments arguments() {
    IndexArguments a{};
    a.dtype = dtype_of<T>();
    a.loops = s.axis_innermost_too ? 2 : 3;
    a.axis = 1;
    const int64_t index_inner = s.separate ? s.inner : 1;
    a.sizes[0] = s.outer, a.sizes[1] = s.axis, a.sizes[2] = s.inner;
    a.values = {values.data(), dtype_of<T>(), {s.axis * s.inner, s.inner, 1}};
    a.index = {index.data(), DType::Int64, {s.axis * index_inner, index_inner, s.separate ? 1 : 0}};
    a.table = {table.data(), dtype_of<T>(), {s.table_size * s.inner, 0, 1}};
    a.axis_stride = s.inner;
    a.axis_size = s.table_size;
    return a;
  }
  /// Calls function(element of values, element of the table) in order.
  template <typename Function>
  void for_each(const Function& function) const {
    for (int64_t o = 0; o < s.outer; ++o)
      for (int64_t i = 0; i < s.axis; ++i)
        for (int64_t k = 0; k < s.inner; ++k) {
          const int64_t at = index[static_cast<size_t>(s.separate ? (o * s.axis + i) * s.inner + k : o * s.axis + i)];
          function((o * s.axis + i) * s.inner + k, (o * s.table_size + at) * s.inner + k);
        }
  }
};

template <typename T>
void check_gather(const Space& space) {
  Problem<T> p(space);
  const std::vector<T> expected = p.values.values();
  ASSERT_TRUE(cuda::gather(p.arguments()));
  p.for_each([&](int64_t value, int64_t entry) { ASSERT_EQ(value_of(p.values[value]), value_of(p.table[entry])); });
  ASSERT_TRUE(p.values.whole() && p.table.whole());
}

template <typename T>
void check_scatter(const Space& space, char how, bool (*kernel)(const IndexArguments&)) {
  Problem<T> p(space);
  std::vector<T> expected = p.table.values();
  if constexpr (std::is_floating_point_v<T>)
    for (int64_t i = 5; i < p.values.size(); i += 17) p.values.data()[i] = static_cast<T>(NAN);
  p.for_each([&](int64_t value, int64_t entry) {
    T& to = expected[static_cast<size_t>(entry)];
    to = combined(how, to, p.values[value]);
  });
  ASSERT_TRUE(kernel(p.arguments()));
  for (int64_t i = 0; i < p.table.size(); ++i)
    ASSERT_TRUE(close(value_of(p.table[i]), value_of(expected[static_cast<size_t>(i)]), 0)) << how << " " << i;
  ASSERT_TRUE(p.values.whole() && p.table.whole());
}

const std::vector<Space>& spaces() {
  static const std::vector<Space> all = {
      {1, 40, 8, 10},      {2, 100, 5, 7},       {3, 70, 40, 30}, {1, 700, 1, 3}, {2, 600, 1, 90, false, true},
      {2, 50, 6, 9, true}, {70, 3, 70, 4, true}, {5, 4, 64, 6},   {0, 4, 64, 6},  {1, 0, 3, 6},
      {1, 300, 3, 3000}};
  return all;
}

TEST(CudaIndexing, Gather) {
  for (const Space& space : spaces()) {
    check_gather<float>(space);
    check_gather<double>(space);
    check_gather<BFloat16>(space);
    check_gather<uint8_t>(space);
  }
}

TEST(CudaIndexing, Scatter) {
  for (const Space& space : spaces()) {
    check_scatter<float>(space, '+', cuda::scatter_add);
    check_scatter<BFloat16>(space, '=', cuda::scatter);
  }
  for (const Space& space : {spaces()[0], spaces()[1], spaces()[5], spaces()[7]}) {
    check_scatter<uint8_t>(space, '=', cuda::scatter);
    check_scatter<double>(space, '+', cuda::scatter_add);
    check_scatter<BFloat16>(space, '+', cuda::scatter_add);
    check_scatter<float>(space, '*', cuda::scatter_product);
    check_scatter<float>(space, '>', cuda::scatter_maximum);
    check_scatter<int64_t>(space, '>', cuda::scatter_maximum);
    check_scatter<double>(space, '<', cuda::scatter_minimum);
    check_scatter<Float16>(space, '<', cuda::scatter_minimum);
  }
}

/// Integers wrap around, as unsigned ones do.
TEST(CudaIndexing, ScatterOfIntegersWraps) {
  Problem<uint8_t> p({1, 300, 2, 3});
  std::vector<uint8_t> expected = p.table.values();
  p.for_each([&](int64_t value, int64_t entry) { expected[static_cast<size_t>(entry)] += p.values[value]; });
  cuda::scatter_add(p.arguments());
  EXPECT_EQ(p.table.values(), expected);
}

TEST(CudaIndexing, OutOfRange) {
  const kernels::Backend& backend = *pycnn_backend_v1();
  backend.synchronize();
  ASSERT_EQ(backend.take_error(), nullptr);
  for (const int64_t bad : {int64_t{-1}, int64_t{7}, INT64_MAX, INT64_MIN})
    for (const auto kernel : {cuda::gather, cuda::scatter_add, cuda::scatter}) {
      Problem<float> p({2, 100, 5, 7});
      const Guarded<float> before = kernel == cuda::gather ? p.values : p.table;
      p.index[3] = bad;
      ASSERT_TRUE(kernel(p.arguments()));
      EXPECT_TRUE(p.values.whole() && p.table.whole());
      backend.synchronize();
      EXPECT_STREQ(backend.take_error(), "index out of range");
      backend.synchronize();
      EXPECT_EQ(backend.take_error(), nullptr);
    }
}

TEST(CudaIndexing, NothingIsInRangeOfAnEmptyTable) {
  const kernels::Backend& backend = *pycnn_backend_v1();
  for (const auto kernel : {cuda::gather, cuda::scatter_add}) {
    Problem<float> p({1, 100, 2, 1});
    IndexArguments a = p.arguments();
    a.axis_size = 0;
    a.table.data = nullptr;
    kernel(a);
    backend.synchronize();
    EXPECT_STREQ(backend.take_error(), "index out of range");
  }
}

template <typename T>
void check_sample(int64_t batch, int64_t points, int64_t taps, int64_t elements, int64_t channels, int64_t misaligned) {
  std::vector<int64_t> index = random_integers(batch * taps * points, elements + 1, 5);
  for (int64_t& i : index) --i;
  Guarded<T> weights(random_steps<T>(batch * taps * points, 6)),
      table(random_steps<T>(batch * elements * channels, 7), misaligned);
  Guarded<T> values(batch * points * channels, misaligned);
  cuda::sample({dtype_of<T>(), batch, points, taps, elements, channels, index.data(), weights.data(), table.data(),
                values.data()});
  const Guarded<T> gradient(random_steps<T>(values.size(), 8), misaligned);
  Guarded<T> weight_sums(weights.size()), spread(table.size(), misaligned);
  std::vector<T> expected(static_cast<size_t>(table.size()), T(0));
  auto* const given = const_cast<T*>(gradient.data());
  cuda::sample_weights(
      {dtype_of<T>(), batch, points, taps, elements, channels, index.data(), weight_sums.data(), table.data(), given});
  cuda::sample_spread(
      {dtype_of<T>(), batch, points, taps, elements, channels, index.data(), weights.data(), spread.data(), given});
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t p = 0; p < points; ++p) {
      std::vector<double> sums(static_cast<size_t>(channels), 0);
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t place = (b * taps + t) * points + p, element = index[static_cast<size_t>(place)];
        double sum = 0;
        for (int64_t c = 0; c < channels && element >= 0; ++c) {
          const int64_t entry = (b * elements + element) * channels + c;
          const T dy = gradient[(b * points + p) * channels + c];
          sums[static_cast<size_t>(c)] += value_of(weights[place]) * value_of(table[entry]);
          sum += value_of(dy) * value_of(table[entry]);
          expected[static_cast<size_t>(entry)] += dy * weights[place];
        }
        ASSERT_TRUE(close(value_of(weight_sums[place]), sum, 10 * tolerance<T>()));
      }
      for (int64_t c = 0; c < channels; ++c)
        ASSERT_TRUE(close(value_of(values[(b * points + p) * channels + c]), sums[static_cast<size_t>(c)],
                          10 * tolerance<T>()));
    }
  for (int64_t i = 0; i < spread.size(); ++i) ASSERT_EQ(spread[i], expected[static_cast<size_t>(i)]) << i;
  ASSERT_TRUE(values.whole() && weight_sums.whole() && spread.whole());
}

TEST(CudaIndexing, Sample) {
  check_sample<float>(2, 30, 4, 20, 8, 0);
  check_sample<float>(1, 300, 4, 9, 5, 0);
  check_sample<float>(2, 20, 4, 20, 8, 1);
  check_sample<double>(3, 50, 2, 600, 34, 0);
  check_sample<float>(1, 3, 1, 4, 200, 0);
  check_sample<float>(0, 3, 1, 4, 4, 0);
  check_sample<float>(2, 0, 1, 4, 4, 0);
}

}  // namespace
}  // namespace pycnn::testing_cuda
