#include "io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "pycnn/error.h"

namespace pycnn::io {

namespace {

std::string reason(int error) { return std::generic_category().message(error); }

// Linux transfers at most this much per call.
constexpr size_t max_transfer = size_t{1} << 30;

}  // namespace

InputFile::InputFile(const std::string& path) : path_(path) {
  // Without O_NONBLOCK opening a FIFO would wait for a writer.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  check(descriptor_ >= 0, path, ": cannot be opened: ", reason(errno));
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail(path, ": is not a regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(void* destination, size_t bytes, uint64_t offset) const {
  auto* at = static_cast<char*>(destination);
  while (bytes > 0) {
    const ssize_t count = ::pread(descriptor_, at, std::min(bytes, max_transfer), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    check(count >= 0, path_, ": cannot be read: ", reason(errno));
    check<ValueError>(count > 0, path_, ": ended at byte ", offset, " while it was read");
    at += count;
    offset += static_cast<uint64_t>(count);
    bytes -= static_cast<size_t>(count);
  }
}

AtomicOutputFile::AtomicOutputFile(const std::string& path) : path_(path) {
  std::error_code error;
  const auto resolved = std::filesystem::weakly_canonical(path, error);
  target_ = error ? path : resolved.string();
  struct stat status {};
  const bool exists = ::stat(target_.c_str(), &status) == 0;
  check(!exists || S_ISREG(status.st_mode), path, ": cannot be written: it exists and is not a regular file");

  static std::atomic<unsigned> counter{0};
  do {
    temporary_ = target_ + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) {
    const int why = errno;
    temporary_.clear();
    fail(path, ": cannot be written: ", reason(why));
  }
  // The replaced file's permissions are kept where the system lets us; otherwise the umask's apply.
  if (exists && ::fchmod(descriptor_, status.st_mode & 07777) != 0) errno = 0;
}

AtomicOutputFile::~AtomicOutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicOutputFile::fail_with(const char* action) const {
  const int why = errno;
  fail(path_, ": cannot be ", action, ": ", reason(why));
}

void AtomicOutputFile::write(const void* source, size_t bytes) {
  const auto* at = static_cast<const char*>(source);
  while (bytes > 0) {
    const ssize_t count = ::write(descriptor_, at, std::min(bytes, max_transfer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with("written");
    at += count;
    bytes -= static_cast<size_t>(count);
  }
}

void AtomicOutputFile::commit() {
  if (::fsync(descriptor_) != 0) fail_with("synced");
  const int closing = descriptor_;
  descriptor_ = -1;
  if (::close(closing) != 0) fail_with("closed");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with("renamed");
  temporary_.clear();

  // The name is durable once the directory is; a directory that cannot be synced (some network file systems) is no
  // failure.
  const std::string directory = std::filesystem::path(target_).parent_path().string();
  const int handle = ::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  ::fsync(handle);
  ::close(handle);
}

}  // namespace pycnn::io
