// Pointwise operators: one row each (name, formula, derivatives), one class for all of them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "ops/promotion.h"
#include "pycnn/ops.h"

namespace pycnn::ops {

using graph::Expression;
using graph::Opcode;
using graph::ProgramBuilder;

/// Structural constants of a row (a slope, a threshold). Numbers of the user's arithmetic are 0-d inputs instead.
using Parameters = std::array<double, 2>;

/// What a derivative sees. 16-bit floats arrive as float32, so that a chain of operators rounds once.
class Derivation {
 public:
  Derivation(const graph::BackwardContext& context, const Parameters& parameters, bool widen)
      : context_(context), parameters_(parameters), widen_(widen) {}
  Tensor g() const { return widened(context_.gradient()); }  ///< gradient of the result
  Tensor a() const { return input(0); }
  Tensor b() const { return input(1); }
  Tensor c() const { return input(2); }
  Tensor input(int i) const { return widened(context_.input(i)); }
  Tensor y() const { return widened(context_.output(0)); }  ///< the result
  double parameter(int i) const { return parameters_[static_cast<size_t>(i)]; }

 private:
  Tensor widened(const Tensor& tensor) const;
  const graph::BackwardContext& context_;
  const Parameters& parameters_;
  bool widen_;
};

/// Bits of BackwardReads: which values a derivative reads.
enum Reads : uint8_t { nothing = 0, reads_a = 1, reads_b = 2, reads_c = 4, reads_y = 128 };

struct Derivative {
  Tensor (*gradient)(const Derivation&) = nullptr;
  uint8_t reads = nothing;
};

enum class ResultType : uint8_t {
  Promoted,  ///< that of the operands
  Floating,  ///< integers become the default dtype
  Boolean,
};

/// Which operands are refused.
enum Refuses : uint8_t { none = 0, booleans = 1, integers = 2, floats = 4 };

struct PointwiseRow {
  const char* name;
  ResultType result;
  uint8_t refuses;
  Expression (*formula)(ProgramBuilder& p, std::span<const Expression> x, const Parameters& parameters);
  std::array<Derivative, 4> derivatives = {};
};

/// Checks, promotes, broadcasts and records a row of the table.
Tensor pointwise(const PointwiseRow& row, std::initializer_list<Tensor> inputs, const Parameters& parameters = {});
/// Without promotion: computed in `compute`, rounded to `out`.
Tensor record_pointwise(const PointwiseRow& row, std::initializer_list<Tensor> inputs, DType compute, DType out,
                        const Parameters& parameters = {});

/// a ± alpha·b with alpha as wrap_scalar() made it, which may serve several calls.
Tensor add_scaled(const Tensor& a, const Tensor& b, const Tensor& alpha);
Tensor sub_scaled(const Tensor& a, const Tensor& b, const Tensor& alpha);

// Building blocks of gradients, with structural constants instead of plan inputs.
/// scale · input + offset
Tensor affine(const Tensor& input, double scale, double offset = 0);
/// mask ? input : 0, and the opposite; what is masked out leaves no trace, be it NaN.
Tensor keep_where(const Tensor& input, const Tensor& mask);
Tensor zero_where(const Tensor& input, const Tensor& mask);

}  // namespace pycnn::ops
