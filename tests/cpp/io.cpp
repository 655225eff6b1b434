#include "pycnn/io.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "pycnn/ops.h"

namespace pycnn::io {
namespace {

namespace fs = std::filesystem;

/// A folder of its own for each test.
class Files : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("pycnn-io-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  size_t file_count() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  static void write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path folder_;
};

std::string length_prefix(uint64_t length) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

std::string safetensors(const std::string& header, size_t data_bytes) {
  return length_prefix(header.size()) + header + std::string(data_bytes, '\0');
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ValueError& error) {
    return error.what();
  }
  return "(no ValueError)";
}

class Safetensors : public Files {};

TEST_F(Safetensors, KeepEveryDtypeShapeAndMetadata) {
  TensorFile file;
  for (DType dtype : {DType::Bool, DType::UInt8, DType::Int8, DType::Int16, DType::Int32, DType::Int64, DType::Float16,
                      DType::BFloat16, DType::Float32, DType::Float64})
    file.tensors[std::string(name_of(dtype))] = cast(arange(0, 6, 1, DType::Int64) > 2, dtype);
  file.tensors["scalar"] = scalar_tensor(2.5, DType::Float64);
  file.tensors["empty"] = zeros({2, 0, 3});
  file.tensors["name with \"quotes\" and \u00e9"] = ones({1});
  file.metadata = {{"classes", "[\"a\", \"b\"]"}, {"", "empty key"}};
  save_safetensors(path("all"), file);
  const TensorFile loaded = load_safetensors(path("all"));
  EXPECT_EQ(loaded.metadata, file.metadata);
  ASSERT_EQ(loaded.tensors.size(), file.tensors.size());
  for (const auto& [name, tensor] : file.tensors) {
    const Tensor& other = loaded.tensors.at(name);
    EXPECT_EQ(other.shape(), tensor.shape()) << name;
    EXPECT_EQ(other.dtype(), tensor.dtype()) << name;
    EXPECT_TRUE(all(other == tensor).item<bool>()) << name;
  }
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(Safetensors, StoreStridedTensorsRowMajor) {
  const Tensor base = reshape(arange(0, 120, 1, DType::Int32), {2, 3, 4, 5});
  const Tensor turned = permute(base, {3, 1, 0, 2});
  const Tensor image = contiguous(base, true);
  save_safetensors(path("strided"), {{{"turned", turned}, {"image", image}, {"part", slice(base, 3, 1, 4, 2)}}, {}});
  const TensorFile loaded = load_safetensors(path("strided"));
  EXPECT_EQ(loaded.tensors.at("turned").to_vector<int32_t>(), turned.to_vector<int32_t>());
  EXPECT_EQ(loaded.tensors.at("image").to_vector<int32_t>(), base.to_vector<int32_t>());
  EXPECT_EQ(loaded.tensors.at("part").to_vector<int32_t>(), slice(base, 3, 1, 4, 2).to_vector<int32_t>());
}

TEST_F(Safetensors, WriteTheFormatAsSpecified) {
  save_safetensors(path("one"), {{{"x", from_data<float>(std::vector<float>{1, 2}, {2})}}, {}});
  const std::string bytes = read(path("one"));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0U);
  const std::string header = bytes.substr(8, length);
  EXPECT_EQ(header.substr(0, header.find_last_not_of(' ') + 1),
            R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})");
  EXPECT_EQ(bytes.substr(8 + length), std::string("\0\0\x80\x3f\0\0\0\x40", 8));
}

TEST_F(Safetensors, NoTensorsAtAll) {
  save_safetensors(path("none"), {});
  EXPECT_TRUE(load_safetensors(path("none")).tensors.empty());
}

struct Broken {
  const char* what;
  std::string bytes;
  const char* complaint;
};
void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.what; }

class BrokenSafetensors : public Safetensors, public testing::WithParamInterface<Broken> {};

TEST_P(BrokenSafetensors, AreRefused) {
  write(path("broken"), GetParam().bytes);
  const std::string message = message_of([&] { load_safetensors(path("broken")); });
  EXPECT_NE(message.find(path("broken")), std::string::npos) << message;
  EXPECT_NE(message.find(GetParam().complaint), std::string::npos) << message;
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"x":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

INSTANTIATE_TEST_SUITE_P(
    Table, BrokenSafetensors,
    testing::Values(
        Broken{"empty file", "", "too few"}, Broken{"seven bytes", std::string(7, '\0'), "too few"},
        Broken{"no header", length_prefix(0), "does not start with '{'"},
        Broken{"header longer than the file", length_prefix(1000) + "{}", "in a file of"},
        Broken{"enormous header", length_prefix(UINT64_MAX) + "{}", "at most"},
        Broken{"negative length", length_prefix(uint64_t{1} << 63) + "{}", "at most"},
        Broken{"leading space", safetensors(" {}", 0), "does not start with '{'"},
        Broken{"an array", safetensors("[]", 0), "does not start with '{'"},
        Broken{"unfinished JSON", safetensors("{", 0), "header is broken"},
        Broken{"zero bytes after JSON", safetensors(std::string("{}\0", 3), 0), "header is broken"},
        Broken{"pickle", safetensors("{\x80\x02", 0), "header is broken"},
        Broken{"deep nesting", safetensors("{\"x\":" + std::string(100000, '['), 0), "too deep"},
        Broken{"key twice", safetensors(R"({"x":{},"x":{}})", 0), "appears twice"},
        Broken{"tensor is a number", safetensors(R"({"x":1})", 0), "expected an object"},
        Broken{"no dtype", safetensors(R"({"x":{"shape":[],"data_offsets":[0,4]}})", 4), "has no dtype"},
        Broken{"no shape", safetensors(R"({"x":{"dtype":"F32","data_offsets":[0,4]}})", 4), "has no shape"},
        Broken{"no offsets", safetensors(R"({"x":{"dtype":"F32","shape":[]}})", 4), "has no data_offsets"},
        Broken{"unknown member", safetensors(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0,4],"y":1}})", 4),
               "\"y\""},
        Broken{"unknown dtype", safetensors(one("\"F8_E4M3\"", "[1]", "[0,1]"), 1), "unsupported dtype \"F8_E4M3\""},
        Broken{"dtype is a number", safetensors(one("32", "[1]", "[0,4]"), 4), "expected a string"},
        Broken{"shape is a number", safetensors(one("\"F32\"", "1", "[0,4]"), 4), "expected an array"},
        Broken{"negative size", safetensors(one("\"F32\"", "[-1]", "[0,4]"), 4), "negative"},
        Broken{"two negative sizes", safetensors(one("\"F32\"", "[-1,-1]", "[0,4]"), 4), "negative"},
        Broken{"fractional size", safetensors(one("\"F32\"", "[1.0]", "[0,4]"), 4), "expected an integer"},
        Broken{"size beyond int64", safetensors(one("\"F32\"", "[18446744073709551617]", "[0,4]"), 4),
               "expected an integer"},
        Broken{"product overflows", safetensors(one("\"F32\"", "[4294967296,4294967296]", "[0,0]"), 0), "too large"},
        Broken{"product overflows beside zero", safetensors(one("\"U8\"", "[0,4294967296,4294967296]", "[0,0]"), 0),
               "too large"},
        Broken{"bytes overflow", safetensors(one("\"F64\"", "[2305843009213693952]", "[0,0]"), 0), "too large"},
        Broken{"nine dimensions", safetensors(one("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1), "9 dimensions"},
        Broken{"one offset", safetensors(one("\"F32\"", "[1]", "[0]"), 4), "expected 2"},
        Broken{"negative offset", safetensors(one("\"F32\"", "[1]", "[-4,0]"), 4), "negative"},
        Broken{"offsets backwards", safetensors(one("\"F32\"", "[1]", "[4,0]"), 4), "before they begin"},
        Broken{"offsets too short", safetensors(one("\"F32\"", "[2]", "[0,4]"), 4), "takes 8 bytes"},
        Broken{"truncated data", safetensors(one("\"F32\"", "[2]", "[0,8]"), 7), "truncated"},
        Broken{"data after the last tensor", safetensors(one("\"F32\"", "[2]", "[0,8]"), 9), "belong to no tensor"},
        Broken{"gap at the start", safetensors(one("\"F32\"", "[1]", "[4,8]"), 8), "belong to no tensor"},
        Broken{"overlap",
               safetensors(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                           R"("y":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                           6),
               "overlaps"},
        Broken{"the same bytes twice",
               safetensors(R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                           R"("y":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
                           4),
               "overlaps"},
        Broken{"metadata is a string", safetensors(R"({"__metadata__":"x"})", 0), "expected an object"},
        Broken{"metadata holds a number", safetensors(R"({"__metadata__":{"x":1}})", 0), "expected a string"},
        Broken{"boolean of two",
               length_prefix(one("\"BOOL\"", "[2]", "[0,2]").size()) + one("\"BOOL\"", "[2]", "[0,2]") + "\x01\x02",
               "neither 0 nor 1"}));

TEST_F(Safetensors, EveryTruncationIsRefused) {
  save_safetensors(path("whole"), {{{"x", ones({3})}, {"y", ones({2}, DType::Int64)}}, {{"k", "v"}}});
  const std::string bytes = read(path("whole"));
  for (size_t length = 0; length < bytes.size(); ++length) {
    write(path("part"), bytes.substr(0, length));
    EXPECT_THROW(load_safetensors(path("part")), ValueError) << length;
  }
}

TEST_F(Safetensors, NoRegularFile) {
  EXPECT_THROW(load_safetensors(path("missing")), Error);
  EXPECT_THROW(load_safetensors(folder_.string()), Error);
  EXPECT_THROW(load_safetensors("/dev/zero"), Error);
  EXPECT_THROW(save_safetensors(path("missing/file"), {}), Error);
  EXPECT_THROW(save_safetensors(folder_.string(), {}), Error);
  EXPECT_THROW(save_safetensors("/dev/null", {}), Error);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(Safetensors, BadNamesAndTensorsLeaveTheOldFile) {
  save_safetensors(path("file"), {{{"x", ones({2})}}, {}});
  const std::string before = read(path("file"));
  EXPECT_THROW(save_safetensors(path("file"), {{{"\xff", ones({2})}}, {}}), ValueError);
  EXPECT_THROW(save_safetensors(path("file"), {{{"__metadata__", ones({2})}}, {}}), ValueError);
  EXPECT_THROW(save_safetensors(path("file"), {{{"x", Tensor()}}, {}}), ValueError);
  EXPECT_EQ(read(path("file")), before);
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(Safetensors, FullDiskLeavesTheOldFile) {
  save_safetensors(path("file"), {{{"x", ones({2})}}, {}});
  const std::string before = read(path("file"));
  const Tensor large = zeros({1 << 18});
  large.evaluate();
  // A limit on file sizes fails like a full disk: in the middle of writing.
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 16, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(save_safetensors(path("file"), {{{"x", large}}, {}}), Error);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read(path("file")), before);
  EXPECT_EQ(file_count(), 1U);
}

TEST_F(Safetensors, KeepLinksAndPermissions) {
  write(path("target"), "old");
  fs::permissions(path("target"), fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("target", path("link"));
  save_safetensors(path("link"), {{{"x", ones({2})}}, {}});
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(fs::status(path("target")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(load_safetensors(path("target")).tensors.size(), 1U);
  EXPECT_EQ(file_count(), 2U);
}

TEST_F(Safetensors, LoadedTensorsTrain) {
  save_safetensors(path("file"), {{{"x", ones({2})}}, {}});
  Tensor x = load_safetensors(path("file")).tensors.at("x");
  x.requires_grad_();
  sum(x * x).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{2, 2}));
}

class Idx : public Files {};

std::string idx(int type, const std::vector<uint32_t>& sizes, const std::string& data) {
  std::string bytes{'\0', '\0', static_cast<char>(type), static_cast<char>(sizes.size())};
  for (uint32_t size : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(size >> shift);
  return bytes + data;
}

TEST_F(Idx, ReadEveryType) {
  write(path("u8"), idx(0x08, {2, 3}, "\x01\x02\x03\x04\x05\xff"));
  const Tensor bytes = load_idx(path("u8"));
  EXPECT_EQ(bytes.shape(), (Shape{2, 3}));
  EXPECT_EQ(bytes.to_vector<uint8_t>(), (std::vector<uint8_t>{1, 2, 3, 4, 5, 255}));
  write(path("i8"), idx(0x09, {2}, "\x01\xff"));
  EXPECT_EQ(load_idx(path("i8")).to_vector<int8_t>(), (std::vector<int8_t>{1, -1}));
  write(path("i16"), idx(0x0B, {2}, std::string("\x01\x02\xff\xfe", 4)));
  EXPECT_EQ(load_idx(path("i16")).to_vector<int16_t>(), (std::vector<int16_t>{258, -2}));
  write(path("i32"), idx(0x0C, {1}, std::string("\0\0\x01\0", 4)));
  EXPECT_EQ(load_idx(path("i32")).to_vector<int32_t>(), (std::vector<int32_t>{256}));
  write(path("f32"), idx(0x0D, {1}, std::string("\x3f\xc0\0\0", 4)));
  EXPECT_EQ(load_idx(path("f32")).to_vector<float>(), (std::vector<float>{1.5F}));
  write(path("f64"), idx(0x0E, {1}, std::string("\xbf\xf8\0\0\0\0\0\0", 8)));
  EXPECT_EQ(load_idx(path("f64")).to_vector<double>(), (std::vector<double>{-1.5}));
  write(path("none"), idx(0x08, {0, 28, 28}, ""));
  EXPECT_EQ(load_idx(path("none")).shape(), (Shape{0, 28, 28}));
}

class BrokenIdx : public Idx, public testing::WithParamInterface<Broken> {};

TEST_P(BrokenIdx, AreRefused) {
  write(path("broken"), GetParam().bytes);
  const std::string message = message_of([&] { load_idx(path("broken")); });
  EXPECT_NE(message.find(path("broken")), std::string::npos) << message;
  EXPECT_NE(message.find(GetParam().complaint), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BrokenIdx,
    testing::Values(Broken{"empty file", "", "too few"}, Broken{"three bytes", std::string(3, '\0'), "too few"},
                    Broken{"gzip", "\x1f\x8b\x08\x01", "gzip"}, Broken{"text", "not an IDX file", "two zero bytes"},
                    Broken{"unknown type", idx(0x0A, {1}, "x"), "unknown element type 10"},
                    Broken{"no dimensions", idx(0x08, {}, "x"), "0 dimensions"},
                    Broken{"nine dimensions", idx(0x08, {1, 1, 1, 1, 1, 1, 1, 1, 1}, "x"), "9 dimensions"},
                    Broken{"sizes cut off", idx(0x08, {1, 2}, "").substr(0, 10), "header is truncated"},
                    Broken{"too little data", idx(0x08, {4}, "xyz"), "takes 4 bytes, the file holds 3"},
                    Broken{"too much data", idx(0x08, {2}, "xyz"), "takes 2 bytes, the file holds 3"},
                    Broken{"overflow", idx(0x0E, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, "x"), "too large"}));

TEST_F(Idx, MissingFile) { EXPECT_THROW(load_idx(path("missing")), Error); }

}  // namespace
}  // namespace pycnn::io
