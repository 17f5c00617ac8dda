"""The client's wheel is whole, and works in an environment that holds it and what it depends on alone.

Those come out of this environment, by the requirements that each of them declares, so that the test needs no network.
"""

import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

CLIENT = Path(__file__).parents[3] / "clients" / "python"
PROGRAM = """
import importlib.util, sys
from graftwork import AsyncGraftwork, Graftwork, GraftworkError, answers, requests
for name in ("torch", "numpy", "pandas", "sqlalchemy", "fastapi", "app"):
    assert importlib.util.find_spec(name) is None, name
assert "site-packages" in answers.__file__
try:
    with Graftwork("http://127.0.0.1:9", "a-key") as graftwork:
        graftwork.live()
except GraftworkError as error:
    print(error.code)
"""


def needed(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """A distribution and all that it requires, but for its extras and what other versions of Python need."""
    if name not in found:
        found[name] = distribution(name)
        for requirement in found[name].requires or ():
            required = re.match(r"[\w.-]+", requirement)
            if required and ";" not in requirement:
                needed(required[0].lower().replace("_", "-"), found)
    return found


def test_the_wheel_works_alone(tmp_path: Path) -> None:
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(CLIENT)]
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *build], check=True)
    (wheel,) = tmp_path.glob("graftwork-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        members = archive.namelist()
    assert {"graftwork/py.typed", "graftwork/_sync/client.py", "graftwork/_async/client.py"} <= {*members}
    assert all(member.startswith(("graftwork/", "graftwork-")) for member in members)
    assert wheel.stat().st_size < 200_000

    venv.create(tmp_path / "fresh")
    python = tmp_path / "fresh" / "bin" / "python"
    (packages,) = (tmp_path / "fresh").glob("lib/*/site-packages")
    for package in ("httpx", "httpx-sse", "pydantic"):
        for installed in needed(package, {}).values():
            for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(Path(str(installed.locate_file(top))))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    done = subprocess.run([python, "-I", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("unreachable", "")
