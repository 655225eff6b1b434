// What this processor can do, and which instruction-set level runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pycnn::kernels {
struct Kernels;
}

namespace pycnn::cpu {

/// Levels this build contains and this machine can run, best first: "avx512", "avx2", "portable".
std::vector<std::string_view> available_levels();
/// The table in use: the best level, or the one PYCNN_CPU_ISA names (an unknown or unavailable name throws
/// pycnn::ValueError).
const kernels::Kernels& active_kernels();
/// The table of one level; throws pycnn::ValueError if it is not available.
const kernels::Kernels& kernels_of(std::string_view level);
/// Changes the level for plans made from now on (tests).
void set_level(std::string_view level);
/// Brand string, core count and instruction sets, for `pycnn info`.
std::string processor_description();

}  // namespace pycnn::cpu
