#include "graph/compiled_program.h"

#include <algorithm>
#include <bit>

namespace pycnn::graph {
namespace {

int operand_count(Opcode opcode) {
  constexpr int counts[] = {
#define PYCNN_OPERANDS(name, operands) operands,
      PYCNN_OPCODES(PYCNN_OPERANDS)
#undef PYCNN_OPERANDS
  };
  return counts[static_cast<size_t>(opcode)];
}

const char* name_of(Opcode opcode) {
  constexpr const char* names[] = {
#define PYCNN_NAME(name, operands) #name,
      PYCNN_OPCODES(PYCNN_NAME)
#undef PYCNN_NAME
  };
  return names[static_cast<size_t>(opcode)];
}

}  // namespace

std::string CompiledProgram::text() const {
  std::string text;
  for (const kernels::Instruction& instruction : code_) {
    if (!text.empty()) text += ' ';
    if (instruction.opcode != Opcode::Store) text += "r" + std::to_string(instruction.destination) + "=";
    text += name_of(instruction.opcode);
    std::string arguments;
    for (int k = 0; k < operand_count(instruction.opcode); ++k)
      arguments += (k > 0 ? ",r" : "r") + std::to_string(instruction.operands[k]);
    if (instruction.opcode == Opcode::Load || instruction.opcode == Opcode::Store)
      arguments += (arguments.empty() ? "b" : ",b") + std::to_string(slots_[instruction.index].buffer);
    if (instruction.opcode == Opcode::Constant)
      arguments = instruction.type == RegisterType::I64 ? std::to_string(instruction.integer)
                                                        : std::to_string(instruction.floating);
    text += "(" + arguments + ")";
  }
  return text;
}

bool CompiledProgram::compile(const Formulation& formulation, const Options& options) {
  // Which operands are in use after dead code is gone is known only with the registers: allot them first.
  slots_.clear();
  if (!allot_registers(formulation, options.live)) return false;
  if (slots_.size() > static_cast<size_t>(kernels::max_operands)) return false;

  sizes_ = {};
  innermost_ = {};
  splits_.clear();
  const Shape& shape = formulation.shape;
  const auto merges = [&](const Slot& slot, int outer, int inner) {
    return slot.strides[outer] == slot.strides[inner] * shape[inner];
  };
  for (size_t i = 0; i < options.order.size(); ++i) {
    const int d = options.order[i];
    const bool alone = options.keep_innermost && i + 1 == options.order.size();
    if (shape[d] == 1 && !alone) continue;
    const bool split = (options.split >> d & 1U) != 0;
    bool merge = !alone && innermost_.size() > 0 && splits_.back() == split;
    if (merge) {
      const int outer = static_cast<int>(innermost_.back());
      if (options.reference != nullptr) {
        merge = merges(*options.reference, outer, d);
        if (merge &&
            !std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) { return merges(slot, outer, d); }))
          return false;
      } else {
        merge = std::all_of(slots_.begin(), slots_.end(), [&](const Slot& slot) { return merges(slot, outer, d); });
      }
    }
    if (merge) {
      sizes_[sizes_.size() - 1] *= shape[d];
      innermost_[innermost_.size() - 1] = d;
    } else {
      sizes_.push_back(shape[d]);
      innermost_.push_back(d);
      splits_.push_back(split);
    }
  }
  const int required = options.keep_innermost ? 2 : 1;
  while (sizes_.size() < required) {
    sizes_.insert(0, 1);
    innermost_.insert(0, -1);
    splits_.insert(splits_.begin(), false);
  }
  extra_ = std::max(0, sizes_.size() - kernels::max_loops);
  if (extra_ > 0 && !options.allow_extra) return false;
  strides_.clear();
  for (const Slot& slot : slots_) {
    Strides strides = Dimensions::filled(sizes_.size(), 0);
    for (int loop = 0; loop < sizes_.size(); ++loop)
      if (innermost_[loop] >= 0 && sizes_[loop] != 1) strides[loop] = slot.strides[static_cast<int>(innermost_[loop])];
    strides_.push_back(strides);
  }
  return true;
}

bool CompiledProgram::allot_registers(const Formulation& formulation, std::span<const int> live) {
  const std::vector<ProgramBuilder::Step>& steps = formulation.formula.steps();
  // Equal loads and constants are one; what nobody stores is dropped.
  std::vector<int> same(steps.size());
  std::vector<int> distinct;
  const auto equal = [&](const ProgramBuilder::Step& a, const ProgramBuilder::Step& b) {
    if (a.opcode != b.opcode || a.type != b.type) return false;
    if (a.opcode == Opcode::Load) return a.index == b.index;
    return std::bit_cast<uint64_t>(a.floating) == std::bit_cast<uint64_t>(b.floating) && a.integer == b.integer;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    same[i] = static_cast<int>(i);
    if (steps[i].opcode != Opcode::Load && steps[i].opcode != Opcode::Constant) continue;
    const auto found = std::find_if(distinct.begin(), distinct.end(),
                                    [&](int j) { return equal(steps[static_cast<size_t>(j)], steps[i]); });
    if (found == distinct.end())
      distinct.push_back(static_cast<int>(i));
    else
      same[i] = *found;
  }
  std::vector<int> last_use(steps.size(), -1);
  const auto forever = static_cast<int>(steps.size());
  for (const int expression : live) last_use[static_cast<size_t>(same[static_cast<size_t>(expression)])] = forever;
  for (size_t i = steps.size(); i-- > 0;) {
    if (steps[i].opcode == Opcode::Store) last_use[i] = static_cast<int>(i);
    if (last_use[i] < 0) continue;
    for (int k = 0; k < operand_count(steps[i].opcode); ++k) {
      int& use = last_use[static_cast<size_t>(same[static_cast<size_t>(steps[i].operands[k])])];
      use = std::max(use, static_cast<int>(i));
    }
  }
  // Loop-invariant values get registers of their own, so that the interpreter may fill them once.
  std::vector<int> slot_index(formulation.operands.size(), -1);
  const auto is_invariant = [&](size_t i) {
    if (steps[i].opcode == Opcode::Constant) return true;
    if (steps[i].opcode != Opcode::Load) return false;
    const Slot& slot = formulation.operands[static_cast<size_t>(steps[i].index)];
    return std::all_of(slot.strides.begin(), slot.strides.end(), [](int64_t stride) { return stride == 0; });
  };
  std::vector<int> registers(steps.size(), -1);
  std::vector<bool> taken(kernels::max_registers, false);
  const auto take = [&] {
    for (size_t r = 0; r < taken.size(); ++r)
      if (!taken[r]) {
        taken[r] = true;
        registers_ = std::max(registers_, static_cast<int>(r) + 1);
        return static_cast<int>(r);
      }
    return -1;
  };
  registers_ = 0;
  code_.clear();
  for (size_t i = 0; i < steps.size(); ++i)
    if (last_use[i] >= 0 && is_invariant(i) && (registers[i] = take()) < 0) return false;
  for (size_t i = 0; i < steps.size(); ++i) {
    const ProgramBuilder::Step& step = steps[i];
    if (last_use[i] < 0) continue;
    kernels::Instruction instruction{};
    instruction.opcode = step.opcode;
    instruction.type = step.type;
    instruction.source = step.source;
    const auto release_operands = [&] {
      for (int k = 0; k < operand_count(step.opcode); ++k) {
        const auto operand = static_cast<size_t>(same[static_cast<size_t>(step.operands[k])]);
        if (last_use[operand] == static_cast<int>(i) && !is_invariant(operand))
          taken[static_cast<size_t>(registers[operand])] = false;
      }
    };
    for (int k = 0; k < operand_count(step.opcode); ++k)
      instruction.operands[k] =
          static_cast<uint8_t>(registers[static_cast<size_t>(same[static_cast<size_t>(step.operands[k])])]);
    // A conversion between registers of different width cannot work in place.
    const bool in_place = step.opcode != Opcode::Convert;
    if (in_place) release_operands();
    if (step.opcode != Opcode::Store && registers[i] < 0 && (registers[i] = take()) < 0) return false;
    if (!in_place) release_operands();
    instruction.destination = step.opcode == Opcode::Store ? 0 : static_cast<uint8_t>(registers[i]);
    if (step.opcode == Opcode::Load || step.opcode == Opcode::Store) {
      int& index = slot_index[static_cast<size_t>(step.index)];
      if (index < 0) {
        index = static_cast<int>(slots_.size());
        slots_.push_back(formulation.operands[static_cast<size_t>(step.index)]);
      }
      instruction.index = static_cast<uint8_t>(index);
    } else {
      instruction.index = static_cast<uint8_t>(step.index);
    }
    if (step.opcode == Opcode::Constant) {
      if (step.type == RegisterType::I64)
        instruction.integer = step.integer;
      else
        instruction.floating = step.floating;
    }
    code_.push_back(instruction);
  }
  live_registers_.clear();
  for (const int expression : live)
    live_registers_.push_back(
        static_cast<uint8_t>(registers[static_cast<size_t>(same[static_cast<size_t>(expression)])]));
  return slots_.size() <= static_cast<size_t>(kernels::max_operands) &&
         code_.size() <= static_cast<size_t>(kernels::max_instructions);
}

int64_t CompiledProgram::stride(const Slot& slot, int loop) const {
  const auto dimension = static_cast<int>(innermost_[loop + extra_]);
  return dimension < 0 || slot.shape[dimension] == 1 ? 0 : slot.strides[dimension];
}

kernels::PointwiseArguments CompiledProgram::arguments(const Addresses& addresses, kernels::Operand* operands) const {
  kernels::PointwiseArguments result{};
  result.code = code_.data();
  result.code_size = static_cast<int>(code_.size());
  result.registers = registers_;
  result.operands = operands;
  result.operand_count = static_cast<int>(slots_.size());
  result.loops = loops();
  for (int loop = 0; loop < result.loops; ++loop) result.sizes[loop] = sizes_[loop + extra_];
  for (size_t i = 0; i < slots_.size(); ++i) {
    operands[i].data = addresses.of(slots_[i]);
    operands[i].dtype = slots_[i].dtype;
    for (int loop = 0; loop < result.loops; ++loop) operands[i].strides[loop] = strides_[i][loop + extra_];
  }
  return result;
}

void CompiledProgram::move(kernels::PointwiseArguments& launched, int loop, int64_t steps) const {
  for (size_t i = 0; i < slots_.size(); ++i)
    launched.operands[i].data = static_cast<char*>(launched.operands[i].data) +
                                steps * strides_[i][loop] * static_cast<int64_t>(size_of(slots_[i].dtype));
}

}  // namespace pycnn::graph
