"""Vision transformers by the names that Hugging Face (ViT, DeiT, MAE, MSN, I-JEPA, DINOv2) and timm give their tensors.

The tensors say how wide and deep the network is, how large its patches are and, by the number of places, its images. Of
a config.json some numbers are taken or compared with them; what would make another network is refused, everything else
is passed over. What neither says is decided, and the model's `decisions` say so: heads of 64, the published epsilon,
and how pixels are scaled where no preprocessor_config.json came with the weights.

The names are turned into ours, and consecutive linear steps become one: the scaling of pixels goes into the map
of the patches, LayerScale (Touvron et al., 2021) into the layer before it, the class token's place into the token.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from app.ml.fields import Integer, Real
from app.ml.interfaces import Decision
from app.ml.kinds.backbones.vit import ResolvedVit, VitBackbone
from app.ml.kinds.modalities.image import ImageModality
from app.ml.models.imports.documents import refusal, refuse_others, validated
from app.ml.models.imports.pixels import Scaling, scaling_of
from app.ml.models.imports.vit_names import Names, family_of, without_prefix
from app.ml.models.imports.weights import Weights, refuse
from app.ml.spec import Frozen, WarningItem

_HEAD = 64  # features of an attention head in every published size of up to 500 million parameters
_KNOWN = {
    "model_type": ("vit", "deit", "vit_mae", "vit_msn", "ijepa", "dinov2", "dinov2_with_registers"),
    "hidden_act": ("gelu",),
    "qkv_bias": (True,),
    "use_swiglu_ffn": (False,),
}
_MAX_CHANNELS = 16
_MAX_PATCHES = 4096  # of an image; the work grows with their square
_PROJECTION, _PLACES = 4, 3  # dimensions
_HEADS_OPTION = 'config={"num_attention_heads": 12}'


class VitNumbers(Frozen):
    """What is taken from a config.json; null: the tensors say it."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    hidden_size: Integer | None = Field(None, description="Features of every patch.")
    num_hidden_layers: Integer | None = Field(None, description="Blocks.")
    num_attention_heads: Integer | None = Field(None, ge=1, le=64, description="Attention heads of a block.")
    intermediate_size: Integer | None = Field(None, description="Width of the perceptron in a block.")
    layer_norm_eps: Real | None = Field(None, gt=0, le=0.1, description="Added to the variance in every norm.")


@dataclass(frozen=True, slots=True)
class Layout:
    """Shapes of a file's network, as its tensors have them."""

    names: Names
    width: int
    depth: int
    hidden: int
    channels: int
    patch: int
    grid: int  # patches along a side
    tokens: tuple[tuple[str, int], ...]  # names and numbers of the tokens that stand before the patches
    placed: int  # how many of these have a place of their own
    is_scaled: bool  # whether LayerScale follows every layer that has one in its family

    @classmethod
    def of(cls, weights: Weights) -> "Layout":
        """Read it off names and shapes. Raises `WeightsError`."""
        names = family_of(weights.shapes)
        projection, places = f"{names.patches}.weight", names.places
        inner = f"{names.blocks}0.{names.parts['mlp.0']}.weight"
        lacking = [f"lacks {name}" for name in (projection, places, inner) if name not in weights.shapes]
        if lacking:
            refuse(lacking)
        shape = weights.shapes[projection]
        if len(shape) != _PROJECTION or shape[2] != shape[3]:
            refuse([f"{projection} has the shape {shape}, not (width, channels, side, side)"])
        width, channels, patch = shape[:3]
        candidates = (names.class_token, *names.other_tokens)
        tokens = tuple((name, _count(weights, name)) for name in candidates if name in weights.shapes)
        all_tokens = sum(count for _, count in tokens)
        but_registers = sum(count for name, count in tokens if name != names.other_tokens[-1])
        count = _count(weights, places)
        choices = (but_registers, all_tokens, 0)  # registers mostly have no places, and in some files no token has
        placed = next((few for few in choices if count > few and _is_square(count - few)), None)
        if placed is None:
            refuse([f"{places} has {count} places, which are no square of patches and {all_tokens} tokens"])
        numbers = {
            name.removeprefix(names.blocks).split(".")[0] for name in weights.shapes if name.startswith(names.blocks)
        }
        depth = 1 + max(int(number) for number in numbers if number.isdecimal())
        hidden = weights.shapes[inner][0] if weights.shapes[inner] else 0
        is_scaled = names.is_dinov2 or any(name.endswith(tuple(names.scales.values())) for name in weights.shapes)
        return cls(names, width, depth, hidden, channels, patch, math.isqrt(count - placed), tokens, placed, is_scaled)

    @property
    def side(self) -> int:
        """Of the images that its places are for, in pixels."""
        return self.grid * self.patch

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor that the file must have."""
        names, width, hidden = self.names, self.width, self.hidden
        for name, count in self.tokens:
            yield name, (1, count, width)
        yield names.places, (1, self.placed + self.grid**2, width)
        yield f"{names.patches}.weight", (width, self.channels, self.patch, self.patch)
        yield f"{names.patches}.bias", (width,)
        yield from _pair(names.norm, (width,))
        shapes = {"attention.out": (width, width), "mlp.0": (hidden, width), "mlp.2": (width, hidden)}
        for block in range(self.depth):
            begin = f"{names.blocks}{block}."
            for name in names.attention:
                yield from _pair(begin + name, (3 * width // len(names.attention), width))
            for own, name in names.parts.items():
                yield from _pair(begin + name, shapes.get(own, (width,)))
            for name in names.scales.values() if self.is_scaled else ():
                yield begin + name, (width,)


@dataclass(frozen=True, slots=True)
class ImportedVit:
    """A vision transformer with published weights and the images that it takes; what was decided, and is doubtful."""

    modality: ImageModality
    config: ResolvedVit
    backbone: VitBackbone
    decisions: tuple[Decision, ...]
    warnings: tuple[WarningItem, ...]


def load(
    weights: Weights, document: Mapping[str, Any], preprocessor: Mapping[str, Any], side: int | None
) -> ImportedVit:
    """Make the backbone of a config.json, a preprocessor_config.json (either may be empty) and the side of the images.

    Raises `WeightsError`.
    """
    refuse_others(document, _KNOWN)
    numbers = validated(VitNumbers, document, "config")
    weights = weights.renamed(without_prefix)
    layout = Layout.of(weights)
    decisions: list[Decision] = []
    _compare(numbers, layout)
    config = _config(layout, numbers, decisions)
    weights.check(dict(layout.shapes()), lambda name: name.startswith(layout.names.passed_over))
    grid = _grid(layout, side, decisions)
    modality = ImageModality(height=grid * layout.patch, width=grid * layout.patch, channels=layout.channels)
    # Of files with a class token alone, Google's were scaled by 0.5, and those of DINO by ImageNet's figures.
    is_by_imagenet = layout.names.is_dinov2 or len(layout.tokens) > 1 or document.get("model_type", "vit") != "vit"
    scaling = scaling_of(document, preprocessor, layout.channels, is_by_imagenet=is_by_imagenet)
    with torch.device("meta"):
        backbone = config.build(modality.encoding)
    backbone.load_state_dict(dict(_translated(weights, layout, grid, scaling)), assign=True)
    return ImportedVit(modality, config, backbone, (*decisions, *scaling.decisions), scaling.warnings)


def _count(weights: Weights, name: str) -> int:
    """How many vectors a tensor (1, count, width) has. Raises `WeightsError`."""
    shape = weights.shapes[name]
    if len(shape) != _PLACES:
        refuse([f"{name} has the shape {shape}, not (1, count, width)"])
    return shape[1]


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count


def _compare(numbers: VitNumbers, layout: Layout) -> None:
    """Raise `WeightsError` where a config.json is another network's."""
    of_tensors = {
        "hidden_size": layout.width,
        "num_hidden_layers": layout.depth,
        "intermediate_size": layout.hidden,
    }
    for name, value in of_tensors.items():
        stated = getattr(numbers, name)
        if stated not in (None, value):
            msg = f"is {stated}, and the tensors have {value}: send the config.json of these weights"
            raise refusal(("config", name), msg)


def _config(layout: Layout, numbers: VitNumbers, decisions: list[Decision]) -> ResolvedVit:
    """The backbone's config. Raises `WeightsError`."""
    if min(layout.width, layout.hidden) < 1 or layout.hidden % layout.width:
        refuse([f"has perceptrons of {layout.hidden}, no multiple of the width {layout.width}: that is not read"])
    if not 1 <= layout.channels <= _MAX_CHANNELS:
        refuse([f"{layout.names.patches}.weight takes {layout.channels} channels; images have 1 to {_MAX_CHANNELS}"])
    heads, epsilon = numbers.num_attention_heads, numbers.layer_norm_eps
    if heads is None:
        if layout.width % _HEAD:
            msg = f"the weights do not say how many heads share the width {layout.width}: send {_HEADS_OPTION}"
            raise refusal(("config", "num_attention_heads"), msg)
        heads = layout.width // _HEAD
        reason = f"{_HEAD} features a head, as in all published sizes; no config.json said otherwise"
        decisions.append(Decision(field="heads", value=heads, reason=reason, option=_HEADS_OPTION))
    if epsilon is None:
        epsilon = layout.names.epsilon
        reason = "usual for weights under these names; no config.json said otherwise"
        decisions.append(
            Decision(field="epsilon", value=epsilon, reason=reason, option='config={"layer_norm_eps": 1e-6}')
        )
    try:
        return ResolvedVit(
            patch=layout.patch,
            width=layout.width,
            depth=layout.depth,
            heads=heads,
            mlp_ratio=layout.hidden // layout.width,
            tokens=sum(count for _, count in layout.tokens),
            pooling="first" if layout.tokens else "mean",
            epsilon=epsilon,
        )
    except pydantic.ValidationError as error:
        item = error.errors()[0]
        msg = " ".join((*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")))
        raise refusal(("config",) if "heads" in msg else ("file",), msg) from None


def _grid(layout: Layout, side: int | None, decisions: list[Decision]) -> int:
    """How many patches are along a side of the images. Raises `WeightsError`."""
    if side is None or side == layout.side:
        if layout.grid**2 > _MAX_PATCHES:
            refuse([f"{layout.names.places} has {layout.grid**2} patches; at most {_MAX_PATCHES} are taken"])
        return layout.grid
    if side % layout.patch:
        raise refusal(("image_size",), f"choose a multiple of the patch, {layout.patch} pixels; {layout.side} is usual")
    if (side // layout.patch) ** 2 > _MAX_PATCHES:
        most = math.isqrt(_MAX_PATCHES) * layout.patch
        raise refusal(("image_size",), f"an image has at most {_MAX_PATCHES} patches, that is {most} pixels a side")
    reason = f"the places of {layout.grid} x {layout.grid} patches are interpolated (bicubic)"
    decisions.append(Decision(field="image_size", value=side, reason=reason, option=f"image_size={layout.side}"))
    return side // layout.patch


def _pair(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _translated(weights: Weights, layout: Layout, grid: int, scaling: Scaling) -> Iterator[tuple[str, Tensor]]:
    """The name of every tensor in our backbone, and its value from the file."""
    names = layout.names
    places = weights.take(names.places)[0]
    if layout.tokens:
        tokens = torch.cat([weights.take(name)[0] for name, _ in layout.tokens])
        tokens[: layout.placed] += places[: layout.placed]
        yield "tokens", tokens
    yield "places", _interpolated(places[layout.placed :], layout.grid, grid)
    yield from _scaled(weights.take(f"{names.patches}.weight"), weights.take(f"{names.patches}.bias"), scaling)
    for figure in ("weight", "bias"):
        yield f"norm.{figure}", weights.take(f"{names.norm}.{figure}")
        for block in range(layout.depth):
            target, source = f"blocks.{block}.", f"{names.blocks}{block}."
            parts = [weights.take(f"{source}{name}.{figure}") for name in names.attention]
            yield f"{target}attention.to_all.{figure}", torch.cat(parts)
            for own, name in names.parts.items():
                value = weights.take(f"{source}{name}.{figure}")
                if layout.is_scaled and own in names.scales:
                    # s * (W x + b) = (s * W) x + s * b: by rows of W (O, I), by entries of b (O,)
                    scale = weights.take(source + names.scales[own])
                    value = value * scale.view(-1, *[1] * (value.ndim - 1))
                yield f"{target}{own}.{figure}", value


def _scaled(kernel: Tensor, bias: Tensor, scaling: Scaling) -> Iterator[tuple[str, Tensor]]:
    """The map of patches of pixels 0..1: kernel (F, C, p, p) and bias (F,) for (x - mean) / std, as a linear layer."""
    shape = (1, -1, 1, 1)
    by_channel = kernel.double() / torch.tensor(scaling.std, dtype=torch.float64).view(shape)
    shift = (by_channel * torch.tensor(scaling.mean, dtype=torch.float64).view(shape)).sum((1, 2, 3))
    yield "embed.weight", by_channel.flatten(1).float()
    yield "embed.bias", (bias.double() - shift).float()


def _interpolated(places: Tensor, grid: int, new_grid: int) -> Tensor:
    """(grid * grid, width) to (new_grid * new_grid, width), row by row."""
    if grid == new_grid:
        return places
    maps = places.T.reshape(1, -1, grid, grid)
    return F.interpolate(maps, (new_grid, new_grid), mode="bicubic", align_corners=False)[0].flatten(1).T.contiguous()
