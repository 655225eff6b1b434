// Files by descriptor: reading at offsets, and writing that leaves a whole file or none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pycnn::io {

/// A regular file opened for reading. Failures throw pycnn::Error naming the file and the system's reason.
class InputFile {
 public:
  explicit InputFile(const std::string& path);
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  /// Fills `destination` with the bytes from `offset` on; throws if the file ends before.
  void read(void* destination, size_t bytes, uint64_t offset) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

/// Writes beside `path` and renames on commit(). Without commit() nothing stays.
class AtomicOutputFile {
 public:
  explicit AtomicOutputFile(const std::string& path);
  AtomicOutputFile(const AtomicOutputFile&) = delete;
  AtomicOutputFile& operator=(const AtomicOutputFile&) = delete;
  ~AtomicOutputFile();

  void write(const void* source, size_t bytes);
  /// Syncs the file, gives it its name, syncs the directory.
  void commit();

 private:
  [[noreturn]] void fail_with(const char* action) const;

  std::string path_;       ///< as given, for messages
  std::string target_;     ///< with symbolic links resolved: the file behind a link is replaced, not the link
  std::string temporary_;  ///< empty when there is none
  int descriptor_ = -1;
};

}  // namespace pycnn::io
