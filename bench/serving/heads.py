"""Many heads on one backbone beside one head and whole models: memory, CPU a request, latency, and a first request.

    python -m bench.serving.heads [--heads 1000] [--whole 100] [--rounds 3] [--seconds 4]

One row of 784 numbers as JSON by 64 clients, who go through the models in turn. The models are made without training,
from one that was: heads differ in their weights, whole models in the backbone's, too. One head is asked before there
are others in memory, and beside all of them again.
"""

import argparse
import copy
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select

from app.artifacts import ArtifactStore, link_files, open_store, put_blob
from app.db.session import Database
from app.db.tables import ModelRow
from app.kit.process import free_port
from app.ml.models.bundle import Bundle, json_of, read_bundle, read_manifest, save_bundle
from app.models.service import register
from app.settings import Settings
from bench.service import KEY
from bench.serving.models import trained
from bench.serving.report import print_head, print_row
from bench.serving.server import Load, Server, Target

LOAD: Load = (1, 64)


def varied(bundle: Bundle, seed: int, *, whole: bool) -> Bundle:
    """Return a model like another, with other weights of its heads, or of all."""
    torch.manual_seed(seed)
    made = copy.deepcopy(bundle)
    for module in [*made.heads.values(), *([made.backbone] if whole else [])]:
        for parameter in module.parameters():
            parameter.data += 0.1 * parameter.std() * torch.randn_like(parameter)
    return made


def add(database: Database, store: ArtifactStore, project_id: str, name: str, bundle: Bundle) -> None:
    """Register a model as a worker does."""
    with tempfile.TemporaryDirectory() as scratch:
        names = save_bundle(Path(scratch), bundle)
        manifest = json_of(read_manifest(Path(scratch)))
        files = {each: put_blob(store, Path(scratch) / each).model_dump() for each in names}
    columns = {"job_id": None, "dataset_id": None, "parent_id": None, "metrics": {}}
    with database.writing() as session:
        kind = manifest["kind"]
        register(session, project_id=project_id, name=name, kind=kind, manifest=manifest, files=files, **columns)


def make_models(folder: Path, heads: int, whole: int) -> None:
    """Make the models from the one called `table`."""
    settings = Settings(data=folder)
    database, store = Database(settings.sql_url), open_store(settings)
    with database.reading() as session:
        row = session.scalars(select(ModelRow).where(ModelRow.name == "table")).one()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = read_bundle(link_files(store, row.files, Path(scratch)))
    for number in range(heads):
        add(database, store, row.project_id, f"head-{number}", varied(bundle, number, whole=False))
    for number in range(whole):
        add(database, store, row.project_id, f"whole-{number}", varied(bundle, number, whole=True))
    database.close()


def first_requests(port: int, names: list[str], body: bytes) -> NDArray[np.float64]:
    """Return the seconds of the first request to each model."""
    seconds = []
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60) as client:
        for name in names:
            began = time.perf_counter()
            client.post(f"/v1/models/{name}/predictions", content=body).raise_for_status()
            seconds.append(time.perf_counter() - began)
    return np.array(seconds)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=1000)
    parser.add_argument("--whole", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graftwork-bench-") as scratch:
        folder, port = Path(scratch), free_port()
        body = folder / "body.json"
        body.write_text(json.dumps({"inputs": np.random.default_rng(0).random((1, 784), dtype=np.float32).tolist()}))
        with trained(folder / "service"):
            pass
        began = time.perf_counter()
        make_models(folder / "service", options.heads, options.whole)
        print(f"{options.heads} heads and {options.whole} whole models made in {time.perf_counter() - began:.0f} s")
        command = [sys.executable, "-m", "app.cli.main", "api", "--port", str(port)]
        command += ["--data", str(folder / "service")]
        server = Server("Graftwork", command, port, {"OMP_NUM_THREADS": "1"}, KEY)
        models = {"one head": ("head-0", 1)}
        models[f"{options.heads} heads"] = ("head-*", options.heads)
        models[f"{options.whole} whole models"] = ("whole-*", options.whole)
        targets = {
            name: (Target(name, server, f"/v1/models/{path}/predictions", {1: body}), count)
            for name, (path, count) in models.items()
        }
        try:
            server.start([targets["one head"][0]], folder / "api.log")
            measure(targets, body.read_bytes(), options.rounds, options.seconds)
        finally:
            server.stop()


def measure(targets: dict[str, tuple[Target, int]], body: bytes, rounds: int, seconds: float) -> None:
    """Load one head alone, then all in turns; print the first requests, memory, CPU and latency."""
    (alone, _) = next(iter(targets.values()))
    for _ in range(rounds):
        alone.measure(LOAD, seconds)
    first = alone.results.pop(LOAD)
    memory, firsts = [alone.server.resident_bytes("VmRSS")], []
    for target, count in list(targets.values())[1:]:
        names = [target.path.split("/")[3].replace("*", str(number)) for number in range(count)]
        firsts.append(first_requests(target.server.port, names, body))
        memory.append(target.server.resident_bytes("VmRSS"))
    for _ in range(rounds):
        for target, count in targets.values():
            target.measure(LOAD, seconds, count)
    figures = {"one head, alone": min(first, key=lambda result: result["cpu"])}
    for name, (target, _) in targets.items():
        figures[name] = min(target.results[LOAD], key=lambda result: result["cpu"])
    print_head(
        ["models", "MB more", "first request, s: median (p99, largest)", "CPU ms a request", "p50 ms", "to one head"]
    )
    more = ["", "", *(f"{(after - before) / 1e6:.0f}" for before, after in itertools.pairwise(memory))]
    words = ["", "", *(f"{np.median(one):.3f} ({np.quantile(one, 0.99):.3f}, {one.max():.3f})" for one in firsts)]
    one = figures["one head"]
    for (name, figure), grown, asked_first in zip(figures.items(), more, words, strict=True):
        ratio = f"{figure['cpu'] / one['cpu']:.2f} CPU, {figure['p50'] / one['p50']:.2f} p50"
        print_row([name, grown, asked_first, f"{figure['cpu']:.3f}", f"{figure['p50']:.1f}", ratio])


if __name__ == "__main__":
    main()
