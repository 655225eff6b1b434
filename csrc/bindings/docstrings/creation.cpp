// Tensors from nothing, from data, from other libraries.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> creation_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      // -- from data --------------------------------------------------------------------------------------------------
      {"tensor", R"(A tensor with a copy of `data`.

Args:
    data: a number, nested sequences of numbers, a NumPy array or a tensor.
    dtype: by default an array's own; for numbers the default dtype for floats, int64 for ints, bool for bools.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.
    pin_memory: accepted and ignored.

Returns:
    A leaf of data's shape.

Errors: ValueError for ragged sequences; TypeError for strings and arrays of other dtypes; RuntimeError for other types,
for numbers beyond the dtype's range, or if integers shall require a gradient.)"},
      {"Tensor.new_tensor", R"(A tensor with a copy of `data`, by default of self's dtype; see pycnn.tensor.

Args:
    data: a number, nested sequences of numbers, a NumPy array or a tensor.
    dtype: None for self's.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Returns:
    A leaf of data's shape.

Errors: as for pycnn.tensor.)"},
      {"from_numpy", R"(A tensor with an array's elements. Writable memory is copied now, read-only memory is shared.

So refilling the array later changes nothing that was recorded.

Args:
    ndarray: an array of bool, integers (uint8, int8 to int64) or floats (float16 to float64); any strides.

Returns:
    A tensor of its shape and dtype.

Errors: TypeError for what is no array, or for other dtypes.)"},
      {"as_tensor",
       R"(`data` itself if it is a tensor of that dtype; otherwise as from_numpy() for arrays, tensor() for the rest.

An array of another library on a GPU (with `__cuda_array_interface__`) shares its memory, as in from_dlpack(): this
thread's stream there waits for the one that the array names.

Args:
    data: a tensor, a NumPy array, an array on a GPU, a number or nested sequences of numbers.
    dtype: None for its own.
    device: None for where it lies, the CPU for numbers.

Returns:
    A tensor of data's shape.

Errors: as for tensor() and from_numpy().)"},
      {"asarray", R"(`obj` as a tensor, without a copy where it is one of that dtype; see as_tensor().

Args:
    obj: a tensor, a NumPy array, a number or nested sequences of numbers.
    dtype: None for its own.
    device: "cpu" or None.

Returns:
    A tensor of obj's shape.

Errors: as for tensor() and from_numpy().)"},
      {"from_dlpack",
       R"(A tensor from another library by the DLPack protocol. Writable memory is copied, read-only memory shared.

A GPU's memory is always shared. Its producer is told this thread's stream there, which waits for what the producer has
given its own; it has the memory back when the streams that compute with the tensor are done with it.

Args:
    ext_tensor: an object with __dlpack__, or a DLPack capsule, on the CPU or a GPU.

Returns:
    A tensor of its shape and dtype, without gradient.

Errors: TypeError for anything else or an unknown dtype, RuntimeError for memory of other devices.)"},
      {"scalar_tensor", R"(A tensor of shape () with the number s.

Args:
    s: a number, or a tensor with one element.
    dtype: None for the default dtype.
    device: "cpu" or None.
    requires_grad: whether autograd records what is done with it.

Errors: RuntimeError for a tensor with more elements or none.)"},
      {"is_tensor", "Whether obj is a Tensor."},

      // -- constants and ranges ---------------------------------------------------------------------------------------
      {"zeros", "Zeros of this shape.", CreationSizes},
      {"ones", "Ones of this shape.", CreationSizes},
      {"empty", "A tensor of this shape to be filled. Its elements are 0: pycnn has no uninitialised memory.",
       CreationSizes},
      {"zeros_like", "Zeros of input's shape and dtype.", CreationLike},
      {"ones_like", "Ones of input's shape and dtype.", CreationLike},
      {"empty_like", "A tensor of input's shape and dtype to be filled; its elements are 0.", CreationLike},
      {"rand_like", "Uniform numbers from [0, 1) of input's shape and dtype; see rand().", RandomLike, nullptr,
       "NotImplementedError for integers"},
      {"randn_like", "Standard normal numbers of input's shape and dtype; see randn().", RandomLike, nullptr,
       "NotImplementedError for integers"},
      {"Tensor.new_zeros", "Zeros of this shape, by default of self's dtype.", CreationNew},
      {"Tensor.new_ones", "Ones of this shape, by default of self's dtype.", CreationNew},
      {"Tensor.new_empty", "A tensor of this shape to be filled, by default of self's dtype; its elements are 0.",
       CreationNew},
      {"full", R"(A tensor of this shape, filled with one number.

Args:
    size: the sizes.
    fill_value: the number.
    dtype: None for the default dtype (floats), int64 (ints) or bool (bools).
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Errors: RuntimeError for negative sizes or if integers shall require a gradient.)"},
      {"full_like", R"(A tensor of input's shape, filled with one number.

Args:
    input: the tensor whose shape is taken.
    fill_value: the number.
    dtype: None for input's.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.
    memory_format: accepted and ignored.

Errors: RuntimeError if integers shall require a gradient.)"},
      {"Tensor.new_full", R"(A tensor of this shape, filled with one number.

Args:
    size: the sizes.
    fill_value: the number.
    dtype: None for self's.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Errors: RuntimeError for negative sizes or if integers shall require a gradient.)"},
      {"arange", R"(start, start + step, ... as long as it is below end (above it for a negative step).

Element i is start + i * step, computed in float64 or int64.

Args:
    *args: end; start and end; or start, end and step.
    start, end, step: the same as keywords; by default start is 0 and step 1.
    dtype: None for int64 if all are ints, else the default dtype.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Returns:
    A vector of ceil((end - start) / step) elements.

Errors: RuntimeError for a step of 0 or of the wrong sign, or infinite bounds; TypeError if the end is missing.)"},
      {"linspace", R"(`steps` numbers at equal distances from start to end, both included and exact.

Args:
    start, end: the first and the last number.
    steps: how many.
    dtype: None for the default dtype.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Returns:
    A vector (steps,).

Errors: RuntimeError for steps < 0.)"},
      {"eye", R"(The matrix with ones on the diagonal and zeros elsewhere.

Args:
    n: rows.
    m: columns; None for n.
    dtype: None for the default dtype.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.

Returns:
    (n, m).

Errors: RuntimeError for negative sizes.)"},

      // -- random numbers ---------------------------------------------------------------------------------------------
      {"rand", "Uniform numbers from [0, 1).", RandomSizes,
       R"(Philox 4x32-10 (Salmon et al. 2011) with a key drawn from the default generator at the call: the numbers depend on
the seed and the calls before, not on threads.)",
       "NotImplementedError for integers"},
      {"randn",
       "Standard normal numbers: mean 0, standard deviation 1 (Box and Muller 1958), random bits as in rand().",
       RandomSizes, nullptr, "NotImplementedError for integers"},
      {"randint", R"(Uniform integers from low..high-1, random bits as in rand().

Args:
    low, high: the bounds, high excluded.
    size: the sizes.
    dtype: None for int64.
    device: "cpu" or None.
    requires_grad: whether backward() adds to its grad.
    generator: what draws; None for the default generator.

Errors: RuntimeError for low >= high or negative sizes.)"},
      {"randint 2", R"(Uniform integers from 0..high-1.

Args:
    high, size, dtype, device, requires_grad, generator: as above.

Errors: RuntimeError for high < 1 or negative sizes.)"},
      {"randperm", R"(0..n-1 in random order (Fisher-Yates), from the default generator or a pycnn.Generator.

Args:
    n: how many.
    dtype: None for int64.
    device: "cpu" or None.
    generator: None for the default one.

Returns:
    A vector (n,).

Errors: RuntimeError for n < 0.)"},
      {"bernoulli", R"(1 with a probability, else 0, elementwise; without gradient. Random bits as in rand().

Args:
    input: the probabilities, any shape, floating; with `p` only shape and dtype count, and any dtype will do.
    p: one probability for all, or None.
    generator: what draws; None for the default generator.

Returns:
    input's shape and dtype.

Errors: RuntimeError for probabilities outside 0..1 (those of input where they are known); NotImplementedError for
integers without p.)"},
      {"multinomial", R"(Places in the last dimension of input, drawn in proportion to the weights there.

Args:
    input: weights, (N,) or (M, N), floating, finite, at least 0; they need not add up to 1.
    num_samples: how many.
    replacement: whether a place may be drawn again.
    generator: what draws; None for the default generator.

Returns:
    (num_samples,) or (M, num_samples), int64.

Errors: RuntimeError for other shapes and dtypes, for other weights, or if there are not enough of them above 0.)"},
      {"normal", R"(Normal numbers, mean + std * randn(...).

Args:
    mean: a number, or a tensor of means.
    std: a number, or a tensor of standard deviations whose shape broadcasts with mean's.
    size: the sizes, if both are numbers.
    dtype: None for the default dtype; with a size only.
    device: "cpu".
    requires_grad: whether the result wants its gradient; with a size only.
    generator: what draws; None for the default generator.

Returns:
    The shape `size`, or that of mean and std broadcast.

Errors: TypeError if both are numbers and there is no size, or a size beside tensors; RuntimeError for a number std < 0
or shapes that do not broadcast; NotImplementedError if the first tensor is of integers.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
