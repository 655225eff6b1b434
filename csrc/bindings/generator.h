// The argument `generator` of functions that draw.
#pragma once

#include "bindings/bindings.h"
#include "pycnn/generator.h"

namespace pycnn::bindings {

/// A Generator, or None for the default one.
struct GeneratorArgument {
  Generator value = default_generator();
  operator const Generator&() const { return value; }  // NOLINT(google-explicit-constructor)
};

}  // namespace pycnn::bindings

namespace pybind11::detail {

template <>
struct type_caster<pycnn::bindings::GeneratorArgument> {
  PYBIND11_TYPE_CASTER(pycnn::bindings::GeneratorArgument, const_name("Generator | None"));
  bool load(handle source, bool) {
    if (source.is_none()) return true;
    if (!isinstance<pycnn::Generator>(source)) return false;
    value.value = source.cast<pycnn::Generator&>();
    return true;
  }
};

}  // namespace pybind11::detail
