// Reductions and matrix products, as functions and methods.
#include <limits>

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

const auto no_dim = py::arg("dim") = py::none();
const auto keepdim = py::arg("keepdim") = false;

/// No dimension at all, for any() and all(), leaves every element its own.
bool leaves_elements(const OptionalDimensions& dim) { return dim && dim->empty(); }
Tensor nonzero_mask(const Tensor& input) { return ne(input, wrap_scalar(0, input)); }

void bind_sums(Module& module, TensorClass& tensor) {
  define(
      module, tensor, "sum",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep, std::optional<DType> dtype) {
        return sum(input, reduced(dim), keep, dtype);
      },
      no_dim, keepdim, py::kw_only(), py::arg("dtype") = py::none());
  define(
      module, tensor, "mean",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep, std::optional<DType> dtype) {
        return mean(input, reduced(dim), keep, dtype);
      },
      no_dim, keepdim, py::kw_only(), py::arg("dtype") = py::none());
  define(
      module, tensor, "prod",
      [](const Tensor& input, std::optional<int64_t> dim, bool keep, std::optional<DType> dtype) {
        return prod(input, dim, keep, dtype);
      },
      no_dim, keepdim, py::kw_only(), py::arg("dtype") = py::none());
  define(
      module, tensor, "any",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep) {
        return leaves_elements(dim) ? nonzero_mask(input) : any(input, reduced(dim), keep);
      },
      no_dim, keepdim);
  define(
      module, tensor, "all",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep) {
        return leaves_elements(dim) ? nonzero_mask(input) : all(input, reduced(dim), keep);
      },
      no_dim, keepdim);
  define(
      module, tensor, "count_nonzero",
      [](const Tensor& input, const OptionalDimensions& dim) {
        return sum(nonzero_mask(input), reduced(dim), false, DType::Int64);
      },
      no_dim);
  define(module, tensor, "logsumexp", &logsumexp, py::arg("dim"), keepdim);
  module.def(
      "_topk", [](const Tensor& input, int64_t k, int64_t dim, bool largest) { return topk(input, k, dim, largest); },
      py::arg("input"), py::arg("k"), py::arg("dim"), py::arg("largest"));
  module.def("_kthvalue", &kthvalue, py::arg("input"), py::arg("k"), py::arg("dim"), py::arg("keepdim"));
  module.def("_searchsorted", &searchsorted, py::arg("boundaries"), py::arg("values"), py::arg("right"));
  define(module, tensor, "cumsum", &cumsum, py::arg("dim"), py::kw_only(), py::arg("dtype") = py::none());
  define(module, tensor, "cumprod", &cumprod, py::arg("dim"), py::kw_only(), py::arg("dtype") = py::none());
  define(module, tensor, "logcumsumexp", &logcumsumexp, py::arg("dim"));
  define(
      module, tensor, "cummax",
      [](const Tensor& input, int64_t dim) { return values_and_indices("cummax", cummax(input, dim)); },
      py::arg("dim"));
  define(
      module, tensor, "cummin",
      [](const Tensor& input, int64_t dim) { return values_and_indices("cummin", cummin(input, dim)); },
      py::arg("dim"));
  define(
      module, tensor, "sort",
      [](const Tensor& input, int64_t dim, bool descending, bool) {
        return values_and_indices("sort", sort(input, dim, descending));
      },
      py::arg("dim") = -1, py::arg("descending") = false, py::arg("stable") = false);
  define(
      module, tensor, "argsort",
      [](const Tensor& input, int64_t dim, bool descending, bool) { return argsort(input, dim, descending); },
      py::arg("dim") = -1, py::arg("descending") = false, py::arg("stable") = false);
}

/// The arguments of var and std in both their forms: (dim, unbiased, keepdim) and (dim, correction=, keepdim=).
struct Spread {
  OptionalDimensions dimensions;
  double correction;
};
Spread read_spread(const py::object& dim, std::optional<bool> unbiased, std::optional<double> correction) {
  Spread result{std::nullopt, 1};
  if (py::isinstance<py::bool_>(dim)) {
    unbiased = dim.cast<bool>();
  } else {
    result.dimensions = reduced(dim.cast<OptionalDimensions>());
  }
  result.correction = correction.value_or(unbiased.value_or(true) ? 1 : 0);
  return result;
}

void bind_moments(Module& module, TensorClass& tensor) {
  for (const char* name : {"var", "std"}) {
    define(
        module, tensor, name,
        [function = name[0] == 'v' ? &var : &std](const Tensor& input, const py::object& dim,
                                                  std::optional<bool> unbiased, bool keep,
                                                  std::optional<double> correction) {
          Spread spread = read_spread(dim, unbiased, correction);
          return function(input, spread.dimensions, spread.correction, keep);
        },
        no_dim, py::arg("unbiased") = py::none(), keepdim, py::kw_only(), py::arg("correction") = py::none());
    module.def((std::string(name) + "_mean").c_str(),
               [root = name[0] == 's'](const Tensor& input, const py::object& dim, std::optional<bool> unbiased,
                                       bool keep, std::optional<double> correction) {
                 Spread spread = read_spread(dim, unbiased, correction);
                 auto [variance, average] = var_mean(input, spread.dimensions, spread.correction, keep);
                 // The variance may be infinite, or zero, where its root is neither; both come from one pass.
                 return py::make_tuple(root ? std(input, spread.dimensions, spread.correction, keep) : variance,
                                       average);
               },
               py::arg("input"), no_dim, py::arg("unbiased") = py::none(), keepdim, py::kw_only(),
               py::arg("correction") = py::none());
  }
}

template <typename All, typename Along, typename Pair>
void bind_extreme(Module& module, TensorClass& tensor, const char* name, const All& over_all, const Along& along,
                  const Pair& pair) {
  define(module, tensor, name, over_all);
  // Tensors first: a tensor of one integer would convert to a dimension.
  define(module, tensor, name, pair, py::arg("other"));
  define(
      module, tensor, name,
      [name, along](const Tensor& input, int64_t dim, bool keep) {
        return values_and_indices(name, along(input, dim, keep));
      },
      py::arg("dim"), keepdim);
}

void bind_extremes(Module& module, TensorClass& tensor) {
  bind_extreme(
      module, tensor, "max", [](const Tensor& t) { return max(t); },
      [](const Tensor& t, int64_t d, bool k) { return max(t, d, k); }, &maximum);
  bind_extreme(
      module, tensor, "min", [](const Tensor& t) { return min(t); },
      [](const Tensor& t, int64_t d, bool k) { return min(t, d, k); }, &minimum);
  define(
      module, tensor, "amax",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep) { return amax(input, reduced(dim), keep); },
      py::arg("dim") = py::tuple(), keepdim);
  define(
      module, tensor, "amin",
      [](const Tensor& input, const OptionalDimensions& dim, bool keep) { return amin(input, reduced(dim), keep); },
      py::arg("dim") = py::tuple(), keepdim);
  define(module, tensor, "argmax", &argmax, no_dim, keepdim);
  define(module, tensor, "argmin", &argmin, no_dim, keepdim);
}

double read_order(const py::object& p) {
  if (p.is_none()) return 2;
  if (!py::isinstance<py::str>(p)) return p.cast<double>();
  const auto name = p.cast<std::string>();
  if (name == "fro") return 2;
  fail<NotImplementedError>("norm: p=\"", name, "\" is not supported; give a number, inf, or \"fro\"");
}

void bind_products(Module& module, TensorClass& tensor) {
  define(
      module, tensor, "norm",
      [](const Tensor& input, const py::object& p, const OptionalDimensions& dim, bool keep,
         std::optional<DType> dtype) {
        return norm(dtype ? cast(input, *dtype) : input, read_order(p), reduced(dim), keep);
      },
      py::arg("p") = "fro", no_dim, keepdim, py::arg("dtype") = py::none());
  module.def("_det", &det, py::arg("input"));
  module.def("_slogdet", &slogdet, py::arg("input"));
  module.def("_inverse", &inverse, py::arg("input"));
  module.def("_solve", &solve, py::arg("a"), py::arg("b"), py::arg("left"));
  define(module, tensor, "matmul", &matmul, py::arg("other"));
  define(module, tensor, "mm", &mm, py::arg("mat2"));
  define(module, tensor, "bmm", &bmm, py::arg("mat2"));
  define(module, tensor, "mv", &mv, py::arg("vec"));
  define(module, tensor, "dot", &dot, py::arg("tensor"));
  define(
      module, tensor, "outer",
      [](const Tensor& input, const Tensor& vec2) {
        check(input.dim() == 1 && vec2.dim() == 1, "outer: Expected 1-D argument self and vec2, but got ", input.dim(),
              "-D and ", vec2.dim(), "-D");
        return mul(unsqueeze(input, 1), vec2);
      },
      py::arg("vec2"));
  define(module, tensor, "addmm", &addmm, py::arg("mat1"), py::arg("mat2"), py::kw_only(), py::arg("beta") = 1,
         py::arg("alpha") = 1);
}

void bind_softmax(TensorClass& tensor) {
  tensor.def("softmax", &softmax, py::arg("dim"), py::arg("dtype") = py::none());
  tensor.def("log_softmax", &log_softmax, py::arg("dim"), py::arg("dtype") = py::none());
}

}  // namespace

void bind_reductions(Module& module, TensorClass& tensor) {
  bind_sums(module, tensor);
  bind_moments(module, tensor);
  bind_extremes(module, tensor);
  bind_products(module, tensor);
  bind_softmax(tensor);
}

}  // namespace pycnn::bindings
