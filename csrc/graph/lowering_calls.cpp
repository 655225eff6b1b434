// Primitives that are one call of a kernel on dense operands: order, search, linear algebra; or of a function.
#include "graph/primitives.h"

namespace pycnn::graph {

template <typename Call>
void Lowering::append_call(const char* kernel, std::vector<Slot> reads, std::vector<Slot> writes, Call call) {
  auto primitive = std::make_unique<CallPrimitive>();
  primitive->kernel = kernel;
  primitive->reads = std::move(reads);
  primitive->writes = std::move(writes);
  primitive->call = std::move(call);
  append(std::move(primitive));
}

namespace {

int64_t lines_of(const Slot& slot) {
  return slot.shape.empty() || slot.count() == 0 ? 0 : slot.count() / slot.shape.back();
}

/// All but the last `dropped` dimensions, followed by `added`.
Shape leading(const Shape& shape, int dropped, std::initializer_list<int64_t> added = {}) {
  Shape result;
  for (int d = 0; d < shape.size() - dropped; ++d) result.push_back(shape[d]);
  for (int64_t size : added) result.push_back(size);
  return result;
}

}  // namespace

Slot Lowering::sort(const Slot& given, bool descending) {
  const Slot input = contiguous(given);
  const Slot indices = allocate(DType::Int64, input.shape), scratch = allocate(DType::Int64, input.shape);
  append_call("sort", {input}, {indices, scratch}, [=](const kernels::Kernels& kernels, const Addresses& addresses) {
    if (input.count() == 0) return;
    kernels.sort({input.dtype, descending, lines_of(input), input.shape.back(), addresses.of(input),
                  static_cast<int64_t*>(addresses.of(indices)), static_cast<int64_t*>(addresses.of(scratch))});
  });
  return indices;
}

Slot Lowering::select(kernels::SelectKind kind, const Slot& given, int64_t selected, bool largest) {
  const Slot input = contiguous(given);
  const int64_t found = kind == kernels::SelectKind::Last ? 1 : selected;
  const Slot indices = allocate(DType::Int64, leading(input.shape, 1, {found}));
  const Slot scratch = allocate(DType::Int64, leading(input.shape, 0, {2}));
  append_call("select", {input}, {indices, scratch}, [=](const kernels::Kernels& kernels, const Addresses& addresses) {
    if (indices.count() == 0) return;
    kernels.select({kind, input.dtype, largest, lines_of(input), input.shape.back(), selected, addresses.of(input),
                    static_cast<int64_t*>(addresses.of(indices)), addresses.of(scratch)});
  });
  return indices;
}

Slot Lowering::search(const Slot& given_boundaries, const Slot& given_values, bool right) {
  const Slot boundaries = contiguous(given_boundaries), values = contiguous(given_values);
  const Slot places = allocate(DType::Int64, values.shape);
  const bool shared = boundaries.shape.size() == 1;
  append_call("search", {boundaries, values}, {places},
              [=](const kernels::Kernels& kernels, const Addresses& addresses) {
                if (values.count() == 0) return;
                const int64_t lines = shared ? 1 : lines_of(values);
                kernels.search({values.dtype, right, lines, boundaries.shape.back(), values.count() / lines,
                                addresses.of(boundaries), shared, addresses.of(values),
                                static_cast<int64_t*>(addresses.of(places))});
              });
  return places;
}

Lowering::Factors Lowering::factor(const Slot& matrices) {
  const Shape& shape = matrices.shape;
  const int64_t size = shape.back();
  const Slot factors = allocate(matrices.dtype, shape), pivots = allocate(DType::Int64, leading(shape, 1));
  const Slot signs = allocate(matrices.dtype, leading(shape, 2));
  copy_into(factors, matrices);
  append_call("factor", {factors}, {factors, pivots, signs},
              [=](const kernels::Kernels& kernels, const Addresses& addresses) {
                if (signs.count() == 0) return;
                kernels.factor({factors.dtype, signs.count(), size, addresses.of(factors),
                                static_cast<int64_t*>(addresses.of(pivots)), addresses.of(signs)});
              });
  return {factors, pivots, signs};
}

Slot Lowering::solve(const Slot& given_factors, const Slot& given_pivots, const Slot& given_sides, bool transposed) {
  const Slot factors = contiguous(given_factors), pivots = contiguous(given_pivots);
  const Slot sides = allocate(given_sides.dtype, given_sides.shape);
  copy_into(sides, given_sides);
  append_call(
      "solve", {factors, pivots, sides}, {sides}, [=](const kernels::Kernels& kernels, const Addresses& addresses) {
        if (sides.count() == 0) return;
        const int64_t size = factors.shape.back();
        kernels.solve({factors.dtype, transposed, factors.count() / (size * size), size, sides.shape.back(),
                       addresses.of(factors), static_cast<const int64_t*>(addresses.of(pivots)), addresses.of(sides)});
      });
  return sides;
}

void Lowering::require(const Slot& condition, std::function<void()> refuse) {
  auto primitive = std::make_unique<RequirePrimitive>();
  primitive->condition = condition;
  primitive->refuse = std::move(refuse);
  primitive->reads = {condition};
  append(std::move(primitive));
}

}  // namespace pycnn::graph
