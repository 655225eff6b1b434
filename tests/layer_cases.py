"""One row per layer and loss of pycnn.nn: how it is made, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from case import Input, apart, constant, distinct, integers, normal, positive, probabilities, unit, values

Build = Callable[[Any], Any]


@dataclass(frozen=True)
class LayerCase:
    """`build` takes `pycnn.nn` or `torch.nn`.

    call: calls the layer with tensors, if that is more than layer(*tensors); takes the package, the layer, the tensors.
    random: in training it draws numbers, which differ from PyTorch's; there it is compared in evaluation mode.
    torch: whether PyTorch has it.
    derivative: whether its gradient is its result's derivative.
    """

    name: str
    build: Build
    inputs: tuple[Input, ...]
    call: Callable[..., Any] | None = None
    random: bool = False
    torch: bool = True
    derivative: bool = True


LAYERS: dict[str, LayerCase] = {}


def add(
    name: str, *inputs: Input, build: Build | None = None, arguments: tuple[Any, ...] = (),
    call: Callable[..., Any] | None = None, random: bool = False, torch: bool = True,
    derivative: bool = True, **options: Any,
) -> None:  # fmt: skip
    """A row for the class `name`, made with `arguments` and `options` or by `build`."""
    made = build or (lambda nn: getattr(nn, name)(*arguments, **options))
    LAYERS[name] = LayerCase(name, made, inputs, call, random, torch, derivative)


SIZES = {1: (7,), 2: (6, 5), 3: (4, 3, 5)}


def image(dimensions: int, channels: int = 4, batch: int = 2, kind: Callable[..., Input] = normal) -> Input:
    return kind(batch, channels, *SIZES[dimensions])


# -- convolutions, padding, pooling ------------------------------------------------------------------------------------
for d in (1, 2, 3):
    add(f"Conv{d}d", image(d), arguments=(4, 6, 3), padding=1, groups=2, padding_mode="circular")
    add(f"ConvTranspose{d}d", image(d), arguments=(4, 6, 3, 2, 1), output_padding=1, groups=2)
    add(f"LazyConv{d}d", image(d), arguments=(6, 3), stride=2, padding=2, dilation=2)
    add(f"LazyConvTranspose{d}d", image(d), arguments=(6, 2))
    add(f"MaxPool{d}d", image(d, kind=distinct), arguments=(3, 2), padding=1, ceil_mode=True)
    add(f"AvgPool{d}d", image(d), arguments=(3, 2), padding=1, count_include_pad=False)
    add(f"LPPool{d}d", image(d, kind=positive), arguments=(2.5, 2))
    add(f"AdaptiveAvgPool{d}d", image(d), arguments=(3,))
    add(f"AdaptiveMaxPool{d}d", image(d, kind=distinct), arguments=(3,))
    for kind in ("Circular", "Reflection", "Replication", "Zero"):
        add(f"{kind}Pad{d}d", image(d), arguments=((1, 2) * d,))
    add(f"ConstantPad{d}d", image(d), arguments=((1, 2) * d, 0.5))
    add(f"BatchNorm{d}d", image(d), arguments=(4,))
    add(f"LazyBatchNorm{d}d", image(d))
    add(f"InstanceNorm{d}d", image(d), arguments=(4,), affine=True, track_running_stats=True)
    add(f"LazyInstanceNorm{d}d", image(d), affine=True)
    add(f"Dropout{d}d", image(d), arguments=(0.4,), random=True)


def unpool(dimensions: int) -> Callable[..., Any]:
    def call(package: Any, layer: Any, x: Any) -> Any:
        pool = getattr(package.nn, f"MaxPool{dimensions}d")(2, return_indices=True)
        return layer(*pool(x))

    return call


for d in (1, 2, 3):
    add(f"MaxUnpool{d}d", distinct(2, 3, *(4,) * d), arguments=(2,), call=unpool(d))
for d in (2, 3):

    def fractional(package: Any, layer: Any, x: Any, d: int = d) -> Any:
        layer._random_samples = package.full((2, 4, d), 0.3, dtype=x.dtype)
        return layer(x)

    add(f"FractionalMaxPool{d}d", distinct(2, 4, *(6,) * d), arguments=(2, 3), call=fractional)

# -- normalisation -----------------------------------------------------------------------------------------------------
add("GroupNorm", image(2), arguments=(2, 4))
add("LayerNorm", normal(2, 3, 4, 5), arguments=((4, 5),))
add("RMSNorm", normal(2, 3, 5), arguments=(5,))
add("LocalResponseNorm", image(2), arguments=(3,))
# PyTorch's gradient is not that of its result.
add("CrossMapLRN2d", image(2), arguments=(3,), derivative=False)
add("SyncBatchNorm", image(2), arguments=(4,))

# -- activations -------------------------------------------------------------------------------------------------------
for name in ("ELU", "CELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
             "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "Sigmoid", "SiLU", "Softplus", "Softshrink", "Softsign", "Tanh",
             "Tanhshrink"):  # fmt: skip
    # Multiples of 0.1 off by 0.05: no kink is near.
    add(name, distinct(3, 4, 5))
add("RReLU", apart(3, 4), random=True)
add("Threshold", distinct(3, 4, 5), arguments=(0.2, -1.0))
add("GLU", normal(3, 4), arguments=(1,))
add("Maxout", distinct(2, 6, 5), arguments=(2,), torch=False)
for name in ("Softmax", "LogSoftmax", "Softmin"):
    add(name, normal(3, 4), arguments=(1,))
add("Softmax2d", image(2))

# -- linear, shapes, tables --------------------------------------------------------------------------------------------
add("Linear", normal(3, 5), arguments=(5, 4))
add("LazyLinear", normal(3, 5), arguments=(4,))
add("Bilinear", normal(3, 5), normal(3, 4), arguments=(5, 4, 2))
add("Identity", normal(3, 5))
add("Flatten", normal(2, 3, 4))
add("Unflatten", normal(2, 6), arguments=(1, (2, 3)))
add("Embedding", integers(0, 5, 3, 4), arguments=(5, 3))
add("EmbeddingBag", integers(0, 5, 3, 4), arguments=(5, 3), mode="mean")
add("Unfold", image(2), arguments=((2, 3),), padding=1)
add("Fold", normal(2, 8, 12), arguments=((4, 5), (2, 2)))
add("PixelShuffle", normal(1, 8, 2, 3), arguments=(2,))
add("PixelUnshuffle", normal(1, 2, 4, 6), arguments=(2,))
add("ChannelShuffle", image(2), arguments=(2,))
add("Upsample", image(2), scale_factor=2, mode="bicubic")
add("UpsamplingNearest2d", image(2), scale_factor=2)
add("UpsamplingBilinear2d", image(2), size=(7, 9))
for name in ("Dropout", "AlphaDropout", "FeatureAlphaDropout"):
    add(name, image(1), arguments=(0.3,), random=True)
add("CosineSimilarity", normal(3, 5), normal(3, 5))
add("PairwiseDistance", normal(3, 5), normal(3, 5))

# -- sequences ---------------------------------------------------------------------------------------------------------
for name in ("RNN", "LSTM", "GRU"):
    add(name, normal(4, 2, 5), arguments=(5, 3), num_layers=2, bidirectional=True)
    add(f"{name}Cell", normal(2, 5), arguments=(5, 3))
add("AdaptiveLogSoftmaxWithLoss", normal(5, 8), integers(0, 10, 5), arguments=(8, 10, [3, 6], 2.0, True))
add("MultiheadAttention", normal(4, 2, 6), normal(3, 2, 6), normal(3, 2, 6), arguments=(6, 2))
for kind in ("Encoder", "Decoder"):
    memory = (normal(3, 2, 6),) if kind == "Decoder" else ()
    one = f"Transformer{kind}Layer"
    add(one, normal(4, 2, 6), *memory, arguments=(6, 2, 8), dropout=0.2, random=True)
    add(
        f"Transformer{kind}", normal(4, 2, 6), *memory, random=True,
        build=lambda nn, kind=kind, one=one: getattr(nn, f"Transformer{kind}")(getattr(nn, one)(6, 2, 8, 0.2), 2),
    )  # fmt: skip
add("Transformer", normal(4, 2, 6), normal(3, 2, 6), arguments=(6, 2, 1, 1, 8), random=True)

# -- blocks that PyTorch does not have ---------------------------------------------------------------------------------
add("SqueezeExcitation", image(2), arguments=(4, 2), torch=False)
add("BlurPool2d", image(2), arguments=(4,), torch=False)
add("SpatialPyramidPooling", image(2, kind=distinct), torch=False)
add("DropPath", image(2), arguments=(0.4,), torch=False, random=True)
add("StochasticDepth", image(2), arguments=(0.4, "row"), torch=False, random=True)

# -- losses ------------------------------------------------------------------------------------------------------------
signs = values(1.0, -1.0, 1.0, dtype="float64")
add("L1Loss", apart(3, 4), constant(Input(lambda rng: rng.uniform(-0.01, 0.01, (3, 4)))))
add("MSELoss", normal(3, 4), normal(3, 4))
for name in ("SmoothL1Loss", "HuberLoss"):
    add(name, normal(3, 4), constant(normal(3, 4)))
add("CrossEntropyLoss", normal(3, 4), integers(0, 4, 3), label_smoothing=0.1)
add("NLLLoss", normal(3, 4), integers(0, 4, 3))
add("NLLLoss2d", normal(2, 4, 3, 3), integers(0, 4, 2, 3, 3))
add("BCELoss", unit(3, 4), constant(unit(3, 4)))
add("LinearCrossEntropyLoss", normal(3, 5), integers(0, 4, 3, 2), arguments=(5, 4), out_features=(2,), bias=True)
add("BCEWithLogitsLoss", normal(3, 4), constant(unit(3, 4)))
add("KLDivLoss", normal(3, 4), constant(probabilities(3, 4)), reduction="batchmean")
add("PoissonNLLLoss", normal(3, 4), constant(positive(3, 4)))
add("GaussianNLLLoss", normal(3, 4), constant(normal(3, 4)), positive(3, 4))
add("HingeEmbeddingLoss", unit(3), constant(signs))
add("SoftMarginLoss", normal(3), constant(signs))
add("MarginRankingLoss", distinct(3), normal(3), constant(signs))
add("CosineEmbeddingLoss", normal(3, 4), normal(3, 4), constant(signs))
add("MultiMarginLoss", normal(3, 4), integers(0, 4, 3))
add("MultiLabelMarginLoss", normal(1, 4), values([1, 3, -1, 0]))
add("MultiLabelSoftMarginLoss", normal(3, 4), constant(unit(3, 4)))
add("TripletMarginLoss", normal(3, 4), normal(3, 4), normal(3, 4))
add("TripletMarginWithDistanceLoss", normal(3, 4), normal(3, 4), normal(3, 4))
add(
    "CTCLoss", normal(6, 2, 4), integers(1, 4, 2, 3),
    call=lambda package, layer, x, y: layer(x.log_softmax(2), y, package.tensor([6, 5]), package.tensor([3, 2])),
)  # fmt: skip
