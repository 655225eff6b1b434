// Pointwise programs and reductions over channels-last tensors, as batch normalisation needs them.
#include <vector>

#include "kernel_benchmarks.h"

namespace pycnn::kernel_benchmarks {
namespace {

using kernels::Accumulation;
using kernels::Instruction;
using kernels::Opcode;
using kernels::Operand;
using kernels::PointwiseArguments;
using kernels::ReduceArguments;
using kernels::ReduceKind;
using kernels::RegisterType;

struct Tensor {
  const char* name;
  int64_t pixels, channels;
};

constexpr Tensor tensors[] = {
    {"200704x64", 200704, 64},  // ResNet-18, first stage, batch 16
    {"784x512", 784, 512},      // its last stage
    {"131072x16", 131072, 16},  // ResNet-20, batch 128
};

Instruction instruction(Opcode opcode, int destination, std::vector<int> operands, int index = 0) {
  Instruction result{};
  result.opcode = opcode;
  result.type = result.source = RegisterType::F32;
  result.destination = static_cast<uint8_t>(destination);
  for (size_t i = 0; i < operands.size(); ++i) result.operands[i] = static_cast<uint8_t>(operands[i]);
  result.index = static_cast<uint8_t>(index);
  return result;
}

/// out = max(x · scale + shift, 0), scale and shift per channel.
void scale_shift_relu(benchmark::State& state, const Tensor& tensor) {
  const auto& [name, pixels, channels] = tensor;
  const Buffer x = Buffer::of_floats(pixels * channels), out = Buffer::of_floats(pixels * channels);
  const Buffer scale = Buffer::of_floats(channels), shift = Buffer::of_floats(channels);
  Operand operands[] = {{x.data(), DType::Float32, {channels, 1}},
                        {scale.data(), DType::Float32, {0, 1}},
                        {shift.data(), DType::Float32, {0, 1}},
                        {out.data(), DType::Float32, {channels, 1}}};
  const std::vector<Instruction> code = {
      instruction(Opcode::Load, 0, {}, 0),   instruction(Opcode::Load, 1, {}, 1),
      instruction(Opcode::Load, 2, {}, 2),   instruction(Opcode::MultiplyAdd, 3, {0, 1, 2}),
      instruction(Opcode::Constant, 4, {}),  instruction(Opcode::Maximum, 5, {3, 4}),
      instruction(Opcode::Store, 0, {5}, 3),
  };
  const PointwiseArguments arguments{code.data(), static_cast<int>(code.size()), 6, operands, 4, 2, {pixels, channels}};
  const double elements = static_cast<double>(pixels * channels);
  measure(state, 3 * elements, 8 * elements, [&] { cpu::active_kernels().pointwise(arguments); });
}

/// Per channel over all pixels: the sum, or mean and squared deviations.
void reduction(benchmark::State& state, const Tensor& tensor, ReduceKind kind) {
  const auto& [name, pixels, channels] = tensor;
  const Buffer x = Buffer::of_floats(pixels * channels);
  const Buffer first = Buffer::of_floats(channels), second = Buffer::of_floats(channels);
  Operand operand{x.data(), DType::Float32, {channels, 1}};
  const Instruction load = instruction(Opcode::Load, 0, {}, 0);
  Accumulation accumulation{kind, 0, {first.data(), DType::Float32, {0, 1}}, {second.data(), DType::Float32, {0, 1}}};
  ReduceArguments arguments{
      {&load, 1, 1, &operand, 1, 2, {pixels, channels}}, {true, false}, &accumulation, 1, nullptr};
  const Buffer workspace(cpu::active_kernels().reduce_workspace(arguments));
  arguments.workspace = workspace.data();
  const double elements = static_cast<double>(pixels * channels);
  measure(state, 0, 4 * elements, [&] { cpu::active_kernels().reduce(arguments); });
}

}  // namespace

void add_programs() {
  for (const Tensor& tensor : tensors) {
    add(std::string("pointwise/scale_shift_relu/") + tensor.name,
        [=](benchmark::State& state) { scale_shift_relu(state, tensor); });
    add(std::string("reduce/sum/") + tensor.name,
        [=](benchmark::State& state) { reduction(state, tensor, ReduceKind::Sum); });
    add(std::string("reduce/moments/") + tensor.name,
        [=](benchmark::State& state) { reduction(state, tensor, ReduceKind::Moments); });
  }
}

}  // namespace pycnn::kernel_benchmarks
