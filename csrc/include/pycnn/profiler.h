// Where the time goes: the steps of plans as they run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pycnn/dtype.h"
#include "pycnn/graph.h"

namespace pycnn {

/// One step of a plan, or one compilation of a plan ("compile").
struct ProfileEvent {
  std::string step;       ///< the primitive: "convolution_forward", "pointwise", "reduce", …
  std::string operators;  ///< the operators it stands for, joined by "+"
  std::string details;    ///< algorithm and attributes
  double begin;           ///< seconds since start_profiling()
  double seconds;
  double flops;   ///< as the operators define them, whatever the algorithm does
  int64_t bytes;  ///< read and written, each tensor once
  DType dtype;    ///< of what is multiplied: products of bfloat16 have a peak of their own
  int thread;     ///< 0 for the first thread that evaluated, 1 for the second, …
};

/// Starts to note every step run in this process; what was noted before is dropped.
void start_profiling();
/// Ends it and returns what was noted, in order. Empty if profiling was not on.
std::vector<ProfileEvent> stop_profiling();

/// Floating-point operations per second of multiply-adds from registers and bytes per second of copying `bytes` bytes,
/// on the threads in use, measured now for `seconds` each: what steps are compared with.
struct MachinePeak {
  double flops_per_second;  ///< float32
  double bytes_per_second;
  double bfloat16_flops_per_second;  ///< with float32 sums, by the instructions that products use
};
MachinePeak measure_peak(double seconds = 0.1, int64_t bytes = int64_t{1} << 26);

}  // namespace pycnn
