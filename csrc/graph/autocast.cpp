#include "graph/autocast.h"

#include <utility>

#include "pycnn/autocast.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

struct Setting {
  bool enabled;
  DType dtype;
};

struct State {
  Setting settings[2] = {{false, DType::BFloat16}, {false, DType::Float16}};  ///< by DeviceType
  bool suspended = false;
  bool cache_enabled = true;
  int nesting = 0;
  graph::CastCache cache;
};

State& state() {
  thread_local State instance;
  return instance;
}

Setting& setting(DeviceType device) { return state().settings[static_cast<size_t>(device)]; }

}  // namespace

bool is_autocast_enabled(DeviceType device) { return setting(device).enabled; }
void set_autocast_enabled(bool enabled, DeviceType device) { setting(device).enabled = enabled; }
DType autocast_dtype(DeviceType device) { return setting(device).dtype; }
void set_autocast_dtype(DType dtype, DeviceType device) {
  check<ValueError>(is_floating_point(dtype), "set_autocast_dtype: expected a floating dtype, got ", dtype);
  setting(device).dtype = dtype;
}
bool is_autocast_cache_enabled() { return state().cache_enabled; }
void set_autocast_cache_enabled(bool enabled) { state().cache_enabled = enabled; }
void clear_autocast_cache() { state().cache.clear(); }
int increment_autocast_nesting() { return ++state().nesting; }
int decrement_autocast_nesting() { return --state().nesting; }

Autocast::Autocast(bool enabled, DType dtype, bool cache_enabled, DeviceType device)
    : device_(device),
      enabled_(is_autocast_enabled(device)),
      cache_enabled_(is_autocast_cache_enabled()),
      dtype_(autocast_dtype(device)) {
  check<ValueError>(!enabled || dtype == DType::BFloat16 || dtype == DType::Float16,
                    "autocast: expected bfloat16 or float16, got ", dtype);
  set_autocast_dtype(dtype, device);
  set_autocast_enabled(enabled, device);
  set_autocast_cache_enabled(cache_enabled);
  increment_autocast_nesting();
}

Autocast::~Autocast() {
  if (decrement_autocast_nesting() == 0) clear_autocast_cache();
  set_autocast_enabled(enabled_, device_);
  set_autocast_dtype(dtype_, device_);
  set_autocast_cache_enabled(cache_enabled_);
}

namespace graph {

AutocastSettings autocast_settings() { return {active_autocast(DeviceType::Cpu), active_autocast(DeviceType::Cuda)}; }

std::optional<DType> active_autocast(DeviceType device) {
  const Setting& s = setting(device);
  if (!s.enabled || state().suspended) return {};
  return s.dtype;
}

AutocastSuspension::AutocastSuspension(bool suspended) : previous_(std::exchange(state().suspended, suspended)) {}
AutocastSuspension::~AutocastSuspension() { state().suspended = previous_; }

void swap_autocast_cache(CastCache& cache) { state().cache.swap(cache); }

Tensor cast_for_autocast(const Tensor& input, DType dtype) {
  State& s = state();
  // Without gradients plans keep casts of weights themselves, from one evaluation to the next, unless somebody holds
  // them.
  const bool weight = s.cache_enabled && is_grad_enabled() && dtype == autocast_dtype(input.device().type) &&
                      input.dtype() == DType::Float32 && input.requires_grad() && input.is_leaf();
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
