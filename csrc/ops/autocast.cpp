#include "ops/autocast.h"

#include <algorithm>
#include <string_view>

#include "pycnn/dtype.h"
#include "pycnn/error.h"

namespace pycnn::ops {
namespace {

enum class Rule : uint8_t {
  Narrow,   ///< the 16-bit dtype
  Float32,  ///< float32
  Promote,  ///< float32 if an operand has it, else the 16-bit dtype
};

struct Entry {
  std::string_view name;
  Rule rule;
};

/// PyTorch's lists for the CPU, as far as the operators are there. What is not here runs in the dtypes it is given.
constexpr Entry rules[] = {
    {"conv1d", Rule::Narrow},
    {"conv2d", Rule::Narrow},
    {"conv3d", Rule::Narrow},
    {"conv_transpose1d", Rule::Narrow},
    {"conv_transpose2d", Rule::Narrow},
    {"conv_transpose3d", Rule::Narrow},
    {"linear", Rule::Narrow},
    {"matmul", Rule::Narrow},
    {"mm", Rule::Narrow},
    {"bmm", Rule::Narrow},
    {"addmm", Rule::Narrow},
    {"mse_loss", Rule::Float32},
    {"l1_loss", Rule::Float32},
    {"nll_loss", Rule::Float32},
    {"cross_entropy", Rule::Float32},
    {"binary_cross_entropy", Rule::Float32},
    {"binary_cross_entropy_with_logits", Rule::Float32},
    {"smooth_l1_loss", Rule::Float32},
    {"huber_loss", Rule::Float32},
    {"kl_div", Rule::Float32},
    {"poisson_nll_loss", Rule::Float32},
    {"hinge_embedding_loss", Rule::Float32},
    {"soft_margin_loss", Rule::Float32},
    {"multilabel_margin_loss", Rule::Float32},
    {"multi_margin_loss", Rule::Float32},
    {"margin_ranking_loss", Rule::Float32},
    {"cosine_embedding_loss", Rule::Float32},
    {"triplet_margin_loss", Rule::Float32},
    {"ctc_loss", Rule::Float32},
    {"grid_sampler", Rule::Float32},
    {"prelu", Rule::Narrow},
    {"prod", Rule::Float32},
    {"max_pool3d", Rule::Float32},
    {"avg_pool3d", Rule::Float32},
    {"adaptive_max_pool3d", Rule::Float32},
    {"adaptive_avg_pool3d", Rule::Float32},
    {"reflection_pad1d", Rule::Float32},
    {"reflection_pad2d", Rule::Float32},
    {"replication_pad1d", Rule::Float32},
    {"replication_pad2d", Rule::Float32},
    {"replication_pad3d", Rule::Float32},
    {"cat", Rule::Promote},
    {"stack", Rule::Promote},
};

/// Integers and float64 are left alone.
bool is_eligible(const Tensor& tensor) {
  return tensor.defined() && is_floating_point(tensor.dtype()) && tensor.dtype() != DType::Float64;
}

DType wanted_dtype(const char* name, Rule rule, DType narrow, std::span<const Tensor> operands) {
  if (rule == Rule::Float32) return DType::Float32;
  if (rule == Rule::Narrow) return narrow;
  DType wanted = narrow;
  for (const Tensor& operand : operands) {
    if (!is_eligible(operand)) continue;
    check(operand.dtype() == DType::Float32 || operand.dtype() == narrow, name, ": Unexpected floating dtype ",
          operand.dtype(), " under autocast, expected float32 or ", narrow);
    if (operand.dtype() == DType::Float32) wanted = DType::Float32;
  }
  return wanted;
}

}  // namespace

std::optional<Tensors> autocast_operands(const char* name, std::span<const Tensor> operands) {
  const auto first = std::ranges::find_if(operands, &Tensor::defined);
  if (first == operands.end()) return {};
  const std::optional<DType> narrow = graph::active_autocast(first->device().type);
  if (!narrow) return {};
  const Entry* const entry = std::ranges::find(rules, name, &Entry::name);
  if (entry == std::end(rules)) return {};
  const DType wanted = wanted_dtype(name, entry->rule, *narrow, operands);
  std::optional<Tensors> result;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (!is_eligible(operands[i]) || operands[i].dtype() == wanted) continue;
    if (!result) result.emplace(operands.begin(), operands.end());
    (*result)[i] = graph::cast_for_autocast(operands[i], wanted);
  }
  return result;
}

}  // namespace pycnn::ops
