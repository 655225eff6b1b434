// The IDX format of MNIST: two zero bytes, element type, number of dimensions, sizes and elements in big-endian order.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/node.h"
#include "io/file.h"
#include "pycnn/io.h"
#include "tensor/storage.h"

namespace pycnn::io {

namespace {

struct ElementType {
  uint8_t code;
  DType dtype;
};
constexpr std::array<ElementType, 6> element_types{{{0x08, DType::UInt8},
                                                    {0x09, DType::Int8},
                                                    {0x0B, DType::Int16},
                                                    {0x0C, DType::Int32},
                                                    {0x0D, DType::Float32},
                                                    {0x0E, DType::Float64}}};

}  // namespace

Tensor load_idx(const std::string& path) {
  const InputFile file(path);
  const auto refuse = [&](const auto&... parts) { fail<ValueError>(path, ": not a valid IDX file: ", parts...); };

  std::array<uint8_t, 4> magic{};
  if (file.size() < magic.size()) refuse(file.size(), " bytes are too few for a header");
  file.read(magic.data(), magic.size(), 0);
  if (magic[0] == 0x1F && magic[1] == 0x8B) refuse("it is compressed with gzip; decompress it first");
  if (magic[0] != 0 || magic[1] != 0) refuse("it does not start with two zero bytes");
  const auto* type = std::ranges::find(element_types, magic[2], &ElementType::code);
  if (type == element_types.end()) refuse("unknown element type ", static_cast<int>(magic[2]));
  const int rank = magic[3];
  if (rank < 1 || rank > max_dimensions) refuse(rank, " dimensions, expected 1 to ", max_dimensions);

  const uint64_t data_begin = magic.size() + 4 * static_cast<uint64_t>(rank);
  if (file.size() < data_begin) refuse("the header is truncated");
  std::array<uint8_t, 4 * max_dimensions> sizes{};
  file.read(sizes.data(), 4 * static_cast<size_t>(rank), magic.size());
  const uint64_t element = size_of(type->dtype), data_bytes = file.size() - data_begin;
  Shape shape;
  uint64_t bytes = element;
  for (size_t d = 0; d < static_cast<size_t>(rank); ++d) {
    uint64_t size = 0;
    for (size_t i = 0; i < 4; ++i) size = size << 8 | sizes[4 * d + i];
    shape.push_back(static_cast<int64_t>(size));
    // Zero stays zero; otherwise a product beyond int64 is beyond any file.
    if (size != 0 && bytes > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / size)
      refuse("shape ", shape, " is too large");
    bytes *= size;
  }
  if (bytes != data_bytes)
    refuse("shape ", shape, " of ", type->dtype, " takes ", bytes, " bytes, the file holds ", data_bytes);

  StoragePointer storage = allocate_storage(bytes);
  auto* data = static_cast<uint8_t*>(storage->data());
  file.read(data, bytes, data_begin);
  if (element > 1)
    for (uint64_t at = 0; at < bytes; at += element) std::reverse(data + at, data + at + element);
  graph::Buffer buffer{std::move(storage), 0, contiguous_strides(shape)};
  return Tensor(graph::make_leaf(shape, type->dtype, std::move(buffer)));
}

}  // namespace pycnn::io
