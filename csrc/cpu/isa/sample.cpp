// Weighted sums of a few elements of a table for each of many points, and what is transposed to that: sampling images.
// Channels lie innermost.
#include "cpu/isa/integers.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/transpose.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::SampleArguments;

constexpr int64_t task_elements = 1 << 14;
constexpr int64_t channel_block = 64;

template <typename T>
struct Operands {
  explicit Operands(const SampleArguments& arguments)
      : a(arguments),
        weights(static_cast<T*>(arguments.weights)),
        table(static_cast<T*>(arguments.table)),
        values(static_cast<T*>(arguments.values)) {}

  /// Calls function(batch, point) for all points.
  template <typename Function>
  void for_points(const Function& function) const {
    const int64_t all = a.batch * a.points, each = max_of(1, task_elements / max_of(1, a.channels * a.taps));
    parallel_for(ceil_divide(all, each), [&](int64_t task) {
      for (int64_t i = task * each; i < min_of(all, (task + 1) * each); ++i) function(i / a.points, i % a.points);
    });
  }
  int64_t place(int64_t batch, int64_t tap, int64_t point) const { return (batch * a.taps + tap) * a.points + point; }
  T* row(int64_t batch, int64_t element) const { return table + (batch * a.elements + element) * a.channels; }

  const SampleArguments& a;
  T *weights, *table, *values;
};

template <typename T>
void run_sample(const SampleArguments& a) {
  const Operands<T> o(a);
  o.for_points([&](int64_t batch, int64_t point) {
    T* const to = o.values + (batch * a.points + point) * a.channels;
    for (int64_t c = 0; c < a.channels; c += lanes<T>) {
      const Mask<T> mask(static_cast<int>(min_of(lanes<T>, a.channels - c)));
      Vector<T> sum{};
      for (int64_t tap = 0; tap < a.taps; ++tap) {
        const int64_t place = o.place(batch, tap, point), element = a.index[place];
        const Vector<T> from = element < 0 ? Vector<T>{} : load(o.row(batch, element) + c, mask);
        sum += from * splat(o.weights[place]);
      }
      store(to + c, sum, mask);
    }
  });
}

/// Points may share elements: those of one batch and block of channels go one after the other.
template <typename T>
void run_spread(const SampleArguments& a) {
  const Operands<T> o(a);
  const int64_t blocks = ceil_divide(a.channels, channel_block);
  parallel_for(a.batch * blocks, [&](int64_t task) {
    const int64_t batch = task / blocks, begin = task % blocks * channel_block;
    const int64_t end = min_of(a.channels, begin + channel_block);
    for (int64_t element = 0; element < a.elements; ++element)
      for (int64_t c = begin; c < end; ++c) o.row(batch, element)[c] = 0;
    for (int64_t point = 0; point < a.points; ++point) {
      const T* const from = o.values + (batch * a.points + point) * a.channels;
      for (int64_t tap = 0; tap < a.taps; ++tap) {
        const int64_t place = o.place(batch, tap, point), element = a.index[place];
        if (element < 0) continue;
        T* const to = o.row(batch, element);
        const Vector<T> weight = splat(o.weights[place]);
        for (int64_t c = begin; c < end; c += lanes<T>) {
          const Mask<T> mask(static_cast<int>(min_of(lanes<T>, end - c)));
          store(to + c, load(to + c, mask) + load(from + c, mask) * weight, mask);
        }
      }
    }
  });
}

template <typename T>
void run_weights(const SampleArguments& a) {
  const Operands<T> o(a);
  o.for_points([&](int64_t batch, int64_t point) {
    const T* const value = o.values + (batch * a.points + point) * a.channels;
    for (int64_t tap = 0; tap < a.taps; ++tap) {
      const int64_t place = o.place(batch, tap, point), element = a.index[place];
      Vector<T> sum{};
      if (element >= 0)
        for (int64_t c = 0; c < a.channels; c += lanes<T>) {
          const Mask<T> mask(static_cast<int>(min_of(lanes<T>, a.channels - c)));
          sum += load(value + c, mask) * load(o.row(batch, element) + c, mask);
        }
      o.weights[place] = sum_of_lanes<T>(sum);
    }
  });
}

}  // namespace

void sample(const SampleArguments& a) { a.dtype == DType::Float64 ? run_sample<double>(a) : run_sample<float>(a); }
void sample_spread(const SampleArguments& a) {
  a.dtype == DType::Float64 ? run_spread<double>(a) : run_spread<float>(a);
}
void sample_weights(const SampleArguments& a) {
  a.dtype == DType::Float64 ? run_weights<double>(a) : run_weights<float>(a);
}

}  // namespace pycnn::cpu::PYCNN_ISA
