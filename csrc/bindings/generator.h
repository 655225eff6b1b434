// A generator of one's own instead of the default one, for functions that draw.
#pragma once

#include "bindings/bindings.h"

namespace pycnn::bindings {

/// While it lives, keys are drawn as the generator (a pycnn.Generator, or None for the default one) says.
class Drawing {
 public:
  explicit Drawing(const py::object& generator) {
    if (generator.is_none()) return;
    check<TypeError>(py::hasattr(generator, "drawing"),
                     "invalid combination of arguments: generator must be a Generator, not ",
                     Py_TYPE(generator.ptr())->tp_name);
    context_ = generator.attr("drawing")();
    context_.attr("__enter__")();
  }
  ~Drawing() {
    if (!context_) return;
    try {
      context_.attr("__exit__")(py::none(), py::none(), py::none());
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("pycnn.Generator");
    }
  }
  Drawing(const Drawing&) = delete;
  Drawing& operator=(const Drawing&) = delete;

 private:
  py::object context_;
};

}  // namespace pycnn::bindings
