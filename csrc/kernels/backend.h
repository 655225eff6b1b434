// What a plug-in for another kind of device exports: plain C functions, so that it may be built by another compiler.
// They throw nothing. What fails is remembered per thread until take_error() is asked; until then nothing else runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace pycnn::kernels {

/// Changes with Backend's first three members: by them a plug-in that belongs to another library is recognised before
/// anything else of it is read.
inline constexpr uint32_t backend_version = 2;

/// Devices beyond are not used.
inline constexpr int most_devices = 64;

struct DeviceProperties {
  char name[256];
  int major, minor, multiprocessors;
  size_t memory;
};

struct Backend {
  uint32_t version;     ///< backend_version
  uint32_t layout;      ///< exchanged_layout
  const char* library;  ///< the version of pycnn, "0.1.0"
  /// Null if there are devices to use, else why not, in one line.
  const char* (*unavailable)();
  int (*device_count)();
  void (*properties)(int device, DeviceProperties* into);
  const Kernels* (*kernels)(int device);

  /// All others act on the device that this thread has chosen, in the stream it has chosen (null: the default one).
  void (*use)(int device, void* stream);
  /// What went wrong in this thread since the last call, or null; the text stays until the next call.
  const char* (*take_error)();

  void* (*allocate)(size_t bytes);  ///< null, without an error, if there is not so much
  void (*release)(void* memory);
  void* (*allocate_pinned)(size_t bytes);  ///< the computer's memory, which the device reads by itself
  void (*release_pinned)(void* memory);
  void (*memory_info)(size_t* free, size_t* total);
  int (*device_of)(const void* memory);  ///< whose memory it is, whoever allocated it; -1 if no device's
  /// Between any two of the computer's and the device's memory, in order with the stream's work. What is copied from
  /// pageable memory may be overwritten as soon as this returns; what is copied to it is there after synchronize().
  void (*copy)(void* to, const void* from, size_t bytes);
  void (*fill)(void* memory, int byte, size_t bytes);

  /// These two tell a thread of indices out of range that kernels met on its device, since it chose that first, once.
  void (*synchronize)();         ///< the stream
  void (*synchronize_device)();  ///< all streams
  void* (*create_stream)(int priority);
  void (*destroy_stream)(void* stream);
  int (*stream_is_done)(void* stream);

  void* (*create_event)(int timed);
  void (*destroy_event)(void* event);
  void (*record_event)(void* event);
  void (*wait_event)(void* event);  ///< the stream waits
  void (*synchronize_event)(void* event);
  int (*event_is_done)(void* event);
  float (*elapsed_milliseconds)(void* begin, void* end);

  /// What this thread gives the device between these is recorded instead of run; the result, null after an error, may
  /// be launched again and again. What other threads give the stream meanwhile runs. Nothing may be waited for or
  /// allocated in between. False, with nothing begun, if the stream itself is being recorded by somebody else.
  int (*begin_graph)();
  void* (*end_graph)();
  void (*launch_graph)(void* graph);
  void (*destroy_graph)(void* graph);  ///< once its launches are done
};

/// A number made of the sizes of all that is exchanged and of the opcodes in order, for builds of one version from
/// different sources.
template <typename... Exchanged>
constexpr uint32_t layout_of() {
  uint32_t hash = 2166136261;  // FNV-1a
  const auto add = [&](size_t value) { hash = (hash ^ static_cast<uint32_t>(value)) * 16777619; };
  (add(sizeof(Exchanged)), ...);
#define PYCNN_OPCODE(name, operands) #name ","
  for (const char letter : PYCNN_OPCODES(PYCNN_OPCODE)) add(static_cast<unsigned char>(letter));
#undef PYCNN_OPCODE
  return hash;
}
inline constexpr uint32_t exchanged_layout =
    layout_of<Backend, DeviceProperties, Kernels, Instruction, Operand, PointwiseArguments, Accumulation,
              ReduceArguments, ArgReduceArguments, ConvolutionShape, ConvolutionArguments, ConvolutionAlgorithm,
              MatmulArguments, MatmulAlgorithm, PoolingArguments, CombineRowsArguments, SoftmaxArguments,
              NormalizeRowsArguments, NormalizeRowsBackwardArguments, SampleArguments, IndexArguments, ScanArguments,
              SortArguments, SelectArguments, SearchArguments, FactorArguments, SolveArguments, RandomArguments>();

/// The plug-in's only symbol.
inline constexpr const char* backend_symbol = "pycnn_backend_v1";
using BackendFunction = const Backend* (*)();

}  // namespace pycnn::kernels
