"""Baselines of a transfer report: backbones that have learned nothing. Reports build them, no job can choose them.

constant   one feature that never changes: a head on it answers the majority, or the mean
raw        the encoded row itself: a linear head on it is a linear model of the inputs. Rows of more than 12,288 values
           are averaged to a coarser grid. Texts become counts of the runs of tokens in them, tf-idf

    x_w = (1 + log n_w) (1 + log (1 + N) / (1 + N_w)) for the n_w > 0 times that run w occurs, scaled to |x| = 1

(Sparck Jones, 1972). Runs have up to four tokens of a small vocabulary, two of a large one, and share 4,096 places by
hashing (Weinberger et al., "Feature hashing for large scale multitask learning", 2009).
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.ml.interfaces import Backbone, BackboneConfig, Encoding, Shape
from app.ml.spec import ModalityKind

_ALL: tuple[ModalityKind, ...] = ("image", "table", "text", "series")
_MAX_VALUES = 12_288
_PLACES = 4096
_SMALL_VOCABULARY = 512
_FACTOR, _SPREAD = 1_000_003, 2_654_435_761  # any large odd numbers do


class ConstantConfig(BackboneConfig):
    """The config of a constant feature."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = _ALL
    kind: Literal["constant"] = "constant"

    def build(self, encoding: Encoding) -> "ConstantBackbone":
        """Build it."""
        return ConstantBackbone(encoding)


class RawConfig(BackboneConfig):
    """The config of the encoded row as features."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = _ALL
    kind: Literal["raw"] = "raw"

    def build(self, encoding: Encoding) -> "RawBackbone":
        """Build it; for texts `fit` must be called."""
        return RawBackbone(encoding)


class _Plain(Backbone):
    """One layer; its parameter, which is 1, says on which device it is, as other backbones' parameters do."""

    def __init__(self, encoding: Encoding, features: int) -> None:
        super().__init__()
        self.encoding, self.features = encoding, features
        self.one = nn.Parameter(torch.ones(()))

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The features alone."""
        return [self(inputs)]


class ConstantBackbone(_Plain):
    """(B, *shape) to zeros (B, 1)."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__(encoding, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *shape) to (B, 1)."""
        return 0 * self.one.expand(len(inputs), 1)


class RawBackbone(_Plain):
    """(B, *shape) to (B, F)."""

    rarity: Tensor  # (F,) of a text's runs

    def __init__(self, encoding: Encoding) -> None:
        self.grid = coarser(encoding.shape) if encoding.vocabulary is None else None
        super().__init__(encoding, math.prod(self.grid or (_PLACES,)))
        if self.grid is None:
            self.register_buffer("rarity", torch.ones(_PLACES))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, *shape) to (B, F)."""
        if self.grid is None:
            counts = self._counts(inputs)
            # 1 + log n_w where run w occurs; the clamp keeps log 0 out, whose gradient would be NaN
            weighed = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * self.rarity
            return self.one * F.normalize(weighed, dim=1)
        return self.one * _averaged(inputs, self.grid).flatten(1)

    @torch.no_grad()
    def fit(self, inputs: Tensor) -> None:
        """Learn from texts (N, T) how rare each run is; nothing is learned from other rows."""
        if self.grid is None:
            # N_w (F,): how many texts hold run w; in blocks, since (N, F) counts may not fit into memory
            seen = sum((self._counts(block) > 0).sum(0) for block in torch.split(inputs, 1024))
            self.rarity.copy_(1 + math.log(1 + len(inputs)) - torch.as_tensor(seen).add(1).log())

    def _counts(self, codes: Tensor) -> Tensor:
        """How often each place is hit by a run of tokens of texts (B, T): (B, F)."""
        orders = 4 if (self.encoding.vocabulary or 0) <= _SMALL_VOCABULARY else 2
        counts = torch.zeros(len(codes), _PLACES, device=codes.device)
        # run[b, t] is the polynomial hash of the tokens t .. t + order; it wraps around in int64, which does no harm
        run, whole = torch.zeros_like(codes), torch.ones_like(codes, dtype=torch.bool)
        for order in range(min(orders, codes.shape[1])):
            later = F.pad(codes[:, order:], (0, order))  # token t + order; padding is 0, as where a text has ended
            whole = whole & (later > 0)  # a run that reaches into the padding is none
            run = run * _FACTOR + later + order + 1
            # Low bits of the hash depend on few tokens: multiply, and take higher bits.
            places = (run * _SPREAD).bitwise_right_shift(20).remainder(_PLACES)
            counts.scatter_add_(1, places, whole.to(counts))
        return counts


def coarser(shape: Shape) -> Shape:
    """Return the shape (C, ...) with its sides scaled alike until it has at most 12,288 values."""
    channels, *sides = shape
    if not sides or math.prod(shape) <= _MAX_VALUES:
        return shape
    share = (_MAX_VALUES / math.prod(shape)) ** (1 / len(sides))
    return (channels, *(max(1, int(side * share)) for side in sides))


def _averaged(inputs: Tensor, grid: Shape) -> Tensor:
    if tuple(inputs.shape[1:]) == grid:
        return inputs
    if len(grid) == 3:  # noqa: PLR2004 - (C, H, W)
        return F.adaptive_avg_pool2d(inputs, (grid[1], grid[2]))
    return F.adaptive_avg_pool1d(inputs, grid[1])
