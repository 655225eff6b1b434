// Matrix products whose operands are packed block by block in the memory of the thread that uses them: nothing is
// written for others and every element is read about once. K may be cut into splits, whose sums are added in order.
#include "cpu/isa/epilogue.h"
#include "cpu/isa/matmul.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::MatmulArguments;

constexpr int64_t depth_block = 256;  // a packed panel of this depth stays in L1
constexpr int64_t most_rows = 140;    // of a block
constexpr int64_t most_panels = 8;
constexpr int64_t tiles_first_depth = 64;  // so short products are mostly stores, better row by row
constexpr int64_t split_depth = 1024;
constexpr int64_t enough_chunks = 32;
constexpr int64_t chunk_flops = int64_t{1} << 20;
constexpr int64_t most_partial_elements = int64_t{1} << 22;
constexpr int64_t combined_elements = int64_t{1} << 13;

constexpr int64_t far_apart = 1024;  // bytes from row to row: nearer ones are read fast as they lie

template <typename T>
struct Cut {
  explicit Cut(const MatmulArguments& g) : width(panel_width<T>(g.n)) {
    const int64_t products = g.batch[0] * g.batch[1], all = ceil_divide(g.n, width);
    set_rows(g, ceil_divide(g.m, most_rows));
    set_panels(all, ceil_divide(all, most_panels));
    splits = 1;
    const auto chunks = [&] { return max_of(1, products * row_blocks * panel_blocks * splits); };
    if (g.k >= 2 * split_depth) {
      splits = min_of(ceil_divide(enough_chunks, chunks()), g.k / split_depth);
      splits = max_of(1, min_of(splits, most_partial_elements / max_of(1, products * g.m * g.n)));
    }
    const auto flops = [&] { return 2 * rows * panels * width * (g.k / splits); };
    while (chunks() < enough_chunks && flops() >= 2 * chunk_flops && (panels > 1 || rows > 2 * row_tile)) {
      if (panels > 1 && (panels * width >= rows || rows <= 2 * row_tile))
        set_panels(all, panel_blocks * 2);
      else
        set_rows(g, row_blocks * 2);
    }
  }

  int64_t width;
  int64_t rows, row_blocks;
  int64_t panels, panel_blocks;
  int64_t splits;

 private:
  void set_rows(const MatmulArguments& g, int64_t blocks) {
    rows = max_of(1, ceil_divide(g.m, max_of(1, blocks)));
    row_blocks = ceil_divide(g.m, rows);
  }
  void set_panels(int64_t all, int64_t blocks) {
    panels = max_of(1, ceil_divide(all, max_of(1, blocks)));
    panel_blocks = ceil_divide(all, panels);
  }
};

template <typename T>
bool far(int64_t stride) {
  return stride * static_cast<int64_t>(sizeof(T)) >= far_apart;
}

template <typename T>
bool packs_b(const MatmulArguments& g) {
  return g.b_column != 1 || far<T>(g.b_row);
}

/// Whether rows that collide are copied once for the chunks that share them.
template <typename T>
bool copies_a(const MatmulArguments& g, const Cut<T>& cut) {
  return rows_collide<T>(g) && g.a_column == 1 && cut.panel_blocks > 1;
}

template <typename T>
size_t partial_elements(const MatmulArguments& g, const Cut<T>& cut) {
  return cut.splits == 1 ? 0 : static_cast<size_t>(cut.splits * g.batch[0] * g.batch[1] * g.m * g.n);
}

template <typename T>
class Blocked {
 public:
  explicit Blocked(const MatmulArguments& g) : g_(g) {}

  void run() const {
    const int64_t products = g_.batch[0] * g_.batch[1];
    if (products * g_.m * g_.n == 0) return;
    const int64_t columns = cut_.panels * cut_.width;
    const bool whole = cut_.splits == 1;
    const Epilogue epilogue(whole ? row_epilogue_.rest(g_.epilogue) : nullptr, min_of(columns, g_.n),
                            g_.n - (cut_.panel_blocks - 1) * columns);
    if (copy_a_) copy_rows(g_, copy_of_a());
    parallel_for(cut_.splits * products * cut_.row_blocks * cut_.panel_blocks, [&](int64_t i) {
      Chunk c{};
      c.column = i % cut_.panel_blocks * columns, i /= cut_.panel_blocks;
      c.row = i % cut_.row_blocks * cut_.rows, i /= cut_.row_blocks;
      c.product = i % products, i /= products;
      c.k = g_.k * i / cut_.splits;
      c.k_end = g_.k * (i + 1) / cut_.splits;
      c.rows = min_of(g_.m - c.row, cut_.rows);
      c.columns = min_of(g_.n - c.column, columns);
      c.c_row = whole ? g_.c_row : g_.n;
      c.c = whole ? c_of(c.product) : static_cast<T*>(g_.workspace) + (i * products + c.product) * g_.m * g_.n;
      c.c += c.row * c.c_row + c.column;
      multiply(c);
      if (whole)
        EpilogueColumns(epilogue, c.column, c.columns).run(c.product * g_.m + c.row, c.product * g_.m + c.row + c.rows);
    });
    if (!whole) combine();
  }

 private:
  struct Chunk {
    int64_t product, row, rows, column, columns, k, k_end;
    T* c;  ///< of its first element
    int64_t c_row;
  };

  /// Behind the partial sums.
  T* copy_of_a() const { return static_cast<T*>(g_.workspace) + partial_elements(g_, cut_); }

  T* c_of(int64_t product) const {
    return static_cast<T*>(g_.c) + product / g_.batch[1] * g_.c_batch[0] + product % g_.batch[1] * g_.c_batch[1];
  }

  void multiply(const Chunk& c) const {
    const int64_t first = c.product / g_.batch[1], second = c.product % g_.batch[1];
    const int64_t a_row = copy_a_ ? copied_row<T>(g_) : g_.a_row;
    const T* a = (copy_a_ ? copy_of_a() + c.product * g_.m * a_row
                          : static_cast<const T*>(g_.a) + first * g_.a_batch[0] + second * g_.a_batch[1]) +
                 c.row * a_row;
    const T* b = static_cast<const T*>(g_.b) + first * g_.b_batch[0] + second * g_.b_batch[1] + c.column * g_.b_column;
    const int64_t panels = ceil_divide(c.columns, cut_.width), tiles = ceil_divide(c.rows, row_tile);
    const T* const packed = g_.packed ? static_cast<const T*>(g_.packed) + layout_.offset(first, second) +
                                            c.column / cut_.width * layout_.panel_elements
                                      : nullptr;
    T* const packed_b = static_cast<T*>(thread_scratch());
    T* const packed_a = packed_b + panels * cut_.width * depth_block;
    int64_t k = c.k;
    do {
      const int64_t depth = min_of(c.k_end - k, depth_block), panel_elements = depth * cut_.width;
      if (pack_a_) pack_a(a + k * g_.a_column, c.rows, depth, packed_a);
      // Rows of B that lie as they are taken are read in one go, columns panel by panel as they are needed.
      const bool tiles_first = depth <= tiles_first_depth;
      const bool at_once = tiles_first || g_.b_column == 1;
      if (pack_b_ && at_once && !g_.packed) {
        if (g_.b_column == 1)
          pack_rows_of_b(b + k * g_.b_row, c, depth, packed_b);
        else
          for (int64_t panel = 0; panel < panels; ++panel)
            pack_panel_of_b(b + k * g_.b_row, c, panel, depth, packed_b + panel * panel_elements);
      }
      const auto product = [&](int64_t panel, int64_t tile, int64_t tile_end) {
        const int64_t row = c.rows * tile / tiles, column = panel * cut_.width;
        const T* right = packed    ? packed + panel * layout_.panel_elements + k * cut_.width
                         : pack_b_ ? packed_b + (at_once ? panel * panel_elements : 0)
                                   : b + k * g_.b_row + column;
        const Product<T> factors{pack_a_ ? packed_a + tile * tile_pitch<T> * depth : a + row * a_row + k * g_.a_column,
                                 right};
        const bool finishes = cut_.splits == 1 && k + depth == g_.k;
        const int64_t row_begin = c.product * g_.m + c.row + row;
        const int64_t row_end = c.product * g_.m + c.row + c.rows * tile_end / tiles;
        const int64_t first_column = c.column + column;
        const int64_t last_column = c.column + min_of(c.columns, column + cut_.width);
        if (finishes) row_epilogue_.prefetch(row_begin, row_end, first_column, last_column);
        brgemm(BatchReduce<T>{.products = &factors,
                              .count = 1,
                              .m = c.rows * tile_end / tiles - row,
                              .n = min_of(c.columns - column, cut_.width),
                              .k = depth,
                              .a_row = pack_a_ ? 1 : a_row,
                              .a_column = pack_a_ ? tile_pitch<T> : g_.a_column,
                              .b_row = pack_b_ ? cut_.width : g_.b_row,
                              .c = c.c + row * c.c_row + column,
                              .c_row = c.c_row,
                              .accumulate = k > c.k,
                              .b_ahead = packed && tile == 0 ? ahead_of(panel, panels, k, depth, c.k_end) : 0,
                              .finish = row_epilogue_.finish(finishes && in_registers_, row_begin, first_column)});
        if (finishes && !in_registers_) row_epilogue_.run(row_begin, row_end, first_column, last_column);
      };
      if (tiles_first) {
        for (int64_t tile = 0; tile < tiles; ++tile)
          for (int64_t panel = 0; panel < panels; ++panel) product(panel, tile, tile + 1);
      } else {
        for (int64_t panel = 0; panel < panels; ++panel) {
          if (!at_once && !g_.packed) pack_panel_of_b(b + k * g_.b_row, c, panel, depth, packed_b);
          for (int64_t tile = 0; tile < tiles; tile += pack_a_ ? 1 : tiles)
            product(panel, tile, pack_a_ ? tile + 1 : tiles);
        }
      }
      k += depth_block;
    } while (k < c.k_end);
  }

  /// From a packed panel of B to what is read after it: the next panel, the first one further on in K, or the next
  /// chunk's.
  int64_t ahead_of(int64_t panel, int64_t panels, int64_t k, int64_t depth, int64_t k_end) const {
    if (panel + 1 < panels) return layout_.panel_elements;
    return k + depth < k_end ? depth * cut_.width - panel * layout_.panel_elements
                             : layout_.panel_elements - k * cut_.width;
  }

  void pack_a(const T* a, int64_t rows, int64_t depth, T* to) const {
    const int64_t tiles = ceil_divide(rows, row_tile), tile_elements = tile_pitch<T> * depth;
    if (g_.a_row == 1)
      return TilePacker<T, most_rows>(rows, tile_elements).run(a, g_.a_column, depth, to, rows_ahead * g_.a_column);
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = rows * tile / tiles, height = rows * (tile + 1) / tiles - row;
      pack_panel(a + row * g_.a_row, g_.a_column, g_.a_row, depth, height, tile_pitch<T>, to + tile * tile_elements);
    }
  }

  void pack_panel_of_b(const T* b, const Chunk& c, int64_t panel, int64_t depth, T* to) const {
    const int64_t column = panel * cut_.width;
    pack_panel(b + column * g_.b_column, g_.b_row, g_.b_column, depth, min_of(c.columns - column, cut_.width),
               cut_.width, to);
  }

  /// All panels, row by row as they lie in memory.
  void pack_rows_of_b(const T* b, const Chunk& c, int64_t depth, T* to) const {
    const int64_t panels = ceil_divide(c.columns, cut_.width), ahead = rows_ahead * g_.b_row;
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t panel = 0; panel < panels; ++panel)
        pack_rows(b + k * g_.b_row + panel * cut_.width, 0, 1, c.columns - panel * cut_.width, cut_.width,
                  to + (panel * depth + k) * cut_.width, ahead);
  }

  void combine() const {
    const int64_t all_rows = g_.batch[0] * g_.batch[1] * g_.m, rows = max_of(1, combined_elements / g_.n);
    const T* partial = static_cast<const T*>(g_.workspace);
    const Epilogue epilogue(row_epilogue_.rest(g_.epilogue), g_.n, g_.n);
    parallel_for(ceil_divide(all_rows, rows), [&](int64_t chunk) {
      const int64_t end = min_of(all_rows, (chunk + 1) * rows);
      for (int64_t row = chunk * rows; row < end; ++row) {
        T* c = c_of(row / g_.m) + row % g_.m * g_.c_row;
        const T* from = partial + row * g_.n;
        for (int64_t j = 0; j < g_.n; ++j) c[j] = from[j];
        for (int64_t split = 1; split < cut_.splits; ++split) {
          from += all_rows * g_.n;
          for (int64_t j = 0; j < g_.n; ++j) c[j] += from[j];
        }
      }
      row_epilogue_.run(chunk * rows, end, 0, g_.n);
      EpilogueColumns(epilogue, 0, g_.n).run(chunk * rows, end);
    });
  }

  const MatmulArguments& g_;
  Cut<T> cut_{g_};
  bool copy_a_ = copies_a(g_, cut_);
  bool pack_a_ = !copy_a_ && (far<T>(g_.a_column) || rows_collide<T>(g_));
  bool pack_b_ = packs_b<T>(g_);
  PackedB<T> layout_{g_};
  RowEpilogue row_epilogue_{g_.epilogue, g_.c};
  bool in_registers_ = row_epilogue_.finishes();
};

template <typename T>
size_t workspace(const MatmulArguments& g) {
  const Cut<T> cut(g);
  return (partial_elements(g, cut) + (copies_a(g, cut) ? static_cast<size_t>(copied_elements<T>(g)) : 0)) * sizeof(T);
}

/// Whether both operands of a block, packed, fit into a thread's memory.
template <typename T>
constexpr bool fits_scratch() {
  const int64_t rows = (most_rows + row_tile - 1) / row_tile * tile_pitch<T>;
  const int64_t elements = depth_block * (rows + most_panels * column_tile<T>);
  return static_cast<size_t>(elements) * sizeof(T) <= scratch_bytes;
}
static_assert(fits_scratch<float>() && fits_scratch<double>());

}  // namespace

const char* blocked_declines(const MatmulArguments& g) {
  if (g.dtype != DType::Float32 && g.dtype != DType::Float64) return "the microkernel multiplies floats only";
  if (g.m > most_rows && (g.a_column == 1 || g.k > tiles_first_depth))
    return "with so many rows b is packed once for all";
  return nullptr;
}

size_t blocked_workspace(const MatmulArguments& g) {
  return g.dtype == DType::Float32 ? workspace<float>(g) : workspace<double>(g);
}

size_t blocked_packed_bytes(const MatmulArguments& g) {
  const bool packs = g.dtype == DType::Float32 ? packs_b<float>(g) : packs_b<double>(g);
  return packs ? packed_b_bytes(g) : 0;
}

void blocked_matmul(const MatmulArguments& g) {
  g.dtype == DType::Float32 ? Blocked<float>(g).run() : Blocked<double>(g).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
