// Weight gradient with few channels: vectors run over the pixels of a row. A band of dY is laid out as planes, and X,
// with its borders of zeros, as planes for each tap of a row, moved so that equal places meet: all vectors are aligned
// then. Each vector of X meets several out channels of dY, and each of dY several taps, whose sums stay in registers.
#include "cpu/isa/isa.h"
#include "cpu/isa/planes.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t band_bytes = 44 * 1024;  // of planes: they are read once per tap
constexpr int64_t chunk_flops = int64_t{1} << 19;
constexpr int64_t enough_chunks = 32;
/// Taps of a row and out channels whose sums stay in registers, beside a vector of each of the channels and one of X.
constexpr int most_columns = 5, most_outs = vector_bytes == 64 ? 5 : 2;

template <typename T>
constexpr int64_t whole_vectors(int64_t n) {
  return ceil_divide(n, lanes<T>) * lanes<T>;
}

template <typename T>
struct Cut {
  int64_t pitch;             ///< of a row of a plane
  int64_t rows, bands;       ///< rows of dY in a full band; bands per (batch item, depth)
  int64_t y_plane, x_plane;  ///< elements
  int64_t line, lines;       ///< elements of a row of X with its borders, of all of an in channel
  int64_t items, chunks;
  int64_t sums;  ///< (in channel, tap, out channel), and what fills the last vector

  explicit Cut(const ConvolutionArguments& a) {
    const ConvolutionShape& s = a.shape;
    const int64_t out = s.out_channels, moved = s.in_channels * s.kernel[2];
    pitch = whole_vectors<T>(s.output[2]);
    line = whole_vectors<T>(pitch + (s.kernel[2] - 1) * s.dilation[2]);
    const int64_t border = moved * (s.kernel[1] - 1) * s.dilation[1] * pitch;
    const int64_t row = (out + moved * s.stride[1]) * pitch;
    rows = max_of(1, (band_bytes / static_cast<int64_t>(sizeof(T)) - border) / max_of(row, 1));
    bands = ceil_divide(s.output[1], rows);
    rows = ceil_divide(s.output[1], max_of(bands, 1));
    y_plane = rows * pitch;
    x_plane = source_rows(s, rows) * pitch;
    lines = source_rows(s, rows) * line + lanes<T>;
    items = s.batch * s.output[0] * bands;
    const int64_t flops = 2 * volume(s.kernel) * s.in_channels * rows * s.output[2] * out;
    const int64_t per_chunk = ceil_divide(chunk_flops, max_of(flops, 1));
    chunks = max_of(1, min_of(ceil_divide(items, per_chunk), enough_chunks));
    sums = whole_vectors<T>(weight_elements(s));
  }
  /// Rows of X under `count` rows of dY.
  static int64_t source_rows(const ConvolutionShape& s, int64_t count) {
    return (count - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  }
  size_t scratch(const ConvolutionShape& s) const {
    return static_cast<size_t>(sums * lanes<T> + s.out_channels * y_plane +
                               s.in_channels * (s.kernel[2] * x_plane + lines)) *
           sizeof(T);
  }
};

template <typename T>
class FewChannelsWeightGradient {
 public:
  explicit FewChannelsWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    T* const workspace = static_cast<T*>(a_.workspace);
    parallel_for(cut_.chunks, [&](int64_t chunk) {
      T* const sums = static_cast<T*>(thread_scratch());
      for (int64_t i = 0; i < cut_.sums * lanes<T>; ++i) sums[i] = 0;
      for (int64_t i = cut_.items * chunk / cut_.chunks; i < cut_.items * (chunk + 1) / cut_.chunks; ++i) {
        const int64_t band = i % cut_.bands, plane = i / cut_.bands;
        run_band(plane / s_.output[0], plane % s_.output[0], s_.output[1] * band / cut_.bands,
                 s_.output[1] * (band + 1) / cut_.bands, sums);
      }
      add_lanes(sums, workspace + chunk * cut_.sums);
    });
    for (int64_t chunk = 1; chunk < cut_.chunks; ++chunk)
      for (int64_t i = 0; i < cut_.sums; ++i) workspace[i] += workspace[chunk * cut_.sums + i];
    const int64_t taps = volume(s_.kernel);
    const int64_t* strides = a_.weight_strides;
    for (int64_t i = 0; i < s_.in_channels * taps; ++i)
      for (int64_t o = 0; o < out_; ++o)
        static_cast<T*>(a_.weight)[o * strides[0] + i / taps * strides[1] + i % taps * strides[2]] =
            workspace[i * out_ + o];
  }

 private:
  /// Taps of a row of the kernel and out channels, over a band.
  struct Block {
    const T* y;  ///< the first channel's plane of dY
    const T* x;  ///< the first tap's plane of X, where it meets the first row
    int64_t rows;
    T* sums;  ///< of the first tap and channel
  };

  void run_band(int64_t n, int64_t q0, int64_t begin, int64_t end, T* sums) const {
    T* const y = sums + cut_.sums * lanes<T>;
    T* const x = y + out_ * cut_.y_plane;
    const int64_t rows = end - begin, width = s_.output[2], top = begin * s_.stride[1] - s_.padding[1];
    const T* output =
        static_cast<const T*>(a_.output) + ((n * s_.output[0] + q0) * s_.output[1] + begin) * width * out_;
    split_into_planes(PixelRows<T>{output, out_, width, rows, y, cut_.y_plane, cut_.pitch});
    for (int64_t j0 = 0; j0 < s_.kernel[0]; ++j0) {
      const int64_t d = q0 * s_.stride[0] + j0 * s_.dilation[0] - s_.padding[0];
      if (d < 0 || d >= s_.input[0]) continue;
      fill_source(n * s_.input[0] + d, top, Cut<T>::source_rows(s_, rows), x);
      for (int64_t c = 0; c < s_.in_channels; ++c)
        for (int64_t j1 = 0; j1 < s_.kernel[1]; ++j1) {
          const int64_t tap = ((c * s_.kernel[0] + j0) * s_.kernel[1] + j1) * s_.kernel[2];
          const T* line = x + c * s_.kernel[2] * cut_.x_plane + j1 * s_.dilation[1] * cut_.pitch;
          for (int64_t j2 = 0; j2 < s_.kernel[2]; j2 += most_columns)
            for (int64_t o = 0, outs; o < out_; o += outs) {
              outs = ceil_divide(out_ - o, ceil_divide(out_ - o, most_outs));
              run_block<most_outs, most_columns>({.y = y + o * cut_.y_plane,
                                                  .x = line + j2 * cut_.x_plane,
                                                  .rows = rows,
                                                  .sums = sums + ((tap + j2) * out_ + o) * lanes<T>},
                                                 outs, min_of(s_.kernel[2] - j2, most_columns));
            }
        }
    }
  }

  /// Planes of X (in channel, tap of a row) from row `top` on.
  void fill_source(int64_t plane, int64_t top, int64_t rows, T* to) const {
    const int64_t in = s_.in_channels, taps = s_.kernel[2], step = s_.dilation[2], width = s_.output[2];
    const int64_t line = cut_.line, pitch = cut_.pitch;
    T* const lines = to + in * taps * cut_.x_plane;
    for (int64_t i = 0; i < in * cut_.lines; i += lanes<T>) store(lines + i, Vector<T>{});
    const int64_t first = min_of(s_.padding[2], cut_.line), count = min_of(s_.input[2], cut_.line - first);
    const int64_t begin = max_of(0, -top), end = min_of(rows, s_.input[1] - top);
    for (int64_t r = begin; r < end && count > 0; ++r) {
      const T* from = static_cast<const T*>(a_.input) + (plane * s_.input[1] + top + r) * s_.input[2] * in;
      split_into_planes(PixelRows<T>{from, in, count, 1, lines + r * cut_.line + first, cut_.lines, 0});
    }
    // Lanes behind the row may be infinite.
    const int64_t whole = width / lanes<T> * lanes<T>;
    const Mask<T> rest(static_cast<int>(width - whole));
    for (int64_t c = 0; c < in; ++c)
      for (int64_t j = 0; j < taps; ++j, to += cut_.x_plane)
        for (int64_t r = 0; r < rows; ++r) {
          const T* from = lines + c * cut_.lines + r * line + j * step;
          T* const row = to + r * pitch;
          for (int64_t i = 0; i < whole; i += lanes<T>) store(row + i, load(from + i));
          if (whole < width) store(row + whole, load(from + whole, rest));
        }
  }

  template <int Outs, int Columns>
  void run_block(const Block& block, int64_t outs, int64_t columns) const {
    if constexpr (Outs > 1)
      if (outs < Outs) return run_block<Outs - 1, Columns>(block, outs, columns);
    if constexpr (Columns > 1)
      if (columns < Columns) return run_block<Outs, Columns - 1>(block, outs, columns);
    const int64_t step = out_ * lanes<T>, y_plane = cut_.y_plane, x_plane = cut_.x_plane;
    Vector<T> sums[Columns][Outs];
#pragma GCC unroll 5
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 5
      for (int o = 0; o < Outs; ++o) sums[j][o] = load(block.sums + j * step + o * lanes<T>);
    const T *y = block.y, *x = block.x;
    const auto add = [&]() __attribute__((always_inline)) {
      Vector<T> dy[Outs];
#pragma GCC unroll 5
      for (int o = 0; o < Outs; ++o) keep_in_register(dy[o] = load(y + o * y_plane));
#pragma GCC unroll 5
      for (int j = 0; j < Columns; ++j) {
        Vector<T> at = load(x + j * x_plane);
        keep_in_register(at);
#pragma GCC unroll 5
        for (int o = 0; o < Outs; ++o) sums[j][o] = multiply_add(dy[o], at, sums[j][o]);
      }
      y += lanes<T>, x += lanes<T>;
    };
    const int64_t skipped = (s_.stride[1] - 1) * cut_.pitch;
    if (skipped == 0) {
      for (int64_t i = 0; i < block.rows * cut_.pitch; i += lanes<T>) add();
    } else {
      for (int64_t r = 0; r < block.rows; ++r, x += skipped)
        for (int64_t i = 0; i < cut_.pitch; i += lanes<T>) add();
    }
#pragma GCC unroll 5
    for (int j = 0; j < Columns; ++j)
#pragma GCC unroll 5
      for (int o = 0; o < Outs; ++o) store(block.sums + j * step + o * lanes<T>, sums[j][o]);
  }

  /// to[i] = Σ of the lanes of vector i
  void add_lanes(const T* vectors, T* to) const {
    for (int64_t i = 0; i < cut_.sums; i += lanes<T>) {
      Vector<T> rows[lanes<T>];
#pragma GCC unroll 16
      for (int r = 0; r < lanes<T>; ++r) rows[r] = load(vectors + (i + r) * lanes<T>);
      transpose<T>(rows);
      Vector<T> sum = rows[0];
#pragma GCC unroll 16
      for (int r = 1; r < lanes<T>; ++r) sum += rows[r];
      store(to + i, sum);
    }
  }

  const ConvolutionArguments& a_;
  const ConvolutionShape& s_ = a_.shape;
  const Cut<T> cut_{a_};
  int64_t out_ = s_.out_channels;
};

template <typename T>
const char* declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (s.out_channels >= lanes<T>) return "the out channels fill vectors";
  if (output_elements(s) * weight_elements(s) == 0) return "there is nothing to add up";
  if (Cut<T>(a).scratch(s) > scratch_bytes) return "a few rows are more than a thread's scratch memory holds";
  if (a.forced) return nullptr;
  if (2 * s.in_channels * s.kernel[2] > lanes<T> + 2) return "the taps of a row fill vectors";
  if (s.kernel[1] * s.kernel[2] < 4) return "so few taps do not pay for making planes";
  return nullptr;
}

template <typename T>
size_t workspace(const ConvolutionArguments& a) {
  const Cut<T> cut(a);
  return aligned_bytes(cut.chunks * cut.sums, sizeof(T));
}

}  // namespace

const char* few_channels_weight_gradient_declines(const ConvolutionArguments& a) {
  if (a.shape.groups != 1) return "there are groups";
  if (a.shape.stride[2] != 1) return "with stride, pixels of a row are not adjacent";
  return a.dtype == DType::Float32 ? declines<float>(a) : declines<double>(a);
}

size_t few_channels_weight_gradient_workspace(const ConvolutionArguments& a) {
  return a.dtype == DType::Float32 ? workspace<float>(a) : workspace<double>(a);
}

void few_channels_weight_gradient(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? FewChannelsWeightGradient<float>(a).run() : FewChannelsWeightGradient<double>(a).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
