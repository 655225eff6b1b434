#include "graph/slot.h"

#include <algorithm>
#include <vector>

namespace pycnn::graph {

bool same_layout(const Slot& slot, const Strides& strides) {
  for (int d = 0; d < slot.shape.size(); ++d)
    if (slot.shape[d] != 1 && slot.strides[d] != strides[d]) return false;
  return true;
}

bool same_window(const Slot& a, const Slot& b) {
  return a.buffer == b.buffer && a.offset == b.offset && a.dtype == b.dtype && a.shape == b.shape &&
         a.strides == b.strides;
}

int64_t Slot::count(int begin, int end) const {
  int64_t count = 1;
  for (int d = begin; d < end; ++d) count *= shape[d];
  return count;
}

bool Slot::merge(int begin, int end, int64_t& stride) const {
  stride = 0;
  int64_t next = 0;
  bool first = true;
  for (int d = end - 1; d >= begin; --d) {
    if (shape[d] == 1) continue;
    if (first)
      stride = strides[d];
    else if (strides[d] != next)
      return false;
    next = strides[d] * shape[d];
    first = false;
  }
  return true;
}

bool Slot::is_contiguous() const { return count() == 0 || same_layout(*this, contiguous_strides(shape)); }

bool Slot::is_channels_last() const { return count() == 0 || same_layout(*this, channels_last_strides(shape)); }

bool Slot::is_dense() const {
  int64_t expected = 1;
  Dimensions sizes, steps;
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == 0) return true;
    if (shape[d] == 1) continue;
    sizes.push_back(shape[d]);
    steps.push_back(strides[d]);
  }
  for (int done = 0; done < sizes.size(); ++done) {
    int next = -1;
    for (int d = 0; d < sizes.size(); ++d)
      if (steps[d] == expected) next = d;
    if (next < 0) return false;
    expected *= sizes[next];
    steps[next] = -1;
  }
  return true;
}

Slot Slot::permuted(std::span<const int64_t> order) const {
  Slot result = *this;
  for (int d = 0; d < shape.size(); ++d) {
    result.shape[d] = shape[static_cast<int>(order[static_cast<size_t>(d)])];
    result.strides[d] = strides[static_cast<int>(order[static_cast<size_t>(d)])];
  }
  return result;
}

Slot Slot::expanded(const Shape& target) const {
  Slot result = *this;
  result.shape = target;
  result.strides = Dimensions::filled(target.size(), 0);
  const int shift = target.size() - shape.size();
  for (int d = 0; d < shape.size(); ++d)
    if (shape[d] == target[d + shift]) result.strides[d + shift] = strides[d];
  return result;
}

Slot Slot::sliced(int dimension, int64_t begin, int64_t size, int64_t step) const {
  Slot result = *this;
  result.offset += begin * strides[dimension];
  result.shape[dimension] = size;
  result.strides[dimension] = strides[dimension] * step;
  return result;
}

Slot Slot::squeezed(int dimension) const {
  Slot result = *this;
  result.shape.erase(dimension);
  result.strides.erase(dimension);
  return result;
}

Slot Slot::unsqueezed(int dimension) const {
  Slot result = *this;
  result.shape.insert(dimension, 1);
  result.strides.insert(dimension, 1);
  return result;
}

Slot Slot::reshaped(const Shape& target) const {
  Slot result = *this;
  result.shape = target;
  result.strides = contiguous_strides(target);
  if (count() == 0 || is_contiguous()) return result;
  // Walk both shapes from the back, matching runs of source dimensions that are contiguous among themselves.
  int from = shape.size() - 1;
  int to = target.size() - 1;
  while (from >= 0 || to >= 0) {
    while (from >= 0 && shape[from] == 1) --from;
    while (to >= 0 && target[to] == 1) result.strides[to--] = 1;
    if (from < 0 || to < 0) break;
    int64_t source_run = shape[from];
    int64_t target_run = target[to];
    const int64_t innermost = strides[from];
    const int first_target = to;
    int inner = from;
    while (source_run != target_run) {
      if (source_run < target_run) {
        --from;
        while (from >= 0 && shape[from] == 1) --from;
        if (from < 0 || strides[from] != strides[inner] * shape[inner]) {
          result.buffer = -1;
          return result;
        }
        inner = from;
        source_run *= shape[from];
      } else {
        target_run *= target[--to];
      }
    }
    int64_t step = innermost;
    for (int d = first_target; d >= to; --d) {
      result.strides[d] = step;
      step *= target[d];
    }
    --from;
    --to;
  }
  return result;
}

Slot Slot::seen_through(const Slot& copy, const Slot& source) const {
  Slot result = source;
  result.buffer = -1;
  if (dtype != copy.dtype || dtype != source.dtype || count() == 0) return result;
  // Positions in the copy are numbers whose digits are its coordinates, the largest stride first. Digits that lie in
  // the source as one are one.
  struct Digit {
    int64_t size, step, source_step, highest;
  };
  std::vector<Digit> digits;
  for (int d = 0; d < copy.shape.size(); ++d)
    if (copy.shape[d] != 1) digits.push_back({copy.shape[d], copy.strides[d], source.strides[d], 0});
  std::sort(digits.begin(), digits.end(), [](const Digit& a, const Digit& b) { return a.step > b.step; });
  size_t merged = 0;
  for (const Digit& digit : digits) {
    if (merged > 0 && digits[merged - 1].source_step == digit.source_step * digit.size)
      digits[merged - 1] = {digits[merged - 1].size * digit.size, digit.step, digit.source_step, 0};
    else
      digits[merged++] = digit;
  }
  digits.resize(merged);
  int64_t left = offset - copy.offset;
  for (Digit& digit : digits) {
    digit.highest = left / digit.step;
    left %= digit.step;
    result.offset += digit.highest * digit.source_step;
  }
  // Each dimension counts in one digit, and no digit may overflow.
  result.shape = shape;
  result.strides = contiguous_strides(shape);
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    const auto digit =
        std::find_if(digits.begin(), digits.end(), [&](const Digit& one) { return one.step <= strides[d]; });
    if (strides[d] != 0 && (digit == digits.end() || strides[d] % digit->step != 0)) return result;
    const int64_t steps = strides[d] == 0 ? 0 : strides[d] / digit->step;
    result.strides[d] = strides[d] == 0 ? 0 : steps * digit->source_step;
    if (steps != 0) digit->highest += steps * (shape[d] - 1);
  }
  if (std::all_of(digits.begin(), digits.end(), [](const Digit& digit) { return digit.highest < digit.size; }))
    result.buffer = source.buffer;
  return result;
}

}  // namespace pycnn::graph
