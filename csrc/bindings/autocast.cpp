// The autocast state by device type. Nothing runs on "cuda": its state is only kept for those who ask.
#include "pycnn/autocast.h"

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

struct CudaState {
  bool enabled = false;
  DType dtype = DType::Float16;
};

CudaState& cuda_state() {
  thread_local CudaState state;
  return state;
}

bool is_cpu(const std::string& device_type) {
  check(device_type == "cpu" || device_type == "cuda", "unknown autocast device type '", device_type,
        "', expected 'cpu' or 'cuda'");
  return device_type == "cpu";
}

}  // namespace

void bind_autocast(Module& module) {
  const auto device_type = py::arg("device_type");
  // Without a device type PyTorch means "cuda".
  module.def(
      "is_autocast_enabled",
      [](const std::string& type) { return is_cpu(type) ? is_autocast_enabled() : cuda_state().enabled; },
      py::arg("device_type") = "cuda");
  module.def(
      "set_autocast_enabled",
      [](const std::string& type, bool enabled) {
        if (is_cpu(type))
          set_autocast_enabled(enabled);
        else
          cuda_state().enabled = enabled;
      },
      device_type, py::arg("enabled"));
  module.def("is_any_autocast_enabled", [] { return is_autocast_enabled() || cuda_state().enabled; });
  module.def(
      "get_autocast_dtype",
      [](const std::string& type) { return is_cpu(type) ? autocast_dtype() : cuda_state().dtype; }, device_type);
  module.def(
      "set_autocast_dtype",
      [](const std::string& type, DType dtype) {
        if (is_cpu(type))
          set_autocast_dtype(dtype);
        else
          cuda_state().dtype = dtype;
      },
      device_type, py::arg("dtype"));
  module.def("is_autocast_cache_enabled", &is_autocast_cache_enabled);
  module.def("set_autocast_cache_enabled", &set_autocast_cache_enabled, py::arg("enabled"));
  module.def("clear_autocast_cache", &clear_autocast_cache);
  module.def("autocast_increment_nesting", &increment_autocast_nesting);
  module.def("autocast_decrement_nesting", &decrement_autocast_nesting);
}

}  // namespace pycnn::bindings
