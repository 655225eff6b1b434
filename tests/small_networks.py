"""The networks of pycnn.models, small enough to train in a test, and inputs for them."""

from __future__ import annotations

import numpy as np

# Networks small enough to train in a test: class, arguments, keywords, inputs. Linear layers before a ReLU keep some 32
# units: of fewer, all may be dead for all samples, at the start or after a large first step, and nothing is learned.
SMALL = {
    "LinearClassifier": ((5, 3 * 8 * 8), {}, [(4, 3, 8, 8)]),
    "MLP": ((5, 3 * 8 * 8, (64, 32)), {}, [(4, 3, 8, 8)]),
    "LeNet1": ((), {}, [(3, 1, 28, 28)]),
    "LeNet5": ((), {}, [(3, 1, 28, 28)]),
    "LeNet5Original": ((), {}, [(3, 1, 32, 32)]),
    "AlexNet": ((5,), {"hidden": 64}, [(2, 3, 64, 64)]),
    "AlexNetOriginal": ((5,), {"hidden": 64}, [(2, 3, 227, 227)]),
    "VGG": (("A-LRN", False, 5), {"width": 1 / 16, "hidden": 64}, [(2, 3, 32, 32)]),
    "VGG C with BN": (("C", True, 5), {"width": 1 / 16, "hidden": 64}, [(2, 3, 32, 32)]),
    "GoogLeNet": ((5,), {"aux_logits": True}, [(2, 3, 64, 64)]),
    "BNInception": ((5,), {}, [(2, 3, 64, 64)]),
    "InceptionV3": ((5,), {}, [(2, 3, 75, 75)]),
    "InceptionResNetV2": ((5,), {"repeats": (1, 1, 2)}, [(2, 3, 75, 75)]),
    "ResNet": (("BasicBlock", (1, 2, 1, 1), 5), {"base": 8, "reduction": 4}, [(2, 3, 64, 64)]),
    "ResNet plain": (("BasicBlock", (1, 2, 1, 1), 5), {"base": 8, "shortcut": False}, [(2, 3, 64, 64)]),
    "ResNet bottleneck": (("Bottleneck", (1, 2, 1, 1), 5), {"base": 8, "stride_in_1x1": True}, [(2, 3, 64, 64)]),
    "ResNet groups": (
        ("Bottleneck", (1, 1, 1, 1), 5),
        {"groups": 4, "width_per_group": 8, "base": 16, "replace_stride_with_dilation": (False, True, True)},
        [(2, 3, 64, 64)],
    ),
    "CIFARResNet": ((2, 5), {"width": 8}, [(3, 3, 32, 32)]),
    "DenseNet": (((2, 2, 2), 4, 8, 5), {}, [(2, 3, 64, 64)]),
    "MobileNetV1": ((5,), {"width": 0.25}, [(2, 3, 64, 64)]),
    "MobileNetV2": ((5,), {"width": 0.25}, [(2, 3, 64, 64)]),
    "MobileNetV3": (("_SMALL", 1024, 5), {"width": 0.25}, [(2, 3, 64, 64)]),
    "EfficientNetLite": ((0.25, 0.5, 5), {}, [(2, 3, 65, 65)]),
    "SqueezeNet": (("1_0", 5), {}, [(2, 3, 64, 64)]),
    "ShuffleNetV2": (((8, 16, 32, 64, 64), (2, 2, 2), 5), {}, [(2, 3, 64, 64)]),
    "FCN8s": ((5,), {"width": 1 / 16, "hidden": 64}, [(1, 3, 32, 32)]),
    "UNet": ((2, 1), {"width": 4}, [(1, 1, 188, 188)]),
    "YOLOv1": (("_FULL", 3), {"grid": 2, "width": 1 / 32, "hidden": (64,), "image_size": 128}, [(2, 3, 128, 128)]),
    "YOLOv1 tiny": (("_TINY", 3), {"grid": 2, "width": 1 / 16, "hidden": (64, 64), "image_size": 64}, [(2, 3, 64, 64)]),
    "Generator": ((8, 4), {}, [(3, 8, 1, 1)]),
    "Discriminator": ((4,), {}, [(3, 3, 64, 64)]),
    "VoxNet": ((5,), {"width": 8}, [(2, 1, 32, 32, 32)]),
    "ShapeNet3D": ((5,), {"width": 6, "hidden": (64, 64)}, [(2, 1, 30, 30, 30)]),
    "MultiViewCNN": ((5,), {"width": 1 / 16, "hidden": 64}, [(2, 3, 3, 32, 32)]),
    "FlowNetS": ((), {"width": 4}, [(1, 6, 64, 128)]),
    "PNet": ((), {}, [(2, 3, 20, 16)]),
    "RNet": ((), {}, [(2, 3, 24, 24)]),
    "ONet": ((), {}, [(2, 3, 48, 48)]),
    "TransNetV2": ((2, 5, 32), {}, [("uint8", (1, 6, 27, 48, 3))]),
    "DepthNet": ((), {"width": 6, "hidden": 64}, [(1, 3, 228, 304)]),
    "TextCNN": ((5, 20), {"width": 8, "filters": 6, "multichannel": True}, [("int64", (3, 9))]),
    "Captioner": (
        (20, 3),
        {"width": 8, "hidden": 12, "configuration": "A", "channels": 1 / 32},
        [(2, 3, 64, 64), ("int64", (2, 5))],
    ),
    "ConvNeXt": (((8, 12, 16, 24), (1, 1, 2, 1), 5), {"drop": 0.3, "layer_scale": 0.5}, [(3, 3, 64, 64)]),
    "VisionTransformer": ((32, 8, 2, 16, 4), {"num_classes": 5, "dropout": 0.1}, [(2, 3, 32, 32)]),
    "FCN": (((1, 2, 1, 1), 5), {"base": 8, "aux_loss": True}, [(2, 3, 65, 48)]),
    "DeepLabV3": (((1, 1, 1, 1), 5), {"base": 8, "rates": (1, 2, 3), "width": 16}, [(2, 3, 65, 48)]),
}
# What a name among the positional arguments stands for, in the module that defines the class.
LOOKED_UP = ("BasicBlock", "Bottleneck", "_SMALL", "_LARGE", "_FULL", "_TINY")


def small(package, name: str):
    """One of `SMALL`, of pycnn's models or of those on PyTorch."""
    arguments, keywords, _ = SMALL[name]
    kind = getattr(package, name.split()[0])
    defining = kind.__init__.__globals__
    return kind(*(defining[x] if x in LOOKED_UP else x for x in arguments), **keywords)


def samples(name: str) -> list[np.ndarray]:
    """An array per input of `SMALL`: a shape of floats, or (integer dtype, shape)."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(0, 20, shape[1]).astype(shape[0]) if isinstance(shape[0], str)
        else rng.standard_normal(shape).astype(np.float32)
        for shape in SMALL[name][2]
    ]  # fmt: skip


def tensors_in(value) -> list:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]
