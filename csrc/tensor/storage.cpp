#include "tensor/storage.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "pycnn/error.h"
#include "tensor/backend.h"
#include "tensor/fork.h"

namespace pycnn {
namespace {

constexpr size_t alignment = 64;
constexpr size_t small_bytes = size_t{1} << 16;
constexpr size_t small_cap = size_t{1} << 26;
constexpr size_t huge_page = size_t{1} << 21;
constexpr size_t most_derived = 8;  // of one block

/// A quarter of the machine's memory: what was needed once is needed again in the next step.
size_t large_cap() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  constexpr size_t least = size_t{1} << 30;
  if (pages <= 0 || page <= 0) return least;
  return std::max(least, static_cast<size_t>(pages) / 4 * static_cast<size_t>(page));
}

// Sizes are rounded up to eighths of a power of two, so that slightly different batches share blocks.
size_t size_class(size_t bytes) {
  if (bytes <= 256) return 256;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

void* system_block(size_t bytes) {
  const bool huge = bytes >= 2 * huge_page;
  const size_t unit = huge ? huge_page : alignment;
  void* block = std::aligned_alloc(unit, (bytes + unit - 1) / unit * unit);
  // Fresh memory costs a fault per page, and a step walks over all of it: pages of 2 MiB where there are any.
  if (huge && block != nullptr) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

struct Block {
  void* data;
  size_t bytes;
};

/// What is released once streams have come so far. Never destroyed, as the allocators.
class DeferredReleases {
 public:
  static DeferredReleases& instance() {
    static auto* deferred = new DeferredReleases;
    return *deferred;
  }

  void add(std::span<const cuda::Stream> streams, std::function<void()> release) {
    std::vector<StreamPoint> points;
    for (const cuda::Stream& stream : streams) points.emplace_back(stream);
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(points), std::move(release)});
    count_ = waiting_.size();
  }

  /// What may be by now.
  void release_some() {
    if (count_ == 0 || is_cuda_lost()) return;
    std::list<Deferred> ready;
    {
      const std::lock_guard lock(mutex_);
      for (auto next = waiting_.begin(); next != waiting_.end();) {
        const auto here = next++;
        if (std::all_of(here->points.begin(), here->points.end(), [](const auto& point) { return point.is_passed(); }))
          ready.splice(ready.end(), waiting_, here);
      }
      count_ = waiting_.size();
    }
    for (const Deferred& deferred : ready) deferred.release();
  }

  /// Waits for the streams.
  void release_all() {
    if (count_ == 0 || is_cuda_lost()) return;
    std::list<Deferred> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(waiting_);
      count_ = 0;
    }
    for (const Deferred& deferred : all) {
      for (const StreamPoint& point : deferred.points) point.wait();
      deferred.release();
    }
  }

 private:
  struct Deferred {
    std::vector<StreamPoint> points;
    std::function<void()> release;
  };
  ForkSafeMutex mutex_{ForkOrder::Deferred};
  std::list<Deferred> waiting_;
  std::atomic<size_t> count_ = 0;
};

/// Of all allocators. Never destroyed, as they.
std::mutex& memory_mutex() {
  static auto* instance = new ForkSafeMutex(ForkOrder::Memory);
  return *instance;
}

/// Small blocks are kept by size. Large ones serve requests of up to their size; beyond the cap the oldest go first.
/// Of the CPU's small blocks the last one goes out again, which may still be in a cache. Of a GPU's blocks of one size
/// it is the one at the lowest address: steps that ask and give back alike then get the same ones each time, which
/// graphs are kept by (graph/captured_graphs.h).
class CachingAllocator {
 public:
  /// A GPU's memory has no cap: what is kept goes back when there is no other left.
  explicit CachingAllocator(const Device& device) : device_(device), cap_(device.is_cpu() ? large_cap() : SIZE_MAX) {}

  /// A block of at least `bytes`; with `any`, up to four times as large.
  Block take(size_t bytes, bool any) {
    if (!device_.is_cpu()) DeferredReleases::instance().release_some();
    {
      const std::lock_guard lock(mutex_);
      Block block = bytes <= small_bytes ? take_small(bytes) : take_large(bytes, any);
      if (block.data != nullptr) {
        count(block.bytes);
        return block;
      }
    }
    void* data = obtain(bytes);
    if (data == nullptr) {
      empty_cache();  // of the device's other streams as well
      data = obtain(bytes);
    }
    if (data == nullptr && !device_.is_cpu()) check_backend(backend_of(device_));  // it may not be for lack of memory
    const std::lock_guard lock(mutex_);
    if (data == nullptr) refuse(bytes);
    held_ += bytes;
    count(bytes);
    return {data, bytes};
  }

  void give(Block block) {
    const std::lock_guard lock(mutex_);
    in_use_ -= block.bytes;
    if (retired_) return drop(block);
    if (block.bytes <= small_bytes) {
      if (small_kept_ + block.bytes > small_cap) return drop(block);
      std::vector<void*>& kept = small_[block.bytes];
      kept.push_back(block.data);
      if (!device_.is_cpu()) std::push_heap(kept.begin(), kept.end(), std::greater<>());
      small_kept_ += block.bytes;
      return;
    }
    auto at = large_.upper_bound(block.bytes);
    if (!device_.is_cpu())
      while (at != large_.begin() && std::prev(at)->first == block.bytes && std::prev(at)->second.data > block.data)
        --at;
    large_.emplace_hint(at, block.bytes, Kept{block.data, ++age_});
    large_kept_ += block.bytes;
    while (large_kept_ > cap_) {
      const auto oldest = std::min_element(large_.begin(), large_.end(),
                                           [](const auto& a, const auto& b) { return a.second.age < b.second.age; });
      large_kept_ -= oldest->first;
      drop({oldest->second.data, oldest->first});
      large_.erase(oldest);
    }
  }

  /// From now on nothing is kept.
  void retire() {
    clear();
    const std::lock_guard lock(mutex_);
    retired_ = true;
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : small_)
      for (void* data : blocks) drop({data, bytes});
    for (auto& [bytes, kept] : large_) drop({kept.data, bytes});
    small_.clear();
    large_.clear();
    small_kept_ = large_kept_ = 0;
  }

  AllocatorStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return {in_use_, small_kept_ + large_kept_, cap_ == SIZE_MAX ? cap_ : small_cap + cap_, most_in_use_, most_held_};
  }

  void reset_peaks() {
    const std::lock_guard lock(mutex_);
    most_in_use_ = in_use_;
    most_held_ = held_;
  }

 private:
  struct Kept {
    void* data;
    uint64_t age;
  };

  void* obtain(size_t bytes) const {
    return device_.is_cpu() ? system_block(bytes) : backend_of(device_).allocate(bytes);
  }

  void drop(const Block& block) {
    held_ -= block.bytes;
    if (device_.is_cpu()) {
      std::free(block.data);
    } else if (!is_cuda_lost()) {
      const KeepChoice keep;
      backend_of(device_).release(block.data);
    }
  }

  void count(size_t bytes) {
    in_use_ += bytes;
    most_in_use_ = std::max(most_in_use_, in_use_);
    most_held_ = std::max(most_held_, held_);
  }

  [[noreturn]] void refuse(size_t bytes) const {
    if (device_.is_cpu()) fail("out of memory: ", bytes, " bytes were asked for while ", in_use_, " bytes are in use");
    const auto [free, total] = cuda::memory_info(device_.index);
    fail<OutOfMemoryError>("CUDA out of memory: ", bytes, " bytes were asked for on ", device_, ", which has ", free,
                           " bytes free of ", total, "; ", in_use_, " bytes are in use by tensors");
  }

  Block take_small(size_t bytes) {
    const auto found = small_.find(bytes);
    if (found == small_.end() || found->second.empty()) return {};
    std::vector<void*>& kept = found->second;
    if (!device_.is_cpu()) std::pop_heap(kept.begin(), kept.end(), std::greater<>());
    void* data = kept.back();
    kept.pop_back();
    small_kept_ -= bytes;
    return {data, bytes};
  }

  Block take_large(size_t bytes, bool any) {
    const auto found = large_.lower_bound(bytes);
    if (found == large_.end() || found->first > (any ? 4 * bytes : bytes + bytes / 4)) return {};
    const Block block{found->second.data, found->first};
    large_.erase(found);
    large_kept_ -= block.bytes;
    return block;
  }

  std::mutex& mutex_ = memory_mutex();
  std::unordered_map<size_t, std::vector<void*>> small_;
  std::multimap<size_t, Kept> large_;
  const Device device_;
  const size_t cap_;
  uint64_t age_ = 0;
  bool retired_ = false;
  size_t in_use_ = 0, held_ = 0, small_kept_ = 0, large_kept_ = 0, most_in_use_ = 0, most_held_ = 0;
};

/// One for the CPU, one for each stream of a GPU.
class Allocators {
 public:
  CachingAllocator& of(const Device& device) {
    if (device.is_cpu()) return cpu_;
    const std::lock_guard lock(mutex_);
    auto& allocator = others_[{device.index, current_stream_handle(device.index)}];
    if (!allocator) allocator = std::make_unique<CachingAllocator>(device);
    return *allocator;
  }

  void forget(const Device& device, void* stream) {
    CachingAllocator* allocator = nullptr;
    {
      const std::lock_guard lock(mutex_);
      const auto found = others_.find({device.index, stream});
      if (found == others_.end()) return;
      allocator = retired_.emplace_back(device.index, std::move(found->second)).second.get();
      others_.erase(found);
    }
    allocator->retire();
  }

  /// Calls visit(allocator) for all of a device, or of all devices.
  template <typename Visit>
  void for_each(const Device* device, const Visit& visit) {
    if (device == nullptr || device->is_cpu()) visit(cpu_);
    std::vector<CachingAllocator*> found;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [place, allocator] : others_)
        if (device == nullptr || (!device->is_cpu() && place.first == device->index)) found.push_back(allocator.get());
      for (const auto& [index, allocator] : retired_)
        if (device == nullptr || (!device->is_cpu() && index == device->index)) found.push_back(allocator.get());
    }
    for (CachingAllocator* allocator : found) visit(*allocator);
  }

 private:
  CachingAllocator cpu_{Device{}};
  std::mutex& mutex_ = memory_mutex();
  std::map<std::pair<int, void*>, std::unique_ptr<CachingAllocator>> others_;
  std::vector<std::pair<int, std::unique_ptr<CachingAllocator>>> retired_;  ///< of streams that are gone
};

// Never destroyed: tensors held by static objects (or by Python at exit) may give blocks back late.
Allocators& allocators() {
  static Allocators* instance = new Allocators;
  return *instance;
}

}  // namespace

namespace {

StoragePointer allocate(size_t bytes, const Device& device, bool any) {
  const size_t rounded = size_class(bytes);
  check(rounded >= bytes && bytes < (size_t{1} << 62), "out of memory: ", bytes, " bytes were asked for");
  CachingAllocator& allocator = allocators().of(device);
  const Block block = allocator.take(rounded, any);
  if (debug_fill() && device.is_cpu()) std::memset(block.data, 0xFF, block.bytes);
  if (debug_fill() && !device.is_cpu()) backend_of(device).fill(block.data, 0xFF, block.bytes);
  std::optional<void*> stream;
  if (!device.is_cpu()) stream = current_stream_handle(device.index);
  return std::make_shared<Storage>(
      block.data, bytes, [block, &allocator] { allocator.give(block); }, device, stream);
}

}  // namespace

namespace {

// What storages keep. Held for no longer than it takes to look something up.
ForkSafeMutex storages_mutex(ForkOrder::Storages);

}  // namespace

Storage::~Storage() {
  if (!release_) return;
  if (other_streams_.empty() || is_cuda_lost())
    release_();
  else
    DeferredReleases::instance().add(other_streams_, std::move(release_));
}

void Storage::note_use(const cuda::Stream& stream) {
  if (device_.is_cpu() || (stream.device() == device_.index && stream_ == stream.handle())) return;
  const std::lock_guard lock(storages_mutex);
  if (std::find(other_streams_.begin(), other_streams_.end(), stream) == other_streams_.end())
    other_streams_.push_back(stream);
}

void Storage::note_use() {
  if (!device_.is_cpu() && stream_ != current_stream_handle(device_.index))
    note_use(cuda::current_stream(device_.index));
}

bool Storage::is_this_streams() const {
  if (device_.is_cpu()) return true;
  if (stream_ != current_stream_handle(device_.index)) return false;
  const std::lock_guard lock(storages_mutex);
  return other_streams_.empty();
}

Storage::Derived* Storage::find_derived(std::span<const int64_t> key, int64_t offset) {
  const auto found = std::find_if(derived_.begin(), derived_.end(), [&](const Derived& derived) {
    return derived.offset == offset && std::ranges::equal(derived.key, key);
  });
  return found == derived_.end() ? nullptr : &*found;
}

StoragePointer Storage::derived(std::span<const int64_t> key, int64_t offset, size_t bytes,
                                const std::function<void(void*)>& make) {
  if (pinned()) return nullptr;
  StoragePointer ready, dropped;
  {
    const std::lock_guard lock(storages_mutex);
    const Derived* known = find_derived(key, offset);
    if (known == nullptr) {
      if (derived_.size() >= most_derived) {
        dropped = std::move(derived_.front().memory);
        derived_.erase(derived_.begin());
      }
      derived_.push_back({offset, {key.begin(), key.end()}, nullptr});
      return nullptr;
    }
    ready = known->memory;
  }
  if (ready != nullptr) {
    ready->note_use();
    return ready;
  }
  // Two threads that come at once both make it.
  StoragePointer made = allocate_storage(bytes, device_);
  make(made->data());
  if (!device_.is_cpu()) backend_of(device_).synchronize();  // once: it may be read in other streams
  const std::lock_guard lock(storages_mutex);
  if (Derived* known = find_derived(key, offset)) known->memory = made;
  return made;
}

void Storage::forget_derived() {
  std::vector<Derived> dropped;  // outside of the lock
  const std::lock_guard lock(storages_mutex);
  dropped.swap(derived_);
}

StoragePointer allocate_storage(size_t bytes, const Device& device) { return allocate(bytes, device, false); }
StoragePointer borrow_arena(size_t bytes, const Device& device) { return allocate(bytes, device, true); }

void copy_between_devices(void* to, const Device& to_device, const void* from, const Device& from_device,
                          size_t bytes) {
  if (bytes == 0) return;
  const kernels::Backend& backend = backend_of(to_device.is_cpu() ? from_device : to_device);
  const bool between_gpus = !to_device.is_cpu() && !from_device.is_cpu() && to_device != from_device;
  const auto hold_back = [](const Device& device, const Device& until) {
    StreamPoint(cuda::current_stream(until.index)).hold_back(cuda::current_stream(device.index));
  };
  if (between_gpus) hold_back(to_device, from_device);
  backend.copy(to, from, bytes);
  if (between_gpus) hold_back(from_device, to_device);
  if (to_device.is_cpu()) backend.synchronize();
  check_backend(backend);
}

AllocatorStatistics allocator_statistics(const Device& device) {
  if (!device.is_cpu()) DeferredReleases::instance().release_some();
  AllocatorStatistics sum{};
  allocators().for_each(&device, [&](CachingAllocator& allocator) {
    const AllocatorStatistics own = allocator.statistics();
    sum = {sum.in_use + own.in_use, sum.cached + own.cached, own.cap, sum.most_in_use + own.most_in_use,
           sum.most_held + own.most_held};
  });
  return sum;
}

void release_deferred_memory() { DeferredReleases::instance().release_some(); }

void forget_stream(const Device& device, void* stream) { allocators().forget(device, stream); }

void reset_peak_statistics(const Device& device) {
  allocators().for_each(&device, [](CachingAllocator& allocator) { allocator.reset_peaks(); });
}

void empty_cache() {
  DeferredReleases::instance().release_all();
  allocators().for_each(nullptr, [](CachingAllocator& allocator) { allocator.clear(); });
}

bool debug_fill() {
  static const bool enabled = [] {
    const char* value = std::getenv("PYCNN_DEBUG");
    return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
  }();
  return enabled;
}

}  // namespace pycnn
