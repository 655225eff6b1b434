// What an operator is: its name, what makes two of them equal, its gradient, and its lowering to primitives.
// To add one: a class in a file under ops/, a function that checks, infers the shape and calls record(). Nothing else.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/node.h"

namespace pycnn::graph {

class Lowering;
struct Slot;

/// Collects what distinguishes two operators (or graphs), compared in full. Values never enter, only structure.
class Fingerprint {
 public:
  Fingerprint& add(int64_t word) {
    words_.push_back(static_cast<uint64_t>(word));
    return *this;
  }
  Fingerprint& add(double value);
  Fingerprint& add(const Dimensions& dimensions) {
    add(static_cast<int64_t>(dimensions.size()));
    for (int64_t d : dimensions) add(d);
    return *this;
  }
  const std::vector<uint64_t>& words() const { return words_; }
  void clear() { words_.clear(); }

 private:
  std::vector<uint64_t> words_;
};

/// Which inputs and outputs the backward of an operator reads (bit i: the i-th). Only these are kept for it.
struct BackwardReads {
  uint32_t inputs = 0;
  uint32_t outputs = 0;
  bool others = false;  ///< it holds values of its own (a custom function): gone after one backward
};

/// What a backward sees: the recorded node as tensors (differentiable themselves, for second derivatives).
class BackwardContext {
 public:
  BackwardContext(const std::shared_ptr<Node>& node, std::span<const Tensor> gradients)
      : node_(node), gradients_(gradients) {}
  /// The i-th input (output); its value may be used only if BackwardReads declares it, shape and dtype always.
  Tensor input(int i) const;
  Tensor output(int i) const;
  const Shape& input_shape(int i) const;
  DType input_dtype(int i) const;
  /// Whether the i-th input's gradient is wanted; others may stay undefined.
  bool needs(int i) const;
  int input_count() const { return static_cast<int>(node_->inputs.size()); }
  /// Gradient of the i-th output, in its dtype and shape; undefined means zero (never for output 0 of one-output
  /// operators).
  const Tensor& gradient(int i = 0) const { return gradients_[static_cast<size_t>(i)]; }

 private:
  const std::shared_ptr<Node>& node_;
  std::span<const Tensor> gradients_;
};

class Operator {
 public:
  virtual ~Operator() = default;
  /// PyTorch's name in snake case; a string literal.
  virtual const char* name() const = 0;
  /// PyTorch's name of its backward: "AddBackward0" for "add".
  virtual std::string backward_name() const;
  /// Adds all attributes that lower() reads.
  virtual void fingerprint(Fingerprint&) const {}
  virtual BackwardReads backward_reads() const { return {}; }
  /// It makes its result of nothing but numbers, wherever creation_device() says; inputs, if any, are 0-d.
  virtual bool creates() const { return false; }
  /// Gradients of the inputs, one entry each, undefined where there is none. Broadcast inputs: see sum_to_shape in
  /// ops.h.
  virtual Tensors backward(const BackwardContext& context) const;
  /// Appends primitives that compute the outputs from the inputs and returns where the outputs lie.
  virtual std::vector<Slot> lower(Lowering& lowering, std::span<const Slot> inputs) const = 0;
};

/// Shape and dtype of an output to be.
struct Spec {
  Shape shape;
  DType dtype;
  bool differentiable = true;  ///< false for indices and masks
};

/// Records a node and returns handles to its outputs. Computes nothing (unless PYCNN_MODE=eager or too much is
/// pending).
Tensors record(std::shared_ptr<const Operator> op, std::span<const Tensor> inputs, std::span<const Spec> outputs);
/// The same of a value that is there already (a copy on another device).
Tensor record_evaluated(std::shared_ptr<const Operator> op, const Tensor& input, const Spec& output, Buffer buffer);
/// For the common operator with one output.
Tensor record(std::shared_ptr<const Operator> op, std::initializer_list<Tensor> inputs, const Spec& output);

}  // namespace pycnn::graph
