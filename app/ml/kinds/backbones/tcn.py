"""A temporal convolutional network: dilated causal convolutions over the steps of a text or a series.

    y = relu(x + f(x)),   f = two times dropout(relu(conv)),   the convolutions of block i dilated by 2^i

Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence modeling",
2018. Their kernels are normalised by weight, w = g v / |v| for every output channel: Salimans and Kingma, "Weight
normalization", 2016. With kernels of k steps and L blocks a step sees R = 1 + 2 (k - 1) (2^L - 1) steps: itself and
what came before; where nothing forbids it, half of them on either side. What is padding, or was not observed, is 0 for
every convolution, as the padding beyond both ends is. The features of a row are the mean over its observed steps, or
the last one's.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.input_embedding import InputEmbedding, Pooling, pooled
from app.ml.blocks.sequence_config import Causal, ResolvedSequenceConfig, SequenceConfig
from app.ml.fields import Integer, Rate
from app.ml.interfaces import Backbone, Encoding
from app.ml.interfaces.abilities import Ability, Sequences, State
from app.ml.spec import ModalityKind


class Tcn(SequenceConfig):
    """Blocks of dilated convolutions."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text", "series")
    provides: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    kind: Literal["tcn"] = "tcn"
    width: Integer = Field(64, ge=1, le=4096, description="Features of every step.")
    depth: Integer = Field(6, ge=1, le=16, description="Blocks; every further one doubles how far a step sees.")
    kernel: Integer = Field(3, ge=2, le=31, description="Steps under each convolution; 3 in 6 blocks see 253 steps.")
    dropout: Rate = Field(0.0, description="Share of activations dropped behind each convolution while training.")
    pooling: Pooling = Field("mean", description="A row's features: the mean over its steps, or the last step's.")

    @property
    def receptive_field(self) -> int:
        """R, how many steps one step's features depend on at most, itself included."""
        return 1 + int(2 * (self.kernel - 1) * (2**self.depth - 1))

    @classmethod
    def resolved_type(cls) -> "type[ResolvedTcn]":
        """Return the class that builds."""
        return ResolvedTcn


class ResolvedTcn(Tcn, ResolvedSequenceConfig):
    """The same once it is known whether it looks ahead."""

    causal: Causal

    def build(self, encoding: Encoding) -> "TcnBackbone":
        """Build it with fresh weights."""
        return TcnBackbone(self, encoding)


class TcnBackbone(Backbone, Sequences):
    """(B, T) codes, or a series (B, C + 1, T), to (B, width)."""

    def __init__(self, config: ResolvedTcn, encoding: Encoding) -> None:
        super().__init__()
        self.encoding, self.pooling, self.causal = encoding, config.pooling, config.causal
        self.features = self.width = config.width
        self.entrance = InputEmbedding(encoding, config.width)
        self.blocks = nn.ModuleList(DilatedBlock(config, 2**level) for level in range(config.depth))

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, width)."""
        return pooled(self.sequence(inputs), self.entrance.observed(inputs), self.pooling)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Features of every step, (B, T, width)."""
        return self._each_block(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Features after every block, each (B, width)."""
        observed = self.entrance.observed(inputs)
        return [pooled(steps, observed, self.pooling) for steps in self._each_block(inputs)]

    def embeddings(self) -> Tensor | None:
        """The vectors of a text's codes, (V, width)."""
        return self.entrance.table.weight if self.entrance.is_text else None

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """The state holds the last inputs of each convolution, each (B, width, (k - 1) * dilation)."""
        values = self.entrance(inputs).transpose(1, 2)  # (B, width, S): convolutions take channels first
        after: State = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, DilatedBlock)
            values, kept = block.advance(values, state[2 * index : 2 * index + 2])
            after += kept
        return values.transpose(1, 2), after

    def _each_block(self, inputs: Tensor) -> list[Tensor]:
        observed = self.entrance.observed(inputs).unsqueeze(1)  # (B, 1, T)
        values = self.entrance(inputs).transpose(1, 2)  # (B, width, T)
        outputs = []
        for block in self.blocks:
            values = block(values, observed)
            outputs.append(values.transpose(1, 2))
        return outputs


class DilatedConvolution(nn.Conv1d):
    """A convolution whose kernels are normalised by weight, (B, F, T) to the same; it sees `reach` other steps."""

    def __init__(self, width: int, kernel: int, dilation: int, *, causal: bool) -> None:
        super().__init__(width, width, kernel, dilation=dilation)
        self.reach = (kernel - 1) * dilation
        self.before = self.reach if causal else self.reach // 2  # zeros before the first step; the rest after the last
        self.gain = nn.Parameter(self.weight.detach().flatten(1).norm(dim=1))  # at first w = v

    def forward(self, values: Tensor) -> Tensor:
        """Pad with zeros at both ends, or if causal only before the first step."""
        return self.slide(F.pad(values, (self.before, self.reach - self.before)))

    def slide(self, values: Tensor) -> Tensor:
        """(B, F, S + reach) to (B, F, S)."""
        # Weight normalisation: w = g v / |v| per output channel.
        direction = self.weight / self.weight.flatten(1).norm(dim=1)[:, None, None]
        return F.conv1d(values, self.gain[:, None, None] * direction, self.bias, dilation=self.dilation)


class DilatedBlock(nn.Module):
    """relu(x + f(x)), (B, width, T) to the same."""

    def __init__(self, config: Tcn, dilation: int) -> None:
        super().__init__()
        causal = bool(config.causal)
        self.first = DilatedConvolution(config.width, config.kernel, dilation, causal=causal)
        self.second = DilatedConvolution(config.width, config.kernel, dilation, causal=causal)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """`observed` bool (B, 1, T): what was not, no convolution sees."""
        inner = self.dropout(F.relu(self.first(values * observed)))
        inner = self.dropout(F.relu(self.second(inner * observed)))
        return F.relu(values + inner)

    def advance(self, values: Tensor, past: State) -> tuple[Tensor, State]:
        """The next steps (B, width, S) after those of `past`, nothing or one part a convolution; in eval mode."""
        inner, kept = values, []
        for index, convolution in enumerate((self.first, self.second)):
            before = past[index] if past else inner.new_zeros(len(inner), inner.shape[1], convolution.reach)
            together = torch.cat([before, inner], dim=2)  # (B, width, reach + S)
            kept.append(together[:, :, inner.shape[2] :])  # the last `reach` inputs, which the next call begins with
            inner = F.relu(convolution.slide(together))
        return F.relu(values + inner), kept
