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

void check_probability(const char* name, double p) {
  check<ValueError>(p >= 0 && p <= 1, name, ": dropout probability has to be between 0 and 1, but got ", p);
}

/// `kept` are the leading dimensions of the mask, which is the same along the others; -1 for all.
Tensor drop(const char* name, const Tensor& input, int kept, double p, bool training) {
  check_probability(name, p);
  if (!training || p == 0 || input.numel() == 0) return input;
  if (p == 1 && !is_floating_point(input.dtype())) return zeros_like(input);
  check(is_floating_point(input.dtype()), name, ": result type Float can't be cast to the desired output type ",
        input.dtype());
  check(input.dim() >= kept, name, ": expected at least ", kept, " dimensions, but got shape ", input.shape());
  Shape mask = input.shape();
  for (int d = kept < 0 ? mask.size() : kept; d < mask.size(); ++d) mask[d] = 1;
  const DeviceScope scope(input.device());
  const Tensor keep = bernoulli(mask, 1 - p, DType::Bool);
  return record(std::make_shared<Dropout>(p == 1 ? 0 : 1 / (1 - p)), {input, keep}, {input.shape(), input.dtype()});
}

}  // namespace

Tensor dropout(const Tensor& input, double p, bool training) { return drop("dropout", input, -1, p, training); }

Tensor feature_dropout(const Tensor& input, double p, bool training) {
  return drop("feature_dropout", input, 2, p, training);
}

Tensor dropout1d(const Tensor& input, double p, bool training) {
  check_probability("dropout1d", p);
  check(input.dim() == 2 || input.dim() == 3, "dropout1d: Expected 2D or 3D input, but received a ", input.dim(),
        "D input.");
  return drop("dropout1d", input, input.dim() - 1, p, training);
}

Tensor dropout2d(const Tensor& input, double p, bool training) { return drop("dropout2d", input, 2, p, training); }

Tensor dropout3d(const Tensor& input, double p, bool training) {
  return drop("dropout3d", input, input.dim() == 5 ? 2 : 1, p, training);
}

}  // namespace pycnn
