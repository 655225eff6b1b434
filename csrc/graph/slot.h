// Slots: windows onto a plan's buffers.
#pragma once

#include <cstdint>
#include <span>

#include "pycnn/dtype.h"
#include "pycnn/shape.h"

namespace pycnn::graph {

/// A (possibly strided) window onto one of the plan's buffers. Offset and strides count elements.
struct Slot {
  int buffer = -1;
  DType dtype = DType::Float32;
  Shape shape;
  Strides strides;
  int64_t offset = 0;

  int64_t count() const { return element_count(shape); }
  int64_t count(int begin, int end) const;                ///< of dimensions [begin, end)
  bool merge(int begin, int end, int64_t& stride) const;  ///< these lie evenly: one stride goes through all of them
  bool is_contiguous() const;                             ///< row-major, dense
  bool is_channels_last() const;  ///< (N, C, spatial…) dense with C innermost; dimensions of size 1 do not matter
  bool is_dense() const;          ///< every element of a block once, in some order of dimensions

  // Windows onto the same memory; nothing is copied.
  Slot permuted(std::span<const int64_t> order) const;
  Slot expanded(const Shape& shape) const;                                           ///< broadcast, stride 0
  Slot sliced(int dimension, int64_t begin, int64_t count, int64_t step = 1) const;  ///< step may be negative
  Slot squeezed(int dimension) const;
  Slot unsqueezed(int dimension) const;
  /// The same elements under another shape, if strides allow it without a copy; otherwise buffer is -1.
  Slot reshaped(const Shape& shape) const;
  /// What this window onto `copy` shows, as it lies in `source`, if `copy` is a dense copy of source in other strides
  /// and strides allow it; otherwise buffer is -1.
  Slot seen_through(const Slot& copy, const Slot& source) const;
};

/// Whether both name the same elements of the same buffer in the same way.
bool same_window(const Slot& a, const Slot& b);
/// Whether the slot's elements lie as these strides say. Dimensions of size 1 may have any stride.
bool same_layout(const Slot& slot, const Strides& strides);

}  // namespace pycnn::graph
