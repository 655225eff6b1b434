#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::reference {
namespace {

template <typename T, typename Sum>
void multiply(const kernels::MatmulArguments& g) {
  parallel_for(g.batch[0] * g.batch[1] * g.m, [&](int64_t chunk) {
    const int64_t i = chunk % g.m, first = chunk / g.m / g.batch[1], second = chunk / g.m % g.batch[1];
    const T* a = static_cast<const T*>(g.a) + first * g.a_batch[0] + second * g.a_batch[1] + i * g.a_row;
    const T* b = static_cast<const T*>(g.b) + first * g.b_batch[0] + second * g.b_batch[1];
    T* c = static_cast<T*>(g.c) + first * g.c_batch[0] + second * g.c_batch[1] + i * g.c_row;
    for (int64_t j = 0; j < g.n; ++j) {
      Sum sum = 0;
      for (int64_t k = 0; k < g.k; ++k)
        sum += to_sum<Sum>(a[k * g.a_column]) * to_sum<Sum>(b[k * g.b_row + j * g.b_column]);
      assign(c[j], sum);
    }
  });
}

}  // namespace

void matmul(const kernels::MatmulArguments& g) {
  if (g.dtype == DType::Float32)
    multiply<float, double>(g);
  else if (g.dtype == DType::BFloat16)
    multiply<BFloat16, double>(g);
  else if (g.dtype == DType::Float64)
    multiply<double, double>(g);
  else
    multiply<int64_t, uint64_t>(g);  // wraps around, as integer arithmetic does
}

}  // namespace pycnn::cpu::reference
