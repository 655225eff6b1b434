// Weight gradient with few channels: vectors run over pixels and out channels of dY as they lie. A lane of dY then
// wants its pixel's X, so rows of X are spread out, each pixel repeated once per out channel; a tap is one distance for
// all lanes. A lane's out channel depends on its vector's place in the row modulo a period, so each place has its own
// sums.
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t band_bytes = int64_t{1} << 15;  // of spread X: it is read once per tap
constexpr int64_t chunk_flops = int64_t{1} << 19;
constexpr int64_t enough_chunks = 32;
/// Taps whose sums stay in registers.
constexpr int most_columns = 5, most_sums = vector_bytes == 64 ? 25 : 10;

template <typename T>
struct Cut {
  int64_t pitch;        ///< of a row of spread X
  int64_t rows, bands;  ///< rows of dY in a full band; bands per (batch item, depth)
  int64_t items, chunks;
  int64_t period;  ///< of vectors, after which lanes mean the same out channels again
  int64_t sums;    ///< of a chunk: (in channel, tap, place in the period, lane)

  explicit Cut(const ConvolutionArguments& a) {
    const ConvolutionShape& s = a.shape;
    const int64_t out = s.out_channels, border = (s.kernel[1] - 1) * s.dilation[1];
    pitch = (s.output[2] + (s.kernel[2] - 1) * s.dilation[2]) * out + 2 * lanes<T>;
    rows = max_of(1, (band_bytes / static_cast<int64_t>(sizeof(T)) / pitch - border - 1) / s.stride[1] + 1);
    bands = ceil_divide(s.output[1], rows);
    rows = ceil_divide(s.output[1], max_of(bands, 1));
    items = s.batch * s.output[0] * bands;
    const int64_t flops = 2 * volume(s.kernel) * s.in_channels * rows * s.output[2] * out;
    const int64_t per_chunk = ceil_divide(chunk_flops, max_of(flops, 1));
    chunks = max_of(1, min_of(ceil_divide(items, per_chunk), enough_chunks));
    int64_t common = lanes<T>;
    while (out % common != 0) common /= 2;
    period = out / common;
    sums = s.in_channels * volume(s.kernel) * period * lanes<T>;
  }
  /// Rows of spread X under `count` rows of dY.
  static int64_t spread_rows(const ConvolutionShape& s, int64_t count) {
    return (count - 1) * s.stride[1] + (s.kernel[1] - 1) * s.dilation[1] + 1;
  }
  size_t scratch(const ConvolutionShape& s) const {
    return static_cast<size_t>(spread_rows(s, rows) * pitch) * sizeof(T);
  }
};

template <typename T>
class FewChannelsWeightGradient {
 public:
  explicit FewChannelsWeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    T* const workspace = static_cast<T*>(a_.workspace);
    parallel_for(cut_.chunks, [&](int64_t chunk) {
      T* sums = workspace + chunk * cut_.sums;
      for (int64_t i = 0; i < cut_.sums; ++i) sums[i] = 0;
      for (int64_t i = cut_.items * chunk / cut_.chunks; i < cut_.items * (chunk + 1) / cut_.chunks; ++i) {
        const int64_t band = i % cut_.bands, plane = i / cut_.bands;
        run_band(plane / s_.output[0], plane % s_.output[0], s_.output[1] * band / cut_.bands,
                 s_.output[1] * (band + 1) / cut_.bands, sums);
      }
    });
    for (int64_t chunk = 1; chunk < cut_.chunks; ++chunk)
      for (int64_t i = 0; i < cut_.sums; ++i) workspace[i] += workspace[chunk * cut_.sums + i];
    const int64_t taps = volume(s_.kernel), lanes_of_period = cut_.period * lanes<T>;
    for (int64_t i = 0; i < s_.in_channels * taps; ++i)
      for (int64_t out = 0; out < s_.out_channels; ++out) {
        T sum = 0;
        for (int64_t lane = out; lane < lanes_of_period; lane += s_.out_channels)
          sum += workspace[i * lanes_of_period + lane];
        const int64_t* strides = a_.weight_strides;
        static_cast<T*>(a_.weight)[out * strides[0] + i / taps * strides[1] + i % taps * strides[2]] = sum;
      }
  }

 private:
  /// Taps [row, row + Rows) × [column, column + Columns) of the kernel's plane.
  struct Block {
    const T* output;  ///< the band's first row of dY
    const T* spread;  ///< its first row of spread X
    int64_t rows;
    T* sums;  ///< of the kernel's plane and an in channel
    int64_t tap_row, tap_column;
  };

  void run_band(int64_t n, int64_t q0, int64_t begin, int64_t end, T* sums) const {
    T* const spread = static_cast<T*>(thread_scratch());
    const T* output =
        static_cast<const T*>(a_.output) + ((n * s_.output[0] + q0) * s_.output[1] + begin) * s_.output[2] * out_;
    const int64_t plane_taps = s_.kernel[1] * s_.kernel[2];
    for (int64_t j0 = 0; j0 < s_.kernel[0]; ++j0) {
      const int64_t d = q0 * s_.stride[0] + j0 * s_.dilation[0] - s_.padding[0];
      if (d < 0 || d >= s_.input[0]) continue;
      for (int64_t c = 0; c < s_.in_channels; ++c) {
        spread_rows(n * s_.input[0] + d, c, begin, end, spread);
        Block block{.output = output,
                    .spread = spread,
                    .rows = end - begin,
                    .sums = sums + (c * s_.kernel[0] + j0) * plane_taps * cut_.period * lanes<T>,
                    .tap_row = 0,
                    .tap_column = 0};
        for (; block.tap_column < s_.kernel[2]; block.tap_column += most_columns)
          run_columns<most_columns>(block, min_of(s_.kernel[2] - block.tap_column, most_columns));
      }
    }
  }

  /// to[row · pitch + column · out + o] = X of that pixel, zeros beyond the border, for all o.
  void spread_rows(int64_t plane, int64_t c, int64_t begin, int64_t end, T* to) const {
    const int64_t columns = s_.output[2] + (s_.kernel[2] - 1) * s_.dilation[2], in = s_.in_channels;
    const int64_t first = min_of(s_.padding[2], columns), last = max_of(first, min_of(first + s_.input[2], columns));
    const int64_t rows = Cut<T>::spread_rows(s_, end - begin), top = begin * s_.stride[1] - s_.padding[1];
    for (int64_t r = 0; r < rows; ++r, to += cut_.pitch) {
      const bool inside = top + r >= 0 && top + r < s_.input[1];
      const T* x = static_cast<const T*>(a_.input) + ((plane * s_.input[1] + top + r) * s_.input[2] - first) * in + c;
      const int64_t zeros = (inside ? first : columns) * out_;
      for (int64_t i = 0; i < zeros; i += lanes<T>) store(to + i, Vector<T>{});
      if (!inside) continue;
      // Whole vectors: the next pixel overwrites what is too much.
      for (int64_t column = first; column < last; ++column) store(to + column * out_, splat(x[column * in]));
      for (int64_t i = last * out_; i < columns * out_; i += lanes<T>) store(to + i, Vector<T>{});
    }
  }

  template <int Columns>
  void run_columns(Block& block, int64_t columns) const {
    if constexpr (Columns > 1)
      if (columns < Columns) return run_columns<Columns - 1>(block, columns);
    constexpr int rows = most_sums / Columns < 5 ? most_sums / Columns : 5;
    for (block.tap_row = 0; block.tap_row < s_.kernel[1]; block.tap_row += rows)
      run_rows<rows, Columns>(block, min_of(s_.kernel[1] - block.tap_row, rows));
  }

  template <int Rows, int Columns>
  void run_rows(const Block& block, int64_t rows) const {
    if constexpr (Rows > 1)
      if (rows < Rows) return run_rows<Rows - 1, Columns>(block, rows);
    for (int64_t place = 0; place < cut_.period; ++place) run_place<Rows, Columns>(block, place);
  }

  /// The vectors place, place + period, … of all rows.
  template <int Rows, int Columns>
  void run_place(const Block& block, int64_t place) const {
    const int64_t row = s_.output[2] * out_, step = cut_.period * lanes<T>;
    const Mask<T> all(lanes<T>), rest(static_cast<int>(row % lanes<T>));
    int64_t distance[Columns];
    for (int j = 0; j < Columns; ++j) distance[j] = (block.tap_column + j) * s_.dilation[2] * out_;
    T* const first = block.sums + ((block.tap_row * s_.kernel[2] + block.tap_column) * cut_.period + place) * lanes<T>;
    Vector<T> sums[Rows][Columns];
#pragma GCC unroll 5
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 5
      for (int j = 0; j < Columns; ++j) sums[i][j] = load(first + (i * s_.kernel[2] + j) * step);
    for (int64_t r = 0; r < block.rows; ++r) {
      const T* y = block.output + r * row + place * lanes<T>;
      const T* x[Rows];
#pragma GCC unroll 5
      for (int i = 0; i < Rows; ++i)
        x[i] = block.spread + (r * s_.stride[1] + (block.tap_row + i) * s_.dilation[1]) * cut_.pitch + place * lanes<T>;
      for (int64_t left = row - place * lanes<T>; left > 0; left -= step, y += step) {
        // Lanes behind the row are not multiplied: what lies there may be infinite.
        const Mask<T> mask = left >= lanes<T> ? all : rest;
        const Vector<T> dy = load(y, mask);
#pragma GCC unroll 5
        for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 5
          for (int j = 0; j < Columns; ++j) sums[i][j] = multiply_add(dy, load(x[i] + distance[j], mask), sums[i][j]);
          x[i] += step;
        }
      }
    }
#pragma GCC unroll 5
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 5
      for (int j = 0; j < Columns; ++j) store(first + (i * s_.kernel[2] + j) * step, sums[i][j]);
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
  if (s.kernel[1] * s.kernel[2] < 4) return "so few taps do not pay for spreading the input";
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
