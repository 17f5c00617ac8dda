"""A block of a transformer: attention, then an MLP, each with a layer normalisation before it and a shortcut around it.

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
    """Rotate pairs of (B, H, T, D) by angles (first + t) / 10000^(2 i / D); pair i is (i, i + D / 2)."""
    steps, size = values.shape[2:]
    # In float32: in bfloat16 neighbouring positions beyond 256 would be the same number.
    places = torch.arange(first, first + steps, device=values.device, dtype=torch.float32)
    rates = _BASE ** (-torch.arange(0, size, 2, device=values.device, dtype=torch.float32) / size)
    angles = torch.outer(places, rates)  # (T, D / 2)
    cosine, sine = angles.cos().to(values.dtype), angles.sin().to(values.dtype)
    low, high = values.chunk(2, dim=3)
    return torch.cat((low * cosine - high * sine, low * sine + high * cosine), dim=3)


def _by_products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, *, causal: bool
) -> Tensor:
    """Attention in plain products: for training in bfloat16 on a CPU, where the fused backward takes twice as long."""
    rows, heads, steps, size = query.shape
    if mask is None:
        mask = torch.ones(steps, steps, dtype=torch.bool, device=query.device)
        mask = mask.tril() if causal else mask
    # What is masked gets a score of -inf; (B, 1, 1, T) or (T, T), to broadcast over the B * H products.
    bias = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(~mask, -torch.inf)
    bias = bias.expand(rows, heads, steps, steps).flatten(0, 1) if mask.ndim > 2 else bias  # noqa: PLR2004 - (B, 1, 1, T)
    # (B * H, T, T): q . k / sqrt(D) + bias in a single call.
    scores = torch.baddbmm(bias, query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2), alpha=size**-0.5)
    return (F.dropout(scores.softmax(2), dropout) @ value.flatten(0, 1)).view_as(query)


class Attention(nn.Module):
    """Multi-head self-attention, (B, T, width) to the same."""

    def __init__(self, width: int, heads: int, dropout: float, *, rotary: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.rotary = heads, dropout, rotary
        self.to_all = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """`mask` bool, broadcast to (B, H, T, T), is True where a step may attend; None: everywhere, or not ahead."""
        query, key, value = self._split(values, 0)
        attended = self._attend(query, key, value, mask, causal=causal)
        return self._joined(attended)

    def advance(self, values: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """Attend from the next S steps, (B, S, width), to those of `past` and to the earlier ones among themselves."""
        query, key, value = self._split(values, past[0].shape[2] if past else 0)
        if past:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        # Step s of the new ones may see the past, length - steps in all, and the first s + 1 of the new.
        steps, length = query.shape[2], key.shape[2]
        mask = torch.ones(steps, length, dtype=torch.bool, device=values.device).tril(length - steps)
        return self._joined(self._attend(query, key, value, mask, causal=False)), (key, value)

    def _split(self, values: Tensor, first: int) -> list[Tensor]:
        """Queries, keys and values, each (B, H, T, D)."""
        # One product for all three; (B, T, 3, H, D) to (3, B, H, T, D).
        rows, steps, width = values.shape
        parts = self.to_all(values).view(rows, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        return [rotated(query, first), rotated(key, first), value] if self.rotary else [query, key, value]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad:
            return _by_products(query, key, value, mask, dropout, causal=causal)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal)

    def _joined(self, attended: Tensor) -> Tensor:
        output: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return output


class AttentionBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); (B, T, width) to the same."""

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, *, rotary: bool, epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width, epsilon)
        self.attention = Attention(width, heads, dropout, rotary=rotary)
        self.norm_mlp = nn.LayerNorm(width, epsilon)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """As `Attention.forward`."""
        values = values + self.dropout(self.attention(self.norm_attention(values), mask, causal=causal))
        added: Tensor = self.dropout(self.mlp(self.norm_mlp(values)))
        return values + added

    def advance(self, values: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """As `Attention.advance`; in eval mode."""
        attended, past = self.attention.advance(self.norm_attention(values), past)
        values = values + attended
        return values + self.mlp(self.norm_mlp(values)), past
