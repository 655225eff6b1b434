#include "pycnn/optim.h"

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "ops/pointwise.h"
#include "pycnn/autograd.h"
#include "pycnn/ops.h"

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

/// Records next values; no gradients may be recorded meanwhile. Parameters of one dtype share the options' numbers, so
/// that a step has few inputs.
class Rule {
 public:
  explicit Rule(const SGDOptions& options) : options_(options) {}

  Update next_values(const Tensor& parameter, const Tensor& previous_velocity) {
    Tensor gradient = options_.maximize ? -parameter.grad() : parameter.grad();
    if (!lr_.defined() || dtype_ != gradient.dtype()) wrap_options(gradient);
    if (options_.weight_decay != 0) gradient = ops::add_scaled(gradient, parameter, weight_decay_);
    if (options_.momentum == 0) return {ops::sub_scaled(parameter, gradient, lr_), {}};
    Tensor velocity;
    if (!previous_velocity.defined())
      velocity = clone(gradient);
    else if (options_.dampening == 0)
      velocity = mul(previous_velocity, momentum_) + gradient;
    else
      velocity = ops::add_scaled(mul(previous_velocity, momentum_), gradient, undampened_);
    gradient = options_.nesterov ? ops::add_scaled(gradient, velocity, momentum_) : velocity;
    return {ops::sub_scaled(parameter, gradient, lr_), velocity};
  }

 private:
  void wrap_options(const Tensor& gradient) {
    dtype_ = gradient.dtype();
    lr_ = wrap_scalar(options_.lr, gradient);
    if (options_.momentum != 0) momentum_ = wrap_scalar(options_.momentum, gradient);
    if (options_.dampening != 0) undampened_ = wrap_scalar(1 - options_.dampening, gradient);
    if (options_.weight_decay != 0) weight_decay_ = wrap_scalar(options_.weight_decay, gradient);
  }

  const SGDOptions& options_;
  DType dtype_ = DType::Float32;
  Tensor lr_, momentum_, undampened_, weight_decay_;
};

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

void record_step(std::span<Tensor> parameters, std::span<Tensor> velocities, const SGDOptions& options) {
  NoGradGuard guard;
  Rule rule(options);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].grad().defined()) continue;
    const Update update = rule.next_values(parameters[i], velocities[i]);
    parameters[i].check_in_place("SGD");
    parameters[i].assign_(update.parameter);
    if (!update.velocity.defined()) continue;
    if (velocities[i].defined())
      velocities[i].assign_(update.velocity);
    else
      velocities[i] = update.velocity;
  }
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
    Rule rule(groups_[g].options);
    for (size_t i = 0; i < groups_[g].parameters.size(); ++i) {
      Tensor& parameter = groups_[g].parameters[i];
      if (!parameter.grad().defined()) continue;
      Tensor& velocity = velocities_[g][i];
      pending.push_back({&parameter, &velocity, rule.next_values(parameter, velocity)});
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
