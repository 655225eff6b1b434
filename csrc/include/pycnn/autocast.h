// Mixed precision: a state of each thread in which operators choose their dtypes, by PyTorch's lists for the CPU.
// Convolutions and matrix products run in a 16-bit dtype, losses and products of elements in float32, cat and stack in
// the widest dtype they are given, and everything else in the dtype of its operands. float64 is left alone.
#pragma once

#include "pycnn/tensor.h"

namespace pycnn {

/// Whether operators recorded by this thread on such a device choose their dtypes.
bool is_autocast_enabled(DeviceType device = DeviceType::Cpu);
void set_autocast_enabled(bool enabled, DeviceType device = DeviceType::Cpu);
/// The dtype of convolutions and matrix products unless set: BFloat16 on the CPU, Float16 on GPUs, as in PyTorch.
DType autocast_dtype(DeviceType device = DeviceType::Cpu);
void set_autocast_dtype(DType dtype, DeviceType device = DeviceType::Cpu);
/// Whether the casts of float32 leaves that require grad (weights) are kept until the outermost region ends, so that
/// each is made once. A cast is made anew once the leaf has changed.
bool is_autocast_cache_enabled();
void set_autocast_cache_enabled(bool enabled);
void clear_autocast_cache();
/// How many regions this thread is in. Whoever leaves the outermost one clears the cache.
int increment_autocast_nesting();
int decrement_autocast_nesting();

/// A region: sets the state while it lives.
///
///     {
///       const Autocast autocast;
///       loss = cross_entropy(network(images), labels);
///     }
///     loss.backward();
///
/// Gradients have the dtypes of what they are gradients of, float32 for float32 weights. Differentiation records in the
/// dtypes of the forward pass, wherever backward() is called.
class Autocast {
 public:
  explicit Autocast(bool enabled = true, DType dtype = autocast_dtype(),
                    bool cache_enabled = is_autocast_cache_enabled(), DeviceType device = DeviceType::Cpu);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  DeviceType device_;
  bool enabled_, cache_enabled_;
  DType dtype_;
};

}  // namespace pycnn
