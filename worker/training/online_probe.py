"""The online probe of a pretraining: collapse metrics of the features, and a linear probe on them, at each evaluation.

The probe's scores are compared, row by row, with those on the network before its first step: where pretraining loses
what the labels are about, it warns while it runs.

Nothing here moves a weight, a buffer or a random generator. Only which weights are kept, and when training ends, may
follow the probe's score, where that was asked for.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.ml.configs.online_probe import OnlineProbeConfig
from app.ml.data.arrays import ArrayData, Examples, InMemory
from app.ml.errors import ConfigError
from app.ml.interfaces import Modality, Objective, Rows
from app.ml.learning import collapse_metrics
from app.ml.spec import TargetSpec, WarningCode, WarningItem
from worker.training.events import Note
from worker.training.state import LoopState, TrainingProgress

_STANDARD_ERRORS_BELOW = 2.0  # of the paired difference to the untrained network ...
_LOOKS_BELOW = 2  # ... at so many evaluations in a row are more than noise
_SHARE_TO_SETTLE = 0.25  # of the steps: a score may dip at first


@dataclass(frozen=True, slots=True)
class OnlineProbe:
    """Some of the rows that are pretrained on, for the collapse metrics, and some labelled ones for the probe."""

    config: OnlineProbeConfig
    rows: Examples
    labelled: Examples | None
    target: TargetSpec | None
    untrained: Tensor | None = None  # the probe's scores (N,) of the labelled rows before the first step

    @classmethod
    def open(
        cls,
        config: OnlineProbeConfig,
        data: ArrayData,
        auxiliary: ArrayData | None,
        modality: Modality,
        device: torch.device,
    ) -> "OnlineProbe":
        """Encode the rows once. The labelled ones are the auxiliary dataset's, where there is one.

        Raises `ConfigError` where the auxiliary dataset's rows do not fit.
        """
        rows = _examples(data, _sample(data.positions("train"), config.rows), modality, device)
        if config.target is None:
            return cls(config, rows, None, None)
        source = auxiliary or data
        differences = modality.differences(source.spec)
        if differences:
            raise ConfigError(("watch", "dataset"), f"it does not fit: {'; '.join(differences[:5])}")
        positions = _sample(source.positions("train", (config.target,)), config.rows)
        labelled = _examples(source, positions, modality, device, config.target)
        return cls(config, rows, labelled, source.spec.target(config.target))

    def with_untrained(self, objective: Objective) -> "OnlineProbe":
        """The same probe, which knows the scores on the network as it is: before the first step."""
        return self if self.labelled is None else replace(self, untrained=self._scores(objective))

    @property
    def selects_weights(self) -> bool:
        """Whether the weights with the best probe score are kept, and not the last ones."""
        return self.config.keep == "best"

    def evaluate(self, state: LoopState) -> dict[str, float]:
        """Measure the backbone as it is; an undefined score is NaN. Updates the best score and the early stopping."""
        features = _features(state.objective, self.rows)  # (N, F)
        metrics = {
            "watch/effective_rank": collapse_metrics.effective_rank(features),
            "watch/dead_units": collapse_metrics.dead_units(features),
        }
        if self.labelled is not None and self.target is not None:
            name = "probe_accuracy" if self.target.type == "category" else "probe_r2"
            scores = self._scores(state.objective)
            metrics[f"watch/{name}"] = float(scores.mean())
            self._update_best(state, float(scores.mean()))
            self._compare_with_untrained(state.progress, scores)
        return metrics

    def _scores(self, objective: Objective) -> Tensor:
        """The probe's scores (N,) of the labelled rows: accuracy or R2 is their mean."""
        assert self.labelled is not None
        assert self.target is not None
        # Ridge regression with each row left out once: in closed form, cheap enough for every evaluation.
        labels = self.labelled.targets[self.target.name]
        return collapse_metrics.probe_scores(_features(objective, self.labelled), labels, self.target)

    def _compare_with_untrained(self, progress: TrainingProgress, scores: Tensor) -> None:
        """Count the evaluations in a row that are below the untrained network by more than the noise of rows."""
        if self.untrained is None:
            return
        differences = scores - self.untrained  # (N,), paired: rows that are hard for both cancel out
        error = float(differences.std()) / math.sqrt(len(differences))
        below = float(differences.mean()) < -_STANDARD_ERRORS_BELOW * error
        progress.looks_below_untrained = progress.looks_below_untrained + 1 if below else 0

    def warning(self, progress: TrainingProgress, metrics: dict[str, float], total_steps: int) -> WarningItem | None:
        """The warning that training loses what the labels are about; None at any other evaluation but that one."""
        if self.untrained is None or self.target is None or progress.looks_below_untrained < _LOOKS_BELOW:
            return None
        if progress.warned_of_untrained or progress.step < _SHARE_TO_SETTLE * total_steps:
            return None
        progress.warned_of_untrained = True
        name, score = next((key, value) for key, value in metrics.items() if key.startswith("watch/probe_"))
        message = (
            f"after {progress.step} of {total_steps} steps a linear probe of {self.target.name!r} scores {score:.3f} "
            f"({name.removeprefix('watch/probe_')}), and {float(self.untrained.mean()):.3f} on the untrained network: "
            "this pretraining loses what the target needs"
        )
        remedy = (
            'Pretrain with another "method" or "backbone", or for fewer steps; or fine-tune without a model, where '
            'the labels suffice. "watch": {"target": ..., "keep": "best"} keeps the best weights of a pretraining.'
        )
        return WarningItem(
            code=WarningCode.WORSE_THAN_UNTRAINED, message=message, count=len(self.untrained), remedy=remedy
        )

    def kept_note(self, progress: TrainingProgress) -> Note:
        """Which weights were kept."""
        data = {"step": progress.best_step, "score": progress.best_score}
        message = f"The weights of step {progress.best_step} are kept: the probe's score was {progress.best_score:.4f}."
        return Note("watch.kept", message, data)

    def _update_best(self, state: LoopState, score: float) -> None:
        progress = state.progress
        # NaN compares as not better; an infinite score would never be beaten again.
        if math.isfinite(score) and (progress.best_score is None or score > progress.best_score):
            progress.best_score, progress.best_step, progress.looks_without_gain = score, progress.step, 0
            if self.selects_weights:
                state.keep_best()
        else:
            progress.looks_without_gain += 1
        if self.config.patience is not None and progress.looks_without_gain >= self.config.patience:
            progress.stopped_early = True


def _sample(positions: Rows, count: int) -> Rows:
    """At most `count` of the positions, in their order; always the same ones, so that scores can be compared."""
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(0))[:count]
    sample: Rows = positions[order.sort().values.numpy()]
    return sample


def _examples(
    data: ArrayData, positions: Rows, modality: Modality, device: torch.device, target: str | None = None
) -> Examples:
    encoded = InMemory(data.encoded(positions, modality).to(device), modality.encoding.vocabulary)
    return Examples(encoded, {target: data.labels(target, positions).to(device)} if target else {})


@torch.no_grad()
def _features(objective: Objective, examples: Examples) -> Tensor:
    """Features (N, F) in eval mode; afterwards the objective is in train mode, the generators as before."""
    backbone = objective.backbone.eval()
    devices = {parameter.device for parameter in backbone.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        # Dropout is off, but a backbone may still draw (patches at random places): the training must not notice.
        features = torch.cat([backbone(examples.inputs.take(block)) for block in examples.blocks()])
    objective.train()
    return features
