// Batch normalisation (Ioffe, Szegedy 2015) and local response normalisation (Krizhevsky et al. 2012).
#include <algorithm>
#include <array>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;

// -- batch norm -------------------------------------------------------------------------------------------------------
// Statistics are per channel (dimension 1), in float32 for 16-bit inputs. Slots of them are (1, C, 1, …).

/// (C) → (1, C, 1, …) with the rank of the input.
Slot per_channel(Slot slot, int rank) {
  slot = slot.unsqueezed(0);
  for (int d = 2; d < rank; ++d) slot = slot.unsqueezed(d);
  return slot;
}

Tensor per_channel(const Tensor& tensor, int rank) {
  Shape shape = Dimensions::filled(rank, 1);
  shape[1] = tensor.numel();
  return reshape(tensor, shape);
}

Dimensions statistics_dimensions(int rank) {
  Dimensions dimensions{0};
  for (int d = 2; d < rank; ++d) dimensions.push_back(d);
  return dimensions;
}

Tensor widened(const Tensor& tensor) { return cast(tensor, ops::compute_dtype(tensor.dtype())); }

Expression inverse_deviation(ProgramBuilder& p, Expression variance, double eps) {
  return p.apply(Opcode::Reciprocal, p.apply(Opcode::Sqrt, p.add(variance, eps)));
}

/// (x - mean) / √(var + eps) · weight + bias; all but x are (1, C, 1, …), weight and bias may be missing.
Slot normalise(Lowering& l, const Slot& input, const Slot& mean, const Slot& variance, const Slot* weight,
               const Slot* bias, double eps) {
  const DType compute = ops::compute_dtype(input.dtype);
  std::vector<Slot> scale_inputs{variance};
  if (weight) scale_inputs.push_back(*weight);
  const Slot scale = l.pointwise(scale_inputs, variance.shape, compute, compute,
                                 [eps](ProgramBuilder& p, std::span<const Expression> in) {
                                   const Expression inverse = inverse_deviation(p, in[0], eps);
                                   return in.size() > 1 ? p.multiply(inverse, in[1]) : inverse;
                                 });
  std::vector<Slot> inputs{input, mean, scale};
  if (bias) inputs.push_back(*bias);
  return l.pointwise(inputs, input.shape, compute, input.dtype, [](ProgramBuilder& p, std::span<const Expression> in) {
    const Expression scaled = p.multiply(p.subtract(in[0], in[1]), in[2]);
    return in.size() > 3 ? p.add(scaled, in[3]) : scaled;
  });
}

/// gradient, input, mean, variance, weight or none → gradients of input, weight, bias (Ioffe, Szegedy 2015, in closed
/// form): dx = (dy - mean(dy) - x̂ mean(dy x̂)) · weight / √(var + eps), dweight = Σ dy x̂, dbias = Σ dy.
class BatchNormBackward final : public Operator {
 public:
  BatchNormBackward(double eps, DType parameters) : eps_(eps), parameters_(parameters) {}
  const char* name() const override { return "batch_norm_backward"; }
  void fingerprint(Fingerprint& f) const override { f.add(eps_).add(static_cast<int64_t>(parameters_)); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot &gradient = inputs[0], &input = inputs[1];
    const Shape& shape = input.shape;
    const int rank = shape.size();
    const DType compute = ops::compute_dtype(input.dtype);
    const uint32_t reduced = ops::all_dimensions_but(1, rank);
    const Slot mean = per_channel(inputs[2], rank), variance = per_channel(inputs[3], rank);
    const double eps = eps_,
                 factor =
                     1.0 / static_cast<double>(std::max<int64_t>(input.count() / std::max<int64_t>(shape[1], 1), 1));

    const Slot inverse = l.pointwise(
        std::array{variance}, variance.shape, compute, compute,
        [eps](ProgramBuilder& p, std::span<const Expression> in) { return inverse_deviation(p, in[0], eps); });
    const Slot products = l.pointwise(std::array{gradient, input, mean, inverse}, shape, compute, compute,
                                      [](ProgramBuilder& p, std::span<const Expression> in) {
                                        return p.multiply(in[0], p.multiply(p.subtract(in[1], in[2]), in[3]));
                                      });
    const Slot weight_gradient = l.reduce(kernels::ReduceKind::Sum, products, reduced, compute, compute);
    const Slot bias_gradient = l.reduce(kernels::ReduceKind::Sum, gradient, reduced, compute, compute);

    std::vector<Slot> coefficients{bias_gradient, weight_gradient, inverse};
    if (inputs.size() > 4) coefficients.push_back(per_channel(inputs[4], rank));
    const std::array compute_three{compute, compute, compute};
    const std::vector<Slot> c = l.pointwise(
        coefficients, variance.shape, compute, compute_three,
        [factor](ProgramBuilder& p, std::span<const Expression> in) {
          const Expression scale = in.size() > 3 ? p.multiply(in[2], in[3]) : in[2];
          return std::vector{p.multiply(in[0], factor), p.multiply(p.multiply(in[1], in[2]), factor), scale};
        });
    const Slot input_gradient =
        l.pointwise(std::array{gradient, input, mean, c[0], c[1], c[2]}, shape, compute, input.dtype,
                    [](ProgramBuilder& p, std::span<const Expression> in) {
                      const Expression projection = p.multiply(p.subtract(in[1], in[2]), in[4]);
                      return p.multiply(p.subtract(p.subtract(in[0], in[3]), projection), in[5]);
                    });
    const Shape channels{shape[1]};
    return {input_gradient, l.reshape(l.cast(weight_gradient, parameters_), channels),
            l.reshape(l.cast(bias_gradient, parameters_), channels)};
  }

 private:
  double eps_;
  DType parameters_;
};

/// input, then weight and bias as far as they are there → output, mean (C), biased variance (C).
class BatchNormTraining final : public Operator {
 public:
  BatchNormTraining(double eps, bool has_weight, bool has_bias)
      : eps_(eps), has_weight_(has_weight), has_bias_(has_bias) {}
  const char* name() const override { return "batch_norm"; }
  void fingerprint(Fingerprint& f) const override { f.add(eps_).add(int64_t{has_weight_}).add(int64_t{has_bias_}); }
  BackwardReads backward_reads() const override { return {.inputs = has_weight_ ? 0b11u : 0b1u, .outputs = 0b110}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensors gradients = is_grad_enabled() ? differentiable_backward(context) : closed_backward(context);
    Tensors result{gradients[0]};
    if (has_weight_) result.push_back(gradients[1]);
    if (has_bias_) result.push_back(gradients[2]);
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const int rank = input.shape.size();
    const DType compute = ops::compute_dtype(input.dtype);
    const Lowering::Moments moments = l.moments(input, ops::all_dimensions_but(1, rank), compute, compute);
    const double factor = 1.0 / static_cast<double>(input.count() / input.shape[1]);
    const Slot variance =
        l.pointwise(std::array{moments.centered_sum}, moments.mean.shape, compute, compute,
                    [factor](ProgramBuilder& p, std::span<const Expression> in) { return p.multiply(in[0], factor); });
    Slot weight, bias;
    if (has_weight_) weight = per_channel(inputs[1], rank);
    if (has_bias_) bias = per_channel(inputs.back(), rank);
    const Shape channels{input.shape[1]};
    return {
        normalise(l, input, moments.mean, variance, has_weight_ ? &weight : nullptr, has_bias_ ? &bias : nullptr, eps_),
        l.reshape(moments.mean, channels), l.reshape(variance, channels)};
  }

 private:
  DType parameters_dtype(const BackwardContext& context) const {
    return has_weight_ || has_bias_ ? context.input_dtype(1) : ops::compute_dtype(context.input_dtype(0));
  }

  Tensors closed_backward(const BackwardContext& context) const {
    const Shape& shape = context.input_shape(0);
    const DType parameters = parameters_dtype(context);
    std::vector<Tensor> inputs{context.gradient(), context.input(0), context.output(1), context.output(2)};
    if (has_weight_) inputs.push_back(context.input(1));
    const std::array specs{Spec{shape, context.input_dtype(0)}, Spec{{shape[1]}, parameters},
                           Spec{{shape[1]}, parameters}};
    return record(std::make_shared<BatchNormBackward>(eps_, parameters), inputs, specs);
  }

  /// The same from differentiable operators, for second derivatives: the statistics are functions of the input here.
  Tensors differentiable_backward(const BackwardContext& context) const {
    const int rank = context.input_shape(0).size();
    const Dimensions dimensions = statistics_dimensions(rank);
    const Tensor gradient = widened(context.gradient()), input = widened(context.input(0));
    const Tensor centred = input - mean(input, dimensions, true);
    const Tensor inverse = rsqrt(mean(square(centred), dimensions, true) + eps_);
    const Tensor normalised = centred * inverse;
    const Tensor products = gradient * normalised;
    const Tensor projected =
        gradient - mean(gradient, dimensions, true) - normalised * mean(products, dimensions, true);
    const Tensor scale = has_weight_ ? inverse * per_channel(context.input(1), rank) : inverse;
    const DType parameters = parameters_dtype(context);
    return {cast(projected * scale, context.input_dtype(0)), cast(sum(products, dimensions), parameters),
            cast(sum(gradient, dimensions), parameters)};
  }

  double eps_;
  bool has_weight_, has_bias_;
};

/// input, running mean, running variance, then weight and bias as far as they are there → output.
class BatchNormInference final : public Operator {
 public:
  BatchNormInference(double eps, bool has_weight, bool has_bias)
      : eps_(eps), has_weight_(has_weight), has_bias_(has_bias) {}
  const char* name() const override { return "batch_norm"; }
  void fingerprint(Fingerprint& f) const override { f.add(eps_).add(int64_t{has_weight_}).add(int64_t{has_bias_}); }
  BackwardReads backward_reads() const override { return {.inputs = has_weight_ ? 0b1111u : 0b111u}; }
  Tensors backward(const BackwardContext& context) const override {
    const int rank = context.input_shape(0).size(), bias = has_weight_ ? 4 : 3;
    const Dimensions dimensions = statistics_dimensions(rank);
    const Tensor gradient = widened(context.gradient());
    const Tensor inverse = rsqrt(widened(per_channel(context.input(2), rank)) + eps_);
    Tensors result(static_cast<size_t>(context.input_count()));
    if (context.needs(0)) {
      const Tensor scale = has_weight_ ? inverse * per_channel(context.input(3), rank) : inverse;
      result[0] = cast(gradient * scale, context.input_dtype(0));
    }
    if (has_weight_ && context.needs(3)) {
      const Tensor centred = widened(context.input(0)) - per_channel(context.input(1), rank);
      result[3] = cast(sum(gradient * (centred * inverse), dimensions), context.input_dtype(3));
    }
    if (has_bias_ && context.needs(bias))
      result[static_cast<size_t>(bias)] = cast(sum(gradient, dimensions), context.input_dtype(bias));
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const int rank = inputs[0].shape.size();
    std::vector<Slot> parameters;
    for (const Slot& slot : inputs.subspan(1)) parameters.push_back(per_channel(slot, rank));
    return {normalise(l, inputs[0], parameters[0], parameters[1], has_weight_ ? &parameters[2] : nullptr,
                      has_bias_ ? &parameters.back() : nullptr, eps_)};
  }

 private:
  double eps_;
  bool has_weight_, has_bias_;
};

/// running, batch, momentum (0-d) → (1 - momentum) · running + momentum · factor · batch
class RunningStatistic final : public Operator {
 public:
  explicit RunningStatistic(double factor) : factor_(factor) {}
  const char* name() const override { return "running_statistic"; }
  void fingerprint(Fingerprint& f) const override { f.add(factor_); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    const double factor = factor_;
    return {l.pointwise(inputs, inputs[0].shape, ops::compute_dtype(dtype), dtype,
                        [factor](ProgramBuilder& p, std::span<const Expression> in) {
                          const Expression kept = p.multiply(p.subtract(p.constant(1, in[2].type), in[2]), in[0]);
                          return p.add(kept, p.multiply(in[2], p.multiply(in[1], factor)));
                        })};
  }

 private:
  double factor_;
};

void update_statistic(Tensor& running, const Tensor& batch, double momentum, double factor) {
  const Tensor weight = scalar_tensor(momentum, ops::compute_dtype(running.dtype()));
  running.assign_(
      record(std::make_shared<RunningStatistic>(factor), {running, batch, weight}, {running.shape(), running.dtype()}));
}

void check_batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                      const Tensor& bias, bool training, double eps) {
  check<ValueError>(!training || input.dim() != 1 || input.numel() != 1,
                    "batch_norm: Expected more than 1 value per channel when training, got input size [1]");
  check(input.dim() >= 2 || input.numel() == 0,
        "batch_norm: expected input of at least 2 dimensions (N, C, …), but got ", ops::brackets(input.shape()));
  const int64_t channels = input.dim() >= 2 ? input.shape()[1] : 0;
  const auto check_channels = [channels](const char* name, const Tensor& tensor) {
    if (tensor.defined())
      check(tensor.dim() == 1 && tensor.shape()[0] == channels, "batch_norm: ", name, " should contain ", channels,
            " elements not ", tensor.numel());
  };
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"batch_norm\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
  if (training) {
    check<ValueError>(input.numel() != channels || channels == 0,
                      "batch_norm: Expected more than 1 value per channel when training, got input size ",
                      ops::brackets(input.shape()));
    check<ValueError>(eps > 0, "batch_norm eps must be positive during training, but got ", eps);
  } else {
    check(running_mean.defined(), "batch_norm: running_mean must be defined in evaluation mode");
    check(running_var.defined(), "batch_norm: running_var must be defined in evaluation mode");
  }
  check_channels("running_mean", running_mean);
  check_channels("running_var", running_var);
  check_channels("weight", weight);
  check_channels("bias", bias);
  DType parameters = input.dtype();
  for (const Tensor* tensor : {&weight, &bias})
    if (tensor->defined()) parameters = tensor->dtype();
  const bool wider = ops::compute_dtype(input.dtype()) == parameters;
  check((parameters == input.dtype() || wider) && (!weight.defined() || weight.dtype() == parameters),
        "batch_norm: mixed dtype: input is ", input.dtype(),
        ", weight and bias must be of that dtype (or float32 for 16-bit inputs) but got ",
        weight.defined() ? weight.dtype() : parameters, " and ", bias.defined() ? bias.dtype() : parameters);
  for (const Tensor* tensor : {&running_mean, &running_var})
    if (tensor->defined())
      check(tensor->dtype() == input.dtype() || tensor->dtype() == ops::compute_dtype(input.dtype()),
            "batch_norm: mixed dtype: input is ", input.dtype(), " but running statistics are ", tensor->dtype());
}

// -- local response norm ---------------------------------------------------------------------------------------------

/// out[n, c] = Σ in[n, c - before + j] for j = 0 … size-1, zero outside: a window sliding over the channels.
class ChannelWindowSum final : public Operator {
 public:
  ChannelWindowSum(int64_t size, int64_t before) : size_(size), before_(before) {}
  const char* name() const override { return "channel_window_sum"; }
  void fingerprint(Fingerprint& f) const override { f.add(size_).add(before_); }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    return {record(std::make_shared<ChannelWindowSum>(size_, size_ - 1 - before_), {gradient},
                   {gradient.shape(), gradient.dtype()})};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const DType compute = ops::compute_dtype(input.dtype);
    const int64_t channels = input.shape[1];
    Shape padded_shape = input.shape;
    padded_shape[1] += size_ - 1;
    const Slot padded = l.allocate(compute, padded_shape, channels_last_strides(padded_shape));
    if (before_ > 0) l.fill(padded.sliced(1, 0, before_), 0);
    if (size_ - 1 > before_) l.fill(padded.sliced(1, before_ + channels, size_ - 1 - before_), 0);
    l.copy_into(padded.sliced(1, before_, channels), input);

    constexpr int64_t summands = 16;  // per step; a pointwise program has no more than max_operands
    Slot total;
    for (int64_t first = 0; first < size_; first += summands) {
      std::vector<Slot> windows;
      for (int64_t j = first; j < std::min(first + summands, size_); ++j)
        windows.push_back(padded.sliced(1, j, channels));
      if (first > 0) windows.insert(windows.begin(), total);
      const DType out = first + summands < size_ ? compute : input.dtype;
      total = l.pointwise(windows, input.shape, compute, out, [](ProgramBuilder& p, std::span<const Expression> in) {
        Expression sum = in[0];
        for (size_t i = 1; i < in.size(); ++i) sum = p.add(sum, in[i]);
        return sum;
      });
    }
    return {total};
  }

 private:
  int64_t size_, before_;
};

}  // namespace

Tensor batch_norm(const Tensor& input, Tensor running_mean, Tensor running_var, const Tensor& weight,
                  const Tensor& bias, bool training, double momentum, double eps) {
  check_batch_norm(input, running_mean, running_var, weight, bias, training, eps);
  if (input.dim() < 2) return clone(input);
  Tensors inputs{input};
  if (!training) {
    inputs.push_back(running_mean);
    inputs.push_back(running_var);
  }
  if (weight.defined()) inputs.push_back(weight);
  if (bias.defined()) inputs.push_back(bias);
  const Spec output{input.shape(), input.dtype()};
  if (!training)
    return record(std::make_shared<BatchNormInference>(eps, weight.defined(), bias.defined()), inputs,
                  std::array{output})[0];
  if (input.numel() == 0) {
    // There is nothing to normalise, but weight and bias have gradients: zeros.
    Tensor result = clone(input);
    if (weight.defined()) result = result * per_channel(weight, input.dim());
    if (bias.defined()) result = result + per_channel(bias, input.dim());
    return cast(result, input.dtype());
  }

  const Spec statistic{{input.shape()[1]}, ops::compute_dtype(input.dtype()), false};
  const Tensors result = record(std::make_shared<BatchNormTraining>(eps, weight.defined(), bias.defined()), inputs,
                                std::array{output, statistic, statistic});
  const NoGradGuard no_grad;
  const double count = static_cast<double>(input.numel() / input.shape()[1]);
  if (running_mean.defined()) update_statistic(running_mean, result[1], momentum, 1);
  if (running_var.defined()) update_statistic(running_var, result[2], momentum, count / (count - 1));
  return result[0];
}

Tensor local_response_norm(const Tensor& input, int64_t size, double alpha, double beta, double k) {
  check<ValueError>(input.dim() >= 3, "local_response_norm: Expected 3D or higher dimensionality input (got ",
                    input.dim(), " dimensions)");
  check(size > 0, "local_response_norm: kernel size should be greater than zero, but got ", size);
  check<NotImplementedError>(is_floating_point(input.dtype()) || input.dtype() == DType::Int64,
                             "\"local_response_norm\" not implemented for '", ops::scalar_type_name(input.dtype()),
                             "'");
  if (input.numel() == 0) return clone(input);
  // Averages of integers are integers, as pooling gives them in PyTorch.
  const bool integral = input.dtype() == DType::Int64;
  Tensor squares = square(integral ? cast(input, DType::Float64) : input);
  // Averages over the channels of images count as three-dimensional pooling, as in PyTorch.
  if (const auto operands = ops::autocast(input.dim() == 3 ? "avg_pool2d" : "avg_pool3d", squares))
    squares = (*operands)[0];
  squares = record(std::make_shared<ChannelWindowSum>(size, size / 2), {squares}, {input.shape(), squares.dtype()});
  Tensor averages = squares / static_cast<double>(size);
  if (integral) averages = cast(floor(averages), DType::Float32);
  return input / pow(averages * alpha + k, wrap_scalar(beta, averages));
}

}  // namespace pycnn
