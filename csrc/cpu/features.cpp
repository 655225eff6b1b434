#include "cpu/features.h"

#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "kernels/kernels.h"
#include "pycnn/error.h"

namespace pycnn::cpu {

#if defined(PYCNN_LEVEL_portable)
namespace portable {
const kernels::Kernels& table();
}
#endif
#if defined(PYCNN_LEVEL_neon)
namespace neon {
const kernels::Kernels& table();
}
#endif
#if defined(PYCNN_LEVEL_avx2)
namespace avx2 {
const kernels::Kernels& table();
}
#endif
#if defined(PYCNN_LEVEL_avx512)
namespace avx512 {
const kernels::Kernels& table();
}
#endif

namespace {

#if defined(__x86_64__)
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

/// Which register files the operating system saves on a context switch.
uint64_t extended_control_register() {
  if ((cpuid(1).ecx & bit_OSXSAVE) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

[[maybe_unused]] bool supports_avx2() {
  const uint64_t ymm_state = 0x6;
  return (extended_control_register() & ymm_state) == ymm_state && has(cpuid(1).ecx, bit_FMA | bit_F16C) &&
         has(cpuid(7).ebx, bit_AVX2 | bit_BMI | bit_BMI2);
}

[[maybe_unused]] bool supports_avx512() {
  const uint64_t zmm_state = 0xe6;
  return supports_avx2() && (extended_control_register() & zmm_state) == zmm_state &&
         has(cpuid(7).ebx, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL);
}

/// vdpbf16ps exists.
[[maybe_unused]] bool supports_dot() { return supports_avx512() && has(cpuid(7, 1).eax, 1u << 5); }

/// vdpbf16ps multiplies twice as fast as float32 instructions do: on AMD's processors. On Intel's it is slower.
[[maybe_unused]] bool dot_is_fast() { return supports_dot() && cpuid(0).ebx == signature_AMD_ebx; }

/// AMX tiles of bfloat16 exist, the system saves them, and it lets this process use them.
[[maybe_unused]] bool supports_tiles() {
#if defined(__linux__)
  const uint64_t tile_state = 0x60000;
  const uint32_t tiles = 1u << 24, bfloat16 = 1u << 22;
  if (!supports_avx512() || (extended_control_register() & tile_state) != tile_state) return false;
  if (!has(cpuid(7).edx, tiles | bfloat16)) return false;
  const long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool permitted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  return permitted;
#else
  return false;
#endif
}

std::string brand() {
  std::string text;
  if (cpuid(0x80000000).eax < 0x80000004) return "x86-64 processor";
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const Registers r = cpuid(leaf);
    for (uint32_t word : {r.eax, r.ebx, r.ecx, r.edx})
      for (int byte = 0; byte < 4; ++byte)
        if (char c = static_cast<char>(word >> (8 * byte) & 0xff)) text += c;
  }
  const size_t first = text.find_first_not_of(' '), last = text.find_last_not_of(' ');
  return first == std::string::npos ? "x86-64 processor" : text.substr(first, last - first + 1);
}
#else
[[maybe_unused]] bool supports_neon() {
#if defined(__aarch64__) && defined(__linux__)
  constexpr unsigned long advanced_simd = 1UL << 1;  // HWCAP_ASIMD
  return (getauxval(AT_HWCAP) & advanced_simd) != 0;
#else
  return true;
#endif
}

/// Linux on ARM gives numbers instead of a name.
std::string brand() {
  std::ifstream info("/proc/cpuinfo");
  std::string implementer, part;
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    const std::string value = line.substr(colon + 2);
    if (line.starts_with("model name")) return value;
    if (line.starts_with("CPU implementer")) implementer = value;
    if (line.starts_with("CPU part")) part = value;
  }
  return part.empty() ? "processor" : "processor (implementer " + implementer + ", part " + part + ")";
}
#endif

const kernels::Kernels* find(std::string_view level) {
#if defined(PYCNN_LEVEL_avx512)
  if (level == "avx512" && supports_avx512()) return &avx512::table();
#endif
#if defined(PYCNN_LEVEL_avx2)
  if (level == "avx2" && supports_avx2()) return &avx2::table();
#endif
#if defined(PYCNN_LEVEL_neon)
  if (level == "neon" && supports_neon()) return &neon::table();
#endif
#if defined(PYCNN_LEVEL_portable)
  if (level == "portable") return &portable::table();
#endif
  return nullptr;
}

const kernels::Kernels& require(std::string_view level, std::string_view source) {
  if (const kernels::Kernels* table = find(level)) return *table;
  std::string known;
  for (std::string_view name : available_levels()) known += (known.empty() ? "" : ", ") + std::string(name);
  fail<ValueError>(source, ": instruction-set level '", level, "' is unknown or not available here; there are ", known);
}

std::atomic<const kernels::Kernels*> active{nullptr};

constexpr std::string_view products_names[] = {"widening", "dot", "tiles", "emulated_tiles"};

bool has_products(BFloat16Products products) {
  switch (products) {
#if defined(PYCNN_LEVEL_avx512)
    case BFloat16Products::Dot:
      return supports_dot();
    case BFloat16Products::Tiles:
      return supports_tiles();
#endif
    case BFloat16Products::Widening:
    case BFloat16Products::EmulatedTiles:
      return true;
    default:
      return false;
  }
}

BFloat16Products require_products(std::string_view wanted, std::string_view source) {
  for (size_t i = 0; i < std::size(products_names); ++i)
    if (products_names[i] == wanted && has_products(static_cast<BFloat16Products>(i)))
      return static_cast<BFloat16Products>(i);
  std::string known;
  for (std::string_view name : available_bfloat16_products()) known += (known.empty() ? "" : ", ") + std::string(name);
  fail<ValueError>(source, ": '", wanted, "' is no way to multiply bfloat16 or not available here; there are ", known);
}

BFloat16Products best_products() {
#if defined(PYCNN_LEVEL_avx512)
  if (supports_tiles()) return BFloat16Products::Tiles;
  if (dot_is_fast()) return BFloat16Products::Dot;
#endif
  return BFloat16Products::Widening;
}

constexpr int undecided = -1;
std::atomic<int> active_products{undecided};

}  // namespace

std::vector<std::string_view> available_levels() {
  std::vector<std::string_view> levels;
  for (std::string_view level : {"avx512", "avx2", "neon", "portable"})
    if (find(level)) levels.push_back(level);
  return levels;
}

const kernels::Kernels& active_kernels() {
  const kernels::Kernels* table = active.load(std::memory_order_acquire);
  if (!table) {
    const char* wanted = std::getenv("PYCNN_CPU_ISA");
    table = wanted && *wanted ? &require(wanted, "PYCNN_CPU_ISA") : find(available_levels().front());
    bfloat16_products();  // a wrong PYCNN_BFLOAT16 is an error at once
    active.store(table, std::memory_order_release);
  }
  return *table;
}

const kernels::Kernels& kernels_of(std::string_view level) { return require(level, "kernels_of"); }

void set_level(std::string_view level) { active.store(&require(level, "set_level"), std::memory_order_release); }

BFloat16Products bfloat16_products() {
  int products = active_products.load(std::memory_order_acquire);
  if (products == undecided) {
    const char* wanted = std::getenv("PYCNN_BFLOAT16");
    products = static_cast<int>(wanted && *wanted ? require_products(wanted, "PYCNN_BFLOAT16") : best_products());
    active_products.store(products, std::memory_order_release);
  }
  return static_cast<BFloat16Products>(products);
}

void set_bfloat16_products(std::string_view name) {
  active_products.store(static_cast<int>(require_products(name, "set_bfloat16_products")), std::memory_order_release);
}

std::vector<std::string_view> available_bfloat16_products() {
  std::vector<std::string_view> names;
  for (BFloat16Products products :
       {BFloat16Products::Tiles, BFloat16Products::Dot, BFloat16Products::Widening, BFloat16Products::EmulatedTiles})
    if (has_products(products)) names.push_back(products_names[static_cast<size_t>(products)]);
  return names;
}

std::string processor_description() {
  std::string text = brand() + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " cores, instruction sets:";
  for (std::string_view level : available_levels()) text += " " + std::string(level);
  text += ", bfloat16 products: " + std::string(products_names[static_cast<size_t>(bfloat16_products())]);
  return text;
}

}  // namespace pycnn::cpu
