"""Answers that are much larger than what was asked: their memory is reserved, and what may not be is refused."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.dependencies import Services
from app.settings import Settings
from tests.support.http import Http
from tests.support.models import add_bundle, make_bundle
from tests.support.problems import check_problem

CLASSES = tuple(f"class {number:04}" for number in range(1000))
FEW, MANY = 300, 2000  # rows: JSON of some 6 and 40 MB; a project may hold 12 MiB here
URL = "/v1/models/wide"


@pytest.fixture
def settings(data_folder: Path, migrated: Path) -> Settings:
    """SQLite alone: no database writes answers."""
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    return Settings(data=data_folder, max_json_bytes=1 << 20)


@pytest.fixture(autouse=True)
def model(services: Services, project_id: str) -> None:
    add_bundle(services, project_id, "wide", make_bundle(classes=CLASSES))


def rows(count: int) -> list[list[float]]:
    return np.random.default_rng(0).normal(size=(count, 3)).round(3).tolist()


def tensors(count: int, *, binary: bool) -> dict[str, Any]:
    tensor = {"name": "inputs", "shape": [count, 3], "datatype": "FP64", "data": rows(count)}
    outputs = [{"name": "size.probabilities", "parameters": {"binary_data": binary}}]
    return {"inputs": [tensor], "outputs": outputs}


REQUESTS: dict[str, Any] = {
    "predictions": lambda count: (f"{URL}/predictions", {"inputs": rows(count)}, {}),
    "exact": lambda count: (f"{URL}/predictions?digits=17", {"inputs": rows(count // 2)}, {}),
    "joint": lambda count: ("/v1/predictions", {"models": ["wide", "wide@1"], "inputs": rows(count // 2)}, {}),
    "array": lambda count: (f"{URL}/predictions", {"inputs": rows(count)}, {"Accept": "application/x-npy"}),
    "tensors": lambda count: ("/v2/models/wide/infer", tensors(count // 4, binary=False), {}),
    "bytes": lambda count: ("/v2/models/wide/infer", tensors(count, binary=True), {}),
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_answers_take_reserved_memory_or_are_refused(client: Http, kind: str) -> None:
    memory = client.app.state.services.shares.memory
    held: list[int] = []
    take = memory.take
    memory.take = lambda project, count: take(project, count) and not held.append(memory.held)
    url, body, headers = REQUESTS[kind](FEW)
    answer = client.post(url, json=body, headers=headers)
    assert answer.status_code == 200, answer.text[:300]
    assert max(held) >= len(answer.content) * (1 if kind != "bytes" else 2)
    assert memory.held == 0
    url, body, headers = REQUESTS[kind](MANY)
    refused = client.post(url, json=body, headers=headers)
    if not url.startswith("/v2"):
        check_problem(refused, 413, "answer_too_large")
    assert (refused.status_code, "send fewer rows" in refused.text) == (413, True)
    assert memory.held == 0


def test_what_is_asked_for_less_of_is_answered(client: Http) -> None:
    """The classes themselves cost nothing where only the most probable are shown."""
    answer = client.post(f"{URL}/predictions?top_k=2", json={"inputs": rows(MANY)})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == MANY
    embeddings = client.post(f"{URL}/embeddings", json={"inputs": rows(MANY)})
    assert len(embeddings.json()["embeddings"]) == MANY


def test_a_large_answer_is_that_of_its_rows(client: Http) -> None:
    asked = rows(FEW)
    whole = client.post(f"{URL}/predictions", json={"inputs": asked}).json()
    parts = [client.post(f"{URL}/predictions?unknown=warn", json={"inputs": asked[start : start + 20]}).json()
             for start in range(0, FEW, 20)]  # fmt: skip
    assert whole["predictions"] == [row for part in parts for row in part["predictions"]]
    array = client.post(f"{URL}/predictions", json={"inputs": asked}, headers={"Accept": "application/x-npy"})
    shown = [[row["size"]["probabilities"][name] for name in CLASSES] for row in whole["predictions"]]
    assert np.allclose(np.load(io.BytesIO(array.content)), shown, atol=1e-6)
