#include "tensor/backend.h"

#include <dlfcn.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "cpu/features.h"
#include "pycnn/error.h"
#include "tensor/storage.h"

namespace pycnn {
namespace {

using kernels::most_devices;

thread_local Device creation;
thread_local int current = 0;
thread_local std::array<cuda::Stream, most_devices> streams;

struct Choice {
  int device = -1;
  void* stream = nullptr;
};
thread_local Choice chosen;

void choose(const kernels::Backend& backend, int device, void* stream) {
  backend.use(device, stream);
  chosen = {device, stream};
}

std::atomic<bool> cuda_lost{false};

void (*work_enqueuer)() = nullptr;  // set as this library is loaded

/// Before the stream in which pending work would run is another one, or is waited for.
void enqueue_pending_work() {
  if (work_enqueuer != nullptr) work_enqueuer();
}

struct PlugIn {
  const kernels::Backend* backend = nullptr;
  std::string reason;
};

/// Beside this library, unless PYCNN_CUDA_LIBRARY names another file.
std::string plug_in_path() {
  if (const char* named = std::getenv("PYCNN_CUDA_LIBRARY"); named != nullptr && *named != '\0') return named;
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&plug_in_path), &info) == 0 || info.dli_fname == nullptr) return "";
  return (std::filesystem::path(info.dli_fname).parent_path() / "libpycnn_cuda.so").string();
}

constexpr const char* same_version = "install pycnn-cuda13 of the same version";

PlugIn open_plug_in() {
  const std::string path = plug_in_path();
  std::error_code ignored;
  if (path.empty() || !std::filesystem::exists(path, ignored))
    return {nullptr, "this installation has no CUDA plug-in (" + path + "): install pycnn-cuda13"};
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {nullptr, std::string("the CUDA plug-in cannot be opened: ") + dlerror()};
  const auto function = reinterpret_cast<kernels::BackendFunction>(dlsym(library, kernels::backend_symbol));
  const kernels::Backend* const backend = function != nullptr ? function() : nullptr;
  if (backend == nullptr) return {nullptr, path + " is not a plug-in of pycnn"};
  constexpr const char* ours = "this is pycnn " PYCNN_VERSION;
  if (backend->version != kernels::backend_version)
    return {nullptr, detail::concatenate(path, " belongs to another version of pycnn, ", ours, ": ", same_version)};
  if (std::string_view(backend->library) != PYCNN_VERSION)
    return {nullptr, detail::concatenate(path, " belongs to pycnn ", backend->library, ", ", ours, ": ", same_version)};
  if (backend->layout != kernels::exchanged_layout)
    return {nullptr, detail::concatenate(path, " was built from other sources of pycnn " PYCNN_VERSION
                                               " than this library: build them from the same")};
  if (const char* why = backend->unavailable()) return {nullptr, why};
  pthread_atfork(nullptr, nullptr, [] { cuda_lost.store(true); });
  return {backend, ""};
}

const PlugIn& plug_in() {
  static const PlugIn instance = open_plug_in();
  return instance;
}

const kernels::Backend& available_plug_in() {
  check(plug_in().backend != nullptr, "CUDA is not available: ", plug_in().reason);
  check(!is_cuda_lost(),
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' "
        "start method");
  return *plug_in().backend;
}

void check_index(int index) {
  const int count = available_plug_in().device_count();
  check(index >= 0 && index < std::min(count, most_devices), "CUDA error: invalid device ordinal: cuda:", index,
        " was asked for, there ", count == 1 ? "is 1 device" : "are " + std::to_string(count) + " devices");
}

}  // namespace

void set_work_enqueuer(void (*enqueue)()) { work_enqueuer = enqueue; }

bool is_cuda_lost() { return cuda_lost.load(std::memory_order_relaxed); }

std::string to_string(const Device& device) { return device.is_cpu() ? "cpu" : "cuda:" + std::to_string(device.index); }

Device parse_device(std::string_view name) {
  const size_t colon = name.find(':');
  const std::string_view type = name.substr(0, colon);
  int index = -1;
  bool whole = colon == std::string_view::npos;
  if (!whole) {
    const std::string_view digits = name.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), index);
    whole = error == std::errc() && end == digits.end() && index >= 0 && index < most_devices;
  }
  check(whole, "Invalid device string: '", name, "'");
  if (type == "cpu") {
    check(index <= 0, "CPU device index must be 0, got ", index);
    return {};
  }
  check(type == "cuda", "Expected one of cpu, cuda device type at start of device string: ", name);
  if (index < 0) index = current;
  check_index(index);
  return {DeviceType::Cuda, static_cast<int8_t>(index)};
}

Device creation_device() { return creation; }
void set_creation_device(const Device& device) { creation = device; }
DeviceScope::DeviceScope(const Device& device) : previous_(creation) { creation = device; }
DeviceScope::~DeviceScope() { creation = previous_; }

const kernels::Backend& backend_of(const Device& device) {
  const kernels::Backend& backend = available_plug_in();
  choose(backend, device.index, current_stream_handle(device.index));
  return backend;
}

const kernels::Kernels& kernels_of(const Device& device) {
  return device.is_cpu() ? cpu::active_kernels() : *backend_of(device).kernels(device.index);
}

void check_backend(const kernels::Backend& backend) {
  if (const char* error = backend.take_error()) fail("CUDA error: ", error);
}

Device device_of_memory(const void* memory) {
  const kernels::Backend& backend = available_plug_in();
  const int device = backend.device_of(memory);
  check_backend(backend);
  check(device >= 0, "the memory is not that of a GPU");
  check_index(device);
  return {DeviceType::Cuda, static_cast<int8_t>(device)};
}

void* current_stream_handle(int device) { return streams[static_cast<size_t>(device)].handle(); }

KeepChoice::KeepChoice() : device_(chosen.device), stream_(chosen.stream) {}
KeepChoice::~KeepChoice() {
  if (device_ >= 0 && (chosen.device != device_ || chosen.stream != stream_))
    choose(*plug_in().backend, device_, stream_);
}

StreamPoint::StreamPoint(const cuda::Stream& stream) : device_(stream.device()) {
  const kernels::Backend& backend = available_plug_in();
  const KeepChoice keep;
  choose(backend, device_, stream.handle());
  event_ = {backend.create_event(0), [](void* event) {
              if (event != nullptr && !is_cuda_lost()) available_plug_in().destroy_event(event);
            }};
  if (event_ != nullptr)
    backend.record_event(event_.get());
  else
    backend.synchronize();  // there is no memory left for events: the point is passed at once
}

bool StreamPoint::is_passed() const {
  return event_ == nullptr || is_cuda_lost() || available_plug_in().event_is_done(event_.get()) != 0;
}

void StreamPoint::wait() const {
  if (event_ != nullptr && !is_cuda_lost()) available_plug_in().synchronize_event(event_.get());
}

void StreamPoint::hold_back(const cuda::Stream& stream) const {
  const KeepChoice keep;
  choose(available_plug_in(), stream.device(), stream.handle());
  if (event_ != nullptr) available_plug_in().wait_event(event_.get());
}

namespace cuda {

bool is_available() { return plug_in().backend != nullptr; }
std::string unavailable_reason() { return plug_in().reason; }
int device_count() { return is_available() ? std::min(plug_in().backend->device_count(), most_devices) : 0; }
int current_device() { return current; }
void set_device(int index) {
  check_index(index);
  current = index;
}

Properties properties(int index) {
  check_index(index);
  kernels::DeviceProperties found{};
  available_plug_in().properties(index, &found);
  return {found.name, found.major, found.minor, found.multiprocessors, found.memory};
}

void synchronize(int index) {
  check_index(index);
  enqueue_pending_work();
  const kernels::Backend& backend = backend_of({DeviceType::Cuda, static_cast<int8_t>(index)});
  backend.synchronize_device();
  check_backend(backend);
  release_deferred_memory();
}

std::pair<size_t, size_t> memory_info(int index) {
  check_index(index);
  size_t free = 0, total = 0;
  backend_of({DeviceType::Cuda, static_cast<int8_t>(index)}).memory_info(&free, &total);
  return {free, total};
}

MemoryStatistics memory_statistics(int index) {
  const AllocatorStatistics found = allocator_statistics({DeviceType::Cuda, static_cast<int8_t>(index)});
  return {found.in_use, found.in_use + found.cached, found.most_in_use, found.most_held};
}

void reset_peak_memory_statistics(int index) { reset_peak_statistics({DeviceType::Cuda, static_cast<int8_t>(index)}); }

namespace {

/// The plug-in in a stream, for as long as a call takes.
template <typename Call>
auto in_stream(int device, void* stream, const Call& call) {
  const kernels::Backend& backend = available_plug_in();
  const KeepChoice keep;
  choose(backend, device, stream);
  if constexpr (std::is_void_v<decltype(call(backend))>) {
    call(backend);
    check_backend(backend);
  } else {
    const auto result = call(backend);
    check_backend(backend);
    return result;
  }
}

}  // namespace

Stream::Stream(int device, int priority) : device_(device) {
  check_index(device);
  handle_ = {in_stream(device, nullptr, [&](const auto& backend) { return backend.create_stream(priority); }),
             [device](void* stream) {
               if (is_cuda_lost()) return;
               forget_stream({DeviceType::Cuda, static_cast<int8_t>(device)}, stream);
               available_plug_in().destroy_stream(stream);
             }};
}

void Stream::synchronize() const {
  enqueue_pending_work();
  in_stream(device_, handle(), [](const auto& backend) { backend.synchronize(); });
  release_deferred_memory();
}
bool Stream::query() const {
  enqueue_pending_work();
  return in_stream(device_, handle(), [&](const auto& backend) { return backend.stream_is_done(handle()) != 0; });
}
void Stream::wait(const Event& event) const {
  enqueue_pending_work();
  if (event.is_recorded())
    in_stream(device_, handle(), [&](const auto& backend) { backend.wait_event(event.handle_.get()); });
}

Stream default_stream(int device) {
  Stream stream;
  stream.device_ = device;
  return stream;
}

Stream external_stream(int device, void* handle) {
  Stream stream = default_stream(device);
  stream.handle_ = {handle, [](void*) {}};
  return stream;
}

Stream current_stream(int device) {
  check_index(device);
  const Stream& stream = streams[static_cast<size_t>(device)];
  return stream.handle() != nullptr ? stream : default_stream(device);
}
void set_stream(const Stream& stream) {
  enqueue_pending_work();  // where it was recorded
  streams[static_cast<size_t>(stream.device())] = stream;
}

void Event::record(const Stream& stream) {
  enqueue_pending_work();  // the event comes after it
  if (!handle_ || device_ != stream.device()) {
    device_ = stream.device();
    handle_ = {in_stream(device_, nullptr, [&](const auto& backend) { return backend.create_event(timed_ ? 1 : 0); }),
               [](void* event) {
                 if (!is_cuda_lost()) available_plug_in().destroy_event(event);
               }};
  }
  in_stream(device_, stream.handle(), [&](const auto& backend) { backend.record_event(handle_.get()); });
}
void Event::synchronize() const {
  if (handle_) in_stream(device_, nullptr, [&](const auto& backend) { backend.synchronize_event(handle_.get()); });
}
bool Event::query() const {
  return !handle_ ||
         in_stream(device_, nullptr, [&](const auto& backend) { return backend.event_is_done(handle_.get()) != 0; });
}
double Event::elapsed_time(const Event& end) const {
  check(timed_ && end.timed_ && handle_ && end.handle_,
        "elapsed_time: both events must be recorded and made with enable_timing=True");
  return in_stream(device_, nullptr, [&](const auto& backend) {
    return double{backend.elapsed_milliseconds(handle_.get(), end.handle_.get())};
  });
}

}  // namespace cuda

}  // namespace pycnn
