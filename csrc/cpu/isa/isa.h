// What every instruction-set level provides. Files in this folder are compiled once per level, with PYCNN_ISA naming
// it: everything lives in that namespace, helpers are internal, and no std:: template is instantiated (the linker could
// keep its AVX-512 copy for everybody).
#pragma once

#include "kernels/kernels.h"

#ifndef PYCNN_ISA
#error "this header belongs to code that is built per instruction set"
#endif

namespace pycnn::cpu::PYCNN_ISA {

/// Results of this size are in no cache any more when they are read.
inline constexpr int64_t uncached_bytes = int64_t{1} << 24;

void pointwise(const kernels::PointwiseArguments& arguments);
void pointwise_batch(const kernels::PointwiseArguments* programs, int count);
void pointwise_region(const kernels::PointwiseArguments& arguments, int64_t outer_begin, int64_t outer_end,
                      int64_t inner_begin, int64_t inner_end);
/// Runs the program if it is a copy between layouts with different contiguous dimensions; else returns false.
bool transposed_copy(const kernels::PointwiseArguments& arguments);
size_t reduce_workspace(const kernels::ReduceArguments& arguments);
void reduce(const kernels::ReduceArguments& arguments);
void arg_reduce(const kernels::ArgReduceArguments& arguments);

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
bool gather(const kernels::IndexArguments& arguments);
bool scatter_add(const kernels::IndexArguments& arguments);
bool scatter(const kernels::IndexArguments& arguments);
bool scatter_product(const kernels::IndexArguments& arguments);
bool scatter_maximum(const kernels::IndexArguments& arguments);
bool scatter_minimum(const kernels::IndexArguments& arguments);
void scan(const kernels::ScanArguments& arguments);
void sort(const kernels::SortArguments& arguments);
void random(const kernels::RandomArguments& arguments);
int64_t multiply_add_loop(int64_t rounds);
int64_t bfloat16_multiply_add_loop(int64_t rounds);

/// All of the above as the table the planner sees.
const kernels::Kernels& table();

}  // namespace pycnn::cpu::PYCNN_ISA
