// Gaussian elimination with partial pivoting, and solving with what it left. One task per matrix.
#include <cmath>
#include <utility>

#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::reference {
namespace {

using kernels::FactorArguments;
using kernels::SolveArguments;

/// to -= factor · from.
template <typename T>
void subtract_multiple(T* to, const T* from, T factor, int64_t count) {
  for (int64_t j = 0; j < count; ++j) to[j] -= factor * from[j];
}

template <typename T>
void swap_rows(T* a, T* b, int64_t count) {
  if (a != b)
    for (int64_t j = 0; j < count; ++j) std::swap(a[j], b[j]);
}

template <typename T>
T factor_one(T* a, int64_t n, int64_t* pivots) {
  T sign = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t best = k;
    for (int64_t i = k + 1; i < n; ++i)
      if (std::abs(a[i * n + k]) > std::abs(a[best * n + k])) best = i;
    pivots[k] = best;
    if (best != k) sign = -sign;
    swap_rows(a + k * n, a + best * n, n);
    const T pivot = a[k * n + k];
    if (pivot == 0) continue;
    for (int64_t i = k + 1; i < n; ++i) {
      const T factor = a[i * n + k] / pivot;
      a[i * n + k] = factor;
      subtract_multiple(a + i * n + k + 1, a + k * n + k + 1, factor, n - k - 1);
    }
  }
  return sign;
}

/// Forward through L, backward through U; for the transpose forward through Uᵀ, backward through Lᵀ.
template <typename T>
void solve_one(const T* a, const int64_t* pivots, T* x, int64_t n, int64_t columns, bool transposed) {
  const auto row = [&](int64_t i) { return x + i * columns; };
  const auto divide = [&](int64_t i) {
    for (int64_t j = 0; j < columns; ++j) row(i)[j] /= a[i * n + i];
  };
  if (!transposed) {
    for (int64_t i = 0; i < n; ++i) swap_rows(row(i), row(pivots[i]), columns);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t k = 0; k < i; ++k) subtract_multiple(row(i), row(k), a[i * n + k], columns);
    for (int64_t i = n - 1; i >= 0; --i) {
      for (int64_t k = i + 1; k < n; ++k) subtract_multiple(row(i), row(k), a[i * n + k], columns);
      divide(i);
    }
    return;
  }
  for (int64_t k = 0; k < n; ++k) {
    divide(k);
    for (int64_t i = k + 1; i < n; ++i) subtract_multiple(row(i), row(k), a[k * n + i], columns);
  }
  for (int64_t k = n - 1; k >= 0; --k)
    for (int64_t i = 0; i < k; ++i) subtract_multiple(row(i), row(k), a[k * n + i], columns);
  for (int64_t i = n - 1; i >= 0; --i) swap_rows(row(i), row(pivots[i]), columns);
}

template <typename T>
void factor_all(const FactorArguments& g) {
  parallel_for(g.batch, [&](int64_t i) {
    static_cast<T*>(g.signs)[i] =
        factor_one(static_cast<T*>(g.matrices) + i * g.size * g.size, g.size, g.pivots + i * g.size);
  });
}

template <typename T>
void solve_all(const SolveArguments& g) {
  parallel_for(g.batch, [&](int64_t i) {
    solve_one(static_cast<const T*>(g.factors) + i * g.size * g.size, g.pivots + i * g.size,
              static_cast<T*>(g.sides) + i * g.size * g.columns, g.size, g.columns, g.transposed);
  });
}

}  // namespace

void factor(const FactorArguments& g) { g.dtype == DType::Float32 ? factor_all<float>(g) : factor_all<double>(g); }
void solve(const SolveArguments& g) { g.dtype == DType::Float32 ? solve_all<float>(g) : solve_all<double>(g); }

}  // namespace pycnn::cpu::reference
