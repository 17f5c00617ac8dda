"""BERT's encoder over a text's tokens: Devlin et al., "BERT: pre-training of deep bidirectional transformers", 2019.

    x = norm(word + position);   x = norm(x + attention(x));   x = norm(x + W2 gelu(W1 x + b1) + b2)

The norms stand behind the shortcuts, and every token sees every other. The features of a row are the mean over its
tokens as in sentence embeddings (Reimers and Gurevych, "Sentence-BERT", 2019), or the first token's. Built anew it
starts from BERT's weights, normal with deviation 0.02; MiniLM (Wang et al., 2020) and its like are imported.

Padding costs nothing: tokens of all rows travel packed, (N, width), and are laid out in rows for the attention alone.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from app.ml.errors import ConfigError
from app.ml.fields import Integer, Rate, Real
from app.ml.interfaces import Backbone, BackboneConfig, Encoding, ResolutionContext
from app.ml.interfaces.abilities import Ability, Sequences
from app.ml.interfaces.tokenizer import PADDING
from app.ml.spec import ModalityKind

_STD = 0.02


class Bert(BackboneConfig):
    """Attention in both directions over the tokens of a text."""

    accepts: ClassVar[tuple[ModalityKind, ...]] = ("text",)
    provides: ClassVar[frozenset[Ability]] = frozenset({"sequence"})
    causal: ClassVar[bool] = False
    kind: Literal["bert"] = "bert"
    width: Integer = Field(128, ge=2, le=4096, description="Features of every token; a multiple of the heads.")
    depth: Integer = Field(2, ge=1, le=48, description="Blocks.")
    heads: Integer = Field(2, ge=1, le=64, description="Attention heads; they share the width.")
    hidden: Integer = Field(512, ge=1, le=16_384, description="Width of the perceptron in a block.")
    positions: Integer = Field(512, ge=1, le=8192, description="Places that have a vector; later tokens are not read.")
    dropout: Rate = Field(0.0, description="Share of activations dropped while training; BERT was trained with 0.1.")
    epsilon: Real = Field(1e-12, gt=0, le=0.1, description="What is added to the variance in every norm.")
    pooling: Literal["mean", "first"] = Field(
        "mean", description="A row's features: the mean over its tokens, or the first token's, which marks the begin."
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            msg = f"width {self.width} is no multiple of the {self.heads} heads: change one of them"
            raise ValueError(msg)
        return self

    def check(self, context: ResolutionContext) -> None:
        """Raise `ConfigError` where looking ahead is forbidden."""
        if context.causal:
            raise ConfigError(("kind",), "what is learned here must not look ahead, and bert does: choose transformer")

    def build(self, encoding: Encoding) -> "BertBackbone":
        """Build it with fresh weights."""
        return BertBackbone(self, encoding)


@dataclass(frozen=True, slots=True)
class PackedLayout:
    """Positions of the packed tokens of all rows in a padded batch (B, T)."""

    places: Tensor  # int64 (N,), below rows * steps
    mask: Tensor  # bool (B, 1, 1, T): which tokens are there to be seen
    rows: int
    steps: int
    whole: bool = False  # whether padding is packed too: an exported graph knows no lengths that depend on the data

    @classmethod
    def of(cls, codes: Tensor) -> "PackedLayout":
        """Compute it from codes (B, T); a row of only padding counts whole, and on the meta device every row."""
        is_token = codes != PADDING
        is_token = is_token | ~is_token.any(1, keepdim=True)  # else an empty row's softmax would be over nothing
        rows, steps = codes.shape
        if torch.compiler.is_exporting():
            return cls(torch.arange(rows * steps), is_token[:, None, None, :], rows, steps, whole=True)
        if codes.is_meta:
            places = torch.empty(rows * steps, dtype=torch.int64, device="meta")
        else:
            places = is_token.flatten().nonzero().squeeze(1)
        return cls(places, is_token[:, None, None, :], rows, steps)

    def in_rows(self, packed: Tensor) -> Tensor:
        """Unpack (N, F) to (B, T, F), with zeros at padding."""
        if self.whole:
            return packed.view(self.rows, self.steps, -1) * self.mask[:, 0, 0, :, None]
        flat = packed.new_zeros(self.rows * self.steps, packed.shape[1]).index_copy(0, self.places, packed)
        return flat.view(self.rows, self.steps, -1)

    def packed(self, padded: Tensor) -> Tensor:
        """Pack (B, T, F) to (N, F)."""
        if self.whole:
            return padded.flatten(0, 1)
        return padded.flatten(0, 1).index_select(0, self.places)

    def mean(self, packed: Tensor) -> Tensor:
        """The mean over each row's tokens, (N, F) to (B, F)."""
        return self.in_rows(packed).sum(1) / self.mask.flatten(1).sum(1, keepdim=True)


class BertBackbone(Backbone, Sequences):
    """Codes (B, T) to (B, width)."""

    causal = False

    def __init__(self, config: Bert, encoding: Encoding) -> None:
        super().__init__()
        assert encoding.vocabulary is not None
        self.encoding, self.pooling = encoding, config.pooling
        self.features = self.width = config.width
        self.words = nn.Embedding(encoding.vocabulary, config.width)
        self.places = nn.Parameter(torch.empty(config.positions, config.width))
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.depth))
        self._start()

    def forward(self, inputs: Tensor) -> Tensor:
        """To (B, width)."""
        codes = self._read(inputs)
        layout = PackedLayout.of(codes)
        return self._pooled(self._each_layer(codes, layout)[-1], layout)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """Pooled features after every block, each (B, width)."""
        codes = self._read(inputs)
        layout = PackedLayout.of(codes)
        return [self._pooled(values, layout) for values in self._each_layer(codes, layout)]

    def sequence(self, inputs: Tensor) -> Tensor:
        """Features of every token, (B, T, width); zeros for padding, and for tokens that have no place."""
        codes = self._read(inputs)
        layout = PackedLayout.of(codes)
        padded = layout.in_rows(self._each_layer(codes, layout)[-1])
        return F.pad(padded, (0, 0, 0, inputs.shape[1] - padded.shape[1]))

    def embeddings(self) -> Tensor | None:
        """The vectors of a text's codes, (V, width)."""
        return self.words.weight

    def stages(self) -> list[list[nn.Parameter]]:
        """The embeddings with their norm, then every block."""
        entrance = [self.places, *self.words.parameters(), *self.norm.parameters()]
        return [entrance, *(list(block.parameters()) for block in self.blocks)]

    def _read(self, inputs: Tensor) -> Tensor:
        """Cut codes after the longest row of the batch, and at the number of positions."""
        codes = inputs[:, : len(self.places)]
        if codes.is_meta or torch.compiler.is_exporting():
            return codes
        used = (codes != PADDING).any(0).nonzero()
        return codes[:, : int(used[-1]) + 1] if len(used) else codes

    def _each_layer(self, codes: Tensor, layout: PackedLayout) -> list[Tensor]:
        """After every block, packed (N, width)."""
        packed_codes = codes.flatten().index_select(0, layout.places)
        step = layout.places % layout.steps  # int64 (N,): each token's step in its own text
        values = self.dropout(self.norm(self.words(packed_codes) + self.places[step]))
        outputs = []
        for block in self.blocks:
            values = block(values, layout)
            outputs.append(values)
        return outputs

    def _pooled(self, packed: Tensor, layout: PackedLayout) -> Tensor:
        return layout.mean(packed) if self.pooling == "mean" else layout.in_rows(packed)[:, 0]

    def _start(self) -> None:
        """Initialise as BERT: normal with deviation 0.02, biases 0."""
        nn.init.normal_(self.places, std=_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)


class BertBlock(nn.Module):
    """Packed tokens (N, width) to the same."""

    def __init__(self, config: Bert) -> None:
        super().__init__()
        self.heads, self.share = config.heads, config.dropout
        self.to_all = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm_attention = nn.LayerNorm(config.width, config.epsilon)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, config.width)
        )
        self.norm_mlp = nn.LayerNorm(config.width, config.epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, values: Tensor, layout: PackedLayout) -> Tensor:
        """Attention, then the perceptron, each behind its shortcut normalised."""
        values = self.norm_attention(values + self.dropout(self.out(self._seen(values, layout))))
        changed: Tensor = self.norm_mlp(values + self.dropout(self.mlp(values)))
        return changed

    def _seen(self, values: Tensor, layout: PackedLayout) -> Tensor:
        projected = layout.in_rows(self.to_all(values)).view(layout.rows, layout.steps, 3, self.heads, -1)
        # Attention alone needs rows: its products are over the tokens of one text.
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, H, T, D)
        dropout = self.share if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=layout.mask, dropout_p=dropout)
        return layout.packed(attended.transpose(1, 2).flatten(2))
