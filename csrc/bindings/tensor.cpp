// class Tensor: attributes, conversion to Python's numbers, copying, pickling, dtype and layout changes.
#include "bindings/bindings.h"
#include "graph/node.h"
#include "ops/places.h"
#include "ops/views.h"

namespace pycnn::bindings {
namespace {

bool is_contiguous(const Tensor& self, MemoryFormat format) {
  if (format == MemoryFormat::ChannelsLast) return self.dim() == 4;
  if (format == MemoryFormat::ChannelsLast3d) return self.dim() == 5;
  const Strides strides = ops::nominal_strides(self);
  int64_t expected = 1;
  for (int d = self.dim() - 1; d >= 0 && self.numel() > 0; --d) {
    if (self.shape()[d] != 1 && strides[d] != expected) return false;
    expected *= self.shape()[d];
  }
  return true;
}

void bind_attributes(TensorClass& tensor) {
  tensor.def_property_readonly("shape", [](const Tensor& self) { return size_tuple(self.shape()); })
      .def(
          "size",
          [](const Tensor& self, std::optional<int64_t> dim) -> py::object {
            check<IndexError>(!dim || self.dim() > 0, "Dimension specified as ", dim.value_or(0),
                              " but tensor has no dimensions");
            return dim ? py::object(py::int_(self.size(*dim))) : size_tuple(self.shape());
          },
          py::arg("dim") = py::none())
      .def("dim", &Tensor::dim)
      .def("ndimension", &Tensor::dim)
      .def_property_readonly("ndim", &Tensor::dim)
      .def("numel", &Tensor::numel)
      .def("nelement", &Tensor::numel)
      .def("element_size", [](const Tensor& self) { return size_of(self.dtype()); })
      .def_property_readonly("itemsize", [](const Tensor& self) { return size_of(self.dtype()); })
      .def_property_readonly(
          "nbytes", [](const Tensor& self) { return self.numel() * static_cast<int64_t>(size_of(self.dtype())); })
      .def_property_readonly("dtype", &Tensor::dtype)
      .def_property_readonly("device", [](const Tensor& self) { return device_object(self.device()); })
      .def_property_readonly("is_cuda", [](const Tensor& self) { return !self.device().is_cpu(); })
      .def_property_readonly("is_sparse", [](const Tensor&) { return false; })
      .def("get_device", [](const Tensor& self) { return self.device().is_cpu() ? -1 : self.device().index; })
      .def("is_floating_point", [](const Tensor& self) { return is_floating_point(self.dtype()); })
      .def("is_complex", [](const Tensor&) { return false; })
      .def("is_signed", [](const Tensor& self) { return self.dtype() != DType::Bool && self.dtype() != DType::UInt8; })
      .def(
          "stride",
          [](const Tensor& self, std::optional<int64_t> dim) -> py::object {
            Strides strides = ops::nominal_strides(self);
            if (!dim) return py::tuple(py::cast(std::vector<int64_t>(strides.begin(), strides.end())));
            return py::int_(strides[normalize_dimension(*dim, self.dim(), "stride")]);
          },
          py::arg("dim") = py::none())
      .def("is_contiguous", &is_contiguous, py::arg("memory_format") = MemoryFormat::Contiguous)
      .def("storage_offset", &ops::storage_offset)
      .def("is_evaluated", &Tensor::is_evaluated)
      .def("is_same_value", &Tensor::is_same_value, py::arg("other"))
      .def("is_set_to", &Tensor::is_same_value, py::arg("tensor"))
      .def("is_pinned", &is_pinned)
      .def("pin_memory",
           [](const py::object& self) {
             const Tensor& tensor = tensor_of(self);
             const Tensor pinned = without_gil([&] { return pin_memory(tensor); });
             return pinned.is_same_value(tensor) ? self : py::cast(pinned);
           })
      .def(
          "record_stream",
          [](const Tensor& self, const cuda::Stream& stream) { without_gil([&] { record_stream(self, stream); }); },
          py::arg("stream"));
}

Scalar only_element(const Tensor& self) {
  check(self.numel() == 1, "a Tensor with ", self.numel(), " elements cannot be converted to Scalar");
  return read_element(readable_memory(self), 0);
}

Scalar only_number(const Tensor& self) {
  check<ValueError>(self.numel() == 1, "only one element tensors can be converted to Python scalars");
  return only_element(self);
}

void bind_numbers(TensorClass& tensor) {
  tensor.def("item", [](const Tensor& self) { return to_python(only_element(self)); })
      .def("__bool__",
           [](const Tensor& self) {
             check(self.numel() != 0, "Boolean value of Tensor with no values is ambiguous");
             check(self.numel() == 1, "Boolean value of Tensor with more than one value is ambiguous");
             Scalar value = only_element(self);
             return value.kind() == Scalar::Kind::Float ? value.to_double() != 0 : value.to_int() != 0;
           })
      .def("__float__", [](const Tensor& self) { return only_number(self).to_double(); })
      .def("__int__", [](const Tensor& self) { return py::int_(to_python(only_number(self))); })
      .def("__index__",
           [](const Tensor& self) {
             check<TypeError>(self.numel() == 1 && !is_floating_point(self.dtype()),
                              "only integer tensors of a single element can be converted to an index");
             return only_element(self).to_int();
           })
      .def("__len__",
           [](const Tensor& self) {
             check<TypeError>(self.dim() > 0, "len() of a 0-d tensor");
             return self.size(0);
           })
      .def("__iter__",
           [](const Tensor& self) {
             check<TypeError>(self.dim() > 0, "iteration over a 0-d tensor");
             return py::iter(py::cast(unbind(self, 0)));
           })
      .def("__contains__",
           [](const Tensor& self, py::handle element) {
             const auto number = parse_scalar(element);
             check(number || is_tensor(element),
                   "Tensor.__contains__ only supports Tensor or scalar, but you passed in a ",
                   Py_TYPE(element.ptr())->tp_name);
             const Tensor value = number ? wrap_scalar(*number, self) : tensor_of(element);
             return only_element(any(eq(self, value))).to_int() != 0;
           })
      .def("__repr__", &to_repr)
      .def("__format__",
           [](py::handle self, const py::str& specification) -> py::object {
             const Tensor& tensor = tensor_of(self);
             if (tensor.dim() > 0) {
               auto type = py::handle(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
               return type.attr("__format__")(self, specification);
             }
             return to_python(only_element(tensor)).attr("__format__")(specification);
           })
      .def("__hash__", [](py::handle self) { return reinterpret_cast<intptr_t>(self.ptr()) >> 4; });
}

// -- dtype and layout -----------------------------------------------------------------------------------------------
void check_rank(const Tensor& self, MemoryFormat format) {
  check(format != MemoryFormat::ChannelsLast || self.dim() == 4, "required rank 4 tensor to use channels_last format");
  check(format != MemoryFormat::ChannelsLast3d || self.dim() == 5,
        "required rank 5 tensor to use channels_last_3d format");
}

py::object with_dtype(const py::object& self, DType dtype, bool copy = false) {
  const Tensor& tensor = tensor_of(self);
  if (tensor.dtype() != dtype) return py::cast(cast(tensor, dtype));
  return copy ? py::cast(clone(tensor)) : self;
}

py::object with_layout(const py::object& self, MemoryFormat format) {
  const Tensor& tensor = tensor_of(self);
  check_rank(tensor, format);
  const bool channels_last = format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d;
  if (channels_last) return py::cast(contiguous(tensor, true));
  return format == MemoryFormat::Preserve || is_contiguous(tensor, format) ? self : py::cast(contiguous(tensor));
}

py::object with_device(const py::object& self, const Device& device, bool non_blocking = false) {
  const Tensor& tensor = tensor_of(self);
  return tensor.device() == device ? self
                                   : py::cast(without_gil([&] { return to_device(tensor, device, non_blocking); }));
}

/// to(dtype), to(device), to(device, dtype), to(other), each with keywords.
py::object to(const py::object& self, const py::args& args, const py::kwargs& kwargs) {
  std::optional<DType> dtype;
  std::optional<Device> device;
  bool copy = false, non_blocking = false;
  MemoryFormat format = MemoryFormat::Preserve;
  auto read = [&](py::handle value, std::string_view keyword, size_t position) {
    const bool positional = keyword.empty();
    if (value.is_none() && (!positional || position < 2)) return;
    if (positional && is_tensor(value)) {
      dtype = tensor_of(value).dtype();
      device = tensor_of(value).device();
    } else if ((positional || keyword == "dtype") && parse_dtype(value)) {
      dtype = parse_dtype(value);
    } else if ((positional || keyword == "device") && names_device(value)) {
      device = device_there(parse_device_object(value));
    } else if (keyword == "other" && is_tensor(value)) {
      dtype = tensor_of(value).dtype();
      device = tensor_of(value).device();
    } else if (keyword == "memory_format" && py::isinstance<MemoryFormat>(value)) {
      format = value.cast<MemoryFormat>();
    } else if (keyword == "copy") {
      copy = value.cast<bool>();
    } else if (keyword == "non_blocking") {
      non_blocking = value.cast<bool>();
    } else if (!(positional && position > 0 && py::isinstance<py::bool_>(value))) {
      fail<TypeError>("to() received an invalid combination of arguments: ", positional ? "" : keyword,
                      positional ? "" : "=", std::string(py::repr(value)));
    }
  };
  size_t booleans = 0;
  for (size_t i = 0; i < args.size(); ++i) {
    // After dtype or device come non_blocking and copy.
    if (py::isinstance<py::bool_>(args[i]) && i > 0) (++booleans == 1 ? non_blocking : copy) = args[i].cast<bool>();
    read(args[i], "", i);
  }
  for (auto [name, value] : kwargs) read(value, name.cast<std::string>(), 0);
  const py::object there = with_device(self, device.value_or(tensor_of(self).device()), non_blocking);
  copy = copy && there.is(self);
  return with_layout(with_dtype(there, dtype.value_or(tensor_of(self).dtype()), copy), format);
}

void bind_casts(TensorClass& tensor) {
  tensor.def("to", &to)
      .def(
          "type",
          [](const py::object& self, const py::object& dtype, bool) -> py::object {
            auto types = py::module_::import("pycnn._tensor_types");
            if (dtype.is_none()) return types.attr("name_of")(py::cast(tensor_of(self).dtype()));
            return with_dtype(self, types.attr("dtype_of")(dtype).cast<DType>());
          },
          py::arg("dtype") = py::none(), py::arg("non_blocking") = false)
      .def(
          "type_as", [](const py::object& self, const Tensor& other) { return with_dtype(self, other.dtype()); },
          py::arg("other"))
      .def(
          "contiguous", [](const py::object& self, MemoryFormat format) { return with_layout(self, format); },
          py::arg("memory_format") = MemoryFormat::Contiguous)
      .def(
          "cpu", [](const py::object& self, MemoryFormat) { return with_device(self, {}); },
          py::arg("memory_format") = MemoryFormat::Preserve)
      .def(
          "cuda",
          [](const py::object& self, const DeviceArgument& device, bool non_blocking, MemoryFormat) {
            const Device target = device.given ? *device.given : pycnn::parse_device("cuda");
            check(!target.is_cpu(), "Invalid device, must be cuda device");
            return with_device(self, target, non_blocking);
          },
          py::arg("device") = py::none(), py::arg("non_blocking") = false,
          py::arg("memory_format") = MemoryFormat::Preserve);
  const std::pair<const char*, DType> casts[] = {
      {"float", DType::Float32}, {"double", DType::Float64}, {"half", DType::Float16}, {"bfloat16", DType::BFloat16},
      {"int", DType::Int32},     {"long", DType::Int64},     {"short", DType::Int16},  {"char", DType::Int8},
      {"byte", DType::UInt8},    {"bool", DType::Bool}};
  for (auto [name, dtype] : casts)
    tensor.def(
        name, [dtype = dtype](const py::object& self, MemoryFormat) { return with_dtype(self, dtype); },
        py::arg("memory_format") = MemoryFormat::Preserve);
}

// -- copies, pickles ------------------------------------------------------------------------------------------------
/// A new object of this class over a handle of its own, with the attributes a subclass instance carries.
py::object make_instance(const py::handle& type, const Tensor& value, const py::handle& attributes) {
  py::object instance = type.attr("__new__")(type);
  py::type::of<Tensor>().attr("__init__")(instance, value);
  if (!attributes.is_none()) py::object(instance.attr("__dict__")).attr("update")(attributes);
  return instance;
}

py::object deep_copy(const py::object& self, py::dict memo) {
  py::object key = py::reinterpret_steal<py::object>(PyLong_FromVoidPtr(self.ptr()));
  if (memo.contains(key)) return memo[key];
  const Tensor& tensor = tensor_of(self);
  check(tensor.is_leaf(),
        "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment");
  Tensor copy = clone(tensor.detach());
  if (tensor.requires_grad()) copy.requires_grad_();
  if (Tensor gradient = tensor.grad(); gradient.defined()) copy.set_grad(clone(gradient.detach()));
  py::object attributes = py::module_::import("copy").attr("deepcopy")(self.attr("__dict__"), memo);
  py::object result = make_instance(py::type::handle_of(self), copy, attributes);
  memo[key] = result;
  return result;
}

/// Appends the elements from `dimension` on in row-major order; those that lie so, in one piece.
void append_row_major(std::string& bytes, const Memory& memory, const Strides& dense, int dimension, const char* at) {
  const auto item = static_cast<int64_t>(size_of(memory.dtype));
  const int rank = memory.shape.size();
  bool is_dense = true;
  int64_t count = 1;
  for (int d = dimension; d < rank; ++d) {
    is_dense = is_dense && (memory.shape[d] == 1 || memory.strides[d] == dense[d]);
    count *= memory.shape[d];
  }
  if (is_dense || count == 0) {
    bytes.append(at, static_cast<size_t>(count * item));
    return;
  }
  for (int64_t i = 0; i < memory.shape[dimension]; ++i)
    append_row_major(bytes, memory, dense, dimension + 1, at + i * memory.strides[dimension] * item);
}

py::object reduce(const py::object& self, py::handle) {
  const Tensor& tensor = tensor_of(self);
  check(tensor.is_leaf() || !tensor.requires_grad(), "only graph leaves can be pickled; call detach() first");
  const Memory memory = readable_memory(tensor.detach());
  std::string elements;
  elements.reserve(static_cast<size_t>(tensor.numel()) * size_of(tensor.dtype()));
  append_row_major(elements, memory, contiguous_strides(memory.shape), 0, static_cast<const char*>(memory.data));
  const py::bytes bytes(elements);
  auto rebuild = py::module_::import("pycnn._core").attr("_rebuild_tensor");
  return py::make_tuple(rebuild, py::make_tuple(py::type::handle_of(self), bytes, dtype_object(tensor.dtype()),
                                                py::tuple(size_tuple(tensor.shape())), tensor.requires_grad(),
                                                self.attr("__dict__"), to_string(tensor.device())));
}

void bind_copies(TensorClass& tensor) {
  tensor.def("__deepcopy__", &deep_copy, py::arg("memo"))
      .def("__reduce_ex__", &reduce, py::arg("protocol"))
      .def_static(
          "_make_subclass",
          [](const py::handle& type, const Tensor& data, bool require_grad) {
            Tensor fresh(data.detach().value());
            check(!require_grad || !data.is_inference() || is_inference_mode_enabled(),
                  "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
            if (require_grad) fresh.requires_grad_();
            return make_instance(type, fresh, py::none());
          },
          py::arg("cls"), py::arg("data"), py::arg("require_grad") = false,
          "An instance of a subclass with the value of `data` and a handle of its own.");
}

}  // namespace

Scalar read_element(const Memory& memory, int64_t offset) {
  return visit_dtype(memory.dtype, [&](auto type) -> Scalar {
    using T = decltype(type);
    const T value = static_cast<const T*>(memory.data)[offset];
    if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>)
      return to_float(value);
    else
      return value;
  });
}

py::object to_python(Scalar value) {
  switch (value.kind()) {
    case Scalar::Kind::Bool:
      return py::bool_(value.to_int() != 0);
    case Scalar::Kind::Int:
      return py::int_(value.to_int());
    case Scalar::Kind::Float:
      break;
  }
  return py::float_(value.to_double());
}

Memory readable_memory(const Tensor& tensor) {
  return tensor.device().is_cpu() ? evaluated_memory(tensor)
                                  : without_gil([&] { return to_device(tensor.detach(), {}).memory(); });
}

Memory evaluated_memory(const Tensor& tensor) {
  if (tensor.is_evaluated()) return tensor.memory();
  return without_gil([&] { return tensor.memory(); });
}

py::object store_in_place(const py::object& self, Tensor result, bool convert, bool uniform) {
  Tensor& tensor = tensor_of(self);
  check(result.shape() == tensor.shape(), "output with shape ", tensor.shape(), " doesn't match the broadcast shape ",
        result.shape());
  check(convert || can_cast(result.dtype(), tensor.dtype()), "result type ", result.dtype(),
        " can't be cast to the desired output type ", tensor.dtype());
  tensor.assign_(std::move(result), uniform);
  return self;
}

void bind_tensor(TensorClass& tensor) {
  // The constructor with a tensor shares its handle, which is what subclasses build on.
  tensor.def(py::init([](const Tensor& data) { return data; }), py::arg("data"))
      .def(py::init([](const py::args& arguments) {
        if (arguments.size() == 1 && !PyIndex_Check(arguments[0].ptr()))
          return tensor_from_object(arguments[0], default_dtype());
        return arguments.empty() ? empty(Shape{0}) : empty(sizes_of(arguments, "Tensor"));
      }));
  tensor.attr("__array_priority__") = 1000;
  bind_attributes(tensor);
  bind_numbers(tensor);
  bind_casts(tensor);
  bind_copies(tensor);
}

}  // namespace pycnn::bindings
