"""Long short-term memory over the steps of a text or a series.

i, f, o = s(W x + U h), g = tanh(W_g x + U_g h), c' = f * c + i * g, h' = o * tanh(c'), with biases: Hochreiter and
Schmidhuber, "Long short-term memory", 1997, with the forget gate of Gers, Schmidhuber and Cummins, "Learning to
forget", 2000, whose bias starts at 1 (Jozefowicz, Zaremba and Sutskever, "An empirical exploration of recurrent network
architectures", 2015).
"""

from typing import Literal

import torch
from torch import nn

from app.ml.blocks.recurrent import RecurrentBackbone, RecurrentConfig, ResolvedRecurrentConfig
from app.ml.blocks.sequence_config import Causal
from app.ml.interfaces import Encoding


class Lstm(RecurrentConfig):
    """Layers of long short-term memory."""

    kind: Literal["lstm"] = "lstm"

    @classmethod
    def resolved_type(cls) -> "type[ResolvedLstm]":
        """Return the class that builds."""
        return ResolvedLstm


class ResolvedLstm(Lstm, ResolvedRecurrentConfig):
    """The same once it is known whether it looks ahead."""

    causal: Causal

    def build(self, encoding: Encoding) -> RecurrentBackbone:
        """Build it with fresh weights."""
        backbone = RecurrentBackbone(self, encoding, nn.LSTM)
        for cell in (*backbone.forwards, *backbone.backwards):
            _remember(cell)
        return backbone


@torch.no_grad()
def _remember(cell: nn.Module) -> None:
    """The forget gate's two biases add up to 1; torch keeps the gates in the order i, f, g, o."""
    biases = [values for name, values in cell.named_parameters() if name.startswith("bias")]
    for values, start in zip(biases, (1.0, 0.0), strict=True):
        quarter = len(values) // 4
        values[quarter : 2 * quarter] = start
