#include "cuda/reference.h"

#include "cuda/lanes.h"

namespace pycnn::cuda::reference {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

constexpr int threads = 128;

template <typename T>
struct Types {
  using Sum = double;
  static __device__ double widen(T value) { return widened(value); }
  static __device__ T narrow(double sum) { return narrowed<T>(static_cast<float>(sum)); }
};
template <>
struct Types<double> {
  using Sum = double;
  static __device__ double widen(double value) { return value; }
  static __device__ double narrow(double sum) { return sum; }
};
template <>
struct Types<int64_t> {
  using Sum = uint64_t;  // wraps around, as integer arithmetic does
  static __device__ uint64_t widen(int64_t value) { return static_cast<uint64_t>(value); }
  static __device__ int64_t narrow(uint64_t sum) { return static_cast<int64_t>(sum); }
};

/// Leaves the coordinates of element i in `at`; returns what is left of i.
__device__ inline int64_t unravel(int64_t i, const int64_t (&size)[3], int64_t (&at)[3]) {
  for (int d = 2; d >= 0; --d) {
    at[d] = i % size[d];
    i /= size[d];
  }
  return i;
}
__device__ inline int64_t ravel(int64_t item, const int64_t (&size)[3], const int64_t (&at)[3]) {
  return ((item * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
}

/// The input's position that the output's meets under a tap; false if it lies in the padding.
__device__ inline bool input_position(const ConvolutionShape& s, const int64_t (&output)[3], const int64_t (&tap)[3],
                                      int64_t (&input)[3]) {
  bool inside = true;
  for (int d = 0; d < 3; ++d) {
    input[d] = output[d] * s.stride[d] - s.padding[d] + tap[d] * s.dilation[d];
    inside &= input[d] >= 0 && input[d] < s.input[d];
  }
  return inside;
}

__device__ inline bool output_position(const ConvolutionShape& s, const int64_t (&input)[3], const int64_t (&tap)[3],
                                       int64_t (&output)[3]) {
  bool inside = true;
  for (int d = 0; d < 3; ++d) {
    const int64_t scaled = input[d] + s.padding[d] - tap[d] * s.dilation[d];
    output[d] = scaled / s.stride[d];
    inside &= scaled >= 0 && scaled % s.stride[d] == 0 && output[d] < s.output[d];
  }
  return inside;
}

template <typename T>
struct Convolution {
  ConvolutionShape s;
  T* input;
  T* weight;
  T* output;
  int64_t weight_strides[3], count, in_group, out_group, taps;
};

/// output (batch, D, H, W, O)
template <typename T>
__global__ void forward(const __grid_constant__ Convolution<T> p) {
  const int64_t i = thread_number();
  if (i >= p.count) return;
  const int64_t o = i % p.s.out_channels, group = o / p.out_group;
  int64_t at[3], tap[3], from[3];
  const int64_t item = unravel(i / p.s.out_channels, p.s.output, at);
  double sum = 0;
  for (int64_t t = 0; t < p.taps; ++t) {
    unravel(t, p.s.kernel, tap);
    if (!input_position(p.s, at, tap, from)) continue;
    const T* x = p.input + ravel(item, p.s.input, from) * p.s.in_channels + group * p.in_group;
    const T* w = p.weight + o * p.weight_strides[0] + t * p.weight_strides[2];
    for (int64_t c = 0; c < p.in_group; ++c) sum += Types<T>::widen(x[c]) * Types<T>::widen(w[c * p.weight_strides[1]]);
  }
  p.output[i] = Types<T>::narrow(sum);
}

/// input (batch, D, H, W, I)
template <typename T>
__global__ void input_gradient(const __grid_constant__ Convolution<T> p) {
  const int64_t i = thread_number();
  if (i >= p.count) return;
  const int64_t channel = i % p.s.in_channels, group = channel / p.in_group, c = channel % p.in_group;
  int64_t at[3], tap[3], from[3];
  const int64_t item = unravel(i / p.s.in_channels, p.s.input, at);
  double sum = 0;
  for (int64_t t = 0; t < p.taps; ++t) {
    unravel(t, p.s.kernel, tap);
    if (!output_position(p.s, at, tap, from)) continue;
    const T* y = p.output + ravel(item, p.s.output, from) * p.s.out_channels;
    for (int64_t o = group * p.out_group; o < (group + 1) * p.out_group; ++o)
      sum += Types<T>::widen(y[o]) *
             Types<T>::widen(p.weight[o * p.weight_strides[0] + c * p.weight_strides[1] + t * p.weight_strides[2]]);
  }
  p.input[i] = Types<T>::narrow(sum);
}

/// weight (O, I / groups, taps)
template <typename T>
__global__ void weight_gradient(const __grid_constant__ Convolution<T> p) {
  const int64_t i = thread_number();
  if (i >= p.count) return;
  const int64_t t = i % p.taps, c = i / p.taps % p.in_group, o = i / p.taps / p.in_group, group = o / p.out_group;
  int64_t at[3], tap[3], from[3];
  unravel(t, p.s.kernel, tap);
  const int64_t pixels = p.s.batch * p.s.output[0] * p.s.output[1] * p.s.output[2];
  double sum = 0;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const int64_t item = unravel(pixel, p.s.output, at);
    if (!input_position(p.s, at, tap, from)) continue;
    sum += Types<T>::widen(p.output[pixel * p.s.out_channels + o]) *
           Types<T>::widen(p.input[ravel(item, p.s.input, from) * p.s.in_channels + group * p.in_group + c]);
  }
  p.weight[o * p.weight_strides[0] + c * p.weight_strides[1] + t * p.weight_strides[2]] = Types<T>::narrow(sum);
}

/// c (batch 0, batch 1, m, n)
template <typename T>
__global__ void multiply(const __grid_constant__ kernels::MatmulArguments g) {
  const int64_t i = thread_number();
  if (i >= g.batch[0] * g.batch[1] * g.m * g.n) return;
  const int64_t column = i % g.n, row = i / g.n % g.m, second = i / g.n / g.m % g.batch[1],
                first = i / g.n / g.m / g.batch[1];
  const T* a = static_cast<const T*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1] + row * g.a_row;
  const T* b = static_cast<const T*>(g.b) + first * g.b_batch[0] + second * g.b_batch[1] + column * g.b_column;
  typename Types<T>::Sum sum = 0;
  for (int64_t k = 0; k < g.k; ++k) sum += Types<T>::widen(a[k * g.a_column]) * Types<T>::widen(b[k * g.b_row]);
  static_cast<T*>(g.c)[first * g.c_batch[0] + second * g.c_batch[1] + row * g.c_row + column] = Types<T>::narrow(sum);
}

Grid grid_of(int64_t count) { return {dim3(static_cast<unsigned>(divide_up(count, threads))), dim3(threads)}; }

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

template <typename T>
void convolution_of(const ConvolutionArguments& a, ConvolutionPass pass) {
  const ConvolutionShape& s = a.shape;
  Convolution<T> p{.s = s,
                   .input = static_cast<T*>(a.input),
                   .weight = static_cast<T*>(a.weight),
                   .output = static_cast<T*>(a.output),
                   .weight_strides = {a.weight_strides[0], a.weight_strides[1], a.weight_strides[2]},
                   .count = 0,
                   .in_group = s.in_channels / s.groups,
                   .out_group = s.out_channels / s.groups,
                   .taps = volume(s.kernel)};
  switch (pass) {
    case ConvolutionPass::Forward:
      p.count = s.batch * volume(s.output) * s.out_channels;
      return launch("reference_convolution", forward<T>, grid_of(p.count), p);
    case ConvolutionPass::InputGradient:
      p.count = s.batch * volume(s.input) * s.in_channels;
      return launch("reference_input_gradient", input_gradient<T>, grid_of(p.count), p);
    case ConvolutionPass::WeightGradient:
      p.count = s.out_channels * p.in_group * p.taps;
      return launch("reference_weight_gradient", weight_gradient<T>, grid_of(p.count), p);
  }
}

template <typename T>
void matmul_of(const kernels::MatmulArguments& a) {
  launch("reference_matmul", multiply<T>, grid_of(a.batch[0] * a.batch[1] * a.m * a.n), a);
}

template <typename Function>
void with_type(DType dtype, const Function& function) {
  switch (dtype) {
    case DType::BFloat16:
      return function(BFloat16{});
    case DType::Float16:
      return function(Float16{});
    case DType::Float64:
      return function(double{});
    default:
      return function(float{});
  }
}

}  // namespace

void convolution(const ConvolutionArguments& arguments, ConvolutionPass pass) {
  with_type(arguments.dtype, [&](auto zero) { convolution_of<decltype(zero)>(arguments, pass); });
}

void matmul(const kernels::MatmulArguments& arguments) {
  if (arguments.dtype == DType::Int64) return matmul_of<int64_t>(arguments);
  with_type(arguments.dtype, [&](auto zero) { matmul_of<decltype(zero)>(arguments); });
}

}  // namespace pycnn::cuda::reference
