// The C++ API on a GPU: the emulated one, whose plug-in this test names before anything asks for a device.
#include <gtest/gtest.h>

#include <cstdlib>

#include "pycnn/pycnn.h"

namespace pycnn {
namespace {

class Gpu : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    setenv("PYCNN_CUDA_LIBRARY", PYCNN_EMULATED_PLUG_IN, 0);
    ASSERT_TRUE(cuda::is_available()) << cuda::unavailable_reason();
  }
  const Device gpu_ = parse_device("cuda");
};

class Net : public nn::Module {
 public:
  Tensor forward(const Tensor& x) const override { return fc_(flatten(max_pool2d(relu(bn_(conv_(x))), {2, 2}), 1)); }

 private:
  nn::Conv2d conv_ = register_module("conv", nn::Conv2d(1, 4, 3));
  nn::BatchNorm2d bn_ = register_module("bn", nn::BatchNorm2d(4));
  nn::Linear fc_ = register_module("fc", nn::Linear(4 * 3 * 3, 2));
};

TEST_F(Gpu, ModulesMoveAndTheirStatesStayUsable) {
  Net net;
  const nn::StateDict before = net.state_dict();
  net.to(gpu_);
  for (const auto& [name, value] : net.state_dict()) {
    EXPECT_EQ(value.device(), gpu_) << name;
    EXPECT_TRUE(all(to_device(value, {}) == before.at(name)).item<bool>()) << name;
  }
  EXPECT_TRUE(net.parameters()[0].requires_grad());
  EXPECT_EQ(net(to_device(ones({2, 1, 8, 8}), gpu_)).device(), gpu_);
  net.load_state_dict(before);  // from the CPU
  EXPECT_EQ(net.named("fc.bias").device(), gpu_);
  sum(net(to_device(ones({2, 1, 8, 8}), gpu_))).backward();
  net.zero_grad(false);
  EXPECT_EQ(net.named("fc.weight").grad().device(), gpu_);
  net.to(Device{});
  EXPECT_EQ(net(ones({2, 1, 8, 8})).shape(), (Shape{2, 2}));
}

/// The loss after each step, learning whether an image is brighter on its left or its right side.
std::vector<float> losses_of_training(const Device& device) {
  manual_seed(1);
  Net net;
  net.to(device);
  const Tensor images = randn({16, 1, 8, 8});
  const Dimensions within{1, 2, 3};
  const Tensor left = sum(narrow(images, 3, 0, 4), within), right = sum(narrow(images, 3, 4, 4), within);
  const Tensor x = to_device(images, device), labels = to_device(cast(left > right, DType::Int64), device);
  optim::SGD sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9});
  std::vector<float> losses;
  for (int step = 0; step < 12; ++step) {
    sgd.zero_grad();
    const Tensor loss = cross_entropy(net(x), labels);
    loss.backward();
    sgd.step();
    losses.push_back(static_cast<float>(loss.item<double>()));
  }
  return losses;
}

TEST_F(Gpu, TrainsAsTheCpuDoes) {
  const std::vector<float> expected = losses_of_training({});
  const uint64_t launched = statistics()["graphs_launched"];
  const std::vector<float> losses = losses_of_training(gpu_);
  EXPECT_GT(statistics()["graphs_launched"], launched + 4);
  for (size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(losses[i], expected[i], 1e-3) << i;
  EXPECT_LT(losses.back(), 0.5F * losses.front());
  cuda::set_graphs_enabled(false);
  EXPECT_EQ(losses_of_training(gpu_), losses);
  cuda::set_graphs_enabled(true);
}

TEST_F(Gpu, PinnedMemoryIsCopiedWithoutWaiting) {
  const Tensor pinned = pin_memory(full({3}, 2, DType::Float32));
  EXPECT_TRUE(is_pinned(pinned));
  EXPECT_EQ((to_device(pinned, gpu_, true) * 2.0).to_vector<float>(), (std::vector<float>{4, 4, 4}));
}

TEST_F(Gpu, MemoryIsKeptForTheStreamsThatUseIt) {
  constexpr int64_t size = 1 << 15;
  for (int attempt = 1; attempt < 20; ++attempt) {
    const cuda::Stream own = cuda::current_stream(gpu_.index), side(gpu_.index);
    Tensor x = to_device(full({size}, attempt, DType::Float32), gpu_);
    cuda::Event computed;
    computed.record(own);
    side.wait(computed);
    cuda::set_stream(side);
    const Tensor y = x + 0.0;
    cuda::set_stream(own);
    record_stream(x, side);
    x = Tensor();
    const Tensor z = to_device(full({size}, -1, DType::Float32), gpu_);  // not where x is read
    side.synchronize();
    EXPECT_EQ(sum(y).item<float>(), static_cast<float>(attempt * size));
  }
  EXPECT_THROW(record_stream(ones({2}), cuda::current_stream(gpu_.index)), Error);
}

}  // namespace
}  // namespace pycnn
