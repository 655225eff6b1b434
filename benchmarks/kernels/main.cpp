// Kernels alone, through the table that plans use. PYCNN_CPU_ISA and PYCNN_NUM_THREADS choose level and threads.
#include <cstdio>
#include <exception>

#include "cpu/parallel.h"
#include "kernel_benchmarks.h"

int main(int argc, char** argv) {
  using namespace pycnn;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  try {
    benchmark::AddCustomContext("level", cpu::active_kernels().level);
    benchmark::AddCustomContext("threads", std::to_string(cpu::num_threads()));
    kernel_benchmarks::add_peak();
    kernel_benchmarks::add_convolutions();
    kernel_benchmarks::add_matmuls();
    kernel_benchmarks::add_pooling();
    kernel_benchmarks::add_programs();
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
