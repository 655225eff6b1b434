// The plug-in that serves GPUs: found, opened and asked once.
#pragma once

#include "kernels/backend.h"
#include "pycnn/device.h"

namespace pycnn {

/// The plug-in, with `device` chosen for this thread, in its present stream. Throws RuntimeError if there is none.
const kernels::Backend& backend_of(const Device& device);
/// Whether this process was forked from one that had opened the plug-in: no GPU can be used here, nor given anything
/// back.
bool is_cuda_lost();
/// The kernels that run there.
const kernels::Kernels& kernels_of(const Device& device);
/// Throws what went wrong in this thread.
void check_backend(const kernels::Backend& backend);

/// What gives devices this thread's work that is recorded but pending: the graph's. It is called before the thread
/// waits for a stream, or changes it.
void set_work_enqueuer(void (*enqueue)());

/// This thread's stream on a device; null is the default one.
void* current_stream_handle(int device);

}  // namespace pycnn
