"""Pseudo-labels for a linear probe: a graph over labelled and unlabelled rows' features hands the labels on.

The graph's points are the features' first principal axes, as the probe scales them. Whether pseudo-labels are used at
all is decided on the labels alone: each fold is answered by the graph and by a probe that know the other folds. They
are left out where the graph is worse by more than a standard error of the difference: few labels cannot tell more.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from app.ml.assembly import FineTuning
from app.ml.blocks.standardize import Standardize
from app.ml.configs import FineTuningConfig
from app.ml.data import ArrayData, Examples, OnDisk
from app.ml.errors import ConfigError
from app.ml.graph import neighbour_graph, soft_labels, spread
from app.ml.heads.classifier import ClassifierHead
from app.ml.interfaces import Modality
from app.ml.pseudo_labels import PseudoLabels
from app.ml.rows import each_block, rows_per_block
from app.ml.solvers.basis import principal
from app.ml.solvers.folds import NEVER, stratified
from app.ml.solvers.solution import Solution
from worker.training.events import Noted

_MOST_NODES, _MOST_AXES, _ROWS_FOR_AXES = 100_000, 100, 2000
_FOLDS, _MOST_ROWS_TO_DECIDE = 5, 2000


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The rows (N, *shape) that get pseudo-labels, in an order that says nothing."""

    config: PseudoLabels
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
        assert config.unlabelled is not None  # noqa: S101 - for programmers
        source = beside or data
        differences = modality.differences(source.spec)
        if differences:
            raise ConfigError(("unlabelled", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
        positions = source.positions("train")
        if beside is None:
            positions = np.setdiff1d(positions, data.positions("train", config.heads[0].targets))
        if not len(positions):
            raise ConfigError(("unlabelled", "dataset"), "there are no train rows without a label: name other rows")
        order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))[:_MOST_NODES]
        return cls(config.unlabelled, OnDisk(source, positions[order.numpy()], modality, device))

    @torch.no_grad()
    def solve(self, objective: FineTuning, labelled: Examples) -> tuple[dict[str, Solution], Noted]:
        """Set the head to its optimum on labelled features (N, F) and, where they help, on pseudo-labelled ones."""
        (head,), (config,) = objective.each_head(), objective.configs
        assert isinstance(head, ClassifierHead)  # noqa: S101 - for programmers: recipes see to it
        labels = labelled.targets[config.targets[0]]
        features, labels = labelled.inputs.take(None)[labels >= 0], labels[labels >= 0]
        graph = self._graph(objective, features)
        taken, note = self._decided(objective, head, graph, features, labels)
        if not taken:
            return objective.solve(features, {config.targets[0]: labels}), note
        others = torch.cat(list(self._features(objective, self.config.rows)))
        shares, certainty = self._answers(graph, labels, len(head.classes))
        if self.config.answers == "hard":
            shares = F.one_hot(shares.argmax(1), len(head.classes)).to(shares)
        count = len(labels) + len(others)
        shares[: len(labels)] = F.one_hot(labels, len(head.classes))
        certainty[: len(labels)] = 1
        widths = objective.strategy.widths(objective.backbone)
        found = head.solve_soft(torch.cat([features, others]), shares[:count], certainty[:count], widths)
        return {config.key: found}, note

    def _graph(self, objective: FineTuning, features: Tensor) -> Tensor:
        """S of the labelled rows, with features (n, F), and then all others."""
        few = min(len(features), _ROWS_FOR_AXES // 2)
        sample = torch.cat([features[:few], *self._features(objective, _ROWS_FOR_AXES - few)])
        scale = Standardize(features.shape[1]).to(features.device)
        scale.fit_together(sample, objective.strategy.widths(objective.backbone))
        basis = principal(scale(sample))
        assert basis.axes is not None  # noqa: S101 - for programmers: few rows have few axes
        axes = basis.axes[:, basis.spectrum.topk(min(_MOST_AXES, len(basis.spectrum))).indices].to(features)
        points = [scale(features) @ axes]
        points += [scale(block) @ axes for block in self._features(objective, len(self.inputs))]
        nodes = torch.cat(points)
        return neighbour_graph(nodes, min(self.config.neighbours, len(nodes) - 1))

    def _features(self, objective: FineTuning, count: int) -> Iterator[Tensor]:
        """What the head gets of the first `count` rows, in blocks (b, F)."""
        backbone = objective.backbone.eval()
        for block in each_block(min(count, len(self.inputs)), rows_per_block(self.inputs.volume)):
            yield objective.strategy.features(backbone, self.inputs.take(torch.arange(block.start, block.stop)))

    def _answers(self, graph: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Soft labels (nodes, K) and certainty (nodes,) from the labels (n,) of the first nodes, -1 where held out."""
        every = torch.full((len(graph),), -1, device=labels.device)
        every[: len(labels)] = labels
        return soft_labels(spread(graph, every, classes, self.config.alpha), every)

    def _decided(
        self, objective: FineTuning, head: ClassifierHead, graph: Tensor, features: Tensor, labels: Tensor
    ) -> tuple[bool, Noted]:
        """Whether to use pseudo-labels, and why."""
        rows = len(self.inputs)
        data: dict[str, Any] = {"rows": rows, "learned_from": min(rows, self.config.rows), "graph": None, "probe": None}
        folds = stratified(labels, _FOLDS)
        folds[_MOST_ROWS_TO_DECIDE:] = NEVER
        tested = folds != NEVER
        if self.config.use == "always" or not tested.any():
            reason = "as asked for" if self.config.use == "always" else "no label can be left out to compare on"
            return True, Noted("pseudo_labels.used", f"Pseudo-labels are used: {reason}.", data)
        widths = objective.strategy.widths(objective.backbone)
        right = torch.zeros(2, len(labels), dtype=torch.float64, device=labels.device)
        for fold in range(_FOLDS):
            held = folds == fold
            kept = labels.masked_fill(held, NEVER)
            shares, _ = self._answers(graph, kept, len(head.classes))
            probe = copy.deepcopy(head)
            probe.solve(features, kept, widths)
            answers = (shares[: len(labels)][held], probe(features[held]))
            right[:, held] = torch.stack([(one.argmax(1) == labels[held]).double() for one in answers])
        right = right[:, tested]
        by_graph, by_probe = right.mean(1).tolist()
        error = float((right[0] - right[1]).std(correction=0)) / right.shape[1] ** 0.5
        data |= {"graph": by_graph, "probe": by_probe, "standard_error": error}
        words = f"of {int(tested.sum())} labels left out the graph knows {by_graph:.3f} and a probe {by_probe:.3f}"
        if by_graph >= by_probe - error:
            return True, Noted("pseudo_labels.used", f"Pseudo-labels are used: {words}.", data)
        return False, Noted("pseudo_labels.left_out", f"Pseudo-labels are left out: {words}.", data)
