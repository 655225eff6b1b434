// The chain behind a convolution or matrix product, applied to results while they are in the registers of the kernel
// that made them.
#pragma once

#include "cpu/isa/chain.h"
#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {

/// (a > b or a is NaN) ? a : b
PYCNN_INLINE Vector<float> maximum(Vector<float> a, Vector<float> b) {
  // x86 gives b where one is NaN, which leaves a that is NaN to be kept.
#if defined(__AVX512F__)
  return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
#elif defined(__AVX2__)
  return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
#else
  return (a > b) | (a != a) ? a : b;
#endif
}

/// Links that can_finish(), and the place of a kernel's first result in the matrix that they are about.
struct Finish {
  const Link* links;
  int count;  ///< 0: there is nothing to do
  const RowOperand* operands;
  int64_t row, column;
};

/// Whether finish() knows this link: only such as are frequent, for there is code of it in every register tile.
PYCNN_INLINE bool can_finish(const Link& link, const RowOperand& operand) {
  switch (link.opcode) {
    case kernels::Opcode::Add:
      return true;
    case kernels::Opcode::Subtract:
    case kernels::Opcode::Maximum:
      return link.position == 0 && operand.row == 0;
    case kernels::Opcode::Multiply:
      return operand.row == 0;
    case kernels::Opcode::LessEqual:
      return link.position == gate_position;
    default:
      return false;
  }
}

/// Rows of a register tile in the matrix of results: `lines` times some that are `step` apart, from `row` on.
struct TileRows {
  int64_t row, step = 1, lines = 1, line = 0;
};

/// The links applied to rows of `Vectors` vectors, `Adjacent` to a line; `column` is the first one's. From line
/// `lines` on nothing is read, and the values are nobody's. The last vector has the lanes of the mask only, if it is
/// `Partial`.
template <bool Partial, int Adjacent, int Rows, int Vectors>
PYCNN_INLINE void finish(Vector<float> (&value)[Rows][Vectors], const Finish& chain, const TileRows& rows,
                         int64_t column, const Mask<float>& mask) {
  const int64_t row = chain.row + rows.row;
  column += chain.column;
  const auto take = [&](const float* p, int v) __attribute__((always_inline)) {
    return Partial && v == Vectors - 1 ? load(p, mask) : load(p);
  };
  for (const Link* link = chain.links; link != chain.links + chain.count; ++link) {
    const RowOperand& operand = chain.operands[link->places[0]];
    const float* x = static_cast<const float*>(operand.data) + row * operand.row + column * operand.column;
    const int64_t step = operand.column * lanes<float>;
    switch (link->opcode) {
// A link whose operand is the same for all rows.
#define PYCNN_LINK_COLUMNS(opcode, result)                      \
  case kernels::Opcode::opcode:                                 \
    _Pragma("GCC unroll 4") for (int v = 0; v < Vectors; ++v) { \
      const Vector<float> b = take(x + v * step, v);            \
      _Pragma("GCC unroll 16") for (int r = 0; r < Rows; ++r) { \
        const Vector<float> a = value[r][v];                    \
        value[r][v] = result;                                   \
      }                                                         \
    }                                                           \
    break;
      PYCNN_LINK_COLUMNS(Subtract, a - b)
      PYCNN_LINK_COLUMNS(Multiply, a * b)
      PYCNN_LINK_COLUMNS(Maximum, maximum(a, b))
#undef PYCNN_LINK_COLUMNS
// A link whose operand has rows of its own, or the same value for all.
#define PYCNN_LINK_ROWS(result)                                       \
  _Pragma("GCC unroll 16") for (int r = 0; r < Rows; ++r) {           \
    if (r % Adjacent == 0 && r / Adjacent > 0) {                      \
      if (r / Adjacent >= rows.lines) break;                          \
      x += (rows.line - Adjacent * rows.step) * operand.row;          \
    }                                                                 \
    _Pragma("GCC unroll 4") for (int v = 0; v < Vectors; ++v) {       \
      const Vector<float> a = value[r][v], b = take(x + v * step, v); \
      value[r][v] = result;                                           \
    }                                                                 \
    x += rows.step * operand.row;                                     \
  }
      case kernels::Opcode::LessEqual: {
        const Vector<float> bound = load(static_cast<const float*>(chain.operands[link->places[1]].data));
        PYCNN_LINK_ROWS(b <= bound ? bound : a)
        break;
      }
      default:
        PYCNN_LINK_ROWS(a + b)
#undef PYCNN_LINK_ROWS
    }
  }
}

}  // namespace pycnn::cpu::PYCNN_ISA
