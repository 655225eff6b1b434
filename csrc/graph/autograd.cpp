// Differentiation is a walk over recorded nodes, newest first, that records their gradient operators.
#include "pycnn/autograd.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <mutex>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "graph/autocast.h"
#include "graph/capture.h"
#include "graph/evaluate.h"
#include "graph/lowering.h"
#include "graph/operator.h"
#include "graph/saved_tensors.h"
#include "pycnn/ops.h"
#include "tensor/fork.h"

namespace pycnn {
namespace {

thread_local bool grad_enabled = true;
thread_local bool inference_mode = false;
std::atomic<bool> anomaly_enabled = false;

}  // namespace

bool is_grad_enabled() { return grad_enabled && !inference_mode; }
void set_grad_enabled(bool enabled) { grad_enabled = enabled; }
bool is_inference_mode_enabled() { return inference_mode; }
void set_inference_mode(bool enabled) { inference_mode = enabled; }
bool is_anomaly_enabled() { return anomaly_enabled; }
void set_anomaly_enabled(bool enabled) { anomaly_enabled = enabled; }
bool GradMode::exchange(bool enabled) { return std::exchange(grad_enabled, enabled); }

namespace graph {
namespace {

std::atomic<uint64_t> walks = 0;

/// Whether a user's function is the operator.
bool is_custom(const Operator& op);
thread_local uint64_t backward_number = 0;

// One backward pass: gradients of values on their way, and what became of those that were asked for.
class Walk {
 public:
  Walk(bool create_graph, bool retain_graph) : create_graph_(create_graph), retain_graph_(retain_graph) {
    backward_number = ++walks;
  }

  void seed(const Tensor& output, const Tensor& gradient) { deliver(output.value(), gradient); }

  /// Gradients of these values are wanted (besides hooks and retained ones); an empty list means every leaf.
  void want(const Value& value) { wanted_.insert(&output_of(value)); }

  void run() {
    const GradMode mode(create_graph_);
    while (!queue_.empty()) {
      const std::shared_ptr<Node> node = queue_.top();
      queue_.pop();
      visit(node);
    }
    if (!retain_graph_) release();
  }

  Tensor gradient_of(const Value& value) const {
    const auto found = finished_.find(&output_of(value));
    return found == finished_.end() ? Tensor() : found->second;
  }
  /// The same of what a tensor denotes: a leaf that was changed in place may have been read before and after.
  Tensor gradient_of_tensor(const Value& value) const {
    const AutogradState* const state = output_of(value).autograd.get();
    if (!is_leaf(value) || state == nullptr) return gradient_of(value);
    const GradMode mode(create_graph_);
    Tensor sum;
    for (const Value& leaf : leaves_)
      if (output_of(leaf).autograd.get() == state)
        sum = sum.defined() ? add(sum, gradient_of(leaf)) : gradient_of(leaf);
    return sum;
  }
  const std::vector<Value>& leaves() const { return leaves_; }

 private:
  struct Older {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
      return a->sequence < b->sequence;
    }
  };

  void deliver(const Value& value, const Tensor& gradient) {
    Tensor& sum = arriving_[&output_of(value)];
    sum = sum.defined() ? add(sum, gradient) : gradient;
    if (!queued_.insert(value.node.get()).second) return;
    if (is_leaf(value)) leaf_nodes_.push_back(value);
    queue_.push(value.node);
  }

  // The gradient of an output once all its consumers have delivered, after its hooks.
  Tensor finish(const Output& output) {
    const auto found = arriving_.find(&output);
    if (found == arriving_.end()) return {};
    Tensor gradient = found->second;
    if (output.autograd) {
      const std::shared_ptr<AutogradState> state = output.autograd;
      const auto hooks = state->hooks;
      for (const auto& [id, hook] : hooks)
        if (const Tensor replacement = hook(gradient); replacement.defined()) {
          check(replacement.shape() == output.shape, "a hook has changed the size of value (was ", output.shape,
                " got ", replacement.shape(), ")");
          check(replacement.dtype() == output.dtype, "a hook has changed the type of value (was ", output.dtype,
                " got ", replacement.dtype(), ")");
          gradient = replacement;
        }
    }
    finished_[&output] = gradient;
    return gradient;
  }

  static Tensors backward_of(const std::shared_ptr<Node>& node, const Tensors& gradients) {
    const AutocastSuspension suspension(true);
    try {
      // What users write says itself where it creates tensors.
      const DeviceScope scope(is_custom(*node->op) ? creation_device() : node->outputs[0].device);
      return node->op->backward(BackwardContext(node, gradients));
    } catch (Error& error) {
      error.settle();
      throw;
    }
  }

  static void check_for_nan(const Node& node, const Tensors& gradients) {
    const NoGradGuard no_grad;
    for (size_t i = 0; i < gradients.size(); ++i)
      check(!gradients[i].defined() || !any(isnan(gradients[i])).item<bool>(), "Function '", node.op->backward_name(),
            "' returned nan values in its ", i, "th output.");
  }

  /// Lets go of what was saved. Where nothing was saved, neither by a node nor by those before it, as in PyTorch a
  /// second backward is possible.
  void release() {
    for (auto position = visited_.rbegin(); position != visited_.rend(); ++position) {
      const std::shared_ptr<Node>& node = *position;
      const BackwardReads reads = node->op->backward_reads();
      node->released = reads.inputs != 0 || reads.outputs != 0 || reads.others ||
                       std::any_of(node->inputs.begin(), node->inputs.end(),
                                   [](const Value& input) { return !is_leaf(input) && input.node->released; });
    }
    for (const auto& node : visited_) {
      if (!node->released) continue;
      if (node->notes) node->notes->packed.clear();
      if (node->is_evaluated()) node->drop_inputs();
    }
  }

  /// What a node's hook gave instead of these gradients; nothing leaves them as they are.
  static void replace(Tensors& gradients, Tensors given) {
    if (given.empty()) return;
    check(given.size() == gradients.size(), "a hook has returned an incorrect number of gradients (expected ",
          gradients.size(), ", got ", given.size(), ")");
    gradients = std::move(given);
  }

  void visit(const std::shared_ptr<Node>& node) {
    if (!node->differentiable) {
      for (int i = 0; i < node->output_count; ++i)
        if (finish(node->outputs[static_cast<size_t>(i)]).defined()) leaves_.push_back({node, i});
      return;
    }
    check(!node->released,
          "Trying to backward through the graph a second time (or directly access saved tensors after they have "
          "already been freed). Saved "
          "intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
          "retain_graph=True if you need to "
          "backward through the graph a second time.");
    Tensors gradients;
    for (int i = 0; i < node->output_count; ++i) {
      const Output& output = node->outputs[static_cast<size_t>(i)];
      gradients.push_back(finish(output));
      if (gradients.back().defined() && output.autograd && (output.autograd->retain_grad || wanted_.contains(&output)))
        retained_.push_back({node, i});
    }
    visited_.push_back(node);
    const std::shared_ptr<NodeNotes> notes = node->notes;
    // Copies of the hooks: they may remove themselves, or add others.
    if (notes)
      for (const auto& [id, hook] : std::vector(notes->hooks_before)) replace(gradients, hook(gradients));
    Tensors input_gradients = backward_of(node, gradients);
    if (notes)
      for (const auto& [id, hook] : std::vector(notes->hooks_after))
        replace(input_gradients, hook(input_gradients, gradients));
    if (is_anomaly_enabled()) check_for_nan(*node, input_gradients);
    check(input_gradients.size() <= node->inputs.size(), "internal error: '", node->op->name(),
          "' returned too many gradients");
    for (size_t i = 0; i < input_gradients.size(); ++i) {
      const Value& input = node->inputs[i];
      const Output& output = output_of(input);
      if (!output.requires_grad || !input_gradients[i].defined()) continue;
      Tensor gradient = input_gradients[i];
      check(gradient.shape() == output.shape, "the gradient of input ", i, " of '", node->op->name(), "' has shape ",
            gradient.shape(), ", expected ", output.shape);
      if (gradient.dtype() != output.dtype) gradient = cast(gradient, output.dtype);
      deliver(input, gradient);
    }
  }

 public:
  const std::vector<Value>& retained() const { return retained_; }

 private:
  UnboundedBytes whole_;
  bool create_graph_, retain_graph_;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Older> queue_;
  std::unordered_set<const Node*> queued_;
  std::unordered_set<const Output*> wanted_;
  std::unordered_map<const Output*, Tensor> arriving_, finished_;
  std::vector<std::shared_ptr<Node>> visited_;
  std::vector<Value> leaf_nodes_, leaves_, retained_;
};

// Seeds of a walk with PyTorch's checks.
void seed_outputs(Walk& walk, std::span<const Tensor> outputs, std::span<const Tensor> gradients) {
  check(gradients.empty() || gradients.size() == outputs.size(), "got ", outputs.size(), " tensors and ",
        gradients.size(), " gradients");
  for (size_t i = 0; i < outputs.size(); ++i) {
    check(outputs[i].requires_grad(), "element ", i, " of tensors does not require grad and does not have a grad_fn");
    Tensor gradient = i < gradients.size() ? gradients[i] : Tensor();
    if (!gradient.defined()) {
      check(outputs[i].numel() == 1, "grad can be implicitly created only for scalar outputs");
      gradient = ones_like(outputs[i]);
    }
    check(gradient.shape() == outputs[i].shape(), "Mismatch in shape: grad_output[", i, "] has a shape of ",
          gradient.shape(), " and output[", i, "] has a shape of ", outputs[i].shape(), ".");
    if (gradient.dtype() != outputs[i].dtype()) gradient = cast(gradient, outputs[i].dtype());
    walk.seed(outputs[i], gradient);
  }
}

// Guards the gradients of all leaves, while they are looked up or exchanged: threads may share a leaf.
ForkSafeMutex gradients_mutex(ForkOrder::Gradients);

/// A gradient as it was and as it became; handles to the values, as .grad may be bound to others meanwhile.
struct Accumulated {
  std::shared_ptr<AutogradState> state;
  Tensor handle_before, before, after;
};

Tensor present_gradient(const AutogradState& state) {
  return state.grad.defined() ? Tensor(state.grad.value()) : Tensor();
}

bool is_gradient(const AutogradState& state, const Tensor& value) {
  return state.grad.defined() == value.defined() && (!value.defined() || state.grad.is_same_value(value));
}

Accumulated accumulate(const std::shared_ptr<AutogradState>& state, const Tensor& gradient, bool create_graph) {
  const GradMode mode(create_graph);
  while (true) {
    Accumulated result{state, {}, {}, {}};
    {
      const std::lock_guard lock(gradients_mutex);
      result.handle_before = state->grad;
      result.before = present_gradient(*state);
    }
    if (CaptureLog* log = capture_log(); log != nullptr && result.before.defined() && result.before.is_evaluated())
      log->note_read(result.before.value(), result.handle_before.handle());
    // Recording may evaluate, and must not do so under a mutex. A handle of its own: leaves and hooks may share one
    // gradient, which later accumulation must not change.
    result.after = result.before.defined() ? add(result.before, gradient)
                                           : Tensor(create_graph ? gradient.value() : gradient.detach().value());
    const std::lock_guard lock(gradients_mutex);
    if (!is_gradient(*state, result.before)) continue;  // another thread was faster
    if (result.before.defined() && !create_graph)
      state->grad.assign_(result.after);
    else
      state->grad = Tensor(result.after.value());
    return result;
  }
}

void take_back(const Accumulated& accumulated) {
  const std::lock_guard lock(gradients_mutex);
  AutogradState& state = *accumulated.state;
  if (!is_gradient(state, accumulated.after)) return;
  state.grad = accumulated.handle_before;
  if (state.grad.defined()) state.grad.set_data(accumulated.before);
}

class CustomFunction final : public Operator {
 public:
  CustomFunction(std::string name, autograd::BackwardFunction backward, int inputs,
                 const autograd::FunctionOptions& options)
      : name_(std::move(name)),
        backward_(std::move(backward)),
        inputs_(inputs),
        once_differentiable_(options.once_differentiable),
        saved_outputs_(options.saved_outputs),
        saves_others_(options.saves_others) {}
  const char* name() const override { return "function"; }
  std::string backward_name() const override { return name_ + "Backward"; }
  void fingerprint(Fingerprint& key) const override { key.add(static_cast<int64_t>(inputs_)); }
  BackwardReads backward_reads() const override {
    BackwardReads reads{.others = saves_others_};
    for (const int output : saved_outputs_) reads.outputs |= 1U << static_cast<uint32_t>(output);
    return reads;
  }
  Tensors backward(const BackwardContext& context) const override;
  // The nodes after the differentiable inputs are the computed outputs: this node only names them.
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override {
    return {inputs.begin() + inputs_, inputs.end()};
  }

 private:
  std::string name_;
  autograd::BackwardFunction backward_;
  int inputs_;
  bool once_differentiable_;
  std::vector<int> saved_outputs_;
  bool saves_others_;
};

bool is_custom(const Operator& op) { return dynamic_cast<const CustomFunction*>(&op) != nullptr; }

/// Passes values on but refuses to be differentiated.
class OnceDifferentiable final : public Operator {
 public:
  const char* name() const override { return "once_differentiable"; }
  Tensors backward(const BackwardContext&) const override {
    fail("trying to differentiate twice a function that was marked with @once_differentiable");
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[0]}; }
};

Tensors CustomFunction::backward(const BackwardContext& context) const {
  const AutocastSuspension users_code(false);
  Tensors gradients, saved;
  for (int i = 0; i < context.input_count() - inputs_; ++i) gradients.push_back(context.gradient(i));
  for (const int output : saved_outputs_) saved.push_back(context.output(output));
  if (!once_differentiable_ || !is_grad_enabled()) return backward_(gradients, saved);
  Tensors results;
  {
    const NoGradGuard no_grad;
    results = backward_(gradients, saved);
  }
  for (Tensor& result : results)
    if (result.defined()) {
      Tensors sources = {result};
      std::copy_if(gradients.begin(), gradients.end(), std::back_inserter(sources),
                   [](const Tensor& gradient) { return gradient.defined(); });
      for (int i = 0; i < inputs_; ++i) sources.push_back(context.input(i));
      const Spec spec{result.shape(), result.dtype()};
      result = record(std::make_shared<OnceDifferentiable>(), sources, std::span(&spec, 1))[0];
    }
  return results;
}

}  // namespace

uint64_t current_backward() { return backward_number; }

}  // namespace graph

namespace autograd {

void backward(std::span<const Tensor> outputs, std::span<const Tensor> gradients, bool retain_graph, bool create_graph,
              std::span<const Tensor> inputs) {
  // Gone before anything is evaluated: gradients on their way are nobody's results.
  auto walk = std::make_unique<graph::Walk>(create_graph, retain_graph || create_graph);
  {
    const GradMode mode(create_graph);
    graph::seed_outputs(*walk, outputs, gradients);
  }
  std::unordered_set<const graph::AutogradState*> limited;
  for (const Tensor& input : inputs) {
    check(input.requires_grad(), "One of the differentiated Tensors does not require grad");
    if (!input.is_leaf()) input.retain_grad();
    limited.insert(graph::output_of(input.value()).autograd.get());
  }
  walk->run();
  Tensors results;
  std::vector<graph::Accumulated> accumulated;
  for (const std::vector<graph::Value>* values : {&walk->leaves(), &walk->retained()})
    for (const graph::Value& value : *values) {
      const graph::Output& output = graph::output_of(value);
      if (!output.autograd || (!limited.empty() && !limited.contains(output.autograd.get()))) continue;
      if (graph::CaptureLog* log = graph::capture_log()) log->note_gradient(output.autograd);
      accumulated.push_back(graph::accumulate(output.autograd, walk->gradient_of(value), create_graph));
      results.push_back(accumulated.back().after);
    }
  walk.reset();
  // Forward, loss and gradients are one plan.
  for (const Tensor& output : outputs) results.push_back(output);
  try {
    evaluate(results);
  } catch (...) {
    // Nothing was added: a gradient accumulated before must not be lost with one that cannot be computed.
    std::for_each(accumulated.rbegin(), accumulated.rend(), graph::take_back);
    throw;
  }
  for (const graph::Accumulated& leaf : accumulated) {
    const auto hooks = leaf.state->hooks_after_accumulation;
    for (const auto& [id, hook] : hooks) hook();
  }
}

Tensors grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> gradients,
             bool retain_graph, bool create_graph, bool allow_unused) {
  graph::Walk walk(create_graph, retain_graph || create_graph);
  {
    const GradMode mode(create_graph);
    graph::seed_outputs(walk, outputs, gradients);
  }
  for (const Tensor& input : inputs) {
    check(input.requires_grad(), "One of the differentiated Tensors does not require grad");
    walk.want(input.value());
  }
  walk.run();
  Tensors results;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor gradient = walk.gradient_of_tensor(inputs[i].value());
    check(gradient.defined() || allow_unused, "The differentiated Tensor at index ", i,
          " appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.");
    results.push_back(gradient.defined() ? Tensor(gradient.value()) : Tensor());
  }
  return results;
}

Tensors apply_function(const char* name, BackwardFunction backward, std::span<const Tensor> inputs,
                       std::span<const Tensor> outputs, const FunctionOptions& options) {
  Tensors sources(inputs.begin(), inputs.end());
  std::vector<graph::Spec> specs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    sources.push_back(outputs[i].requires_grad() ? outputs[i].detach() : outputs[i]);
    const bool differentiable = i >= options.non_differentiable.size() || !options.non_differentiable[i];
    specs.push_back({outputs[i].shape(), outputs[i].dtype(), differentiable});
  }
  for (const int saved : options.saved_outputs)
    check<ValueError>(saved >= 0 && saved < std::min(static_cast<int>(outputs.size()), 32),
                      "apply_function: saved output ", saved, " of ", outputs.size(), " is not there");
  return graph::record(
      std::make_shared<graph::CustomFunction>(name, std::move(backward), static_cast<int>(inputs.size()), options),
      sources, specs);
}

GradcheckResult gradcheck(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs,
                          const GradcheckOptions& options) {
  for (const Tensor& input : inputs)
    check<ValueError>(!input.requires_grad() || input.dtype() == DType::Float64,
                      "gradcheck expects inputs that require gradient to be float64, got ", input.dtype());
  const auto weights_like = [](const Tensor& output) {
    // Fixed, without symmetry, of both signs: a wrong gradient cannot cancel.
    std::vector<double> weights;
    for (int64_t i = 0; i < output.numel(); ++i) weights.push_back(std::cos(1.0 + 1.7 * static_cast<double>(i)) + 0.25);
    return to_device(from_data<double>(weights, output.shape()), output.device());
  };
  const auto weighted_sum = [&](const Tensors& arguments) {
    double total = 0;
    // The function sees inputs that require grad, since it may itself ask for gradients.
    const Tensors outputs = function(arguments);
    const NoGradGuard no_grad;
    for (const Tensor& output : outputs)
      if (output.defined() && output.requires_grad())
        total += sum(mul(cast(output, DType::Float64), weights_like(output))).item<double>();
    return total;
  };
  Tensors leaves;
  Tensors differentiated;
  for (const Tensor& input : inputs) {
    leaves.push_back(Tensor(graph::detached(input.value())));
    if (input.requires_grad()) differentiated.push_back(leaves.back().requires_grad_());
  }
  check<ValueError>(!differentiated.empty(), "gradcheck expects at least one input that requires gradient");
  Tensors outputs, weights;
  for (const Tensor& output : function(leaves))
    if (output.defined() && output.requires_grad()) {
      outputs.push_back(output);
      weights.push_back(cast(weights_like(output), output.dtype()));
    }
  GradcheckResult result;
  const Tensors analytic =
      outputs.empty() ? Tensors(differentiated.size()) : grad(outputs, differentiated, weights, false, false, true);
  size_t next = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].requires_grad()) continue;
    const Tensor& gradient = analytic[next++];
    const std::vector<double> original = inputs[i].detach().to_vector<double>();
    const std::vector<double> claimed =
        gradient.defined() ? gradient.to_vector<double>() : std::vector<double>(original.size(), 0.0);
    for (size_t e = 0; e < original.size(); ++e) {
      const auto shifted = [&](double step) {
        std::vector<double> values = original;
        values[e] += step;
        Tensors arguments = leaves;
        arguments[i] = to_device(from_data<double>(values, inputs[i].shape()), inputs[i].device());
        arguments[i].requires_grad_();
        return weighted_sum(arguments);
      };
      const double numerical = (shifted(options.epsilon) - shifted(-options.epsilon)) / (2 * options.epsilon);
      const double error = std::abs(claimed[e] - numerical);
      const double scale = std::max(std::abs(numerical), std::abs(claimed[e]));
      if (scale > 0) result.worst_relative_error = std::max(result.worst_relative_error, error / std::max(scale, 1.0));
      if (!(error <= options.absolute + options.relative * std::abs(numerical)) && result.passed) {
        result.passed = false;
        result.message = detail::concatenate("Jacobian mismatch for input ", i, " of shape ", inputs[i].shape(),
                                             " at element ", e, ": analytic ", claimed[e], ", numerical ", numerical);
      }
    }
  }
  return result;
}

}  // namespace autograd

void Tensor::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  const Tensors gradients = gradient.defined() ? Tensors{gradient} : Tensors{};
  autograd::backward(std::span(this, 1), gradients, retain_graph, create_graph);
}

}  // namespace pycnn
