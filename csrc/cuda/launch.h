// How kernels are written and launched. nvcc compiles them for GPUs; with PYCNN_CUDA_EMULATION any C++ compiler does
// for the host (emulation.h), which is how they are tested on machines without a GPU.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef PYCNN_CUDA_EMULATION
#include "cuda/emulated/emulation.h"
#define PYCNN_NOINLINE __attribute__((noinline))
#else
#include <cuda_runtime.h>
#define PYCNN_NOINLINE __noinline__
#endif

namespace pycnn::cuda {

inline constexpr int warp_size = 32;

/// The stream of this thread: kernels and copies go there.
cudaStream_t current_stream();

/// Remembers the first failure until the core asks for it (see backend.h); what is launched after it does nothing.
void note_error(cudaError_t error, const char* where);
void note_error(const char* text);
bool failed();

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes = 0;  ///< of shared_memory()
};

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

#ifndef PYCNN_CUDA_EMULATION

template <typename... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, Parameters... arguments) {
  if (failed() || grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  constexpr size_t granted_unasked = 48 << 10;
  if (grid.shared_bytes > granted_unasked)
    note_error(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(grid.shared_bytes)),
               name);
  void* addresses[] = {&arguments..., nullptr};
  note_error(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid.blocks, grid.threads, addresses,
                              grid.shared_bytes, current_stream()),
             name);
}

/// The shared memory that the launch asked for.
template <typename T>
__device__ T* shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
}

#else

template <typename... Parameters>
void launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, Parameters... arguments) {
  if (failed() || grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  note_error(emulation::run(name, grid.blocks, grid.threads, grid.shared_bytes, current_stream(),
                            [=] { kernel(arguments...); }),
             name);
}

template <typename T>
T* shared_memory() {
  return static_cast<T*>(emulation::shared_memory());
}

#endif

}  // namespace pycnn::cuda
