// What autocast does to an operator's operands. Every operator that has a rule asks at its start:
//
//     if (const auto operands = ops::autocast("mm", a, b)) return mm((*operands)[0], (*operands)[1]);
#pragma once

#include <optional>
#include <span>

#include "graph/autocast.h"
#include "pycnn/autocast.h"
#include "pycnn/tensor.h"

namespace pycnn::ops {

/// The operands in the dtypes that autocast's rule for the operator (PyTorch's name) asks for; nothing if there is no
/// rule, they have them, or autocast is off where they are.
std::optional<Tensors> autocast_operands(const char* name, std::span<const Tensor> operands);

/// The same in any thread. Undefined tensors stay undefined.
inline std::optional<Tensors> autocast(const char* name, std::span<const Tensor> operands) {
  if (!is_autocast_enabled(DeviceType::Cpu) && !is_autocast_enabled(DeviceType::Cuda)) return {};
  return autocast_operands(name, operands);
}
template <typename... Operands>
std::optional<Tensors> autocast(const char* name, const Operands&... operands) {
  if (!is_autocast_enabled(DeviceType::Cpu) && !is_autocast_enabled(DeviceType::Cuda)) return {};
  return autocast_operands(name, Tensors{operands...});
}

}  // namespace pycnn::ops
