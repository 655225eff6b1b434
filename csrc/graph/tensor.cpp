// The public handle: reading, evaluating, and changes in place, which bind the handle to a new value.
#include "pycnn/tensor.h"

#include <cstring>

#include "graph/capture.h"
#include "graph/evaluate.h"
#include "graph/lowering.h"
#include "graph/operator.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {

using graph::Cell;
using graph::Output;
using graph::output_of;
using graph::TensorHandle;
using graph::Value;

namespace graph {
namespace {

/// The input itself, outside the autograd graph.
class Detach final : public Operator {
 public:
  const char* name() const override { return "detach"; }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[0]}; }
};

/// The second input's elements with the first one's history. `hidden`: the change of a non-leaf that autograd was told
/// not to see; else what was there before no longer matters.
class Replace final : public Operator {
 public:
  explicit Replace(bool hidden) : hidden_(hidden) {}
  const char* name() const override { return "replace"; }
  Tensors backward(const BackwardContext& context) const override {
    return {hidden_ ? context.gradient() : zeros_like(context.gradient()), Tensor()};
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[1]}; }

 private:
  bool hidden_;
};

/// The input under a node of its own: what was copied in place shares neither hooks nor gradients with its source.
class Copy final : public Operator {
 public:
  const char* name() const override { return "copy"; }
  Tensors backward(const BackwardContext& context) const override { return {context.gradient()}; }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[0]}; }
};

// A value that no other node or handle refers to, so that its output may be marked.
Value unshared(const Tensor& value) {
  const Value& current = value.value();
  if (value.handle().use_count() == 1 && current.node.use_count() == 1 && !output_of(current).requires_grad &&
      current.node->output_count == 1)
    return current;
  return detached(current);
}

// What a cell may be bound to: never to another tensor's leaf, and without history where autograd is not to see it.
Tensor assignable(Tensor value, bool silent) {
  const Value& current = value.value();
  const Output& output = output_of(current);
  if (!output.requires_grad) return value;
  if (silent || !is_grad_enabled()) return Tensor(detached(current));
  if (!is_leaf(current) && current.node.use_count() == 1) return value;
  return record(std::make_shared<Copy>(), {value}, {output.shape, output.dtype});
}

// Whether nothing but this view remembers its base, that one's base and so on.
bool owns_bases(const Cell& cell) {
  for (const Cell* base = cell.base.get(); base != nullptr; base = base->base.get())
    if (base->references.load() > 1) return false;
  return true;
}

// The variable that this thread's in-place operator changes, and the first node that may belong to it.
struct InPlace {
  const Cell* root = nullptr;
  uint64_t began = 0;
  bool composed = false;  // of operators that may themselves ask whether they may change it
};
thread_local InPlace in_place;

/// `previous` was the cell's value until an operator that began with node `began` changed it; 0: not for autograd.
void note_change(Cell& cell, const Value& previous, uint64_t began) {
  if (began == 0) return;
  ++cell.changes;
  // Somebody else may have read it under another name.
  if (!cell.shares_value && output_of(previous).handles.load() == 0) output_of(previous).overwritten_before = began;
}

// Binds a cell (and, through views, its base) to a new value; `silent` changes are hidden from autograd.
void rebind(Cell& cell, Tensor given, bool silent, uint64_t began) {
  const Tensor value = assignable(std::move(given), silent);
  const bool shares_value = value.handle().use_count() > 1 || output_of(value.value()).handles.load() > 1;
  const bool overlaps = overlaps_itself(cell) || windows_may_overlap(cell);
  if (cell.base && owns_bases(cell) && !overlaps) cell.leave_base();
  if (cell.base) {
    check(cell.view->derive || cell.base_version == cell.base->version,
          "a detached tensor cannot be changed in place after the tensor it was detached from was: it keeps the old "
          "value; clone() it, or detach() again");
    restore(*cell.base);
    const Tensor base(make_pooled<TensorHandle>(cell.base));
    if (cell.view->bypasses_autograd) {
      const NoGradGuard no_grad;
      rebind(*cell.base, cell.view->write(base, value), true, 0);
    } else {
      rebind(*cell.base, cell.view->write(base, value), silent, began);
    }
  }
  const Value previous = cell.value;
  if (cell.base && overlaps && !(is_leaf(previous) && output_of(previous).requires_grad)) {
    // Elements that are one show what was written there last.
    cell.autograd.reset();
    if (cell.view->derive) {
      refresh(cell);
    } else {
      cell.bind(detached(refresh(*cell.base)));
      cell.has_followed();
    }
    note_change(cell, previous, began);
    cell.shares_value = false;
    return;
  }
  const bool keeps_history = output_of(previous).requires_grad && !output_of(value.value()).requires_grad;
  if (keeps_history && is_leaf(previous)) {
    const Value replacement = unshared(value);
    output_of(replacement).requires_grad = true;
    output_of(replacement).autograd = cell.autograd;
    cell.bind(replacement);
  } else if (keeps_history) {
    const bool hidden = silent || !is_grad_enabled();
    const InferenceMode no_inference(false);
    const GradMode with_gradient(true);
    const Tensor replaced = record(std::make_shared<Replace>(hidden), {Tensor(previous), value},
                                   {output_of(previous).shape, output_of(previous).dtype});
    if (!hidden) cell.autograd.reset();
    cell.bind(replaced.value());
  } else {
    cell.autograd.reset();
    cell.bind(value.value());
  }
  if (cell.base) cell.has_followed();
  note_change(cell, previous, began);
  cell.shares_value = shares_value;
}

std::shared_ptr<AutogradState>& autograd_state(const Tensor& tensor) {
  Cell& cell = *tensor.handle()->cell;
  if (!cell.autograd) cell.autograd = output_of(cell.value).autograd;
  if (!cell.autograd) cell.autograd = std::make_shared<AutogradState>();
  output_of(cell.value).autograd = cell.autograd;
  return cell.autograd;
}

}  // namespace

void begin_in_place(Cell& cell, bool composed) {
  const Cell& root = history_root(cell);
  if (!in_place.composed || in_place.root != &root) in_place = {&root, next_sequence(), composed};
}

void abandon_in_place() { in_place = {}; }

Value detached(const Value& value) {
  const Output& output = output_of(value);
  if (value.node->is_evaluated() && capture_log() == nullptr)
    return make_leaf(output.shape, output.dtype, output.buffer);
  const NoGradGuard no_grad;
  return record(std::make_shared<Detach>(), {Tensor(value)}, {output.shape, output.dtype}).value();
}

}  // namespace graph

Tensor::Tensor(Value value) {
  auto cell = make_pooled<Cell>(std::move(value));
  cell->autograd = output_of(cell->value).autograd;
  cell->inference = is_inference_mode_enabled();
  handle_ = make_pooled<TensorHandle>(std::move(cell));
}

const Value& Tensor::value() const {
  check(defined(), "an undefined tensor was used");
  return graph::refresh(*handle_->cell);
}

const Shape& Tensor::shape() const { return output_of(value()).shape; }
DType Tensor::dtype() const { return output_of(value()).dtype; }
Device Tensor::device() const { return output_of(value()).device; }
int64_t Tensor::size(int64_t dimension) const { return shape()[normalize_dimension(dimension, dim(), "size")]; }

// -- evaluation ------------------------------------------------------------------------------------------------------

bool Tensor::is_evaluated() const { return value().node->is_evaluated(); }

void Tensor::evaluate() const {
  if (is_evaluated()) return;
  graph::refuse_reading();
  graph::evaluate_values(std::span(&value(), 1));
}

void evaluate(std::span<const Tensor> tensors) {
  std::vector<Value> pending;
  for (const Tensor& tensor : tensors)
    if (tensor.defined() && !tensor.is_evaluated()) pending.push_back(tensor.value());
  if (!pending.empty()) graph::evaluate_values(pending);
}

Memory Tensor::memory() const {
  evaluate();
  const Output& output = output_of(value());
  const graph::Buffer& buffer = output.buffer;
  check(buffer.storage != nullptr, "internal error: the value of '",
        value().node->op ? value().node->op->name() : "leaf", "' was not kept");
  return {buffer.storage,
          static_cast<char*>(buffer.storage->data()) + buffer.offset * static_cast<int64_t>(size_of(output.dtype)),
          output.dtype,
          output.shape,
          buffer.strides,
          output.device};
}

void Tensor::pin() const {
  evaluate();
  output_of(value()).buffer.storage->pin();
}

namespace {

// Calls function(pointer) for each element in row-major order.
template <typename Function>
void for_each_element(const Memory& memory, const Function& function) {
  const int rank = memory.shape.size();
  const auto width = static_cast<int64_t>(size_of(memory.dtype));
  if (element_count(memory.shape) == 0) return;
  Dimensions index = Dimensions::filled(rank, 0);
  const char* at = static_cast<const char*>(memory.data);
  while (true) {
    function(at);
    int d = rank - 1;
    for (; d >= 0; --d) {
      at += memory.strides[d] * width;
      if (++index[d] < memory.shape[d]) break;
      at -= memory.strides[d] * width * memory.shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

template <typename T>
T element_as(const char* at, DType dtype) {
  const auto read = [at]<typename E>(E) {
    E element;
    std::memcpy(&element, at, sizeof element);
    return element;
  };
  switch (dtype) {
    case DType::Bool:
      return static_cast<T>(read(uint8_t{}) != 0);
    case DType::UInt8:
      return static_cast<T>(read(uint8_t{}));
    case DType::Int8:
      return static_cast<T>(read(int8_t{}));
    case DType::Int16:
      return static_cast<T>(read(int16_t{}));
    case DType::Int32:
      return static_cast<T>(read(int32_t{}));
    case DType::Int64:
      return static_cast<T>(read(int64_t{}));
    case DType::Float16:
      return static_cast<T>(to_float(read(Float16{})));
    case DType::BFloat16:
      return static_cast<T>(to_float(read(BFloat16{})));
    case DType::Float32:
      return static_cast<T>(read(float{}));
    case DType::Float64:
      return static_cast<T>(read(double{}));
  }
  return T{};
}

}  // namespace

template <typename T>
T Tensor::item() const {
  check(numel() == 1, "a Tensor with ", numel(), " elements cannot be converted to Scalar");
  const Memory element = memory();
  char here[8];
  const void* at = element.data;
  if (!element.device.is_cpu()) {
    copy_between_devices(here, {}, element.data, element.device, size_of(element.dtype));
    at = here;
  }
  return element_as<T>(static_cast<const char*>(at), element.dtype);
}
template bool Tensor::item<bool>() const;
template int Tensor::item<int>() const;
template int64_t Tensor::item<int64_t>() const;
template float Tensor::item<float>() const;
template double Tensor::item<double>() const;

template <typename T>
std::vector<T> Tensor::to_vector() const {
  check<TypeError>(dtype() == dtype_of<T>(), "to_vector: the tensor holds ", dtype(), ", not ", dtype_of<T>());
  if (!device().is_cpu()) return to_device(*this, {}).to_vector<T>();
  std::vector<T> elements;
  elements.reserve(static_cast<size_t>(numel()));
  evaluate();
  for_each_element(memory(), [&](const char* at) {
    T element;
    std::memcpy(&element, at, sizeof element);
    elements.push_back(element);
  });
  return elements;
}

Tensor copy_memory(const Memory& source) {
  check(source.device.is_cpu(), "internal error: copy_memory of memory on ", source.device);
  const size_t width = size_of(source.dtype);
  const StoragePointer storage = allocate_storage(static_cast<size_t>(element_count(source.shape)) * width);
  char* to = static_cast<char*>(storage->data());
  if (source.strides == contiguous_strides(source.shape)) {
    if (element_count(source.shape) > 0)
      std::memcpy(to, source.data, static_cast<size_t>(element_count(source.shape)) * width);
  } else {
    for_each_element(source, [&](const char* at) {
      std::memcpy(to, at, width);
      to += width;
    });
  }
  return Tensor(graph::make_leaf(source.shape, source.dtype, {storage, 0, contiguous_strides(source.shape)}));
}

Tensor wrap_memory(const Memory& source) {
  const auto owner = source.owner;
  auto storage = std::make_shared<Storage>(
      source.data, static_cast<size_t>(element_count(source.shape)) * size_of(source.dtype), [owner] {}, source.device);
  storage->pin();
  return Tensor(graph::make_leaf(source.shape, source.dtype, {std::move(storage), 0, source.strides}));
}

template <typename T>
Tensor from_data(std::span<const T> elements, const Shape& shape) {
  check<ValueError>(static_cast<int64_t>(elements.size()) == element_count(shape), "from_data: ", elements.size(),
                    " elements do not fill shape ", shape);
  return copy_memory({nullptr, const_cast<T*>(elements.data()), dtype_of<T>(), shape, contiguous_strides(shape)});
}

#define PYCNN_INSTANTIATE(T)                         \
  template std::vector<T> Tensor::to_vector() const; \
  template Tensor from_data(std::span<const T>, const Shape&);
PYCNN_INSTANTIATE(uint8_t)
PYCNN_INSTANTIATE(int8_t)
PYCNN_INSTANTIATE(int16_t)
PYCNN_INSTANTIATE(int32_t)
PYCNN_INSTANTIATE(int64_t)
PYCNN_INSTANTIATE(Float16)
PYCNN_INSTANTIATE(BFloat16)
PYCNN_INSTANTIATE(float)
PYCNN_INSTANTIATE(double)
#undef PYCNN_INSTANTIATE

template <>
std::vector<bool> Tensor::to_vector<bool>() const {
  check<TypeError>(dtype() == DType::Bool, "to_vector: the tensor holds ", dtype(), ", not bool");
  if (!device().is_cpu()) return to_device(*this, {}).to_vector<bool>();
  std::vector<bool> elements;
  for_each_element(memory(), [&](const char* at) { elements.push_back(*at != 0); });
  return elements;
}

Tensor scalar_tensor(Scalar value, DType dtype) {
  const StoragePointer storage = allocate_storage(size_of(dtype));
  const auto store = [&]<typename T>(T element) { std::memcpy(storage->data(), &element, sizeof element); };
  const int64_t integer = dtype == DType::Bool       ? (value.to_double() != 0)
                          : is_floating_point(dtype) ? 0
                                                     : value.to_int();
  switch (dtype) {
    case DType::Bool:
      store(static_cast<uint8_t>(integer));
      break;
    case DType::UInt8:
      store(static_cast<uint8_t>(integer));
      break;
    case DType::Int8:
      store(static_cast<int8_t>(integer));
      break;
    case DType::Int16:
      store(static_cast<int16_t>(integer));
      break;
    case DType::Int32:
      store(static_cast<int32_t>(integer));
      break;
    case DType::Int64:
      store(integer);
      break;
    case DType::Float16:
      store(to_float16(static_cast<float>(value.to_double())));
      break;
    case DType::BFloat16:
      store(to_bfloat16(static_cast<float>(value.to_double())));
      break;
    case DType::Float32:
      store(static_cast<float>(value.to_double()));
      break;
    case DType::Float64:
      store(value.to_double());
      break;
  }
  return Tensor(graph::make_leaf({}, dtype, {storage, 0, {}}));
}

// -- autograd (the walk itself is in autograd.cpp) -------------------------------------------------------------------

bool Tensor::requires_grad() const { return output_of(value()).requires_grad; }
bool Tensor::is_leaf() const { return graph::is_leaf(value()); }
bool Tensor::is_inference() const {
  check(defined(), "an undefined tensor was used");
  return handle_->cell->inference;
}

Tensor& Tensor::requires_grad_(bool requires_grad) {
  if (requires_grad == this->requires_grad()) return *this;
  if (!requires_grad) {
    check(is_leaf(),
          "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
          "subgraph that doesn't "
          "require differentiation use var_no_grad = var.detach().");
    handle_->cell->bind(graph::detached(value()));
    return *this;
  }
  check(is_floating_point(dtype()), "only Tensors of floating point dtype can require gradients, not ", dtype());
  check(!is_inference() || is_inference_mode_enabled(),
        "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  // A value that others have read already stays as they saw it: this handle gets one of its own.
  if (value().node.use_count() > 1) handle_->cell->bind(graph::detached(value()));
  Output& output = output_of(value());
  output.requires_grad = true;
  graph::autograd_state(*this);
  return *this;
}

Tensor Tensor::grad() const {
  const auto& state = output_of(value()).autograd;
  return state ? state->grad : Tensor();
}

void Tensor::set_grad(const Tensor& gradient) {
  graph::CaptureLog* const log = graph::capture_log();
  if (!gradient.defined()) {
    if (const auto& state = output_of(value()).autograd) {
      if (log != nullptr) log->note_gradient(state);
      state->grad = Tensor();
    }
    return;
  }
  check(gradient.handle() != handle_, "can't assign Variable as its own grad");
  check(gradient.shape() == shape(), "attempting to assign a gradient of size '", gradient.shape(),
        "' to a tensor of size '", shape(), "'. Please ensure that the gradient and the tensor are the same size");
  check(gradient.dtype() == dtype(), "attempting to assign a gradient with dtype '", gradient.dtype(),
        "' to a tensor with dtype '", dtype(), "'. The gradient must match the tensor's dtype");
  check(gradient.device() == device(), "attempting to assign a gradient on device '", gradient.device(),
        "' to a tensor on device '", device(), "'. The gradient must lie on the tensor's device");
  const std::shared_ptr<graph::AutogradState> state = graph::autograd_state(*this);
  if (log != nullptr) log->note_gradient(state);
  state->grad = gradient;
}

bool Tensor::retains_grad() const {
  const auto& state = output_of(value()).autograd;
  return state && state->retain_grad;
}

void Tensor::retain_grad() const {
  check(requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  if (!is_leaf()) graph::autograd_state(*this)->retain_grad = true;
}

namespace {
std::atomic<int64_t> next_hook{0};
}

int64_t Tensor::register_hook(std::function<Tensor(const Tensor&)> hook) const {
  check(requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
  const int64_t id = next_hook++;
  graph::autograd_state(*this)->hooks.emplace_back(id, std::move(hook));
  return id;
}

int64_t Tensor::register_post_accumulate_grad_hook(std::function<void()> hook) const {
  check(requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
  check(is_leaf(), "post accumulate grad hooks cannot be registered on non-leaf tensors");
  const int64_t id = next_hook++;
  graph::autograd_state(*this)->hooks_after_accumulation.emplace_back(id, std::move(hook));
  return id;
}

void Tensor::remove_hook(int64_t id) const {
  if (const auto& state = handle_->cell->autograd) {
    const auto is_that = [id](const auto& hook) { return hook.first == id; };
    std::erase_if(state->hooks, is_that);
    std::erase_if(state->hooks_after_accumulation, is_that);
  }
}

std::string Tensor::grad_fn_name() const { return is_leaf() ? "" : value().node->op->name(); }

Tensor Tensor::detach() const {
  if (graph::CaptureLog* log = graph::capture_log(); log != nullptr && is_evaluated()) log->note_read(value(), handle_);
  const Tensor result(graph::detached(value()));
  static const auto view = std::make_shared<const graph::View>(
      // A tensor of its own, since the base may mark its value as requiring grad.
      graph::View{.derive = {},
                  .write = [](const Tensor&, const Tensor& value) { return Tensor(value.value()); },
                  .bypasses_autograd = true});
  return graph::make_view(result, *this, view);
}

// -- in place --------------------------------------------------------------------------------------------------------

void Tensor::check_in_place(std::string_view operation) const {
  check(
      !is_inference() || is_inference_mode_enabled(), operation,
      ": Inplace update to inference tensor outside InferenceMode is not allowed. You can make a clone to get a normal "
      "tensor before doing inplace update.");
  graph::begin_in_place(*handle_->cell, false);
  if (!is_grad_enabled()) return;
  check(!(requires_grad() && is_leaf()), operation,
        ": a leaf Variable that requires grad is being used in an in-place operation.");
  for (const Cell* cell = handle_->cell.get(); cell->base && !cell->view->bypasses_autograd; cell = cell->base.get()) {
    const Value& base = cell->base->value;
    check(!(output_of(base).requires_grad && graph::is_leaf(base)), operation,
          ": a view of a leaf Variable that requires grad is being used in an in-place operation.");
  }
}

Tensor& Tensor::assign_(Tensor value, bool uniform) {
  check(value.shape() == shape(), "assignment in place: the value's shape ", value.shape(), " differs from ", shape());
  check(uniform || !graph::overlaps_itself(*handle_->cell),
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation.");
  check(value.device() == device(), "Expected all tensors to be on the same device: a result on ", value.device(),
        " cannot be written to a tensor on ", device());
  if (value.dtype() != dtype()) value = cast(value, dtype());
  const bool announced = graph::in_place.root == &graph::history_root(*handle_->cell);
  const uint64_t began = announced ? graph::in_place.began : 0;
  graph::in_place = {};
  graph::rebind(*handle_->cell, std::move(value), false, began);
  return *this;
}

void Tensor::set_data(const Tensor& value) {
  Cell& cell = *handle_->cell;
  const Value replacement = graph::detached(value.value());
  const bool leaf = is_leaf();
  if (requires_grad() && leaf) {
    check(is_floating_point(value.dtype()), "data set to a tensor that requires gradients must be floating point, not ",
          value.dtype());
    output_of(replacement).requires_grad = true;
    output_of(replacement).autograd = cell.autograd;
  }
  // Views stay with the old data, as in PyTorch.
  auto fresh = make_pooled<Cell>(replacement);
  if (requires_grad() && leaf) fresh->autograd = cell.autograd;
  fresh->inference = value.is_inference();
  handle_->rename(std::move(fresh));
}

bool Tensor::is_same_value(const Tensor& other) const { return value() == other.value(); }

}  // namespace pycnn
