// Pointwise programs: what a device interprets per element. Plain data, no Tensor.
#pragma once

#include <cstdint>

#include "pycnn/dtype.h"

namespace pycnn::kernels {

/// The type of a register. Narrower dtypes are widened when loaded: 16-bit floats to F32, bool and integers to I64.
enum class RegisterType : uint8_t { F32, F64, I64 };

/// One row per opcode: name, number of register operands. Comparisons and logic give 0 or 1 in the type of their
/// operands. Integer division and remainder by zero give 0 here; the operators check at the call where they can.
// clang-format off
#define PYCNN_OPCODES(X)                                                                                               \
  X(Load, 0)        /* register ← operand[index], widened to the register's type */                                     \
  X(Store, 1)       /* operand[index] ← register; to bool: ≠ 0; to a narrower type: rounded or wrapped */               \
  X(Constant, 0)    /* register ← immediate */                                                                          \
  X(Convert, 1)     /* register of type `source` → register of type `type` (float → int truncates) */                   \
  X(RoundTo, 1)     /* the value as it would be after a store to dtype `index` and a load: an operator's boundary */    \
  X(Add, 2) X(Subtract, 2) X(Multiply, 2) X(Divide, 2) X(MultiplyAdd, 3) /* fma(a, b, c), one rounding */               \
  X(FloorDivide, 2) X(TruncateDivide, 2) X(Remainder, 2) /* sign of the divisor */ X(Fmod, 2) /* of the dividend */     \
  X(Power, 2) X(Atan2, 2) X(Maximum, 2) X(Minimum, 2) /* NaN if either is NaN */                                        \
  X(Equal, 2) X(NotEqual, 2) X(Less, 2) X(LessEqual, 2)                                                                 \
  X(LogicalAnd, 2) X(LogicalOr, 2) X(LogicalXor, 2) X(LogicalNot, 1)                                                    \
  X(BitAnd, 2) X(BitOr, 2) X(BitXor, 2) X(BitNot, 1) X(ShiftLeft, 2) X(ShiftRight, 2) /* I64 only */                    \
  X(Select, 3)      /* a ≠ 0 ? b : c */                                                                                 \
  X(Negate, 1) X(Absolute, 1) X(Sign, 1) X(Square, 1) X(Sqrt, 1) X(Reciprocal, 1)                                       \
  X(Exp, 1) X(Expm1, 1) X(Log, 1) X(Log1p, 1) X(Log2, 1) X(Log10, 1)                                                    \
  X(Sin, 1) X(Cos, 1) X(Tan, 1) X(Asin, 1) X(Acos, 1) X(Atan, 1) X(Sinh, 1) X(Cosh, 1) X(Tanh, 1)                       \
  X(Erf, 1) X(Sigmoid, 1)                                                                                               \
  X(Asinh, 1) X(Acosh, 1) X(Atanh, 1) X(Erfc, 1) X(ErfInverse, 1) X(LogGamma, 1) X(Digamma, 1)                         \
  X(Zeta, 2) /* Hurwitz's, (s, q) */ X(CopySign, 2) X(NextAfter, 2) X(Hypotenuse, 2)                                    \
  X(GreatestCommonDivisor, 2) /* I64 only */                                                                            \
  X(Floor, 1) X(Ceil, 1) X(Round, 1) /* half to even */ X(Truncate, 1) X(IsNan, 1) X(IsInf, 1)
// clang-format on

enum class Opcode : uint8_t {
#define PYCNN_OPCODE(name, operands) name,
  PYCNN_OPCODES(PYCNN_OPCODE)
#undef PYCNN_OPCODE
};

/// Bounds of a program a device accepts. The planner fuses no further than this.
inline constexpr int max_registers = 24;
inline constexpr int max_operands = 32;
inline constexpr int max_loops = 4;
inline constexpr int max_instructions = 256;

struct Instruction {
  Opcode opcode;
  RegisterType type;    ///< of the destination (Store: of the source)
  RegisterType source;  ///< Convert: type of the source register
  uint8_t destination;
  uint8_t operands[3];
  uint8_t index;  ///< Load, Store: which operand; RoundTo: a DType
  union {
    double floating;  ///< Constant in F32 and F64
    int64_t integer;  ///< Constant in I64
  };
};

/// Memory a program reads or writes, with a stride (in elements, 0 = broadcast) per loop.
struct Operand {
  void* data;
  DType dtype;
  int64_t strides[max_loops];
};

/// A program over an iteration space of `loops` nested loops, the last one innermost.
/// An output may be the same memory as an input if dtype and strides are equal; otherwise they do not overlap.
struct PointwiseArguments {
  const Instruction* code;
  int code_size;
  int registers;
  Operand* operands;
  int operand_count;
  int loops;  ///< 1 … max_loops
  int64_t sizes[max_loops];
};

}  // namespace pycnn::kernels
