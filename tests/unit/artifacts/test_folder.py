from pathlib import Path

import pytest

from app.artifacts import blob_key, link_files, put_blob
from app.artifacts.local import LocalArtifacts
from app.errors import CorruptError


@pytest.fixture
def store(tmp_path: Path) -> LocalArtifacts:
    return LocalArtifacts(tmp_path / "store")


@pytest.mark.parametrize("links", [True, False])
def test_files_come_together_under_their_names(
    store: LocalArtifacts, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    files = {}
    for name, content in {"a.npy": b"first", "b.json": b"second"}.items():
        (tmp_path / name).write_bytes(content)
        files[name] = put_blob(store, tmp_path / name).model_dump()
    if not links:
        monkeypatch.setattr("os.link", refuse)
    folder = link_files(store, files, tmp_path / "deep" / "folder")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.npy": b"first", "b.json": b"second"}
    assert (folder / "a.npy").is_symlink() is not links


def test_damaged_and_lost_bytes_are_refused(store: LocalArtifacts, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"content")
    blob = put_blob(store, tmp_path / "source")
    path = store.fetch(blob_key(blob.sha256))
    path.write_bytes(b"contend")
    with pytest.raises(CorruptError, match="damaged"):
        link_files(store, {"a": blob.model_dump()}, tmp_path / "folder")
    path.unlink()
    with pytest.raises(CorruptError, match="missing"):
        link_files(store, {"a": blob.model_dump()}, tmp_path / "folder")
