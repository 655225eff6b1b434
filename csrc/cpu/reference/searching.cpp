// Selection of the smallest or largest elements of a line, and search in sorted lines.
#include <algorithm>
#include <utility>

#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::reference {
namespace {

using kernels::SearchArguments;
using kernels::SelectArguments;

template <typename T>
using Entry = std::pair<T, int64_t>;

/// Ascending, NaN last; descending, NaN first.
template <typename T>
bool before(T a, T b) {
  return (a == a && b != b) || a < b;
}
template <typename T>
bool before_descending(T a, T b) {
  return (a != a && b == b) || a > b;
}

/// A full selection pays unless few are wanted.
constexpr int64_t few = 64;

template <typename T, typename Before>
void rank(Entry<T>* entries, int64_t count, int64_t selected, const Before& comes_before) {
  const auto compare = [&](const Entry<T>& a, const Entry<T>& b) { return comes_before(a.first, b.first); };
  if (selected * few <= count) {
    std::partial_sort(entries, entries + selected, entries + count, compare);
  } else {
    std::nth_element(entries, entries + selected - 1, entries + count, compare);
    std::sort(entries, entries + selected - 1, compare);
  }
}

/// Brings the entry of that rank to its place (Hoare 1961, with the median of three as pivot).
template <typename T>
void partition_at(Entry<T>* entries, int64_t count, int64_t wanted) {
  const auto greater = [&](int64_t a, int64_t b) { return before(entries[b].first, entries[a].first); };
  const auto order = [&](int64_t low, int64_t high) {
    if (greater(low, high)) std::swap(entries[low], entries[high]);
  };
  int64_t left = 0, right = count - 1;
  while (right > left + 1) {
    std::swap(entries[left + (right - left) / 2], entries[left + 1]);
    order(left + 1, right);
    order(left, right);
    order(left + 1, left);
    int64_t up = left + 1, down = right;
    while (true) {
      do ++up;
      while (greater(left, up));
      do --down;
      while (greater(down, left));
      if (down < up) break;
      std::swap(entries[up], entries[down]);
    }
    std::swap(entries[left], entries[down]);
    if (down <= wanted) left = up;
    if (down >= wanted) right = down - 1;
  }
  if (right == left + 1) order(left, right);
}

template <typename T>
void select_all(const SelectArguments& g) {
  static_assert(sizeof(Entry<T>) <= 16);
  parallel_for(g.lines, [&](int64_t line) {
    const T* x = static_cast<const T*>(g.input) + line * g.count;
    auto* entries = reinterpret_cast<Entry<T>*>(static_cast<char*>(g.workspace) + line * g.count * 16);
    for (int64_t i = 0; i < g.count; ++i) entries[i] = {x[i], i};
    if (g.kind == kernels::SelectKind::Last) {
      partition_at(entries, g.count, g.selected - 1);
      g.indices[line] = entries[g.selected - 1].second;
      return;
    }
    if (g.largest)
      rank(entries, g.count, g.selected, before_descending<T>);
    else
      rank(entries, g.count, g.selected, before<T>);
    for (int64_t i = 0; i < g.selected; ++i) g.indices[line * g.selected + i] = entries[i].second;
  });
}

/// Values that a task takes.
constexpr int64_t values_at_once = 1024;

template <typename T>
void search_all(const SearchArguments& g) {
  const int64_t blocks = (g.values_per_line + values_at_once - 1) / values_at_once;
  parallel_for(g.lines * blocks, [&](int64_t task) {
    const int64_t line = task / blocks, begin = task % blocks * values_at_once;
    const int64_t end = std::min(begin + values_at_once, g.values_per_line);
    const T* boundaries = static_cast<const T*>(g.boundaries) + (g.shared ? 0 : line * g.count);
    for (int64_t i = line * g.values_per_line + begin; i < line * g.values_per_line + end; ++i) {
      const T value = static_cast<const T*>(g.values)[i];
      // A step is added or not, without a branch. What does not compare (NaN) is behind all boundaries.
      int64_t place = 0;
      for (int64_t left = g.count; left > 0;) {
        const int64_t half = left / 2;
        const T middle = boundaries[place + half];
        const bool behind = g.right ? !(middle > value) : !(middle >= value);
        place = behind ? place + half + 1 : place;
        left = behind ? left - half - 1 : half;
      }
      g.places[i] = place;
    }
  });
}

}  // namespace

void select(const SelectArguments& g) {
  if (g.dtype == DType::Float32)
    select_all<float>(g);
  else if (g.dtype == DType::Float64)
    select_all<double>(g);
  else
    select_all<int64_t>(g);
}

void search(const SearchArguments& g) {
  if (g.dtype == DType::Float32)
    search_all<float>(g);
  else if (g.dtype == DType::Float64)
    search_all<double>(g);
  else
    search_all<int64_t>(g);
}

}  // namespace pycnn::cpu::reference
