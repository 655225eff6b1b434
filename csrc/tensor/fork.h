// Mutexes and fork(): a child has only the thread that forked, so what another one held would stay locked for ever.
#pragma once

#include <cstdint>
#include <mutex>

namespace pycnn {

/// In the order in which they nest, outermost first. One mutex each.
enum class ForkOrder : uint8_t {
  Gradients,
  Graph,
  Plans,
  Tuner,
  Algorithms,
  Nodes,
  Random,
  Profile,
  Dropped,
  Storages,
  PageLocked,
  Deferred,
  Memory
};

/// fork() waits for its holder, so that no child inherits it locked. Nobody may wait for the GIL while holding one: who
/// forks has it.
class ForkSafeMutex : public std::mutex {
 public:
  explicit ForkSafeMutex(ForkOrder order);
};

}  // namespace pycnn
