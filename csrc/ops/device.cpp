// Copies of tensors on other devices.
#include "graph/lowering.h"
#include "graph/operator.h"
#include "pycnn/ops.h"

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

}  // namespace
}  // namespace ops

Tensor to_device(const Tensor& input, const Device& device) {
  const Device from = input.device();
  if (from == device) return input;
  // One block of bytes is copied: what does not lie in one is brought together first, where it is.
  const Memory given = input.memory();
  const graph::Slot slot{
      .buffer = 0, .dtype = given.dtype, .shape = given.shape, .strides = given.strides, .offset = 0};
  const Memory source = slot.is_dense() ? given : clone(input.detach()).memory();
  const size_t bytes = static_cast<size_t>(element_count(source.shape)) * size_of(source.dtype);
  StoragePointer storage = allocate_storage(bytes, device);
  copy_between_devices(storage->data(), device, source.data, from, bytes);
  return graph::record_evaluated(std::make_shared<ops::ToDevice>(from), input, {source.shape, source.dtype},
                                 {std::move(storage), 0, source.strides});
}

}  // namespace pycnn
