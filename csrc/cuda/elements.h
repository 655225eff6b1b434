// Elements in memory as float32 and back, in kernels.
#pragma once

#include <cstring>
#include <type_traits>

#include "cuda/launch.h"
#include "pycnn/dtype.h"

namespace pycnn::cuda {

__device__ inline float widened(float value) { return value; }
__device__ inline float widened(BFloat16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }
__device__ inline float widened(Float16 value) {
#ifndef PYCNN_CUDA_EMULATION
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  return to_float(value);
#endif
}

/// To nearest, ties to even.
template <typename T>
__device__ T rounded(float value);
template <>
__device__ inline float rounded<float>(float value) {
  return value;
}
template <>
__device__ inline BFloat16 rounded<BFloat16>(float value) {
#ifndef PYCNN_CUDA_EMULATION
  BFloat16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  return to_bfloat16(value);
#endif
}
template <>
__device__ inline Float16 rounded<Float16>(float value) {
#ifndef PYCNN_CUDA_EMULATION
  Float16 result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  return to_float16(value);
#endif
}

/// V elements that lie side by side, moved at once where there are up to 16 bytes of them.
template <typename T, int V>
struct Vector {
  T element[V];

  static constexpr int words = V * sizeof(T) > 16 ? V* static_cast<int>(sizeof(T)) / 16 : 1;
  static constexpr int part_bytes = V * sizeof(T) / words;
  using Part = std::conditional_t<
      part_bytes == 16, uint4,
      std::conditional_t<part_bytes == 8, uint2, std::conditional_t<part_bytes == 4, uint32_t, uint16_t>>>;

  __device__ void load(const T* from) {
    Part parts[words];
#pragma unroll
    for (int i = 0; i < words; ++i) parts[i] = reinterpret_cast<const Part*>(from)[i];
    memcpy(element, parts, sizeof element);
  }
  __device__ void store(T* to) const {
    Part parts[words];
    memcpy(parts, element, sizeof element);
#pragma unroll
    for (int i = 0; i < words; ++i) reinterpret_cast<Part*>(to)[i] = parts[i];
  }
};

}  // namespace pycnn::cuda
