"""A block of a transformer: attention, then a perceptron, each behind a layer normalisation and beside a shortcut.

x + attention(norm(x)), then x + mlp(norm(x)): Vaswani et al., "Attention is all you need", 2017, normalised before
instead of after (Xiong et al., "On layer normalization in the transformer architecture", 2020). Positions turn
queries and keys, so that only distances matter: Su et al., "RoFormer: enhanced transformer with rotary position
embedding", 2021.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BASE = 10_000.0  # of the rotary wavelengths, as published
Past = tuple[Tensor, Tensor]  # keys and values (B, H, S, D) of the steps before


def rotated(values: Tensor, first: int = 0) -> Tensor:
    """Turn pairs of (B, H, T, D) by angles (first + t) / 10000^(2 i / D); pair i is made of values i and i + D / 2."""
    steps, size = values.shape[2:]
    places = torch.arange(first, first + steps, device=values.device, dtype=torch.float32)
    rates = _BASE ** (-torch.arange(0, size, 2, device=values.device, dtype=torch.float32) / size)
    angles = torch.outer(places, rates)
    cosine, sine = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
    low, high = values.chunk(2, dim=3)
    return torch.cat((low * cosine - high * sine, low * sine + high * cosine), dim=3)


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, *, causal: bool
) -> Tensor:
    """The same in plain products: training in bfloat16 on a CPU, the fused kernel's backward takes twice as long."""
    rows, heads, steps, size = query.shape
    if mask is None:
        mask = torch.ones(steps, steps, dtype=torch.bool, device=query.device)
        mask = mask.tril() if causal else mask
    bias = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(~mask, -torch.inf)
    bias = bias.expand(rows, heads, steps, steps).flatten(0, 1) if mask.ndim > 2 else bias  # noqa: PLR2004 - (B, 1, 1, T)
    scores = torch.baddbmm(bias, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=size**-0.5)
    return (F.dropout(scores.softmax(2), dropout) @ value.flatten(0, 1)).view_as(query)


class Attention(nn.Module):
    """Every step looks at the steps that it may see, in `heads` ways, (B, T, width) to the same."""

    def __init__(self, width: int, heads: int, dropout: float, *, rotary: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.to_all = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """`mask` bool, to broadcast to (B, H, T, T), says what may be seen; None: everything, or what came before."""
        query, key, value = self._split(values, 0)
        seen = self._attend(query, key, value, mask, causal=causal)
        return self._joined(seen)

    def advance(self, values: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """The next steps (B, S, width) after those of `past`, each seeing all before it."""
        query, key, value = self._split(values, past[0].shape[2] if past else 0)
        if past:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        steps, length = query.shape[2], key.shape[2]
        mask = torch.ones(steps, length, dtype=torch.bool, device=values.device).tril(length - steps)
        return self._joined(self._attend(query, key, value, mask, causal=False)), (key, value)

    def _split(self, values: Tensor, first: int) -> list[Tensor]:
        """Queries, keys and values, each (B, H, T, D)."""
        rows, steps, width = values.shape
        parts = self.to_all(values).view(rows, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return [rotated(query, first), rotated(key, first), value] if self.rotary else [query, key, value]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
            return _by_products(query, key, value, mask, dropout, causal=causal)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal)

    def _joined(self, seen: Tensor) -> Tensor:
        joined: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return joined


class AttentionBlock(nn.Module):
    """(B, T, width) to (B, T, width)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, *, rotary: bool) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout, rotary=rotary)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """As `Attention.forward`."""
        values = values + self.dropout(self.attention(self.norm_attention(values), mask, causal=causal))
        added: Tensor = self.dropout(self.mlp(self.norm_mlp(values)))
        return values + added

    def advance(self, values: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """As `Attention.advance`; in eval mode."""
        seen, past = self.attention.advance(self.norm_attention(values), past)
        values = values + seen
        return values + self.mlp(self.norm_mlp(values)), past
