#include "cpu/isa/accumulate.h"

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/interpreter.h"
#include "cpu/isa/simd.h"
#include "kernels/convert.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

double& value_of(Partial& partial, double) { return partial.floating; }
int64_t& value_of(Partial& partial, int64_t) { return partial.integer; }
double value_of(const Partial& partial, double) { return partial.floating; }
int64_t value_of(const Partial& partial, int64_t) { return partial.integer; }

template <typename T>
struct PartialType {
  using Type = double;
};
template <>
struct PartialType<int64_t> {
  using Type = int64_t;
};

template <typename T>
T infinity() {
  return static_cast<T>(__builtin_inf());
}
template <>
int64_t infinity<int64_t>() {
  return INT64_MAX;
}
template <typename T>
T minus_infinity() {
  return static_cast<T>(-__builtin_inf());
}
template <>
int64_t minus_infinity<int64_t>() {
  return INT64_MIN;
}

struct Sum {
  template <typename T>
  static T identity() {
    return T(0);
  }
  template <typename T>
  static T combine(T a, T b) {
    return a + b;
  }
  static int64_t combine(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct Product {
  template <typename T>
  static T identity() {
    return T(1);
  }
  template <typename T>
  static T combine(T a, T b) {
    return a * b;
  }
  static int64_t combine(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};
struct Maximum {
  template <typename T>
  static T identity() {
    return minus_infinity<T>();
  }
  template <typename T>
  static T combine(T a, T b) {
    return a > b || a != a ? a : b;
  }
};
struct Minimum {
  template <typename T>
  static T identity() {
    return infinity<T>();
  }
  template <typename T>
  static T combine(T a, T b) {
    return a < b || a != a ? a : b;
  }
};

/// Rows handled side by side, so that narrow rows fill vectors too.
int64_t rows_abreast(int64_t rows, int64_t width) {
  const int64_t fitting = width >= 64 ? 1 : 64 / width;
  return fitting < rows ? fitting : rows;
}

/// Halves the rows of (rows, width) until one is left.
template <typename Operation, typename T>
void fold(T* values, int64_t rows, int64_t width) {
  while (rows > 1) {
    const int64_t half = (rows + 1) / 2;
    const T* upper = values + half * width;
    const int64_t n = (rows - half) * width;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) values[i] = Operation::combine(values[i], upper[i]);
    rows = half;
  }
}

/// result[c] = the operation over the rows of x, (rows, width); result has room for max_chunk.
template <typename Operation, typename T>
void reduce_rows(T* result, const T* x, int64_t rows, int64_t width) {
  const int64_t abreast = rows_abreast(rows, width);
  const int64_t n = abreast * width;
  const int64_t groups = rows / abreast;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) result[i] = x[i];
  for (int64_t g = 1; g < groups; ++g) {
    const T* row = x + g * n;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) result[i] = Operation::combine(result[i], row[i]);
  }
  const T* last = x + groups * n;
  const int64_t rest = (rows - groups * abreast) * width;
#pragma GCC ivdep
  for (int64_t i = 0; i < rest; ++i) result[i] = Operation::combine(result[i], last[i]);
  fold<Operation>(result, abreast, width);
}

// Few vectors abreast would jump from row to row, which prefetchers do not follow; deviations need three registers
// each.
constexpr int sum_vectors = 8, deviation_vectors = 4;

// Chunks are of type T, or of bfloat16 that is widened to it.

/// sum[i] = Σ over rows of x[row·n + i], for `Vectors` vectors.
template <typename T, int Vectors, typename M>
PYCNN_INLINE void sum_columns(T* sum, const M* x, int64_t rows, int64_t n, const Mask<T>& last) {
  Vector<T> sums[Vectors] = {};
  for (int64_t row = 0; row < rows; ++row)
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const M* from = x + row * n + v * lanes<T>;
      sums[v] += Vectors == 1 ? load(from, last) : load(from);
    }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v)
    if (Vectors == 1)
      store(sum, sums[v], last);
    else
      store(sum + v * lanes<T>, sums[v]);
}

/// Calls function<vectors>(column, mask) for the columns of n, several vectors together where there are so many.
template <typename T, int Most, typename Function>
PYCNN_INLINE void for_each_column(int64_t n, const Function& function) {
  int64_t i = 0;
  for (; i + Most * lanes<T> <= n; i += Most * lanes<T>) function.template operator()<Most>(i, Mask<T>(lanes<T>));
  for (; i + Most / 2 * lanes<T> <= n; i += Most / 2 * lanes<T>)
    function.template operator()<Most / 2>(i, Mask<T>(lanes<T>));
  for (; i < n; i += lanes<T>)
    function.template operator()<1>(i, Mask<T>(n - i < lanes<T> ? static_cast<int>(n - i) : lanes<T>));
}

/// result[c] = Σ over the rows of x, (rows, width), the sums in registers; `abreast` rows are seen as one. result has
/// room for those.
template <typename T, typename M>
void sum_rows(T* result, const M* x, int64_t rows, int64_t width, int64_t abreast) {
  const int64_t n = abreast * width, groups = rows / abreast;
  for_each_column<T, sum_vectors>(
      n, [&]<int Vectors>(int64_t i, const Mask<T>& mask)
             __attribute__((always_inline)) { sum_columns<T, Vectors>(result + i, x + i, groups, n, mask); });
  const M* last = x + groups * n;
  const int64_t rest = (rows - groups * abreast) * width;
#pragma GCC ivdep
  for (int64_t i = 0; i < rest; ++i) result[i] += element(last[i]);
  fold<Sum>(result, abreast, width);
}

template <typename Operation, typename T>
void clear_plain(Partial* first, Partial*, int64_t n) {
  using P = typename PartialType<T>::Type;
  for (int64_t i = 0; i < n; ++i) value_of(first[i], P{}) = Operation::template identity<P>();
}

template <typename Operation, typename T>
void add_plain(Partial* first, Partial*, const void* chunk, bool, int64_t blocks, int64_t rows, int64_t width,
               int64_t) {
  using P = typename PartialType<T>::Type;
  const T* x = static_cast<const T*>(chunk);
  T buffer[max_chunk];
  for (int64_t block = 0; block < blocks; ++block, x += rows * width, first += width) {
    const T* row = x;
    if (rows > 1) {
      reduce_rows<Operation>(buffer, x, rows, width);
      row = buffer;
    }
#pragma GCC ivdep
    for (int64_t c = 0; c < width; ++c)
      value_of(first[c], P{}) = Operation::combine(value_of(first[c], P{}), static_cast<P>(row[c]));
  }
}

template <typename T, typename M>
void add_sums_of(Partial* first, const M* x, int64_t blocks, int64_t rows, int64_t width) {
  T buffer[max_chunk];
  for (int64_t block = 0; block < blocks; ++block, x += rows * width, first += width) {
    if (rows > 1) {
      sum_rows(buffer, x, rows, width, rows_abreast(rows, width));
#pragma GCC ivdep
      for (int64_t c = 0; c < width; ++c) first[c].floating += static_cast<double>(buffer[c]);
    } else {
#pragma GCC ivdep
      for (int64_t c = 0; c < width; ++c) first[c].floating += static_cast<double>(element(x[c]));
    }
  }
}

template <typename T>
void add_sums(Partial* first, Partial*, const void* chunk, bool narrow, int64_t blocks, int64_t rows, int64_t width,
              int64_t) {
  if constexpr (__is_same(T, float))
    if (narrow) return add_sums_of<T>(first, static_cast<const BFloat16*>(chunk), blocks, rows, width);
  add_sums_of<T>(first, static_cast<const T*>(chunk), blocks, rows, width);
}

template <typename Operation, typename T>
void merge_plain(Partial* first, Partial*, const Partial* other, const Partial*, int64_t n, int64_t, int64_t) {
  using P = typename PartialType<T>::Type;
  for (int64_t i = 0; i < n; ++i)
    value_of(first[i], P{}) = Operation::combine(value_of(first[i], P{}), value_of(other[i], P{}));
}

template <typename T>
void finish_partials(void* registers, const Partial* partials, int64_t n) {
  using P = typename PartialType<T>::Type;
  T* to = static_cast<T*>(registers);
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(value_of(partials[i], P{}));
}

// -- moments: means and squared deviations, combined as in Chan, Golub and LeVeque (1979) -----------------------------
void clear_moments(Partial* mean, Partial* deviation, int64_t n) {
  for (int64_t i = 0; i < n; ++i) mean[i].floating = deviation[i].floating = 0;
}

/// How two sets of `count` and `other` elements combine.
struct Weights {
  double shift, spread;
  Weights(int64_t count, int64_t other) {
    const double a = static_cast<double>(count), b = static_cast<double>(other);
    shift = b / (a + b);
    spread = a * shift;
  }
};

void combine_moments(Partial& mean, Partial& deviation, double other_mean, double other_deviation, Weights weights) {
  const double delta = other_mean - mean.floating;
  mean.floating += delta * weights.shift;
  deviation.floating += other_deviation + delta * weights.spread * delta;  // the first delta meets spread 0
}

/// Rows that are seen as one, so that narrow rows fill vectors: whole vectors of any level if there are rows enough.
int64_t moment_rows_abreast(int64_t rows, int64_t width) {
  int64_t abreast = 1;
  while (abreast * width % 16 != 0) abreast *= 2;
  while (abreast * width < 64) abreast *= 2;
  return abreast <= rows && abreast * width <= max_chunk ? abreast : rows_abreast(rows, width);
}

/// sum[i] = Σ d, squares[i] = Σ d² of the deviations d from pivot[i].
template <typename T, int Vectors, typename M>
PYCNN_INLINE void deviate_columns(T* sum, T* squares, const T* pivot, const M* x, int64_t rows, int64_t n,
                                  const Mask<T>& last) {
  Vector<T> sums[Vectors] = {}, products[Vectors] = {}, center[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) center[v] = Vectors == 1 ? load(pivot, last) : load(pivot + v * lanes<T>);
  for (int64_t row = 0; row < rows; ++row)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
      const M* from = x + row * n + v * lanes<T>;
      __builtin_prefetch(from + moment_elements, 0, 2);  // this chunk is at hand, the next is on its way
      const Vector<T> d = (Vectors == 1 ? load(from, last) : load(from)) - center[v];
      sums[v] += d;
      products[v] = multiply_add(d, d, products[v]);
    }
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v)
    if (Vectors == 1) {
      store(sum, sums[v], last);
      store(squares, products[v], last);
    } else {
      store(sum + v * lanes<T>, sums[v]);
      store(squares + v * lanes<T>, products[v]);
    }
}

template <typename T, typename M>
void add_moments_of(Partial* mean, Partial* deviation, const M* x, int64_t blocks, int64_t rows, int64_t width,
                    int64_t count) {
  const Weights weights(count, rows);
  if (rows == 1) {
    for (int64_t c = 0; c < blocks * width; ++c)
      combine_moments(mean[c], deviation[c], static_cast<double>(element(x[c])), 0.0, weights);
    return;
  }
  const double inverse = 1.0 / static_cast<double>(rows);
  const int64_t abreast = moment_rows_abreast(rows, width);
  const int64_t n = abreast * width, groups = rows / abreast;
  const int64_t rest = (rows - groups * abreast) * width;
  T pivot[max_chunk], sum[max_chunk], squares[max_chunk];
  for (int64_t block = 0; block < blocks; ++block, x += rows * width, mean += width, deviation += width) {
    // The chunk is at hand: its mean first, then deviations from it. What rounding left in the mean is corrected by
    // their sum.
    const M* last = x + groups * n;
    sum_rows(pivot, x, rows, width, abreast);
    for (int64_t c = 0; c < width; ++c) pivot[c] *= static_cast<T>(inverse);
    for (int64_t i = width; i < n; ++i) pivot[i] = pivot[i - width];
    for_each_column<T, deviation_vectors>(
        n, [&]<int Vectors>(int64_t i, const Mask<T>& mask) __attribute__((always_inline)) {
          deviate_columns<T, Vectors>(sum + i, squares + i, pivot + i, x + i, groups, n, mask);
        });
    for (int64_t i = 0; i < rest; ++i) {
      const T d = element(last[i]) - pivot[i];
      sum[i] += d;
      squares[i] += d * d;
    }
    fold<Sum>(sum, abreast, width);
    fold<Sum>(squares, abreast, width);
#pragma GCC ivdep
    for (int64_t c = 0; c < width; ++c) {
      const double s = static_cast<double>(sum[c]);
      const double corrected = static_cast<double>(squares[c]) - s * s * inverse;
      combine_moments(mean[c], deviation[c], static_cast<double>(pivot[c]) + s * inverse, corrected < 0 ? 0 : corrected,
                      weights);
    }
  }
}

template <typename T>
void add_moments(Partial* mean, Partial* deviation, const void* chunk, bool narrow, int64_t blocks, int64_t rows,
                 int64_t width, int64_t count) {
  if constexpr (__is_same(T, float))
    if (narrow)
      return add_moments_of<T>(mean, deviation, static_cast<const BFloat16*>(chunk), blocks, rows, width, count);
  add_moments_of<T>(mean, deviation, static_cast<const T*>(chunk), blocks, rows, width, count);
}

/// Moments of integers are those of the same numbers in double.
void add_integer_moments(Partial* mean, Partial* deviation, const void* chunk, bool, int64_t blocks, int64_t rows,
                         int64_t width, int64_t count) {
  const int64_t* x = static_cast<const int64_t*>(chunk);
  double buffer[max_chunk];
  for (int64_t i = 0; i < blocks * rows * width; ++i) buffer[i] = static_cast<double>(x[i]);
  add_moments_of<double>(mean, deviation, static_cast<const double*>(buffer), blocks, rows, width, count);
}

void merge_moments(Partial* mean, Partial* deviation, const Partial* other_mean, const Partial* other_deviation,
                   int64_t n, int64_t count, int64_t other_count) {
  const Weights weights(count, other_count);
  for (int64_t i = 0; i < n; ++i)
    combine_moments(mean[i], deviation[i], other_mean[i].floating, other_deviation[i].floating, weights);
}

template <typename Operation>
Accumulator plain(RegisterType type) {
  return with_register_type(type, [type](auto value) {
    using T = decltype(value);
    void (*add)(Partial*, Partial*, const void*, bool, int64_t, int64_t, int64_t, int64_t);
    if constexpr (__is_same(Operation, Sum) && !__is_same(T, int64_t))
      add = add_sums<T>;
    else
      add = add_plain<Operation, T>;
    return Accumulator{.clear = clear_plain<Operation, T>,
                       .add = add,
                       .gathers = false,
                       .takes_narrow = __is_same(Operation, Sum) && __is_same(T, float),
                       .merge = merge_plain<Operation, T>,
                       .finish = finish_partials<T>,
                       .type = type};
  });
}

}  // namespace

Accumulator accumulator(ReduceKind kind, RegisterType type) {
  switch (kind) {
    case ReduceKind::Sum:
      return plain<Sum>(type);
    case ReduceKind::Product:
      return plain<Product>(type);
    case ReduceKind::Maximum:
      return plain<Maximum>(type);
    case ReduceKind::Minimum:
      return plain<Minimum>(type);
    default:
      break;
  }
  Accumulator moments{.clear = clear_moments,
                      .add = add_integer_moments,
                      .gathers = false,
                      .takes_narrow = false,
                      .merge = merge_moments,
                      .finish = finish_partials<double>,
                      .type = RegisterType::F64};
  if (type == RegisterType::F32) {
    moments.add = add_moments<float>;
    moments.gathers = moments.takes_narrow = true;
    moments.finish = finish_partials<float>;
    moments.type = type;
  } else if (type == RegisterType::F64) {
    moments.add = add_moments<double>;
    moments.gathers = true;
  }
  return moments;
}

}  // namespace pycnn::cpu::PYCNN_ISA
