"""What the service imports is installed with it, and it imports what it depends on."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = ("app", "worker", "migrations")
CLIENT = ROOT / "clients" / "python"
# Used without an import: FastAPI reads forms with the first, SQLAlchemy finds the second by a URL's name; users have
# the client with the service.
LOADED_BY_OTHERS = {"python-multipart", "psycopg", "onnx", "onnxscript", "graftwork"}


def named(requirement: str) -> str:
    return re.split(r"[\[<>=~! ;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.partition(".")[0])
    return modules


def test_dependencies_are_what_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dependencies = set(map(named, project["dependencies"]))
    modules = set().union(*(imported(path) for folder in OWN for path in (ROOT / folder).rglob("*.py")))
    foreign, distributions = modules - sys.stdlib_module_names - {*OWN}, packages_distributions()
    used = {named(name) for module in foreign for name in distributions[module]}
    locked = set(
        map(named, re.findall(r"^\S+==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    )
    assert used <= locked | {"torch"}, "imported, and not installed with the service"
    assert dependencies <= used | LOADED_BY_OTHERS, "a dependency that nothing imports"


def test_the_client_imports_what_it_depends_on() -> None:
    """Its command alone imports what the extra of this name brings."""
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = set(map(named, project["dependencies"]))
    extras = {extra: set(map(named, names)) for extra, names in project["optional-dependencies"].items()}
    distributions = packages_distributions()

    def used_in(files: set[Path]) -> set[str]:
        foreign = set().union(*map(imported, files)) - sys.stdlib_module_names - {"graftwork"}
        return {named(name) for module in foreign for name in distributions[module]}

    files, command = set((CLIENT / "src").rglob("*.py")), set((CLIENT / "src" / "graftwork" / "command").rglob("*.py"))
    assert needed == {"httpx", "httpx-sse", "pydantic"}
    assert needed <= used_in(files - command) <= needed | extras["frames"]
    assert used_in(command) == extras["command"]


def test_the_service_depends_on_this_release_of_the_client() -> None:
    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert client["version"] == server["version"]
    assert f"graftwork=={client['version']}" in server["dependencies"]
