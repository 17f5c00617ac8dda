"""What the pretrained weights are worth on these labels: every arm trained round by round. See docs/transfer.md.

comparison = ControlledComparison(run, parent)
for event in comparison.run():      # trains all arms: report, or stop
    ...
comparison.result                   # JSON
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.paired_comparison import RoundScores
from app.ml.models.assembly import targets_of
from app.ml.models.bundle import Bundle
from worker.training.events import Event, Note
from worker.training.run import Run
from worker.training.transfer_report.arms import CONTROLS, PRETRAINED, Arm, build_arms
from worker.training.transfer_report.held_out import HeldOut
from worker.training.transfer_report.verdict import HeadScores, judge

_BUDGET_SHARE_OF_ROUNDS = 0.75  # the rest is for trainings on fewer labels
_MIN_ROUNDS = 2  # the noise of training shows from two rounds on
_ROUNDS_ON_FEWER_LABELS = 3
_MAX_HALVINGS = 6
_MIN_LABELS = 8  # and two of each class

ScoresByHead = dict[str, Tensor]
"""By head, the score of every row of the dataset (N,), NaN where it was not held out."""


class _BudgetSpentError(Exception):
    """The report's `budget_seconds` are spent."""


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
        self.held_out = HeldOut(self.trained.data, config.targets, self.report)
        self.began = time.monotonic()
        self.scores: dict[str, list[ScoresByHead]] = {}  # by arm, one for each round
        self.missing: dict[str, str] = {}  # by arm: why it was not trained
        self.fewer: list[tuple[int, dict[str, Tensor]]] = []  # labels, and the mean score (,) of each head on them

    def run(self) -> Iterator[Event]:
        """Train all arms as far as the budget goes; `result` is complete after the last event."""
        arms = build_arms(self.trained, self.parent)
        try:
            yield from self._rounds(arms)
            # How many labels are saved is asked only where pretraining helps.
            if "helps" in self._verdicts(arms).values():
                yield from self._train_on_fewer_labels(arms[0])
        except _BudgetSpentError:
            reason = f"the budget of {self.report.budget_seconds:g} seconds was spent before"
            self.missing |= {arm.name: reason for arm in arms if arm.name not in self.scores | self.missing}
        verdicts = self._verdicts(arms)
        summary = ", ".join(f"{key}: {verdict}" for key, verdict in verdicts.items())
        yield Note("transfer.judged", f"Pretraining compared with its controls: {summary}.", {"verdicts": verdicts})

    def _verdicts(self, arms: list[Arm]) -> dict[str, str]:
        """Set `result` from what is measured by now, and return the verdict of every head."""
        self.result = self._as_json({arm.name: arm for arm in arms})
        return {key: head["verdict"] for key, head in self.result["heads"].items()}

    @property
    def seconds(self) -> float:
        """Seconds since the comparison began."""
        return time.monotonic() - self.began

    @property
    def outputs(self) -> int:
        """The number of outputs of all heads together."""
        targets = [target for head in self.config.heads for target in targets_of(head, self.trained.data.spec)]
        return sum(len(target.classes) or 1 for target in targets)

    def _rounds(self, arms: list[Arm]) -> Iterator[Event]:
        """Train the rounds one after the other; from the third on only one that is likely to end in time."""
        longest = 0.0
        for number in range(self.report.rounds):
            began = self.seconds
            if number >= _MIN_ROUNDS and began + longest > _BUDGET_SHARE_OF_ROUNDS * self.report.budget_seconds:
                return
            for arm in arms:
                # Without folds all rounds have the same rows: one round of a deterministic arm says everything.
                once = arm.deterministic and not self.held_out.in_folds
                if not (once and number > 0) and self._affordable(arm):
                    yield from self._round(arm, number)
            longest = max(longest, self.seconds - began)
            yield self._round_note(number)

    def _round(self, arm: Arm, number: int) -> Iterator[Event]:
        scores = self._no_scores()
        for data in self.held_out.datasets(number):
            yield from self._train(arm, data, number, scores)
        self.scores.setdefault(arm.name, []).append(scores)

    def _train(self, arm: Arm, data: ArrayData, number: int, scores: ScoresByHead) -> Iterator[Event]:
        """Train once, and raise `_BudgetSpentError` on the way when time is up."""
        device = self.trained.state.device
        for event in arm.train(data, self.held_out.split, device, number, scores):
            if self.seconds > self.report.budget_seconds:
                raise _BudgetSpentError
            yield event

    def _affordable(self, arm: Arm) -> bool:
        """Whether the arm fits the budget: solving, unlike a training by steps, cannot be stopped on the way."""
        rows = len(self.held_out.rows)
        seconds = arm.estimated_seconds(rows, self.outputs)
        if seconds > self.report.budget_seconds and arm.name not in self.missing:
            self.missing[arm.name] = f"a linear model of {rows} rows as they are takes longer than the budget"
        return arm.name not in self.missing

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
            name: {key: round(values.nanmean().nan_to_num().item(), 6) for key, values in rounds[-1].items()}
            for name, rounds in self.scores.items()
        }
        message = f"Round {number + 1} of {self.report.rounds}: the model and its controls are trained."
        return Note("transfer.round", message, {"round": number + 1, "scores": scores, "seconds": self.seconds})

    def _as_json(self, arms: dict[str, Arm]) -> dict[str, Any]:
        return {
            "measured_on": self.report.measured_on,
            "folds": self.report.folds if self.held_out.in_folds else None,
            "rounds": max(map(len, self.scores.values()), default=0),
            "labels": len(self.held_out.rows),
            "seconds": round(self.seconds, 3),
            "heads": {head.key: self._head_as_json(index, arms) for index, head in enumerate(self.config.heads)},
        }

    def _head_as_json(self, index: int, arms: dict[str, Arm]) -> dict[str, Any]:
        """The comparison of one head, over the rows that every arm has held out in every round."""
        key = self.config.heads[index].key
        # By arm (R, N); R may differ between arms, where one is deterministic or the budget was spent within a round.
        scores = {name: torch.stack([by_head[key] for by_head in rounds]) for name, rounds in self.scores.items()}
        everything = torch.cat([*scores.values()]) if scores else torch.empty(1, 0)
        # Paired differences need the same rows of all: (n,) of the N rows have a score everywhere.
        scored = everything.isfinite().all(0)
        rounds = {
            name: RoundScores(
                values[:, scored].numpy(),
                arms[name].fresh_weights,
                arms[name].deterministic and not self.held_out.in_folds,
            )
            for name, values in scores.items()
            if scored.any()
        }
        head_scores = HeadScores(
            pretrained=rounds.get(PRETRAINED),
            controls={name: rounds.get(name) for name in CONTROLS},
            missing=self.missing,
            fewer=[(labels, means[key].item()) for labels, means in self.fewer],
            labels=len(self.held_out.rows),
            folds=self.report.folds if self.held_out.in_folds else None,
        )
        head = self.trained.state.objective.each_head()[index]  # type: ignore[operator]
        return {"score": head.score, "rows": int(scored.sum()), **judge(head_scores)}
