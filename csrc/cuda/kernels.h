// The kernels of this folder, as the table in table.cu lists them. They enqueue on current_stream() and return at once.
#pragma once

#include "cuda/launch.h"
#include "kernels/kernels.h"

namespace pycnn::cuda {

void pointwise(const kernels::PointwiseArguments& arguments);
void pointwise_batch(const kernels::PointwiseArguments* programs, int count);

size_t reduce_workspace(const kernels::ReduceArguments& arguments);
void reduce(const kernels::ReduceArguments& arguments);

const kernels::Kernels& table();

}  // namespace pycnn::cuda
