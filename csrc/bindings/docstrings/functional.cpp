// Functions whose arguments pycnn/nn/functional.py describes under the same names; here stands what they compute.
#include "bindings/docstrings/docstrings.h"

namespace pycnn::bindings {

std::span<const Docstring> functional_docstrings() {
  using enum Family;
  static const Docstring rows[] = {
      {"conv1d", "Cross-correlation of sequences: input (N, C, L), weight (O, C/groups, K).", Functional},
      {"conv2d", "Cross-correlation of images: input (N, C, H, W), weight (O, C/groups, kH, kW).", Functional},
      {"conv3d", "Cross-correlation of volumes: input (N, C, D, H, W), weight (O, C/groups, kD, kH, kW).", Functional},
      {"conv_transpose1d", "The transpose of conv1d: input (N, C, L), weight (C, O/groups, K).", Functional},
      {"conv_transpose2d", "The transpose of conv2d: input (N, C, H, W), weight (C, O/groups, kH, kW).", Functional},
      {"conv_transpose3d", "The transpose of conv3d: input (N, C, D, H, W), weight (C, O/groups, kD, kH, kW).",
       Functional},
      {"linear", "input @ weight.T + bias: input (..., I), weight (O, I), bias (O,).", Functional},
      {"pad", "Adds or removes elements at the borders of any shape.", Functional},
      {"max_pool1d", "The largest element of every window of (N, C, L).", Functional},
      {"max_pool2d", "The largest element of every window of (N, C, H, W).", Functional},
      {"max_pool3d", "The largest element of every window of (N, C, D, H, W).", Functional},
      {"max_pool1d_with_indices",
       "(values, indices) of the windows of (N, C, L).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.max_pool1d."},
      {"max_pool2d_with_indices",
       "(values, indices) of the windows of (N, C, H, W).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.max_pool2d."},
      {"max_pool3d_with_indices",
       "(values, indices) of the windows of (N, C, D, H, W).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.max_pool3d."},
      {"avg_pool1d", "The mean of every window of (N, C, L).", Functional},
      {"avg_pool2d", "The mean of every window of (N, C, H, W).", Functional},
      {"avg_pool3d", "The mean of every window of (N, C, D, H, W).", Functional},
      {"adaptive_avg_pool1d", "Means of windows that turn (N, C, L) into (N, C, output_size).", Functional},
      {"adaptive_avg_pool2d", "Means of windows that turn (N, C, H, W) into (N, C, *output_size).", Functional},
      {"adaptive_avg_pool3d", "Means of windows that turn (N, C, D, H, W) into (N, C, *output_size).", Functional},
      {"adaptive_max_pool1d", "Largest elements of windows that turn (N, C, L) into (N, C, output_size).", Functional},
      {"adaptive_max_pool2d", "Largest elements of windows that turn (N, C, H, W) into (N, C, *output_size).",
       Functional},
      {"adaptive_max_pool3d", "Largest elements of windows that turn (N, C, D, H, W) into (N, C, *output_size).",
       Functional},
      {"adaptive_max_pool1d_with_indices",
       "(values, indices) of the windows of (N, C, L).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.adaptive_max_pool1d."},
      {"adaptive_max_pool2d_with_indices",
       "(values, indices) of the windows of (N, C, H, W).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.adaptive_max_pool2d."},
      {"adaptive_max_pool3d_with_indices",
       "(values, indices) of the windows of (N, C, D, H, W).\n\nArguments, dtypes and errors: see "
       "pycnn.nn.functional.adaptive_max_pool3d."},
      {"batch_norm", "(input - mean) / sqrt(var + eps) * weight + bias per channel of (N, C, ...).", Functional,
       "Source: Ioffe and Szegedy 2015."},
      {"local_response_norm", "input / (k + alpha * mean of squares over `size` channels)^beta on (N, C, L, ...).",
       Functional, "Source: Krizhevsky et al. 2012, section 3.3."},
      {"dropout", "Zeroes elements with probability p and divides the others by 1 - p, elementwise on any shape.",
       Functional, "Source: Srivastava et al. 2014."},
      {"dropout1d", "Zeroes channels of (N, C, L) with probability p and divides the others by 1 - p.", Functional,
       "Source: Tompson et al. 2015."},
      {"dropout2d", "Zeroes channels of (N, C, H, W) with probability p and divides the others by 1 - p.", Functional,
       "Source: Tompson et al. 2015."},
      {"dropout3d", "Zeroes channels of (N, C, D, H, W) with probability p and divides the others by 1 - p.",
       Functional, "Source: Tompson et al. 2015."},
      {"feature_dropout",
       R"(Zeroes whole channels with probability p and divides the others by 1 - p (Tompson et al. 2015).

Args:
    input: (N, C, ...), floating.
    p: the probability, in 0..1.
    training: False gives input itself.
    inplace: change input itself.

Returns:
    input's shape and dtype.

Errors: ValueError for p outside 0..1; RuntimeError for fewer than 2 dimensions or integers.)"},
      {"relu", "max(input, 0), elementwise on any shape.", Functional, "Source: Nair and Hinton 2010."},
      {"silu", "input * sigmoid(input), elementwise on any shape.", Functional, "Source: Elfwing et al. 2017."},
      {"leaky_relu", "input where positive, else negative_slope * input, elementwise on any shape.", Functional,
       "Source: Maas et al. 2013."},
      {"elu", "input where positive, else alpha * (exp(input) - 1), elementwise on any shape.", Functional,
       "Source: Clevert et al. 2016."},
      {"softplus", "log(1 + exp(beta * input)) / beta, elementwise on any shape.", Functional,
       "Source: Dugas et al. 2001."},
      {"gelu", "input * Phi(input), Phi the normal distribution function, elementwise on any shape.", Functional,
       "Source: Hendrycks and Gimpel 2016."},
      {"maxout", R"(The largest of every `pieces` consecutive channels (Goodfellow et al. 2013).

Args:
    input: (N, C, ...), any dtype.
    pieces: how many channels compete; divides C.

Returns:
    (N, C / pieces, ...), of input's dtype.

Errors: ValueError if C is not divisible by pieces, RuntimeError for fewer than 2 dimensions.)"},
      {"one_hot", "int64 (...) to (..., num_classes), 1 at the class and 0 elsewhere.", Functional},
      {"softmax", "exp(input) / sum(exp(input)) along dimension `dim` of any shape.", Functional},
      {"log_softmax", "log(softmax(input)) along dimension `dim` of any shape.", Functional},
      {"cross_entropy", "-log softmax(input)[target]: input (C,), (N, C) or (N, C, d1, ...).", Functional},
      {"nll_loss", "-input[target] of log-probabilities: input (C,), (N, C) or (N, C, d1, ...).", Functional},
      {"binary_cross_entropy",
       "-(target log(input) + (1 - target) log(1 - input)) of probabilities of any shape, reduced.", Functional},
      {"binary_cross_entropy_with_logits", "binary_cross_entropy of sigmoid(input), of any shape, without overflow.",
       Functional},
      {"mse_loss", "(input - target)^2 of any shape, reduced.", Functional},
      {"l1_loss", "|input - target| of any shape, reduced.", Functional},
  };
  return rows;
}

}  // namespace pycnn::bindings
