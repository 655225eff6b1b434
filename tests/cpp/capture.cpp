// Captured functions and profiles, from C++.
#include <gtest/gtest.h>

#include <cmath>

#include "pycnn/pycnn.h"

namespace pycnn {
namespace {

TEST(Capture, ReplaysInference) {
  manual_seed(1);
  nn::Sequential net(nn::Conv2d(1, 4, 3), nn::ReLU(), nn::Flatten(), nn::Linear(4 * 6 * 6, 3));
  const NoGradGuard no_grad;
  const auto forward = capture([&](const Tensors& inputs) { return Tensors{net.forward(inputs[0])}; });
  for (int64_t batch : {2, 5, 2, 2, 5, 5}) {
    const Tensor x = randn({batch, 1, 8, 8});
    const Tensor got = forward({x})[0];
    EXPECT_EQ(got.to_vector<float>(), net.forward(x).to_vector<float>());
  }
  const Tensor x = randn({2, 1, 8, 8});
  x.evaluate();
  const uint64_t recorded = statistics()["nodes_recorded"];
  forward({x})[0].evaluate();
  EXPECT_EQ(statistics()["nodes_recorded"], recorded);
}

TEST(Capture, ChangesInPlaceAreRepeated) {
  Tensor count = zeros({1});
  const auto step = capture([&](const Tensors& inputs) {
    count.assign_(count + inputs[0]);
    return Tensors{count * 10};
  });
  for (int i = 1; i <= 5; ++i) EXPECT_EQ(step({ones({1})})[0].item<float>(), static_cast<float>(10 * i));
  EXPECT_EQ(count.item<float>(), 5);
}

TEST(Capture, GradientsAreMadeAnew) {
  Tensor weight = ones({3});
  weight.requires_grad_();
  const auto step = capture([&](const Tensors& inputs) {
    const Tensor loss = sum(weight * inputs[0]);
    loss.backward();
    return Tensors{loss};
  });
  for (int i = 1; i <= 4; ++i) {
    weight.set_grad({});
    step({full({3}, static_cast<double>(i), DType::Float32)});
    EXPECT_EQ(weight.grad().to_vector<float>(), std::vector<float>(3, static_cast<float>(i)));
  }
}

TEST(Capture, ReadingAValueThrows) {
  const auto function = capture(
      [](const Tensors& inputs) { return Tensors{inputs[0] * (sum(inputs[0]).item<double>() > 0 ? 1.0 : -1.0)}; });
  const Tensor x = ones({2});
  EXPECT_EQ(function({x})[0].to_vector<float>(), (std::vector<float>{1, 1}));
  EXPECT_THROW(function({x}), Error);
  EXPECT_EQ((x + 1).to_vector<float>(), (std::vector<float>{2, 2}));
}

TEST(Capture, AScopeCannotBeNested) {
  const CaptureScope scope({});
  EXPECT_THROW(CaptureScope({}), Error);
}

TEST(Profile, NotesStepsWhileItIsOn) {
  const Tensor a = ones({8, 16}), b = ones({16, 4});
  evaluate(Tensors{a, b});
  start_profiling();
  matmul(a, b).evaluate();
  const std::vector<ProfileEvent> events = stop_profiling();
  matmul(transpose(b, 0, 1), transpose(a, 0, 1)).evaluate();
  EXPECT_TRUE(stop_profiling().empty());
  int64_t products = 0;
  for (const ProfileEvent& event : events)
    if (event.step == "matmul") {
      ++products;
      EXPECT_EQ(event.flops, 2.0 * 8 * 16 * 4);
      EXPECT_EQ(event.bytes, 4 * (8 * 16 + 16 * 4 + 8 * 4));
    }
  EXPECT_EQ(products, 1);
}

TEST(Profile, PeakIsMeasured) {
  const MachinePeak peak = measure_peak(0.01, 1 << 20);
  EXPECT_TRUE(std::isfinite(peak.flops_per_second) && peak.flops_per_second > 1e8);
  EXPECT_TRUE(std::isfinite(peak.bfloat16_flops_per_second) && peak.bfloat16_flops_per_second > 1e8);
  EXPECT_TRUE(std::isfinite(peak.bytes_per_second) && peak.bytes_per_second > 1e7);
  EXPECT_THROW(measure_peak(-1), ValueError);
}

}  // namespace
}  // namespace pycnn
