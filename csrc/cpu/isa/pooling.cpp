// Pooling over channels-last tensors: vectors run over a pixel's channels, rows of pixels in parallel. Backward passes
// gather: each element of the input adds up the windows that see it, in the order of the outputs.
// bfloat16 is widened as it is read and rounded as it is written, nothing between is.
// With few channels a vector reaches into the next pixel, whose elements are read (and written) again in their turn.
#include <cstring>

#include "cpu/isa/brgemm.h"
#include "cpu/isa/isa.h"
#include "cpu/isa/pooling.h"
#include "cpu/parallel.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::PoolingArguments;

constexpr int64_t chunk_elements = int64_t{1} << 14;

/// Calls function(first row, end) for runs of rows of pixels.
template <typename Function>
void for_each_run(const PoolingArguments& a, const int64_t (&size)[3], const Function& function) {
  const int64_t rows = a.batch * size[0] * size[1];
  const int64_t per_task = max_of(1, chunk_elements / (size[2] * a.channels + 1));
  const int64_t tasks = ceil_divide(rows, per_task);
  const auto run = [&](int64_t task) { function(task * per_task, min_of(rows, (task + 1) * per_task)); };
  if (tasks == 1)
    run(0);
  else
    parallel_for(tasks, run);
}

// -- windows of an output --------------------------------------------------------------------------------------------

/// The taps of one output. Offsets and strides count elements of the input; labels number the taps.
struct Window {
  int64_t count[3];
  int64_t stride[3];
  int64_t label_stride[3];

  int64_t taps() const { return count[0] * count[1] * count[2]; }
  int64_t last() const { return (count[0] - 1) * stride[0] + (count[1] - 1) * stride[1] + (count[2] - 1) * stride[2]; }
};

int64_t taps_at(const PoolingArguments& a, int d, int64_t o) {
  return ceil_divide(a.end[d][o] - a.begin[d][o], a.step[d]);
}

/// Adjacent outputs whose windows are equally large.
struct Outputs {
  Window window;
  int64_t od, oh, begin, end;     ///< along the last dimension
  int64_t line;                   ///< index within D×H×W of the input where their taps' first row begins
  int64_t input, output;          ///< elements before that row's batch item, before this row of outputs
  int64_t input_end, output_end;  ///< a last vector that begins before may be read and written whole
};

/// Calls function(outputs) for the rows [begin, end); a vector has `lane_count` lanes.
template <typename Function>
PYCNN_INLINE void for_each_outputs(const PoolingArguments& a, int lane_count, int64_t begin, int64_t end,
                                   const Function& function) {
  const int64_t channels = a.channels, depth = a.output_size[0], height = a.output_size[1], width = a.output_size[2];
  const int64_t strides[3] = {a.input_size[1] * a.input_size[2], a.input_size[2], 1};
  const int64_t item = volume(a.input_size) * channels, past = ceil_divide(channels, lane_count) * lane_count;
  Outputs o;
  o.output_end = end * width * channels - past;
  for (int d = 0; d < 3; ++d) {
    o.window.stride[d] = strides[d] * a.step[d] * channels;
    o.window.label_stride[d] = a.indices ? strides[d] * a.step[d] : d == 2 ? 1 : a.taps[2] * (d == 1 ? 1 : a.taps[1]);
  }
  for (int64_t row = begin; row < end; ++row) {
    o.oh = row % height;
    o.od = row / height % depth;
    o.input = row / height / depth * item;
    o.output = row * width * channels;
    o.line = a.begin[0][o.od] * strides[0] + a.begin[1][o.oh] * strides[1];
    o.window.count[0] = taps_at(a, 0, o.od);
    o.window.count[1] = taps_at(a, 1, o.oh);
    for (o.begin = 0; o.begin < width; o.begin = o.end) {
      const int64_t extent = a.end[2][o.begin] - a.begin[2][o.begin];
      for (o.end = o.begin + 1; o.end < width && a.end[2][o.end] - a.begin[2][o.end] == extent;) ++o.end;
      o.window.count[2] = taps_at(a, 2, o.begin);
      o.input_end = a.batch * item - past - o.window.last();
      function(o);
    }
  }
}

/// Calls function(first tap within D×H×W, element of it, element of the output, whole) for each of them.
template <typename Function>
PYCNN_INLINE void for_each_output(const PoolingArguments& a, const Outputs& o, const Function& function) {
  for (int64_t ow = o.begin; ow < o.end; ++ow) {
    const int64_t first = o.line + a.begin[2][ow];
    const int64_t input = o.input + first * a.channels, output = o.output + ow * a.channels;
    function(first, input, output, input <= o.input_end && output <= o.output_end, ow);
  }
}

/// Calls function(element offset, label) for the taps of a window from the first one, in row-major order. Rows and
/// Columns fix the counts of the last two dimensions where they are not 0.
template <int Rows, int Columns, typename Function>
PYCNN_INLINE void for_each_tap(const Window& w, const Function& function) {
  const int64_t rows = Rows ? Rows : w.count[1], columns = Columns ? Columns : w.count[2];
  const int64_t depths = Rows ? 1 : w.count[0];
  for (int64_t d = 0; d < depths; ++d) {
#pragma GCC unroll 4
    for (int64_t h = 0; h < rows; ++h) {
      const int64_t offset = d * w.stride[0] + h * w.stride[1];
      const int64_t label = d * w.label_stride[0] + h * w.label_stride[1];
#pragma GCC unroll 4
      for (int64_t x = 0; x < columns; ++x) function(offset + x * w.stride[2], label + x * w.label_stride[2]);
    }
  }
}

/// What a maximum notes of its place: nothing, a tap's number in its window, or an index within D×H×W.
struct NoPlace {};

template <typename S, typename M, int Rows, int Columns, bool Whole>
PYCNN_INLINE void maximum_of(const Window& window, const S* input, S* output, M* places, int64_t first, int count) {
  using T = Compute<S>;
  constexpr int lane_count = Lane<T>::count;
  constexpr bool placed = !__is_same(M, NoPlace);
  using Label = typename LabelOf<T>::Type;
  const Label base = static_cast<Label>(__is_same(M, int64_t) ? first : 0);
  Values<T> best = take<Values<T>, lane_count, Whole>(input, count);
  Labels<T> label = base - Labels<T>{};
  for_each_tap<Rows, Columns>(
      window, [&](int64_t offset, int64_t number) __attribute__((always_inline)) {
        const Values<T> x = take<Values<T>, lane_count, Whole>(input + offset, count);
        // Two selections each: masks stay masks.
        const auto more = x > best, nan = x != x;
        best = more ? x : best;
        best = nan ? x : best;
        if constexpr (placed) {
          const Labels<T> here = base + static_cast<Label>(number) - Labels<T>{};
          label = more ? here : label;
          label = nan ? here : label;
        }
      });
  put<lane_count, Whole>(output, best, count);
  if constexpr (placed) put<lane_count, Whole>(places, label, count);
}

template <typename S, typename M, int Rows, int Columns>
void maxima(const PoolingArguments& a, const Outputs& outputs, M* places) {
  const S* inputs = static_cast<const S*>(a.input);
  S* to = static_cast<S*>(a.output);
  for_each_output(
      a,
      outputs, [&](int64_t first, int64_t input, int64_t output, bool whole, int64_t) __attribute__((always_inline)) {
        for_each_vector<Lane<Compute<S>>::count>(
            a.channels, whole, [&]<bool Whole>(int64_t c, int count) __attribute__((always_inline)) {
              maximum_of<S, M, Rows, Columns, Whole>(outputs.window, inputs + input + c, to + output + c,
                                                     places ? places + output + c : nullptr, first, count);
            });
      });
}

/// Outputs of 2×2 windows side by side, several in a vector, as long as whole vectors may be read and written. Returns
/// the first output that is left.
template <typename S, typename M>
int64_t paired_maxima(const PoolingArguments& a, const Outputs& outputs, const OutputLanes& lane, M* places) {
  constexpr int count = Lane<float>::count;
  constexpr bool placed = !__is_same(M, NoPlace), indices = __is_same(M, int64_t);
  const int64_t channels = a.channels, down = outputs.window.stride[1];
  const int64_t last_input = a.batch * volume(a.input_size) * channels - down - 2 * count;
  const int64_t last_output = outputs.output_end + ceil_divide(channels, count) * count - count;
  const Places right = lane.first + static_cast<int32_t>(channels);
  const auto label = [&](int h, int x) {
    return static_cast<int32_t>(h * outputs.window.label_stride[1] + x * outputs.window.label_stride[2]);
  };
  int64_t ow = outputs.begin;
  for (; ow + lane.windows <= outputs.end; ow += lane.windows) {
    const int64_t first = outputs.line + a.begin[2][ow];
    const int64_t input = outputs.input + first * channels, output = outputs.output + ow * channels;
    if (input > last_input || output > last_output) break;
    const S* from = static_cast<const S*>(a.input) + input;
    const auto row = [&](const S* at, Vector<float>& l, Vector<float>& r) __attribute__((always_inline)) {
      const auto low = take<Values<float>, count, true>(at, count),
                 high = take<Values<float>, count, true>(at + count, count);
      l = permuted(low, high, lane.first), r = permuted(low, high, right);
    };
    Vector<float> tap[4];
    row(from, tap[0], tap[1]);
    row(from + down, tap[2], tap[3]);
    // Those with NaN are left to the general way.
    if (any_nan(tap[0], tap[1]) | any_nan(tap[2], tap[3])) break;
    Vector<float> best = tap[0];
    Places place{};
    if constexpr (indices) place = lane.pixel + static_cast<int32_t>(first);
    Places best_place = place;
#pragma GCC unroll 4
    for (int t = 1; t < 4; ++t) {
      const auto more = tap[t] > best;
      best = more ? tap[t] : best;
      if constexpr (placed) best_place = more ? place + label(t / 2, t % 2) : best_place;
    }
    put<count, true>(static_cast<S*>(a.output) + output, best, count);
    if constexpr (placed) put<count, true>(places + output, best_place, count);
  }
  return ow;
}

template <typename S>
S lowest() {
  return static_cast<S>(-__builtin_inf());
}
template <>
BFloat16 lowest<BFloat16>() {
  return {0xff80};
}
template <>
int64_t lowest<int64_t>() {
  return INT64_MIN;
}

template <typename S, typename M>
void max_pool_of(const PoolingArguments& a, M* places) {
  constexpr bool pairs = permutes_lanes && __is_same(Compute<S>, float);
  OutputLanes lane;
  if (pairs && windows_tile(a, 2)) lane = OutputLanes(a.channels, 2);
  for_each_run(a, a.output_size, [&](int64_t begin, int64_t end) {
    for_each_outputs(a, Lane<Compute<S>>::count, begin, end, [&](const Outputs& o) {
      const int64_t(&count)[3] = o.window.count;
      if (o.window.taps() == 0) {
        for (int64_t i = o.output + o.begin * a.channels; i < o.output + o.end * a.channels; ++i) {
          static_cast<S*>(a.output)[i] = lowest<S>();
          if constexpr (__is_same(M, uint8_t)) places[i] = kernels::no_tap;
          if constexpr (__is_same(M, int64_t)) places[i] = -1;
        }
      } else if (count[0] == 1 && count[1] == 2 && count[2] == 2) {
        Outputs left = o;
        do {
          if constexpr (pairs)
            if (lane.windows > 0) {
              left.begin = paired_maxima<S>(a, left, lane, places);
              left.end = min_of(left.begin + lane.windows, o.end);
            }
          maxima<S, M, 2, 2>(a, left, places);
          left.begin = left.end, left.end = o.end;
        } while (left.begin < left.end);
      } else if (count[0] == 1 && count[1] == 3 && count[2] == 3) {
        maxima<S, M, 3, 3>(a, o, places);
      } else {
        maxima<S, M, 0, 0>(a, o, places);
      }
    });
  });
}

template <typename S>
void max_pool_of(const PoolingArguments& a) {
  if (a.indices)
    max_pool_of<S>(a, a.indices);
  else if (a.offsets)
    max_pool_of<S>(a, a.offsets);
  else
    max_pool_of<S>(a, static_cast<NoPlace*>(nullptr));
}

// -- gather ----------------------------------------------------------------------------------------------------------

template <typename S, typename M>
void max_pool_gather_of(const PoolingArguments& a, const M* places) {
  using T = Compute<S>;
  constexpr int lane_count = Lane<T>::count;
  using Label = typename LabelOf<T>::Type;
  for_each_run(a, a.output_size, [&](int64_t begin, int64_t end) {
    for_each_outputs(a, lane_count, begin, end, [&](const Outputs& o) {
      for_each_output(a, o, [&](int64_t first, int64_t input, int64_t output, bool whole, int64_t) {
        for_each_vector<lane_count>(a.channels, whole, [&]<bool Whole>(int64_t c, int count) {
          const S* from = static_cast<const S*>(a.input) + input + c;
          const Labels<T> place = take<Labels<T>, lane_count, Whole>(places + output + c, count);
          const Label base = static_cast<Label>(__is_same(M, int64_t) ? first : 0);
          Values<T> result{};
          for_each_tap<0, 0>(o.window, [&](int64_t offset, int64_t number) {
            const Values<T> x = take<Values<T>, lane_count, Whole>(from + offset, count);
            result = place == base + static_cast<Label>(number) ? x : result;
          });
          put<lane_count, Whole>(static_cast<S*>(a.output) + output + c, result, count);
        });
      });
    });
  });
}

// -- averages --------------------------------------------------------------------------------------------------------

/// `Vectors` vectors of sums, held in double: large windows (global pooling) must not lose digits.
template <typename S, int Vectors, bool Whole>
PYCNN_INLINE void average_of(const Window& window, const S* input, S* output, double divisor, int count) {
  constexpr int lane_count = Lane<double>::count;
  Values<double> sums[Vectors] = {};
  for_each_tap<0, 0>(
      window, [&](int64_t offset, int64_t) __attribute__((always_inline)) {
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v)
          sums[v] += take<Values<double>, lane_count, Whole>(input + offset + v * lane_count, count);
      });
  // float64 has no digits to spare for the rounding of a factor.
  const double factor = 1 / divisor;
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v)
    put<lane_count, Whole>(output + v * lane_count, sizeof(S) == 8 ? sums[v] / divisor : sums[v] * factor, count);
}

template <typename S>
void average_pool_of(const PoolingArguments& a) {
  constexpr int lane_count = Lane<double>::count, block = 8;
  for_each_run(a, a.output_size, [&](int64_t begin, int64_t end) {
    for_each_outputs(a, lane_count, begin, end, [&](const Outputs& o) {
      const int64_t row_divisor = a.divisor[0][o.od] * a.divisor[1][o.oh];
      for_each_output(
          a, o, [&](int64_t, int64_t from, int64_t to, bool whole, int64_t ow) __attribute__((always_inline)) {
            const auto divisor = static_cast<double>(row_divisor * a.divisor[2][ow]);
            const S* input = static_cast<const S*>(a.input) + from;
            S* output = static_cast<S*>(a.output) + to;
            int64_t done = 0;
            for (; done + block * lane_count <= a.channels; done += block * lane_count)
              average_of<S, block, true>(o.window, input + done, output + done, divisor, lane_count);
            for_each_vector<lane_count>(
                a.channels - done, whole, [&]<bool Whole>(int64_t c, int count) __attribute__((always_inline)) {
                  average_of<S, 1, Whole>(o.window, input + done + c, output + done + c, divisor, count);
                });
          });
    });
  });
}

// -- backward --------------------------------------------------------------------------------------------------------

/// Whether the input at `at` is a tap of output o's window, and which.
PYCNN_INLINE bool sees(const PoolingArguments& a, int d, int64_t at, int64_t o, int64_t& tap) {
  tap = at - a.begin[d][o];
  if (tap < 0 || at >= a.end[d][o]) return false;
  if (a.step[d] == 1) return true;
  const int64_t distance = tap;
  tap /= a.step[d];
  return distance == tap * a.step[d];
}

/// A window that sees an input: the output's pixel, which tap it is, and its share.
struct SeenWindow {
  int64_t output, label, divisor;
};

/// Whether the windows of the last dimension lie side by side, without gap or overlap.
bool columns_tile(const PoolingArguments& a) {
  if (a.step[2] != 1 || a.begin[2][0] != 0) return false;
  for (int64_t o = 1; o < a.output_size[2]; ++o)
    if (a.begin[2][o] != a.end[2][o - 1]) return false;
  return true;
}

/// The input gradient: sums over the windows that see an element, in order, of Term::of(window, element, lanes in use),
/// which is selected by tap with Term::at.
template <typename S, typename Term>
class Backward {
  using T = Compute<S>;

 public:
  Backward(const PoolingArguments& a, const Term& term) : a_(a), term_(term), tiled_(columns_tile(a)) {
    if constexpr (Term::spreads) {
      const int64_t width = a.output_size[2] > 0 ? a.end[2][0] - a.begin[2][0] : 0;
      if (tiled_ && windows_tile(a, width)) lane_ = InputLanes(a.channels, width);
    }
  }

  void run() const {
    for_each_run(a_, a_.input_size, [&](int64_t begin, int64_t end) {
      const int64_t height = a_.input_size[1], depth = a_.input_size[0], past = reach();
      const int64_t last_input = end * a_.input_size[2] * a_.channels - past;
      for (int64_t row = begin; row < end; ++row) run_row(row, row % height, row / height % depth, last_input);
    });
  }

 private:
  static constexpr int lane_count = Lane<T>::count;
  static constexpr int seen_rows = kernels::pooling_rows_at_once, seen_windows = kernels::pooling_windows_at_once;

  /// What the vectors of a pixel take, in elements.
  int64_t reach() const { return ceil_divide(a_.channels, lane_count) * lane_count; }

  void run_row(int64_t row, int64_t h, int64_t d, int64_t last_input) const {
    const int64_t outputs = row / (a_.input_size[0] * a_.input_size[1]) * volume(a_.output_size);
    SeenWindow rows[seen_rows];
    int count = 0;
    bool first = true;
    for (int64_t od = a_.seen_begin[0][d]; od < a_.seen_end[0][d]; ++od)
      for (int64_t oh = a_.seen_begin[1][h]; oh < a_.seen_end[1][h]; ++oh) {
        int64_t tap[2];
        if (!sees(a_, 0, d, od, tap[0]) || !sees(a_, 1, h, oh, tap[1])) continue;
        if (count == seen_rows) {
          sum_row(row, rows, count, first, last_input);
          count = 0;
          first = false;
        }
        rows[count++] = {outputs + (od * a_.output_size[1] + oh) * a_.output_size[2],
                         (tap[0] * a_.taps[1] + tap[1]) * a_.taps[2], a_.divisor[0][od] * a_.divisor[1][oh]};
      }
    if (first && count == 1 && tiled_)
      spread_row(row, rows[0], last_input);
    else
      sum_row(row, rows, count, first, last_input);
  }

  /// Index within D×H×W of the first pixel of a row.
  int64_t index_of(int64_t row) const { return row % (a_.input_size[0] * a_.input_size[1]) * a_.input_size[2]; }
  /// Whether the vectors of these pixels may reach past the last channel.
  bool whole_output(int64_t pixel) const {
    return pixel * a_.channels <= a_.batch * volume(a_.output_size) * a_.channels - reach();
  }

  /// One window each: an output's gradient goes to its taps in this row.
  void spread_row(int64_t row, const SeenWindow& seen, int64_t last_input) const {
    const int64_t channels = a_.channels, width = a_.input_size[2], index = index_of(row);
    S* line = static_cast<S*>(a_.input) + row * width * channels;
    int64_t w = 0, first = 0;
    if constexpr (Term::spreads) {
      const int64_t windows = lane_.windows, last_output = (a_.batch * volume(a_.output_size)) * channels - reach();
      const int64_t pixels = windows > 0 ? windows * a_.end[2][0] : 0;
      int64_t groups = windows > 0 ? a_.output_size[2] / windows : 0;
      // Whole vectors are read and written.
      while (groups > 0 && ((row * width + (groups - 1) * pixels) * channels > last_input ||
                            (seen.output + (groups - 1) * windows) * channels > last_output))
        --groups;
      term_.spread(line, seen.output * channels, groups, channels, pixels, seen.label, index, lane_);
      w = groups * pixels, first = groups * windows;
    }
    for (int64_t o = first; o < a_.output_size[2]; ++o) {
      const int64_t begin = w, end = a_.end[2][o], output = seen.output + o;
      const bool whole = (row * width + end - 1) * channels <= last_input && whole_output(output);
      const int64_t divisor = seen.divisor * a_.divisor[2][o];
      if (channels <= lane_count) {
        for_each_vector<lane_count>(
            channels, whole, [&]<bool Whole>(int64_t, int used) __attribute__((always_inline)) {
              const auto part = term_.template of<Whole>(output * channels, divisor, used);
              for (int64_t x = begin; x < end; ++x)
                put<lane_count, Whole>(line + x * channels, term_.at(part, seen.label + x - begin, index + x), used);
            });
      } else {
        for (int64_t x = begin; x < end; ++x)
          for_each_vector<lane_count>(
              channels, whole, [&]<bool Whole>(int64_t c, int used) __attribute__((always_inline)) {
                const auto part = term_.template of<Whole>(output * channels + c, divisor, used);
                put<lane_count, Whole>(line + x * channels + c, term_.at(part, seen.label + x - begin, index + x),
                                       used);
              });
      }
      w = end;
    }
    for (int64_t i = w * channels; i < width * channels; ++i) line[i] = S{};
  }

  /// Sums over these rows of outputs; continues earlier sums unless they are the first.
  void sum_row(int64_t row, const SeenWindow* rows, int count, bool first, int64_t last_input) const {
    const int64_t width = a_.input_size[2], index = index_of(row);
    SeenWindow windows[seen_windows];
    for (int64_t w = 0; w < width; ++w) {
      const int64_t pixel = row * width + w;
      const bool whole = first && pixel * a_.channels <= last_input;
      int held = 0;
      bool begins = first;
      for (int r = 0; r < count; ++r)
        for (int64_t o = a_.seen_begin[2][w]; o < a_.seen_end[2][w]; ++o) {
          int64_t tap;
          if (!sees(a_, 2, w, o, tap)) continue;
          if (held == seen_windows) {
            sum_pixel(pixel, windows, held, begins, whole, index + w);
            held = 0;
            begins = false;
          }
          windows[held++] = {rows[r].output + o, rows[r].label + tap, rows[r].divisor * a_.divisor[2][o]};
        }
      sum_pixel(pixel, windows, held, begins, whole, index + w);
    }
  }

  void sum_pixel(int64_t pixel, const SeenWindow* windows, int count, bool first, bool whole, int64_t index) const {
    const int64_t channels = a_.channels;
    S* to = static_cast<S*>(a_.input) + pixel * channels;
    whole = whole && (count == 0 || whole_output(windows[count - 1].output));
    for_each_vector<lane_count>(
        channels, whole, [&]<bool Whole>(int64_t c, int used) __attribute__((always_inline)) {
          Values<T> sum{};
          if (!first) sum = take<Values<T>, lane_count, Whole>(to + c, used);
          for (const SeenWindow* window = windows; window != windows + count; ++window)
            sum += term_.at(term_.template of<Whole>(window->output * channels + c, window->divisor, used),
                            window->label, index);
          put<lane_count, Whole>(to + c, sum, used);
        });
  }

  const PoolingArguments& a_;
  const Term term_;
  const bool tiled_;
  InputLanes lane_;  ///< for what spreads
};

/// An output's gradient and where it goes.
template <typename S, typename M>
struct MaximumTerm {
  using T = Compute<S>;
  struct Part {
    Values<T> gradient;
    Labels<T> place;
  };
  static constexpr bool spreads = permutes_lanes && __is_same(T, float);
  const S* gradients;
  const M* places;

  /// Vectors of gradients from `from` on, each in the lanes of its taps of a row; `pixels` of the input each.
  void spread(S* to, int64_t from, int64_t vectors, int64_t channels, int64_t pixels, int64_t label, int64_t index,
              const InputLanes& lane) const {
    constexpr int count = Lane<float>::count;
    constexpr bool indices = __is_same(M, int64_t);
    const Places output = lane.output;
    Places here = indices ? lane.pixel + static_cast<int32_t>(index) : lane.tap + static_cast<int32_t>(label);
    const S* g = gradients + from;
    const M* p = places + from;
    for (int64_t i = 0; i < vectors; ++i) {
      const auto place = reinterpret_cast<Vector<float>>(take<Places, count, true>(p, count));
      const Vector<float> gradient = permuted(take<Vector<float>, count, true>(g, count), output);
      put<count, true>(to, reinterpret_cast<Places>(permuted(place, output)) == here ? gradient : Vector<float>{},
                       count);
      to += pixels * channels, g += lane.windows * channels, p += lane.windows * channels;
      if constexpr (indices) here += static_cast<int32_t>(pixels);
    }
  }
  template <bool Whole>
  __attribute__((always_inline)) Part of(int64_t from, int64_t, int count) const {
    return {take<Values<T>, Lane<T>::count, Whole>(gradients + from, count),
            take<Labels<T>, Lane<T>::count, Whole>(places + from, count)};
  }
  __attribute__((always_inline)) Values<T> at(const Part& part, int64_t label, int64_t index) const {
    using Label = typename LabelOf<T>::Type;
    return part.place == static_cast<Label>(__is_same(M, int64_t) ? index : label) ? part.gradient : Values<T>{};
  }
};

template <typename S>
struct AverageTerm {
  using T = Compute<S>;
  static constexpr bool spreads = false;
  const S* gradients;

  template <bool Whole>
  __attribute__((always_inline)) Values<T> of(int64_t from, int64_t divisor, int count) const {
    return take<Values<T>, Lane<T>::count, Whole>(gradients + from, count) * (T(1) / static_cast<T>(divisor));
  }
  __attribute__((always_inline)) Values<T> at(const Values<T>& share, int64_t, int64_t) const { return share; }
};

template <typename S, typename M>
void max_pool_backward_of(const PoolingArguments& a, const M* places) {
  const MaximumTerm<S, M> term{static_cast<const S*>(a.output), places};
  Backward<S, MaximumTerm<S, M>>(a, term).run();
}

/// Calls function(S{}) with the elements of memory, floating ones.
template <typename Function>
void with_elements(DType dtype, const Function& function) {
  if (dtype == DType::BFloat16)
    function(BFloat16{});
  else if (dtype == DType::Float32)
    function(float{});
  else
    function(double{});
}

}  // namespace

void max_pool(const PoolingArguments& a) {
  if (a.dtype == DType::Int64) return max_pool_of<int64_t>(a);
  with_elements(a.dtype, [&]<typename S>(S) { max_pool_of<S>(a); });
}

void max_pool_backward(const PoolingArguments& a) {
  with_elements(a.dtype, [&]<typename S>(S) {
    a.indices ? max_pool_backward_of<S>(a, a.indices) : max_pool_backward_of<S>(a, a.offsets);
  });
}

void max_pool_gather(const PoolingArguments& a) {
  with_elements(a.dtype, [&]<typename S>(S) {
    a.indices ? max_pool_gather_of<S>(a, a.indices) : max_pool_gather_of<S>(a, a.offsets);
  });
}

void average_pool(const PoolingArguments& a) {
  with_elements(a.dtype, [&]<typename S>(S) { average_pool_of<S>(a); });
}

void average_pool_backward(const PoolingArguments& a) {
  with_elements(a.dtype,
                [&]<typename S>(S) { Backward<S, AverageTerm<S>>(a, {static_cast<const S*>(a.output)}).run(); });
}

}  // namespace pycnn::cpu::PYCNN_ISA
