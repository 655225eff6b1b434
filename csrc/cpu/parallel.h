// The one way to use several cores.
#pragma once

#include <cstdint>
#include <type_traits>

namespace pycnn::cpu {

/// Threads used by parallel_for: the cores this process may use (affinity and cgroup), or what set_num_threads asked
/// for.
int num_threads();
/// n ≥ 1, honoured above the core count as well.
void set_num_threads(int n);

/// While one with `serial` exists, this thread's parallel_for runs in its caller: for work so small that waking others
/// costs more.
class SerialScope {
 public:
  explicit SerialScope(bool serial);
  ~SerialScope();
  SerialScope(const SerialScope&) = delete;
  SerialScope& operator=(const SerialScope&) = delete;

 private:
  bool before_;
};

using ChunkFunction = void (*)(const void* context, int64_t chunk);
/// Calls function(context, i) for every i in 0…chunks-1, on any thread, in any order; returns when all are done.
/// A nested or concurrent call runs serially in its caller.
void parallel_for(int64_t chunks, ChunkFunction function, const void* context);

/// The same with any callable: parallel_for(n, [&](int64_t chunk) { … }).
template <typename Function>
void parallel_for(int64_t chunks, const Function& function) {
  parallel_for(
      chunks, [](const void* context, int64_t chunk) { (*static_cast<const Function*>(context))(chunk); }, &function);
}

}  // namespace pycnn::cpu
