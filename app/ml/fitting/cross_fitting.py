"""Cross-fitting: every train row is answered by heads that were fitted on the rows of other folds.

Such outputs measure heads honestly, and calibrate them, where no rows are left aside for it (for conformal intervals:
Vovk, "Cross-conformal predictors", 2015).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from app.ml.data.arrays import Examples
from app.ml.fitting.objective import fit_statistics
from app.ml.models.assembly import FineTuning

Turn = Callable[[], AbstractContextManager[None]]


@torch.no_grad()
def cross_fit(
    build: Callable[[], FineTuning], features: Examples, folds: Tensor, turn: Turn = nullcontext
) -> tuple[Tensor, list[Tensor]]:
    """Return the rows that were held out, int64 (n,), and every head's outputs for them, (n, K).

    `build` makes an objective on a frozen backbone, whose heads are solved for on the features (N, F) of all rows but
    those of a fold; `folds` (N,) numbers them, rows below 0 are never held out. Targets are scaled as for all rows, so
    that outputs of different folds, and of the whole, have one unit.
    """
    rows: list[Tensor] = []
    outputs: list[list[Tensor]] = []
    for fold in sorted(set(folds[folds >= 0].tolist())):
        held_out = folds == fold
        with turn():
            objective = build()
            fit_statistics(objective, features)
            others = features.batch(torch.nonzero(~held_out).flatten())
            objective.solve(others.inputs, others.targets)
            rows.append(torch.nonzero(held_out).flatten())
            outputs.append(objective.outputs(features.inputs.take(rows[-1])))
    if not rows:
        nothing = torch.empty(0, dtype=torch.int64)
        return nothing, build().outputs(features.inputs.take(nothing))
    return torch.cat(rows), [torch.cat(of_head) for of_head in zip(*outputs, strict=True)]
