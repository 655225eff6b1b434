// Page-locked memory of the computer ("pinned" in CUDA's words): a GPU copies from it by itself while the program goes
// on.
#pragma once

#include "tensor/storage.h"

namespace pycnn {

/// A block on the CPU, from a small cache: to lock pages costs more than to copy them. Never written over by a plan,
/// for a copy may still be reading it. Throws RuntimeError without a GPU, OutOfMemoryError if there is none.
StoragePointer allocate_page_locked(size_t bytes);
bool is_page_locked(const Storage& storage);
/// A copy from the block was given to this thread's stream on the device: once freed, the block is used for nothing
/// else before that is done.
void note_copy_from(const Storage& storage, const Device& device);

}  // namespace pycnn
