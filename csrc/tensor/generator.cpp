#include "pycnn/generator.h"

#include <mutex>
#include <random>

#include "tensor/fork.h"

namespace pycnn {
namespace {

/// A bijection that scatters neighbouring numbers (SplitMix64's finaliser, Steele et al. 2014).
uint64_t scrambled(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Guards all states: they are held for a few instructions, once per random operator.
std::mutex& states_mutex() {
  static ForkSafeMutex mutex{ForkOrder::Random};
  return mutex;
}

}  // namespace

Generator::Generator(uint64_t seed) : state_(std::make_shared<State>(State{seed, 0})) {}

const Generator& Generator::manual_seed(uint64_t seed) const {
  set_state({seed, 0});
  return *this;
}

uint64_t Generator::seed() const {
  std::random_device device;
  const uint64_t seed = uint64_t{device()} << 32 | device();
  manual_seed(seed);
  return seed;
}

Generator::State Generator::get_state() const {
  const std::lock_guard lock(states_mutex());
  return *state_;
}

void Generator::set_state(const State& state) const {
  const std::lock_guard lock(states_mutex());
  *state_ = state;
}

Generator Generator::clone() const {
  Generator copy;
  copy.set_state(get_state());
  return copy;
}

uint64_t Generator::draw() const {
  const std::lock_guard lock(states_mutex());
  return scrambled(scrambled(state_->seed) + ++state_->drawn * 0x9e3779b97f4a7c15u);
}

const Generator& default_generator() {
  static const Generator instance;
  return instance;
}

void manual_seed(uint64_t seed) { default_generator().manual_seed(seed); }

}  // namespace pycnn
