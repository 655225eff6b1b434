// Matrix products of linear layers and attention, in the orders in which training needs them.
#include <string_view>

#include "kernel_benchmarks.h"

namespace pycnn::kernel_benchmarks {
namespace {

using kernels::MatmulAlgorithm;
using kernels::MatmulArguments;

struct Product {
  int64_t m, n, k;
  bool a_transposed, b_transposed;
};

constexpr Product products[] = {
    {64, 120, 400, false, true},     // a linear layer of LeNet-5
    {400, 120, 64, true, false},     // gradient of its weight
    {1, 4096, 9216, false, true},    // AlexNet, one image
    {32, 4096, 9216, false, true},   // AlexNet, a batch
    {32, 9216, 4096, false, false},  // gradient of its input
    {1024, 1024, 1024, false, false},
};

MatmulArguments arguments_of(const Product& product) {
  MatmulArguments arguments{};
  arguments.dtype = DType::Float32;
  arguments.batch[0] = arguments.batch[1] = 1;
  arguments.m = product.m, arguments.n = product.n, arguments.k = product.k;
  arguments.a_row = product.a_transposed ? 1 : product.k, arguments.a_column = product.a_transposed ? product.m : 1;
  arguments.b_row = product.b_transposed ? 1 : product.n, arguments.b_column = product.b_transposed ? product.k : 1;
  arguments.c_row = product.n;
  return arguments;
}

void run(benchmark::State& state, const MatmulAlgorithm& algorithm, const Product& product) {
  const auto& [m, n, k, a_transposed, b_transposed] = product;
  const Buffer a = Buffer::of_floats(m * k), b = Buffer::of_floats(k * n), c = Buffer::of_floats(m * n);
  MatmulArguments arguments = arguments_of(product);
  arguments.a = a.data(), arguments.b = b.data(), arguments.c = c.data();
  const Buffer workspace(algorithm.workspace(arguments));
  arguments.workspace = workspace.data();
  measure(state, 2.0 * static_cast<double>(m * n * k), 4.0 * static_cast<double>(m * k + k * n + m * n),
          [&] { algorithm.run(arguments); });
}

}  // namespace

void add_matmuls() {
  for (const Product& product : products) {
    for (const MatmulAlgorithm* algorithm = cpu::active_kernels().matmul;
         algorithm->name != nullptr && std::string_view(algorithm->name) != "reference"; ++algorithm) {
      if (algorithm->declines(arguments_of(product)) != nullptr) continue;
      add("matmul/" + std::to_string(product.m) + "x" + std::to_string(product.n) + "x" + std::to_string(product.k) +
              (product.a_transposed ? "/a_transposed" : "") + (product.b_transposed ? "/b_transposed" : "") + "/" +
              algorithm->name,
          [=](benchmark::State& state) { run(state, *algorithm, product); });
    }
  }
}

}  // namespace pycnn::kernel_benchmarks
