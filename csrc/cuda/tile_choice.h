// Which tiles an implicit matrix product (implicit_gemm.h) is cut into, and its depth into how many pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pycnn::cuda {

/// Tiles of results, from the fastest per element to the ones that waste least.
enum TileIndex : int { Tile128x128, Tile128x64, Tile64x64, Tile128x32, tile_count };
/// The one in which elements are brought one or two at a time.
inline constexpr int narrow_tile = Tile128x64;

/// What a product adds up: parts with rows and depths of their own, `columns` and `batch` in common.
struct ProductSize {
  struct Part {
    int64_t rows, depth;
  };
  std::vector<Part> parts;
  int64_t columns, batch;

  int64_t rows() const;
};

/// Into how many pieces the depth is cut with this tile, and what that takes, in some unit. Both follow from sizes
/// alone.
struct TilePlan {
  int splits;
  double cost;
};
TilePlan plan_tile(const ProductSize& size, int tile);
/// The one of the first `tiles` that costs least.
int best_tile(const ProductSize& size, int tiles = tile_count);
/// Of the partial sums.
size_t partial_bytes(const ProductSize& size, int splits);

}  // namespace pycnn::cuda
