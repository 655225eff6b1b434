// GPUs: what there is, memory, streams and events.
#include <map>

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

void bind_devices(Module& module) {
  module.def("_get_creation_device", [] { return device_object(creation_device()); });
  module.def(
      "_set_creation_device",
      [](const DeviceArgument& device) { set_creation_device(device.given.value_or(Device{})); }, py::arg("device"));
  module.def(
      "_as_device",
      [](const DeviceArgument& device) { return device.given ? py::cast(device_object(*device.given)) : py::none(); },
      py::arg("device"));
  module.def("_cuda_is_available", &cuda::is_available);
  module.def("_cuda_unavailable_reason", &cuda::unavailable_reason);
  module.def("_cuda_device_count", &cuda::device_count);
  module.def("_cuda_current_device", &cuda::current_device);
  module.def("_cuda_set_device", &cuda::set_device, py::arg("index"));
  module.def(
      "_cuda_properties",
      [](int index) {
        const cuda::Properties found = cuda::properties(index);
        py::dict result;
        result["name"] = found.name;
        result["major"] = found.major;
        result["minor"] = found.minor;
        result["multi_processor_count"] = found.multiprocessors;
        result["total_memory"] = found.memory;
        return result;
      },
      py::arg("index"));
  module.def(
      "_cuda_synchronize", [](int index) { without_gil([&] { cuda::synchronize(index); }); }, py::arg("index"));
  module.def("_cuda_graphs_enabled", &cuda::graphs_enabled);
  module.def("_cuda_set_graphs_enabled", &cuda::set_graphs_enabled, py::arg("enabled"));
  module.def("_cuda_memory_info", &cuda::memory_info, py::arg("index"));
  module.def(
      "_cuda_memory_statistics",
      [](int index) {
        const cuda::MemoryStatistics found = cuda::memory_statistics(index);
        return std::map<std::string, size_t>{{"allocated", found.allocated},
                                             {"reserved", found.reserved},
                                             {"most_allocated", found.most_allocated},
                                             {"most_reserved", found.most_reserved}};
      },
      py::arg("index"));
  module.def("_cuda_reset_peak_memory_statistics", &cuda::reset_peak_memory_statistics, py::arg("index"));
}

void bind_streams(Module& module) {
  using cuda::Event;
  using cuda::Stream;
  py::class_<Stream> stream(module, "_CudaStream", "A queue of a GPU's work; pycnn.cuda.Stream is made of it.");
  py::class_<Event> event(module, "_CudaEvent", "A point in a stream; pycnn.cuda.Event is made of it.");
  stream.def(py::init<const Stream&>(), py::arg("stream"))
      .def(py::init<int, int>(), py::arg("device"), py::arg("priority") = 0)
      .def_property_readonly("device_index", &Stream::device, "The GPU's index.")
      .def_property_readonly(
          "cuda_stream", [](const Stream& self) { return reinterpret_cast<uintptr_t>(self.handle()); },
          "The driver's cudaStream_t as an int.")
      .def(
          "synchronize", [](const Stream& self) { without_gil([&] { self.synchronize(); }); },
          "Waits until everything that was given to it is done.")
      .def("query", &Stream::query, "Whether all of it is done.")
      .def("wait", &Stream::wait, py::arg("event"), "What is given to it from now on waits for the event.")
      .def(
          "__eq__", [](const Stream& a, const Stream& b) { return a == b; }, py::is_operator())
      .def("__hash__", [](const Stream& self) { return std::hash<void*>()(self.handle()) + self.device(); });
  event.def(py::init<bool>(), py::arg("timed") = false)
      .def("record", &Event::record, py::arg("stream"), "Comes when what was given to the stream so far is done.")
      .def(
          "synchronize", [](const Event& self) { without_gil([&] { self.synchronize(); }); }, "Waits for it.")
      .def("query", &Event::query, "Whether it has come.")
      .def("elapsed_time", &Event::elapsed_time, py::arg("end"),
           "Milliseconds from this event to the other. Errors: RuntimeError unless both are timed and recorded.");
  module.def("_cuda_current_stream", &cuda::current_stream, py::arg("device"));
  module.def("_cuda_default_stream", &cuda::default_stream, py::arg("device"));
  module.def("_cuda_set_stream", &cuda::set_stream, py::arg("stream"));
}

}  // namespace

void bind_cuda(Module& module) {
  bind_devices(module);
  bind_streams(module);
}

}  // namespace pycnn::bindings
