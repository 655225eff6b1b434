#include "pycnn/shape.h"

#include <string_view>

namespace pycnn {

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    check(!__builtin_mul_overflow(count, size, &count), "a tensor of shape ", shape, " has too many elements");
  return count;
}

std::string to_string(const Dimensions& dimensions) {
  std::string text = "(";
  for (int i = 0; i < dimensions.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(dimensions[i]);
  }
  return text + (dimensions.size() == 1 ? ",)" : ")");
}

Strides contiguous_strides(const Shape& shape) {
  Strides strides = Dimensions::filled(shape.size(), 1);
  for (int d = shape.size() - 2; d >= 0; --d) strides[d] = strides[d + 1] * std::max<int64_t>(shape[d + 1], 1);
  return strides;
}

Strides channels_last_strides(const Shape& shape) {
  if (shape.size() < 3 || shape.size() > 5) return contiguous_strides(shape);
  Strides strides = Dimensions::filled(shape.size(), 1);
  int64_t step = std::max<int64_t>(shape[1], 1);
  for (int d = shape.size() - 1; d >= 2; --d) {
    strides[d] = step;
    step *= std::max<int64_t>(shape[d], 1);
  }
  strides[0] = step;
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view operation) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const int shift = longer.size() - shorter.size();
  for (int d = 0; d < shorter.size(); ++d) {
    int64_t& size = result[d + shift];
    if (size == 1)
      size = shorter[d];
    else
      check(shorter[d] == 1 || shorter[d] == size, operation, ": shapes ", a, " and ", b,
            " cannot be broadcast: the size of tensor a (", a[a.size() - shorter.size() + d],
            ") must match the size of tensor b (", b[b.size() - shorter.size() + d], ") at non-singleton dimension ",
            d + shift);
  }
  return result;
}

int normalize_dimension(int64_t dimension, int rank, std::string_view operation) {
  const int64_t bound = std::max(rank, 1);
  check<IndexError>(dimension >= -bound && dimension < bound, operation,
                    ": Dimension out of range (expected to be in range of [", -bound, ", ", bound - 1, "], but got ",
                    dimension, ")");
  return static_cast<int>(dimension < 0 ? dimension + bound : dimension);
}

}  // namespace pycnn
