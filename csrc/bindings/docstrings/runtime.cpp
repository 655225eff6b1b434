// dtypes, autograd, evaluation, threads, files.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> runtime_docstrings() {
  static const Docstring rows[] = {
      // -- dtypes -----------------------------------------------------------------------------------------------------
      {"promote_types", R"(The dtype of an operation on two tensors of these dtypes.

Floats come before integers, integers before bool, of the same kind the wider one; uint8 with a signed integer gives a
signed one that holds both.

Args:
    type1, type2: dtypes.)"},
      {"result_type", R"(The dtype of an arithmetic operation on these operands.

Tensors with dimensions decide over those of shape (), these over numbers: the latter count only if they are of a
higher kind (bool < integer < floating).

Args:
    tensor1, tensor2: tensors, or one of them a number.

Errors: TypeError if both are numbers, RuntimeError if their shapes do not broadcast.)"},
      {"can_cast", R"(Whether an in-place operator may store a result of dtype from_ in a tensor of dtype `to`.

True unless from_ is of a higher kind (bool < integer < floating).

Args:
    from_, to: dtypes.)"},
      {"get_default_dtype", "The dtype of new floating tensors: float32 unless changed."},
      {"set_default_dtype", R"(Changes the dtype of new floating tensors.

Args:
    d: a floating dtype.

Errors: TypeError for integers and bool.)"},

      // -- autograd ---------------------------------------------------------------------------------------------------
      {"is_grad_enabled", "Whether operators are recorded for gradients in this thread: not within no_grad()."},
      {"set_grad_enabled", R"(Switches recording for gradients in this thread.

Args:
    mode: whether to record.)"},
      {"is_inference",
       "Whether input, of any shape, was made in inference mode (or views what was): autograd may not save it."},
      {"is_inference_mode_enabled", "Whether this thread is within inference_mode()."},
      {"set_inference_mode", R"(Switches inference mode in this thread.

Args:
    mode: whether what is made from now on can never take part in recording.)"},
      {"is_autocast_enabled", R"(Whether this thread's operators choose their dtypes, as within autocast().

Args:
    device_type: "cpu" or "cuda".

Errors: RuntimeError for other device types.)"},
      {"set_autocast_enabled", R"(Switches autocast in this thread; autocast() restores what was before.

Args:
    device_type: "cpu" or "cuda".
    enabled: whether operators choose their dtypes.

Errors: RuntimeError for other device types.)"},
      {"is_any_autocast_enabled", "Whether autocast is on in this thread, for any device type."},
      {"get_autocast_dtype", R"(The 16-bit dtype of autocast in this thread: bfloat16 on the CPU unless set.

Args:
    device_type: "cpu" or "cuda".

Errors: RuntimeError for other device types.)"},
      {"set_autocast_dtype", R"(Sets the dtype that autocast gives convolutions and matrix products in this thread.

Args:
    device_type: "cpu" or "cuda".
    dtype: bfloat16, float16 or another floating dtype.

Errors: RuntimeError for other device types, ValueError for integers and bool.)"},
      {"is_autocast_cache_enabled",
       "Whether autocast keeps its casts of weights in this thread until the outermost region ends."},
      {"set_autocast_cache_enabled", R"(Switches this thread's cache of casts of weights.

Args:
    enabled: whether casts are kept until the outermost region ends.)"},
      {"clear_autocast_cache", "Forgets this thread's casts of weights."},
      {"autocast_increment_nesting", "Enters a region of autocast; gives how many this thread is in."},
      {"autocast_decrement_nesting", "Leaves a region of autocast; gives how many this thread is still in."},
      {"backward", R"(Adds the gradients of sum(tensors * grad_tensors) to the leaves' grad, as Tensor.backward.

Args:
    tensors: a tensor or several, of any shapes.
    grad_tensors: their gradients, of the same shapes; None for those with one element.
    retain_graph: keep what a second backward needs (default: create_graph).
    create_graph: make gradients differentiable themselves.
    inputs: the tensors whose grad changes; None for all leaves.

Errors: RuntimeError as for Tensor.backward.)"},
      {"grad", R"(The gradients of sum(outputs * grad_outputs) with respect to the inputs.

Args:
    outputs: a tensor or several, of any shapes.
    inputs: tensors that require grad.
    grad_outputs: the outputs' gradients, of the same shapes; None for those with one element.
    retain_graph: keep what a second walk needs (default: create_graph).
    create_graph: make the result differentiable itself.
    allow_unused: give None for inputs that no output depends on.

Returns:
    A tuple with one tensor (or None) per input, of its shape.

Errors: RuntimeError for an unused input (without allow_unused), or as for Tensor.backward.)"},
      {"apply_function",
       R"(Tensors with the values of `outputs` and a gradient of one's own: backward(gradients, saved).

Args:
    backward: called with the outputs' gradients (or None) and what was saved; gives one (or None) per input.
    inputs: what the outputs depend on.
    outputs: tensors of any shapes.
    once_differentiable: forbid second derivatives.
    saved_outputs: positions of outputs that backward gets as `saved`.
    saves_others: whether backward holds other values, so that it runs once only unless the graph is retained.)"},
      {"gradcheck", R"(Compares gradients with central differences.

Args:
    fn: takes the inputs, gives a tensor or several.
    inputs: the arguments; tensors among them that require grad are float64, of any shape.
    eps: the step of the differences, in the inputs' unit.
    atol, rtol: |a - b| <= atol + rtol |b| is close.
    raise_exception: None to give (passed, message), else a bool; True raises in place of False.

Errors: ValueError for other dtypes or no input that requires grad; RuntimeError if they differ and raise_exception.)"},

      // -- evaluation -------------------------------------------------------------------------------------------------
      {"eval", R"(Computes tensors in one plan.

Args:
    *tensors: tensors of any shapes, or sequences of them.

Errors: those of pending operators, such as an index out of range.)"},
      {"describe_plan", R"(The plan that evaluating these tensors would run, as text; see pycnn.plan.describe.

Args:
    *tensors: tensors of any shapes, or sequences of them.)"},
      {"set_mode", R"("lazy" (recorded, fused, planned) or "eager" (each operator at once, with the same bits).

Args:
    mode: the name.

Errors: ValueError for another name.)"},
      {"get_mode", "How operators are run: \"lazy\" or \"eager\"."},
      {"statistics",
       "Counters since start, a dict: nodes recorded and evaluated, plans compiled, cached and run, steps run."},
      {"clear_plan_cache", "Forgets compiled plans and gives their arenas back."},
      {"empty_cache", "Gives memory that is kept for later tensors back to the operating system."},
      {"memory_statistics",
       "Bytes \"in_use\" by tensors, \"cached\" for later ones, and the \"cap\" of the cache, a dict."},

      // -- the machine ------------------------------------------------------------------------------------------------
      {"available_levels", "Names of the instruction-set levels that this machine runs, best first."},
      {"active_level", "The name of the instruction-set level in use."},
      {"set_level", R"(Changes the instruction-set level of plans made from now on.

Args:
    name: one of available_levels().

Errors: ValueError for another name.)"},
      {"algorithms", R"(Names of a primitive's algorithms, best first; see pycnn.plan.algorithms.

Args:
    primitive: such as "convolution_forward".

Errors: ValueError for a primitive without a choice.)"},
      {"force_algorithm", R"(Uses only one algorithm for a primitive; see pycnn.plan.force_algorithm.

Args:
    primitive: such as "convolution_forward".
    name: one of algorithms(primitive), or None to restore the choice.

Errors: ValueError for other names.)"},
      {"set_winograd", R"(Largest tile of results for Winograd's algorithm; see pycnn.plan.set_winograd.

Args:
    tile: 0, 2 or 4.

Errors: ValueError for other numbers.)"},
      {"get_winograd", "Largest tile of results that Winograd's algorithm uses; see pycnn.plan.get_winograd."},
      {"set_num_threads", R"(How many threads compute; results do not depend on it.

Args:
    n: at least 1; more than there are processors is allowed.

Errors: ValueError for n < 1.)"},
      {"get_num_threads", "How many threads compute: by default the processors this process may use."},
      {"start_profiling", "Starts to note every step that plans run; see pycnn.profiler."},
      {"stop_profiling",
       "What was noted since start_profiling(), a list of (step, operators, details, begin, seconds, flops,\nbytes, "
       "thread, dtype of what is multiplied)."},
      {"measure_peak",
       R"((float32 operations, bytes of a copy, bfloat16 operations) per second on the threads in use, measured now.

Args:
    seconds: how long each is measured.
    bytes: how much is copied.

Errors: ValueError unless both are positive.)"},
      {"info", "Version, processor, levels, threads, compiler and mode, a dict."},

      {"_contents", R"(What the containers hold, in order, in a form for _holds().

Args:
    containers: a tuple of dictionaries and lists.

Errors: TypeError for anything else.)"},
      {"_holds", R"(Whether the containers hold the very same objects as when _contents() was called; keys do not count.

Args:
    containers: the same tuple.
    contents: what _contents() gave.)"},

      // -- optimisers -------------------------------------------------------------------------------------------------
      {"_optimizer_step",
       R"(Records one step for a group: parameters that have a gradient, and their state, get their next values in place;
state that is missing is made. Nothing is evaluated.

Args:
    rule: the optimiser's name.
    group: its dictionary; numbers may be floats or tensors of one element.
    state: the optimiser's, by parameter.

Returns:
    everything that has a next value now.)"},
      {"_forget_gradients", R"(Sets .grad of each of these tensors to None.

Args:
    parameters: a list.)"},

      // -- files ------------------------------------------------------------------------------------------------------
      {"save_safetensors", R"(Writes a safetensors file: whole, or not at all (temporary file, fsync, rename).

Args:
    path: a str.
    tensors: a dict of names and tensors of any shapes and dtypes.
    metadata: a dict of strings, or None.

Errors: RuntimeError or OSError if it cannot be written.)"},
      {"load_safetensors", R"((tensors, metadata) of a safetensors file, two dicts.

Args:
    path: a str.

Errors: RuntimeError if it cannot be opened, ValueError that says what is wrong with a damaged one.)"},
      {"load_idx", R"(The tensor of an IDX file (MNIST's format, not compressed), of the shape and dtype it states.

Args:
    path: a str.

Errors: RuntimeError if it cannot be opened, ValueError that says what is wrong with a damaged one.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
