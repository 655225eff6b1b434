// The tiles that implicit matrix products are instantiated with, and how their results end.
#pragma once

#include "cuda/implicit_gemm.h"
#include "cuda/implicit_gemm_jobs.h"
#include "cuda/tile_choice.h"

namespace pycnn::cuda {

using Large = Tile<128, 128, 2, 4>;
using Tall = Tile<128, 64, 2, 2>;
using Small = Tile<64, 64, 2, 2>;
using Slim = Tile<128, 32, 4, 1>;
using Narrow = Tile<128, 64, 4, 2>;  ///< elements come one or two at a time: more threads share the work

inline bool is_aligned(const void* address, size_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

/// Whether the program writes where the raw results would lie, which then nobody else reads.
inline bool overwrites(const kernels::PointwiseArguments& program, const void* raw) {
  for (int i = 0; i < program.code_size; ++i)
    if (program.code[i].opcode == kernels::Opcode::Store && program.operands[program.code[i].index].data == raw)
      return true;
  return false;
}

template <typename T>
Finish<T> finish_of(void* data, bool aligned, const kernels::PointwiseArguments* epilogue) {
  Finish<T> finish{};
  finish.data = static_cast<T*>(data);
  finish.aligned = aligned && is_aligned(data, 16);
  finish.stored = epilogue == nullptr || !overwrites(*epilogue, data);
  finish.followed = epilogue != nullptr;
  if (epilogue != nullptr) finish.program = make_program(*epilogue, data);
  return finish;
}

}  // namespace pycnn::cuda
