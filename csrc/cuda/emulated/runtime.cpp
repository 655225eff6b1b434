// The CUDA runtime on the host: devices, memory, streams, events, graphs.
//
// A stream is a queue. What it was given runs when somebody waits for it, and of several streams that could go on one
// is drawn at random, so that what relies on an order that nobody promised is soon found with another one.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "cuda/emulated/emulation.h"

namespace {

using Work = std::function<void()>;

unsigned environment_number(const char* name, unsigned otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? static_cast<unsigned>(std::strtoul(value, nullptr, 10)) : otherwise;
}

/// A device's memory: a range of addresses that nobody can read or write but while it is open.
class DeviceMemory {
 public:
  DeviceMemory() : size_(size_t{environment_number("PYCNN_EMULATED_MEMORY", 2048)} << 20) {
    void* const range = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    begin_ = range == MAP_FAILED ? nullptr : static_cast<char*>(range);
    if (begin_ == nullptr) size_ = 0;
  }

  void* allocate(size_t bytes) {
    bytes = (bytes + page - 1) / page * page;
    if (used_ + bytes > size_) return nullptr;
    size_t at = 0;
    for (const auto& [begin, length] : blocks_) {
      if (at + bytes <= begin) break;
      at = begin + length;
    }
    if (at + bytes > size_) return nullptr;
    blocks_[at] = bytes;
    used_ += bytes;
    return begin_ + at;
  }

  bool release(void* memory) {
    const auto found = blocks_.find(static_cast<size_t>(static_cast<char*>(memory) - begin_));
    if (found == blocks_.end()) return false;
    used_ -= found->second;
    madvise(begin_ + found->first, found->second, MADV_DONTNEED);
    blocks_.erase(found);
    return true;
  }

  bool contains(const void* memory) const { return memory >= begin_ && memory < begin_ + size_; }
  size_t size() const { return size_; }
  size_t free() const { return size_ - used_; }

  void set_open(bool open) {
    if (open != open_) mprotect(begin_, size_, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    open_ = open;
  }

 private:
  static constexpr size_t page = 4096;

  char* begin_ = nullptr;
  size_t size_ = 0, used_ = 0;
  bool open_ = false;
  std::map<size_t, size_t> blocks_;
};

/// What an event was recorded at; recorded again it is at another one.
struct Point {
  bool passed = false;
  std::chrono::steady_clock::time_point time;
};
using PointPointer = std::shared_ptr<Point>;

struct Item {
  Work work = {};
  bool copies = false;        ///< may touch every device's memory; a kernel only its own device's
  PointPointer awaited = {};  ///< the queue stands still until it is passed
  PointPointer reached = {};  ///< passed when the item has run
};

struct Queue {
  int device;
  std::deque<Item> items = {};
  bool abandoned = false;  ///< its stream was destroyed

  bool may_run() const { return !items.empty() && (items[0].awaited == nullptr || items[0].awaited->passed); }
};
using QueuePointer = std::shared_ptr<Queue>;

struct Device {
  DeviceMemory memory = {};
  QueuePointer default_queue, per_thread_queue;
};

thread_local int current_device = 0;
thread_local std::vector<Item>* captured = nullptr;
thread_local cudaStream_t captured_stream = nullptr;

}  // namespace

struct EmulatedStream {
  QueuePointer queue;
};
struct EmulatedEvent {
  int device;
  PointPointer point = {};
};
struct EmulatedGraph {
  std::shared_ptr<std::vector<Item>> items;
  PointPointer last = {};  ///< a graph's launches run one after the other
};

namespace {

/// Everything that there is, guarded by one mutex; who waits runs the others' work.
class Machine {
 public:
  static Machine& instance() {
    static auto* machine = new Machine;  // tensors may be freed late
    return *machine;
  }

  std::mutex mutex;
  std::vector<Device> devices;
  bool runs_at_once = false;

  QueuePointer add_queue(int device) { return queues_.emplace_back(std::make_shared<Queue>(Queue{device})); }

  QueuePointer queue_of(cudaStream_t stream) {
    // The runtime's names of the default stream and of each thread's own; the latter is one of a device here.
    constexpr uintptr_t legacy = 1, per_thread = 2;
    Device& device = devices[static_cast<size_t>(current_device)];
    const auto handle = reinterpret_cast<uintptr_t>(stream);
    if (handle > per_thread) return stream->queue;
    return handle <= legacy ? device.default_queue : device.per_thread_queue;
  }

  void submit(const QueuePointer& queue, Item item) {
    queue->items.push_back(std::move(item));
    const size_t most = runs_at_once ? 0 : most_queued;
    run_until([&] { return queue->items.size() <= most; });
  }

  template <typename Done>
  void run_until(const Done& done) {
    while (!done())
      if (!run_one()) {
        std::fprintf(stderr, "pycnn: the emulated GPU's streams wait for each other\n");
        std::abort();
      }
    close_memory();
  }

  /// What is asked about is not there yet, but comes nearer.
  void run_a_little() {
    run_one();
    close_memory();
  }

  void synchronize(int device) {
    run_until([&] {
      return std::all_of(queues_.begin(), queues_.end(),
                         [&](const QueuePointer& queue) { return queue->device != device || queue->items.empty(); });
    });
  }

  std::optional<int> device_of(const void* memory) const {
    for (size_t i = 0; i < devices.size(); ++i)
      if (devices[i].memory.contains(memory)) return static_cast<int>(i);
    return {};
  }
  bool is_page_locked(const void* memory) const {
    const auto after = page_locked.upper_bound(static_cast<const char*>(memory));
    return after != page_locked.begin() && memory < std::prev(after)->first + std::prev(after)->second;
  }
  std::map<const char*, size_t> page_locked;
  size_t staged_bytes = 0;  ///< copied from pageable memory and not on a device yet

 private:
  static constexpr size_t most_queued = 1024;  // a GPU, too, takes no more before it has done some

  Machine() {
    devices.resize(std::max(1U, environment_number("PYCNN_EMULATED_DEVICES", 2)));
    for (size_t i = 0; i < devices.size(); ++i) {
      devices[i].default_queue = add_queue(static_cast<int>(i));
      devices[i].per_thread_queue = add_queue(static_cast<int>(i));
    }
  }

  /// Of a stream that could go on; the same one as before for as long as was drawn. False if there is none.
  bool run_one() {
    std::erase_if(queues_, [](const QueuePointer& queue) { return queue->abandoned && queue->items.empty(); });
    if (burst_ == 0 || !running_->may_run()) {
      std::vector<QueuePointer> able;
      std::copy_if(queues_.begin(), queues_.end(), std::back_inserter(able),
                   [](const QueuePointer& queue) { return queue->may_run(); });
      if (able.empty()) return false;
      running_ = able[random_() % able.size()];
      burst_ = 1U << (random_() % 6);
    }
    --burst_;
    const Item item = std::move(running_->items.front());
    running_->items.pop_front();
    if (item.work) {
      for (size_t i = 0; i < devices.size(); ++i)
        devices[i].memory.set_open(item.copies || static_cast<int>(i) == running_->device);
      item.work();
    }
    if (item.reached != nullptr) *item.reached = {true, std::chrono::steady_clock::now()};
    return true;
  }

  void close_memory() {
    for (Device& device : devices) device.memory.set_open(false);
  }

  std::vector<QueuePointer> queues_;
  QueuePointer running_;
  unsigned burst_ = 0;
  std::minstd_rand random_{environment_number("PYCNN_EMULATED_SEED", 0) + 1};
};

/// The machine while nobody else has it.
class Locked {
 public:
  Machine* operator->() const { return &Machine::instance(); }

 private:
  std::lock_guard<std::mutex> lock_{Machine::instance().mutex};
};

/// While a thread captures it may neither allocate nor wait.
bool forbidden() { return captured != nullptr; }

bool captures(cudaStream_t stream) { return captured != nullptr && stream == captured_stream; }

void give(cudaStream_t stream, Item item) {
  if (captures(stream)) return captured->push_back(std::move(item));
  const Locked machine;
  machine->submit(machine->queue_of(stream), std::move(item));
}

}  // namespace

namespace pycnn::cuda::emulation {

void run_streams_at_once() { Locked()->runs_at_once = true; }

cudaError_t run(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, cudaStream_t stream,
                std::function<void()> kernel) {
  if (Locked()->queue_of(stream)->device != current_device) return cudaErrorInvalidResourceHandle;
  give(stream, {[=, kernel = std::move(kernel)] { run_blocks(name, blocks, threads, shared_bytes, kernel); }});
  return cudaSuccess;
}

}  // namespace pycnn::cuda::emulation

// -- devices and memory -----------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(Locked()->devices.size());
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* into, int device) {
  const Locked machine;
  if (device < 0 || static_cast<size_t>(device) >= machine->devices.size()) return cudaErrorInvalidDevice;
  *into = {"emulated GPU", 9, 0, 132, machine->devices[static_cast<size_t>(device)].memory.size()};
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  static const auto count = static_cast<int>(Locked()->devices.size());
  if (device < 0 || device >= count) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorNotSupported:
      return "operation not supported";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    default:
      return "error in emulation";
  }
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = Locked()->devices[static_cast<size_t>(current_device)].memory.allocate(bytes);
  return *memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (memory == nullptr) return cudaSuccess;
  const Locked machine;
  const std::optional<int> device = machine->device_of(memory);
  if (!device) return cudaErrorInvalidValue;
  machine->synchronize(*device);
  return machine->devices[static_cast<size_t>(*device)].memory.release(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  Locked()->page_locked[static_cast<const char*>(*memory)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  Locked()->page_locked.erase(static_cast<const char*>(memory));
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Locked machine;
  const DeviceMemory& memory = machine->devices[static_cast<size_t>(current_device)].memory;
  *free = memory.free();
  *total = memory.size();
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* into, const void* memory) {
  const Locked machine;
  const std::optional<int> device = machine->device_of(memory);
  const bool host = machine->is_page_locked(memory);
  *into = {device ? cudaMemoryTypeDevice : host ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered, device.value_or(0)};
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, cudaStream_t stream) {
  const auto copy = [=] { std::memmove(to, from, bytes); };
  if (captures(stream)) {
    give(stream, {copy, true});
    return cudaSuccess;
  }
  constexpr size_t most_staged = size_t{64} << 20;
  const Locked machine;
  const QueuePointer queue = machine->queue_of(stream);
  if (machine->device_of(from) || machine->is_page_locked(from)) {
    machine->submit(queue, {copy, true});
    return cudaSuccess;
  }
  // The caller may write over pageable memory as soon as this returns.
  const auto* const begin = static_cast<const char*>(from);
  const auto staged = std::make_shared<const std::vector<char>>(begin, begin + bytes);
  machine->staged_bytes += bytes;
  machine->submit(queue, {[=] {
                            std::memcpy(to, staged->data(), bytes);
                            Machine::instance().staged_bytes -= bytes;
                          },
                          true});
  if (machine->staged_bytes > most_staged) machine->run_until([&] { return queue->items.empty(); });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream) {
  give(stream, {[=] { std::memset(memory, byte, bytes); }, true});
  return cudaSuccess;
}

// -- streams and events -----------------------------------------------------------------------------------------------

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  const Locked machine;
  machine->run_until([queue = machine->queue_of(stream)] { return queue->items.empty(); });
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  Locked()->synchronize(current_device);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, int, int) {
  *stream = new EmulatedStream{Locked()->add_queue(current_device)};
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Locked machine;
  stream->queue->abandoned = true;  // what it was given still runs
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Locked machine;
  if (machine->queue_of(stream)->items.empty()) return cudaSuccess;
  machine->run_a_little();
  return cudaErrorNotReady;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, int) {
  *event = new EmulatedEvent{current_device};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Locked machine;
  const QueuePointer queue = machine->queue_of(stream);
  if (queue->device != event->device) return cudaErrorInvalidResourceHandle;
  event->point = std::make_shared<Point>();
  machine->submit(queue, {.reached = event->point});
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, int) {
  const Locked machine;
  if (event->point != nullptr) machine->submit(machine->queue_of(stream), {.awaited = event->point});
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  const Locked machine;
  const PointPointer point = event->point;
  if (point != nullptr) machine->run_until([&] { return point->passed; });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  const Locked machine;
  if (event->point == nullptr || event->point->passed) return cudaSuccess;
  machine->run_a_little();
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Locked machine;
  if (begin->point == nullptr || end->point == nullptr) return cudaErrorInvalidResourceHandle;
  if (!begin->point->passed || !end->point->passed) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->point->time - begin->point->time).count();
  return cudaSuccess;
}

// -- graphs -----------------------------------------------------------------------------------------------------------

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = captures(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int) {
  if (captured != nullptr || stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  captured = new std::vector<Item>;
  captured_stream = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!captures(stream)) return cudaErrorStreamCaptureUnsupported;
  *graph = new EmulatedGraph{std::make_shared<std::vector<Item>>(std::move(*captured))};
  delete captured;
  captured = nullptr;
  captured_stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, int) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  const Locked machine;
  const QueuePointer queue = machine->queue_of(stream);
  if (executable->last != nullptr) machine->submit(queue, {.awaited = executable->last});
  executable->last = std::make_shared<Point>();
  for (size_t i = 0; i < executable->items->size(); ++i)
    machine->submit(queue, {[items = executable->items, i] { (*items)[i].work(); }, (*executable->items)[i].copies});
  machine->submit(queue, {.reached = executable->last});
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
