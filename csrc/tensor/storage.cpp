#include "tensor/storage.h"

#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "pycnn/error.h"

namespace pycnn {
namespace {

constexpr size_t alignment = 64;
constexpr size_t cache_cap = size_t{1} << 30;

// Sizes are rounded up to eighths of a power of two, so that slightly different batches share blocks.
size_t size_class(size_t bytes) {
  if (bytes <= 256) return 256;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

class CachingAllocator {
 public:
  void* take(size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      in_use_ += bytes;
      auto found = free_.find(bytes);
      if (found != free_.end() && !found->second.empty()) {
        void* block = found->second.back();
        found->second.pop_back();
        cached_ -= bytes;
        return block;
      }
    }
    void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (block == nullptr) {
      clear();
      block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    }
    if (block == nullptr) {
      const std::lock_guard lock(mutex_);
      in_use_ -= bytes;
      fail("out of memory: ", bytes, " bytes were asked for while ", in_use_, " bytes are in use");
    }
    return block;
  }

  void give(void* block, size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      in_use_ -= bytes;
      if (cached_ + bytes <= cache_cap) {
        free_[bytes].push_back(block);
        cached_ += bytes;
        return;
      }
    }
    std::free(block);
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : free_)
      for (void* block : blocks) std::free(block);
    free_.clear();
    cached_ = 0;
  }

  AllocatorStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return {in_use_, cached_, cache_cap};
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_;
  size_t in_use_ = 0;
  size_t cached_ = 0;
};

// Never destroyed: tensors held by static objects (or by Python at exit) may give blocks back late.
CachingAllocator& allocator() {
  static CachingAllocator* instance = new CachingAllocator;
  return *instance;
}

}  // namespace

StoragePointer allocate_storage(size_t bytes) {
  const size_t rounded = size_class(bytes);
  check(rounded >= bytes && bytes < (size_t{1} << 62), "out of memory: ", bytes, " bytes were asked for");
  void* block = allocator().take(rounded);
  if (debug_fill()) std::memset(block, 0xFF, rounded);
  return std::make_shared<Storage>(block, bytes, [block, rounded] { allocator().give(block, rounded); });
}

AllocatorStatistics allocator_statistics() { return allocator().statistics(); }
void empty_cache() { allocator().clear(); }

bool debug_fill() {
  static const bool enabled = [] {
    const char* value = std::getenv("PYCNN_DEBUG");
    return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
  }();
  return enabled;
}

}  // namespace pycnn
