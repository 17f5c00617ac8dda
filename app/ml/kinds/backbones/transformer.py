"""A transformer over the steps of a text or a series: Vaswani et al., "Attention is all you need", 2017.

Blocks as in app.ml.blocks.attention, a layer normalisation behind the last; weights as in GPT-2 (Radford et al., 2019):
normal with deviation 0.02, and what adds to the shortcuts divided by sqrt(2 depth). A causal one sees what came before
(it can continue a text), the other sees everything. No step attends to padding, or to what was not observed. The
features of a row are the mean over its observed steps, or the last one's.
"""

import math
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from app.ml.blocks.attention import AttentionBlock
from app.ml.blocks.input_embedding import InputEmbedding, Pooling, pooled
from app.ml.blocks.ngrams import NGrams
from app.ml.blocks.sequence_config import Causal, ResolvedSequenceConfig, SequenceConfig
from app.ml.fields import Integer, Rate
from app.ml.interfaces import Backbone, Encoding
from app.ml.interfaces.abilities import Ability, Sequences, State
from app.ml.spec import ModalityKind

_STD = 0.02


class Transformer(SequenceConfig):
    """Layers of attention."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text", "series")
    provides: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    kind: Literal["transformer"] = "transformer"
    width: Integer = Field(128, ge=2, le=4096, description="Features of every step; a multiple of twice the heads.")
    depth: Integer = Field(4, ge=1, le=48, description="Blocks.")
    heads: Integer = Field(2, ge=1, le=64, description="Attention heads; they share the width.")
    expansion: Integer = Field(4, ge=1, le=16, description="Width of the perceptron in a block, as a multiple.")
    dropout: Rate = Field(0.0, description="Share of activations dropped while training.")
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="Rotary turns queries and keys, learned adds a vector to every step."
    )
    ngrams: Integer = Field(
        1, ge=1, le=8, description="Of texts: runs of up to so many codes have vectors, too; 1: only codes themselves."
    )
    ngram_slots: Integer = Field(
        32768, ge=64, le=2**20, description="Vectors for the runs of each length; runs may share one."
    )
    pooling: Pooling = Field("mean", description="A row's features: the mean over its steps, or the last step's.")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % (2 * self.heads):
            msg = f"width {self.width} is no multiple of twice the {self.heads} heads: change one of them"
            raise ValueError(msg)
        return self

    @classmethod
    def resolved_type(cls) -> "type[ResolvedTransformer]":
        """Return the class that builds."""
        return ResolvedTransformer


class ResolvedTransformer(Transformer, ResolvedSequenceConfig):
    """The same once it is known whether it looks ahead."""

    causal: Causal

    def build(self, encoding: Encoding) -> "TransformerBackbone":
        """Build it with fresh weights."""
        return TransformerBackbone(self, encoding)


class TransformerBackbone(Backbone, Sequences):
    """(B, T) codes, or a series (B, C + 1, T), to (B, width)."""

    def __init__(self, config: ResolvedTransformer, encoding: Encoding) -> None:
        super().__init__()
        self.encoding, self.pooling = encoding, config.pooling
        self.causal, self.is_text = config.causal, encoding.vocabulary is not None
        self.features = self.width = config.width
        self.entrance = InputEmbedding(encoding, config.width)
        self.ngrams = None
        if self.is_text and config.ngrams > 1:
            self.ngrams = NGrams(config.ngrams, config.ngram_slots, config.width)
        self.places = None
        if config.positions == "learned":
            self.places = nn.Parameter(torch.empty(encoding.shape[-1], config.width).normal_(std=_STD))
        self.dropout = nn.Dropout(config.dropout)
        hidden, rotary = config.expansion * config.width, config.positions == "rotary"
        self.blocks = nn.ModuleList(
            AttentionBlock(config.width, config.heads, hidden, config.dropout, rotary=rotary)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self._start()

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, width)."""
        return pooled(self.sequence(inputs), self.entrance.observed(inputs), self.pooling)

    def sequence(self, inputs: Tensor) -> Tensor:
        """Features of every step, (B, T, width)."""
        return self._each_layer(inputs)[-1]

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Features after every block, each (B, width); the last behind the last normalisation."""
        observed = self.entrance.observed(inputs)
        return [pooled(steps, observed, self.pooling) for steps in self._each_layer(inputs)]

    def embeddings(self) -> Tensor | None:
        """The vectors of a text's codes, (V, width)."""
        return self.entrance.table.weight if self.is_text else None

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """The state holds every block's keys and values, and the codes that later n-grams begin with."""
        first = state[0].shape[2] if state else 0  # keys are (B, H, T, D): T steps were read before
        values = self.entrance(inputs)  # (B, S, width), of the S new steps alone
        # A run that ends at a new step may begin before it: the last codes that were read come first.
        codes = torch.cat([*state[2 * len(self.blocks) :], inputs], dim=1)
        if self.ngrams is not None:
            values = values + self.ngrams(codes)[:, -inputs.shape[1] :]
        if self.places is not None:
            values = values + self.places[first : first + inputs.shape[1]]
        after: State = []
        for index, block in enumerate(self.blocks):
            past = (state[2 * index], state[2 * index + 1]) if state else None
            assert isinstance(block, AttentionBlock)
            values, (keys, kept) = block.advance(values, past)
            after += [keys, kept]
        after += [] if self.ngrams is None else [self.ngrams.context(codes)]
        return self.norm(values), after

    def _each_layer(self, inputs: Tensor) -> list[Tensor]:
        values = self.entrance(inputs)
        if self.ngrams is not None:
            values = values + self.ngrams(inputs)
        if self.places is not None:
            values = values + self.places[: values.shape[1]]
        values = self.dropout(values)
        mask = self._mask(inputs)
        outputs = []
        for block in self.blocks:
            # Without a mask the kernel for causal attention is used, which never builds one of (T, T).
            values = block(values, mask, causal=self.causal and mask is None)
            outputs.append(values)
        return [*outputs[:-1], self.norm(outputs[-1])]

    def _mask(self, inputs: Tensor) -> Tensor | None:
        """Mask of what a step may attend to, bool, broadcast to (B, H, T, T); None where causality alone decides."""
        if self.causal and self.is_text:  # padding comes at the end: nothing before it sees it
            return None
        observed = self.entrance.observed(inputs)[:, None, None, :]  # (B, 1, 1, T): by the step that is looked at
        if not self.causal:
            return observed
        # A step always sees itself: a row of the mask without True would make the softmax NaN.
        steps = observed.shape[3]
        itself = torch.eye(steps, dtype=torch.bool, device=inputs.device)
        return (observed | itself) & torch.ones_like(itself).tril()

    def _start(self) -> None:
        """Initialise as GPT-2: normal, and what adds to a shortcut smaller by sqrt(2 depth)."""
        for name, module in self.blocks.named_modules():
            if isinstance(module, nn.Linear):
                # 2 depth terms are added to each shortcut: their sum keeps the deviation of one.
                adds = name.endswith(("attention.out", "mlp.2"))
                nn.init.normal_(module.weight, std=_STD / math.sqrt(2 * len(self.blocks)) if adds else _STD)
                nn.init.zeros_(module.bias)
