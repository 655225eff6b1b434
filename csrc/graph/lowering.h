// From operators to primitives: what an operator's lower() may call.
// Every choice made here (layouts, loops, chunk orders) depends on the slots alone, never on what will be fused, so
// that an element's bits do not depend on it either.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/operator.h"
#include "graph/program_builder.h"
#include "graph/slot.h"
#include "kernels/kernels.h"

namespace pycnn::graph {

/// What sums of a dtype are added up in.
inline DType accumulation_dtype(DType dtype) {
  return dtype == DType::Float16 || dtype == DType::BFloat16 ? DType::Float32 : dtype;
}

/// Builds the formula of a pointwise step: the i-th expression is the i-th input converted to the compute type.
using Formula = std::function<Expression(ProgramBuilder&, std::span<const Expression>)>;
using Formulas = std::function<std::vector<Expression>(ProgramBuilder&, std::span<const Expression>)>;

struct Primitive;

class Lowering {
 public:
  explicit Lowering(const kernels::Kernels& kernels);
  ~Lowering();

  // -- memory -------------------------------------------------------------------------------------------------------
  /// A fresh buffer with these strides (dense, in any order of dimensions).
  Slot allocate(DType dtype, const Shape& shape, const Strides& strides);
  Slot allocate(DType dtype, const Shape& shape) { return allocate(dtype, shape, contiguous_strides(shape)); }
  /// A fresh buffer laid out as the first of `like` that has this shape and is dense; row-major if none.
  Slot allocate_like(DType dtype, const Shape& shape, std::span<const Slot> like);
  /// The slot itself if it is row-major (channels-last, dense) already, else a copy.
  Slot contiguous(const Slot& slot);
  Slot channels_last(const Slot& slot);
  Slot dense(const Slot& slot);
  Slot cast(const Slot& slot, DType dtype);
  /// Reshapes in place where strides allow, else through a row-major copy.
  Slot reshape(const Slot& slot, const Shape& shape);

  // -- pointwise ----------------------------------------------------------------------------------------------------
  /// out[i] = formula(inputs[i]…) with inputs broadcast to `shape`, computed in `compute` (as register type), rounded
  /// to `out`.
  Slot pointwise(std::span<const Slot> inputs, const Shape& shape, DType compute, DType out, const Formula& formula);
  /// Several outputs of the same shape.
  std::vector<Slot> pointwise(std::span<const Slot> inputs, const Shape& shape, DType compute,
                              std::span<const DType> outs, const Formulas& formulas);
  /// Into given slots (parts of a concatenation, in place); each has the iteration's shape.
  void pointwise_into(std::span<const Slot> outputs, std::span<const Slot> inputs, DType compute,
                      const Formulas& formulas);
  /// destination ← source (broadcast, cast).
  void copy_into(const Slot& destination, const Slot& source);
  void fill(const Slot& destination, double value);

  // -- reductions ---------------------------------------------------------------------------------------------------
  /// Reduces the dimensions set in `dimensions` (bit d). The result keeps them with size 1, in dtype `out`;
  /// accumulation happens in the register type of `compute`. To drop dimensions use squeezed() or reshape().
  Slot reduce(kernels::ReduceKind kind, const Slot& input, uint32_t dimensions, DType compute, DType out);
  struct Moments {
    Slot mean, centered_sum;  ///< Σ(x-mean)²
  };
  Moments moments(const Slot& input, uint32_t dimensions, DType compute, DType out);
  struct Extremum {
    Slot values, indices;
  };
  /// Along one dimension, which is kept with size 1.
  Extremum arg_extremum(bool maximum, const Slot& input, int dimension);

  // -- structured primitives ------------------------------------------------------------------------------------------
  /// Slots are in PyTorch's logical shapes (N, C, D, H, W) and (O, I/groups, kD, kH, kW) with `spatial` = 1 … 3 spatial
  /// dimensions as in the input; casts 16-bit floats to float32 and back. Results: output, gradient of the input
  /// (channels-last), gradient of the weight (laid out as `like`).
  Slot convolution(const kernels::ConvolutionShape& shape, const Slot& input, const Slot& weight, const Shape& output);
  Slot convolution_input_gradient(const kernels::ConvolutionShape& shape, const Slot& output_gradient,
                                  const Slot& weight, const Shape& input);
  Slot convolution_weight_gradient(const kernels::ConvolutionShape& shape, const Slot& input,
                                   const Slot& output_gradient, const Shape& weight);
  /// (…, m, k) × (…, k, n) with equal or broadcast (size 1, stride 0) leading dimensions.
  Slot matmul(const Slot& a, const Slot& b);
  struct PoolingWindows {
    std::vector<int64_t> begin[3], end[3], divisor[3];
    int64_t step[3] = {1, 1, 1};
    // What follows from them.
    int64_t taps[3];                                  ///< of the largest window
    std::vector<int64_t> seen_begin[3], seen_end[3];  ///< for each input position, the outputs that may see it
  };
  /// How the place of a maximum is kept: as an Int64 index within the input's spatial dimensions, or as the UInt8
  /// number of a tap in its window (which then has fewer than 255).
  enum class MaximumPlaces : uint8_t { None, Indices, Offsets };
  /// Maximum: {values, places if wanted}; channels-last.
  std::vector<Slot> max_pool(const Slot& input, const Shape& output, std::shared_ptr<const PoolingWindows> windows,
                             MaximumPlaces places);
  Slot max_pool_backward(const Slot& output_gradient, const Slot& places, const Shape& input,
                         std::shared_ptr<const PoolingWindows> windows);
  /// The elements of input at `places`: the gradient of max_pool_backward.
  Slot max_pool_gather(const Slot& input, const Slot& places, std::shared_ptr<const PoolingWindows> windows);
  Slot average_pool(const Slot& input, const Shape& output, std::shared_ptr<const PoolingWindows> windows);
  Slot average_pool_backward(const Slot& output_gradient, const Shape& input,
                             std::shared_ptr<const PoolingWindows> windows);
  /// Which input positions an output position sums up, and with which weights: see kernels::CombineRowsArguments.
  struct RowTable {
    std::vector<int64_t> begin{0}, indices;
    std::vector<double> weights;
    int64_t output_size() const { return static_cast<int64_t>(begin.size()) - 1; }
  };
  /// Weighted sums along one dimension of a floating slot, which gets the table's output size; 16-bit floats give
  /// float32.
  Slot combine_rows(const Slot& input, int dimension, std::shared_ptr<const RowTable> table);
  /// Whether the elements along `dimension` are adjacent and the slot is dense: what the kernels for rows take.
  static bool is_rows(const Slot& slot, int dimension);
  /// Softmax along the rows of a Float32 or Float64 slot, or its logarithm; the gradient from what that gave.
  Slot softmax_rows(const Slot& input, int dimension, bool logarithm);
  Slot softmax_rows_backward(const Slot& output, const Slot& gradient, int dimension, bool logarithm);
  struct NormalizedRows {
    Slot output, mean, inverse;  ///< (rows, 1) the latter two
  };
  /// Of a matrix in Float32 or Float64. weight and bias: one row, or buffer -1.
  NormalizedRows normalize_rows(const Slot& input, const Slot& weight, const Slot& bias, bool centered, double eps);
  struct NormalizedRowsGradients {
    Slot input, weight, bias;  ///< the latter two: one row, if wanted
  };
  NormalizedRowsGradients normalize_rows_backward(const Slot& gradient, const Slot& input, const Slot& mean,
                                                  const Slot& inverse, const Slot& weight, bool centered,
                                                  bool parameters);
  /// values (N, C, points) = Σ over taps of weights (N, taps, points) · table (N, C, elements) at index (N, taps,
  /// points), 0 where that is -1, in Float32 or Float64. Which of the three is computed from the other two; the slot
  /// given for it has only a shape.
  enum class SampleResult : uint8_t { Values, Table, Weights };
  Slot sample(SampleResult result, const Slot& values, const Slot& index, const Slot& weights, const Slot& table);
  /// values[i] = table[i with coordinate `dimension` replaced by index[i]]; index has the result's shape (expanded
  /// slots are fine), table has it too but for `dimension`. Raises IndexError when run if an index is out of range.
  Slot gather(const Slot& table, const Slot& index, int dimension);
  /// A copy of `table` with values stored (the last one wins) at index, or combined with what is there.
  enum class ScatterKind : uint8_t { Store, Sum, Product, Maximum, Minimum };
  Slot scatter(const Slot& table, const Slot& index, const Slot& values, int dimension, ScatterKind kind);
  /// Along the last dimension; Maximum and Minimum give Int64 places. Input of Float32, Float64 or Int64.
  Slot scan(kernels::ScanKind kind, const Slot& input);
  /// The order of the elements along the last dimension as Int64 places.
  Slot sort(const Slot& input, bool descending);
  /// Places of the smallest (largest) elements along the last dimension: see kernels::SelectArguments.
  Slot select(kernels::SelectKind kind, const Slot& input, int64_t selected, bool largest);
  /// For each value, its place among the ascending boundaries, whose leading dimensions are the values' or none.
  Slot search(const Slot& boundaries, const Slot& values, bool right);
  /// P A = L U of matrices (…, n, n) of float32 or float64, pivots (…, n), and P's determinant (…).
  struct Factors {
    Slot matrices, pivots, signs;
  };
  Factors factor(const Slot& matrices);
  /// A⁻¹ B or A⁻ᵀ B, with B (…, n, columns).
  Slot solve(const Slot& factors, const Slot& pivots, const Slot& sides, bool transposed);
  /// Calls `refuse` when run if the 0-d bool is false.
  void require(const Slot& condition, std::function<void()> refuse);
  struct Random {
    kernels::RandomKind kind;
    double first = 0, second = 1;
    int64_t low = 0, high = 0;
  };
  /// Row-major; `key` is a 0-d int64 slot.
  Slot random(const Random& parameters, const Slot& key, DType dtype, const Shape& shape);

  const kernels::Kernels& kernels() const { return kernels_; }

 private:
  friend class Planner;
  struct BufferInfo {
    size_t bytes;
    int input = -1;  ///< index among the plan's inputs, or -1
  };
  void append(std::unique_ptr<Primitive> primitive);
  /// One call of the table's function of that name.
  template <typename Call>
  void append_call(const char* kernel, std::vector<Slot> reads, std::vector<Slot> writes, Call call);
  /// The slot where it was before it was copied, if it was.
  Slot original(Slot slot) const;
  Slot laid_out(const Slot& slot, bool (Slot::*lies_so)() const, const Strides& strides);

  const kernels::Kernels& kernels_;
  std::vector<BufferInfo> buffers_;
  struct Copy {
    Slot from, to;
  };
  std::vector<Copy> copies_;  ///< between layouts
  std::vector<std::unique_ptr<Primitive>> primitives_;
  const char* operator_name_ = "";
};

}  // namespace pycnn::graph
