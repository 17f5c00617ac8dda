"""A new kind is one file and two lines, and one of jobs so on each side: done here, in a copy of the tree."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DERIVED = '''"""A kind that a test adds: it behaves as the one that it is derived from, under a name of its own."""

from typing import Literal

from {module} import {imported}


class {name}({base}):
    """Another {base}."""

    kind: Literal["{kind}"] = "{kind}"
'''

# A kind with fields that may be "auto" has a second class, in which none is.
RESOLVED = '''
    @classmethod
    def resolved_type(cls) -> "type[Resolved{name}]":
        """Return the class without any "auto"."""
        return Resolved{name}


class Resolved{name}(Resolved{base}):
    """Another Resolved{base}."""

    kind: Literal["{kind}"] = "{kind}"
'''


@dataclass(frozen=True)
class NewKind:
    family: str
    kind: str
    name: str
    source: str


def documented_files() -> tuple[str, str, str]:
    """The method, the job's request and the job's work that CONTRIBUTING.md writes."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    method, request, work = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return method, request, work


METHOD, JOB_REQUEST, JOB_WORK = documented_files()


def derived(family: str, module: str, base: str, *, has_auto: bool = False) -> NewKind:
    name, kind = f"Another{base}", f"another_{module}"
    bases = f"{base}, Resolved{base}" if has_auto else base
    template = DERIVED + RESOLVED if has_auto else DERIVED
    source = template.format(module=f"app.ml.kinds.{family}.{module}", imported=bases, base=base, name=name, kind=kind)
    return NewKind(family, kind, name, source)


NEW_KINDS = (
    NewKind("methods", "absolute", "Absolute", METHOD),
    derived("heads", "classifier", "Classifier"),
    derived("strategies", "full", "Full", has_auto=True),
    derived("backbones", "mlp", "Mlp", has_auto=True),
)


def add(kind: NewKind, tree: Path) -> None:
    folder = tree / "app" / "ml" / "kinds" / kind.family
    (folder / f"{kind.kind}.py").write_text(kind.source, encoding="utf-8")
    registry = folder / "__init__.py"
    lines = registry.read_text(encoding="utf-8").splitlines()
    first_import = next(index for index, line in enumerate(lines) if line.startswith("from app.ml."))
    lines.insert(first_import, f"from app.ml.kinds.{kind.family}.{kind.kind} import {kind.name}")
    last_member = next(index for index, line in enumerate(lines) if "Field(discriminator" in line)
    lines[last_member - 1] = lines[last_member - 1].rstrip(",") + f" | {kind.name},"
    before = len(registry.read_text(encoding="utf-8").splitlines())
    registry.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert len(lines) == before + 1  # one new line and one changed: two


def change(path: Path, *changes: tuple[str, str]) -> None:
    """Change text that is there once; each change adds one line."""
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert text.count(before) == 1, before
        assert after.count("\n") == before.count("\n") + 1
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")


def add_job_kind(tree: Path) -> None:
    requests, work = tree / "app" / "jobs" / "kinds", tree / "worker" / "jobs"
    (requests / "row_count.py").write_text(JOB_REQUEST, encoding="utf-8")
    (work / "row_count.py").write_text(JOB_WORK, encoding="utf-8")
    last_import = "from app.jobs.kinds.recommendation import RecommendationJobRequest\n"
    change(
        requests / "__init__.py",
        (last_import, f"{last_import}from app.jobs.kinds.row_count import RowCountRequest\n"),
        ("    | EstimateRequest,\n", "    | EstimateRequest\n    | RowCountRequest,\n"),
    )
    change(
        work / "__init__.py",
        ("    recommendation,\n", "    recommendation,\n    row_count,\n"),
        ('    "estimate": estimate.run,\n', '    "estimate": estimate.run,\n    "row_count": row_count.run,\n'),
    )
    (tree / "tests" / "integration" / "jobs" / "test_row_count.py").write_text(JOB_TEST, encoding="utf-8")


JOB_TEST = '''"""A job of the new kind: asked for over HTTP, run by the real runner."""

import io

import numpy as np
from fastapi import FastAPI

from app.settings import Settings
from tests.support.http import Http
from tests.support.problems import check_problem
from tests.support.work import run_jobs


def test_a_job_of_the_new_kind_runs(client: Http, app: FastAPI, settings: Settings) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.random.default_rng(0).normal(size=(40, 3)))
    uploaded = client.post("/v1/datasets", files={"file": ("rows.npz", file.getvalue())}, data={"name": "rows"})
    dataset = uploaded.json()["id"]
    body = {"kind": "row_count", "dataset": dataset}
    check_problem(client.post("/v1/jobs", json=body), 409, "dataset_not_ready")
    run_jobs(settings)
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["kind"], job["status"], job["dataset"]) == ("row_count", "queued", dataset)
    assert job["links"]["trials"] is None
    for action in ("pause", "extend"):
        refused = client.post(f"/v1/jobs/{job['id']}/{action}", json={"steps": 1})
        problem = check_problem(refused, 409, f"cannot_{action}")
        assert (problem["detail"] == "Counting takes a second: wait for it, or cancel it.") == (action == "pause")
    assert run_jobs(settings) == 1
    done = client.get(f"/v1/jobs/{job['id']}").json()
    assert done["status"] == "succeeded", done["error"]
    assert sum(done["metrics"]["rows"].values()) == 40
    assert [row["id"] for row in client.get("/v1/jobs?kind=row_count").json()["data"]] == [job["id"]]
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["RowCountRequest"]["properties"]["kind"]["const"] == "row_count"
    assert "row_count" in schemas["Job"]["properties"]["kind"]["enum"]
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tree")
    for name in ("app", "migrations", "worker", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("*.pyc.*"))  # half written
    shutil.copy(ROOT / "pyproject.toml", target)
    for kind in NEW_KINDS:
        add(kind, target)
    add_job_kind(target)
    return target


def run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-5000:]
    return result.stdout


def test_openapi_and_catalogue_find_the_new_kinds(tree: Path) -> None:
    code = """
import json, app, tempfile
from pathlib import Path
from app.catalogue.service import catalogue
from app.main import create_app
from app.settings import Settings
application = create_app(Settings(data=Path(tempfile.mkdtemp())))
families = {family: [entry.kind for entry in entries] for family, entries in catalogue().families.items()}
print(json.dumps({"where": app.__file__, "families": families, "openapi": application.openapi()}))
"""
    found = json.loads(run(tree, "-c", code))
    assert Path(found["where"]).is_relative_to(tree)
    for new in NEW_KINDS:
        assert new.kind in found["families"][new.family]
        schema = found["openapi"]["components"]["schemas"]
        matching = [
            name for name, one in schema.items() if one.get("properties", {}).get("kind", {}).get("const") == new.kind
        ]
        assert matching, f"{new.kind} is not in OpenAPI"
        mapping = f'"{new.kind}": "#/components/schemas/{matching[0]}"'
        assert mapping in json.dumps(found["openapi"]), "it can be chosen"


@pytest.mark.slow
def test_the_documented_files_pass_the_checks(tree: Path) -> None:
    files = ("app/ml/kinds/methods/absolute.py", "app/jobs/kinds/row_count.py", "worker/jobs/row_count.py")
    run(tree, "-m", "ruff", "check", "--no-cache", *files)
    run(tree, "-m", "ruff", "format", "--check", "--no-cache", *files)
    run(tree, "-m", "mypy", "--cache-dir", str(types_known()), *files)


def types_known() -> Path:
    """A cache of mypy for the copied tree; it begins with what `make check` has found out about this one."""
    kept = ROOT / ".mypy_cache"
    cache = kept / "new_kinds"
    if kept.exists() and not cache.exists():
        shutil.copytree(kept, cache, ignore=shutil.ignore_patterns("new_kinds"))
    return cache


def test_a_job_of_a_new_kind_runs(tree: Path) -> None:
    test = "tests/integration/jobs/test_row_count.py"
    output = run(tree, "-m", "pytest", test, "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    assert re.search(r"\b2 passed", output), output  # on both databases


@pytest.mark.slow
def test_the_contract_suite_proves_the_new_kinds(tree: Path) -> None:
    words = " or ".join(new.kind for new in NEW_KINDS)
    output = run(tree, "-m", "pytest", "tests/contracts", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", words)
    passed = int(re.findall(r"(\d+) passed", output)[0])
    assert passed >= 8 * len(NEW_KINDS), output
    assert "skipped" not in output
