// From formula and slots to what the interpreter takes: merged loops, allotted registers.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "graph/program_builder.h"
#include "graph/slot.h"
#include "kernels/kernels.h"
#include "pycnn/device.h"
#include "tensor/storage.h"

namespace pycnn::graph {

/// Addresses of the plan's buffers while it runs.
struct Addresses {
  std::span<void* const> buffers;
  void* workspace = nullptr;
  /// Storages of the buffers that no step writes; null for the others.
  std::span<Storage* const> unchanged;
  Device device = {};
  /// Null while planning, when there are no buffers yet.
  void* of(const Slot& slot) const {
    if (buffers.empty()) return nullptr;
    return static_cast<char*>(buffers[static_cast<size_t>(slot.buffer)]) +
           slot.offset * static_cast<int64_t>(size_of(slot.dtype));
  }
};

/// A pointwise program as the planner sees it: formula, and the slots its Load and Store refer to.
struct Formulation {
  ProgramBuilder formula;
  std::vector<Slot> operands;  ///< inputs and outputs; all expanded to `shape`
  Shape shape;
};

/// A formula over an iteration space, ready for the interpreter but for its pointers.
class CompiledProgram {
 public:
  struct Options {
    std::span<const int> order;       ///< dimensions from outermost to innermost
    bool keep_innermost = false;      ///< the last one stays a loop of its own (epilogues)
    uint32_t split = 0;               ///< dimensions merged only among their like (what a reduction reduces)
    const Slot* reference = nullptr;  ///< if set, it alone decides which dimensions merge; other slots must follow
    bool allow_extra = false;         ///< more than max_loops loops are run as several launches
    std::span<const int> live = {};   ///< expressions needed after the program, besides what is stored
  };
  /// False if the slots need more loops or the formula more registers or operands than a device has.
  bool compile(const Formulation& formulation, const Options& options);
  /// Fills `operands` (max_operands entries) and returns arguments that point at them.
  kernels::PointwiseArguments arguments(const Addresses& addresses, kernels::Operand* operands) const;
  /// Calls launch(arguments) once per index of the loops beyond max_loops.
  template <typename Launch>
  void for_each_launch(const Addresses& addresses, const Launch& launch) const {
    kernels::Operand operands[kernels::max_operands];
    kernels::PointwiseArguments launched = arguments(addresses, operands);
    visit_extra(0, launched, [&] { launch(launched); });
  }

  int loops() const { return sizes_.size() - extra_; }
  bool has_extra_loops() const { return extra_ > 0; }
  /// The stride of a slot (of the iteration's shape) along a loop.
  int64_t stride(const Slot& slot, int loop) const;
  bool is_split(int loop) const { return splits_[static_cast<size_t>(loop + extra_)]; }
  /// Where the expressions asked for in Options::live are, in that order.
  const std::vector<uint8_t>& live_registers() const { return live_registers_; }
  /// The instructions in words, "r2=multiply(r0,r1)".
  std::string text() const;

 private:
  bool allot_registers(const Formulation& formulation, std::span<const int> live);
  template <typename Visit>
  void visit_extra(int loop, kernels::PointwiseArguments& launched, const Visit& visit) const {
    if (loop == extra_) return visit();
    for (int64_t i = 0; i < sizes_[loop]; ++i) {
      visit_extra(loop + 1, launched, visit);
      move(launched, loop, 1);
    }
    move(launched, loop, -sizes_[loop]);
  }
  void move(kernels::PointwiseArguments& launched, int loop, int64_t steps) const;

  std::vector<kernels::Instruction> code_;
  std::vector<Slot> slots_;       ///< the operands in use
  std::vector<Strides> strides_;  ///< of each, over all loops
  Dimensions sizes_;              ///< of all loops, the extra ones first
  Dimensions innermost_;          ///< for each loop, the innermost dimension merged into it (-1: none)
  std::vector<bool> splits_;
  int extra_ = 0;
  int registers_ = 0;
  std::vector<uint8_t> live_registers_;
};

}  // namespace pycnn::graph
