"""Watching a pretraining: gauges of the features and a probe on them, at each evaluation.

Nothing here moves a weight, a buffer or a random generator. Only which weights are kept, and when training ends, may
follow the probe's score, where that was asked for.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.data.arrays import ArrayData, Examples, InMemory
from app.ml.data.spec import TargetSpec
from app.ml.errors import ConfigError
from app.ml.interfaces import Modality, Objective, Rows
from app.ml.learning import collapse_metrics
from worker.training.events import Noted
from worker.training.state import LoopState, Progress


@dataclass(frozen=True, slots=True)
class Watcher:
    """Some rows of what is pretrained on, and some labelled ones."""

    config: OnlineProbeConfig
    rows: Examples
    labelled: Examples | None
    target: TargetSpec | None

    @property
    def chooses(self) -> bool:
        """Whether the probe says which weights are kept."""
        return self.config.keep == "best"

    def look(self, state: LoopState) -> dict[str, float]:
        """Measure the backbone as it is; an undefined score is NaN. Counts what brought no gain."""
        features = _features(state.objective, self.rows)
        found = {
            "watch/effective_rank": collapse_metrics.effective_rank(features),
            "watch/dead_units": collapse_metrics.dead_units(features),
        }
        if self.labelled is not None and self.target is not None:
            name = "probe_accuracy" if self.target.type == "category" else "probe_r2"
            labels = self.labelled.targets[self.target.name]
            score = collapse_metrics.probe_score(_features(state.objective, self.labelled), labels, self.target)
            found[f"watch/{name}"] = score
            self._judge(state, score)
        return found

    def told(self, progress: Progress) -> Noted:
        """Which weights were kept."""
        data = {"step": progress.best_step, "score": progress.best_score}
        message = f"The weights of step {progress.best_step} are kept: the probe's score was {progress.best_score:.4f}."
        return Noted("watch.kept", message, data)

    def _judge(self, state: LoopState, score: float) -> None:
        progress = state.progress
        if math.isfinite(score) and (progress.best_score is None or score > progress.best_score):
            progress.best_score, progress.best_step, progress.looks_without_gain = score, progress.step, 0
            if self.chooses:
                state.keep_best()
        else:
            progress.looks_without_gain += 1
        if self.config.patience is not None and progress.looks_without_gain >= self.config.patience:
            progress.stopped_early = True


def watcher(
    config: OnlineProbeConfig | None,
    data: ArrayData,
    beside: ArrayData | None,
    modality: Modality,
    device: torch.device,
) -> Watcher | None:
    """What was asked for, with its rows encoded once. Raises `ConfigError` where another dataset's rows do not fit."""
    if config is None:
        return None
    rows = _examples(data, _some(data.positions("train"), config.rows), modality, device)
    if config.target is None:
        return Watcher(config, rows, None, None)
    source = beside or data
    differences = modality.differences(source.spec)
    if differences:
        raise ConfigError(("watch", "dataset"), f"it does not fit: {'; '.join(differences[:5])}")
    chosen = _some(source.positions("train", (config.target,)), config.rows)
    labelled = _examples(source, chosen, modality, device, config.target)
    return Watcher(config, rows, labelled, source.spec.target(config.target))


def _some(positions: Rows, count: int) -> Rows:
    """At most so many, drawn once and for all."""
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))[:count]
    chosen: Rows = positions[order.sort().values.numpy()]
    return chosen


def _examples(
    data: ArrayData, positions: Rows, modality: Modality, device: torch.device, target: str | None = None
) -> Examples:
    encoded = InMemory(data.encoded(positions, modality).to(device), modality.encoding.vocabulary)
    return Examples(encoded, {target: data.labels(target, positions).to(device)} if target else {})


@torch.no_grad()
def _features(objective: Objective, examples: Examples) -> Tensor:
    """(N, F) in eval mode; afterwards the objective trains again, with the random numbers that were next."""
    backbone = objective.backbone.eval()
    devices = {parameter.device for parameter in backbone.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        found = torch.cat([backbone(examples.inputs.take(block)) for block in examples.blocks()])
    objective.train()
    return found
