"""README and docs/start.md, run as they stand there, block by block, against a service in processes of its own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import HANGS, KEY, Service

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(bash|python|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:8000"
NOT_RUN = "graftwork up --data ./data"  # its block installs and starts what a fixture has started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder after the first block: with the environment, and the first key."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "first.key").write_text(KEY)
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_each_block_of_the_page_runs(page: str, running: Service, folder: Path) -> None:
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [language for language, block in blocks if NOT_RUN in block] == ["bash"]
    for language, block in blocks:
        if NOT_RUN in block:
            continue
        code = block.replace(URL, running.url)
        if language == "json":
            (folder / "request.json").write_text(request(code, running))
            continue
        code = f"key = {KEY!r}\n{code}" if language == "python" else f"source .venv/bin/activate\n{code}"
        printed = run([sys.executable, "-c", code] if language == "python" else ["bash", "-ec", code], folder)
        if "accuracy" in block:
            assert float(printed.split()[0]) > 0.5
        if "graftwork predict" in block:
            assert re.search(r"^\d\s+0\.\d+|label", printed, re.MULTILINE), printed


def test_the_main_job_is_short() -> None:
    """At most eight commands, and at most twelve lines of Python."""
    _, _, job = (ROOT / "README.md").read_text(encoding="utf-8").partition("### With the command")
    (_, commands), (_, lines) = BLOCK.findall(job)[:2]
    assert len([line for line in commands.splitlines() if line.startswith(("graftwork", "GRAFTWORK"))]) <= 8
    assert len([line for line in lines.splitlines() if line.strip()]) <= 12
    assert "graftwork predict" in commands
    assert "models.predict" in lines


def request(text: str, running: Service) -> str:
    """The body of a request as it is sent: with the id of the page's dataset."""
    body = json.loads(text)
    with running.client() as graftwork:
        body["dataset"] = next(each.id for each in graftwork.datasets.list() if each.name == "labelled")
    return json.dumps(body)


def run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRAFTWORK_")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "XDG_CONFIG_HOME": str(folder / "config")},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout
