"""Cleaning steps, each alone: what it finds, does and reports, on real data."""

import io
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from app.datasets.cleaning import Cleaning, Step
from app.datasets.cleaning.labels import find_misspellings, find_spellings
from app.datasets.cleaning.near_duplicates import choose_removed
from app.datasets.cleaning.outliers import limits
from app.datasets.cleaning.text import Text
from app.datasets.errors import Code
from app.datasets.frames.digests import digest_rows
from app.datasets.likeness import sketch
from app.ml.kinds.registry import kinds as kinds_of

from .conftest import Preparer, Refuser, npz, zipped
from .samples import cancer, csv, digits, step, texts

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
    removed = make(doubled)
    assert removed.report.rows.removed["conflicting_labels"] == 6
    kept = make(doubled, cleaning=[{"kind": "duplicates", "conflicting": "keep"}])
    assert kept.report.rows.kept == 33
    assert step(kept, "duplicates").action == "report"
    none = make(doubled, cleaning=[{"kind": "duplicates", "action": "report"}])
    assert (none.report.rows.kept, step(none, "duplicates").affected) == (33, 3)


# near duplicates


def test_near_duplicates_are_reported_and_on_demand_removed(make: Preparer) -> None:
    x, y = digits()
    darker = (x[:40] * 0.9).astype(np.uint8)
    data = npz(x=np.concatenate([x, darker]), y=np.concatenate([y, y[:40]]))
    reported = make(data)
    assert reported.report.rows.kept == 540
    assert 38 <= step(reported, "near_duplicates").affected <= 41
    removed = make(data, cleaning=[{"kind": "near_duplicates", "action": "remove"}])
    removals = [item for item in removed.report.removals if item.reason == "near_duplicate"]
    assert {item.row for item in removals} <= set(range(500, 540))
    assert len(removals) >= 38
    assert all(item.detail == f"nearly the same as row {item.row - 500}" for item in removals)


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
    details = {item.row: item.detail for item in done.report.removals}
    assert details == {2: "nearly the same as row 0"}, "rows 0 and 1 differ in the second target"


def test_a_row_goes_only_if_it_is_like_one_that_stays() -> None:
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    assert choose_removed(chain, np.zeros(4, np.int64)).tolist() == [[1, 0], [3, 2]]
    assert choose_removed(chain[:1], np.array([1, 0])).tolist() == [[0, 1]]


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


def test_capitals_inside_of_words_mean_something(make: Preparer) -> None:
    """As in names of vowels; a capital that slipped in is none."""
    vowels = ("hid", "hId", "hEd", "hed", "had", "hAd")
    done = make("size,label\n" + "".join(f"{row},{vowels[row % 6]}\n" for row in range(60)))
    assert set(done.spec.targets[0].classes) == {*vowels}
    assert "'hId' = 'hid'" in done.warning("similar_classes").message
    names = ["caT" if row == 9 else ("cat", "Cat", "dog")[row % 3] for row in range(60)]
    slips = make("size,label\n" + "".join(f"{row},{name}\n" for row, name in enumerate(names)))
    assert len(slips.spec.targets[0].classes) == 2


def test_categories_of_inputs_are_merged_on_demand(make: Preparer) -> None:
    town = ["Bern", "bern", "Genf", "BERN "] * 10
    table = csv({"town": town, "size": [k * k for k in range(40)], "label": list("xy") * 20})
    assert len(make(table).spec.columns[0].categories) == 4 - 0
    done = make(table, cleaning=[{"kind": "labels", "inputs": True}])
    assert done.spec.columns[0].categories == ("Bern", "Genf") or done.spec.columns[0].categories == ("BERN", "Genf")
    assert (done.array("inputs")[:, 0] == 1).sum() == 10


def test_twins_and_slips() -> None:
    names = ["Cat", "cat", "ＣＡＴ", "dog", "Straße", "STRASSE"]  # noqa: RUF001 - wide letters
    assert find_spellings(names, [5, 9, 1, 3, 1, 2]) == [[1, 0, 2], [5, 4]]
    rare = ["kitchen", "kichen", "kitcheen", "kitchan", "kitch", "room1", "room2", "kitchens"]
    counts = [100, 1, 2, 3, 1, 100, 1, 60]
    assert find_misspellings(rare, counts) == [(1, 0), (2, 0), (3, 0)]


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
    report = step(done, "outliers")
    assert (report.action, report.unit, report.affected) == (action, "values", 1)
    assert "row 17: 9999" in report.examples[0]
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


def test_the_digests_that_are_kept_are_those_of_the_rows_that_are_kept(make: Preparer) -> None:
    columns = cancer()
    columns["mean_radius"][17] = 9_999.0
    columns["visit"] = range(569)
    steps = [{"kind": "duplicates"}, {"kind": "near_duplicates"}, {"kind": "outliers", "action": "clip"}]
    done = make(csv(columns), cleaning=[*steps, {"kind": "leaking_columns", "action": "drop"}])
    assert done.spec.shape == (6,)
    inputs = done.array("inputs")
    np.testing.assert_array_equal(done.array("digests"), digest_rows(inputs, done.spec.columns))
    np.testing.assert_array_equal(done.array("likeness"), sketch(inputs, done.spec.columns))


@pytest.mark.parametrize("action", ["report", "clip", "missing", "remove"])
def test_outliers_of_a_target_are_found_too(make: Preparer, action: str) -> None:
    random = np.random.default_rng(0)
    price = random.normal(100, 10, 60)
    price[7] = 1e9
    columns = {"rooms": random.normal(size=60), "price": price}
    done = make(csv(columns), cleaning=[{"kind": "outliers", "action": action}], columns={"price": "target"})
    report = step(done, "outliers")
    assert (report.affected, "1e+09" in report.examples[0]) == (1, True)
    prices = done.array("targets")[:, 0]
    if action == "remove":
        assert len(prices) == 59
        return
    assert {"report": prices[7] == 1e9, "clip": 100 < prices[7] < 300, "missing": np.isnan(prices[7])}[action]
    np.testing.assert_array_equal(np.delete(prices, 7), np.delete(price, 7))


def test_outliers_of_a_column_that_is_not_there(refused: Refuser) -> None:
    steps = [{"kind": "outliers", "columns": ["label"]}]
    error = refused(Code.UNKNOWN_COLUMN, csv(cancer()), cleaning=steps)
    assert "'label'" in str(error)


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
    lower_first = make(texts(rows, labels), modality="text", cleaning=[lower, twice])
    twice_first = make(texts(rows, labels), modality="text", cleaning=[twice, lower])
    assert (lower_first.report.rows.kept, twice_first.report.rows.kept) == (10, 12)


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
    affected = {item.kind: item.affected for item in done.report.cleaning if item.action == "remove"}
    removed = done.report.rows.removed
    assert affected == {"duplicates": removed["duplicate"], "near_duplicates": removed["near_duplicate"]}
    assert done.report.rows.read == done.report.rows.kept + sum(removed.values())
    assert all(item.decision for item in done.report.cleaning)
