"""What users have in their hands reaches the service as rows, and what it doubts reaches them."""

import base64
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

from app.client import Graftwork, GraftworkWarning
from app.client.inputs import requests_of, rows_of, to_json

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
    for inputs in (picture, [picture], content, [tmp_path / "a.png"]):
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
