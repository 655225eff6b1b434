// matmul as an implicit matrix product, for one kind of arithmetic. Included by a file per dtype.
#pragma once

#include "cuda/implicit_gemm_tiles.h"

namespace pycnn::cuda {

using kernels::MatmulArguments;

/// How a factor lies: `across` and `depth` are strides along its rows (columns of b) and along the sum.
struct FactorLayout {
  const void* data;
  int64_t across, depth, batch[2];

  static FactorLayout of_a(const MatmulArguments& g) {
    return {g.a, g.a_row, g.a_column, {g.a_batch[0], g.a_batch[1]}};
  }
  static FactorLayout of_b(const MatmulArguments& g) {
    return {g.b, g.b_column, g.b_row, {g.b_batch[0], g.b_batch[1]}};
  }
  /// Whether neighbours in this direction are read as whole vectors of `vector` elements of `bytes`.
  bool contiguous(Contiguous direction, int vector, size_t bytes) const {
    const int64_t step = direction == Contiguous::Depth ? depth : across,
                  other = direction == Contiguous::Depth ? across : depth;
    return step == 1 && other % vector == 0 && batch[0] % vector == 0 && batch[1] % vector == 0 &&
           is_aligned(data, vector * bytes);
  }
};

template <typename Math, typename T, typename A, typename B>
void multiply_matrices_in(const MatmulJob& job, const A& a, const B& b) {
  using E = typename Math::Element;
  const MatmulArguments& g = job.arguments;
  Product<A, B, MatrixResult<E>> p{};
  p.a = a;
  p.b = b;
  const bool aligned =
      g.c_row % result_vector == 0 && g.c_batch[0] % result_vector == 0 && g.c_batch[1] % result_vector == 0;
  p.result.finish = finish_of<E>(g.c, aligned, g.epilogue);
  p.result.row_stride = g.c_row;
  p.result.rows = g.m;
  p.result.batch_strides[0] = g.c_batch[0];
  p.result.batch_strides[1] = g.c_batch[1];
  p.result.batches = IndexDivide(g.batch[1]);
  p.parts = 1;
  p.part[0] = {static_cast<int>(g.m), static_cast<int>(g.k), 0, 0};
  p.columns = static_cast<int>(g.n);
  p.batch = static_cast<int>(g.batch[0] * g.batch[1]);
  p.splits = job.splits;
  p.partial = job.partial;
  multiply<Math, T>(job.name, p);
}

template <typename E, int V, Contiguous C>
Matrix<E, V, C> matrix_of(const FactorLayout& f, int64_t across, int64_t depth, int64_t batch) {
  return {.data = static_cast<const E*>(f.data),
          .stride = C == Contiguous::Depth ? f.across : f.depth,
          .across_count = static_cast<int>(across),
          .depth_count = static_cast<int>(depth),
          .batch_strides = {f.batch[0], f.batch[1]},
          .batches = IndexDivide(batch)};
}

template <typename E>
StridedMatrix<E> strided_of(const FactorLayout& f, int64_t across, int64_t depth, int64_t batch) {
  return {.data = static_cast<const E*>(f.data),
          .across_stride = f.across,
          .depth_stride = f.depth,
          .across_count = static_cast<int>(across),
          .depth_count = static_cast<int>(depth),
          .batch_strides = {f.batch[0], f.batch[1]},
          .batches = IndexDivide(batch)};
}

template <typename Math, Contiguous OfA, Contiguous OfB>
void multiply_contiguous(const MatmulJob& job, const FactorLayout& a, const FactorLayout& b) {
  using E = typename Math::Element;
  constexpr int wide = 16 / sizeof(E);
  const MatmulArguments& g = job.arguments;
  const auto matrix_a = matrix_of<E, wide, OfA>(a, g.m, g.k, g.batch[1]);
  const auto matrix_b = matrix_of<E, wide, OfB>(b, g.n, g.k, g.batch[1]);
  switch (job.tile) {
    case Tile128x128:
      return multiply_matrices_in<Math, Large>(job, matrix_a, matrix_b);
    case Tile128x64:
      return multiply_matrices_in<Math, Tall>(job, matrix_a, matrix_b);
    default:
      return multiply_matrices_in<Math, Small>(job, matrix_a, matrix_b);
  }
}

template <typename Math>
void multiply_matrices(const MatmulJob& job) {
  using E = typename Math::Element;
  constexpr int wide = 16 / sizeof(E);
  constexpr Contiguous depth = Contiguous::Depth, across = Contiguous::Across;
  const MatmulArguments& g = job.arguments;
  const FactorLayout a = FactorLayout::of_a(g), b = FactorLayout::of_b(g);
  const bool depth_a = a.contiguous(depth, wide, sizeof(E)), across_a = a.contiguous(across, wide, sizeof(E));
  const bool depth_b = b.contiguous(depth, wide, sizeof(E)), across_b = b.contiguous(across, wide, sizeof(E));
  if (depth_a && depth_b) return multiply_contiguous<Math, depth, depth>(job, a, b);
  if (depth_a && across_b) return multiply_contiguous<Math, depth, across>(job, a, b);
  if (across_a && across_b) return multiply_contiguous<Math, across, across>(job, a, b);
  multiply_matrices_in<Math, Narrow>(job, strided_of<E>(a, g.m, g.k, g.batch[1]),
                                     strided_of<E>(b, g.n, g.k, g.batch[1]));
}

}  // namespace pycnn::cuda
