// Convolutions and matrix products: which algorithm, what is packed, how it is called.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "cpu/features.h"
#include "graph/evaluate.h"
#include "graph/primitives.h"
#include "graph/tune.h"
#include "pycnn/graph.h"
#include "tensor/fork.h"

namespace pycnn::graph {
namespace {

constexpr std::array<const char*, 4> choosable = {"convolution_forward", "convolution_input_gradient",
                                                  "convolution_weight_gradient", "matmul"};

int choosable_index(std::string_view primitive) {
  for (size_t i = 0; i < choosable.size(); ++i)
    if (primitive == choosable[i]) return static_cast<int>(i);
  fail<ValueError>(
      "there is no choice of algorithms for '", primitive,
      "'; primitives with one: convolution_forward, convolution_input_gradient, convolution_weight_gradient, matmul");
}

bool is_winograd_tile(int tile) { return tile == 0 || tile == 2 || tile == 4; }

int winograd_of_environment() {
  const char* value = std::getenv("PYCNN_WINOGRAD");
  if (value == nullptr || *value == '\0') return 2;
  const int tile = value[1] == '\0' ? value[0] - '0' : -1;
  check<ValueError>(is_winograd_tile(tile), "PYCNN_WINOGRAD is '", value, "', expected 0, 2 or 4");
  return tile;
}

struct Forced {
  ForkSafeMutex mutex{ForkOrder::Algorithms};
  std::array<std::string, 4> names;
  std::atomic<int64_t> generation{0};
  std::atomic<int> winograd{winograd_of_environment()};
  std::atomic<bool> tf32{false};
};
Forced& forced() {
  static Forced instance;
  return instance;
}

bool verbose() {
  static const bool enabled = [] {
    const char* value = std::getenv("PYCNN_VERBOSE");
    return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
  }();
  return enabled;
}

// Of the algorithms that accept the arguments the fastest one; the last of the list, the reference, does not compete.
// None if fewer than two do. scratch(memory) gives the arguments with addresses.
template <typename Algorithm, typename Arguments, typename InScratch>
const Algorithm* measured(int primitive, const kernels::Kernels& kernels, const Algorithm* list,
                          const Arguments& arguments, const std::string& description, const InScratch& in_scratch) {
  std::vector<const Algorithm*> accepting;
  for (const Algorithm* algorithm = list; algorithm->name != nullptr && algorithm[1].name != nullptr; ++algorithm)
    if (algorithm->declines(arguments) == nullptr) accepting.push_back(algorithm);
  if (accepting.size() < 2) return nullptr;
  const char* const name = choosable[static_cast<size_t>(primitive)];
  Scratch memory;
  std::optional<Arguments> ready;
  std::vector<TuneCandidate> candidates;
  for (const Algorithm* algorithm : accepting)
    candidates.push_back({algorithm->name, [&, algorithm] {
                            if (!ready) {
                              size_t workspace = 0;
                              for (const Algorithm* other : accepting)
                                workspace = std::max(workspace, other->workspace(arguments));
                              ready = in_scratch(memory);
                              ready->workspace = memory.bytes(workspace);
                            }
                            algorithm->run(*ready);
                          }});
  const auto announce = [&](const char* algorithm, double seconds) {
    if (verbose())
      std::fprintf(stderr, "pycnn: %s %s: %s took %.1f us\n", name, description.c_str(), algorithm, seconds * 1e6);
  };
  return accepting[fastest(std::string(name) + " " + description, kernels.level, candidates, announce)];
}

// The forced algorithm, the fastest if they are measured, or else the first that does not decline. `list` ends with a
// null name; `layout` is what else than shapes matters, empty if nothing is to be measured; in_scratch as above.
template <typename Algorithm, typename Arguments, typename InScratch>
const Algorithm* choose(int primitive, const kernels::Kernels& kernels, const Algorithm* list,
                        const Arguments& arguments, const std::string& shapes, const std::string& layout,
                        const InScratch& in_scratch) {
  std::string wanted = forced_algorithm(primitive);
  std::string refusals;
  if (wanted.empty() && !layout.empty())
    if (const Algorithm* best = measured(primitive, kernels, list, arguments, shapes + " " + layout, in_scratch)) {
      wanted = best->name;
      refusals = " (measured)";
    }
  for (const Algorithm* algorithm = list; algorithm->name != nullptr; ++algorithm) {
    if (!wanted.empty() && wanted != algorithm->name) continue;
    const char* reason = algorithm->declines(arguments);
    if (reason == nullptr) {
      if (verbose())
        std::fprintf(stderr, "pycnn: %s %s: %s%s\n", choosable[static_cast<size_t>(primitive)], shapes.c_str(),
                     algorithm->name, refusals.c_str());
      return algorithm;
    }
    refusals += std::string("; not ") + algorithm->name + ": " + reason;
  }
  fail(choosable[static_cast<size_t>(primitive)], " ", shapes, ": no algorithm applies", refusals);
}

/// Algorithms are measured in the computer's memory.
bool tunes(const kernels::Kernels& kernels) { return tuning() && std::strcmp(kernels.device, "cpu") == 0; }

std::string spatial(const int64_t* sizes) {
  return std::to_string(sizes[0]) + "x" + std::to_string(sizes[1]) + "x" + std::to_string(sizes[2]);
}

std::string describe(const kernels::ConvolutionShape& s) {
  return detail::concatenate("n", s.batch, " c", s.in_channels, " ", spatial(s.input), " -> c", s.out_channels, " ",
                             spatial(s.output), " k", spatial(s.kernel), " s", spatial(s.stride), " p",
                             spatial(s.padding), " d", spatial(s.dilation), " g", s.groups);
}

}  // namespace

std::string forced_algorithm(int primitive) {
  if (forced_algorithm_generation() == 0) return "";
  const std::lock_guard lock(forced().mutex);
  return forced().names[static_cast<size_t>(primitive)];
}

int64_t forced_algorithm_generation() { return forced().generation.load(std::memory_order_acquire); }

bool EpiloguePrimitive::compile_epilogue(const Formulation& formulation, CompiledProgram& into) const {
  const std::vector<int> order = result_order();
  return into.compile(formulation, {.order = order, .keep_innermost = true});
}

template <typename Algorithm, typename Arguments>
void Packing::prepare(const Algorithm& algorithm, const Arguments& arguments, std::span<const int64_t> form) {
  bytes = algorithm.packed_bytes != nullptr ? algorithm.packed_bytes(arguments) : 0;
  if (bytes > most_derived_bytes) bytes = 0;
  key.assign(form.begin(), form.end());
  key.push_back(reinterpret_cast<intptr_t>(algorithm.pack));
  key.push_back(static_cast<int64_t>(arguments.dtype));
  if (arguments.dtype == DType::BFloat16) key.push_back(static_cast<int64_t>(cpu::bfloat16_products()));
}

template <typename Algorithm, typename Arguments>
void Packing::run(const Algorithm& algorithm, Arguments& arguments, const Slot& operand,
                  const Addresses& addresses) const {
  StoragePointer packed;
  const auto buffer = static_cast<size_t>(operand.buffer);
  if (bytes > 0 && addresses.unchanged[buffer] != nullptr) {
    Storage& storage = *addresses.unchanged[buffer];
    packed = storage.derived(key, static_cast<char*>(addresses.of(operand)) - static_cast<char*>(storage.data()), bytes,
                             [&](void* to) {
                               algorithm.pack(arguments, to);
                               counters().operands_packed++;
                             });
    if (packed) arguments.packed = packed->data();
  }
  algorithm.run(arguments);
}

template <typename Algorithm, typename Arguments>
void EpiloguePrimitive::run_algorithm(const Algorithm& algorithm, Arguments& arguments, const Slot& weight,
                                      const Addresses& addresses) const {
  if (raw().count() == 0) return;
  arguments.workspace = addresses.workspace;
  kernels::Operand operands[kernels::max_operands];
  kernels::PointwiseArguments applied;
  if (epilogue) {
    applied = compiled_epilogue.arguments(addresses, operands);
    arguments.epilogue = &applied;
  }
  packing.run(algorithm, arguments, weight, addresses);
}

const char* ConvolutionPrimitive::name() const { return choosable[static_cast<size_t>(pass)]; }

std::vector<int> ConvolutionPrimitive::result_order() const {
  const int rank = output.shape.size();
  std::vector<int> order = {0};
  for (int d = 2; d < rank; ++d) order.push_back(d);
  order.push_back(1);
  return order;
}

kernels::ConvolutionArguments ConvolutionPrimitive::arguments() const {
  kernels::ConvolutionArguments result{};
  result.shape = shape;
  result.dtype = output.dtype;
  result.weight_strides[0] = weight.strides[0];
  result.weight_strides[1] = weight.strides[1];
  result.weight_strides[2] = 1;
  for (int d = 2; d < weight.shape.size(); ++d)
    if (weight.shape[d] != 1) result.weight_strides[2] = weight.strides[d];
  result.winograd = pycnn::winograd();
  result.tf32 = allow_tf32();
  result.forced = !forced_algorithm(static_cast<int>(pass)).empty();
  return result;
}

void ConvolutionPrimitive::prepare(const kernels::Kernels& kernels) {
  if (epilogue) check(compile_epilogue(*epilogue, compiled_epilogue), "internal error: an epilogue is too large");
  const kernels::ConvolutionArguments result = arguments();
  const auto in_scratch = [&](Scratch& memory) {
    kernels::ConvolutionArguments filled = result;
    filled.input = memory.of(input);
    filled.weight = memory.of(weight);
    filled.output = memory.of(output);
    return filled;
  };
  const std::string layout =
      tunes(kernels) && flops() > 0
          ? detail::concatenate(name_of(result.dtype), " w", weight.strides, " winograd ", result.winograd)
          : "";
  algorithm = choose(static_cast<int>(pass), kernels, kernels.convolution[static_cast<size_t>(pass)], result,
                     describe(shape), layout, in_scratch);
  workspace = algorithm->workspace(result);
  const kernels::ConvolutionShape& s = shape;
  std::vector<int64_t> form = {s.groups, s.in_channels, s.out_channels};
  for (const int64_t* sizes : {s.kernel, s.stride, s.padding, s.dilation, result.weight_strides})
    form.insert(form.end(), sizes, sizes + 3);
  // Fewer inputs than the stride meet fewer phases of the kernel.
  for (int d = 0; d < 3; ++d) form.push_back(std::min(s.stride[d], s.input[d]));
  if (pass != kernels::ConvolutionPass::WeightGradient) packing.prepare(*algorithm, result, form);
}

void ConvolutionPrimitive::run(const kernels::Kernels&, const Addresses& addresses) const {
  kernels::ConvolutionArguments result = arguments();
  result.input = addresses.of(input);
  result.weight = addresses.of(weight);
  result.output = addresses.of(output);
  run_algorithm(*algorithm, result, weight, addresses);
}

double ConvolutionPrimitive::flops() const {
  double taps = 2;
  double pixels = static_cast<double>(shape.batch);
  for (int d = 0; d < 3; ++d) {
    taps *= static_cast<double>(shape.kernel[d]);
    pixels *= static_cast<double>(shape.output[d]);
  }
  return taps * pixels * static_cast<double>(shape.in_channels / shape.groups) *
         static_cast<double>(shape.out_channels);
}

std::vector<int> MatmulPrimitive::result_order() const {
  std::vector<int> order;
  for (int d = 0; d < c.shape.size(); ++d) order.push_back(d);
  return order;
}

void MatmulPrimitive::prepare(const kernels::Kernels& kernels) {
  if (epilogue) check(compile_epilogue(*epilogue, compiled_epilogue), "internal error: an epilogue is too large");
  shape.forced = !forced_algorithm(3).empty();
  shape.tf32 = allow_tf32();
  const auto in_scratch = [&](Scratch& memory) {
    kernels::MatmulArguments filled = shape;
    filled.a = memory.of(a);
    filled.b = memory.of(b);
    filled.c = memory.of(c);
    return filled;
  };
  const std::string layout =
      tunes(kernels) && flops() > 0 ? detail::concatenate(name_of(shape.dtype), " a", a.strides, " b", b.strides) : "";
  algorithm =
      choose(3, kernels, kernels.matmul, shape, detail::concatenate(a.shape, " x ", b.shape), layout, in_scratch);
  workspace = algorithm->workspace(shape);
  const kernels::MatmulArguments& g = shape;
  const int64_t form[] = {g.batch[0], g.batch[1], g.n, g.k, g.b_batch[0], g.b_batch[1], g.b_row, g.b_column};
  packing.prepare(*algorithm, g, form);
}

void MatmulPrimitive::run(const kernels::Kernels&, const Addresses& addresses) const {
  kernels::MatmulArguments result = shape;
  result.a = addresses.of(a);
  result.b = addresses.of(b);
  result.c = addresses.of(c);
  run_algorithm(*algorithm, result, b, addresses);
}

double MatmulPrimitive::flops() const {
  return 2.0 * static_cast<double>(shape.batch[0] * shape.batch[1]) * static_cast<double>(shape.m) *
         static_cast<double>(shape.n) * static_cast<double>(shape.k);
}

}  // namespace pycnn::graph

namespace pycnn {

std::vector<std::string> algorithms(std::string_view primitive) {
  const int index = graph::choosable_index(primitive);
  const kernels::Kernels& kernels = cpu::active_kernels();
  std::vector<std::string> names;
  if (index == 3) {
    for (const kernels::MatmulAlgorithm* a = kernels.matmul; a->name != nullptr; ++a) names.emplace_back(a->name);
  } else {
    for (const kernels::ConvolutionAlgorithm* a = kernels.convolution[index]; a->name != nullptr; ++a)
      names.emplace_back(a->name);
  }
  return names;
}

void force_algorithm(std::string_view primitive, std::string_view algorithm) {
  const int index = graph::choosable_index(primitive);
  const std::vector<std::string> names = algorithms(primitive);
  check<ValueError>(algorithm.empty() || std::find(names.begin(), names.end(), algorithm) != names.end(), primitive,
                    " has no algorithm '", algorithm, "'");
  const std::lock_guard lock(graph::forced().mutex);
  graph::forced().names[static_cast<size_t>(index)] = algorithm;
  graph::forced().generation.fetch_add(1);
}

int winograd() { return graph::forced().winograd.load(std::memory_order_relaxed); }

void set_winograd(int tile) {
  check<ValueError>(graph::is_winograd_tile(tile), "set_winograd expects 0, 2 or 4, got ", tile);
  graph::forced().winograd.store(tile, std::memory_order_relaxed);
  graph::forced().generation.fetch_add(1);
}

bool allow_tf32() { return graph::forced().tf32.load(std::memory_order_relaxed); }

void set_allow_tf32(bool allowed) {
  graph::forced().tf32.store(allowed, std::memory_order_relaxed);
  graph::forced().generation.fetch_add(1);
}

}  // namespace pycnn
