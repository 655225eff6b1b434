// The microkernel for bfloat16 on AMX tiles.
#pragma once

#include "cpu/features.h"
#include "cpu/isa/simd.h"
#include "pycnn/dtype.h"

namespace pycnn::cpu::PYCNN_ISA {

struct BFloatBatchReduce;

namespace tiles {

inline constexpr int64_t tile_rows = 16;
inline constexpr int64_t tile_columns = 16;  ///< float32 sums, or pairs of bfloat16
inline constexpr int tile_count = 8;

int64_t panel_width(int64_t n);
int64_t panel_depth(int64_t k);

/// Shapes of the tiles; setting them clears the tiles, so it is done when they change.
struct Configuration {
  int64_t rows, depth;  ///< of a tile of A; depth is even
  int64_t columns[2];   ///< of the tiles of B
  bool operator==(const Configuration&) const = default;
};

/// Tiles that are plain memory: what the instructions do, in C++.
struct EmulatedTiles {
  uint32_t tile[tile_count][tile_rows][tile_columns];
  Configuration configuration;
};

class Gemm {
 public:
  /// `products` is Tiles or EmulatedTiles.
  void run(BFloat16Products products, const BFloatBatchReduce& g);
  /// Gives the thread's tile registers back.
  void release();

 private:
  template <typename Operations>
  void run(const Operations& operations, const BFloatBatchReduce& g);
  template <typename Operations, int RowTiles, int ColumnTiles>
  void block(const Operations& operations, const BFloatBatchReduce& g, int64_t row, int64_t next_row, int64_t skip);
  void finish(const BFloatBatchReduce& g, const float* sums, int64_t row, int64_t rows, int64_t skip) const;

  Configuration configuration_{};
  bool hardware_ = false;
  alignas(64) float sums_[2 * tile_rows][2 * tile_columns];
  alignas(64) BFloat16 padded_[2][tile_rows][2 * tile_columns];
  EmulatedTiles emulated_;
};

}  // namespace tiles
}  // namespace pycnn::cpu::PYCNN_ISA
