// torch.nn.functional's names: convolution, pooling, normalisation, dropout, activations.
#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using OptionalTensor = std::optional<Tensor>;

const auto no_bias = py::arg("bias") = py::none();

void bind_convolutions(Module& module) {
  using Convolution = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const ConvOptions&);
  const std::pair<const char*, Convolution> convolutions[] = {
      {"conv1d", &conv1d}, {"conv2d", &conv2d}, {"conv3d", &conv3d}};
  for (auto [name, function] : convolutions)
    module.def(
        name,
        [function = function](const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                              const Dimensions& stride, const std::variant<std::string, Dimensions>& padding,
                              const Dimensions& dilation, int64_t groups) {
          ConvOptions options{stride, Dimensions{0}, dilation, groups};
          if (const auto* mode = std::get_if<std::string>(&padding))
            options.padding = std::string_view(*mode);
          else
            options.padding = std::get<Dimensions>(padding);
          return function(input, weight, or_undefined(bias), options);
        },
        py::arg("input"), py::arg("weight"), no_bias, py::arg("stride") = 1, py::arg("padding") = 0,
        py::arg("dilation") = 1, py::arg("groups") = 1);
  using Transposed = Tensor (*)(const Tensor&, const Tensor&, const Tensor&, const ConvTransposeOptions&);
  const std::pair<const char*, Transposed> transposed[] = {{"conv_transpose1d", &conv_transpose1d},
                                                           {"conv_transpose2d", &conv_transpose2d},
                                                           {"conv_transpose3d", &conv_transpose3d}};
  for (auto [name, function] : transposed)
    module.def(
        name,
        [function = function](const Tensor& input, const Tensor& weight, const OptionalTensor& bias,
                              const Dimensions& stride, const Dimensions& padding, const Dimensions& output_padding,
                              int64_t groups, const Dimensions& dilation) {
          return function(input, weight, or_undefined(bias), {stride, padding, output_padding, groups, dilation});
        },
        py::arg("input"), py::arg("weight"), no_bias, py::arg("stride") = 1, py::arg("padding") = 0,
        py::arg("output_padding") = 0, py::arg("groups") = 1, py::arg("dilation") = 1);
  module.def(
      "linear",
      [](const Tensor& input, const Tensor& weight, const OptionalTensor& bias) {
        return linear(input, weight, or_undefined(bias));
      },
      py::arg("input"), py::arg("weight"), no_bias);
}

void bind_max_pooling(Module& module) {
  for (int spatial = 1; spatial <= 3; ++spatial) {
    const std::string name = "max_pool" + std::to_string(spatial) + "d";
    auto pool = [spatial](const Tensor& input, const Dimensions& kernel_size, const std::optional<Dimensions>& stride,
                          const Dimensions& padding, const Dimensions& dilation, bool ceil_mode,
                          bool return_indices) -> py::object {
      const MaxPoolOptions options{stride.value_or(Dimensions{}), padding, dilation, ceil_mode};
      if (return_indices) return py::cast(max_pool_with_indices(spatial, input, kernel_size, options));
      auto function = spatial == 1 ? &max_pool1d : spatial == 2 ? &max_pool2d : &max_pool3d;
      return py::cast(function(input, kernel_size, options));
    };
    module.def(name.c_str(), pool, py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
               py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("ceil_mode") = false,
               py::arg("return_indices") = false);
    module.def((name + "_with_indices").c_str(),
               [pool](const Tensor& input, const Dimensions& kernel_size, const std::optional<Dimensions>& stride,
                      const Dimensions& padding, const Dimensions& dilation, bool ceil_mode,
                      bool) { return pool(input, kernel_size, stride, padding, dilation, ceil_mode, true); },
               py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(), py::arg("padding") = 0,
               py::arg("dilation") = 1, py::arg("ceil_mode") = false, py::arg("return_indices") = true);
  }
}

/// None keeps the input's size.
Dimensions adaptive_size(const py::object& size) {
  const auto one = [](py::handle item) -> int64_t {
    if (item.is_none()) return -1;
    const auto wanted = item.cast<int64_t>();
    check(wanted >= 0, "adaptive pooling: elements of output_size must be greater than or equal to 0, got ", wanted);
    return wanted;
  };
  if (!PyTuple_Check(size.ptr()) && !PyList_Check(size.ptr())) return {one(size)};
  Dimensions result;
  for (py::handle item : size) result.push_back(one(item));
  return result;
}

void bind_average_pooling(Module& module) {
  using Average = Tensor (*)(const Tensor&, const Dimensions&, const AvgPoolOptions&);
  const std::pair<const char*, Average> averages[] = {
      {"avg_pool1d", &avg_pool1d}, {"avg_pool2d", &avg_pool2d}, {"avg_pool3d", &avg_pool3d}};
  for (auto [name, function] : averages)
    module.def(
        name,
        [function = function](const Tensor& input, const Dimensions& kernel_size,
                              const std::optional<Dimensions>& stride, const Dimensions& padding, bool ceil_mode,
                              bool count_include_pad, std::optional<int64_t> divisor_override) {
          return function(input, kernel_size,
                          {stride.value_or(Dimensions{}), padding, ceil_mode, count_include_pad, divisor_override});
        },
        py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(), py::arg("padding") = 0,
        py::arg("ceil_mode") = false, py::arg("count_include_pad") = true, py::arg("divisor_override") = py::none());
  for (int spatial = 1; spatial <= 3; ++spatial) {
    const std::string suffix = std::to_string(spatial) + "d";
    module.def(("adaptive_avg_pool" + suffix).c_str(),
               [spatial](const Tensor& input, const py::object& output_size) {
                 return adaptive_avg_pool(spatial, input, adaptive_size(output_size));
               },
               py::arg("input"), py::arg("output_size"));
    auto adaptive_max = [spatial](const Tensor& input, const py::object& output_size,
                                  bool return_indices) -> py::object {
      auto result = adaptive_max_pool_with_indices(spatial, input, adaptive_size(output_size));
      return return_indices ? py::cast(std::move(result)) : py::cast(std::move(result.first));
    };
    module.def(("adaptive_max_pool" + suffix).c_str(), adaptive_max, py::arg("input"), py::arg("output_size"),
               py::arg("return_indices") = spatial == 1);  // torch.adaptive_max_pool1d gives both
    module.def(("adaptive_max_pool" + suffix + "_with_indices").c_str(),
               [adaptive_max](const Tensor& input, const py::object& output_size, bool) {
                 return adaptive_max(input, output_size, true);
               },
               py::arg("input"), py::arg("output_size"), py::arg("return_indices") = true);
  }
}

void bind_normalization(Module& module) {
  module.def(
      "batch_norm",
      [](const Tensor& input, const OptionalTensor& weight, const OptionalTensor& bias,
         const OptionalTensor& running_mean, const OptionalTensor& running_var, bool training, double momentum,
         double eps, bool) {
        return batch_norm(input, or_undefined(running_mean), or_undefined(running_var), or_undefined(weight),
                          or_undefined(bias), training, momentum, eps);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("running_mean"), py::arg("running_var"),
      py::arg("training"), py::arg("momentum"), py::arg("eps"), py::arg("cudnn_enabled"));
  module.def("local_response_norm", &local_response_norm, py::arg("input"), py::arg("size"), py::arg("alpha") = 1e-4,
             py::arg("beta") = 0.75, py::arg("k") = 1.0);
}

void bind_dropout(Module& module) {
  using Drop = Tensor (*)(const Tensor&, double, bool);
  const std::pair<const char*, Drop> functions[] = {{"dropout", &dropout},
                                                    {"dropout1d", &dropout1d},
                                                    {"dropout2d", &dropout2d},
                                                    {"dropout3d", &dropout3d},
                                                    {"feature_dropout", &feature_dropout}};
  for (auto [name, function] : functions)
    module.def(
        name,
        [name = name, function = function](const py::object& input, double p, bool training, bool inplace) {
          auto drop = [&](const Tensor& x) { return function(x, p, training); };
          return inplace ? in_place(input, name, drop) : py::cast(drop(tensor_of(input)));
        },
        py::arg("input"), py::arg("p") = 0.5, py::arg("training") = true, py::arg("inplace") = false);
}

/// Activations with an `inplace` argument.
template <typename Function>
py::object activate(const py::object& input, bool inplace, const char* name, const Function& function) {
  check<TypeError>(is_tensor(input), name, ": argument 'input' must be Tensor, not ", Py_TYPE(input.ptr())->tp_name);
  return inplace ? in_place(input, name, function) : py::cast(function(tensor_of(input)));
}

void bind_activations(Module& module) {
  const auto inplace_argument = py::arg("inplace") = false;
  module.def(
      "relu",
      [](const py::object& input, bool inplace) {
        return activate(input, inplace, "relu_", [](const Tensor& x) { return relu(x); });
      },
      py::arg("input"), inplace_argument);
  module.def(
      "silu",
      [](const py::object& input, bool inplace) {
        return activate(input, inplace, "silu_", [](const Tensor& x) { return silu(x); });
      },
      py::arg("input"), inplace_argument);
  module.def(
      "leaky_relu",
      [](const py::object& input, double slope, bool inplace) {
        return activate(input, inplace, "leaky_relu_", [&](const Tensor& x) { return leaky_relu(x, slope); });
      },
      py::arg("input"), py::arg("negative_slope") = 0.01, inplace_argument);
  module.def(
      "elu",
      [](const py::object& input, double alpha, bool inplace) {
        return activate(input, inplace, "elu_", [&](const Tensor& x) { return elu(x, alpha); });
      },
      py::arg("input"), py::arg("alpha") = 1.0, inplace_argument);
  module.def(
      "hardtanh",
      [](const py::object& input, double min_val, double max_val, bool inplace) {
        return activate(input, inplace, "hardtanh_", [&](const Tensor& x) { return hardtanh(x, min_val, max_val); });
      },
      py::arg("input"), py::arg("min_val") = -1.0, py::arg("max_val") = 1.0, inplace_argument);
  using Unary = Tensor (*)(const Tensor&);
  const std::pair<const char*, Unary> plain[] = {
      {"relu6", &relu6}, {"hardsigmoid", &hardsigmoid}, {"hardswish", &hardswish}, {"selu", &selu}, {"mish", &mish}};
  for (auto [name, function] : plain)
    module.def(
        name,
        [name = name, function = function](const py::object& input, bool inplace) {
          return activate(input, inplace, name, function);
        },
        py::arg("input"), inplace_argument);
  module.def(
      "celu",
      [](const py::object& input, double alpha, bool inplace) {
        return activate(input, inplace, "celu_", [&](const Tensor& x) { return celu(x, alpha); });
      },
      py::arg("input"), py::arg("alpha") = 1.0, inplace_argument);
  module.def(
      "threshold",
      [](const py::object& input, double bound, double value, bool inplace) {
        return activate(input, inplace, "threshold_", [&](const Tensor& x) { return threshold(x, bound, value); });
      },
      py::arg("input"), py::arg("threshold"), py::arg("value"), inplace_argument);
  module.def(
      "rrelu",
      [](const py::object& input, double lower, double upper, bool training, bool inplace) {
        return activate(input, inplace, "rrelu_", [&](const Tensor& x) { return rrelu(x, lower, upper, training); });
      },
      py::arg("input"), py::arg("lower") = 1.0 / 8, py::arg("upper") = 1.0 / 3, py::arg("training") = false,
      inplace_argument);
  for (auto [name, function] : {std::pair{"hardshrink", &hardshrink}, std::pair{"softshrink", &softshrink}})
    module.def(name, function, py::arg("input"), py::arg("lambd") = 0.5);
  module.def("tanhshrink", &tanhshrink, py::arg("input"));
  module.def("softsign", &softsign, py::arg("input"));
  module.def("prelu", &prelu, py::arg("input"), py::arg("weight"));
  module.def("glu", &glu, py::arg("input"), py::arg("dim") = -1);
  module.def("normalize", &normalize, py::arg("input"), py::arg("p") = 2.0, py::arg("dim") = 1, py::arg("eps") = 1e-12);
  module.def("cosine_similarity", &cosine_similarity, py::arg("x1"), py::arg("x2"), py::arg("dim") = 1,
             py::arg("eps") = 1e-8);
  module.def("pairwise_distance", &pairwise_distance, py::arg("x1"), py::arg("x2"), py::arg("p") = 2.0,
             py::arg("eps") = 1e-6, py::arg("keepdim") = false);
  module.def("softplus", &softplus, py::arg("input"), py::arg("beta") = 1.0, py::arg("threshold") = 20.0);
  module.def(
      "gelu", [](const Tensor& input, const std::string& approximate) { return gelu(input, approximate); },
      py::arg("input"), py::kw_only(), py::arg("approximate") = "none");
  module.def("maxout", &maxout, py::arg("input"), py::arg("pieces"));
}

}  // namespace

void bind_nn_functions(Module& module) {
  bind_convolutions(module);
  bind_max_pooling(module);
  bind_average_pooling(module);
  bind_normalization(module);
  bind_dropout(module);
  bind_activations(module);
  module.def(
      "pad",
      [](const Tensor& input, const std::vector<int64_t>& sizes, const std::string& mode, std::optional<double> value) {
        return pad(input, sizes, mode, value.value_or(0));
      },
      py::arg("input"), py::arg("pad"), py::arg("mode") = "constant", py::arg("value") = py::none());
}

}  // namespace pycnn::bindings
