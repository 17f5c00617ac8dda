"""Features in the basis of their principal axes: an exact change of variables that makes L2-regularised fits cheap.

With X = U S V' the weights of a regularised linear model lie in the span of V, so W = V w for some w, |W| = |w|, and
X W = (U S) w. With fewer rows than features that leaves few variables, and the axes' spectrum is a good scale for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_AXES = 4096  # an eigenbasis of more takes longer than it saves
_LARGE, _OUTPUTS = 1 << 21, 100  # numbers of a large problem; a row's outputs cost about as much as 100 features
_MIN_AXIS = 1e-12  # of the largest variance: with fewer rows than features what is below is rounding
_ROWS = 4096  # in float64 at once


@dataclass(frozen=True, slots=True)
class Basis:
    """Rows (N, R) in coordinates along R axes. The columns of `axes` (F, R) are the axes; None: the features' own."""

    rows: Tensor
    axes: Tensor | None
    spectrum: Tensor  # (R,) mean square of every column

    def weights(self, coordinates: Tensor) -> Tensor:
        """Turn weights for the coordinates (R, K) into weights for the features (F, K)."""
        return coordinates if self.axes is None else self.axes.to(coordinates) @ coordinates


def is_large(rows: int, width: int) -> bool:
    """Whether a problem has so many rows that float32 is precise enough, and one fold is enough to compare on."""
    return rows * (width + _OUTPUTS) > _LARGE


def principal(features: Tensor) -> Basis:
    """Return rows (N, F) along their principal axes, or as they are where there are too many axes to compute."""
    rows, width = features.shape
    dtype = torch.float32 if is_large(rows, min(rows, width)) else torch.float64
    if min(rows, width) > MAX_AXES:
        return Basis(features.to(dtype), None, features.square().mean(0).to(dtype))
    return (_from_rows if rows < width else _from_features)(features, dtype)


def _from_features(features: Tensor, dtype: torch.dtype) -> Basis:
    """Decompose X'X = V S^2 V', (F, F), for N >= F. Every axis is kept: V is orthogonal whatever the rounding."""
    total = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    for block in torch.split(features, _ROWS):
        total += block.double().T @ block.double()
    squares, axes = torch.linalg.eigh(total)  # (F,) ascending, (F, F)
    # In blocks, so that only a block of the features is held in float64.
    rows = torch.cat([(block.double() @ axes).to(dtype) for block in torch.split(features, _ROWS)])
    return Basis(rows, axes, (squares.clamp(min=0) / len(features)).to(dtype))


def _from_rows(features: Tensor, dtype: torch.dtype) -> Basis:
    """Decompose XX' = U S^2 U', (N, N), for N < F; then the coordinates are U S and the axes V = X'U / S."""
    total = sum(block @ block.T for block in _double_columns(features))
    assert isinstance(total, Tensor)
    squares, left = torch.linalg.eigh(total)  # (N,) ascending, (N, N)
    # Centred rows have at most N - 1 axes; dividing by the S of an axis that is rounding would make noise of it.
    alive = squares > _MIN_AXIS * squares[-1].clamp(min=torch.finfo(torch.float64).tiny)
    sizes, left = squares[alive].sqrt(), left[:, alive]
    axes = torch.cat([block.T @ left / sizes for block in _double_columns(features)])
    return Basis((left * sizes).to(dtype), axes, (squares[alive] / len(features)).to(dtype))


def _double_columns(features: Tensor) -> Iterator[Tensor]:
    """Yield the features in float64, some columns (N, b) at a time."""
    return (block.double() for block in torch.split(features, _ROWS, dim=1))
