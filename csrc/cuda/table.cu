#include "cuda/kernels.h"

namespace pycnn::cuda {

const kernels::Kernels& table() {
  static const kernels::Kernels kernels = [] {
    kernels::Kernels k{};
    k.device = "cuda";
    k.level = "sm_80+";
    k.pointwise = pointwise;
    k.pointwise_batch = pointwise_batch;
    k.reduce_workspace = reduce_workspace;
    k.reduce = reduce;
    k.arg_reduce = arg_reduce;
    k.convolution[0] = convolution_forward;
    k.convolution[1] = convolution_input_gradient;
    k.convolution[2] = convolution_weight_gradient;
    k.matmul = matmul;
    k.max_pool = max_pool;
    k.max_pool_backward = max_pool_backward;
    k.max_pool_gather = max_pool_gather;
    k.average_pool = average_pool;
    k.average_pool_backward = average_pool_backward;
    k.combine_rows = combine_rows;
    k.softmax = softmax;
    k.normalize_rows = normalize_rows;
    k.normalize_rows_backward_workspace = normalize_rows_backward_workspace;
    k.normalize_rows_backward = normalize_rows_backward;
    k.sample = sample;
    k.sample_spread = sample_spread;
    k.sample_weights = sample_weights;
    k.gather = gather;
    k.scatter_add = scatter_add;
    k.scatter = scatter;
    k.scatter_product = scatter_product;
    k.scatter_maximum = scatter_maximum;
    k.scatter_minimum = scatter_minimum;
    k.scan = scan;
    k.sort = sort;
    k.select = select;
    k.search = search;
    k.factor = factor;
    k.solve = solve;
    k.random = random;
    return k;
  }();
  return kernels;
}

}  // namespace pycnn::cuda
