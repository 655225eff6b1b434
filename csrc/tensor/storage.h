// Memory that outlives a plan: tensors' elements. Plans borrow an arena instead (graph/plan.cpp).
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "pycnn/device.h"

namespace pycnn {

class Storage;
using StoragePointer = std::shared_ptr<Storage>;

/// A block of bytes. A plan writes over one only if nothing else refers to it; pinned blocks, which somebody outside
/// sees (foreign and exported memory), never.
class Storage {
 public:
  /// `stream`: of a GPU's block, where it may be used again as soon as it is released; of foreign memory there is none.
  Storage(void* data, size_t bytes, std::function<void()> release, const Device& device = {},
          std::optional<void*> stream = {})
      : data_(data), bytes_(bytes), device_(device), stream_(stream), release_(std::move(release)) {}
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  const Device& device() const { return device_; }
  bool pinned() const { return pinned_.load(std::memory_order_acquire); }
  void pin() {
    pinned_.store(true, std::memory_order_release);
    forget_derived();
  }

  /// A stream (without argument: this thread's) has been or is being given work that uses the block. Once nobody refers
  /// to it, the block is released when that work is done.
  void note_use(const cuda::Stream& stream);
  void note_use();
  /// Whether no other stream than this thread's may be using the block.
  bool is_this_streams() const;

  /// Memory that make() fills from the bytes of this block alone, such as a weight as a kernel reads it. It is kept
  /// under its key and the offset it begins at for as long as this block stays as it is, from the second request on:
  /// what is read once does not pay. Null before, and for pinned blocks, which may change unseen.
  StoragePointer derived(std::span<const int64_t> key, int64_t offset, size_t bytes,
                         const std::function<void(void*)>& make);
  /// To be called before the block is written over.
  void forget_derived();

 private:
  struct Derived {
    int64_t offset;
    std::vector<int64_t> key;
    StoragePointer memory;  ///< null after the first request
  };
  Derived* find_derived(std::span<const int64_t> key, int64_t offset);

  void* data_;
  size_t bytes_;
  Device device_;
  std::optional<void*> stream_;
  std::vector<cuda::Stream> other_streams_;  ///< that use it; guarded by a mutex of all storages
  std::function<void()> release_;
  std::atomic<bool> pinned_{false};
  std::vector<Derived> derived_;  ///< guarded by a mutex of all storages
};

/// Aligned memory from a caching allocator: freed blocks are kept for reuse up to a cap, because fresh pages cost more
/// than arithmetic. Throws pycnn::Error naming the size if there is none. A GPU's blocks are for this thread's stream;
/// they may be given back while kernels in it still use them, and go to none but later ones. Who uses one in another
/// stream says so: see Storage::note_use().
StoragePointer allocate_storage(size_t bytes, const Device& device = {});
/// The same for as long as a plan runs: a kept block that is a good deal larger will do.
StoragePointer borrow_arena(size_t bytes, const Device& device = {});

/// Copies bytes that are not on the CPU both: from and to may lie on any devices. What arrives on the CPU is there when
/// this returns. Between two GPUs the copy comes after what this thread's streams on both have been given, and before
/// what they are given from now on.
void copy_between_devices(void* to, const Device& to_device, const void* from, const Device& from_device, size_t bytes);

/// To be called before a stream is destroyed: what was kept for it goes back to the device, and what is given back
/// later as well. Another stream may come to have its handle.
void forget_stream(const Device& device, void* stream);
/// Gives back what only waited for streams that have come so far by now.
void release_deferred_memory();

/// Bytes handed out and bytes kept for reuse.
struct AllocatorStatistics {
  size_t in_use, cached, cap;
  size_t most_in_use, most_held;  ///< since start or reset_peak_statistics()
};
AllocatorStatistics allocator_statistics(const Device& device = {});
void reset_peak_statistics(const Device& device);
/// Returns kept blocks to the operating system.
void empty_cache();
/// Debug mode (PYCNN_DEBUG=1): fresh outputs and arenas are filled with 0xFF bytes, NaN in every float type.
bool debug_fill();

}  // namespace pycnn
