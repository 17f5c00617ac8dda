"""The layer that a probe reads, selected by the loss on held-out rows.

Everything here sees labelled train rows alone, so that validation rows stay an honest measure, and depends on nothing
but them: the same rows always select the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from app.ml.configs.resolved import ResolvedFineTuning
from app.ml.data.arrays import ArrayData, Examples, OnDisk
from app.ml.fitting.features import GetOrCompute, feature_key, uncached
from app.ml.interfaces import Backbone, Modality, Rows
from app.ml.kinds.strategies.layers import layer_widths
from app.ml.kinds.strategies.linear_probe import ResolvedLinearProbe
from app.ml.models.assembly import stacked, targets_of
from worker.training.events import Note
from worker.training.flops import mean_tokens, row_seconds, solving_seconds

Layer = Literal["last", "all"] | int

LAYER_CHOSEN = "layer.chosen"

_MAX_ROWS_FOR_LAYERS = 10_000
_MAX_BYTES_FOR_LAYERS = 1 << 30


@dataclass(frozen=True, slots=True)
class SelectionContext:
    """The fine-tuning for which a layer is selected: its rows and its backbone."""

    config: ResolvedFineTuning
    data: ArrayData
    modality: Modality
    backbone: Backbone  # with the weights that are adapted
    device: torch.device
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


def select_layer(strategy: ResolvedLinearProbe, context: SelectionContext) -> tuple[ResolvedLinearProbe, Note]:
    """Select the layer, or all of them together, whose features give the heads the lowest held-out loss."""
    backbone = context.backbone.to(context.device)
    widths = layer_widths(backbone)
    # The features of all layers, (n, sum of widths) float32, are in memory at once.
    rows = context.rows()[: max(1, min(_MAX_ROWS_FOR_LAYERS, _MAX_BYTES_FOR_LAYERS // (4 * sum(widths))))]
    layers, examples = layer_features(context, rows, widths)  # each (n, F_i)
    # Costs are computed from operations, not measured: the same budget always compares the same layers.
    tokens = mean_tokens(context.data, rows, context.modality)
    budget = strategy.budget_seconds - len(rows) * row_seconds(backbone, tokens)
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
    note = Note(LAYER_CHOSEN, message, {"layer": best["layer"], "rows": len(rows), "candidates": candidates})
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
