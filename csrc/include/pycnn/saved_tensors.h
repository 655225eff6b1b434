// What is kept for backward: hooks that store it in another form, and whether it may be overwritten.
#pragma once

#include <functional>
#include <memory>

#include "pycnn/tensor.h"

namespace pycnn::autograd {

/// Whatever stands for a value between forward and backward.
using PackedTensor = std::shared_ptr<void>;

/// `pack` is called when an operator is recorded whose backward will read a tensor (one of its inputs, or a result,
/// which it gets without history), `unpack` when backward reads it; that must give a tensor of the same shape and
/// dtype.
struct SavedTensorHooks {
  std::function<PackedTensor(const Tensor& tensor)> pack;
  std::function<Tensor(const PackedTensor& packed)> unpack;
};

/// While it lives, this thread's operators keep what they save through these hooks; of nested ones the one entered last
/// counts, in whatever order they end. To be destroyed by the thread that made it.
class SavedTensorScope {
 public:
  explicit SavedTensorScope(SavedTensorHooks hooks);
  ~SavedTensorScope();
  SavedTensorScope(const SavedTensorScope&) = delete;
  SavedTensorScope& operator=(const SavedTensorScope&) = delete;

 private:
  const std::shared_ptr<const SavedTensorHooks> hooks_;
};

/// Whether backward may read values of tensors that were changed in place meanwhile (it then reads what they were, as
/// no value ever changes); otherwise it raises as PyTorch's does.
bool is_saved_mutation_allowed();
void set_saved_mutation_allowed(bool allowed);

}  // namespace pycnn::autograd
