"""ROCKET: where random convolution kernels answer most strongly, and how often they answer at all.

Dempster, Petitjean and Webb, "ROCKET: exceptionally fast and accurate time series classification using random
convolutional kernels", 2020. A kernel has 7, 9 or 11 weights w ~ N(0, 1), less their mean, on a random few of the
channels, a bias b ~ U(-1, 1), and a dilation d = 1 ... (T - 1) / 10:

    c_t  = b + sum_j w_j x_(t + d (j - J)),   J the middle
    f    = the greatest c_t over the row's steps, and the share of the steps at which  c_t > 0

Half of the kernels see channels as they are scaled, half see rows that are standardised one by one. Beyond both ends of
a row, and where a step was not observed, kernels see 0. Unlike `random_kernels`, its successor, it also knows how much
a row resembles a kernel at best, which tells more where a short pattern lies anywhere in noise.

Nothing here is learned by gradient but a weight of each feature, at first the inverse of its deviation.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from app.ml.blocks.kernels import dilations_of, random_rows, shifted, split_channels, standardised, weights_of
from app.ml.blocks.precision import full_precision
from app.ml.fields import Auto, Integer
from app.ml.interfaces import Backbone, BackboneConfig, BackboneRequest, Choices, Encoding, ResolutionContext
from app.ml.interfaces.values import ExampleSource
from app.ml.spec import ModalityKind

_TAPS, _LENGTHS = 11, (7, 9, 11)
_VIEWS = 2
_USUAL_KERNELS, _MIN_KERNELS = 5_000, 200
_MANY_ROWS, _KERNELS_OF_MANY_ROWS = 2_000, 1_000  # a head is solved for among as many axes as the smaller of the two
_VALUES = 1.5e9  # that all kernels answer all rows with: half a minute of a core
_NUMBERS_AT_ONCE = 1 << 20  # they fit into a processor's cache

Count = Annotated[Integer, Field(ge=24, le=50_000)]


class Rocket(BackboneRequest):
    """Greatest answers of random convolutions, and the shares of positive ones, for heads that are solved for."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    learns: ClassVar[bool] = False
    kind: Literal["rocket"] = "rocket"
    kernels: Auto[Count] = Field(
        "auto",
        description="About how many kernels there are, of two features each; auto: 5,000, fewer for many or long rows.",
        examples=[200],
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedRocket]":
        """Return the class that builds."""
        return ResolvedRocket

    def choices(self, context: ResolutionContext) -> Choices:
        """5,000 kernels; fewer where computing them, or solving for a head on their features, would take long."""
        values = max(1, context.train_rows) * context.shape[0]
        most = _USUAL_KERNELS if context.train_rows <= _MANY_ROWS else _KERNELS_OF_MANY_ROWS
        kernels = max(_MIN_KERNELS, min(most, int(_VALUES / values)))
        return {"kernels": (kernels, f"{context.train_rows} train rows of up to {context.shape[0]} steps")}


class ResolvedRocket(Rocket, BackboneConfig):
    """The same with a known number of kernels."""

    kernels: Count

    def build(self, encoding: Encoding) -> "RocketBackbone":
        """Build it for (C + 1, T), with random kernels."""
        return RocketBackbone(self, encoding)


class RocketBackbone(Backbone):
    """(B, C + 1, T) to (B, 2 * V * D * K): V views, D dilations, K kernels of each."""

    kernels: Tensor  # (V D, K, C, 11), shorter ones between zeros
    biases: Tensor  # (V D, K)

    def __init__(self, config: ResolvedRocket, encoding: Encoding) -> None:
        super().__init__()
        self.encoding = encoding
        channels, steps = encoding.shape[0] - 1, encoding.shape[1]
        self.dilations = dilations_of(steps, _TAPS, max(1, config.kernels // (_VIEWS * len(_LENGTHS))))
        tables = _VIEWS * len(self.dilations)
        each = max(1, config.kernels // (tables * len(_LENGTHS)))
        drawn = [torch.cat([_draw(each, channels, length) for length in _LENGTHS]) for _ in range(tables)]
        self.features = 2 * tables * each * len(_LENGTHS)
        self.register_buffer("kernels", torch.stack(drawn))
        self.register_buffer("biases", torch.rand(tables, each * len(_LENGTHS)) * 2 - 1)
        self.weights = nn.Parameter(torch.ones(self.features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C + 1, T) to (B, F), in float32 whatever the precision: sums are compared with 0."""
        if torch.compiler.is_exporting():  # as one block: a graph holds for any number of rows
            return self.weights * self._answers(inputs)
        with full_precision(inputs.device):
            return self.weights * torch.cat([self._answers(block.float()) for block in self._blocks(inputs)])

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """There is one."""
        return [self(inputs)]

    @torch.no_grad()
    def initialize(self, examples: ExampleSource) -> None:
        """Weigh features by the inverse of their deviations over random train rows."""
        rows = random_rows(examples).to(self.biases.device)
        self.weights.copy_(weights_of(torch.cat([self._answers(block) for block in self._blocks(rows)])))

    def _blocks(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Rows (B, C + 1, T), so many at a time that what is computed of them fits into a processor's cache."""
        numbers = max(self.kernels.shape[1], _TAPS * self.kernels.shape[2]) * inputs.shape[2]  # of one row
        return torch.split(inputs, max(1, _NUMBERS_AT_ONCE // numbers))

    @torch.no_grad()
    def _answers(self, inputs: Tensor) -> Tensor:
        """(b, C + 1, T) to (b, F)."""
        values, observed = split_channels(inputs)
        views = values, standardised(values, observed)
        count = observed.sum(2).clamp(min=1)
        parts = []
        for table, (kernels, biases) in enumerate(zip(self.kernels, self.biases, strict=True)):
            view, index = divmod(table, len(self.dilations))
            moved = shifted(views[view], self.dilations[index], _TAPS)
            # In float64: in float32 a row's sums would depend on the batch that it is in.
            answers = (kernels.double().flatten(1) @ moved).float() + biases[:, None]  # (b, K, T)
            answers = torch.where(observed, answers, -torch.inf)
            greatest = answers.amax(2)
            parts += [torch.where(greatest.isfinite(), greatest, 0), (answers > 0).sum(2) / count]
        return torch.cat(parts, dim=1)


def _draw(count: int, channels: int, length: int) -> Tensor:
    """Kernels on a random few of the channels, (count, C, 11); few channels more often than many."""
    counts = (2 ** (torch.rand(count, 1) * math.log2(channels + 1))).floor()
    chosen = torch.rand(count, channels).argsort(1).argsort(1) < counts
    weights = torch.randn(count, channels, length)
    weights = (weights - weights.mean(2, keepdim=True)) * chosen[:, :, None]
    missing = (_TAPS - length) // 2
    return nn.functional.pad(weights, (missing, missing))
