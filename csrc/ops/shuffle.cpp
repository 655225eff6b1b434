// Elements moved between channels and space, or between groups of channels: views and copies.
#include "ops/arguments.h"
#include "pycnn/ops.h"

namespace pycnn {
namespace {

/// The shape with its last three sizes replaced.
Shape with_last_three(Shape shape, int64_t channels, int64_t height, int64_t width) {
  const int rank = shape.size();
  shape[rank - 3] = channels;
  shape[rank - 2] = height;
  shape[rank - 1] = width;
  return shape;
}

}  // namespace

Tensor pixel_shuffle(const Tensor& input, int64_t upscale_factor) {
  const int rank = input.dim();
  check(rank >= 3, "pixel_shuffle expects input to have at least 3 dimensions, but got input with ", rank,
        " dimension(s)");
  check(upscale_factor > 0, "pixel_shuffle expects a positive upscale_factor, but got ", upscale_factor);
  const int64_t r = upscale_factor, channels = input.shape()[rank - 3], height = input.shape()[rank - 2],
                width = input.shape()[rank - 1];
  check(channels % (r * r) == 0, "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square ",
        "of upscale_factor, but input.size(-3)=", channels, " is not divisible by ", r * r);
  const int64_t outer = input.numel() == 0 ? 0 : input.numel() / (channels * height * width);
  const Shape shape = with_last_three(input.shape(), channels / (r * r), height * r, width * r);
  if (outer == 0) return reshape(input, shape);
  const Tensor parts = reshape(input, {outer, channels / (r * r), r, r, height, width});
  return reshape(permute(parts, {0, 1, 4, 2, 5, 3}), shape);
}

Tensor pixel_unshuffle(const Tensor& input, int64_t downscale_factor) {
  const int rank = input.dim();
  check(rank >= 3, "pixel_unshuffle expects input to have at least 3 dimensions, but got input with ", rank,
        " dimension(s)");
  check(downscale_factor > 0, "pixel_unshuffle expects a positive downscale_factor, but got ", downscale_factor);
  const int64_t r = downscale_factor, channels = input.shape()[rank - 3], height = input.shape()[rank - 2],
                width = input.shape()[rank - 1];
  check(height % r == 0,
        "pixel_unshuffle expects height to be divisible by downscale_factor, but input.size(-2)=", height,
        " is not divisible by ", r);
  check(width % r == 0, "pixel_unshuffle expects width to be divisible by downscale_factor, but input.size(-1)=", width,
        " is not divisible by ", r);
  const int64_t outer = input.numel() == 0 ? 0 : input.numel() / (channels * height * width);
  const Shape shape = with_last_three(input.shape(), channels * r * r, height / r, width / r);
  if (outer == 0) return reshape(input, shape);
  const Tensor parts = reshape(input, {outer, channels, height / r, r, width / r, r});
  return reshape(permute(parts, {0, 1, 3, 5, 2, 4}), shape);
}

Tensor channel_shuffle(const Tensor& input, int64_t groups) {
  check(input.dim() > 2, "channel_shuffle expects input with > 2 dims, but got input with sizes ",
        ops::brackets(input.shape()));
  check(groups > 0,
        "channel_shuffle: Number of groups to divide channels in must be positive. Value of groups:", groups);
  const Shape& shape = input.shape();
  check(shape[1] % groups == 0, "channel_shuffle: Number of channels must be divisible by groups. Got ", shape[1],
        " channels and ", groups, " groups.");
  if (input.numel() == 0) return clone(input);
  Shape parts{shape[0], groups, shape[1] / groups};
  Dimensions order{0, 2, 1};
  for (int d = 2; d < shape.size(); ++d) {
    parts.push_back(shape[d]);
    order.push_back(d + 1);
  }
  return reshape(permute(reshape(input, parts), order), shape);
}

}  // namespace pycnn
