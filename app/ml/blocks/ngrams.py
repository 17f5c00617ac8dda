"""Vectors for short runs of a text's codes, beside those of the codes themselves.

For n = 2 .. N, with codes c and K slots, step t gets

    sum_n  table_n[hash(c_(t-n+1), ..., c_t) mod K]

Runs that share a slot share a vector (Svenstrup, Hansen and Winther, "Hash embeddings for efficient word
representations", 2017); over bytes as in Pagnoni et al., "Byte latent transformer", 2024. What a network would need
layers and many steps for, which few characters stand together, is looked up. No step looks ahead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STD = 0.02
_FACTOR, _PRIME = 2_654_435_761, (1 << 31) - 1  # Knuth's multiplier; products stay below 2^63


class NGrams(nn.Module):
    """Codes int64 (B, T) to (B, T, width)."""

    def __init__(self, longest: int, slots: int, width: int) -> None:
        super().__init__()
        self.longest, self.slots = longest, slots
        tables = [nn.Embedding(slots, width) for _ in range(2, longest + 1)]
        for table in tables:
            nn.init.normal_(table.weight, std=_STD)
        self.tables = nn.ModuleList(tables)

    def forward(self, codes: Tensor) -> Tensor:
        """Before the first step stands padding."""
        found = [table(places) for table, places in zip(self.tables, self.places(codes), strict=True)]
        return torch.stack(found).sum(0)

    def places(self, codes: Tensor) -> list[Tensor]:
        """The slots of the runs of 2, 3, ... codes that end at each step, each int64 (B, T)."""
        steps, hashed, found = codes.shape[1], codes, []
        for back in range(1, self.longest):
            earlier = F.pad(codes, (back, 0))[:, :steps]
            hashed = (hashed * _FACTOR + earlier) % _PRIME
            found.append(hashed % self.slots)
        return found

    def context(self, codes: Tensor) -> Tensor:
        """The last codes that runs of later steps begin with, (B, longest - 1)."""
        return F.pad(codes, (self.longest - 1, 0))[:, codes.shape[1] :]
