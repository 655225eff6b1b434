// What the algorithms of matrix products share; each has a file of its own.
#pragma once

#include "cpu/isa/brgemm.h"
#include "kernels/kernels.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Rows of A that lie a multiple of 4 KiB apart share one set of L1: the rows of a tile would evict each other.
template <typename T>
bool rows_collide(const kernels::MatmulArguments& g) {
  return g.m > 4 && g.a_row != 0 && g.a_row * static_cast<int64_t>(sizeof(T)) % 4096 == 0;
}

const char* dot_declines(const kernels::MatmulArguments& g);
void dot_matmul(const kernels::MatmulArguments& g);

const char* blocked_declines(const kernels::MatmulArguments& g);
size_t blocked_workspace(const kernels::MatmulArguments& g);
void blocked_matmul(const kernels::MatmulArguments& g);

}  // namespace pycnn::cpu::PYCNN_ISA
