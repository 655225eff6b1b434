// Norms of vectors and of their differences.
#include "ops/arguments.h"
#include "ops/pointwise.h"

namespace pycnn {

using namespace ops;

Tensor normalize(const Tensor& input, double p, const Dimensions& dimensions, double eps) {
  return named("normalize", [&] {
    const Tensor length = clamp(norm(input, p, dimensions, true), Scalar(eps), std::optional<Scalar>());
    return input / length;
  });
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b, int64_t dimension, double eps) {
  const DType common = result_type({a, b});
  check(is_floating_point(common),
        "cosine_similarity: expected common dtype to be floating point, yet common dtype is ",
        scalar_type_name(common));
  return named("cosine_similarity", [&] {
    const Shape shape = broadcast_shapes(a.shape(), b.shape(), "cosine_similarity");
    const int d = normalize_dimension(dimension, shape.size(), "cosine_similarity");
    // Lengths are bounded from below, their gradients are not: what the bound adds is a constant.
    const auto unit = [&](const Tensor& x) {
      const Tensor vectors = broadcast_to(cast(x, common), shape);
      const Tensor length = norm(vectors, 2, Dimensions{d}, true);
      const Tensor bound = wrap_scalar(eps, length);
      return vectors / where(lt(length, bound), length + (bound - length).detach(), length);
    };
    return sum(unit(a) * unit(b), Dimensions{d});
  });
}

Tensor pairwise_distance(const Tensor& a, const Tensor& b, double p, double eps, bool keepdim) {
  return named("pairwise_distance", [&] {
    const Tensor difference = a - b + eps;
    return difference.dim() == 0 ? norm(difference, p, {}, false) : norm(difference, p, Dimensions{-1}, keepdim);
  });
}

}  // namespace pycnn
