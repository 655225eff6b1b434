// What operators' argument checks share: PyTorch's words for dtypes and shapes, and sizes given once for all
// dimensions.
#pragma once

#include <string>

#include "pycnn/dtype.h"
#include "pycnn/error.h"
#include "pycnn/shape.h"

namespace pycnn::ops {

/// A dtype as PyTorch's messages call it: "Float", "Long", …
inline const char* scalar_type_name(DType dtype) {
  constexpr const char* names[] = {"Bool", "Byte", "Char",     "Short", "Int",
                                   "Long", "Half", "BFloat16", "Float", "Double"};
  return names[static_cast<size_t>(dtype)];
}

/// The dtype in which elements are computed: float32 for 16-bit floats, int64 for integers and bool.
constexpr DType compute_dtype(DType dtype) {
  if (dtype == DType::Float64 || dtype == DType::Float32) return dtype;
  return is_floating_point(dtype) ? DType::Float32 : DType::Int64;
}

/// The dtype in which products take and give elements: they add up bfloat16 in float32 themselves.
constexpr DType product_dtype(DType dtype) { return dtype == DType::BFloat16 ? dtype : compute_dtype(dtype); }

/// The elements with a separator: "1, 3, 8" or "2 x 2".
inline std::string join(std::span<const int64_t> values, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < values.size(); ++i) text.append(i ? separator : "").append(std::to_string(values[i]));
  return text;
}

/// A shape as PyTorch's messages print it: "[1, 3, 8, 8]". Printed only if the message is; not to be kept.
struct Brackets {
  const Dimensions& dimensions;
  friend std::ostream& operator<<(std::ostream& stream, const Brackets& brackets) {
    return stream << '[' << join(brackets.dimensions, ", ") << ']';
  }
};
inline Brackets brackets(const Dimensions& dimensions) { return {dimensions}; }

/// The last `count` entries.
inline Dimensions last(const Dimensions& dimensions, int count) {
  return Dimensions(std::span<const int64_t>(dimensions).last(static_cast<size_t>(count)));
}

/// One entry per spatial dimension from an argument with one entry for all or one for each.
inline Dimensions per_dimension(const char* operation, const char* argument, const Dimensions& given, int spatial) {
  if (given.size() == spatial) return given;
  check(given.size() == 1, operation, ": expected ", argument, " to be a single integer value or a list of ", spatial,
        " values to match the spatial dimensions, but got ", argument, "=", brackets(given));
  return Dimensions::filled(spatial, given[0]);
}

/// The mask of all dimensions but `kept`, for Lowering::reduce.
constexpr uint32_t all_dimensions_but(int kept, int rank) { return ((1u << rank) - 1u) & ~(1u << kept); }

}  // namespace pycnn::ops
