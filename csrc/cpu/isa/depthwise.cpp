// Convolutions in which every channel is a group of its own: bound by memory, vectors run over channels. Of the types
// here S is that of memory, T that of registers: bfloat16 is widened as it is read (a register of pairs to its even and
// its odd channels), added up in float32 and rounded once.
#include "cpu/isa/depthwise_tiles.h"
#include "cpu/isa/epilogue.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/row_epilogue.h"
#include "cpu/isa/taps.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::ConvolutionArguments;

constexpr int64_t chunk_elements = int64_t{1} << 15;
constexpr int64_t enough_chunks = 32;
constexpr int64_t max_rows = 64;         ///< of a kernel that has a tile of its own
constexpr int64_t block_channels = 128;  ///< at least, of chunks that share rows
/// Results of this size go past the caches: half of uncached_bytes, for as much is read meanwhile.
constexpr int64_t streamed_bytes = uncached_bytes / 2;

/// The rows of taps valid at (q0, q1) of batch item n; weights lie as (kernel index, channel). Returns how many.
int64_t tap_rows(const Taps& taps, int64_t n, int64_t q0, int64_t q1, TapRow* rows) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);
  const int64_t channels = taps.source_channels;
  int64_t count = 0;
  for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
    for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1) {
      const int64_t s0 = q0 * depth.source_step + depth.offset(j0), s1 = q1 * height.source_step + height.offset(j1);
      const int64_t row = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size;
      rows[count++] = {row * channels, taps.kernel_index(j0, j1, 0) * channels};
    }
  return count;
}

template <typename S>
bool has_tiles(const Taps& taps) {
  const Axis& width = taps.axis[2];
  return width.offset_step == 1 && taps.axis[0].taps * taps.axis[1].taps <= max_rows &&
         tile_functions<S, false>(width.taps, width.source_step, 1).inner != nullptr;
}

/// How many rows of results are computed at once: 1, or most_lines. bfloat16 pays more for lines, which leave no
/// registers to widen pairs, than it gains.
template <typename S>
int64_t lines_of(const Taps& taps) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const bool flat = depth.count == 1 && depth.source_size == 1 && depth.taps == 1 && depth.first_offset == 0;
  if (sizeof(S) != sizeof(float) || !flat) return 1;
  for (const Axis* axis : {&height, &width})
    if (axis->taps != 3 || axis->source_step != 1 || axis->offset_step != 1 || axis->result_step != 1) return 1;
  return most_lines;
}

/// A tile's code. Of several lines there is code for float32 only.
template <typename S, bool Gradient>
TileFunctions<S> functions_of(const Tile<S>& tile, const Axis& width, int64_t pixels) {
  if constexpr (!Gradient && sizeof(S) == sizeof(float))
    if (tile.lines > 0) return functions_of_lines<S>(static_cast<int>(pixels));
  return tile_functions<S, Gradient>(width.taps, width.source_step, static_cast<int>(pixels));
}

/// Channels of a chunk.
struct Channels {
  int64_t begin, end;
};

/// Calls function(tile, first result) before each tile of a row of results (or several lines), cut evenly.
template <typename S, bool Gradient, typename Function>
void for_each_tile(const Taps& taps, const S* source, Tile<S> tile, Channels channels, const Function& function) {
  const Axis& width = taps.axis[2];
  const bool several_lines = tile.lines > 0;
  const int64_t most = Gradient ? gradient_tile : several_lines ? line_tile : result_tile;
  constexpr int64_t at_once = lanes<Compute<S>>;
  const int64_t step = Gradient || several_lines ? at_once : widened_vectors<S> * at_once;
  const int64_t whole = channels.begin + (channels.end - channels.begin) / step * step;
  const int64_t tiles = ceil_divide(width.count, most);
  TileFunctions<S> functions{};
  int64_t functions_pixels = 0;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t q = width.count * t / tiles, pixels = width.count * (t + 1) / tiles - q;
    if (pixels != functions_pixels) functions = functions_of<S, Gradient>(tile, width, pixels);
    functions_pixels = pixels;
    const int64_t column = q * width.source_step + width.first_offset;
    const int64_t columns = (pixels - 1) * width.source_step + width.taps;
    tile.source = source + column * taps.source_channels;
    tile.begin = max_of(0, -column);
    tile.end = min_of(columns, width.source_size - column);
    function(tile, q);
    (tile.begin == 0 && tile.end == columns ? functions.inner : functions.edge)(tile, channels.begin, whole);
    for (int64_t c = whole; c < channels.end; c += at_once)
      functions.partial(tile, c, min_of(channels.end, c + at_once));
  }
}

/// Sets what rows of results have in common.
template <typename S>
void set_rows(Tile<S>& tile, const Taps& taps, TapRow* rows, int64_t n, int64_t q0, int64_t q1) {
  tile.channels = taps.source_channels;
  tile.rows = rows;
  tile.row_count = tap_rows(taps, n, q0, q1, rows);
  tile.row_elements = taps.axis[2].source_size * taps.source_channels;
  if (tile.row_count == 0) return;
  tile.ahead = rows[tile.row_count - 1].source + tile.row_elements;
  tile.rows_ahead = min_of(taps.axis[1].source_step, 2);
}

/// Calls function(first channel, lanes in use) for every vector of channels.
template <typename T, typename Function>
void for_each_vector(int64_t channels, const Function& function) {
  for (int64_t c = 0; c < channels; c += lanes<T>)
    function(c, Mask<T>(static_cast<int>(min_of(channels - c, lanes<T>))));
}

/// A row of results with any kernel, stride and dilation.
template <typename S, typename T = Compute<S>>
void plain_row(const Taps& taps, const S* source, const S* weight, S* result, int64_t n, int64_t q0, int64_t q1) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);
  const int64_t channels = taps.source_channels;
  for (int64_t q2 = 0; q2 < width.count; ++q2) {
    const Range taps2 = width.valid_taps(q2);
    for_each_vector<T>(channels, [&](int64_t c, const Mask<T>& mask) {
      Vector<T> sum{};
      for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
        for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1) {
          const int64_t s0 = q0 * depth.source_step + depth.offset(j0),
                        s1 = q1 * height.source_step + height.offset(j1);
          const int64_t row = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size;
          for (int64_t j2 = taps2.begin; j2 < taps2.end; ++j2) {
            const S* w = weight + taps.kernel_index(j0, j1, j2) * channels + c;
            const S* x = source + (row + q2 * width.source_step + width.offset(j2)) * channels + c;
            sum = multiply_add(load(x, mask), load(w, mask), sum);
          }
        }
      store(result + q2 * width.result_step * channels + c, sum, mask);
    });
  }
}

/// Sets what `count` rows of results from (q0, q1) on have in common.
template <typename S>
void set_lines(Tile<S>& tile, const Taps& taps, const S* weight, const S*& source, int64_t n, int64_t q1,
               int64_t count) {
  const Axis &height = taps.axis[1], &width = taps.axis[2];
  const int64_t row = q1 + height.first_offset, rows = count + height.taps - 1;
  tile.channels = taps.source_channels;
  tile.row_elements = width.source_size * taps.source_channels;
  tile.row_begin = max_of(0, -row);
  tile.row_end = min_of(rows, height.source_size - row);
  tile.lines = count;
  tile.result_line = width.count * taps.source_channels;
  tile.weight = weight + taps.kernel_index(0, 0, 0) * taps.source_channels;
  tile.weight_row = height.tap_step * taps.kernel[2] * taps.source_channels;
  tile.ahead = rows * tile.row_elements;
  tile.rows_ahead = min_of(count, height.source_size - row - rows);
  source += (n * height.source_size + row) * tile.row_elements;
}

/// Rows of results; `result` is the first one's first pixel.
struct ResultRows {
  int64_t n, q0, q1;  ///< of the first
  int64_t count;      ///< 1, or with lines_of() at most so many
};

/// What comes after results.
struct After {
  Finish finish;  ///< its place that of the first result
  Matrices matrices;
  bool streams;  ///< nothing else, and results need not stay in the caches
};

template <typename S>
void results_of_rows(const Taps& taps, const S* source, const S* weight, S* result, const ResultRows& at,
                     Channels channels, const After& after) {
  if (!has_tiles<S>(taps)) return plain_row(taps, source, weight, result, at.n, at.q0, at.q1);
  const Axis& width = taps.axis[2];
  TapRow rows[max_rows];
  Tile<S> tile{};
  if (lines_of<S>(taps) > 1) {
    set_lines(tile, taps, weight, source, at.n, at.q1, at.count);
  } else {
    set_rows(tile, taps, rows, at.n, at.q0, at.q1);
    tile.weight = weight;
  }
  tile.finish = after.finish;
  tile.matrices = after.matrices;
  tile.streams = after.streams;
  tile.pixel_step = width.result_step;
  tile.line_pixels = width.count;
  tile.weight_step = width.tap_step * taps.source_channels;
  tile.result_step = width.result_step * taps.source_channels;
  for_each_tile<S, false>(taps, source, tile, channels, [&](Tile<S>& at, int64_t q) {
    at.result = result + q * tile.result_step;
    at.finish.row = after.finish.row + q * tile.pixel_step;
  });
}

/// How rows of results are dealt out.
struct RowGroups {
  int64_t planes, height, width;
  int64_t lines;  ///< computed at once
  bool tiles;     ///< whether results can be finished in registers
};

/// Calls function(first row, rows, channels, what comes after) for all rows of results, in parallel, and the epilogue
/// on them while they are in cache.
template <typename S, typename Function>
void for_each_row(const ConvolutionArguments& a, const S* result, const RowGroups& rows, const Function& function) {
  const int64_t channels = a.shape.in_channels, groups = ceil_divide(rows.height, rows.lines);
  const int64_t all = rows.planes * groups;
  int64_t per_chunk = max_of(1, chunk_elements / max_of(1, rows.lines * rows.width * channels));
  per_chunk = max_of(1, min_of(per_chunk, all / enough_chunks));
  const int64_t row_chunks = ceil_divide(all, per_chunk);
  int64_t blocks = 1;
  if (rows.lines > 1) blocks = max_of(1, min_of(channels / block_channels, enough_chunks / max_of(1, row_chunks)));
  constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(S));
  const int64_t block = max_of(1, ceil_divide(ceil_divide(channels, blocks), line)) * line;
  blocks = ceil_divide(channels, block);
  const RowEpilogue row_epilogue(a.epilogue, result, rows.tiles);
  const bool finishes = rows.tiles && row_epilogue.finishes();
  Matrices matrices{};
  matrices.count = row_epilogue.matrices(matrices.matrix);
  matrices.pixels_ahead = rows.lines * rows.width;
  const int64_t bytes = rows.planes * rows.height * rows.width * channels * static_cast<int64_t>(sizeof(S));
  const bool streams = stores_lines<S> && rows.tiles && (finishes || !a.epilogue) && bytes >= streamed_bytes &&
                       channels % line == 0 && reinterpret_cast<uintptr_t>(result) % vector_bytes == 0;
  const Epilogue epilogue(row_epilogue.rest(a.epilogue), min_of(block, channels), channels - (blocks - 1) * block);
  parallel_for(row_chunks * blocks, [&](int64_t chunk) {
    const int64_t c = chunk % blocks * block, first = chunk / blocks * per_chunk;
    const Channels part{c, min_of(channels, c + block)};
    EpilogueColumns rest(epilogue, part.begin, part.end - part.begin);
    for (int64_t group = first; group < min_of(all, first + per_chunk); ++group) {
      const int64_t plane = group / groups * rows.height, of_plane = group % groups;
      const int64_t row = plane + rows.height * of_plane / groups, end = plane + rows.height * (of_plane + 1) / groups;
      function(row, end - row, part, After{row_epilogue.finish(finishes, row * rows.width, 0), matrices, streams});
      if (!finishes) row_epilogue.run(row * rows.width, end * rows.width, part.begin, part.end);
      rest.run(row * rows.width, end * rows.width);
    }
    if (streams) stream_fence();
  });
}

/// to[kernel index][channel]
template <typename S>
void pack(const ConvolutionArguments& a, S* to) {
  const int64_t channels = a.shape.in_channels, taps = volume(a.shape.kernel);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const S* weight = static_cast<const S*>(a.weight) + tap * a.weight_strides[2];
    for (int64_t c = 0; c < channels; ++c) to[tap * channels + c] = weight[c * a.weight_strides[0]];
  }
}

/// Weights as the kernels read them.
template <typename S>
const S* packed(const ConvolutionArguments& a) {
  if (a.packed) return static_cast<const S*>(a.packed);
  pack(a, static_cast<S*>(a.workspace));
  return static_cast<const S*>(a.workspace);
}

/// All results of a pass that leaves none out.
template <typename S>
void run(const ConvolutionArguments& a, const Taps& taps, const void* source, void* result) {
  const S* const weight = packed<S>(a);
  const int64_t depth = taps.axis[0].count, height = taps.axis[1].count, width = taps.axis[2].count;
  const int64_t lines = lines_of<S>(taps);
  for_each_row(a, static_cast<S*>(result), {taps.batch * depth, height, width, lines, has_tiles<S>(taps)},
               [&](int64_t row, int64_t count, Channels channels, const After& after) {
                 results_of_rows(taps, static_cast<const S*>(source), weight,
                                 static_cast<S*>(result) + row * width * taps.source_channels,
                                 {row / height / depth, row / height % depth, row % height, count}, channels, after);
               });
}

template <typename S>
void forward(const ConvolutionArguments& a) {
  run<S>(a, forward_taps(a), a.input, a.output);
}

template <typename S>
void input_gradient(const ConvolutionArguments& a) {
  const int64_t(&stride)[3] = a.shape.stride;
  if (volume(stride) == 1) return run<S>(a, input_gradient_taps(a, {0, 0, 0}), a.output, a.input);
  const S* const weight = packed<S>(a);
  const int64_t height = a.shape.input[1], depth = a.shape.input[0], width = a.shape.input[2];
  const int64_t channels = a.shape.in_channels;
  bool tiles = true;
  for_each_phase(a, [&](const Taps& taps) { tiles = tiles && has_tiles<S>(taps); });
  for_each_row(a, static_cast<S*>(a.input), {a.shape.batch * depth, height, width, 1, tiles},
               [&](int64_t row, int64_t, Channels all, After after) {
                 const int64_t h = row % height, d = row / height % depth, n = row / height / depth;
                 for (int64_t phase = 0; phase < min_of(stride[2], width); ++phase, ++after.finish.row)
                   results_of_rows(input_gradient_taps(a, {d % stride[0], h % stride[1], phase}),
                                   static_cast<const S*>(a.output), weight,
                                   static_cast<S*>(a.input) + (row * width + phase) * channels,
                                   {n, d / stride[0], h / stride[1], 1}, all, after);
               });
}

// -- weight gradient -------------------------------------------------------------------------------------------------

int64_t splits_of(const kernels::ConvolutionShape& s) {
  return max_of(1, min_of(enough_chunks, s.batch * s.output[0] * s.output[1]));
}

/// A row of results with any kernel, stride and dilation.
template <typename S, typename T = Compute<S>>
void plain_gradients(const Taps& taps, const S* source, const S* gradient, T* sums, int64_t n, int64_t q0, int64_t q1) {
  const Axis &depth = taps.axis[0], &height = taps.axis[1], &width = taps.axis[2];
  const Range taps0 = depth.valid_taps(q0), taps1 = height.valid_taps(q1);
  const int64_t channels = taps.source_channels;
  for_each_vector<T>(channels, [&](int64_t c, const Mask<T>& mask) {
    for (int64_t j0 = taps0.begin; j0 < taps0.end; ++j0)
      for (int64_t j1 = taps1.begin; j1 < taps1.end; ++j1)
        for (int64_t j2 = 0; j2 < width.taps; ++j2) {
          const Range valid = width.valid_results(j2);
          const int64_t s0 = q0 * depth.source_step + depth.offset(j0),
                        s1 = q1 * height.source_step + height.offset(j1);
          const int64_t row = ((n * depth.source_size + s0) * height.source_size + s1) * width.source_size;
          Vector<T> sum{};
          for (int64_t q2 = valid.begin; q2 < valid.end; ++q2)
            sum = multiply_add(load(gradient + q2 * channels + c, mask),
                               load(source + (row + q2 * width.source_step + width.offset(j2)) * channels + c, mask),
                               sum);
          T* to = sums + taps.kernel_index(j0, j1, j2) * channels + c;
          store(to, load(to, mask) + sum, mask);
        }
  });
}

template <typename S, typename T = Compute<S>>
void gradients_of_row(const Taps& taps, const S* source, S* gradient, T* sums, int64_t n, int64_t q0, int64_t q1) {
  const Axis& width = taps.axis[2];
  if (!has_tiles<S>(taps) || tile_functions<S, true>(width.taps, width.source_step, 1).inner == nullptr)
    return plain_gradients(taps, source, gradient, sums, n, q0, q1);
  TapRow rows[max_rows];
  Tile<S> tile{};
  set_rows(tile, taps, rows, n, q0, q1);
  tile.sums = sums;
  tile.result_row = width.count * taps.source_channels;
  for_each_tile<S, true>(taps, source, tile, {0, taps.source_channels},
                         [&](Tile<S>& at, int64_t q) { at.result = gradient + q * taps.source_channels; });
}

template <typename S>
void weight_gradient(const ConvolutionArguments& a) {
  using T = Compute<S>;
  const kernels::ConvolutionShape& s = a.shape;
  const Taps taps = forward_taps(a);
  const int64_t height = s.output[1], depth = s.output[0];
  const int64_t channels = s.in_channels, elements = taps.tap_count() * channels, rows = taps.rows();
  const int64_t splits = splits_of(s);
  T* partial = static_cast<T*>(a.workspace);
  parallel_for(splits, [&](int64_t split) {
    T* sums = partial + split * elements;
    for (int64_t i = 0; i < elements; ++i) sums[i] = 0;
    for (int64_t row = rows * split / splits; row < rows * (split + 1) / splits; ++row)
      gradients_of_row(taps, static_cast<const S*>(a.input), static_cast<S*>(a.output) + row * s.output[2] * channels,
                       sums, row / height / depth, row / height % depth, row % height);
  });
  for (int64_t split = 1; split < splits; ++split) {
    const T* more = partial + split * elements;
    for (int64_t i = 0; i < elements; ++i) partial[i] += more[i];
  }
  S* const weight = static_cast<S*>(a.weight);
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap = 0; tap < taps.tap_count(); ++tap)
      round_to(partial[tap * channels + c], weight[c * a.weight_strides[0] + tap * a.weight_strides[2]]);
}

/// Calls function(S{}) with the type of a convolution's operands.
template <typename Function>
void with_operands(const ConvolutionArguments& a, const Function& function) {
  if (a.dtype == DType::Float32)
    function(float{});
  else if (a.dtype == DType::BFloat16)
    function(BFloat16{});
  else
    function(double{});
}

/// Bytes of `count` elements in registers' type.
size_t computed_bytes(const ConvolutionArguments& a, int64_t count) {
  return aligned_bytes(count, a.dtype == DType::Float64 ? sizeof(double) : sizeof(float));
}

}  // namespace

const char* depthwise_declines(const ConvolutionArguments& a) {
  const kernels::ConvolutionShape& s = a.shape;
  if (s.groups != s.in_channels || s.groups != s.out_channels) return "a group is not one channel in and one out";
  if (s.groups == 1) return "with a single channel there is nothing to vectorise over";
  return nullptr;
}

size_t depthwise_workspace(const ConvolutionArguments& a) {
  return aligned_bytes(weight_elements(a.shape), size_of(a.dtype));
}

void pack_depthwise(const ConvolutionArguments& a, void* to) {
  with_operands(a, [&](auto type) { pack(a, static_cast<decltype(type)*>(to)); });
}

void depthwise_forward(const ConvolutionArguments& a) {
  with_operands(a, [&](auto type) { forward<decltype(type)>(a); });
}

void depthwise_input_gradient(const ConvolutionArguments& a) {
  with_operands(a, [&](auto type) { input_gradient<decltype(type)>(a); });
}

size_t depthwise_weight_gradient_workspace(const ConvolutionArguments& a) {
  return computed_bytes(a, splits_of(a.shape) * weight_elements(a.shape));
}

void depthwise_weight_gradient(const ConvolutionArguments& a) {
  with_operands(a, [&](auto type) { weight_gradient<decltype(type)>(a); });
}

}  // namespace pycnn::cpu::PYCNN_ISA
