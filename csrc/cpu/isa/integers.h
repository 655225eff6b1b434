// Integer helpers; std::min and its kin would be weak symbols shared between levels.
#pragma once

#include <cstdint>

#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {

PYCNN_INLINE int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
PYCNN_INLINE int64_t max_of(int64_t a, int64_t b) { return a < b ? b : a; }
/// ⌈a / b⌉ for b > 0 and any a.
PYCNN_INLINE int64_t ceil_divide(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }
/// The greatest one; of a and 0 it is a.
PYCNN_INLINE int64_t common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}
PYCNN_INLINE int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

}  // namespace pycnn::cpu::PYCNN_ISA
