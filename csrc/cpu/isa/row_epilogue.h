// An epilogue that is one chain of instructions, from the result through per-column vectors, constants and other
// matrices back to the result: it runs on blocks of any width, while they are in L1. Results are float32 or bfloat16.
#pragma once

#include "cpu/isa/brgemm.h"
#include "cpu/isa/finish.h"

namespace pycnn::cpu::PYCNN_ISA {

class RowEpilogue {
 public:
  /// `fetches`: the caller has fetch() bring the matrices. `arguments` may be null; `result` is the matrix that was
  /// computed, its rows those of all outer loops.
  RowEpilogue(const kernels::PointwiseArguments* arguments, const void* result, bool fetches = false)
      : count_(arguments ? build(*arguments, result, fetches) : 0) {}
  /// What run() does not do.
  const kernels::PointwiseArguments* rest(const kernels::PointwiseArguments* arguments) const {
    return count_ > 0 ? nullptr : arguments;
  }
  /// Whether run() reads matrices besides the result.
  bool reads_matrices() const;
  /// The first matrices among those. Returns how many.
  int matrices(const RowOperand* (&to)[2]) const;
  /// Whether kernels can apply it to what their registers hold.
  bool finishes() const;
  /// The same for kernels that hold planes of results and finish them by finish_planes().
  bool finishes_planes() const;
  /// For a kernel that does, its first result being at (row, column); nothing to do unless `wanted`.
  Finish finish(bool wanted, int64_t row, int64_t column) const {
    return {links_, wanted ? count_ : 0, operands_, row, column};
  }
  void run(int64_t row, int64_t row_end, int64_t column, int64_t column_end) const;
  /// Brings what run() will read besides the result into the cache.
  void prefetch(int64_t row, int64_t row_end, int64_t column, int64_t column_end) const;

  /// The same for matrix number `matrix` of those, to be fetched bit by bit.
  Fetch fetch(int matrix, int64_t row, int64_t row_end, int64_t column, int64_t column_end) const;

  /// Whether results may come from elsewhere and go past the caches: they are many, aligned, and nothing is left to do
  /// with them afterwards. `row` is the elements from one to the next.
  bool streams(const kernels::PointwiseArguments* arguments, const float* result, int64_t row, int64_t rows) const;
  bool streams(const kernels::PointwiseArguments*, const double*, int64_t, int64_t) const { return false; }
  /// If so: the same as run() for results that lie at `from`. Every thread ends with stream_fence().
  void stream(float* from, int64_t from_row, float* result, int64_t result_row, int64_t row, int64_t row_end,
              int64_t column, int64_t column_end) const;
  void stream(double*, int64_t, double*, int64_t, int64_t, int64_t, int64_t, int64_t) const {}

 private:
  static constexpr int most_links = 12;

  int build(const kernels::PointwiseArguments& arguments, const void* result, bool fetches);

  void* result_ = nullptr;
  bool narrow_ = false;  ///< the result is bfloat16
  int64_t result_row_ = 0;
  Link links_[most_links];
  RowOperand operands_[2 * most_links];
  float scalars_[2 * most_links][2 * lanes<float>];
  int count_;  ///< links; 0: the program is not such a chain
};

}  // namespace pycnn::cpu::PYCNN_ISA
