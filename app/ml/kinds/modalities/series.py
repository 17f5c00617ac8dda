"""Series of one or many channels, of unequal length, standardised.

Stored as float64 (N, T, C), by earlier releases as float32: shorter series end in NaN, NaN within is a missing value.
Encoded as float32 (N, C + 1, T):
    every channel  (x - mean) / std over the train split's values, or over the series' own; a missing value becomes 0
    the last one   1 where a step was observed (any of its channels has a value), else 0
JSON inputs are lists of numbers for one channel, or lists of steps, each a list of C numbers; null is a missing value.
Objects hold a list for each channel by its name, or, where the columns of the training file were steps, those.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from app.ml.data.chunks import as_rows, each_block, rows_per_read
from app.ml.data.moments import MIN_DEVIATION, Moments
from app.ml.fields import Integer, Real
from app.ml.interfaces import Modality, Rows, Shape, StoredRows
from app.ml.interfaces.doubts import Doubts
from app.ml.interfaces.signature import Signature, SignatureColumn
from app.ml.kinds.modalities.decoding import (
    DecodingError,
    decode_each,
    ignore_keys,
    is_listed,
    is_missing,
    number_of,
    plain,
    with_clean_keys,
)
from app.ml.kinds.modalities.encoders import SeriesEncoder
from app.ml.kinds.modalities.ranges import Bounds, Range
from app.ml.kinds.preprocessing.series import SeriesPreprocessing
from app.ml.spec import ColumnSpec, DataSpec, DecimalSign, Frozen, WarningCode

_MAX = float(np.finfo(np.float32).max)
_MAX_DEVIATIONS = 1e4  # a value beyond is a fault of measuring, and would drown every other one
_MISSING_SPECIMENS = 0.1
_LONGER = 2  # where lengths differ, the longest of the rows to come is hardly the longest of the train rows
_USUAL = SeriesPreprocessing()


class Channel(Frozen):
    """A fitted channel."""

    name: str = Field(description="The channel's name.")
    mean: Real = Field(0.0, description="Mean of the train split's values.")
    std: Real = Field(1.0, gt=0, description="Deviation of the train split's values; 1 for a constant.")
    range: Range | None = Field(None, description="Of the train split's values; null: not known.")
    decimal: DecimalSign | None = Field(
        default=None, description="The sign before the fractions of the training file's numbers; null: not known."
    )


class SeriesModality(Modality):
    """Series of at most `steps` steps."""

    kind: Literal["series"] = "series"
    bounded: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    steps: Integer = Field(ge=1, le=1_000_000, description="T, the longest series.")
    unequal: bool = Field(
        default=False, description="Whether train rows differed in length: then up to 2 T steps are taken, and T read."
    )
    channels: tuple[Channel, ...] = Field(min_length=1, description="The channels in order, with what was learned.")
    scaling: Literal["channel", "series"] = Field("channel", description="Whose values standardise.")
    step_columns: tuple[str, ...] = Field((), description="The training file's columns, where each was a step.")
    step_decimals: tuple[DecimalSign | None, ...] = Field(
        (), description="The sign before the fractions of each of these columns, where they differ."
    )
    missing_values: tuple[str, ...] = Field((), description="What means a missing value, as null does; as in training.")

    @classmethod
    def fit(cls, inputs: StoredRows, spec: DataSpec, chosen: SeriesPreprocessing = _USUAL) -> Self:
        """Learn every channel from the train rows (N, T, C), a block of them at a time."""
        moments = [Moments() for _ in spec.columns]
        unequal = False
        for block in each_block(len(inputs), rows_per_read(math.prod(spec.shape))):
            values = inputs[block]
            unequal = unequal or bool(np.isnan(values[:, -1]).all(1).any())
            for index, of_channel in enumerate(moments):
                of_channel.add(values[:, :, index].astype(np.float64))
        channels = tuple(_fitted(column, of_channel) for column, of_channel in zip(spec.columns, moments, strict=True))
        return cls(
            steps=spec.shape[0],
            unequal=unequal,
            channels=channels,
            scaling=chosen.scaling,
            **_written(spec),
        )

    def adapted_to(self, inputs: StoredRows, spec: DataSpec) -> Self:
        """The same, which also understands values that the other dataset's train rows (N, T, C) have."""
        bounds = Bounds.of_none(len(spec.columns))
        for block in each_block(len(inputs), rows_per_read(math.prod(spec.shape))):
            bounds = bounds.with_rows(np.reshape(inputs[block], (-1, len(spec.columns))))
        places = {column.name: index for index, column in enumerate(spec.columns)}
        channels = tuple(
            channel.model_copy(
                update={
                    "range": bounds.joined(places[channel.name], channel.range),
                    "decimal": spec.columns[places[channel.name]].decimal or channel.decimal,
                }
            )
            for channel in self.channels
        )
        return self.model_copy(update={"channels": channels, **_written(spec)})

    @property
    def most_steps(self) -> int:
        """The longest series that is answered; of one that is longer than T the first T steps are read."""
        return _LONGER * self.steps if self.unequal else self.steps

    @property
    def shape(self) -> Shape:
        """(C + 1, T)."""
        return (len(self.channels) + 1, self.steps)

    def encode(self, inputs: Rows) -> Tensor:
        """float64 (N, T, C) to float32 (N, C + 1, T), standardised before it is rounded."""
        values = np.asarray(inputs, dtype=np.float64)
        missing = np.isnan(values)
        mean, std = self._moments(values, missing)
        scaled = np.where(missing, 0, (values - mean) / std).clip(-_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        observed = ~missing.all(axis=2, keepdims=True)
        together = np.concatenate([scaled, observed], axis=2).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(together.transpose(0, 2, 1)))

    export_input: ClassVar[str] = "series"

    def encoder(self) -> SeriesEncoder:
        """All of `encode`."""
        means, stds = zip(*((channel.mean, channel.std) for channel in self.channels), strict=True)
        return SeriesEncoder((means, stds) if self.scaling == "channel" else None)

    def export_rows(self, inputs: Rows) -> Tensor:
        """float64 (N, T, C)."""
        return torch.from_numpy(np.array(inputs, dtype=np.float64))

    def decode(self, inputs: Sequence[Any] | Rows, doubts: Doubts | None = None) -> Rows:
        """JSON to float64 (N, T, C). Raises `InputError`."""
        doubts = doubts or Doubts()
        return as_rows(decode_each(inputs, partial(self._decode_one, doubts=doubts), doubts), np.float64)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the channels, or of the columns that were steps."""
        return (*(channel.name for channel in self.channels), *self.step_columns)

    def aligned(self, inputs: Rows, spec: DataSpec) -> Rows:
        """Another dataset's shorter series, padded to T, with the channels in this one's order."""
        places = {column.name: index for index, column in enumerate(spec.columns)}
        result = np.full((len(inputs), self.steps, len(self.channels)), np.nan, np.float64)
        result[:, : spec.shape[0]] = inputs[:, :, [places[channel.name] for channel in self.channels]]
        return result

    def signature(self) -> Signature:
        """The channels; the example has three steps of the means."""
        step: Any = [float(f"{channel.mean:.4g}") for channel in self.channels]
        steps = [step[0] if len(step) == 1 else step] * min(3, self.steps)
        columns = tuple(
            SignatureColumn(
                name=channel.name,
                type="number",
                categories=None,
                range=None if channel.range is None else (channel.range.low, channel.range.high),
                may_be_missing=True,
            )
            for channel in self.channels
        )
        return Signature(
            modality="series",
            columns=columns,
            steps=self.most_steps,
            ignored=self.left_out,
            example={"inputs": [steps]},
        )

    def spec(self) -> DataSpec:
        """Its channels, over as many steps as it takes."""
        columns = tuple(ColumnSpec(name=channel.name, type="number") for channel in self.channels)
        return DataSpec(modality="series", shape=(self.steps, len(columns)), columns=columns, rows={})

    def differences(self, spec: DataSpec) -> list[str]:
        """In words, how a dataset's series differ by length or channels."""
        if spec.modality != "series":
            return [f"the model takes series and the dataset is of modality {spec.modality}"]
        differences = []
        if spec.shape[0] > self.steps:
            differences.append(f"its series have up to {spec.shape[0]} steps and the model takes {self.steps}")
        own, given = [channel.name for channel in self.channels], [channel.name for channel in spec.columns]
        differences += [f"the dataset lacks channel {name!r}" for name in own if name not in given]
        differences += [f"the model does not know channel {name!r}" for name in given if name not in own]
        return differences

    def specimens(self, count: int) -> Rows:
        """Random walks around the train split's means, of several lengths, float64 (count, T, C)."""
        random = np.random.default_rng(0)
        std = np.array([channel.std for channel in self.channels])
        mean = np.array([channel.mean for channel in self.channels])
        values = mean + std * random.normal(size=(count, self.steps, len(self.channels)))
        values[random.random(values.shape) < _MISSING_SPECIMENS] = np.nan
        for index in range(count):
            values[index, max(1, self.steps - index * self.steps // 10) :] = np.nan
        return values

    def _moments(self, values: Rows, missing: Rows) -> tuple[Rows, Rows]:
        """Mean and deviation to standardise with, broadcast over (N, T, C)."""
        if self.scaling == "channel":
            means, stds = zip(*((channel.mean, channel.std) for channel in self.channels), strict=True)
            return np.array(means), np.array(stds)
        count = (~missing).sum(1, keepdims=True).clip(1)
        mean = np.where(missing, 0, values).sum(1, keepdims=True) / count
        variance = (np.where(missing, 0, values - mean) ** 2).sum(1, keepdims=True) / count
        std = np.sqrt(variance)
        return mean, np.where(std > MIN_DEVIATION * np.abs(mean), std, 1.0)

    def _decode_one(self, value: Any, doubts: Doubts) -> Rows:
        value = plain(value)
        steps = self._steps_of(value, doubts) if isinstance(value, dict) else value
        if not isinstance(steps, list) or not steps:
            msg = "a series is a list of numbers, or of steps that are lists of numbers"
            raise DecodingError(msg)
        if len(steps) > self.most_steps:
            msg = f"the series has {len(steps)} steps; the model takes at most {self.most_steps}"
            raise DecodingError(msg)
        if len(steps) > self.steps:
            doubts.add(WarningCode.SERIES_TRUNCATED, reason=f"the first {self.steps} steps alone")
            steps = steps[: self.steps]
        row = np.full((self.steps, len(self.channels)), np.nan, np.float64)
        for step, channels in enumerate(steps):
            row[step] = self._decode_step(channels, step)
        if np.isnan(row).all():
            msg = "the series holds no value"
            raise DecodingError(msg)
        self._doubt(row, doubts)
        return row

    def _steps_of(self, row: dict[str, Any], doubts: Doubts) -> list[Any]:
        """Return the steps of a row of the training file: a list by channel, or a value by step."""
        names = [channel.name for channel in self.channels]
        row = with_clean_keys(row, [*names, *self.step_columns])
        if self.step_columns and not set(names) & set(row):
            names = list(self.step_columns)
        missing = [name for name in names if name not in row]
        if missing and (names != list(self.step_columns) or len(missing) == len(names)):
            listed = ", ".join(repr(name[:40]) for name in missing[:5])
            msg = f"an object holds the numbers of each channel; missing: {listed}"
            raise DecodingError(msg)
        ignore_keys([key for key in row if key not in names], self.left_out, names, doubts)
        if names == list(self.step_columns):
            return [row.get(name) for name in names]
        lists = [plain(row[name]) for name in names]
        if not all(isinstance(numbers, list) and len(numbers) == len(lists[0]) for numbers in lists):
            msg = "every channel of a series holds a list of equally many numbers"
            raise DecodingError(msg)
        return [list(step) for step in zip(*lists, strict=True)]

    def _doubt(self, row: Rows, doubts: Doubts) -> None:
        """Doubt values (T, C) far outside of what training saw, unless every series is standardised by itself."""
        bounds = Bounds.of_none(len(self.channels)).with_rows(row)
        for channel, low, high in zip(self.channels, bounds.low, bounds.high, strict=True):
            known = channel.range if self.scaling == "channel" else None
            if known is not None and any(np.isfinite(value) and known.is_far(value) for value in (low, high)):
                doubts.add(WarningCode.OUT_OF_RANGE, channel.name, f"training saw {known}")

    def _decode_step(self, value: Any, step: int) -> list[float]:
        values = value if isinstance(value, list) else [value]
        if len(values) != len(self.channels):
            msg = f"the step has {len(values)} values; expected {len(self.channels)}"
            raise DecodingError(msg, step)
        return [self._number(number, step, channel) for number, channel in zip(values, self.channels, strict=True)]

    def _number(self, value: Any, step: int, channel: Channel) -> float:
        decimal = self.step_decimals[step] if step < len(self.step_decimals) else channel.decimal
        missing = self.missing_values and is_listed(value, self.missing_values)
        return math.nan if missing else _number(value, step, decimal)


def _number(value: Any, step: int, decimal: DecimalSign | None) -> float:
    if value is None or (isinstance(value, str) and is_missing(value)):
        return math.nan
    if isinstance(value, str):
        value = number_of(value, decimal)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX <= value <= _MAX:
        msg = "expected a finite number, or null for a missing one"
        raise DecodingError(msg, step)
    return float(value)


def _fitted(column: ColumnSpec, moments: Moments) -> Channel:
    """A channel of which so much was seen; 1 is the deviation where nothing varies."""
    known = Range(low=moments.low, high=moments.high) if moments.count else None
    return Channel(name=column.name, mean=moments.mean, std=moments.scale, range=known, decimal=column.decimal)


def _written(spec: DataSpec) -> dict[str, Any]:
    """Return the fields that say how the rows of a dataset's file are written."""
    return {
        "step_columns": _step_columns(spec),
        "step_decimals": spec.step_decimals,
        "missing_values": spec.missing_values,
        "left_out": spec.left_out,
    }


def _step_columns(spec: DataSpec) -> tuple[str, ...]:
    """Return the columns of the file that were the steps of its series; none where series came in another form."""
    return spec.input_names if len(spec.columns) == 1 and len(spec.input_names) == spec.shape[0] else ()
