// Methods that end in an underscore, and augmented assignment: the handle is bound to a new value, `self` is returned.
#include "bindings/bindings.h"
#include "bindings/generator.h"
#include "ops/places.h"

namespace pycnn::bindings {
namespace {

using Binary = Tensor (*)(const Tensor&, const Tensor&);

/// The operand beside a tensor that it is written into.
Tensor read_by(const Tensor& written, const Operand& operand) {
  if (operand.is_tensor()) ops::check_no_partial_overlap(written, operand.tensor);
  return operand.against(written);
}

void bind_unary(TensorClass& tensor) {
  struct Row {
    const char* name;
    Tensor (*function)(const Tensor&);
  };
#define PYCNN_ROW(name) Row{#name "_", static_cast<Tensor (*)(const Tensor&)>(&pycnn::name)},
  static constexpr Row rows[] = {PYCNN_UNARY_FUNCTIONS(PYCNN_ROW)};
#undef PYCNN_ROW
  for (const Row& row : rows) {
    const bool predicate = std::strncmp(row.name, "is", 2) == 0;
    if (predicate || std::strcmp(row.name, "signbit_") == 0 || std::strcmp(row.name, "log_sigmoid_") == 0) continue;
    tensor.def(row.name, [&row](const py::object& self) { return in_place(self, row.name, row.function); });
  }
  tensor.def("logical_not_", [](const py::object& self) { return in_place(self, "logical_not_", &logical_not, true); });
}

void bind_binary(TensorClass& tensor, const char* name, const char* augmented, Binary function,
                 const char* argument = "other", bool numbers = true) {
  auto apply = [=](const py::object& self, const Operand& other) {
    check<TypeError>(numbers || other.is_tensor(), name, "(): argument '", argument, "' must be Tensor, not a number");
    return in_place(self, name, [&](const Tensor& t) { return function(t, read_by(t, other)); });
  };
  tensor.def(name, apply, py::arg(argument));
  if (augmented != nullptr) tensor.def(augmented, apply, py::is_operator());
}

void bind_arithmetic(TensorClass& tensor) {
  for (const char* name : {"add_", "sub_"})
    tensor.def(
        name,
        [name, function = name[0] == 'a' ? &add : &sub](const py::object& self, const Operand& other, Scalar alpha) {
          return in_place(self, name, [&](const Tensor& t) { return function(t, read_by(t, other), alpha); });
        },
        py::arg("other"), py::kw_only(), py::arg("alpha") = 1);
  tensor.def(
      "div_",
      [](const py::object& self, const Operand& other, const std::optional<std::string>& mode) {
        return in_place(self, "div_", [&](const Tensor& t) { return div(t, read_by(t, other), mode.value_or("")); });
      },
      py::arg("other"), py::kw_only(), py::arg("rounding_mode") = py::none());
  tensor.def(
      "__iadd__",
      [](const py::object& self, const Operand& other) {
        return in_place(self, "add_", [&](const Tensor& t) { return add(t, read_by(t, other)); });
      },
      py::is_operator());
  tensor.def(
      "__isub__",
      [](const py::object& self, const Operand& other) {
        return in_place(self, "sub_", [&](const Tensor& t) { return sub(t, read_by(t, other)); });
      },
      py::is_operator());
  tensor.def(
      "__itruediv__",
      [](const py::object& self, const Operand& other) {
        return in_place(self, "div_", [&](const Tensor& t) { return div(t, read_by(t, other)); });
      },
      py::is_operator());
  bind_binary(tensor, "mul_", "__imul__", &mul);
  bind_binary(tensor, "floor_divide_", "__ifloordiv__", &floor_divide);
  bind_binary(tensor, "remainder_", "__imod__", &remainder);
  bind_binary(tensor, "fmod_", nullptr, &fmod);
  bind_binary(tensor, "pow_", "__ipow__", &pow, "exponent");
  for (const char* name : {"atan2_", "arctan2_"}) bind_binary(tensor, name, nullptr, &atan2, "other", false);
  bind_binary(tensor, "copysign_", nullptr, &copysign);
  bind_binary(tensor, "hypot_", nullptr, &hypot, "other", false);
  bind_binary(tensor, "nextafter_", nullptr, &nextafter, "other", false);
  bind_binary(tensor, "heaviside_", nullptr, &heaviside, "values", false);
  bind_binary(tensor, "xlogy_", nullptr, &xlogy);
  bind_binary(tensor, "gcd_", nullptr, &gcd, "other", false);
  bind_binary(tensor, "lcm_", nullptr, &lcm, "other", false);
  bind_binary(tensor, "bitwise_and_", "__iand__", &bitwise_and);
  bind_binary(tensor, "bitwise_or_", "__ior__", &bitwise_or);
  bind_binary(tensor, "bitwise_xor_", "__ixor__", &bitwise_xor);
  bind_binary(tensor, "bitwise_left_shift_", "__ilshift__", &bitwise_left_shift);
  bind_binary(tensor, "bitwise_right_shift_", "__irshift__", &bitwise_right_shift);
  const std::pair<const char*, Binary> predicates[] = {{"eq_", &eq},
                                                       {"ne_", &ne},
                                                       {"lt_", &lt},
                                                       {"le_", &le},
                                                       {"gt_", &gt},
                                                       {"ge_", &ge},
                                                       {"logical_and_", &logical_and},
                                                       {"logical_or_", &logical_or},
                                                       {"logical_xor_", &logical_xor}};
  for (auto [name, function] : predicates)
    tensor.def(
        name,
        [name = name, function = function](const py::object& self, const Operand& other) {
          check<TypeError>(std::strncmp(name, "logical", 7) != 0 || other.is_tensor(), name,
                           "(): argument 'other' must be Tensor, not a number");
          return in_place(
              self, name, [&](const Tensor& t) { return function(t, read_by(t, other)); }, true);
        },
        py::arg("other"));
}

void bind_ternary(TensorClass& tensor) {
  auto clamped = [](const py::object& self, const std::optional<Operand>& min, const std::optional<Operand>& max) {
    return in_place(self, "clamp_", [&](const Tensor& t) {
      auto bound = [&](const std::optional<Operand>& b) { return b ? b->against(t) : Tensor(); };
      return clamp(t, bound(min), bound(max));
    });
  };
  for (const char* name : {"clamp_", "clip_"})
    tensor.def(name, clamped, py::arg("min") = py::none(), py::arg("max") = py::none());
  tensor.def(
      "clamp_min_", [clamped](const py::object& self, const Operand& min) { return clamped(self, min, {}); },
      py::arg("min"));
  tensor.def(
      "clamp_max_", [clamped](const py::object& self, const Operand& max) { return clamped(self, {}, max); },
      py::arg("max"));
  tensor.def(
      "masked_fill_",
      [](const py::object& self, const Tensor& mask, const Operand& value) {
        return in_place(self, "masked_fill_", [&](const Tensor& t) { return masked_fill(t, mask, value.against(t)); });
      },
      py::arg("mask"), py::arg("value"));
  tensor.def(
      "lerp_",
      [](const py::object& self, const Tensor& end, const Operand& weight) {
        return in_place(self, "lerp_", [&](const Tensor& t) { return lerp(t, read_by(t, {end}), read_by(t, weight)); });
      },
      py::arg("end"), py::arg("weight"));
  for (const char* name : {"addcmul_", "addcdiv_"})
    tensor.def(
        name,
        [name, function = name[4] == 'm' ? &addcmul : &addcdiv](const py::object& self, const Tensor& a,
                                                                const Tensor& b, Scalar value) {
          return in_place(self, name,
                          [&](const Tensor& t) { return function(t, read_by(t, {a}), read_by(t, {b}), value); });
        },
        py::arg("tensor1"), py::arg("tensor2"), py::kw_only(), py::arg("value") = 1);
}

void bind_fills(TensorClass& tensor) {
  tensor
      .def("zero_",
           [](const py::object& self) {
             return in_place(
                 self, "zero_", [](const Tensor& t) { return zeros(t.shape(), t.dtype()); }, false, true);
           })
      .def(
          "fill_",
          [](const py::object& self, const Operand& value) {
            return in_place(
                self, "fill_",
                [&](const Tensor& t) {
                  if (!value.is_tensor()) return full(t.shape(), value.scalar, t.dtype());
                  check(value.tensor.dim() == 0, "fill_ only supports 0-dimension value tensor but got tensor with ",
                        value.tensor.dim(), " dimensions.");
                  return broadcast_to(to_device(value.tensor, t.device()), t.shape());
                },
                true, true);
          },
          py::arg("value"))
      .def(
          "copy_",
          [](const py::object& self, const Operand& source, bool non_blocking) {
            return in_place(
                self, "copy_",
                [&](const Tensor& t) {
                  const Tensor read = read_by(t, source);
                  if (read.device() == t.device()) return broadcast_to(read, t.shape());
                  return broadcast_to(without_gil([&] { return to_device(read, t.device(), non_blocking); }),
                                      t.shape());
                },
                true);
          },
          py::arg("src"), py::arg("non_blocking") = false)
      .def(
          "uniform_",
          [](const py::object& self, double low, double high, const GeneratorArgument& generator) {
            check(low <= high, "uniform_ expects to return a [from, to) range, but found from=", low, " > to=", high);
            return in_place(self, "uniform_",
                            [&](const Tensor& t) { return uniform(t.shape(), low, high, t.dtype(), generator); });
          },
          py::arg("from_") = 0.0, py::arg("to") = 1.0, py::arg("generator") = py::none())
      .def(
          "normal_",
          [](const py::object& self, double mean, double std, const GeneratorArgument& generator) {
            check(std >= 0, "normal expects std >= 0.0, but found std ", std);
            return in_place(self, "normal_",
                            [&](const Tensor& t) { return normal(t.shape(), mean, std, t.dtype(), generator); });
          },
          py::arg("mean") = 0.0, py::arg("std") = 1.0, py::arg("generator") = py::none())
      .def(
          "exponential_",
          [](const py::object& self, double rate, const GeneratorArgument& generator) {
            check(rate > 0, "exponential_ expects lambda > 0.0, but found lambda=", rate);
            return in_place(self, "exponential_",
                            [&](const Tensor& t) { return exponential(t.shape(), rate, t.dtype(), generator); });
          },
          py::arg("lambd") = 1.0, py::kw_only(), py::arg("generator") = py::none())
      .def(
          "bernoulli_",
          [](const py::object& self, const Operand& p, const GeneratorArgument& generator) {
            return in_place(
                self, "bernoulli_",
                [&](const Tensor& t) {
                  if (!p.is_tensor()) return bernoulli(t.shape(), p.scalar.to_double(), t.dtype(), generator);
                  return bernoulli(broadcast_to(p.tensor, t.shape()), generator);
                },
                true);
          },
          py::arg("p") = 0.5, py::arg("generator") = py::none())
      .def(
          "random_",
          [](const py::object& self, std::optional<int64_t> from, std::optional<int64_t> to,
             const GeneratorArgument& generator) {
            // A single bound is the upper one.
            const int64_t low = from && to ? *from : 0;
            const std::optional<int64_t> high = to ? to : from;
            return in_place(self, "random_", [&](const Tensor& t) {
              // Up to the largest integer the dtype holds exactly, as PyTorch.
              auto limit = [](DType dtype) -> int64_t {
                switch (dtype) {
                  case DType::Bool:
                    return 2;
                  case DType::UInt8:
                    return 256;
                  case DType::Int8:
                    return 128;
                  case DType::Int16:
                    return 32768;
                  case DType::Int32:
                    return int64_t{1} << 31;
                  case DType::Float16:
                    return (1 << 11) + 1;
                  case DType::BFloat16:
                    return (1 << 8) + 1;
                  case DType::Float32:
                    return (1 << 24) + 1;
                  case DType::Float64:
                    return (int64_t{1} << 53) + 1;
                  case DType::Int64:
                    break;
                }
                return INT64_MAX;
              };
              return randint(low, high.value_or(limit(t.dtype())), t.shape(), t.dtype(), generator);
            });
          },
          py::arg("from_") = py::none(), py::arg("to") = py::none(), py::arg("generator") = py::none());
}

void bind_scatter(TensorClass& tensor) {
  tensor.def(
      "scatter_",
      [](const py::object& self, int64_t dim, const Tensor& index, const Operand& source) {
        return in_place(self, "scatter_", [&](const Tensor& t) {
          Tensor values = source.is_tensor() ? source.tensor : full(index.shape(), source.scalar, t.dtype());
          return scatter(t, dim, index, values);
        });
      },
      py::arg("dim"), py::arg("index"), py::arg("src"));
  tensor.def(
      "scatter_add_",
      [](const py::object& self, int64_t dim, const Tensor& index, const Tensor& source) {
        return in_place(self, "scatter_add_", [&](const Tensor& t) { return scatter_add(t, dim, index, source); });
      },
      py::arg("dim"), py::arg("index"), py::arg("src"));
}

}  // namespace

void bind_in_place(TensorClass& tensor) {
  bind_unary(tensor);
  bind_arithmetic(tensor);
  bind_ternary(tensor);
  bind_fills(tensor);
  bind_scatter(tensor);
}

}  // namespace pycnn::bindings
