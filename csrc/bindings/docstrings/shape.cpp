// Shapes, joining, splitting, indexing.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> shape_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      // -- views ------------------------------------------------------------------------------------------------------
      {"Tensor.view",
       R"(The same elements in row-major order with another shape: a view, so changes in place show in self too.

Args:
    *sizes: the sizes, one by one or as one sequence; one may be -1 and is computed. A dtype in their place must be
        self's own and gives self.
    shape: the sizes as a keyword.

Returns:
    The view, of self's dtype.

Errors: RuntimeError if the number of elements differs, or if self is a transposed or expanded view whose elements no
strides can give in that order (use reshape()); NotImplementedError for another dtype.)"},
      {"reshape",
       R"(The same elements in row-major order with another shape: a view where view() can make one, else a copy.

Args:
    input: any shape and dtype.
    shape: the sizes; one may be -1 and is computed.

Returns:
    A tensor of that shape, of input's dtype.

Errors: RuntimeError if the number of elements differs or more than one size is -1.)"},
      {"Tensor.reshape",
       R"(The same elements in row-major order with another shape: a view where view() can make one, else a copy.

Args:
    *sizes: the sizes, one by one or as one sequence; one may be -1 and is computed.
    shape: the sizes as a keyword.

Returns:
    A tensor of that shape, of self's dtype.

Errors: RuntimeError if the number of elements differs or more than one size is -1.)"},
      {"Tensor.view_as", R"(self.view(other.shape).

Args:
    other: a tensor whose shape is taken.

Errors: RuntimeError as for view().)"},
      {"Tensor.reshape_as", R"(self.reshape(other.shape).

Args:
    other: a tensor whose shape is taken.

Errors: RuntimeError if the number of elements differs.)"},
      {"flatten", R"(Joins the dimensions from start_dim to end_dim into one; shape () becomes (1,).

Image tensors are flattened in the logical order (C, H, W), however they lie in memory.

Args:
    input: any shape and dtype.
    start_dim, end_dim: the first and the last dimension that are joined.

Returns:
    A view where strides allow it, else a copy; input itself if there is nothing to join.

Errors: IndexError for a dimension out of range, RuntimeError if they are in the wrong order.)"},
      {"ravel", "input.reshape(-1): all elements in row-major order as a vector of shape (input.numel(),)."},
      {"unflatten", R"(Splits dimension `dim` into several of these sizes: a view.

Args:
    input: any shape and dtype.
    dim: the dimension.
    sizes: their product is its size; one may be -1 and is computed.

Returns:
    input's shape with `dim` replaced.

Errors: IndexError for a dimension out of range, RuntimeError if the sizes do not fit.)"},
      {"permute", R"(The dimensions in another order: a view.

Args:
    input: any shape and dtype.
    dims: for each dimension of the result, the one of input.

Returns:
    A view of shape (input.shape[dims[0]], ...).

Errors: RuntimeError unless dims names every dimension once, IndexError for one out of range.)"},
      {"Tensor.permute", R"(The dimensions in another order: a view.

Args:
    *order: for each dimension of the result, the one of self; one by one or as one sequence.
    dims: the order as a keyword.

Returns:
    A view of shape (self.shape[dims[0]], ...).

Errors: RuntimeError unless every dimension is named once, IndexError for one out of range.)"},
      {"transpose", R"(Two dimensions exchanged: a view.

Args:
    input: any shape and dtype.
    dim0, dim1: the dimensions.

Errors: IndexError for a dimension out of range.)"},
      {"swapdims", "transpose", Alias},
      {"swapaxes", R"(Two dimensions exchanged: a view, the same as transpose().

Args:
    input: any shape and dtype.
    axis0, axis1: the dimensions.

Errors: IndexError for a dimension out of range.)"},
      {"movedim", R"(Dimensions moved to other positions, the others keep their order: a view.

Args:
    input: any shape and dtype.
    source, destination: one dimension each, or as many in one as in the other.

Errors: RuntimeError if one is named twice or their numbers differ; IndexError for one out of range.)"},
      {"moveaxis", "movedim", Alias},
      {"t", R"(The transpose of a matrix, a view; vectors and shape () stay.

Args:
    input: at most 2 dimensions, any dtype.

Errors: RuntimeError for more dimensions.)"},
      {"Tensor.T", "All dimensions in reverse order: a view of any shape."},
      {"Tensor.mT", R"(The last two dimensions exchanged: a view of shape (..., N, M).

Errors: RuntimeError for fewer than 2 dimensions.)"},
      {"squeeze", R"(Removes dimensions of size 1: a view.

Args:
    input: any shape and dtype.
    dim: one or several dimensions, of which those of size 1 go; None for all of size 1.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"unsqueeze", R"(A new dimension of size 1: a view.

Args:
    input: any shape and dtype.
    dim: where it stands in the result; negative ones count from the result's end.

Errors: IndexError for a dimension out of range.)"},
      {"Tensor.expand", R"(Dimensions of size 1 repeated without copying: a view. Gradients are summed back.

Args:
    *size: the sizes, one by one or as one sequence; -1 keeps a size. More sizes than dimensions add some in front.
    implicit: accepted and ignored.

Errors: RuntimeError if a size other than 1 would change, or there are fewer sizes than dimensions.)"},
      {"Tensor.expand_as", R"(self.expand(other.shape).

Args:
    other: a tensor whose shape is taken.

Errors: RuntimeError if self's shape does not broadcast to it.)"},
      {"broadcast_to", R"(input with dimensions of size 1 repeated to this shape: a view; the same as Tensor.expand().

Args:
    input: any shape and dtype.
    size: the shape; -1 keeps a size.

Errors: RuntimeError if input's shape does not broadcast to it.)"},
      {"broadcast_tensors", R"(Views of all tensors in the shape to which they broadcast.

Args:
    *tensors: tensors of any dtypes, one by one or as one sequence.

Returns:
    A tuple of tensors.

Errors: RuntimeError if the shapes do not broadcast.)"},
      {"broadcast_shapes",
       R"(The shape to which these shapes broadcast: from the last dimension on sizes are equal, 1 or missing.

Args:
    *shapes: sequences of sizes, or one size each.

Returns:
    A Size.

Errors: RuntimeError if they do not broadcast.)"},
      {"Tensor.repeat", R"(self repeated along its dimensions, as a copy.

Args:
    *repeats: how often for each dimension of the result, one by one or as one sequence; more than there are dimensions
        add some in front.

Returns:
    self's sizes times the repeats, self's dtype.

Errors: RuntimeError for fewer repeats than dimensions, or negative ones.)"},
      {"tile", R"(input repeated along its dimensions, as a copy.

Args:
    input: any shape and dtype.
    dims: how often for each dimension; missing ones in front are 1, more than there are dimensions add some in front.

Returns:
    input's sizes times dims.

Errors: RuntimeError for negative repeats.)"},
      {"Tensor.tile", R"(self repeated along its dimensions, as a copy.

Args:
    *dims: how often for each dimension, one by one or as one sequence; missing ones in front are 1, more than there are
        dimensions add some in front.

Returns:
    self's sizes times dims.

Errors: RuntimeError for negative repeats.)"},
      {"clone", R"(A copy with a memory of its own; the gradient passes through.

Args:
    input: any shape and dtype.
    memory_format: accepted and ignored; the planner chooses.

Returns:
    input's shape and dtype.)"},
      {"numel", "The number of elements: the product of input's shape, an int."},
      {"is_floating_point", "Whether input, of any shape, is floating: float16, bfloat16, float32 or float64."},

      // -- joining and splitting --------------------------------------------------------------------------------------
      {"cat", R"(Tensors joined along a dimension that they have.

Args:
    tensors: a sequence of tensors of equal shapes but for `dim`; empty vectors are skipped.
    dim: the dimension.

Returns:
    Their shape with the sizes along `dim` added, in the promoted dtype.

Errors: ValueError for no tensor; RuntimeError for shapes that do not fit or of shape (); IndexError for a dimension
out of range.)"},
      {"concat", "cat", Alias},
      {"concatenate", "cat", Alias},
      {"stack", R"(Tensors joined along a new dimension.

Args:
    tensors: a sequence of tensors of one shape.
    dim: where the new dimension stands in the result.

Returns:
    Their shape with len(tensors) inserted at `dim`, in the promoted dtype.

Errors: RuntimeError for no tensor or shapes that differ; IndexError for a dimension out of range.)"},
      {"vstack", R"(Tensors joined along dimension 0; vectors (K,) count as rows (1, K).

Args:
    tensors: a sequence of tensors.

Returns:
    At least 2 dimensions, in the promoted dtype.

Errors: as for cat().)"},
      {"hstack", R"(Tensors joined along dimension 1, vectors along dimension 0.

Args:
    tensors: a sequence of tensors.

Errors: as for cat().)"},
      {"split", R"(Parts of a tensor along a dimension: views.

Args:
    tensor: any shape with a dimension, any dtype.
    split_size_or_sections: the size of every part (the last may be smaller), or a list of sizes.
    dim: the dimension.

Returns:
    A tuple of tensors.

Errors: RuntimeError for negative sizes, for a list that does not sum to the dimension's size, or shape (); IndexError
for a dimension out of range.)"},
      {"Tensor.split", R"(Parts of self along a dimension: views.

Args:
    split_size: the size of every part (the last may be smaller), or a list of sizes.
    dim: the dimension.

Returns:
    A tuple of tensors.

Errors: RuntimeError for negative sizes, for a list that does not sum to the dimension's size, or shape (); IndexError
for a dimension out of range.)"},
      {"chunk", R"(At most `chunks` parts of equal size (the last may be smaller) along a dimension: views.

Args:
    input: any shape with a dimension, any dtype.
    chunks: how many.
    dim: the dimension.

Returns:
    A tuple of tensors of size ceil(size / chunks) along `dim`.

Errors: RuntimeError for chunks < 1 or shape (); IndexError for a dimension out of range.)"},
      {"unbind", R"(The slices along a dimension, which is removed: views.

Args:
    input: any shape with a dimension, any dtype.
    dim: the dimension.

Returns:
    A tuple of input.shape[dim] tensors.

Errors: IndexError for a dimension out of range or shape ().)"},

      // -- indexing ---------------------------------------------------------------------------------------------------
      {"Tensor.__getitem__", R"(self[index], with NumPy's rules.

Args:
    index: integers, slices with positive steps, None, Ellipsis and bools give views; index tensors, lists and masks
        give copies, through which gradients flow. A mask and a known index tensor are evaluated.

Errors: IndexError for indices out of range, too many of them or of a wrong type; ValueError for steps below 1.)"},
      {"Tensor.__setitem__", R"(self[index] = value, in place; views of self see it, and gradients flow to value.

Args:
    index: as for self[index].
    value: a number, a sequence, or a tensor whose shape broadcasts to self[index]; converted to self's dtype.

Errors: IndexError as for self[index]; RuntimeError if value's shape does not fit, or self is a leaf that requires grad
(or a view of one) in grad mode.)"},
      {"select", R"(One slice along a dimension, which is removed: a view, input[:, ..., index].

Args:
    input: any shape with a dimension, any dtype.
    dim: the dimension.
    index: which; negative ones count from the end.

Errors: IndexError for a dimension or an index out of range.)"},
      {"narrow", R"(`length` slices along a dimension, from `start` on: a view.

Args:
    input: any shape with a dimension, any dtype.
    dim: the dimension.
    start: the first; negative ones count from the end.
    length: how many.

Errors: IndexError for a dimension or a start out of range; RuntimeError for a negative length or an end out of range.)"},
      {"flip", R"(The order along some dimensions reversed, as a copy.

Args:
    input: any shape and dtype.
    dims: one or several dimensions.

Returns:
    input's shape and dtype.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"Tensor.flip", R"(The order along some dimensions reversed, as a copy.

Args:
    *dims: the dimensions, one by one or as one sequence.

Returns:
    self's shape and dtype.

Errors: IndexError for a dimension out of range, RuntimeError for one given twice.)"},
      {"index_select", R"(The slices `index` of a dimension, as a copy. The gradient is added up where indices repeat.

Args:
    input: any shape and dtype.
    dim: the dimension.
    index: (K,), int64 or int32, in 0..size-1.

Returns:
    input's shape with K along `dim`, input's dtype.

Errors: IndexError for an index (now if it is known, else when it runs) or a dimension out of range, or an index of more
dimensions; RuntimeError for another dtype of index.)"},
      {"gather", R"(out[i][j]... = input[i][index[i][j]...]... along `dim`: one element per element of index.

The gradient is added up where indices repeat.

Args:
    input: any shape and dtype.
    dim: the dimension that is indexed.
    index: as many dimensions as input, no larger than input in the others; int64 or int32, in 0..size-1.

Returns:
    index's shape, input's dtype.

Errors: RuntimeError for shapes that do not fit, another dtype of index, or an index out of range that is known
(IndexError when it turns up as it runs); IndexError for a dimension out of range.)"},
      {"scatter", R"(A copy of input with out[index[i][j]...][j]... = src[i][j]... along `dim`, the reverse of gather().

Where indices repeat one of the values stays. Gradients flow to input (but where it was replaced) and to src.

Args:
    input: any shape and dtype.
    dim: the dimension that is indexed.
    index: as many dimensions as input, no larger than src, nor than input in the others; int64 or int32, in 0..size-1.
    src: a tensor of input's dtype, or a number.

Returns:
    input's shape and dtype.

Errors: RuntimeError for shapes that do not fit, dtypes that differ or a known index out of range; IndexError for a
dimension out of range.)"},
      {"scatter_add", R"(A copy of input with src[i][j]... added at out[index[i][j]...][j]... along `dim`.

Where indices repeat all values are added, in the order of src. Gradients flow to both.

Args:
    input: any shape and dtype.
    dim: the dimension that is indexed.
    index: as many dimensions as input, no larger than src, nor than input in the others; int64 or int32, in 0..size-1.
    src: a tensor of input's dtype.

Returns:
    input's shape and dtype.

Errors: RuntimeError for shapes that do not fit, dtypes that differ or a known index out of range; IndexError for a
dimension out of range.)"},
      {"masked_select", R"(The elements where mask is not 0, as a vector in row-major order. Evaluates mask.

Args:
    input: any dtype.
    mask: any dtype, of a shape that broadcasts with input's.

Returns:
    (count,), of input's dtype; gradients flow to input.

Errors: RuntimeError if the shapes do not broadcast.)"},
      {"nonzero", R"(The positions of the elements that are not 0, in row-major order. Evaluates input.

Args:
    input: any shape and dtype.
    as_tuple: one vector per dimension, in a tuple, fit for indexing.

Returns:
    int64, (count, input.dim()), or a tuple of vectors (count,).)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
