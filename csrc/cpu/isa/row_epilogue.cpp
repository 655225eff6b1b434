#include "cpu/isa/row_epilogue.h"

#include "cpu/isa/bfloat16_vectors.h"

namespace pycnn::cpu::PYCNN_ISA {
namespace {

using kernels::Instruction;
using kernels::Opcode;
using kernels::PointwiseArguments;
using kernels::RegisterType;

/// Elements from row to row, rows being counted over all outer loops; false if that is not one number.
bool row_stride(const PointwiseArguments& arguments, const kernels::Operand& operand, int64_t& stride) {
  int64_t rows = 1;
  stride = 0;
  for (int d = arguments.loops - 2; d >= 0; --d) {
    if (arguments.sizes[d] == 1) continue;
    if (rows == 1)
      stride = operand.strides[d];
    else if (operand.strides[d] != stride * rows)
      return false;
    rows *= arguments.sizes[d];
  }
  return true;
}

/// The bits of an operand that is a scalar.
uint32_t scalar_bits(const RowOperand& a) { return __builtin_bit_cast(uint32_t, *static_cast<const float*>(a.data)); }

bool same_scalar(const RowOperand& a, const RowOperand& b) {
  return a.column == 0 && b.column == 0 && scalar_bits(a) == scalar_bits(b);
}

}  // namespace

/// Returns how many links there are, 0 if the program is no such chain.
int RowEpilogue::build(const PointwiseArguments& arguments, const void* result, bool fetches) {
  enum class Content : uint8_t { Nothing, Value, Operand, Condition };
  Content content[kernels::max_registers] = {};
  uint8_t operand_in[kernels::max_registers] = {}, bound_in[kernels::max_registers] = {};
  int operand_count = 0, links = 0;
  bool stored = false, gated = false, narrow_select = false;
  int64_t elements = 1;
  for (int d = 0; d < arguments.loops; ++d) elements *= arguments.sizes[d];
  for (int i = 0; i < arguments.code_size; ++i) {
    const Instruction& instruction = arguments.code[i];
    if (stored || instruction.type != RegisterType::F32) return 0;
    Content& made = content[instruction.destination];
    if (instruction.opcode == Opcode::Load || instruction.opcode == Opcode::Constant) {
      if (operand_count == 2 * most_links || made == Content::Value) return 0;
      RowOperand& to = operands_[operand_count];
      float* const scalar = scalars_[operand_count];
      to = {scalar, 0, 0, false};
      float value = static_cast<float>(instruction.floating);
      if (instruction.opcode == Opcode::Load) {
        const kernels::Operand& operand = arguments.operands[instruction.index];
        int64_t row, column = operand.strides[arguments.loops - 1];
        const bool narrow = operand.dtype == DType::BFloat16;
        if ((operand.dtype != DType::Float32 && !narrow) || !row_stride(arguments, operand, row)) return 0;
        if (operand.data == result) {
          if (result_ || column != 1) return 0;
          result_ = operand.data;
          narrow_ = narrow;
          result_row_ = row;
          made = Content::Value;
          continue;
        }
        if (column == 1)
          to = {operand.data, row, 1, narrow};
        else if (column == 0 && row == 0)
          value =
              narrow ? element(*static_cast<const BFloat16*>(operand.data)) : *static_cast<const float*>(operand.data);
        else
          return 0;
      }
      for (int j = 0; j < 2 * lanes<float>; ++j) scalar[j] = value;
      operand_in[instruction.destination] = static_cast<uint8_t>(operand_count++);
      made = Content::Operand;
    } else if (instruction.opcode == Opcode::Store) {
      const kernels::Operand& operand = arguments.operands[instruction.index];
      int64_t row;
      if (operand.data != result || !result_ || (operand.dtype == DType::BFloat16) != narrow_ ||
          (operand.dtype != DType::Float32 && !narrow_) || !row_stride(arguments, operand, row) || row != result_row_ ||
          operand.strides[arguments.loops - 1] != 1 || content[instruction.operands[0]] != Content::Value)
        return 0;
      stored = true;
    } else if (instruction.opcode == Opcode::LessEqual && content[instruction.operands[0]] == Content::Operand &&
               content[instruction.operands[1]] == Content::Operand) {
      if (made == Content::Value) return 0;
      bound_in[instruction.destination] = operand_in[instruction.operands[1]];
      operand_in[instruction.destination] = operand_in[instruction.operands[0]];
      made = Content::Condition;
    } else if (instruction.opcode == Opcode::Select && content[instruction.operands[0]] == Content::Condition) {
      const uint8_t *from = instruction.operands, bound = bound_in[from[0]];
      if (links == most_links || content[from[1]] != Content::Operand || content[from[2]] != Content::Value) return 0;
      if (!same_scalar(operands_[bound], operands_[operand_in[from[1]]])) return 0;
      links_[links++] = {Opcode::LessEqual, gate_position, {operand_in[from[0]], bound}, {}};
      gated = true;
      content[from[2]] = Content::Nothing;
      if (made == Content::Value) return 0;
      made = Content::Value;
    } else {
      const int sources = link_operands(instruction);
      if (sources == 0 || links == most_links) return 0;
      Link& link = links_[links++];
      link = {instruction.opcode, 0, {}, {}};
      int values = 0, others = 0;
      for (int s = 0; s < sources; ++s) {
        const uint8_t source = instruction.operands[s];
        if (content[source] == Content::Nothing || content[source] == Content::Condition) return 0;
        if (content[source] == Content::Value) {
          link.position = static_cast<uint8_t>(s);
          ++values;
        } else if (others < 2) {
          const uint8_t place = operand_in[source];
          narrow_select |= instruction.opcode == Opcode::Select && operands_[place].narrow;
          link.places[others++] = place;
        }
      }
      if (values != 1) return 0;
      // The value before this instruction must not be read again.
      content[instruction.operands[link.position]] = Content::Nothing;
      if (made == Content::Value) return 0;
      made = Content::Value;
    }
  }
  // What gates come with is read from memory then, faster row by row than block by block unless it was fetched.
  if (gated && !fetches && elements * static_cast<int64_t>(sizeof(float)) >= uncached_bytes) return 0;
  if (!stored || narrow_select) return 0;
  for (int i = 0; i < operand_count; ++i)
    if (operands_[i].narrow && !narrow_) return 0;
  if (!narrow_) return links;
  return drop_last_roundings(links_, links, [this](uint8_t place, uint32_t& bits) {
    if (operands_[place].column != 0) return false;
    bits = scalar_bits(operands_[place]);
    return true;
  });
}

bool RowEpilogue::reads_matrices() const {
  const RowOperand* matrix[2];
  return matrices(matrix) > 0;
}

int RowEpilogue::matrices(const RowOperand* (&to)[2]) const {
  int found = 0;
  for (int i = 0; i < count_; ++i)
    for (int j = 0; j < link_operands(links_[i].opcode) - 1; ++j) {
      const RowOperand& operand = operands_[links_[i].places[j]];
      if (operand.row != 0 && found < 2) to[found++] = &operand;
    }
  return found;
}

bool RowEpilogue::finishes() const {
  for (int i = 0; i < count_; ++i)
    if (!can_finish(links_[i], operands_[links_[i].places[0]])) return false;
  return count_ > 0 && !narrow_;
}

bool RowEpilogue::finishes_planes() const {
  for (int i = 0; i < count_; ++i) {
    const RowOperand& operand = operands_[links_[i].places[0]];
    const bool gate = links_[i].position == gate_position;
    if (links_[i].opcode != Opcode::RoundTo && (gate || operand.row != 0 || !can_finish(links_[i], operand)))
      return false;
  }
  return count_ > 0;
}

void RowEpilogue::run(int64_t row, int64_t row_end, int64_t column, int64_t column_end) const {
  if (count_ == 0) return;
  const auto run_as = [&]<typename M>(M* result) {
    const Rows<M> from{result + row * result_row_ + column, result_row_}, to{result, result_row_};
    run_chain_on_rows(from, to, false, links_, count_, operands_, row, row_end, column, column_end);
  };
  narrow_ ? run_as(static_cast<BFloat16*>(result_)) : run_as(static_cast<float*>(result_));
}

void RowEpilogue::prefetch(int64_t row, int64_t row_end, int64_t column, int64_t column_end) const {
  constexpr int64_t line = 64;
  for (int i = 0; i < count_; ++i)
    for (int j = 0; j < link_operands(links_[i].opcode) - 1; ++j) {
      const RowOperand& operand = operands_[links_[i].places[j]];
      if (operand.row == 0) continue;
      const int64_t bytes = operand.narrow ? sizeof(BFloat16) : sizeof(float);
      for (int64_t r = row; r < row_end; ++r) {
        const char* const data = static_cast<const char*>(operand.data) + (r * operand.row + column) * bytes;
        for (int64_t c = 0; c < (column_end - column) * bytes; c += line) __builtin_prefetch(data + c);
      }
    }
}

Fetch RowEpilogue::fetch(int matrix, int64_t row, int64_t row_end, int64_t column, int64_t column_end) const {
  for (int i = 0; i < count_; ++i)
    for (int j = 0; j < link_operands(links_[i].opcode) - 1; ++j) {
      const RowOperand& operand = operands_[links_[i].places[j]];
      if (operand.row == 0 || matrix-- != 0) continue;
      const int64_t place = row * operand.row + column, rows = row_end - row, columns = column_end - column;
      if (operand.narrow) return {static_cast<const BFloat16*>(operand.data) + place, rows, columns, operand.row};
      return {static_cast<const float*>(operand.data) + place, rows, columns, operand.row};
    }
  return {};
}

bool RowEpilogue::streams(const PointwiseArguments* arguments, const float* result, int64_t row, int64_t rows) const {
  return rest(arguments) == nullptr && rows * row * static_cast<int64_t>(sizeof(float)) >= uncached_bytes &&
         row % lanes<float> == 0 && reinterpret_cast<uintptr_t>(result) % vector_bytes == 0;
}

void RowEpilogue::stream(float* from, int64_t from_row, float* result, int64_t result_row, int64_t row, int64_t row_end,
                         int64_t column, int64_t column_end) const {
  run_chain_on_rows(Rows<float>{from, from_row}, Rows<float>{result, result_row}, true, links_, count_, operands_, row,
                    row_end, column, column_end);
}

}  // namespace pycnn::cpu::PYCNN_ISA
