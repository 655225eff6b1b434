// Determinants, inverses and systems of equations, by Gaussian elimination.
#include <algorithm>
#include <limits>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/arguments.h"
#include "ops/pointwise.h"
#include "ops/views.h"
#include "pycnn/autograd.h"

namespace pycnn {
namespace ops {

using graph::BackwardContext;
using graph::BackwardReads;
using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;

namespace {

/// All but the last `count` sizes.
Shape without_last(const Shape& shape, int count) {
  return Shape(std::span<const int64_t>(shape).first(static_cast<size_t>(shape.size() - count)));
}

Tensor matrix_transposed(const Tensor& input) { return transpose(input, -2, -1); }
Tensor per_matrix(const Tensor& input) { return unsqueeze(unsqueeze(input, -1), -1); }

/// {factors, pivots, signs}: see kernels::FactorArguments. Without a gradient.
class Factor final : public graph::Operator {
 public:
  const char* name() const override { return "lu_factor"; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Lowering::Factors result = l.factor(inputs[0]);
    return {result.matrices, result.pivots, result.signs};
  }
};

Tensors factored(const Tensor& matrices) {
  const Shape lines = without_last(matrices.shape(), 1), batch = without_last(matrices.shape(), 2);
  const std::vector<graph::Spec> specs{
      {matrices.shape(), matrices.dtype(), false}, {lines, DType::Int64, false}, {batch, matrices.dtype(), false}};
  const Tensor input = matrices.detach();
  return graph::record(std::make_shared<Factor>(), std::span(&input, 1), specs);
}

Tensor record_solve(const Tensor& matrices, const Tensor& sides, const Tensor& factors, const Tensor& pivots,
                    bool transposed);

/// Inputs: the matrices A, right sides B, and A's factors and pivots, which are what is computed with.
class Solve final : public graph::Operator {
 public:
  explicit Solve(bool transposed) : transposed_(transposed) {}
  const char* name() const override { return "linalg_solve"; }
  void fingerprint(Fingerprint& f) const override { f.add(int64_t{transposed_}); }
  BackwardReads backward_reads() const override { return {.inputs = 0b1101, .outputs = 1}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor side =
        record_solve(context.input(0), context.gradient(), context.input(2), context.input(3), !transposed_);
    Tensors gradients(4);
    if (context.needs(1)) gradients[1] = side;
    if (context.needs(0)) {
      const Tensor product = matmul(side, matrix_transposed(context.output(0)));
      gradients[0] = neg(transposed_ ? matrix_transposed(product) : product);
    }
    return gradients;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {l.solve(inputs[2], inputs[3], inputs[1], transposed_)};
  }

 private:
  bool transposed_;
};

Tensor record_solve(const Tensor& matrices, const Tensor& sides, const Tensor& factors, const Tensor& pivots,
                    bool transposed) {
  return graph::record(std::make_shared<Solve>(transposed), {matrices, sides, factors, pivots},
                       {sides.shape(), sides.dtype()});
}

/// Identity matrices in the shape of the matrices given, each times its factor.
Tensor scaled_identity(const Tensor& matrices, const Tensor& factors) {
  const DeviceScope scope(matrices.device());
  const int64_t size = matrices.shape().back();
  return broadcast_to(per_matrix(factors), matrices.shape()) * eye(size, size, matrices.dtype());
}

/// The elements on the diagonal of matrices (…, n, n): (…, n).
Tensor diagonal_of(const Tensor& matrices) {
  const int64_t size = matrices.shape().back();
  Shape flat = without_last(matrices.shape(), 2);
  flat.push_back(size * size);
  return slice(reshape(matrices, flat), -1, {}, {}, size + 1);
}

Tensor product_of(const Tensor& factors, const Tensor& signs) { return signs * prod(diagonal_of(factors), -1); }

/// Of a float32 or float64.
double epsilon_of(DType dtype) {
  return dtype == DType::Float64 ? std::numeric_limits<double>::epsilon()
                                 : double{std::numeric_limits<float>::epsilon()};
}

/// The matrices of cofactors times g, det(A) A⁻ᵀ g, from A's factors, pivots and signs. For a singular A with pivots in
/// place of zeros that vanish beside A; one half of them (their roots) is multiplied before solving and one after, as
/// there may be many.
Tensor cofactors(const Tensor& matrices, const Tensors& parts, const Tensor& determinant, const Tensor& gradient) {
  const DeviceScope scope(matrices.device());
  const Tensor &factors = parts[0], zero = wrap_scalar(0, factors), one = wrap_scalar(1, factors);
  const int64_t size = matrices.shape().back();
  const double least = matrices.dtype() == DType::Float64 ? std::numeric_limits<double>::min()
                                                          : double{std::numeric_limits<float>::min()};
  const Tensor largest = amax(abs(matrices.detach()), Dimensions{-2, -1});
  const Tensor vanishing = maximum(largest * epsilon_of(matrices.dtype()), wrap_scalar(least, factors));
  const Tensor diagonal = diagonal_of(factors), no_pivot = eq(diagonal, zero);
  const Tensor is_missing = logical_and(eq(factors, zero), eye(size, size, DType::Bool));
  const Tensor half = prod(where(no_pivot, unsqueeze(sqrt(vanishing), -1), one), -1);
  const Tensor present = parts[2] * prod(where(no_pivot, one, diagonal), -1) * half;
  const Tensor scale = gradient * where(eq(determinant, zero), present, determinant);
  return record_solve(matrices, scaled_identity(matrices, scale), where(is_missing, per_matrix(vanishing), factors),
                      parts[1], true) *
         per_matrix(half);
}

/// Matrices of rank 3 in general position, as large as A.
Tensor of_rank_three(const Tensor& matrices) {
  const DeviceScope scope(matrices.device());
  const int64_t size = matrices.shape().back();
  const Tensor places = unsqueeze(arange(1, size + 1, 1, DType::Int64), -1);
  const Tensor waves = cast(places * arange(1, 4, 1, DType::Int64), DType::Float64);
  const Tensor product = cast(matmul(cos(waves), matrix_transposed(sin(waves))), matrices.dtype());
  const Tensor largest = amax(abs(matrices.detach()), Dimensions{-2, -1}, true);
  return where(eq(largest, wrap_scalar(0, largest)), wrap_scalar(1, largest), largest) * product;
}

Tensor record_determinant(const Tensor& matrices, const Tensors& parts);

/// Inputs: A, its factors, pivots and signs, and the determinant (or the logarithm of its absolute value) that was
/// computed from them, which is the output.
class Determinant final : public graph::Operator {
 public:
  explicit Determinant(bool logarithm) : logarithm_(logarithm) {}
  const char* name() const override { return logarithm_ ? "linalg_slogdet" : "linalg_det"; }
  BackwardReads backward_reads() const override { return {.inputs = 0b1111, .outputs = logarithm_ ? 0u : 1u}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor matrices = context.input(0);
    const Tensor& gradient = context.gradient();
    const Tensors parts{context.input(1), context.input(2), context.input(3)};
    if (logarithm_)
      return {record_solve(matrices, scaled_identity(matrices, gradient), parts[0], parts[1], true), Tensor(), Tensor(),
              Tensor(), Tensor()};
    if (!is_grad_enabled())
      return {cofactors(matrices, parts, context.output(0), gradient), Tensor(), Tensor(), Tensor(), Tensor()};
    // Singular ones are left out of what is done with regular ones, where they would leave NaN.
    const int64_t size = matrices.shape().back();
    const Tensor singular = per_matrix(eq(context.output(0), wrap_scalar(0, matrices)));
    const Tensors regular{where(singular, eye(size, size, matrices.dtype()), parts[0]), parts[1], parts[2]};
    return {where(singular, cofactors_of_singular(matrices, singular, gradient),
                  cofactors(matrices, regular, context.output(0), gradient)),
            Tensor(), Tensor(), Tensor(), Tensor()};
  }
  std::vector<Slot> lower(Lowering&, std::span<const Slot> inputs) const override { return {inputs[4]}; }

 private:
  /// What can be differentiated twice at a singular A: with a W of rank 3, det(A + tW) is a cubic polynomial of t,
  /// whose value at 0 follows from those at ±1 and ±2, where the matrices are regular. If they are not, the rank of A
  /// is below n - 3, and three derivatives are zero.
  static Tensor cofactors_of_singular(const Tensor& matrices, const Tensor& singular, const Tensor& gradient) {
    const Tensor zero = wrap_scalar(0, matrices);
    const Tensor moved = where(singular, of_rank_three(matrices), zero);
    Tensor smallest;
    const auto at = [&](double t) {
      const Tensor regular = matrices + moved * t;
      const Tensors parts = factored(regular);
      const Tensor pivot = amin(abs(diagonal_of(parts[0])), Dimensions{-1});
      smallest = smallest.defined() ? minimum(smallest, pivot) : pivot;
      return cofactors(regular, parts, record_determinant(regular, parts), gradient);
    };
    const Tensor result = (at(1) + at(-1)) * (2. / 3) - (at(2) + at(-2)) * (1. / 6);
    const double rounding = 8 * static_cast<double>(matrices.shape().back()) * epsilon_of(matrices.dtype());
    const Tensor largest = amax(abs(moved), Dimensions{-2, -1});
    return where(per_matrix(lt(smallest, largest * rounding)), zero, result);
  }

  bool logarithm_;
};

Tensor record_determinant(const Tensor& matrices, const Tensors& parts) {
  return graph::record(std::make_shared<Determinant>(false),
                       {matrices, parts[0], parts[1], parts[2], product_of(parts[0], parts[2])},
                       {parts[2].shape(), matrices.dtype()});
}

void check_square(const char* operation, const Tensor& input) {
  check(is_floating_point(input.dtype()), operation, ": Expected a floating point or complex tensor as input. Got ",
        scalar_type_name(input.dtype()));
  check(size_of(input.dtype()) >= 4, operation, ": Low precision dtypes not supported. Got ",
        scalar_type_name(input.dtype()));
  check(input.dim() >= 2, operation, ": The input tensor A must have at least 2 dimensions.");
  const int64_t rows = input.size(-2), columns = input.size(-1);
  check(rows == columns, operation, ": A must be batches of square matrices, but they are ", rows, " by ", columns,
        " matrices");
}

/// Says which matrix cannot be inverted, if there is one. Evaluates the factors.
void check_regular(const Tensor& factors, const char* before, const char* after, bool which) {
  const Tensor singular = eq(diagonal_of(factors), wrap_scalar(0, factors));
  const std::vector<bool> elements = singular.to_vector<bool>();
  const auto found = std::find(elements.begin(), elements.end(), true);
  if (found == elements.end()) return;
  const int64_t place = found - elements.begin(), size = factors.shape().back();
  std::string text = before;
  if (factors.dim() > 2) text += "(Batch element " + std::to_string(place / size) + "): ";
  if (which) text += "The diagonal element " + std::to_string(place % size + 1) + " is zero, ";
  fail<LinAlgError>(text, after);
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor det(const Tensor& input) {
  check_square("linalg.det", input);
  return record_determinant(input, factored(input));
}

std::pair<Tensor, Tensor> slogdet(const Tensor& input) {
  check_square("linalg.slogdet", input);
  const Tensors parts = factored(input);
  const Tensor diagonal = diagonal_of(parts[0]);
  const Tensor signs = parts[2] * prod(sign(diagonal), -1);
  const Tensor logarithm = sum(log(abs(diagonal)), Dimensions{-1});
  return {signs, graph::record(std::make_shared<Determinant>(true), {input, parts[0], parts[1], parts[2], logarithm},
                               {parts[2].shape(), input.dtype()})};
}

Tensor inverse(const Tensor& input) {
  check_square("linalg.inv", input);
  const Tensors parts = factored(input);
  check_regular(parts[0], "linalg.inv: ", "the inversion could not be completed because the input matrix is singular.",
                true);
  const DeviceScope scope(input.device());
  const Tensor ones_of_batch = ones(parts[2].shape(), input.dtype());
  return record_solve(input, scaled_identity(input, ones_of_batch), parts[0], parts[1], false);
}

Tensor solve(const Tensor& a, const Tensor& b, bool left) {
  check_square("linalg.solve", a);
  check(a.dtype() == b.dtype(), "linalg.solve: Expected A and B to have the same dtype, but found A of type ",
        scalar_type_name(a.dtype()), " and B of type ", scalar_type_name(b.dtype()), " instead");
  if (!left) return matrix_transposed(solve(matrix_transposed(a), matrix_transposed(b), true));
  const int64_t size = a.size(-1);
  // A batch of vectors has A's leading dimensions.
  const bool is_vector = b.dim() == 1 || (b.dim() + 1 == a.dim() && b.shape() == without_last(a.shape(), 1));
  check(is_vector || b.dim() >= 2, "linalg.solve: The input tensor B must have at least 2 dimensions.");
  const Tensor sides = is_vector ? unsqueeze(b, -1) : b;
  check(sides.size(-2) == size, "linalg.solve: Incompatible shapes of A and B for the equation AX = B (", size, "x",
        size, " and ", sides.size(-2), "x", sides.size(-1), ")");
  Shape matrices = broadcast_shapes(without_last(a.shape(), 2), without_last(sides.shape(), 2), "linalg.solve");
  Shape shape = matrices;
  for (int64_t n : {size, size}) matrices.push_back(n);
  for (int64_t n : {size, sides.size(-1)}) shape.push_back(n);
  const Tensor expanded_a = broadcast_to(a, matrices);
  const Tensors parts = factored(expanded_a);
  check_regular(parts[0], "torch.linalg.solve: ", "The solver failed because the input matrix is singular.", false);
  const Tensor result = record_solve(expanded_a, broadcast_to(sides, shape), parts[0], parts[1], false);
  return is_vector ? squeeze(result, Dimensions{-1}) : result;
}

}  // namespace pycnn
