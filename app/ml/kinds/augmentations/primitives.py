"""Random draws and resampling that augmentations share; B rows at once, from torch's global generators.

A series (B, C + 1, T) keeps its promise through all of them: its last channel is 0 or 1, and where it is 0 every value
is 0. A row whose last observed step would be lost stays as it was.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.kinds.tokenizers.base import FIRST, UNKNOWN

TABLE, SERIES, IMAGES = 2, 3, 4  # dimensions of encoded batches


def tokens(codes: Tensor) -> Tensor:
    """Where a text's own tokens are, neither padding nor mask nor its limits: (B, T)."""
    return (codes == UNKNOWN) | (codes >= FIRST)


def uniform(like: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """Numbers of [low, high), (B, *shape), on the device of `like` (B, ...)."""
    return low + (high - low) * torch.rand(len(like), *shape, device=like.device)


def chance(like: Tensor, probability: float, *shape: int) -> Tensor:
    """True with the given probability, (B, *shape)."""
    return torch.rand(len(like), *shape, device=like.device) < probability


def affine_warp(images: Tensor, maps: Tensor, beyond: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Images (B, C, H, W) where every place p of a row, in [-1, 1], shows what was at map(p); maps (B, 2, 3).

    Bilinear, so that values stay in their range; beyond the border it is black, or as on the border. In full precision:
    a bfloat16 coordinate would be wrong by a pixel.
    """
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode=beyond, align_corners=False)


def affine_maps(scale: Tensor, offset: Tensor) -> Tensor:
    """Maps (B, 2, 3) of p to scale * p + offset; both (B, 2), x before y."""
    return torch.cat([torch.diag_embed(scale), offset.unsqueeze(2)], dim=2)


def rectangles(sides: Tensor, height: int, width: int) -> Tensor:
    """True inside one rectangle a row, wholly within the image: sides (B, 2) of height and width, as shares; (B, H, W).

    Sides are rounded to whole pixels.
    """
    return _span(sides[:, 0], height).unsqueeze(2) & _span(sides[:, 1], width).unsqueeze(1)


def spans(shares: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """True inside one span a row of the given share of its length (B,), somewhere within it; (B, steps)."""
    sizes = (shares * lengths).round()
    first = (torch.rand_like(shares) * (lengths - sizes + 1)).floor().unsqueeze(1)
    places = torch.arange(steps, device=shares.device)
    return (places >= first) & (places < first + sizes.unsqueeze(1))


def _span(shares: Tensor, size: int) -> Tensor:
    return spans(shares, torch.full_like(shares, size), size)


def lengths(series: Tensor) -> Tensor:
    """Steps (B,) up to the last observed one, at least 1."""
    places = torch.arange(1, series.shape[2] + 1, device=series.device)
    return (series[:, -1] * places).amax(1).clamp(min=1)


def at_times(series: Tensor, times: Tensor) -> Tensor:
    """Series (B, C + 1, T) at fractional steps `times` (B, T), linear between the neighbours that were observed.

    A step counts as observed where the neighbours that were weigh at least half.
    """
    last = series.shape[2] - 1
    below = times.floor().clamp(0, last)
    share = (times - below).clamp(0, 1)
    left, right = _steps(series, below.long()), _steps(series, (below + 1).clamp(max=last).long())
    near, far = (1 - share) * left[:, -1], share * right[:, -1]
    observed = (near + far) >= 0.5  # noqa: PLR2004 - half
    weight = torch.where(observed, near + far, 1).unsqueeze(1)
    values = (near.unsqueeze(1) * left + far.unsqueeze(1) * right) / weight
    return unless_emptied(values * observed.unsqueeze(1), series)


def unless_emptied(changed: Tensor, series: Tensor) -> Tensor:
    """The changed rows, but where no observed step is left the row as it was; all (B, C + 1, T)."""
    some_left = changed[:, -1:].amax(2, keepdim=True) > 0
    return torch.where(some_left, changed, series)


def _steps(series: Tensor, places: Tensor) -> Tensor:
    """The steps at `places` int64 (B, T)."""
    return series.gather(2, places.unsqueeze(1).expand(-1, series.shape[1], -1))
