// Finds docstrings by name and completes them: see docstrings/docstrings.h.
#include "bindings/docstrings/docstrings.h"

#include <map>
#include <set>

#include "bindings/bindings.h"

namespace pycnn::bindings {
namespace {

struct Index {
  std::map<std::string_view, const Docstring*> rows;
  std::set<std::string_view> unused;

  Index() {
    for (auto table :
         {pointwise_docstrings(), in_place_docstrings(), reduction_docstrings(), shape_docstrings(),
          creation_docstrings(), tensor_docstrings(), functional_docstrings(), runtime_docstrings(), cuda_docstrings()})
      for (const Docstring& row : table) {
        check(rows.emplace(row.name, &row).second, "internal error: two docstrings of '", row.name, "'");
        unused.insert(row.name);
      }
  }
};

Index& index() {
  static Index instance;
  return instance;
}

const Docstring* find(std::string_view name) {
  const auto found = index().rows.find(name);
  if (found == index().rows.end()) return nullptr;
  index().unused.erase(name);
  return found->second;
}

struct FamilyText {
  const char *arguments, *errors;
};

FamilyText text_of(Family family) {
  constexpr const char* no_broadcast = "RuntimeError if the shapes do not broadcast; TypeError if both are numbers";
  constexpr const char* promoted =
      "Args:\n    input, other: tensors whose shapes broadcast, or one of them a number.\n\n"
      "Returns:\n    The broadcast shape, in the promoted dtype (`result_type`).";
  switch (family) {
    case Family::UnaryReal:
      return {
          "Args:\n    input: any shape and dtype; integers and bool are converted to the default dtype.\n\n"
          "Returns:\n    input's shape, floating. 16-bit floats are computed in float32 and rounded once.",
          nullptr};
    case Family::UnaryNumeric:
      return {"Args:\n    input: any shape, any dtype but bool.\n\nReturns:\n    input's shape and dtype.",
              "NotImplementedError or RuntimeError for bool"};
    case Family::UnaryFloating:
      return {"Args:\n    input: any shape, floating.\n\nReturns:\n    input's shape and dtype.",
              "NotImplementedError for integers and bool"};
    case Family::UnaryPredicate:
      return {"Args:\n    input: any shape and dtype.\n\nReturns:\n    bool, of input's shape, without gradient.",
              nullptr};
    case Family::Binary:
      return {promoted, no_broadcast};
    case Family::BinaryNumeric:
      return {promoted,
              "RuntimeError if the shapes do not broadcast; TypeError if both are numbers; NotImplementedError if both "
              "are bool"};
    case Family::BinaryReal:
      return {
          "Args:\n    input, other: tensors whose shapes broadcast, or one of them a number.\n\n"
          "Returns:\n    The broadcast shape, in the promoted dtype; the default dtype for integers and bool.",
          no_broadcast};
    case Family::BinaryLogic:
      return {
          "Args:\n    input, other: tensors of any dtypes whose shapes broadcast, or one of them a number.\n\n"
          "Returns:\n    bool, of the broadcast shape, without gradient. Both are compared in the promoted dtype.",
          no_broadcast};
    case Family::BinaryBits:
      return {
          "Args:\n    input, other: integers or bool whose shapes broadcast, or one of them a number.\n\n"
          "Returns:\n    The broadcast shape, in the promoted dtype, without gradient.",
          "RuntimeError if the shapes do not broadcast; TypeError if both are numbers; NotImplementedError for floats"};
    case Family::BinaryShift:
      return {
          "Args:\n    input, other: integers whose shapes broadcast, or one of them a number.\n\n"
          "Returns:\n    The broadcast shape, in the promoted dtype, without gradient.",
          "RuntimeError if the shapes do not broadcast; TypeError if both are numbers; NotImplementedError for floats "
          "and bool"};
    case Family::CreationSizes:
    case Family::RandomSizes:
      return {
          "Args:\n    *args: the sizes, one by one or as one sequence.\n    size: the sizes as a keyword.\n"
          "    dtype: None for the default dtype.\n    device: \"cpu\" or None.\n"
          "    requires_grad: whether backward() adds to its grad.\n"
          "    layout, pin_memory, memory_format: accepted and ignored.",
          "RuntimeError for negative sizes or if integers shall require a gradient; TypeError for other arguments"};
    case Family::CreationLike:
    case Family::RandomLike:
      return {
          "Args:\n    input: the tensor whose shape is taken.\n    dtype: None for input's.\n"
          "    device: \"cpu\" or None.\n    requires_grad: whether backward() adds to its grad.\n"
          "    layout, memory_format: accepted and ignored.",
          "RuntimeError if integers shall require a gradient"};
    case Family::CreationNew:
      return {
          "Args:\n    *args: the sizes, one by one or as one sequence.\n    size: the sizes as a keyword.\n"
          "    dtype: None for self's.\n    device: \"cpu\" or None.\n"
          "    requires_grad: whether backward() adds to its grad.",
          "RuntimeError for negative sizes or if integers shall require a gradient"};
    case Family::None:
    case Family::Alias:
    case Family::Functional:
      break;
  }
  return {nullptr, nullptr};
}

/// Lines of at most 100 characters.
std::string wrapped(std::string text) {
  constexpr size_t width = 100;
  for (size_t line = 0; text.size() - line > width;) {
    const size_t space = text.rfind(' ', line + width);
    if (space == std::string::npos || space <= line) break;
    text[space] = '\n';
    line = space + 1;
  }
  return text;
}

std::string whole_text(const Docstring& row) {
  if (row.family == Family::Alias) {
    const Docstring* other = find(row.text);
    check(other != nullptr, "internal error: '", row.name, "' refers to the docstring of '", row.text, "'");
    return whole_text(*other) + "\n\nThe same as " + row.text + "().";
  }
  std::string text = row.text;
  auto add = [&text](const std::string& paragraph) { text += "\n\n" + paragraph; };
  if (row.family == Family::Functional) {
    const std::string name = row.name;
    add("Arguments, shapes, dtypes and errors: see pycnn.nn.functional." + name + ".");
  }
  const FamilyText common = text_of(row.family);
  if (row.notes) add(row.notes);
  if (common.arguments) add(common.arguments);
  if (row.family == Family::RandomSizes || row.family == Family::RandomLike)
    text += "\n    generator: what draws; None for the default generator.";
  if (common.errors || row.errors) {
    std::string errors = common.errors ? common.errors : "";
    if (row.errors) errors += (errors.empty() ? "" : "; ") + std::string(row.errors);
    add(wrapped("Errors: " + errors + "."));
  }
  return text;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// What a function says of `input`, a method says of `self`.
std::string of_self(const std::string& text) {
  constexpr std::string_view from = "input", to = "self";
  std::string result;
  for (size_t i = 0; i < text.size();) {
    const bool begins = text.compare(i, from.size(), from) == 0 && (i == 0 || !is_letter(text[i - 1]));
    if (begins && (i + from.size() == text.size() || !is_letter(text[i + from.size()]))) {
      result += to;
      i += from.size();
    } else {
      result += text[i++];
    }
  }
  return result;
}

std::string first_paragraph(const std::string& text) { return text.substr(0, text.find("\n\n")); }

/// Python's operators, with the methods that do the work.
struct OperatorMethod {
  const char *name, *expression, *method;
};
constexpr OperatorMethod operator_methods[] = {
    {"__neg__", "-self", "neg"},
    {"__abs__", "abs(self)", "abs"},
    {"__invert__", "~self", "bitwise_not"},
    {"__add__", "self + other", "add"},
    {"__radd__", "other + self", "add"},
    {"__iadd__", "self += other", "add_"},
    {"__sub__", "self - other", "sub"},
    {"__rsub__", "other - self", "sub"},
    {"__isub__", "self -= other", "sub_"},
    {"__mul__", "self * other", "mul"},
    {"__rmul__", "other * self", "mul"},
    {"__imul__", "self *= other", "mul_"},
    {"__truediv__", "self / other", "div"},
    {"__rtruediv__", "other / self", "div"},
    {"__itruediv__", "self /= other", "div_"},
    {"__floordiv__", "self // other", "floor_divide"},
    {"__rfloordiv__", "other // self", "floor_divide"},
    {"__ifloordiv__", "self //= other", "floor_divide_"},
    {"__mod__", "self % other", "remainder"},
    {"__rmod__", "other % self", "remainder"},
    {"__imod__", "self %= other", "remainder_"},
    {"__pow__", "self ** other", "pow"},
    {"__rpow__", "other ** self", "pow"},
    {"__ipow__", "self **= other", "pow_"},
    {"__matmul__", "self @ other", "matmul"},
    {"__eq__", "self == other", "eq"},
    {"__ne__", "self != other", "ne"},
    {"__lt__", "self < other", "lt"},
    {"__le__", "self <= other", "le"},
    {"__gt__", "self > other", "gt"},
    {"__ge__", "self >= other", "ge"},
    {"__and__", "self & other", "bitwise_and"},
    {"__rand__", "other & self", "bitwise_and"},
    {"__iand__", "self &= other", "bitwise_and_"},
    {"__or__", "self | other", "bitwise_or"},
    {"__ror__", "other | self", "bitwise_or"},
    {"__ior__", "self |= other", "bitwise_or_"},
    {"__xor__", "self ^ other", "bitwise_xor"},
    {"__rxor__", "other ^ self", "bitwise_xor"},
    {"__ixor__", "self ^= other", "bitwise_xor_"},
    {"__lshift__", "self << other", "bitwise_left_shift"},
    {"__rlshift__", "other << self", "bitwise_left_shift"},
    {"__ilshift__", "self <<= other", "bitwise_left_shift_"},
    {"__rshift__", "self >> other", "bitwise_right_shift"},
    {"__rrshift__", "other >> self", "bitwise_right_shift"},
    {"__irshift__", "self >>= other", "bitwise_right_shift_"},
};

std::string operator_docstring(std::string_view name) {
  for (const OperatorMethod& row : operator_methods)
    if (name == row.name)
      return std::string(row.expression) + ", elementwise" + (name == "__matmul__" ? " products summed" : "") +
             ": see Tensor." + row.method + ".";
  return "";
}

std::string text_of_method(std::string_view name, int overload);

/// add_ as the in-place form of add.
std::string in_place_docstring(const std::string& name) {
  const std::string plain = name.substr(0, name.size() - 1);
  const std::string text = text_of_method(plain, 1);
  if (text.empty()) return "";
  return first_paragraph(text) + "\n\n" +
         wrapped(
             "In place: self and its views take the result, converted to self's dtype, and self is returned. "
             "Arguments as in Tensor." +
             plain + ".") +
         "\n\n" +
         wrapped("Errors: those of Tensor." + plain +
                 "; RuntimeError if the result's shape is not self's or its dtype of a higher kind (bool < integer < "
                 "floating), or if self is a leaf that requires grad (or a view of one) in grad mode.");
}

std::string keyed(std::string_view name, int overload) {
  return std::string(name) + (overload > 1 ? " " + std::to_string(overload) : "");
}

std::string text_of_method(std::string_view name, int overload) {
  const std::string key = keyed(name, overload);
  const Docstring* row = find("Tensor." + key);
  if (row == nullptr) row = find(key);
  if (row != nullptr) return of_self(whole_text(*row));
  if (name.starts_with("__")) return operator_docstring(name);
  return name.ends_with('_') ? in_place_docstring(std::string(name)) : "";
}

/// How often a name was defined, counting this time.
int next_overload(const std::string& name) {
  static std::map<std::string, int> defined;
  return ++defined[name];
}

/// Keeps a text until the next one.
const char* kept(std::string text) {
  static std::string latest;
  latest = std::move(text);
  return latest.c_str();
}

}  // namespace

const char* function_docstring(const char* name) {
  const Docstring* row = find(keyed(name, next_overload(name)));
  return kept(row ? whole_text(*row) : "");
}

const char* method_docstring(const char* name) {
  return kept(text_of_method(name, next_overload("Tensor." + std::string(name))));
}

std::vector<std::string> unused_docstrings() { return {index().unused.begin(), index().unused.end()}; }

}  // namespace pycnn::bindings
