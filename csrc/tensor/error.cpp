#include "pycnn/error.h"

namespace pycnn {

void Error::name(std::string_view operation) {
  if (settled_) return;
  // "sub: …" and "mean(): …" have a name; "shape mismatch: …" has not.
  const size_t end = message_.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  if (end != 0 && end != std::string::npos) {
    const std::string_view rest = std::string_view(message_).substr(end);
    const size_t mark = rest.starts_with(": ") ? 2 : rest.starts_with("(): ") ? 4 : 0;
    const bool named_already = std::string_view(message_).substr(0, end) == operation;
    if (named_already && (mark != 0 || rest.starts_with("("))) return;
    message_.erase(0, mark == 0 ? 0 : end + mark);
  }
  message_.insert(0, std::string(operation) + ": ");
}

}  // namespace pycnn
