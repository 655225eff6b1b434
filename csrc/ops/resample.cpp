// Resizing, and the windows of unfold and fold: linear maps along the spatial dimensions, one after another. Each is a
// table of a few weighted positions per output position, and its gradient is the transposed table.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;
using Table = Lowering::RowTable;

enum class Kind : uint8_t { Nearest, NearestExact, Linear, Cubic, Antialiased, Windows };
/// Antialiasing filters by half of their width.
enum class Filter : uint8_t { Triangle = 1, Cubic = 2, Lanczos = 3 };

/// One dimension's map, from `input` to `output` positions.
struct Axis {
  Kind kind;
  int dimension;
  int64_t input, output;
  bool align_corners = false;
  double scale = 0;  ///< output per input positions as the caller gave it; 0: from the sizes
  Filter filter = Filter::Triangle;
  bool fixed_point = false;                                   ///< weights as PyTorch has them for bytes
  int64_t kernel = 0, stride = 0, padding = 0, dilation = 0;  ///< of Windows; output = kernel · number of windows

  /// Keeps every position as it is.
  bool is_identity() const {
    return !fixed_point && kind != Kind::Windows && kind != Kind::Antialiased && input == output && scale == 0;
  }
};

// -- tables -----------------------------------------------------------------------------------------------------------
// Positions are computed in T, the elements' precision, as PyTorch does: the choice of a neighbour depends on rounding.

template <typename T>
T input_per_output(const Axis& a) {
  if (a.align_corners) return a.output > 1 ? static_cast<T>(a.input - 1) / static_cast<T>(a.output - 1) : T{0};
  return a.scale > 0 ? static_cast<T>(1.0 / a.scale) : static_cast<T>(a.input) / static_cast<T>(a.output);
}

void finish_row(Table& table) { table.begin.push_back(static_cast<int64_t>(table.indices.size())); }

/// Zero weights stay: infinities beside a position count as they do in PyTorch, and all positions have as many terms.
void add(Table& table, int64_t index, double weight) {
  table.indices.push_back(index);
  table.weights.push_back(weight);
}

/// Keys' cubic convolution with parameter `a`, at distance x.
double keys(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

double filtered(Filter filter, double x) {
  const auto sinc = [](double y) { return y == 0 ? 1 : std::sin(std::numbers::pi * y) / (std::numbers::pi * y); };
  if (filter == Filter::Cubic) return keys(x, -0.5);
  if (filter == Filter::Lanczos) return std::abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0;
  return std::max(0.0, 1 - std::abs(x));
}

template <typename T>
Table nearest_table(const Axis& a) {
  Table table;
  const T scale = input_per_output<T>(a);
  for (int64_t o = 0; o < a.output; ++o, finish_row(table)) {
    const T position = static_cast<T>(o);
    const T at = a.kind == Kind::Nearest
                     ? scale * position
                     : std::max(T{0}, scale * (position + static_cast<T>(0.5)) - static_cast<T>(0.5)) + T(0.5);
    add(table, std::min(static_cast<int64_t>(std::floor(static_cast<float>(at))), a.input - 1), 1);
  }
  return table;
}

/// Linear or cubic (Keys 1981, a = -3/4), positions beyond the border taken at it.
template <typename T>
Table interpolation_table(const Axis& a) {
  Table table;
  const T scale = input_per_output<T>(a);
  for (int64_t o = 0; o < a.output; ++o, finish_row(table)) {
    const T half = static_cast<T>(0.5), position = static_cast<T>(o);
    T at = a.align_corners ? scale * position : scale * (position + half) - half;
    if (a.kind == Kind::Linear) at = std::max(at, T{0});
    if (a.is_identity()) at = position;
    const int64_t index = std::min(static_cast<int64_t>(std::floor(at)), a.input - 1);
    const T fraction = std::clamp(at - static_cast<T>(index), T{0}, T{1});
    if (a.kind == Kind::Linear) {
      add(table, index, static_cast<double>(T{1} - fraction));
      add(table, std::min(index + 1, a.input - 1), static_cast<double>(fraction));
    } else {
      for (int64_t j = -1; j <= 2; ++j)
        add(table, std::clamp<int64_t>(index + j, 0, a.input - 1),
            keys(static_cast<double>(fraction) - static_cast<double>(j), -0.75));
    }
  }
  return table;
}

/// The filter stretched by the scale where the result is smaller, normalised: what Pillow does.
template <typename T>
Table antialiased_table(const Axis& a) {
  Table table;
  const T scale = input_per_output<T>(a), offset = static_cast<T>(0.5);  // aligned corners or not
  const T support = static_cast<T>(a.filter) * std::max(scale, T{1});
  const T inverse = scale >= 1 ? T{1} / scale : T{1};
  for (int64_t o = 0; o < a.output; ++o, finish_row(table)) {
    const T center = scale * (static_cast<T>(o) + offset);
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + offset), 0);
    const int64_t last = std::min(static_cast<int64_t>(center + support + offset), a.input);
    const size_t begin = table.weights.size();
    double total = 0;
    for (int64_t i = first; i < last; ++i) {
      const double weight = filtered(a.filter, static_cast<double>((static_cast<T>(i) - center + offset) * inverse));
      total += weight;
      table.indices.push_back(i);
      table.weights.push_back(weight);
    }
    if (total != 0)
      for (size_t i = begin; i < table.weights.size(); ++i) table.weights[i] /= total;
  }
  return table;
}

/// Row k · windows + w: the k-th element of the w-th window; none in the padding.
Table windows_table(const Axis& a) {
  Table table;
  const int64_t windows = a.output / a.kernel;
  for (int64_t k = 0; k < a.kernel; ++k)
    for (int64_t w = 0; w < windows; ++w, finish_row(table)) {
      const int64_t index = w * a.stride - a.padding + k * a.dilation;
      if (index >= 0 && index < a.input) add(table, index, 1);
    }
  return table;
}

/// Weights are rounded to as many bits behind the point as leave the largest of them in 16 bits, but no more than 22.
/// What several terms of an output position take of one input position is one term.
Table in_fixed_point(const Table& table) {
  Table result;
  for (int64_t o = 0; o < table.output_size(); ++o, finish_row(result)) {
    const auto first = static_cast<size_t>(result.begin.back());
    for (auto t = static_cast<size_t>(table.begin[static_cast<size_t>(o)]);
         t < static_cast<size_t>(table.begin[static_cast<size_t>(o) + 1]); ++t) {
      const auto same = std::find(result.indices.begin() + static_cast<std::ptrdiff_t>(first), result.indices.end(),
                                  table.indices[t]);
      if (same == result.indices.end())
        add(result, table.indices[t], table.weights[t]);
      else
        result.weights[static_cast<size_t>(same - result.indices.begin())] += table.weights[t];
    }
  }
  double largest = 0;
  for (double weight : result.weights) largest = std::max(largest, weight);
  int bits = 0;
  while (bits < 22 && std::floor(0.5 + std::ldexp(largest, bits + 1)) < std::ldexp(1, 15)) ++bits;
  for (double& weight : result.weights) weight = std::ldexp(std::round(std::ldexp(weight, bits)), -bits);
  return result;
}

template <typename T>
Table table_of(const Axis& a) {
  if (a.fixed_point) {
    Axis exact = a;
    exact.fixed_point = false;
    return in_fixed_point(table_of<T>(exact));
  }
  switch (a.kind) {
    case Kind::Nearest:
    case Kind::NearestExact:
      return nearest_table<T>(a);
    case Kind::Antialiased:
      return antialiased_table<T>(a);
    case Kind::Windows:
      return windows_table(a);
    default:
      return interpolation_table<T>(a);
  }
}

Table transposed(const Table& table, int64_t input) {
  Table result;
  result.begin.assign(static_cast<size_t>(input) + 1, 0);
  for (int64_t index : table.indices) ++result.begin[static_cast<size_t>(index) + 1];
  for (size_t i = 1; i < result.begin.size(); ++i) result.begin[i] += result.begin[i - 1];
  result.indices.resize(table.indices.size());
  result.weights.resize(table.weights.size());
  std::vector<int64_t> next(result.begin);
  for (int64_t o = 0; o < table.output_size(); ++o)
    for (int64_t t = table.begin[static_cast<size_t>(o)]; t < table.begin[static_cast<size_t>(o) + 1]; ++t) {
      const auto to = static_cast<size_t>(next[static_cast<size_t>(table.indices[static_cast<size_t>(t)])]++);
      result.indices[to] = o;
      result.weights[to] = table.weights[static_cast<size_t>(t)];
    }
  return result;
}

// -- operator ---------------------------------------------------------------------------------------------------------

/// The maps of several dimensions, or their transposes.
class Resample final : public Operator {
 public:
  Resample(const char* name, std::vector<Axis> axes, bool transposed)
      : name_(name), axes_(std::move(axes)), transposed_(transposed) {}
  const char* name() const override { return name_; }
  void fingerprint(Fingerprint& f) const override {
    f.add(int64_t{transposed_});
    for (const Axis& a : axes_) {
      f.add(static_cast<int64_t>(a.kind)).add(int64_t{a.dimension}).add(a.input).add(a.output);
      f.add(int64_t{a.align_corners}).add(a.scale).add(static_cast<int64_t>(a.filter));
      f.add(a.kernel).add(a.stride).add(a.padding).add(a.dilation).add(int64_t{a.fixed_point});
    }
  }
  Shape result_shape(Shape shape) const {
    for (const Axis& a : axes_) shape[a.dimension] = transposed_ ? a.input : a.output;
    return shape;
  }
  Tensors backward(const BackwardContext& context) const override {
    return {record(std::make_shared<Resample>(name_, axes_, !transposed_), {context.gradient()},
                   {context.input_shape(0), context.input_dtype(0)})};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Slot result = inputs[0];
    if (element_count(result_shape(result.shape)) == 0) return {l.allocate(result.dtype, result_shape(result.shape))};
    std::vector<Axis> axes = axes_;
    // What makes the tensor smaller comes first.
    std::stable_sort(axes.begin(), axes.end(), [this](const Axis& a, const Axis& b) {
      return transposed_ ? a.input * b.output < b.input * a.output : a.output * b.input < b.output * a.input;
    });
    for (const Axis& a : axes) {
      const bool wide = inputs[0].dtype == DType::Float64;
      Table table = wide ? table_of<double>(a) : table_of<float>(a);
      if (transposed_) table = transposed(table, a.input);
      result = l.combine_rows(result, a.dimension, std::make_shared<const Table>(std::move(table)));
    }
    return {l.cast(result, inputs[0].dtype)};
  }

 private:
  const char* name_;
  std::vector<Axis> axes_;
  bool transposed_;
};

Tensor resample(const char* name, const Tensor& input, const std::vector<Axis>& axes, bool transposed) {
  const auto op = std::make_shared<Resample>(name, axes, transposed);
  return record(op, {input}, {op->result_shape(input.shape()), input.dtype()});
}

// -- interpolate ------------------------------------------------------------------------------------------------------

struct Mode {
  const char* name;
  int spatial;  ///< the number of spatial dimensions that it is for; 0: any
  Kind kind;
  const char* operation;  ///< by which PyTorch's messages name it
};
constexpr Mode modes[] = {
    {"nearest", 0, Kind::Nearest, "upsample_nearest"},
    {"nearest-exact", 0, Kind::NearestExact, "upsample_nearest"},
    {"linear", 1, Kind::Linear, "upsample_linear1d"},
    {"bilinear", 2, Kind::Linear, "upsample_bilinear2d"},
    {"bicubic", 2, Kind::Cubic, "upsample_bicubic2d"},
    {"trilinear", 3, Kind::Linear, "upsample_trilinear3d"},
    {"lanczos", 2, Kind::Antialiased, "upsample_lanczos2d"},
};

// -- windows ----------------------------------------------------------------------------------------------------------

struct Sliding {
  Dimensions kernel, stride, padding, dilation;
  Sliding(const char* name, const Dimensions& kernel_size, const FoldOptions& options)
      : kernel(ops::per_dimension(name, "kernel_size", kernel_size, 2)),
        stride(ops::per_dimension(name, "stride", options.stride, 2)),
        padding(ops::per_dimension(name, "padding", options.padding, 2)),
        dilation(ops::per_dimension(name, "dilation", options.dilation, 2)) {
    const auto positive = [&](const char* argument, const Dimensions& sizes, int64_t least) {
      for (int64_t size : sizes)
        check(size >= least, name, ": ", argument, " should be ", least ? "greater than zero" : "non-negative",
              ", but got ", ops::brackets(sizes));
    };
    positive("kernel size", kernel, 1);
    positive("stride", stride, 1);
    positive("padding", padding, 0);
    positive("dilation", dilation, 1);
  }
  int64_t windows(int d, int64_t size) const {
    const int64_t room = size + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    return room < 0 ? 0 : room / stride[d] + 1;
  }
  Axis axis(int d, int64_t size) const {
    return {.kind = Kind::Windows,
            .dimension = 2 + d,
            .input = size,
            .output = kernel[d] * windows(d, size),
            .kernel = kernel[d],
            .stride = stride[d],
            .padding = padding[d],
            .dilation = dilation[d]};
  }
};

void check_floating(const char* name, const Tensor& input) {
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"", name, "\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
}

}  // namespace

Tensor interpolate(const Tensor& input, const Dimensions& size, const InterpolateOptions& options) {
  const int spatial = input.dim() - 2;
  if (options.mode == "area") {
    check<NotImplementedError>(spatial >= 1 && spatial <= 3, "interpolate: Input Error: Only 3D, 4D and 5D input ",
                               "Tensors supported (got ", input.dim(), "D) for the modes");
    return adaptive_avg_pool(spatial, input, size);
  }
  const auto mode =
      std::find_if(std::begin(modes), std::end(modes), [&](const Mode& m) { return m.name == options.mode; });
  check<NotImplementedError>(
      mode != std::end(modes) && spatial >= 1 && spatial <= 3 && (mode->spatial == 0 || mode->spatial == spatial),
      "interpolate: Input Error: Only 3D, 4D and 5D input Tensors supported (got ", input.dim(),
      "D) for the modes: nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact (got ",
      options.mode, ")");
  const Dimensions sizes = ops::per_dimension("interpolate", "size", size, spatial);
  for (int d = 0; d < spatial; ++d)
    check(input.shape()[2 + d] > 0 && sizes[d] > 0, mode->operation,
          ": Input and output sizes should be greater than 0, but got input ",
          ops::brackets(ops::last(input.shape(), spatial)), " and output ", ops::brackets(sizes));
  check(input.shape()[1] > 0, mode->operation, ": Non-empty data tensor expected but got a tensor with sizes ",
        ops::brackets(input.shape()));
  const bool nearest = mode->kind == Kind::Nearest || mode->kind == Kind::NearestExact;
  const bool bytes = input.dtype() == DType::UInt8;
  if (bytes && nearest) return cast(interpolate(cast(input, DType::Float32), size, options), DType::UInt8);
  if (!bytes || spatial != 2) check_floating(mode->operation, input);

  std::vector<Axis> axes;
  for (int d = 0; d < spatial; ++d) {
    Axis axis{.kind = mode->kind, .dimension = 2 + d, .input = input.shape()[2 + d], .output = sizes[d]};
    axis.align_corners = options.align_corners && !nearest;
    if (static_cast<size_t>(d) < options.scales.size()) axis.scale = options.scales[static_cast<size_t>(d)];
    if (mode->kind == Kind::Antialiased) axis.filter = Filter::Lanczos;
    if (options.antialias && mode->kind != Kind::Antialiased) {
      axis.filter = mode->kind == Kind::Cubic ? Filter::Cubic : Filter::Triangle;
      axis.kind = Kind::Antialiased;
    }
    // Sizes decide before scales do: linearly, and (as PyTorch has it) at the nearest element of images.
    const bool from_sizes =
        axis.kind == Kind::Linear || axis.kind == Kind::Antialiased ||
        (axis.kind == Kind::Nearest && spatial == 2 && axis.output % axis.input == 0 && axis.output <= 2 * axis.input);
    if (from_sizes && axis.input == axis.output) continue;
    if (from_sizes && axis.kind == Kind::Nearest) axis.scale = 0;
    axis.fixed_point = bytes;
    if (!axis.is_identity()) axes.push_back(axis);
  }
  if (bytes) {
    // One dimension after the other, each result rounded to bytes; the columns first. Sums are exact in double.
    Tensor result = cast(input, DType::Float64);
    for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis)
      result = clamp(floor(resample("interpolate", result, {*axis}, false) + 0.5), Scalar(0), Scalar(255));
    return cast(result, DType::UInt8);
  }
  return axes.empty() ? clone(input) : resample("interpolate", input, axes, false);
}

Tensor unfold(const Tensor& input, const Dimensions& kernel_size, const FoldOptions& options) {
  const Sliding sliding("unfold", kernel_size, options);
  if (input.dtype() == DType::Bool) return cast(unfold(cast(input, DType::Float32), kernel_size, options), DType::Bool);
  check_floating("im2col", input);
  const int rank = input.dim();
  bool filled = rank == 3 || rank == 4;
  for (int d = rank - 3; filled && d < rank; ++d) filled = input.shape()[d] > 0;
  check(filled, "unfold: Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero ",
        "dimensions for input, but got: ", ops::brackets(input.shape()));
  if (rank == 3) return squeeze(unfold(unsqueeze(input, 0), kernel_size, options), Dimensions{0});
  const Shape& shape = input.shape();
  const Axis rows = sliding.axis(0, shape[2]), columns = sliding.axis(1, shape[3]);
  const int64_t windows[] = {sliding.windows(0, shape[2]), sliding.windows(1, shape[3])};
  check(windows[0] > 0 && windows[1] > 0, "unfold: Given input with spatial size (", shape[2], ", ", shape[3],
        "), kernel_size=", ops::brackets(sliding.kernel), ", dilation=", ops::brackets(sliding.dilation),
        ", padding=", ops::brackets(sliding.padding), ", calculated shape of the array of sliding blocks as (",
        windows[0], ", ", windows[1], "), but its components must be at least one.");
  const Tensor parts = reshape(resample("unfold", input, {rows, columns}, false),
                               {shape[0], shape[1], sliding.kernel[0], windows[0], sliding.kernel[1], windows[1]});
  return reshape(permute(parts, {0, 1, 2, 4, 3, 5}),
                 {shape[0], shape[1] * sliding.kernel[0] * sliding.kernel[1], windows[0] * windows[1]});
}

Tensor fold(const Tensor& input, const Dimensions& output_size, const Dimensions& kernel_size,
            const FoldOptions& options) {
  const Sliding sliding("fold", kernel_size, options);
  const Dimensions size = ops::per_dimension("fold", "output_size", output_size, 2);
  check_floating("col2im", input);
  const int rank = input.dim();
  bool filled = rank == 2 || rank == 3;
  for (int d = rank - 2; filled && d < rank; ++d) filled = input.shape()[d] > 0;
  check(filled, "fold: Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero ",
        "dimensions for input, but got: ", ops::brackets(input.shape()));
  check(size[0] > 0 && size[1] > 0,
        "fold: Expected output spatial size to be positive, but got: ", ops::brackets(size));
  if (rank == 2) return squeeze(fold(unsqueeze(input, 0), output_size, kernel_size, options), Dimensions{0});
  const Shape& shape = input.shape();
  const int64_t taps = sliding.kernel[0] * sliding.kernel[1];
  check(shape[1] % taps == 0, "fold: Expected size of input's dimension 1 to be divisible by the product of ",
        "kernel_size, but got input.size(1)=", shape[1], " and kernel_size=", ops::brackets(sliding.kernel));
  const int64_t windows[] = {sliding.windows(0, size[0]), sliding.windows(1, size[1])};
  check(windows[0] > 0 && windows[1] > 0 && shape[2] == windows[0] * windows[1],
        "fold: Given output_size=", ops::brackets(size), ", kernel_size=", ops::brackets(sliding.kernel),
        ", dilation=", ops::brackets(sliding.dilation), ", padding=", ops::brackets(sliding.padding),
        ", stride=", ops::brackets(sliding.stride),
        ", expected size of input's dimension 2 to match the calculated number of ", "sliding blocks ", windows[0],
        " * ", windows[1], " = ", windows[0] * windows[1], ", but got input.size(2)=", shape[2]);
  const Tensor parts =
      permute(reshape(input, {shape[0], shape[1] / taps, sliding.kernel[0], sliding.kernel[1], windows[0], windows[1]}),
              {0, 1, 2, 4, 3, 5});
  const Tensor rows =
      reshape(parts, {shape[0], shape[1] / taps, sliding.kernel[0] * windows[0], sliding.kernel[1] * windows[1]});
  return resample("fold", rows, {sliding.axis(0, size[0]), sliding.axis(1, size[1])}, true);
}

}  // namespace pycnn
