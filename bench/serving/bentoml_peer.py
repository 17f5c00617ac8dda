"""BentoML with the same networks, its batches on: `bentoml serve bentoml_peer:Peer --port PORT`."""

import bentoml
import numpy as np
from network import network, probabilities

BATCHES = {"batchable": True, "max_batch_size": 256, "max_latency_ms": 60_000}


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, traffic={"timeout": 60, "max_concurrency": 512})
class Peer:
    """Answers {"inputs": [...]}."""

    def __init__(self) -> None:
        self.networks = {name: network(name) for name in ("table", "image")}

    @bentoml.api(route="/table", **BATCHES)
    def table(self, inputs: np.ndarray) -> np.ndarray:
        """Return probabilities."""
        return probabilities(self.networks["table"], inputs)

    @bentoml.api(route="/image", **BATCHES)
    def image(self, inputs: np.ndarray) -> np.ndarray:
        """Return probabilities."""
        return probabilities(self.networks["image"], inputs)
