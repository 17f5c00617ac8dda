"""From features to tokens: a layer over the vocabulary, and what it costs to say the tokens that are there."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.ml.kinds.tokenizers.base import FIRST, MASK, PADDING

_STD = 0.02
NATS, TOKENS, HITS, CHARACTERS = range(4)  # the columns of `row_sums`


class TokenLayer(nn.Module):
    """Features (..., F) to logits (..., V); at first every token is nearly as probable as another.

    Without weights of its own (`tied`) it says tokens by the vectors (V, F) that they enter by.
    """

    def __init__(self, width: int, vocabulary: int, *, tied: bool = False) -> None:
        super().__init__()
        self.weight = None if tied else nn.Parameter(torch.empty(vocabulary, width).normal_(std=_STD))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, features: Tensor, vectors: Tensor | None = None) -> Tensor:
        """(..., F) to (..., V)."""
        weight = vectors if self.weight is None else self.weight
        assert weight is not None
        return F.linear(features, weight, self.bias)


def is_asked(codes: Tensor) -> Tensor:
    """Which codes a language model has to say: neither padding nor what an augmentation has hidden."""
    return (codes != PADDING) & (codes != MASK)


def is_text(codes: Tensor) -> Tensor:
    """Which codes are tokens of the text itself."""
    return codes >= FIRST


def row_sums(logits: Tensor, codes: Tensor, asked: Tensor, characters: Tensor) -> Tensor:
    """Sums over the asked tokens of each row, (B, 4): nats, tokens, hits of the most probable one, characters.

    logits (B, S, V), codes int64 (B, S), asked bool (B, S), characters of each code (V,).
    """
    logits = logits.float()  # a sum of exponentials needs it
    nats = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)
    with torch.no_grad():
        hits = logits.argmax(2) == codes
        counts = characters[codes]
    columns = [(values * asked).sum(1) for values in (nats, torch.ones_like(nats), hits, counts)]
    return torch.stack(columns, dim=1)


def mean_nats(sums: Tensor) -> Tensor:
    """Nats per token of sums (..., 4), over all of them; 0 where no token was asked for."""
    total = sums.flatten(0, -2).sum(0)
    return total[NATS] / total[TOKENS].clamp(min=1)


def rates(sums: Tensor) -> dict[str, Tensor]:
    """What sums (B, 4) say together: perplexity, accuracy of the most probable token, bits per character."""
    total = sums.detach().double().sum(0)
    tokens = total[TOKENS].clamp(min=1)
    bits = total[NATS] / total[CHARACTERS].clamp(min=1) / torch.log(torch.tensor(2.0))
    return {
        "perplexity": (total[NATS] / tokens).clamp(max=80).exp(),  # beyond, a float32 overflows
        "token_accuracy": total[HITS] / tokens,
        "bits_per_character": bits,
    }
