// Pooling of square images, forward and backward.
#include <algorithm>
#include <vector>

#include "kernel_benchmarks.h"

namespace pycnn::kernel_benchmarks {
namespace {

using kernels::PoolingArguments;

struct Pool {
  const char* name;
  int64_t batch, channels, size, kernel, stride, padding;
};

constexpr Pool pools[] = {
    {"lenet5_2x2", 64, 6, 28, 2, 2, 0},
    {"vgg16_2x2", 4, 64, 224, 2, 2, 0},
    {"resnet_3x3_2", 16, 64, 112, 3, 2, 1},
};

/// Windows along one dimension.
struct Windows {
  std::vector<int64_t> begin, end, divisor, seen_begin, seen_end;
  Windows(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
    const int64_t outputs = (size + 2 * padding - kernel) / stride + 1;
    seen_begin.resize(static_cast<size_t>(size), outputs);
    seen_end.resize(static_cast<size_t>(size), 0);
    for (int64_t o = 0; o < outputs; ++o) {
      const int64_t first = o * stride - padding;
      begin.push_back(std::max<int64_t>(first, 0));
      end.push_back(std::min(first + kernel, size));
      divisor.push_back(kernel);
      for (int64_t i = begin.back(); i < end.back(); ++i) {
        const auto at = static_cast<size_t>(i);
        seen_begin[at] = std::min(seen_begin[at], o);
        seen_end[at] = o + 1;
      }
    }
  }
};

void run(benchmark::State& state, const Pool& pool, void (*kernel)(const PoolingArguments&), bool maximum) {
  const Windows depth(1, 1, 1, 0), rows(pool.size, pool.kernel, pool.stride, pool.padding);
  const Windows* windows[3] = {&depth, &rows, &rows};
  PoolingArguments arguments{};
  arguments.dtype = DType::Float32;
  arguments.batch = pool.batch, arguments.channels = pool.channels;
  int64_t inputs = pool.batch * pool.channels, outputs = inputs;
  for (int d = 0; d < 3; ++d) {
    arguments.input_size[d] = d == 0 ? 1 : pool.size;
    arguments.output_size[d] = static_cast<int64_t>(windows[d]->begin.size());
    arguments.begin[d] = windows[d]->begin.data(), arguments.end[d] = windows[d]->end.data();
    arguments.divisor[d] = windows[d]->divisor.data();
    arguments.seen_begin[d] = windows[d]->seen_begin.data(), arguments.seen_end[d] = windows[d]->seen_end.data();
    arguments.taps[d] = d == 0 ? 1 : pool.kernel;
    arguments.step[d] = 1;
    inputs *= arguments.input_size[d], outputs *= arguments.output_size[d];
  }
  const Buffer input = Buffer::of_floats(inputs), output = Buffer::of_floats(outputs);
  const Buffer offsets(static_cast<size_t>(maximum ? outputs : 0));
  arguments.input = input.data(), arguments.output = output.data();
  if (maximum) {
    arguments.offsets = static_cast<uint8_t*>(offsets.data());
    cpu::active_kernels().max_pool(arguments);  // the backward kernel reads offsets
  }
  measure(state, 0, 4.0 * static_cast<double>(inputs + outputs) + static_cast<double>(maximum ? outputs : 0),
          [&] { kernel(arguments); });
}

}  // namespace

void add_pooling() {
  const kernels::Kernels& table = cpu::active_kernels();
  const struct {
    const char* name;
    void (*kernel)(const PoolingArguments&);
    bool maximum;
  } all[] = {
      {"max_pool", table.max_pool, true},
      {"max_pool_backward", table.max_pool_backward, true},
      {"average_pool", table.average_pool, false},
      {"average_pool_backward", table.average_pool_backward, false},
  };
  for (const Pool& pool : pools) {
    for (const auto& one : all) {
      add(std::string(one.name) + "/" + pool.name,
          [=](benchmark::State& state) { run(state, pool, one.kernel, one.maximum); });
    }
  }
}

}  // namespace pycnn::kernel_benchmarks
