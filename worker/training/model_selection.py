"""Model selection: the layer that a probe reads, and the strategy that adapts the backbone, compared on held-out rows.

Everything here sees labelled train rows alone, so that validation rows stay an honest measure, and depends on nothing
but them: the same rows always select the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData, Examples, OnDisk
from app.ml.fitting.evaluation import Evaluation
from app.ml.fitting.features import GetOrCompute, feature_key, uncached
from app.ml.interfaces import Backbone, Modality, ResolutionContext, Rows
from app.ml.kinds.strategies.automatic import Automatic, Candidate
from app.ml.kinds.strategies.base import StrategyConfig
from app.ml.kinds.strategies.full import Full
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.kinds.strategies.lp_ft import LpFt
from app.ml.models.assembly import stacked, targets_of
from app.ml.spec import SPLITS
from worker.training.cross_validation import assign_folds, with_validation_rows
from worker.training.events import Note
from worker.training.flops import row_seconds, solving_seconds, training_seconds

Layer = Literal["last", "all"] | int
TrainAndEvaluate = Callable[[ResolvedFineTuning, ArrayData], Evaluation | None]
"""Train a config on a dataset, and evaluate it on the dataset's validation split."""

_FOLDS = 3
_MAX_ROWS_FOR_LAYERS = 10_000
_MAX_BYTES_FOR_LAYERS = 1 << 30
_MIN_ROWS = 100  # a comparison on fewer says nothing, where there are more
_SCORES = ("accuracy", "r2", "average_precision")


@dataclass(frozen=True, slots=True)
class SelectionContext:
    """The fine-tuning for which something is selected: its rows, its backbone, and how to train a candidate."""

    config: ResolvedFineTuning
    data: ArrayData
    modality: Modality
    backbone: Backbone  # with the weights that are adapted
    pretrained: bool
    device: torch.device
    train_and_evaluate: TrainAndEvaluate
    cache: GetOrCompute = uncached

    @property
    def outputs(self) -> int:
        """The number of outputs of all heads together."""
        targets = [target for head in self.config.heads for target in targets_of(head, self.data.spec)]
        return sum(len(target.classes) or 1 for target in targets)

    def rows(self) -> Rows:
        """Positions (n,) of the labelled train rows, shuffled once and for all: any first part is a fair sample."""
        positions = self.data.positions("train", self.config.targets)
        order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))
        shuffled: Rows = positions[order.numpy()]
        return shuffled


def select_strategy(strategy: StrategyConfig, context: SelectionContext) -> tuple[StrategyConfig, tuple[Note, ...]]:
    """Select what the strategy leaves open; also the notes on how. Torch's global generators stay untouched."""
    devices = [context.device] if context.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if isinstance(strategy, Automatic):
            return _select_among_candidates(strategy, context)
        if isinstance(strategy, ResolvedLinearProbe) and strategy.layer == "best":
            probe, note = select_layer(strategy, context)
            return probe, (note,)
    return strategy, ()


def select_layer(strategy: ResolvedLinearProbe, context: SelectionContext) -> tuple[ResolvedLinearProbe, Note]:
    """Select the layer, or all of them together, whose features give the heads the lowest held-out loss."""
    backbone = context.backbone.to(context.device)
    widths = layer_widths(backbone)
    # The features of all layers, (n, sum of widths) float32, are in memory at once.
    rows = context.rows()[: max(1, min(_MAX_ROWS_FOR_LAYERS, _MAX_BYTES_FOR_LAYERS // (4 * sum(widths))))]
    layers, examples = layer_features(context, rows, widths)  # each (n, F_i)
    # Costs are computed from operations, not measured: the same budget always compares the same layers.
    budget = strategy.budget_seconds - len(rows) * row_seconds(backbone)
    candidates: list[dict[str, Any]] = []
    for layer in _layers_to_compare(widths):
        indices = layer_indices(layer, widths)
        parts = [widths[index] for index in indices]
        budget -= solving_seconds(len(rows), sum(parts), context.outputs)
        candidate: dict[str, Any] = {"layer": layer, "features": sum(parts), "held_out_loss": None}
        # The last layer is always compared: something must be selected, whatever the budget.
        if budget >= 0 or layer == "last":
            features = torch.cat([layers[index] for index in indices], dim=1)
            candidate["held_out_loss"] = _held_out_loss(context, features, examples, parts)
        candidates.append(candidate)
    backbone.train()
    compared = [candidate for candidate in candidates if candidate["held_out_loss"] is not None]
    best = min(compared, key=lambda candidate: candidate["held_out_loss"], default=candidates[0])
    message = f"The probe reads layer {best['layer']}: {len(compared)} of {len(candidates)} choices were compared."
    note = Note("layer.chosen", message, {"layer": best["layer"], "rows": len(rows), "candidates": candidates})
    return strategy.model_copy(update={"layer": best["layer"]}), note


def _layers_to_compare(widths: Sequence[int]) -> list[Layer]:
    """The last layer, all together, and then each other one from the top: the likeliest first, should time run out."""
    if len(widths) == 1:
        return ["last"]
    return ["last", "all", *reversed(range(len(widths) - 1))]


def layer_indices(layer: Layer, widths: Sequence[int]) -> list[int]:
    """The indices of the layers that a choice of layer means."""
    if layer == "all":
        return list(range(len(widths)))
    return [layer if isinstance(layer, int) else len(widths) - 1]


def layer_features(context: SelectionContext, rows: Rows, widths: Sequence[int]) -> tuple[list[torch.Tensor], Examples]:
    """Every layer's features of the rows (n,), each (n, F_i) with F_i of `widths`, and the rows with their labels."""
    targets = {name: context.data.labels(name, rows).to(context.device) for name in context.config.targets}
    examples = Examples(OnDisk(context.data, rows, context.modality, context.device), targets)

    @torch.no_grad()
    def compute() -> torch.Tensor:
        backbone = context.backbone.eval()
        # All layers side by side, (n, sum of widths): the cache keeps one tensor under one key.
        blocks = (backbone.layers(examples.inputs.take(block)) for block in examples.blocks())
        return torch.cat([torch.cat(layers, dim=1) for layers in blocks])

    key = feature_key(context.backbone, context.modality, rows, "each layer", context.config.backbone)
    return list(torch.split(context.cache(key, compute), list(widths), dim=1)), examples


@torch.no_grad()
def _held_out_loss(
    context: SelectionContext, features: torch.Tensor, examples: Examples, widths: Sequence[int]
) -> float | None:
    """The sum of all heads' cross-validated losses on features (n, F); None where nothing could be held out."""
    losses = []
    for config in context.config.heads:
        head = config.build(features.shape[1], targets_of(config, context.data.spec)).to(context.device)
        target = stacked(config, examples.targets)
        head.fit_target(target)
        solution = head.solve(features, target, widths)
        losses.append(solution.loss if solution else None)
    known = [loss for loss in losses if loss is not None]
    return sum(known) if len(known) == len(losses) else None


def _select_among_candidates(strategy: Automatic, context: SelectionContext) -> tuple[StrategyConfig, tuple[Note, ...]]:
    """Train the candidates and compare them on the same folds, as far as the budget goes."""
    probe = ResolvedLinearProbe(solver="exact", layer="last")
    notes: list[Note] = []
    if "linear_probe" in strategy.candidates:
        best_layer = ResolvedLinearProbe(solver="exact", layer="best", budget_seconds=strategy.budget_seconds / 2)
        probe, note = select_layer(best_layer, context)
        notes = [note]
    spec = context.data.spec
    facts = ResolutionContext(spec.modality, spec.shape, len(context.rows()), pretrained=context.pretrained)
    candidates: dict[Candidate, StrategyConfig] = {
        "linear_probe": probe,
        "lp_ft": LpFt(),
        "full": Full().resolve(facts)[0],
    }
    selected, message, data = _compare(strategy, candidates, context)
    return candidates[selected], (*notes, Note("strategy.chosen", message, {"strategy": selected, **data}))


def _compare(
    strategy: Automatic, candidates: dict[Candidate, StrategyConfig], context: SelectionContext
) -> tuple[Candidate, str, dict[str, Any]]:
    """The best candidate, and why, in words and as JSON."""
    best, *others = strategy.candidates
    datasets = _datasets(strategy, context) if others else []
    if not datasets:
        return best, f"{best}: nothing else could be tried within the budget.", {"scores": {}, "rows": 0, "folds": 0}
    rows = sum(int((data.split == SPLITS.index("validation")).sum()) for data in datasets)
    scores: dict[str, float] = {best: _score(candidates[best], context, datasets)}
    for name in others:
        scores[name] = _score(candidates[name], context, datasets)
        # The preferred candidate comes first: a later one must be better by more than a standard error.
        if scores[name] > scores[best] + _standard_error(scores[best], rows):
            best = name
    summary = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
    error = _standard_error(scores[best], rows)
    data = {"scores": scores, "rows": rows, "folds": len(datasets), "standard_error": error}
    return best, f"{best}: on {rows} train rows held out the scores are {summary}.", data


def _datasets(strategy: Automatic, context: SelectionContext) -> list[ArrayData]:
    """The labelled train rows cut into train and validation splits, one dataset a fold; none where too little fits.

    Where the budget does not pay for all folds there is only one, and where not for that one, fewer rows.
    """
    rows = context.rows()
    seconds_per_fold = _seconds(strategy, context, len(rows)) * (_FOLDS - 1) / _FOLDS
    count = _FOLDS if seconds_per_fold * _FOLDS <= strategy.budget_seconds else 1
    # Seconds are about linear in rows: that share of the rows costs that share of the time.
    affordable = int(len(rows) * min(1.0, strategy.budget_seconds / max(seconds_per_fold * count, 1e-9)))
    if affordable < min(len(rows), _MIN_ROWS):
        return []
    rows = rows[:affordable]
    folds = assign_folds(context.data, context.config.targets, rows, _FOLDS)
    return [with_validation_rows(context.data, rows, folds == fold) for fold in range(count) if (folds == fold).any()]


def _seconds(strategy: Automatic, context: SelectionContext, rows: int) -> float:
    """Seconds to train all candidates on so many rows, computed from their operations."""
    training = context.config.training
    # Every row as often as it is seen: the last batch of an epoch may be smaller, which is not counted.
    rows_seen = training.total_steps(rows) * min(int(training.batch_size), rows)
    # Features are computed twice: to select the layer, and to train and evaluate.
    probe = 2 * rows * row_seconds(context.backbone)
    probe += solving_seconds(rows, sum(layer_widths(context.backbone)), context.outputs)
    full = training_seconds(context.backbone, rows_seen)
    seconds = {"linear_probe": probe, "full": full, "lp_ft": full + probe}
    return sum(seconds[name] for name in strategy.candidates)


def _score(strategy: StrategyConfig, context: SelectionContext, datasets: Sequence[ArrayData]) -> float:
    """The mean over datasets and heads of accuracy, R2 or average precision; without any, of the loss, negated."""
    # What stops early by the rows it is compared on would have seen them.
    training = context.config.training.without_evaluations().model_copy(update={"early_stopping": None})
    config = context.config.model_copy(update={"strategy": strategy, "training": training})
    evaluations = [context.train_and_evaluate(config, data) for data in datasets]
    return float(np.mean([_mean_score(evaluation) for evaluation in evaluations if evaluation is not None]))


def _mean_score(evaluation: Evaluation) -> float:
    """The mean over heads of the first of `_SCORES` that each has."""
    scores: list[float] = []
    for metrics in evaluation.heads.values():
        scores += [metrics[name] for name in _SCORES if isinstance(metrics.get(name), float)][:1]
    return float(np.mean(scores)) if len(scores) == len(evaluation.heads) else -evaluation.losses["loss"]


def _standard_error(score: float, rows: int) -> float:
    """The standard error of a share that was measured on so many rows."""
    share = min(max(score, 0.0), 1.0)
    # At a share of 0 or 1 the formula gives 0, as if a few rows proved it: never less than of one row's half.
    return float(np.sqrt(max(share * (1 - share), 0.25 / rows) / rows))
