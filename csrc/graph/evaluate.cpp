#include "graph/evaluate.h"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <list>
#include <mutex>
#include <optional>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

#include "cpu/features.h"
#include "cpu/parallel.h"
#include "graph/capture.h"
#include "graph/plan.h"
#include "graph/plan_cache.h"
#include "graph/pointer_index.h"
#include "graph/tune.h"
#include "pycnn/graph.h"
#include "tensor/backend.h"
#include "tensor/fork.h"

namespace pycnn {
namespace graph {
namespace {

// Guards states and buffers of nodes while they are claimed and published.
ForkSafeMutex graph_mutex(ForkOrder::Graph);
// Never destroyed, and another one in a forked child: it remembers waiting threads that do not exist there.
std::condition_variable* published = new std::condition_variable;

// Guarded by graph_mutex. Never destroyed: threads may outlive static objects.
std::list<Claim::Entry>& claims = *new std::list<Claim::Entry>;

void recover_in_child() {
  published = new std::condition_variable;
  for (const Claim::Entry& claim : claims) {
    if (claim.thread == std::this_thread::get_id()) continue;  // a signal handler forked: this thread goes on
    const bool lost = claim.overwriting.load();
    for (const auto& node : claim.nodes)
      if (node->state.load() == NodeState::Running) node->state.store(lost ? NodeState::Lost : NodeState::Pending);
    for (const Placeholder& placeholder : claim.placeholders) {
      std::atomic<NodeState>& state = placeholder.value.node->state;
      if (state.load() != NodeState::Running) continue;
      if (!lost) output_of(placeholder.value).buffer = output_of(placeholder.previous).buffer;
      state.store(lost ? NodeState::Lost : NodeState::Done);
    }
  }
  claims.remove_if([](const Claim::Entry& claim) { return claim.thread != std::this_thread::get_id(); });
}

// Pending work of a thread is bounded, so that `correct += …` over an epoch does not pile up: neither results to be
// computed, nor batches that nobody but this work holds any more.
constexpr size_t max_pending_nodes = 8192;
constexpr size_t max_pending_bytes = size_t{2} << 30;

struct PendingWork {
  std::vector<std::weak_ptr<Node>> nodes;
  size_t result_bytes = 0;  ///< of what was recorded since the last evaluation
  size_t read_bytes = 0;    ///< of evaluated values that it reads; until measured, those that handles hold as well
  size_t next_measure = 0;  ///< not before there are so many nodes

  void restart() { result_bytes = read_bytes = next_measure = 0; }
};
thread_local PendingWork pending;
thread_local int unbounded_bytes = 0;

std::list<Claim::Entry>::iterator add_claim() {
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, recover_in_child);
  const auto entry = claims.emplace(claims.end());
  entry->thread = std::this_thread::get_id();
  return entry;
}

size_t result_bytes(const Node& node) {
  size_t bytes = 0;
  for (int i = 0; i < node.output_count; ++i)
    bytes += static_cast<size_t>(element_count(node.outputs[i].shape)) * size_of(node.outputs[i].dtype);
  return bytes;
}

// Bytes of evaluated inputs that this node is the first of pending ones to read.
size_t newly_read_bytes(const Node& node) {
  size_t bytes = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Output& output = output_of(node.inputs[i]);
    if (!node.inputs[i].node->is_evaluated() || !output.buffer.storage) continue;
    const auto same = [&](const Value& other) { return other == node.inputs[i]; };
    const auto first = node.inputs.begin(), here = first + static_cast<std::ptrdiff_t>(i);
    if (std::any_of(first, here, same)) continue;
    if (output.consumers.load() == std::count_if(here, node.inputs.end(), same))
      bytes += output.buffer.storage->bytes();
  }
  return bytes;
}

// Bytes of evaluated memory that nobody but pending nodes holds. Forgets nodes that are gone.
size_t measure_read_bytes() {
  std::erase_if(pending.nodes, [](const std::weak_ptr<Node>& weak) { return weak.expired(); });
  size_t bytes = 0;
  std::unordered_set<const Output*> seen;
  std::unordered_map<const Storage*, long> references;  // from values that no handle names
  for (const std::weak_ptr<Node>& weak : pending.nodes) {
    const std::shared_ptr<Node> node = weak.lock();
    if (!node || node->is_evaluated()) continue;
    for (const Value& input : node->inputs) {
      const Output& output = output_of(input);
      if (!input.node->is_evaluated() || !output.buffer.storage || output.handles.load() > 0) continue;
      if (!seen.insert(&output).second) continue;
      const long count = ++references[output.buffer.storage.get()];
      if (count == output.buffer.storage.use_count()) bytes += output.buffer.storage->bytes();
    }
  }
  return bytes;
}

bool is_held(const Node& node) {
  for (int i = 0; i < node.output_count; ++i)
    if (node.outputs[i].handles.load() > 0) return true;
  return false;
}

// What one evaluation computes: pending nodes in order, and for each output whether it is kept.
struct Work {
  std::vector<std::shared_ptr<Node>> nodes;
  std::vector<size_t> first;  ///< where a node's outputs begin in `kept`
  std::vector<uint8_t> kept;
  PointerIndex index{128};
  /// A value's place in `kept`, or -1 if it is not computed here.
  int64_t find(const Value& value) const {
    const int node = index.find(value.node.get());
    return node < 0 ? -1 : static_cast<int64_t>(first[static_cast<size_t>(node)]) + value.index;
  }
};

// Adds the pending ancestors. Returns false if another thread is computing one of them.
bool collect(Work& work, const std::shared_ptr<Node>& root) {
  std::vector<const std::shared_ptr<Node>*> stack = {&root};
  while (!stack.empty()) {
    const std::shared_ptr<Node>& node = *stack.back();
    stack.pop_back();
    const NodeState state = node->state.load(std::memory_order_acquire);
    if (state == NodeState::Done || work.index.find(node.get()) >= 0) continue;
    if (state == NodeState::Running) return false;
    check(state != NodeState::Lost, "the value of '", node->op ? node->op->name() : "leaf",
          "' was being computed by another thread, over its inputs, when this process was forked");
    work.index.insert(node.get(), 0);
    work.nodes.push_back(node);
    for (const Value& input : node->inputs)
      if (!input.node->is_evaluated()) stack.push_back(&input.node);
  }
  return true;
}

// Kept are: what was asked for, what handles or nodes outside of this work refer to, and what backwards will read.
void decide_kept(Work& work, std::span<const Value> requested) {
  std::sort(work.nodes.begin(), work.nodes.end(),
            [](const auto& a, const auto& b) { return a->sequence < b->sequence; });
  size_t outputs = 0;
  work.first.reserve(work.nodes.size());
  for (size_t i = 0; i < work.nodes.size(); ++i) {
    work.index.set(work.nodes[i].get(), static_cast<int>(i));
    work.first.push_back(outputs);
    outputs += static_cast<size_t>(work.nodes[i]->output_count);
  }
  work.kept.assign(outputs, 0);
  std::vector<int> consumers(outputs, 0);
  for (const auto& node : work.nodes)
    for (const Value& input : node->inputs)
      if (const int64_t i = work.find(input); i >= 0) ++consumers[static_cast<size_t>(i)];
  size_t place = 0;
  for (const auto& node : work.nodes)
    for (int o = 0; o < node->output_count; ++o, ++place) {
      const Output& output = node->outputs[o];
      work.kept[place] = output.handles.load() > 0 || output.consumers.load() > consumers[place];
    }
  for (const Value& value : requested)
    if (const int64_t i = work.find(value); i >= 0) work.kept[static_cast<size_t>(i)] = true;
  // A gradient can be asked for only through kept outputs; from there it walks up differentiable nodes.
  std::vector<char> reachable(work.nodes.size(), 0);
  for (size_t i = work.nodes.size(); i-- > 0;) {
    const Node& node = *work.nodes[i];
    if (!node.differentiable || node.released) continue;
    const auto kept = work.kept.begin() + static_cast<std::ptrdiff_t>(work.first[i]);
    reachable[i] = reachable[i] || std::find(kept, kept + node.output_count, true) != kept + node.output_count;
    if (!reachable[i]) continue;
    const BackwardReads reads = node.op->backward_reads();
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const int64_t source = work.find(node.inputs[k]);
      if (source < 0) continue;
      if (output_of(node.inputs[k]).requires_grad)
        reachable[static_cast<size_t>(work.index.find(node.inputs[k].node.get()))] = true;
      if (k < 32 && (reads.inputs >> k & 1U) != 0) work.kept[static_cast<size_t>(source)] = true;
    }
    for (int o = 0; o < node.output_count && o < 32; ++o)
      if ((reads.outputs >> o & 1U) != 0) kept[o] = true;
  }
  // Nodes that will not be walked again need their inputs no more; see publish().
}

// -- plans -----------------------------------------------------------------------------------------------------------

// A plan for the work and the values it starts from.
struct Prepared {
  std::vector<Value> inputs;
  std::vector<int> uses;  ///< how often the work's nodes refer to each input
  std::shared_ptr<const Plan> plan;
};

/// All of it is for one device.
Device device_of(const Work& work) {
  for (const auto& node : work.nodes)
    if (node->output_count > 0 && !node->outputs[0].device.is_cpu()) return node->outputs[0].device;
  return {};
}

std::shared_ptr<const Plan> compile(const Work& work, const Prepared& prepared,
                                    std::span<const PlanNode::Source> sources, bool fused) {
  std::vector<PlanNode> nodes;
  for (size_t i = 0; i < work.nodes.size(); ++i) {
    const Node& node = *work.nodes[i];
    const auto kept = work.kept.begin() + static_cast<std::ptrdiff_t>(work.first[i]);
    nodes.push_back({node.op.get(),
                     {sources.begin(), sources.begin() + static_cast<std::ptrdiff_t>(node.inputs.size())},
                     {kept, kept + node.output_count}});
    sources = sources.subspan(node.inputs.size());
  }
  std::vector<PlanInput> inputs;
  for (const Value& input : prepared.inputs) {
    const Output& output = output_of(input);
    inputs.push_back({output.shape, output.dtype, output.buffer.strides, output.device});
  }
  return std::make_shared<Plan>(nodes, inputs, device_of(work), fused);
}

Prepared prepare(const Work& work, bool fused) {
  Prepared prepared;
  thread_local Fingerprint key;
  key.clear();
  const Device device = device_of(work);
  const kernels::Kernels& kernels = kernels_of(device);
  key.add(reinterpret_cast<intptr_t>(&kernels)).add(static_cast<int64_t>(cpu::bfloat16_products()));
  key.add(static_cast<int64_t>(device.type)).add(int64_t{device.index});  // its memory holds the plan's tables
  key.add(forced_algorithm_generation()).add(static_cast<int64_t>(fused));
  if (tuning()) key.add(static_cast<int64_t>(cpu::num_threads()));
  std::vector<PlanNode::Source> sources;
  sources.reserve(3 * work.nodes.size());
  PointerIndex input_index(work.nodes.size());
  for (size_t i = 0; i < work.nodes.size(); ++i) {
    const Node& node = *work.nodes[i];
    // Operators of one class with different names are different (rows of the pointwise table).
    key.add(reinterpret_cast<intptr_t>(&typeid(*node.op))).add(reinterpret_cast<intptr_t>(node.op->name()));
    node.op->fingerprint(key);
    key.add(static_cast<int64_t>(node.inputs.size())).add(static_cast<int64_t>(node.output_count));
    for (const Value& input : node.inputs) {
      PlanNode::Source source{work.index.find(input.node.get()), input.index};
      if (source.node < 0) {
        const auto fresh = static_cast<int>(prepared.inputs.size());
        source.index = input_index.insert(&output_of(input), fresh);
        if (source.index == fresh) {
          prepared.inputs.push_back(input);
          prepared.uses.push_back(0);
        }
        // Nodes that autograd may still walk keep their inputs, and thereby the values, after this run.
        if (!node.differentiable || node.released) ++prepared.uses[static_cast<size_t>(source.index)];
      }
      key.add(static_cast<int64_t>(source.node)).add(static_cast<int64_t>(source.index));
      sources.push_back(source);
    }
    for (int o = 0; o < node.output_count; ++o) {
      const Output& output = node.outputs[o];
      const bool kept = work.kept[work.first[i] + static_cast<size_t>(o)];
      key.add(output.shape).add(static_cast<int64_t>(output.dtype) * 2 + (kept ? 1 : 0));
    }
  }
  for (const Value& input : prepared.inputs) {
    const Output& output = output_of(input);
    check(output.buffer.storage != nullptr, "internal error: an input of '", "plan", "' (",
          input.node->op ? input.node->op->name() : "leaf", ") was not kept");
    key.add(output.shape).add(output.buffer.strides);
    key.add(static_cast<int64_t>(output.dtype) * 2 + (output.device.is_cpu() ? 1 : 0));
  }
  prepared.plan = plan_cache().find(key.words());
  if (prepared.plan) {
    counters().plan_cache_hits++;
  } else {
    // Lowering may evaluate nothing, so the key is still ours.
    prepared.plan = compile(work, prepared, sources, fused);
    plan_cache().insert(key.words(), prepared.plan);
  }
  return prepared;
}

std::vector<Buffer> run(const Prepared& prepared, Claim& claim) {
  // What refers to a node with several outputs (an optimiser's state) comes from all of them.
  std::unordered_map<const Node*, long> references;
  for (size_t i = 0; i < prepared.inputs.size(); ++i)
    if (const Node* node = prepared.inputs[i].node.get(); node->output_count > 1)
      references[node] += prepared.uses[i] + 1;
  std::vector<RunInput> inputs;
  for (size_t i = 0; i < prepared.inputs.size(); ++i) {
    const Value& value = prepared.inputs[i];
    const Output& output = output_of(value);
    const long own = value.node->output_count > 1 ? references[value.node.get()] : prepared.uses[i] + 1;
    // Only the work's own edges and our copy refer to the node, only the node to its memory: it may be overwritten.
    const bool alone = output.handles.load() == 0 && value.node.use_count() == own &&
                       output.buffer.storage.use_count() == 1 && !output.buffer.storage->pinned();
    inputs.push_back({output.buffer.storage, output.buffer.offset, alone});
  }
  return prepared.plan->run(inputs, claim.overwriting());
}

/// What another thread has recorded it will use in its own stream, which does not wait for this one: the host does.
void settle_for_others(const Work& work) {
  const Device device = device_of(work);
  if (device.is_cpu()) return;
  void* const own = current_stream_handle(device.index);
  if (std::any_of(work.nodes.begin(), work.nodes.end(), [&](const auto& node) { return node->stream != own; }))
    backend_of(device).synchronize();
}

void publish(Work& work, const Plan& plan, std::vector<Buffer> buffers) {
  const std::vector<PlanResult>& results = plan.results();
  for (size_t i = 0; i < results.size(); ++i)
    work.nodes[static_cast<size_t>(results[i].node)]->outputs[results[i].index].buffer = std::move(buffers[i]);
  for (const auto& node : work.nodes) node->state.store(NodeState::Done, std::memory_order_release);
  counters().nodes_evaluated += work.nodes.size();
}

Computation description(const Work& work, const Prepared& prepared) {
  Computation computation{prepared.plan, prepared.inputs.size(), prepared.inputs, {}, {}};
  for (const PlanResult& result : prepared.plan->results()) {
    computation.results.push_back({work.nodes[static_cast<size_t>(result.node)], result.index});
    const Output& output = output_of(computation.results.back());
    computation.forms.push_back({output.shape, output.dtype});
  }
  return computation;
}

std::function<std::shared_ptr<void>()> evaluation_scope;

// Computes the ancestors of the roots. Kept are the requested values and whatever is held.
Computation evaluate_work(std::span<const Value> requested, std::span<const std::shared_ptr<Node>> roots, bool fused,
                          bool described) {
  const std::shared_ptr<void> scope = evaluation_scope ? evaluation_scope() : nullptr;
  Work work;
  std::optional<Claim> claim;
  {
    std::unique_lock<std::mutex> lock(graph_mutex);
    while (true) {
      work = {};
      if (std::all_of(roots.begin(), roots.end(), [&](const auto& root) { return collect(work, root); })) break;
      published->wait(lock);
    }
    if (work.nodes.empty()) return {};
    decide_kept(work, requested);
    for (const auto& node : work.nodes) node->state.store(NodeState::Running, std::memory_order_release);
    claim.emplace(work.nodes);
  }
  Computation computation;
  try {
    Prepared prepared = prepare(work, fused);
    std::vector<Buffer> buffers = run(prepared, *claim);
    settle_for_others(work);
    if (described) computation = description(work, prepared);
    {
      const std::lock_guard lock(graph_mutex);
      publish(work, *prepared.plan, std::move(buffers));
    }
    published->notify_all();
  } catch (...) {
    {
      const std::lock_guard lock(graph_mutex);
      for (const auto& node : work.nodes) node->state.store(NodeState::Pending, std::memory_order_release);
    }
    published->notify_all();
    try {
      throw;
    } catch (Error& error) {
      error.settle();
      throw;
    }
  }
  // Neither evaluation nor autograd will walk these again: let go of what they were computed from.
  for (const auto& node : work.nodes)
    if (!node->differentiable || node->released) node->drop_inputs();
  return computation;
}

Mode initial_mode() {
  const char* value = std::getenv("PYCNN_MODE");
  if (value == nullptr || *value == '\0' || std::strcmp(value, "lazy") == 0) return Mode::Lazy;
  check<ValueError>(std::strcmp(value, "eager") == 0, "PYCNN_MODE is '", value, "'; it may be 'lazy' or 'eager'");
  return Mode::Eager;
}

std::atomic<Mode>& current_mode() {
  static std::atomic<Mode> instance{initial_mode()};
  return instance;
}

/// One evaluation per device: pending work of one does not depend on another's.
void evaluate_by_device(std::span<const Value> requested, std::vector<std::shared_ptr<Node>> roots, bool fused) {
  while (!roots.empty()) {
    const Device device = roots[0]->outputs[0].device;
    const auto others = std::stable_partition(roots.begin(), roots.end(),
                                              [&](const auto& root) { return root->outputs[0].device == device; });
    std::vector<std::shared_ptr<Node>> later(others, roots.end());
    roots.erase(others, roots.end());
    evaluate_work(requested, roots, fused, false);
    roots = std::move(later);
  }
}

/// Pending ancestors of the values, by device: the CPU's first, whose numbers those of GPUs read.
std::vector<std::vector<std::shared_ptr<Node>>> pending_by_device(std::span<const Value> values) {
  std::vector<std::shared_ptr<Node>> nodes;
  std::unordered_set<const Node*> seen;
  const auto visit = [&](const Value& value) {
    if (!value.node->is_evaluated() && seen.insert(value.node.get()).second) nodes.push_back(value.node);
  };
  for (const Value& value : values) visit(value);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const std::shared_ptr<Node> node = nodes[i];
    for (const Value& input : node->inputs) visit(input);
  }
  std::vector<std::vector<std::shared_ptr<Node>>> groups(1);
  for (std::shared_ptr<Node>& node : nodes) {
    const Device device = node->outputs[0].device;
    auto group = groups.begin();
    if (!device.is_cpu()) {
      group = std::find_if(groups.begin() + 1, groups.end(),
                           [&](const auto& other) { return other[0]->outputs[0].device == device; });
      if (group == groups.end()) group = groups.emplace(group);
    }
    group->push_back(std::move(node));
  }
  if (groups[0].empty()) groups.erase(groups.begin());
  return groups;
}

std::vector<std::shared_ptr<Node>> held_pending_work() {
  std::vector<std::shared_ptr<Node>> held;
  std::vector<std::weak_ptr<Node>> remaining;
  for (std::weak_ptr<Node>& weak : pending.nodes)
    if (std::shared_ptr<Node> node = weak.lock(); node && !node->is_evaluated()) {
      if (is_cuda_lost() && !node->outputs[0].device.is_cpu()) continue;  // the parent's
      if (is_held(*node)) held.push_back(node);
      remaining.push_back(std::move(weak));
    }
  pending.nodes = std::move(remaining);
  return held;
}

}  // namespace

Counters& counters() {
  static Counters instance;
  return instance;
}

void evaluate_values(std::span<const Value> requested) {
  if (capture_log() != nullptr) return;  // the capture's end evaluates
  std::vector<std::shared_ptr<Node>> roots;
  for (const Value& value : requested) roots.push_back(value.node);
  const size_t asked = roots.size();
  std::vector<std::shared_ptr<Node>> others = held_pending_work();
  roots.insert(roots.end(), others.begin(), others.end());
  others.clear();
  const bool fused = mode() == Mode::Lazy;
  bool bystanders = roots.size() > asked;
  try {
    evaluate_by_device(requested, roots, fused);
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception&) {
    // Perhaps a bystander failed: whoever asked for something else does not hear of it.
    if (!bystanders) throw;
    roots.resize(asked);
    evaluate_by_device(requested, roots, fused);
  }
  pending.restart();
}

void enqueue_pending_work() {
  if (capture_log() != nullptr) return;  // the capture's end evaluates
  std::vector<std::shared_ptr<Node>> roots = held_pending_work();
  std::erase_if(roots, [](const auto& root) { return root->outputs[0].device.is_cpu(); });
  try {
    evaluate_by_device({}, std::move(roots), mode() == Mode::Lazy);
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception&) {
  }
}

namespace {

[[maybe_unused]] const bool work_is_enqueued = (set_work_enqueuer(enqueue_pending_work), true);

}  // namespace

std::vector<Computation> evaluate_captured(std::span<const Value> requested, uint64_t first_sequence) {
  for (const std::shared_ptr<Node>& node : held_pending_work()) {
    if (node->sequence < first_sequence) continue;
    for (int i = 0; i < node->output_count; ++i)
      check(node->outputs[i].handles.load() == 0 ||
                std::find(requested.begin(), requested.end(), Value{node, i}) != requested.end(),
            "capture: the function keeps a tensor that it does not return (made by '", node->op->name(),
            "'); a replay could not renew it");
  }
  std::vector<Computation> computations;
  for (const std::vector<std::shared_ptr<Node>>& roots : pending_by_device(requested)) {
    Computation computation = evaluate_work(requested, roots, true, true);
    if (computation.plan) computations.push_back(std::move(computation));
  }
  return computations;
}

Claim::Claim(std::span<const std::shared_ptr<Node>> nodes) : entry_(add_claim()) { entry_->nodes = nodes; }

Claim::Claim(std::span<const Placeholder> placeholders) {
  const std::lock_guard lock(graph_mutex);
  entry_ = add_claim();
  entry_->placeholders = placeholders;
}

Claim::~Claim() {
  const std::lock_guard lock(graph_mutex);
  claims.erase(entry_);
}

Placeholder make_placeholder(const Value& previous, int result) {
  const Output& before = output_of(previous);
  const auto node = make_pooled<Node>(1);
  Output& output = node->outputs[0];
  output.shape = before.shape;
  output.dtype = before.dtype;
  output.device = before.device;
  output.requires_grad = before.requires_grad;
  output.autograd = before.autograd;
  node->state.store(NodeState::Running, std::memory_order_release);
  return {{node, 0}, previous, result};
}

std::vector<Buffer> run_captured(std::span<const Computation> computations, std::span<const CapturedInput> inputs,
                                 std::span<const Placeholder> placeholders, Claim& claim) {
  const auto publish_placeholders = [&](const std::vector<Buffer>* buffers) {
    {
      const std::lock_guard lock(graph_mutex);
      for (const Placeholder& placeholder : placeholders) {
        output_of(placeholder.value).buffer = buffers != nullptr ? (*buffers)[static_cast<size_t>(placeholder.result)]
                                                                 : output_of(placeholder.previous).buffer;
        placeholder.value.node->state.store(NodeState::Done, std::memory_order_release);
      }
    }
    published->notify_all();
  };
  try {
    const std::shared_ptr<void> scope = evaluation_scope ? evaluation_scope() : nullptr;
    std::vector<Buffer> buffers;
    for (const Computation& computation : computations) {
      // An earlier one writes over nothing: if a later one fails, all variables are what they were.
      const bool is_last = &computation == &computations.back();
      std::vector<RunInput> run_inputs;
      for (const CapturedInput& input : inputs.first(computation.input_count)) {
        if (!input.value.node) {
          const Buffer& computed = buffers[static_cast<size_t>(input.result)];
          run_inputs.push_back({computed.storage, computed.offset, false});
          continue;
        }
        const Output& output = output_of(input.value);
        const bool alone = is_last && input.overwritten && output.handles.load() == 0 && output.consumers.load() == 0 &&
                           input.value.node.use_count() == 2 && output.buffer.storage.use_count() == 1 &&
                           !output.buffer.storage->pinned();
        run_inputs.push_back({output.buffer.storage, output.buffer.offset, alone});
      }
      inputs = inputs.subspan(computation.input_count);
      std::vector<Buffer> results = computation.plan->run(run_inputs, claim.overwriting());
      std::move(results.begin(), results.end(), std::back_inserter(buffers));
    }
    publish_placeholders(&buffers);
    return buffers;
  } catch (...) {
    publish_placeholders(nullptr);
    throw;
  }
}

UnboundedBytes::UnboundedBytes() { ++unbounded_bytes; }
UnboundedBytes::~UnboundedBytes() { --unbounded_bytes; }

void note_pending(const std::shared_ptr<Node>& node) {
  counters().nodes_recorded++;
  if (mode() == Mode::Eager) {
    std::vector<Value> values;
    for (int i = 0; i < node->output_count; ++i) values.push_back({node, i});
    evaluate_work(values, std::span(&node, 1), false, false);
    return;
  }
  pending.nodes.push_back(node);
  if (capture_log() != nullptr) return;
  pending.result_bytes += result_bytes(*node);
  pending.read_bytes += newly_read_bytes(*node);
  if (unbounded_bytes > 0 && pending.nodes.size() < max_pending_nodes) return;
  if (pending.nodes.size() < max_pending_nodes && pending.result_bytes < max_pending_bytes) {
    const size_t count = pending.nodes.size();
    if (pending.result_bytes + pending.read_bytes < max_pending_bytes || count < pending.next_measure) return;
    pending.read_bytes = measure_read_bytes();
    pending.next_measure = pending.nodes.size() + pending.nodes.size() / 8;  // measuring costs little per node
    if (pending.result_bytes + pending.read_bytes < max_pending_bytes) return;
  }
  pending.restart();
  const std::vector<std::shared_ptr<Node>> held = held_pending_work();
  if (pending.nodes.size() >= max_pending_nodes || !held.empty()) {
    try {
      evaluate_by_device({}, held, true);
    } catch (const Interrupted&) {
      throw;
    } catch (const std::exception&) {
      // Whoever asks for the failing value will hear of it.
    }
  }
}

}  // namespace graph

Mode mode() { return graph::current_mode().load(std::memory_order_relaxed); }
void set_mode(Mode mode) { graph::current_mode().store(mode, std::memory_order_relaxed); }

std::map<std::string, uint64_t> statistics() {
  const graph::Counters& c = graph::counters();
  return {{"plans_compiled", c.plans_compiled},   {"plans_run", c.plans_run},
          {"plan_cache_hits", c.plan_cache_hits}, {"nodes_recorded", c.nodes_recorded},
          {"nodes_evaluated", c.nodes_evaluated}, {"steps_run", c.steps_run},
          {"buffers_donated", c.buffers_donated}, {"operands_packed", c.operands_packed},
          {"graphs_captured", c.graphs_captured}, {"graphs_launched", c.graphs_launched}};
}

std::string describe_plan(std::span<const Tensor> tensors) {
  graph::Work work;
  std::vector<graph::Value> requested;
  const std::lock_guard lock(graph::graph_mutex);
  for (const Tensor& tensor : tensors) {
    requested.push_back(tensor.value());
    check(graph::collect(work, requested.back().node), "describe_plan: another thread is computing these tensors");
  }
  if (work.nodes.empty()) return "plan: nothing to do, all values are known\n";
  graph::decide_kept(work, requested);
  return graph::prepare(work, mode() == Mode::Lazy).plan->describe();
}

void clear_plan_cache() {
  graph::plan_cache().clear();
  empty_cache();
}

void set_evaluation_scope(std::function<std::shared_ptr<void>()> enter) { graph::evaluation_scope = std::move(enter); }

}  // namespace pycnn
