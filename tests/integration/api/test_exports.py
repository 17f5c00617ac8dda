"""Exports over HTTP: a table in both forms, used without the service, and imported again."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from app.artifacts import blob_key, fetch_blob
from app.db.tables import ModelRow
from app.dependencies import Services
from app.ml.configs.learning import FineTuningConfig
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.settings import Settings
from tests.support import tiny
from tests.support.http import Http
from tests.support.models import add_bundle, add_model
from tests.support.problems import check_problem
from tests.support.work import run_jobs
from worker.training.run import prepare

pytestmark = pytest.mark.one_database

HEADS = [
    {"kind": "classifier", "target": "label"},
    {"kind": "regressor", "target": "size"},
    {"kind": "multi_label", "target": ["round", "large"]},
]
ROWS = [[110.5, 0.5, None, 0], [120, 1, 0.5, 1], [131, 0.25, -0.5, None]]  # as stored: the code of the colour
INPUTS = [[*row[:3], {0: "red", 1: "blue", None: "green"}[row[3]]] for row in ROWS]  # type: ignore[index]
SCRIPT = """
import json, sys
folder, tree = sys.argv[1:]
sys.path[:] = [folder, *(path for path in sys.path if path and not path.startswith(tree + "/app") and path != tree)]
import importlib.util
assert importlib.util.find_spec("app") is None
from load import load
rows = [[float("nan") if value is None else value for value in row] for row in json.load(sys.stdin)]
import torch
answers = load(folder)(torch.tensor(rows, dtype=torch.float64))
assert not {name for name in sys.modules if name.partition(".")[0] in {"app", "worker", "pydantic"}}
print(json.dumps({name: tensor.tolist() for name, tensor in answers.items()}))
"""


def bundle() -> Bundle:
    data = tiny.table()
    config = FineTuningConfig.model_validate(
        {"backbone": {"kind": "mlp"}, "heads": HEADS, "strategy": {"kind": "full"}, "training": {"epochs": 1}}
    )
    return prepare(resolve_fine_tuning(config, data.spec, None).config, data).bundle()


@pytest.fixture
def model(services: Services, project_id: str) -> ModelRow:
    return add_bundle(services, project_id, "sizes", bundle())


def export(client: Http, settings: Settings, services: Services, form: str) -> tuple[dict[str, Any], Path]:
    """Return the job of an export, and its file."""
    answer = client.post("/v1/jobs", json={"kind": "export", "model": "sizes@1", "format": form})
    assert answer.status_code == 202, answer.text
    run_jobs(settings)
    job = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["status"] == "succeeded", job["error"]
    (file,) = client.get(job["links"]["files"]).json()["data"]
    content = client.get(file["link"]).content
    assert hashlib.sha256(content).hexdigest() == file["sha256"]
    assert services.artifacts.fetch(blob_key(file["sha256"])).read_bytes() == content
    return job, fetch_blob(services.artifacts, file["sha256"])


def check_answers(answers: dict[str, Any], predictions: list[dict[str, Any]]) -> None:
    """The tensors of an export say what the predictions say."""
    for row, prediction in enumerate(predictions):
        label, size, both = prediction["label"], prediction["size"], prediction["multi_label"]
        assert answers["label.probabilities"][row] == pytest.approx(list(label["probabilities"].values()), abs=1e-6)
        ends = [answers[f"size.{name}"][row][0] for name in ("value", "low", "high")]
        assert ends == pytest.approx([size["value"], *size["interval"]], abs=1e-6)
        assert answers["multi_label.probabilities"][row] == pytest.approx(
            list(both["probabilities"].values()), abs=1e-6
        )


def test_a_package_needs_no_service_and_comes_back(
    client: Http, settings: Settings, services: Services, model: ModelRow, tmp_path: Path
) -> None:
    job, file = export(client, settings, services, "safetensors")
    assert job["metrics"]["golden_rows"] == 8
    assert job["metrics"]["largest_difference"] < 1e-5
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder := tmp_path / "package")
    assert {*model.files, "program.json", "program.safetensors", "load.py"} == {path.name for path in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(folder), str(Path(__file__).parents[3])],
        input=json.dumps(ROWS),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    body = {"inputs": INPUTS}
    before = client.post("/v1/models/sizes/predictions", json=body).json()["predictions"]
    check_answers(json.loads(done.stdout), before)

    fields = {"name": "back", "architecture": "graftwork"}
    answer = client.post("/v1/models", files={"file": ("model.zip", file.read_bytes())}, data=fields)
    assert answer.status_code == 201, answer.text
    assert {f["name"]: f["sha256"] for f in answer.json()["files"]} == {n: b["sha256"] for n, b in model.files.items()}
    assert client.post("/v1/models/back/predictions", json=body).json()["predictions"] == before
    assert answer.json()["heads"] == client.get("/v1/models/sizes").json()["heads"]


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_onnx_answers_as_the_service(client: Http, settings: Settings, services: Services) -> None:
    job, file = export(client, settings, services, "onnx")
    proto = onnx.load(file, load_external_data=False)
    onnx.checker.check_model(proto)
    (metadata,) = (json.loads(entry.value) for entry in proto.metadata_props if entry.key == "graftwork")
    assert metadata["model"] == {"id": job["config"]["model"], "name": "sizes", "version": 1}
    assert metadata["heads"][0]["classes"] == list(tiny.CLASSES)
    assert [column["name"] for column in metadata["signature"]["columns"]] == ["width", "weight", "age", "colour"]
    assert metadata["signature"]["columns"][3]["categories"] == ["red", "blue"]
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = np.array([[np.nan if value is None else value for value in row] for row in ROWS])
    for block in (rows, rows[:1]):
        answers = dict(zip(names, session.run(None, {"rows": block}), strict=True))
        predictions = client.post("/v1/models/sizes/predictions", json={"inputs": INPUTS[: len(block)]}).json()
        check_answers(answers, predictions["predictions"])


def test_a_package_that_was_tampered_with_is_refused(
    client: Http, services: Services, project_id: str, tmp_path: Path
) -> None:
    row = add_model(services, project_id, "sizes")
    files = {name: fetch_blob(services.artifacts, blob["sha256"]).read_bytes() for name, blob in row.files.items()}
    manifest = json.loads(files["manifest.json"])
    changes: dict[str, dict[str, bytes | None]] = {
        "other weights": {"heads.safetensors": files["heads.safetensors"][:-1] + b"\1"},
        "no weights": {"heads.safetensors": None},
        "another kind": {"manifest.json": json.dumps({**manifest, "backbone": {"kind": "pickle"}}).encode()},
        "another file": {
            "manifest.json": json.dumps({**manifest, "files": {**manifest["files"], "../x": "0" * 64}}).encode()
        },
    }
    for name, change in changes.items():
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file, content in {**files, **change}.items():
                if content is not None:
                    archive.writestr(file, content)
        fields = {"name": "back", "architecture": "graftwork"}
        answer = client.post("/v1/models", files={"file": path.read_bytes()}, data=fields)
        check_problem(answer, 422, "weights_do_not_fit")
    lone = client.post(
        "/v1/models",
        files={"file": files["backbone.safetensors"]},
        data={"name": "back", "architecture": "graftwork"},
    )
    assert lone.status_code in {415, 422}
    assert client.get("/v1/models?name=back").json()["data"] == []
