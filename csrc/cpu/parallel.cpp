#include "cpu/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/scratch.h"
#include "pycnn/error.h"

namespace pycnn::cpu {
namespace {

// -- how many threads -------------------------------------------------------------------------------------------------

int affinity_limit() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

/// Cores' worth of time that quota and period (in µs) allow, rounded up; no limit if either is not a positive number.
int quota_limit(const std::string& quota, const std::string& period) {
  const double q = std::atof(quota.c_str()), p = std::atof(period.c_str());
  if (!(q > 0 && p > 0)) return INT32_MAX;
  return static_cast<int>(std::clamp((q + p - 1) / p, 1.0, 1e6));
}

/// The tightest processor quota among the control groups (v1 and v2) this process is in.
int control_group_limit() {
  int limit = INT32_MAX;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",cpu,") == std::string::npos) continue;
    // Inside a container the path may be the host's; its own group is then the mount's root, where this walk ends.
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      const std::string folder = (version2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu") + path;
      std::string quota, period;
      if (version2) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;
      } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
      }
      limit = std::min(limit, quota_limit(quota, period));
      if (path.rfind('/') == std::string::npos) break;
    }
  }
  return limit;
}

int initial_threads() {
  const char* text = std::getenv("PYCNN_NUM_THREADS");
  if (!text || !*text) return std::min(affinity_limit(), control_group_limit());
  int n = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), n);
  check<ValueError>(error == std::errc() && *end == '\0' && n >= 1, "PYCNN_NUM_THREADS is '", text,
                    "', expected an integer of at least 1");
  return n;
}

// -- the pool ---------------------------------------------------------------------------------------------------------

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/// Polls some tens of microseconds, the gap between two kernels of a plan, before its user goes to sleep.
template <typename Condition>
bool spin_until(const Condition& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    relax();
  }
  return false;
}

class Pool {
 public:
  /// Runs the job on `threads` threads, or returns false: somebody else's job is running.
  bool try_run(int threads, int64_t chunks, ChunkFunction function, const void* context) {
    if (busy_.exchange(true, std::memory_order_acquire)) return false;
    if (!closed_) {
      if (threads != threads_) {
        stop_workers();
        start_workers(threads - 1);
        threads_ = threads;
      }
      constexpr int64_t most_at_once = int64_t{1} << 30;
      for (int64_t begin = 0; begin < chunks; begin += most_at_once)
        run(begin, std::min(chunks - begin, most_at_once), function, context);
    }
    const bool ran = !closed_;
    busy_.store(false, std::memory_order_release);
    return ran;
  }

  /// Ends the workers; later jobs run in their callers.
  void close() {
    while (busy_.exchange(true, std::memory_order_acquire)) std::this_thread::yield();
    stop_workers();
    closed_ = true;
    busy_.store(false, std::memory_order_release);
  }

 private:
  /// The chunks that a thread claims first, in order. They are the same part of every job of a kind, so that a kernel
  /// often finds in its thread's caches what the one before left there.
  struct alignas(64) Share {
    std::atomic<uint64_t> ticket{0};  ///< (job number, chunks not yet claimed)
    std::atomic<int64_t> end{0};      ///< one past its last chunk
  };

  void run(int64_t begin, int64_t chunks, ChunkFunction function, const void* context) {
    function_.store(function, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    unfinished_.store(static_cast<int32_t>(chunks), std::memory_order_relaxed);
    const uint32_t job = job_.load(std::memory_order_relaxed) + 1;
    const auto count = static_cast<int64_t>(shares_.size());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t first = chunks * i / count, end = chunks * (i + 1) / count;
      Share& share = shares_[static_cast<size_t>(i)];
      share.end.store(begin + end, std::memory_order_relaxed);
      share.ticket.store(static_cast<uint64_t>(job) << 32 | static_cast<uint64_t>(end - first),
                         std::memory_order_release);
    }
    job_.store(job);
    if (const int64_t sleeping = sleeping_.load(); sleeping > 0) {
      const std::lock_guard lock(mutex_);
      for (int64_t i = std::min(sleeping, chunks - 1); i > 0; --i) wake_.notify_one();
    }
    run_chunks(0);
    // Only chunks that a worker has claimed are waited for; a worker that sleeps or has lost its core holds up nobody.
    const auto done = [&] { return unfinished_.load(std::memory_order_acquire) == 0; };
    if (!spin_until(done))
      for (int32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) unfinished_.wait(left);
  }

  /// Those of the thread's own share, then what the others have left.
  void run_chunks(size_t own) {
    const size_t count = shares_.size();
    for (size_t i = 0; i < count; ++i)
      while (run_one_chunk(shares_[(own + i) % count])) {
      }
  }

  /// While chunks are left in a share the job's fields do not change, so a successful exchange proves that the fields
  /// read before it belong to the chunk it claimed.
  bool run_one_chunk(Share& share) {
    uint64_t ticket = share.ticket.load(std::memory_order_acquire);
    for (;;) {
      const auto left = static_cast<int64_t>(ticket & UINT32_MAX);
      if (left == 0) return false;
      const ChunkFunction function = function_.load(std::memory_order_relaxed);
      const void* context = context_.load(std::memory_order_relaxed);
      const int64_t end = share.end.load(std::memory_order_relaxed);
      if (!share.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      function(context, end - left);
      if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
      return true;
    }
  }

  void work(size_t own) {
    try {
      reserve_thread_scratch();
    } catch (const std::bad_alloc&) {
      return;  // others do the work
    }
    uint32_t seen = 0;
    const auto wanted = [&] { return job_.load() != seen || stopping_.load(); };
    while (!stopping_.load()) {
      seen = job_.load();
      run_chunks(own);
      if (spin_until(wanted)) continue;
      std::unique_lock lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, wanted);
      sleeping_.fetch_sub(1);
    }
  }

  void start_workers(int count) {
    // Signals belong to the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    shares_ = std::vector<Share>(static_cast<size_t>(count) + 1);
    try {
      while (static_cast<int>(workers_.size()) < count)
        workers_.emplace_back([this, own = workers_.size() + 1] { work(own); });
    } catch (const std::system_error&) {
      // The system gives no more threads; the work gets done by those there are.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void stop_workers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_.store(false);
  }

  std::atomic<bool> busy_{false};  ///< owned by the thread whose job runs; guards workers_, shares_ and closed_
  bool closed_ = false;
  std::vector<std::thread> workers_;
  int threads_ = 1;  ///< asked for; the system may have given fewer

  std::atomic<ChunkFunction> function_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::vector<Share> shares_ = std::vector<Share>(1);  ///< the first is the caller's; as long as the workers live
  alignas(64) std::atomic<uint32_t> job_{0};           ///< number of the last one
  alignas(64) std::atomic<int32_t> unfinished_{0};

  alignas(64) std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<int64_t> sleeping_{0};
  std::atomic<bool> stopping_{false};
};

std::atomic<int> wanted_threads{0};  ///< 0: not known yet
std::atomic<bool> forked{false};     ///< in a forked child the workers do not exist

/// Never freed: a forked child has no threads to join, and statics of other files may still call parallel_for.
Pool& pool() {
  static Pool* const instance = [] {
    pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
    return new Pool;
  }();
  static const struct Closer {
    Pool* pool;
    ~Closer() {
      if (!forked.load()) pool->close();
    }
  } closer{instance};
  return *instance;
}

}  // namespace

namespace {
thread_local bool serial_here = false;
}

SerialScope::SerialScope(bool serial) : before_(std::exchange(serial_here, serial || serial_here)) {}
SerialScope::~SerialScope() { serial_here = before_; }

int num_threads() {
  int n = wanted_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    int unknown = 0;
    n = initial_threads();
    if (!wanted_threads.compare_exchange_strong(unknown, n)) n = unknown;
  }
  return n;
}

void set_num_threads(int n) {
  check<ValueError>(n >= 1, "set_num_threads: ", n, " threads asked for, expected at least 1");
  wanted_threads.store(n);
}

void parallel_for(int64_t chunks, ChunkFunction function, const void* context) {
  const bool alone = chunks <= 1 || serial_here || forked.load(std::memory_order_relaxed);
  const int threads = alone ? 1 : num_threads();
  if (threads > 1 && pool().try_run(threads, chunks, function, context)) return;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) function(context, chunk);
}

}  // namespace pycnn::cpu
