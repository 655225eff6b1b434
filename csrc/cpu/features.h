// What this processor can do, and which instruction-set level runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pycnn::kernels {
struct Kernels;
}

namespace pycnn::cpu {

/// Levels this build contains and this machine can run, best first: "avx512", "avx2" and "portable" on x86-64,
/// "neon" on aarch64, "portable" elsewhere.
std::vector<std::string_view> available_levels();
/// The table in use: the best level, or the one PYCNN_CPU_ISA names (an unknown or unavailable name throws
/// pycnn::ValueError).
const kernels::Kernels& active_kernels();
/// The table of one level; throws pycnn::ValueError if it is not available.
const kernels::Kernels& kernels_of(std::string_view level);
/// Changes the level for plans made from now on (tests).
void set_level(std::string_view level);

/// How pairs of bfloat16 are multiplied, at the level that has it; everywhere else by widening.
enum class BFloat16Products : uint8_t {
  Widening,       ///< as float32
  Dot,            ///< vdpbf16ps
  Tiles,          ///< AMX
  EmulatedTiles,  ///< the code for AMX on tiles that are plain memory (tests)
};
/// What this processor is best at, or what PYCNN_BFLOAT16 names: "widening", "dot", "tiles" or "emulated_tiles" (an
/// unknown or unavailable name throws pycnn::ValueError).
BFloat16Products bfloat16_products();
/// Changes it for plans made from now on; none may be running, its workspace may be too small (tests).
void set_bfloat16_products(std::string_view name);
/// The names this machine can run, best first.
std::vector<std::string_view> available_bfloat16_products();

/// Brand string, core count, instruction sets and bfloat16 products, for `pycnn info`.
std::string processor_description();

}  // namespace pycnn::cpu
