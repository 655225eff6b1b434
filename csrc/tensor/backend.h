// The plug-in that serves GPUs: found, opened and asked once.
#pragma once

#include <memory>

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

/// Where memory lies that somebody else has allocated. Throws RuntimeError if it is no GPU's.
Device device_of_memory(const void* memory);

/// This thread's stream on a device; null is the default one.
void* current_stream_handle(int device);

/// When it goes, the device and stream that this thread had chosen are chosen again: memory is given back, and events
/// are asked, in the midst of others' work.
class KeepChoice {
 public:
  KeepChoice();
  ~KeepChoice();
  KeepChoice(const KeepChoice&) = delete;
  KeepChoice& operator=(const KeepChoice&) = delete;

 private:
  int device_;
  void* stream_;
};

/// A point in a stream, passed when all that the stream has been given so far is done. Unlike an Event it takes no
/// notice of pending work, and does not throw: for those who give memory back.
class StreamPoint {
 public:
  explicit StreamPoint(const cuda::Stream& stream);
  bool is_passed() const;
  void wait() const;
  /// What the stream is given from now on comes after the point.
  void hold_back(const cuda::Stream& stream) const;

 private:
  int device_;
  std::shared_ptr<void> event_;
};

}  // namespace pycnn
