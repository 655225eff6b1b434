#include "graph/captured_graphs.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "graph/evaluate.h"
#include "tensor/backend.h"

namespace pycnn {
namespace graph {

std::shared_ptr<void> CapturedGraphs::find(std::span<void* const> addresses, const std::function<void()>& enqueue) {
  const std::lock_guard lock(mutex_);
  if (!capturable_) return nullptr;
  const auto known = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return std::ranges::equal(entry.addresses, addresses); });
  if (known != entries_.end()) {
    known->last_used = ++uses_;
    if (known->graph == nullptr) known->graph = capture(enqueue);
    return known->graph;
  }
  if (entries_.size() == most) find_wanderers(addresses);
  if (entries_.size() == most)
    entries_.erase(std::min_element(entries_.begin(), entries_.end(),
                                    [](const Entry& a, const Entry& b) { return a.last_used < b.last_used; }));
  entries_.push_back({{addresses.begin(), addresses.end()}, nullptr, ++uses_});
  return nullptr;
}

std::vector<size_t> CapturedGraphs::wanderers() {
  const std::lock_guard lock(mutex_);
  return capturable_ ? wanderers_ : std::vector<size_t>();
}

StoragePointer CapturedGraphs::take_place(size_t bytes) {
  void* const stream = current_stream_handle(device_.index);
  {
    const std::lock_guard lock(mutex_);
    const auto kept = std::find_if(places_.begin(), places_.end(), [&](const auto& place) {
      return place.first == stream && place.second->bytes() >= bytes;
    });
    if (kept != places_.end()) {
      StoragePointer memory = std::move(kept->second);
      places_.erase(kept);
      return memory;
    }
  }
  return borrow_arena(bytes, device_);
}

void CapturedGraphs::keep_place(StoragePointer memory) {
  const std::lock_guard lock(mutex_);
  if (places_.size() < most) places_.emplace_back(current_stream_handle(device_.index), std::move(memory));
}

void CapturedGraphs::find_wanderers(std::span<void* const> addresses) {
  bool any = false;
  for (size_t b = 0; b < addresses.size(); ++b) {
    if (copied_bytes_[b] == 0 || std::find(wanderers_.begin(), wanderers_.end(), b) != wanderers_.end()) continue;
    const auto is_here = [&](const Entry& entry) { return entry.addresses[b] == addresses[b]; };
    if (std::all_of(entries_.begin(), entries_.end(), is_here)) continue;
    wanderers_.push_back(b);
    any = true;
  }
  if (any) entries_.clear();
}

std::shared_ptr<void> CapturedGraphs::capture(const std::function<void()>& enqueue) {
  const kernels::Backend& backend = backend_of(device_);
  bool whole = backend.begin_graph() != 0;
  if (!whole && backend.take_error() == nullptr) return nullptr;  // another time, when nobody records the stream
  if (whole) {
    try {
      enqueue();
    } catch (...) {
      whole = false;
    }
    void* const graph = backend.end_graph();
    whole = backend.take_error() == nullptr && whole && graph != nullptr;
    if (whole) {
      counters().graphs_captured++;
      return {graph, [device = device_](void* done) {
                if (!is_cuda_lost()) backend_of(device).destroy_graph(done);
              }};
    }
    if (graph != nullptr) backend.destroy_graph(graph);
  }
  capturable_ = false;
  return nullptr;
}

void launch_graph(const Device& device, void* graph) {
  backend_of(device).launch_graph(graph);
  counters().graphs_launched++;
}

}  // namespace graph

namespace cuda {
namespace {

bool graphs_wanted() {
  const char* value = std::getenv("PYCNN_CUDA_GRAPHS");
  return value == nullptr || std::strcmp(value, "0") != 0;
}

std::atomic<bool>& graphs_switch() {
  static std::atomic<bool> instance{graphs_wanted()};
  return instance;
}

}  // namespace

bool graphs_enabled() { return graphs_switch().load(std::memory_order_relaxed); }
void set_graphs_enabled(bool enabled) { graphs_switch().store(enabled, std::memory_order_relaxed); }

}  // namespace cuda

}  // namespace pycnn
