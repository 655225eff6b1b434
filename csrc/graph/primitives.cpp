// Running primitives; convolutions and products are in primitives_products.cpp.
#include "graph/primitives.h"

#include <algorithm>
#include <cstring>

#include "tensor/backend.h"

namespace pycnn::graph {
namespace {

kernels::Operand plain_operand(const Slot& slot, const Addresses& addresses) {
  return {addresses.of(slot), slot.dtype, {}};
}

void* address(const Slot& slot, const Addresses& addresses) { return slot.buffer < 0 ? nullptr : addresses.of(slot); }

}  // namespace

int64_t Primitive::bytes() const {
  int64_t sum = 0;
  for (const std::vector<Slot>* slots : {&reads, &writes})
    for (auto slot = slots->begin(); slot != slots->end(); ++slot) {
      const bool seen = std::any_of(slots->begin(), slot, [&](const Slot& other) { return same_window(*slot, other); });
      if (seen) continue;
      int64_t count = static_cast<int64_t>(size_of(slot->dtype));
      for (int d = 0; d < slot->shape.size(); ++d)
        if (slot->strides[d] != 0 || slot->shape[d] == 0) count *= slot->shape[d];
      sum += count;
    }
  return sum;
}

// -- pointwise -------------------------------------------------------------------------------------------------------

void PointwisePrimitive::prepare(const kernels::Kernels&) {
  check(compiled.compile(program, {.order = order, .allow_extra = true}),
        "internal error: a pointwise program is too large");
}

void PointwisePrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (element_count(program.shape) == 0) return;
  compiled.for_each_launch(addresses,
                           [&](const kernels::PointwiseArguments& arguments) { kernels.pointwise(arguments); });
}

std::string PointwisePrimitive::details() const { return compiled.text(); }

bool PointwisePrimitive::is_cast() const {
  const std::vector<ProgramBuilder::Step>& formula = program.formula.steps();
  return formula.size() == 3 && formula[0].opcode == Opcode::Load && formula[1].opcode == Opcode::RoundTo &&
         formula[2].opcode == Opcode::Store && reads.size() == 1 && writes.size() == 1 &&
         formula[1].index == static_cast<int>(writes[0].dtype);
}

double PointwisePrimitive::flops() const { return static_cast<double>(element_count(program.shape)); }

void PointwiseBatchPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  std::vector<kernels::PointwiseArguments> launches;
  std::vector<kernels::Operand> operands(members.size() * kernels::max_operands);
  launches.reserve(members.size());
  for (size_t i = 0; i < members.size(); ++i)
    launches.push_back(members[i]->compiled.arguments(addresses, &operands[i * kernels::max_operands]));
  kernels.pointwise_batch(launches.data(), static_cast<int>(launches.size()));
}

std::string PointwiseBatchPrimitive::details() const {
  return std::to_string(members.size()) + " programs, the first: " + members.front()->details();
}

double PointwiseBatchPrimitive::flops() const {
  double sum = 0;
  for (const auto& member : members) sum += member->flops();
  return sum;
}

// -- reductions ------------------------------------------------------------------------------------------------------

std::vector<Slot> ReducePrimitive::results() const {
  std::vector<Slot> all;
  for (const Part& part : parts) all.insert(all.end(), part.results.begin(), part.results.end());
  return all;
}

bool ReducePrimitive::compile(CompiledProgram& into) const {
  std::vector<int> live;
  for (const Part& part : parts) live.push_back(part.source);
  return into.compile(prologue, {.order = order, .split = dimensions, .reference = &reduced_slot, .live = live});
}

void ReducePrimitive::prepare(const kernels::Kernels& kernels) {
  check(compile(compiled), "internal error: a reduction has too many loops");
  kernels::Operand operands[kernels::max_operands];
  kernels::Accumulation accumulations[kernels::max_accumulations];
  workspace = kernels.reduce_workspace(arguments({}, operands, accumulations));
}

kernels::ReduceArguments ReducePrimitive::arguments(const Addresses& addresses, kernels::Operand* operands,
                                                    kernels::Accumulation* accumulations) const {
  kernels::ReduceArguments result{};
  result.prologue = compiled.arguments(addresses, operands);
  for (int loop = 0; loop < compiled.loops(); ++loop) result.reduced[loop] = compiled.is_split(loop);
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    kernels::Accumulation& accumulation = accumulations[i];
    accumulation = {part.kind, compiled.live_registers()[i], plain_operand(part.results[0], addresses), {}};
    for (int loop = 0; loop < compiled.loops(); ++loop)
      accumulation.output.strides[loop] = result.reduced[loop] ? 0 : compiled.stride(part.results[0], loop);
    if (part.kind != kernels::ReduceKind::Moments) continue;
    accumulation.second = plain_operand(part.results[1], addresses);
    std::copy_n(accumulation.output.strides, kernels::max_loops, accumulation.second.strides);
  }
  result.accumulations = accumulations;
  result.accumulation_count = static_cast<int>(parts.size());
  result.workspace = addresses.workspace;
  return result;
}

void ReducePrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (parts[0].results[0].count() == 0) return;
  kernels::Operand operands[kernels::max_operands];
  kernels::Accumulation accumulations[kernels::max_accumulations];
  kernels.reduce(arguments(addresses, operands, accumulations));
}

std::string ReducePrimitive::details() const {
  constexpr const char* names[] = {"sum", "product", "maximum", "minimum", "moments"};
  std::string text;
  for (const Part& part : parts) text += (text.empty() ? "" : ",") + std::string(names[static_cast<size_t>(part.kind)]);
  return text;
}

double ReducePrimitive::flops() const { return static_cast<double>(element_count(prologue.shape)); }

// -- pooling, indexing, random ---------------------------------------------------------------------------------------

const char* PoolingPrimitive::name() const {
  constexpr const char* names[] = {"max_pool", "max_pool_backward", "max_pool_gather", "average_pool",
                                   "average_pool_backward"};
  return names[static_cast<size_t>(kind)];
}

std::vector<std::span<const std::byte>> PoolingPrimitive::tables() const {
  std::vector<std::span<const std::byte>> all;
  for (int d = 0; d < 3; ++d)
    for (const std::vector<int64_t>* table :
         {&windows->begin[d], &windows->end[d], &windows->divisor[d], &windows->seen_begin[d], &windows->seen_end[d]})
      all.push_back(std::as_bytes(std::span(*table)));
  return all;
}

void PoolingPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  kernels::PoolingArguments result{};
  result.dtype = input.dtype;
  result.batch = input.shape[0];
  result.channels = input.shape[1];
  const int missing = 5 - input.shape.size();
  for (int d = 0; d < 3; ++d) {
    result.input_size[d] = d < missing ? 1 : input.shape[d - missing + 2];
    result.output_size[d] = d < missing ? 1 : output.shape[d - missing + 2];
    result.step[d] = windows->step[d];
    result.taps[d] = windows->taps[d];
    const auto table = [&](int which) {
      return static_cast<const int64_t*>(placed_tables[static_cast<size_t>(5 * d + which)]);
    };
    result.begin[d] = table(0);
    result.end[d] = table(1);
    result.divisor[d] = table(2);
    result.seen_begin[d] = table(3);
    result.seen_end[d] = table(4);
  }
  result.input = addresses.of(input);
  result.output = addresses.of(output);
  if (places.buffer >= 0 && places.dtype == DType::Int64) result.indices = static_cast<int64_t*>(addresses.of(places));
  if (places.buffer >= 0 && places.dtype == DType::UInt8) result.offsets = static_cast<uint8_t*>(addresses.of(places));
  const auto kernel = kind == Kind::Maximum           ? kernels.max_pool
                      : kind == Kind::MaximumBackward ? kernels.max_pool_backward
                      : kind == Kind::MaximumGather   ? kernels.max_pool_gather
                      : kind == Kind::Average         ? kernels.average_pool
                                                      : kernels.average_pool_backward;
  kernel(result);
}

double CombineRowsPrimitive::flops() const {
  return 2.0 * static_cast<double>(table->weights.size()) * static_cast<double>(outer * inner);
}

std::vector<std::span<const std::byte>> CombineRowsPrimitive::tables() const {
  return {std::as_bytes(std::span(table->begin)), std::as_bytes(std::span(table->indices)),
          std::as_bytes(std::span(table->weights))};
}

void CombineRowsPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (output.count() == 0) return;
  kernels.combine_rows({output.dtype, outer, input_size, table->output_size(), inner, addresses.of(input),
                        addresses.of(output), static_cast<const int64_t*>(placed_tables[0]),
                        static_cast<const int64_t*>(placed_tables[1]), static_cast<const double*>(placed_tables[2])});
}

void ArgReducePrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (indices.count() == 0) return;
  kernels::ArgReduceArguments result{};
  result.maximum = maximum;
  result.input = plain_operand(input, addresses);
  result.values = plain_operand(values, addresses);
  result.indices = plain_operand(indices, addresses);
  const auto stride_of = [](const Slot& slot, int begin, int end) {
    for (int d = end - 1; d >= begin; --d)
      if (slot.shape[d] != 1) return slot.strides[d];
    return int64_t{0};
  };
  std::copy_n(sizes, 3, result.sizes);
  const int rank = input.shape.size();
  for (kernels::Operand* operand : {&result.input, &result.values, &result.indices}) {
    const Slot& slot = operand == &result.input ? input : values;
    operand->strides[0] = stride_of(slot, 0, dimension);
    operand->strides[1] = operand == &result.input ? slot.strides[dimension] : 0;
    operand->strides[2] = stride_of(slot, dimension + 1, rank);
  }
  kernels.arg_reduce(result);
}

const char* IndexPrimitive::name() const {
  constexpr const char* names[] = {"scatter", "scatter_add", "scatter_product", "scatter_maximum", "scatter_minimum"};
  return kind ? names[static_cast<size_t>(*kind)] : "gather";
}

void IndexPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (index.count() == 0) return;
  kernels::IndexArguments result{};
  result.dtype = values.dtype;
  result.loops = 3;
  result.axis = 1;
  result.values = plain_operand(values, addresses);
  result.index = plain_operand(index, addresses);
  result.table = plain_operand(table, addresses);
  for (int loop = 0; loop < 3; ++loop) {
    result.sizes[loop] = sizes[loop];
    result.values.strides[loop] = values_strides[loop];
    result.index.strides[loop] = index_strides[loop];
    result.table.strides[loop] = loop == 1 ? 0 : table_strides[loop];
  }
  result.axis_stride = table_strides[1];
  result.axis_size = axis_size;
  using Kind = Lowering::ScatterKind;
  const auto kernel = !kind                   ? kernels.gather
                      : kind == Kind::Store   ? kernels.scatter
                      : kind == Kind::Sum     ? kernels.scatter_add
                      : kind == Kind::Product ? kernels.scatter_product
                      : kind == Kind::Maximum ? kernels.scatter_maximum
                                              : kernels.scatter_minimum;
  const bool in_range = kernel(result);
  if (!in_range && !addresses.device.is_cpu()) check_backend(backend_of(addresses.device));  // it may be something else
  check<IndexError>(in_range, operator_name, ": index out of range: the indexed dimension has size ", axis_size);
}

void ScanPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (input.count() == 0) return;
  kernels::ScanArguments result{};
  result.kind = kind;
  result.dtype = input.dtype;
  result.count = input.shape.back();
  result.lines = input.count() / result.count;
  result.input = addresses.of(input);
  if (kind == kernels::ScanKind::Maximum || kind == kernels::ScanKind::Minimum)
    result.indices = static_cast<int64_t*>(addresses.of(output));
  else
    result.values = addresses.of(output);
  kernels.scan(result);
}

void RequirePrimitive::run(const kernels::Kernels&, const Addresses& addresses) const {
  bool holds = false;
  if (addresses.device.is_cpu())
    holds = *static_cast<const bool*>(addresses.of(condition));
  else
    copy_between_devices(&holds, {}, addresses.of(condition), addresses.device, sizeof holds);
  if (!holds) refuse();
}

void RandomPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  if (output.count() == 0) return;
  kernels.random({parameters.kind, static_cast<const int64_t*>(addresses.of(key)), parameters.first, parameters.second,
                  parameters.low, parameters.high, output.dtype, addresses.of(output), output.count()});
}

// -- rows ------------------------------------------------------------------------------------------------------------

void SoftmaxPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  kernels.softmax({output.dtype, logarithm, rows, columns, addresses.of(input), address(gradient, addresses),
                   addresses.of(output)});
}

void NormalizeRowsPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  kernels.normalize_rows({input.dtype, centered, input.shape[0], input.shape[1], eps, addresses.of(input),
                          address(weight, addresses), address(bias, addresses), addresses.of(output),
                          addresses.of(mean), addresses.of(inverse)});
}

kernels::NormalizeRowsBackwardArguments NormalizeRowsBackwardPrimitive::arguments(const Addresses& addresses) const {
  // While planning there are no addresses: what is wanted is known by its slot.
  const auto wanted = [&](const Slot& slot) -> void* {
    if (slot.buffer < 0) return nullptr;
    return addresses.buffers.empty() ? const_cast<Slot*>(&slot) : addresses.of(slot);
  };
  return {input.dtype,
          centered,
          input.shape[0],
          input.shape[1],
          addresses.of(gradient),
          addresses.of(input),
          addresses.of(mean),
          addresses.of(inverse),
          address(weight, addresses),
          addresses.of(input_gradient),
          wanted(weight_gradient),
          wanted(bias_gradient),
          addresses.workspace};
}

void NormalizeRowsBackwardPrimitive::prepare(const kernels::Kernels& kernels) {
  workspace = kernels.normalize_rows_backward_workspace(arguments({}));
}

void NormalizeRowsBackwardPrimitive::run(const kernels::Kernels& kernels, const Addresses& addresses) const {
  kernels.normalize_rows_backward(arguments(addresses));
}

// -- samples ---------------------------------------------------------------------------------------------------------

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
