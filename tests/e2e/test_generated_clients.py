"""openapi-python-client makes a client out of our OpenAPI document, of every route and without a warning."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.db.tables import DatasetRow
from app.dependencies import Services
from app.settings import Settings
from tests.support.live import served
from tests.support.models import add_model
from tests.support.programs import program
from tests.support.servers import HANGS, wait_until
from tests.support.work import run_jobs

# What somebody does with it: upload a file, wait for the dataset, predict.
USE = """
import io, sys, time
from generated import AuthenticatedClient
from generated.api.datasets import create_dataset, get_dataset, list_datasets
from generated.api.predictions import create_predictions
from generated.models import CreateDatasetFilesBody, PredictionInputs
from generated.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True)
rows = "".join(f"{i},{i % 7}\\n" for i in range(50))
file = File(payload=io.BytesIO(("a,b\\n" + rows).encode()), file_name="a.csv", mime_type="text/csv")
body = CreateDatasetFilesBody(file=file, name="numbers", missing_values=["-1", "n/a"])
dataset = create_dataset.sync(client=client, body=body)
while dataset.status == "preparing":
    time.sleep(0.1)
    dataset = get_dataset.sync(dataset.id, client=client)
(listed,) = list_datasets.sync(client=client).data
answer = create_predictions.sync("sizes", client=client, body=PredictionInputs(inputs=[[1.0, 2.0, 3.0]]))
print(dataset.status, listed.name, len(answer.predictions))
"""


@pytest.fixture
def generated(app: FastAPI, tmp_path: Path) -> Path:
    """The folder with the package `generated`, which has a function for every route."""
    bin_folder = program("openapi-python-client")
    (tmp_path / "openapi.json").write_text(json.dumps(app.openapi()))
    command = [bin_folder / "openapi-python-client", "generate", "--path", "openapi.json", "--meta", "none"]
    done = subprocess.run(
        [*command, "--output-path", "generated"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},  # it calls ruff
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).split() == ["Generating", "generated"]  # any more is a warning
    names = {operation["operationId"] for methods in app.openapi()["paths"].values() for operation in methods.values()}
    assert {path.stem for path in tmp_path.glob("generated/api/*/*.py")} - {"__init__"} == names
    return tmp_path / "generated"


def test_it_uploads_and_predicts(
    app: FastAPI, settings: Settings, services: Services, project_id: str, key: str, generated: Path
) -> None:
    add_model(services, project_id, "sizes")
    python = program("openapi-python-client") / "python"
    with served(app) as port:
        command = [python, "-c", USE, f"http://127.0.0.1:{port}", key]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        user = subprocess.Popen(command, cwd=generated.parent, env={"PYTHONPATH": str(generated.parent)}, **pipes)
        wait_until(lambda: run_jobs(settings) or user.poll() is not None, "the dataset is prepared")
        output, _ = user.communicate(timeout=HANGS)
    assert output.split() == ["ready", "numbers", "1"], output
    with services.database.reading() as session:
        (options,) = session.scalars(select(DatasetRow.options))
    assert options["missing_values"] == ["-1", "n/a"]
