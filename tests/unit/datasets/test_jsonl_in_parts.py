"""JSON Lines that are read in parts are the same rows, or have the same fault, as those that are read in one piece."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.context import Context
from app.datasets.errors import DatasetError
from app.datasets.frames import NumberColumn
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.readers import jsonl
from app.datasets.readers.collectors import SeriesRows
from app.datasets.report import Notes
from app.kit.parts import Processes

from .test_csv_in_parts import _nothing, outcome

Row = dict[str, Any]
PART = 400

ROWS: list[Row] = [
    {
        "whole": i,
        "number": i / 7,
        "kind": f"Größe {i % 5}",
        "flag": i % 3 == 0,
        "gaps": None if i % 4 else i * 2,
        "tags": ["a", "b", "c"][: i % 4],
        "nothing": None,
        "label": ("yes", "no")[i % 2],
    }
    for i in range(200)
]


def lines(rows: Iterable[Any], end: str = "\n") -> str:
    return end.join(json.dumps(row, ensure_ascii=False) for row in rows) + end


def made(row: Callable[[int], Any]) -> str:
    return lines(map(row, range(200)))


def changed(start: int, change: Callable[[int], Row]) -> str:
    """Return the rows with other values from the row `start` on."""
    return lines({**row, **(change(i) if i >= start else {})} for i, row in enumerate(ROWS))


def between(*texts: str) -> str:
    """Return the rows with other lines between them."""
    return lines(ROWS[:120]) + "".join(f"{text}\n" for text in texts) + lines(ROWS[120:])


def without(name: str, start: int, end: int) -> list[Row]:
    return [{key: row[key] for key in row if key != name or not start <= i < end} for i, row in enumerate(ROWS)]


LATE_LABELS: dict[int, list[str] | None] = {0: [], 1: [], 2: ["a"], 3: None}  # for thirty rows each
PLAIN: dict[str, tuple[str | bytes, Row]] = {
    "table": (lines(ROWS), {}),
    "texts": (made(lambda i: {"text": f"A text, {i} words long.\n" * 3, "label": i % 2}), {"modality": "text"}),
    "labels": (made(lambda i: {"a": i, "tags": ["x", "y"][i % 2 : i % 5]}), {"columns": {"tags": "target"}}),
    "labels that are numbers": (made(lambda i: {"a": i, "labels": [i % 3, 1] if i > 50 else []}), {}),
    "numbers after labels that are texts": (changed(120, lambda i: {"tags": [i % 3]}), {}),
    "whole numbers that become fractions": (changed(150, lambda i: {"whole": i + 0.5}), {}),
    "codes that become fractions": (changed(0, lambda i: {"zip": 10000 + i % 40 if i < 150 else 10000.5}), {}),
    "a column that begins late": (changed(130, lambda i: {"late": i % 7, "later": "xyz"[i % 3]}), {}),
    "a column that ends early": (lines(without("kind", 90, 200)), {}),
    "columns that come and go": (lines(without("kind", 60, 110)[::-1] + without("number", 9, 99)), {}),
    "a column without values": (changed(0, lambda i: {"tags": [[], None][i % 2]}), {}),
    "empty lists before labels": (changed(0, lambda i: {"tags": ["ab"[i % 2]] if i > 99 else []}), {}),
    "blank lines": (lines(ROWS, end="\n\n \n"), {}),
    "blank lines alone for long": (between(*[""] * 3000), {}),
    "a byte order mark": ("\ufeff" + lines(ROWS), {}),
    "carriage returns": (lines(ROWS, end="\r\n"), {}),
    "no newline at the end": (lines(ROWS).rstrip("\n"), {}),
    "ignored columns": (changed(0, lambda i: {"number": [i]}), {"columns": {"number": "ignored"}}),
    "an ignored column of objects": (changed(99, lambda i: {"kind": {"a": i}}), {"columns": {"kind": "ignored"}}),
    "numbers beyond floats": (changed(120, lambda i: {"number": 10**400 if i % 9 else i}), {"missing": "impute"}),
    "long rows": (changed(150, lambda i: {"kind": "long " * 900 * (i % 3)}), {}),
    "objects of no columns": (lines({} if 50 < i < 150 else row for i, row in enumerate(ROWS)), {}),
}
OTHER: dict[str, tuple[str | bytes, Row]] = {
    "series": (made(lambda i: [i, None, 3]), {}),
    "series in a column": (changed(0, lambda i: {"tags": [i, 2] * (1 + i % 3)}), {"modality": "series"}),
    "series that begin late": (changed(0, lambda i: {"tags": None if i < 120 else [i, 1.5, 2]}), {}),
    "lists of one length": (changed(0, lambda i: {"tags": [i, 1.5, i * i]}), {}),
    "lists in some lines": (between("[1, 2]"), {}),
    "labels that are numbers, then fractions": (made(lambda i: {"a": i, "labels": [i % 3 + i // 100 / 2]}), {}),
    "lists after labels": (changed(0, lambda i: {"tags": LATE_LABELS.get(i // 30, [0.5])}), {}),
    "a kind that changes": (changed(120, lambda i: {"number": str(i)}), {}),
    "a kind that changes between parts": (changed(120, lambda i: {"number": str(i)} if i % 9 == 0 else {}), {}),
    "true among numbers": (changed(190, lambda _: {"number": True}), {}),
    "objects": (changed(120, lambda i: {"number": {"a": i}}), {}),
    "lists of objects": (changed(120, lambda _: {"tags": [{"role": "user", "content": "hi"}]}), {}),
    "bad JSON": (between('{"whole": 1,}'), {}),
    "a document of several lines": (between("{", '"whole": 1', "}"), {}),
    "numbers alone": (between("3"), {}),
    "a byte order mark between": (between("\ufeff" + json.dumps(ROWS[0])), {}),
    "a key that stands twice": (between('{"whole": 1, "whole": 2}'), {}),
    "not UTF-8": (between('{"kind": "k#nd"}').encode().replace(b"#", b"\xff"), {"encoding": "utf-8"}),
    "a field too long": (changed(120, lambda _: {"kind": "x" * ((1 << 20) + 1)}), {}),
    "a line too long": (between(json.dumps({"kind": ["x" * 1000] * (17 << 10)})), {}),
}


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Read files in parts of few bytes, also where one process does it all."""

    def cut_small(size: int) -> None:
        for name, value in {"_MIN_BYTES": 0, "HEAD_BYTES": size, "PART_BYTES": size}.items():
            monkeypatch.setattr(jsonl, name, value)
        monkeypatch.setattr(Processes, "are_worth", lambda _self, size, least: size >= least)

    return cut_small


@pytest.mark.parametrize("name", PLAIN | OTHER)
def test_parts_change_nothing(name: str, tmp_path: Path, cut: Callable[[int], None], worked: list[int]) -> None:
    content, options = (PLAIN | OTHER)[name]
    expected = outcome(tmp_path / "whole", content, options)
    assert not worked
    cut(PART)
    assert outcome(tmp_path / "parts", content, options) == expected
    parts = len(list(jsonl._ends(tmp_path / "parts" / "source", len(as_bytes(content))))) - 1
    assert parts > 4
    assert (len(worked) == parts) == (name in PLAIN), "all parts are read by processes, or some in one piece"


def as_bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


@pytest.mark.parametrize(
    "name", ["table", "labels that are numbers", "series that begin late", "bad JSON", "a kind that changes"]
)
def test_nor_do_processes(name: str, tmp_path: Path, worked: list[int], cut: Callable[[int], None]) -> None:
    content, options = (PLAIN | OTHER)[name]
    alone = outcome(tmp_path / "alone", content, options)
    cut(2000)
    assert outcome(tmp_path / "together", content, options, processes=2) == alone
    assert worked
    assert set(worked) == {2}, "other processes did it"


def test_a_small_file_and_one_process_need_no_parts(
    tmp_path: Path, worked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "HEAD_BYTES", PART)
    outcome(tmp_path / "small", lines(ROWS), {}, processes=2)
    monkeypatch.setattr(jsonl, "_MIN_BYTES", 0)
    outcome(tmp_path / "alone", lines(ROWS), {}, processes=1)
    assert not worked


@pytest.mark.parametrize("name", ["series", "series in a column", "lists of one length"])
def test_series_at_the_beginning_start_no_process(
    name: str, tmp_path: Path, worked: list[int], cut: Callable[[int], None]
) -> None:
    cut(PART)
    outcome(tmp_path / "parts", *OTHER[name], processes=2)
    assert not worked


def test_series_of_several_processes_are_in_files_of_their_own(tmp_path: Path) -> None:
    context = Context(tmp_path, PrepareOptions(), Limits(), Notes(), _nothing)
    first, second = SeriesRows(context), SeriesRows(context)
    for rows, value in ((first, 1.0), (second, 2.0)):
        rows.add(np.array([[value]]))
        rows.close()
    assert [rows.finish()[0].item() for rows in (first, second)] == [1, 2]


@pytest.mark.parametrize(
    "limits", [Limits(rows=150), Limits(cells=1000), Limits(cells=1700), Limits(columns=8), Limits(field_chars=7)]
)
def test_limits_hold_for_all_parts_together(limits: Limits, tmp_path: Path, cut: Callable[[int], None]) -> None:
    content = changed(180, lambda i: {"late": i, "kind": "a kind of eleven"})
    expected = outcome(tmp_path / "whole", content, {}, limits)
    assert isinstance(expected[0], str)
    cut(PART)
    assert outcome(tmp_path / "parts", content, {}, limits) == expected


def test_parts_end_behind_lines(tmp_path: Path, cut: Callable[[int], None]) -> None:
    path = tmp_path / "rows"
    cut(100)
    for content in (lines(ROWS), lines(ROWS, end="\n\n").rstrip("\n"), lines([{"a": "x" * 5000}] * 20)):
        path.write_text(content)
        ends = list(jsonl._ends(path, path.stat().st_size))
        assert len(ends) > 9
        assert ends == sorted(set(ends))
        assert ends[-1] == path.stat().st_size
        assert all(path.read_bytes()[:end].endswith(b"\n") for end in ends[:-1])


NUMBERS = st.integers(-9, 9) | st.floats(-9, 9)
LABELS = st.lists(st.sampled_from("ab"), max_size=2)
COLUMNS = {
    "a": NUMBERS,
    "b": st.integers(0, 9),
    "text": st.sampled_from(["x", "y\n", "ü"]),
    "flag": st.booleans(),
    "labels": LABELS | st.lists(st.integers(0, 2), max_size=2),
    "tags": LABELS,
}
DRAWN = st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in COLUMNS.items()})
UNUSUAL = st.dictionaries(st.sampled_from([*COLUMNS, "s"]), st.one_of(*COLUMNS.values(), st.lists(NUMBERS, max_size=3)))
BETWEEN = st.sampled_from(["", "", "", "", "", "\n", "\r\n", " \n\n", "{\n", "[1, 2]\n"])


@given(
    drawn=st.lists(st.tuples(DRAWN, BETWEEN.filter(lambda text: not text.strip())), min_size=5, max_size=40),
    unusual=st.lists(st.tuples(UNUSUAL, BETWEEN), max_size=3),
    size=st.integers(1, 200),
    modality=st.sampled_from([None, None, "series", "table"]),
)
def test_any_rows_are_read_in_parts_as_in_one_piece(
    drawn: list[tuple[Row, str]], unusual: list[tuple[Row, str]], size: int, modality: str | None
) -> None:
    place = 2 * len(drawn) // 3
    content = "".join(
        json.dumps(row) + "\n" + between for row, between in [*drawn[:place], *unusual, *drawn[place:]]
    ).encode()
    options = PrepareOptions.model_validate({"modality": modality})
    expected = read(content, options)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"_MIN_BYTES": 0, "HEAD_BYTES": size, "PART_BYTES": size}.items():
            patched.setattr(jsonl, name, value)
        patched.setattr(Processes, "are_worth", lambda *_: True)
        assert read(content, options) == expected


def read(content: bytes, options: PrepareOptions) -> object:
    """Return all that is read of a file and noted of it, or the fault."""
    with TemporaryDirectory() as folder:
        source, notes = Path(folder) / "source", Notes()
        source.write_bytes(content)
        try:
            loaded = jsonl.read_jsonl(source, Context(Path(folder), options, Limits(), notes, _nothing))
        except DatasetError as error:
            return str(error), error.code, error.errors
        columns = [
            (replace(column, values=None), column.values.tobytes())
            if isinstance(column, NumberColumn)
            else (replace(column, values=None), column.values.type, column.values.to_pylist())
            for column in loaded.columns
        ]
        inputs = None if loaded.inputs is None else (np.shape(loaded.inputs), np.asarray(loaded.inputs).tobytes())
        rest = replace(loaded, inputs=None, columns=(), rows=np.empty(0), corrupt=(), unlabelled=np.empty(0))
        return columns, inputs, loaded.rows.tolist(), list(loaded.corrupt), str(rest), notes
