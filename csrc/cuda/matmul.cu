// The algorithms of matmul.
#include <utility>

#include "cuda/guarded.h"
#include "cuda/implicit_gemm_jobs.h"
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/reference.h"
#include "cuda/tile_choice.h"

namespace pycnn::cuda {
namespace {

using kernels::MatmulAlgorithm;
using kernels::MatmulArguments;

constexpr int matmul_tiles = Tile64x64 + 1;

ProductSize product_size(const MatmulArguments& g) {
  return {.parts = {{g.m, g.k}}, .columns = g.n, .batch = g.batch[0] * g.batch[1]};
}

const char* cannot_multiply(const MatmulArguments& g) {
  if (g.dtype != DType::Float32 && g.dtype != DType::BFloat16 && g.dtype != DType::Float16)
    return "only for float32, bfloat16 and float16";
  if (g.batch[0] * g.batch[1] > 65535) return "a launch has no more than 65535 products";
  constexpr int64_t most = (int64_t{1} << 31) - 4096;
  if (g.m > most || g.n > most || g.k > most) return "sizes exceed 2^31";
  if (divide_up(g.m, 64) * divide_up(g.n, 64) > most) return "tiles exceed 2^31";
  return nullptr;
}

/// As far as strides tell; addresses may still not be aligned. Products of two transposed factors are rare.
bool has_whole_vectors(const MatmulArguments& g) {
  const auto vector = static_cast<int64_t>(16 / size_of(g.dtype));
  const auto whole = [&](int64_t line, const int64_t(&batch)[2]) {
    return line % vector == 0 && batch[0] % vector == 0 && batch[1] % vector == 0;
  };
  const bool depth_a = g.a_column == 1 && whole(g.a_row, g.a_batch),
             across_a = g.a_row == 1 && whole(g.a_column, g.a_batch);
  const bool depth_b = g.b_row == 1 && whole(g.b_column, g.b_batch),
             across_b = g.b_column == 1 && whole(g.b_row, g.b_batch);
  return (depth_a && (depth_b || across_b)) || (across_a && across_b);
}

template <int TileNumber>
const char* declines(const MatmulArguments& g) {
  if (const char* reason = cannot_multiply(g)) return reason;
  if (!has_whole_vectors(g)) return TileNumber == narrow_tile ? nullptr : "factors do not come in vectors of 16 bytes";
  if (g.forced || best_tile(product_size(g), matmul_tiles) == TileNumber) return nullptr;
  return "another tile is expected to be faster";
}

template <int TileNumber>
size_t workspace(const MatmulArguments& g) {
  const ProductSize size = product_size(g);
  return partial_bytes(size, plan_tile(size, TileNumber).splits);
}

template <int TileNumber>
void run(const MatmulArguments& arguments) {
  if (arguments.batch[0] * arguments.batch[1] * arguments.m * arguments.n == 0) return;
  MatmulArguments g = arguments;
  const kernels::PointwiseArguments* after = nullptr;
  if (g.epilogue != nullptr && !is_frequent(*g.epilogue)) std::swap(g.epilogue, after);
  const MatmulJob job{.name = "matmul",
                      .arguments = g,
                      .tile = TileNumber,
                      .splits = plan_tile(product_size(g), TileNumber).splits,
                      .partial = static_cast<float*>(g.workspace)};
  auto* const multiply = g.dtype == DType::BFloat16  ? multiply_matrices_bfloat16
                         : g.dtype == DType::Float16 ? multiply_matrices_float16
                         : g.tf32                    ? multiply_matrices_tfloat32
                                                     : multiply_matrices_float32;
  multiply(job);
  if (after != nullptr) pointwise(*after);
}

const char* never_declines(const MatmulArguments&) { return nullptr; }
size_t no_workspace(const MatmulArguments&) { return 0; }

void run_reference(const MatmulArguments& g) {
  reference::matmul(g);
  if (g.epilogue != nullptr) pointwise(*g.epilogue);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const MatmulAlgorithm matmul[] = {
    {"gemm_128x128", guarded<declines<Tile128x128>>, guarded<workspace<Tile128x128>>, guarded<run<Tile128x128>>},
    {"gemm_128x64", guarded<declines<Tile128x64>>, guarded<workspace<Tile128x64>>, guarded<run<Tile128x64>>},
    {"gemm_64x64", guarded<declines<Tile64x64>>, guarded<workspace<Tile64x64>>, guarded<run<Tile64x64>>},
    {"reference", never_declines, no_workspace, guarded<run_reference>},
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cuda
