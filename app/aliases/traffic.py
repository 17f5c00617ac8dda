"""What an alias means: one version or several with weights, and maybe a shadow."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")
_SHARES = 2**64


@dataclass(frozen=True, slots=True)
class Traffic:
    """The models among which requests are dealt by weight, in the order of their versions; and the model that shadows.

    The shadow computes a share of the requests as well; its answers are compared, and never sent.
    """

    weights: tuple[tuple[str, float], ...]  # (model id, weight)
    shadow: str | None = None
    shadow_share: float = 1.0

    @property
    def primary(self) -> str:
        """The model that gets most requests, of equals the older version: what the alias means where one is asked."""
        return max(self.weights, key=lambda pair: pair[1])[0]

    @property
    def models(self) -> tuple[str, ...]:
        """Every model, the shadow last."""
        return (*(model for model, _ in self.weights), *((self.shadow,) if self.shadow else ()))

    def as_json(self) -> dict[str, Any] | None:
        """Return what a row keeps next to the primary; None where there is nothing but that."""
        if len(self.weights) == 1 and self.shadow is None:
            return None
        return {"weights": [list(pair) for pair in self.weights], "shadow": self.shadow, "share": self.shadow_share}


def traffic_of(model_id: str, kept: dict[str, Any] | None) -> Traffic:
    """Return the traffic of a row that keeps this primary and `as_json`.

    Where both disagree, a process of an earlier release has moved the alias, and the primary is all that it means.
    """
    if kept is not None:
        weights = tuple((str(model), float(weight)) for model, weight in kept["weights"])
        traffic = Traffic(weights, kept["shadow"], kept["share"])
        if traffic.primary == model_id:
            return traffic
    return Traffic(((model_id, 1.0),))


def choose(choices: Sequence[tuple[Value, float]], routing_key: str | None, salt: str) -> Value:
    """Return one of the choices by weight: always the same for the same key, at random without one.

    Where the weights change, as few keys as possible go to another choice than before.
    """
    share = random.random() if routing_key is None else _share_of(routing_key, salt)  # noqa: S311 - spreads requests
    total = sum(weight for _, weight in choices)
    passed = 0.0
    for value, weight in choices:
        passed += weight / total
        if share < passed:
            return value
    return choices[-1][0]


def _share_of(key: str, salt: str) -> float:
    """Return where a key lies in [0, 1); with another salt it lies elsewhere."""
    digest = hashlib.sha256(f"{salt}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / _SHARES
