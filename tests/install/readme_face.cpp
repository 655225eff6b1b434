// The README's C++ example, with the batch it speaks of, and once more to see the loss fall.
#include "readme_includes.inc"

int main() {
  pycnn::manual_seed(0);
  const pycnn::Tensor x = pycnn::randn({16, 1, 28, 28}), y = pycnn::randint(0, 10, {16});
#include "readme_face.inc"
  const double before = loss.item<double>();
  const double after = cross_entropy(net.forward(x), y).item<double>();
  return after < before ? 0 : 1;
}
