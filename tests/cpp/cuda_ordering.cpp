// The GPU's kernels for lines in emulation: scans, sorting, selection, search, against plain loops.
#include <numeric>

#include "cuda_testing.h"

namespace pycnn::testing_cuda {
namespace {

using kernels::ScanKind;

template <typename T>
std::vector<T> with_special_values(std::vector<T> values, size_t every) {
  if constexpr (std::is_floating_point_v<T>)
    for (size_t i = every / 2; i < values.size(); i += every) {
      const T special[] = {static_cast<T>(NAN), static_cast<T>(-0.0), static_cast<T>(-INFINITY),
                           static_cast<T>(INFINITY)};
      values[i] = special[i / every % 4];
    }
  return values;
}

template <typename T>
void check_scan(ScanKind kind, int64_t lines, int64_t count) {
  const bool extreme = kind == ScanKind::Maximum || kind == ScanKind::Minimum;
  std::vector<T> values = random_steps<T>(lines * count, 1);
  if (kind == ScanKind::Product)
    for (T& x : values) x = static_cast<T>(sizeof(T) == 8 && !std::is_floating_point_v<T> ? 2 * x + 1 : 1 + x / 64);
  if (extreme) values = with_special_values(values, static_cast<size_t>(count) / 2 + 3);
  const Guarded<T> input(values, 1);
  Guarded<T> output(lines * count, 1);
  Guarded<int64_t> indices(lines * count);
  cuda::scan({kind, dtype_of<T>(), lines, count, input.data(), extreme ? nullptr : output.data(),
              extreme ? indices.data() : nullptr});
  for (int64_t line = 0; line < lines; ++line) {
    double total = kind == ScanKind::Product ? 1 : kind == ScanKind::LogSumExp ? -INFINITY : 0;
    uint64_t wrapped = kind == ScanKind::Product ? 1 : 0;
    int64_t best = 0;
    for (int64_t i = 0; i < count; ++i) {
      const auto at = [&](int64_t j) { return input[line * count + j]; };
      if (extreme) {
        const T x = at(i), y = at(best);
        if (x != x || (y == y && (kind == ScanKind::Maximum ? x >= y : x <= y))) best = i;
        ASSERT_EQ(indices[line * count + i], best) << line << " " << i;
        continue;
      }
      const double x = value_of(at(i));
      const auto bits = static_cast<uint64_t>(at(i));
      total = kind == ScanKind::Sum       ? total + x
              : kind == ScanKind::Product ? total * x
                                          : std::log(std::exp(total) + std::exp(x));
      wrapped = kind == ScanKind::Sum ? wrapped + bits : wrapped * bits;
      if (!std::is_floating_point_v<T>)
        ASSERT_EQ(output[line * count + i], static_cast<T>(wrapped));
      else
        ASSERT_TRUE(close(value_of(output[line * count + i]), total, 10 * tolerance<T>())) << line << " " << i;
    }
  }
  ASSERT_TRUE(output.whole() && indices.whole());
}

TEST(CudaOrdering, Scan) {
  const std::pair<int64_t, int64_t> sizes[] = {{3, 1}, {9, 3}, {5, 32}, {4, 100}, {2, 300}, {2, 1000}, {0, 4}};
  for (const auto& [lines, count] : sizes)
    for (const ScanKind kind : {ScanKind::Sum, ScanKind::Product, ScanKind::Maximum, ScanKind::Minimum}) {
      check_scan<float>(kind, lines, count);
      check_scan<double>(kind, lines, count);
      check_scan<int64_t>(kind, lines, count);
    }
  check_scan<float>(ScanKind::LogSumExp, 5, 40);
  check_scan<double>(ScanKind::LogSumExp, 2, 700);
}

TEST(CudaOrdering, ScanOfLongLines) {
  check_scan<float>(ScanKind::Sum, 2, 2 * 16384 + 1);
  check_scan<int64_t>(ScanKind::Product, 1, 3 * 16384 - 1);
  check_scan<float>(ScanKind::Maximum, 1, 3 * 16384 + 5);
}

template <typename T>
bool comes_before(T a, T b, bool descending) {
  if (descending) return (a != a && b == b) || a > b;
  return (a == a && b != b) || a < b;
}

template <typename T>
void check_sort(int64_t lines, int64_t count, bool descending) {
  const std::vector<T> input = with_special_values(random_steps<T>(lines * count, 2), 9);
  Guarded<int64_t> indices(lines * count), scratch(lines * count);
  cuda::sort({dtype_of<T>(), descending, lines, count, input.data(), indices.data(), scratch.data()});
  Guarded<char> workspace(lines * count * 16 + 16);
  Guarded<int64_t> selected(lines * std::max<int64_t>(1, count / 3)), last(lines);
  void* const aligned = workspace.data() + 16 - reinterpret_cast<uintptr_t>(workspace.data()) % 16;
  if (count > 0) {
    const int64_t wanted = std::max<int64_t>(1, count / 3);
    cuda::select({kernels::SelectKind::Ranked, dtype_of<T>(), descending, lines, count, wanted, input.data(),
                  selected.data(), aligned});
    cuda::select(
        {kernels::SelectKind::Last, dtype_of<T>(), false, lines, count, wanted, input.data(), last.data(), aligned});
  }
  for (int64_t line = 0; line < lines; ++line) {
    const T* const x = input.data() + line * count;
    std::vector<int64_t> expected(static_cast<size_t>(count)), ascending(static_cast<size_t>(count));
    std::iota(expected.begin(), expected.end(), 0);
    ascending = expected;
    std::stable_sort(expected.begin(), expected.end(),
                     [&](int64_t a, int64_t b) { return comes_before(x[a], x[b], descending); });
    std::stable_sort(ascending.begin(), ascending.end(),
                     [&](int64_t a, int64_t b) { return comes_before(x[a], x[b], false); });
    for (int64_t i = 0; i < count; ++i)
      ASSERT_EQ(indices[line * count + i], expected[static_cast<size_t>(i)]) << line << " " << i;
    const int64_t wanted = std::max<int64_t>(1, count / 3);
    for (int64_t i = 0; i < wanted; ++i) ASSERT_EQ(selected[line * wanted + i], expected[static_cast<size_t>(i)]);
    ASSERT_EQ(last[line], ascending[static_cast<size_t>(wanted - 1)]);
  }
  ASSERT_TRUE(indices.whole() && scratch.whole() && workspace.whole() && selected.whole() && last.whole());
}

TEST(CudaOrdering, Sort) {
  for (const bool descending : {false, true}) {
    check_sort<float>(5, 1, descending);
    check_sort<float>(2000, 3, descending);
    check_sort<double>(7, 50, descending);
    check_sort<int64_t>(3, 100, descending);
    check_sort<float>(2, 1024, descending);
    check_sort<float>(3, 1025, descending);
    check_sort<double>(2, 2500, descending);
    check_sort<int64_t>(1, 5000, descending);
    check_sort<float>(1, 9000, descending);
  }
  check_sort<float>(0, 5, false);
}

template <typename T>
void check_search(int64_t lines, int64_t count, int64_t values_per_line, bool shared, bool right) {
  std::vector<T> boundaries = random_steps<T>((shared ? 1 : lines) * count, 3);
  for (int64_t line = 0; line < (shared ? 1 : lines); ++line)
    std::sort(boundaries.begin() + line * count, boundaries.begin() + (line + 1) * count);
  const std::vector<T> values = with_special_values(random_steps<T>(lines * values_per_line, 4), 7);
  Guarded<int64_t> places(lines * values_per_line);
  cuda::search(
      {dtype_of<T>(), right, lines, count, values_per_line, boundaries.data(), shared, values.data(), places.data()});
  for (int64_t i = 0; i < places.size(); ++i) {
    const T* const line = boundaries.data() + (shared ? 0 : i / values_per_line * count);
    int64_t expected = 0;
    for (int64_t j = 0; j < count; ++j) {
      const T x = values[static_cast<size_t>(i)];
      expected += x != x || (right ? line[j] <= x : line[j] < x);
    }
    ASSERT_EQ(places[i], expected) << i;
  }
  ASSERT_TRUE(places.whole());
}

TEST(CudaOrdering, Search) {
  for (const bool right : {false, true}) {
    check_search<float>(1, 20, 50, true, right);
    check_search<double>(3, 9, 11, false, right);
    check_search<int64_t>(2, 0, 5, false, right);
    check_search<float>(4, 100, 100, false, right);
  }
}

}  // namespace
}  // namespace pycnn::testing_cuda
