// Files of tensors.
#include "pycnn/io.h"

#include "bindings/bindings.h"

namespace pycnn::bindings {

void bind_io(py::module_& module) {
  module.def(
      "save_safetensors",
      [](const std::string& path, const std::map<std::string, Tensor>& tensors,
         const std::optional<std::map<std::string, std::string>>& metadata) {
        io::TensorFile file{tensors, metadata.value_or(std::map<std::string, std::string>{})};
        without_gil([&] { io::save_safetensors(path, file); });
      },
      py::arg("path"), py::arg("tensors"), py::arg("metadata") = py::none(),
      "Writes a safetensors file: whole, or not at all (temporary file, fsync, rename).");
  module.def(
      "load_safetensors",
      [](const std::string& path) {
        io::TensorFile file = without_gil([&] { return io::load_safetensors(path); });
        return py::make_tuple(file.tensors, file.metadata);
      },
      py::arg("path"),
      "(tensors, metadata) of a safetensors file. Raises ValueError naming what is wrong with a damaged one.");
  module.def(
      "load_idx", [](const std::string& path) { return without_gil([&] { return io::load_idx(path); }); },
      py::arg("path"), "The tensor of an IDX file (the format of MNIST, not compressed).");
}

}  // namespace pycnn::bindings
