// Fusion: pointwise steps join the step that made their input.
#pragma once

#include <memory>
#include <vector>

#include "graph/primitives.h"

namespace pycnn::graph {

using Primitives = std::vector<std::unique_ptr<Primitive>>;

/// Drops primitives whose results nobody needs. kept[b] says that buffer b is a result of the plan.
void remove_dead(Primitives& primitives, const std::vector<bool>& kept);

/// Pointwise programs become one program, the epilogue of a convolution or matmul, or the prologue of a reduction.
/// Results keep their bits: formulas are concatenated, never rewritten.
void fuse(Primitives& primitives, const std::vector<bool>& kept);

}  // namespace pycnn::graph
