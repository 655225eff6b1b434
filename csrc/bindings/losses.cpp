// torch.nn.functional's losses and softmax.
#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using OptionalTensor = std::optional<Tensor>;
using OptionalBool = std::optional<bool>;
using ReductionName = std::optional<std::string>;  ///< none is refused as any other unknown one: a ValueError

/// `size_average` and `reduce` are PyTorch's older spelling of `reduction`.
Reduction reduction_of(const ReductionName& reduction, OptionalBool size_average, OptionalBool reduce) {
  if (size_average || reduce) {
    if (!reduce.value_or(true)) return Reduction::None;
    return size_average.value_or(true) ? Reduction::Mean : Reduction::Sum;
  }
  const std::string name = reduction.value_or("None");
  if (name == "mean") return Reduction::Mean;
  if (name == "sum") return Reduction::Sum;
  check<ValueError>(name == "none", name, " is not a valid value for reduction");
  return Reduction::None;
}

const auto no_weight = py::arg("weight") = py::none();
const auto no_size_average = py::arg("size_average") = py::none();
const auto no_reduce = py::arg("reduce") = py::none();
const auto mean_reduction = py::arg("reduction") = "mean";

void bind_classification(Module& module) {
  module.def(
      "cross_entropy",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         int64_t ignore_index, OptionalBool reduce, const ReductionName& reduction, double label_smoothing) {
        return cross_entropy(
            input, target,
            {or_undefined(weight), ignore_index, reduction_of(reduction, size_average, reduce), label_smoothing});
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, py::arg("ignore_index") = -100, no_reduce,
      mean_reduction, py::arg("label_smoothing") = 0.0);
  module.def(
      "nll_loss",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         int64_t ignore_index, OptionalBool reduce, const ReductionName& reduction) {
        return nll_loss(input, target, or_undefined(weight), ignore_index,
                        reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, py::arg("ignore_index") = -100, no_reduce,
      mean_reduction);
  module.def(
      "binary_cross_entropy",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         OptionalBool reduce, const ReductionName& reduction) {
        return binary_cross_entropy(input, target, or_undefined(weight), reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, no_reduce, mean_reduction);
  module.def(
      "binary_cross_entropy_with_logits",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         OptionalBool reduce, const ReductionName& reduction, const OptionalTensor& pos_weight) {
        return binary_cross_entropy_with_logits(input, target, or_undefined(weight),
                                                reduction_of(reduction, size_average, reduce),
                                                or_undefined(pos_weight));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, no_reduce, mean_reduction,
      py::arg("pos_weight") = py::none());
}

/// Without a weight, or weighted by elements of the input's shape. The mean is that of the products, or (`normalized`)
/// divided by the sum of the weights.
template <typename Loss>
Tensor weighted(const Tensor& input, const OptionalTensor& weight, Reduction reduction, bool normalized,
                const Loss& loss) {
  if (!weight) return loss(reduction);
  check<ValueError>(weight->shape() == input.shape(), "Weights and input must have the same size.");
  const Tensor losses = loss(Reduction::None) * *weight;
  if (reduction == Reduction::Mean) return normalized ? sum(losses) / sum(*weight) : mean(losses);
  return reduction == Reduction::None ? losses : sum(losses);
}

void bind_regression(Module& module) {
  using Loss = Tensor (*)(const Tensor&, const Tensor&, Reduction);
  const std::pair<const char*, Loss> weighted_losses[] = {{"mse_loss", &mse_loss}, {"l1_loss", &l1_loss}};
  for (auto [name, function] : weighted_losses)
    module.def(
        name,
        [function = function](const Tensor& input, const Tensor& target, OptionalBool size_average, OptionalBool reduce,
                              const ReductionName& reduction, const OptionalTensor& weight) {
          return weighted(input, weight, reduction_of(reduction, size_average, reduce), true,
                          [&](Reduction r) { return function(input, target, r); });
        },
        py::arg("input"), py::arg("target"), no_size_average, no_reduce, mean_reduction, no_weight);
  const std::pair<const char*, Loss> losses[] = {{"soft_margin_loss", &soft_margin_loss},
                                                 {"multilabel_margin_loss", &multilabel_margin_loss}};
  for (auto [name, function] : losses)
    module.def(
        name,
        [function = function](const Tensor& input, const Tensor& target, OptionalBool size_average, OptionalBool reduce,
                              const ReductionName& reduction) {
          return function(input, target, reduction_of(reduction, size_average, reduce));
        },
        py::arg("input"), py::arg("target"), no_size_average, no_reduce, mean_reduction);
  module.def(
      "smooth_l1_loss",
      [](const Tensor& input, const Tensor& target, OptionalBool size_average, OptionalBool reduce,
         const ReductionName& reduction,
         double beta) { return smooth_l1_loss(input, target, reduction_of(reduction, size_average, reduce), beta); },
      py::arg("input"), py::arg("target"), no_size_average, no_reduce, mean_reduction, py::arg("beta") = 1.0);
  module.def(
      "huber_loss",
      [](const Tensor& input, const Tensor& target, const ReductionName& reduction, double delta,
         const OptionalTensor& weight) {
        return weighted(input, weight, reduction_of(reduction, {}, {}), false,
                        [&](Reduction r) { return huber_loss(input, target, r, delta); });
      },
      py::arg("input"), py::arg("target"), mean_reduction, py::arg("delta") = 1.0, no_weight);
  module.def(
      "kl_div",
      [](const Tensor& input, const Tensor& target, OptionalBool size_average, OptionalBool reduce,
         const ReductionName& reduction, bool log_target) {
        if (reduction != "batchmean" || size_average || reduce)
          return kl_div(input, target, reduction_of(reduction, size_average, reduce), log_target);
        const Tensor total = kl_div(input, target, Reduction::Sum, log_target);
        return input.dim() == 0 ? total : total / static_cast<double>(input.size(0));
      },
      py::arg("input"), py::arg("target"), no_size_average, no_reduce, mean_reduction, py::arg("log_target") = false);
  module.def(
      "poisson_nll_loss",
      [](const Tensor& input, const Tensor& target, bool log_input, bool full, OptionalBool size_average, double eps,
         OptionalBool reduce, const ReductionName& reduction) {
        return poisson_nll_loss(input, target, {log_input, full, eps, reduction_of(reduction, size_average, reduce)});
      },
      py::arg("input"), py::arg("target"), py::arg("log_input") = true, py::arg("full") = false, no_size_average,
      py::arg("eps") = 1e-8, no_reduce, mean_reduction);
  module.def(
      "gaussian_nll_loss",
      [](const Tensor& input, const Tensor& target, const std::variant<Tensor, double>& var, bool full, double eps,
         const ReductionName& reduction) {
        const Tensor* variance = std::get_if<Tensor>(&var);
        return gaussian_nll_loss(input, target, variance ? *variance : full_like(input, std::get<double>(var)), full,
                                 eps, reduction_of(reduction, {}, {}));
      },
      py::arg("input"), py::arg("target"), py::arg("var"), py::arg("full") = false, py::arg("eps") = 1e-6,
      mean_reduction);
}

void bind_margins(Module& module) {
  module.def(
      "hinge_embedding_loss",
      [](const Tensor& input, const Tensor& target, double margin, OptionalBool size_average, OptionalBool reduce,
         const ReductionName& reduction) {
        return hinge_embedding_loss(input, target, margin, reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), py::arg("margin") = 1.0, no_size_average, no_reduce, mean_reduction);
  using PairLoss = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, double, Reduction);
  const std::pair<const char*, PairLoss> pairs[] = {{"margin_ranking_loss", &margin_ranking_loss},
                                                    {"cosine_embedding_loss", &cosine_embedding_loss}};
  for (auto [name, function] : pairs)
    module.def(
        name,
        [function = function](const Tensor& input1, const Tensor& input2, const Tensor& target, double margin,
                              OptionalBool size_average, OptionalBool reduce, const ReductionName& reduction) {
          return function(input1, input2, target, margin, reduction_of(reduction, size_average, reduce));
        },
        py::arg("input1"), py::arg("input2"), py::arg("target"), py::arg("margin") = 0.0, no_size_average, no_reduce,
        mean_reduction);
  module.def(
      "multilabel_soft_margin_loss",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         OptionalBool reduce, const ReductionName& reduction) {
        return multilabel_soft_margin_loss(input, target, or_undefined(weight),
                                           reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, no_reduce, mean_reduction);
  module.def(
      "multi_margin_loss",
      [](const Tensor& input, const Tensor& target, double p, double margin, const OptionalTensor& weight,
         OptionalBool size_average, OptionalBool reduce, const ReductionName& reduction) {
        return multi_margin_loss(input, target, p, margin, or_undefined(weight),
                                 reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), py::arg("p") = 1, py::arg("margin") = 1.0, no_weight, no_size_average,
      no_reduce, mean_reduction);
  module.def(
      "triplet_margin_loss",
      [](const Tensor& anchor, const Tensor& positive, const Tensor& negative, double margin, double p, double eps,
         bool swap, OptionalBool size_average, OptionalBool reduce, const ReductionName& reduction) {
        return triplet_margin_loss(anchor, positive, negative,
                                   {margin, p, eps, swap, reduction_of(reduction, size_average, reduce)});
      },
      py::arg("anchor"), py::arg("positive"), py::arg("negative"), py::arg("margin") = 1.0, py::arg("p") = 2.0,
      py::arg("eps") = 1e-6, py::arg("swap") = false, no_size_average, no_reduce, mean_reduction);
  module.def(
      "ctc_loss",
      [](const Tensor& log_probs, const Tensor& targets, const std::vector<int64_t>& input_lengths,
         const std::vector<int64_t>& target_lengths, int64_t blank, const ReductionName& reduction,
         bool zero_infinity) {
        return without_gil([&] {
          return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction_of(reduction, {}, {}),
                          zero_infinity);
        });
      },
      py::arg("log_probs"), py::arg("targets"), py::arg("input_lengths"), py::arg("target_lengths"),
      py::arg("blank") = 0, py::arg("reduction") = "mean", py::arg("zero_infinity") = false);
}

}  // namespace

void bind_losses(Module& module) {
  bind_classification(module);
  bind_regression(module);
  bind_margins(module);
  module.def("softmin", &softmin, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none());
  module.def("softmax", &softmax, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none());
  module.def("log_softmax", &log_softmax, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none());
}

}  // namespace pycnn::bindings
