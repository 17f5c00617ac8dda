"""The transfer report: what the pretrained weights are worth on these labels. See docs/transfer.md.

study = Study(run, parent)
for event in study.run():       # trains the controls: report, or stop
    ...
study.found                     # JSON
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.paired_comparison import Rounds
from app.ml.models.assembly import targets_of
from app.ml.models.bundle import Bundle
from worker.training.events import Event, Noted
from worker.training.run import Run
from worker.training.transfer_report.arms import CONTROLS, PRETRAINED, Way, labels_of, ways_of
from worker.training.transfer_report.held_out import HeldOut
from worker.training.transfer_report.verdict import Comparison, judged

_FOR_ROUNDS = 0.75  # of the budget; the rest is for fewer labels
_MIN_ROUNDS = 2
_ROUNDS_OF_FEWER = 3
_HALVINGS = 6
_MIN_LABELS = 8  # and two of each class


class _SpentError(Exception):
    """The budget is."""


@dataclass
class Study:
    """One report in the making."""

    trained: Run
    parent: Bundle
    found: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.trained.config
        assert isinstance(config, FineTuningConfig)
        assert config.transfer_report is not None
        self.config, self.report = config, config.transfer_report
        self.held_out = HeldOut(self.trained.data, labels_of(config), self.report)
        self.began = time.monotonic()
        self.scores: dict[str, list[dict[str, Tensor]]] = {}  # by way and round: by head (N,), NaN where not held out
        self.missing: dict[str, str] = {}  # by way: why it was not trained
        self.fewer: list[tuple[int, dict[str, Tensor]]] = []  # labels, and what they score by head

    def run(self) -> Iterator[Event]:
        """Train everything, as far as the budget goes."""
        ways = ways_of(self.trained, self.parent)
        try:
            yield from self._rounds(ways)
            if "helps" in self._verdicts(ways).values():
                yield from self._fewer_labels(ways[0])
        except _SpentError:
            spent = f"the budget of {self.report.budget_seconds:g} seconds was spent before"
            self.missing |= {way.name: spent for way in ways if way.name not in self.scores | self.missing}
        verdicts = self._verdicts(ways)
        words = ", ".join(f"{key}: {verdict}" for key, verdict in verdicts.items())
        yield Noted("transfer.judged", f"Pretraining beside its controls: {words}.", {"verdicts": verdicts})

    def _verdicts(self, ways: list[Way]) -> dict[str, str]:
        """By head, as far as things are measured by now; `found` is that."""
        self.found = self._answer({way.name: way for way in ways})
        return {key: head["verdict"] for key, head in self.found["heads"].items()}

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.monotonic() - self.began

    @property
    def outputs(self) -> int:
        """Of all heads."""
        found = [one for head in self.config.heads for one in targets_of(head, self.trained.data.spec)]
        return sum(len(one.classes) or 1 for one in found)

    def _rounds(self, ways: list[Way]) -> Iterator[Event]:
        """One after the other; from the third on only one that is likely to end in time."""
        longest = 0.0
        for number in range(self.report.rounds):
            began = self.seconds
            if number >= _MIN_ROUNDS and began + longest > _FOR_ROUNDS * self.report.budget_seconds:
                return
            for way in ways:
                lasts = way.settled and not self.held_out.in_folds
                if not (lasts and number > 0) and self._affordable(way):
                    yield from self._round(way, number)
            longest = max(longest, self.seconds - began)
            yield self._told(number)

    def _round(self, way: Way, number: int) -> Iterator[Event]:
        scores = self._nothing()
        for split in self.held_out.splits(number):
            yield from self._train(way, split, number, scores)
        self.scores.setdefault(way.name, []).append(scores)

    def _train(self, way: Way, data: ArrayData, number: int, scores: dict[str, Tensor]) -> Iterator[Event]:
        """One training. Raises `_SpentError` within it when time is up."""
        device = self.trained.state.device
        for event in way.train(data, self.held_out.split, device, number, scores):
            if self.seconds > self.report.budget_seconds:
                raise _SpentError
            yield event

    def _affordable(self, way: Way) -> bool:
        """What is solved for cannot be stopped on the way."""
        rows = len(self.held_out.rows)
        seconds = way.seconds(rows, self.outputs)
        if seconds > self.report.budget_seconds and way.name not in self.missing:
            self.missing[way.name] = f"a linear model of {rows} rows as they are takes longer than the budget"
        return way.name not in self.missing

    def _fewer_labels(self, way: Way) -> Iterator[Event]:
        """The pretrained way with a half, a fourth ... of the labels, in as many steps."""
        for halvings in range(1, _HALVINGS + 1):
            labels = len(self.held_out.rows) // 2**halvings
            if labels < max(_MIN_LABELS, 2 * self.outputs):
                return
            means = []
            for number in range(min(_ROUNDS_OF_FEWER, self.report.rounds)):
                scores = self._nothing()
                for split in self.held_out.splits(number):
                    longer = way.as_long(len(split.positions("train", self.held_out.labels)))
                    some = self.held_out.some(split, halvings, number)
                    yield from self._train(longer, some, number, scores)
                means.append({key: values.nanmean() for key, values in scores.items()})
            self.fewer.append((labels, {key: torch.stack([one[key] for one in means]).mean() for key in means[0]}))

    def _nothing(self) -> dict[str, Tensor]:
        rows = len(self.trained.data.split)
        return {head.key: torch.full((rows,), torch.nan, dtype=torch.float64) for head in self.config.heads}

    def _told(self, number: int) -> Noted:
        scores = {
            name: {key: round(values.nanmean().nan_to_num().item(), 6) for key, values in rounds[-1].items()}
            for name, rounds in self.scores.items()
        }
        message = f"Round {number + 1} of {self.report.rounds}: the model's way and its controls are trained."
        return Noted("transfer.round", message, {"round": number + 1, "scores": scores, "seconds": self.seconds})

    def _answer(self, ways: dict[str, Way]) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "measured_on": self.report.measured_on,
            "folds": self.report.folds if self.held_out.in_folds else None,
            "rounds": max(map(len, self.scores.values()), default=0),
            "labels": len(self.held_out.rows),
            "seconds": round(self.seconds, 3),
            "heads": {head.key: self._of_head(index, ways) for index, head in enumerate(self.config.heads)},
        }

    def _of_head(self, index: int, ways: dict[str, Way]) -> dict[str, Any]:
        """One head's part: over the rows that were held out from everything."""
        key = self.config.heads[index].key
        scores = {name: torch.stack([one[key] for one in rounds]) for name, rounds in self.scores.items()}
        everything = torch.cat([*scores.values()]) if scores else torch.empty(1, 0)
        known = everything.isfinite().all(0)
        rounds = {
            name: Rounds(values[:, known].numpy(), ways[name].draws, ways[name].settled and not self.held_out.in_folds)
            for name, values in scores.items()
            if known.any()
        }
        comparison = Comparison(
            ours=rounds.get(PRETRAINED),
            controls={name: rounds.get(name) for name in CONTROLS},
            missing=self.missing,
            fewer=[(labels, means[key].item()) for labels, means in self.fewer],
            labels=len(self.held_out.rows),
            folds=self.report.folds if self.held_out.in_folds else None,
        )
        head = self.trained.state.objective.each_head()[index]  # type: ignore[operator]
        return {"score": head.score, "rows": int(known.sum()), **judged(comparison)}
