"""The `graftwork` command against the service: the main job, its forms of output, its errors and exit codes."""

import csv
import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from graftwork import answers
from graftwork.command import login
from graftwork.command.commands import app as commands
from graftwork.command.session import Session
from tests.conftest import MakeKey
from tests.support.http import Http

from .conftest import Run

pytestmark = pytest.mark.one_database


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


@pytest.mark.usefixtures("worker")
def test_the_example_project(run: Run, url: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README of `graftwork init` says to type, and its script, are run as they stand there."""
    folder = tmp_path / "example"
    said = run("init", folder).stdout
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert all(name in said and name in page for name in ("churn.py", "customers.csv", "finetune.toml", "new.csv"))
    assert "is there already" in run("init", folder, code=2).stderr
    monkeypatch.chdir(folder)
    lines = [shlex.split(line) for line in re.findall(r"^ {4}(.*)", page, re.MULTILINE)]
    assert [words[0] for words in lines].count("graftwork") == 7
    for words in lines:
        if words[0] == "graftwork" and words[1] != "login":
            run(*words[1:])
        elif words[0] == "python":
            environment = {**os.environ, "GRAFTWORK_URL": url, "GRAFTWORK_KEY": key}
            line = [sys.executable, *words[1:]]
            done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("'yes'") == 3
    assert len((folder / "answers.csv").read_text(encoding="utf-8").splitlines()) == 4
    versions = json.loads(run("models", "list", "--name", "churn", "--json").stdout)
    assert [model["version"] for model in versions] == [3, 2, 1], "of the request, of the sweep, of the script"


@pytest.mark.usefixtures("worker")
def test_requests_sweeps_heads_and_what_they_leave(run: Run, customers: Path, tmp_path: Path) -> None:
    run("data", "add", customers, "--target", "churn")
    training = ("--strategy", "full", "--set", "training.epochs=1")
    request = run("finetune", "customers", "--name", "churn", *training, "--dry-run").stdout
    assert run("jobs", "list", "--kind", "fine_tuning", "--quiet").stdout == "", "nothing was submitted"
    estimated = run("jobs", "estimate", "-", "--json", stdin=request.encode())
    assert json.loads(estimated.stdout)["metrics"]["total_steps"] > 0
    assert "churn" in run("jobs", "create", "-", stdin=request.encode()).stdout
    (tmp_path / "request.json").write_text(request, encoding="utf-8")
    search = ("--search", "training.epochs=1..2", "--search", "training.optimizer.lr=1e-3..1e-2:log")
    swept = run("sweep", tmp_path / "request.json", *search, "--trials", "2", "--name", "best", "--json")
    assert len(json.loads(swept.stdout)["metrics"]["trials"]) == 2
    assert json.loads(run("models", "show", "best", "--json").stdout)["version"] == 1

    extended = json.loads(run("jobs", "extend", "churn", "--epochs", "1", "--json").stdout)
    assert extended["extends"]
    relations = run("models", "lineage", "churn").stdout.splitlines()
    assert relations[0].split()[:2] == ["RELATION", "ID"]
    assert {"ancestor", "model"} & {line.split()[0] for line in relations[1:]}
    assert json.loads(run("models", "lineage", "churn", "--json").stdout)["model"]["name"] == "churn"
    fitted = json.loads(run("heads", "create", "churn", "customers", "--name", "quick", "--json").stdout)
    assert (fitted["name"], fitted["origin"]) == ("quick", "dataset")

    for version in ("1", "2"):
        run("models", "alias", "churn", "production", version)
    assert run("models", "rollback", "churn", "production", "--json").stdout.count('"version": 1')
    assert run("models", "aliases", "churn").stdout.splitlines()[1].split()[:3] == ["churn", "production", "1"]
    header, *changes = run("models", "history", "churn", "production").stdout.splitlines()
    assert header.split()[:3] == ["REVISION", "ACTION", "VERSION"]
    assert [change.split()[:3] for change in changes] == [
        ["3", "rolled_back", "1"],
        ["2", "set", "2"],
        ["1", "set", "1"],
    ]
    assert run("models", "report", "churn", "production", "--json").stdout == "[]\n"
    assert run("models", "unalias", "churn", "production", "--quiet").stdout == "churn@production\n"
    assert run("models", "aliases", "churn", "--quiet").stdout == ""
    assert (
        run("models", "predict", "churn", '{"age": 30, "plan": "basic"}').stdout
        == run("predict", "churn", '{"age": 30, "plan": "basic"}').stdout
    )

    exported = run("models", "export", "churn", "--out", tmp_path / "churn.zip", "--quiet").stdout.strip()
    assert exported == str(tmp_path / "churn.zip")
    job = json.loads(run("jobs", "list", "--kind", "export", "--json").stdout)[0]["id"]
    assert run("jobs", "files", job, "--quiet").stdout == "model.zip\n"
    run("jobs", "download", job, "model.zip", "--out", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "churn.zip").read_bytes()
    assert json.loads(run("jobs", "delete", job, "--json").stdout) == {"id": job, "deleted": True}

    prepared = run("data", "prepare", "customers", "--set", "seed=3", "--quiet").stdout.strip()
    assert run("data", "versions", "customers", "--quiet").stdout.splitlines()[0] == prepared
    assert run("data", "delete", "customers", "--quiet").stdout.strip() == prepared
    assert len(run("data", "versions", "customers", "--quiet").stdout.splitlines()) == 1
    more = tmp_path / "more.csv"
    more.write_text(customers.read_text(encoding="utf-8") + "".join(f"{age},full,yes\n" for age in range(60, 70)))
    grown = json.loads(run("data", "prepare", "customers", more, "--json").stdout)
    assert (grown["name"], grown["filename"], sum(grown["rows"].values())) == ("customers", "more.csv", 90)
    run("data", "delete", grown["id"])
    events = [json.loads(line) for line in run("jobs", "watch", extended["id"], "--json").stdout.splitlines()]
    assert [event["type"] for event in events][:: len(events) - 1] == ["job.queued", "job.succeeded"]


def test_keys_and_storage_ask_the_service(run: Run, url: str) -> None:
    header, *rows = run("storage").stdout.splitlines()
    assert header.split() == ["FILES", "COUNT", "BYTES"]
    assert {"datasets", "models", "all", "trash"} <= {row.split()[0] for row in rows}
    assert json.loads(run("storage", "--json").stdout)["object"] == "storage"
    assert run("storage", "--quiet").stdout == "0\n"
    secret = run("keys", "create", "--name", "a robot", "--scope", "read", "--days", "30", "--quiet").stdout.strip()
    assert run("login", url, "--key-file", "-", "--json", stdin=f"{secret}\n".encode()).stdout.count(url)
    refused = run("keys", "list", code=1).stderr
    assert "403" in refused


def test_keys_are_listed_rotated_and_revoked(run: Run) -> None:
    made = json.loads(run("keys", "create", "--name", "a robot", "--json").stdout)
    assert made["secret"]
    listed = run("keys", "list").stdout
    assert "a robot" in listed
    assert made["secret"] not in listed
    rotated = run("keys", "rotate", made["id"], "--overlap", "0").stdout
    (new,) = re.findall(r"^id +(\S+)", rotated, re.MULTILINE)
    assert re.search(r"^secret +\S+", rotated, re.MULTILINE)
    assert "revoked_at" in run("keys", "revoke", new).stdout
    assert "REVOKED" in run("keys", "list").stdout.splitlines()[0]


def test_names_are_completed_from_the_service(run: Run, customers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("data", "add", customers, "--detach")
    for line, completed in (("data show cus", ["customers"]), ("predict cus", []), ("data show x", [])):
        words = ["graftwork", *line.split()]
        environment = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
        environment["_GRAFTWORK_COMPLETE"] = "complete_bash"
        result = CliRunner().invoke(commands, [], prog_name="graftwork", env=environment)
        assert result.stdout.split() == completed, line
    monkeypatch.setenv("GRAFTWORK_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(commands, [], prog_name="graftwork", env=environment)
    assert (result.stdout.strip(), result.stderr) == ("", ""), "nothing is said where nothing can be asked"


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
    assert "no key was given for http://127.0.0.1:9" in nowhere, "the key of the login is sent to no other service"
    assert "traceback" not in nowhere.lower()
    login.file().unlink()
    for words in (("data", "list"), ("keys", "create"), ("storage",)):
        unknown = run(*words, code=2).stderr
        assert "graftwork login" in unknown
        assert "graftwork server keys create" in unknown
    assert "no TOML" in run("jobs", "create", customers.rename(tmp_path / "r.toml"), code=2).stderr
    (tmp_path / "r.json").write_text("[]", encoding="utf-8")
    assert "an object" in run("sweep", tmp_path / "r.json", "--search", "a=[1]", code=2).stderr


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


def test_administrators_list_the_jobs_of_other_projects(
    run: Run, customers: Path, app: FastAPI, make_key: MakeKey, url: str
) -> None:
    tenant = Http(app, make_key(project="tenant", scopes=("read", "write")))
    with customers.open("rb") as file:
        tenant.post("/v1/datasets", files={"file": ("secret.csv", file)}, data={"name": "secret"})
    run("data", "add", customers, "--quiet", "--detach")
    jobs = {job["project"]: job["id"] for job in json.loads(run("jobs", "list", "--all-projects", "--json").stdout)}
    assert set(jobs) == {"default", "tenant"}
    listed = run("jobs", "list", "--project", "tenant", "--kind", "preparation")
    header, row = listed.stdout.splitlines()
    assert header.split()[:2] == ["ID", "PROJECT"]
    assert row.split()[:4] == [jobs["tenant"], "tenant", "preparation", "queued"]
    assert "secret" not in listed.stdout
    assert run("jobs", "list", "--project", "tenant", "--status", "failed", "--quiet").stdout == ""
    assert run("jobs", "list", "--quiet").stdout.split() == [jobs["default"]]
    assert "project_not_found" in run("jobs", "list", "--project", "nobody", code=1).stderr
    assert "one of them" in run("jobs", "list", "--project", "tenant", "--all-projects", code=2).stderr
    run("login", url, "--key", make_key(project="tenant", scopes=("read", "write")))
    for words in (("--all-projects",), ("--project", "default"), ("--project", "tenant")):
        assert "'admin'" in run("jobs", "list", *words, code=1).stderr
