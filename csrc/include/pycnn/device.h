// Where tensors live: in the computer's memory, or in that of a GPU, which the optional plug-in serves.
#pragma once

#include <cstddef>
#include <cstdint>
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

}  // namespace cuda

}  // namespace pycnn
