"""The input layer of networks over steps, and the pooling of their steps to a row of features."""

from typing import Literal

from torch import Tensor, nn

from app.ml.interfaces import Encoding

Pooling = Literal["mean", "last"]
_STD = 0.02  # of embeddings, as in GPT-2


class InputEmbedding(nn.Module):
    """Embed the codes of a text, or map the channels of a series linearly; (B, T, width)."""

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
        """Mask of the steps that are no padding and were observed, bool (B, T); all True for a row that has none."""
        is_observed = inputs != 0 if self.is_text else inputs[:, -1] > 0
        return is_observed | ~is_observed.any(1, keepdim=True)


def pooled(steps: Tensor, observed: Tensor, pooling: Pooling) -> Tensor:
    """Pool features of every step (B, T, F) to a row's, (B, F): the mean over observed steps, or the last of them."""
    if pooling == "mean":
        # (B, T, 1): padding counts 0 in the sum and in the number of steps.
        weight = observed.to(steps.dtype).unsqueeze(2)
        return (steps * weight).sum(1) / weight.sum(1)
    # The first True from the end; (B,).
    last = observed.shape[1] - 1 - observed.flip(1).to(steps.dtype).argmax(1)
    return steps.gather(1, last[:, None, None].expand(-1, 1, steps.shape[2])).squeeze(1)
