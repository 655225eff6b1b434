// Matrix products of bfloat16: B is packed into panels of pairs, A read as it lies or copied to rows, the sums of a
// panel wait in scratch memory until K is through and are rounded once. And the way for processors that multiply
// float32 faster: operands are widened, the float32 algorithm runs, its result is rounded.
#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/matmul.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/widened.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::MatmulArguments;

constexpr int64_t depth_block = 512;  // a panel of this depth stays in L1
constexpr int64_t few_rows = 32;      // of a product whose chunks pack B by themselves
constexpr int64_t most_panels = 8;
constexpr int64_t enough_chunks = 32;

/// Rows that meet the epilogue in L1: whole register tiles or AMX tiles.
int64_t rows_of_epilogue() { return bfloat_products() == BFloat16Products::Dot ? 2 * row_tile : 32; }

/// How many different matrices an operand has in each batch dimension.
int64_t distinct(int64_t batch, int64_t stride) { return stride == 0 ? min_of(batch, 1) : batch; }

/// What is packed how; by shape alone.
struct Layout {
  explicit Layout(const MatmulArguments& g)
      : width(bfloat_panel_width(g.n)),
        panels(ceil_divide(g.n, width)),
        depth_blocks(max_of(1, ceil_divide(g.k, depth_block))),
        panel_elements(width * ((depth_blocks - 1) * bfloat_panel_depth(depth_block) +
                                bfloat_panel_depth(g.k - (depth_blocks - 1) * depth_block))),
        b0(distinct(g.batch[0], g.b_batch[0])),
        b1(distinct(g.batch[1], g.b_batch[1])),
        copied((g.a_column != 1 && g.k > 1) || rows_collide<BFloat16>(g)),
        copied_row((g.k + 31) / 32 * 32 + 32) {}

  /// A chunk packs what it needs by itself: nobody else would read it, so it would go through memory for nothing.
  bool packs_in_chunks(const MatmulArguments& g) const { return g.m <= few_rows && b0 * b1 == g.batch[0] * g.batch[1]; }
  size_t packed_bytes() const { return aligned_bytes(b0 * b1 * panels * panel_elements, sizeof(BFloat16)); }
  size_t copied_bytes(const MatmulArguments& g) const {
    return copied ? aligned_bytes(g.batch[0] * g.batch[1] * g.m * copied_row, sizeof(BFloat16)) : 0;
  }

  int64_t width, panels, depth_blocks, panel_elements;
  int64_t b0, b1;  ///< different matrices B
  bool copied;     ///< A: its k are not adjacent, or its rows collide in L1
  int64_t copied_row;
};

void pack_part(const MatmulArguments& g, const Layout& l, int64_t matrix, int64_t panel, int64_t part, BFloat16* to) {
  const int64_t k = part * depth_block, column = panel * l.width;
  const BFloat16* b = static_cast<const BFloat16*>(g.b) + matrix / l.b1 * g.b_batch[0] + matrix % l.b1 * g.b_batch[1] +
                      k * g.b_row + column * g.b_column;
  pack_bfloat_panel(b, g.b_row, g.b_column, min_of(g.k - k, depth_block), min_of(g.n - column, l.width), l.width, to);
}

void pack(const MatmulArguments& g, const Layout& l, BFloat16* packed) {
  const int64_t parts = l.depth_blocks;
  parallel_for(l.b0 * l.b1 * l.panels * parts, [&](int64_t chunk) {
    const int64_t part = chunk % parts, panel = chunk / parts % l.panels, matrix = chunk / parts / l.panels;
    pack_part(
        g, l, matrix, panel, part,
        packed + (matrix * l.panels + panel) * l.panel_elements + part * bfloat_panel_depth(depth_block) * l.width);
  });
}

void copy_rows(const MatmulArguments& g, const Layout& l, BFloat16* copy) {
  constexpr int64_t rows = 64;
  const int64_t blocks = ceil_divide(g.m, rows);
  parallel_for(g.batch[0] * g.batch[1] * blocks, [&](int64_t chunk) {
    const int64_t row = chunk % blocks * rows, product = chunk / blocks;
    copy_bfloat_rows(static_cast<const BFloat16*>(g.a) + product / g.batch[1] * g.a_batch[0] +
                         product % g.batch[1] * g.a_batch[1] + row * g.a_row,
                     g.a_row, g.a_column, min_of(rows, g.m - row), g.k, copy + (product * g.m + row) * l.copied_row,
                     l.copied_row);
  });
}

}  // namespace

const char* bfloat16_matmul_declines(const MatmulArguments& g) {
  if (g.dtype != DType::BFloat16) return "the operands are not bfloat16";
  if (!g.forced && !bfloat_is_fast()) return "this processor multiplies float32 faster";
  return nullptr;
}

size_t bfloat16_matmul_packed_bytes(const MatmulArguments& g) { return Layout(g).packed_bytes(); }

void bfloat16_matmul_pack(const MatmulArguments& g, void* to) { pack(g, Layout(g), static_cast<BFloat16*>(to)); }

size_t bfloat16_matmul_workspace(const MatmulArguments& g) {
  const Layout l(g);
  return (l.packs_in_chunks(g) ? 0 : l.packed_bytes()) + l.copied_bytes(g);
}

void bfloat16_matmul(const MatmulArguments& g) {
  const int64_t products = g.batch[0] * g.batch[1];
  if (products * g.m * g.n == 0) return;
  const Layout l(g);
  BFloat16* const workspace = static_cast<BFloat16*>(g.workspace);
  const bool in_chunks = l.packs_in_chunks(g), packs = in_chunks && !g.packed;
  BFloat16* const copy = workspace + (in_chunks ? 0 : l.packed_bytes() / sizeof(BFloat16));
  const BFloat16* const packed = g.packed ? static_cast<const BFloat16*>(g.packed) : workspace;
  if (!g.packed && !in_chunks) pack(g, l, workspace);
  if (l.copied) copy_rows(g, l, copy);

  // Blocks of C that one chunk computes: as large as still gives work to many cores.
  const int64_t finished_rows = rows_of_epilogue();
  int64_t rows_at_once = 4 * finished_rows, panels_at_once = most_panels;
  const auto chunks = [&] { return products * ceil_divide(g.m, rows_at_once) * ceil_divide(l.panels, panels_at_once); };
  while (panels_at_once > 1 && chunks() < enough_chunks) panels_at_once /= 2;
  while (!in_chunks && rows_at_once > finished_rows && chunks() < enough_chunks) rows_at_once /= 2;
  const int64_t row_blocks = ceil_divide(g.m, rows_at_once), column_blocks = ceil_divide(l.panels, panels_at_once);
  const int64_t columns = panels_at_once * l.width;
  const RowEpilogue row_epilogue(g.epilogue, g.c);
  const Epilogue epilogue(row_epilogue.rest(g.epilogue), min_of(columns, g.n), g.n - (column_blocks - 1) * columns);
  parallel_for(products * row_blocks * column_blocks, [&](int64_t chunk) {
    const int64_t column_block = chunk % column_blocks, row_block = chunk / column_blocks % row_blocks;
    const int64_t product = chunk / column_blocks / row_blocks;
    const int64_t first = product / g.batch[1], second = product % g.batch[1];
    const int64_t row = row_block * rows_at_once, rows = min_of(g.m - row, rows_at_once);
    const int64_t a_row = l.copied ? l.copied_row : g.a_row;
    const BFloat16* a =
        l.copied ? copy + (product * g.m + row) * a_row
                 : static_cast<const BFloat16*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1] + row * a_row;
    const int64_t matrix = (l.b0 == 1 ? 0 : first) * l.b1 + (l.b1 == 1 ? 0 : second);
    const BFloat16* b = packed + matrix * l.panels * l.panel_elements;
    BFloat16* c = static_cast<BFloat16*>(g.c) + first * g.c_batch[0] + second * g.c_batch[1] + row * g.c_row;
    const int64_t column = column_block * columns, column_end = min_of(g.n, column + columns);
    float* const sums = static_cast<float*>(thread_scratch());
    BFloat16* const panel = reinterpret_cast<BFloat16*>(sums + rows_at_once * l.width);
    BFloatGemm gemm;
    const int64_t result_row = product * g.m + row;
    for (int64_t j = column; j < column_end; j += l.width) {
      const int64_t j_end = min_of(column_end, j + l.width);
      for (int64_t part = 0; part < l.depth_blocks; ++part) {
        const bool last = part + 1 == l.depth_blocks;
        const int64_t k = part * depth_block, at_once = last ? finished_rows : rows;
        if (packs) pack_part(g, l, matrix, j / l.width, part, panel);
        const BFloat16* const factor =
            packs ? panel : b + j / l.width * l.panel_elements + part * bfloat_panel_depth(depth_block) * l.width;
        for (int64_t begin = 0, end; begin < rows; begin = end) {
          end = min_of(rows, begin + at_once);
          if (last) row_epilogue.prefetch(result_row + begin, result_row + end, j, j_end);
          const BFloatProduct factors{a + begin * a_row + k, factor};
          gemm.run({.products = &factors,
                    .count = 1,
                    .m = end - begin,
                    .n = j_end - j,
                    .k = min_of(g.k - k, depth_block),
                    .a_row = a_row,
                    .width = l.width,
                    .c = sums + begin * l.width,
                    .c_row = l.width,
                    .accumulate = part > 0,
                    .rounded = last ? c + begin * g.c_row + j : nullptr,
                    .rounded_row = g.c_row});
          if (last) row_epilogue.run(result_row + begin, result_row + end, j, j_end);
        }
      }
    }
    gemm.release();
    EpilogueColumns(epilogue, column, column_end - column).run(result_row, result_row + rows);
  });
}

// -- widened ---------------------------------------------------------------------------------------------------------

namespace {

/// An operand as float32: rows, or columns if those are what is adjacent.
struct WidenedOperand {
  WidenedOperand(const int64_t (&batch)[2], const int64_t (&strides)[2], int64_t rows, int64_t columns, int64_t row,
                 int64_t column)
      : by_columns(row == 1 && column != 1),
        lines(by_columns ? columns : rows),
        length(by_columns ? rows : columns),
        line_stride(by_columns ? column : row),
        stride(by_columns ? row : column),
        count{distinct(batch[0], strides[0]), distinct(batch[1], strides[1])},
        batch_strides{strides[0], strides[1]} {}

  int64_t elements() const { return count[0] * count[1] * lines * length; }
  void widen(const void* from, float* to) const {
    parallel_for(count[0] * count[1] * lines, [&](int64_t chunk) {
      const int64_t line = chunk % lines, matrix = chunk / lines;
      widen_elements(static_cast<const BFloat16*>(from) + matrix / count[1] * batch_strides[0] +
                         matrix % count[1] * batch_strides[1] + line * line_stride,
                     stride, length, to + chunk * length);
    });
  }
  void describe(int64_t (&batch)[2], int64_t& row, int64_t& column) const {
    row = by_columns ? 1 : length;
    column = by_columns ? length : 1;
    batch[1] = count[1] == 1 ? 0 : lines * length;
    batch[0] = count[0] == 1 ? 0 : count[1] * lines * length;
  }

  bool by_columns;
  int64_t lines, length, line_stride, stride;
  int64_t count[2], batch_strides[2];
};

struct Widened {
  explicit Widened(const MatmulArguments& g)
      : a(g.batch, g.a_batch, g.m, g.k, g.a_row, g.a_column),
        b(g.batch, g.b_batch, g.k, g.n, g.b_row, g.b_column),
        product(g),
        a_bytes(aligned_bytes(a.elements(), sizeof(float))),
        b_bytes(aligned_bytes(b.elements(), sizeof(float))),
        c_bytes(aligned_bytes(g.batch[0] * g.batch[1] * g.m * g.n, sizeof(float))) {
    product.dtype = DType::Float32;
    product.epilogue = nullptr;
    product.forced = false;
    a.describe(product.a_batch, product.a_row, product.a_column);
    b.describe(product.b_batch, product.b_row, product.b_column);
    product.c_row = g.n;
    product.c_batch[1] = g.m * g.n;
    product.c_batch[0] = g.batch[1] * g.m * g.n;
    algorithm = matmul;
    while (algorithm->declines(product)) ++algorithm;
  }
  WidenedOperand a, b;
  MatmulArguments product;
  size_t a_bytes, b_bytes, c_bytes;
  const kernels::MatmulAlgorithm* algorithm;
};

}  // namespace

const char* widened_matmul_declines(const MatmulArguments& g) {
  return g.dtype == DType::BFloat16 ? nullptr : "the operands are not bfloat16";
}

size_t widened_matmul_workspace(const MatmulArguments& g) {
  const Widened w(g);
  return w.a_bytes + w.b_bytes + w.c_bytes + w.algorithm->workspace(w.product);
}

void widened_matmul(const MatmulArguments& g) {
  if (g.batch[0] * g.batch[1] * g.m * g.n == 0) return;
  Widened w(g);
  char* const workspace = static_cast<char*>(g.workspace);
  float* const a = reinterpret_cast<float*>(workspace);
  float* const b = reinterpret_cast<float*>(workspace + w.a_bytes);
  float* const c = reinterpret_cast<float*>(workspace + w.a_bytes + w.b_bytes);
  w.a.widen(g.a, a);
  w.b.widen(g.b, b);
  const int64_t sizes[] = {g.batch[0], g.batch[1], g.m, g.n};
  const int64_t strides[] = {g.c_batch[0], g.c_batch[1], g.c_row, 1};
  const RoundingProgram rounding(c, static_cast<BFloat16*>(g.c), 4, sizes, strides);
  w.product.a = a;
  w.product.b = b;
  w.product.c = c;
  w.product.workspace = workspace + w.a_bytes + w.b_bytes + w.c_bytes;
  w.product.epilogue = &rounding.arguments;
  w.algorithm->run(w.product);
  if (g.epilogue) pointwise(*g.epilogue);
}

}  // namespace pycnn::cpu::PYCNN_ISA
