#include "graph/tune.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>

#include "cpu/features.h"
#include "cpu/parallel.h"
#include "pycnn/graph.h"
#include "tensor/fork.h"

namespace pycnn::graph {
namespace {

// The file: this line with the number of choices and a checksum of what follows, then a line for each choice:
// machine, primitive, algorithm, separated by tabs.
constexpr const char* magic = "pycnn-algorithms-1";

/// "machine\tprimitive" to the algorithm's name.
using Choices = std::map<std::string, std::string>;

std::mutex warn_mutex;
std::function<void(const std::string&)> warning_handler;

void warn(const std::string& message) {
  std::function<void(const std::string&)> handler;
  {
    const std::lock_guard lock(warn_mutex);
    handler = warning_handler;
  }
  if (handler) handler(message);
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// Empty if there is nowhere to remember.
std::filesystem::path cache_path() {
  if (const char* path = environment("PYCNN_TUNE_CACHE")) return path;
  if (const char* folder = environment("XDG_CACHE_HOME")) return std::filesystem::path(folder) / "pycnn/algorithms";
  if (const char* home = environment("HOME")) return std::filesystem::path(home) / ".cache/pycnn/algorithms";
  return {};
}

uint64_t checksum(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// Nothing if the file is not one that this library wrote in full.
std::optional<Choices> parse(const std::string& text) {
  std::istringstream in(text);
  std::string word, line;
  uint64_t count = 0, sum = 0;
  if (!(in >> word >> count >> sum) || word != magic || !std::getline(in, line)) return std::nullopt;
  const auto body = static_cast<size_t>(in.tellg());
  if (checksum(std::string_view(text).substr(std::min(body, text.size()))) != sum) return std::nullopt;
  Choices choices;
  while (std::getline(in, line)) {
    const size_t tab = line.rfind('\t');
    if (tab == std::string::npos) return std::nullopt;
    choices[line.substr(0, tab)] = line.substr(tab + 1);
  }
  if (choices.size() != count) return std::nullopt;
  return choices;
}

/// What the file remembers; nothing, and a warning, if it is damaged.
Choices read(const std::filesystem::path& path, std::string& warning) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (std::optional<Choices> choices = parse(text.str()); file && choices) return *choices;
  warning = "the file of measured algorithms '" + path.string() +
            "' is damaged or not pycnn's; it is ignored and will be written anew";
  return {};
}

/// Another process's additions are kept: the folder is locked from reading to renaming.
bool add_to_file(const std::filesystem::path& path, const std::string& key, const std::string& algorithm) {
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::filesystem::create_directories(folder, error);
  const int lock = open(folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (lock < 0) return false;
  flock(lock, LOCK_EX);
  std::string warned_before;
  Choices choices = read(path, warned_before);
  choices[key] = algorithm;
  std::string body;
  for (const auto& [known, name] : choices) body.append(known).append("\t").append(name).append("\n");
  const std::filesystem::path temporary = path.string() + "." + std::to_string(getpid());
  std::ofstream file(temporary, std::ios::binary);
  file << magic << ' ' << choices.size() << ' ' << checksum(body) << '\n' << body;
  file.close();
  bool written = file.good();
  if (written) {
    std::filesystem::rename(temporary, path, error);
    written = !error;
  }
  if (!written) std::filesystem::remove(temporary, error);
  close(lock);
  return written;
}

double seconds_of(const std::function<void()>& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The first run pays for fresh pages and cold caches; of the others, few if they are long, the shortest counts.
double measured(const std::function<void()>& run) {
  constexpr double enough = 0.02;
  double spent = seconds_of(run), best = spent;
  for (int i = 0; i < 5 && (i == 0 || spent < enough); ++i) {
    const double seconds = seconds_of(run);
    best = i == 0 ? seconds : std::min(best, seconds);
    spent += seconds;
  }
  return best;
}

/// The choices of this process, and those of the file as it was first read.
class Tuner {
 public:
  size_t fastest(const std::string& key, std::span<const TuneCandidate> candidates,
                 const std::function<void(const char*, double)>& announce) {
    std::string warning;
    const size_t best = locked_fastest(key, candidates, announce, warning);
    if (!warning.empty()) warn(warning);  // who listens may hold locks of his own
    return best;
  }

 private:
  size_t locked_fastest(const std::string& key, std::span<const TuneCandidate> candidates,
                        const std::function<void(const char*, double)>& announce, std::string& warning) {
    const std::lock_guard lock(mutex_);
    if (!loaded_) {
      path_ = cache_path();
      if (!path_.empty()) choices_ = read(path_, warning);
      loaded_ = true;
    }
    if (const auto known = choices_.find(key); known != choices_.end())
      for (size_t i = 0; i < candidates.size(); ++i)
        if (known->second == candidates[i].name) return i;
    size_t best = 0;
    double shortest = 0;
    for (size_t i = 0; i < candidates.size(); ++i) {
      const double seconds = measured(candidates[i].run);
      announce(candidates[i].name, seconds);
      if (i == 0 || seconds < shortest) {
        best = i;
        shortest = seconds;
      }
    }
    choices_[key] = candidates[best].name;
    if (!path_.empty() && !add_to_file(path_, key, candidates[best].name) && !std::exchange(warned_, true))
      warning = "measured algorithms cannot be written to '" + path_.string() + "'; this process alone remembers them";
    return best;
  }

  ForkSafeMutex mutex_{ForkOrder::Tuner};
  bool loaded_ = false, warned_ = false;
  std::filesystem::path path_;
  Choices choices_;
};

}  // namespace

bool tuning() {
  static const bool enabled = [] {
    const char* value = environment("PYCNN_TUNE");
    check<ValueError>(value == nullptr || std::strcmp(value, "0") == 0 || std::strcmp(value, "1") == 0,
                      "PYCNN_TUNE is '", value == nullptr ? "" : value, "', expected 0 or 1");
    return value != nullptr && *value == '1';
  }();
  return enabled;
}

void* Scratch::bytes(size_t count) {
  blocks_.push_back(allocate_storage(std::max<size_t>(count, 1)));
  // 0x3c3c… is a small normal number in every floating-point type.
  std::memset(blocks_.back()->data(), 0x3c, count);
  return blocks_.back()->data();
}

void* Scratch::of(const Slot& slot) {
  int64_t lowest = 0, highest = 0;
  for (int d = 0; d < slot.shape.size(); ++d) {
    const int64_t reach = (slot.shape[d] - 1) * slot.strides[d];
    (reach < 0 ? lowest : highest) += reach;
  }
  const auto width = static_cast<int64_t>(size_of(slot.dtype));
  return static_cast<char*>(bytes(static_cast<size_t>((highest - lowest + 1) * width))) - lowest * width;
}

size_t fastest(const std::string& primitive, const char* level, std::span<const TuneCandidate> candidates,
               const std::function<void(const char* name, double seconds)>& announce) {
  static Tuner tuner;
  const std::string key = detail::concatenate(cpu::processor_description(), ", level ", level, ", threads ",
                                              cpu::num_threads(), ", pycnn " PYCNN_VERSION "\t", primitive);
  return tuner.fastest(key, candidates, announce);
}

}  // namespace pycnn::graph

namespace pycnn {

void set_warning_handler(std::function<void(const std::string&)> handler) {
  const std::lock_guard lock(graph::warn_mutex);
  graph::warning_handler = std::move(handler);
}

}  // namespace pycnn
