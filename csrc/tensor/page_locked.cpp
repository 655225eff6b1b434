#include "tensor/page_locked.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <vector>

#include "pycnn/error.h"
#include "tensor/backend.h"
#include "tensor/fork.h"

namespace pycnn {
namespace {

constexpr size_t granularity = 4096;
constexpr size_t cap = size_t{1} << 28;  ///< of bytes kept for reuse

struct Block {
  void* data;
  size_t bytes;
  std::vector<StreamPoint> copies = {};  ///< after those from it that may not be done

  bool is_idle() const {
    return std::all_of(copies.begin(), copies.end(), [](const StreamPoint& copy) { return copy.is_passed(); });
  }
};

class PageLockedMemory {
 public:
  void* take(size_t bytes) {
    bytes = (std::max<size_t>(bytes, 1) + granularity - 1) / granularity * granularity;
    const std::lock_guard lock(mutex_);
    const auto idle = std::find_if(kept_.begin(), kept_.end(),
                                   [&](const Block& block) { return block.bytes == bytes && block.is_idle(); });
    if (idle != kept_.end()) {
      kept_bytes_ -= bytes;
      idle->copies.clear();
      used_.splice(used_.begin(), kept_, idle);
      return used_.front().data;
    }
    const kernels::Backend& backend = backend_of({DeviceType::Cuda, static_cast<int8_t>(cuda::current_device())});
    while (kept_bytes_ > cap) {
      const Block& oldest = kept_.back();
      for (const StreamPoint& copy : oldest.copies) copy.wait();
      backend.release_pinned(oldest.data);
      kept_bytes_ -= oldest.bytes;
      kept_.pop_back();
    }
    void* const data = backend.allocate_pinned(bytes);
    check_backend(backend);
    check<OutOfMemoryError>(data != nullptr, "out of page-locked memory: ", bytes, " bytes were asked for");
    used_.push_front({data, bytes});
    return data;
  }

  void give(const void* data) {
    const std::lock_guard lock(mutex_);
    const auto block = find(data);
    kept_bytes_ += block->bytes;
    kept_.splice(kept_.begin(), used_, block);
  }

  bool contains(const void* data) {
    const std::lock_guard lock(mutex_);
    return find(data) != used_.end();
  }

  void note_copy(const void* data, const cuda::Stream& stream) {
    const std::lock_guard lock(mutex_);
    std::vector<StreamPoint>& copies = find(data)->copies;
    std::erase_if(copies, [](const StreamPoint& copy) { return copy.is_passed(); });
    copies.emplace_back(stream);
  }

 private:
  std::list<Block>::iterator find(const void* data) {
    return std::find_if(used_.begin(), used_.end(), [&](const Block& block) { return block.data == data; });
  }

  ForkSafeMutex mutex_{ForkOrder::PageLocked};
  std::list<Block> used_, kept_;  ///< the latter by when they were given back, the last first
  size_t kept_bytes_ = 0;
};

// Never destroyed: tensors held by static objects (or by Python at exit) may give blocks back late.
PageLockedMemory& page_locked_memory() {
  static auto* instance = new PageLockedMemory;
  return *instance;
}

}  // namespace

StoragePointer allocate_page_locked(size_t bytes) {
  void* const data = page_locked_memory().take(bytes);
  auto storage = std::make_shared<Storage>(data, bytes, [data] { page_locked_memory().give(data); });
  storage->pin();
  return storage;
}

bool is_page_locked(const Storage& storage) {
  return storage.device().is_cpu() && page_locked_memory().contains(storage.data());
}

void note_copy_from(const Storage& storage, const Device& device) {
  page_locked_memory().note_copy(storage.data(), cuda::current_stream(device.index));
}

}  // namespace pycnn
