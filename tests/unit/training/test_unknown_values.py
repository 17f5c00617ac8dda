"""Categories and characters that a pretrained model has never seen: counted, and refused where they are nearly all."""

from typing import Any

import numpy as np
import pytest

from app.ml.configs.learning import FineTuningConfig, PretrainingConfig
from app.ml.data.arrays import ArrayData
from app.ml.errors import ConfigError
from app.ml.models.bundle import Bundle
from app.ml.resolution.fine_tuning import resolve_fine_tuning
from app.ml.resolution.pretraining import resolve_pretraining
from app.ml.spec import ColumnSpec, WarningItem
from tests.support import tiny
from worker.training.run import Run, prepare

BACKBONES = {
    "text": {"kind": "transformer", "width": 8, "depth": 1, "heads": 2},
    "table": {"kind": "mlp", "hidden": [8]},
}
TOKENIZER = {"kind": "text", "tokenizer": "character"}


def parent(data: ArrayData) -> Bundle:
    kind = data.spec.modality
    request: dict[str, Any] = {"backbone": BACKBONES[kind], "training": {"epochs": 1}}
    if kind == "text":
        request["preprocessing"] = TOKENIZER
    run = prepare(resolve_pretraining(PretrainingConfig.model_validate(request), data.spec).config, data)
    return run.bundle()


def tuned(data: ArrayData, bundle: Bundle) -> Run:
    heads = [{"kind": "classifier", "target": "label"}]
    config = FineTuningConfig.model_validate({"heads": heads, "strategy": {"kind": "full"}})
    return prepare(resolve_fine_tuning(config, data.spec, bundle.manifest).config, data, parent=bundle)


def warnings(run: Run) -> list[WarningItem]:
    return [note for note in run.notes if isinstance(note, WarningItem)]


def written(change: str) -> ArrayData:
    """Tiny texts, of which some or all are written in another script."""
    data = tiny.texts()
    cyrillic = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувшхуз")
    for row in range(len(data.inputs)):
        if change == "all" or (change == "some" and row % 6 == 0):
            data.inputs[row] = data.inputs[row].translate(cyrillic)
    return data


def test_another_script_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"model: it knows hardly anything .* null to train from scratch"):
        tuned(written("all"), parent(tiny.texts()))


def test_some_unknown_letters_are_counted() -> None:
    data = written("some")
    (warning,) = warnings(tuned(data, parent(tiny.texts())))
    train = data.inputs[data.positions("train")]
    letters = sum(character.isalpha() and ord(character) > 127 for text in train for character in text)
    assert (warning.code, warning.count) == ("unknown_to_model", letters)


def test_rows_that_are_known_are_not_warned_about() -> None:
    for data in (tiny.texts(), tiny.table(), tiny.images()):
        if data.spec.modality != "image":
            assert warnings(tuned(data, parent(data))) == []


def coloured(names: tuple[str, ...], columns: int = 4) -> ArrayData:
    """Tiny tables whose last column has categories of other names; maybe that column alone."""
    data = tiny.table()
    colour = ColumnSpec(name="colour", type="category", categories=names)
    spec = data.spec.model_copy(update={"columns": (*data.spec.columns[4 - columns : -1], colour), "shape": (columns,)})
    return ArrayData(spec, data.inputs[:, 4 - columns :], data.targets, data.split)


def test_unknown_categories_are_counted_by_column() -> None:
    data = coloured(("red", "mauve"))
    (warning,) = warnings(tuned(data, parent(tiny.table())))
    mauve = int(np.nansum(data.inputs[data.positions("train"), 3] == 1))
    assert (warning.count, "'colour'" in warning.message, "'mauve'" in warning.message) == (mauve, True, True)


def test_a_table_of_unknown_categories_alone_is_refused() -> None:
    known = coloured(("red", "blue"), columns=1)
    with pytest.raises(ConfigError, match=r"values are unknown to it, such as 'azure', 'rouge'|'rouge', 'azure'"):
        tuned(coloured(("rouge", "azure"), columns=1), parent(known))
    (warning,) = warnings(tuned(coloured(("rouge", "azure")), parent(tiny.table())))
    assert warning.code == "unknown_to_model", "the numbers are as good as ever"
