"""A handler for TorchServe with the same networks; its batches are at most 64 requests or 2 ms."""

from typing import Any

import numpy as np
from network import network, probabilities


class Peer:
    """Answers {"inputs": [...]}."""

    def initialize(self, context: Any) -> None:
        """Load the network of the model's name."""
        self.network = network(context.manifest["model"]["modelName"])

    def handle(self, requests: list[dict[str, Any]], context: Any) -> list[dict[str, Any]]:
        """Return probabilities and classes of each request."""
        rows = [np.asarray((request.get("body") or request["data"])["inputs"], np.float32) for request in requests]
        answer = probabilities(self.network, np.concatenate(rows))
        parts = np.split(answer, np.cumsum([len(part) for part in rows])[:-1])
        return [{"probabilities": part.tolist(), "classes": part.argmax(1).tolist()} for part in parts]
