"""Columns that give the answer away, columns that teach nothing, and rows of train in test."""

from typing import Any

import numpy as np
import sklearn.datasets

from app.datasets.cleaning.leaking_columns import find_leak
from app.datasets.errors import Code
from app.ml.spec import ColumnSpec, TargetSpec

from .conftest import Preparer, Refuser, npz
from .samples import cancer, csv, digits, kinds, step


def test_columns_that_give_the_answer_away(make: Preparer) -> None:
    columns = cancer()
    label = columns.pop("label")
    number = np.array([name == "benign" for name in label])
    rng = np.random.default_rng(0)
    leaks = {
        "code": ["M" if name == "malignant" else "B" for name in label],
        "ward": [rng.choice(["w1", "w2"] if yes else ["w3", "w4"]) for yes in number],
        "score": np.where(number, 0.2, 0.7) + rng.uniform(0, 0.2, len(number)),
        "visit": range(len(number)),
    }
    table = csv({**columns, **leaks, "label": label})
    done = make(table)
    reasons = dict(text.split(": ", 1) for text in step(done, "leaking_columns").examples)
    assert set(reasons) == {"code", "ward", "score", "visit"}
    assert reasons["code"].endswith("one to one")
    assert "accuracy of 1.0" in reasons["ward"]
    assert "1.0000" in reasons["score"]
    assert "names every row" in reasons["visit"]
    assert len(done.spec.columns) == 10
    assert done.says("code: ")
    dropped = make(table, cleaning=[{"kind": "leaking_columns", "action": "drop"}])
    assert [column.name for column in dropped.spec.columns] == list(columns)
    assert dropped.array("inputs").shape == (569, 6)
    np.testing.assert_array_equal(dropped.array("split"), done.array("split"))
    np.testing.assert_allclose(dropped.array("inputs")[:, 0], columns["mean_radius"], rtol=1e-6)


def test_honest_tables_leak_nothing(make: Preparer) -> None:
    assert "leaking_columns" not in kinds(make(csv(cancer())))
    diabetes = sklearn.datasets.load_diabetes()
    assert "leaking_columns" not in kinds(make(npz(x=diabetes.data, y=diabetes.target)))
    wine = sklearn.datasets.load_wine()
    assert "leaking_columns" not in kinds(make(npz(x=wine.data, y=wine.target)))


def test_targets_of_numbers_leak_too() -> None:
    rng = np.random.default_rng(0)
    answers = rng.normal(size=500)
    target, column = TargetSpec(name="price", type="number"), ColumnSpec(name="c", type="number")

    def reason(values: Any) -> str | None:
        return find_leak(column, np.asarray(values, np.float64), target, answers, 0.999)

    assert reason(answers) == "it equals target price"
    assert "R2 of 1.0000" in str(reason(3 * answers + 7))
    assert reason(answers + rng.normal(size=500)) is None
    assert reason(np.full(500, np.nan)) is None
    assert reason(np.full(500, 4.0)) is None
    steps = np.round(2 * answers) / 2
    assert find_leak(column, -(steps**2) + steps * 9, target, steps, 0.999) is not None, "no line, but one value each"


def test_a_rule_is_not_mistaken_for_chance() -> None:
    """With as many values as rows any table can be learned by heart."""
    rng = np.random.default_rng(0)
    target = TargetSpec(name="label", type="category", classes=("a", "b", "c"))
    names = tuple(map(str, range(300)))
    for column, values in (
        (ColumnSpec(name="c", type="number"), rng.normal(size=300)),
        (ColumnSpec(name="c", type="category", categories=names), rng.permutation(300).astype(float)),
    ):
        assert find_leak(column, values, target, rng.integers(0, 3, 300).astype(float), 0.999) is None
    rare = np.zeros(300)
    rare[5] = 1
    assert find_leak(ColumnSpec(name="c", type="number"), rng.normal(size=300), target, rare, 0.99) is None


def test_only_train_is_judged(make: Preparer) -> None:
    """A column that gives away the labels of test alone is no rule, and one that does so in train is."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 400)
    split = np.where(np.arange(400) < 200, "train", "test")
    for where in ("train", "test"):
        column = np.where(split == where, label, rng.integers(0, 2, 400))
        table = csv({"a": rng.normal(size=400), "told": column, "split": split, "label": [f"k{v}" for v in label]})
        assert ("leaking_columns" in kinds(make(table))) == (where == "train")


def test_constant_columns_of_arrays_are_told_and_dropped_on_demand(make: Preparer) -> None:
    x = sklearn.datasets.load_digits().data[:300]
    empty = {f"x{j}" for j in range(64) if np.ptp(x[:, j]) == 0}
    y = sklearn.datasets.load_digits().target[:300]
    done = make(npz(x=x, y=y))
    assert step(done, "constant_columns").affected >= len(empty) > 5
    assert set(step(done, "constant_columns").examples) <= {f"x{j}" for j in range(64)}
    assert done.spec.shape == (64,)
    dropped = make(npz(x=x, y=y), cleaning=[{"kind": "constant_columns", "action": "drop"}])
    assert dropped.spec.shape[0] <= 64 - len(empty)
    assert not empty & {column.name for column in dropped.spec.columns}
    assert (np.ptp(dropped.array("inputs")[dropped.array("split") == 0], axis=0) > 0).all()


def test_dropping_every_column_is_refused(refused: Refuser) -> None:
    table = csv({"told": [k % 2 for k in range(60)], "label": ["ab"[k % 2] for k in range(60)]})
    refused(Code.NO_INPUTS, table, cleaning=[{"kind": "leaking_columns", "action": "drop"}])


def test_rows_of_train_in_test_are_found(make: Preparer) -> None:
    x, y = digits()
    split = np.array(["train"] * 400 + ["validation"] * 50 + ["test"] * 50)
    x = x.copy()
    x[450:455] = x[:5]
    x[400:403] = (x[10:13] * 0.9).astype(np.uint8)
    x[460:462] = (x[470:472] * 0.9).astype(np.uint8)  # both in test: no leak
    y = y.copy()
    y[450:455], y[400:403], y[460:462] = y[:5], y[10:13], y[470:472]
    done = make(npz(x=x, y=y, split=split), duplicates="keep")
    leaks = done.report.leaks
    assert leaks is not None
    assert [(c.kind, c.split, c.other_split, c.rows) for c in leaks.counts] == [
        ("exact", "test", "train", 5),
        ("near", "validation", "train", 3),
    ]
    same, alike = zip(range(450, 455), range(5), strict=True), [(400, 10), (401, 11), (402, 12)]
    assert [(item.row, item.other_row) for item in leaks.rows] == [*same, *alike]
    assert "duplicates" in leaks.advice
    clean = make(npz(x=x[:400], y=y[:400]), cleaning=[{"kind": "near_duplicates", "action": "remove"}]).report.leaks
    assert clean is not None
    assert clean.counts == ()


def test_rows_of_a_table_that_round_alike_leak(make: Preparer) -> None:
    wine = sklearn.datasets.load_wine()
    x = np.concatenate([wine.data, wine.data[:20] * (1 + 1e-6)])
    y = np.concatenate([wine.target, wine.target[:20]])
    split = np.array(["train"] * 178 + ["test"] * 20)
    leaks = make(npz(x=x, y=y, split=split)).report.leaks
    assert leaks is not None
    assert [(c.kind, c.split, c.other_split, c.rows) for c in leaks.counts] == [("near", "test", "train", 20)]
    assert leaks.rows[3].other_row == 3
