// Differentiation: modes, gradients, custom functions, and the check against finite differences.
#pragma once

#include <functional>
#include <span>

#include "pycnn/tensor.h"

namespace pycnn {

/// Whether operators recorded by this thread take part in autograd.
bool is_grad_enabled();
void set_grad_enabled(bool enabled);
bool is_inference_mode_enabled();
void set_inference_mode(bool enabled);

/// Sets grad mode while it lives.
class GradMode {
 public:
  explicit GradMode(bool enabled) : previous_(is_grad_enabled()) { set_grad_enabled(enabled); }
  ~GradMode() { set_grad_enabled(previous_); }
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

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

/// Receives the outputs' gradients (undefined where nobody used the output), returns one per input (undefined: none).
using BackwardFunction = std::function<Tensors(const Tensors& gradients)>;
/// Returns tensors with the values of `outputs` whose gradient with respect to `inputs` is what `backward` says.
/// non_differentiable[i] marks outputs without gradient. If once_differentiable, a second derivative raises.
Tensors apply_function(const char* name, BackwardFunction backward, std::span<const Tensor> inputs,
                       std::span<const Tensor> outputs, const std::vector<bool>& non_differentiable = {},
                       bool once_differentiable = false);

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
