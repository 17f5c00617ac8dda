"""Columns of texts in a table: tickets with a subject, a body, a product and a priority."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.datasets.canonical.rows import inputs_of, open_inputs, preview
from app.datasets.errors import Code
from app.ml.data.arrays import ArrayData
from app.ml.data.words import MAX_WORDS, cells_of, codes_of
from app.ml.errors import InputError
from app.ml.interfaces.doubts import Doubts
from app.ml.kinds.modalities.table import TableModality
from app.ml.models.bundle import read_bundle
from app.ml.spec import WarningCode
from tests.support.texts import run_of

from .conftest import Preparer, Refuser
from .test_column_kinds import csv_of

PLACES = ("office", "kitchen", "cellar", "garden", "lobby", "garage", "studio")


def tickets(rows: int = 240, seed: int = 0) -> dict[str, list[Any]]:
    """What is broken says the team, which neither the product nor the hours do."""
    random = np.random.default_rng(seed)
    teams = random.integers(0, 3, rows)
    things = (("printer", "scanner"), ("password", "login"), ("invoice", "payment"))
    bodies = [
        f"Since {random.integers(1, 30)} days the {random.choice(things[team])} of the {random.choice(PLACES)} "
        f"does not work as it did in the {random.choice(PLACES)} number {random.integers(1, 99)}."
        for team in teams
    ]
    return {
        "body": bodies,
        "product": [("basic", "plus")[k] for k in random.integers(0, 2, rows)],
        "hours": random.integers(1, 500, rows).tolist(),
        "team": [("hardware", "access", "billing")[team] for team in teams],
    }


TARGET = {"team": "target"}


def opened(done: Any) -> ArrayData:
    return ArrayData.open(done.folder)


def test_their_words_are_learned_from_with_the_other_columns(make: Preparer, tmp_path: Path) -> None:
    done = make(csv_of(**tickets()), columns=TARGET)
    assert [(column.name, column.type) for column in done.spec.columns] == [
        ("body", "text"),
        ("product", "category"),
        ("hours", "number"),
    ]
    data = opened(done)
    run = run_of(data, {"heads": [{"kind": "classifier", "target": "team"}], "strategy": {"kind": "linear_probe"}})
    evaluation = run.evaluate("test")
    assert evaluation is not None
    assert evaluation.heads["team"]["accuracy"] > 0.9, "a third without the texts"
    names = run.save_bundle(tmp_path)
    assert "words.npz" in names
    modality = read_bundle(tmp_path).manifest.modality
    assert isinstance(modality, TableModality)
    rows = inputs_of(open_inputs(done.folder, done.spec), done.spec, slice(0, 7))
    stored = data.inputs[slice(0, 7)]
    assert np.array_equal(modality.decode(rows), stored, equal_nan=True), "predictions read rows as preparation does"
    assert torch.equal(modality.encode(stored), run.modality.encode(stored))
    assert torch.allclose(modality.encoder()(torch.from_numpy(stored)), modality.encode(stored), atol=1e-4)
    example = modality.signature().example["inputs"]
    assert modality.decode(example).shape == (1, modality.row_width)
    assert [column.type for column in modality.signature().columns] == ["text", "category", "number"]


def test_several_texts_with_a_target_are_a_table(make: Preparer) -> None:
    sent = tickets(60)
    subjects = [
        f"{body.split(' of ')[0].split(' the ')[1]} broken since {n} days" for n, body in enumerate(sent["body"])
    ]
    columns = {"subject": subjects, **sent}
    del columns["hours"]
    done = make(csv_of(**columns), columns=TARGET)
    assert [column.type for column in done.spec.columns] == ["text", "text", "category"]
    shown = inputs_of(open_inputs(done.folder, done.spec), done.spec, slice(0, 5))
    modality = TableModality.fit(opened(done).to_fit(), done.spec)
    assert np.array_equal(modality.decode(shown), opened(done).inputs[slice(0, 5)], equal_nan=True)


def test_rows_are_shown_as_they_were_sent(make: Preparer) -> None:
    sent = tickets(30)
    sent["body"][4] = ""
    done = make(csv_of(**sent), columns=TARGET)
    shown = {row["row"]: row["input"]["body"] for row in preview(done.folder, done.spec, 0, 30)}
    assert shown == {row: text or None for row, text in enumerate(sent["body"])}


def test_another_dataset_with_other_columns_between_fits(make: Preparer) -> None:
    sent = tickets(60)
    first = make(csv_of(**sent), columns=TARGET)
    moved = {name: sent[name] for name in ("hours", "product", "team", "body")}
    second = make(csv_of(**moved), columns=TARGET)
    modality = TableModality.fit(opened(first).to_fit(), first.spec)
    ours, theirs = (modality.aligned(opened(done).inputs[slice(None)], done.spec) for done in (first, second))
    assert sorted(map(tuple, np.nan_to_num(ours, nan=-1))) == sorted(map(tuple, np.nan_to_num(theirs, nan=-1)))
    adapted = modality.adapted_to(opened(second).to_fit(), second.spec)
    assert torch.equal(adapted.encode(ours), modality.encode(ours))


def test_what_a_prediction_may_hold(make: Preparer) -> None:
    done = make(csv_of(**tickets(60)), columns=TARGET)
    modality = TableModality.fit(opened(done).to_fit(), done.spec)
    row = {"body": "The printer of the office does not work", "product": "plus", "hours": 3}
    doubts = Doubts()
    modality.decode([row], doubts)
    assert not doubts.any
    modality.decode([{**row, "body": "Quelle surprise que vous ayez vu"}], doubts)
    assert doubts.any
    with pytest.raises(InputError, match="expected a text, not a int"):
        modality.decode([{**row, "body": 3}])
    for missing in (None, "  "):  # a missing text has no words
        doubts = Doubts()
        encoded = modality.encode(modality.decode([{**row, "body": missing}], doubts))
        assert encoded.count_nonzero() == 2  # the category and the number
        (warning,) = doubts.warnings()
        assert (warning.code, "give a text" in warning.message) == ("missing_value", True)
    assert modality.decode_sound(np.zeros((2, 3))) is None


def test_types_and_roles_overrule(make: Preparer, refused: Refuser) -> None:
    sent = tickets(60)
    done = make(csv_of(**sent), columns={**TARGET, "body": "ignored"})
    assert "body" not in [column.name for column in done.spec.columns]
    done = make(csv_of(**sent), columns=TARGET, types={"product": "text"})
    assert {column.name: column.type for column in done.spec.columns}["product"] == "text"
    lines = [json.dumps(dict(zip(sent, row, strict=True))) for row in zip(*sent.values(), strict=True)]
    error = refused(Code.BAD_OPTION, "\n".join(lines), columns=TARGET, types={"hours": "text"})
    assert "hours" in str(error)


def test_long_texts_are_cut_with_a_warning(make: Preparer) -> None:
    sent = tickets(40)
    sent["body"][3] = " ".join(f"word{number}" for number in range(MAX_WORDS + 1))
    warning = make(csv_of(**sent), columns=TARGET).warning(WarningCode.TEXTS_CUT)
    assert (warning.count, warning.rows) == (1, (3,))


def test_words_are_hashed_alike_everywhere() -> None:
    assert codes_of("The printer, the PRINTER!") == codes_of("the printer")
    assert len(codes_of("プリンターが動かない")) > 5, "pairs of characters, where there are no blanks"
    cells = cells_of(["one two", ""])
    assert cells.shape == (2, MAX_WORDS)
    assert np.isnan(cells[1]).all()
