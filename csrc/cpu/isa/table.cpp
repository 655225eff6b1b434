#include "cpu/isa/isa.h"
#include "cpu/reference/reference.h"

#define PYCNN_TEXT(name) #name
#define PYCNN_NAME_OF(name) PYCNN_TEXT(name)

namespace pycnn::cpu::PYCNN_ISA {

const kernels::Kernels& table() {
  static const kernels::Kernels kernels = [] {
    kernels::Kernels k{};
    k.device = "cpu";
    k.level = PYCNN_NAME_OF(PYCNN_ISA);
    k.pointwise = pointwise;
    k.pointwise_batch = pointwise_batch;
    k.pointwise_region = pointwise_region;
    k.reduce_workspace = reduce_workspace;
    k.reduce = reduce;
    k.convolution[0] = convolution_forward;
    k.convolution[1] = convolution_input_gradient;
    k.convolution[2] = convolution_weight_gradient;
    k.matmul = matmul;
    k.arg_reduce = arg_reduce;
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
    k.select = reference::select;
    k.search = reference::search;
    k.factor = reference::factor;
    k.solve = reference::solve;
    k.random = random;
    k.multiply_add_loop = multiply_add_loop;
    k.bfloat16_multiply_add_loop = bfloat16_multiply_add_loop;
    return k;
  }();
  return kernels;
}

}  // namespace pycnn::cpu::PYCNN_ISA
