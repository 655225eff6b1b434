#include "cuda/tile_choice.h"

#include <algorithm>
#include <limits>

#include "cuda/launch.h"

namespace pycnn::cuda {
namespace {

struct TileSize {
  int m, n;
  int resident;  ///< blocks that a multiprocessor runs at a time
  double speed;  ///< of products, relative to the largest: smaller ones bring more factors per product
};
constexpr TileSize tile_sizes[tile_count] = {
    {128, 128, 2, 1.0}, {128, 64, 4, 0.85}, {64, 64, 4, 0.65}, {128, 32, 4, 0.55}};

constexpr int64_t multiprocessors = 132;  ///< of an H100; other GPUs cut alike, so that the same bits come out
constexpr int64_t step_depth = 32;
constexpr double start_steps = 6;  ///< what a block does besides its steps: first copies, results
constexpr double alone = 0.6;      ///< the time few blocks take on a multiprocessor, as part of what a full one does
constexpr double split_element = 0.2;    ///< to write and read a partial sum, in steps of a result
constexpr double second_launch = 1.5e5;  ///< likewise
constexpr double worth_splitting = 0.9;  ///< of the cost without
constexpr int64_t least_steps = 4;       ///< of a split
constexpr int64_t most_partial_bytes = int64_t{96} << 20;
constexpr int split_counts[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512};

}  // namespace

int64_t ProductSize::rows() const {
  int64_t sum = 0;
  for (const Part& part : parts) sum += part.rows;
  return sum;
}

size_t partial_bytes(const ProductSize& size, int splits) {
  return splits == 1 ? 0 : static_cast<size_t>(splits * size.batch * size.rows() * size.columns) * sizeof(float);
}

TilePlan plan_tile(const ProductSize& size, int tile) {
  const TileSize& t = tile_sizes[tile];
  int64_t most_steps = 0, blocks = 0, block_steps = 0;
  for (const ProductSize::Part& part : size.parts) {
    const int64_t tiles = divide_up(part.rows, t.m) * divide_up(size.columns, t.n) * size.batch;
    const int64_t steps = divide_up(part.depth, step_depth);
    most_steps = std::max(most_steps, steps);
    blocks += tiles;
    block_steps += tiles * steps;
  }
  TilePlan best{1, std::numeric_limits<double>::infinity()}, whole = best;
  for (const int splits : split_counts) {
    if (splits > 1 &&
        (most_steps < splits * least_steps || partial_bytes(size, splits) > static_cast<size_t>(most_partial_bytes)))
      break;
    const double average = blocks == 0 ? 0 : static_cast<double>(block_steps) / static_cast<double>(blocks) / splits;
    // Blocks of one multiprocessor run together, but few of them do not keep it busy.
    const int64_t blocks_each = divide_up(blocks * splits, multiprocessors), last = blocks_each % t.resident;
    const double turns = static_cast<double>(blocks_each - last) +
                         (last == 0 ? 0 : std::max(static_cast<double>(last), alone * t.resident));
    const double longest = (static_cast<double>(most_steps) / splits + start_steps) * alone * t.resident;
    double cost = std::max(turns * (average + start_steps), longest) * t.m * t.n / t.speed;
    if (splits > 1)
      cost += second_launch + split_element * splits * static_cast<double>(size.batch * size.rows() * size.columns) /
                                  static_cast<double>(multiprocessors);
    if (splits == 1) whole.cost = cost;
    if (cost < best.cost) best = {splits, cost};
  }
  return best.cost < worth_splitting * whole.cost ? best : whole;
}

int best_tile(const ProductSize& size, int tiles) {
  int best = 0;
  for (int tile = 1; tile < tiles; ++tile)
    if (plan_tile(size, tile).cost < plan_tile(size, best).cost) best = tile;
  return best;
}

}  // namespace pycnn::cuda
