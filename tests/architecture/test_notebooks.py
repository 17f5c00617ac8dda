"""The notebooks as they are kept: executed from top to bottom, with outputs. `make notebooks` executes them anew."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    """The cells of a notebook that are code, or Markdown."""
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def test_there_are_five() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["digits", "missing_values", "photographs", "sensors", "tickets"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_it_was_executed(path: Path) -> None:
    code = cells(path, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert "/tmp" not in path.read_text(encoding="utf-8")  # noqa: S108 - of the machine that executed it
    assert path.stat().st_size < 200_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_ends_with_what_pretraining_gave(path: Path) -> None:
    assert "".join(cells(path, "markdown")[-1]["source"]).startswith("## Did pretraining help?\n")
    *printed, plot = cells(path, "code")[-1]["outputs"]
    verdict = "".join("".join(output["text"]) for output in printed)
    assert any(f"Did pretraining help? {word}: " in verdict for word in ("helps", "hurts", "no evidence"))
    assert "image/png" in plot["data"]
