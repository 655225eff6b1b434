// Sampling images and volumes at given places (Jaderberg et al. 2015): the elements around a point and their weights
// are pointwise functions of the grid, their sum is an operator.
#include <array>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;
using SampleResult = Lowering::SampleResult;

/// The equation of Lowering::sample solved for one of values, table and weights: the other two (in that order) with the
/// index between them are the inputs. It is linear in both, so each gradient is one of its siblings.
class Sample final : public graph::Operator {
 public:
  /// `shape`: of the result.
  Sample(SampleResult result, const Shape& shape) : result_(result), shape_(shape) {}
  const char* name() const override {
    return result_ == SampleResult::Values  ? "sample"
           : result_ == SampleResult::Table ? "sample_spread"
                                            : "sample_weights";
  }
  void fingerprint(Fingerprint& f) const override { f.add(static_cast<int64_t>(result_)).add(shape_); }
  BackwardReads backward_reads() const override { return {.inputs = 0b111}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor first = context.input(0), index = context.input(1), second = context.input(2);
    const Tensor& gradient = context.gradient();
    Tensors gradients(3);
    const auto solved = [&](SampleResult result, const Tensor& a, const Tensor& b, int i) {
      if (context.needs(i)) gradients[static_cast<size_t>(i)] = solve(result, a, index, b, context.input_shape(i));
    };
    switch (result_) {
      case SampleResult::Values:  // of table, weights
        solved(SampleResult::Table, gradient, second, 0);
        solved(SampleResult::Weights, gradient, first, 2);
        break;
      case SampleResult::Table:  // of values, weights
        solved(SampleResult::Values, gradient, second, 0);
        solved(SampleResult::Weights, first, gradient, 2);
        break;
      case SampleResult::Weights:  // of values, table
        solved(SampleResult::Values, second, gradient, 0);
        solved(SampleResult::Table, first, gradient, 2);
        break;
    }
    return gradients;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    Slot unknown;
    unknown.shape = shape_;
    const Slot &first = inputs[0], &index = inputs[1], &second = inputs[2];
    if (result_ == SampleResult::Values) return {l.sample(result_, unknown, index, second, first)};
    if (result_ == SampleResult::Table) return {l.sample(result_, first, index, second, unknown)};
    return {l.sample(result_, first, index, unknown, second)};
  }

  static Tensor solve(SampleResult result, const Tensor& first, const Tensor& index, const Tensor& second,
                      const Shape& shape) {
    return graph::record(std::make_shared<Sample>(result, shape), {first, index, second}, {shape, first.dtype()});
  }

 private:
  SampleResult result_;
  Shape shape_;
};

enum class Padding : uint8_t { Zeros, Border, Reflection };

/// x, held inside low … high where its gradient is 0 from the borders on; NaN becomes low.
Tensor held_inside(const Tensor& x, double low, double high) {
  const Tensor bounded = where(x < high, x, full_like(x, high));
  return where(x > low, bounded, full_like(x, low));
}

/// Mirrored at the borders' centres (align_corners) or outer edges, as often as needed.
Tensor reflected(const Tensor& x, double low, double high) {
  if (low == high) return zeros_like(x);
  const double span = high - low;
  const Tensor distance = abs(x - low);
  const Tensor extra = fmod(distance, wrap_scalar(span, x));
  const Tensor odd = fmod(floor(distance / span), wrap_scalar(2.0, x));
  return where(odd == 0, extra + low, span - extra + low);
}

/// Positions and weights are computed in the grid's dtype, as in PyTorch: which element is nearest depends on rounding.
struct Sampler {
  Tensor table;  ///< (N, C, elements)
  Dimensions sizes;
  Shape points;  ///< (N, …)
  Padding padding;
  bool align_corners;
  bool finite;  ///< whether places that are no numbers count as outside, as in PyTorch for all but blends in images
  Tensors indices, weights;

  int spatial() const { return sizes.size(); }

  /// -1 … 1 as a position in elements.
  Tensor position(const Tensor& coordinate, int d) const {
    const auto size = static_cast<double>(sizes[d]);
    return align_corners ? (coordinate + 1.0) / 2.0 * (size - 1) : ((coordinate + 1.0) * size - 1.0) / 2.0;
  }
  /// Brought inside by the padding, if there is any.
  Tensor inside(const Tensor& x, int d) const {
    const auto last = static_cast<double>(sizes[d] - 1);
    if (padding == Padding::Zeros) return x;
    if (padding == Padding::Border) return held_inside(x, 0, last);
    const Tensor folded = align_corners ? reflected(x, 0, last) : reflected(x, -0.5, last + 0.5);
    return held_inside(folded, 0, last);
  }
  /// One of the elements that make a sample: at whole positions (one tensor per dimension); nothing if outside.
  void take(std::span<const Tensor> positions, const Tensor& weight) {
    Tensor valid, index;
    for (int d = 0; d < spatial(); ++d) {
      const Tensor x = cast(positions[static_cast<size_t>(d)], table.dtype());
      const Tensor here = logical_and(x >= 0.0, x <= static_cast<double>(sizes[d] - 1));
      valid = valid.defined() ? logical_and(valid, here) : here;
      const Tensor whole = cast(where(here, x.detach(), zeros_like(x)), DType::Int64);
      index = index.defined() ? index * sizes[d] + whole : whole;
    }
    indices.push_back(where(valid, index, full_like(index, -1)));
    weights.push_back(cast(finite ? where(valid, weight, zeros_like(weight)) : weight, table.dtype()));
  }
  Tensor result() const {
    const Shape& shape = table.shape();
    const auto taps = static_cast<int64_t>(indices.size());
    const int64_t count = element_count(points) / points[0];
    const auto together = [&](const Tensors& parts) { return reshape(stack(parts, 1), {shape[0], taps, count}); };
    return Sample::solve(SampleResult::Values, table, together(indices), together(weights),
                         {shape[0], shape[1], count});
  }
};

void nearest(Sampler& s, std::span<const Tensor> coordinates) {
  Tensors positions;
  Tensor one;
  for (int d = 0; d < s.spatial(); ++d) {
    positions.push_back(round(s.inside(s.position(coordinates[static_cast<size_t>(d)], d), d)));
    // Constant, and yet of the grid: its gradient is 0.
    const Tensor constant = positions.back() * 0.0;
    one = one.defined() ? one + constant : constant + 1.0;
  }
  s.take(positions, one);
}

void linear_samples(Sampler& s, std::span<const Tensor> coordinates) {
  Tensors position, below;
  for (int d = 0; d < s.spatial(); ++d) {
    position.push_back(s.inside(s.position(coordinates[static_cast<size_t>(d)], d), d));
    below.push_back(floor(position.back()));
  }
  for (int corner = 0; corner < 1 << s.spatial(); ++corner) {
    Tensors at;
    Tensor weight;
    for (int d = 0; d < s.spatial(); ++d) {
      const Tensor &x = position[static_cast<size_t>(d)], &low = below[static_cast<size_t>(d)];
      const bool upper = corner >> (s.spatial() - 1 - d) & 1;
      at.push_back(upper ? low + 1.0 : low);
      const Tensor share = upper ? x - low : low + 1.0 - x;
      weight = weight.defined() ? weight * share : share;
    }
    s.take(at, weight);
  }
}

/// Keys' weights (a = -3/4) of the elements -1 … 2 away from the one below a fraction t.
std::array<Tensor, 4> cubic_weights(const Tensor& t) {
  constexpr double a = -0.75;
  const auto near = [](const Tensor& x) { return ((a + 2) * x - (a + 3)) * x * x + 1.0; };
  const auto far = [](const Tensor& x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)};
}

void cubic_samples(Sampler& s, std::span<const Tensor> coordinates) {
  const Tensor y = s.position(coordinates[0], 0), x = s.position(coordinates[1], 1);
  const Tensor top = floor(y), left = floor(x);
  const std::array<Tensor, 4> rows = cubic_weights(y - top), columns = cubic_weights(x - left);
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const std::array at{s.inside(top + static_cast<double>(i - 1), 0),
                          s.inside(left + static_cast<double>(j - 1), 1)};
      s.take(at, rows[static_cast<size_t>(i)] * columns[static_cast<size_t>(j)]);
    }
}

}  // namespace

Tensor grid_sample(const Tensor& input, const Tensor& grid, std::string_view mode, std::string_view padding_mode,
                   bool align_corners) {
  if (const auto operands = ops::autocast("grid_sampler", input, grid))
    return grid_sample((*operands)[0], (*operands)[1], mode, padding_mode, align_corners);
  check<ValueError>(mode == "bilinear" || mode == "nearest" || mode == "bicubic",
                    "grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '", mode, "'");
  check<ValueError>(padding_mode == "zeros" || padding_mode == "border" || padding_mode == "reflection",
                    "grid_sample: expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '",
                    padding_mode, "'");
  const int rank = input.dim(), spatial = rank - 2;
  check(input.dtype() == grid.dtype(), "grid_sample: expected input and grid to have same dtype, but input has ",
        input.dtype(), " and grid has ", grid.dtype());
  check(input.shape().size() > 0 && grid.dim() > 0 && input.shape()[0] == grid.shape()[0],
        "grid_sample: expected grid and input to have same batch size, but got input with sizes ",
        ops::brackets(input.shape()), " and grid with sizes ", ops::brackets(grid.shape()));
  check((rank == 4 || rank == 5) && grid.dim() == rank,
        "grid_sample: expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ",
        ops::brackets(input.shape()), " and grid with sizes ", ops::brackets(grid.shape()));
  check(grid.shape()[rank - 1] == spatial, "grid_sample: expected grid to have size ", spatial,
        " in last dimension, but got grid with sizes ", ops::brackets(grid.shape()));
  for (int d = 2; d < rank; ++d)
    check(input.shape()[d] > 0,
          "grid_sample: expected input to have non-empty spatial dimensions, but input has sizes ",
          ops::brackets(input.shape()), " with dimension ", d, " being empty");
  check(rank == 4 || mode != "bicubic", "grid_sample: bicubic interpolation only supports 4D input");
  check<NotImplementedError>(is_floating_point(input.dtype()), "\"grid_sample\" not implemented for '",
                             ops::scalar_type_name(input.dtype()), "'");
  const DeviceScope scope(input.device());
  Shape shape{input.shape()[0], input.shape()[1]}, points{input.shape()[0]};
  for (int d = 1; d < rank - 1; ++d) {
    shape.push_back(grid.shape()[d]);
    points.push_back(grid.shape()[d]);
  }
  if (element_count(shape) == 0) return zeros(shape, input.dtype());

  const DType compute = ops::compute_dtype(input.dtype());
  Sampler sampler{cast(flatten(input, 2), compute),
                  ops::last(input.shape(), spatial),
                  points,
                  padding_mode == "zeros"    ? Padding::Zeros
                  : padding_mode == "border" ? Padding::Border
                                             : Padding::Reflection,
                  align_corners,
                  spatial == 3 || mode == "nearest",
                  {},
                  {}};
  Tensors coordinates;  // of the outermost dimension first, while the grid begins with x
  for (int d = spatial - 1; d >= 0; --d) coordinates.push_back(select(grid, rank - 1, d));
  if (mode == "nearest")
    nearest(sampler, coordinates);
  else if (mode == "bilinear")
    linear_samples(sampler, coordinates);
  else
    cubic_samples(sampler, coordinates);
  return cast(reshape(sampler.result(), shape), input.dtype());
}

Tensor affine_grid(const Tensor& theta, const Shape& size, bool align_corners) {
  check(is_floating_point(theta.dtype()), "affine_grid: Expected theta to have floating point type, but got ",
        theta.dtype());
  const int spatial = size.size() - 2;
  check<NotImplementedError>(spatial == 2 || spatial == 3,
                             "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
                             "respectively. Got size ",
                             ops::brackets(size));
  check<ValueError>(theta.dim() == 3 && theta.shape()[1] == spatial && theta.shape()[2] == spatial + 1,
                    "affine_grid: Expected a batch of ", spatial == 2 ? "2D" : "3D", " affine matrices of shape Nx",
                    spatial, "x", spatial + 1, " for size ", ops::brackets(size), ". Got ",
                    ops::brackets(theta.shape()));
  for (int64_t extent : size)
    check<ValueError>(extent > 0, "affine_grid: Expected non-zero, positive output size. Got ", ops::brackets(size));
  check(theta.shape()[0] == size[0], "affine_grid: Expected theta to have the batch size of size ", ops::brackets(size),
        ". Got ", ops::brackets(theta.shape()));
  const DeviceScope scope(theta.device());
  Shape points = ops::last(size, spatial);
  Tensors columns;  // x, y, (z), 1 of every point
  for (int d = spatial - 1; d >= 0; --d) {
    const int64_t extent = points[d];
    const double border = align_corners ? 1 : static_cast<double>(extent - 1) / static_cast<double>(extent);
    Tensor line = extent > 1 ? linspace(-1, 1, extent, theta.dtype()) * border : zeros({1}, theta.dtype());
    Shape shape = Shape::filled(spatial, 1);
    shape[d] = extent;
    columns.push_back(expand(reshape(line, shape), points));
  }
  columns.push_back(ones(points, theta.dtype()));
  const Tensor base = reshape(stack(columns, -1), {1, element_count(points), spatial + 1});
  const Tensor grid = matmul(base, transpose(theta, 1, 2));
  Shape shape = points;
  Shape result{size[0]};
  for (int64_t extent : shape) result.push_back(extent);
  result.push_back(spatial);
  return reshape(grid, result);
}

}  // namespace pycnn
