// What a failing call tells: errors begin with the name of the function that was called, and arguments that fit no
// signature are listed by their types. pybind11 has hooks for neither, so its functions are called through these.
// The same place handles what all of PyTorch's functions share: the keyword `out`, a tensor that takes the result, and
// NumPy's names of arguments.
#include <span>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "bindings/bindings.h"
#include "graph/node.h"
#include "ops/places.h"

namespace pycnn::bindings {
namespace {

using FastCall = PyObject* (*)(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
using TupleCall = PyObject* (*)(PyObject* self, PyObject* arguments, PyObject* keywords);

// pybind11's one entry point for all functions; `self` is what tells them apart.
PyCFunction dispatcher = nullptr;
struct Wrapped {
  std::string name;
  bool takes_out = false;
};
std::unordered_map<PyObject*, Wrapped>& functions() {
  static auto* instance = new std::unordered_map<PyObject*, Wrapped>();
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

// -- `out` -----------------------------------------------------------------------------------------------------------

/// Functions whose result takes any dtype, since they compute in that of `out`; others convert to one that holds at
/// least the result's kind; the rest want the result's own.
bool takes_any_dtype(std::string_view name) {
  static const std::unordered_set<std::string_view> names{
      "sum", "prod", "cumsum", "cumprod", "bernoulli", "zeros", "ones", "empty", "full", "eye", "linspace", "logspace"};
  return names.contains(name);
}
bool takes_own_dtype(std::string_view name) {
  static const std::unordered_set<std::string_view> names{
      "addbmm",      "addmm",        "addmv",        "amax",         "amin",           "aminmax",        "argmax",
      "argmin",      "baddbmm",      "bmm",          "bucketize",    "chain_matmul",   "clamp",          "clamp_max",
      "clamp_min",   "clip",         "cross",        "cummax",       "cummin",         "diag",           "dot",
      "float_power", "frac",         "frexp",        "gather",       "heaviside",      "histc",          "index_add",
      "index_copy",  "index_reduce", "index_select", "inner",        "inverse",        "isin",           "isneginf",
      "isposinf",    "kthvalue",     "log_softmax",  "logcumsumexp", "masked_select",  "matmul",         "matrix_power",
      "max",         "median",       "min",          "mm",           "mode",           "msort",          "multinomial",
      "mv",          "nan_to_num",   "nanmedian",    "nanquantile",  "narrow_copy",    "nonzero",        "quantile",
      "renorm",      "round",        "scatter",      "scatter_add",  "scatter_reduce", "searchsorted",   "sgn",
      "signbit",     "slogdet",      "softmax",      "sort",         "take",           "take_along_dim", "tensordot",
      "topk",        "tril",         "triu",         "vdot",         "where"};
  return names.contains(name);
}
/// Functions that read what they have written already if `out` is one of their arguments.
bool reads_while_writing(std::string_view name) {
  static const std::unordered_set<std::string_view> names{
      "bucketize",      "cat",      "column_stack", "concat",         "concatenate",   "dstack",
      "gather",         "hstack",   "index_select", "kthvalue",       "masked_select", "median",
      "mode",           "outer",    "searchsorted", "sort",           "stack",         "take",
      "take_along_dim", "vstack",   "index_add_",   "index_copy_",    "index_put_",    "index_reduce_",
      "put_",           "scatter_", "scatter_add_", "scatter_reduce_"};
  return names.contains(name);
}

void check_overlap(const std::string& name, const Tensor& target, py::handle argument) {
  if (is_tensor(argument)) {
    const Tensor& read = tensor_of(argument);
    ops::check_no_partial_overlap(target, read);
    if (reads_while_writing(name))
      check(ops::overlap_of(target, read) != ops::Overlap::Full, name,
            "(): unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
            "memory location. Please clone() the tensor before performing the operation.");
  } else if (PyTuple_Check(argument.ptr()) != 0 || PyList_Check(argument.ptr()) != 0) {
    for (py::handle item : argument)
      if (is_tensor(item)) check_overlap(name, target, item);
  }
}

}  // namespace

void refuse_overlaps(const std::string& name, const Tensor& written, const py::args& arguments) {
  for (py::handle argument : arguments) check_overlap(name, written, argument);
}

namespace {

py::object store(const std::string& name, const Tensor& result, const py::object& out,
                 std::span<PyObject* const> arguments) {
  check<TypeError>(is_tensor(out), name, "(): argument 'out' must be Tensor, not ", Py_TYPE(out.ptr())->tp_name);
  Tensor target = out.cast<Tensor>();
  check(!is_grad_enabled() || !(result.requires_grad() || target.requires_grad()), name,
        "(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
        "requires grad.");
  if (takes_own_dtype(name))
    check(result.dtype() == target.dtype(), name, "(): Expected out tensor to have dtype ", result.dtype(),
          ", but got ", target.dtype(), " instead");
  else
    check(takes_any_dtype(name) || can_cast(result.dtype(), target.dtype()), name, "(): result type ", result.dtype(),
          " can't be cast to the desired output type ", target.dtype());
  check(result.device() == target.device(), name,
        "(): Expected all tensors to be on the same device, but the result is on ", result.device(), " and out on ",
        target.device());
  for (PyObject* argument : arguments) check_overlap(name, target, argument);
  target.check_in_place(name);
  if (target.shape() == result.shape())
    target.assign_(result);
  else
    target.set_data(cast(result, target.dtype()));
  return out;
}

/// The keyword `out` of one call.
class Out {
 public:
  explicit Out(PyObject* self) : function_(functions()[self]) {}
  static PyObject* name() {
    static PyObject* interned = PyUnicode_InternFromString("out");
    return interned;
  }
  bool take(PyObject* key, PyObject* value) {
    if (key != name() || !function_.takes_out) return false;
    out_ = py::reinterpret_borrow<py::object>(value);
    return true;
  }
  template <typename Call>
  PyObject* around(std::span<PyObject* const> arguments, const Call& call) const {
    // What is made from nothing but numbers lies where it is asked for.
    const DeviceScope scope(is_tensor(out_) ? tensor_of(out_).device() : creation_device());
    PyObject* result = call();
    if (result == nullptr || out_.is_none()) return result;
    py::object owned = py::reinterpret_steal<py::object>(result);
    try {
      return write_out(function_.name, owned, out_, arguments).release().ptr();
    } catch (py::error_already_set& error) {
      error.restore();
    } catch (const TypeError& error) {
      PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const std::exception& error) {
      PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
  }

 private:
  const Wrapped& function_;
  py::object out_ = py::none();
};

// -- NumPy's names ---------------------------------------------------------------------------------------------------

/// PyTorch's name of an argument that NumPy calls otherwise, or the name itself.
py::object pytorch_name(py::handle name) {
  static const std::unordered_map<std::string_view, const char*> names = {
      {"axis", "dim"}, {"keepdims", "keepdim"}, {"x", "input"}, {"a", "input"}, {"x1", "input"}, {"x2", "other"}};
  const auto found = names.find(py::cast<std::string_view>(name));
  return found == names.end() ? py::reinterpret_borrow<py::object>(name) : py::str(found->second);
}

/// Whether a call failed because of its arguments, and may succeed under PyTorch's names; forgets the error then.
/// An argument that is given under both names is none of these cases.
bool worth_renaming(const py::object& names, const py::object& renamed) {
  if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
  py::error_already_set error;
  if (!names.equal(renamed) && py::len(py::set(renamed)) == py::len(names)) return true;
  error.restore();
  return false;
}

// -- calls -----------------------------------------------------------------------------------------------------------

PyObject* dispatch_fast(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  const auto call = reinterpret_cast<FastCall>(reinterpret_cast<void (*)()>(dispatcher));
  PyObject* result = call(self, arguments, count, keywords);
  py::object renamed;
  if (result == nullptr && keywords != nullptr) {
    const py::error_scope raised;
    py::list names;
    for (py::handle name : py::reinterpret_borrow<py::tuple>(keywords)) names.append(pytorch_name(name));
    renamed = py::tuple(names);
  }
  if (renamed && worth_renaming(py::reinterpret_borrow<py::object>(keywords), renamed)) {
    keywords = renamed.ptr();
    result = call(self, arguments, count, keywords);
  }
  if (result == nullptr) {
    graph::abandon_in_place();
    shorten(functions()[self].name, arguments, static_cast<size_t>(PyVectorcall_NARGS(count)), keywords);
  }
  return result;
}

PyObject* call_fast(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  const Calling calling(self);
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  bool takes_out = false;
  for (Py_ssize_t i = 0; i < named; ++i) takes_out |= PyTuple_GET_ITEM(keywords, i) == Out::name();
  if (!takes_out) return dispatch_fast(self, arguments, count, keywords);
  const Py_ssize_t positional = PyVectorcall_NARGS(count);
  std::vector<PyObject*> rest(arguments, arguments + positional);
  Out taken(self);
  py::list left;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject *key = PyTuple_GET_ITEM(keywords, i), *value = arguments[positional + i];
    if (taken.take(key, value)) continue;
    left.append(py::handle(key));
    rest.push_back(value);
  }
  const py::tuple names(left);
  return taken.around(
      rest, [&] { return dispatch_fast(self, rest.data(), positional, py::len(names) == 0 ? nullptr : names.ptr()); });
}

PyObject* dispatch_tuple(PyObject* self, PyObject* arguments, PyObject* keywords) {
  const auto call = reinterpret_cast<TupleCall>(reinterpret_cast<void (*)()>(dispatcher));
  PyObject* result = call(self, arguments, keywords);
  py::dict renamed;
  if (result == nullptr && keywords != nullptr) {
    const py::error_scope raised;
    for (auto [name, value] : py::reinterpret_borrow<py::dict>(keywords)) renamed[pytorch_name(name)] = value;
  }
  if (py::len(renamed) > 0 && worth_renaming(py::reinterpret_borrow<py::object>(keywords), renamed)) {
    keywords = renamed.ptr();
    result = call(self, arguments, keywords);
  }
  if (result == nullptr) {
    graph::abandon_in_place();
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
    shorten(functions()[self].name, all.data(), positional, key_tuple.ptr());
  }
  return result;
}

PyObject* call_tuple(PyObject* self, PyObject* arguments, PyObject* keywords) {
  const Calling calling(self);
  bool takes_out = false;
  if (keywords != nullptr) {
    PyObject *key = nullptr, *value = nullptr;
    for (Py_ssize_t i = 0; PyDict_Next(keywords, &i, &key, &value) != 0;) takes_out |= key == Out::name();
  }
  if (!takes_out) return dispatch_tuple(self, arguments, keywords);
  Out taken(self);
  py::dict left;
  for (auto [key, value] : py::reinterpret_borrow<py::dict>(keywords))
    if (!taken.take(key.ptr(), value.ptr())) left[key] = value;
  std::vector<PyObject*> all;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(arguments); ++i) all.push_back(PyTuple_GET_ITEM(arguments, i));
  for (auto [key, value] : left) all.push_back(value.ptr());
  return taken.around(all, [&] { return dispatch_tuple(self, arguments, py::len(left) == 0 ? nullptr : left.ptr()); });
}

void wrap(py::handle object, const std::string& name, bool takes_out = false) {
  PyObject* function = object.ptr();
  if (PyInstanceMethod_Check(function)) function = PyInstanceMethod_GET_FUNCTION(function);
  if (!PyCFunction_Check(function)) return;
  auto* bound = reinterpret_cast<PyCFunctionObject*>(function);
  if (bound->m_ml->ml_meth != dispatcher) return;
  functions()[bound->m_self] = {name, takes_out};
  auto* replacement = (bound->m_ml->ml_flags & METH_FASTCALL) != 0 ? reinterpret_cast<void (*)()>(&call_fast)
                                                                   : reinterpret_cast<void (*)()>(&call_tuple);
  bound->m_ml->ml_meth = reinterpret_cast<PyCFunction>(replacement);
}

}  // namespace

const std::string* called_function() {
  if (current == nullptr) return nullptr;
  const auto found = functions().find(current);
  return found == functions().end() || found->second.name.starts_with("_") ? nullptr : &found->second.name;
}

py::object write_out(const std::string& name, const py::object& result, const py::object& out,
                     std::span<PyObject* const> arguments) {
  if (is_tensor(result)) return store(name, result.cast<Tensor>(), out, arguments);
  check<TypeError>(
      py::isinstance<py::sequence>(result) && py::isinstance<py::sequence>(out) && py::len(result) == py::len(out),
      name, "(): argument 'out' must be a tuple of as many Tensors as there are results");
  py::list stored;
  for (size_t i = 0; i < py::len(result); ++i) {
    const py::object one = result.attr("__getitem__")(i);
    check<TypeError>(is_tensor(one), name, "(): takes no argument 'out'");
    stored.append(store(name, one.cast<Tensor>(), out.attr("__getitem__")(i), arguments));
  }
  if (py::type::of(result).ptr() == reinterpret_cast<PyObject*>(&PyTuple_Type)) return py::tuple(stored);
  // A structure of the C API is made of a sequence, one of collections of its elements.
  if (py::hasattr(result, "_make")) return py::type::of(result).attr("_make")(stored);
  return py::type::of(result)(stored);
}

void explain_failing_calls(Module& module, TensorClass& tensor) {
  dispatcher = reinterpret_cast<PyCFunctionObject*>(module.attr("add").ptr())->m_ml->ml_meth;
  for (auto [key, value] : py::dict(module.attr("__dict__"))) wrap(value, py::str(key), true);
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
