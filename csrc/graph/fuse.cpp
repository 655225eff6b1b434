#include "graph/fuse.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>

namespace pycnn::graph {
namespace {

bool touches(const std::vector<Slot>& slots, int buffer) {
  return std::any_of(slots.begin(), slots.end(), [buffer](const Slot& slot) { return slot.buffer == buffer; });
}

bool overlap(const std::vector<Slot>& a, const std::vector<Slot>& b) {
  return std::any_of(a.begin(), a.end(), [&](const Slot& slot) { return touches(b, slot.buffer); });
}

// Whether the order of the two matters.
bool conflict(const Primitive& a, const Primitive& b) {
  return overlap(a.writes, b.reads) || overlap(a.writes, b.writes) || overlap(a.reads, b.writes);
}

// A formula in which some windows are known as expressions: what a later formula may read without memory.
struct Known {
  Formulation formulation;
  std::vector<std::pair<Slot, int>> windows;
};

void note_stores(Known& known) {
  for (const ProgramBuilder::Step& step : known.formulation.formula.steps())
    if (step.opcode == Opcode::Store)
      known.windows.emplace_back(known.formulation.operands[static_cast<size_t>(step.index)], step.operands[0]);
}

// Appends `next` to `known`, reading known windows from registers. Returns the new ids of next's expressions, or
// nothing if next reads a known buffer through another window.
std::vector<int> append(Known& known, const Formulation& next) {
  Formulation& merged = known.formulation;
  std::vector<int> operand_index(next.operands.size());
  for (size_t i = 0; i < next.operands.size(); ++i) {
    const auto found = std::find_if(merged.operands.begin(), merged.operands.end(),
                                    [&](const Slot& slot) { return same_window(slot, next.operands[i]); });
    operand_index[i] = static_cast<int>(found - merged.operands.begin());
    if (found == merged.operands.end()) merged.operands.push_back(next.operands[i]);
  }
  std::vector<int> ids;
  for (ProgramBuilder::Step step : next.formula.steps()) {
    if (step.opcode == Opcode::Load) {
      const Slot& slot = next.operands[static_cast<size_t>(step.index)];
      int expression = -1;
      for (const auto& [window, id] : known.windows) {
        if (same_window(window, slot)) {
          expression = id;
        } else if (window.buffer == slot.buffer) {
          return {};
        }
      }
      if (expression >= 0) {
        ids.push_back(expression);
        continue;
      }
    }
    for (int& operand : step.operands)
      if (operand >= 0) operand = ids[static_cast<size_t>(operand)];
    if (step.opcode == Opcode::Load || step.opcode == Opcode::Store)
      step.index = operand_index[static_cast<size_t>(step.index)];
    merged.formula.steps().push_back(step);
    ids.push_back(static_cast<int>(merged.formula.steps().size()) - 1);
  }
  if (ids.empty()) ids.push_back(-1);
  return ids;
}

// Stores become unused constants, so that expression numbers stay.
void drop_stores(Formulation& formulation, int buffer) {
  for (ProgramBuilder::Step& step : formulation.formula.steps())
    if (step.opcode == Opcode::Store && formulation.operands[static_cast<size_t>(step.index)].buffer == buffer) {
      step = ProgramBuilder::Step{};
      step.opcode = Opcode::Constant;
      step.type = RegisterType::F32;
    }
}

// What a step writes that does nothing but widen bfloat16 or float16 to float32: {narrow, wide}.
std::optional<std::pair<Slot, Slot>> widening(const Primitive& step) {
  const auto* pointwise = dynamic_cast<const PointwisePrimitive*>(&step);
  if (pointwise == nullptr) return {};
  const Formulation& program = pointwise->program;
  const std::vector<ProgramBuilder::Step>& steps = program.formula.steps();
  if (steps.size() != 2 || steps[0].opcode != Opcode::Load || steps[1].opcode != Opcode::Store) return {};
  const Slot& narrow = program.operands[static_cast<size_t>(steps[0].index)];
  const Slot& wide = program.operands[static_cast<size_t>(steps[1].index)];
  const bool widens =
      (narrow.dtype == DType::BFloat16 || narrow.dtype == DType::Float16) && wide.dtype == DType::Float32;
  if (!widens || !same_layout(narrow, wide.strides)) return {};
  return std::pair{narrow, wide};
}

// Programs widen as they load, so they need no wide copy of a narrow buffer: fused with what makes the narrow one, the
// copy would be written, kept and read at twice the bytes.
void load_narrow(Primitives& primitives) {
  for (size_t i = 0; i < primitives.size(); ++i) {
    const auto found = widening(*primitives[i]);
    if (!found) continue;
    const auto& [narrow, wide] = *found;
    const bool one_writer = std::count_if(primitives.begin(), primitives.end(), [&](const auto& other) {
                              return touches(other->writes, found->second.buffer);
                            }) == 1;
    if (!one_writer) continue;
    for (size_t j = i + 1; j < primitives.size(); ++j) {
      Formulation* program = nullptr;
      if (auto* pointwise = dynamic_cast<PointwisePrimitive*>(primitives[j].get())) program = &pointwise->program;
      if (auto* reduce = dynamic_cast<ReducePrimitive*>(primitives[j].get())) program = &reduce->prologue;
      if (program == nullptr) continue;
      const auto follow = [&, &narrow = narrow, &wide = wide](std::vector<Slot>& slots) {
        for (Slot& slot : slots)
          if (slot.buffer == wide.buffer) {
            slot.buffer = narrow.buffer;
            slot.dtype = narrow.dtype;
            slot.offset += narrow.offset - wide.offset;
          }
      };
      follow(program->operands);
      follow(primitives[j]->reads);
    }
  }
}

class Fuser {
 public:
  Fuser(Primitives& primitives, const std::vector<bool>& kept) : steps_(primitives), kept_(kept), users_(kept.size()) {
    for (size_t at = 0; at < steps_.size(); ++at) note_users(at);
  }

  void run() {
    for (size_t at = 0; at < steps_.size(); ++at) {
      size_t position = at;
      while (steps_[position] && (join_producer(position) || join_sibling(position))) {
      }
    }
    std::erase_if(steps_, [](const auto& step) { return step == nullptr; });
  }

 private:
  void note_users(size_t at) {
    for (const std::vector<Slot>* slots : {&steps_[at]->reads, &steps_[at]->writes})
      for (const Slot& slot : *slots) {
        std::vector<size_t>& places = users_[static_cast<size_t>(slot.buffer)];
        if (std::find(places.rbegin(), places.rend(), at) == places.rend()) places.push_back(at);
      }
  }

  template <typename Condition>
  bool any_user(int buffer, const Condition& condition) const {
    const std::vector<size_t>& places = users_[static_cast<size_t>(buffer)];
    return std::any_of(places.begin(), places.end(), [&](size_t at) { return steps_[at] && condition(*steps_[at]); });
  }

  // The places before `at` of steps that may touch one of the buffers, the last first.
  std::vector<size_t> users_before(size_t at, const std::vector<Slot>& slots) const {
    std::vector<size_t> found;
    for (const Slot& slot : slots)
      for (size_t place : users_[static_cast<size_t>(slot.buffer)])
        if (place < at && steps_[place]) found.push_back(place);
    std::sort(found.begin(), found.end(), std::greater<>());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  }

  // Tries to merge the step at `at` with one of the steps that made its inputs; `at` becomes where the result is.
  bool join_producer(size_t& at) {
    Primitive& consumer = *steps_[at];
    auto* pointwise = dynamic_cast<PointwisePrimitive*>(&consumer);
    auto* reduce = dynamic_cast<ReducePrimitive*>(&consumer);
    if (pointwise == nullptr && reduce == nullptr) return false;
    for (size_t i : users_before(at, consumer.reads)) {
      if (!overlap(steps_[i]->writes, consumer.reads)) continue;
      const auto merged = [&] { return pointwise ? merge(*steps_[i], *pointwise) : merge(*steps_[i], *reduce); };
      if (join(i, at, merged)) return true;
    }
    return false;
  }

  // Reductions of the same elements share one pass over them.
  bool join_sibling(size_t& at) {
    auto* reduce = dynamic_cast<ReducePrimitive*>(steps_[at].get());
    if (reduce == nullptr) return false;
    for (size_t i : users_before(at, reduce->reads)) {
      auto* other = dynamic_cast<ReducePrimitive*>(steps_[i].get());
      if (other == nullptr || !shares_pass(*other, *reduce)) continue;
      if (join(i, at, [&] { return merge_reductions(*other, *reduce); })) return true;
    }
    return false;
  }

  // Puts merge()'s step in the place of the steps `first` and `at`, wherever the steps between allow; `at` becomes that
  // place. False, and nothing has changed, if there is no such place or merge() gives nothing.
  template <typename Merge>
  bool join(size_t first, size_t& at, const Merge& merge) {
    const bool hoist = can_move(at, first, *steps_[at]);
    if (!hoist && !can_move(first, at, *steps_[first])) return false;
    std::unique_ptr<Primitive> merged = merge();
    if (!merged) return false;
    name_merged(*merged, *steps_[first], *steps_[at]);
    const size_t target = hoist ? first : at;
    steps_[hoist ? at : first].reset();
    steps_[target] = std::move(merged);
    note_users(target);
    at = target;
    return true;
  }

  static void name_merged(Primitive& merged, const Primitive& first, const Primitive& second) {
    merged.operator_name = second.operator_name;
    merged.fused = (first.fused.empty() ? std::string(first.operator_name) : first.fused) + "+" +
                   (second.fused.empty() ? second.operator_name : second.fused);
  }

  // Equal loops give equal orders of additions; a common large operand makes it worth while.
  static bool shares_pass(const ReducePrimitive& a, const ReducePrimitive& b) {
    return a.prologue.shape == b.prologue.shape && a.dimensions == b.dimensions && a.order == b.order &&
           a.reduced_slot.strides == b.reduced_slot.strides && !overlap(a.results(), b.reads) &&
           (overlap(a.reads, b.reads) || overlap(a.writes, b.reads)) &&
           a.parts.size() + b.parts.size() <= kernels::max_accumulations;
  }

  std::unique_ptr<Primitive> merge_reductions(const ReducePrimitive& first, const ReducePrimitive& second) const {
    Known known{first.prologue, {}};
    note_stores(known);
    const std::vector<int> ids = append(known, second.prologue);
    if (ids.empty()) return nullptr;
    drop_unneeded(known.formulation, first, second);
    auto merged = std::make_unique<ReducePrimitive>();
    merged->prologue = std::move(known.formulation);
    merged->parts = first.parts;
    for (ReducePrimitive::Part part : second.parts) {
      part.source = ids[static_cast<size_t>(part.source)];
      merged->parts.push_back(std::move(part));
    }
    merged->dimensions = first.dimensions;
    merged->order = first.order;
    merged->reduced_slot = first.reduced_slot;
    collect_slots(*merged, merged->prologue, {}, merged->results());
    CompiledProgram trial;
    if (!merged->compile(trial)) return nullptr;
    return merged;
  }

  // Whether the step may move from its place to just beside `to` without passing anything it depends on or that depends
  // on it.
  bool can_move(size_t from, size_t to, const Primitive& step) const {
    const auto [low, high] = std::minmax(from, to);
    const auto free = [&, low = low, high = high](const std::vector<Slot>& slots) {
      return std::none_of(slots.begin(), slots.end(), [&](const Slot& slot) {
        const std::vector<size_t>& places = users_[static_cast<size_t>(slot.buffer)];
        return std::any_of(places.begin(), places.end(),
                           [&](size_t k) { return low < k && k < high && steps_[k] && conflict(*steps_[k], step); });
      });
    };
    return free(step.reads) && free(step.writes);
  }

  // Whether anyone but these two reads the buffer, or it is a result.
  bool is_needed(int buffer, const Primitive& producer, const Primitive& consumer) const {
    if (kept_[static_cast<size_t>(buffer)]) return true;
    return any_user(buffer, [&](const Primitive& step) {
      return &step != &producer && &step != &consumer && (touches(step.reads, buffer) || touches(step.writes, buffer));
    });
  }

  // Whether nobody but reductions reads what the step writes.
  bool only_reduced(const PointwisePrimitive& pointwise) const {
    return std::all_of(pointwise.writes.begin(), pointwise.writes.end(), [&](const Slot& slot) {
      if (kept_[static_cast<size_t>(slot.buffer)]) return false;
      return !any_user(slot.buffer, [&](const Primitive& step) {
        return &step != &pointwise && touches(step.reads, slot.buffer) &&
               dynamic_cast<const ReducePrimitive*>(&step) == nullptr;
      });
    });
  }

  static void collect_slots(Primitive& merged, const Formulation& formulation, std::vector<Slot> reads,
                            std::vector<Slot> writes) {
    for (const ProgramBuilder::Step& step : formulation.formula.steps()) {
      if (step.opcode == Opcode::Load) reads.push_back(formulation.operands[static_cast<size_t>(step.index)]);
      if (step.opcode == Opcode::Store) writes.push_back(formulation.operands[static_cast<size_t>(step.index)]);
    }
    merged.reads = std::move(reads);
    merged.writes = std::move(writes);
  }

  // Stores of the producer that only the consumer read are gone for good.
  void drop_unneeded(Formulation& formulation, const Primitive& producer, const Primitive& consumer) const {
    for (const Slot& slot : producer.writes)
      if (!is_needed(slot.buffer, producer, consumer)) drop_stores(formulation, slot.buffer);
  }

  // Whether the plan's last phase may run the step in place: its results are the next values of inputs. Behind a
  // product they would need memory of their own.
  bool is_update(const PointwisePrimitive& step) const {
    const auto is_input = [&](const Slot& slot) {
      return !any_user(slot.buffer, [&](const Primitive& other) { return touches(other.writes, slot.buffer); });
    };
    return std::all_of(step.writes.begin(), step.writes.end(), [&](const Slot& written) {
      return kept_[static_cast<size_t>(written.buffer)] &&
             std::any_of(step.reads.begin(), step.reads.end(), [&](const Slot& read) {
               return read.dtype == written.dtype && read.shape == written.shape &&
                      same_layout(read, written.strides) && is_input(read);
             });
    });
  }

  std::unique_ptr<Primitive> merge(Primitive& producer, PointwisePrimitive& consumer) const {
    if (auto* first = dynamic_cast<PointwisePrimitive*>(&producer)) {
      if (!(first->program.shape == consumer.program.shape) || overlap(consumer.writes, first->reads)) return nullptr;
      Known known{first->program, {}};
      note_stores(known);
      if (append(known, consumer.program).empty()) return nullptr;
      drop_unneeded(known.formulation, producer, consumer);
      auto merged = std::make_unique<PointwisePrimitive>();
      merged->order = consumer.order;
      merged->program = std::move(known.formulation);
      collect_slots(*merged, merged->program, {}, {});
      CompiledProgram trial;
      if (!trial.compile(merged->program, {.order = merged->order, .allow_extra = true})) return nullptr;
      return merged;
    }
    auto* first = dynamic_cast<EpiloguePrimitive*>(&producer);
    if (only_reduced(consumer)) return nullptr;  // the reductions will take it in and nobody write it
    if (first == nullptr || !(first->raw().shape == consumer.program.shape) || overlap(consumer.writes, producer.reads))
      return nullptr;
    if (auto* convolution = dynamic_cast<ConvolutionPrimitive*>(first);
        convolution != nullptr && convolution->pass == kernels::ConvolutionPass::WeightGradient)
      return nullptr;
    if (dynamic_cast<MatmulPrimitive*>(first) != nullptr && is_update(consumer)) return nullptr;
    Known known;
    known.formulation.shape = consumer.program.shape;
    if (first->epilogue) {
      known.formulation = *first->epilogue;
      note_stores(known);
    }
    const Slot raw = first->raw();
    note_raw(known, raw);
    if (append(known, consumer.program).empty()) return nullptr;
    drop_unneeded(known.formulation, producer, consumer);
    CompiledProgram trial;
    if (!first->compile_epilogue(known.formulation, trial)) return nullptr;
    return with_epilogue(*first, consumer, std::move(known.formulation), raw);
  }

  // What the kernel wrote is loaded once, before the epilogue stores anything: results may come to lie there.
  static void note_raw(Known& known, const Slot& raw) {
    const bool stored = std::any_of(known.windows.begin(), known.windows.end(),
                                    [&](const auto& window) { return same_window(window.first, raw); });
    if (stored) return;
    Formulation& epilogue = known.formulation;
    const std::vector<ProgramBuilder::Step>& steps = epilogue.formula.steps();
    const auto load = std::find_if(steps.begin(), steps.end(), [&](const ProgramBuilder::Step& step) {
      return step.opcode == Opcode::Load && same_window(epilogue.operands[static_cast<size_t>(step.index)], raw);
    });
    if (load != steps.end()) {
      known.windows.emplace_back(raw, static_cast<int>(load - steps.begin()));
      return;
    }
    known.windows.emplace_back(raw, epilogue.formula.load(static_cast<int>(epilogue.operands.size()), raw.dtype).id);
    epilogue.operands.push_back(raw);
  }

  std::unique_ptr<Primitive> with_epilogue(EpiloguePrimitive& first, const Primitive& consumer, Formulation formulation,
                                           const Slot& raw) const {
    std::unique_ptr<EpiloguePrimitive> merged;
    if (auto* convolution = dynamic_cast<ConvolutionPrimitive*>(&first))
      merged = std::make_unique<ConvolutionPrimitive>(std::move(*convolution));
    else
      merged = std::make_unique<MatmulPrimitive>(std::move(dynamic_cast<MatmulPrimitive&>(first)));
    merged->epilogue = std::make_unique<Formulation>(std::move(formulation));
    Formulation& epilogue = *merged->epilogue;
    if (!is_needed(raw.buffer, first, consumer)) {
      // Nobody else sees the raw result: let it lie where the first equally shaped result of the epilogue will.
      for (const ProgramBuilder::Step& step : epilogue.formula.steps()) {
        if (step.opcode != Opcode::Store) continue;
        const Slot result = epilogue.operands[static_cast<size_t>(step.index)];
        if (result.dtype != raw.dtype || !same_layout(result, raw.strides) || result.buffer == raw.buffer) continue;
        for (Slot& operand : epilogue.operands)
          if (same_window(operand, raw)) operand = result;
        merged->raw() = result;
        break;
      }
    }
    std::vector<Slot> reads;
    if (auto* convolution = dynamic_cast<ConvolutionPrimitive*>(merged.get())) {
      reads = {convolution->weight,
               convolution->pass == kernels::ConvolutionPass::Forward ? convolution->input : convolution->output};
    } else {
      const auto& matmul = dynamic_cast<MatmulPrimitive&>(*merged);
      reads = {matmul.a, matmul.b};
    }
    const Slot written = merged->raw();
    collect_slots(*merged, epilogue, reads, {written});
    std::erase_if(merged->reads, [&](const Slot& slot) { return same_window(slot, written); });
    return merged;
  }

  std::unique_ptr<Primitive> merge(Primitive& producer, ReducePrimitive& consumer) const {
    auto* first = dynamic_cast<PointwisePrimitive*>(&producer);
    if (first == nullptr || !(first->program.shape == consumer.prologue.shape)) return nullptr;
    Known known{first->program, {}};
    note_stores(known);
    const std::vector<int> ids = append(known, consumer.prologue);
    if (ids.empty()) return nullptr;
    drop_unneeded(known.formulation, producer, consumer);
    auto merged = std::make_unique<ReducePrimitive>();
    merged->prologue = std::move(known.formulation);
    merged->parts = consumer.parts;
    for (ReducePrimitive::Part& part : merged->parts) part.source = ids[static_cast<size_t>(part.source)];
    merged->dimensions = consumer.dimensions;
    merged->order = consumer.order;
    merged->reduced_slot = consumer.reduced_slot;
    collect_slots(*merged, merged->prologue, {}, consumer.results());
    CompiledProgram trial;
    if (!merged->compile(trial)) return nullptr;
    return merged;
  }

  Primitives& steps_;
  const std::vector<bool>& kept_;
  // By buffer, the places of the steps that touch it. They stay when a step is merged away or forgets the buffer.
  std::vector<std::vector<size_t>> users_;
};

}  // namespace

void remove_dead(Primitives& primitives, const std::vector<bool>& kept) {
  std::vector<bool> needed = kept;
  for (size_t i = primitives.size(); i-- > 0;) {
    const std::vector<Slot>& writes = primitives[i]->writes;
    const bool alive = writes.empty() || std::any_of(writes.begin(), writes.end(), [&](const Slot& slot) {
                         return needed[static_cast<size_t>(slot.buffer)];
                       });
    if (!alive) {
      primitives[i].reset();
      continue;
    }
    for (const Slot& slot : primitives[i]->reads) needed[static_cast<size_t>(slot.buffer)] = true;
  }
  std::erase_if(primitives, [](const auto& primitive) { return primitive == nullptr; });
}

void fuse(Primitives& primitives, const std::vector<bool>& kept) {
  load_narrow(primitives);
  remove_dead(primitives, kept);
  Fuser(primitives, kept).run();
}

}  // namespace pycnn::graph
