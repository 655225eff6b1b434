// The autocast state by device type.
#include "pycnn/autocast.h"

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

DeviceType type_of(const std::string& name) {
  check(name == "cpu" || name == "cuda", "unknown autocast device type '", name, "', expected 'cpu' or 'cuda'");
  return name == "cpu" ? DeviceType::Cpu : DeviceType::Cuda;
}

}  // namespace

void bind_autocast(Module& module) {
  const auto device_type = py::arg("device_type");
  // Without a device type PyTorch means "cuda".
  module.def(
      "is_autocast_enabled", [](const std::string& type) { return is_autocast_enabled(type_of(type)); },
      py::arg("device_type") = "cuda");
  module.def(
      "set_autocast_enabled",
      [](const std::string& type, bool enabled) { set_autocast_enabled(enabled, type_of(type)); }, device_type,
      py::arg("enabled"));
  module.def("is_any_autocast_enabled",
             [] { return is_autocast_enabled(DeviceType::Cpu) || is_autocast_enabled(DeviceType::Cuda); });
  module.def(
      "get_autocast_dtype", [](const std::string& type) { return autocast_dtype(type_of(type)); }, device_type);
  module.def(
      "set_autocast_dtype", [](const std::string& type, DType dtype) { set_autocast_dtype(dtype, type_of(type)); },
      device_type, py::arg("dtype"));
  module.def("is_autocast_cache_enabled", &is_autocast_cache_enabled);
  module.def("set_autocast_cache_enabled", &set_autocast_cache_enabled, py::arg("enabled"));
  module.def("clear_autocast_cache", &clear_autocast_cache);
  module.def("autocast_increment_nesting", &increment_autocast_nesting);
  module.def("autocast_decrement_nesting", &decrement_autocast_nesting);
}

}  // namespace pycnn::bindings
