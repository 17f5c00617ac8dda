"""What only a real server and a real socket show: aborted uploads, streams, and the client that users have."""

import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.db.tables import DatasetRow
from app.dependencies import Services
from graftwork import DatasetFailedError, Graftwork, GraftworkApiError
from tests.support.live import served
from tests.support.models import add_model
from tests.support.servers import HANGS, wait_until


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with served(app) as port:
        yield port


@pytest.fixture
def graftwork(port: int, key: str) -> Iterator[Graftwork]:
    with Graftwork(f"http://127.0.0.1:{port}", key) as graftwork:
        yield graftwork


def leftovers(services: Services) -> list[Path]:
    folder = services.settings.data_folder / "tmp"
    return list(folder.iterdir()) if folder.exists() else []


def test_an_aborted_upload_leaves_nothing(port: int, key: str, services: Services) -> None:
    head = (
        f"POST /v1/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 10000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + b"1,2\n" * 500_000)
        wait_until(lambda: leftovers(services), "a part is on the disk")
    wait_until(lambda: not leftovers(services), "nothing is left")
    with services.database.reading() as session:
        assert session.scalars(select(DatasetRow)).all() == []


def test_a_body_over_the_limit_is_refused_before_it_is_sent(port: int, key: str, services: Services) -> None:
    length = services.settings.max_upload_bytes + 1
    head = (
        f"POST /v1/datasets HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.usefixtures("worker")
def test_the_client_uploads_waits_and_looks(graftwork: Graftwork, tmp_path: Path) -> None:
    file = tmp_path / "shapes.csv"
    file.write_text("width,height,label\n" + "".join(f"{i},{i * i},{'ab'[i % 2]}\n" for i in range(40)))
    dataset = graftwork.datasets.create(file, name="shapes", columns={"label": "target"})
    assert (dataset["status"], dataset["filename"]) == ("ready", "shapes.csv")
    assert graftwork.datasets.report(dataset["id"])["rows"]["read"] == 40
    assert len(graftwork.datasets.rows(dataset["id"], limit=5)["data"]) == 5
    other = graftwork.datasets.version(dataset["id"], name="other", seed=5)
    assert (other["name"], other["sha256"]) == ("other", dataset["sha256"])
    assert graftwork.datasets.leaks(dataset["id"], against=dataset["id"])["against"] == dataset["id"]
    images = np.random.default_rng(0).integers(0, 256, (12, 5, 4), np.uint8)
    assert graftwork.datasets.create({"x": images}, name="images")["modality"] == "image"
    assert len(list(graftwork.datasets.list())) == 3
    graftwork.datasets.delete(dataset["id"])
    with pytest.raises(GraftworkApiError, match="404 dataset_not_found"):
        graftwork.datasets.get(dataset["id"])
    with pytest.raises(DatasetFailedError):
        graftwork.datasets.create(b"a,b\n1,2\n3\n", name="ragged")


@pytest.mark.usefixtures("worker")
def test_a_jobs_story_is_followed_to_its_end(graftwork: Graftwork) -> None:
    dataset = graftwork.datasets.create(b"a,b\n" + b"1,2\n3,4\n5,6\n" * 5, name="rows", wait=False)
    story = list(graftwork.jobs.follow(dataset["job"]))
    assert [event["seq"] for event in story] == list(range(1, len(story) + 1))
    assert story[-1]["type"] == "job.succeeded"
    assert list(graftwork.jobs.events(dataset["job"])) == story
    assert list(graftwork.jobs.follow(dataset["job"], after=2)) == story[2:]
    assert list(graftwork.jobs.follow(dataset["job"], after=len(story))) == []


def test_the_client_asks_models(graftwork: Graftwork, services: Services, project_id: str, tmp_path: Path) -> None:
    row = add_model(services, project_id, "sizes")
    assert graftwork.models.alias("sizes", "best", row.id)["version"] == 1
    assert graftwork.models.get("sizes@best")["id"] == row.id
    assert set(graftwork.models.predict("sizes@best", np.zeros((2, 3)))[1]) == {"size"}
    assert np.shape(graftwork.models.embed("sizes", [[1, 2, 3]])) == (1, 4)
    assert graftwork.models.lineage("sizes")["ancestors"] == []
    for name, blob in row.files.items():
        assert graftwork.models.download("sizes", name, tmp_path / name).stat().st_size == blob["bytes"]
    assert "methods" in graftwork.catalogue().families
    with pytest.raises(GraftworkApiError) as caught:
        graftwork.models.predict("sizes", [[1, 2]])
    assert caught.value.errors[0]["loc"] == ["inputs", 0]
    graftwork.models.delete("sizes")
    assert list(graftwork.models.list()) == []


def test_the_wrong_key_is_told(port: int) -> None:
    with Graftwork(f"http://127.0.0.1:{port}", "w" * 40) as stranger, pytest.raises(GraftworkApiError, match="401"):
        stranger.models.get("sizes")
