"""Columns that several processes read are those that one reads, with the same report, or have the same fault."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.frames import column_parts
from app.datasets.frames.column_parts import load, store
from tests.unit.datasets.test_csv_in_parts import outcome

RANDOM = np.random.default_rng(0)
WORDS = ("the", "green", "house", "stands", "by", "a", "long", "road", "that", "nobody", "knows", "well")
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def sentence() -> str:
    return " ".join(RANDOM.choice(WORDS, size=9))


ROWS: list[dict[str, Any]] = [
    {
        "id": i,
        "number": round(float(RANDOM.normal()), 4),
        "count": int(RANDOM.integers(0, 1000)),
        "gaps": "n/a" if i % 50 == 3 else str(i % 17),
        "day": (EPOCH + timedelta(days=i % 90)).date().isoformat(),
        "moment": (EPOCH + timedelta(seconds=7919 * i)).isoformat(),
        "price": f"${i % 40 + 100}.50",
        "share": f"{i % 100},{i % 7}5",
        "kind": f"kind {i % 6}",
        "spelled": ("yes", " yes", "no")[i % 3],
        "version": f"1.{i % 12}",
        "code": f"{i % 30:05}",
        "sentinel": -999 if i % 40 == 0 else i % 9,
        "constant": 1,
        "words": sentence(),
        "repeats": f"class {i % 2}",
        "label": ("yes", "no")[i % 2],
    }
    for i in range(400)
]


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    lines = [list(rows[0]), *(row.values() for row in rows)]
    return "".join(";".join(map(str, line)) + "\n" for line in lines).encode()


def as_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps({**row, "tags": ["a", "b"][: i % 3]}) + "\n" for i, row in enumerate(rows)).encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(
        [{**row, "at": EPOCH + timedelta(hours=i), "flag": i % 3 == 0} for i, row in enumerate(rows)]
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def with_values(**changed: str) -> list[dict[str, Any]]:
    return [*ROWS[:200], {**ROWS[200], **changed}, *ROWS[201:]]


UPLOADS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "csv": (as_csv(ROWS), {"missing_values": ["kind 3", "4"]}),
    "json lines": (as_jsonl(ROWS), {}),
    "parquet": (as_parquet(ROWS), {"types": {"words": "text"}}),
    "texts": (as_csv([{"words": row["words"], "kind": row["kind"]} for row in ROWS]), {}),
    "faults": (as_csv(with_values(count="many", day="2020-02-30")), {"types": {"day": "date"}}),
    "nothing is left": (as_csv([{"a": 1, "b": "x", "label": row["label"]} for row in ROWS]), {}),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_processes_change_nothing(
    name: str, tmp_path: Path, worked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, options = UPLOADS[name]
    alone = outcome(tmp_path / "alone", content, options)
    worked.clear()
    monkeypatch.setattr(column_parts, "_MIN_BYTES", 0)
    monkeypatch.setattr(column_parts, "_PART_BYTES", 4000)
    assert outcome(tmp_path / "together", content, options, processes=2) == alone
    assert worked
    assert set(worked) == {2}, "other processes did it"
    assert isinstance(alone[0], str) == (name in {"faults", "nothing is left"})


@pytest.mark.parametrize(
    "values",
    [
        pa.chunked_array([["a", None], ["b"]], pa.string()),
        pa.chunked_array([], pa.string()),
        pa.array([["a"], [], None], pa.list_(pa.string())),
        np.array([1.5, np.nan]),
    ],
)
def test_values_come_back_from_their_file(values: Any, tmp_path: Path) -> None:
    loaded = load(store(values, tmp_path))
    if isinstance(values, np.ndarray):
        np.testing.assert_array_equal(loaded, values)
    else:
        assert loaded.type == values.type
        assert loaded.to_pylist() == values.to_pylist()
