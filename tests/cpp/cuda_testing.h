// Shared by the tests of CUDA kernels, which run in emulation: memory with guard zones, random data.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "cuda/kernels.h"
#include "kernels/convert.h"

namespace pycnn::testing_cuda {

/// Results are looked at as soon as a kernel was called.
inline const bool runs_at_once = (cuda::emulation::run_streams_at_once(), true);

/// Fresh memory: bytes of ones (NaN, -1), with zones around it that nobody may touch. `misaligned` elements are left
/// out at the beginning, so that the first one does not lie at a multiple of 16 bytes.
template <typename T>
class Guarded {
 public:
  explicit Guarded(int64_t count, int64_t misaligned = 0)
      : count_(count), before_(64 + misaligned), bytes_(static_cast<size_t>(before_ + count + 64) * sizeof(T), 0xFF) {}
  Guarded(const std::vector<T>& values, int64_t misaligned = 0)
      : Guarded(static_cast<int64_t>(values.size()), misaligned) {
    assign(values);
  }

  T* data() { return reinterpret_cast<T*>(bytes_.data()) + before_; }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data()) + before_; }
  T operator[](int64_t i) const { return data()[i]; }
  T& operator[](int64_t i) { return data()[i]; }
  void assign(const std::vector<T>& values) { std::copy(values.begin(), values.end(), data()); }
  /// The elements are as in the beginning.
  void clear() { std::memset(static_cast<void*>(data()), 0xFF, static_cast<size_t>(count_) * sizeof(T)); }
  int64_t size() const { return count_; }
  std::vector<T> values() const { return std::vector<T>(data(), data() + count_); }
  bool whole() const {
    const auto clean = [](const unsigned char* begin, const unsigned char* end) {
      return std::all_of(begin, end, [](unsigned char byte) { return byte == 0xFF; });
    };
    const auto* const begin = reinterpret_cast<const unsigned char*>(data());
    return clean(bytes_.data(), begin) && clean(begin + count_ * static_cast<int64_t>(sizeof(T)), &*bytes_.end());
  }

 private:
  int64_t count_, before_;
  std::vector<unsigned char> bytes_;
};

inline double value_of(float x) { return x; }
inline double value_of(double x) { return x; }
inline double value_of(int64_t x) { return static_cast<double>(x); }
inline double value_of(uint8_t x) { return x; }
inline double value_of(BFloat16 x) { return kernels::bfloat_to_float(x.bits); }
inline double value_of(Float16 x) { return kernels::half_to_float(x.bits); }

template <typename T>
T rounded(double x) {
  T result;
  kernels::narrow(x, result);
  return result;
}

/// Multiples of 1/8 between -4 and 4, so that equals happen; exact in every type but integers.
template <typename T>
std::vector<T> random_steps(int64_t count, uint32_t seed) {
  std::minstd_rand generator(seed + 1);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = rounded<T>((static_cast<double>(generator() % 65) - 32) / 8);
  return values;
}

/// Between -1 and 1.
template <typename T>
std::vector<T> random_reals(int64_t count, uint32_t seed) {
  std::minstd_rand generator(seed + 1);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = rounded<T>(uniform(generator));
  return values;
}

inline std::vector<int64_t> random_integers(int64_t count, int64_t below, uint32_t seed) {
  std::minstd_rand generator(seed + 1);
  std::vector<int64_t> values(static_cast<size_t>(count));
  for (int64_t& value : values) value = static_cast<int64_t>(generator() % static_cast<uint64_t>(below));
  return values;
}

template <typename T>
constexpr DType dtype_of_elements() {
  return dtype_of<T>();
}

/// Relative to magnitudes of 1 or more.
template <typename T>
double tolerance() {
  return sizeof(T) == 8 ? 1e-13 : sizeof(T) == 4 ? 2e-6 : 8e-3;
}

inline bool close(double got, double expected, double tolerance) {
  if (std::isnan(expected) || std::isinf(expected)) return std::isnan(expected) ? std::isnan(got) : got == expected;
  return std::abs(got - expected) <= tolerance * std::max(1.0, std::abs(expected));
}

}  // namespace pycnn::testing_cuda
