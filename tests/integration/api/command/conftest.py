"""The `graftwork` command as a user types it who has logged in, against the service behind a real socket."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from graftwork.command.commands import app as commands
from tests.support.live import served

Run = Callable[..., Result]


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has neither a login nor variables."""
    for name in ("GRAFTWORK_URL", "GRAFTWORK_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def run(home: Path, url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command as a user who has logged in."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object, code: int = 0, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(commands, [*map(str, words)], input=stdin)
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    run("login", url, "--key", key)
    return run
