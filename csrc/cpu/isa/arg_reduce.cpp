// Index of the extreme element along an axis.
#include "cpu/isa/interpreter.h"
#include "cpu/parallel.h"
#include "kernels/convert.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

RegisterType register_of(DType dtype) {
  if (dtype == DType::Float64) return RegisterType::F64;
  return is_floating_point(dtype) ? RegisterType::F32 : RegisterType::I64;
}

/// Whether x replaces the extreme so far: it lies beyond it, or is the first NaN.
template <bool maximum, typename T>
bool beats(T x, T best) {
  return (maximum ? x > best : x < best) | ((x != x) & (best == best));
}

/// The elements [begin, begin + n) of one line are searched in a buffer: the extreme by halving, then its first place.
template <bool maximum, typename T>
void search_line(const T* x, int64_t begin, int64_t n, T& best, int64_t& index) {
  T folded[max_chunk];
  for (int64_t i = 0; i < n; ++i) folded[i] = x[i];
  for (int64_t left = n; left > 1;) {
    const int64_t half = (left + 1) / 2;
#pragma GCC ivdep
    for (int64_t i = 0; i < left - half; ++i)
      folded[i] = beats<maximum>(folded[half + i], folded[i]) ? folded[half + i] : folded[i];
    left = half;
  }
  if (begin > 0 && !beats<maximum>(folded[0], best)) return;
  best = folded[0];
  for (int64_t i = 0; i < n; ++i)
    if (x[i] == best || (x[i] != x[i] && best != best)) {
      index = begin + i;
      return;
    }
}

template <bool maximum, typename T>
void arg_reduce_tile(const ArgReduceArguments& arguments, RegisterType type, int64_t outer, int64_t inner, int64_t n) {
  const int64_t size = static_cast<int64_t>(size_of(arguments.input.dtype));
  const char* input = static_cast<const char*>(arguments.input.data) +
                      (outer * arguments.input.strides[0] + inner * arguments.input.strides[2]) * size;
  const LoadFunction load = load_function(arguments.input.dtype, type);
  T row[max_chunk], best[max_chunk];
  int64_t index[max_chunk];
  const int64_t axis = arguments.sizes[1];
  if (arguments.sizes[2] == 1) {
    for (int64_t begin = 0; begin < axis; begin += max_chunk) {
      const int64_t count = axis - begin < max_chunk ? axis - begin : max_chunk;
      load(row, input + begin * arguments.input.strides[1] * size, line(count, arguments.input.strides[1]));
      search_line<maximum>(row, begin, count, best[0], index[0]);
    }
  } else {
    load(best, input, line(n, arguments.input.strides[2]));
    for (int64_t i = 0; i < n; ++i) index[i] = 0;
    for (int64_t j = 1; j < axis; ++j) {
      load(row, input + j * arguments.input.strides[1] * size, line(n, arguments.input.strides[2]));
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const bool take = beats<maximum>(row[i], best[i]);
        best[i] = take ? row[i] : best[i];
        index[i] = take ? j : index[i];
      }
    }
  }
  const auto write = [&](const kernels::Operand& operand, const void* source, RegisterType source_type) {
    if (operand.data == nullptr) return;
    char* target = static_cast<char*>(operand.data) + (outer * operand.strides[0] + inner * operand.strides[2]) *
                                                          static_cast<int64_t>(size_of(operand.dtype));
    store_function(operand.dtype, source_type)(target, source, line(n, operand.strides[2]));
  };
  write(arguments.values, best, type);
  write(arguments.indices, index, RegisterType::I64);
}

}  // namespace

void arg_reduce(const ArgReduceArguments& arguments) {
  const int64_t outer = arguments.sizes[0], axis = arguments.sizes[1], inner = arguments.sizes[2];
  if (outer == 0 || axis == 0 || inner == 0) return;
  const RegisterType type = register_of(arguments.input.dtype);
  const int64_t tiles = (inner + max_chunk - 1) / max_chunk;
  const int64_t tile_elements = axis * (inner < max_chunk ? inner : max_chunk);
  const int64_t per_task = tile_elements < 32768 ? 32768 / tile_elements : 1;
  const int64_t tasks = (outer * tiles + per_task - 1) / per_task;
  const auto run = [&](int64_t task) {
    const int64_t end = (task + 1) * per_task < outer * tiles ? (task + 1) * per_task : outer * tiles;
    for (int64_t tile = task * per_task; tile < end; ++tile) {
      const int64_t begin = tile % tiles * max_chunk;
      const int64_t n = inner - begin < max_chunk ? inner - begin : max_chunk;
      with_register_type(type, [&](auto value) {
        using T = decltype(value);
        if (arguments.maximum)
          arg_reduce_tile<true, T>(arguments, type, tile / tiles, begin, n);
        else
          arg_reduce_tile<false, T>(arguments, type, tile / tiles, begin, n);
      });
    }
  };
  if (tasks == 1)
    run(0);
  else
    parallel_for(tasks, run);
}

}  // namespace pycnn::cpu::PYCNN_ISA
