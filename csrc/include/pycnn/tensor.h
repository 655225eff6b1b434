// The tensor: a handle to a value of the operator graph, computed when somebody looks at it.
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pycnn/device.h"
#include "pycnn/dtype.h"
#include "pycnn/error.h"
#include "pycnn/shape.h"

namespace pycnn {

class Tensor;
using Tensors = std::vector<Tensor>;

namespace graph {
struct Value;
struct TensorHandle;
}  // namespace graph

/// A C++ (or Python) number as an operand: it takes part in type promotion only by its kind (bool < int < float), as in
/// PyTorch.
class Scalar {
 public:
  enum class Kind : uint8_t { Bool, Int, Float };
  template <typename T>
  requires std::integral<T> || std::floating_point<T> Scalar(
      T value)  // NOLINT(google-explicit-constructor): numbers are meant to convert
      : kind_(std::same_as<T, bool> ? Kind::Bool
              : std::integral<T>    ? Kind::Int
                                    : Kind::Float) {
    if constexpr (std::floating_point<T>)
      floating_ = static_cast<double>(value);
    else
      integer_ = static_cast<int64_t>(value);
  }
  Kind kind() const { return kind_; }
  double to_double() const { return kind_ == Kind::Float ? floating_ : static_cast<double>(integer_); }
  int64_t to_int() const { return kind_ == Kind::Float ? static_cast<int64_t>(floating_) : integer_; }

 private:
  Kind kind_;
  union {
    int64_t integer_;
    double floating_;
  };
};

/// A reference to memory of evaluated elements. While it lives, no plan writes there.
struct Memory {
  std::shared_ptr<void> owner;
  void* data = nullptr;  ///< the element at index (0, …, 0)
  DType dtype = DType::Float32;
  Shape shape;
  Strides strides;  ///< in elements
  Device device = {};
};

/// An n-dimensional array. Copies share the handle (and thereby value, gradient, in-place changes), as in Python.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(graph::Value value);
  explicit Tensor(std::shared_ptr<graph::TensorHandle> handle) : handle_(std::move(handle)) {}

  bool defined() const { return handle_ != nullptr; }
  const Shape& shape() const;
  int64_t size(int64_t dimension) const;
  int dim() const { return shape().size(); }
  int64_t numel() const { return element_count(shape()); }
  DType dtype() const;
  Device device() const;

  // -- evaluation ------------------------------------------------------------------------------------------------
  /// Computes the value (and this thread's other pending work where that is safe) unless it is known.
  void evaluate() const;
  bool is_evaluated() const;
  /// The only element, converted to T. Throws if there is not exactly one.
  template <typename T>
  T item() const;
  /// The evaluated elements where they lie, with logical strides; no copy. For reading: see pin().
  Memory memory() const;
  /// To be called before the memory is given to somebody who may write to it: the library will neither write over it
  /// nor remember anything about its elements.
  void pin() const;
  /// The elements in row-major order. T must be the tensor's dtype.
  template <typename T>
  std::vector<T> to_vector() const;

  // -- autograd ----------------------------------------------------------------------------------------------------
  bool requires_grad() const;
  /// Marks a leaf as wanting its gradient in grad(). Throws for integers and for non-leaves (when false is asked).
  Tensor& requires_grad_(bool requires_grad = true);
  bool is_leaf() const;
  /// Made in inference mode, or a view of such a tensor: autograd may not save it, and outside of that mode it may not
  /// be changed in place.
  bool is_inference() const;
  /// The accumulated gradient, undefined before the first backward().
  Tensor grad() const;
  void set_grad(const Tensor& gradient);
  /// d(this)/d(leaf) is added to every leaf's grad(). `gradient` (default 1, for one element only) has this shape.
  void backward(const Tensor& gradient = {}, bool retain_graph = false, bool create_graph = false) const;
  /// The same value outside the autograd graph.
  Tensor detach() const;
  /// Keep the gradient of a non-leaf.
  void retain_grad() const;
  bool retains_grad() const;
  /// Called with the gradient of this tensor when it is known; what it returns (if defined) replaces it. Returns an id
  /// for remove_hook.
  int64_t register_hook(std::function<Tensor(const Tensor&)> hook) const;
  /// Called when backward() has added to this leaf's gradient. Returns an id for remove_hook.
  int64_t register_post_accumulate_grad_hook(std::function<void()> hook) const;
  void remove_hook(int64_t id) const;
  /// Name of the operator that made it ("conv2d"), empty for leaves.
  std::string grad_fn_name() const;

  // -- in place: the handle is bound to a new value; on a view the base is rebound as well --------------------------
  /// Throws if an in-place change is not allowed here (a leaf that requires grad, with grad mode on; an inference
  /// tensor outside of inference mode).
  void check_in_place(std::string_view operation) const;
  /// Binds this handle to `value` (same shape; cast to this dtype) and writes back through views. Throws if several of
  /// this tensor's elements are one (an expanded view), unless all elements of the value are equal (`uniform`).
  Tensor& assign_(Tensor value, bool uniform = false);
  /// Binds the handle without autograd checks: what `tensor.data = value` means. Shape and dtype may change.
  void set_data(const Tensor& value);
  /// True if both handles currently denote the same value.
  bool is_same_value(const Tensor& other) const;

  const graph::Value& value() const;
  const std::shared_ptr<graph::TensorHandle>& handle() const { return handle_; }

 private:
  std::shared_ptr<graph::TensorHandle> handle_;
};

/// Computes several tensors in one plan.
void evaluate(std::span<const Tensor> tensors);

// -- creation from memory (creation operators such as zeros and randn are in ops.h) ----------------------------------
/// Copies row-major elements.
template <typename T>
Tensor from_data(std::span<const T> elements, const Shape& shape);
/// Copies strided elements (strides in elements, possibly negative).
Tensor copy_memory(const Memory& source);
/// Wraps memory without a copy. Only for memory that nobody writes while the tensor lives.
Tensor wrap_memory(const Memory& source);
/// A 0-d tensor.
Tensor scalar_tensor(Scalar value, DType dtype);

}  // namespace pycnn
