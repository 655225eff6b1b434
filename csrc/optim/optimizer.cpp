#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "optim/formula.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"
#include "pycnn/optim.h"

namespace pycnn::optim {

namespace {

/// A struct of options as tables: which rule they are for, and its options' names.
template <typename Fields>
struct Description {
  const char* name;
  const char* rule;
  struct Number {
    const char* name;
    double Fields::*field;
    bool below_one = false;  ///< all are at least 0
  };
  std::vector<Number> numbers;
  std::vector<std::pair<const char*, bool Fields::*>> switches;
  const char* always = "";  ///< a switch that is on
  void (*check)(const Fields&) = [](const Fields&) {};
};

template <typename Fields>
const Description<Fields>& description();

template <>
const Description<SGDOptions>& description() {
  using O = SGDOptions;
  static const Description<O> table{.name = "SGD",
                                    .rule = "SGD",
                                    .numbers = {{"lr", &O::lr},
                                                {"momentum", &O::momentum},
                                                {"dampening", &O::dampening},
                                                {"weight_decay", &O::weight_decay}},
                                    .switches = {{"nesterov", &O::nesterov}, {"maximize", &O::maximize}},
                                    .check = [](const O& options) {
                                      pycnn::check<ValueError>(
                                          !options.nesterov || (options.momentum > 0 && options.dampening == 0),
                                          "SGD: Nesterov momentum requires a momentum and zero dampening");
                                    }};
  return table;
}

template <typename O>
Description<O> description_of_adam(const char* name) {
  return {.name = name,
          .rule = "Adam",
          .numbers = {{"lr", &O::lr},
                      {"beta1", &O::beta1, true},
                      {"beta2", &O::beta2, true},
                      {"eps", &O::eps},
                      {"weight_decay", &O::weight_decay}},
          .switches = {{"amsgrad", &O::amsgrad}, {"maximize", &O::maximize}}};
}

template <>
const Description<AdamOptions>& description() {
  static const Description<AdamOptions> table = [] {
    auto adam = description_of_adam<AdamOptions>("Adam");
    adam.switches.emplace_back("decoupled_weight_decay", &AdamOptions::decoupled_weight_decay);
    return adam;
  }();
  return table;
}

template <>
const Description<AdamWOptions>& description() {
  static const Description<AdamWOptions> table = [] {
    auto adam = description_of_adam<AdamWOptions>("AdamW");
    adam.always = "decoupled_weight_decay";
    return adam;
  }();
  return table;
}

template <>
const Description<RMSpropOptions>& description() {
  using O = RMSpropOptions;
  static const Description<O> table{.name = "RMSprop",
                                    .rule = "RMSprop",
                                    .numbers = {{"lr", &O::lr},
                                                {"alpha", &O::alpha},
                                                {"eps", &O::eps},
                                                {"weight_decay", &O::weight_decay},
                                                {"momentum", &O::momentum}},
                                    .switches = {{"centered", &O::centered}, {"maximize", &O::maximize}}};
  return table;
}

template <>
const Description<AdagradOptions>& description() {
  using O = AdagradOptions;
  static const Description<O> table{.name = "Adagrad",
                                    .rule = "Adagrad",
                                    .numbers = {{"lr", &O::lr},
                                                {"lr_decay", &O::lr_decay},
                                                {"weight_decay", &O::weight_decay},
                                                {"initial_accumulator_value", &O::initial_accumulator_value},
                                                {"eps", &O::eps}},
                                    .switches = {{"maximize", &O::maximize}}};
  return table;
}

template <>
const Description<AdadeltaOptions>& description() {
  using O = AdadeltaOptions;
  static const Description<O> table{
      .name = "Adadelta",
      .rule = "Adadelta",
      .numbers = {{"lr", &O::lr}, {"rho", &O::rho, true}, {"eps", &O::eps}, {"weight_decay", &O::weight_decay}},
      .switches = {{"maximize", &O::maximize}}};
  return table;
}

template <typename Fields>
const Rule& rule_of() {
  static const Rule& rule = find_rule(description<Fields>().rule);
  return rule;
}

template <typename Fields>
void check_options(const Fields& options) {
  const Description<Fields>& table = description<Fields>();
  for (const auto& number : table.numbers) {
    const double value = options.*number.field;
    check<ValueError>(value >= 0 && (!number.below_one || value < 1), table.name, ": invalid ", number.name, ": ",
                      value);
  }
  table.check(options);
}

template <typename Fields>
class FieldsAsOptions final : public Options {
 public:
  explicit FieldsAsOptions(const Fields& fields) : fields_(fields) {}
  std::variant<double, Tensor> number(std::string_view name) const override {
    for (const auto& number : description<Fields>().numbers)
      if (number.name == name) return fields_.*number.field;
    fail<Error>("internal error: ", description<Fields>().name, " has no option '", name, "'");
  }
  bool flag(std::string_view name) const override {
    for (const auto& [known, field] : description<Fields>().switches)
      if (known == name) return fields_.*field;
    return name == description<Fields>().always;
  }

 private:
  const Fields& fields_;
};

/// The shortest text that reads back as the same number.
std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

double number_from(std::string_view optimizer, std::string_view key, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check<ValueError>(error == std::errc() && end == text.data() + text.size() && std::isfinite(value), optimizer,
                    ": state '", key, "' is '", text, "', expected a number");
  return value;
}

std::string option_key(size_t group, const char* option) { return "group." + std::to_string(group) + "." + option; }

std::string state_key(const State& state, size_t parameter) {
  return std::string(state.name) + "." + std::to_string(parameter);
}

}  // namespace

template <typename Options>
Optimizer<Options>::Optimizer(Tensors parameters, const Options& options) {
  check<ValueError>(!parameters.empty(), description<Options>().name, ": got an empty parameter list");
  add_parameter_group({std::move(parameters), options});
}

template <typename Options>
Optimizer<Options>::Optimizer(std::vector<Group> groups) {
  check<ValueError>(!groups.empty(), description<Options>().name, ": got an empty list of parameter groups");
  for (Group& group : groups) add_parameter_group(std::move(group));
}

template <typename Options>
void Optimizer<Options>::add_parameter_group(Group group) {
  const char* name = description<Options>().name;
  check_options(group.options);
  std::unordered_set<const void*> known;
  for (const Group& other : groups_)
    for (const Tensor& parameter : other.parameters) known.insert(parameter.handle().get());
  for (const Tensor& parameter : group.parameters) {
    check<ValueError>(parameter.defined(), name, ": a parameter is undefined");
    check<ValueError>(parameter.is_leaf(), name, ": can't optimize a non-leaf Tensor");
    check<ValueError>(known.insert(parameter.handle().get()).second, name, ": a parameter appears twice");
  }
  states_.emplace_back(group.parameters.size(), Tensors(rule_of<Options>().state.size()));
  groups_.push_back(std::move(group));
}

template <typename Options>
void Optimizer<Options>::step() {
  for (const Group& group : groups_) check_options(group.options);
  Tensors changed;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const FieldsAsOptions<Options> options(groups_[g].options);
    Step step(rule_of<Options>(), options);
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      Updated updated{groups_[g].parameters[i], states_[g][i]};
      if (!updated.parameter.grad().defined()) continue;
      step.assign_next(updated);
      changed.push_back(updated.parameter);
      for (const Tensor& state : updated.state)
        if (state.defined()) changed.push_back(state);
      states_[g][i] = std::move(updated.state);
    }
  }
  evaluate(changed);
}

template <typename Options>
void Optimizer<Options>::zero_grad(bool set_to_none) {
  for (Group& group : groups_)
    for (Tensor& parameter : group.parameters)
      if (parameter.grad().defined()) parameter.set_grad(set_to_none ? Tensor() : zeros_like(parameter));
}

template <typename Options>
io::TensorFile Optimizer<Options>::state_dict() const {
  const Description<Options>& table = description<Options>();
  const std::vector<State>& names = rule_of<Options>().state;
  io::TensorFile state;
  size_t index = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (const auto& number : table.numbers)
      state.metadata[option_key(g, number.name)] = number_text(groups_[g].options.*number.field);
    for (const auto& [name, field] : table.switches)
      state.metadata[option_key(g, name)] = groups_[g].options.*field ? "true" : "false";
    for (const Tensors& of_parameter : states_[g]) {
      for (size_t i = 0; i < names.size(); ++i)
        if (of_parameter[i].defined()) state.tensors[state_key(names[i], index)] = of_parameter[i];
      ++index;
    }
  }
  return state;
}

template <typename Options>
void Optimizer<Options>::load_state_dict(const io::TensorFile& state) {
  const Description<Options>& table = description<Options>();
  std::vector<Options> options;
  std::vector<std::vector<Tensors>> states;
  size_t index = 0, used = 0;
  NoGradGuard guard;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const auto text_of = [&](const char* name) -> const std::string& {
      const auto found = state.metadata.find(option_key(g, name));
      check<ValueError>(found != state.metadata.end(), table.name, ": the state has no '", option_key(g, name),
                        "'; does it belong to as many parameter groups?");
      return found->second;
    };
    Options& loaded = options.emplace_back();
    for (const auto& number : table.numbers)
      loaded.*number.field = number_from(table.name, option_key(g, number.name), text_of(number.name));
    for (const auto& [name, field] : table.switches) {
      const std::string& text = text_of(name);
      check<ValueError>(text == "true" || text == "false", table.name, ": state '", option_key(g, name), "' is '", text,
                        "', expected true or false");
      loaded.*field = text == "true";
    }
    check_options(loaded);
    std::vector<Tensors>& of_group = states.emplace_back();
    for (const Tensor& parameter : groups_[g].parameters) {
      Tensors& of_parameter = of_group.emplace_back();
      for (const State& kept : rule_of<Options>().state) {
        Tensor& value = of_parameter.emplace_back();
        const auto found = state.tensors.find(state_key(kept, index));
        if (found == state.tensors.end()) continue;
        const Shape expected = kept.is_number ? Shape{} : parameter.shape();
        check<ValueError>(found->second.shape() == expected, table.name, ": '", found->first, "' has shape ",
                          found->second.shape(), ", expected ", expected);
        value = clone(found->second);
        if (!kept.is_number) value = cast(value, parameter.dtype());
        ++used;
      }
      ++index;
    }
  }
  check<ValueError>(used == state.tensors.size(), table.name, ": the state holds ", state.tensors.size(), " tensors, ",
                    used, " of them belong to these parameters");
  for (size_t g = 0; g < groups_.size(); ++g) groups_[g].options = options[g];
  states_ = std::move(states);
}

template class Optimizer<SGDOptions>;
template class Optimizer<AdamOptions>;
template class Optimizer<AdamWOptions>;
template class Optimizer<RMSpropOptions>;
template class Optimizer<AdagradOptions>;
template class Optimizer<AdadeltaOptions>;

}  // namespace pycnn::optim
