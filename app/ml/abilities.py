"""What a backbone may be able to do beside features. Its config says so in `provides`; methods and heads `need` it."""

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

Ability = Literal["mirror", "sequence", "patches"]


class Mirrors(ABC):
    """Ability "mirror": the backbone can be turned around."""

    @abstractmethod
    def mirror(self) -> nn.Module:
        """A new network (B, F) to (B, *input_shape): this one's layers backwards, linear at its end."""


class Sequences(ABC):
    """Ability "sequence": features for every step of a text or series."""

    width: int  # F of every step; `features` may be another
    causal: bool  # whether step t only sees the steps up to t

    @abstractmethod
    def sequence(self, inputs: Tensor) -> Tensor:
        """(B, *input_shape) to (B, T, width)."""


class Patches(ABC):
    """Ability "patches": rows are cut into P patches, of which a part can be left out (masked autoencoders)."""

    patch_values: int  # numbers in one patch
    patch_count: int  # P
    width: int  # of a patch's features

    @abstractmethod
    def patches(self, inputs: Tensor) -> Tensor:
        """(B, *input_shape) to raw patches (B, P, patch_values)."""

    @abstractmethod
    def encode_patches(self, patches: Tensor, places: Tensor) -> Tensor:
        """Raw patches (B, K, patch_values) at places int64 (B, K) to features (B, K, width)."""
