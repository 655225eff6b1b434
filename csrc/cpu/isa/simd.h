// Vectors of one register: the widest this level has, as GCC vector extensions; fused multiply-add and masks as
// intrinsics.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pycnn::cpu::PYCNN_ISA {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(vector_bytes)));
  typedef float Unaligned __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(vector_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(vector_bytes)));
  typedef double Unaligned __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
  typedef int64_t Integers __attribute__((vector_size(vector_bytes)));
};

template <typename T>
using Vector = typename VectorOf<T>::Type;
/// Elements of a vector.
template <typename T>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(T));

#define PYCNN_INLINE static inline __attribute__((always_inline))

template <typename T>
PYCNN_INLINE Vector<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::Unaligned*>(p);
}
template <typename T>
PYCNN_INLINE void store(T* p, Vector<T> v) {
  *reinterpret_cast<typename VectorOf<T>::Unaligned*>(p) = v;
}
/// Past the caches, for what will not be read soon; p is aligned to vectors. stream_fence() before others may read it.
PYCNN_INLINE void stream(float* p, Vector<float> v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, v);
#elif defined(__AVX2__)
  _mm256_stream_ps(p, v);
#else
  store(p, v);
#endif
}
PYCNN_INLINE void stream_fence() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}
template <typename T>
PYCNN_INLINE Vector<T> splat(T value) {
  return value - Vector<T>{};
}

/// a·b + c; one rounding where the level has the instruction.
PYCNN_INLINE Vector<float> multiply_add(Vector<float> a, Vector<float> b, Vector<float> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}
PYCNN_INLINE Vector<double> multiply_add(Vector<double> a, Vector<double> b, Vector<double> c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__ARM_NEON) && defined(__aarch64__)
  return vfmaq_f64(c, a, b);
#else
  return a * b + c;
#endif
}

/// The first `count` lanes; memory behind the others is neither read nor written.
template <typename T>
struct Mask {
#if defined(__AVX512F__)
  explicit Mask(int count) : bits(static_cast<__mmask16>((1u << count) - 1)) {}
  __mmask16 bits;
#elif defined(__AVX2__)
  explicit Mask(int n) : count(n) {
    typename VectorOf<T>::Integers index{};
    for (int i = 0; i < lanes<T>; ++i) index[i] = i;
    lane = index < static_cast<decltype(index[0] + 0)>(n);
  }
  typename VectorOf<T>::Integers lane;
  int count;
#else
  explicit Mask(int n) : count(n) {}
  int count;
#endif
};

PYCNN_INLINE Vector<float> load(const float* p, const Mask<float>& mask) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(mask.bits, p);
#elif defined(__AVX2__)
  return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(mask.lane));
#else
  // Lanes by constant index stay in the register.
  if (mask.count == lanes<float>) return load(p);
  Vector<float> v{};
  if (mask.count > 0) v[0] = p[0];
  if (mask.count > 1) v[1] = p[1];
  if (mask.count > 2) v[2] = p[2];
  return v;
#endif
}
PYCNN_INLINE Vector<double> load(const double* p, const Mask<double>& mask) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask.bits), p);
#elif defined(__AVX2__)
  return _mm256_maskload_pd(p, reinterpret_cast<__m256i>(mask.lane));
#else
  if (mask.count == lanes<double>) return load(p);
  Vector<double> v{};
  if (mask.count > 0) v[0] = p[0];
  return v;
#endif
}
PYCNN_INLINE void store(float* p, Vector<float> v, const Mask<float>& mask) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, mask.bits, v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(mask.lane), v);
#else
  if (mask.count == lanes<float>) return store(p, v);
  if (mask.count > 0) p[0] = v[0];
  if (mask.count > 1) p[1] = v[1];
  if (mask.count > 2) p[2] = v[2];
#endif
}
PYCNN_INLINE void store(double* p, Vector<double> v, const Mask<double>& mask) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask.bits), v);
#elif defined(__AVX2__)
  _mm256_maskstore_pd(p, reinterpret_cast<__m256i>(mask.lane), v);
#else
  if (mask.count == lanes<double>) return store(p, v);
  if (mask.count > 0) p[0] = v[0];
#endif
}

}  // namespace pycnn::cpu::PYCNN_ISA
