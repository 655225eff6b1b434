#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> reduction_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      // -- sums and products of elements ------------------------------------------------------------------------------
      {"sum", R"(The sum over some or all dimensions. Its order depends on the shape alone, not on threads.

Args:
    input: any shape and dtype.
    dim: one or several dimensions; None or () for all.
    keepdim: keep reduced dimensions with size 1.
    dtype: converts input first.

Returns:
    input's shape without the reduced dimensions; input's dtype, int64 for integers and bool. Of nothing it is 0.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"mean", R"(The mean over some or all dimensions: sum() divided by the number of elements.

Args:
    input: any shape, floating (or with a floating `dtype`).
    dim: one or several dimensions; None or () for all.
    keepdim: keep reduced dimensions with size 1.
    dtype: converts input first.

Returns:
    input's shape without the reduced dimensions, input's dtype. Of nothing it is NaN.

Errors: IndexError for a dimension out of range; RuntimeError for one given twice or integers.)"},
      {"prod", R"(The product along a dimension or of all elements. The gradient is right for zeros as well.

Args:
    input: any shape and dtype.
    dim: one dimension, or None for all.
    keepdim: keep reduced dimensions with size 1.
    dtype: converts input first.

Returns:
    input's shape without the reduced dimensions; input's dtype, int64 for integers and bool. Of nothing it is 1.

Errors: IndexError for a dimension out of range.)"},
      {"any", R"(Whether at least one element is not 0 (NaN is not 0); false for none.

Args:
    input: any shape and dtype.
    dim: one or several dimensions; None or () for all.
    keepdim: keep reduced dimensions with size 1.

Returns:
    bool (uint8 for uint8), of input's shape without the reduced dimensions.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"all", R"(Whether every element is not 0 (NaN is not 0); true for none.

Args:
    input: any shape and dtype.
    dim: one or several dimensions; None or () for all.
    keepdim: keep reduced dimensions with size 1.

Returns:
    bool (uint8 for uint8), of input's shape without the reduced dimensions.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"count_nonzero", R"(How many elements are not 0 (NaN is not 0).

Args:
    input: any shape and dtype.
    dim: one or several dimensions; None or () for all.

Returns:
    int64, of input's shape without the reduced dimensions.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"logsumexp", R"(log(sum(exp(input))) over one or several dimensions, the maximum subtracted first: no overflow.

Gradient: softmax of input over these dimensions.

Args:
    input: any shape and dtype; integers and bool are converted to the default dtype.
    dim: one or several dimensions.
    keepdim: keep reduced dimensions with size 1.

Returns:
    input's shape without the reduced dimensions, floating. Of nothing it is minus infinity.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"cumsum", R"(The sum of the elements up to and with each place along a dimension.

Args:
    input: any shape and dtype.
    dim: the dimension.
    dtype: what is added up; None for input's dtype, or int64 for integers and bool.

Returns:
    input's shape. float32 is added up in float64 and rounded at every place.

Errors: IndexError for a dimension out of range.)"},
      {"cumprod", R"(The product of the elements up to and with each place along a dimension.

Its gradient is right with any number of zeros.

Args:
    input: any shape and dtype.
    dim: the dimension.
    dtype: what is multiplied; None for input's dtype, or int64 for integers and bool.

Returns:
    input's shape.

Errors: IndexError for a dimension out of range.)"},
      {"logcumsumexp", R"(log(cumsum(exp(input))) along a dimension, without overflow.

Args:
    input: any shape, floating.
    dim: the dimension.

Returns:
    input's shape and dtype.

Errors: IndexError for a dimension out of range; NotImplementedError for integers and bool.)"},
      {"cummax",
       R"(The largest element up to and with each place along a dimension, and where it is (the last of equals).

NaN counts as the largest. Gradients go to the elements found.

Args:
    input: any shape and dtype.
    dim: the dimension.

Returns:
    (values, indices), both of input's shape.

Errors: IndexError for a dimension out of range.)"},
      {"cummin",
       R"(The smallest element up to and with each place along a dimension, and where it is (the last of equals).

NaN counts as the smallest. Gradients go to the elements found.

Args:
    input: any shape and dtype.
    dim: the dimension.

Returns:
    (values, indices), both of input's shape.

Errors: IndexError for a dimension out of range.)"},
      {"sort", R"(The elements in order along a dimension, and where they were. NaN counts as the largest.

Gradients go to the elements' places.

Args:
    input: any shape and dtype.
    dim: the dimension.
    descending: the largest first.
    stable: accepted; equal elements always keep their order.

Returns:
    (values, indices), both of input's shape.

Errors: IndexError for a dimension out of range.)"},
      {"argsort", R"(Where the elements in order along a dimension were: sort(input, dim, descending)[1].

Args:
    input: any shape and dtype.
    dim: the dimension.
    descending: the largest first.
    stable: accepted; equal elements always keep their order.

Returns:
    int64, of input's shape.

Errors: IndexError for a dimension out of range.)"},

      // -- moments ----------------------------------------------------------------------------------------------------
      {"var", R"(The variance: sum((input - mean)^2) / max(n - correction, 0) over n elements.

The mean is subtracted before anything is squared, so large means cost no digits.

Args:
    input: any shape, floating.
    dim: one or several dimensions; None or () for all. A bool in its place is taken for `unbiased`.
    unbiased: True (default) for a correction of 1 (Bessel's), False for 0.
    keepdim: keep reduced dimensions with size 1.
    correction: any number; takes precedence over `unbiased`.

Returns:
    input's shape without the reduced dimensions, input's dtype. NaN for one element (0/0).

Errors: RuntimeError for integers or a dimension given twice, IndexError for one out of range.)"},
      {"std", R"(The standard deviation, sqrt(var()). Its gradient is taken as 0 where it is 0.

Args:
    input: any shape, floating.
    dim: one or several dimensions; None or () for all. A bool in its place is taken for `unbiased`.
    unbiased: True (default) for a correction of 1 (Bessel's), False for 0.
    keepdim: keep reduced dimensions with size 1.
    correction: any number; takes precedence over `unbiased`.

Returns:
    input's shape without the reduced dimensions, input's dtype. NaN for one element (0/0).

Errors: RuntimeError for integers or a dimension given twice, IndexError for one out of range.)"},
      {"var_mean", R"((var(), mean()) in one pass over the elements; arguments, dtypes and errors as in var().

Args:
    input: any shape, floating.
    dim, unbiased, keepdim, correction: see var().

Returns:
    A tuple of two tensors of input's shape without the reduced dimensions.

Errors: RuntimeError for integers or a dimension given twice, IndexError for one out of range.)"},
      {"std_mean", R"((std(), mean()) in one pass over the elements; arguments, dtypes and errors as in var().

Args:
    input: any shape, floating.
    dim, unbiased, keepdim, correction: see var().

Returns:
    A tuple of two tensors of input's shape without the reduced dimensions.

Errors: RuntimeError for integers or a dimension given twice, IndexError for one out of range.)"},
      {"norm", R"((sum |input|^p)^(1/p): the vector norm of all elements or along dimensions.

p = inf takes the largest |input|, p = 0 the number of elements that are not 0. The gradient is 0 where the norm is 0.

Args:
    input: any shape, floating (or with a floating `dtype`).
    p: a number of at least 0, or "fro" or None for 2.
    dim: one or several dimensions; None or () for all.
    keepdim: keep reduced dimensions with size 1.
    dtype: converts input first.

Returns:
    input's shape without the reduced dimensions, input's dtype.

Errors: ValueError for p < 0, NotImplementedError for other names; RuntimeError for integers or, with p = inf, for
nothing; IndexError for a dimension out of range.)"},

      // -- extremes ---------------------------------------------------------------------------------------------------
      {"max", R"(The largest element; NaN if there is one. Equal ones share the gradient.

Args:
    input: any shape and dtype.

Returns:
    Shape (), input's dtype.

Errors: RuntimeError if there is no element.)"},
      {"max 2", "The larger operand, elementwise: maximum(input, other)."},
      {"max 3", R"(The largest elements along a dimension and where they are; the gradient goes there.

Of equal ones the first is taken, of numbers and NaN the first NaN.

Args:
    input: any shape and dtype.
    dim: the dimension.
    keepdim: keep it with size 1.

Returns:
    (values, indices), named: input's shape without the dimension; input's dtype and int64.

Errors: IndexError for a dimension out of range or of size 0.)"},
      {"min", R"(The smallest element; NaN if there is one. Equal ones share the gradient.

Args:
    input: any shape and dtype.

Returns:
    Shape (), input's dtype.

Errors: RuntimeError if there is no element.)"},
      {"min 2", "The smaller operand, elementwise: minimum(input, other)."},
      {"min 3", R"(The smallest elements along a dimension and where they are; the gradient goes there.

Of equal ones the first is taken, of numbers and NaN the first NaN.

Args:
    input: any shape and dtype.
    dim: the dimension.
    keepdim: keep it with size 1.

Returns:
    (values, indices), named: input's shape without the dimension; input's dtype and int64.

Errors: IndexError for a dimension out of range or of size 0.)"},
      {"amax", R"(The largest elements over some or all dimensions; NaN if there is one. Equal ones share the gradient.

Args:
    input: any shape and dtype.
    dim: one or several dimensions; () for all.
    keepdim: keep reduced dimensions with size 1.

Returns:
    input's shape without the reduced dimensions, input's dtype.

Errors: IndexError for a dimension out of range or of size 0; RuntimeError for one given twice or no element at all.)"},
      {"amin", R"(The smallest elements over some or all dimensions; NaN if there is one. Equal ones share the gradient.

Args:
    input: any shape and dtype.
    dim: one or several dimensions; () for all.
    keepdim: keep reduced dimensions with size 1.

Returns:
    input's shape without the reduced dimensions, input's dtype.

Errors: IndexError for a dimension out of range or of size 0; RuntimeError for one given twice or no element at all.)"},
      {"argmax", R"(Where the largest element is: the first of equal ones, the first NaN if there is one. No gradient.

Args:
    input: any shape, any dtype but bool.
    dim: a dimension, or None for the position in row-major order among all elements.
    keepdim: keep reduced dimensions with size 1.

Returns:
    int64, of input's shape without the reduced dimensions.

Errors: IndexError for a dimension out of range or of size 0, or no element at all; RuntimeError for bool.)"},
      {"argmin", R"(Where the smallest element is: the first of equal ones, the first NaN if there is one. No gradient.

Args:
    input: any shape, any dtype but bool.
    dim: a dimension, or None for the position in row-major order among all elements.
    keepdim: keep reduced dimensions with size 1.

Returns:
    int64, of input's shape without the reduced dimensions.

Errors: IndexError for a dimension out of range or of size 0, or no element at all; RuntimeError for bool.)"},

      // -- products of matrices ---------------------------------------------------------------------------------------
      {"matmul", R"(The matrix product, with NumPy's rules for vectors and stacks.

Sums are in float32 for 16-bit floats, in int64 for integers.

Args:
    input: (..., M, K), or a vector (K,) that counts as one row.
    other: (..., K, N), or a vector (K,) that counts as one column.

Returns:
    (..., M, N), leading dimensions broadcast; a vector's dimension of size 1 is left out. The operands' dtype.

Errors: RuntimeError for sizes that do not fit, a tensor of shape () or dtypes that differ; NotImplementedError for
bool.)"},
      {"mm", R"(The product of two matrices; matmul() without broadcasting.

Args:
    input: (M, K).
    mat2: (K, N), of input's dtype.

Returns:
    (M, N), of that dtype.

Errors: RuntimeError for other shapes or dtypes that differ; NotImplementedError for bool.)"},
      {"bmm", R"(The products of two stacks of matrices; matmul() without broadcasting.

Args:
    input: (B, M, K).
    mat2: (B, K, N), of input's dtype.

Returns:
    (B, M, N), of that dtype.

Errors: RuntimeError for other shapes or dtypes that differ; NotImplementedError for bool.)"},
      {"mv", R"(The product of a matrix and a vector.

Args:
    input: (M, K).
    vec: (K,), of input's dtype.

Returns:
    (M,), of that dtype.

Errors: RuntimeError for other shapes or dtypes that differ; NotImplementedError for bool.)"},
      {"dot", R"(The inner product of two vectors, sum(input * tensor).

Args:
    input: (K,).
    tensor: (K,), of input's dtype.

Returns:
    Shape (), of that dtype.

Errors: RuntimeError for other shapes or dtypes that differ; NotImplementedError for bool.)"},
      {"outer", R"(The outer product of two vectors, input[i] * vec2[j].

Args:
    input: (M,).
    vec2: (N,).

Returns:
    (M, N), in the promoted dtype.

Errors: RuntimeError for other shapes.)"},
      {"addmm", R"(beta * input + alpha * (mat1 @ mat2). Unlike BLAS, input counts also for beta = 0 if it holds NaN.

Args:
    input: a shape that broadcasts with (M, N).
    mat1: (M, K).
    mat2: (K, N), of mat1's dtype.
    beta, alpha: numbers.

Returns:
    The broadcast shape, in the promoted dtype.

Errors: RuntimeError for shapes that do not fit or matrices whose dtypes differ; NotImplementedError for bool.)"},
      {"Tensor.softmax", R"(exp(self) / sum(exp(self)) along `dim`; see pycnn.nn.functional.softmax.

Args:
    dim: the dimension that sums to 1.
    dtype: converts self first.

Returns:
    self's shape and dtype (or `dtype`).

Errors: IndexError for a dimension out of range, NotImplementedError for integers and bool.)"},
      {"Tensor.log_softmax", R"(log(softmax(self)) along `dim`; see pycnn.nn.functional.log_softmax.

Args:
    dim: the dimension along which the exponentials sum to 1.
    dtype: converts self first.

Returns:
    self's shape and dtype (or `dtype`).

Errors: IndexError for a dimension out of range, NotImplementedError for integers and bool.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
