"""A generator: it continues texts, by predicting the next token again and again.

loss = - mean over all tokens t of log p(x_t | x_1 .. x_{t-1}), in nats, as in pretraining by `next_token`; on one that
was pretrained so, it starts from the layer that was learned there. How texts are continued: app.ml.models.generation.
Its predictions say how well it foresees a text: perplexity, accuracy and bits per character.
"""

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.tokens import (
    CHARACTERS,
    HITS,
    MAX_NATS,
    NATS,
    TOKENS,
    TokenLayer,
    is_predicted,
    mean_nats,
    rates,
    token_sums,
)
from app.ml.evaluation.language_model import TokenSums
from app.ml.fields import Name
from app.ml.interfaces import Accepts, AnswerPart, Backbone, ExampleSource, Head, HeadConfig
from app.ml.interfaces.abilities import Ability, Sequences
from app.ml.interfaces.head_answers import RateAnswers
from app.ml.spec import ModalityKind, TargetSpec


class Generator(HeadConfig):
    """Continue texts, token by token."""

    accepts: ClassVar[Accepts] = "inputs"
    modalities: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    generates: ClassVar[bool] = True
    needs: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    causal: ClassVar[bool] = True
    kind: Literal["generator"] = "generator"
    target: None = Field(None, description="None: it learns from the texts themselves.")
    name: Name | None = Field(None, description="The key of its answers; null takes generator.")

    def answer_parts(self, targets: tuple[TargetSpec, ...]) -> tuple[AnswerPart, ...]:
        """How well it foresees a text: the perplexity, and the other figures."""
        return (
            AnswerPart("", "number", (1,), itemgetter("perplexity")),
            AnswerPart("token_accuracy", "number", (1,), itemgetter("token_accuracy")),
            AnswerPart("bits_per_character", "number", (1,), itemgetter("bits_per_character")),
            AnswerPart("tokens", "count", (1,), itemgetter("tokens")),
        )

    def build(self, features: int, targets: tuple[TargetSpec, ...]) -> "GeneratorHead":
        """Build it for the vocabulary, whose codes are the classes of the only target."""
        return GeneratorHead(features, len(targets[0].classes))


class GeneratorHead(Head):
    """Features of every step (B, T, F) to logits (B, T, V); read with its text, a row gives sums (B, 4).

    Those are its nats, tokens, tokens foreseen and characters: loss, answers and metrics follow from them.
    """

    characters: Tensor

    def __init__(self, features: int, vocabulary: int) -> None:
        super().__init__()
        self.layer = TokenLayer(features, vocabulary)
        self.register_buffer("characters", torch.ones(vocabulary, dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """(..., F) to logits (..., V)."""
        return self.layer(features)  # type: ignore[no-any-return]

    def read(self, features: Tensor, inputs: Tensor) -> Tensor:
        """Features (B, T, F) of texts (B, T) to sums (B, 4)."""
        # Features of step t predict code t + 1.
        next_codes = inputs[:, 1:]
        return token_sums(self.layer(features[:, :-1]), next_codes, is_predicted(next_codes), self.characters)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Nats per token of sums (B, 4)."""
        return mean_nats(output)

    def answer(self, output: Tensor) -> RateAnswers:
        """Return perplexity, token_accuracy and bits_per_character of every text, and its tokens."""
        sums = torch.nan_to_num(output.detach())
        by_row = [{name: float(value) for name, value in rates(row.unsqueeze(0)).items()} for row in sums]
        names = tuple(by_row[0]) if by_row else ()
        numbers = np.array([[row[name] for name in names] for row in by_row], np.float64)
        return RateAnswers(names, numbers, sums[:, TOKENS].long().cpu().numpy())

    def answers(self, output: Tensor) -> dict[str, Tensor]:
        """{"perplexity", "token_accuracy", "bits_per_character", "tokens"}, each float64 (B,)."""
        sums = output.detach().double()
        tokens = sums[:, TOKENS].clamp(min=1)
        return {
            "perplexity": (sums[:, NATS] / tokens).clamp(max=MAX_NATS).exp(),
            "token_accuracy": sums[:, HITS] / tokens,
            "bits_per_character": sums[:, NATS] / sums[:, CHARACTERS].clamp(min=1) / math.log(2),
            "tokens": sums[:, TOKENS],
        }

    def outcomes(self, output: Tensor, target: Tensor) -> TokenSums:
        """Sums of every text: the same rates over all of them follow."""
        return TokenSums(output.detach().double().cpu().numpy())

    def fit_features(self, features: Tensor) -> None:
        """Do nothing: features stay as they are, so that it can start from pretrained weights."""

    def fit_target(self, target: Tensor) -> None:
        """Do nothing: it has no labels."""

    def fit_examples(self, examples: ExampleSource) -> None:
        """Learn how many characters each token stands for."""
        if examples.characters is not None:
            self.characters.copy_(examples.characters)

    @torch.no_grad()
    def inherit(self, learned: Mapping[str, Tensor], backbone: Backbone) -> None:
        """Start from the layer of a language model: its own weights, or the vectors that it shared."""
        own, bias = learned.get("layer.weight"), learned.get("layer.bias")
        if own is None and bias is not None and isinstance(backbone, Sequences):
            own = backbone.embeddings()
        weight = self.layer.weight
        if weight is None or own is None or bias is None or own.shape != weight.shape:
            return
        weight.copy_(own)
        self.layer.bias.copy_(bias)
