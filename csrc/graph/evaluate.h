// From pending nodes to values: collect, find or make the plan, run it, publish.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "graph/node.h"

namespace pycnn::graph {

/// Computes the requested values, and with them this thread's other pending work that somebody holds.
void evaluate_values(std::span<const Value> requested);

/// Notes a freshly recorded node as pending in this thread; evaluates at once in eager mode or when too much is
/// pending.
void note_pending(const std::shared_ptr<Node>& node);

struct Counters {
  std::atomic<uint64_t> plans_compiled{0}, plans_run{0}, plan_cache_hits{0}, nodes_recorded{0}, nodes_evaluated{0},
      steps_run{0}, buffers_donated{0};
};
Counters& counters();

}  // namespace pycnn::graph
