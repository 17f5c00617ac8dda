"""Programs that tests run or talk to, each in an environment of its own: they want other releases than ours."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def program(name: str) -> Path:
    """The folder with the commands of a program; the test is skipped where it is not installed."""
    folder = Path(os.environ.get("PROGRAMS", ROOT / ".venv" / "programs")) / name / "bin"
    if not (folder / name).exists():
        pytest.skip(f"{name} is not installed: make {name}")
    return folder
