"""Heads fitted at once on features of a frozen backbone: solved for, calibrated and measured, without a training loop.

Train rows alone decide the weights, as in a fine-tuning by a linear probe. Where the data have validation rows,
they calibrate; else the train rows do, each answered by heads that were fitted without it: in the cross-validation that
chose the penalty, or anew where a head has none, or rows are equal (cross-fitting). These out-of-fold outputs measure
the heads, too, where there are neither test nor validation rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import Examples, InMemory
from app.ml.fitting.cross_fitting import Turn, cross_fit
from app.ml.fitting.evaluation import Evaluation, calibrate, calibrate_by, evaluate, evaluation_of
from app.ml.fitting.far_targets import warn_of_far_targets
from app.ml.fitting.objective import build_objective, fit_statistics, head_entries, warn_of_dropped_classes
from app.ml.fitting.settling import settle_heads
from app.ml.interfaces import Head
from app.ml.kinds.modalities import AnyModality
from app.ml.models.assembly import FineTuning, stacked
from app.ml.models.bundle import Bundle, Manifest
from app.ml.solvers.folds import NEVER, stratified
from app.ml.solvers.solution import Fit
from app.ml.spec import DataSpec, Decision, Split, WarningItem

FOLDS = 5
_MAX_ROWS_OF_ALL_FOLDS = 2_000  # of more rows one fold is held out: it says enough, and all take long


@dataclass(frozen=True, slots=True)
class FittedHeads:
    """A model of fitted heads on its parent's backbone, how it was measured, and what is doubtful of it."""

    bundle: Bundle
    fits: dict[str, Fit]  # by the head's key
    evaluation: Evaluation | None  # None where no row could be held out
    calibrated_on: str  # in words
    warnings: tuple[WarningItem, ...]
    decisions: list[Decision]  # on what the train labels decide


def frozen_objective(config: ResolvedFineTuning, spec: DataSpec, parent: Bundle) -> FineTuning:
    """Build heads on the backbone of a loaded model, which is shared and not changed."""
    objective = build_objective(config, spec, parent.backbone, config.strategy, parent)
    for head in objective.each_head():
        head.to(parent.device)
    return objective


def fit_heads(
    config: ResolvedFineTuning,
    spec: DataSpec,
    parent: Bundle,
    modality: AnyModality,
    splits: Mapping[Split, Examples],
    turn: Turn,
) -> FittedHeads:
    """Fit heads on the features (N, F) of each split, on the parent's device; each solving is within a `turn`."""
    objective, train = frozen_objective(config, spec, parent), splits["train"]
    with turn():
        config, decisions = settle_heads(config, objective, train)
        fit_statistics(objective, train)
        fits = objective.solve(train.inputs.take(None), train.targets)
        warnings = (*warn_of_dropped_classes(config, objective, parent), *warn_of_far_targets(objective, train))
    measured: Split = "test" if len(splits["test"]) else "validation"
    if len(splits["validation"]):
        with turn():
            calibrate(objective, splits["validation"])
            evaluation: Evaluation | None = evaluate(objective, splits[measured], measured)
        calibrated_on = f"{len(splits['validation'])} validation rows"
    else:
        equals = _equals(train)
        kept = _kept_out_of_fold(objective, fits) if len(equals.bincount()) == len(train) else None
        if kept is None:
            folds = _folds(objective, train, equals)
            kept = cross_fit(lambda: frozen_objective(config, spec, parent), train, folds, turn)
        rows, outputs = kept
        held_out = Examples(InMemory(train.inputs.take(rows)), train.batch(rows).targets)
        with turn():
            calibrate_by(objective, outputs, held_out.targets)
            evaluation = evaluation_of(objective, outputs, held_out, "validation") if len(rows) else None
            if measured == "test":
                evaluation = evaluate(objective, splits["test"], "test")
        calibrated_on = f"{len(rows)} train rows, each answered by heads that were fitted without it"
    bundle = _bundle(config, spec, parent, modality, objective)
    return FittedHeads(bundle, fits, evaluation, calibrated_on, warnings, decisions)


def _kept_out_of_fold(objective: FineTuning, fits: Mapping[str, Fit]) -> tuple[Tensor, list[Tensor]] | None:
    """Return train rows (n,) and every head's outputs (n, K) for them, as the solvers kept them; None: one did not.

    Each row was held out while the penalty was chosen: the outputs are by the weights at that penalty without the row.
    """
    of_heads = [fits[config.key].out_of_fold if config.key in fits else None for config in objective.configs]
    kept = [each for each in of_heads if each is not None]
    if not kept or len(kept) < len(of_heads):
        return None
    orders = [each.rows.argsort() for each in kept]
    rows = [each.rows[order] for each, order in zip(kept, orders, strict=True)]
    if not all(torch.equal(each, rows[0]) for each in rows):
        return None
    return rows[0], [each.outputs[order] for each, order in zip(kept, orders, strict=True)]


def _equals(train: Examples) -> Tensor:
    """Return which of the distinct rows of features each row (N,) is."""
    inverse = np.unique(train.inputs.take(None).cpu().numpy(), axis=0, return_inverse=True)[1]
    return torch.from_numpy(inverse.reshape(-1))


def _folds(objective: FineTuning, train: Examples, equals: Tensor) -> Tensor:
    """Return the fold of each row (N,); rows with equal features are in the same one."""
    labels = stacked(objective.configs[0], train.targets).cpu()  # (N,), of several targets (N, T)
    first = torch.from_numpy(np.unique(equals.numpy(), return_index=True)[1])
    first_labels = labels[first]
    is_classes = not labels.is_floating_point() and labels.ndim == 1
    classes = first_labels + 1 if is_classes else torch.zeros(len(first), dtype=torch.int64)
    folds = stratified(classes.long(), FOLDS)[equals]
    return folds if len(train) <= _MAX_ROWS_OF_ALL_FOLDS else torch.where(folds == 0, folds, NEVER)


def _bundle(
    config: ResolvedFineTuning, spec: DataSpec, parent: Bundle, modality: AnyModality, objective: FineTuning
) -> Bundle:
    heads: dict[str, Head] = {
        head_config.key: head.eval() for head_config, head in zip(objective.configs, objective.each_head(), strict=True)
    }
    manifest = Manifest(
        kind="fine_tuned",
        preprocessing=config.preprocessing,
        modality=modality,
        backbone=config.backbone,
        encoding=parent.manifest.encoding,
        features=parent.manifest.features,
        heads=head_entries(config, spec),
        strategy=config.strategy,
    )
    return Bundle(manifest, parent.backbone, heads, {}, parent.device)
