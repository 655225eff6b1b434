// What a reduction does with one chunk of a register, and with partial results.
#pragma once

#include "cpu/isa/isa.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Partial results are held in double (int64_t for integers): a chunk is summed in its own type, chunks in double.
/// Moments have two: mean and sum of squared deviations.
union Partial {
  double floating;
  int64_t integer;
};

/// Elements of a chunk that a moment takes at once, so that its work in double is little.
inline constexpr int64_t moment_elements = 4096;

struct Accumulator {
  /// first[i] = (second[i] =) the identity.
  void (*clear)(Partial* first, Partial* second, int64_t n);
  /// chunk is (blocks, rows, width): rows are reduced into partials (blocks, width) that hold `count` elements each so
  /// far. It is of the accumulator's type, or bfloat16 if `narrow`.
  void (*add)(Partial* first, Partial* second, const void* chunk, bool narrow, int64_t blocks, int64_t rows,
              int64_t width, int64_t count);
  bool gathers;       ///< add wants chunks of one block joined, up to moment_elements
  bool takes_narrow;  ///< add takes chunks of bfloat16
  /// The partials `other`, of other_count elements each, are added to those of `count` elements.
  void (*merge)(Partial* first, Partial* second, const Partial* other_first, const Partial* other_second, int64_t n,
                int64_t count, int64_t other_count);
  /// Partials as registers of type `type`.
  void (*finish)(void* registers, const Partial* partials, int64_t n);
  kernels::RegisterType type;
};

Accumulator accumulator(kernels::ReduceKind kind, kernels::RegisterType type);

}  // namespace pycnn::cpu::PYCNN_ISA
