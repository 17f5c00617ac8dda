"""Rows of large CSV, JSON Lines and Parquet bodies are those that small ones have, read block by block."""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from app.errors import TooLargeError, UnprocessableError
from app.predictions.bodies import comma_separated, json_lines, parquet
from app.predictions.bodies.lazy_rows import JoinedRows, LazyRows

Read = Callable[[bytes], Sequence[Any]]
MODULES = {"csv": comma_separated, "lines": json_lines, "parquet": parquet}


@pytest.fixture
def lazily(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], LazyRows]:
    """Reads a body as large ones are."""

    def read(form: str, content: bytes) -> LazyRows:
        with monkeypatch.context() as context:
            context.setattr(MODULES[form], "MIN_BYTES", 0)
            rows = MODULES[form].read(content)
            assert isinstance(rows, LazyRows)
            list(rows)  # as large ones are: each piece is read while it is so
            return rows

    return read


CSVS = {
    "plain": "a,b\n1,x\n2,\n,y\n",
    "crlf": "a;b\r\n1;x\r\n\r\n2;y",
    "quotes": 'a,b\n"1, 2","x\ny"\n3,"""z"""\n',
    "padded": 'a, b\n1, "x, y"\n',
    "stray quote": 'a,b\n1,5" wide\n2,"x"y\n',
    "titles": "# made in May\n# by hand,,\na,b,c\n---,---,---\n1,2,3\n",
    "open ends": "a,b,\n1,2,\n3,4,\n",
    "long rows": "a,b\n1,2,,\n3,4\n",
    "blanks": "a   b\n1  2\n 3 4\n",
    "separator": "sep=|\na|b\n1|x,y\n",
    "mark": "\ufeffa,b\n1,é\n",
    "sign": 'a,b\n1,"x\x1fy"\n2,z\n',
    "shown": "row,split,input,targets\n1,test,x,y\n",
}


@pytest.mark.parametrize("kind", CSVS)
def test_a_csv_is_read_as_a_small_one_is(lazily: Any, kind: str) -> None:
    content = CSVS[kind].encode()
    small, large = comma_separated.read(content), lazily("csv", content)
    assert list(large) == list(small)
    assert small  # there are rows
    assert [row for _, block in large.blocks(1) for row in block] == list(small)
    assert large[len(small) - 1] == small[-1]
    assert large[-1:] == small[-1:]


def test_any_sign_may_stand_in_a_field() -> None:
    assert comma_separated.read(CSVS["sign"].encode()) == [{"a": "1", "b": "x\x1fy"}, {"a": "2", "b": "z"}]


WRONG = {
    "width": ("a,b\n1,2\n3\n", "row 1 has 1 fields and the header has 2"),
    "names": ("a,a\n1,2\n", "two columns"),
    "rows": ("a,b\n", "holds no rows"),
    "many": ("a,b\n" + "1,2\n" * 4097, "more than 4096 rows"),
    "quote": ('a,b\n1,2\n"3,4\n5,6,7', "line"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_with_a_csv_is_said_at_once(lazily: Any, kind: str) -> None:
    content, words = WRONG[kind]
    for read in (comma_separated.read, lambda content: lazily("csv", content)):
        with pytest.raises(UnprocessableError, match=words):
            read(content.encode())
    with pytest.raises(UnprocessableError, match="not UTF-8"):
        comma_separated.read(b"a,b\n1,\xff\n")


def test_a_record_of_too_many_fields_is_refused() -> None:
    for content in (b"a,b\n" + b"1," * 140_000, b'"a",b\n"x\n' + b'","\n' * 140_000):
        with pytest.raises(TooLargeError, match="fields"):
            comma_separated.read(content)


LINES = [b'{"a": 1, "b": "x"}', b"[1, 2.5]", b"  [3, 4]", b'"a text"', b"null", b"[1, null]", b"[[1, 2], [3, 4]]"]


def test_lines_are_read_as_small_bodies_are(lazily: Any) -> None:
    content = b"\xef\xbb\xbf" + b"\r\n\n".join(LINES) + b"\n"
    small = json_lines.read(content)
    assert small == [json.loads(line) for line in LINES]
    large = lazily("lines", content)
    assert [row.tolist() if isinstance(row, np.ndarray) else row for row in large] == small
    numbers = lazily("lines", b"[1, 2]\n[3, 4]\n")
    ((_, block),) = numbers.blocks(10)
    assert len(block) == 2


def test_a_line_is_one_row_whatever_it_holds(lazily: Any) -> None:
    """Lines that are no JSON alone, and would be together, are refused by their numbers."""
    for content, line in ((b"[1\n2],[3]\n", 1), (b"[1]\n\n[2], [3]\n", 3), (b'[1]\n[2]], "a": [[3]\n', 2)):
        with pytest.raises(UnprocessableError, match=f"line {line}: ") as refused:
            lazily("lines", content)
        assert refused.value.errors[0].row == (0 if line == 1 else 1)


def test_parquet_is_read_a_few_rows_at_a_time(lazily: Any) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(300)), "b": [None, "x", "y"] * 100}), file, row_group_size=70)
    content = file.getvalue()
    large = lazily("parquet", content)
    assert list(large) == list(parquet.read(content))
    assert [first for first, _ in large.blocks(50)][:3] == [0, 50, 100]
    assert large[299] == {"a": 299, "b": "y"}


def test_the_rows_of_several_files_are_one_behind_the_other(lazily: Any) -> None:
    table = lazily("csv", b"a,b\n1,2\n3,4\n")
    joined = JoinedRows([table, [{"a": 5}], np.ones((2, 3)), table])
    assert len(joined) == 7
    firsts = [first for first, _ in joined.blocks(1)]
    assert firsts == list(range(7))
    assert joined[2] == {"a": 5}
    assert joined[6] == {"a": "3", "b": "4"}


def test_large_bodies_take_little_beside_themselves() -> None:
    """A CSV of numbers as much as JSON: its bytes, and some rows."""
    rows = "\n".join(",".join(["0.123456"] * 800) for _ in range(4000))
    content = f"{','.join(f'c{place}' for place in range(800))}\n{rows}\n".encode()
    assert len(content) > 20 << 20
    assert comma_separated.parsed_bytes(content) < len(content) // 2
    lines = "\n".join(f"[{row}]" for row in rows.split("\n")).encode()
    assert json_lines.FORM.parsed_bytes(lines) < len(lines) // 2
    file = io.BytesIO()
    pq.write_table(pa.table({f"c{place}": np.random.default_rng(0).normal(size=4000) for place in range(200)}), file)
    assert parquet.parsed_bytes(file.getvalue()) < 3 * len(file.getvalue())
