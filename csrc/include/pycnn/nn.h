// Modules: layers that hold parameters. Names of parameters and default initialisation are PyTorch's.
#pragma once

#include <concepts>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pycnn/ops.h"
#include "pycnn/tensor.h"

namespace pycnn::nn {

/// Values by dotted name ("conv1.weight"), as saved in files.
using StateDict = std::map<std::string, Tensor>;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// What load_state_dict(…, strict = false) passed over.
struct IncompatibleKeys {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
};

/// Base of all layers and networks. A module is a handle: copies share parameters, buffers, children and the training
/// flag. To write one, derive, create parameters and children with the register functions, and override forward().
class Module {
 public:
  virtual ~Module() = default;

  /// The class name, for messages.
  virtual std::string name() const { return "Module"; }
  virtual Tensor forward(const Tensor& input) const;
  Tensor operator()(const Tensor& input) const { return forward(input); }

  /// Parameters of this module and its children in order of registration, each once.
  Tensors parameters() const;
  NamedTensors named_parameters() const;
  Tensors buffers() const;
  NamedTensors named_buffers() const;
  /// The direct children.
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> named_children() const;
  std::vector<std::shared_ptr<Module>> children() const;
  /// A parameter or buffer by its dotted name; ValueError if there is none.
  Tensor named(std::string_view dotted_name) const;

  bool is_training() const;
  void train(bool training = true);
  void eval() { train(false); }
  /// Forgets the gradients, or makes them zeros.
  void zero_grad(bool set_to_none = true);
  void requires_grad_(bool requires_grad = true);
  /// Casts floating-point parameters and buffers.
  void to(DType dtype);
  /// Moves parameters and buffers; optimisers are made afterwards. Gradients stay where they are.
  void to(const Device& device);

  /// Parameters and buffers by dotted name, outside autograd; the tensors follow later changes (clone() them to keep
  /// values).
  StateDict state_dict() const;
  /// Copies values into parameters and buffers, cast to their dtype. Everything is checked before anything is changed.
  /// Throws pycnn::Error listing missing and unexpected names (if strict) and shapes that differ (always).
  IncompatibleKeys load_state_dict(const StateDict& state, bool strict = true);

 protected:
  Module();
  Module(const Module&) = default;
  Module(Module&&) = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) = default;

  /// Makes `value` a trainable leaf of this module and returns it.
  Tensor register_parameter(std::string name, const Tensor& value);
  /// A tensor that is saved, but not trained.
  Tensor register_buffer(std::string name, const Tensor& value);
  /// Adds a child and returns it: `nn::Linear fc = register_module("fc", nn::Linear(10, 2));`
  template <std::derived_from<Module> M>
  M register_module(const std::string& name, const M& module) {
    add_child(name, std::make_shared<M>(module));
    return module;
  }
  void add_child(std::string name, std::shared_ptr<Module> child);

 private:
  struct State {
    NamedTensors parameters;
    NamedTensors buffers;
    std::vector<std::pair<std::string, std::shared_ptr<Module>>> children;
    bool training = true;
  };
  void check_name(const std::string& name) const;
  void collect(NamedTensors State::*member, const std::string& prefix, NamedTensors& out) const;
  NamedTensors state_entries() const;

  std::shared_ptr<State> state_;
};

/// Applies modules one after the other; children are named "0", "1", ….
class Sequential : public Module {
 public:
  Sequential() = default;
  template <std::derived_from<Module>... Modules>
  explicit Sequential(const Modules&... modules) {
    (push_back(modules), ...);
  }
  template <std::derived_from<Module> M>
  void push_back(const M& module) {
    add_child(std::to_string(size()), std::make_shared<M>(module));
  }
  size_t size() const { return named_children().size(); }
  /// The i-th child; IndexError if there is none.
  Module& operator[](size_t i) const;
  std::string name() const override { return "Sequential"; }
  Tensor forward(const Tensor& input) const override;
};

// -- arguments of layers ----------------------------------------------------------------------------------------------
/// One number per spatial dimension, or one for all of them: 3, {3, 5}.
class Size {
 public:
  Size() = default;
  template <std::integral T>
  Size(T value) : values_{static_cast<int64_t>(value)} {}
  Size(std::initializer_list<int64_t> values) : values_(values) {}
  Size(const Dimensions& values) : values_(values) {}
  /// `count` numbers; ValueError naming `what` if there are neither one nor `count`.
  Dimensions expanded(int count, const std::string& what) const;
  const Dimensions& values() const { return values_; }

 private:
  Dimensions values_;
};

/// A Size, "same" or "valid".
class Padding : public Size {
 public:
  using Size::Size;
  Padding(const char* mode);
  /// As the operators take it.
  std::variant<Dimensions, std::string_view> expanded(int count, const std::string& what) const;

 private:
  std::string_view mode_;
};

struct LinearOptions {
  bool bias = true;
};

/// x Wᵀ + b with weight (out_features, in_features).
class Linear : public Module {
 public:
  Linear(int64_t in_features, int64_t out_features, const LinearOptions& options = {});
  std::string name() const override { return "Linear"; }
  Tensor forward(const Tensor& input) const override { return linear(input, weight_, bias_); }
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  Tensor weight_, bias_;
};

struct ConvOptions {
  Size stride = 1;
  Padding padding = 0;
  Size dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  /// What lies outside the input: "zeros", or as in pad(): "reflect", "replicate", "circular".
  std::string padding_mode = "zeros";
};

/// Cross-correlation over `spatial` dimensions; weight (out_channels, in_channels / groups, kernel…).
template <int spatial>
class Conv : public Module {
 public:
  Conv(int64_t in_channels, int64_t out_channels, const Size& kernel_size, const ConvOptions& options = {});
  std::string name() const override { return "Conv" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  pycnn::ConvOptions options_;
  std::string padding_mode_;
  std::vector<int64_t> border_;  ///< what pad() takes, for modes other than "zeros"
  Tensor weight_, bias_;
};
using Conv1d = Conv<1>;
using Conv2d = Conv<2>;
using Conv3d = Conv<3>;

struct ConvTransposeOptions {
  Size stride = 1;
  Size padding = 0;
  Size output_padding = 0;
  int64_t groups = 1;
  bool bias = true;
  Size dilation = 1;
};

/// The adjoint of Conv; weight (in_channels, out_channels / groups, kernel…).
template <int spatial>
class ConvTranspose : public Module {
 public:
  ConvTranspose(int64_t in_channels, int64_t out_channels, const Size& kernel_size,
                const ConvTransposeOptions& options = {});
  std::string name() const override { return "ConvTranspose" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }

 private:
  pycnn::ConvTransposeOptions options_;
  Tensor weight_, bias_;
};
using ConvTranspose1d = ConvTranspose<1>;
using ConvTranspose2d = ConvTranspose<2>;
using ConvTranspose3d = ConvTranspose<3>;

// -- pooling ---------------------------------------------------------------------------------------------------------
struct MaxPoolOptions {
  Size stride{};  ///< the kernel size unless given
  Size padding = 0;
  Size dilation = 1;
  bool ceil_mode = false;
};

template <int spatial>
class MaxPool : public Module {
 public:
  explicit MaxPool(const Size& kernel_size, const MaxPoolOptions& options = {});
  std::string name() const override { return "MaxPool" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override;

 private:
  Dimensions kernel_size_;
  pycnn::MaxPoolOptions options_;
};
using MaxPool1d = MaxPool<1>;
using MaxPool2d = MaxPool<2>;
using MaxPool3d = MaxPool<3>;

struct AvgPoolOptions {
  Size stride{};  ///< the kernel size unless given
  Size padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = true;
  std::optional<int64_t> divisor_override = {};
};

template <int spatial>
class AvgPool : public Module {
 public:
  explicit AvgPool(const Size& kernel_size, const AvgPoolOptions& options = {});
  std::string name() const override { return "AvgPool" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override;

 private:
  Dimensions kernel_size_;
  pycnn::AvgPoolOptions options_;
};
using AvgPool1d = AvgPool<1>;
using AvgPool2d = AvgPool<2>;
using AvgPool3d = AvgPool<3>;

/// Averages over windows that divide the input evenly into `output_size` parts; -1 keeps a size.
template <int spatial>
class AdaptiveAvgPool : public Module {
 public:
  explicit AdaptiveAvgPool(const Size& output_size)
      : output_size_(output_size.expanded(spatial, AdaptiveAvgPool::name() + ": output_size")) {}
  std::string name() const override { return "AdaptiveAvgPool" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override { return adaptive_avg_pool(spatial, input, output_size_); }

 private:
  Dimensions output_size_;
};
using AdaptiveAvgPool1d = AdaptiveAvgPool<1>;
using AdaptiveAvgPool2d = AdaptiveAvgPool<2>;
using AdaptiveAvgPool3d = AdaptiveAvgPool<3>;

/// Maxima over the windows of AdaptiveAvgPool.
template <int spatial>
class AdaptiveMaxPool : public Module {
 public:
  explicit AdaptiveMaxPool(const Size& output_size)
      : output_size_(output_size.expanded(spatial, AdaptiveMaxPool::name() + ": output_size")) {}
  std::string name() const override { return "AdaptiveMaxPool" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override {
    return adaptive_max_pool_with_indices(spatial, input, output_size_).first;
  }

 private:
  Dimensions output_size_;
};
using AdaptiveMaxPool1d = AdaptiveMaxPool<1>;
using AdaptiveMaxPool2d = AdaptiveMaxPool<2>;
using AdaptiveMaxPool3d = AdaptiveMaxPool<3>;

// -- normalisation ---------------------------------------------------------------------------------------------------
struct BatchNormOptions {
  double eps = 1e-5;
  /// Share of the new batch in the running statistics; empty: their plain average over all batches seen.
  std::optional<double> momentum = 0.1;
  bool affine = true;
  bool track_running_stats = true;
};

/// Ioffe & Szegedy (2015). Input (N, C) or (N, C, L) for 1, (N, C, H, W) for 2, (N, C, D, H, W) for 3.
template <int spatial>
class BatchNorm : public Module {
 public:
  explicit BatchNorm(int64_t num_features, const BatchNormOptions& options = {});
  std::string name() const override { return "BatchNorm" + std::to_string(spatial) + "d"; }
  Tensor forward(const Tensor& input) const override;
  const Tensor& weight() const { return weight_; }
  const Tensor& bias() const { return bias_; }
  const Tensor& running_mean() const { return running_mean_; }
  const Tensor& running_var() const { return running_var_; }

 private:
  BatchNormOptions options_;
  Tensor weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
};
using BatchNorm1d = BatchNorm<1>;
using BatchNorm2d = BatchNorm<2>;
using BatchNorm3d = BatchNorm<3>;

struct LocalResponseNormOptions {
  double alpha = 1e-4;
  double beta = 0.75;
  double k = 1.0;
};

/// Over `size` neighbouring channels (Krizhevsky et al. 2012).
class LocalResponseNorm : public Module {
 public:
  explicit LocalResponseNorm(int64_t size, const LocalResponseNormOptions& options = {})
      : size_(size), options_(options) {}
  std::string name() const override { return "LocalResponseNorm"; }
  Tensor forward(const Tensor& input) const override {
    return local_response_norm(input, size_, options_.alpha, options_.beta, options_.k);
  }

 private:
  int64_t size_;
  LocalResponseNormOptions options_;
};

// -- dropout and shape -----------------------------------------------------------------------------------------------
/// While training, zeroes elements with probability p and scales the rest by 1/(1-p).
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  std::string name() const override { return "Dropout"; }
  Tensor forward(const Tensor& input) const override { return dropout(input, p_, is_training()); }

 private:
  double p_;
};

/// Dropout of whole channels of (N, C, …).
class FeatureDropout : public Module {
 public:
  explicit FeatureDropout(double p = 0.5);
  std::string name() const override { return "FeatureDropout"; }
  Tensor forward(const Tensor& input) const override { return feature_dropout(input, p_, is_training()); }

 private:
  double p_;
};
using Dropout1d = FeatureDropout;
using Dropout2d = FeatureDropout;
using Dropout3d = FeatureDropout;

class Flatten : public Module {
 public:
  explicit Flatten(int64_t start_dim = 1, int64_t end_dim = -1) : start_dim_(start_dim), end_dim_(end_dim) {}
  std::string name() const override { return "Flatten"; }
  Tensor forward(const Tensor& input) const override { return flatten(input, start_dim_, end_dim_); }

 private:
  int64_t start_dim_, end_dim_;
};

class Identity : public Module {
 public:
  std::string name() const override { return "Identity"; }
  Tensor forward(const Tensor& input) const override { return input; }
};

// -- activations -----------------------------------------------------------------------------------------------------
class ReLU : public Module {
 public:
  std::string name() const override { return "ReLU"; }
  Tensor forward(const Tensor& input) const override { return relu(input); }
};

class LeakyReLU : public Module {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : negative_slope_(negative_slope) {}
  std::string name() const override { return "LeakyReLU"; }
  Tensor forward(const Tensor& input) const override { return leaky_relu(input, negative_slope_); }

 private:
  double negative_slope_;
};

class ELU : public Module {
 public:
  explicit ELU(double alpha = 1.0) : alpha_(alpha) {}
  std::string name() const override { return "ELU"; }
  Tensor forward(const Tensor& input) const override { return elu(input, alpha_); }

 private:
  double alpha_;
};

class Sigmoid : public Module {
 public:
  std::string name() const override { return "Sigmoid"; }
  Tensor forward(const Tensor& input) const override { return sigmoid(input); }
};

class Tanh : public Module {
 public:
  std::string name() const override { return "Tanh"; }
  Tensor forward(const Tensor& input) const override { return tanh(input); }
};

class Softplus : public Module {
 public:
  explicit Softplus(double beta = 1.0, double threshold = 20.0) : beta_(beta), threshold_(threshold) {}
  std::string name() const override { return "Softplus"; }
  Tensor forward(const Tensor& input) const override { return softplus(input, beta_, threshold_); }

 private:
  double beta_, threshold_;
};

/// approximate: "none" or "tanh".
class GELU : public Module {
 public:
  explicit GELU(std::string approximate = "none") : approximate_(std::move(approximate)) {}
  std::string name() const override { return "GELU"; }
  Tensor forward(const Tensor& input) const override { return gelu(input, approximate_); }

 private:
  std::string approximate_;
};

class SiLU : public Module {
 public:
  std::string name() const override { return "SiLU"; }
  Tensor forward(const Tensor& input) const override { return silu(input); }
};

/// Maximum over groups of `pieces` consecutive channels (Goodfellow et al. 2013).
class Maxout : public Module {
 public:
  explicit Maxout(int64_t pieces) : pieces_(pieces) {}
  std::string name() const override { return "Maxout"; }
  Tensor forward(const Tensor& input) const override { return maxout(input, pieces_); }

 private:
  int64_t pieces_;
};

class Softmax : public Module {
 public:
  explicit Softmax(int64_t dimension) : dimension_(dimension) {}
  std::string name() const override { return "Softmax"; }
  Tensor forward(const Tensor& input) const override { return softmax(input, dimension_); }

 private:
  int64_t dimension_;
};

class LogSoftmax : public Module {
 public:
  explicit LogSoftmax(int64_t dimension) : dimension_(dimension) {}
  std::string name() const override { return "LogSoftmax"; }
  Tensor forward(const Tensor& input) const override { return log_softmax(input, dimension_); }

 private:
  int64_t dimension_;
};

}  // namespace pycnn::nn
