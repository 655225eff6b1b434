// Matrix products on the microkernel. B is packed into panels of column_tile columns; K is walked in blocks, in order.
#include "cpu/isa/matmul.h"

#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/parallel.h"
#include "cpu/reference/reference.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::MatmulArguments;

constexpr int64_t depth_block = 256;  // a packed panel of this depth stays in L1
constexpr int64_t unpacked_depth_block = 384;
constexpr int64_t cached_bytes = int64_t{1} << 24;
constexpr int64_t enough_chunks = 32;
constexpr int64_t steps_per_line = 4;            ///< steps along K to a line that is fetched with them
constexpr int64_t finished_rows = 2 * row_tile;  ///< of results that meet their epilogue in L1

struct Blocks {
  int64_t rows = 8 * row_tile;
  int64_t panels = 8;
};

/// Blocks of C that one chunk computes: as large as still gives work to many cores. By shape alone.
Blocks blocks_of(const MatmulArguments& g, int64_t panels) {
  Blocks b;
  const auto chunks = [&] {
    return g.batch[0] * g.batch[1] * ceil_divide(g.m, b.rows) * ceil_divide(panels, b.panels);
  };
  while (b.panels > 1 && chunks() < enough_chunks) b.panels /= 2;
  while (b.rows > 2 * row_tile && chunks() < enough_chunks) b.rows /= 2;
  return b;
}

template <typename T>
bool copies_a(const MatmulArguments& g) {
  return columns_far_apart<T>(g) || (rows_collide<T>(g) && g.a_column != 1);
}

template <typename T>
void multiply(const MatmulArguments& g, bool packed) {
  if (g.batch[0] * g.batch[1] * g.m * g.n == 0) return;
  const PackedB<T> layout(g);
  const int64_t width = layout.width, panels = layout.panels;
  T* const workspace = static_cast<T*>(g.workspace);
  const T* const all_packed = g.packed ? static_cast<const T*>(g.packed) : workspace;
  if (packed && !g.packed) layout.pack(g, workspace);
  const bool copied = packed && copies_a<T>(g);
  T* const copy = workspace + (packed ? layout.elements() : 0);
  if (copied) copy_rows(g, copy);
  const int64_t a_row = copied ? copied_row<T>(g) : g.a_row, a_column = copied ? 1 : g.a_column;
  const int64_t most_at_once = packed && !copied && rows_collide<T>(g) ? colliding_rows : finished_rows;
  const Blocks blocks = blocks_of(g, panels);
  const int64_t row_blocks = ceil_divide(g.m, blocks.rows), column_blocks = ceil_divide(panels, blocks.panels);
  const int64_t columns = blocks.panels * width, line = Fetch::line_bytes / static_cast<int64_t>(sizeof(T));
  const RowEpilogue row_epilogue(g.epilogue, g.c, true);
  const Epilogue epilogue(row_epilogue.rest(g.epilogue), min_of(columns, g.n), g.n - (column_blocks - 1) * columns);
  const bool streams = packed && g.k <= depth_block && g.batch[0] * g.batch[1] == 1 &&
                       row_epilogue.streams(g.epilogue, static_cast<const T*>(g.c), g.c_row, g.m);
  const bool finishes = !streams && row_epilogue.finishes();
  // Neighbouring chunks, which are one thread's, share the larger operand.
  const bool along_rows = g.n > g.m;
  parallel_for(g.batch[0] * g.batch[1] * row_blocks * column_blocks, [&](int64_t chunk) {
    const int64_t block = chunk % (row_blocks * column_blocks);
    const int64_t row_block = along_rows ? block % row_blocks : block / column_blocks;
    const int64_t column_block = along_rows ? block / row_blocks : block % column_blocks;
    const int64_t product = chunk / column_blocks / row_blocks;
    const int64_t first = product / g.batch[1], second = product % g.batch[1];
    const int64_t row = row_block * blocks.rows, rows = min_of(g.m - row, blocks.rows);
    const int64_t panel_begin = column_block * blocks.panels, panel_end = min_of(panels, panel_begin + blocks.panels);
    const T* a = copied ? copy + (product * g.m + row) * a_row
                        : static_cast<const T*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1] + row * a_row;
    const T* b = static_cast<const T*>(g.b) + first * g.b_batch[0] + second * g.b_batch[1];
    const T* b_packed = all_packed + layout.offset(first, second);
    T* c = static_cast<T*>(g.c) + first * g.c_batch[0] + second * g.c_batch[1] + row * g.c_row;
    const int64_t column_end = min_of(g.n, panel_end * width), depth = packed ? depth_block : unpacked_depth_block;
    const int64_t parts = ceil_divide(rows, most_at_once);
    int64_t k = 0;
    do {
      const bool last = k + depth >= g.k;
      // What is left of this block; where no other chunk reads it, the next one: further on in K or the next chunk's.
      const bool shared = column_blocks > 1;
      const int64_t ahead_k = shared ? k : last ? 0 : k + depth;
      const int64_t ahead_row = shared ? rows / parts : last ? rows : 0;
      const int64_t ahead_end = shared || !last ? rows : min_of(g.m - row, 2 * rows);
      // Other matrices that the epilogue reads are fetched one part ahead, while the products of all panels run.
      const bool by_rows = last && row_epilogue.reads_matrices();
      const int64_t block_panels = panel_end - panel_begin, products = block_panels * parts;
      const int64_t ahead_rows = ahead_end - ahead_row, ahead_depth = min_of(g.k - ahead_k, depth);
      const T* const ahead = a + ahead_row * a_row + ahead_k * a_column;
      Fetch fetch[2];
      if (a_column == 1) fetch[0] = Fetch(ahead, ahead_rows, ahead_depth, a_row);
      if (a_column != 1 && a_row == 1) fetch[0] = Fetch(ahead, ahead_depth, ahead_rows, a_column);
      const int64_t matrix_begin = product * g.m + row + rows / parts;
      const int64_t matrix_end = min_of(matrix_begin + rows, g.batch[0] * g.batch[1] * g.m);
      int matrix = 0;
      // Where memory may be what the time goes to, lines come with the steps of the products; elsewhere before them.
      const int64_t lines =
          fetch[0].left + (by_rows ? ceil_divide(rows * (column_end - panel_begin * width), line) : 0);
      const int64_t steps = ceil_divide(rows, row_tile) * block_panels * min_of(g.k - k, depth);
      const bool along = steps_per_line * lines > steps;
      for (int64_t i = 0; i < products; ++i) {
        const int64_t part = by_rows ? i / block_panels : i % parts;
        const int64_t panel = panel_begin + (by_rows ? i % block_panels : i / parts);
        const int64_t begin = rows * part / parts, end = rows * (part + 1) / parts;
        const int64_t column = panel * width, last_column = min_of(column_end, column + width);
        const int64_t first_column = by_rows ? panel_begin * width : column;
        if (along) {
          if (last && fetch[1].left == 0)
            fetch[1] = row_epilogue.fetch(matrix++, matrix_begin, matrix_end, panel_begin * width, column_end);
        } else {
          for (int64_t share = fetch[0].left / (products - i); share > 0; --share) fetch[0].next();
          if (last) row_epilogue.prefetch(product * g.m + row + begin, product * g.m + row + end, column, last_column);
        }
        T* const finished = streams ? static_cast<T*>(thread_scratch()) : c + begin * g.c_row + first_column;
        const int64_t finished_row = streams ? (by_rows ? columns : width) : g.c_row;
        const Product<T> factors{a + begin * a_row + k * a_column,
                                 packed ? b_packed + (panel * g.k + k) * width : b + k * g.b_row + column};
        brgemm(BatchReduce<T>{.products = &factors,
                              .count = 1,
                              .m = end - begin,
                              .n = last_column - column,
                              .k = min_of(g.k - k, depth),
                              .a_row = a_row,
                              .a_column = a_column,
                              .b_row = packed ? width : g.b_row,
                              .c = finished + column - first_column,
                              .c_row = finished_row,
                              .accumulate = k > 0,
                              .b_ahead = packed && begin == 0 ? depth * width : 0,
                              .finish = row_epilogue.finish(last && finishes, product * g.m + row + begin, column),
                              .fetch = along ? fetch : nullptr});
        if (!last || finishes || (by_rows && panel + 1 < panel_end)) continue;
        if (streams)
          row_epilogue.stream(finished, finished_row, static_cast<T*>(g.c), g.c_row, row + begin, row + end,
                              first_column, last_column);
        else
          row_epilogue.run(product * g.m + row + begin, product * g.m + row + end, first_column, last_column);
      }
      k += depth;
    } while (k < g.k);
    EpilogueColumns(epilogue, panel_begin * width, column_end - panel_begin * width)
        .run(product * g.m + row, product * g.m + row + rows);
    if (streams) stream_fence();
  });
}

const char* integers_decline(const MatmulArguments& g) {
  return g.dtype == DType::Float32 || g.dtype == DType::Float64 ? nullptr : "the microkernel multiplies floats only";
}

const char* unpacked_declines(const MatmulArguments& g) {
  if (const char* reason = integers_decline(g)) return reason;
  if (g.b_column != 1) return "the columns of b are not adjacent";
  if (g.m > 2 * row_tile) return "with so many rows packing b pays";
  if (g.k * g.n * static_cast<int64_t>(size_of(g.dtype)) > cached_bytes) return "b does not stay in a cache";
  return nullptr;
}

size_t no_workspace(const MatmulArguments&) { return 0; }

template <typename T>
size_t copied_bytes(const MatmulArguments& g) {
  return copies_a<T>(g) ? static_cast<size_t>(copied_elements<T>(g)) * sizeof(T) : 0;
}

size_t packed_workspace(const MatmulArguments& g) {
  return packed_b_bytes(g) + (g.dtype == DType::Float32 ? copied_bytes<float>(g) : copied_bytes<double>(g));
}

template <bool Packed>
void run(const MatmulArguments& g) {
  g.dtype == DType::Float32 ? multiply<float>(g, Packed) : multiply<double>(g, Packed);
}

const char* never_declines(const MatmulArguments&) { return nullptr; }

void run_reference(const MatmulArguments& g) {
  reference::matmul(g);
  if (g.epilogue) pointwise(*g.epilogue);
}

}  // namespace

template <typename T>
void copy_rows(const MatmulArguments& g, T* to) {
  constexpr int64_t rows = 4 * lanes<T>;
  const int64_t blocks = ceil_divide(g.m, rows);
  parallel_for(g.batch[0] * g.batch[1] * blocks, [&](int64_t chunk) {
    const int64_t row = chunk % blocks * rows, product = chunk / blocks;
    const int64_t first = product / g.batch[1], second = product % g.batch[1];
    const T* from = static_cast<const T*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1] + row * g.a_row;
    pack_panel(from, g.a_row, g.a_column, min_of(rows, g.m - row), g.k, copied_row<T>(g),
               to + (product * g.m + row) * copied_row<T>(g));
  });
}
template void copy_rows(const MatmulArguments& g, float* to);
template void copy_rows(const MatmulArguments& g, double* to);

template <typename T>
void PackedB<T>::pack(const MatmulArguments& g, T* to) const {
  parallel_for(first * second * panels, [&](int64_t chunk) {
    const int64_t panel = chunk % panels, j = chunk / panels % second, i = chunk / panels / second;
    const T* b = static_cast<const T*>(g.b) + i * g.b_batch[0] + j * g.b_batch[1] + panel * width * g.b_column;
    pack_panel(b, g.b_row, g.b_column, g.k, min_of(g.n - panel * width, width), width, to + chunk * panel_elements);
  });
}

size_t packed_b_bytes(const MatmulArguments& g) {
  return g.dtype == DType::Float32 ? static_cast<size_t>(PackedB<float>(g).elements()) * sizeof(float)
                                   : static_cast<size_t>(PackedB<double>(g).elements()) * sizeof(double);
}

void pack_b(const MatmulArguments& g, void* to) {
  g.dtype == DType::Float32 ? PackedB<float>(g).pack(g, static_cast<float*>(to))
                            : PackedB<double>(g).pack(g, static_cast<double*>(to));
}

const kernels::MatmulAlgorithm matmul[] = {
    {"dot", dot_declines, no_workspace, dot_matmul},
    {"unpacked_brgemm", unpacked_declines, no_workspace, run<false>},
    {"blocked_brgemm", blocked_declines, blocked_workspace, blocked_matmul, blocked_packed_bytes, pack_b},
    {"packed_brgemm", integers_decline, packed_workspace, run<true>, packed_b_bytes, pack_b},
    {"bfloat16_brgemm", bfloat16_matmul_declines, bfloat16_matmul_workspace, bfloat16_matmul,
     bfloat16_matmul_packed_bytes, bfloat16_matmul_pack},
    {"widened", widened_matmul_declines, widened_matmul_workspace, widened_matmul},
    {"reference", never_declines, no_workspace, run_reference},
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cpu::PYCNN_ISA
