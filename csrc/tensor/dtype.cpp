#include "pycnn/dtype.h"

#include <array>
#include <atomic>
#include <bit>
#include <cmath>

#include "pycnn/error.h"

namespace pycnn {

std::string_view name_of(DType dtype) {
  constexpr std::array<std::string_view, 10> names = {"bool",  "uint8",   "int8",     "int16",   "int32",
                                                      "int64", "float16", "bfloat16", "float32", "float64"};
  return names[static_cast<size_t>(dtype)];
}

DType promote_types(DType a, DType b) {
  if (a == b) return a;
  const DType low = a < b ? a : b;
  const DType high = a < b ? b : a;
  // Integers never widen a float; the two 16-bit floats and uint8 with signed integers meet in the next wider type.
  if (low == DType::Float16 && high == DType::BFloat16) return DType::Float32;
  if (low == DType::UInt8 && high == DType::Int8) return DType::Int16;
  return high;
}

namespace {
std::atomic<DType> current_default_dtype{DType::Float32};
}

DType default_dtype() { return current_default_dtype.load(std::memory_order_relaxed); }

void set_default_dtype(DType dtype) {
  check<TypeError>(is_floating_point(dtype), "only floating-point types are supported as the default type, not ",
                   dtype);
  current_default_dtype.store(dtype, std::memory_order_relaxed);
}

float to_float(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

BFloat16 to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return {static_cast<uint16_t>((bits >> 16) | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}

float to_float(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1F;
  const uint32_t fraction = value.bits & 0x3FF;
  if (exponent == 0x1F) return std::bit_cast<float>(sign | 0x7F800000 | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

Float16 to_float16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return {static_cast<uint16_t>(sign | 0x7E00 | ((magnitude >> 13) & 0x3FF))};
  if (magnitude >= 0x477FF000) return {static_cast<uint16_t>(sign | 0x7C00)};  // rounds to infinity
  if (magnitude < 0x38800000) {
    // Subnormal in half precision: adding ½ leaves the rounded multiple of 2⁻²⁴ in the low bits of the sum.
    const uint32_t sum = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
    return {static_cast<uint16_t>(sign | (sum - 0x3F000000))};
  }
  const uint32_t rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13))};
}

}  // namespace pycnn
