// Normalisation over any dimensions: layer norm (Ba et al. 2016), instance norm (Ulyanov et al. 2016), group norm (Wu,
// He 2018) and RMS norm (Zhang, Sennrich 2019) are one operator that differs in the dimensions.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;

/// What is normalised over which dimensions. Slots of statistics and parameters have the rank of the input, with size 1
/// where they are broadcast.
struct Layout {
  uint32_t reduced = 0;  ///< dimensions of one group of elements
  bool centered = true;  ///< whether their mean is subtracted
  Shape parameters;      ///< of weight and bias, both or either there
  bool has_weight = false, has_bias = false;
  double eps = 0;

  uint32_t parameters_reduced() const {
    uint32_t mask = 0;
    for (int d = 0; d < parameters.size(); ++d)
      if (parameters[d] == 1) mask |= 1u << d;
    return mask;
  }
  Shape statistics(Shape shape) const {
    for (int d = 0; d < shape.size(); ++d)
      if (reduced >> d & 1u) shape[d] = 1;
    return shape;
  }
  Dimensions dimensions() const { return listed(reduced); }
  static Dimensions listed(uint32_t mask) {
    Dimensions result;
    for (int d = 0; mask >> d; ++d)
      if (mask >> d & 1u) result.push_back(d);
    return result;
  }
  /// Whether the kernels for rows take it: a matrix whose rows are groups; a few long ones are better cut up.
  bool is_rows(const Shape& shape) const {
    constexpr int64_t few = 8, columns_of_few = int64_t{1} << 14;
    return shape.size() == 2 && reduced == 0b10 && (parameters.empty() || parameters[0] == 1) &&
           (shape[0] >= few || shape[1] <= columns_of_few);
  }
  /// The dimension of a group's elements that are neighbours in memory, if next to them lie those of other groups, not
  /// more of theirs: channels of a group where images are channels-last. As a mask.
  uint32_t interleaved(const Slot& input) const {
    int innermost = -1, next = -1;
    for (int d = 0; d < input.shape.size(); ++d) {
      if (input.shape[d] == 1) continue;
      if (innermost < 0 || input.strides[d] < input.strides[innermost]) {
        next = innermost;
        innermost = d;
      } else if (next < 0 || input.strides[d] < input.strides[next]) {
        next = d;
      }
    }
    const auto is_reduced = [&](int d) { return (reduced >> d & 1u) != 0; };
    // Where nothing else is reduced, an element by itself has no statistics to join.
    bool others = false;
    for (int d = 0; d < input.shape.size(); ++d) others |= d != innermost && is_reduced(d) && input.shape[d] != 1;
    return others && next >= 0 && is_reduced(innermost) && !is_reduced(next) ? 1u << innermost : 0;
  }
  /// One over the number of elements of a group.
  double share(const Shape& shape) const {
    int64_t count = 1;
    for (int d = 0; d < shape.size(); ++d)
      if (reduced >> d & 1u) count *= shape[d];
    return 1.0 / static_cast<double>(count);
  }
  void fingerprint(Fingerprint& f) const {
    f.add(int64_t{reduced}).add(int64_t{centered}).add(parameters).add(int64_t{has_weight}).add(int64_t{has_bias});
    f.add(eps);
  }
};

Slot summed(Lowering& l, const Slot& slot, uint32_t dimensions, DType compute) {
  return dimensions == 0 ? slot : l.reduce(kernels::ReduceKind::Sum, slot, dimensions, compute, compute);
}

Slot multiplied(Lowering& l, const Slot& a, const Slot& b, const Shape& shape, DType compute) {
  return l.pointwise(std::array{a, b}, shape, compute, compute,
                     [](ProgramBuilder& p, std::span<const Expression> in) { return p.multiply(in[0], in[1]); });
}

/// A number per group as one per group and element along `dimensions`, so that loops over these need not be short.
Slot spread(Lowering& l, const Slot& statistic, uint32_t dimensions, const Shape& shape) {
  if (dimensions == 0) return statistic;
  Shape target = statistic.shape;
  for (int d = 0; d < shape.size(); ++d)
    if (dimensions >> d & 1u) target[d] = shape[d];
  return l.contiguous(statistic.expanded(target));
}

/// Mean and sum of squares around it. Interleaved groups element by element first, which are then joined (Chan et al.
/// 1979); each is of as many elements.
Lowering::Moments moments_of(Lowering& l, const Slot& input, const Layout& layout, DType compute) {
  const uint32_t inner = layout.interleaved(input);
  const Lowering::Moments parts = l.moments(input, layout.reduced & ~inner, compute, compute);
  if (inner == 0) return parts;
  const double count = static_cast<double>(element_count(parts.mean.shape)), all = 1 / layout.share(input.shape);
  const double groups = static_cast<double>(element_count(layout.statistics(input.shape)));
  const double elements = all * groups / count;
  const Slot sum = summed(l, parts.mean, inner, compute);
  const auto each = [&](std::span<const Slot> slots, const Formula& formula) {
    return l.pointwise(slots, slots[0].shape, compute, compute, formula);
  };
  const Slot mean = each(std::array{sum}, [&](ProgramBuilder& p, std::span<const Expression> in) {
    return p.multiply(in[0], groups / count);
  });
  const Slot around =
      each(std::array{parts.centered_sum, parts.mean, mean}, [&](ProgramBuilder& p, std::span<const Expression> in) {
        const Expression distance = p.subtract(in[1], in[2]);
        return p.add(in[0], p.multiply(p.multiply(distance, distance), elements));
      });
  return {mean, summed(l, around, inner, compute)};
}

/// gradient, input, mean, inverse deviation, weight or none → gradients of input, weight, bias. With x̂ the normalised
/// input and g = dy · weight: dx = (g - mean(g) - x̂ mean(g x̂)) / deviation, dweight = Σ dy x̂, dbias = Σ dy. What
/// both kinds of sums reduce is reduced once.
class NormalizationBackward final : public Operator {
 public:
  NormalizationBackward(const Layout& layout, DType parameters) : layout_(layout), parameters_(parameters) {}
  const char* name() const override { return "normalization_backward"; }
  void fingerprint(Fingerprint& f) const override {
    layout_.fingerprint(f);
    f.add(static_cast<int64_t>(parameters_));
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot &gradient = inputs[0], &input = inputs[1];
    const Shape& shape = input.shape;
    const DType compute = ops::compute_dtype(input.dtype);
    const bool has_parameters = !layout_.parameters.empty();
    if (layout_.is_rows(shape)) {
      const auto rows =
          l.normalize_rows_backward(gradient, l.cast(input, compute), inputs[2], inputs[3],
                                    inputs.size() > 4 ? inputs[4] : Slot{}, layout_.centered, has_parameters);
      std::vector<Slot> result{l.cast(rows.input, input.dtype)};
      if (has_parameters)
        for (const Slot& slot : {rows.weight, rows.bias}) result.push_back(l.cast(slot, parameters_));
      return result;
    }
    const uint32_t inner = layout_.interleaved(input);
    const uint32_t over = has_parameters ? layout_.parameters_reduced() : layout_.reduced & ~inner;
    const uint32_t common = layout_.reduced & over;
    const Slot mean = spread(l, inputs[2], inner, shape), inverse = spread(l, inputs[3], inner, shape);

    const Slot products = l.pointwise(std::array{gradient, input, mean, inverse}, shape, compute, compute,
                                      [](ProgramBuilder& p, std::span<const Expression> in) {
                                        return p.multiply(in[0], p.multiply(p.subtract(in[1], in[2]), in[3]));
                                      });
    const Slot sums = summed(l, gradient, common, compute), product_sums = summed(l, products, common, compute);
    const auto group_sum = [&](const Slot& slot) {
      const Slot weighted = inputs.size() > 4 ? multiplied(l, slot, inputs[4], slot.shape, compute) : slot;
      return summed(l, weighted, layout_.reduced & ~common, compute);
    };
    const double share = layout_.share(shape);
    const Slot group_products = group_sum(product_sums);
    std::vector<Slot> coefficients{group_products, inputs[3]};
    if (layout_.centered) coefficients.push_back(group_sum(sums));
    const std::array two{compute, compute};
    const std::vector<Slot> c = l.pointwise(
        coefficients, inputs[3].shape, compute, two, [share](ProgramBuilder& p, std::span<const Expression> in) {
          return std::vector{p.multiply(p.multiply(in[0], in[1]), share),
                             in.size() > 2 ? p.multiply(in[2], share) : p.constant(0, in[0].type)};
        });
    std::vector<Slot> operands{
        gradient, input, mean, inverse, spread(l, c[0], inner, shape), spread(l, c[1], inner, shape)};
    if (inputs.size() > 4) operands.push_back(inputs[4]);
    const Slot input_gradient =
        l.pointwise(operands, shape, compute, input.dtype, [](ProgramBuilder& p, std::span<const Expression> in) {
          const Expression weighted = in.size() > 6 ? p.multiply(in[0], in[6]) : in[0];
          const Expression projection = p.multiply(p.subtract(in[1], in[2]), in[4]);
          return p.multiply(p.subtract(p.subtract(weighted, in[5]), projection), in[3]);
        });
    if (!has_parameters) return {input_gradient};
    const auto parameter_sum = [&](const Slot& slot) {
      return l.cast(l.reshape(summed(l, slot, over & ~common, compute), layout_.parameters), parameters_);
    };
    return {input_gradient, parameter_sum(product_sums), parameter_sum(sums)};
  }

 private:
  Layout layout_;
  DType parameters_;
};

/// input, then weight and bias as far as they are there → output, mean, inverse deviation (or root mean square).
class Normalization final : public Operator {
 public:
  Normalization(const char* name, const Layout& layout) : name_(name), layout_(layout) {}
  const char* name() const override { return name_; }
  void fingerprint(Fingerprint& f) const override { layout_.fingerprint(f); }
  BackwardReads backward_reads() const override {
    return {.inputs = layout_.has_weight ? 0b11u : 0b1u, .outputs = 0b110};
  }
  Tensors backward(const BackwardContext& context) const override {
    const Tensors gradients = is_grad_enabled() ? differentiable_backward(context) : closed_backward(context);
    Tensors result{gradients[0]};
    if (layout_.has_weight) result.push_back(gradients[1]);
    if (layout_.has_bias) result.push_back(gradients[2]);
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const DType compute = ops::compute_dtype(input.dtype);
    const double share = layout_.share(input.shape), eps = layout_.eps;
    if (layout_.is_rows(input.shape)) {
      const auto rows = l.normalize_rows(l.cast(input, compute), layout_.has_weight ? inputs[1] : Slot{},
                                         layout_.has_bias ? inputs.back() : Slot{}, layout_.centered, eps);
      return {l.cast(rows.output, input.dtype), rows.mean, rows.inverse};
    }
    Slot mean, total;
    if (layout_.centered) {
      const Lowering::Moments moments = moments_of(l, input, layout_, compute);
      mean = moments.mean;
      total = moments.centered_sum;
    } else {
      total = summed(l, multiplied(l, input, input, input.shape, compute), layout_.reduced, compute);
      mean = l.allocate(compute, total.shape);
      l.fill(mean, 0);
    }
    const Slot inverse =
        l.pointwise(std::array{total}, total.shape, compute, compute,
                    [share, eps](ProgramBuilder& p, std::span<const Expression> in) {
                      return p.apply(Opcode::Reciprocal, p.apply(Opcode::Sqrt, p.add(p.multiply(in[0], share), eps)));
                    });
    const uint32_t inner = layout_.interleaved(input);
    std::vector<Slot> operands{input, spread(l, mean, inner, input.shape), spread(l, inverse, inner, input.shape)};
    operands.insert(operands.end(), inputs.begin() + 1, inputs.end());
    const bool has_weight = layout_.has_weight, has_bias = layout_.has_bias;
    const Slot output = l.pointwise(operands, input.shape, compute, input.dtype,
                                    [=](ProgramBuilder& p, std::span<const Expression> in) {
                                      Expression result = p.multiply(p.subtract(in[0], in[1]), in[2]);
                                      if (has_weight) result = p.multiply(result, in[3]);
                                      return has_bias ? p.add(result, in.back()) : result;
                                    });
    return {output, mean, inverse};
  }

 private:
  DType parameters_dtype(const BackwardContext& context) const {
    return layout_.parameters.empty() ? ops::compute_dtype(context.input_dtype(0)) : context.input_dtype(1);
  }

  Tensors closed_backward(const BackwardContext& context) const {
    const DType parameters = parameters_dtype(context);
    std::vector<Tensor> inputs{context.gradient(), context.input(0), context.output(1), context.output(2)};
    if (layout_.has_weight) inputs.push_back(context.input(1));
    std::vector<Spec> specs{{context.input_shape(0), context.input_dtype(0)}};
    if (!layout_.parameters.empty()) specs.resize(3, {layout_.parameters, parameters});
    return record(std::make_shared<NormalizationBackward>(layout_, parameters), inputs, specs);
  }

  /// The same from differentiable operators, for second derivatives: the statistics are functions of the input here.
  Tensors differentiable_backward(const BackwardContext& context) const {
    const DType compute = ops::compute_dtype(context.input_dtype(0)), parameters = parameters_dtype(context);
    const Dimensions dimensions = layout_.dimensions();
    const Tensor gradient = cast(context.gradient(), compute), input = cast(context.input(0), compute);
    const Tensor centred = layout_.centered ? input - mean(input, dimensions, true) : input;
    const Tensor inverse = rsqrt(mean(square(centred), dimensions, true) + layout_.eps);
    const Tensor normalised = centred * inverse, products = gradient * normalised;
    const Tensor weighted = layout_.has_weight ? gradient * cast(context.input(1), compute) : gradient;
    Tensor projected = weighted - normalised * mean(weighted * normalised, dimensions, true);
    if (layout_.centered) projected = projected - mean(weighted, dimensions, true);
    Tensors result{cast(projected * inverse, context.input_dtype(0))};
    if (layout_.parameters.empty()) return result;
    for (const Tensor* parts : {&products, &gradient})
      result.push_back(cast(sum_to_shape(*parts, layout_.parameters), parameters));
    return result;
  }

  const char* name_;
  Layout layout_;
};

/// Weight and bias are vectors; in the input's rank they have the shape `parameters`.
Tensors normalize(const char* name, const Tensor& input, const Tensor& weight, const Tensor& bias,
                  const Shape& parameters, uint32_t reduced, bool centered, double eps) {
  Layout layout{reduced, centered, {}, weight.defined(), bias.defined(), eps};
  if (weight.defined() || bias.defined()) layout.parameters = parameters;
  Tensors inputs{input};
  for (const Tensor* tensor : {&weight, &bias})
    if (tensor->defined()) inputs.push_back(reshape(*tensor, parameters));
  const Spec statistic{layout.statistics(input.shape()), ops::compute_dtype(input.dtype()), false};
  return record(std::make_shared<Normalization>(name, layout), inputs,
                std::array{Spec{input.shape(), input.dtype()}, statistic, statistic});
}

void check_dtypes(const char* name, const Tensor& input, const Tensor& weight, const Tensor& bias) {
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"", name, "\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
  for (const Tensor* tensor : {&weight, &bias})
    if (tensor->defined())
      check(tensor->dtype() == input.dtype() || tensor->dtype() == ops::compute_dtype(input.dtype()), name,
            ": mixed dtype: input is ", input.dtype(), " but weight or bias is ", tensor->dtype());
  if (weight.defined() && bias.defined())
    check(weight.dtype() == bias.dtype(), name, ": mixed dtype: weight is ", weight.dtype(), " but bias is ",
          bias.dtype());
}

/// Without elements there is nothing to normalise, but the parameters have gradients: zeros.
Tensor empty_result(const Tensor& input, const Tensor& weight, const Tensor& bias, const Shape& parameters) {
  Tensor result = clone(input);
  if (weight.defined()) result = result * reshape(weight, parameters);
  if (bias.defined()) result = result + reshape(bias, parameters);
  return cast(result, input.dtype());
}

Tensor over_last_dimensions(const char* name, const Tensor& input, const Shape& normalized, const Tensor& weight,
                            const Tensor& bias, bool centered, double eps) {
  const int count = normalized.size(), rank = input.dim();
  check(count >= 1, name, ": Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one ",
        "element, but got normalized_shape = ", ops::brackets(normalized));
  for (const Tensor* tensor : {&weight, &bias})
    if (tensor->defined())
      check(tensor->shape() == normalized, name, ": Expected ", tensor == &weight ? "weight" : "bias",
            " to be of same shape as normalized_shape, but got shape ", ops::brackets(tensor->shape()),
            " and normalized_shape = ", ops::brackets(normalized));
  check(rank >= count && ops::last(input.shape(), count) == normalized, name,
        ": Given normalized_shape=", ops::brackets(normalized), ", expected input with shape [*, ",
        ops::join(normalized, ", "), "], but got input of size", ops::brackets(input.shape()));
  if (!centered && weight.defined() && is_floating_point(weight.dtype()) && is_floating_point(input.dtype()) &&
      weight.dtype() != input.dtype() && weight.dtype() != ops::compute_dtype(input.dtype()))
    return over_last_dimensions(name, input, normalized, cast(weight, input.dtype()), bias, centered, eps);
  check_dtypes(name, input, weight, bias);
  Shape parameters = Shape::filled(rank - count, 1);
  for (int64_t size : normalized) parameters.push_back(size);
  if (input.numel() == 0) return empty_result(input, weight, bias, parameters);
  // As a matrix: how many dimensions there were does not matter.
  const int64_t columns = element_count(normalized);
  const Tensor rows = reshape(input, {input.numel() / columns, columns});
  return reshape(normalize(name, rows, weight, bias, {1, columns}, 0b10, centered, eps)[0], input.shape());
}

void check_channels(const char* name, const char* argument, const Tensor& tensor, int64_t channels,
                    const Shape& input) {
  if (!tensor.defined()) return;
  check(tensor.dim() == 1 && tensor.numel() == channels, name, ": Expected ", argument,
        " to be a vector of size equal to the number of channels in input, but got ", argument, " of shape ",
        ops::brackets(tensor.shape()), " and input of shape ", ops::brackets(input));
}

}  // namespace

Tensor layer_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  return over_last_dimensions("layer_norm", input, normalized_shape, weight, bias, true, eps);
}

Tensor rms_norm(const Tensor& input, const Shape& normalized_shape, const Tensor& weight, std::optional<double> eps) {
  const double smallest = input.dtype() == DType::Float64 ? std::numeric_limits<double>::epsilon()
                                                          : double{std::numeric_limits<float>::epsilon()};
  return over_last_dimensions("rms_norm", input, normalized_shape, weight, {}, false, eps.value_or(smallest));
}

Tensor group_norm(const Tensor& input, int64_t num_groups, const Tensor& weight, const Tensor& bias, double eps) {
  const Shape& shape = input.shape();
  check(input.dim() >= 2, "group_norm: Expected at least 2 dimensions for input tensor but received ", input.dim());
  check(num_groups > 0, "group_norm: Expected num groups to be greater than 0, got ", num_groups);
  check(shape[1] % num_groups == 0, "group_norm: Expected number of channels in input to be divisible by num_groups, ",
        "but got input of shape ", ops::brackets(shape), " and num_groups=", num_groups);
  check_channels("group_norm", "weight", weight, shape[1], shape);
  check_channels("group_norm", "bias", bias, shape[1], shape);
  check_dtypes("group_norm", input, weight, bias);
  // (N, groups, channels of a group, spatial…)
  Shape parts{shape[0], num_groups, shape[1] / num_groups}, parameters{1, num_groups, shape[1] / num_groups};
  for (int d = 2; d < shape.size(); ++d) {
    parts.push_back(shape[d]);
    parameters.push_back(1);
  }
  if (input.numel() == 0) {
    Shape channels = Shape::filled(input.dim(), 1);
    channels[1] = shape[1];
    return empty_result(input, weight, bias, channels);
  }
  const uint32_t reduced = ((1u << parts.size()) - 1u) & ~0b11u;
  return reshape(normalize("group_norm", reshape(input, parts), weight, bias, parameters, reduced, true, eps)[0],
                 shape);
}

Tensor instance_norm(const Tensor& input, Tensor running_mean, Tensor running_var, const Tensor& weight,
                     const Tensor& bias, bool use_input_stats, double momentum, double eps) {
  const Shape& shape = input.shape();
  check(input.dim() >= 2, "instance_norm: Expected at least 2 dimensions (N, C, …) for input, but got ",
        ops::brackets(shape));
  check(use_input_stats || (running_mean.defined() && running_var.defined()),
        "instance_norm: Expected running_mean and running_var to be defined when use_input_stats is false");
  for (const auto& [name, tensor] : {std::pair{"running_mean", &running_mean}, {"running_var", &running_var}})
    check_channels("instance_norm", name, *tensor, shape[1], shape);
  check_channels("instance_norm", "weight", weight, shape[1], shape);
  check_channels("instance_norm", "bias", bias, shape[1], shape);
  check_dtypes("instance_norm", input, weight, bias);
  if (!use_input_stats) return batch_norm(input, running_mean, running_var, weight, bias, false, momentum, eps);
  Shape parameters = Shape::filled(input.dim(), 1);
  parameters[1] = shape[1];
  if (input.numel() == 0) return empty_result(input, weight, bias, parameters);
  const uint32_t reduced = ((1u << input.dim()) - 1u) & ~0b11u;
  const Tensors result = normalize("instance_norm", input, weight, bias, parameters, reduced, true, eps);
  if (!running_mean.defined() && !running_var.defined()) return result[0];

  const NoGradGuard no_grad;
  const double count = static_cast<double>(input.numel() / (shape[0] * shape[1]));
  const auto update = [&](Tensor& running, const Tensor& instances) {
    const Tensor average = cast(mean(reshape(instances, {shape[0], shape[1]}), Dimensions{0}), running.dtype());
    const Tensor weight_of_new = wrap_scalar(momentum, running);
    running.assign_(running * (wrap_scalar(1.0, running) - weight_of_new) + average * weight_of_new);
  };
  if (running_mean.defined()) update(running_mean, result[1]);
  if (running_var.defined()) update(running_var, (reciprocal(square(result[2])) - eps) * (count / (count - 1)));
  return result[0];
}

}  // namespace pycnn
