// The algorithms of a convolution's three passes.
#include <algorithm>
#include <utility>

#include "cuda/depthwise.h"
#include "cuda/guarded.h"
#include "cuda/implicit_gemm_jobs.h"
#include "cuda/index_divide.h"
#include "cuda/interpreter.h"
#include "cuda/kernels.h"
#include "cuda/operands.h"
#include "cuda/reference.h"
#include "cuda/tile_choice.h"

namespace pycnn::cuda {
namespace {

using kernels::ConvolutionAlgorithm;
using kernels::ConvolutionArguments;
using kernels::ConvolutionPass;
using kernels::ConvolutionShape;

constexpr int64_t alignment = 256;  ///< of what shares the workspace
constexpr int64_t most_index = (int64_t{1} << 31) - 1;

int64_t aligned(int64_t bytes) { return divide_up(bytes, alignment) * alignment; }

// -- packed weights ---------------------------------------------------------------------------------------------------

/// How the weight is read by the pass: rows are channels of the result, each (tap, source channel).
struct WeightView {
  WeightView(const ConvolutionArguments& a, ConvolutionPass pass)
      : forward(pass == ConvolutionPass::Forward),
        rows((forward ? a.shape.out_channels : a.shape.in_channels) / a.shape.groups),
        channels((forward ? a.shape.in_channels : a.shape.out_channels) / a.shape.groups),
        row_stride(a.weight_strides[forward ? 0 : 1]),
        channel_stride(a.weight_strides[forward ? 1 : 0]),
        group_stride(a.shape.out_channels / a.shape.groups * a.weight_strides[0]) {}
  bool forward;
  int64_t rows, channels, row_stride, channel_stride, group_stride;
};

struct PackedLayout {
  PackedLayout(const ConvolutionArguments& a, ConvolutionPass pass, const std::vector<Phase>& phases) {
    const WeightView view(a, pass);
    const auto vector = static_cast<int64_t>(16 / size_of(a.dtype));
    for (const Phase& phase : phases) {
      offsets.push_back(elements);
      lengths.push_back(divide_up(phase.taps() * view.channels, vector) * vector);
      elements += a.shape.groups * view.rows * lengths.back();
    }
    bytes = elements * static_cast<int64_t>(size_of(a.dtype));
  }
  std::vector<int64_t> offsets, lengths;  ///< of the phases; of their rows
  int64_t elements = 0, bytes = 0;
};

/// Whether a weight lies as it would be packed: (out channel, tap, in channel) or, for gradients of single taps,
/// transposed.
bool lies_packed(const ConvolutionArguments& a, ConvolutionPass pass) {
  const WeightView view(a, pass);
  const ConvolutionShape& s = a.shape;
  const int64_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  for (int64_t stride : s.stride)
    if (!view.forward && stride != 1) return false;
  if (!view.forward && taps != 1) return false;
  const bool dense = (view.channels == 1 || view.channel_stride == 1) &&
                     (taps == 1 || a.weight_strides[2] == view.channels) && view.row_stride == taps * view.channels;
  const bool groups_follow = s.groups == 1 || view.group_stride == view.rows * view.row_stride;
  return dense && groups_follow && view.row_stride % static_cast<int64_t>(16 / size_of(a.dtype)) == 0;
}

struct PackParameters {
  struct Part {
    int64_t first;  ///< element
    IndexDivide row_length, taps[2];
    int tap_depth, kernel_first[3], kernel_step[3];
  };
  const void* weight;
  void* packed;
  int64_t count, row_stride, channel_stride, group_stride, tap_stride;
  IndexDivide rows, channels;
  int kernel[3], parts;
  Part part[max_parts];
};

/// packed (group, row, tap, channel) for each part; a thread writes an element.
template <typename Word>
__global__ void pack_weight(const __grid_constant__ PackParameters p) {
  const int64_t element = p.part[0].first + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (element >= p.part[0].first + p.count) return;
  int number = 0;
  while (number + 1 < p.parts && element >= p.part[number + 1].first) ++number;
  const PackParameters::Part& part = p.part[number];
  auto k = static_cast<int>(element - part.first);
  int row = part.row_length.divide(k);
  const int group = p.rows.divide(row);
  Word value{};
  if (k < part.tap_depth) {
    int tap[3];
    tap[1] = p.channels.divide(k);
    tap[2] = tap[1];
    tap[1] = part.taps[1].divide(tap[2]);
    tap[0] = part.taps[0].divide(tap[1]);
    int64_t at = 0;
    for (int d = 0; d < 3; ++d) at = at * p.kernel[d] + part.kernel_first[d] + tap[d] * part.kernel_step[d];
    value = static_cast<const Word*>(
        p.weight)[group * p.group_stride + row * p.row_stride + k * p.channel_stride + at * p.tap_stride];
  }
  static_cast<Word*>(p.packed)[element] = value;
}

void pack(const ConvolutionArguments& a, ConvolutionPass pass, const std::vector<Phase>& phases,
          const PackedLayout& layout, void* to) {
  const WeightView view(a, pass);
  for (size_t first = 0; first < phases.size(); first += max_parts) {
    PackParameters p{};
    p.weight = a.weight;
    p.packed = to;
    p.row_stride = view.row_stride;
    p.channel_stride = view.channel_stride;
    p.group_stride = view.group_stride;
    p.tap_stride = a.weight_strides[2];
    p.rows = IndexDivide(view.rows);
    p.channels = IndexDivide(view.channels);
    for (int d = 0; d < 3; ++d) p.kernel[d] = static_cast<int>(a.shape.kernel[d]);
    const size_t end = std::min(phases.size(), first + max_parts);
    p.parts = static_cast<int>(end - first);
    p.count = (end == phases.size() ? layout.elements : layout.offsets[end]) - layout.offsets[first];
    for (size_t i = first; i < end; ++i) {
      PackParameters::Part& part = p.part[i - first];
      part.first = layout.offsets[i];
      part.row_length = IndexDivide(std::max<int64_t>(layout.lengths[i], 1));
      part.tap_depth = static_cast<int>(phases[i].taps() * view.channels);
      for (int d = 0; d < 3; ++d) {
        part.kernel_first[d] = phases[i].axis[d].kernel_first;
        part.kernel_step[d] = phases[i].axis[d].kernel_step;
        if (d > 0) part.taps[d - 1] = IndexDivide(std::max(phases[i].axis[d].taps, 1));
      }
    }
    constexpr int threads = 256;
    const Grid grid{dim3(static_cast<unsigned>(divide_up(p.count, threads))), dim3(threads)};
    if (size_of(a.dtype) == 2)
      launch("pack_weight", pack_weight<uint16_t>, grid, p);
    else
      launch("pack_weight", pack_weight<uint32_t>, grid, p);
  }
}

// -- implicit products ------------------------------------------------------------------------------------------------

ProductSize product_size(const ConvolutionArguments& a, ConvolutionPass pass, const std::vector<Phase>& phases) {
  const ConvolutionShape& s = a.shape;
  const int64_t in_group = s.in_channels / s.groups, out_group = s.out_channels / s.groups;
  const bool weight = pass == ConvolutionPass::WeightGradient;
  ProductSize size{
      .parts = {}, .columns = pass == ConvolutionPass::InputGradient ? in_group : out_group, .batch = s.groups};
  const int64_t channels = pass == ConvolutionPass::InputGradient ? out_group : in_group;
  for (const Phase& phase : phases) {
    const int64_t pixels = s.batch * phase.positions(), depth = phase.taps() * channels;
    size.parts.push_back(weight ? ProductSize::Part{depth, pixels} : ProductSize::Part{pixels, depth});
  }
  return size;
}

/// Whether channels come in vectors of 16 bytes wherever they are gathered.
bool has_whole_vectors(const ConvolutionArguments& a, ConvolutionPass pass) {
  const ConvolutionShape& s = a.shape;
  const auto vector = static_cast<int64_t>(16 / size_of(a.dtype));
  const bool in = s.in_channels / s.groups % vector == 0, out = s.out_channels / s.groups % vector == 0;
  return pass == ConvolutionPass::Forward ? in : pass == ConvolutionPass::InputGradient ? out : in && out;
}

const char* cannot_multiply(const ConvolutionArguments& a, ConvolutionPass pass) {
  const ConvolutionShape& s = a.shape;
  if (a.dtype != DType::Float32 && a.dtype != DType::BFloat16 && a.dtype != DType::Float16)
    return "only for float32, bfloat16 and float16";
  if (s.groups > 65535) return "a launch has no more than 65535 groups";
  constexpr int64_t most_places = -nowhere / 2;
  const int64_t* const source = pass == ConvolutionPass::InputGradient ? s.output : s.input;
  int64_t pixels = s.batch, farthest = 0;
  for (int d = 0; d < 3; ++d) {
    const int64_t reach = s.kernel[d] * s.dilation[d] + s.padding[d] + s.stride[d];
    if (std::max({s.input[d], s.output[d] * s.stride[d], reach}) >= most_places) return "positions exceed 2^29";
    pixels *= source[d];
    farthest = std::min(farthest, most_places) * source[d] + reach;
  }
  if (pixels >= most_places || farthest >= most_places) return "the pixels that are read exceed 2^29";
  if (std::max(s.in_channels, s.out_channels) > most_index) return "channels exceed 2^31";
  const std::vector<Phase> phases = phases_of(s, pass);
  const ProductSize size = product_size(a, pass, phases);
  int64_t tiles = 0;
  for (const ProductSize::Part& part : size.parts) {
    // Beyond its end a product is still asked for a tile and the steps ahead.
    if (std::max(part.rows, part.depth) > most_index - 4096) return "rows or depth exceed 2^31";
    tiles += divide_up(part.rows, 64) * divide_up(size.columns, 32);
  }
  if (tiles > most_index) return "tiles exceed 2^31";
  if (pass != ConvolutionPass::WeightGradient) {
    const PackedLayout layout(a, pass, phases);
    if (layout.elements > most_index) return "the weight exceeds 2^31 elements";
  }
  return nullptr;
}

template <ConvolutionPass Pass, int TileNumber>
const char* product_declines(const ConvolutionArguments& a) {
  if (const char* reason = cannot_multiply(a, Pass)) return reason;
  if (!has_whole_vectors(a, Pass))
    return TileNumber == narrow_tile ? nullptr : "channels do not come in vectors of 16 bytes";
  if (a.forced) return nullptr;
  return best_tile(product_size(a, Pass, phases_of(a.shape, Pass))) == TileNumber
             ? nullptr
             : "another tile is expected to be faster";
}

template <ConvolutionPass Pass>
size_t packed_bytes(const ConvolutionArguments& a) {
  return lies_packed(a, Pass) ? 0 : static_cast<size_t>(PackedLayout(a, Pass, phases_of(a.shape, Pass)).bytes);
}

template <ConvolutionPass Pass>
void pack_weight_for(const ConvolutionArguments& a, void* to) {
  const std::vector<Phase> phases = phases_of(a.shape, Pass);
  pack(a, Pass, phases, PackedLayout(a, Pass, phases), to);
}

/// The packed weight, even if it lies as if packed: it may turn out not to be aligned. Then the partial sums.
template <ConvolutionPass Pass, int TileNumber>
size_t product_workspace(const ConvolutionArguments& a) {
  const std::vector<Phase> phases = phases_of(a.shape, Pass);
  const ProductSize size = product_size(a, Pass, phases);
  const int64_t packed = Pass == ConvolutionPass::WeightGradient ? 0 : aligned(PackedLayout(a, Pass, phases).bytes);
  return static_cast<size_t>(packed) + partial_bytes(size, plan_tile(size, TileNumber).splits);
}

/// Runs the epilogue as a kernel of its own if kernels do not end with such.
template <typename Run>
void with_epilogue(const ConvolutionArguments& arguments, const Run& run) {
  ConvolutionArguments a = arguments;
  const kernels::PointwiseArguments* after = nullptr;
  if (a.epilogue != nullptr && !is_frequent(*a.epilogue)) std::swap(a.epilogue, after);
  run(a);
  if (after != nullptr) pointwise(*after);
}

template <ConvolutionPass Pass, int TileNumber>
void run_product(const ConvolutionArguments& arguments) {
  with_epilogue(arguments, [](const ConvolutionArguments& a) {
    const std::vector<Phase> phases = phases_of(a.shape, Pass);
    const ProductSize size = product_size(a, Pass, phases);
    auto* workspace = static_cast<char*>(a.workspace);
    ConvolutionJob job{.name = Pass == ConvolutionPass::Forward         ? "convolution"
                               : Pass == ConvolutionPass::InputGradient ? "convolution_input_gradient"
                                                                        : "convolution_weight_gradient",
                       .arguments = a,
                       .pass = Pass,
                       .tile = TileNumber,
                       .splits = plan_tile(size, TileNumber).splits,
                       .phases = phases,
                       .packed = a.packed,
                       .packed_offsets = nullptr,
                       .partial = nullptr};
    const bool tf32 = a.dtype == DType::Float32 && a.tf32;
    if constexpr (Pass == ConvolutionPass::WeightGradient) {
      job.partial = reinterpret_cast<float*>(workspace);
      auto* const multiply = a.dtype == DType::BFloat16  ? multiply_taps_bfloat16
                             : a.dtype == DType::Float16 ? multiply_taps_float16
                             : tf32                      ? multiply_taps_tfloat32
                                                         : multiply_taps_float32;
      multiply(job);
    } else {
      const PackedLayout layout(a, Pass, phases);
      if (job.packed == nullptr && lies_packed(a, Pass) && reinterpret_cast<uintptr_t>(a.weight) % 16 == 0)
        job.packed = a.weight;
      if (job.packed == nullptr) {
        pack(a, Pass, phases, layout, workspace);
        job.packed = workspace;
      }
      job.packed_offsets = layout.offsets.data();
      job.partial = reinterpret_cast<float*>(workspace + aligned(layout.bytes));
      auto* const multiply = a.dtype == DType::BFloat16  ? multiply_pixels_bfloat16
                             : a.dtype == DType::Float16 ? multiply_pixels_float16
                             : tf32                      ? multiply_pixels_tfloat32
                                                         : multiply_pixels_float32;
      multiply(job);
    }
  });
}

// -- reference --------------------------------------------------------------------------------------------------------

const char* never_declines(const ConvolutionArguments&) { return nullptr; }
size_t no_workspace(const ConvolutionArguments&) { return 0; }

template <ConvolutionPass Pass>
void run_reference(const ConvolutionArguments& a) {
  reference::convolution(a, Pass);
  if (a.epilogue != nullptr) pointwise(*a.epilogue);
}

template <ConvolutionPass Pass, int TileNumber>
constexpr ConvolutionAlgorithm product(const char* name) {
  return {name,
          guarded<product_declines<Pass, TileNumber>>,
          guarded<product_workspace<Pass, TileNumber>>,
          guarded<run_product<Pass, TileNumber>>,
          Pass == ConvolutionPass::WeightGradient ? nullptr : guarded<packed_bytes<Pass>>,
          Pass == ConvolutionPass::WeightGradient ? nullptr : guarded<pack_weight_for<Pass>>};
}

template <ConvolutionPass Pass>
constexpr ConvolutionAlgorithm depthwise() {
  return {"depthwise", guarded<depthwise_declines>, guarded<depthwise_workspace<Pass>>, guarded<run_depthwise<Pass>>};
}

template <ConvolutionPass Pass>
constexpr ConvolutionAlgorithm reference_product() {
  return {"reference", never_declines, no_workspace, guarded<run_reference<Pass>>};
}

constexpr ConvolutionPass Forward = ConvolutionPass::Forward, InputGradient = ConvolutionPass::InputGradient,
                          WeightGradient = ConvolutionPass::WeightGradient;

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const ConvolutionAlgorithm convolution_forward[] = {
    depthwise<Forward>(),
    product<Forward, Tile128x128>("implicit_gemm_128x128"),
    product<Forward, Tile128x64>("implicit_gemm_128x64"),
    product<Forward, Tile64x64>("implicit_gemm_64x64"),
    product<Forward, Tile128x32>("implicit_gemm_128x32"),
    reference_product<Forward>(),
    {nullptr, nullptr, nullptr, nullptr},
};

const ConvolutionAlgorithm convolution_input_gradient[] = {
    depthwise<InputGradient>(),
    product<InputGradient, Tile128x128>("implicit_gemm_128x128"),
    product<InputGradient, Tile128x64>("implicit_gemm_128x64"),
    product<InputGradient, Tile64x64>("implicit_gemm_64x64"),
    product<InputGradient, Tile128x32>("implicit_gemm_128x32"),
    reference_product<InputGradient>(),
    {nullptr, nullptr, nullptr, nullptr},
};

const ConvolutionAlgorithm convolution_weight_gradient[] = {
    depthwise<WeightGradient>(),
    product<WeightGradient, Tile128x128>("implicit_gemm_128x128"),
    product<WeightGradient, Tile128x64>("implicit_gemm_128x64"),
    product<WeightGradient, Tile64x64>("implicit_gemm_64x64"),
    product<WeightGradient, Tile128x32>("implicit_gemm_128x32"),
    reference_product<WeightGradient>(),
    {nullptr, nullptr, nullptr, nullptr},
};

}  // namespace pycnn::cuda
