// Operators call these to describe their work as primitives. See lowering.h.
#include "graph/lowering.h"

#include <algorithm>
#include <numeric>

#include "graph/primitives.h"

namespace pycnn::graph {
namespace {

std::vector<int> identity_order(int rank) {
  std::vector<int> order(static_cast<size_t>(rank));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Dimensions from the largest stride to the smallest; equal ones (and those of size 1) keep their logical order.
std::vector<int> memory_order(const Slot& slot) {
  std::vector<int> order = identity_order(slot.shape.size());
  std::vector<int> wide;
  for (int d : order)
    if (slot.shape[d] != 1) wide.push_back(d);
  std::stable_sort(wide.begin(), wide.end(),
                   [&](int a, int b) { return std::abs(slot.strides[a]) > std::abs(slot.strides[b]); });
  for (int d : order)
    if (slot.shape[d] == 1) wide.insert(wide.begin(), d);
  return wide;
}

Strides strides_in_order(const Shape& shape, std::span<const int> order) {
  Strides strides = Dimensions::filled(shape.size(), 1);
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(shape[order[i]], 1);
  }
  return strides;
}

// What products read and write: they add up bfloat16 in float32 themselves.
DType product_dtype(DType dtype) { return dtype == DType::BFloat16 ? dtype : accumulation_dtype(dtype); }

}  // namespace

Lowering::Lowering(const kernels::Kernels& kernels) : kernels_(kernels) {}
Lowering::~Lowering() = default;

void Lowering::append(std::unique_ptr<Primitive> primitive) {
  primitive->operator_name = operator_name_;
  primitives_.push_back(std::move(primitive));
}

// -- memory ----------------------------------------------------------------------------------------------------------

Slot Lowering::allocate(DType dtype, const Shape& shape, const Strides& strides) {
  constexpr int64_t most = int64_t{1} << 47;  // what a process can address: before sizes and their sums overflow
  const int64_t count = element_count(shape), width = static_cast<int64_t>(size_of(dtype));
  check(count <= most / width, "out of memory: a tensor of shape ", shape, " was asked for");
  buffers_.push_back({.bytes = static_cast<size_t>(count * width)});
  return {static_cast<int>(buffers_.size()) - 1, dtype, shape, strides, 0};
}

Slot Lowering::allocate_like(DType dtype, const Shape& shape, std::span<const Slot> like) {
  for (const Slot& slot : like)
    if (slot.shape == shape && slot.is_dense())
      return allocate(dtype, shape, strides_in_order(shape, memory_order(slot)));
  return allocate(dtype, shape);
}

Slot Lowering::original(Slot slot) const {
  for (auto copy = copies_.rbegin(); copy != copies_.rend(); ++copy) {
    if (copy->to.buffer != slot.buffer) continue;
    const Slot before = slot.seen_through(copy->to, copy->from);
    if (before.buffer < 0) break;
    slot = before;
  }
  return slot;
}

// Copies that undo each other cancel: the first of them is dead when the second reads what it read. Inputs of the plan,
// which last anyway, are copied once for all.
Slot Lowering::laid_out(const Slot& slot, bool (Slot::*lies_so)() const, const Strides& strides) {
  if ((slot.*lies_so)()) return slot;
  const Slot source = original(slot);
  if ((source.*lies_so)()) return source;
  if (buffers_[static_cast<size_t>(source.buffer)].input >= 0)
    for (const Copy& copy : copies_)
      if (same_window(copy.from, source) && copy.to.strides == strides) return copy.to;
  const Slot result = allocate(slot.dtype, slot.shape, strides);
  Copy made{source, result};
  for (const Copy& copy : copies_) {
    // A copy under another shape: its source may fit into the result under that one.
    if (copy.to.buffer != source.buffer || copy.to.count() != source.count() || !copy.to.is_contiguous() ||
        !source.is_contiguous())
      continue;
    if (const Slot same = result.reshaped(copy.to.shape); same.buffer >= 0) made = {copy.from, same};
  }
  copy_into(made.to, made.from);
  copies_.push_back(made);
  return result;
}

Slot Lowering::contiguous(const Slot& slot) {
  return laid_out(slot, &Slot::is_contiguous, contiguous_strides(slot.shape));
}

Slot Lowering::channels_last(const Slot& slot) {
  return laid_out(slot, &Slot::is_channels_last, channels_last_strides(slot.shape));
}

Slot Lowering::dense(const Slot& slot) { return slot.is_dense() ? slot : contiguous(slot); }

Slot Lowering::cast(const Slot& slot, DType dtype) {
  if (slot.dtype == dtype) return slot;
  return pointwise(std::span(&slot, 1), slot.shape, slot.dtype, dtype,
                   [](ProgramBuilder&, std::span<const Expression> x) { return x[0]; });
}

Slot Lowering::reshape(const Slot& slot, const Shape& shape) {
  const Slot window = slot.reshaped(shape);
  return window.buffer >= 0 ? window : contiguous(slot).reshaped(shape);
}

// -- pointwise -------------------------------------------------------------------------------------------------------

Slot Lowering::pointwise(std::span<const Slot> inputs, const Shape& shape, DType compute, DType out,
                         const Formula& formula) {
  const Formulas formulas = [&](ProgramBuilder& builder, std::span<const Expression> x) {
    return std::vector<Expression>{formula(builder, x)};
  };
  return pointwise(inputs, shape, compute, std::span(&out, 1), formulas)[0];
}

std::vector<Slot> Lowering::pointwise(std::span<const Slot> inputs, const Shape& shape, DType compute,
                                      std::span<const DType> outs, const Formulas& formulas) {
  std::vector<Slot> outputs;
  for (DType out : outs) outputs.push_back(allocate_like(out, shape, inputs));
  pointwise_into(outputs, inputs, compute, formulas);
  return outputs;
}

void Lowering::pointwise_into(std::span<const Slot> outputs, std::span<const Slot> inputs, DType compute,
                              const Formulas& formulas) {
  const Shape& shape = outputs[0].shape;
  auto primitive = std::make_unique<PointwisePrimitive>();
  ProgramBuilder& builder = primitive->program.formula;
  std::vector<Expression> loaded;
  for (const Slot& input : inputs) {
    const auto index = static_cast<int>(primitive->program.operands.size());
    primitive->program.operands.push_back(input.expanded(shape));
    primitive->reads.push_back(input);
    loaded.push_back(builder.convert(builder.load(index, input.dtype), register_type_of(compute)));
  }
  const std::vector<Expression> results = formulas(builder, loaded);
  check(results.size() == outputs.size(), "internal error: a formula gave ", results.size(), " results for ",
        outputs.size(), " outputs");
  for (size_t i = 0; i < outputs.size(); ++i) {
    Expression value = results[i];
    const DType out = outputs[i].dtype;
    // From a float register integers of up to 32 bits are made at once, not by way of 64 bits.
    const bool rounds_first = out == DType::Bool || (is_integral(out) && value.type != RegisterType::I64);
    if (rounds_first) value = builder.round_to(value, out);
    value = builder.convert(value, register_type_of(out));
    if (!rounds_first) value = builder.round_to(value, out);
    builder.store(static_cast<int>(primitive->program.operands.size()), value);
    primitive->program.operands.push_back(outputs[i]);
    primitive->writes.push_back(outputs[i]);
  }
  primitive->program.shape = shape;
  primitive->order = memory_order(outputs[0]);
  append(std::move(primitive));
}

void Lowering::copy_into(const Slot& destination, const Slot& source) {
  pointwise_into(std::span(&destination, 1), std::span(&source, 1), source.dtype,
                 [](ProgramBuilder&, std::span<const Expression> x) { return std::vector<Expression>{x[0]}; });
}

void Lowering::fill(const Slot& destination, double value) {
  pointwise_into(std::span(&destination, 1), {}, destination.dtype,
                 [&](ProgramBuilder& builder, std::span<const Expression>) {
                   return std::vector<Expression>{builder.constant(value, register_type_of(destination.dtype))};
                 });
}

// -- reductions ------------------------------------------------------------------------------------------------------

Slot Lowering::reduce(kernels::ReduceKind kind, const Slot& input, uint32_t dimensions, DType compute, DType out) {
  // A reduction runs over at most max_loops groups of neighbouring dimensions; more (rare) are first brought into
  // order.
  std::vector<int> order = memory_order(input);
  Slot source = input;
  int groups = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto is_reduced = [&](int d) { return (dimensions >> d & 1U) != 0; };
    const bool merges = i > 0 && is_reduced(order[i]) == is_reduced(order[i - 1]) &&
                        source.strides[order[i - 1]] == source.strides[order[i]] * source.shape[order[i]];
    if (source.shape[order[i]] != 1 && !merges) ++groups;
  }
  if (groups > kernels::max_loops) {
    std::stable_partition(order.begin(), order.end(), [&](int d) { return (dimensions >> d & 1U) == 0; });
    source = allocate(input.dtype, input.shape, strides_in_order(input.shape, order));
    copy_into(source, input);
  }
  auto primitive = std::make_unique<ReducePrimitive>();
  ProgramBuilder& builder = primitive->prologue.formula;
  primitive->prologue.shape = source.shape;
  primitive->prologue.operands.push_back(source);
  const int expression = builder.convert(builder.load(0, source.dtype), register_type_of(compute)).id;
  primitive->reduced_slot = source;
  primitive->dimensions = dimensions;
  primitive->order = order;
  primitive->reads.push_back(source);
  Shape kept = source.shape;
  for (int d = 0; d < kept.size(); ++d)
    if ((dimensions >> d & 1U) != 0) kept[d] = 1;
  const Strides strides = strides_in_order(kept, order);
  primitive->writes.push_back(allocate(out, kept, strides));
  if (kind == kernels::ReduceKind::Moments) primitive->writes.push_back(allocate(out, kept, strides));
  primitive->parts.push_back({expression, kind, primitive->writes});
  const Slot result = primitive->writes[0];
  append(std::move(primitive));
  return result;
}

Lowering::Moments Lowering::moments(const Slot& input, uint32_t dimensions, DType compute, DType out) {
  const Slot mean = reduce(kernels::ReduceKind::Moments, input, dimensions, compute, out);
  return {mean, primitives_.back()->writes[1]};
}

Lowering::Extremum Lowering::arg_extremum(bool maximum, const Slot& input, int dimension) {
  const int rank = input.shape.size();
  int64_t outer = 0;
  int64_t inner = 0;
  Slot source = input;
  if (!source.merge(0, dimension, outer) || !source.merge(dimension + 1, rank, inner)) {
    source = contiguous(input);
    source.merge(0, dimension, outer);
    source.merge(dimension + 1, rank, inner);
  }
  auto primitive = std::make_unique<ArgReducePrimitive>();
  primitive->maximum = maximum;
  primitive->dimension = dimension;
  primitive->input = source;
  primitive->sizes[0] = source.count(0, dimension);
  primitive->sizes[1] = source.shape[dimension];
  primitive->sizes[2] = source.count(dimension + 1, rank);
  Shape kept = source.shape;
  kept[dimension] = 1;
  primitive->values = allocate(source.dtype, kept);
  primitive->indices = allocate(DType::Int64, kept);
  primitive->reads = {source};
  primitive->writes = {primitive->values, primitive->indices};
  const Extremum result{primitive->values, primitive->indices};
  append(std::move(primitive));
  return result;
}

// -- structured primitives -------------------------------------------------------------------------------------------

namespace {

// The kernel's taps must lie evenly: (o, i, k…) with one stride for all of k.
bool weight_lies_evenly(const Slot& weight) {
  int64_t tap = 0;
  return weight.merge(2, weight.shape.size(), tap);
}

}  // namespace

Slot Lowering::convolution(const kernels::ConvolutionShape& shape, const Slot& input, const Slot& weight,
                           const Shape& output) {
  const DType compute = product_dtype(input.dtype);
  auto primitive = std::make_unique<ConvolutionPrimitive>();
  primitive->pass = kernels::ConvolutionPass::Forward;
  primitive->shape = shape;
  primitive->input = channels_last(cast(input, compute));
  const Slot converted = cast(weight, compute);
  primitive->weight = weight_lies_evenly(converted) ? converted : contiguous(converted);
  primitive->output = allocate(compute, output, channels_last_strides(output));
  primitive->reads = {primitive->input, primitive->weight};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return cast(result, input.dtype);
}

Slot Lowering::convolution_input_gradient(const kernels::ConvolutionShape& shape, const Slot& output_gradient,
                                          const Slot& weight, const Shape& input) {
  const DType compute = product_dtype(output_gradient.dtype);
  auto primitive = std::make_unique<ConvolutionPrimitive>();
  primitive->pass = kernels::ConvolutionPass::InputGradient;
  primitive->shape = shape;
  primitive->output = channels_last(cast(output_gradient, compute));
  const Slot converted = cast(weight, compute);
  primitive->weight = weight_lies_evenly(converted) ? converted : contiguous(converted);
  primitive->input = allocate(compute, input, channels_last_strides(input));
  primitive->reads = {primitive->output, primitive->weight};
  primitive->writes = {primitive->input};
  const Slot result = primitive->input;
  append(std::move(primitive));
  return cast(result, output_gradient.dtype);
}

Slot Lowering::convolution_weight_gradient(const kernels::ConvolutionShape& shape, const Slot& input,
                                           const Slot& output_gradient, const Shape& weight) {
  const DType compute = product_dtype(input.dtype);
  auto primitive = std::make_unique<ConvolutionPrimitive>();
  primitive->pass = kernels::ConvolutionPass::WeightGradient;
  primitive->shape = shape;
  primitive->input = channels_last(cast(input, compute));
  primitive->output = channels_last(cast(output_gradient, compute));
  primitive->weight = allocate(compute, weight);
  primitive->reads = {primitive->input, primitive->output};
  primitive->writes = {primitive->weight};
  const Slot result = primitive->weight;
  append(std::move(primitive));
  return cast(result, input.dtype);
}

Slot Lowering::matmul(const Slot& a, const Slot& b) {
  DType compute = product_dtype(a.dtype);
  if (!is_floating_point(compute)) compute = DType::Int64;
  const int rank = std::max(a.shape.size(), b.shape.size());
  Shape result_shape = Dimensions::filled(rank, 1);
  for (const Slot* operand : {&a, &b})
    for (int d = 0; d < operand->shape.size() - 2; ++d) {
      int64_t& size = result_shape[rank - operand->shape.size() + d];
      if (operand->shape[d] != 1) size = operand->shape[d];
    }
  const int64_t m = a.shape[a.shape.size() - 2];
  const int64_t k = a.shape.back();
  const int64_t n = b.shape.back();
  // Leading dimensions become one or two batch loops; where an operand's strides do not allow it, it is copied.
  const auto with_leading = [&](const Slot& operand) {
    Shape full = result_shape;
    full[rank - 2] = operand.shape[operand.shape.size() - 2];
    full[rank - 1] = operand.shape.back();
    return cast(operand, compute).expanded(full);
  };
  Slot left = with_leading(a);
  Slot right = with_leading(b);
  int64_t left_batch[2] = {0, 0};
  int64_t right_batch[2] = {0, 0};
  const int cut = rank - 2 == 2 ? 1 : 0;  // two leading dimensions need no merging
  const auto batch_strides = [&](const Slot& slot, int64_t* strides) {
    return slot.merge(0, cut, strides[0]) && slot.merge(cut, rank - 2, strides[1]);
  };
  if (!batch_strides(left, left_batch)) batch_strides(left = contiguous(left), left_batch);
  if (!batch_strides(right, right_batch)) batch_strides(right = contiguous(right), right_batch);
  result_shape[rank - 2] = m;
  result_shape[rank - 1] = n;
  auto primitive = std::make_unique<MatmulPrimitive>();
  primitive->a = left;
  primitive->b = right;
  primitive->c = allocate(compute, result_shape);
  kernels::MatmulArguments& arguments = primitive->shape;
  arguments.dtype = compute;
  arguments.batch[0] = primitive->c.count(0, cut);
  arguments.batch[1] = primitive->c.count(cut, rank - 2);
  arguments.m = m;
  arguments.n = n;
  arguments.k = k;
  arguments.a_row = left.strides[rank - 2];
  arguments.a_column = left.strides[rank - 1];
  arguments.b_row = right.strides[rank - 2];
  arguments.b_column = right.strides[rank - 1];
  arguments.c_row = n;
  for (int i = 0; i < 2; ++i) {
    arguments.a_batch[i] = left_batch[i];
    arguments.b_batch[i] = right_batch[i];
  }
  arguments.c_batch[1] = m * n;
  arguments.c_batch[0] = arguments.batch[1] * m * n;
  primitive->reads = {left, right};
  primitive->writes = {primitive->c};
  const Slot result = primitive->c;
  append(std::move(primitive));
  return cast(result, a.dtype);
}

namespace {

/// What pooling kernels are given: bfloat16 as it is, unless sums over too many windows were rounded in between.
DType pooling_dtype(DType dtype) { return dtype == DType::BFloat16 ? dtype : accumulation_dtype(dtype); }
DType pooling_dtype(DType dtype, const Lowering::PoolingWindows& windows) {
  int64_t seen[3] = {0, 0, 0};
  for (int d = 0; d < 3; ++d)
    for (size_t i = 0; i < windows.seen_begin[d].size(); ++i)
      seen[d] = std::max(seen[d], windows.seen_end[d][i] - windows.seen_begin[d][i]);
  const int64_t rows = seen[0] * seen[1];
  const bool at_once = rows <= kernels::pooling_rows_at_once && rows * seen[2] <= kernels::pooling_windows_at_once;
  return at_once ? pooling_dtype(dtype) : accumulation_dtype(dtype);
}

}  // namespace

std::vector<Slot> Lowering::max_pool(const Slot& input, const Shape& output,
                                     std::shared_ptr<const PoolingWindows> windows, MaximumPlaces places) {
  DType compute = pooling_dtype(input.dtype);
  if (!is_floating_point(compute)) compute = DType::Int64;
  auto primitive = std::make_unique<PoolingPrimitive>();
  primitive->kind = PoolingPrimitive::Kind::Maximum;
  primitive->windows = std::move(windows);
  primitive->input = channels_last(cast(input, compute));
  primitive->output = allocate(compute, output, channels_last_strides(output));
  primitive->reads = {primitive->input};
  primitive->writes = {primitive->output};
  std::vector<Slot> results = {primitive->output};
  if (places != MaximumPlaces::None) {
    const DType dtype = places == MaximumPlaces::Indices ? DType::Int64 : DType::UInt8;
    primitive->places = allocate(dtype, output, channels_last_strides(output));
    primitive->writes.push_back(primitive->places);
    results.push_back(primitive->places);
  }
  append(std::move(primitive));
  results[0] = cast(results[0], input.dtype);
  return results;
}

Slot Lowering::max_pool_backward(const Slot& output_gradient, const Slot& places, const Shape& input,
                                 std::shared_ptr<const PoolingWindows> windows) {
  const DType compute = pooling_dtype(output_gradient.dtype, *windows);
  auto primitive = std::make_unique<PoolingPrimitive>();
  primitive->kind = PoolingPrimitive::Kind::MaximumBackward;
  primitive->windows = std::move(windows);
  primitive->output = channels_last(cast(output_gradient, compute));
  primitive->places = channels_last(places);
  primitive->input = allocate(compute, input, channels_last_strides(input));
  primitive->reads = {primitive->output, primitive->places};
  primitive->writes = {primitive->input};
  const Slot result = primitive->input;
  append(std::move(primitive));
  return cast(result, output_gradient.dtype);
}

Slot Lowering::max_pool_gather(const Slot& input, const Slot& places, std::shared_ptr<const PoolingWindows> windows) {
  const DType compute = pooling_dtype(input.dtype);
  auto primitive = std::make_unique<PoolingPrimitive>();
  primitive->kind = PoolingPrimitive::Kind::MaximumGather;
  primitive->windows = std::move(windows);
  primitive->input = channels_last(cast(input, compute));
  primitive->places = channels_last(places);
  primitive->output = allocate(compute, places.shape, channels_last_strides(places.shape));
  primitive->reads = {primitive->input, primitive->places};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return cast(result, input.dtype);
}

Slot Lowering::average_pool(const Slot& input, const Shape& output, std::shared_ptr<const PoolingWindows> windows) {
  const DType compute = pooling_dtype(input.dtype);
  auto primitive = std::make_unique<PoolingPrimitive>();
  primitive->kind = PoolingPrimitive::Kind::Average;
  primitive->windows = std::move(windows);
  primitive->input = channels_last(cast(input, compute));
  primitive->output = allocate(compute, output, channels_last_strides(output));
  primitive->reads = {primitive->input};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return cast(result, input.dtype);
}

Slot Lowering::average_pool_backward(const Slot& output_gradient, const Shape& input,
                                     std::shared_ptr<const PoolingWindows> windows) {
  const DType compute = pooling_dtype(output_gradient.dtype, *windows);
  auto primitive = std::make_unique<PoolingPrimitive>();
  primitive->kind = PoolingPrimitive::Kind::AverageBackward;
  primitive->windows = std::move(windows);
  primitive->output = channels_last(cast(output_gradient, compute));
  primitive->input = allocate(compute, input, channels_last_strides(input));
  primitive->reads = {primitive->output};
  primitive->writes = {primitive->input};
  const Slot result = primitive->input;
  append(std::move(primitive));
  return cast(result, output_gradient.dtype);
}

Slot Lowering::combine_rows(const Slot& input, int dimension, std::shared_ptr<const RowTable> table) {
  const DType compute = input.dtype == DType::Float64 ? DType::Float64 : DType::Float32;
  auto primitive = std::make_unique<CombineRowsPrimitive>();
  primitive->table = std::move(table);
  primitive->input = cast(input, compute);
  const bool keeps_layout = input.shape.size() >= 3 && primitive->input.is_channels_last();
  if (!keeps_layout) primitive->input = contiguous(primitive->input);
  Shape shape = input.shape;
  shape[dimension] = primitive->table->output_size();
  primitive->output = allocate(compute, shape, keeps_layout ? channels_last_strides(shape) : contiguous_strides(shape));
  // In memory the channels of a channels-last slot come after all others.
  const auto comes_after = [&](int d) {
    return keeps_layout && (d == 1 || dimension == 1) ? d == 1 && dimension != 1 : d > dimension;
  };
  for (int d = 0; d < shape.size(); ++d)
    if (d != dimension) (comes_after(d) ? primitive->inner : primitive->outer) *= shape[d];
  primitive->input_size = input.shape[dimension];
  primitive->reads = {primitive->input};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return result;
}

Slot Lowering::random(const Random& parameters, const Slot& key, DType dtype, const Shape& shape) {
  auto primitive = std::make_unique<RandomPrimitive>();
  primitive->parameters = parameters;
  primitive->key = key;
  primitive->output = allocate(dtype, shape);
  primitive->reads = {key};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return result;
}

}  // namespace pycnn::graph
