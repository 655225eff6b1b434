#include <cmath>

#include "pycnn/autograd.h"
#include "pycnn/nn.h"

namespace pycnn::nn {

namespace {

/// PyTorch's default for linear and convolution layers: He et al. (2015) for leaky ReLU of slope √5, which is U(-b, b)
/// with b = 1/√fan_in. The constants are multiplied as in PyTorch so that the bounds agree to the last bit.
double kaiming_bound(int64_t fan_in) {
  const double gain = std::sqrt(2.0 / (1.0 + 5.0));
  return std::sqrt(3.0) * (gain / std::sqrt(static_cast<double>(fan_in)));
}

/// Inputs that one output element reads, from the weight's shape.
int64_t fan_in_of(const Shape& weight) {
  int64_t fan_in = 1;
  for (int d = 1; d < weight.size(); ++d) fan_in *= weight[d];
  return fan_in;
}

Tensor initial_weight(const Shape& shape) {
  const int64_t fan_in = fan_in_of(shape);
  if (fan_in == 0) return zeros(shape);
  const double bound = kaiming_bound(fan_in);
  return uniform(shape, -bound, bound);
}

Tensor initial_bias(int64_t count, const Shape& weight) {
  const int64_t fan_in = fan_in_of(weight);
  if (fan_in == 0) return zeros({count});
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return uniform({count}, -bound, bound);
}

void check_probability(const std::string& name, double p) {
  check<ValueError>(p >= 0.0 && p <= 1.0, name, ": the probability has to be between 0 and 1, but got ", p);
}

void check_channels(const std::string& name, int64_t in_channels, int64_t out_channels, int64_t groups) {
  check<ValueError>(in_channels >= 0 && out_channels >= 0, name,
                    ": in_channels and out_channels must not be negative, got ", in_channels, " and ", out_channels);
  check<ValueError>(groups > 0, name, ": groups must be positive, got ", groups);
  check<ValueError>(in_channels % groups == 0, name, ": in_channels ", in_channels, " is not divisible by groups ",
                    groups);
  check<ValueError>(out_channels % groups == 0, name, ": out_channels ", out_channels, " is not divisible by groups ",
                    groups);
}

Shape weight_shape(int64_t first, int64_t second, const Dimensions& kernel, const std::string& name) {
  Shape shape{first, second};
  for (int64_t size : kernel) {
    check<ValueError>(size > 0, name, ": kernel_size must be positive, got ", kernel);
    shape.push_back(size);
  }
  return shape;
}

/// Sizes for all dimensions, or none if they were left to their default.
Dimensions expanded_or_empty(const Size& size, int count, const std::string& what) {
  return size.values().empty() ? Dimensions{} : size.expanded(count, what);
}

/// The padding of a convolution as pad() takes it: (before, after) pairs, the last dimension first.
std::vector<int64_t> border_of(const pycnn::ConvOptions& options, const Dimensions& kernel) {
  const auto* mode = std::get_if<std::string_view>(&options.padding);
  std::vector<int64_t> border;
  for (int d = kernel.size() - 1; d >= 0; --d) {
    const int64_t total = !mode             ? 2 * std::get<Dimensions>(options.padding)[d]
                          : *mode == "same" ? options.dilation[d] * (kernel[d] - 1)
                                            : 0;
    border.insert(border.end(), {total / 2, total - total / 2});
  }
  return border;
}

}  // namespace

Dimensions Size::expanded(int count, const std::string& what) const {
  check<ValueError>(values_.size() == 1 || values_.size() == count, what, " has ", values_.size(),
                    " entries, expected 1 or ", count);
  return values_.size() == 1 ? Dimensions::filled(count, values_[0]) : values_;
}

Padding::Padding(const char* mode) {
  const std::string_view given = mode == nullptr ? "" : mode;
  if (given == "same")
    mode_ = "same";
  else if (given == "valid")
    mode_ = "valid";
  else
    fail<ValueError>("padding is '", given, "', expected numbers, 'same' or 'valid'");
}

std::variant<Dimensions, std::string_view> Padding::expanded(int count, const std::string& what) const {
  if (!mode_.empty()) return mode_;
  return Size::expanded(count, what);
}

// -- linear and convolution ------------------------------------------------------------------------------------------
Linear::Linear(int64_t in_features, int64_t out_features, const LinearOptions& options) {
  check<ValueError>(in_features >= 0 && out_features >= 0, "Linear: features must not be negative, got ", in_features,
                    " and ", out_features);
  const Shape shape{out_features, in_features};
  weight_ = register_parameter("weight", initial_weight(shape));
  if (options.bias) bias_ = register_parameter("bias", initial_bias(out_features, shape));
}

template <int spatial>
Conv<spatial>::Conv(int64_t in_channels, int64_t out_channels, const Size& kernel_size, const ConvOptions& options) {
  const std::string name = Conv::name();
  check_channels(name, in_channels, out_channels, options.groups);
  const Dimensions kernel = kernel_size.expanded(spatial, name + ": kernel_size");
  const Shape shape = weight_shape(out_channels, in_channels / options.groups, kernel, name);
  options_ = {.stride = options.stride.expanded(spatial, name + ": stride"),
              .padding = options.padding.expanded(spatial, name + ": padding"),
              .dilation = options.dilation.expanded(spatial, name + ": dilation"),
              .groups = options.groups};
  const std::string& mode = padding_mode_ = options.padding_mode;
  check<ValueError>(mode == "zeros" || mode == "reflect" || mode == "replicate" || mode == "circular", name,
                    ": padding_mode is '", mode, "', expected 'zeros', 'reflect', 'replicate' or 'circular'");
  if (mode != "zeros") {
    border_ = border_of(options_, kernel);
    options_.padding = Dimensions{0};
  }
  weight_ = register_parameter("weight", initial_weight(shape));
  if (options.bias) bias_ = register_parameter("bias", initial_bias(out_channels, shape));
}

template <int spatial>
Tensor Conv<spatial>::forward(const Tensor& input) const {
  const Tensor padded = border_.empty() ? input : pad(input, border_, padding_mode_);
  if constexpr (spatial == 1)
    return conv1d(padded, weight_, bias_, options_);
  else if constexpr (spatial == 2)
    return conv2d(padded, weight_, bias_, options_);
  else
    return conv3d(padded, weight_, bias_, options_);
}

template <int spatial>
ConvTranspose<spatial>::ConvTranspose(int64_t in_channels, int64_t out_channels, const Size& kernel_size,
                                      const ConvTransposeOptions& options) {
  const std::string name = ConvTranspose::name();
  check_channels(name, in_channels, out_channels, options.groups);
  const Dimensions kernel = kernel_size.expanded(spatial, name + ": kernel_size");
  const Shape shape = weight_shape(in_channels, out_channels / options.groups, kernel, name);
  options_ = {.stride = options.stride.expanded(spatial, name + ": stride"),
              .padding = options.padding.expanded(spatial, name + ": padding"),
              .output_padding = options.output_padding.expanded(spatial, name + ": output_padding"),
              .groups = options.groups,
              .dilation = options.dilation.expanded(spatial, name + ": dilation")};
  weight_ = register_parameter("weight", initial_weight(shape));
  if (options.bias) bias_ = register_parameter("bias", initial_bias(out_channels, shape));
}

template <int spatial>
Tensor ConvTranspose<spatial>::forward(const Tensor& input) const {
  if constexpr (spatial == 1)
    return conv_transpose1d(input, weight_, bias_, options_);
  else if constexpr (spatial == 2)
    return conv_transpose2d(input, weight_, bias_, options_);
  else
    return conv_transpose3d(input, weight_, bias_, options_);
}

// -- pooling ---------------------------------------------------------------------------------------------------------
template <int spatial>
MaxPool<spatial>::MaxPool(const Size& kernel_size, const MaxPoolOptions& options) {
  const std::string name = MaxPool::name();
  kernel_size_ = kernel_size.expanded(spatial, name + ": kernel_size");
  options_ = {.stride = expanded_or_empty(options.stride, spatial, name + ": stride"),
              .padding = options.padding.expanded(spatial, name + ": padding"),
              .dilation = options.dilation.expanded(spatial, name + ": dilation"),
              .ceil_mode = options.ceil_mode};
}

template <int spatial>
Tensor MaxPool<spatial>::forward(const Tensor& input) const {
  if constexpr (spatial == 1)
    return max_pool1d(input, kernel_size_, options_);
  else if constexpr (spatial == 2)
    return max_pool2d(input, kernel_size_, options_);
  else
    return max_pool3d(input, kernel_size_, options_);
}

template <int spatial>
AvgPool<spatial>::AvgPool(const Size& kernel_size, const AvgPoolOptions& options) {
  const std::string name = AvgPool::name();
  kernel_size_ = kernel_size.expanded(spatial, name + ": kernel_size");
  options_ = {.stride = expanded_or_empty(options.stride, spatial, name + ": stride"),
              .padding = options.padding.expanded(spatial, name + ": padding"),
              .ceil_mode = options.ceil_mode,
              .count_include_pad = options.count_include_pad,
              .divisor_override = options.divisor_override};
}

template <int spatial>
Tensor AvgPool<spatial>::forward(const Tensor& input) const {
  if constexpr (spatial == 1)
    return avg_pool1d(input, kernel_size_, options_);
  else if constexpr (spatial == 2)
    return avg_pool2d(input, kernel_size_, options_);
  else
    return avg_pool3d(input, kernel_size_, options_);
}

// -- normalisation and dropout ---------------------------------------------------------------------------------------
template <int spatial>
BatchNorm<spatial>::BatchNorm(int64_t num_features, const BatchNormOptions& options) : options_(options) {
  check<ValueError>(num_features >= 0, BatchNorm::name(), ": num_features must not be negative, got ", num_features);
  const Shape shape{num_features};
  if (options.affine) {
    weight_ = register_parameter("weight", ones(shape));
    bias_ = register_parameter("bias", zeros(shape));
  }
  if (options.track_running_stats) {
    running_mean_ = register_buffer("running_mean", zeros(shape));
    running_var_ = register_buffer("running_var", ones(shape));
    num_batches_tracked_ = register_buffer("num_batches_tracked", zeros({}, DType::Int64));
  }
}

template <int spatial>
Tensor BatchNorm<spatial>::forward(const Tensor& input) const {
  const int rank = input.dim();
  if constexpr (spatial == 1)
    check<ValueError>(rank == 2 || rank == 3, "expected 2D or 3D input (got ", rank, "D input)");
  else
    check<ValueError>(rank == spatial + 2, "expected ", spatial + 2, "D input (got ", rank, "D input)");

  double momentum = options_.momentum.value_or(0.0);
  if (is_training() && options_.track_running_stats) {
    Tensor batches = num_batches_tracked_;
    NoGradGuard guard;
    batches += scalar_tensor(1, DType::Int64);
    if (!options_.momentum) momentum = 1.0 / batches.item<double>();
  }
  const bool batch_statistics = is_training() || !options_.track_running_stats;
  return batch_norm(input, running_mean_, running_var_, weight_, bias_, batch_statistics, momentum, options_.eps);
}

Dropout::Dropout(double p) : p_(p) { check_probability("Dropout", p); }

FeatureDropout::FeatureDropout(double p) : p_(p) { check_probability("FeatureDropout", p); }

template class Conv<1>;
template class Conv<2>;
template class Conv<3>;
template class ConvTranspose<1>;
template class ConvTranspose<2>;
template class ConvTranspose<3>;
template class MaxPool<1>;
template class MaxPool<2>;
template class MaxPool<3>;
template class AvgPool<1>;
template class AvgPool<2>;
template class AvgPool<3>;
template class BatchNorm<1>;
template class BatchNorm<2>;
template class BatchNorm<3>;

}  // namespace pycnn::nn
