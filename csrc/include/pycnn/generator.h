// Streams of random numbers.
#pragma once

#include <cstdint>
#include <memory>

namespace pycnn {

/// A stream of keys, each decided by the seed and how many were drawn before it. Every random operator draws one when
/// it is called, and its element i then is a function of (key, i) alone: neither threads nor the order of evaluation
/// matter. Copies share the stream; clone() does not. Any thread may draw.
class Generator {
 public:
  static constexpr uint64_t default_seed = 67280421310721;  // PyTorch's

  struct State {
    uint64_t seed = default_seed;
    uint64_t drawn = 0;  ///< keys so far
    bool operator==(const State&) const = default;
  };

  explicit Generator(uint64_t seed = default_seed);
  /// Starts again from this seed.
  const Generator& manual_seed(uint64_t seed) const;
  /// Starts again from a seed of the operating system, which is returned.
  uint64_t seed() const;
  /// What it was last seeded with.
  uint64_t initial_seed() const { return get_state().seed; }
  State get_state() const;
  void set_state(const State& state) const;
  /// Another stream that goes on from here by itself.
  Generator clone() const;
  /// The next key.
  uint64_t draw() const;
  bool operator==(const Generator&) const = default;

 private:
  std::shared_ptr<State> state_;
};

/// This process's generator, for calls that are given no other.
const Generator& default_generator();
/// Seeds the default generator.
void manual_seed(uint64_t seed);

}  // namespace pycnn
