// torch.nn.functional's names: normalisation over other dimensions than the batch's, resizing, sampling, shuffling.
#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using OptionalTensor = std::optional<Tensor>;

void bind_group_normalization(Module& module) {
  module.def(
      "layer_norm",
      [](const Tensor& input, const Dimensions& normalized_shape, const OptionalTensor& weight,
         const OptionalTensor& bias, double eps,
         bool) { return layer_norm(input, normalized_shape, or_undefined(weight), or_undefined(bias), eps); },
      py::arg("input"), py::arg("normalized_shape"), py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("eps") = 1e-5, py::arg("cudnn_enable") = true);
  module.def(
      "rms_norm",
      [](const Tensor& input, const Dimensions& normalized_shape, const OptionalTensor& weight,
         std::optional<double> eps) { return rms_norm(input, normalized_shape, or_undefined(weight), eps); },
      py::arg("input"), py::arg("normalized_shape"), py::arg("weight") = py::none(), py::arg("eps") = py::none());
  module.def(
      "group_norm",
      [](const Tensor& input, int64_t num_groups, const OptionalTensor& weight, const OptionalTensor& bias, double eps,
         bool) { return group_norm(input, num_groups, or_undefined(weight), or_undefined(bias), eps); },
      py::arg("input"), py::arg("num_groups"), py::arg("weight") = py::none(), py::arg("bias") = py::none(),
      py::arg("eps") = 1e-5, py::arg("cudnn_enabled") = true);
  module.def(
      "instance_norm",
      [](const Tensor& input, const OptionalTensor& weight, const OptionalTensor& bias,
         const OptionalTensor& running_mean, const OptionalTensor& running_var, bool use_input_stats, double momentum,
         double eps, bool) {
        return instance_norm(input, or_undefined(running_mean), or_undefined(running_var), or_undefined(weight),
                             or_undefined(bias), use_input_stats, momentum, eps);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("running_mean"), py::arg("running_var"),
      py::arg("use_input_stats"), py::arg("momentum"), py::arg("eps"), py::arg("cudnn_enabled"));
}

void bind_resampling(Module& module) {
  module.def(
      "_interpolate",
      [](const Tensor& input, const Dimensions& size, const std::string& mode, bool align_corners,
         const std::vector<double>& scales, bool antialias) {
        return interpolate(input, size, {mode, align_corners, scales, antialias});
      },
      py::arg("input"), py::arg("size"), py::arg("mode"), py::arg("align_corners"), py::arg("scales"),
      py::arg("antialias"));
  module.def(
      "_unfold",
      [](const Tensor& input, const Dimensions& kernel_size, const Dimensions& dilation, const Dimensions& padding,
         const Dimensions& stride) {
        return unfold(input, kernel_size, {dilation, padding, stride});
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("dilation"), py::arg("padding"), py::arg("stride"));
  module.def(
      "_fold",
      [](const Tensor& input, const Dimensions& output_size, const Dimensions& kernel_size, const Dimensions& dilation,
         const Dimensions& padding, const Dimensions& stride) {
        return fold(input, output_size, kernel_size, {dilation, padding, stride});
      },
      py::arg("input"), py::arg("output_size"), py::arg("kernel_size"), py::arg("dilation"), py::arg("padding"),
      py::arg("stride"));
  module.def(
      "_grid_sample",
      [](const Tensor& input, const Tensor& grid, const std::string& mode, const std::string& padding_mode,
         bool align_corners) { return grid_sample(input, grid, mode, padding_mode, align_corners); },
      py::arg("input"), py::arg("grid"), py::arg("mode"), py::arg("padding_mode"), py::arg("align_corners"));
  module.def("affine_grid_generator", &affine_grid, py::arg("theta"), py::arg("size"), py::arg("align_corners"));
}

}  // namespace

void bind_vision_functions(Module& module) {
  bind_group_normalization(module);
  bind_resampling(module);
  module.def("pixel_shuffle", &pixel_shuffle, py::arg("input"), py::arg("upscale_factor"));
  module.def("pixel_unshuffle", &pixel_unshuffle, py::arg("input"), py::arg("downscale_factor"));
  module.def("channel_shuffle", &channel_shuffle, py::arg("input"), py::arg("groups"));
}

}  // namespace pycnn::bindings
