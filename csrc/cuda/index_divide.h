// Division by what is known before a kernel runs, as a multiplication and a shift (Granlund and Montgomery 1994).
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace pycnn::cuda {

/// Quotients of 0 … 2³¹-1 by 1 … 2³¹-1.
class IndexDivide {
 public:
  IndexDivide() = default;
  explicit IndexDivide(int64_t divisor) : divisor_(static_cast<uint32_t>(divisor)) {
    while ((uint64_t{1} << shift_) < divisor_) ++shift_;
    factor_ = static_cast<uint32_t>((((uint64_t{1} << shift_) - divisor_) << 32) / divisor_ + 1);
  }

  __host__ __device__ int divisor() const { return static_cast<int>(divisor_); }
  __host__ __device__ int quotient(int n) const {
    const auto value = static_cast<uint32_t>(n);
    return static_cast<int>((static_cast<uint32_t>(static_cast<uint64_t>(value) * factor_ >> 32) + value) >> shift_);
  }
  /// Returns the quotient and leaves the remainder.
  __host__ __device__ int divide(int& n) const {
    const int result = quotient(n);
    n -= result * divisor();
    return result;
  }

 private:
  uint32_t divisor_ = 1, factor_ = 1, shift_ = 0;
};

/// Quotients of any number from 0 on by any from 1 on: as above where both are that small, else by a division. By 0
/// nothing is to be divided.
class LongDivide {
 public:
  LongDivide() = default;
  explicit LongDivide(int64_t divisor) : divisor_(divisor), small_(divisor > 0 && divisor <= most ? divisor : 1) {}

  __host__ __device__ int64_t divisor() const { return divisor_; }
  __host__ __device__ int64_t quotient(int64_t n) const {
    return n <= most && divisor_ <= most ? small_.quotient(static_cast<int>(n)) : n / divisor_;
  }

 private:
  static constexpr int64_t most = (int64_t{1} << 31) - 1;
  int64_t divisor_ = 1;
  IndexDivide small_;
};

}  // namespace pycnn::cuda
