// The pointwise program behind a convolution or matrix product, run on blocks of the result while they are in cache:
// rows (pixels) × columns (channels). It is made ready once; each thread then runs it on the columns it works on.
#pragma once

#include "cpu/isa/interpreter.h"

namespace pycnn::cpu::PYCNN_ISA {

class Epilogue {
 public:
  /// Blocks will be `width` columns wide, or `last_width`. Null arguments: there is nothing to do.
  Epilogue(const kernels::PointwiseArguments* arguments, int64_t width, int64_t last_width);
  const Program& program(int64_t columns) const { return columns == width_ ? program_ : last_program_; }

 private:
  static void prepare(Program& program, const kernels::PointwiseArguments& arguments, int64_t width);

  int64_t width_;
  Program program_, last_program_;
};

/// A thread's registers for the columns [column, column + columns).
class EpilogueColumns {
 public:
  EpilogueColumns(const Epilogue& epilogue, int64_t column, int64_t columns);
  /// Rows are counted over all outer loops.
  void run(int64_t begin, int64_t end);

 private:
  const Program& program_;
  int64_t columns_;
  Machine machine_;
};

}  // namespace pycnn::cpu::PYCNN_ISA
