// Evaluation seen from outside: modes, limits, counters and descriptions of plans.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pycnn/tensor.h"

namespace pycnn {

/// Lazy: operators are recorded and run in fused plans. Eager: each runs at once, unfused, with the same kernels and
/// bits.
enum class Mode : uint8_t { Lazy, Eager };
Mode mode();
void set_mode(Mode mode);

/// Counters since start: "plans_compiled", "plans_run", "plan_cache_hits", "nodes_recorded", "nodes_evaluated",
/// "steps_run", "buffers_donated", "operands_packed" (weights packed to be kept), "graphs_captured", "graphs_launched"
/// (plans as CUDA graphs).
std::map<std::string, uint64_t> statistics();

/// The plan that evaluating these tensors now would run, as text: steps, algorithms, shapes, buffers, bytes. Runs
/// nothing.
std::string describe_plan(std::span<const Tensor> tensors);

/// Called between the steps of a plan; returning true interrupts it (Interrupted is thrown, every tensor stays whole).
void set_interrupt_check(std::function<bool()> check);

/// Called with what a user should know of and nothing depends on, in one line; without a handler it is dropped.
void set_warning_handler(std::function<void(const std::string&)> handler);

/// Called when a thread starts to compute or to wait for another's results; what it returns lives until that is over.
/// A host language gives up its interpreter lock there.
void set_evaluation_scope(std::function<std::shared_ptr<void>()> enter);

/// Names of the algorithms of a primitive, best first: "convolution_forward", "convolution_input_gradient",
/// "convolution_weight_gradient", "matmul".
std::vector<std::string> algorithms(std::string_view primitive);
/// Uses only this algorithm; planning throws where it declines. Empty restores the choice.
void force_algorithm(std::string_view primitive, std::string_view algorithm);

/// Largest tile of results for which Winograd's algorithm may replace the direct convolution: 2 unless PYCNN_WINOGRAD
/// says otherwise, with errors like those of the direct one; 4 is faster on large images, with errors some five times
/// as large; 0 switches it off. Plans made from now on heed a change.
int winograd();
void set_winograd(int tile);

/// Whether a GPU's tensor cores may round the factors of float32 products and convolutions to TFloat32 (10 bits of
/// mantissa; sums stay float32). Off unless set. Plans made from now on heed a change.
bool allow_tf32();
void set_allow_tf32(bool allowed);

/// Forgets compiled plans and arenas.
void clear_plan_cache();

}  // namespace pycnn
