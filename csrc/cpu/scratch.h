// Memory of the calling thread for operands that a kernel packs and uses within one chunk.
#pragma once

#include <cstddef>

namespace pycnn::cpu {

inline constexpr size_t scratch_bytes = size_t{1} << 20;

/// scratch_bytes bytes, aligned to cache lines; each thread has its own, whose contents any later chunk overwrites.
void* thread_scratch();

}  // namespace pycnn::cpu
