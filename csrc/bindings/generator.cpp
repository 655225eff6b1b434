// Streams of random numbers: the class Generator and the default one.
#include "bindings/generator.h"

#include <cstring>

namespace pycnn::bindings {
namespace {

/// A seed in -2^63..2^64-1, of which the lower ones stand for those 2^64 above them.
uint64_t to_seed(const py::int_& seed) {
  const auto large = PyLong_AsUnsignedLongLong(seed.ptr());
  if (PyErr_Occurred() == nullptr) return large;
  PyErr_Clear();
  const auto negative = PyLong_AsLongLong(seed.ptr());
  if (PyErr_Occurred() == nullptr) return static_cast<uint64_t>(negative);
  PyErr_Clear();
  throw ValueError("manual_seed: Overflow when unpacking long long");
}

/// Seed and keys drawn as 16 bytes.
Tensor state_to_tensor(const Generator& generator) {
  const Generator::State state = generator.get_state();
  std::array<uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &state.seed, 8);
  std::memcpy(bytes.data() + 8, &state.drawn, 8);
  return from_data<uint8_t>(bytes, Shape{16});
}

void set_state(const Generator& generator, const Tensor& tensor) {
  check<TypeError>(tensor.dtype() == DType::UInt8, "RNG state must be a ByteTensor, got ", tensor.dtype());
  check(tensor.numel() == 16, "set_state: expected the 16 bytes that get_state() gives, got ", tensor.numel());
  readable_memory(tensor);
  const std::vector<uint8_t> bytes = tensor.to_vector<uint8_t>();
  Generator::State state;
  std::memcpy(&state.seed, bytes.data(), 8);
  std::memcpy(&state.drawn, bytes.data() + 8, 8);
  generator.set_state(state);
}

}  // namespace

void bind_generator(Module& module) {
  py::class_<Generator>(module, "Generator", R"(A stream of random numbers of its own, for functions that draw.

What is drawn depends on the seed and on the calls before that were given this generator, and on nothing else.

Args:
    device: "cpu".)")
      .def(py::init([](const DeviceArgument&) { return Generator(); }), py::arg("device") = py::none(),
           "A stream that starts from PyTorch's default seed, 67280421310721.")
      .def_property_readonly(
          "device", [](const Generator&) { return DeviceObject{}; }, "cpu")
      .def(
          "manual_seed",
          [](const py::object& self, const py::int_& seed) {
            self.cast<Generator&>().manual_seed(to_seed(seed));
            return self;
          },
          py::arg("seed"), R"(Starts again from a seed; gives the generator.

Args:
    seed: an integer in -2**63..2**64-1; negative ones stand for those 2**64 above.

Errors: ValueError for other integers.)")
      .def("initial_seed", &Generator::initial_seed, "The seed it started from, an int.")
      .def("seed", &Generator::seed, "Starts again from a seed of the operating system; gives the seed.")
      .def("get_state", &state_to_tensor,
           "The state, a uint8 tensor of shape (16,), to be saved and given to set_state.")
      .def("set_state", &set_state, py::arg("new_state"), R"(Restores what get_state gave.

Args:
    new_state: a uint8 tensor of shape (16,).

Errors: TypeError for another dtype, RuntimeError for another size.)")
      .def("clone_state", &Generator::clone, "A generator that goes on from here by itself.")
      .def("__copy__", &Generator::clone)
      .def(
          "__deepcopy__", [](const Generator& self, const py::object&) { return self.clone(); }, py::arg("memo"))
      .def(py::pickle(
          [](const Generator& self) {
            const Generator::State state = self.get_state();
            return std::pair(state.seed, state.drawn);
          },
          [](std::pair<uint64_t, uint64_t> state) {
            Generator generator;
            generator.set_state({state.first, state.second});
            return generator;
          }));
  module.attr("default_generator") = default_generator();
}

}  // namespace pycnn::bindings
