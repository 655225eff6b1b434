// What a capture notes while a function is recorded.
#pragma once

#include <functional>
#include <unordered_map>
#include <vector>

#include "graph/node.h"

namespace pycnn::graph {

struct CaptureLog {
  /// A variable that a value was read from, and the tensor that named it; either may be gone by now.
  struct Reader {
    std::weak_ptr<Cell> cell;
    std::weak_ptr<TensorHandle> handle;
  };
  /// Evaluated values that were used.
  std::unordered_map<const Output*, std::vector<Reader>> read;
  /// Values that a replay makes anew: random keys.
  std::unordered_map<const Output*, std::function<Value()>> renewed;
  /// All of them, so that no address is used twice.
  std::vector<Value> held;
  /// Variables that were bound to another value.
  std::vector<std::weak_ptr<Cell>> bound;
  /// Gradients that were set or accumulated, with what was there before the first change.
  std::vector<std::pair<std::shared_ptr<AutogradState>, Tensor>> gradients;
  uint64_t first_sequence = 0;  ///< nodes from here on were recorded by the function

  void note_read(const Value& value, const std::shared_ptr<TensorHandle>& handle);
  void note_renewed(const Value& value, std::function<Value()> renew);
  void note_gradient(const std::shared_ptr<AutogradState>& state);
};

/// The log of the capture this thread is in, or null.
CaptureLog*& capture_log();
/// Throws if this thread is capturing: a value is wanted that is not known yet.
void refuse_reading();

}  // namespace pycnn::graph
