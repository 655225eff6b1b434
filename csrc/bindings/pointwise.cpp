// Element-wise functions: module functions, methods and Python's operators.
#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

using Binary = Tensor (*)(const Tensor&, const Tensor&);

std::pair<Tensor, Tensor> operands(const Operand& a, const Operand& b, const char* name) {
  check<TypeError>(a.is_tensor() || b.is_tensor(), name, "(): one argument must be a Tensor, both are numbers");
  if (!a.is_tensor()) return {a.against(b.tensor), b.tensor};
  return {a.tensor, b.against(a.tensor)};
}

/// relu and silu have an `inplace` argument as functions (nn_functions.cpp), and log_sigmoid another name.
void bind_unary_function(Module& module, TensorClass& tensor, std::string_view name,
                         Tensor (*function)(const Tensor&)) {
  if (name == "log_sigmoid") return;
  if (name == "relu" || name == "silu")
    tensor.def(name.data(), function);
  else
    define(module, tensor, name.data(), function);
}

void bind_unary(Module& module, TensorClass& tensor) {
  using Unary = Tensor (*)(const Tensor&);
#define PYCNN_BIND_UNARY(name) \
  bind_unary_function(module, tensor, #name, static_cast<Tensor (*)(const Tensor&)>(&pycnn::name));
  PYCNN_UNARY_FUNCTIONS(PYCNN_BIND_UNARY)
#undef PYCNN_BIND_UNARY
  define(module, tensor, "negative", static_cast<Unary>(&pycnn::neg));
  define(module, tensor, "absolute", static_cast<Unary>(&pycnn::abs));
  define(module, tensor, "logical_not", &logical_not);
  define(module, tensor, "bitwise_not", &bitwise_not);
  module.def("logsigmoid", static_cast<Unary>(&pycnn::log_sigmoid), py::arg("input"));
  tensor.def("__neg__", static_cast<Unary>(&pycnn::neg))
      .def("__abs__", static_cast<Unary>(&pycnn::abs))
      .def("__pos__", [](py::object self) { return self; })
      .def("__invert__", [](const Tensor& self) {
        check<TypeError>(!is_floating_point(self.dtype()),
                         "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
        return bitwise_not(self);
      });
}

/// Which operands PyTorch lets be numbers.
enum class Numbers : uint8_t { Either, Second, Neither };

void check_operands(const char* name, const Operand& input, const Operand& other, Numbers numbers) {
  if (numbers == Numbers::Either) return;
  check<TypeError>(input.is_tensor(), name, "(): argument 'input' (position 1) must be Tensor, not a number");
  check<TypeError>(numbers == Numbers::Second || other.is_tensor(), name,
                   "(): argument 'other' (position 2) must be Tensor, not a number");
}

/// A function of two operands (first named "input", second `second`) and the method.
void bind_binary(Module& module, TensorClass& tensor, const char* name, Binary function,
                 Numbers numbers = Numbers::Either, const char* second = "other") {
  module.def(
      name,
      [name, function, numbers](const Operand& input, const Operand& other) {
        check_operands(name, input, other, numbers);
        auto [a, b] = operands(input, other, name);
        return function(a, b);
      },
      py::arg("input"), py::arg(second));
  tensor.def(
      name,
      [name, function, numbers](const Tensor& self, const Operand& other) {
        if (numbers == Numbers::Neither) check_operands(name, {self}, other, numbers);
        return function(self, other.against(self));
      },
      py::arg(second));
}

void bind_operator(TensorClass& tensor, const char* name, Binary function) {
  tensor.def(
      name, [function](const Tensor& self, const Operand& other) { return function(self, other.against(self)); },
      py::is_operator());
}

void bind_reflected(TensorClass& tensor, const char* name, Binary function) {
  tensor.def(
      name, [function](const Tensor& self, const Operand& other) { return function(other.against(self), self); },
      py::is_operator());
}

Tensor true_divide(const Tensor& a, const Tensor& b) { return div(a, b); }
Tensor plain_add(const Tensor& a, const Tensor& b) { return add(a, b); }
Tensor plain_sub(const Tensor& a, const Tensor& b) { return sub(a, b); }
Tensor matrix_product(const Tensor& a, const Tensor& b) { return matmul(a, b); }

void bind_arithmetic(Module& module, TensorClass& tensor) {
  for (const char* name : {"add", "sub", "subtract"}) {
    auto function = name[0] == 'a' ? &add : &sub;
    module.def(
        name,
        [name, function](const Operand& input, const Operand& other, Scalar alpha) {
          auto [a, b] = operands(input, other, name);
          return function(a, b, alpha);
        },
        py::arg("input"), py::arg("other"), py::kw_only(), py::arg("alpha") = 1);
    tensor.def(
        name,
        [function](const Tensor& self, const Operand& other, Scalar alpha) {
          return function(self, other.against(self), alpha);
        },
        py::arg("other"), py::kw_only(), py::arg("alpha") = 1);
  }
  for (const char* name : {"div", "divide"}) {
    module.def(
        name,
        [name](const Operand& input, const Operand& other, const std::optional<std::string>& mode) {
          auto [a, b] = operands(input, other, name);
          return div(a, b, mode.value_or(""));
        },
        py::arg("input"), py::arg("other"), py::kw_only(), py::arg("rounding_mode") = py::none());
    tensor.def(
        name,
        [](const Tensor& self, const Operand& other, const std::optional<std::string>& mode) {
          return div(self, other.against(self), mode.value_or(""));
        },
        py::arg("other"), py::kw_only(), py::arg("rounding_mode") = py::none());
  }
  bind_binary(module, tensor, "true_divide", &true_divide);
  bind_binary(module, tensor, "mul", &mul);
  bind_binary(module, tensor, "multiply", &mul);
  bind_binary(module, tensor, "floor_divide", &floor_divide);
  bind_binary(module, tensor, "remainder", &remainder);
  bind_binary(module, tensor, "fmod", &fmod, Numbers::Second);
  bind_binary(module, tensor, "pow", &pow, Numbers::Either, "exponent");
  for (const char* name : {"atan2", "arctan2"}) bind_binary(module, tensor, name, &atan2, Numbers::Neither);
  bind_binary(module, tensor, "fmax", &fmax, Numbers::Neither);
  bind_binary(module, tensor, "fmin", &fmin, Numbers::Neither);
  bind_binary(module, tensor, "copysign", &copysign, Numbers::Second);
  bind_binary(module, tensor, "hypot", &hypot, Numbers::Neither);
  bind_binary(module, tensor, "nextafter", &nextafter, Numbers::Neither);
  bind_binary(module, tensor, "heaviside", &heaviside, Numbers::Neither, "values");
  bind_binary(module, tensor, "logaddexp", &logaddexp, Numbers::Neither);
  bind_binary(module, tensor, "logaddexp2", &logaddexp2, Numbers::Neither);
  bind_binary(module, tensor, "xlogy", &xlogy);
  bind_binary(module, tensor, "gcd", &gcd, Numbers::Neither);
  bind_binary(module, tensor, "lcm", &lcm, Numbers::Neither);
  module.def(
      "zeta",
      [](const Operand& input, const Operand& other) {
        auto [a, b] = operands(input, other, "zeta");
        return zeta(a, b);
      },
      py::arg("input"), py::arg("other"));
  module.def("polygamma", &polygamma, py::arg("n"), py::arg("input"));
  tensor.def(
      "polygamma", [](const Tensor& self, int64_t n) { return polygamma(n, self); }, py::arg("n"));
  bind_binary(module, tensor, "maximum", &maximum, Numbers::Neither);
  bind_binary(module, tensor, "minimum", &minimum, Numbers::Neither);
  module.def(
      "rsub",
      [](const Tensor& input, const Operand& other, Scalar alpha) { return sub(other.against(input), input, alpha); },
      py::arg("input"), py::arg("other"), py::kw_only(), py::arg("alpha") = 1);

  bind_operator(tensor, "__add__", &plain_add);
  bind_operator(tensor, "__sub__", &plain_sub);
  bind_operator(tensor, "__mul__", &mul);
  bind_operator(tensor, "__truediv__", &true_divide);
  bind_operator(tensor, "__floordiv__", &floor_divide);
  bind_operator(tensor, "__mod__", &remainder);
  bind_operator(tensor, "__pow__", &pow);
  bind_reflected(tensor, "__radd__", &plain_add);
  bind_reflected(tensor, "__rsub__", &plain_sub);
  bind_reflected(tensor, "__rmul__", &mul);
  bind_reflected(tensor, "__rtruediv__", &true_divide);
  bind_reflected(tensor, "__rfloordiv__", &floor_divide);
  bind_reflected(tensor, "__rmod__", &remainder);
  bind_reflected(tensor, "__rpow__", &pow);
  tensor.def("__matmul__", &matrix_product, py::is_operator());
}

void bind_comparisons(Module& module, TensorClass& tensor) {
  struct Comparison {
    const char *name, *alias, *method;
    Binary function;
  };
  const Comparison comparisons[] = {{"eq", "eq", "__eq__", &eq},      {"ne", "not_equal", "__ne__", &ne},
                                    {"lt", "less", "__lt__", &lt},    {"le", "less_equal", "__le__", &le},
                                    {"gt", "greater", "__gt__", &gt}, {"ge", "greater_equal", "__ge__", &ge}};
  for (const Comparison& c : comparisons) {
    bind_binary(module, tensor, c.name, c.function, Numbers::Second);
    if (std::strcmp(c.name, c.alias) != 0) bind_binary(module, tensor, c.alias, c.function, Numbers::Second);
    bind_operator(tensor, c.method, c.function);
  }
  struct Logic {
    const char *name, *method, *reflected;
    Binary function;
  };
  const Logic logic[] = {{"bitwise_and", "__and__", "__rand__", &bitwise_and},
                         {"bitwise_or", "__or__", "__ror__", &bitwise_or},
                         {"bitwise_xor", "__xor__", "__rxor__", &bitwise_xor},
                         {"bitwise_left_shift", "__lshift__", "__rlshift__", &bitwise_left_shift},
                         {"bitwise_right_shift", "__rshift__", "__rrshift__", &bitwise_right_shift}};
  for (const Logic& l : logic) {
    bind_binary(module, tensor, l.name, l.function);
    bind_operator(tensor, l.method, l.function);
    bind_reflected(tensor, l.reflected, l.function);
  }
  bind_binary(module, tensor, "logical_and", &logical_and, Numbers::Neither);
  bind_binary(module, tensor, "logical_or", &logical_or, Numbers::Neither);
  bind_binary(module, tensor, "logical_xor", &logical_xor, Numbers::Neither);
}

Tensor clamp_operands(const Tensor& input, const std::optional<Operand>& min, const std::optional<Operand>& max) {
  const bool tensors = (min && min->is_tensor()) || (max && max->is_tensor());
  if (tensors) return clamp(input, min ? min->against(input) : Tensor(), max ? max->against(input) : Tensor());
  auto number = [](const std::optional<Operand>& bound) { return bound ? std::optional(bound->scalar) : std::nullopt; };
  return clamp(input, number(min), number(max));
}

/// Two numbers become tensors of their kinds' dtypes.
Tensor select_where(const Tensor& condition, const Operand& input, const Operand& other) {
  if (!input.is_tensor() && !other.is_tensor()) {
    auto make = [](const Operand& o) { return scalar_tensor(o.scalar, dtype_of_kind(o.scalar.kind())); };
    return where(condition, make(input), make(other));
  }
  auto [a, b] = operands(input, other, "where");
  return where(condition, a, b);
}

void bind_ternary(Module& module, TensorClass& tensor) {
  for (const char* name : {"clamp", "clip"})
    define(module, tensor, name, &clamp_operands, py::arg("min") = py::none(), py::arg("max") = py::none());
  define(
      module, tensor, "clamp_min",
      [](const Tensor& input, const Operand& min) { return clamp_operands(input, min, {}); }, py::arg("min"));
  define(
      module, tensor, "clamp_max",
      [](const Tensor& input, const Operand& max) { return clamp_operands(input, {}, max); }, py::arg("max"));
  module.def("where", &select_where, py::arg("condition"), py::arg("input"), py::arg("other"));
  module.def(
      "where", [](const Tensor& condition) { return py::tuple(py::cast(unbind(nonzero(condition), 1))); },
      py::arg("condition"));
  tensor.def(
      "where",
      [](const Tensor& self, const Tensor& condition, const Operand& other) {
        return select_where(condition, Operand{self}, other);
      },
      py::arg("condition"), py::arg("other"));
  define(
      module, tensor, "masked_fill",
      [](const Tensor& input, const Tensor& mask, const Operand& value) {
        return masked_fill(input, mask, value.against(input));
      },
      py::arg("mask"), py::arg("value"));
  define(
      module, tensor, "lerp",
      [](const Tensor& input, const Tensor& end, const Operand& weight) {
        return lerp(input, end, weight.against(input));
      },
      py::arg("end"), py::arg("weight"));
  define(module, tensor, "addcmul", &addcmul, py::arg("tensor1"), py::arg("tensor2"), py::kw_only(),
         py::arg("value") = 1);
  define(module, tensor, "addcdiv", &addcdiv, py::arg("tensor1"), py::arg("tensor2"), py::kw_only(),
         py::arg("value") = 1);
}

Tensor is_close(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan) {
  check(input.dtype() == other.dtype(), "isclose: ", input.dtype(), " did not match ", other.dtype());
  check(rtol >= 0 && atol >= 0, "isclose: rtol and atol must be greater than or equal to zero, but got ", rtol, " and ",
        atol);
  if (input.dtype() == DType::Bool) return eq(input, other);
  Tensor bound = add(abs(other) * rtol, wrap_scalar(atol, other));
  Tensor close = logical_or(eq(input, other), logical_and(le(abs(input - other), bound), isfinite(other)));
  return equal_nan ? logical_or(close, logical_and(isnan(input), isnan(other))) : close;
}

void bind_closeness(Module& module, TensorClass& tensor) {
  auto truth = [](const Tensor& value) {
    NoGradGuard no_grad;
    return read_element(readable_memory(all(value)), 0).to_int() != 0;
  };
  define(module, tensor, "isclose", &is_close, py::arg("other"), py::arg("rtol") = 1e-5, py::arg("atol") = 1e-8,
         py::arg("equal_nan") = false);
  define(
      module, tensor, "allclose",
      [truth](const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan) {
        return truth(is_close(input.detach(), other.detach(), rtol, atol, equal_nan));
      },
      py::arg("other"), py::arg("rtol") = 1e-5, py::arg("atol") = 1e-8, py::arg("equal_nan") = false);
  define(
      module, tensor, "equal",
      [truth](const Tensor& input, const Tensor& other) {
        return input.shape() == other.shape() && truth(eq(input.detach(), other.detach()));
      },
      py::arg("other"));
}

}  // namespace

void bind_pointwise(Module& module, TensorClass& tensor) {
  bind_unary(module, tensor);
  bind_arithmetic(module, tensor);
  bind_comparisons(module, tensor);
  bind_ternary(module, tensor);
  bind_closeness(module, tensor);
}

}  // namespace pycnn::bindings
