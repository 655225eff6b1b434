// Random tensors. Element i depends on its key and i alone; keys are drawn from the generator when a call is recorded.
#include <array>
#include <numeric>
#include <vector>

#include "graph/capture.h"
#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/promotion.h"
#include "ops/views.h"

namespace pycnn {
namespace ops {
namespace {

using graph::Fingerprint;
using graph::Lowering;
using graph::Slot;
using kernels::RandomKind;

/// Philox4x32-10 (Salmon et al. 2011).
std::array<uint32_t, 4> philox(uint64_t key, uint64_t counter) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53u} * c[0], second = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(second >> 32) ^ c[1] ^ low, static_cast<uint32_t>(second),
         static_cast<uint32_t>(first >> 32) ^ c[3] ^ high, static_cast<uint32_t>(first)};
    low += 0x9E3779B9u;
    high += 0xBB67AE85u;
  }
  return c;
}

class Random final : public graph::Operator {
 public:
  Random(const Lowering::Random& parameters, const Shape& shape, DType dtype)
      : parameters_(parameters), shape_(shape), dtype_(dtype) {}
  const char* name() const override { return "random"; }
  bool creates() const override { return true; }
  void fingerprint(Fingerprint& f) const override {
    f.add(static_cast<int64_t>(parameters_.kind)).add(parameters_.first).add(parameters_.second);
    f.add(parameters_.low).add(parameters_.high).add(shape_).add(static_cast<int64_t>(dtype_));
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    return {l.random(parameters_, inputs[0], dtype_, shape_)};
  }

 private:
  Lowering::Random parameters_;
  Shape shape_;
  DType dtype_;
};

Tensor record_random(const char* operation, const Lowering::Random& parameters, const Shape& shape, DType dtype,
                     const Generator& generator) {
  check_sizes(operation, shape);
  check<NotImplementedError>(
      parameters.kind == RandomKind::Integer || parameters.kind == RandomKind::Bernoulli || is_floating_point(dtype),
      operation, ": not implemented for '", scalar_type_name(dtype), "'");
  const auto draw = [generator] { return scalar_tensor(static_cast<int64_t>(generator.draw()), DType::Int64); };
  const Tensor key = draw();
  if (graph::CaptureLog* log = graph::capture_log()) log->note_renewed(key.value(), [draw] { return draw().value(); });
  return graph::record(std::make_shared<Random>(parameters, shape, dtype), {key}, {shape, dtype, false});
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor rand(const Shape& shape, DType dtype, const Generator& generator) {
  return record_random("rand", {.kind = RandomKind::Uniform, .first = 0, .second = 1}, shape, dtype, generator);
}

Tensor randn(const Shape& shape, DType dtype, const Generator& generator) {
  return record_random("randn", {.kind = RandomKind::Normal, .first = 0, .second = 1}, shape, dtype, generator);
}

Tensor randint(int64_t low, int64_t high, const Shape& shape, DType dtype, const Generator& generator) {
  check(low < high, "randint: random_ expects 'from' to be less than 'to', but got from=", low, " >= to=", high);
  return record_random("randint", {.kind = RandomKind::Integer, .low = low, .high = high}, shape, dtype, generator);
}

Tensor randperm(int64_t n, const Generator& generator) {
  check(n >= 0, "randperm: n must be non-negative, got ", n);
  // Fisher-Yates on the host, from 64 bits per element: the same order on every machine.
  const uint64_t key = generator.draw();
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) {
    const auto bits = philox(key, i);
    const uint64_t number = uint64_t{bits[1]} << 32 | bits[0];
    std::swap(order[i - 1], order[number % i]);
  }
  return to_device(from_data<int64_t>(order, {n}), creation_device());
}

Tensor uniform(const Shape& shape, double low, double high, DType dtype, const Generator& generator) {
  check(low <= high, "uniform: expects to return a [from, to) range, but found from=", low, " > to=", high);
  return record_random("uniform", {.kind = RandomKind::Uniform, .first = low, .second = high}, shape, dtype, generator);
}

Tensor normal(const Shape& shape, double mean, double deviation, DType dtype, const Generator& generator) {
  check(deviation >= 0, "normal: expects std >= 0.0, but found std ", deviation);
  return record_random("normal", {.kind = RandomKind::Normal, .first = mean, .second = deviation}, shape, dtype,
                       generator);
}

Tensor bernoulli(const Shape& shape, double probability, DType dtype, const Generator& generator) {
  check(probability >= 0 && probability <= 1, "bernoulli: expects p to be in [0, 1], but got p=", probability);
  return record_random("bernoulli", {.kind = RandomKind::Bernoulli, .first = probability}, shape, dtype, generator);
}

Tensor bernoulli(const Tensor& probabilities, const Generator& generator) {
  check_floating_point("bernoulli", probabilities);
  const DeviceScope scope(probabilities.device());
  const DType dtype = probabilities.dtype();
  if (probabilities.is_evaluated()) {
    const Tensor inside = all(logical_and(ge(probabilities, wrap_scalar(0, probabilities)),
                                          le(probabilities, wrap_scalar(1, probabilities))));
    check(inside.item<bool>(), "bernoulli: expects all probabilities to be in [0, 1]");
  }
  return cast(lt(rand(probabilities.shape(), compute_dtype(dtype), generator), probabilities.detach()), dtype);
}

Tensor exponential(const Shape& shape, double rate, DType dtype, const Generator& generator) {
  check(rate > 0, "exponential: expects lambda > 0.0, but found lambda=", rate);
  check<NotImplementedError>(is_floating_point(dtype), "exponential: not implemented for '", scalar_type_name(dtype),
                             "'");
  return cast(div(log1p(neg(rand(shape, DType::Float64, generator))), full({}, -rate, DType::Float64)), dtype);
}

Tensor multinomial(const Tensor& input, int64_t num_samples, bool replacement, const Generator& generator) {
  check(input.dim() == 1 || input.dim() == 2, "prob_dist must be 1 or 2 dim");
  check(is_floating_point(input.dtype()),
        "multinomial only supports floating-point dtypes for input, got: ", input.dtype());
  check(num_samples > 0, "cannot sample n_sample <= 0 samples");
  check(replacement || num_samples <= input.size(-1),
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  const DeviceScope scope(input.device());
  Shape shape = input.shape();
  shape[shape.size() - 1] = num_samples;
  if (input.numel() == 0) return zeros(shape, DType::Int64);
  const Tensor weights = cast(input.detach(), DType::Float64), none = full({}, 0, DType::Float64);
  check(all(logical_and(isfinite(weights), ge(weights, none))).item<bool>(),
        "probability tensor contains either `inf`, `nan` or element < 0");
  check(all(gt(sum(weights, Dimensions{-1}), none)).item<bool>(),
        "invalid multinomial distribution (sum of probabilities <= 0)");
  if (replacement) {
    const Tensor bounds = cumsum(weights, -1);
    const Tensor drawn = mul(rand(shape, DType::Float64, generator), narrow(bounds, -1, input.size(-1) - 1, 1));
    return searchsorted(bounds, drawn, true);
  }
  check(min(sum(gt(weights, none), Dimensions{-1})).item<int64_t>() >= num_samples,
        "invalid multinomial distribution (with replacement=False, not enough non-negative category to sample)");
  // The first of exponential waiting times with these rates.
  const Tensor waiting = div(exponential(input.shape(), 1, DType::Float64, generator), weights);
  return narrow(argsort(waiting, -1), -1, 0, num_samples);
}

}  // namespace pycnn
