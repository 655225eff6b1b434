// Gradients: Tensor's autograd attributes, grad modes, backward, grad, custom functions, gradcheck.
#include "bindings/bindings.h"
#include "graph/operator.h"
#include "graph/saved_tensors.h"

namespace pycnn::bindings {
namespace {

struct GraphNode {
  std::shared_ptr<graph::Node> node;
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
    check<TypeError>(is_tensor(result), "expected Variable, but hook returned '", Py_TYPE(result.ptr())->tp_name, "'");
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

/// What a hook of a node returned: nothing, one gradient, or one per place.
Tensors replacements(const py::object& returned) {
  if (returned.is_none()) return {};
  if (is_tensor(returned)) return {tensor_of(returned)};
  Tensors result;
  for (py::handle gradient : returned) result.push_back(gradient.is_none() ? Tensor() : tensor_of(gradient));
  return result;
}

/// Where the gradients of a node's inputs go: (node, its output), (leaf, 0), or (None, 0) where none is wanted.
py::list edges_of(const GraphNode& self) {
  py::list edges;
  for (const graph::Value& input : std::vector<graph::Value>(self.node->inputs)) {
    py::object target = py::none();
    const bool wanted = output_of(input).requires_grad, leaf = is_leaf(input);
    if (wanted) target = leaf ? py::cast(Tensor(input)) : py::cast(GraphNode{input.node});
    edges.append(py::make_tuple(target, wanted && !leaf ? input.index : 0));
  }
  return edges;
}

void bind_graph(Module& module) {
  py::class_<GraphNode>(module, "_GraphNode", "An operator in the graph that backward walks.")
      .def_property_readonly(
          "name", [](const GraphNode& self) { return self.node->op->backward_name(); },
          "\"AddBackward0\" for an addition.")
      .def_property_readonly(
          "key", [](const GraphNode& self) { return reinterpret_cast<intptr_t>(self.node.get()); },
          "A number that no other operator has at the same time.")
      .def_property_readonly(
          "released", [](const GraphNode& self) { return self.node->released.load(); },
          "Whether backward has let go of what it saved.")
      .def_property_readonly("edges", &edges_of, "Where gradients go: pairs (operator, leaf or None, output's number).")
      .def(
          "output",
          [](const GraphNode& self, int index) {
            return Tensor(graph::Value{self.node, index});
          },
          py::arg("index"), "One of its results, as another tensor.")
      .def(
          "hook_before",
          [](const GraphNode& self, int64_t id, const py::object& hook) {
            notes_of(*self.node).hooks_before.emplace_back(id, [held = hold(hook)](const Tensors& outputs) {
              py::gil_scoped_acquire gil;
              return replacements(call(held, py::make_tuple(optional_tuple(outputs))));
            });
          },
          py::arg("id"), py::arg("hook"), "Calls hook(gradients of its outputs) before its backward.")
      .def(
          "hook_after",
          [](const GraphNode& self, int64_t id, const py::object& hook) {
            notes_of(*self.node)
                .hooks_after.emplace_back(id, [held = hold(hook)](const Tensors& inputs, const Tensors& outputs) {
                  py::gil_scoped_acquire gil;
                  return replacements(call(held, py::make_tuple(optional_tuple(inputs), optional_tuple(outputs))));
                });
          },
          py::arg("id"), py::arg("hook"), "Calls hook(gradients of its inputs, of its outputs) after its backward.")
      .def(
          "remove_hook",
          [](const GraphNode& self, int64_t id) {
            const auto is_that = [id](const auto& hook) { return hook.first == id; };
            std::erase_if(notes_of(*self.node).hooks_before, is_that);
            std::erase_if(notes_of(*self.node).hooks_after, is_that);
          },
          py::arg("id"), "Removes a hook.");
}

/// Between __enter__ and __exit__, in one thread.
struct SavedHooks {
  HeldObject pack, unpack;
  std::unique_ptr<autograd::SavedTensorScope> scope;
};

void bind_saved_tensors(Module& module) {
  py::class_<SavedHooks>(module, "_SavedTensorHooks", "Hooks for what backward reads, to be entered and left.")
      .def(py::init([](const py::object& pack, const py::object& unpack) {
             return SavedHooks{hold(pack), hold(unpack), nullptr};
           }),
           py::arg("pack"), py::arg("unpack"), "See pycnn.autograd.graph.saved_tensors_hooks.")
      .def(
          "enter",
          [](SavedHooks& self) {
            autograd::SavedTensorHooks hooks;
            hooks.pack = [pack = self.pack](const Tensor& tensor) -> autograd::PackedTensor {
              py::gil_scoped_acquire gil;
              return hold(call(pack, py::make_tuple(tensor)));
            };
            hooks.unpack = [unpack = self.unpack](const autograd::PackedTensor& packed) {
              py::gil_scoped_acquire gil;
              auto* object = static_cast<PyObject*>(packed.get());
              const py::object result = call(unpack, py::make_tuple(py::reinterpret_borrow<py::object>(object)));
              check<TypeError>(is_tensor(result),
                               "Output of saved tensor unpack_hook expected to be a Tensor but got "
                               "result of type ",
                               Py_TYPE(result.ptr())->tp_name);
              return tensor_of(result);
            };
            self.scope = std::make_unique<autograd::SavedTensorScope>(std::move(hooks));
          },
          "Begins to call them in this thread.")
      .def(
          "leave", [](SavedHooks& self) { self.scope.reset(); }, "Ends that.");
  module.def("_backward_number", &graph::current_backward);
  module.def("_is_saved_mutation_allowed", &autograd::is_saved_mutation_allowed);
  module.def("_set_saved_mutation_allowed", &autograd::set_saved_mutation_allowed, py::arg("allowed"));
  module.def(
      "_begin_in_place",
      [](const Tensor& tensor, const std::string& name) {
        graph::begin_in_place(*tensor.handle()->cell, true);
        tensor.check_in_place(name);
      },
      py::arg("tensor"), py::arg("name"));
  module.def(
      "_increment_version", [](const Tensor& tensor) { ++history_root(*tensor.handle()->cell).changes; },
      py::arg("tensor"));
}

void bind_attributes(Module& module, TensorClass& tensor) {
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
      .def_property_readonly("_grad_node",
                             [](const Tensor& self) -> py::object {
                               return self.is_leaf() ? py::none() : py::cast(GraphNode{self.value().node});
                             })
      .def_property_readonly("_value_key",
                             [](const Tensor& self) { return reinterpret_cast<intptr_t>(self.value().node.get()); })
      .def_property_readonly("output_nr", [](const Tensor& self) { return self.value().index; })
      .def_property_readonly("_version", [](const Tensor& self) { return history_root(*self.handle()->cell).changes; });
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
             const graph::Cell& cell = *t.handle()->cell;
             check(!cell.base || cell.view->bypasses_autograd, "Can't detach views in-place. Use detach() instead.");
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
         const std::vector<int>& saved_outputs, bool saves_others, const std::string& name) {
        return autograd::apply_function(
            name.c_str(),
            [held = hold(backward)](const Tensors& gradients, const Tensors& saved) {
              return call_backward(held, gradients, saved);
            },
            inputs.tensors, outputs.tensors,
            {.once_differentiable = once_differentiable, .saved_outputs = saved_outputs, .saves_others = saves_others});
      },
      py::arg("backward"), py::arg("inputs"), py::arg("outputs"), py::arg("once_differentiable") = false,
      py::arg("saved_outputs") = std::vector<int>{}, py::arg("saves_others") = true, py::arg("name") = "Function");
  module.def("gradcheck", &check_gradients, py::arg("fn"), py::arg("inputs"), py::arg("eps") = 1e-6,
             py::arg("atol") = 1e-5, py::arg("rtol") = 1e-3, py::arg("raise_exception") = py::none());
}

}  // namespace

void bind_autograd(Module& module, TensorClass& tensor) {
  bind_attributes(module, tensor);
  bind_graph(module);
  bind_saved_tensors(module);
  bind_modes(module);
  bind_functions(module);
}

}  // namespace pycnn::bindings
