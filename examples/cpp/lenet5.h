// LeNet-5 (LeCun et al. 1998) in its modern form: ReLU, maximum pooling, every feature map connected.
#pragma once

#include <pycnn/pycnn.h>

#include <string>

/// (N, 1, 28, 28) → (N, classes). Parameters have the names of pycnn.models.LeNet5, so that files go both ways.
class LeNet5 : public pycnn::nn::Module {
 public:
  explicit LeNet5(int64_t classes) : fc3_(register_module("fc3", pycnn::nn::Linear(84, classes))) {}

  std::string name() const override { return "LeNet5"; }

  pycnn::Tensor forward(const pycnn::Tensor& images) const override {
    pycnn::Tensor x = pool_(relu(conv1_(images)));
    x = pool_(relu(conv2_(x)));
    x = flatten(x, 1);
    return fc3_(relu(fc2_(relu(fc1_(x)))));
  }

 private:
  pycnn::nn::Conv2d conv1_ = register_module("conv1", pycnn::nn::Conv2d(1, 6, 5, {.padding = 2}));
  pycnn::nn::Conv2d conv2_ = register_module("conv2", pycnn::nn::Conv2d(6, 16, 5));
  pycnn::nn::MaxPool2d pool_{2};
  pycnn::nn::Linear fc1_ = register_module("fc1", pycnn::nn::Linear(16 * 5 * 5, 120));
  pycnn::nn::Linear fc2_ = register_module("fc2", pycnn::nn::Linear(120, 84));
  pycnn::nn::Linear fc3_;
};
