"""`graftwork server keys`, on a database of its own."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from app.cli import keys
from app.cli.main import main
from app.db.session import Database
from app.keys.service import hash_key, principal_of
from app.kit.files import keep_private
from app.settings import Settings


@pytest.fixture
def settings(data_folder: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    data_folder.mkdir()
    shutil.copy(migrated, data_folder / "graftwork.db")
    monkeypatch.setenv("GRAFTWORK_DATA", str(data_folder))
    return Settings()


def opens(database: Database, secret: str) -> bool:
    with database.reading() as session:
        return principal_of(session, hash_key(secret.encode())) is not None


def test_a_key_is_made_listed_rotated_and_revoked(database: Database) -> None:
    secret = keys.create("labs", "a robot", ["read", "predict"], 30)
    assert opens(database, secret)
    header, row = keys.list_all("labs").splitlines()
    assert header.split() == ["ID", "NAME", "SCOPES", "CREATED", "LAST", "USED", "STATE"]
    key_id = row.split()[0]
    assert secret not in row
    assert "a robot" in row
    assert "read,predict" in row
    assert "never" in row
    assert "until 20" in row
    new = keys.rotate("labs", key_id, 0, None)
    assert opens(database, new)
    assert not opens(database, secret)
    newest = keys.list_all("labs").splitlines()[1]
    assert newest.endswith("valid")
    keys.revoke("labs", newest.split()[0])
    assert not opens(database, new)
    assert keys.list_all("labs").splitlines()[1].endswith("revoked")


@pytest.mark.parametrize("project", ["labs", "nowhere"])
def test_what_is_not_there_is_said(database: Database, project: str) -> None:
    keys.create("labs", "one", ["admin"])
    with pytest.raises(SystemExit, match="graftwork server keys: "):
        keys.revoke(project, "key_x")
    with pytest.raises(SystemExit, match="unknown scope 'root'"):
        keys.create("labs", "one", ["root"])
    only = keys.list_all("labs").splitlines()[1].split()[0]
    with pytest.raises(SystemExit, match="last key"):
        keys.revoke("labs", only)


def test_the_first_key_and_its_folder_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    keep_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for key in ("one", "another"):
        path = keys.write_first_key(folder, key)
        assert path.read_text() == f"{key}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


COMMANDS = [
    ("server", "keys", "list"),
    ("server", "keys", "create"),
    ("server", "storage"),
    ("gc", "--dry-run"),
    ("weights",),
    ("api",),
    ("backup", "x"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_wrong_data_folder_is_one_line_and_stays_as_it_is(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    monkeypatch.setenv("GRAFTWORK_DATA", str(wrong))  # the command sets it, too: it is put back
    monkeypatch.setattr(sys, "argv", ["graftwork", *words, "--data", str(wrong)])
    monkeypatch.setattr(os, "umask", lambda mask: mask)
    monkeypatch.setattr(os, "nice", lambda more: more)
    with pytest.raises(SystemExit, match=r"there is no database in .*wrong.*--data"):
        main()
    assert not wrong.exists()


def test_a_data_folder_that_cannot_be_one_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    monkeypatch.setenv("GRAFTWORK_DATA", str(file))
    monkeypatch.setattr(sys, "argv", ["graftwork", "migrate", "--data", str(file)])
    monkeypatch.setattr(os, "umask", lambda mask: mask)
    with pytest.raises(SystemExit, match=r"graftwork: .*file"):
        main()


def test_a_damaged_database_is_one_line(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_folder.mkdir()
    (data_folder / "graftwork.db").write_bytes(b"this is no database" * 100)
    monkeypatch.setenv("GRAFTWORK_DATA", str(data_folder))
    monkeypatch.setattr(sys, "argv", ["graftwork", "server", "storage", "--data", str(data_folder)])
    monkeypatch.setattr(os, "umask", lambda mask: mask)
    with pytest.raises(SystemExit, match=r"graftwork: the database cannot be used: "):
        main()
