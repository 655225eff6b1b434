// Exceptions of the library. A bad call throws at the call, before anything runs; the library never prints, aborts or
// exits.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace pycnn {

/// Base of all errors thrown by pycnn; RuntimeError in Python.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message), message_(message) {}
  const char* what() const noexcept override { return message_.c_str(); }

  /// Makes the message begin with the operator that was called, in place of one that it is composed of ("sub: …"
  /// becomes "mse_loss: …"). Has no effect on settled errors.
  void name(std::string_view operation);
  /// The error is not the call's that it leaves through, but that of an operator recorded earlier.
  void settle() { settled_ = true; }

 private:
  std::string message_;
  bool settled_ = false;
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

/// A matrix that cannot be inverted; linalg.LinAlgError, a RuntimeError, in Python.
class LinAlgError : public Error {
 public:
  using Error::Error;
};

/// A GPU has not the memory that was asked for; cuda.OutOfMemoryError, a RuntimeError, in Python.
class OutOfMemoryError : public Error {
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

/// What function() returns; errors on the way name `operation`. For operators that are composed of others.
template <typename Function>
auto named(std::string_view operation, const Function& function) {
  try {
    return function();
  } catch (Error& error) {
    error.name(operation);
    throw;
  }
}

}  // namespace pycnn
