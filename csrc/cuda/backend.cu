// The plug-in's table: devices, memory, streams, events, graphs, by way of the CUDA runtime.
#include "kernels/backend.h"

#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace pycnn::cuda {
namespace {

struct ThreadState {
  int device = 0;
  cudaStream_t stream = nullptr;
  cudaStream_t recording = nullptr;  ///< where work goes while a graph is recorded
  bool failed = false;
  char error[512] = "", told[512] = "";  ///< to tell that there is no memory left takes none
  bool listens[kernels::most_devices] = {};                ///< by device, whether it hears of indices out of range
  uint64_t index_errors_told[kernels::most_devices] = {};  ///< how many of them it has heard of, if so
};
thread_local ThreadState state;

}  // namespace

cudaStream_t current_stream() { return state.recording != nullptr ? state.recording : state.stream; }
bool failed() { return state.failed; }

void note_error(const char* text) {
  if (state.failed) return;
  state.failed = true;
  std::snprintf(state.error, sizeof state.error, "%s", text);
}

void note_error(cudaError_t error, const char* where) {
  if (error == cudaSuccess || state.failed) return;
  state.failed = true;
  std::snprintf(state.error, sizeof state.error, "%s: %s", where, cudaGetErrorString(error));
  cudaGetLastError();  // what a failed launch leaves behind would be told again by the next call
}

// -- indices out of range ---------------------------------------------------------------------------------------------
// Kernels set a flag; whoever finds it set counts; every thread compares the count with what it has been told.

namespace {

struct IndexErrors {
  uint32_t* flag = nullptr;
  uint64_t count = 0;
};
std::mutex index_mutex;
IndexErrors index_errors[kernels::most_devices];  ///< by device

/// With the mutex held.
uint64_t count_index_errors() {
  IndexErrors& errors = index_errors[state.device];
  if (errors.flag != nullptr && __atomic_exchange_n(errors.flag, 0, __ATOMIC_RELAXED) != 0) ++errors.count;
  return errors.count;
}

/// What comes from now on concerns this thread.
void listen() {
  if (state.listens[state.device]) return;
  const std::lock_guard lock(index_mutex);
  state.index_errors_told[state.device] = count_index_errors();
  state.listens[state.device] = true;
}

/// The device has written whatever it had to.
void check_indices() {
  listen();
  if (state.failed) return;
  const std::lock_guard lock(index_mutex);
  const uint64_t count = count_index_errors();
  if (std::exchange(state.index_errors_told[state.device], count) == count) return;
  note_error("index out of range");
}

}  // namespace

uint32_t* out_of_range_flag() {
  listen();
  const std::lock_guard lock(index_mutex);
  uint32_t*& flag = index_errors[state.device].flag;
  if (flag == nullptr) {
    void* memory = nullptr;
    note_error(cudaMallocHost(&memory, sizeof(uint32_t)), "cudaMallocHost");
    if (memory != nullptr) flag = new (memory) uint32_t(0);
  }
  return flag;
}

// -- the table's functions --------------------------------------------------------------------------------------------

namespace {

/// Why there is no device, found out once.
const char* unavailable() {
  static char text[256];
  static const char* const reason = []() -> const char* {
    int count = 0;
    if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
      std::snprintf(text, sizeof text, "no NVIDIA driver or GPU can be used: %s", cudaGetErrorString(error));
      return text;
    }
    if (count == 0) return "there is no NVIDIA GPU";
    for (int device = 0; device < count; ++device) {
      cudaDeviceProp found;
      if (cudaGetDeviceProperties(&found, device) == cudaSuccess && found.major >= 8) return nullptr;
    }
    return "there is no NVIDIA GPU of compute capability 8.0 or higher";
  }();
  return reason;
}

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

void properties(int device, kernels::DeviceProperties* into) {
  cudaDeviceProp found;
  note_error(cudaGetDeviceProperties(&found, device), "cudaGetDeviceProperties");
  if (state.failed) return;
  std::snprintf(into->name, sizeof into->name, "%s", found.name);
  into->major = found.major;
  into->minor = found.minor;
  into->multiprocessors = found.multiProcessorCount;
  into->memory = found.totalGlobalMem;
}

void use(int device, void* stream) {
  note_error(cudaSetDevice(device), "cudaSetDevice");
  state.device = device;
  state.stream = static_cast<cudaStream_t>(stream);
  listen();
}

const char* take_error() {
  if (!state.failed) note_error(cudaGetLastError(), "an earlier call");
  if (!state.failed) return nullptr;
  state.failed = false;
  std::memcpy(state.told, state.error, sizeof state.told);
  return state.told;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaSuccess) return memory;
  if (error != cudaErrorMemoryAllocation) note_error(error, "cudaMalloc");
  cudaGetLastError();
  return nullptr;
}

// At the end of the process the driver may be gone before the last tensor.
void release(void* memory) { cudaFree(memory); }

void* allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();
  return nullptr;
}

void release_pinned(void* memory) { cudaFreeHost(memory); }

void memory_info(size_t* free, size_t* total) { note_error(cudaMemGetInfo(free, total), "cudaMemGetInfo"); }

int device_of(const void* memory) {
  cudaPointerAttributes found{};
  note_error(cudaPointerGetAttributes(&found, memory), "cudaPointerGetAttributes");
  return found.type == cudaMemoryTypeDevice || found.type == cudaMemoryTypeManaged ? found.device : -1;
}

void copy(void* to, const void* from, size_t bytes) {
  if (!failed()) note_error(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, current_stream()), "cudaMemcpyAsync");
}

void fill(void* memory, int byte, size_t bytes) {
  if (!failed()) note_error(cudaMemsetAsync(memory, byte, bytes, current_stream()), "cudaMemsetAsync");
}

void synchronize() {
  note_error(cudaStreamSynchronize(current_stream()), "cudaStreamSynchronize");
  check_indices();
}
void synchronize_device() {
  note_error(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check_indices();
}

void* create_stream(int priority) {
  cudaStream_t stream = nullptr;
  note_error(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority), "cudaStreamCreateWithPriority");
  return stream;
}
void destroy_stream(void* stream) { cudaStreamDestroy(static_cast<cudaStream_t>(stream)); }
int stream_is_done(void* stream) {
  const cudaError_t error = cudaStreamQuery(static_cast<cudaStream_t>(stream));
  if (error == cudaErrorNotReady) {
    cudaGetLastError();
    return 0;
  }
  note_error(error, "cudaStreamQuery");
  return 1;
}

void* create_event(int timed) {
  cudaEvent_t event = nullptr;
  note_error(cudaEventCreateWithFlags(&event, timed != 0 ? cudaEventDefault : cudaEventDisableTiming),
             "cudaEventCreateWithFlags");
  return event;
}
void destroy_event(void* event) { cudaEventDestroy(static_cast<cudaEvent_t>(event)); }
void record_event(void* event) {
  note_error(cudaEventRecord(static_cast<cudaEvent_t>(event), state.stream), "cudaEventRecord");
}
void wait_event(void* event) {
  note_error(cudaStreamWaitEvent(state.stream, static_cast<cudaEvent_t>(event), 0), "cudaStreamWaitEvent");
}
void synchronize_event(void* event) {
  note_error(cudaEventSynchronize(static_cast<cudaEvent_t>(event)), "cudaEventSynchronize");
}
int event_is_done(void* event) {
  const cudaError_t error = cudaEventQuery(static_cast<cudaEvent_t>(event));
  if (error == cudaErrorNotReady) {
    cudaGetLastError();
    return 0;
  }
  note_error(error, "cudaEventQuery");
  return 1;
}
float elapsed_milliseconds(void* begin, void* end) {
  float milliseconds = 0;
  note_error(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)),
             "cudaEventElapsedTime");
  return milliseconds;
}

int begin_graph() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  if (state.stream != nullptr) note_error(cudaStreamIsCapturing(state.stream, &status), "cudaStreamIsCapturing");
  if (failed() || status != cudaStreamCaptureStatusNone) return 0;
  // In a stream of its own: the default one cannot be recorded, and other threads may use the same one.
  cudaStream_t own = nullptr;
  note_error(cudaStreamCreateWithPriority(&own, cudaStreamNonBlocking, 0), "cudaStreamCreateWithPriority");
  if (!failed()) note_error(cudaStreamBeginCapture(own, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  if (failed()) {
    if (own != nullptr) cudaStreamDestroy(own);
    return 0;
  }
  state.recording = own;
  return 1;
}

void* end_graph() {
  cudaGraph_t graph = nullptr;
  note_error(cudaStreamEndCapture(state.recording, &graph), "cudaStreamEndCapture");
  cudaStreamDestroy(state.recording);
  state.recording = nullptr;
  cudaGraphExec_t executable = nullptr;
  if (!failed()) note_error(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  if (graph != nullptr) cudaGraphDestroy(graph);
  return executable;
}

void launch_graph(void* graph) {
  if (!failed()) note_error(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), state.stream), "cudaGraphLaunch");
}
void destroy_graph(void* graph) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph)); }

const kernels::Kernels* kernels_of(int) { return &table(); }

constexpr kernels::Backend backend = {
    .version = kernels::backend_version,
    .layout = kernels::exchanged_layout,
    .library = PYCNN_VERSION,
    .unavailable = unavailable,
    .device_count = device_count,
    .properties = properties,
    .kernels = kernels_of,
    .use = use,
    .take_error = take_error,
    .allocate = allocate,
    .release = release,
    .allocate_pinned = allocate_pinned,
    .release_pinned = release_pinned,
    .memory_info = memory_info,
    .device_of = device_of,
    .copy = copy,
    .fill = fill,
    .synchronize = synchronize,
    .synchronize_device = synchronize_device,
    .create_stream = create_stream,
    .destroy_stream = destroy_stream,
    .stream_is_done = stream_is_done,
    .create_event = create_event,
    .destroy_event = destroy_event,
    .record_event = record_event,
    .wait_event = wait_event,
    .synchronize_event = synchronize_event,
    .event_is_done = event_is_done,
    .elapsed_milliseconds = elapsed_milliseconds,
    .begin_graph = begin_graph,
    .end_graph = end_graph,
    .launch_graph = launch_graph,
    .destroy_graph = destroy_graph,
};

}  // namespace
}  // namespace pycnn::cuda

extern "C" __attribute__((visibility("default"))) const pycnn::kernels::Backend* pycnn_backend_v1() {
  return &pycnn::cuda::backend;
}
