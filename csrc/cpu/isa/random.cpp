// Random numbers: element i is a function of (key, i). Counters are (block, 0), a block being four words; an element
// takes one word, or two where it needs more than 32 bits.
#include <math.h>

#include "cpu/isa/interpreter.h"
#include "cpu/isa/philox.h"
#include "cpu/isa/vector_math.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::RandomArguments;
using kernels::RandomKind;
using kernels::RegisterType;

constexpr int64_t task_elements = 16 * max_chunk;
constexpr double two_pi = 6.283185307179586476925;

/// The words of `count` blocks (a multiple of philox_lanes) from `block` on.
void fill_words(uint64_t key, uint64_t block, int64_t count, uint32_t* words) {
  for (int64_t b = 0; b < count; b += philox_lanes) {
    PhiloxCounters counters;
    for (int i = 0; i < philox_lanes; ++i) {
      const uint64_t counter = block + static_cast<uint64_t>(b + i);
      counters[0][i] = static_cast<uint32_t>(counter);
      counters[1][i] = static_cast<uint32_t>(counter >> 32);
      counters[2][i] = counters[3][i] = 0;
    }
    philox(counters, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32));
    for (int i = 0; i < philox_lanes; ++i)
      for (int w = 0; w < 4; ++w) words[4 * (b + i) + w] = counters[w][i];
  }
}

uint64_t pair_of(const uint32_t* words, int64_t i) {
  return words[2 * i] | static_cast<uint64_t>(words[2 * i + 1]) << 32;
}

/// Significant bits a uniform number can show in a dtype; more would round up to the excluded end.
int bits_of(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return 11;
    case DType::BFloat16:
      return 8;
    default:
      return 24;
  }
}

void uniform32(const RandomArguments& a, const uint32_t* words, float* to) {
  const int bits = bits_of(a.dtype);
  const double unit = __builtin_ldexp(1.0, -bits), span = a.second - a.first, low = a.first;
  const float high = static_cast<float>(a.second), lowest = static_cast<float>(a.first);
  for (int64_t i = 0; i < max_chunk; ++i) {
    const float value = static_cast<float>(low + span * (static_cast<double>(words[i] >> (32 - bits)) * unit));
    to[i] = value < high ? value : lowest;
  }
}

void uniform64(const RandomArguments& a, const uint32_t* words, double* to) {
  const double span = a.second - a.first;
  for (int64_t i = 0; i < max_chunk; ++i) {
    const double value = a.first + span * (static_cast<double>(pair_of(words, i) >> 11) * 0x1p-53);
    to[i] = value < a.second ? value : a.first;
  }
}

/// Box and Muller (1958): two words give two numbers, radius times cosine and sine.
void normal32(const RandomArguments& a, const uint32_t* words, float* to) {
  double radius[max_chunk / 2];
  for (int64_t i = 0; i < max_chunk / 2; ++i) {
    double exponent;
    const double log_m = log_parts((static_cast<double>(words[2 * i]) + 1.0) * 0x1p-32, exponent);
    const double square = -2.0 * (exponent * ln2 + log_m);
    radius[i] = __builtin_sqrt(square > 0.0 ? square : 0.0);
  }
  for (int64_t i = 0; i < max_chunk / 2; ++i) {
    const double quarters = static_cast<double>(words[2 * i + 1]) * 0x1p-30;
    const double shifted = quarters + round_to_integer;
    const double r = (quarters - (shifted - round_to_integer)) * (two_pi / 4);
    const uint64_t quadrant = __builtin_bit_cast(uint64_t, shifted);
    const double sine = sine_polynomial(r), cosine = cosine_polynomial(r);
    const double x = (quadrant & 1u) != 0 ? -sine : cosine;
    const double y = (quadrant & 1u) != 0 ? cosine : sine;
    const double length = (quadrant & 2u) != 0 ? -radius[i] : radius[i];
    to[2 * i] = static_cast<float>(a.first + a.second * (length * x));
    to[2 * i + 1] = static_cast<float>(a.first + a.second * (length * y));
  }
}

void normal64(const RandomArguments& a, const uint32_t* words, double* to) {
  for (int64_t i = 0; i < max_chunk; i += 2) {
    const double u = static_cast<double>((pair_of(words, i) >> 11) + 1) * 0x1p-53;
    const double angle = two_pi * (static_cast<double>(pair_of(words, i + 1) >> 11) * 0x1p-53);
    const double radius = __builtin_sqrt(-2.0 * ::log(u));
    to[i] = a.first + a.second * (radius * ::cos(angle));
    to[i + 1] = a.first + a.second * (radius * ::sin(angle));
  }
}

void bernoulli(const RandomArguments& a, const uint32_t* words, float* to) {
  const double p = a.first < 0.0 ? 0.0 : a.first > 1.0 ? 1.0 : a.first;
  const double threshold = p * 0x1p32;
  for (int64_t i = 0; i < max_chunk; ++i) to[i] = static_cast<double>(words[i]) < threshold ? 1.0f : 0.0f;
}

/// The high half of word × range is uniform to within range / 2⁶⁴. An empty difference stands for all 2⁶⁴ integers.
void integers(const RandomArguments& a, const uint32_t* words, int64_t* to) {
  __extension__ using Wide = unsigned __int128;
  const uint64_t range = static_cast<uint64_t>(a.high) - static_cast<uint64_t>(a.low);
  for (int64_t i = 0; i < max_chunk; ++i) {
    const uint64_t word = pair_of(words, i);
    const uint64_t offset = range == 0 ? word : static_cast<uint64_t>((static_cast<Wide>(word) * range) >> 64);
    to[i] = static_cast<int64_t>(static_cast<uint64_t>(a.low) + offset);
  }
}

}  // namespace

void random(const RandomArguments& arguments) {
  const bool is_double = arguments.dtype == DType::Float64;
  RegisterType type = RegisterType::F32;
  bool pairs = false;  // an element takes two words
  if (arguments.kind == RandomKind::Integer) {
    type = RegisterType::I64;
    pairs = true;
  } else if (is_double && arguments.kind != RandomKind::Bernoulli) {
    type = RegisterType::F64;
    pairs = true;
  }
  const StoreFunction store = store_function(arguments.dtype, type);
  const int64_t size = static_cast<int64_t>(size_of(arguments.dtype));
  const int64_t tasks = (arguments.count + task_elements - 1) / task_elements;
  const auto run = [&](int64_t task) {
    uint32_t words[2 * max_chunk];
    alignas(64) char registers[8 * max_chunk];
    const int64_t end = (task + 1) * task_elements < arguments.count ? (task + 1) * task_elements : arguments.count;
    for (int64_t begin = task * task_elements; begin < end; begin += max_chunk) {
      const int64_t per_block = pairs ? 2 : 4;
      fill_words(static_cast<uint64_t>(*arguments.key), static_cast<uint64_t>(begin / per_block), max_chunk / per_block,
                 words);
      void* to = registers;
      switch (arguments.kind) {
        case RandomKind::Uniform:
          if (is_double)
            uniform64(arguments, words, static_cast<double*>(to));
          else
            uniform32(arguments, words, static_cast<float*>(to));
          break;
        case RandomKind::Normal:
          if (is_double)
            normal64(arguments, words, static_cast<double*>(to));
          else
            normal32(arguments, words, static_cast<float*>(to));
          break;
        case RandomKind::Bernoulli:
          bernoulli(arguments, words, static_cast<float*>(to));
          break;
        case RandomKind::Integer:
          integers(arguments, words, static_cast<int64_t*>(to));
          break;
      }
      store(static_cast<char*>(arguments.output) + begin * size, registers,
            line(end - begin < max_chunk ? end - begin : max_chunk, 1));
    }
  };
  if (tasks == 1)
    run(0);
  else if (tasks > 1)
    parallel_for(tasks, run);
}

}  // namespace pycnn::cpu::PYCNN_ISA
