// Chains of float32 instructions, each of which takes the result of the one before: it stays in vector registers on its
// way, also from and to bfloat16 in memory. Every link rounds as the instruction alone does.
#pragma once

#include "cpu/isa/isa.h"

namespace pycnn::cpu::PYCNN_ISA {

/// One instruction of a chain: its operand number `position` is the chain's value, the others are places.
struct Link {
  kernels::Opcode opcode;
  uint8_t position;
  uint8_t places[2];  ///< of the other operands, in order
  bool far[2];        ///< these are memory that is walked through: the next chunk is fetched ahead
};

/// Position of the value in a link LessEqual that stands for (first place ≤ second) ? second : value, as a ReLU's
/// derivative does. Such a link runs on rows, or in the registers of a tile (finish.h).
inline constexpr uint8_t gate_position = 2;

/// Operands of an instruction that may be a link of a chain, 0 if it may not.
int link_operands(const kernels::Instruction& instruction);
int link_operands(kernels::Opcode opcode);  ///< of float32 registers

/// Whether such an instruction reads operands that may still be bfloat16.
bool links_bfloat16(const kernels::Instruction& instruction);

/// Leaves out roundings to bfloat16 behind which a store to bfloat16 does the same. scalar_bits(place, bits) tells
/// whether a place holds one value only, and its bits. Returns how many links there are then.
template <typename ScalarBits>
int drop_last_roundings(Link* links, int count, const ScalarBits& scalar_bits) {
  // A bound that bfloat16 represents may come before rounding as well as behind it, if zeros keep their sign: what
  // rounds to -0 is not above 0, before or behind.
  const auto commutes = [&](const Link& link) {
    const bool bounds = link.opcode == kernels::Opcode::Maximum || link.opcode == kernels::Opcode::Minimum;
    uint32_t bits;
    if (!bounds || link.position != 0 || !scalar_bits(link.places[0], bits) || bits % 0x10000 != 0) return false;
    return link.opcode == kernels::Opcode::Maximum ? bits != 0x80000000 : bits << 1 != 0;
  };
  for (int i = count - 1; i >= 0 && (links[i].opcode == kernels::Opcode::RoundTo || commutes(links[i])); --i) {
    if (links[i].opcode != kernels::Opcode::RoundTo) continue;
    --count;
    for (int j = i; j < count; ++j) links[j] = links[j + 1];
  }
  return count;
}

/// Where a chain begins or ends: float32, or bfloat16 if `narrow`.
struct ChainEnd {
  void* data;
  bool narrow;
};

/// to[i] = the links applied in turn to from[i], i < n. `to` may be any of the operands. With `streams`, results go
/// past the caches where they are aligned. `narrow` tells which places are bfloat16.
void run_chain(ChainEnd to, bool streams, ChainEnd from, bool far, const Link* links, int count,
               const void* const* places, const bool* narrow, int64_t n);

/// An operand of links that are applied to rows: data[i·row + j·column], `column` being 0 or 1. With 0 there are two
/// vectors of the same value.
struct RowOperand {
  const void* data;
  int64_t row, column;
  bool narrow;  ///< bfloat16, else float32
};

/// A matrix by its first element and the elements from row to row.
template <typename M>
struct Rows {
  M* data;
  int64_t row;
};

/// to[i,j] = the links applied in turn to from[i - row, j - column], row ≤ i < row_end, column ≤ j < column_end; their
/// places are numbers of operands, which are narrow among bfloat16 only. With `streams`, float32 results go past the
/// caches; `to` is then aligned to vectors.
template <typename M>
void run_chain_on_rows(Rows<M> from, Rows<M> to, bool streams, const Link* links, int count, const RowOperand* operands,
                       int64_t row, int64_t row_end, int64_t column, int64_t column_end);

}  // namespace pycnn::cpu::PYCNN_ISA
