// Element types and their promotion rules (those of PyTorch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string_view>

namespace pycnn {

enum class DType : uint8_t { Bool, UInt8, Int8, Int16, Int32, Int64, Float16, BFloat16, Float32, Float64 };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  constexpr size_t sizes[] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8};
  return sizes[static_cast<size_t>(dtype)];
}

constexpr bool is_floating_point(DType dtype) { return dtype >= DType::Float16; }
constexpr bool is_integral(DType dtype) { return dtype < DType::Float16 && dtype != DType::Bool; }

/// "float32", "int64", "bool", ...
std::string_view name_of(DType dtype);
inline std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

/// The dtype of an operation on two tensors of these dtypes.
DType promote_types(DType a, DType b);

/// float32 unless changed; the dtype of `zeros(…)`, of Python floats made tensors, and of integer division's result.
DType default_dtype();
void set_default_dtype(DType dtype);

/// Storage types of the 16-bit floats. Arithmetic happens in float32; rounding is to nearest, ties to even.
struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};
float to_float(BFloat16 value);
float to_float(Float16 value);
BFloat16 to_bfloat16(float value);
Float16 to_float16(float value);

/// The DType of a C++ type: dtype_of<float>() is DType::Float32.
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<bool>() {
  return DType::Bool;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::UInt8;
}
template <>
constexpr DType dtype_of<int8_t>() {
  return DType::Int8;
}
template <>
constexpr DType dtype_of<int16_t>() {
  return DType::Int16;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::Int32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::Int64;
}
template <>
constexpr DType dtype_of<Float16>() {
  return DType::Float16;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::BFloat16;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::Float32;
}
template <>
constexpr DType dtype_of<double>() {
  return DType::Float64;
}

}  // namespace pycnn
