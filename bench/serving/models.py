"""The models that every server answers with: Graftwork trains them, and peers get their weights."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select

from app.artifacts import link_files, open_store
from app.db.session import Database
from app.db.tables import ModelRow
from app.kit.process import free_port
from app.ml.models.bundle import Bundle, read_bundle
from app.ml.models.predictor import Predictor
from app.settings import Settings
from bench.service import KEY, start, wait_ready
from graftwork import Graftwork

BACKBONE: dict[str, Any] = {"kind": "mlp", "hidden": [256, 128]}
ROWS = 3000
_HEADS = [{"kind": "classifier", "target": "label"}]


def train(client: Graftwork, name: str, arrays: dict[str, NDArray[Any]], modality: str) -> None:
    """Train a model on made-up rows: only what it costs counts."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    dataset = client.datasets.create(buffer.getvalue(), filename="rows.npz", name=name, modality=modality)
    _fine_tune(client, name, dataset["id"], BACKBONE)


def train_text(client: Graftwork) -> None:
    """Train a small GRU on made-up texts of 20 words."""
    random = np.random.default_rng(0)
    lines = ["text,label", *(f"{text(random)},{'ab'[row % 2]}" for row in range(ROWS))]
    dataset = client.datasets.create("\n".join(lines).encode(), filename="texts.csv", name="text", modality="text")
    _fine_tune(client, "text", dataset["id"], {"kind": "gru", "width": 64})


def _fine_tune(client: Graftwork, name: str, dataset: str, backbone: dict[str, Any]) -> None:
    options = {"model": None, "backbone": backbone, "heads": _HEADS, "strategy": {"kind": "full"}}
    job = client.jobs.create(kind="fine_tuning", name=name, dataset=dataset, training={"epochs": 1}, **options)
    client.jobs.wait(job["id"], timeout=600)


def text(random: np.random.Generator) -> str:
    """Return 20 words out of 2,000."""
    return " ".join(f"w{number}" for number in random.integers(0, 2000, 20))


@contextmanager
def trained(folder: Path) -> Iterator[tuple[Graftwork, int]]:
    """Train a model of a table; yield a client of the service, and the id of its process."""
    url = f"http://127.0.0.1:{free_port()}"
    process = start(folder, url, threads=1)
    try:
        wait_ready(url, process)
        table = np.random.default_rng(0).random((ROWS, 784), dtype=np.float32)
        with Graftwork(url, KEY) as client:
            train(client, "table", {"x": table, "y": table[:, :10].argmax(1)}, "table")
            yield client, process.pid
    finally:
        process.terminate()
        process.wait()


def copy_model(data: Path, name: str, folder: Path) -> Path:
    """Copy the files of a model out of the service's data folder."""
    settings = Settings(data=data)
    database = Database(settings.sql_url)
    with database.reading() as session:
        files = session.scalars(select(ModelRow).where(ModelRow.name == name)).one().files
    database.close()
    folder.mkdir()
    return link_files(open_store(settings), files, folder)


def expected(folder: Path, inputs: list[Any]) -> NDArray[np.float32]:
    """Return the probabilities (N, K) of a model whose files are in a folder."""
    predictor = Predictor(read_bundle(folder))
    answers = predictor.predict(predictor.decode(inputs))
    return np.array([list(answer["label"]["probabilities"].values()) for answer in answers], np.float32)


def write_weights(folder: Path, path: Path, zero: object, one: object, step: float) -> None:
    """Write the weights of a model so that they take rows as they come.

    Its first layer takes in the preprocessing, which is affine by column: two rows tell how, whose values are 0 and
    `step`. Its last layer takes in the temperature.
    """
    bundle = read_bundle(folder)
    low, high = Predictor(bundle).bundle.manifest.modality.encode(_rows(bundle, [zero, one])).reshape(2, -1).double()
    scale = (high - low) / step
    (head,) = bundle.heads.values()
    modules = [*bundle.backbone.modules(), *head.modules()]
    layers = [(each.weight.double(), each.bias.double()) for each in modules if isinstance(each, torch.nn.Linear)]
    first, last = layers[0], layers[-1]
    temperature = head.temperature
    assert isinstance(temperature, torch.Tensor)
    layers[0] = first[0] * scale, first[1] + first[0] @ low
    layers[-1] = last[0] / temperature, last[1] / temperature
    arrays = {}
    for number, (weight, bias) in enumerate(layers):
        arrays[f"weight{number}"] = weight.detach().float().numpy()
        arrays[f"bias{number}"] = bias.detach().float().numpy()
    np.savez(path, allow_pickle=False, **arrays)


def _rows(bundle: Bundle, inputs: list[object]) -> Any:
    return bundle.manifest.modality.decode(inputs, None)
