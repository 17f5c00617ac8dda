"""Both clients against the service on a real socket: one suite, and the page docs/client.md."""

import asyncio
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from PIL import Image

import graftwork as package
from app.dependencies import Services
from graftwork import AsyncGraftwork, Graftwork, JobFailedError, UnprocessableError, answers, uploads
from tests.support.blocking import BlockingGraftwork
from tests.support.live import served
from tests.support.models import add_model

pytestmark = pytest.mark.one_database

PAGE = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FRAME = pd.DataFrame(
    {"age": range(20, 80), "plan": ["basic", "full", "trial"] * 20, "churn": ["yes", "no"] * 30},
    index=[f"customer-{number}" for number in range(60)],
)
CSV = b"size,kind\n" + b"".join(b"%d,%s\n" % (i, b"big" if i > 50 else b"small") for i in range(100))
PART = 200
FINE_TUNING: dict[str, Any] = {
    "kind": "fine_tuning",
    "heads": [{"kind": "classifier", "target": "churn"}],
    "strategy": {"kind": "full"},
    "training": {"epochs": 1},
}


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["sync", "async"])
def graftwork(request: pytest.FixtureRequest, url: str, key: str) -> Iterator[Any]:
    kind: Callable[..., Any] = Graftwork if request.param == "sync" else BlockingGraftwork
    with kind(url, key) as graftwork:
        yield graftwork


def test_a_url_is_registered_in_place(graftwork: Any, services: Services, tmp_path: Path) -> None:
    with pytest.raises(UnprocessableError, match="GRAFTWORK_SOURCES"):
        graftwork.datasets.create(f"file://{tmp_path}/sizes.csv", name="sizes")
    assert not services.settings.sources
    with pytest.raises(FileNotFoundError):
        graftwork.datasets.create(str(tmp_path / "sizes.csv"), name="sizes")


@pytest.mark.usefixtures("worker")
def test_the_main_job(graftwork: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = graftwork.datasets.create(FRAME, name="customers", columns={"churn": "target"}, progress=True)
    assert (dataset.status, dataset.filename, dataset["modality"]) == ("ready", "upload.parquet", "table")
    assert [column.name for column in dataset.columns] == ["age", "plan"], "the index of a frame is no column"
    states: list[Any] = []
    job = graftwork.jobs.create(name="churn", dataset=dataset.id, **FINE_TUNING)
    assert not job.ended
    job = job.wait(progress=states.append)
    assert (job.status, job.ended, states[-1]["status"]) == ("succeeded", True, "succeeded")
    assert job.metrics["heads"]["churn"]
    assert "preparation" in capsys.readouterr().err
    events = [event.type for event in job.follow()]
    assert events == [event.type for event in graftwork.jobs.events(job.id, limit=2)]
    assert events[-1] == "job.succeeded"

    frame = graftwork.models.predict("churn", FRAME.head(3)).to_pandas()
    assert [*frame.index] == [*FRAME.index[:3]]
    assert {"churn.class", "churn.probabilities.yes", "churn.probabilities.no"} <= {*frame.columns}
    assert frame["churn.probabilities.yes"].between(0, 1).all()
    first, second = graftwork.models.predict_by_several(["churn", "churn@1"], [{"age": 30, "plan": "full"}] * 2)
    assert first == second
    assert (first.model.name, len(first)) == ("churn", 2)
    embeddings = graftwork.models.embed("churn", FRAME)
    assert embeddings.to_pandas().shape == np.shape(embeddings)

    answered = graftwork.jobs.batch_predict("churn", FRAME, wait=True)
    assert answered.metrics["answered"] == len(FRAME)
    assert {file.name for file in answered.files()} == {"results.parquet", "results.csv"}
    results = pd.read_parquet(answered.download("results.parquet", tmp_path / "results.parquet"))
    assert {*frame.columns} <= {*results.columns}
    answered.delete()
    assert graftwork.jobs.evaluate("churn", dataset.id).status == "succeeded"
    assert graftwork.jobs.estimate(name="more", dataset=dataset.id, **FINE_TUNING).metrics
    assert job.extend(epochs=1, wait=True).extends == job.id
    kinds = [summary.kind for summary in graftwork.jobs.list(order="asc", limit=2)]
    assert kinds == ["preparation", "fine_tuning", "evaluation", "estimate", "fine_tuning"]
    assert [full.metrics for full in graftwork.jobs.list(view="full", kind="fine_tuning", name="churn")][-1]


def test_what_administrators_and_keys_do(graftwork: Any, services: Services, project_id: str, url: str) -> None:
    made = graftwork.keys.create(name="reader", scopes=["read"])
    assert {key.name for key in graftwork.keys.list()} == {"test", "reader"}
    with Graftwork(url, made.secret) as reader:
        assert [*reader.jobs.list()] == []
        with pytest.raises(package.ForbiddenError) as caught:
            reader.datasets.create(b"a\n1\n", name="x")
        assert (caught.value.status, bool(caught.value.remedy)) == (403, True)
    rotated = graftwork.keys.rotate(made.id, overlap=0)
    assert graftwork.keys.revoke(rotated.id).revoked_at
    (project,) = graftwork.admin.projects()
    assert graftwork.admin.limit_project(project=project.id, max_running_jobs=2).limits.max_running_jobs == 2
    job = graftwork.datasets.create(b"a,b\n1,2\n", name="waits", wait=False)["job"]
    assert graftwork.admin.set_urgency(job, 3).urgency == 3
    assert graftwork.admin.job(job).urgency == 3
    assert [entry.id for entry in graftwork.admin.jobs()] == [job]
    assert graftwork.admin.cancel(job).status == "cancelled"
    assert graftwork.live().status == "ok"
    assert graftwork.ready().status in {"ok", "degraded"}
    assert "graftwork_" in graftwork.metrics()
    assert graftwork.storage().to_dict()


def test_aliases_are_moved_only_as_they_were_read(graftwork: Any, services: Services, project_id: str) -> None:
    for seed in range(2):
        add_model(services, project_id, "sizes", seed=seed)
    alias = graftwork.models.alias("sizes", "best", "1", only_new=True)
    with pytest.raises(package.PreconditionFailedError):
        graftwork.models.alias("sizes", "best", "2", only_new=True)
    moved = graftwork.models.alias("sizes", "best", "2", revision=alias.revision)
    with pytest.raises(package.PreconditionFailedError) as caught:
        graftwork.models.alias("sizes", "best", "1", revision=alias.revision)
    assert caught.value.code == "precondition_failed"
    assert graftwork.models.get_alias("sizes", "best") == moved
    assert graftwork.models.roll_back("sizes", "best", if_revision=moved.revision).version == 1
    assert [change.revision for change in graftwork.models.alias_history("sizes", "best")][:1] == [moved.revision + 1]
    with pytest.raises(package.PreconditionFailedError):
        graftwork.models.delete_alias("sizes", "best", revision=1)
    graftwork.models.delete_alias("sizes", "best")
    assert graftwork.models.aliases("sizes") == []


def test_errors_say_which_field_and_what_to_do(graftwork: Any, url: str) -> None:
    with pytest.raises(package.UnprocessableError) as caught:
        graftwork.jobs.create(kind="pretraining", dataset="ds_1", epoch=3)
    assert (caught.value.status, caught.value.errors[0]["loc"][-1]) == (422, "epoch")
    with pytest.raises(package.NotFoundError):
        graftwork.jobs.get("job_1")
    with Graftwork(url, "another-key") as stranger, pytest.raises(package.UnauthorizedError) as refused:
        stranger.storage()
    assert "GRAFTWORK_KEY" in str(refused.value.remedy)


@pytest.mark.usefixtures("worker")
def test_a_failed_preparation_and_a_cancelled_job(graftwork: Any) -> None:
    with pytest.raises(package.DatasetFailedError) as caught:
        graftwork.datasets.create(b"a,b\n", name="nothing")
    assert caught.value.code == caught.value.dataset.error.code
    dataset = graftwork.datasets.create(FRAME, name="customers", columns={"churn": "target"})
    job = graftwork.jobs.create(dataset=dataset.id, **{**FINE_TUNING, "training": {"epochs": 100_000}})
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.01)
    job.cancel()
    with pytest.raises(JobFailedError, match="cancelled") as ended:
        job.wait()
    assert ended.value.code
    assert job.refresh().status == "cancelled"


def test_pictures_arrays_and_bytes_are_uploaded(graftwork: Any, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    uploads: list[tuple[Any, str]] = [
        (np.zeros((4, 3)), "upload.npy"),
        ({"x": np.zeros((4, 3))}, "arrays.npz"),
        (tmp_path / "x.npy", "x.npy"),
        (str(tmp_path / "x.npy"), "x.npy"),
        (b"a,b\n1,2\n", "upload"),
        (io.BytesIO(b"a,b\n1,2\n"), "upload"),
        (FRAME, "upload.parquet"),
    ]
    for source, filename in uploads:
        assert graftwork.datasets.create(source, name="x", wait=False).filename == filename
    with pytest.raises(TypeError, match="cannot be uploaded"):
        graftwork.datasets.create(3, name="x")


@pytest.mark.usefixtures("worker")
def test_the_page_on_the_client(url: str, key: str) -> None:
    scope: dict[str, Any] = {"url": url, "key": key}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", package.GraftworkWarning)
        for block in BLOCKS:
            exec(block.replace('"http://127.0.0.1:8000"', "url"), scope)  # noqa: S102 - the page of this repository
    assert isinstance(scope["job"], answers.Job)
    assert len(scope["answers"]) == 3
    scope["graftwork"].close()
    assert all(f"`{name}`" in PAGE for name in _methods())


def _methods() -> set[str]:
    """Every public method of the client's resources."""
    client = Graftwork("http://service", "a-key")
    resources = [client.datasets, client.jobs, client.models, client.heads, client.keys, client.admin]
    names = {name for resource in resources for name in dir(resource) if not name.startswith("_")}
    client.close()
    return names


def test_many_requests_at_once(url: str, key: str, services: Services, project_id: str) -> None:
    add_model(services, project_id, "sizes")

    async def ask() -> list[Any]:
        async with AsyncGraftwork(url, key) as graftwork:
            return await asyncio.gather(*(graftwork.models.predict("sizes", [[k, 0, 0]]) for k in range(20)))

    at_once = asyncio.run(ask())
    with Graftwork(url, key) as graftwork:
        in_turn = [graftwork.models.predict("sizes", [[k, 0, 0]]) for k in range(20)]
    numbers = [[value for value in answer.to_rows()[0].values() if isinstance(value, float)] for answer in in_turn]
    assert len({tuple(row) for row in numbers}) == 20, "each input has its own answer"
    for answer, expected in zip(at_once, numbers, strict=True):
        assert [value for value in answer.to_rows()[0].values() if isinstance(value, float)] == pytest.approx(expected)


class Breaking(io.BytesIO):
    """A file that cannot be read to its end, once it has been read whole."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size == PART and self.tell() >= 3 * PART:
            msg = "the disk is gone"
            raise OSError(msg)
        return super().read(size)


def sent_by(graftwork: Any) -> list[str]:
    """The paths of the requests that a client puts from now on."""
    transport, paths = getattr(graftwork, "_inner", graftwork)._transport, []

    def note(request: httpx.Request) -> None:
        if request.method == "PUT":
            paths.append(request.url.path)

    async def note_later(request: httpx.Request) -> None:
        note(request)

    is_async = isinstance(transport._http, httpx.AsyncClient)
    transport._http.event_hooks = {"request": [note_later if is_async else note]}
    return paths


@pytest.mark.usefixtures("worker")
def test_a_large_file_is_sent_in_parts_and_goes_on_where_it_broke(graftwork: Any) -> None:
    with pytest.raises(OSError, match="disk is gone"):
        graftwork.uploads.send(Breaking(CSV), filename="sizes.csv", part_bytes=PART)
    (begun,) = graftwork.uploads.list(status="open")
    assert [part.number for part in begun.parts] == [1, 2, 3]
    paths = sent_by(graftwork)
    upload = graftwork.uploads.send(CSV, filename="sizes.csv", part_bytes=PART)
    assert (upload.id, upload.status, upload.bytes) == (begun.id, "complete", len(CSV))
    assert paths == [f"/v1/uploads/{upload.id}/parts/{number}" for number in range(4, 2 + len(CSV) // PART)]
    dataset = graftwork.datasets.create(upload, name="sizes", columns={"kind": "target"})
    assert (dataset.status, dataset.filename, sum(dataset.rows.values())) == ("ready", "sizes.csv", 100)
    other = graftwork.uploads.create("other.csv", bytes=2)
    assert graftwork.uploads.put_part(other.id, 1, b"ab").bytes == 2
    assert graftwork.uploads.get(other.id).received_bytes == 2
    graftwork.uploads.delete(other.id)
    assert [one.id for one in graftwork.uploads.list()] == [upload.id]


@pytest.mark.usefixtures("worker")
def test_a_version_of_a_new_file_keeps_the_splits_of_its_rows(graftwork: Any, tmp_path: Path) -> None:
    header, *lines = CSV.splitlines(keepends=True)
    first = graftwork.datasets.create(
        header + b"".join(lines[:60]), name="sizes", columns={"kind": "target", "size": "input"}
    )
    path = tmp_path / "grown.csv"
    path.write_bytes(CSV)
    grown = graftwork.datasets.version(first.id, path, name="grown")
    assert (grown.name, grown.filename, sum(grown.rows.values())) == ("grown", "grown.csv", 100)
    assert "60 of 100 rows" in next(item.reason for item in grown.decisions if item.field == "splits")
    upload = graftwork.uploads.send(CSV + lines[0], filename="more.csv")
    more = graftwork.datasets.version(grown.id, upload)
    assert (more.name, more.filename, sum(more.rows.values())) == ("grown", "more.csv", 101)
    with pytest.raises(UnprocessableError, match="source_refused"):
        graftwork.datasets.version(first.id, "s3://corpus/birds")


@pytest.mark.usefixtures("worker")
def test_a_dataset_of_a_large_file_is_sent_in_parts_by_itself(
    graftwork: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGE_BYTES", 500)  # it is 128 MiB
    path = tmp_path / "sizes.csv"
    path.write_bytes(CSV)
    paths = sent_by(graftwork)
    dataset = graftwork.datasets.create(path, name="sizes", columns={"kind": "target"})
    assert (dataset.status, dataset.filename, len(paths)) == ("ready", "sizes.csv", 1)
