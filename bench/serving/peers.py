"""Servers that the same networks are given to: what is installed for each, how it starts and how it is asked.

    python -m bench.serving.peers FOLDER [NAME ...]

makes a virtual environment for each in a folder. What cannot be installed is skipped with a line that says why.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.kit.process import free_port
from bench.serving.network import MODELS

HERE = Path(__file__).parent
TORCH = ("torch==2.13.0", "numpy")
_INSTALL_SECONDS = 1200
_DATATYPES = {"table": "FP32", "image": "UINT8"}
Rows = NDArray[Any]


@dataclass(frozen=True)
class Peer:
    """A server of others."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[Path, int, Path], list[str]]  # by the folder of its programs, a port and a folder to write in
    path: str = "/{}"  # {} stands for a model
    body: Callable[[str, Rows], object] = lambda _, rows: {"inputs": rows.tolist()}
    read: Callable[[Any], Rows] = lambda answer: np.array(answer["probabilities"])


def kserve(programs: Path, port: int, _: Path) -> list[str]:
    return [str(programs / "python"), str(HERE / "kserve_peer.py"), str(port)]


def mlserver(programs: Path, port: int, folder: Path) -> list[str]:
    settings = [str(port), str(free_port()), str(free_port())]
    command = [str(programs / "python"), str(HERE / "mlserver_peer.py"), str(folder), *settings]
    subprocess.run(command, check=True, capture_output=True)
    return [str(programs / "mlserver"), "start", str(folder)]


def litserve(programs: Path, port: int, _: Path) -> list[str]:
    return [str(programs / "python"), str(HERE / "litserve_peer.py"), str(port)]


def bentoml(programs: Path, port: int, _: Path) -> list[str]:
    options = ["--working-dir", str(HERE), "--host", "127.0.0.1", "--port", str(port)]
    return [str(programs / "bentoml"), "serve", "bentoml_peer:Peer", *options]


def torchserve(programs: Path, port: int, folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for name in MODELS:
        handler = ["--handler", str(HERE / "torchserve_peer.py"), "--extra-files", str(HERE / "network.py")]
        options = ["--model-name", name, "--version", "1", "--export-path", str(folder), "--force", *handler]
        subprocess.run([str(programs / "torch-model-archiver"), *options], check=True, capture_output=True)
    batches = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 64, "maxBatchDelay": 2, "defaultVersion": True}
    models = {name: {"1": {**batches, "marName": f"{name}.mar"}} for name in MODELS}
    addresses = {"inference": port, "management": free_port(), "metrics": free_port()}
    lines = [f"{name}_address=http://127.0.0.1:{number}" for name, number in addresses.items()]
    lines += [f"grpc_{name}_port={free_port()}" for name in ("inference", "management")]
    lines += [f"models={models}".replace("'", '"').replace("True", "true"), f"model_store={folder}"]
    lines += ["disable_token_authorization=true", "load_models=all", f"python_path={HERE}"]
    (folder / "config.properties").write_text("\n".join(lines))
    config = ["--foreground", "--ts-config", str(folder / "config.properties"), "--disable-token-auth"]
    return [str(programs / "torchserve"), "--model-store", str(folder), *config]


def tensor(model: str, rows: Rows) -> object:
    """Rows as the Open Inference Protocol has them."""
    values = {"name": "inputs", "shape": rows.shape, "datatype": _DATATYPES[model], "data": rows.ravel().tolist()}
    return {"inputs": [values]}


def tensor_of(answer: Any) -> Rows:
    """Return the probabilities of an answer by the Open Inference Protocol."""
    output = next(each for each in answer["outputs"] if each["name"] == "probabilities")
    return np.array(output["data"]).reshape(output["shape"])


_TORCHSERVE = (
    "torchserve==0.12.0",
    "torch-model-archiver==0.12.0",
    "setuptools<81",
    "pyyaml",
    "psutil",
    "packaging",
)
PEERS = (
    Peer(
        "KServe 0.21",
        ("kserve==0.21.0",),
        kserve,
        "/v1/models/{}:predict",
        lambda _, rows: {"instances": rows.tolist()},
        lambda answer: np.array(answer["predictions"]["probabilities"]),
    ),
    Peer("MLServer 1.7", ("mlserver==1.7.1",), mlserver, "/v2/models/{}/infer", tensor, tensor_of),
    Peer(
        "TorchServe 0.12",
        ("torchserve==0.12.0", "torch-model-archiver==0.12.0", "setuptools<81", "pyyaml", "psutil", "packaging"),
        torchserve,
        "/predictions/{}",
    ),
    Peer("LitServe 0.2", ("litserve==0.2.19",), litserve),
    Peer("BentoML 1.4", ("bentoml==1.4.40",), bentoml, read=np.array),
)


def install(peer: Peer, folder: Path) -> Path | None:
    """Return the folder of a peer's programs, or None with a line that says why; installed is what is not there."""
    home = folder / peer.name.split()[0].lower()
    installed = home / "installed"
    if installed.exists():
        return home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in ([sys.executable, "-m", "venv", str(home)], [*pip, *TORCH], [*pip, *peer.requirements]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.SubprocessError as error:
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        print(f"{peer.name} is skipped, it cannot be installed: {lines[-1]}")
        return None
    installed.touch()
    return home / "bin"


def main(folder: str, names: Sequence[str]) -> None:
    for peer in PEERS:
        if not names or peer.name.split()[0].lower() in names:
            print(peer.name, install(peer, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
