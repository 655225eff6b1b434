// The safetensors format: 8 bytes little-endian header length, a JSON header, the elements without gaps.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <vector>

#include "graph/node.h"
#include "io/file.h"
#include "io/json.h"
#include "pycnn/io.h"
#include "pycnn/ops.h"
#include "tensor/storage.h"

namespace pycnn::io {

namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian and read as they are");

// The limit of the reference implementation; it keeps a hostile length from allocating everything.
constexpr uint64_t max_header_bytes = 100'000'000;
constexpr const char* metadata_key = "__metadata__";

struct DTypeName {
  DType dtype;
  std::string_view name;
};
constexpr std::array<DTypeName, 10> dtype_names{{{DType::Float64, "F64"},
                                                 {DType::Float32, "F32"},
                                                 {DType::Float16, "F16"},
                                                 {DType::BFloat16, "BF16"},
                                                 {DType::Int64, "I64"},
                                                 {DType::Int32, "I32"},
                                                 {DType::Int16, "I16"},
                                                 {DType::Int8, "I8"},
                                                 {DType::UInt8, "U8"},
                                                 {DType::Bool, "BOOL"}}};

std::string_view file_name_of(DType dtype) { return std::ranges::find(dtype_names, dtype, &DTypeName::dtype)->name; }

struct Entry {
  std::string name;
  DType dtype = DType::Float32;
  Shape shape;
  uint64_t begin = 0, end = 0;  ///< within the data section
};

/// Reads and checks a header. Every complaint starts with the file and, where there is one, the tensor.
class HeaderReader {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}

  void read(std::string_view text, uint64_t data_bytes, std::map<std::string, std::string>& metadata,
            std::vector<Entry>& entries) {
    if (!text.starts_with('{')) refuse("the header does not start with '{'");
    json::Value header;
    try {
      header = json::parse(text);
    } catch (const ValueError& error) {
      refuse("the header is broken: ", error.what());
    }
    for (const auto& [name, value] : *header.as<json::Object>()) {
      if (name == metadata_key)
        read_metadata(value, metadata);
      else
        entries.push_back(read_entry(name, value));
    }
    check_coverage(entries, data_bytes);
  }

 private:
  template <typename... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail<ValueError>(path_, ": not a valid safetensors file: ", parts...);
  }

  void read_metadata(const json::Value& value, std::map<std::string, std::string>& metadata) const {
    const auto* members = value.as<json::Object>();
    if (members == nullptr) refuse(metadata_key, " is ", value.kind(), ", expected an object");
    for (const auto& [key, text] : *members) {
      if (text.as<std::string>() == nullptr)
        refuse(metadata_key, "'s ", json::quote(key), " is ", text.kind(), ", expected a string");
      metadata.emplace(key, *text.as<std::string>());
    }
  }

  uint64_t natural_number(const std::string& name, const char* what, const json::Value& value) const {
    const auto* number = value.as<int64_t>();
    if (number == nullptr)
      refuse("tensor ", json::quote(name), ": ", what, " has ", value.kind(), ", expected an integer");
    if (*number < 0) refuse("tensor ", json::quote(name), ": ", what, " has the negative entry ", *number);
    return static_cast<uint64_t>(*number);
  }

  const json::Array& array_of(const std::string& name, const char* what, const json::Value& value) const {
    const auto* elements = value.as<json::Array>();
    if (elements == nullptr)
      refuse("tensor ", json::quote(name), ": ", what, " is ", value.kind(), ", expected an array");
    return *elements;
  }

  Entry read_entry(const std::string& name, const json::Value& value) const {
    const auto* members = value.as<json::Object>();
    if (members == nullptr) refuse("tensor ", json::quote(name), " is ", value.kind(), ", expected an object");
    for (const auto& [key, ignored] : *members)
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse("tensor ", json::quote(name), " has an unknown member ", json::quote(key));
    for (const char* key : {"dtype", "shape", "data_offsets"})
      if (!members->contains(key)) refuse("tensor ", json::quote(name), " has no ", key);

    Entry entry;
    entry.name = name;
    const json::Value& dtype = members->at("dtype");
    const auto* text = dtype.as<std::string>();
    if (text == nullptr) refuse("tensor ", json::quote(name), ": dtype is ", dtype.kind(), ", expected a string");
    const auto* known = std::ranges::find(dtype_names, std::string_view(*text), &DTypeName::name);
    if (known == dtype_names.end()) refuse("tensor ", json::quote(name), ": unsupported dtype ", json::quote(*text));
    entry.dtype = known->dtype;

    const json::Array& sizes = array_of(name, "shape", members->at("shape"));
    if (sizes.size() > max_dimensions)
      refuse("tensor ", json::quote(name), " has ", sizes.size(), " dimensions, at most ", max_dimensions,
             " are supported");
    for (const json::Value& size : sizes)
      entry.shape.push_back(static_cast<int64_t>(natural_number(name, "shape", size)));

    const json::Array& offsets = array_of(name, "data_offsets", members->at("data_offsets"));
    if (offsets.size() != 2)
      refuse("tensor ", json::quote(name), ": data_offsets has ", offsets.size(), " entries, expected 2");
    entry.begin = natural_number(name, "data_offsets", offsets[0]);
    entry.end = natural_number(name, "data_offsets", offsets[1]);
    if (entry.end < entry.begin) refuse("tensor ", json::quote(name), ": data_offsets end before they begin");
    const std::optional<uint64_t> bytes = byte_count(entry);
    if (!bytes) refuse("tensor ", json::quote(name), ": shape ", entry.shape, " is too large");
    if (entry.end - entry.begin != *bytes)
      refuse("tensor ", json::quote(name), ": shape ", entry.shape, " of ", *text, " takes ", *bytes,
             " bytes, data_offsets span ", entry.end - entry.begin);
    return entry;
  }

  /// Bytes of a tensor, if that fits int64. Zero sizes count last, so that huge sizes beside them are still refused.
  static std::optional<uint64_t> byte_count(const Entry& entry) {
    constexpr auto limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    uint64_t bytes = size_of(entry.dtype);
    bool empty = false;
    for (int64_t size : entry.shape) {
      if (size == 0) {
        empty = true;
        continue;
      }
      if (bytes > limit / static_cast<uint64_t>(size)) return std::nullopt;
      bytes *= static_cast<uint64_t>(size);
    }
    return empty ? 0 : bytes;
  }

  void check_coverage(std::vector<Entry>& entries, uint64_t data_bytes) const {
    std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end < b.end : a.name < b.name;
    });
    uint64_t covered = 0;
    for (const Entry& entry : entries) {
      if (entry.end > data_bytes)
        refuse("tensor ", json::quote(entry.name), " ends at byte ", entry.end, " of ", data_bytes,
               " bytes of data; is the file truncated?");
      if (entry.begin < covered) refuse("tensor ", json::quote(entry.name), " overlaps another one");
      if (entry.begin > covered) refuse("bytes ", covered, " to ", entry.begin, " of the data belong to no tensor");
      covered = entry.end;
    }
    if (covered != data_bytes) refuse("bytes ", covered, " to ", data_bytes, " of the data belong to no tensor");
  }

  const std::string& path_;
};

/// Writes elements in row-major order, a block at a time where they are not contiguous.
class RowMajorWriter {
 public:
  RowMajorWriter(AtomicOutputFile& out, const Memory& memory)
      : out_(out), memory_(memory), element_(size_of(memory.dtype)) {}

  void write() {
    if (element_count(memory_.shape) == 0) return;
    contiguous_from_ = memory_.shape.size();
    contiguous_bytes_ = element_;
    while (contiguous_from_ > 0) {
      const int d = contiguous_from_ - 1;
      const auto stride = memory_.strides[d] * static_cast<int64_t>(element_);
      if (memory_.shape[d] != 1 && stride != static_cast<int64_t>(contiguous_bytes_)) break;
      contiguous_bytes_ *= static_cast<size_t>(memory_.shape[d]);
      contiguous_from_ = d;
    }
    walk(0, static_cast<const char*>(memory_.data));
    out_.write(block_.data(), block_.size());
  }

 private:
  static constexpr size_t block_bytes = size_t{1} << 20;

  void walk(int dimension, const char* at) {
    if (dimension == contiguous_from_) {
      emit(at);
      return;
    }
    const int64_t stride = memory_.strides[dimension] * static_cast<int64_t>(element_);
    for (int64_t i = 0; i < memory_.shape[dimension]; ++i) walk(dimension + 1, at + i * stride);
  }

  void emit(const char* at) {
    if (contiguous_bytes_ >= block_bytes) {
      out_.write(block_.data(), block_.size());
      block_.clear();
      out_.write(at, contiguous_bytes_);
      return;
    }
    if (block_.size() + contiguous_bytes_ > block_bytes) {
      out_.write(block_.data(), block_.size());
      block_.clear();
    }
    block_.insert(block_.end(), at, at + contiguous_bytes_);
  }

  AtomicOutputFile& out_;
  const Memory& memory_;
  size_t element_;
  int contiguous_from_ = 0;  ///< dimensions from here on lie in one piece
  size_t contiguous_bytes_ = 0;
  std::vector<char> block_;
};

}  // namespace

TensorFile load_safetensors(const std::string& path) {
  const InputFile file(path);
  uint64_t header_bytes = 0;
  check<ValueError>(file.size() >= sizeof(header_bytes), path, ": not a valid safetensors file: ", file.size(),
                    " bytes are too few for a header");
  file.read(&header_bytes, sizeof(header_bytes), 0);
  check<ValueError>(header_bytes <= max_header_bytes, path, ": not a valid safetensors file: a header of ",
                    header_bytes, " bytes, at most ", max_header_bytes, " are allowed");
  check<ValueError>(header_bytes <= file.size() - sizeof(header_bytes), path,
                    ": not a valid safetensors file: a header of ", header_bytes, " bytes in a file of ", file.size());
  std::string header(header_bytes, '\0');
  file.read(header.data(), header.size(), sizeof(header_bytes));
  const uint64_t data_begin = sizeof(header_bytes) + header_bytes;

  TensorFile result;
  std::vector<Entry> entries;
  HeaderReader(path).read(header, file.size() - data_begin, result.metadata, entries);
  for (const Entry& entry : entries) {
    const size_t bytes = entry.end - entry.begin;
    StoragePointer storage = allocate_storage(bytes);
    file.read(storage->data(), bytes, data_begin + entry.begin);
    if (entry.dtype == DType::Bool) {
      const auto* values = static_cast<const uint8_t*>(storage->data());
      check<ValueError>(std::all_of(values, values + bytes, [](uint8_t value) { return value <= 1; }), path,
                        ": not a valid safetensors file: tensor ", json::quote(entry.name),
                        ": a boolean is neither 0 nor 1");
    }
    graph::Buffer buffer{std::move(storage), 0, contiguous_strides(entry.shape)};
    result.tensors.emplace(entry.name, Tensor(graph::make_leaf(entry.shape, entry.dtype, std::move(buffer))));
  }
  return result;
}

void save_safetensors(const std::string& path, const TensorFile& file) {
  Tensors tensors;
  std::vector<std::string_view> names;
  for (const auto& [name, tensor] : file.tensors) {
    check<ValueError>(name != metadata_key, path, ": no tensor can be named ", metadata_key);
    check<ValueError>(tensor.defined(), path, ": tensor ", json::quote(name), " is undefined");
    names.push_back(name);
    tensors.push_back(tensor);
  }
  evaluate(tensors);

  // Wide elements first, so that every tensor is aligned to its element when the data section is.
  std::vector<size_t> order(names.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return size_of(tensors[i].dtype()); });

  std::string header = "{";
  const auto separate = [&] {
    if (header.size() > 1) header += ',';
  };
  if (!file.metadata.empty()) {
    header += json::quote(metadata_key) + ":{";
    bool first = true;
    for (const auto& [key, text] : file.metadata) {
      header += (first ? "" : ",") + json::quote(key) + ":" + json::quote(text);
      first = false;
    }
    header += "}";
  }
  uint64_t offset = 0;
  for (size_t i : order) {
    separate();
    header +=
        json::quote(names[i]) + ":{\"dtype\":\"" + std::string(file_name_of(tensors[i].dtype())) + "\",\"shape\":[";
    const Shape& shape = tensors[i].shape();
    for (int d = 0; d < shape.size(); ++d) header += (d == 0 ? "" : ",") + std::to_string(shape[d]);
    const uint64_t end = offset + static_cast<uint64_t>(element_count(shape)) * size_of(tensors[i].dtype());
    header += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  check<ValueError>(header.size() <= max_header_bytes, path, ": the header would take ", header.size(),
                    " bytes, at most ", max_header_bytes, " are allowed");

  AtomicOutputFile out(path);
  const uint64_t header_bytes = header.size();
  out.write(&header_bytes, sizeof(header_bytes));
  out.write(header.data(), header.size());
  for (size_t i : order) RowMajorWriter(out, to_device(tensors[i].detach(), {}).memory()).write();
  out.commit();
}

}  // namespace pycnn::io
