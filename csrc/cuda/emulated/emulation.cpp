#include "cuda/emulated/emulation.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace pycnn::cuda::emulation {

namespace {

constexpr size_t stack_bytes = size_t{1} << 16;
constexpr size_t canary_bytes = 256;
constexpr unsigned char poison = 0xFF, canary = 0xA5;
constexpr int lanes = 32;
constexpr size_t shared_alignment = 128;
constexpr size_t matrix_row = 16;  ///< bytes that a lane gives the address of

struct Copy {
  void* to;
  const void* from;
  size_t bytes, valid_bytes;
};

enum class State : uint8_t { Runnable, AtBarrier, InWarp, Finished };

struct Fiber {
  ucontext_t context;  ///< to begin with; then it goes on from where it left, which takes no system call
  jmp_buf left;
  bool begun = false;
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
  State state = State::Finished;
  dim3 index;
  uint64_t exchanges = 0;
  std::vector<Copy> uncommitted;
  std::vector<std::vector<Copy>> groups;
};

struct Warp {
  std::vector<unsigned char> given[2];  // by parity of the exchange: the slow ones may still read the last
  int arrived = 0;
};

struct Block {
  const char* name = "";
  const std::function<void()>* kernel = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  std::vector<unsigned char> shared_room;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  size_t threads = 0, current = 0;
  jmp_buf scheduler;
  std::minstd_rand random;
};
thread_local Block* block = nullptr;
thread_local int64_t conflicts = 0;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "pycnn: kernel %s in emulation: %s\n", block->name, what);
  std::abort();
}

Fiber& self() { return *block->fibers[block->current]; }

void yield(State state) {
  Fiber& fiber = self();
  fiber.state = state;
  if (_setjmp(fiber.left) == 0) _longjmp(block->scheduler, 1);
}

void resume(Fiber& fiber) {
  if (_setjmp(block->scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.left, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}

void enter() {
  (*block->kernel)();
  Fiber& fiber = self();
  if (!fiber.uncommitted.empty() || !fiber.groups.empty()) give_up("a thread ends with copies on their way");
  yield(State::Finished);
}

int warp_lanes(size_t warp) { return static_cast<int>(std::min<size_t>(lanes, block->threads - warp * lanes)); }

// Whoever waits for nobody any more may run.
void release() {
  size_t waiting = 0, finished = 0;
  std::vector<int> in_warp(block->warps.size(), 0), gone(block->warps.size(), 0);
  for (size_t i = 0; i < block->threads; ++i) {
    const State state = block->fibers[i]->state;
    waiting += state == State::AtBarrier;
    finished += state == State::Finished;
    in_warp[i / lanes] += state == State::InWarp;
    gone[i / lanes] += state == State::Finished;
  }
  bool any = false;
  for (size_t i = 0; i < block->threads; ++i) {
    State& state = block->fibers[i]->state;
    const bool together = state == State::InWarp && in_warp[i / lanes] + gone[i / lanes] == warp_lanes(i / lanes);
    if (together || (state == State::AtBarrier && waiting + finished == block->threads)) state = State::Runnable;
    any |= state == State::Runnable;
  }
  if (!any) give_up("threads wait at different barriers");
}

void run_block() {
  for (size_t i = 0; i < block->threads; ++i) {
    Fiber& fiber = *block->fibers[i];
    const auto n = static_cast<unsigned>(i);
    fiber.index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
    fiber.state = State::Runnable;
    fiber.exchanges = 0;
    fiber.begun = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  std::memset(block->shared, poison, block->shared_bytes);
  std::memset(block->shared + block->shared_bytes, canary, canary_bytes);
  for (;;) {
    size_t finished = 0;
    const size_t start = block->random() % block->threads;
    const bool backwards = block->random() % 2 != 0;
    for (size_t k = 0; k < block->threads; ++k) {
      const size_t i = (start + (backwards ? block->threads - k : k)) % block->threads;
      Fiber& fiber = *block->fibers[i];
      if (fiber.state == State::Runnable) {
        block->current = i;
        threadIdx = fiber.index;
        resume(fiber);
      }
      finished += fiber.state == State::Finished;
    }
    if (finished == block->threads) break;
    release();
  }
  for (size_t i = 0; i < canary_bytes; ++i)
    if (block->shared[block->shared_bytes + i] != canary) give_up("shared memory was written beyond its end");
}

}  // namespace

void run_blocks(const char* name, dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel) {
  static Block& own = *new Block;  // one kernel runs at a time, and some when their thread ends
  block = &own;
  own.name = name;
  own.kernel = &kernel;
  own.threads = static_cast<size_t>(threads.x) * threads.y * threads.z;
  if (own.threads > 1024) give_up("a block of more than 1024 threads");
  if (shared_bytes > (227 << 10)) give_up("more shared memory than there is");
  while (own.fibers.size() < own.threads) own.fibers.push_back(std::make_unique<Fiber>());
  own.warps.resize((own.threads + lanes - 1) / lanes);
  own.shared_bytes = shared_bytes;
  own.shared_room.resize(shared_bytes + canary_bytes + shared_alignment);
  own.shared = own.shared_room.data();
  own.shared += shared_alignment - reinterpret_cast<uintptr_t>(own.shared) % shared_alignment;
  blockDim = threads;
  gridDim = blocks;
  for (unsigned z = 0; z < blocks.z; ++z)
    for (unsigned y = 0; y < blocks.y; ++y)
      for (unsigned x = 0; x < blocks.x; ++x) {
        blockIdx = {x, y, z};
        run_block();
      }
  block = nullptr;
}

void* shared_memory() { return block->shared; }

void block_barrier() { yield(State::AtBarrier); }

int lane() { return static_cast<int>(block->current % lanes); }

void check_matrix_rows(const void* row) {
  const auto mine = reinterpret_cast<uintptr_t>(row);
  if (mine % matrix_row != 0) give_up("a matrix row that is not aligned");
  uintptr_t all[lanes];
  std::memcpy(all, exchange(&mine, sizeof mine), sizeof all);
  const auto bank = [](uintptr_t address) { return address / matrix_row % 8; };
  const int first = lane() / 8 * 8;
  for (int other = first; other < first + 8; ++other)
    if (other != lane() && bank(all[other]) == bank(mine)) ++conflicts;
}

int64_t bank_conflicts() { return conflicts; }

const void* exchange(const void* mine, size_t bytes) {
  Fiber& fiber = self();
  std::vector<unsigned char>& given = block->warps[block->current / lanes].given[fiber.exchanges++ % 2];
  if (given.size() < lanes * bytes) given.resize(lanes * std::max<size_t>(bytes, 64));
  std::memcpy(given.data() + static_cast<size_t>(lane()) * bytes, mine, bytes);
  yield(State::InWarp);
  return given.data();
}

void begin_copy(void* to, const void* from, size_t bytes, size_t valid_bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0)
    give_up("a copy that is not aligned");
  std::memset(to, poison, bytes);
  self().uncommitted.push_back({to, from, bytes, valid_bytes});
}

void commit_copies() {
  Fiber& fiber = self();
  fiber.groups.push_back(std::move(fiber.uncommitted));
  fiber.uncommitted.clear();
}

void wait_copies(int pending) {
  std::vector<std::vector<Copy>>& groups = self().groups;
  while (groups.size() > static_cast<size_t>(pending)) {
    for (const Copy& copy : groups.front()) {
      std::memcpy(copy.to, copy.from, copy.valid_bytes);
      std::memset(static_cast<char*>(copy.to) + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace pycnn::cuda::emulation
