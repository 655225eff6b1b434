// Trains the README's network on one batch and checks that the loss falls, that files come back, and that errors are
// caught.
#include <pycnn/pycnn.h>

#include <cstdio>
#include <string>

using namespace pycnn;

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("failed: %s\n", what);
  ++failures;
}

nn::Sequential make_net() {
  return nn::Sequential(nn::Conv2d(1, 8, 3), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(8 * 13 * 13, 10));
}

}  // namespace

int main(int count, char** values) {
  const std::string path = count > 1 ? values[1] : "install_test.safetensors";
  manual_seed(0);
  const Tensor x = randn({16, 1, 28, 28}), y = randint(0, 10, {16});
  nn::Sequential net = make_net();
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
  std::printf("loss %f, then %f\n", first, last);
  expect(last < 0.5 * first, "the loss falls");

  net.eval();
  io::save_safetensors(path, {.tensors = net.state_dict(), .metadata = {{"epochs", "20"}}});
  nn::Sequential other = make_net();
  const io::TensorFile file = io::load_safetensors(path);
  expect(file.metadata.at("epochs") == "20", "metadata comes back");
  other.load_state_dict(file.tensors);
  expect(other.forward(x).to_vector<float>() == net.forward(x).to_vector<float>(), "loaded weights give equal bits");

  bool caught = false;
  try {
    net.forward(zeros({1, 2, 28, 28}));
  } catch (const Error& error) {
    caught = std::string(error.what()).find("conv2d") != std::string::npos;
  }
  expect(caught, "a bad call throws pycnn::Error across the library's border, naming the operator");
  return failures == 0 ? 0 : 1;
}
