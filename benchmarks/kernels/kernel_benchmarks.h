// Shared by the kernel benchmarks: buffers, and what every one of them reports.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "cpu/features.h"
#include "kernels/kernels.h"

namespace pycnn::kernel_benchmarks {

/// Memory on a cache line's boundary, as plans place it, every page touched.
class Buffer {
 public:
  explicit Buffer(size_t bytes)
      : bytes_((bytes + alignment) / alignment * alignment), data_(std::aligned_alloc(alignment, bytes_)) {
    for (size_t i = 0; i < bytes_; ++i) static_cast<char*>(data_.get())[i] = 0;
  }
  static Buffer of_floats(int64_t count) {
    Buffer buffer(static_cast<size_t>(count) * sizeof(float));
    for (int64_t i = 0; i < count; ++i) buffer.floats()[i] = static_cast<float>(i % 251) / 125 - 1;
    return buffer;
  }
  void* data() const { return data_.get(); }
  float* floats() const { return static_cast<float*>(data_.get()); }

 private:
  static constexpr size_t alignment = 64;
  struct Free {
    void operator()(void* data) const { std::free(data); }
  };
  size_t bytes_;
  std::unique_ptr<void, Free> data_;
};

/// Runs the kernel for as long as Google Benchmark wants and reports operations and bytes per second. `bytes` counts
/// every tensor read or written once.
template <typename Run>
void measure(benchmark::State& state, double flops, double bytes, const Run& run) {
  for (auto _ : state) {
    run();
    benchmark::ClobberMemory();
  }
  using benchmark::Counter;
  if (flops > 0) state.counters["GFLOP"] = Counter(1e-9 * flops, Counter::kIsIterationInvariantRate);
  if (bytes > 0) state.counters["GB"] = Counter(1e-9 * bytes, Counter::kIsIterationInvariantRate);
}

/// The function takes a benchmark::State& and prepares its own buffers.
template <typename Function>
void add(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(function))->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void add_peak();
void add_convolutions();
void add_matmuls();
void add_pooling();
void add_programs();

}  // namespace pycnn::kernel_benchmarks
