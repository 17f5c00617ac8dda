"""Backbones ranked by how well a target follows from their features, on the same rows of a dataset.

For each the probe's layer is selected as a linear probe selects it (`select_layer`), and on that layer

    score     the mean score of rows while they are held out, in three folds; the ranking goes by it
    logme     the evidence of a Bayesian linear model (worker.training.backbone_ranking.logme)

Features are cached: the next ranking of the same backbone on the same rows computes none.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData
from app.ml.evaluation.paired_comparison import RoundScores, paired_gain
from app.ml.fitting.features import GetOrCompute
from app.ml.interfaces import Backbone, Modality, Rows
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.models.assembly import stacked, targets_of
from app.ml.spec import SPLITS
from worker.training.backbone_ranking.logme import indicators, logme, standardised
from worker.training.cross_validation import assign_folds, with_rows
from worker.training.flops import row_seconds, training_seconds
from worker.training.layer_selection import SelectionContext, layer_features, layer_indices, select_layer

_FOLDS = 3
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class MeasuredBackbone:
    """One backbone's entry of the ranking, as JSON, and every row's score (n,), NaN where it was never held out."""

    entry: dict[str, Any]
    scores: Tensor

    @property
    def score(self) -> float:
        """The mean over rows; very low where there is none."""
        return float(self.scores.nanmean().nan_to_num(-1e9))

    def with_fields(self, **fields: Any) -> "MeasuredBackbone":
        """The same with more fields at the front of its entry."""
        return replace(self, entry={**fields, **self.entry})


@dataclass
class _RecordingCache:
    """A cache that records whether anything had to be computed."""

    cache: GetOrCompute
    computed: bool = field(default=False)

    def __call__(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        def recorded() -> Tensor:
            self.computed = True
            return compute()

        return self.cache(key, recorded)


def sample_rows(data: ArrayData, target: str, max_rows: int) -> ArrayData:
    """The dataset with at most `max_rows` labelled train rows, of each class alike; always the same ones."""
    rows = data.positions("train", [target])
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    if len(rows) > max_rows:
        # One of k stratified folds is a stratified sample of 1 / k of the rows, k rounded up.
        rows = rows[assign_folds(data, [target], rows, -(-len(rows) // max_rows)) == 0]
    return with_rows(data, "train", rows)


def measure(
    config: ResolvedFineTuning,
    data: ArrayData,
    modality: Modality,
    backbone: Backbone,
    device: torch.device,
    cache: GetOrCompute,
) -> MeasuredBackbone:
    """Measure a backbone on a dataset's train rows, all of which carry the only head's target."""
    began, recording = time.monotonic(), _RecordingCache(cache)
    context = SelectionContext(
        config,
        data,
        modality,
        backbone.to(device),
        device=device,
        cache=recording,
    )
    assert isinstance(config.strategy, ResolvedLinearProbe)
    strategy, note = select_layer(config.strategy.model_copy(update={"solver": "exact", "layer": "best"}), context)
    rows, widths = context.rows(), layer_widths(backbone)
    # The same rows, in the same order, as the selection saw: the cache has their features already.
    layers, examples = layer_features(context, rows, widths)
    selected = layer_indices(strategy.layer, widths)  # type: ignore[arg-type]
    features = torch.cat([layers[index] for index in selected], dim=1)  # (n, F)
    (head,) = config.heads
    target = stacked(head, examples.targets)
    # NaN are rows that no fold holds out.
    scores = _held_out_scores(context, head, features, target, [widths[index] for index in selected], rows)
    losses = {candidate["layer"]: candidate["held_out_loss"] for candidate in note.data["candidates"]}
    known = scores[scores.isfinite()]
    (of,) = targets_of(head, data.spec)
    # LogME takes real targets: one indicator for each class, or the standardised number.
    numbers = indicators(target.cpu(), len(of.classes)) if of.type == "category" else standardised(target.cpu())
    entry = {
        "layer": strategy.layer,
        "features": features.shape[1],
        "score": _rounded(known.mean()) if len(known) else None,
        "standard_error": _rounded(known.std() / len(known) ** 0.5) if len(known) > 1 else None,
        "held_out_loss": losses[strategy.layer],
        "logme": _rounded(torch.tensor(logme(features.cpu(), numbers))),
        "features_from": "computed" if recording.computed else "cache",
        "seconds": round(time.monotonic() - began, 3),
    }
    return MeasuredBackbone(entry, scores.cpu())


def estimate_seconds(
    backbone: Backbone, full: ResolvedFineTuning, rows: int, train_rows: int, tokens: int | None = None
) -> dict[str, float]:
    """Seconds to compute all rows' features, and to train everything on the labelled train rows, at 2e10 operations.

    `tokens` is the mean number of a text's, see `flops.mean_tokens`.
    """
    training = full.training
    rows_seen = training.total_steps(train_rows) * min(int(training.batch_size), train_rows)
    return {
        "features_seconds": round(rows * row_seconds(backbone, tokens), _DIGITS),
        "fine_tuning_seconds": round(training_seconds(backbone, rows_seen, tokens), _DIGITS),
    }


def build_ranking(backbones: list[MeasuredBackbone], raw: MeasuredBackbone) -> list[dict[str, Any]]:
    """The ranking as JSON, best first, the raw rows among them.

    Each entry has its difference from the raw rows and from the first, with 95 % intervals.
    """
    ranking = sorted([*backbones, raw], key=lambda backbone: -backbone.score)
    return [
        {
            "rank": place,
            **backbone.entry,
            "gain_over_raw": None if backbone is raw else _difference(backbone, raw),
            "behind_first": None if place == 1 else _difference(backbone, ranking[0]),
        }
        for place, backbone in enumerate(ranking, start=1)
    ]


def count_rows(data: ArrayData) -> int:
    """The number of rows of all splits."""
    return int(np.isin(data.split, range(len(SPLITS))).sum())


def _difference(first: MeasuredBackbone, second: MeasuredBackbone) -> dict[str, float] | None:
    # Paired over the rows that both have scores of.
    known = first.scores.isfinite() & second.scores.isfinite()
    # Solving has one optimum: a single round (1, n) of each, without any noise of training.
    ours, others = (RoundScores(each.scores[known][None].numpy(), deterministic=True) for each in (first, second))
    gain = paired_gain(ours, others, _FOLDS, comparisons=1)
    if gain is None:
        return None
    return {name: round(getattr(gain, name), _DIGITS) for name in ("value", "low", "high")}


@torch.no_grad()
def _held_out_scores(
    context: SelectionContext, head: AnyHead, features: Tensor, target: Tensor, widths: list[int], rows: Rows
) -> Tensor:
    """Every row's score (n,) under a head that was solved for without it."""
    folds = torch.from_numpy(assign_folds(context.data, context.config.targets, rows, _FOLDS)).to(features.device)
    # A row in no fold (the only one of its class) is never held out and keeps NaN.
    scores = torch.full((len(rows),), torch.nan, dtype=torch.float64, device=features.device)
    for fold in range(_FOLDS):
        held_out = folds == fold
        built = head.build(features.shape[1], targets_of(head, context.data.spec)).to(features.device)
        # Standardisation and class weights too are fitted without the held-out rows.
        built.fit_target(target[~held_out])
        built.solve(features[~held_out], target[~held_out], widths)
        scores[held_out] = built.eval().row_scores(built(features[held_out]), target[held_out])
    return scores


def _rounded(value: Tensor) -> float:
    return round(float(value), _DIGITS)
