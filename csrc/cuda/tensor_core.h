// The instructions of tensor cores and what feeds them, as functions of a whole warp, with their lane maps.
// PTX ISA, "Matrix multiply-accumulate operation using mma instruction" and "ldmatrix".
#pragma once

#include "cuda/launch.h"

namespace pycnn::cuda {

/// Four 8×8 matrices of 16-bit elements: lane 8m + r gives the address of row r of matrix m. Of matrix m, lane l gets
/// row l/4, columns 2(l%4) and 2(l%4) + 1 in fragment[m]; with Transposed column l/4, rows 2(l%4) and 2(l%4) + 1.
template <bool Transposed>
__device__ inline void load_matrices(uint32_t (&fragment)[4], const void* row) {
#ifndef PYCNN_CUDA_EMULATION
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(address)
                 : "memory");
#else
  emulation::check_matrix_rows(row);
  uint16_t rows[32][8];
  std::memcpy(rows, emulation::exchange(row, sizeof rows[0]), sizeof rows);
  const int l = emulation::lane();
  for (int m = 0; m < 4; ++m) {
    const int at = l / 4, pair = 2 * (l % 4);
    const uint32_t first = Transposed ? rows[8 * m + pair][at] : rows[8 * m + at][pair];
    const uint32_t second = Transposed ? rows[8 * m + pair + 1][at] : rows[8 * m + at][pair + 1];
    fragment[m] = first | second << 16;
  }
#endif
}

/// What the elements of a fragment are.
enum class Factor : uint8_t { BFloat16, Float16, TFloat32 };

#ifdef PYCNN_CUDA_EMULATION

namespace emulation {

inline float widened_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * static_cast<float>(mantissa) * 0x1p-24F;
  const auto word = static_cast<uint32_t>(exponent + 112) << 23 | static_cast<uint32_t>(mantissa) << 13;
  return sign * __uint_as_float(word);
}

/// d += a·b as the lanes hold them: `Depth` factors of k per instruction, element (i, k) of a in lane 4(i%8) + …
template <Factor F>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  struct Given {
    uint32_t a[4], b[2];
  } mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, all[32];
  std::memcpy(all, exchange(&mine, sizeof mine), sizeof all);
  constexpr bool pairs = F != Factor::TFloat32;
  const auto value = [](uint32_t word, int k) {
    if constexpr (F == Factor::TFloat32) return __uint_as_float(word & 0xFFFFE000U);
    const auto half = static_cast<uint16_t>(k % 2 != 0 ? word >> 16 : word);
    if constexpr (F == Factor::BFloat16) return __uint_as_float(static_cast<uint32_t>(half) << 16);
    return widened_half(half);
  };
  constexpr int half_depth = pairs ? 8 : 4, depth = 2 * half_depth;
  const auto lane_of = [](int across, int k) { return across % 8 * 4 + (pairs ? k % half_depth / 2 : k % half_depth); };
  const int l = lane(), row = l / 4, column = 2 * (l % 4);
  float rows[2][depth], columns[2][depth];
  for (int half = 0; half < 2; ++half)
    for (int k = 0; k < depth; ++k) {
      const int i = row + 8 * half, j = column + half;
      rows[half][k] = value(all[lane_of(i, k)].a[half + k / half_depth * 2], k);
      columns[half][k] = value(all[lane_of(j, k)].b[k / half_depth], k);
    }
  for (int e = 0; e < 4; ++e)
    for (int k = 0; k < depth; ++k) d[e] = std::fma(rows[e / 2][k], columns[e % 2][k], d[e]);
}

}  // namespace emulation

#endif

/// The bits of a float32 rounded to what TFloat32 keeps of it.
__device__ inline uint32_t to_tfloat32(uint32_t bits) {
#ifndef PYCNN_CUDA_EMULATION
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(__uint_as_float(bits)));
  return result;
#else
  const bool finite = (bits & 0x7F800000U) != 0x7F800000U;
  return finite ? (bits + 0x1000U) & 0xFFFFE000U : bits;
#endif
}

/// d += a·b, with a 16 rows, b 8 columns and a depth of 16 (TFloat32: 8). Lane l holds of d rows l/4 and l/4 + 8,
/// columns 2(l%4) and 2(l%4) + 1: d[0], d[1], then d[2], d[3]. Of a and b see load_matrices(): a[0 … 3] are the 8×8
/// blocks (upper, lower) of the first half of the depth, then of the second; b[0], b[1] those of the transposed b. In
/// TFloat32 a lane holds single elements: a[0] is (l/4, l%4) of its 8×4 block, b[0] (l%4, l/4).
template <Factor F>
__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifndef PYCNN_CUDA_EMULATION
  if constexpr (F == Factor::BFloat16)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else if constexpr (F == Factor::Float16)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulation::multiply_add<F>(d, a, b);
#endif
}

/// Begins copying `Bytes` (4, 8 or 16) to shared memory: `valid` of them from global memory, then zeros. Both addresses
/// are aligned to Bytes; `from` need not be readable if valid is 0.
template <int Bytes>
__device__ inline void begin_copy(void* to, const void* from, int valid = Bytes) {
#ifndef PYCNN_CUDA_EMULATION
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(Bytes), "r"(valid)
                 : "memory");
#else
  emulation::begin_copy(to, from, Bytes, static_cast<size_t>(valid));
#endif
}

/// What this thread has begun to copy since the last time is a group.
__device__ inline void commit_copies() {
#ifndef PYCNN_CUDA_EMULATION
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulation::commit_copies();
#endif
}

/// Waits until all but the last `Pending` groups of this thread have arrived; other threads see them after a barrier.
template <int Pending>
__device__ inline void wait_for_copies() {
#ifndef PYCNN_CUDA_EMULATION
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#else
  emulation::wait_copies(Pending);
#endif
}

}  // namespace pycnn::cuda
