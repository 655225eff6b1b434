#include "pycnn/nn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pycnn/autograd.h"

namespace pycnn {
namespace {

std::vector<std::string> names_of(const nn::NamedTensors& named) {
  std::vector<std::string> names;
  for (const auto& [name, value] : named) names.push_back(name);
  return names;
}

class Net : public nn::Module {
 public:
  std::string name() const override { return "Net"; }
  Tensor forward(const Tensor& x) const override { return fc_(flatten(relu(bn_(conv_(x))), 1)); }

 private:
  nn::Conv2d conv_ = register_module("conv", nn::Conv2d(1, 2, 3, {.padding = "same", .bias = false}));
  nn::BatchNorm2d bn_ = register_module("bn", nn::BatchNorm2d(2));
  nn::Linear fc_ = register_module("fc", nn::Linear(2 * 4 * 4, 3));
};

TEST(Module, NamesParametersAndBuffersAsPyTorch) {
  Net net;
  EXPECT_EQ(names_of(net.named_parameters()),
            (std::vector<std::string>{"conv.weight", "bn.weight", "bn.bias", "fc.weight", "fc.bias"}));
  EXPECT_EQ(names_of(net.named_buffers()),
            (std::vector<std::string>{"bn.running_mean", "bn.running_var", "bn.num_batches_tracked"}));
  EXPECT_EQ(net.state_dict().size(), 8U);
  EXPECT_EQ(net.named("fc.weight").shape(), (Shape{3, 32}));
  EXPECT_THROW(net.named("fc.weights"), ValueError);
  EXPECT_EQ(net.named_children()[2].first, "fc");
  EXPECT_EQ(net(ones({5, 1, 4, 4})).shape(), (Shape{5, 3}));
}

TEST(Module, CopiesShareParametersAndTrainingFlag) {
  Net net;
  Net copy = net;
  EXPECT_TRUE(copy.parameters()[0].is_same_value(net.parameters()[0]));
  copy.eval();
  EXPECT_FALSE(net.is_training());
  EXPECT_FALSE(net.children()[1]->is_training());
  copy.train();
  {
    NoGradGuard guard;
    copy.named("fc.bias").assign_(full({3}, 7, DType::Float32));
  }
  EXPECT_EQ(net.named("fc.bias").to_vector<float>(), (std::vector<float>{7, 7, 7}));
}

TEST(Module, SequentialAppliesInOrder) {
  nn::Linear shared(3, 3);
  nn::Sequential net(shared, nn::ReLU(), shared);
  EXPECT_EQ(net.size(), 3U);
  EXPECT_EQ(net.parameters().size(), 2U);
  EXPECT_EQ(net.state_dict().size(), 4U);
  EXPECT_EQ(net[1].name(), "ReLU");
  EXPECT_THROW(net[3], IndexError);
  const Tensor x = randn({2, 3});
  EXPECT_EQ(net(x).to_vector<float>(), shared(relu(shared(x))).to_vector<float>());
}

TEST(Module, GradientsReachParametersAndAreForgotten) {
  Net net;
  sum(net(randn({4, 1, 4, 4}))).backward();
  for (const Tensor& parameter : net.parameters()) {
    ASSERT_TRUE(parameter.grad().defined());
    EXPECT_EQ(parameter.grad().shape(), parameter.shape());
  }
  net.zero_grad(false);
  EXPECT_EQ(net.named("fc.bias").grad().to_vector<float>(), (std::vector<float>{0, 0, 0}));
  net.zero_grad();
  for (const Tensor& parameter : net.parameters()) EXPECT_FALSE(parameter.grad().defined());
}

TEST(Module, StateDictTravels) {
  Net net, other;
  net(randn({4, 1, 4, 4})).evaluate();
  other.load_state_dict(net.state_dict());
  EXPECT_EQ(other.named("bn.num_batches_tracked").item<int64_t>(), 1);
  net.eval();
  other.eval();
  const Tensor x = randn({2, 1, 4, 4});
  EXPECT_EQ(net(x).to_vector<float>(), other(x).to_vector<float>());
  for (const Tensor& parameter : other.parameters()) {
    EXPECT_TRUE(parameter.requires_grad());
    EXPECT_TRUE(parameter.is_leaf());
  }
  // Loaded values are copies: training one network leaves the other alone.
  {
    NoGradGuard guard;
    Tensor bias = net.named("fc.bias");
    bias += ones({3});
  }
  EXPECT_NE(net(x).to_vector<float>(), other(x).to_vector<float>());
}

TEST(Module, LoadStateDictChangesNothingOnError) {
  Net net;
  nn::StateDict state;
  for (const auto& [name, value] : net.state_dict()) state[name] = clone(value) + 1;
  const std::vector<float> before = net.named("conv.weight").to_vector<float>();
  const auto message = [&](bool strict) -> std::string {
    try {
      net.load_state_dict(state, strict);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  state["fc.bias"] = zeros({4});
  state["extra"] = zeros({1});
  state.erase("bn.bias");
  const std::string strict = message(true);
  EXPECT_NE(strict.find("Error(s) in loading state_dict for Net:"), std::string::npos) << strict;
  EXPECT_NE(strict.find("Missing key(s) in state_dict: \"bn.bias\""), std::string::npos) << strict;
  EXPECT_NE(strict.find("Unexpected key(s) in state_dict: \"extra\""), std::string::npos) << strict;
  EXPECT_NE(strict.find("size mismatch for fc.bias: copying a param with shape (4,)"), std::string::npos) << strict;
  EXPECT_NE(message(false).find("size mismatch"), std::string::npos);
  EXPECT_EQ(net.named("conv.weight").to_vector<float>(), before);

  state["fc.bias"] = zeros({3});
  const nn::IncompatibleKeys keys = net.load_state_dict(state, false);
  EXPECT_EQ(keys.missing, std::vector<std::string>{"bn.bias"});
  EXPECT_EQ(keys.unexpected, std::vector<std::string>{"extra"});
  EXPECT_NE(net.named("conv.weight").to_vector<float>(), before);
}

TEST(Module, ToCastsFloatingPointOnly) {
  Net net;
  net.to(DType::Float64);
  EXPECT_EQ(net.named("conv.weight").dtype(), DType::Float64);
  EXPECT_EQ(net.named("bn.running_var").dtype(), DType::Float64);
  EXPECT_EQ(net.named("bn.num_batches_tracked").dtype(), DType::Int64);
  EXPECT_EQ(net(zeros({1, 1, 4, 4}, DType::Float64)).dtype(), DType::Float64);
  EXPECT_THROW(net.to(DType::Int32), TypeError);
}

TEST(Module, WithoutForwardSaysSo) {
  struct Empty : nn::Module {};
  EXPECT_THROW(Empty()(ones({1})), NotImplementedError);
}

TEST(Layers, DefaultInitialisationIsUniformWithinTheBound) {
  const auto largest = [](const Tensor& t) { return max(abs(t)).item<double>(); };
  const nn::Conv2d conv(8, 64, {3, 5});
  const double bound = 1 / std::sqrt(8.0 * 3 * 5);
  EXPECT_LE(largest(conv.weight()), bound * (1 + 1e-6));
  EXPECT_GT(largest(conv.weight()), bound * 0.99);
  EXPECT_LE(largest(conv.bias()), bound * (1 + 1e-6));
  EXPECT_NEAR(std(conv.weight()).item<double>(), bound / std::sqrt(3.0), bound * 0.02);
  const nn::ConvTranspose2d transposed(64, 8, 4, {.groups = 2});
  EXPECT_EQ(transposed.weight().shape(), (Shape{64, 4, 4, 4}));
  EXPECT_LE(largest(transposed.weight()), 1 / std::sqrt(4.0 * 4 * 4) * (1 + 1e-6));
  const nn::Linear linear(100, 50);
  EXPECT_LE(largest(linear.weight()), 0.1 * (1 + 1e-6));
  EXPECT_GT(largest(linear.weight()), 0.099);
}

TEST(Layers, ShapesFollowOptions) {
  const Tensor image = ones({2, 4, 9, 7});
  EXPECT_EQ(nn::Conv2d(4, 6, 5, {.padding = 2})(image).shape(), (Shape{2, 6, 9, 7}));
  EXPECT_EQ(nn::Conv2d(4, 6, {3, 1}, {.stride = {2, 3}, .groups = 2})(image).shape(), (Shape{2, 6, 4, 3}));
  EXPECT_EQ(nn::Conv2d(4, 6, 3, {.padding = "same", .dilation = 2})(image).shape(), (Shape{2, 6, 9, 7}));
  EXPECT_EQ(nn::Conv1d(4, 6, 3)(ones({2, 4, 9})).shape(), (Shape{2, 6, 7}));
  EXPECT_EQ(nn::Conv3d(4, 6, 3)(ones({2, 4, 5, 6, 7})).shape(), (Shape{2, 6, 3, 4, 5}));
  EXPECT_EQ(nn::ConvTranspose2d(4, 6, 3, {.stride = 2, .padding = 1, .output_padding = 1})(image).shape(),
            (Shape{2, 6, 18, 14}));
  EXPECT_EQ(nn::MaxPool2d(2)(image).shape(), (Shape{2, 4, 4, 3}));
  EXPECT_EQ(nn::MaxPool2d(3, {.stride = 2, .padding = 1, .ceil_mode = true})(image).shape(), (Shape{2, 4, 5, 4}));
  EXPECT_EQ(nn::AvgPool2d({2, 3}, {.stride = 1})(image).shape(), (Shape{2, 4, 8, 5}));
  EXPECT_EQ(nn::AdaptiveAvgPool2d(1)(image).shape(), (Shape{2, 4, 1, 1}));
  EXPECT_EQ(nn::AdaptiveMaxPool2d({3, -1})(image).shape(), (Shape{2, 4, 3, 7}));
  EXPECT_EQ(nn::LocalResponseNorm(3)(image).shape(), image.shape());
  EXPECT_EQ(nn::Maxout(2)(image).shape(), (Shape{2, 2, 9, 7}));
  EXPECT_EQ(nn::Flatten()(image).shape(), (Shape{2, 252}));
}

TEST(Layers, ActivationsAreTheOperators) {
  const Tensor x = randn({3, 4});
  const auto same = [&](const nn::Module& module, const Tensor& expected) {
    EXPECT_EQ(module(x).to_vector<float>(), expected.to_vector<float>()) << module.name();
  };
  same(nn::ReLU(), relu(x));
  same(nn::LeakyReLU(0.2), leaky_relu(x, 0.2));
  same(nn::ELU(), elu(x));
  same(nn::Sigmoid(), sigmoid(x));
  same(nn::Tanh(), tanh(x));
  same(nn::Softplus(), softplus(x));
  same(nn::GELU("tanh"), gelu(x, "tanh"));
  same(nn::SiLU(), silu(x));
  same(nn::Softmax(1), softmax(x, 1));
  same(nn::LogSoftmax(0), log_softmax(x, 0));
  same(nn::Identity(), x);
}

TEST(Layers, DropoutActsInTrainingOnly) {
  nn::Dropout dropout(0.5);
  const Tensor x = ones({1000});
  const double kept = mean(dropout(x) > 0, {}, false, DType::Float64).item<double>();
  EXPECT_NEAR(kept, 0.5, 0.1);
  dropout.eval();
  EXPECT_EQ(dropout(x).to_vector<float>(), x.to_vector<float>());
}

TEST(Layers, BatchNormTracksStatistics) {
  nn::BatchNorm1d norm(2, {.momentum = std::nullopt});
  const Tensor first = from_data<float>(std::vector<float>{0, 10, 2, 20}, {2, 2});
  const Tensor second = first + 4;
  norm(first).evaluate();
  norm(second).evaluate();
  // Without a momentum: the plain average of the batches' means, 1 and 5, 15 and 19.
  EXPECT_EQ(norm.running_mean().to_vector<float>(), (std::vector<float>{3, 17}));
  EXPECT_EQ(norm.named("num_batches_tracked").item<int64_t>(), 2);
  norm.eval();
  norm(first).evaluate();
  EXPECT_EQ(norm.named("num_batches_tracked").item<int64_t>(), 2);
  EXPECT_THROW(nn::BatchNorm2d(2)(first), ValueError);
}

TEST(Layers, PaddingModesPadFirst) {
  const Tensor image = randn({2, 3, 5, 6});
  for (const char* mode : {"reflect", "replicate", "circular"}) {
    const nn::Conv2d conv(3, 4, 3, {.stride = 2, .padding = {1, 2}, .padding_mode = mode});
    const Tensor expected = conv2d(pad(image, {2, 2, 1, 1}, mode), conv.weight(), conv.bias(), {.stride = {2, 2}});
    EXPECT_EQ(conv(image).to_vector<float>(), expected.to_vector<float>()) << mode;
  }
  const nn::Conv1d even(3, 4, 4, {.padding = "same", .padding_mode = "circular"});
  EXPECT_EQ(even(ones({1, 3, 8})).shape(), (Shape{1, 4, 8}));
  EXPECT_THROW(nn::Conv2d(1, 1, 3, {.padding_mode = "mirror"}), ValueError);
}

TEST(Layers, BadArgumentsThrow) {
  EXPECT_THROW(nn::Conv2d(3, 4, 3, {.groups = 2}), ValueError);
  EXPECT_THROW(nn::Conv2d(4, 3, 3, {.groups = 2}), ValueError);
  EXPECT_THROW(nn::Conv2d(4, 4, 3, {.groups = 0}), ValueError);
  EXPECT_THROW(nn::Conv2d(-1, 4, 3), ValueError);
  EXPECT_THROW(nn::Conv2d(1, 4, 0), ValueError);
  EXPECT_THROW(nn::Conv2d(1, 4, {3, 3, 3}), ValueError);
  EXPECT_THROW(nn::Conv2d(1, 4, 3, {.padding = "full"}), ValueError);
  EXPECT_THROW(nn::Conv2d(1, 4, 3)(ones({1, 2, 8, 8})), Error);
  EXPECT_THROW(nn::Linear(-1, 2), ValueError);
  EXPECT_THROW(nn::Dropout(1.5), ValueError);
  EXPECT_THROW(nn::BatchNorm1d(-1), ValueError);
  EXPECT_THROW(nn::MaxPool2d({1, 2, 3}), ValueError);
}

}  // namespace
}  // namespace pycnn
