// Maximum and average pooling in one to three dimensions, with fixed or adaptive windows.
// Both are linear given the places of the maxima or the windows of the averages: an average's backward and the average
// are each other's gradient, a maximum's backward scatters to the places and its own gradient gathers from them.
#include <algorithm>
#include <limits>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;

/// Which inputs each output position sees, per spatial dimension.
struct Geometry {
  bool adaptive = false;  ///< windows from the sizes alone; nothing else below counts but `output`
  Dimensions kernel, stride, padding, dilation;
  bool count_include_pad = true;
  int64_t divisor_override = 0;  ///< 0: the window's size
  Dimensions output;

  int spatial() const { return output.size(); }
};

using Windows = Lowering::PoolingWindows;

/// Fills dimension `to` of the tables for an input of `size` elements in the geometry's dimension d.
void fill_windows(Windows& windows, int to, const Geometry& g, int d, int64_t size) {
  for (int64_t o = 0; o < g.output[d]; ++o) {
    int64_t begin, end, divisor;
    if (g.adaptive) {
      begin = o * size / g.output[d];
      end = ((o + 1) * size + g.output[d] - 1) / g.output[d];
      divisor = end - begin;
    } else {
      const int64_t step = g.dilation[d], start = o * g.stride[d] - g.padding[d];
      const int64_t padded_end = std::min(start + (g.kernel[d] - 1) * step + 1, size + g.padding[d]);
      begin = start < 0 ? start + (-start + step - 1) / step * step : start;
      end = std::max(begin, std::min(padded_end, size));
      divisor = g.count_include_pad ? padded_end - start : end - begin;
      if (g.divisor_override != 0) divisor = d == 0 ? g.divisor_override : 1;
    }
    windows.begin[to].push_back(begin);
    windows.end[to].push_back(end);
    windows.divisor[to].push_back(g.divisor_override == 0 ? std::max<int64_t>(divisor, 1) : divisor);
  }
  windows.step[to] = g.adaptive ? 1 : g.dilation[d];
}

/// What follows from the windows of dimension d, for an input of `size` elements.
void see_windows(Windows& windows, int d, int64_t size) {
  std::vector<int64_t>&begin = windows.seen_begin[d], &end = windows.seen_end[d];
  begin.assign(static_cast<size_t>(size), 0);
  end.assign(static_cast<size_t>(size), 0);
  windows.taps[d] = 0;
  for (size_t o = 0; o < windows.begin[d].size(); ++o) {
    int64_t taps = 0;
    for (int64_t i = windows.begin[d][o]; i < windows.end[d][o]; i += windows.step[d], ++taps) {
      const auto at = static_cast<size_t>(i);
      if (end[at] == 0) begin[at] = static_cast<int64_t>(o);
      end[at] = static_cast<int64_t>(o) + 1;
    }
    windows.taps[d] = std::max(windows.taps[d], taps);
  }
}

/// The tables for an input of this shape (N, C, …). Missing dimensions come first and have one window of one element.
std::shared_ptr<const Windows> windows_of(const Geometry& geometry, const Shape& input) {
  auto windows = std::make_shared<Windows>();
  const int missing = 3 - geometry.spatial();
  for (int d = 0; d < missing; ++d) {
    windows->begin[d] = {0};
    windows->end[d] = windows->divisor[d] = {1};
    see_windows(*windows, d, 1);
  }
  for (int d = 0; d < geometry.spatial(); ++d) {
    fill_windows(*windows, missing + d, geometry, d, input[2 + d]);
    see_windows(*windows, missing + d, input[2 + d]);
  }
  return windows;
}

/// Taps of a window at most.
int64_t largest_window(const Geometry& g, const Dimensions& input) {
  int64_t taps = 1;
  for (int d = 0; d < g.spatial(); ++d)
    taps *= g.adaptive ? input[d] / std::max<int64_t>(g.output[d], 1) + 2 : g.kernel[d];
  return taps;
}

Shape with_spatial(const Shape& shape, const Dimensions& sizes) {
  Shape result{shape[0], shape[1]};
  for (int64_t size : sizes) result.push_back(size);
  return result;
}

/// Averages of integers are taken in float64, exact below 2^53.
Slot averaged(Lowering& l, const Slot& slot) {
  return is_floating_point(slot.dtype) ? slot : l.cast(slot, DType::Float64);
}

class Pooling : public Operator {
 public:
  Pooling(const char* name, const Geometry& geometry) : name_(name), geometry_(geometry) {}
  const char* name() const override { return name_; }
  void fingerprint(Fingerprint& f) const override {
    f.add(int64_t{geometry_.adaptive})
        .add(geometry_.kernel)
        .add(geometry_.stride)
        .add(geometry_.padding)
        .add(geometry_.dilation);
    f.add(int64_t{geometry_.count_include_pad}).add(geometry_.divisor_override).add(geometry_.output);
  }

 protected:
  const char* name_;
  Geometry geometry_;
};

/// A gradient of the pooled input: knows the input's spatial sizes as well.
class PoolingBackward : public Pooling {
 public:
  PoolingBackward(const char* name, const Geometry& geometry, const Dimensions& input)
      : Pooling(name, geometry), input_(input) {}
  void fingerprint(Fingerprint& f) const override {
    Pooling::fingerprint(f);
    f.add(input_);
  }

 protected:
  Slot zeros(Lowering& l, DType dtype, const Shape& shape) const {
    Slot result = l.allocate(dtype, shape, channels_last_strides(shape));
    l.fill(result, 0);
    return result;
  }
  Dimensions input_;
};

// -- maximum ----------------------------------------------------------------------------------------------------------

using Places = Lowering::MaximumPlaces;

/// elements (N, C, input…), places → (N, C, output…)
class MaxPoolGather final : public Pooling {
 public:
  using Pooling::Pooling;
  BackwardReads backward_reads() const override { return {.inputs = 0b10}; }
  Tensors backward(const BackwardContext& context) const override;
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    if (inputs[1].count() == 0) return {l.allocate(dtype, inputs[1].shape)};
    return {l.max_pool_gather(inputs[0], inputs[1], windows_of(geometry_, inputs[0].shape))};
  }
};

/// gradient (N, C, output…), places → (N, C, input…)
class MaxPoolBackward final : public PoolingBackward {
 public:
  using PoolingBackward::PoolingBackward;
  BackwardReads backward_reads() const override { return {.inputs = 0b10}; }
  Tensors backward(const BackwardContext& context) const override {
    return {record(std::make_shared<MaxPoolGather>("max_pool_gather", geometry_),
                   {context.gradient(), context.input(1)}, {context.input_shape(0), context.input_dtype(0)}),
            {}};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape shape = with_spatial(inputs[0].shape, input_);
    const DType dtype = inputs[0].dtype;
    if (inputs[0].count() == 0) return {zeros(l, dtype, shape)};
    return {l.max_pool_backward(inputs[0], inputs[1], shape, windows_of(geometry_, shape))};
  }
};

Tensors MaxPoolGather::backward(const BackwardContext& context) const {
  const Dimensions input = ops::last(context.input_shape(0), geometry_.spatial());
  return {record(std::make_shared<MaxPoolBackward>("max_pool_backward", geometry_, input),
                 {context.gradient(), context.input(1)}, {context.input_shape(0), context.input_dtype(0)}),
          {}};
}

/// (N, C, input…) → values, and where they lay, (N, C, output…)
class MaxPool final : public Pooling {
 public:
  MaxPool(const char* name, const Geometry& geometry, Places places) : Pooling(name, geometry), places_(places) {}
  void fingerprint(Fingerprint& f) const override {
    Pooling::fingerprint(f);
    f.add(static_cast<int64_t>(places_));
  }
  BackwardReads backward_reads() const override { return {.outputs = 0b10}; }
  Tensors backward(const BackwardContext& context) const override {
    const Dimensions input = ops::last(context.input_shape(0), geometry_.spatial());
    const Tensor& gradient = context.gradient();
    return {record(std::make_shared<MaxPoolBackward>("max_pool_backward", geometry_, input),
                   {gradient, context.output(1)}, {context.input_shape(0), gradient.dtype()})};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape shape = with_spatial(inputs[0].shape, geometry_.output);
    const DType dtype = inputs[0].dtype;
    if (element_count(shape) == 0) return {l.allocate(dtype, shape), l.allocate(places_dtype(places_), shape)};
    return l.max_pool(inputs[0], shape, windows_of(geometry_, inputs[0].shape), places_);
  }
  static DType places_dtype(Places places) { return places == Places::Offsets ? DType::UInt8 : DType::Int64; }

 private:
  Places places_;
};

// -- average ---------------------------------------------------------------------------------------------------------

Tensor average(const char* name, const Tensor& input, const Geometry& geometry);

/// gradient (N, C, output…) → (N, C, input…)
class AveragePoolBackward final : public PoolingBackward {
 public:
  using PoolingBackward::PoolingBackward;
  Tensors backward(const BackwardContext& context) const override {
    return {average("avg_pool", context.gradient(), geometry_)};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape shape = with_spatial(inputs[0].shape, input_);
    const DType dtype = inputs[0].dtype;
    if (inputs[0].count() == 0) return {zeros(l, dtype, shape)};
    return {l.cast(l.average_pool_backward(averaged(l, inputs[0]), shape, windows_of(geometry_, shape)), dtype)};
  }
};

/// (N, C, input…) → (N, C, output…)
class AveragePool final : public Pooling {
 public:
  using Pooling::Pooling;
  Tensors backward(const BackwardContext& context) const override {
    const Dimensions input = ops::last(context.input_shape(0), geometry_.spatial());
    return {record(std::make_shared<AveragePoolBackward>("avg_pool_backward", geometry_, input), {context.gradient()},
                   {context.input_shape(0), context.gradient().dtype()})};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Shape shape = with_spatial(inputs[0].shape, geometry_.output);
    const DType dtype = inputs[0].dtype;
    if (element_count(shape) == 0) return {l.allocate(dtype, shape)};
    return {l.cast(l.average_pool(averaged(l, inputs[0]), shape, windows_of(geometry_, inputs[0].shape)), dtype)};
  }
};

Tensor average(const char* name, const Tensor& input, const Geometry& geometry) {
  return record(std::make_shared<AveragePool>(name, geometry), {input},
                {with_spatial(input.shape(), geometry.output), input.dtype()});
}

// -- checks ----------------------------------------------------------------------------------------------------------

void check_input(const char* name, const Tensor& input, int spatial, bool channels_too = true) {
  const Shape& shape = input.shape();
  const int rank = shape.size();
  bool filled = rank == spatial + 1 || rank == spatial + 2;
  for (int d = !channels_too ? rank - spatial : rank == spatial + 2 ? 1 : 0; filled && d < rank; ++d)
    filled = shape[d] > 0;
  check(filled, name, ": Expected ", spatial + 1, "D or ", spatial + 2,
        "D (batch mode) tensor with optional 0 dim batch size for input, but got: ", ops::brackets(shape));
  check<NotImplementedError>(input.dtype() != DType::Bool, "\"", name, "\" not implemented for 'Bool'");
}

/// Checks the windows and computes the output's sizes.
Geometry fixed_windows(const char* name, const Tensor& input, int spatial, const Dimensions& kernel_size,
                       const Dimensions& stride, const Dimensions& padding, const Dimensions& dilation,
                       bool ceil_mode) {
  Geometry g;
  g.kernel = ops::per_dimension(name, "kernel_size", kernel_size, spatial);
  g.stride = stride.empty() ? g.kernel : ops::per_dimension(name, "stride", stride, spatial);
  g.padding = ops::per_dimension(name, "padding", padding, spatial);
  g.dilation = ops::per_dimension(name, "dilation", dilation, spatial);
  check_input(name, input, spatial);
  const Dimensions sizes = ops::last(input.shape(), spatial);
  for (int d = 0; d < spatial; ++d) {
    check(g.kernel[d] > 0, name, ": kernel size should be greater than zero, but got ", ops::brackets(g.kernel));
    check(g.stride[d] > 0, name, ": stride should be greater than zero, but got ", ops::brackets(g.stride));
    check(g.dilation[d] > 0, name, ": dilation should be greater than zero, but got ", ops::brackets(g.dilation));
    check(g.padding[d] >= 0, name, ": pad must be non-negative, but got pad: ", g.padding[d]);
    const int64_t extent = g.dilation[d] * (g.kernel[d] - 1) + 1;
    check(g.padding[d] <= extent / 2, name,
          ": pad should be at most half of effective kernel size, but got pad=", g.padding[d],
          ", kernel_size=", g.kernel[d], " and dilation=", g.dilation[d]);
    const int64_t room = sizes[d] + 2 * g.padding[d] - extent;
    int64_t count = room < 0 && !(ceil_mode && room + g.stride[d] - 1 >= 0)
                        ? 0
                        : (room + (ceil_mode ? g.stride[d] - 1 : 0)) / g.stride[d] + 1;
    // With ceil_mode the last window must still begin inside the input or its padding before.
    if (ceil_mode && (count - 1) * g.stride[d] >= sizes[d] + g.padding[d]) --count;
    g.output.push_back(count);
  }
  check(std::all_of(g.output.begin(), g.output.end(), [](int64_t size) { return size > 0; }), name,
        ": Given input size: ", ops::brackets(input.shape()), ", calculated output size: (", ops::join(g.output, "x"),
        "). Output size is too small");
  return g;
}

Geometry adaptive_windows(const char* name, const Tensor& input, int spatial, const Dimensions& output_size,
                          bool channels_too = true) {
  Geometry g;
  g.adaptive = true;
  check_input(name, input, spatial, channels_too);
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"", name, "\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
  g.output = ops::per_dimension(name, "output_size", output_size, spatial);
  for (int d = 0; d < spatial; ++d) {
    check(g.output[d] >= -1, name, ": elements of output_size must be greater than or equal to 0 but received ",
          ops::brackets(g.output));
    if (g.output[d] == -1) g.output[d] = ops::last(input.shape(), spatial)[d];
  }
  return g;
}

std::pair<Tensor, Tensor> max_pool(const char* name, const Tensor& input, const Geometry& geometry, bool want_indices) {
  const bool unbatched = input.dim() == geometry.spatial() + 1;
  const Tensor x = unbatched ? unsqueeze(input, 0) : input;
  const Dimensions sizes = ops::last(x.shape(), geometry.spatial());
  check<NotImplementedError>(element_count(sizes) <= std::numeric_limits<int32_t>::max(), name,
                             ": expected fewer than 2^31 elements per channel, but got input shape ",
                             ops::brackets(input.shape()));
  // A gradient needs the places, not the indices: an eighth of their bytes will do.
  Places places = Places::None;
  if (want_indices)
    places = Places::Indices;
  else if (is_grad_enabled() && x.requires_grad())
    places = largest_window(geometry, sizes) < kernels::no_tap ? Places::Offsets : Places::Indices;
  const Shape shape = with_spatial(x.shape(), geometry.output);
  std::vector<Spec> specs{{shape, x.dtype()}};
  if (places != Places::None) specs.push_back({shape, MaxPool::places_dtype(places), false});
  Tensors result = record(std::make_shared<MaxPool>(name, geometry, places), std::array{x}, specs);
  if (places != Places::Indices) result.resize(1), result.emplace_back();
  if (unbatched)
    for (Tensor& tensor : result)
      if (tensor.defined()) tensor = squeeze(tensor, Dimensions{0});
  return {result[0], result[1]};
}

Tensor average_pool(const char* name, const Tensor& input, const Geometry& geometry) {
  if (input.dim() == geometry.spatial() + 2) return average(name, input, geometry);
  return squeeze(average(name, unsqueeze(input, 0), geometry), Dimensions{0});
}

constexpr const char* max_names[] = {"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr const char* average_names[] = {"avg_pool1d", "avg_pool2d", "avg_pool3d"};
constexpr const char* adaptive_max_names[] = {"adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"};
constexpr const char* adaptive_average_names[] = {"adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"};

std::pair<Tensor, Tensor> max_pool(int spatial, const Tensor& input, const Dimensions& kernel_size,
                                   const MaxPoolOptions& options, bool want_indices) {
  check<ValueError>(spatial >= 1 && spatial <= 3, "max_pool: expected 1 to 3 spatial dimensions, but got ", spatial);
  const char* name = max_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input))
    return max_pool(spatial, (*operands)[0], kernel_size, options, want_indices);
  const Geometry geometry = fixed_windows(name, input, spatial, kernel_size, options.stride, options.padding,
                                          options.dilation, options.ceil_mode);
  return max_pool(name, input, geometry, want_indices);
}

Tensor avg_pool(int spatial, const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options) {
  const char* name = average_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input)) return avg_pool(spatial, (*operands)[0], kernel_size, options);
  Geometry geometry =
      fixed_windows(name, input, spatial, kernel_size, options.stride, options.padding, {1}, options.ceil_mode);
  check<NotImplementedError>(is_floating_point(input.dtype()) || input.dtype() == DType::Int64, "\"", name,
                             "\" not implemented for '", ops::scalar_type_name(input.dtype()), "'");
  check(options.divisor_override != 0, name, ": divisor must be not zero");
  geometry.count_include_pad = options.count_include_pad;
  geometry.divisor_override = options.divisor_override.value_or(0);
  return average_pool(name, input, geometry);
}

}  // namespace

std::pair<Tensor, Tensor> max_pool_with_indices(int spatial, const Tensor& input, const Dimensions& kernel_size,
                                                const MaxPoolOptions& options) {
  return max_pool(spatial, input, kernel_size, options, true);
}
Tensor max_pool1d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options) {
  return max_pool(1, input, kernel_size, options, false).first;
}
Tensor max_pool2d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options) {
  return max_pool(2, input, kernel_size, options, false).first;
}
Tensor max_pool3d(const Tensor& input, const Dimensions& kernel_size, const MaxPoolOptions& options) {
  return max_pool(3, input, kernel_size, options, false).first;
}

Tensor avg_pool1d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options) {
  return avg_pool(1, input, kernel_size, options);
}
Tensor avg_pool2d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options) {
  return avg_pool(2, input, kernel_size, options);
}
Tensor avg_pool3d(const Tensor& input, const Dimensions& kernel_size, const AvgPoolOptions& options) {
  return avg_pool(3, input, kernel_size, options);
}

Tensor adaptive_avg_pool(int spatial, const Tensor& input, const Dimensions& output_size) {
  check<ValueError>(spatial >= 1 && spatial <= 3, "adaptive_avg_pool: expected 1 to 3 spatial dimensions, but got ",
                    spatial);
  const char* name = adaptive_average_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input)) return adaptive_avg_pool(spatial, (*operands)[0], output_size);
  return average_pool(name, input, adaptive_windows(name, input, spatial, output_size, spatial == 3));
}

std::pair<Tensor, Tensor> adaptive_max_pool_with_indices(int spatial, const Tensor& input,
                                                         const Dimensions& output_size) {
  check<ValueError>(spatial >= 1 && spatial <= 3, "adaptive_max_pool: expected 1 to 3 spatial dimensions, but got ",
                    spatial);
  const char* name = adaptive_max_names[spatial - 1];
  if (const auto operands = ops::autocast(name, input))
    return adaptive_max_pool_with_indices(spatial, (*operands)[0], output_size);
  return max_pool(name, input, adaptive_windows(name, input, spatial, output_size), true);
}

}  // namespace pycnn
