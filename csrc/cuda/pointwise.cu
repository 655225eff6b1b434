#include <algorithm>

#include "cuda/interpreter.h"
#include "cuda/kernels.h"

namespace pycnn::cuda {

Program make_program(const kernels::PointwiseArguments& arguments, const void* given) {
  Program program{};
  program.code_size = arguments.code_size;
  program.loops = arguments.loops;
  for (int loop = 0; loop < arguments.loops; ++loop) {
    program.sizes[loop] = arguments.sizes[loop];
    program.dividers[loop] = LongDivide(arguments.sizes[loop]);
  }
  const int innermost = arguments.loops - 1;
  for (int i = 0; i < arguments.operand_count; ++i) {
    const kernels::Operand& operand = program.operands[i] = arguments.operands[i];
    program.given[i] = given != nullptr && operand.data == given;
    // A row's groups of elements begin at its start, so its length and the strides must be whole groups as well.
    const auto whole = [](int64_t elements) { return elements % program_vector == 0; };
    bool aligned = operand.strides[innermost] == 1 && reinterpret_cast<uintptr_t>(operand.data) % 16 == 0;
    for (int loop = 0; loop < innermost; ++loop) aligned &= arguments.sizes[loop] == 1 || whole(operand.strides[loop]);
    program.vector[i] = aligned;
  }
  for (int i = 0; i < arguments.code_size; ++i) {
    const kernels::Instruction& instruction = program.code[i] = arguments.code[i];
    program.wide |=
        instruction.type != kernels::RegisterType::F32 ||
        (instruction.opcode == kernels::Opcode::Convert && instruction.source != kernels::RegisterType::F32);
  }
  // A result is kept unless it is written again before any but the next instruction reads it.
  for (int i = 0; i < arguments.code_size; ++i) {
    if (program.code[i].opcode == kernels::Opcode::Store) continue;
    const uint8_t number = program.code[i].destination;
    bool kept = true;
    // A store leaves the last result where it is, so that what follows it is "next" as well.
    bool next = true;
    for (int j = i + 1; j < arguments.code_size; ++j) {
      const kernels::Instruction& later = program.code[j];
      const int operands = later.opcode == kernels::Opcode::Store || later.opcode == kernels::Opcode::Convert ||
                                   later.opcode == kernels::Opcode::RoundTo
                               ? 1
                               : operands_of(later.opcode);
      const bool reads = std::find(later.operands, later.operands + operands, number) != later.operands + operands;
      if (reads && !next) break;
      if (later.opcode == kernels::Opcode::Store) continue;
      next = false;
      if (later.destination == number) {
        kept = false;
        break;
      }
    }
    program.kept[i] = kept;
  }
  return program;
}

bool is_frequent(const kernels::PointwiseArguments& program) {
  using kernels::Opcode;
  return std::all_of(program.code, program.code + program.code_size, [&](const kernels::Instruction& i) {
    if (i.type != kernels::RegisterType::F32) return false;
    switch (i.opcode) {
      case Opcode::Load:
      case Opcode::Store:
        return is_frequent(program.operands[i.index].dtype);
      case Opcode::RoundTo:
        return is_frequent(static_cast<DType>(i.index));
      case Opcode::Convert:
        return i.source == kernels::RegisterType::F32;
      default:
        return i.opcode == Opcode::Constant || is_frequent(i.opcode);
    }
  });
}

namespace {

constexpr int threads = 256;

__global__ void __launch_bounds__(threads)
    run_program_of_floats(const __grid_constant__ Program program, int64_t outer_size, int64_t groups,
                          LongDivide by_groups) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (at >= outer_size * groups) return;
  const int64_t outer = by_groups.quotient(at), inner = (at - outer * groups) * program_vector;
  const int64_t left = program.sizes[program.loops - 1] - inner;
  const float nothing[program_vector] = {};
  run_program<program_vector>(program, outer, inner, static_cast<int>(left < program_vector ? left : program_vector),
                              nothing);
}

__global__ void __launch_bounds__(threads)
    run_program_of_words(const __grid_constant__ Program program, int64_t outer_size) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int64_t inner_size = program.sizes[program.loops - 1];
  if (at >= outer_size * inner_size) return;
  const int64_t outer = program.dividers[program.loops - 1].quotient(at);
  Word file[kernels::max_registers];
  cuda::run_wide_program(program, ProgramPlace(program, outer, at - outer * inner_size), file);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void pointwise(const kernels::PointwiseArguments& arguments) {
  const Program program = make_program(arguments);
  int64_t outer_size = 1;
  for (int loop = 0; loop < arguments.loops - 1; ++loop) outer_size *= arguments.sizes[loop];
  const int64_t inner_size = arguments.sizes[arguments.loops - 1];
  const auto blocks = [](int64_t count) { return dim3(static_cast<unsigned>(divide_up(count, threads))); };
  if (program.wide) {
    launch("pointwise", run_program_of_words, {blocks(outer_size * inner_size), threads}, program, outer_size);
  } else {
    const int64_t groups = divide_up(inner_size, program_vector);
    launch("pointwise", run_program_of_floats, {blocks(outer_size * groups), threads}, program, outer_size, groups,
           LongDivide(groups));
  }
}

void pointwise_batch(const kernels::PointwiseArguments* programs, int count) {
  for (int i = 0; i < count; ++i) pointwise(programs[i]);
}

}  // namespace pycnn::cuda
