"""The preview of prepared rows."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from app.datasets.canonical.rows import preview

from .conftest import Preparer, npz


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_png(make: Preparer, channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (10, 5, 4, channels), dtype=np.uint8)
    done = make(npz(x=x, y=np.arange(10) % 2))
    rows = preview(done.folder, done.spec, 3, 4)
    json.dumps(rows, allow_nan=False)
    assert [row["row"] for row in rows] == [3, 4, 5, 6]
    assert rows[0]["targets"] == {"label": "1"}
    data = base64.b64decode(rows[0]["input"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))).reshape(5, 4, channels), x[3])


def test_tables_are_named_cells(make: Preparer) -> None:
    done = make("a,s,label\n1,x,p\n,y,q\n3,,p\n")
    rows = preview(done.folder, done.spec, 0, 10)
    assert [row["input"] for row in rows] == [{"a": 1, "s": "x"}, {"a": None, "s": "y"}, {"a": 3, "s": None}]
    assert [row["targets"]["label"] for row in rows] == ["p", "q", "p"]
    assert {row["split"] for row in rows} <= {"train", "validation", "test"}
    assert preview(done.folder, done.spec, 3, 10) == []
    unlabelled = make("a,b\n1,2\n3,4\n")
    assert preview(unlabelled.folder, unlabelled.spec, 0, 1)[0]["targets"] == {}


def test_texts_are_shown_to_a_bound(make: Preparer) -> None:
    texts = ["short", "x" * 2000, "y" * 2001, "\u00e4" * 5000]
    done = make("\n".join(texts), text={"rows": "lines"}, splits={"train": 1.0})
    inputs = [row["input"] for row in preview(done.folder, done.spec, 0, 10)]
    assert [item["truncated"] for item in inputs] == [False, False, True, True]
    assert [len(item["text"]) for item in inputs] == [5, 2000, 2000, 2000]
    assert inputs[2]["text"] == "y" * 1999 + "\u2026"
    assert preview(done.folder, done.spec, 1, 1)[0]["row"] == 1
    assert preview(done.folder, done.spec, 4, 1) == []


def test_series_are_lists_of_steps(make: Preparer) -> None:
    done = make("[[1, null], [2, 3]]\n[[4, 5]]\n[[6, 7], [null, null], [8, null]]\n")
    inputs = [row["input"] for row in preview(done.folder, done.spec, 0, 10)]
    assert inputs == [[[1, None], [2, 3]], [[4, 5]], [[6, 7], [None, None], [8, None]]]
    json.dumps(inputs, allow_nan=False)
