"""Seconds that a computation takes, computed from its operations: unlike measured ones they are always the same.

Model selection spends its budget by them, so that the same rows always select the same.
"""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Backbone, HeadConfig, Modality, Rows
from app.ml.interfaces.abilities import Sequences
from app.ml.interfaces.tokenizer import PADDING
from app.ml.models.assembly import count_parameters
from app.ml.solvers.basis import MAX_AXES, is_large

OPERATIONS_PER_SECOND = 2e10  # about what one core does
_SAMPLE_ROWS = 256  # whose tokens are counted
_FORWARD_AND_BACKWARD = 3  # times the forward pass: the backward pass costs about twice as much
# Operations per number and output of a cross-validated solution, and the many small calls of any, see docs/log.md.
_OPERATIONS_OF_SOLVING, _OPERATIONS_OF_SOLVING_LARGE = 2000, 600
_OPERATIONS_OF_CALLS = 2e9
_OPERATIONS_OF_EIGENBASIS = 10  # per cube of its size
_PRODUCTS_OF_LOSS = 30  # the exponentials of one output of a row cost as much as so many products


def mean_tokens(data: ArrayData, rows: Rows, modality: Modality) -> int | None:
    """How many tokens the texts at some positions (n,) have on average, at least 1; None for other data."""
    if modality.encoding.vocabulary is None or not len(rows):
        return None
    codes = data.encoded(rows[:_SAMPLE_ROWS], modality)
    return max(1, round(float((codes != PADDING).sum()) / len(codes)))


@torch.no_grad()
def row_seconds(backbone: Backbone, tokens: int | None = None) -> float:
    """Seconds to run the backbone on one row; on a text of so many tokens, by default of as many as it may read.

    Texts are often far shorter than that, and some networks pass over what is missing.
    """
    encoding = backbone.encoding
    dtype = torch.float32 if encoding.vocabulary is None else torch.int64
    row = torch.zeros((1, *encoding.shape), dtype=dtype, device=next(backbone.parameters()).device)
    steps = encoding.shape[-1] if isinstance(backbone, Sequences) else 1
    if tokens is not None:
        steps = min(tokens, steps)
        row[:, :tokens] = PADDING + 1
    was_training = backbone.training
    with FlopCounterMode(display=False) as counter:
        backbone.eval()(row)
    backbone.train(was_training)
    # The counter misses recurrent layers, which use every weight once in every step: 2 operations a weight and step
    # is a lower bound for them, and for any other layer but an embedding, which is only looked up.
    return float(max(counter.get_total_flops(), 2 * _multiplied(backbone) * steps)) / OPERATIONS_PER_SECOND


def _multiplied(backbone: Backbone) -> int:
    """How many weights are multiplied with anything."""
    tables = (module for module in backbone.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag))
    return count_parameters(backbone) - sum(count_parameters(table) for table in tables)


def training_seconds(backbone: Backbone, rows: int, tokens: int | None = None) -> float:
    """Seconds to train on so many rows, each counted as often as it is seen; `tokens` as for `row_seconds`."""
    return _FORWARD_AND_BACKWARD * rows * row_seconds(backbone, tokens)


def solving_seconds(rows: int, width: int, outputs: int) -> float:
    """Seconds to solve for a head with cross-validation on features (rows, width)."""
    axes = min(rows, width)
    has_basis = axes <= MAX_AXES  # else it is solved on the features as they are, see `solvers.basis.principal`
    basis = 2.0 * rows * width * axes + _OPERATIONS_OF_EIGENBASIS * axes**3 if has_basis else 0.0
    numbers = axes if has_basis else width
    solving = _OPERATIONS_OF_SOLVING_LARGE if is_large(rows, numbers) else _OPERATIONS_OF_SOLVING
    products = solving * rows * outputs * (numbers + _PRODUCTS_OF_LOSS)
    return (basis + products + _OPERATIONS_OF_CALLS) / OPERATIONS_PER_SECOND


def fitting_seconds(head: HeadConfig, rows: int, width: int, outputs: int) -> float:
    """Seconds to fit a head at once on features (rows, width): its estimator, or linear weights by solving.

    Those of estimators are measured on one core, not counted: see each one's `seconds`.
    """
    return head.fitting_seconds(rows, width, outputs) or solving_seconds(rows, width, outputs)
