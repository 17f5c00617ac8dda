"""What can only be chosen once rows are at hand: the best layer for a probe, and how to adapt a backbone at all.

Everything here sees labelled train rows alone, so that validation rows measure honestly, and is a function of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData, Examples, OnDisk
from app.ml.data.spec import SPLITS
from app.ml.interfaces import Backbone, Modality, ResolutionContext, Rows
from app.ml.kinds.strategies import AnyStrategy
from app.ml.kinds.strategies.automatic import Automatic, Candidate
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.kinds.strategies.lp_ft import LpFt
from app.ml.models.assembly import stacked, targets_of
from worker.training.cross_validation import folds_of, with_held_out
from worker.training.evaluation import Evaluation, layers_of
from worker.training.events import Noted
from worker.training.features import Keeper, computed, feature_key
from worker.training.flops import row_seconds, solving_seconds, training_seconds

Layer = Literal["last", "all"] | int
Trial = Callable[[FineTuningConfig, ArrayData], Evaluation | None]
"""Train what is configured, and measure it on the validation split."""

_FOLDS = 3
_MAX_ROWS_FOR_LAYERS = 10_000
_MAX_BYTES_FOR_LAYERS = 1 << 30
_MIN_ROWS = 100  # fewer say nothing, where there are more


@dataclass(frozen=True, slots=True)
class Ground:
    """What a choice is made on."""

    config: FineTuningConfig
    data: ArrayData
    modality: Modality
    backbone: Backbone  # with the weights that are adapted
    pretrained: bool
    device: torch.device
    trial: Trial
    keep: Keeper = computed

    @property
    def labels(self) -> tuple[str, ...]:
        """The targets of all heads."""
        return tuple(dict.fromkeys(name for head in self.config.heads for name in head.targets))

    @property
    def outputs(self) -> int:
        """Of all heads."""
        found = [one for head in self.config.heads for one in targets_of(head, self.data.spec)]
        return sum(len(one.classes) or 1 for one in found)

    def rows(self) -> Rows:
        """Positions (n,) of the labelled train rows, in an order that says nothing."""
        found = self.data.positions("train", self.labels)
        order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
        shuffled: Rows = found[order.numpy()]
        return shuffled


def chosen(strategy: AnyStrategy, ground: Ground) -> tuple[AnyStrategy, tuple[Noted, ...]]:
    """A strategy that leaves nothing to choose, and what was found out. The global generators stay untouched."""
    devices = [ground.device] if ground.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if isinstance(strategy, Automatic):
            return _choose_strategy(strategy, ground)
        if isinstance(strategy, LinearProbe) and strategy.layer == "best":
            probe, note = choose_layer(strategy, ground)
            return probe, (note,)
    return strategy, ()


def choose_layer(strategy: LinearProbe, ground: Ground) -> tuple[LinearProbe, Noted]:
    """The layer, or all of them, whose features cost the heads least on rows held out."""
    backbone = ground.backbone.to(ground.device)
    widths = layer_widths(backbone)
    rows = ground.rows()[: max(1, min(_MAX_ROWS_FOR_LAYERS, _MAX_BYTES_FOR_LAYERS // (4 * sum(widths))))]
    layers, examples = layers_for(ground, rows, widths)
    left = strategy.budget_seconds - len(rows) * row_seconds(backbone)
    tried: list[dict[str, Any]] = []
    for layer in _candidates(widths):
        of_layer = list(range(len(widths))) if layer == "all" else [place_of(layer, widths)]
        parts = [widths[index] for index in of_layer]
        left -= solving_seconds(len(rows), sum(parts), ground.outputs)
        entry: dict[str, Any] = {"layer": layer, "features": sum(parts), "held_out_loss": None}
        if left >= 0 or layer == "last":
            features = torch.cat([layers[index] for index in of_layer], dim=1)
            entry["held_out_loss"] = _held_out_loss(ground, features, examples, parts)
        tried.append(entry)
    backbone.train()
    measured = [entry for entry in tried if entry["held_out_loss"] is not None]
    best = min(measured, key=lambda entry: entry["held_out_loss"], default=tried[0])
    message = f"The probe reads layer {best['layer']}: {len(measured)} of {len(tried)} choices were compared."
    note = Noted("layer.chosen", message, {"layer": best["layer"], "rows": len(rows), "candidates": tried})
    return strategy.model_copy(update={"layer": best["layer"]}), note


def _candidates(widths: Sequence[int]) -> list[Layer]:
    """The last, all, and then each from the top."""
    if len(widths) == 1:
        return ["last"]
    return ["last", "all", *reversed(range(len(widths) - 1))]


def place_of(layer: Layer, widths: Sequence[int]) -> int:
    """Which of the layers is meant."""
    return layer if isinstance(layer, int) else len(widths) - 1


def layers_for(ground: Ground, rows: Rows, widths: Sequence[int]) -> tuple[list[torch.Tensor], Examples]:
    """Every layer's features of some rows, each (n, F), and the rows' labels."""
    targets = {name: ground.data.labels(name, rows).to(ground.device) for name in ground.labels}
    examples = Examples(OnDisk(ground.data, rows, ground.modality, ground.device), targets)

    def compute() -> torch.Tensor:
        blocks = (layers_of(ground.backbone, examples.inputs.take(block)) for block in examples.blocks())
        return torch.cat([torch.cat(layers, dim=1) for layers in blocks])

    key = feature_key(ground.backbone, ground.modality, rows, "each layer", ground.config.backbone)
    return list(torch.split(ground.keep(key, compute), list(widths), dim=1)), examples


@torch.no_grad()
def _held_out_loss(ground: Ground, features: torch.Tensor, examples: Examples, widths: Sequence[int]) -> float | None:
    """The sum of all heads' cross-validated losses; None where nothing could be held out."""
    losses = []
    for config in ground.config.heads:
        head = config.build(features.shape[1], targets_of(config, ground.data.spec)).to(ground.device)
        target = stacked(config, examples.targets)
        head.fit_target(target)
        found = head.solve(features, target, widths)
        losses.append(found.loss if found else None)
    known = [loss for loss in losses if loss is not None]
    return sum(known) if len(known) == len(losses) else None


def _choose_strategy(strategy: Automatic, ground: Ground) -> tuple[AnyStrategy, tuple[Noted, ...]]:
    """Candidates trained and measured on the same folds, as far as the budget goes."""
    probe = LinearProbe(solver="exact", layer="last")
    notes: list[Noted] = []
    if "linear_probe" in strategy.candidates:
        wanted = LinearProbe(solver="exact", layer="best", budget_seconds=strategy.budget_seconds / 2)
        probe, note = choose_layer(wanted, ground)
        notes = [note]
    context = ResolutionContext(
        ground.data.spec.modality, ground.data.spec.shape, len(ground.rows()), pretrained=ground.pretrained
    )
    ways: dict[Candidate, AnyStrategy] = {"linear_probe": probe, "lp_ft": LpFt(), "full": Full().resolve(context)[0]}
    taken, message, data = _compared(strategy, ways, ground)
    return ways[taken], (*notes, Noted("strategy.chosen", message, {"strategy": taken, **data}))


def _compared(
    strategy: Automatic, ways: dict[Candidate, AnyStrategy], ground: Ground
) -> tuple[Candidate, str, dict[str, Any]]:
    best, *others = strategy.candidates
    splits = _splits(strategy, ground) if others else []
    if not splits:
        return best, f"{best}: nothing else could be tried within the budget.", {"scores": {}, "rows": 0, "folds": 0}
    rows = sum(int((split.split == SPLITS.index("validation")).sum()) for split in splits)
    scores: dict[str, float] = {best: _score(ways[best], ground, splits)}
    for name in others:
        scores[name] = _score(ways[name], ground, splits)
        if scores[name] > scores[best] + _standard_error(scores[best], rows):
            best = name
    told = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    data = {"scores": scores, "rows": rows, "folds": len(splits), "standard_error": _standard_error(scores[best], rows)}
    return best, f"{best}: on {rows} train rows held out the scores are {told}.", data


def _splits(strategy: Automatic, ground: Ground) -> list[ArrayData]:
    """The labelled train rows as several train and validation splits; fewer rows where no more are affordable."""
    rows = ground.rows()
    cost = _seconds(strategy, ground, len(rows)) * (_FOLDS - 1) / _FOLDS
    count = _FOLDS if cost * _FOLDS <= strategy.budget_seconds else 1
    affordable = int(len(rows) * min(1.0, strategy.budget_seconds / max(cost * count, 1e-9)))
    if affordable < min(len(rows), _MIN_ROWS):
        return []
    rows = rows[:affordable]
    folds = folds_of(ground.data, ground.labels, rows, _FOLDS)
    return [with_held_out(ground.data, rows, folds == fold) for fold in range(count) if (folds == fold).any()]


def _seconds(strategy: Automatic, ground: Ground, rows: int) -> float:
    """What all candidates take on so many rows."""
    training = ground.config.training
    seen = training.total_steps(rows) * min(int(training.batch_size), rows)
    each = {
        "linear_probe": 2 * rows * row_seconds(ground.backbone)
        + solving_seconds(rows, sum(layer_widths(ground.backbone)), ground.outputs),
        "full": training_seconds(ground.backbone, seen),
    }
    each["lp_ft"] = each["full"] + each["linear_probe"]
    return sum(each[name] for name in strategy.candidates)


def _score(strategy: AnyStrategy, ground: Ground, splits: Sequence[ArrayData]) -> float:
    """The mean over splits and heads of accuracy, R2 or average precision; without any, of the loss, negated."""
    # What stops early by the rows it is compared on would have seen them.
    training = ground.config.training.model_copy(update={"early_stopping": None, "evaluate_every": 100_000})
    config = ground.config.model_copy(update={"strategy": strategy, "training": training})
    found = [ground.trial(config, split) for split in splits]
    return float(np.mean([_of_heads(one) for one in found if one is not None]))


def _of_heads(measured: Evaluation) -> float:
    figures = [
        next(
            (metrics[name] for name in ("accuracy", "r2", "average_precision") if isinstance(metrics.get(name), float)),
            None,
        )
        for metrics in measured.heads.values()
    ]
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if len(known) == len(figures) else -measured.losses["loss"]


def _standard_error(score: float, rows: int) -> float:
    """Of a share measured on so many rows."""
    share = min(max(score, 0.0), 1.0)
    return float(np.sqrt(max(share * (1 - share), 0.25 / rows) / rows))
