// The contract between plans and devices: argument structs, raw pointers, and the table a device fills.
// Kernels run to completion, allocate nothing (workspace is passed in) and throw nothing but what is said here.
// Every kernel cuts its work by shape alone, never by thread count, and adds partial results in a fixed order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/program.h"
#include "pycnn/dtype.h"

namespace pycnn::kernels {

// -- reductions -----------------------------------------------------------------------------------------------------
enum class ReduceKind : uint8_t {
  Sum,
  Product,
  Maximum,  ///< NaN if any element is NaN
  Minimum,
  Moments,  ///< output: mean; second: Σ(x-mean)², shifted or Welford's, combined pairwise (Chan et al. 1979)
};

inline constexpr int max_accumulations = 8;  ///< that share one pass

/// One result of a reduction. F32 sums accumulate blockwise so that the error grows with log n.
struct Accumulation {
  ReduceKind kind;
  uint8_t source;  ///< register of the prologue that is reduced
  Operand output;  ///< stride 0 along reduced loops; written by rounding to its dtype
  Operand second;  ///< Moments only
};

/// Runs the prologue over the iteration space (it may also store) and reduces registers over the loops marked in
/// `reduced`. The order of additions depends on sizes and reduced alone, not on the prologue or strides. Empty reduced
/// loops give the identity (infinities or the extreme integers for Maximum and Minimum; mean 0 and second 0 for
/// Moments).
struct ReduceArguments {
  PointwiseArguments prologue;
  bool reduced[max_loops];
  Accumulation* accumulations;
  int accumulation_count;
  void* workspace;  ///< reduce_workspace() bytes
};

/// First index of the maximum (minimum) along an axis; NaN counts as the extreme. Also its value if values.data is set.
struct ArgReduceArguments {
  bool maximum;
  int64_t sizes[3];  ///< outer, axis, inner
  Operand input;     ///< strides over the three
  Operand values;    ///< stride along the axis is 0
  Operand indices;   ///< int64
};

// -- convolution ----------------------------------------------------------------------------------------------------
/// Sizes of a convolution (cross-correlation) in three spatial dimensions; missing ones are 1 (stride 1, padding 0).
/// in_channels and out_channels count all groups.
struct ConvolutionShape {
  int64_t batch, groups, in_channels, out_channels;
  int64_t input[3], output[3], kernel[3], stride[3], padding[3],
      dilation[3];  ///< padding before; the end follows from output
};

/// input and output are dense channels-last: (batch, D, H, W, C). The pass decides which of the three is written.
/// dtype is Float32, Float64 or BFloat16 (summed in float32, rounded once before the epilogue).
struct ConvolutionArguments {
  ConvolutionShape shape;
  DType dtype;
  void* input;
  void* weight;
  void* output;
  int64_t
      weight_strides[3];  ///< in elements: out channel, in channel (within its group), tap (row-major over the kernel)
  /// Applied to the finished result (output in Forward, input in InputGradient; never in WeightGradient), or null.
  /// Innermost loop: channels; the outer loops together: pixels, in memory order.
  const PointwiseArguments* epilogue;
  int winograd = 2;     ///< largest tile of results for Winograd's algorithm: 0 (never), 2 or 4 (faster and less exact)
  bool tf32 = false;    ///< float32 factors may be rounded to TFloat32, where there are tensor cores for it
  bool forced = false;  ///< the algorithm was asked for by name: it declines only what it cannot do
  const void* packed = nullptr;  ///< what pack() made of the weight; null: the algorithm packs for itself
  void* workspace;
};

enum class ConvolutionPass : uint8_t { Forward, InputGradient, WeightGradient };

struct ConvolutionAlgorithm {
  const char* name;
  /// Null if applicable, else the reason why not.
  const char* (*declines)(const ConvolutionArguments&);
  size_t (*workspace)(const ConvolutionArguments&);
  void (*run)(const ConvolutionArguments&);
  /// The weight as run() reads it, to be kept while the weight stays the same: bytes (0: run() reads it as it lies),
  /// and writing them. They follow from dtype, weight and its strides, and all of the shape but batch, output and
  /// input, of which only min(input, stride) matters.
  size_t (*packed_bytes)(const ConvolutionArguments&) = nullptr;
  void (*pack)(const ConvolutionArguments&, void* to) = nullptr;
};

// -- matrix multiplication --------------------------------------------------------------------------------------------
/// c[i,j] = Σ_k a[i,k] b[k,j] for each of batch[0]·batch[1] products. dtype: Float32, Float64, Int64 or BFloat16
/// (summed in float32, rounded once before the epilogue).
struct MatmulArguments {
  DType dtype;
  int64_t batch[2], m, n, k;
  const void* a;
  const void* b;
  void* c;  ///< each product is dense row-major along n: c_row ≥ n, column stride 1
  int64_t a_batch[2], a_row, a_column;
  int64_t b_batch[2], b_row, b_column;
  int64_t c_batch[2], c_row;
  /// Innermost loop: n; the outer loops together: (batch, m) in order; or null.
  const PointwiseArguments* epilogue;
  const void* packed = nullptr;  ///< what pack() made of b; null: the algorithm packs for itself
  bool tf32 = false;             ///< float32 factors may be rounded to TFloat32
  bool forced = false;           ///< the algorithm was asked for by name: it declines only what it cannot do
  void* workspace;
};

struct MatmulAlgorithm {
  const char* name;
  const char* (*declines)(const MatmulArguments&);
  size_t (*workspace)(const MatmulArguments&);
  void (*run)(const MatmulArguments&);
  /// As for convolutions: b as run() reads it. It follows from dtype, batch, n, k, b and its strides.
  size_t (*packed_bytes)(const MatmulArguments&) = nullptr;
  void (*pack)(const MatmulArguments&, void* to) = nullptr;
};

// -- pooling --------------------------------------------------------------------------------------------------------
/// The window offset of an output without a tap.
inline constexpr uint8_t no_tap = 255;
/// How many windows of how many rows of outputs a backward kernel adds up for an element before it stores the sum,
/// which bfloat16 may not outlive.
inline constexpr int pooling_rows_at_once = 32, pooling_windows_at_once = 64;

/// Windows per spatial dimension as tables, which covers stride, padding, dilation, ceil_mode and adaptive pooling
/// alike: output position o sees the inputs begin[d][o], begin[d][o] + step[d], … < end[d][o], all of them inside the
/// input. The place of a maximum is kept in one of two forms, in output's layout: first wins ties, NaN wins all.
struct PoolingArguments {
  DType dtype;  ///< Float32, Float64, BFloat16 (backward: as many windows as are added at once); Maximum also Int64
  int64_t batch, channels, input_size[3], output_size[3];
  const int64_t* begin[3];
  const int64_t* end[3];
  int64_t step[3];
  int64_t taps[3];               ///< of the largest window in each dimension
  const int64_t* seen_begin[3];  ///< input position i is seen by no outputs but seen_begin[d][i] … < seen_end[d][i]
  const int64_t* seen_end[3];
  const int64_t* divisor[3];  ///< average: an output is divided by the product of its three entries
  void* input;       ///< dense channels-last, (batch, D, H, W, C); gradient of the input in the backward kernels
  void* output;      ///< likewise; gradient of the output in the backward kernels
  int64_t* indices;  ///< maximum: row-major index within D×H×W of the input (less than 2³¹ elements), -1 without a tap
  uint8_t* offsets;  ///< maximum, if indices is null: tap number, row-major within taps[0]×taps[1]×taps[2] < no_tap
};

// -- weighted sums along an axis --------------------------------------------------------------------------------------
/// output[a, o, b] = Σ weights[t] · input[a, indices[t], b] over t = begin[o] … begin[o+1]-1, added in that order; 0 if
/// there is none. Both are dense.
struct CombineRowsArguments {
  DType dtype;  ///< Float32 or Float64
  int64_t outer, input_size, output_size, inner;
  const void* input;
  void* output;
  const int64_t* begin;
  const int64_t* indices;
  const double* weights;
};

// -- rows -------------------------------------------------------------------------------------------------------------
/// Softmax over each row of adjacent elements, or its logarithm. With `output_gradient` set `input` is what the forward
/// kernel gave, and the result the gradient of what it was given.
struct SoftmaxArguments {
  DType dtype;  ///< Float32 or Float64
  bool logarithm;
  int64_t rows, columns;
  const void* input;
  const void* output_gradient;
  void* output;
};

/// Each row of adjacent elements less its mean (if centered), divided by √(variance + eps), times weight, plus bias.
struct NormalizeRowsArguments {
  DType dtype;  ///< Float32 or Float64, of all
  bool centered;
  int64_t rows, columns;
  double eps;
  const void* input;
  const void* weight;  ///< (columns), as bias; either may be null
  const void* bias;
  void* output;
  void* mean;     ///< (rows); 0 if not centered
  void* inverse;  ///< (rows): 1 / √(variance + eps)
};

/// Its gradients; what is null is not wanted. workspace: normalize_rows_backward_workspace() bytes.
struct NormalizeRowsBackwardArguments {
  DType dtype;
  bool centered;
  int64_t rows, columns;
  const void* output_gradient;
  const void* input;
  const void* mean;
  const void* inverse;
  const void* weight;  ///< or null
  void* input_gradient;
  void* weight_gradient;
  void* bias_gradient;
  void* workspace;
};

// -- sampling ---------------------------------------------------------------------------------------------------------
/// values[b, p] = Σ_t weights[b, t, p] · table[b, index[b, t, p]] for vectors of channels, 0 where the index is -1.
/// Each of the three is linear in the other two; the kernel says which one is written.
struct SampleArguments {
  DType dtype;  ///< Float32 or Float64
  int64_t batch, points, taps, elements, channels;
  const int64_t* index;  ///< (batch, taps, points)
  void* weights;         ///< likewise
  void* table;           ///< (batch, elements, channels)
  void* values;          ///< (batch, points, channels)
};

// -- indexing ---------------------------------------------------------------------------------------------------------
/// gather:       values[i] = table[i with coordinate `axis` replaced by index[i]]
/// scatter_add:  table[…] += values[i], in increasing order of i along the axis (table is initialised by the caller)
/// scatter:      table[…]  = values[i], the last one wins
/// scatter_product, _maximum, _minimum: as scatter_add with *, max and min (NaN wins)
/// Returns false, having touched no memory out of bounds, if an index is outside 0…axis_size-1.
struct IndexArguments {
  DType dtype;
  int64_t sizes[max_loops];  ///< of the iteration space of index and values
  int loops;
  int axis;  ///< which loop runs along the indexed axis
  Operand values;
  Operand index;        ///< Int64; strides as for values
  Operand table;        ///< strides as for values, 0 along the axis
  int64_t axis_stride;  ///< of the table, in elements
  int64_t axis_size;
};

// -- lines
// --------------------------------------------------------------------------------------------------------------
enum class ScanKind : uint8_t { Sum, Product, LogSumExp, Maximum, Minimum };

/// Combines the elements of each line up to and with every place, one after the other; sums and products of float32 in
/// double. Maximum and Minimum give the place of the extreme so far instead: the last of equals; NaN wins.
struct ScanArguments {
  ScanKind kind;
  DType dtype;  ///< Float32, Float64 or Int64, of input and values
  int64_t lines, count;
  const void* input;  ///< dense: (lines, count), as the outputs
  void* values;
  int64_t* indices;  ///< Maximum and Minimum, which write no values
};

/// The places of each line's elements in ascending (descending) order; equals keep theirs. NaN counts as the largest.
struct SortArguments {
  DType dtype;  ///< Float32, Float64 or Int64
  bool descending;
  int64_t lines, count;
  const void* input;  ///< dense: (lines, count), as indices and workspace
  int64_t* indices;
  int64_t* workspace;
};

/// The places of the `selected` smallest (largest) elements of each line; NaN counts as the largest.
enum class SelectKind : uint8_t {
  Ranked,  ///< in order; what is equal comes as the C++ library's selection and sort put it
  Last,    ///< only the last of them, found by Hoare's selection
};
struct SelectArguments {
  SelectKind kind;
  DType dtype;  ///< Float32, Float64 or Int64
  bool largest;
  int64_t lines, count, selected;
  const void* input;  ///< dense: (lines, count)
  int64_t* indices;   ///< (lines, selected), or (lines, 1) for Last
  void* workspace;    ///< 16 bytes for each element of input
};

/// How many elements of an ascending line are less than each value (not greater than it, if `right`).
struct SearchArguments {
  DType dtype;  ///< Float32, Float64 or Int64
  bool right;
  int64_t lines, count, values_per_line;
  const void* boundaries;  ///< dense: (lines, count), or (count) for all if `shared`
  bool shared;
  const void* values;  ///< dense: (lines, values_per_line), as places
  int64_t* places;
};

// -- linear algebra ---------------------------------------------------------------------------------------------------
/// P A = L U with partial pivoting of square matrices in place: U on and above the diagonal, L below it, where its ones
/// are not stored. Row i was exchanged with row pivots[i] ≥ i, one after the other; signs: -1 for an odd number of
/// exchanges. A column without a pivot leaves its zero on the diagonal.
struct FactorArguments {
  DType dtype;  ///< Float32 or Float64
  int64_t batch, size;
  void* matrices;  ///< dense: (batch, size, size)
  int64_t* pivots;
  void* signs;
};

/// Replaces the right sides B, dense (batch, size, columns), by A⁻¹B or A⁻ᵀB.
struct SolveArguments {
  DType dtype;
  bool transposed;
  int64_t batch, size, columns;
  const void* factors;
  const int64_t* pivots;
  void* sides;
};

// -- random -----------------------------------------------------------------------------------------------------------
enum class RandomKind : uint8_t { Uniform, Normal, Bernoulli, Integer };

/// Element i of the row-major output depends on (key, i) alone: Philox4x32-10 (Salmon et al. 2011), Box-Muller for
/// Normal.
struct RandomArguments {
  RandomKind kind;
  const int64_t* key;    ///< where the kernel runs
  double first, second;  ///< Uniform: [first, second); Normal: mean, deviation; Bernoulli: probability of 1
  int64_t low, high;     ///< Integer: [low, high)
  DType dtype;
  void* output;
  int64_t count;
};

/// What a device provides. Algorithm lists end with a null name; best first, the reference last.
struct Kernels {
  const char* device;  ///< "cpu"
  const char* level;   ///< "portable", "avx2", "avx512", "neon"
  void (*pointwise)(const PointwiseArguments&);
  /// Several programs that do not depend on each other, as one piece of work.
  void (*pointwise_batch)(const PointwiseArguments* programs, int count);
  /// The part [outer_begin, outer_end) × [inner_begin, inner_end) of the iteration space, in the calling thread. For
  /// epilogues.
  void (*pointwise_region)(const PointwiseArguments&, int64_t outer_begin, int64_t outer_end, int64_t inner_begin,
                           int64_t inner_end);
  size_t (*reduce_workspace)(const ReduceArguments&);
  void (*reduce)(const ReduceArguments&);
  void (*arg_reduce)(const ArgReduceArguments&);
  const ConvolutionAlgorithm* convolution[3];  ///< by ConvolutionPass
  const MatmulAlgorithm* matmul;
  void (*max_pool)(const PoolingArguments&);
  void (*max_pool_backward)(const PoolingArguments&);
  void (*max_pool_gather)(const PoolingArguments&);  ///< output = the elements of input that indices or offsets name
  void (*average_pool)(const PoolingArguments&);
  void (*average_pool_backward)(const PoolingArguments&);
  void (*combine_rows)(const CombineRowsArguments&);
  void (*softmax)(const SoftmaxArguments&);
  void (*normalize_rows)(const NormalizeRowsArguments&);
  size_t (*normalize_rows_backward_workspace)(const NormalizeRowsBackwardArguments&);
  void (*normalize_rows_backward)(const NormalizeRowsBackwardArguments&);
  void (*sample)(const SampleArguments&);          ///< values
  void (*sample_spread)(const SampleArguments&);   ///< table ← Σ over points of weights · values
  void (*sample_weights)(const SampleArguments&);  ///< weights ← values · table, summed over channels
  bool (*gather)(const IndexArguments&);
  bool (*scatter_add)(const IndexArguments&);
  bool (*scatter)(const IndexArguments&);
  bool (*scatter_product)(const IndexArguments&);
  bool (*scatter_maximum)(const IndexArguments&);
  bool (*scatter_minimum)(const IndexArguments&);
  void (*scan)(const ScanArguments&);
  void (*sort)(const SortArguments&);
  void (*select)(const SelectArguments&);
  void (*search)(const SearchArguments&);
  void (*factor)(const FactorArguments&);
  void (*solve)(const SolveArguments&);
  void (*random)(const RandomArguments&);
  /// Float32 multiply-adds from registers, in the calling thread; returns how many operations that were.
  int64_t (*multiply_add_loop)(int64_t rounds);
  /// The same in bfloat16 with float32 sums, as products at this level multiply it.
  int64_t (*bfloat16_multiply_add_loop)(int64_t rounds);
};

}  // namespace pycnn::kernels
