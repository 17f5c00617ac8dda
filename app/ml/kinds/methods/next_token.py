"""A causal language model: every token is predicted from those before it.

loss = - mean over all tokens t of log p(x_t | x_1 .. x_{t-1}), in nats; over a split's tokens, not over its rows.
Bengio et al., "A neural probabilistic language model", 2003; Radford et al., "Improving language understanding by
generative pre-training", 2018. With `tied` the input embeddings are also the output layer's weights:
Press and Wolf, "Using the output embedding to improve language models", 2017.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.tokens import TokenLayer, is_predicted, mean_nats, rates, token_sums
from app.ml.errors import ConfigError
from app.ml.evaluation.language_model import TokenSums
from app.ml.interfaces import Backbone, Batch, ExampleSource, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.abilities import Ability, Sequences
from app.ml.interfaces.values import TrainingDefaults
from app.ml.spec import ModalityKind

TRAINING_DEFAULTS = TrainingDefaults(
    lr=3e-3,
    batches=100,
    steps=1500,
    min_epochs=5,
    max_epochs=100,
    max_batch_size=16,
    weight_decay=0.1,
    warmup=0.05,
    precision="native",
)


class NextToken(MethodConfig):
    """Learn to predict a text's next token."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    needs: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    causal: ClassVar[bool] = True
    kind: Literal["next_token"] = "next_token"
    tied: bool = Field(
        default=False,
        strict=True,
        description="Predict tokens with the input embeddings as the output layer's weights; saves a layer.",
    )

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """Small batches: every row holds hundreds of tokens to learn from."""
        return TRAINING_DEFAULTS

    def build(self, backbone: Backbone) -> "NextTokenObjective":
        """Put a layer over the vocabulary behind the backbone. Raises `ConfigError`."""
        return NextTokenObjective(self, backbone)


class NextTokenObjective(Objective):
    """Reports loss (nats per token), perplexity, token_accuracy and bits_per_character."""

    characters: Tensor

    def __init__(self, config: NextToken, backbone: Backbone) -> None:
        super().__init__()
        assert isinstance(backbone, Sequences)
        vocabulary = backbone.encoding.vocabulary
        assert vocabulary is not None
        self.backbone: Backbone = backbone
        if config.tied and backbone.embeddings() is None:
            raise ConfigError(("method", "tied"), "this backbone has no vectors of tokens to share: set this to false")
        self.layer = TokenLayer(backbone.width, vocabulary, tied=config.tied)
        self.register_buffer("characters", torch.ones(vocabulary, dtype=torch.int64))

    def fit(self, examples: ExampleSource) -> None:
        """Learn how many characters each token stands for."""
        if examples.characters is not None:
            self.characters.copy_(examples.characters)

    def loss(self, batch: Batch) -> Losses:
        """Means over all tokens of the batch."""
        sums = self.sums(batch.inputs)
        return {"loss": mean_nats(sums), **rates(sums)}

    def measure(self, batches: Iterable[Batch]) -> Losses:
        """Means over all tokens of the split."""
        return self.measured(batches)[0]

    def measured(self, batches: Iterable[Batch]) -> tuple[Losses, TokenSums]:
        """The same, and the sums of every text."""
        # (N, 4) in float64: a split has millions of tokens, whose sum float32 would round.
        sums = torch.cat([self.sums(batch.inputs) for batch in batches]).double()
        return {"loss": mean_nats(sums), **rates(sums)}, TokenSums(sums.detach().cpu().numpy())

    def sums(self, codes: Tensor) -> Tensor:
        """Sums (B, 4) over the tokens of each row (B, T), all but its first."""
        backbone = self.backbone
        assert isinstance(backbone, Sequences)
        # Features of step t predict code t + 1; (B, T - 1, F) and (B, T - 1).
        steps, next_codes = backbone.sequence(codes)[:, :-1], codes[:, 1:]
        logits = self.layer(steps, backbone.embeddings())
        return token_sums(logits, next_codes, is_predicted(next_codes), self.characters)
