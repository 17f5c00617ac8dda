"""Features in the basis of their principal axes: an exact change of variables that makes L2-regularised fits cheap.

With X = U S V' the weights of a regularised linear model lie in the span of V, so W = V w for some w, |W| = |w|, and
X W = (U S) w. With fewer rows than features that leaves few variables, and the axes' spectrum is a good scale for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_AXES = 4096  # an eigenbasis of more takes longer than it saves
_MANY, _OUTPUTS = 1 << 21, 100  # numbers of a problem, and how many of them a row's outputs are worth
_MIN_AXIS = 1e-12  # of the largest variance: with fewer rows than features what is below is rounding
_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Basis:
    """Rows (N, R) in some basis, with the axes (F, R) to go back; None: the features themselves."""

    rows: Tensor
    axes: Tensor | None
    spectrum: Tensor  # (R,) mean square of every column

    def weights(self, found: Tensor) -> Tensor:
        """Weights for rows (R, K) to weights for features (F, K)."""
        return found if self.axes is None else self.axes.to(found) @ found


def is_large(rows: int, width: int) -> bool:
    """Whether a problem has rows enough to spare precision: float32 does, and one fold tells enough."""
    return rows * (width + _OUTPUTS) > _MANY


def principal(features: Tensor) -> Basis:
    """Principal axes of (N, F) where they are few enough to be found quickly, else the features as they are."""
    rows, width = features.shape
    dtype = torch.float32 if is_large(rows, min(rows, width)) else torch.float64
    if min(rows, width) > MAX_AXES:
        return Basis(features.to(dtype), None, features.square().mean(0).to(dtype))
    return (_from_rows if rows < width else _from_features)(features, dtype)


def _from_features(features: Tensor, dtype: torch.dtype) -> Basis:
    """V from X'X = V S^2 V'; every axis is kept, so that the change of variables is exact whatever the rounding."""
    total = torch.zeros(features.shape[1], features.shape[1], dtype=torch.float64, device=features.device)
    for block in torch.split(features, _ROWS):
        total += block.double().T @ block.double()
    squares, axes = torch.linalg.eigh(total)
    rows = torch.cat([(block.double() @ axes).to(dtype) for block in torch.split(features, _ROWS)])
    return Basis(rows, axes, (squares.clamp(min=0) / len(features)).to(dtype))


def _from_rows(features: Tensor, dtype: torch.dtype) -> Basis:
    """U S from XX' = U S^2 U', and V = X'U / S."""
    total = sum(block @ block.T for block in _double_columns(features))
    assert isinstance(total, Tensor)
    squares, left = torch.linalg.eigh(total)
    alive = squares > _MIN_AXIS * squares[-1].clamp(min=torch.finfo(torch.float64).tiny)
    sizes, left = squares[alive].sqrt(), left[:, alive]
    axes = torch.cat([block.T @ left / sizes for block in _double_columns(features)])
    return Basis((left * sizes).to(dtype), axes, (squares[alive] / len(features)).to(dtype))


def _double_columns(features: Tensor) -> Iterator[Tensor]:
    """The features in float64, some columns (N, b) at a time."""
    return (block.double() for block in torch.split(features, _ROWS, dim=1))
