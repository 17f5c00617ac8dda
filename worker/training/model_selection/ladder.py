"""The ladder: candidates compared by cross-validation on the labelled train rows, from the cheapest on.

- Of up to 2,000 rows all are held out, in five folds, three times over where they are few; of more rows one fold is. Of
  4,000 rows and more the candidates are compared on 1,000 first, and those that may still win on four times as many
  (successive halving: Jamieson and Talwalkar, "Non-stochastic best arm identification", 2016).
- The budget is seconds of the job's processor. What would not fit into what is left of it is not tried, and the ladder
  says so; something is always selected.
- A baseline, where there is one, is measured on the same folds and is no candidate: see `gain`.
- A network that is trained by gradient must be better than the best of what is solved for by more than a standard
  error of their difference over the same rows.

Only labelled train rows take part, so that validation rows stay an honest measure.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.interfaces import Backbone, Rows
from app.ml.kinds.strategies.automatic import (
    MAX_ROWS_OF_REFIT,
    OF_THE_MODEL,
    USUALLY_BEST,
    CandidateName,
    ResolvedAutomatic,
)
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.models.assembly import targets_of
from app.ml.resolution.candidates import BLENDED, Candidate, blend_of, candidates_of
from worker.training.cross_validation import assign_folds
from worker.training.events import Note
from worker.training.flops import mean_tokens, row_seconds, solving_seconds, training_seconds
from worker.training.model_selection.blending import blend
from worker.training.model_selection.gain import measure_gain
from worker.training.model_selection.measurement import BudgetSpentError, Folds, Measured, Trainer, measure
from worker.training.selected import Rung, Selected

FOLDS = 5
FEW_ROWS, _REPEATS_OF_FEW = 300, 3
_FIRST_ROWS, _GROWTH, _MAX_ROWS = 1_000, 4, 16_000
_MIN_ROWS_OF_NETWORKS = 50
_A_MODELS_PROBE: CandidateName = "linear_probe"
_HOPELESS = 2.0  # standard errors below the best
_SECONDS_PER_STEP = 2e-3  # besides its operations
_SHARE_OF_ONE = 0.5  # of what is left of the budget, for a single network
_DIGITS = 6


@dataclass
class Ladder:
    """One selection among candidates."""

    config: ResolvedFineTuning
    trainer: Trainer
    budget: float
    measured: dict[str, Measured] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # why a candidate was not tried
    spent: float = 0.0
    baseline: Candidate | None = None  # what is selected is compared with it
    measured_baseline: Measured | None = None

    def climb(self) -> tuple[Selected, Measured | None, tuple[Note, ...]]:
        """Select a candidate; return it, its measurement where there is one, and what to tell."""
        data, parent = self.trainer.data, self.trainer.parent
        rows = _shuffled(data.positions("train", self.config.targets))
        candidates = candidates_of(self.config, data.spec, len(rows), pretrained=parent is not None)
        alive = candidates
        for count in _rungs(len(rows)):
            if len(alive) > 1 or self.baseline is not None:
                self._compare(alive, np.sort(rows[:count]))
                alive = self._alive(alive)
        candidates += self._blended()
        best = self._best(candidates)
        ladder = tuple(self._rung(candidate) for candidate in candidates)
        measured = self.measured.get(best.name)
        gain = None
        if measured is not None and self.measured_baseline is not None:
            gain = measure_gain(measured, self.measured_baseline, FOLDS, len(self.measured))
        selected = Selected(
            candidate=best.name, config=best.config, pretrained=best.pretrained, ladder=ladder, gain=gain
        )
        return selected, measured, (_note(selected),)

    def _compare(self, candidates: list[Candidate], rows: Rows) -> None:
        """Measure candidates on the same folds of the rows, (n,), as far as the budget goes."""
        folds = _folds(self.trainer.data, self.config.targets, rows)
        if self.baseline is not None:
            self.measured_baseline = measure(self.baseline, self.trainer, rows, folds, self.budget)
        for candidate in candidates:
            few = len(rows) < _MIN_ROWS_OF_NETWORKS and bool(self.measured)
            if few and candidate.by_gradient and not candidate.pretrained:
                self.reasons[candidate.name] = f"{len(rows)} rows are too few to prove a network better"
                continue
            left = self.budget - self.spent
            before = self.measured.get(candidate.name)
            expected = self._expected(candidate, before, len(rows))
            if expected > left * (_SHARE_OF_ONE if candidate.by_gradient else 1.0):
                if before is None:
                    self.reasons[candidate.name] = (
                        f"it would take about {expected:.0f} s of the {max(0.0, left):.0f} s that are left"
                    )
                continue
            began = time.process_time()
            try:
                self.measured[candidate.name] = measure(candidate, self.trainer, rows, folds, left)
            except BudgetSpentError:
                self.reasons[candidate.name] = f"it was stopped after {time.process_time() - began:.0f} s"
            self.spent += time.process_time() - began

    def _expected(self, candidate: Candidate, before: Measured | None, rows: int) -> float:
        """Seconds of a fold of a network, or of all folds of what is solved for.

        By a measurement on fewer rows where there is one, else by operations.
        """
        if before is not None:
            folds = before.folds if candidate.by_gradient else 1
            return before.cpu_seconds / folds * rows / len(before.rows)
        spec, config, parent = self.trainer.data.spec, candidate.config, self.trainer.parent
        labelled = self.trainer.data.positions("train", config.targets)
        if parent is not None and candidate.name in OF_THE_MODEL:
            backbone: Backbone = parent.backbone
            tokens = mean_tokens(self.trainer.data, labelled, parent.manifest.modality)
        else:
            backbone, tokens = config.backbone.build(config.preprocessing.largest(spec)), None
        if candidate.by_gradient:
            in_train = rows * (FOLDS - 1) // FOLDS
            seen = config.training.total_steps(in_train) * min(int(config.training.batch_size), in_train)
            steps = config.training.total_steps(in_train)
            return training_seconds(backbone, seen, tokens) + steps * _SECONDS_PER_STEP
        outputs = sum(len(target.classes) or 1 for head in config.heads for target in targets_of(head, spec))
        estimated = sum(head.fitting_seconds(rows, backbone.features, outputs) for head in config.heads)
        if estimated:
            return rows * row_seconds(backbone, tokens) + FOLDS * estimated
        width = sum(layer_widths(backbone)) if candidate.name in OF_THE_MODEL else backbone.features
        return rows * row_seconds(backbone, tokens) + FOLDS * solving_seconds(rows, width, outputs)

    def _alive(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those that may still win: not worse than the best by two standard errors."""
        tried = [self.measured[candidate.name] for candidate in candidates if candidate.name in self.measured]
        best = max(tried, key=lambda each: each.score, default=None)
        if best is None:
            return []
        kept = [each for each in tried if not _is_worse(each, best, _HOPELESS)]
        return [each.candidate for each in kept]

    def _blended(self) -> list[Candidate]:
        """The blend of those that learn from the same features and were compared on the most rows; or none."""
        assert isinstance(self.config.strategy, ResolvedAutomatic)
        members = [self.measured[name] for name in BLENDED if name in self.measured]
        most = max((len(each.rows) for each in members), default=0)
        members = [each for each in members if len(each.rows) == most and _answers_as_is(each)]
        if "blend" not in self.config.strategy.candidates or len(self.config.heads) > 1 or len(members) < 2:  # noqa: PLR2004
            return []
        began = time.process_time()
        blended = blend(members, self.trainer.data)
        if blended is None:
            return []
        weighed = list(zip(members, blended.weights.weights, blended.weights.temperatures, strict=True))
        chosen = [(each.candidate, weight, by) for each, weight, by in weighed if weight > 0]
        if len(chosen) == 1:
            return []  # it is that candidate itself
        candidate = blend_of(*zip(*chosen, strict=True))
        seconds = time.process_time() - began
        self.measured["blend"] = replace(blended.measured, candidate=candidate, cpu_seconds=seconds)
        return [candidate]

    def _best(self, candidates: list[Candidate]) -> Candidate:
        """The best of what is solved for, or a network that is better by more than a standard error.

        What is usually best for such data is taken unless another is better by more than a standard error, in what is
        answered rightly or, where that is no less, in how sure the right answers are: of few rows the latter says more.
        """
        most = max((len(each.rows) for each in self.measured.values()), default=0)
        finalists = [
            self.measured[candidate.name]
            for candidate in candidates
            if candidate.name in self.measured and len(self.measured[candidate.name].rows) == most
        ]
        unmeasured = {candidate.name: candidate for candidate in candidates if candidate.name not in self.measured}
        if _A_MODELS_PROBE in unmeasured:  # whoever gives a model wants it: a short budget is no proof against it
            return unmeasured[_A_MODELS_PROBE]
        if not finalists:
            return candidates[0]
        solved = [each for each in finalists if not each.candidate.by_gradient]
        trained = [each for each in finalists if each.candidate.by_gradient]
        best = max(solved, key=_rank, default=None)
        usual = self.measured.get(USUALLY_BEST[self.trainer.data.spec.modality])
        if best is not None and usual in solved and not _is_worse(usual, best, 1.0):
            surer = [each for each in solved if each.score >= usual.score and _is_less_sure(usual, each, 1.0)]
            best = max(surer, key=_rank, default=usual)
        challenger = max(trained, key=_rank, default=None)
        if best is None or (challenger is not None and _is_worse(best, challenger, 1.0)):
            assert challenger is not None
            return challenger.candidate
        return best.candidate

    def _rung(self, candidate: Candidate) -> Rung:
        measured = self.measured.get(candidate.name)
        if measured is None:
            return Rung(candidate=candidate.name, reason=self.reasons.get(candidate.name, "nothing to compare it with"))
        half = 1.96 * measured.standard_error
        return Rung(
            candidate=candidate.name,
            score=round(measured.score, _DIGITS),
            low=round(measured.score - half, _DIGITS),
            high=round(measured.score + half, _DIGITS),
            rows=len(measured.known),
            folds=measured.folds,
            cpu_seconds=round(measured.cpu_seconds, 3),
        )


def _answers_as_is(measured: Measured) -> bool:
    """Whether its heads answer the targets themselves rather than, say, their logarithms."""
    return all(getattr(head, "transform", "none") in ("best", "none") for head in measured.candidate.config.heads)


def _rank(measured: Measured) -> tuple[float, float]:
    return (round(measured.score, _DIGITS), -measured.loss)


def _is_worse(measured: Measured, than: Measured, errors: float) -> bool:
    """Whether it is worse by more than so many standard errors of the difference over the rows that both have."""
    return _is_below(measured, than, errors, attrgetter("scores"))


def _is_less_sure(measured: Measured, than: Measured, errors: float) -> bool:
    """Whether the right classes are less probable by more than so many standard errors of the difference."""
    return _is_below(measured, than, errors, attrgetter("certainties"))


def _is_below(measured: Measured, than: Measured, errors: float, of: Callable[[Measured], NDArray[np.float64]]) -> bool:
    common = np.intersect1d(measured.rows, than.rows, assume_unique=True)
    ours, theirs = (of(each)[np.searchsorted(each.rows, common)] for each in (measured, than))
    differences = (theirs - ours)[np.isfinite(ours) & np.isfinite(theirs)]
    if len(differences) < 2:  # noqa: PLR2004 - no deviation of one number
        return False
    # Never less than half a row's: where all rows agree, few of them prove nothing.
    error = max(float(differences.std(ddof=1)), 0.5 / len(differences) ** 0.5) / len(differences) ** 0.5
    return bool(differences.mean() > errors * error)


def _rungs(rows: int) -> list[int]:
    """How many rows the candidates are compared on, rung by rung."""
    if rows <= MAX_ROWS_OF_REFIT:
        return [rows]
    most, count, rungs = min(rows, _MAX_ROWS), _FIRST_ROWS, []
    while count * _GROWTH <= most:
        rungs.append(count)
        count *= _GROWTH
    return [*rungs, most]


def _folds(data: ArrayData, targets: tuple[str, ...], rows: Rows) -> Folds:
    """Folds (n,) of the rows, one assignment for each repeat; of many rows only one fold is held out."""
    repeats = _REPEATS_OF_FEW if len(rows) <= FEW_ROWS else 1
    return [_assigned(data, targets, rows, repeat) for repeat in range(repeats)]


def _assigned(data: ArrayData, targets: tuple[str, ...], rows: Rows, repeat: int) -> NDArray[np.int64]:
    order = np.random.default_rng(repeat).permutation(len(rows))
    folds = np.empty(len(rows), dtype=np.int64)
    folds[order] = assign_folds(data, targets, rows[order], FOLDS)
    return folds if len(rows) <= MAX_ROWS_OF_REFIT else np.where(folds == 0, 0, -1)


def _shuffled(positions: Rows) -> Rows:
    """Positions (n,), shuffled once and for all: any first part is a fair sample."""
    shuffled: Rows = positions[np.random.default_rng(0).permutation(len(positions))]
    return shuffled


def _note(selected: Selected) -> Note:
    tried = [rung for rung in selected.ladder if rung.score is not None]
    scores = {rung.candidate: rung.score for rung in tried}
    data = {
        "selected": selected.candidate,
        "strategy": selected.config.strategy.kind,
        "scores": scores,
        "rows": max((rung.rows for rung in tried), default=0),
        "ladder": [rung.model_dump(mode="json") for rung in selected.ladder],
    }
    if not tried:
        return Note("strategy.chosen", f"{selected.candidate}: nothing else could be tried within the budget.", data)
    if selected.candidate not in scores:
        reason = next(rung.reason for rung in selected.ladder if rung.candidate == selected.candidate)
        message = f"{selected.candidate}: the model that was given, though it was not compared: {reason}."
        return Note("strategy.chosen", message, data)
    best_first = sorted(tried, key=lambda rung: -(rung.score or 0))
    summary = ", ".join(f"{rung.candidate} {rung.score:.3f}" for rung in best_first)
    return Note("strategy.chosen", f"{selected.candidate}: on train rows held out the scores are {summary}.", data)
