// Devices: what pycnn.cuda and pycnn._device are made of.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> cuda_docstrings() {
  static const Docstring rows[] = {
      {"_get_creation_device",
       "Where functions such as `zeros` create tensors that are given no device, in this thread."},
      {"_set_creation_device", R"(Sets it.

Args:
    device: a device or its name; None is the CPU.

Errors: RuntimeError for devices that are not there.)"},
      {"_as_device", R"(The device that is named; None stays None.

Args:
    device: a device, its name or None.

Errors: RuntimeError for devices that are not there.)"},
      {"_cuda_is_available", "Whether there is a GPU that can be used. The plug-in is opened on the first call."},
      {"_cuda_unavailable_reason", "Why there is none, in one line; empty if there is one."},
      {"_cuda_device_count", "How many GPUs there are."},
      {"_cuda_current_device", "The index of the GPU that \"cuda\" means in this thread."},
      {"_cuda_set_device", R"(Sets it.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"_cuda_properties", R"(Name, compute capability, multiprocessors and bytes of memory of a GPU, a dict.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"_cuda_synchronize", R"(Waits until everything that was given to the GPU is done.

Args:
    index: of the GPU.

Errors: RuntimeError for what failed there.)"},
      {"_cuda_graphs_enabled",
       "Whether plans whose memory comes to lie where it lay before are launched as CUDA graphs."},
      {"_cuda_set_graphs_enabled", R"(Sets it. The results have the same bits.

Args:
    enabled: whether they are.)"},
      {"_cuda_memory_info", R"(Free and total bytes as the driver sees them.

Args:
    index: of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"_cuda_memory_statistics",
       R"(Bytes that tensors hold (allocated) and that are held in all (reserved), now and at most.

Args:
    index: of the GPU.)"},
      {"_cuda_reset_peak_memory_statistics", R"(Lets the peaks begin anew.

Args:
    index: of the GPU.)"},
      {"_get_allow_tf32", "Whether tensor cores may round the factors of float32 products to TFloat32."},
      {"_set_allow_tf32", R"(Sets it, for products and convolutions on GPUs.

Args:
    allowed: off at the start.)"},
      {"_cuda_current_stream", R"(Where this thread's work on a GPU goes.

Args:
    device: index of the GPU.

Errors: RuntimeError if it is not there.)"},
      {"_cuda_default_stream", R"(The stream that is there from the start.

Args:
    device: index of the GPU.)"},
      {"_cuda_set_stream", R"(Sends this thread's work on the stream's GPU there.

Args:
    stream: of any GPU.)"},
  };
  return rows;
}

}  // namespace pycnn::bindings
