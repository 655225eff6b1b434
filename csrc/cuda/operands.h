// Where the factors of an implicit matrix product lie. A product adds up over a depth; its other index runs across it
// (rows of the first factor, columns of the second). Addresses are those of vectors of elements that lie side by side,
// along the depth or across it, and are found in two parts, so that what stays the same from step to step is found
// once.
#pragma once

#include "cuda/index_divide.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {

enum class Contiguous : uint8_t { Depth, Across };

/// Parts of a product (phases of a convolution) that one launch can do.
inline constexpr int max_parts = 16;

/// Places along the depth that a block looks up instead of computing them, if no more are needed.
inline constexpr int table_places = 128;

inline constexpr int nowhere = -(1 << 30);  ///< a position outside of whatever is added to it, up to 2³⁰

/// A matrix; batches of them are counted by the block's y.
template <typename T, int V, Contiguous C>
struct Matrix {
  using Element = T;
  static constexpr int vector = V;
  static constexpr Contiguous contiguous = C;

  const T* data;
  int64_t stride;  ///< in the direction that is not contiguous
  int across_count, depth_count;
  int64_t batch_strides[2];
  IndexDivide batches;  ///< of the inner of two

  struct Place {
    int64_t offset;
    int valid;
  };
  using Across = Place;
  using Along = Place;
  static constexpr bool looks_up = false;

  __host__ __device__ const T* origin(int, int y) const {
    const int outer = batches.divide(y);
    return data + outer * batch_strides[0] + y * batch_strides[1];
  }
  __host__ __device__ Across across(int, int i) const { return place(i, across_count, C == Contiguous::Across); }
  __host__ __device__ Along along(int, int k) const { return place(k, depth_count, C == Contiguous::Depth); }
  /// How many elements are there; the others of the vector are zeros.
  __host__ __device__ int address(const Across& a, const Along& k, int64_t& offset) const {
    offset = a.offset + k.offset;
    return a.valid < k.valid ? a.valid : k.valid;
  }

 private:
  __host__ __device__ Place place(int i, int count, bool in_line) const {
    const int left = count - i;
    if (in_line) return {i, left < V ? (left > 0 ? left : 0) : V};
    return {i * stride, left > 0 ? V : 0};
  }
};

/// A matrix whose elements are adjacent in no direction, or not aligned.
template <typename T>
struct StridedMatrix {
  using Element = T;
  static constexpr int vector = 1;
  static constexpr Contiguous contiguous = Contiguous::Depth;

  const T* data;
  int64_t across_stride, depth_stride;
  int across_count, depth_count;
  int64_t batch_strides[2];
  IndexDivide batches;

  struct Place {
    int64_t offset;
    int valid;
  };
  using Across = Place;
  using Along = Place;
  static constexpr bool looks_up = false;

  __host__ __device__ const T* origin(int, int y) const {
    const int outer = batches.divide(y);
    return data + outer * batch_strides[0] + y * batch_strides[1];
  }
  __host__ __device__ Across across(int, int i) const { return {i * across_stride, i < across_count}; }
  __host__ __device__ Along along(int, int k) const { return {k * depth_stride, k < depth_count}; }
  __host__ __device__ int address(const Across& a, const Along& k, int64_t& offset) const {
    offset = a.offset + k.offset;
    return a.valid & k.valid;
  }
};

/// A convolution's weight as rows of result channels, (group, channel, tap, source channel) for each part, padded with
/// zeros to whole vectors of 16 bytes.
template <typename T>
struct PackedWeight {
  using Element = T;
  static constexpr int vector = 16 / sizeof(T);
  static constexpr Contiguous contiguous = Contiguous::Depth;

  const T* data;
  int across_count;  ///< of a group
  int rows[max_parts];
  int64_t offsets[max_parts];

  struct Across {
    int64_t offset;
    int valid;
  };
  struct Along {
    int offset, valid;
  };
  static constexpr bool looks_up = false;

  __host__ __device__ const T* origin(int part, int y) const {
    return data + offsets[part] + static_cast<int64_t>(y) * across_count * rows[part];
  }
  __host__ __device__ Across across(int part, int i) const {
    return {static_cast<int64_t>(i) * rows[part], i < across_count};
  }
  __host__ __device__ Along along(int part, int k) const { return {k, k < rows[part]}; }
  __host__ __device__ int address(const Across& a, const Along& k, int64_t& offset) const {
    offset = a.offset + k.offset;
    return (a.valid & k.valid) != 0 ? vector : 0;
  }
};

/// What a convolution reads of a dense channels-last source: for each pixel of the results and each tap the channels of
/// a group, zeros outside.
struct PixelsAndTaps {
  struct Axis {
    int step, offset, tap_step;
    IndexDivide positions, taps;
  };
  struct Part {
    Axis axis[3];
    int pixels;     ///< batch items × positions
    int tap_depth;  ///< taps × channels
  };
  int size[3];
  int64_t channels;  ///< of all groups
  IndexDivide group_channels;
  Part part[max_parts];

  /// A sum of two of these, a pixel's and a tap's, is a place of the source: it has less than 2²⁹ pixels.
  struct Place {
    int pixel, channel;
    int at[3];
  };

  __host__ __device__ int pixel_of(int item, const int (&at)[3]) const {
    return ((item * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
  }
  __host__ __device__ Place pixel(int part_index, int i) const {
    const Part& p = part[part_index];
    if (i >= p.pixels) return {0, 0, {nowhere, 0, 0}};
    int q1 = p.axis[2].positions.quotient(i);
    const int q2 = i - q1 * p.axis[2].positions.divisor();
    int q0 = p.axis[1].positions.divide(q1);
    const int item = p.axis[0].positions.divide(q0);
    const int at[3] = {q0 * p.axis[0].step + p.axis[0].offset, q1 * p.axis[1].step + p.axis[1].offset,
                       q2 * p.axis[2].step + p.axis[2].offset};
    return {pixel_of(item, at), 0, {at[0], at[1], at[2]}};
  }
  __host__ __device__ Place tap(int part_index, int k) const {
    const Part& p = part[part_index];
    if (k >= p.tap_depth) return {0, 0, {nowhere, 0, 0}};
    int t1 = group_channels.quotient(k);
    const int channel = k - t1 * group_channels.divisor();
    int t2 = t1;
    t1 = p.axis[2].taps.divide(t2);
    int t0 = p.axis[1].taps.divide(t1);
    const int at[3] = {t0 * p.axis[0].tap_step, t1 * p.axis[1].tap_step, t2 * p.axis[2].tap_step};
    return {pixel_of(0, at), channel, {at[0], at[1], at[2]}};
  }
  /// The same with the division into dimensions done: `table` has the places of the taps' first channels.
  __device__ Place tap(int part_index, int k, const Place* table) const {
    if (table == nullptr) return tap(part_index, k);
    if (k >= part[part_index].tap_depth) return {0, 0, {nowhere, 0, 0}};
    const int number = group_channels.quotient(k);
    Place place = table[number];
    place.channel = k - number * group_channels.divisor();
    return place;
  }
  __host__ __device__ int64_t offset(const Place& a, const Place& b) const {
    return (a.pixel + b.pixel) * channels + a.channel + b.channel;
  }
  __host__ __device__ bool inside(const Place& a, const Place& b) const {
    return static_cast<unsigned>(a.at[0] + b.at[0]) < static_cast<unsigned>(size[0]) &&
           static_cast<unsigned>(a.at[1] + b.at[1]) < static_cast<unsigned>(size[1]) &&
           static_cast<unsigned>(a.at[2] + b.at[2]) < static_cast<unsigned>(size[2]);
  }
};

/// Such a source, V channels at a time; V divides those of a group.
template <typename T, int V>
struct GatheredChannels {
  using Element = T;
  static constexpr int vector = V;
  using Across = PixelsAndTaps::Place;
  using Along = PixelsAndTaps::Place;

  const T* data;
  PixelsAndTaps geometry;

  __host__ __device__ const T* origin(int, int y) const {
    return data + static_cast<int64_t>(y) * geometry.group_channels.divisor();
  }
  __host__ __device__ int address(const Across& a, const Along& k, int64_t& offset) const {
    offset = geometry.offset(a, k);
    return geometry.inside(a, k) ? V : 0;
  }
};

/// Rows are pixels, the depth is (tap, channel).
template <typename T, int V>
struct PixelRows : GatheredChannels<T, V> {
  using Place = PixelsAndTaps::Place;
  static constexpr Contiguous contiguous = Contiguous::Depth;
  static constexpr bool looks_up = true;
  using GatheredChannels<T, V>::geometry;

  __host__ __device__ Place across(int part, int i) const { return geometry.pixel(part, i); }
  __host__ __device__ Place along(int part, int k) const { return geometry.tap(part, k); }
  /// The i-th entry of the table, as there are group_channels of each.
  __device__ int lookups(int part) const { return geometry.group_channels.quotient(geometry.part[part].tap_depth); }
  __device__ Place lookup(int part, int i) const { return geometry.tap(part, i * geometry.group_channels.divisor()); }
  __device__ Place along(int part, int k, const Place* table) const { return geometry.tap(part, k, table); }
};

/// The other way round, of a single part: rows are (tap, channel), the depth is pixels.
template <typename T, int V>
struct TapRows : GatheredChannels<T, V> {
  using Place = PixelsAndTaps::Place;
  static constexpr Contiguous contiguous = Contiguous::Across;
  static constexpr bool looks_up = false;
  using GatheredChannels<T, V>::geometry;

  __host__ __device__ Place across(int, int i) const { return geometry.tap(0, i); }
  __host__ __device__ Place along(int, int k) const { return geometry.pixel(0, k); }
};

}  // namespace pycnn::cuda
