// tensor[index] and tensor[index] = value. Integers, slices, None and Ellipsis become views, which write back to their
// base; index tensors and masks become one index_select (or scatter) over the flattened indexed dimensions.
#include <numeric>
#include <utility>

#include "bindings/bindings.h"
#include "ops/places.h"

namespace pycnn::bindings {
namespace {

/// The views are made; what remains are index tensors along some of their dimensions.
struct ParsedIndex {
  Tensor view;
  std::vector<std::pair<int, Tensor>> indices;  ///< (dimension, int64 index), dimensions increasing
  /// Index tensors with a slice between them put the result's dimensions first, as in NumPy.
  bool adjacent = true;
};

/// Tensors, arrays, lists, and other sequences such as range().
bool is_sequence_index(py::handle item) { return PySequence_Check(item.ptr()) != 0 || is_numpy_array(item); }

/// The items of sequences that are no list, tuple or array, such as range(), as a list.
py::object as_list(py::handle item) {
  if (is_numpy_array(item) || PyList_Check(item.ptr()) || PyTuple_Check(item.ptr()))
    return py::reinterpret_borrow<py::object>(item);
  const bool text = PyUnicode_Check(item.ptr()) != 0 || PyBytes_Check(item.ptr()) != 0;
  check<TypeError>(!text, "new(): invalid data type '", Py_TYPE(item.ptr())->tp_name, "'");
  py::object list = py::reinterpret_steal<py::object>(PySequence_List(item.ptr()));
  if (!list) throw py::error_already_set();
  return list;
}

Tensor index_tensor(py::handle item) {
  Tensor index = is_tensor(item) ? tensor_of(item) : tensor_from_object(as_list(item), std::nullopt);
  // An empty list indexes nothing, whatever dtype it was given.
  if (!is_tensor(item) && index.numel() == 0) index = cast(index, DType::Int64);
  if (index.dtype() == DType::UInt8) index = cast(index, DType::Bool);
  const DType dtype = index.dtype();
  const bool narrow = (dtype == DType::Int8 || dtype == DType::Int16) && is_tensor(item);
  check<IndexError>(!is_floating_point(dtype) && !narrow,
                    "tensors used as indices must be long, int, byte or bool tensors, got ", dtype);
  return index;
}

/// How many dimensions of the tensor an item consumes.
int consumed(py::handle item) {
  if (item.is_none() || py::isinstance<py::ellipsis>(item) || PyBool_Check(item.ptr())) return 0;
  if (is_tensor(item) && (tensor_of(item).dtype() == DType::Bool || tensor_of(item).dtype() == DType::UInt8))
    return tensor_of(item).dim();
  if (is_numpy_array(item) && item.attr("dtype").attr("kind").cast<std::string>() == "b")
    return item.attr("ndim").cast<int>();
  if (PyList_Check(item.ptr())) {
    Tensor index = index_tensor(item);
    if (index.dtype() == DType::Bool) return index.dim();
  }
  return 1;
}

std::optional<int64_t> optional_index(py::handle value) {
  if (value.is_none()) return std::nullopt;
  Py_ssize_t index = PyNumber_AsSsize_t(value.ptr(), nullptr);
  if (index == -1 && PyErr_Occurred()) throw py::error_already_set();
  return index;
}

Tensor apply_slice(const Tensor& view, int dimension, const py::slice& slice_object) {
  auto start = optional_index(slice_object.attr("start")), stop = optional_index(slice_object.attr("stop"));
  const int64_t step = optional_index(slice_object.attr("step")).value_or(1);
  check<ValueError>(step > 0, "step must be greater than zero");
  check<IndexError>(dimension < view.dim(), "too many indices for tensor of dimension ", view.dim());
  if (!start && !stop && step == 1) return view;
  return slice(view, dimension, start, stop, step);
}

Tensor apply_integer(const Tensor& view, int dimension, int64_t index) {
  const int64_t size = view.shape()[dimension];
  check<IndexError>(index >= -size && index < size, "index ", index, " is out of bounds for dimension ", dimension,
                    " with size ", size);
  return select(view, dimension, index);
}

/// The evaluated elements one row after the other.
Memory row_major(const Tensor& tensor) {
  const Memory memory = readable_memory(tensor);
  return memory.strides == contiguous_strides(memory.shape) ? memory : copy_memory(memory).memory();
}

/// An index that is not known yet, or that lies on a GPU: what is outside raises when it runs.
Tensor wrapped_index(const Tensor& index, int64_t size) {
  return where(lt(index, wrap_scalar(0, index)), add(index, wrap_scalar(size, index)), index);
}

/// Negative indices count from the end; each must be inside. Evaluates the index.
Tensor checked_index(const Tensor& index, int64_t size) {
  if (!index.device().is_cpu()) return wrapped_index(index, size);
  const Tensor positions = cast(index.detach(), DType::Int64);
  const Memory memory = row_major(positions);
  const auto* data = static_cast<const int64_t*>(memory.data);
  bool wrapped = false;
  for (int64_t i = 0; i < positions.numel(); ++i) {
    check<IndexError>(data[i] >= -size && data[i] < size, "index ", data[i],
                      " is out of bounds for dimension with size ", size);
    wrapped |= data[i] < 0;
  }
  if (!wrapped) return positions;
  std::vector<int64_t> counted(data, data + positions.numel());
  for (int64_t& position : counted) position += position < 0 ? size : 0;
  return from_data(std::span<const int64_t>(counted), index.shape());
}

void add_mask(ParsedIndex& parsed, int& dimension, const Tensor& mask) {
  for (int d = 0; d < mask.dim(); ++d)
    check<IndexError>(dimension + d < parsed.view.dim() && mask.shape()[d] == parsed.view.shape()[dimension + d],
                      "The shape of the mask ", mask.shape(), " at index ", d,
                      " does not match the shape of the indexed tensor ", parsed.view.shape(), " at index ",
                      dimension + d);
  Tensors positions = unbind(nonzero(mask), 1);
  for (const Tensor& position : positions) parsed.indices.emplace_back(dimension++, position);
}

/// The items of an index. A list that holds more than numbers is read as a tuple, as PyTorch does.
py::tuple items_of(py::handle index) {
  if (PyTuple_Check(index.ptr()) != 0) return py::reinterpret_borrow<py::tuple>(index);
  if (PyList_Check(index.ptr()) != 0 && PyList_GET_SIZE(index.ptr()) < 32)
    for (py::handle item : index)
      if (is_sequence_index(item) || item.is_none() || py::isinstance<py::ellipsis>(item) ||
          PySlice_Check(item.ptr()) != 0)
        return py::tuple(py::reinterpret_borrow<py::list>(index));
  return py::make_tuple(index);
}

ParsedIndex parse_index(const Tensor& self, py::handle index) {
  const py::tuple items = items_of(index);
  int used = 0;
  bool spread = false;  // the first ellipsis stands for what is left, others for nothing
  for (py::handle item : items) {
    used += consumed(item);
  }
  check<IndexError>(used <= self.dim(), "too many indices for tensor of dimension ", self.dim());
  ParsedIndex parsed{self, {}, true};
  int dimension = 0;
  bool interrupted = false;  // a view dimension came after an index tensor
  auto note_index = [&] {
    if (!parsed.indices.empty() && interrupted) parsed.adjacent = false;
  };
  for (py::handle item : items) {
    if (item.is_none()) {
      parsed.view = unsqueeze(parsed.view, dimension++);
      interrupted = !parsed.indices.empty();
    } else if (py::isinstance<py::ellipsis>(item)) {
      if (std::exchange(spread, true)) continue;
      dimension += self.dim() - used;
      interrupted = interrupted || (!parsed.indices.empty() && self.dim() > used);
    } else if (PyBool_Check(item.ptr())) {
      note_index();
      parsed.view = unsqueeze(parsed.view, dimension);
      parsed.indices.emplace_back(dimension++,
                                  item.ptr() == Py_True ? zeros({1}, DType::Int64) : zeros({0}, DType::Int64));
    } else if (py::isinstance<py::slice>(item)) {
      parsed.view = apply_slice(parsed.view, dimension++, py::reinterpret_borrow<py::slice>(item));
      interrupted = interrupted || !parsed.indices.empty();
    } else if (is_sequence_index(item)) {
      Tensor values = index_tensor(item);
      if (values.dtype() == DType::Bool) {
        note_index();
        if (values.dim() == 0) {
          parsed.view = unsqueeze(parsed.view, dimension);
          values = reshape(values, Shape{1});
        }
        add_mask(parsed, dimension, values);
      } else if (values.dim() == 0 && !is_floating_point(values.dtype())) {
        parsed.view = apply_integer(parsed.view, dimension, read_element(readable_memory(values), 0).to_int());
      } else {
        note_index();
        parsed.indices.emplace_back(dimension++, cast(values, DType::Int64));
      }
    } else if (PyIndex_Check(item.ptr())) {
      parsed.view = apply_integer(parsed.view, dimension, *optional_index(item));
    } else {
      fail<IndexError>(
          "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got ",
          Py_TYPE(item.ptr())->tp_name, ")");
    }
  }
  // A GPU's tensors may be indexed from the CPU.
  for (auto& [place, positions] : parsed.indices) positions = to_device(positions, self.device());
  return parsed;
}

/// The indexed dimensions moved together and flattened into one, which `index` (of shape `index_shape`) selects along.
struct FlatIndex {
  Tensor flat;
  int dimension;
  Tensor index;
  Shape index_shape;
  Dimensions order;      ///< the permutation that moved them together
  Shape permuted_shape;  ///< the view's shape in that order
};

FlatIndex flatten_index(const ParsedIndex& parsed) {
  FlatIndex result;
  const auto& indices = parsed.indices;
  const int count = static_cast<int>(indices.size());
  for (const auto& [dimension, index] : indices) {
    try {
      result.index_shape = broadcast_shapes(result.index_shape, index.shape(), "index");
    } catch (const Error&) {
      fail<IndexError>("shape mismatch: indexing tensors could not be broadcast together with shapes ",
                       result.index_shape, ", ", index.shape());
    }
  }
  result.dimension = parsed.adjacent ? indices.front().first : 0;
  std::vector<bool> indexed(static_cast<size_t>(parsed.view.dim()), false);
  for (const auto& [dimension, index] : indices) indexed[static_cast<size_t>(dimension)] = true;
  for (int d = 0; d < parsed.view.dim(); ++d) {
    if (result.order.size() == result.dimension)
      for (const auto& [dimension, index] : indices) result.order.push_back(dimension);
    if (!indexed[static_cast<size_t>(d)]) result.order.push_back(d);
  }
  if (result.order.size() < parsed.view.dim())
    for (const auto& [dimension, index] : indices) result.order.push_back(dimension);
  Dimensions identity;
  for (int d = 0; d < parsed.view.dim(); ++d) identity.push_back(d);
  Tensor permuted = result.order == identity ? parsed.view : permute(parsed.view, result.order);
  result.permuted_shape = permuted.shape();
  if (count == 1) {
    const Tensor& index = indices.front().second;
    const int64_t extent = permuted.shape()[result.dimension];
    result.flat = permuted;
    result.index = index.is_evaluated() ? checked_index(index, extent) : wrapped_index(index, extent);
  } else {
    Shape flat;
    int64_t size = 1;
    for (int d = 0; d < permuted.dim(); ++d) {
      const bool inside = d >= result.dimension && d < result.dimension + count;
      if (inside) size *= permuted.shape()[d];
      if (!inside) flat.push_back(permuted.shape()[d]);
    }
    flat.insert(result.dimension, size);
    result.flat = reshape(permuted, flat);
    for (const auto& [dimension, index] : indices) {
      const int64_t extent = parsed.view.shape()[dimension];
      Tensor position = checked_index(index, extent);
      result.index = result.index.defined() ? result.index * extent + position : position;
    }
  }
  result.index = reshape(broadcast_to(result.index, result.index_shape), Shape{-1});
  return result;
}

/// A shape with one dimension replaced by several.
Shape replaced(const Shape& shape, int dimension, const Shape& by) {
  Shape result = shape;
  result.erase(dimension);
  for (int d = by.size() - 1; d >= 0; --d) result.insert(dimension, by[d]);
  return result;
}

Tensor value_tensor(const Tensor& target, py::handle value) {
  if (is_tensor(value)) return tensor_of(value);
  if (auto number = parse_scalar(value)) return full({}, *number, target.dtype());
  check<TypeError>(is_numpy_array(value), "can't assign a ", Py_TYPE(value.ptr())->tp_name, " to a tensor of dtype ",
                   target.dtype());
  return tensor_from_object(value, target.dtype());
}

/// Broadcasts an assigned value; leading dimensions of size 1 may be too many, as in PyTorch.
Tensor fitted(Tensor value, const Shape& shape) {
  while (value.dim() > shape.size() && value.shape()[0] == 1) value = squeeze(value, Dimensions{0});
  const Shape given = value.shape();
  bool fits = given.size() <= shape.size();
  for (int d = 1; fits && d <= given.size(); ++d)
    fits = given[given.size() - d] == 1 || given[given.size() - d] == shape[shape.size() - d];
  check(fits, "shape mismatch: value tensor of shape ", given, " cannot be broadcast to indexing result of shape ",
        shape);
  return broadcast_to(value, shape);
}

}  // namespace

Tensor nonzero(const Tensor& input) {
  const Memory memory = row_major(input);
  const Shape& shape = memory.shape;
  const int64_t total = element_count(shape);
  std::vector<int64_t> found;
  visit_dtype(memory.dtype, [&]<typename T>(T) {
    const T* data = static_cast<const T*>(memory.data);
    for (int64_t i = 0; i < total; ++i) {
      bool there;
      if constexpr (std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>)
        there = to_float(data[i]) != 0;
      else
        there = data[i] != T{};
      if (there) found.push_back(i);
    }
  });
  const auto count = static_cast<int64_t>(found.size());
  std::vector<int64_t> places(static_cast<size_t>(count * shape.size()));
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = found[static_cast<size_t>(i)];
    for (int d = shape.size() - 1; d >= 0; --d) {
      places[static_cast<size_t>(i * shape.size() + d)] = rest % shape[d];
      rest /= shape[d];
    }
  }
  return to_device(from_data(std::span<const int64_t>(places), Shape{count, shape.size()}), input.device());
}

Tensor get_item(const Tensor& self, py::handle index) {
  ParsedIndex parsed = parse_index(self, index);
  if (parsed.indices.empty()) {
    // An index that changes nothing still makes a view of its own.
    return parsed.view.handle() == self.handle() ? reshape(self, self.shape()) : parsed.view;
  }
  FlatIndex flat = flatten_index(parsed);
  Tensor selected = index_select(flat.flat, flat.dimension, flat.index);
  return reshape(selected, replaced(selected.shape(), flat.dimension, flat.index_shape));
}

void set_item(Tensor& self, py::handle index, py::handle value) {
  self.check_in_place("__setitem__");
  const DeviceScope scope(self.device());
  Tensor assigned = value_tensor(self, value);
  ParsedIndex parsed = parse_index(self, index);
  // As in PyTorch slices are copied to from any device, places that tensors name from their own.
  if (parsed.indices.empty() || assigned.dim() == 0 || !is_tensor(value)) assigned = to_device(assigned, self.device());
  if (parsed.indices.empty()) {
    ops::check_no_partial_overlap(parsed.view, assigned);
    parsed.view.assign_(fitted(cast(assigned, self.dtype()), parsed.view.shape()));
    return;
  }
  // One element is filled in, several are put.
  check(assigned.numel() == 1 || assigned.dtype() == self.dtype(),
        "Index put requires the source and destination dtypes match, got ", self.dtype(), " for the destination and ",
        assigned.dtype(), " for the source.");
  assigned = cast(assigned, self.dtype());
  FlatIndex flat = flatten_index(parsed);
  Shape selected = flat.flat.shape();
  selected[flat.dimension] = flat.index.shape()[0];
  Tensor source = reshape(fitted(assigned, replaced(selected, flat.dimension, flat.index_shape)), selected);
  Shape along = Shape::filled(selected.size(), 1);
  along[flat.dimension] = selected[flat.dimension];
  Tensor updated = scatter(flat.flat, flat.dimension, broadcast_to(reshape(flat.index, along), selected), source);
  updated = reshape(updated, flat.permuted_shape);
  Dimensions inverse = flat.order;
  for (int d = 0; d < flat.order.size(); ++d) inverse[static_cast<int>(flat.order[d])] = d;
  parsed.view.assign_(permute(updated, inverse));
}

void bind_indexing(Module& module, TensorClass& tensor) {
  tensor.def("__getitem__", &get_item, py::arg("index"))
      .def(
          "__setitem__",
          [](const py::object& self, py::handle index, py::handle value) { set_item(tensor_of(self), index, value); },
          py::arg("index"), py::arg("value"));
  define(module, tensor, "select", &select, py::arg("dim"), py::arg("index"));
  define(
      module, tensor, "narrow",
      [](const Tensor& input, int64_t dim, const Operand& start, int64_t length) {
        check(!start.is_tensor() || (start.tensor.dim() == 0 && is_integral(start.tensor.dtype())),
              "narrow: start must be an 0-dim integral Tensor.");
        check<TypeError>(start.is_tensor() || start.scalar.kind() == Scalar::Kind::Int,
                         "narrow(): argument 'start' must be an integer or a Tensor");
        return narrow(input, dim, start.is_tensor() ? start.tensor.item<int64_t>() : start.scalar.to_int(), length);
      },
      py::arg("dim"), py::arg("start"), py::arg("length"));
  module.def("flip", &flip, py::arg("input"), py::arg("dims"));
  tensor.def(
      "flip",
      [](const Tensor& self, const py::args& places, std::optional<Dimensions> dims) {
        return flip(self, dims ? *dims : sizes_of(places, "flip"));
      },
      py::arg("dims") = py::none());
  define(module, tensor, "index_select", &index_select, py::arg("dim"), py::arg("index"));
  define(module, tensor, "gather", &gather, py::arg("dim"), py::arg("index"));
  define(
      module, tensor, "scatter",
      [](const Tensor& input, int64_t dim, const Tensor& index, const Operand& source) {
        return scatter(input, dim, index,
                       source.is_tensor() ? source.tensor : full(index.shape(), source.scalar, input.dtype()));
      },
      py::arg("dim"), py::arg("index"), py::arg("src"));
  module.def("_as_strided", &as_strided, py::arg("input"), py::arg("size"), py::arg("stride"),
             py::arg("storage_offset"));
  module.def("_sliding_windows", &sliding_windows, py::arg("input"), py::arg("dimension"), py::arg("size"),
             py::arg("step"));
  module.def("_scatter_reduce", &scatter_reduce, py::arg("input"), py::arg("dim"), py::arg("index"), py::arg("src"),
             py::arg("reduce"));
  define(module, tensor, "scatter_add", &scatter_add, py::arg("dim"), py::arg("index"), py::arg("src"));
  define(
      module, tensor, "masked_select",
      [](const Tensor& input, const Tensor& mask) {
        check(mask.dtype() == DType::Bool || mask.dtype() == DType::UInt8,
              "masked_select: expected BoolTensor for mask");
        const Shape shape = broadcast_shapes(input.shape(), mask.shape(), "masked_select");
        Tensor position = reshape(nonzero(reshape(broadcast_to(mask, shape), Shape{-1})), Shape{-1});
        return index_select(reshape(broadcast_to(input, shape), Shape{-1}), 0, position);
      },
      py::arg("mask"));
  define(
      module, tensor, "nonzero",
      [](const Tensor& input, bool as_tuple) -> py::object {
        Tensor positions = nonzero(input);
        return as_tuple ? py::object(py::tuple(py::cast(unbind(positions, 1)))) : py::cast(positions);
      },
      py::kw_only(), py::arg("as_tuple") = false);
}

}  // namespace pycnn::bindings
