// What operators that scatter have in common.
#pragma once

#include <span>

#include "graph/lowering.h"
#include "pycnn/ops.h"

namespace pycnn::ops {

/// The elements along a dimension at indices that are known to be in bounds: int64, one per element of the result.
Tensor gathered(const Tensor& input, int dimension, const Tensor& index);
/// `input` with `values` (of the index's shape) stored, or added, at such indices.
Tensor scattered(const Tensor& input, int dimension, const Tensor& index, const Tensor& values, bool add = false);
/// Checks the arguments of a scatter; the part of source that index covers.
Tensor checked_source(const char* operation, const Tensor& input, int along, const Tensor& index, const Tensor& source);
/// Inputs: table, index and values of any rank; the window of the table that they touch need not be all of it.
graph::Slot lower_scatter(graph::Lowering& l, std::span<const graph::Slot> inputs, int dimension,
                          graph::Lowering::ScatterKind kind);

}  // namespace pycnn::ops
