"""How much each of several candidates is to count in a blend, by their answers to rows that they had not learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Head
from app.ml.kinds.estimators.blend import blended_classes, blended_numbers
from app.ml.kinds.heads.classifier import ClassifierHead
from app.ml.kinds.heads.temperature import fitted_temperature
from app.ml.models.assembly import stacked
from worker.training.model_selection.measurement import Measured, calibrated_log_probabilities

_STEPS = 25
_PARTS = 5
_MIN_ROWS = 10


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights and temperatures of the members, in their order; a weight of 0 leaves a member out."""

    weights: tuple[float, ...]
    temperatures: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Blended:
    """The weights, and what a blend scores on rows by which its weights were not chosen."""

    weights: Weights
    measured: Measured


@torch.no_grad()
def blend(members: Sequence[Measured], data: ArrayData) -> Blended | None:
    """Weigh members with one head; None where too few rows were held out.

    Weights are found by greedy selection with replacement (Caruana et al., 2004), which minimises the loss.
    """
    first = members[0]
    (config,) = first.candidate.config.heads
    head = first.head(0)
    positions, outputs = first.outputs(0)
    if len(positions) < _MIN_ROWS:
        return None
    each = [outputs, *(member.outputs(0)[1] for member in members[1:])]
    target = stacked(config, {name: data.labels(name, positions) for name in config.targets})
    parts = torch.arange(len(positions)) % _PARTS
    together = torch.zeros_like(outputs)
    for part in range(_PARTS):
        left_out = parts == part
        by_others = _weigh(head, [of[~left_out] for of in each], target[~left_out])
        together[left_out] = _combined(head, [of[left_out] for of in each], by_others)
    scores = head.row_scores(together, target)
    certainties = (
        calibrated_log_probabilities(together, target)
        if isinstance(head, ClassifierHead)
        else torch.full_like(scores, torch.nan)
    )
    weights = _weigh(head, each, target)
    places = np.searchsorted(first.rows, positions)
    of_rows, of_truth = np.full((2, len(first.rows)), np.nan)
    of_rows[places], of_truth[places] = scores.numpy(), certainties.numpy()
    held_out = {"rows": torch.from_numpy(positions.astype(np.int64)), "0": together}
    loss = float(head.loss(together, target))
    measured = Measured(
        first.candidate, first.rows, of_rows, of_truth, loss, first.folds, 0.0, held_out, first.objective
    )
    return Blended(weights, measured)


def _weigh(head: Head, outputs: Sequence[Tensor], target: Tensor) -> Weights:
    temperatures = tuple(_temperature(head, output, target) for output in outputs)
    counts = [0] * len(outputs)
    for _ in range(_STEPS):
        losses = []
        for index in range(len(outputs)):
            tried = [count + (place == index) for place, count in enumerate(counts)]
            losses.append(float(head.loss(_combined(head, outputs, Weights(tuple(tried), temperatures)), target)))
        counts[int(np.argmin(losses))] += 1
    return Weights(tuple(count / _STEPS for count in counts), temperatures)


def _temperature(head: Head, output: Tensor, target: Tensor) -> float:
    return fitted_temperature(output.double(), target) if isinstance(head, ClassifierHead) else 1.0


def _combined(head: Head, outputs: Sequence[Tensor], weights: Weights) -> Tensor:
    chosen = [index for index, weight in enumerate(weights.weights) if weight > 0]
    total = sum(weights.weights)
    shares = [weights.weights[index] / total for index in chosen]
    members = [outputs[index] for index in chosen]
    if isinstance(head, ClassifierHead):
        return blended_classes(members, [weights.temperatures[index] for index in chosen], shares)
    return blended_numbers(members, shares)
