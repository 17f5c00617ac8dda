"""Measuring an objective on a split, in eval mode and batch by batch."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.ml.data.arrays import Examples
from app.ml.data.spec import Split
from app.ml.evaluation.bootstrap import intervals
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.outcomes import Outcomes
from app.ml.interfaces import Backbone, Losses, Objective
from app.ml.models.assembly import FineTuning, stacked
from app.ml.resolution.compatibility import Part

_SEED = 0
_PREFIX: dict[Part, str] = {"train": "train", "validation": "val", "test": "test", "all": "all"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a split says: mean losses over its rows, and every head's metrics as JSON."""

    split: Part
    rows: int
    losses: dict[str, float]
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False, compare=False)
    whole: Outcomes | None = field(default=None, repr=False, compare=False)  # what rates among the losses are made of

    def scalars(self) -> dict[str, float]:
        """Flat names for curves: val/loss, val/accuracy; with several heads val/NAME/accuracy. Undefined: absent."""
        prefix = _PREFIX[self.split]
        found = {f"{prefix}/{name}": value for name, value in self.losses.items()}
        for key, metrics in self.heads.items():
            place = prefix if len(self.heads) == 1 else f"{prefix}/{key}"
            found |= {f"{place}/{name}": value for name, value in metrics.items() if isinstance(value, float)}
        return found

    def curves(self) -> list[Curve]:
        """Of every head."""
        return [curve for key, one in self.outcomes.items() for curve in one.curves(key)]

    def as_json(self) -> dict[str, Any]:
        """Everything, with an interval of every metric; a loss that is not a number is null."""
        losses = {name: value if math.isfinite(value) else None for name, value in self.losses.items()}
        heads = {
            key: {**metrics, "intervals": _intervals(self.outcomes.get(key))} for key, metrics in self.heads.items()
        }
        found = {"losses": losses, "intervals": _intervals(self.whole), "heads": heads}
        return {"split": self.split, "rows": self.rows, **found}


def _intervals(outcomes: Outcomes | None) -> dict[str, Any]:
    """Of every metric as JSON; none where outcomes were not kept."""
    found = intervals(outcomes) if outcomes is not None else {}
    return {name: asdict(interval) for name, interval in found.items()}


def evaluate(objective: Objective, examples: Examples, split: Split) -> Evaluation:
    """Measure in eval mode and with the same random numbers every time; afterwards the objective trains again."""
    objective.eval()
    outcomes: dict[str, Outcomes] = {}
    whole: Outcomes | None = None
    with torch.no_grad(), same_randomness(objective):  # not inference mode: a penalty may differentiate inside
        if isinstance(objective, FineTuning):
            losses, outcomes = _measure_heads(objective, examples)
        else:
            losses, whole = objective.measured(examples.batch(block) for block in examples.blocks())
    objective.train()
    heads = {key: one.metrics() for key, one in outcomes.items()}
    numbers = {name: value.item() for name, value in losses.items()}
    return Evaluation(split, len(examples), numbers, heads, outcomes, whole)


@contextmanager
def same_randomness(objective: Objective) -> Iterator[None]:
    """Seeded generators inside, and the training's own again outside."""
    devices = {parameter.device for parameter in objective.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(_SEED)
        yield


def _measure_heads(objective: FineTuning, examples: Examples) -> tuple[Losses, dict[str, Outcomes]]:
    """Losses and outcomes of the split as a whole: a head's loss is a mean over the rows that carry its target."""
    outputs = _outputs(objective, examples)
    return objective.losses_of(outputs, examples.targets), objective.outcomes(outputs, examples.targets)


def _outputs(objective: FineTuning, examples: Examples) -> list[Tensor]:
    """Every head's raw output (N, K) for all rows."""
    blocks = [objective.outputs(examples.inputs.take(block)) for block in examples.blocks()]
    return [torch.cat(of_head) for of_head in zip(*blocks, strict=True)]


@torch.no_grad()
def calibrate(objective: FineTuning, examples: Examples) -> None:
    """Let the heads see how far off they are on rows that they did not learn from."""
    outputs = _outputs(objective.eval(), examples)
    for config, head, output in zip(objective.configs, objective.each_head(), outputs, strict=True):
        if config.needs_labels:
            head.fit_calibration(output, stacked(config, examples.targets))
    objective.train()


@torch.no_grad()
def row_scores(objective: FineTuning, examples: Examples) -> dict[str, Tensor]:
    """How well each row of a split is answered, by every head's key (N,), in eval mode; see `Head.row_scores`."""
    objective.eval()
    heads = zip(objective.configs, objective.each_head(), _outputs(objective, examples), strict=True)
    found = {
        config.key: head.row_scores(output, stacked(config, examples.targets)).cpu() for config, head, output in heads
    }
    objective.train()
    return found


@torch.no_grad()
def layers_of(backbone: Backbone, inputs: Tensor) -> list[Tensor]:
    """Every layer's features (n, F) in eval mode."""
    return backbone.eval().layers(inputs)


@torch.no_grad()
def features_of(objective: FineTuning, examples: Examples) -> Tensor:
    """The features (N, F) that the heads get of these rows, in eval mode."""
    backbone = objective.backbone.eval()
    found: Tensor | None = None
    for block in examples.blocks():
        features = objective.strategy.features(backbone, examples.inputs.take(block))
        if found is None:  # filled rather than joined at the end, which would hold everything twice
            found = features.new_empty((len(examples), features.shape[1]))
        found[int(block[0]) : int(block[-1]) + 1] = features
    assert found is not None
    return found
