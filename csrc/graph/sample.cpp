// Lowering and running of weighted sums of a table's elements: sampling images at given places, and its gradients.
#include "graph/primitives.h"

namespace pycnn::graph {

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

const char* SamplePrimitive::name() const {
  constexpr const char* names[] = {"sample", "sample_spread", "sample_weights"};
  return names[static_cast<size_t>(result)];
}

double SamplePrimitive::flops() const {
  return 2.0 * static_cast<double>(index.count()) * static_cast<double>(values.shape[1]);
}

void SamplePrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (writes[0].count() == 0) return;
  const auto kernel = result == Lowering::SampleResult::Values  ? kernels.sample
                      : result == Lowering::SampleResult::Table ? kernels.sample_spread
                                                                : kernels.sample_weights;
  kernel({weights.dtype, values.shape[0], values.shape[2], index.shape[1], table.shape[2], values.shape[1],
          static_cast<const int64_t*>(addresses.of(index)), addresses.of(weights), addresses.of(table),
          addresses.of(values)});
}

}  // namespace pycnn::graph
