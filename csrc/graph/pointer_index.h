// A map from addresses, for what is done at each evaluation.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace pycnn::graph {

/// From addresses to numbers, by open addressing.
class PointerIndex {
 public:
  explicit PointerIndex(size_t expected) : slots_(std::bit_ceil(2 * expected + 16), Slot{nullptr, -1}) {}
  /// The key's number, or -1.
  int find(const void* key) const { return slots_[place(key)].number; }
  /// The key's number; `number` from now on if it had none.
  int insert(const void* key, int number) {
    if (2 * count_ >= slots_.size()) grow();
    Slot& slot = slots_[place(key)];
    if (slot.key != nullptr) return slot.number;
    slot = {key, number};
    ++count_;
    return number;
  }
  void set(const void* key, int number) { slots_[place(key)].number = number; }

 private:
  struct Slot {
    const void* key;
    int number;
  };
  size_t place(const void* key) const {
    const size_t mask = slots_.size() - 1;
    size_t at = (reinterpret_cast<uintptr_t>(key) >> 4) * 0x9E3779B97F4A7C15ULL >> 32 & mask;
    while (slots_[at].key != nullptr && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size(), Slot{nullptr, -1});
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.key != nullptr) slots_[place(slot.key)] = slot;
  }
  std::vector<Slot> slots_;
  size_t count_ = 0;
};

}  // namespace pycnn::graph
