"""Random draws and resampling that augmentations share, for B rows at once, from torch's global generators.

All of them keep two properties of a series (B, C + 1, T): its last channel is 0 or 1, and where it is 0 every value is
0. A row that would lose its last observed step is left unchanged.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.blocks.shards import drawn, drawn_like
from app.ml.interfaces.tokenizer import FIRST, UNKNOWN

TABLE, SERIES, IMAGES = 2, 3, 4  # dimensions of encoded batches


def tokens(codes: Tensor) -> Tensor:
    """Mask of a text's own tokens, neither padding nor mask nor begin and end: (B, T)."""
    return (codes == UNKNOWN) | (codes >= FIRST)


def uniform(like: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """Draw numbers from [low, high), (B, *shape), on the device of `like` (B, ...)."""
    return low + (high - low) * _uniform(like, *shape)


def chance(like: Tensor, probability: float, *shape: int) -> Tensor:
    """Draw booleans that are True with the given probability, (B, *shape)."""
    return _uniform(like, *shape) < probability


def _uniform(like: Tensor, *shape: int) -> Tensor:
    return drawn(lambda rows: torch.rand(rows, *shape, device=like.device), len(like))


def affine_warp(images: Tensor, maps: Tensor, beyond: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Resample images (B, C, H, W): the pixel at p, in [-1, 1], shows what was at maps(p); affine maps (B, 2, 3).

    Bilinear, so that values stay in their range; beyond the border it is black, or as on the border. In full precision:
    a bfloat16 coordinate would be wrong by a pixel.
    """
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode=beyond, align_corners=False)


def affine_maps(scale: Tensor, offset: Tensor) -> Tensor:
    """Build the affine maps (B, 2, 3) from p to scale * p + offset; both (B, 2), x before y."""
    return torch.cat([torch.diag_embed(scale), offset.unsqueeze(2)], dim=2)


def rectangles(sides: Tensor, height: int, width: int) -> Tensor:
    """Draw a rectangle per row, wholly within the image, as a mask (B, H, W); sides (B, 2): shares of height and width.

    Sides are rounded to whole pixels.
    """
    return _span(sides[:, 0], height).unsqueeze(2) & _span(sides[:, 1], width).unsqueeze(1)


def spans(shares: Tensor, lengths: Tensor, steps: int) -> Tensor:
    """Draw a span per row as a mask (B, steps): a share (B,) of the row's length (B,), at a random place within it."""
    sizes = (shares * lengths).round()
    # The first step is uniform over all places where the whole span fits into the row.
    first = (drawn_like(torch.rand_like, shares) * (lengths - sizes + 1)).floor().unsqueeze(1)
    places = torch.arange(steps, device=shares.device)
    return (places >= first) & (places < first + sizes.unsqueeze(1))


def _span(shares: Tensor, size: int) -> Tensor:
    return spans(shares, torch.full_like(shares, size), size)


def lengths(series: Tensor) -> Tensor:
    """Length of each series (B,): the steps up to the last observed one, at least 1."""
    places = torch.arange(1, series.shape[2] + 1, device=series.device)
    return (series[:, -1] * places).amax(1).clamp(min=1)


def at_times(series: Tensor, times: Tensor) -> Tensor:
    """Resample series (B, C + 1, T) at fractional steps `times` (B, T), linearly between observed neighbours.

    A step counts as observed where the neighbours that were weigh at least half.
    """
    last = series.shape[2] - 1
    below = times.floor().clamp(0, last)
    share = (times - below).clamp(0, 1)
    left, right = _steps(series, below.long()), _steps(series, (below + 1).clamp(max=last).long())
    # Each neighbour counts by its nearness, and only where it was observed; (B, T) each.
    near, far = (1 - share) * left[:, -1], share * right[:, -1]
    observed = (near + far) >= 0.5  # noqa: PLR2004 - half
    weight = torch.where(observed, near + far, 1).unsqueeze(1)
    # Where only one neighbour was observed the division gives it the whole weight.
    values = (near.unsqueeze(1) * left + far.unsqueeze(1) * right) / weight
    return unless_emptied(values * observed.unsqueeze(1), series)


def unless_emptied(changed: Tensor, series: Tensor) -> Tensor:
    """The changed rows, but where no observed step is left the row as it was; all (B, C + 1, T)."""
    some_left = changed[:, -1:].amax(2, keepdim=True) > 0
    return torch.where(some_left, changed, series)


def _steps(series: Tensor, places: Tensor) -> Tensor:
    """The steps at `places` int64 (B, T)."""
    return series.gather(2, places.unsqueeze(1).expand(-1, series.shape[1], -1))
