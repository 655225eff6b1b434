// Evaluation, modes, threads, instruction sets, the random generator.
#include <algorithm>
#include <map>

#include "bindings/bindings.h"
#include "cpu/features.h"
#include "cpu/parallel.h"
#include "kernels/kernels.h"
#include "pycnn/capture.h"
#include "pycnn/graph.h"
#include "pycnn/profiler.h"
#include "tensor/storage.h"

namespace pycnn::bindings {
namespace {

Tensors tensors_of(const py::args& arguments) {
  Tensors tensors;
  for (py::handle argument : arguments)
    for (Tensor& tensor : argument.cast<TensorList>().tensors) tensors.push_back(std::move(tensor));
  return tensors;
}

void bind_evaluation(Module& module) {
  module.def("eval", [](const py::args& tensors) {
    Tensors list = tensors_of(tensors);
    without_gil([&] { evaluate(list); });
  });
  module.def("describe_plan", [](const py::args& tensors) { return describe_plan(tensors_of(tensors)); });
  module.def(
      "set_mode",
      [](const std::string& name) {
        check<ValueError>(name == "lazy" || name == "eager", "set_mode: expected \"lazy\" or \"eager\", got \"", name,
                          "\"");
        set_mode(name == "eager" ? Mode::Eager : Mode::Lazy);
      },
      py::arg("mode"));
  module.def("get_mode", [] { return mode() == Mode::Eager ? "eager" : "lazy"; });
  module.def("statistics", &statistics);
  module.def("clear_plan_cache", &clear_plan_cache);
  module.def("empty_cache", &empty_cache);
  module.def("memory_statistics", [] {
    AllocatorStatistics s = allocator_statistics();
    return std::map<std::string, size_t>{{"in_use", s.in_use}, {"cached", s.cached}, {"cap", s.cap}};
  });
}

std::vector<std::string> level_names() {
  std::vector<std::string> names;
  for (std::string_view level : cpu::available_levels()) names.emplace_back(level);
  return names;
}

py::dict information() {
  py::dict info;
#ifdef PYCNN_VERSION
  info["version"] = PYCNN_VERSION;
#else
  info["version"] = "unknown";
#endif
  info["processor"] = cpu::processor_description();
  info["levels"] = level_names();
  info["level"] = std::string(cpu::active_kernels().level);
  info["threads"] = cpu::num_threads();
#if defined(__clang__)
  info["compiler"] = "Clang " __clang_version__;
#elif defined(__GNUC__)
  info["compiler"] = "GCC " __VERSION__;
#else
  info["compiler"] = "unknown";
#endif
  info["mode"] = mode() == Mode::Eager ? "eager" : "lazy";
  return info;
}

void bind_machine(Module& module) {
  module.def("available_levels", &level_names);
  module.def(
      "set_level", [](const std::string& name) { cpu::set_level(name); }, py::arg("name"));
  module.def("active_level", [] { return std::string(cpu::active_kernels().level); });
  module.def(
      "algorithms", [](const std::string& primitive) { return algorithms(primitive); }, py::arg("primitive"));
  module.def(
      "force_algorithm",
      [](const std::string& primitive, const std::optional<std::string>& name) {
        force_algorithm(primitive, name.value_or(""));
      },
      py::arg("primitive"), py::arg("name"));
  module.def(
      "set_winograd", [](int tile) { set_winograd(tile); }, py::arg("tile"));
  module.def("get_winograd", [] { return winograd(); });
  module.def(
      "_set_allow_tf32", [](bool allowed) { set_allow_tf32(allowed); }, py::arg("allowed"));
  module.def("_get_allow_tf32", [] { return allow_tf32(); });
  module.def(
      "set_num_threads",
      [](int n) {
        check<ValueError>(n >= 1, "set_num_threads expects a positive integer, got ", n);
        cpu::set_num_threads(n);
      },
      py::arg("n"));
  module.def("get_num_threads", &cpu::num_threads);
  module.def("info", &information);
}

void bind_profiler(Module& module) {
  module.def("start_profiling", &start_profiling);
  module.def("stop_profiling", [] {
    py::list events;
    for (const ProfileEvent& event : stop_profiling())
      events.append(py::make_tuple(event.step, event.operators, event.details, event.begin, event.seconds, event.flops,
                                   event.bytes, event.thread, name_of(event.dtype)));
    return events;
  });
  module.def(
      "measure_peak",
      [](double seconds, int64_t bytes) {
        const MachinePeak peak = without_gil([&] { return measure_peak(seconds, bytes); });
        return py::make_tuple(peak.flops_per_second, peak.bytes_per_second, peak.bfloat16_flops_per_second);
      },
      py::arg("seconds") = 0.1, py::arg("bytes") = int64_t{1} << 26);
}

/// A tuple's or list's objects.
struct Items {
  explicit Items(PyObject* sequence)
      : data(PySequence_Fast_ITEMS(sequence)), count(PySequence_Fast_GET_SIZE(sequence)) {}
  PyObject** data;
  Py_ssize_t count;
};

/// Calls visit(object) for everything that a dictionary or list holds, until it returns false.
template <typename Visit>
bool visit_contents(PyObject* container, const Visit& visit) {
  if (PyDict_Check(container)) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(container, &position, &key, &value))
      if (!visit(value)) return false;
    return true;
  }
  const Items items(container);
  return std::all_of(items.data, items.data + items.count, visit);
}

py::tuple contents_of(const py::tuple& containers) {
  py::list all;
  for (py::handle container : containers) {
    check<TypeError>(PyDict_Check(container.ptr()) || PyList_Check(container.ptr()),
                     "contents: expected dictionaries and lists, got ", Py_TYPE(container.ptr())->tp_name);
    visit_contents(container.ptr(), [&](PyObject* object) {
      all.append(py::handle(object));
      return true;
    });
    all.append(container);  // ends what it holds
  }
  return py::tuple(all);
}

bool holds(const py::tuple& containers, const py::tuple& contents) {
  const Items expected(contents.ptr());
  Py_ssize_t at = 0;
  const auto is_next = [&](PyObject* object) { return at < expected.count && expected.data[at++] == object; };
  for (py::handle container : containers)
    if (!visit_contents(container.ptr(), is_next) || !is_next(container.ptr())) return false;
  return at == expected.count;
}

void bind_capture(Module& module) {
  using Program = std::shared_ptr<const graph::CapturedProgram>;
  struct Replayable {
    Program program;
  };
  py::class_<Replayable>(module, "CapturedProgram", "A function's recorded work; see pycnn.capture.")
      .def(
          "attempt",
          [](const Replayable& self, const py::object& inputs) -> py::object {
            const Items items(inputs.ptr());
            Tensors tensors;
            tensors.reserve(static_cast<size_t>(items.count));
            for (Py_ssize_t i = 0; i < items.count; ++i) {
              if (!is_tensor(items.data[i])) return py::none();
              tensors.push_back(tensor_of(items.data[i]));
            }
            std::optional<Tensors> results = replay(*self.program, tensors);
            if (!results) return py::none();
            py::list list(results->size());
            for (size_t i = 0; i < results->size(); ++i) list[i] = py::cast(std::move((*results)[i]));
            return list;
          },
          py::arg("inputs"), "Its results on these inputs, or None if it was not made for them or for the present.");
  module.def("_contents", &contents_of, py::arg("containers"));
  module.def("_holds", &holds, py::arg("containers"), py::arg("contents"));
  py::class_<CaptureScope>(module, "CaptureScope", "While open, this thread records and evaluates nothing.")
      .def(py::init([](const TensorList& inputs) { return std::make_unique<CaptureScope>(inputs.tensors); }),
           py::arg("inputs"))
      .def("inputs", &CaptureScope::inputs, "Stand for the inputs while the function runs.")
      .def(
          "finish",
          [](CaptureScope& self, const TensorList& results) { return Replayable{self.finish(results.tensors)}; },
          py::arg("results"), "Ends recording, computes the results and returns the program.")
      .def("close", &CaptureScope::close, "Ends recording; what was recorded stays pending.");
}

void bind_print_options(Module& module) {
  module.def(
      "_set_print_options",
      [](int precision, int64_t threshold, int64_t edge_items, size_t line_width, std::optional<bool> scientific) {
        print_options() = {precision, threshold, edge_items, line_width, scientific};
      },
      py::arg("precision"), py::arg("threshold"), py::arg("edgeitems"), py::arg("linewidth"), py::arg("sci_mode"));
}

void bind_type_rules(Module& module) {
  module.def(
      "result_type",
      [](const Operand& a, const Operand& b) {
        check<TypeError>(a.is_tensor() || b.is_tensor(), "result_type: one argument must be a Tensor");
        const Tensor& some = a.is_tensor() ? a.tensor : b.tensor;
        return add(a.against(some), b.against(some)).dtype();
      },
      py::arg("tensor1"), py::arg("tensor2"));
}

}  // namespace

void bind_runtime(Module& module) {
  bind_evaluation(module);
  bind_machine(module);
  bind_capture(module);
  bind_profiler(module);
  bind_print_options(module);
  bind_type_rules(module);
}

}  // namespace pycnn::bindings
