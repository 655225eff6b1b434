// Matrix products: matmul with NumPy's rules for vectors and batches, matrices and vectors, and the linear layer.
#include <array>

#include "graph/lowering.h"
#include "ops/arguments.h"
#include "ops/autocast.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;

Tensor matrix_transpose(const Tensor& input) { return transpose(input, -2, -1); }

/// The leading (batch) dimensions of a stack of matrices.
Shape leading(const Shape& shape) {
  return Dimensions(std::span<const int64_t>(shape).first(static_cast<size_t>(shape.size() - 2)));
}

Shape stack_of(Shape batch, int64_t rows, int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

Slot transposed(const Slot& slot) {
  Dimensions order;
  for (int d = 0; d < slot.shape.size(); ++d) order.push_back(d);
  std::swap(order[slot.shape.size() - 1], order[slot.shape.size() - 2]);
  return slot.permuted(order);
}

/// a × b in the dtype of products; a product over nothing is zero.
Slot product(Lowering& l, const Slot& a, const Slot& b) {
  const DType compute = ops::product_dtype(a.dtype);
  if (a.shape.back() != 0) return l.matmul(l.cast(a, compute), l.cast(b, compute));
  const Slot result = l.allocate(compute, stack_of(leading(a.shape), a.shape[a.shape.size() - 2], b.shape.back()));
  l.fill(result, 0);
  return result;
}

Tensor record_matmul(const Tensor& a, const Tensor& b);

/// a (…, m, k), b (…, k, n) with broadcast batches → (…, m, n)
class Matmul final : public Operator {
 public:
  explicit Matmul(const Shape& batch) : batch_(batch) {}
  const char* name() const override { return "matmul"; }
  void fingerprint(Fingerprint& f) const override { f.add(batch_); }
  BackwardReads backward_reads() const override { return {.inputs = 0b11}; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    Tensors result(2);
    if (context.needs(0))
      result[0] = sum_to_shape(record_matmul(gradient, matrix_transpose(context.input(1))), context.input_shape(0));
    if (context.needs(1))
      result[1] = sum_to_shape(record_matmul(matrix_transpose(context.input(0)), gradient), context.input_shape(1));
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const auto expanded = [this](const Slot& slot) {
      const int rank = slot.shape.size();
      return slot.expanded(stack_of(batch_, slot.shape[rank - 2], slot.shape[rank - 1]));
    };
    return {l.cast(product(l, expanded(inputs[0]), expanded(inputs[1])), inputs[0].dtype)};
  }

 private:
  Shape batch_;
};

/// Both operands have at least two dimensions; shapes and dtypes are known to fit.
Tensor record_matmul(const Tensor& a, const Tensor& b) {
  const Shape batch = broadcast_shapes(leading(a.shape()), leading(b.shape()), "matmul");
  return record(std::make_shared<Matmul>(batch), {a, b},
                {stack_of(batch, a.shape()[a.dim() - 2], b.shape().back()), a.dtype()});
}

/// input (M, K), weight (N, K), bias (N) or none → (M, N)
class Linear final : public Operator {
 public:
  Linear(bool input_gradient, bool weight_gradient)
      : reads_{.inputs = (weight_gradient ? 0b01u : 0u) | (input_gradient ? 0b10u : 0u)} {}
  const char* name() const override { return "linear"; }
  // Each factor is read for the other's gradient: a frozen weight keeps no activations.
  BackwardReads backward_reads() const override { return reads_; }
  Tensors backward(const BackwardContext& context) const override {
    const Tensor& gradient = context.gradient();
    Tensors result(static_cast<size_t>(context.input_count()));
    if (context.needs(0)) result[0] = record_matmul(gradient, context.input(1));
    if (context.needs(1)) result[1] = record_matmul(matrix_transpose(gradient), context.input(0));
    if (result.size() > 2 && context.needs(2)) result[2] = sum_to_shape(gradient, context.input_shape(2));
    return result;
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const DType dtype = inputs[0].dtype;
    const Slot result = product(l, inputs[0], transposed(inputs[1]));
    if (inputs.size() < 3) return {l.cast(result, dtype)};
    return {l.pointwise(std::array{result, inputs[2]}, result.shape, ops::compute_dtype(result.dtype), dtype,
                        [](ProgramBuilder& p, std::span<const Expression> in) { return p.add(in[0], in[1]); })};
  }

 private:
  BackwardReads reads_;
};

void check_dtypes(const Tensor& a, const Tensor& b, const char* name) {
  check(a.dtype() == b.dtype(), name, ": expected m1 and m2 to have the same dtype, but got: ", a.dtype(),
        " != ", b.dtype());
  check<NotImplementedError>(a.dtype() != DType::Bool, "\"", name, "\" not implemented for 'Bool'");
}

int64_t rows_of(const Tensor& tensor) {
  int64_t rows = 1;
  for (int d = 0; d + 1 < tensor.dim(); ++d) rows *= tensor.shape()[d];
  return rows;
}

void check_product(int64_t rows, int64_t inner, const Shape& b, const char* name) {
  check(inner == b[b.size() - 2], name, ": mat1 and mat2 shapes cannot be multiplied (", rows, "x", inner, " and ",
        b[b.size() - 2], "x", b.back(), ")");
}

/// (…, K) as (M, K).
Tensor as_matrix(const Tensor& input) {
  return input.dim() == 2 ? input : reshape(input, {rows_of(input), input.shape().back()});
}

/// matmul in the dtypes given.
Tensor multiply(const Tensor& a, const Tensor& b) {
  check(a.dim() > 0 && b.dim() > 0, "both arguments to matmul need to be at least 1D, but they are ", a.dim(), "D and ",
        b.dim(), "D");
  check_dtypes(a, b, "matmul");
  if (a.dim() == 1 && b.dim() == 1) {
    check(a.shape() == b.shape(), "matmul: inconsistent tensor size, expected tensor ", ops::brackets(a.shape()),
          " and src ", ops::brackets(b.shape()), " to have the same number of elements");
    return squeeze(record_matmul(unsqueeze(a, 0), unsqueeze(b, 1)), Dimensions{0, 1});
  }
  if (b.dim() == 1) {
    check(a.shape().back() == b.shape()[0], "matmul: size mismatch, got input ", ops::brackets(a.shape()), ", vector (",
          b.shape()[0], ")");
    return squeeze(multiply(a, unsqueeze(b, 1)), Dimensions{-1});
  }
  if (a.dim() == 1) {
    check_product(1, a.shape()[0], b.shape(), "matmul");
    return squeeze(multiply(unsqueeze(a, 0), b), Dimensions{-2});
  }
  if (b.dim() == 2) {
    check_product(rows_of(a), a.shape().back(), b.shape(), "matmul");
    const Tensor result = record_matmul(as_matrix(a), b);
    return a.dim() == 2 ? result
                        : reshape(result, stack_of(leading(a.shape()), a.shape()[a.dim() - 2], b.shape().back()));
  }
  check(a.shape().back() == b.shape()[b.dim() - 2],
        "matmul: Expected size for first two dimensions of batch2 tensor to be: [", b.shape()[0], ", ",
        a.shape().back(), "] but got: [", b.shape()[0], ", ", b.shape()[b.dim() - 2], "], shapes are ",
        ops::brackets(a.shape()), " and ", ops::brackets(b.shape()));
  return record_matmul(a, b);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  if (const auto operands = ops::autocast("matmul", a, b)) return multiply((*operands)[0], (*operands)[1]);
  return multiply(a, b);
}

Tensor mv(const Tensor& input, const Tensor& vector) {
  check(input.dim() == 2 && vector.dim() == 1, "mv: expected a matrix and a vector, got shapes ", input.shape(),
        " and ", vector.shape());
  return multiply(input, vector);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check(a.dim() == 1 && b.dim() == 1, "1D tensors expected, but got ", a.dim(), "D and ", b.dim(), "D tensors");
  return multiply(a, b);
}

Tensor mm(const Tensor& a, const Tensor& b) {
  if (const auto operands = ops::autocast("mm", a, b)) return mm((*operands)[0], (*operands)[1]);
  check(a.dim() == 2, "mm: self must be a matrix, but got ", ops::brackets(a.shape()));
  check(b.dim() == 2, "mm: mat2 must be a matrix, but got ", ops::brackets(b.shape()));
  check_product(a.shape()[0], a.shape()[1], b.shape(), "mm");
  check_dtypes(a, b, "mm");
  return record_matmul(a, b);
}

Tensor addmm(const Tensor& input, const Tensor& a, const Tensor& b, Scalar beta, Scalar alpha) {
  if (const auto operands = ops::autocast("addmm", input, a, b))
    return addmm((*operands)[0], (*operands)[1], (*operands)[2], beta, alpha);
  check(a.dim() == 2 && b.dim() == 2, "addmm: expected matrices, got shapes ", a.shape(), " and ", b.shape());
  return add(mul(input, wrap_scalar(beta, input)), mm(a, b), alpha);
}

Tensor bmm(const Tensor& a, const Tensor& b) {
  if (const auto operands = ops::autocast("bmm", a, b)) return bmm((*operands)[0], (*operands)[1]);
  check(a.dim() == 3, "bmm: batch1 must be a 3D tensor, but got ", ops::brackets(a.shape()));
  check(b.dim() == 3, "bmm: batch2 must be a 3D tensor, but got ", ops::brackets(b.shape()));
  check(a.shape()[0] == b.shape()[0] && a.shape()[2] == b.shape()[1],
        "bmm: Expected size for first two dimensions of batch2 tensor to be: [", a.shape()[0], ", ", a.shape()[2],
        "] but got: [", b.shape()[0], ", ", b.shape()[1], "].");
  check_dtypes(a, b, "bmm");
  return record_matmul(a, b);
}

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  if (const auto operands = ops::autocast("linear", input, weight, bias))
    return linear((*operands)[0], (*operands)[1], (*operands)[2]);
  check(input.dim() > 0 && weight.dim() > 0, "both arguments to linear need to be at least 1D, but they are ",
        input.dim(), "D and ", weight.dim(), "D");
  check(weight.dim() <= 2, "linear: weight must be 1D or 2D, but got ", ops::brackets(weight.shape()));
  check_dtypes(input, weight, "linear");
  check(!bias.defined() || bias.dtype() == input.dtype(), "linear: expected bias of dtype ", input.dtype(),
        ", but got: ", bias.defined() ? bias.dtype() : input.dtype());
  if (weight.dim() == 1) {
    check(!bias.defined() || bias.dim() == 0, "linear: a 1D weight goes with a 0D bias, but got ",
          ops::brackets(bias.defined() ? bias.shape() : Shape{}));
    const Tensor result = matmul(input, weight);
    return bias.defined() ? add(result, bias) : result;
  }
  const int64_t out = weight.shape()[0], in = weight.shape()[1];
  check_product(rows_of(input), input.shape().back(), {in, out}, "linear");
  if (bias.defined() && bias.dim() >= 2 && bias.dim() <= input.dim()) {
    const Tensor product = linear(input, weight);
    return add(product, expand(bias, product.shape()));
  }
  if (bias.defined())
    check(bias.dim() == 0 || (bias.dim() == 1 && (bias.shape()[0] == out || bias.shape()[0] == 1)),
          "linear: expected bias of size [", out, "], but got ", ops::brackets(bias.shape()));
  const Tensor x = as_matrix(input);
  const Spec spec{{x.shape()[0], out}, input.dtype()};
  const auto op = std::make_shared<Linear>(x.requires_grad(), weight.requires_grad());
  const Tensor result = bias.defined() ? record(op, {x, weight, bias}, spec) : record(op, {x, weight}, spec);
  if (input.dim() == 2) return result;
  Shape shape = input.shape();
  shape[shape.size() - 1] = out;
  return reshape(result, shape);
}

}  // namespace pycnn
