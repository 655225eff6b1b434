// Which tiles products are cut into, and how the two kinds of implicit products are asked for.
#pragma once

#include <span>
#include <vector>

#include "cuda/phases.h"
#include "kernels/kernels.h"

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

/// One pass of a convolution, as the files per dtype run it.
struct ConvolutionJob {
  const char* name;
  const kernels::ConvolutionArguments& arguments;
  kernels::ConvolutionPass pass;
  int tile, splits;
  std::span<const Phase> phases;
  const void* packed;             ///< the weight, unless its gradient is computed
  const int64_t* packed_offsets;  ///< of the phases
  float* partial;
};

/// Forward and InputGradient; WeightGradient.
void multiply_pixels_bfloat16(const ConvolutionJob& job);
void multiply_pixels_float16(const ConvolutionJob& job);
void multiply_pixels_float32(const ConvolutionJob& job);
void multiply_pixels_tfloat32(const ConvolutionJob& job);
void multiply_taps_bfloat16(const ConvolutionJob& job);
void multiply_taps_float16(const ConvolutionJob& job);
void multiply_taps_float32(const ConvolutionJob& job);
void multiply_taps_tfloat32(const ConvolutionJob& job);

struct MatmulJob {
  const char* name;
  const kernels::MatmulArguments& arguments;
  int tile, splits;
  float* partial;
};
void multiply_matrices_bfloat16(const MatmulJob& job);
void multiply_matrices_float16(const MatmulJob& job);
void multiply_matrices_float32(const MatmulJob& job);
void multiply_matrices_tfloat32(const MatmulJob& job);

}  // namespace pycnn::cuda
