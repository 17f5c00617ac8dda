"""A masked language model: some tokens are masked, and predicted from the text on both sides.

A `share` of a text's own tokens is chosen; of those 80 % become the mask, 10 % a random token and 10 % stay. loss =
- mean over the chosen tokens of log p(x_t | the changed text), in nats; over a split's tokens, not over its rows.
Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding", 2019.
"""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from app.ml.blocks.shards import drawn, total
from app.ml.blocks.tokens import HITS, TOKENS, TokenLayer, is_text, mean_nats, token_sums
from app.ml.errors import ConfigError
from app.ml.fields import Real
from app.ml.interfaces import Backbone, Batch, Losses, MethodConfig, Objective, ResolutionContext
from app.ml.interfaces.abilities import Ability, Sequences
from app.ml.interfaces.tokenizer import FIRST, MASK
from app.ml.interfaces.values import TrainingDefaults
from app.ml.kinds.methods.next_token import TRAINING_DEFAULTS
from app.ml.spec import ModalityKind

_HIDDEN, _REPLACED = 0.8, 0.9  # up to the first share a mask, from there up to the second a random token


class MaskedLanguage(MethodConfig):
    """Learn to predict masked tokens of a text."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    needs: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    kind: Literal["masked_language"] = "masked_language"
    share: Annotated[Real, Field(gt=0, lt=1)] = Field(0.15, description="Share of the tokens that are predicted.")
    tied: bool = Field(
        default=False,
        strict=True,
        description="Predict tokens with the input embeddings as the output layer's weights; saves a layer.",
    )

    def training_defaults(self, context: ResolutionContext) -> TrainingDefaults:
        """As for predicting the next token."""
        return TRAINING_DEFAULTS

    def build(self, backbone: Backbone) -> "MaskedLanguageObjective":
        """Put a layer over the vocabulary behind the backbone. Raises `ConfigError`."""
        return MaskedLanguageObjective(self, backbone)


class MaskedLanguageObjective(Objective):
    """Reports loss (nats per chosen token) and token_accuracy."""

    def __init__(self, config: MaskedLanguage, backbone: Backbone) -> None:
        super().__init__()
        assert isinstance(backbone, Sequences)
        vocabulary = backbone.encoding.vocabulary
        assert vocabulary is not None
        if config.tied and backbone.embeddings() is None:
            raise ConfigError(("method", "tied"), "this backbone has no vectors of tokens to share: set this to false")
        self.share = config.share
        self.backbone: Backbone = backbone
        self.layer = TokenLayer(backbone.width, vocabulary, tied=config.tied)

    def loss(self, batch: Batch) -> Losses:
        """Means over the chosen tokens of the batch; 0 where none was chosen."""
        return _losses(self.sums(batch.inputs))

    def measure(self, batches: Iterable[Batch]) -> Losses:
        """Means over the chosen tokens of the split."""
        return _losses(torch.cat([self.sums(batch.inputs) for batch in batches]).double())

    def sums(self, codes: Tensor) -> Tensor:
        """Sums (B, 4) over the chosen tokens of each row (B, T)."""
        backbone = self.backbone
        assert isinstance(backbone, Sequences)
        changed, chosen = masked(codes, self.share, backbone.encoding.vocabulary or 1)
        logits = self.layer(backbone.sequence(changed), backbone.embeddings())
        return token_sums(logits, codes, chosen, torch.ones_like(self.layer.bias, dtype=torch.int64))


def masked(codes: Tensor, share: float, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Mask codes (B, T): the changed codes, and which were chosen, bool (B, T)."""
    size, device = codes.shape[1:], codes.device
    chosen = (drawn(lambda rows: torch.rand(rows, *size, device=device), len(codes)) < share) & is_text(codes)
    # Some chosen tokens keep their code or get a wrong one, since no text has masks after pretraining.
    # (B, T): below 0.8 a mask, below 0.9 another token.
    fate = drawn(lambda rows: torch.rand(rows, *size, device=device), len(codes))
    first = min(FIRST, vocabulary - 1)
    others = drawn(lambda rows: torch.randint(first, vocabulary, (rows, *size), device=device), len(codes))
    changed = torch.where(chosen & (fate < _HIDDEN), MASK, codes)
    changed = torch.where(chosen & (fate >= _HIDDEN) & (fate < _REPLACED), others, changed)
    return changed, chosen


def _losses(sums: Tensor) -> Losses:
    whole = total(sums.detach().sum(0))
    return {"loss": mean_nats(sums), "token_accuracy": whole[HITS] / whole[TOKENS].clamp(min=1)}
