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
      {"layer_norm", "(input - mean) / sqrt(var + eps) * weight + bias over the last dimensions of any shape.",
       Functional, "Source: Ba et al. 2016."},
      {"rms_norm", "input / sqrt(mean of squares + eps) * weight over the last dimensions of any shape.", Functional,
       "Source: Zhang and Sennrich 2019."},
      {"group_norm", "(input - mean) / sqrt(var + eps) * weight + bias over groups of channels of (N, C, ...).",
       Functional, "Source: Wu and He 2018."},
      {"instance_norm", "(input - mean) / sqrt(var + eps) * weight + bias over each channel of each of (N, C, ...).",
       Functional, "Source: Ulyanov et al. 2016."},
      {"_interpolate", "Resizes (N, C, ...) to (N, C, *size); see pycnn.nn.functional.interpolate."},
      {"_unfold", "(N, C, H, W) to its windows as columns; see pycnn.nn.functional.unfold."},
      {"_fold", "Columns added up to (N, C, *output_size); see pycnn.nn.functional.fold."},
      {"_grid_sample", "Elements of (N, C, ...) at the places of a grid; see pycnn.nn.functional.grid_sample."},
      {"affine_grid_generator", R"(A grid of sampling places, transformed by affine maps.

Arguments, dtypes and errors: see pycnn.nn.functional.affine_grid. `size` is the shape of what grid_sample will give.)"},
      {"pixel_shuffle", "(..., C r^2, H, W) to (..., C, H r, W r) with r = upscale_factor.", Functional,
       "Source: Shi et al. 2016."},
      {"pixel_unshuffle", "(..., C, H r, W r) to (..., C r^2, H, W) with r = downscale_factor.", Functional},
      {"channel_shuffle", "Channels of (N, groups * n, ...) in the order 0, n, 2 n, ..., 1, n + 1, ....", Functional,
       "Source: Zhang et al. 2018."},
      {"dropout", "Zeroes elements with probability p and divides the others by 1 - p, elementwise on any shape.",
       Functional, "Source: Srivastava et al. 2014."},
      {"dropout1d", "Zeroes channels of (N, C, L) or (C, L) with probability p and divides the others by 1 - p.",
       Functional, "Source: Tompson et al. 2015."},
      {"dropout2d", "Zeroes channels of (N, C, H, W) with probability p and divides the others by 1 - p.", Functional,
       "Source: Tompson et al. 2015."},
      {"dropout3d",
       "Zeroes channels of (N, C, D, H, W) or (C, D, H, W) with probability p and divides the others by 1 - p.",
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
      {"relu6", "min(max(0, input), 6), elementwise on any shape.", Functional, "Source: Krizhevsky 2010."},
      {"hardtanh", "min(max(min_val, input), max_val), elementwise on any shape.", Functional},
      {"hardsigmoid", "min(max(input + 3, 0), 6) / 6, elementwise on any shape.", Functional,
       "Source: Howard et al. 2019."},
      {"hardswish", "input * hardsigmoid(input), elementwise on any shape.", Functional, "Source: Howard et al. 2019."},
      {"hardshrink", "input where |input| > lambd, else 0, elementwise on any shape.", Functional},
      {"softshrink", "input moved towards 0 by lambd, elementwise on any shape.", Functional},
      {"tanhshrink", "input - tanh(input), elementwise; of input's shape, floating.", Functional},
      {"threshold", "input where it is above `threshold`, else `value`, elementwise on any shape.", Functional},
      {"selu", "elu with the constants that keep mean and variance, elementwise on any shape.", Functional,
       "Source: Klambauer et al. 2017."},
      {"celu", "input where positive, else alpha * (exp(input / alpha) - 1), elementwise on any shape.", Functional,
       "Source: Barron 2017."},
      {"mish", "input * tanh(log(1 + exp(input))), elementwise on any shape.", Functional, "Source: Misra 2019."},
      {"softsign", "input / (1 + |input|), elementwise; of input's shape, floating.", Functional},
      {"softmin", "softmax(-input) along dimension `dim` of any shape.", Functional},
      {"rrelu", "leaky_relu with slopes drawn from [lower, upper) in training, elementwise on any shape.", Functional,
       "Source: Xu et al. 2015."},
      {"prelu", "leaky_relu with learned slopes, one for any shape or one per channel of (N, C, ...).", Functional,
       "Source: He et al. 2015."},
      {"glu", "The first half along dimension `dim` times sigmoid of the second half.", Functional,
       "Source: Dauphin et al. 2017."},
      {"normalize", "input / max(its p-norm along dimension `dim`, eps), of any shape.", Functional},
      {"cosine_similarity", "The cosine of the angle between vectors along dimension `dim` of any shapes.", Functional},
      {"pairwise_distance", "The p-norm of x1 - x2 + eps along the last dimension of any shapes.", Functional},
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
      {"smooth_l1_loss", "Squares of small differences of any shape, the linear rest, reduced.", Functional,
       "Source: Girshick 2015."},
      {"huber_loss", "Squares of differences up to delta of any shape, linear beyond, reduced.", Functional,
       "Source: Huber 1964."},
      {"kl_div", "target * (log(target) - input) of any shape, reduced.", Functional},
      {"poisson_nll_loss", "exp(input) - target * input of any shape, reduced.", Functional},
      {"gaussian_nll_loss", "(log(var) + (input - target)^2 / var) / 2 of any shape, reduced.", Functional},
      {"hinge_embedding_loss", "input where target is 1, max(0, margin - input) where it is -1, of any shape, reduced.",
       Functional},
      {"soft_margin_loss", "log(1 + exp(-target * input)) of any shape, reduced.", Functional},
      {"margin_ranking_loss", "max(0, -target * (input1 - input2) + margin) of any shape, reduced.", Functional},
      {"cosine_embedding_loss", "1 - cosine of pairs (N, D) with target 1, max(0, cosine - margin) with -1, reduced.",
       Functional},
      {"multilabel_margin_loss", "Margins of the labels' scores over all others: input (C,) or (N, C).", Functional},
      {"multilabel_soft_margin_loss", "Mean binary cross-entropy over the classes of logits (..., C), reduced.",
       Functional},
      {"multi_margin_loss", "Margins of the target's score over all others: input (C,) or (N, C).", Functional,
       "Source: Crammer and Singer 2001."},
      {"triplet_margin_loss", "max(0, |anchor - positive| - |anchor - negative| + margin) of vectors (N, D), reduced.",
       Functional, "Source: Balntas et al. 2016."},
      {"ctc_loss", "-log of the probability of all paths that spell the targets: log_probs (T, N, C) or (T, C).",
       Functional, "Source: Graves et al. 2006."},
      {"mse_loss", "(input - target)^2 of any shape, reduced.", Functional},
      {"l1_loss", "|input - target| of any shape, reduced.", Functional},
  };
  return rows;
}

}  // namespace pycnn::bindings
