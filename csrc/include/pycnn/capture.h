// Functions recorded once and replayed: for networks so small that recording them counts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "pycnn/tensor.h"

namespace pycnn {

namespace graph {
class CapturedProgram;
}

/// While one exists, what this thread records is noted and nothing is evaluated; reading a value throws. For capture()
/// and for host languages that build their own.
class CaptureScope {
 public:
  /// Evaluates what is pending first. `inputs` are the tensors that a replay will be given anew. Throws if the thread
  /// is capturing already.
  explicit CaptureScope(std::span<const Tensor> inputs);
  ~CaptureScope();
  CaptureScope(const CaptureScope&) = delete;
  CaptureScope& operator=(const CaptureScope&) = delete;

  /// Stand for the inputs while the function runs.
  const Tensors& inputs() const;
  /// Ends recording, computes `results` and every tensor changed in place meanwhile, and returns what a replay needs.
  /// Throws if a result requires grad, or if something else than the results would outlive the function.
  std::shared_ptr<const graph::CapturedProgram> finish(std::span<const Tensor> results);
  /// Ends recording; what was recorded stays pending. The destructor does it too.
  void close();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Runs the program: reads the inputs and the present values of the tensors it read when it was captured, changes those
/// that it changed, draws new random numbers, and returns its results. After an exception every tensor is whole and
/// old. Nothing happens if it does not fit the inputs or its tensors' present values (shapes, dtypes, layouts,
/// gradients that are there or not), in eager mode, and while this thread is capturing.
std::optional<Tensors> replay(const graph::CapturedProgram& program, std::span<const Tensor> inputs);

/// A function that records `function` once per shapes, dtypes and layouts of its inputs, and replays it from then on.
/// The first call with new shapes runs as usual (optimisers make their state), the second captures. Numbers that are
/// not tensors are those of the captured call. Results are detached.
std::function<Tensors(const Tensors&)> capture(std::function<Tensors(const Tensors&)> function);

}  // namespace pycnn
