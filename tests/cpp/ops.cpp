// Pointwise, reduction, shape and indexing operators: promotion, values and gradients worked by hand.
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "pycnn/pycnn.h"

namespace pycnn {
namespace {

using Doubles = std::vector<double>;

Tensor vector(const Doubles& elements, const Shape& shape) { return from_data<double>(elements, shape); }
Tensor vector(const Doubles& elements) { return vector(elements, {static_cast<int64_t>(elements.size())}); }

Doubles gradient(const Tensor& result, const Tensor& input) {
  const Tensor outputs[] = {sum(result)}, inputs[] = {input};
  return autograd::grad(outputs, inputs)[0].to_vector<double>();
}

TEST(Promotion, FollowsCategories) {
  const Tensor floats = ones({2}), integers = ones({2}, DType::Int32), doubles0 = ones({}, DType::Float64);
  EXPECT_EQ((floats * 0.5).dtype(), DType::Float32);
  EXPECT_EQ((integers * 2).dtype(), DType::Int32);
  EXPECT_EQ((integers * 0.5).dtype(), DType::Float32);
  EXPECT_EQ((floats + doubles0).dtype(), DType::Float32);
  EXPECT_EQ((integers + doubles0).dtype(), DType::Float64);
  EXPECT_EQ((integers / integers).dtype(), DType::Float32);
  EXPECT_EQ((floats < 1).dtype(), DType::Bool);
  EXPECT_EQ(cast(integers, DType::BFloat16).dtype(), (cast(integers, DType::BFloat16) * 0.1).dtype());
}

TEST(Promotion, IntegersWrapAround) {
  const Tensor small = full({1}, 100, DType::Int8);
  EXPECT_EQ((small + small).to_vector<int8_t>()[0], -56);
  EXPECT_EQ(sum(full({1000}, 100, DType::Int8)).item<int64_t>(), 100000);
}

TEST(Pointwise, SubgradientsAreThoseOfPyTorch) {
  Tensor x = vector({-1, 0, 2});
  x.requires_grad_();
  EXPECT_EQ(gradient(relu(x), x), (Doubles{0, 0, 1}));
  EXPECT_EQ(gradient(abs(x), x), (Doubles{-1, 0, 1}));
  EXPECT_EQ(gradient(maximum(x, vector({-1, 1, 1})), x), (Doubles{0.5, 0, 1}));
  EXPECT_EQ(gradient(clamp(x, 0, 1), x), (Doubles{0, 1, 0}));
  EXPECT_EQ(gradient(pow(x, vector({0, 0, 0})), x), (Doubles{0, 0, 0}));
  Tensor zero = vector({0});
  zero.requires_grad_();
  EXPECT_EQ(gradient(sqrt(zero), zero)[0], std::numeric_limits<double>::infinity());
}

TEST(Pointwise, RefusesWhatHasNoMeaning) {
  const Tensor flags = ones({2}, DType::Bool), floats = ones({2}), integers = ones({2}, DType::Int64);
  EXPECT_THROW(neg(flags), Error);
  EXPECT_THROW(sub(flags, flags), Error);
  EXPECT_THROW(bitwise_and(floats, floats), NotImplementedError);
  EXPECT_THROW(gelu(integers), NotImplementedError);
  EXPECT_THROW(floor_divide(integers, wrap_scalar(0, integers)), Error);
  EXPECT_THROW(pow(integers, wrap_scalar(-1, integers)), Error);
  EXPECT_THROW(add(floats, ones({3})), Error);
}

TEST(Reduction, GradientsAtTiesAndZeros) {
  Tensor x = vector({3, 1, 3, 0});
  x.requires_grad_();
  EXPECT_EQ(gradient(amax(x), x), (Doubles{0.5, 0, 0.5, 0}));
  EXPECT_EQ(gradient(max(x, 0).first, x), (Doubles{1, 0, 0, 0}));
  EXPECT_EQ(gradient(prod(x), x), (Doubles{0, 0, 0, 9}));
  EXPECT_EQ(gradient(norm(x * 0, 2), x), (Doubles{0, 0, 0, 0}));
}

TEST(Reduction, EmptyAndRepeatedDimensions) {
  EXPECT_THROW(max(zeros({0, 3})), Error);
  EXPECT_THROW(max(zeros({0, 3}), 0), IndexError);
  EXPECT_THROW(sum(zeros({2, 2}), Dimensions{0, 0}), Error);
  EXPECT_THROW(mean(zeros({2}, DType::Int64)), Error);
  EXPECT_EQ(sum(zeros({0, 3})).item<double>(), 0);
  EXPECT_EQ(prod(zeros({0})).item<double>(), 1);
  EXPECT_TRUE(all(zeros({0})).item<bool>());
  EXPECT_FALSE(any(zeros({0})).item<bool>());
}

TEST(Reduction, ArgmaxCountsLogically) {
  const Tensor x = transpose(vector({1, 5, 2, 9, 0, 3}, {2, 3}), 0, 1);  // rows (1, 9), (5, 0), (2, 3)
  EXPECT_EQ(argmax(x).item<int64_t>(), 1);
  EXPECT_EQ(argmax(x, 0).to_vector<int64_t>(), (std::vector<int64_t>{1, 0}));
}

TEST(Views, WriteBackAndFollow) {
  Tensor base = zeros({2, 3}, DType::Float64);
  Tensor row = select(base, 0, 1), corner = slice(transpose(base, 0, 1), 0, 0, 1);
  row += ones({3}, DType::Float64);
  EXPECT_EQ(base.to_vector<double>(), (Doubles{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(corner.to_vector<double>(), (Doubles{0, 1}));
  // A reshape that PyTorch copies is a copy.
  Tensor copy = reshape(transpose(base, 0, 1), {-1});
  copy += ones({6}, DType::Float64);
  EXPECT_EQ(sum(base).item<double>(), 3);
  Tensor repeated = expand(slice(base, 0, 0, 1), {2, 3});
  EXPECT_THROW(repeated += ones({2, 3}, DType::Float64), Error);
}

TEST(Shape, PadCropsWithNegativeAmounts) {
  EXPECT_EQ(pad(vector({1, 2, 3}), {-1, 2}, "constant", 7).to_vector<double>(), (Doubles{2, 3, 7, 7}));
  EXPECT_THROW(pad(ones({3}), {-2, -2}), Error);
}

TEST(Shape, PadContinuesWhatLiesInside) {
  const Tensor x = vector({1, 2, 3}, {1, 3});
  EXPECT_EQ(pad(x, {2, 1}, "reflect").to_vector<double>(), (Doubles{3, 2, 1, 2, 3, 2}));
  EXPECT_EQ(pad(x, {2, 1}, "replicate").to_vector<double>(), (Doubles{1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(pad(x, {2, 1}, "circular").to_vector<double>(), (Doubles{2, 3, 1, 2, 3, 1}));
  EXPECT_EQ(pad(x, {-1, 2}, "reflect").to_vector<double>(), (Doubles{2, 3, 2, 1}));
  EXPECT_EQ(pad(x, {-1, 2}, "circular").to_vector<double>(), (Doubles{2, 3, 2, 3}));
  EXPECT_THROW(pad(x, {3, 0}, "reflect"), Error);
  EXPECT_THROW(pad(x, {4, 0}, "circular"), Error);
  EXPECT_THROW(pad(x, {1, 1}, "mirror"), NotImplementedError);
  EXPECT_THROW(pad(vector({1, 2, 3}), {1, 1}, "reflect"), NotImplementedError);
  EXPECT_THROW(pad(x, {1, 1}, "reflect", 2), Error);
}

TEST(Indexing, ScatterAndGatherAreAdjoint) {
  Tensor x = vector({1, 2, 3, 4, 5, 6}, {2, 3});
  x.requires_grad_();
  const Tensor index = from_data<int64_t>(std::vector<int64_t>{2, 2, 0, 1}, {2, 2});
  const Tensor picked = gather(x, 1, index);
  EXPECT_EQ(picked.to_vector<double>(), (Doubles{3, 3, 4, 5}));
  EXPECT_EQ(gradient(picked, x), (Doubles{0, 0, 2, 1, 1, 0}));
  EXPECT_THROW(gather(x, 1, from_data<int64_t>(std::vector<int64_t>{3}, {1, 1})), Error);
  EXPECT_THROW(gather(x, 1, index + 1).evaluate(), Error);  // not known before it runs
  EXPECT_THROW(index_select(x, 0, full({1}, 2, DType::Int64)).evaluate(), IndexError);
}

TEST(Indexing, ScatterLeavesTheRestOfALargerTable) {
  const Tensor table = zeros({2, 3, 2}, DType::Float64), index = full({1, 2, 1}, 1, DType::Int64);
  EXPECT_EQ(scatter_add(table, 2, index, ones({1, 2, 1}, DType::Float64)).to_vector<double>(),
            (Doubles{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(Random, SeedAndOrderDecide) {
  manual_seed(3);
  const auto first = rand({1000}).to_vector<float>();
  const auto order = randperm(100).to_vector<int64_t>();
  manual_seed(3);
  const Tensor recorded = rand({1000}), permutation = randperm(100);
  EXPECT_EQ(permutation.to_vector<int64_t>(), order);
  EXPECT_EQ(recorded.to_vector<float>(), first);
  EXPECT_EQ(default_generator().get_state(), (Generator::State{3, 2}));
}

TEST(Random, StreamsDoNotDisturbEachOther) {
  const Generator one(5), two(6);
  const auto first = rand({100}, DType::Float32, one).to_vector<float>();
  const auto second = randn({100}, DType::Float64, two).to_vector<double>();
  manual_seed(5);
  EXPECT_EQ(rand({100}).to_vector<float>(), first);  // a stream depends on its seed alone
  const Generator::State before = default_generator().get_state();
  one.manual_seed(5);
  two.manual_seed(6);
  const Tensor interleaved = randn({100}, DType::Float64, two), other = rand({100}, DType::Float32, one);
  EXPECT_EQ(interleaved.to_vector<double>(), second);
  EXPECT_EQ(other.to_vector<float>(), first);
  EXPECT_EQ(default_generator().get_state(), before);
  const Generator same = one, copy = one.clone();
  const auto next = randperm(50, copy).to_vector<int64_t>();
  EXPECT_EQ(randperm(50, same).to_vector<int64_t>(), next);
  EXPECT_EQ(one.get_state(), (Generator::State{5, 2}));
}

TEST(Plans, NumbersAreNoPartOfThem) {
  const Tensor x = ones({64});
  x.evaluate();
  (x * 0.1 + 2).evaluate();
  const uint64_t before = statistics()["plans_compiled"];
  (x * 0.2 + 3).evaluate();
  EXPECT_EQ(statistics()["plans_compiled"], before);
}

}  // namespace
}  // namespace pycnn
