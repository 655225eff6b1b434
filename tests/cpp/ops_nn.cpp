// Layers and losses: hand-computed values, adjoint identities, gradients of first and second order, errors.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pycnn/autograd.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

Tensor normal(const Shape& shape) { return randn(shape, DType::Float64); }

Tensor values(const std::vector<double>& elements, const Shape& shape) {
  return from_data(std::span<const double>(elements), shape);
}

Tensor labels(const std::vector<int64_t>& elements, const Shape& shape) {
  return from_data(std::span<const int64_t>(elements), shape);
}

void expect_near(const Tensor& actual, const std::vector<double>& expected, double tolerance = 1e-12) {
  const std::vector<double> elements = cast(actual, DType::Float64).to_vector<double>();
  ASSERT_EQ(elements.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(elements[i], expected[i], tolerance) << "element " << i;
}

using Function = std::function<Tensors(const Tensors&)>;

void expect_gradients(const Function& function, Tensors inputs) {
  for (Tensor& input : inputs) input.requires_grad_();
  const auto result = autograd::gradcheck(function, inputs);
  EXPECT_TRUE(result.passed) << result.message;
}

/// Gradients of the gradients of Σ f(x)². Finite differences are taken without grad mode, the inner gradient needs it.
void expect_second_gradients(const Function& function, const Tensors& inputs) {
  expect_gradients(
      [&](const Tensors& x) {
        const bool enabled = is_grad_enabled();
        set_grad_enabled(true);
        Tensors leaves;
        for (const Tensor& tensor : x)
          leaves.push_back(tensor.requires_grad() ? tensor : tensor.detach().requires_grad_());
        Tensors gradients = autograd::grad(std::array{sum(square(function(leaves)[0]))}, leaves, {}, false, true);
        set_grad_enabled(enabled);
        return gradients;
      },
      inputs);
}

template <typename E>
void expect_error(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    FAIL() << "nothing thrown, expected: " << text;
  } catch (const E& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(Convolution, IsCrossCorrelation) {
  const Tensor x = values({1, 2, 3, 4}, {1, 1, 4}), w = values({1, 10}, {1, 1, 2});
  expect_near(conv1d(x, w), {21, 32, 43});
  expect_near(conv1d(x, w, values({100}, {1}), {.stride = {2}, .padding = Dimensions{1}}), {110, 132, 104});
}

TEST(Convolution, SamePadsAnEvenKernelMoreBehind) {
  const Tensor x = values({1, 2, 3}, {1, 1, 3}), w = values({1, 10}, {1, 1, 2});
  expect_near(conv1d(x, w, {}, {.padding = "same"}), {21, 32, 3});
}

TEST(Convolution, TransposeIsTheAdjoint) {
  const ConvOptions forward{.stride = {2, 1}, .padding = Dimensions{1, 2}, .dilation = {1, 2}, .groups = 2};
  const Tensor x = normal({2, 4, 7, 8}), w = normal({6, 2, 3, 3});
  const Tensor y = conv2d(x, w, {}, forward);
  const Tensor v = normal(y.shape());
  const Tensor back = conv_transpose2d(v, w, {}, {{2, 1}, {1, 2}, {0, 0}, 2, {1, 2}});
  ASSERT_EQ(back.shape(), x.shape());
  EXPECT_NEAR(sum(y * v).item<double>(), sum(x * back).item<double>(), 1e-10);
}

TEST(Convolution, Gradients) {
  for (const int64_t groups : {1, 2}) {
    const ConvOptions options{.stride = {2, 1}, .padding = Dimensions{1, 0}, .dilation = {1, 2}, .groups = groups};
    const Function function = [&](const Tensors& x) { return Tensors{conv2d(x[0], x[1], x[2], options)}; };
    const Tensors inputs{normal({2, 4, 5, 6}), normal({4, 4 / groups, 3, 2}), normal({4})};
    expect_gradients(function, inputs);
    expect_second_gradients(function, inputs);
  }
  const Function transposed = [](const Tensors& x) {
    return Tensors{conv_transpose1d(x[0], x[1], x[2], {.stride = {3}, .output_padding = {2}, .groups = 2})};
  };
  expect_second_gradients(transposed, {normal({2, 4, 3}), normal({4, 1, 2}), normal({2})});
}

TEST(Convolution, Errors) {
  const Tensor x = zeros({1, 3, 8, 8});
  expect_error<Error>([&] { conv2d(x, zeros({4, 2, 3, 3})); }, "to have 2 channels, but got 3 channels instead");
  expect_error<Error>([&] { conv2d(x, zeros({4, 3, 9, 3})); }, "Kernel size: (9 x 3). Kernel size can't be greater");
  expect_error<Error>([&] { conv2d(cast(x, DType::Int64), zeros({4, 3, 3, 3})); }, "Input type (Long)");
  expect_error<Error>([&] { conv2d(x, zeros({4, 3, 3, 3}), {}, {.stride = {0}}); }, "non-positive stride");
}

TEST(Pooling, MaximumAndItsIndices) {
  const Tensor x = values({1, 5, 2, 0, 4, 3, 9, 8, 7}, {1, 1, 3, 3});
  const auto [maximum, indices] = max_pool_with_indices(2, x, {2}, {.stride = {1}});
  expect_near(maximum, {5, 5, 9, 8});
  EXPECT_EQ(indices.to_vector<int64_t>(), (std::vector<int64_t>{1, 1, 6, 7}));
}

TEST(Pooling, LastWindowOfCeilModeBeginsInside) {
  const Tensor x = values({1, 2, 3, 4, 5}, {1, 1, 5});
  EXPECT_EQ(max_pool1d(x, {2}, {.stride = {3}, .ceil_mode = true}).shape(), (Shape{1, 1, 2}));
  expect_near(avg_pool1d(x, {2}, {.stride = {2}, .ceil_mode = true}), {1.5, 3.5, 5});
  expect_near(avg_pool1d(x, {2}, {.stride = {2}, .padding = {1}}), {0.5, 2.5, 4.5});
  expect_near(avg_pool1d(x, {2}, {.stride = {2}, .padding = {1}, .count_include_pad = false}), {1, 2.5, 4.5});
}

TEST(Pooling, AdaptiveWindowsOverlap) {
  const Tensor x = values({1, 2, 3, 4, 5}, {1, 5});
  expect_near(adaptive_avg_pool(1, x, {3}), {1.5, 3, 4.5});
  expect_near(adaptive_max_pool_with_indices(1, x, {3}).second, {1, 3, 4});
}

TEST(Pooling, Gradients) {
  const Function maximum = [](const Tensors& x) {
    return Tensors{max_pool2d(x[0], {3}, {.stride = {2}, .padding = {1}, .ceil_mode = true})};
  };
  const Function average = [](const Tensors& x) {
    return Tensors{avg_pool2d(x[0], {3, 2}, {.stride = {2}, .padding = {1}, .count_include_pad = false})};
  };
  const Function adaptive = [](const Tensors& x) { return Tensors{adaptive_avg_pool(2, x[0], {3, 2})}; };
  for (const Function& function : {maximum, average, adaptive}) {
    expect_gradients(function, {normal({2, 3, 6, 5})});
    expect_second_gradients(function, {normal({1, 2, 4, 5})});
  }
}

TEST(BatchNorm, NormalisesAndKeepsRunningStatistics) {
  const Tensor x = values({1, 10, 3, 30}, {2, 2});
  const Tensor mean = zeros({2}, DType::Float64), variance = ones({2}, DType::Float64);
  const Tensor y = batch_norm(x, mean, variance, {}, {}, true, 0.5, 1e-300);
  expect_near(y, {-1, -1, 1, 1});
  expect_near(mean, {1, 10});
  expect_near(variance, {1.5, 100.5});
  expect_near(batch_norm(x, mean, variance, {}, {}, false, 0.5, 0.0),
              {0, 0, 2 / std::sqrt(1.5), 20 / std::sqrt(100.5)});
}

TEST(BatchNorm, Gradients) {
  const Function training = [](const Tensors& x) { return Tensors{batch_norm(x[0], {}, {}, x[1], x[2], true)}; };
  const Function plain = [](const Tensors& x) { return Tensors{batch_norm(x[0], {}, {}, {}, {}, true)}; };
  const Tensor mean = normal({3}), variance = rand({3}, DType::Float64) + 0.5;
  const Function inference = [&](const Tensors& x) { return Tensors{batch_norm(x[0], mean, variance, x[1], x[2])}; };
  const Tensors inputs{normal({4, 3, 2}), normal({3}), normal({3})};
  for (const Function& function : {training, inference}) {
    expect_gradients(function, inputs);
    expect_second_gradients(function, inputs);
  }
  expect_second_gradients(plain, {normal({4, 3, 2})});
}

TEST(LocalResponseNorm, WindowOverChannels) {
  const Tensor x = values({1, 2, 3, 4}, {1, 4, 1});
  const Tensor y = local_response_norm(x, 3, 3.0, 1.0, 1.0);
  expect_near(y, {1 / 6.0, 2 / 15.0, 3 / 30.0, 4 / 26.0});
  expect_second_gradients([](const Tensors& in) { return Tensors{local_response_norm(in[0], 4, 0.3)}; },
                          {normal({2, 5, 3})});
}

TEST(Dropout, ScalesWhatItKeeps) {
  const Tensor y = dropout(ones({1000}, DType::Float64), 0.25);
  double kept = 0;
  for (double value : y.to_vector<double>()) {
    EXPECT_TRUE(value == 0 || std::abs(value - 1 / 0.75) < 1e-15) << value;
    kept += value != 0;
  }
  EXPECT_NEAR(kept, 750, 100);
  expect_near(dropout(ones({3}), 1.0), {0, 0, 0});
  expect_error<ValueError>([] { dropout(ones({3}), 1.5); },
                           "dropout probability has to be between 0 and 1, but got 1.5");
}

TEST(Softmax, Stable) {
  expect_near(softmax(values({1000, 1000}, {2}), 0), {0.5, 0.5});
  expect_near(log_softmax(values({-1e4, 0}, {2}), 0), {-1e4, 0});
  for (const int64_t dimension : {0, 1, 2}) {
    const Function function = [=](const Tensors& x) { return Tensors{softmax(x[0], dimension)}; };
    const Function logarithm = [=](const Tensors& x) { return Tensors{log_softmax(x[0], dimension)}; };
    for (const Function& f : {function, logarithm}) expect_second_gradients(f, {normal({2, 3, 4})});
  }
}

TEST(CrossEntropy, GradientIsProbabilityMinusTarget) {
  Tensor x = values({0, std::log(3.0), 0, 0}, {2, 2});
  x.requires_grad_();
  const Tensor loss = cross_entropy(x, labels({1, 0}, {2}));
  loss.backward();
  EXPECT_NEAR(loss.item<double>(), (std::log(4.0 / 3) + std::log(2.0)) / 2, 1e-15);
  expect_near(x.grad(), {0.125, -0.125, -0.25, 0.25});
}

TEST(CrossEntropy, IgnoresAndWeighs) {
  const Tensor x = normal({4, 3});
  const Tensor target = labels({2, -100, 0, 2}, {4}), weight = values({1, 2, 3}, {3});
  const std::vector<double> logs = log_softmax(x, 1).to_vector<double>();
  const double expected = -(3 * logs[2] + logs[6] + 3 * logs[11]) / 7;
  EXPECT_NEAR(cross_entropy(x, target, {.weight = weight}).item<double>(), expected, 1e-12);
  EXPECT_NEAR(nll_loss(log_softmax(x, 1), target, weight).item<double>(), expected, 1e-12);
  EXPECT_TRUE(std::isnan(cross_entropy(x, full({4}, -100, DType::Int64)).item<double>()));
  for (const Reduction reduction : {Reduction::None, Reduction::Mean, Reduction::Sum})
    for (const double smoothing : {0.0, 0.1}) {
      const Function function = [&](const Tensors& in) {
        return Tensors{
            cross_entropy(in[0], target, {.weight = weight, .reduction = reduction, .label_smoothing = smoothing})};
      };
      expect_gradients(function, {x});
      expect_second_gradients(function, {normal({4, 3})});
    }
}

TEST(CrossEntropy, TargetsOutOfRange) {
  expect_error<IndexError>(
      [] {
        cross_entropy(zeros({2, 10}), labels({1, 10}, {2}));
      },
      "cross_entropy: Target 10 is out of bounds.");
  expect_error<Error>([] { mse_loss(zeros({2, 3}), zeros({4})); }, "mse_loss: shapes (2, 3) and (4,)");
  expect_error<IndexError>([] { softmax(zeros({2, 3}), 5); }, "softmax: Dimension out of range");
  expect_error<IndexError>([] { sum(zeros({2, 3}), Dimensions{2}); }, "sum: Dimension out of range");
  expect_error<Error>([] { zeros({-1}); }, "zeros: Trying to create tensor with negative dimension -1");
  const Tensor pending = labels({4, 4}, {2}) + labels({4, 8}, {2});
  const Tensor loss = cross_entropy(zeros({2, 10}), pending);
  EXPECT_THROW(loss.item<float>(), IndexError);
}

TEST(BinaryCrossEntropy, ClampsLogarithms) {
  expect_near(binary_cross_entropy(values({0, 1, 0.5}, {3}), values({1, 0, 1}, {3}), {}, Reduction::None),
              {100, 100, std::log(2.0)});
  expect_near(binary_cross_entropy_with_logits(values({-800, 800}, {2}), values({1, 1}, {2}), {}, Reduction::None),
              {800, 0});
}

TEST(Matmul, ShapesAsNumpy) {
  EXPECT_EQ(matmul(ones({3}), ones({3})).shape(), Shape{});
  EXPECT_EQ(matmul(ones({2, 3}), ones({3})).shape(), (Shape{2}));
  EXPECT_EQ(matmul(ones({3}), ones({5, 3, 4})).shape(), (Shape{5, 4}));
  EXPECT_EQ(matmul(ones({5, 1, 2, 3}), ones({6, 3, 4})).shape(), (Shape{5, 6, 2, 4}));
  expect_near(matmul(values({1, 2, 3, 4}, {2, 2}), values({5, 6, 7, 8}, {2, 2})), {19, 22, 43, 50});
  expect_near(matmul(ones({2, 0}), ones({0, 2})), {0, 0, 0, 0});
  expect_error<Error>(
      [] {
        matmul(ones({2, 3}), ones({4, 5}));
      },
      "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
}

TEST(Matmul, Gradients) {
  const Function product = [](const Tensors& x) { return Tensors{matmul(x[0], x[1])}; };
  expect_second_gradients(product, {normal({2, 3}), normal({3, 2})});
  expect_second_gradients(product, {normal({2, 1, 2, 3}), normal({2, 3, 2})});
  expect_second_gradients(product, {normal({3}), normal({2, 3, 2})});
  expect_second_gradients([](const Tensors& x) { return Tensors{linear(x[0], x[1], x[2])}; },
                          {normal({2, 2, 3}), normal({4, 3}), normal({4})});
}

}  // namespace
}  // namespace pycnn
