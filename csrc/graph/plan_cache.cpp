#include "graph/plan_cache.h"

#include <iterator>
#include <mutex>

namespace pycnn::graph {
namespace {

uint64_t hash_of(const std::vector<uint64_t>& words) {
  uint64_t hash = 0x9E3779B97F4A7C15ULL;
  for (uint64_t word : words) {
    hash ^= word;
    hash *= 0xFF51AFD7ED558CCDULL;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

std::shared_ptr<const Plan> PlanCache::find(const std::vector<uint64_t>& key) {
  const uint64_t hash = hash_of(key);
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto entry = begin; entry != end; ++entry)
    if (entry->second->key == key) {
      recent_.splice(recent_.begin(), recent_, entry->second);
      return entry->second->plan;
    }
  return nullptr;
}

void PlanCache::insert(std::vector<uint64_t> key, std::shared_ptr<const Plan> plan) {
  const uint64_t hash = hash_of(key);
  const std::lock_guard lock(mutex_);
  recent_.push_front({std::move(key), std::move(plan)});
  by_hash_.emplace(hash, recent_.begin());
  if (recent_.size() <= capacity) return;
  const auto oldest = std::prev(recent_.end());
  for (auto entry = by_hash_.begin(); entry != by_hash_.end(); ++entry)
    if (entry->second == oldest) {
      by_hash_.erase(entry);
      break;
    }
  recent_.pop_back();
}

void PlanCache::clear() {
  const std::lock_guard lock(mutex_);
  by_hash_.clear();
  recent_.clear();
}

// Never destroyed: threads may evaluate while static objects go.
PlanCache& plan_cache() {
  static PlanCache* instance = new PlanCache;
  return *instance;
}

}  // namespace pycnn::graph
