"""Both artifact stores with the same tests: the local disk, and a bucket behind a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.artifacts import ArtifactStore, blob_key, fetch_blob, open_store, put_blob
from app.artifacts.folder import link_files
from app.errors import CorruptError
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


def test_damaged_bytes_are_never_given(store: ArtifactStore, source: Path) -> None:
    blob = put_blob(store, source)
    path = store.fetch(blob_key(blob.sha256))
    path.unlink()
    path.write_bytes(b"weighty" * 1000)
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
