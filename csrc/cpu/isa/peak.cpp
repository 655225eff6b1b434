// Multiply-adds from registers alone: what the arithmetic of this level can reach.
#include <utility>

#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

/// Updates all sums so many times; returns how many updates of a lane that was.
template <typename Update, size_t... Index>
PYCNN_INLINE int64_t update_sums(int64_t rounds, const Update& update, std::index_sequence<Index...>) {
  Vector<float> sums[] = {splat(static_cast<float>(Index))...};
  for (int64_t round = 0; round < rounds; ++round) ((sums[Index] = update(sums[Index])), ...);
  const Vector<float> total = (sums[Index] + ...);
  asm volatile("" : : "m"(total));  // it must seem to be used
  return rounds * static_cast<int64_t>(sizeof...(Index)) * lanes<float>;
}

/// More than latency times throughput needs, fewer than there are registers.
using Sums = std::make_index_sequence<sizeof(Vector<float>) == 64 ? 24 : 12>;

/// Blocks of 32 x 32 sums in the tiles, from operands that the first cache holds.
int64_t multiply_tiles(int64_t rounds) {
  constexpr int64_t rows = 2 * tiles::tile_rows, columns = 2 * tiles::tile_columns, k = 4 * tiles::tile_columns;
  alignas(64) const BFloat16 a[rows * k] = {}, b[k * columns] = {};
  alignas(64) float c[rows * columns];
  const BFloatProduct product{a, b};
  BFloatBatchReduce block{};
  block.products = &product;
  block.count = 1;
  block.m = rows;
  block.n = columns;
  block.k = k;
  block.a_row = k;
  block.width = columns;
  block.c = c;
  block.c_row = columns;
  BFloatGemm gemm;
  for (int64_t round = 0; round < rounds; ++round) gemm.run(block);
  gemm.release();
  return rounds * rows * columns * k * 2;
}

}  // namespace

int64_t multiply_add_loop(int64_t rounds) {
  const Vector<float> factor = splat(0.999F), term = splat(0.001F);
  const auto update = [&](Vector<float> sum) __attribute__((always_inline)) { return multiply_add(sum, factor, term); };
  return 2 * update_sums(rounds, update, Sums{});
}

int64_t bfloat16_multiply_add_loop(int64_t rounds) {
  switch (bfloat_products()) {
    case BFloat16Products::Tiles:
      return multiply_tiles(rounds);
    case BFloat16Products::EmulatedTiles:
      return multiply_tiles(rounds / 1000 + 1);
#if defined(__AVX512F__)
    case BFloat16Products::Dot: {
      const Vector<float> left = splat(0.5F), right = splat(0.25F);
      const auto update = [&](Vector<float> sum) __attribute__((always_inline)) {
        add_pairs(sum, left, right);
        return sum;
      };
      return 4 * update_sums(rounds, update, Sums{});
    }
#endif
    default:
      return multiply_add_loop(rounds);
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
