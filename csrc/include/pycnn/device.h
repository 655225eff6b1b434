// Where tensors live: in the computer's memory, or in that of a GPU, which the optional plug-in serves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace pycnn {

enum class DeviceType : uint8_t { Cpu, Cuda };

struct Device {
  DeviceType type = DeviceType::Cpu;
  int8_t index = 0;  ///< which GPU; 0 for the CPU

  bool is_cpu() const { return type == DeviceType::Cpu; }
  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu", "cuda:0", …
std::string to_string(const Device& device);
inline std::ostream& operator<<(std::ostream& out, const Device& device) { return out << to_string(device); }

/// "cpu", "cuda" (the current GPU) or "cuda:1"; anything else throws RuntimeError, as does a GPU that is not there.
Device parse_device(std::string_view name);

/// Where creation operators (zeros, rand, …) put what they make: the CPU unless a DeviceScope says otherwise.
Device creation_device();
void set_creation_device(const Device& device);

/// Sets it for this thread while it lives.
class DeviceScope {
 public:
  explicit DeviceScope(const Device& device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device previous_;
};

namespace cuda {

/// Whether there is a GPU that this library can use. The plug-in is opened on the first call.
bool is_available();
/// Why not, in one line; empty if there is one.
std::string unavailable_reason();
int device_count();
/// The GPU that "cuda" means in this thread, the first one unless changed.
int current_device();
void set_device(int index);

struct Properties {
  std::string name;
  int major, minor;  ///< compute capability
  int multiprocessors;
  size_t memory;  ///< bytes
};
Properties properties(int index);

/// Waits until everything that was enqueued on the GPU is done. Throws what went wrong there.
void synchronize(int index);
/// Free and total bytes as the driver sees them.
std::pair<size_t, size_t> memory_info(int index);

/// Whether plans whose memory comes to lie where it lay before are launched as CUDA graphs. They are unless the
/// environment's PYCNN_CUDA_GRAPHS is 0. The results have the same bits.
bool graphs_enabled();
void set_graphs_enabled(bool enabled);

struct MemoryStatistics {
  size_t allocated, reserved;            ///< bytes that tensors hold, and with what is kept for reuse
  size_t most_allocated, most_reserved;  ///< since start or reset_peak_memory_statistics()
};
MemoryStatistics memory_statistics(int index);
void reset_peak_memory_statistics(int index);

class Event;

/// A queue of a GPU's work. Copies are the same stream; an empty one is the default stream.
class Stream {
 public:
  Stream() = default;
  explicit Stream(int device, int priority = 0);
  friend Stream default_stream(int device);
  friend Stream external_stream(int device, void* handle);
  int device() const { return device_; }
  void* handle() const { return handle_.get(); }
  void synchronize() const;
  /// Whether all of it is done.
  bool query() const;
  /// What is given to it from now on waits until the event has come.
  void wait(const Event& event) const;
  friend bool operator==(const Stream& a, const Stream& b) { return a.device_ == b.device_ && a.handle_ == b.handle_; }

 private:
  int device_ = 0;
  std::shared_ptr<void> handle_;
};
Stream default_stream(int device);
/// One that somebody else has made, and keeps for as long as it is used here: the driver's cudaStream_t.
Stream external_stream(int device, void* handle);
/// Where this thread's work on the device goes.
Stream current_stream(int device);
void set_stream(const Stream& stream);

/// A point in a stream.
class Event {
 public:
  explicit Event(bool timed = false) : timed_(timed) {}
  void record(const Stream& stream);
  bool is_recorded() const { return handle_ != nullptr; }
  void synchronize() const;
  bool query() const;
  /// Milliseconds; both must be timed and have come.
  double elapsed_time(const Event& end) const;

 private:
  friend class Stream;
  bool timed_;
  int device_ = 0;
  std::shared_ptr<void> handle_;
};

}  // namespace cuda

}  // namespace pycnn
