#include "graph/autocast.h"

#include <utility>

#include "pycnn/autocast.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

struct State {
  bool enabled = false;
  bool suspended = false;
  bool cache_enabled = true;
  DType dtype = DType::BFloat16;
  int nesting = 0;
  graph::CastCache cache;
};

State& state() {
  thread_local State instance;
  return instance;
}

}  // namespace

bool is_autocast_enabled() { return state().enabled; }
void set_autocast_enabled(bool enabled) { state().enabled = enabled; }
DType autocast_dtype() { return state().dtype; }
void set_autocast_dtype(DType dtype) {
  check<ValueError>(is_floating_point(dtype), "set_autocast_dtype: expected a floating dtype, got ", dtype);
  state().dtype = dtype;
}
bool is_autocast_cache_enabled() { return state().cache_enabled; }
void set_autocast_cache_enabled(bool enabled) { state().cache_enabled = enabled; }
void clear_autocast_cache() { state().cache.clear(); }
int increment_autocast_nesting() { return ++state().nesting; }
int decrement_autocast_nesting() { return --state().nesting; }

Autocast::Autocast(bool enabled, DType dtype, bool cache_enabled)
    : enabled_(is_autocast_enabled()), cache_enabled_(is_autocast_cache_enabled()), dtype_(autocast_dtype()) {
  check<ValueError>(!enabled || dtype == DType::BFloat16 || dtype == DType::Float16,
                    "autocast: expected bfloat16 or float16, got ", dtype);
  set_autocast_dtype(dtype);
  set_autocast_enabled(enabled);
  set_autocast_cache_enabled(cache_enabled);
  increment_autocast_nesting();
}

Autocast::~Autocast() {
  if (decrement_autocast_nesting() == 0) clear_autocast_cache();
  set_autocast_enabled(enabled_);
  set_autocast_dtype(dtype_);
  set_autocast_cache_enabled(cache_enabled_);
}

namespace graph {

std::optional<DType> active_autocast() {
  const State& s = state();
  if (!s.enabled || s.suspended) return {};
  return s.dtype;
}

AutocastSuspension::AutocastSuspension(bool suspended) : previous_(std::exchange(state().suspended, suspended)) {}
AutocastSuspension::~AutocastSuspension() { state().suspended = previous_; }

void swap_autocast_cache(CastCache& cache) { state().cache.swap(cache); }

Tensor cast_for_autocast(const Tensor& input, DType dtype) {
  State& s = state();
  // Without gradients plans keep casts of weights themselves, from one evaluation to the next, unless somebody holds
  // them.
  const bool weight = s.cache_enabled && is_grad_enabled() && dtype == s.dtype && input.dtype() == DType::Float32 &&
                      input.requires_grad() && input.is_leaf();
  if (!weight) return cast(input, dtype);
  // A weight that was changed in place has another value.
  const Value& value = input.value();
  CachedCast& entry = s.cache[input.handle()->cell.get()];
  const bool valid = entry.result.defined() && entry.source.lock() == value.node && entry.index == value.index &&
                     entry.result.dtype() == dtype;
  if (!valid) entry = {value.node, value.index, cast(input, dtype)};
  return entry.result;
}

}  // namespace graph
}  // namespace pycnn
