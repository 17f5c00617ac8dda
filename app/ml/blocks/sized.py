"""Modules whose tensors have sizes that were learned: those of a file decide how large they are."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Sized(nn.Module, ABC):
    """A module that takes its sizes, too, from the tensors that are loaded into it."""

    @abstractmethod
    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Raise `ValueError` for tensors that do not belong together.

        All names are there, with the types and dimensions that this module has.
        """

    @abstractmethod
    def resize(self, tensors: Mapping[str, Tensor]) -> None:
        """Give every tensor the size of its namesake. Raises `ValueError`, and changes nothing, as `check` does."""

    def make_room(self, tensors: Mapping[str, Tensor]) -> None:
        """Put empty buffers of these sizes in the place of this module's own."""
        for name, own in list(self.named_buffers(recurse=False)):
            setattr(self, name, torch.empty(tensors[name].shape, dtype=own.dtype, device=own.device))

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        tensors = {name: state_dict.get(f"{prefix}{name}") for name, _ in self.named_buffers(recurse=False)}
        known = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        if fits(self, known):  # else the usual error says what is missing
            self.resize(known)
        super()._load_from_state_dict(state_dict, prefix, *others)


def expected_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a module's tensors by name; those of sized modules, as they are to be loaded, in their new sizes.

    Raises `ValueError` where these do not belong together.
    """
    expected: dict[str, Tensor] = dict(module.state_dict())
    for prefix, sized in _sized(module):
        names = [name for name, _ in sized.named_buffers(recurse=False) if f"{prefix}{name}" in tensors]
        given = {name: tensors[f"{prefix}{name}"] for name in names}
        if fits(sized, given):
            sized.check(given)
            expected |= {f"{prefix}{name}": tensor for name, tensor in given.items()}
    return expected


def fits(sized: Sized, tensors: Mapping[str, Tensor]) -> bool:
    """Whether every tensor of a sized module is there, with its type and number of dimensions."""
    own = dict(sized.named_buffers(recurse=False))
    return own.keys() == tensors.keys() and all(
        (tensors[name].dtype, tensors[name].ndim) == (buffer.dtype, buffer.ndim) for name, buffer in own.items()
    )


def _sized(module: nn.Module) -> Iterator[tuple[str, Sized]]:
    for name, inner in module.named_modules():
        if isinstance(inner, Sized):
            yield f"{name}." if name else "", inner
