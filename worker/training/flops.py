"""What something will cost, computed and not measured, so that a choice within a budget repeats itself."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from app.ml.interfaces import Backbone
from app.ml.interfaces.abilities import Sequences
from app.ml.models.assembly import count_parameters
from app.ml.solvers.basis import MAX_AXES, is_large

RATE = 2e10  # operations in a second, about what one core does
_STEP = 3  # forward, and about twice as much backward
_SOLVES, _LARGE_SOLVES = 8000, 2000  # operations per number and output of a cross-validated solution, see docs/log.md
_EIGEN = 10  # operations of an eigendecomposition, per cube of its size
_EXPONENTIALS = 30  # products that the losses of a row's output weigh


@torch.no_grad()
def row_seconds(backbone: Backbone) -> float:
    """Running the backbone on one row."""
    encoding = backbone.encoding
    dtype = torch.float32 if encoding.vocabulary is None else torch.int64
    device = next(backbone.parameters()).device
    trains = backbone.training
    with FlopCounterMode(display=False) as counter:
        backbone.eval()(torch.zeros((1, *encoding.shape), dtype=dtype, device=device))
    backbone.train(trains)
    # Recurrent layers are not counted: they use every weight once in every step.
    steps = encoding.shape[-1] if isinstance(backbone, Sequences) else 1
    return float(max(counter.get_total_flops(), 2 * count_parameters(backbone) * steps)) / RATE


def training_seconds(backbone: Backbone, rows: int) -> float:
    """Training on so many rows, repetitions counted."""
    return _STEP * rows * row_seconds(backbone)


def solving_seconds(rows: int, width: int, outputs: int) -> float:
    """Solving for a head with cross-validation on features (rows, width)."""
    axes = min(rows, width)
    by_axes = axes <= MAX_AXES
    basis = 2.0 * rows * width * axes + _EIGEN * axes**3 if by_axes else 0.0
    numbers = axes if by_axes else width
    solves = _LARGE_SOLVES if is_large(rows, numbers) else _SOLVES
    return (basis + solves * rows * outputs * (numbers + _EXPONENTIALS)) / RATE
