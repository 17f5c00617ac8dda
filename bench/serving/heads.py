"""Many heads on one backbone beside one head and whole models: memory, CPU a request, latency, and a first request.

    python -m bench.serving.heads [--heads 1000] [--whole 100] [--rounds 3] [--seconds 4]

One row of 784 numbers as JSON by 64 clients, who go through the models in turn. The models are made without training,
from one that was: heads differ in their weights, whole models in the backbone's, too.
"""

import argparse
import copy
import itertools
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch
from sqlalchemy import select

from app.artifacts import ArtifactStore, link_files, open_store, put_blob
from app.client import Graftwork
from app.db.session import Database
from app.db.tables import ModelRow
from app.kit.process import free_port
from app.ml.models.bundle import Bundle, json_of, read_bundle, read_manifest, save_bundle
from app.models.service import register
from app.settings import Settings
from bench.service import KEY, start, wait_ready
from bench.serving.__main__ import ROWS, Server, bodies, train

CLIENTS = 64


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


def first_requests(port: int, names: list[str], body: bytes) -> tuple[list[float], bytes]:
    """Return the seconds of the first request to each model."""
    seconds = []
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60) as client:
        for name in names:
            began = time.perf_counter()
            client.post(f"/v1/models/{name}/predictions", content=body).raise_for_status()
            seconds.append(time.perf_counter() - began)
    return seconds, body


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
        table = np.random.default_rng(0).random((ROWS, 784), dtype=np.float32)
        body = bodies(folder, "table", table)
        process = start(folder / "service", f"http://127.0.0.1:{port}", threads=1)
        try:
            wait_ready(f"http://127.0.0.1:{port}", process)
            with Graftwork(f"http://127.0.0.1:{port}", KEY) as client:
                train(client, "table", {"x": table, "y": table[:, :10].argmax(1)}, "table")
            make_models(folder / "service", options.heads, options.whole)
            (api,) = [each for each in psutil.Process(process.pid).children() if each.cmdline()[-1] == "api"]
            first_requests(port, ["table"], body[1].read_bytes())
            memory = [api.memory_info().rss]
            loads = []
            for name, count in (("head", options.heads), ("whole", options.whole)):
                names = [f"{name}-{number}" for number in range(count)]
                loads.append(np.array(first_requests(port, names, body[1].read_bytes())[0]))
                memory.append(api.memory_info().rss)
            servers = []
            for label, path, count in (
                ("one head", "head-0", 1),
                (f"{options.heads} heads", "head-*", options.heads),
                (f"{options.whole} whole models", "whole-*", options.whole),
            ):
                server = Server(label, port, f"/v1/models/{path}/predictions", body, api.pid, KEY)
                servers.append((server, count))
            for _ in range(options.rounds):
                for server, count in servers:
                    server.measure(1, CLIENTS, options.seconds, count)
        finally:
            process.terminate()
            process.wait()
    print("| models | MB more | first request, s: median (largest) | CPU ms a request | p50 ms | to one head |")
    print("|---|---|---|---|---|---|")
    best = [min(server.results[1, CLIENTS], key=lambda result: result["cpu"]) for server, _ in servers]
    grown = ["", *(f"{(after - before) / 1e6:.0f}" for before, after in itertools.pairwise(memory))]
    firsts = ["", *(f"{np.median(each):.3f} ({each.max():.3f})" for each in loads)]
    for (server, _), result, more, first in zip(servers, best, grown, firsts, strict=True):
        ratio = f"{result['cpu'] / best[0]['cpu']:.2f} CPU, {result['p50'] / best[0]['p50']:.2f} p50"
        print(f"| {server.name} | {more} | {first} | {result['cpu']:.3f} | {result['p50']:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
