// A strict JSON reader (RFC 8259) for headers that strangers wrote, and what a writer needs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pycnn::io::json {

struct Value;
using Array = std::vector<Value>;
using Object = std::map<std::string, Value>;

/// Integers that fit int64 are kept exactly; other numbers are doubles.
struct Value {
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> content = nullptr;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&content);
  }
  /// "an object", "a string", …, for messages.
  std::string_view kind() const;
};

/// Values nest no deeper than this.
inline constexpr int max_depth = 32;

/// Parses the whole text. Throws ValueError with the byte's position for anything but one value in valid UTF-8:
/// trailing text, repeated keys, lone surrogates, numbers out of range, too deep nesting.
Value parse(std::string_view text);

/// The text as a JSON string with quotes. Throws ValueError if it is no valid UTF-8.
std::string quote(std::string_view text);

}  // namespace pycnn::io::json
