"""The `graftwork` command against the service: the main job, its forms of output, its errors and exit codes."""

import csv
import json
import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from fastapi import FastAPI
from typer.main import get_command
from typer.testing import CliRunner

from app.cli.main import app as server
from app.settings import Settings
from graftwork import answers
from graftwork.command import login
from graftwork.command.commands import app as commands
from graftwork.command.main import GROUP
from graftwork.command.session import Session
from tests.support.live import served
from tests.support.servers import HANGS
from tests.support.work import run_jobs

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[3]
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


@pytest.fixture
def worker(settings: Settings) -> Iterator[None]:
    """A worker that looks for jobs all the time."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.05):
            run_jobs(settings)

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    stop.set()
    thread.join(HANGS)


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    rows = [f"{age},{plan},{churn}" for age in range(20, 60) for plan, churn in (("basic", "yes"), ("full", "no"))]
    path.write_text("age,plan,churn\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.usefixtures("worker")
def test_the_main_job_in_eight_commands(run: Run, customers: Path, tmp_path: Path) -> None:
    added = run("data", "add", customers, "--target", "churn")  # login was the first
    assert re.search(r"^id +ds_", added.stdout, re.MULTILINE)
    run("pretrain", "customers", "--name", "base", "--set", "training.epochs=1", "--method", "autoencoder")
    tuned = run(
        "finetune",
        "customers",
        "--name",
        "churn",
        "--model",
        "base",
        "--strategy",
        "full",
        "--set",
        "training.epochs=1",
    )
    assert "fine_tuning churn succeeded" in tuned.stderr
    answered = run("predict", "churn", customers, "--out", tmp_path / "answers.csv")
    assert answered.stdout == ""
    assert "warning: ignored_keys" in answered.stderr
    with (tmp_path / "answers.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == 80
    assert {"churn.class", "churn.probabilities.yes"} <= set(rows[0])
    evaluated = json.loads(run("evaluate", "churn", "customers", "--json").stdout)
    assert evaluated["metrics"]

    one = json.loads(run("predict", "churn", '{"age": 30, "plan": "basic"}', "--json").stdout)
    assert set(one[0]) == {"churn"}
    several = run("predict", "churn", "-", stdin=b'{"age": 30, "plan": "basic"}\n{"age": 31, "plan": "full"}\n')
    assert several.stdout.splitlines()[0].split()[0] == "churn.class"
    assert len(several.stdout.splitlines()) == 3
    run("embed", "churn", customers, "--out", tmp_path / "features.jsonl")
    assert len((tmp_path / "features.jsonl").read_text(encoding="utf-8").splitlines()) == 80
    assert Path(run("models", "export", "churn", "--out", tmp_path / "churn.onnx").stdout.strip()).stat().st_size > 1000
    assert "production" in run("models", "alias", "churn", "production", "1").stdout
    assert "churn" in run("models", "list").stdout
    assert run("models", "show", "churn@production", "--quiet").stdout.startswith("mdl_")
    assert "job.succeeded" in run("jobs", "watch", "churn").stdout
    assert "succeeded" in run("jobs", "list", "--kind", "fine_tuning").stdout
    assert json.loads(run("jobs", "show", "churn", "--json").stdout)["status"] == "succeeded"
    assert json.loads(run("data", "list", "--json").stdout)[0]["name"] == "customers"
    assert [len(json.loads(line)) for line in run("data", "rows", "customers", "--limit", "2").stdout.splitlines()]
    assert run("data", "show", "customers").stdout.count("churn")
    run("data", "warnings", "customers")
    run("models", "delete", "churn")
    run("data", "delete", "customers")
    assert run("data", "list", "--quiet").stdout == ""


def test_jobs_are_cancelled_paused_and_retried(run: Run, customers: Path) -> None:
    run("data", "add", customers, "--name", "rows", "--detach")
    job = json.loads(run("jobs", "list", "--json").stdout)[0]["id"]
    assert "cancelled" in run("jobs", "cancel", job).stdout
    assert "queued" in run("jobs", "retry", job).stdout
    assert "running" in run("status").stderr
    assert run("jobs", "list", "--quiet", "--status", "queued").stdout.strip() == job


def test_mistakes_are_one_line_with_a_remedy(run: Run, customers: Path, tmp_path: Path, url: str) -> None:
    assert "no dataset named 'nothing'" in run("data", "show", "nothing", code=2).stderr
    assert "missing.csv" in run("data", "add", tmp_path / "missing.csv", code=2).stderr
    assert "FIELD=VALUE" in run("data", "add", customers, "--set", "seed", code=2).stderr
    refused = run("data", "add", customers, "--set", "sed=3", code=1).stderr
    assert "sed" in refused
    assert "404" in run("jobs", "show", "job_" + 32 * "0", code=1).stderr
    assert ".csv" in run("predict", "m", "x", "--out", tmp_path / "x.txt", code=2).stderr
    assert 'write "http://localhost:8000"' in run("data", "list", "--url", "localhost:8000", code=2).stderr
    nowhere = run("data", "list", "--url", "http://127.0.0.1:9", code=2).stderr
    assert "no key was given" in nowhere, "the key of the login is sent to no other service"
    assert "traceback" not in nowhere.lower()


def test_a_service_that_is_not_there(home: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("GRAFTWORK_KEY", key)
    result = CliRunner().invoke(commands, ["status"])
    assert result.exit_code == 3
    assert "graftwork up" in result.stderr


def test_a_login_is_private_and_checked(run: Run, home: Path, url: str, key: str) -> None:
    file = login.file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert login.known(None) == (url, key)
    assert "401" in run("login", url, "--key", "another-key", code=1).stderr
    assert login.known(None) == (url, key), "a key that the service refused is not kept"
    file.write_text("{", encoding="utf-8")
    assert "graftwork login" in run("data", "list", code=2).stderr


def test_what_a_name_holds_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    model = answers.ModelName.from_json({"id": "mdl_1", "name": "red \x1b[31m\nline\u202e", "version": 3})
    Session(None, as_json=False, quiet=False).table([model], name="name", version="version", kind="kind")
    assert capsys.readouterr().out.splitlines() == ["NAME             VERSION  KIND", "red  [31m line   3        -"]


def test_the_server_adds_its_commands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {command.name or command.callback.__name__ for command in server.registered_commands if command.callback}
    groups = {group.name for group in server.registered_groups}
    assert set(project["entry-points"][GROUP]) == own | groups
    assert set(project["entry-points"][GROUP].values()) == {"app.cli.main:main"}
    client: set[Any] = {group.name for group in commands.registered_groups}
    assert not client & (own | groups)


def test_the_page_names_every_command() -> None:
    page = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    group: Any = get_command(commands)
    for name, one in group.commands.items():
        for path in [f"{name} {inner}" for inner in getattr(one, "commands", {})] or [name]:
            assert f"`{path}`" in page, path


def command(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "graftwork.command.main", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_it_starts_at_once() -> None:
    script = "import sys, time; from graftwork.command.commands import app; print(time.process_time())"
    seconds = float(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    assert seconds < 0.3
    assert "predict" in command("--help").stdout


def test_who_reads_the_output_may_stop(home: Path) -> None:
    line = f"{sys.executable} -m graftwork.command.main --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout
