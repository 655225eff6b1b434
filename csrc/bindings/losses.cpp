// torch.nn.functional's losses and softmax.
#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using OptionalTensor = std::optional<Tensor>;
using OptionalBool = std::optional<bool>;

/// `size_average` and `reduce` are PyTorch's older spelling of `reduction`.
Reduction reduction_of(const std::string& name, OptionalBool size_average, OptionalBool reduce) {
  if (size_average || reduce) {
    if (!reduce.value_or(true)) return Reduction::None;
    return size_average.value_or(true) ? Reduction::Mean : Reduction::Sum;
  }
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
         int64_t ignore_index, OptionalBool reduce, const std::string& reduction, double label_smoothing) {
        return cross_entropy(
            input, target,
            {or_undefined(weight), ignore_index, reduction_of(reduction, size_average, reduce), label_smoothing});
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, py::arg("ignore_index") = -100, no_reduce,
      mean_reduction, py::arg("label_smoothing") = 0.0);
  module.def(
      "nll_loss",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         int64_t ignore_index, OptionalBool reduce, const std::string& reduction) {
        return nll_loss(input, target, or_undefined(weight), ignore_index,
                        reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, py::arg("ignore_index") = -100, no_reduce,
      mean_reduction);
  module.def(
      "binary_cross_entropy",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         OptionalBool reduce, const std::string& reduction) {
        return binary_cross_entropy(input, target, or_undefined(weight), reduction_of(reduction, size_average, reduce));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, no_reduce, mean_reduction);
  module.def(
      "binary_cross_entropy_with_logits",
      [](const Tensor& input, const Tensor& target, const OptionalTensor& weight, OptionalBool size_average,
         OptionalBool reduce, const std::string& reduction, const OptionalTensor& pos_weight) {
        return binary_cross_entropy_with_logits(input, target, or_undefined(weight),
                                                reduction_of(reduction, size_average, reduce),
                                                or_undefined(pos_weight));
      },
      py::arg("input"), py::arg("target"), no_weight, no_size_average, no_reduce, mean_reduction,
      py::arg("pos_weight") = py::none());
}

void bind_regression(Module& module) {
  using Loss = Tensor (*)(const Tensor&, const Tensor&, Reduction);
  const std::pair<const char*, Loss> losses[] = {{"mse_loss", &mse_loss}, {"l1_loss", &l1_loss}};
  for (auto [name, function] : losses)
    module.def(
        name,
        [function = function](const Tensor& input, const Tensor& target, OptionalBool size_average, OptionalBool reduce,
                              const std::string& reduction) {
          return function(input, target, reduction_of(reduction, size_average, reduce));
        },
        py::arg("input"), py::arg("target"), no_size_average, no_reduce, mean_reduction);
}

}  // namespace

void bind_losses(Module& module) {
  bind_classification(module);
  bind_regression(module);
  module.def("softmax", &softmax, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none());
  module.def("log_softmax", &log_softmax, py::arg("input"), py::arg("dim"), py::arg("dtype") = py::none());
}

}  // namespace pycnn::bindings
