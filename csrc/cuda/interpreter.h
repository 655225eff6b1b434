// Pointwise programs on a GPU. A thread runs the program over a few elements that lie side by side, so that the cost of
// finding out what to do is shared; the result of the last instruction stays in registers, where the next one mostly
// wants it, others lie in local memory.
#pragma once

#include "cuda/index_divide.h"
#include "cuda/lanes.h"
#include "cuda/opcodes.h"
#include "kernels/program.h"

namespace pycnn::cuda {

/// A pointwise program as a kernel gets it, by value (some 7 KB: kernels take up to 32 KB).
struct Program {
  int code_size, loops;
  bool wide;  ///< has registers of 64 bits
  int64_t sizes[kernels::max_loops];
  LongDivide dividers[kernels::max_loops];
  bool given[kernels::max_operands];   ///< loads give what the caller passes (an epilogue's raw result)
  bool vector[kernels::max_operands];  ///< elements side by side are adjacent and aligned as `program_vector` of them
  kernels::Operand operands[kernels::max_operands];
  bool kept[kernels::max_instructions];  ///< the result is read by others than the next instruction
  kernels::Instruction code[kernels::max_instructions];
};

/// How many neighbouring elements a thread takes of float32 programs; 64-bit registers take one.
inline constexpr int program_vector = 8;

/// `given`: the address of the operand whose elements the caller holds, or null.
Program make_program(const kernels::PointwiseArguments& arguments, const void* given = nullptr);

/// How much of the language of programs a kernel understands. The whole of it would be most of the code of kernels that
/// end with a program; theirs understand what is frequent there.
enum class Language : uint8_t { Whole, Frequent };

/// Whether all of the program is in Language::Frequent, with float32 registers.
bool is_frequent(const kernels::PointwiseArguments& program);

/// A place in the iteration space.
struct ProgramPlace {
  int64_t index[kernels::max_loops];
  ProgramPlace() = default;
  /// `outer` counts the outer loops together.
  __device__ ProgramPlace(const Program& program, int64_t outer, int64_t inner) {
    index[program.loops - 1] = inner;
    for (int loop = program.loops - 2; loop >= 0; --loop) {
      const int64_t rest = loop == 0 ? 0 : program.dividers[loop].quotient(outer);
      index[loop] = outer - rest * program.sizes[loop];
      outer = rest;
    }
  }
  /// Where an operand's element lies, in elements.
  __device__ int64_t of(const Program& program, const kernels::Operand& operand) const {
    int64_t offset = 0;
    for (int loop = 0; loop < program.loops; ++loop) offset += index[loop] * operand.strides[loop];
    return offset;
  }
};

/// V elements from `at` on in steps of `stride`, `count` of which exist, as floats.
template <int V, typename Memory>
__device__ inline void load_elements(float (&to)[V], const Memory* at, int64_t stride, int count, bool vector) {
  if (stride == 0) {
    float value;
    kernels::widen(*at, value);
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = value;
  } else if (vector && count == V) {
    const auto several = load_several<V>(at);
#pragma unroll
    for (int v = 0; v < V; ++v) kernels::widen(several.element[v], to[v]);
  } else {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      to[v] = 0;
      if (v < count) kernels::widen(at[v * stride], to[v]);
    }
  }
}

template <int V, typename Memory>
__device__ inline void store_elements(const float (&from)[V], Memory* at, int64_t stride, int count, bool vector) {
  if (vector && count == V) {
    Several<Memory, V> several;
#pragma unroll
    for (int v = 0; v < V; ++v) kernels::narrow(from[v], several.element[v]);
    store_several<V>(at, several);
  } else {
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (v < count) kernels::narrow(from[v], at[v * stride]);
  }
}

/// Functions worth their code in every kernel that runs programs.
__host__ __device__ constexpr bool is_frequent(kernels::Opcode opcode) {
  using kernels::Opcode;
  return (opcode >= Opcode::Add && opcode <= Opcode::MultiplyAdd) ||
         (opcode >= Opcode::Maximum && opcode <= Opcode::LogicalNot) ||
         (opcode >= Opcode::Select && opcode <= Opcode::Exp) || (opcode >= Opcode::Tanh && opcode <= Opcode::Sigmoid);
}
/// Likewise.
__host__ __device__ constexpr bool is_frequent(DType dtype) {
  return dtype == DType::Float32 || dtype == DType::BFloat16 || dtype == DType::Float16;
}

/// kernels::with_memory_type for a dtype of the language.
template <Language Spoken, typename Function>
__device__ inline void with_memory_type(DType dtype, const Function& function) {
  if constexpr (Spoken == Language::Whole)
    kernels::with_memory_type(dtype, function);
  else if (dtype == DType::Float32)
    function(float{});
  else if (dtype == DType::BFloat16)
    function(BFloat16{});
  else
    function(Float16{});
}

template <kernels::Opcode opcode, typename T>
__device__ T apply_one(T a, T b, T c) {
  if constexpr (operands_of(opcode) == 1)
    return Apply<opcode, T>::of(a);
  else if constexpr (operands_of(opcode) == 2)
    return Apply<opcode, T>::of(a, b);
  else if constexpr (operands_of(opcode) == 3)
    return Apply<opcode, T>::of(a, b, c);
  else
    return T(0);
}

/// Any opcode, by a call.
template <typename T>
__device__ PYCNN_NOINLINE T apply_any(kernels::Opcode opcode, T a, T b, T c) {
  switch (opcode) {
#define PYCNN_OPCODE(name, operands) \
  case kernels::Opcode::name:        \
    return apply_one<kernels::Opcode::name, T>(a, b, c);
    PYCNN_OPCODES(PYCNN_OPCODE)
#undef PYCNN_OPCODE
  }
  return T(0);
}

/// The opcode applied to V elements.
template <int V, Language Spoken>
__device__ inline void apply(kernels::Opcode opcode, float (&result)[V], const float (&a)[V], const float (&b)[V],
                             const float (&c)[V]) {
  switch (opcode) {
#define PYCNN_OPCODE(name, operands)                                 \
  case kernels::Opcode::name:                                        \
    if constexpr (is_frequent(kernels::Opcode::name)) {              \
      _Pragma("unroll") for (int v = 0; v < V; ++v) result[v] =      \
          apply_one<kernels::Opcode::name, float>(a[v], b[v], c[v]); \
      return;                                                        \
    }                                                                \
    break;
    PYCNN_OPCODES(PYCNN_OPCODE)
#undef PYCNN_OPCODE
  }
  if constexpr (Spoken == Language::Whole)
#pragma unroll
    for (int v = 0; v < V; ++v) result[v] = apply_any<float>(opcode, a[v], b[v], c[v]);
}

/// Registers of a thread: V floats each.
template <int V>
struct Registers {
  float last[V];           ///< the result of the last instruction
  int last_register = -1;  ///< which register that is
  float file[kernels::max_registers][V];

  __device__ void read(float (&to)[V], int number) const {
    const bool fresh = number == last_register;
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = fresh ? last[v] : file[number][v];
  }
};

/// `count` elements of the innermost loop from `place` on, count ≤ V, of a program with float32 registers. `values`:
/// what loads of the given operand see. Leaves the registers as they end.
template <int V, Language Spoken = Language::Whole>
__device__ void run_program(const Program& program, const ProgramPlace& place, int count, const float (&values)[V],
                            Registers<V>& registers) {
  const int innermost = program.loops - 1;
  for (int i = 0; i < program.code_size; ++i) {
    const kernels::Instruction& instruction = program.code[i];
    float result[V];
    switch (instruction.opcode) {
      case kernels::Opcode::Load: {
        const int number = instruction.index;
        const kernels::Operand& operand = program.operands[number];
        if (program.given[number]) {
#pragma unroll
          for (int v = 0; v < V; ++v) result[v] = values[v];
          break;
        }
        const int64_t offset = place.of(program, operand);
        with_memory_type<Spoken>(operand.dtype, [&](auto memory) {
          load_elements(result, static_cast<const decltype(memory)*>(operand.data) + offset, operand.strides[innermost],
                        count, program.vector[number]);
        });
        break;
      }
      case kernels::Opcode::Store: {
        const int number = instruction.index;
        const kernels::Operand& operand = program.operands[number];
        const int64_t offset = place.of(program, operand);
        registers.read(result, instruction.operands[0]);
        with_memory_type<Spoken>(operand.dtype, [&](auto memory) {
          store_elements(result, static_cast<decltype(memory)*>(operand.data) + offset, operand.strides[innermost],
                         count, program.vector[number]);
        });
        continue;
      }
      case kernels::Opcode::Constant:
#pragma unroll
        for (int v = 0; v < V; ++v) result[v] = static_cast<float>(instruction.floating);
        break;
      case kernels::Opcode::Convert:
        registers.read(result, instruction.operands[0]);
        break;
      case kernels::Opcode::RoundTo:
        registers.read(result, instruction.operands[0]);
        with_memory_type<Spoken>(static_cast<DType>(instruction.index), [&](auto memory) {
#pragma unroll
          for (int v = 0; v < V; ++v) {
            kernels::narrow(result[v], memory);
            kernels::widen(memory, result[v]);
          }
        });
        break;
      default: {
        float a[V], b[V], c[V];
        const int operands = operands_of(instruction.opcode);
        registers.read(a, instruction.operands[0]);
        if (operands > 1) registers.read(b, instruction.operands[1]);
        if (operands > 2) registers.read(c, instruction.operands[2]);
        apply<V, Spoken>(instruction.opcode, result, a, b, c);
      }
    }
    registers.last_register = instruction.destination;
#pragma unroll
    for (int v = 0; v < V; ++v) registers.last[v] = result[v];
    if (program.kept[i])
#pragma unroll
      for (int v = 0; v < V; ++v) registers.file[instruction.destination][v] = result[v];
  }
}

/// The same for an epilogue, whose registers nobody wants afterwards.
template <int V, Language Spoken = Language::Whole>
__device__ void run_program(const Program& program, int64_t outer, int64_t inner, int count, const float (&values)[V]) {
  Registers<V> registers;
  run_program<V, Spoken>(program, ProgramPlace(program, outer, inner), count, values, registers);
}

/// A register of any type.
union Word {
  float f32;
  double f64;
  int64_t i64;
};
__device__ inline float& as(Word& word, float) { return word.f32; }
__device__ inline double& as(Word& word, double) { return word.f64; }
__device__ inline int64_t& as(Word& word, int64_t) { return word.i64; }

/// One element of a program with registers of any type.
__device__ inline void run_wide_program(const Program& program, const ProgramPlace& place,
                                        Word (&file)[kernels::max_registers]) {
  for (int i = 0; i < program.code_size; ++i) {
    const kernels::Instruction& instruction = program.code[i];
    Word& to = file[instruction.destination];
    const uint8_t* from = instruction.operands;
    const auto in_type = [&](auto function) { kernels::with_register_type(instruction.type, function); };
    switch (instruction.opcode) {
      case kernels::Opcode::Load: {
        const kernels::Operand& operand = program.operands[instruction.index];
        const int64_t offset = place.of(program, operand);
        kernels::with_memory_type(operand.dtype, [&](auto memory) {
          memory = static_cast<const decltype(memory)*>(operand.data)[offset];
          in_type([&](auto type) { kernels::widen(memory, as(to, type)); });
        });
        break;
      }
      case kernels::Opcode::Store: {
        const kernels::Operand& operand = program.operands[instruction.index];
        const int64_t offset = place.of(program, operand);
        kernels::with_memory_type(operand.dtype, [&](auto memory) {
          in_type([&](auto type) { kernels::narrow(as(file[from[0]], type), memory); });
          static_cast<decltype(memory)*>(operand.data)[offset] = memory;
        });
        break;
      }
      case kernels::Opcode::Constant:
        if (instruction.type == kernels::RegisterType::I64)
          to.i64 = instruction.integer;
        else if (instruction.type == kernels::RegisterType::F64)
          to.f64 = instruction.floating;
        else
          to.f32 = static_cast<float>(instruction.floating);
        break;
      case kernels::Opcode::Convert:
        kernels::with_register_type(instruction.source, [&](auto source) {
          in_type([&](auto type) {
            decltype(type) value;
            kernels::convert(as(file[from[0]], source), value);
            as(to, type) = value;
          });
        });
        break;
      case kernels::Opcode::RoundTo:
        kernels::with_memory_type(static_cast<DType>(instruction.index), [&](auto memory) {
          in_type([&](auto type) {
            kernels::narrow(as(file[from[0]], type), memory);
            kernels::widen(memory, as(to, type));
          });
        });
        break;
      default:
        in_type([&](auto type) {
          using T = decltype(type);
          const int operands = operands_of(instruction.opcode);
          const T b = operands > 1 ? as(file[from[1]], type) : T(0);
          const T c = operands > 2 ? as(file[from[2]], type) : T(0);
          as(to, type) = apply_any<T>(instruction.opcode, as(file[from[0]], type), b, c);
        });
    }
  }
}

}  // namespace pycnn::cuda
