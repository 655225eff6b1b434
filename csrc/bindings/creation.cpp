// Tensors from nothing: constants, ranges, random numbers.
#include "bindings/bindings.h"
#include "bindings/generator.h"

namespace pycnn::bindings {
namespace {

using OptionalDType = std::optional<DType>;

Tensor marked(Tensor tensor, bool requires_grad) {
  if (requires_grad) tensor.requires_grad_();
  return tensor;
}

/// The sizes of zeros(2, 3), zeros((2, 3)) and zeros(size=(2, 3)).
Shape creation_sizes(const py::args& sizes, const std::optional<Dimensions>& size, const char* function) {
  check<TypeError>(!size || sizes.empty(), function, "(): size given twice");
  return size ? *size : sizes_of(sizes, function);
}

/// zeros, ones, empty, rand, randn and their …_like and new_… forms; those that draw have a generator in the end.
template <typename... Generators, typename... Extra>
void bind_family(Module& module, TensorClass& tensor, const char* name,
                 Tensor (*make)(const Shape&, DType, const Generators&...), const Extra&... extra) {
  module.def(
      name,
      [name, make](const py::args& sizes, std::optional<Dimensions> size, OptionalDType dtype, DeviceArgument device,
                   bool requires_grad, const py::object&, bool, const py::object&, const Generators&... generator) {
        const DeviceScope scope(device.or_default());
        const Shape shape = creation_sizes(sizes, size, name);
        return marked(make(shape, dtype.value_or(default_dtype()), generator...), requires_grad);
      },
      py::arg("size") = py::none(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("layout") = py::none(), py::arg("pin_memory") = false,
      py::arg("memory_format") = py::none(), extra...);
  module.def((std::string(name) + "_like").c_str(),
             [make](const Tensor& input, OptionalDType dtype, DeviceArgument device, bool requires_grad,
                    const py::object&, const py::object&, const Generators&... generator) {
               const DeviceScope scope(device.given.value_or(input.device()));
               return marked(make(input.shape(), dtype.value_or(input.dtype()), generator...), requires_grad);
             },
             py::arg("input"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
             py::arg("requires_grad") = false, py::arg("layout") = py::none(), py::arg("memory_format") = py::none(),
             extra...);
  if constexpr (sizeof...(Generators) == 0)
    tensor.def((std::string("new_") + name).c_str(),
               [name, make](const Tensor& self, const py::args& sizes, std::optional<Dimensions> size,
                            OptionalDType dtype, DeviceArgument device, bool requires_grad) {
                 const DeviceScope scope(device.given.value_or(self.device()));
                 return marked(make(creation_sizes(sizes, size, name), dtype.value_or(self.dtype())), requires_grad);
               },
               py::arg("size") = py::none(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
               py::arg("requires_grad") = false);
}

Tensor make_full(const Shape& size, Scalar value, OptionalDType dtype, bool requires_grad) {
  return marked(full(size, value, dtype.value_or(dtype_of_kind(value.kind()))), requires_grad);
}

void bind_constants(Module& module, TensorClass& tensor) {
  bind_family(module, tensor, "zeros", &zeros);
  bind_family(module, tensor, "ones", &ones);
  bind_family(module, tensor, "empty", &empty);
  module.def(
      "full",
      [](const Shape& size, Scalar fill_value, OptionalDType dtype, DeviceArgument device, bool requires_grad) {
        const DeviceScope scope(device.or_default());
        return make_full(size, fill_value, dtype, requires_grad);
      },
      py::arg("size"), py::arg("fill_value"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false);
  module.def(
      "full_like",
      [](const Tensor& input, Scalar fill_value, OptionalDType dtype, DeviceArgument device, bool requires_grad,
         const py::object&) {
        const DeviceScope scope(device.given.value_or(input.device()));
        return make_full(input.shape(), fill_value, dtype.value_or(input.dtype()), requires_grad);
      },
      py::arg("input"), py::arg("fill_value"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false, py::arg("memory_format") = py::none());
  tensor.def(
      "new_full",
      [](const Tensor& self, const Shape& size, Scalar fill_value, OptionalDType dtype, DeviceArgument device,
         bool requires_grad) {
        const DeviceScope scope(device.given.value_or(self.device()));
        return make_full(size, fill_value, dtype.value_or(self.dtype()), requires_grad);
      },
      py::arg("size"), py::arg("fill_value"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false);
  tensor.def(
      "new_tensor",
      [](const Tensor& self, const py::object& data, OptionalDType dtype, DeviceArgument device, bool requires_grad) {
        const Tensor made = tensor_from_object(data, dtype.value_or(self.dtype()));
        return marked(to_device(made, device.given.value_or(self.device())), requires_grad);
      },
      py::arg("data"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false);
}

Tensor make_range(const py::args& bounds, std::optional<Scalar> given_start, std::optional<Scalar> given_end,
                  std::optional<Scalar> given_step, OptionalDType dtype) {
  check<TypeError>(bounds.size() <= 3, "arange(): takes at most start, end and step");
  std::vector<Scalar> values;
  for (py::handle bound : bounds) values.push_back(bound.cast<Scalar>());
  const bool one = values.size() == 1 && !given_end;
  Scalar start = one ? Scalar(0) : !values.empty() ? values[0] : given_start.value_or(0);
  check<TypeError>(one || values.size() >= 2 || given_end, "arange(): end is missing");
  Scalar end = one ? values[0] : values.size() >= 2 ? values[1] : *given_end;
  Scalar step = values.size() == 3 ? values[2] : given_step.value_or(1);
  if (one && given_start) start = *given_start;
  auto floating = [](Scalar s) { return s.kind() == Scalar::Kind::Float; };
  DType inferred = floating(start) || floating(end) || floating(step) ? default_dtype() : DType::Int64;
  return arange(start, end, step, dtype.value_or(inferred));
}

void bind_ranges(Module& module) {
  module.def(
      "arange",
      [](const py::args& bounds, std::optional<Scalar> start, std::optional<Scalar> end, std::optional<Scalar> step,
         OptionalDType dtype, DeviceArgument device, bool requires_grad) {
        const DeviceScope scope(device.or_default());
        return marked(make_range(bounds, start, end, step, dtype), requires_grad);
      },
      py::arg("start") = py::none(), py::arg("end") = py::none(), py::arg("step") = py::none(),
      py::arg("dtype") = py::none(), py::arg("device") = py::none(), py::arg("requires_grad") = false);
  module.def(
      "linspace",
      [](const Operand& start, const Operand& end, int64_t steps, OptionalDType dtype, DeviceArgument device,
         bool requires_grad) {
        const DeviceScope scope(device.or_default());
        const auto bound = [](const Operand& operand) {
          if (!operand.is_tensor()) return operand.scalar.to_double();
          check(operand.tensor.dim() == 0,
                "linspace: only supports 0-dimensional start and end tensors, but got start with ",
                operand.tensor.dim(), " dimension(s).");
          return operand.tensor.item<double>();
        };
        return marked(linspace(bound(start), bound(end), steps, dtype.value_or(default_dtype())), requires_grad);
      },
      py::arg("start"), py::arg("end"), py::arg("steps"), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false);
  module.def(
      "eye",
      [](int64_t n, std::optional<int64_t> m, OptionalDType dtype, DeviceArgument device, bool requires_grad) {
        const DeviceScope scope(device.or_default());
        return marked(eye(n, m.value_or(n), dtype.value_or(default_dtype())), requires_grad);
      },
      py::arg("n"), py::arg("m") = py::none(), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false);
  module.def("one_hot", &one_hot, py::arg("tensor"), py::arg("num_classes") = -1);
}

void bind_random(Module& module, TensorClass& tensor) {
  bind_family(
      module, tensor, "rand",
      +[](const Shape& s, DType d, const GeneratorArgument& generator) { return rand(s, d, generator); },
      py::arg("generator") = py::none());
  bind_family(
      module, tensor, "randn",
      +[](const Shape& s, DType d, const GeneratorArgument& generator) { return randn(s, d, generator); },
      py::arg("generator") = py::none());
  auto make_randint = [](int64_t low, int64_t high, const Shape& size, OptionalDType dtype, DeviceArgument device,
                         bool requires_grad, const GeneratorArgument& generator) {
    const DeviceScope scope(device.or_default());
    return marked(randint(low, high, size, dtype.value_or(DType::Int64), generator), requires_grad);
  };
  module.def("randint", make_randint, py::arg("low"), py::arg("high"), py::arg("size"), py::kw_only(),
             py::arg("dtype") = py::none(), py::arg("device") = py::none(), py::arg("requires_grad") = false,
             py::arg("generator") = py::none());
  module.def(
      "randint",
      [make_randint](int64_t high, const Shape& size, OptionalDType dtype, DeviceArgument device, bool requires_grad,
                     const GeneratorArgument& generator) {
        return make_randint(0, high, size, dtype, device, requires_grad, generator);
      },
      py::arg("high"), py::arg("size"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false, py::arg("generator") = py::none());
  module.def(
      "randperm",
      [](int64_t n, OptionalDType dtype, DeviceArgument device, const GeneratorArgument& generator) {
        const DeviceScope scope(device.or_default());
        const Tensor result = randperm(n, generator);
        return dtype ? cast(result, *dtype) : result;
      },
      py::arg("n"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("generator") = py::none());
  define(
      module, tensor, "bernoulli",
      [](const Tensor& input, std::optional<double> p, const GeneratorArgument& generator) {
        const DeviceScope scope(input.device());
        if (p) return bernoulli(input.shape(), *p, input.dtype(), generator);
        const Tensor drawn = bernoulli(input, generator);
        // What is drawn depends on the probabilities, with a gradient of zero.
        return input.requires_grad() ? where(scalar_tensor(false, DType::Bool), input, drawn) : drawn;
      },
      py::arg("p") = py::none(), py::arg("generator") = py::none());
  define(
      module, tensor, "multinomial",
      [](const Tensor& input, int64_t num_samples, bool replacement, const GeneratorArgument& generator) {
        return without_gil([&] { return multinomial(input, num_samples, replacement, generator); });
      },
      py::arg("num_samples"), py::arg("replacement") = false, py::kw_only(), py::arg("generator") = py::none());
  module.def(
      "normal",
      [](const Operand& mean, const Operand& std, std::optional<Dimensions> size, OptionalDType dtype,
         DeviceArgument device, bool requires_grad, const GeneratorArgument& generator) {
        const Tensor* const given = mean.is_tensor() ? &mean.tensor : std.is_tensor() ? &std.tensor : nullptr;
        const DeviceScope scope(given != nullptr ? given->device() : device.or_default());
        check<TypeError>(size || mean.is_tensor() || std.is_tensor(), "normal(): size is missing");
        if (size) {
          check<TypeError>(!mean.is_tensor() && !std.is_tensor(), "normal(): with a size, mean and std are numbers");
          return marked(normal(*size, mean.scalar.to_double(), std.scalar.to_double(), dtype.value_or(default_dtype()),
                               generator),
                        requires_grad);
        }
        Tensor a = mean.is_tensor() ? mean.tensor : mean.against(std.tensor);
        Tensor b = std.is_tensor() ? std.tensor : std.against(mean.tensor);
        const Tensor& like = mean.is_tensor() ? mean.tensor : std.tensor;
        const Shape shape = broadcast_shapes(a.shape(), b.shape(), "normal");
        return add(a, mul(randn(shape, like.dtype(), generator), b));
      },
      py::arg("mean"), py::arg("std") = 1.0, py::arg("size") = py::none(), py::kw_only(), py::arg("dtype") = py::none(),
      py::arg("device") = py::none(), py::arg("requires_grad") = false, py::arg("generator") = py::none());
}

}  // namespace

void bind_creation(Module& module, TensorClass& tensor) {
  bind_constants(module, tensor);
  bind_ranges(module);
  bind_random(module, tensor);
}

}  // namespace pycnn::bindings
