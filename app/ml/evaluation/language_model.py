"""Metrics of language models, from sums over the tokens of each text."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.evaluation.outcomes import Outcomes, Values, Weights, ratio

_MAX_NATS = 80  # beyond, exp overflows a float32


@dataclass(frozen=True)
class TokenSums(Outcomes):
    """Sums over the tokens of N texts, (N, 4): nats, tokens, tokens foreseen, characters."""

    sums: Values

    def __len__(self) -> int:
        return len(self.sums)

    def take(self, rows: NDArray[np.int64]) -> "TokenSums":
        """Some of the texts."""
        return TokenSums(self.sums[rows])

    def measure(self, weights: Weights) -> dict[str, Values]:
        """perplexity, token_accuracy, bits_per_character: over all tokens, not means over texts."""
        nats, tokens, hits, characters = (weights @ self.sums).T
        return {
            "perplexity": np.exp(np.minimum(ratio(nats, tokens), _MAX_NATS)),
            "token_accuracy": ratio(hits, tokens),
            "bits_per_character": ratio(nats, characters) / math.log(2),
        }

    def details(self) -> dict[str, Any]:
        """How many tokens there were."""
        return {"tokens": int(self.sums[:, 1].sum())}
