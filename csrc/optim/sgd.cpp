#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "pycnn/autograd.h"
#include "pycnn/ops.h"
#include "pycnn/optim.h"

namespace pycnn::optim {

namespace {

void check_options(const SGDOptions& options) {
  check<ValueError>(options.lr >= 0.0, "SGD: Invalid learning rate: ", options.lr);
  check<ValueError>(options.momentum >= 0.0, "SGD: Invalid momentum value: ", options.momentum);
  check<ValueError>(options.weight_decay >= 0.0, "SGD: Invalid weight_decay value: ", options.weight_decay);
  check<ValueError>(!options.nesterov || (options.momentum > 0.0 && options.dampening == 0.0),
                    "SGD: Nesterov momentum requires a momentum and zero dampening");
}

struct Update {
  Tensor parameter, velocity;  ///< velocity is undefined without momentum
};

/// The parameter's next value and velocity, recorded.
Update next_values(const Tensor& parameter, const Tensor& previous_velocity, const SGDOptions& options) {
  const Tensor value = parameter.detach();
  Tensor gradient = options.maximize ? -parameter.grad() : parameter.grad().detach();
  if (options.weight_decay != 0) gradient = gradient + options.weight_decay * value;
  Tensor velocity;
  if (options.momentum != 0) {
    velocity = previous_velocity.defined() ? options.momentum * previous_velocity + (1 - options.dampening) * gradient
                                           : clone(gradient);
    gradient = options.nesterov ? gradient + options.momentum * velocity : velocity;
  }
  return {value - options.lr * gradient, velocity};
}

/// The shortest text that reads back as the same number.
std::string number_text(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

double number_from(std::string_view key, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check<ValueError>(error == std::errc() && end == text.data() + text.size() && std::isfinite(value), "SGD: state '",
                    key, "' is '", text, "', expected a number");
  return value;
}

constexpr std::array<std::pair<const char*, double SGDOptions::*>, 4> number_options{
    {{"lr", &SGDOptions::lr},
     {"momentum", &SGDOptions::momentum},
     {"dampening", &SGDOptions::dampening},
     {"weight_decay", &SGDOptions::weight_decay}}};
constexpr std::array<std::pair<const char*, bool SGDOptions::*>, 2> switch_options{
    {{"nesterov", &SGDOptions::nesterov}, {"maximize", &SGDOptions::maximize}}};

std::string option_key(size_t group, const char* option) { return "group." + std::to_string(group) + "." + option; }

std::string velocity_key(size_t parameter) { return "momentum_buffer." + std::to_string(parameter); }

}  // namespace

SGD::SGD(Tensors parameters, const SGDOptions& options) {
  check<ValueError>(!parameters.empty(), "SGD: got an empty parameter list");
  add_parameter_group({std::move(parameters), options});
}

SGD::SGD(std::vector<ParameterGroup> groups) {
  check<ValueError>(!groups.empty(), "SGD: got an empty list of parameter groups");
  for (ParameterGroup& group : groups) add_parameter_group(std::move(group));
}

void SGD::add_parameter_group(ParameterGroup group) {
  check_options(group.options);
  std::unordered_set<const void*> known;
  for (const ParameterGroup& other : groups_)
    for (const Tensor& parameter : other.parameters) known.insert(parameter.handle().get());
  for (const Tensor& parameter : group.parameters) {
    check<ValueError>(parameter.defined(), "SGD: a parameter is undefined");
    check<ValueError>(parameter.is_leaf(), "SGD: can't optimize a non-leaf Tensor");
    check<ValueError>(known.insert(parameter.handle().get()).second, "SGD: a parameter appears twice");
  }
  velocities_.emplace_back(group.parameters.size());
  groups_.push_back(std::move(group));
}

void SGD::step() {
  NoGradGuard guard;
  struct Pending {
    Tensor* parameter;
    Tensor* velocity;
    Update update;
  };
  std::vector<Pending> pending;
  Tensors values;
  for (size_t g = 0; g < groups_.size(); ++g) {
    check_options(groups_[g].options);
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      Tensor& parameter = groups_[g].parameters[i];
      if (!parameter.grad().defined()) continue;
      Tensor& velocity = velocities_[g][i];
      pending.push_back({&parameter, &velocity, next_values(parameter, velocity, groups_[g].options)});
      values.push_back(pending.back().update.parameter);
      if (pending.back().update.velocity.defined()) values.push_back(pending.back().update.velocity);
    }
  }
  evaluate(values);
  for (Pending& entry : pending) {
    entry.parameter->set_data(entry.update.parameter);
    if (entry.update.velocity.defined()) *entry.velocity = entry.update.velocity;
  }
}

void SGD::zero_grad(bool set_to_none) {
  for (ParameterGroup& group : groups_)
    for (Tensor& parameter : group.parameters)
      if (parameter.grad().defined())
        parameter.set_grad(set_to_none ? Tensor() : zeros(parameter.shape(), parameter.dtype()));
}

io::TensorFile SGD::state_dict() const {
  io::TensorFile state;
  size_t index = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (const auto& [name, option] : number_options)
      state.metadata[option_key(g, name)] = number_text(groups_[g].options.*option);
    for (const auto& [name, option] : switch_options)
      state.metadata[option_key(g, name)] = groups_[g].options.*option ? "true" : "false";
    for (const Tensor& velocity : velocities_[g]) {
      if (velocity.defined()) state.tensors[velocity_key(index)] = velocity;
      ++index;
    }
  }
  return state;
}

void SGD::load_state_dict(const io::TensorFile& state) {
  std::vector<SGDOptions> options;
  std::vector<Tensors> velocities;
  size_t index = 0, velocities_used = 0;
  for (size_t g = 0; g < groups_.size(); ++g) {
    const auto text_of = [&](const char* name) -> const std::string& {
      const auto found = state.metadata.find(option_key(g, name));
      check<ValueError>(found != state.metadata.end(), "SGD: the state has no '", option_key(g, name),
                        "'; does it belong to as many parameter groups?");
      return found->second;
    };
    SGDOptions& loaded = options.emplace_back();
    for (const auto& [name, option] : number_options) loaded.*option = number_from(option_key(g, name), text_of(name));
    for (const auto& [name, option] : switch_options) {
      const std::string& text = text_of(name);
      check<ValueError>(text == "true" || text == "false", "SGD: state '", option_key(g, name), "' is '", text,
                        "', expected true or false");
      loaded.*option = text == "true";
    }
    check_options(loaded);
    Tensors& of_group = velocities.emplace_back();
    for (const Tensor& parameter : groups_[g].parameters) {
      Tensor velocity;
      if (const auto found = state.tensors.find(velocity_key(index++)); found != state.tensors.end()) {
        check<ValueError>(found->second.shape() == parameter.shape(), "SGD: '", found->first, "' has shape ",
                          found->second.shape(), ", its parameter ", parameter.shape());
        NoGradGuard guard;
        velocity = cast(clone(found->second), parameter.dtype());
        ++velocities_used;
      }
      of_group.push_back(velocity);
    }
  }
  check<ValueError>(velocities_used == state.tensors.size(), "SGD: the state holds ", state.tensors.size(),
                    " tensors, ", velocities_used, " of them belong to these parameters");
  for (size_t g = 0; g < groups_.size(); ++g) groups_[g].options = options[g];
  velocities_ = std::move(velocities);
}

}  // namespace pycnn::optim
