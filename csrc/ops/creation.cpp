// Tensors from nothing.
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/promotion.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {
namespace {

using graph::Expression;
using graph::Fingerprint;
using graph::Lowering;
using graph::ProgramBuilder;
using graph::Slot;

/// Every element is the input, which is 0-d: the value is no part of a plan.
class Full final : public graph::Operator {
 public:
  explicit Full(const Shape& shape) : shape_(shape) {}
  const char* name() const override { return "full"; }
  bool creates() const override { return true; }
  void fingerprint(Fingerprint& f) const override { f.add(shape_); }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    return {l.pointwise(inputs, shape_, compute_dtype(dtype), dtype,
                        [](ProgramBuilder&, std::span<const Expression> x) { return x[0]; })};
  }

 private:
  Shape shape_;
};

/// A number that an integer dtype cannot hold; negative ones wrap into unsigned types, as in PyTorch.
void check_fits(const char* operation, Scalar value, DType dtype) {
  if (!is_integral(dtype) || (dtype == DType::Int64 && value.kind() != Scalar::Kind::Float)) return;
  const bool is_unsigned = dtype == DType::UInt8;
  const double bound = std::ldexp(1.0, 8 * static_cast<int>(size_of(dtype)) - (is_unsigned ? 0 : 1));
  const double number = value.to_double();
  check(number >= (is_unsigned ? 1 - bound : -bound) && number < bound, operation, ": value ", number,
        " cannot be converted to type ", name_of(dtype), " without overflow");
}

Tensor filled(const char* operation, const Shape& shape, Scalar value, DType dtype) {
  check_sizes(operation, shape);
  check_fits(operation, value, dtype);
  const Tensor element = scalar_tensor(value, dtype);
  if (shape.empty()) return to_device(element, creation_device());
  return graph::record(std::make_shared<Full>(shape), {element}, {shape, dtype, false});
}

template <typename To, typename From>
Tensor converted(const std::vector<From>& elements) {
  std::vector<To> result;
  result.reserve(elements.size());
  for (const From element : elements) result.push_back(static_cast<To>(element));
  return to_device(from_data<To>(result, {static_cast<int64_t>(result.size())}), creation_device());
}

/// Small tables are computed here, in double or int64; so they are known at once, while capturing as well.
template <typename T, typename Element>
Tensor table(int64_t count, DType dtype, Element element) {
  std::vector<T> elements(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) elements[static_cast<size_t>(i)] = element(i);
  if (dtype == DType::Float32) return converted<float>(elements);
  if constexpr (std::is_integral_v<T>) {
    if (dtype == DType::Int32) return converted<int32_t>(elements);
    if (dtype == DType::Int16) return converted<int16_t>(elements);
    if (dtype == DType::Int8) return converted<int8_t>(elements);
    if (dtype == DType::UInt8) return converted<uint8_t>(elements);
  }
  return cast(to_device(from_data<T>(elements, {count}), creation_device()), dtype);
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor full(const Shape& shape, Scalar value, DType dtype) { return filled("full", shape, value, dtype); }
Tensor zeros(const Shape& shape, DType dtype) { return filled("zeros", shape, 0, dtype); }
Tensor ones(const Shape& shape, DType dtype) { return filled("ones", shape, 1, dtype); }
Tensor empty(const Shape& shape, DType dtype) { return filled("empty", shape, 0, dtype); }
Tensor zeros_like(const Tensor& input) {
  const DeviceScope scope(input.device());
  return zeros(input.shape(), input.dtype());
}
Tensor ones_like(const Tensor& input) {
  const DeviceScope scope(input.device());
  return ones(input.shape(), input.dtype());
}
Tensor full_like(const Tensor& input, Scalar value) {
  const DeviceScope scope(input.device());
  return full(input.shape(), value, input.dtype());
}

Tensor arange(Scalar start, Scalar end, Scalar step, DType dtype) {
  const bool integers =
      start.kind() != Scalar::Kind::Float && end.kind() != Scalar::Kind::Float && step.kind() != Scalar::Kind::Float;
  const double first = start.to_double(), last = end.to_double(), difference = step.to_double();
  check(difference != 0, "arange: step must be nonzero");
  check(std::isfinite(first) && std::isfinite(last), "arange: unsupported range: ", first, " -> ", last);
  check(difference > 0 ? last >= first : last <= first,
        "arange: upper bound and lower bound inconsistent with step sign");
  if (integers || dtype == DType::Int64) {
    check(step.to_int() != 0, "arange: step must be nonzero");
    const int64_t low = start.to_int(), stride = step.to_int();
    const int64_t span = end.to_int() - low;
    const int64_t count = (span + stride - (stride > 0 ? 1 : -1)) / stride;
    return table<int64_t>(count, dtype, [&](int64_t i) { return low + i * stride; });
  }
  const auto count = static_cast<int64_t>(std::ceil((last - first) / difference));
  if (!is_floating_point(dtype))
    return table<int64_t>(count, dtype, [&](int64_t i) { return start.to_int() + i * step.to_int(); });
  return table<double>(count, dtype, [&](int64_t i) { return first + static_cast<double>(i) * difference; });
}

Tensor linspace(double start, double end, int64_t steps, DType dtype) {
  check(steps >= 0, "linspace: number of steps must be non-negative, got ", steps);
  if (!is_floating_point(dtype)) start = std::trunc(start), end = std::trunc(end);
  const double step = steps > 1 ? (end - start) / static_cast<double>(steps - 1) : 0;
  // From the nearer end, so that both ends are exact.
  return table<double>(steps, dtype, [&](int64_t i) {
    return i < steps / 2 || steps == 1 ? start + step * static_cast<double>(i)
                                       : end - step * static_cast<double>(steps - 1 - i);
  });
}

Tensor eye(int64_t n, int64_t m, DType dtype) {
  check(n >= 0, "eye: n must be greater or equal to 0, got ", n);
  check(m >= 0, "eye: m must be greater or equal to 0, got ", m);
  const Tensor rows = arange(0, n, 1, DType::Int64), columns = arange(0, m, 1, DType::Int64);
  return cast(eq(reshaped(rows, {n, 1}), reshaped(columns, {1, m})), dtype);
}

Tensor one_hot(const Tensor& input, int64_t num_classes) {
  check(input.dtype() == DType::Int64, "one_hot: is only applicable to index tensor of type LongTensor, got ",
        name_of(input.dtype()));
  check(num_classes >= -1, "one_hot: num_classes should be positive, got ", num_classes);
  if (input.numel() == 0) {
    const DeviceScope scope(input.device());
    check(num_classes > 0, "one_hot: Can not infer total number of classes from empty tensor.");
    Shape shape = input.shape();
    shape.push_back(num_classes);
    return zeros(shape, DType::Int64);
  }
  const Tensor smallest = min(input), largest = max(input);
  evaluate(std::vector<Tensor>{smallest, largest});
  check(smallest.item<int64_t>() >= 0, "one_hot: Class values must be non-negative.");
  const int64_t needed = largest.item<int64_t>() + 1;
  check(num_classes == -1 || needed <= num_classes, "one_hot: Class values must be smaller than num_classes.");
  Shape shape = input.shape();
  shape.push_back(1);
  const DeviceScope scope(input.device());
  const Tensor classes = arange(0, num_classes == -1 ? needed : num_classes, 1, DType::Int64);
  return cast(eq(reshaped(input, shape), classes), DType::Int64);
}

}  // namespace pycnn
