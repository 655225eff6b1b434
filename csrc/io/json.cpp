#include "io/json.h"

#include <array>
#include <charconv>
#include <cmath>

#include "pycnn/error.h"

namespace pycnn::io::json {

namespace {

/// Bytes of the well-formed UTF-8 sequence at the start of `text` (Unicode's table 3-7), or 0.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && second < 0xA0, surrogate = first == 0xED && second > 0x9F;
    return !overlong && !surrogate && continues(1) && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && second < 0x90, beyond = first == 0xF4 && second > 0x8F;
    return !overlong && !beyond && continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80U | ((code >> shift) & 0x3FU)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0U | (code >> 6));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0U | (code >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0U | (code >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value whole() {
    Value result = value(0);
    skip_space();
    if (at_ < text_.size()) refuse("text after the value");
    return result;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const { fail<ValueError>("JSON: ", what, " at byte ", at_); }
  bool more() const { return at_ < text_.size(); }
  char peek() const { return more() ? text_[at_] : '\0'; }
  bool take(char expected) {
    if (!more() || text_[at_] != expected) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void skip_space() {
    while (more() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  Value value(int depth) {
    if (depth >= max_depth) refuse("nesting too deep");
    skip_space();
    switch (peek()) {
      case '{':
        return {object(depth)};
      case '[':
        return {array(depth)};
      case '"':
        return {string()};
      default:
        break;
    }
    if (take_word("true")) return {true};
    if (take_word("false")) return {false};
    if (take_word("null")) return {nullptr};
    return number();
  }

  Object object(int depth) {
    ++at_;
    Object members;
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      if (peek() != '"') refuse("expected a key");
      std::string key = string();
      if (members.contains(key)) refuse("the key " + quote(key) + " appears twice");
      skip_space();
      if (!take(':')) refuse("expected ':'");
      members.emplace(std::move(key), value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take('}')) refuse("expected ',' or '}'");
    return members;
  }

  Array array(int depth) {
    ++at_;
    Array elements;
    skip_space();
    if (take(']')) return elements;
    do {
      elements.push_back(value(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) refuse("expected ',' or ']'");
    return elements;
  }

  std::string string() {
    ++at_;
    std::string result;
    while (true) {
      if (!more()) refuse("unfinished string");
      const auto byte = static_cast<unsigned char>(text_[at_]);
      if (byte == '"') {
        ++at_;
        return result;
      }
      if (byte == '\\') {
        escape(result);
        continue;
      }
      if (byte < 0x20) refuse("control character in a string");
      const size_t length = utf8_length(text_.substr(at_));
      if (length == 0) refuse("invalid UTF-8");
      result += text_.substr(at_, length);
      at_ += length;
    }
  }

  void escape(std::string& result) {
    ++at_;
    const char kind = peek();
    constexpr std::string_view kinds = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (const size_t i = kinds.find(kind); more() && i != std::string_view::npos) {
      result += meanings[i];
      ++at_;
      return;
    }
    if (!take('u')) refuse("unknown escape");
    uint32_t code = hexadecimal();
    if (code >= 0xDC00 && code <= 0xDFFF) refuse("lone surrogate");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (!take('\\') || !take('u')) refuse("lone surrogate");
      const uint32_t low = hexadecimal();
      if (low < 0xDC00 || low > 0xDFFF) refuse("lone surrogate");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(result, code);
  }

  uint32_t hexadecimal() {
    uint32_t code = 0;
    if (text_.size() - at_ < 4) refuse("unfinished escape");
    const char* begin = text_.data() + at_;
    if (std::from_chars(begin, begin + 4, code, 16).ptr != begin + 4) refuse("expected four hexadecimal digits");
    at_ += 4;
    return code;
  }

  bool digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > begin;
  }

  Value number() {
    const size_t begin = at_;
    take('-');
    if (!take('0') && !digits()) {
      at_ = begin;
      refuse("expected a value");
    }
    bool integral = true;
    if (take('.')) {
      integral = false;
      if (!digits()) refuse("expected a digit");
    }
    if (peek() == 'e' || peek() == 'E') {
      integral = false;
      ++at_;
      if (!take('-')) take('+');
      if (!digits()) refuse("expected a digit");
    }
    const char *first = text_.data() + begin, *last = text_.data() + at_;
    if (int64_t exact = 0; integral && std::from_chars(first, last, exact).ec == std::errc()) return {exact};
    double approximate = 0;
    if (std::from_chars(first, last, approximate).ec != std::errc()) {
      at_ = begin;
      refuse("number out of range");
    }
    return {approximate};
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string_view Value::kind() const {
  constexpr std::array<std::string_view, 7> kinds{"null",     "a boolean", "an integer", "a fraction",
                                                  "a string", "an array",  "an object"};
  return kinds[content.index()];
}

Value parse(std::string_view text) { return Parser(text).whole(); }

std::string quote(std::string_view text) {
  constexpr std::string_view hexadecimal = "0123456789abcdef";
  std::string result = "\"";
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text.substr(at));
    check<ValueError>(length > 0, "JSON: a string is not valid UTF-8 at byte ", at);
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '"' || byte == '\\') {
      result += '\\';
      result += text[at];
    } else if (byte < 0x20) {
      result += "\\u00";
      result += hexadecimal[byte >> 4];
      result += hexadecimal[byte & 15U];
    } else {
      result += text.substr(at, length);
    }
    at += length;
  }
  return result + "\"";
}

}  // namespace pycnn::io::json
