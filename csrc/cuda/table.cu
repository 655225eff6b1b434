#include "cuda/guarded.h"
#include "cuda/kernels.h"

namespace pycnn::cuda {

const kernels::Kernels& table() {
  static const kernels::Kernels kernels = [] {
    kernels::Kernels k{};
    k.device = "cuda";
    k.level = "sm_80+";
    k.pointwise = guarded<pointwise>;
    k.pointwise_batch = guarded<pointwise_batch>;
    k.reduce_workspace = guarded<reduce_workspace>;
    k.reduce = guarded<reduce>;
    k.arg_reduce = guarded<arg_reduce>;
    k.convolution[0] = convolution_forward;
    k.convolution[1] = convolution_input_gradient;
    k.convolution[2] = convolution_weight_gradient;
    k.matmul = matmul;
    k.max_pool = guarded<max_pool>;
    k.max_pool_backward = guarded<max_pool_backward>;
    k.max_pool_gather = guarded<max_pool_gather>;
    k.average_pool = guarded<average_pool>;
    k.average_pool_backward = guarded<average_pool_backward>;
    k.combine_rows = guarded<combine_rows>;
    k.softmax = guarded<softmax>;
    k.normalize_rows = guarded<normalize_rows>;
    k.normalize_rows_backward_workspace = guarded<normalize_rows_backward_workspace>;
    k.normalize_rows_backward = guarded<normalize_rows_backward>;
    k.sample = guarded<sample>;
    k.sample_spread = guarded<sample_spread>;
    k.sample_weights = guarded<sample_weights>;
    k.gather = guarded<gather>;
    k.scatter_add = guarded<scatter_add>;
    k.scatter = guarded<scatter>;
    k.scatter_product = guarded<scatter_product>;
    k.scatter_maximum = guarded<scatter_maximum>;
    k.scatter_minimum = guarded<scatter_minimum>;
    k.scan = guarded<scan>;
    k.sort = guarded<sort>;
    k.select = guarded<select>;
    k.search = guarded<search>;
    k.factor = guarded<factor>;
    k.solve = guarded<solve>;
    k.random = guarded<random>;
    return k;
  }();
  return kernels;
}

}  // namespace pycnn::cuda
