// Reductions with a pointwise prologue. The iteration space is seen as kept and reduced loops in turn,
// (k0, r0, k1, r1, k2), which sizes and mask alone decide; so do they cut it into chunks and fix the order of
// additions.
#include <cstring>

#include "cpu/isa/accumulate.h"
#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/integers.h"
#include "cpu/isa/interpreter.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Accumulation;
using kernels::max_accumulations;
using kernels::ReduceArguments;
using kernels::ReduceKind;
using kernels::RegisterType;

constexpr int64_t steps_per_task = 64;

/// How the space is cut. A unit is a set of outputs that are reduced together; it takes `steps` chunks of
/// (blocks, rows, width) elements, in parts of steps_per_task.
struct Cut {
  int64_t k0 = 1, r0 = 1, k1 = 1, r1 = 1, k2 = 1;
  int64_t kept, reduced;        ///< outputs; elements of each
  int64_t blocks, rows, width;  ///< of a full chunk
  int64_t block_tiles, row_tiles, column_tiles;
  int64_t units, steps, parts;

  explicit Cut(const ReduceArguments& arguments) {
    int64_t sizes[kernels::max_loops];
    bool marks[kernels::max_loops];
    int groups = 0;
    kept = reduced = 1;
    for (int d = 0; d < arguments.prologue.loops; ++d) {
      const int64_t size = arguments.prologue.sizes[d];
      (arguments.reduced[d] ? reduced : kept) *= size;
      if (size == 1) continue;
      if (groups > 0 && marks[groups - 1] == arguments.reduced[d]) {
        sizes[groups - 1] *= size;
      } else {
        sizes[groups] = size;
        marks[groups++] = arguments.reduced[d];
      }
    }
    int64_t* const places[] = {&k2, &r1, &k1, &r0, &k0};
    int place = 0;
    while (groups > 0) {
      --groups;
      if (marks[groups] != (place % 2 == 1)) ++place;
      *places[place++] = sizes[groups];
    }
    if (kept == 0 || reduced == 0) {
      parts = 1;
      return;
    }

    blocks = 1;
    const int64_t pieces = ceil_divide(k2, max_chunk);
    width = pieces == 1 ? k2 : ceil_divide(ceil_divide(k2, pieces), 16) * 16;
    if (r1 * k2 <= max_chunk) {
      blocks = min_of(k1, max_chunk / (r1 * k2));
      rows = r1;
    } else {
      rows = min_of(r1, max_chunk / width);
    }
    block_tiles = ceil_divide(k1, blocks);
    row_tiles = ceil_divide(r1, rows);
    column_tiles = ceil_divide(k2, width);
    units = k0 * block_tiles * column_tiles;
    steps = r0 * row_tiles;
    parts = ceil_divide(steps, steps_per_task);
  }

  /// Chunks begin at multiples of this.
  int64_t alignment() const { return r1 * k2 <= max_chunk ? r1 * k2 : common_divisor(k2, width == k2 ? 0 : width); }
  /// Elements of an output that the first `step` steps cover.
  int64_t count(int64_t step) const { return step / row_tiles * r1 + min_of(step % row_tiles * rows, r1); }
};

struct Partials {
  Partial first[max_accumulations][max_chunk];
  Partial second[max_accumulations][max_chunk];
};

/// Chunks of one accumulation that are waiting to be added together: still where they were read if they lie one behind
/// the other, else copied, and widened if they are bfloat16.
struct Gathered {
  const char* data;
  bool narrow;
  alignas(64) char copy[8 * moment_elements];

  /// `held` and `count` in elements, whose type has `size` bytes unless they are narrow.
  void append(const void* values, bool values_narrow, int64_t count, int64_t held, int64_t size, bool lasting) {
    if (held == 0 && lasting) {
      data = static_cast<const char*>(values);
      narrow = values_narrow;
      return;
    }
    if (lasting && data != copy && narrow == values_narrow && data + held * (narrow ? 2 : size) == values) return;
    if (held > 0 && data != copy) write(data, narrow, held, 0, size);
    write(values, values_narrow, count, held, size);
    data = copy;
    narrow = false;
  }

 private:
  void write(const void* values, bool values_narrow, int64_t count, int64_t at, int64_t size) {
    if (values_narrow)
      widen_row(static_cast<const BFloat16*>(values), count, reinterpret_cast<float*>(copy) + at);
    else
      std::memcpy(copy + at * size, values, static_cast<size_t>(count * size));
  }
};

/// What a task of a reduction works in. It lies in the thread's scratch memory: threads of a program may have small
/// stacks.
struct Scratch {
  Partials partials;
  Gathered gathered[max_accumulations];
};
static_assert(sizeof(Scratch) <= scratch_bytes);

Scratch& scratch() { return *static_cast<Scratch*>(thread_scratch()); }

class Reduction {
 public:
  explicit Reduction(const ReduceArguments& arguments) : arguments_(arguments), cut_(arguments) {
    const kernels::PointwiseArguments& prologue = arguments.prologue;
    bool keep[kernels::max_registers] = {}, keep_narrow[kernels::max_registers];
    for (bool& narrow : keep_narrow) narrow = true;
    for (int a = 0; a < arguments.accumulation_count; ++a) {
      const Accumulation& accumulation = arguments.accumulations[a];
      keep[accumulation.source] = true;
      RegisterType type = RegisterType::F32;
      for (int i = 0; i < prologue.code_size; ++i)
        if (prologue.code[i].opcode != kernels::Opcode::Store && prologue.code[i].destination == accumulation.source)
          type = prologue.code[i].type;
      accumulators_[a] = accumulator(accumulation.kind, type);
      keep_narrow[accumulation.source] &= accumulators_[a].takes_narrow;
      set_output(outputs_[a], accumulation.output);
      if (accumulation.kind == ReduceKind::Moments) set_output(seconds_[a], accumulation.second);
    }
    if (cut_.kept > 0 && cut_.reduced > 0) program_.prepare(prologue, cut_.alignment(), keep, keep_narrow);
  }

  void run() {
    if (cut_.kept == 0) return;
    if (cut_.reduced == 0) {
      for (int64_t begin = 0; begin < cut_.kept; begin += max_chunk)
        write_identity(begin, min_of(max_chunk, cut_.kept - begin));
    } else if (cut_.parts == 1) {
      const int64_t units_per_task = ceil_divide(steps_per_task, cut_.steps);
      in_parallel(ceil_divide(cut_.units, units_per_task), [&](int64_t task) {
        Machine machine(program_);
        Partials& partials = scratch().partials;
        const int64_t end = min_of(cut_.units, (task + 1) * units_per_task);
        for (int64_t unit = task * units_per_task; unit < end; ++unit) {
          int64_t output, n;
          accumulate(machine, partials, unit, 0, cut_.steps, output, n);
          write(partials, output, n);
        }
      });
    } else {
      in_parallel(cut_.units * cut_.parts, [&](int64_t task) {
        Machine machine(program_);
        Partials& partials = scratch().partials;
        const int64_t part = task % cut_.parts;
        int64_t output, n;
        accumulate(machine, partials, task / cut_.parts, part * steps_per_task,
                   min_of(cut_.steps, (part + 1) * steps_per_task), output, n);
        save(partials, part, output, n);
      });
      in_parallel(ceil_divide(cut_.kept, max_chunk), [&](int64_t task) {
        const int64_t begin = task * max_chunk;
        combine(begin, min_of(max_chunk, cut_.kept - begin));
      });
    }
  }

 private:
  template <typename Function>
  void in_parallel(int64_t tasks, const Function& function) {
    if (tasks == 1)
      in_own_frame(function);
    else
      parallel_for(tasks, function);
  }

  /// Not inlined: machines are large, and would take their place on the caller's stack for the time of other tasks too.
  template <typename Function>
  __attribute__((noinline)) static void in_own_frame(const Function& function) {
    function(0);
  }

  /// Outputs are addressed by the flat index over the kept loops.
  void set_output(OperandView& view, const kernels::Operand& operand) {
    kernels::Operand kept = operand;
    int64_t sizes[kernels::max_loops];
    int loops = 0;
    for (int d = 0; d < arguments_.prologue.loops; ++d) {
      if (arguments_.reduced[d]) continue;
      sizes[loops] = arguments_.prologue.sizes[d];
      kept.strides[loops++] = operand.strides[d];
    }
    view.set(kept, loops, sizes);
  }

  /// Steps [begin, end) of a unit; its outputs are [output, output + n).
  void accumulate(Machine& machine, Partials& partials, int64_t unit, int64_t begin, int64_t end, int64_t& output,
                  int64_t& n) {
    const int64_t column = unit % cut_.column_tiles * cut_.width;
    const int64_t outer = unit / cut_.column_tiles;
    const int64_t k1 = outer % cut_.block_tiles * cut_.blocks;
    const int64_t k0 = outer / cut_.block_tiles;
    const int64_t blocks = min_of(cut_.blocks, cut_.k1 - k1);
    const int64_t width = min_of(cut_.width, cut_.k2 - column);
    n = blocks * width;
    output = (k0 * cut_.k1 + k1) * cut_.k2 + column;
    for (int a = 0; a < arguments_.accumulation_count; ++a)
      accumulators_[a].clear(partials.first[a], partials.second[a], n);
    Gathered* const gathered = scratch().gathered;
    int64_t gathered_rows = 0;  // of each accumulation
    int64_t count = 0;
    for (int64_t step = begin; step < end; ++step) {
      const int64_t r0 = step / cut_.row_tiles;
      const int64_t r1 = step % cut_.row_tiles * cut_.rows;
      const int64_t rows = min_of(cut_.rows, cut_.r1 - r1);
      machine.run((((k0 * cut_.r0 + r0) * cut_.k1 + k1) * cut_.r1 + r1) * cut_.k2 + column, blocks * rows * width);
      // Where groups end is a matter of sizes too.
      const bool group_ends =
          step + 1 == end || blocks > 1 || (gathered_rows + rows + cut_.rows) * width > moment_elements;
      for (int a = 0; a < arguments_.accumulation_count; ++a) {
        const Accumulator& accumulator = accumulators_[a];
        const int place = program_.place_of[arguments_.accumulations[a].source];
        const void* values = machine.result(place);
        const bool narrow = machine.is_narrow(place);
        if (!accumulator.gathers || (group_ends && gathered_rows == 0)) {
          accumulator.add(partials.first[a], partials.second[a], values, narrow, blocks, rows, width, count);
          continue;
        }
        gathered[a].append(values, narrow, rows * width, gathered_rows * width,
                           accumulator.type == RegisterType::F32 ? 4 : 8, !machine.is_register(values));
        if (group_ends)
          accumulator.add(partials.first[a], partials.second[a], gathered[a].data, gathered[a].narrow, 1,
                          gathered_rows + rows, width, count - gathered_rows);
      }
      gathered_rows = group_ends ? 0 : gathered_rows + rows;
      count += rows;
    }
  }

  /// Workspace: per accumulation first and second, each (parts, kept).
  Partial* saved(int accumulation, int which, int64_t part, int64_t output) const {
    Partial* workspace = static_cast<Partial*>(arguments_.workspace);
    return workspace + ((2 * accumulation + which) * cut_.parts + part) * cut_.kept + output;
  }

  void save(const Partials& partials, int64_t part, int64_t output, int64_t n) {
    for (int a = 0; a < arguments_.accumulation_count; ++a) {
      Partial* first = saved(a, 0, part, output);
      for (int64_t i = 0; i < n; ++i) first[i] = partials.first[a][i];
      if (arguments_.accumulations[a].kind != ReduceKind::Moments) continue;
      Partial* second = saved(a, 1, part, output);
      for (int64_t i = 0; i < n; ++i) second[i] = partials.second[a][i];
    }
  }

  void combine(int64_t output, int64_t n) {
    Partials& partials = scratch().partials;
    for (int a = 0; a < arguments_.accumulation_count; ++a) {
      accumulators_[a].clear(partials.first[a], partials.second[a], n);
      for (int64_t part = 0; part < cut_.parts; ++part) {
        const int64_t count = cut_.count(part * steps_per_task);
        const int64_t next = cut_.count(min_of(cut_.steps, (part + 1) * steps_per_task));
        accumulators_[a].merge(partials.first[a], partials.second[a], saved(a, 0, part, output),
                               saved(a, 1, part, output), n, count, next - count);
      }
    }
    write(partials, output, n);
  }

  void write_identity(int64_t output, int64_t n) {
    Partials& partials = scratch().partials;
    for (int a = 0; a < arguments_.accumulation_count; ++a)
      accumulators_[a].clear(partials.first[a], partials.second[a], n);
    write(partials, output, n);
  }

  void write(const Partials& partials, int64_t output, int64_t n) {
    alignas(64) char registers[8 * max_chunk];
    for (int a = 0; a < arguments_.accumulation_count; ++a) {
      const Accumulation& accumulation = arguments_.accumulations[a];
      const RegisterType type = accumulators_[a].type;
      const int64_t size = type == RegisterType::F32 ? 4 : 8;
      accumulators_[a].finish(registers, partials.first[a], n);
      store_elements(outputs_[a], registers, store_function(accumulation.output.dtype, type), size, output, n);
      if (accumulation.kind != ReduceKind::Moments) continue;
      accumulators_[a].finish(registers, partials.second[a], n);
      store_elements(seconds_[a], registers, store_function(accumulation.second.dtype, type), size, output, n);
    }
  }

  const ReduceArguments& arguments_;
  Cut cut_;
  Program program_;
  Accumulator accumulators_[max_accumulations];
  OperandView outputs_[max_accumulations], seconds_[max_accumulations];
};

}  // namespace

size_t reduce_workspace(const ReduceArguments& arguments) {
  const Cut cut(arguments);
  if (cut.parts == 1) return 0;
  return static_cast<size_t>(2 * arguments.accumulation_count * cut.parts * cut.kept) * sizeof(Partial);
}

void reduce(const ReduceArguments& arguments) {
  Reduction reduction(arguments);
  reduction.run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
