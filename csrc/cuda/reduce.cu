// Reductions with a pointwise prologue. Threads go over strips of the reduced elements, blocks add up their threads,
// and a second kernel adds up the blocks: always in the same order, which follows from the shape.
#include <algorithm>

#include "cuda/interpreter.h"
#include "cuda/kernels.h"

namespace pycnn::cuda {
namespace {

using kernels::ReduceKind;
using kernels::RegisterType;

constexpr int threads = 128;

/// A reduction's state: what is handed from thread to thread and block to block.
struct Partial {
  double value;   ///< sum, product, extreme or mean
  double second;  ///< Σ(x - mean)²
  int64_t integer;
  int64_t count;
};

__device__ void begin(Partial& to, ReduceKind kind, RegisterType type) {
  const bool integers = type == RegisterType::I64;
  to = {0, 0, 0, 0};
  if (kind == ReduceKind::Product) to.value = static_cast<double>(to.integer = 1);
  if (kind == ReduceKind::Maximum) integers ? to.integer = INT64_MIN : to.value = -INFINITY;
  if (kind == ReduceKind::Minimum) integers ? to.integer = INT64_MAX : to.value = INFINITY;
}

/// Chan, Golub and LeVeque (1979) for moments.
__device__ void combine(Partial& to, const Partial& from, ReduceKind kind) {
  if (from.count == 0) return;
  if (kind == ReduceKind::Moments) {
    const int64_t count = to.count + from.count;
    const double distance = from.value - to.value, share = static_cast<double>(from.count) / static_cast<double>(count);
    to.value = to.count == 0 ? from.value : to.value + distance * share;
    to.second += from.second + (to.count == 0 ? 0 : distance * distance * static_cast<double>(to.count) * share);
  } else if (kind == ReduceKind::Sum) {
    to.value += from.value;
    to.integer = wrapped(bits_of(to.integer) + bits_of(from.integer));
  } else if (kind == ReduceKind::Product) {
    to.value *= from.value;
    to.integer = wrapped(bits_of(to.integer) * bits_of(from.integer));
  } else if (kind == ReduceKind::Maximum) {
    to.value = Apply<kernels::Opcode::Maximum, double>::of(to.value, from.value);
    to.integer = Apply<kernels::Opcode::Maximum, int64_t>::of(to.integer, from.integer);
  } else {
    to.value = Apply<kernels::Opcode::Minimum, double>::of(to.value, from.value);
    to.integer = Apply<kernels::Opcode::Minimum, int64_t>::of(to.integer, from.integer);
  }
  to.count += from.count;
}

/// A thread's state for one element and accumulation, in the register's type. Moments are sums of distances from the
/// first element.
template <typename T>
struct Strip {
  T value, second, shift;
};

template <typename T>
__device__ void begin(Strip<T>& to, ReduceKind kind) {
  to = {T(0), T(0), T(0)};
  if (kind == ReduceKind::Product) to.value = T(1);
}

template <typename T>
__device__ void add(Strip<T>& to, T x, ReduceKind kind, bool first) {
  switch (kind) {
    case ReduceKind::Sum:
      to.value = Apply<kernels::Opcode::Add, T>::of(to.value, x);
      break;
    case ReduceKind::Product:
      to.value = Apply<kernels::Opcode::Multiply, T>::of(to.value, x);
      break;
    case ReduceKind::Maximum:
      to.value = first ? x : Apply<kernels::Opcode::Maximum, T>::of(to.value, x);
      break;
    case ReduceKind::Minimum:
      to.value = first ? x : Apply<kernels::Opcode::Minimum, T>::of(to.value, x);
      break;
    case ReduceKind::Moments:
      if (first) to.shift = x;
      const T distance = x - to.shift;
      to.value += distance;
      to.second = Apply<kernels::Opcode::MultiplyAdd, T>::of(distance, distance, to.second);
  }
}

template <typename T>
__device__ void finish(Partial& to, const Strip<T>& from, ReduceKind kind, RegisterType type, int64_t count) {
  begin(to, kind, type);
  if (count == 0) return;
  to.count = count;
  if (kind == ReduceKind::Moments) {
    const auto sum = static_cast<double>(from.value), n = static_cast<double>(count);
    to.value = static_cast<double>(from.shift) + sum / n;
    const double second = static_cast<double>(from.second) - sum * sum / n;
    to.second = second < 0 ? 0 : second;  // NaN stays
  } else if (type == RegisterType::I64) {
    to.integer = static_cast<int64_t>(from.value);
  } else {
    to.value = static_cast<double>(from.value);
  }
}

/// The shape of a reduction. `across`: the innermost loop is kept, and a thread has results side by side; else it is
/// reduced, and a thread has elements of one result side by side.
struct ReducePlan {
  int kept_loops, reduced_loops;
  int kept[kernels::max_loops], reduced[kernels::max_loops];  ///< loops, the outer ones first
  bool across;
  int lanes;                      ///< elements side by side
  int64_t results, result_tiles;  ///< tiles: of `lanes` if across
  int64_t elements, element_tiles;
  int width, height;  ///< of a block: threads along the innermost loop and along the other kind of loops
  int64_t chunks, tiles_per_chunk;
  int count;  ///< of accumulations
  ReduceKind kinds[kernels::max_accumulations];
  uint8_t sources[kernels::max_accumulations];
  RegisterType types[kernels::max_accumulations];
  kernels::Operand outputs[kernels::max_accumulations], seconds[kernels::max_accumulations];
};

/// Sets the indices of `count` loops from their number together. The last one counts in tiles if it is the innermost.
__device__ void set_place(ProgramPlace& place, const Program& program, const int* loops, int count, int64_t number,
                          int tile) {
  for (int i = count - 1; i >= 0; --i) {
    const int loop = loops[i];
    const bool tiled = loop == program.loops - 1;
    const int64_t size = tiled ? (program.sizes[loop] + tile - 1) / tile : program.sizes[loop];
    const int64_t rest = i == 0 ? 0 : tiled ? number / size : program.dividers[loop].quotient(number);
    place.index[loop] = (number - rest * size) * (tiled ? tile : 1);
    number = rest;
  }
}

/// How many of V elements of the innermost loop there are at a place.
template <int V>
__device__ int lanes_at(const Program& program, const ProgramPlace& place) {
  const int64_t left = program.sizes[program.loops - 1] - place.index[program.loops - 1];
  return left < V ? static_cast<int>(left) : V;
}

__device__ void store_result(const ReducePlan& plan, int a, const ProgramPlace& place, int loops,
                             const Partial& partial) {
  for (int part = 0; part < (plan.kinds[a] == ReduceKind::Moments ? 2 : 1); ++part) {
    const kernels::Operand& operand = part == 0 ? plan.outputs[a] : plan.seconds[a];
    int64_t offset = 0;
    for (int loop = 0; loop < loops; ++loop) offset += place.index[loop] * operand.strides[loop];
    kernels::with_memory_type(operand.dtype, [&](auto memory) {
      if (plan.types[a] == RegisterType::I64)
        kernels::narrow(partial.integer, memory);
      else if (plan.types[a] == RegisterType::F32)
        kernels::narrow(static_cast<float>(part == 0 ? partial.value : partial.second), memory);
      else
        kernels::narrow(part == 0 ? partial.value : partial.second, memory);
      static_cast<decltype(memory)*>(operand.data)[offset] = memory;
    });
  }
}

/// Runs the program over the tile at `place` and calls visit(accumulation, lane, value) for what it reduces.
template <bool Wide, Language Spoken, int V, typename Visit>
__device__ void visit_tile(const Program& program, const ReducePlan& plan, const ProgramPlace& place, int count,
                           const Visit& visit) {
  if constexpr (Wide) {
    Word file[kernels::max_registers];
    run_wide_program(program, place, file);
    for (int a = 0; a < plan.count; ++a) visit(a, 0, file[plan.sources[a]]);
  } else {
    Registers<V> registers;
    const float nothing[V] = {};
    run_program<V, Spoken>(program, place, count, nothing, registers);
    for (int a = 0; a < plan.count; ++a) {
      float values[V];
      registers.read(values, plan.sources[a]);
#pragma unroll
      for (int v = 0; v < V; ++v)
        if (v < count) visit(a, v, values[v]);
    }
  }
}

/// A strip in the type of its register; 64-bit registers hold either.
template <bool Wide>
struct AnyStrip {
  Strip<float> f32;
};
template <>
struct AnyStrip<true> {
  Strip<float> f32;
  Strip<double> f64;
  Strip<int64_t> i64;
};

/// partials: (chunks, results, accumulations), or null if there is one chunk, whose results are final.
template <bool Wide, Language Spoken, int V, int Accumulations>
__global__ void __launch_bounds__(threads, Accumulations == 1 ? 3 : 4)
    reduce_chunk(const __grid_constant__ Program program, const __grid_constant__ ReducePlan plan, Partial* partials) {
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int along_results = plan.across ? x : y, along_elements = plan.across ? y : x;
  const int results_at_once = plan.across ? plan.width : plan.height;
  const int elements_at_once = plan.across ? plan.height : plan.width;
  const int64_t tile = static_cast<int64_t>(blockIdx.x) * results_at_once + along_results;
  const int64_t chunk = blockIdx.y;
  const int64_t first = chunk * plan.tiles_per_chunk;
  const int64_t last =
      first + plan.tiles_per_chunk < plan.element_tiles ? first + plan.tiles_per_chunk : plan.element_tiles;
  const int innermost = program.loops - 1;
  ProgramPlace place;
  AnyStrip<Wide> strips[Accumulations][V];
  int seen[V];
#pragma unroll
  for (int v = 0; v < V; ++v) seen[v] = 0;
  for (int a = 0; a < plan.count && a < Accumulations; ++a)
    for (int v = 0; v < V; ++v) {
      begin(strips[a][v].f32, plan.kinds[a]);
      if constexpr (Wide) {
        begin(strips[a][v].f64, plan.kinds[a]);
        begin(strips[a][v].i64, plan.kinds[a]);
      }
    }
  int lanes = 0;
  if (tile < plan.result_tiles) {
    set_place(place, program, plan.kept, plan.kept_loops, tile, V);
    if (plan.across) lanes = lanes_at<V>(program, place);
    for (int64_t at = first + along_elements; at < last; at += elements_at_once) {
      set_place(place, program, plan.reduced, plan.reduced_loops, at, V);
      if (!plan.across) lanes = lanes_at<V>(program, place);
      visit_tile<Wide, Spoken, V>(program, plan, place, lanes, [&](int a, int v, const auto& value) {
        if constexpr (Wide) {
          if (plan.types[a] == RegisterType::I64)
            add(strips[a][v].i64, value.i64, plan.kinds[a], seen[v] == 0);
          else if (plan.types[a] == RegisterType::F64)
            add(strips[a][v].f64, value.f64, plan.kinds[a], seen[v] == 0);
          else
            add(strips[a][v].f32, value.f32, plan.kinds[a], seen[v] == 0);
        } else {
          add(strips[a][v].f32, value, plan.kinds[a], seen[v] == 0);
        }
      });
#pragma unroll
      for (int v = 0; v < V; ++v) seen[v] += v < lanes;
    }
  }
  Partial* const shared = shared_memory<Partial>();  // (lanes that are results, elements_at_once, results_at_once)
  const int kept_lanes = plan.across ? V : 1;
  for (int a = 0; a < plan.count; ++a) {
    for (int v = 0; v < V; ++v) {
      Partial own;
      if constexpr (Wide) {
        if (plan.types[a] == RegisterType::I64)
          finish(own, strips[a][v].i64, plan.kinds[a], plan.types[a], seen[v]);
        else if (plan.types[a] == RegisterType::F64)
          finish(own, strips[a][v].f64, plan.kinds[a], plan.types[a], seen[v]);
        else
          finish(own, strips[a][v].f32, plan.kinds[a], plan.types[a], seen[v]);
      } else {
        finish(own, strips[a][v].f32, plan.kinds[a], plan.types[a], seen[v]);
      }
      Partial& to = shared[((v % kept_lanes) * elements_at_once + along_elements) * results_at_once + along_results];
      if (v < kept_lanes)
        to = own;
      else
        combine(to, own, plan.kinds[a]);
    }
    __syncthreads();
    for (int distance = elements_at_once / 2; distance > 0; distance /= 2) {
      if (along_elements < distance)
        for (int v = 0; v < kept_lanes; ++v) {
          Partial* const at = &shared[(v * elements_at_once + along_elements) * results_at_once + along_results];
          combine(*at, at[distance * results_at_once], plan.kinds[a]);
        }
      __syncthreads();
    }
    if (along_elements == 0 && tile < plan.result_tiles) {
      const int stored = plan.across ? lanes_at<V>(program, place) : 1;
      for (int v = 0; v < stored; ++v) {
        const Partial& total = shared[v * elements_at_once * results_at_once + along_results];
        ProgramPlace result;
        for (int loop = 0; loop < program.loops; ++loop) result.index[loop] = 0;
        set_place(result, program, plan.kept, plan.kept_loops, tile, V);
        if (plan.across) result.index[innermost] += v;
        if (partials == nullptr) {
          store_result(plan, a, result, program.loops, total);
        } else {
          int64_t number = 0;
          for (int i = 0; i < plan.kept_loops; ++i)
            number = number * program.sizes[plan.kept[i]] + result.index[plan.kept[i]];
          partials[(chunk * plan.results + number) * plan.count + a] = total;
        }
      }
    }
    __syncthreads();
  }
}

/// partials: (chunks, results, accumulations)
__global__ void __launch_bounds__(threads)
    combine_chunks(const __grid_constant__ Program program, const __grid_constant__ ReducePlan plan,
                   const Partial* partials) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (at >= plan.results * plan.count) return;
  const int64_t number = at / plan.count;
  const int a = static_cast<int>(at % plan.count);
  Partial total = partials[number * plan.count + a];
  for (int64_t chunk = 1; chunk < plan.chunks; ++chunk)
    combine(total, partials[(chunk * plan.results + number) * plan.count + a], plan.kinds[a]);
  ProgramPlace place;
  for (int loop = 0; loop < program.loops; ++loop) place.index[loop] = 0;
  set_place(place, program, plan.kept, plan.kept_loops, number, 1);
  store_result(plan, a, place, program.loops, total);
}

int power_of_two_above(int64_t n, int most) {
  int power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}

ReducePlan make_plan(const kernels::ReduceArguments& arguments, const Program& program) {
  ReducePlan plan{};
  const int innermost = program.loops - 1;
  plan.lanes = program.wide ? 1 : program_vector;
  plan.across = !arguments.reduced[innermost];
  plan.results = plan.result_tiles = plan.elements = plan.element_tiles = 1;
  for (int loop = 0; loop < program.loops; ++loop) {
    const int64_t size = program.sizes[loop], tiles = loop == innermost ? divide_up(size, plan.lanes) : size;
    if (arguments.reduced[loop]) {
      plan.reduced[plan.reduced_loops++] = loop;
      plan.elements *= size;
      plan.element_tiles *= tiles;
    } else {
      plan.kept[plan.kept_loops++] = loop;
      plan.results *= size;
      plan.result_tiles *= tiles;
    }
  }
  // Threads first along the innermost loop, where memory is adjacent; at least some of each kind if there are so many.
  const int64_t inner_tiles = divide_up(program.sizes[innermost], plan.lanes);
  plan.width = power_of_two_above(plan.across ? inner_tiles : plan.element_tiles, plan.across ? 32 : threads);
  plan.height = power_of_two_above(plan.across ? plan.element_tiles : plan.result_tiles, threads / plan.width);
  const int results_at_once = plan.across ? plan.width : plan.height;
  const int elements_at_once = plan.across ? plan.height : plan.width;
  // Enough blocks for a large GPU, each with some work for every thread.
  constexpr int64_t enough_blocks = 1024, least_tiles_per_thread = 4;
  const int64_t blocks = divide_up(plan.result_tiles, results_at_once);
  const int64_t most_chunks = std::max<int64_t>(1, plan.element_tiles / (elements_at_once * least_tiles_per_thread));
  plan.chunks = std::clamp<int64_t>(divide_up(enough_blocks, std::max<int64_t>(1, blocks)), 1, most_chunks);
  plan.tiles_per_chunk = std::max<int64_t>(1, divide_up(plan.element_tiles, plan.chunks));
  plan.chunks = std::max<int64_t>(1, divide_up(plan.element_tiles, plan.tiles_per_chunk));
  plan.count = arguments.accumulation_count;
  for (int a = 0; a < plan.count; ++a) {
    const kernels::Accumulation& accumulation = arguments.accumulations[a];
    plan.kinds[a] = accumulation.kind;
    plan.sources[a] = accumulation.source;
    plan.outputs[a] = accumulation.output;
    plan.seconds[a] = accumulation.second;
    plan.types[a] = RegisterType::F32;
    for (int i = 0; i < program.code_size; ++i)
      if (program.code[i].destination == accumulation.source && program.code[i].opcode != kernels::Opcode::Store)
        plan.types[a] = program.code[i].type;
  }
  return plan;
}

template <bool Wide, Language Spoken, int V, int Accumulations = kernels::max_accumulations>
void launch_reduction(const Program& program, const ReducePlan& plan, Partial* partials) {
  const int results_at_once = plan.across ? plan.width : plan.height;
  const Grid grid{
      dim3(static_cast<unsigned>(divide_up(plan.result_tiles, results_at_once)), static_cast<unsigned>(plan.chunks)),
      dim3(static_cast<unsigned>(plan.width), static_cast<unsigned>(plan.height)),
      sizeof(Partial) * static_cast<size_t>(plan.width * plan.height) * (plan.across ? V : 1)};
  Partial* const to = plan.chunks > 1 ? partials : nullptr;
  launch("reduce", reduce_chunk<Wide, Spoken, V, Accumulations>, grid, program, plan, to);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

size_t reduce_workspace(const kernels::ReduceArguments& arguments) {
  const ReducePlan plan = make_plan(arguments, make_program(arguments.prologue));
  return plan.chunks > 1 ? sizeof(Partial) * static_cast<size_t>(plan.chunks * plan.results * plan.count) : 0;
}

void reduce(const kernels::ReduceArguments& arguments) {
  const Program program = make_program(arguments.prologue);
  const ReducePlan plan = make_plan(arguments, program);
  auto* const partials = static_cast<Partial*>(arguments.workspace);
  // Fewer registers where fewer accumulations are known of; rare programs do without.
  if (program.wide)
    launch_reduction<true, Language::Whole, 1>(program, plan, partials);
  else if (!is_frequent(arguments.prologue))
    launch_reduction<false, Language::Whole, program_vector>(program, plan, partials);
  else if (plan.count == 1)
    launch_reduction<false, Language::Frequent, program_vector, 1>(program, plan, partials);
  else if (plan.count == 2)
    launch_reduction<false, Language::Frequent, program_vector, 2>(program, plan, partials);
  else
    launch_reduction<false, Language::Frequent, program_vector>(program, plan, partials);
  if (plan.chunks > 1)
    launch("reduce", combine_chunks,
           {dim3(static_cast<unsigned>(divide_up(plan.results * plan.count, threads))), dim3(threads)}, program, plan,
           static_cast<const Partial*>(partials));
}

}  // namespace pycnn::cuda
