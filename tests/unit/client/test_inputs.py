"""What users have in their hands reaches the service as rows, and what it doubts reaches them."""

import base64
import csv
import datetime as dt
import decimal
import io
import json
import warnings
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from graftwork import Graftwork, GraftworkApiError, GraftworkWarning
from graftwork.files import MAX_FILE_ROWS
from graftwork.inputs import requests_of, rows_of, to_json

DAY = dt.date(2024, 2, 29)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.str_("a"), "a"),
        ([np.str_("a"), "b"], ["a", "b"]),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (float("nan"), None),
        (np.int64(3), 3),
        (np.array([True])[0], True),
        (np.array([1.5, np.nan]), [1.5, None]),
        (np.array([[1, 2]], np.uint8), [[1, 2]]),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.datetime64("2024-02-29T10:00:00.000000000"), "2024-02-29T10:00:00.000000000"),
        (np.array(["2024-02-29", "NaT"], "M8[D]"), ["2024-02-29", None]),
        (DAY, "2024-02-29"),
        (dt.datetime(2024, 2, 29, 10, tzinfo=dt.UTC), "2024-02-29T10:00:00+00:00"),
        (decimal.Decimal("1.5"), 1.5),
        (dt.time(1, 0, 1, 500_000), 3601.5),
        (dt.timedelta(days=1, milliseconds=500), 86400.5),
        (np.timedelta64(1_500_000_000, "ns"), 1.5),
        (np.array([2, "NaT"], "m8[h]"), [7200, None]),
        ({"a": np.str_("x"), 1: (1, None)}, {"a": "x", "1": [1, None]}),
        (b"abc", "YWJj"),
    ],
)
def test_values_become_json(value: Any, expected: Any) -> None:
    converted = to_json(value)
    assert json.loads(json.dumps(converted)) == expected
    assert type(converted) in {bool, int, float, str, list, dict, type(None)}


class Frame:
    """A pandas frame as far as the client looks at it."""

    columns = ("age", "day")

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        return [{"age": np.float64(3), "day": DAY}, {"age": float("nan"), "day": DAY}]


def test_rows_of_frames_arrays_lists_and_single_things() -> None:
    assert to_json(rows_of(Frame())) == [{"age": 3, "day": "2024-02-29"}, {"age": None, "day": "2024-02-29"}]
    assert rows_of(pa.table({"a": [1, 2]})) == [{"a": 1}, {"a": 2}]
    assert to_json(rows_of(np.zeros((2, 3)))) == [[0, 0, 0]] * 2
    assert rows_of({"a": 1}) == [{"a": 1}]
    assert rows_of("one text") == ["one text"]
    assert rows_of(("a", "b")) == ["a", "b"]
    assert to_json(rows_of(value for value in "ab")) == ["a", "b"]


def test_pictures_are_sent_in_base64(tmp_path: Path) -> None:
    picture = Image.new("L", (3, 2), 7)
    picture.save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for inputs in (picture, [picture], [content], [tmp_path / "a.png"], [str(tmp_path / "a.png")]):
        (request,) = requests_of(inputs)
        (encoded,) = request["json"]["inputs"]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as sent:
            assert (sent.size, sent.getpixel((0, 0))) == ((3, 2), 7)


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.CSV"
    path.write_bytes(b"a\n1\n")
    for inputs in (path, str(path)):
        (request,) = requests_of(inputs)
        assert request == {"content": b"a\n1\n", "headers": {"Content-Type": "text/csv"}}
    (text,) = requests_of("no file.csv")
    assert text == {"json": {"inputs": ["no file.csv"]}}
    with pytest.warns(GraftworkWarning, match="there is no file 'none.csv'"):
        (text,) = requests_of("none.csv")
    assert text == {"json": {"inputs": ["none.csv"]}}
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(ValueError, match=r"end in \.csv"):
        list(requests_of(tmp_path / "a.txt"))


def test_each_warning_is_issued_once_where_the_user_asked() -> None:
    items = [{"code": "out_of_range", "message": "1 input holds 5.", "remedy": "check"}]

    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.params.get("unknown", "warn") in {"warn", "refuse"}
        return httpx.Response(200, json={"predictions": [{}], "warnings": items})

    graftwork = Graftwork("http://service", "a-key", transport=httpx.MockTransport(service))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graftwork.models.predict("m", {"a": 1})
        graftwork.models.predict("m", {"a": 2}, unknown="refuse")
    (warning,) = caught
    assert warning.category is GraftworkWarning
    assert str(warning.message) == "out_of_range: 1 input holds 5. (check)"
    assert warning.filename == __file__


def test_what_is_asked_of_the_answers_is_sent_with_every_request() -> None:
    queries = []

    def service(request: httpx.Request) -> httpx.Response:
        queries.append(request.url.query.decode())
        field = request.url.path.rsplit("/", 1)[1]
        return httpx.Response(200, json={field: [{}] * len(json.loads(request.content)["inputs"])})

    graftwork = Graftwork("http://service", "a-key", transport=httpx.MockTransport(service))
    graftwork.models.predict("m", ["a"] * 1500, heads=["x", "y z"], top_k=2, digits=3)
    graftwork.models.embed("m", ["a"], digits=4)
    graftwork.models.predict("m", ["a"])
    assert queries == ["heads=x&heads=y+z&top_k=2&digits=3"] * 2 + ["digits=4", ""]


class Row:
    """A row of a pandas frame, as far as the client looks at it: a Series, whose index are the columns' names."""

    index = ("age", "city")

    def to_dict(self) -> dict[str, Any]:
        return {"age": np.int64(3), "city": np.str_("Bern")}

    def tolist(self) -> list[Any]:
        return [np.int64(3), np.str_("Bern")]


def test_a_row_of_a_frame_is_one_row() -> None:
    assert to_json(rows_of(Row())) == [{"age": 3, "city": "Bern"}]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16"])
def test_pictures_of_every_mode_are_sent(mode: str) -> None:
    picture = Image.new(mode, (3, 2))
    with Image.open(io.BytesIO(base64.b64decode(to_json(picture)))) as sent:
        assert sent.size == (3, 2)


def test_16_bits_stay_16_bits() -> None:
    picture = Image.new("I", (3, 2), 4095)
    with Image.open(io.BytesIO(base64.b64decode(to_json(picture)))) as sent:
        assert np.asarray(sent).tolist() == [[4095] * 3] * 2


@pytest.mark.parametrize("picture", [Image.new("F", (3, 2), 0.5), Image.new("I", (3, 2), 70_000)])
def test_pictures_that_a_png_cannot_hold_are_refused_with_the_remedy(picture: Image.Image) -> None:
    with pytest.raises(ValueError, match=r"numpy.asarray\(picture\)"):
        to_json(picture)


def test_a_picture_stays_turned_as_its_exif_says() -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(buffer, "JPEG", exif=exif)
    with (
        Image.open(buffer) as picture,
        Image.open(io.BytesIO(base64.b64decode(to_json(picture)))) as sent,
    ):
        assert sent.getexif()[0x0112] == 6


def test_the_bytes_of_files_are_known_by_what_they_hold(tmp_path: Path) -> None:
    table = io.BytesIO()
    parquet.write_table(pa.table({"a": [1]}), table)
    for content, content_type in (
        (b"a\n1\n", "text/csv"),
        (b'"a","b"\n1,2\n', "text/csv"),
        (b'{"a": 1}\n', "application/x-ndjson"),
        (table.getvalue(), "application/vnd.apache.parquet"),
        (npy(np.zeros((1, 2))), "application/x-npy"),
    ):
        expected = {"content": content, "headers": {"Content-Type": content_type}}
        assert list(requests_of(content)) == [expected]
        assert list(requests_of(io.BytesIO(content))) == [expected]
    assert next(requests_of(io.StringIO("a\n1\n")))["content"] == b"a\n1\n"
    with pytest.raises(ValueError, match="no picture"):
        list(requests_of(b"\xff\xfe\x00"))
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    with pytest.raises(ValueError, match="one file of rows at a time"):
        list(requests_of([str(tmp_path / "a.csv")]))
    with pytest.raises(ValueError, match="infinite"):
        list(requests_of([[float("inf")]]))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_files_of_more_rows_than_a_request_takes_are_sent_in_parts() -> None:
    count = 2 * MAX_FILE_ROWS + 5
    table = io.BytesIO()
    parquet.write_table(pa.table({"n": range(count)}), table)
    records = [f'{n},"line\n{n}, ""so"""' for n in range(count)]
    csv_parts = [part["content"] for part in requests_of("\n".join(["sep=,", "n,text", *records]).encode())]
    assert len(csv_parts) == 3
    rows = [row for part in csv_parts for row in csv.DictReader(io.StringIO(part.decode().removeprefix("sep=,\n")))]
    assert [row["n"] for row in rows] == [str(n) for n in range(count)]
    assert rows[-1]["text"] == f'line\n{count - 1}, "so"'
    lines = [part["content"] for part in requests_of(b"\n".join(b'{"n": %d}' % n for n in range(count)))]
    assert [json.loads(line)["n"] for part in lines for line in part.splitlines()] == list(range(count))
    tables = [parquet.read_table(io.BytesIO(part["content"])) for part in requests_of(table.getvalue())]
    assert pa.concat_tables(tables)["n"].to_pylist() == list(range(count))
    arrays = [np.load(io.BytesIO(part["content"])) for part in requests_of(npy(np.arange(count)[:, None]))]
    assert np.concatenate(arrays).ravel().tolist() == list(range(count))


def test_more_texts_than_a_request_takes_are_continued_alike() -> None:
    seeds = []

    def service(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        seeds.append((len(body["inputs"]), body["seed"], body["unknown"]))
        return httpx.Response(200, json={"generations": [{}] * len(body["inputs"]), "warnings": []})

    graftwork = Graftwork("http://service", "a-key", transport=httpx.MockTransport(service))
    assert len(graftwork.models.generate("m", ["a"] * 300, seed=7, unknown="refuse")) == 300
    assert seeds == [(256, 7, "refuse"), (44, 263, "refuse")]


def test_an_error_in_a_later_request_says_where_it_counts_from() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        if b"b" in request.content:
            return httpx.Response(422, json={"code": "invalid_input", "detail": "inputs.0: bad"})
        count = len(json.loads(request.content)["inputs"])
        return httpx.Response(200, json={"predictions": [{}] * count, "warnings": []})

    graftwork = Graftwork("http://service", "a-key", transport=httpx.MockTransport(service))
    with pytest.raises(GraftworkApiError) as caught:
        graftwork.models.predict("m", ["a"] * 1000 + ["b"])
    assert caught.value.__notes__ == ["1000 inputs were answered; the error counts from there on."]
