#include "cpu/isa/chain.h"

#include "cpu/isa/simd.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Instruction;
using kernels::Opcode;
using kernels::RegisterType;

using V = Vector<float>;

constexpr int most_vectors = 8;  ///< of a chain's value that are on their way together
constexpr int64_t ahead = 512;   ///< elements: the next chunk
constexpr int64_t line = 64;     ///< bytes of the cache
constexpr int vectors_per_line = line / vector_bytes;

V choose(typename VectorOf<float>::Integers condition, V yes, V no) { return condition ? yes : no; }

constexpr int code(Opcode opcode, int position) { return static_cast<int>(opcode) * 4 + position; }

template <int Vectors>
struct Operand {
  const float* data;
  const Mask<float>& mask;
  V operator[](int v) const { return Vectors == 1 ? load(data, mask) : load(data + v * lanes<float>); }
};

/// The chain for `Vectors` vectors from element i on, or for a part of a single one.
template <int Vectors>
PYCNN_INLINE void run_vectors(float* to, bool streams, const float* from, bool far, const Link* links, int count,
                              const void* const* places, int64_t i, const Mask<float>& mask) {
  V value[Vectors];
  const auto fetch_ahead = [](const float* data) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; v += vectors_per_line) __builtin_prefetch(data + ahead + v * lanes<float>, 0, 3);
  };
  const Operand<Vectors> first{from + i, mask};
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) value[v] = first[v];
  if (far) fetch_ahead(first.data);
  for (const Link* link = links; link != links + count; ++link) {
    const Operand<Vectors> x{static_cast<const float*>(places[link->places[0]]) + i, mask};
    if (link->far[0]) fetch_ahead(x.data);
    switch (code(link->opcode, link->position)) {
#define PYCNN_LINK(opcode, position, result)                    \
  case code(Opcode::opcode, position):                          \
    _Pragma("GCC unroll 8") for (int v = 0; v < Vectors; ++v) { \
      const V a = value[v], b = x[v];                           \
      value[v] = result;                                        \
    }                                                           \
    break;
      PYCNN_LINK(Add, 0, a + b)
      PYCNN_LINK(Add, 1, b + a)
      PYCNN_LINK(Subtract, 0, a - b)
      PYCNN_LINK(Subtract, 1, b - a)
      PYCNN_LINK(Multiply, 0, a * b)
      PYCNN_LINK(Multiply, 1, b * a)
      PYCNN_LINK(Maximum, 0, choose((a > b) | (a != a), a, b))
      PYCNN_LINK(Maximum, 1, choose((b > a) | (b != b), b, a))
      PYCNN_LINK(Minimum, 0, choose((a < b) | (a != a), a, b))
      PYCNN_LINK(Minimum, 1, choose((b < a) | (b != b), b, a))
      PYCNN_LINK(Less, 0, choose(a < b, splat(1.0F), V{}))
      PYCNN_LINK(Less, 1, choose(b < a, splat(1.0F), V{}))
      PYCNN_LINK(LessEqual, 0, choose(a <= b, splat(1.0F), V{}))
      PYCNN_LINK(LessEqual, 1, choose(b <= a, splat(1.0F), V{}))
#undef PYCNN_LINK
      default: {
        const Operand<Vectors> y{static_cast<const float*>(places[link->places[1]]) + i, mask};
        if (link->far[1]) fetch_ahead(y.data);
        switch (code(link->opcode, link->position)) {
#define PYCNN_LINK(opcode, position, result)                    \
  case code(Opcode::opcode, position):                          \
    _Pragma("GCC unroll 8") for (int v = 0; v < Vectors; ++v) { \
      const V a = value[v], b = x[v], c = y[v];                 \
      value[v] = result;                                        \
    }                                                           \
    break;
          PYCNN_LINK(Select, 0, choose(a != 0, b, c))
          PYCNN_LINK(Select, 1, choose(b != 0, a, c))
          PYCNN_LINK(Select, 2, choose(b != 0, c, a))
#undef PYCNN_LINK
          default:
            __builtin_unreachable();
        }
      }
    }
  }
  if (Vectors > 1 && streams) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) stream(to + i + v * lanes<float>, value[v]);
    return;
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v)
    if (Vectors == 1)
      store(to + i, value[v], mask);
    else
      store(to + i + v * lanes<float>, value[v]);
}

}  // namespace

int link_operands(const Instruction& instruction) {
  if (instruction.type != RegisterType::F32) return 0;
  switch (instruction.opcode) {
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
    default:
      return 0;
  }
}

void run_chain(float* to, bool streams, const float* from, bool far, const Link* links, int count,
               const void* const* places, int64_t n) {
  streams = streams && reinterpret_cast<uintptr_t>(to) % vector_bytes == 0;
  int64_t i = 0;
  const Mask<float> whole(lanes<float>);
  for (; i + most_vectors * lanes<float> <= n; i += most_vectors * lanes<float>)
    run_vectors<most_vectors>(to, streams, from, far, links, count, places, i, whole);
  for (; i < n; i += lanes<float>)
    run_vectors<1>(to, streams, from, far, links, count, places, i,
                   n - i < lanes<float> ? Mask<float>(static_cast<int>(n - i)) : whole);
}

}  // namespace pycnn::cpu::PYCNN_ISA
