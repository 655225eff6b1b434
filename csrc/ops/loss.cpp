// Softmax and the losses. Class indices go through one operator that keeps the row's maximum and log Σ exp, so that the
// gradient is (p - onehot) · weight / total without a second reduction.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "ops/losses.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;
using kernels::ReduceKind;
using ops::check_constant;
using ops::reduce_loss;
using ops::visit_known;

void check_floating(const char* name, const Tensor& input) {
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"", name, "\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
}

Tensor widened(const Tensor& tensor) { return cast(tensor, ops::compute_dtype(tensor.dtype())); }

// -- softmax ---------------------------------------------------------------------------------------------------------

/// The parts of log softmax along a dimension: x - maximum - log_sum, where maximum and log_sum keep the dimension with
/// size 1.
struct LogSoftmaxParts {
  Slot maximum, exponentials, sum;
};

LogSoftmaxParts log_softmax_parts(Lowering& l, const Slot& input, int dimension) {
  const DType compute = ops::compute_dtype(input.dtype);
  LogSoftmaxParts parts;
  parts.maximum = l.reduce(ReduceKind::Maximum, input, 1u << dimension, compute, compute);
  parts.exponentials = l.pointwise(
      std::array{input, parts.maximum}, input.shape, compute, compute,
      [](ProgramBuilder& p, std::span<const Expression> in) { return p.apply(Opcode::Exp, p.subtract(in[0], in[1])); });
  parts.sum = l.reduce(ReduceKind::Sum, parts.exponentials, 1u << dimension, compute, compute);
  return parts;
}

/// output, gradient → gradient of the input.
class SoftmaxBackward final : public Operator {
 public:
  SoftmaxBackward(int dimension, bool logarithm) : dimension_(dimension), logarithm_(logarithm) {}
  const char* name() const override { return logarithm_ ? "log_softmax_backward" : "softmax_backward"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}).add(int64_t{logarithm_}); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType compute = ops::compute_dtype(inputs[0].dtype);
    const Slot output = l.cast(inputs[0], compute), gradient = l.cast(inputs[1], compute);
    if (Lowering::is_rows(output, dimension_))
      return {l.cast(l.softmax_rows_backward(output, gradient, dimension_, logarithm_), inputs[0].dtype)};
    const bool logarithm = logarithm_;
    const Slot terms =
        logarithm
            ? gradient
            : l.pointwise(std::array{gradient, output}, output.shape, compute, compute,
                          [](ProgramBuilder& p, std::span<const Expression> in) { return p.multiply(in[0], in[1]); });
    const Slot total = l.reduce(ReduceKind::Sum, terms, 1u << dimension_, compute, compute);
    return {l.pointwise(std::array{gradient, output, total}, output.shape, compute, inputs[0].dtype,
                        [logarithm](ProgramBuilder& p, std::span<const Expression> in) {
                          if (!logarithm) return p.multiply(in[1], p.subtract(in[0], in[2]));
                          return p.subtract(in[0], p.multiply(p.apply(Opcode::Exp, in[1]), in[2]));
                        })};
  }

 private:
  int dimension_;
  bool logarithm_;
};

class Softmax final : public Operator {
 public:
  Softmax(int dimension, bool logarithm) : dimension_(dimension), logarithm_(logarithm) {}
  const char* name() const override { return logarithm_ ? "log_softmax" : "softmax"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{dimension_}).add(int64_t{logarithm_}); }
  BackwardReads backward_reads() const override { return {.outputs = 0b1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Spec spec{context.input_shape(0), context.input_dtype(0)};
    if (!is_grad_enabled())
      return {record(std::make_shared<SoftmaxBackward>(dimension_, logarithm_), {context.output(0), context.gradient()},
                     spec)};
    // From differentiable operators, for second derivatives.
    const Dimensions dimensions{dimension_};
    const Tensor output = widened(context.output(0)), gradient = widened(context.gradient());
    if (logarithm_) return {cast(gradient - exp(output) * sum(gradient, dimensions, true), spec.dtype)};
    return {cast(output * (gradient - sum(gradient * output, dimensions, true)), spec.dtype)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    if (input.count() == 0) return {l.allocate(input.dtype, input.shape)};
    const Slot wide = l.cast(input, ops::compute_dtype(input.dtype));
    if (Lowering::is_rows(wide, dimension_)) return {l.cast(l.softmax_rows(wide, dimension_, logarithm_), input.dtype)};
    const LogSoftmaxParts parts = log_softmax_parts(l, input, dimension_);
    if (!logarithm_)
      return {l.pointwise(std::array{parts.exponentials, parts.sum}, input.shape, parts.sum.dtype, input.dtype,
                          [](ProgramBuilder& p, std::span<const Expression> in) { return p.divide(in[0], in[1]); })};
    return {l.pointwise(std::array{input, parts.maximum, parts.sum}, input.shape, parts.sum.dtype, input.dtype,
                        [](ProgramBuilder& p, std::span<const Expression> in) {
                          return p.subtract(p.subtract(in[0], in[1]), p.apply(Opcode::Log, in[2]));
                        })};
  }

 private:
  int dimension_;
  bool logarithm_;
};

Tensor record_softmax(const char* name, bool logarithm, const Tensor& input, int64_t dimension,
                      std::optional<DType> dtype) {
  const int d = normalize_dimension(dimension, input.dim(), name);
  const Tensor x = dtype ? cast(input, *dtype) : input;
  check_floating(name, x);
  if (x.dim() == 0) return squeeze(record_softmax(name, logarithm, unsqueeze(x, 0), 0, {}), Dimensions{0});
  return record(std::make_shared<Softmax>(d, logarithm), {x}, {x.shape(), x.dtype()});
}

// -- losses of class indices -----------------------------------------------------------------------------------------

/// input (N, C, …), target (N, …), weight (C) or none → loss, weights of the targets (N, 1, …; 0 where ignored), their
/// sum (1 if it is 0); with logits also the maximum and log Σ exp(x - maximum) over the classes (N, 1, …). nll_loss: -w
/// x[target]. cross_entropy: -w log_softmax(x)[target].
class ClassLoss final : public Operator {
 public:
  ClassLoss(bool logits, Reduction reduction, int64_t ignore_index)
      : logits_(logits), reduction_(reduction), ignore_index_(ignore_index) {}
  const char* name() const override { return logits_ ? "cross_entropy" : "nll_loss"; }
  void fingerprint(Fingerprint& f) const override {
    f.add(int64_t{logits_}).add(static_cast<int64_t>(reduction_)).add(ignore_index_);
  }
  BackwardReads backward_reads() const override {
    return logits_ ? BackwardReads{.inputs = 0b11, .outputs = 0b11110}
                   : BackwardReads{.inputs = 0b10, .outputs = 0b110};
  }

  Tensors backward(const BackwardContext& context) const override {
    const Shape& shape = context.input_shape(0);
    const int rank = shape.size();
    Tensors result(static_cast<size_t>(context.input_count()));
    Tensor probabilities;
    if (logits_) probabilities = exp(widened(context.input(0)) - context.output(3) - context.output(4));
    if (context.gradient(0).defined()) {
      Tensor gradient = widened(context.gradient(0));
      if (reduction_ == Reduction::None) gradient = unsqueeze(gradient, 1);
      Tensor coefficient = context.output(1) * gradient;
      if (reduction_ == Reduction::Mean) coefficient = coefficient / context.output(2);
      const Tensor selected =
          cast(eq(unsqueeze(context.input(1), 1), class_indices(shape[1], rank)), coefficient.dtype());
      result[0] = (logits_ ? probabilities - selected : neg(selected)) * coefficient;
    }
    if (logits_ && context.gradient(4).defined()) {
      const Tensor from_log_sum = context.gradient(4) * probabilities;
      result[0] = result[0].defined() ? result[0] + from_log_sum : from_log_sum;
    }
    if (result[0].defined()) result[0] = cast(result[0], context.input_dtype(0));
    return result;
  }

  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const DType compute = ops::compute_dtype(input.dtype);
    const Slot target = inputs[1].unsqueezed(1);
    const Shape& rows = target.shape;
    const double ignored = static_cast<double>(ignore_index_);
    const std::array index_dtypes{DType::Int64, DType::Bool};
    const std::vector<Slot> index = l.pointwise(std::array{target}, rows, DType::Int64, index_dtypes,
                                                [ignored](ProgramBuilder& p, std::span<const Expression> in) {
                                                  const Expression counts =
                                                      p.apply(Opcode::NotEqual, in[0], p.constant(ignored, in[0].type));
                                                  return std::vector{p.multiply(in[0], counts), counts};
                                                });
    const Slot& counts = index[1];
    Slot weights;
    if (inputs.size() > 2) {
      Slot table = inputs[2].unsqueezed(0);
      for (int d = 2; d < input.shape.size(); ++d) table = table.unsqueezed(d);
      const Slot chosen = l.gather(table.expanded(input.shape), index[0], 1);
      weights = l.pointwise(std::array{chosen, counts}, rows, compute, compute,
                            [](ProgramBuilder& p, std::span<const Expression> in) {
                              return p.select(in[1], in[0], p.constant(0, in[0].type));
                            });
    } else {
      weights = l.cast(counts, compute);
    }

    std::vector<Slot> parts{l.gather(input, index[0], 1), weights, counts};
    Slot log_sum;
    if (logits_) {
      const LogSoftmaxParts softmax = log_softmax_parts(l, input, 1);
      log_sum =
          l.pointwise(std::array{softmax.sum}, rows, compute, compute,
                      [](ProgramBuilder& p, std::span<const Expression> in) { return p.apply(Opcode::Log, in[0]); });
      parts.push_back(softmax.maximum);
      parts.push_back(log_sum);
    }
    const bool each = reduction_ == Reduction::None;
    Slot loss = l.pointwise(
        parts, rows, compute, each ? input.dtype : compute, [](ProgramBuilder& p, std::span<const Expression> in) {
          const Expression log_probability = in.size() > 3 ? p.subtract(p.subtract(in[0], in[3]), in[4]) : in[0];
          const Expression value = p.apply(Opcode::Negate, p.multiply(in[1], log_probability));
          return p.select(in[2], value, p.constant(0, value.type));
        });
    const uint32_t everything = (1u << rows.size()) - 1;
    Slot total = l.reduce(ReduceKind::Sum, weights, everything, compute, compute);
    if (each) {
      loss = loss.squeezed(1);
    } else {
      const Slot sum = l.reduce(ReduceKind::Sum, loss, everything, compute, compute);
      const bool mean = reduction_ == Reduction::Mean;
      loss = l.pointwise(
          std::array{sum, total}, sum.shape, compute, input.dtype,
          [mean](ProgramBuilder& p, std::span<const Expression> in) { return mean ? p.divide(in[0], in[1]) : in[0]; });
      loss = l.reshape(loss, {});
    }
    total = l.pointwise(std::array{total}, total.shape, compute, compute,
                        [](ProgramBuilder& p, std::span<const Expression> in) {
                          const Expression one = p.constant(1, in[0].type);
                          return p.select(in[0], in[0], one);
                        });
    std::vector<Slot> outputs{loss, weights, l.reshape(total, {})};
    if (logits_) outputs.insert(outputs.end(), {parts[3], log_sum});
    return outputs;
  }

 private:
  /// 0, 1, … along dimension 1.
  static Tensor class_indices(int64_t classes, int rank) {
    Shape shape = Dimensions::filled(rank, 1);
    shape[1] = classes;
    return reshape(arange(0, classes, 1, DType::Int64), shape);
  }

  bool logits_;
  Reduction reduction_;
  int64_t ignore_index_;
};

void check_targets_in_range(const char* name, const Tensor& target, int64_t classes, int64_t ignore_index) {
  const auto visit = [=](int64_t index) {
    check<IndexError>((index >= 0 && index < classes) || index == ignore_index, name, ": Target ", index,
                      " is out of bounds. Expected 0 to ", classes - 1, ".");
  };
  if (target.dtype() == DType::Int64)
    visit_known<int64_t>(target, visit);
  else
    visit_known<uint8_t>(target, visit);
}

void check_class_weight(const char* name, const Tensor& input, const Tensor& weight, int64_t classes) {
  if (!weight.defined()) return;
  check(weight.dim() == 1 && weight.numel() == classes, name, ": weight tensor should be defined either for all ",
        classes, " classes or no classes but got weight tensor of shape: ", ops::brackets(weight.shape()));
  check(weight.dtype() == input.dtype(), name, ": expected scalar type ", ops::scalar_type_name(input.dtype()),
        " but found ", ops::scalar_type_name(weight.dtype()), " for weight");
}

/// nll_loss and cross_entropy with class indices.
Tensor class_loss(bool logits, const Tensor& input, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                  Reduction reduction) {
  const char* name = logits ? "cross_entropy" : "nll_loss";
  check<ValueError>(input.dim() >= 1, name, ": Expected 1 or more dimensions (got 0)");
  check(target.dtype() == DType::Int64 || target.dtype() == DType::UInt8, name,
        ": expected target dtype to be Long or Byte, but got ", ops::scalar_type_name(target.dtype()));
  const Shape &x = input.shape(), &t = target.shape();
  if (x.size() == 1) {
    check(t.size() <= 1, name, ": 0D or 1D target tensor expected, multi-target not supported, got target of size ",
          ops::brackets(t));
    check<ValueError>(target.numel() == 1, name, ": Expected input batch_size (1) to match target batch_size (",
                      target.numel(), ").");
    const Tensor result =
        class_loss(logits, unsqueeze(input, 0), reshape(target, {1}), weight, ignore_index, reduction);
    return reduction == Reduction::None ? reshape(result, {}) : result;
  }
  check_floating(name, input);
  check(x.size() != 2 || t.size() <= 1, name,
        ": 0D or 1D target tensor expected, multi-target not supported, got target of size ", ops::brackets(t));
  check<ValueError>(t.size() > 0 && x[0] == t[0], name, ": Expected input batch_size (", x[0],
                    ") to match target batch_size (", t.empty() ? 1 : t[0], ").");
  Shape expected = x;
  expected.erase(1);
  check(t == expected, name, ": Expected target size ", ops::brackets(expected), ", got ", ops::brackets(t));
  check_class_weight(name, input, weight, x[1]);
  check_constant(name, "weight", weight);
  check_targets_in_range(name, target, x[1], ignore_index);
  if (input.numel() == 0) {
    const Tensor empty = reduction == Reduction::None ? sum(input, Dimensions{1}) : sum(input);
    return reduction == Reduction::Mean ? empty * std::numeric_limits<double>::quiet_NaN() : empty;
  }

  const DType compute = ops::compute_dtype(input.dtype());
  Shape rows = x;
  rows[1] = 1;
  std::vector<Spec> specs{
      {reduction == Reduction::None ? expected : Shape{}, input.dtype()}, {rows, compute, false}, {{}, compute, false}};
  if (logits) specs.insert(specs.end(), {Spec{rows, compute, false}, Spec{rows, compute}});
  Tensors inputs{input, cast(target, DType::Int64)};
  if (weight.defined()) inputs.push_back(weight);
  return record(std::make_shared<ClassLoss>(logits, reduction, ignore_index), inputs, specs)[0];
}

/// (C) shaped to broadcast along dimension 1 of `input` (dimension 0 of a vector).
Tensor along_classes(const Tensor& weight, const Tensor& input) {
  if (input.dim() < 2) return weight;
  Shape shape = Dimensions::filled(input.dim(), 1);
  shape[1] = weight.numel();
  return reshape(weight, shape);
}

/// -Σ_c weight · target · log softmax, the target being probabilities of classes.
Tensor probability_cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options) {
  check(is_floating_point(target.dtype()),
        "cross_entropy: Expected floating point type for target with class probabilities, got ",
        ops::scalar_type_name(target.dtype()));
  check(options.ignore_index < 0, "cross_entropy: ignore_index is not supported for floating point target");
  check(input.dim() >= 1, "cross_entropy: Expected 1 or more dimensions (got 0)");
  const int dimension = input.dim() == 1 ? 0 : 1;
  const int64_t classes = input.shape()[dimension];
  check_class_weight("cross_entropy", input, options.weight, classes);
  const double smoothing = options.label_smoothing;
  const Tensor smooth = smoothing > 0 ? target * (1 - smoothing) + smoothing / static_cast<double>(classes) : target;
  Tensor products = log_softmax(input, dimension) * smooth;
  if (options.weight.defined()) products = products * along_classes(options.weight, input);
  if (options.reduction == Reduction::None) return neg(sum(products, Dimensions{dimension}));
  const Tensor total = neg(sum(products));
  if (options.reduction == Reduction::Sum) return total;
  return total / static_cast<double>(input.numel() / std::max<int64_t>(classes, 1));
}

/// What label smoothing adds: -Σ_c weight · log softmax, averaged as the loss of the targets themselves.
Tensor smoothing_loss(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options) {
  const int dimension = input.dim() == 1 ? 0 : 1;
  Tensor logs = log_softmax(input, dimension);
  if (options.weight.defined()) logs = logs * along_classes(options.weight, input);
  Tensor losses = neg(sum(logs, Dimensions{dimension}));
  const Tensor index = reshape(cast(target, DType::Int64), losses.shape());
  const Tensor ignored = eq(index, wrap_scalar(options.ignore_index, index));
  losses = masked_fill(losses, ignored, wrap_scalar(0, losses));
  if (options.reduction != Reduction::Mean)
    return options.reduction == Reduction::Sum ? sum(losses) : reshape(losses, target.shape());
  if (!options.weight.defined()) return sum(losses) / sum(logical_not(ignored));
  const Tensor safe = masked_fill(index, ignored, wrap_scalar(0, index));
  const Tensor weights = reshape(index_select(options.weight, 0, reshape(safe, {safe.numel()})), losses.shape());
  return sum(losses) / sum(masked_fill(weights, ignored, wrap_scalar(0, weights)));
}

void check_binary_cross_entropy(const char* name, const Tensor& input, const Tensor& target) {
  check<ValueError>(input.shape() == target.shape(), name, ": Target size (", ops::brackets(target.shape()),
                    ") must be the same as input size (", ops::brackets(input.shape()), ")");
  check_floating(name, input);
}

/// -(t log x + (1 - t) log(1 - x)) with logarithms clamped at -100.
class BinaryCrossEntropy final : public Operator {
 public:
  const char* name() const override { return "binary_cross_entropy"; }
  BackwardReads backward_reads() const override { return {.inputs = 0b11}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor input = context.input(0), &gradient = context.gradient();
    Tensors result(2);
    if (context.needs(0)) {
      const Tensor denominator = clamp((Scalar(1) - input) * input, Scalar(1e-12), std::optional<Scalar>());
      result[0] = gradient * (input - context.input(1)) / denominator;
    }
    if (context.needs(1)) result[1] = gradient * (log1p(neg(input)) - log(input));
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    return {l.pointwise(inputs, inputs[0].shape, ops::compute_dtype(dtype), dtype,
                        [](ProgramBuilder& p, std::span<const Expression> in) {
                          const Expression bound = p.constant(-100, in[0].type), one = p.constant(1, in[0].type);
                          const Expression log_x = p.maximum(p.apply(Opcode::Log, in[0]), bound);
                          const Expression log_rest =
                              p.maximum(p.apply(Opcode::Log1p, p.apply(Opcode::Negate, in[0])), bound);
                          return p.subtract(p.multiply(p.subtract(in[1], one), log_rest), p.multiply(in[1], log_x));
                        })};
  }
};

constexpr ops::Domain input_probabilities{
    0, 1, false,
    [](const char* name) { throw Error(std::string(name) + ": all elements of input should be between 0 and 1"); }};
constexpr ops::Domain target_probabilities{
    0, 1, false,
    [](const char* name) { throw Error(std::string(name) + ": all elements of target should be between 0 and 1"); }};

}  // namespace

Tensor softmax(const Tensor& input, int64_t dimension, std::optional<DType> dtype) {
  return record_softmax("softmax", false, input, dimension, dtype);
}

Tensor log_softmax(const Tensor& input, int64_t dimension, std::optional<DType> dtype) {
  return record_softmax("log_softmax", true, input, dimension, dtype);
}

Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options) {
  if (const auto operands = ops::autocast("cross_entropy", input, target, options.weight)) {
    CrossEntropyOptions others = options;
    others.weight = (*operands)[2];
    return cross_entropy((*operands)[0], (*operands)[1], others);
  }
  const double smoothing = options.label_smoothing;
  check(smoothing >= 0 && smoothing <= 1,
        "cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: ", smoothing);
  if (target.shape() == input.shape())
    return named("cross_entropy", [&] { return probability_cross_entropy(input, target, options); });
  const Tensor loss = class_loss(true, input, target, options.weight, options.ignore_index, options.reduction);
  if (smoothing == 0 || input.numel() == 0) return loss;
  const double classes = static_cast<double>(input.shape()[input.dim() == 1 ? 0 : 1]);
  return loss * (1 - smoothing) + smoothing_loss(input, target, options) * (smoothing / classes);
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight, int64_t ignore_index,
                Reduction reduction) {
  if (const auto operands = ops::autocast("nll_loss", input, target, weight))
    return nll_loss((*operands)[0], (*operands)[1], (*operands)[2], ignore_index, reduction);
  return class_loss(false, input, target, weight, ignore_index, reduction);
}

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (const auto operands = ops::autocast("mse_loss", input, target))
    return mse_loss((*operands)[0], (*operands)[1], reduction);
  return named("mse_loss", [&] {
    const Tensor difference = input - ops::numbers(target, input);
    check_floating("mse_loss", difference);
    return reduce_loss(square(difference), reduction);
  });
}

Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (const auto operands = ops::autocast("l1_loss", input, target))
    return l1_loss((*operands)[0], (*operands)[1], reduction);
  return named("l1_loss", [&] { return reduce_loss(abs(input - target), reduction); });
}

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight, Reduction reduction) {
  if (const auto operands = ops::autocast("binary_cross_entropy", input, target, weight))
    return binary_cross_entropy((*operands)[0], (*operands)[1], (*operands)[2], reduction);
  check_binary_cross_entropy("binary_cross_entropy", input, target);
  check(target.dtype() == input.dtype(), "binary_cross_entropy: Found dtype ", ops::scalar_type_name(target.dtype()),
        " but expected ", ops::scalar_type_name(input.dtype()));
  const char* name = "binary_cross_entropy";
  Tensor loss = record(std::make_shared<BinaryCrossEntropy>(),
                       {ops::within(name, input, input_probabilities), ops::within(name, target, target_probabilities)},
                       {input.shape(), input.dtype()});
  if (weight.defined()) loss = loss * named("binary_cross_entropy", [&] { return broadcast_to(weight, loss.shape()); });
  return reduce_loss(loss, reduction);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const Tensor& weight,
                                        Reduction reduction, const Tensor& pos_weight) {
  if (const auto operands = ops::autocast("binary_cross_entropy_with_logits", input, target, weight, pos_weight)) {
    const Tensors& o = *operands;
    return binary_cross_entropy_with_logits(o[0], o[1], o[2], reduction, o[3]);
  }
  check_binary_cross_entropy("binary_cross_entropy_with_logits", input, target);
  check(is_floating_point(target.dtype()),
        "binary_cross_entropy_with_logits: result type Float can't be cast to the desired output type ",
        ops::scalar_type_name(target.dtype()));
  const Tensor negative = (Scalar(1) - target) * input;
  Tensor log_probability = log_sigmoid(input);
  if (pos_weight.defined()) {
    check(broadcast_shapes(pos_weight.shape(), input.shape(), "binary_cross_entropy_with_logits") == input.shape(),
          "binary_cross_entropy_with_logits: pos_weight of size ", ops::brackets(pos_weight.shape()),
          " must broadcast to input of size ", ops::brackets(input.shape()));
    log_probability = log_probability * ((pos_weight - 1) * target + 1);
  }
  Tensor loss = cast(negative - log_probability, target.dtype());
  if (weight.defined())
    loss = loss * named("binary_cross_entropy_with_logits", [&] { return broadcast_to(weight, loss.shape()); });
  return reduce_loss(loss, reduction);
}

}  // namespace pycnn
