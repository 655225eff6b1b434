// Optimisers: rules that turn gradients into new parameters.
#pragma once

#include <vector>

#include "pycnn/io.h"
#include "pycnn/tensor.h"

namespace pycnn::optim {

// Options, with PyTorch's names and defaults. `maximize` climbs instead.

struct SGDOptions {
  double lr = 1e-3;         ///< learning rate, per step
  double momentum = 0;      ///< share of the velocity that is kept
  double dampening = 0;     ///< share of the gradient that does not enter the velocity
  double weight_decay = 0;  ///< factor of the L2 penalty
  bool nesterov = false;    ///< looks ahead along the velocity; needs momentum and no dampening
  bool maximize = false;
};

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;  ///< shares that the means of gradient and squared gradient keep
  double eps = 1e-8;                  ///< added to the denominator
  double weight_decay = 0;            ///< factor of the L2 penalty
  bool amsgrad = false;               ///< divides by the largest mean square so far
  bool maximize = false;
  bool decoupled_weight_decay = false;  ///< shrinks the parameter instead of adding to the gradient
};

/// Adam with decoupled weight decay.
struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  bool maximize = false;
};

struct RMSpropOptions {
  double lr = 1e-2;
  double alpha = 0.99;  ///< share that the mean square keeps
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;  ///< divides by the deviation instead of the root mean square
  bool maximize = false;
};

struct AdagradOptions {
  double lr = 1e-2;
  double lr_decay = 0;  ///< the rate at step t is lr / (1 + (t - 1)·lr_decay)
  double weight_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
  bool maximize = false;
};

struct AdadeltaOptions {
  double lr = 1;
  double rho = 0.9;  ///< share that the mean squares keep
  double eps = 1e-6;
  double weight_decay = 0;
  bool maximize = false;
};

/// An optimiser by its options. A parameter without a gradient is left alone.
template <typename Options>
class Optimizer {
 public:
  /// Parameters that share options, which may be changed between steps.
  struct Group {
    Tensors parameters;
    Options options;
  };

  explicit Optimizer(Tensors parameters, const Options& options = {});
  explicit Optimizer(std::vector<Group> groups);

  /// Updates every parameter that has a gradient, all of them in one plan, over the last values where nobody else holds
  /// these. After an exception every tensor is whole, old or new.
  void step();
  /// Forgets the gradients, or makes them zeros.
  void zero_grad(bool set_to_none = true);

  std::vector<Group>& groups() { return groups_; }
  void add_parameter_group(Group group);

  /// PyTorch's state as "<name>.<i>" ("exp_avg.3"; i counts parameters over all groups), options as
  /// "group.<g>.<option>" in the metadata.
  io::TensorFile state_dict() const;
  /// Takes it back; throws ValueError, without changing anything, if it does not fit the groups.
  void load_state_dict(const io::TensorFile& state);

 private:
  std::vector<Group> groups_;
  /// Per group and parameter, one for each name of its state; undefined before the first step.
  std::vector<std::vector<Tensors>> states_;
};

/// Gradient descent with momentum (Polyak 1964) in PyTorch's form: g += weight_decay·p; v = momentum·v + (1 -
/// dampening)·g (v = g at first); g = g + momentum·v with Nesterov's, else v; p -= lr·g.
using SGD = Optimizer<SGDOptions>;
/// Kingma and Ba 2015: p -= lr·m̂ / (√v̂ + eps), with m̂ and v̂ the means of g and g², corrected for their start at 0.
using Adam = Optimizer<AdamOptions>;
/// Loshchilov and Hutter 2019.
using AdamW = Optimizer<AdamWOptions>;
/// Tieleman and Hinton 2012: p -= lr·g / (√v + eps), with v the running mean of g².
using RMSprop = Optimizer<RMSpropOptions>;
/// Duchi et al. 2011: p -= lr·g / (√s + eps), with s the sum of g².
using Adagrad = Optimizer<AdagradOptions>;
/// Zeiler 2012: p -= lr·d, d = √(u + eps) / √(v + eps)·g, with u and v the running means of d² and g².
using Adadelta = Optimizer<AdadeltaOptions>;

extern template class Optimizer<SGDOptions>;
extern template class Optimizer<AdamOptions>;
extern template class Optimizer<AdamWOptions>;
extern template class Optimizer<RMSpropOptions>;
extern template class Optimizer<AdagradOptions>;
extern template class Optimizer<AdadeltaOptions>;

}  // namespace pycnn::optim
