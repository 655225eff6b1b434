// Weight gradient: dW[o, (tap, i)] = Σ over pixels of dY[pixel, o] · X[pixel's input under tap, i]. A is dY transposed
// by its strides, B are rows of X as they lie; where the few channels of X would not fill vectors it is the other way
// round, and the sums are those of dWᵀ. Rows are split into a number of parts that the shape fixes; each part has its
// own sum, and the sums are added in order.
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t max_products = 64;
constexpr int64_t enough_chunks = 32;
constexpr int64_t most_partial_elements = int64_t{1} << 22;
constexpr int64_t block_bytes = int64_t{1} << 18;  // of X and dY: what stays in L2 while all taps read it
constexpr int64_t few_channels = 16;
constexpr int64_t flat_row = 256;  // pixels of a row where the rows of all images are one

/// How the work is cut.
struct Cut {
  int64_t rows, row_length;  ///< rows of output pixels
  int64_t pixels;            ///< of all rows; the last row may be shorter when rows are flat
  int64_t out_block, out_blocks;
  int64_t splits;
};

/// Whether the out channels fill vectors and the input under a row of taps does not.
bool out_channels_are_columns(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  const int64_t vector = vector_bytes / static_cast<int64_t>(element_size(a)), under_taps = s.kernel[2] * s.in_channels;
  return s.out_channels % vector == 0 && s.out_channels >= column_vectors * vector && under_taps % vector != 0;
}

Cut cut_of(const ConvolutionShape& s) {
  Cut c{};
  c.pixels = s.batch * volume(s.output);
  c.row_length = is_pointwise_convolution(s) ? flat_row : max_of(s.output[2], 1);
  c.rows = ceil_divide(c.pixels, c.row_length);
  const int64_t out = s.out_channels / s.groups;
  c.out_block = min_of(out, 8 * row_tile);
  c.out_blocks = ceil_divide(out, c.out_block);
  const int64_t chunks = max_of(1, s.groups * c.out_blocks * s.kernel[0] * s.kernel[1]);
  c.splits =
      min_of(ceil_divide(enough_chunks, chunks), max_of(1, most_partial_elements / max_of(1, weight_elements(s))));
  c.splits = max_of(1, min_of(c.splits, c.rows));
  return c;
}

template <typename T>
class WeightGradient {
 public:
  /// `transposed`: the sums are those of dWᵀ; then no tap may leave the input.
  WeightGradient(const ConvolutionArguments& a, const Taps& taps, const T* input, T* partial, bool transposed)
      : a_(a), s_(a.shape), taps_(taps), input_(input), partial_(partial), transposed_(transposed) {
    merge_ = taps.groups == 1 && taps.axis[2].offset_step == 1;
  }

  void run() const {
    if (weight_elements(s_) == 0) return;
    const int64_t tap_rows = s_.kernel[0] * s_.kernel[1];
    parallel_for(cut_.splits * s_.groups * cut_.out_blocks * tap_rows, [&](int64_t chunk) {
      const int64_t tap_row = chunk % tap_rows, block = chunk / tap_rows % cut_.out_blocks;
      const int64_t group = chunk / tap_rows / cut_.out_blocks % s_.groups;
      run_chunk(chunk / tap_rows / cut_.out_blocks / s_.groups, group, block, tap_row);
    });
    combine();
  }

 private:
  /// The part of the sums of split `split` for one block of out channels and the taps (j0, j1, all).
  void run_chunk(int64_t split, int64_t group, int64_t block, int64_t tap_row) const {
    const Axis& width = taps_.axis[2];
    const int64_t out_first = group * out_ + block * cut_.out_block;
    const int64_t outs = min_of(out_ - block * cut_.out_block, cut_.out_block);
    // Under the taps of a row of the kernel lie in_ · taps elements of X: columns of the sums, or rows.
    const int64_t first = tap_row * width.taps * in_, under_taps = width.taps * in_;
    const int64_t partial_row = transposed_ ? s_.out_channels : volume(s_.kernel) * in_;
    T* sums = partial_ + split * weight_elements(s_) +
              (transposed_ ? first * partial_row + out_first : out_first * partial_row + first);
    for (int64_t row = 0; row < (transposed_ ? under_taps : outs); ++row)
      for (int64_t i = 0; i < (transposed_ ? outs : under_taps); ++i) sums[row * partial_row + i] = 0;

    const int64_t row_bytes = cut_.row_length * (in_ * width.source_step + outs) * static_cast<int64_t>(sizeof(T));
    const int64_t rows_per_block = max_of(1, min_of(max_products, block_bytes / max_of(1, row_bytes)));
    const int64_t last = cut_.rows * (split + 1) / cut_.splits;
    for (int64_t row = cut_.rows * split / cut_.splits; row < last; row += rows_per_block) {
      const int64_t end = min_of(last, row + rows_per_block);
      for (int64_t j2 = 0; j2 < width.taps;) {
        const Range valid = width.valid_results(j2);
        int64_t next = j2 + 1;
        while (merge_ && next < width.taps && width.valid_results(next).begin == valid.begin &&
               width.valid_results(next).end == valid.end)
          ++next;
        multiply(row, end, group, out_first, outs, tap_row, {j2, next}, valid, sums + j2 * in_, partial_row);
        j2 = next;
      }
    }
  }

  void multiply(int64_t row_begin, int64_t row_end, int64_t group, int64_t out_first, int64_t outs, int64_t tap_row,
                Range taps2, Range valid, T* sums, int64_t partial_row) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t j0 = tap_row / height.taps, j1 = tap_row % height.taps;
    Product<T> products[max_products];
    BatchReduce<T> g{.products = products,
                     .count = 0,
                     .m = outs,
                     .n = (taps2.end - taps2.begin) * in_,
                     .k = valid.end - valid.begin,
                     .a_row = 1,
                     .a_column = s_.out_channels,
                     .b_row = width.source_step * s_.in_channels,
                     .c = sums,
                     .c_row = partial_row,
                     .accumulate = true};
    if (transposed_) {
      g.m = (taps2.end - taps2.begin) * in_;
      g.n = outs;
      g.a_column = width.source_step * s_.in_channels;
      g.b_row = s_.out_channels;
    }
    const T* output = static_cast<const T*>(a_.output) + out_first;
    if (flat_) {
      const int64_t begin = row_begin * cut_.row_length;
      g.k = min_of(cut_.pixels, row_end * cut_.row_length) - begin;
      g.count = 1;
      products[0] = {output + begin * s_.out_channels, input_ + begin * s_.in_channels + group * in_};
      return brgemm(g);
    }
    if (g.k == 0) return;
    for (int64_t row = row_begin; row < row_end; ++row) {
      const int64_t q1 = row % height.count, q0 = row / height.count % depth.count;
      const int64_t n = row / height.count / depth.count;
      const int64_t s0 = q0 * depth.source_step + depth.offset(j0), s1 = q1 * height.source_step + height.offset(j1);
      if (s0 < 0 || s0 >= depth.source_size || s1 < 0 || s1 >= height.source_size) continue;
      const int64_t s2 = valid.begin * width.source_step + width.offset(taps2.begin);
      const int64_t pixel = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size + s2;
      const T* results = output + (row * cut_.row_length + valid.begin) * s_.out_channels;
      const T* sources = input_ + pixel * s_.in_channels + group * in_;
      products[g.count++] = transposed_ ? Product<T>{sources, results} : Product<T>{results, sources};
    }
    if (g.count > 0) brgemm(g);
  }

  void combine() const {
    const int64_t taps = volume(s_.kernel), row = taps * in_;
    parallel_for(s_.out_channels, [&](int64_t o) {
      T* weight = static_cast<T*>(a_.weight) + o * a_.weight_strides[0];
      for (int64_t tap = 0; tap < taps; ++tap)
        for (int64_t i = 0; i < in_; ++i) {
          const T* from = partial_ + (transposed_ ? (tap * in_ + i) * s_.out_channels + o : o * row + tap * in_ + i);
          T sum = *from;
          for (int64_t split = 1; split < cut_.splits; ++split) sum += from[split * weight_elements(s_)];
          weight[i * a_.weight_strides[1] + tap * a_.weight_strides[2]] = sum;
        }
    });
  }

  const ConvolutionArguments& a_;
  const ConvolutionShape& s_;
  const Taps& taps_;
  const T* input_;
  T* partial_;
  bool transposed_, merge_;
  bool flat_ = is_pointwise_convolution(s_);
  Cut cut_ = cut_of(s_);
  int64_t in_ = s_.in_channels / s_.groups, out_ = s_.out_channels / s_.groups;
};

size_t partial_bytes(const ConvolutionArguments& a) {
  return aligned_bytes(cut_of(a.shape).splits * weight_elements(a.shape), element_size(a));
}

size_t padded_workspace(const ConvolutionArguments& a) {
  return partial_bytes(a) + aligned_bytes(padded_elements(forward_taps(a)), element_size(a));
}

template <typename T>
void weight_gradient(const ConvolutionArguments& a, bool padded) {
  T* partial = static_cast<T*>(a.workspace);
  const T* input = static_cast<const T*>(a.input);
  Taps taps = forward_taps(a);
  if (padded) {
    T* copy = partial + partial_bytes(a) / sizeof(T);
    taps = pad_source(taps, input, copy);
    input = copy;
  }
  WeightGradient<T>(a, taps, input, partial, padded && out_channels_are_columns(a)).run();
}

template <bool Padded>
void run(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? weight_gradient<float>(a, Padded) : weight_gradient<double>(a, Padded);
}

const char* padded_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (s.groups != 1) return "the channels of a group are not adjacent";
  if (s.dilation[2] != 1) return "with dilation, taps of a row are not adjacent";
  if (s.in_channels > few_channels) return "with so many channels each tap fills a product";
  if (output_elements(s) == 0) return "there are no results";
  if (is_pointwise_convolution(s)) return "no tap leaves the input";
  return nullptr;
}

const char* never_declines(const ConvolutionArguments&) { return nullptr; }
size_t no_workspace(const ConvolutionArguments&) { return 0; }

}  // namespace

const kernels::ConvolutionAlgorithm convolution_weight_gradient[] = {
    {"depthwise", depthwise_declines, depthwise_weight_gradient_workspace, depthwise_weight_gradient},
    {"packed_brgemm", packed_weight_gradient_declines, packed_weight_gradient_workspace, packed_weight_gradient},
    {"padded_brgemm", padded_declines, padded_workspace, run<true>},
    {"direct_brgemm", never_declines, partial_bytes, run<false>},
    {"reference", never_declines, no_workspace, reference::convolution_weight_gradient},
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cpu::PYCNN_ISA
