// What the algorithms of matrix products share; each has a file of its own.
#pragma once

#include "cpu/isa/brgemm.h"
#include "kernels/kernels.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Rows of A that lie a multiple of 4 KiB apart share one set of L1: the rows of a high tile would evict each other.
template <typename T>
bool rows_collide(const kernels::MatmulArguments& g) {
  return g.m > 4 && g.a_row != 0 && g.a_row * static_cast<int64_t>(sizeof(T)) % 4096 == 0;
}
/// As many as a set holds at the least, enough to keep the microkernel's units busy.
inline constexpr int64_t colliding_rows = row_tile < 8 ? row_tile : 8;

/// A tile reads few elements of each column of A: far apart they are as many lines and pages that nothing foresees.
template <typename T>
bool columns_far_apart(const kernels::MatmulArguments& g) {
  constexpr int64_t most_bytes = 512;
  return g.m > 4 && g.k > 1 && g.a_column * static_cast<int64_t>(sizeof(T)) > most_bytes;
}

/// Elements from row to row of a copy of A whose rows do not collide.
template <typename T>
int64_t copied_row(const kernels::MatmulArguments& g) {
  return (g.k + lanes<T> - 1) / lanes<T> * lanes<T> + 64 / static_cast<int64_t>(sizeof(T));
}
/// Of all products.
template <typename T>
int64_t copied_elements(const kernels::MatmulArguments& g) {
  return g.batch[0] * g.batch[1] * g.m * copied_row<T>(g);
}
template <typename T>
void copy_rows(const kernels::MatmulArguments& g, T* to);

/// How many different matrices B there are in each batch dimension.
PYCNN_INLINE int64_t distinct(int64_t batch, int64_t stride) { return stride == 0 ? min_of(batch, 1) : batch; }

/// B packed as all algorithms read it: for each of its matrices, panels of panel_width() columns × k rows.
template <typename T>
struct PackedB {
  explicit PackedB(const kernels::MatmulArguments& g)
      : width(panel_width<T>(g.n)),
        panels(ceil_divide(g.n, width)),
        first(distinct(g.batch[0], g.b_batch[0])),
        second(distinct(g.batch[1], g.b_batch[1])),
        panel_elements(width * g.k) {}
  int64_t elements() const { return first * second * panels * panel_elements; }
  /// Where the matrix of product (i, j) begins.
  int64_t offset(int64_t i, int64_t j) const {
    return ((first == 1 ? 0 : i) * second + (second == 1 ? 0 : j)) * panels * panel_elements;
  }
  void pack(const kernels::MatmulArguments& g, T* to) const;

  int64_t width, panels;
  int64_t first, second;  ///< how many matrices
  int64_t panel_elements;
};
size_t packed_b_bytes(const kernels::MatmulArguments& g);
void pack_b(const kernels::MatmulArguments& g, void* to);

const char* dot_declines(const kernels::MatmulArguments& g);
void dot_matmul(const kernels::MatmulArguments& g);

const char* blocked_declines(const kernels::MatmulArguments& g);
size_t blocked_workspace(const kernels::MatmulArguments& g);
size_t blocked_packed_bytes(const kernels::MatmulArguments& g);
void blocked_matmul(const kernels::MatmulArguments& g);

const char* bfloat16_matmul_declines(const kernels::MatmulArguments& g);
size_t bfloat16_matmul_workspace(const kernels::MatmulArguments& g);
size_t bfloat16_matmul_packed_bytes(const kernels::MatmulArguments& g);
void bfloat16_matmul_pack(const kernels::MatmulArguments& g, void* to);
void bfloat16_matmul(const kernels::MatmulArguments& g);

/// The float32 algorithms on widened operands.
const char* widened_matmul_declines(const kernels::MatmulArguments& g);
size_t widened_matmul_workspace(const kernels::MatmulArguments& g);
void widened_matmul(const kernels::MatmulArguments& g);

}  // namespace pycnn::cpu::PYCNN_ISA
