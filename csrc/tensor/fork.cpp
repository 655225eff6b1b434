#include "tensor/fork.h"

#include <pthread.h>

#include <atomic>

namespace pycnn {
namespace {

constexpr int mutex_count = static_cast<int>(ForkOrder::Memory) + 1;
std::atomic<std::mutex*> mutexes[mutex_count];
thread_local std::mutex* held[mutex_count];  // by this thread while it forks

void before_fork() {
  for (int i = 0; i < mutex_count; ++i)
    if ((held[i] = mutexes[i].load()) != nullptr) held[i]->lock();
}

void after_fork() {
  for (int i = mutex_count; i-- > 0;)
    if (held[i] != nullptr) held[i]->unlock();
}

}  // namespace

ForkSafeMutex::ForkSafeMutex(ForkOrder order) {
  [[maybe_unused]] static const int registered = pthread_atfork(before_fork, after_fork, after_fork);
  mutexes[static_cast<int>(order)].store(this);
}

}  // namespace pycnn
