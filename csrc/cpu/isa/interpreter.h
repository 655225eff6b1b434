// The interpreter of pointwise programs: instructions run one after another over chunks of the flattened iteration
// space that stay in the first-level cache.
#pragma once

#include "cpu/isa/chain.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/opcodes.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Elements of a register at most.
inline constexpr int64_t max_chunk = 512;

/// An operand's addresses as a function of the flat index: nested loops, merged where its strides allow.
struct OperandView {
  char* data;
  int64_t element_size;
  int loops;
  int64_t sizes[kernels::max_loops];
  int64_t strides[kernels::max_loops];  ///< in elements
  int64_t period;                       ///< what lies at i lies at i + period too
  int64_t column_bytes;                 ///< from one position of the innermost loop given to the next

  void set(const kernels::Operand& operand, int loop_count, const int64_t* loop_sizes);
  /// Offset of a flat index in elements; `run` is how many elements from there lie in the innermost loop.
  int64_t offset(int64_t begin, int64_t& run) const;
  int64_t inner_stride() const { return strides[loops - 1]; }
};

/// Rows of elements in memory, strides in elements.
struct Block {
  int64_t rows, columns;
  int64_t row_stride, stride;
};

static inline Block line(int64_t n, int64_t stride) { return {1, n, 0, stride}; }

/// A block of memory to or from a dense buffer, with the dtype and register type built in.
using LoadFunction = void (*)(void* destination, const void* source, const Block& block);
using StoreFunction = void (*)(void* destination, const void* source, const Block& block);
LoadFunction load_function(DType dtype, kernels::RegisterType type);
StoreFunction store_function(DType dtype, kernels::RegisterType type);
/// The same for n elements from flat index `begin`, whatever the strides.
void load_elements(void* destination, const OperandView& view, LoadFunction load, int64_t register_size, int64_t begin,
                   int64_t n);
void store_elements(const OperandView& view, const void* source, StoreFunction store, int64_t register_size,
                    int64_t begin, int64_t n);

/// A program made ready: functions chosen, loop-invariant work set apart, registers tied to memory where that is safe.
struct Program {
  struct Step {
    enum class Kind : uint8_t { Load, Store, Constant, Compute, Chain } kind;
    uint8_t destination;  ///< places: registers, then invariants
    uint8_t sources[3];
    uint8_t operand;
    bool direct;           ///< Load: the register may be the memory itself. Store: the memory's type is the register's.
    bool narrow;           ///< Load (direct), Chain (write_through): that memory is bfloat16
    bool through_copy;     ///< Compute in place between types of different width
    int8_t write_through;  ///< operand whose memory this step's result may be written to at once, or -1
    uint8_t width;         ///< bytes of a register's element (Compute in place: of the source's)
    bool far;              ///< Chain: as in Link, for where it starts
    bool streams;          ///< Chain: what it writes through to is so large that it goes past the caches
    uint16_t link, links;  ///< Chain: the first of its links, and how many there are
    union {
      ComputeFunction compute;
      LoadFunction load;
      StoreFunction store;
    };
    uint64_t immediate;  ///< Constant: the bits of the value
  };
  static constexpr int max_places = kernels::max_registers + 24;

  int operand_count;
  int body_size;
  int invariant_count;
  int link_count;
  int places;
  int64_t total;                             ///< elements of the iteration space
  int64_t chunk;                             ///< elements a call of run() takes at most
  int64_t place_size;                        ///< bytes
  uint8_t place_of[kernels::max_registers];  ///< at the end of the program
  OperandView views[kernels::max_operands];
  Step body[kernels::max_instructions];
  Step invariants[24];
  Link links[kernels::max_instructions];

  void clear() { operand_count = body_size = invariant_count = link_count = 0; }
  /// Runs will begin at multiples of `alignment` (0: of the chunk, chosen here so that most operands repeat).
  /// `keep` marks registers that are read after a run; those of float32 may then be bfloat16 in memory if
  /// `keep_narrow` says so too.
  void prepare(const kernels::PointwiseArguments& arguments, int64_t alignment, const bool* keep,
               const bool* keep_narrow = nullptr);
  /// Lets results that are not read here go past the caches if the iteration space is large. Returns whether any do;
  /// then every thread ends with stream_fence().
  bool stream_large_results();
};

/// A thread's registers.
class Machine {
 public:
  static constexpr int64_t memory_size = 128 * 1024;
  static constexpr int64_t spare_size = 8 * max_chunk;  ///< at the end of memory, for conversions in place

  /// All operands are read and written `column` positions of the innermost loop further on.
  explicit Machine(const Program& program, int64_t column = 0);
  /// Elements [begin, begin + n) of the flattened space, n ≤ chunk.
  void run(int64_t begin, int64_t n);
  /// A register's elements after run().
  const void* result(int place) const { return pointers_[place]; }
  bool is_narrow(int place) const { return narrow_[place]; }
  /// Whether that is the machine's own memory, which the next run overwrites.
  bool is_register(const void* result) const {
    return reinterpret_cast<uintptr_t>(result) - reinterpret_cast<uintptr_t>(memory_) < sizeof memory_;
  }

 private:
  void execute(const Program::Step& step, int64_t begin, int64_t n);
  void* memory_of(int place) { return memory_ + place * program_.place_size; }

  const Program& program_;
  OperandView views_[kernels::max_operands];
  const void* pointers_[Program::max_places];
  bool narrow_[Program::max_places];  ///< of float32 registers: bfloat16 is what the pointer points to
  /// The first run makes them: what a program follows may be a single element, which looks like one that repeats and is
  /// not there before.
  bool has_invariants_ = false;
  alignas(64) char memory_[memory_size];
};

}  // namespace pycnn::cpu::PYCNN_ISA
