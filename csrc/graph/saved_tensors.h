// What a node has only rarely: values that hooks packed for its backward, and hooks of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "graph/node.h"
#include "pycnn/saved_tensors.h"

namespace pycnn::graph {

struct NodeNotes {
  struct Packed {
    bool is_output;
    int index;
    autograd::PackedTensor tensor;
    std::shared_ptr<const autograd::SavedTensorHooks> hooks;
  };
  std::vector<Packed> packed;
  /// Called before and after the node's backward; what is not empty replaces the gradients of its outputs, or inputs.
  std::vector<std::pair<int64_t, std::function<Tensors(const Tensors& outputs)>>> hooks_before;
  std::vector<std::pair<int64_t, std::function<Tensors(const Tensors& inputs, const Tensors& outputs)>>> hooks_after;
};

/// Made when first asked for.
NodeNotes& notes_of(Node& node);
/// Packs what the backward of a node just recorded will read, if this thread has hooks for that.
void pack_saved(const std::shared_ptr<Node>& node);
/// The i-th input (or output) as the backward of `node` may read it: unpacked if it was packed, with the history of the
/// value itself. Raises if its tensor was changed in place since (for operators that save what PyTorch's do).
Tensor saved_tensor(const std::shared_ptr<Node>& node, bool is_output, int index);

/// The number of the backward pass that this thread began last.
uint64_t current_backward();

}  // namespace pycnn::graph
