// Copies of tensors on other devices, and in memory that these read.
#include <cstring>

#include "graph/lowering.h"
#include "graph/operator.h"
#include "pycnn/ops.h"
#include "tensor/page_locked.h"

namespace pycnn {
namespace ops {
namespace {

/// Done when it is recorded: plans run on one device.
class ToDevice final : public graph::Operator {
 public:
  explicit ToDevice(const Device& from) : from_(from) {}
  const char* name() const override { return "to_device"; }
  std::string backward_name() const override { return "ToCopyBackward0"; }
  Tensors backward(const graph::BackwardContext& context) const override {
    return {to_device(context.gradient(), from_)};
  }
  std::vector<graph::Slot> lower(graph::Lowering&, std::span<const graph::Slot>) const override {
    fail("internal error: a copy to another device was not done when it was recorded");
  }

 private:
  Device from_;
};

/// The values where one block of bytes holds them: what does not lie so is brought together first, where it is.
Memory in_one_block(const Tensor& input) {
  const Memory given = input.memory();
  const graph::Slot slot{
      .buffer = 0, .dtype = given.dtype, .shape = given.shape, .strides = given.strides, .offset = 0};
  return slot.is_dense() ? given : clone(input.detach()).memory();
}

size_t bytes_of(const Memory& memory) {
  return static_cast<size_t>(element_count(memory.shape)) * size_of(memory.dtype);
}

}  // namespace
}  // namespace ops

Tensor to_device(const Tensor& input, const Device& device, bool non_blocking) {
  const Device from = input.device();
  if (from == device) return input;
  const Memory source = ops::in_one_block(input);
  const size_t bytes = ops::bytes_of(source);
  StoragePointer storage = allocate_storage(bytes, device);
  copy_between_devices(storage->data(), device, source.data, from, bytes);
  auto& owner = *static_cast<Storage*>(source.owner.get());
  if (!from.is_cpu() && !device.is_cpu()) owner.note_use();
  // From other memory of the computer than page-locked one everything has been read by now.
  if (is_page_locked(owner)) {
    if (non_blocking)
      note_copy_from(owner, device);
    else
      cuda::current_stream(device.index).synchronize();
  }
  return graph::record_evaluated(std::make_shared<ops::ToDevice>(from), input, {source.shape, source.dtype},
                                 {std::move(storage), 0, source.strides});
}

void record_stream(const Tensor& input, const cuda::Stream& stream) {
  check(!input.device().is_cpu(), "record_stream: streams use tensors on GPUs, got one on ", input.device());
  static_cast<Storage*>(input.memory().owner.get())->note_use(stream);
}

bool is_pinned(const Tensor& input) {
  return input.is_evaluated() && input.device().is_cpu() &&
         is_page_locked(*static_cast<const Storage*>(input.memory().owner.get()));
}

Tensor pin_memory(const Tensor& input) {
  check(input.device().is_cpu(), "pin_memory: only tensors on the CPU can be pinned, got one on ", input.device());
  if (!cuda::is_available() || is_pinned(input)) return input;
  const Memory source = ops::in_one_block(input);
  const size_t bytes = ops::bytes_of(source);
  StoragePointer storage = allocate_page_locked(bytes);
  if (bytes > 0) std::memcpy(storage->data(), source.data, bytes);
  return graph::record_evaluated(std::make_shared<ops::ToDevice>(Device{}), input, {source.shape, source.dtype},
                                 {std::move(storage), 0, source.strides});
}

}  // namespace pycnn
