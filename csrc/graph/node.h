// The operator graph: nodes, their values, and the handles that name values.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "pycnn/tensor.h"
#include "tensor/pool.h"
#include "tensor/storage.h"

namespace pycnn::graph {

class Operator;
struct Node;
struct NodeNotes;

/// std::make_shared from the thread's pool.
template <typename T, typename... Arguments>
std::shared_ptr<T> make_pooled(Arguments&&... arguments) {
  return std::allocate_shared<T>(PoolAllocator<T>(), std::forward<Arguments>(arguments)...);
}

/// Where evaluated elements lie. Offset and strides count elements.
struct Buffer {
  StoragePointer storage;
  int64_t offset = 0;
  Strides strides;
};

/// One output of a node. Values never change: what looks like a change binds a handle to another value.
struct Value {
  std::shared_ptr<Node> node;
  int index = 0;

  explicit operator bool() const { return node != nullptr; }
  friend bool operator==(const Value& a, const Value& b) { return a.node == b.node && a.index == b.index; }
};

/// What autograd keeps for a tensor: its accumulated gradient and its hooks. Shared by the handle and the values it
/// denotes.
struct AutogradState {
  Tensor grad;
  std::vector<std::pair<int64_t, std::function<Tensor(const Tensor&)>>> hooks;
  std::vector<std::pair<int64_t, std::function<void()>>> hooks_after_accumulation;
  bool retain_grad = false;
};

struct Output {
  Shape shape;
  DType dtype = DType::Float32;
  Device device;
  bool requires_grad = false;
  /// A number in tensor clothing (wrap_scalar): it takes part in type promotion by its kind only.
  bool wrapped_number = false;
  /// Set on leaves that require grad and on values with hooks or retained gradients.
  std::shared_ptr<AutogradState> autograd;
  /// Observable handles (see Cell). An output with handles is computed and kept; one without may be fused away.
  std::atomic<int> handles{0};
  /// Inputs of live nodes that are this value.
  std::atomic<int> consumers{0};
  /// Filled by evaluation if the value was kept.
  Buffer buffer;
  /// The tensor it belonged to was changed in place, and nobody else named it: nodes recorded before this one (see
  /// Node::sequence) read what is no longer there.
  std::atomic<uint64_t> overwritten_before{0};
};

/// Lost: the thread that was computing it is not there in a forked child, and had begun to write over its inputs.
enum class NodeState : uint8_t { Pending, Running, Done, Lost };

/// An operator applied to values, or (without operator) a leaf that was born evaluated.
struct Node {
  std::shared_ptr<const Operator> op;
  std::vector<Value> inputs;  ///< dropped once neither evaluation nor autograd needs them
  Output* outputs;
  int output_count;
  std::atomic<NodeState> state{NodeState::Pending};
  uint64_t sequence = 0;              ///< order of recording, hence a topological order
  void* stream = nullptr;             ///< of a GPU, that of the thread that recorded it
  bool differentiable = false;        ///< recorded with grad mode on and an input that requires grad
  std::atomic<bool> released{false};  ///< backward() has consumed it (retain_graph=False)
  std::shared_ptr<NodeNotes> notes;   ///< usually none

  explicit Node(int outputs_of_node);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void set_inputs(std::vector<Value> values);
  /// Once by whoever comes first; values are destroyed outside of the lock.
  void drop_inputs();
  bool is_evaluated() const { return state.load(std::memory_order_acquire) == NodeState::Done; }

 private:
  Output single_;  ///< most nodes have one output
  std::unique_ptr<Output[]> several_;
};

inline Output& output_of(const Value& value) { return value.node->outputs[static_cast<size_t>(value.index)]; }

/// A leaf from evaluated memory.
Value make_leaf(const Shape& shape, DType dtype, Buffer buffer);

/// How a view follows its base and writes back to it.
struct View {
  /// The view's value for the base's present one; empty for `detach()`, which keeps the value it was made from.
  std::function<Tensor(const Tensor& base)> derive;
  /// The base's new value after the view was assigned `value`. Elements that lie in one place are given equal values.
  std::function<Tensor(const Tensor& base, const Tensor& value)> write;
  bool bypasses_autograd = false;  ///< `.data` and `.detach()`
  /// The view's strides if its root base lay row-major: they say, as in PyTorch, whether reshape() is a view or a copy.
  Strides strides = {};
  /// Where its first element would then lie, counted from the base's first.
  int64_t offset = 0;
};

/// The variable behind a tensor: a binding to a value. Views bind to a cell as well, so that they see its changes.
/// References: a primary holder (TensorHandle) counts 2, a view 1. The cell is observable, and its value held, from 2
/// on: a base that only one view remembers may be fused away, unless that view has yet to follow a change.
struct Cell : std::enable_shared_from_this<Cell> {
  Value value;
  uint64_t version = 0;
  std::shared_ptr<AutogradState> autograd;
  std::atomic<int> references{0};
  std::atomic<int> followers{0};  ///< views that follow changes
  int held_from = 2;              ///< references; 1 while a view may have a change yet to follow
  std::shared_ptr<Cell> base;
  std::shared_ptr<const View> view;
  uint64_t base_version = 0;
  bool derives_with_gradient = false;  ///< grad mode when the view was made: following the base records likewise
  bool inference = false;              ///< made in inference mode (a view: of a tensor that was)
  bool shares_value = false;           ///< bound by a change in place to the value of another tensor
  uint64_t changes = 0;                ///< in place, of a variable that is no view: PyTorch's version

  explicit Cell(Value initial) : value(std::move(initial)) {}
  ~Cell();
  void add_references(int count);
  void drop_references(int count);
  /// Binds to another value, keeping the held count right.
  void bind(Value replacement);
  /// Becomes a view of that cell, or a variable of its own.
  void attach(std::shared_ptr<Cell> to, std::shared_ptr<const View> as);
  void leave_base();
  /// The base's present value is what the view shows.
  void has_followed();

 private:
  void hold_from(int count);
};

struct TensorHandle {
  std::shared_ptr<Cell> cell;
  explicit TensorHandle(std::shared_ptr<Cell> cell);
  /// Names another cell from now on; views of the old one stay with it.
  void rename(std::shared_ptr<Cell> replacement);
  ~TensorHandle();
  TensorHandle(const TensorHandle&) = delete;
  TensorHandle& operator=(const TensorHandle&) = delete;
};

/// The strides the value would have if its storage root lay row-major, and where its first element would lie in that.
Strides nominal_strides(const Cell& cell);
int64_t nominal_offset(const Cell& cell);
/// Whether several elements are certainly one element of the base (an expanded view).
bool overlaps_itself(const Cell& cell);
/// Whether several elements that lie apart in the strides' sense may be one (windows that share elements).
bool windows_may_overlap(const Cell& cell);

/// The cell's value after following its base's changes.
const Value& refresh(Cell& cell);
/// Makes sure that a cell whose value was evaluated but not kept (only a view remembered it) has one again.
void restore(Cell& cell);

/// True if gradients stop here: nothing was recorded for it, whether or not it wants its own gradient.
inline bool is_leaf(const Value& value) { return !(value.node->differentiable && output_of(value).requires_grad); }

/// The variable that a chain of views leads to: what PyTorch calls the storage.
Cell& storage_root(Cell& cell);
/// The variable whose history a view takes part in: `.data` and `.detach()` begin one of their own.
Cell& history_root(Cell& cell);
/// Says that an operator is about to change this tensor in place: what it records until then may read the old value.
/// One that is `composed` of others, all of which belong to it, ends with the tensor's next assignment, or is
/// abandoned.
void begin_in_place(Cell& cell, bool composed);
void abandon_in_place();

/// The same value under a new node outside the autograd graph.
Value detached(const Value& value);

/// Makes `result` (= view->derive(base)) a view of base: it sees base's in-place changes and writes back to it.
Tensor make_view(const Tensor& result, const Tensor& base, std::shared_ptr<const View> view);

}  // namespace pycnn::graph
