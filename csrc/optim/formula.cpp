#include "optim/formula.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <mutex>

#include "graph/capture.h"
#include "graph/lowering.h"
#include "graph/node.h"
#include "graph/operator.h"
#include "ops/promotion.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn::optim {

using graph::Expression;
using graph::Opcode;
using graph::ProgramBuilder;
using graph::Slot;

namespace {

/// One of a rule's two programs.
class Update final : public graph::Operator {
 public:
  Update(const char* name, int64_t id, std::vector<ProgramBuilder::Step> steps, std::vector<int> results,
         std::vector<DType> dtypes, DType compute)
      : name_(name),
        id_(id),
        steps_(std::move(steps)),
        results_(std::move(results)),
        dtypes_(std::move(dtypes)),
        compute_(compute) {}

  const char* name() const override { return name_; }
  void fingerprint(graph::Fingerprint& f) const override { f.add(id_); }

  std::vector<Slot> lower(graph::Lowering& l, std::span<const Slot> inputs) const override {
    const auto build = [&](ProgramBuilder& p, std::span<const Expression> x) {
      std::vector<Expression> terms;
      for (ProgramBuilder::Step step : steps_) {
        if (step.opcode == Opcode::Load) {
          terms.push_back(x[static_cast<size_t>(step.index)]);
          continue;
        }
        for (int& operand : step.operands)
          if (operand >= 0) operand = terms[static_cast<size_t>(operand)].id;
        p.steps().push_back(step);
        terms.push_back({static_cast<int>(p.steps().size()) - 1, step.type});
      }
      std::vector<Expression> results;
      for (int result : results_) results.push_back(terms[static_cast<size_t>(result)]);
      return results;
    };
    // The first input has the shape of all results: a parameter, or a number.
    return l.pointwise(inputs, inputs.empty() ? Shape{} : inputs[0].shape, compute_, dtypes_, build);
  }

 private:
  const char* name_;
  int64_t id_;  ///< equal for equal programs, and for no others
  std::vector<ProgramBuilder::Step> steps_;
  std::vector<int> results_;
  std::vector<DType> dtypes_;
  DType compute_;
};

/// The operator of this program, always the same for the same.
std::shared_ptr<const graph::Operator> update_operator(const char* name, const ProgramBuilder& program,
                                                       const std::vector<int>& results,
                                                       const std::vector<DType>& dtypes, DType compute) {
  std::vector<uint64_t> key{std::bit_cast<uintptr_t>(name), static_cast<uint64_t>(compute), results.size()};
  for (size_t i = 0; i < results.size(); ++i) {
    key.push_back(static_cast<uint64_t>(results[i]));
    key.push_back(static_cast<uint64_t>(dtypes[i]));
  }
  for (const ProgramBuilder::Step& step : program.steps()) {
    key.push_back(static_cast<uint64_t>(step.opcode) << 16U | static_cast<uint64_t>(step.type) << 8U |
                  static_cast<uint64_t>(step.source));
    for (int operand : step.operands) key.push_back(static_cast<uint64_t>(operand));
    key.push_back(static_cast<uint64_t>(step.index));
    key.push_back(std::bit_cast<uint64_t>(step.floating));
  }
  static std::mutex mutex;
  static std::map<std::vector<uint64_t>, std::shared_ptr<const Update>> known;
  const std::lock_guard lock(mutex);
  std::shared_ptr<const Update>& entry = known[std::move(key)];
  if (!entry)
    entry =
        std::make_shared<Update>(name, static_cast<int64_t>(known.size()), program.steps(), results, dtypes, compute);
  return entry;
}

double value_of(Opcode opcode, const std::array<double, 3>& x) {
  switch (opcode) {
    case Opcode::Add:
      return x[0] + x[1];
    case Opcode::Subtract:
      return x[0] - x[1];
    case Opcode::Multiply:
      return x[0] * x[1];
    case Opcode::Divide:
      return x[0] / x[1];
    case Opcode::Negate:
      return -x[0];
    case Opcode::Sqrt:
      return std::sqrt(x[0]);
    case Opcode::Power:
      return std::pow(x[0], x[1]);
    default:
      fail<Error>("internal error: an optimiser's formula computes with options in an unknown way");
  }
}

}  // namespace

Term compute(Opcode opcode, std::span<const Term> operands) {
  using Kind = Term::Kind;
  Formula* formula = nullptr;
  Kind kind = Kind::Literal;
  for (const Term& operand : operands) {
    if (operand.formula_ != nullptr) formula = operand.formula_;
    kind = std::max(kind, operand.kind_);
  }
  if (kind <= Kind::Known) {
    std::array<double, 3> values{};
    for (size_t i = 0; i < operands.size(); ++i) values[i] = operands[i].value_;
    return {formula, kind, value_of(opcode, values)};
  }
  std::array<Expression, 3> x;
  for (size_t i = 0; i < operands.size(); ++i)
    x[i] = kind == Kind::Elements ? formula->as_elements(operands[i]) : formula->as_number(operands[i]);
  ProgramBuilder& builder = (kind == Kind::Elements ? formula->elements_ : formula->numbers_).builder;
  Expression result = operands.size() == 1   ? builder.apply(opcode, x[0])
                      : operands.size() == 2 ? builder.apply(opcode, x[0], x[1])
                                             : builder.apply(opcode, x[0], x[1], x[2]);
  return {formula, kind, 0, result};
}

Formula::Formula(const Rule& rule, const Options& options, const Updated& present)
    : rule_(rule), options_(options), present_(present) {
  numbers_.compute = DType::Float64;
  elements_.compute = ops::compute_dtype(present.parameter.dtype());
  parameter_ = {this, Term::Kind::Elements, 0, elements_.load({Place::Kind::Parameter})};
  rule.formula(*this);
  elements_.outputs.push_back({{Place::Kind::Parameter}, as_elements(parameter_), present.parameter.dtype()});
  for (const auto& [state, value] : next_) {
    const Place place{Place::Kind::State, state};
    if (rule.state[state].is_number) {
      numbers_.outputs.push_back({place, as_number(value), dtype_of_number(state)});
    } else {
      const Tensor& tensor = present.state[state];
      const DType dtype = tensor.defined() ? tensor.dtype() : present.parameter.dtype();
      elements_.outputs.push_back({place, as_elements(value), dtype});
    }
  }
  for (Program* program : {&numbers_, &elements_}) {
    std::vector<int> results;
    std::vector<DType> dtypes;
    for (const Program::Output& output : program->outputs) {
      results.push_back(output.value.id);
      dtypes.push_back(output.dtype);
    }
    program->update = update_operator(rule.name, program->builder, results, dtypes, program->compute);
  }
}

Expression Formula::Program::load(Place place) {
  const auto same = [&](const Place& other) { return other.kind == place.kind && other.index == place.index; };
  auto found = place.kind == Place::Kind::Tensor ? inputs.end() : std::find_if(inputs.begin(), inputs.end(), same);
  const auto index = static_cast<int>(found - inputs.begin());
  if (found == inputs.end()) inputs.push_back(std::move(place));
  return builder.load(index, compute);
}

size_t Formula::index_of(std::string_view name) const {
  const auto found =
      std::find_if(rule_.state.begin(), rule_.state.end(), [&](const State& state) { return state.name == name; });
  check(found != rule_.state.end(), "internal error: ", rule_.name, " has no state '", name, "'");
  return static_cast<size_t>(found - rule_.state.begin());
}

DType Formula::dtype_of_number(size_t state) const {
  const Tensor& tensor = present_.state[state];
  if (tensor.defined()) return tensor.dtype();
  return default_dtype() == DType::Float64 ? DType::Float64 : DType::Float32;
}

Expression Formula::as_number(const Term& term) {
  switch (term.kind_) {
    case Term::Kind::Literal:
      return numbers_.builder.constant(term.value_, graph::RegisterType::F64);
    case Term::Kind::Known:
      return numbers_.load({Place::Kind::Tensor, 0, scalar_tensor(term.value_, DType::Float64)});
    case Term::Kind::Computed:
      return term.expression_;
    case Term::Kind::Elements:
      break;
  }
  fail<Error>("internal error: ", rule_.name, " takes elements for a number");
}

Expression Formula::as_elements(const Term& term) {
  switch (term.kind_) {
    case Term::Kind::Literal:
      return elements_.builder.constant(term.value_, graph::register_type_of(elements_.compute));
    case Term::Kind::Known:
      return elements_.load({Place::Kind::Tensor, 0, scalar_tensor(term.value_, elements_.compute)});
    case Term::Kind::Computed: {
      const Place place{Place::Kind::Computed, numbers_.outputs.size()};
      numbers_.outputs.push_back({place, term.expression_, elements_.compute});
      return elements_.load(place);
    }
    case Term::Kind::Elements:
      break;
  }
  return term.expression_;
}

Term Formula::gradient() {
  const Term gradient{this, Term::Kind::Elements, 0, elements_.load({Place::Kind::Gradient})};
  return flag("maximize") ? -gradient : gradient;
}

Term Formula::option(std::string_view name) {
  const std::variant<double, Tensor> value = options_.number(name);
  if (const double* number = std::get_if<double>(&value)) return {this, Term::Kind::Known, *number};
  // The tensor itself, as it may change between replays of a capture.
  Tensor tensor = std::get<Tensor>(value);
  check<ValueError>(tensor.numel() == 1, rule_.name, ": Tensor ", name, " must be 1-element");
  if (tensor.dim() != 0) tensor = reshape(tensor, Shape{});
  return {this, Term::Kind::Computed, 0, numbers_.load({Place::Kind::Tensor, 0, std::move(tensor)})};
}

bool Formula::uses(std::string_view name) const {
  const std::variant<double, Tensor> value = options_.number(name);
  const double* number = std::get_if<double>(&value);
  return number == nullptr || *number != 0;
}

Term Formula::state(std::string_view name, const Term& initial) {
  const size_t state = index_of(name);
  const Expression value =
      present_.state[state].defined() ? elements_.load({Place::Kind::State, state}) : as_elements(initial);
  return {this, Term::Kind::Elements, 0, value};
}

Term Formula::number(std::string_view name, const Term& initial) {
  const size_t state = index_of(name);
  if (!present_.state[state].defined()) return as_stored(name, initial);
  return {this, Term::Kind::Computed, 0, numbers_.load({Place::Kind::State, state})};
}

Term Formula::step() {
  const Term next = number("step", 0) + 1;
  set("step", next);
  return next;
}

Term Formula::as_stored(std::string_view name, const Term& value) {
  return rounded(value, dtype_of_number(index_of(name)));
}

Term Formula::in_default_dtype(const Term& value) { return rounded(value, default_dtype()); }

Term Formula::rounded(const Term& value, DType dtype) {
  ProgramBuilder& p = numbers_.builder;
  Expression result = as_number(value);
  if (dtype != DType::Float64)
    result = p.convert(p.round_to(p.convert(result, graph::RegisterType::F32), dtype), graph::RegisterType::F64);
  return {this, Term::Kind::Computed, 0, result};
}

Term Formula::parameter_norm() { return {this, Term::Kind::Computed, 0, numbers_.load({Place::Kind::ParameterNorm})}; }

Term Formula::gradient_norm() { return {this, Term::Kind::Computed, 0, numbers_.load({Place::Kind::GradientNorm})}; }

void Formula::set(std::string_view name, const Term& value) { next_.emplace_back(index_of(name), value); }

Tensors Formula::run(const Program& program, const Shape& shape, const Updated& of, const Tensors& computed) const {
  const auto input = [&](const Place& place) -> Tensor {
    switch (place.kind) {
      case Place::Kind::Parameter:
        return of.parameter;
      case Place::Kind::Gradient:
        return of.parameter.grad();
      case Place::Kind::State: {
        const Tensor& state = of.state[place.index];
        check(state.shape() == shape, rule_.name, ": the state '", rule_.state[place.index].name,
              "' of a parameter of shape ", of.parameter.shape(), " has shape ", state.shape(), ", expected ", shape);
        return state;
      }
      case Place::Kind::Tensor:
        return place.tensor;
      case Place::Kind::Computed:
        return computed[place.index];
      case Place::Kind::ParameterNorm:
        return norm(cast(of.parameter, elements_.compute));
      case Place::Kind::GradientNorm:
        break;
    }
    return norm(cast(of.parameter.grad(), elements_.compute));
  };
  Tensors inputs;
  for (const Place& place : program.inputs) inputs.push_back(input(place));
  std::vector<graph::Spec> specs;
  for (const Program::Output& output : program.outputs) specs.push_back({shape, output.dtype, false});
  return graph::record(program.update, inputs, specs);
}

Tensors Formula::numbers(const Updated& of) {
  // Parameters that have taken equally many steps usually hold one value, as they got it here.
  std::vector<graph::Value> values;
  for (const Place& place : numbers_.inputs) {
    if (place.kind == Place::Kind::ParameterNorm || place.kind == Place::Kind::GradientNorm)
      return run(numbers_, Shape{}, of, {});
    if (place.kind == Place::Kind::State) values.push_back(of.state[place.index].value());
  }
  const auto is_same = [](const graph::Value& a, const graph::Value& b) {
    if (a == b) return true;
    const graph::Output &one = graph::output_of(a), &two = graph::output_of(b);
    return a.node->is_evaluated() && b.node->is_evaluated() && one.shape == two.shape && one.dtype == two.dtype &&
           one.buffer.storage == two.buffer.storage && one.buffer.offset == two.buffer.offset;
  };
  const auto known = std::find_if(known_numbers_.begin(), known_numbers_.end(), [&](const auto& entry) {
    return std::equal(values.begin(), values.end(), entry.first.begin(), is_same);
  });
  if (known == known_numbers_.end())
    return known_numbers_.emplace_back(std::move(values), run(numbers_, Shape{}, of, {})).second;
  if (graph::CaptureLog* log = graph::capture_log())
    for (const Place& place : numbers_.inputs)
      if (place.kind == Place::Kind::State && of.state[place.index].is_evaluated())
        log->note_read(of.state[place.index].value(), of.state[place.index].handle());
  return known->second;
}

Updated Formula::record(const Updated& of) {
  Updated next{{}, Tensors(rule_.state.size())};
  const auto keep = [&](const Program& program, const Tensors& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      const Place& place = program.outputs[i].place;
      if (place.kind == Place::Kind::Parameter) next.parameter = values[i];
      // A tensor of its own, though several may hold one value.
      if (place.kind == Place::Kind::State) next.state[place.index] = Tensor(values[i].value());
    }
  };
  const Tensors numbers = numbers_.outputs.empty() ? Tensors() : this->numbers(of);
  keep(numbers_, numbers);
  keep(elements_, run(elements_, of.parameter.shape(), of, numbers));
  return next;
}

Updated Step::next(const Updated& of) {
  NoGradGuard guard;
  check(is_floating_point(of.parameter.dtype()), rule_.name, ": parameters are floating point, one has dtype ",
        of.parameter.dtype());
  std::vector<int> form{static_cast<int>(of.parameter.dtype())};
  for (const Tensor& state : of.state) form.push_back(state.defined() ? static_cast<int>(state.dtype()) : -1);
  auto found = std::find_if(formulas_.begin(), formulas_.end(), [&](const auto& entry) { return entry.first == form; });
  if (found == formulas_.end()) {
    formulas_.emplace_back(std::move(form), std::make_unique<Formula>(rule_, options_, of));
    found = formulas_.end() - 1;
  }
  return found->second->record(of);
}

void Step::assign_next(Updated& of) {
  NoGradGuard guard;
  Updated next = this->next(of);
  of.parameter.check_in_place(rule_.name);
  of.parameter.assign_(std::move(next.parameter));
  for (size_t i = 0; i < next.state.size(); ++i) {
    if (!next.state[i].defined()) continue;
    if (of.state[i].defined())
      of.state[i].assign_(std::move(next.state[i]));
    else
      of.state[i] = next.state[i];
  }
}

}  // namespace pycnn::optim
