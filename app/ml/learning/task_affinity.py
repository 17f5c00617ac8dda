"""Which head's learning helps which, measured now and then while they train together.

Fifty et al., "Efficiently identifying task groupings for multi-task learning", 2021 (TAG). The backbone takes a step
down the slope of head i's loss alone; by how much of itself head j's loss falls then is the lookahead i -> j:

    1 - L_j(after a step for i) / L_j(before)

A step is as long as lowers its own head's loss by a hundredth, by the slope, so that heads compare and curvature stays
out of it; but never longer than a thousandth of the backbone's weights. Beside it stands the cosine between the two
gradients (Du et al., "Adapting auxiliary losses using gradient similarity", 2018). Both are means over the
times they were measured; afterwards every weight is what it was.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.ml.kinds.balancing.base import gradients

_GAIN = 1e-2  # of the stepping head's own loss
_MAX = 1e-3  # of the weights' length


class Affinity(nn.Module):
    """Sums and counts (T, T) of what was measured: saved with the training."""

    lookahead: Tensor
    cosine: Tensor
    counts: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        for name in ("lookahead", "cosine", "counts"):
            self.register_buffer(name, torch.zeros(heads, heads, dtype=torch.float64))

    def measure(self, losses: Callable[[], Tensor], present: Tensor, shared: Sequence[nn.Parameter]) -> None:
        """Look ahead once: `losses` computes those of a batch (T,) anew, `present` (T,) says whose targets it has."""
        parameters = list(shared)
        with torch.enable_grad():
            before = losses()
            slopes = gradients(before, parameters)
        lengths = slopes.norm(dim=1)
        tiny = torch.finfo(slopes.dtype).tiny
        units = slopes / lengths.clamp(min=tiny)[:, None]
        wanted = _GAIN * before.detach().clamp(min=0) / lengths.clamp(min=tiny)
        ahead = self._ahead(losses, parameters, units, wanted)
        both = present & (lengths > 0)
        known = (both[:, None] & present[None, :] & (before.detach() > 0)[None, :]).double()
        lookahead = 1 - ahead / before.detach()[None, :].clamp(min=tiny)
        self.lookahead += known * lookahead
        self.cosine += known * (units @ units.T)
        self.counts += known

    @torch.no_grad()
    def _ahead(
        self, losses: Callable[[], Tensor], parameters: list[nn.Parameter], units: Tensor, wanted: Tensor
    ) -> Tensor:
        """Every loss (column) after a step of a wanted length (T,) for every head (row); then weights are put back."""
        kept = [one.detach().clone() for one in parameters]
        size = torch.cat([one.flatten() for one in kept]).norm()
        sizes = [one.numel() for one in kept]
        rows = []
        for unit, length in zip(units, wanted, strict=True):
            step = unit * torch.minimum(length, _MAX * size)
            for one, part in zip(parameters, torch.split(step, sizes), strict=True):
                one.sub_(part.view_as(one))
            rows.append(losses())
            for one, value in zip(parameters, kept, strict=True):
                one.copy_(value)
        return torch.stack(rows)

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """{"lookahead": {helped: {helper: share}}, "cosine": ..., "measured": times}; null where never measured."""
        return {
            "lookahead": _table(self.lookahead / self.counts, names),
            "cosine": _table(self.cosine / self.counts, names),
            "measured": int(self.counts.max()),
        }


def _table(means: Tensor, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """By the head whose loss it is, then by the head that the step was taken for."""
    by_helped = means.T.tolist()
    return {
        helped: {helper: None if value != value else value for helper, value in zip(names, row, strict=True)}  # noqa: PLR0124 - NaN
        for helped, row in zip(names, by_helped, strict=True)
    }
