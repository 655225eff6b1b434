// Pointwise programs over whole iteration spaces, in parallel, and over parts of them.
#include "cpu/isa/epilogue.h"
#include "cpu/isa/simd.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Operand;
using kernels::PointwiseArguments;

/// Chunks a thread takes at once: some 32 Ki elements.
constexpr int64_t chunks_per_task = 64;
/// Parts of rows that are shorter than this are gathered to longer chunks.
constexpr int64_t gathered_width = 128;

void run_range(const Program& program, int64_t begin, int64_t end) {
  Machine machine(program);
  for (; begin < end; begin += program.chunk)
    machine.run(begin, end - begin < program.chunk ? end - begin : program.chunk);
}

}  // namespace

void pointwise(const PointwiseArguments& arguments) {
  for (int d = 0; d < arguments.loops; ++d)
    if (arguments.sizes[d] == 0) return;
  if (transposed_copy(arguments)) return;
  Program program;
  program.prepare(arguments, 0, nullptr);
  const bool streams = program.stream_large_results();
  const int64_t per_task = program.chunk * chunks_per_task;
  if (program.total <= per_task) {
    run_range(program, 0, program.total);
    return;
  }
  parallel_for((program.total + per_task - 1) / per_task, [&](int64_t task) {
    const int64_t end = (task + 1) * per_task;
    run_range(program, task * per_task, end < program.total ? end : program.total);
    if (streams) stream_fence();
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

Epilogue::Epilogue(const PointwiseArguments* arguments, int64_t width, int64_t last_width) : width_(width) {
  program_.clear();
  last_program_.clear();
  if (arguments == nullptr) return;
  prepare(program_, *arguments, width);
  if (last_width != width) prepare(last_program_, *arguments, last_width);
}

void Epilogue::prepare(Program& program, const PointwiseArguments& arguments, int64_t width) {
  // The first columns stand for all: a machine moves the operands to the columns it works on.
  PointwiseArguments part = arguments;
  part.sizes[part.loops - 1] = width;
  // Chunks begin at multiples of a row where rows are short, which is where operands repeat. They are several rows if
  // these lie one behind the other; parts of rows would have to be gathered.
  const bool whole_rows = width <= max_chunk;
  program.prepare(part, whole_rows ? width : 1, nullptr);
  const bool adjacent = width == arguments.sizes[part.loops - 1] || width < gathered_width;
  if (whole_rows) program.chunk = adjacent ? max_chunk / width * width : width;
}

EpilogueColumns::EpilogueColumns(const Epilogue& epilogue, int64_t column, int64_t columns)
    : program_(epilogue.program(columns)), columns_(columns), machine_(program_, column) {}

void EpilogueColumns::run(int64_t begin, int64_t end) {
  if (program_.body_size == 0) return;
  for (int64_t i = begin * columns_; i < end * columns_; i += program_.chunk)
    machine_.run(i, end * columns_ - i < program_.chunk ? end * columns_ - i : program_.chunk);
}

void pointwise_region(const PointwiseArguments& arguments, int64_t outer_begin, int64_t outer_end, int64_t inner_begin,
                      int64_t inner_end) {
  if (outer_begin >= outer_end || inner_begin >= inner_end) return;
  const int64_t width = inner_end - inner_begin;
  const Epilogue epilogue(&arguments, width, width);
  EpilogueColumns(epilogue, inner_begin, width).run(outer_begin, outer_end);
}

}  // namespace pycnn::cpu::PYCNN_ISA
