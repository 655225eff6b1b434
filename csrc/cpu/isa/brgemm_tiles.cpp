#include "cpu/isa/brgemm_tiles.h"

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"

namespace pycnn::cpu::PYCNN_ISA::tiles {
namespace {

constexpr int64_t most_depth = 2 * tile_columns;

// Numbers of the tiles: two by two of sums, two of rows of A, two of columns of B.
constexpr int sum_tile(int row, int column) { return 2 * row + column; }
constexpr int row_tile_number(int row) { return 4 + row; }
constexpr int column_tile_number(int column) { return 6 + column; }

/// K in equal steps, as few as there can be or a few more if then none of them has to be padded.
struct Steps {
  explicit Steps(int64_t k) : count(max_of(1, ceil_divide(k, most_depth))) {
    for (int64_t steps = count; steps <= count + count / 4; ++steps)
      if (k > 0 && k % (2 * steps) == 0) {
        count = steps;
        break;
      }
    depth = max_of(2, ceil_divide(k, 2 * count) * 2);
  }
  int64_t count, depth;
};

#if defined(__AVX512F__)
/// The instructions, as assembly: tile registers have no type, and their numbers must be literals.
struct Instructions {
  static void configure(const Configuration& c) {
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } memory;
    for (int row = 0; row < 2; ++row) {
      memory.rows[row_tile_number(row)] = static_cast<uint8_t>(c.rows);
      memory.row_bytes[row_tile_number(row)] = static_cast<uint16_t>(2 * c.depth);
      for (int column = 0; column < 2; ++column) {
        memory.rows[sum_tile(row, column)] = static_cast<uint8_t>(c.rows);
        memory.row_bytes[sum_tile(row, column)] = static_cast<uint16_t>(4 * max_of(1, c.columns[column]));
      }
    }
    for (int column = 0; column < 2; ++column) {
      memory.rows[column_tile_number(column)] = static_cast<uint8_t>(c.depth / 2);
      memory.row_bytes[column_tile_number(column)] = static_cast<uint16_t>(4 * max_of(1, c.columns[column]));
    }
    // All of memory is written before, and nothing is moved across.
    __asm__ volatile("ldtilecfg %0" : : "m"(memory) : "memory");
  }
  static void release() { __asm__ volatile("tilerelease" : : : "memory"); }
  template <int Tile>
  PYCNN_INLINE void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  template <int Tile>
  PYCNN_INLINE void load(const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  PYCNN_INLINE void store(void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Sums, int Rows, int Columns>
  PYCNN_INLINE void multiply() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(Rows), "i"(Columns));
  }
};
#endif

/// The same on memory. Touches exactly the bytes that the instructions touch.
struct Emulation {
  EmulatedTiles& tiles;

  struct Size {
    int64_t rows, elements;  ///< of four bytes
  };
  Size size_of(int tile) const {
    const Configuration& c = tiles.configuration;
    if (tile >= column_tile_number(0)) return {c.depth / 2, c.columns[tile - column_tile_number(0)]};
    if (tile >= row_tile_number(0)) return {c.rows, c.depth / 2};
    return {c.rows, c.columns[tile % 2]};
  }
  void configure(const Configuration& c) const {
    tiles.configuration = c;
    __builtin_memset(tiles.tile, 0, sizeof tiles.tile);
  }
  template <int Tile>
  void zero() const {
    __builtin_memset(tiles.tile[Tile], 0, sizeof tiles.tile[Tile]);
  }
  template <int Tile>
  void load(const void* from, int64_t stride) const {
    const Size size = size_of(Tile);
    zero<Tile>();
    for (int64_t row = 0; row < size.rows; ++row)
      __builtin_memcpy(tiles.tile[Tile][row], static_cast<const char*>(from) + row * stride,
                       static_cast<size_t>(4 * size.elements));
  }
  template <int Tile>
  void store(void* to, int64_t stride) const {
    const Size size = size_of(Tile);
    for (int64_t row = 0; row < size.rows; ++row)
      __builtin_memcpy(static_cast<char*>(to) + row * stride, tiles.tile[Tile][row],
                       static_cast<size_t>(4 * size.elements));
  }
  template <int Sums, int Rows, int Columns>
  void multiply() const {
    const Configuration& c = tiles.configuration;
    for (int64_t i = 0; i < c.rows; ++i)
      for (int64_t j = 0; j < size_of(Sums).elements; ++j) {
        float sum = __builtin_bit_cast(float, tiles.tile[Sums][i][j]);
        for (int64_t k = 0; k < c.depth / 2; ++k) {
          const uint32_t a = tiles.tile[Rows][i][k], b = tiles.tile[Columns][k][j];
          sum += __builtin_bit_cast(float, a << 16) * __builtin_bit_cast(float, b << 16);
          sum += __builtin_bit_cast(float, a & 0xffff0000u) * __builtin_bit_cast(float, b & 0xffff0000u);
        }
        tiles.tile[Sums][i][j] = __builtin_bit_cast(uint32_t, sum);
      }
  }
};

}  // namespace

int64_t panel_width(int64_t n) { return n <= tile_columns ? tile_columns : 2 * tile_columns; }

int64_t panel_depth(int64_t k) {
  const Steps steps(k);
  return steps.count * steps.depth;
}

/// Rows `row` … and `next_row` …; the first `skip` rows of the last tile were computed before.
template <typename Operations, int RowTiles, int ColumnTiles>
void Gemm::block(const Operations& operations, const BFloatBatchReduce& g, int64_t row, int64_t next_row,
                 int64_t skip) {
  const Steps steps(g.k);
  const int64_t rows = configuration_.rows;
  operations.template zero<sum_tile(0, 0)>();
  if constexpr (ColumnTiles > 1) operations.template zero<sum_tile(0, 1)>();
  if constexpr (RowTiles > 1) operations.template zero<sum_tile(1, 0)>();
  if constexpr (RowTiles > 1 && ColumnTiles > 1) operations.template zero<sum_tile(1, 1)>();
  // What lies behind a row of A is not ours, and might not be a number: the end of a row is copied and padded.
  const int64_t direct = g.k == steps.count * steps.depth ? steps.count : steps.count - 1;
  const int64_t a_bytes = 2 * g.a_row, b_bytes = 4 * g.width;
  for (int64_t i = 0; i < g.count; ++i) {
    const BFloat16* a = g.products[i].a;
    const BFloat16* b = g.products[i].b;
    for (int64_t step = 0; step < steps.count; ++step, b += steps.depth * g.width) {
      operations.template load<column_tile_number(0)>(b, b_bytes);
      if constexpr (ColumnTiles > 1) operations.template load<column_tile_number(1)>(b + 2 * tile_columns, b_bytes);
      const int64_t k = step * steps.depth;
      const BFloat16* from[2] = {a + row * g.a_row + k, a + next_row * g.a_row + k};
      int64_t from_bytes = a_bytes;
      if (step >= direct) {
        from_bytes = sizeof padded_[0][0];
        for (int r = 0; r < RowTiles; ++r) {
          for (int64_t y = 0; y < rows; ++y)
            for (int64_t x = 0; x < steps.depth; ++x)
              padded_[r][y][x] = k + x < g.k ? from[r][y * g.a_row + x] : BFloat16{0};
          from[r] = padded_[r][0];
        }
      }
      operations.template load<row_tile_number(0)>(from[0], from_bytes);
      operations.template multiply<sum_tile(0, 0), row_tile_number(0), column_tile_number(0)>();
      if constexpr (ColumnTiles > 1)
        operations.template multiply<sum_tile(0, 1), row_tile_number(0), column_tile_number(1)>();
      if constexpr (RowTiles > 1) {
        operations.template load<row_tile_number(1)>(from[1], from_bytes);
        operations.template multiply<sum_tile(1, 0), row_tile_number(1), column_tile_number(0)>();
        if constexpr (ColumnTiles > 1)
          operations.template multiply<sum_tile(1, 1), row_tile_number(1), column_tile_number(1)>();
      }
    }
  }
  // Sums go straight to c if nothing is left to do with them.
  const bool plain = !g.accumulate && !g.rounded && skip == 0;
  float* to = plain ? g.c + row * g.c_row : sums_[0];
  float* next = plain ? g.c + next_row * g.c_row : sums_[tile_rows];
  const int64_t to_bytes = plain ? 4 * g.c_row : static_cast<int64_t>(sizeof sums_[0]);
  operations.template store<sum_tile(0, 0)>(to, to_bytes);
  if constexpr (ColumnTiles > 1) operations.template store<sum_tile(0, 1)>(to + tile_columns, to_bytes);
  if constexpr (RowTiles > 1) operations.template store<sum_tile(1, 0)>(next, to_bytes);
  if constexpr (RowTiles > 1 && ColumnTiles > 1)
    operations.template store<sum_tile(1, 1)>(next + tile_columns, to_bytes);
  if (plain) return;
  finish(g, sums_[0], row, rows, RowTiles > 1 ? 0 : skip);
  if constexpr (RowTiles > 1) finish(g, sums_[tile_rows], next_row, rows, skip);
}

/// Adds what c held and rounds, if that was asked for.
void Gemm::finish(const BFloatBatchReduce& g, const float* sums, int64_t row, int64_t rows, int64_t skip) const {
  constexpr int64_t sums_row = 2 * tile_columns;
  for (int64_t i = skip; i < rows; ++i) {
    float* from = const_cast<float*>(sums) + i * sums_row;
    float* c = g.c + (row + i) * g.c_row;
    float* to = g.rounded ? from : c;
    for (int64_t j = 0; j < g.n; j += lanes<float>) {
      const Mask<float> mask(static_cast<int>(min_of(g.n - j, lanes<float>)));
      Vector<float> sum = pycnn::cpu::PYCNN_ISA::load(from + j);
      if (g.accumulate) sum += pycnn::cpu::PYCNN_ISA::load(c + j, mask);
      pycnn::cpu::PYCNN_ISA::store(to + j, sum, mask);
    }
  }
  if (g.rounded)
    round_to_bfloat(sums + skip * sums_row, sums_row, rows - skip, g.n, g.rounded + (row + skip) * g.rounded_row,
                    g.rounded_row);
}

template <typename Operations>
void Gemm::run(const Operations& operations, const BFloatBatchReduce& g) {
  if (g.m == 0 || g.n == 0) return;
  // Rows in equal tiles: the last one begins early and computes some rows again.
  const int64_t row_tiles = ceil_divide(g.m, tile_rows);
  const Configuration wanted{
      ceil_divide(g.m, row_tiles), Steps(g.k).depth, {min_of(g.n, tile_columns), max_of(0, g.n - tile_columns)}};
  if (!(wanted == configuration_)) operations.configure(configuration_ = wanted);
  const int64_t rows = configuration_.rows;
  const bool wide = g.n > tile_columns;
  for (int64_t t = 0; t < row_tiles; t += 2) {
    const bool two = t + 1 < row_tiles;
    const int64_t last = min_of((t + 1) * rows, g.m - rows);
    const int64_t row = two ? t * rows : min_of(t * rows, g.m - rows);
    const int64_t skip = two ? (t + 1) * rows - last : t * rows - row;
    if (two)
      wide ? block<Operations, 2, 2>(operations, g, row, last, skip)
           : block<Operations, 2, 1>(operations, g, row, last, skip);
    else
      wide ? block<Operations, 1, 2>(operations, g, row, row, skip)
           : block<Operations, 1, 1>(operations, g, row, row, skip);
  }
}

void Gemm::run(BFloat16Products products, const BFloatBatchReduce& g) {
#if defined(__AVX512F__)
  if (products == BFloat16Products::Tiles) {
    hardware_ = true;
    return run(Instructions{}, g);
  }
#endif
  static_cast<void>(products);
  run(Emulation{emulated_}, g);
}

void Gemm::release() {
#if defined(__AVX512F__)
  if (hardware_) Instructions::release();
#endif
  hardware_ = false;
  configuration_ = {};
}

}  // namespace pycnn::cpu::PYCNN_ISA::tiles
