// The part of CUDA that the kernels here use, on the host: a block's threads are fibers of the calling thread that run
// until a barrier, in an order drawn anew each time, so that a barrier that is missing shows. Blocks run one after the
// other. Asynchronous copies arrive when they are waited for, and not before. Streams run when they are waited for, in
// an order drawn as well (runtime.cpp).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __restrict__
#define __align__(n) alignas(n)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};

// The runtime's functions that backend.cu calls, for devices whose memory can be touched by their kernels and copies
// alone. The environment says how many there are (PYCNN_EMULATED_DEVICES, 2), how many megabytes each has
// (PYCNN_EMULATED_MEMORY, 2048), and with what the order of streams is drawn (PYCNN_EMULATED_SEED, 0).
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorNotReady = 600,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900
};
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum {
  cudaMemcpyDefault,
  cudaStreamNonBlocking,
  cudaEventDefault,
  cudaEventDisableTiming,
  cudaStreamCaptureModeThreadLocal
};
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};
using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* into, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* into, const void* memory);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int byte, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, int flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, int flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, int flags);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, int mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, int flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

// Written when a fiber is resumed: a host thread emulates one block at a time.
extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace pycnn::cuda::emulation {

/// Gives the stream a kernel, or makes it part of the graph that is being captured there.
cudaError_t run(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, cudaStream_t stream,
                std::function<void()> kernel);
/// From now on streams run what they are given at once: for tests that call kernels one by one, on the host's memory.
void run_streams_at_once();
/// Runs `kernel` in every thread of every block. Ends the process with a message if threads of a block wait for others
/// that have gone elsewhere. One thread at a time may call it.
void run_blocks(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel);
/// The block's, filled with NaN before it begins.
void* shared_memory();

void block_barrier();
/// Lets every lane of the warp see what all of them gave: `all` is an array of 32 blocks of `bytes`.
const void* exchange(const void* mine, size_t bytes);
int lane();

/// That eight lanes at a time read rows of matrices from different banks: what does not is counted.
void check_matrix_rows(const void* row);
int64_t bank_conflicts();

/// Copies that wait for wait_copies().
void begin_copy(void* to, const void* from, size_t bytes, size_t valid_bytes);
void commit_copies();
/// Until all but the last `pending` committed groups have arrived.
void wait_copies(int pending);

template <typename T>
T shuffle(T value, int from) {
  T all[32];
  std::memcpy(all, exchange(&value, sizeof value), sizeof all);
  return all[from & 31];
}

}  // namespace pycnn::cuda::emulation

inline void __syncthreads() { pycnn::cuda::emulation::block_barrier(); }
inline void __syncwarp(unsigned = ~0U) {
  const char nothing = 0;
  pycnn::cuda::emulation::exchange(&nothing, 1);
}
template <typename T>
T __shfl_sync(unsigned, T value, int from) {
  return pycnn::cuda::emulation::shuffle(value, from);
}
template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return pycnn::cuda::emulation::shuffle(value, pycnn::cuda::emulation::lane() ^ mask);
}
template <typename T>
T __shfl_down_sync(unsigned, T value, unsigned distance) {
  const int lane = pycnn::cuda::emulation::lane(), from = lane + static_cast<int>(distance);
  return pycnn::cuda::emulation::shuffle(value, from < 32 ? from : lane);
}
template <typename T>
T __shfl_up_sync(unsigned, T value, unsigned distance) {
  const int lane = pycnn::cuda::emulation::lane(), from = lane - static_cast<int>(distance);
  return pycnn::cuda::emulation::shuffle(value, from >= 0 ? from : lane);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  bool all[32];
  const bool mine = predicate != 0;
  std::memcpy(all, pycnn::cuda::emulation::exchange(&mine, sizeof mine), sizeof all);
  unsigned bits = 0;
  for (unsigned i = 0; i < 32; ++i) bits |= static_cast<unsigned>(all[i]) << i;
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(static_cast<Wide>(a) * b >> 64);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
template <typename T>
T __ldg(const T* address) {
  return *address;
}
