// One step of an optimiser whose options and state live in Python's dictionaries.
#include <string>

#include "bindings/bindings.h"
#include "optim/formula.h"

namespace pycnn::bindings {
namespace {

/// Options of a formula that are parts of a tuple in Python.
struct Part {
  std::string_view name;
  const char* key;
  int index;
};
constexpr Part parts[] = {{"beta1", "betas", 0},
                          {"beta2", "betas", 1},
                          {"etaminus", "etas", 0},
                          {"etaplus", "etas", 1},
                          {"step_size_min", "step_sizes", 0},
                          {"step_size_max", "step_sizes", 1}};

class GroupOptions final : public optim::Options {
 public:
  explicit GroupOptions(const py::dict& group) : group_(group) {}

  std::variant<double, Tensor> number(std::string_view name) const override {
    for (const Part& part : parts)
      if (part.name == name) return number_from(group_[part.key][py::int_(part.index)], name);
    return number_from(group_[py::str(name.data(), name.size())], name);
  }

  bool flag(std::string_view name) const override {
    const py::str key(name.data(), name.size());
    return group_.contains(key) && py::cast<bool>(py::bool_(group_[key]));
  }

 private:
  static std::variant<double, Tensor> number_from(const py::object& value, std::string_view name) {
    if (is_tensor(value)) return tensor_of(value);
    const double number = PyFloat_AsDouble(value.ptr());
    if (number == -1.0 && PyErr_Occurred() != nullptr) {
      PyErr_Clear();
      fail<TypeError>("an optimiser's '", name, "' must be a number or a Tensor, got ", std::string(py::repr(value)));
    }
    return number;
  }

  const py::dict& group_;
};

py::list step(const std::string& name, const py::dict& group, const py::dict& states) {
  const optim::Rule& rule = optim::find_rule(name);
  const GroupOptions options(group);
  optim::Step step(rule, options);
  py::list changed;
  for (py::handle parameter : group["params"]) {
    optim::Updated updated{tensor_of(parameter), Tensors(rule.state.size())};
    if (!updated.parameter.grad().defined()) continue;
    py::dict state;
    const bool known = states.contains(parameter);
    if (known) state = states[parameter].cast<py::dict>();
    std::vector<bool> there(rule.state.size());
    for (size_t i = 0; i < there.size(); ++i) {
      PyObject* value = known ? PyDict_GetItemString(state.ptr(), rule.state[i].name) : nullptr;
      if (value == nullptr || value == Py_None) continue;
      check<TypeError>(is_tensor(value), name, ": the state '", rule.state[i].name, "' must be a Tensor");
      updated.state[i] = tensor_of(value);
      there[i] = true;
      changed.append(py::handle(value));
    }
    step.assign_next(updated);
    changed.append(parameter);
    bool made = false;
    for (size_t i = 0; i < there.size(); ++i) {
      if (there[i] || !updated.state[i].defined()) continue;
      py::object value = py::cast(updated.state[i]);
      state[rule.state[i].name] = value;
      changed.append(std::move(value));
      made = true;
    }
    if (made && !known) states[parameter] = state;
  }
  return changed;
}

}  // namespace

void bind_optimizers(Module& module) {
  module.def("_optimizer_step", &step, py::arg("rule"), py::arg("group"), py::arg("state"));
  module.def(
      "_forget_gradients",
      [](const TensorList& parameters) {
        for (Tensor parameter : parameters.tensors)
          if (parameter.grad().defined()) parameter.set_grad(Tensor());
      },
      py::arg("parameters"));
}

}  // namespace pycnn::bindings
