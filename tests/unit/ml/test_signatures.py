"""What a model says that it takes: an example that is read without doubts, and what changed since an older one."""

import json
from typing import Any

import pytest

from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.signature import Signature
from app.ml.kinds.modalities import AnyModality
from app.ml.kinds.modalities.columns import CategoryColumn, NumberColumn
from app.ml.kinds.modalities.image import ImageModality
from app.ml.kinds.modalities.table import TableModality
from app.ml.kinds.registry import kinds
from app.ml.spec import ModalityKind
from tests.support import tiny


def fitted(modality: ModalityKind) -> Any:
    data = tiny.DATASETS[modality]()
    kind: Any = kinds(AnyModality)[modality]
    return kind.fit(data.inputs, data.spec)


@pytest.mark.parametrize("modality", tiny.DATASETS)
def test_the_example_of_every_modality_is_read_without_doubts(modality: ModalityKind) -> None:
    fit = fitted(modality)
    inputs = json.loads(json.dumps(fit.signature().example))["inputs"]
    doubts = Doubts()
    assert len(fit.decode(inputs, doubts)) == 1
    assert [warning.code for warning in doubts.warnings() if warning.code != "unknown_tokens"] == []


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
def test_the_example_of_pictures_has_their_channels(channels: int) -> None:
    image = ImageModality(height=3, width=2, channels=channels, value_scale=255)
    assert image.decode(image.signature().example["inputs"]).shape == (1, 3, 2, channels)


def test_columns_say_their_type_their_values_and_whether_they_may_be_missing() -> None:
    columns = {column.name: column for column in fitted("table").signature().columns}
    assert columns["colour"].categories == ("red", "blue")
    low, high = columns["width"].range
    assert 90 < low < high < 150
    assert [columns[name].may_be_missing for name in ("width", "age")] == [False, True]


def table(*columns: Any) -> Signature:
    return TableModality(columns=columns).signature()


def test_changes_name_what_requests_have_to_heed() -> None:
    age, colour = NumberColumn(name="age"), CategoryColumn(name="c", categories=("red", "blue"), had_missing=True)
    older = table(age, colour)
    more = CategoryColumn(name="c", categories=("red", "blue", "grey"), nullable=True)
    assert table(age, more).changes_from(older) == []
    assert table(age).changes_from(older) == ["'c' is no input any more"]
    assert older.changes_from(table(age)) == ["'c' is a new input"]
    assert table(colour, age).changes_from(older) == ["its columns have another order"]
    changed = CategoryColumn(name="c", categories=("red",))
    assert table(age, changed).changes_from(older) == [
        "'c' lost 1 categories, such as 'blue'",
        "'c' may not be missing any more without a warning",
    ]
    assert table(age, NumberColumn(name="c")).changes_from(older) == ["'c' is a number and was a category"]
    pictures = ImageModality(height=2, width=2).signature()
    assert pictures.changes_from(older) == ["it takes image rows, and took table rows"]
    assert len(ImageModality(height=2, width=3).signature().changes_from(pictures)) == 1
