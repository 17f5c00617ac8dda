"""LitServe with the same networks, in batches of at most 64 requests or 2 ms: `litserve_peer.py PORT`."""

import sys

import litserve
import numpy as np
from network import MODELS, network, probabilities
from numpy.typing import NDArray

Rows = NDArray[np.float32]


class Peer(litserve.LitAPI):
    """Answers {"inputs": [...]}."""

    def setup(self, device: str) -> None:
        """Load the network."""
        self.network = network(self.api_path[1:])

    def decode_request(self, request: dict[str, list[object]]) -> Rows:
        """Return the rows of a request."""
        return np.asarray(request["inputs"], dtype=np.float32)

    def batch(self, inputs: list[Rows]) -> list[Rows]:
        """Leave requests apart: each has some rows."""
        return inputs

    def predict(self, x: list[Rows]) -> list[Rows]:
        """Return the probabilities of each request."""
        answer = probabilities(self.network, np.concatenate(x))
        return np.split(answer, np.cumsum([len(rows) for rows in x])[:-1])

    def unbatch(self, output: list[Rows]) -> list[Rows]:
        """Leave them as they are."""
        return output

    def encode_response(self, output: Rows) -> dict[str, object]:
        """Return probabilities and classes."""
        return {"probabilities": output.tolist(), "classes": output.argmax(1).tolist()}


if __name__ == "__main__":
    apis = [Peer(max_batch_size=64, batch_timeout=0.002, api_path=f"/{name}") for name in MODELS]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1)
    options = {"generate_client_file": False, "log_level": "error", "access_log": False}
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, **options)
