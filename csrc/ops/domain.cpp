// Losses that are defined for some values only: the check of those that are not known yet.
#include "graph/lowering.h"
#include "ops/losses.h"

namespace pycnn::ops {
namespace {

using namespace graph;

/// The input itself; raises when run if an element is outside the domain.
class Within final : public Operator {
 public:
  Within(const char* name, const Domain& domain) : name_(name), domain_(domain) {}
  const char* name() const override { return name_; }
  void fingerprint(Fingerprint& f) const override {
    f.add(domain_.low);
    f.add(domain_.high);
    f.add(static_cast<int64_t>(domain_.nan));
    f.add(static_cast<int64_t>(reinterpret_cast<intptr_t>(domain_.refuse)));
  }
  Tensors backward(const BackwardContext& context) const override { return {context.gradient()}; }
  std::vector<Slot> lower(Lowering& l, std::span<const Slot> inputs) const override {
    const Slot& input = inputs[0];
    const Domain domain = domain_;
    const Slot inside = l.pointwise(
        inputs, input.shape, compute_dtype(input.dtype), DType::Bool,
        [domain](ProgramBuilder& p, std::span<const Expression> in) {
          const Expression x = in[0], low = p.constant(domain.low, x.type), high = p.constant(domain.high, x.type);
          if (domain.nan)
            return p.apply(Opcode::LogicalNot, p.apply(Opcode::LogicalOr, p.less(x, low), p.less(high, x)));
          return p.apply(Opcode::LogicalAnd, p.apply(Opcode::LessEqual, low, x), p.apply(Opcode::LessEqual, x, high));
        });
    const uint32_t everything = (1u << input.shape.size()) - 1;
    const Slot all = l.reduce(kernels::ReduceKind::Product, inside, everything, DType::Int64, DType::Bool);
    l.require(l.reshape(all, {}), [refuse = domain.refuse, name = name_] { refuse(name); });
    return {input};
  }

 private:
  const char* name_;
  Domain domain_;
};

template <typename T>
void check_known(const char* name, const Tensor& tensor, const Domain& domain) {
  visit_known<T>(tensor, [&](double value) {
    const bool outside =
        domain.nan ? value < domain.low || value > domain.high : !(value >= domain.low && value <= domain.high);
    if (outside) domain.refuse(name);
  });
}

}  // namespace

Tensor within(const char* name, const Tensor& tensor, const Domain& domain) {
  if (tensor.numel() == 0) return tensor;
  const DType dtype = tensor.dtype();
  if (tensor.is_evaluated() && (dtype == DType::Float32 || dtype == DType::Float64)) {
    dtype == DType::Float32 ? check_known<float>(name, tensor, domain) : check_known<double>(name, tensor, domain);
    return tensor;
  }
  return record(std::make_shared<Within>(name, domain), {tensor}, {tensor.shape(), dtype});
}

}  // namespace pycnn::ops
