"""Pseudo-labels for a linear probe: labels propagate over a graph of the labelled and the unlabelled rows' features.

The graph's points are the features as the probe scales them, of wide ones the first principal axes. All else is
decided on the labels alone: each fold of the labels is held out from a graph, and from the probe that learns from it.

- The class balance ("shares") holds to the labels' own shares, as far as few labels can tell them, unless another one
  predicts more of the labels held out by over a standard error.
- The probe's penalty is the one with the lowest loss on the labels held out, whose outputs calibrate it as well.
- Pseudo-labels are left out where a probe without them does better, see `comparison`.
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
from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData, Examples, OnDisk
from app.ml.data.chunks import rows_per_block
from app.ml.errors import ConfigError
from app.ml.interfaces import Head, Modality
from app.ml.interfaces.abilities import SoftLabelSolver
from app.ml.models.assembly import FineTuning
from app.ml.solvers.basis import principal
from app.ml.solvers.folds import FOLDS, NEVER, stratified
from app.ml.solvers.logistic import SoftLabels
from app.ml.solvers.solution import Fit, Solution
from worker.training.events import Note
from worker.training.label_propagation.comparison import Comparison, compare, paired
from worker.training.label_propagation.graph import neighbour_graph, soft_labels, spread

_MAX_NODES, _MAX_NODES_UNASKED = 100_000, 5000  # the latter where nobody has asked for what they cost
_MAX_ROWS_FOR_AXES = 2000
_MAX_WIDTH, _AXES_OF_WIDE = 512, 100  # wider features are reduced to so many axes: distances cost N^2 times the width
_MAX_LABELS_HELD_OUT = 2000
_BALANCES: dict[str, float | None] = {"near": 1.0, "labels": 0.0, "free": None}  # standard errors of the shares


@dataclass(frozen=True, slots=True)
class _Fold:
    """The labels held out, bool (n,), and what the graph without them says of every node, by class balance."""

    held_out: Tensor
    predictions: dict[str, SoftLabels]


@dataclass(frozen=True, slots=True)
class LabelPropagation:
    """The unlabelled rows (N, *shape) of a fine-tuning, shuffled, and how labels propagate to them."""

    config: LabelPropagationConfig
    unlabelled: OnDisk

    @classmethod
    def open(
        cls,
        config: ResolvedFineTuning,
        data: ArrayData,
        auxiliary: ArrayData | None,
        modality: Modality,
        device: torch.device,
    ) -> "LabelPropagation":
        """Open the unlabelled rows: the auxiliary dataset's train rows, or else the rows of `data` without a label.

        Raises `ConfigError` where the other dataset's rows do not fit, or there are none.
        """
        assert config.unlabelled is not None
        source = auxiliary or data
        differences = modality.differences(source.spec)
        if differences:
            raise ConfigError(("unlabelled", "dataset"), f"its rows do not fit: {'; '.join(differences[:5])}")
        positions = source.positions("train")
        if auxiliary is None:
            positions = np.setdiff1d(positions, data.positions("train", config.heads[0].targets))
        if not len(positions):
            raise ConfigError(("unlabelled", "dataset"), "there are no train rows without a label: name other rows")
        # Shuffled by a fixed seed: any first part of them is a fair sample, the same in every attempt.
        order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))
        order = order[: _MAX_NODES_UNASKED if config.unlabelled.use == "if_better" else _MAX_NODES]
        return cls(config.unlabelled, OnDisk(source, positions[order.numpy()], modality, device))

    @torch.no_grad()
    def solve(self, objective: FineTuning, labelled: Examples) -> tuple[dict[str, Fit], Note]:
        """Set the head to its optimum on labelled features (n, F) and, where they help, on pseudo-labelled ones."""
        (head,), (config,) = objective.each_head(), objective.configs
        labels = labelled.targets[config.targets[0]]
        features, labels = labelled.inputs.take(None)[labels >= 0], labels[labels >= 0]  # (n, F), (n,)
        joined = copy.deepcopy(head)
        joint, data = self._solve_jointly(objective, joined, features, labels)
        without = objective.solve(features, {config.targets[0]: labels})[config.key]
        comparison = compare(joint.out_of_fold, without.out_of_fold, labels)
        data |= {} if comparison is None else comparison.as_json()
        used, reason = self._judge(comparison, data["graph"])
        if not used:
            return {config.key: without}, Note("pseudo_labels.left_out", f"Pseudo-labels are left out: {reason}.", data)
        head.load_state_dict(joined.state_dict())
        return {config.key: joint}, Note("pseudo_labels.used", f"Pseudo-labels are used: {reason}.", data)

    def _judge(self, comparison: Comparison | None, graph: float | None) -> tuple[bool, str]:
        """Whether to use pseudo-labels, and why: `graph` is the share of labels left out that the graph knows."""
        if comparison is None:
            return self.config.use != "if_better", "no label can be left out to compare on"
        reason = (
            f"of {comparison.rows} labels left out a probe with them knows {comparison.joined:.3f} and one without "
            f"{comparison.probe:.3f}, the graph {graph:.3f}"
        )
        judgements = {"always": True, "auto": not comparison.is_worse, "if_better": comparison.is_better}
        return judgements[self.config.use], reason

    def _solve_jointly(
        self, objective: FineTuning, head: Head, features: Tensor, labels: Tensor
    ) -> tuple[Solution, dict[str, Any]]:
        """Set the head to its optimum on labelled and pseudo-labelled rows; also what the graph is like, as JSON."""
        assert isinstance(head, SoftLabelSolver)
        # These rows are used twice, for the graph and to learn from; all others' features are too many to keep.
        count = max(self.config.rows, _MAX_ROWS_FOR_AXES)
        first = torch.cat(list(self._features(objective, 0, count)))  # (m, F)
        graph = self._graph(objective, features, first)  # sparse (n + N, n + N)
        folds = self._folds(graph, labels, len(head.classes))
        balance, knows = self._select_balance(folds, labels)
        # The probe learns from the labelled rows and the first `rows` pseudo-labelled ones.
        rows = torch.cat([features, first[: self.config.rows]])
        targets = self._soft_targets(self._predict(graph, labels, len(head.classes))[balance], labels, len(rows))
        trials = []
        for fold in folds:
            known = labels.masked_fill(fold.held_out, NEVER)
            held_out = F.pad(fold.held_out, (0, len(rows) - len(labels)))  # pseudo-labelled rows are never held out
            trials.append((self._soft_targets(fold.predictions[balance], known, len(rows)), held_out))
        solution = head.solve_soft(rows, targets, trials, objective.strategy.widths(objective.backbone))
        learned_from = len(rows) - len(labels)
        return solution, {"rows": len(self.unlabelled), "learned_from": learned_from, "shares": balance, "graph": knows}

    def _select_balance(self, folds: Sequence[_Fold], labels: Tensor) -> tuple[str, float | None]:
        """The class balance, and the share of held-out labels that the graph then knows (None without any)."""
        best, *others = self._class_balances
        if not folds:
            return best, None
        correct = {name: _correct(folds, name, labels) for name in self._class_balances}
        for name in others:
            gain, error = paired(correct[name], correct[best])
            best = name if gain > error else best
        return best, float(correct[best].mean())

    @property
    def _class_balances(self) -> tuple[str, ...]:
        """The class balances to compare; the first wins where labels cannot tell."""
        return tuple(_BALANCES) if self.config.shares == "auto" else (self.config.shares,)

    def _soft_targets(self, predictions: SoftLabels, labels: Tensor, rows: int) -> SoftLabels:
        """What the probe learns of the first `rows` nodes: labels (n,) for certain, and what the graph predicts.

        Labelled nodes whose label is held out (-1) count nothing.
        """
        predictions = predictions.first(rows)
        shares, certainty = predictions.shares.clone(), predictions.certainty.clone()
        if self.config.answers == "hard":
            # The most probable class alone; the certainty that weighs the row stays that of the soft classes.
            shares = F.one_hot(shares.argmax(1), shares.shape[1]).to(shares)
        # Where the label is known it counts as it is, whatever the graph says of the row.
        shares[: len(labels)] = F.one_hot(labels.clamp(min=0), shares.shape[1]).to(shares)
        certainty[: len(labels)] = (labels >= 0).to(certainty)
        return SoftLabels(shares, certainty)

    def _folds(self, graph: Tensor, labels: Tensor, classes: int) -> list[_Fold]:
        """The folds of the labels (n,); none where no label can be held out."""
        fold_of = stratified(labels, FOLDS)
        fold_of[_MAX_LABELS_HELD_OUT:] = NEVER
        rows = len(labels) + self.config.rows  # only these are learned from: the other nodes need not be kept
        folds = []
        for held_out in (fold_of == fold for fold in range(FOLDS)):
            if held_out.any():
                predictions = self._predict(graph, labels.masked_fill(held_out, NEVER), classes)
                folds.append(_Fold(held_out, {name: soft.first(rows) for name, soft in predictions.items()}))
        return folds

    def _graph(self, objective: FineTuning, features: Tensor, first: Tensor) -> Tensor:
        """S of the labelled rows, with features (n, F), and then the unlabelled ones, the first with features (m, F).

        Only points (n + N, A) on the principal axes are kept of all rows, A being at most 100 where F is large.
        """
        # Scale and axes are fitted on a sample of both kinds of rows: unlabelled ones may come from elsewhere.
        labelled_sample = min(len(features), _MAX_ROWS_FOR_AXES // 2)
        sample = torch.cat([features[:labelled_sample], first[: _MAX_ROWS_FOR_AXES - labelled_sample]])
        scale = Standardize(features.shape[1]).to(features.device)
        scale.fit_together(sample, objective.strategy.widths(objective.backbone))
        basis = principal(scale(sample))
        assert basis.axes is not None
        count = _AXES_OF_WIDE if features.shape[1] > _MAX_WIDTH else len(basis.spectrum)
        axes = basis.axes[:, basis.spectrum.topk(min(count, len(basis.spectrum))).indices].to(features)  # (F, A)
        # The others are computed block by block and reduced at once: their features (N, F) would not fit into memory.
        points = [scale(features) @ axes, scale(first) @ axes]
        points += [scale(block) @ axes for block in self._features(objective, len(first), len(self.unlabelled))]
        nodes = torch.cat(points)
        return neighbour_graph(nodes, min(self.config.neighbours, len(nodes) - 1))

    def _features(self, objective: FineTuning, start: int, stop: int) -> Iterator[Tensor]:
        """The head's features of unlabelled rows `start` to `stop`, as far as there are some, in blocks (b, F)."""
        backbone = objective.backbone.eval()
        indices = torch.arange(start, max(start, min(stop, len(self.unlabelled))))
        for rows in torch.split(indices, rows_per_block(self.unlabelled.volume)):
            if len(rows):
                yield objective.strategy.features(backbone, self.unlabelled.take(rows))

    def _predict(self, graph: Tensor, labels: Tensor, classes: int) -> dict[str, SoftLabels]:
        """The soft classes of every node, by class balance, from the labels (n,) of the first ones, -1 if held out."""
        node_labels = torch.full((len(graph),), NEVER, device=labels.device)
        node_labels[: len(labels)] = labels
        scores = spread(graph, node_labels, classes, self.config.alpha)
        return {name: SoftLabels(*soft_labels(scores, node_labels, _BALANCES[name])) for name in self._class_balances}


def _correct(folds: Sequence[_Fold], balance: str, labels: Tensor) -> Tensor:
    """1 for each held-out label (m,) that the graph predicts, else 0; fold by fold."""
    correct = [(fold.predictions[balance].shares[: len(labels)].argmax(1) == labels)[fold.held_out] for fold in folds]
    return torch.cat(correct).double()
