// What Tensor alone has: attributes, conversions, gradients, Python's protocols.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> tensor_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      {"Tensor.__init__",
       R"(Another handle of `data`, sharing value, gradient and changes in place; what subclasses build on.

Args:
    data: a tensor.)"},
      {"Tensor.__init__ 2",
       R"(Tensor(sizes...) holds zeros of this shape, Tensor(sequence or array) a copy; of the default dtype.

Errors: TypeError or ValueError as for pycnn.tensor().)"},

      // -- attributes -------------------------------------------------------------------------------------------------
      {"Tensor.shape", "The sizes of the dimensions, a Size (a tuple of ints). Known before anything is computed."},
      {"Tensor.size", R"(The shape, or one of its sizes.

Args:
    dim: a dimension, or None for the whole shape.

Errors: IndexError for a dimension out of range.)"},
      {"Tensor.dim", "The number of dimensions, an int; 0 for shape ()."},
      {"Tensor.ndimension", "Tensor.dim", Alias},
      {"Tensor.ndim", "The number of dimensions, an int; 0 for shape ()."},
      {"Tensor.nelement", "numel", Alias},
      {"Tensor.element_size", "The size of one element in bytes, an int given by the dtype."},
      {"Tensor.itemsize", "The size of one element in bytes, an int given by the dtype."},
      {"Tensor.nbytes", "The size of all elements in bytes, an int: numel() * itemsize."},
      {"Tensor.dtype", "The type of the elements, such as pycnn.float32. Known before anything is computed."},
      {"Tensor.device", "Where the tensor lives: device(type='cpu'), or a GPU, device(type='cuda', index=0)."},
      {"Tensor.is_cuda", "Whether the tensor lives on a GPU."},
      {"Tensor.is_sparse", "Whether the tensor is stored sparsely: False, there are dense ones only."},
      {"Tensor.get_device", "The index of the tensor's GPU, -1 for the CPU."},
      {"Tensor.is_complex", "Whether the dtype is complex: False, there is none."},
      {"Tensor.is_signed", "Whether the dtype has negative numbers: all but bool and uint8."},
      {"Tensor.stride", R"(Steps between neighbours in elements, as PyTorch's for views of a row-major tensor.

How elements really lie in memory is the planner's affair; see Tensor.numpy for that.

Args:
    dim: a dimension, or None for all of them as a tuple.

Errors: IndexError for a dimension out of range.)"},
      {"Tensor.is_contiguous",
       R"(Whether stride() is row-major. 4-D and 5-D tensors count as channels-last too: so the planner keeps images.

Args:
    memory_format: contiguous_format, channels_last or channels_last_3d.)"},
      {"Tensor.storage_offset",
       "Where the first element of a view lies in the tensor it is a view of, whose elements count row by row."},
      {"Tensor.is_evaluated", "Whether the value has been computed already. Never computes it."},
      {"Tensor.is_same_value", R"(Whether both denote the same value of the graph now (not merely equal elements).

Args:
    other: a tensor.)"},
      {"Tensor.is_set_to", R"(Whether both denote the same value of the graph now; is_same_value().

Args:
    tensor: a tensor.)"},
      {"Tensor.is_pinned", "Whether the memory is page-locked, so that a GPU copies from it by itself."},
      {"Tensor.pin_memory", R"(A copy in page-locked memory, from which `to(device, non_blocking=True)` does not wait.

self if it is there already, or if there is no GPU.

Errors: RuntimeError for a tensor on a GPU, OutOfMemoryError if no memory can be locked.)"},

      {"Tensor.record_stream",
       R"(Says that a stream is given work on this tensor's memory which pycnn does not know of.

Once nobody refers to it, the memory goes to other tensors when what the stream has been given by then is done. What
pycnn's functions do in any stream it knows by itself; kernels of other libraries that were given `data_ptr()`,
`__cuda_array_interface__` or DLPack's capsule, it does not. Evaluates; what is written in place later may lie
elsewhere.

Args:
    stream: a `pycnn.cuda.Stream`, of any GPU.

Errors: RuntimeError for a tensor on the CPU.)"},

      // -- numbers and Python's protocols -----------------------------------------------------------------------------
      {"Tensor.item", R"(The only element as Python's bool, int or float. Evaluates.

Errors: RuntimeError unless there is exactly one element.)"},
      {"Tensor.tolist", "The elements as nested lists of Python's numbers, or one number for shape (). Evaluates."},
      {"Tensor.__bool__", R"(Whether the only element is not 0. Evaluates.

Errors: RuntimeError unless there is exactly one element.)"},
      {"Tensor.__float__", R"(The only element as a float. Evaluates.

Errors: ValueError unless there is exactly one element.)"},
      {"Tensor.__int__", R"(The only element as an int, without its fraction. Evaluates.

Errors: ValueError unless there is exactly one element, OverflowError or ValueError for infinity and NaN.)"},
      {"Tensor.__index__", R"(The only element as an index, for lists and range(). Evaluates.

Errors: TypeError unless it is one integer.)"},
      {"Tensor.__len__", R"(The size of dimension 0.

Errors: TypeError for shape ().)"},
      {"Tensor.__iter__", R"(Over unbind(self, 0): the slices along dimension 0.

Errors: TypeError for shape ().)"},
      {"Tensor.__contains__",
       R"(Whether an element equals a number, or the element of a tensor that broadcasts. Evaluates.

Errors: RuntimeError for anything else than a number or a tensor.)"},
      {"Tensor.__repr__", "The elements as text: four digits, long tensors abbreviated. Evaluates."},
      {"Tensor.__format__",
       "The text of the only element in this format, for shape (); else only the empty format works."},
      {"Tensor.__hash__", "By identity: two tensors with equal elements are different keys."},
      {"Tensor.__pos__", "self."},
      {"Tensor.__array__", R"(For numpy.asarray(self): the elements over the same memory, read-only. Evaluates.

Args:
    dtype: a NumPy dtype to convert to, or None.
    copy: True for a writable copy.

Errors: RuntimeError if self requires grad, TypeError for bfloat16.)"},
      {"Tensor.__deepcopy__", R"(A copy of value, requires_grad, gradient and attributes, for copy.deepcopy().

Args:
    memo: copy.deepcopy()'s dictionary of what is copied already.

Errors: RuntimeError for results of recorded operators; detach() them first.)"},
      {"Tensor.__reduce_ex__",
       R"(For pickle: class, elements in row-major order, dtype, shape, requires_grad, attributes. Evaluates.

Args:
    protocol: pickle's.

Errors: RuntimeError for results of recorded operators; detach() them first.)"},
      {"Tensor.numpy",
       R"(The elements as a NumPy array over the same memory, read-only since values never change. Evaluates.

Strides may be channels-last.

Args:
    force: True for a writable copy, also of a tensor that requires grad.

Returns:
    An array of self's shape and dtype.

Errors: RuntimeError if self requires grad (without force), TypeError for bfloat16, which NumPy lacks.)"},
      {"Tensor.__dlpack__",
       R"(A DLPack capsule over the same memory, read-only where the consumer's version can say so. Evaluates.

Tensors that were copied from one another may share memory. Who writes to it all the same (PyTorch's from_dlpack ignores
that it is read-only) changes all of them; ask for a copy then.

Args:
    stream: on a GPU, the consumer's, which waits for what self's memory is computed by: 1 or None for the default
        stream, 2 for a thread's own, a cudaStream_t as an int, or -1 if nobody is to wait. No effect on the CPU.
    max_version: the consumer's DLPack version, (major, minor).
    dl_device: accepted.
    copy: True for memory of its own.

Errors: BufferError if self requires grad, TypeError or ValueError for anything else as a stream.)"},
      {"Tensor.__dlpack_device__",
       "DLPack's number of the kind of device, 1 for the CPU and 2 for GPUs, and which one."},

      // -- dtype and layout -------------------------------------------------------------------------------------------
      {"Tensor.to",
       R"(self in another dtype: to(dtype), to(device), to(device, dtype) or to(other). Gradients flow back.

Floats lose their fraction on the way to integers, and integers wrap around.

Args:
    *args: a dtype, a device, or a tensor whose dtype is taken; then non_blocking and copy.
    **kwargs: dtype, device, other, non_blocking, copy (True for a new tensor in any case), memory_format. From pinned
        memory to a GPU, non_blocking=True returns while the copy is under way: memory that is seen elsewhere, as by
        `numpy()`, may not be written to before it is done. To the CPU it always waits.

Returns:
    self if nothing changes, else a copy of self's shape.

Errors: RuntimeError for a device other than the CPU, or a channels-last format for another number of dimensions;
TypeError for other arguments.)"},
      {"Tensor.type", R"(The name of the tensor's type ("pycnn.FloatTensor"), or self converted to a type.

Args:
    dtype: a dtype, a tensor type such as pycnn.FloatTensor or its name, or None to ask for the name.
    non_blocking: accepted and ignored.

Returns:
    A str, or as to(dtype).

Errors: ValueError for a name that is no type's, TypeError for what is none of these.)"},
      {"Tensor.type_as", R"(self.to(other.dtype).

Args:
    other: a tensor whose dtype is taken.)"},
      {"Tensor.contiguous", R"(self with a row-major stride(): self if it is already, else a copy. Gradients flow back.

Args:
    memory_format: contiguous_format, or channels_last (4-D) and channels_last_3d (5-D) for an order that the memory has
        without changing shape or value.

Errors: RuntimeError for a channels-last format and another number of dimensions.)"},
      {"Tensor.cpu",
       R"(The same tensor on the CPU: self if it lies there, else a copy, after waiting for it. Gradients flow back.

Args:
    memory_format: accepted and ignored.)"},
      {"Tensor.cuda", R"(The same tensor on a GPU: self if it lies there, else a copy. Gradients flow back.

Args:
    device: which GPU, a device, a string or an index; None for the current one.
    non_blocking: as in `to`.
    memory_format: accepted and ignored.

Errors: RuntimeError if the GPU is not there, or for a device of another type.)"},
      {"Tensor.__cuda_array_interface__",
       R"(How other libraries read a GPU's tensor in place: version 3 of CUDA's array interface, a dict.

Its "stream" is this thread's present one, which readers wait for: 1 for the default stream, else a cudaStream_t.

Errors: AttributeError on the CPU, RuntimeError if it requires grad, TypeError for bfloat16.)"},
      {"Tensor.float", R"(self.to(pycnn.float32): self if it is already. memory_format is ignored.)"},
      {"Tensor.double", R"(self.to(pycnn.float64): self if it is already. memory_format is ignored.)"},
      {"Tensor.half", R"(self.to(pycnn.float16): self if it is already. memory_format is ignored.)"},
      {"Tensor.bfloat16", R"(self.to(pycnn.bfloat16): self if it is already. memory_format is ignored.)"},
      {"Tensor.int", R"(self.to(pycnn.int32): self if it is already. memory_format is ignored.)"},
      {"Tensor.long", R"(self.to(pycnn.int64): self if it is already. memory_format is ignored.)"},
      {"Tensor.short", R"(self.to(pycnn.int16): self if it is already. memory_format is ignored.)"},
      {"Tensor.char", R"(self.to(pycnn.int8): self if it is already. memory_format is ignored.)"},
      {"Tensor.byte", R"(self.to(pycnn.uint8): self if it is already. memory_format is ignored.)"},
      {"Tensor.bool",
       R"(self.to(pycnn.bool), true where an element is not 0: self if it is already. memory_format is ignored.)"},

      // -- gradients --------------------------------------------------------------------------------------------------
      {"Tensor.requires_grad", R"(Whether gradients flow to this tensor. Assigning is requires_grad_(value).

Errors: RuntimeError as for requires_grad_().)"},
      {"Tensor.requires_grad_", R"(Marks self as wanting a gradient (or not), and returns it.

Args:
    requires_grad: whether backward() adds to self.grad.

Errors: RuntimeError for True and integers, or False and the result of a recorded operator.)"},
      {"Tensor.grad", R"(The gradient that backward() has added up, of self's shape and dtype, or None. May be assigned.

Errors: TypeError for what is no tensor, RuntimeError for another shape or dtype.)"},
      {"Tensor.data", R"(The value outside the graph; changes in place show in self, unseen by autograd.

Assigning binds self to another value, whose shape and dtype may differ; views of self keep the old one.

Errors: RuntimeError for integers if self is a leaf that requires grad.)"},
      {"Tensor.is_leaf",
       "Whether no recorded operator made it, so that backward() ends here: True without requires_grad."},
      {"Tensor.retains_grad",
       "Whether retain_grad() was called on this tensor, no leaf: backward() then keeps its gradient."},
      {"Tensor.output_nr", "Which of its operator's results it is, counted from 0."},
      {"Tensor.backward", R"(Adds d(self)/d(leaf) to the grad of every leaf, and computes all of it in one plan.

Args:
    gradient: of self's shape; may be missing for one element (1).
    retain_graph: keep what a second backward() through the same graph needs (default: create_graph).
    create_graph: make gradients differentiable themselves.
    inputs: the tensors whose grad changes; None for all leaves.

Errors: RuntimeError if self does not require grad, has several elements and no gradient is given, the shapes differ, or
the graph was used up by an earlier backward(). Errors of pending operators turn up here too.)"},
      {"Tensor.detach", R"(The same value outside the graph: a view, so changes in place show in both.

Returns:
    A tensor of self's shape and dtype that does not require grad.)"},
      {"Tensor.detach_",
       "Takes self out of the graph: afterwards it is a leaf that does not require grad. Returns self."},
      {"Tensor.retain_grad", R"(Lets backward() keep the gradient in self.grad, which it does for leaves anyway.

Errors: RuntimeError if self does not require grad.)"},
      {"Tensor.register_hook", R"(Calls hook(gradient) whenever the gradient of self is known.

Args:
    hook: gets the gradient, of self's shape; a tensor it returns replaces the gradient, None keeps it.

Returns:
    A handle with remove(), also a context manager.

Errors: RuntimeError if self does not require grad, or (in backward) if the hook changes the shape; TypeError if it
returns anything else.)"},
      {"Tensor.register_post_accumulate_grad_hook",
       R"(Calls hook(self) after each backward() that has added to self.grad.

Args:
    hook: gets self, a leaf; returns None.

Returns:
    A handle with remove(), also a context manager.

Errors: RuntimeError if self is no leaf or does not require grad, or (in backward) if the hook returns
something; TypeError if the hook cannot be called.)"},
      {"Tensor.data_ptr",
       "The address of the first element, an int, after computing self. It may change with the value."},
  };
  return rows;
}

}  // namespace pycnn::bindings
