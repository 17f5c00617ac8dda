"""Measuring a model that is ready on rows of a dataset: block by block, so that only its answers are in memory."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from app.ml.data.arrays import ArrayData
from app.ml.data.chunks import each_block, rows_per_block
from app.ml.data.spec import SPLITS, DataSpec, TargetSpec
from app.ml.interfaces import Rows
from app.ml.models.assembly import stacked
from app.ml.models.bundle import Bundle, HeadEntry
from app.ml.resolution.compatibility import Part
from worker.training.evaluation import Evaluation

MAX_NUMBERS = 20_000_000
_MIN_NUMBERS = 4  # of a row for any head
Told = Callable[[int], None]
"""Hears how many rows have been answered; it may raise to stop."""


def rows_of(data: ArrayData, part: Part, entries: Sequence[HeadEntry]) -> Rows:
    """Positions (n,) of a split's rows, or of all splits'; where heads have targets, of those that carry one."""
    targets = [name for entry in entries for name in entry.config.targets if data.spec.target(name)]
    if any(not entry.config.needs_labels for entry in entries):
        targets = []
    splits = SPLITS if part == "all" else (part,)
    return np.sort(np.concatenate([data.positions(split, targets) for split in splits]))


def affordable(rows: Rows, entries: Sequence[HeadEntry]) -> Rows:
    """The rows (n,), or so many of them, evenly spread, that all answers to them are 20,000,000 numbers."""
    wide = sum(max(_MIN_NUMBERS, sum(len(target.classes) for target in entry.targets)) for entry in entries)
    most = max(1, MAX_NUMBERS // wide)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def measured(
    bundle: Bundle, data: ArrayData, rows: Rows, part: Part, device: torch.device, told: Told = lambda _: None
) -> Evaluation:
    """What a model makes of some rows (n,) of a dataset that fits it."""
    outputs = _outputs(bundle, data, rows, device, told)
    losses, outcomes = {}, {}
    for entry, (key, head) in zip(bundle.manifest.heads, bundle.heads.items(), strict=True):
        head.cpu()
        truth = _truth(entry, data, rows, outputs[key])
        losses[key] = head.loss(outputs[key], truth).item()
        outcomes[key] = head.outcomes(outputs[key], truth)
    total = {"loss": sum(losses.values())}
    heads = {key: one.metrics() for key, one in outcomes.items()}
    return Evaluation(part, len(rows), total if len(losses) == 1 else {**losses, **total}, heads, outcomes)


@torch.inference_mode()
def _outputs(bundle: Bundle, data: ArrayData, rows: Rows, device: torch.device, told: Told) -> dict[str, Tensor]:
    """Every head's raw output of all rows (n, ...), on the CPU."""
    modality = bundle.manifest.modality
    for module in (bundle.backbone, *bundle.heads.values()):
        module.to(device)
    parts: dict[str, list[Tensor]] = {key: [] for key in bundle.heads}
    for block in each_block(len(rows), rows_per_block(modality.encoding.volume)):
        for key, output in bundle.outputs(data.encoded(rows[block], modality).to(device)).items():
            parts[key].append(output.cpu())
        told(block.stop)
    return {key: torch.cat(blocks) for key, blocks in parts.items()}


def _truth(entry: HeadEntry, data: ArrayData, rows: Rows, output: Tensor) -> Tensor:
    """A head's labels in the model's codes; the output of one that learns from the rows holds the comparison."""
    if not entry.config.needs_labels:
        return output
    return stacked(entry.config, {one.name: _labels(one, data, rows) for one in entry.targets})


def _labels(mine: TargetSpec, data: ArrayData, rows: Rows) -> Tensor:
    """A target's labels (n,); a label that no list of the dataset holds is in none of them."""
    if data.spec.target(mine.name) is None and mine.group is not None:
        of_another = data.labels(data.spec.labels_of(mine.group)[0], rows)
        return of_another.clamp(max=0)
    return _recoded(data.labels(mine.name, rows), mine, data.spec)


def _recoded(labels: Tensor, mine: TargetSpec, spec: DataSpec) -> Tensor:
    """Class codes of a dataset as a model counts them: a dataset may have fewer classes."""
    theirs = spec.target(mine.name)
    if theirs is None or mine.classes == theirs.classes:
        return labels
    codes = torch.tensor([*(mine.classes.index(name) for name in theirs.classes), -1])
    return codes[labels]
