"""Recurrent backbones over a text or a series, for any cell.

Where nothing forbids it, a second cell in each layer reads backwards, every row from its own last step, so that padding
behind it changes nothing (Schuster and Paliwal, "Bidirectional recurrent neural networks", 1997).
"""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.input_embedding import InputEmbedding, Pooling, pooled
from app.ml.blocks.sequence_config import Causal, ResolvedSequenceConfig, SequenceConfig
from app.ml.fields import Integer, Rate
from app.ml.interfaces import Backbone, Encoding
from app.ml.interfaces.abilities import Ability, Sequences, State
from app.ml.spec import ModalityKind


class RecurrentConfig(SequenceConfig):
    """The fields that all recurrent backbones share."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text", "series")
    provides: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    width: Integer = Field(128, ge=2, le=4096, multiple_of=2, description="Features of every step; an even number.")
    depth: Integer = Field(2, ge=1, le=16, description="Layers.")
    dropout: Rate = Field(0.0, description="Share of activations dropped between layers while training.")
    pooling: Pooling = Field("mean", description="A row's features: the mean over its steps, or the last step's.")


class ResolvedRecurrentConfig(RecurrentConfig, ResolvedSequenceConfig):
    """The same once it is known whether it looks ahead."""

    causal: Causal


class RecurrentBackbone(Backbone, Sequences):
    """(B, T) codes, or a series (B, C + 1, T), to (B, width). `cell` is nn.GRU or nn.LSTM."""

    def __init__(self, config: ResolvedRecurrentConfig, encoding: Encoding, cell: type[nn.GRU | nn.LSTM]) -> None:
        super().__init__()
        self.encoding, self.pooling, self.causal = encoding, config.pooling, config.causal
        self.features = self.width = config.width
        self.entrance = InputEmbedding(encoding, config.width)
        size = config.width if config.causal else config.width // 2
        self.forwards = nn.ModuleList(cell(config.width, size, batch_first=True) for _ in range(config.depth))
        backward_layers = () if config.causal else range(config.depth)
        self.backwards = nn.ModuleList(cell(config.width, size, batch_first=True) for _ in backward_layers)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, width)."""
        return pooled(self.sequence(inputs), self.entrance.observed(inputs), self.pooling)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Features of every step, (B, T, width)."""
        return self._each_layer(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Features after every layer, each (B, width)."""
        observed = self.entrance.observed(inputs)
        return [pooled(steps, observed, self.pooling) for steps in self._each_layer(inputs)]

    def stages(self) -> list[list[nn.Parameter]]:
        """The input embedding, then every layer with both its directions."""
        pairs = zip(self.forwards, self.backwards, strict=True) if self.backwards else zip(self.forwards, strict=True)
        layers = [[parameter for cell in cells for parameter in cell.parameters()] for cells in pairs]
        return [list(self.entrance.parameters()), *layers]

    def embeddings(self) -> Tensor | None:
        """The vectors of a text's codes, (V, width)."""
        return self.entrance.table.weight if self.entrance.is_text else None

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """The state holds the hidden state of every cell (of an LSTM also the cell state), each (B, 1, width)."""
        values = self.entrance(inputs)
        per_cell = len(state) // len(self.forwards)
        after: State = []
        for index, cell in enumerate(self.forwards):
            values, memory = cell(values, _hidden_state(state[index * per_cell : (index + 1) * per_cell]))
            parts = memory if isinstance(memory, tuple) else (memory,)
            after += [part.transpose(0, 1) for part in parts]
        return values, after

    def _each_layer(self, inputs: Tensor) -> list[Tensor]:
        values = self.entrance(inputs)
        reversal = _reversal(self.entrance.observed(inputs)) if self.backwards else None
        outputs = []
        for index, cell in enumerate(self.forwards):
            values = self.dropout(values) if index else values
            forward_steps = cell(values)[0]  # (B, T, width), or (B, T, width / 2) with a second direction
            if reversal is not None:
                # Reversing twice: before the cell, and after it, so that steps stand in their order again.
                backward_steps = _gathered(self.backwards[index](_gathered(values, reversal))[0], reversal)
                forward_steps = torch.cat((forward_steps, backward_steps), dim=2)
            values = forward_steps
            outputs.append(values)
        return outputs


def _hidden_state(parts: State) -> Any:
    """The hidden state as torch takes it: None at the start, a tensor (1, B, F), or a pair of them for an LSTM."""
    turned = [part.transpose(0, 1).contiguous() for part in parts]
    if not turned:
        return None
    return turned[0] if len(turned) == 1 else tuple(turned)


def _reversal(observed: Tensor) -> Tensor:
    """Indices (B, T) that reverse each row's steps up to its last observed one, and keep the padding where it is."""
    # (T,), and the index of each row's last observed step, (B, 1).
    steps = torch.arange(observed.shape[1], device=observed.device)
    last = torch.where(observed, steps, 0).amax(1, keepdim=True)
    return torch.where(steps <= last, last - steps, steps)


def _gathered(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places[:, :, None].expand_as(values))
