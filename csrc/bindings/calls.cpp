// What a failing call tells: errors begin with the name of the function that was called, and arguments that fit no
// signature are listed by their types. pybind11 has hooks for neither, so its functions are called through these.
#include <string_view>
#include <unordered_map>

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
using TupleCall = PyObject* (*)(PyObject* self, PyObject* arguments, PyObject* keywords);

// pybind11's one entry point for all functions; `self` is what tells them apart.
PyCFunction dispatcher = nullptr;
std::unordered_map<PyObject*, std::string>& names() {
  static auto* instance = new std::unordered_map<PyObject*, std::string>();
  return *instance;
}

thread_local PyObject* current = nullptr;
class Calling {
 public:
  explicit Calling(PyObject* self) : outer_(std::exchange(current, self)) {}
  ~Calling() { current = outer_; }
  Calling(const Calling&) = delete;
  Calling& operator=(const Calling&) = delete;

 private:
  PyObject* outer_;
};

constexpr std::string_view incompatible = incompatible_arguments;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

/// The signatures in pybind11's message, one a line ("    1. (self: pycnn._core.Tensor, dim: int) -> object"), without
/// results and modules.
std::vector<std::string> signatures_in(std::string_view lines) {
  std::vector<std::string> signatures;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    std::string line(lines.substr(0, end));
    lines.remove_prefix(std::min(end + 1, lines.size()));
    const size_t begin = line.find(". ");
    if (begin == std::string::npos) continue;
    line = line.substr(begin + 2, line.rfind(" -> ") - begin - 2);
    replace_all(line, "typing.SupportsFloat | typing.SupportsIndex", "float");
    replace_all(line, "typing.SupportsInt | typing.SupportsIndex", "int");
    for (const char* module : {"pycnn._core.", "collections.abc.", "typing."}) replace_all(line, module, "");
    signatures.push_back(std::move(line));
  }
  return signatures;
}

/// Replaces pybind11's message, which prints the arguments in full, by one line.
void shorten(const std::string& name, PyObject* const* arguments, size_t positional, PyObject* keywords) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) return;
  py::error_already_set error;
  const std::string message = py::str(error.value());
  const size_t at = message.find(incompatible);
  if (at == std::string::npos) {
    error.restore();
    return;
  }
  const size_t begin = at + incompatible.size();
  std::vector<std::string> signatures =
      signatures_in(std::string_view(message).substr(begin, message.find("\nInvoked with: ", begin) - begin));
  size_t first = 0;
  for (std::string& signature : signatures) {
    if (!signature.starts_with("(self")) continue;
    first = 1;
    const size_t comma = signature.find(", ");
    signature.replace(1, (comma == std::string::npos ? signature.size() - 1 : comma + 2) - 1, "");
  }
  std::string text = name + "() received an invalid combination of arguments - got (";
  const size_t named = keywords == nullptr ? 0 : static_cast<size_t>(PyTuple_GET_SIZE(keywords));
  for (size_t i = first; i < positional + named; ++i) {
    if (i > first) text += ", ";
    if (i >= positional)
      text += std::string(py::str(PyTuple_GET_ITEM(keywords, static_cast<Py_ssize_t>(i - positional)))) + "=";
    text += Py_TYPE(arguments[i])->tp_name;
  }
  text += ")";
  for (size_t i = 0; i < signatures.size(); ++i)
    text += (i > 0 ? " or " : signatures.size() > 1 ? ", but expected one of: " : ", but expected ") + signatures[i];
  replace_all(text, "pycnn._core.", "");
  PyErr_SetString(PyExc_TypeError, text.c_str());
}

PyObject* call_fast(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  const Calling calling(self);
  PyObject* result =
      reinterpret_cast<FastCall>(reinterpret_cast<void (*)()>(dispatcher))(self, arguments, count, keywords);
  if (result == nullptr) shorten(names()[self], arguments, static_cast<size_t>(PyVectorcall_NARGS(count)), keywords);
  return result;
}

PyObject* call_tuple(PyObject* self, PyObject* arguments, PyObject* keywords) {
  const Calling calling(self);
  PyObject* result = reinterpret_cast<TupleCall>(reinterpret_cast<void (*)()>(dispatcher))(self, arguments, keywords);
  if (result == nullptr) {
    std::vector<PyObject*> all;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arguments); ++i) all.push_back(PyTuple_GET_ITEM(arguments, i));
    const size_t positional = all.size();
    PyObject *type, *value_raised, *trace;
    PyErr_Fetch(&type, &value_raised, &trace);
    py::list keys;
    if (keywords != nullptr)
      for (auto [key, value] : py::reinterpret_borrow<py::dict>(keywords)) {
        keys.append(key);
        all.push_back(value.ptr());
      }
    const py::tuple key_tuple(keys);
    PyErr_Restore(type, value_raised, trace);
    shorten(names()[self], all.data(), positional, key_tuple.ptr());
  }
  return result;
}

void wrap(py::handle object, const std::string& name) {
  PyObject* function = object.ptr();
  if (PyInstanceMethod_Check(function)) function = PyInstanceMethod_GET_FUNCTION(function);
  if (!PyCFunction_Check(function)) return;
  auto* bound = reinterpret_cast<PyCFunctionObject*>(function);
  if (bound->m_ml->ml_meth != dispatcher) return;
  names()[bound->m_self] = name;
  auto* replacement = (bound->m_ml->ml_flags & METH_FASTCALL) != 0 ? reinterpret_cast<void (*)()>(&call_fast)
                                                                   : reinterpret_cast<void (*)()>(&call_tuple);
  bound->m_ml->ml_meth = reinterpret_cast<PyCFunction>(replacement);
}

}  // namespace

const std::string* called_function() {
  if (current == nullptr) return nullptr;
  const auto found = names().find(current);
  return found == names().end() || found->second.starts_with("_") ? nullptr : &found->second;
}

void explain_failing_calls(Module& module, TensorClass& tensor) {
  dispatcher = reinterpret_cast<PyCFunctionObject*>(module.attr("add").ptr())->m_ml->ml_meth;
  for (auto [key, value] : py::dict(module.attr("__dict__"))) wrap(value, py::str(key));
  for (auto [key, value] : py::dict(tensor.attr("__dict__"))) {
    const std::string name = py::str(key);
    wrap(value, name);
    if (PyObject_TypeCheck(value.ptr(), &PyProperty_Type)) {
      wrap(value.attr("fget"), name);
      wrap(value.attr("fset"), name);
    } else if (PyObject_TypeCheck(value.ptr(), &PyStaticMethod_Type)) {
      wrap(value.attr("__func__"), name);
    }
  }
}

}  // namespace pycnn::bindings
