// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw (SC 2011).
#pragma once

#include <cstdint>

#ifndef PYCNN_ISA
#error "this header belongs to code that is built per instruction set"
#endif

namespace pycnn::cpu::PYCNN_ISA {

/// Counters side by side, so that the rounds vectorise: word w of counter i is at [w][i].
inline constexpr int philox_lanes = 64;
using PhiloxCounters = uint32_t[4][philox_lanes];

static inline void philox(PhiloxCounters& counters, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < philox_lanes; ++i) {
      const uint64_t product0 = uint64_t{0xD2511F53u} * counters[0][i];
      const uint64_t product1 = uint64_t{0xCD9E8D57u} * counters[2][i];
      const uint32_t next0 = static_cast<uint32_t>(product1 >> 32) ^ counters[1][i] ^ key0;
      const uint32_t next2 = static_cast<uint32_t>(product0 >> 32) ^ counters[3][i] ^ key1;
      counters[0][i] = next0;
      counters[1][i] = static_cast<uint32_t>(product1);
      counters[2][i] = next2;
      counters[3][i] = static_cast<uint32_t>(product0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
