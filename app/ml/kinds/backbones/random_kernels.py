"""Random convolution kernels: how much of a series lies above thresholds, once it was convolved with fixed kernels.

Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform for time series classification",
2021, after ROCKET (Dempster, Petitjean and Webb, 2020). There are 84 kernels w of nine weights, six of -1 and three of
2, which sum to 0, and every one is dilated by d = 1 ... (T - 1) / 8:

    c_t  = sum_j w_j x_(t + d (j - 4)),   x the sum of a random few of the channels
    f    = the share of the steps at which  c_t > b

The thresholds b are quantiles of c in random train rows. Half of the kernels see 0 beyond both ends of a row, the
others count only steps from which they see no end. Kernels that sum to 0 are blind to the level of a channel, so that
some features are the share of steps at which a channel's own value is above a quantile of it. Steps that were not
observed, and what is behind the end of a shorter row, are 0 for every kernel, and no step that counts.

With the views "both" one half of the thresholds are of rows that are standardised one by one: where rows differ in
scale or level without a meaning, the other half is blind.

Values are first rounded to 2^-30, so that float64 holds every c exactly, in whatever order it was added up: a row has
the same features in any batch, on any device, and once exported.

Nothing here is learned by gradient but a weight of each feature, at first the inverse of its deviation.
"""

import math
from itertools import combinations
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

_KERNELS, _TAPS, _MIDDLE = 84, 9, 4
_HALF = _KERNELS // 2
_MAX_CHANNELS = 9  # that one kernel sums
_MAX_LEVELS = 32  # thresholds of a channel's own values
_USUAL_FEATURES, _MIN_FEATURES = 10_000, 1_000
_MANY_ROWS, _FEATURES_OF_MANY_ROWS = 2_000, 2_000  # a head is solved for among as many axes as the smaller of the two
_COMPARISONS = 3e10  # of values with thresholds: half a minute of a core
_NUMBERS_AT_ONCE = 1 << 20  # they fit into a processor's cache
_GOLDEN_RATIO = (math.sqrt(5) + 1) / 2  # its multiples, modulo 1, are spread evenly however many they are
_MARGIN = 2.0**-17  # between a threshold and the rows' own values: those of a flat row are equal but for rounding

Count = Annotated[Integer, Field(ge=84, le=100_000)]


class RandomKernels(BackboneRequest):
    """Shares of a series above thresholds after fixed convolutions, for heads that are solved for."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("series",)
    learns: ClassVar[bool] = False
    kind: Literal["random_kernels"] = "random_kernels"
    features: Auto[Count] = Field(
        "auto",
        description="About how many features there are; auto: 10,000, fewer of many or long series.",
        examples=[300],
    )
    views: Auto[Literal["channel", "both"]] = Field(
        "auto",
        description="How rows are seen: as channels are scaled, or both so and standardised one by one; auto: both.",
    )

    @classmethod
    def resolved_type(cls) -> "type[ResolvedRandomKernels]":
        """Return the class that builds."""
        return ResolvedRandomKernels

    def choices(self, context: ResolutionContext) -> Choices:
        """10,000 features, as published; fewer where computing them, or solving for a head on them, would take long."""
        values = max(1, context.train_rows) * context.shape[0]
        most = _USUAL_FEATURES if context.train_rows <= _MANY_ROWS else _FEATURES_OF_MANY_ROWS
        features = max(_MIN_FEATURES, min(most, int(_COMPARISONS / values)))
        return {
            "features": (features, f"{context.train_rows} train rows of up to {context.shape[0]} steps"),
            "views": ("both", "what sets rows apart may lie in a row's scale, or hide behind it"),
        }


class ResolvedRandomKernels(RandomKernels, BackboneConfig):
    """The same with a known number of features."""

    features: Count
    views: Literal["channel", "both"] = "channel"  # as earlier releases saw rows

    def build(self, encoding: Encoding) -> "RandomKernelsBackbone":
        """Build it for (C + 1, T); random channels are drawn, and all thresholds are 0 until they are fitted."""
        return RandomKernelsBackbone(self, encoding)


class RandomKernelsBackbone(Backbone):
    """(B, C + 1, T) to (B, V D * 84 * N + C * M): V views, D dilations, N thresholds of each kernel, M of a channel."""

    kernels: Tensor  # (D, 84, C, 9)
    thresholds: Tensor  # (V D, 84, N)
    levels: Tensor  # (C, M)

    def __init__(self, config: ResolvedRandomKernels, encoding: Encoding) -> None:
        super().__init__()
        self.encoding, self.views = encoding, config.views
        channels, steps = encoding.shape[0] - 1, encoding.shape[1]
        views = 2 if config.views == "both" else 1
        self.dilations = dilations_of(steps, _TAPS, max(1, config.features // (_KERNELS * views)))
        tables = views * len(self.dilations)
        count = max(1, config.features // (_KERNELS * tables))
        levels = max(1, min(_MAX_LEVELS, config.features // (10 * channels)))
        self.features = tables * _KERNELS * count + channels * levels
        self.register_buffer("kernels", draw_kernels(len(self.dilations), channels))
        self.register_buffer("thresholds", torch.zeros(tables, _KERNELS, count))
        self.register_buffer("levels", torch.zeros(channels, levels))
        self.weights = nn.Parameter(torch.ones(self.features))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C + 1, T) to (B, F), in float32 whatever the precision: it is compared with thresholds."""
        if torch.compiler.is_exporting():  # as one block: a graph holds for any number of rows
            return self.weights * self._shares(inputs)
        with full_precision(inputs.device):
            return self.weights * torch.cat([self._shares(block.float()) for block in self._blocks(inputs)])

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """There is one."""
        return [self(inputs)]

    @torch.no_grad()
    def initialize(self, examples: ExampleSource) -> None:
        """Set thresholds to quantiles of what kernels and channels make of random train rows, one row for each."""
        rows = random_rows(examples).to(self.levels.device)
        count = self.thresholds.shape[2]
        # One sequence runs on through the thresholds of all kernels, so that together they cover all quantiles.
        quantiles = (torch.arange(1, self.thresholds.numel() + 1, dtype=torch.float64) * _GOLDEN_RATIO % 1).to(rows)
        parts = torch.split(quantiles.view(-1, count), _KERNELS)  # each (84, N)
        for table in range(len(self.thresholds)):
            index = table % len(self.dilations)
            drawn = rows[torch.randint(len(rows), (_KERNELS,)).to(rows.device)]  # row k for kernel k
            values, observed = split_channels(drawn)
            values = values if table == index else standardised(values, observed)
            kernels = self.kernels[index].double().flatten(1).unsqueeze(1)  # (84, 1, C * 9)
            dilation = self.dilations[index]
            convolved = (kernels @ shifted(values, dilation, _TAPS)).squeeze(1).float()  # (84, T)
            counts = torch.cat([observed[:_HALF], whole_steps(observed[_HALF:], dilation)]).squeeze(1)
            self.thresholds[table] = quantiles_of(convolved, counts, parts[table])
        values, observed = split_channels(rows)
        values = values.float().transpose(0, 1).flatten(1)  # (C, n * T)
        places = (torch.arange(self.levels.shape[1]) + 0.5) / self.levels.shape[1]
        counts = observed.flatten().expand(len(values), -1)
        self.levels.copy_(quantiles_of(values, counts, places.to(rows).expand(len(values), -1)))
        self.weights.copy_(weights_of(torch.cat([self._shares(block) for block in self._blocks(rows)])))

    def _blocks(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Rows (B, C + 1, T), so many at a time that what is computed of them fits into a processor's cache."""
        numbers = max(_KERNELS, _TAPS * self.kernels.shape[2]) * inputs.shape[2]  # of one row
        return torch.split(inputs, max(1, _NUMBERS_AT_ONCE // numbers))

    @torch.no_grad()
    def _shares(self, inputs: Tensor) -> Tensor:
        """(b, C + 1, T) to (b, F)."""
        values, observed = split_channels(inputs)
        views = [values, standardised(values, observed)] if self.views == "both" else [values]
        parts = []
        for table, thresholds in enumerate(self.thresholds):
            view, index = divmod(table, len(self.dilations))
            dilation = self.dilations[index]
            moved = shifted(views[view], dilation, _TAPS)
            convolved = (self.kernels[index].double().flatten(1) @ moved).float()  # (b, 84, T)
            whole = whole_steps(observed, dilation)
            parts.append(shares_above(convolved[:, :_HALF], thresholds[:_HALF], observed))
            parts.append(shares_above(convolved[:, _HALF:], thresholds[_HALF:], whole))
        parts.append(shares_above(values.float(), self.levels, observed))
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def draw_kernels(dilations: int, channels: int) -> Tensor:
    """Every kernel at every dilation on a random few of the channels, (D, 84, C, 9).

    At every other dilation the two halves change places, so that each kernel is padded at about half of them.
    """
    kernels = torch.full((_KERNELS, _TAPS), -1.0)
    for kernel, places in enumerate(combinations(range(_TAPS), 3)):
        kernels[kernel, list(places)] = 2.0
    swapped = torch.cat([kernels[1::2], kernels[::2]])
    kernels = torch.cat([kernels[::2], kernels[1::2]])
    turns = torch.stack([swapped if index % 2 else kernels for index in range(dilations)])  # (D, 84, 9)
    # From 1 to 9 channels, few more often than many: the number's logarithm is uniform.
    most = min(channels, _MAX_CHANNELS)
    counts = (2 ** (torch.rand(dilations, _KERNELS, 1) * math.log2(most + 1))).floor()
    ranks = torch.rand(dilations, _KERNELS, channels).argsort(2).argsort(2)
    return (ranks < counts)[..., None] * turns[:, :, None]


def whole_steps(observed: Tensor, dilation: int) -> Tensor:
    """The observed steps at which a kernel lies within its row, bool (b, 1, T); of a row too short for it, all."""
    steps, reach = torch.arange(observed.shape[2], device=observed.device), _MIDDLE * dilation
    lengths = (observed * (steps + 1)).amax(2, keepdim=True)
    whole = observed & (steps >= reach) & (steps + reach < lengths)
    return whole | (observed & ~whole.any(2, keepdim=True))


def shares_above(values: Tensor, thresholds: Tensor, counts: Tensor) -> Tensor:
    """The share of the steps that count, bool (b, 1, T), at which (b, K, T) is above thresholds (K, N): (b, K, N)."""
    values = torch.where(counts, values, -torch.inf)
    above = torch.stack([_count(values > column[:, None]) for column in thresholds.unbind(1)], dim=2)
    return above / counts.sum(2, keepdim=True).clamp(min=1)


def _count(chosen: Tensor) -> Tensor:
    """How many of the last dimension are True."""
    if torch.compiler.is_exporting():
        return chosen.sum(2)
    return chosen.view(torch.uint8).sum(2, dtype=torch.int32)  # bytes add up in half of the time


def quantiles_of(values: Tensor, counts: Tensor, places: Tensor) -> Tensor:
    """Row by row the quantiles `places` (K, N) of the values (K, T) that count, bool (K, T): (K, N); of none, 0.

    They lie in the middle between two neighbours in order, and a little above it where these are equal.
    """
    ordered = torch.where(counts, values, torch.inf).sort(1).values
    last = counts.sum(1, keepdim=True) - 1
    lower = (places * last).long().clamp(min=0)
    upper = torch.minimum(lower + 1, last.clamp(min=0))
    middle = (ordered.gather(1, lower) + ordered.gather(1, upper)) / 2
    return torch.where(last >= 0, middle, 0.0) + _MARGIN
