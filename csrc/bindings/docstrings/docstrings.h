// The texts that help() shows for the module's functions and Tensor's methods. They stand in tables, one file per file
// of bindings, and are found by name when something is defined (function_docstring and method_docstring in bindings.h).
//
// In a text `input` names the first argument and nothing else: for a method it is replaced by `self`.
#pragma once

#include <cstdint>
#include <span>

namespace pycnn::bindings {

/// What a text goes on to say about shapes, dtypes and errors, where many functions have that in common.
enum class Family : uint8_t {
  None,            ///< nothing: the text is whole
  Alias,           ///< `text` is the name of another row
  UnaryReal,       ///< integers become the default dtype: exp
  UnaryNumeric,    ///< the dtype stays, bool is refused: floor
  UnaryFloating,   ///< floating only: silu
  UnaryPredicate,  ///< to bool: isnan
  Binary,          ///< any dtypes, promoted: add
  BinaryNumeric,   ///< likewise, two bools are refused: remainder
  BinaryReal,      ///< likewise, integers become the default dtype: div
  BinaryLogic,     ///< to bool: eq
  BinaryBits,      ///< integers and bool: bitwise_and
  BinaryShift,     ///< integers
  CreationSizes,   ///< zeros
  CreationLike,    ///< zeros_like
  CreationNew,     ///< Tensor.new_zeros
  RandomSizes,     ///< rand: CreationSizes with a generator
  RandomLike,      ///< rand_like
  Functional,      ///< described in pycnn.nn.functional
};

struct Docstring {
  /// "clamp" for the function and the method, "Tensor.view" for a method alone, "max 2" for the second overload.
  const char* name;
  const char* text;
  Family family = Family::None;
  const char* notes = nullptr;   ///< paragraphs that follow the first
  const char* errors = nullptr;  ///< added to the family's errors
};

// The tables.
std::span<const Docstring> pointwise_docstrings();
std::span<const Docstring> in_place_docstrings();
std::span<const Docstring> reduction_docstrings();
std::span<const Docstring> shape_docstrings();
std::span<const Docstring> creation_docstrings();
std::span<const Docstring> tensor_docstrings();
std::span<const Docstring> functional_docstrings();
std::span<const Docstring> runtime_docstrings();
std::span<const Docstring> cuda_docstrings();

}  // namespace pycnn::bindings
