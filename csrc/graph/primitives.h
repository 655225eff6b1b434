// Primitives: what a plan is made of. Each knows the slots it touches and how to call its kernel.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "graph/compiled_program.h"
#include "graph/lowering.h"

namespace pycnn::graph {

struct Primitive {
  virtual ~Primitive() = default;
  virtual const char* name() const = 0;
  /// After fusion: choose the algorithm, compile programs, size the workspace.
  virtual void prepare(const kernels::Kernels& kernels) = 0;
  virtual void run(const kernels::Kernels& kernels, const Addresses& addresses) const = 0;
  /// Algorithm and attributes in a few words.
  virtual std::string details() const { return ""; }
  /// Floating-point operations as the operators define them, whatever the algorithm does.
  virtual double flops() const { return 0; }
  /// What of these is the dtype of factors; bfloat16 is multiplied faster where there are instructions for it.
  virtual DType multiplied_dtype() const { return DType::Float32; }
  /// The weight, which an algorithm may read packed; or null.
  virtual const Slot* packed_operand() const { return nullptr; }
  /// Whether run() does nothing but give a GPU work that follows from the addresses: it neither waits for a result nor
  /// allocates, so that it can be part of a CUDA graph.
  virtual bool capturable() const { return true; }
  /// Tables that its kernel reads; the plan puts them where that runs.
  virtual std::vector<std::span<const std::byte>> tables() const { return {}; }
  /// Read and written, each window once in either direction; a broadcast dimension counts once.
  int64_t bytes() const;

  std::vector<Slot> reads, writes;
  const char* operator_name = "";
  std::string fused;  ///< names of the operators that were fused into this one
  size_t workspace = 0;
  std::vector<const void*> placed_tables;  ///< addresses of tables()
};

struct PointwisePrimitive final : Primitive {
  Formulation program;
  std::vector<int> order;  ///< dimensions, outermost first: the memory order of the first output
  const char* name() const override { return "pointwise"; }
  void prepare(const kernels::Kernels& kernels) override;
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  std::string details() const override;
  double flops() const override;
  /// Whether it does nothing but round its only operand to another dtype.
  bool is_cast() const;
  CompiledProgram compiled;
};

/// Pointwise programs none of which reads or writes what another writes: one launch. Parameter updates.
struct PointwiseBatchPrimitive final : Primitive {
  std::vector<std::unique_ptr<PointwisePrimitive>> members;
  const char* name() const override { return "pointwise_batch"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  std::string details() const override;
  double flops() const override;
};

/// Reductions of one iteration space that share a pass.
struct ReducePrimitive final : Primitive {
  struct Part {
    int source;  ///< the expression of the prologue that is reduced
    kernels::ReduceKind kind;
    std::vector<Slot> results;  ///< one, or mean and centred sum
  };
  Formulation prologue;  ///< without stores unless fused ones are still needed
  std::vector<Part> parts;
  uint32_t dimensions = 0;
  std::vector<int> order;  ///< memory order of the reduced slot: it fixes the order of additions
  Slot reduced_slot;       ///< where the reduced values would lie, unfused
  std::vector<Slot> results() const;
  const char* name() const override { return "reduce"; }
  bool compile(CompiledProgram& into) const;
  void prepare(const kernels::Kernels& kernels) override;
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  std::string details() const override;
  double flops() const override;
  CompiledProgram compiled;

 private:
  kernels::ReduceArguments arguments(const Addresses& addresses, kernels::Operand* operands,
                                     kernels::Accumulation* accumulations) const;
};

/// What is kept with a storage, in memory besides the arena's, may be as large as this: room for the linear layers of
/// VGG in bfloat16, which would take as long to make anew in every run as the convolutions take.
inline constexpr size_t most_derived_bytes = size_t{1} << 28;

/// An operand that an algorithm reads packed. It is kept so if it is an input of plans that does not change.
struct Packing {
  size_t bytes = 0;          ///< 0: there is nothing to keep
  std::vector<int64_t> key;  ///< what the packed form follows from, besides the operand's elements and place

  template <typename Algorithm, typename Arguments>
  void prepare(const Algorithm& algorithm, const Arguments& arguments, std::span<const int64_t> form);
  template <typename Algorithm, typename Arguments>
  void run(const Algorithm& algorithm, Arguments& arguments, const Slot& operand, const Addresses& addresses) const;
};

/// Convolutions and products: a pointwise program may transform the finished result while it is in cache.
struct EpiloguePrimitive : Primitive {
  std::unique_ptr<Formulation> epilogue;
  CompiledProgram compiled_epilogue;
  Packing packing;
  /// Memory order of the result, outermost first; its last dimension is the innermost loop.
  virtual std::vector<int> result_order() const = 0;
  bool compile_epilogue(const Formulation& formulation, CompiledProgram& into) const;
  /// Where the kernel writes, and hence what an epilogue reads.
  virtual Slot& raw() = 0;
  const Slot& raw() const { return const_cast<EpiloguePrimitive*>(this)->raw(); }

 protected:
  /// Runs the algorithm on arguments that lack workspace, epilogue and what is packed of the weight.
  template <typename Algorithm, typename Arguments>
  void run_algorithm(const Algorithm& algorithm, Arguments& arguments, const Slot& weight,
                     const Addresses& addresses) const;
};

struct ConvolutionPrimitive final : EpiloguePrimitive {
  kernels::ConvolutionPass pass;
  kernels::ConvolutionShape shape;
  Slot input, weight, output;
  const kernels::ConvolutionAlgorithm* algorithm = nullptr;
  const char* name() const override;
  void prepare(const kernels::Kernels& kernels) override;
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  std::string details() const override { return algorithm ? algorithm->name : ""; }
  double flops() const override;
  DType multiplied_dtype() const override { return output.dtype; }
  std::vector<int> result_order() const override;
  const Slot* packed_operand() const override {
    return pass == kernels::ConvolutionPass::WeightGradient ? nullptr : &weight;
  }
  using EpiloguePrimitive::raw;
  Slot& raw() override {
    return pass == kernels::ConvolutionPass::InputGradient ? input
           : pass == kernels::ConvolutionPass::Forward     ? output
                                                           : weight;
  }

 private:
  kernels::ConvolutionArguments arguments() const;
};

struct MatmulPrimitive final : EpiloguePrimitive {
  kernels::MatmulArguments shape{};
  Slot a, b, c;
  const kernels::MatmulAlgorithm* algorithm = nullptr;
  const char* name() const override { return "matmul"; }
  void prepare(const kernels::Kernels& kernels) override;
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  std::string details() const override { return algorithm ? algorithm->name : ""; }
  double flops() const override;
  DType multiplied_dtype() const override { return shape.dtype; }
  std::vector<int> result_order() const override;
  const Slot* packed_operand() const override { return &b; }
  using EpiloguePrimitive::raw;
  Slot& raw() override { return c; }
};

struct PoolingPrimitive final : Primitive {
  enum class Kind : uint8_t { Maximum, MaximumBackward, MaximumGather, Average, AverageBackward } kind;
  std::shared_ptr<const Lowering::PoolingWindows> windows;
  Slot input, output;  ///< gradients in the backward kinds
  Slot places;         ///< of maxima: Int64 indices or UInt8 offsets within windows
  const char* name() const override;
  std::vector<std::span<const std::byte>> tables() const override;
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct CombineRowsPrimitive final : Primitive {
  std::shared_ptr<const Lowering::RowTable> table;
  int64_t outer = 1, inner = 1, input_size = 0;
  Slot input, output;
  const char* name() const override { return "combine_rows"; }
  std::vector<std::span<const std::byte>> tables() const override;
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  double flops() const override;
};

/// Softmax of rows, its logarithm, or the gradient of either.
struct SoftmaxPrimitive final : Primitive {
  bool logarithm = false;
  int64_t rows = 0, columns = 0;
  Slot input, gradient, output;  ///< no gradient: buffer -1
  const char* name() const override { return gradient.buffer < 0 ? "softmax" : "softmax_backward"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct NormalizeRowsPrimitive final : Primitive {
  bool centered = true;
  double eps = 0;
  Slot input, weight, bias, output, mean, inverse;  ///< weight and bias may have buffer -1
  const char* name() const override { return "normalize_rows"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct NormalizeRowsBackwardPrimitive final : Primitive {
  bool centered = true;
  Slot gradient, input, mean, inverse, weight;          ///< weight may have buffer -1
  Slot input_gradient, weight_gradient, bias_gradient;  ///< the latter two likewise
  const char* name() const override { return "normalize_rows_backward"; }
  void prepare(const kernels::Kernels& kernels) override;
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;

 private:
  kernels::NormalizeRowsBackwardArguments arguments(const Addresses& addresses) const;
};

struct SamplePrimitive final : Primitive {
  Lowering::SampleResult result;
  Slot values, index, weights, table;  ///< values and table channels-last: (N, C, points), (N, C, elements)
  const char* name() const override;
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
  double flops() const override;
};

struct ArgReducePrimitive final : Primitive {
  bool maximum = true;
  int dimension = 0;
  int64_t sizes[3];
  Slot input, values, indices;
  const char* name() const override { return "arg_reduce"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct IndexPrimitive final : Primitive {
  std::optional<Lowering::ScatterKind> kind;  ///< none: gather
  int64_t sizes[3];                           ///< outer, axis, inner of index and values
  int64_t axis_size = 0;
  int64_t index_strides[3], values_strides[3], table_strides[3];
  Slot values, index, table;
  const char* name() const override;
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct ScanPrimitive final : Primitive {
  kernels::ScanKind kind;
  Slot input, output;
  const char* name() const override { return "scan"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

/// A call of one of the table's functions on dense operands.
struct CallPrimitive final : Primitive {
  const char* kernel = "";
  std::function<void(const kernels::Kernels&, const Addresses&)> call;
  const char* name() const override { return kernel; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override { call(kernels, addresses); }
};

/// Writes nothing; alive in every plan that it is lowered into.
struct RequirePrimitive final : Primitive {
  Slot condition;
  std::function<void()> refuse;
  const char* name() const override { return "require"; }
  bool capturable() const override { return false; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

struct RandomPrimitive final : Primitive {
  Lowering::Random parameters;
  Slot key, output;
  const char* name() const override { return "random"; }
  void prepare(const kernels::Kernels&) override {}
  void run(const kernels::Kernels& kernels, const Addresses& addresses) const override;
};

/// Which algorithm force_algorithm() asked for, empty if none: convolution passes 0 … 2, matmul 3.
std::string forced_algorithm(int primitive);
/// Changes with every force_algorithm(): part of a plan's key.
int64_t forced_algorithm_generation();

}  // namespace pycnn::graph
