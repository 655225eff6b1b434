// Weight gradient: dW[o, (tap, i)] = Σ over pixels of dY[pixel, o] · X[pixel's input under tap, i]. A is dY transposed
// by its strides, B are rows of X as they lie; where the few channels of X would not fill vectors it is the other way
// round, and the sums are those of dWᵀ. A block of pixels stays in L2 while all taps of a chunk read it, and the next
// one is brought there meanwhile. Rows are split into a number of parts that the shape fixes; each part has its own
// sum, and the sums are added in order.
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"
#include "cpu/reference/reference.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t most_products = 64;
constexpr int64_t enough_chunks = 32;
constexpr int64_t most_partial_elements = int64_t{1} << 22;
constexpr int64_t block_bytes = int64_t{1} << 18;  // of X and dY: two blocks and the sums fit L2
constexpr int64_t most_sums = 40 * 1024;           // of a chunk
constexpr int64_t most_outs = 8 * row_tile;
constexpr int64_t split_pixels = 512;  // fewer would spend the time on adding up
constexpr int64_t flat_row = 64;       // pixels of a row where the rows of all images are one
constexpr int64_t most_flat_rows = 8;
constexpr int64_t short_segment = 4;  // pixels of a row that are better taken column by column

/// The largest share of n that is at most `most` and a multiple of `unit`, in parts as even as can be.
int64_t even_part(int64_t n, int64_t most, int64_t unit) {
  const int64_t parts = ceil_divide(n, max_of(most, unit));
  return min_of(n, ceil_divide(ceil_divide(n, parts), unit) * unit);
}

/// How the work is cut.
struct Cut {
  explicit Cut(const ConvolutionArguments& a);

  bool flat;                          ///< all pixels are one row
  bool merged;                        ///< taps of a row are adjacent columns of one product
  bool transposed;                    ///< the sums are those of dWᵀ
  int64_t rows, row_length;           ///< rows of output pixels
  int64_t pixels;                     ///< of all rows; the last row may be shorter when rows are flat
  int64_t block_rows;                 ///< rows that stay in L2
  int64_t out_block, out_blocks;      ///< out channels of a group
  int64_t in_block, in_blocks;        ///< in channels of a group
  int64_t group_block, group_blocks;  ///< groups
  int64_t tap_rows, tap_row_blocks;   ///< rows of the kernel
  int64_t splits;
};

Cut::Cut(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  const int64_t size = static_cast<int64_t>(element_size(a)), vector = vector_bytes / size;
  const int64_t tile = column_vectors * vector;
  const int64_t in = max_of(s.in_channels / s.groups, 1), out = max_of(s.out_channels / s.groups, 1);
  const int64_t width_taps = s.kernel[2], all_tap_rows = s.kernel[0] * s.kernel[1];
  flat = is_pointwise_convolution(s);
  merged = s.groups == 1 && s.dilation[2] == 1 && width_taps > 1 && in % tile != 0;
  transposed = out % vector == 0 && (merged ? in * width_taps : in) % vector != 0;

  out_block = even_part(out, most_outs, 1);
  in_block = merged ? in : even_part(in, max_of(most_sums / (out_block * width_taps), 4 * tile), tile);
  const int64_t tap_row_sums = out_block * width_taps * in_block;
  tap_rows = even_part(all_tap_rows, most_sums / tap_row_sums, 1);
  group_block = even_part(s.groups, most_sums / (tap_rows * tap_row_sums), 1);
  out_blocks = ceil_divide(out, out_block);
  in_blocks = ceil_divide(in, in_block);
  tap_row_blocks = ceil_divide(all_tap_rows, tap_rows);
  group_blocks = ceil_divide(s.groups, group_block);

  pixels = s.batch * volume(s.output);
  row_length = flat ? flat_row : max_of(s.output[2], 1);
  rows = ceil_divide(pixels, row_length);
  const int64_t row_bytes = row_length * group_block * (in_block * s.stride[2] + out_block) * size;
  block_rows = max_of(1, min_of(block_bytes / row_bytes, flat ? most_flat_rows : most_products));
  if (flat) block_rows = max_of(block_rows, 2);
  const int64_t chunks = group_blocks * out_blocks * in_blocks * tap_row_blocks;
  splits = min_of(ceil_divide(enough_chunks, chunks), most_partial_elements / max_of(1, weight_elements(s)));
  splits = max_of(1, min_of(splits, min_of(pixels / split_pixels, rows)));
}

template <typename T>
class WeightGradient {
 public:
  explicit WeightGradient(const ConvolutionArguments& a) : a_(a) {}

  void run() const {
    if (weight_elements(s_) == 0) return;
    const Cut& c = cut_;
    // Chunks that read the same pixels are neighbours.
    parallel_for(c.splits * c.group_blocks * c.tap_row_blocks * c.in_blocks * c.out_blocks, [&](int64_t i) {
      Chunk chunk{};
      chunk.out = i % c.out_blocks * c.out_block, i /= c.out_blocks;
      chunk.in = i % c.in_blocks * c.in_block, i /= c.in_blocks;
      chunk.tap_row = i % c.tap_row_blocks * c.tap_rows, i /= c.tap_row_blocks;
      chunk.group = i % c.group_blocks * c.group_block, i /= c.group_blocks;
      chunk.split = i;
      chunk.outs = min_of(out_ - chunk.out, c.out_block);
      chunk.ins = min_of(in_ - chunk.in, c.in_block);
      chunk.tap_row_end = min_of(s_.kernel[0] * s_.kernel[1], chunk.tap_row + c.tap_rows);
      chunk.group_end = min_of(s_.groups, chunk.group + c.group_block);
      run_chunk(chunk);
    });
    combine();
  }

 private:
  struct Chunk {
    int64_t split, group, group_end;
    int64_t tap_row, tap_row_end;
    int64_t out, outs, in, ins;  ///< channels within a group
  };

  /// Products of equal depth that wait for being multiplied.
  struct Batch {
    BatchReduce<T> g;
    Product<T> products[most_products];

    void add(int64_t k, const T* a, const T* b) {
      if (g.count == most_products || g.k != k) flush();
      g.k = k;
      products[g.count++] = {a, b};
    }
    void flush() {
      g.products = products;
      if (g.count > 0 && g.k > 0) brgemm(g);
      g.count = 0;
    }
  };

  int64_t partial_row() const { return cut_.transposed ? s_.out_channels : volume(s_.kernel) * in_; }
  /// Where the sum of an out channel (of all groups), a tap and an in channel (of a group) lies.
  T* sum_at(int64_t split, int64_t out, int64_t tap, int64_t in) const {
    T* sums = static_cast<T*>(a_.workspace) + split * weight_elements(s_);
    return cut_.transposed ? sums + (tap * in_ + in) * partial_row() + out
                           : sums + out * partial_row() + tap * in_ + in;
  }

  void run_chunk(const Chunk& c) const {
    const int64_t width_taps = taps_.axis[2].taps;
    for (int64_t group = c.group; group < c.group_end; ++group)
      for (int64_t tap = c.tap_row * width_taps; tap < c.tap_row_end * width_taps; ++tap) {
        T* sums = sum_at(c.split, group * out_ + c.out, tap, c.in);
        const int64_t count = cut_.transposed ? c.ins : c.outs, row = cut_.transposed ? c.outs : c.ins;
        for (int64_t i = 0; i < count; ++i)
          for (int64_t j = 0; j < row; ++j) sums[i * partial_row() + j] = 0;
      }
    const int64_t last = cut_.rows * (c.split + 1) / cut_.splits;
    for (int64_t row = cut_.rows * c.split / cut_.splits; row < last; row += cut_.block_rows) {
      const Range block{row, min_of(last, row + cut_.block_rows)};
      for (int64_t group = c.group; group < c.group_end; ++group)
        for (int64_t tap_row = c.tap_row; tap_row < c.tap_row_end; ++tap_row)
          run_block(c, block, group, tap_row, tap_row == c.tap_row && block.end < last);
    }
  }

  /// Adds the part of a block of rows to the sums of the taps (j0, j1, all).
  void run_block(const Chunk& c, Range block, int64_t group, int64_t tap_row, bool ahead) const {
    const Axis& width = taps_.axis[2];
    if (!cut_.merged) {
      for (int64_t j2 = 0; j2 < width.taps; ++j2)
        multiply(c, block, group, tap_row, {j2, j2 + 1}, width.valid_results(j2), ahead && j2 == 0);
      return;
    }
    // Segments of a row with the same taps inside the input.
    for (int64_t q = 0; q < width.count;) {
      const Range taps = width.valid_taps(q);
      int64_t end = taps.begin > 0 ? width.valid_results(taps.begin - 1).begin : width.count;
      if (taps.begin < taps.end) {
        end = min_of(end, width.valid_results(taps.end - 1).end);
        multiply(c, block, group, tap_row, taps, {q, end}, ahead);
      }
      q = end;
    }
  }

  void multiply(const Chunk& c, Range block, int64_t group, int64_t tap_row, Range taps, Range segment,
                bool ahead) const {
    const Axis &height = taps_.axis[1], &width = taps_.axis[2];
    const int64_t columns = (taps.end - taps.begin - 1) * in_ + c.ins;
    const T* output = static_cast<const T*>(a_.output) + group * out_ + c.out;
    const T* input = static_cast<const T*>(a_.input) + group * in_ + c.in;
    const int64_t block_pixels = cut_.block_rows * cut_.row_length;
    const int64_t line = width.source_size * s_.in_channels;
    const int64_t output_ahead = ahead ? block_pixels * s_.out_channels : 0;
    const int64_t input_ahead =
        ahead ? (cut_.flat ? block_pixels * s_.in_channels : cut_.block_rows * height.source_step * line) : 0;
    Batch batch;
    batch.g = {.products = nullptr,
               .count = 0,
               .m = cut_.transposed ? columns : c.outs,
               .n = cut_.transposed ? c.outs : columns,
               .k = 0,
               .a_row = 1,
               .a_column = 0,
               .b_row = 0,
               .c = sum_at(c.split, group * out_ + c.out, tap_row * width.taps + taps.begin, c.in),
               .c_row = partial_row(),
               .accumulate = true,
               .a_ahead = cut_.transposed ? input_ahead : output_ahead,
               .b_ahead = cut_.transposed ? output_ahead : input_ahead};
    const auto steps = [&](int64_t output_step, int64_t input_step) {
      batch.g.a_column = cut_.transposed ? input_step : output_step;
      batch.g.b_row = cut_.transposed ? output_step : input_step;
    };
    const auto add = [&](int64_t k, const T* outputs, const T* inputs) {
      cut_.transposed ? batch.add(k, inputs, outputs) : batch.add(k, outputs, inputs);
    };

    if (cut_.flat) {
      const int64_t begin = block.begin * cut_.row_length, end = min_of(cut_.pixels, block.end * cut_.row_length);
      steps(s_.out_channels, s_.in_channels);
      add(end - begin, output + begin * s_.out_channels, input + begin * s_.in_channels);
      return batch.flush();
    }
    const int64_t output_row = cut_.row_length * s_.out_channels, pixel_step = width.source_step * s_.in_channels;
    output += segment.begin * s_.out_channels;
    input += (segment.begin * width.source_step + width.offset(taps.begin)) * s_.in_channels;
    const bool by_rows = segment.end - segment.begin >= short_segment;
    by_rows ? steps(s_.out_channels, pixel_step) : steps(output_row, height.source_step * line);
    for_each_run(block, tap_row, [&](int64_t row, int64_t count, int64_t source_line) {
      const T *outputs = output + row * output_row, *inputs = input + source_line * line;
      if (by_rows)
        for (int64_t i = 0; i < count; ++i)
          add(segment.end - segment.begin, outputs + i * output_row, inputs + i * height.source_step * line);
      else
        for (int64_t q = 0; q < segment.end - segment.begin; ++q)
          add(count, outputs + q * s_.out_channels, inputs + q * pixel_step);
    });
    batch.flush();
  }

  /// Calls function(row, count, line) for rows of pixels that follow each other in an image and meet lines of the
  /// input, `line` the first of them.
  template <typename Function>
  void for_each_run(Range block, int64_t tap_row, const Function& function) const {
    const Axis &depth = taps_.axis[0], &height = taps_.axis[1];
    const int64_t j0 = tap_row / height.taps, j1 = tap_row % height.taps;
    const Range valid = height.valid_results(j1);
    for (int64_t row = block.begin; row < block.end;) {
      const int64_t q1 = row % height.count, plane = row / height.count;
      const int64_t n = plane / depth.count, s0 = plane % depth.count * depth.source_step + depth.offset(j0);
      const int64_t end = min_of(height.count, q1 + block.end - row);
      const int64_t begin = max_of(q1, valid.begin), count = min_of(end, valid.end) - begin;
      if (s0 >= 0 && s0 < depth.source_size && count > 0)
        function(row + begin - q1, count,
                 (n * depth.source_size + s0) * height.source_size + begin * height.source_step + height.offset(j1));
      row += end - q1;
    }
  }

  void combine() const {
    constexpr int64_t most = 512;
    const int64_t rows = weight_elements(s_) / partial_row();
    // Along a row of sums lie taps and in channels, or out channels.
    parallel_for(rows, [&](int64_t row) {
      T sums[most];
      for (int64_t first = 0; first < partial_row(); first += most) {
        const int64_t count = min_of(partial_row() - first, most);
        const T* from = static_cast<const T*>(a_.workspace) + row * partial_row() + first;
        for (int64_t i = 0; i < count; ++i) sums[i] = from[i];
        for (int64_t split = 1; split < cut_.splits; ++split) {
          from += weight_elements(s_);
          for (int64_t i = 0; i < count; ++i) sums[i] += from[i];
        }
        T* weight = static_cast<T*>(a_.weight);
        const int64_t* strides = a_.weight_strides;
        if (cut_.transposed) {
          weight += row % in_ * strides[1] + row / in_ * strides[2] + first * strides[0];
          for (int64_t i = 0; i < count; ++i) weight[i * strides[0]] = sums[i];
        } else {
          weight += row * strides[0];
          for (int64_t i = 0; i < count;) {
            const int64_t tap = (first + i) / in_, in = (first + i) % in_, ins = min_of(in_ - in, count - i);
            T* to = weight + tap * strides[2] + in * strides[1];
            for (int64_t j = 0; j < ins; ++j) to[j * strides[1]] = sums[i + j];
            i += ins;
          }
        }
      }
    });
  }

  const ConvolutionArguments& a_;
  const ConvolutionShape& s_ = a_.shape;
  Taps taps_ = forward_taps(a_);
  Cut cut_{a_};
  int64_t in_ = s_.in_channels / s_.groups, out_ = s_.out_channels / s_.groups;
};

size_t workspace(const ConvolutionArguments& a) {
  return aligned_bytes(Cut(a).splits * weight_elements(a.shape), element_size(a));
}

void run(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? WeightGradient<float>(a).run() : WeightGradient<double>(a).run();
}

const char* bfloat16_operands(const ConvolutionArguments& a) {
  return a.dtype == DType::BFloat16 ? "the operands are bfloat16" : nullptr;
}
template <const char* (*Declines)(const ConvolutionArguments&)>
const char* in_full_precision(const ConvolutionArguments& a) {
  return a.dtype == DType::BFloat16 ? bfloat16_operands(a) : Declines(a);
}
const char* never_declines(const ConvolutionArguments&) { return nullptr; }
size_t no_workspace(const ConvolutionArguments&) { return 0; }

}  // namespace

const kernels::ConvolutionAlgorithm convolution_weight_gradient[] = {
    {"depthwise", depthwise_declines, depthwise_weight_gradient_workspace, depthwise_weight_gradient},
    {"few_channels", in_full_precision<few_channels_weight_gradient_declines>, few_channels_weight_gradient_workspace,
     few_channels_weight_gradient},
    {"direct_brgemm", bfloat16_operands, workspace, run},
    {"bfloat16_few_channels", bfloat16_few_channels_weight_gradient_declines,
     bfloat16_few_channels_weight_gradient_workspace, bfloat16_few_channels_weight_gradient},
    {"bfloat16_brgemm", bfloat16_weight_gradient_declines, bfloat16_weight_gradient_workspace,
     bfloat16_weight_gradient},
    {"widened", widened_weight_gradient_declines, widened_weight_gradient_workspace, widened_weight_gradient},
    {"reference", never_declines, no_workspace, reference::convolution_weight_gradient},
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cpu::PYCNN_ISA
