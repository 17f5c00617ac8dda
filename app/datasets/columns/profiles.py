"""Profiles of the kept rows for the report, computed chunk by chunk."""

from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Bytes, Floats, Frame
from app.datasets.frames.chunks import CHUNK_BYTES, row_chunks
from app.datasets.frames.texts import Texts
from app.datasets.report import ChannelProfile, ColumnProfile, ImageProfile, SeriesProfile, TargetProfile, TextProfile
from app.ml.data.dates import to_iso
from app.ml.data.moments import Moments
from app.ml.spec import SPLITS, TargetSpec

MAX_TOP_VALUES = 10
MAX_DISTINCT_ROWS = 100_000
HISTOGRAM_BINS = 20


def image_profile(frame: Frame) -> ImageProfile | None:
    """Return the size and channel statistics of images uint8 (N, H, W, C), for other data None."""
    inputs = frame.inputs
    if frame.modality != "image" or isinstance(inputs, Texts):
        return None
    levels = np.arange(256, dtype=np.float64)
    histogram = np.zeros((inputs.shape[3], 256))  # (C, levels): exact moments in one pass
    for rows in row_chunks(inputs):
        for channel in range(inputs.shape[3]):
            pixels = inputs[rows, :, :, channel].reshape(-1)
            histogram[channel] += np.bincount(pixels, minlength=256)
    shares = histogram / histogram.sum(axis=1, keepdims=True)
    mean = shares @ levels
    std = np.sqrt(np.maximum(0, shares @ levels**2 - mean**2))
    return ImageProfile(
        height=inputs.shape[1],
        width=inputs.shape[2],
        channels=inputs.shape[3],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
    )


def text_profile(frame: Frame) -> TextProfile | None:
    """Return lengths and characters of texts, for other data None."""
    texts = frame.inputs
    if not isinstance(texts, Texts):
        return None
    lengths = texts.lengths()
    words, distinct = 0, set[str]()
    for text in texts:
        words += len(text.split())
        distinct.update(text)
    total = int(lengths.sum())
    # Every character beyond ASCII has one leading byte of 0xC0 or more.
    non_ascii = sum(int((texts.content[chunk] >= 0xC0).sum()) for chunk in row_chunks(texts.content))  # noqa: PLR2004
    return TextProfile(
        characters=total,
        words=words,
        shortest=int(lengths.min()),
        mean=total / len(texts),
        longest=int(lengths.max()),
        distinct_characters=len(distinct),
        non_ascii=non_ascii / max(1, total),
    )


def series_profile(frame: Frame) -> SeriesProfile | None:
    """Return lengths and channel statistics of series float64 (N, T, C), for other data None."""
    inputs = frame.inputs
    if frame.modality != "series" or isinstance(inputs, Texts):
        return None
    lengths = np.zeros(len(inputs), dtype=np.int64)
    moments = [Moments() for _ in frame.columns]
    for rows in row_chunks(inputs, CHUNK_BYTES // 2):  # a copy in float64 takes twice as much
        series = np.asarray(inputs[rows], dtype=np.float64)
        lengths[rows] = series_lengths(series)
        for channel, moment in enumerate(moments):
            moment.add(series[:, :, channel])
    total = int(lengths.sum())
    return SeriesProfile(
        shortest=int(lengths.min()),
        mean=total / len(lengths),
        longest=int(lengths.max()),
        channels=tuple(
            ChannelProfile(name=spec.name, missing=total - moment.count, **moment.summary())
            for spec, moment in zip(frame.columns, moments, strict=True)
        ),
    )


def series_lengths(series: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the steps of each series (N, T, C) up to its last value, (N,)."""
    observed = ~np.isnan(series).all(axis=2)
    return np.where(observed.any(axis=1), observed.shape[1] - observed[:, ::-1].argmax(axis=1), 0).astype(np.int64)


def column_profiles(frame: Frame) -> tuple[ColumnProfile, ...]:
    """Return a profile of each column of a table float64 (N, D), read in blocks of columns; for other data ()."""
    inputs, columns = frame.inputs, frame.columns
    if frame.modality != "table" or isinstance(inputs, Texts):
        return ()
    profiles: list[ColumnProfile] = []
    width = max(1, CHUNK_BYTES // max(1, 8 * len(inputs)))
    for start in range(0, len(columns), width):
        block = np.array(inputs[:, start : start + width], dtype=np.float64, order="F")
        for j, spec in enumerate(columns[start : start + width]):
            profiles.append(ColumnProfile(**_statistics(spec.name, spec.categories, spec.type, block[:, j])))
    return tuple(profiles)


def target_profiles(targets: Floats, specs: tuple[TargetSpec, ...], split: Bytes) -> tuple[TargetProfile, ...]:
    """Return a profile of each target (N, T), with the rows of each class in each split."""
    return tuple(
        TargetProfile(
            **_statistics(spec.name, spec.classes, spec.type, targets[:, t]),
            classes=_class_counts(spec, targets[:, t], split),
        )
        for t, spec in enumerate(specs)
    )


def _class_counts(spec: TargetSpec, values: Floats, split: Bytes) -> dict[str, dict[str, int]]:
    """Return the rows of each class in each split; of a target of numbers nothing."""
    if spec.type == "number":
        return {}
    present = ~np.isnan(values)
    cells = values[present].astype(np.int64) * len(SPLITS) + split[present]
    table = np.bincount(cells, minlength=len(spec.classes) * len(SPLITS)).reshape(-1, len(SPLITS))
    return {name: dict(zip(SPLITS, map(int, row), strict=True)) for name, row in zip(spec.classes, table, strict=True)}


def _statistics(name: str, categories: tuple[str, ...], kind: str, values: Floats) -> dict[str, Any]:
    """Return the fields of a ColumnProfile for the values of a column, (N,)."""
    present = values[~np.isnan(values)]
    fields: dict[str, Any] = {"name": name, "type": kind, "count": len(present), "missing": len(values) - len(present)}
    fields |= dict.fromkeys(("min", "max", "mean", "std", "distinct", "earliest", "latest"))
    fields["top"] = {}
    if kind == "text":
        fields["distinct"] = len(np.unique(present))
    elif kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(categories))
        most_frequent = np.argsort(-counts, kind="stable")[:MAX_TOP_VALUES]
        fields["top"] = {categories[i]: int(counts[i]) for i in most_frequent if counts[i]}
        fields["distinct"] = int((counts > 0).sum())
    elif len(present):
        fields |= {"min": float(present.min()), "max": float(present.max())}
        fields |= {"mean": float(present.mean()), "std": float(present.std())}
        fields["histogram"] = _histogram(present, fields["min"], fields["max"])
        if len(present) <= MAX_DISTINCT_ROWS:
            fields["distinct"] = len(np.unique(present))
        if kind == "date":
            fields |= {"earliest": to_iso(fields["min"]), "latest": to_iso(fields["max"])}
    return fields


def _histogram(values: Floats, low: float, high: float) -> tuple[int, ...]:
    """Return how many of the values (N,) lie in each of equal parts from `low` to `high`, which the last one holds."""
    shares = (values - low) / ((high - low) or 1)
    bins = np.minimum((shares * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    return tuple(np.bincount(bins, minlength=HISTOGRAM_BINS).tolist())
