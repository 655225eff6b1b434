// print(tensor): the format PyTorch prints. Four digits, scientific where sizes differ much, long tensors abbreviated.
#include <cmath>
#include <cstdio>

#include "bindings/bindings.h"
#include "graph/operator.h"

namespace pycnn::bindings {
namespace {

PrintOptions options;
constexpr int64_t ellipsis = -1;

template <typename... Arguments>
std::string print(const char* format, Arguments... arguments) {
  char text[512];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

class Printer {
 public:
  explicit Printer(const Memory& memory)
      : memory_(memory), abbreviated_(element_count(memory.shape) > options.threshold) {
    floating_ = is_floating_point(memory.dtype);
    choose_format();
  }

  std::string text(size_t indent) const { return nested(0, 0, indent); }

 private:
  /// The shown indices of a dimension, with the gap.
  std::vector<int64_t> shown(int dimension) const {
    const int64_t size = memory_.shape[dimension];
    std::vector<int64_t> indices;
    const bool cut = abbreviated_ && size > 2 * options.edge_items;
    for (int64_t i = 0; i < size; ++i) {
      if (cut && i == options.edge_items) {
        indices.push_back(ellipsis);
        i = size - options.edge_items;
      }
      indices.push_back(i);
    }
    return indices;
  }

  template <typename Function>
  void visit(int dimension, int64_t offset, const Function& function) const {
    if (dimension == memory_.shape.size()) return function(read_element(memory_, offset));
    for (int64_t i : shown(dimension))
      if (i != ellipsis) visit(dimension + 1, offset + i * memory_.strides[dimension], function);
  }

  void choose_format() {
    if (!floating_) {
      visit(0, 0, [&](Scalar value) { width_ = std::max(width_, format(value).size()); });
      return;
    }
    double largest = 0, smallest = INFINITY;
    bool any = false;
    visit(0, 0, [&](Scalar value) {
      const double x = std::fabs(value.to_double());
      if (!std::isfinite(x) || x == 0) return;
      any = true;
      largest = std::max(largest, x);
      smallest = std::min(smallest, x);
      integers_ = integers_ && x == std::ceil(x);
    });
    if (!any) return;
    scientific_ = largest / smallest > 1000 || largest > 1e8 || (!integers_ && smallest < 1e-4);
    if (options.scientific) scientific_ = *options.scientific;
    visit(0, 0, [&](Scalar value) {
      const double x = value.to_double();
      if (std::isfinite(x) && x != 0) width_ = std::max(width_, format(value).size());
    });
  }

  std::string format(Scalar value) const {
    if (memory_.dtype == DType::Bool) return value.to_int() != 0 ? "True" : "False";
    if (!floating_) return std::to_string(value.to_int());
    const double x = value.to_double();
    if (std::isnan(x)) return "nan";
    if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
    if (scientific_) return print("%.*e", options.precision, x);
    if (integers_) return print("%.0f.", x);
    return print("%.*f", options.precision, x);
  }

  std::string padded(Scalar value) const {
    std::string text = format(value);
    return text.size() < width_ ? std::string(width_ - text.size(), ' ') + text : text;
  }

  std::string vector(int64_t offset, size_t indent) const {
    const size_t room = options.line_width > indent ? options.line_width - indent : 0;
    const size_t per_line = std::max<size_t>(1, room / (width_ + 2));
    std::string result = "[";
    size_t count = 0;
    for (int64_t i : shown(memory_.shape.size() - 1)) {
      if (count > 0) result += count % per_line == 0 ? ",\n" + std::string(indent + 1, ' ') : ", ";
      result += i == ellipsis ? " ..." : padded(read_element(memory_, offset + i * memory_.strides.back()));
      ++count;
    }
    return result + "]";
  }

  std::string nested(int dimension, int64_t offset, size_t indent) const {
    const int remaining = memory_.shape.size() - dimension;
    if (remaining == 0) return padded(read_element(memory_, offset));
    if (remaining == 1) return vector(offset, indent);
    std::string result = "[";
    bool first = true;
    for (int64_t i : shown(dimension)) {
      if (!first) result += "," + std::string(static_cast<size_t>(remaining - 1), '\n') + std::string(indent + 1, ' ');
      first = false;
      result += i == ellipsis ? "..." : nested(dimension + 1, offset + i * memory_.strides[dimension], indent + 1);
    }
    return result + "]";
  }

  const Memory& memory_;
  bool abbreviated_, floating_ = false, integers_ = true, scientific_ = false;
  size_t width_ = 1;
};

}  // namespace

PrintOptions& print_options() { return options; }

std::string to_repr(const Tensor& tensor) {
  const std::string prefix = "tensor(";
  std::vector<std::string> suffixes;
  const DType dtype = tensor.dtype();
  std::string text = "[]";
  bool named_dtype = dtype != default_dtype() && dtype != DType::Int64 && dtype != DType::Bool;
  if (tensor.numel() == 0) {
    if (tensor.dim() != 1) {
      std::string size = to_string(tensor.shape());
      suffixes.push_back("size=" + size);
    }
    named_dtype = dtype != default_dtype();
  } else {
    Memory memory = readable_memory(tensor);
    text = Printer(memory).text(prefix.size());
  }
  if (!tensor.device().is_cpu()) suffixes.push_back("device='" + to_string(tensor.device()) + "'");
  if (named_dtype) suffixes.push_back("dtype=pycnn." + std::string(name_of(dtype)));
  if (!tensor.is_leaf())
    suffixes.push_back("grad_fn=<" + tensor.value().node->op->backward_name() + ">");
  else if (tensor.requires_grad())
    suffixes.emplace_back("requires_grad=True");

  std::string result = prefix + text;
  const size_t newline = result.rfind('\n');
  size_t last_line = newline == std::string::npos ? result.size() + 2 : result.size() - newline + 1;
  for (const std::string& suffix : suffixes) {
    if (last_line + suffix.size() + 2 > options.line_width) {
      result += ",\n" + std::string(prefix.size(), ' ') + suffix;
      last_line = prefix.size() + suffix.size();
    } else {
      result += ", " + suffix;
      last_line += suffix.size() + 2;
    }
  }
  return result + ")";
}

}  // namespace pycnn::bindings
