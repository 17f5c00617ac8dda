"""A CSV file that is read in parts is the same table, or has the same fault, as one that is read in one piece."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.datasets.context import Context
from app.datasets.errors import DatasetError
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.preparation import Prepared, prepare
from app.datasets.readers import csv_parts
from app.datasets.readers.csv import read_csv
from app.datasets.readers.csv_parts import _ends
from app.datasets.report import Notes

ROWS = [f"{i},{i / 7:.3f},kind {i % 5},{('yes', 'no')[i % 2]}" for i in range(300)]


def lines(*rows: str, header: str = "a,b,c,label", end: str = "\n") -> str:
    return end.join([header, *rows]) + end


def quoted(inside: str) -> str:
    """Return rows with a text in quotes every few lines."""
    return lines(*(row.replace("kind", f'"a kind{inside}') + '"' if i % 7 == 0 else row for i, row in enumerate(ROWS)))


def with_row(place: int, *rows: str) -> str:
    return lines(*ROWS[:place], *rows, *ROWS[place:])


TEXTS = [f'{i},"the first line of text {i}\nand ""the"" second one, with\n\nblank ones",{i % 2}' for i in range(200)]
FILES: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "plain": (lines(*ROWS), {}),
    "without a line end": (lines(*ROWS).rstrip("\n"), {}),
    "carriage returns": (lines(*ROWS, end="\r\n"), {}),
    "carriage returns alone": (lines(*ROWS, end="\r"), {}),
    "no names": (lines(*ROWS[1:], header=ROWS[0]), {}),
    "texts of several lines": (lines(*TEXTS, header="id,text,label"), {"columns": {"id": "ignored"}}),
    "texts that hold rows": (with_row(200, *(f'{i},0.1,"kind\n{i},0.2,kind",yes' for i in range(30))), {}),
    "texts that may hold rows": (with_row(200, '7,0.5,"kind 1,yes', '8,0.6,kind 2",no'), {}),
    "quotes within fields": (with_row(50, '1,2,5" pipe,no', *['2,3,7" pipe,yes'] * 30), {}),
    "one quote within a field": (with_row(50, '1,2,5" pipe,no'), {}),
    "a quote that is never closed": (with_row(220, '1,2,"kind,no'), {}),
    "a quote that is never closed, read anyhow": (with_row(220, '1,2,"kind,no'), {"multiline": "yes"}),
    "read line by line": (with_row(220, '1,2,"kind,no'), {"multiline": "no"}),
    "text behind a quote": (with_row(220, '1,2,"kind"s,no', "1,2"), {}),
    "a row too short": (with_row(210, "1,2,kind"), {}),
    "rows too long": (with_row(210, *["1,2,kind,no,4"] * 30), {}),
    "empty fields too many": (with_row(210, *["1,2,kind 1,no,,"] * 30), {}),
    "names again": (with_row(250, "a,b,c,label", *ROWS[:5], "a,b,c,label"), {}),
    "a rule below the names": (with_row(0, "---,---,---,---"), {}),
    "a rule further down": (with_row(200, "---,---,---,---"), {}),
    "blank lines": (with_row(200, "", "  ", ""), {}),
    "a total": (lines(*ROWS, "Total,1,2,3"), {}),
    "a byte order mark": ("\ufeff" + lines(*ROWS), {}),
    "marks within": (lines(*(f"\ufeffkind {i % 3},{row}" for i, row in enumerate(ROWS)), header="z,a,b,c,label"), {}),
    "beyond ASCII": (lines(*(row.replace("kind", "Größe 日本") for row in ROWS)), {}),
    "NUL": (with_row(200, "1,2,ki\0nd,no"), {}),
    "not UTF-8": (lines(*ROWS[:200]).encode() + b"1,2,k\xffnd,no\n" + lines(*ROWS[200:]).encode(), {}),
    "titles": ('a report of 2024\nwith 5" pipes\n\n' + lines(*ROWS), {}),
    "says its delimiter": ("sep=;\n" + lines(*ROWS).replace(",", ";"), {}),
    "blanks between": (lines(*ROWS).replace("kind ", "k").replace(",", "  "), {}),
    "decimal commas": (lines(*ROWS).replace(",", ";").replace(".", ","), {}),
    "two columns of a name": (lines(*ROWS, header="a,b,a,label"), {}),
    "words among numbers": (with_row(200, "one,2,kind 1,no"), {}),
    "one column": (lines(*(str(i % 50) for i in range(300)), header="a"), {}),
}  # fmt: skip


def outcome(
    folder: Path, content: str | bytes, options: dict[str, Any], limits: Limits | None = None, processes: int = 1
) -> tuple[object, ...]:
    """Return the bytes of the files, the description and the report; or the fault."""
    folder.mkdir()
    source, out = folder / "source", folder / "out"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    out.mkdir()
    chosen = PrepareOptions.model_validate(options)
    try:
        done: Prepared = prepare(source, "source", chosen, out, limits or Limits(), _nothing, processes=processes)
    except DatasetError as error:
        return str(error), error.code, error.errors
    return {path.name: path.read_bytes() for path in out.iterdir()}, done.spec, done.report


def _nothing(_fraction: float, _phase: str) -> None:
    """Report no progress."""


def cut_small(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(csv_parts, "_MIN_BYTES", 0)
    monkeypatch.setattr(csv_parts, "PART_BYTES", size)


@pytest.mark.parametrize("name", FILES)
def test_parts_change_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, options = FILES[name]
    expected = outcome(tmp_path / "whole", content, options)
    cut_small(monkeypatch, 300)
    assert outcome(tmp_path / "parts", content, options) == expected


@pytest.mark.parametrize(
    "name", ["texts of several lines", "a quote that is never closed", "a row too short", "beyond ASCII"]
)
def test_nor_do_processes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, options = FILES[name]
    cut_small(monkeypatch, 1000)
    alone, together = (outcome(tmp_path / str(n), content, options, processes=n) for n in (1, 2))
    assert alone == together


@pytest.mark.parametrize("limits", [Limits(rows=250), Limits(cells=1000), Limits(field_chars=10)])
def test_limits_hold_for_all_parts_together(limits: Limits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_row(280, '1,2,"a kind of eleven",no')
    expected = outcome(tmp_path / "whole", content, {}, limits)
    assert isinstance(expected[0], str)
    cut_small(monkeypatch, 1000)
    assert outcome(tmp_path / "parts", content, {}, limits) == expected


def test_any_table_is_read_in_parts_as_in_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    marks = ['"', '""', "\n", "\r\n", ",", "x", "1.5", '"a"', '"a\nb"', '5"', ",,", "\n\n"]
    for _ in range(150):
        body = "".join(random.choice(marks, size=random.integers(5, 60)))
        rows = "".join(f'{i},"text {i}",{i % 3}\n' for i in range(random.integers(0, 30)))
        content = f"a,b,label\n1,2,3\n{rows}{body}\n{rows}"
        with monkeypatch.context() as patched:
            expected = read(tmp_path, content)
            cut_small(patched, int(random.integers(1, 200)))
            assert read(tmp_path, content) == expected, content


def read(folder: Path, content: str) -> object:
    """Return the columns of a table and what the report says of them, or the fault."""
    source, notes = folder / "source", Notes()
    source.write_text(content)
    try:
        table = read_csv(source, Context(folder, PrepareOptions(), Limits(), notes, _nothing))
    except DatasetError as error:
        return str(error), error.errors
    return [(column.name, column.values.to_pylist()) for column in table.columns], notes


def test_parts_end_between_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.csv"
    cut_small(monkeypatch, 700)
    for content, chars in ((lines(*TEXTS), 1 << 20), (with_row(9, '1,2,5" pipe,no'), 50)):
        path.write_text(content)
        ends = list(_ends(path, chars, multiline=True))
        assert len(ends) > 6
        assert ends[-1] == len(content.encode())
        assert all(content[end:].startswith(tuple("0123456789")) for end in ends[2:-1])
