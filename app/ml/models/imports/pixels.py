"""How pixels were scaled when weights were trained: by a preprocessor_config.json or timm's config.json, or a guess."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from pydantic import Field

from app.ml.fields import Real
from app.ml.interfaces import Decision
from app.ml.models.imports.documents import refusal, validated
from app.ml.spec import Frozen, WarningCode, WarningItem

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_RGB = len(_IMAGENET[0])
_OPTION = 'preprocessor={"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}'


class _Numbers(Frozen):
    """What is taken from a preprocessor_config.json."""

    model_config = pydantic.ConfigDict(extra="ignore", frozen=True)

    do_normalize: bool = Field(default=True, strict=True, description="Whether mean and deviation are used.")
    image_mean: tuple[Real, ...] | None = Field(None, description="Of each channel.")
    image_std: tuple[Annotated[Real, Field(gt=0)], ...] | None = Field(None, description="Of each channel.")
    rescale_factor: Real = Field(1 / 255, description="What bytes are multiplied by.")


@dataclass(frozen=True, slots=True)
class Scaling:
    """A pixel x of 0 to 1 becomes (x - mean) / std, channel by channel."""

    mean: Sequence[float]
    std: Sequence[float]
    decisions: tuple[Decision, ...] = ()
    warnings: tuple[WarningItem, ...] = ()


def scaling_of(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any], channels: int, *, is_by_imagenet: bool
) -> Scaling:
    """What the documents say for so many channels, else a guess.

    `is_by_imagenet` tells that all weights of such a kind were trained with ImageNet's mean and deviation. Raises
    `WeightsError`.
    """
    field, document = "preprocessor", preprocessor
    of_timm = config.get("pretrained_cfg")
    if not preprocessor and isinstance(of_timm, dict):  # timm's config.json has both in one
        field, document = "config", {"image_mean": of_timm.get("mean"), "image_std": of_timm.get("std")}
    numbers = validated(_Numbers, document, field)
    if not math.isclose(numbers.rescale_factor, 1 / 255, rel_tol=1e-4):
        raise refusal((field, "rescale_factor"), "images are scaled to 0..1 here, that is by 1/255")
    if not numbers.do_normalize:
        return Scaling((0.0,) * channels, (1.0,) * channels)
    if numbers.image_mean is None and numbers.image_std is None:
        return _guessed(channels, is_by_imagenet=is_by_imagenet)
    given = {"image_mean": numbers.image_mean or (), "image_std": numbers.image_std or ()}
    for name, values in given.items():
        if len(values) != channels:
            raise refusal((field, name), f"has {len(values)} numbers, and the images have {channels} channels")
    return Scaling(given["image_mean"], given["image_std"])


def _guessed(channels: int, *, is_by_imagenet: bool) -> Scaling:
    """ImageNet's mean and deviation, or 0.5 and 0.5 as of Google's ViT, with a warning."""
    known = is_by_imagenet and channels == _RGB
    mean, std = _IMAGENET if known else ((0.5,) * channels, (0.5,) * channels)
    usual = "published ones of this kind by ImageNet's mean and deviation" if known else "Google's by 0.5 and 0.5"
    decision = Decision(
        field="preprocessor",
        value={"image_mean": list(mean), "image_std": list(std)},
        reason=f"the weights do not say how pixels were scaled; {usual}",
        option=_OPTION,
    )
    if known:
        return Scaling(mean, std, (decision,))
    message = (
        "How pixels were scaled when these weights were trained is not known: 0.5 was taken for the mean and the "
        "deviation. DINO, DeiT and MAE were trained with ImageNet's, with which their features are better."
    )
    remedy = f"Import them with their preprocessor_config.json, or {_OPTION}."
    warning = WarningItem(code=WarningCode.GUESSED_SCALING, message=message, count=1, remedy=remedy)
    return Scaling(mean, std, (decision,), (warning,))
