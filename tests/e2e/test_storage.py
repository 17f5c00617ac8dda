"""Storage that is full, away, or left behind by the dead, on real processes."""

import hashlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from graftwork import Graftwork, GraftworkApiError
from tests.support.jobs import endings, weights
from tests.support.servers import HANGS, KEY, QUICK, Service, make_bucket, s3_server, service, wait_until
from tests.support.storage import collected, files, graftwork_command

Digits = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
BOUNDARY = b"--b\r\nContent-Disposition: form-data; name=file; filename=a.csv\r\n\r\n"
CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(500))


def swept(running: Service) -> None:
    """Have nothing in the service's folder that a collection takes: others were killed here, too."""
    wait_until(lambda: not collected(running) and not files(running, "tmp"), "nothing is left to collect")


def send(running: Service, content: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=b"}
    return httpx.post(f"{running.url}/v1/datasets", headers=headers, content=content, trust_env=False)  # type: ignore[arg-type]


def form(content: bytes) -> bytes:
    name = b"\r\n--b\r\nContent-Disposition: form-data; name=name\r\n\r\nmine\r\n--b--\r\n"
    return BOUNDARY + content + name


def test_an_upload_for_which_there_is_no_room_leaves_nothing(running: Service, graftwork: Graftwork) -> None:
    swept(running)
    process = running.api()
    known, before = ids(graftwork), files(running, "artifacts")
    _, hard = process.rlimit(resource.RLIMIT_FSIZE)
    room = max(file.stat().st_size for file in (running.folder / "data").glob("graftwork.db*")) + (1 << 20)
    process.rlimit(resource.RLIMIT_FSIZE, (room, hard))
    large = {"x": np.random.default_rng(0).integers(0, 255, (room // 784 + 2000, 28, 28), dtype=np.uint8)}
    with pytest.raises(GraftworkApiError) as caught:
        graftwork.datasets.create(large, name="large")
    assert (caught.value.status, caught.value.code) == (507, "storage_full")
    assert files(running, "tmp") == []
    assert files(running, "artifacts") == before
    assert ids(graftwork) == known
    process.rlimit(resource.RLIMIT_FSIZE, (hard, hard))
    made = graftwork.datasets.create(large, name="large", wait=True)
    assert ids(graftwork) - known == {made["id"]}


def ids(graftwork: Graftwork) -> set[str]:
    return {row["id"] for row in graftwork.datasets.list()}


@pytest.mark.slow
def test_an_api_that_is_killed_in_an_upload_leaves_what_gc_takes(running: Service, graftwork: Graftwork) -> None:
    swept(running)
    known, kept = ids(graftwork), files(running, "artifacts")
    process = running.api()

    def body() -> Iterator[bytes]:
        yield BOUNDARY
        for _ in range(64):
            yield b"1,2\n" * 16384
        wait_until(lambda: files(running, "tmp") != [], "a part is on the disk")
        process.kill()
        process.wait(HANGS)
        yield b"1,2\n" * (1 << 20)

    with pytest.raises(httpx.TransportError):
        send(running, body())
    running.wait_ready()
    (left,) = files(running, "tmp")
    assert collected(running, "--dry-run")[f"tmp/{left}"] == "delete"
    assert files(running, "tmp") == [left]
    assert collected(running) == {f"tmp/{left}": "delete"}
    assert files(running, "tmp") == []
    assert files(running, "artifacts") == kept
    assert ids(graftwork) == known


@pytest.mark.slow
def test_an_api_that_is_killed_before_the_row_is_there_leaves_one_blob_for_the_same_upload(
    running: Service, graftwork: Graftwork
) -> None:
    swept(running)
    known, kept = ids(graftwork), files(running, "artifacts")
    process = running.api()
    running.arm("upload.stored")
    with pytest.raises(httpx.TransportError):
        send(running, form(CSV))
    process.wait(HANGS)
    running.wait_ready()
    (blob,) = set(files(running, "artifacts")) - set(kept)
    assert "no row names it, and it is too young" in graftwork_command(running, "gc", "--dry-run")
    assert collected(running)[blob] == "trash"
    assert set(files(running, "artifacts")) - set(kept) == {f"trash/{blob}"}
    assert send(running, form(CSV)).status_code == 202
    (made,) = ids(graftwork) - known
    wait_until(lambda: graftwork.datasets.get(made)["status"] == "ready", "it is prepared")
    wait_until(lambda: files(running, "tmp") == [], "nothing is under way")
    assert collected(running) == {f"trash/{blob}": "delete"}
    assert [name for name in files(running, "artifacts") if name.endswith(blob)] == [blob]
    assert "datasets" in graftwork_command(running, "server", "storage")


@pytest.mark.slow
def test_an_upload_in_parts_outlives_kills_of_the_api(running: Service, graftwork: Graftwork) -> None:
    swept(running)
    kept = files(running, "artifacts")
    running.arm("upload.part_stored", "upload.assembled")
    content = CSV + b"1000,1\n"  # which no other test sends
    upload = graftwork.uploads.send(content, filename="rows.csv", part_bytes=len(content) // 3)
    assert running.acted("upload.part_stored")
    assert running.acted("upload.assembled")
    assert (upload.status, upload.sha256) == ("complete", hashlib.sha256(content).hexdigest())
    dataset = graftwork.datasets.create(upload, name="in-parts")
    assert sum(dataset.rows.values()) == content.count(b"\n") - 1
    graftwork.uploads.delete(upload.id)
    swept(running)  # parts, and what the kills have left
    whole = f"blobs/{upload.sha256[:2]}/{upload.sha256}"
    assert whole in set(files(running, "artifacts")) - set(kept), "the dataset names it"


@pytest.mark.slow
def test_a_bucket_that_is_away_costs_no_attempt_and_no_result(tmp_path: Path, digits: Digits) -> None:
    """Ten seconds without an answer are waited out; when it is away for good, the job waits and is not charged."""
    with s3_server() as (server, variables):
        settings = {**QUICK, "artifacts_url": make_bucket(variables), "artifacts_patience_seconds": 15}
        with service(tmp_path, **settings) as running:
            running.environment.update(variables)
            with running.up().client() as graftwork:
                dataset = graftwork.datasets.create({"x": digits[0][:1000]}, name="digits", wait=True)["id"]
                undisturbed = weights(graftwork, begun(graftwork, dataset))
                disturbed = begun(graftwork, dataset)
                server.send_signal(signal.SIGSTOP)
                time.sleep(10)
                assert graftwork.jobs.get(disturbed)["status"] == "running"
                server.send_signal(signal.SIGCONT)
                assert weights(graftwork, disturbed) == undisturbed
                assert endings(graftwork, disturbed) == [("succeeded", True)]
                lost = begun(graftwork, dataset)
                server.kill()
                wait_until(lambda: endings(graftwork, lost)[0][0] is not None, "it is given back")
                assert endings(graftwork, lost)[0] == ("drained", False)
                graftwork.jobs.cancel(lost)


def begun(graftwork: Graftwork, dataset: str) -> str:
    training = {"steps": 3000, "batch_size": 32, "checkpoint_steps": 100, "seed": 3}
    network: dict[str, Any] = {"backbone": {"kind": "mlp", "hidden": [128, 64]}, "method": {"kind": "autoencoder"}}
    job = graftwork.jobs.create(kind="pretraining", dataset=dataset, **network, training=training)["id"]
    wait_until(lambda: (graftwork.jobs.get(job)["progress"] or {"step": 0})["step"] > 0, "it has begun")
    return str(job)
