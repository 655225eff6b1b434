// Exceptions of the library. A bad call throws at the call, before anything runs; the library never prints, aborts or
// exits.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace pycnn {

/// Base of all errors thrown by pycnn; RuntimeError in Python.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A value that is out of its domain; ValueError in Python.
class ValueError : public Error {
 public:
  using Error::Error;
};

/// An argument of the wrong kind; TypeError in Python.
class TypeError : public Error {
 public:
  using Error::Error;
};

/// An index or dimension out of range; IndexError in Python.
class IndexError : public Error {
 public:
  using Error::Error;
};

/// A combination that is meaningful but not built; NotImplementedError in Python.
class NotImplementedError : public Error {
 public:
  using Error::Error;
};

/// Evaluation was interrupted (Ctrl-C); KeyboardInterrupt in Python.
class Interrupted : public Error {
 public:
  using Error::Error;
};

namespace detail {
template <typename... Parts>
std::string concatenate(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}
}  // namespace detail

/// Throws E with the concatenated parts as its message: `fail<ValueError>("conv2d: stride ", s, " is negative")`.
template <typename E = Error, typename... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw E(detail::concatenate(parts...));
}

/// Throws E unless the condition holds. The message is built only on failure.
template <typename E = Error, typename... Parts>
void check(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    fail<E>(parts...);
}

}  // namespace pycnn
