// What the files of the extension module share: argument types with their converters, and the functions that fill the
// module.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pycnn/autograd.h"
#include "pycnn/error.h"
#include "pycnn/ops.h"
#include "pycnn/tensor.h"

namespace pycnn::bindings {

namespace py = pybind11;

/// The docstring of the next function or method of this name, from the tables in docstrings/. Valid until the next
/// call.
const char* function_docstring(const char* name);
const char* method_docstring(const char* name);
/// Names in those tables that nothing has asked for.
std::vector<std::string> unused_docstrings();

/// The module. Its functions find their docstrings by name; a text given to def() replaces that.
class Module : public py::module_ {
 public:
  explicit Module(py::module_ module) : py::module_(std::move(module)) {}
  template <typename Function, typename... Extra>
  Module& def(const char* name, Function&& function, const Extra&... extra) {
    py::module_::def(name, std::forward<Function>(function), function_docstring(name), extra...);
    return *this;
  }
};

/// Tensor; likewise its methods and properties.
class TensorClass : public py::class_<Tensor> {
 public:
  using py::class_<Tensor>::class_;
  template <typename Function, typename... Extra>
  TensorClass& def(const char* name, Function&& function, const Extra&... extra) {
    py::class_<Tensor>::def(name, std::forward<Function>(function), method_docstring(name), extra...);
    return *this;
  }
  template <typename... Parameters, typename... Extra>
  TensorClass& def(py::detail::initimpl::factory<Parameters...>&& init, const Extra&... extra) {
    py::class_<Tensor>::def(std::move(init), method_docstring("__init__"), extra...);
    return *this;
  }
  template <typename Getter, typename... Extra>
  TensorClass& def_property_readonly(const char* name, const Getter& getter, const Extra&... extra) {
    py::class_<Tensor>::def_property_readonly(name, getter, method_docstring(name), extra...);
    return *this;
  }
  template <typename Getter, typename Setter, typename... Extra>
  TensorClass& def_property(const char* name, const Getter& getter, const Setter& setter, const Extra&... extra) {
    py::class_<Tensor>::def_property(name, getter, setter, method_docstring(name), extra...);
    return *this;
  }
};

/// A tensor or a number where PyTorch takes either.
struct Operand {
  Tensor tensor;
  Scalar scalar = 0;
  bool is_tensor() const { return tensor.defined(); }
  /// As a tensor that meets `other` in type promotion.
  Tensor against(const Tensor& other) const { return is_tensor() ? tensor : wrap_scalar(scalar, other); }
};

/// One tensor or a sequence of them. Entries may be None (undefined) in OptionalTensorList only.
struct TensorList {
  Tensors tensors;
};
struct OptionalTensorList {
  Tensors tensors;
};

struct DTypeObject {
  DType value;
};

/// Python's device: a name, which need not be that of a device there is.
struct DeviceObject {
  std::string type = "cpu";
  std::optional<int> index;
};

/// A device argument: None, a string, a device or the index of a GPU; one that is not there raises.
struct DeviceArgument {
  std::optional<Device> given;
  /// Where a function without tensors creates what it returns.
  Device or_default() const { return given.value_or(creation_device()); }
};

enum class MemoryFormat : uint8_t { Preserve, Contiguous, ChannelsLast, ChannelsLast3d };

/// The one Python object that stands for a dtype.
py::object dtype_object(DType dtype);
/// From a dtype object, or one of Python's float, int, bool.
std::optional<DType> parse_dtype(py::handle object);
/// From a bool, int or float, NumPy's scalars included.
std::optional<Scalar> parse_scalar(py::handle object);
/// From an int or a sequence of ints.
std::optional<Dimensions> parse_dimensions(py::handle object);
/// A string, a device or the index of a GPU.
bool names_device(py::handle object);
DeviceObject parse_device_object(py::handle object);
DeviceObject device_object(const Device& device);
/// The device there is; throws if there is none.
Device device_there(const DeviceObject& device);
inline bool is_tensor(py::handle object) { return py::isinstance<Tensor>(object); }

/// Sizes given one by one or as one sequence.
Shape sizes_of(const py::args& sizes, const char* function);
/// A tuple of class Size.
py::object size_tuple(const Shape& shape);
/// (values, indices) under the name of the function that returned them.
py::object values_and_indices(const char* function, std::pair<Tensor, Tensor> result);
inline py::object or_none(Tensor tensor) { return tensor.defined() ? py::cast(std::move(tensor)) : py::none(); }
inline Tensor or_undefined(const std::optional<Tensor>& tensor) { return tensor ? *tensor : Tensor(); }
/// PyTorch reads dim=() as all dimensions.
inline OptionalDimensions reduced(const OptionalDimensions& dimensions) {
  return dimensions && dimensions->empty() ? std::nullopt : dimensions;
}
/// float32 … for numbers that become tensors of their own.
DType dtype_of_kind(Scalar::Kind kind);
/// Whether PyTorch lets an in-place operator store a result of dtype `from` in a tensor of dtype `to`.
bool can_cast(DType from, DType to);

// -- Python's lock and lifetimes -------------------------------------------------------------------------------------
/// Runs something that may compute while other Python threads go on.
template <typename Function>
auto without_gil(const Function& function) {
  py::gil_scoped_release release;
  return function();
}
/// Drops a reference from any thread without ever waiting for the GIL (waiting inside the graph could deadlock).
void release_object(PyObject* object);
/// A Python object that C++ may keep and drop anywhere.
using HeldObject = std::shared_ptr<PyObject>;
inline HeldObject hold(py::object object) { return HeldObject(object.release().ptr(), release_object); }

// -- in place --------------------------------------------------------------------------------------------------------
inline Tensor& tensor_of(py::handle self) { return self.cast<Tensor&>(); }
/// Stores `result` in the tensor behind `self` and returns the same Python object. `convert`: any dtype is fine (fill_,
/// copy_); `uniform`: all elements are given one value (fill_, zero_), which an expanded tensor can take.
py::object store_in_place(const py::object& self, Tensor result, bool convert = false, bool uniform = false);
template <typename Compute>
py::object in_place(const py::object& self, const char* name, const Compute& compute, bool convert = false,
                    bool uniform = false) {
  Tensor& tensor = tensor_of(self);
  tensor.check_in_place(name);
  const DeviceScope scope(tensor.device());
  return store_in_place(self, compute(tensor), convert, uniform);
}

// -- elements --------------------------------------------------------------------------------------------------------
/// Calls function(T{}) with the element type of a dtype.
template <typename Function>
auto visit_dtype(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::Bool:
      return function(bool{});
    case DType::UInt8:
      return function(uint8_t{});
    case DType::Int8:
      return function(int8_t{});
    case DType::Int16:
      return function(int16_t{});
    case DType::Int32:
      return function(int32_t{});
    case DType::Int64:
      return function(int64_t{});
    case DType::Float16:
      return function(Float16{});
    case DType::BFloat16:
      return function(BFloat16{});
    case DType::Float32:
      return function(float{});
    case DType::Float64:
      break;
  }
  return function(double{});
}
/// An element as a number.
Scalar read_element(const Memory& memory, int64_t offset);
py::object to_python(Scalar value);
/// A tensor of these row-major elements, checked against the dtype's range.
Tensor from_scalars(const std::vector<Scalar>& elements, const Shape& shape, DType dtype);
/// Evaluates with the GIL released.
Memory evaluated_memory(const Tensor& tensor);
/// The same on the CPU, if need be as a copy.
Memory readable_memory(const Tensor& tensor);

// -- conversion.cpp, indexing.cpp, repr.cpp --------------------------------------------------------------------------
/// What pycnn.tensor(data) makes: always a copy.
Tensor tensor_from_object(py::handle data, std::optional<DType> dtype);
Tensor tensor_from_array(py::handle array, bool may_share);
bool is_numpy_array(py::handle object);
/// Whether it has `__cuda_array_interface__`: an array of another library on a GPU.
bool is_cuda_array(py::handle object);
/// Shares its memory; this thread's stream waits for the one that it names.
Tensor from_cuda_array(const py::object& source);
/// In memory of its own.
Tensor copy_of_cuda_array(const py::object& source);
py::object to_numpy(const Tensor& tensor, bool force);
py::list to_list(const Memory& memory, int dimension, int64_t offset);
Tensor get_item(const Tensor& self, py::handle index);
void set_item(Tensor& self, py::handle index, py::handle value);
/// Positions of the non-zero elements, (count, dim).
Tensor nonzero(const Tensor& input);
/// What set_printoptions() sets.
struct PrintOptions {
  int precision = 4;
  int64_t threshold = 1000;  ///< more elements than this are abbreviated
  int64_t edge_items = 3;
  size_t line_width = 80;
  std::optional<bool> scientific;  ///< unless chosen by the elements
};
PrintOptions& print_options();
std::string to_repr(const Tensor& tensor);

// -- the files of the module -----------------------------------------------------------------------------------------
void bind_types(Module& module);
void bind_generator(Module& module);
void bind_tensor(TensorClass& tensor);
void bind_conversion(Module& module, TensorClass& tensor);
void bind_dlpack(Module& module, TensorClass& tensor);
void bind_creation(Module& module, TensorClass& tensor);
void bind_pointwise(Module& module, TensorClass& tensor);
void bind_in_place(TensorClass& tensor);
void bind_reductions(Module& module, TensorClass& tensor);
void bind_shape(Module& module, TensorClass& tensor);
void bind_indexing(Module& module, TensorClass& tensor);
void bind_nn_functions(Module& module);
void bind_vision_functions(Module& module);
void bind_losses(Module& module);
void bind_autograd(Module& module, TensorClass& tensor);
void bind_autocast(Module& module);
void bind_cuda(Module& module);
void bind_io(Module& module);
void bind_runtime(Module& module);
void bind_optimizers(Module& module);
/// Calls of what is defined so far raise with the function's name and say what arguments they take.
void explain_failing_calls(Module& module, TensorClass& tensor);
/// The part of pybind11's message by which they are known.
inline constexpr const char* incompatible_arguments = " arguments. The following argument types are supported:\n";
/// The function that Python is calling in this thread, if it is one of those and not private.
const std::string* called_function();
/// What `out=` means: the tensor (or each of several) takes the result, with its shape, and is returned. `arguments`
/// are the call's others, which must not lie where it does.
py::object write_out(const std::string& name, const py::object& result, const py::object& out,
                     std::span<PyObject* const> arguments);

/// Throws if one of the arguments (tensors, sequences of them, others) lies where `written` does and must not.
void refuse_overlaps(const std::string& name, const Tensor& written, const py::args& arguments);

/// Defines a function of a tensor both in the module (first argument "input") and as a method.
template <typename Function, typename... Extra>
void define(Module& module, TensorClass& tensor, const char* name, const Function& function, const Extra&... extra) {
  module.def(name, function, py::arg("input"), extra...);
  tensor.def(name, function, extra...);
}

}  // namespace pycnn::bindings

namespace pybind11::detail {

template <>
struct type_caster<pycnn::DType> {
  PYBIND11_TYPE_CASTER(pycnn::DType, const_name("dtype"));
  bool load(handle source, bool) {
    auto parsed = pycnn::bindings::parse_dtype(source);
    if (parsed) value = *parsed;
    return parsed.has_value();
  }
  static handle cast(pycnn::DType dtype, return_value_policy, handle) {
    return pycnn::bindings::dtype_object(dtype).release();
  }
};

template <>
struct type_caster<pycnn::Dimensions> {
  PYBIND11_TYPE_CASTER(pycnn::Dimensions, const_name("int | Sequence[int]"));
  bool load(handle source, bool) {
    auto parsed = pycnn::bindings::parse_dimensions(source);
    if (parsed) value = *parsed;
    return parsed.has_value();
  }
  static handle cast(const pycnn::Dimensions& dimensions, return_value_policy, handle) {
    return pycnn::bindings::size_tuple(dimensions).release();
  }
};

/// Scalar has no default constructor, which PYBIND11_TYPE_CASTER wants.
template <>
struct type_caster<pycnn::Scalar> {
  static constexpr auto name = const_name("float");
  template <typename T>
  using cast_op_type = movable_cast_op_type<T>;
  operator pycnn::Scalar*() { return &value; }
  operator pycnn::Scalar&() { return value; }
  operator pycnn::Scalar&&() && { return std::move(value); }
  bool load(handle source, bool) {
    auto parsed = pycnn::bindings::parse_scalar(source);
    if (!parsed && pycnn::bindings::is_tensor(source)) {
      object number = source.attr("item")();
      parsed = pycnn::bindings::parse_scalar(number);
    }
    if (parsed) value = *parsed;
    return parsed.has_value();
  }
  static handle cast(pycnn::Scalar scalar, return_value_policy, handle) {
    return pycnn::bindings::to_python(scalar).release();
  }
  pycnn::Scalar value = 0;
};

template <>
struct type_caster<pycnn::bindings::Operand> {
  PYBIND11_TYPE_CASTER(pycnn::bindings::Operand, const_name("Tensor | float"));
  bool load(handle source, bool) {
    if (pycnn::bindings::is_tensor(source)) {
      value.tensor = source.cast<pycnn::Tensor&>();
      return true;
    }
    auto parsed = pycnn::bindings::parse_scalar(source);
    if (parsed) value.scalar = *parsed;
    return parsed.has_value();
  }
};

template <typename List, bool optional>
struct tensor_list_caster {
  PYBIND11_TYPE_CASTER(List, const_name("Tensor | Sequence[Tensor]"));
  bool load(handle source, bool) {
    if (pycnn::bindings::is_tensor(source)) {
      value.tensors = {source.cast<pycnn::Tensor&>()};
      return true;
    }
    if (source.is_none() || isinstance<str>(source) || !isinstance<iterable>(source)) return false;
    for (handle item : reinterpret_borrow<iterable>(source)) {
      if (optional && item.is_none())
        value.tensors.emplace_back();
      else if (pycnn::bindings::is_tensor(item))
        value.tensors.push_back(item.cast<pycnn::Tensor&>());
      else
        return false;
    }
    return true;
  }
};
template <>
struct type_caster<pycnn::bindings::TensorList> : tensor_list_caster<pycnn::bindings::TensorList, false> {};
template <>
struct type_caster<pycnn::bindings::OptionalTensorList>
    : tensor_list_caster<pycnn::bindings::OptionalTensorList, true> {};

template <>
struct type_caster<pycnn::bindings::DeviceArgument> {
  PYBIND11_TYPE_CASTER(pycnn::bindings::DeviceArgument, const_name("device | str | int | None"));
  bool load(handle source, bool) {
    if (source.is_none()) return true;
    if (!pycnn::bindings::names_device(source)) return false;
    value.given = pycnn::bindings::device_there(pycnn::bindings::parse_device_object(source));
    return true;
  }
};

}  // namespace pybind11::detail
