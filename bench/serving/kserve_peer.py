"""KServe's model server with the same networks: `kserve_peer.py PORT`, run by a Python that has kserve and torch."""

import sys

import kserve
from network import MODELS, network, probabilities


class Peer(kserve.Model):
    """Answers {"instances": [...]}."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.network = network(name)
        self.ready = True

    def predict(self, payload: dict[str, list[object]], *_: object, **__: object) -> dict[str, object]:
        """Return probabilities and classes."""
        answer = probabilities(self.network, payload["instances"])
        return {"predictions": {"probabilities": answer.tolist(), "classes": answer.argmax(1).tolist()}}


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False, workers=1)
    server.start([Peer(name) for name in MODELS])
