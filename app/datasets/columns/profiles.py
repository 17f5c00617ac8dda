"""What the kept rows look like, column by column; single pass over bounded pieces."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from app.datasets.frames import Bytes, Floats, Frame
from app.datasets.frames.texts import Texts
from app.datasets.report import ChannelProfile, ColumnProfile, ImageProfile, SeriesProfile, TargetProfile, TextProfile
from app.ml.data.dates import stored_to_iso
from app.ml.data.moments import Moments
from app.ml.data.spec import SPLITS, TargetSpec

TOP = 10
COUNTED = 100_000
CHUNK_BYTES = 32 << 20


def image_profile(frame: Frame) -> ImageProfile | None:
    """Return size and channel moments of images uint8 (N, H, W, C)."""
    inputs = frame.inputs
    if frame.modality != "image" or isinstance(inputs, Texts):
        return None
    step = max(1, CHUNK_BYTES // max(1, inputs[:1].nbytes))
    levels = np.arange(256, dtype=np.float64)
    counts = np.zeros((inputs.shape[3], 256))
    for start in range(0, len(inputs), step):
        for channel in range(inputs.shape[3]):
            pixels = inputs[start : start + step, :, :, channel].reshape(-1)
            counts[channel] += np.bincount(pixels, minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(np.maximum(0, share @ levels**2 - mean**2))
    return ImageProfile(
        height=inputs.shape[1],
        width=inputs.shape[2],
        channels=inputs.shape[3],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
    )


def text_profile(frame: Frame) -> TextProfile | None:
    """Return what texts are made of; their bytes are looked at in pieces."""
    texts = frame.inputs
    if not isinstance(texts, Texts):
        return None
    lengths = texts.lengths()
    words, seen = 0, set[str]()
    for text in texts:
        words += len(text.split())
        seen.update(text)
    total = int(lengths.sum())
    # Every character beyond ASCII has one leading byte of 0xC0 or more.
    wide = sum(int((piece >= 0xC0).sum()) for piece in _pieces(texts.content))  # noqa: PLR2004
    return TextProfile(
        characters=total,
        words=words,
        shortest=int(lengths.min()),
        mean=total / len(texts),
        longest=int(lengths.max()),
        distinct_characters=len(seen),
        non_ascii=wide / max(1, total),
    )


def _pieces(content: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    return (content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES))


def series_profile(frame: Frame) -> SeriesProfile | None:
    """Return lengths and channel moments of series float32 (N, T, C); a series ends with its last value."""
    inputs = frame.inputs
    if frame.modality != "series" or isinstance(inputs, Texts):
        return None
    step = max(1, CHUNK_BYTES // max(1, 2 * inputs[:1].nbytes))
    lengths = np.zeros(len(inputs), dtype=np.int64)
    moments = [Moments() for _ in frame.columns]
    for start in range(0, len(inputs), step):
        piece = np.asarray(inputs[start : start + step], dtype=np.float64)
        lengths[start : start + step] = series_lengths(piece)
        for channel, moment in enumerate(moments):
            moment.add(piece[:, :, channel])
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
    held = ~np.isnan(series).all(axis=2)
    return np.where(held.any(axis=1), held.shape[1] - held[:, ::-1].argmax(axis=1), 0).astype(np.int64)


def column_profiles(frame: Frame) -> tuple[ColumnProfile, ...]:
    """Return a profile of each column of a table float32 (N, D), read in blocks of columns."""
    inputs, columns = frame.inputs, frame.columns
    if frame.modality != "table" or isinstance(inputs, Texts):
        return ()
    profiles: list[ColumnProfile] = []
    width = max(1, CHUNK_BYTES // max(1, 8 * len(inputs)))
    for start in range(0, len(columns), width):
        block = np.array(inputs[:, start : start + width], dtype=np.float64, order="F")
        for j, spec in enumerate(columns[start : start + width]):
            profiles.append(ColumnProfile(**_facts(spec.name, spec.categories, spec.type, block[:, j])))
    return tuple(profiles)


def target_profiles(targets: Floats, specs: tuple[TargetSpec, ...], split: Bytes) -> tuple[TargetProfile, ...]:
    """Return a profile of each target (N, T) with the rows of each class in each split."""
    return tuple(
        TargetProfile(
            **_facts(spec.name, spec.classes, spec.type, targets[:, t]), classes=_classes(spec, targets[:, t], split)
        )
        for t, spec in enumerate(specs)
    )


def _classes(spec: TargetSpec, values: Floats, split: Bytes) -> dict[str, dict[str, int]]:
    if spec.type == "number":
        return {}
    present = ~np.isnan(values)
    flat = values[present].astype(np.int64) * len(SPLITS) + split[present]
    table = np.bincount(flat, minlength=len(spec.classes) * len(SPLITS)).reshape(-1, len(SPLITS))
    return {name: dict(zip(SPLITS, map(int, row), strict=True)) for name, row in zip(spec.classes, table, strict=True)}


def _facts(name: str, categories: tuple[str, ...], kind: str, values: Floats) -> dict[str, Any]:
    present = values[~np.isnan(values)]
    facts: dict[str, Any] = {"name": name, "type": kind, "count": len(present), "missing": len(values) - len(present)}
    facts |= dict.fromkeys(("min", "max", "mean", "std", "distinct", "earliest", "latest"))
    facts["top"] = {}
    if kind == "category":
        counts = np.bincount(present.astype(np.int64), minlength=len(categories))
        best = np.argsort(-counts, kind="stable")[:TOP]
        facts["top"] = {categories[i]: int(counts[i]) for i in best if counts[i]}
        facts["distinct"] = int((counts > 0).sum())
    elif len(present):
        facts |= {"min": float(present.min()), "max": float(present.max())}
        facts |= {"mean": float(present.mean()), "std": float(present.std())}
        if len(present) <= COUNTED:
            facts["distinct"] = len(np.unique(present))
        if kind == "date":
            facts |= {"earliest": stored_to_iso(facts["min"]), "latest": stored_to_iso(facts["max"])}
    return facts
