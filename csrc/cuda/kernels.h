// The kernels of this folder, as the table in table.cu lists them. They enqueue on current_stream() and return at once.
#pragma once

#include "cuda/launch.h"
#include "kernels/kernels.h"

namespace pycnn::cuda {

void pointwise(const kernels::PointwiseArguments& arguments);
void pointwise_batch(const kernels::PointwiseArguments* programs, int count);

size_t reduce_workspace(const kernels::ReduceArguments& arguments);
void reduce(const kernels::ReduceArguments& arguments);

void arg_reduce(const kernels::ArgReduceArguments& arguments);

/// Best first; they end with a null name.
extern const kernels::ConvolutionAlgorithm convolution_forward[];
extern const kernels::ConvolutionAlgorithm convolution_input_gradient[];
extern const kernels::ConvolutionAlgorithm convolution_weight_gradient[];
extern const kernels::MatmulAlgorithm matmul[];

void max_pool(const kernels::PoolingArguments& arguments);
void max_pool_backward(const kernels::PoolingArguments& arguments);
void max_pool_gather(const kernels::PoolingArguments& arguments);
void average_pool(const kernels::PoolingArguments& arguments);
void average_pool_backward(const kernels::PoolingArguments& arguments);

void combine_rows(const kernels::CombineRowsArguments& arguments);

void softmax(const kernels::SoftmaxArguments& arguments);
void normalize_rows(const kernels::NormalizeRowsArguments& arguments);
size_t normalize_rows_backward_workspace(const kernels::NormalizeRowsBackwardArguments& arguments);
void normalize_rows_backward(const kernels::NormalizeRowsBackwardArguments& arguments);

void sample(const kernels::SampleArguments& arguments);
void sample_spread(const kernels::SampleArguments& arguments);
void sample_weights(const kernels::SampleArguments& arguments);

// These return true: an index out of range is found later, when the device is synchronized with (backend.h).
bool gather(const kernels::IndexArguments& arguments);
bool scatter_add(const kernels::IndexArguments& arguments);
bool scatter(const kernels::IndexArguments& arguments);
bool scatter_product(const kernels::IndexArguments& arguments);
bool scatter_maximum(const kernels::IndexArguments& arguments);
bool scatter_minimum(const kernels::IndexArguments& arguments);

void scan(const kernels::ScanArguments& arguments);
void sort(const kernels::SortArguments& arguments);
void select(const kernels::SelectArguments& arguments);
void search(const kernels::SearchArguments& arguments);

void factor(const kernels::FactorArguments& arguments);
void solve(const kernels::SolveArguments& arguments);

void random(const kernels::RandomArguments& arguments);

/// Where kernels on this thread's device note, by writing 1, that an index was out of range: memory of the computer
/// that the device writes to. Null if there is none; then an error has been noted.
uint32_t* out_of_range_flag();

/// All of the above as the table the planner sees.
const kernels::Kernels& table();

}  // namespace pycnn::cuda
