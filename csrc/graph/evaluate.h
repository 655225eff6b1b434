// From pending nodes to values: collect, find or make the plan, run it, publish.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "graph/node.h"

namespace pycnn::graph {

class Plan;

/// Computes the requested values, and with them this thread's other pending work that somebody holds.
void evaluate_values(std::span<const Value> requested);

/// Notes a freshly recorded node as pending in this thread; evaluates at once in eager mode or when too much is
/// pending.
void note_pending(const std::shared_ptr<Node>& node);

/// While it lives, this thread's pending work is not bounded by its bytes. A walk that records gradients holds on to
/// whatever it has met; cut in the middle, its work would keep every value until the end.
class UnboundedBytes {
 public:
  UnboundedBytes();
  ~UnboundedBytes();
  UnboundedBytes(const UnboundedBytes&) = delete;
  UnboundedBytes& operator=(const UnboundedBytes&) = delete;
};

/// Enqueues what this thread has recorded for GPUs, in their present streams. Values that fail stay pending: whoever
/// asks for them hears of it.
void enqueue_pending_work();

/// A plan apart from the values it was first run with.
struct Computation {
  std::shared_ptr<const Plan> plan;
  size_t input_count = 0;
  std::vector<Value> inputs, results;
  struct Form {
    Shape shape;
    DType dtype;
  };
  std::vector<Form> forms;  ///< of the results
};

/// Computes the requested values, and nothing else, and says how: one computation per device, in the order in which
/// they may run. Throws if another value is held that was recorded since `first_sequence`.
std::vector<Computation> evaluate_captured(std::span<const Value> requested, uint64_t first_sequence);
/// A variable's next value while it is computed: pending for everybody, and claimed.
struct Placeholder {
  Value value, previous;
  int result;  ///< of all computations, counted through
};
Placeholder make_placeholder(const Value& previous, int result);

/// What a thread is computing while this lives. A forked child has no such thread: there, what was claimed is pending
/// again (placeholders have their previous values), or lost if the plan was overwriting its inputs.
class Claim {
 public:
  /// The first with the graph's mutex held.
  explicit Claim(std::span<const std::shared_ptr<Node>> nodes);
  explicit Claim(std::span<const Placeholder> placeholders);
  ~Claim();
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  struct Entry {
    std::thread::id thread;
    std::span<const std::shared_ptr<Node>> nodes;
    std::span<const Placeholder> placeholders;
    std::atomic<bool> overwriting{false};  ///< set by Plan::run
  };
  std::atomic<bool>& overwriting() { return entry_->overwriting; }

 private:
  std::list<Entry>::iterator entry_;
};

struct CapturedInput {
  Value value = {};          ///< none: what an earlier computation gave
  int result = -1;           ///< of all computations, counted through
  bool overwritten = false;  ///< may be written over if nobody but the caller's two references sees it
};

/// Runs them on other values of the same form, each computation's inputs one after the other, and publishes the
/// placeholders, which `claim` holds; after an exception they have their previous values.
std::vector<Buffer> run_captured(std::span<const Computation> computations, std::span<const CapturedInput> inputs,
                                 std::span<const Placeholder> placeholders, Claim& claim);
/// What the next recorded node's sequence number will be at least.
uint64_t next_sequence();

struct Counters {
  std::atomic<uint64_t> plans_compiled{0}, plans_run{0}, plan_cache_hits{0}, nodes_recorded{0}, nodes_evaluated{0},
      steps_run{0}, buffers_donated{0}, operands_packed{0}, graphs_captured{0}, graphs_launched{0};
};
Counters& counters();

}  // namespace pycnn::graph
