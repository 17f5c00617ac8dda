"""Jobs in a real MLflow tracking server, read back by its real client."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from app.db.session import Database
from app.db.tables import JobRow
from app.kit.process import free_port
from app.settings import Settings
from app.tracking import mlflow_server, repository, service
from app.tracking.writer import MlflowWriter
from tests.conftest import MakeKey
from tests.support.http import Http
from tests.support.mlflow import Mlflow, tracking_server
from tests.support.problems import check_problem
from tests.support.tracked import measured, train
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as mlflow:
        yield mlflow


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of a service that may talk to this machine."""
    allowed = {"webhook_http": True, "webhook_networks": ["127.0.0.0/8"]}
    return Settings(**settings.model_dump(exclude=set(allowed)), **allowed)


def write(client: Http, job: Any, **body: Any) -> Any:
    answer = client.post(f"/v1/jobs/{job['id']}/mlflow", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def points(run: Any) -> dict[tuple[str, int], float]:
    """The curves of a run, each point once."""
    listed = [(key, step, value) for key, history in run["metrics"].items() for step, value, _ in history]
    assert len({(key, step) for key, step, _ in listed}) == len(listed), "a point was sent twice"
    return {(key, step): value for key, step, value in listed if not key.startswith("result/")}


def test_a_job_is_a_run_with_curves_parameters_and_lineage(client: Http, settings: Settings, mlflow: Mlflow) -> None:
    job = train(client, settings)
    answer = write(client, job, url=mlflow.url, experiment="whole")
    assert answer["created"]
    (run,) = mlflow.runs("whole")
    assert answer["run"] == run["id"]
    assert answer["url"] == f"{mlflow.url}/#/experiments/{answer['experiment']}/runs/{run['id']}"
    assert (run["name"], run["status"]) == ("boxes", "FINISHED")
    assert run["start"] < run["end"]
    expected = measured(client, job)
    assert len(expected) > 5
    assert points(run) == pytest.approx(expected, rel=1e-9)
    assert answer["metrics"] == sum(map(len, run["metrics"].values()))
    assert run["params"]["training.epochs"] == "3"
    assert run["params"]["backbone.kind"] == "mlp"
    tags, (model,) = run["tags"], job["outputs"]
    assert tags["graftwork.job"] == job["id"]
    assert tags["graftwork.dataset"] == job["dataset"]
    assert tags["graftwork.models"] == "boxes@1"
    assert tags["graftwork.models.links"] == f"/v1/models/{model['model']}"
    assert tags["graftwork.metadata.who"] == "tests"
    ((name, digest, source),) = run["datasets"]
    assert (name, json.loads(source)["dataset"]) == ("boxes", job["dataset"])
    assert json.loads(source)["sha256"].startswith(digest)


def test_the_lineage_of_a_fine_tuning_names_what_it_started_from(
    client: Http, settings: Settings, mlflow: Mlflow
) -> None:
    parent = train(client, settings)
    request = {"kind": "fine_tuning", "dataset": parent["dataset"], "model": "boxes", "name": "kinds"}
    request |= {"strategy": {"kind": "linear_probe"}, "heads": [{"kind": "classifier", "target": "kind"}]}
    answer = client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    run_jobs(settings)
    write(client, job, url=mlflow.url, experiment="lineage")
    (run,) = mlflow.runs("lineage")
    assert run["tags"]["graftwork.parent"] == parent["outputs"][0]["model"]
    assert (run["tags"]["graftwork.ancestors"], run["tags"]["graftwork.models"]) == ("boxes@1", "kinds@1")
    results = {key: history for key, history in run["metrics"].items() if key.startswith("result/")}
    accuracies = [history[0][1] for key, history in results.items() if "accuracy" in key]
    assert accuracies
    assert all(0 <= value <= 1 for value in accuracies)


def test_a_repetition_adds_nothing(client: Http, settings: Settings, mlflow: Mlflow) -> None:
    job = train(client, settings)
    first = write(client, job, url=mlflow.url, experiment="again")
    before = mlflow.runs("again")
    second = write(client, job, url=mlflow.url, experiment="again")
    assert (second["created"], second["run"], second["parameters"]) == (False, first["run"], 0)
    assert second["metrics"] < first["metrics"], "what was sent is not sent again"
    assert mlflow.runs("again") == before
    assert second["warnings"] == []


def test_what_was_cut_off_goes_on_where_it_stopped(
    client: Http, settings: Settings, mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.tracking import mlflow_run  # noqa: PLC0415 - alone here

    job = train(client, settings)
    monkeypatch.setattr(mlflow_run, "_MAX_METRICS", 4)
    batches, ask = [], mlflow_server.TrackingServer.ask

    def failing(server: Any, method: str, path: str, body: Any) -> Any:
        batches.extend(["metrics"] if "metrics" in body else [])
        if len(batches) == 3:
            msg = "the connection ended"
            raise mlflow_server.TrackingError(msg, again=True)
        return ask(server, method, path, body)

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_server.TrackingServer, "ask", failing)
        check_problem(client.post(f"/v1/jobs/{job['id']}/mlflow", json={"url": mlflow.url, "experiment": "cut"}), 503)
    (run,) = mlflow.runs("cut")
    assert run["status"] == "RUNNING"
    assert 0 < len(points(run)) < len(measured(client, job))
    write(client, job, url=mlflow.url, experiment="cut")
    (run,) = mlflow.runs("cut")
    assert run["status"] == "FINISHED"
    assert points(run) == pytest.approx(measured(client, job), rel=1e-9)


def test_names_and_values_that_mlflow_does_not_take_are_changed_and_said(
    client: Http, settings: Settings, mlflow: Mlflow, database: Database
) -> None:
    job = train(client, settings)
    config = {"long": "x" * 7000, "a@b": 1, "a#b": 2, "..": 3, "n" * 400: 4, "empty": "", "größe": None}
    metrics = {"a@b": 1.5, "a#b": 2.5, "sub/../x": 3.5, "n" * 300: 4.5}
    with database.writing() as session:
        row = session.get_one(JobRow, job["id"])
        row.config, row.metrics = {**row.config, **config}, metrics
    answer = write(client, job, url=mlflow.url, experiment="odd")
    (run,) = mlflow.runs("odd")
    assert run["params"]["empty"] == ""
    assert run["params"]["größe"] == "null"
    assert len(run["params"]["long"]) == 6000
    assert sorted(value for key, value in run["params"].items() if key.startswith("a_b.")) == ["1", "2"]
    results = {key: history[0][1] for key, history in run["metrics"].items() if key.startswith("result/")}
    assert sorted(results.values()) == [1.5, 2.5, 3.5, 4.5]
    assert {warning["code"] for warning in answer["warnings"]} == {"tracking_changed"}
    names, values = answer["warnings"]
    assert (names["count"], values["count"]) == (8, 1)


def test_what_was_not_finite_is_not_a_number(
    client: Http, settings: Settings, mlflow: Mlflow, database: Database
) -> None:
    from app.jobs.repository import MetricRow  # noqa: PLC0415 - alone here

    job = train(client, settings)
    with database.writing() as session:
        session.add(MetricRow(job_id=job["id"], step=9999, epoch=9, created_at=1e9, values={"gone": None}))
    write(client, job, url=mlflow.url, experiment="nan")
    (run,) = mlflow.runs("nan")
    ((step, value, _),) = run["metrics"]["gone"]
    assert (step, math.isnan(value)) == (9999, True)


def test_ten_thousand_values_take_seconds(client: Http, settings: Settings, mlflow: Mlflow, database: Database) -> None:
    from app.jobs.repository import MetricRow  # noqa: PLC0415 - alone here

    job = train(client, settings)
    with database.writing() as session:
        for step in range(10_000, 15_000):
            values = {"one": step / 7, "two": step / 3}
            session.add(MetricRow(job_id=job["id"], step=step, epoch=9, created_at=1e9 + step, values=values))
    answer = write(client, job, url=mlflow.url, experiment="many")
    assert answer["metrics"] > 10_000
    (run,) = mlflow.runs("many")
    assert len(run["metrics"]["two"]) == 5000


# ---- the operator's server ------------------------------------------------------------------------------------------


def with_server(settings: Settings, url: str, **more: Any) -> Settings:
    return Settings(**{**settings.model_dump(), "mlflow_url": SecretStr(url), **more})


def events_of(client: Http, job: Any) -> list[str]:
    return [event["type"] for event in client.get(f"/v1/jobs/{job['id']}/events?limit=1000").json()["data"]]


def test_jobs_are_written_by_themselves_once_they_have_ended(
    client: Http, settings: Settings, mlflow: Mlflow, database: Database
) -> None:
    job = train(client, settings)
    own = with_server(settings, mlflow.url, mlflow_experiment="own", public_url="https://graftwork.example")
    writer = MlflowWriter(database, own)
    assert writer.write_what_is_due() == 1, "the training, and not the preparation of its dataset"
    assert writer.write_what_is_due() == 0
    (run,) = mlflow.runs("own")
    assert run["tags"]["graftwork.link"] == f"https://graftwork.example/v1/jobs/{job['id']}"
    assert events_of(client, job)[-1] == "mlflow.written"


def test_a_server_that_is_away_is_a_warning_until_it_is_back(
    client: Http, settings: Settings, mlflow: Mlflow, database: Database
) -> None:
    job = train(client, settings)
    away = MlflowWriter(database, with_server(settings, f"http://127.0.0.1:{free_port()}"))
    assert away.write_what_is_due() == 0
    assert away.write_what_is_due() == 0
    now = client.get(f"/v1/jobs/{job['id']}").json()
    assert now["status"] == "succeeded"
    (warning,) = [item for item in now["warnings"] if item["code"] == "not_tracked"]
    assert warning["remedy"] == f"POST /v1/jobs/{job['id']}/mlflow writes it"
    assert "it cannot be reached" in warning["message"]
    back = MlflowWriter(database, with_server(settings, mlflow.url, mlflow_experiment="back"))
    assert back.write_what_is_due() == 1
    assert "not_tracked" not in str(client.get(f"/v1/jobs/{job['id']}").json()["warnings"])


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}).encode()
        self.send_response(403)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_refusal_fails_no_job_and_is_not_repeated(
    client: Http, settings: Settings, database: Database, refusing: str
) -> None:
    job = train(client, settings)
    writer = MlflowWriter(database, with_server(settings, refusing))
    assert writer.write_what_is_due() == 0
    assert events_of(client, job)[-1] == "mlflow.refused"
    with database.reading() as session:
        assert repository.due(session, ["pretraining"], 10) == []
    now = client.get(f"/v1/jobs/{job['id']}").json()
    assert (now["status"], now["warnings"][-1]["code"]) == ("succeeded", "not_tracked")
    assert "PERMISSION_DENIED" in now["warnings"][-1]["message"]
    problem = check_problem(client.post(f"/v1/jobs/{job['id']}/mlflow", json={"url": refusing}), 422, "mlflow_refused")
    assert "ask for the permission to write to this experiment" in str(problem["detail"])


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def queued(client: Http, settings: Settings) -> Any:
    dataset = train(client, settings)["dataset"]
    return client.post("/v1/jobs", json={"kind": "pretraining", "dataset": dataset}).json()


def test_a_job_that_has_not_ended_is_not_written(client: Http, queued: Any, refusing: str) -> None:
    problem = check_problem(
        client.post(f"/v1/jobs/{queued['id']}/mlflow", json={"url": refusing}), 409, "job_not_ended"
    )
    assert "This job is queued" in str(problem["detail"])
    check_problem(client.post("/v1/jobs/job_none/mlflow", json={"url": refusing}), 404, "job_not_found")


def test_a_job_is_written_by_one_at_a_time(client: Http, settings: Settings, database: Database, refusing: str) -> None:
    job = train(client, settings)
    with database.writing() as session:
        assert repository.hold(session, job["id"], 60)
    check_problem(client.post(f"/v1/jobs/{job['id']}/mlflow", json={"url": refusing}), 409, "mlflow_in_progress")
    with database.writing() as session:
        assert repository.hold(session, job["id"], 0), "what was given up long ago is taken over"
        repository.release(session, job["id"])
    check_problem(client.post(f"/v1/jobs/{job['id']}/mlflow", json={"url": refusing}), 422, "mlflow_refused")
    with database.writing() as session:
        assert repository.hold(session, job["id"], 60), "a refusal lets go"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({}, "mlflow_not_named", "GRAFTWORK_MLFLOW_URL"),
        ({"url": "http://[::1]:5000"}, "address_refused", "no public address"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "address_refused", "no public address"),
        ({"url": "file:///etc/passwd"}, "address_refused", "begins with https://"),
        ({"url": "https://host/#x"}, "address_refused", "#"),
        ({"url": "https://a:b@host"}, None, "give them as username and password"),
        ({"url": "https://host", "username": "a"}, None, "username and password"),
        ({"token": "secret-token"}, None, "give the url"),
    ],
)
def test_servers_that_are_not_sent_to(
    client: Http, settings: Settings, body: Any, code: str | None, words: str, job: Any
) -> None:
    problem = check_problem(client.post(f"/v1/jobs/{job['id']}/mlflow", json=body), 422, code)
    assert words in json.dumps(problem)
    assert "secret-token" not in json.dumps(problem)
    assert settings.mlflow_url.get_secret_value() == ""


@pytest.fixture
def job(client: Http, settings: Settings) -> Any:
    """A job that has ended, quickly: the preparation of a dataset."""
    fields = {"files": {"file": ("a.csv", b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(20)))}}
    answer = client.post("/v1/datasets", data={"name": "mine"}, **fields).json()
    run_jobs(settings)
    return {"id": answer["job"]}


def test_without_http_in_the_settings_https_alone_is_sent_to(
    settings: Settings, database: Database, job: Any, project_id: str
) -> None:
    from app.errors import UnprocessableError  # noqa: PLC0415 - alone here
    from app.tracking.schemas import MlflowRequest  # noqa: PLC0415

    strict = Settings(**{**settings.model_dump(), "webhook_http": False})
    request = MlflowRequest(url="http://127.0.0.1:9")
    with pytest.raises(UnprocessableError, match="only https"):
        service.write_to_mlflow(database, strict, project_id, job["id"], request)


def test_to_write_needs_the_scope(app: Any, job: Any, make_key: MakeKey) -> None:
    reader = Http(app, make_key(scopes=("read",)))
    check_problem(reader.post(f"/v1/jobs/{job['id']}/mlflow", json={}), 403, "missing_scope")
    assert reader.get(f"/v1/jobs/{job['id']}/tensorboard").status_code == 200
