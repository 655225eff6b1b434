#include "pycnn/optim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "pycnn/graph.h"
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

/// Ten steps from 1.5 with the gradient of w³: the parameter in the end, by the library and by `rule(t, w, g)`.
template <typename Options>
void expect_rule(const Options& options, const std::function<double(int, double, double)>& rule) {
  Tensor w = scalar_tensor(1.5, DType::Float64);
  w.requires_grad_();
  optim::Optimizer<Options> optimizer({w}, options);
  double expected = 1.5;
  for (int t = 1; t <= 10; ++t) {
    expected = rule(t, expected, 3 * expected * expected);
    (w * w * w).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
  EXPECT_NEAR(w.item<double>(), expected, 1e-12 * std::abs(expected));
}

TEST(Rules, Adam) {
  for (const bool decoupled : {false, true}) {
    double m = 0, v = 0, largest = 0;
    const auto rule = [&](int t, double w, double g) {
      if (decoupled)
        w *= 1 - 0.05 * 0.1;
      else
        g += 0.1 * w;
      m = 0.8 * m + (1 - 0.8) * g;
      v = 0.95 * v + (1 - 0.95) * g * g;
      largest = std::max(largest, v);
      const double used = decoupled ? v : largest;
      return w - 0.05 * m / (1 - std::pow(0.8, t)) / (std::sqrt(used / (1 - std::pow(0.95, t))) + 1e-3);
    };
    const optim::AdamOptions options{.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1};
    if (decoupled) {
      expect_rule(optim::AdamWOptions{.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1}, rule);
    } else {
      optim::AdamOptions amsgrad = options;
      amsgrad.amsgrad = true;
      expect_rule(amsgrad, rule);
    }
  }
}

TEST(Rules, RMSprop) {
  double v = 0, mean = 0, velocity = 0;
  expect_rule(optim::RMSpropOptions{.lr = 0.05, .alpha = 0.9, .eps = 1e-3, .momentum = 0.5, .centered = true},
              [&](int, double w, double g) {
                v = 0.9 * v + (1 - 0.9) * g * g;
                mean = 0.9 * mean + (1 - 0.9) * g;
                velocity = 0.5 * velocity + g / (std::sqrt(v - mean * mean) + 1e-3);
                return w - 0.05 * velocity;
              });
}

TEST(Rules, Adagrad) {
  double sum = 0.25;
  expect_rule(optim::AdagradOptions{.lr = 0.05, .lr_decay = 0.1, .initial_accumulator_value = 0.25, .maximize = true},
              [&](int t, double w, double g) {
                sum += g * g;
                return w + 0.05 / (1 + (t - 1) * 0.1) * g / (std::sqrt(sum) + 1e-10);
              });
}

TEST(Rules, Adadelta) {
  double v = 0, u = 0;
  expect_rule(optim::AdadeltaOptions{.lr = 0.5, .rho = 0.8, .eps = 1e-3}, [&](int, double w, double g) {
    v = 0.8 * v + (1 - 0.8) * g * g;
    const double d = std::sqrt(u + 1e-3) / std::sqrt(v + 1e-3) * g;
    u = 0.8 * u + (1 - 0.8) * d * d;
    return w - 0.5 * d;
  });
}

TEST(Adam, StateContinuesTraining) {
  const auto make = [] {
    manual_seed(3);
    return nn::Linear(4, 2);
  };
  nn::Linear one = make(), two = make();
  optim::Adam first(one.parameters(), {.lr = 0.01, .amsgrad = true}), second(two.parameters());
  const Tensor x = randn({8, 4});
  const auto step = [&](nn::Linear& net, optim::Adam& adam) {
    sum(square(net(x))).backward();
    adam.step();
    adam.zero_grad();
  };
  step(one, first);
  step(one, first);
  const io::TensorFile state = first.state_dict();
  EXPECT_EQ(state.tensors.at("step.1").item<float>(), 2);
  EXPECT_EQ(state.tensors.at("max_exp_avg_sq.0").shape(), (Shape{2, 4}));
  EXPECT_EQ(state.metadata.at("group.0.amsgrad"), "true");
  two.load_state_dict(one.state_dict());
  second.load_state_dict(state);
  step(one, first);
  step(two, second);
  EXPECT_EQ(one.weight().to_vector<float>(), two.weight().to_vector<float>());
  EXPECT_THROW(optim::Adam(one.parameters(), {.beta1 = 1}), ValueError);
}

TEST(Adam, WritesOverTheLastValues) {
  Tensor w = ones({64, 64});
  w.requires_grad_();
  optim::Adam adam({w});
  const auto step = [&] {
    sum(w * w).backward();
    const size_t before = statistics()["buffers_donated"];
    adam.step();
    adam.zero_grad();
    return statistics()["buffers_donated"] - before;
  };
  step();
  step();
  EXPECT_GE(step(), 3U);
}

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
