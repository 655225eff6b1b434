// One loop per opcode and type, over a chunk of registers.
#pragma once

#include "cpu/isa/isa.h"

namespace pycnn::cpu::PYCNN_ISA {

/// destination[i] = f(a[i], b[i], c[i]) for i < n. Destination may be one of the sources unless their widths differ.
using ComputeFunction = void (*)(void* destination, const void* a, const void* b, const void* c, int64_t n);

/// The loop of an instruction other than Load, Store and Constant.
ComputeFunction compute_function(const kernels::Instruction& instruction);

}  // namespace pycnn::cpu::PYCNN_ISA
