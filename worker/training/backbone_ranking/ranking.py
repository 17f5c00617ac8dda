"""Backbones ranked by how well a target follows from their features, on the same rows of a dataset.

For each the probe's layer is chosen as a linear probe chooses it (`choose_layer`), and on that layer

    score     what rows are answered like while held out, in three folds; the ranking goes by it
    logme     the evidence of a Bayesian linear model (worker.training.backbone_ranking.logme)

Features are kept: the next ranking of the same backbone on the same rows computes none.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.ml.configs.learning import FineTuningConfig
from app.ml.data.arrays import ArrayData
from app.ml.data.spec import SPLITS, TargetSpec
from app.ml.evaluation.paired_comparison import Rounds, gain
from app.ml.interfaces import Backbone, Modality, Rows
from app.ml.kinds.heads import AnyHead
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.linear_probe import LinearProbe
from app.ml.models.assembly import stacked, targets_of
from worker.training.backbone_ranking.logme import indicators, logme, standardised
from worker.training.cross_validation import folds_of, only
from worker.training.features import Keeper
from worker.training.flops import row_seconds, training_seconds
from worker.training.model_selection import Ground, choose_layer, layers_for, place_of

_FOLDS = 3
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Ranked:
    """One backbone's part: what is told of it, and every row's score (n,), NaN where none was held out."""

    told: dict[str, Any]
    scores: Tensor

    @property
    def score(self) -> float:
        """The mean."""
        return float(self.scores.nanmean().nan_to_num(-1e9))


@dataclass
class _Counted:
    """A keeper that notes whether anything had to be computed."""

    keep: Keeper
    computed: bool = field(default=False)

    def __call__(self, key: str, compute: Callable[[], Tensor]) -> Tensor:
        def counted() -> Tensor:
            self.computed = True
            return compute()

        return self.keep(key, counted)


def sampled(data: ArrayData, target: str, most: int) -> ArrayData:
    """The dataset with at most so many labelled train rows, of each class alike; always the same ones."""
    rows = data.positions("train", [target])
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    if len(rows) > most:
        rows = rows[folds_of(data, [target], rows, -(-len(rows) // most)) == 0]
    return only(data, "train", rows)


def measured(
    config: FineTuningConfig,
    data: ArrayData,
    modality: Modality,
    backbone: Backbone,
    device: torch.device,
    keep: Keeper,
) -> Ranked:
    """Measure a backbone on a dataset's train rows, all of which carry the only head's target."""
    began, keeper = time.monotonic(), _Counted(keep)
    on = backbone.to(device)
    ground = Ground(config, data, modality, on, pretrained=True, device=device, trial=_no_trial, keep=keeper)
    strategy, note = choose_layer(_probe(config), ground)
    rows, widths = ground.rows(), layer_widths(backbone)
    layers, examples = layers_for(ground, rows, widths)
    chosen = list(range(len(widths))) if strategy.layer == "all" else [place_of(strategy.layer, widths)]  # type: ignore[arg-type]
    features = torch.cat([layers[index] for index in chosen], dim=1)
    (head,) = config.heads
    target = stacked(head, examples.targets)
    scores = _held_out(ground, head, features, target, [widths[index] for index in chosen], rows)
    losses = {entry["layer"]: entry["held_out_loss"] for entry in note.data["candidates"]}
    known = scores[scores.isfinite()]
    told = {
        "layer": strategy.layer,
        "features": features.shape[1],
        "score": _rounded(known.mean()) if len(known) else None,
        "standard_error": _rounded(known.std() / len(known) ** 0.5) if len(known) > 1 else None,
        "held_out_loss": losses[strategy.layer],
        "logme": _rounded(torch.tensor(logme(features.cpu(), _as_numbers(target.cpu(), *targets_of(head, data.spec))))),
        "features_from": "computed" if keeper.computed else "cache",
        "seconds": round(time.monotonic() - began, 3),
    }
    return Ranked(told, scores.cpu())


def estimates(backbone: Backbone, full: FineTuningConfig, rows: int, train_rows: int) -> dict[str, float]:
    """Seconds to compute all rows' features, and to train everything on the labelled train rows, at 2e10 operations."""
    training = full.training
    seen = training.total_steps(train_rows) * min(int(training.batch_size), train_rows)
    return {
        "features_seconds": round(rows * row_seconds(backbone), _DIGITS),
        "fine_tuning_seconds": round(training_seconds(backbone, seen), _DIGITS),
    }


def ranking(found: list[Ranked], raw: Ranked) -> list[dict[str, Any]]:
    """All in order, each beside the raw rows and behind the first: differences with 95 % intervals."""
    ordered = sorted([*found, raw], key=lambda one: -one.score)
    return [
        {
            "rank": place,
            **one.told,
            "gain_over_raw": None if one is raw else _difference(one, raw),
            "behind_first": None if place == 1 else _difference(one, ordered[0]),
        }
        for place, one in enumerate(ordered, start=1)
    ]


def rows_in(data: ArrayData) -> int:
    """Of all splits."""
    return int(np.isin(data.split, range(len(SPLITS))).sum())


def named(one: Ranked, **names: Any) -> Ranked:
    """The same with what it is called before the rest."""
    return replace(one, told={**names, **one.told})


def _difference(one: Ranked, other: Ranked) -> dict[str, float] | None:
    known = one.scores.isfinite() & other.scores.isfinite()
    ours, others = (Rounds(each.scores[known][None].numpy(), lasting=True) for each in (one, other))
    found = gain(ours, others, _FOLDS, 1)
    if found is None:
        return None
    return {name: round(getattr(found, name), _DIGITS) for name in ("value", "low", "high")}


@torch.no_grad()
def _held_out(ground: Ground, head: AnyHead, features: Tensor, target: Tensor, widths: list[int], rows: Rows) -> Tensor:
    """Every row's score (n,) under a head that has not seen it."""
    folds = torch.from_numpy(folds_of(ground.data, ground.labels, rows, _FOLDS)).to(features.device)
    scores = torch.full((len(rows),), torch.nan, dtype=torch.float64, device=features.device)
    for fold in range(_FOLDS):
        held = folds == fold
        built = head.build(features.shape[1], targets_of(head, ground.data.spec)).to(features.device)
        built.fit_target(target[~held])
        built.solve(features[~held], target[~held], widths)
        scores[held] = built.eval().row_scores(built(features[held]), target[held])
    return scores


def _as_numbers(target: Tensor, of: TargetSpec) -> Tensor:
    return indicators(target, len(of.classes)) if of.type == "category" else standardised(target)


def _probe(config: FineTuningConfig) -> LinearProbe:
    assert isinstance(config.strategy, LinearProbe)
    return config.strategy.model_copy(update={"solver": "exact", "layer": "best"})


def _no_trial(config: FineTuningConfig, data: ArrayData) -> None:
    """Nothing is trained by gradient here."""


def _rounded(value: Tensor) -> float:
    return round(float(value), _DIGITS)
