"""The output layer over a vocabulary, and the losses of language models as sums over tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.ml.blocks.shards import total
from app.ml.interfaces.tokenizer import FIRST, MASK, PADDING

_STD = 0.02
NATS, TOKENS, HITS, CHARACTERS = range(4)  # the columns of `token_sums`
MAX_NATS = 80  # beyond, the exponential overflows a float32


class TokenLayer(nn.Module):
    """Features (..., F) to logits (..., V); at first every token is nearly as probable as another.

    With `tied` it has no weights of its own: it uses the embeddings (V, F) of the input layer.
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


def is_predicted(codes: Tensor) -> Tensor:
    """Mask of the codes that a language model predicts: neither padding nor what an augmentation has masked."""
    return (codes != PADDING) & (codes != MASK)


def is_text(codes: Tensor) -> Tensor:
    """Mask of the codes that are tokens of the text itself."""
    return codes >= FIRST


def token_sums(logits: Tensor, codes: Tensor, counted: Tensor, characters: Tensor) -> Tensor:
    """Sum over the counted tokens of each row, (B, 4): nats, tokens, hits of the most probable token, characters.

    logits (B, S, V), codes int64 (B, S), counted bool (B, S), characters of each code (V,).
    """
    logits = logits.float()  # a softmax over a vocabulary loses too much in bfloat16
    # Per token, so that sums over rows and splits can weigh tokens alike; (B, S).
    if torch.compiler.is_exporting():  # the same, in operators that have an ONNX form
        nats = -logits.log_softmax(2).gather(2, codes[:, :, None])[:, :, 0]
    else:
        nats = F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)
    with torch.no_grad():
        hits = logits.argmax(2) == codes
        counts = characters[codes]
    columns = [(values * counted).sum(1).to(nats.dtype) for values in (nats, torch.ones_like(nats), hits, counts)]
    return torch.stack(columns, dim=1)


def mean_nats(sums: Tensor) -> Tensor:
    """Nats per token of sums (..., 4), over all of them; 0 where no token counts."""
    whole = total(sums.flatten(0, -2).sum(0))
    return whole[NATS] / whole[TOKENS].clamp(min=1)


def rates(sums: Tensor) -> dict[str, Tensor]:
    """Perplexity, accuracy of the most probable token and bits per character over all sums (B, 4), each ()."""
    whole = total(sums.detach().double().sum(0))
    tokens = whole[TOKENS].clamp(min=1)
    bits = whole[NATS] / whole[CHARACTERS].clamp(min=1) / torch.log(torch.tensor(2.0))
    return {
        "perplexity": (whole[NATS] / tokens).clamp(max=MAX_NATS).exp(),
        "token_accuracy": whole[HITS] / tokens,
        "bits_per_character": bits,
    }
