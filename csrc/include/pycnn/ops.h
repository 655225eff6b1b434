// Every function on tensors, with PyTorch's names, argument order and meaning. All record; none computes.
// Dimensions may be negative. Grouped by the file under csrc/ops/ that implements them.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pycnn/generator.h"
#include "pycnn/tensor.h"

namespace pycnn {

/// A sequence of dimensions; absent means all of them.
using OptionalDimensions = std::optional<Dimensions>;

// -- creation.cpp ---------------------------------------------------------------------------------------------------
Tensor full(const Shape& shape, Scalar value, DType dtype);
Tensor zeros(const Shape& shape, DType dtype = default_dtype());
Tensor ones(const Shape& shape, DType dtype = default_dtype());
/// Zeros: pycnn has no uninitialised memory.
Tensor empty(const Shape& shape, DType dtype = default_dtype());
/// start, start + step, … < end.
Tensor arange(Scalar start, Scalar end, Scalar step, DType dtype);
Tensor linspace(double start, double end, int64_t steps, DType dtype = default_dtype());
Tensor eye(int64_t n, int64_t m, DType dtype = default_dtype());
Tensor zeros_like(const Tensor& input);
Tensor ones_like(const Tensor& input);
Tensor full_like(const Tensor& input, Scalar value);
Tensor one_hot(const Tensor& input, int64_t num_classes = -1);

// -- device.cpp -----------------------------------------------------------------------------------------------------
/// The same elements on another device, or the input itself if they are there. Gradients come back. From pinned memory
/// to a GPU, `non_blocking` returns while the copy is under way; to the CPU it always waits.
Tensor to_device(const Tensor& input, const Device& device, bool non_blocking = false);
/// A copy of a tensor on the CPU in page-locked memory; the input itself if it lies there or if there is no GPU.
Tensor pin_memory(const Tensor& input);
bool is_pinned(const Tensor& input);
/// Tells of work on the tensor's memory that somebody else gives a stream: once nobody refers to it, the memory goes to
/// other tensors when what the stream has been given by then is done. Operators tell of theirs. Evaluates; what is
/// written in place later may lie elsewhere. Throws for tensors on the CPU.
void record_stream(const Tensor& input, const cuda::Stream& stream);

// -- random.cpp: Philox streams; the key is drawn from the generator at the call ------------------------------------
Tensor rand(const Shape& shape, DType dtype = default_dtype(), const Generator& generator = default_generator());
Tensor randn(const Shape& shape, DType dtype = default_dtype(), const Generator& generator = default_generator());
Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype = DType::Int64,
               const Generator& generator = default_generator());
Tensor randperm(int64_t n, const Generator& generator = default_generator());
Tensor uniform(const Shape& shape, double low, double high, DType dtype = default_dtype(),
               const Generator& generator = default_generator());
Tensor normal(const Shape& shape, double mean, double deviation, DType dtype = default_dtype(),
              const Generator& generator = default_generator());
/// 1 with the given probability, else 0.
Tensor bernoulli(const Shape& shape, double probability, DType dtype = default_dtype(),
                 const Generator& generator = default_generator());
/// Element-wise probabilities.
Tensor bernoulli(const Tensor& probabilities, const Generator& generator = default_generator());
Tensor exponential(const Shape& shape, double rate = 1, DType dtype = default_dtype(),
                   const Generator& generator = default_generator());
/// Places in the last dimension of input, of shape (N) or (M, N), drawn in proportion to their weights.
Tensor multinomial(const Tensor& input, int64_t num_samples, bool replacement = false,
                   const Generator& generator = default_generator());

// -- pointwise.cpp: rows of one table --------------------------------------------------------------------------------
Tensor add(const Tensor& a, const Tensor& b, Scalar alpha = 1);
Tensor sub(const Tensor& a, const Tensor& b, Scalar alpha = 1);
Tensor mul(const Tensor& a, const Tensor& b);
/// rounding_mode: "" (true division), "trunc" or "floor".
Tensor div(const Tensor& a, const Tensor& b, std::string_view rounding_mode = "");
Tensor floor_divide(const Tensor& a, const Tensor& b);
Tensor remainder(const Tensor& a, const Tensor& b);
Tensor fmod(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, const Tensor& b);
Tensor atan2(const Tensor& a, const Tensor& b);
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// As maximum and minimum, but NaN loses.
Tensor fmax(const Tensor& a, const Tensor& b);
Tensor fmin(const Tensor& a, const Tensor& b);
Tensor copysign(const Tensor& a, const Tensor& b);
Tensor hypot(const Tensor& a, const Tensor& b);
Tensor nextafter(const Tensor& a, const Tensor& b);
Tensor heaviside(const Tensor& a, const Tensor& b);
/// log(eᵃ + eᵇ), and log2(2ᵃ + 2ᵇ).
Tensor logaddexp(const Tensor& a, const Tensor& b);
Tensor logaddexp2(const Tensor& a, const Tensor& b);
/// a log(b), 0 where a is 0.
Tensor xlogy(const Tensor& a, const Tensor& b);
Tensor zeta(const Tensor& x, const Tensor& q);
Tensor gcd(const Tensor& a, const Tensor& b);
Tensor lcm(const Tensor& a, const Tensor& b);
Tensor eq(const Tensor& a, const Tensor& b);
Tensor ne(const Tensor& a, const Tensor& b);
Tensor lt(const Tensor& a, const Tensor& b);
Tensor le(const Tensor& a, const Tensor& b);
Tensor gt(const Tensor& a, const Tensor& b);
Tensor ge(const Tensor& a, const Tensor& b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_xor(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& input);
Tensor bitwise_and(const Tensor& a, const Tensor& b);
Tensor bitwise_or(const Tensor& a, const Tensor& b);
Tensor bitwise_xor(const Tensor& a, const Tensor& b);
Tensor bitwise_not(const Tensor& input);
Tensor bitwise_left_shift(const Tensor& a, const Tensor& b);
Tensor bitwise_right_shift(const Tensor& a, const Tensor& b);
/// A number as operand: a 0-d tensor that takes part in promotion by its kind only. `other` is the tensor it meets.
Tensor wrap_scalar(Scalar value, const Tensor& other);
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor masked_fill(const Tensor& input, const Tensor& mask, const Tensor& value);
/// Either bound may be undefined.
Tensor clamp(const Tensor& input, const Tensor& min, const Tensor& max);
Tensor clamp(const Tensor& input, std::optional<Scalar> min, std::optional<Scalar> max);
/// a + t (b - a)
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight);
Tensor addcmul(const Tensor& input, const Tensor& a, const Tensor& b, Scalar value = 1);
Tensor addcdiv(const Tensor& input, const Tensor& a, const Tensor& b, Scalar value = 1);
Tensor cast(const Tensor& input, DType dtype);

// clang-format off
/// Unary functions by name: Tensor abs(const Tensor&), …; integers are promoted to the default dtype where PyTorch does.
#define PYCNN_UNARY_FUNCTIONS(X)                                                                                        \
  X(neg) X(abs) X(sign) X(square) X(sqrt) X(rsqrt) X(reciprocal) X(exp) X(expm1) X(log) X(log1p) X(log2) X(log10)       \
  X(sin) X(cos) X(tan) X(asin) X(acos) X(atan) X(sinh) X(cosh) X(tanh) X(erf) X(sigmoid)                                \
  X(asinh) X(acosh) X(atanh) X(exp2) X(erfc) X(erfinv) X(lgamma) X(digamma) X(sinc) X(deg2rad) X(rad2deg)               \
  X(floor) X(ceil) X(round) X(trunc) X(frac) X(isnan) X(isinf) X(isfinite) X(isposinf) X(isneginf) X(signbit)           \
  X(relu) X(silu) X(log_sigmoid)
// clang-format on
#define PYCNN_DECLARE_UNARY(name) Tensor name(const Tensor& input);
PYCNN_UNARY_FUNCTIONS(PYCNN_DECLARE_UNARY)
#undef PYCNN_DECLARE_UNARY
/// The n-th derivative of digamma, n ≥ 0.
Tensor polygamma(int64_t n, const Tensor& input);
Tensor leaky_relu(const Tensor& input, double negative_slope = 0.01);
Tensor elu(const Tensor& input, double alpha = 1.0);
Tensor softplus(const Tensor& input, double beta = 1.0, double threshold = 20.0);
/// approximate: "none" (erf) or "tanh".
Tensor gelu(const Tensor& input, std::string_view approximate = "none");
/// Maximum over groups of `pieces` consecutive channels of dimension 1 (Goodfellow et al. 2013); size(1) must be
/// divisible.
Tensor maxout(const Tensor& input, int64_t pieces);

// -- activation.cpp --------------------------------------------------------------------------------------------------
Tensor hardtanh(const Tensor& input, double min_val = -1.0, double max_val = 1.0);
Tensor relu6(const Tensor& input);
Tensor hardsigmoid(const Tensor& input);
Tensor hardswish(const Tensor& input);
Tensor hardshrink(const Tensor& input, double lambda = 0.5);
Tensor softshrink(const Tensor& input, double lambda = 0.5);
Tensor tanhshrink(const Tensor& input);
/// input where it is above the threshold, else value.
Tensor threshold(const Tensor& input, double threshold, double value);
Tensor selu(const Tensor& input);
Tensor celu(const Tensor& input, double alpha = 1.0);
Tensor mish(const Tensor& input);
Tensor softsign(const Tensor& input);
Tensor softmin(const Tensor& input, int64_t dimension, std::optional<DType> dtype = {});
/// leaky_relu with slopes drawn from [lower, upper) in training, with their mean otherwise (Xu et al. 2015).
Tensor rrelu(const Tensor& input, double lower = 1.0 / 8, double upper = 1.0 / 3, bool training = false);
/// leaky_relu with one slope for all elements or one per channel of dimension 1 (He et al. 2015).
Tensor prelu(const Tensor& input, const Tensor& weight);
/// The first half along a dimension times sigmoid of the second (Dauphin et al. 2017).
Tensor glu(const Tensor& input, int64_t dimension = -1);
/// input / max(its p-norm, eps)
Tensor normalize(const Tensor& input, double p = 2, const Dimensions& dimensions = {1}, double eps = 1e-12);
Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dimension = 1, double eps = 1e-8);
/// The p-norm of a - b + eps along the last dimension.
Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p = 2, double eps = 1e-6, bool keepdim = false);

// -- reduction.cpp ----------------------------------------------------------------------------------------------------
Tensor sum(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false,
           std::optional<DType> dtype = {});
Tensor mean(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
/// `correction`: the divisor is n - correction.
Tensor var(const Tensor& input, const OptionalDimensions& dimensions = {}, double correction = 1, bool keepdim = false);
Tensor std(const Tensor& input, const OptionalDimensions& dimensions = {}, double correction = 1, bool keepdim = false);
std::pair<Tensor, Tensor> var_mean(const Tensor& input, const OptionalDimensions& dimensions = {},
                                   double correction = 1, bool keepdim = false);
Tensor prod(const Tensor& input, std::optional<int64_t> dimension = {}, bool keepdim = false,
            std::optional<DType> dtype = {});
Tensor any(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false);
Tensor all(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false);
Tensor amax(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false);
Tensor amin(const Tensor& input, const OptionalDimensions& dimensions = {}, bool keepdim = false);
/// Over everything; the gradient is shared by equal extremes as in PyTorch.
Tensor max(const Tensor& input);
Tensor min(const Tensor& input);
/// {values, indices} along one dimension.
std::pair<Tensor, Tensor> max(const Tensor& input, int64_t dimension, bool keepdim = false);
std::pair<Tensor, Tensor> min(const Tensor& input, int64_t dimension, bool keepdim = false);
Tensor argmax(const Tensor& input, std::optional<int64_t> dimension = {}, bool keepdim = false);
Tensor argmin(const Tensor& input, std::optional<int64_t> dimension = {}, bool keepdim = false);
/// The p-norm: (Σ|x|^p)^(1/p); how many are not 0 for p = 0, the largest |x| for infinity, the smallest for -infinity.
Tensor norm(const Tensor& input, double p = 2, const OptionalDimensions& dimensions = {}, bool keepdim = false);
Tensor logsumexp(const Tensor& input, const Dimensions& dimensions, bool keepdim = false);
/// Sums the broadcast dimensions away again: the gradient of broadcasting to input's shape from `shape`.
Tensor sum_to_shape(const Tensor& input, const Shape& shape);

// -- shape.cpp: views where PyTorch has views ------------------------------------------------------------------------
/// One size may be -1.
Tensor reshape(const Tensor& input, const Shape& shape);
Tensor flatten(const Tensor& input, int64_t start_dim = 0, int64_t end_dim = -1);
Tensor unflatten(const Tensor& input, int64_t dimension, const Shape& sizes);
Tensor permute(const Tensor& input, const Dimensions& order);
Tensor transpose(const Tensor& input, int64_t a, int64_t b);
Tensor squeeze(const Tensor& input, const OptionalDimensions& dimensions = {});
Tensor unsqueeze(const Tensor& input, int64_t dimension);
/// -1 keeps a size.
Tensor expand(const Tensor& input, const Shape& shape);
Tensor broadcast_to(const Tensor& input, const Shape& shape);
/// A row-major (or, as asked, channels-last) copy of the memory; the value is the same.
Tensor contiguous(const Tensor& input, bool channels_last = false);
Tensor clone(const Tensor& input);
Tensor cat(std::span<const Tensor> tensors, int64_t dimension = 0);
Tensor stack(std::span<const Tensor> tensors, int64_t dimension = 0);
Tensors split(const Tensor& input, int64_t split_size, int64_t dimension = 0);
Tensors split(const Tensor& input, std::span<const int64_t> sizes, int64_t dimension = 0);
Tensors chunk(const Tensor& input, int64_t chunks, int64_t dimension = 0);
Tensors unbind(const Tensor& input, int64_t dimension = 0);

// -- padding.cpp ------------------------------------------------------------------------------------------------------
/// Pads by (before, after) pairs, the last dimension first; negative amounts crop. mode: "constant" (any dimensions,
/// with `value`), or, over the dimensions behind the channels of (C, …) or (N, C, …): "reflect" (mirrored at the
/// border's elements, by less than the size), "replicate" (the border's elements) or "circular" (the other side, at
/// most once round).
Tensor pad(const Tensor& input, const std::vector<int64_t>& padding, std::string_view mode = "constant",
           double value = 0);

// -- indexing.cpp -----------------------------------------------------------------------------------------------------
Tensor select(const Tensor& input, int64_t dimension, int64_t index);
Tensor narrow(const Tensor& input, int64_t dimension, int64_t start, int64_t length);
/// Python's slice semantics, step ≥ 1.
Tensor slice(const Tensor& input, int64_t dimension, std::optional<int64_t> start, std::optional<int64_t> stop,
             int64_t step = 1);
Tensor flip(const Tensor& input, const Dimensions& dimensions);
/// The base with the window replaced by `value`: what an assignment through a slice records. Arguments as slice().
Tensor slice_update(const Tensor& base, const Tensor& value, int64_t dimension, int64_t start, int64_t stop,
                    int64_t step);
Tensor index_select(const Tensor& input, int64_t dimension, const Tensor& index);
Tensor gather(const Tensor& input, int64_t dimension, const Tensor& index);
Tensor scatter(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source);
Tensor scatter_add(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source);

// -- ordering.cpp -----------------------------------------------------------------------------------------------------
/// {values, indices}; equal elements keep their order, NaN counts as the largest.
std::pair<Tensor, Tensor> sort(const Tensor& input, int64_t dimension = -1, bool descending = false);
Tensor argsort(const Tensor& input, int64_t dimension = -1, bool descending = false);
Tensor cumsum(const Tensor& input, int64_t dimension, std::optional<DType> dtype = {});
Tensor cumprod(const Tensor& input, int64_t dimension, std::optional<DType> dtype = {});
Tensor logcumsumexp(const Tensor& input, int64_t dimension);
std::pair<Tensor, Tensor> cummax(const Tensor& input, int64_t dimension);
std::pair<Tensor, Tensor> cummin(const Tensor& input, int64_t dimension);

/// The k largest (smallest) elements in order: {values, indices}. Equal ones come as the selection leaves them.
std::pair<Tensor, Tensor> topk(const Tensor& input, int64_t k, int64_t dimension = -1, bool largest = true);
/// The k-th smallest element, counted from 1: {values, indices}.
std::pair<Tensor, Tensor> kthvalue(const Tensor& input, int64_t k, int64_t dimension = -1, bool keepdim = false);
/// How many of the ascending boundaries (a vector, or one for each line of values) are less than each value; or, if
/// `right`, not greater. int64.
Tensor searchsorted(const Tensor& boundaries, const Tensor& values, bool right = false);

// -- scatter_reduce.cpp -----------------------------------------------------------------------------------------------
/// input with source's elements reduced into the places at `index`: "prod", "amax" or "amin".
Tensor scatter_reduce(const Tensor& input, int64_t dimension, const Tensor& index, const Tensor& source,
                      std::string_view reduce);

// -- linear_algebra.cpp -----------------------------------------------------------------------------------------------
/// Square matrices (…, n, n) of float32 or float64.
Tensor det(const Tensor& input);
/// {sign, log|det|}
std::pair<Tensor, Tensor> slogdet(const Tensor& input);
/// Both look at the factors at once: a singular matrix throws LinAlgError here.
Tensor inverse(const Tensor& input);
/// X with A X = B (X A = B unless `left`); B holds matrices, or vectors where its shape is A's without the last size.
Tensor solve(const Tensor& a, const Tensor& b, bool left = true);

// -- matmul.cpp -------------------------------------------------------------------------------------------------------
/// Vectors, matrices and batches as numpy.matmul.
Tensor matmul(const Tensor& a, const Tensor& b);
Tensor mm(const Tensor& a, const Tensor& b);
/// Matrix times vector; the sum of two vectors' products.
Tensor mv(const Tensor& input, const Tensor& vector);
Tensor dot(const Tensor& a, const Tensor& b);
/// beta · input + alpha · (a × b)
Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta = 1, Scalar alpha = 1);
Tensor bmm(const Tensor& a, const Tensor& b);
/// x Wᵀ + b; weight (out_features, in_features).
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {});

// -- convolution.cpp --------------------------------------------------------------------------------------------------
/// Per spatial dimension; a single entry counts for all.
struct ConvOptions {
  Dimensions stride{1};
  /// Sizes, or "same" (stride 1 only), or "valid".
  std::variant<Dimensions, std::string_view> padding = Dimensions{0};
  Dimensions dilation{1};
  int64_t groups = 1;
};
/// input (N, C, L) or (C, L), weight (O, C/groups, k), bias (O) or undefined.
Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions& options = {});
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions& options = {});
Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {}, const ConvOptions& options = {});
struct ConvTransposeOptions {
  Dimensions stride{1};
  Dimensions padding{0};
  Dimensions output_padding{0};
  int64_t groups = 1;
  Dimensions dilation{1};
};
/// weight (C, O/groups, k).
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions& options = {});
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions& options = {});
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions& options = {});

// -- pooling.cpp ------------------------------------------------------------------------------------------------------
struct MaxPoolOptions {
  Dimensions stride{};  ///< empty: the kernel size
  Dimensions padding{0};
  Dimensions dilation{1};
  bool ceil_mode = false;
};
/// `spatial` is 1, 2 or 3; input with or without batch. {values, indices}.
std::pair<Tensor, Tensor> max_pool_with_indices(int spatial, const Tensor& input, const Dimensions& kernel_size,
                                                const MaxPoolOptions& options = {});
Tensor max_pool1d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options = {});
Tensor max_pool2d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options = {});
Tensor max_pool3d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options = {});
struct AvgPoolOptions {
  Dimensions stride{};
  Dimensions padding{0};
  bool ceil_mode = false;
  bool count_include_pad = true;
  std::optional<int64_t> divisor_override = {};
};
Tensor avg_pool1d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options = {});
Tensor avg_pool2d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options = {});
Tensor avg_pool3d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options = {});
/// An output size of -1 keeps the input's (PyTorch's None).
Tensor adaptive_avg_pool(int spatial, const Tensor& input, const Dimensions& output_size);
std::pair<Tensor, Tensor> adaptive_max_pool_with_indices(int spatial, const Tensor& input,
                                                         const Dimensions& output_size);

// -- normalization.cpp ------------------------------------------------------------------------------------------------
/// Statistics over all dimensions but 1. With training, running_mean and running_var (if defined) are updated in place:
/// r ← (1 - momentum) r + momentum · batch, with the unbiased variance. weight and bias may be undefined.
Tensor batch_norm(const Tensor& input, Tensor running_mean, Tensor running_var, const Tensor& weight = {},
                  const Tensor& bias = {}, bool training = false, double momentum = 0.1, double eps = 1e-5);
/// x / (k + alpha/size Σ x²)^beta over `size` neighbouring channels (Krizhevsky et al. 2012, PyTorch's scaling of
/// alpha).
Tensor local_response_norm(const Tensor& input, int64_t size, double alpha = 1e-4, double beta = 0.75, double k = 1.0);

// -- group_normalization.cpp: (x - mean) / √(variance + eps) · weight + bias; weight and bias may be undefined
// ---------
/// Over the last dimensions, which are `normalized_shape`, as weight and bias are.
Tensor layer_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight = {},
                  const Tensor& bias = {}, double eps = 1e-5);
/// x / √(mean of squares + eps) · weight over the last dimensions; eps absent: the dtype's machine epsilon.
Tensor rms_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight = {},
                std::optional<double> eps = {});
/// Over all of a sample but its `num_groups` groups of neighbouring channels; weight and bias (C).
Tensor group_norm(const Tensor& input, int64_t num_groups, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
/// Over the spatial dimensions of each sample and channel. Running statistics, if defined, are moved towards the means
/// of the samples' with use_input_stats, read without.
Tensor instance_norm(const Tensor& input, Tensor running_mean = {}, Tensor running_var = {}, const Tensor& weight = {},
                     const Tensor& bias = {}, bool use_input_stats = true, double momentum = 0.1, double eps = 1e-5);

// -- resample.cpp -----------------------------------------------------------------------------------------------------
struct InterpolateOptions {
  /// "nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area" or "lanczos".
  std::string_view mode = "nearest";
  bool align_corners = false;
  /// Output per input positions in each spatial dimension, where they are not the sizes' ratio (empty or 0: they are).
  std::vector<double> scales = {};
  bool antialias = false;
};
/// Resizes the spatial dimensions of (N, C, …) to `size`.
Tensor interpolate(const Tensor& input, const Dimensions& size, const InterpolateOptions& options = {});
struct FoldOptions {
  Dimensions dilation{1};
  Dimensions padding{0};
  Dimensions stride{1};
};
/// (N, C, H, W) → (N, C · kH · kW, windows): every window's elements as a column.
Tensor unfold(const Tensor& input, const Dimensions& kernel_size, const FoldOptions& options = {});
/// The transpose of unfold: columns are added where their windows lie in (N, C, *output_size).
Tensor fold(const Tensor& input, const Dimensions& output_size, const Dimensions& kernel_size,
            const FoldOptions& options = {});

// -- grid_sample.cpp --------------------------------------------------------------------------------------------------
/// input (N, C, …), grid (N, …, 2 or 3) of places (x, y, (z)) from -1 to 1. mode: "bilinear", "nearest", "bicubic";
/// padding_mode: "zeros", "border", "reflection".
Tensor grid_sample(const Tensor& input, const Tensor& grid, std::string_view mode = "bilinear",
                   std::string_view padding_mode = "zeros", bool align_corners = false);
/// The grid of affine maps theta (N, 2, 3) or (N, 3, 4) for an output of shape `size`.
Tensor affine_grid(const Tensor& theta, const Shape& size, bool align_corners = false);

// -- shuffle.cpp ------------------------------------------------------------------------------------------------------
/// (…, C r², H, W) → (…, C, H r, W r)
Tensor pixel_shuffle(const Tensor& input, int64_t upscale_factor);
/// (…, C, H r, W r) → (…, C r², H, W)
Tensor pixel_unshuffle(const Tensor& input, int64_t downscale_factor);
/// (N, groups · n, …): channels of all groups take turns.
Tensor channel_shuffle(const Tensor& input, int64_t groups);

// -- dropout.cpp ------------------------------------------------------------------------------------------------------
/// Zeroes elements with probability p and scales the rest by 1/(1-p). The mask is a node; second derivatives work.
Tensor dropout(const Tensor& input, double p = 0.5, bool training = true);
/// Whole channels of (N, C, …).
Tensor feature_dropout(const Tensor& input, double p = 0.5, bool training = true);
/// Whole channels of (N, C, L), (N, C, H, W), (N, C, D, H, W). One sample less N is taken by the first and the last.
Tensor dropout1d(const Tensor& input, double p = 0.5, bool training = true);
Tensor dropout2d(const Tensor& input, double p = 0.5, bool training = true);
Tensor dropout3d(const Tensor& input, double p = 0.5, bool training = true);

// -- loss.cpp ---------------------------------------------------------------------------------------------------------
enum class Reduction : uint8_t { None, Mean, Sum };
Tensor softmax(const Tensor& input, int64_t dimension, std::optional<DType> dtype = {});
Tensor log_softmax(const Tensor& input, int64_t dimension, std::optional<DType> dtype = {});
struct CrossEntropyOptions {
  Tensor weight = {};
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::Mean;
  double label_smoothing = 0.0;
};
/// input (C), (N, C) or (N, C, d1, …); target class indices (int64, without C) or probabilities (input's shape).
/// Indices already known are checked here, others when run.
Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options = {});
Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                Reduction reduction = Reduction::Mean);
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean);
Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean);
Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                            Reduction reduction = Reduction::Mean);
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                                        Reduction reduction = Reduction::Mean, const Tensor& pos_weight = {});

// -- pointwise_loss.cpp -----------------------------------------------------------------------------------------------
/// d = |input - target|: d²/(2 beta) below beta, d - beta/2 from there on (Girshick 2015).
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean,
                      double beta = 1.0);
/// d²/2 up to delta, delta (d - delta/2) beyond (Huber 1964).
Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean, double delta = 1.0);
/// target (log target - input), or exp(target) (target - input) with log_target.
Tensor kl_div(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean,
              bool log_target = false);
struct PoissonOptions {
  bool log_input = true;
  bool full = false;  ///< with Stirling's approximation of log(target!)
  double eps = 1e-8;
  Reduction reduction = Reduction::Mean;
};
Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonOptions& options = {});
Tensor gaussian_nll_loss(const Tensor& input, const Tensor& target, const Tensor& variance, bool full = false,
                         double eps = 1e-6, Reduction reduction = Reduction::Mean);
Tensor hinge_embedding_loss(const Tensor& input, const Tensor& target, double margin = 1.0,
                            Reduction reduction = Reduction::Mean);
/// log(1 + exp(-target · input)), without overflow.
Tensor soft_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean);

// -- margin_loss.cpp --------------------------------------------------------------------------------------------------
Tensor multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                                   Reduction reduction = Reduction::Mean);
/// input (N, C) or (C), target int64 likewise: the labels of each row, ended by -1.
Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::Mean);
/// Σ_c max(0, margin - input[target] + input[c])^p / C; p is 1 or 2.
Tensor multi_margin_loss(const Tensor& input, const Tensor& target, double p = 1, double margin = 1.0,
                         const Tensor& weight = {}, Reduction reduction = Reduction::Mean);
Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin = 0,
                           Reduction reduction = Reduction::Mean);
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin = 0,
                             Reduction reduction = Reduction::Mean);
struct TripletOptions {
  double margin = 1.0;
  double p = 2.0;
  double eps = 1e-6;
  bool swap = false;  ///< the distance of positive and negative counts too (Balntas et al. 2016)
  Reduction reduction = Reduction::Mean;
};
Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletOptions& options = {});

// -- ctc_loss.cpp -----------------------------------------------------------------------------------------------------
/// Connectionist temporal classification (Graves et al. 2006). log_probs (T, N, C) or (T, C); targets (N, S), or all
/// labels one after the other. Lengths and targets are read at the call.
Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<int64_t>& input_lengths,
                const std::vector<int64_t>& target_lengths, int64_t blank = 0, Reduction reduction = Reduction::Mean,
                bool zero_infinity = false);

// -- operators --------------------------------------------------------------------------------------------------------
inline Tensor operator-(const Tensor& a) { return neg(a); }
#define PYCNN_BINARY_OPERATOR(symbol, function)                                                       \
  inline Tensor operator symbol(const Tensor& a, const Tensor& b) { return function(a, b); }          \
  inline Tensor operator symbol(const Tensor& a, Scalar b) { return function(a, wrap_scalar(b, a)); } \
  inline Tensor operator symbol(Scalar a, const Tensor& b) { return function(wrap_scalar(a, b), b); }
PYCNN_BINARY_OPERATOR(+, add)
PYCNN_BINARY_OPERATOR(-, sub)
PYCNN_BINARY_OPERATOR(*, mul)
PYCNN_BINARY_OPERATOR(/, div)
PYCNN_BINARY_OPERATOR(==, eq)
PYCNN_BINARY_OPERATOR(!=, ne)
PYCNN_BINARY_OPERATOR(<, lt)
PYCNN_BINARY_OPERATOR(<=, le)
PYCNN_BINARY_OPERATOR(>, gt)
PYCNN_BINARY_OPERATOR(>=, ge)
#undef PYCNN_BINARY_OPERATOR
inline Tensor& operator+=(Tensor& a, const Tensor& b) {
  a.check_in_place("add_");
  return a.assign_(add(a, b));
}
inline Tensor& operator-=(Tensor& a, const Tensor& b) {
  a.check_in_place("sub_");
  return a.assign_(sub(a, b));
}
inline Tensor& operator*=(Tensor& a, const Tensor& b) {
  a.check_in_place("mul_");
  return a.assign_(mul(a, b));
}
inline Tensor& operator/=(Tensor& a, const Tensor& b) {
  a.check_in_place("div_");
  return a.assign_(div(a, b));
}

}  // namespace pycnn
