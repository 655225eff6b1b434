// Convolution (cross-correlation) in one to three dimensions and its transpose.
// Three operators, one per pass, each the gradient of the others: y = x ∗ w, dx = dy ∗ᵀ w, dw = x ⋆ dy are bilinear, so
// the derivatives of any of them are the other two. A transposed convolution is the second of them with roles swapped.
#include <algorithm>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;
using kernels::ConvolutionShape;

/// Per spatial dimension. `padding` lies before the input; how much follows it results from the output's size.
struct Geometry {
  Dimensions stride, padding, dilation;
  int64_t groups;

  int spatial() const { return stride.size(); }
};

constexpr const char* conv_names[] = {"conv1d", "conv2d", "conv3d"};
constexpr const char* transpose_names[] = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};
constexpr const char* input_gradient_names[] = {"conv1d_input_gradient", "conv2d_input_gradient",
                                                "conv3d_input_gradient"};
constexpr const char* weight_gradient_names[] = {"conv1d_weight_gradient", "conv2d_weight_gradient",
                                                 "conv3d_weight_gradient"};

Shape join(int64_t first, int64_t second, const Dimensions& rest) {
  Shape shape{first, second};
  for (int64_t size : rest) shape.push_back(size);
  return shape;
}

Dimensions spatial_sizes(const Shape& shape) { return ops::last(shape, shape.size() - 2); }

ConvolutionShape convolution_shape(const Geometry& geometry, const Shape& input, const Shape& weight,
                                   const Shape& output) {
  ConvolutionShape result{input[0],  geometry.groups, input[1],  weight[0], {1, 1, 1},
                          {1, 1, 1}, {1, 1, 1},       {1, 1, 1}, {0, 0, 0}, {1, 1, 1}};
  for (int d = 0; d < geometry.spatial(); ++d) {
    const int at = 3 - geometry.spatial() + d;
    result.input[at] = input[2 + d];
    result.output[at] = output[2 + d];
    result.kernel[at] = weight[2 + d];
    result.stride[at] = geometry.stride[d];
    result.padding[at] = geometry.padding[d];
    result.dilation[at] = geometry.dilation[d];
  }
  return result;
}

/// A sum without summands.
bool is_empty(const ConvolutionShape& shape) {
  return shape.batch == 0 || shape.in_channels == 0 || shape.out_channels == 0;
}

/// What the three passes share. They run in float32, float64 or bfloat16 (integers in float64, exact below 2^53).
class ConvolutionPass : public Operator {
 public:
  ConvolutionPass(const char* name, const Geometry& geometry, const Dimensions& size)
      : name_(name), geometry_(geometry), size_(size) {}
  const char* name() const override { return name_; }
  void fingerprint(Fingerprint& f) const override {
    f.add(geometry_.stride).add(geometry_.padding).add(geometry_.dilation).add(geometry_.groups).add(size_);
  }
  BackwardReads backward_reads() const override { return {.inputs = 0b11}; }

 protected:
  static DType compute(DType dtype) { return is_floating_point(dtype) ? ops::product_dtype(dtype) : DType::Float64; }

  static Slot zeros(Lowering& l, DType dtype, const Shape& shape) {
    Slot result = l.allocate(dtype, shape, channels_last_strides(shape));
    l.fill(result, 0);
    return result;
  }

  /// Adds the bias, if there is one.
  static Slot finish(Lowering& l, const Slot& result, std::span<const Slot> inputs) {
    const DType dtype = inputs[0].dtype;
    if (inputs.size() < 3) return l.cast(result, dtype);
    Slot bias = inputs[2];
    for (int d = 2; d < result.shape.size(); ++d) bias = bias.unsqueezed(d - 1);
    return l.pointwise(std::array{result, bias}, result.shape, ops::compute_dtype(result.dtype), dtype,
                       [](ProgramBuilder& p, std::span<const Expression> in) { return p.add(in[0], in[1]); });
  }

  static Tensor bias_gradient(const Tensor& gradient) {
    Dimensions dimensions{0};
    for (int d = 2; d < gradient.dim(); ++d) dimensions.push_back(d);
    return sum(gradient, dimensions);
  }

  const char* name_;
  Geometry geometry_;
  Dimensions size_;  ///< spatial sizes of the result
};

Tensor convolution(const Tensor& input, const Tensor& weight, const Tensor& bias, const Geometry& geometry,
                   const Dimensions& size);
Tensor input_gradient(const char* name, const Tensor& gradient, const Tensor& weight, const Tensor& bias,
                      const Geometry& geometry, const Dimensions& size);
Tensor weight_gradient(const Tensor& input, const Tensor& gradient, const Geometry& geometry, const Dimensions& size);

/// input (N, C, …), weight (O, C/groups, …), bias (O) → (N, O, …)
class Convolution final : public ConvolutionPass {
 public:
  using ConvolutionPass::ConvolutionPass;
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    Tensors result(static_cast<size_t>(context.input_count()));
    if (context.needs(0))
      result[0] = input_gradient(input_gradient_names[geometry_.spatial() - 1], gradient, context.input(1), {},
                                 geometry_, spatial_sizes(context.input_shape(0)));
    if (context.needs(1))
      result[1] = weight_gradient(context.input(0), gradient, geometry_, spatial_sizes(context.input_shape(1)));
    if (result.size() > 2 && context.needs(2)) result[2] = bias_gradient(gradient);
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape output = join(inputs[0].shape[0], inputs[1].shape[0], size_);
    const ConvolutionShape shape = convolution_shape(geometry_, inputs[0].shape, inputs[1].shape, output);
    const DType dtype = compute(inputs[0].dtype);
    if (is_empty(shape)) return {finish(l, zeros(l, dtype, output), inputs)};
    return {finish(l, l.convolution(shape, l.cast(inputs[0], dtype), l.cast(inputs[1], dtype), output), inputs)};
  }
};

/// gradient of the output (N, O, …), weight (O, C/groups, …), bias (C) → (N, C, …)
class ConvolutionInputGradient final : public ConvolutionPass {
 public:
  using ConvolutionPass::ConvolutionPass;
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    Tensors result(static_cast<size_t>(context.input_count()));
    if (context.needs(0))
      result[0] = convolution(gradient, context.input(1), {}, geometry_, spatial_sizes(context.input_shape(0)));
    if (context.needs(1))
      result[1] = weight_gradient(gradient, context.input(0), geometry_, spatial_sizes(context.input_shape(1)));
    if (result.size() > 2 && context.needs(2)) result[2] = bias_gradient(gradient);
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape input = join(inputs[0].shape[0], inputs[1].shape[1] * geometry_.groups, size_);
    const ConvolutionShape shape = convolution_shape(geometry_, input, inputs[1].shape, inputs[0].shape);
    const DType dtype = compute(inputs[0].dtype);
    if (is_empty(shape)) return {finish(l, zeros(l, dtype, input), inputs)};
    return {finish(l, l.convolution_input_gradient(shape, l.cast(inputs[0], dtype), l.cast(inputs[1], dtype), input),
                   inputs)};
  }
};

/// input (N, C, …), gradient of the output (N, O, …) → (O, C/groups, …)
class ConvolutionWeightGradient final : public ConvolutionPass {
 public:
  using ConvolutionPass::ConvolutionPass;
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    Tensors result(2);
    if (context.needs(0))
      result[0] = input_gradient(input_gradient_names[geometry_.spatial() - 1], context.input(1), gradient, {},
                                 geometry_, spatial_sizes(context.input_shape(0)));
    if (context.needs(1))
      result[1] = convolution(context.input(0), gradient, {}, geometry_, spatial_sizes(context.input_shape(1)));
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape weight = join(inputs[1].shape[1], inputs[0].shape[1] / geometry_.groups, size_);
    const ConvolutionShape shape = convolution_shape(geometry_, inputs[0].shape, weight, inputs[1].shape);
    const DType dtype = compute(inputs[0].dtype);
    if (is_empty(shape)) return {l.cast(zeros(l, dtype, weight), inputs[0].dtype)};
    const Slot result =
        l.convolution_weight_gradient(shape, l.cast(inputs[0], dtype), l.cast(inputs[1], dtype), weight);
    return {l.cast(result, inputs[0].dtype)};
  }
};

Tensor record_pass(std::shared_ptr<const Operator> op, const Tensor& a, const Tensor& b, const Tensor& bias,
                   const Shape& shape) {
  const Spec spec{shape, a.dtype()};
  return bias.defined() ? record(std::move(op), {a, b, bias}, spec) : record(std::move(op), {a, b}, spec);
}

Tensor convolution(const Tensor& input, const Tensor& weight, const Tensor& bias, const Geometry& geometry,
                   const Dimensions& size) {
  return record_pass(std::make_shared<Convolution>(conv_names[geometry.spatial() - 1], geometry, size), input, weight,
                     bias, join(input.shape()[0], weight.shape()[0], size));
}

Tensor input_gradient(const char* name, const Tensor& gradient, const Tensor& weight, const Tensor& bias,
                      const Geometry& geometry, const Dimensions& size) {
  return record_pass(std::make_shared<ConvolutionInputGradient>(name, geometry, size), gradient, weight, bias,
                     join(gradient.shape()[0], weight.shape()[1] * geometry.groups, size));
}

Tensor weight_gradient(const Tensor& input, const Tensor& gradient, const Geometry& geometry, const Dimensions& size) {
  const char* name = weight_gradient_names[geometry.spatial() - 1];
  return record_pass(std::make_shared<ConvolutionWeightGradient>(name, geometry, size), input, gradient, {},
                     join(gradient.shape()[1], input.shape()[1] / geometry.groups, size));
}

bool any_below(const Dimensions& values, int64_t bound) {
  return std::any_of(values.begin(), values.end(), [bound](int64_t value) { return value < bound; });
}

/// The checks that convolution and transposed convolution share. Channels of the weight's dimension `matching` (times
/// `factor`) must be the input's; the bias has `out_channels`.
void check_arguments(const char* name, const Tensor& input, const Tensor& weight, const Tensor& bias,
                     const Geometry& geometry, bool transposed) {
  const int spatial = geometry.spatial();
  check(input.dim() == spatial + 1 || input.dim() == spatial + 2, name, ": Expected ", spatial + 1, "D (unbatched) or ",
        spatial + 2, "D (batched) input to ", name, ", but got input of size: ", ops::brackets(input.shape()));
  check(weight.dim() == spatial + 2, name, ": expected ", spatial + 2, "D weight, but got weight of size ",
        ops::brackets(weight.shape()));
  check(!bias.defined() || bias.dtype() == input.dtype(), name, ": Input type (", ops::scalar_type_name(input.dtype()),
        ") and bias type (", ops::scalar_type_name(bias.defined() ? bias.dtype() : input.dtype()),
        ") should be the same");
  check(weight.dtype() == input.dtype(), name, ": Input type (", ops::scalar_type_name(input.dtype()),
        ") and weight type (", ops::scalar_type_name(weight.dtype()), ") should be the same");
  check<NotImplementedError>(input.dtype() != DType::Bool, "\"", name, "\" not implemented for 'Bool'");

  check(geometry.groups > 0, name, ": non-positive groups is not supported, got groups=", geometry.groups);
  check(!any_below(geometry.padding, 0), name,
        ": negative padding is not supported, got padding=", ops::brackets(geometry.padding));
  check(!any_below(geometry.stride, 1), name,
        ": non-positive stride is not supported, got stride=", ops::brackets(geometry.stride));
  check(!any_below(geometry.dilation, 1), name, ": dilation should be greater than zero, but got ",
        ops::brackets(geometry.dilation));

  const Shape &w = weight.shape(), &x = input.shape();
  const int64_t groups = geometry.groups, channels = x[x.size() - spatial - 1];
  check(w[0] >= groups, name, ": Given groups=", groups, ", expected weight to be at least ", groups,
        " at dimension 0, but got weight of size ", ops::brackets(w), " instead");
  check(w[0] % groups == 0, name, ": Given groups=", groups, ", expected weight to be divisible by ", groups,
        " at dimension 0, but got weight of size ", ops::brackets(w), " instead");
  check(!any_below(spatial_sizes(w), 1), name, ": kernel size should be greater than zero, but got weight of size ",
        ops::brackets(w));
  const int64_t expected = transposed ? w[0] : w[1] * groups;
  check(channels == expected, name, ": Given ", transposed ? "transposed=1" : "groups=" + std::to_string(groups),
        ", weight of size ", ops::brackets(w), ", expected input", ops::brackets(x), " to have ", expected,
        " channels, but got ", channels, " channels instead");
  const int64_t out_channels = transposed ? w[1] * groups : w[0];
  if (bias.defined())
    check(bias.dim() == 1 && bias.shape()[0] == out_channels, name, ": Given weight of size ", ops::brackets(w),
          ", expected bias to be 1-dimensional with ", out_channels, " elements, but got bias of size ",
          ops::brackets(bias.shape()), " instead");
  check(!any_below(ops::last(x, spatial), 1), name,
        ": Only zero batch or zero channel inputs are supported, but got input shape: ", ops::brackets(x));
}

/// Runs `call` on a batch: of one, if the input has none.
template <typename Call>
Tensor batched(const Tensor& input, int spatial, const Call& call) {
  return input.dim() == spatial + 2 ? call(input) : squeeze(call(unsqueeze(input, 0)), Dimensions{0});
}

Tensor conv(int spatial, const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  const char* name = conv_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input, weight, bias))
    return conv(spatial, (*operands)[0], (*operands)[1], (*operands)[2], options);
  const std::string_view* mode = std::get_if<std::string_view>(&options.padding);
  check(!mode || *mode == "same" || *mode == "valid", name, ": Invalid padding string: '", mode ? *mode : "", "'");
  Geometry geometry{ops::per_dimension(name, "stride", options.stride, spatial),
                    mode ? Dimensions::filled(spatial, 0)
                         : ops::per_dimension(name, "padding", std::get<Dimensions>(options.padding), spatial),
                    ops::per_dimension(name, "dilation", options.dilation, spatial), options.groups};
  check_arguments(name, input, weight, bias, geometry, false);

  const Dimensions sizes = ops::last(input.shape(), spatial), kernel = spatial_sizes(weight.shape());
  Dimensions output;
  if (mode && *mode == "same") {
    check(std::all_of(geometry.stride.begin(), geometry.stride.end(), [](int64_t s) { return s == 1; }), name,
          ": padding='same' is not supported for strided convolutions");
    // An even kernel needs one element more behind than before, which the output's size says.
    for (int d = 0; d < spatial; ++d) geometry.padding[d] = geometry.dilation[d] * (kernel[d] - 1) / 2;
    output = sizes;
  } else {
    Dimensions padded, extent;
    bool fits = true;
    for (int d = 0; d < spatial; ++d) {
      padded.push_back(sizes[d] + 2 * geometry.padding[d]);
      extent.push_back(geometry.dilation[d] * (kernel[d] - 1) + 1);
      fits = fits && extent[d] <= padded[d];
      output.push_back((padded[d] - extent[d]) / geometry.stride[d] + 1);
    }
    check(fits, name, ": Calculated padded input size per channel: (", ops::join(padded, " x "), "). Kernel size: (",
          ops::join(extent, " x "), "). Kernel size can't be greater than actual input size");
  }
  return batched(input, spatial, [&](const Tensor& x) {
    const Tensor result = convolution(x, weight, bias, geometry, output);
    // As in PyTorch, no channels give none.
    return x.shape()[1] == 0 ? narrow(result, 1, 0, 0) : result;
  });
}

Tensor conv_transpose(int spatial, const Tensor& input, const Tensor& weight, const Tensor& bias,
                      const ConvTransposeOptions& options) {
  const char* name = transpose_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input, weight, bias))
    return conv_transpose(spatial, (*operands)[0], (*operands)[1], (*operands)[2], options);
  const Geometry geometry{ops::per_dimension(name, "stride", options.stride, spatial),
                          ops::per_dimension(name, "padding", options.padding, spatial),
                          ops::per_dimension(name, "dilation", options.dilation, spatial), options.groups};
  const Dimensions output_padding = ops::per_dimension(name, "output_padding", options.output_padding, spatial);
  check_arguments(name, input, weight, bias, geometry, true);
  check(!any_below(output_padding, 0), name, ": negative output_padding is not supported, got ",
        ops::brackets(output_padding));

  const Dimensions sizes = ops::last(input.shape(), spatial), kernel = spatial_sizes(weight.shape());
  Dimensions output;
  for (int d = 0; d < spatial; ++d) {
    check(output_padding[d] < geometry.stride[d] || output_padding[d] < geometry.dilation[d], name,
          ": output padding must be smaller than either stride or dilation, but got output_padding=",
          ops::brackets(output_padding), ", stride=", ops::brackets(geometry.stride),
          ", dilation=", ops::brackets(geometry.dilation));
    output.push_back((sizes[d] - 1) * geometry.stride[d] - 2 * geometry.padding[d] +
                     geometry.dilation[d] * (kernel[d] - 1) + 1 + output_padding[d]);
  }
  check(!any_below(output, 1), name, ": Given input size per channel: (", ops::join(sizes, " x "),
        "). Calculated output size per channel: (", ops::join(output, " x "), "). Output size is too small");
  return batched(input, spatial,
                 [&](const Tensor& x) { return input_gradient(name, x, weight, bias, geometry, output); });
}

}  // namespace

Tensor conv1d(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  return conv(1, input, weight, bias, options);
}
Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  return conv(2, input, weight, bias, options);
}
Tensor conv3d(const Tensor& input, const Tensor& weight, const Tensor& bias, const ConvOptions& options) {
  return conv(3, input, weight, bias, options);
}
Tensor conv_transpose1d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose(1, input, weight, bias, options);
}
Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose(2, input, weight, bias, options);
}
Tensor conv_transpose3d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose(3, input, weight, bias, options);
}

}  // namespace pycnn
