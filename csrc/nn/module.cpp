#include <algorithm>
#include <unordered_set>

#include "pycnn/autograd.h"
#include "pycnn/nn.h"

namespace pycnn::nn {

namespace {

/// "\n\tMissing key(s) in state_dict: "a", "b". " as PyTorch words it.
std::string list_keys(std::string_view heading, const std::vector<std::string>& keys) {
  std::string text = "\n\t" + std::string(heading) + " key(s) in state_dict: ";
  for (size_t i = 0; i < keys.size(); ++i) text += (i == 0 ? "\"" : ", \"") + keys[i] + "\"";
  return text + ". ";
}

Tensors values_of(const NamedTensors& named) {
  Tensors values;
  values.reserve(named.size());
  for (const auto& [name, value] : named) values.push_back(value);
  return values;
}

/// Tied tensors are listed once, under their first name.
NamedTensors without_repeats(const NamedTensors& named) {
  std::unordered_set<const void*> seen;
  NamedTensors unique;
  for (const auto& entry : named)
    if (seen.insert(entry.second.handle().get()).second) unique.push_back(entry);
  return unique;
}

}  // namespace

Module::Module() : state_(std::make_shared<State>()) {}

Tensor Module::forward(const Tensor&) const {
  fail<NotImplementedError>(name(), ": forward(const Tensor&) is not defined");
}

void Module::check_name(const std::string& name) const {
  check<ValueError>(!name.empty() && name.find('.') == std::string::npos, this->name(), ": '", name,
                    "' is no name for a member; expected a non-empty name without '.'");
  const auto taken = [&](const auto& entries) {
    return std::any_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == name; });
  };
  check<ValueError>(!taken(state_->parameters) && !taken(state_->buffers) && !taken(state_->children), this->name(),
                    ": the name '", name, "' is in use already");
}

Tensor Module::register_parameter(std::string name, const Tensor& value) {
  check_name(name);
  // A leaf of its own: an initial value is no part of anybody's graph, and evaluated so that steps do not carry it
  // along.
  Tensor parameter = value.detach();
  parameter.evaluate();
  parameter.requires_grad_();
  state_->parameters.emplace_back(std::move(name), parameter);
  return parameter;
}

Tensor Module::register_buffer(std::string name, const Tensor& value) {
  check_name(name);
  value.evaluate();
  state_->buffers.emplace_back(std::move(name), value);
  return value;
}

void Module::add_child(std::string name, std::shared_ptr<Module> child) {
  check_name(name);
  state_->children.emplace_back(std::move(name), std::move(child));
}

void Module::collect(NamedTensors State::*member, const std::string& prefix, NamedTensors& out) const {
  for (const auto& [name, value] : (*state_).*member) out.emplace_back(prefix + name, value);
  for (const auto& [name, child] : state_->children) child->collect(member, prefix + name + ".", out);
}

NamedTensors Module::named_parameters() const {
  NamedTensors all;
  collect(&State::parameters, "", all);
  return without_repeats(all);
}

NamedTensors Module::named_buffers() const {
  NamedTensors all;
  collect(&State::buffers, "", all);
  return without_repeats(all);
}

Tensors Module::parameters() const { return values_of(named_parameters()); }

Tensors Module::buffers() const { return values_of(named_buffers()); }

std::vector<std::pair<std::string, std::shared_ptr<Module>>> Module::named_children() const { return state_->children; }

std::vector<std::shared_ptr<Module>> Module::children() const {
  std::vector<std::shared_ptr<Module>> result;
  for (const auto& [name, child] : state_->children) result.push_back(child);
  return result;
}

NamedTensors Module::state_entries() const {
  NamedTensors all;
  collect(&State::parameters, "", all);
  collect(&State::buffers, "", all);
  return all;
}

Tensor Module::named(std::string_view dotted_name) const {
  for (const auto& [name, value] : state_entries())
    if (name == dotted_name) return value;
  fail<ValueError>(name(), ": no parameter or buffer is named '", dotted_name, "'");
}

bool Module::is_training() const { return state_->training; }

void Module::train(bool training) {
  state_->training = training;
  for (const auto& [name, child] : state_->children) child->train(training);
}

void Module::zero_grad(bool set_to_none) {
  for (Tensor& parameter : parameters()) {
    if (!parameter.grad().defined()) continue;
    parameter.set_grad(set_to_none ? Tensor() : zeros_like(parameter));
  }
}

void Module::requires_grad_(bool requires_grad) {
  for (Tensor& parameter : parameters()) parameter.requires_grad_(requires_grad);
}

void Module::to(DType dtype) {
  check<TypeError>(is_floating_point(dtype), name(), ": to() expects a floating-point dtype, got ", dtype);
  NoGradGuard guard;
  Tensors changed;
  for (auto& [name, value] : state_entries()) {
    if (!is_floating_point(value.dtype()) || value.dtype() == dtype) continue;
    value.set_data(cast(value, dtype));
    changed.push_back(value);
  }
  evaluate(changed);
}

void Module::to(const Device& device) {
  NoGradGuard guard;
  for (auto& [name, value] : state_entries())
    if (value.device() != device) value.set_data(to_device(value.detach(), device));
}

StateDict Module::state_dict() const {
  StateDict state;
  for (const auto& [name, value] : state_entries()) state.emplace(name, value.detach());
  return state;
}

IncompatibleKeys Module::load_state_dict(const StateDict& state, bool strict) {
  const NamedTensors entries = state_entries();
  IncompatibleKeys keys;
  std::string mismatches;
  std::unordered_set<std::string> expected;
  for (const auto& [name, value] : entries) {
    expected.insert(name);
    const auto found = state.find(name);
    if (found == state.end()) {
      keys.missing.push_back(name);
      continue;
    }
    check<ValueError>(found->second.defined(), this->name(), ": the value of \"", name, "\" is undefined");
    if (!(found->second.shape() == value.shape()))
      mismatches +=
          detail::concatenate("\n\tsize mismatch for ", name, ": copying a param with shape ", found->second.shape(),
                              " from checkpoint, the shape in current model is ", value.shape(), ".");
  }
  for (const auto& [name, value] : state)
    if (!expected.contains(name)) keys.unexpected.push_back(name);

  std::string problems;
  if (strict && !keys.unexpected.empty()) problems += list_keys("Unexpected", keys.unexpected);
  if (strict && !keys.missing.empty()) problems += list_keys("Missing", keys.missing);
  problems += mismatches;
  check(problems.empty(), "Error(s) in loading state_dict for ", name(), ":", problems);

  // New values are complete before the first parameter changes, so that a failure leaves the module as it was.
  NoGradGuard guard;
  std::vector<std::pair<Tensor, Tensor>> updates;
  Tensors values;
  for (const auto& [name, value] : entries) {
    const auto found = state.find(name);
    if (found == state.end()) continue;
    updates.emplace_back(value, cast(to_device(clone(found->second), value.device()), value.dtype()));
    values.push_back(updates.back().second);
  }
  evaluate(values);
  for (auto& [target, value] : updates) target.set_data(value);
  return keys;
}

Module& Sequential::operator[](size_t i) const {
  const auto modules = children();
  check<IndexError>(i < modules.size(), "Sequential: index ", i, " is out of range, there are ", modules.size(),
                    " modules");
  return *modules[i];
}

Tensor Sequential::forward(const Tensor& input) const {
  Tensor value = input;
  for (const auto& child : children()) value = child->forward(value);
  return value;
}

}  // namespace pycnn::nn
