// What the others are compared with: multiply-adds from registers, and a copy that no cache holds.
#include <atomic>
#include <cstring>

#include "cpu/parallel.h"
#include "kernel_benchmarks.h"

namespace pycnn::kernel_benchmarks {

void add_peak() {
  add("peak/multiply_add", [](benchmark::State& state) {
    constexpr int64_t rounds = 100'000;
    const int threads = cpu::num_threads();
    const kernels::Kernels& kernels = cpu::active_kernels();
    const double flops = static_cast<double>(kernels.multiply_add_loop(rounds)) * threads;
    measure(state, flops, 0, [&] { cpu::parallel_for(threads, [&](int64_t) { kernels.multiply_add_loop(rounds); }); });
  });
  add("peak/copy", [](benchmark::State& state) {
    constexpr int64_t chunks = 64, chunk_bytes = int64_t{1} << 20;
    const Buffer from(chunks * chunk_bytes), to(chunks * chunk_bytes);
    measure(state, 0, 2.0 * chunks * chunk_bytes, [&] {
      cpu::parallel_for(chunks, [&](int64_t chunk) {
        std::memcpy(static_cast<char*>(to.data()) + chunk * chunk_bytes,
                    static_cast<const char*>(from.data()) + chunk * chunk_bytes, chunk_bytes);
      });
    });
  });
}

}  // namespace pycnn::kernel_benchmarks
