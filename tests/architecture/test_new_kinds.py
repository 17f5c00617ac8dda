"""A new kind is one file and two lines: done here, in a copy of the tree, for four families."""

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

from {module} import {base}


class {name}({base}):
    """Another {base}."""

    kind: Literal["{kind}"] = "{kind}"
'''


@dataclass(frozen=True)
class NewKind:
    family: str
    kind: str
    name: str
    source: str


def documented_method() -> NewKind:
    """The method that CONTRIBUTING.md writes."""
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    return NewKind("methods", "absolute", "Absolute", source)


def derived(family: str, module: str, base: str) -> NewKind:
    name, kind = f"Another{base}", f"another_{module}"
    source = DERIVED.format(module=f"app.ml.kinds.{family}.{module}", base=base, name=name, kind=kind)
    return NewKind(family, kind, name, source)


NEW_KINDS = (
    documented_method(),
    derived("heads", "classifier", "Classifier"),
    derived("strategies", "full", "Full"),
    derived("backbones", "mlp", "Mlp"),
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


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tree")
    for name in ("app", "worker", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)
    for kind in NEW_KINDS:
        add(kind, target)
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


def test_the_documented_file_passes_the_checks(tree: Path) -> None:
    file = "app/ml/kinds/methods/absolute.py"
    run(tree, "-m", "ruff", "check", "--no-cache", file)
    run(tree, "-m", "ruff", "format", "--check", "--no-cache", file)
    run(tree, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache" / "new_kinds"), file)


def test_the_contract_suite_proves_the_new_kinds(tree: Path) -> None:
    words = " or ".join(new.kind for new in NEW_KINDS)
    output = run(tree, "-m", "pytest", "tests/contracts", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", words)
    passed = int(re.findall(r"(\d+) passed", output)[0])
    assert passed >= 8 * len(NEW_KINDS), output
    assert "skipped" not in output
