// DLPack (dmlc/dlpack, versions 0.x and 1.x): out without a copy, in as from_numpy.
#include "bindings/bindings.h"
#include "graph/node.h"
#include "tensor/backend.h"
#include "tensor/storage.h"

namespace pycnn::bindings {
namespace {

// The parts of the exchange format's C structures that are needed here, as its specification lays them out.
constexpr int32_t cpu_device = 1, cuda_device = 2;
constexpr uint64_t read_only_flag = 1;
enum TypeCode : uint8_t { Int = 0, UInt = 1, Float = 2, Bfloat = 4, Bool = 6 };

struct DLTensor {
  void* data;
  int32_t device_type, device_id;
  int32_t ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct Managed {
  DLTensor tensor;
  void* context;
  void (*deleter)(Managed*);
};
struct ManagedVersioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(ManagedVersioned*);
  uint64_t flags;
  DLTensor tensor;
};

template <typename T>
constexpr const char* capsule_name = std::is_same_v<T, Managed> ? "dltensor" : "dltensor_versioned";
template <typename T>
constexpr const char* used_name = std::is_same_v<T, Managed> ? "used_dltensor" : "used_dltensor_versioned";

template <typename T>
struct Export {
  T managed;
  Memory memory;
};

TypeCode code_of(DType dtype) {
  if (dtype == DType::Bool) return Bool;
  if (dtype == DType::UInt8) return UInt;
  if (dtype == DType::BFloat16) return Bfloat;
  return is_floating_point(dtype) ? Float : Int;
}

std::optional<DType> dtype_of_code(uint8_t code, uint8_t bits) {
  for (DType dtype : {DType::Bool, DType::UInt8, DType::Int8, DType::Int16, DType::Int32, DType::Int64, DType::Float16,
                      DType::BFloat16, DType::Float32, DType::Float64})
    if (code_of(dtype) == code && size_of(dtype) * 8 == bits) return dtype;
  return std::nullopt;
}

template <typename T>
void destroy_unused(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, capsule_name<T>)) return;
  auto* managed = static_cast<T*>(PyCapsule_GetPointer(capsule, capsule_name<T>));
  managed->deleter(managed);
}

template <typename T>
py::object make_capsule(Memory memory) {
  auto* exported = new Export<T>{{}, std::move(memory)};
  Memory& m = exported->memory;
  T& managed = exported->managed;
  managed.tensor = {m.data,
                    m.device.is_cpu() ? cpu_device : cuda_device,
                    m.device.index,
                    m.shape.size(),
                    code_of(m.dtype),
                    static_cast<uint8_t>(size_of(m.dtype) * 8),
                    1,
                    m.shape.begin(),
                    m.strides.begin(),
                    0};
  managed.context = exported;
  managed.deleter = [](T* self) { delete static_cast<Export<T>*>(self->context); };
  if constexpr (std::is_same_v<T, ManagedVersioned>) {
    managed.major = 1;
    managed.minor = 0;
    managed.flags = read_only_flag;
  }
  return py::reinterpret_steal<py::object>(PyCapsule_New(&managed, capsule_name<T>, &destroy_unused<T>));
}

/// The interface's name of a dtype, little-endian.
std::optional<std::string> array_kind(DType dtype) {
  if (dtype == DType::BFloat16) return {};
  const char letter = dtype == DType::Bool ? 'b' : dtype == DType::UInt8 ? 'u' : is_floating_point(dtype) ? 'f' : 'i';
  return std::string(size_of(dtype) == 1 ? "|" : "<") + letter + std::to_string(size_of(dtype));
}

// The array API's numbers of a GPU's streams: 1 is the default stream, 2 a thread's own; what is higher is a handle.
constexpr int64_t default_stream_number = 1, no_stream = -1;

int64_t number_of(const cuda::Stream& stream) {
  return stream.handle() == nullptr ? default_stream_number : reinterpret_cast<intptr_t>(stream.handle());
}

/// Lets a consumer's stream (None: the default one) wait for this thread's.
void let_wait(const py::object& number, int device) {
  check<TypeError>(number.is_none() || py::isinstance<py::int_>(number),
                   "__dlpack__: stream must be an int or None, got ", Py_TYPE(number.ptr())->tp_name);
  const int64_t stream = number.is_none() ? default_stream_number : number.cast<int64_t>();
  check<ValueError>(
      stream != 0 && stream >= no_stream,
      "__dlpack__: stream must be 1 (the default stream), 2 (a thread's own), a handle, or -1 for none, got ", stream);
  const cuda::Stream own = cuda::current_stream(device);
  if (stream == no_stream || stream == number_of(own)) return;
  without_gil([&] {
    cuda::Event computed;
    computed.record(own);
    cuda::external_stream(device, reinterpret_cast<void*>(static_cast<intptr_t>(stream))).wait(computed);
  });
}

/// `stream`: where the consumer will read.
py::object to_dlpack(const Tensor& self, const py::object& stream, const py::object& max_version,
                     const py::object& copy) {
  if (self.requires_grad()) {
    PyErr_SetString(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
    throw py::error_already_set();
  }
  // What an old consumer does not know to be read-only it may write to.
  Memory memory = evaluated_memory(self);
  if (!copy.is_none() && copy.cast<bool>())
    memory = evaluated_memory(clone(self));
  else
    self.pin();
  if (!memory.device.is_cpu()) let_wait(stream, memory.device.index);
  const bool versioned = !max_version.is_none() && py::tuple(max_version)[0].cast<int>() >= 1;
  return versioned ? make_capsule<ManagedVersioned>(std::move(memory)) : make_capsule<Managed>(std::move(memory));
}

template <typename T>
Tensor import_capsule(const py::object& capsule) {
  auto* managed = static_cast<T*>(PyCapsule_GetPointer(capsule.ptr(), capsule_name<T>));
  if (managed == nullptr) throw py::error_already_set();
  const DLTensor& source = managed->tensor;
  auto dtype = dtype_of_code(source.code, source.bits);
  check<TypeError>(dtype.has_value() && source.lanes == 1, "from_dlpack: unsupported element type (code ",
                   int{source.code}, ", ", int{source.bits}, " bits, ", source.lanes, " lanes)");
  check(source.device_type == cpu_device || source.device_type == cuda_device,
        "from_dlpack: the tensor is on device type ", source.device_type, ", expected the CPU (1) or CUDA (2)");
  Memory memory{nullptr, static_cast<char*>(source.data) + source.byte_offset, *dtype, {}, {}};
  for (int i = 0; i < source.ndim; ++i) memory.shape.push_back(source.shape[i]);
  if (source.strides == nullptr)
    memory.strides = contiguous_strides(memory.shape);
  else
    for (int i = 0; i < source.ndim; ++i) memory.strides.push_back(source.strides[i]);
  if (source.device_type == cuda_device) memory.device = parse_device("cuda:" + std::to_string(source.device_id));
  bool shares = !memory.device.is_cpu();
  if constexpr (std::is_same_v<T, ManagedVersioned>) shares |= (managed->flags & read_only_flag) != 0;
  if (shares) {
    // From here on the capsule no longer owns; the deleter runs where the GIL is held.
    PyCapsule_SetName(capsule.ptr(), used_name<T>);
    auto owner = py::capsule(managed, [](void* pointer) {
      auto* self = static_cast<T*>(pointer);
      if (self->deleter != nullptr) self->deleter(self);
    });
    memory.owner = hold(owner);
    return wrap_memory(memory);
  }
  Tensor result = copy_memory(memory);
  PyCapsule_SetName(capsule.ptr(), used_name<T>);
  if (managed->deleter != nullptr) managed->deleter(managed);
  return result;
}

Tensor from_dlpack(const py::object& source) {
  if (is_tensor(source)) return tensor_of(source).detach();
  py::object capsule = source;
  if (py::hasattr(source, "__dlpack__")) {
    py::dict arguments;
    if (py::hasattr(source, "__dlpack_device__")) {
      const auto [type, index] = source.attr("__dlpack_device__")().cast<std::pair<int, int>>();
      // The producer lets this stream wait for its own work.
      if (type == cuda_device)
        arguments["stream"] = number_of(cuda::current_stream(parse_device("cuda:" + std::to_string(index)).index));
    }
    const auto export_with = [&] { return source.attr("__dlpack__")(**arguments); };
    try {
      arguments["max_version"] = py::make_tuple(1, 0);
      capsule = export_with();
    } catch (py::error_already_set& error) {
      // Producers from before version 1 do not know the argument.
      if (!error.matches(PyExc_TypeError)) throw;
      arguments.attr("pop")("max_version");
      capsule = export_with();
    }
  }
  if (PyCapsule_IsValid(capsule.ptr(), capsule_name<ManagedVersioned>))
    return import_capsule<ManagedVersioned>(capsule);
  check<TypeError>(PyCapsule_IsValid(capsule.ptr(), capsule_name<Managed>),
                   "from_dlpack: expected an object with __dlpack__ or a capsule, got ",
                   Py_TYPE(source.ptr())->tp_name);
  return import_capsule<Managed>(capsule);
}

/// What Numba, CuPy and others read instead of DLPack: version 3 of the interface.
py::dict cuda_array_interface(const Tensor& self) {
  if (self.device().is_cpu())
    throw py::attribute_error("Can't get __cuda_array_interface__ on non-CUDA tensor: it lies on the CPU");
  check(!self.requires_grad(),
        "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients aren't "
        "required, use var.detach() to get Variable that doesn't require grad.");
  const std::optional<std::string> kind = array_kind(self.dtype());
  check<TypeError>(kind.has_value(), "__cuda_array_interface__: there is no such type as ", self.dtype());
  const Memory memory = evaluated_memory(self);
  self.pin();
  py::list shape, strides;
  for (int i = 0; i < memory.shape.size(); ++i) {
    shape.append(memory.shape[i]);
    strides.append(memory.strides[i] * static_cast<int64_t>(size_of(memory.dtype)));
  }
  py::dict result;
  result["typestr"] = *kind;
  result["shape"] = py::tuple(shape);
  result["strides"] = py::tuple(strides);
  result["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(memory.data), true);
  result["version"] = 3;
  // Readers wait for what is on this stream.
  result["stream"] = number_of(cuda::current_stream(memory.device.index));
  return result;
}

std::optional<DType> dtype_of_array_kind(std::string_view kind) {
  for (DType dtype : {DType::Bool, DType::UInt8, DType::Int8, DType::Int16, DType::Int32, DType::Int64, DType::Float16,
                      DType::Float32, DType::Float64})
    if (array_kind(dtype) == kind) return dtype;
  return {};
}

}  // namespace

Tensor from_cuda_array(const py::object& source) {
  const py::object described = source.attr("__cuda_array_interface__");
  check<TypeError>(py::isinstance<py::dict>(described), "__cuda_array_interface__: expected a dictionary");
  const auto interface = py::reinterpret_borrow<py::dict>(described);
  for (const char* needed : {"shape", "typestr", "data"})
    check<TypeError>(interface.contains(needed) && !interface[needed].is_none(),
                     "__cuda_array_interface__: there is no '", needed, "'");
  const auto given = [&](const char* name) {
    return interface.contains(name) ? py::object(interface[name]) : py::object(py::none());
  };
  const auto kind = interface["typestr"].cast<std::string>();
  const std::optional<DType> dtype = dtype_of_array_kind(kind);
  check<TypeError>(dtype.has_value(), "__cuda_array_interface__: unsupported element type ", kind);
  check<TypeError>(given("mask").is_none(), "__cuda_array_interface__: masked arrays are not supported");
  Memory memory{hold(source), nullptr, *dtype, {}, {}};
  for (const auto& size : interface["shape"].cast<std::vector<int64_t>>()) {
    check<ValueError>(size >= 0, "__cuda_array_interface__: a size is negative: ", size);
    memory.shape.push_back(size);
  }
  memory.strides = contiguous_strides(memory.shape);
  if (!given("strides").is_none()) {
    const auto steps = given("strides").cast<std::vector<int64_t>>();
    const auto width = static_cast<int64_t>(size_of(*dtype));
    check<ValueError>(static_cast<int>(steps.size()) == memory.shape.size(),
                      "__cuda_array_interface__: strides and shape differ in length");
    for (int i = 0; i < memory.shape.size(); ++i) {
      check<ValueError>(steps[static_cast<size_t>(i)] % width == 0,
                        "__cuda_array_interface__: a stride is no multiple of the elements' size");
      memory.strides[i] = steps[static_cast<size_t>(i)] / width;
    }
  }
  memory.data = reinterpret_cast<void*>(interface["data"].cast<py::tuple>()[0].cast<uintptr_t>());
  memory.device = element_count(memory.shape) > 0 ? device_of_memory(memory.data) : parse_device("cuda");
  const int device = memory.device.index;
  const cuda::Stream own = cuda::current_stream(device);
  // None, or an interface from before version 3: there is nothing to wait for, or nobody knows where.
  const int64_t stream = given("stream").is_none() ? number_of(own) : given("stream").cast<int64_t>();
  check<ValueError>(stream > 0, "__cuda_array_interface__: stream must be None or a positive number, got ", stream);
  if (stream != number_of(own))
    without_gil([&] {
      cuda::Event computed;
      computed.record(cuda::external_stream(device, reinterpret_cast<void*>(static_cast<intptr_t>(stream))));
      own.wait(computed);
    });
  return wrap_memory(memory);
}

Tensor copy_of_cuda_array(const py::object& source) {
  const Tensor shared = contiguous(from_cuda_array(source));
  without_gil([&] { evaluate(Tensors{shared}); });
  const graph::Output& output = graph::output_of(shared.value());
  const auto width = static_cast<int64_t>(size_of(output.dtype));
  const auto bytes = static_cast<size_t>(element_count(output.shape) * width);
  // A clone would share the memory, as values never change; but its owner may write to it.
  const StoragePointer memory = allocate_storage(bytes, output.device);
  output.buffer.storage->note_use();
  copy_between_devices(memory->data(), output.device,
                       static_cast<char*>(output.buffer.storage->data()) + output.buffer.offset * width, output.device,
                       bytes);
  return Tensor(graph::make_leaf(output.shape, output.dtype, {memory, 0, contiguous_strides(output.shape)}));
}

void bind_dlpack(Module& module, TensorClass& tensor) {
  tensor
      .def(
          "__dlpack__",
          [](const Tensor& self, const py::object& stream, const py::object& max_version, const py::object&,
             const py::object& copy) { return to_dlpack(self, stream, max_version, copy); },
          py::kw_only(), py::arg("stream") = py::none(), py::arg("max_version") = py::none(),
          py::arg("dl_device") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack_device__", [](const Tensor& self) {
        const Device device = self.device();
        return py::make_tuple(device.is_cpu() ? cpu_device : cuda_device, int{device.index});
      });
  tensor.def_property_readonly("__cuda_array_interface__", &cuda_array_interface);
  module.def("from_dlpack", &from_dlpack, py::arg("ext_tensor"));
}

}  // namespace pycnn::bindings
