"""A model that is fitted on a prepared file understands the rows of that file as they are."""

import csv
import io
import itertools
from typing import Any

import numpy as np
import pytest

from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.registry import kinds
from app.predictions.bodies import comma_separated

from .conftest import Outcome, Preparer

ROWS = range(60)


def table(header: str, rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header.split(","), *rows])
    return buffer.getvalue()


MEMBERS = table("age,member,churn", [[f"{20 + i * 0.37:.3f}", i % 3 == 0, "stay" if i % 2 else "leave"] for i in ROWS])
SHOPS = table("age,shop,churn", [[f"{20 + i * 0.37:.3f}", f"{1 + i % 3}.0", "ab"[i % 2]] for i in ROWS])
DIGITS = table(
    "label,pixel0,pixel1,pixel2,pixel3,pixel4",
    [[i % 10, 0, 7 * i % 256, 11 * i % 256, i, 0] for i in ROWS],
)
REVIEWS = table("id,text,label", [[i, f"review {i} of so many words", "good" if i % 2 else "bad"] for i in ROWS])
SENTINELS = table(
    "age,shop,churn", [["-999" if i % 4 == 0 else 20 + i, ("u", "none", "v")[i % 3], "ab"[i % 2]] for i in ROWS]
)
GERMAN = "umsatz;preis;kunde\n" + "".join(
    f"{1 + i % 9}.{37 * i % 1000:03d};{i},{i % 10};{'ja' if i % 2 else 'nein'}\n" for i in ROWS
)
AMERICAN = table(
    "revenue, price ,churn",
    [[f"{1 + i % 9},{37 * i % 1000:03d}", f"{1 + i % 9},{37 * i % 1000:03d}.5", "ab"[i % 2]] for i in ROWS],
)
GERMAN_WAVES = "t0;t1;t2;label\n" + "".join(
    f"{i},5;{1 + i % 9}.{37 * i % 1000:03d};{i},25;{'ab'[i % 2]}\n" for i in ROWS
)
MIXED_WAVES = "t0;t1;t2;label\n" + "".join(
    f"{1 + i % 9}.{37 * i % 1000:03d},5;{1 + i % 9}.{37 * i % 1000:03d}5;{i};{'ab'[i % 2]}\n" for i in ROWS
)
SENTINEL_WAVES = table("t0,t1,t2,label", [[i, ("-999", "gone", i)[i % 3], -i, "ab"[i % 2]] for i in ROWS])
TRUTHS = table("age,ok,churn", [[20 + i, ("yes", "0", "TRUE", "n", "1", "False")[i % 6], "ab"[i % 2]] for i in ROWS])
VERSIONS = table("size,version,churn", [[i / 2, ("1.9", "1.10", "1.1", "2")[i % 4], "ab"[i % 2]] for i in ROWS])
STRAY = "a,note,churn\n" + "".join(f'{i * 1.5},"he said \\"{i % 3}\\"",{"ab"[i % 2]}\n' for i in ROWS)
WAVES = table("t0,t1,t2,label", [[i, i / 2, -i, "ab"[i % 2]] for i in ROWS])


def test_a_file_with_stray_quotes_is_read_alike_when_asked(make: Preparer) -> None:
    prepared = make(STRAY, columns={"churn": "target"})
    rows = fitted(prepared).decode(comma_separated.read(STRAY.encode()), Doubts())
    assert np.array_equal(rows[prepared.array("rows")], prepared.array("inputs"))


def fitted(prepared: Outcome) -> Any:
    kind: Any = kinds(AnyModality)[prepared.spec.modality]
    if prepared.spec.modality == "text":
        content, offsets = prepared.array("text").tobytes(), prepared.array("offsets")
        texts = [content[start:end].decode() for start, end in itertools.pairwise(offsets)]
        return kind.fit(np.array(texts, dtype=object), prepared.spec)
    return kind.fit(prepared.array("inputs"), prepared.spec)


@pytest.mark.parametrize(
    ("file", "options", "ignored"),
    [
        (MEMBERS, {"columns": {"churn": "target"}}, ["churn"]),
        (SHOPS, {"columns": {"churn": "target"}, "types": {"shop": "category"}}, ["churn"]),
        (DIGITS, {}, ["label", "pixel0", "pixel4"]),
        (REVIEWS, {}, ["id", "label"]),
        (WAVES, {"modality": "series"}, ["label"]),
        (GERMAN, {"columns": {"kunde": "target"}}, ["kunde"]),
        (SENTINELS, {"columns": {"churn": "target"}, "missing_values": ["-999", "none"]}, ["churn"]),
        (AMERICAN, {"columns": {"churn": "target"}}, ["churn"]),
        (GERMAN_WAVES, {"modality": "series"}, ["label"]),
        (MIXED_WAVES, {"modality": "series"}, ["label"]),
        (SENTINEL_WAVES, {"modality": "series", "missing_values": ["-999", "gone"]}, ["label"]),
        (TRUTHS, {"columns": {"churn": "target"}}, ["churn"]),
        (VERSIONS, {"columns": {"churn": "target"}}, ["churn"]),
    ],
)
def test_rows_of_the_file_are_asked_as_they_are(
    make: Preparer, file: str, options: dict[str, Any], ignored: list[str]
) -> None:
    prepared = make(file, **options)
    modality, doubts = fitted(prepared), Doubts()
    records = list(csv.DictReader(io.StringIO(file), delimiter=";" if ";" in file else ","))
    rows = modality.decode(records, doubts)
    assert len(rows) == len(ROWS)
    if prepared.spec.modality != "text":
        kept = prepared.array("rows")
        assert np.array_equal(rows[kept], prepared.array("inputs"), equal_nan=True)
    (warning,) = doubts.warnings()
    assert (warning.code, warning.count) == ("ignored_keys", len(ROWS))
    assert warning.message.endswith(f": {', '.join(map(repr, ignored))}.")
    assert doubts.errors() == []


def test_each_step_of_a_wide_series_is_read_by_its_own_notation(make: Preparer) -> None:
    modality = fitted(make(MIXED_WAVES, modality="series"))
    assert modality.decode([["1.234", "1.234", "5"]])[0, :, 0].tolist() == pytest.approx([1234, 1.234, 5])


@pytest.mark.parametrize("member", [True, "True", "TRUE", "true", 1, 1.0])
def test_true_meets_the_category_that_pandas_writes(make: Preparer, member: Any) -> None:
    modality, doubts = fitted(make(MEMBERS, columns={"churn": "target"})), Doubts()
    expected = modality.decode([{"age": 40, "member": "True"}])
    assert np.array_equal(modality.decode([{"age": 40, "member": member}], doubts), expected)
    assert not np.isnan(expected).any()
    assert doubts.warnings() == []
