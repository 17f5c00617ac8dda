"""The commands and the Python of docs/predicting.md, run against models that learned from the files of docs/data.md."""

import json
import re
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from app.settings import Settings
from graftwork import Graftwork
from tests.support.http import Http
from tests.support.live import served
from tests.support.servers import HANGS
from tests.support.work import run_jobs
from tests.unit.datasets.conftest import picture, zipped
from tests.unit.datasets.test_data_page import EXAMPLES, OPTION

pytestmark = pytest.mark.one_database("sqlite")  # no database answers a prediction

PAGE = (Path(__file__).parents[3] / "docs" / "predicting.md").read_text(encoding="utf-8")
PROTOCOLS = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [
    line
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[1:]
    for line in block.splitlines()
]
MODELS = {
    "churn": ("customers", "churn"),
    "reviews": ("reviews", "label"),
    "heartbeats": ("heartbeats", "label"),
    "pets": ("pets", "label"),
}
TRAINING = {"epochs": 1, "batch_size": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the page names."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "customers.csv").write_text(EXAMPLES["customers"][1], encoding="utf-8")
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(picture(number))
    return folder


@pytest.fixture
def trained(client: Http, settings: Settings) -> None:
    """Models of every modality, each from an example of the other page."""
    for model, (example, target) in MODELS.items():
        kind, content, reading = EXAMPLES[example]
        file = (
            zipped({name: picture(k) for k, name in enumerate(content.split())}) if kind == "zip" else content.encode()
        )
        fields = {"name": example, **dict(OPTION.findall(reading))}
        dataset = client.post("/v1/datasets", files={"file": (example, file)}, data=fields).json()["id"]
        run_jobs(settings)
        body = {"kind": "fine_tuning", "name": model, "dataset": dataset, "training": TRAINING}
        answer = client.post("/v1/jobs", json={**body, "heads": [{"kind": "classifier", "target": target}]})
        assert answer.status_code == 202, answer.text
        run_jobs(settings)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    """The application on a port of its own."""
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.usefixtures("trained")
def test_the_page_on_predicting(
    url: str, key: str, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    answers, jobs = [], []
    for command in COMMANDS:
        answer = ask(command, url, key, *jobs)
        if answer is not None and answer.get("object") == "job":
            jobs.append(answer["id"])
            run_jobs(settings)
        elif answer is not None:
            answers.append(answer)
    of_models = [model for answer in answers[:-1] for model in answer.get("models", [answer])]
    assert all(len(model["predictions"]) >= 1 for model in of_models)
    assert np.load("features.npy").shape[0] == 2
    rows = EXAMPLES["customers"][1].strip().splitlines()[1:]
    assert len((folder / "results.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(rows)
    assert (answers[-1]["status"], answers[-1]["errors"][0]["loc"][-1]) == (422, "city")
    with Graftwork(url, key) as graftwork, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the service: two files of the page hold keys that are ignored
        for line in LINES:
            assert eval(line, {"graftwork": graftwork}), line  # noqa: S307 - the page of this repository
    for block in re.findall(r"^```python\n(.*?)^```", PROTOCOLS, re.MULTILINE | re.DOTALL):
        exec(block.replace("127.0.0.1:8000", url.removeprefix("http://")), {"key": key})  # noqa: S102 - the same


def ask(command: str, url: str, key: str, job: str = "") -> Any:
    """Run a command; what it prints is JSON, or nothing."""
    environment = {"PATH": "/usr/bin:/bin", "URL": url, "AUTH": f"Authorization: Bearer {key}", "JOB": job}
    done = subprocess.run(
        ["/bin/bash", "-ec", command], env=environment, capture_output=True, check=True, timeout=HANGS
    )
    return json.loads(done.stdout or "null")
