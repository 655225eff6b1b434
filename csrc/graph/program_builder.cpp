#include "graph/program_builder.h"

namespace pycnn::graph {

RegisterType register_type_of(DType dtype) {
  if (dtype == DType::Float64) return RegisterType::F64;
  return is_floating_point(dtype) ? RegisterType::F32 : RegisterType::I64;
}

Expression ProgramBuilder::append(Step step) {
  steps_.push_back(step);
  return {static_cast<int>(steps_.size()) - 1, step.type};
}

Expression ProgramBuilder::load(int operand, DType dtype) {
  return append({.opcode = Opcode::Load, .type = register_type_of(dtype), .index = operand});
}

void ProgramBuilder::store(int operand, Expression value) {
  append({.opcode = Opcode::Store, .type = value.type, .operands = {value.id}, .index = operand});
}

Expression ProgramBuilder::constant(double value, RegisterType type) {
  return append({.opcode = Opcode::Constant,
                 .type = type,
                 .floating = value,
                 .integer = type == RegisterType::I64 ? static_cast<int64_t>(value) : 0});
}

Expression ProgramBuilder::convert(Expression value, RegisterType type) {
  if (value.type == type) return value;
  return append({.opcode = Opcode::Convert, .type = type, .source = value.type, .operands = {value.id}});
}

Expression ProgramBuilder::round_to(Expression value, DType dtype) {
  const bool exact = dtype == DType::Float32 || dtype == DType::Float64 || dtype == DType::Int64;
  if (exact) return value;
  return append(
      {.opcode = Opcode::RoundTo, .type = value.type, .operands = {value.id}, .index = static_cast<int>(dtype)});
}

Expression ProgramBuilder::apply(Opcode opcode, Expression a) {
  return append({.opcode = opcode, .type = a.type, .operands = {a.id}});
}

Expression ProgramBuilder::apply(Opcode opcode, Expression a, Expression b) {
  return append({.opcode = opcode, .type = a.type, .operands = {a.id, b.id}});
}

Expression ProgramBuilder::apply(Opcode opcode, Expression a, Expression b, Expression c) {
  return append({.opcode = opcode, .type = b.type, .operands = {a.id, b.id, c.id}});
}

}  // namespace pycnn::graph
