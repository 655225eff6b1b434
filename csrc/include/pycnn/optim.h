// Optimisers: rules that turn gradients into new parameters.
#pragma once

#include <span>
#include <vector>

#include "pycnn/io.h"
#include "pycnn/tensor.h"

namespace pycnn::optim {

struct SGDOptions {
  double lr = 1e-3;         ///< learning rate, per step
  double momentum = 0;      ///< share of the velocity that is kept
  double dampening = 0;     ///< share of the gradient that does not enter the velocity
  double weight_decay = 0;  ///< factor of the L2 penalty
  bool nesterov = false;    ///< looks ahead along the velocity; needs momentum and no dampening
  bool maximize = false;    ///< climbs instead
};

/// One step of SGD, recorded and not evaluated: each parameter that has a gradient is assigned its next value in place,
/// and so is its velocity, which is made if momentum asks for one and there is none. For host languages that keep these
/// themselves.
void record_step(std::span<Tensor> parameters, std::span<Tensor> velocities, const SGDOptions& options);

/// Parameters that share options, which may be changed between steps.
struct ParameterGroup {
  Tensors parameters;
  SGDOptions options;
};

/// Gradient descent with momentum (Polyak 1964) in PyTorch's form: g += weight_decay·p; v = momentum·v + (1 -
/// dampening)·g (v = g at first); g = g + momentum·v with Nesterov's, else v; p -= lr·g.
class SGD {
 public:
  explicit SGD(Tensors parameters, const SGDOptions& options = {});
  explicit SGD(std::vector<ParameterGroup> groups);

  /// Updates every parameter that has a gradient. All new values are computed first, in one plan; if that fails,
  /// nothing changes.
  void step();
  /// Forgets the gradients, or makes them zeros.
  void zero_grad(bool set_to_none = true);

  std::vector<ParameterGroup>& groups() { return groups_; }
  void add_parameter_group(ParameterGroup group);

  /// Velocities as "momentum_buffer.<i>" (i counts parameters over all groups), options as "group.<g>.<option>" in the
  /// metadata.
  io::TensorFile state_dict() const;
  /// Takes it back; throws ValueError, without changing anything, if it does not fit the groups.
  void load_state_dict(const io::TensorFile& state);

 private:
  std::vector<ParameterGroup> groups_;
  /// One per parameter of each group; undefined before its first step with momentum.
  std::vector<Tensors> velocities_;
};

}  // namespace pycnn::optim
