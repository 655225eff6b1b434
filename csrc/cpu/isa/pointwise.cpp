// Pointwise programs over whole iteration spaces, in parallel, and over parts of them.
#include "cpu/isa/interpreter.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Operand;
using kernels::PointwiseArguments;

/// Chunks a thread takes at once: some 32 Ki elements.
constexpr int64_t chunks_per_task = 64;

void run_range(const Program& program, int64_t begin, int64_t end) {
  Machine machine(program);
  for (; begin < end; begin += program.chunk)
    machine.run(begin, end - begin < program.chunk ? end - begin : program.chunk);
}

}  // namespace

void pointwise(const PointwiseArguments& arguments) {
  for (int d = 0; d < arguments.loops; ++d)
    if (arguments.sizes[d] == 0) return;
  Program program;
  program.prepare(arguments, 0, nullptr);
  const int64_t per_task = program.chunk * chunks_per_task;
  if (program.total <= per_task) {
    run_range(program, 0, program.total);
    return;
  }
  parallel_for((program.total + per_task - 1) / per_task, [&](int64_t task) {
    const int64_t end = (task + 1) * per_task;
    run_range(program, task * per_task, end < program.total ? end : program.total);
  });
}

void pointwise_batch(const PointwiseArguments* programs, int count) {
  constexpr int64_t per_task = max_chunk * chunks_per_task;
  constexpr int most = 256;
  for (; count > most; programs += most, count -= most) pointwise_batch(programs, most);
  int64_t totals[most], ends[most];  // elements of each program; tasks of it and those before
  int64_t tasks = 0;
  for (int i = 0; i < count; ++i) {
    totals[i] = 1;
    for (int d = 0; d < programs[i].loops; ++d) totals[i] *= programs[i].sizes[d];
    tasks += (totals[i] + per_task - 1) / per_task;
    ends[i] = tasks;
  }
  parallel_for(tasks, [&](int64_t task) {
    int item = 0;
    while (ends[item] <= task) ++item;
    const int64_t begin = (task - (item > 0 ? ends[item - 1] : 0)) * per_task;
    const int64_t end = totals[item] - begin < per_task ? totals[item] : begin + per_task;
    Program program;
    program.prepare(programs[item], max_chunk, nullptr);
    Machine machine(program);
    for (int64_t at = begin; at < end; at += max_chunk) machine.run(at, end - at < max_chunk ? end - at : max_chunk);
  });
}

void pointwise_region(const PointwiseArguments& arguments, int64_t outer_begin, int64_t outer_end, int64_t inner_begin,
                      int64_t inner_end) {
  if (outer_begin >= outer_end || inner_begin >= inner_end) return;
  // The columns are cut out of the operands, so that the rows asked for are one stretch of the flattened space.
  const int inner = arguments.loops - 1;
  const int64_t width = inner_end - inner_begin;
  PointwiseArguments part = arguments;
  Operand operands[kernels::max_operands];
  part.operands = operands;
  part.sizes[inner] = width;
  for (int k = 0; k < arguments.operand_count; ++k) {
    operands[k] = arguments.operands[k];
    operands[k].data = static_cast<char*>(operands[k].data) +
                       inner_begin * operands[k].strides[inner] * static_cast<int64_t>(size_of(operands[k].dtype));
  }
  // Chunks begin at multiples of a row where rows are short, which is where operands repeat.
  const bool whole_rows = width <= max_chunk;
  const int64_t step = whole_rows ? max_chunk / width * width : max_chunk;
  Program program;
  program.prepare(part, whole_rows ? width : 1, nullptr);
  Machine machine(program);
  const int64_t end = outer_end * width;
  for (int64_t begin = outer_begin * width; begin < end; begin += step)
    machine.run(begin, end - begin < step ? end - begin : step);
}

}  // namespace pycnn::cpu::PYCNN_ISA
