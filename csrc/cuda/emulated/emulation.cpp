#include "cuda/emulated/emulation.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace pycnn::cuda::emulation {

/// The device's memory: a range of addresses that nobody can read or write but while an Access lives.
class DeviceMemory {
 public:
  static DeviceMemory& instance() {
    static auto* memory = new DeviceMemory;  // tensors may be freed late
    return *memory;
  }

  class Access {
   public:
    Access() { instance().open(); }
    ~Access() { instance().close(); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;
  };

  void* allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
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
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(static_cast<size_t>(static_cast<char*>(memory) - begin_));
    if (found == blocks_.end()) return false;
    used_ -= found->second;
    madvise(begin_ + found->first, found->second, MADV_DONTNEED);
    blocks_.erase(found);
    return true;
  }

  size_t size() const { return size_; }
  size_t free() {
    const std::lock_guard lock(mutex_);
    return size_ - used_;
  }

 private:
  static constexpr size_t page = 4096;

  DeviceMemory() {
    const char* megabytes = std::getenv("PYCNN_EMULATED_MEMORY");
    size_ = (megabytes != nullptr ? std::strtoull(megabytes, nullptr, 10) : 2048) << 20;
    void* const range = mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    begin_ = range == MAP_FAILED ? nullptr : static_cast<char*>(range);
    if (begin_ == nullptr) size_ = 0;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    if (open_++ == 0) mprotect(begin_, size_, PROT_READ | PROT_WRITE);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    if (--open_ == 0) mprotect(begin_, size_, PROT_NONE);
  }

  std::mutex mutex_;
  char* begin_ = nullptr;
  size_t size_ = 0, used_ = 0;
  int open_ = 0;
  std::map<size_t, size_t> blocks_;
};

using Work = std::function<void()>;
thread_local std::vector<Work>* captured = nullptr;
thread_local cudaStream_t captured_stream = nullptr;
std::atomic<uint64_t> synchronized = 0;

/// Streams run what they are given at once: every order that streams promise is kept.
void in_stream_order(Work work) {
  if (captured != nullptr)
    captured->push_back(std::move(work));
  else
    work();
}

/// While a thread captures it may neither allocate nor wait.
bool forbidden() { return captured != nullptr; }

namespace {

constexpr size_t stack_bytes = size_t{1} << 16;
constexpr size_t canary_bytes = 256;
constexpr unsigned char poison = 0xFF, canary = 0xA5;
constexpr int lanes = 32;
constexpr size_t shared_alignment = 128;
constexpr size_t matrix_row = 16;  ///< bytes that a lane gives the address of

struct Copy {
  void* to;
  const void* from;
  size_t bytes, valid_bytes;
};

enum class State : uint8_t { Runnable, AtBarrier, InWarp, Finished };

struct Fiber {
  ucontext_t context;  ///< to begin with; then it goes on from where it left, which takes no system call
  jmp_buf left;
  bool begun = false;
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
  State state = State::Finished;
  dim3 index;
  uint64_t exchanges = 0;
  std::vector<Copy> uncommitted;
  std::vector<std::vector<Copy>> groups;
};

struct Warp {
  std::vector<unsigned char> given[2];  // by parity of the exchange: the slow ones may still read the last
  int arrived = 0;
};

struct Block {
  const char* name = "";
  const std::function<void()>* kernel = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned char> shared_room;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  size_t threads = 0, current = 0;
  jmp_buf scheduler;
  std::minstd_rand random;
};
thread_local Block* block = nullptr;
thread_local int64_t conflicts = 0;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "pycnn: kernel %s in emulation: %s\n", block->name, what);
  std::abort();
}

Fiber& self() { return *block->fibers[block->current]; }

void yield(State state) {
  Fiber& fiber = self();
  fiber.state = state;
  if (_setjmp(fiber.left) == 0) _longjmp(block->scheduler, 1);
}

void resume(Fiber& fiber) {
  if (_setjmp(block->scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.left, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}

void enter() {
  (*block->kernel)();
  Fiber& fiber = self();
  if (!fiber.uncommitted.empty() || !fiber.groups.empty()) give_up("a thread ends with copies on their way");
  yield(State::Finished);
}

int warp_lanes(size_t warp) { return static_cast<int>(std::min<size_t>(lanes, block->threads - warp * lanes)); }

// Whoever waits for nobody any more may run.
void release() {
  size_t waiting = 0, finished = 0;
  std::vector<int> in_warp(block->warps.size(), 0), gone(block->warps.size(), 0);
  for (size_t i = 0; i < block->threads; ++i) {
    const State state = block->fibers[i]->state;
    waiting += state == State::AtBarrier;
    finished += state == State::Finished;
    in_warp[i / lanes] += state == State::InWarp;
    gone[i / lanes] += state == State::Finished;
  }
  bool any = false;
  for (size_t i = 0; i < block->threads; ++i) {
    State& state = block->fibers[i]->state;
    const bool together = state == State::InWarp && in_warp[i / lanes] + gone[i / lanes] == warp_lanes(i / lanes);
    if (together || (state == State::AtBarrier && waiting + finished == block->threads)) state = State::Runnable;
    any |= state == State::Runnable;
  }
  if (!any) give_up("threads wait at different barriers");
}

void run_block() {
  for (size_t i = 0; i < block->threads; ++i) {
    Fiber& fiber = *block->fibers[i];
    const auto n = static_cast<unsigned>(i);
    fiber.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
    fiber.state = State::Runnable;
    fiber.exchanges = 0;
    fiber.begun = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  std::memset(block->shared, poison, block->shared_bytes);
  std::memset(block->shared + block->shared_bytes, canary, canary_bytes);
  for (;;) {
    size_t finished = 0;
    const size_t start = block->random() % block->threads;
    const bool backwards = block->random() % 2 != 0;
    for (size_t k = 0; k < block->threads; ++k) {
      const size_t i = (start + (backwards ? block->threads - k : k)) % block->threads;
      Fiber& fiber = *block->fibers[i];
      if (fiber.state == State::Runnable) {
        block->current = i;
        threadIdx = fiber.index;
        resume(fiber);
      }
      finished += fiber.state == State::Finished;
    }
    if (finished == block->threads) break;
    release();
  }
  for (size_t i = 0; i < canary_bytes; ++i)
    if (block->shared[block->shared_bytes + i] != canary) give_up("shared memory was written beyond its end");
}

}  // namespace

namespace {

void run_now(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel) {
  const DeviceMemory::Access access;
  thread_local Block own;
  block = &own;
  own.name = name;
  own.kernel = &kernel;
  own.threads = static_cast<size_t>(threads.x) * threads.y * threads.z;
  if (own.threads > 1024) give_up("a block of more than 1024 threads");
  if (shared_bytes > (227 << 10)) give_up("more shared memory than there is");
  while (own.fibers.size() < own.threads) own.fibers.push_back(std::make_unique<Fiber>());
  own.warps.resize((own.threads + lanes - 1) / lanes);
  own.shared_bytes = shared_bytes;
  own.shared_room.resize(shared_bytes + canary_bytes + shared_alignment);
  own.shared = own.shared_room.data();
  own.shared += shared_alignment - reinterpret_cast<uintptr_t>(own.shared) % shared_alignment;
  blockDim = threads;
  gridDim = blocks;
  for (unsigned z = 0; z < blocks.z; ++z)
    for (unsigned y = 0; y < blocks.y; ++y)
      for (unsigned x = 0; x < blocks.x; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
  block = nullptr;
}

}  // namespace

void run(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, std::function<void()> kernel) {
  in_stream_order([=, kernel = std::move(kernel)] { run_now(name, blocks, threads, shared_bytes, kernel); });
}

void* shared_memory() { return block->shared; }

void block_barrier() { yield(State::AtBarrier); }

int lane() { return static_cast<int>(block->current % lanes); }

void check_matrix_rows(const void* row) {
  const auto mine = reinterpret_cast<uintptr_t>(row);
  if (mine % matrix_row != 0) give_up("a matrix row that is not aligned");
  uintptr_t all[lanes];
  std::memcpy(all, exchange(&mine, sizeof mine), sizeof all);
  const auto bank = [](uintptr_t address) { return address / matrix_row % 8; };
  const int first = lane() / 8 * 8;
  for (int other = first; other < first + 8; ++other)
    if (other != lane() && bank(all[other]) == bank(mine)) ++conflicts;
}

int64_t bank_conflicts() { return conflicts; }

const void* exchange(const void* mine, size_t bytes) {
  Fiber& fiber = self();
  std::vector<unsigned char>& given = block->warps[block->current / lanes].given[fiber.exchanges++ % 2];
  if (given.size() < lanes * bytes) given.resize(lanes * std::max<size_t>(bytes, 64));
  std::memcpy(given.data() + static_cast<size_t>(lane()) * bytes, mine, bytes);
  yield(State::InWarp);
  return given.data();
}

void begin_copy(void* to, const void* from, size_t bytes, size_t valid_bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0)
    give_up("a copy that is not aligned");
  std::memset(to, poison, bytes);
  self().uncommitted.push_back({to, from, bytes, valid_bytes});
}

void commit_copies() {
  Fiber& fiber = self();
  fiber.groups.push_back(std::move(fiber.uncommitted));
  fiber.uncommitted.clear();
}

void wait_copies(int pending) {
  std::vector<std::vector<Copy>>& groups = self().groups;
  while (groups.size() > static_cast<size_t>(pending)) {
    for (const Copy& copy : groups.front()) {
      std::memcpy(copy.to, copy.from, copy.valid_bytes);
      std::memset(static_cast<char*>(copy.to) + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace pycnn::cuda::emulation

// -- the runtime ------------------------------------------------------------------------------------------------------

using pycnn::cuda::emulation::captured;
using pycnn::cuda::emulation::captured_stream;
using pycnn::cuda::emulation::DeviceMemory;
using pycnn::cuda::emulation::forbidden;
using pycnn::cuda::emulation::in_stream_order;
using pycnn::cuda::emulation::synchronized;
using pycnn::cuda::emulation::Work;

struct EmulatedStream {};
/// All work is done before its event is recorded, but whoever asks at once hears that it is not, as on a GPU.
struct EmulatedEvent {
  std::chrono::steady_clock::time_point time;
  uint64_t recorded = 0;  ///< after so many synchronizations
  bool done = true;
};
struct EmulatedGraph {
  std::vector<Work> work;
};

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* into, int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  *into = {"emulated GPU", 9, 0, 132, DeviceMemory::instance().size()};
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorNotSupported ? "operation not supported" : "error in emulation";
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = DeviceMemory::instance().allocate(bytes);
  return *memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  return memory == nullptr || DeviceMemory::instance().release(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = std::malloc(bytes);
  return *memory != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = DeviceMemory::instance().free();
  *total = DeviceMemory::instance().size();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, cudaStream_t) {
  in_stream_order([=] {
    const DeviceMemory::Access access;
    std::memmove(to, from, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t) {
  in_stream_order([=] {
    const DeviceMemory::Access access;
    std::memset(memory, byte, bytes);
  });
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
cudaError_t cudaDeviceSynchronize() {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  ++synchronized;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, int, int) {
  *stream = new EmulatedStream;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, int) {
  *event = new EmulatedEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *event = {std::chrono::steady_clock::now(), synchronized, false};
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, int) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  event->done = true;
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  return std::exchange(event->done, true) || event->recorded < synchronized ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream == captured_stream ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int) {
  if (captured != nullptr || stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  captured = new std::vector<Work>;
  captured_stream = stream;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (captured == nullptr || stream != captured_stream) return cudaErrorStreamCaptureUnsupported;
  *graph = new EmulatedGraph{std::move(*captured)};
  delete captured;
  captured = nullptr;
  captured_stream = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, int) {
  *executable = new EmulatedGraph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  for (const Work& work : executable->work) in_stream_order(work);
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
