// Pointwise formulas in static single assignment, before registers are allotted.
#pragma once

#include <span>
#include <vector>

#include "kernels/program.h"
#include "pycnn/dtype.h"

namespace pycnn::graph {

using kernels::Opcode;
using kernels::RegisterType;

RegisterType register_type_of(DType dtype);

/// A value of a formula: the result of one instruction.
struct Expression {
  int id = -1;
  RegisterType type = RegisterType::F32;
};

/// A straight-line formula. Instruction i defines value i (Store defines nothing that is used).
class ProgramBuilder {
 public:
  struct Step {
    Opcode opcode;
    RegisterType type;
    RegisterType source = RegisterType::F32;
    int operands[3] = {-1, -1, -1};
    int index = 0;  ///< Load, Store: operand; RoundTo: DType
    double floating = 0;
    int64_t integer = 0;
  };

  Expression load(int operand, DType dtype);
  void store(int operand, Expression value);
  Expression constant(double value, RegisterType type);
  Expression convert(Expression value, RegisterType type);
  Expression round_to(Expression value, DType dtype);
  Expression apply(Opcode opcode, Expression a);
  Expression apply(Opcode opcode, Expression a, Expression b);
  Expression apply(Opcode opcode, Expression a, Expression b, Expression c);

  // The common ones by name. Numbers become constants of the other operand's type.
  Expression add(Expression a, Expression b) { return apply(Opcode::Add, a, b); }
  Expression subtract(Expression a, Expression b) { return apply(Opcode::Subtract, a, b); }
  Expression multiply(Expression a, Expression b) { return apply(Opcode::Multiply, a, b); }
  Expression divide(Expression a, Expression b) { return apply(Opcode::Divide, a, b); }
  Expression add(Expression a, double b) { return add(a, constant(b, a.type)); }
  Expression multiply(Expression a, double b) { return multiply(a, constant(b, a.type)); }
  Expression maximum(Expression a, Expression b) { return apply(Opcode::Maximum, a, b); }
  Expression minimum(Expression a, Expression b) { return apply(Opcode::Minimum, a, b); }
  Expression less(Expression a, Expression b) { return apply(Opcode::Less, a, b); }
  Expression greater(Expression a, Expression b) { return apply(Opcode::Less, b, a); }
  Expression select(Expression condition, Expression a, Expression b) { return apply(Opcode::Select, condition, a, b); }

  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }

 private:
  Expression append(Step step);
  std::vector<Step> steps_;
};

}  // namespace pycnn::graph
