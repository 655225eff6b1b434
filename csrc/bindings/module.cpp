// The extension module pycnn._core: exceptions, the GIL, and the order in which names are defined.
#include <chrono>
#include <mutex>
#include <thread>

#include "bindings/bindings.h"
#include "pycnn/graph.h"
#include "tensor/fork.h"

namespace pycnn::bindings {
namespace {

// Objects dropped by threads without the GIL wait here for one that has it.
ForkSafeMutex dropped_mutex(ForkOrder::Dropped);
std::vector<PyObject*>& dropped_objects() {
  static auto* objects = new std::vector<PyObject*>();
  return *objects;
}

int drop_waiting(void*) {
  std::vector<PyObject*> objects;
  {
    std::lock_guard lock(dropped_mutex);
    objects.swap(dropped_objects());
  }
  for (PyObject* object : objects) Py_DECREF(object);
  return 0;
}

/// What a signal handler raised while a plan ran, until the interruption reaches Python.
std::unique_ptr<py::error_already_set>& pending_error() {
  static thread_local std::unique_ptr<py::error_already_set> error;
  return error;
}

/// Python runs signal handlers in its main thread only; others need not ask.
std::thread::id main_thread;

/// Asking takes the GIL, which another thread may hold for milliseconds: so not between any two steps.
bool signal_pending() {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point last;
  if (std::this_thread::get_id() != main_thread || Clock::now() - last < std::chrono::milliseconds(20)) return false;
  last = Clock::now();
  py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() == 0) return false;
  pending_error() = std::make_unique<py::error_already_set>();
  return true;
}

/// Whoever computes, or waits for another thread that does, lets other Python threads run.
std::shared_ptr<void> leave_python() {
  return PyGILState_Check() ? std::make_shared<py::gil_scoped_release>() : nullptr;
}

/// Evaluation goes on even where the filter makes errors of warnings.
void warn_in_python(const std::string& message) {
  py::gil_scoped_acquire gil;
  if (PyErr_WarnEx(PyExc_RuntimeWarning, message.c_str(), 1) != 0) PyErr_WriteUnraisable(nullptr);
}

PyObject *linear_algebra_error = nullptr, *out_of_memory_error = nullptr;

void translate(std::exception_ptr pointer) {
  try {
    try {
      std::rethrow_exception(std::move(pointer));
    } catch (Error& error) {
      if (const std::string* name = called_function()) error.name(*name);
      throw;
    }
  } catch (const Interrupted& error) {
    if (pending_error()) {
      auto raised = std::move(pending_error());
      raised->restore();
    } else {
      PyErr_SetString(PyExc_KeyboardInterrupt, error.what());
    }
  } catch (const ValueError& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const TypeError& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
  } catch (const IndexError& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const LinAlgError& error) {
    PyErr_SetString(linear_algebra_error, error.what());
  } catch (const OutOfMemoryError& error) {
    PyErr_SetString(out_of_memory_error, error.what());
  } catch (const NotImplementedError& error) {
    PyErr_SetString(PyExc_NotImplementedError, error.what());
  } catch (const Error& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  } catch (const py::cast_error&) {
    // An argument of any type that turned out to be of a wrong one: explain_failing_calls() says which.
    if (called_function() == nullptr) throw;
    PyErr_SetString(PyExc_TypeError, incompatible_arguments);
  }
}

}  // namespace

void release_object(PyObject* object) {
  if (object == nullptr || !Py_IsInitialized()) return;
  if (PyGILState_Check()) {
    Py_DECREF(object);
    return;
  }
  {
    std::lock_guard lock(dropped_mutex);
    dropped_objects().push_back(object);
  }
  Py_AddPendingCall(&drop_waiting, nullptr);
}

}  // namespace pycnn::bindings

PYBIND11_MODULE(_core, core) {
  using namespace pycnn::bindings;
  Module module(core);
  module.doc() = "pycnn's compiled core.";
  main_thread = std::this_thread::get_id();
  linear_algebra_error = PyErr_NewExceptionWithDoc("pycnn.linalg.LinAlgError", "A matrix that cannot be inverted.",
                                                   PyExc_RuntimeError, nullptr);
  core.attr("_LinAlgError") = py::handle(linear_algebra_error);
  out_of_memory_error = PyErr_NewExceptionWithDoc("pycnn.cuda.OutOfMemoryError", "A GPU has not the memory asked for.",
                                                  PyExc_RuntimeError, nullptr);
  core.attr("_OutOfMemoryError") = py::handle(out_of_memory_error);
  py::register_exception_translator(&translate);
  pycnn::set_interrupt_check(&signal_pending);
  pycnn::set_warning_handler(&warn_in_python);
  pycnn::set_evaluation_scope(&leave_python);
  TensorClass tensor(module, "Tensor", py::dynamic_attr(),
                     "An n-dimensional array, computed when somebody looks at it. Methods are torch.Tensor's.\n\n"
                     "Shape and dtype are known at once, and bad arguments raise at once; elements are computed by\n"
                     "backward(), item(), numpy(), print() and pycnn.eval(), as one plan. A value never changes:\n"
                     "methods that end in an underscore, `x += 1` and `x[0] = 1` bind the tensor to a new value,\n"
                     "and views write theirs back into the tensor they were made from.");
  bind_types(module);
  bind_generator(module);
  bind_tensor(tensor);
  bind_conversion(module, tensor);
  bind_dlpack(module, tensor);
  bind_creation(module, tensor);
  bind_pointwise(module, tensor);
  bind_in_place(tensor);
  bind_reductions(module, tensor);
  bind_shape(module, tensor);
  bind_indexing(module, tensor);
  bind_nn_functions(module);
  bind_vision_functions(module);
  bind_losses(module);
  bind_autograd(module, tensor);
  bind_autocast(module);
  bind_cuda(module);
  bind_runtime(module);
  bind_optimizers(module);
  module.def(
      "_write_out",
      [](const std::string& name, const py::object& result, const py::object& out, const py::args& arguments) {
        std::vector<PyObject*> all;
        for (py::handle argument : arguments) all.push_back(argument.ptr());
        return write_out(name, result, out, all);
      },
      py::arg("name"), py::arg("result"), py::arg("out"));
  module.def("_refuse_overlaps", &refuse_overlaps, py::arg("name"), py::arg("written"));
  explain_failing_calls(module, tensor);
  bind_io(module);
  core.def("_unused_docstrings", &unused_docstrings);
}
