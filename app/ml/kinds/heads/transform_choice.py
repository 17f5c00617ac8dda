"""Chooses a transform of skewed targets: by ridge regressions on the features, and rows that each leaves out.

Errors are compared in the targets' own units, since that is what is asked for: a logarithm always errs less in its own.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from app.ml.kinds.heads.target_transforms import KINDS, Kind, TargetTransform
from app.ml.solvers.ridge import leave_one_out

_SKEWED = 1.0  # the third moment; of an exponential distribution it is 2, of a half normal one 1
_MIN_ROWS, _MAX_ROWS = 20, 500


def choose_transform(features: Callable[[], Tensor], targets: Tensor) -> tuple[Kind | Literal["none"], str] | None:
    """Return the transform of targets (N, T) that errs least, and why; None where they are not skewed, or too few.

    It must err less by the squares, and by a standard error less by these or, since a few rows of a skewed target have
    nearly all of their variance, by the errors themselves. `features` computes those of the rows (N, F).
    """
    known = torch.nonzero(~targets.isnan().any(1)).flatten()[:_MAX_ROWS]
    targets = targets[known]
    if len(known) < _MIN_ROWS or not _is_skewed(targets):
        return None
    rows = features()[known].double()
    rows = (rows - rows.mean(0)) / rows.std(0).clamp(min=torch.finfo(torch.float32).tiny)
    errors = {"none": targets - leave_one_out(rows, targets)}
    for kind in KINDS if (targets >= 0).all() else KINDS[-1:]:
        errors[kind] = _errors_of(kind, rows, targets)
    squares = {kind: (of_kind / targets.std(0)).square().sum(1) for kind, of_kind in errors.items()}
    best: Kind = min(KINDS, key=lambda kind: squares[kind].mean().item() if kind in squares else torch.inf)
    differences = (squares["none"] - squares[best], squares["none"].sqrt() - squares[best].sqrt())
    helps = differences[0].mean() > 0 and any(gain.mean() > gain.std() / len(gain) ** 0.5 for gain in differences)
    chosen: Kind | Literal["none"] = best if helps else "none"
    shown = ", ".join(f"{name} {of_kind.mean().sqrt().item():.3g}" for name, of_kind in squares.items())
    return chosen, f"train labels are skewed; errors of {len(known)} rows left out, in deviations: {shown}"


def _is_skewed(targets: Tensor) -> bool:
    """Whether the third moment of any of the targets (N, T) says so."""
    deviation = targets.std(0, correction=0)
    scaled = (targets - targets.mean(0)) / deviation.clamp(min=torch.finfo(deviation.dtype).tiny)
    return bool((scaled**3).mean(0).abs().max() > _SKEWED)


def _errors_of(kind: Kind, rows: Tensor, targets: Tensor) -> Tensor:
    """How far off (N, T), in the targets' units, ridge regressions of transformed targets are for rows left out."""
    transform = TargetTransform(kind, targets.shape[1]).to(targets.device)
    for index, numbers in enumerate(targets.T):
        transform.fit(index, numbers)
    transformed = transform(targets)
    mean, std = transformed.mean(0), transformed.std(0).clamp(min=torch.finfo(torch.float32).tiny)
    standardised = (transformed - mean) / std
    left_out = leave_one_out(rows, standardised)
    for index, errors in enumerate((standardised - left_out).T):
        transform.fit_errors(index, errors)
    ones = torch.ones_like(left_out)
    _, values, _ = transform.in_units(torch, left_out, ones, ones, (mean, std))
    return targets - values  # type: ignore[no-any-return]
