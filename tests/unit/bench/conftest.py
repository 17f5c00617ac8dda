"""Imports the modules of the quality bench, which are scripts in one folder and not a package."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCH = Path(__file__).parents[3] / "bench"
MODULES = ("blind", "protocol", "sources", "table", "tables")


@pytest.fixture(scope="session")
def quality() -> Iterator[SimpleNamespace]:
    """The bench's modules by name; afterwards they are not importable any more."""
    folders = [str(BENCH / "quality"), str(BENCH)]
    sys.path[:0] = folders
    before = set(sys.modules)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    for folder in folders:
        sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
