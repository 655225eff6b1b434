#include "graph/node.h"

#include <algorithm>
#include <mutex>

#include "graph/capture.h"
#include "graph/operator.h"
#include "pycnn/autograd.h"
#include "tensor/fork.h"

namespace pycnn::graph {

Node::Node(int outputs_of_node) : output_count(outputs_of_node) {
  if (outputs_of_node > 1) several_ = std::make_unique<Output[]>(static_cast<size_t>(outputs_of_node));
  outputs = several_ ? several_.get() : &single_;
}

void Node::set_inputs(std::vector<Value> values) {
  inputs = std::move(values);
  for (const Value& input : inputs) output_of(input).consumers.fetch_add(1);
}

void Node::drop_inputs() {
  static ForkSafeMutex mutex(ForkOrder::Nodes);
  std::vector<Value> dropped;
  {
    const std::lock_guard lock(mutex);
    dropped.swap(inputs);
  }
  for (const Value& input : dropped) output_of(input).consumers.fetch_sub(1);
}

Node::~Node() {
  for (const Value& input : inputs) output_of(input).consumers.fetch_sub(1);
  // Long chains would otherwise recurse once per node: whoever is last drains the chain in a loop.
  thread_local std::vector<Value>* draining = nullptr;
  if (draining != nullptr) {
    for (Value& input : inputs) draining->push_back(std::move(input));
    return;
  }
  std::vector<Value> chain = std::move(inputs);
  draining = &chain;
  while (!chain.empty()) {
    const Value last = std::move(chain.back());
    chain.pop_back();
  }
  draining = nullptr;
}

Value make_leaf(const Shape& shape, DType dtype, Buffer buffer) {
  auto node = make_pooled<Node>(1);
  Output& output = node->outputs[0];
  output.shape = shape;
  output.dtype = dtype;
  output.device = buffer.storage->device();
  output.buffer = std::move(buffer);
  node->state.store(NodeState::Done, std::memory_order_release);
  return {std::move(node), 0};
}

Cell::~Cell() { leave_base(); }

void Cell::add_references(int count) {
  const int before = references.fetch_add(count);
  if (before < held_from && before + count >= held_from) output_of(value).handles.fetch_add(1);
}

void Cell::drop_references(int count) {
  const int before = references.fetch_sub(count);
  if (before >= held_from && before - count < held_from) output_of(value).handles.fetch_sub(1);
}

void Cell::hold_from(int count) {
  const int present = references.load();
  output_of(value).handles.fetch_add((present >= count) - (present >= held_from));
  held_from = count;
}

void Cell::attach(std::shared_ptr<Cell> to, std::shared_ptr<const View> as) {
  leave_base();
  base = std::move(to);
  view = std::move(as);
  base_version = base->version;
  if (view->derive) base->followers.fetch_add(1);
  base->add_references(1);
  // A change of windows that share elements is written to the base and read back.
  if (view->derive && windows_may_overlap(*this)) base->hold_from(1);
}

void Cell::leave_base() {
  if (!base) return;
  if (view->derive) base->followers.fetch_sub(1);
  base->drop_references(1);
  base.reset();
  view.reset();
}

void Cell::has_followed() {
  base_version = base->version;
  if (view->derive && base->followers.load() == 1 && !windows_may_overlap(*this)) base->hold_from(2);
}

void Cell::bind(Value replacement) {
  if (followers.load() > 0 && held_from != 1) hold_from(1);
  const bool held = references.load() >= held_from;
  if (held) output_of(replacement).handles.fetch_add(1);
  std::swap(value, replacement);
  if (held) output_of(replacement).handles.fetch_sub(1);
  ++version;
  if (CaptureLog* log = capture_log()) log->bound.push_back(weak_from_this());
}

TensorHandle::TensorHandle(std::shared_ptr<Cell> bound) : cell(std::move(bound)) { cell->add_references(2); }
void TensorHandle::rename(std::shared_ptr<Cell> replacement) {
  replacement->add_references(2);
  cell.swap(replacement);
  replacement->drop_references(2);
}

TensorHandle::~TensorHandle() { cell->drop_references(2); }

Strides nominal_strides(const Cell& cell) {
  const Shape& shape = output_of(cell.value).shape;
  for (const Cell* at = &cell; at && at->view; at = at->base.get())
    if (at->view->strides.size() == shape.size()) return at->view->strides;
  return contiguous_strides(shape);
}

int64_t nominal_offset(const Cell& cell) {
  int64_t offset = 0;
  for (const Cell* at = &cell; at->base; at = at->base.get()) offset += at->view->offset;
  return offset;
}

bool overlaps_itself(const Cell& cell) {
  const Shape& shape = output_of(cell.value).shape;
  if (!cell.view || element_count(shape) == 0) return false;
  const Strides strides = nominal_strides(cell);
  for (int d = 0; d < shape.size(); ++d)
    if (strides[d] == 0 && shape[d] > 1) return true;
  return false;
}

bool windows_may_overlap(const Cell& cell) {
  const Shape& shape = output_of(cell.value).shape;
  if (!cell.view || element_count(shape) == 0) return false;
  const Strides strides = nominal_strides(cell);
  std::vector<std::pair<int64_t, int64_t>> extents;
  for (int d = 0; d < shape.size(); ++d)
    if (strides[d] != 0 && shape[d] > 1) extents.emplace_back(strides[d], shape[d]);
  std::sort(extents.begin(), extents.end());
  int64_t reach = 0;
  for (auto [stride, size] : extents) {
    if (stride <= reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

Cell& storage_root(Cell& cell) {
  Cell* root = &cell;
  while (root->base) root = root->base.get();
  return *root;
}

Cell& history_root(Cell& cell) {
  Cell* root = &cell;
  while (root->base && !root->view->bypasses_autograd) root = root->base.get();
  return *root;
}

const Value& refresh(Cell& cell) {
  if (cell.base && cell.view->derive) {
    refresh(*cell.base);
    if (cell.base_version != cell.base->version) {
      const Tensor base(make_pooled<TensorHandle>(cell.base));
      const GradMode mode(cell.derives_with_gradient);
      cell.bind(cell.view->derive(base).value());
      cell.has_followed();
    }
  }
  return cell.value;
}

void restore(Cell& cell) {
  const Value& value = cell.value;
  if (!cell.base || !cell.view->derive || !value.node->is_evaluated() || output_of(value).buffer.storage) return;
  restore(*cell.base);
  const Tensor base(make_pooled<TensorHandle>(cell.base));
  const GradMode mode(cell.derives_with_gradient);
  const uint64_t version = cell.version;
  cell.bind(cell.view->derive(base).value());
  cell.version = version;
}

Tensor make_view(const Tensor& result, const Tensor& base, std::shared_ptr<const View> view) {
  const std::shared_ptr<Cell>& cell = result.handle()->cell;
  const std::shared_ptr<Cell>& base_cell = base.handle()->cell;
  if (cell == base_cell) return result;
  // A result that is a view already (an operator made of views) hangs onto the new base instead.
  cell->attach(base_cell, std::move(view));
  cell->derives_with_gradient = is_grad_enabled();
  cell->inference = base_cell->inference;
  return result;
}

}  // namespace pycnn::graph
