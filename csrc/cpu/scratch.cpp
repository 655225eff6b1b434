#include "cpu/scratch.h"

#include <memory>
#include <new>

namespace pycnn::cpu {
namespace {

constexpr std::align_val_t cache_line{64};

struct Free {
  void operator()(void* memory) const { ::operator delete(memory, cache_line); }
};
thread_local std::unique_ptr<void, Free> scratch;

}  // namespace

void reserve_thread_scratch() {
  if (!scratch) scratch.reset(::operator new(scratch_bytes, cache_line));
}

void* thread_scratch() {
  reserve_thread_scratch();
  return scratch.get();
}

}  // namespace pycnn::cpu
