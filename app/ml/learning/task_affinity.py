"""Task affinity: how much the training of one head helps another, measured now and then while they train together.

Fifty et al., "Efficiently identifying task groupings for multi-task learning", 2021 (TAG). The backbone takes a step
along the negative gradient of head i's loss alone. The lookahead i -> j is the share by which head j's loss falls:

    1 - L_j(after a step for i) / L_j(before)

A step has the length that lowers its own head's loss by a hundredth to first order, so that heads compare and curvature
plays no part; but at most a thousandth of the norm of the backbone's weights. The cosine between the two gradients is
measured as well (Du et al., "Adapting auxiliary losses using gradient similarity", 2018). Both are means over all
measurements. Afterwards every weight is what it was.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from app.ml.kinds.balancing.base import gradients

_DECREASE = 1e-2  # share of the stepping head's own loss
_MAX_STEP = 1e-3  # share of the norm of the weights


class Affinity(nn.Module):
    """Sums and counts (T, T) of all measurements, saved with the training; rows are stepping heads."""

    lookahead: Tensor
    cosine: Tensor
    counts: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        for name in ("lookahead", "cosine", "counts"):
            self.register_buffer(name, torch.zeros(heads, heads, dtype=torch.float64))

    def measure(self, losses: Callable[[], Tensor], present: Tensor, shared: Sequence[nn.Parameter]) -> None:
        """Measure once: `losses` computes those of a batch (T,) anew, `present` (T,) says whose targets it has."""
        parameters = list(shared)
        with torch.enable_grad():
            before = losses()
            slopes = gradients(before, parameters)  # (T, P): each head's gradient, all parameters in a row
        norms = slopes.norm(dim=1)
        tiny = torch.finfo(slopes.dtype).tiny
        directions = slopes / norms.clamp(min=tiny)[:, None]
        # A step of length e along the unit gradient lowers a loss by e |g|, to first order: solved for e.
        lengths = _DECREASE * before.detach().clamp(min=0) / norms.clamp(min=tiny)
        after = self._after_steps(losses, parameters, directions, lengths)  # (T, T)
        # A pair counts where the stepping head has a gradient, and the other one a target and a loss above 0.
        steps = present & (norms > 0)
        counted = (steps[:, None] & present[None, :] & (before.detach() > 0)[None, :]).double()
        lookahead = 1 - after / before.detach()[None, :].clamp(min=tiny)
        self.lookahead += counted * lookahead
        self.cosine += counted * (directions @ directions.T)
        self.counts += counted

    @torch.no_grad()
    def _after_steps(
        self, losses: Callable[[], Tensor], parameters: list[nn.Parameter], directions: Tensor, lengths: Tensor
    ) -> Tensor:
        """Every loss (column) after a step of length (T,) against each head's gradient (row); weights are put back."""
        saved = [parameter.detach().clone() for parameter in parameters]
        norm = torch.cat([values.flatten() for values in saved]).norm()
        sizes = [values.numel() for values in saved]
        rows = []
        for direction, length in zip(directions, lengths, strict=True):
            step = direction * torch.minimum(length, _MAX_STEP * norm)  # (P,)
            for parameter, part in zip(parameters, torch.split(step, sizes), strict=True):
                parameter.sub_(part.view_as(parameter))
            rows.append(losses())
            # Copied back and not added: adding would leave rounding behind in the weights.
            for parameter, values in zip(parameters, saved, strict=True):
                parameter.copy_(values)
        return torch.stack(rows)

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return {"lookahead": {helped: {helper: share}}, "cosine": ..., "measured": times}; null: never measured."""
        return {
            "lookahead": _table(self.lookahead / self.counts, names),
            "cosine": _table(self.cosine / self.counts, names),
            "measured": int(self.counts.max()),
        }


def _table(means: Tensor, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Means (T, T) by the name of the head whose loss it is, then by that of the head that the step was taken for."""
    by_helped = means.T.tolist()
    return {
        helped: {helper: None if value != value else value for helper, value in zip(names, row, strict=True)}  # noqa: PLR0124 - NaN
        for helped, row in zip(names, by_helped, strict=True)
    }
