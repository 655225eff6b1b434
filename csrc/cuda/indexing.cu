// Gather and scatter along one axis. An index out of range touches no memory; it is noted, and told of later.
#include <type_traits>

#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/lanes.h"
#include "cuda/ordered_scatter.h"

namespace pycnn::cuda {
namespace {

using kernels::BoolByte;
using kernels::IndexArguments;
using kernels::Operand;

/// The index if it is in range; else notes that it is not and gives -1.
__device__ inline int64_t checked(int64_t index, int64_t size, uint32_t* out_of_range) {
  if (index >= 0 && index < size) return index;
  *out_of_range = 1;
  return -1;
}

// -- gather -----------------------------------------------------------------------------------------------------------

struct Gather {
  IndexArguments arguments;
  LongDivide by_size[kernels::max_loops];
  int64_t count;
  uint32_t* out_of_range;
};

/// T is any type of the elements' size, or of several of theirs.
template <typename T>
__global__ void __launch_bounds__(block_threads) gather_elements(const __grid_constant__ Gather gather) {
  const IndexArguments& a = gather.arguments;
  int64_t rest = thread_number();
  if (rest >= gather.count) return;
  int64_t value = 0, index = 0, entry = 0;
  for (int loop = a.loops - 1; loop >= 0; --loop) {
    const int64_t next = gather.by_size[loop].quotient(rest), at = rest - next * a.sizes[loop];
    value += at * a.values.strides[loop];
    index += at * a.index.strides[loop];
    if (loop != a.axis) entry += at * a.table.strides[loop];
    rest = next;
  }
  const int64_t place = checked(static_cast<const int64_t*>(a.index.data)[index], a.axis_size, gather.out_of_range);
  if (place < 0) return;
  static_cast<T*>(a.values.data)[value] = static_cast<const T*>(a.table.data)[entry + place * a.axis_stride];
}

template <typename T>
void launch_gather(const IndexArguments& a) {
  Gather gather{a, {}, 1, out_of_range_flag()};
  for (int loop = 0; loop < a.loops; ++loop) {
    gather.by_size[loop] = LongDivide(a.sizes[loop]);
    gather.count *= a.sizes[loop];
  }
  if (gather.out_of_range == nullptr) return;
  launch("gather", gather_elements<T>, {blocks_for(gather.count), dim3(block_threads)}, gather);
}

/// The same for elements that are `together` times as large, if rows can be moved so; else returns false.
bool widen_rows(IndexArguments& a, int64_t together) {
  const int inner = a.loops - 1;
  if (a.axis == inner || a.index.strides[inner] != 0) return false;
  bool whole = a.sizes[inner] % together == 0 && a.axis_stride % together == 0;
  for (Operand* operand : {&a.values, &a.table}) {
    whole &= operand->strides[inner] == 1 && reinterpret_cast<uintptr_t>(operand->data) % most_bytes_at_once == 0;
    for (int loop = 0; loop < inner; ++loop) whole &= operand->strides[loop] % together == 0;
  }
  if (!whole) return false;
  a.sizes[inner] /= together;
  a.axis_stride /= together;
  for (Operand* operand : {&a.values, &a.table})
    for (int loop = 0; loop < inner; ++loop) operand->strides[loop] /= together;
  return true;
}

// -- scatter ----------------------------------------------------------------------------------------------------------

enum class Combination : uint8_t { Store, Sum, Product, Maximum, Minimum };

template <typename T>
__device__ inline T combined(Combination how, T entry, T value) {
  switch (how) {
    case Combination::Sum:
      return entry + value;
    case Combination::Product:
      return entry * value;
    case Combination::Maximum:
      return entry != entry || entry > value ? entry : value;
    case Combination::Minimum:
      return entry != entry || entry < value ? entry : value;
    default:
      return value;
  }
}

/// Floats as they are, halves in float, integers wrapping around, bool as 0 and 1.
template <typename T>
__device__ inline void combine(Combination how, T& entry, T value) {
  if (how == Combination::Store) {
    entry = value;
  } else if constexpr (std::is_floating_point_v<T>) {
    entry = combined(how, entry, value);
  } else if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
    entry = narrowed<T>(combined(how, widened(entry), widened(value)));
  } else {
    int64_t a, b;
    kernels::widen(entry, a);
    kernels::widen(value, b);
    const bool wraps = how == Combination::Sum || how == Combination::Product;
    const int64_t result = wraps
                               ? static_cast<int64_t>(combined(how, static_cast<uint64_t>(a), static_cast<uint64_t>(b)))
                               : combined(how, a, b);
    kernels::narrow(result, entry);
  }
}

/// See ordered_scatter.h. With `separate` indices every element of the innermost loop is a line of its own.
template <typename T>
struct IndexSource {
  using Element = T;
  static constexpr bool starts_empty = false;

  IndexArguments a;
  Combination how;
  bool separate;
  int inner;  ///< the innermost loop, or -1 if that is the axis
  uint32_t* out_of_range;
  int64_t lines, count, width, table_size;

  IndexSource(const IndexArguments& arguments, Combination combination)
      : a(arguments),
        how(combination),
        out_of_range(out_of_range_flag()),
        lines(1),
        count(a.sizes[a.axis]),
        width(1),
        table_size(a.axis_size) {
    inner = a.axis == a.loops - 1 ? -1 : a.loops - 1;
    separate = inner >= 0 && a.index.strides[inner] != 0;
    for (int loop = 0; loop < a.loops; ++loop)
      if (loop != a.axis) (loop == inner && !separate ? width : lines) *= a.sizes[loop];
  }

  struct Line {
    const IndexSource& source;
    const int64_t* indices;
    const T* values;
    T* table;

    __device__ int64_t index(int64_t i) const {
      return checked(indices[i * source.a.index.strides[source.a.axis]], source.a.axis_size, source.out_of_range);
    }
    __device__ T value(int64_t i, int64_t column) const {
      return values[i * source.a.values.strides[source.a.axis] + column * source.inner_stride(source.a.values)];
    }
    __device__ T* entry(int64_t element, int64_t column) const {
      return table + element * source.a.axis_stride + column * source.inner_stride(source.a.table);
    }
  };

  __device__ int64_t inner_stride(const Operand& operand) const { return inner < 0 ? 0 : operand.strides[inner]; }
  __device__ Line line(int64_t number) const {
    int64_t index = 0, value = 0, entry = 0;
    for (int loop = a.loops - 1; loop >= 0; --loop) {
      if (loop == a.axis || (loop == inner && !separate)) continue;
      const int64_t next = number / a.sizes[loop], at = number - next * a.sizes[loop];
      index += at * a.index.strides[loop];
      value += at * a.values.strides[loop];
      entry += at * a.table.strides[loop];
      number = next;
    }
    return {*this, static_cast<const int64_t*>(a.index.data) + index, static_cast<const T*>(a.values.data) + value,
            static_cast<T*>(a.table.data) + entry};
  }
  __device__ void combine(T& entry, T value) const { cuda::combine(how, entry, value); }
};

bool run_scatter(const char* name, const IndexArguments& a, Combination how) {
  kernels::with_memory_type(a.dtype, [&](auto memory) {
    const IndexSource<decltype(memory)> source(a, how);
    if (source.out_of_range != nullptr) ordered_scatter(name, source, source.separate);
  });
  return true;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

bool gather(const IndexArguments& arguments) {
  IndexArguments a = arguments;
  const size_t size = size_of(a.dtype);
  if (widen_rows(a, static_cast<int64_t>(most_bytes_at_once / size)))
    launch_gather<uint4>(a);
  else if (size == 1)
    launch_gather<uint8_t>(a);
  else if (size == 2)
    launch_gather<uint16_t>(a);
  else if (size == 4)
    launch_gather<uint32_t>(a);
  else
    launch_gather<uint64_t>(a);
  return true;
}

bool scatter(const IndexArguments& a) { return run_scatter("scatter", a, Combination::Store); }
bool scatter_add(const IndexArguments& a) { return run_scatter("scatter_add", a, Combination::Sum); }
bool scatter_product(const IndexArguments& a) { return run_scatter("scatter_product", a, Combination::Product); }
bool scatter_maximum(const IndexArguments& a) { return run_scatter("scatter_maximum", a, Combination::Maximum); }
bool scatter_minimum(const IndexArguments& a) { return run_scatter("scatter_minimum", a, Combination::Minimum); }

}  // namespace pycnn::cuda
