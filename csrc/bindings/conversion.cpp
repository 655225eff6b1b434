// Python data and NumPy arrays to tensors and back. Values are immutable: memory that others may write is copied when
// recorded, and zero-copy arrays that leave are marked read-only.
#include <pybind11/numpy.h>

#include <limits>

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

std::optional<DType> dtype_of_array(const py::dtype& dtype) {
  const auto bytes = dtype.itemsize();
  switch (dtype.kind()) {
    case 'b':
      return DType::Bool;
    case 'u':
      return bytes == 1 ? std::optional(DType::UInt8) : std::nullopt;
    case 'i':
      return bytes == 1 ? DType::Int8 : bytes == 2 ? DType::Int16 : bytes == 4 ? DType::Int32 : DType::Int64;
    case 'f':
      return bytes == 2   ? std::optional(DType::Float16)
             : bytes == 4 ? std::optional(DType::Float32)
             : bytes == 8 ? std::optional(DType::Float64)
                          : std::nullopt;
    default:
      return std::nullopt;
  }
}

py::dtype array_dtype(DType dtype) {
  check<TypeError>(dtype != DType::BFloat16, "NumPy has no bfloat16: convert first, for example with .float()");
  return py::dtype(std::string(name_of(dtype)));
}

/// Whether nobody can write this memory: read-only down to its owner, which is a bytes object, our own export, or the
/// array itself.
bool is_immutable(py::handle object) {
  py::object current = py::reinterpret_borrow<py::object>(object);
  while (is_numpy_array(current)) {
    if (py::reinterpret_borrow<py::array>(current).writeable()) return false;
    current = current.attr("base");
  }
  return current.is_none() || py::isinstance<py::bytes>(current) || PyCapsule_IsValid(current.ptr(), "pycnn memory");
}

/// Collects nested sequences of numbers, with their shape and the widest kind of number.
class NestedReader {
 public:
  explicit NestedReader(py::handle data) { read(data, 0); }
  std::vector<Scalar> elements;
  Shape shape;
  /// Of the numbers so far: Python's by their kind, NumPy's by their dtype.
  std::optional<DType> dtype;

 private:
  void read(py::handle data, int depth) {
    PyObject* o = data.ptr();
    if (PyList_Check(o) || PyTuple_Check(o)) {
      read_sequence(data, depth);
    } else if (auto number = parse_scalar(data)) {
      check<ValueError>(!complete_ || depth == shape.size(), "expected sequence of length ",
                        depth < shape.size() ? shape[depth] : 0, " at dim ", depth, " (got a number)");
      complete_ = true;
      const bool from_numpy = std::strncmp(Py_TYPE(o)->tp_name, "numpy.", 6) == 0;
      const DType own = from_numpy ? dtype_of_scalar(data) : dtype_of_kind(number->kind());
      dtype = dtype ? promote_types(*dtype, own) : own;
      elements.push_back(*number);
    } else if (is_numpy_array(data) || is_tensor(data)) {
      py::object list = data.attr("tolist")();
      read(list, depth);
    } else if (!py::isinstance<py::str>(data) && PySequence_Check(o)) {
      py::object list = py::list(py::reinterpret_borrow<py::object>(data));
      read(list, depth);
    } else {
      check<TypeError>(!py::isinstance<py::str>(data), "tensor(): invalid data type 'str'");
      fail("Could not infer dtype of ", Py_TYPE(o)->tp_name);
    }
  }

  static DType dtype_of_scalar(py::handle number) {
    auto dtype = dtype_of_array(number.attr("dtype").cast<py::dtype>());
    check<TypeError>(dtype.has_value(), "can't convert a NumPy scalar of type ", Py_TYPE(number.ptr())->tp_name);
    return *dtype;
  }

  void read_sequence(py::handle data, int depth) {
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(data.ptr());
    if (depth == shape.size()) {
      check<ValueError>(!complete_, "tensor(): too many dimensions: expected a number at dim ", depth,
                        ", got a sequence");
      shape.push_back(size);
    }
    check<ValueError>(shape[depth] == size, "expected sequence of length ", shape[depth], " at dim ", depth, " (got ",
                      size, ")");
    for (Py_ssize_t i = 0; i < size; ++i) read(PySequence_Fast_GET_ITEM(data.ptr(), i), depth + 1);
    if (size == 0) complete_ = true;
  }

  bool complete_ = false;  ///< the depth of the numbers is known
};

template <typename T>
T convert(Scalar value) {
  if constexpr (std::is_same_v<T, Float16>) {
    return to_float16(static_cast<float>(value.to_double()));
  } else if constexpr (std::is_same_v<T, BFloat16>) {
    return to_bfloat16(static_cast<float>(value.to_double()));
  } else if constexpr (std::is_same_v<T, bool>) {
    return value.kind() == Scalar::Kind::Float ? value.to_double() != 0 : value.to_int() != 0;
  } else if constexpr (std::is_integral_v<T>) {
    // Negative numbers wrap into unsigned types, as in PyTorch.
    constexpr int64_t highest = std::numeric_limits<T>::max();
    constexpr int64_t lowest = std::is_signed_v<T> ? static_cast<int64_t>(std::numeric_limits<T>::min()) : -highest;
    const double number = value.to_double();
    const bool fits = value.kind() != Scalar::Kind::Float
                          ? value.to_int() >= lowest && value.to_int() <= highest
                          : number >= static_cast<double>(lowest) && number < static_cast<double>(highest) + 1;
    check(fits, "value cannot be converted to type ", name_of(dtype_of<T>()), " without overflow");
    return static_cast<T>(value.to_int());
  } else {
    return static_cast<T>(value.to_double());
  }
}

Tensor as_tensor(const py::object& data, std::optional<DType> dtype) {
  Tensor result = is_tensor(data)        ? tensor_of(data)
                  : is_numpy_array(data) ? tensor_from_array(data, true)
                  : is_cuda_array(data)  ? from_cuda_array(data)
                                         : tensor_from_object(data, dtype);
  return dtype && result.dtype() != *dtype ? cast(result, *dtype) : result;
}

Tensor rebuild_value(const py::bytes& data, DType dtype, const Shape& shape) {
  auto bytes = static_cast<std::string_view>(data);
  check<ValueError>(bytes.size() == static_cast<size_t>(element_count(shape)) * size_of(dtype),
                    "_rebuild_tensor: ", bytes.size(), " bytes do not make a ", dtype, " tensor of shape ", shape);
  return copy_memory({nullptr, const_cast<char*>(bytes.data()), dtype, shape, contiguous_strides(shape)});
}

}  // namespace

bool is_numpy_array(py::handle object) {
  // By name first: NumPy's C API is imported only once an array is seen.
  return std::strncmp(Py_TYPE(object.ptr())->tp_name, "numpy.", 6) == 0
             ? py::isinstance<py::array>(object)
             : PyObject_HasAttrString(object.ptr(), "__array_finalize__") && py::isinstance<py::array>(object);
}

bool is_cuda_array(py::handle object) {
  return !parse_scalar(object) && PyObject_HasAttrString(object.ptr(), "__cuda_array_interface__");
}

Tensor from_scalars(const std::vector<Scalar>& elements, const Shape& shape, DType dtype) {
  return visit_dtype(dtype, [&](auto type) {
    using T = decltype(type);
    auto data = std::make_unique<T[]>(std::max<size_t>(elements.size(), 1));
    for (size_t i = 0; i < elements.size(); ++i) data[i] = convert<T>(elements[i]);
    return copy_memory({nullptr, data.get(), dtype, shape, contiguous_strides(shape)});
  });
}

Tensor tensor_from_array(py::handle source, bool may_share) {
  auto array = py::reinterpret_borrow<py::array>(source);
  auto dtype = dtype_of_array(array.dtype());
  check<TypeError>(
      dtype.has_value(), "can't convert np.ndarray of type numpy.", std::string(py::str(array.dtype())),
      ". The only supported types are: float64, float32, float16, int64, int32, int16, int8, uint8, and bool.");
  const auto item = static_cast<py::ssize_t>(size_of(*dtype));
  bool regular =
      (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0 && array.dtype().attr("isnative").cast<bool>();
  for (py::ssize_t i = 0; i < array.ndim(); ++i) regular = regular && array.strides(i) % item == 0;
  if (!regular) {
    py::object native = array.dtype().attr("newbyteorder")("=");
    array = py::module_::import("numpy").attr("array")(array, native, py::arg("order") = "C");
  }
  Memory memory{nullptr, const_cast<void*>(array.data()), *dtype, {}, {}};
  bool forward = true;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    memory.shape.push_back(array.shape(i));
    memory.strides.push_back(array.strides(i) / item);
    forward = forward && array.strides(i) > 0;
  }
  if (may_share && regular && forward && is_immutable(array)) {
    memory.owner = hold(array);
    return wrap_memory(memory);
  }
  return without_gil([&] { return copy_memory(memory); });
}

Tensor tensor_from_object(py::handle data, std::optional<DType> dtype) {
  if (is_tensor(data)) {
    Tensor value = clone(tensor_of(data).detach());
    return dtype ? cast(value, *dtype) : value;
  }
  if (is_numpy_array(data)) {
    Tensor value = tensor_from_array(data, false);
    return dtype && *dtype != value.dtype() ? cast(value, *dtype) : value;
  }
  if (is_cuda_array(data)) {
    Tensor value = copy_of_cuda_array(py::reinterpret_borrow<py::object>(data));
    return dtype ? cast(value, *dtype) : value;
  }
  if (!parse_scalar(data) && PyObject_HasAttrString(data.ptr(), "__array__")) {
    py::object array = py::module_::import("numpy").attr("asarray")(data);
    return tensor_from_object(array, dtype);
  }
  NestedReader reader(data);
  return from_scalars(reader.elements, reader.shape, dtype.value_or(reader.dtype.value_or(default_dtype())));
}

py::object to_numpy(const Tensor& tensor, bool force) {
  if (!tensor.device().is_cpu()) {
    check<TypeError>(force, "can't convert ", tensor.device(),
                     " device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.");
    return to_numpy(to_device(tensor.detach(), {}), false);
  }
  check(force || !tensor.requires_grad(),
        "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
  py::dtype dtype = array_dtype(tensor.dtype());
  Memory memory = evaluated_memory(tensor);
  const auto item = static_cast<py::ssize_t>(size_of(tensor.dtype()));
  std::vector<py::ssize_t> shape, strides;
  for (int i = 0; i < memory.shape.size(); ++i) {
    shape.push_back(memory.shape[i]);
    strides.push_back(memory.strides[i] * item);
  }
  auto owner = py::capsule(new std::shared_ptr<void>(memory.owner), "pycnn memory", [](PyObject* capsule) {
    delete static_cast<std::shared_ptr<void>*>(PyCapsule_GetPointer(capsule, "pycnn memory"));
  });
  py::array array(dtype, shape, strides, memory.data, owner);
  array.attr("setflags")(py::arg("write") = false);
  return force ? array.attr("copy")() : array;
}

py::list to_list(const Memory& memory, int dimension, int64_t offset) {
  const int64_t size = memory.shape[dimension];
  const int64_t stride = memory.strides[dimension];
  py::list result(static_cast<size_t>(size));
  const bool last = dimension + 1 == memory.shape.size();
  for (int64_t i = 0; i < size; ++i) {
    const int64_t at = offset + i * stride;
    py::object item = last ? to_python(read_element(memory, at)) : py::object(to_list(memory, dimension + 1, at));
    PyList_SET_ITEM(result.ptr(), i, item.release().ptr());
  }
  return result;
}

void bind_conversion(Module& module, TensorClass& tensor) {
  tensor
      .def("tolist",
           [](const Tensor& self) {
             Memory memory = readable_memory(self);
             return self.dim() == 0 ? to_python(read_element(memory, 0)) : py::object(to_list(memory, 0, 0));
           })
      .def("data_ptr", [](const Tensor& self) { return reinterpret_cast<uintptr_t>(evaluated_memory(self).data); })
      .def(
          "numpy", [](const Tensor& self, bool force) { return to_numpy(self, force); }, py::kw_only(),
          py::arg("force") = false)
      .def(
          "__array__",
          [](const Tensor& self, const py::object& dtype, const py::object& copy) {
            py::object array = to_numpy(self, false);
            if (!dtype.is_none()) array = array.attr("astype")(dtype, py::arg("copy") = false);
            return !copy.is_none() && copy.cast<bool>() ? array.attr("copy")() : array;
          },
          py::arg("dtype") = py::none(), py::arg("copy") = py::none());
  module.def(
      "tensor",
      [](const py::object& data, std::optional<DType> dtype, DeviceArgument device, bool requires_grad, bool) {
        Tensor result = to_device(tensor_from_object(data, dtype), device.or_default());
        return requires_grad ? result.requires_grad_() : result;
      },
      py::arg("data"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("pin_memory") = false);
  module.def(
      "from_numpy",
      [](const py::object& array) {
        check<TypeError>(is_numpy_array(array), "expected np.ndarray (got ", Py_TYPE(array.ptr())->tp_name, ")");
        return tensor_from_array(array, true);
      },
      py::arg("ndarray"));
  auto as_tensor_object = [](const py::object& data, std::optional<DType> dtype, DeviceArgument device) -> py::object {
    if (is_tensor(data) && (!dtype || tensor_of(data).dtype() == *dtype) &&
        (!device.given || tensor_of(data).device() == *device.given))
      return data;
    const Tensor result = as_tensor(data, dtype);
    const bool stays = is_tensor(data) || !result.device().is_cpu();
    return py::cast(to_device(result, device.given.value_or(stays ? result.device() : creation_device())));
  };
  module.def("as_tensor", as_tensor_object, py::arg("data"), py::arg("dtype") = py::none(),
             py::arg("device") = py::none());
  module.def("asarray", as_tensor_object, py::arg("obj"), py::kw_only(), py::arg("dtype") = py::none(),
             py::arg("device") = py::none());
  module.def(
      "is_tensor", [](py::handle obj) { return is_tensor(obj); }, py::arg("obj"));
  module.def(
      "scalar_tensor",
      [](Scalar s, std::optional<DType> dtype, DeviceArgument device, bool requires_grad) {
        Tensor result = to_device(scalar_tensor(s, dtype.value_or(default_dtype())), device.or_default());
        return requires_grad ? result.requires_grad_() : result;
      },
      py::arg("s"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false);
  module.def(
      "_rebuild_tensor",
      [](const py::object& type, const py::bytes& data, DType dtype, const Shape& shape, bool requires_grad,
         const py::object& attributes, const std::string& device) {
        Tensor value = to_device(rebuild_value(data, dtype, shape), pycnn::parse_device(device));
        if (requires_grad) value.requires_grad_();
        py::object instance = type.attr("__new__")(type);
        py::type::of<Tensor>().attr("__init__")(instance, value);
        if (!attributes.is_none()) py::object(instance.attr("__dict__")).attr("update")(attributes);
        return instance;
      },
      py::arg("cls"), py::arg("data"), py::arg("dtype"), py::arg("shape"), py::arg("requires_grad"),
      py::arg("attributes") = py::none(), py::arg("device") = "cpu");
}

}  // namespace pycnn::bindings
