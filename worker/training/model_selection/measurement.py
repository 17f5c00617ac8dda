"""How well a candidate answers train rows that it has not learned, by cross-validation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.data.tensor_file import Tensors
from app.ml.fitting.cross_fitting import cross_fit
from app.ml.fitting.evaluation import raw_outputs
from app.ml.fitting.features import GetOrCompute
from app.ml.fitting.objective import build_objective
from app.ml.interfaces import Head, Rows
from app.ml.kinds.estimators.random_forest import RandomForest
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.heads.classifier import ClassifierHead
from app.ml.kinds.heads.regressor import Regressor
from app.ml.kinds.heads.temperature import fitted_temperature
from app.ml.models.assembly import FineTuning, stacked
from app.ml.models.bundle import Bundle
from app.ml.resolution.candidates import Candidate
from worker.training.cross_validation import with_rows, with_validation_rows
from worker.training.events import Note
from worker.training.layer_selection import LAYER_CHOSEN
from worker.training.run import Run, prepare

_TREES_OF_FOLDS = 100
_SHARE_OF_REPEATS = 0.1  # of the budget that is left: further repeats are worth little more

Folds = Sequence[NDArray[np.int64]]
"""One assignment (n,) of the rows to folds for each repeat; rows below 0 are never held out."""


class BudgetSpentError(Exception):
    """A training was stopped, since it would have taken more than its share of the budget."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """What every candidate is trained on and with."""

    data: ArrayData
    parent: Bundle | None
    device: torch.device
    cache: GetOrCompute


@dataclass(slots=True)
class Measured:
    """The scores (n,) of a candidate for the rows at positions (n,) of the dataset, NaN where one was not held out."""

    candidate: Candidate
    rows: Rows
    scores: NDArray[np.float64]
    certainties: NDArray[np.float64]  # (n,) log probability of a row's class, once calibrated; NaN of numbers
    loss: float
    folds: int
    cpu_seconds: float
    held_out: Tensors  # see `LoopState.held_out`
    objective: FineTuning = field(repr=False)  # whose heads scale targets as the outputs are scaled
    layer: Note | None = None  # which layer these rows chose

    def head(self, index: int) -> Head:
        """A head by its place."""
        return self.objective.each_head()[index].cpu()

    def outputs(self, index: int) -> tuple[Rows, Tensor]:
        """Positions (m,) of the rows that were held out, in order, and a head's outputs for them, (m, K)."""
        rows = self.held_out["rows"]
        order = rows.argsort()
        return rows[order].numpy(), self.held_out[str(index)][order]

    @property
    def known(self) -> NDArray[np.float64]:
        """The scores that are known."""
        return self.scores[np.isfinite(self.scores)]

    @property
    def score(self) -> float:
        """Their mean; very low where there is none."""
        return float(self.known.mean()) if len(self.known) else -1e9

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return float(self.known.std(ddof=1) / len(self.known) ** 0.5) if len(self.known) > 1 else 0.0


def measure(candidate: Candidate, trainer: Trainer, rows: Rows, folds: Folds, seconds: float) -> Measured:
    """Measure a candidate on the rows (n,), each held out once in every repeat, as far as the seconds of CPU last.

    Raises:
        BudgetSpentError: not even the first fold was done.
    """
    began = time.process_time()
    by_fold = _by_gradient if candidate.by_gradient else _solved
    repeats: list[_Outcome] = []
    for assigned in folds:
        spent = time.process_time() - began
        if repeats and spent * (1 + 1 / len(repeats)) > _SHARE_OF_REPEATS * seconds:
            break
        repeats.append(by_fold(candidate, trainer, rows, assigned, seconds - spent))
    first = repeats[0]
    return Measured(
        first.candidate,
        rows,
        _mean([_scores(outcome, trainer.data, len(rows)) for outcome in repeats]),
        _mean([_certainties(outcome, trainer.data, len(rows)) for outcome in repeats]),
        float(np.mean([_loss(outcome, trainer.data) for outcome in repeats])),
        sum(outcome.folds for outcome in repeats),
        time.process_time() - began,
        _held_out(first),
        first.objective,
        first.layer,
    )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Every head's outputs (m, K) for the rows that were held out, int64 (m,) among the n."""

    candidate: Candidate  # with heads that are settled by the labels
    objective: FineTuning
    places: Tensor
    positions: Rows
    outputs: list[Tensor]
    folds: int
    layer: Note | None = None


def _solved(candidate: Candidate, trainer: Trainer, rows: Rows, folds: NDArray[np.int64], seconds: float) -> _Outcome:
    """Compute features once, and fit the heads fold by fold."""
    del seconds  # what is solved for cannot be stopped on the way
    run = _prepare(candidate, trainer, with_rows(trainer.data, "train", rows))
    features = run.examples("train")
    build = partial(_fresh_heads, run, trainer.parent if candidate.pretrained else None)
    places, outputs = cross_fit(build, features, torch.from_numpy(folds))
    assert isinstance(run.state.objective, FineTuning)
    count = len(set(folds[folds >= 0].tolist()))
    settled = _settled(candidate, run)
    layer = next((note for note in run.notes if isinstance(note, Note) and note.kind == LAYER_CHOSEN), None)
    return _Outcome(settled, run.state.objective, places, rows[places.numpy()], outputs, count, layer)


def _by_gradient(
    candidate: Candidate, trainer: Trainer, rows: Rows, folds: NDArray[np.int64], seconds: float
) -> _Outcome:
    """Train a network for every fold, the first few where the time does not last for all."""
    began, done = time.process_time(), 0
    if any(getattr(head, "transform", None) == "best" for head in candidate.config.heads):  # the same for all folds
        candidate = _settled(candidate, _prepare(candidate, trainer, with_rows(trainer.data, "train", rows)))
    places: list[Tensor] = []
    outputs: list[list[Tensor]] = []
    for fold in sorted(set(folds[folds >= 0].tolist())):
        spent = time.process_time() - began
        if done and spent * (done + 1) / done > seconds:
            break
        held_out = folds == fold
        run = _prepare(candidate, trainer, with_validation_rows(trainer.data, rows, held_out))
        _share_units(run, trainer.data, rows)
        for _ in run.train():
            if not done and time.process_time() - began > seconds:
                raise BudgetSpentError
        assert isinstance(run.state.objective, FineTuning)
        objective = run.state.objective
        places.append(torch.from_numpy(np.flatnonzero(held_out)))
        with torch.no_grad():
            outputs.append(raw_outputs(objective.eval(), run.examples("validation")))
        done += 1
    order = torch.cat(places)
    joined = [torch.cat(of_head) for of_head in zip(*outputs, strict=True)]
    return _Outcome(candidate, objective, order, rows[order.numpy()], joined, done)


def _prepare(candidate: Candidate, trainer: Trainer, data: ArrayData) -> Run:
    """Prepare the candidate on other rows; nothing is looked at on the way, nor stops early by rows it is judged by."""
    training = candidate.config.training.without_evaluations().model_copy(update={"early_stopping": None})
    heads = tuple(map(_with_fewer_trees, candidate.config.heads))
    changes = {"heads": heads, "training": training, "transfer_report": None, "unlabelled": None}
    config = candidate.config.model_copy(update=changes)
    parent = trainer.parent if candidate.pretrained else None
    return prepare(config, data, device=trainer.device, parent=parent, cache=trainer.cache)


def _with_fewer_trees(head: AnyHead) -> AnyHead:
    """A forest's score hardly depends on its last two hundred trees: those of the folds have fewer."""
    estimator = getattr(head, "estimator", None)
    if not isinstance(estimator, RandomForest) or estimator.trees == "auto" or estimator.trees <= _TREES_OF_FOLDS:
        return head
    return head.model_copy(update={"estimator": estimator.model_copy(update={"trees": _TREES_OF_FOLDS})})


def _settled(candidate: Candidate, run: Run) -> Candidate:
    """The candidate with the transforms that the labels have settled."""
    assert isinstance(run.config, ResolvedFineTuning)
    pairs = zip(candidate.config.heads, run.config.heads, strict=True)
    heads = tuple(
        own.model_copy(update={"transform": settled.transform}) if isinstance(settled, Regressor) else own
        for own, settled in pairs
    )
    return replace(candidate, config=candidate.config.model_copy(update={"heads": heads}))


def _share_units(run: Run, data: ArrayData, rows: Rows) -> None:
    """Let heads scale targets as for all rows, so that the outputs of all folds have one unit."""
    assert isinstance(run.state.objective, FineTuning)
    for config, head in zip(run.state.objective.configs, run.state.objective.each_head(), strict=True):
        if config.needs_labels and head.scales_targets:
            labels = {name: data.labels(name, rows).to(run.state.device) for name in config.targets}
            head.fit_target(stacked(config, labels))


def _fresh_heads(run: Run, parent: Bundle | None) -> FineTuning:
    """Heads that have learned nothing on the run's backbone."""
    config, strategy = run.config, run.strategy
    assert strategy is not None
    objective = build_objective(config, run.data.spec, run.state.objective.backbone, strategy, parent)  # type: ignore[arg-type]
    objective.heads.to(run.state.device)
    return objective


def _labels(outcome: _Outcome, data: ArrayData) -> dict[str, Tensor]:
    names = {name for config in outcome.objective.configs for name in config.targets}
    device = outcome.outputs[0].device
    return {name: data.labels(name, outcome.positions).to(device) for name in names}


@torch.no_grad()
def _scores(outcome: _Outcome, data: ArrayData, count: int) -> NDArray[np.float64]:
    """The mean over heads of every row's score, (n,), NaN where it was not held out."""
    labels, objective = _labels(outcome, data), outcome.objective
    heads = zip(objective.configs, objective.each_head(), outcome.outputs, strict=True)
    by_head = torch.stack([head.row_scores(output, stacked(config, labels)).cpu() for config, head, output in heads])
    scores = np.full(count, np.nan)
    scores[outcome.places.numpy()] = by_head.nanmean(0).numpy()
    return scores


@torch.no_grad()
def _certainties(outcome: _Outcome, data: ArrayData, count: int) -> NDArray[np.float64]:
    """The mean over classifiers of the log probability of every row's class, (n,); NaN where there is none."""
    labels, objective = _labels(outcome, data), outcome.objective
    of_heads = []
    for config, head, output in zip(objective.configs, objective.each_head(), outcome.outputs, strict=True):
        if isinstance(head, ClassifierHead):
            of_heads.append(calibrated_log_probabilities(output, stacked(config, labels)).cpu())
    certainties = np.full(count, np.nan)
    if of_heads:
        certainties[outcome.places.numpy()] = torch.stack(of_heads).nanmean(0).numpy()
    return certainties


def calibrated_log_probabilities(output: Tensor, target: Tensor) -> Tensor:
    """Logits (m, K) to the log probability of each row's class (m,), by the temperature that suits these rows best."""
    known, output = target >= 0, torch.nan_to_num(output).double()
    scaled = output / fitted_temperature(output[known], target[known])
    of_class = scaled.log_softmax(1).gather(1, target.clamp(min=0)[:, None])[:, 0]
    return torch.where(known, of_class, torch.nan)


def _mean(each: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean of arrays (n,), where each is known; NaN where none is."""
    known = np.isfinite(each)
    return np.where(known.any(0), np.where(known, each, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


@torch.no_grad()
def _loss(outcome: _Outcome, data: ArrayData) -> float:
    return float(outcome.objective.losses_of(outcome.outputs, _labels(outcome, data))["loss"])


def _held_out(outcome: _Outcome) -> Tensors:
    outputs = {str(index): output.cpu() for index, output in enumerate(outcome.outputs)}
    return {"rows": torch.from_numpy(outcome.positions.astype(np.int64)), **outputs}
