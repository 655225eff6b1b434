// Sorting, selection and search in dense lines. Sorting orders the places of elements by a key: chunks in shared memory
// by a bitonic network (Batcher 1968), then runs are merged two by two, each block finding where its part of the result
// begins and ends in both (merge path: Odeh et al. 2012). The place decides between equal keys, so that it is stable.
#include <type_traits>
#include <utility>

#include "cuda/kernels.h"
#include "cuda/lanes.h"

namespace pycnn::cuda {
namespace {

using kernels::SearchArguments;
using kernels::SelectArguments;
using kernels::SortArguments;

// -- keys -------------------------------------------------------------------------------------------------------------

/// Unsigned integers in the order of the elements: NaN is the largest, -0 equals 0.
template <typename T>
using Key = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <typename T>
__device__ inline Key<T> key_of(T x, bool descending) {
  constexpr Key<T> sign = Key<T>{1} << (8 * sizeof(T) - 1);
  Key<T> key;
  if constexpr (std::is_integral_v<T>) {
    key = static_cast<Key<T>>(x) ^ sign;
  } else {
    key = __builtin_bit_cast(Key<T>, x + T(0));  // of -0 it is 0
    key = x != x ? ~Key<T>{0} : (key & sign) != 0 ? ~key : key | sign;
  }
  return descending ? ~key : key;
}

/// What a sort needs of its lines; places are counted from a line's beginning.
struct Lines {
  const void* input;  ///< (lines, count)
  int64_t lines, count;
  bool descending;
};

// -- chunks -----------------------------------------------------------------------------------------------------------

constexpr int chunk_elements = 1024;

/// A block sorts chunk_elements of several pieces of `piece` (a power of two) each: short lines, or parts of long ones.
/// places: (lines, count)
template <typename T>
__global__ void __launch_bounds__(chunk_elements / 2)
    sort_chunks(const __grid_constant__ Lines lines, int piece, int64_t pieces_of_line, int64_t* places) {
  auto* const keys = shared_memory<Key<T>>();  // (chunk_elements)
  auto* const own = reinterpret_cast<int*>(keys + chunk_elements);
  const int64_t first_piece = static_cast<int64_t>(blockIdx.x) * (chunk_elements / piece);
  // Where an element of the block lies: its line, and its place there.
  const auto locate = [&](int element, int64_t& line, int64_t& place) {
    const int64_t number = first_piece + element / piece;
    line = number / pieces_of_line;
    place = (number - line * pieces_of_line) * piece + element % piece;
    return line < lines.lines && place < lines.count;
  };
  for (int element = static_cast<int>(threadIdx.x); element < chunk_elements; element += chunk_elements / 2) {
    int64_t line, place;
    const bool exists = locate(element, line, place);
    own[element] = element % piece;
    // What does not exist comes last: its key is no less than others', and its place is behind theirs.
    keys[element] =
        exists ? key_of(static_cast<const T*>(lines.input)[line * lines.count + place], lines.descending) : ~Key<T>{0};
  }
  for (int run = 2; run <= piece; run *= 2)
    for (int distance = run / 2; distance > 0; distance /= 2) {
      __syncthreads();
      const int pair = static_cast<int>(threadIdx.x);
      const int low = pair / distance * 2 * distance + pair % distance, high = low + distance;
      const bool ascending = (low % piece & run) == 0;
      const Key<T> low_key = keys[low], high_key = keys[high];
      const int low_place = own[low], high_place = own[high];
      const bool in_order = low_key < high_key || (low_key == high_key && low_place < high_place);
      if (in_order != ascending) {
        keys[low] = high_key;
        keys[high] = low_key;
        own[low] = high_place;
        own[high] = low_place;
      }
    }
  __syncthreads();
  for (int element = static_cast<int>(threadIdx.x); element < chunk_elements; element += chunk_elements / 2) {
    int64_t line, place;
    if (locate(element, line, place)) places[line * lines.count + place] = place - element % piece + own[element];
  }
}

// -- merging ----------------------------------------------------------------------------------------------------------

constexpr int merged_by_thread = chunk_elements / block_threads;

/// How many of the first `diagonal` merged elements come from the left run: of equals the left ones come first.
template <typename Left, typename Right>
__device__ inline int64_t split_at(int64_t diagonal, int64_t left_count, int64_t right_count, const Left& left,
                                   const Right& right) {
  int64_t low = diagonal > right_count ? diagonal - right_count : 0,
          high = diagonal < left_count ? diagonal : left_count;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (left(middle) <= right(diagonal - 1 - middle))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Merges runs of `width` (a multiple of chunk_elements); a block makes chunk_elements of the result.
/// from, to: (lines, count)
template <typename T>
__global__ void __launch_bounds__(block_threads)
    merge_runs(const __grid_constant__ Lines lines, int64_t width, int64_t chunks, const int64_t* from, int64_t* to) {
  auto* const keys = shared_memory<Key<T>>();                              // (chunk_elements), left, then right
  auto* const places = reinterpret_cast<int64_t*>(keys + chunk_elements);  // likewise
  auto* const splits = places + chunk_elements;                            // at the block's begin and end
  const int64_t line = blockIdx.x / chunks, begin = blockIdx.x % chunks * chunk_elements;
  const T* const x = static_cast<const T*>(lines.input) + line * lines.count;
  from += line * lines.count;
  to += line * lines.count;
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  const int64_t left = begin / (2 * width) * (2 * width), right = least(left + width, lines.count);
  const int64_t end = least(left + 2 * width, lines.count);
  const int count = static_cast<int>(least(chunk_elements, end - begin));
  if (threadIdx.x < 2)
    splits[threadIdx.x] = split_at(
        begin - left + static_cast<int64_t>(threadIdx.x) * count, right - left, end - right,
        [&](int64_t i) { return key_of(x[from[left + i]], lines.descending); },
        [&](int64_t i) { return key_of(x[from[right + i]], lines.descending); });
  __syncthreads();
  const int64_t first_left = left + splits[0], first_right = right + (begin - left - splits[0]);
  const int left_count = static_cast<int>(splits[1] - splits[0]), right_count = count - left_count;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += block_threads) {
    const int64_t place = i < left_count ? from[first_left + i] : from[first_right + i - left_count];
    places[i] = place;
    keys[i] = key_of(x[place], lines.descending);
  }
  __syncthreads();
  const int diagonal = static_cast<int>(threadIdx.x) * merged_by_thread;
  if (diagonal >= count) return;
  int i = static_cast<int>(split_at(
      diagonal, left_count, right_count, [&](int64_t at) { return keys[at]; },
      [&](int64_t at) { return keys[left_count + at]; }));
  int j = left_count + diagonal - i;
  for (int k = diagonal; k < diagonal + merged_by_thread && k < count; ++k) {
    const bool take_left = j >= count || (i < left_count && keys[i] <= keys[j]);
    to[begin + k] = places[take_left ? i++ : j++];
  }
}

/// places, scratch: (lines, count)
template <typename T>
void sort_lines(const Lines& lines, int64_t* places, int64_t* scratch) {
  const int piece = power_of_two_above(lines.count, chunk_elements);
  const int64_t chunks = divide_up(lines.count, piece);
  int passes = 0;
  for (int64_t width = piece; width < lines.count; width *= 2) ++passes;
  int64_t *from = passes % 2 == 0 ? places : scratch, *to = passes % 2 == 0 ? scratch : places;
  launch("sort", sort_chunks<T>,
         {blocks_for(lines.lines * chunks, chunk_elements / piece), dim3(chunk_elements / 2),
          chunk_elements * (sizeof(Key<T>) + sizeof(int))},
         lines, piece, chunks, from);
  for (int64_t width = piece; width < lines.count; width *= 2) {
    launch("sort", merge_runs<T>,
           {blocks_for(lines.lines * chunks, 1), dim3(block_threads),
            chunk_elements * (sizeof(Key<T>) + sizeof(int64_t)) + 2 * sizeof(int64_t)},
           lines, width, chunks, static_cast<const int64_t*>(from), to);
    std::swap(from, to);
  }
}

// -- selection --------------------------------------------------------------------------------------------------------

/// sorted: (lines, count); indices: (lines, selected), the ranks from `first` on
__global__ void __launch_bounds__(block_threads)
    copy_ranks(const int64_t* sorted, int64_t* indices, int64_t lines, int64_t count, int64_t first, int64_t selected) {
  const int64_t i = thread_number();
  if (i < lines * selected) indices[i] = sorted[i / selected * count + first + i % selected];
}

// -- search -----------------------------------------------------------------------------------------------------------

/// boundaries: (lines, count), or (count) if shared; values, places: (lines, values_per_line)
template <typename T>
__global__ void __launch_bounds__(block_threads) search_lines(const __grid_constant__ SearchArguments a) {
  const int64_t i = thread_number();
  if (i >= a.lines * a.values_per_line) return;
  const T* const boundaries = static_cast<const T*>(a.boundaries) + (a.shared ? 0 : i / a.values_per_line * a.count);
  const T value = static_cast<const T*>(a.values)[i];
  // What does not compare (NaN) is behind all boundaries.
  int64_t place = 0;
  for (int64_t left = a.count; left > 0;) {
    const int64_t half = left / 2;
    const T middle = boundaries[place + half];
    const bool behind = a.right ? !(middle > value) : !(middle >= value);
    place = behind ? place + half + 1 : place;
    left = behind ? left - half - 1 : half;
  }
  a.places[i] = place;
}

/// Calls function(T{}) with the type of the elements.
template <typename Function>
void with_element_type(DType dtype, const Function& function) {
  if (dtype == DType::Float32)
    function(float{});
  else if (dtype == DType::Float64)
    function(double{});
  else
    function(int64_t{});
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

void sort(const SortArguments& a) {
  if (a.lines * a.count == 0) return;
  with_element_type(a.dtype, [&](auto element) {
    sort_lines<decltype(element)>({a.input, a.lines, a.count, a.descending}, a.indices, a.workspace);
  });
}

void select(const SelectArguments& a) {
  if (a.lines * a.count == 0) return;
  const bool last = a.kind == kernels::SelectKind::Last;
  auto* const sorted = static_cast<int64_t*>(a.workspace);
  with_element_type(a.dtype, [&](auto element) {
    sort_lines<decltype(element)>({a.input, a.lines, a.count, a.largest && !last}, sorted, sorted + a.lines * a.count);
  });
  const int64_t selected = last ? 1 : a.selected;
  launch("select", copy_ranks, {blocks_for(a.lines * selected), dim3(block_threads)},
         static_cast<const int64_t*>(sorted), a.indices, a.lines, a.count, last ? a.selected - 1 : int64_t{0},
         selected);
}

void search(const SearchArguments& a) {
  with_element_type(a.dtype, [&](auto element) {
    launch("search", search_lines<decltype(element)>, {blocks_for(a.lines * a.values_per_line), dim3(block_threads)},
           a);
  });
}

}  // namespace pycnn::cuda
