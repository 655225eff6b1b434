// The GPU's pooling kernels in emulation, against the definition, window by window.
#include "cuda_testing.h"

namespace pycnn::testing_cuda {
namespace {

using kernels::PoolingArguments;

struct Windows {
  int64_t input, step;
  std::vector<int64_t> begin, end, divisor, seen_begin, seen_end;
  int64_t taps = 1;

  int64_t output() const { return static_cast<int64_t>(begin.size()); }
  void finish() {
    for (int64_t i = 0; i < input; ++i) {
      int64_t first = output(), last = 0;
      for (int64_t o = 0; o < output(); ++o)
        if (i >= begin[static_cast<size_t>(o)] && i < end[static_cast<size_t>(o)]) {
          first = std::min(first, o);
          last = o + 1;
        }
      seen_begin.push_back(std::min(first, last));
      seen_end.push_back(last);
    }
    for (size_t o = 0; o < begin.size(); ++o) {
      divisor.push_back(static_cast<int64_t>(o) % 2 + 3);
      taps = std::max(taps, (end[o] - begin[o] + step - 1) / step);
    }
  }
};

/// Ordinary windows; those at the borders are cut, and some may be empty.
Windows strided(int64_t input, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  Windows w{input, dilation, {}, {}, {}, {}, {}};
  for (int64_t first = -padding; first + dilation * (kernel - 1) < input + padding; first += stride) {
    int64_t begin = first;
    while (begin < 0) begin += dilation;
    const int64_t end = std::min(first + dilation * (kernel - 1) + 1, input);
    w.begin.push_back(std::min(begin, input));
    w.end.push_back(std::max(end, std::min(begin, input)));
  }
  w.finish();
  return w;
}

Windows adaptive(int64_t input, int64_t output) {
  Windows w{input, 1, {}, {}, {}, {}, {}};
  for (int64_t o = 0; o < output; ++o) {
    w.begin.push_back(o * input / output);
    w.end.push_back((o + 1) * input / output + ((o + 1) * input % output != 0));
  }
  w.finish();
  return w;
}

struct Case {
  int64_t batch, channels;
  Windows windows[3];
  bool misaligned = false;
};

std::vector<Case> cases() {
  const Windows one = adaptive(1, 1);
  std::vector<Case> all;
  all.push_back({2, 8, {one, strided(6, 2, 2, 0, 1), strided(7, 2, 2, 0, 1)}});
  all.push_back({1, 5, {one, strided(7, 3, 2, 1, 1), strided(5, 3, 2, 1, 1)}});
  all.push_back({1, 16, {strided(4, 2, 1, 0, 1), strided(5, 3, 1, 1, 1), strided(6, 3, 2, 1, 2)}});
  all.push_back({3, 8, {one, adaptive(9, 1), adaptive(8, 1)}});
  all.push_back({2, 3, {one, adaptive(9, 1), adaptive(11, 2)}});
  all.push_back({1, 8, {one, adaptive(5, 3), adaptive(3, 5)}, true});
  all.push_back({1, 1, {one, one, strided(3, 1, 1, 2, 1)}});
  all.push_back({0, 8, {one, one, strided(4, 2, 2, 0, 1)}});
  return all;
}

template <typename S, typename M>
struct Problem {
  const Case& c;
  Guarded<S> input, output;
  Guarded<M> places;

  explicit Problem(const Case& given, uint32_t seed)
      : c(given),
        input(random_steps<S>(given.batch * volume(true) * given.channels, seed), given.misaligned),
        output(given.batch * volume(false) * given.channels, given.misaligned),
        places(output.size(), given.misaligned) {}

  int64_t volume(bool of_input) const {
    int64_t result = 1;
    for (const Windows& w : c.windows) result *= of_input ? w.input : w.output();
    return result;
  }
  PoolingArguments arguments() {
    PoolingArguments a{};
    a.dtype = dtype_of<S>();
    a.batch = c.batch;
    a.channels = c.channels;
    for (int d = 0; d < 3; ++d) {
      const Windows& w = c.windows[d];
      a.input_size[d] = w.input;
      a.output_size[d] = w.output();
      a.begin[d] = w.begin.data();
      a.end[d] = w.end.data();
      a.divisor[d] = w.divisor.data();
      a.seen_begin[d] = w.seen_begin.data();
      a.seen_end[d] = w.seen_end.data();
      a.step[d] = w.step;
      a.taps[d] = w.taps;
    }
    a.input = input.data();
    a.output = output.data();
    if constexpr (sizeof(M) == 8)
      a.indices = places.data();
    else
      a.offsets = places.data();
    return a;
  }

  /// Calls function(output element, divisor); for each of its taps, tap(input element, index, number).
  template <typename Function>
  void for_each_output(const Function& function) const {
    const Windows* w = c.windows;
    int64_t element = 0;
    for (int64_t n = 0; n < c.batch; ++n)
      for (size_t d = 0; d < w[0].begin.size(); ++d)
        for (size_t h = 0; h < w[1].begin.size(); ++h)
          for (size_t x = 0; x < w[2].begin.size(); ++x)
            for (int64_t channel = 0; channel < c.channels; ++channel, ++element)
              function(element, w[0].divisor[d] * w[1].divisor[h] * w[2].divisor[x], [&](const auto& tap) {
                for (int64_t i = 0; w[0].begin[d] + i * w[0].step < w[0].end[d]; ++i)
                  for (int64_t j = 0; w[1].begin[h] + j * w[1].step < w[1].end[h]; ++j)
                    for (int64_t k = 0; w[2].begin[x] + k * w[2].step < w[2].end[x]; ++k) {
                      const int64_t index =
                          ((w[0].begin[d] + i * w[0].step) * w[1].input + w[1].begin[h] + j * w[1].step) * w[2].input +
                          w[2].begin[x] + k * w[2].step;
                      tap((n * volume(true) + index) * c.channels + channel, index,
                          (i * w[1].taps + j) * w[2].taps + k);
                    }
              });
  }
};

template <typename S, typename M>
void check_maximum(const Case& c, bool with_nan) {
  Problem<S, M> p(c, 1);
  if (with_nan && sizeof(S) != 8)
    for (int64_t i = 0; i < p.input.size(); i += 5) p.input.data()[i] = rounded<S>(NAN);
  PoolingArguments a = p.arguments();
  cuda::max_pool(a);
  p.for_each_output([&](int64_t element, int64_t, const auto& taps) {
    double best = -INFINITY;
    int64_t place = -1;
    taps([&](int64_t at, int64_t index, int64_t number) {
      const double x = value_of(p.input[at]);
      if (place >= 0 && !(x > best) && !std::isnan(x)) return;
      best = x;
      place = sizeof(M) == 8 ? index : number;
    });
    ASSERT_EQ(p.places[element], static_cast<M>(place)) << element;
    if (std::is_same_v<S, int64_t> && place < 0) best = -0x1p63;
    ASSERT_TRUE(close(value_of(p.output[element]), best, 0)) << element;
  });
  ASSERT_TRUE(p.output.whole() && p.places.whole() && p.input.whole());

  if constexpr (!std::is_same_v<S, int64_t>) {
    // What the places name of another tensor.
    Guarded<S> other(random_steps<S>(p.input.size(), 2), c.misaligned), gathered(p.output.size(), c.misaligned);
    a.input = other.data();
    a.output = gathered.data();
    cuda::max_pool_gather(a);
    Guarded<S> gradients(random_steps<S>(p.output.size(), 3), c.misaligned), sums(p.input.size(), c.misaligned);
    std::vector<double> expected(static_cast<size_t>(p.input.size()), 0);
    p.for_each_output([&](int64_t element, int64_t, const auto& taps) {
      double named = 0;
      taps([&](int64_t at, int64_t index, int64_t number) {
        if (p.places[element] != static_cast<M>(sizeof(M) == 8 ? index : number)) return;
        named = value_of(other[at]);
        expected[static_cast<size_t>(at)] += value_of(gradients[element]);
      });
      ASSERT_EQ(value_of(gathered[element]), named);
    });
    a.input = sums.data();
    a.output = gradients.data();
    cuda::max_pool_backward(a);
    for (int64_t i = 0; i < sums.size(); ++i)
      ASSERT_EQ(value_of(sums[i]), value_of(rounded<S>(expected[static_cast<size_t>(i)]))) << i;
    ASSERT_TRUE(gathered.whole() && sums.whole() && gradients.whole());
  }
}

template <typename S>
void check_average(const Case& c) {
  Problem<S, uint8_t> p(c, 4);
  PoolingArguments a = p.arguments();
  a.offsets = nullptr;
  cuda::average_pool(a);
  Guarded<S> gradients(random_steps<S>(p.output.size(), 5), c.misaligned), sums(p.input.size(), c.misaligned);
  std::vector<double> expected(static_cast<size_t>(p.input.size()), 0);
  p.for_each_output([&](int64_t element, int64_t divisor, const auto& taps) {
    double sum = 0;
    taps([&](int64_t at, int64_t, int64_t) {
      sum += value_of(p.input[at]);
      expected[static_cast<size_t>(at)] += value_of(gradients[element]) / static_cast<double>(divisor);
    });
    ASSERT_TRUE(close(value_of(p.output[element]), sum / static_cast<double>(divisor), tolerance<S>())) << element;
  });
  a.input = sums.data();
  a.output = gradients.data();
  cuda::average_pool_backward(a);
  for (int64_t i = 0; i < sums.size(); ++i)
    ASSERT_TRUE(close(value_of(sums[i]), expected[static_cast<size_t>(i)], tolerance<S>())) << i;
  ASSERT_TRUE(p.output.whole() && sums.whole());
}

TEST(CudaPooling, Maximum) {
  for (const Case& c : cases())
    for (const bool with_nan : {false, true}) {
      check_maximum<float, uint8_t>(c, with_nan);
      check_maximum<float, int64_t>(c, with_nan);
      check_maximum<double, int64_t>(c, with_nan);
      check_maximum<BFloat16, uint8_t>(c, with_nan);
      check_maximum<int64_t, int64_t>(c, with_nan);
    }
}

TEST(CudaPooling, Average) {
  for (const Case& c : cases()) {
    check_average<float>(c);
    check_average<double>(c);
    check_average<BFloat16>(c);
  }
}

}  // namespace
}  // namespace pycnn::testing_cuda
