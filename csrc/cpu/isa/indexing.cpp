// Gather and scatter along one axis.
#include "cpu/isa/isa.h"
#include "cpu/parallel.h"
#include "kernels/convert.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using namespace kernels;

/// Elements of the innermost loop that a task of a scatter takes.
constexpr int64_t inner_block = 64;

/// The iteration space as (outer loops, axis, innermost loop); a missing innermost loop has size 1.
struct Space {
  int64_t outer = 1, axis, inner = 1;
  int outer_loops[kernels::max_loops];
  int outer_count = 0;
  int inner_loop = -1;

  explicit Space(const IndexArguments& a) : axis(a.sizes[a.axis]) {
    if (a.axis != a.loops - 1) {
      inner_loop = a.loops - 1;
      inner = a.sizes[inner_loop];
    }
    for (int d = 0; d < a.loops; ++d)
      if (d != a.axis && d != inner_loop) {
        outer_loops[outer_count++] = d;
        outer *= a.sizes[d];
      }
  }
  int64_t offset(const IndexArguments& a, const kernels::Operand& operand, int64_t position) const {
    int64_t result = 0;
    for (int i = outer_count - 1; i >= 0; --i) {
      const int d = outer_loops[i];
      result += position % a.sizes[d] * operand.strides[d];
      position /= a.sizes[d];
    }
    return result;
  }
  int64_t inner_stride(const kernels::Operand& operand) const {
    return inner_loop < 0 ? 0 : operand.strides[inner_loop];
  }
};

/// How an entry of the table and a value combine: floats as they are, integers wrapping around, bool as 0 and 1.
struct Sum {
  static float of(float a, float b) { return a + b; }
  static double of(double a, double b) { return a + b; }
  static uint64_t of(uint64_t a, uint64_t b, int64_t, int64_t) { return a + b; }
};
struct Product {
  static float of(float a, float b) { return a * b; }
  static double of(double a, double b) { return a * b; }
  static uint64_t of(uint64_t a, uint64_t b, int64_t, int64_t) { return a * b; }
};
struct Maximum {
  template <typename T>
  static T of(T a, T b) {
    return a != a || a > b ? a : b;
  }
  static uint64_t of(uint64_t a, uint64_t b, int64_t x, int64_t y) { return x > y ? a : b; }
};
struct Minimum {
  template <typename T>
  static T of(T a, T b) {
    return a != a || a < b ? a : b;
  }
  static uint64_t of(uint64_t a, uint64_t b, int64_t x, int64_t y) { return x < y ? a : b; }
};

template <typename Combination>
void combine(float& to, float value) {
  to = Combination::of(to, value);
}
template <typename Combination>
void combine(double& to, double value) {
  to = Combination::of(to, value);
}
template <typename Combination, typename T>
void combine(T& to, T value) {
  to = static_cast<T>(
      Combination::of(static_cast<uint64_t>(to), static_cast<uint64_t>(value), int64_t{to}, int64_t{value}));
}
template <typename Combination>
void combine(BoolByte& to, BoolByte value) {
  const int64_t a = to.byte != 0, b = value.byte != 0;
  to.byte = Combination::of(static_cast<uint64_t>(a), static_cast<uint64_t>(b), a, b) != 0 ? 1 : 0;
}
template <typename Combination, typename Half>
void combine_halves(Half& to, Half value) {
  float entry, other;
  widen(to, entry);
  widen(value, other);
  narrow(Combination::of(entry, other), to);
}
template <typename Combination>
void combine(Float16& to, Float16 value) {
  combine_halves<Combination>(to, value);
}
template <typename Combination>
void combine(BFloat16& to, BFloat16 value) {
  combine_halves<Combination>(to, value);
}

struct Gather {
  template <typename T>
  static void apply(T& value, T& entry) {
    value = entry;
  }
};
struct Scatter {
  template <typename T>
  static void apply(T& value, T& entry) {
    entry = value;
  }
};
template <typename Combination>
struct Combine {
  template <typename T>
  static void apply(T& value, T& entry) {
    combine<Combination>(entry, value);
  }
};

/// Rows of adjacent elements that go together: n of both.
template <typename Operation, typename T>
void apply_row(T* values, T* table, int64_t n) {
#pragma GCC ivdep
  for (int64_t k = 0; k < n; ++k) Operation::apply(values[k], table[k]);
}

/// Entries of the table that two values may share lie in one task, which takes them in increasing order along the axis.
template <typename Operation, typename T>
bool index_loop(const IndexArguments& a) {
  const Space space(a);
  if (space.outer == 0 || space.axis == 0 || space.inner == 0) return true;
  const int64_t blocks = (space.inner + inner_block - 1) / inner_block;
  const int64_t value_inner = space.inner_stride(a.values), index_inner = space.inner_stride(a.index);
  const int64_t table_inner = space.inner_stride(a.table);
  // Where one index stands for all elements beside the axis, they are copied or added as a row.
  const bool whole_rows = index_inner == 0 && value_inner == 1 && table_inner == 1;
  int failed = 0;
  const auto run = [&](int64_t task) {
    const int64_t position = task / blocks, begin = task % blocks * inner_block;
    const int64_t n = space.inner - begin < inner_block ? space.inner - begin : inner_block;
    T* values = static_cast<T*>(a.values.data) + space.offset(a, a.values, position) + begin * value_inner;
    const int64_t* indices =
        static_cast<const int64_t*>(a.index.data) + space.offset(a, a.index, position) + begin * index_inner;
    T* table = static_cast<T*>(a.table.data) + space.offset(a, a.table, position) + begin * table_inner;
    for (int64_t j = 0; j < space.axis; ++j, values += a.values.strides[a.axis], indices += a.index.strides[a.axis]) {
      for (int64_t k = 0; k < n; ++k) {
        const int64_t index = indices[k * index_inner];
        if (index >= 0 && index < a.axis_size && whole_rows) {
          apply_row<Operation>(values, table + index * a.axis_stride, n);
          break;
        }
        if (index < 0 || index >= a.axis_size) {
          __atomic_store_n(&failed, 1, __ATOMIC_RELAXED);
          return;
        }
        Operation::apply(values[k * value_inner], table[index * a.axis_stride + k * table_inner]);
      }
    }
  };
  const int64_t tasks = space.outer * blocks;
  const int64_t task_elements = space.axis * (space.inner < inner_block ? space.inner : inner_block);
  const int64_t per_task = task_elements < 8192 ? 8192 / task_elements : 1;
  const int64_t groups = (tasks + per_task - 1) / per_task;
  const auto run_group = [&](int64_t group) {
    const int64_t end = (group + 1) * per_task < tasks ? (group + 1) * per_task : tasks;
    for (int64_t task = group * per_task; task < end; ++task) run(task);
  };
  if (groups == 1)
    run_group(0);
  else
    parallel_for(groups, run_group);
  return __atomic_load_n(&failed, __ATOMIC_RELAXED) == 0;
}

template <typename Operation>
bool run_index(const IndexArguments& arguments) {
  return with_memory_type(arguments.dtype,
                          [&](auto value) { return index_loop<Operation, decltype(value)>(arguments); });
}

}  // namespace

bool gather(const IndexArguments& arguments) { return run_index<Gather>(arguments); }
bool scatter(const IndexArguments& arguments) { return run_index<Scatter>(arguments); }
bool scatter_add(const IndexArguments& arguments) { return run_index<Combine<Sum>>(arguments); }
bool scatter_product(const IndexArguments& arguments) { return run_index<Combine<Product>>(arguments); }
bool scatter_maximum(const IndexArguments& arguments) { return run_index<Combine<Maximum>>(arguments); }
bool scatter_minimum(const IndexArguments& arguments) { return run_index<Combine<Minimum>>(arguments); }

}  // namespace pycnn::cpu::PYCNN_ISA
