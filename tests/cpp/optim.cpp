#include "pycnn/optim.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pycnn/nn.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

/// The rule in plain doubles, for one parameter.
struct ScalarRule {
  optim::SGDOptions options;
  double velocity = 0;
  bool first = true;

  double next(double parameter, double gradient) {
    if (options.maximize) gradient = -gradient;
    gradient += options.weight_decay * parameter;
    if (options.momentum != 0) {
      velocity = first ? gradient : options.momentum * velocity + (1 - options.dampening) * gradient;
      first = false;
      gradient = options.nesterov ? gradient + options.momentum * velocity : velocity;
    }
    return parameter - options.lr * gradient;
  }
};

class Rule : public testing::TestWithParam<optim::SGDOptions> {};

TEST_P(Rule, FollowsTheFormula) {
  Tensor w = scalar_tensor(1.5, DType::Float64);
  w.requires_grad_();
  optim::SGD sgd({w}, GetParam());
  ScalarRule rule{GetParam()};
  double expected = 1.5;
  for (int step = 0; step < 5; ++step) {
    // The loss w³ has the gradient 3 w².
    expected = rule.next(expected, 3 * expected * expected);
    (w * w * w).backward();
    sgd.step();
    sgd.zero_grad();
    EXPECT_NEAR(w.item<double>(), expected, 1e-12 * std::abs(expected)) << step;
    EXPECT_TRUE(w.requires_grad());
    EXPECT_TRUE(w.is_leaf());
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Rule,
                         testing::Values(optim::SGDOptions{.lr = 0.05}, optim::SGDOptions{.lr = 0.05, .momentum = 0.9},
                                         optim::SGDOptions{.lr = 0.05, .momentum = 0.9, .dampening = 0.3},
                                         optim::SGDOptions{.lr = 0.05, .momentum = 0.9, .nesterov = true},
                                         optim::SGDOptions{.lr = 0.05, .weight_decay = 0.1},
                                         optim::SGDOptions{.lr = 0.01, .momentum = 0.5, .maximize = true}));

TEST(SGD, GroupsHaveTheirOwnOptions) {
  Tensor a = ones({2}), b = ones({2}), unused = ones({2});
  for (Tensor* tensor : {&a, &b, &unused}) tensor->requires_grad_();
  optim::SGD sgd({{{a, unused}, {.lr = 0.5}}, {{b}, {.lr = 0.25}}});
  sum(a + b).backward();
  sgd.step();
  EXPECT_EQ(a.to_vector<float>(), (std::vector<float>{0.5F, 0.5F}));
  EXPECT_EQ(b.to_vector<float>(), (std::vector<float>{0.75F, 0.75F}));
  EXPECT_EQ(unused.to_vector<float>(), (std::vector<float>{1, 1}));
  sgd.groups()[1].options.lr = 0.75;
  sgd.step();
  EXPECT_EQ(b.to_vector<float>(), (std::vector<float>{0, 0}));
}

TEST(SGD, HeldOldValuesSurviveTheStep) {
  Tensor w = ones({1000});
  w.requires_grad_();
  optim::SGD sgd({w}, {.lr = 1});
  const Tensor before = clone(w.detach());
  const Tensor sum_before = sum(before);
  sum(w * 2).backward();
  sgd.step();
  EXPECT_EQ(sum_before.item<float>(), 1000);
  EXPECT_EQ(sum(w).item<float>(), -1000);
}

TEST(SGD, StateContinuesTraining) {
  const auto make = [] {
    manual_seed(3);
    return nn::Linear(4, 2);
  };
  nn::Linear one = make(), two = make();
  const optim::SGDOptions options{.lr = 0.1, .momentum = 0.9, .nesterov = true};
  optim::SGD first(one.parameters(), options), second(two.parameters(), {.lr = 7});
  const Tensor x = randn({8, 4});
  const auto step = [&](nn::Linear& net, optim::SGD& sgd) {
    sum(square(net(x))).backward();
    sgd.step();
    sgd.zero_grad();
  };
  step(one, first);
  two.load_state_dict(one.state_dict());
  second.load_state_dict(first.state_dict());
  EXPECT_EQ(second.groups()[0].options.lr, 0.1);
  EXPECT_TRUE(second.groups()[0].options.nesterov);
  step(one, first);
  step(two, second);
  EXPECT_EQ(one.weight().to_vector<float>(), two.weight().to_vector<float>());
}

TEST(SGD, WrongStateChangesNothing) {
  nn::Linear net(4, 2);
  optim::SGD sgd(net.parameters(), {.lr = 0.1});
  io::TensorFile state = sgd.state_dict();
  state.metadata["group.0.lr"] = "0.5";
  for (const auto& [key, text] : {std::pair{"group.0.momentum", "fast"},
                                  {"group.0.nesterov", "1"},
                                  {"group.0.lr", "-1"},
                                  {"group.0.lr", "nan"},
                                  {"group.0.lr", ""}}) {
    io::TensorFile broken = state;
    broken.metadata[key] = text;
    EXPECT_THROW(sgd.load_state_dict(broken), ValueError) << key << " " << text;
  }
  io::TensorFile shape = state, extra = state;
  shape.tensors["momentum_buffer.0"] = zeros({3});
  extra.tensors["momentum_buffer.9"] = zeros({3});
  EXPECT_THROW(sgd.load_state_dict(shape), ValueError);
  EXPECT_THROW(sgd.load_state_dict(extra), ValueError);
  EXPECT_THROW(sgd.load_state_dict({}), ValueError);
  EXPECT_EQ(sgd.groups()[0].options.lr, 0.1);
}

TEST(SGD, BadArgumentsThrow) {
  Tensor w = ones({1});
  w.requires_grad_();
  EXPECT_THROW(optim::SGD(Tensors{}), ValueError);
  EXPECT_THROW(optim::SGD({w}, {.lr = -1}), ValueError);
  EXPECT_THROW(optim::SGD({w}, {.momentum = -1}), ValueError);
  EXPECT_THROW(optim::SGD({w}, {.nesterov = true}), ValueError);
  EXPECT_THROW(optim::SGD({w, w}, {.lr = 1}), ValueError);
  EXPECT_THROW(optim::SGD({w * 2}, {.lr = 1}), ValueError);
}

TEST(SGD, TheReadmesNetworkLearns) {
  manual_seed(0);
  const Tensor x = randn({16, 1, 28, 28}), y = randint(0, 10, {16});
  nn::Sequential net(nn::Conv2d(1, 8, 3), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(8 * 13 * 13, 10));
  optim::SGD sgd(net.parameters(), {.lr = 0.05, .momentum = 0.9});
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    Tensor loss = cross_entropy(net.forward(x), y);
    loss.backward();
    sgd.step();
    sgd.zero_grad();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  EXPECT_LT(last, 0.5 * first);
}

}  // namespace
}  // namespace pycnn
