// Three SGD steps of the LeNet-5 example from given weights on a given batch, for comparison with Python's.
// usage: steps WEIGHTS BATCH OUT, all of them safetensors files
#include <pycnn/pycnn.h>

#include "lenet5.h"

int main(int count, char** values) {
  using namespace pycnn;
  if (count != 4) return 2;
  LeNet5 net(10);
  net.load_state_dict(io::load_safetensors(values[1]).tensors);
  const auto batch = io::load_safetensors(values[2]).tensors;
  optim::SGD sgd(net.parameters(), {.lr = 0.05, .momentum = 0.9, .weight_decay = 1e-3, .nesterov = true});
  for (int step = 0; step < 3; ++step) {
    cross_entropy(net(batch.at("x")), batch.at("y")).backward();
    sgd.step();
    sgd.zero_grad();
  }
  io::save_safetensors(values[3], {.tensors = net.state_dict(), .metadata = {}});
}
