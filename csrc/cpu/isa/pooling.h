// What pooling's vectors hold: channels of a pixel or, if they are few, of several windows.
#pragma once

#include "cpu/isa/integers.h"
#include "cpu/isa/lanes.h"
#include "kernels/kernels.h"

namespace pycnn::cpu::PYCNN_ISA {

/// Vectors of T, of integers as wide (labels), and what memory holds for each lane.
template <typename T>
struct Lane {
  typedef T Values __attribute__((vector_size(vector_bytes)));
  static constexpr int count = vector_bytes / static_cast<int>(sizeof(T));
};
template <typename T>
struct LabelOf {
  using Type = int32_t;
};
template <>
struct LabelOf<double> {
  using Type = int64_t;
};
template <>
struct LabelOf<int64_t> {
  using Type = int64_t;
};
template <typename T>
using Values = typename Lane<T>::Values;
template <typename T>
using Labels = typename Lane<typename LabelOf<T>::Type>::Values;
/// Calls function<Whole>(channel, lanes in use) for the vectors of a pixel; `whole` says that the last one may reach
/// past the pixel.
template <int Count, typename Function>
PYCNN_INLINE void for_each_vector(int64_t channels, bool whole, const Function& function) {
  int64_t c = 0;
  for (; c + (whole ? 1 : Count) <= channels; c += Count)
    function.template operator()<true>(c, static_cast<int>(min_of(Count, channels - c)));
  if (c < channels) function.template operator()<false>(c, static_cast<int>(channels - c));
}

// -- several windows -------------------------------------------------------------------------------------------------

/// Whether windows of `width` pixels lie side by side, without gap or overlap, and a vector holds one of them.
PYCNN_INLINE bool windows_tile(const kernels::PoolingArguments& a, int64_t width) {
  const bool fits = width * a.channels > 0 && width * a.channels <= lanes<float>;
  if (!fits || a.step[2] != 1 || a.output_size[2] == 0) return false;
  for (int64_t o = 0; o < a.output_size[2]; ++o)
    if (a.begin[2][o] - a.begin[2][0] != o * width || a.end[2][o] - a.begin[2][o] != width) return false;
  return true;
}

using Places = typename VectorOf<float>::Integers;

/// Whether vectors are permuted by an instruction.
inline constexpr bool permutes_lanes = vector_bytes > 16;

/// Lane i is lane index[i] of v.
PYCNN_INLINE Vector<float> permuted(Vector<float> v, Places index) {
#if defined(__AVX512F__)
  return _mm512_maskz_permutexvar_ps(0xffff, reinterpret_cast<__m512i>(index), v);  // unmasked, GCC warns
#elif defined(__AVX2__)
  return _mm256_permutevar8x32_ps(v, reinterpret_cast<__m256i>(index));
#else
  Vector<float> result{};
  for (int i = 0; i < lanes<float>; ++i) result[i] = v[index[i]];
  return result;
#endif
}
/// The same for the lanes of two vectors, those of `high` counted on.
PYCNN_INLINE Vector<float> permuted(Vector<float> low, Vector<float> high, Places index) {
#if defined(__AVX512F__)
  return _mm512_permutex2var_ps(low, reinterpret_cast<__m512i>(index), high);
#elif defined(__AVX2__)
  const auto above = reinterpret_cast<__m256>(index << 28);
  return _mm256_blendv_ps(permuted(low, index), permuted(high, index), above);
#else
  Vector<float> result{};
  for (int i = 0; i < lanes<float>; ++i)
    result[i] = index[i] < lanes<float> ? low[index[i]] : high[index[i] - lanes<float>];
  return result;
#endif
}

/// Whether a lane of either is not a number.
PYCNN_INLINE bool any_nan(Vector<float> a, Vector<float> b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q)) != 0;
#else
  for (int i = 0; i < lanes<float>; ++i)
    if (a[i] != a[i] || b[i] != b[i]) return true;
  return false;
#endif
}

/// Lanes of outputs: (window, channel).
struct OutputLanes {
  int64_t windows = 0;  ///< 0: there are not several in a vector
  Places first{};       ///< lane of the windows' rows, `width` pixels each, that holds the first tap
  Places pixel{};       ///< pixels from the first window to the lane's

  OutputLanes() = default;
  OutputLanes(int64_t channels, int64_t width) : windows(lanes<float> / channels) {
    for (int64_t i = 0; i < windows * channels; ++i) {
      pixel[i] = static_cast<int32_t>(i / channels * width);
      first[i] = static_cast<int32_t>(i / channels * width * channels + i % channels);
    }
  }
};

/// Lanes of inputs: (window, tap of a row, channel).
struct InputLanes {
  int64_t windows = 0;  ///< 0: a vector does not hold a whole one
  Places output{};      ///< lane of the outputs
  Places tap{}, pixel{};

  InputLanes() = default;
  InputLanes(int64_t channels, int64_t width) : windows(lanes<float> / (channels * width)) {
    for (int64_t i = 0; i < windows * width * channels; ++i) {
      pixel[i] = static_cast<int32_t>(i / channels);
      tap[i] = static_cast<int32_t>(i / channels % width);
      output[i] = static_cast<int32_t>(i / channels / width * channels + i % channels);
    }
  }
};

}  // namespace pycnn::cpu::PYCNN_ISA
