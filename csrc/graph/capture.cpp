#include "graph/capture.h"

#include <algorithm>

#include "graph/evaluate.h"
#include "pycnn/autograd.h"
#include "pycnn/capture.h"
#include "pycnn/graph.h"

namespace pycnn {
namespace graph {

CaptureLog*& capture_log() {
  thread_local CaptureLog* log = nullptr;
  return log;
}

void refuse_reading() {
  check(capture_log() == nullptr,
        "capture: the function reads a value (item(), numpy(), print, bool() and the like) while it is recorded; "
        "return the tensor and read it outside");
}

void CaptureLog::note_read(const Value& value, const std::shared_ptr<Cell>& cell) {
  const auto [entry, fresh] = read.try_emplace(&output_of(value), cell);
  if (fresh) held.push_back(value);
  // Handles made in passing name values too; the variable is the one that stays.
  if (entry->second.expired()) entry->second = cell;
}

void CaptureLog::note_renewed(const Value& value, std::function<Value()> renew) {
  renewed.emplace(&output_of(value), std::move(renew));
  held.push_back(value);
}

void CaptureLog::note_gradient(const std::shared_ptr<AutogradState>& state) {
  const bool known =
      std::any_of(gradients.begin(), gradients.end(), [&](const auto& entry) { return entry.first == state; });
  if (!known) gradients.emplace_back(state, state->grad);
}

namespace {

/// Shape, dtype and layout that a plan was made for.
struct Form {
  Shape shape;
  DType dtype;
  Strides strides;
  explicit Form(const Output& output) : shape(output.shape), dtype(output.dtype), strides(output.buffer.strides) {}
  bool fits(const Value& value) const {
    const Output& output = output_of(value);
    return value.node->is_evaluated() && output.buffer.storage && output.shape == shape && output.dtype == dtype &&
           output.buffer.strides == strides;
  }
};

/// Where a plan's input comes from at a replay.
struct Source {
  enum class Kind : uint8_t { Argument, Variable, Gradient, Constant, Renewed } kind;
  int index = -1;  ///< of the argument or gradient
  std::shared_ptr<Cell> cell;
  Value constant;
  std::function<Value()> renew;
  Form form;
};

/// A value that a replay hands out: computed by the plan, or one of its inputs as it is.
struct Outcome {
  int result = -1;
  int source = -1;
};

/// The gradient tensor of a leaf, whichever it is at a replay.
struct Gradient {
  std::shared_ptr<AutogradState> state;
  std::shared_ptr<Cell> cell;  ///< of the gradient that was there before, while the program is made
  bool was_defined;
  bool is_defined;  ///< in the end
  bool fresh;       ///< a new tensor; else, if there is an outcome, the old one changed in place
  Outcome outcome;
  bool has_outcome() const { return outcome.result >= 0 || outcome.source >= 0; }
};

}  // namespace

class CapturedProgram {
 public:
  Computation computation;
  std::vector<Source> sources;
  std::vector<Outcome> results;
  std::vector<std::pair<std::shared_ptr<Cell>, Outcome>> variables;
  std::vector<Gradient> gradients;
  bool grad_mode;

  Value present(const Source& source, std::span<const Tensor> inputs) const {
    switch (source.kind) {
      case Source::Kind::Argument:
        return inputs[static_cast<size_t>(source.index)].value();
      case Source::Kind::Gradient:
        return gradients[static_cast<size_t>(source.index)].state->grad.value();
      case Source::Kind::Variable:
        return refresh(*source.cell);
      case Source::Kind::Constant:
        return source.constant;
      case Source::Kind::Renewed:
        break;
    }
    return source.renew();
  }

  bool is_rebound(const Source& source) const {
    if (source.kind == Source::Kind::Gradient) {
      const Gradient& gradient = gradients[static_cast<size_t>(source.index)];
      return gradient.has_outcome() && !gradient.fresh;
    }
    return source.kind == Source::Kind::Variable &&
           std::any_of(variables.begin(), variables.end(),
                       [&](const auto& variable) { return variable.first == source.cell; });
  }
};

}  // namespace graph

using graph::CapturedProgram;
using graph::CaptureLog;
using graph::Outcome;
using graph::Source;
using graph::Value;

struct CaptureScope::State {
  CaptureLog log;
  Tensors inputs;
  bool recording = true;
  void stop() {
    if (recording) graph::capture_log() = nullptr;
    recording = false;
  }
};

CaptureScope::CaptureScope(std::span<const Tensor> inputs) : state_(std::make_unique<State>()) {
  check(graph::capture_log() == nullptr, "capture: this thread is capturing another function");
  for (const Tensor& input : inputs)
    check(!input.requires_grad(), "capture: an input requires grad; gradients of a replay's inputs are not computed");
  evaluate(inputs);
  graph::evaluate_values({});
  // Values of their own: an input that is a parameter as well must not be taken for it.
  for (const Tensor& input : inputs) {
    const graph::Output& output = graph::output_of(input.value());
    state_->inputs.emplace_back(graph::make_leaf(output.shape, output.dtype, output.buffer));
  }
  state_->log.first_sequence = graph::next_sequence();
  graph::capture_log() = &state_->log;
}

CaptureScope::~CaptureScope() { close(); }

void CaptureScope::close() { state_->stop(); }

const Tensors& CaptureScope::inputs() const { return state_->inputs; }

std::shared_ptr<const CapturedProgram> CaptureScope::finish(std::span<const Tensor> results) {
  state_->stop();
  const CaptureLog& log = state_->log;
  // A loss whose backward() is done can hand no gradient on; anything else would lose its graph in a replay.
  for (const Tensor& result : results)
    check(!result.requires_grad() || result.value().node->released,
          "capture: the function returns a tensor that requires grad; return it detached, or call the function under "
          "no_grad()");
  auto program = std::make_shared<CapturedProgram>();
  std::vector<Value> requested;
  for (const Tensor& result : results) requested.push_back(result.value());
  std::vector<size_t> changed_gradients;
  for (const auto& [state, before] : log.gradients) {
    const bool fresh = state->grad.defined() && !(before.defined() && before.handle() == state->grad.handle());
    const std::shared_ptr<graph::Cell> cell = before.defined() ? before.handle()->cell : nullptr;
    program->gradients.push_back({state, cell, before.defined(), state->grad.defined(), fresh, {}});
    if (!fresh) continue;
    changed_gradients.push_back(program->gradients.size() - 1);
    requested.push_back(state->grad.value());
  }
  const auto gradient_of = [&](const std::shared_ptr<graph::Cell>& cell) {
    const auto found = std::find_if(program->gradients.begin(), program->gradients.end(),
                                    [&](const graph::Gradient& gradient) { return gradient.cell == cell; });
    return found == program->gradients.end() ? -1 : static_cast<int>(found - program->gradients.begin());
  };
  for (const std::weak_ptr<graph::Cell>& weak : log.bound) {
    const std::shared_ptr<graph::Cell> cell = weak.lock();
    if (!cell || std::any_of(program->variables.begin(), program->variables.end(),
                             [&](const auto& variable) { return variable.first == cell; }))
      continue;
    // A view follows its base, which is among the variables itself.
    if (cell->base && cell->view->derive) continue;
    if (const int i = gradient_of(cell); i >= 0) {
      const auto gradient = static_cast<size_t>(i);
      // Replaced by another tensor, it is nobody's gradient any more.
      const bool stays = program->gradients[gradient].is_defined && !program->gradients[gradient].fresh;
      if (!stays || std::find(changed_gradients.begin(), changed_gradients.end(), gradient) != changed_gradients.end())
        continue;
      changed_gradients.push_back(gradient);
      requested.push_back(cell->value);
      continue;
    }
    program->variables.emplace_back(cell, Outcome{});
    requested.push_back(cell->value);
  }
  program->computation = graph::evaluate_captured(requested, log.first_sequence);
  program->grad_mode = is_grad_enabled();

  for (const Value& input : program->computation.inputs) {
    Source source{Source::Kind::Constant, -1, nullptr, {}, nullptr, graph::Form(graph::output_of(input))};
    const graph::Output* output = &graph::output_of(input);
    const auto argument = std::find_if(state_->inputs.begin(), state_->inputs.end(), [&](const Tensor& tensor) {
      return &graph::output_of(tensor.value()) == output;
    });
    const auto read = log.read.find(output);
    const auto renewed = log.renewed.find(output);
    if (argument != state_->inputs.end()) {
      source.kind = Source::Kind::Argument;
      source.index = static_cast<int>(argument - state_->inputs.begin());
    } else if (renewed != log.renewed.end()) {
      source.kind = Source::Kind::Renewed;
      source.renew = renewed->second;
    } else if (read != log.read.end() && (source.cell = read->second.lock())) {
      source.index = gradient_of(source.cell);
      source.kind = source.index >= 0 ? Source::Kind::Gradient : Source::Kind::Variable;
      if (source.index >= 0) source.cell = nullptr;
    } else {
      source.constant = input;
    }
    program->sources.push_back(std::move(source));
  }
  const auto outcome = [&](const Value& value) {
    Outcome found;
    const auto& computed = program->computation.results;
    const auto result = std::find(computed.begin(), computed.end(), value);
    if (result != computed.end()) {
      found.result = static_cast<int>(result - computed.begin());
      return found;
    }
    for (size_t i = 0; i < program->computation.inputs.size(); ++i)
      if (program->computation.inputs[i] == value) found.source = static_cast<int>(i);
    if (found.source < 0) {
      // Handed out though no operator read it.
      Source source{Source::Kind::Constant, -1, nullptr, value, nullptr, graph::Form(graph::output_of(value))};
      for (size_t i = 0; i < state_->inputs.size(); ++i)
        if (state_->inputs[i].value() == value)
          source.kind = Source::Kind::Argument, source.index = static_cast<int>(i);
      found.source = static_cast<int>(program->sources.size());
      program->sources.push_back(std::move(source));
    }
    return found;
  };
  for (const Tensor& result : results) program->results.push_back(outcome(result.value()));
  for (auto& [cell, found] : program->variables) found = outcome(cell->value);
  for (const size_t i : changed_gradients)
    program->gradients[i].outcome = outcome(program->gradients[i].state->grad.value());
  // What the plan was made of is not needed any more, and would keep the first values alive.
  for (graph::Gradient& gradient : program->gradients) gradient.cell = nullptr;
  program->computation.inputs.clear();
  program->computation.results.clear();
  return program;
}

bool fits(const CapturedProgram& program, std::span<const Tensor> inputs) {
  if (program.grad_mode != is_grad_enabled()) return false;
  const bool same_gradients = std::all_of(
      program.gradients.begin(), program.gradients.end(),
      [](const graph::Gradient& gradient) { return gradient.state->grad.defined() == gradient.was_defined; });
  if (!same_gradients) return false;
  for (const Source& source : program.sources) {
    if (source.kind == Source::Kind::Constant || source.kind == Source::Kind::Renewed) continue;
    if (source.kind == Source::Kind::Argument && static_cast<size_t>(source.index) >= inputs.size()) return false;
    const Value value = program.present(source, inputs);
    if (!value.node->is_evaluated()) graph::evaluate_values(std::span(&value, 1));
    if (!source.form.fits(value)) return false;
  }
  return true;
}

Tensors replay(const CapturedProgram& program, std::span<const Tensor> inputs) {
  check(graph::capture_log() == nullptr, "capture: a captured function cannot be part of another");
  std::vector<Value> values;
  values.reserve(program.sources.size());
  for (const Source& source : program.sources) values.push_back(program.present(source, inputs));
  std::vector<bool> last(values.size());
  for (size_t i = 0; i < values.size(); ++i) last[i] = program.is_rebound(program.sources[i]);
  const std::vector<graph::Buffer> buffers = graph::run_captured(program.computation, values, last);

  const auto made = [&](const Outcome& outcome) {
    if (outcome.source >= 0) {
      const graph::Output& output = graph::output_of(values[static_cast<size_t>(outcome.source)]);
      return graph::make_leaf(output.shape, output.dtype, output.buffer);
    }
    const graph::Computation::Form& form = program.computation.forms[static_cast<size_t>(outcome.result)];
    return graph::make_leaf(form.shape, form.dtype, buffers[static_cast<size_t>(outcome.result)]);
  };
  const auto rebind = [&](graph::Cell& cell, const Outcome& outcome) {
    Value value = made(outcome);
    graph::output_of(value).requires_grad = graph::output_of(cell.value).requires_grad;
    graph::output_of(value).autograd = cell.autograd;
    cell.bind(std::move(value));
  };
  for (const auto& [cell, outcome] : program.variables) rebind(*cell, outcome);
  for (const graph::Gradient& gradient : program.gradients) {
    if (!gradient.is_defined) {
      gradient.state->grad = Tensor();
    } else if (gradient.fresh) {
      gradient.state->grad = Tensor(made(gradient.outcome));
    } else if (gradient.has_outcome()) {
      rebind(*gradient.state->grad.handle()->cell, gradient.outcome);
    }
  }
  Tensors results;
  for (const Outcome& outcome : program.results) results.emplace_back(made(outcome));
  return results;
}

std::function<Tensors(const Tensors&)> capture(std::function<Tensors(const Tensors&)> function) {
  struct Shared {
    std::function<Tensors(const Tensors&)> function;
    std::vector<std::shared_ptr<const CapturedProgram>> programs;
    std::vector<std::vector<std::pair<Shape, DType>>> warm;  ///< forms of inputs that were run once
  };
  auto shared = std::make_shared<Shared>(Shared{std::move(function), {}, {}});
  return [shared](const Tensors& inputs) {
    evaluate(inputs);
    for (const auto& program : shared->programs)
      if (fits(*program, inputs)) return replay(*program, inputs);
    std::vector<std::pair<Shape, DType>> form;
    for (const Tensor& input : inputs) form.emplace_back(input.shape(), input.dtype());
    if (mode() == Mode::Eager || std::find(shared->warm.begin(), shared->warm.end(), form) == shared->warm.end()) {
      Tensors results = shared->function(inputs);
      for (Tensor& result : results) result = result.detach();
      evaluate(results);
      shared->warm.push_back(std::move(form));
      return results;
    }
    CaptureScope scope(inputs);
    const Tensors results = shared->function(scope.inputs());
    shared->programs.push_back(scope.finish(results));
    return results;
  };
}

}  // namespace pycnn
