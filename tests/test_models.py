"""The networks: parameters, shapes and multiply-adds that papers and torchvision state; training; PyTorch's results."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from small_networks import SMALL, samples, small, tensors_in

import pycnn
from pycnn import _core, models, nn
from pycnn.nn import functional as F
from pycnn.nn import init

# Parameters. torchvision's documentation states those of its networks (without auxiliary classifiers); the others are
# of the papers, their authors' releases, or sums that can be done by hand.
PARAMETERS = {
    "alexnet": 61_100_840, "vgg11": 132_863_336, "vgg11_bn": 132_868_840, "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736, "vgg16": 138_357_544, "vgg16_bn": 138_365_992, "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248, "googlenet": 6_624_904, "inception_v3": 23_834_568, "resnet18": 11_689_512,
    "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160, "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904, "resnext101_32x8d": 88_791_336, "wide_resnet50_2": 68_883_240,
    "squeezenet1_0": 1_248_424, "squeezenet1_1": 1_235_496, "densenet121": 7_978_856, "densenet161": 28_681_000,
    "densenet169": 14_149_480, "densenet201": 20_013_928, "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604, "shufflenet_v2_x1_5": 3_503_624, "shufflenet_v2_x2_0": 7_393_996,
    "mobilenet_v2": 3_504_872, "mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032,
    # LeCun et al. 1998: 156 + 12 + 1 516 + 32 + 48 120 + 10 164.
    "lenet1": 3_246, "lenet5": 61_706, "lenet5_1998": 60_000,
    "softmax_classifier": 7_850, "logistic_classifier": 785, "mlp": 266_610,
    # 34 944 + 307 456 + 885 120 + 663 936 + 442 624 + 37 752 832 + 16 781 312 + 4 097 000.
    "alexnet_2012": 60_965_224,
    "efficientnet_lite0": 4_652_008, "mobilenet_v1": 4_231_976, "inception_resnet_v2": 55_843_464,
    # The weights that their authors published.
    "mtcnn_pnet": 6_632, "mtcnn_rnet": 100_178, "mtcnn_onet": 389_040, "transnet_v2": 7_616_258,
    "voxnet": 921_736, "dcgan_generator": 3_576_704, "dcgan_discriminator": 2_765_568, "unet": 31_030_658,
    # Shortcuts of option A have no parameters: 270 thousand and so on, by the paper's table 6.
    "convnext_tiny": 28_589_128, "convnext_small": 50_223_688, "convnext_base": 88_591_464,
    "convnext_large": 197_767_336, "vit_b_16": 86_567_656, "vit_b_32": 88_224_232,
    # Touvron et al. 2021.
    "vit_s_16": 22_050_664,
    # 18 765 x 300 + (3 + 4 + 5) x 300 x 100 + 300 + 602.
    "text_cnn": 5_990_402,
    # VGG-19's 20 024 384, 5 120 000 + 5 130 000 for words, 8 396 800 of the LSTM, 2 100 737 of the attention,
    # 1 050 624 + 787 456 for the first state and the last layer.
    "captioner": 42_610_001,
    "resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
}  # fmt: skip

# In millions, as far as papers say it: VGG's table 2, SENet's text, EfficientNet-Lite's release, Caffe's BN-Inception.
MILLIONS = {
    "vgg_a_lrn": 133, "vgg_c": 134, "vgg13": 133, "vgg16": 138, "vgg19": 144, "se_resnet50": 28.1,
    "efficientnet_lite1": 5.4, "efficientnet_lite2": 6.1, "efficientnet_lite3": 8.2, "efficientnet_lite4": 13.0,
    "bn_inception": 11.3,
}  # fmt: skip

# Multiply-adds in 10^9 for one image, SENet's table 2, with the stride in the bottlenecks' 1x1 convolutions as there.
SENET = {
    "resnet50": 3.86, "resnet101": 7.58, "resnet152": 11.30, "resnext50_32x4d": 4.24, "resnext101_32x4d": 7.99,
    "vgg16": 15.47, "bn_inception": 2.03, "se_resnet50": 3.87, "se_resnet101": 7.60, "se_resnet152": 11.32,
    "se_resnext50_32x4d": 4.25, "se_resnext101_32x4d": 8.00, "se_vgg16_bn": 15.48, "se_bn_inception": 2.04,
}  # fmt: skip

# The same in torchvision's documentation (GFLOPS), with auxiliary classifiers of FCN and DeepLab v3, at 520 pixels.
TORCHVISION = {
    "alexnet": 0.714, "convnext_tiny": 4.456, "convnext_small": 8.684, "convnext_base": 15.355,
    "convnext_large": 34.361, "deeplabv3_resnet50": 178.722, "densenet121": 2.834, "densenet161": 7.728,
    "densenet169": 3.36, "densenet201": 4.291, "fcn_resnet50": 152.717, "fcn_resnet101": 232.738, "googlenet": 1.498,
    "inception_v3": 5.713, "mobilenet_v2": 0.301, "mobilenet_v3_large": 0.217, "mobilenet_v3_small": 0.057,
    "resnet18": 1.814, "resnet34": 3.664, "resnet50": 4.089, "resnet101": 7.801, "resnet152": 11.514,
    "resnext50_32x4d": 4.23, "resnext101_32x8d": 16.414, "shufflenet_v2_x0_5": 0.04, "shufflenet_v2_x1_0": 0.145,
    "shufflenet_v2_x1_5": 0.296, "shufflenet_v2_x2_0": 0.583, "squeezenet1_0": 0.819, "squeezenet1_1": 0.349,
    "vgg11": 7.609, "vgg13": 11.308, "vgg16": 15.47, "vgg19": 19.632, "vit_b_16": 17.564, "vit_b_32": 4.409,
    "wide_resnet50_2": 11.398,
}  # fmt: skip


def untouched(name: str, **options):
    """A network whose parameters have shapes but no memory."""
    with init.skipped():
        return models.create(name, **options)


def summary_of(name: str, **options):
    entry = models.entry(name)
    return pycnn.summary(untouched(name, **options), entry.inputs, dtype=[getattr(pycnn, d) for d in entry.dtypes])


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


# -- what is stated about them -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    assert count(untouched(name)) == PARAMETERS[name]


@pytest.mark.parametrize("name", MILLIONS)
def test_parameters_in_millions(name):
    expected = MILLIONS[name]
    assert abs(count(untouched(name)) / 1e6 - expected) <= (0.5 if expected > 100 else 0.05)


def test_resnext_of_equal_cost():
    """Xie et al. 2017, table 2: 25 million parameters and 4.1 to 4.2 billion multiply-adds for each cardinality."""
    for name in models.list("resnext50_*"):
        table = summary_of(name)
        assert 25.0e6 <= table.parameters <= 25.7e6 and 4.08e9 <= table.multiply_adds <= 4.28e9, name


@pytest.mark.parametrize("name", SENET)
def test_multiply_adds_of_the_senet_paper(name):
    options = {"stride_in_1x1": True} if name.split("_")[-1].startswith("resnet") else {}
    assert abs(summary_of(name, **options).multiply_adds / 1e9 / SENET[name] - 1) < 0.005


@pytest.mark.parametrize("name", TORCHVISION)
def test_multiply_adds_of_torchvision(name):
    options = {"aux_loss": True} if name.startswith(("fcn", "deeplab")) else {}
    assert abs(summary_of(name, **options).multiply_adds / 1e9 - TORCHVISION[name]) < 0.001


def test_inception_resnet_v2_counts():
    """SENet's table has 11.75 and 11.76 billion for a variant that its authors did not release; with 5, 20 and 5
    residual blocks it is that. The released network, whose 55.8 million parameters are above, needs 13.16."""
    for name, stated in [("inception_resnet_v2", 11.75), ("se_inception_resnet_v2", 11.76)]:
        assert abs(summary_of(name, repeats=(5, 20, 5)).multiply_adds / 1e9 - stated) < 0.01
    assert summary_of("inception_resnet_v2").multiply_adds == 13_155_794_016


def test_mobilenet_v1_table():
    """Howard et al. 2017, tables 1, 4 and 6: shapes, 569 million multiply-adds, width multipliers."""
    table = summary_of("mobilenet_v1")
    assert 568.5e6 <= table.multiply_adds <= 569.5e6
    shapes = [row.output[1:] for row in table.rows if row.kind == "Conv2d"]
    extents = [112, 112, 112, 56, 56, 56, 56, 28, 28, 28, 28, *[14] * 12, 7, 7, 7, 7]
    widths = [32, 32, 64, 64, 128, 128, 128, 128, 256, 256, 256, 256, *[512] * 11, 512, 1024, 1024, 1024]
    assert [s[1] for s in shapes] == extents and [s[0] for s in shapes] == widths
    assert table.rows[-1].output == (1, 1000)
    for width, millions in [(0.75, 2.6), (0.5, 1.3), (0.25, 0.5)]:
        assert abs(count(untouched("mobilenet_v1", width=width)) / 1e6 - millions) < 0.05


def test_alexnet_as_in_the_lecture():
    rows = [row for row in summary_of("alexnet_2012").rows if row.kind in ("Conv2d", "MaxPool2d", "Linear")]
    expected = [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13), (256, 13, 13),
        (256, 6, 6), (4096,), (4096,), (1000,),
    ]  # fmt: skip
    assert [row.output[1:] for row in rows] == expected
    assert [row.parameters for row in rows if row.parameters] == [
        34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000,
    ]  # fmt: skip


def test_heads_and_sizes_of_the_papers():
    assert summary_of("yolo_v1").rows[-1].output == (1, 7 * 7 * 30)
    assert len([row for row in summary_of("yolo_v1").rows if row.kind == "Conv2d"]) == 24
    assert len([row for row in summary_of("yolo_v1_tiny").rows if row.kind == "Conv2d"]) == 9
    unet = summary_of("unet")
    assert unet.rows[-1].output == (1, 2, 388, 388) and (1, 1024, 28, 28) in [row.output for row in unet.rows]
    assert summary_of("depth_net").rows[-1].output == (1, 1, 55, 74)
    assert summary_of("flownet_s").rows[-1].output == (1, 2, 96, 128)
    assert summary_of("dcgan_generator").rows[-1].output == (1, 3, 64, 64)
    assert [row.output[2:] for row in summary_of("voxnet").rows if "conv" in row.name] == [(14,) * 3, (12,) * 3]
    layers = [row for row in summary_of("mobilenet_v3_large").rows if row.kind == "Conv2d"]
    assert layers[-1].output == (1, 960, 7, 7)
    assert summary_of("text_cnn").rows[-1].output == (1, 2)
    assert summary_of("captioner").rows[-1].output == (1, 10000)
    # 196 places of 512 numbers: conv5_4 of VGG-19.
    assert [row.output for row in summary_of("captioner").rows if row.kind == "Conv2d"][-1] == (1, 512, 14, 14)


# Names of torchvision's state dicts: how many there are, and some of them.
NAMES = {
    "alexnet": (16, ["features.0.weight", "features.10.bias", "classifier.1.weight", "classifier.6.bias"]),
    "vgg16": (32, ["features.28.weight", "classifier.0.bias", "classifier.6.weight"]),
    "vgg11_bn": (62, ["features.1.running_mean", "features.26.num_batches_tracked", "classifier.3.weight"]),
    "resnet18": (122, ["conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias"]),
    "resnet50": (320, ["layer1.0.downsample.1.weight", "layer3.5.conv3.weight", "fc.bias"]),
    "resnet152": (932, ["layer3.35.bn3.num_batches_tracked"]),
    "resnext50_32x4d": (320, ["layer1.0.conv2.weight"]),
    "squeezenet1_1": (52, ["features.3.squeeze.weight", "features.12.expand3x3.bias", "classifier.1.weight"]),
    "densenet121": (727, [
        "features.conv0.weight", "features.denseblock1.denselayer1.norm1.weight",
        "features.denseblock4.denselayer16.conv2.weight", "features.transition3.conv.weight",
        "features.norm5.running_mean", "classifier.weight",
    ]),
    "mobilenet_v2": (314, [
        "features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight", "features.1.conv.2.bias",
        "features.17.conv.3.running_var", "features.18.1.weight", "classifier.1.weight",
    ]),
    "mobilenet_v3_small": (244, [
        "features.0.0.weight", "features.1.block.1.fc1.weight", "features.4.block.2.fc2.bias",
        "features.12.1.running_mean", "classifier.0.weight", "classifier.3.bias",
    ]),
    "googlenet": (344, [
        "conv1.conv.weight", "inception3a.branch1.bn.weight", "inception4e.branch2.1.conv.weight",
        "inception5b.branch4.1.bn.running_mean", "fc.weight",
    ]),
    "inception_v3": (566, [
        "Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.bias", "Mixed_6e.branch7x7dbl_5.conv.weight",
        "Mixed_7c.branch3x3dbl_3b.bn.running_var", "fc.bias",
    ]),
    "convnext_tiny": (182, [
        "features.0.0.weight", "features.0.1.bias", "features.1.0.layer_scale", "features.5.8.block.0.weight",
        "features.5.8.block.2.weight", "features.5.8.block.3.bias", "features.5.8.block.5.weight",
        "features.6.0.weight", "features.6.1.bias", "classifier.0.weight", "classifier.2.bias",
    ]),
    "vit_b_16": (152, [
        "class_token", "conv_proj.weight", "encoder.pos_embedding", "encoder.layers.encoder_layer_0.ln_1.weight",
        "encoder.layers.encoder_layer_11.self_attention.in_proj_weight",
        "encoder.layers.encoder_layer_11.self_attention.out_proj.bias", "encoder.layers.encoder_layer_11.mlp.0.weight",
        "encoder.layers.encoder_layer_11.mlp.3.bias", "encoder.ln.bias", "heads.head.weight",
    ]),
    "fcn_resnet50": (326, [
        "backbone.conv1.weight", "backbone.layer4.2.bn3.running_mean", "classifier.0.weight",
        "classifier.1.num_batches_tracked", "classifier.4.bias",
    ]),
    "deeplabv3_resnet50": (362, [
        "backbone.layer3.0.downsample.1.bias", "classifier.0.convs.0.0.weight", "classifier.0.convs.3.1.running_var",
        "classifier.0.convs.4.1.weight", "classifier.0.convs.4.2.bias", "classifier.0.project.0.weight",
        "classifier.0.project.1.weight", "classifier.1.weight", "classifier.2.bias", "classifier.4.weight",
    ]),
    "shufflenet_v2_x1_0": (338, [
        "conv1.0.weight", "stage2.0.branch1.2.weight", "stage3.7.branch2.6.running_mean", "conv5.1.bias", "fc.weight",
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_torchvision(name):
    entries, some = NAMES[name]
    state = untouched(name).state_dict()
    assert len(state) == entries and set(some) <= set(state)


# -- summary -----------------------------------------------------------------------------------------------------------
def keras_example():
    layers = []
    for inputs, outputs in [(3, 16), (16, 32), (32, 48)]:
        layers += [nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1728, 3))


def test_summary_of_the_keras_example():
    table = pycnn.summary(keras_example(), (3, 64, 64))
    assert table.parameters == table.trainable == 24_147
    assert [row.parameters for row in table.rows if row.parameters] == [448, 4_640, 13_872, 5_187]
    assert [row.output for row in table.rows if row.kind in ("Conv2d", "MaxPool2d")] == [
        (1, 16, 62, 62), (1, 16, 31, 31), (1, 32, 29, 29), (1, 32, 14, 14), (1, 48, 12, 12), (1, 48, 6, 6),
    ]  # fmt: skip
    assert [row.multiply_adds for row in table.rows if row.multiply_adds] == [
        62 * 62 * 16 * 27, 29 * 29 * 32 * 144, 12 * 12 * 48 * 288, 1728 * 3,
    ]  # fmt: skip
    # Each 3x3 adds twice the step, each pooling one step.
    assert [row.receptive_field for row in table.rows[:9:3]] == [(3, 3), (8, 8), (18, 18)]
    assert [row.receptive_field for row in table.rows[2:9:3]] == [(4, 4), (10, 10), (22, 22)]
    lines = str(table).splitlines()
    assert "24 147" in lines[-2] and lines[2].split()[0] == "Layer" and "62 x 62" in lines[4]


def test_receptive_fields():
    """Two 3x3 see 5x5, three 7x7 (Simonyan and Zisserman). Araujo et al. 2019: 195 for AlexNet, 212 for VGG-16, 483 for
    ResNet-50, whose stride is in the 1x1 convolutions; in the 3x3 ones it sees less."""
    fields = [row.receptive_field[0] for row in pycnn.summary(nn.Sequential(*[nn.Conv2d(1, 1, 3)] * 3), (1, 9, 9)).rows]
    assert fields == [3, 5, 7]
    rows = {row.name: row for row in summary_of("resnet50", stride_in_1x1=True).rows}
    assert rows["layer4.2.conv3"].receptive_field == (483, 483)
    assert {row.name: row for row in summary_of("resnet50").rows}["layer4.2.conv3"].receptive_field == (427, 427)
    assert {row.name: row for row in summary_of("alexnet").rows}["features.12"].receptive_field == (195, 195)
    assert {row.name: row for row in summary_of("vgg16").rows}["features.30"].receptive_field == (212, 212)
    rows = pycnn.summary(nn.Sequential(nn.Conv1d(1, 1, 3, 2, dilation=2), nn.ConvTranspose1d(1, 1, 4, 2)), (1, 50)).rows
    assert [row.receptive_field for row in rows] == [(5,), (7,)]


def test_summary_leaves_everything_as_it_was():
    model = small(models, "ResNet")
    model.layer1.eval()
    before = {name: t.tolist() for name, t in model.state_dict().items() if "bn1" in name}
    modes = [module.training for module in model.modules()]
    evaluated = _core.statistics()["nodes_evaluated"]
    table = pycnn.summary(model, (3, 512, 512))
    assert _core.statistics()["nodes_evaluated"] == evaluated
    assert [module.training for module in model.modules()] == modes
    assert {name: t.tolist() for name, t in model.state_dict().items() if "bn1" in name} == before
    assert table.parameters == count(model) == sum(row.parameters for row in table.rows)
    model.fc.weight.requires_grad_(False)
    assert pycnn.summary(model, (3, 64, 64)).trainable == count(model) - model.fc.weight.numel()
    with pytest.raises(RuntimeError, match="conv2d"):
        pycnn.summary(model, (4, 64, 64))
    assert [module.training for module in model.modules()] == modes


def test_summary_counts_shared_layers_once_and_their_work_twice():
    layer = nn.Linear(4, 4)
    table = pycnn.summary(nn.Sequential(layer, nn.ReLU(), layer), (4,))
    assert table.parameters == 20 and [row.parameters for row in table.rows] == [20, 0, 0]
    assert table.multiply_adds == 32 and table.rows[0].receptive_field is None


# -- registry, heads, features -----------------------------------------------------------------------------------------
def test_registry():
    assert models.list() == sorted(models.list()) and "lenet5" in models.list()
    assert models.list("vgg*_bn") == ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "vgg_c_bn"]
    assert "unet" in models.list(task="segmentation") and "resnet18" not in models.list(task="segmentation")
    for name in models.list():
        assert getattr(models, name) is models.entry(name).build and models.entry(name).build.__doc__
    assert models.entry("vgg_d") is models.entry("vgg16")
    with pytest.raises(ValueError, match="no network named 'resnet5'; similar ones: resnet5"):
        models.create("resnet5")
    with pytest.raises(TypeError, match="depth"):
        models.create("resnet18", depth=3)
    with pytest.raises(ValueError, match="registered already"):
        models.register()(models.lenet5)


def test_every_network_is_built_and_every_class_is_trained():
    classes = {type(untouched(name)).__name__ for name in models.list()}
    assert classes == {name.split()[0] for name in SMALL}


# torchvision's numbers of parameters with auxiliary classifiers.
AUXILIARY = {
    "googlenet": 13_004_888, "inception_v3": 27_161_264, "fcn_resnet50": 35_322_218, "fcn_resnet101": 54_314_346,
    "deeplabv3_resnet50": 42_004_074, "deeplabv3_resnet101": 60_996_202,
}  # fmt: skip


@pytest.mark.parametrize("name", AUXILIARY)
def test_parameters_with_auxiliary_classifiers(name):
    option = "aux_loss" if "resnet" in name else "aux_logits"
    assert count(untouched(name, **{option: True})) == AUXILIARY[name]


def test_auxiliary_classifiers():
    """Their logits are there in training only, or under a name of their own."""
    from pycnn._shapes import recorded_only

    for name, logits in [("googlenet", 3), ("inception_v3", 2)]:
        model = untouched(name, aux_logits=True)
        x = pycnn.zeros(2, *models.entry(name).inputs[0])
        with recorded_only(), pycnn.no_grad():
            assert [tuple(t.shape) for t in model(x)] == [(2, 1000)] * logits
            assert tuple(model.eval()(x).shape) == (2, 1000)
    with recorded_only(), pycnn.no_grad():
        outputs = untouched("fcn_resnet50", aux_loss=True)(pycnn.zeros(2, 3, 64, 48))
        assert {key: tuple(t.shape) for key, t in outputs.items()} == dict.fromkeys(["out", "aux"], (2, 21, 64, 48))


def test_weights_of_auxiliary_classifiers_may_be_left_out(tmp_path):
    saved = models.create("googlenet", aux_logits=True, num_classes=3)
    pycnn.save(saved.state_dict(), tmp_path / "googlenet.pth")
    loaded = models.create("googlenet", weights=tmp_path / "googlenet.pth")
    assert loaded.aux1 is None and loaded.fc.weight.tolist() == saved.fc.weight.tolist()
    loaded = models.create("googlenet", weights=tmp_path / "googlenet.pth", aux_logits=True)
    assert loaded.aux2.fc2.weight.tolist() == saved.aux2.fc2.weight.tolist()


def test_create_with_other_channels_and_classes():
    model = models.create("resnet20", num_classes=7, in_channels=1)
    assert tuple(model(pycnn.zeros(2, 1, 32, 32)).shape) == (2, 7)


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights(tmp_path, ending):
    path = tmp_path / f"weights{ending}"
    saved = models.create("resnet20", num_classes=7)
    pycnn.save(saved.state_dict(), path)
    x = pycnn.randn(2, 3, 32, 32)
    loaded = models.create("resnet20", weights=path)
    assert loaded.eval()(x).tolist() == saved.eval()(x).tolist()
    assert models.resnet20(weights=path).eval()(x).tolist() == saved(x).tolist()
    other = models.create("resnet20", weights=path, num_classes=3)
    assert tuple(other(x).shape) == (2, 3)
    assert other.layer3[0].conv1.weight.tolist() == saved.layer3[0].conv1.weight.tolist()
    with pytest.raises(RuntimeError, match=rf"weights\{ending} does not fit resnet32: .*\n.*Missing key"):
        models.create("resnet32", weights=path)
    pycnn.save([1], path)
    with pytest.raises(ValueError, match="not a state dict"):
        models.create("resnet20", weights=path)


def test_weights_in_checkpoints(tmp_path):
    saved = models.create("resnet20", num_classes=7)
    state = saved.state_dict()
    parallel = {f"module.{key}": value for key, value in state.items()}
    for number, content in enumerate(
        [{"state_dict": state, "epoch": 3}, {"model_state_dict": parallel, "loss": 0.5}, {"model": state}, parallel]
    ):
        path = tmp_path / f"{number}.pth"
        pycnn.save(content, path)
        assert models.create("resnet20", weights=path).fc.weight.tolist() == saved.fc.weight.tolist()


def test_weights_of_networks_without_a_classifier(tmp_path):
    options = {"num_classes": 3, "image_size": 64, "width": 0.1, "hidden": (8,)}
    saved = models.create("yolo_v1_tiny", **options)
    pycnn.save(saved.state_dict(), tmp_path / "yolo.pth")
    loaded = models.create("yolo_v1_tiny", weights=tmp_path / "yolo.pth", **options)
    assert loaded.classifier[-1].weight.tolist() == saved.classifier[-1].weight.tolist()
    with pytest.raises(RuntimeError, match="does not fit yolo_v1_tiny"):
        models.create("yolo_v1_tiny", weights=tmp_path / "yolo.pth", **{**options, "num_classes": 4})


@pytest.mark.parametrize(
    ("name", "inside", "new", "old"),
    [
        ("DenseNet", "features.denseblock1.denselayer2", "norm1.weight", "norm.1.weight"),
        ("DenseNet", "features.denseblock3.denselayer1", "conv2.weight", "conv.2.weight"),
        ("VisionTransformer", "encoder.layers.encoder_layer_1.mlp", "0.weight", "linear_1.weight"),
        ("VisionTransformer", "encoder.layers.encoder_layer_0.mlp", "3.bias", "linear_2.bias"),
    ],
)
def test_names_in_torchvisions_files(name, inside, new, old):
    """The files that torchvision publishes for these two have names that its modules no longer have."""
    model = small(models, name)
    state = {key: value + 1 for key, value in model.state_dict().items()}
    given = state[f"{inside}.{old}"] = state.pop(f"{inside}.{new}")
    model.load_state_dict(state)
    assert model.state_dict()[f"{inside}.{new}"].tolist() == given.tolist()


def test_unknown_options_are_named():
    with pytest.raises(
        TypeError, match="resnet18 has no option 'pretrained'; no weights come with the package: weights="
    ):
        models.resnet18(pretrained=True)
    with pytest.raises(TypeError, match="mobilenet_v2 has no option 'num_class'$"):
        models.create("mobilenet_v2", num_class=3)


def test_fine_tuning():
    """A frozen body, a new head, a rate for each."""
    model = models.create("resnet20", num_classes=10)
    model.reset_classifier(3)
    model.freeze_body()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == ["fc.weight", "fc.bias"]
    model.requires_grad_(True)
    optimizer = pycnn.optim.SGD(model.parameter_groups(lr=0.1, body_lr=0.01))
    assert [len(group["params"]) for group in optimizer.param_groups] == [len(list(model.parameters())) - 2, 2]
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]
    before = model.fc.weight.tolist(), model.conv1.weight.tolist()
    F.cross_entropy(model(pycnn.randn(4, 3, 32, 32)), pycnn.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    assert model.fc.weight.tolist() != before[0] and model.conv1.weight.tolist() != before[1]
    with pytest.raises(NotImplementedError, match="Generator has no classifier"):
        small(models, "Generator").reset_classifier(3)


@pytest.mark.parametrize("name", SMALL)
def test_heads_can_be_replaced(name):
    model = small(models, name)
    if not model.head_names:
        return
    heads = model.classifiers()
    assert heads, name
    model.reset_classifier(9)
    outputs = tensors_in(model.eval()(*map(pycnn.tensor, samples(name))))
    assert outputs[0].shape[2 if name == "Captioner" else 1] == 9


FEATURES = {
    "resnet50": [(64, 112), (256, 56), (512, 28), (1024, 14), (2048, 7)],
    "vgg16": [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)],
    "mobilenet_v2": [(16, 112), (24, 56), (32, 28), (96, 14), (1280, 7)],
    "mobilenet_v3_large": [(16, 112), (24, 56), (40, 28), (112, 14), (960, 7)],
    "densenet121": [(64, 112), (256, 56), (512, 28), (1024, 14), (1024, 7)],
    "efficientnet_lite0": [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)],
    "googlenet": [(64, 112), (192, 56), (480, 28), (832, 14), (1024, 7)],
    "mobilenet_v1": [(64, 112), (128, 56), (256, 28), (512, 14), (1024, 7)],
    "shufflenet_v2_x1_0": [(24, 112), (24, 56), (116, 28), (232, 14), (1024, 7)],
    "resnet20": [(16, 32), (32, 16), (64, 8)],
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(name):
    from pycnn._shapes import recorded_only

    with init.skipped():
        features = models.create(name, features_only=True)
    size = models.entry(name).inputs[0]
    with recorded_only(), pycnn.no_grad():
        maps = features.eval()(pycnn.zeros(2, *size))
        shapes = [tuple(map.shape) for map in maps]
        del maps
    assert shapes == [(2, channels, extent, extent) for channels, extent in FEATURES[name]]
    assert features.channels == [channels for channels, _ in FEATURES[name]]


def test_features_in_two_threads():
    """Each call sees its own maps, not those of the other thread."""
    features = models.create("resnet20", features_only=True).eval()
    inputs = [pycnn.randn(n, 3, 16, 16) for n in (1, 2)]
    wrong = []

    def work(x):
        for _ in range(10):
            maps = features(x)
            if [tuple(m.shape[:2]) for m in maps] != [(x.shape[0], c) for c in (16, 32, 64)]:
                wrong.append(maps)

    threads = [threading.Thread(target=work, args=(x,)) for x in inputs]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert not wrong


def test_features_are_the_networks_own():
    features = models.create("resnet20", features_only=True).eval()
    x = pycnn.randn(2, 3, 32, 32)
    last = features(x)[-1]
    logits = features.model.fc(last.mean((2, 3)))
    np.testing.assert_allclose(logits.detach().numpy(), features.model(x).detach().numpy(), 1e-5, 1e-5)
    last.sum().backward()
    assert features.model.conv1.weight.grad is not None and features.model.fc.weight.grad is None
    with pytest.raises(ValueError, match="no stages"):
        models.create("mlp", features_only=True)


def test_every_stage_is_there():
    for name in SMALL:
        model = small(models, name)
        if model.stage_names:
            assert len(models.Features(model, SMALL[name][2][0][1:]).channels) == len(model.stage_names), name


def test_the_table_of_networks_is_current():
    tool = Path(__file__).parent.parent / "tools" / "generate_network_table.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
