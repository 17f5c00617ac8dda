"""Columns of Parquet beyond plain ones: decimals, seconds, embeddings, series, named classes and images."""

import io
import json
from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.datasets.errors import Code
from app.datasets.limits import Limits
from app.ml.spec import WarningCode

from .conftest import Preparer, Refuser, picture

N = 40
V = [k / 3 for k in range(N)]
LABEL = ["ab"[k * 7 % 3 % 2] for k in range(N)]
EMBEDDINGS = np.random.default_rng(0).normal(size=(N, 3))
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def parquet(columns: dict[str, Any], features: dict[str, Any] | None = None, **options: Any) -> bytes:
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pa.array([Decimal(k) / 4 for k in range(N)], pa.decimal128(10, 2)), [k / 4 for k in range(N)]),
        (pa.array([Decimal(k * 5 % N) for k in range(N)], pa.decimal256(50, 0)), [k * 5 % N for k in range(N)]),
        (pa.array([k / 4 for k in range(N)], pa.float16()), [k / 4 for k in range(N)]),
        (pa.array([k % 7 for k in range(N)]).dictionary_encode(), [k % 7 for k in range(N)]),
        (pa.array([time(k % 24, k) for k in range(N)], pa.time64("us")), [k % 24 * 3600 + k * 60 for k in range(N)]),
        (pa.array([time(k % 24, k) for k in range(N)], pa.time32("s")), [k % 24 * 3600 + k * 60 for k in range(N)]),
        (pa.array([timedelta(seconds=k / 2) for k in range(N)], pa.duration("ns")), [k / 2 for k in range(N)]),
    ],
)
def test_numbers_of_every_type_are_numbers(make: Preparer, values: Any, numbers: list[float]) -> None:
    done = make(parquet({"x": values, "v": V, "label": LABEL}))
    assert [column.type for column in done.spec.columns] == ["number", "number"]
    np.testing.assert_array_equal(done.array("inputs")[:, 0], numbers)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.large_list(pa.float64()), pa.list_(pa.float16())]
)
def test_embeddings_are_columns(make: Preparer, kind: Any) -> None:
    values = pa.array(EMBEDDINGS.astype(np.float16).tolist(), pa.list_(pa.float64())).cast(kind)
    content = parquet({"embedding": values, "v": V, "label": LABEL}, row_group_size=7)
    done = make(content)
    assert [column.name for column in done.spec.columns] == ["v", "embedding0", "embedding1", "embedding2"]
    np.testing.assert_array_equal(done.array("inputs")[:, 1:], EMBEDDINGS.astype(np.float16))
    assert done.decision("columns.embedding") == "columns"
    series = make(content, modality="series")
    assert (series.spec.modality, series.spec.shape, series.says("columns left out")) == ("series", (3, 1), True)


def test_a_row_without_an_embedding_lacks_values(make: Preparer, refused: Refuser) -> None:
    values = pa.array([None, *EMBEDDINGS[1:].tolist()], pa.list_(pa.float64()))
    done = make(parquet({"embedding": values, "label": LABEL}), missing="impute")
    assert np.isnan(done.array("inputs")[0]).all()
    targets = make(
        parquet({"v": V, "y": pa.array(EMBEDDINGS.tolist(), pa.list_(pa.float64()))}), columns={"y": "target"}
    )
    assert [target.name for target in targets.spec.targets] == ["y0", "y1", "y2"]
    wide = parquet({"embedding": values, "label": LABEL})
    refused(Code.TOO_LARGE, wide, limits=Limits(cells=100))


def test_lists_of_other_lengths_are_series(make: Preparer, refused: Refuser) -> None:
    lists = [[float(k), *range(k % 4 + 1)] for k in range(N)]
    content = parquet({"beats": pa.array(lists, pa.list_(pa.float64())), "activity": LABEL})
    done = make(content)
    assert (done.spec.modality, done.spec.shape, done.decision("modality")) == ("series", (5, 1), "series")
    assert [target.name for target in done.spec.targets] == ["activity"]
    assert done.array("inputs")[5, :, 0].tolist()[:3] == [5, 0, 1]
    assert 'modality="series"' in refused(Code.BAD_SERIES, content, modality="table").message
    nested = pa.array([[[k, 1], [2, 3]] for k in range(N)], pa.list_(pa.list_(pa.float64())))
    assert make(parquet({"steps": nested, "label": LABEL})).spec.shape == (2, 2)
    both = parquet({"a": pa.array(lists, pa.list_(pa.float64())), "b": pa.array(lists, pa.list_(pa.float64()))})
    assert "a, b" in refused(Code.BAD_SERIES, both).message


def feature(*names: str) -> dict[str, Any]:
    return {"names": list(names), "_type": "ClassLabel"}


def test_the_names_of_hugging_faces_classes_are_the_classes(make: Preparer) -> None:
    numbers = [k % 3 - 1 for k in range(N)]
    content = parquet({"v": V, "label": numbers}, {"label": feature("neg", "pos"), "v": {"dtype": "float64"}})
    done = make(content, unlabelled="keep")
    assert done.spec.targets[0].classes == ("neg", "pos")
    expected = [np.nan if number < 0 else number for number in numbers]
    np.testing.assert_array_equal(done.array("targets")[:, 0], expected)
    assert done.says("rows hold -1, which means no label")
    assert make(content, types={"label": "number"}).spec.targets[0].type == "number"


def test_a_number_without_a_name_is_warned_of(make: Preparer) -> None:
    content = parquet({"v": V, "label": [k % 3 for k in range(N)]}, {"label": feature("neg", "pos")})
    done = make(content)
    warning = done.warning(WarningCode.UNKNOWN_CLASS_NUMBER)
    assert (warning.count, warning.rows[:2], done.spec.targets[0].classes) == (13, (2, 5), ("0", "1", "2"))
    damaged = pa.table({"v": V, "label": LABEL}).replace_schema_metadata({"huggingface": "{" * 100})
    buffer = io.BytesIO()
    pq.write_table(damaged, buffer)
    assert make(buffer.getvalue()).spec.targets[0].classes == ("a", "b")


def test_lists_of_named_classes_are_labels(make: Preparer) -> None:
    lists = pa.array([[0, 1], [1], [], [0]] * 10, pa.list_(pa.int64()))
    for kind in ({"feature": feature("x", "y"), "_type": "Sequence"}, [feature("x", "y")]):
        done = make(parquet({"v": V, "labels": lists}, {"labels": kind}))
        assert [target.name for target in done.spec.targets] == ["labels.x", "labels.y"]


def test_images_of_hugging_face_are_images(make: Preparer) -> None:
    pictures = [{"bytes": picture(k), "path": f"{k}.png"} for k in range(N)]
    pictures[3] = {"bytes": b"no image", "path": "3.png"}
    content = parquet({"image": pictures, "label": [k % 2 for k in range(N)]}, {"label": feature("cat", "dog")})
    done = make(content)
    assert (done.spec.modality, done.spec.shape, done.spec.targets[0].classes) == ("image", (6, 8, 3), ("cat", "dog"))
    assert done.report.rows.removed["corrupt"] == 1
    assert done.array("rows").tolist() == [row for row in range(N) if row != 3]
    np.testing.assert_array_equal(done.array("targets")[:, 0], [row % 2 for row in range(N) if row != 3])
    plain = parquet({"picture": pa.array([picture(k) for k in range(N)], pa.binary()), "fruit": LABEL})
    assert [target.name for target in make(plain).spec.targets] == ["fruit"]


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        (pa.array([{"bytes": None, "path": "a.png"}] * N, PICTURE), "only a path"),
        (pa.array([b"ID3 sound"] * N, pa.binary()), "no JPEG, PNG or WebP image"),
        ([{"width": 1, "height": 2}] * N, "a column for each of its fields (width, height)"),
        ([[{"role": "user", "content": "hi"}]] * N, "chat messages"),
        ([[{"id": 3}]] * N, "a row of its own"),
        (pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())), "use numbers"),
    ],
)
def test_columns_that_are_not_read_name_the_remedy(refused: Refuser, make: Preparer, column: Any, remedy: str) -> None:
    content = parquet({"x": column, "v": V, "label": LABEL})
    message = refused(Code.UNSUPPORTED_COLUMN, content).message
    assert remedy in message
    assert 'columns={"x": "ignored"}' in message
    assert [item.name for item in make(content, columns={"x": "ignored"}).spec.columns] == ["v"]
