// A plan's steps as CUDA graphs: one launch instead of one per kernel.
//
// A graph names the addresses it was captured with. Inputs, results and the arena may lie elsewhere in the next run,
// but the caching allocator gives a training loop the same few blocks again and again, so that graphs are kept by the
// addresses of all buffers, the last few of a plan, and as a rule nothing is copied to a fixed place. That a block has
// been other tensors' meanwhile does no harm: a graph is launched only by a run that holds these very blocks at that
// time. If so many runs had other addresses each, the small buffers that moved wander (slices of a data set one after
// the other, losses that are collected in a list and what these push to other places): they are copied from or to a
// place of their own, which costs a launch and the time of copying each.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "pycnn/device.h"
#include "tensor/storage.h"

namespace pycnn::graph {

class CapturedGraphs {
 public:
  /// By buffer, how many bytes there are to copy if it wanders; 0 for those that may not.
  CapturedGraphs(const Device& device, std::vector<size_t> copied_bytes)
      : device_(device), copied_bytes_(std::move(copied_bytes)) {}

  /// The buffers that wander, so far.
  std::vector<size_t> wanderers();
  size_t copied_bytes(size_t buffer) const { return copied_bytes_[buffer]; }
  /// Memory for those that wander, at the address that it had in this stream's last run unless that is still being
  /// enqueued.
  StoragePointer take_place(size_t bytes);
  /// Once the run's last work is enqueued.
  void keep_place(StoragePointer memory);

  /// The graph for these addresses, captured by letting `enqueue` give the device its work if they are seen for the
  /// second time. Null before, and for ever after a capture that failed: then the steps run one by one, which tells of
  /// errors that are not capture's own.
  std::shared_ptr<void> find(std::span<void* const> addresses, const std::function<void()>& enqueue);

 private:
  static constexpr size_t most = 8;
  struct Entry {
    std::vector<void*> addresses;
    std::shared_ptr<void> graph;  ///< null until the second time
    uint64_t last_used;
  };
  std::shared_ptr<void> capture(const std::function<void()>& enqueue);

  void find_wanderers(std::span<void* const> addresses);

  const Device device_;
  const std::vector<size_t> copied_bytes_;
  std::mutex mutex_;
  std::vector<size_t> wanderers_;
  std::vector<std::pair<void*, StoragePointer>> places_;  ///< by stream, of runs that are enqueued
  bool capturable_ = true;
  uint64_t uses_ = 0;
  std::vector<Entry> entries_;
};

/// Gives the graph to this thread's stream.
void launch_graph(const Device& device, void* graph);

}  // namespace pycnn::graph
