"""What backbones and heads may be able to do beyond their interface.

A backbone's config says so in `provides`, which methods and heads `need`; a head's in a class variable.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.ml.interfaces.head_answers import Answering
from app.ml.solvers.logistic import SoftLabels
from app.ml.solvers.solution import Solution

State = list[Tensor]  # what a backbone remembers of the steps before, each (B, ...); empty at the start
Ability = Literal["mirror", "sequence", "patches", "centroids"]


Array = NDArray[np.float32]
Stacked = tuple[Array, Array]  # weights (K, F) and biases (K,) of a linear head, which take features as they are


class Stackable(Answering):
    """A head that may be linear, so that many of one shape are computed as one product. It answers arrays, too."""

    @property
    @abstractmethod
    def stack_key(self) -> Hashable:
        """What heads have in common that are stacked; the head itself where it cannot be."""

    @property
    @abstractmethod
    def folded(self) -> Stacked:
        """Weights and biases with the standardisation in them, on the CPU; of a head whose weights change no more."""

    def answer_stacked(
        self, heads: "Sequence[Stackable]", counts: Sequence[int], outputs: Array
    ) -> list[dict[str, Any]]:
        """Return the answers for raw outputs (n, K): the first counts[0] rows are of the first head, and so on."""
        pairs = zip(heads, np.split(outputs, np.cumsum(counts)[:-1]), strict=True)
        return [answer for head, of_head in pairs for answer in head.predict(of_head)]


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

    def embeddings(self) -> Tensor | None:
        """The vectors that a text's codes enter by, (V, width), where there are such."""
        return None

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """The next S codes of texts, (B, S), after those of `state`: their features (B, S, width) and the state then.

        For a causal one in eval mode. Unless there is a shorter way, the state is all codes, which are read anew.
        """
        codes = torch.cat([*state, inputs], dim=1)
        return self.sequence(codes)[:, -inputs.shape[1] :], [codes]


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


class Centroids(ABC):
    """Ability "centroids": features say how near a row's patches are to K centroids of whitened patches."""

    centroids: nn.Parameter  # (K, D)

    @abstractmethod
    def draw_patches(self, inputs: Tensor, count: int) -> Tensor:
        """Normalised patches at random places, (B, *input_shape) to (B * count, D); torch's global generator draws."""

    @abstractmethod
    def fit_whitening(self, patches: Tensor) -> None:
        """Learn from normalised patches (N, D) how they are whitened."""

    @abstractmethod
    def whitened(self, patches: Tensor) -> Tensor:
        """Normalised patches (N, D) to whitened ones (N, D)."""


class SoftLabelSolver(ABC):
    """A head whose best weights can be solved for where each row has a share in every class (pseudo-labels)."""

    classes: tuple[str, ...]

    @abstractmethod
    def solve_soft(
        self, features: Tensor, rows: SoftLabels, trials: Sequence[tuple[SoftLabels, Tensor]], widths: Sequence[int]
    ) -> Solution:
        """Set the weights to the optimum on rows (N, F); each trial gives their labels with rows (N,) held out.

        `widths` are those of the layers that the features come from.
        """
