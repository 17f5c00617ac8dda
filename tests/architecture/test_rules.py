"""Rules of the house that no type checker sees."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("app", "worker", "migrations", "clients") for path in (ROOT / folder).rglob("*.py")]
GENERATED = ("requests.py", "answers.py")  # of the client
UNPICKLERS = re.compile(
    r"(?:import|from) +(?:pickle|cloudpickle|dill|joblib|shelve|marshal)\b"
    r"|(?<!safetensors\.)torch\.(?:load|save)\b|allow_pickle=True"
)


def code_of(path: Path) -> str:
    """The file without comments."""
    return re.sub(r"#.*", "", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles(path: Path) -> None:
    assert not UNPICKLERS.search(code_of(path))


def test_the_rule_against_pickle_sees_what_it_should() -> None:
    for line in ("import pickle", "torch.load(path)", "np.load(path, allow_pickle=True)", "from joblib import load"):
        assert UNPICKLERS.search(line)


def test_every_numpy_load_refuses_objects() -> None:
    for path in SOURCES:
        for call in re.findall(r"np\.load\([^)]*\)", code_of(path)):
            assert "allow_pickle=False" in call, f"{path}: {call}"


def test_matplotlib_is_imported_by_who_draws_alone() -> None:
    """It takes a second, and no process needs it to start."""
    for path in SOURCES:
        assert not re.search(r"^(import|from) matplotlib", code_of(path), re.MULTILINE), path


def test_the_architecture_contracts_hold() -> None:
    program = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout


def test_every_ignored_rule_gives_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ruff = tomllib.loads(text)["tool"]["ruff"]["lint"]
    codes = [*ruff["ignore"], *(code for codes in ruff["per-file-ignores"].values() for code in codes)]
    for code in codes:
        assert re.search(rf'"{code}",?\s*\]?\s*#\s*\w+', text), f"{code} has no reason"


def test_row_classes_stay_below_the_services() -> None:
    """A Row is read and written by repositories and services; what answers knows schemas alone."""
    for path in (ROOT / "app").rglob("schemas.py"):
        assert "Row" not in re.findall(r"\b\w*Row\b", code_of(path)), path


def test_no_file_grows_without_end() -> None:
    written = [path for path in SOURCES if path.name not in GENERATED]
    long = [str(path) for path in written if len(path.read_text(encoding="utf-8").splitlines()) > 400]
    assert not long, long
