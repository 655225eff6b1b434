// Notes of steps while a profile is taken; one relaxed load per plan otherwise.
#pragma once

#include <atomic>
#include <chrono>

#include "graph/primitives.h"
#include "pycnn/profiler.h"

namespace pycnn::graph {

using ProfileClock = std::chrono::steady_clock;

extern std::atomic<bool> profiling;

void note_step(const Primitive& step, ProfileClock::time_point begin, ProfileClock::time_point end);
void note_compilation(size_t steps, ProfileClock::time_point begin, ProfileClock::time_point end);

}  // namespace pycnn::graph
