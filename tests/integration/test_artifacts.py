"""Both artifact stores with the same tests: the local disk, and a bucket behind a real S3 server."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.artifacts import ArtifactStore, blob_key, export_blob, fetch_blob, link_files, open_store, put_blob, trash_key
from app.artifacts.s3 import S3Artifacts
from app.errors import CorruptError, UnavailableError
from app.settings import Settings
from tests.support.servers import make_bucket, s3


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[dict[str, str]]:
    with s3() as variables:
        yield variables


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    if request.param == "local":
        return open_store(Settings(data=tmp_path / "data"))
    variables = request.getfixturevalue("bucket_server")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return open_store(Settings(data=tmp_path / "data", artifacts_url=make_bucket(variables)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"weights" * 1000)
    return path


def cached(store: ArtifactStore) -> Path:
    folder = getattr(store, "root", None) or getattr(store, "cache", None)
    assert isinstance(folder, Path)
    return folder


def test_what_is_put_is_fetched(store: ArtifactStore, source: Path) -> None:
    store.put("jobs/1/t1/s1", source)
    assert store.fetch("jobs/1/t1/s1").read_bytes() == source.read_bytes()
    source.unlink()
    assert store.fetch("jobs/1/t1/s1").stat().st_size == 7000


def test_the_same_content_is_kept_once_under_its_digest(store: ArtifactStore, source: Path) -> None:
    first, second = put_blob(store, source), put_blob(store, source)
    assert first == second
    assert first.bytes == 7000
    assert len([path for path in cached(store).rglob("*") if path.is_file()]) == 1
    assert fetch_blob(store, first.sha256).read_bytes() == source.read_bytes()


def test_a_missing_artifact_is_an_error_in_words(store: ArtifactStore) -> None:
    with pytest.raises(CorruptError, match="missing"):
        store.fetch("nothing/here")


def test_an_exported_file_leaves_no_copy_behind(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    blob = put_blob(store, source, cached=False)
    export_blob(store, blob.sha256, tmp_path / "exported")
    assert (tmp_path / "exported").read_bytes() == source.read_bytes()
    copies = [path for path in cached(store).rglob("*") if path.is_file()]
    assert len(copies) == (0 if isinstance(store, S3Artifacts) else 1)
    export_blob(store, put_blob(store, source).sha256, tmp_path / "of-a-copy")
    assert (tmp_path / "of-a-copy").read_bytes() == source.read_bytes()


def test_a_damaged_copy_is_not_exported(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    blob = put_blob(store, source)
    copy = store.fetch(blob_key(blob.sha256))
    copy.unlink()
    copy.write_bytes(b"weighty" * 1000)
    if isinstance(store, S3Artifacts):
        export_blob(store, blob.sha256, tmp_path / "exported")
        assert (tmp_path / "exported").read_bytes() == source.read_bytes()
        return
    with pytest.raises(CorruptError, match="damaged"):
        export_blob(store, blob.sha256, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_damaged_bytes_are_never_given(store: ArtifactStore, source: Path) -> None:
    blob = put_blob(store, source)
    source.unlink()
    source.write_bytes(b"weighty" * 1000)
    store.put(blob_key(blob.sha256), source)
    with pytest.raises(CorruptError, match="damaged"):
        fetch_blob(store, blob.sha256)


def test_delete_forgets_and_may_be_repeated(store: ArtifactStore, source: Path) -> None:
    store.put("jobs/1/t1/s1", source)
    store.delete("jobs/1/t1/s1")
    store.delete("jobs/1/t1/s1")
    with pytest.raises(CorruptError):
        store.fetch("jobs/1/t1/s1")


def test_a_folder_of_blobs_has_the_files_by_name(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    blob = put_blob(store, source)
    folder = link_files(store, {"a.bin": blob.model_dump()}, tmp_path / "together")
    assert (folder / "a.bin").read_bytes() == source.read_bytes()


def test_a_failed_put_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put("jobs/1/t1/s1", tmp_path / "not-there")
    assert not [path for path in cached(store).rglob("*") if path.is_file()]


def test_a_list_tells_size_and_age_and_nothing_that_is_not_whole(store: ArtifactStore, source: Path) -> None:
    os.utime(source, (0, 0))
    store.put("jobs/1/t1/s1", source)
    (cached(store) / "jobs/1/t1/.new_half").write_bytes(b"half")
    (entry,) = store.entries()
    assert (entry.key, entry.bytes) == ("jobs/1/t1/s1", 7000)
    assert abs(entry.changed_at - time.time()) < 60


def test_what_is_in_the_trash_is_brought_back_by_whoever_needs_it(store: ArtifactStore, source: Path) -> None:
    blob = put_blob(store, source)
    key = blob_key(blob.sha256)
    store.move(key, trash_key(key))
    (cached(store) / key).unlink(missing_ok=True)
    assert [entry.key for entry in store.entries()] == [trash_key(key)]
    assert fetch_blob(store, blob.sha256).stat().st_size == 7000
    assert [entry.key for entry in store.entries()] == [key]
    store.move("jobs/not/there", "trash/jobs/not/there")


def test_a_damaged_copy_of_what_is_in_a_bucket_is_fetched_anew(
    tmp_path: Path, source: Path, bucket_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bucket_server.items():
        monkeypatch.setenv(name, value)
    store = open_store(Settings(data=tmp_path / "data", artifacts_url=make_bucket(bucket_server)))
    blob = put_blob(store, source)
    copy = store.fetch(blob_key(blob.sha256))
    copy.unlink()
    copy.write_bytes(b"weighty" * 1000)
    assert fetch_blob(store, blob.sha256).read_bytes() == source.read_bytes()
    assert copy.read_bytes() == source.read_bytes()


def test_a_bucket_that_does_not_answer_is_an_error_in_words(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        url = make_bucket(variables)
        store = open_store(Settings(data=tmp_path / "data", artifacts_url=url, artifacts_patience_seconds=1))
    for action in (lambda: store.put("jobs/1/t1/s1", source), lambda: store.fetch("k"), lambda: list(store.entries())):
        with pytest.raises(UnavailableError, match="does not answer"):
            action()
    assert not [path for path in cached(store).rglob("*") if path.is_file()]
