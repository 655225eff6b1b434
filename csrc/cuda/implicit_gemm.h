// One matrix product for all: the three passes of a convolution and matmul differ in where operands lie (operands.h)
// and where results go (results.h). A block computes a tile of the result. Its factors come to shared memory by copies
// that run some steps of the depth ahead; products are made by tensor cores, or in plain float32.
//
// What is added up by one block follows from sizes alone. With `splits` the depth is cut and partial sums are added in
// order by a second kernel, so that the same bits come out each time.
#pragma once

#include "cuda/operands.h"
#include "cuda/results.h"
#include "cuda/tensor_core.h"

namespace pycnn::cuda {

/// Of the result; `WarpsM` × `WarpsN` warps share it where tensor cores do the work.
template <int M_, int N_, int WarpsM_, int WarpsN_>
struct Tile {
  static constexpr int M = M_, N = N_, warps_m = WarpsM_, warps_n = WarpsN_;
};

/// What splits leave, and where their sums go.
template <typename Result>
struct SplitSums {
  Result result;
  int parts;
  struct Part {
    int rows, depth, first_tile;
    int64_t first_row;
  };
  Part part[max_parts];
  int columns, batch, splits;
  int64_t rows;    ///< of all parts
  float* partial;  ///< (split, batch, row, column), if there are several splits
};

/// A launch: parts one after the other in x, groups or batches in y, splits of the depth in z.
template <typename A_, typename B_, typename Result_>
struct Product : SplitSums<Result_> {
  using A = A_;
  using B = B_;
  using Result = Result_;
  A a;
  B b;
  IndexDivide column_tiles;
};

// -- shared memory ----------------------------------------------------------------------------------------------------

/// Chunks of 16 bytes of a line change places, by an exclusive or with this, so that eight lanes that read the same
/// chunk of eight neighbouring lines, or eight chunks of a line, meet all banks. It repeats every eight lines.
template <int LineBytes>
__device__ inline int turn_of(int line) {
  static_assert(LineBytes >= 64 && (LineBytes & (LineBytes - 1)) == 0);
  return LineBytes >= 128 ? line & 7 : (line >> 1) & 3;
}

/// Where a byte of a line lies.
template <int LineBytes>
__device__ inline int swizzled(int line, int byte) {
  return line * LineBytes + (byte ^ (turn_of<LineBytes>(line) << 4));
}

__device__ inline int thread_index() { return static_cast<int>(threadIdx.x); }

template <typename Operand, int Across, int Depth>
struct Slot {
  static constexpr bool by_depth = Operand::contiguous == Contiguous::Depth;
  static constexpr int line = by_depth ? Depth : Across, lines = by_depth ? Across : Depth;
  static constexpr int line_bytes = line * sizeof(typename Operand::Element), bytes = lines * line_bytes;
};

/// Brings an operand's elements of one step to shared memory. Each thread fetches the same column of some lines.
template <typename Operand, int Across, int Depth, int Threads>
class Fetch {
  using T = typename Operand::Element;
  using S = Slot<Operand, Across, Depth>;
  using Place = typename Operand::Across;
  static constexpr int V = Operand::vector, per_line = S::line / V;
  static constexpr int lines_at_once = Threads / per_line;
  static constexpr int passes = (S::lines + lines_at_once - 1) / lines_at_once;
  static constexpr bool held = V * sizeof(T) < 4;  // asynchronous copies are of 4 bytes or more
  static constexpr bool tabled = S::by_depth && passes > (sizeof(T) == 2 ? 4 : 2);  // else lines stay in registers
  static constexpr int unrolled = held ? passes : 4;
  static_assert(Threads % per_line == 0);
  static constexpr int across_bytes = tabled ? Across * static_cast<int>(sizeof(Place)) : 0;

 public:
  static constexpr int table_bytes =
      across_bytes + (Operand::looks_up ? table_places * static_cast<int>(sizeof(typename Operand::Along)) : 0);

  /// The caller waits for the other threads before the first begin(). `table` is shared memory.
  __device__ Fetch(const Operand& operand, int part, int y, int first, char* table)
      : operand_(operand),
        part_(part),
        origin_(operand.origin(part, y)),
        column_(static_cast<int>(threadIdx.x % per_line) * V),
        line_(static_cast<int>(threadIdx.x / per_line)),
        place_(swizzled<S::line_bytes>(line_, column_ * static_cast<int>(sizeof(T)))),
        table_(reinterpret_cast<Place*>(table)) {
    if constexpr (tabled) {
      for (int i = thread_index(); i < Across; i += Threads) table_[i] = operand.across(part, first + i);
    } else if constexpr (S::by_depth) {
#pragma unroll
      for (int i = 0; i < passes; ++i) across_[i] = operand.across(part, first + line_ + i * lines_at_once);
    } else {
      across_[0] = operand.across(part, first + column_);
    }
    if constexpr (Operand::looks_up) {
      const int lookups = operand.lookups(part);
      if (lookups <= table_places) {
        lookup_ = reinterpret_cast<typename Operand::Along*>(table + across_bytes);
        for (int i = thread_index(); i < lookups; i += Threads) lookup_[i] = operand.lookup(part, i);
      }
    }
  }

  /// What lies in depth k … k + Depth - 1.
  __device__ void begin(int k, char* slot) {
    if constexpr (S::by_depth) {
      const typename Operand::Along along = along_of(k + column_);
#pragma unroll(unrolled)
      for (int i = 0; i < passes; ++i)
        if (has_line(i)) move(i, tabled ? table_[line_ + i * lines_at_once] : across_[tabled ? 0 : i], along, slot);
    } else {
#pragma unroll(unrolled)
      for (int i = 0; i < passes; ++i)
        if (has_line(i)) move(i, across_[0], along_of(k + line_ + i * lines_at_once), slot);
    }
  }

  /// Elements too narrow for asynchronous copies wait in registers until then.
  __device__ void end(char* slot) {
    if constexpr (held) {
#pragma unroll
      for (int i = 0; i < passes; ++i)
        if (has_line(i)) *reinterpret_cast<T*>(slot + place(i)) = held_[i];
    }
  }

 private:
  __device__ bool has_line(int i) const {
    return S::lines % lines_at_once == 0 || line_ + i * lines_at_once < S::lines;
  }
  __device__ int place(int i) const {
    if constexpr (lines_at_once % 8 == 0) return place_ + i * lines_at_once * S::line_bytes;
    return swizzled<S::line_bytes>(line_ + i * lines_at_once, column_ * static_cast<int>(sizeof(T)));
  }
  __device__ typename Operand::Along along_of(int k) const {
    if constexpr (Operand::looks_up)
      return operand_.along(part_, k, lookup_);
    else
      return operand_.along(part_, k);
  }
  __device__ void move(int i, const Place& across, const typename Operand::Along& along, char* slot) {
    int64_t offset;
    const int valid = operand_.address(across, along, offset);
    if constexpr (held)
      held_[i] = valid != 0 ? origin_[offset] : T{};
    else
      begin_copy<V * sizeof(T)>(slot + place(i), origin_ + offset, valid * static_cast<int>(sizeof(T)));
  }

  const Operand& operand_;
  const int part_;
  const T* origin_;
  const int column_, line_, place_;
  Place* table_;
  typename Operand::Along* lookup_ = nullptr;
  Place across_[S::by_depth && !tabled ? passes : 1];
  T held_[held ? passes : 1];
};

// -- products ---------------------------------------------------------------------------------------------------------

/// Columns of a tile that is brought to shared memory, with what keeps rows of fragments in different banks.
template <int N>
inline constexpr int staged_row = N + 8;

/// Tensor cores. A warp computes (M / warps_m) × (N / warps_n).
template <Factor F, typename Element_>
struct TensorCores {
  using Element = Element_;
  static constexpr int depth = sizeof(Element) == 2 ? 32 : 16;
  template <typename T>
  static constexpr int threads = T::warps_m* T::warps_n* warp_size;

  template <typename T, typename A, typename B>
  class Sums {
    using SlotA = Slot<A, T::M, depth>;
    using SlotB = Slot<B, T::N, depth>;
    static constexpr int rows = T::M / T::warps_m, columns = T::N / T::warps_n;
    static constexpr int across_m = rows / 16, across_n = columns / 8;
    static constexpr int chunk = 16 / sizeof(Element), step = 2 * chunk;       // elements; a step's depth is two chunks
    static constexpr int unrolled = F == Factor::TFloat32 ? 1 : depth / step;  // as registers allow
    static_assert(across_n % 2 == 0);

   public:
    __device__ Sums()
        : row_(static_cast<int>(threadIdx.x / warp_size / T::warps_n) * rows),
          column_(static_cast<int>(threadIdx.x / warp_size % T::warps_n) * columns),
          from_a_(row_, lane() / 8 % 2, lane() / 16),
          from_b_(column_, lane() / 16, lane() / 8 % 2) {
#pragma unroll
      for (int i = 0; i < across_m; ++i)
#pragma unroll
        for (int j = 0; j < across_n; ++j)
#pragma unroll
          for (float& sum : sums_[i][j]) sum = 0;
    }

    __device__ void add(const char* a, const char* b) {
#pragma unroll(unrolled)
      for (int k = 0; k < depth / step; ++k) {
        uint32_t factors_a[across_m][4], factors_b[across_n / 2][4];
#pragma unroll
        for (int i = 0; i < across_m; ++i) from_a_.template load<false>(factors_a[i], a, i, k);
#pragma unroll
        for (int j = 0; j < across_n / 2; ++j) from_b_.template load<true>(factors_b[j], b, j, k);
#pragma unroll
        for (int i = 0; i < across_m; ++i)
#pragma unroll
          for (int j = 0; j < across_n; ++j) {
            const uint32_t half[2] = {factors_b[j / 2][j % 2 * 2], factors_b[j / 2][j % 2 * 2 + 1]};
            multiply_add<F>(sums_[i][j], factors_a[i], half);
          }
      }
    }

    __device__ void stage(float* to) const {
#pragma unroll
      for (int i = 0; i < across_m; ++i)
#pragma unroll
        for (int j = 0; j < across_n; ++j)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float* at =
                to + (row_ + 16 * i + 8 * half + lane() / 4) * staged_row<T::N> + column_ + 8 * j + lane() % 4 * 2;
            store_several<2>(at, Several<float, 2>{{sums_[i][j][2 * half], sums_[i][j][2 * half + 1]}});
          }
    }

   private:
    static __device__ int lane() { return static_cast<int>(threadIdx.x % warp_size); }

    /// Where a lane finds its part of fragments: four 8×8 blocks (8×4 of 32 bits) each, two across times two in depth.
    template <typename S>
    class Source {
     public:
      /// The warp's first place across, a multiple of 16; which of the four blocks this lane gives the lines of.
      __device__ Source(int first, int next_across, int next_depth) {
        const int line = lane() % 8, turn = turn_of<S::line_bytes>(line);
        if constexpr (S::by_depth) {
          line_ = (first + 8 * next_across + line) * S::line_bytes;
          chunk_ = (next_depth ^ turn) * 16;
        } else if constexpr (F != Factor::TFloat32) {
          line_ = (8 * next_depth + line) * S::line_bytes;
          chunk_ = ((first / 8 + next_across) ^ turn) * 16;
        } else {
          line_ = first;
          chunk_ = 0;
        }
      }
      /// Blocks 16·i across at step k. The second one is the next across, with DepthFirst the next in depth.
      template <bool DepthFirst>
      __device__ void load(uint32_t (&words)[4], const char* slot, int i, int k) const {
        if constexpr (S::by_depth) {
          load_matrices<false>(words, slot + (line_ + 16 * i * S::line_bytes) + (chunk_ ^ (32 * k)));
        } else if constexpr (F != Factor::TFloat32) {
          load_matrices<true>(words, slot + (line_ + step * k * S::line_bytes) + (chunk_ ^ (32 * i)));
        } else {
#pragma unroll
          for (int block = 0; block < 4; ++block) {
            const int down = DepthFirst ? block % 2 : block / 2, aside = DepthFirst ? block / 2 : block % 2;
            words[block] = *reinterpret_cast<const uint32_t*>(
                slot + swizzled<S::line_bytes>(step * k + 4 * down + lane() % 4,
                                               (line_ + 16 * i + 8 * aside + lane() / 4) * 4));
          }
        }
        if constexpr (F == Factor::TFloat32)
#pragma unroll
          for (uint32_t& word : words) word = to_tfloat32(word);
      }

     private:
      int line_, chunk_;
    };

    const int row_, column_;
    const Source<SlotA> from_a_;
    const Source<SlotB> from_b_;
    float sums_[across_m][across_n][4];
  };
};

/// Plain float32: a thread computes 8 × 8.
struct Float32Units {
  using Element = float;
  static constexpr int depth = 16;
  template <typename T>
  static constexpr int threads = T::M* T::N / 64;

  template <typename T, typename A, typename B>
  class Sums {
    using SlotA = Slot<A, T::M, depth>;
    using SlotB = Slot<B, T::N, depth>;
    static constexpr int across_m = T::M / 8, across_n = T::N / 8;  // threads
    static constexpr int warp_n = across_n < 8 ? across_n : 8, warp_m = warp_size / warp_n;
    static_assert(across_m % warp_m == 0);

   public:
    __device__ Sums() {
      const int lane = static_cast<int>(threadIdx.x % warp_size), warp = static_cast<int>(threadIdx.x / warp_size);
      m_ = warp / (across_n / warp_n) * warp_m + lane / warp_n;
      n_ = warp % (across_n / warp_n) * warp_n + lane % warp_n;
#pragma unroll
      for (auto& row : sums_)
#pragma unroll
        for (float& sum : row) sum = 0;
    }

    __device__ void add(const char* a, const char* b) {
#pragma unroll 1  // more would not fit into 128 registers
      for (int k = 0; k < depth; k += 2) {
        float factors_a[2][8], factors_b[2][8];
        factors<SlotA, across_m>(factors_a, a, m_, k);
        factors<SlotB, across_n>(factors_b, b, n_, k);
#pragma unroll
        for (int d = 0; d < 2; ++d)
#pragma unroll
          for (int i = 0; i < 8; ++i)
#pragma unroll
            for (int j = 0; j < 8; ++j) sums_[i][j] = fmaf(factors_a[d][i], factors_b[d][j], sums_[i][j]);
      }
    }

    __device__ void stage(float* to) const {
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j)
          to[place<SlotA, across_m>(m_, i) * staged_row<T::N> + place<SlotB, across_n>(n_, j)] = sums_[i][j];
    }

   private:
    /// Which of the tile's rows (or columns) is the thread's i-th.
    template <typename S, int Threads>
    static __device__ int place(int thread, int i) {
      return S::by_depth ? i * Threads + thread : i / 4 * Threads * 4 + thread * 4 + i % 4;
    }
    template <typename S, int Threads>
    static __device__ void factors(float (&values)[2][8], const char* slot, int thread, int k) {
      if constexpr (S::by_depth) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const auto pair = load_several<2>(
              reinterpret_cast<const float*>(slot + swizzled<S::line_bytes>(place<S, Threads>(thread, i), k * 4)));
          values[0][i] = pair.element[0], values[1][i] = pair.element[1];
        }
      } else {
#pragma unroll
        for (int d = 0; d < 2; ++d)
#pragma unroll
          for (int i = 0; i < 8; i += 4) {
            const auto quad = load_several<4>(reinterpret_cast<const float*>(
                slot + swizzled<S::line_bytes>(k + d, place<S, Threads>(thread, i) * 4)));
#pragma unroll
            for (int j = 0; j < 4; ++j) values[d][i + j] = quad.element[j];
          }
      }
    }

    int m_, n_;
    float sums_[8][8];
  };
};

// -- kernels ----------------------------------------------------------------------------------------------------------

/// What a kernel of these types needs and is.
template <typename Math, typename T, typename P>
struct Shape {
  static constexpr int threads = Math::template threads<T>;
  static constexpr int stages = sizeof(typename Math::Element) == 2 ? 4 : 3;
  using SlotA = Slot<typename P::A, T::M, Math::depth>;
  using SlotB = Slot<typename P::B, T::N, Math::depth>;
  using FetchA = Fetch<typename P::A, T::M, Math::depth, threads>;
  using FetchB = Fetch<typename P::B, T::N, Math::depth, threads>;
  static constexpr int stage_bytes = SlotA::bytes + SlotB::bytes;
  static constexpr int staged_bytes = T::M * staged_row<T::N> * 4;
  static constexpr int pipeline_bytes = stages * stage_bytes;
  static constexpr int work_bytes = pipeline_bytes > staged_bytes ? pipeline_bytes : staged_bytes;
  static constexpr int shared_bytes = work_bytes + FetchA::table_bytes + FetchB::table_bytes;
  static constexpr int blocks = 512 / threads;  ///< on a multiprocessor: up to 128 registers per thread
};

template <typename Math, typename T, typename P>
__global__ void __launch_bounds__(Shape<Math, T, P>::threads, Shape<Math, T, P>::blocks)
    multiply_tile(const __grid_constant__ P p) {
  using S = Shape<Math, T, P>;
  char* shared = shared_memory<char>();
  int part = 0, tile = static_cast<int>(blockIdx.x);
  while (part + 1 < p.parts && tile >= p.part[part + 1].first_tile) ++part;
  tile -= p.part[part].first_tile;
  const int tile_row = p.column_tiles.quotient(tile);
  const int row = tile_row * T::M, column = (tile - tile_row * p.column_tiles.divisor()) * T::N;
  const int y = static_cast<int>(blockIdx.y), split = static_cast<int>(blockIdx.z);

  typename S::FetchA fetch_a(p.a, part, y, row, shared + S::work_bytes);
  typename S::FetchB fetch_b(p.b, part, y, column, shared + S::work_bytes + S::FetchA::table_bytes);
  if constexpr (S::FetchA::table_bytes + S::FetchB::table_bytes > 0) __syncthreads();
  const int64_t steps = (p.part[part].depth + Math::depth - 1) / Math::depth;
  const int first = static_cast<int>(steps * split / p.splits), last = static_cast<int>(steps * (split + 1) / p.splits);
  typename Math::template Sums<T, typename P::A, typename P::B> sums;
  char* to = shared;
#pragma unroll 1
  for (int step = first; step < first + S::stages - 1; ++step, to += S::stage_bytes) {
    if (step < last) {
      fetch_a.begin(step * Math::depth, to);
      fetch_b.begin(step * Math::depth, to + S::SlotA::bytes);
      fetch_a.end(to);
      fetch_b.end(to + S::SlotA::bytes);
    }
    commit_copies();
  }
  const char* from = shared;
#pragma unroll 1
  for (int step = first; step < last; ++step) {
    wait_for_copies<S::stages - 2>();
    __syncthreads();  // the step's factors are there for all, and the slot before it is no longer read
    const int ahead = step + S::stages - 1;
    if (ahead < last) {
      fetch_a.begin(ahead * Math::depth, to);
      fetch_b.begin(ahead * Math::depth, to + S::SlotA::bytes);
    }
    commit_copies();
    sums.add(from, from + S::SlotA::bytes);
    if (ahead < last) {
      fetch_a.end(to);
      fetch_b.end(to + S::SlotA::bytes);
    }
    const char* end = shared + S::pipeline_bytes;
    from = from + S::stage_bytes == end ? shared : from + S::stage_bytes;
    to = to + S::stage_bytes == end ? shared : to + S::stage_bytes;
  }
  wait_for_copies<0>();
  __syncthreads();

  auto* staged = reinterpret_cast<float*>(shared);
  sums.stage(staged);
  __syncthreads();
  const int rows = p.part[part].rows - row, columns = p.columns - column;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < T::M * T::N / result_vector; i += S::threads) {
    const int down = i / (T::N / result_vector), aside = i % (T::N / result_vector) * result_vector;
    if (down >= rows || aside >= columns) continue;
    auto vector = load_several<result_vector>(staged + down * staged_row<T::N> + aside);
    const int count = columns - aside < result_vector ? columns - aside : result_vector;
    if (p.splits == 1) {
      p.result.store(part, y, row + down, column + aside, count, vector.element);
    } else {
      float* to =
          p.partial +
          ((static_cast<int64_t>(split) * p.batch + y) * p.rows + p.part[part].first_row + row + down) * p.columns +
          column + aside;
      if (p.columns % 4 == 0 && count == result_vector) {
        store_several<result_vector>(to, vector);
      } else {
#pragma unroll
        for (int j = 0; j < result_vector; ++j)
          if (j < count) to[j] = vector.element[j];
      }
    }
  }
}

/// Threads of a block that share the sums of a vector, each adding up every so-manieth split.
inline int split_lanes(int splits) { return splits >= 64 ? 16 : splits >= 16 ? 4 : 1; }

inline constexpr int split_threads = 128;

/// Adds up what the splits left, in an order that follows from their number. x: vectors of 8 columns of all rows, y:
/// batch.
template <typename Result>
__global__ void __launch_bounds__(split_threads) add_splits(const __grid_constant__ SplitSums<Result> p, int lanes) {
  const int vectors = (p.columns + result_vector - 1) / result_vector, at_once = split_threads / lanes;
  const int lane = thread_index() / at_once, mine = thread_index() % at_once;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * at_once + mine;
  const int64_t row = i / vectors;
  const int y = static_cast<int>(blockIdx.y), column = static_cast<int>(i % vectors) * result_vector;
  const int count = p.columns - column < result_vector ? p.columns - column : result_vector;
  Several<float, result_vector> sum{};
  if (row < p.rows) {
    const int64_t split_elements = p.batch * p.rows * p.columns;
    const float* from = p.partial + (y * p.rows + row) * p.columns + column + lane * split_elements;
    for (int split = lane; split < p.splits; split += lanes, from += lanes * split_elements) {
      if (p.columns % 4 == 0 && count == result_vector) {
        const auto more = load_several<result_vector>(from);
#pragma unroll
        for (int j = 0; j < result_vector; ++j) sum.element[j] += more.element[j];
      } else {
#pragma unroll
        for (int j = 0; j < result_vector; ++j)
          if (j < count) sum.element[j] += from[j];
      }
    }
  }
  auto* shared = shared_memory<Several<float, result_vector>>();
  shared[thread_index()] = sum;
  __syncthreads();
  if (lane != 0 || row >= p.rows) return;
  for (int other = 1; other < lanes; ++other)
#pragma unroll
    for (int j = 0; j < result_vector; ++j) sum.element[j] += shared[other * at_once + mine].element[j];
  int part = 0;
  while (part + 1 < p.parts && row >= p.part[part + 1].first_row) ++part;
  p.result.store(part, y, static_cast<int>(row - p.part[part].first_row), column, count, sum.element);
}

/// Enqueues the product, whose `part`s have rows and depth: the rest of the launch follows from the tile.
template <typename Math, typename T, typename P>
void multiply(const char* name, P& p) {
  const int64_t column_tiles = divide_up(p.columns, T::N);
  p.column_tiles = IndexDivide(column_tiles);
  int64_t tiles = 0;
  p.rows = 0;
  for (int i = 0; i < p.parts; ++i) {
    p.part[i].first_tile = static_cast<int>(tiles);
    p.part[i].first_row = p.rows;
    tiles += divide_up(p.part[i].rows, T::M) * column_tiles;
    p.rows += p.part[i].rows;
  }
  using S = Shape<Math, T, P>;
  launch(name, multiply_tile<Math, T, P>,
         {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(p.batch), static_cast<unsigned>(p.splits)),
          dim3(S::threads), S::shared_bytes},
         p);
  if (p.splits == 1) return;
  using Result = typename P::Result;
  const SplitSums<Result>& sums = p;
  const int lanes = split_lanes(p.splits);
  const int64_t vectors = p.rows * divide_up(p.columns, result_vector);
  launch(name, add_splits<Result>,
         {dim3(static_cast<unsigned>(divide_up(vectors, split_threads / lanes)), static_cast<unsigned>(p.batch)),
          dim3(split_threads), split_threads * sizeof(Several<float, result_vector>)},
         sums, lanes);
}

}  // namespace pycnn::cuda
