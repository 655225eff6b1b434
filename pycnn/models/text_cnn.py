"""Convolutions over sentences (Kim 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.nn import functional as F
from pycnn.nn import init


class TextCNN(Network):
    """Numbers of words (N, L) to logits (N, num_classes): filters over a few words each, their maxima over time.

    Args:
        num_classes: extent of the output.
        vocabulary: how many words there are; number 0 pads sentences.
        width: numbers per word.
        windows: words that the filters see.
        filters: per window.
        static: whether the vectors of words stay as they are.
        multichannel: whether there is another table of vectors, which stays as it is; the filters see both.
        dropout: probability.
    """

    head_names = ("fc",)

    def __init__(
        self,
        num_classes: int = 2,
        vocabulary: int = 18765,
        width: int = 300,
        windows: Sequence[int] = (3, 4, 5),
        filters: int = 100,
        static: bool = False,
        multichannel: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.embedding.weight.requires_grad_(not static)
        self.static_embedding = nn.Embedding(vocabulary, width, padding_idx=0) if multichannel else None
        if self.static_embedding is not None:
            self.static_embedding.weight.requires_grad_(False)
        self.convs = nn.ModuleList([nn.Conv1d(width, filters, window) for window in windows])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(filters * len(windows), num_classes)
        for table in (self.embedding, self.static_embedding):
            if table is not None:
                init.uniform_(table.weight, -0.25, 0.25)

    def forward(self, words: Tensor) -> Tensor:
        missing = max(conv.kernel_size[0] for conv in self.convs) - words.shape[1]
        if missing > 0:
            words = F.pad(words, (0, missing))
        tables = (self.embedding, self.static_embedding)
        channels = [table(words).transpose(1, 2) for table in tables if table is not None]
        maxima = []
        for conv in self.convs:
            # The sum over both channels has the bias once.
            seen = conv(channels[0])
            for channel in channels[1:]:
                seen = seen + F.conv1d(channel, conv.weight)
            maxima.append(_core.relu(seen).amax(2))
        return self.fc(self.dropout(_core.cat(maxima, 1)))


@register((56,), task="text classification", dtypes=("int64",))
def text_cnn(**options: Any) -> TextCNN:
    """Kim's network for sentences of film reviews, with vectors of words that are trained."""
    return TextCNN(**options)
