#include "cpu/parallel.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "pycnn/error.h"

namespace pycnn::cpu {
namespace {

class Parallel : public testing::Test {
 protected:
  void TearDown() override { set_num_threads(before_); }
  const int before_ = num_threads();
};

/// How often each chunk ran.
std::vector<int> visits(int64_t chunks) {
  std::vector<int> count(static_cast<size_t>(chunks));
  parallel_for(chunks, [&](int64_t chunk) { ++count[static_cast<size_t>(chunk)]; });
  return count;
}

TEST_F(Parallel, EveryChunkRunsOnceForAnyNumberOfThreads) {
  for (int threads : {1, 2, 3, 7, 32}) {
    set_num_threads(threads);
    EXPECT_EQ(num_threads(), threads);
    for (int64_t chunks : {0, 1, 2, 5, 1000}) EXPECT_EQ(visits(chunks), std::vector<int>(size_t(chunks), 1));
  }
}

TEST_F(Parallel, ShortJobsInQuickSuccessionDoNotMix) {
  set_num_threads(4);
  std::vector<int64_t> values(64);
  for (int64_t job = 0; job < 5000; ++job) {
    const int64_t chunks = 1 + job % 64;
    parallel_for(chunks, [&](int64_t chunk) { values[static_cast<size_t>(chunk)] = job * 1000 + chunk; });
    for (int64_t chunk = 0; chunk < chunks; ++chunk) ASSERT_EQ(values[static_cast<size_t>(chunk)], job * 1000 + chunk);
  }
}

TEST_F(Parallel, WorkersWakeFromSleep) {
  set_num_threads(3);
  for (int i = 0; i < 5; ++i) {
    usleep(20000);
    EXPECT_EQ(visits(9), std::vector<int>(9, 1));
  }
}

TEST_F(Parallel, NestedCallsRunSerially) {
  set_num_threads(4);
  std::atomic<int64_t> sum{0};
  parallel_for(8, [&](int64_t) {
    const std::thread::id self = std::this_thread::get_id();
    parallel_for(10, [&](int64_t inner) {
      EXPECT_EQ(std::this_thread::get_id(), self);
      sum += inner;
    });
  });
  EXPECT_EQ(sum.load(), 8 * 45);
}

TEST_F(Parallel, ConcurrentCallersAllFinish) {
  set_num_threads(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        if (visits(17) != std::vector<int>(17, 1)) ++wrong;
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(Parallel, ThreadCountMayChangeBetweenAndDuringCalls) {
  std::thread changer([] {
    for (int i = 0; i < 100; ++i) set_num_threads(1 + i % 5);
  });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(visits(11), std::vector<int>(11, 1));
  changer.join();
}

TEST_F(Parallel, ForkedChildRunsSerially) {
  set_num_threads(4);
  EXPECT_EQ(visits(100), std::vector<int>(100, 1));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::thread::id self = std::this_thread::get_id();
    std::atomic<bool> serial{true};
    std::atomic<int> count{0};
    parallel_for(100, [&](int64_t) {
      ++count;
      if (std::this_thread::get_id() != self) serial = false;
    });
    std::exit(serial && count == 100 ? 0 : 1);  // through the static destructors, which must not hang
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(visits(100), std::vector<int>(100, 1));
}

TEST_F(Parallel, RefusesLessThanOneThread) {
  EXPECT_THROW(set_num_threads(0), ValueError);
  EXPECT_THROW(set_num_threads(-3), ValueError);
}

}  // namespace
}  // namespace pycnn::cpu
