// Nothing is thrown across the plug-in's table (kernels/backend.h), whose other side another compiler may have built.
#pragma once

#include <exception>
#include <new>

#include "cuda/launch.h"

namespace pycnn::cuda {

template <auto Function>
struct Guard;

template <typename Result, typename... Parameters, Result (*Function)(Parameters...)>
struct Guard<Function> {
  static Result call(Parameters... parameters) noexcept {
    try {
      return Function(parameters...);
    } catch (const std::bad_alloc&) {
      note_error("the computer is out of memory");
    } catch (const std::exception& error) {
      note_error(error.what());
    }
    return Result();
  }
};

/// The function as the table has it: what it throws is noted as an error, and zero returned.
template <auto Function>
inline constexpr auto guarded = &Guard<Function>::call;

}  // namespace pycnn::cuda
