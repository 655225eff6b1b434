// bfloat16 work done by the algorithms for float32: operands widened before, the result rounded behind.
#pragma once

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/parallel.h"
#include "kernels/program.h"

namespace pycnn::cpu::PYCNN_ISA {

/// to[i] = from[i·stride] for i < count
PYCNN_INLINE void widen_elements(const BFloat16* from, int64_t stride, int64_t count, float* to) {
  if (stride == 1) return widen_row(from, count, to);
  for (int64_t i = 0; i < count; ++i) to[i] = element(from[i * stride]);
}

/// to[i] = from[i] for i < count, by all threads.
static inline void widen(const void* from, int64_t count, float* to) {
  constexpr int64_t at_once = int64_t{1} << 15;
  parallel_for(ceil_divide(count, at_once), [&](int64_t chunk) {
    const int64_t begin = chunk * at_once;
    widen_elements(static_cast<const BFloat16*>(from) + begin, 1, min_of(count - begin, at_once), to + begin);
  });
}

/// The epilogue that stores a dense float32 result as bfloat16.
struct RoundingProgram {
  RoundingProgram(const float* from, BFloat16* to, int loops, const int64_t* sizes, const int64_t* strides) {
    operands[0] = {const_cast<float*>(from), DType::Float32, {}};
    operands[1] = {to, DType::BFloat16, {}};
    int64_t dense = 1;
    for (int d = loops; d-- > 0; dense *= sizes[d]) {
      operands[0].strides[d] = dense;
      operands[1].strides[d] = strides[d];
      arguments.sizes[d] = sizes[d];
    }
    for (int i = 0; i < 2; ++i) {
      code[i] = {};
      code[i].opcode = i == 0 ? kernels::Opcode::Load : kernels::Opcode::Store;
      code[i].type = code[i].source = kernels::RegisterType::F32;
      code[i].index = static_cast<uint8_t>(i);
    }
    arguments.code = code;
    arguments.code_size = 2;
    arguments.registers = 1;
    arguments.operands = operands;
    arguments.operand_count = 2;
    arguments.loops = loops;
  }
  RoundingProgram(const RoundingProgram&) = delete;

  kernels::Instruction code[2];
  kernels::Operand operands[2];
  kernels::PointwiseArguments arguments{};
};

}  // namespace pycnn::cpu::PYCNN_ISA
