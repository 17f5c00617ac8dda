"""Every file on the page docs/data.md is prepared, and read as the line below it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome, Preparer, picture, zipped

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
EXAMPLE = re.compile(r"^```(\w+) (\w+)\n(.*?)^```\nReads as: (.*?)$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"`(\w+)=([^`]+)`")
EXAMPLES = {name: (kind, content, reading) for kind, name, content, reading in EXAMPLE.findall(PAGE.read_text())}


def content_of(kind: str, content: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the bytes that an example is about: itself, a zip of files by these names, or what its code writes."""
    if kind == "zip":
        return zipped(dict(_member(number, line) for number, line in enumerate(content.splitlines())))
    if kind == "python":
        monkeypatch.chdir(folder)
        exec(content, {})  # noqa: S102 - the page of this repository
        (written,) = folder.iterdir()
        return written.read_bytes()
    return content.encode()


def value_of(text: str) -> Any:
    return json.loads(text) if text.startswith(("{", "[")) else text


def read_as(done: Outcome) -> str:
    """Return what a dataset is, in the words of the page."""
    parts: list[str] = [done.spec.modality]
    if done.spec.columns:
        parts.append("inputs " + ", ".join(f"{column.name} ({column.type})" for column in done.spec.columns))
    parts += [f"target {target.name} ({', '.join(target.classes)})" for target in done.spec.targets]
    return "; ".join(parts)


def test_each_modality_has_an_example() -> None:
    assert {reading.partition(";")[0] for _, _, reading in EXAMPLES.values()} == {"table", "text", "series", "image"}


def _member(number: int, line: str) -> tuple[str, bytes]:
    """Return a file of a zip: a table where its lines follow the name, else a picture."""
    name, _, table = line.partition(": ")
    return name, table.replace(";", "\n").encode() if table else picture(number)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_read_as_the_page_says(
    make: Preparer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, content, reading = EXAMPLES[name]
    folder = tmp_path / "example"
    folder.mkdir()
    options = {option: value_of(value) for option, value in OPTION.findall(reading)}
    done = make(content_of(kind, content, folder, monkeypatch), **options)
    assert read_as(done) == reading.partition("; with")[0]
