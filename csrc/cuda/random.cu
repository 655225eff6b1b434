// Random numbers: element i is a function of (key, i), with the CPU's bits. Counters are (block, 0), a block being four
// words; an element takes one word, or two where it needs more than 32 bits. A thread has a block.
#include <type_traits>

#include "cuda/kernels.h"
#include "cuda/lanes.h"
#include "kernels/elementary_math.h"

namespace pycnn::cuda {
namespace {

using kernels::RandomArguments;
using kernels::RandomKind;

constexpr double two_pi = 6.283185307179586476925;

struct Words {
  uint32_t word[4];
  __device__ uint64_t pair(int i) const { return word[2 * i] | static_cast<uint64_t>(word[2 * i + 1]) << 32; }
};

/// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, SC 2011).
__device__ inline Words philox(uint64_t key, uint64_t counter) {
  uint32_t c[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53U} * c[0], product1 = uint64_t{0xCD9E8D57U} * c[2];
    c[0] = static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key0;
    c[1] = static_cast<uint32_t>(product1);
    c[2] = static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key1;
    c[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return {{c[0], c[1], c[2], c[3]}};
}

/// Significant bits a uniform number can show in a dtype; more would round up to the excluded end.
__device__ inline int bits_of(DType dtype) { return dtype == DType::Float16 ? 11 : dtype == DType::BFloat16 ? 8 : 24; }

__device__ inline void uniform(const RandomArguments& a, const Words& words, float (&to)[4]) {
  const int bits = bits_of(a.dtype);
  const double unit = 1.0 / static_cast<double>(1 << bits), span = a.second - a.first;
  const auto high = static_cast<float>(a.second), lowest = static_cast<float>(a.first);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const auto value = static_cast<float>(a.first + span * (static_cast<double>(words.word[i] >> (32 - bits)) * unit));
    to[i] = value < high ? value : lowest;
  }
}

__device__ inline void uniform(const RandomArguments& a, const Words& words, double (&to)[2]) {
  const double span = a.second - a.first;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const double value = a.first + span * (static_cast<double>(words.pair(i) >> 11) * 0x1p-53);
    to[i] = value < a.second ? value : a.first;
  }
}

/// Box and Muller (1958): two words give two numbers, radius times cosine and sine.
__device__ inline void normal(const RandomArguments& a, const Words& words, float (&to)[4]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    double exponent;
    const double log_m = kernels::log_parts((static_cast<double>(words.word[2 * i]) + 1.0) * 0x1p-32, exponent);
    const double square = -2.0 * (exponent * kernels::ln2 + log_m);
    const double radius = ::sqrt(square > 0.0 ? square : 0.0);
    const double quarters = static_cast<double>(words.word[2 * i + 1]) * 0x1p-30;
    const double shifted = quarters + kernels::round_to_integer;
    const double r = (quarters - (shifted - kernels::round_to_integer)) * (two_pi / 4);
    const auto quadrant = __builtin_bit_cast(uint64_t, shifted);
    const double sine = kernels::sine_polynomial(r), cosine = kernels::cosine_polynomial(r);
    const double x = (quadrant & 1U) != 0 ? -sine : cosine;
    const double y = (quadrant & 1U) != 0 ? cosine : sine;
    const double length = (quadrant & 2U) != 0 ? -radius : radius;
    to[2 * i] = static_cast<float>(a.first + a.second * (length * x));
    to[2 * i + 1] = static_cast<float>(a.first + a.second * (length * y));
  }
}

__device__ inline void normal(const RandomArguments& a, const Words& words, double (&to)[2]) {
  const double u = static_cast<double>((words.pair(0) >> 11) + 1) * 0x1p-53;
  const double angle = two_pi * (static_cast<double>(words.pair(1) >> 11) * 0x1p-53);
  const double radius = ::sqrt(-2.0 * ::log(u));
  to[0] = a.first + a.second * (radius * ::cos(angle));
  to[1] = a.first + a.second * (radius * ::sin(angle));
}

__device__ inline void bernoulli(const RandomArguments& a, const Words& words, float (&to)[4]) {
  const double p = a.first < 0.0 ? 0.0 : a.first > 1.0 ? 1.0 : a.first;
  const double threshold = p * 0x1p32;
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = static_cast<double>(words.word[i]) < threshold ? 1.0F : 0.0F;
}

/// The high half of word × range is uniform to within range / 2⁶⁴. An empty difference stands for all 2⁶⁴ integers.
__device__ inline void integers(const RandomArguments& a, const Words& words, int64_t (&to)[2]) {
  const uint64_t range = static_cast<uint64_t>(a.high) - static_cast<uint64_t>(a.low);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint64_t word = words.pair(i), offset = range == 0 ? word : __umul64hi(word, range);
    to[i] = static_cast<int64_t>(static_cast<uint64_t>(a.low) + offset);
  }
}

/// Values is the type of the numbers as they are made, Memory that of the elements; V of them make a block.
template <typename Memory, typename Value, int V>
__device__ void store_values(const RandomArguments& a, int64_t block, const Value (&values)[V]) {
  Several<Memory, V> several;
#pragma unroll
  for (int v = 0; v < V; ++v) kernels::narrow(values[v], several.element[v]);
  Memory* const to = static_cast<Memory*>(a.output) + block * V;
  if (a.count - block * V >= V && reinterpret_cast<uintptr_t>(to) % sizeof(several) == 0) {
    store_several<V>(to, several);
  } else {
#pragma unroll
    for (int v = 0; v < V; ++v)
      if (block * V + v < a.count) to[v] = several.element[v];
  }
}

/// key: (1); output: (count)
template <typename Memory>
__global__ void __launch_bounds__(block_threads)
    fill_random(const __grid_constant__ RandomArguments a, int64_t blocks) {
  const int64_t block = thread_number();
  if (block >= blocks) return;
  const Words words = philox(static_cast<uint64_t>(*a.key), static_cast<uint64_t>(block));
  if (a.kind == RandomKind::Integer) {
    int64_t values[2];
    integers(a, words, values);
    store_values<Memory>(a, block, values);
  } else if (a.kind == RandomKind::Bernoulli) {
    float values[4];
    bernoulli(a, words, values);
    store_values<Memory>(a, block, values);
  } else {
    constexpr bool is_double = std::is_same_v<Memory, double>;
    std::conditional_t<is_double, double[2], float[4]> values;
    if (a.kind == RandomKind::Uniform)
      uniform(a, words, values);
    else
      normal(a, words, values);
    store_values<Memory>(a, block, values);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void random(const RandomArguments& a) {
  const bool pairs = a.kind == RandomKind::Integer || (a.dtype == DType::Float64 && a.kind != RandomKind::Bernoulli);
  const int64_t blocks = divide_up(a.count, pairs ? 2 : 4);
  kernels::with_memory_type(a.dtype, [&](auto memory) {
    launch("random", fill_random<decltype(memory)>, {blocks_for(blocks), dim3(block_threads)}, a, blocks);
  });
}

}  // namespace pycnn::cuda
