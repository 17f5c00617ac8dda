"""`graftwork jobs tensorboard` and `graftwork jobs mlflow`, read back by TensorBoard and MLflow themselves."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.http import Http
from tests.support.mlflow import Mlflow, tracking_server
from tests.support.tracked import measured, train

from .conftest import Run

pytestmark = [
    pytest.mark.one_database("sqlite"),  # what is written is tested on both elsewhere
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of TensorBoard
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of a service that may talk to this machine."""
    allowed = {"webhook_http": True, "webhook_networks": ["127.0.0.0/8"]}
    return Settings(**settings.model_dump() | allowed)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of MLflow's own variables is set."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as mlflow:
        yield mlflow


def test_an_event_file_is_where_tensorboard_looks(run: Run, client: Http, settings: Settings, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.plugin_event_multiplexer")
    job = train(client, settings)
    for name, out in (("folder", tmp_path / "logs" / "folder"), ("file", tmp_path / "logs" / "file" / "a.tfevents")):
        (tmp_path / "logs" / name).mkdir(parents=True)
        file = Path(run("jobs", "tensorboard", "boxes", "--out", out, "--quiet").stdout.strip())
        assert file.parent == tmp_path / "logs" / name
    runs = events.EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "logs")).Reload()
    assert runs.Runs().keys() == {"folder", "file"}
    for name in ("folder", "file"):
        points = {point.step: point.tensor_proto.float_val[0] for point in runs.Tensors(name, "train/loss")}
        assert points == pytest.approx(
            {step: value for (curve, step), value in measured(client, job).items() if curve == "train/loss"}
        )
    refused = run("jobs", "tensorboard", "boxes", "--out", tmp_path / "curves.bin", code=2).stderr
    assert f"events.out.tfevents.{job['id']}" in refused


def test_a_job_becomes_a_run_of_mlflow(run: Run, client: Http, settings: Settings, mlflow: Mlflow) -> None:
    job = train(client, settings)
    shown = run("jobs", "mlflow", "boxes", "--server", mlflow.url, "--experiment", "typed").stdout
    (found,) = mlflow.runs("typed")
    assert found["tags"]["graftwork.job"] == job["id"]
    assert re.search(rf"^url +{re.escape(mlflow.url)}/#/experiments/\d+/runs/{found['id']}$", shown, re.MULTILINE)
    again = json.loads(
        run("jobs", "mlflow", job["id"], "--server", mlflow.url, "--experiment", "typed", "--json").stdout
    )
    assert (again["created"], again["run"]) == (False, found["id"])
    assert run("jobs", "mlflow", job["id"], "--server", mlflow.url, "--experiment", "typed", "--quiet").stdout == (
        f"{found['id']}\n"
    )


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({}, None),
        ({"TOKEN": "a-token"}, "Bearer a-token"),
        ({"TOKEN": "a-token", "USERNAME": "ann", "PASSWORD": "pass"}, "Basic YW5uOnBhc3M="),
    ],
)
def test_a_server_that_is_named_gets_the_credentials_of_mlflows_variables(
    run: Run,
    client: Http,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    header: str | None,
) -> None:
    train(client, settings)
    for name, value in variables.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    asked: list[str | None] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["authorization"])
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        refused = run("jobs", "mlflow", "boxes", "--server", url, code=1).stderr
        server.shutdown()
    assert "mlflow_refused" in refused
    assert asked == [header]
    own = run("jobs", "mlflow", "boxes", code=1).stderr
    assert "GRAFTWORK_MLFLOW_URL" in own, "the credentials are of a server that --server names, and of no other"
