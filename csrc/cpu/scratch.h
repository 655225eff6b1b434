// Memory of the calling thread for what a kernel packs, gathers and uses within one chunk.
#pragma once

#include <cstddef>

namespace pycnn::cpu {

inline constexpr size_t scratch_bytes = size_t{1} << 20;

/// Sees to it that this thread has its scratch memory; throws std::bad_alloc. Done before a plan runs, so that kernels
/// need not fail. (As a thread_local array it would count against the stacks of all threads of a program.)
void reserve_thread_scratch();
/// scratch_bytes bytes, aligned to cache lines; each thread has its own, whose contents any later chunk overwrites.
void* thread_scratch();

}  // namespace pycnn::cpu
