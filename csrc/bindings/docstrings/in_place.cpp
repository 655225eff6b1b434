// The in-place methods that are more than a function followed by an underscore.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> in_place_docstrings() {
  static const Docstring rows[] = {
      {"Tensor.zero_", R"(Every element becomes 0, in place; self is returned. Any shape and dtype.

Errors: RuntimeError if self is a leaf that requires grad (or a view of one) in grad mode.)"},
      {"Tensor.fill_", R"(Every element becomes `value`, in place; self is returned. Any shape.

Args:
    value: a number or a tensor of shape (), converted to self's dtype.

Errors: RuntimeError if value has dimensions, or self is a leaf that requires grad (or a view of one) in grad mode.)"},
      {"Tensor.copy_", R"(The elements of `src`, in place; self is returned. Gradients flow to src.

Args:
    src: a tensor whose shape broadcasts to self's, of any dtype; converted to self's.
    non_blocking: accepted and ignored.

Errors: RuntimeError if the shapes do not fit, or self is a leaf that requires grad (or a view of one) in grad mode.)"},
      {"Tensor.uniform_", R"(Uniform numbers from [from_, to), in place; self is returned. Any shape, floating.

The numbers depend on the default generator's seed and the calls before, not on threads (Philox 4x32-10, Salmon et al.
2011).

Args:
    from_, to: the bounds.
    generator: what draws; None for the default generator.

Errors: RuntimeError if from_ > to, or self is a leaf that requires grad in grad mode; NotImplementedError for integers.)"},
      {"Tensor.normal_", R"(Normal numbers, in place; self is returned. Any shape, floating.

From the default generator, as Tensor.uniform_.

Args:
    mean: their mean.
    std: their standard deviation, at least 0.
    generator: what draws; None for the default generator.

Errors: RuntimeError if std < 0, or self is a leaf that requires grad in grad mode; NotImplementedError for integers.)"},
      {"Tensor.exponential_", R"(Exponentially distributed numbers, in place; self is returned. Any shape, floating.

Args:
    lambd: their rate, above 0.
    generator: what draws; None for the default generator.

Errors: RuntimeError for another rate, or if self is a leaf that requires grad in grad mode; NotImplementedError for
integers.)"},
      {"Tensor.bernoulli_", R"(1 with probability p, else 0, in place; self is returned. Any shape and dtype.

Args:
    p: a number in 0..1, or a floating tensor of probabilities whose shape broadcasts to self's.
    generator: what draws; None for the default generator.

Errors: RuntimeError for a p outside 0..1, or if self is a leaf that requires grad in grad mode; NotImplementedError
if p is an integer tensor.)"},
      {"Tensor.random_", R"(Uniform integers, in place; self is returned. Any shape and dtype.

random_(to) draws from 0..to-1, random_(from_, to) from from_..to-1, random_() from 0 up to the largest integer that
the dtype holds exactly.

Args:
    from_, to: integers.
    generator: what draws; None for the default generator.

Errors: RuntimeError if from_ >= to, or self is a leaf that requires grad in grad mode.)"},
      {"Tensor.t_", "Exchanges the dimensions of self itself, a matrix (N, M), and returns it; see Tensor.t."},
      {"Tensor.transpose_", "Exchanges dim0 and dim1 of self itself, any shape, and returns it; see Tensor.transpose."},
      {"Tensor.swapaxes_",
       "Exchanges axis0 and axis1 of self itself, any shape, and returns it; see Tensor.transpose."},
      {"Tensor.swapdims_", "Exchanges dim0 and dim1 of self itself, any shape, and returns it; see Tensor.transpose."},
      {"Tensor.squeeze_", R"(Removes dimensions of size 1 from self itself, which is returned; see Tensor.squeeze.

Args:
    dim: one or several dimensions, or None for all of size 1.

Errors: IndexError for a dimension out of range; RuntimeError if self is a leaf that requires grad in grad mode.)"},
      {"Tensor.unsqueeze_", R"(Gives self itself a dimension of size 1 at `dim`, and returns it; see Tensor.unsqueeze.

Args:
    dim: where, in -self.dim()-1 .. self.dim().

Errors: IndexError for a dimension out of range; RuntimeError if self is a leaf that requires grad in grad mode.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
