"""Evaluating an objective on a split, in eval mode and batch by batch."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.ml.data.arrays import Examples
from app.ml.evaluation.bootstrap import intervals
from app.ml.evaluation.curve import Curve
from app.ml.evaluation.outcomes import Outcomes
from app.ml.interfaces import Losses, Objective
from app.ml.models.assembly import FineTuning, stacked
from app.ml.resolution.compatibility import EvaluatedSplit
from app.ml.spec import Split

_SEED = 0
_PREFIX: dict[EvaluatedSplit, str] = {"train": "train", "validation": "val", "test": "test", "all": "all"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evaluation of a split: mean losses over its rows, and every head's metrics as JSON."""

    split: EvaluatedSplit
    rows: int
    losses: dict[str, float]
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, Outcomes] = field(default_factory=dict, repr=False, compare=False)  # by head
    # What those of the losses that are rates over the rows are made of, so that they can have intervals.
    loss_outcomes: Outcomes | None = field(default=None, repr=False, compare=False)

    def scalars(self) -> dict[str, float]:
        """Flat names for curves: val/loss, val/accuracy; with several heads val/NAME/accuracy. Undefined: absent."""
        prefix = _PREFIX[self.split]
        scalars = {f"{prefix}/{name}": value for name, value in self.losses.items()}
        for key, metrics in self.heads.items():
            path = prefix if len(self.heads) == 1 else f"{prefix}/{key}"
            scalars |= {f"{path}/{name}": value for name, value in metrics.items() if isinstance(value, float)}
        return scalars

    def curves(self) -> list[Curve]:
        """The curves of every head."""
        return [curve for key, outcomes in self.outcomes.items() for curve in outcomes.curves(key)]

    def as_json(self) -> dict[str, Any]:
        """Everything, with an interval of every metric; a loss that is not a number is null."""
        heads = {
            key: {**metrics, "intervals": _intervals(self.outcomes.get(key))} for key, metrics in self.heads.items()
        }
        return {
            "split": self.split,
            "rows": self.rows,
            "losses": {name: value if math.isfinite(value) else None for name, value in self.losses.items()},
            "intervals": _intervals(self.loss_outcomes),
            "heads": heads,
        }


def _intervals(outcomes: Outcomes | None) -> dict[str, Any]:
    """The interval of every metric as JSON; none without outcomes."""
    by_metric = intervals(outcomes) if outcomes is not None else {}
    return {name: asdict(interval) for name, interval in by_metric.items()}


def evaluate(objective: Objective, examples: Examples, split: Split) -> Evaluation:
    """Evaluate in eval mode and with the same random numbers every time; afterwards the objective trains again."""
    objective.eval()
    with torch.no_grad(), fixed_seed(objective):  # not inference mode: a penalty may differentiate inside
        if isinstance(objective, FineTuning):
            evaluation = evaluation_of(objective, raw_outputs(objective, examples), examples, split)
        else:
            losses, outcomes = objective.measured(map(examples.batch, examples.blocks(objective.least_rows)))
            scalars = {name: value.item() for name, value in losses.items()}
            evaluation = Evaluation(split, len(examples), scalars, loss_outcomes=outcomes)
    objective.train()
    return evaluation


@torch.no_grad()
def evaluation_of(objective: FineTuning, outputs: list[Tensor], examples: Examples, split: Split) -> Evaluation:
    """Evaluate every head's outputs (N, K) for the rows of a split."""
    # Of the split as a whole: a head's loss is a mean over the rows that carry its target, and so not the mean of its
    # batches' losses.
    losses: Losses = objective.losses_of(outputs, examples.targets)
    outcomes = objective.outcomes(outputs, examples.targets)
    heads = {key: of_head.metrics() for key, of_head in outcomes.items()}
    return Evaluation(split, len(examples), {name: value.item() for name, value in losses.items()}, heads, outcomes)


@contextmanager
def fixed_seed(objective: Objective) -> Iterator[None]:
    """Seed torch's global generators inside; outside, the training's own random numbers go on as if nothing was."""
    devices = {parameter.device for parameter in objective.parameters() if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(_SEED)
        yield


def raw_outputs(objective: FineTuning, examples: Examples) -> list[Tensor]:
    """Return every head's raw output (N, K) for all rows."""
    # A list over blocks of lists over heads becomes a list over heads.
    blocks = [objective.outputs(examples.inputs.take(block)) for block in examples.blocks()]
    return [torch.cat(of_head) for of_head in zip(*blocks, strict=True)]


@torch.no_grad()
def calibrate(objective: FineTuning, examples: Examples) -> None:
    """Fit the heads' calibration on rows that they did not learn from."""
    calibrate_by(objective, raw_outputs(objective.eval(), examples), examples.targets)
    objective.train()


@torch.no_grad()
def calibrate_by(objective: FineTuning, outputs: list[Tensor], targets: dict[str, Tensor]) -> None:
    """Fit the heads' calibration on every head's outputs (N, K) for rows that these do not come from."""
    for config, head, output in zip(objective.configs, objective.each_head(), outputs, strict=True):
        if config.needs_labels:
            head.fit_calibration(output, stacked(config, targets))


@torch.no_grad()
def row_scores(objective: FineTuning, examples: Examples) -> dict[str, Tensor]:
    """How well each row of a split is answered, by the head's key (N,), in eval mode; see `Head.row_scores`."""
    objective.eval()
    heads = zip(objective.configs, objective.each_head(), raw_outputs(objective, examples), strict=True)
    scores = {
        config.key: head.row_scores(output, stacked(config, examples.targets)).cpu() for config, head, output in heads
    }
    objective.train()
    return scores


@torch.no_grad()
def features_of(
    objective: FineTuning, examples: Examples, turn: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Tensor:
    """The features (N, F) that the heads get of these rows, in eval mode; each block is computed within a `turn`."""
    backbone = objective.backbone.eval()
    features: Tensor | None = None
    for block in examples.blocks():
        with turn():
            of_block = objective.strategy.features(backbone, examples.inputs.take(block))
        if features is None:  # filled rather than joined at the end, which would hold everything twice
            features = of_block.new_empty((len(examples), of_block.shape[1]))
        features[int(block[0]) : int(block[-1]) + 1] = of_block
    assert features is not None
    return features
