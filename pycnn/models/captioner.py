"""Captions by an LSTM that looks at parts of an image (Xu et al. 2015, "Show, attend and tell", soft attention)."""

from __future__ import annotations

from typing import Any

from pycnn import _core, nn
from pycnn._core import Tensor
from pycnn.models.network import Network
from pycnn.models.registry import register
from pycnn.models.vgg import VGG


class SoftAttention(nn.Module):
    """Annotations (N, L, D) and a state (N, H) to their weighted mean (N, D) and the weights (N, L)."""

    def __init__(self, annotation: int, hidden: int, width: int) -> None:
        super().__init__()
        self.of_annotation = nn.Linear(annotation, width)
        self.of_state = nn.Linear(hidden, width)
        self.score = nn.Linear(width, 1)
        self.gate = nn.Linear(hidden, annotation)

    def forward(self, annotations: Tensor, projected: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """`projected` is `of_annotation(annotations)`, which does not change from word to word."""
        scores = self.score(_core.tanh(projected + self.of_state(state).unsqueeze(1))).squeeze(2)
        weights = scores.softmax(1)
        context = (weights.unsqueeze(2) * annotations).sum(1)
        return self.gate(state).sigmoid() * context, weights


class Captioner(Network):
    """Images (N, 3, H, W) and captions (N, T) to logits (N, T, vocabulary) of the word after each, and the weights
    (N, T, L) that the places of the image had for it.

    In training, the paper adds the mean of (1 - weights.sum(1))^2 to the loss: no place shall be overlooked.

    Args:
        vocabulary: how many words there are.
        in_channels: of the images.
        width: numbers per word.
        hidden: of the LSTM and the attention.
        configuration, channels: of the VGG network that sees the image, before its last pooling.
        dropout: probability, before the logits.
    """

    head_names = ("words",)

    def __init__(
        self,
        vocabulary: int = 10000,
        in_channels: int = 3,
        width: int = 512,
        hidden: int = 1024,
        configuration: str = "E",
        channels: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        vgg = VGG(configuration, in_channels=in_channels, width=channels, hidden=1, num_classes=1)
        self.encoder = vgg.features[:-1]
        annotation = int(512 * channels)
        self.embedding = nn.Embedding(vocabulary, width)
        self.attention = SoftAttention(annotation, hidden, hidden)
        self.first_state = nn.Linear(annotation, hidden)
        self.first_cell = nn.Linear(annotation, hidden)
        self.lstm = nn.LSTMCell(width + annotation, hidden)
        self.of_state = nn.Linear(hidden, width)
        self.of_context = nn.Linear(annotation, width)
        self.dropout = nn.Dropout(dropout)
        self.words = nn.Linear(width, vocabulary)

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        annotations = self.encoder(images).flatten(2).transpose(1, 2)
        mean = annotations.mean(1)
        state = self.first_state(mean).tanh(), self.first_cell(mean).tanh()
        return annotations, self.attention.of_annotation(annotations), state

    def _say(
        self, word: Tensor, annotations: Tensor, projected: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """`word` is the vector of the one before."""
        context, weights = self.attention(annotations, projected, state[0])
        state = self.lstm(_core.cat([word, context], 1), state)
        logits = self.words(self.dropout(_core.tanh(word + self.of_state(state[0]) + self.of_context(context))))
        return logits, weights, state

    def forward(self, images: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        annotations, projected, state = self._look(images)
        logits, weights = [], []
        for word in self.embedding(captions).unbind(1):
            next_logits, next_weights, state = self._say(word, annotations, projected, state)
            logits.append(next_logits)
            weights.append(next_weights)
        return _core.stack(logits, 1), _core.stack(weights, 1)

    def generate(self, images: Tensor, start: int, length: int) -> Tensor:
        """The likeliest words, one after the other: numbers (N, length) that follow the word `start`."""
        annotations, projected, state = self._look(images)
        word = _core.full((images.shape[0],), start, dtype=_core.int64)
        words = []
        for _ in range(length):
            logits, _, state = self._say(self.embedding(word), annotations, projected, state)
            word = logits.argmax(1)
            words.append(word)
        return _core.stack(words, 1)


@register((3, 224, 224), (20,), task="captioning", dtypes=("float32", "int64"))
def captioner(num_classes: int = 10000, **options: Any) -> Captioner:
    """VGG-19 and an LSTM with soft attention; `num_classes` is the number of words."""
    return Captioner(num_classes, **options)
