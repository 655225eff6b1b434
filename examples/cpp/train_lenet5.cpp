// Trains LeNet-5 on a folder of IDX files (MNIST, Fashion-MNIST, …) without Python.
#include <pycnn/pycnn.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "lenet5.h"

namespace {

using namespace pycnn;

struct Arguments {
  std::string folder;
  int64_t epochs = 5;
  int64_t batch_size = 64;
  double lr = 0.02;
  uint64_t seed = 0;
  std::string out = "lenet5.safetensors";
};

constexpr const char* usage =
    "usage: train_lenet5 FOLDER [--epochs N] [--batch-size N] [--lr X] [--seed N] [--out FILE]\n"
    "FOLDER holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte.\n";

template <typename T>
T number(std::string_view option, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check<ValueError>(error == std::errc() && end == text.data() + text.size() && value >= T{}, option,
                    ": expected a number that is not negative, got '", text, "'");
  return value;
}

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string_view option = values[i];
    if (!option.starts_with("--")) {
      check<ValueError>(arguments.folder.empty(), "one folder is expected, got a second: ", option);
      arguments.folder = option;
      continue;
    }
    check<ValueError>(i + 1 < count, option, ": a value is missing");
    const std::string_view text = values[++i];
    if (option == "--epochs")
      arguments.epochs = number<int64_t>(option, text);
    else if (option == "--batch-size")
      arguments.batch_size = number<int64_t>(option, text);
    else if (option == "--lr")
      arguments.lr = number<double>(option, text);
    else if (option == "--seed")
      arguments.seed = number<uint64_t>(option, text);
    else if (option == "--out")
      arguments.out = text;
    else
      fail<ValueError>("unknown option ", option);
  }
  check<ValueError>(!arguments.folder.empty(), "a folder of IDX files is missing");
  check<ValueError>(arguments.batch_size > 0, "--batch-size must be positive");
  return arguments;
}

struct Examples {
  Tensor images;  ///< (N, 1, 28, 28), in [0, 1]
  Tensor labels;  ///< (N), int64
  int64_t size() const { return labels.size(0); }
};

Examples load(const std::string& folder, const std::string& prefix) {
  const std::filesystem::path path(folder);
  const Tensor images = io::load_idx((path / (prefix + "-images-idx3-ubyte")).string());
  const Tensor labels = io::load_idx((path / (prefix + "-labels-idx1-ubyte")).string());
  check<ValueError>(images.dim() == 3 && images.size(1) == 28 && images.size(2) == 28, "images have shape ",
                    images.shape(), ", expected (N, 28, 28)");
  check<ValueError>(labels.dim() == 1 && labels.size(0) == images.size(0), "labels have shape ", labels.shape(),
                    " for ", images.size(0), " images");
  Examples examples{unsqueeze(cast(images, DType::Float32) / 255.0, 1), cast(labels, DType::Int64)};
  evaluate(Tensors{examples.images, examples.labels});
  return examples;
}

double accuracy(LeNet5& net, const Examples& examples) {
  constexpr int64_t batch_size = 500;
  NoGradGuard guard;
  net.eval();
  int64_t correct = 0;
  for (int64_t start = 0; start < examples.size(); start += batch_size) {
    const int64_t count = std::min(batch_size, examples.size() - start);
    const Tensor predictions = argmax(net(narrow(examples.images, 0, start, count)), 1);
    correct += sum(predictions == narrow(examples.labels, 0, start, count)).item<int64_t>();
  }
  return static_cast<double>(correct) / static_cast<double>(examples.size());
}

void train(const Arguments& arguments) {
  manual_seed(arguments.seed);
  const Examples training = load(arguments.folder, "train"), test = load(arguments.folder, "t10k");
  check<ValueError>(training.size() > 0 && test.size() > 0, "the data set is empty");
  const int64_t classes = max(training.labels).item<int64_t>() + 1;
  std::printf("%lld training and %lld test images, %lld classes\n", static_cast<long long>(training.size()),
              static_cast<long long>(test.size()), static_cast<long long>(classes));

  LeNet5 net(classes);
  optim::SGD sgd(net.parameters(), {.lr = arguments.lr, .momentum = 0.9, .nesterov = true});
  for (int64_t epoch = 1; epoch <= arguments.epochs; ++epoch) {
    const auto begin = std::chrono::steady_clock::now();
    net.train();
    const Tensor order = randperm(training.size());
    double total = 0;
    for (int64_t start = 0; start < training.size(); start += arguments.batch_size) {
      const int64_t count = std::min(arguments.batch_size, training.size() - start);
      const Tensor batch = narrow(order, 0, start, count);
      const Tensor loss =
          cross_entropy(net(index_select(training.images, 0, batch)), index_select(training.labels, 0, batch));
      loss.backward();
      sgd.step();
      sgd.zero_grad();
      total += loss.item<double>() * static_cast<double>(count);
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("epoch %lld/%lld: loss %.4f, test accuracy %.2f %%, %.1f s\n", static_cast<long long>(epoch),
                static_cast<long long>(arguments.epochs), total / static_cast<double>(training.size()),
                100 * accuracy(net, test), seconds);
    std::fflush(stdout);
  }
  std::printf("test accuracy: %.2f %%\n", 100 * accuracy(net, test));
  io::save_safetensors(arguments.out, {.tensors = net.state_dict(), .metadata = {{"model", "lenet5"}}});
  std::printf("saved %s\n", arguments.out.c_str());
}

}  // namespace

int main(int count, char** values) {
  Arguments arguments;
  try {
    arguments = parse(count, values);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_lenet5: %s\n%s", error.what(), usage);
    return 2;
  }
  try {
    train(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_lenet5: %s\n", error.what());
    return 1;
  }
  return 0;
}
