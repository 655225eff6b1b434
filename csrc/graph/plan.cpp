#include "graph/plan.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <functional>

#include "cpu/parallel.h"
#include "cpu/scratch.h"
#include "graph/evaluate.h"
#include "graph/profile.h"
#include "pycnn/graph.h"
#include "tensor/backend.h"

namespace pycnn::graph {
namespace {

constexpr size_t alignment = 64;
size_t aligned(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

// Never freed once set: plans may be running.
std::atomic<const std::function<bool()>*> interrupt_check{nullptr};

void poll_interrupt(const std::function<bool()>* poll) {
  if (poll != nullptr && (*poll)()) throw Interrupted("evaluation was interrupted");
}

}  // namespace

Planner::Planner(std::span<const PlanNode> nodes, std::span<const PlanInput> inputs, const kernels::Kernels& kernels)
    : lowering_(kernels) {
  std::vector<Slot> input_slots;
  for (const PlanInput& input : inputs) {
    lowering_.buffers_.push_back({.bytes = 0, .input = static_cast<int>(input_slots.size())});
    input_slots.push_back({static_cast<int>(input_slots.size()), input.dtype, input.shape, input.strides, 0});
  }
  std::vector<std::vector<Slot>> slots;
  for (const PlanNode& node : nodes) {
    std::vector<Slot> arguments;
    for (const PlanNode::Source& source : node.inputs)
      arguments.push_back(source.node < 0 ? input_slots[static_cast<size_t>(source.index)]
                                          : slots[static_cast<size_t>(source.node)][static_cast<size_t>(source.index)]);
    lowering_.operator_name_ = node.op->name();
    slots.push_back(node.op->lower(lowering_, arguments));
    for (size_t i = 0; i < node.kept.size(); ++i)
      if (node.kept[i]) results.push_back({static_cast<int>(slots.size()) - 1, static_cast<int>(i), slots.back()[i]});
  }
}

std::vector<Planner::BufferInfo> Planner::buffers() const {
  std::vector<BufferInfo> infos;
  for (const Lowering::BufferInfo& buffer : lowering_.buffers_) infos.push_back({buffer.bytes, buffer.input});
  return infos;
}

Plan::Plan(std::span<const PlanNode> nodes, std::span<const PlanInput> inputs, const Device& device, bool fused)
    : device_(device), kernels_(kernels_of(device)) {
  const auto begin = ProfileClock::now();
  Planner planner(nodes, inputs, kernels_);
  for (const PlanInput& input : inputs) input_widths_.push_back(size_of(input.dtype));
  results_ = std::move(planner.results);
  for (const Planner::BufferInfo& buffer : planner.buffers())
    buffers_.push_back({.bytes = buffer.bytes, .input = buffer.input});
  std::vector<bool> kept(buffers_.size(), false);
  for (const PlanResult& result : results_) {
    kept[static_cast<size_t>(result.slot.buffer)] = true;
    BufferPlace& place = buffers_[static_cast<size_t>(result.slot.buffer)];
    place.kept = place.input < 0;
  }
  steps_ = planner.take_primitives();
  remove_dead(steps_, kept);
  if (fused) fuse(steps_, kept);
  for (const auto& step : steps_) {
    step->prepare(kernels_);
    workspace_bytes_ = std::max(workspace_bytes_, aligned(step->workspace));
  }
  if (!device_.is_cpu()) check_backend(backend_of(device_));  // else algorithms may have given no answers
  find_donations();
  if (fused) batch_last_phase();
  place_buffers();
  place_numbers(inputs);
  place_tables();
  decide_care();
  find_kept_casts();
  prepare_graphs(inputs);
  counters().plans_compiled++;
  if (profiling) note_compilation(steps_.size(), begin, ProfileClock::now());
}

void Plan::find_donations() {
  // A pointwise step whose results nobody reads within the plan (a parameter's update) may write over an input that
  // nobody reads later. Such steps run last: until then every input is whole.
  std::vector<int> readers(buffers_.size(), 0);
  std::vector<int> writers(buffers_.size(), 0);
  for (const auto& step : steps_) {
    std::vector<int> read;
    for (const Slot& slot : step->reads) read.push_back(slot.buffer);
    std::sort(read.begin(), read.end());
    read.erase(std::unique(read.begin(), read.end()), read.end());
    for (int buffer : read) ++readers[static_cast<size_t>(buffer)];
    for (const Slot& slot : step->writes) ++writers[static_cast<size_t>(slot.buffer)];
  }
  const auto is_final = [&](const Primitive& step) {
    return dynamic_cast<const PointwisePrimitive*>(&step) != nullptr &&
           std::all_of(step.writes.begin(), step.writes.end(), [&](const Slot& slot) {
             const auto buffer = static_cast<size_t>(slot.buffer);
             return buffers_[buffer].kept && readers[buffer] == 0 && writers[buffer] == 1;
           });
  };
  std::vector<int> results_on(buffers_.size(), 0);
  for (const PlanResult& result : results_) ++results_on[static_cast<size_t>(result.slot.buffer)];
  // A chunk's elements are loaded and stored in the program's order: what is loaded after the store must not lie under
  // it.
  const auto loaded_after_store = [](const Primitive& step, int read, int written) {
    const Formulation& program = static_cast<const PointwisePrimitive&>(step).program;
    bool stored = false;
    for (const ProgramBuilder::Step& instruction : program.formula.steps()) {
      if (instruction.opcode != Opcode::Load && instruction.opcode != Opcode::Store) continue;
      const int buffer = program.operands[static_cast<size_t>(instruction.index)].buffer;
      if (instruction.opcode == Opcode::Store && buffer == written) stored = true;
      if (instruction.opcode == Opcode::Load && buffer == read && stored) return true;
    }
    return false;
  };
  // Another final step that reads the donor would see it overwritten.
  const auto read_by_other_final = [&](const Primitive& step, int buffer) {
    return std::any_of(steps_.begin(), steps_.end(), [&](const auto& other) {
      return other.get() != &step && is_final(*other) &&
             std::any_of(other->reads.begin(), other->reads.end(),
                         [&](const Slot& slot) { return slot.buffer == buffer; });
    });
  };
  const auto donors_for = [&](const Primitive& step, const Slot& result) {
    std::vector<int> donors;
    for (const Slot& read : step.reads) {
      const BufferPlace& place = buffers_[static_cast<size_t>(read.buffer)];
      const bool alone = std::count_if(step.reads.begin(), step.reads.end(), [&](const Slot& other) {
                           return other.buffer == read.buffer &&
                                  !(other.shape == read.shape && same_layout(other, read.strides) && other.offset == 0);
                         }) == 0;
      if (place.input >= 0 && alone && !loaded_after_store(step, read.buffer, result.buffer) &&
          results_on[static_cast<size_t>(read.buffer)] == 0 && read.dtype == result.dtype &&
          read.shape == result.shape && same_layout(read, result.strides) && result.offset == 0 &&
          buffers_[static_cast<size_t>(result.buffer)].bytes ==
              static_cast<size_t>(result.count()) * size_of(result.dtype) &&
          result.is_dense() && std::find(donors.begin(), donors.end(), place.input) == donors.end() &&
          !read_by_other_final(step, read.buffer))
        donors.push_back(place.input);
    }
    return donors;
  };
  std::vector<const Primitive*> last_phase;
  for (const auto& step : steps_) {
    if (!is_final(*step)) continue;
    bool donated = false;
    for (const Slot& result : step->writes) {
      BufferPlace& place = buffers_[static_cast<size_t>(result.buffer)];
      place.donors = donors_for(*step, result);
      donated = donated || !place.donors.empty();
    }
    if (donated) last_phase.push_back(step.get());
  }
  const auto moved = std::stable_partition(steps_.begin(), steps_.end(), [&](const auto& step) {
    return std::find(last_phase.begin(), last_phase.end(), step.get()) == last_phase.end();
  });
  last_phase_ = static_cast<size_t>(moved - steps_.begin());
}

void Plan::batch_last_phase() {
  // Updates of parameters know nothing of each other; in one launch they share the cores and its cost.
  auto batch = std::make_unique<PointwiseBatchPrimitive>();
  std::vector<int> readers(buffers_.size(), 0), writers(buffers_.size(), 0);
  for (size_t i = last_phase_; i < steps_.size(); ++i) {
    for (const Slot& slot : steps_[i]->reads) readers[static_cast<size_t>(slot.buffer)]++;
    for (const Slot& slot : steps_[i]->writes) writers[static_cast<size_t>(slot.buffer)]++;
  }
  size_t kept = last_phase_;
  for (size_t i = last_phase_; i < steps_.size(); ++i) {
    auto* pointwise = dynamic_cast<PointwisePrimitive*>(steps_[i].get());
    const bool alone = pointwise != nullptr && !pointwise->compiled.has_extra_loops() &&
                       std::all_of(pointwise->writes.begin(), pointwise->writes.end(),
                                   [&](const Slot& slot) {
                                     return writers[static_cast<size_t>(slot.buffer)] == 1 &&
                                            readers[static_cast<size_t>(slot.buffer)] == 0;
                                   }) &&
                       std::all_of(pointwise->reads.begin(), pointwise->reads.end(),
                                   [&](const Slot& slot) { return writers[static_cast<size_t>(slot.buffer)] == 0; });
    if (!alone) {
      steps_[kept++] = std::move(steps_[i]);
      continue;
    }
    batch->reads.insert(batch->reads.end(), pointwise->reads.begin(), pointwise->reads.end());
    batch->writes.insert(batch->writes.end(), pointwise->writes.begin(), pointwise->writes.end());
    batch->operator_name = pointwise->operator_name;
    batch->fused = pointwise->fused;
    batch->members.emplace_back(pointwise);
    static_cast<void>(steps_[i].release());
  }
  steps_.resize(kept);
  if (!batch->members.empty()) steps_.push_back(std::move(batch));
}

void Plan::place_buffers() {
  // First fit: a buffer occupies its bytes from the step that first touches it to the one that touches it last.
  struct Life {
    size_t first = SIZE_MAX, last = 0;
  };
  std::vector<Life> lives(buffers_.size());
  for (size_t i = 0; i < steps_.size(); ++i)
    for (const std::vector<Slot>* slots : {&steps_[i]->reads, &steps_[i]->writes})
      for (const Slot& slot : *slots) {
        Life& life = lives[static_cast<size_t>(slot.buffer)];
        life.first = std::min(life.first, i);
        life.last = std::max(life.last, i);
      }
  std::vector<size_t> order;
  for (size_t b = 0; b < buffers_.size(); ++b)
    if (buffers_[b].input < 0 && !buffers_[b].kept && lives[b].first != SIZE_MAX) order.push_back(b);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers_[a].bytes > buffers_[b].bytes; });
  std::vector<size_t> placed;
  for (size_t b : order) {
    const size_t bytes = aligned(buffers_[b].bytes);
    std::vector<std::pair<size_t, size_t>> occupied;
    for (size_t other : placed)
      if (lives[other].first <= lives[b].last && lives[b].first <= lives[other].last)
        occupied.emplace_back(buffers_[other].arena_offset,
                              buffers_[other].arena_offset + aligned(buffers_[other].bytes));
    std::sort(occupied.begin(), occupied.end());
    size_t at = 0;
    for (const auto& [begin, end] : occupied) {
      if (at + bytes <= begin) break;
      at = std::max(at, end);
    }
    buffers_[b].arena_offset = at;
    arena_bytes_ = std::max(arena_bytes_, at + bytes);
    placed.push_back(b);
  }
}

void Plan::place_numbers(std::span<const PlanInput> inputs) {
  constexpr size_t most_bytes = 16;
  numbers_begin_ = arena_bytes_;
  for (BufferPlace& place : buffers_) {
    if (place.input < 0 || inputs[static_cast<size_t>(place.input)].device == device_) continue;
    place.number = true;
    place.arena_offset = arena_bytes_;
    arena_bytes_ += most_bytes;
  }
}

void Plan::place_tables() {
  size_t bytes = 0;
  for (const auto& step : steps_)
    for (const std::span<const std::byte> table : step->tables()) {
      step->placed_tables.push_back(table.data());
      bytes += aligned(table.size());
    }
  if (device_.is_cpu() || bytes == 0) return;
  tables_ = allocate_storage(bytes, device_);
  std::vector<std::byte> together(bytes);
  char* const begin = static_cast<char*>(tables_->data());
  size_t at = 0;
  for (const auto& step : steps_) {
    step->placed_tables.clear();
    for (const std::span<const std::byte> table : step->tables()) {
      if (!table.empty()) std::memcpy(together.data() + at, table.data(), table.size());
      step->placed_tables.push_back(begin + at);
      at += aligned(table.size());
    }
  }
  copy_between_devices(begin, device_, together.data(), {}, bytes);
  backend_of(device_).synchronize();  // once: the plan may run in other streams
}

void Plan::decide_care() {
  // Waking another thread, or asking for interrupts, costs more than the steps of small networks. By shape alone.
  constexpr double operations_per_microsecond = 1e5, bytes_per_microsecond = 4e4;
  constexpr double worth_asking = 20, worth_sharing = 10, worth_sharing_at_all = 100;  // microseconds
  std::vector<double> times;
  double all = 0;
  for (const auto& step : steps_) {
    times.push_back(step->flops() / operations_per_microsecond +
                    static_cast<double>(step->bytes()) / bytes_per_microsecond);
    all += times.back();
  }
  double since = worth_asking;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const bool asks = i == 0 || (i < last_phase_ && since >= worth_asking);
    since = (asks ? 0 : since) + times[i];
    care_.push_back({.asks = asks, .serial = times[i] < worth_sharing || all < worth_sharing_at_all, .cast = false});
  }
}

void Plan::find_kept_casts() {
  // Weights and biases that autocast narrows stay what they are from plan to plan; so do their casts. Other inputs are
  // new ones each time.
  std::vector<int> writers(buffers_.size(), 0);
  std::vector<bool> weights(buffers_.size(), true);
  for (const auto& step : steps_) {
    const Slot* weight = step->packed_operand();
    for (const Slot& slot : step->writes) ++writers[static_cast<size_t>(slot.buffer)];
    for (const Slot& slot : step->reads)
      if (weight == nullptr || weight->buffer != slot.buffer) weights[static_cast<size_t>(slot.buffer)] = false;
  }
  for (size_t i = 0; i < last_phase_; ++i) {
    const auto* step = dynamic_cast<const PointwisePrimitive*>(steps_[i].get());
    if (step == nullptr || !step->is_cast()) continue;
    const auto from = static_cast<size_t>(step->reads[0].buffer), to = static_cast<size_t>(step->writes[0].buffer);
    const Shape& shape = step->writes[0].shape;
    const bool vector = std::count_if(shape.begin(), shape.end(), [](int64_t size) { return size != 1; }) <= 1;
    care_[i].cast = (weights[to] || vector) && buffers_[from].input >= 0 && !buffers_[from].number &&
                    buffers_[to].input < 0 && !buffers_[to].kept && writers[to] == 1 &&
                    buffers_[to].bytes <= most_derived_bytes;
  }
}

void Plan::prepare_graphs(std::span<const PlanInput> inputs) {
  constexpr size_t least_steps = 4;                // to launch a graph costs as much as two or three kernels do
  constexpr size_t most_copied = size_t{1} << 22;  // what is larger keeps a GPU busy for longer than launches take
  if (device_.is_cpu() || steps_.size() < least_steps ||
      !std::all_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->capturable(); }))
    return;
  std::vector<size_t> copied_bytes;
  for (const BufferPlace& place : buffers_) {
    size_t bytes = place.kept && place.donors.empty() ? place.bytes : 0;
    if (place.input >= 0 && !place.number) {
      const PlanInput& input = inputs[static_cast<size_t>(place.input)];
      const Slot slot{place.input, input.dtype, input.shape, input.strides, 0};
      bytes = slot.is_dense() ? static_cast<size_t>(slot.count()) * size_of(input.dtype) : 0;
    }
    copied_bytes.push_back(bytes <= most_copied ? bytes : 0);
  }
  graphs_ = std::make_unique<CapturedGraphs>(device_, std::move(copied_bytes));
}

StoragePointer Plan::settle(std::span<const size_t> wanderers, std::vector<void*>& addresses) const {
  size_t bytes = 0;
  for (size_t b : wanderers) bytes += aligned(graphs_->copied_bytes(b));
  if (bytes == 0) return nullptr;
  StoragePointer memory = graphs_->take_place(bytes);
  char* at = static_cast<char*>(memory->data());
  for (size_t b : wanderers) {
    const size_t size = graphs_->copied_bytes(b);
    if (buffers_[b].input >= 0) copy_between_devices(at, device_, addresses[b], device_, size);
    addresses[b] = at;
    at += aligned(size);
  }
  return memory;
}

bool Plan::use_kept_cast(size_t step, const Addresses& all, std::vector<void*>& addresses,
                         std::vector<Storage*>& unchanged, std::vector<StoragePointer>& casts) const {
  const Slot &from = steps_[step]->reads[0], &to = steps_[step]->writes[0];
  const auto target = static_cast<size_t>(to.buffer);
  Storage& storage = *unchanged[static_cast<size_t>(from.buffer)];
  std::vector<int64_t> key = {-1, static_cast<int64_t>(from.dtype), static_cast<int64_t>(to.dtype)};
  for (const Slot* slot : {&from, &to}) {
    key.insert(key.end(), slot->shape.begin(), slot->shape.end());
    key.insert(key.end(), slot->strides.begin(), slot->strides.end());
  }
  const int64_t offset = static_cast<char*>(all.of(from)) - static_cast<char*>(storage.data());
  StoragePointer kept = storage.derived(key, offset, buffers_[target].bytes, [&](void* memory) {
    addresses[target] = memory;
    steps_[step]->run(kernels_, all);
  });
  if (kept == nullptr) return false;
  addresses[target] = kept->data();
  unchanged[target] = kept.get();
  casts.push_back(std::move(kept));
  return true;
}

std::vector<Buffer> Plan::run(std::span<const RunInput> inputs, std::atomic<bool>& overwriting) const {
  // Everything is allocated before the first step; the last phase can then neither fail nor be interrupted half-way.
  cpu::reserve_thread_scratch();
  const StoragePointer arena =
      arena_bytes_ + workspace_bytes_ > 0 ? borrow_arena(workspace_bytes_ + arena_bytes_, device_) : nullptr;
  char* const arena_data = arena ? static_cast<char*>(arena->data()) : nullptr;
  std::vector<void*> addresses(buffers_.size());
  std::vector<StoragePointer> storages(buffers_.size());
  std::vector<Storage*> donated;
  const auto free_donor = [&](const BufferPlace& place) {
    for (const int donor : place.donors) {
      const RunInput& given = inputs[static_cast<size_t>(donor)];
      if (given.donatable && given.offset == 0 && given.storage->device() == device_ &&
          given.storage->is_this_streams() &&
          std::find(donated.begin(), donated.end(), given.storage.get()) == donated.end())
        return donor;
    }
    return -1;
  };
  std::vector<char> numbers(device_.is_cpu() ? 0 : arena_bytes_ - numbers_begin_);
  for (size_t b = 0; b < buffers_.size(); ++b) {
    const BufferPlace& place = buffers_[b];
    if (place.number) {
      const RunInput& given = inputs[static_cast<size_t>(place.input)];
      const size_t width = input_widths_[static_cast<size_t>(place.input)];
      std::memcpy(numbers.data() + (place.arena_offset - numbers_begin_),
                  static_cast<char*>(given.storage->data()) + static_cast<size_t>(given.offset) * width, width);
      addresses[b] = arena_data + workspace_bytes_ + place.arena_offset;
    } else if (place.input >= 0) {
      storages[b] = inputs[static_cast<size_t>(place.input)].storage;
      addresses[b] = storages[b]->data();
    } else if (!place.kept) {
      addresses[b] = arena_data + workspace_bytes_ + place.arena_offset;
    } else if (const int donor = free_donor(place); donor >= 0) {
      storages[b] = inputs[static_cast<size_t>(donor)].storage;
      addresses[b] = storages[b]->data();
      donated.push_back(storages[b].get());
      counters().buffers_donated++;
    } else {
      storages[b] = allocate_storage(place.bytes, device_);
      addresses[b] = storages[b]->data();
    }
  }
  if (!device_.is_cpu()) {
    backend_of(device_);
    for (size_t b = 0; b < buffers_.size(); ++b)
      if (buffers_[b].input >= 0 && !buffers_[b].number) storages[b]->note_use();
    if (tables_) tables_->note_use();
  }
  // Slots of inputs count from the value's first element, which need not be the storage's.
  for (size_t b = 0; b < buffers_.size(); ++b)
    if (const int input = buffers_[b].input; input >= 0 && !buffers_[b].number) {
      const RunInput& given = inputs[static_cast<size_t>(input)];
      addresses[b] = static_cast<char*>(addresses[b]) +
                     given.offset * static_cast<int64_t>(input_widths_[static_cast<size_t>(input)]);
    }
  std::vector<Storage*> unchanged(buffers_.size(), nullptr);
  for (size_t i = 0; i < inputs.size(); ++i) unchanged[i] = storages[i].get();  // none of numbers
  if (!numbers.empty())
    copy_between_devices(arena_data + workspace_bytes_ + numbers_begin_, device_, numbers.data(), {}, numbers.size());
  std::vector<StoragePointer> casts;
  const Addresses all{addresses, arena_data, unchanged, device_};
  std::vector<char> known(steps_.size(), 0);  // by step: whether its result is there already
  for (size_t i = 0; i < last_phase_; ++i) {
    const cpu::SerialScope scope(care_[i].serial);
    known[i] = care_[i].cast && use_kept_cast(i, all, addresses, unchanged, casts);
  }
  const bool may_be_graph = graphs_ != nullptr && cuda::graphs_enabled() && !profiling;
  const std::vector<size_t> wanderers = may_be_graph ? graphs_->wanderers() : std::vector<size_t>();
  StoragePointer settled = settle(wanderers, addresses);
  const std::function<bool()>* const interrupt = interrupt_check.load();
  const auto begin_last_phase = [&] {
    if (donated.empty()) return;
    overwriting.store(true);
    for (Storage* storage : donated) storage->forget_derived();
  };
  // A graph packs weights in its workspace: packed forms that are kept with them would come and go.
  const auto enqueue = [&] {
    const std::vector<Storage*> none(buffers_.size(), nullptr);
    for (size_t i = 0; i < steps_.size(); ++i)
      if (!known[i]) steps_[i]->run(kernels_, {addresses, arena_data, none, device_});
  };
  const std::shared_ptr<void> graph = may_be_graph ? graphs_->find(addresses, enqueue) : nullptr;
  if (graph != nullptr) {
    poll_interrupt(interrupt);
    begin_last_phase();
    launch_graph(device_, graph.get());
  }
  for (size_t i = 0; i < steps_.size() && graph == nullptr; ++i) {
    if (care_[i].asks) poll_interrupt(interrupt);
    if (i == last_phase_) begin_last_phase();
    if (known[i]) continue;
    const cpu::SerialScope scope(care_[i].serial);
    if (!profiling.load(std::memory_order_relaxed)) {
      steps_[i]->run(kernels_, all);
      continue;
    }
    const auto begin = ProfileClock::now();
    steps_[i]->run(kernels_, all);
    if (!device_.is_cpu()) backend_of(device_).synchronize_device();
    note_step(*steps_[i], begin, ProfileClock::now());
  }
  for (size_t b : wanderers)
    if (buffers_[b].input < 0)
      copy_between_devices(storages[b]->data(), device_, addresses[b], device_, graphs_->copied_bytes(b));
  if (settled != nullptr) graphs_->keep_place(std::move(settled));
  if (!device_.is_cpu()) check_backend(backend_of(device_));
  counters().plans_run++;
  counters().steps_run += steps_.size();
  std::vector<Buffer> buffers;
  buffers.reserve(results_.size());
  for (const PlanResult& result : results_) {
    const auto b = static_cast<size_t>(result.slot.buffer);
    const int input = buffers_[b].input;
    const int64_t base = input >= 0 ? inputs[static_cast<size_t>(input)].offset : 0;
    buffers.push_back({storages[b], base + result.slot.offset, result.slot.strides});
  }
  return buffers;
}

std::string Plan::describe() const {
  std::string text;
  char line[512];
  size_t kept_bytes = 0;
  for (const BufferPlace& place : buffers_)
    if (place.kept) kept_bytes += place.bytes;
  std::snprintf(line, sizeof line,
                "plan: %zu steps, arena %zu bytes, workspace %zu bytes, results %zu bytes, kernels %s/%s\n",
                steps_.size(), arena_bytes_, workspace_bytes_, kept_bytes, kernels_.device, kernels_.level);
  text += line;
  const auto slot_text = [](const Slot& slot) {
    return detail::concatenate("b", slot.buffer, slot.offset != 0 ? "+" + std::to_string(slot.offset) : "", ":",
                               name_of(slot.dtype), to_string(slot.shape));
  };
  const auto work_text = [](const char* before, double flops, int64_t bytes) {
    return detail::concatenate(before, static_cast<int64_t>(flops), " FLOPs, ", bytes, " bytes\n");
  };
  double flops = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Primitive& step = *steps_[i];
    text += detail::concatenate(i >= last_phase_ ? "last " : "     ", i, " ", step.name(), " [", step.details(), "] ",
                                step.fused.empty() ? step.operator_name : step.fused, ":");
    for (const Slot& slot : step.reads) text += " " + slot_text(slot);
    text += " ->";
    for (const Slot& slot : step.writes) {
      const BufferPlace& place = buffers_[static_cast<size_t>(slot.buffer)];
      text += " " + slot_text(slot);
      if (!place.donors.empty()) {
        text += " (over input";
        for (const int donor : place.donors)
          text += (donor == place.donors.front() ? " b" : " or b") + std::to_string(donor);
        text += ")";
      } else if (place.kept)
        text += " (result)";
    }
    text += work_text("; ", step.flops(), step.bytes());
    flops += step.flops();
    bytes += step.bytes();
  }
  text += work_text("total: ", flops, bytes);
  return text;
}

}  // namespace pycnn::graph

namespace pycnn {

void set_interrupt_check(std::function<bool()> check) {
  graph::interrupt_check.store(check ? new std::function<bool()>(std::move(check)) : nullptr);
}

}  // namespace pycnn
