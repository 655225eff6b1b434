// The README's C++ example, with a batch so small in values that one step cannot overshoot; the loss falls.
#include "readme_includes.inc"

int main() {
  pycnn::manual_seed(0);
  const pycnn::Tensor x = pycnn::randn({16, 1, 28, 28}) * 0.3, y = pycnn::randint(0, 10, {16});
#include "readme_face.inc"
  const double before = loss.item<double>();
  const double after = cross_entropy(net.forward(x), y).item<double>();
  return after < before ? 0 : 1;
}
