// Rows of adjacent elements, each for itself while it is in the first-level cache: softmax, layer and RMS norm.
#include "cpu/isa/integers.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/transpose.h"
#include "cpu/isa/vector_math.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::NormalizeRowsArguments;
using kernels::NormalizeRowsBackwardArguments;
using kernels::SoftmaxArguments;

constexpr int64_t block = 1024;  ///< elements that are added up in the type itself; blocks in double
constexpr int64_t task_elements = 1 << 14;
constexpr int64_t rows_per_sum = 32;  ///< whose parameter gradients are added up in the type itself
constexpr int64_t parameter_columns = 256;

template <typename Function>
void for_rows(int64_t rows, int64_t columns, const Function& function) {
  const int64_t each = max_of(1, task_elements / columns), tasks = ceil_divide(rows, each);
  const auto run = [&](int64_t task) {
    for (int64_t row = task * each; row < min_of(rows, (task + 1) * each); ++row) function(row);
  };
  tasks == 1 ? run(0) : parallel_for(tasks, run);
}

/// Calls function(i, mask) for the vectors of n elements; the mask of all but the last is whole.
template <typename T, typename Function>
PYCNN_INLINE void for_vectors(int64_t n, const Function& function) {
  const Mask<T> whole(lanes<T>);
  int64_t i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) function(i, whole);
  if (i < n) function(i, Mask<T>(static_cast<int>(n - i)));
}

/// Σ value(i, mask) over [0, n): value gives vectors with zeros where the mask has them. Four sums in a block hide the
/// latency of additions.
template <typename T, typename Value>
PYCNN_INLINE double sum(int64_t n, const Value& value) {
  double total = 0;
  const Mask<T> whole(lanes<T>);
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = min_of(n, begin + block);
    Vector<T> sums[4]{};
    int64_t i = begin;
    for (; i + 4 * lanes<T> <= end; i += 4 * lanes<T>) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[v] += value(i + v * lanes<T>, whole);
    }
    for (; i < end; i += lanes<T>) sums[0] += value(i, end - i < lanes<T> ? Mask<T>(static_cast<int>(end - i)) : whole);
    total += static_cast<double>(sum_of_lanes<T>((sums[0] + sums[1]) + (sums[2] + sums[3])));
  }
  return total;
}

// -- softmax ----------------------------------------------------------------------------------------------------------

float exponential(float x) { return exp32(x); }
double exponential(double x) { return __builtin_exp(x); }

constexpr int piece = 32;

/// e^(from - shift). Pieces of a fixed length need no loop for what is left over by vectors.
template <typename T>
void exponentials_of_piece(const T* from, T shift, T* to) {
#pragma GCC ivdep
  for (int i = 0; i < piece; ++i) to[i] = exponential(from[i] - shift);
}
template <typename T>
void exponentials(const T* from, int64_t n, T shift, T* to) {
  for (; n >= piece; from += piece, to += piece, n -= piece) exponentials_of_piece(from, shift, to);
  if (n == 0) return;
  T source[piece];
  for (int i = 0; i < piece; ++i) source[i] = i < n ? from[i] : shift;
  T result[piece];
  exponentials_of_piece<T>(source, shift, result);
  for (int i = 0; i < n; ++i) to[i] = result[i];
}

/// NaN need not be found: it makes the sum of exponentials NaN.
template <typename T>
T maximum(const T* from, int64_t n) {
  const auto larger = [](Vector<T> a, Vector<T> b) { return a > b ? a : b; };
  T result = from[0];
  if (n < lanes<T>) {
    for (int64_t i = 1; i < n; ++i) result = from[i] > result ? from[i] : result;
    return result;
  }
  Vector<T> largest[2]{load(from), load(from + n - lanes<T>)};  // what is left over by whole vectors
  for (int64_t i = 0; i + lanes<T> <= n; i += 2 * lanes<T>) {
    largest[0] = larger(load(from + i), largest[0]);
    if (i + 2 * lanes<T> <= n) largest[1] = larger(load(from + i + lanes<T>), largest[1]);
  }
  T all[lanes<T>];
  store(all, larger(largest[0], largest[1]));
#pragma GCC unroll 8
  for (int half = lanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) all[i] = all[i] > all[i + half] ? all[i] : all[i + half];
  return all[0];
}

template <typename T>
void softmax_row(const T* from, int64_t n, bool logarithm, T* to) {
  const T largest = maximum(from, n);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t count = min_of(block, n - begin);
    T* const part = to + begin;
    exponentials(from + begin, count, largest, part);
    total += sum<T>(count, [&](int64_t i, const Mask<T>& mask) { return load(part + i, mask); });
  }
  if (logarithm) {
    const Vector<T> shift = splat(largest), rest = splat(static_cast<T>(__builtin_log(total)));
    for_vectors<T>(n,
                   [&](int64_t i, const Mask<T>& mask) { store(to + i, load(from + i, mask) - shift - rest, mask); });
  } else {
    const Vector<T> divisor = splat(static_cast<T>(total));
    for_vectors<T>(n, [&](int64_t i, const Mask<T>& mask) { store(to + i, load(to + i, mask) / divisor, mask); });
  }
}

/// Softmax y: dx = y (dy - Σ y dy). Its logarithm y: dx = dy - e^y Σ dy.
template <typename T>
void softmax_gradient_row(const T* y, const T* dy, int64_t n, bool logarithm, T* dx) {
  const auto at = [](const T* p, const Mask<T>& mask) { return load(p, mask); };
  if (!logarithm) {
    const Vector<T> total = splat(
        static_cast<T>(sum<T>(n, [&](int64_t i, const Mask<T>& mask) { return at(y + i, mask) * at(dy + i, mask); })));
    for_vectors<T>(
        n, [&](int64_t i, const Mask<T>& mask) { store(dx + i, at(y + i, mask) * (at(dy + i, mask) - total), mask); });
    return;
  }
  const Vector<T> total =
      splat(static_cast<T>(sum<T>(n, [&](int64_t i, const Mask<T>& mask) { return at(dy + i, mask); })));
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t count = min_of(block, n - begin);
    exponentials(y + begin, count, T{0}, dx + begin);
    for_vectors<T>(count, [&](int64_t i, const Mask<T>& mask) {
      store(dx + begin + i, at(dy + begin + i, mask) - at(dx + begin + i, mask) * total, mask);
    });
  }
}

template <typename T>
void run_softmax(const SoftmaxArguments& a) {
  const T* input = static_cast<const T*>(a.input);
  const T* gradient = static_cast<const T*>(a.output_gradient);
  T* output = static_cast<T*>(a.output);
  const int64_t n = a.columns;
  for_rows(a.rows, n, [&](int64_t row) {
    if (gradient)
      softmax_gradient_row(input + row * n, gradient + row * n, n, a.logarithm, output + row * n);
    else
      softmax_row(input + row * n, n, a.logarithm, output + row * n);
  });
}

// -- normalisation ----------------------------------------------------------------------------------------------------

template <typename T, bool Weight, bool Bias>
void normalize_row(const T* from, int64_t n, Vector<T> mean, Vector<T> inverse, const T* weight, const T* bias, T* to) {
  for_vectors<T>(n, [&](int64_t i, const Mask<T>& mask) {
    Vector<T> y = (load(from + i, mask) - mean) * inverse;
    if constexpr (Weight) y *= load(weight + i, mask);
    if constexpr (Bias) y += load(bias + i, mask);
    store(to + i, y, mask);
  });
}

template <typename T>
void run_normalize(const NormalizeRowsArguments& a) {
  const int64_t n = a.columns;
  const T *weight = static_cast<const T*>(a.weight), *bias = static_cast<const T*>(a.bias);
  const auto finish = weight ? bias ? normalize_row<T, true, true> : normalize_row<T, true, false>
                      : bias ? normalize_row<T, false, true>
                             : normalize_row<T, false, false>;
  const double share = 1.0 / static_cast<double>(n);
  for_rows(a.rows, n, [&](int64_t row) {
    const T* x = static_cast<const T*>(a.input) + row * n;
    T mean = 0;
    if (a.centered)
      mean = static_cast<T>(sum<T>(n, [&](int64_t i, const Mask<T>& mask) { return load(x + i, mask); }) * share);
    const Vector<T> shift = splat(mean);
    const Mask<T> whole(lanes<T>);
    // Past the end there is nothing to be squared: that shift is zero.
    const int64_t full = n / lanes<T> * lanes<T>;
    double squares = sum<T>(full, [&](int64_t i, const Mask<T>&) {
      const Vector<T> d = load(x + i, whole) - shift;
      return d * d;
    });
    for (int64_t i = full; i < n; ++i) squares += static_cast<double>((x[i] - mean) * (x[i] - mean));
    const T inverse = static_cast<T>(1.0 / __builtin_sqrt(squares * share + a.eps));
    static_cast<T*>(a.mean)[row] = mean;
    static_cast<T*>(a.inverse)[row] = inverse;
    finish(x, n, shift, splat(inverse), weight, bias, static_cast<T*>(a.output) + row * n);
  });
}

/// With x̂ the normalised input and g = dy · weight: dx = (g - mean(g) - x̂ mean(g x̂)) / deviation, dweight = Σ dy x̂,
/// dbias = Σ dy.
template <typename T>
class NormalizeBackward {
 public:
  explicit NormalizeBackward(const NormalizeRowsBackwardArguments& a) : a_(a), n_(a.columns) {}

  int64_t groups() const { return ceil_divide(a_.rows, rows_per_sum); }
  bool sums() const { return a_.weight_gradient || a_.bias_gradient; }
  size_t workspace() const { return sums() ? static_cast<size_t>(2 * groups() * n_) * sizeof(T) : 0; }

  void run() const {
    if (!sums())
      for_rows(a_.rows, n_, [&](int64_t row) { row_gradients<false>(row, nullptr, nullptr); });
    else
      group_sums();
  }

 private:
  void group_sums() const {
    for_rows(groups(), rows_per_sum * n_, [&](int64_t group) {
      T* const products = static_cast<T*>(a_.workspace) + 2 * group * n_;
      for (int64_t i = 0; i < 2 * n_; ++i) products[i] = 0;
      const int64_t end = min_of(a_.rows, (group + 1) * rows_per_sum);
      for (int64_t row = group * rows_per_sum; row < end; ++row) row_gradients<true>(row, products, products + n_);
    });
    parallel_for(ceil_divide(n_, parameter_columns), [&](int64_t i) { combine(i * parameter_columns); });
  }

  template <bool Sums>
  void row_gradients(int64_t row, T* products, T* sums) const {
    a_.weight ? row_gradients<Sums, true>(row, products, sums) : row_gradients<Sums, false>(row, products, sums);
  }

  /// dx of a row; with Sums its terms of the parameters' gradients are added to `products` and `sums`.
  template <bool Sums, bool Weight>
  void row_gradients(int64_t row, T* products, T* sums) const {
    const T *dy = static_cast<const T*>(a_.output_gradient) + row * n_, *x = static_cast<const T*>(a_.input) + row * n_;
    const T* const weight = static_cast<const T*>(a_.weight);
    const Vector<T> mean = splat(static_cast<const T*>(a_.mean)[row]);
    const Vector<T> inverse = splat(static_cast<const T*>(a_.inverse)[row]);
    const auto weighted = [&](Vector<T> g, int64_t i, const Mask<T>& mask) {
      if constexpr (Weight) return g * load(weight + i, mask);
      return g;
    };
    const double product = sum<T>(n_, [&](int64_t i, const Mask<T>& mask) {
      const Vector<T> g = load(dy + i, mask), normalized = (load(x + i, mask) - mean) * inverse;
      if constexpr (Sums) {
        store(products + i, load(products + i, mask) + g * normalized, mask);
        store(sums + i, load(sums + i, mask) + g, mask);
      }
      return weighted(g, i, mask) * normalized;
    });
    if (!a_.input_gradient) return;
    const double total =
        a_.centered ? sum<T>(n_, [&](int64_t i, const Mask<T>& mask) { return weighted(load(dy + i, mask), i, mask); })
                    : 0;
    const double share = 1.0 / static_cast<double>(n_);
    const Vector<T> projection = splat(static_cast<T>(product * share)), offset = splat(static_cast<T>(total * share));
    T* const dx = static_cast<T*>(a_.input_gradient) + row * n_;
    for_vectors<T>(n_, [&](int64_t i, const Mask<T>& mask) {
      const Vector<T> normalized = (load(x + i, mask) - mean) * inverse;
      store(dx + i, (weighted(load(dy + i, mask), i, mask) - offset - normalized * projection) * inverse, mask);
    });
  }

  void combine(int64_t column) const {
    for (int64_t i = column; i < min_of(n_, column + parameter_columns); ++i) {
      const T* from = static_cast<const T*>(a_.workspace) + i;
      double products = 0, sums = 0;
      for (int64_t group = 0; group < groups(); ++group, from += 2 * n_) {
        products += static_cast<double>(from[0]);
        sums += static_cast<double>(from[n_]);
      }
      if (a_.weight_gradient) static_cast<T*>(a_.weight_gradient)[i] = static_cast<T>(products);
      if (a_.bias_gradient) static_cast<T*>(a_.bias_gradient)[i] = static_cast<T>(sums);
    }
  }

  const NormalizeRowsBackwardArguments& a_;
  int64_t n_;
};

}  // namespace

void softmax(const SoftmaxArguments& a) { a.dtype == DType::Float64 ? run_softmax<double>(a) : run_softmax<float>(a); }

void normalize_rows(const NormalizeRowsArguments& a) {
  a.dtype == DType::Float64 ? run_normalize<double>(a) : run_normalize<float>(a);
}

size_t normalize_rows_backward_workspace(const NormalizeRowsBackwardArguments& a) {
  return a.dtype == DType::Float64 ? NormalizeBackward<double>(a).workspace() : NormalizeBackward<float>(a).workspace();
}

void normalize_rows_backward(const NormalizeRowsBackwardArguments& a) {
  a.dtype == DType::Float64 ? NormalizeBackward<double>(a).run() : NormalizeBackward<float>(a).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
