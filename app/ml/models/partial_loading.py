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

from app.ml.data.tensor_file import Tensors
from app.ml.errors import ConfigError
from app.ml.interfaces import Backbone, Encoding, Shape

_IMAGE, _KERNEL = 3, 4  # dimensions


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which tensors were loaded, by name."""

    matched: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]  # nothing in the pretrained model fits them
    unused: tuple[str, ...]  # in the pretrained model alone, or of another shape

    @property
    def words(self) -> str:
        """The counts in a sentence."""
        return (
            f"{len(self.matched)} tensors taken over, {len(self.resized)} resized, {len(self.new)} new; "
            f"{len(self.unused)} of the model's are not used"
        )

    def as_json(self) -> dict[str, Any]:
        """Return every name."""
        return {
            "matched": list(self.matched),
            "resized": list(self.resized),
            "new": list(self.new),
            "unused": list(self.unused),
        }


def plan(pretrained: Mapping[str, Shape], old: Encoding, own: Mapping[str, Shape], new: Encoding) -> Transfer:
    """Decide by shapes alone which tensors of the pretrained backbone fit the `own` ones.

    `old` is the encoding that the pretrained backbone takes, `new` that of the other backbone.

    Raises:
        ConfigError: no matrix fits; biases alone are worth nothing.
    """
    matched = [name for name, shape in own.items() if pretrained.get(name) == shape]
    resized = [
        name
        for name, shape in own.items()
        if name in pretrained
        and (_has_other_channels(pretrained[name], old, shape, new) or _has_other_length(name, pretrained[name], shape))
    ]
    loaded = {*matched, *resized}
    if not any(len(own[name]) > 1 for name in loaded):
        msg = "no weights of the model fit this backbone: choose one of the same kind with layers of the same widths"
        raise ConfigError(("loading",), msg)
    return Transfer(
        tuple(matched),
        tuple(resized),
        tuple(name for name in own if name not in loaded),
        tuple(name for name in pretrained if name not in loaded),
    )


def load_partially(backbone: Backbone, pretrained: Tensors, old: Encoding) -> Transfer:
    """Load the pretrained tensors that fit into a backbone with fresh weights, and return which did.

    `old` is the encoding that the pretrained backbone takes. Raises `ConfigError` where nothing fits.
    """
    own = backbone.state_dict()
    transfer = plan(shapes_of(pretrained), old, shapes_of(own), backbone.encoding)
    loaded = {name: pretrained[name] for name in transfer.matched}
    loaded |= {name: _resized(pretrained[name], tuple(own[name].shape)) for name in transfer.resized}
    backbone.load_state_dict({**own, **loaded})
    return transfer


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Return every tensor's shape by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _has_other_channels(pretrained: Shape, old: Encoding, own: Shape, new: Encoding) -> bool:
    """Whether both are kernels (F, C, h, w) over the image itself, equal but for its channels C."""
    if not (len(old.shape) == len(new.shape) == _IMAGE and len(pretrained) == len(own) == _KERNEL):
        return False
    equal_otherwise = (pretrained[0], *pretrained[2:]) == (own[0], *own[2:])
    # Inner kernels may differ in C, too: only those whose C is the image's number of channels are over the image.
    over_the_image = (pretrained[1], own[1]) == (old.shape[0], new.shape[0])
    return equal_otherwise and over_the_image and pretrained[1] != own[1]


def _has_other_length(name: str, pretrained: Shape, own: Shape) -> bool:
    """Whether both are position embeddings (..., P, F), equal but for the number of positions P."""
    equal_otherwise = len(pretrained) == len(own) > 1 and (*pretrained[:-2], pretrained[-1]) == (*own[:-2], own[-1])
    return "position" in name and equal_otherwise and pretrained != own


def _resized(tensor: Tensor, shape: Shape) -> Tensor:
    """A kernel with another number of input channels, or position embeddings of another length."""
    if tensor.ndim == _KERNEL and tensor.shape[2:] == shape[2:]:
        # (F, C_old, h, w) to (F, C_new, h, w): the sum over channels stays, so that a grey image gives what it gave.
        return tensor.sum(1, keepdim=True).expand(shape) / shape[1]
    # Leading dimensions are flattened, since interpolation takes one batch dimension.
    return _interpolated(tensor.reshape(-1, *tensor.shape[-2:]), shape[-2]).view(shape)


def _interpolated(embeddings: Tensor, length: int) -> Tensor:
    """(N, P, F) to (N, length, F)."""
    side, new_side = math.isqrt(embeddings.shape[1]), math.isqrt(length)
    by_feature = embeddings.transpose(1, 2)  # (N, F, P): interpolation goes over the last dimensions
    if side**2 == embeddings.shape[1] and new_side**2 == length:
        # Square numbers of positions are patches of an image, row by row: neighbours are above and below, too.
        grid = by_feature.reshape(*by_feature.shape[:2], side, side)  # (N, F, side, side)
        return F.interpolate(grid, (new_side, new_side), mode="bilinear").flatten(2).transpose(1, 2)
    return F.interpolate(by_feature, length, mode="linear").transpose(1, 2)
