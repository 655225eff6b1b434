// Pointwise programs on a GPU: a thread runs the program over a few elements that lie side by side.
#pragma once

#include "cuda/launch.h"
#include "kernels/program.h"

namespace pycnn::cuda {

/// A pointwise program as a kernel gets it, by value (some 6 KB: kernels take up to 32 KB).
struct Program {
  int code_size, loops;
  int64_t sizes[kernels::max_loops];
  bool given[kernels::max_operands];  ///< loads of this operand give what the caller passes (an epilogue's raw result)
  kernels::Operand operands[kernels::max_operands];
  kernels::Instruction code[kernels::max_instructions];
};

/// `given`: the address of the operand whose elements the caller holds, or null.
Program make_program(const kernels::PointwiseArguments& arguments, const void* given = nullptr);

/// Elements [inner, inner + count) of the innermost loop at index `outer` of the others together, count ≤ V.
/// `values`: what loads of the given operand see. For float32 programs (epilogues of products).
template <int V>
__device__ void run_program(const Program& program, int64_t outer, int64_t inner, int count, const float (&values)[V]);

}  // namespace pycnn::cuda
