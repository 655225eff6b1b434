// The autocast state of a thread as recording, differentiation and captures see it.
#pragma once

#include <array>
#include <optional>
#include <unordered_map>

#include "graph/node.h"

namespace pycnn::graph {

/// The dtype that autocast wants of matrix products, if it is on and no gradient operator is being recorded.
std::optional<DType> active_autocast(DeviceType device);
/// The same of all device types.
using AutocastSettings = std::array<std::optional<DType>, 2>;
AutocastSettings autocast_settings();
/// `input` in that dtype: from the cache if it is a weight whose cast is there.
Tensor cast_for_autocast(const Tensor& input, DType dtype);

/// Sets, while it lives, whether autocast leaves this thread's operators alone: those that a backward records run in
/// the dtypes they are given.
class AutocastSuspension {
 public:
  explicit AutocastSuspension(bool suspended);
  ~AutocastSuspension();
  AutocastSuspension(const AutocastSuspension&) = delete;
  AutocastSuspension& operator=(const AutocastSuspension&) = delete;

 private:
  bool previous_;
};

/// A weight's cast and the value it was made of.
struct CachedCast {
  std::weak_ptr<Node> source;
  int index;
  Tensor result;
};
/// One per weight, so that the casts of values a weight had before go.
using CastCache = std::unordered_map<const Cell*, CachedCast>;
/// Exchanges this thread's cache: what a capture records must not read casts made before, nor leave its own behind.
void swap_autocast_cache(CastCache& cache);

}  // namespace pycnn::graph
