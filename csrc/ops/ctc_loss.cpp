// Connectionist temporal classification (Graves et al. 2006): the probability of all paths that spell the targets.
//
// A path visits states s = 0 … 2S of the targets with blanks around them. All is in log space, with one step of
// pointwise work per frame over (N, states). The first two places of a row of α (the last two of β) lie before
// (behind) the states and hold -∞, so that shifted windows need no special cases; α of no frame at all stands in the
// place before the first state.
#include <algorithm>
#include <array>
#include <limits>

#include "graph/lowering.h"
#include "ops/autocast.h"
#include "ops/losses.h"

namespace pycnn {

using namespace ops;

namespace {

using namespace graph;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// log(e^a + e^b + e^c), -∞ if all are.
Expression log_sum(ProgramBuilder& p, Expression a, Expression b, Expression c) {
  const Expression largest = p.maximum(p.maximum(a, b), c);
  const Expression nothing = p.constant(-infinity, a.type), zero = p.constant(0, a.type);
  const Expression shift = p.select(p.apply(Opcode::Equal, largest, nothing), zero, largest);
  const auto term = [&](Expression x) { return p.apply(Opcode::Exp, p.subtract(x, shift)); };
  return p.add(p.apply(Opcode::Log, p.add(p.add(term(a), term(b)), term(c))), shift);
}

/// One frame of a (frames, N, width) slot, as (N, count) from `begin` on.
Slot frame(const Slot& slot, int64_t t, int64_t begin, int64_t count) {
  return slot.sliced(0, t, 1).squeezed(0).sliced(1, begin, count);
}

/// log_probs (T, N, C), labels of the states (N, L), where a blank may be skipped (N, L), input lengths (N), places of
/// the two last states (N, 2) → -log p (N), α (T + 1, N, 2 + L).
class CtcLoss final : public Operator {
 public:
  const char* name() const override { return "ctc_loss"; }
  BackwardReads backward_reads() const override { return {.inputs = 0b11111, .outputs = 0b11}; }
  Tensors backward(const BackwardContext& context) const override;
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& log_probs = inputs[0];
    const DType dtype = log_probs.dtype;
    const int64_t frames = log_probs.shape[0], rows = log_probs.shape[1], states = inputs[1].shape[1];
    const Slot emission = emissions(l, log_probs, inputs[1]);
    const Slot alpha = l.allocate(dtype, {frames + 1, rows, states + 2});
    l.fill(alpha, -infinity);
    l.fill(frame(alpha, 0, 1, 1), 0);
    for (int64_t t = 0; t < frames; ++t)
      l.pointwise_into(std::array{frame(alpha, t + 1, 2, states)},
                       std::array{frame(alpha, t, 2, states), frame(alpha, t, 1, states), frame(alpha, t, 0, states),
                                  inputs[2], frame(emission, t, 0, states)},
                       dtype, [](ProgramBuilder& p, std::span<const Expression> x) {
                         const Expression skipped = p.select(x[3], x[2], p.constant(-infinity, x[2].type));
                         return std::vector{p.add(log_sum(p, x[0], x[1], skipped), x[4])};
                       });
    const Slot lengths = inputs[3].unsqueezed(0).unsqueezed(2).expanded({1, rows, states + 2});
    const Slot last = l.gather(alpha, lengths, 0).squeezed(0);
    const Slot ends = l.gather(last, inputs[4], 1);
    const Slot loss =
        l.pointwise(std::array{ends.sliced(1, 0, 1), ends.sliced(1, 1, 1)}, {rows, 1}, dtype, dtype,
                    [](ProgramBuilder& p, std::span<const Expression> x) {
                      return p.apply(Opcode::Negate, log_sum(p, x[0], x[1], p.constant(-infinity, x[0].type)));
                    });
    return {loss.squeezed(1), alpha};
  }

  /// Every state's log probability in every frame, (T, N, L).
  static Slot emissions(Lowering& l, const Slot& log_probs, const Slot& labels) {
    const int64_t frames = log_probs.shape[0], rows = labels.shape[0], states = labels.shape[1];
    return l.gather(log_probs, labels.unsqueezed(0).expanded({frames, rows, states}), 2);
  }
};

/// gradient (N), the inputs of CtcLoss and its results → gradient of log_probs, p - Σ_s P(state s in frame t): that of
/// what a log_softmax made log_probs from, as PyTorch defines it.
class CtcLossBackward final : public Operator {
 public:
  const char* name() const override { return "ctc_loss_backward"; }
  Tensors backward(const BackwardContext&) const override {
    throw Error("ctc_loss: derivative for ctc_loss_backward is not implemented");
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot &gradient = inputs[0], &log_probs = inputs[1], &labels = inputs[2], &alpha = inputs[7];
    const DType dtype = log_probs.dtype;
    const int64_t frames = log_probs.shape[0], rows = log_probs.shape[1], states = labels.shape[1];
    const Slot emission = CtcLoss::emissions(l, log_probs, labels);
    const Slot lengths = inputs[4].unsqueezed(1).expanded({rows, states});
    // Where paths end: the places count from α's two before the first state.
    const Slot ends = l.allocate(dtype, {rows, states + 2});
    l.fill(ends, -infinity);
    const Slot last_places = inputs[5];
    const Slot end =
        l.scatter(ends, last_places, zeros_of(l, dtype, last_places.shape), 1, Lowering::ScatterKind::Store);
    // beta[t]: what follows frame t - 1. Two more states behind the last, which no path reaches.
    const Slot beta = l.allocate(dtype, {frames + 1, rows, states + 2});
    const Slot skips = l.allocate(DType::Bool, {rows, states + 2});
    l.fill(beta, -infinity);
    l.fill(skips, 0);
    l.copy_into(skips.sliced(1, 0, states), inputs[3]);
    const Slot padded = l.allocate(dtype, {frames, rows, states + 2});
    l.fill(padded, 0);
    l.copy_into(padded.sliced(2, 0, states), emission);
    l.copy_into(frame(beta, frames, 0, states), end.sliced(1, 2, states));
    for (int64_t t = frames - 1; t >= 0; --t) {
      std::vector<Slot> operands{skips.sliced(1, 2, states), end.sliced(1, 2, states), lengths};
      for (int64_t ahead = 0; ahead < 3; ++ahead) {
        operands.push_back(frame(beta, t + 1, ahead, states));
        operands.push_back(frame(padded, t, ahead, states));
      }
      const double now = static_cast<double>(t);
      l.pointwise_into(std::array{frame(beta, t, 0, states)}, operands, dtype,
                       [now](ProgramBuilder& p, std::span<const Expression> x) {
                         const Expression stay = p.add(x[3], x[4]), next = p.add(x[5], x[6]);
                         const Expression skip = p.select(x[0], p.add(x[7], x[8]), p.constant(-infinity, x[7].type));
                         const Expression over = p.apply(Opcode::LessEqual, x[2], p.constant(now, x[2].type));
                         return std::vector{p.select(over, x[1], log_sum(p, stay, next, skip))};
                       });
    }
    const Shape all{frames, rows, states};
    const Slot loss = inputs[6].unsqueezed(0).unsqueezed(2);
    const Slot share = l.pointwise(std::array{alpha.sliced(0, 1, frames).sliced(2, 2, states),
                                              beta.sliced(0, 1, frames).sliced(2, 0, states), loss.expanded(all)},
                                   all, dtype, dtype, [](ProgramBuilder& p, std::span<const Expression> x) {
                                     const Expression both = p.add(p.add(x[0], x[1]), x[2]);
                                     return p.apply(Opcode::Negate, p.apply(Opcode::Exp, both));
                                   });
    const Shape classes = log_probs.shape;
    const Slot probabilities =
        l.pointwise(std::array{log_probs}, classes, dtype, dtype,
                    [](ProgramBuilder& p, std::span<const Expression> x) { return p.apply(Opcode::Exp, x[0]); });
    const Slot sums =
        l.scatter(probabilities, labels.unsqueezed(0).expanded(all), share, 2, Lowering::ScatterKind::Sum);
    const Slot time = l.allocate(DType::Int64, {frames, 1, 1});
    for (int64_t t = 0; t < frames; ++t) l.fill(time.sliced(0, t, 1), static_cast<double>(t));
    // An infinite loss has no gradient, 0 · ∞, unless nobody asks for it (zero_infinity).
    return {l.pointwise(
        std::array{sums, gradient.unsqueezed(0).unsqueezed(2), loss, inputs[4].unsqueezed(0).unsqueezed(2), time},
        classes, dtype, dtype, [](ProgramBuilder& p, std::span<const Expression> x) {
          const Expression zero = p.constant(0, x[0].type);
          const Expression value = p.multiply(p.add(x[0], p.multiply(x[2], 0)), x[1]);
          return p.select(p.less(x[4], x[3]), p.select(x[1], value, zero), zero);
        })};
  }

 private:
  static Slot zeros_of(Lowering& l, DType dtype, const Shape& shape) {
    const Slot zeros = l.allocate(dtype, shape);
    l.fill(zeros, 0);
    return zeros;
  }
};

Tensors CtcLoss::backward(const BackwardContext& context) const {
  Tensors inputs{context.gradient(0)};
  for (int i = 0; i < 5; ++i) inputs.push_back(context.input(i));
  inputs.push_back(context.output(0));
  inputs.push_back(context.output(1));
  Tensors result(5);
  const std::vector<Spec> specs{{context.input_shape(0), context.input_dtype(0)}};
  result[0] = record(std::make_shared<CtcLossBackward>(), inputs, specs)[0];
  return result;
}

struct Lengths {
  std::vector<int64_t> values;
  int64_t largest = 0;
};
Lengths checked(const char* argument, const std::vector<int64_t>& values, int64_t rows) {
  check(static_cast<int64_t>(values.size()) == rows, "ctc_loss: ", argument, " must be of size batch_size ", rows,
        ", got ", values.size());
  Lengths lengths{values};
  for (const int64_t value : values) {
    check(value >= 0, "ctc_loss: Expected ", argument, " to have value at least 0, but got value ", value);
    lengths.largest = std::max(lengths.largest, value);
  }
  return lengths;
}

}  // namespace

Tensor ctc_loss(const Tensor& log_probs, const Tensor& targets, const std::vector<int64_t>& input_lengths,
                const std::vector<int64_t>& target_lengths, int64_t blank, Reduction reduction, bool zero_infinity) {
  if (const auto operands = autocast("ctc_loss", log_probs))
    return ctc_loss((*operands)[0], targets, input_lengths, target_lengths, blank, reduction, zero_infinity);
  if (log_probs.dim() == 2) {
    const Tensor loss =
        ctc_loss(unsqueeze(log_probs, 1), targets, input_lengths, target_lengths, blank, reduction, zero_infinity);
    return reduction == Reduction::None ? reshape(loss, {}) : loss;
  }
  check(log_probs.dim() == 3, "ctc_loss: Expected 3-dimensional tensor, but got ", log_probs.dim(),
        "-dimensional tensor for argument #1 'log_probs'");
  check(log_probs.numel() > 0, "ctc_loss: log_probs tensor must not be empty, got shape ", brackets(log_probs.shape()));
  const int64_t frames = log_probs.size(0), rows = log_probs.size(1), classes = log_probs.size(2);
  check<NotImplementedError>(log_probs.dtype() == DType::Float32 || log_probs.dtype() == DType::Float64,
                             "ctc_loss: not implemented for '", scalar_type_name(log_probs.dtype()), "'");
  check(blank >= 0 && blank < classes, "ctc_loss: blank must be in label range, got ", blank, " for ", classes,
        " classes");
  const Lengths inputs = checked("input_lengths", input_lengths, rows);
  const Lengths sizes = checked("target_lengths", target_lengths, rows);
  check(inputs.largest <= frames, "ctc_loss: Expected input_lengths to have value at most ", frames, ", but got value ",
        inputs.largest);
  const Shape& shape = targets.shape();
  check(shape.size() == 1 || shape.size() == 2, "ctc_loss: Expected 1 to 2 dimensions, but got ", shape.size(),
        "-dimensional tensor for argument #2 'targets'");
  int64_t total = 0;
  for (const int64_t size : sizes.values) total += size;
  if (shape.size() == 1)
    check(shape[0] == total, "ctc_loss: Expected tensor to have size ", total, " at dimension 0, but got size ",
          shape[0], " for argument #2 'targets'");
  else
    check(shape[0] == rows && shape[1] >= sizes.largest, "ctc_loss: Expected tensor to have size at least [", rows,
          ", ", sizes.largest, "], but got size ", brackets(shape), " for argument #2 'targets'");

  const std::vector<int64_t> labels = cast(targets.detach(), DType::Int64).to_vector<int64_t>();
  const int64_t states = 2 * sizes.largest + 1;
  std::vector<int64_t> spelled(static_cast<size_t>(rows * states), blank), ends;
  std::vector<int64_t> skips(static_cast<size_t>(rows * states), 0);
  int64_t next = 0;
  for (int64_t n = 0; n < rows; ++n) {
    const int64_t size = sizes.values[static_cast<size_t>(n)];
    const int64_t begin = shape.size() == 1 ? next : n * shape[1];
    next += size;
    int64_t before = -1;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t label = labels[static_cast<size_t>(begin + i)];
      check<IndexError>(label >= 0 && label < classes, "ctc_loss: Target ", label, " is out of bounds for ", classes,
                        " classes");
      const auto state = static_cast<size_t>(n * states + 2 * i + 1);
      spelled[state] = label;
      skips[state] = label != before;
      before = label;
    }
    ends.insert(ends.end(), {2 * size + 2, 2 * size + 1});
  }
  const DType dtype = log_probs.dtype();
  const auto tensor = [&](const std::vector<int64_t>& values, const Shape& sizes) {
    return to_device(from_data<int64_t>(values, sizes), log_probs.device());
  };
  const Tensors operands{log_probs, tensor(spelled, {rows, states}), cast(tensor(skips, {rows, states}), DType::Bool),
                         tensor(inputs.values, {rows}), tensor(ends, {rows, 2})};
  const std::vector<Spec> specs{{{rows}, dtype}, {{frames + 1, rows, states + 2}, dtype, false}};
  Tensor loss = record(std::make_shared<CtcLoss>(), operands, specs)[0];
  if (zero_infinity) loss = masked_fill(loss, isinf(loss), wrap_scalar(0, loss));
  if (reduction != Reduction::Mean) return reduction == Reduction::Sum ? sum(loss) : loss;
  std::vector<int64_t> divisors = sizes.values;
  for (int64_t& divisor : divisors) divisor = std::max<int64_t>(divisor, 1);
  return mean(loss / tensor(divisors, {rows}));
}

}  // namespace pycnn
