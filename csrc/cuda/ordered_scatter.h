// Combining sources into the elements of a table that they may share, in the order of the sources and without atomics:
// the same bits in every run. A block owns a tile of the table, reads through all indices, lists those in its tile in
// order, brings their values to shared memory, and there every thread combines what belongs to its own elements.
//
// A Source says what there is, by these members: Element; lines (tables that have sources of their own), count (sources
// of a line), width (columns that share an index), table_size; starts_empty (else elements of the table are combined
// with what they were); combine(to, value); and line(number), which gives index(i) (-1: none), value(i, column) and
// entry(element, column), a pointer.
#pragma once

#include "cuda/lanes.h"

namespace pycnn::cuda {

/// The blocks of a scatter: (line, block of columns, tile).
struct ScatterTiles {
  int64_t column_blocks, tiles;
  int columns;        ///< of a block, a power of two
  int tile_elements;  ///< of the table
};

inline constexpr int list_capacity = 2 * block_threads;

template <typename Element>
struct ScatterMemory {
  Element* tile;     ///< (tile_elements, columns)
  Element* staged;   ///< (block_threads, columns)
  int64_t* sources;  ///< (list_capacity)
  int* elements;     ///< (list_capacity), within the tile
  int* found;        ///< by each warp

  static constexpr size_t aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }
  static size_t bytes(const ScatterTiles& tiles) {
    return aligned(sizeof(Element) * static_cast<size_t>(tiles.tile_elements) * static_cast<size_t>(tiles.columns)) +
           aligned(sizeof(Element) * block_threads * static_cast<size_t>(tiles.columns)) +
           list_capacity * (sizeof(int64_t) + sizeof(int)) + block_threads / warp_size * sizeof(int);
  }
  __device__ explicit ScatterMemory(const ScatterTiles& tiles) {
    auto* at = shared_memory<unsigned char>();
    const auto take = [&](size_t bytes) {
      auto* const taken = at;
      at += (bytes + 15) / 16 * 16;
      return taken;
    };
    tile = reinterpret_cast<Element*>(take(sizeof(Element) * static_cast<size_t>(tiles.tile_elements * tiles.columns)));
    staged = reinterpret_cast<Element*>(take(sizeof(Element) * static_cast<size_t>(block_threads * tiles.columns)));
    sources = reinterpret_cast<int64_t*>(take(list_capacity * sizeof(int64_t)));
    elements = reinterpret_cast<int*>(take(list_capacity * sizeof(int)));
    found = reinterpret_cast<int*>(at);
  }
};

template <typename Source>
__global__ void __launch_bounds__(block_threads, 4)
    scatter_into_tiles(const __grid_constant__ Source source, const __grid_constant__ ScatterTiles tiles) {
  using Element = typename Source::Element;
  const ScatterMemory<Element> memory(tiles);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % warp_size, warp = thread / warp_size;
  const int columns = tiles.columns, own_column = thread % columns, owner = thread / columns;
  const int owners = block_threads / columns;
  const int64_t table = blockIdx.x / tiles.tiles, begin = blockIdx.x % tiles.tiles * tiles.tile_elements;
  const int64_t line_number = table / tiles.column_blocks;
  const int64_t first_column = (table - line_number * tiles.column_blocks) * columns;
  const auto line = source.line(line_number);
  const int64_t left = source.table_size - begin;
  const int size = left < tiles.tile_elements ? static_cast<int>(left) : tiles.tile_elements;
  bool loaded = false;
  // Every thread meets its own entries of the tile only, but for staging.
  const auto load_tile = [&] {
    for (int element = owner; element < size; element += owners) {
      Element entry{};
      if (!Source::starts_empty && first_column + own_column < source.width)
        entry = *line.entry(begin + element, first_column + own_column);
      memory.tile[element * columns + own_column] = entry;
    }
    loaded = true;
  };
  const auto combine_list = [&](int count) {
    if (!loaded) load_tile();
    for (int first = 0; first < count; first += block_threads) {
      const int part = count - first < block_threads ? count - first : block_threads;
      for (int entry = owner; entry < part; entry += owners)
        if (first_column + own_column < source.width)
          memory.staged[entry * columns + own_column] =
              line.value(memory.sources[first + entry], first_column + own_column);
      __syncthreads();
      if (first_column + own_column < source.width)
        for (int entry = 0; entry < part; ++entry) {
          const int element = memory.elements[first + entry];
          if (element % owners == owner)
            source.combine(memory.tile[element * columns + own_column], memory.staged[entry * columns + own_column]);
        }
      __syncthreads();
    }
  };
  int listed = 0;
  for (int64_t first = 0; first < source.count; first += block_threads) {
    const int64_t i = first + thread;
    const int64_t index = i < source.count ? line.index(i) - begin : -1;
    const bool mine = index >= 0 && index < size;
    const unsigned votes = __ballot_sync(~0U, mine);
    if (lane == 0) memory.found[warp] = __popc(votes);
    __syncthreads();
    int place = listed + __popc(votes & ((1U << lane) - 1));
    for (int other = 0; other < block_threads / warp_size; ++other) {
      const int found = memory.found[other];
      if (other < warp) place += found;
      listed += found;
    }
    if (mine) {
      memory.sources[place] = i;
      memory.elements[place] = static_cast<int>(index);
    }
    __syncthreads();
    if (listed > list_capacity - block_threads) {
      combine_list(listed);
      listed = 0;
    }
  }
  if (listed > 0) combine_list(listed);
  if (!loaded) {
    if (!Source::starts_empty) return;
    load_tile();
  }
  if (first_column + own_column < source.width)
    for (int element = owner; element < size; element += owners)
      *line.entry(begin + element, first_column + own_column) = memory.tile[element * columns + own_column];
}

/// A thread for each column of each line: where there are many of them, or few sources.
template <typename Source>
__global__ void __launch_bounds__(block_threads) scatter_one_by_one(const __grid_constant__ Source source) {
  const int64_t number = thread_number();
  if (number >= source.lines * source.width) return;
  const int64_t line_number = number / source.width, column = number - line_number * source.width;
  const auto line = source.line(line_number);
  for (int64_t i = 0; i < source.count; ++i) {
    const int64_t index = line.index(i);
    if (index >= 0) source.combine(*line.entry(index, column), line.value(i, column));
  }
}

template <typename Source>
ScatterTiles scatter_tiles(const Source& source) {
  constexpr int element_bytes = static_cast<int>(sizeof(typename Source::Element));
  constexpr int most_columns = element_bytes >= 2 ? 64 / element_bytes : warp_size;
  constexpr int tile_bytes = 24 << 10;
  constexpr int64_t enough_blocks = 528;
  ScatterTiles tiles;
  tiles.columns = power_of_two_above(source.width, most_columns);
  tiles.column_blocks = divide_up(source.width, tiles.columns);
  const int64_t wanted = divide_up(enough_blocks, source.lines * tiles.column_blocks);
  const int64_t most = tile_bytes / (element_bytes * tiles.columns), share = divide_up(source.table_size, wanted);
  tiles.tile_elements = static_cast<int>(share < most ? share : most);
  tiles.tiles = divide_up(source.table_size, tiles.tile_elements);
  return tiles;
}

/// `one_by_one`: every line's sources lie side by side with other lines', not with each other.
template <typename Source>
void ordered_scatter(const char* name, const Source& source, bool one_by_one) {
  constexpr int64_t few_sources = 32, some_sources = 4096, many_lines = 4096, many_columns = 1 << 17;
  const int64_t columns = source.lines * source.width;
  if (columns == 0 || (Source::starts_empty && source.table_size == 0)) return;
  // In an empty table no index is in range: those are looked at one by one as well.
  const bool serial = source.table_size == 0 || source.count <= few_sources ||
                      (one_by_one && source.lines >= many_lines) ||
                      (columns >= many_columns && source.count <= some_sources);
  if (serial && !Source::starts_empty) {
    launch(name, scatter_one_by_one<Source>, {blocks_for(columns), dim3(block_threads)}, source);
    return;
  }
  const ScatterTiles tiles = scatter_tiles(source);
  launch(name, scatter_into_tiles<Source>,
         {blocks_for(source.lines * tiles.column_blocks * tiles.tiles, 1), dim3(block_threads),
          ScatterMemory<typename Source::Element>::bytes(tiles)},
         source, tiles);
}

}  // namespace pycnn::cuda
