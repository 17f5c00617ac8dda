"""CPU, requests a second, latency, memory and cold start of Graftwork beside other servers of the same models.

    python -m bench.serving --peers FOLDER [--rounds 2] [--seconds 2] [--starts 2] [--only kserve,naive] [--json FILE]

A network (784-256-128-10) answers rows of 784 numbers, and one like it pictures of 28 x 28 bytes, as JSON; a text of 20
words goes through a GRU of 64, in Graftwork and in FastAPI with the same tokenizer and network. Peers have the weights
of the models that Graftwork trained, and every server's answers are compared with the right ones before it is loaded
and afterwards. All servers run side by side, one is loaded at a time, and rounds go over all of them again: a machine
that slows down slows all. Each figure is the best of the rounds. Graftwork is one `graftwork api` as it is by default:
with authentication, validation, limits, metrics and warnings.

Each peer is installed into a virtual environment of its own in FOLDER, if it is not there, and skipped with a line
where that cannot be done. Two rounds of two seconds beside five peers take some eight minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.kit.process import free_port
from bench.service import KEY
from bench.serving import report
from bench.serving.models import ROWS, copy_model, expected, text, train, train_text, trained, write_weights
from bench.serving.network import MODELS
from bench.serving.peers import PEERS, Peer, install
from bench.serving.server import Load, Server, Target
from graftwork import Graftwork

LOADS: tuple[Load, ...] = ((1, 1), (1, 8), (1, 64), (32, 8))
MAX_ROWS = max(rows for rows, _ in LOADS)
Inputs = dict[str, NDArray[Any]]  # MAX_ROWS rows of each model


class Bench:
    """The models, what is asked of them, and the servers that answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(1)
        self.inputs: Inputs = {
            "table": random.random((MAX_ROWS, 784), dtype=np.float32),
            "image": random.integers(0, 256, (MAX_ROWS, 28, 28), dtype=np.uint8),
            "text": np.array([text(random) for _ in range(MAX_ROWS)]),
        }
        self.targets: list[Target] = []
        with trained(folder / "service") as (client, _):
            self._train(client)
        for name in self.inputs:
            copy_model(folder / "service", name, folder / name)
        self.expected = {name: expected(folder / name, rows.tolist()) for name, rows in self.inputs.items()}
        (folder / "weights").mkdir()
        for name, step in zip(MODELS, (1, 255), strict=True):
            shape = self.inputs[name].shape[1:]
            rows = [np.full(shape, value).tolist() for value in (0, step)]
            write_weights(folder / name, folder / "weights" / f"{name}.npz", *rows, step=step)

    def _train(self, client: Graftwork) -> None:
        random = np.random.default_rng(2)
        images = random.integers(0, 256, (ROWS, 28, 28), dtype=np.uint8)
        train(client, "image", {"x": images, "y": images[:, 0, :10].argmax(1)}, "image")
        train_text(client)

    @property
    def servers(self) -> list[Server]:
        """Return the servers in order."""
        return list({id(target.server): target.server for target in self.targets}.values())

    def add(self, server: Server, peer: Peer, names: tuple[str, ...] = MODELS, *, checked: bool = True) -> None:
        """Add the models of a server, which is asked as a peer is."""
        server.environment["WEIGHTS"] = str(self.folder / "weights")
        for name in names:
            bodies = {}
            for rows in {rows for rows, _ in LOADS}:
                bodies[rows] = self.folder / f"{server.name}-{name}-{rows}.json"
                bodies[rows].write_text(json.dumps(peer.body(name, self.inputs[name][:rows])))
            target = Target(name, server, peer.path.format(name), bodies)
            if checked:
                target.expected, target.read = self.expected[name], peer.read
            self.targets.append(target)

    def add_graftwork(self) -> None:
        """Add an API process as it is by default."""
        port = free_port()
        command = [sys.executable, "-m", "app.cli.main", "api", "--port", str(port)]
        command += ["--data", str(self.folder / "service")]
        server = Server("Graftwork", command, port, {"OMP_NUM_THREADS": "1"}, KEY)
        self.add(server, Peer("", (), _none, "/v1/models/{}/predictions", read=_probabilities), tuple(self.inputs))

    def add_uvicorn(self, name: str, module: str, path: str, names: tuple[str, ...] = MODELS) -> None:
        """Add a server of this package: an ASGI application on uvicorn."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", f"bench.serving.{module}:app", "--port", str(port)]
        command += ["--log-level", "warning", "--no-access-log"]
        server = Server(name, command, port, {"MODEL": str(self.folder / "text")}, is_peer=module == "naive")
        read = _texts if "text" in names else _plain
        self.add(server, Peer("", (), _none, path, read=read), names, checked=module != "bare")

    def add_peer(self, peer: Peer, programs: Path) -> None:
        """Add a peer that is installed."""
        port, home = free_port(), self.folder / peer.name
        environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": f"{programs}:{os.defpath}"}
        environment |= dict.fromkeys(("LOG_LOCATION", "METRICS_LOCATION"), str(home))  # TorchServe's
        try:
            command = peer.command(programs, port, home)
        except subprocess.CalledProcessError as error:
            print(f"{peer.name} is skipped, its models cannot be made: {error.stderr.decode().strip()[-200:]}")
        else:
            self.add(Server(peer.name, command, port, environment, is_peer=True), peer)

    def start(self, stack: ExitStack, *, keep: bool) -> None:
        """Start each server, one after the other, and stop it again unless it is to be kept; drop what does not run."""
        for server in self.servers:
            targets = [target for target in self.targets if target.server is server]
            try:
                server.start(targets, self.folder / f"{server.name}.log")
            except RuntimeError as error:
                print(f"{server.name} is skipped: {error}")
                server.stop()
                self.targets = [target for target in self.targets if target.server is not server]
            else:
                stack.callback(server.stop) if keep else server.stop()


def _none(*_: object) -> list[str]:
    return []


def _probabilities(answer: dict[str, Any]) -> NDArray[Any]:
    return np.array([list(each["label"]["probabilities"].values()) for each in answer["predictions"]])


def _texts(answer: list[dict[str, Any]]) -> NDArray[Any]:
    return _probabilities({"predictions": answer})


def _plain(answer: dict[str, Any]) -> NDArray[Any]:
    return np.array(answer["probabilities"])


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", type=Path, help="folder of the peers' virtual environments; without it there are none"
    )
    parser.add_argument("--only", default="", help="names of the peers to compare with, by commas")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for all figures of all rounds")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch))
        bench.add_graftwork()
        bench.add_uvicorn("uvicorn alone", "bare", "/", (*MODELS, "text"))
        bench.add_uvicorn("naive FastAPI", "naive", "/{}")
        bench.add_uvicorn("naive FastAPI of texts", "naive_text", "/predict", ("text",))
        for peer in PEERS if options.peers else ():
            wanted = peer.name.split()[0].lower() in options.only.split(",") or not options.only
            if wanted and (programs := install(peer, options.peers)) is not None:
                bench.add_peer(peer, programs)
        for number in range(options.starts):
            bench.start(stack, keep=number == options.starts - 1)
        for _ in range(options.rounds):
            for load in LOADS:
                for target in bench.targets:
                    target.measure(load, options.seconds)
        for target in bench.targets:
            target.check()
        print_all(bench)
        if options.json:
            options.json.write_text(json.dumps(figures(bench), indent=1))


def print_all(bench: Bench) -> None:
    """Print costs, ratios, and memory and starts."""
    report.print_costs(bench.targets, LOADS)
    own = bench.servers[0]
    for target in (each for each in bench.targets if each.server is own):
        others = [each for each in bench.targets if each.model == target.model and each.server is not own]
        peers = [each for each in others if each.expected is not None]
        report.print_ratios(target, peers, next(each for each in others if each.expected is None), LOADS)
    report.print_processes(bench.servers)


def figures(bench: Bench) -> dict[str, Any]:
    """Return all figures of all rounds by target, and memory and starts by server."""
    results = {
        target.name: {report.name_of(load): rounds for load, rounds in target.results.items()}
        for target in bench.targets
    }
    memory = {
        server.name: {"loaded": server.loaded_bytes, "largest": server.peak_bytes, "cold_starts": server.cold_starts}
        for server in bench.servers
    }
    return {"results": results, "servers": memory}


if __name__ == "__main__":
    main()
