// Files of tensors.
#include "pycnn/io.h"

#include "bindings/bindings.h"

namespace pycnn::bindings {

void bind_io(Module& module) {
  module.def(
      "save_safetensors",
      [](const std::string& path, const std::map<std::string, Tensor>& tensors,
         const std::optional<std::map<std::string, std::string>>& metadata) {
        io::TensorFile file{tensors, metadata.value_or(std::map<std::string, std::string>{})};
        without_gil([&] { io::save_safetensors(path, file); });
      },
      py::arg("path"), py::arg("tensors"), py::arg("metadata") = py::none());
  module.def(
      "load_safetensors",
      [](const std::string& path) {
        io::TensorFile file = without_gil([&] { return io::load_safetensors(path); });
        return py::make_tuple(file.tensors, file.metadata);
      },
      py::arg("path"));
  module.def(
      "load_idx", [](const std::string& path) { return without_gil([&] { return io::load_idx(path); }); },
      py::arg("path"));
}

}  // namespace pycnn::bindings
