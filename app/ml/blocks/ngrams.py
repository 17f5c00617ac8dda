"""Embeddings of a text's n-grams of codes, which are added to those of the codes.

For n = 2 .. N, with codes c and K slots, step t gets

    sum_n  table_n[hash(c_(t-n+1), ..., c_t) mod K]

N-grams that share a slot share a vector (Svenstrup, Hansen and Winther, "Hash embeddings for efficient word
representations", 2017); over bytes as in Pagnoni et al., "Byte latent transformer", 2024. Which few
characters stand together is looked up, where a network would need layers and many steps to learn it. No step looks
ahead.
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
        """Sum the embeddings of the n-grams that end at each step; before the first step there is padding."""
        vectors = [table(places) for table, places in zip(self.tables, self.places(codes), strict=True)]
        return torch.stack(vectors).sum(0)

    def places(self, codes: Tensor) -> list[Tensor]:
        """Hash the n-grams of 2, 3, ... codes that end at each step to slots, each int64 (B, T)."""
        steps, hashed, slots = codes.shape[1], codes, []
        for distance in range(1, self.longest):
            earlier = F.pad(codes, (distance, 0))[:, :steps]
            # A rolling hash: the n-gram of n codes from that of n - 1 and the code before it.
            hashed = (hashed * _FACTOR + earlier) % _PRIME
            slots.append(hashed % self.slots)
        return slots

    def context(self, codes: Tensor) -> Tensor:
        """The last codes, which n-grams of later steps begin with, (B, longest - 1)."""
        return F.pad(codes, (self.longest - 1, 0))[:, codes.shape[1] :]
