// Gradients: Tensor's autograd attributes, grad modes, backward, grad, custom functions, gradcheck.
#include "bindings/bindings.h"
#include "graph/node.h"

namespace pycnn::bindings {
namespace {

struct GradFunction {
  std::string title;
};

struct RemovableHandle {
  Tensor tensor;
  int64_t id;
};

py::object call(const HeldObject& callable, const py::tuple& arguments) {
  PyObject* result = PyObject_CallObject(callable.get(), arguments.ptr());
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

py::tuple optional_tuple(const Tensors& tensors) {
  py::tuple result(tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) result[i] = or_none(tensors[i]);
  return result;
}

std::function<Tensor(const Tensor&)> make_hook(const py::object& callable) {
  return [held = hold(callable)](const Tensor& gradient) {
    py::gil_scoped_acquire gil;
    py::object result = call(held, py::make_tuple(gradient));
    if (result.is_none()) return Tensor();
    check<TypeError>(is_tensor(result), "a hook must return a Tensor or None, got ", Py_TYPE(result.ptr())->tp_name);
    return tensor_of(result);
  };
}

void run_backward(const Tensors& outputs, const Tensors& gradients, std::optional<bool> retain_graph, bool create_graph,
                  const std::optional<TensorList>& inputs) {
  check(!inputs || !inputs->tensors.empty(), "`inputs` argument to `backward()` cannot be empty.");
  without_gil([&] {
    autograd::backward(outputs, gradients, retain_graph.value_or(create_graph), create_graph,
                       inputs ? inputs->tensors : Tensors{});
  });
}

void bind_attributes(Module& module, TensorClass& tensor) {
  py::class_<GradFunction>(module, "_GradFunction", "The operator that made a tensor, to be looked at.")
      .def(
          "name", [](const GradFunction& self) { return self.title; }, "Its name, such as \"AddBackward0\".")
      .def("__repr__", [](const GradFunction& self) { return "<" + self.title + ">"; });
  py::class_<RemovableHandle>(module, "_RemovableHandle",
                              "What register_hook() gives: removes the hook, also as a context manager.")
      .def(
          "remove", [](const RemovableHandle& self) { self.tensor.remove_hook(self.id); }, "Removes the hook.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](const RemovableHandle& self, const py::args&) { self.tensor.remove_hook(self.id); });
  tensor
      .def_property("requires_grad", &Tensor::requires_grad,
                    [](Tensor& self, bool value) { self.requires_grad_(value); })
      .def(
          "requires_grad_",
          [](py::object self, bool requires_grad) {
            tensor_of(self).requires_grad_(requires_grad);
            return self;
          },
          py::arg("requires_grad") = true)
      .def_property(
          "grad", [](const Tensor& self) { return or_none(self.grad()); },
          [](Tensor& self, const py::object& gradient) {
            check<TypeError>(gradient.is_none() || is_tensor(gradient),
                             "assigned grad expected to be a Tensor or None but got grad of type ",
                             Py_TYPE(gradient.ptr())->tp_name);
            self.set_grad(gradient.is_none() ? Tensor() : tensor_of(gradient));
          })
      .def_property(
          "data", [](const Tensor& self) { return self.detach(); },
          [](Tensor& self, const Tensor& value) { self.set_data(value); })
      .def_property_readonly("is_leaf", &Tensor::is_leaf)
      .def("is_inference", &Tensor::is_inference)
      .def_property_readonly("retains_grad", &Tensor::retains_grad)
      .def_property_readonly("grad_fn", [](const Tensor& self) -> py::object {
        std::string name = self.grad_fn_name();
        return name.empty() ? py::none() : py::cast(GradFunction{grad_fn_title(name)});
      });
  tensor
      .def(
          "backward",
          [](const Tensor& self, const std::optional<Tensor>& gradient, std::optional<bool> retain_graph,
             bool create_graph, const std::optional<TensorList>& inputs) {
            Tensors gradients;
            if (gradient) gradients.push_back(*gradient);
            run_backward({self}, gradients, retain_graph, create_graph, inputs);
          },
          py::arg("gradient") = py::none(), py::arg("retain_graph") = py::none(), py::arg("create_graph") = false,
          py::arg("inputs") = py::none())
      .def("detach", &Tensor::detach)
      .def("detach_",
           [](py::object self) {
             Tensor& t = tensor_of(self);
             t = Tensor(t.detach().value());
             return self;
           })
      .def("retain_grad", &Tensor::retain_grad)
      .def(
          "register_hook",
          [](const Tensor& self, const py::object& hook) {
            check(self.requires_grad(), "cannot register a hook on a tensor that doesn't require gradient");
            return RemovableHandle{self, self.register_hook(make_hook(hook))};
          },
          py::arg("hook"))
      .def(
          "register_post_accumulate_grad_hook",
          [](const py::object& self, const py::object& hook) {
            check<TypeError>(PyCallable_Check(hook.ptr()) != 0, "a hook must be callable, not ",
                             Py_TYPE(hook.ptr())->tp_name);
            // Held weakly: the tensor holds the hook.
            auto call_with_tensor = [held = hold(hook), leaf = hold(py::weakref(self))] {
              py::gil_scoped_acquire gil;
              py::object tensor = call(leaf, py::tuple());
              if (tensor.is_none()) return;
              check(call(held, py::make_tuple(tensor)).is_none(), "post accumulate grad hooks should return None.");
            };
            const Tensor& leaf = tensor_of(self);
            return RemovableHandle{leaf, leaf.register_post_accumulate_grad_hook(call_with_tensor)};
          },
          py::arg("hook"));
}

void bind_modes(Module& module) {
  module.def("is_grad_enabled", &is_grad_enabled);
  module.def("set_grad_enabled", &set_grad_enabled, py::arg("mode"));
  module.def(
      "is_inference", [](const Tensor& input) { return input.is_inference(); }, py::arg("input"));
  module.def("is_inference_mode_enabled", &is_inference_mode_enabled);
  module.def("set_inference_mode", &set_inference_mode, py::arg("mode"));
  module.def("_set_anomaly_enabled", &set_anomaly_enabled, py::arg("enabled"));
  // For functions that change their inputs: another handle for a value, and a handle bound to another value.
  module.def("_another_handle", [](const Tensor& tensor) { return Tensor(tensor.value()); });
  module.def("_rebind", [](Tensor& tensor, const Tensor& value) { tensor.assign_(value, true); });
}

Tensors call_backward(const HeldObject& callable, const Tensors& gradients, const Tensors& saved_outputs) {
  py::gil_scoped_acquire gil;
  py::object result = call(callable, py::make_tuple(optional_tuple(gradients), optional_tuple(saved_outputs)));
  if (result.is_none() || is_tensor(result)) return {result.is_none() ? Tensor() : tensor_of(result)};
  Tensors returned;
  for (py::handle gradient : result) {
    check<TypeError>(gradient.is_none() || is_tensor(gradient),
                     "expected Tensor or None as a gradient from a Function's backward, got ",
                     Py_TYPE(gradient.ptr())->tp_name);
    returned.push_back(gradient.is_none() ? Tensor() : tensor_of(gradient));
  }
  return returned;
}

/// The function's arguments with the tensors among them replaced.
struct CheckedFunction {
  HeldObject function;
  std::vector<HeldObject> arguments;
  std::vector<size_t> positions;

  Tensors operator()(const Tensors& inputs) const {
    py::gil_scoped_acquire gil;
    py::tuple given(arguments.size());
    for (size_t i = 0; i < arguments.size(); ++i) given[i] = py::reinterpret_borrow<py::object>(arguments[i].get());
    for (size_t i = 0; i < inputs.size(); ++i) given[positions[i]] = py::cast(inputs[i]);
    return call(function, given).cast<TensorList>().tensors;
  }
};

py::object check_gradients(const py::object& function, const py::object& inputs, double eps, double atol, double rtol,
                           std::optional<bool> raise_exception) {
  CheckedFunction checked{hold(function), {}, {}};
  Tensors tensors;
  py::tuple arguments = is_tensor(inputs) ? py::make_tuple(inputs) : py::tuple(inputs);
  for (size_t i = 0; i < arguments.size(); ++i) {
    checked.arguments.push_back(hold(arguments[i]));
    if (!is_tensor(arguments[i])) continue;
    checked.positions.push_back(i);
    tensors.push_back(tensor_of(arguments[i]));
  }
  auto result = without_gil([&] { return autograd::gradcheck(std::cref(checked), tensors, {eps, atol, rtol}); });
  if (!raise_exception) return py::make_tuple(result.passed, result.message);
  check(result.passed || !*raise_exception, result.message);
  return py::bool_(result.passed);
}

void bind_functions(Module& module) {
  module.def(
      "backward",
      [](const TensorList& tensors, const std::optional<OptionalTensorList>& gradients,
         std::optional<bool> retain_graph, bool create_graph, const std::optional<TensorList>& inputs) {
        run_backward(tensors.tensors, gradients ? gradients->tensors : Tensors{}, retain_graph, create_graph, inputs);
      },
      py::arg("tensors"), py::arg("grad_tensors") = py::none(), py::arg("retain_graph") = py::none(),
      py::arg("create_graph") = false, py::arg("inputs") = py::none());
  module.def(
      "grad",
      [](const TensorList& outputs, const TensorList& inputs, const std::optional<OptionalTensorList>& gradients,
         std::optional<bool> retain_graph, bool create_graph, bool allow_unused) {
        Tensors result = without_gil([&] {
          return autograd::grad(outputs.tensors, inputs.tensors, gradients ? gradients->tensors : Tensors{},
                                retain_graph.value_or(create_graph), create_graph, allow_unused);
        });
        return optional_tuple(result);
      },
      py::arg("outputs"), py::arg("inputs"), py::arg("grad_outputs") = py::none(), py::arg("retain_graph") = py::none(),
      py::arg("create_graph") = false, py::arg("allow_unused") = false);
  module.def(
      "apply_function",
      [](const py::object& backward, const TensorList& inputs, const TensorList& outputs, bool once_differentiable,
         const std::vector<int>& saved_outputs, bool saves_others) {
        return autograd::apply_function(
            "function",
            [held = hold(backward)](const Tensors& gradients, const Tensors& saved) {
              return call_backward(held, gradients, saved);
            },
            inputs.tensors, outputs.tensors,
            {.once_differentiable = once_differentiable, .saved_outputs = saved_outputs, .saves_others = saves_others});
      },
      py::arg("backward"), py::arg("inputs"), py::arg("outputs"), py::arg("once_differentiable") = false,
      py::arg("saved_outputs") = std::vector<int>{}, py::arg("saves_others") = true);
  module.def("gradcheck", &check_gradients, py::arg("fn"), py::arg("inputs"), py::arg("eps") = 1e-6,
             py::arg("atol") = 1e-5, py::arg("rtol") = 1e-3, py::arg("raise_exception") = py::none());
}

}  // namespace

std::string grad_fn_title(const std::string& operator_name) {
  std::string title;
  bool upper = true;
  for (char c : operator_name) {
    if (c == '_') {
      upper = true;
      continue;
    }
    title += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    upper = false;
  }
  return title + "Backward0";
}

void bind_autograd(Module& module, TensorClass& tensor) {
  bind_attributes(module, tensor);
  bind_modes(module);
  bind_functions(module);
}

}  // namespace pycnn::bindings
