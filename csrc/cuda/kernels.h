// The kernels of this folder, as the table in table.cu lists them. They enqueue on current_stream() and return at once.
#pragma once

#include "cuda/launch.h"
#include "kernels/kernels.h"

namespace pycnn::cuda {

void pointwise(const kernels::PointwiseArguments& arguments);
void pointwise_batch(const kernels::PointwiseArguments* programs, int count);

/// Best first; they end with a null name.
extern const kernels::ConvolutionAlgorithm convolution_forward[];
extern const kernels::ConvolutionAlgorithm convolution_input_gradient[];
extern const kernels::ConvolutionAlgorithm convolution_weight_gradient[];
extern const kernels::MatmulAlgorithm matmul[];

}  // namespace pycnn::cuda
