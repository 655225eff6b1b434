// Lowering of what takes or puts elements whose places a tensor says, and of running sums and extrema.
#include "graph/primitives.h"

namespace pycnn::graph {
namespace {

// (outer, axis, inner) strides of a slot around `dimension`; false if it does not lie evenly.
bool index_strides(const Slot& slot, int dimension, int64_t* strides) {
  strides[1] = slot.strides[dimension];
  return slot.merge(0, dimension, strides[0]) && slot.merge(dimension + 1, slot.shape.size(), strides[2]);
}

}  // namespace

Slot Lowering::gather(const Slot& table, const Slot& index, int dimension) {
  auto primitive = std::make_unique<IndexPrimitive>();
  primitive->table = table;
  if (!index_strides(table, dimension, primitive->table_strides))
    index_strides(primitive->table = contiguous(table), dimension, primitive->table_strides);
  primitive->index = cast(index, DType::Int64);
  if (!index_strides(primitive->index, dimension, primitive->index_strides))
    index_strides(primitive->index = contiguous(primitive->index), dimension, primitive->index_strides);
  primitive->values = allocate(table.dtype, index.shape);
  index_strides(primitive->values, dimension, primitive->values_strides);
  primitive->sizes[0] = index.count(0, dimension);
  primitive->sizes[1] = index.shape[dimension];
  primitive->sizes[2] = index.count(dimension + 1, index.shape.size());
  primitive->axis_size = table.shape[dimension];
  primitive->reads = {primitive->table, primitive->index};
  primitive->writes = {primitive->values};
  const Slot result = primitive->values;
  append(std::move(primitive));
  return result;
}

Slot Lowering::scatter(const Slot& table, const Slot& index, const Slot& values, int dimension, ScatterKind kind) {
  auto primitive = std::make_unique<IndexPrimitive>();
  primitive->kind = kind;
  const DType compute = kind == ScatterKind::Store ? table.dtype : accumulation_dtype(table.dtype);
  primitive->table = allocate(compute, table.shape);
  copy_into(primitive->table, table);
  index_strides(primitive->table, dimension, primitive->table_strides);
  primitive->index = cast(index, DType::Int64);
  if (!index_strides(primitive->index, dimension, primitive->index_strides))
    index_strides(primitive->index = contiguous(primitive->index), dimension, primitive->index_strides);
  primitive->values = cast(values, compute);
  if (!index_strides(primitive->values, dimension, primitive->values_strides))
    index_strides(primitive->values = contiguous(primitive->values), dimension, primitive->values_strides);
  primitive->sizes[0] = index.count(0, dimension);
  primitive->sizes[1] = index.shape[dimension];
  primitive->sizes[2] = index.count(dimension + 1, index.shape.size());
  primitive->axis_size = table.shape[dimension];
  primitive->reads = {primitive->index, primitive->values, primitive->table};
  primitive->writes = {primitive->table};
  const Slot result = primitive->table;
  append(std::move(primitive));
  return cast(result, table.dtype);
}

Slot Lowering::scan(kernels::ScanKind kind, const Slot& input) {
  auto primitive = std::make_unique<ScanPrimitive>();
  primitive->kind = kind;
  primitive->input = contiguous(input);
  const bool places = kind == kernels::ScanKind::Maximum || kind == kernels::ScanKind::Minimum;
  primitive->output = allocate(places ? DType::Int64 : input.dtype, input.shape);
  primitive->reads = {primitive->input};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return result;
}

// Weighted sums of a table's elements: sampling images at given places, and its gradients.
Slot Lowering::sample(SampleResult result, const Slot& values, const Slot& index, const Slot& weights,
                      const Slot& table) {
  auto primitive = std::make_unique<SamplePrimitive>();
  primitive->result = result;
  const DType dtype = result == SampleResult::Values ? table.dtype : values.dtype;
  const auto image = [&](const Slot& slot, bool written) {
    if (!written) return channels_last(slot);
    const int64_t channels = slot.shape[1], places = slot.shape[2];
    return allocate(dtype, slot.shape, Strides{channels * places, 1, channels});
  };
  primitive->values = image(values, result == SampleResult::Values);
  primitive->table = image(table, result == SampleResult::Table);
  primitive->index = contiguous(index);
  primitive->weights = result == SampleResult::Weights ? allocate(dtype, weights.shape) : contiguous(weights);
  primitive->reads = {primitive->index};
  Slot written;
  for (const auto& [slot, kind] : {std::pair{&primitive->values, SampleResult::Values},
                                   {&primitive->table, SampleResult::Table},
                                   {&primitive->weights, SampleResult::Weights}})
    if (kind == result)
      written = *slot;
    else
      primitive->reads.push_back(*slot);
  primitive->writes = {written};
  append(std::move(primitive));
  return written;
}

}  // namespace pycnn::graph
