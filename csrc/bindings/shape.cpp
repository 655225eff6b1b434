// Shapes, joining and splitting, as functions and methods.
#include "bindings/bindings.h"
#include "graph/node.h"

namespace pycnn::bindings {
namespace {

/// A reshape that shares changes with its base, or an error.
Tensor view(const Tensor& input, const Shape& shape) {
  Tensor result = reshape(input, shape);
  check(result.handle()->cell->base != nullptr,
        "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
        "contiguous subspaces). Use .reshape(...) instead.");
  return result;
}

py::tuple tuple_of(const Tensors& tensors) { return py::tuple(py::cast(tensors)); }

/// Each dimension d as (repeats[d], size[d]), expanded and flattened.
Tensor repeat(const Tensor& input, const Shape& repeats) {
  check(repeats.size() >= input.dim(),
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  Tensor result = input;
  const int added = repeats.size() - input.dim();
  for (int d = 0; d < added; ++d) result = unsqueeze(result, 0);
  for (int d = 0; d < repeats.size(); ++d) {
    check(repeats[d] >= 0, "repeat: Trying to create tensor with negative dimension ", repeats[d]);
    if (repeats[d] == 1) continue;
    Shape expanded = result.shape(), flat = result.shape();
    expanded.insert(d, repeats[d]);
    flat[d] *= repeats[d];
    result = reshape(expand(unsqueeze(result, d), expanded), flat);
  }
  return repeats == Shape::filled(repeats.size(), 1) ? clone(result) : result;
}

Tensor tile(const Tensor& input, const Shape& dims) {
  Shape repeats = dims;
  while (repeats.size() < input.dim()) repeats.insert(0, 1);
  return repeat(input, repeats);
}

Tensor transpose_matrix(const Tensor& input) {
  check(input.dim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", input.dim(), "D");
  return input.dim() == 2 ? transpose(input, 0, 1) : input;
}

Tensor reversed_dimensions(const Tensor& input) {
  Dimensions order;
  for (int d = input.dim() - 1; d >= 0; --d) order.push_back(d);
  return permute(input, order);
}

Tensor move_dimensions(const Tensor& input, const Dimensions& source, const Dimensions& destination) {
  check(source.size() == destination.size(), "movedim: Invalid source or destination dims: source ", source,
        ", destination ", destination);
  const int rank = input.dim();
  std::vector<int64_t> order(static_cast<size_t>(rank), -1);
  std::vector<bool> used(static_cast<size_t>(rank), false);
  for (int i = 0; i < source.size(); ++i) {
    const auto from = static_cast<size_t>(normalize_dimension(source[i], rank, "movedim"));
    auto& slot = order[static_cast<size_t>(normalize_dimension(destination[i], rank, "movedim"))];
    check(!used[from] && slot < 0, "movedim: repeated dim in source ", source, " or destination ", destination);
    used[from] = true;
    slot = static_cast<int64_t>(from);
  }
  size_t next = 0;
  for (int64_t& slot : order) {
    if (slot >= 0) continue;
    while (used[next]) ++next;
    slot = static_cast<int64_t>(next++);
  }
  return permute(input, Dimensions(std::span<const int64_t>(order)));
}

/// The tensor becomes a view of what it was; a leaf that requires grad stays one.
py::object become(py::object self, const char* name, const std::function<Tensor(const Tensor&)>& derive) {
  Tensor tensor = tensor_of(self);
  tensor.check_in_place(name);
  const Tensor result = derive(tensor);
  if (tensor.requires_grad() && tensor.is_leaf())
    tensor.set_data(result);
  else
    tensor.handle()->rename(result.handle()->cell);
  return self;
}

void bind_shapes_in_place(TensorClass& tensor) {
  for (const char* name : {"transpose_", "swapaxes_", "swapdims_"})
    tensor.def(
        name,
        [name](py::object self, int64_t dim0, int64_t dim1) {
          return become(std::move(self), name, [&](const Tensor& t) { return transpose(t, dim0, dim1); });
        },
        py::arg(std::strcmp(name, "swapaxes_") == 0 ? "axis0" : "dim0"),
        py::arg(std::strcmp(name, "swapaxes_") == 0 ? "axis1" : "dim1"));
  tensor.def("t_", [](py::object self) { return become(std::move(self), "t_", &transpose_matrix); });
  tensor.def(
      "squeeze_",
      [](py::object self, const OptionalDimensions& dim) {
        return become(std::move(self), "squeeze_", [&](const Tensor& t) { return squeeze(t, dim); });
      },
      py::arg("dim") = py::none());
  tensor.def(
      "unsqueeze_",
      [](py::object self, int64_t dim) {
        return become(std::move(self), "unsqueeze_", [&](const Tensor& t) { return unsqueeze(t, dim); });
      },
      py::arg("dim"));
}

/// The bits read as another dtype: a copy, which does not follow the tensor.
Tensor reinterpreted(const Tensor& tensor, DType dtype) {
  Shape shape = tensor.shape();
  const auto from = static_cast<int64_t>(size_of(tensor.dtype())), to = static_cast<int64_t>(size_of(dtype));
  if (from != to) {
    check(!shape.empty(), "view: self.dim() cannot be 0 to view ", tensor.dtype(), " as ", dtype,
          " (different element sizes)");
    const int last = shape.size() - 1;
    check(shape[last] * from % to == 0, "view: self.size(-1) must be divisible by ", to / from, " to view ",
          tensor.dtype(), " as ", dtype, " (different element sizes), but got ", shape[last]);
    shape[last] = shape[last] * from / to;
  }
  const Memory rows = evaluated_memory(copy_memory(readable_memory(tensor.detach())));
  return copy_memory({rows.owner, rows.data, dtype, shape, contiguous_strides(shape)});
}

void bind_views(Module& module, TensorClass& tensor) {
  tensor.def(
      "view",
      [](const py::object& self, const py::args& sizes, std::optional<Dimensions> shape) -> py::object {
        if (sizes.size() == 1 && parse_dtype(sizes[0])) {
          const DType dtype = *parse_dtype(sizes[0]);
          return dtype == tensor_of(self).dtype() ? self : py::cast(reinterpreted(tensor_of(self), dtype));
        }
        return py::cast(view(tensor_of(self), shape ? *shape : sizes_of(sizes, "view")));
      },
      py::arg("shape") = py::none());
  tensor.def(
      "reshape",
      [](const Tensor& self, const py::args& sizes, std::optional<Dimensions> shape) {
        return reshape(self, shape ? *shape : sizes_of(sizes, "reshape"));
      },
      py::arg("shape") = py::none());
  module.def("reshape", &reshape, py::arg("input"), py::arg("shape"));
  tensor.def(
      "view_as", [](const Tensor& self, const Tensor& other) { return view(self, other.shape()); }, py::arg("other"));
  tensor.def(
      "reshape_as", [](const Tensor& self, const Tensor& other) { return reshape(self, other.shape()); },
      py::arg("other"));
  define(module, tensor, "flatten", &flatten, py::arg("start_dim") = 0, py::arg("end_dim") = -1);
  define(module, tensor, "ravel", [](const Tensor& input) { return reshape(input, Shape{-1}); });
  define(module, tensor, "unflatten", &unflatten, py::arg("dim"), py::arg("sizes"));
  module.def("permute", &permute, py::arg("input"), py::arg("dims"));
  tensor.def(
      "permute",
      [](const Tensor& self, const py::args& order, std::optional<Dimensions> dims) {
        return permute(self, dims ? *dims : sizes_of(order, "permute"));
      },
      py::arg("dims") = py::none());
  define(module, tensor, "transpose", &transpose, py::arg("dim0"), py::arg("dim1"));
  define(module, tensor, "swapaxes", &transpose, py::arg("axis0"), py::arg("axis1"));
  define(module, tensor, "swapdims", &transpose, py::arg("dim0"), py::arg("dim1"));
  for (const char* name : {"movedim", "moveaxis"})
    define(module, tensor, name, &move_dimensions, py::arg("source"), py::arg("destination"));
  define(module, tensor, "t", &transpose_matrix);
  define(
      module, tensor, "squeeze", [](const Tensor& input, const OptionalDimensions& dim) { return squeeze(input, dim); },
      py::arg("dim") = py::none());
  define(module, tensor, "unsqueeze", &unsqueeze, py::arg("dim"));
  tensor.def_property_readonly("T", &reversed_dimensions).def_property_readonly("mT", [](const Tensor& self) {
    if (self.dim() == 0) return self;
    check(self.dim() >= 2, "tensor.mT is only supported on matrices or batches of matrices. Got ", self.dim(),
          "-D tensor.");
    return transpose(self, -2, -1);
  });
  bind_shapes_in_place(tensor);
}

void bind_expansion(Module& module, TensorClass& tensor) {
  tensor.def(
      "expand",
      [](const Tensor& self, const py::args& sizes, std::optional<Dimensions> size, bool) {
        return expand(self, size ? *size : sizes_of(sizes, "expand"));
      },
      py::arg("size") = py::none(), py::arg("implicit") = false);
  tensor.def(
      "expand_as", [](const Tensor& self, const Tensor& other) { return expand(self, other.shape()); },
      py::arg("other"));
  define(module, tensor, "broadcast_to", &broadcast_to, py::arg("size"));
  module.def("broadcast_tensors", [](const py::args& arguments) {
    Tensors tensors;
    for (py::handle item :
         arguments.size() == 1 && !is_tensor(arguments[0]) ? py::tuple(arguments[0]) : py::tuple(arguments))
      tensors.push_back(item.cast<Tensor>());
    Shape shape;
    for (const Tensor& t : tensors) shape = broadcast_shapes(shape, t.shape(), "broadcast_tensors");
    for (Tensor& t : tensors) t = broadcast_to(t, shape);
    return tuple_of(tensors);
  });
  module.def("broadcast_shapes", [](const py::args& shapes) {
    Shape result;
    for (py::handle shape : shapes) result = broadcast_shapes(result, shape.cast<Dimensions>(), "broadcast_shapes");
    return result;
  });
  tensor.def("repeat",
             [](const Tensor& self, const py::args& repeats) { return repeat(self, sizes_of(repeats, "repeat")); });
  tensor.def("tile", [](const Tensor& self, const py::args& dims) { return tile(self, sizes_of(dims, "tile")); });
  module.def("tile", &tile, py::arg("input"), py::arg("dims"));
  define(
      module, tensor, "clone", [](const Tensor& input, const py::object&) { return clone(input); }, py::kw_only(),
      py::arg("memory_format") = py::none());
  module.def("numel", &Tensor::numel, py::arg("input"));
  module.def(
      "is_floating_point", [](const Tensor& input) { return is_floating_point(input.dtype()); }, py::arg("input"));
}

/// vstack and hstack after NumPy.
Tensor join_rows(const TensorList& list) {
  check(!list.tensors.empty(), "vstack expects a non-empty TensorList");
  Tensors tensors;
  for (const Tensor& t : list.tensors)
    tensors.push_back(t.dim() == 0 ? reshape(t, {1, 1}) : t.dim() == 1 ? unsqueeze(t, 0) : t);
  return cat(tensors, 0);
}
Tensor join_columns(const TensorList& list) {
  check(!list.tensors.empty(), "hstack expects a non-empty TensorList");
  Tensors tensors;
  for (const Tensor& t : list.tensors) tensors.push_back(t.dim() == 0 ? reshape(t, {1}) : t);
  return cat(tensors, tensors.front().dim() == 1 ? 0 : 1);
}

void bind_joining(Module& module, TensorClass& tensor) {
  for (const char* name : {"cat", "concat", "concatenate"})
    module.def(
        name, [](const TensorList& tensors, int64_t dim) { return cat(tensors.tensors, dim); }, py::arg("tensors"),
        py::arg("dim") = 0);
  module.def(
      "stack", [](const TensorList& tensors, int64_t dim) { return stack(tensors.tensors, dim); }, py::arg("tensors"),
      py::arg("dim") = 0);
  module.def("vstack", &join_rows, py::arg("tensors"));
  module.def("hstack", &join_columns, py::arg("tensors"));
  auto split_by = [](const Tensor& input, const py::object& sizes, int64_t dim) {
    if (PyIndex_Check(sizes.ptr())) return tuple_of(split(input, sizes.cast<int64_t>(), dim));
    return tuple_of(split(input, sizes.cast<std::vector<int64_t>>(), dim));
  };
  module.def("split", split_by, py::arg("tensor"), py::arg("split_size_or_sections"), py::arg("dim") = 0);
  tensor.def("split", split_by, py::arg("split_size"), py::arg("dim") = 0);
  define(
      module, tensor, "chunk",
      [](const Tensor& input, int64_t chunks, int64_t dim) { return tuple_of(chunk(input, chunks, dim)); },
      py::arg("chunks"), py::arg("dim") = 0);
  define(
      module, tensor, "unbind", [](const Tensor& input, int64_t dim) { return tuple_of(unbind(input, dim)); },
      py::arg("dim") = 0);
}

}  // namespace

void bind_shape(Module& module, TensorClass& tensor) {
  bind_views(module, tensor);
  bind_expansion(module, tensor);
  bind_joining(module, tensor);
}

}  // namespace pycnn::bindings
