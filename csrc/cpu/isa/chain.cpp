#include "cpu/isa/chain.h"

#include "cpu/isa/bfloat16_vectors.h"
#include "cpu/isa/brgemm_bfloat16.h"
#include "cpu/isa/finish.h"
#include "cpu/isa/interleave.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Instruction;
using kernels::Opcode;
using kernels::RegisterType;

using V = Vector<float>;

constexpr int most_vectors = 8;  ///< of a chain's value that are on their way together
constexpr int most_rows = vector_bytes == 64 ? 12 : 6, few_rows = vector_bytes == 64 ? 4 : 2;  ///< of two vectors
constexpr int64_t ahead = 512;  ///< elements: the next chunk
constexpr int64_t line = 64;    ///< bytes of the cache
constexpr int vectors_per_line = line / vector_bytes;

V choose(typename VectorOf<float>::Integers condition, V yes, V no) { return condition ? yes : no; }

constexpr int code(Opcode opcode, int position) { return static_cast<int>(opcode) * 4 + position; }

/// Rows of `Vectors` vectors, or of a part of a single one. With `Pairs`, two vectors of a row are its even and its odd
/// elements, as bfloat16 is widened with least work.
template <int Rows, int Vectors, typename M = float, bool Pairs = false>
struct Operand {
  const M* data;
  int64_t row;
  const Mask<float>& mask;
  V operator[](int v) const {
    const M* at = data + v / Vectors * row + v % Vectors * lanes<float>;
    if constexpr (Pairs && Vectors == 2) {
      at -= v % 2 * lanes<float>;
      if constexpr (sizeof(M) == sizeof(float)) {
        const V low = load(at), high = load(at + lanes<float>);
        return v % 2 == 0 ? every_second<0>(low, high) : every_second<1>(low, high);
      } else {
        const V pairs = load(reinterpret_cast<const float*>(at));
        return v % 2 == 0 ? even_of(pairs) : odd_of(pairs);
      }
    }
    return Vectors == 1 ? load(at, mask) : load(at);
  }
};

/// (a < b or a is NaN) ? a : b; see maximum()
PYCNN_INLINE V minimum(V a, V b) {
#if defined(__AVX512F__)
  return _mm512_mask_min_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
#elif defined(__AVX2__)
  return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
#else
  return choose((a < b) | (a != a), a, b);
#endif
}

/// A link of two operands applied to `value`, x being the other one; false if this link is none of those.
template <int Rows, int Vectors, typename Operand>
PYCNN_INLINE bool run_binary(V (&value)[Rows * Vectors], const Link& link, const Operand& x) {
  constexpr int all = Rows * Vectors;
  switch (code(link.opcode, link.position)) {
#define PYCNN_BINARY_LINK(opcode, position, result)                              \
  case code(Opcode::opcode, position):                                           \
    if (Rows > 1 && x.row == 0) {                                                \
      V same[Vectors];                                                           \
      _Pragma("GCC unroll 24") for (int v = 0; v < Vectors; ++v) same[v] = x[v]; \
      _Pragma("GCC unroll 24") for (int v = 0; v < all; ++v) {                   \
        const V a = value[v], b = same[v % Vectors];                             \
        value[v] = result;                                                       \
      }                                                                          \
    } else {                                                                     \
      _Pragma("GCC unroll 24") for (int v = 0; v < all; ++v) {                   \
        const V a = value[v], b = x[v];                                          \
        value[v] = result;                                                       \
      }                                                                          \
    }                                                                            \
    return true;
    PYCNN_BINARY_LINK(Add, 0, a + b)
    PYCNN_BINARY_LINK(Add, 1, b + a)
    PYCNN_BINARY_LINK(Subtract, 0, a - b)
    PYCNN_BINARY_LINK(Subtract, 1, b - a)
    PYCNN_BINARY_LINK(Multiply, 0, a * b)
    PYCNN_BINARY_LINK(Multiply, 1, b * a)
    PYCNN_BINARY_LINK(Maximum, 0, maximum(a, b))
    PYCNN_BINARY_LINK(Maximum, 1, maximum(b, a))
    PYCNN_BINARY_LINK(Minimum, 0, minimum(a, b))
    PYCNN_BINARY_LINK(Minimum, 1, minimum(b, a))
    PYCNN_BINARY_LINK(Less, 0, choose(a < b, splat(1.0F), V{}))
    PYCNN_BINARY_LINK(Less, 1, choose(b < a, splat(1.0F), V{}))
    PYCNN_BINARY_LINK(LessEqual, 0, choose(a <= b, splat(1.0F), V{}))
    PYCNN_BINARY_LINK(LessEqual, 1, choose(b <= a, splat(1.0F), V{}))
#undef PYCNN_BINARY_LINK
    default:
      return false;
  }
}

/// The links applied to `value`; places.at<M>(place, far) is the operand there.
template <int Rows, int Vectors, typename Places>
PYCNN_INLINE void run_links(V (&value)[Rows * Vectors], const Link* links, int count, const Places& places) {
  constexpr int all = Rows * Vectors;
  for (const Link* link = links; link != links + count; ++link) {
    if (link->opcode == Opcode::RoundTo) {
#pragma GCC unroll 24
      for (int v = 0; v < all; ++v) value[v] = rounded(value[v]);
      continue;
    }
    if constexpr (Places::has_narrow)
      if (places.narrow(link->places[0])) {
        const auto x = places.template at<BFloat16>(link->places[0], link->far[0]);
        if (link->position != gate_position) {
          run_binary<Rows, Vectors>(value, *link, x);
          continue;
        }
        const auto bound = places.template at<float>(link->places[1], link->far[1]);
#pragma GCC unroll 24
        for (int v = 0; v < all; ++v) value[v] = choose(x[v] <= bound[v], bound[v], value[v]);
        continue;
      }
    const auto x = places.template at<float>(link->places[0], link->far[0]);
    if (run_binary<Rows, Vectors>(value, *link, x)) continue;
    const auto y = places.template at<float>(link->places[1], link->far[1]);
    switch (code(link->opcode, link->position)) {
#define PYCNN_TERNARY_LINK(opcode, position, result)         \
  case code(Opcode::opcode, position):                       \
    _Pragma("GCC unroll 24") for (int v = 0; v < all; ++v) { \
      const V a = value[v], b = x[v], c = y[v];              \
      value[v] = result;                                     \
    }                                                        \
    break;
      PYCNN_TERNARY_LINK(Select, 0, choose(a != 0, b, c))
      PYCNN_TERNARY_LINK(Select, 1, choose(b != 0, a, c))
      PYCNN_TERNARY_LINK(Select, 2, choose(b != 0, c, a))
      PYCNN_TERNARY_LINK(LessEqual, gate_position, choose(b <= c, c, a))
#undef PYCNN_TERNARY_LINK
      default:
        __builtin_unreachable();
    }
  }
}

/// Places as the interpreter has them, from element i on.
template <int Vectors>
struct Line {
  const void* const* places;
  const bool* is_narrow;
  int64_t i;
  const Mask<float>& mask;

  static constexpr bool has_narrow = true;
  bool narrow(uint8_t place) const { return is_narrow[place]; }
  template <typename M>
  __attribute__((always_inline)) Operand<1, Vectors, M> of(const void* data, bool far) const {
    constexpr int step = vectors_per_line * static_cast<int>(sizeof(float) / sizeof(M));
    const M* const from = static_cast<const M*>(data) + i;
    if (far) {
#pragma GCC unroll 24
      for (int v = 0; v < Vectors; v += step) __builtin_prefetch(from + ahead + v * lanes<float>, 0, 3);
    }
    return {from, 0, mask};
  }
  template <typename M>
  __attribute__((always_inline)) Operand<1, Vectors, M> at(uint8_t place, bool far) const {
    return of<M>(places[place], far);
  }
};

/// The processor's instruction that rounds to bfloat16 takes values that are not normal for zeros.
template <int Count>
PYCNN_INLINE bool any_denormal([[maybe_unused]] const V (&value)[Count]) {
#if defined(__AVX512F__)
  // Twice the bits is the magnitude without its sign, and 0 less 1 the largest number.
  __m512i least = _mm512_set1_epi32(-1);
#pragma GCC unroll 24
  for (int v = 0; v < Count; ++v) {
    const __m512i bits = reinterpret_cast<__m512i>(value[v]);
    least =
        _mm512_maskz_min_epu32(0xffff, least, _mm512_add_epi32(_mm512_add_epi32(bits, bits), _mm512_set1_epi32(-1)));
  }
  return _mm512_cmplt_epu32_mask(least, _mm512_set1_epi32(0xffffff)) != 0;
#else
  return false;
#endif
}

/// Whether the processor has the instruction of rounded_halves().
bool rounds_to_bfloat() {
  const BFloat16Products products = bfloat_products();
  return vector_bytes == 64 && (products == BFloat16Products::Dot || products == BFloat16Products::Tiles);
}

/// Stores even and odd elements of rows, rounded to bfloat16.
template <int Rows>
PYCNN_INLINE void store_rounded_pairs([[maybe_unused]] const V (&value)[Rows * 2], [[maybe_unused]] BFloat16* to,
                                      [[maybe_unused]] int64_t row) {
#if defined(__AVX512F__)
  alignas(64) static constexpr uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i interleaved = _mm512_load_si512(order);
#pragma GCC unroll 24
  for (int r = 0; r < Rows; ++r)
    _mm512_storeu_si512(to + r * row, _mm512_maskz_permutexvar_epi16(0xffffffff, interleaved,
                                                                     rounded_halves(value[2 * r], value[2 * r + 1])));
#endif
}

/// Stores adjacent vectors, rounded to bfloat16.
template <int Vectors>
PYCNN_INLINE void store_rounded_line([[maybe_unused]] const V (&value)[Vectors], [[maybe_unused]] BFloat16* to,
                                     [[maybe_unused]] bool streams) {
#if defined(__AVX512F__)
#pragma GCC unroll 24
  for (int v = 0; v < Vectors; v += 2) {
    const __m512i halves = rounded_halves(value[v], value[v + 1]);
    if (streams)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + v * lanes<float>), halves);
    else
      _mm512_storeu_si512(to + v * lanes<float>, halves);
  }
#endif
}

template <int Vectors, typename M>
PYCNN_INLINE void end_chain(const V (&value)[Vectors], M* to, bool streams, bool rounds, const Mask<float>& mask) {
  if constexpr (Vectors > 1 && sizeof(M) < sizeof(float))
    if (rounds && !any_denormal(value)) return store_rounded_line<Vectors>(value, to, streams);
  if constexpr (Vectors == 1) {
    store(to, value[0], mask);
  } else if (streams) {
    constexpr int step = sizeof(M) == sizeof(float) ? 1 : 2;
#pragma GCC unroll 24
    for (int v = 0; v < Vectors; v += step)
      if constexpr (step == 1)
        stream(to + v * lanes<float>, value[v]);
      else
        stream(to + v * lanes<float>, value[v], value[v + 1]);
  } else {
#pragma GCC unroll 24
    for (int v = 0; v < Vectors; ++v) store(to + v * lanes<float>, value[v]);
  }
}

/// The chain for `Vectors` vectors from element i on, or for a part of a single one.
template <int Vectors>
PYCNN_INLINE void run_vectors(ChainEnd to, bool streams, ChainEnd from, bool far, const Link* links, int count,
                              const void* const* places, const bool* narrow, bool rounds, int64_t i,
                              const Mask<float>& mask) {
  const Line<Vectors> line{places, narrow, i, mask};
  V value[Vectors];
  const auto take = [&](const auto& first) __attribute__((always_inline)) {
#pragma GCC unroll 24
    for (int v = 0; v < Vectors; ++v) value[v] = first[v];
  };
  if (from.narrow)
    take(line.template of<BFloat16>(from.data, far));
  else
    take(line.template of<float>(from.data, far));
  run_links<1, Vectors>(value, links, count, line);
  if (to.narrow)
    end_chain(value, static_cast<BFloat16*>(to.data) + i, streams, rounds, mask);
  else
    end_chain(value, static_cast<float*>(to.data) + i, streams, rounds, mask);
}

/// Operands of a few rows.
template <typename M, int Rows, int Vectors>
struct RowsAtOnce {
  const RowOperand* operands;
  int64_t row, column;
  const Mask<float>& mask;

  static constexpr bool has_narrow = sizeof(M) < sizeof(float);
  template <typename N>
  using Of = Operand<Rows, Vectors, N, has_narrow>;
  bool narrow(uint8_t place) const { return operands[place].narrow; }
  template <typename N>
  __attribute__((always_inline)) Of<N> at(uint8_t place, bool) const {
    const RowOperand& operand = operands[place];
    return {static_cast<const N*>(operand.data) + row * operand.row + column * operand.column, operand.row, mask};
  }
};

/// What run_chain_on_rows() was given.
template <typename M>
struct RowChain {
  Rows<M> from, to;  ///< `from` is where (0, 0) would be
  bool streams;
  const Link* links;
  int count;
  const RowOperand* operands;
  bool rounds;  ///< the processor has an instruction that rounds to bfloat16
};

/// The chain for a few rows of at most two vectors.
template <typename M, int Rows, int Vectors>
PYCNN_INLINE void run_rows(const RowChain<M>& chain, int64_t row, int64_t column, const Mask<float>& mask,
                           bool partial) {
  using Places = RowsAtOnce<M, Rows, Vectors>;
  V value[Rows * Vectors];
  const typename Places::template Of<M> first{chain.from.data + row * chain.from.row + column, chain.from.row, mask};
#pragma GCC unroll 24
  for (int v = 0; v < Rows * Vectors; ++v) value[v] = first[v];
  run_links<Rows, Vectors>(value, chain.links, chain.count, Places{chain.operands, row, column, mask});
  M* const to = chain.to.data + row * chain.to.row + column;
  if constexpr (Places::has_narrow && Vectors == 2) {
    if (chain.rounds && !any_denormal(value)) return store_rounded_pairs<Rows>(value, to, chain.to.row);
#pragma GCC unroll 24
    for (int r = 0; r < Rows; ++r)
      store(reinterpret_cast<float*>(to + r * chain.to.row),
            pairs_of(rounded(value[2 * r]), rounded(value[2 * r + 1])));
    return;
  }
  if constexpr (sizeof(M) == sizeof(float))
    if (chain.streams && !partial) {
#pragma GCC unroll 24
      for (int v = 0; v < Rows * Vectors; ++v)
        stream(to + v / Vectors * chain.to.row + v % Vectors * lanes<float>, value[v]);
      return;
    }
#pragma GCC unroll 24
  for (int v = 0; v < Rows * Vectors; ++v) {
    M* at = to + v / Vectors * chain.to.row + v % Vectors * lanes<float>;
    if (Vectors == 1)
      store(at, value[v], mask);
    else
      store(at, value[v]);
  }
}

template <typename M, int Vectors>
PYCNN_INLINE void run_columns(const RowChain<M>& chain, int64_t row, int64_t row_end, int64_t column,
                              const Mask<float>& mask, bool partial) {
  for (; row + most_rows <= row_end; row += most_rows)
    run_rows<M, most_rows, Vectors>(chain, row, column, mask, partial);
  for (; row + few_rows <= row_end; row += few_rows) run_rows<M, few_rows, Vectors>(chain, row, column, mask, partial);
  for (; row < row_end; ++row) run_rows<M, 1, Vectors>(chain, row, column, mask, partial);
}

}  // namespace

int link_operands(const Instruction& instruction) {
  const bool rounds = instruction.opcode != Opcode::RoundTo || static_cast<DType>(instruction.index) == DType::BFloat16;
  return instruction.type == RegisterType::F32 && rounds ? link_operands(instruction.opcode) : 0;
}

int link_operands(Opcode opcode) {
  switch (opcode) {
    case Opcode::Add:
    case Opcode::Subtract:
    case Opcode::Multiply:
    case Opcode::Maximum:
    case Opcode::Minimum:
    case Opcode::Less:
    case Opcode::LessEqual:
      return 2;
    case Opcode::Select:
      return 3;
    case Opcode::RoundTo:  // to bfloat16
      return 1;
    default:
      return 0;
  }
}

bool links_bfloat16(const Instruction& instruction) {
  const int operands = link_operands(instruction);
  return operands == 1 || operands == 2;
}

void run_chain(ChainEnd to, bool streams, ChainEnd from, bool far, const Link* links, int count,
               const void* const* places, const bool* narrow, int64_t n) {
  streams = streams && reinterpret_cast<uintptr_t>(to.data) % vector_bytes == 0;
  const bool rounds = to.narrow && rounds_to_bfloat();
  int64_t i = 0;
  const Mask<float> whole(lanes<float>);
  for (; i + most_vectors * lanes<float> <= n; i += most_vectors * lanes<float>)
    run_vectors<most_vectors>(to, streams, from, far, links, count, places, narrow, rounds, i, whole);
  for (; i < n; i += lanes<float>)
    run_vectors<1>(to, streams, from, far, links, count, places, narrow, rounds, i,
                   n - i < lanes<float> ? Mask<float>(static_cast<int>(n - i)) : whole);
}

template <typename M>
void run_chain_on_rows(Rows<M> from, Rows<M> to, bool streams, const Link* links, int count, const RowOperand* operands,
                       int64_t row, int64_t row_end, int64_t column, int64_t column_end) {
  from.data -= row * from.row + column;
  const RowChain<M> chain{from, to, streams, links, count, operands, rounds_to_bfloat()};
  const Mask<float> whole(lanes<float>);
  for (; column + 2 * lanes<float> <= column_end; column += 2 * lanes<float>)
    run_columns<M, 2>(chain, row, row_end, column, whole, false);
  for (; column < column_end; column += lanes<float>) {
    const bool partial = column_end - column < lanes<float>;
    run_columns<M, 1>(chain, row, row_end, column, partial ? Mask<float>(static_cast<int>(column_end - column)) : whole,
                      partial);
  }
}

template void run_chain_on_rows(Rows<float>, Rows<float>, bool, const Link*, int, const RowOperand*, int64_t, int64_t,
                                int64_t, int64_t);
template void run_chain_on_rows(Rows<BFloat16>, Rows<BFloat16>, bool, const Link*, int, const RowOperand*, int64_t,
                                int64_t, int64_t, int64_t);

}  // namespace pycnn::cpu::PYCNN_ISA
