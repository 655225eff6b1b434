#include "cpu/scratch.h"

namespace pycnn::cpu {

void* thread_scratch() {
  alignas(64) static thread_local char scratch[scratch_bytes];
  return scratch;
}

}  // namespace pycnn::cpu
