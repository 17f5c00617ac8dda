"""How a text or a series enters a network that reads step by step, and how its steps become one row of features."""

from typing import Literal

from torch import Tensor, nn

from app.ml.interfaces import Encoding

Pooling = Literal["mean", "last"]
_STD = 0.02  # of embeddings, as in GPT-2


class Entrance(nn.Module):
    """Rows to a vector for every step, (B, T, width): an embedding of a text's codes, or a linear map of a series."""

    def __init__(self, encoding: Encoding, width: int) -> None:
        super().__init__()
        self.is_text = encoding.vocabulary is not None
        if encoding.vocabulary is not None:
            self.table = nn.Embedding(encoding.vocabulary, width)
            nn.init.normal_(self.table.weight, std=_STD)
        else:
            self.map = nn.Linear(encoding.shape[0], width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Codes (B, T), or a series (B, C + 1, T), to (B, T, width)."""
        return self.table(inputs) if self.is_text else self.map(inputs.transpose(1, 2))  # type: ignore[no-any-return]

    def observed(self, inputs: Tensor) -> Tensor:
        """Whether a step is there, bool (B, T): no padding, and something observed; a row of nothing counts whole."""
        there = inputs != 0 if self.is_text else inputs[:, -1] > 0
        return there | ~there.any(1, keepdim=True)


def pooled(steps: Tensor, observed: Tensor, pooling: Pooling) -> Tensor:
    """Features of every step (B, T, F) to a row's, (B, F): the mean over the observed ones, or the last of them."""
    if pooling == "mean":
        weight = observed.to(steps.dtype).unsqueeze(2)
        return (steps * weight).sum(1) / weight.sum(1)
    last = observed.shape[1] - 1 - observed.flip(1).to(steps.dtype).argmax(1)
    return steps.gather(1, last[:, None, None].expand(-1, 1, steps.shape[2])).squeeze(1)
