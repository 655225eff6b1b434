#include "graph/saved_tensors.h"

#include <algorithm>
#include <atomic>
#include <string_view>
#include <unordered_set>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "pycnn/autograd.h"

namespace pycnn {
namespace graph {
namespace {

thread_local std::vector<std::shared_ptr<const autograd::SavedTensorHooks>> active_hooks;
std::atomic<bool> mutation_allowed = false;

/// An unpacked value with the history of the one that was packed.
class Unpacked final : public Operator {
 public:
  const char* name() const override { return "unpacked"; }
  Tensors backward(const BackwardContext& context) const override { return {Tensor(), context.gradient()}; }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[0]}; }
};

/// Operators that read in backward exactly what PyTorch's save. Others may read more, and never refuse.
bool saves_as_pytorch(const Operator& op) {
  static const std::unordered_set<std::string_view> names = {
      "abs",         "acos",       "acosh",      "asin",    "asinh",   "atan",        "atan2",     "atanh",
      "celu",        "conv1d",     "conv2d",     "conv3d",  "cos",     "cosh",        "div",       "elu",
      "erf",         "exp",        "exp2",       "expm1",   "gelu",    "hardsigmoid", "hardswish", "hardtanh",
      "hypot",       "leaky_relu", "linear",     "log",     "log10",   "log1p",       "log2",      "log_sigmoid",
      "log_softmax", "matmul",     "maximum",    "minimum", "mish",    "mul",         "pow",       "reciprocal",
      "relu",        "relu6",      "rsqrt",      "selu",    "sigmoid", "silu",        "sin",       "sinh",
      "softmax",     "softplus",   "softshrink", "sqrt",    "square",  "tan",         "tanh"};
  return names.contains(op.name());
}

}  // namespace

NodeNotes& notes_of(Node& node) {
  if (!node.notes) node.notes = std::make_shared<NodeNotes>();
  return *node.notes;
}

void pack_saved(const std::shared_ptr<Node>& node) {
  if (active_hooks.empty()) return;
  const auto hooks = active_hooks.back();
  const BackwardReads reads = node->op->backward_reads();
  const NoGradGuard no_grad;
  const auto pack = [&](bool is_output, int index, const Tensor& tensor) {
    notes_of(*node).packed.push_back({is_output, index, hooks->pack(tensor), hooks});
  };
  for (int i = 0; i < std::min(static_cast<int>(node->inputs.size()), 32); ++i)
    if (const Value input = node->inputs[static_cast<size_t>(i)];
        (reads.inputs >> i & 1U) != 0 && !output_of(input).wrapped_number)
      pack(false, i, Tensor(input));
  // Without history: a hook that keeps the result would keep the node, which keeps what the hook gave.
  for (int i = 0; i < std::min(node->output_count, 32); ++i)
    if ((reads.outputs >> i & 1U) != 0) pack(true, i, Tensor(detached({node, i})));
}

Tensor saved_tensor(const std::shared_ptr<Node>& node, bool is_output, int index) {
  const Value value = is_output ? Value{node, index} : node->inputs[static_cast<size_t>(index)];
  const Output& output = output_of(value);
  if (node->notes)
    for (const NodeNotes::Packed& packed : node->notes->packed) {
      if (packed.is_output != is_output || packed.index != index) continue;
      Tensor tensor;
      {
        const NoGradGuard no_grad;
        tensor = packed.hooks->unpack(packed.tensor);
      }
      check(tensor.defined() && tensor.shape() == output.shape && tensor.dtype() == output.dtype,
            "saved tensor hooks: expected a tensor of shape ", output.shape, " and dtype ", output.dtype,
            " from unpack, as was packed");
      if (!is_grad_enabled() || !output.requires_grad) return tensor;
      return record(std::make_shared<Unpacked>(), {tensor.detach(), Tensor(value)}, {output.shape, output.dtype});
    }
  check(output.overwritten_before.load(std::memory_order_relaxed) <= node->sequence || mutation_allowed ||
            !saves_as_pytorch(*node->op),
        "one of the variables needed for gradient computation has been modified by an inplace operation: a tensor of ",
        "shape ", output.shape, " and dtype ", output.dtype, ", which is ", is_output ? "output " : "input ", index,
        " of '", node->op->name(), "'. Hint: clone() it before it is changed, or change a copy");
  return Tensor(value);
}

}  // namespace graph

namespace autograd {

SavedTensorScope::SavedTensorScope(SavedTensorHooks hooks)
    : hooks_(std::make_shared<const SavedTensorHooks>(std::move(hooks))) {
  graph::active_hooks.push_back(hooks_);
}
SavedTensorScope::~SavedTensorScope() { std::erase(graph::active_hooks, hooks_); }

bool is_saved_mutation_allowed() { return graph::mutation_allowed; }
void set_saved_mutation_allowed(bool allowed) { graph::mutation_allowed = allowed; }

}  // namespace autograd
}  // namespace pycnn
