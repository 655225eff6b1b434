"""Vision transformers (Dosovitskiy et al. 2021) with torchvision's names."""

from __future__ import annotations

import math
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import init


class MLPBlock(nn.Sequential):
    """Two linear layers."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        first, second = nn.Linear(width, hidden), nn.Linear(hidden, width)
        super().__init__(first, nn.GELU(), nn.Dropout(dropout), second, nn.Dropout(dropout))
        for layer in (first, second):
            assert layer.bias is not None
            init.xavier_uniform_(layer.weight)
            init.normal_(layer.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Attention, then two linear layers; each after a normalisation and with a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, hidden, dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        attended, _ = self.self_attention(y, y, y, need_weights=False)
        x = self.dropout(attended) + x
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Adds what each place is like to (N, L, D), then blocks."""

    def __init__(
        self, places: int, layers: int, width: int, heads: int, hidden: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(_core.zeros((1, places, width)))
        init.normal_(self.pos_embedding, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential()
        for i in range(layers):
            block = EncoderBlock(width, heads, hidden, dropout, attention_dropout)
            self.layers.add_module(f"encoder_layer_{i}", block)
        self.ln = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class VisionTransformer(Network):
    """(N, 3, S, S) to logits (N, num_classes): the image in patches, and one more place that gathers the class.

    Args:
        image_size: S, a multiple of the next.
        patch_size: extent of a patch.
        layers: blocks.
        width: numbers per place.
        heads: of the attention.
        hidden: of the linear layers (default: 4 times `width`).
        num_classes, in_channels: extents of output and input.
        dropout, attention_dropout: probabilities.

    Errors: ValueError for an image size that is no multiple of the patch size; when called, for other image sizes.
    """

    head_names = ("heads.head",)
    old_names = ((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3."))  # in torchvision's weights

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        layers: int,
        width: int,
        heads: int,
        hidden: int | None = None,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"an image of {image_size} pixels is not cut into patches of {patch_size}")
        self.image_size = image_size
        self.class_token = nn.Parameter(_core.zeros((1, 1, width)))
        self.conv_proj = nn.Conv2d(in_channels, width, patch_size, patch_size)
        places = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(places, layers, width, heads, hidden or 4 * width, dropout, attention_dropout)
        head = nn.Linear(width, num_classes)
        self.heads = nn.Sequential()
        self.heads.add_module("head", head)
        init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / (in_channels * patch_size**2)))
        init.zeros_(head.weight)
        for layer in (self.conv_proj, head):
            assert layer.bias is not None
            init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (self.image_size, self.image_size):
            raise ValueError(f"VisionTransformer: images are {self.image_size} x {self.image_size}, got {x.shape}")
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = _core.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])


def _size(patch_size: int, layers: int, width: int, heads: int) -> dict[str, int]:
    return {"patch_size": patch_size, "layers": layers, "width": width, "heads": heads}


@register((3, 32, 32))
def vit_tiny_32(**options: Any) -> VisionTransformer:
    """A small one for images of 32 pixels: patches of 4, six blocks, four heads."""
    return VisionTransformer(**{"image_size": 32, "num_classes": 10, **options}, **_size(4, 6, 128, 4), hidden=256)


@register()
def vit_s_16(**options: Any) -> VisionTransformer:
    """ViT-S/16, as in Touvron et al. 2021."""
    return VisionTransformer(**{"image_size": 224, **options}, **_size(16, 12, 384, 6))


@register()
def vit_b_16(**options: Any) -> VisionTransformer:
    """ViT-B/16."""
    return VisionTransformer(**{"image_size": 224, **options}, **_size(16, 12, 768, 12))


@register()
def vit_b_32(**options: Any) -> VisionTransformer:
    """ViT-B/32."""
    return VisionTransformer(**{"image_size": 224, **options}, **_size(32, 12, 768, 12))
