// dtype, device, memory_format, Size and the named results (values, indices).
#include "bindings/bindings.h"

#include <limits>
#include <map>

namespace pycnn::bindings {
namespace {

constexpr DType all_dtypes[] = {DType::Bool,  DType::UInt8,   DType::Int8,     DType::Int16,   DType::Int32,
                                DType::Int64, DType::Float16, DType::BFloat16, DType::Float32, DType::Float64};
// Immortal references, one per dtype, so that `x.dtype is pycnn.float32` holds.
PyObject* dtype_objects[std::size(all_dtypes)];
PyTypeObject* size_type = nullptr;

void bind_dtype(Module& module) {
  py::class_<DTypeObject>(module, "dtype", "The type of a tensor's elements, such as pycnn.float32.")
      .def_property_readonly(
          "is_floating_point", [](const DTypeObject& self) { return is_floating_point(self.value); },
          "Whether it is float16, bfloat16, float32 or float64.")
      .def_property_readonly(
          "is_complex", [](const DTypeObject&) { return false; }, "False: there is no complex dtype.")
      .def_property_readonly(
          "is_signed", [](const DTypeObject& self) { return self.value != DType::Bool && self.value != DType::UInt8; },
          "Whether it has negative numbers: all but bool and uint8.")
      .def_property_readonly(
          "itemsize", [](const DTypeObject& self) { return size_of(self.value); }, "The size of an element in bytes.")
      .def("__repr__", [](const DTypeObject& self) { return "pycnn." + std::string(name_of(self.value)); })
      .def("__reduce__", [](const DTypeObject& self) {
        return py::make_tuple(py::module_::import("pycnn._core").attr("_dtype_from_name"),
                              py::make_tuple(name_of(self.value)));
      });
  for (DType dtype : all_dtypes)
    dtype_objects[static_cast<size_t>(dtype)] = py::cast(DTypeObject{dtype}).release().ptr();
  for (DType dtype : all_dtypes) module.attr(std::string(name_of(dtype)).c_str()) = dtype_object(dtype);
  const std::pair<const char*, DType> aliases[] = {{"float", DType::Float32}, {"double", DType::Float64},
                                                   {"half", DType::Float16},  {"int", DType::Int32},
                                                   {"long", DType::Int64},    {"short", DType::Int16}};
  for (auto [name, dtype] : aliases) module.attr(name) = dtype_object(dtype);
  module.def("_dtype_from_name", [](const std::string& name) {
    for (DType dtype : all_dtypes)
      if (name_of(dtype) == name) return dtype_object(dtype);
    fail<ValueError>("unknown dtype \"", name, "\"");
  });
}

std::string to_string(const DeviceObject& device) {
  return device.type + (device.index ? ":" + std::to_string(*device.index) : "");
}

void bind_device(Module& module) {
  py::class_<DeviceObject>(module, "device", "Where a tensor lives: \"cpu\", or \"cuda\" and the index of a GPU.")
      .def(py::init([](py::handle type, std::optional<int> index) {
             DeviceObject device = parse_device_object(type);
             if (index) device.index = index;
             return device;
           }),
           py::arg("type"), py::arg("index") = py::none())
      .def_readonly("type", &DeviceObject::type,
                    "\"cpu\", \"cuda\", or the name of a kind of device that this library does not serve.")
      .def_readonly("index", &DeviceObject::index, "Which of several, an int, or None.")
      .def("__repr__",
           [](const DeviceObject& self) {
             return "device(type='" + self.type + "'" + (self.index ? ", index=" + std::to_string(*self.index) : "") +
                    ")";
           })
      .def("__str__", &to_string)
      .def("__hash__", [](const DeviceObject& self) { return py::hash(py::str(to_string(self))); })
      .def("__reduce__",
           [](const DeviceObject& self) {
             return py::make_tuple(py::type::of<DeviceObject>(), py::make_tuple(self.type, self.index));
           })
      .def(
          "__eq__", [](const DeviceObject& a, const DeviceObject& b) { return a.type == b.type && a.index == b.index; },
          py::is_operator())
      .def(
          "__ne__", [](const DeviceObject& a, const DeviceObject& b) { return a.type != b.type || a.index != b.index; },
          py::is_operator());
}

void bind_memory_format(Module& module) {
  py::class_<MemoryFormat>(module, "memory_format", "How elements lie in memory; never changes a tensor's value.")
      .def("__repr__", [](MemoryFormat self) {
        constexpr const char* names[] = {"preserve_format", "contiguous_format", "channels_last", "channels_last_3d"};
        return std::string("pycnn.") + names[static_cast<size_t>(self)];
      });
  module.attr("preserve_format") = py::cast(MemoryFormat::Preserve);
  module.attr("contiguous_format") = py::cast(MemoryFormat::Contiguous);
  module.attr("channels_last") = py::cast(MemoryFormat::ChannelsLast);
  module.attr("channels_last_3d") = py::cast(MemoryFormat::ChannelsLast3d);
}

// -- Size: a tuple that knows how many elements its shape has ---------------------------------------------------------
py::object make_size(py::handle tuple) {
  PyObject* result = PyObject_CallOneArg(reinterpret_cast<PyObject*>(size_type), tuple.ptr());
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

PyObject* size_numel(PyObject* self, PyObject*) {
  int64_t count = 1;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
    int64_t size = PyLong_AsLongLong(PyTuple_GET_ITEM(self, i));
    if (size == -1 && PyErr_Occurred()) return nullptr;
    count *= size;
  }
  return PyLong_FromLongLong(count);
}

PyObject* size_repr(PyObject* self) {
  PyObject* list = PySequence_List(self);
  if (list == nullptr) return nullptr;
  PyObject* text = PyUnicode_FromFormat("pycnn.Size(%R)", list);
  Py_DECREF(list);
  return text;
}

PyObject* wrap_as_size(PyObject* tuple) {
  if (tuple == nullptr || !PyTuple_CheckExact(tuple)) return tuple;
  PyObject* result = PyObject_CallOneArg(reinterpret_cast<PyObject*>(size_type), tuple);
  Py_DECREF(tuple);
  return result;
}

PyObject* size_subscript(PyObject* self, PyObject* index) {
  return wrap_as_size(PyTuple_Type.tp_as_mapping->mp_subscript(self, index));
}

PyObject* size_concatenate(PyObject* self, PyObject* other) {
  return wrap_as_size(PyTuple_Type.tp_as_sequence->sq_concat(self, other));
}

void bind_size(Module& module) {
  static PyMethodDef methods[] = {
      {"numel", size_numel, METH_NOARGS, "The number of elements: the product of the sizes."},
      {nullptr, nullptr, 0, nullptr}};
  static char doc[] = "The shape of a tensor: a tuple of its sizes.";
  PyType_Slot slots[] = {{Py_tp_methods, methods},
                         {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
                         {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
                         {Py_sq_concat, reinterpret_cast<void*>(size_concatenate)},
                         {Py_tp_doc, doc},
                         {0, nullptr}};
  PyType_Spec spec = {"pycnn._core.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  auto bases = py::make_tuple(py::handle(reinterpret_cast<PyObject*>(&PyTuple_Type)));
  PyObject* type = PyType_FromSpecWithBases(&spec, bases.ptr());
  if (type == nullptr) throw py::error_already_set();
  size_type = reinterpret_cast<PyTypeObject*>(type);
  module.attr("Size") = py::handle(type);
}

std::map<std::string, PyTypeObject*>& return_types() {
  static std::map<std::string, PyTypeObject*> types;
  return types;
}

void bind_return_types(Module& module) {
  static PyStructSequence_Field fields[] = {
      {"values", "The extremes."}, {"indices", "Where they are along the dimension."}, {nullptr, nullptr}};
  for (const char* name : {"max", "min", "cummax", "cummin", "sort"}) {
    static std::vector<std::unique_ptr<std::string>> names;
    names.push_back(std::make_unique<std::string>(std::string("pycnn.return_types.") + name));
    PyStructSequence_Desc description = {names.back()->c_str(), "Values and their indices.", fields, 2};
    PyTypeObject* type = PyStructSequence_NewType(&description);
    if (type == nullptr) throw py::error_already_set();
    return_types()[name] = type;
    module.attr((std::string("_return_type_") + name).c_str()) = py::handle(reinterpret_cast<PyObject*>(type));
  }
}

}  // namespace

py::object dtype_object(DType dtype) {
  return py::reinterpret_borrow<py::object>(dtype_objects[static_cast<size_t>(dtype)]);
}

std::optional<DType> parse_dtype(py::handle object) {
  for (DType dtype : all_dtypes)
    if (object.ptr() == dtype_objects[static_cast<size_t>(dtype)]) return dtype;
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyFloat_Type)) return DType::Float64;
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyLong_Type)) return DType::Int64;
  if (object.ptr() == reinterpret_cast<PyObject*>(&PyBool_Type)) return DType::Bool;
  return std::nullopt;
}

std::optional<Scalar> parse_scalar(py::handle object) {
  PyObject* o = object.ptr();
  if (PyBool_Check(o)) return Scalar(o == Py_True);
  if (PyFloat_Check(o)) return Scalar(PyFloat_AS_DOUBLE(o));
  bool integer = PyLong_Check(o);
  if (!integer) {
    // NumPy's scalars by name, since NumPy may not be loaded.
    const char* type = Py_TYPE(o)->tp_name;
    if (std::strncmp(type, "numpy.", 6) != 0 || std::strcmp(type, "numpy.ndarray") == 0) return std::nullopt;
    if (std::strncmp(type, "numpy.bool", 10) == 0) return Scalar(PyObject_IsTrue(o) == 1);
    integer = PyIndex_Check(o);
    if (!integer) {
      double value = PyFloat_AsDouble(o);
      if (value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return std::nullopt;
      }
      return Scalar(value);
    }
  }
  auto number = py::reinterpret_steal<py::object>(PyNumber_Index(o));
  if (!number) throw py::error_already_set();
  int overflow = 0;
  int64_t value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  check<ValueError>(overflow == 0, "Overflow when unpacking long: the integer does not fit 64 bits");
  return Scalar(value);
}

std::optional<Dimensions> parse_dimensions(py::handle object) {
  auto integer = [](PyObject* item) -> std::optional<int64_t> {
    if (PyLong_Check(item)) {
      int64_t value = PyLong_AsLongLong(item);
      if (value == -1 && PyErr_Occurred()) throw py::error_already_set();
      return value;
    }
    if (!PyIndex_Check(item)) return std::nullopt;
    Py_ssize_t value = PyNumber_AsSsize_t(item, PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      return std::nullopt;
    }
    return value;
  };
  PyObject* o = object.ptr();
  if (!PyTuple_Check(o) && !PyList_Check(o)) {
    auto single = integer(o);
    return single ? std::optional<Dimensions>(Dimensions{*single}) : std::nullopt;
  }
  Dimensions result;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
    auto value = integer(PySequence_Fast_GET_ITEM(o, i));
    if (!value) return std::nullopt;
    result.push_back(*value);
  }
  return result;
}

DeviceObject device_object(const Device& device) {
  if (device.is_cpu()) return {};
  return {"cuda", device.index};
}

Device device_there(const DeviceObject& device) {
  check(device.type == "cpu" || device.type == "cuda", "device '", to_string(device),
        "' is not available: pycnn runs on the CPU and on NVIDIA GPUs");
  return parse_device(to_string(device));
}

static bool is_index(py::handle object) { return PyLong_Check(object.ptr()) != 0 && PyBool_Check(object.ptr()) == 0; }

bool names_device(py::handle object) {
  return py::isinstance<py::str>(object) || py::isinstance<DeviceObject>(object) || is_index(object);
}

DeviceObject parse_device_object(py::handle object) {
  if (py::isinstance<DeviceObject>(object)) return object.cast<DeviceObject>();
  if (py::hasattr(object, "type") && py::hasattr(object, "index") && !py::isinstance<py::str>(object))
    return {object.attr("type").cast<std::string>(), object.attr("index").cast<std::optional<int>>()};
  if (is_index(object)) {
    const auto index = object.cast<int64_t>();
    check(index >= 0 && index < 128, "Device index must not be negative and below 128, got ", index);
    return {"cuda", static_cast<int>(index)};
  }
  check<TypeError>(py::isinstance<py::str>(object), "device: expected a string such as 'cpu' or a pycnn.device");
  auto text = object.cast<std::string>();
  size_t colon = text.find(':');
  DeviceObject device{text.substr(0, colon), std::nullopt};
  const bool known = device.type == "cpu" || device.type == "cuda" || device.type == "meta" || device.type == "mps";
  check(known, "Expected one of cpu, cuda device type at start of device string: ", text);
  if (colon != std::string::npos) {
    std::string digits = text.substr(colon + 1);
    check(!digits.empty() && digits.size() < 4 && digits.find_first_not_of("0123456789") == std::string::npos,
          "Invalid device string: '", text, "'");
    device.index = std::stoi(digits);
  }
  return device;
}

Shape sizes_of(const py::args& sizes, const char* function) {
  auto parsed = sizes.size() == 1 ? parse_dimensions(sizes[0]) : parse_dimensions(sizes);
  check<TypeError>(parsed.has_value(), function, "(): expected integers or one sequence of integers, got ",
                   std::string(py::repr(sizes)));
  return *parsed;
}

py::object size_tuple(const Shape& shape) {
  py::tuple sizes(static_cast<size_t>(shape.size()));
  for (int i = 0; i < shape.size(); ++i) PyTuple_SET_ITEM(sizes.ptr(), i, PyLong_FromLongLong(shape[i]));
  return make_size(sizes);
}

py::object values_and_indices(const char* function, std::pair<Tensor, Tensor> result) {
  auto named = py::reinterpret_steal<py::object>(PyStructSequence_New(return_types().at(function)));
  if (!named) throw py::error_already_set();
  PyStructSequence_SetItem(named.ptr(), 0, py::cast(std::move(result.first)).release().ptr());
  PyStructSequence_SetItem(named.ptr(), 1, py::cast(std::move(result.second)).release().ptr());
  return named;
}

DType dtype_of_kind(Scalar::Kind kind) {
  return kind == Scalar::Kind::Bool ? DType::Bool : kind == Scalar::Kind::Int ? DType::Int64 : default_dtype();
}

bool can_cast(DType from, DType to) {
  auto category = [](DType dtype) { return dtype == DType::Bool ? 0 : is_integral(dtype) ? 1 : 2; };
  return category(from) <= category(to);
}

void bind_types(Module& module) {
  bind_dtype(module);
  bind_device(module);
  bind_memory_format(module);
  bind_size(module);
  bind_return_types(module);
  module.def("promote_types", &promote_types, py::arg("type1"), py::arg("type2"));
  module.def("can_cast", &can_cast, py::arg("from_"), py::arg("to"));
  module.def("get_default_dtype", &default_dtype);
  module.def(
      "set_default_dtype",
      [](DType d) {
        check<TypeError>(is_floating_point(d), "only floating-point types are supported as the default type");
        set_default_dtype(d);
      },
      py::arg("d"));
}

}  // namespace pycnn::bindings
