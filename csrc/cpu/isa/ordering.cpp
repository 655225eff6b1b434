// Work along dense lines: cumulative combinations and stable sorting.
#include <math.h>

#include "cpu/isa/isa.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ScanArguments;
using kernels::ScanKind;
using kernels::SortArguments;

/// Calls function(line) for every line; short ones share a task.
template <typename Function>
void for_each_line(int64_t lines, int64_t count, const Function& function) {
  const int64_t per_task = count < 8192 ? 8192 / (count > 0 ? count : 1) : 1;
  const int64_t tasks = (lines + per_task - 1) / per_task;
  const auto run = [&](int64_t task) {
    const int64_t end = (task + 1) * per_task < lines ? (task + 1) * per_task : lines;
    for (int64_t line = task * per_task; line < end; ++line) function(line);
  };
  if (tasks == 1)
    run(0);
  else
    parallel_for(tasks, run);
}

template <typename Function>
void with_element_type(DType dtype, const Function& function) {
  if (dtype == DType::Float32)
    function(float{});
  else if (dtype == DType::Float64)
    function(double{});
  else
    function(int64_t{});
}

/// Integers wrap around.
struct Wrapping {
  uint64_t value;
};
double widened(float x) { return x; }
double widened(double x) { return x; }
Wrapping widened(int64_t x) { return {static_cast<uint64_t>(x)}; }
void narrowed(double x, float& to) { to = static_cast<float>(x); }
void narrowed(double x, double& to) { to = x; }
void narrowed(Wrapping x, int64_t& to) { to = static_cast<int64_t>(x.value); }
double plus(double a, double b) { return a + b; }
double times(double a, double b) { return a * b; }
Wrapping plus(Wrapping a, Wrapping b) { return {a.value + b.value}; }
Wrapping times(Wrapping a, Wrapping b) { return {a.value * b.value}; }

double log_add_exp(double a, double b) {
  if (a != a || b != b) return a + b;
  const double high = a > b ? a : b, low = a > b ? b : a;
  return high == low && high - low != 0 ? high : high + ::log1p(::exp(low - high));
}

template <typename T>
void scan_line(ScanKind kind, const T* x, T* values, int64_t count) {
  auto total = widened(x[0]);
  narrowed(total, values[0]);
  for (int64_t i = 1; i < count; ++i) {
    total = kind == ScanKind::Sum ? plus(total, widened(x[i])) : times(total, widened(x[i]));
    narrowed(total, values[i]);
  }
}

template <typename T>
void scan_logarithms(const T* x, T* values, int64_t count) {
  double total = static_cast<double>(x[0]);
  values[0] = x[0];
  for (int64_t i = 1; i < count; ++i) {
    total = log_add_exp(total, static_cast<double>(x[i]));
    values[i] = static_cast<T>(total);
  }
}

template <typename T>
void scan_extremes(bool maximum, const T* x, int64_t* indices, int64_t count) {
  int64_t best = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool best_is_nan = x[best] != x[best];
    if (x[i] != x[i] || (!best_is_nan && (maximum ? x[i] >= x[best] : x[i] <= x[best]))) best = i;
    indices[i] = best;
  }
}

/// Whether a comes after b.
template <bool descending, typename T>
bool after(T a, T b) {
  return descending ? a < b || (a == a && b != b) : a > b || (a != a && b == b);
}

/// Runs of 16 by insertion, then merged two by two.
template <bool descending, typename T>
void sort_line(const T* x, int64_t* indices, int64_t* scratch, int64_t count) {
  constexpr int64_t run = 16;
  for (int64_t begin = 0; begin < count; begin += run) {
    const int64_t end = begin + run < count ? begin + run : count;
    for (int64_t i = begin; i < end; ++i) {
      int64_t place = i;
      for (; place > begin && after<descending>(x[indices[place - 1]], x[i]); --place)
        indices[place] = indices[place - 1];
      indices[place] = i;
    }
  }
  int64_t *from = indices, *to = scratch;
  for (int64_t width = run; width < count; width *= 2) {
    for (int64_t begin = 0; begin < count; begin += 2 * width) {
      const int64_t middle = begin + width < count ? begin + width : count;
      const int64_t end = begin + 2 * width < count ? begin + 2 * width : count;
      int64_t left = begin, right = middle;
      for (int64_t i = begin; i < end; ++i) {
        const bool take_right = left == middle || (right < end && after<descending>(x[from[left]], x[from[right]]));
        to[i] = take_right ? from[right++] : from[left++];
      }
    }
    int64_t* const swapped = from;
    from = to;
    to = swapped;
  }
  if (from != indices)
    for (int64_t i = 0; i < count; ++i) indices[i] = from[i];
}

}  // namespace

void scan(const ScanArguments& arguments) {
  const int64_t count = arguments.count;
  const ScanKind kind = arguments.kind;
  with_element_type(arguments.dtype, [&](auto element) {
    using T = decltype(element);
    const T* input = static_cast<const T*>(arguments.input);
    T* values = static_cast<T*>(arguments.values);
    for_each_line(arguments.lines, count, [&](int64_t line) {
      const T* x = input + line * count;
      if (kind == ScanKind::Maximum || kind == ScanKind::Minimum)
        scan_extremes(kind == ScanKind::Maximum, x, arguments.indices + line * count, count);
      else if (kind == ScanKind::LogSumExp)
        scan_logarithms(x, values + line * count, count);
      else
        scan_line(kind, x, values + line * count, count);
    });
  });
}

void sort(const SortArguments& arguments) {
  const int64_t count = arguments.count;
  with_element_type(arguments.dtype, [&](auto element) {
    using T = decltype(element);
    const T* input = static_cast<const T*>(arguments.input);
    for_each_line(arguments.lines, count, [&](int64_t line) {
      int64_t *indices = arguments.indices + line * count, *scratch = arguments.workspace + line * count;
      if (arguments.descending)
        sort_line<true>(input + line * count, indices, scratch, count);
      else
        sort_line<false>(input + line * count, indices, scratch, count);
    });
  });
}

}  // namespace pycnn::cpu::PYCNN_ISA
