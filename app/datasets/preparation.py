"""Prepares a dataset from an uploaded file: read, encode, clean, split, write, report."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from app.datasets.canonical.fingerprints import Fingerprints, write_fingerprints
from app.datasets.canonical.shards import cut_into_shards, plan_shards
from app.datasets.canonical.writer import write_column_texts, write_decodings, write_inputs, write_labels
from app.datasets.cleaning import clean_columns, clean_rows
from app.datasets.cleaning.state import CleaningState
from app.datasets.columns.date_parts import with_date_parts
from app.datasets.columns.encoding import encode_columns
from app.datasets.columns.profiles import column_profiles, image_profile, series_profile, target_profiles, text_profile
from app.datasets.columns.targets import finish_targets, notice_untrained_classes
from app.datasets.context import Context, Progress
from app.datasets.errors import Code, DatasetError
from app.datasets.frames import Bytes, Frame, Loaded
from app.datasets.frames.decodings import EarlierImages
from app.datasets.likeness import Pairs
from app.datasets.limits import Limits
from app.datasets.options import PrepareOptions
from app.datasets.readers import read
from app.datasets.report import REASONS, Notes, Report, RowCounts, SourceInfo
from app.datasets.soundness import warn_of_classes, warn_of_rows
from app.datasets.splits.assignment import are_usual, assign_splits
from app.datasets.splits.earlier import EarlierDataset
from app.datasets.splits.leakage import leaks_between_splits
from app.kit.parts import Processes
from app.ml.data.stored_rows import INPUT_FILES, WINDOW_SHARDS
from app.ml.spec import SPLITS, DataSpec, Split


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared dataset: its description, the report for the user, and the names of the files written."""

    spec: DataSpec
    report: Report
    files: list[str]


@dataclass(frozen=True, slots=True)
class Earlier:
    """Earlier datasets: the one in which rows have their splits, and the one that holds images decoded."""

    splits: EarlierDataset | None = None
    images: EarlierImages | None = None


NO_EARLIER = Earlier()


@np.errstate(invalid="ignore")  # uploaded floats may be signalling NaNs, for which every cast would warn
def prepare(
    source: Path,
    filename: str,
    options: PrepareOptions,
    out: Path,
    limits: Limits,
    progress: Progress,
    earlier: Earlier = NO_EARLIER,
    processes: int = 1,
) -> Prepared:
    """Turn the file `source` into the canonical form in the empty folder `out`.

    The format is known by the content; `filename` is the user's name for the file and only put into the report.
    `progress` is called with fractions of 0 .. 1 and may raise to stop the work. Rows of an `earlier` dataset keep
    their splits, and images that one holds decoded are taken over, which changes no byte. Images, digests and sketches
    of much data are worked on by several `processes`, whose number changes none, either.

    Raises:
        DatasetError: the file or the options are at fault; nothing usable is left in `out`.
    """
    notes = Notes()
    with TemporaryDirectory(dir=out, prefix=".work-") as folder, Processes(processes) as helpers:
        context = Context(Path(folder), options, limits, notes, progress, helpers, earlier.images)
        progress(0.0, "reading")
        loaded = read(source, context)
        progress(0.5, "finding out what each column holds")
        frame = encode_columns(loaded, context)
        progress(0.7, "cleaning")
        state = CleaningState(frame, loaded, notes, context.scratch, limits.removals_listed, helpers)
        steps = clean_rows(state, options.cleaning, duplicates=options.duplicates, unlabelled=options.unlabelled)
        frame = finish_targets(_kept_rows(state), notes)
        digests = state.digests()[state.keep]
        kept_splits = earlier.splits
        known_as = state.rounded_digests()[state.keep] if kept_splits is not None and kept_splits.rounded else digests
        split = assign_splits(frame, digests, options, notes, kept_splits, known_as)
        notice_untrained_classes(frame, split, notes)
        clean_columns(state, steps, split)
        progress(0.9, "writing")
        frame = replace(frame, columns=state.frame.columns, inputs=write_inputs(state.frame.inputs, state.keep, out))
        digests, sketches = state.digests()[state.keep], state.sketches()[state.keep]
        frame = replace(frame, columns=with_date_parts(frame, split, notes))
        fingerprints = Fingerprints(frame.modality, digests, sketches, split, frame.rows)
        further = [*write_column_texts(frame, state.keep, out), *write_decodings(state.decodings, state.keep, out)]
        shards = plan_shards(out, split, limits.shard_bytes)
        if len(shards) > WINDOW_SHARDS:
            reason = f"the inputs are in {len(shards)} shards, of which {WINDOW_SHARDS} are read together: a training "
            reason += "that cannot hold the rows in memory shuffles the shards, and then the rows of each such window"
            notes.decide("order", "shuffled by shards", reason, "larger shards: the setting GRAFTWORK_SHARD_BYTES")
        usual_splits = are_usual(frame, options, kept_splits)
        spec = _spec(frame, split, loaded, options, notes, usual_splits=usual_splits, shards=shards)
        files = [*write_labels(frame, split, spec, out), *further, *write_fingerprints(fingerprints, out)]
        source_info = SourceInfo(name=filename, format=loaded.format, bytes=source.stat().st_size)
        report = _report(source_info, state, frame, fingerprints, notes)
        if shards:  # last of all: what is above reads the inputs in one piece
            files = [name for name in files if name not in INPUT_FILES] + cut_into_shards(out, split, shards)
    progress(1.0, "ready")
    return Prepared(spec, report, files)


def _kept_rows(state: CleaningState) -> Frame:
    """Return the kept rows; their inputs are still those of all rows, as they are written only once."""
    frame, keep = state.frame, state.keep
    if not keep.any():
        message = f"none of the {state.loaded.rows_read} rows is left: "
        message += "they are corrupt, lack a target, contradict each other, or the steps of cleaning remove them"
        raise DatasetError(Code.EMPTY_DATASET, message)
    return replace(
        frame,
        targets=frame.targets[keep],
        rows=frame.rows[keep].astype(np.int64),
        given_split=None if frame.given_split is None else frame.given_split[keep],
        groups=None if frame.groups is None else frame.groups[keep],
        times=None if frame.times is None else frame.times[keep],
    )


def _near_pairs(state: CleaningState) -> Pairs:
    """Return the pairs of nearly equal images or texts as positions among the kept rows, (P, 2)."""
    if state.frame.windows or state.frame.modality in {"table", "series"}:
        return np.empty((0, 2), dtype=np.int64)
    return np.cumsum(state.keep)[state.near_pairs()] - 1


def _spec(
    frame: Frame,
    split: Bytes,
    loaded: Loaded,
    options: PrepareOptions,
    notes: Notes,
    *,
    usual_splits: bool,
    shards: tuple[int, ...],
) -> DataSpec:
    rows = _rows_per_split(split)
    for name, count in rows.items():
        if not count:
            notes.notice(f"split {name} holds no rows")
    labelled = ~np.isnan(frame.targets)
    inputs = {column.name for column in frame.columns}
    return DataSpec(
        modality=frame.modality,
        shape=tuple(int(n) for n in frame.inputs.shape[1:]),
        value_scale=frame.value_scale,
        background=frame.background,
        pixel_range=frame.pixel_range,
        resize=options.image.resize if options.image else "stretch",
        columns=frame.columns,
        targets=frame.target_specs,
        left_out=tuple(column.name for column in loaded.columns if column.name not in inputs),
        input_names=loaded.input_names,
        missing_values=options.missing_values,
        step_decimals=loaded.decimals if len({*loaded.decimals} - {None}) > 1 and len(frame.columns) == 1 else (),
        continuous=frame.windows,
        rows=rows,
        labelled={spec.name: _rows_per_split(split[labelled[:, t]]) for t, spec in enumerate(frame.target_specs)},
        class_rows=_class_rows(frame, split),
        usual_splits=usual_splits,
        shards=shards,
    )


def _class_rows(frame: Frame, split: Bytes) -> dict[str, tuple[int, ...]]:
    """Count the train rows of every class of every target that has classes."""
    train = frame.targets[split == SPLITS.index("train")]
    counts = {}
    for index, target in enumerate(frame.target_specs):
        codes = train[:, index][~np.isnan(train[:, index])].astype(np.int64)
        if target.type == "category":
            counts[target.name] = tuple(np.bincount(codes, minlength=len(target.classes)).tolist())
    return counts


def _rows_per_split(split: Bytes) -> dict[Split, int]:
    counts = np.bincount(split, minlength=len(SPLITS))
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True)}


def _report(source: SourceInfo, state: CleaningState, frame: Frame, fingerprints: Fingerprints, notes: Notes) -> Report:
    split = fingerprints.split
    removed = {reason: state.counts[reason] for reason in REASONS}
    rows = RowCounts(read=state.loaded.rows_read, kept=len(frame.rows), removed=removed)
    warn_of_rows(rows, notes)
    warn_of_classes(frame.targets, frame.target_specs, notes)
    return Report(
        source=source,
        modality=frame.modality,
        rows=rows,
        removals=tuple(state.removals),
        splits=_rows_per_split(split),
        columns=column_profiles(frame),
        targets=target_profiles(frame.targets, frame.target_specs, split),
        image=image_profile(frame),
        text=text_profile(frame),
        series=series_profile(frame),
        decisions=tuple(notes.decisions),
        notices=tuple(notes.notices),
        warnings=tuple(notes.warnings),
        cleaning=tuple(state.steps),
        leaks=leaks_between_splits(fingerprints, _near_pairs(state)),
    )
