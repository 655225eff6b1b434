// What autocast does to an operator's operands. Every operator that has a rule asks at its start:
//
//     if (const auto operands = ops::autocast("mm", a, b)) return mm((*operands)[0], (*operands)[1]);
#pragma once

#include <optional>
#include <span>

#include "graph/autocast.h"
#include "pycnn/tensor.h"

namespace pycnn::ops {

/// The operands in the dtypes that autocast's rule for the operator (PyTorch's name) asks for; nothing if there is no
/// rule or they have them. For threads in which autocast is on.
std::optional<Tensors> autocast_operands(const char* name, std::span<const Tensor> operands);

/// The same in any thread. Undefined tensors stay undefined.
template <typename... Operands>
std::optional<Tensors> autocast(const char* name, const Operands&... operands) {
  if (!graph::active_autocast()) return {};
  return autocast_operands(name, Tensors{operands...});
}
inline std::optional<Tensors> autocast(const char* name, std::span<const Tensor> operands) {
  if (!graph::active_autocast()) return {};
  return autocast_operands(name, operands);
}

}  // namespace pycnn::ops
