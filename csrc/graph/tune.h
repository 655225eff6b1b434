// PYCNN_TUNE=1: algorithms are chosen by measuring them, once per machine and primitive; a file remembers the choices.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/lowering.h"
#include "tensor/storage.h"

namespace pycnn::graph {

/// Whether PYCNN_TUNE asks for it; throws pycnn::ValueError if it is neither 0 nor 1.
bool tuning();

/// Memory to measure in, with finite numbers in it.
class Scratch {
 public:
  void* of(const Slot& slot);
  void* bytes(size_t count);

 private:
  std::vector<StoragePointer> blocks_;
};

struct TuneCandidate {
  const char* name;
  std::function<void()> run;
};

/// Index of the fastest candidate: as remembered for this machine (processor, `level`, threads, version of the library)
/// and `primitive`, or measured now and remembered. `announce` is told each time as it is measured.
size_t fastest(const std::string& primitive, const char* level, std::span<const TuneCandidate> candidates,
               const std::function<void(const char* name, double seconds)>& announce);

}  // namespace pycnn::graph
