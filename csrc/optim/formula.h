// What an optimiser does to one parameter, written once as a formula over elements and numbers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "graph/node.h"
#include "graph/program_builder.h"
#include "pycnn/tensor.h"

namespace pycnn::graph {
class Operator;
}

namespace pycnn::optim {

/// Where a formula finds its options: the fields of a struct in C++, a group's dictionary in Python.
class Options {
 public:
  virtual ~Options() = default;
  /// A number, or a tensor of one element.
  virtual std::variant<double, Tensor> number(std::string_view name) const = 0;
  virtual bool flag(std::string_view name) const = 0;
};

class Formula;

/// A value of a formula: one number for the whole parameter or one per element. Numbers of the formula's own text are
/// part of a plan; values of options are inputs of it, so that changing them changes no plan. What depends on 0-d
/// tensors (the number of steps, a learning rate that is a tensor) the plan computes in double precision.
class Term {
 public:
  Term(double literal) : value_(literal) {}  // NOLINT(google-explicit-constructor): formulas contain numbers

 private:
  friend class Formula;
  enum class Kind : uint8_t { Literal, Known, Computed, Elements };
  Term(Formula* formula, Kind kind, double value, graph::Expression expression = {})
      : formula_(formula), kind_(kind), value_(value), expression_(expression) {}
  Formula* formula_ = nullptr;
  Kind kind_ = Kind::Literal;
  double value_ = 0;
  graph::Expression expression_;

  friend Term compute(graph::Opcode opcode, std::span<const Term> operands);
};

Term compute(graph::Opcode opcode, std::span<const Term> operands);
inline Term compute(graph::Opcode opcode, const Term& a) { return compute(opcode, std::span(&a, 1)); }
inline Term compute(graph::Opcode opcode, const Term& a, const Term& b) { return compute(opcode, std::array{a, b}); }
inline Term operator+(const Term& a, const Term& b) { return compute(graph::Opcode::Add, a, b); }
inline Term operator-(const Term& a, const Term& b) { return compute(graph::Opcode::Subtract, a, b); }
inline Term operator*(const Term& a, const Term& b) { return compute(graph::Opcode::Multiply, a, b); }
inline Term operator/(const Term& a, const Term& b) { return compute(graph::Opcode::Divide, a, b); }
inline Term operator>(const Term& a, const Term& b) { return compute(graph::Opcode::Less, b, a); }
inline Term operator==(const Term& a, const Term& b) { return compute(graph::Opcode::Equal, a, b); }
inline Term operator-(const Term& a) { return compute(graph::Opcode::Negate, a); }
inline Term square(const Term& a) { return a * a; }
inline Term abs(const Term& a) { return compute(graph::Opcode::Absolute, a); }
inline Term sign(const Term& a) { return compute(graph::Opcode::Sign, a); }
inline Term sqrt(const Term& a) { return compute(graph::Opcode::Sqrt, a); }
inline Term pow(const Term& a, const Term& b) { return compute(graph::Opcode::Power, a, b); }
inline Term max(const Term& a, const Term& b) { return compute(graph::Opcode::Maximum, a, b); }
inline Term min(const Term& a, const Term& b) { return compute(graph::Opcode::Minimum, a, b); }
inline Term where(const Term& condition, const Term& a, const Term& b) {
  return compute(graph::Opcode::Select, std::array{condition, a, b});
}
/// a + weight·(b - a)
inline Term lerp(const Term& a, const Term& b, const Term& weight) { return a + weight * (b - a); }

/// What an optimiser keeps for a parameter: a tensor of its shape and dtype, or one number.
struct State {
  const char* name;
  bool is_number = false;
};

/// An optimiser: its name, its state (in the order of a state dict), and the formula.
struct Rule {
  const char* name;
  std::vector<State> state;
  void (*formula)(Formula& f);
};

/// A parameter with its state, one entry per name of the rule; undefined where there is none yet.
struct Updated {
  Tensor parameter;
  Tensors state;
};

/// What a formula is written in.
class Formula {
 public:
  /// `present`: a parameter of those that the formula is for, which agree in dtypes and in which state there is.
  Formula(const Rule& rule, const Options& options, const Updated& present);
  Formula(const Formula&) = delete;
  Formula& operator=(const Formula&) = delete;

  Term parameter() const { return parameter_; }
  /// Its gradient, negated if "maximize" is set.
  Term gradient();
  Term option(std::string_view name);
  bool flag(std::string_view name) const { return options_.flag(name); }
  /// Whether a number is not 0 (a tensor may be anything).
  bool uses(std::string_view name) const;

  /// State per element, of the parameter's shape; `initial` if there is none yet.
  Term state(std::string_view name, const Term& initial = 0);
  /// State that is one number.
  Term number(std::string_view name, const Term& initial);
  bool has(std::string_view name) const { return present_.state[index_of(name)].defined(); }
  /// The "step" that is being made, from 1 on; kept.
  Term step();
  /// A number as its state's dtype can hold it.
  Term as_stored(std::string_view name, const Term& value);
  /// A number as PyTorch makes a tensor of it.
  Term in_default_dtype(const Term& value);
  /// Euclidean norms of all elements.
  Term parameter_norm();
  Term gradient_norm();

  // Next values.
  void set(std::string_view name, const Term& value);
  void set_parameter(const Term& value) { parameter_ = value; }

  /// Records the next values of a parameter and its state, undefined where they do not change.
  Updated record(const Updated& of);

 private:
  friend Term compute(graph::Opcode opcode, std::span<const Term> operands);
  /// Where an input or output of a program lies.
  struct Place {
    enum class Kind : uint8_t { Parameter, Gradient, State, Tensor, Computed, ParameterNorm, GradientNorm } kind;
    size_t index = 0;  ///< of the state or the computed number
    pycnn::Tensor tensor = {};
  };
  /// One of the two pointwise programs: numbers (0-d, double), and elements.
  struct Program {
    graph::ProgramBuilder builder;
    std::vector<Place> inputs;
    struct Output {
      Place place;
      graph::Expression value;
      DType dtype;
    };
    std::vector<Output> outputs;
    DType compute;
    std::shared_ptr<const graph::Operator> update;  ///< the finished program
    graph::Expression load(Place place);
  };

  size_t index_of(std::string_view name) const;
  DType dtype_of_number(size_t state) const;
  Term rounded(const Term& value, DType dtype);
  /// The term's value as an expression of either program.
  graph::Expression as_number(const Term& term);
  graph::Expression as_elements(const Term& term);
  /// What the program of numbers gives for a parameter.
  Tensors numbers(const Updated& of);
  Tensors run(const Program& program, const Shape& shape, const Updated& of, const Tensors& computed) const;

  const Rule& rule_;
  const Options& options_;
  const Updated& present_;  ///< not read after construction
  Program numbers_, elements_;
  Term parameter_ = 0;
  std::vector<std::pair<size_t, Term>> next_;  ///< of state
  /// By the number state that they were computed from.
  std::vector<std::pair<std::vector<graph::Value>, Tensors>> known_numbers_;
};

/// The rule of that name ("Adam"). Throws ValueError if there is none.
const Rule& find_rule(std::string_view name);

/// One step of a group of parameters; its formula is built once per combination of dtypes and present state.
class Step {
 public:
  Step(const Rule& rule, const Options& options) : rule_(rule), options_(options) {}
  /// Records the next values of a parameter with a gradient, and nothing else.
  Updated next(const Updated& of);
  /// Assigns them in place; missing state is made.
  void assign_next(Updated& of);

 private:
  const Rule& rule_;
  const Options& options_;
  std::vector<std::pair<std::vector<int>, std::unique_ptr<Formula>>> formulas_;
};

}  // namespace pycnn::optim
