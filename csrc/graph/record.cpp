// Recording: operators become nodes, and nothing is computed.
#include <bit>

#include "graph/capture.h"
#include "graph/evaluate.h"
#include "graph/operator.h"
#include "graph/saved_tensors.h"
#include "pycnn/autograd.h"
#include "tensor/backend.h"

namespace pycnn::graph {

Fingerprint& Fingerprint::add(double value) {
  words_.push_back(std::bit_cast<uint64_t>(value));
  return *this;
}

Tensor BackwardContext::input(int i) const { return saved_tensor(node_, false, i); }
Tensor BackwardContext::output(int i) const { return saved_tensor(node_, true, i); }
const Shape& BackwardContext::input_shape(int i) const {
  return output_of(node_->inputs[static_cast<size_t>(i)]).shape;
}
DType BackwardContext::input_dtype(int i) const { return output_of(node_->inputs[static_cast<size_t>(i)]).dtype; }
bool BackwardContext::needs(int i) const { return output_of(node_->inputs[static_cast<size_t>(i)]).requires_grad; }

std::string Operator::backward_name() const {
  std::string title;
  bool upper = true;
  for (const char c : std::string_view(name())) {
    if (c == '_') {
      upper = true;
      continue;
    }
    title += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    upper = false;
  }
  return title + "Backward0";
}

Tensors Operator::backward(const BackwardContext&) const {
  fail<NotImplementedError>("the operator '", name(), "' has no derivative");
}

namespace {

// Inference tensors track no history, so that autograd could not trust what it saved of them.
void check_saved(const Operator& op, std::span<const Tensor> inputs) {
  BackwardReads reads;
  for (size_t i = 0; i < inputs.size() && i < 32; ++i) {
    if (!inputs[i].is_inference()) continue;
    if (reads.inputs == 0) reads = op.backward_reads();
    check(
        (reads.inputs >> i & 1U) == 0, op.name(),
        ": Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
        "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it "
        "in autograd, or use `no_grad()` instead of `inference_mode()`.");
  }
}

std::atomic<uint64_t> sequence_counter{1};

/// Where an operator runs: where its inputs are. Numbers (0-d tensors on the CPU) go with any of them.
Device device_of(const Operator& op, std::span<const Value> inputs) {
  if (inputs.empty() || op.creates()) return creation_device();
  const Device* device = nullptr;
  for (const Value& input : inputs) {
    const Output& output = output_of(input);
    if (!output.device.is_cpu() || !output.shape.empty()) {
      if (device == nullptr) device = &output.device;
      check(output.device == *device, op.name(),
            ": Expected all tensors to be on the same device, but found at least two devices, ", *device, " and ",
            output.device, "!");
    }
  }
  return device == nullptr ? Device{} : *device;
}

/// A plan reads numbers from the CPU as they are when it begins.
void evaluate_numbers(std::span<const Value> inputs) {
  for (const Value& input : inputs)
    if (output_of(input).device.is_cpu() && !input.node->is_evaluated()) evaluate_values(std::span(&input, 1));
}

}  // namespace

uint64_t next_sequence() { return sequence_counter.load(); }

Tensors record(std::shared_ptr<const Operator> op, std::span<const Tensor> inputs, std::span<const Spec> outputs) {
  auto node = make_pooled<Node>(static_cast<int>(outputs.size()));
  std::vector<Value> values;
  values.reserve(inputs.size());
  bool wants_gradient = false;
  for (const Tensor& input : inputs) {
    values.push_back(input.value());
    if (CaptureLog* log = capture_log(); log != nullptr && values.back().node->is_evaluated())
      log->note_read(values.back(), input.handle());
    wants_gradient |= output_of(values.back()).requires_grad;
  }
  wants_gradient = wants_gradient && is_grad_enabled();
  if (wants_gradient) check_saved(*op, inputs);
  const Device device = device_of(*op, values);
  if (!device.is_cpu()) evaluate_numbers(values);
  node->op = std::move(op);
  node->set_inputs(std::move(values));
  node->sequence = sequence_counter.fetch_add(1);
  if (!device.is_cpu()) node->stream = current_stream_handle(device.index);
  for (size_t i = 0; i < outputs.size(); ++i) {
    Output& output = node->outputs[i];
    output.shape = outputs[i].shape;
    output.dtype = outputs[i].dtype;
    output.device = device;
    output.requires_grad = wants_gradient && outputs[i].differentiable && is_floating_point(outputs[i].dtype);
    node->differentiable |= output.requires_grad;
  }
  Tensors results;
  results.reserve(outputs.size());
  for (int i = 0; i < node->output_count; ++i) results.emplace_back(Value{node, i});
  note_pending(node);
  if (node->differentiable) pack_saved(node);
  return results;
}

Tensor record_evaluated(std::shared_ptr<const Operator> op, const Tensor& input, const Spec& output, Buffer buffer) {
  auto node = make_pooled<Node>(1);
  node->op = std::move(op);
  node->sequence = sequence_counter.fetch_add(1);
  Output& result = node->outputs[0];
  result.shape = output.shape;
  result.dtype = output.dtype;
  result.device = buffer.storage->device();
  result.buffer = std::move(buffer);
  result.requires_grad = node->differentiable = is_grad_enabled() && output_of(input.value()).requires_grad;
  if (node->differentiable) node->set_inputs({input.value()});
  node->state.store(NodeState::Done, std::memory_order_release);
  return Tensor(Value{std::move(node), 0});
}

Tensor record(std::shared_ptr<const Operator> op, std::initializer_list<Tensor> inputs, const Spec& output) {
  return record(std::move(op), std::span(inputs.begin(), inputs.size()), std::span(&output, 1))[0];
}

}  // namespace pycnn::graph
