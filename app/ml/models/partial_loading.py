"""Partial loading: what of a pretrained backbone's weights another backbone can take over.

A tensor of the same name and shape is taken as it is. Two kinds are resized: the first convolution of images with
another number of channels (every new channel gets the sum over the old ones, divided by the number of new ones, so
that a grey picture gives what it gave), and position embeddings of another length (interpolated, over the grid where
both lengths are squares). Everything else starts anew.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from app.ml.errors import ConfigError
from app.ml.interfaces import Backbone, Encoding, Shape
from app.ml.models.checkpoint import Tensors

_IMAGE, _KERNEL = 3, 4  # dimensions


@dataclass(frozen=True, slots=True)
class Transfer:
    """Names of tensors."""

    matched: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]  # nothing in the pretrained model fits them
    unused: tuple[str, ...]  # in the pretrained model alone, or of another shape

    @property
    def words(self) -> str:
        """Counts, for people."""
        return (
            f"{len(self.matched)} tensors taken over, {len(self.resized)} resized, {len(self.new)} new; "
            f"{len(self.unused)} of the model's are not used"
        )

    def as_json(self) -> dict[str, Any]:
        """Every name."""
        return {
            "matched": list(self.matched),
            "resized": list(self.resized),
            "new": list(self.new),
            "unused": list(self.unused),
        }


def plan(found: Mapping[str, Shape], old: Encoding, wanted: Mapping[str, Shape], new: Encoding) -> Transfer:
    """What shapes alone tell; `old` and `new` are what the backbones take.

    Raises:
        ConfigError: no matrix fits; biases alone are worth nothing.
    """
    matched = [name for name, shape in wanted.items() if found.get(name) == shape]
    resized = [
        name
        for name, shape in wanted.items()
        if name in found and (_other_channels(found[name], old, shape, new) or _other_length(name, found[name], shape))
    ]
    taken = {*matched, *resized}
    if not any(len(wanted[name]) > 1 for name in taken):
        msg = "no weights of the model fit this backbone: choose one of the same kind with layers of the same widths"
        raise ConfigError(("loading",), msg)
    return Transfer(
        tuple(matched),
        tuple(resized),
        tuple(name for name in wanted if name not in taken),
        tuple(name for name in found if name not in taken),
    )


def take_over(backbone: Backbone, found: Tensors, old: Encoding) -> Transfer:
    """Load what fits into a backbone with fresh weights, and tell what did. Raises `ConfigError` where nothing does."""
    own = backbone.state_dict()
    done = plan(shapes_of(found), old, shapes_of(own), backbone.encoding)
    taken = {name: found[name] for name in done.matched}
    taken |= {name: _resized(found[name], tuple(own[name].shape)) for name in done.resized}
    backbone.load_state_dict({**own, **taken})
    return done


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Every tensor's shape."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _other_channels(found: Shape, old: Encoding, wanted: Shape, new: Encoding) -> bool:
    """Whether both are kernels over the image itself, alike but for its channels."""
    if not (len(old.shape) == len(new.shape) == _IMAGE and len(found) == len(wanted) == _KERNEL):
        return False
    alike = (found[0], *found[2:]) == (wanted[0], *wanted[2:])
    return alike and found[1] != wanted[1] and (found[1], wanted[1]) == (old.shape[0], new.shape[0])


def _other_length(name: str, found: Shape, wanted: Shape) -> bool:
    """Whether both are position embeddings (..., P, F), alike but for P."""
    alike = len(found) == len(wanted) > 1 and (*found[:-2], found[-1]) == (*wanted[:-2], wanted[-1])
    return "position" in name and alike and found != wanted


def _resized(found: Tensor, wanted: Shape) -> Tensor:
    if found.ndim == _KERNEL and found.shape[2:] == wanted[2:]:
        return found.sum(1, keepdim=True).expand(wanted) / wanted[1]
    return _interpolated(found.reshape(-1, *found.shape[-2:]), wanted[-2]).view(wanted)


def _interpolated(found: Tensor, length: int) -> Tensor:
    """(N, P, F) to (N, length, F)."""
    side, new_side = math.isqrt(found.shape[1]), math.isqrt(length)
    by_feature = found.transpose(1, 2)  # (N, F, P)
    if side**2 == found.shape[1] and new_side**2 == length:
        grid = by_feature.reshape(*by_feature.shape[:2], side, side)
        return F.interpolate(grid, (new_side, new_side), mode="bilinear").flatten(2).transpose(1, 2)
    return F.interpolate(by_feature, length, mode="linear").transpose(1, 2)
