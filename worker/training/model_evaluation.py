"""Evaluating a finished model on rows of a dataset: block by block, so that only its outputs are in memory."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from app.ml.data.arrays import ArrayData
from app.ml.data.chunks import each_block, rows_per_block
from app.ml.fitting.evaluation import Evaluation
from app.ml.interfaces import Rows
from app.ml.models.assembly import stacked
from app.ml.models.bundle import Bundle, HeadEntry
from app.ml.resolution.compatibility import EvaluatedSplit
from app.ml.spec import SPLITS, DataSpec, TargetSpec

MAX_NUMBERS = 20_000_000  # in the outputs of all heads for all rows
_MIN_NUMBERS_PER_ROW = 4  # that any head is counted with
OnRows = Callable[[int], None]
"""Called with how many rows have been answered; it may raise to stop."""


def rows_to_evaluate(data: ArrayData, split: EvaluatedSplit, entries: Sequence[HeadEntry]) -> Rows:
    """Positions (n,) of the rows of a split, or of all: where heads have targets, of those that carry one of them."""
    targets = [name for entry in entries for name in entry.config.targets if data.spec.target(name)]
    # A head that learns from the rows themselves needs no label: all rows take part.
    if any(not entry.config.needs_labels for entry in entries):
        targets = []
    splits = SPLITS if split == "all" else (split,)
    return np.sort(np.concatenate([data.positions(name, targets) for name in splits]))


def limit_rows(rows: Rows, entries: Sequence[HeadEntry]) -> Rows:
    """The rows (n,), or so many of them, evenly spread, that all outputs for them are 20,000,000 numbers."""
    numbers = sum(max(_MIN_NUMBERS_PER_ROW, sum(len(target.classes) for target in entry.targets)) for entry in entries)
    count = max(1, MAX_NUMBERS // numbers)
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def evaluate_model(
    bundle: Bundle,
    data: ArrayData,
    rows: Rows,
    split: EvaluatedSplit,
    device: torch.device,
    on_rows: OnRows = lambda _: None,
) -> Evaluation:
    """Evaluate every head of a model on rows (n,) of a dataset that fits it."""
    outputs = _outputs(bundle, data, rows, device, on_rows)
    losses, outcomes = {}, {}
    for entry, (key, head) in zip(bundle.manifest.heads, bundle.heads.items(), strict=True):
        head.cpu()  # where its outputs are
        target = _target(entry, data, rows, outputs[key])
        losses[key] = head.loss(outputs[key], target).item()
        outcomes[key] = head.outcomes(outputs[key], target)
    total = {"loss": sum(losses.values())}
    heads = {key: of_head.metrics() for key, of_head in outcomes.items()}
    return Evaluation(split, len(rows), total if len(losses) == 1 else {**losses, **total}, heads, outcomes)


@torch.inference_mode()
def _outputs(bundle: Bundle, data: ArrayData, rows: Rows, device: torch.device, on_rows: OnRows) -> dict[str, Tensor]:
    """Every head's raw output for all rows (n, ...), on the CPU."""
    modality = bundle.manifest.modality
    for module in (bundle.backbone, *bundle.heads.values()):
        module.to(device)
    parts: dict[str, list[Tensor]] = {key: [] for key in bundle.heads}
    for block in each_block(len(rows), rows_per_block(modality.encoding.volume)):
        for key, output in bundle.outputs(data.encoded(rows[block], modality).to(device)).items():
            parts[key].append(output.cpu())
        on_rows(block.stop)
    return {key: torch.cat(blocks) for key, blocks in parts.items()}


def _target(entry: HeadEntry, data: ArrayData, rows: Rows, output: Tensor) -> Tensor:
    """A head's labels in the model's codes; the output of one that learns from the rows holds the comparison."""
    if not entry.config.needs_labels:
        return output
    return stacked(entry.config, {target.name: _labels(target, data, rows) for target in entry.targets})


def _labels(target: TargetSpec, data: ArrayData, rows: Rows) -> Tensor:
    """The labels (n,) of a model's target; a label of a list that the dataset does not know is on no row.

    The dataset knows the list by other labels: a row that has one (whether 0 or 1) has its list, without this label.
    """
    if data.spec.target(target.name) is None and target.group is not None:
        of_another_label = data.labels(data.spec.labels_of(target.group)[0], rows)
        return of_another_label.clamp(max=0)
    return _recoded(data.labels(target.name, rows), target, data.spec)


def _recoded(labels: Tensor, target: TargetSpec, spec: DataSpec) -> Tensor:
    """The dataset's class codes (n,) as the model counts them: a dataset may have fewer classes."""
    in_dataset = spec.target(target.name)
    if in_dataset is None or target.classes == in_dataset.classes:
        return labels
    # The last entry is for labels of -1 (unknown), which index it from the end.
    codes = torch.tensor([*(target.classes.index(name) for name in in_dataset.classes), -1])
    return codes[labels]
