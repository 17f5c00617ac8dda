"""Pseudo-labels for a linear probe: a graph over labelled and unlabelled rows' features hands the labels on.

The graph's points are the features as the probe scales them, of wide ones the first principal axes. All else is decided
on the labels alone: each fold is answered by the graph and by a probe that know the other folds. The classes' shares
are those that answer more. Pseudo-labels are left out where the graph is worse by more than a standard error of the
difference: few labels cannot tell more. The probe's penalty is what costs least on each fold, learned from what the
graph says who knows the other folds.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from app.ml.blocks.standardize import Standardize
from app.ml.configs.label_propagation import LabelPropagationConfig
from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData, Examples, OnDisk
from app.ml.data.chunks import rows_per_block
from app.ml.errors import ConfigError
from app.ml.interfaces import Head, Modality
from app.ml.interfaces.abilities import SoftLabelSolver
from app.ml.models.assembly import FineTuning
from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, NEVER, stratified
from app.ml.solvers.logistic import SoftRows
from app.ml.solvers.solution import Solution
from worker.training.events import Noted
from worker.training.label_propagation.graph import neighbour_graph, soft_labels, spread

_MAX_NODES, _ROWS_FOR_AXES = 100_000, 2000
_WIDE, _AXES_OF_WIDE = 512, 100
_MAX_ROWS_TO_DECIDE = 2000


@dataclass(frozen=True, slots=True)
class _Fold:
    """What the graph says of all nodes that does not know the labels (n,) held out, by how classes are shared."""

    held: Tensor
    answers: dict[str, SoftRows]


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The rows (N, *shape) that get pseudo-labels, in an order that says nothing."""

    config: LabelPropagationConfig
    inputs: OnDisk

    @classmethod
    def of(
        cls,
        config: FineTuningConfig,
        data: ArrayData,
        beside: ArrayData | None,
        modality: Modality,
        device: torch.device,
    ) -> "Unlabelled":
        """Open them. Raises `ConfigError` where another dataset's rows do not fit, or there are none."""
        assert config.unlabelled is not None
        source = beside or data
        differences = modality.differences(source.spec)
        if differences:
            raise ConfigError(("unlabelled", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
        positions = source.positions("train")
        if beside is None:
            positions = np.setdiff1d(positions, data.positions("train", config.heads[0].targets))
        if not len(positions):
            raise ConfigError(("unlabelled", "dataset"), "there are no train rows without a label: name other rows")
        order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))[:_MAX_NODES]
        return cls(config.unlabelled, OnDisk(source, positions[order.numpy()], modality, device))

    @torch.no_grad()
    def solve(self, objective: FineTuning, labelled: Examples) -> tuple[dict[str, Solution], Noted]:
        """Set the head to its optimum on labelled features (N, F) and, where they help, on pseudo-labelled ones."""
        (head,), (config,) = objective.each_head(), objective.configs
        assert isinstance(head, SoftLabelSolver)
        labels = labelled.targets[config.targets[0]]
        features, labels = labelled.inputs.take(None)[labels >= 0], labels[labels >= 0]
        most = max(self.config.rows, _ROWS_FOR_AXES)  # looked at again: the others' features are too many to keep
        first = torch.cat(list(self._features(objective, 0, most)))
        graph = self._graph(objective, features, first)
        folds = self._folds(graph, labels, len(head.classes))
        right = {name: _right(folds, name, labels) for name in self._ways}
        way = max(self._ways, key=lambda name: int(right[name].sum()))
        taken, note = self._decided(objective, head, folds, right[way], features, labels, way)
        if not taken:
            return objective.solve(features, {config.targets[0]: labels}), note
        rows = torch.cat([features, first[: self.config.rows]])
        answers = self._answers(graph, labels, len(head.classes))[way]
        trials = []
        for fold in folds:
            held = F.pad(fold.held, (0, len(rows) - len(labels)))
            trials.append((self._taught(fold.answers[way], labels.masked_fill(fold.held, NEVER), len(rows)), held))
        widths = objective.strategy.widths(objective.backbone)
        found = head.solve_soft(rows, self._taught(answers, labels, len(rows)), trials, widths)
        return {config.key: found}, note

    @property
    def _ways(self) -> tuple[str, ...]:
        """In which classes may be shared out; the first wins where labels cannot tell."""
        return ("labels", "free") if self.config.shares == "auto" else (self.config.shares,)

    def _taught(self, answers: SoftRows, labels: Tensor, rows: int) -> SoftRows:
        """Of the first `rows` nodes: labels (n,) for certain, nothing of those held out, and what the graph says."""
        answers = answers.first(rows)
        shares, certainty = answers.shares.clone(), answers.certainty.clone()
        if self.config.answers == "hard":
            shares = F.one_hot(shares.argmax(1), shares.shape[1]).to(shares)
        shares[: len(labels)] = F.one_hot(labels.clamp(min=0), shares.shape[1]).to(shares)
        certainty[: len(labels)] = (labels >= 0).to(certainty)
        return SoftRows(shares, certainty)

    def _folds(self, graph: Tensor, labels: Tensor, classes: int) -> list[_Fold]:
        """Empty where no label can be left out."""
        parts = stratified(labels, FOLDS)
        parts[_MAX_ROWS_TO_DECIDE:] = NEVER
        first = len(labels) + self.config.rows  # what is learned from: no more need be kept
        folds = []
        for held in (parts == part for part in range(FOLDS)):
            if held.any():
                answers = self._answers(graph, labels.masked_fill(held, NEVER), classes)
                folds.append(_Fold(held, {way: one.first(first) for way, one in answers.items()}))
        return folds

    def _graph(self, objective: FineTuning, features: Tensor, first: Tensor) -> Tensor:
        """S of the labelled rows, with features (n, F), and then all others, the first with features (m, F)."""
        few = min(len(features), _ROWS_FOR_AXES // 2)
        sample = torch.cat([features[:few], first[: _ROWS_FOR_AXES - few]])
        scale = Standardize(features.shape[1]).to(features.device)
        scale.fit_together(sample, objective.strategy.widths(objective.backbone))
        basis = principal(scale(sample))
        assert basis.axes is not None
        count = _AXES_OF_WIDE if features.shape[1] > _WIDE else len(basis.spectrum)
        axes = basis.axes[:, basis.spectrum.topk(min(count, len(basis.spectrum))).indices].to(features)
        points = [scale(features) @ axes, scale(first) @ axes]
        points += [scale(block) @ axes for block in self._features(objective, len(first), len(self.inputs))]
        nodes = torch.cat(points)
        return neighbour_graph(nodes, min(self.config.neighbours, len(nodes) - 1))

    def _features(self, objective: FineTuning, start: int, stop: int) -> Iterator[Tensor]:
        """What the head gets of rows `start` to `stop`, as far as there are some, in blocks (b, F)."""
        backbone = objective.backbone.eval()
        chosen = torch.arange(start, max(start, min(stop, len(self.inputs))))
        for rows in torch.split(chosen, rows_per_block(self.inputs.volume)):
            if len(rows):
                yield objective.strategy.features(backbone, self.inputs.take(rows))

    def _answers(self, graph: Tensor, labels: Tensor, classes: int) -> dict[str, SoftRows]:
        """Of every node, from the labels (n,) of the first ones, -1 where held out."""
        every = torch.full((len(graph),), NEVER, device=labels.device)
        every[: len(labels)] = labels
        found = spread(graph, every, classes, self.config.alpha)
        return {way: SoftRows(*soft_labels(found, every, as_labels=way == "labels")) for way in self._ways}

    def _decided(
        self,
        objective: FineTuning,
        head: Head,
        folds: Sequence[_Fold],
        by_graph: Tensor,
        features: Tensor,
        labels: Tensor,
        way: str,
    ) -> tuple[bool, Noted]:
        """Whether to use pseudo-labels, and why."""
        rows = len(self.inputs)
        data: dict[str, Any] = {"rows": rows, "learned_from": min(rows, self.config.rows), "shares": way}
        data |= {"graph": float(by_graph.mean()) if folds else None, "probe": None}
        if self.config.use == "always" or not folds:
            reason = "as asked for" if self.config.use == "always" else "no label can be left out to compare on"
            return True, Noted("pseudo_labels.used", f"Pseudo-labels are used: {reason}.", data)
        widths = objective.strategy.widths(objective.backbone)
        answers = []
        for fold in folds:
            probe = copy.deepcopy(head)
            probe.solve(features, labels.masked_fill(fold.held, NEVER), widths)
            answers.append((probe(features[fold.held]).argmax(1) == labels[fold.held]).double())
        by_probe = torch.cat(answers)
        error = float((by_graph - by_probe).std(correction=0)) / len(by_probe) ** 0.5
        data |= {"probe": float(by_probe.mean()), "standard_error": error}
        words = (
            f"of {len(by_probe)} labels left out the graph knows {data['graph']:.3f} and a probe {data['probe']:.3f}"
        )
        if data["graph"] >= data["probe"] - error:
            return True, Noted("pseudo_labels.used", f"Pseudo-labels are used: {words}.", data)
        return False, Noted("pseudo_labels.left_out", f"Pseudo-labels are left out: {words}.", data)


def _right(folds: Sequence[_Fold], way: str, labels: Tensor) -> Tensor:
    """Of the labels held out, fold by fold, which the graph knows (m,), 1 or 0."""
    found = [(fold.answers[way].shares[: len(labels)].argmax(1) == labels)[fold.held] for fold in folds]
    return torch.cat(found).double() if found else torch.zeros(0, dtype=torch.float64)
