"""Cross-fitting: heads that were trained by steps are calibrated on train rows, where validation rows are too few.

The training is repeated on parts of the train rows, and each of these networks answers the rows that it has not seen.
Such answers are about as far off as the final network's for new rows, since that has learned from a few rows more.
"""

from collections.abc import Iterator

import numpy as np
import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.configs.training import ResolvedTraining
from app.ml.data.arrays import ArrayData, Examples
from app.ml.fitting.evaluation import calibrate_by, raw_outputs
from app.ml.models.assembly import FineTuning, stacked
from app.ml.models.bundle import Bundle
from worker.training.cross_validation import assign_folds, with_validation_rows
from worker.training.events import Event, Note, StepDone
from worker.training.run import Run, prepare

_FOLDS = 5
_ROWS = 100  # so many errors say well enough where nine tenths of them end


def cross_fit(run: Run, parent: Bundle | None) -> Iterator[Event]:
    """Calibrate a trained run's heads on train rows left out, where they need it; yield the steps, and a note.

    `parent` is the pretrained model that the training was given: the networks that calibrate start from it where the
    run does.
    """
    config, objective = run.config, run.state.objective
    if not isinstance(config, ResolvedFineTuning) or not isinstance(objective, FineTuning):
        return
    if objective.strategy.solving == "only" or run.state.held_out:
        return  # train rows left out have calibrated it already
    if not _lack_rows(objective, run.examples("validation")):
        return
    # Torch's global generators go on as if nothing was: what comes after does not depend on this.
    devices = [run.state.device] if run.state.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield from _cross_fit(run, config, objective, parent if run.starts_from_model else None)


def _lack_rows(objective: FineTuning, validation: Examples) -> bool:
    """Whether a head needs more labelled rows for its calibration than there are validation rows."""
    return any(
        config.min_calibration_rows
        and int((~stacked(config, validation.targets).isnan()).sum(0).min()) < config.min_calibration_rows
        for config in objective.configs
    )


def _cross_fit(run: Run, config: ResolvedFineTuning, objective: FineTuning, parent: Bundle | None) -> Iterator[Event]:
    training = _without_validation(config.training, run)
    config = config.model_copy(
        update={"training": training, "strategy": objective.strategy, "transfer_report": None, "unlabelled": None}
    )
    validation = run.examples("validation")
    outputs = [[output] for output in raw_outputs(objective.eval(), validation)] if len(validation) else []
    targets = [validation.targets] if len(validation) else []
    folds = list(_folds(run.data, config))
    for data in folds:
        fitted = prepare(config, data, device=run.state.device, parent=parent)
        other = fitted.state.objective
        assert isinstance(other, FineTuning)
        _share_units(objective, other, run.examples("train"))
        yield from (event for event in fitted.train() if isinstance(event, StepDone))
        held_out = fitted.examples("validation")
        answers = raw_outputs(other.eval(), held_out)
        outputs = [[*own, output] for own, output in zip(outputs or [[] for _ in answers], answers, strict=True)]
        targets.append(held_out.targets)
    if not outputs:
        return
    together = {name: torch.cat([of_fold[name] for of_fold in targets]) for name in targets[0]}
    calibrate_by(objective, [torch.cat(of_head) for of_head in outputs], together)
    objective.train()
    count = len(next(iter(together.values())))
    message = (
        f"Intervals are as wide as {count} rows left out demand: validation rows are too few, so that the training "
        f"was repeated {len(folds)} times without some of the train rows."
    )
    yield Note("calibration.cross_fitted", message, {"rows": count, "folds": len(folds)})


def _without_validation(training: ResolvedTraining, run: Run) -> ResolvedTraining:
    """The same training without a look at validation rows; as long as it was where these ended it."""
    plain = training.without_evaluations().model_copy(update={"early_stopping": None})
    kept_step = run.state.progress.best_loss_step
    if training.early_stopping is None or not kept_step:
        return plain
    return plain.model_copy(update={"steps": kept_step, "epochs": None})


def _folds(data: ArrayData, config: ResolvedFineTuning) -> Iterator[ArrayData]:
    """Yield the data with some train rows as its validation rows; so often that enough were held out."""
    rows = data.positions("train", config.targets)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    folds = assign_folds(data, config.targets, rows, _FOLDS)
    held_out = 0
    for fold in range(_FOLDS):
        count = int((folds == fold).sum())
        if held_out < _ROWS and 0 < count < len(rows):
            held_out += count
            yield with_validation_rows(data, rows, folds == fold)


def _share_units(objective: FineTuning, other: FineTuning, train: Examples) -> None:
    """Let another run's heads scale targets as these do, so that their outputs have the same unit."""
    for config, head, theirs in zip(objective.configs, objective.each_head(), other.each_head(), strict=True):
        if config.needs_labels and head.scales_targets:
            theirs.fit_target(stacked(config, train.targets))
