// Losses that want a margin between classes, pairs or triplets.
#include <algorithm>

#include "ops/autocast.h"
#include "ops/losses.h"
#include "ops/pointwise.h"

namespace pycnn {

using namespace ops;

namespace {

/// input as (N, C), of a matrix, vector or number.
Tensor as_rows(const char* name, const Tensor& input) {
  const Shape& shape = input.shape();
  check(shape.size() <= 1 || (shape.size() == 2 && shape[1] != 0), name,
        ": Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", brackets(shape));
  check(shape.size() != 1 || shape[0] != 0, name,
        ": Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", brackets(shape));
  return shape.size() == 2 ? input : reshape(input, {1, input.numel()});
}

void check_labels(const char* name, const Tensor& target, int64_t low, int64_t high, const char* message) {
  check(target.dtype() == DType::Int64, name, ": expected scalar type Long but found ",
        scalar_type_name(target.dtype()));
  visit_known<int64_t>(target, [=](int64_t label) {
    check(label >= low && label < high, name, ": ", message, ", got ", label, " for ", high, " classes");
  });
}

Tensor like_labels(const Tensor& target, int64_t count) {
  const DeviceScope scope(target.device());
  return reshape(arange(0, count, 1, DType::Int64), target.dim() == 2 ? Shape{1, count} : Shape{count});
}

}  // namespace

Tensor multilabel_soft_margin_loss(const Tensor& input, const Tensor& target, const Tensor& weight,
                                   Reduction reduction) {
  return named("multilabel_soft_margin_loss", [&] {
    Tensor loss = neg(target * log_sigmoid(input) + (Scalar(1) - target) * log_sigmoid(neg(input)));
    if (weight.defined()) loss = loss * weight;
    check<IndexError>(input.dim() > 0,
                      "multilabel_soft_margin_loss: Dimension specified as -1 but tensor has no dimensions");
    const int dimension = input.dim() - 1;
    loss = sum(loss, Dimensions{dimension}) / static_cast<double>(input.shape()[dimension]);
    return reduce_loss(loss, reduction);
  });
}

Tensor multilabel_margin_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  const char* name = "multilabel_margin_loss";
  if (const auto operands = autocast(name, input)) return multilabel_margin_loss((*operands)[0], target, reduction);
  const Tensor x = as_rows(name, input);
  check(target.shape() == input.shape() || (input.dim() == 0 && target.numel() == 1), name,
        ": inconsistent target size: ", brackets(target.shape()), " for input of size: ", brackets(input.shape()));
  const int64_t rows = x.size(0), classes = x.size(1);
  check_labels(name, target, -1, classes, "argument #2 'target' is out of range");
  check_loss_dtype(name, input);
  return named(name, [&] {
    if (x.numel() == 0) return reduction == Reduction::None ? sum(x, Dimensions{1}) : sum(x);
    const Tensor labels = reshape(target, x.shape());
    const Tensor places = like_labels(labels, classes);
    // Labels count up to the first -1.
    const Tensor ends =
        amin(where(lt(labels, wrap_scalar(0, labels)), places, wrap_scalar(classes, labels)), Dimensions{1}, true);
    const Tensor counts = lt(places, ends);
    const Tensor index = where(counts, labels, wrap_scalar(0, labels));
    const Tensor is_target =
        any(logical_and(unsqueeze(counts, 2), eq(unsqueeze(index, 2), reshape(places, {1, 1, classes}))), Dimensions{1},
            true);
    // (N, label, class)
    const Tensor margins = relu(Scalar(1) - unsqueeze(gather(x, 1, index), 2) + unsqueeze(x, 1));
    const Tensor pairs = logical_and(unsqueeze(counts, 2), logical_not(is_target));
    const Tensor losses = sum(keep_where(margins, pairs), Dimensions{1, 2}) / static_cast<double>(classes);
    if (reduction == Reduction::None) return input.dim() == 2 ? losses : reshape(losses, {});
    return reduction == Reduction::Sum ? sum(losses) : sum(losses) / static_cast<double>(rows);
  });
}

Tensor multi_margin_loss(const Tensor& input, const Tensor& target, double p, double margin, const Tensor& weight,
                         Reduction reduction) {
  const char* name = "multi_margin_loss";
  if (const auto operands = autocast(name, input, weight))
    return multi_margin_loss((*operands)[0], target, p, margin, (*operands)[1], reduction);
  check<ValueError>(p == 1 || p == 2, name, ": only p == 1 and p == 2 supported, got ", p);
  const Tensor x = as_rows(name, input);
  const int64_t rows = x.size(0), classes = x.size(1);
  check(target.dim() <= 1 && target.numel() == rows, name, ": inconsistent target size, expected ", rows, " but got ",
        brackets(target.shape()));
  check<ValueError>(!weight.defined() || weight.dim() == 1, name, ": weight must be one-dimensional");
  check(!weight.defined() || weight.numel() == classes, name, ": inconsistent weight size, expected ", classes,
        " but got ", brackets(weight.defined() ? weight.shape() : Shape{}));
  check_labels(name, target, 0, classes, "target out of range");
  check_loss_dtype(name, input);
  check(!weight.defined() || weight.dtype() == input.dtype(), name, ": expected scalar type ",
        scalar_type_name(input.dtype()), " but found ",
        scalar_type_name(weight.defined() ? weight.dtype() : DType::Bool));
  check_constant(name, "weight", weight);
  return named(name, [&] {
    if (x.numel() == 0) return reduction == Reduction::None ? sum(x, Dimensions{1}) : sum(x);
    const Tensor index = reshape(target, {rows, 1});
    Tensor terms = relu(Scalar(margin) - gather(x, 1, index) + x);
    if (p == 2) terms = square(terms);
    if (weight.defined()) terms = terms * reshape(index_select(weight, 0, reshape(target, {rows})), {rows, 1});
    const Tensor others = ne(index, like_labels(index, classes));
    const Tensor losses = sum(keep_where(terms, others), Dimensions{1}) / static_cast<double>(classes);
    if (reduction == Reduction::None) return reshape(losses, target.shape());
    return reduction == Reduction::Sum ? sum(losses) : mean(losses);
  });
}

Tensor margin_ranking_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin, Reduction reduction) {
  if (const auto operands = autocast("margin_ranking_loss", a, b, target))
    return margin_ranking_loss((*operands)[0], (*operands)[1], (*operands)[2], margin, reduction);
  check(a.dim() == b.dim() && a.dim() == target.dim(),
        "margin_ranking_loss: All input tensors should have same dimension but got sizes: input1: ",
        brackets(a.shape()), ", input2: ", brackets(b.shape()), ", target: ", brackets(target.shape()));
  return named("margin_ranking_loss",
               [&] { return reduce_loss(clamp_below(neg(target) * (a - b) + Scalar(margin)), reduction); });
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Tensor& target, double margin,
                             Reduction reduction) {
  const char* name = "cosine_embedding_loss";
  if (const auto operands = autocast(name, a, b, target))
    return cosine_embedding_loss((*operands)[0], (*operands)[1], (*operands)[2], margin, reduction);
  const int rank = target.dim();
  check(rank <= 1, name, ": 0D or 1D target tensor expected, multi-target not supported, got target of size ",
        brackets(target.shape()));
  check(a.dim() == rank + 1 && b.dim() == rank + 1, name, ": ", rank, "D target tensor expects ", rank + 1,
        "D input tensors, but found inputs with sizes ", brackets(a.shape()), " and ", brackets(b.shape()), ".");
  return named(name, [&] {
    constexpr double epsilon = 1e-12;
    const Dimensions over{rank};
    const Tensor lengths = (sum(a * a, over) + epsilon) * (sum(b * b, over) + epsilon);
    const Tensor cosine = sum(a * b, over) / sqrt(lengths);
    const Tensor nothing = wrap_scalar(0, cosine);
    const Tensor together = where(eq(target, wrap_scalar(1, target)), Scalar(1) - cosine, nothing);
    const Tensor apart = where(eq(target, wrap_scalar(-1, target)), clamp_below(cosine - Scalar(margin)), nothing);
    return reduce_loss(together + apart, reduction);
  });
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletOptions& options) {
  const char* name = "triplet_margin_loss";
  if (const auto operands = autocast(name, anchor, positive, negative))
    return triplet_margin_loss((*operands)[0], (*operands)[1], (*operands)[2], options);
  check<ValueError>(options.margin > 0, name, ": margin must be greater than 0, got ", options.margin);
  check(anchor.dim() == positive.dim() && anchor.dim() == negative.dim(), name,
        ": The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: ",
        "anchor ", anchor.dim(), "D, positive ", positive.dim(), "D, and negative ", negative.dim(), "D inputs");
  return named(name, [&] {
    const auto distance = [&](const Tensor& a, const Tensor& b) {
      return pairwise_distance(a, b, options.p, options.eps);
    };
    Tensor far = distance(anchor, negative);
    if (options.swap) far = minimum(far, distance(positive, negative));
    return reduce_loss(clamp_below(distance(anchor, positive) - far + Scalar(options.margin)), options.reduction);
  });
}

}  // namespace pycnn
