"""Makes the data folder of a release, so that later releases can prove that they open it.

    python -m tests.support.release tests/data/release_COMMIT.tar.gz

Run it in a checkout of the commit that was released; it takes a minute. The archive holds:

- `data`: the data folder of a service with embedded SQLite and local artifacts. In it are datasets of every modality,
  jobs of every kind and status, and models with every kind of head, all as small as they can be.
- `answers.json`: what that release answered about them (`get`, by URL), what its models answered to a few inputs
  (`post`), and which files its garbage collection would have kept (`kept`).

`tests/integration/test_releases.py` opens a copy of each such folder with the code of today.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pysqlite3 import dbapi2 as sqlite

from app.db.migrate import migrate
from app.db.session import Database
from app.jobs import lease as leases
from app.keys.service import SCOPES, create_key
from app.main import create_app
from app.queue import MemoryQueue
from app.settings import Settings
from tests.support import tiny
from tests.support.choosing import CHOOSING_SECONDS
from tests.support.http import Http
from tests.support.weights import send_weights
from tests.support.work import run_jobs
from worker.attempt.drain import Draining
from worker.process import runner

KEY = "the-key-of-every-folder-of-a-release"
DATA, ANSWERS = "data", "answers.json"
TRAINING: dict[str, Any] = {"steps": 8, "batch_size": 16, "seed": 1, "evaluate_every": 1}
LABEL = {"kind": "classifier", "target": "label"}
SIZE = {"kind": "regressor", "target": "size"}
TRANSFORMER = {"kind": "transformer", "width": 16, "depth": 1, "heads": 2}
CONVNET = {"kind": "convnet", "channels": [4, 8], "features": 8}
DENOISING = {"kind": "denoising_autoencoder"}
PROBE = {"kind": "linear_probe", "layer": "last"}
FORMS: dict[str, list[Any]] = {  # what a model of each modality is asked
    "image": tiny.images(4, seed=7).inputs[..., 0].tolist(),
    "table": [
        {"width": 120.5, "weight": 0.5, "age": None, "colour": "red", "day": "2024-03-05"},
        {"width": 99, "weight": 0.1, "age": -0.7, "colour": "blue", "day": "2024-05-31T12:00:00"},
    ],
    "series": [[[0.5, 5.0], [1.5, 6.0], [None, 5.5]], [[0.1, 7.0]]],
    "text": ["a red big ring", "a tiny gray line", "blue"],
}


class Release:
    """A service in this process on an empty data folder, and the real runner."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder, choosing_seconds=CHOOSING_SECONDS)
        folder.mkdir(parents=True)
        self.database = Database(self.settings.sql_url)
        migrate(self.database)
        with self.database.writing() as session:
            create_key(session, "default", "of the release", list(SCOPES), KEY)
        self.app = create_app(self.settings, queue=MemoryQueue())
        self.http = Http(self.app, KEY)

    def close(self) -> None:
        """Close both connections to the database."""
        self.app.state.services.database.close()
        self.database.close()

    def upload(self, name: str, content: bytes, status: str = "ready", **fields: Any) -> str:
        """Upload and prepare a dataset; return its id."""
        form = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
        answer = self.http.post("/v1/datasets", files={"file": (name, content)}, data={"name": name, **form})
        assert answer.status_code == 202, answer.text
        run_jobs(self.settings)
        dataset = self.http.get(f"/v1/datasets/{answer.json()['id']}").json()
        assert dataset["status"] == status, dataset["error"]
        return str(dataset["id"])

    def submit(self, path: str = "/v1/jobs", **body: Any) -> str:
        """Queue a job; return its id."""
        answer = self.http.post(path, json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def run(self, path: str = "/v1/jobs", **body: Any) -> str:
        """Queue a job and run it to its good end; return its id."""
        job = self.submit(path, **body)
        run_jobs(self.settings)
        answer = self.http.get(f"/v1/jobs/{job}").json()
        assert answer["status"] == "succeeded", answer["error"]
        return job

    def begin(self, **body: Any) -> str:
        """Queue a job and give it an attempt of two steps, after which its worker ends; return its id."""
        job = self.submit(**body)
        for _ in range(2):
            with self.database.writing() as session:
                lease = leases.claim(session, "test", 60)
            assert lease is not None
            draining = Draining()
            draining.set()
            runner.run(lease, draining, self.settings)
        return job


# ---- rows -----------------------------------------------------------------------------------------------------------


def images() -> bytes:
    """Images of 8 x 8 pixels of three classes, of which every fourth row has no label."""
    data = tiny.images(72)
    labels = [tiny.CLASSES[int(code)] if row % 4 else "" for row, code in enumerate(data.targets[:, 0])]
    file = io.BytesIO()
    np.savez_compressed(file, x=data.inputs[..., 0], y=np.array(labels))
    return file.getvalue()


def table(rows: int = 72) -> bytes:
    """Numbers, a category and a date as CSV; a class and a number to predict."""
    data, lines = tiny.table(rows), ["width,weight,age,colour,day,label,size"]
    for row, (width, weight, age, colour) in enumerate(data.inputs):
        values = (
            f"{width:.3f}",
            f"{weight:.3f}",
            "" if np.isnan(age) else f"{age:.3f}",
            ("red", "blue")[int(colour)],
            f"2024-0{1 + row % 6}-{1 + row % 28:02d}",
            tiny.CLASSES[int(data.targets[row, 0])],
            f"{data.targets[row, 1]:.4f}",
        )
        lines.append(",".join(values))
    return ("\n".join(lines) + "\n").encode()


def series() -> bytes:
    """Two channels over at most 12 steps as a long CSV; a class and a number to predict."""
    data, lines = tiny.series(72), ["id,step,left,right,label,size"]
    for row, values in enumerate(data.inputs):
        label = tiny.CLASSES[int(data.targets[row, 0])]
        for step, (left, right) in enumerate(values):
            if not np.isnan(right):
                shown = "" if np.isnan(left) else f"{left:.3f}"
                lines.append(f"{row},{step},{shown},{right:.3f},{label},{data.targets[row, 1]:.4f}")
    return ("\n".join(lines) + "\n").encode()


def texts() -> bytes:
    """A few words each as JSON Lines; a class and a list of traits to predict."""
    data, lines = tiny.texts(72), []
    for row, text in enumerate(data.inputs):
        label = tiny.CLASSES[int(data.targets[row, 0])]
        traits = [word for word in ("big", "red", "tiny") if word in text]
        lines.append(json.dumps({"text": f"{text} {row}", "label": label, "traits": traits}))
    return "\n".join(lines).encode()


# ---- the folder -----------------------------------------------------------------------------------------------------


def fill(release: Release) -> None:
    """Make datasets, jobs and models."""
    target = {"label": "target", "size": "target"}
    datasets = {
        "image": release.upload("images.npz", images(), unlabelled="keep"),
        "table": release.upload("table.csv", table(), columns=target),
        "series": release.upload("series.csv", series(), columns=target, series={"id": "id", "time": "step"}),
        "text": release.upload("texts.jsonl", texts(), columns={"label": "target", "traits": "target"}),
    }
    release.upload("bad.jsonl", texts() + b'\n{"text": 3, "label": "bar", "traits": []}', status="failed")
    steps = [{"kind": "near_duplicates", "action": "report"}, {"kind": "outliers", "action": "clip"}]
    options = {"options": {"cleaning": steps}}
    answer = release.http.post(f"/v1/datasets/{datasets['table']}/versions", json={"name": "cleaned", **options})
    assert answer.status_code == 202, answer.text
    run_jobs(release.settings)
    _pretrain(release, datasets)
    _fine_tune(release, datasets)
    _compare(release, datasets)
    _leave(release, datasets)


def _pretrain(release: Release, datasets: dict[str, str]) -> None:
    """A pretrained model of every modality, and an imported one."""

    def pretrain(modality: str, name: str, **fields: Any) -> str:
        return release.run(
            kind="pretraining", dataset=datasets[modality], name=name, **{"training": TRAINING, **fields}
        )

    shapes = pretrain("image", "shapes", backbone=CONVNET, method={"kind": "autoencoder"}, metadata={"by": "tests"})
    release.run(f"/v1/jobs/{shapes}/extend", steps=4)
    pretrain("table", "cars", backbone={"kind": "mlp", "hidden": [16, 8]}, method=DENOISING)
    pretrain("series", "waves", backbone={"kind": "gru", "width": 8, "depth": 1}, method={"kind": "masked_steps"})
    characters = {"kind": "text", "tokenizer": "character"}
    pretrain("text", "words", backbone=TRANSFORMER, method={"kind": "next_token"}, preprocessing=characters)
    pretrain(
        "image",
        "views",
        backbone={"kind": "mlp", "hidden": [8]},
        method={"kind": "vicreg", "hidden": 8, "projection": 8},
        augmentations=[{"kind": "noise", "strength": 0.2}, {"kind": "shift"}],
        labels={"kind": "supervised", "target": "label", "rows": 8},
        watch={"target": "label", "keep": "best"},
    )
    answer = send_weights(release.http, headers={"Idempotency-Key": "an-import"}, name="small")
    assert answer.status_code == 201, answer.text


def _fine_tune(release: Release, datasets: dict[str, str]) -> None:
    """A model of every head, and some strategies."""

    def fine_tune(modality: str, name: str, heads: list[dict[str, Any]], **fields: Any) -> str:
        body = {"dataset": datasets[modality], "name": name, "heads": heads, "training": TRAINING, **fields}
        return release.run(kind="fine_tuning", **body)

    fine_tune("image", "shape", [LABEL], model="shapes", strategy=PROBE)
    fine_tune("image", "shape", [LABEL], model="shapes@1", strategy={"kind": "gradual_unfreezing"})
    fine_tune("image", "some-shape", [LABEL], model="views", strategy=PROBE, unlabelled={"use": "always"})
    report = {"rounds": 2, "folds": 2, "measured_on": "folds", "budget_seconds": 3000}
    fine_tune("table", "car", [SIZE], model="cars", strategy=PROBE, transfer_report=report)
    fine_tune("table", "car", [SIZE], model="cars")  # the service chooses the strategy
    both = {**SIZE, "name": "both", "target": ["size"], "loss": "gaussian", "hidden": [4]}
    network = {"backbone": {"kind": "mlp", "hidden": [8]}, "augmentations": [{"kind": "noise"}]}
    fine_tune("table", "fresh-car", [LABEL, both], **network, balancing={"kind": "pcgrad"})
    wider = {"kind": "mlp", "hidden": [16, 12]}
    fine_tune("table", "wider-car", [LABEL], model="cars", strategy={"kind": "full"}, loading="partial", backbone=wider)
    fine_tune("series", "wave", [LABEL, SIZE], model="waves", strategy={"kind": "layerwise_decay"})
    traits = {"kind": "multi_label", "target": "traits"}
    fine_tune("text", "traits", [traits], model="words", strategy={"kind": "lora", "rank": 2})
    fine_tune("text", "writer", [{"kind": "generator"}], model="words", strategy={"kind": "full"})
    answer = release.http.put("/v1/models/shape/aliases/best", json={"model": "shape@1"})
    assert answer.status_code == 200, answer.text


def _compare(release: Release, datasets: dict[str, str]) -> None:
    """Jobs that compare: a sweep, an evaluation, a recommendation and an estimate."""
    base = {"kind": "fine_tuning", "dataset": datasets["table"], "heads": [LABEL], "model": "cars"}
    space = {"training.optimizer.lr": {"kind": "log_uniform", "low": 1e-3, "high": 1e-1}}
    base |= {"strategy": {"kind": "full"}, "training": TRAINING}
    release.run(kind="sweep", name="swept", base=base, space=space, trials=2)
    release.run(kind="evaluation", model="shape@1", baseline="shape@2", dataset=datasets["image"])
    release.run("/v1/recommendations", dataset=datasets["table"], target="size", models=["cars", "shapes"], rows=50)
    backbone = {"kind": "mlp", "hidden": [8]}
    release.run("/v1/jobs/estimate", kind="pretraining", dataset=datasets["table"], backbone=backbone)


def _leave(release: Release, datasets: dict[str, str]) -> None:
    """A failed job, one that has ended undisturbed, and the same one begun and left: cancelled, paused, queued."""
    backbone = {"kind": "mlp", "hidden": [8]}
    body = {"kind": "pretraining", "dataset": datasets["table"], "backbone": backbone, "method": DENOISING}
    wild = {**TRAINING, "optimizer": {"kind": "sgd", "lr": 100.0}, "steps": 60}
    release.submit(**{**body, "method": {"kind": "autoencoder"}}, name="wild", training=wild)
    run_jobs(release.settings)
    release.run(**body, name="undisturbed", training=TRAINING)
    for name, act in (("cancelled", "cancel"), ("paused", "pause"), ("queued", None)):
        job = release.begin(**body, name=name, training=TRAINING)
        if act:
            release.http.post(f"/v1/jobs/{job}/{act}").raise_for_status()


# ---- what is answered -----------------------------------------------------------------------------------------------


LISTS = ("/v1/datasets?limit=200", "/v1/jobs?limit=200", "/v1/models?limit=200")


def urls(http: Http) -> list[str]:
    """Everything that can be looked at: each dataset, job, curve and model."""
    datasets, jobs, models = (ids(http, url) for url in LISTS)
    everything = []
    for dataset in datasets:
        everything += [f"/v1/datasets/{dataset}{rest}" for rest in ("", "/report", "/rows?limit=2", "/leaks")]
    for job in jobs:
        rests = ("", "/events?limit=1000", "/attempts", "/metrics", "/checkpoints", "/curves")
        everything += [f"/v1/jobs/{job}{rest}" for rest in rests]
        everything += [curve["links"]["json"] for curve in http.get(everything[-1]).json()["data"]]
    for model in models:
        everything += [f"/v1/models/{model}{rest}" for rest in ("", "/lineage")]
    return [url for url in everything if http.get(url).status_code == 200]  # a failed dataset has no report


def ids(http: Http, url: str) -> list[str]:
    """The ids that a list holds."""
    return [str(item["id"]) for item in http.get(url).json()["data"]]


def questions(http: Http) -> list[tuple[str, dict[str, Any]]]:
    """What every model is asked: URL and body."""
    asked = []
    for model in http.get("/v1/models?limit=200&view=full").json()["data"]:
        kinds, inputs = {head["kind"] for head in model["heads"]}, FORMS[model["modality"]]
        asked.append((f"/v1/models/{model['id']}/embeddings", {"inputs": inputs}))
        if kinds:
            asked.append((f"/v1/models/{model['id']}/predictions", {"inputs": inputs}))
        if "generator" in kinds:
            asked.append((f"/v1/models/{model['id']}/generations", {"inputs": inputs, "max_tokens": 8}))
    return [*asked, ("/v1/models/shape@best/predictions", {"inputs": FORMS["image"]})]


def answers(http: Http) -> dict[str, Any]:
    """What the service answers about everything that it holds."""
    predicted = []
    for url, body in questions(http):
        answer = http.post(url, json=body)
        assert answer.status_code == 200, answer.text
        predicted.append({"url": url, "body": body, "answer": answer.json()})
    looked_at = {url: http.get(url).json() for url in urls(http)}
    return {"lists": {url: ids(http, url) for url in LISTS}, "get": looked_at, "post": predicted}


def kept_files(settings: Settings) -> list[str]:
    """The names of the files of the store that garbage collection keeps, however old they are."""
    environment = {**os.environ, "GRAFTWORK_DATA": str(settings.data_folder), "GRAFTWORK_GC_GRACE_SECONDS": "0"}
    command = [sys.executable, "-m", "app.cli.main", "gc", "--dry-run", "--json"]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    return sorted(file["name"] for file in json.loads(printed) if (file["place"], file["action"]) == ("store", "keep"))


# ---- the files ------------------------------------------------------------------------------------------------------


def pack(folder: Path, recorded: dict[str, Any], target: Path) -> None:
    """Write database and artifacts, which are all that a data folder needs, and the answers."""
    with sqlite.connect(folder / "graftwork.db", isolation_level=None) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
    (folder / ANSWERS).write_text(json.dumps(recorded, indent=1), encoding="utf-8")
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder / ANSWERS, ANSWERS, filter=_anonymous)
        for path in (folder / "graftwork.db", *sorted((folder / "artifacts").rglob("*"))):
            if path.is_file():
                archive.add(path, Path(DATA) / path.relative_to(folder), filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's file, which all may read and its owner may write."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def main(target: Path) -> None:
    """Make the data folder and write the archive."""
    with tempfile.TemporaryDirectory() as scratch:
        release = Release(Path(scratch) / "data")
        fill(release)
        recorded = {**answers(release.http), "kept": kept_files(release.settings)}
        release.close()
        pack(release.settings.data_folder, recorded, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
