#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::reference {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

template <typename T>
struct View {
  T* data;
  const int64_t* size;
  int64_t channels;
  T& at(int64_t n, const int64_t (&x)[3], int64_t c) const {
    return data[(((n * size[0] + x[0]) * size[1] + x[1]) * size[2] + x[2]) * channels + c];
  }
};

template <typename Function>
void for_each_position(const int64_t (&size)[3], const Function& function) {
  int64_t x[3];
  for (x[0] = 0; x[0] < size[0]; ++x[0])
    for (x[1] = 0; x[1] < size[1]; ++x[1])
      for (x[2] = 0; x[2] < size[2]; ++x[2]) function(x);
}

/// The input position that output position o meets under tap t; false if it lies in the padding.
bool input_position(const ConvolutionShape& s, const int64_t (&o)[3], const int64_t (&t)[3], int64_t (&x)[3]) {
  for (int d = 0; d < 3; ++d) {
    x[d] = o[d] * s.stride[d] - s.padding[d] + t[d] * s.dilation[d];
    if (x[d] < 0 || x[d] >= s.input[d]) return false;
  }
  return true;
}

/// The output position that meets input position x under tap t; false if there is none.
bool output_position(const ConvolutionShape& s, const int64_t (&x)[3], const int64_t (&t)[3], int64_t (&o)[3]) {
  for (int d = 0; d < 3; ++d) {
    const int64_t scaled = x[d] + s.padding[d] - t[d] * s.dilation[d];
    if (scaled < 0 || scaled % s.stride[d] != 0) return false;
    o[d] = scaled / s.stride[d];
    if (o[d] >= s.output[d]) return false;
  }
  return true;
}

template <typename T>
struct Problem {
  explicit Problem(const ConvolutionArguments& a)
      : s(a.shape),
        input{static_cast<T*>(a.input), s.input, s.in_channels},
        output{static_cast<T*>(a.output), s.output, s.out_channels},
        weight_data(static_cast<T*>(a.weight)),
        strides(a.weight_strides),
        in_group(s.in_channels / s.groups),
        out_group(s.out_channels / s.groups) {}
  T& weight(int64_t o, int64_t i, const int64_t (&t)[3]) const {
    return weight_data[o * strides[0] + i * strides[1] +
                       ((t[0] * s.kernel[1] + t[1]) * s.kernel[2] + t[2]) * strides[2]];
  }
  const ConvolutionShape& s;
  View<T> input, output;
  T* weight_data;
  const int64_t* strides;
  int64_t in_group, out_group;
};

template <typename T>
void forward(const ConvolutionArguments& arguments) {
  const Problem<T> p(arguments);
  const ConvolutionShape& s = p.s;
  parallel_for(s.batch * s.out_channels, [&](int64_t chunk) {
    const int64_t n = chunk / s.out_channels, o = chunk % s.out_channels, first = o / p.out_group * p.in_group;
    for_each_position(s.output, [&](const int64_t(&y)[3]) {
      double sum = 0;
      for_each_position(s.kernel, [&](const int64_t(&t)[3]) {
        int64_t x[3];
        if (!input_position(s, y, t, x)) return;
        for (int64_t i = 0; i < p.in_group; ++i)
          sum += to_sum<double>(p.input.at(n, x, first + i)) * to_sum<double>(p.weight(o, i, t));
      });
      assign(p.output.at(n, y, o), sum);
    });
  });
}

template <typename T>
void input_gradient(const ConvolutionArguments& arguments) {
  const Problem<T> p(arguments);
  const ConvolutionShape& s = p.s;
  parallel_for(s.batch * s.in_channels, [&](int64_t chunk) {
    const int64_t n = chunk / s.in_channels, c = chunk % s.in_channels;
    const int64_t i = c % p.in_group, first = c / p.in_group * p.out_group;
    for_each_position(s.input, [&](const int64_t(&x)[3]) {
      double sum = 0;
      for_each_position(s.kernel, [&](const int64_t(&t)[3]) {
        int64_t y[3];
        if (!output_position(s, x, t, y)) return;
        for (int64_t o = first; o < first + p.out_group; ++o)
          sum += to_sum<double>(p.output.at(n, y, o)) * to_sum<double>(p.weight(o, i, t));
      });
      assign(p.input.at(n, x, c), sum);
    });
  });
}

template <typename T>
void weight_gradient(const ConvolutionArguments& arguments) {
  const Problem<T> p(arguments);
  const ConvolutionShape& s = p.s;
  parallel_for(s.out_channels, [&](int64_t o) {
    const int64_t first = o / p.out_group * p.in_group;
    for (int64_t i = 0; i < p.in_group; ++i)
      for_each_position(s.kernel, [&](const int64_t(&t)[3]) {
        double sum = 0;
        for (int64_t n = 0; n < s.batch; ++n)
          for_each_position(s.output, [&](const int64_t(&y)[3]) {
            int64_t x[3];
            if (!input_position(s, y, t, x)) return;
            sum += to_sum<double>(p.output.at(n, y, o)) * to_sum<double>(p.input.at(n, x, first + i));
          });
        assign(p.weight(o, i, t), sum);
      });
  });
}

template <typename Function>
void with_type(DType dtype, const Function& function) {
  if (dtype == DType::Float32)
    function(float{});
  else if (dtype == DType::BFloat16)
    function(BFloat16{});
  else
    function(double{});
}

}  // namespace

void convolution_forward(const ConvolutionArguments& a) {
  with_type(a.dtype, [&](auto zero) { forward<decltype(zero)>(a); });
}
void convolution_input_gradient(const ConvolutionArguments& a) {
  with_type(a.dtype, [&](auto zero) { input_gradient<decltype(zero)>(a); });
}
void convolution_weight_gradient(const ConvolutionArguments& a) {
  with_type(a.dtype, [&](auto zero) { weight_gradient<decltype(zero)>(a); });
}

}  // namespace pycnn::cpu::reference
