"""What the pretrained weights are worth on these labels: every arm trained round by round. See docs/transfer.md.

comparison = ControlledComparison(run, parent)
for event in comparison.run():      # trains all arms: report, or stop
    ...
comparison.result                   # JSON
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.paired_comparison import RoundScores
from app.ml.models.assembly import targets_of
from app.ml.models.bundle import Bundle
from worker.training.events import Event, Note, Started, StepDone
from worker.training.run import Run
from worker.training.transfer_report.arms import CONTROLS, PRETRAINED, Arm, build_arms
from worker.training.transfer_report.budget import Budget, recommended
from worker.training.transfer_report.held_out import HeldOut
from worker.training.transfer_report.verdict import MAX_LOOKS, HeadScores, is_settled, judge

_BUDGET_SHARE_OF_ROUNDS = 0.75  # the rest is for trainings on fewer labels
_MIN_ROUNDS = 2  # the noise of training shows from two rounds on
_PLANNED_ROUNDS = 4  # as many folds are held out as let so many rounds fit, but
_MIN_FOLDS = 3  # not fewer: the controls would learn from too few of the labels
_LOOKS = (3, 5, 7)[:MAX_LOOKS]  # after so many rounds it is asked whether more could change the verdict
_PROJECTED_SHARE = 0.05  # of the budget: once a training has taken it, its steps tell how long it would take
_ROUNDS_ON_FEWER_LABELS = 3
_MAX_HALVINGS = 6
_MIN_LABELS = 8  # and two of each class

ScoresByHead = dict[str, Tensor]
"""By head, the score of every row of the dataset (N,), NaN where it was not held out."""


class _BudgetSpentError(Exception):
    """The report's `budget_seconds` are spent."""


class _TooDearError(Exception):
    """An arm would not fit the budget, as its first steps show."""


@dataclass
class ControlledComparison:
    """The trainings of one transfer report, and its result."""

    trained: Run
    parent: Bundle
    result: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.trained.config
        assert isinstance(config, ResolvedFineTuning)
        assert config.transfer_report is not None
        self.config, self.report = config, config.transfer_report
        self.held_out = HeldOut(self.trained.data, config.targets, self.report, self.report.folds)
        self.budget = Budget(self.report.budget_seconds, self.trained.state.device)
        self.first: dict[str, ScoresByHead] = {}  # by arm: its training on the first fold
        self.scores: dict[str, list[ScoresByHead]] = {}  # by arm, one for each round
        self.missing: dict[str, str] = {}  # by arm: why it was not trained
        self.settled = False  # further rounds would change no verdict
        self.fewer: list[tuple[int, dict[str, Tensor]]] = []  # labels, and the mean score (,) of each head on them

    def run(self) -> Iterator[Event]:
        """Train all arms as far as the budget goes; `result` is complete after the last event."""
        arms = build_arms(self.trained, self.parent)
        try:
            for arm in arms:
                yield from self._first_training(arm)
            self.choose_folds(arms)
            yield from self._first_rounds(arms)
            yield from self._further_rounds(arms)
            # How many labels are saved is asked only where pretraining helps.
            if "helps" in self._verdicts(arms).values():
                yield from self._train_on_fewer_labels(next(arm for arm in arms if arm.name == PRETRAINED))
        except _BudgetSpentError:
            reason = f"the budget of {self.report.budget_seconds:g} {self.budget.unit} was spent before"
            self.missing |= {arm.name: reason for arm in arms if arm.name not in self.scores | self.missing}
        verdicts = self._verdicts(arms)
        summary = ", ".join(f"{key}: {verdict}" for key, verdict in verdicts.items())
        needed = self.result["needed_seconds"]
        if needed is not None:
            summary += f" (a budget of about {needed:g} {self.budget.unit} would tell more)"
        data = {"verdicts": verdicts, "needed_seconds": needed}
        yield Note("transfer.judged", f"Pretraining compared with its controls: {summary}.", data)

    def _verdicts(self, arms: list[Arm]) -> dict[str, str]:
        """Set `result` from what is measured by now, and return the verdict of every head."""
        self.result = self._as_json(arms)
        return {key: head["verdict"] for key, head in self.result["heads"].items()}

    @property
    def seconds(self) -> float:
        """Seconds of the budget that are spent."""
        return self.budget.spent

    @property
    def outputs(self) -> int:
        """The number of outputs of all heads together."""
        targets = [target for head in self.config.heads for target in targets_of(head, self.trained.data.spec)]
        return sum(len(target.classes) or 1 for target in targets)

    def choose_folds(self, arms: list[Arm]) -> None:
        """Hold out fewer folds than asked for, where otherwise too few rounds would fit the budget."""
        if not self.held_out.in_folds:
            return
        left = _BUDGET_SHARE_OF_ROUNDS * self.report.budget_seconds
        trained = [arm for arm in arms if arm.name in self.first]
        rounds = min(_PLANNED_ROUNDS, self.report.rounds)
        choices = range(self.report.folds, self._min_folds, -1)
        folds = next((count for count in choices if self._seconds(trained, rounds, count) <= left), self._min_folds)
        if folds != self.report.folds:
            self.held_out, self.first = replace(self.held_out, folds=folds), {}

    def _first_training(self, arm: Arm) -> Iterator[Event]:
        """Train an arm on the first fold: it shows what the arm costs."""
        rows = len(self.held_out.rows)
        if arm.estimated_seconds(rows, self.outputs) > self.report.budget_seconds:  # solving cannot be stopped
            self.missing[arm.name] = f"a linear model of {rows} rows as they are takes longer than the budget"
            return
        scores, data = self._no_scores(), next(iter(self.held_out.datasets(0)))
        try:
            yield from self._train(arm, data, 0, scores)
        except _TooDearError:
            trainings, seconds = self._trainings(arm, _MIN_ROUNDS, self._min_folds), self.budget.seconds_of(arm.name)
            self.missing[arm.name] = (
                f"{trainings} trainings of about {seconds:.3g} {self.budget.unit} each do not fit the budget"
            )
        else:
            self.first[arm.name] = scores

    @property
    def _min_folds(self) -> int:
        return min(_MIN_FOLDS, self.report.folds)

    def _trainings(self, arm: Arm, rounds: int, folds: int) -> int:
        """The number of trainings of so many rounds."""
        if self.held_out.in_folds:
            return rounds * folds
        # All rounds have the same rows: one round of a deterministic arm says everything.
        return 1 if arm.deterministic else rounds

    def _seconds(self, arms: list[Arm], rounds: int, folds: int) -> float:
        """Seconds of so many rounds of the arms, by the trainings so far."""
        return sum(self._trainings(arm, rounds, folds) * self.budget.seconds_of(arm.name) for arm in arms)

    def _first_rounds(self, arms: list[Arm]) -> Iterator[Event]:
        """Train the rounds that show the noise of training, arm by arm: the cheap ones come to their end first."""
        rounds = range(min(_MIN_ROUNDS, self.report.rounds))
        for arm in arms:
            for number in rounds:
                yield from self._round(arm, number)
        for number in rounds:
            yield self._round_note(number)

    def _further_rounds(self, arms: list[Arm]) -> Iterator[Event]:
        """Train more rounds of all arms while they may change a verdict and are likely to end in time."""
        for number in range(_MIN_ROUNDS, self.report.rounds):
            if number in _LOOKS and self._is_settled(arms):
                self.settled = True
                return
            trained = [arm for arm in arms if arm.name in self.scores]
            seconds = self._seconds(trained, 2, self.held_out.folds) - self._seconds(trained, 1, self.held_out.folds)
            if self.seconds + seconds > _BUDGET_SHARE_OF_ROUNDS * self.report.budget_seconds:
                return
            for arm in trained:
                yield from self._round(arm, number)
            yield self._round_note(number)
        self.settled = True

    def _is_settled(self, arms: list[Arm]) -> bool:
        heads = range(len(self.config.heads))
        return all(is_settled(self._head_scores(index, arms), self.report.rounds) for index in heads)

    def _round(self, arm: Arm, number: int) -> Iterator[Event]:
        if arm.name in self.missing or number >= self._trainings(arm, number + 1, 1):
            return
        scores = self._no_scores()
        for fold, data in enumerate(self.held_out.datasets(number)):
            if (number, fold) == (0, 0) and arm.name in self.first:
                scores = self.first.pop(arm.name)
            else:
                yield from self._train(arm, data, number, scores)
        self.scores.setdefault(arm.name, []).append(scores)

    def _train(self, arm: Arm, data: ArrayData, number: int, scores: ScoresByHead) -> Iterator[Event]:
        """Train once.

        Raises:
            _BudgetSpentError: time is up.
            _TooDearError: the arm was never trained before, and would not fit the budget.
        """
        began, steps, is_new = self.seconds, 0, arm.name not in self.budget.trainings
        for event in arm.train(data, self.held_out.split, self.budget.device, number, scores):
            if self.seconds > self.report.budget_seconds:
                raise _BudgetSpentError
            if isinstance(event, Started):
                steps = event.total_steps
            taken = self.seconds - began
            if is_new and isinstance(event, StepDone) and taken > _PROJECTED_SHARE * self.report.budget_seconds:
                self._check_cost(arm, taken * steps / event.step)
            yield event
        self.budget.record(arm.name, self.seconds - began)

    def _check_cost(self, arm: Arm, seconds: float) -> None:
        """Raise `_TooDearError` where the least number of trainings of so many seconds each would not fit."""
        if self.seconds + self._trainings(arm, _MIN_ROUNDS, self._min_folds) * seconds > self.report.budget_seconds:
            self.budget.record(arm.name, seconds)
            raise _TooDearError

    def _train_on_fewer_labels(self, arm: Arm) -> Iterator[Event]:
        """Train the pretrained arm on a half, a fourth ... of the labels, in as many steps."""
        for halvings in range(1, _MAX_HALVINGS + 1):
            labels = len(self.held_out.rows) // 2**halvings
            if labels < max(_MIN_LABELS, 2 * self.outputs):
                return
            means = []
            for number in range(min(_ROUNDS_ON_FEWER_LABELS, self.report.rounds)):
                scores = self._no_scores()
                for data in self.held_out.datasets(number):
                    as_long = arm.with_steps_of(len(data.positions("train", self.held_out.labels)))
                    yield from self._train(as_long, self.held_out.halved(data, halvings, number), number, scores)
                means.append({key: values.nanmean() for key, values in scores.items()})
            self.fewer.append((labels, {key: torch.stack([mean[key] for mean in means]).mean() for key in means[0]}))

    def _no_scores(self) -> ScoresByHead:
        rows = len(self.trained.data.split)
        return {head.key: torch.full((rows,), torch.nan, dtype=torch.float64) for head in self.config.heads}

    def _round_note(self, number: int) -> Note:
        scores = {
            name: {key: round(values.nanmean().nan_to_num().item(), 6) for key, values in rounds[number].items()}
            for name, rounds in self.scores.items()
            if number < len(rounds)
        }
        message = f"Round {number + 1} of at most {self.report.rounds}: the model and its controls are trained."
        return Note("transfer.round", message, {"round": number + 1, "scores": scores, "seconds": self.seconds})

    def _needed_seconds(self, arms: list[Arm], heads: dict[str, dict[str, Any]]) -> float | None:
        """The budget in which a verdict could be given that this one was too small for; None where it was enough."""
        if all(head["verdict"] != "no evidence" for head in heads.values()):
            return None
        rounds, folds = min(_PLANNED_ROUNDS, self.report.rounds), self._min_folds
        if all(arm.name in self.scores and self._has_rounds(arm, _MIN_ROUNDS) for arm in arms):
            if self.settled:
                return None
            rounds, folds = self.report.rounds, self.held_out.folds
        return recommended(self._seconds(arms, rounds, folds) / _BUDGET_SHARE_OF_ROUNDS)

    def _has_rounds(self, arm: Arm, rounds: int) -> bool:
        return len(self.scores[arm.name]) >= self._trainings(arm, rounds, 1)

    def _as_json(self, arms: list[Arm]) -> dict[str, Any]:
        heads = {head.key: self._head_as_json(index, arms) for index, head in enumerate(self.config.heads)}
        needed = self._needed_seconds(arms, heads)
        for head in heads.values():
            if head["verdict"] == "no evidence":
                head["reason"] += self._remedy(needed)
        return {
            "measured_on": self.report.measured_on,
            "folds": self.held_out.folds if self.held_out.in_folds else None,
            "rounds": max(map(len, self.scores.values()), default=0),
            "labels": len(self.held_out.rows),
            "seconds": round(self.seconds, 3),
            "budget_seconds": self.report.budget_seconds,
            "needed_seconds": needed,
            "clock": "wall" if self.budget.device.type == "cuda" else "cpu",
            "heads": heads,
        }

    def _remedy(self, needed: float | None) -> str:
        if needed is None:
            return "; more trainings would not change that, more labelled rows might"
        return f"; a budget of about {needed:g} {self.budget.unit} would tell more"

    def _head_as_json(self, index: int, arms: list[Arm]) -> dict[str, Any]:
        scores = self._head_scores(index, arms)
        rows = 0 if scores.pretrained is None else scores.pretrained.scores.shape[1]
        head = self.trained.state.objective.each_head()[index]  # type: ignore[operator]
        return {"score": head.score, "rows": rows, **judge(scores)}

    def _head_scores(self, index: int, arms: list[Arm]) -> HeadScores:
        """The scores of one head on the rows that every arm has held out in every round."""
        key = self.config.heads[index].key
        # By arm (R, N); R may differ between arms, where one is deterministic or the budget was spent within a round.
        scores = {name: torch.stack([by_head[key] for by_head in rounds]) for name, rounds in self.scores.items()}
        everything = torch.cat([*scores.values()]) if scores else torch.empty(1, 0)
        # Paired differences need the same rows of all: (n,) of the N rows have a score everywhere.
        scored = everything.isfinite().all(0)
        rounds = {
            arm.name: RoundScores(
                scores[arm.name][:, scored].numpy(),
                arm.fresh_weights,
                arm.deterministic and not self.held_out.in_folds,
            )
            for arm in arms
            if arm.name in scores and scored.any()
        }
        return HeadScores(
            pretrained=rounds.get(PRETRAINED),
            controls={name: rounds.get(name) for name in CONTROLS},
            missing=self.missing,
            fewer=[(labels, means[key].item()) for labels, means in self.fewer],
            labels=len(self.held_out.rows),
            folds=self.held_out.folds if self.held_out.in_folds else None,
        )
