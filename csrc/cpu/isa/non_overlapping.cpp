// Input gradient of a convolution whose windows tile the input (kernel = stride, no padding), which is the forward pass
// of a transposed convolution that upsamples: every input belongs to one output and one tap. A row of outputs is
// multiplied with the weights of all taps in turn, so that the rows of inputs it makes are complete, and meet the
// epilogue, while they are in the cache.
#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;
using kernels::ConvolutionShape;

constexpr int64_t chunk_flops = int64_t{1} << 22;
constexpr int64_t enough_chunks = 32;
constexpr int64_t cached_weight_bytes = int64_t{1} << 18;
constexpr int64_t epilogue_elements = int64_t{1} << 13;

template <typename T>
class NonOverlapping {
 public:
  explicit NonOverlapping(const ConvolutionArguments& a) : a_(a) {}

  int64_t packed_elements() const { return taps_ * panels_ * panel_elements_; }
  bool cached() const { return packed_elements() * static_cast<int64_t>(sizeof(T)) <= cached_weight_bytes; }

  /// (tap, panel, output channel, input channel)
  void pack(T* to) const {
    parallel_for(taps_ * panels_, [&](int64_t chunk) {
      const int64_t tap = chunk / panels_, column = chunk % panels_ * width_;
      const T* from = static_cast<const T*>(a_.weight) + tap * a_.weight_strides[2] + column * a_.weight_strides[1];
      pack_panel(from, a_.weight_strides[0], a_.weight_strides[1], s_.out_channels,
                 min_of(s_.in_channels - column, width_), width_, to + chunk * panel_elements_);
    });
  }

  void run() const {
    T* const workspace = static_cast<T*>(a_.workspace);
    if (!a_.packed) pack(workspace);
    const T* const packed = a_.packed ? static_cast<const T*>(a_.packed) : workspace;
    const int64_t rows = s_.batch * s_.output[0] * s_.output[1], row_results = taps_ * s_.output[2] * s_.in_channels;
    const int64_t flops = 2 * row_results * s_.out_channels;
    const int64_t per_chunk = max_of(1, min_of(ceil_divide(chunk_flops, max_of(flops, 1)), rows / enough_chunks));
    const int64_t step = max_of(1, epilogue_elements / row_results);
    const Epilogue epilogue(a_.epilogue, s_.in_channels, s_.in_channels);
    parallel_for(ceil_divide(rows, per_chunk), [&](int64_t chunk) {
      EpilogueColumns finish(epilogue, 0, s_.in_channels);
      const int64_t end = min_of(rows, (chunk + 1) * per_chunk);
      for (int64_t first = chunk * per_chunk, stop; first < end; first = stop) {
        stop = min_of(end, first + step);
        for (int64_t tap = 0; tap < taps_; ++tap)
          for (int64_t panel = 0; panel < panels_; ++panel)
            for (int64_t row = first; row < stop; ++row)
              multiply(row, tap, panel, packed + (tap * panels_ + panel) * panel_elements_);
        for (int64_t row = first; row < stop; ++row)
          for (int64_t j0 = 0; j0 < s_.kernel[0]; ++j0) {
            const int64_t pixel = result_pixel(row, j0, 0);
            finish.run(pixel, pixel + s_.kernel[1] * s_.input[2]);
          }
      }
    });
  }

 private:
  /// The first pixel of the row of inputs that tap row (j0, j1) makes of a row of outputs.
  int64_t result_pixel(int64_t row, int64_t j0, int64_t j1) const {
    const int64_t q1 = row % s_.output[1], plane = row / s_.output[1];  // planes of all images have equal depth
    return ((plane * s_.kernel[0] + j0) * s_.input[1] + q1 * s_.kernel[1] + j1) * s_.input[2];
  }

  void multiply(int64_t row, int64_t tap, int64_t panel, const T* weight) const {
    const int64_t j2 = tap % s_.kernel[2], j1 = tap / s_.kernel[2] % s_.kernel[1];
    const int64_t pixel = result_pixel(row, tap / s_.kernel[2] / s_.kernel[1], j1) + j2, column = panel * width_;
    const Product<T> factors{static_cast<const T*>(a_.output) + row * s_.output[2] * s_.out_channels, weight};
    brgemm(BatchReduce<T>{.products = &factors,
                          .count = 1,
                          .m = s_.output[2],
                          .n = min_of(s_.in_channels - column, width_),
                          .k = s_.out_channels,
                          .a_row = s_.out_channels,
                          .a_column = 1,
                          .b_row = width_,
                          .c = static_cast<T*>(a_.input) + pixel * s_.in_channels + column,
                          .c_row = s_.kernel[2] * s_.in_channels,
                          .accumulate = false});
  }

  const ConvolutionArguments& a_;
  const ConvolutionShape& s_ = a_.shape;
  int64_t taps_ = volume(s_.kernel);
  int64_t width_ = panel_width<T>(s_.in_channels), panels_ = ceil_divide(s_.in_channels, width_);
  int64_t panel_elements_ = s_.out_channels * width_;
};

}  // namespace

const char* non_overlapping_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (s.groups != 1) return "there are groups";
  for (int d = 0; d < 3; ++d)
    if (s.kernel[d] != s.stride[d] || s.dilation[d] != 1 || s.padding[d] != 0 ||
        s.input[d] != s.output[d] * s.stride[d])
      return "the windows do not tile the input";
  if (input_elements(s) == 0 || s.out_channels == 0) return "there are no results";
  if (a.forced) return nullptr;
  const bool cached =
      a.dtype == DType::Float32 ? NonOverlapping<float>(a).cached() : NonOverlapping<double>(a).cached();
  return cached ? nullptr : "the weights of all taps do not stay in a cache";
}

size_t packed_non_overlapping_bytes(const ConvolutionArguments& a) {
  return a.dtype == DType::Float32 ? aligned_bytes(NonOverlapping<float>(a).packed_elements(), sizeof(float))
                                   : aligned_bytes(NonOverlapping<double>(a).packed_elements(), sizeof(double));
}

void pack_non_overlapping(const ConvolutionArguments& a, void* to) {
  a.dtype == DType::Float32 ? NonOverlapping<float>(a).pack(static_cast<float*>(to))
                            : NonOverlapping<double>(a).pack(static_cast<double*>(to));
}

void non_overlapping(const ConvolutionArguments& a) {
  a.dtype == DType::Float32 ? NonOverlapping<float>(a).run() : NonOverlapping<double>(a).run();
}

}  // namespace pycnn::cpu::PYCNN_ISA
