// Lowering of what works on rows of adjacent elements: softmax, layer and RMS norm.
#include "graph/primitives.h"

namespace pycnn::graph {
namespace {

Slot row_of_parameters(Lowering& l, const Slot& slot, DType dtype) {
  return slot.buffer < 0 ? slot : l.contiguous(l.cast(slot, dtype));
}

}  // namespace

bool Lowering::is_rows(const Slot& slot, int dimension) {
  return slot.is_dense() && slot.count() > 0 && (slot.strides[dimension] == 1 || slot.shape[dimension] == 1);
}

Slot Lowering::softmax_rows(const Slot& input, int dimension, bool logarithm) {
  auto primitive = std::make_unique<SoftmaxPrimitive>();
  primitive->logarithm = logarithm;
  primitive->columns = input.shape[dimension];
  primitive->rows = input.count() / primitive->columns;
  primitive->input = input;
  primitive->output = allocate(input.dtype, input.shape, input.strides);
  primitive->reads = {input};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return result;
}

Slot Lowering::softmax_rows_backward(const Slot& output, const Slot& gradient, int dimension, bool logarithm) {
  auto primitive = std::make_unique<SoftmaxPrimitive>();
  primitive->logarithm = logarithm;
  primitive->columns = output.shape[dimension];
  primitive->rows = output.count() / primitive->columns;
  primitive->input = output;
  primitive->gradient = gradient;
  if (gradient.strides != output.strides || gradient.dtype != output.dtype) {
    primitive->gradient = allocate(output.dtype, output.shape, output.strides);
    copy_into(primitive->gradient, gradient);
  }
  primitive->output = allocate(output.dtype, output.shape, output.strides);
  primitive->reads = {output, primitive->gradient};
  primitive->writes = {primitive->output};
  const Slot result = primitive->output;
  append(std::move(primitive));
  return result;
}

Lowering::NormalizedRows Lowering::normalize_rows(const Slot& input, const Slot& weight, const Slot& bias,
                                                  bool centered, double eps) {
  auto primitive = std::make_unique<NormalizeRowsPrimitive>();
  primitive->centered = centered;
  primitive->eps = eps;
  primitive->input = contiguous(input);
  primitive->weight = row_of_parameters(*this, weight, input.dtype);
  primitive->bias = row_of_parameters(*this, bias, input.dtype);
  primitive->output = allocate(input.dtype, input.shape);
  primitive->mean = allocate(input.dtype, {input.shape[0], 1});
  primitive->inverse = allocate(input.dtype, {input.shape[0], 1});
  for (const Slot* slot : {&primitive->input, &primitive->weight, &primitive->bias})
    if (slot->buffer >= 0) primitive->reads.push_back(*slot);
  primitive->writes = {primitive->output, primitive->mean, primitive->inverse};
  const NormalizedRows result{primitive->output, primitive->mean, primitive->inverse};
  append(std::move(primitive));
  return result;
}

Lowering::NormalizedRowsGradients Lowering::normalize_rows_backward(const Slot& gradient, const Slot& input,
                                                                    const Slot& mean, const Slot& inverse,
                                                                    const Slot& weight, bool centered,
                                                                    bool parameters) {
  auto primitive = std::make_unique<NormalizeRowsBackwardPrimitive>();
  primitive->centered = centered;
  primitive->gradient = contiguous(cast(gradient, input.dtype));
  primitive->input = contiguous(input);
  primitive->mean = contiguous(mean);
  primitive->inverse = contiguous(inverse);
  primitive->weight = row_of_parameters(*this, weight, input.dtype);
  primitive->input_gradient = allocate(input.dtype, input.shape);
  primitive->reads = {primitive->gradient, primitive->input, primitive->mean, primitive->inverse};
  if (weight.buffer >= 0) primitive->reads.push_back(primitive->weight);
  primitive->writes = {primitive->input_gradient};
  if (parameters) {
    primitive->weight_gradient = allocate(input.dtype, {1, input.shape[1]});
    primitive->bias_gradient = allocate(input.dtype, {1, input.shape[1]});
    primitive->writes.push_back(primitive->weight_gradient);
    primitive->writes.push_back(primitive->bias_gradient);
  }
  const NormalizedRowsGradients result{primitive->input_gradient, primitive->weight_gradient, primitive->bias_gradient};
  append(std::move(primitive));
  return result;
}

}  // namespace pycnn::graph
