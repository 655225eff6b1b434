// Shapes and strides: short vectors of int64 that never allocate.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>
#include <string>

#include "pycnn/error.h"

namespace pycnn {

/// The most dimensions a tensor can have.
inline constexpr int max_dimensions = 8;

/// Up to max_dimensions integers, by value.
class Dimensions {
 public:
  Dimensions() = default;
  Dimensions(std::initializer_list<int64_t> values) : Dimensions(std::span(values.begin(), values.size())) {}
  explicit Dimensions(std::span<const int64_t> values) {
    for (int64_t value : values) push_back(value);
  }
  /// n copies of value.
  static Dimensions filled(int n, int64_t value) {
    Dimensions result;
    for (int i = 0; i < n; ++i) result.push_back(value);
    return result;
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t& operator[](int i) { return values_[static_cast<size_t>(i)]; }
  int64_t operator[](int i) const { return values_[static_cast<size_t>(i)]; }
  int64_t back() const { return (*this)[size_ - 1]; }
  int64_t* begin() { return values_.data(); }
  int64_t* end() { return values_.data() + size_; }
  const int64_t* begin() const { return values_.data(); }
  const int64_t* end() const { return values_.data() + size_; }

  void push_back(int64_t value) {
    check(size_ < max_dimensions, "tensors have at most ", max_dimensions, " dimensions");
    values_[static_cast<size_t>(size_++)] = value;
  }
  void insert(int at, int64_t value) {
    push_back(value);
    std::rotate(begin() + at, end() - 1, end());
  }
  void erase(int at) {
    std::move(begin() + at + 1, end(), begin() + at);
    --size_;
  }
  operator std::span<const int64_t>() const { return {begin(), static_cast<size_t>(size_)}; }

  friend bool operator==(const Dimensions& a, const Dimensions& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  std::array<int64_t, max_dimensions> values_{};
  int size_ = 0;
};

/// Sizes of the dimensions, in logical order (N, C, H, W).
using Shape = Dimensions;
/// Steps between neighbours along each dimension, in elements.
using Strides = Dimensions;

/// Number of elements; 1 for a scalar. Throws if it does not fit int64.
int64_t element_count(const Shape& shape);

/// "(64, 1, 28, 28)"; one element as in Python: "(5,)".
std::string to_string(const Dimensions& dimensions);
inline std::ostream& operator<<(std::ostream& out, const Dimensions& d) { return out << to_string(d); }

/// Row-major strides: the last dimension is contiguous.
Strides contiguous_strides(const Shape& shape);
/// Channels-last strides for shapes (N, C, spatial…) of 3 to 5 dimensions; contiguous strides for others.
Strides channels_last_strides(const Shape& shape);

/// The shape both broadcast to (NumPy's rules); throws naming the operator and both shapes otherwise.
Shape broadcast_shapes(const Shape& a, const Shape& b, std::string_view operation);

/// Maps a possibly negative dimension to 0…rank-1 (a scalar counts as rank 1); otherwise an IndexError with PyTorch's
/// words that names the operation.
int normalize_dimension(int64_t dimension, int rank, std::string_view operation);

}  // namespace pycnn
