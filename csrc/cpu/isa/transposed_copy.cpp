// Copies between layouts whose contiguous dimensions differ, as between (N, C, H, W) and channels-last: the interpreter
// would read or write single elements far apart; here tiles are transposed in registers. On its way float32 may be
// rounded to bfloat16.
#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm.h"
#include "cpu/isa/interleave.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/transpose.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::max_loops;
using kernels::Opcode;
using kernels::PointwiseArguments;
using kernels::RegisterType;

constexpr int64_t task_elements = int64_t{1} << 14;
constexpr int64_t least_elements = 256;

struct Dimension {
  int64_t size, from, to;  ///< strides in elements
};

/// Whether a register holds every element as it is.
bool holds(RegisterType type, DType dtype) {
  switch (dtype) {
    case DType::Float32:
      return type != RegisterType::I64;
    case DType::Float64:
      return type == RegisterType::F64;
    case DType::Int32:
    case DType::Int64:
      return type == RegisterType::I64;
    default:
      return false;
  }
}

/// The loops of a copy: `contiguous` runs along the source's elements, `written` along the target's.
struct Layout {
  Dimension outer[max_loops], contiguous, written;
  int outer_count;
  bool rounds;

  /// False unless the program is such a copy.
  bool set(const PointwiseArguments& arguments);
};

bool Layout::set(const PointwiseArguments& arguments) {
  if (arguments.code_size < 2) return false;
  const kernels::Instruction &load = arguments.code[0], &store = arguments.code[arguments.code_size - 1];
  if (load.opcode != Opcode::Load || store.opcode != Opcode::Store) return false;
  uint8_t value = load.destination;
  for (const kernels::Instruction* i = &load + 1; i != &store; ++i) {
    if (i->opcode != Opcode::RoundTo || static_cast<DType>(i->index) != DType::BFloat16 || i->operands[0] != value)
      return false;
    value = i->destination;
  }
  if (store.operands[0] != value) return false;
  const kernels::Operand &from = arguments.operands[load.index], &to = arguments.operands[store.index];
  rounds = from.dtype == DType::Float32 && to.dtype == DType::BFloat16;
  if ((from.dtype != to.dtype || arguments.code_size > 2) && !rounds) return false;
  if (from.data == to.data || !holds(load.type, from.dtype) || !holds(store.type, from.dtype)) return false;

  Dimension all[max_loops];
  int count = 0;
  for (int d = 0; d < arguments.loops; ++d) {
    const Dimension next{arguments.sizes[d], from.strides[d], to.strides[d]};
    if (next.size == 1) continue;
    Dimension* last = all + count - 1;
    if (count > 0 && last->from == next.from * next.size && last->to == next.to * next.size)
      *last = {last->size * next.size, next.from, next.to};
    else
      all[count++] = next;
  }
  int source = -1, target = -1;
  for (int d = 0; d < count; ++d) {
    if (all[d].from == 1 && source < 0) source = d;
    if (all[d].to == 1 && target < 0) target = d;
  }
  if (source < 0 || target < 0 || source == target) return false;
  contiguous = all[source];
  written = all[target];
  outer_count = 0;
  for (int d = 0; d < count; ++d)
    if (d != source && d != target) outer[outer_count++] = all[d];
  return contiguous.size * written.size >= least_elements;
}

constexpr int most_interleaved = 4;

/// to[p·columns + q] = from[q·from_row + p] for p < rows, as planes become pixels.
template <typename T, int Columns, typename M>
void interleave_block(const T* from, int64_t from_row, int64_t rows, int64_t columns, M* to) {
  if constexpr (Columns > 2)
    if (columns < Columns) return interleave_block<T, Columns - 1>(from, from_row, rows, columns, to);
  int64_t p = 0;
  for (; p + lanes<T> <= rows; p += lanes<T>) {
    Vector<T> planes[Columns];
#pragma GCC unroll 4
    for (int q = 0; q < Columns; ++q) planes[q] = load(from + q * from_row + p);
    store_interleaved<T, Columns, 0>(to + p * Columns, planes);
  }
  for (; p < rows; ++p)
    for (int q = 0; q < Columns; ++q) round_to(from[q * from_row + p], to[p * Columns + q]);
}

/// to[p·to_row + q] = from[q·from_row + p] for p < rows and q < columns.
template <typename T, typename M>
void transpose_block(const T* from, int64_t from_row, int64_t rows, int64_t columns, M* to, int64_t to_row) {
  if (columns == to_row && columns >= 2 && columns <= most_interleaved)
    return interleave_block<T, most_interleaved>(from, from_row, rows, columns, to);
  if (columns < lanes<T> / 2 || rows < lanes<T> / 2) {
    for (int64_t p = 0; p < rows; ++p)
      for (int64_t q = 0; q < columns; ++q) round_to(from[q * from_row + p], to[p * to_row + q]);
    return;
  }
  for (int64_t q = 0; q < columns; q += lanes<T>) {
    const int64_t width = min_of(columns - q, lanes<T>);
    const Mask<T> columns_left(static_cast<int>(width));
    for (int64_t p = 0; p < rows; p += lanes<T>) {
      const int64_t height = min_of(rows - p, lanes<T>);
      const T* corner = from + q * from_row + p;
      M* target = to + p * to_row + q;
      Vector<T> tile[lanes<T>];
      if (width == lanes<T> && height == lanes<T>) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i) tile[i] = load(corner + i * from_row);
        transpose<T>(tile);
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i) store(target + i * to_row, tile[i]);
      } else {
        const Mask<T> rows_left(static_cast<int>(height));
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i) tile[i] = i < width ? load(corner + i * from_row, rows_left) : Vector<T>{};
        transpose<T>(tile);
#pragma GCC unroll 16
        for (int i = 0; i < lanes<T>; ++i)
          if (i < height) store(target + i * to_row, tile[i], columns_left);
      }
    }
  }
}

template <typename T, typename M>
void run(const Layout& layout, const void* source, void* target) {
  int64_t outer = 1;
  for (int d = 0; d < layout.outer_count; ++d) outer *= layout.outer[d].size;
  // Narrow matrices are cut along their length only.
  const int64_t columns = min_of(layout.written.size, 64);
  const int64_t rows = min_of(layout.contiguous.size, max_of(64, task_elements / columns));
  const int64_t column_blocks = ceil_divide(layout.written.size, columns);
  const int64_t row_blocks = ceil_divide(layout.contiguous.size, rows);
  parallel_for(outer * row_blocks * column_blocks, [&](int64_t task) {
    const int64_t q = task % column_blocks * columns, p = task / column_blocks % row_blocks * rows;
    int64_t rest = task / column_blocks / row_blocks;
    const T* from = static_cast<const T*>(source) + p + q * layout.written.from;
    M* to = static_cast<M*>(target) + p * layout.contiguous.to + q;
    for (int d = layout.outer_count - 1; d >= 0; --d) {
      from += rest % layout.outer[d].size * layout.outer[d].from;
      to += rest % layout.outer[d].size * layout.outer[d].to;
      rest /= layout.outer[d].size;
    }
    transpose_block(from, layout.written.from, min_of(layout.contiguous.size - p, rows),
                    min_of(layout.written.size - q, columns), to, layout.contiguous.to);
  });
}

}  // namespace

bool transposed_copy(const PointwiseArguments& arguments) {
  Layout layout;
  if (!layout.set(arguments)) return false;
  const kernels::Operand& from = arguments.operands[arguments.code[0].index];
  void* const to = arguments.operands[arguments.code[arguments.code_size - 1].index].data;
  if (layout.rounds)
    run<float, BFloat16>(layout, from.data, to);
  else if (size_of(from.dtype) == 4)  // Elements are moved, not converted: any type of that size will do.
    run<float, float>(layout, from.data, to);
  else
    run<double, double>(layout, from.data, to);
  return true;
}

}  // namespace pycnn::cpu::PYCNN_ISA
