// Convolutions in which every channel is a group of its own. They are bound by memory; threads run over channels.
#pragma once

#include "kernels/kernels.h"

namespace pycnn::cuda {

const char* depthwise_declines(const kernels::ConvolutionArguments& arguments);
template <kernels::ConvolutionPass Pass>
size_t depthwise_workspace(const kernels::ConvolutionArguments& arguments);
template <kernels::ConvolutionPass Pass>
void run_depthwise(const kernels::ConvolutionArguments& arguments);

}  // namespace pycnn::cuda
