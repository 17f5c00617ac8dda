"""Gated recurrent units over the steps of a text or a series.

r = s(W_r x + U_r h), z = s(W_z x + U_z h), n = tanh(W_n x + r * (U_n h)), h' = (1 - z) * n + z * h, with biases: Cho et
al., "Learning phrase representations using RNN encoder-decoder", 2014, in the form of Chung et al., "Empirical
evaluation of gated recurrent neural networks on sequence modeling", 2014, that cuDNN computes.
"""

from typing import Literal

from torch import nn

from app.ml.blocks.recurrent import RecurrentBackbone, RecurrentConfig, ResolvedRecurrentConfig
from app.ml.blocks.sequence_config import Causal
from app.ml.interfaces import Encoding


class Gru(RecurrentConfig):
    """Layers of gated recurrent units."""

    kind: Literal["gru"] = "gru"

    @classmethod
    def resolved_type(cls) -> "type[ResolvedGru]":
        """Return the class that builds."""
        return ResolvedGru


class ResolvedGru(Gru, ResolvedRecurrentConfig):
    """The same once it is known whether it looks ahead."""

    causal: Causal

    def build(self, encoding: Encoding) -> RecurrentBackbone:
        """Build it with fresh weights."""
        return RecurrentBackbone(self, encoding, nn.GRU)
