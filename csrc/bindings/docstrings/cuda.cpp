// Devices: what pycnn.cuda and pycnn._device are made of.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> cuda_docstrings() {
  static const Docstring rows[] = {
      {"get_creation_device",
       "Where functions such as `zeros` create tensors that are given no device, in this thread."},
      {"set_creation_device", R"(Sets it.

Args:
    device: a device or its name; None is the CPU.

Errors: RuntimeError for devices that are not there.)"},
      {"check_device", R"(The device that is named; None stays None.

Args:
    device: a device, its name or None.

Errors: RuntimeError for devices that are not there.)"},
      {"cuda_is_available", "Whether there is a GPU that can be used. The plug-in is opened on the first call."},
      {"cuda_unavailable_reason", "Why there is none, in one line; empty if there is one."},
      {"cuda_device_count", "How many GPUs there are."},
      {"cuda_current_device", "The index of the GPU that \"cuda\" means in this thread."},
      {"cuda_set_device", R"(Sets it.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"cuda_properties", R"(Name, compute capability, multiprocessors and bytes of memory of a GPU, a dict.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"cuda_synchronize", R"(Waits until everything that was given to the GPU is done.

Args:
    index: of the GPU.

Errors: RuntimeError for what failed there.)"},
      {"cuda_memory_info", R"(Free and total bytes as the driver sees them.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"cuda_memory_statistics",
       R"(Bytes that tensors hold (allocated) and that are held in all (reserved), now and at most.

Args:
    index: of the GPU.)"},
      {"cuda_reset_peak_memory_statistics", R"(Lets the peaks begin anew.

Args:
    index: of the GPU.)"},
      {"get_allow_tf32", "Whether tensor cores may round the factors of float32 products to TFloat32."},
      {"set_allow_tf32", R"(Sets it, for products and convolutions on GPUs.

Args:
    allowed: off at the start.)"},
      {"cuda_current_stream", R"(Where this thread's work on a GPU goes.

Args:
    device: index of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"cuda_default_stream", R"(The stream that is there from the start.

Args:
    device: index of the GPU.)"},
      {"cuda_set_stream", R"(Sends this thread's work on the stream's GPU there.

Args:
    stream: of any GPU.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
