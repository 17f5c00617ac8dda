"""Measuring an objective on a split, in eval mode and batch by batch."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from app.ml.assembly import FineTuning
from app.ml.data import Examples, InMemory
from app.ml.interfaces import Backbone, Objective, each_block
from app.ml.spec import Split

_BLOCK = 1024
_PREFIX: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a split says: mean losses over its rows, and every head's metrics as JSON."""

    split: Split
    rows: int
    losses: dict[str, float]
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)

    def scalars(self) -> dict[str, float]:
        """Flat names for curves: val/loss, val/accuracy; with several heads val/NAME/accuracy. Undefined: absent."""
        prefix = _PREFIX[self.split]
        found = {f"{prefix}/{name}": value for name, value in self.losses.items()}
        for key, metrics in self.heads.items():
            place = prefix if len(self.heads) == 1 else f"{prefix}/{key}"
            found |= {f"{place}/{name}": value for name, value in metrics.items() if isinstance(value, float)}
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything; a loss that is not a number is null."""
        losses = {name: value if math.isfinite(value) else None for name, value in self.losses.items()}
        return {"split": self.split, "rows": self.rows, "losses": losses, "heads": self.heads}


def evaluate(objective: Objective, examples: Examples, split: Split) -> Evaluation:
    """Measure. Losses are means of the batches' losses weighted by their rows; metrics see the split as a whole."""
    objective.eval()
    totals: dict[str, Tensor] = {}
    outputs: list[list[Tensor]] = []
    with torch.no_grad():  # not inference mode: a contractive penalty differentiates inside
        for block in each_block(len(examples), _BLOCK):
            batch = examples.batch(torch.arange(block.start, block.stop))
            for name, value in objective.loss(batch).items():
                totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value * len(batch)
            if isinstance(objective, FineTuning):
                outputs.append(objective.outputs(batch.inputs))
        heads = _head_metrics(objective, outputs, examples)
    objective.train()
    losses = {name: total.item() / len(examples) for name, total in totals.items()}
    return Evaluation(split, len(examples), losses, heads)


def _head_metrics(objective: Objective, outputs: list[list[Tensor]], examples: Examples) -> dict[str, dict[str, Any]]:
    if not isinstance(objective, FineTuning) or not outputs:
        return {}
    whole = [torch.cat(of_head) for of_head in zip(*outputs, strict=True)]
    return objective.evaluate(whole, examples.targets)


@torch.no_grad()
def features_of(backbone: Backbone, examples: Examples) -> Examples:
    """The same rows as features (N, F), computed once in eval mode."""
    backbone.eval()
    blocks = (torch.arange(block.start, block.stop) for block in each_block(len(examples), _BLOCK))
    features = [backbone(examples.inputs.take(block)) for block in blocks]
    return Examples(InMemory(torch.cat(features)), examples.targets)
