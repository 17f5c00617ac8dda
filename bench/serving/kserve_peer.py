"""KServe's model server with the same network; run by a Python that has kserve and torch: `kserve_peer.py PORT`."""

import sys

import kserve
import numpy as np
import torch
from network import network


class Peer(kserve.Model):
    """Answers {"instances": [[...]]}."""

    def __init__(self) -> None:
        super().__init__("m")
        torch.set_num_threads(1)
        self.network = network()
        self.ready = True

    def predict(self, payload: dict[str, object], *_: object, **__: object) -> dict[str, object]:
        """Return probabilities and classes."""
        with torch.inference_mode():
            rows = torch.from_numpy(np.asarray(payload["instances"], dtype=np.float32))
            probabilities = self.network(rows).softmax(1)
        return {"predictions": {"probabilities": probabilities.tolist(), "classes": probabilities.argmax(1).tolist()}}


if __name__ == "__main__":
    server = kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, enable_latency_logging=False, workers=1)
    server.start([Peer()])
