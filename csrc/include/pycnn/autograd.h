// Differentiation: modes, gradients, custom functions, and the check against finite differences.
#pragma once

#include <functional>
#include <span>

#include "pycnn/tensor.h"

namespace pycnn {

/// Whether operators recorded by this thread take part in autograd.
bool is_grad_enabled();
void set_grad_enabled(bool enabled);
/// In inference mode nothing is recorded for gradients, and what is made is an inference tensor (see
/// Tensor::is_inference).
bool is_inference_mode_enabled();
void set_inference_mode(bool enabled);
/// Whether each operator's gradients are looked at for NaN as soon as they are recorded, which evaluates them one by
/// one: slow, to find out where the first comes from.
bool is_anomaly_enabled();
void set_anomaly_enabled(bool enabled);

/// Sets grad mode while it lives. In inference mode it has no effect.
class GradMode {
 public:
  explicit GradMode(bool enabled) : previous_(exchange(enabled)) {}
  ~GradMode() { set_grad_enabled(previous_); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  /// Returns the mode before, whatever inference mode says.
  static bool exchange(bool enabled);
  bool previous_;
};

/// Inference mode (or, with false, leave of it) while it lives.
class InferenceMode {
 public:
  explicit InferenceMode(bool enabled = true) : previous_(is_inference_mode_enabled()) { set_inference_mode(enabled); }
  ~InferenceMode() { set_inference_mode(previous_); }
  InferenceMode(const InferenceMode&) = delete;
  InferenceMode& operator=(const InferenceMode&) = delete;

 private:
  bool previous_;
};

/// Recording without autograd while it lives.
class NoGradGuard : public GradMode {
 public:
  NoGradGuard() : GradMode(false) {}
};

namespace autograd {

/// Adds gradients of Σ outputs·gradients to the leaves' grad(). `gradients` is empty or one per output (undefined: 1,
/// scalars only). `inputs`, if not empty, limits which leaves receive one.
void backward(std::span<const Tensor> outputs, std::span<const Tensor> gradients = {}, bool retain_graph = false,
              bool create_graph = false, std::span<const Tensor> inputs = {});

/// The gradients themselves. An input that is not reached raises unless allow_unused (then it is undefined).
Tensors grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> gradients = {},
             bool retain_graph = false, bool create_graph = false, bool allow_unused = false);

/// Receives the outputs' gradients (undefined where nobody used the output) and the saved outputs, returns one gradient
/// per input (undefined: none).
using BackwardFunction = std::function<Tensors(const Tensors& gradients, const Tensors& saved_outputs)>;
struct FunctionOptions {
  std::vector<bool> non_differentiable = {};  ///< outputs without gradient
  bool once_differentiable = false;           ///< a second derivative raises
  /// Outputs that `backward` is given. It must not hold them itself: output, function and output would be a cycle.
  std::vector<int> saved_outputs = {};
  bool saves_others = true;  ///< `backward` holds other values: it can run once only unless the graph is retained
};
/// Returns tensors with the values of `outputs` whose gradient with respect to `inputs` is what `backward` says.
Tensors apply_function(const char* name, BackwardFunction backward, std::span<const Tensor> inputs,
                       std::span<const Tensor> outputs, const FunctionOptions& options = {});

struct GradcheckOptions {
  double epsilon = 1e-6;
  double absolute = 1e-5;
  double relative = 1e-3;
};
struct GradcheckResult {
  bool passed = true;
  /// The first disagreement in words: output, input, element, analytic and numerical value.
  std::string message;
  double worst_relative_error = 0;
};
/// Compares backward() with central differences of Σ c·f(inputs) for every element of every float64 input that requires
/// grad.
GradcheckResult gradcheck(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs,
                          const GradcheckOptions& options = {});

}  // namespace autograd
}  // namespace pycnn
