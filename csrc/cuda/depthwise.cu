#include "cuda/depthwise.h"

#include <algorithm>

#include "cuda/implicit_gemm_convolution.h"
#include "cuda/kernels.h"

namespace pycnn::cuda {
namespace {

constexpr int threads = 256;
constexpr int run_length = 4;       ///< neighbouring results of a thread, which share weights and, through L1, sources
constexpr int runs_per_thread = 4;  ///< which share a block's copy of the weights
constexpr int most_weight_bytes = 48 << 10;
constexpr int taps_at_once = 9, lanes_per_channel = 8;  ///< of the weight's gradient

// -- forward and input gradient ---------------------------------------------------------------------------------------

template <typename T>
struct DepthwiseParameters {
  const T* source;
  const T* weight;
  int64_t channel_stride, tap_stride;
  int kernel[3], size[3];
  int channels;
  int64_t batch;
  PhaseAxis phase[max_parts][3];
  IndexDivide runs[max_parts], positions[max_parts][2];  ///< runs of a row; rows of a plane, planes of an item
  IndexDivide channel_vectors;                           ///< of a block
  PixelResult<T> result;
};

__device__ PYCNN_NOINLINE void run_epilogue(const Program& program, int64_t pixel, int channel, int count,
                                            Several<float, result_vector> values) {
  run_program<result_vector, Language::Frequent>(program, pixel, channel, count, values.element);
}

/// result (batch, positions, C) of phase z. x: runs of results, y: vectors of channels.
template <typename T, int V>
__global__ void __launch_bounds__(threads) depthwise(const __grid_constant__ DepthwiseParameters<T> p) {
  auto* weights = shared_memory<float>();  // (tap, channel)
  const int z = static_cast<int>(blockIdx.z), thread = static_cast<int>(threadIdx.x);
  const PhaseAxis(&axis)[3] = p.phase[z];
  const int vectors = p.channel_vectors.divisor(), block_channels = vectors * V;
  const int first_channel = static_cast<int>(blockIdx.y) * block_channels;
  const int taps = axis[0].taps * axis[1].taps * axis[2].taps;
  for (int i = thread; i < taps * block_channels; i += threads) {
    const int tap = i / block_channels, channel = first_channel + i % block_channels;
    const int t0 = tap / axis[2].taps / axis[1].taps, t1 = tap / axis[2].taps % axis[1].taps, t2 = tap % axis[2].taps;
    const int64_t at = (static_cast<int64_t>(axis[0].kernel_first + t0 * axis[0].kernel_step) * p.kernel[1] +
                        axis[1].kernel_first + t1 * axis[1].kernel_step) *
                           p.kernel[2] +
                       axis[2].kernel_first + t2 * axis[2].kernel_step;
    weights[i] = channel < p.channels ? widened(p.weight[channel * p.channel_stride + at * p.tap_stride]) : 0.0F;
  }
  __syncthreads();

  int vector = thread;
  const int lane = p.channel_vectors.divide(vector), lanes = threads / vectors;
  const int channel = first_channel + vector * V;
  if (lane >= lanes || channel >= p.channels) return;
  const int64_t rows = p.batch * axis[0].positions * axis[1].positions;
  const int64_t runs = rows * p.runs[z].divisor();
#pragma unroll 1
  for (int turn = 0; turn < runs_per_thread; ++turn) {
    const int64_t run = (static_cast<int64_t>(blockIdx.x) * runs_per_thread + turn) * lanes + lane;
    if (run >= runs) return;
    int q2 = static_cast<int>(run);
    const int row = p.runs[z].divide(q2);
    int q1 = row;
    int q0 = p.positions[z][1].divide(q1);
    const int64_t item = p.positions[z][0].divide(q0);
    q2 *= run_length;
    float sums[run_length][V];
#pragma unroll
    for (auto& sum : sums)
#pragma unroll
      for (float& value : sum) value = 0;
    for (int t0 = 0; t0 < axis[0].taps; ++t0) {
      const int at0 = q0 * axis[0].step + axis[0].offset + t0 * axis[0].tap_step;
      if (static_cast<unsigned>(at0) >= static_cast<unsigned>(p.size[0])) continue;
      for (int t1 = 0; t1 < axis[1].taps; ++t1) {
        const int at1 = q1 * axis[1].step + axis[1].offset + t1 * axis[1].tap_step;
        if (static_cast<unsigned>(at1) >= static_cast<unsigned>(p.size[1])) continue;
        const T* source = p.source + ((item * p.size[0] + at0) * p.size[1] + at1) * p.size[2] * p.channels + channel;
        const float* weight = weights + (t0 * axis[1].taps + t1) * axis[2].taps * block_channels + vector * V;
        for (int t2 = 0; t2 < axis[2].taps; ++t2, weight += block_channels) {
          const auto factor = load_several<V>(weight);
#pragma unroll
          for (int i = 0; i < run_length; ++i) {
            const int at2 = (q2 + i) * axis[2].step + axis[2].offset + t2 * axis[2].tap_step;
            if (static_cast<unsigned>(at2) >= static_cast<unsigned>(p.size[2])) continue;
            const auto read = load_several<V>(source + static_cast<int64_t>(at2) * p.channels);
#pragma unroll
            for (int v = 0; v < V; ++v) sums[i][v] = fmaf(widened(read.element[v]), factor.element[v], sums[i][v]);
          }
        }
      }
    }
    // Sums would not stay in registers across the call: the program runs after all have been stored.
    const int left = axis[2].positions - q2 < run_length ? axis[2].positions - q2 : run_length;
    const int result = row * axis[2].positions + q2;
    const Finish<T>& finish = p.result.finish;
    Several<float, result_vector> values[run_length] = {};
#pragma unroll
    for (int i = 0; i < run_length; ++i) {
#pragma unroll
      for (int v = 0; v < V; ++v) values[i].element[v] = sums[i][v];
      if (i < left) finish.store(p.result.pixel(z, result + i) * p.channels + channel, V, values[i].element);
    }
    if (!finish.followed) continue;
#pragma unroll 1
    for (int i = 0; i < left; ++i) run_epilogue(finish.program, p.result.pixel(z, result + i), channel, V, values[i]);
  }
}

int64_t volume(const int64_t (&size)[3]) { return size[0] * size[1] * size[2]; }

/// So that a block's weights fit into shared memory; 0 if they never do.
int vectors_of_block(const ConvolutionShape& s, int v) {
  int vectors = 32;
  while (vectors > 0 && volume(s.kernel) * vectors * v * static_cast<int64_t>(sizeof(float)) > most_weight_bytes)
    vectors /= 2;
  while (vectors > 1 && vectors / 2 * v >= s.in_channels) vectors /= 2;
  return vectors;
}

template <typename T, int V>
void depthwise_pixels(const ConvolutionArguments& a, ConvolutionPass pass) {
  const ConvolutionShape& s = a.shape;
  const bool forward = pass == ConvolutionPass::Forward;
  const std::vector<Phase> phases = phases_of(s, pass);
  const int vectors = vectors_of_block(s, V), lanes = threads / vectors;
  for (size_t first = 0; first < phases.size(); first += max_parts) {
    DepthwiseParameters<T> p{};
    p.source = static_cast<const T*>(forward ? a.input : a.output);
    p.weight = static_cast<const T*>(a.weight);
    p.channel_stride = a.weight_strides[0];
    p.tap_stride = a.weight_strides[2];
    p.channels = static_cast<int>(s.in_channels);
    p.batch = s.batch;
    p.channel_vectors = IndexDivide(vectors);
    p.result.finish = finish_of<T>(forward ? a.output : a.input, V == result_vector, a.epilogue);
    p.result.channels = p.result.group_channels = static_cast<int>(s.in_channels);
    for (int d = 0; d < 3; ++d) {
      p.kernel[d] = static_cast<int>(s.kernel[d]);
      p.size[d] = static_cast<int>(forward ? s.input[d] : s.output[d]);
      p.result.size[d] = static_cast<int>(forward ? s.output[d] : s.input[d]);
    }
    const size_t end = std::min(phases.size(), first + max_parts);
    int64_t runs = 0, taps = 0;
    for (size_t i = first; i < end; ++i) {
      const PhaseAxis(&axis)[3] = phases[i].axis;
      const size_t z = i - first;
      for (int d = 0; d < 3; ++d) {
        p.phase[z][d] = axis[d];
        const IndexDivide positions(std::max(axis[d].positions, 1));
        p.result.axis[z][d] = {positions, axis[d].result_step, axis[d].result_offset};
        if (d < 2) p.positions[z][d] = positions;
      }
      const int64_t runs_of_row = divide_up(axis[2].positions, run_length);
      p.runs[z] = IndexDivide(std::max<int64_t>(runs_of_row, 1));
      runs = std::max(runs, s.batch * axis[0].positions * axis[1].positions * runs_of_row);
      taps = std::max(taps, phases[i].taps());
    }
    const Grid grid{
        dim3(static_cast<unsigned>(divide_up(runs, lanes * runs_per_thread)),
             static_cast<unsigned>(divide_up(s.in_channels, vectors * V)), static_cast<unsigned>(end - first)),
        dim3(threads), static_cast<size_t>(taps * vectors * V) * sizeof(float)};
    launch(forward ? "depthwise_convolution" : "depthwise_input_gradient", depthwise<T, V>, grid, p);
  }
}

// -- weight gradient --------------------------------------------------------------------------------------------------

template <typename T>
struct DepthwiseWeightParameters {
  const T* source;
  const T* gradient;
  T* weight;
  float* partial;  ///< (split, tap, channel)
  int64_t channel_stride, tap_stride;
  int size[3], step[3], offset[3], tap_step[3];
  IndexDivide positions[3];
  int kernel[3];
  int channels, taps, splits;
  int64_t pixels;
};

/// x: channels, 32 vectors per block; y: taps, some at once; z: splits of the pixels. Lanes take pixels in turn.
template <typename T, int V>
__global__ void __launch_bounds__(threads)
    depthwise_weight_gradient(const __grid_constant__ DepthwiseWeightParameters<T> p) {
  const int vector = static_cast<int>(threadIdx.x) % warp_size, lane = static_cast<int>(threadIdx.x) / warp_size;
  const int channel = (static_cast<int>(blockIdx.x) * warp_size + vector) * V;
  const int first_tap = static_cast<int>(blockIdx.y) * taps_at_once, split = static_cast<int>(blockIdx.z);
  int tap_at[taps_at_once][3];
#pragma unroll
  for (int i = 0; i < taps_at_once; ++i) {
    const int tap = first_tap + i;
    tap_at[i][0] = tap < p.taps ? tap / p.kernel[2] / p.kernel[1] * p.tap_step[0] : nowhere;
    tap_at[i][1] = tap / p.kernel[2] % p.kernel[1] * p.tap_step[1];
    tap_at[i][2] = tap % p.kernel[2] * p.tap_step[2];
  }
  float sums[taps_at_once][V];
#pragma unroll
  for (auto& sum : sums)
#pragma unroll
    for (float& value : sum) value = 0;
  const int64_t end = p.pixels * (split + 1) / p.splits;
  if (channel < p.channels)
    for (int64_t pixel = p.pixels * split / p.splits + lane; pixel < end; pixel += lanes_per_channel) {
      const auto gradient = load_several<V>(p.gradient + pixel * p.channels + channel);
      int q2 = static_cast<int>(pixel);
      int q1 = p.positions[2].divide(q2);
      int q0 = p.positions[1].divide(q1);
      const int64_t item = p.positions[0].divide(q0);
      const int at0 = q0 * p.step[0] + p.offset[0], at1 = q1 * p.step[1] + p.offset[1],
                at2 = q2 * p.step[2] + p.offset[2];
#pragma unroll
      for (int i = 0; i < taps_at_once; ++i) {
        const int x0 = at0 + tap_at[i][0], x1 = at1 + tap_at[i][1], x2 = at2 + tap_at[i][2];
        if (static_cast<unsigned>(x0) >= static_cast<unsigned>(p.size[0]) ||
            static_cast<unsigned>(x1) >= static_cast<unsigned>(p.size[1]) ||
            static_cast<unsigned>(x2) >= static_cast<unsigned>(p.size[2]))
          continue;
        const auto read = load_several<V>(
            p.source + (((item * p.size[0] + x0) * p.size[1] + x1) * p.size[2] + x2) * p.channels + channel);
#pragma unroll
        for (int v = 0; v < V; ++v)
          sums[i][v] = fmaf(widened(read.element[v]), widened(gradient.element[v]), sums[i][v]);
      }
    }

  auto* all = shared_memory<float>();  // (lane, tap, channel)
  constexpr int block_channels = warp_size * V, lane_sums = taps_at_once * block_channels;
#pragma unroll
  for (int i = 0; i < taps_at_once; ++i)
#pragma unroll
    for (int v = 0; v < V; ++v) all[lane * lane_sums + i * block_channels + vector * V + v] = sums[i][v];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < lane_sums; i += threads) {
    const int tap = first_tap + i / block_channels;
    const int to = static_cast<int>(blockIdx.x) * block_channels + i % block_channels;
    if (tap >= p.taps || to >= p.channels) continue;
    float sum = 0;
    for (int l = 0; l < lanes_per_channel; ++l) sum += all[l * lane_sums + i];
    p.partial[(static_cast<int64_t>(split) * p.taps + tap) * p.channels + to] = sum;
  }
}

/// Adds up the splits in their order. A thread: a tap of a channel.
template <typename T>
__global__ void __launch_bounds__(threads)
    add_depthwise_splits(const __grid_constant__ DepthwiseWeightParameters<T> p) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int64_t count = static_cast<int64_t>(p.taps) * p.channels;
  if (i >= count) return;
  float sum = 0;
  for (int split = 0; split < p.splits; ++split) sum += p.partial[split * count + i];
  p.weight[i % p.channels * p.channel_stride + i / p.channels * p.tap_stride] = narrowed<T>(sum);
}

int weight_splits(const ConvolutionShape& s) {
  constexpr int64_t blocks_wanted = 132 * 8, least_pixels = 64;
  const int64_t blocks = divide_up(s.in_channels, warp_size) * divide_up(volume(s.kernel), taps_at_once);
  const int64_t pixels = s.batch * volume(s.output);
  return static_cast<int>(std::max<int64_t>(
      1, std::min({divide_up(blocks_wanted, blocks), divide_up(pixels, least_pixels), int64_t{65535}})));
}

template <typename T, int V>
void depthwise_weight(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  DepthwiseWeightParameters<T> p{};
  p.source = static_cast<const T*>(a.input);
  p.gradient = static_cast<const T*>(a.output);
  p.weight = static_cast<T*>(a.weight);
  p.partial = static_cast<float*>(a.workspace);
  p.channel_stride = a.weight_strides[0];
  p.tap_stride = a.weight_strides[2];
  p.channels = static_cast<int>(s.in_channels);
  p.taps = static_cast<int>(volume(s.kernel));
  p.splits = weight_splits(s);
  p.pixels = s.batch * volume(s.output);
  for (int d = 0; d < 3; ++d) {
    p.size[d] = static_cast<int>(s.input[d]);
    p.step[d] = static_cast<int>(s.stride[d]);
    p.offset[d] = static_cast<int>(-s.padding[d]);
    p.tap_step[d] = static_cast<int>(s.dilation[d]);
    p.positions[d] = IndexDivide(std::max<int64_t>(s.output[d], 1));
    p.kernel[d] = static_cast<int>(s.kernel[d]);
  }
  launch("depthwise_weight_gradient", depthwise_weight_gradient<T, V>,
         {dim3(static_cast<unsigned>(divide_up(s.in_channels, warp_size * V)),
               static_cast<unsigned>(divide_up(p.taps, taps_at_once)), static_cast<unsigned>(p.splits)),
          dim3(threads), lanes_per_channel * taps_at_once * warp_size * V * sizeof(float)},
         p);
  launch("depthwise_weight_gradient", add_depthwise_splits<T>,
         {dim3(static_cast<unsigned>(divide_up(static_cast<int64_t>(p.taps) * p.channels, threads))), dim3(threads)},
         p);
}

template <typename T>
void depthwise_of(const ConvolutionArguments& a, ConvolutionPass pass) {
  const auto whole = [&](int count) {
    const size_t bytes = std::min<size_t>(count * sizeof(T), 16);
    return a.shape.in_channels % count == 0 && is_aligned(a.input, bytes) && is_aligned(a.output, bytes);
  };
  if (pass == ConvolutionPass::WeightGradient) {
    constexpr int pair = 4 / sizeof(T);
    whole(pair) ? depthwise_weight<T, pair>(a) : depthwise_weight<T, 1>(a);
  } else {
    whole(result_vector) && vectors_of_block(a.shape, result_vector) > 0 ? depthwise_pixels<T, result_vector>(a, pass)
                                                                         : depthwise_pixels<T, 1>(a, pass);
  }
}

}  // namespace

const char* depthwise_declines(const ConvolutionArguments& a) {
  const ConvolutionShape& s = a.shape;
  if (s.groups != s.in_channels || s.groups != s.out_channels) return "groups have more than a channel";
  if (a.dtype != DType::Float32 && a.dtype != DType::BFloat16 && a.dtype != DType::Float16)
    return "only for float32, bfloat16 and float16";
  if (s.in_channels > 65535) return "a launch has no more than 65535 blocks of channels";
  if (vectors_of_block(s, 1) == 0) return "the kernel has too many taps for shared memory";
  if (volume(s.kernel) > int64_t{65535} * taps_at_once) return "the kernel has too many taps";
  constexpr int64_t most = int64_t{1} << 30;
  if (s.batch * std::max(volume(s.input), volume(s.output)) >= most) return "pixels exceed 2^30";
  for (int d = 0; d < 3; ++d)
    if (std::max({s.input[d], s.output[d] * s.stride[d], s.kernel[d] * s.dilation[d] + s.padding[d]}) >= most / 2)
      return "positions exceed 2^29";
  return nullptr;
}

template <ConvolutionPass Pass>
size_t depthwise_workspace(const ConvolutionArguments& a) {
  if constexpr (Pass != ConvolutionPass::WeightGradient) return 0;
  return static_cast<size_t>(weight_splits(a.shape) * volume(a.shape.kernel) * a.shape.in_channels) * sizeof(float);
}

template <ConvolutionPass Pass>
void run_depthwise(const ConvolutionArguments& arguments) {
  ConvolutionArguments a = arguments;
  const kernels::PointwiseArguments* after = nullptr;
  if (a.epilogue != nullptr && !is_frequent(*a.epilogue)) std::swap(a.epilogue, after);
  if (a.dtype == DType::BFloat16)
    depthwise_of<BFloat16>(a, Pass);
  else if (a.dtype == DType::Float16)
    depthwise_of<Float16>(a, Pass);
  else
    depthwise_of<float>(a, Pass);
  if (after != nullptr) pointwise(*after);
}

#define PYCNN_DEPTHWISE(pass)                                                              \
  template size_t depthwise_workspace<ConvolutionPass::pass>(const ConvolutionArguments&); \
  template void run_depthwise<ConvolutionPass::pass>(const ConvolutionArguments&);
PYCNN_DEPTHWISE(Forward)
PYCNN_DEPTHWISE(InputGradient)
PYCNN_DEPTHWISE(WeightGradient)
#undef PYCNN_DEPTHWISE

}  // namespace pycnn::cuda
