// Conversions between the types in memory and the types of registers: straight-line, so that loops of them vectorise.
// Of internal linkage, since the CPU's files are built once per instruction set.
#pragma once

#include <cstdint>

#include "kernels/program.h"
#include "pycnn/dtype.h"

#ifdef __CUDACC__
#define PYCNN_HOST_DEVICE __host__ __device__
#else
#define PYCNN_HOST_DEVICE
#endif

namespace pycnn::kernels {

/// A bool as it lies in memory; any byte but 0 is true.
struct BoolByte {
  uint8_t byte;
};

PYCNN_HOST_DEVICE static inline float half_to_float(uint16_t bits) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits));
  return result;
#else
  // Shifted into place the exponent is 112 too small, for normal and subnormal numbers alike; one product repairs both.
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t finite = __builtin_bit_cast(uint32_t, __builtin_bit_cast(float, magnitude) * 0x1p112f);
  const uint32_t value = magnitude >= 0x0f800000u ? magnitude | 0x7f800000u : finite;
  return __builtin_bit_cast(float, value | sign);
#endif
}

PYCNN_HOST_DEVICE static inline uint16_t float_to_half(float value) {
#ifdef __CUDA_ARCH__
  uint16_t result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
#else
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  // Adding 1/2 moves the units of a subnormal half, 2^-24, to the end of the significand, rounded to even.
  const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
  const uint32_t subnormal = __builtin_bit_cast(uint32_t, shifted) - 0x3f000000u;
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t result = magnitude >= 0x47800000u ? special : finite;
  return static_cast<uint16_t>(result | ((bits >> 16) & 0x8000u));
#endif
}

PYCNN_HOST_DEVICE static inline float bfloat_to_float(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}

PYCNN_HOST_DEVICE static inline uint16_t float_to_bfloat(float value) {
#ifdef __CUDA_ARCH__
  uint16_t result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result) : "f"(value));
  return result;
#else
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
#endif
}

/// Truncates toward zero; NaN and what does not fit give the lowest value, as the x86 instruction does.
PYCNN_HOST_DEVICE static inline int64_t to_int64(double value) {
  const bool fits = value >= -0x1p63 && value < 0x1p63;
  const int64_t truncated = static_cast<int64_t>(fits ? value : 0.0);
  return fits ? truncated : INT64_MIN;
}

/// The same for 32 bits.
template <typename Float>
PYCNN_HOST_DEVICE static inline int32_t to_int32(Float value) {
  const bool fits = value >= Float(-0x1p31) && value < Float(0x1p31);
  const int32_t truncated = static_cast<int32_t>(fits ? value : Float(0));
  return fits ? truncated : INT32_MIN;
}

// Registers: float, double, int64_t.
PYCNN_HOST_DEVICE static inline void convert(float from, float& to) { to = from; }
PYCNN_HOST_DEVICE static inline void convert(float from, double& to) { to = from; }
PYCNN_HOST_DEVICE static inline void convert(float from, int64_t& to) { to = to_int64(from); }
PYCNN_HOST_DEVICE static inline void convert(double from, float& to) { to = static_cast<float>(from); }
PYCNN_HOST_DEVICE static inline void convert(double from, double& to) { to = from; }
PYCNN_HOST_DEVICE static inline void convert(double from, int64_t& to) { to = to_int64(from); }
PYCNN_HOST_DEVICE static inline void convert(int64_t from, float& to) { to = static_cast<float>(from); }
PYCNN_HOST_DEVICE static inline void convert(int64_t from, double& to) { to = static_cast<double>(from); }
PYCNN_HOST_DEVICE static inline void convert(int64_t from, int64_t& to) { to = from; }

/// Memory to register.
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(float from, Register& to) {
  convert(from, to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(double from, Register& to) {
  convert(from, to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(int64_t from, Register& to) {
  convert(from, to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(int32_t from, Register& to) {
  to = static_cast<Register>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(int16_t from, Register& to) {
  to = static_cast<Register>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(int8_t from, Register& to) {
  to = static_cast<Register>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(uint8_t from, Register& to) {
  to = static_cast<Register>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(BoolByte from, Register& to) {
  to = static_cast<Register>(from.byte != 0 ? 1 : 0);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(Float16 from, Register& to) {
  convert(half_to_float(from.bits), to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void widen(BFloat16 from, Register& to) {
  convert(bfloat_to_float(from.bits), to);
}

/// Register to memory: rounded or wrapped.
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, float& to) {
  convert(from, to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, double& to) {
  convert(from, to);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, int64_t& to) {
  convert(from, to);
}
template <typename Integer>
PYCNN_HOST_DEVICE static inline Integer wrapped(int64_t from) {
  return static_cast<Integer>(static_cast<uint64_t>(from));
}
/// By way of int32, as PyTorch.
template <typename Integer>
PYCNN_HOST_DEVICE static inline Integer wrapped(float from) {
  return static_cast<Integer>(static_cast<uint32_t>(to_int32(from)));
}
template <typename Integer>
PYCNN_HOST_DEVICE static inline Integer wrapped(double from) {
  return static_cast<Integer>(static_cast<uint32_t>(to_int32(from)));
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, int32_t& to) {
  to = wrapped<int32_t>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, int16_t& to) {
  to = wrapped<int16_t>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, int8_t& to) {
  to = wrapped<int8_t>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, uint8_t& to) {
  to = wrapped<uint8_t>(from);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, BoolByte& to) {
  to.byte = from != Register(0) ? 1 : 0;
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, Float16& to) {
  float value;
  convert(from, value);
  to.bits = float_to_half(value);
}
template <typename Register>
PYCNN_HOST_DEVICE static inline void narrow(Register from, BFloat16& to) {
  float value;
  convert(from, value);
  to.bits = float_to_bfloat(value);
}

// What these call may be code for either side.
#ifdef __CUDACC__
#pragma nv_exec_check_disable
#endif
/// Calls function(T{}) with the memory type of a dtype.
template <typename Function>
PYCNN_HOST_DEVICE static inline auto with_memory_type(DType dtype, Function function) {
  switch (dtype) {
    case DType::Bool:
      return function(BoolByte{});
    case DType::UInt8:
      return function(uint8_t{});
    case DType::Int8:
      return function(int8_t{});
    case DType::Int16:
      return function(int16_t{});
    case DType::Int32:
      return function(int32_t{});
    case DType::Int64:
      return function(int64_t{});
    case DType::Float16:
      return function(Float16{});
    case DType::BFloat16:
      return function(BFloat16{});
    case DType::Float32:
      return function(float{});
    default:
      return function(double{});
  }
}

#ifdef __CUDACC__
#pragma nv_exec_check_disable
#endif
/// Calls function(T{}) with the C++ type of a register.
template <typename Function>
PYCNN_HOST_DEVICE static inline auto with_register_type(RegisterType type, Function function) {
  switch (type) {
    case RegisterType::F32:
      return function(float{});
    case RegisterType::F64:
      return function(double{});
    default:
      return function(int64_t{});
  }
}

PYCNN_HOST_DEVICE static inline bool is_native(DType dtype, RegisterType type) {
  return (type == RegisterType::F32 && dtype == DType::Float32) ||
         (type == RegisterType::F64 && dtype == DType::Float64) || (type == RegisterType::I64 && dtype == DType::Int64);
}

}  // namespace pycnn::kernels
