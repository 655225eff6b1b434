// Losses of an element and its target, reduced.
#include <cmath>
#include <numbers>

#include "ops/autocast.h"
#include "ops/losses.h"
#include "ops/pointwise.h"

namespace pycnn {
namespace ops {
namespace {

using enum ResultType;
using Expressions = std::span<const Expression>;
using P = ProgramBuilder;

/// Of a difference x: x²/(2 divisor) up to the threshold, (|x| - threshold/2) threshold/divisor beyond. Its slope is x
/// between both thresholds, divided by the divisor.
const PointwiseRow huber_row = {
    "huber_loss",
    Promoted,
    none,
    [](P& p, Expressions x, const Parameters& parameters) {
      const auto [threshold, divisor] = parameters;
      const Expression distance = p.apply(Opcode::Absolute, x[0]), bound = p.constant(threshold, x[0].type);
      Expression curved = p.multiply(p.multiply(distance, 0.5), distance);
      if (divisor != 1) curved = p.divide(curved, p.constant(divisor, x[0].type));
      Expression straight = p.add(distance, -0.5 * threshold);
      if (threshold != divisor) straight = p.multiply(straight, threshold / divisor);
      return p.select(p.less(distance, bound), curved, straight);
    },
    {{{[](auto& d) {
         const double threshold = d.parameter(0);
         return mul(d.g(), affine(hardtanh(d.a(), -threshold, threshold), 1 / d.parameter(1)));
       },
       reads_a}}}};

/// x log x, 0 at 0.
const PointwiseRow entropy_row = {"xlogx",
                                  Promoted,
                                  booleans | integers,
                                  [](P& p, Expressions x, auto&) {
                                    return p.select(p.apply(Opcode::Equal, x[0], p.constant(0, x[0].type)),
                                                    p.constant(0, x[0].type),
                                                    p.multiply(x[0], p.apply(Opcode::Log, x[0])));
                                  },
                                  {{{[](auto& d) { return mul(d.g(), affine(log(d.a()), 1, 1)); }, reads_a}}}};

/// These give the dtype of their first operand, whatever that of the target.
void check_can_hold(const char* name, const Tensor& input, const Tensor& loss) {
  check(is_floating_point(input.dtype()) || !is_floating_point(loss.dtype()), name,
        ": result type Float can't be cast to the desired output type ", scalar_type_name(input.dtype()));
}

}  // namespace
}  // namespace ops

using namespace ops;

Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, Reduction reduction, double beta) {
  if (const auto operands = autocast("smooth_l1_loss", input, target))
    return smooth_l1_loss((*operands)[0], (*operands)[1], reduction, beta);
  check(beta >= 0, "smooth_l1_loss: does not support negative values for beta, got ", beta);
  if (beta == 0) return l1_loss(input, target, reduction);
  return named("smooth_l1_loss", [&] {
    const Tensor difference = input - numbers(target, input);
    check_loss_dtype("smooth_l1_loss", difference);
    return reduce_loss(pointwise(huber_row, {difference}, {beta, beta}), reduction);
  });
}

Tensor huber_loss(const Tensor& input, const Tensor& target, Reduction reduction, double delta) {
  if (const auto operands = autocast("huber_loss", input, target))
    return huber_loss((*operands)[0], (*operands)[1], reduction, delta);
  check(delta > 0, "huber_loss: does not support non-positive values for delta, got ", delta);
  return named("huber_loss", [&] {
    const Tensor difference = input - target;
    check_can_hold("huber_loss", input, difference);
    check_loss_dtype("huber_loss", difference);
    return reduce_loss(cast(pointwise(huber_row, {difference}, {delta, 1}), input.dtype()), reduction);
  });
}

Tensor kl_div(const Tensor& input, const Tensor& target, Reduction reduction, bool log_target) {
  if (const auto operands = autocast("kl_div", input, target))
    return kl_div((*operands)[0], (*operands)[1], reduction, log_target);
  check(is_floating_point(input.dtype()) && is_floating_point(target.dtype()),
        "kl_div: Integral inputs not supported, got ", scalar_type_name(input.dtype()), " and ",
        scalar_type_name(target.dtype()));
  return named("kl_div", [&] {
    if (log_target) return reduce_loss(exp(target) * (target - input), reduction);
    return reduce_loss(pointwise(entropy_row, {target}) - target * input, reduction);
  });
}

Tensor poisson_nll_loss(const Tensor& input, const Tensor& target, const PoissonOptions& options) {
  if (const auto operands = autocast("poisson_nll_loss", input, target))
    return poisson_nll_loss((*operands)[0], (*operands)[1], options);
  return named("poisson_nll_loss", [&] {
    Tensor loss = options.log_input ? exp(input) - target * input : input - target * log(input + options.eps);
    if (options.full) {
      // Stirling's t log t - t + log(2πt)/2 counts above 1 only.
      const Tensor small = le(target, wrap_scalar(1, target));
      const Tensor t = masked_fill(target, small, wrap_scalar(1, target));
      const Tensor stirling = t * log(t) - t + log(t * (2 * std::numbers::pi)) * 0.5;
      loss = loss + masked_fill(stirling, small, wrap_scalar(0, stirling));
    }
    return reduce_loss(loss, options.reduction);
  });
}

Tensor gaussian_nll_loss(const Tensor& input, const Tensor& target, const Tensor& variance, bool full, double eps,
                         Reduction reduction) {
  const Shape &x = input.shape(), &v = variance.shape();
  Tensor var = variance;
  if (v != x) {
    // One variance for each vector of the last dimension, with or without that dimension.
    Shape leading = x;
    if (!leading.empty()) leading.erase(leading.size() - 1);
    int64_t differing = 0;
    for (int d = 0; d < std::min(x.size(), v.size()); ++d)
      if (x[d] != v[d]) differing += v[d];
    if (!x.empty() && v == leading)
      var = unsqueeze(variance, -1);
    else
      check<ValueError>(x.size() == v.size() && differing == 1, "gaussian_nll_loss: var is of incorrect size, got ",
                        brackets(v), " for input of size ", brackets(x));
  }
  check(is_floating_point(var.dtype()), "gaussian_nll_loss: result type Float can't be cast to the desired output ",
        "type ", scalar_type_name(var.dtype()));
  constexpr Domain variances{0, std::numeric_limits<double>::infinity(), true, [](const char* name) {
                               throw ValueError(std::string(name) + ": var has negative entry/entries");
                             }};
  var = within("gaussian_nll_loss", var, variances);
  return named("gaussian_nll_loss", [&] {
    // The bound is a constant that is added, so that the gradient of what it bounds passes.
    const Tensor bounded = where(lt(var, wrap_scalar(eps, var)), (clamp_below(var, eps) - var).detach() + var, var);
    Tensor loss = (log(bounded) + square(input - target) / bounded) * 0.5;
    if (full) loss = loss + 0.5 * std::log(2 * std::numbers::pi);
    return reduce_loss(loss, reduction);
  });
}

Tensor hinge_embedding_loss(const Tensor& input, const Tensor& target, double margin, Reduction reduction) {
  if (const auto operands = autocast("hinge_embedding_loss", input, target))
    return hinge_embedding_loss((*operands)[0], (*operands)[1], margin, reduction);
  check(reduction != Reduction::Mean || is_floating_point(input.dtype()),
        "hinge_embedding_loss: mean(): could not infer output dtype. Input dtype must be either a floating point or ",
        "complex dtype. Got: ", scalar_type_name(input.dtype()));
  return named("hinge_embedding_loss", [&] {
    const Tensor nothing = wrap_scalar(0, input);
    const Tensor apart = where(ne(target, wrap_scalar(1, target)), clamp_below(Scalar(margin) - input), nothing);
    const Tensor together = where(ne(target, wrap_scalar(-1, target)), input, nothing);
    return reduce_loss(apart + together, reduction);
  });
}

Tensor soft_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  if (const auto operands = autocast("soft_margin_loss", input, target))
    return soft_margin_loss((*operands)[0], (*operands)[1], reduction);
  check(is_floating_point(input.dtype()),
        "soft_margin_loss: result type Float can't be cast to the desired output type ",
        scalar_type_name(input.dtype()));
  check(broadcast_shapes(input.shape(), target.shape(), "soft_margin_loss") == input.shape(),
        "soft_margin_loss: output with shape ", brackets(input.shape()), " doesn't match that of the target ",
        brackets(target.shape()));
  return named("soft_margin_loss",
               [&] { return reduce_loss(cast(neg(log_sigmoid(input * target)), input.dtype()), reduction); });
}

}  // namespace pycnn
