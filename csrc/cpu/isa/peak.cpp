// Multiply-adds from registers alone: what the arithmetic of this level can reach.
#include "cpu/isa/isa.h"
#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {

int64_t multiply_add_loop(int64_t rounds) {
  constexpr int sums_count = 12;  // more than latency times throughput needs, fewer than there are registers
  Vector<float> sums[sums_count];
  const Vector<float> factor = splat(0.999F), term = splat(0.001F);
#pragma GCC unroll 12
  for (int i = 0; i < sums_count; ++i) sums[i] = splat(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < sums_count; ++i) sums[i] = multiply_add(sums[i], factor, term);
  }
  // The results must seem to be used.
#pragma GCC unroll 12
  for (int i = 0; i < sums_count; ++i) asm volatile("" : : "m"(sums[i]));
  return rounds * sums_count * lanes<float> * 2;
}

}  // namespace pycnn::cpu::PYCNN_ISA
