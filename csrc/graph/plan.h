// A plan: primitives in order with every buffer placed. Compiled once per fingerprint, run with different values.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/captured_graphs.h"
#include "graph/fuse.h"

namespace pycnn::graph {

/// A value that the plan reads, as it lies in memory. Part of the fingerprint but for its address.
struct PlanInput {
  Shape shape;
  DType dtype;
  Strides strides;
  Device device;  ///< the plan's, or the CPU for a number (a 0-d tensor)
};

/// A node of the graph to be planned. Inputs refer to (node index, output) or, with node -1, to a plan input.
struct PlanNode {
  const Operator* op;
  struct Source {
    int node, index;
  };
  std::vector<Source> inputs;
  std::vector<bool> kept;  ///< per output
};

struct PlanResult {
  int node, index;
  Slot slot;
};

/// What running needs to know about the inputs.
struct RunInput {
  StoragePointer storage;
  int64_t offset;
  bool donatable;  ///< nobody but the plan refers to it: it may be overwritten in the last phase
};

class Plan {
 public:
  /// Lowers, fuses (if asked), orders and places.
  Plan(std::span<const PlanNode> nodes, std::span<const PlanInput> inputs, const Device& device, bool fused);

  /// Runs all steps and returns where each kept output lies, in the order of results(). Throws what a step throws, or
  /// Interrupted; no input has been overwritten then. Sets `overwriting` before one is.
  std::vector<Buffer> run(std::span<const RunInput> inputs, std::atomic<bool>& overwriting) const;
  const std::vector<PlanResult>& results() const { return results_; }
  std::string describe() const;

 private:
  struct BufferPlace {
    size_t bytes;
    int input = -1;     ///< among the plan's inputs
    bool kept = false;  ///< outlives the plan: storage of its own
    size_t arena_offset = 0;
    bool number = false;           ///< an input on the CPU that is copied to the plan's device, to arena_offset
    std::vector<int> donors = {};  ///< inputs whose memory it may take, the first that nobody else holds
  };
  void find_donations();
  void batch_last_phase();
  void place_buffers();
  void place_numbers(std::span<const PlanInput> inputs);
  void place_tables();
  void decide_care();
  void find_kept_casts();
  void prepare_graphs(std::span<const PlanInput> inputs);
  /// Lets a cast's result be what was kept of it, if that is there.
  bool use_kept_cast(size_t step, const Addresses& all, std::vector<void*>& addresses, std::vector<Storage*>& unchanged,
                     std::vector<StoragePointer>& casts) const;

  /// Lets buffers that wander (captured_graphs.h) lie in memory of their own, which is returned; inputs are copied
  /// there.
  StoragePointer settle(std::span<const size_t> wanderers, std::vector<void*>& addresses) const;

  const Device device_;
  const kernels::Kernels& kernels_;
  Primitives steps_;
  struct Care {
    bool asks;    ///< for interrupts before the step
    bool serial;  ///< it is so small that other threads are not worth waking
    bool cast;    ///< its result may be kept with the input that it is made of
  };
  std::vector<Care> care_;                  ///< of each step
  std::unique_ptr<CapturedGraphs> graphs_;  ///< none if the steps cannot be one, or are too few to pay
  size_t last_phase_ = 0;                   ///< index of the first step that may overwrite inputs
  std::vector<BufferPlace> buffers_;
  std::vector<size_t> input_widths_;  ///< bytes per element of each input
  std::vector<PlanResult> results_;
  size_t arena_bytes_ = 0;
  size_t numbers_begin_ = 0;  ///< in the arena
  StoragePointer tables_;     ///< of all steps, if they are not read where they are
  size_t workspace_bytes_ = 0;
};

/// Lowers nodes to primitives; friend of Lowering.
class Planner {
 public:
  Planner(std::span<const PlanNode> nodes, std::span<const PlanInput> inputs, const kernels::Kernels& kernels);
  Primitives take_primitives() { return std::move(lowering_.primitives_); }
  struct BufferInfo {
    size_t bytes;
    int input;
  };
  std::vector<BufferInfo> buffers() const;
  std::vector<PlanResult> results;

 private:
  Lowering lowering_;
};

}  // namespace pycnn::graph
