// Plans by their fingerprints, which are compared in full.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "graph/plan.h"
#include "tensor/fork.h"

namespace pycnn::graph {

/// The plans that were used last, for all threads.
class PlanCache {
 public:
  /// Null if there is none.
  std::shared_ptr<const Plan> find(const std::vector<uint64_t>& key);
  void insert(std::vector<uint64_t> key, std::shared_ptr<const Plan> plan);
  void clear();

 private:
  static constexpr size_t capacity = 512;
  struct Entry {
    std::vector<uint64_t> key;
    std::shared_ptr<const Plan> plan;
  };
  ForkSafeMutex mutex_{ForkOrder::Plans};
  std::list<Entry> recent_;
  std::unordered_multimap<uint64_t, std::list<Entry>::iterator> by_hash_;
};

PlanCache& plan_cache();

}  // namespace pycnn::graph
