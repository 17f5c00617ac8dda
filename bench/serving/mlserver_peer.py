"""A runtime for MLServer with the same networks, in batches of at most 64 requests or 2 ms.

`mlserver_peer.py FOLDER PORT GRPC_PORT METRICS_PORT` writes MLServer's settings; `mlserver start FOLDER` serves.
"""

import json
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from network import MODELS, network, probabilities


class Peer(MLModel):
    """Answers the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the network."""
        self.network = network(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return probabilities and classes."""
        answer = probabilities(self.network, self.decode(payload.inputs[0], default_codec=NumpyCodec))
        outputs = [("probabilities", answer), ("classes", answer.argmax(1)[:, None])]
        encoded = [NumpyCodec.encode_output(name, values) for name, values in outputs]
        return InferenceResponse(model_name=self.name, outputs=encoded)


def main() -> None:
    folder, http_port, grpc_port, metrics_port = Path(sys.argv[1]), *map(int, sys.argv[2:])
    settings = {"host": "127.0.0.1", "http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    for name in MODELS:
        (folder / name).mkdir(exist_ok=True)
        model = {"name": name, "implementation": "mlserver_peer.Peer", "max_batch_size": 64, "max_batch_time": 0.002}
        (folder / name / "model-settings.json").write_text(json.dumps(model))


if __name__ == "__main__":
    main()
