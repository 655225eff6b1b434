#include "graph/profile.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "cpu/features.h"
#include "cpu/parallel.h"
#include "kernels/kernels.h"
#include "tensor/fork.h"
#include "tensor/storage.h"

namespace pycnn::graph {

std::atomic<bool> profiling = false;

namespace {

ForkSafeMutex profile_mutex(ForkOrder::Profile);
ProfileClock::time_point profile_begin;
std::vector<ProfileEvent> events;
int threads_seen = 0;
uint64_t profile_number = 0;

double seconds_between(ProfileClock::time_point begin, ProfileClock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// A small number for the calling thread, in the order of first use within this profile.
int thread_number() {
  thread_local int number = 0;
  thread_local uint64_t numbered_in = 0;
  if (numbered_in != profile_number) {
    numbered_in = profile_number;
    number = threads_seen++;
  }
  return number;
}

void note(ProfileEvent event, ProfileClock::time_point begin, ProfileClock::time_point end) {
  const std::lock_guard lock(profile_mutex);
  if (!profiling) return;
  event.begin = seconds_between(profile_begin, begin);
  event.seconds = seconds_between(begin, end);
  event.thread = thread_number();
  events.push_back(std::move(event));
}

}  // namespace

void note_step(const Primitive& step, ProfileClock::time_point begin, ProfileClock::time_point end) {
  ProfileEvent event{};
  event.step = step.name();
  event.operators = step.fused.empty() ? step.operator_name : step.fused;
  event.details = step.details();
  event.flops = step.flops();
  event.bytes = step.bytes();
  event.dtype = step.multiplied_dtype();
  note(std::move(event), begin, end);
}

void note_compilation(size_t steps, ProfileClock::time_point begin, ProfileClock::time_point end) {
  ProfileEvent event{};
  event.step = "compile";
  event.dtype = DType::Float32;
  event.details = std::to_string(steps) + " steps";
  note(std::move(event), begin, end);
}

}  // namespace pycnn::graph

namespace pycnn {

void start_profiling() {
  const std::lock_guard lock(graph::profile_mutex);
  graph::events.clear();
  graph::threads_seen = 0;
  graph::profile_number++;
  graph::profile_begin = graph::ProfileClock::now();
  graph::profiling = true;
}

std::vector<ProfileEvent> stop_profiling() {
  const std::lock_guard lock(graph::profile_mutex);
  graph::profiling = false;
  return std::exchange(graph::events, {});
}

MachinePeak measure_peak(double seconds, int64_t bytes) {
  check<ValueError>(seconds > 0 && bytes > 0, "measure_peak: seconds and bytes must be positive, got ", seconds,
                    " and ", bytes);
  using graph::ProfileClock;
  const auto best_rate = [seconds](const auto& work) {
    double best = 0;
    const auto begin = ProfileClock::now();
    do {
      const auto start = ProfileClock::now();
      const double amount = work();
      best = std::max(best, amount / graph::seconds_between(start, ProfileClock::now()));
    } while (graph::seconds_between(begin, ProfileClock::now()) < seconds);
    return best;
  };
  const kernels::Kernels& kernels = cpu::active_kernels();
  const int chunks = cpu::num_threads();
  constexpr int64_t rounds = 100'000;
  const auto best_flops = [&](int64_t (*loop)(int64_t), int64_t loop_rounds) {
    return best_rate([&] {
      std::atomic<int64_t> flops = 0;
      cpu::parallel_for(chunks, [&](int64_t) { flops += loop(loop_rounds); });
      return static_cast<double>(flops.load());
    });
  };
  MachinePeak peak{};
  peak.flops_per_second = best_flops(kernels.multiply_add_loop, rounds);
  peak.bfloat16_flops_per_second = best_flops(kernels.bfloat16_multiply_add_loop, rounds);
  const StoragePointer from = allocate_storage(static_cast<size_t>(bytes));
  const StoragePointer to = allocate_storage(static_cast<size_t>(bytes));
  std::memset(from->data(), 0, static_cast<size_t>(bytes));
  std::memset(to->data(), 0, static_cast<size_t>(bytes));
  peak.bytes_per_second = best_rate([&] {
    cpu::parallel_for(chunks, [&](int64_t chunk) {
      const int64_t begin = bytes * chunk / chunks, end = bytes * (chunk + 1) / chunks;
      std::memcpy(static_cast<char*>(to->data()) + begin, static_cast<const char*>(from->data()) + begin,
                  static_cast<size_t>(end - begin));
    });
    return 2.0 * static_cast<double>(bytes);
  });
  return peak;
}

}  // namespace pycnn
