#include "cpu/isa/interpreter.h"

#include <cstring>

#include "cpu/isa/bfloat16_vectors.h"
#include "kernels/convert.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

/// Copies narrow rows as they are, if they are one or two vectors wide: a loop over so few columns is all overhead.
template <typename To, typename From>
bool copy_narrow_rows(To*, const From*, int64_t, int64_t, int64_t, int64_t) {
  return false;
}
bool copy_narrow_rows(float* to, const float* from, int64_t rows, int64_t columns, int64_t to_row, int64_t from_row) {
  constexpr int64_t vector = lanes<float>;
  if (columns == vector) {
    for (int64_t r = 0; r < rows; ++r) store(to + r * to_row, load(from + r * from_row));
  } else if (columns == 2 * vector) {
    for (int64_t r = 0; r < rows; ++r) {
      const Vector<float> first = load(from + r * from_row), second = load(from + r * from_row + vector);
      store(to + r * to_row, first);
      store(to + r * to_row + vector, second);
    }
  } else {
    return false;
  }
  return true;
}

template <typename Register, typename Memory>
void widen_row(const Memory* from, int64_t n, Register* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) widen(from[i], to[i]);
}
template <typename Register, typename Memory>
void narrow_row(const Register* from, int64_t n, Memory* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) narrow(from[i], to[i]);
}

template <typename Register, typename Memory>
void load_loop(void* destination, const void* source, const Block& block) {
  Register* to = static_cast<Register*>(destination);
  const Memory* from = static_cast<const Memory*>(source);
  const int64_t columns = block.columns, stride = block.stride;
  if (stride == 1 && copy_narrow_rows(to, from, block.rows, columns, columns, block.row_stride)) return;
  for (int64_t r = 0; r < block.rows; ++r, from += block.row_stride, to += columns) {
    if (stride == 1) {
      widen_row(from, columns, to);
    } else if (stride == 0) {
      Register value;
      widen(*from, value);
      for (int64_t i = 0; i < columns; ++i) to[i] = value;
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < columns; ++i) widen(from[i * stride], to[i]);
    }
  }
}

template <typename Register, typename Memory>
void store_loop(void* destination, const void* source, const Block& block) {
  Memory* to = static_cast<Memory*>(destination);
  const Register* from = static_cast<const Register*>(source);
  const int64_t columns = block.columns, stride = block.stride;
  if (stride == 1 && copy_narrow_rows(to, from, block.rows, columns, block.row_stride, columns)) return;
  for (int64_t r = 0; r < block.rows; ++r, from += columns, to += block.row_stride) {
    if (stride == 1) {
      narrow_row(from, columns, to);
    } else {
      for (int64_t i = 0; i < columns; ++i) narrow(from[i], to[i * stride]);
    }
  }
}

int64_t size_of_register(RegisterType type) { return type == RegisterType::F32 ? 4 : 8; }

/// Calls function(offset, position, block) for the parts of [begin, begin + n) that are blocks in memory.
template <typename Function>
void for_each_block(const OperandView& view, int64_t begin, int64_t n, Function function) {
  const int inner = view.loops - 1;
  const int64_t width = view.sizes[inner], stride = view.strides[inner];
  if (inner == 0) {
    function(begin * stride, int64_t{0}, line(n, stride));
    return;
  }
  int64_t index[max_loops];
  int64_t rest = begin, offset = 0;
  for (int d = inner; d > 0; --d) {
    index[d] = rest % view.sizes[d];
    rest /= view.sizes[d];
    offset += index[d] * view.strides[d];
  }
  index[0] = rest;
  offset += rest * view.strides[0];
  const int64_t row_stride = view.strides[inner - 1];
  for (int64_t position = 0;;) {
    int64_t rows = 1, columns = width - index[inner];
    if (columns > n - position) columns = n - position;
    if (columns == width) {
      // Whole rows, as many as the next loop still has.
      rows = (n - position) / width;
      if (inner > 1 && rows > view.sizes[inner - 1] - index[inner - 1]) rows = view.sizes[inner - 1] - index[inner - 1];
    }
    function(offset, position, Block{rows, columns, row_stride, stride});
    position += rows * columns;
    if (position >= n) return;
    offset += rows * row_stride - index[inner] * stride;
    index[inner] = 0;
    index[inner - 1] += rows;
    for (int d = inner - 1; d > 0 && index[d] == view.sizes[d]; --d) {
      offset += view.strides[d - 1] - view.sizes[d] * view.strides[d];
      index[d] = 0;
      ++index[d - 1];
    }
  }
}

int source_count(const Instruction& instruction) {
  static constexpr uint8_t counts[] = {
#define PYCNN_OPERAND_COUNT(name, operands) operands,
      PYCNN_OPCODES(PYCNN_OPERAND_COUNT)
#undef PYCNN_OPERAND_COUNT
  };
  return counts[static_cast<int>(instruction.opcode)];
}

/// What the code does with registers and memory, for the decisions of prepare().
struct Analysis {
  const PointwiseArguments& arguments;
  const bool* keep;
  const bool* keep_narrow;

  const Instruction& at(int i) const { return arguments.code[i]; }
  const void* memory(int i) const { return arguments.operands[at(i).index].data; }

  bool reads(int i, uint8_t name) const {
    for (int s = 0; s < source_count(at(i)); ++s)
      if (at(i).operands[s] == name) return true;
    return false;
  }
  /// The last instruction that reads the value which instruction i put into its register.
  int last_use(int i) const {
    const uint8_t name = at(i).destination;
    int last = i;
    for (int j = i + 1; j < arguments.code_size; ++j) {
      if (reads(j, name)) last = j;
      if (at(j).opcode != Opcode::Store && at(j).destination == name) return last;
    }
    return keep && keep[name] ? arguments.code_size : last;
  }
  /// The instruction whose result register `name` holds before instruction i, or -1.
  int producer(int i, uint8_t name) const {
    for (int j = i - 1; j >= 0; --j)
      if (at(j).opcode != Opcode::Store && at(j).destination == name) return j;
    return -1;
  }
  /// Whether the value that instruction i makes is read once and not needed after the program.
  bool used_once(int i) const {
    const uint8_t name = at(i).destination;
    int uses = 0;
    for (int j = i + 1; j < arguments.code_size; ++j) {
      for (int s = 0; s < source_count(at(j)); ++s) uses += at(j).operands[s] == name;
      if (at(j).opcode != Opcode::Store && at(j).destination == name) return uses == 1;
    }
    return uses == 1 && !(keep && keep[name]);
  }
  /// How often the memory is stored to, and by which instruction first.
  int stores_to(const void* data, int& first) const {
    int count = 0;
    for (int j = arguments.code_size - 1; j >= 0; --j)
      if (at(j).opcode == Opcode::Store && memory(j) == data) ++count, first = j;
    return count;
  }
  bool is_native_load(int i) const {
    return at(i).opcode == Opcode::Load && is_native(arguments.operands[at(i).index].dtype, at(i).type);
  }
  bool is_narrow(int i) const {
    return arguments.operands[at(i).index].dtype == DType::BFloat16 && at(i).type == RegisterType::F32;
  }
  /// Whether the value that instruction i loads may stay bfloat16 in memory: nobody reads it but chains, and those
  /// after the program who know of it.
  bool is_narrow_load(int i) const {
    const uint8_t name = at(i).destination;
    if (at(i).opcode != Opcode::Load || !is_narrow(i)) return false;
    for (int j = i + 1; j < arguments.code_size; ++j) {
      if (reads(j, name) && !links_bfloat16(at(j))) return false;
      if (at(j).opcode != Opcode::Store && at(j).destination == name) return true;
    }
    return !(keep && keep[name]) || (keep_narrow && keep_narrow[name]);
  }
  /// Whether the result of `made` may be written where instruction `store` stores it: nothing may read the old contents
  /// later.
  bool may_write_through(int made, int store) const {
    int first;
    if (stores_to(memory(store), first) != 1) return false;
    for (int j = 0; j < arguments.code_size; ++j) {
      if (at(j).opcode != Opcode::Load || memory(j) != memory(store)) continue;
      if (j >= made && j < store) return false;
      if (j < made && (is_native_load(j) || is_narrow_load(j)) && last_use(j) > made) return false;
    }
    return true;
  }
};

/// Joins the steps of a body into chains where one takes the result of the one before, which nobody else needs. What is
/// loaded in between is loaded before.
class ChainBuilder {
 public:
  ChainBuilder(Program& program, const Analysis& analysis) : program_(program), analysis_(analysis) {}

  /// `made_by`: the instruction of each step.
  void run(const int* made_by) {
    const int size = program_.body_size;
    program_.body_size = 0;
    for (int i = 0; i < size; ++i) {
      const Program::Step step = program_.body[i];
      const int operands = step.kind == Program::Step::Kind::Compute ? link_operands(analysis_.at(made_by[i])) : 0;
      if (operands > 0) {
        const int position = value_position(step, made_by[i], operands);
        if (position < 0) begin(step);
        append(step, made_by[i], position < 0 ? 0 : position, operands);
      } else {
        const bool loads = step.kind == Program::Step::Kind::Load || step.kind == Program::Step::Kind::Constant;
        if (open_ >= 0 && (!loads || chain_reads(step.destination))) open_ = -1;
        program_.body[program_.body_size++] = step;
      }
      if (step.kind != Program::Step::Kind::Store)
        far_[step.destination] = step.kind == Program::Step::Kind::Load && step.direct &&
                                 program_.views[step.operand].strides[0] != 0 &&
                                 program_.views[step.operand].inner_stride() == 1;
    }
  }

 private:
  /// Which operand of the step is the open chain's value; -1 if it cannot go on with this step.
  int value_position(const Program::Step& step, int instruction, int operands) const {
    if (open_ < 0 || !analysis_.used_once(last_) || program_.body[open_].write_through >= 0) return -1;
    const uint8_t name = analysis_.at(last_).destination;
    for (int s = 0; s < operands; ++s)
      if (analysis_.at(instruction).operands[s] == name && step.sources[s] == program_.body[open_].destination &&
          analysis_.producer(instruction, name) == last_)
        return s;
    return -1;
  }

  void begin(const Program::Step& step) {
    open_ = program_.body_size++;
    Program::Step& chain = program_.body[open_];
    chain = step;
    chain.kind = Program::Step::Kind::Chain;
    chain.far = far_[step.sources[0]];
    chain.link = static_cast<uint16_t>(program_.link_count);
    chain.links = 0;
  }

  /// The chain ends with this step for now, behind what was loaded for it.
  void append(const Program::Step& step, int instruction, int position, int operands) {
    last_ = instruction;
    Program::Step chain = program_.body[open_];
    for (; open_ + 1 < program_.body_size; ++open_) program_.body[open_] = program_.body[open_ + 1];
    Link& link = program_.links[program_.link_count++];
    link = {analysis_.at(instruction).opcode,
            static_cast<uint8_t>(position),
            {Program::max_places, Program::max_places},
            {}};
    for (int s = 0, other = 0; s < operands; ++s) {
      if (s == position) continue;
      link.places[other] = step.sources[s];
      link.far[other++] = far_[step.sources[s]];
    }
    ++chain.links;
    chain.destination = step.destination;
    chain.write_through = step.write_through;
    chain.narrow = step.narrow;
    program_.body[open_] = chain;
  }

  bool chain_reads(uint8_t place) const {
    const Program::Step& chain = program_.body[open_];
    if (chain.sources[0] == place) return true;
    for (int i = 0; i < chain.links; ++i)
      for (const uint8_t other : program_.links[chain.link + i].places)
        if (other == place) return true;
    return false;
  }

  Program& program_;
  const Analysis& analysis_;
  bool far_[Program::max_places] = {};
  int open_ = -1;  ///< step of the chain that may go on
  int last_ = -1;  ///< instruction of its last link
};

}  // namespace

void OperandView::set(const kernels::Operand& operand, int loop_count, const int64_t* loop_sizes) {
  data = static_cast<char*>(operand.data);
  element_size = static_cast<int64_t>(size_of(operand.dtype));
  column_bytes = loop_count > 0 ? operand.strides[loop_count - 1] * element_size : 0;
  loops = 0;
  for (int d = 0; d < loop_count; ++d) {
    if (loop_sizes[d] == 1) continue;
    if (loops > 0 && strides[loops - 1] == operand.strides[d] * loop_sizes[d]) {
      sizes[loops - 1] *= loop_sizes[d];
      strides[loops - 1] = operand.strides[d];
    } else {
      sizes[loops] = loop_sizes[d];
      strides[loops++] = operand.strides[d];
    }
  }
  if (loops == 0) {
    sizes[0] = 1;
    strides[0] = 0;
    loops = 1;
  }
  period = 1;
  for (int d = strides[0] == 0 ? 1 : 0; d < loops; ++d) period *= sizes[d];
}

int64_t OperandView::offset(int64_t begin, int64_t& run) const {
  int64_t offset = 0;
  run = sizes[loops - 1];
  if (loops > 1) {
    run -= begin % sizes[loops - 1];
    for (int d = loops - 1; d > 0; --d) {
      offset += begin % sizes[d] * strides[d];
      begin /= sizes[d];
    }
  } else {
    run -= begin;
  }
  return offset + begin * strides[0];
}

LoadFunction load_function(DType dtype, RegisterType type) {
  return with_register_type(type, [dtype](auto value) {
    return with_memory_type(dtype,
                            [](auto memory) -> LoadFunction { return load_loop<decltype(value), decltype(memory)>; });
  });
}

StoreFunction store_function(DType dtype, RegisterType type) {
  return with_register_type(type, [dtype](auto value) {
    return with_memory_type(dtype,
                            [](auto memory) -> StoreFunction { return store_loop<decltype(value), decltype(memory)>; });
  });
}

void load_elements(void* destination, const OperandView& view, LoadFunction load, int64_t register_size, int64_t begin,
                   int64_t n) {
  char* to = static_cast<char*>(destination);
  for_each_block(view, begin, n, [&](int64_t offset, int64_t position, const Block& block) {
    load(to + position * register_size, view.data + offset * view.element_size, block);
  });
}

void store_elements(const OperandView& view, const void* source, StoreFunction store, int64_t register_size,
                    int64_t begin, int64_t n) {
  const char* from = static_cast<const char*>(source);
  for_each_block(view, begin, n, [&](int64_t offset, int64_t position, const Block& block) {
    store(view.data + offset * view.element_size, from + position * register_size, block);
  });
}

void Program::prepare(const PointwiseArguments& arguments, int64_t alignment, const bool* keep,
                      const bool* keep_narrow) {
  const Analysis analysis{arguments, keep, keep_narrow};
  total = 1;
  for (int d = 0; d < arguments.loops; ++d) total *= arguments.sizes[d];
  operand_count = arguments.operand_count;
  int64_t longest_period = 1;
  for (int k = 0; k < arguments.operand_count; ++k) {
    views[k].set(arguments.operands[k], arguments.loops, arguments.sizes);
    if (views[k].period <= max_chunk && views[k].period > longest_period && views[k].strides[0] == 0)
      longest_period = views[k].period;
  }
  chunk = alignment == 0 ? max_chunk / longest_period * longest_period : max_chunk;
  if (alignment == 0) alignment = chunk;

  bool wide = false;
  for (int i = 0; i < arguments.code_size; ++i) {
    const Instruction& instruction = arguments.code[i];
    wide |= instruction.type != RegisterType::F32;
    wide |= instruction.opcode == Opcode::Convert && instruction.source != RegisterType::F32;
  }
  // The odd 64 bytes keep registers from falling onto the same lines of the cache.
  place_size = (wide ? 8 : 4) * max_chunk + 64;
  const int fitting = static_cast<int>((Machine::memory_size - Machine::spare_size) / place_size);
  const int last_place = fitting < max_places ? fitting : max_places;
  places = arguments.registers;
  body_size = invariant_count = link_count = 0;
  for (int r = 0; r < max_registers; ++r) place_of[r] = static_cast<uint8_t>(r);

  int step_of[max_instructions];  // of the body, or -1
  int made_by[max_instructions];  // the instruction of a step
  for (int i = 0; i < arguments.code_size; ++i) {
    const Instruction& instruction = arguments.code[i];
    const bool stores = instruction.opcode == Opcode::Store;
    Step step{};
    step.write_through = -1;
    step.operand = instruction.index;
    step.width = static_cast<uint8_t>(size_of_register(instruction.type));
    bool invariant = !stores && places < last_place && invariant_count < 24;
    for (int s = 0; s < source_count(instruction); ++s) {
      step.sources[s] = place_of[instruction.operands[s]];
      invariant = invariant && step.sources[s] >= arguments.registers;
    }
    switch (instruction.opcode) {
      case Opcode::Load: {
        const kernels::Operand& operand = arguments.operands[instruction.index];
        int first_store = 0;
        const int stores_here = analysis.stores_to(operand.data, first_store);
        step.kind = Step::Kind::Load;
        step.load = load_function(operand.dtype, instruction.type);
        step.narrow = analysis.is_narrow_load(i);
        step.direct = (is_native(operand.dtype, instruction.type) || step.narrow) &&
                      (stores_here == 0 || i > first_store || analysis.last_use(i) <= first_store);
        // A second store would change what a register tied to the memory shows.
        if (stores_here > 1) step.direct = false;
        invariant = invariant && stores_here == 0 && views[instruction.index].strides[0] == 0 &&
                    alignment % views[instruction.index].period == 0;
        // What is read again and again is widened once.
        if (invariant && step.narrow) step.narrow = step.direct = false;
        break;
      }
      case Opcode::Store: {
        const kernels::Operand& operand = arguments.operands[instruction.index];
        step.kind = Step::Kind::Store;
        step.store = store_function(operand.dtype, instruction.type);
        step.direct = is_native(operand.dtype, instruction.type);
        const int made = analysis.producer(i, instruction.operands[0]);
        if (made < 0 || step_of[made] < 0 || body[step_of[made]].write_through >= 0) break;
        // A chain rounds to bfloat16 itself, if nobody else wants the value.
        const bool narrow =
            analysis.is_narrow(i) && link_operands(arguments.code[made]) > 0 && analysis.used_once(made);
        if ((step.direct || narrow) && arguments.code[made].type == instruction.type &&
            analysis.may_write_through(made, i)) {
          body[step_of[made]].write_through = static_cast<int8_t>(instruction.index);
          body[step_of[made]].narrow = narrow;
        }
        break;
      }
      case Opcode::Constant:
        step.kind = Step::Kind::Constant;
        if (instruction.type == RegisterType::F32) {
          const float value = static_cast<float>(instruction.floating);
          step.immediate = __builtin_bit_cast(uint32_t, value);
        } else {
          step.immediate = __builtin_bit_cast(uint64_t, instruction.integer);
        }
        break;
      default:
        step.kind = Step::Kind::Compute;
        step.compute = compute_function(instruction);
        if (instruction.opcode == Opcode::Convert && instruction.source != instruction.type) {
          step.through_copy = true;
          step.width = static_cast<uint8_t>(size_of_register(instruction.source));
        }
        break;
    }
    made_by[body_size] = i;
    if (stores) {
      body[body_size++] = step;
      step_of[i] = -1;
    } else if (invariant) {
      step.destination = place_of[instruction.destination] = static_cast<uint8_t>(places++);
      invariants[invariant_count++] = step;
      step_of[i] = -1;
    } else {
      step.destination = place_of[instruction.destination] = instruction.destination;
      step_of[i] = body_size;
      body[body_size++] = step;
    }
  }
  ChainBuilder(*this, analysis).run(made_by);
  for (int i = 0; i < body_size; ++i) {
    Step& step = body[i];
    if (step.kind != Step::Kind::Chain || step.write_through < 0 || !step.narrow) continue;
    step.links =
        static_cast<uint16_t>(drop_last_roundings(links + step.link, step.links, [this](uint8_t place, uint32_t& bits) {
          for (int j = 0; j < invariant_count; ++j) {
            bits = static_cast<uint32_t>(invariants[j].immediate);
            if (invariants[j].destination == place) return invariants[j].kind == Step::Kind::Constant;
          }
          return false;
        }));
  }
}

bool Program::stream_large_results() {
  bool any = false;
  for (int i = 0; i < body_size; ++i) {
    Step& step = body[i];
    if (step.kind != Step::Kind::Chain || step.write_through < 0) continue;
    if (total * views[step.write_through].element_size < uncached_bytes) continue;
    const char* const data = views[step.write_through].data;
    step.streams = true;
    for (int j = 0; j < body_size; ++j)
      if (body[j].kind == Step::Kind::Load && views[body[j].operand].data == data) step.streams = false;
    // A result that later steps take as an operand is at hand only if it stays in the cache.
    for (int j = i + 1; j < body_size; ++j)
      if (body[j].kind != Step::Kind::Store || views[body[j].operand].data != data) step.streams = false;
    any |= step.streams;
  }
  return any;
}

Machine::Machine(const Program& program, int64_t column) : program_(program), pointers_{}, narrow_{} {
  for (int k = 0; k < program.operand_count; ++k) {
    views_[k] = program.views[k];
    views_[k].data += column * views_[k].column_bytes;
  }
}

void Machine::run(int64_t begin, int64_t n) {
  if (!has_invariants_) {
    has_invariants_ = true;
    const int64_t whole = program_.chunk < program_.total ? program_.chunk : program_.total;
    for (int i = 0; i < program_.invariant_count; ++i) execute(program_.invariants[i], 0, whole);
  }
  for (int i = 0; i < program_.body_size; ++i) execute(program_.body[i], begin, n);
}

void Machine::execute(const Program::Step& step, int64_t begin, int64_t n) {
  using Kind = Program::Step::Kind;
  int64_t run;
  if (step.kind == Kind::Store) {
    const OperandView& view = views_[step.operand];
    const void* source = pointers_[step.sources[0]];
    char* target = view.data + view.offset(begin, run) * view.element_size;
    if (run >= n) {
      if (target != source) step.store(target, source, line(n, view.inner_stride()));
    } else {
      store_elements(view, source, step.store, step.width, begin, n);
    }
    return;
  }
  void* target = memory_of(step.destination);
  bool narrow = false;
  if (step.write_through >= 0) {
    const OperandView& view = views_[step.write_through];
    const int64_t offset = view.offset(begin, run);
    if (run >= n && view.inner_stride() == 1) {
      target = view.data + offset * view.element_size;
      narrow = step.narrow;
    }
  }
  switch (step.kind) {
    case Kind::Load: {
      const OperandView& view = views_[step.operand];
      char* source = view.data + view.offset(begin, run) * view.element_size;
      if (run < n) {
        load_elements(target, view, step.load, step.width, begin, n);
      } else if (step.direct && view.inner_stride() == 1) {
        target = source;
        narrow = step.narrow;
      } else {
        step.load(target, source, line(n, view.inner_stride()));
      }
      break;
    }
    case Kind::Constant:
      if (step.width == 4) {
        uint32_t* to = static_cast<uint32_t*>(target);
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<uint32_t>(step.immediate);
      } else {
        uint64_t* to = static_cast<uint64_t*>(target);
        for (int64_t i = 0; i < n; ++i) to[i] = step.immediate;
      }
      break;
    case Kind::Chain:
      run_chain({target, narrow}, step.streams && target != memory_of(step.destination),
                {const_cast<void*>(pointers_[step.sources[0]]), narrow_[step.sources[0]]}, step.far,
                program_.links + step.link, step.links, pointers_, narrow_, n);
      break;
    default: {
      const void* first = pointers_[step.sources[0]];
      if (step.through_copy && first == target) {
        void* spare = memory_ + memory_size - spare_size;
        std::memcpy(spare, first, static_cast<size_t>(n * step.width));
        first = spare;
      }
      step.compute(target, first, pointers_[step.sources[1]], pointers_[step.sources[2]], n);
      break;
    }
  }
  pointers_[step.destination] = target;
  narrow_[step.destination] = narrow;
}

}  // namespace pycnn::cpu::PYCNN_ISA
