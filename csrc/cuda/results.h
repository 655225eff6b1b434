// Where the results of an implicit matrix product go: 8 neighbouring columns of a row at a time, through the pointwise
// program that follows.
#pragma once

#include "cuda/index_divide.h"
#include "cuda/interpreter.h"
#include "cuda/lanes.h"
#include "cuda/operands.h"

namespace pycnn::cuda {

inline constexpr int result_vector = 8;

/// Results in their dtype, and the program that reads them.
template <typename T>
struct Finish {
  T* data;
  bool aligned;  ///< vectors of 8 are, to 16 bytes
  bool stored;   ///< someone reads what lies in memory, besides the program
  bool followed;
  Program program;

  /// Leaves the values as a load would find them.
  __device__ void store(int64_t offset, int count, float (&values)[result_vector]) const {
    Several<T, result_vector> result;
#pragma unroll
    for (int i = 0; i < result_vector; ++i) {
      result.element[i] = narrowed<T>(values[i]);
      values[i] = widened(result.element[i]);
    }
    if (!stored) return;
    if (aligned && count == result_vector) {
      store_several<result_vector>(data + offset, result);
    } else {
#pragma unroll
      for (int i = 0; i < result_vector; ++i)
        if (i < count) data[offset + i] = result.element[i];
    }
  }
  __device__ void follow(int64_t outer, int64_t inner, int count, const float (&values)[result_vector]) const {
    run_program<result_vector, Language::Frequent>(program, outer, inner, count, values);
  }
};

template <typename T>
struct MatrixResult {
  Finish<T> finish;
  int64_t row_stride, rows;
  int64_t batch_strides[2];
  IndexDivide batches;

  __device__ void store(int, int y, int row, int column, int count, float (&values)[result_vector]) const {
    const int64_t outer = y * rows + row;
    const int first = batches.divide(y);
    const int64_t offset = first * batch_strides[0] + y * batch_strides[1] + row * row_stride + column;
    finish.store(offset, count, values);
    if (finish.followed) finish.follow(outer, column, count, values);
  }
};

/// Channels of a group, for the pixels of a dense channels-last tensor that belong to a phase.
template <typename T>
struct PixelResult {
  Finish<T> finish;
  int size[3];
  int channels, group_channels;
  struct Axis {
    IndexDivide positions;
    int step, offset;
  };
  Axis axis[max_parts][3];

  __host__ __device__ int64_t pixel(int part, int row) const {
    const Axis* a = axis[part];
    int q1 = a[2].positions.quotient(row);
    const int q2 = row - q1 * a[2].positions.divisor();
    int q0 = a[1].positions.divide(q1);
    const int64_t item = a[0].positions.divide(q0);
    return ((item * size[0] + q0 * a[0].step + a[0].offset) * size[1] + q1 * a[1].step + a[1].offset) * size[2] +
           q2 * a[2].step + a[2].offset;
  }
  __device__ void store(int part, int y, int row, int column, int count, float (&values)[result_vector]) const {
    const int64_t outer = pixel(part, row);
    const int inner = y * group_channels + column;
    finish.store(outer * channels + inner, count, values);
    if (finish.followed) finish.follow(outer, inner, count, values);
  }
};

/// A weight's gradient. Rows are (tap, in channel), columns the out channels of a group.
template <typename T>
struct WeightResult {
  T* data;
  int64_t strides[3];  ///< out channel, in channel, tap
  int out_channels;    ///< of a group
  IndexDivide in_channels;

  __device__ void store(int, int y, int row, int column, int count, float (&values)[result_vector]) const {
    const int tap = in_channels.divide(row);
    T* to = data + (static_cast<int64_t>(y) * out_channels + column) * strides[0] + row * strides[1] + tap * strides[2];
#pragma unroll
    for (int i = 0; i < result_vector; ++i)
      if (i < count) to[i * strides[0]] = narrowed<T>(values[i]);
  }
};

}  // namespace pycnn::cuda
