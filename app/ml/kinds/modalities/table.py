"""Rows of numbers, categories, dates and texts, standardised by the train split.

Stored as float64 (N, D), by earlier releases as float32: categories as codes, dates as days since 1970-01-01, texts as
digests, NaN = missing; behind the D columns come the codes of the words of each of T columns of texts, (N, D + 128 T).
What each column becomes in the encoded float32 (N, D'), `columns.py` and `text_column.py` say. JSON inputs are lists of
D values in column order or objects {column: value}, as a row of the training file is: other keys are ignored, a key
that is not there is a missing value, and texts are read by the column's type. true, True, 1,
1.0 and "1" mean the category that is written in one of these ways. A date is ISO 8601 text, or a number of days.
"""

import zipfile
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.data.chunks import each_block, rows_per_read
from app.ml.data.words import MAX_WORDS
from app.ml.errors import CorruptModelError
from app.ml.fields import Integer
from app.ml.interfaces import Encoding, Modality, Rows, Shape, StoredRows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.modality import UnknownValues
from app.ml.interfaces.signature import Signature
from app.ml.interfaces.values import CategoryFeatures
from app.ml.kinds.modalities.column_blocks import Block, blocks_of
from app.ml.kinds.modalities.column_kinds import AnyColumn, cells_at, fit_columns
from app.ml.kinds.modalities.columns import CategoryColumn
from app.ml.kinds.modalities.decoding import decode_each
from app.ml.kinds.modalities.encoders import TableEncoder
from app.ml.kinds.modalities.ranges import Bounds
from app.ml.kinds.modalities.table_rows import RowReader, SoundRows
from app.ml.kinds.modalities.text_column import TextColumn
from app.ml.kinds.modalities.word_vectors import WordVectors
from app.ml.kinds.preprocessing.table import TablePreprocessing
from app.ml.spec import ColumnSpec, DataSpec

WORDS = "words.npz"
_ORDERED = {"number", "date"}
_USUAL = TablePreprocessing()
_VALUES_AT_ONCE = 1 << 15  # of float64, which stay in a processor's cache from one step to the next


class TableModality(Modality):
    """Rows of named columns."""

    kind: Literal["table"] = "table"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    columns: tuple[AnyColumn, ...] = Field(min_length=1, description="The columns in order, with what was learned.")
    missing_values: tuple[str, ...] = Field((), description="What means a missing value, as null does; as in training.")

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: TablePreprocessing = _USUAL) -> Self:
        """Learn every column from the train rows (N, D)."""
        given = spec.columns
        if chosen.dates == "time":
            given = tuple(column.model_copy(update={"parts": ()}) for column in given)
        columns = fit_columns(given, inputs)
        return cls(columns=columns, left_out=spec.left_out, missing_values=spec.missing_values)

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, which also understands null and values where the other dataset's train rows (N, D) have them."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        lacking = np.array([column.nullable for column in spec.columns])
        bounds = Bounds.of_none(len(spec.columns))
        for block in each_block(len(inputs), rows_per_read(len(spec.columns))):
            values = inputs[block][:, : len(spec.columns)]
            lacking |= np.isnan(values).any(0)
            bounds = bounds.with_rows(values)
        columns = tuple(
            column.adapted(
                spec.columns[places[column.name]],
                nullable=bool(lacking[places[column.name]]),
                bounds=bounds,
                index=places[column.name],
            )
            for column in self.columns
        )
        # Made anew, since a copy would keep what was learned of the other columns.
        return type(self)(columns=columns, left_out=spec.left_out, missing_values=spec.missing_values)

    @cached_property
    def shape(self) -> Shape:
        """(D',)."""
        return (sum(column.width for column in self.columns),)

    @cached_property
    def encoding(self) -> Encoding:
        """(D',), the indices of the standardised value of each number and date, and the features of each category."""
        starts = accumulate((column.width for column in self.columns), initial=0)
        pairs = list(zip(starts, self.columns, strict=False))
        return Encoding(
            shape=self.shape,
            numbers=tuple(start for start, column in pairs if column.type in _ORDERED),
            categories=tuple(
                CategoryFeatures(name=column.name, first=start, end=start + column.width)
                for start, column in pairs
                if isinstance(column, CategoryColumn)
            ),
        )

    @property
    def row_width(self) -> Integer:
        """D + 128 T, of D columns of which T are texts."""
        return len(self.columns) + MAX_WORDS * len(self._texts)

    def encode(self, inputs: Rows) -> Tensor:
        """float64 (N, D) to float32 (N, D'), standardised before it is rounded."""
        return torch.from_numpy(self.encoded(inputs))

    def encoded(self, inputs: Rows) -> Rows:
        """float32 (N, D')."""
        encoded = np.zeros((len(inputs), *self.shape), np.float32)
        for rows in each_block(len(inputs), max(1, _VALUES_AT_ONCE // len(self.columns))):
            for block in self._blocks:
                block.encode(inputs[rows], encoded[rows])
        return encoded

    export_input: ClassVar[str] = "rows"

    def encoder(self) -> TableEncoder:
        """All of `encode`."""
        return TableEncoder(self.columns)

    def export_rows(self, inputs: Rows) -> Tensor:
        """float64 (N, D)."""
        return torch.from_numpy(np.array(inputs, dtype=np.float64))

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """JSON to float64 (N, D). Raises `InputError`."""
        reader = RowReader(self.columns, self.left_out, self.missing_values, doubts or Doubts())
        if self._texts:
            return np.array(decode_each(inputs, reader.read, reader.doubts), np.float64)
        rows, is_sound = self._sound_rows.read(inputs)
        doubtful = np.flatnonzero(~is_sound).tolist()
        if doubtful or not len(inputs):
            rows = rows.copy()  # an array is read as it is, and may be the body of a request
            rows[doubtful] = decode_each([inputs[row] for row in doubtful], reader.read, reader.doubts, doubtful)
        return rows

    def decode_sound(self, inputs: Rows) -> Rows | None:
        """Numbers (N, D) of a table of numbers to float64 (N, D)."""
        if self._texts:
            return None
        rows, is_sound = self._sound_rows.read(inputs)
        return rows if is_sound.all() else None

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def required_keys(self) -> tuple[str, ...]:
        """The columns that no train row lacked."""
        return tuple(column.name for column in self.columns if not column.may_be_missing)

    @cached_property
    def _texts(self) -> list[TextColumn]:
        return [column for column in self.columns if isinstance(column, TextColumn)]

    @cached_property
    def _sound_rows(self) -> SoundRows:
        return SoundRows(self.columns, self.missing_values)

    @cached_property
    def _blocks(self) -> list[Block]:
        return blocks_of(self.columns)

    def signature(self) -> Signature:
        """The columns; the example has the means of the train rows and their first categories."""
        row = {column.name: column.example for column in self.columns}
        return Signature(
            modality="table",
            columns=tuple(column.signature for column in self.columns),
            ignored=self.left_out,
            example={"inputs": [row]},
        )

    def spec(self) -> DataSpec:
        """Its columns."""
        columns = tuple(
            ColumnSpec(
                name=column.name,
                type=column.type,
                categories=column.categories if isinstance(column, CategoryColumn) else (),
            )
            for column in self.columns
        )
        return DataSpec(modality="table", shape=(len(columns),), columns=columns, rows={})

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's columns differ by name, type or order."""
        if spec.modality != "table":
            return [f"the model takes tables and the dataset is of {spec.modality}s"]
        own_types = {column.name: column.type for column in self.columns}
        given_types = {column.name: column.type for column in spec.columns}
        differences = [f"the dataset lacks column {name!r}" for name in own_types if name not in given_types]
        differences += [f"the model does not know column {name!r}" for name in given_types if name not in own_types]
        differences += [
            f"column {name!r} is a {kind} for the model and a {given_types[name]} in the dataset"
            for name, kind in own_types.items()
            if given_types.get(name, kind) != kind
        ]
        return differences

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """Reorder another dataset's columns (N, D) to this one's order, and translate its category codes."""
        positions = {column.name: (index, column) for index, column in enumerate(spec.columns)}
        result = np.empty((len(inputs), self.row_width), np.float64)
        for index, column in enumerate(self.columns):
            position, given = positions[column.name]
            result[:, index] = _recoded(inputs[:, position], column, given)
        texts = [column.name for column in spec.columns if column.type == "text"]
        for number, text in enumerate(self._texts):
            theirs = cells_at(len(spec.columns), texts.index(text.name))
            result[:, cells_at(len(self.columns), number)] = inputs[:, theirs]
        return result

    def unknown_values(self, inputs: StoredRows, spec: DataSpec) -> list[UnknownValues]:
        """Count the values of each category column whose category no train row had."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        chosen = [(column, places[column.name]) for column in self.columns if isinstance(column, CategoryColumn)]
        counts = [np.zeros(len(spec.columns[place].categories), dtype=np.int64) for _, place in chosen]
        for block in each_block(len(inputs), rows_per_read(len(spec.columns))):
            rows = inputs[block]
            for index, (_, place) in enumerate(chosen):
                codes = rows[:, place][~np.isnan(rows[:, place])].astype(np.int64)
                counts[index] += np.bincount(codes, minlength=len(counts[index]))
        return [
            column.unknown_values(dict(zip(spec.columns[place].categories, of_column.tolist(), strict=True)))
            for of_column, (column, place) in zip(counts, chosen, strict=True)
        ]

    def specimens(self, count: int) -> Rows:
        """Numbers and dates near the train split's, every category and missing values, float64 (count, D)."""
        random = np.random.default_rng(0)
        rows = np.stack([column.specimens(count, random) for column in self.columns], axis=1, dtype=np.float64)
        return np.concatenate([rows, *(text.word_specimens(count, random) for text in self._texts)], axis=1)

    def save(self, folder: Path) -> list[str]:
        """Write words.npz, where there are columns of texts."""
        if not self._texts:
            return []
        arrays = [text.words.compact() for text in self._texts]
        named = {f"{number}.{name}": array for number, of in enumerate(arrays) for name, array in of.items()}
        np.savez(folder / WORDS, **named)  # type: ignore[arg-type]
        return [WORDS]

    def loaded(self, folder: Path) -> Self:
        """With the vectors of words.npz. Raises `CorruptModelError`."""
        if not self._texts:
            return self
        try:
            words = iter(_read_words(folder / WORDS, self._texts))
        except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
            msg = f"{WORDS} cannot be read: {error}"
            raise CorruptModelError(msg) from error
        columns = tuple(
            column.with_words(next(words)) if isinstance(column, TextColumn) else column for column in self.columns
        )
        return type(self)(columns=columns, left_out=self.left_out, missing_values=self.missing_values)


def _read_words(path: Path, texts: Sequence[TextColumn]) -> list[WordVectors]:
    """Read the vectors of columns. Raises ValueError where these have other numbers of dimensions."""
    names = ("codes", "weight", "vectors", "mean", "std")
    with np.load(path, allow_pickle=False) as file:
        arrays = [{name: file[f"{number}.{name}"] for name in names} for number in range(len(texts))]
    for text, of_text in zip(texts, arrays, strict=True):
        if of_text["mean"].shape != (text.dimensions,) or not all(
            np.isfinite(array).all() for array in of_text.values()
        ):
            msg = f"the words of {text.name!r} are not those of {text.dimensions} dimensions"
            raise ValueError(msg)
    return [WordVectors.of(of_text) for of_text in arrays]


def _recoded(values: Rows, column: AnyColumn, given: ColumnSpec) -> Rows:
    """Translate category codes (N,) by their names; names that the column does not know become NaN."""
    if not isinstance(column, CategoryColumn) or column.categories == given.categories:
        return values
    positions = {name: code for code, name in enumerate(column.categories)}
    table = np.array([positions.get(name, np.nan) for name in given.categories] + [np.nan], np.float64)
    known = ~np.isnan(values)
    codes = np.where(known, np.nan_to_num(values), len(given.categories)).astype(np.int64)
    return table[codes]
