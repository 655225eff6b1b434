// The GPU's kernels in emulation on tensors of more than 2³¹ elements, of which they touch a few: memory that is never
// touched takes none.
#include <sys/mman.h>

#include "cuda_testing.h"
#include "kernel_programs.h"

namespace pycnn::testing_cuda {
namespace {

using kernels::ConvolutionArguments;

constexpr const char* no_room = "the system does not give that many addresses";
constexpr int64_t far = (int64_t{1} << 32) + 16;  ///< elements

/// Zeros, as many as there are addresses for.
template <typename T>
class Sparse {
 public:
  explicit Sparse(int64_t count) : bytes_(static_cast<size_t>(count) * sizeof(T)) {
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    data_ = at == MAP_FAILED ? nullptr : static_cast<T*>(at);
  }
  ~Sparse() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;

  bool there() const { return data_ != nullptr; }
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

// Rows `far` elements apart.
constexpr int64_t rows = 3, columns = 20;

TEST(CudaFarAddresses, Pointwise) {
  Sparse<float> x(rows * far), y(rows * far);
  if (!x.there() || !y.there()) GTEST_SKIP() << no_room;
  for (int64_t i = 0; i < rows * columns; ++i) x[i / columns * far + i % columns] = static_cast<float>(i);
  kernel_tests::Builder program({rows, columns});
  const uint8_t loaded = program.load(kernel_tests::f32, x.data(), DType::Float32, {far, 1});
  const uint8_t one = program.constant(kernel_tests::f32, 1);
  program.store(kernel_tests::f32, program.apply(kernels::Opcode::Add, kernel_tests::f32, loaded, one), y.data(),
                DType::Float32, {far, 1});
  cuda::pointwise(program.arguments());
  for (int64_t i = 0; i < rows * columns; ++i)
    ASSERT_EQ(y[i / columns * far + i % columns], static_cast<float>(i + 1)) << i;
}

TEST(CudaFarAddresses, Sum) {
  Sparse<float> x(rows * far);
  if (!x.there()) GTEST_SKIP() << no_room;
  for (int64_t i = 0; i < rows * columns; ++i) x[i / columns * far + i % columns] = static_cast<float>(i);
  for (const bool over_rows : {false, true}) {
    kernel_tests::Builder program({rows, columns});
    Guarded<float> sums(over_rows ? columns : rows);
    kernels::Accumulation accumulation{};
    accumulation.kind = kernels::ReduceKind::Sum;
    accumulation.source = program.load(kernel_tests::f32, x.data(), DType::Float32, {far, 1});
    accumulation.output = {sums.data(), DType::Float32, {over_rows ? 0 : 1, over_rows ? 1 : 0}};
    kernels::ReduceArguments a{};
    a.prologue = program.arguments();
    a.reduced[over_rows ? 0 : 1] = true;
    a.accumulations = &accumulation;
    a.accumulation_count = 1;
    std::vector<unsigned char> workspace(cuda::reduce_workspace(a) + 1);
    a.workspace = workspace.data();
    cuda::reduce(a);
    for (int64_t i = 0; i < sums.size(); ++i) {
      float expected = 0;
      for (int64_t j = 0; j < (over_rows ? rows : columns); ++j)
        expected += static_cast<float>(over_rows ? j * columns + i : i * columns + j);
      ASSERT_EQ(sums[i], expected) << i;
    }
  }
}

TEST(CudaFarAddresses, GatherAndScatter) {
  const std::vector<int64_t> index = {2, 0};
  const auto count = static_cast<int64_t>(index.size());
  Sparse<float> table(rows * far), values(count * far);
  if (!table.there() || !values.there()) GTEST_SKIP() << no_room;
  for (int64_t i = 0; i < rows * columns; ++i) table[i / columns * far + i % columns] = static_cast<float>(i);
  kernels::IndexArguments a{};
  a.dtype = DType::Float32;
  a.loops = 2;
  a.axis = 0;
  a.sizes[0] = count, a.sizes[1] = columns;
  a.values = {values.data(), DType::Float32, {far, 1}};
  a.index = {const_cast<int64_t*>(index.data()), DType::Int64, {1, 0}};
  a.table = {table.data(), DType::Float32, {0, 1}};
  a.axis_stride = far;
  a.axis_size = rows;
  ASSERT_TRUE(cuda::gather(a));
  for (int64_t i = 0; i < count * columns; ++i)
    ASSERT_EQ(values[i / columns * far + i % columns],
              table[index[static_cast<size_t>(i / columns)] * far + i % columns]);
  ASSERT_TRUE(cuda::scatter_add(a));
  for (int64_t i = 0; i < rows * columns; ++i)
    ASSERT_EQ(table[i / columns * far + i % columns], static_cast<float>(i / columns == 1 ? i : 2 * i)) << i;
}

TEST(CudaFarAddresses, Matmul) {
  constexpr int64_t k = 24, n = 16;
  Sparse<float> a(rows * far), c(rows * far);
  Guarded<float> b(random_steps<float>(k * n, 1));
  if (!a.there() || !c.there()) GTEST_SKIP() << no_room;
  for (int64_t i = 0; i < rows * k; ++i) a[i / k * far + i % k] = static_cast<float>(i % 7);
  kernels::MatmulArguments g{};
  g.dtype = DType::Float32;
  g.batch[0] = g.batch[1] = 1;
  g.m = rows, g.n = n, g.k = k;
  g.a = a.data(), g.b = b.data(), g.c = c.data();
  g.a_row = far, g.a_column = 1, g.b_row = n, g.b_column = 1, g.c_row = far;
  g.forced = true;
  for (const kernels::MatmulAlgorithm* algorithm = cuda::matmul; algorithm->name != nullptr; ++algorithm) {
    if (algorithm->declines(g) != nullptr) continue;
    std::vector<unsigned char> workspace(algorithm->workspace(g) + 1);
    g.workspace = workspace.data();
    for (int64_t i = 0; i < rows * n; ++i) c[i / n * far + i % n] = NAN;
    algorithm->run(g);
    for (int64_t i = 0; i < rows * n; ++i) {
      float expected = 0;
      for (int64_t j = 0; j < k; ++j) expected += a[i / n * far + j] * b[j * n + i % n];
      ASSERT_EQ(c[i / n * far + i % n], expected) << algorithm->name << " " << i;
    }
  }
}

/// One dimension of 2²⁶ positions, of which a stride of as many less one leaves two: the first and nearly the last.
void check_convolution(int64_t groups) {
  constexpr int64_t size = int64_t{1} << 26, channels = 64, stride = size - 1;
  static_assert(stride * channels > int64_t{1} << 31);
  Sparse<float> input(size * channels);
  if (!input.there()) GTEST_SKIP() << no_room;
  const int64_t in = channels / groups;
  Guarded<float> weight(random_steps<float>(channels * in, 1)), output(2 * channels);
  for (int64_t i = 0; i < 2 * channels; ++i)
    input[i / channels * stride * channels + i % channels] = static_cast<float>(i % 5);
  ConvolutionArguments a{};
  a.shape = {1, groups, channels, channels, {1, 1, size}, {1, 1, 2}, {1, 1, 1}, {1, 1, stride}, {}, {1, 1, 1}};
  a.dtype = DType::Float32;
  a.input = input.data(), a.weight = weight.data(), a.output = output.data();
  a.weight_strides[0] = in, a.weight_strides[1] = 1, a.weight_strides[2] = 1;
  a.forced = true;
  int run = 0;
  for (const kernels::ConvolutionAlgorithm* algorithm = cuda::convolution_forward; algorithm->name != nullptr;
       ++algorithm) {
    if (algorithm->declines(a) != nullptr) continue;
    ++run;
    std::vector<unsigned char> workspace(algorithm->workspace(a) + 256);
    a.workspace = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(workspace.data()) + 255) / 256 * 256);
    std::memset(output.data(), 0xFF, static_cast<size_t>(output.size()) * sizeof(float));
    algorithm->run(a);
    for (int64_t i = 0; i < output.size(); ++i) {
      const int64_t pixel = i / channels, o = i % channels;
      float expected = 0;
      for (int64_t c = 0; c < in; ++c)
        expected += input[pixel * stride * channels + o / (channels / groups) * in + c] * weight[o * in + c];
      ASSERT_EQ(output[i], expected) << algorithm->name << " " << i;
    }
  }
  ASSERT_GT(run, 1);
}

TEST(CudaFarAddresses, Convolution) {
  check_convolution(1);
  check_convolution(64);
}

/// Batches of 2²⁸ pixels and 8 channels, whose last window alone is looked at.
TEST(CudaFarAddresses, Pooling) {
  constexpr int64_t side = int64_t{1} << 14, channels = 8, batch = 3;
  Sparse<float> input(batch * side * side * channels);
  if (!input.there()) GTEST_SKIP() << no_room;
  const int64_t begin[] = {0, side - 2, side - 2}, end[] = {1, side, side}, one = 1;
  Guarded<float> output(batch * channels);
  Guarded<uint8_t> offsets(batch * channels);
  const auto element = [&](int64_t n, int64_t pixel) {
    return ((n * side + side - 2 + pixel / 2) * side + side - 2 + pixel % 2) * channels;
  };
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t i = 0; i < 4 * channels; ++i)
      input[element(n, i / channels) + i % channels] = static_cast<float>(n + (i / channels + i) % 4);
  kernels::PoolingArguments a{};
  a.dtype = DType::Float32;
  a.batch = batch, a.channels = channels;
  for (int d = 0; d < 3; ++d) {
    a.input_size[d] = d == 0 ? 1 : side;
    a.output_size[d] = 1;
    a.begin[d] = &begin[d], a.end[d] = &end[d], a.divisor[d] = &one;
    a.step[d] = 1;
    a.taps[d] = d == 0 ? 1 : 2;
  }
  a.input = input.data(), a.output = output.data(), a.offsets = offsets.data();
  cuda::max_pool(a);
  for (int64_t i = 0; i < output.size(); ++i) {
    float expected = 0;
    for (int64_t pixel = 0; pixel < 4; ++pixel)
      expected = std::max(expected, input[element(i / channels, pixel) + i % channels]);
    ASSERT_EQ(output[i], expected) << i;
  }
  a.offsets = nullptr;
  cuda::average_pool(a);
  for (int64_t i = 0; i < output.size(); ++i) {
    float expected = 0;
    for (int64_t pixel = 0; pixel < 4; ++pixel) expected += input[element(i / channels, pixel) + i % channels];
    ASSERT_EQ(output[i], expected) << i;
  }
}

}  // namespace
}  // namespace pycnn::testing_cuda
