#include "graph/capture.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "cpu/features.h"
#include "graph/autocast.h"
#include "graph/evaluate.h"
#include "graph/primitives.h"
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

void CaptureLog::note_read(const Value& value, const std::shared_ptr<TensorHandle>& handle) {
  const auto [entry, fresh] = read.try_emplace(&output_of(value));
  if (fresh) held.push_back(value);
  std::vector<Reader>& readers = entry->second;
  // Handles made in passing come and go; those that are gone need no place.
  std::erase_if(readers, [](const Reader& reader) { return reader.cell.expired(); });
  const bool known = std::any_of(readers.begin(), readers.end(), [&](const Reader& reader) {
    return !reader.handle.owner_before(handle) && !handle.owner_before(reader.handle);
  });
  if (!known) readers.push_back({handle->cell, handle});
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

/// Shape, dtype, layout and device that a plan was made for.
struct Form {
  Shape shape;
  DType dtype;
  Strides strides;
  Device device;
  bool requires_grad;
  explicit Form(const Output& output)
      : shape(output.shape),
        dtype(output.dtype),
        strides(output.buffer.strides),
        device(output.device),
        requires_grad(output.requires_grad) {}
  bool fits(const Value& value) const {
    const Output& output = output_of(value);
    return value.node->is_evaluated() && output.buffer.storage && output.shape == shape && output.dtype == dtype &&
           output.buffer.strides == strides && output.device == device && output.requires_grad == requires_grad;
  }
};

struct Variable {
  std::shared_ptr<Cell> cell;
  std::weak_ptr<TensorHandle> handle;  ///< if a tensor names it: it must go on doing so
  bool named = false;
  bool stays() const {
    if (!named) return true;
    const std::shared_ptr<TensorHandle> present = handle.lock();
    return present && present->cell == cell;
  }
};

/// Where a plan's input comes from at a replay.
struct Source {
  enum class Kind : uint8_t { Argument, Variable, Gradient, Constant, Renewed, Computed } kind;
  int index = -1;  ///< of the argument, the gradient or the earlier computation's result
  Variable variable = {};
  std::vector<Variable> same = {};  ///< more variables that hold this value: they must go on doing so
  Value constant;
  std::function<Value()> renew;
  Form form;
};

/// The gradient tensor of a leaf, whichever it is at a replay.
struct Gradient {
  std::shared_ptr<AutogradState> state;
  std::shared_ptr<Cell> cell;  ///< of the gradient that was there before, while the program is made
  bool was_defined;
  bool is_defined;  ///< in the end
  bool fresh;       ///< a new tensor; else, if there is a result, the old one changed in place
  int result = -1;  ///< of the plan
};

/// Whether both lie in the same memory.
bool is_same_memory(const Value& a, const Value& b) {
  const Buffer &one = output_of(a).buffer, &two = output_of(b).buffer;
  return one.storage == two.storage && one.offset == two.offset;
}

/// Those variables of these that still exist. False if there is none: the value is a constant.
bool find_variables(const std::vector<CaptureLog::Reader>& readers, Source& source) {
  for (const CaptureLog::Reader& reader : readers) {
    const std::shared_ptr<Cell> cell = reader.cell.lock();
    if (!cell) continue;
    Variable* variable = !source.variable.cell || source.variable.cell == cell ? &source.variable : nullptr;
    for (Variable& other : source.same)
      if (other.cell == cell) variable = &other;
    if (variable == nullptr) variable = &source.same.emplace_back();
    variable->cell = cell;
    if (const std::shared_ptr<TensorHandle> handle = reader.handle.lock(); handle && handle->cell == cell) {
      variable->handle = handle;
      variable->named = true;
    }
  }
  return source.variable.cell != nullptr;
}

}  // namespace

class CapturedProgram {
 public:
  std::vector<Computation> computations;
  std::vector<Computation::Form> forms;  ///< of all results
  std::vector<Source> sources;           ///< of all computations
  std::vector<bool> overwritten;         ///< for each source: it is a variable that the function binds to another value
  std::vector<int> results;              ///< of all computations, counted through, as below
  std::vector<std::pair<std::shared_ptr<Cell>, int>> variables;
  std::vector<Gradient> gradients;
  bool grad_mode;
  graph::AutocastSettings autocast;
  const kernels::Kernels* kernels;
  int64_t algorithms;  ///< forced_algorithm_generation()
  cpu::BFloat16Products products;

  Value present(const Source& source, std::span<const Tensor> inputs) const {
    switch (source.kind) {
      case Source::Kind::Argument:
        return inputs[static_cast<size_t>(source.index)].value();
      case Source::Kind::Gradient:
        return gradients[static_cast<size_t>(source.index)].state->grad.value();
      case Source::Kind::Variable:
        return refresh(*source.variable.cell);
      case Source::Kind::Constant:
        return source.constant;
      case Source::Kind::Renewed:
      case Source::Kind::Computed:
        break;
    }
    return source.renew();
  }

  bool is_rebound(const Source& source) const {
    if (source.kind == Source::Kind::Gradient) {
      const Gradient& gradient = gradients[static_cast<size_t>(source.index)];
      return gradient.result >= 0 && !gradient.fresh;
    }
    return source.kind == Source::Kind::Variable &&
           std::any_of(variables.begin(), variables.end(),
                       [&](const auto& variable) { return variable.first == source.variable.cell; });
  }
};

}  // namespace graph

using graph::CapturedProgram;
using graph::CaptureLog;
using graph::Source;
using graph::Value;

struct CaptureScope::State {
  CaptureLog log;
  Tensors inputs;
  graph::CastCache casts;  ///< the thread's, put aside while recording
  bool recording = true;
  void stop() {
    if (!recording) return;
    graph::capture_log() = nullptr;
    graph::swap_autocast_cache(casts);
    casts.clear();
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
  graph::swap_autocast_cache(state_->casts);
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
  const auto request = [&](const Value& value, const char* what) {
    check(!value.node->is_evaluated(), "capture: the function ", what,
          " that it was given or found, as it is; a replay could not tell them apart, use a clone()");
    requested.push_back(value);
  };
  for (const Tensor& result : results) request(result.value(), "returns a tensor");
  std::vector<size_t> changed_gradients;
  for (const auto& [state, before] : log.gradients) {
    const bool fresh = state->grad.defined() && !(before.defined() && before.handle() == state->grad.handle());
    const std::shared_ptr<graph::Cell> cell = before.defined() ? before.handle()->cell : nullptr;
    program->gradients.push_back({state, cell, before.defined(), state->grad.defined(), fresh});
    if (!fresh) continue;
    changed_gradients.push_back(program->gradients.size() - 1);
    request(state->grad.value(), "sets a gradient to a tensor");
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
      request(cell->value, "assigns a tensor");
      continue;
    }
    for (const Tensor& input : state_->inputs)
      check(input.handle()->cell != cell, "capture: the function changes an argument in place");
    program->variables.emplace_back(cell, -1);
    request(cell->value, "assigns a tensor");
  }
  program->computations = graph::evaluate_captured(requested, log.first_sequence);
  program->grad_mode = is_grad_enabled();
  program->autocast = graph::autocast_settings();
  program->kernels = &cpu::active_kernels();
  program->algorithms = graph::forced_algorithm_generation();
  program->products = cpu::bfloat16_products();

  std::vector<Value> computed;
  const auto place = [&](const Value& value) {
    const auto found = std::find(computed.begin(), computed.end(), value);
    return found == computed.end() ? -1 : static_cast<int>(found - computed.begin());
  };
  const auto find_source = [&](const Value& input) {
    Source source{
        .kind = Source::Kind::Constant, .constant = {}, .renew = nullptr, .form = graph::Form(graph::output_of(input))};
    const graph::Output* output = &graph::output_of(input);
    const auto argument = std::find_if(state_->inputs.begin(), state_->inputs.end(), [&](const Tensor& tensor) {
      return &graph::output_of(tensor.value()) == output;
    });
    const auto read = log.read.find(output);
    const auto renewed = log.renewed.find(output);
    if (const int result = place(input); result >= 0) {
      source.kind = Source::Kind::Computed;
      source.index = result;
    } else if (argument != state_->inputs.end()) {
      source.kind = Source::Kind::Argument;
      source.index = static_cast<int>(argument - state_->inputs.begin());
    } else if (renewed != log.renewed.end()) {
      source.kind = Source::Kind::Renewed;
      source.renew = renewed->second;
    } else if (read != log.read.end() && find_variables(read->second, source)) {
      source.index = gradient_of(source.variable.cell);
      for (const graph::Variable& other : source.same)
        check(source.index < 0 && gradient_of(other.cell) < 0,
              "capture: the function reads a gradient and another tensor that hold one value (one was set to the other "
              "by copy_() or detach()); clone() one of them outside");
      source.kind = source.index >= 0 ? Source::Kind::Gradient : Source::Kind::Variable;
      if (source.index >= 0) source.variable = {};
    } else {
      source.constant = input;
    }
    return source;
  };
  for (graph::Computation& computation : program->computations) {
    for (const Value& input : computation.inputs) program->sources.push_back(find_source(input));
    computed.insert(computed.end(), computation.results.begin(), computation.results.end());
    program->forms.insert(program->forms.end(), computation.forms.begin(), computation.forms.end());
    // What the plan was made of is not needed any more, and would keep the first values alive.
    computation.inputs.clear();
    computation.results.clear();
  }
  for (const Tensor& result : results) program->results.push_back(place(result.value()));
  for (auto& [cell, result] : program->variables) result = place(cell->value);
  for (const size_t i : changed_gradients)
    program->gradients[i].result = place(program->gradients[i].state->grad.value());
  for (graph::Gradient& gradient : program->gradients) gradient.cell = nullptr;
  for (const Source& source : program->sources) program->overwritten.push_back(program->is_rebound(source));
  return program;
}

namespace {

/// The values a replay starts from, or nothing if the program was not made for these.
std::optional<std::vector<graph::CapturedInput>> present_values(const CapturedProgram& program,
                                                                std::span<const Tensor> inputs) {
  if (program.grad_mode != is_grad_enabled() || program.autocast != graph::autocast_settings() ||
      program.kernels != &cpu::active_kernels() || program.algorithms != graph::forced_algorithm_generation() ||
      program.products != cpu::bfloat16_products())
    return std::nullopt;
  for (const graph::Gradient& gradient : program.gradients)
    if (gradient.state->grad.defined() != gradient.was_defined) return std::nullopt;
  std::vector<graph::CapturedInput> captured(program.sources.size());
  for (size_t i = 0; i < captured.size(); ++i) {
    const Source& source = program.sources[i];
    captured[i].overwritten = program.overwritten[i];
    if (source.kind == Source::Kind::Computed) captured[i].result = source.index;
    if (source.kind == Source::Kind::Renewed || source.kind == Source::Kind::Computed) continue;
    if (source.kind == Source::Kind::Argument && static_cast<size_t>(source.index) >= inputs.size())
      return std::nullopt;
    if (!source.variable.stays()) return std::nullopt;
    Value& present = captured[i].value;
    present = program.present(source, inputs);
    if (source.kind == Source::Kind::Constant) continue;
    if (!present.node->is_evaluated()) graph::evaluate_values(std::span(&present, 1));
    if (!source.form.fits(present)) return std::nullopt;
    for (const graph::Variable& other : source.same) {
      const Value value = graph::refresh(*other.cell);
      if (!value.node->is_evaluated()) graph::evaluate_values(std::span(&value, 1));
      if (!other.stays() || !value.node->is_evaluated() || !graph::is_same_memory(value, present)) return std::nullopt;
    }
  }
  for (size_t i = 0; i < captured.size(); ++i)
    if (program.sources[i].kind == Source::Kind::Renewed) captured[i].value = program.sources[i].renew();
  return captured;
}

}  // namespace

std::optional<Tensors> replay(const CapturedProgram& program, std::span<const Tensor> inputs) {
  if (mode() == Mode::Eager || graph::capture_log() != nullptr) return std::nullopt;
  const std::optional<std::vector<graph::CapturedInput>> captured = present_values(program, inputs);
  if (!captured) return std::nullopt;
  // As in an ordinary step, variables name their next values before these are computed: nobody can get hold of memory
  // that is about to be written over, and other threads wait.
  std::vector<graph::Placeholder> placeholders;
  std::vector<graph::Cell*> cells;
  const auto rebind = [&](graph::Cell& cell, int result) {
    placeholders.push_back(graph::make_placeholder(graph::refresh(cell), result));
    cells.push_back(&cell);
  };
  for (const auto& [cell, result] : program.variables) rebind(*cell, result);
  for (const graph::Gradient& gradient : program.gradients)
    if (gradient.result >= 0 && !gradient.fresh) rebind(*gradient.state->grad.handle()->cell, gradient.result);
  graph::Claim claim(placeholders);
  for (size_t i = 0; i < cells.size(); ++i) cells[i]->bind(placeholders[i].value);
  const std::vector<graph::Buffer> buffers = graph::run_captured(program.computations, *captured, placeholders, claim);

  const auto made = [&](int result) {
    const graph::Computation::Form& form = program.forms[static_cast<size_t>(result)];
    return Tensor(graph::make_leaf(form.shape, form.dtype, buffers[static_cast<size_t>(result)]));
  };
  for (const graph::Gradient& gradient : program.gradients) {
    if (gradient.fresh) gradient.state->grad = made(gradient.result);
    if (!gradient.is_defined) gradient.state->grad = Tensor();
  }
  Tensors results;
  for (const int result : program.results) results.push_back(made(result));
  return results;
}

std::function<Tensors(const Tensors&)> capture(std::function<Tensors(const Tensors&)> function) {
  struct Shared {
    std::function<Tensors(const Tensors&)> function;
    std::vector<std::shared_ptr<const CapturedProgram>> programs;
    std::vector<std::vector<std::tuple<Shape, DType, Device>>> warm;  ///< forms of inputs that were run once
  };
  auto shared = std::make_shared<Shared>(Shared{std::move(function), {}, {}});
  return [shared](const Tensors& inputs) {
    evaluate(inputs);
    for (const auto& program : shared->programs)
      if (std::optional<Tensors> results = replay(*program, inputs)) return std::move(*results);
    std::vector<std::tuple<Shape, DType, Device>> form;
    for (const Tensor& input : inputs) form.emplace_back(input.shape(), input.dtype(), input.device());
    const bool eager = mode() == Mode::Eager;
    if (eager || std::find(shared->warm.begin(), shared->warm.end(), form) == shared->warm.end()) {
      Tensors results = shared->function(inputs);
      for (Tensor& result : results) result = result.detach();
      evaluate(results);
      if (!eager) shared->warm.push_back(std::move(form));
      return results;
    }
    CaptureScope scope(inputs);
    Tensors results = shared->function(scope.inputs());
    shared->programs.push_back(scope.finish(results));
    for (Tensor& result : results) result = result.detach();
    return results;
  };
}

}  // namespace pycnn
