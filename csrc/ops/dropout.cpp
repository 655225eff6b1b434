// Dropout (Srivastava et al. 2014): elements or whole channels are zeroed at random in training.
#include <array>

#include "graph/lowering.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

using namespace graph;

/// input, mask (broadcast to it) → input · mask · scale. It is its own gradient.
class Dropout final : public Operator {
 public:
  explicit Dropout(double scale) : scale_(scale) {}
  const char* name() const override { return "dropout"; }
  void fingerprint(Fingerprint& f) const override { f.add(scale_); }
  BackwardReads backward_reads() const override { return {.inputs = 0b10}; }
  Tensors backward(const BackwardContext& context) const override {
    return {record(std::make_shared<Dropout>(scale_), {context.gradient(), context.input(1)},
                   {context.input_shape(0), context.input_dtype(0)}),
            {}};
  }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const double scale = scale_;
    return {l.pointwise(inputs, input.shape, input.dtype, input.dtype,
                        [scale](ProgramBuilder& p, std::span<const Expression> in) {
                          return p.multiply(in[0], p.multiply(in[1], scale));
                        })};
  }

 private:
  double scale_;
};

Tensor drop(const char* name, const Tensor& input, const Shape& mask_shape, double p, bool training) {
  check<ValueError>(p >= 0 && p <= 1, name, ": dropout probability has to be between 0 and 1, but got ", p);
  if (!training || p == 0) return input;
  check(is_floating_point(input.dtype()), name, ": result type Float can't be cast to the desired output type ",
        input.dtype());
  const Tensor mask = bernoulli(mask_shape, 1 - p, DType::Bool);
  return record(std::make_shared<Dropout>(p == 1 ? 0 : 1 / (1 - p)), {input, mask}, {input.shape(), input.dtype()});
}

}  // namespace

Tensor dropout(const Tensor& input, double p, bool training) {
  return drop("dropout", input, input.shape(), p, training);
}

Tensor feature_dropout(const Tensor& input, double p, bool training) {
  check(input.dim() >= 2, "feature_dropout: expected at least 2 dimensions (N, C, …), but got shape ", input.shape());
  Shape mask = input.shape();
  for (int d = 2; d < mask.size(); ++d) mask[d] = 1;
  return drop("feature_dropout", input, mask, p, training);
}

}  // namespace pycnn
